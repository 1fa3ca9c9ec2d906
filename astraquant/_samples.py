"""Checked inputs of the statistics: numbers, tables of returns, sums over time blocks."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .errors import DataError
from .metrics import NEGLIGIBLE

Array = np.ndarray[Any, np.dtype[Any]]

UNVARIED = 1e-12  # of a sum of squares: a variance below this is rounding


def floats(name: str, value: Any) -> Array:
    """``value`` as an array of floats."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is {value!r}; expected a number or numbers") from error


def at_least(name: str, value: Any, least: float) -> Array:
    """``value`` as an array, no finite number below ``least``; NaN stays."""
    values = floats(name, value)
    wrong = (values < least) | np.isinf(values)
    if wrong.any():
        raise DataError(f"{name} is {values[wrong].flat[0]:g}; expected a number from {least:g} on")
    return values


def share(name: str, value: Any) -> float:
    """A number between 0 and 1, both excluded."""
    number = floats(name, value)
    if number.ndim or not 0.0 < number < 1.0:
        raise DataError(f"{name} is {value!r}; expected a number between 0 and 1, such as 0.95")
    return float(number)


def whole(name: str, value: Any, least: int) -> int:
    """A whole number from ``least`` on."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise DataError(f"{name} is {value!r}; expected a whole number from {least} on")
    return int(value)


def block_of(block: float | None, length: int) -> float:
    """Mean block length of a bootstrap: as asked for, or the cube root of the observations."""
    if block is None:
        return float(length ** (1.0 / 3.0))
    number = floats("block", block)
    if number.ndim or not 1.0 <= number <= length:
        raise DataError(
            f"block is {block!r}; expected a mean length from 1 to the {length} observations"
        )
    return float(number)


def finite(values: Array) -> Array:
    """``values`` with NaN in place of infinities."""
    return np.where(np.isfinite(values), values, np.nan)


def known(name: str, value: Any) -> Array:
    """``value`` as an array of floats, NaN in place of infinities: neither can be reckoned with."""
    values = floats(name, value)
    return finite(values) if np.isinf(values).any() else values


def plain(values: Any) -> Any:
    """A float of a single number, else the array."""
    return float(values) if np.ndim(values) == 0 else values


def series(returns: Any) -> Array:
    """One column of at least two returns, all known."""
    values = floats("returns", returns)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(
            f"returns have shape {values.shape}; expected one column of 2 observations at least"
        )
    unknown = np.flatnonzero(~np.isfinite(values))
    if len(unknown):
        raise DataError(
            f"returns[{unknown[0]}] is {values[unknown[0]]}; expected known returns: drop the bars "
            "without one first"
        )
    return values


def varies(values: Array) -> bool:
    """Whether a column has a deviation, by the contract's measure."""
    return bool(values.std(ddof=1) > NEGLIGIBLE)


def matrix(returns: Any) -> tuple[Array, Sequence[Any]]:
    """Returns (observations, trials) as floats, and what the trials are called."""
    values = known("returns", returns)
    if values.ndim != 2:
        raise DataError(
            f"returns have shape {values.shape}; expected (observations, trials): a DataFrame, or "
            "an array with a column for each trial"
        )
    if isinstance(returns, pd.DataFrame):
        return values, list(returns.columns)
    return values, range(values.shape[1])


def block_sums(sums: Any, squares: Any, lengths: Any) -> tuple[Array, Array, Array]:
    """Σr and Σr² of trials in time blocks, (trials, blocks), and the number of bars of each."""
    sums, squares, lengths = (
        known("sums", sums),
        known("squares", squares),
        floats("lengths", lengths),
    )
    if sums.ndim != 2 or squares.shape != sums.shape:
        raise DataError(
            f"sums have shape {sums.shape}, squares {squares.shape}; expected both (trials, blocks)"
        )
    if lengths.shape not in (sums.shape, sums.shape[1:]):
        raise DataError(
            f"lengths have shape {lengths.shape}; expected a number of bars for each of the "
            f"{sums.shape[1]} blocks, or for each of {sums.shape} trials and blocks"
        )
    if not (lengths >= 1).all() or np.isinf(lengths).any():
        raise DataError("a block has no bars; expected one bar at least in each: take fewer blocks")
    impossible = squares * lengths < sums**2 * (1.0 - 1e-6)
    if impossible.any():
        trial, block = np.argwhere(impossible)[0]
        raise DataError(
            f"trial {trial}, block {block}: returns that sum to {sums[trial, block]:g} can't have "
            f"squares that sum to {squares[trial, block]:g}; expected Σr, Σr², bars, in this order"
        )
    return sums, squares, lengths


def moments(sums: Array, squares: Array, lengths: Array) -> tuple[Array, Array]:
    """Mean and deviation (ddof 1) per bar of each trial, both (trials,), from (trials, blocks).

    The deviation is NaN where the trial has NaN or infinities, or does not vary.
    """
    bars, total, square = lengths.sum(axis=1), sums.sum(axis=1), squares.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = total / bars
        spread = square - total * mean
        some = np.isfinite(square) & (bars > 1) & (spread > floor_of(square, bars))
        deviation = np.sqrt(np.where(some, spread / (bars - 1.0), np.nan))
    return mean, deviation


def floor_of(squares: Array, bars: Array) -> Array:
    """Sums of squared distances from the mean that are none: the contract's, or mere rounding."""
    floor: Array = np.maximum(UNVARIED * squares, bars * NEGLIGIBLE**2)
    return floor
