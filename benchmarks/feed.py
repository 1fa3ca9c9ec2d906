"""How much the feed can take, and what a message costs it::

    .venv/bin/python -m benchmarks.feed                   # about three minutes
    .venv/bin/python -m benchmarks.feed --seconds 5 --no-screen --no-results

A server in a process of its own (`load`) sends klines and trades of one symbol over loopback: first
10,000 a second for a minute, then 30,000 at once. The lag of a message is the time from the moment
the server wrote it until the feed had handled it, by one machine's clock; all of them count. What
a message costs is the processor time of this process over the messages it got. At last, how long
it takes until a price is on the screen (`screen`: in Chromium, through JupyterLab).

It writes its section of ``benchmarks/RESULTS.md`` (``--no-results``: only prints it) and ends with
exit code 1 if a message was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from astraquant import Feed
from astraquant.candles import times_of
from astraquant.feed.link import Connect, Link, connector
from astraquant.feed.protocol import AggTrade, Kline, parse

from . import harness, screen
from .apart import Apart
from .cache import named
from .load import BEAT, KLINE_EVERY, Load

SYMBOL = "BTCUSDT"
STREAMS = f"/stream?streams={SYMBOL.lower()}@kline_1m/{SYMBOL.lower()}@aggTrade"
RATE, BURST, LIMIT = 10_000, 30_000, 0.25  # messages a second, messages, seconds of lag
IDLE = 20  # messages a second that keep a feed from thinking the venue dead
PATIENCE = 60.0  # seconds for messages to be handled
POLL = 0.002  # seconds


class Recorder(Link):
    """A connection that notes when each message was asked for: then all before it are handled."""

    def __init__(self, link: Link, asked: array[int]) -> None:
        self._link, self._asked = link, asked

    async def receive(self) -> bytes | str:
        self._asked.append(time.time_ns() // 1000)
        return await self._link.receive()

    async def close(self) -> None:
        await self._link.close()

    def abort(self) -> None:
        self._link.abort()


class Record:
    """When the messages of the last connection were handled, µs since 1970."""

    def __init__(self) -> None:
        self._asked = array("q")

    def __len__(self) -> int:
        return max(0, len(self._asked) - 1)

    def __getitem__(self, part: slice) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(self._asked, np.int64)[1:][part]

    def connector(self, *, proxies: bool) -> Connect:
        """In the place of `link.connector`."""
        connect = connector(proxies=proxies)

        async def recorded(address: str) -> Link:
            link = await connect(address)
            self._asked = array("q")
            return Recorder(link, self._asked)

        return recorded


@contextmanager
def recorded() -> Iterator[Record]:
    """Let feeds that are started in the meantime note when they have handled what."""
    record = Record()
    with mock.patch("astraquant.feed.feed.connector", record.connector):
        yield record


class Pass(NamedTuple):
    """What became of some messages. ``lags``: seconds, one of each message that was handled."""

    sent: int
    handled: int
    repeated: int
    seconds: float  # from the first one's sending until the last one was handled
    processor: float  # seconds of processor time in this process meanwhile
    lags: np.ndarray[tuple[int], np.dtype[np.float64]]

    @property
    def lost(self) -> int:
        return self.sent - (self.handled - self.repeated)

    @property
    def cost(self) -> float:
        """Processor time of a message, µs."""
        return self.processor / self.handled * 1e6

    @property
    def lag(self) -> str:
        """Median, 99th percentile and maximum, ms."""
        parts = (harness.percentile(self.lags.tolist(), share) for share in (0.5, 0.99, 1.0))
        return " / ".join(f"{1000 * part:.1f}" for part in parts)


class Rig:
    """A feed on the load, and what can be done to it."""

    def __init__(self, venue: Apart, feed: Feed, record: Record) -> None:
        self._venue, self._feed, self._record = venue, feed, record

    def steady(self, rate: float, seconds: float) -> Pass:
        """Send ``rate`` messages a second."""

        def send() -> None:
            self._venue.ask("rate", rate)
            time.sleep(seconds)
            self._venue.ask("rate", 0)

        return self._pass(send)

    def burst(self, count: int) -> Pass:
        """Send ``count`` messages in one write."""
        return self._pass(lambda: self._venue.ask("burst", count))

    def _pass(self, send: Callable[[], object]) -> Pass:
        self._venue.ask("rate", 0)
        first = self._handled()
        before, processor = self._feed.stats, time.process_time()
        send()
        last = self._handled()
        processor = time.process_time() - processor
        after, counts = self._feed.stats, self._venue.ask("counts")
        if counts["connections"] > 1:
            raise RuntimeError(f"the feed has lost its connection: {self._feed.status}")
        got = [after.get(name, 0) - before.get(name, 0) for name in ("klines", "trades")]
        repeated = after.get("trades_repeated", 0) - before.get("trades_repeated", 0)
        moments = np.frombuffer(self._venue.ask("moments"), np.int64)
        until = self._record[:]
        count = min(last, len(moments))
        self._venue.ask("rate", IDLE)
        sent = counts["trades"] + counts["klines"] - first
        lags = (until[first:count] - moments[first:count]) / 1e6
        span = float(until[count - 1] - moments[first]) / 1e6
        return Pass(sent, sum(got), repeated, span, processor, lags)

    def _handled(self) -> int:
        """How many messages are handled, once all that were sent are, or none more come."""
        counts = self._venue.ask("counts")
        sent, before, quiet = counts["trades"] + counts["klines"], -1, time.monotonic()
        while (now := len(self._record)) < sent:
            if now != before:
                before, quiet = now, time.monotonic()
            if time.monotonic() - quiet > PATIENCE / 10:
                break
            time.sleep(POLL)
        return now

    def missing(self) -> int:
        """How many trades of the venue are in no candle, closed or forming.

        Below 0: some are in there twice.
        """
        self._venue.ask("rate", 0)
        self._handled()
        made = len(np.frombuffer(self._venue.ask("made"), np.int64))
        begin, candles = self._venue.ask("begin"), self._feed.candles
        folded = candles["trades"][times_of(candles) >= begin].sum() + self._feed.forming.trades
        self._venue.ask("rate", IDLE)
        return made - int(folded)


@contextmanager
def rig() -> Iterator[Rig]:
    """A feed that follows a load which hardly sends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        named(Path(folder)),
        Apart(Load, SYMBOL) as venue,
        recorded() as record,
    ):
        venue.ask("rate", IDLE)
        with Feed(SYMBOL, "1m", venue.ask("url"), name="load") as feed:
            feed.wait("LIVE")
            yield Rig(venue, feed, record)


# What a message costs without all of the feed.


def read_and_drop(message: bytes | str) -> None:
    """Only receive."""


def read_and_parse(message: bytes | str) -> None:
    """Receive and make an event of it."""
    event = parse(message)
    assert isinstance(event, Kline | AggTrade)


def cost_of(handle: Callable[[bytes | str], None], rate: float, seconds: float) -> float:
    """Processor time of a message, µs, if nothing is done with it but ``handle``."""
    with Apart(Load, SYMBOL) as venue:
        address = venue.ask("url").replace("http", "ws") + STREAMS
        return asyncio.run(_cost(venue, address, handle, rate, seconds))


async def _cost(
    venue: Apart, address: str, handle: Callable[[bytes | str], None], rate: float, seconds: float
) -> float:
    link = await connector(proxies=False)(address)
    await asyncio.to_thread(venue.ask, "rate", rate)
    for _ in range(int(rate / 10)):  # warm
        handle(await link.receive())
    count, processor = int(rate * seconds), time.process_time()
    for _ in range(count):
        handle(await link.receive())
    processor = time.process_time() - processor
    link.abort()
    return processor / count * 1e6


# What is said of it.


class Figures(NamedTuple):
    """All that is measured. ``received``, ``parsed``: µs of processor time per message."""

    rate: int
    seconds: float
    steady: Pass
    burst: Pass
    missing: int
    received: float
    parsed: float

    @property
    def is_right(self) -> bool:
        return not (self.steady.lost or self.burst.lost or self.missing)


def measure(rate: int, seconds: float, burst: int) -> Figures:
    with rig() as loaded:
        steady, all_at_once = loaded.steady(rate, seconds), loaded.burst(burst)
        missing = loaded.missing()
    short = min(seconds, 10.0)
    costs = [cost_of(handle, rate, short) for handle in (read_and_drop, read_and_parse)]
    return Figures(rate, seconds, steady, all_at_once, missing, *costs)


def report(figures: Figures, seen: screen.Seen | None = None) -> Iterator[str]:
    """The section of RESULTS.md."""
    steady, burst = figures.steady, figures.burst
    yield "## The feed under load\n"
    yield (
        f"Written by `python -m benchmarks.feed`: messages of one symbol over loopback, one in "
        f"{KLINE_EVERY} a kline and the others trades, those of each {1000 * BEAT:g} ms in one "
        "write. Lag: from the server's write until the feed has handled the message.\n"
    )
    yield f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    yield f"- Machine: {harness.machine()}; the server runs there too\n"
    yield "| what | figure | target |\n|---|--:|--:|"
    title = f"{figures.rate:,} messages/s for {figures.seconds:g} s"
    yield f"| {title}: handled, of those sent | {steady.handled:,} of {steady.sent:,} | all |"
    yield f"| … lost | {steady.lost:,} | 0 |"
    yield f"| … lag, p50 / p99 / max | {steady.lag} ms | p99 < {1000 * LIMIT:.0f} ms |"
    yield f"| {burst.sent:,} messages at once: lost | {burst.lost:,} | 0 |"
    yield f"| … until all are handled | {burst.seconds:.2f} s | |"
    yield f"| trades of all these that are in no candle | {figures.missing:,} | 0 |"
    yield f"| processor time per message: received only | {figures.received:.1f} µs | |"
    yield f"| … received and parsed | {figures.parsed:.1f} µs | |"
    yield f"| … the whole feed | {steady.cost:.1f} µs | |"
    if seen is not None:
        yield from _screen(seen)


def _screen(seen: screen.Seen) -> Iterator[str]:
    title = f"venue to screen, {screen.RATE} messages/s, {seen.candles} candles"
    yield f"| {title}: prices drawn | {len(seen.shown):,} of {len(seen.all):,} | |"
    for what, values, target in (
        ("delay of what was drawn", seen.shown, f"p95 ≤ {1000 * screen.LIMIT:.0f} ms"),
        ("delay of all, until they or a later one were drawn", seen.all, ""),
    ):
        parts = (harness.percentile(values.tolist(), share) for share in (0.5, 0.95, 1.0))
        told = " / ".join(f"{part:.0f}" for part in parts)
        yield f"| … {what}, p50 / p95 / max | {told} ms | {target} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=RATE, help="messages a second")
    parser.add_argument("--burst", type=int, default=BURST, help="messages at once")
    parser.add_argument("--no-screen", action="store_true", help="need no browser")
    parser.add_argument("--no-results", action="store_true", help="write no file")
    known = parser.parse_args(arguments)
    figures = measure(known.rate, known.seconds, known.burst)
    seen = None
    if known.no_screen or screen.browser() is None:
        print("The way to the screen is not measured: no browser, or no wish.", file=sys.stderr)
    else:
        print("\n".join(report(figures)), flush=True)  # whatever becomes of the browser
        seen = screen.measure(known.seconds)
    lines = list(report(figures, seen))
    print("\n".join(lines), flush=True)
    if not known.no_results:
        harness.write_section(harness.RESULTS, "feed", lines)
    return 0 if figures.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
