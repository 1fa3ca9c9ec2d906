"""The windows of a walk-forward: stretches to train on, each followed by the one it is tested on.

Spans of time are measured on the UTC clock, whatever bars are missing within them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .errors import DataError, StrategyError

Array = np.ndarray[Any, np.dtype[Any]]
Row = tuple[Any, ...]  # a combination of the grid, as in `Grid.rows`
_UNITS = {"w": timeframes.WEEK, "d": timeframes.DAY, "h": timeframes.HOUR, "m": timeframes.MINUTE}
_UNITS["s"] = timeframes.SECOND
# Without regard to case, but "M" is a month elsewhere: it is none of these.
_SPELLING = re.compile(r"\s*(\d{1,7})\s*([wdhsWDHS]|m)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """Trained on [train_start, test_start), tested on [test_start, test_end): int64 UTC ms.

    ``until``: when the next choice takes over, at the end of the test or before it. ``whole``: the
    candles last to the end of the test.
    """

    train_start: int
    test_start: int
    test_end: int
    until: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """What one window came to.

    ``row``: the best combination, None where no row has a figure. ``trained``, ``tested``: bars in
    the training and in the whole test. ``traded``: bars until the next choice takes over.
    ``in_sample``, ``out_of_sample``: its figure in both, NaN where there is none.
    """

    window: Window
    row: Row | None
    trained: int
    tested: int
    traded: int
    in_sample: float
    out_of_sample: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How windows follow each other: three spans in ms, and whether training always starts first.

    ``typed``: the spans as they were given, for errors. Raises `StrategyError` for a step beyond
    the test: the time between would never be traded.
    """

    train: int
    test: int
    step: int
    anchored: bool
    typed: Mapping[str, object] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.anchored, bool):
            raise StrategyError(
                f"anchored={self.anchored!r}: expected True (training always begins at the first "
                "bar) or False (it is as long as train says)"
            )
        if self.step > self.test:
            raise StrategyError(
                f"step={self._typed('step')} is longer than test={self._typed('test')}: the time "
                f"between two tests would never be traded. Leave step out, or take at most "
                f"{self._typed('test')}"
            )

    def _typed(self, name: str) -> str:
        return repr(self.typed.get(name, say_span(getattr(self, name))))

    def said(self) -> dict[str, Any]:
        """The plan by the names of the arguments."""
        spans = {name: say_span(getattr(self, name)) for name in ("train", "test", "step")}
        return {**spans, "anchored": self.anchored}

    def windows(self, times: Array, timeframe: str) -> list[Window]:
        """All windows over bars that open at ``times`` (increasing int64 ms, at least one).

        The first training begins at the first bar. The tests reach the last bar, so the last ones
        may be cut short. Raises `DataError` unless there is a bar after the first training.
        """
        first, last = int(times[0]), int(times[-1])
        end = timeframes.next_start(last, timeframe)
        if first + self.train > last:
            raise DataError(
                f"train={self._typed('train')} and at least one bar to test on do not fit: the "
                f"{len(times):,} bars of {timeframe} last {pd.Timedelta(end - first, 'ms')}, from "
                f"{at(first)} to {at(end)}. Take a shorter train, or more candles"
            )
        count = (last - first - self.train) // self.step + 1
        return [self._window(first, end, k, k == count - 1) for k in range(count)]

    def _window(self, first: int, end: int, number: int, is_last: bool) -> Window:
        moved = first + number * self.step
        test_start = moved + self.train
        test_end = test_start + self.test
        return Window(
            first if self.anchored else moved,
            test_start,
            min(test_end, end),
            end if is_last else test_start + self.step,
            test_end <= end,
        )


def parse_span(value: object, name: str, timeframe: str) -> int:
    """A span such as "90d", "12h", "4w" (or a timedelta) in ms: a whole number of bars, above 0.

    Raises `StrategyError` that names the argument.
    """
    length = _length(value)
    if length is None or length <= 0:
        raise StrategyError(
            f'{name}={value!r}: expected a span of time above 0, such as "90d", "12h" or "4w" '
            "(s seconds, m minutes, h hours, d days, w weeks; a month has no fixed length)"
        )
    if timeframe == "1M":
        raise StrategyError(
            f"{name}={value!r}: bars of 1M have no fixed length, so no span holds a whole number "
            'of them. Take timeframe="1w" or shorter'
        )
    bar = timeframes.duration(timeframe)
    if length % bar:
        less, more = length // bar * bar, -(-length // bar) * bar
        near = " or ".join(repr(say_span(span)) for span in (less, more) if span)
        raise StrategyError(
            f"{name}={value!r} is no whole number of bars of {timeframe}; expected {near}"
        )
    return length


def _length(value: object) -> int | None:
    """A span in ms; None if it is none, or finer than a millisecond."""
    if isinstance(value, str):
        found = _SPELLING.fullmatch(value)
        return int(found[1]) * _UNITS[found[2].lower()] if found else None
    if isinstance(value, dt.timedelta):
        span = pd.Timedelta(value)
        whole = span // pd.Timedelta(1, "ms")
        return int(whole) if span == pd.Timedelta(whole, "ms") else None
    return None


def say_span(length: int) -> str:
    """A span in ms as one writes it, in the longest unit that fits, up to days: ``90d``."""
    unit = next(name for name in "dhms" if length % _UNITS[name] == 0)
    return f"{length // _UNITS[unit]}{unit}"


def at(time: int) -> pd.Timestamp:
    """Milliseconds as a moment in UTC."""
    return pd.Timestamp(time, unit="ms", tz="UTC")
