"""The one definition of every figure.

Conventions: returns are per bar, the first against the starting cash; figures are annualised with
365 days; the risk-free rate is 0; trade statistics count closed trades. A figure that has no value
is NaN, never infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq

from . import timeframes
from .accounting import CLOSED, OPEN, Ledger

Array = np.ndarray[Any, np.dtype[Any]]

DEFINITIONS: dict[str, str] = {
    "total_return": "equity at the last close / starting cash - 1",
    "annual_return": "total return compounded from the run's length to 365 days",
    "gross_return": "total return of the same fills at zero cost",
    "buy_and_hold": "return of buying once at the start, at the same cost, and holding",
    "sharpe": "mean / standard deviation of the bars' returns x sqrt(bars per year)",
    "sortino": "mean / root mean square of the bars' negative returns x sqrt(bars per year)",
    "max_drawdown": "deepest fall of equity at closes below an earlier one, starting cash included",
    "trades": "closed trades",
    "win_rate": "share of closed trades with a profit after costs",
    "profit_factor": "money won / money lost, over closed trades",
    "expectancy": "mean return of closed trades (profit after costs / value at entry)",
    "best_trade": "highest return of a closed trade",
    "worst_trade": "lowest return of a closed trade",
    "exposure": "share of bars in position at the close",
    "turnover": "traded value / mean equity",
    "fees_paid": "costs paid, in money",
    "fills_without_volume": "fills in bars in which nobody traded",
    "sharpe_daily": "Sharpe ratio of daily returns (UTC days), to compare timeframes",
    "break_even_cost": "cost per side at which the total return of the same fills is 0",
}
# The two figures that only a single run has.
BACKTEST_ONLY = ("sharpe_daily", "break_even_cost")
# Returns went through prices and carry rounding errors of 1e-16: a deviation below this is none.
# One tick of a hundred-thousandth in a million bars still lies well above it.
NEGLIGIBLE = 1e-12
LOWER_IS_BETTER = frozenset({"turnover", "fees_paid", "fills_without_volume"})


def figures(
    ledger: Ledger, volume: Array, *, cash: float, timeframe: str, buy_and_hold: float
) -> dict[str, float]:
    """Every figure that sweeps and backtests share, by name (see `DEFINITIONS`).

    ``volume``: of each bar of the run. ``buy_and_hold``: see `buy_and_hold_return`.
    """
    with np.errstate(all="ignore"):  # money beyond the largest float: the figure is NaN
        found = _figures(ledger, volume, cash, timeframe)
    return {**found, "buy_and_hold": buy_and_hold}


def _figures(ledger: Ledger, volume: Array, cash: float, timeframe: str) -> dict[str, float]:
    equity, returns, trades = ledger.equity, ledger.returns, ledger.trades
    closed = trades[trades["status"] != OPEN]
    sold = trades[trades["status"] == CLOSED]  # a ruined trade ends without a fill
    won, lost = closed["profit"][closed["profit"] > 0], closed["profit"][closed["profit"] < 0]
    result = closed["result"]
    some = len(closed) > 0
    per_year = math.sqrt(timeframes.bars_per_year(timeframe))
    total = _finite(float(equity[-1]) / cash - 1.0)
    traded = (trades["quantity"] * trades["entry_price"]).sum() + (
        sold["quantity"] * sold["exit_price"]
    ).sum()
    at_fills = np.concatenate([volume[trades["entry_bar"]], volume[sold["exit_bar"]]])
    return {
        "total_return": total,
        "annual_return": annual_return(total, len(equity) * timeframes.duration(timeframe)),
        "gross_return": _finite(np.expm1(_log_growth(trades, 0.0))),
        "buy_and_hold": math.nan,  # its place in the order
        "sharpe": sharpe(returns) * per_year,
        "sortino": sortino(returns) * per_year,
        "max_drawdown": _finite(max_drawdown(equity, cash)),
        "trades": float(len(closed)),
        "win_rate": float(np.mean(result > 0)) if some else math.nan,
        "profit_factor": _ratio(float(won.sum()), -float(lost.sum())),
        "expectancy": float(result.mean()) if some else math.nan,
        "best_trade": float(result.max()) if some else math.nan,
        "worst_trade": float(result.min()) if some else math.nan,
        "exposure": float(np.mean(ledger.held != 0)),
        "turnover": _ratio(float(traded), float(equity.mean())),
        "fees_paid": _finite(float(trades["fees"].sum())),
        "fills_without_volume": float(np.count_nonzero(at_fills == 0)),
    }


def _ratio(part: float, whole: float) -> float:
    """``part / whole``, NaN where the whole is zero or the ratio has no finite value."""
    return _finite(part / whole) if whole > 0 else math.nan


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


def sharpe(returns: Array) -> float:
    """Mean / standard deviation (ddof 1) of ``returns``; NaN without two or without variance."""
    if len(returns) < 2:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore"):
        return _over_deviation(returns, float(returns.std(ddof=1)))


def sortino(returns: Array) -> float:
    """Mean / sqrt(mean(min(r, 0)^2)) of ``returns``; NaN where no return is negative."""
    return _over_deviation(returns, math.sqrt(float((np.minimum(returns, 0) ** 2).mean())))


def _over_deviation(returns: Array, deviation: float) -> float:
    return _finite(float(returns.mean()) / deviation) if deviation > NEGLIGIBLE else math.nan


def max_drawdown(equity: Array, cash: float) -> float:
    """Deepest fall below an earlier high, <= 0; ``cash`` is the first high."""
    peak = np.maximum(np.maximum.accumulate(equity), cash)
    return float((equity / peak).min()) - 1.0


def annual_return(total: float, length: float) -> float:
    """``total`` over ``length`` milliseconds compounded to 365 days; NaN on overflow."""
    try:
        return _finite((1.0 + total) ** (timeframes.YEAR / length) - 1.0)
    except OverflowError:
        return math.nan


def sharpe_daily(equity: Array, times: Array, cash: float, timeframe: str) -> float:
    """Annualised Sharpe ratio of equity at the last close of each UTC day.

    ``times``: the bars' open times (int64 ms). NaN for timeframes longer than a day.
    """
    if timeframes.duration(timeframe) > timeframes.DAY:
        return math.nan
    days = times // timeframes.DAY
    last = np.append(days[1:] != days[:-1], True)
    levels = np.concatenate([[cash], equity[last]])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        returns = np.nan_to_num(levels[1:] / levels[:-1] - 1.0, nan=0.0)  # 0 / 0 after a ruin
    return sharpe(returns) * math.sqrt(365)


def buy_and_hold_return(
    open_: Array, close: Array, *, fill: str, cost: float, slippage: float
) -> float:
    """Return of one purchase at the first fill a strategy could have had, marked at the last close.

    ``fill="open"``: the open of the second bar (NaN where there is none); ``"close"``: the close of
    the first.
    """
    if fill == "open" and len(open_) < 2:
        return math.nan
    price = open_[1] if fill == "open" else close[0]
    return float(close[-1] / (price * (1.0 + slippage) * (1.0 + cost))) - 1.0


def break_even_cost(trades: Array) -> float:
    """The cost per side at which the same fills end where they began.

    NaN without trades, where even zero cost loses, and where no cost below 1 would.
    """
    if len(trades) == 0 or _log_growth(trades, 0.0) < 0:
        return math.nan

    def excess(cost: float) -> float:
        return max(
            _log_growth(trades, cost), -1e6
        )  # a finite number of the right sign after a ruin

    most = 1.0 - 1e-9
    if excess(most) > 0:
        return math.nan
    return float(brentq(excess, 0.0, most, xtol=1e-15, rtol=1e-14))


def _log_growth(trades: Array, cost: float) -> float:
    """log(final equity / starting cash) of the fills in ``trades`` at another cost."""
    ratio = trades["exit_price"] / trades["entry_price"]
    exit_cost = np.where(trades["status"] == CLOSED, cost, 0.0)
    long = ratio * (1.0 - exit_cost) / (1.0 + cost)
    short = 1.0 + (1.0 - cost) / (1.0 + cost) - ratio * (1.0 + exit_cost) / (1.0 + cost)
    growth = np.where(trades["direction"] > 0, long, short)
    return float(np.log(growth).sum()) if (growth > 0).all() else -math.inf
