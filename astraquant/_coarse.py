"""Bars of a higher timeframe, as they are known at each close of the bars that they are made of.

A higher bar is known from the first bar on whose close reaches its end, and until the next one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import DataError, StrategyError
from .resampling import join_bars, whole_bins
from .timeframes import DURATIONS, Times, bins_of, check_timeframe

Array = np.ndarray[Any, np.dtype[Any]]
_TIMES = ("time", "end")


def checked(timeframe: object) -> str:
    """Return ``timeframe`` if it is one, else raise `StrategyError`."""
    try:
        return check_timeframe(timeframe)
    except DataError as error:
        raise StrategyError(f"higher(candles, {timeframe!r}): {error}") from None


class Coarse:
    """The whole bars of ``timeframe`` within ``columns`` (those of `strategies.running`).

    ``columns``: the same ones, with a value for each higher bar; as in `resample` the first bar is
    left out unless the candles start at its start. Raises `StrategyError` for a timeframe that is
    no whole multiple of theirs.
    """

    def __init__(self, columns: Mapping[str, Array], timeframe: str) -> None:
        self.columns = columns
        self._last: Array | None = None  # for each bar the higher one known at its close
        times, ends = columns["time"], columns["end"]
        if len(times) == 0 or _timeframe_of(int(ends[0] - times[0])) == timeframe:
            return
        try:
            bins = whole_bins(times, _timeframe_of(int(ends[0] - times[0])), timeframe)
        except DataError as error:
            raise StrategyError(f"higher(candles, {timeframe!r}): {error}") from None
        closed = int(np.searchsorted(bins.end, ends[-1], side="right"))
        kept = slice(int(times[0] != bins.start[0]), closed)
        joined = join_bars({name: columns[name] for name in columns if name not in _TIMES}, bins)
        bars: dict[str, Array] = {"time": bins.start, "end": bins.end}
        bars |= {name: joined[name] for name in columns if name not in _TIMES}
        self.columns = {name: _frozen(values[kept]) for name, values in bars.items()}
        self._last = np.searchsorted(self.columns["end"], ends, side="right") - 1

    def at_closes(self, values: Array) -> Array:
        """``values``, one for each higher bar, at each close: NaN (False) before the first."""
        if self._last is None:
            return values
        nothing: Any = False if values.dtype == np.bool_ else np.nan
        kind = np.bool_ if values.dtype == np.bool_ else np.float64
        return np.append(values.astype(kind), nothing)[self._last]  # the last one: place -1

    def first_known(self, bar: int) -> int:
        """The first bar at whose close the higher bar ``bar`` is known; beyond all: none does."""
        return bar if self._last is None else int(np.searchsorted(self._last, bar))


def _timeframe_of(length: int) -> str:
    """The timeframe of bars of ``length`` ms: months are those of no fixed length."""
    return next((n for n, known in DURATIONS.items() if known == length and n != "1M"), "1M")


def bar_ends(times: Times, timeframe: str) -> Times:
    """When the bars that open at ``times`` close."""
    if timeframe == "1M":
        return bins_of(times, timeframe).end
    return times + DURATIONS[timeframe]


def _frozen(values: Array) -> Array:
    values = np.ascontiguousarray(values)
    values.flags.writeable = False
    return values
