"""A feed that lives through faults for an hour, held against what the exchange really played::

    .venv/bin/python -m benchmarks.soak --minutes 60

A simulated exchange, in a process of its own, plays the synthetic sample at 20 times real time and
meets a fault every 10 s: connections that break, hang, fall silent, lose, repeat or mangle
messages, refuse, answer late or wrongly (see `trouble`; ``--seed`` chooses which come when). When
they have ceased, each closed candle is compared with the exchange's own; a subscriber's view,
built from updates alone, too. Meanwhile memory, threads and open files are watched.

It writes its section of ``benchmarks/RESULTS.md`` (``--no-results``: only prints it) and ends with
exit code 1 if a candle was lost, doubled, invented or wrong.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from astraquant import Feed, SimulatedExchange
from astraquant.candles import times_of
from astraquant.data.sample import sample_candles
from astraquant.timeframes import MINUTE

from . import harness, trouble
from .apart import Apart
from .cache import named
from .judging import Curve, Verdict, View, compare

SYMBOL = "BTCUSDT"
STREAMS = [f"{SYMBOL.lower()}@kline_1m", f"{SYMBOL.lower()}@aggTrade"]
FIRST = pd.Timestamp("2023-05-01", tz="UTC")  # where the exchange begins to play
HISTORY = 1000  # minutes before that
SAMPLE_EVERY, SAY_EVERY, LOOK_EVERY = 10.0, 60.0, 0.1  # seconds
PATIENCE = 180.0  # seconds after the last fault within which all must be well again
WARM_UP = 600.0  # seconds whose memory doesn't count


# The exchange, in its own process.


class Exchange:
    """What `apart.Apart` makes and asks: it plays ``minutes`` of the sample, then stands still."""

    def __init__(self, minutes: int, speed: float) -> None:
        span = pd.Timedelta(minutes, "min")
        before = pd.Timedelta(2 * HISTORY, "min")
        self._candles = sample_candles(SYMBOL, start=FIRST - before, end=FIRST + span)
        self._venue = SimulatedExchange(self._candles, SYMBOL, speed, FIRST).start()

    def __call__(self, question: str, *values: Any) -> Any:
        return getattr(self, question)(*values)

    def close(self) -> None:
        self._venue.stop()

    def url(self) -> str:
        return self._venue.url

    def now(self) -> int:
        return self._venue.now

    def cause(self, fault: str, values: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        getattr(self._venue, fault)(*values, **options)

    def fates(self) -> dict[str, int]:
        """How many messages met which fault, and how many were sent as they are."""
        return dict(self._venue.ledger.counts)

    def truth(self, first: int, last: int) -> pd.DataFrame:
        """What was played: the candles that open from ``first`` to ``last``, ms UTC."""
        times = times_of(self._candles)
        return self._candles[(times >= first) & (times <= last)]


# The run.


@dataclass
class Soak:
    """What a run was told and what came of it."""

    minutes: float
    speed: float
    every: float
    seed: int
    warm_up: float
    curve: Curve = field(default_factory=Curve)
    faults: Counter[str] = field(default_factory=Counter)
    logged: Counter[str] = field(default_factory=Counter)  # records by level
    fates: dict[str, int] = field(default_factory=dict)
    stats: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)  # bars by kind
    verdict: Verdict | None = None  # of the feed's candles; None: it never got well again
    view: Verdict | None = None  # of a subscriber's
    unfounded: int = 0
    settled: float = float("nan")  # seconds from the last fault until all was well
    ending: str = ""

    @property
    def is_right(self) -> bool:
        if self.verdict is None or self.view is None:
            return False
        honest = self.gaps.get("venue", 0) == 0  # the exchange lacks none of these bars
        return self.verdict.is_right and self.view.is_right and not self.unfounded and honest


def run(soak: Soak) -> Soak:
    """Do it: fill in what comes of it."""
    seconds = soak.minutes * 60
    needed = int((seconds + PATIENCE + 60) / 60 * soak.speed) + 1
    with (
        tempfile.TemporaryDirectory() as folder,
        named(Path(folder)),
        _counted(soak.logged),
        Apart(Exchange, needed, soak.speed) as venue,
        Feed(SYMBOL, "1m", venue.ask("url"), name="soak", history=HISTORY) as feed,
    ):
        feed.wait("LIVE")
        _live(soak, venue, feed, seconds)
    return soak


def _live(soak: Soak, venue: Apart, feed: Feed, seconds: float) -> None:
    cursor, candles = feed.subscribe(), feed.candles
    view, known = View(candles), int(times_of(candles)[-1])
    view.take(u for u in cursor.take() if u.time > known)  # those before are in the table
    steps = trouble.plan(soak.seed, seconds, soak.every, STREAMS)
    begin = time.monotonic()
    sampled = said = 0.0
    while (passed := time.monotonic() - begin) < seconds or steps:
        while steps and steps[0].at <= passed:
            step = steps.pop(0)
            venue.ask("cause", step.fault, step.values, step.options)
            soak.faults.update([step.kind] if step.kind else [])
        view.take(cursor.take())
        if passed >= sampled:
            soak.curve.add(passed, harness.process())
            sampled += SAMPLE_EVERY
        if passed >= said:
            _say(soak, feed, passed)
            said += SAY_EVERY
        if not feed.is_running:
            soak.ending = f"the feed has ended by itself: {feed.status.reason}"
            return
        time.sleep(LOOK_EVERY)
    soak.settled = _settle(venue, feed)
    view.take(cursor.take())
    _judge(soak, venue, feed, view)


def _say(soak: Soak, feed: Feed, passed: float) -> None:
    held, stats = harness.process(), feed.stats
    memory = f"{held.memory / 2**20:.1f} MiB" if held else "memory not measured"
    counts = ", ".join(
        f"{name} {stats.get(name, 0):,}"
        for name in ("messages", "reconnects", "closed", "filled", "revised", "rejected")
    )
    told = f"{passed / 60:5.1f} min  {feed.status.state:12} {memory}, faults {soak.faults.total()}"
    print(f"{told}, {counts}", flush=True)


def _settle(venue: Apart, feed: Feed) -> float:
    """Wait until all is well; returns the seconds it took, NaN if it never was."""
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE:
        due = venue.ask("now") // MINUTE * MINUTE - MINUTE  # the last bar that is over
        time.sleep(5 * LOOK_EVERY)
        well = feed.status.state == "LIVE" and not (feed.gaps["kind"] == "open").any()
        if well and times_of(feed.candles)[-1] >= due:
            return time.monotonic() - begin
    return float("nan")


def _judge(soak: Soak, venue: Apart, feed: Feed, view: View) -> None:
    soak.fates = venue.ask("fates")
    soak.stats = feed.stats
    gaps = feed.gaps
    soak.gaps = {str(k): int(n) for k, n in gaps.groupby("kind")["missing"].sum().items()}
    if np.isnan(soak.settled):
        soak.ending = f"not LIVE and whole {PATIENCE:.0f} s after the last fault: {feed.status}"
        return
    until = view.table().index[-1]
    candles = feed.candles.loc[:until]  # the feed goes on
    times = times_of(candles)
    truth = venue.ask("truth", int(times[0]), int(times[-1]))
    soak.verdict = compare(candles, truth)
    soak.view = compare(view.table(), truth)._replace(duplicated=view.duplicated)
    soak.unfounded = view.unfounded


class _Counter(logging.Handler):
    """Counts what is logged, and shows errors: a soak runs unattended."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts

    def emit(self, record: logging.LogRecord) -> None:
        self._counts[record.levelname] += 1
        if record.levelno >= logging.ERROR:
            print(f"{record.levelname}: {record.getMessage()}", file=sys.stderr, flush=True)


@contextmanager
def _counted(counts: Counter[str]) -> Iterator[None]:
    """Count what the feed logs meanwhile, from INFO on."""
    log, counter = logging.getLogger("astraquant.feed"), _Counter(counts)
    level = log.level
    log.addHandler(counter)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(counter)
        log.setLevel(level)


# What is said of it.


def report(soak: Soak) -> Iterator[str]:
    """The section of RESULTS.md."""
    yield "## A feed among faults\n"
    yield (
        f"Written by `python -m benchmarks.soak --minutes {soak.minutes:g} --speed {soak.speed:g} "
        f"--fault-every {soak.every:g} --seed {soak.seed}`: a simulated exchange in another "
        f"process plays the synthetic sample at {soak.speed:g} times real time, with a fault every "
        f"{soak.every:g} s.\n"
    )
    yield f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    yield f"- Machine: {harness.machine()}\n"
    yield "| what | figure | target |\n|---|--:|--:|"
    if soak.ending:
        yield f"| ended | {soak.ending} | |"
    for title, verdict in (("the feed's candles", soak.verdict), ("a subscriber's", soak.view)):
        if verdict is not None:
            yield f"| {title}, beside the exchange's | {verdict.candles:,} | |"
            wrong = f"{verdict.lost} / {verdict.duplicated} / {verdict.invented}"
            yield f"| … lost / duplicated / invented | {wrong} | 0 / 0 / 0 |"
            yield f"| … differing in any figure | {verdict.differing} | 0 |"
    yield f"| revisions of what was never told | {soak.unfounded} | 0 |"
    yield f"| gaps blamed on the exchange, bars | {soak.gaps.get('venue', 0)} | 0 |"
    yield f"| seconds from the last fault until LIVE and whole | {soak.settled:.1f} | |"
    yield from _resources(soak)
    yield from _counts(soak)


def _resources(soak: Soak) -> Iterator[str]:
    part = soak.curve.after(soak.warm_up)
    if not part.seconds:
        yield "| memory, threads, files | not measured | |"
        return
    warm = f"after {soak.warm_up / 60:.1f} min"
    yield f"| memory {warm}: slope | {part.slope:+.2f} MiB in 10 min | < 1 |"
    low, high = min(part.memory), max(part.memory)
    yield f"| … from, to | {low:.0f} to {high:.0f} MiB | |"
    for title, values in (("threads", part.threads), ("open files", part.files)):
        yield f"| {title} {warm}: least, most, at the end | {_range(values)} | flat |"


def _range(values: Sequence[int]) -> str:
    return f"{min(values)}, {max(values)}, {values[-1]}"


def _counts(soak: Soak) -> Iterator[str]:
    stats = soak.stats
    for title, name in (
        ("messages", "messages"),
        ("connections", "connections"),
        ("reconnects", "reconnects"),
        ("found stale", "stale"),
        ("candles closed by the stream", "closed"),
        ("candles filled by REST", "filled"),
        ("candles revised", "revised"),
        ("trades refilled by REST", "trades_refilled"),
        ("messages refused", "rejected"),
    ):
        yield f"| {title} | {stats.get(name, 0):,} | |"
    faults = ", ".join(f"{name} {count}" for name, count in sorted(soak.faults.items()))
    fates = ", ".join(f"{name} {count:,}" for name, count in sorted(soak.fates.items()))
    logged = ", ".join(f"{name} {count:,}" for name, count in sorted(soak.logged.items()))
    yield f"\nFaults: {faults}. Messages by fate: {fates}. Logged: {logged or 'nothing'}."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--speed", type=float, default=20.0, help="venue time over real time")
    parser.add_argument("--fault-every", type=float, default=10.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-results", action="store_true", help="write no file")
    known = parser.parse_args(arguments)
    warm_up = min(WARM_UP, known.minutes * 60 / 3)
    soak = Soak(known.minutes, known.speed, known.fault_every, known.seed, warm_up)
    lines = list(report(run(soak)))
    print("\n".join(lines), flush=True)
    if not known.no_results:
        harness.write_section(harness.RESULTS, "soak", lines)
    return 0 if soak.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
