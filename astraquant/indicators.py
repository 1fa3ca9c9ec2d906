"""The technical indicators: arrays in, arrays of the same length out, one value per bar.

Common to all of them:

* **Input.** Each series is one-dimensional numbers, oldest first: an array, a list, a pandas Series
  (its index is not looked at). Several series come from the same candles and are equally long.
  Windows count bars and are whole numbers >= 1. Anything else is a ``StrategyError``.
* **Output.** float64 arrays, in the unit of the input unless stated otherwise. The value of a bar
  uses this bar and earlier ones only.
* **Unknown values.** A bar is NaN until the indicator is known; "first known bar" below counts from
  0 at the first known value of the input, so an indicator of an indicator warms up after the inner
  one. A window longer than the data gives NaN everywhere. NaN and infinities in the input are
  unknown. *Windowed* indicators (sma, wma, rolling_std, bollinger, donchian) are NaN while their
  window holds an unknown value and known again after it, ``previous`` is NaN at one bar for each;
  *recursive* ones (ema, macd, rsi, atr) remember everything since their start, so an unknown value
  ends them: they start anew behind it, warm-up included, as if history began there.
* **Where history starts.** Windowed indicators don't depend on it, to the last bit. Recursive ones
  do, less and less.
* **Ties.** sma and wma of prices on the grid of 10^-8 are the correctly rounded averages of the
  decimal prices: what is equal on paper is equal here. That holds while prices are below 11 million
  and price times sum of weights is below 4.6e10: at 100,000 for windows up to 460,000 (sma) and 950
  (wma). Other values are summed to about 32 digits, which is as good for whole numbers of any size,
  and flat stretches are exact for them too.

Definitions and warm-up are those of TA-Lib (https://ta-lib.org), with one departure (``rsi``).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _rolling
from ._indicator import indicator
from .errors import StrategyError

__all__ = [
    "MACD",
    "Bands",
    "atr",
    "bollinger",
    "donchian",
    "ema",
    "macd",
    "previous",
    "rolling_std",
    "rsi",
    "sma",
    "wma",
]

Series: TypeAlias = Any  # an array, a list, a pandas Series
Floats: TypeAlias = npt.NDArray[np.float64]


class MACD(NamedTuple):
    """What ``macd`` returns, three arrays in the unit of the input."""

    macd: Floats
    signal: Floats
    histogram: Floats


class Bands(NamedTuple):
    """What ``bollinger`` and ``donchian`` return, three arrays in the unit of the input."""

    lower: Floats
    middle: Floats
    upper: Floats


@indicator(series=1)
def sma(values: Series, window: int) -> Floats:
    """Average the last ``window`` values, this bar's included: the simple moving average.

    First known bar: window - 1. Ties are exact, see the module. TA-Lib: SMA.
    """
    return _rolling.mean(values, window)


@indicator(series=1)
def wma(values: Series, window: int) -> Floats:
    """Weighted moving average: weights 1, 2, ... window, this bar's value weighing the most.

    First known bar: window - 1. Ties are exact, see the module. TA-Lib: WMA.
    """
    return _rolling.mean(values, window, weighted=True)


@indicator(series=1)
def ema(values: Series, window: int) -> Floats:
    """Exponential moving average: y[i] = y[i-1] + 2 / (window + 1) * (x[i] - y[i-1]).

    Seeded at bar window - 1, its first known bar, with the mean of the first ``window`` values.
    TA-Lib: EMA.
    """
    return _rolling.smooth(values, window, 2.0 / (window + 1))


@indicator(series=1)
def rolling_std(values: Series, window: int) -> Floats:
    """Take the population standard deviation (divisor: window) of the last ``window`` values.

    First known bar: window - 1. Exactly 0 where all values are equal. TA-Lib: STDDEV.
    """
    return _rolling.std(values, window)


@indicator(series=1)
def rsi(values: Series, window: int = 14) -> Floats:
    """Relative strength index of Wilder, 0 to 100 (no unit).

    100 * up / (up + down), where up and down are the rises and the falls from bar to bar, each
    averaged as Wilder does: the mean of the first ``window`` changes, then
    y[i] = y[i-1] + (x[i] - y[i-1]) / window. Where prices never moved it is 50, neither side being
    stronger (TA-Lib says 0 here). First known bar: window. TA-Lib: RSI.
    """
    values = _rolling.known(values)
    change = np.full(len(values), np.nan)
    np.subtract(values[1:], values[:-1], out=change[1:])
    up = _rolling.smooth(np.maximum(change, 0.0), window, 1.0 / window)
    both = up - _rolling.smooth(np.minimum(change, 0.0), window, 1.0 / window)
    share = np.full(len(values), 0.5)
    np.divide(up, both, out=share, where=both != 0.0)
    return 100.0 * share


@indicator(series=3)
def atr(high: Series, low: Series, close: Series, window: int = 14) -> Floats:
    """Average true range of Wilder, in the unit of the prices.

    The true range of a bar reaches from min(low, previous close) to max(high, previous close); it
    is averaged as in ``rsi``. First known bar: window (the first bar has no previous close).
    TA-Lib: ATR.
    """
    high, low, previous = (_rolling.known(prices) for prices in (high[1:], low[1:], close[:-1]))
    reach = np.full(len(close), np.nan)
    np.subtract(np.maximum(high, previous), np.minimum(low, previous), out=reach[1:])
    return _rolling.smooth(reach, window, 1.0 / window)


def _fast_below_slow(fast: int, slow: int, signal: int) -> None:
    if fast >= slow:
        raise StrategyError(
            f"macd: fast is {fast} and slow is {slow}; expected fast < slow, "
            "such as fast=12, slow=26"
        )


@indicator(series=1, check=_fast_below_slow)
def macd(values: Series, fast: int = 12, slow: int = 26, signal: int = 9) -> MACD:
    """Take ema(fast) - ema(slow) and the ema of that: moving average convergence divergence.

    Both averages start together at bar slow - 1: the fast one is seeded there, with the mean of the
    ``fast`` values up to it. ``signal`` is the ema of their difference, ``histogram`` what the
    difference exceeds it by. First known bar of all three: slow + signal - 2. TA-Lib: MACD.
    """
    quick = _rolling.smooth(values, fast, 2.0 / (fast + 1), skip=slow - fast)
    difference = quick - _rolling.smooth(values, slow, 2.0 / (slow + 1))
    average = _rolling.smooth(difference, signal, 2.0 / (signal + 1))
    line = np.where(np.isnan(average), np.nan, difference)
    return MACD(line, average, line - average)


@indicator(series=1)
def bollinger(values: Series, window: int = 20, width: float = 2.0) -> Bands:
    """Bollinger bands: ``sma`` in the middle, ``width`` population standard deviations around it.

    First known bar: window - 1. On flat prices all three are the price. TA-Lib: BBANDS (which
    returns them the other way round, the upper first).
    """
    middle = _rolling.mean(values, window)
    reach = width * _rolling.std(values, window)
    return Bands(middle - reach, middle, middle + reach)


@indicator(series=2)
def donchian(high: Series, low: Series, window: int = 20) -> Bands:
    """Donchian channel: lowest low and highest high of the last ``window`` bars, and their middle.

    **This bar is included**, as in TA-Lib's MIN and MAX, so no close can lie outside: to trade a
    breakout compare with the channel of the bar before. First known bar: window - 1.
    """
    lower, upper = _rolling.lowest(low, window), _rolling.highest(high, window)
    return Bands(lower, (lower + upper) / 2.0, upper)


@indicator(series=1)
def previous(values: Series, bars: int = 1) -> Floats:
    """Give at each bar the value of ``bars`` bars before: yesterday's channel, a close of old.

    First known bar: bars. Unknown where that one value is. TA-Lib has no name for it; its MOM is
    values - previous(values, bars), its ROCP that divided by previous(values, bars).
    """
    result = np.full(len(values), np.nan)
    result[bars:] = _rolling.known(values[: max(0, len(values) - bars)])
    return result
