"""Indicators the slow, obvious way: one window at a time, in exact fractions where that matters.

``decimals`` reads each float as the decimal it prints as, which is what a price is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def decimals(values: list[float]) -> list[Fraction]:
    return [Fraction(Decimal(repr(value))) for value in values]


def binary(values: list[float]) -> list[Fraction]:
    return [Fraction(value) for value in values]


def each_window(values: Floats, window: int, figure: Callable[[list[float]], float]) -> Floats:
    result = np.full(len(values), np.nan)
    for i in range(window - 1, len(values)):
        held = values[i - window + 1 : i + 1].tolist()
        if all(math.isfinite(value) for value in held):
            result[i] = figure(held)
    return result


def sma(values: Floats, window: int, read=decimals) -> Floats:
    return each_window(values, window, lambda held: float(sum(read(held)) / window))


def wma(values: Floats, window: int, read=decimals) -> Floats:
    def figure(held: list[float]) -> float:
        total = sum(weight * value for weight, value in enumerate(read(held), start=1))
        return float(total / sum(range(1, window + 1)))

    return each_window(values, window, figure)


def rolling_std(values: Floats, window: int) -> Floats:
    def figure(held: list[float]) -> float:
        exact = binary(held)
        mean = sum(exact) / window
        return math.sqrt(sum((value - mean) ** 2 for value in exact) / window)

    return each_window(values, window, figure)


def smooth(values: Floats, window: int, alpha: float) -> Floats:
    """Seeded with the mean of the first ``window`` values; every unknown value starts it anew."""
    result = np.full(len(values), np.nan)
    run: list[float] = []
    level = math.nan
    for i, value in enumerate(values.tolist()):
        run = [*run, value] if math.isfinite(value) else []
        if len(run) == window:
            level = math.fsum(run) / window
        elif len(run) > window:
            level = alpha * value + (1 - alpha) * level
        if len(run) >= window:
            result[i] = level
    return result


def ema(values: Floats, window: int) -> Floats:
    return smooth(values, window, 2 / (window + 1))


def rsi(values: Floats, window: int) -> Floats:
    change = [math.nan] + [b - a for a, b in itertools.pairwise(values.tolist())]
    rises = np.array([math.nan if math.isnan(c) else max(c, 0.0) for c in change])
    falls = np.array([math.nan if math.isnan(c) else max(-c, 0.0) for c in change])
    ups, downs = smooth(rises, window, 1 / window), smooth(falls, window, 1 / window)
    return np.array(
        [
            50.0 if up == 0 and down == 0 else 100 * up / (up + down)
            for up, down in zip(ups.tolist(), downs.tolist(), strict=True)
        ]
    )


def atr(high: Floats, low: Floats, close: Floats, window: int) -> Floats:
    reach = np.full(len(close), np.nan)
    for i in range(1, len(close)):
        known = (high[i], low[i], close[i - 1])
        if all(math.isfinite(value) for value in known):
            reach[i] = max(
                high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1])
            )
    return smooth(reach, window, 1 / window)


def macd(values: Floats, fast: int, slow: int, signal: int) -> tuple[Floats, Floats, Floats]:
    """For values without gaps: the fast average sees nothing of the first slow - fast values."""
    late = values.copy()
    late[: slow - fast] = np.nan
    difference = ema(late, fast) - ema(values, slow)
    average = ema(difference, signal)
    line = np.where(np.isnan(average), np.nan, difference)
    return line, average, line - average


def donchian(high: Floats, low: Floats, window: int) -> tuple[Floats, Floats, Floats]:
    lower, upper = each_window(low, window, min), each_window(high, window, max)
    return lower, (lower + upper) / 2, upper


def previous(values: Floats, bars: int) -> Floats:
    result = np.full(len(values), np.nan)
    for i in range(bars, len(values)):
        if math.isfinite(values[i - bars]):
            result[i] = values[i - bars]
    return result
