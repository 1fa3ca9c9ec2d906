"""How a run went over time: falls of its equity, months, rolling Sharpe ratios, trade returns.

Pure functions of arrays, under the conventions of `metrics`: equity at closes, the starting cash
counts as the equity before the first bar, returns are per bar.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import metrics, timeframes
from .accounting import OPEN
from .errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]
MOST_BINS = 60  # of a histogram: narrower ones can't be told apart
WINDOWS = (1, 7, 30, 90, 365)  # days, of rolling figures
_FEWEST_BARS = 20  # of a window: a Sharpe ratio of fewer says nothing


def bar_returns(equity: Array, cash: float) -> Array:
    """Return of each bar, the first against the starting cash; 0 after a ruin."""
    before = np.concatenate([[cash], equity[:-1]])
    growth: Array = np.divide(equity, before, out=np.ones(len(equity)), where=before > 0)
    return growth - 1.0


def drawdown(equity: Array, cash: float) -> Array:
    """Equity below the highest so far, as a fraction <= 0; the starting cash counts as a height."""
    height: Array = np.maximum.accumulate(np.maximum(equity, cash))
    return equity / height - 1.0


def worst_drawdowns(equity: pd.Series, cash: float, count: int = 5) -> pd.DataFrame:
    """The deepest falls of ``equity`` (money at closes, indexed by time), deepest first.

    A fall begins after the last close at the height, and ends at the first that is as high again.
    At most ``count`` rows; of equally deep ones the earlier comes first. Columns: ``peak`` (time of
    the last bar at the height; NaT: the starting cash), ``valley``, ``recovery`` (NaT: still under
    water), ``depth`` (a fraction < 0), ``bars`` (closes under water) and ``length`` (from the peak,
    or the first bar, to the recovery, or the last bar).
    """
    money, times = equity.to_numpy(float), pd.DatetimeIndex(equity.index)
    fall = drawdown(money, cash)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], fall < 0, [False]])))
    first, after = edges[::2], edges[1::2]
    depth = np.minimum.reduceat(fall, first) if len(first) else np.empty(0)
    worst = np.argsort(depth, kind="stable")[:count]
    first, after, depth = first[worst], after[worst], depth[worst]
    valley = [a + int(fall[a:b].argmin()) for a, b in zip(first, after, strict=True)]
    last = len(money) - 1
    recovered, fell_later = after <= last, first > 0
    begin, end = times[np.maximum(first - 1, 0)], times[np.minimum(after, last)]
    return pd.DataFrame(
        {
            "peak": pd.Series(begin).where(fell_later),
            "valley": times[np.array(valley, dtype=np.int64)],
            "recovery": pd.Series(end).where(recovered),
            "depth": depth,
            "bars": after - first,
            "length": end - begin,
        }
    )


def monthly_returns(equity: pd.Series, cash: float) -> pd.Series:
    """Return of each UTC month that has a bar, by the month's first moment.

    From the last close before the month (at first the starting cash) to its own last close, so
    that all of them compounded are the total return. 0 after a ruin.
    """
    bins = timeframes.bins_of(timeframes.to_ms(pd.DatetimeIndex(equity.index)), "1M")
    last = equity.to_numpy(float)[bins.after - 1]
    index = timeframes.from_ms(bins.start).rename("month")
    return pd.Series(bar_returns(last, cash), index=index, name="return")


def rolling_windows(bars: int, timeframe: str) -> list[int]:
    """Windows (days) that a run of ``bars`` bars has room for: two of them, of enough bars each."""
    in_days = bars * timeframes.duration(timeframe) / timeframes.DAY
    enough = _FEWEST_BARS * timeframes.duration(timeframe) / timeframes.DAY
    return [days for days in WINDOWS if enough <= days <= in_days / 2]


def rolling_sharpe(returns: Array, days: float, timeframe: str, at: Array) -> Array:
    """Sharpe ratio of the last ``days`` days at each bar of ``at`` (places in ``returns``).

    Annualised, as `metrics` defines it: of the bars that ``days`` are of ``timeframe``, this one
    included. A missing bar is not counted. NaN while there are not so many, and without variance.
    """
    window = round(days * timeframes.DAY / timeframes.duration(timeframe))
    if window < 2:
        raise DataError(
            f"a window of {days:g} days has {window} bars of {timeframe}; expected at least 2. "
            "Take a longer window."
        )
    per_year = math.sqrt(timeframes.bars_per_year(timeframe))
    values = np.full(len(at), np.nan)
    for k, bar in enumerate(at):
        if bar + 1 >= window:
            values[k] = metrics.sharpe(returns[bar + 1 - window : bar + 1]) * per_year
    return values


class Histogram(NamedTuple):
    """``counts[k]`` values lie above ``edges[k]`` and at or below ``edges[k + 1]``."""

    edges: Array
    counts: Array


def return_histogram(results: Array) -> Histogram:
    """How trade returns are spread over equal bins; zero is an edge, so no bin has both signs.

    A return of zero counts as none won, as in `win_rate`. The width is Freedman and Diaconis'
    (2 interquartile ranges / cube root of the count) rounded up to 1, 2 or 5 times a power of ten,
    and so wide that there are at most `MOST_BINS` + 1 bins. No values: no bins.
    """
    values = np.asarray(results, dtype=np.float64)
    if not len(values):
        return Histogram(np.zeros(1), np.zeros(0, np.int64))
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    quartiles = np.quantile(values, [0.25, 0.75])
    wished = 2.0 * (quartiles[1] - quartiles[0]) / np.cbrt(len(values))
    width = _round_up(max(wished, (high - low) / (MOST_BINS - 1), 1e-12))
    places = np.arange(math.floor(low / width) - 1, math.ceil(high / width) + 2)
    edges, zero = places * width, int(-places[0])
    counts = np.bincount(np.searchsorted(edges, values) - 1, minlength=len(edges) - 1)
    used = np.flatnonzero(counts)
    begin, end = min(int(used[0]), zero), max(int(used[-1]) + 1, zero)
    return Histogram(edges[begin : end + 1], counts[begin:end])


def _round_up(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= width * (1 - 1e-9))


def gross_equity(trades: Array, close: Array, cash: float) -> Array:
    """Equity at each close of the same fills at zero cost; ends at `metrics`' gross return.

    ``trades``: as a ledger has them. A bar in which one trade ends and another begins is marked
    with the latter. After a ruin it stays as it is.
    """
    bars = np.arange(len(close))
    if not len(trades):
        return np.full(len(close), float(cash))
    grown = _growth(trades["direction"], trades["entry_price"], trades["exit_price"])
    stakes = cash * np.concatenate([[1.0], np.cumprod(grown)])
    newest = np.searchsorted(trades["entry_bar"], bars, side="right") - 1
    trade = np.maximum(newest, 0)
    is_open = (bars < trades["exit_bar"][trade]) | (trades["status"][trade] == OPEN)
    marked = _growth(trades["direction"][trade], trades["entry_price"][trade], close)
    equity = np.where(is_open, stakes[trade] * marked, stakes[newest + 1])
    return np.where(newest < 0, float(cash), equity)


def _growth(direction: Array, entry: Array, price: Array) -> Array:
    """Equity of positions over their stake at zero cost, never below nothing."""
    ratio = price / entry
    return np.maximum(np.where(direction > 0, ratio, 2.0 - ratio), 0.0)
