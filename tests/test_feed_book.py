"""The book of candles against a slow one that keeps everything, and against the market's truth."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_feed import NaiveBook, candle_at, told

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, Candle, candle_table, check_candles, times_of
from astraquant.data import read_candles
from astraquant.exchange.market import Market, decimal
from astraquant.exchange.playback import playback
from astraquant.exchange.streams import events_of
from astraquant.feed.book import CandleBook, Change
from astraquant.feed.protocol import AggTrade, Kline, parse
from astraquant.timeframes import DURATIONS, bin_starts, from_ms, next_start

MINUTE = 60_000
START = 1_672_531_200_000  # 2023-01-01, a Sunday


# The truth: what the simulated exchange says of a market, on its streams and by REST


def events(market: Market, timeframe: str, update_every: int) -> list[Any]:
    """Klines and aggregate trades as the exchange sends them, parsed."""
    wanted = [f"{market.symbol.lower()}@{kind}" for kind in (f"kline_{timeframe}", "aggTrade")]
    found = []
    for moment in playback(market, market.start - 1, update_every):
        for _, event in events_of(market, moment, wanted):
            found.append(parse(json.dumps(event)))
    assert all(isinstance(event, Kline | AggTrade) for event in found)
    return found


def candle_of(record: Any) -> Candle:
    """A kline of the market as the numbers that its decimals stand for."""
    prices = [float(decimal(units)) for units in record[4:10]]
    taker = [float(decimal(units)) for units in record[11:13]]
    return Candle(record.open_time, *prices, float(record.trades), *taker)


def rest(market: Market, timeframe: str, start: int, until: int, now: int) -> list[Candle]:
    """REST's rows for [start, until), the last of which may still be forming."""
    rows = market.klines(timeframe, start=start, end=until - 1, limit=1000, now=now)
    return [candle_of(row) for row in rows]


def truth(market: Market, timeframe: str) -> dict[int, Candle]:
    """All closed candles of the market by open time."""
    bars = [int(bar) for bar in market.bars(timeframe)]
    ended = [bar for bar in bars if next_start(bar, timeframe) <= market.end]
    return {bar: candle_of(market.closed(timeframe, bar)) for bar in ended}


# Both books at once


class State(NamedTuple):
    closed: dict[int, Candle]
    ledger: dict[int, tuple[str, int, int | None]]
    forming: Candle | None


class Both:
    """A book and the naive one; after each step all that they say is the same."""

    def __init__(self, timeframe: str) -> None:
        self.book = CandleBook("ABC", timeframe)
        self.naive = NaiveBook(timeframe)
        self.changes: list[Change] = []
        self.now = 0
        self.known = State({}, {}, None)  # after the last step

    def load(self, rows: Sequence[Candle]) -> None:
        self.book.load(candle_table(rows))
        self.naive.load(rows)
        self.check([])

    def event(self, event: Any) -> list[Change]:
        changes = self.book.kline(event) if hasattr(event, "candle") else self.book.trade(event)
        self.naive.event(event)
        self.now = max(self.now, event.event_time)
        self.check(changes, "closed")
        return changes

    def backfill(self, rows: Sequence[Candle], start: int, until: int, now: int) -> list[Change]:
        changes = self.book.backfill(rows, start, until, now)
        self.naive.backfill(rows, start, until, now)
        self.now = max(self.now, now)
        self.check(changes, "filled")
        return changes

    def check(self, changes: list[Change], how: str = "") -> None:
        book = self.book
        forming, partial = self.naive.forming()
        closed = {candle.time: candle for candle in self.naive.closed()}
        before, after = self.known, State(closed, self.naive.ledger(), forming)
        self.known = after
        assert rows_of(book.candles) == [told(candle) for candle in after.closed.values()]
        assert book.last_closed == max(after.closed, default=None)
        assert book.gaps == self.naive.gaps()
        assert book.forming == forming
        assert book.partial == partial
        for now in (self.now, self.now - 2 * MINUTE):
            assert book.missing(now) == self.naive.missing(now)
        assert changes == (expected(before, after, how) if how else [])
        self.changes += changes


def rows_of(table: pd.DataFrame) -> list[tuple[float | None, ...]]:
    """A candle table's rows as the naive book tells them; a column that isn't there is unknown."""
    assert check_candles(table) is table
    names = (*COLUMNS, *EXTRA_COLUMNS)
    columns = [table[name].tolist() if name in table else [None] * len(table) for name in names]
    return list(zip(times_of(table).tolist(), *columns, strict=True))


def expected(before: State, after: State, how: str) -> list[Change]:
    """What must be reported, from the two states alone."""
    changes = []
    lost = [
        bar
        for bar, story in after.ledger.items()
        if bar not in before.ledger or (before.ledger[bar][0], story[0]) == ("venue", "open")
    ]
    if lost:
        changes.append(Change("gap", min(lost)))
    for bar, candle in after.closed.items():
        known = before.closed.get(bar)
        if known is None:
            changes.append(Change(how, bar, candle))
        elif told(known) != told(candle):
            changes.append(Change("revised", bar, candle, known))
    if after.forming is not None and after.forming != before.forming:
        changes.append(Change("forming", after.forming.time, after.forming))
    return changes


# Any market, any trouble


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Up to 7 bars with holes (halts), some of them without volume."""
    source = draw(st.sampled_from(["1m", "1m", "1h", "1d"]))
    length = DURATIONS[source]
    origin = int(bin_starts(np.array([START]), source)[0]) - draw(st.integers(0, 5)) * length
    places = sorted(draw(st.sets(st.integers(0, 9), min_size=1, max_size=6)))
    places.append(places[-1] + 1)
    rows = []
    for _ in places:
        low, a, b, high = sorted(draw(st.tuples(*[st.integers(1, 9)] * 4)))
        rows.append([a, high, low, b, draw(st.integers(0, 40))])
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=float)
    return Market(table.set_axis(from_ms(origin + length * np.array(places))), "ABC")


places = st.integers(0, 999)
faults = st.lists(
    st.tuples(st.sampled_from(["drop", "repeat", "delay", "cut"]), places, st.integers(1, 40)),
    max_size=10,
)


def arriving(sent: list[Any], schedule: Iterable[tuple[str, int, int]]) -> list[Any]:
    """What arrives of what was sent: some of it never, twice, late, or not while cut off."""
    arrivals = [(float(k), k) for k in range(len(sent))]
    for kind, place, amount in schedule:
        first = place * len(sent) // 1000
        if kind == "drop":
            arrivals = [(at, k) for at, k in arrivals if k != first]
        elif kind == "repeat":
            arrivals.append((first + amount + 0.5, first))
        elif kind == "delay":
            arrivals = [(at + (amount + 0.5) * (k == first), k) for at, k in arrivals]
        else:
            arrivals = [(at, k) for at, k in arrivals if not first <= k < first + amount]
    return [sent[k] for _, k in sorted(arrivals)]


@settings(max_examples=200)
@given(markets(), faults, st.integers(0, 3), st.sets(places, max_size=4), st.booleans(), st.data())
def test_any_trouble_ends_in_the_markets_own_candles(
    market: Market,
    schedule: list[tuple[str, int, int]],
    history: int,
    pauses: set[int],
    greedy: bool,
    data: Any,
) -> None:
    timeframe = data.draw(st.sampled_from(market.intervals[:3]))
    every = DURATIONS[market.timeframe] // 3
    true = truth(market, timeframe)
    both = Both(timeframe)
    past = list(true.values())[:history]
    both.load(past)
    sent = [e for e in events(market, timeframe, every) if not past or e.event_time > past[-1].time]
    asked_at = {place * len(sent) // 1000 for place in pauses}
    for k, event in enumerate(arriving(sent, schedule)):
        both.event(event)
        if k in asked_at:
            ask(both, market, timeframe, both.now, greedy)
    ask(both, market, timeframe, market.end, greedy)
    check_truth(both, true, past)


def ask(both: Both, market: Market, timeframe: str, now: int, greedy: bool) -> None:
    """Answer all that is missing; a greedy question also goes for the bar that isn't over."""
    for start, end in both.book.missing(now):
        until = next_start(int(bin_starts(np.array([now]), timeframe)[0]), timeframe)
        until = until if greedy else end
        both.backfill(rest(market, timeframe, start, until, now), start, until, now)
    assert both.book.missing(now) == []


def check_truth(both: Any, true: dict[int, Candle], past: list[Candle]) -> None:
    """Nothing lost, nothing twice, nothing different; each gap is what it is said to be."""
    book = both.book
    begun = [change.time for change in both.changes]  # or nothing arrived at all
    first = past[0].time if past else min(begun, default=max(true, default=0) + 1)
    kept = [candle for time, candle in true.items() if time >= first]
    assert rows_of(book.candles) == [tuple(candle) for candle in kept]
    told_of = [c for c in both.changes if c.kind in ("closed", "filled")]
    assert [c for c in told_of if c.candle != true[c.time]] == []  # never a partial one
    assert sorted(c.time for c in told_of) == [c.time for c in kept[len(past) :]]
    assert book.counts["revised"] == 0
    filled = {c.time for c in told_of if c.kind == "filled"}
    for gap in book.gaps:
        bars = [gap.start]
        while bars[-1] < gap.end:
            bars.append(next_start(bars[-1], book.timeframe))
        assert bars.pop() == gap.end
        assert gap.missing == len(bars)
        assert gap.kind == ("venue" if gap.start not in true else "ours")
        assert all((bar in true) == (gap.kind == "ours") for bar in bars)
        assert gap.closed is not None
        filled -= set(bars)
    assert not filled


# Any events at all, even such as contradict each other


bars = st.integers(0, 6).map(lambda k: START + k * MINUTE)
moments = st.integers(0, 7 * MINUTE).map(lambda ms: START + ms)
rows = st.dictionaries(bars, st.integers(0, 3)).map(
    lambda found: [candle_at(time, found[time]) for time in sorted(found)]
)


# Trades are numbered in pairs: most klines end with a whole one, some have none.
last_ids = st.one_of(st.just(-1), st.integers(0, 9).map(lambda n: 2 * n + 1), st.integers(0, 20))


@st.composite
def any_kline(draw: st.DrawFn) -> Kline:
    time, last_id = draw(bars), draw(last_ids)
    candle = candle_at(time, draw(st.integers(0, 3)))
    event_time = time + draw(st.sampled_from([0, 1, 59_999, 60_000, 60_001, 200_000]))
    closed = draw(st.booleans())
    return Kline("ABC", "1m", candle, time + 59_999, min(last_id, 0), last_id, closed, event_time)


@st.composite
def any_trade(draw: st.DrawFn) -> AggTrade:
    number = draw(st.integers(0, 9))
    time = draw(moments)
    late, maker = draw(st.integers(0, 3)), draw(st.booleans())
    price = draw(st.integers(1, 5)) / 4
    return AggTrade("ABC", number, price, 0.3, 2 * number, 2 * number + 1, time, maker, time + late)


steps = st.one_of(any_kline(), any_kline(), any_trade(), moments, moments)


@settings(max_examples=400)
@given(rows, st.lists(steps, min_size=1, max_size=14), rows)
def test_any_events_leave_the_book_as_the_naive_one(
    past: list[Candle], steps: list[Any], answer: list[Candle]
) -> None:
    both = Both("1m")
    both.load(past)
    for step in steps:
        if not isinstance(step, int):
            both.event(step)
            continue
        start = both.naive.origin()
        if start is None:
            continue
        start = max(start, step - step % MINUTE - 2 * MINUTE)
        until = start + 3 * MINUTE
        inside = [row for row in answer if start <= row.time < until]
        both.backfill(inside, start, until, step)


# Real candles, the halt of 2023-03-24 among them


class Alone:
    """A book without the naive one, for longer stretches."""

    def __init__(self, timeframe: str) -> None:
        self.book = CandleBook("ABC", timeframe)
        self.changes: list[Change] = []
        self.now = 0

    def event(self, event: Any) -> None:
        self.changes += self.book.kline(event) if hasattr(event, "candle") else []
        self.changes += [] if hasattr(event, "candle") else self.book.trade(event)
        self.now = max(self.now, event.event_time)

    def backfill(self, rows: Sequence[Candle], start: int, until: int, now: int) -> None:
        self.changes += self.book.backfill(rows, start, until, now)


def real_market(folder: Path, start: str, end: str) -> Market:
    candles = read_candles(folder / "klines" / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet")
    return Market(candles.loc[start:end], "ABC")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("timeframe", "halt", "seed"), [("1m", 80, 1), ("1m", 80, 2), ("3m", 26, 3), ("5m", 16, 4)]
)
def test_the_halt_with_faults_ends_in_the_real_candles(
    market_data: Path, timeframe: str, halt: int, seed: int
) -> None:
    market = real_market(market_data, "2023-03-24 11:30", "2023-03-24 15:29")
    sent = events(market, timeframe, 20_000)
    draw = random.Random(seed)
    kinds = ["drop", "repeat", "delay", "cut"]
    schedule = [(draw.choice(kinds), draw.randrange(1000), draw.randint(1, 60)) for _ in range(60)]
    alone = Alone(timeframe)
    for event in arriving(sent, schedule):
        alone.event(event)
        if draw.random() < 0.01:
            ask(alone, market, timeframe, alone.now - 5_000, draw.random() < 0.5)
    ask(alone, market, timeframe, market.end, False)
    check_truth(alone, truth(market, timeframe), [])
    assert [gap.missing for gap in alone.book.gaps if gap.kind == "venue"] == [halt]
    assert "ours" in {gap.kind for gap in alone.book.gaps}


def test_without_faults_forming_follows_the_market_trade_by_trade(market_data: Path) -> None:
    market = real_market(market_data, "2023-03-01 00:00", "2023-03-01 00:29")
    alone = Alone("5m")
    compared = 0
    for event in events(market, "5m", 20_000):
        alone.event(event)
        forming = alone.book.forming
        if isinstance(event, Kline) or forming is None:
            continue
        assert not alone.book.partial
        true = candle_of(market.kline("5m", event.time))
        assert forming[:5] == true[:5]
        assert forming.trades == true.trades
        np.testing.assert_allclose(forming[5:], true[5:], rtol=1e-12)
        compared += 1
    assert compared > 250
    assert not alone.book.counts["late_trades"]
