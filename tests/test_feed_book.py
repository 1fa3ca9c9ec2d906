"""The book of candles against a slow one that keeps everything, and against the market's truth."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_feed import NaiveBook, told

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, Candle, candle_table, check_candles, times_of
from astraquant.data import read_candles
from astraquant.errors import DataError, FeedError
from astraquant.exchange.market import Market, decimal
from astraquant.exchange.playback import playback
from astraquant.exchange.streams import events_of
from astraquant.feed.book import CandleBook, Change, Gap
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
    first = min((change.time for change in both.changes), default=0)
    first = past[0].time if past else first
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


def candle_at(time: int, number: int) -> Candle:
    return Candle(time, 2.0, 3.0 + number, 1.0, 2.5, float(number), 0.1 * number, 1.0, 0.5, 0.25)


bars = st.integers(0, 6).map(lambda k: START + k * MINUTE)
moments = st.integers(0, 7 * MINUTE).map(lambda ms: START + ms)
rows = st.dictionaries(bars, st.integers(0, 3)).map(
    lambda found: [candle_at(time, found[time]) for time in sorted(found)]
)


@st.composite
def any_kline(draw: st.DrawFn) -> Kline:
    time, last_id = draw(bars), draw(st.integers(-1, 20))
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


@settings(max_examples=300)
@given(rows, st.lists(st.one_of(any_kline(), any_kline(), any_trade(), moments), max_size=12), rows)
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


# One rule each. The market here: a bar a minute, ids as they come.


def kline(
    minute: int, last_id: int = -1, *, at: int = 0, closed: bool = False, volume: int = 0
) -> Kline:
    time = START + minute * MINUTE
    candle = candle_at(time, volume)
    event_time = time + (MINUTE if closed else 2000) + at
    return Kline(
        "ABC", "1m", candle, time + MINUTE - 1, min(last_id, 0), last_id, closed, event_time
    )


def trade(first_id: int, ms: int, price: float = 2.0, *, last_id: int | None = None) -> AggTrade:
    last_id = first_id if last_id is None else last_id
    return AggTrade("ABC", first_id, price, 0.5, first_id, last_id, START + ms, False, START + ms)


def kinds(changes: list[Change]) -> list[tuple[str, int]]:
    return [(change.kind, (change.time - START) // MINUTE) for change in changes]


def counted(book: CandleBook) -> dict[str, int]:
    return {name: count for name, count in book.counts.items() if count}


@pytest.fixture
def book() -> CandleBook:
    """A book whose first bar is closed; its last trade was number 9."""
    found = CandleBook("ABC", "1m")
    assert kinds(found.kline(kline(0, 9, closed=True))) == [("closed", 0)]
    return found


def test_a_later_bar_closes_nothing(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    assert kinds(book.kline(kline(3, 30))) == [("gap", 1), ("forming", 3)]
    assert book.last_closed == START
    now = START + 3 * MINUTE + 2000
    assert book.gaps == [Gap(START + MINUTE, START + 3 * MINUTE, 2, "open", now, None)]
    assert book.missing(now) == [(START + MINUTE, START + 3 * MINUTE)]
    assert book.missing(START + 2 * MINUTE) == [(START + MINUTE, START + 2 * MINUTE)]
    # The closing update was only late: nothing was missed.
    assert kinds(book.kline(kline(1, 15, closed=True))) == [("closed", 1)]
    assert [(gap.missing, gap.kind) for gap in book.gaps] == [(1, "open")]
    assert counted(book) == {"late_bars": 1}


def test_a_closing_update_that_never_comes_is_missing_once_its_time_is_over(
    book: CandleBook,
) -> None:
    book.kline(kline(1, 12))
    end = START + 2 * MINUTE
    assert book.missing(end - 1) == []
    assert book.missing(end) == [(START + MINUTE, end)]
    assert kinds(book.backfill([candle_at(START + MINUTE, 2)], START + MINUTE, end, end + 5)) == [
        ("gap", 1),
        ("filled", 1),
    ]
    assert book.gaps == [Gap(START + MINUTE, end, 1, "ours", end + 5, end + 5)]
    assert book.forming is None
    assert book.kline(kline(1, 14, closed=True, volume=2)) == []  # it comes after all
    assert counted(book) == {"repeated": 1}


def test_duplicates_and_older_updates_change_nothing(book: CandleBook) -> None:
    book.kline(kline(1, 12, at=5000, volume=2))
    for again in (kline(1, 12, at=5000, volume=2), kline(1, 11, volume=1), kline(0, 8)):
        assert book.kline(again) == []
    assert book.kline(kline(0, 9, closed=True)) == []
    assert book.forming == candle_at(START + MINUTE, 2)
    assert counted(book) == {"older": 3, "repeated": 1}


def test_of_two_versions_of_a_closed_candle_the_later_one_stands(book: CandleBook) -> None:
    first, second = candle_at(START, 0), candle_at(START, 1)
    (revised,) = book.kline(kline(0, 10, at=10, closed=True, volume=1))
    assert revised == Change("revised", START, second, first)
    assert book.kline(kline(0, 9, at=5, closed=True)) == []  # older: it does not come back
    now = START + 2 * MINUTE
    (revised,) = book.backfill([candle_at(START, 2)], START, START + MINUTE, now)
    assert revised == Change("revised", START, candle_at(START, 2), second)
    # What REST confirmed is known as of then.
    book.backfill([candle_at(START, 2)], START, START + MINUTE, now + MINUTE)
    assert book.kline(kline(0, 11, at=90_000, closed=True, volume=3)) == []
    assert counted(book) == {"revised": 2, "older": 2, "repeated": 1}
    assert book.gaps == []


def test_rest_can_not_deny_a_bar_that_the_stream_has_shown(book: CandleBook) -> None:
    start, end = START + MINUTE, START + 4 * MINUTE
    book.trade(trade(10, 2 * MINUTE + 5))  # of the bar in the middle
    assert kinds(book.backfill([], start, end, end)) == [("gap", 1)]
    assert [gap.kind for gap in book.gaps] == ["venue", "open", "venue"]
    assert book.missing(end) == [(start + MINUTE, end - MINUTE)]
    assert counted(book) == {"contradicted": 1}
    # Nor when it shows the bar later.
    assert kinds(book.kline(kline(3, 20))) == [("gap", 3)]
    assert book.missing(end) == [(start + MINUTE, end)]
    assert kinds(book.kline(kline(1, 12, closed=True))) == [("closed", 1)]
    assert [(gap.missing, gap.kind) for gap in book.gaps] == [(2, "open")]


def test_rows_of_rest_that_still_form_are_dropped(book: CandleBook) -> None:
    rows = [candle_at(START + k * MINUTE, k) for k in (1, 2)]
    end = START + 3 * MINUTE
    assert kinds(book.backfill(rows, START + MINUTE, end, end - 1)) == [("gap", 1), ("filled", 1)]
    assert counted(book) == {"unfinished": 1}
    assert book.backfill(rows[1:], START + 2 * MINUTE, end, end - 1) == []
    assert counted(book) == {"unfinished": 2}


def test_a_halt_asked_about_again_and_again_is_one_gap(book: CandleBook) -> None:
    for minute in (3, 4, 6):
        for start, end in book.missing(START + minute * MINUTE):
            book.backfill([], start, end, START + minute * MINUTE)
    first, last = START + 3 * MINUTE, START + 6 * MINUTE
    assert book.gaps == [Gap(START + MINUTE, last, 5, "venue", first, last)]


def test_trades_go_on_top_of_the_kline_in_the_order_of_their_ids(book: CandleBook) -> None:
    book.kline(kline(1, 12, volume=1))
    assert book.trade(trade(12, MINUTE + 10)) == []  # in the kline
    assert book.trade(trade(15, MINUTE + 30, 5.0)) == []  # 13 and 14 are missing
    assert book.partial
    assert book.forming == candle_at(START + MINUTE, 1)
    (change,) = book.trade(trade(13, MINUTE + 20, 0.5, last_id=14))  # late, or asked for by id
    expected = Candle(START + MINUTE, 2.0, 5.0, 0.5, 5.0, 2.0, 0.1 + 0.25 + 2.5, 4.0, 1.5, 3.0)
    assert change == Change("forming", START + MINUTE, expected)
    assert not book.partial
    assert book.trade(trade(15, MINUTE + 30, 5.0)) == []
    # A kline that contains them takes their place; one that doesn't lets them follow it.
    book.kline(kline(1, 14, at=10, volume=2))
    assert book.forming is not None
    assert (book.forming.close, book.forming.volume) == (5.0, 2.5)
    book.kline(kline(1, 15, at=20, volume=2))
    assert book.forming == candle_at(START + MINUTE, 2)
    assert counted(book) == {"repeated": 2}


def test_a_bar_begins_with_a_trade_at_its_very_start(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    assert kinds(book.trade(trade(13, 2 * MINUTE - 1))) == [("forming", 1)]
    assert kinds(book.trade(trade(14, 2 * MINUTE, 4.0))) == [("forming", 2)]
    assert book.forming == Candle(START + 2 * MINUTE, 4.0, 4.0, 4.0, 4.0, 0.5, 2.0, 1.0, 0.5, 2.0)
    assert book.gaps == []
    assert kinds(book.kline(kline(1, 13, closed=True))) == [("closed", 1)]
    assert book.forming.open == 4.0


def test_a_new_bar_is_not_shown_without_its_first_trade(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    assert book.trade(trade(14, 2 * MINUTE + 5)) == []
    assert book.forming == candle_at(START + MINUTE, 0)
    assert book.partial


def test_a_trade_later_than_its_closed_candle_is_counted(book: CandleBook) -> None:
    assert book.trade(trade(10, 59_000)) == []
    assert counted(book) == {"late_trades": 1}
    assert kinds(book.trade(trade(11, MINUTE + 1))) == [("forming", 1)]  # ids go on behind it


def test_what_does_not_belong_here_is_refused(book: CandleBook) -> None:
    right = kline(1, 12)
    off_grid = right.candle._replace(time=right.candle.time + 1)
    for wrong in (
        right._replace(symbol="XYZ"),
        right._replace(interval="5m"),
        right._replace(candle=off_grid),
        right._replace(event_time=right.candle.time - 1),  # of a bar that had not begun
    ):
        assert book.kline(wrong) == []
    assert book.trade(trade(10, MINUTE)._replace(symbol="XYZ")) == []
    assert counted(book) == {"refused": 5}
    assert book.kline(kline(-1, 5, closed=True)) == []  # before the first bar
    assert book.trade(trade(7, -1)) == []
    assert book.last_closed == START
    assert book.gaps == []


def test_a_venue_that_numbers_its_trades_anew_is_followed(book: CandleBook) -> None:
    book.kline(kline(1, 5000))
    book.trade(trade(5002, MINUTE + 10))
    book.kline(kline(2, 3))
    assert kinds(book.trade(trade(4, 2 * MINUTE + 10))) == [("forming", 2)]
    assert not book.partial


# History


def test_holes_of_the_history_are_the_venues() -> None:
    found = CandleBook("ABC", "1m")
    found.load(candle_table([candle_at(START + k * MINUTE, k) for k in (0, 1, 5)]))
    hole, end = START + 2 * MINUTE, START + 5 * MINUTE
    assert found.gaps == [Gap(hole, end, 3, "venue", end, end)]
    assert found.missing(end + 3 * MINUTE) == [(end + MINUTE, end + 3 * MINUTE)]


def test_months_have_no_fixed_length() -> None:
    found = CandleBook("ABC", "1M")
    times = [
        int(pd.Timestamp(f"2023-{month:02}-01", tz="UTC").timestamp() * 1000)
        for month in range(1, 13)
    ]
    found.load(candle_table([candle_at(times[k], k) for k in (0, 1, 2, 5)]))
    assert [(gap.start, gap.missing) for gap in found.gaps] == [(times[3], 2)]
    event = kline(0, closed=True)._replace(interval="1M", event_time=times[9])
    found.kline(event._replace(candle=candle_at(times[8], 0)))
    assert [(gap.start, gap.missing) for gap in found.gaps] == [(times[3], 2), (times[6], 2)]
    assert found.missing(times[11]) == [(times[6], times[8]), (times[9], times[11])]


def test_an_extra_that_one_candle_lacks_is_left_out() -> None:
    found = CandleBook("ABC", "1m")
    past = candle_table([candle_at(START, 1), candle_at(START + MINUTE, 2)])
    past.attrs["source"] = "simulated"
    found.load(past.drop(columns=["trades"]))
    found.kline(kline(2, closed=True))
    assert list(found.candles.columns) == [*COLUMNS, *(n for n in EXTRA_COLUMNS if n != "trades")]
    assert found.candles.attrs == {"source": "simulated"}
    now = START + 3 * MINUTE
    assert found.backfill(past.drop(columns=["trades"]), START, START + 2 * MINUTE, now) == []
    assert kinds(found.backfill(past, START, START + 2 * MINUTE, now + 1)) == [
        ("revised", 0),
        ("revised", 1),
    ]
    assert list(found.candles.columns) == [*COLUMNS, *EXTRA_COLUMNS]


def test_an_empty_history_says_nothing() -> None:
    found = CandleBook("ABC", "1m")
    found.load(candle_table([]))
    assert (found.last_closed, found.forming, found.gaps) == (None, None, [])
    assert found.missing(START) == []
    assert len(check_candles(found.candles)) == 0


def test_what_can_not_be_taken_says_why(book: CandleBook) -> None:
    table = candle_table([candle_at(START + MINUTE, 1)])
    with pytest.raises(FeedError, match="no longer empty.*backfill"):
        book.load(table)
    with pytest.raises(FeedError, match=f"open time of a 5m bar.*{START} ms"):
        CandleBook("ABC", "5m").load(table)
    with pytest.raises(DataError, match="mood.*drop"):
        CandleBook("ABC", "1m").load(table.assign(mood=1.0))
    with pytest.raises(DataError, match="unknown timeframe '60s'"):
        CandleBook("ABC", "60s")
    until, now = START + 3 * MINUTE, START + 9 * MINUTE
    with pytest.raises(FeedError, match="begins with.*missing"):
        book.backfill([], START - MINUTE, until, now)
    with pytest.raises(FeedError, match="begins with None"):
        CandleBook("ABC", "1m").backfill([], START, until, now)
    with pytest.raises(FeedError, match="holds those from"):
        book.backfill(table, START + 2 * MINUTE, until, now)
    with pytest.raises(FeedError, match="no open time"):
        book.backfill([], START + 1, until, now)
    with pytest.raises(FeedError, match="no open time"):
        book.backfill([candle_at(START + 1, 1)], START, until, now)
    with pytest.raises(DataError, match="twice"):
        book.backfill([candle_at(START, 1)] * 2, START, until, now)
    with pytest.raises(DataError, match="low"):
        book.backfill([candle_at(START, 1)._replace(low=9.0)], START, until, now)
    assert book.gaps == []


# Memory


def test_the_table_is_made_once_and_nobody_can_change_it(book: CandleBook) -> None:
    one, other = book.candles, book.candles
    assert np.shares_memory(one["close"].to_numpy(), other["close"].to_numpy())
    one.loc[one.index[0], "close"] = 99.0
    one.attrs["source"] = "mine"
    assert book.candles["close"].tolist() == [2.5]
    assert book.candles.attrs == {}
    book.kline(kline(1, 12, closed=True))
    assert len(other) == 1
    assert len(book.candles) == 2


def test_trades_behind_a_hole_take_a_bounded_place(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    for number in range(14, 1514):
        book.trade(trade(number, MINUTE + number))
    size = len(pickle.dumps(book))
    for number in range(1514, 6014):
        book.trade(trade(number, MINUTE + number))
    assert len(pickle.dumps(book)) < 1.1 * size
    assert book.partial
    (change,) = book.kline(kline(1, 6000, at=10))  # the newest are kept: they follow it
    assert change.candle is not None
    assert change.candle.trades == candle_at(START, 0).trades + 13
    assert not book.partial


def test_trades_of_a_bar_without_klines_take_a_bounded_place(book: CandleBook) -> None:
    for number in range(10, 3010):
        book.trade(trade(number, MINUTE + number))
    assert book.forming is not None
    assert book.forming.trades == 3000
    assert not book.partial
    book.kline(kline(1, 1500))
    assert book.partial  # those after it are forgotten but for the last thousand
    book.kline(kline(1, 2500, at=10))
    assert not book.partial


def test_filled_gaps_are_forgotten_when_they_are_many(book: CandleBook) -> None:
    book.kline(kline(3, 20, closed=True))
    book.backfill([], START + MINUTE, START + 3 * MINUTE, START + 4 * MINUTE)
    for minute in range(5, 2505, 2):
        time = START + minute * MINUTE
        book.kline(kline(minute, closed=True))
        book.backfill([candle_at(time - MINUTE, 0)], time - MINUTE, time, time + MINUTE)
    kept = Counter(gap.kind for gap in book.gaps)
    assert kept == {"venue": 1, "ours": 1000}
    assert book.gaps[-1].start == START + 2502 * MINUTE
    assert len(book.candles) == 2502  # all from 0 to 2503, but for the venue's gap
