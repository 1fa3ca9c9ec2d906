"""The feed's client through random trouble: in the end it has every candle once, as it was."""

from __future__ import annotations

import asyncio
import functools
import random
from bisect import bisect_left
from typing import Any, NamedTuple

import pandas as pd
import pytest
from fault_schedules import Schedule, Step, describe, perform, random_schedule
from memory_exchange import MemoryExchange
from virtual_clock import run, virtual

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, Candle, times_of
from astraquant.data.sample import sample_candles
from astraquant.data.venues import Venue
from astraquant.exchange.market import Market
from astraquant.feed.client import Client, Wiring
from astraquant.feed.core import Core, Update
from astraquant.feed.cursor import Cursor
from astraquant.feed.gaps import Gap
from astraquant.feed.pacing import ATTEMPTS, WINDOW
from astraquant.timeframes import DURATIONS, next_start

HOUR = 3_600_000
TROUBLED, SETTLED = 0.7, 0.95  # there is trouble until then (of the time played); all is well then
RECOVERY = 350.0  # seconds after all trouble: the longest wait before asking again is 300
QUIET = 30.0  # seconds after the last candle, if it has recovered by then


class Case(NamedTuple):
    """A market, how it is followed, and what goes wrong."""

    seed: int
    symbols: tuple[str, ...]
    timeframe: str
    begin: str  # of the market
    hours: float
    past: float  # hours of it that are history
    history: int  # bars that are asked for of it
    speed: float
    host: str  # one of this machine is asked for its time before each handshake
    schedule: Schedule

    def __str__(self) -> str:
        told = " ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{told.partition(' schedule=')[0]}\n{describe(self.schedule)}"

    @property
    def seconds(self) -> float:
        """How long it is played."""
        return (self.hours - self.past) * 3600 / self.speed

    @property
    def recovers(self) -> bool:
        """Whether it has the time to recover while the market is still played."""
        return (SETTLED - TROUBLED) * self.seconds > RECOVERY


def case_of(seed: int, **given: Any) -> Case:
    """A case drawn by its seed; ``given`` stands in place of what would be drawn."""
    draw = random.Random(f"case {seed}")
    speed = draw.choice([1.0, 6.0, 6.0, *[20.0] * 5])
    drawn = {
        "symbols": draw.choice([("BTCUSDT",), ("BTCUSDT",), ("ETHUSDT", "BTCUSDT")]),
        "timeframe": draw.choice(["1m", "1m", "3m", "5m", "15m"]),
        "begin": draw.choice(["2023-01-01 00:00", "2023-01-02 13:00", "2023-01-06 23:00"]),
        "hours": draw.choice([1.0, 1.0, 1.5] if speed == 1 else [1.5, 1.5, 2.0, 3.0]),
        "past": 0.5,
        "history": draw.choice([0, 1, 10, 1000]),
        "speed": speed,
        "host": draw.choice(["memory", "127.0.0.1"]),
        "schedule": None,
    } | given
    case = Case(seed, **drawn)
    if case.schedule is not None:
        return case
    kinds = (f"kline_{case.timeframe}", "aggTrade")
    streams = [f"{symbol.lower()}@{kind}" for symbol in case.symbols for kind in kinds]
    bar = DURATIONS[case.timeframe] / 1000 / case.speed
    schedule = random_schedule(seed, TROUBLED * case.seconds, bar=bar, streams=streams)
    return case._replace(schedule=schedule)


@functools.lru_cache  # a market is never changed
def market(symbol: str, begin: str, hours: float) -> Market:
    start = pd.Timestamp(begin, tz="UTC")
    return Market(sample_candles(symbol, start=start, end=start + pd.Timedelta(hours, "h")), symbol)


def rows_of(table: pd.DataFrame) -> list[Candle]:
    names = [*COLUMNS, *EXTRA_COLUMNS]
    values = table.reindex(columns=names).to_numpy().tolist()  # an empty table has no extras
    return [Candle(time, *row) for time, row in zip(times_of(table).tolist(), values, strict=True)]


# Running a case.


class Run:
    """A client and its exchange, both begun; made within a running loop."""

    def __init__(self, case: Case) -> None:
        markets = {symbol: market(symbol, case.begin, case.hours) for symbol in case.symbols}
        start = next(iter(markets.values())).start + round(case.past * HOUR)
        every = max(2000, round(400 * case.speed))
        self.case = case
        self.exchange = MemoryExchange(markets, speed=case.speed, start=start, update_every=every)
        self.core, self.taken, self.read = Core(case.symbols, case.timeframe), Cursor(), Cursor()
        self.loaded: dict[str, list[Candle]] = {}
        wiring = Wiring(
            Venue(f"http://{case.host}", f"http://{case.host}"),
            f"ws://{case.host}",
            self.exchange.connect,
            self._history,
            self.exchange.http,
            random.Random(case.seed),
        )
        self.states: list[str] = []
        self.client = Client(
            self.core,
            wiring,
            history=case.history,
            publish=self._publish,
            changed=lambda state: self.states.append(state.name),
        )
        self.task = asyncio.create_task(self.client.run(), name="client")
        self.reading = asyncio.create_task(collect(self.read), name="reader")
        self.troubling = asyncio.create_task(perform(case.schedule, self.exchange), name="trouble")
        self.playing = asyncio.create_task(self.exchange.play(), name="market")

    async def _history(self, symbol: str, timeframe: str, bars: int) -> pd.DataFrame:
        table = await self.exchange.history(symbol, timeframe, bars)
        self.loaded[symbol] = rows_of(table)
        return table

    def _publish(self, updates: list[Update]) -> None:
        self.taken.put(updates)
        self.read.put(updates)

    def forming(self) -> list[Forming]:
        """What is known now of the candles that are not over, and what there is to know."""
        return [
            Forming(
                track.book.forming,
                track.book.partial,
                self.exchange.seen(symbol, self.case.timeframe),
            )
            for symbol, track in self.core.tracks.items()
        ]

    async def stop(self) -> None:
        """End the client, of which nothing may be left."""
        if self.task.done():
            self.task.result()
            raise AssertionError("the client has ended by itself")
        self.task.cancel()
        await asyncio.wait([self.task])
        await asyncio.sleep(0.1)
        own = {asyncio.current_task(), self.reading, self.troubling, self.playing}
        assert asyncio.all_tasks() <= own, f"left: {asyncio.all_tasks() - own}"
        assert not self.exchange.links, "it is still connected"
        self.read.end()


class Forming(NamedTuple):
    """The candle that isn't over yet as the book knows it, and as it is."""

    known: Candle | None
    partial: bool
    true: Candle | None


class Outcome(NamedTuple):
    """What there is to say about a feed in the end. By symbol: ``truth`` to ``loaded``."""

    truth: dict[str, dict[int, Candle]]
    closed: dict[str, list[Candle]]
    gaps: dict[str, list[Gap]]
    loaded: dict[str, list[Candle]]
    updates: list[Update]  # taken at once
    read: list[Update]  # taken one by one as they came
    forming: list[Forming]  # while the last candles are played
    state: tuple[str, str]  # when the last one is over
    attempts: list[float]
    hasty: list[str]
    answers: dict[int, int]
    counts: dict[str, int]
    log: str


async def collect(cursor: Cursor) -> list[Update]:
    return [update async for update in cursor]


async def follow(case: Case, *, with_log: bool = False) -> Outcome:
    """Run the client through a case."""
    now = Run(case)
    exchange, core = now.exchange, now.core
    await asyncio.sleep(TROUBLED * case.seconds)
    await now.troubling
    exchange.calm()
    await asyncio.sleep((SETTLED - TROUBLED) * case.seconds)
    forming = now.forming()
    await now.playing
    state = now.client.state
    await asyncio.sleep(QUIET if state.name == "LIVE" else RECOVERY)
    assert len(exchange.links) <= 1
    assert exchange.most_links <= 2
    await now.stop()
    return Outcome(
        truth={symbol: exchange.truth(symbol, case.timeframe) for symbol in case.symbols},
        closed={symbol: rows_of(track.book.candles) for symbol, track in core.tracks.items()},
        gaps={symbol: track.book.gaps for symbol, track in core.tracks.items()},
        loaded=now.loaded,
        updates=now.taken.take(),
        read=await now.reading,
        forming=forming,
        state=(state.name, state.reason),
        attempts=exchange.attempts,
        hasty=exchange.hasty,
        answers=dict(exchange.answers),
        counts=dict(core.counts),
        log=exchange.log() if with_log else "",
    )


# What must hold in the end.


def check(case: Case, end: Outcome) -> None:
    """All that is promised, whatever happens."""
    for symbol in case.symbols:
        updates = [update for update in end.updates if update.symbol == symbol]
        read = [update for update in end.read if update.symbol == symbol]
        closed, truth, past = end.closed[symbol], end.truth[symbol], end.loaded[symbol]
        # Without history it begins with what comes first, if anything does.
        first = past[0].time if past else min((u.time for u in read), default=max(truth) + 1)
        assert closed == [candle for time, candle in truth.items() if time >= first]
        check_gaps(case, end, symbol, first)
        check_updates(updates, past, closed, truth)
        check_updates(read, past, closed, truth)
        assert sum(update.kind == "forming" for update in updates) <= 1  # it wasn't taken before
    assert without_forming(end.read) == without_forming(end.updates)
    assert most_within(end.attempts, WINDOW) <= ATTEMPTS
    assert end.hasty == []
    assert set(end.answers) == {200}
    if case.recovers:
        assert end.state == ("LIVE", "")
        for forming in end.forming:
            check_forming(forming)


def check_gaps(case: Case, end: Outcome, symbol: str, first: int) -> None:
    """Each bar in the ledger is what it is said to be, and no hole of the market is left out."""
    truth = end.truth[symbol]
    said: dict[int, str] = {}
    for gap in end.gaps[symbol]:
        bars = bars_between(gap.start, gap.end, case.timeframe)
        assert gap.missing == len(bars)
        assert not said.keys() & set(bars)
        assert gap.closed is not None
        said |= dict.fromkeys(bars, gap.kind)
    assert "open" not in said.values()
    known = bars_between(first, max([*truth, *said]) + 1, case.timeframe)
    venue = [bar for bar, kind in said.items() if kind == "venue"]
    assert venue == [bar for bar in known if bar not in truth]
    filled = {u.time for u in end.updates if (u.symbol, u.kind) == (symbol, "filled")}
    assert {bar for bar, kind in said.items() if kind == "ours"} == filled


def check_updates(
    updates: list[Update], past: list[Candle], closed: list[Candle], truth: dict[int, Candle]
) -> None:
    """What a cursor told adds up to the table; each candle came once and was never partial."""
    told = {candle.time: candle for candle in past}
    for update in updates:
        if update.kind in ("closed", "filled"):
            assert update.time not in told
            assert update.candle == truth[update.time]
            told[update.time] = update.candle
        elif update.kind == "forming":
            assert update.time not in told  # else a partial candle would follow the whole one
        else:
            assert update.kind == "gap"  # nothing is ever revised
    assert [told[time] for time in sorted(told)] == closed


def check_forming(forming: Forming) -> None:
    """Nothing of it is missing: volumes are added up in another order, the rest is equal."""
    known, true = forming.known, forming.true
    assert not forming.partial
    if known is None or true is None or not true.trades:
        assert known in (None, true)
        return
    assert known[:5] == true[:5]
    assert known.trades == true.trades
    assert known[5:] == pytest.approx(true[5:], rel=1e-9)


def without_forming(updates: list[Update]) -> list[Update]:
    return [update for update in updates if update.kind != "forming"]


def bars_between(start: int, until: int, timeframe: str) -> list[int]:
    bars = []
    while start < until:
        bars.append(start)
        start = next_start(start, timeframe)
    return bars


def most_within(moments: list[float], span: float) -> int:
    """The most moments that lie within any ``span`` seconds."""
    return max(k - bisect_left(moments, moments[k] - span + 1e-6) + 1 for k in range(len(moments)))


def survive(case: Case) -> Outcome:
    """Run a case and check it; a failure tells the whole case."""
    try:
        end = run(follow(case))
        check(case, end)
    except BaseException as error:
        error.add_note(str(case))
        raise
    return end


# The cases.


@pytest.mark.parametrize("group", range(10))
def test_random_trouble(group: int) -> None:
    for seed in range(20 * group, 20 * group + 20):
        survive(case_of(seed))


@pytest.mark.parametrize(("timeframe", "missing"), [("1m", 80), ("3m", 26), ("5m", 16)])
def test_random_trouble_around_a_halt(timeframe: str, missing: int) -> None:
    """From 11:28 the minutes have no trade, from 12:40 to 14:00 there are none."""
    halt = {"begin": "2023-03-24 11:15", "hours": 3.0, "past": 0.1, "timeframe": timeframe}
    for seed in range(200, 203):
        case = case_of(seed, **halt)
        gaps = survive(case).gaps["BTCUSDT"]
        assert missing in [gap.missing for gap in gaps if gap.kind == "venue"]


async def check_seamless(case: Case, renewals: int, failures: int = 0) -> None:
    """Connections are replaced before the venue ends them, and nobody notices."""
    now = Run(case)
    await now.playing
    await asyncio.sleep(1)
    for symbol, track in now.core.tracks.items():
        truth = list(now.exchange.truth(symbol, case.timeframe).values())
        assert rows_of(track.book.candles) == truth[-len(track.book.candles) :]
        assert track.book.gaps == []
    assert now.core.counts["renewals"] == renewals
    assert now.core.counts["reconnects"] == 0
    assert len(now.exchange.attempts) == 1 + renewals + failures
    # But for those that die at once, the client is always the first to close.
    assert now.exchange.goodbyes == [""] * failures
    assert now.states == ["CONNECTING", "BACKFILLING", "LIVE"]
    await now.stop()


@virtual
async def test_two_days_without_trouble() -> None:
    long = {"hours": 49.0, "speed": 150.0, "timeframe": "15m", "history": 2}
    await check_seamless(case_of(0, symbols=("BTCUSDT",), schedule=[], **long), renewals=2)


@virtual
async def test_shutdowns_that_are_announced() -> None:
    schedule = [Step(90.0 * k, "shut_down", {"within": 60_000}) for k in range(1, 4)]
    case = case_of(0, hours=1.0, speed=1.0, timeframe="1m", history=5, schedule=schedule)
    await check_seamless(case, renewals=3)


@virtual
async def test_a_successor_that_dies_at_once_leaves_the_old_connection_in_use() -> None:
    dying = Step(90.0, "accept_and_close", {"count": 2})
    schedule = [dying, Step(90.1, "shut_down", {"within": 120_000})]
    case = case_of(0, hours=1.0, speed=1.0, timeframe="1m", history=5, schedule=schedule)
    await check_seamless(case, renewals=1, failures=2)


def test_a_halt_is_waited_for_patiently() -> None:
    halt = {"begin": "2023-03-24 11:15", "hours": 3.0, "past": 0.1, "timeframe": "1m"}
    end = survive(case_of(0, symbols=("BTCUSDT",), speed=6.0, schedule=[], **halt))
    assert [gap.missing for gap in end.gaps["BTCUSDT"]][:1] == [80]
    assert len(end.attempts) < 15


def test_a_connection_that_dies_whenever_it_has_come_to_life() -> None:
    """Each counts as a success, so that waits stay short: only the budget keeps the peace."""
    schedule = [Step(round(5.5 * k, 1), "kill") for k in range(400)]
    end = survive(case_of(0, hours=1.5, speed=1.0, schedule=schedule))
    assert most_within(end.attempts, WINDOW) > ATTEMPTS // 2


def test_rest_that_is_behind_is_not_asked_too_early() -> None:
    """Each bar ends while there is no connection; REST shows it whole only after 2.9 s."""
    draw = random.Random(0)
    kills = [Step(round(60 * k - draw.uniform(0, 1.5), 3), "kill") for k in range(1, 40)]
    schedule = [Step(0.0, "lag", {"milliseconds": 2900}), *kills]
    end = survive(case_of(0, timeframe="1m", hours=1.5, speed=1.0, schedule=schedule))
    assert end.counts["filled"] > 10


def test_connections_that_are_closed_as_soon_as_they_are_open() -> None:
    schedule = [Step(60.0, "accept_and_close", {"count": 10_000}), Step(60.1, "kill")]
    end = survive(case_of(0, hours=1.5, speed=1.0, schedule=schedule))
    assert 60 < len(end.attempts) < 300


def test_a_venue_that_announces_its_end_all_the_time() -> None:
    """Replacing connections is no failure, so that again only the budget keeps the peace."""
    schedule = [Step(float(k), "shut_down", {"within": 600_000}) for k in range(60, 1200)]
    end = survive(case_of(0, hours=1.5, speed=1.0, schedule=schedule))
    assert most_within(end.attempts, WINDOW) == ATTEMPTS


@pytest.mark.parametrize("hang", [False, True])
def test_a_venue_that_is_not_there_at_first(hang: bool) -> None:
    schedule = [Step(0.0, "cut_network", {"seconds": 100.0, "hang": hang})]
    end = survive(case_of(0, hours=1.0, speed=1.0, history=5, schedule=schedule))
    assert {len(past) for past in end.loaded.values()} == {5}


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_is_the_same_story(seed: int) -> None:
    case = case_of(seed, speed=20.0)
    first, second = run(follow(case, with_log=True)), run(follow(case, with_log=True))
    assert first.log.encode() == second.log.encode()
    assert first == second


async def stopped(case: Case, after: float) -> Run:
    now = Run(case)
    await asyncio.sleep(after)
    await now.stop()
    return now


@pytest.mark.parametrize("group", range(4))
def test_a_client_can_be_stopped_at_any_moment(group: int) -> None:
    """Neither tasks nor connections stay behind."""
    for seed in range(10 * group, 10 * group + 10):
        case = case_of(seed, speed=20.0)
        after = random.Random(seed).uniform(0, TROUBLED * case.seconds)
        try:
            run(stopped(case, after))
        except BaseException as error:
            error.add_note(f"stopped after {after:.3f} s: {case}")
            raise


def test_a_client_can_be_stopped_while_it_replaces_a_connection() -> None:
    """Then there are two of them: the old one stays while the new one brings nothing."""
    schedule = [Step(60.0, "shut_down", {"within": 600_000}), Step(60.01, "mute")]
    case = case_of(0, hours=1.0, speed=1.0, schedule=schedule)
    assert run(stopped(case, after=62.0)).exchange.most_links == 2
