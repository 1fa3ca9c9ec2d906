"""Extremes and deviations of the last bars of a column, for many windows at once.

A window is put together from runs of 1, 2, 4, ... values, in the very order of `_rolling.fold`, so
that both agree bit for bit. The runs of a block of bars, and of the bars before it that windows
reach back to, are made once and serve all windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compile import compiled
from .._rolling import _joined_squares, _joined_sum
from .bars import BLOCK

Array = np.ndarray[Any, np.dtype[Any]]
Parts = tuple[Array, Array, Array]  # of runs: their sums, in two floats, and their squares
LONGEST = 1_024  # the longest window: the runs of longer ones would not stay in the cache


@compiled
def extreme_runs(values: Array, begin: int, bars: int, reach: int, largest: bool) -> Array:
    """Largest or smallest value of each run: [0, k, j] of the 2^k values up to the j-th.

    The first value is that of ``reach`` bars before bar ``begin``. Unknown (NaN) where one of a run
    is, or where it lies before the first bar.
    """
    runs = np.empty((1, _levels(reach + 1), reach + bars))
    take(values, begin - reach, runs[0, 0])
    size = 1
    for k in range(1, runs.shape[1]):
        shorter, run = runs[0, k - 1], runs[0, k]
        run[:size] = np.nan
        _pick(shorter[: len(run) - size], shorter[size:], largest, run[size:])
        size *= 2
    return runs


@compiled
def extreme(runs: Array, window: int, largest: bool, row: Array) -> None:
    """Largest or smallest value of each window: that of two runs, which may overlap."""
    k = _levels(window) - 1
    run = runs[0, k]
    end = len(run)
    older = end - len(row) - (window - (1 << k))
    _pick(run[older : older + len(row)], run[end - len(row) :], largest, row)


@compiled
def _pick(older: Array, newer: Array, largest: bool, to: Array) -> None:
    if largest:
        for i in range(len(to)):
            a, b = older[i], newer[i]
            to[i] = a if (a > b) | np.isnan(a) else b
    else:
        for i in range(len(to)):
            a, b = older[i], newer[i]
            to[i] = a if (a < b) | np.isnan(a) else b


@compiled
def spread_runs(values: Array, begin: int, bars: int, reach: int) -> Array:
    """Sum (in two floats) and squared distances from the mean of each run: see `extreme_runs`."""
    runs = np.empty((3, _levels(reach + 1), reach + bars))
    take(values, begin - reach, runs[0, 0])
    for j in range(runs.shape[2]):
        runs[1, 0, j] = runs[2, 0, j] = np.nan if np.isnan(runs[0, 0, j]) else 0.0
    size = 1
    for k in range(1, runs.shape[1]):
        runs[:, k, :size] = np.nan
        count = runs.shape[2] - size
        older, newer = _parts(runs, k - 1, 0, count), _parts(runs, k - 1, size, count)
        _join(older, size, newer, size, _parts(runs, k, size, count))
        size *= 2
    return runs


@compiled
def deviation(runs: Array, window: int, memory: Array, row: Array) -> None:
    """Population deviation of each window. ``memory``: see `room_for_parts`."""
    end, bars = runs.shape[2], len(row)
    held, size, k, turn = 0, 1, 0, 0
    while held < window:
        if window & size:  # put this run in front of what is held already
            run, whole = _parts(runs, k, end - bars - held, bars), _parts(memory, turn, 0, bars)
            turn = 1 - turn
            _join(run, size, whole, held, _parts(memory, turn, 0, bars))
            held += size
        size, k = 2 * size, k + 1
    squares = memory[2, turn]
    for i in range(bars):
        row[i] = np.sqrt(squares[i] / window)


@compiled
def room_for_parts() -> Array:
    """Memory for what `deviation` has put together so far, twice."""
    return np.empty((3, 2, BLOCK))


@compiled
def _parts(runs: Array, k: int, first: int, count: int) -> Parts:
    end = first + count
    return runs[0, k, first:end], runs[1, k, first:end], runs[2, k, first:end]


@compiled
def _join(older: Parts, size: int, newer: Parts, held: int, to: Parts) -> None:
    """Parts of the runs ``older``, of ``size`` values, and ``newer``, of ``held``.

    A loop for each part: the compiler makes vectors of loops that write to one array only.
    """
    (a, a_low, a_squares), (b, b_low, b_squares), (high, low, squares) = older, newer, to
    if held == 0:
        high[:], low[:], squares[:] = a, a_low, a_squares
        return
    one, other = float(size), float(held)
    scale = 1.0 / (one * other * (one + other))
    for i in range(len(high)):
        squares[i] = _joined_squares(
            a[i], a_low[i], a_squares[i], one, b[i], b_low[i], b_squares[i], other, scale
        )
    for i in range(len(high)):
        high[i] = _joined_sum(a[i], a_low[i], b[i], b_low[i])[0]
    for i in range(len(high)):
        low[i] = _joined_sum(a[i], a_low[i], b[i], b_low[i])[1]


@compiled
def take(values: Array, first: int, to: Array) -> None:
    """The values from bar ``first`` on, which may lie before the first of all."""
    before = min(max(-first, 0), len(to))
    to[:before] = np.nan
    given = values[first + before : first + len(to)]
    rest = to[before:]
    for i in range(len(rest)):
        rest[i] = given[i] if np.isfinite(given[i]) else np.nan


@compiled
def _levels(window: int) -> int:
    """How many runs, of 1, 2, 4, ... values, are not longer than ``window``."""
    count = 0
    while 1 << count <= window:
        count += 1
    return count
