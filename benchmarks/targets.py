"""What was asked for, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import beside, cases, crossing, growth, planes
from .harness import least_and_median, shown
from .inputs import Inputs

Measured = Mapping[str, Mapping[str, list[float]]]  # seconds of each run, by case and tool


@dataclass(frozen=True)
class Target:
    """A figure with what it must be and what it is meant to be: at most, or at least.

    ``least`` and ``median`` are of the runs, or the ratio of two such. ``unit``: "s", "MB" or "×".
    """

    what: str
    least: float
    median: float
    must: float | None = None
    aim: float | None = None
    unit: str = "s"
    at_least: bool = False

    @property
    def reached(self) -> str:
        """What was reached, by the minimums: noise only adds."""
        if self.must is None:
            return ""
        sign = -1 if self.at_least else 1
        if self.aim is not None and sign * self.least <= sign * self.aim:
            return "aim"
        return "must" if sign * self.least <= sign * self.must else "**missed**"

    def line(self) -> str:
        """Its row in the table."""
        bound = "≥ " if self.at_least else "≤ "
        must, aim = (
            "" if limit is None else bound + self._said(limit) for limit in (self.must, self.aim)
        )
        figures = f"{self._said(self.least)} | {self._said(self.median)}"
        return f"| {self.what} | {figures} | {must} | {aim} | {self.reached} |"

    def _said(self, value: float) -> str:
        if self.unit == "s":
            return shown(value)
        if self.unit == "×" and abs(value) < 99.5:
            return f"{value:.3g} ×"
        return f"{value:,.0f} {self.unit}"


def timed(what: str, seconds: Sequence[float], must: float, aim: float) -> Target:
    return Target(what, *least_and_median(seconds), must, aim)


def compared(
    what: str,
    over: Sequence[float],
    under: Sequence[float],
    must: float | None,
    aim: float | None,
) -> Target:
    """How many times as long ``over`` takes: at most so many."""
    return Target(what, *_ratios(over, under), must, aim, "×")


def outdone(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    must: float,
    aim: float | None = None,
) -> Target:
    """How many times as long others take: at least so many."""
    return Target(what, *_ratios(theirs, ours), must, aim, "×", at_least=True)


def _ratios(over: Sequence[float], under: Sequence[float]) -> tuple[float, float]:
    """Of the minimums, and of the medians."""
    (least, median), (other_least, other_median) = map(least_and_median, (over, under))
    return least / other_least, median / other_median


def targets(
    inputs: Inputs, measured: Measured, first: Sequence[growth.First], memory: int | None
) -> Iterator[Target]:
    """Every figure that was asked for, in the order in which it was asked."""
    candles = inputs.candles
    plane = measured[planes.others_title(inputs)]
    bar = measured[beside.TITLE]
    ours, long = bar[beside.us(candles)], plane[planes.LONG]
    vectorbt = min((bar[peer.title(candles)] for peer in beside.VECTORBT), key=min)
    pairs = f"{len(planes.PAIRS):,} pairs of windows 5..{planes.WINDOWS[-1]}"
    yield timed(f"{pairs}, {len(candles):,} minutes", long, 2.5, 1.0)
    yield outdone("… per bar and pair, vectorbt's faster engine takes", ours, vectorbt, 1500, 4000)
    raptorbt = bar[beside.RAPTORBT.title(candles)]
    yield outdone("… per bar and pair, raptorbt on all cores takes", ours, raptorbt, 150)
    for name, seconds in plane.items():
        asked = planes.PLANES[name]
        if name != planes.LONG:
            yield compared(f"… against that, {name}", seconds, long, asked.must, asked.aim)
    if memory is not None:
        yield Target("… memory added", memory / 1e6, memory / 1e6, 500, 200, "MB")
    added = [run.first - run.warm for run in first]
    yield timed("… first in a fresh process, compiled code on disk: over the next", added, 2, 1)
    whole = least_and_median([run.whole + run.first for run in first])
    yield Target("… from the start of Python to the first table, reading included", *whole)
    one = measured[crossing.backtest_title(candles, "1m")]["astraquant"]
    yield timed(f"one backtest(...).metrics, {len(candles):,} minutes", one, 10e-3, 4e-3)
    bars = measured[cases.resampling_title(candles, "5m")]["astraquant"]
    yield timed(f"resample {len(candles):,} minutes to 5m", bars, 6e-3, 4e-3)


def lines(found: Sequence[Target]) -> Iterator[str]:
    """The table."""
    yield "| what | minimum | median | must | aim | reached |\n|---|--:|--:|--:|--:|---|"
    for target in found:
        yield target.line()
