"""From what the kernel carried along to the figures of the contract, all trials at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import timeframes
from ..metrics import NEGLIGIBLE
from . import bars, fills

Array = np.ndarray[Any, np.dtype[Any]]
# A figure is trusted where rounding errors are this much smaller than what they are errors of.
TRUSTED = 1e-10
EPSILON = 2.0**-52


class Run(NamedTuple):
    """What the figures need to know of the run besides its sums.

    ``close``: the last close. ``bars``: how many were evaluated; ``end``: of how many with
    the warm-up. ``wild``: prices fall or rise so
    far that a stake may be lost in one trade for good.
    """

    close: float
    bars: int
    end: int
    timeframe: str
    cash: float
    cost: float
    sided: bool
    wild: bool


def figures(state: Array, counts: Array, run: Run) -> tuple[dict[str, Array], Array]:
    """Figures by name, one value per trial, and which trials are exact.

    The others (rounding errors of running sums may show in them) are for the ledger.
    """
    with np.errstate(all="ignore"):
        stake, inside = state[:, fills.STAKE], counts[:, bars.SIDE] != 0
        bought = state[:, fills.BOUGHT]
        if run.sided:
            worth = np.where(inside, state[:, fills.LAST], 1.0)
            money = state[:, fills.EQUITY]
        else:
            worth = np.where(inside, run.close / bought, 1.0)
            idle = np.where(inside, 0, run.end - counts[:, bars.SINCE])
            money = state[:, fills.EQUITY] + stake * idle
        total = _finite(stake * worth / run.cash - 1.0)
        found = {
            "total_return": total,
            "annual_return": _annual(total, run),
            "gross_return": _finite(_gross(state, counts, worth, run) - 1.0),
            "max_drawdown": _drawdown(state, stake * worth),
        }
        found |= _ratios(state, run)
        found |= _trades(state, counts, inside, money, run)
    return found, _exact(state, counts, run)


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _annual(total: Array, run: Run) -> Array:
    length = run.bars * timeframes.duration(run.timeframe)
    return _finite((1.0 + total) ** (timeframes.YEAR / length) - 1.0)


def _gross(state: Array, counts: Array, worth: Array, run: Run) -> Array:
    """Growth of the same fills at zero cost; an open trade is marked at the last close."""
    closed = state[:, fills.GROSS]
    side = counts[:, bars.SIDE]
    ratio = run.close * (1.0 + run.cost) / state[:, fills.BOUGHT]
    open_ = np.where(side > 0, ratio, np.maximum(2.0 - ratio, 0.0))
    return np.where(side != 0, closed * open_, closed)


def _drawdown(state: Array, last: Array) -> Array:
    fall = np.minimum(state[:, fills.LOW], last) / state[:, fills.PEAK]
    return _finite(np.minimum(state[:, fills.DEEPEST], fall) - 1.0)


def _ratios(state: Array, run: Run) -> dict[str, Array]:
    """Sharpe and Sortino ratio."""
    bars_per_year = timeframes.bars_per_year(run.timeframe)
    mean = state[:, bars.SUM] / run.bars
    spread = np.sqrt(_spread(state, run) / (run.bars - 1)) if run.bars > 1 else np.nan
    down = np.sqrt(state[:, bars.DOWNSIDE] / run.bars)
    per_year = math.sqrt(bars_per_year)
    return {
        "sharpe": np.where(spread > NEGLIGIBLE, _finite(mean / spread), np.nan) * per_year,
        "sortino": np.where(down > NEGLIGIBLE, _finite(mean / down), np.nan) * per_year,
    }


def _spread(state: Array, run: Run) -> Array:
    """Sum of the squared distances of the returns from their mean."""
    spread: Array = state[:, bars.SQUARES] - state[:, bars.SUM] ** 2 / run.bars
    return spread


def _trades(state: Array, counts: Array, inside: Array, money: Array, run: Run) -> dict[str, Array]:
    trades = counts[:, bars.TRADES]
    some, unit = trades > 0, 1.0 + run.cost
    won, lost, spent = state[:, fills.WON], state[:, fills.LOST], state[:, fills.SPENT]
    if run.sided:
        exits = state[:, fills.EXITS]
    else:  # each stake is what the exit before it left
        ends = spent - run.cash + np.where(inside, 0.0, state[:, fills.STAKE])
        exits = np.where(some, ends, 0.0) / (1.0 - run.cost)
    traded = spent / unit + exits
    mean = money / run.bars
    return {
        "trades": trades.astype(float),
        "win_rate": np.where(some, counts[:, bars.WINS] / trades, np.nan),
        "profit_factor": np.where(lost > 0, _finite(won / lost), np.nan),
        "expectancy": np.where(some, unit * state[:, fills.GAINS] / trades, np.nan),
        "best_trade": np.where(some, unit * (state[:, fills.BEST] - 1.0), np.nan),
        "worst_trade": np.where(some, unit * (state[:, fills.WORST] - 1.0), np.nan),
        "exposure": counts[:, bars.HELD] / run.bars,
        "turnover": np.where(mean > 0, _finite(traded / mean), np.nan),
        "fees_paid": _finite(run.cost * traded),
        "fills_without_volume": counts[:, bars.EMPTY].astype(float),
    }


def _exact(state: Array, counts: Array, run: Run) -> Array:
    """Which trials' sums are known well enough: else cancellation may have eaten their digits."""
    squares, down = state[:, bars.SQUARES], state[:, bars.DOWNSIDE]
    error = 8.0 * EPSILON * state[:, fills.SIZE]
    if run.wild:
        return np.zeros(len(state), np.bool_)
    known = np.isfinite(state)
    known[:, [fills.BEST, fills.WORST]] |= (counts[:, bars.TRADES] == 0)[:, None]
    fine: Array = np.asarray(known.all(axis=1))
    idle = squares == 0.0
    fine &= idle | (_spread(state, run) > squares * 1e-3)
    fine &= idle | (error < TRUSTED * squares)
    # So small are the returns that the last digits of the prices show in them.
    fine &= idle | (squares > (EPSILON / TRUSTED) ** 2 * counts[:, bars.HELD])
    fine &= (down == 0.0) | (error < TRUSTED * down)
    return fine
