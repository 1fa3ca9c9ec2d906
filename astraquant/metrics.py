"""The one definition of every figure.

Conventions: returns are per bar, the first against the starting cash; figures are annualised with
365 days; the risk-free rate is 0; trade statistics count closed trades. A figure that has no value
is NaN, never infinite.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from . import timeframes
from ._compile import as_input, compiled
from .accounting import OPEN, RUINED, Ledger

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
    equity, trades = as_input(ledger.equity), as_input(ledger.trades)
    mean, deviation, downside = _moments(as_input(ledger.returns))
    mean_equity, lowest = _sum(equity) / len(equity), _lowest(equity, cash)
    tally = _Tally(*_tally(trades, as_input(volume)))
    some = tally.closed > 0
    per_year = math.sqrt(timeframes.bars_per_year(timeframe))
    total = _finite(float(equity[-1]) / cash - 1.0)
    return {
        "total_return": total,
        "annual_return": annual_return(total, len(equity) * timeframes.duration(timeframe)),
        "gross_return": _expm1(_log_growth(trades, 0.0)),
        "buy_and_hold": buy_and_hold,
        "sharpe": _over(mean, deviation) * per_year,
        "sortino": _over(mean, downside) * per_year,
        "max_drawdown": _finite(lowest - 1.0),
        "trades": float(tally.closed),
        "win_rate": tally.winners / tally.closed if some else math.nan,
        "profit_factor": _ratio(tally.won, tally.lost),
        "expectancy": tally.results / tally.closed if some else math.nan,
        "best_trade": tally.best if some else math.nan,
        "worst_trade": tally.worst if some else math.nan,
        "exposure": np.count_nonzero(ledger.held) / len(equity),
        "turnover": _ratio(tally.traded, mean_equity),
        "fees_paid": _finite(tally.fees),
        "fills_without_volume": float(tally.empty_fills),
    }


def best_place(values: Array, metric: str) -> int | None:
    """Where the best of ``values`` of ``metric`` stands, the first of equals; None if all are NaN.

    Best is highest, but for what is in `LOWER_IS_BETTER`.
    """
    if np.isnan(values).all():
        return None
    lower = metric in LOWER_IS_BETTER
    return int(np.nanargmin(values) if lower else np.nanargmax(values))


def _ratio(part: float, whole: float) -> float:
    """``part / whole``, NaN where the whole is zero or the ratio has no finite value."""
    return _finite(part / whole) if whole > 0 else math.nan


def _over(mean: float, deviation: float) -> float:
    return _finite(mean / deviation) if deviation > NEGLIGIBLE else math.nan


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


def _expm1(value: float) -> float:
    try:
        return math.expm1(value)
    except OverflowError:
        return math.nan


def sharpe(returns: Array) -> float:
    """Mean / standard deviation (ddof 1) of ``returns``; NaN without two or without variance."""
    mean, deviation, _ = _moments(as_input(returns))
    return _over(mean, deviation)


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
    last = timeframes.bins_of(times, "1d").after - 1
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
    trades = as_input(trades)
    if len(trades) == 0 or _log_growth(trades, 0.0) < 0:
        return math.nan

    def excess(cost: float) -> float:
        # After a ruin a finite number of the right sign.
        return max(_log_growth(trades, cost), -1e6)

    most = 1.0 - 1e-9
    if excess(most) > 0:
        return math.nan
    return float(brentq(excess, 0.0, most, xtol=1e-15, rtol=1e-14))


class _Tally(NamedTuple):
    """What `_tally` finds: closed trades, how they ended, and what all fills came to."""

    closed: int
    winners: int
    won: float  # money, like `lost`, which is positive too
    lost: float
    results: float  # sum over closed trades
    best: float
    worst: float
    traded: float
    fees: float
    empty_fills: int


@compiled
def _tally(trades: Array, volume: Array) -> Any:
    closed, winners, empty = 0, 0, 0
    best, worst = -np.inf, np.inf
    won, lost, results, traded, fees = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    for k in range(len(trades)):
        trade = trades[k]
        fees = _plus(fees, trade["fees"])
        traded = _plus(traded, trade["quantity"] * trade["entry_price"])
        empty += volume[trade["entry_bar"]] == 0
        if trade["status"] not in (OPEN, RUINED):  # which end without a fill
            traded = _plus(traded, trade["quantity"] * trade["exit_price"])
            empty += volume[trade["exit_bar"]] == 0
        if trade["status"] == OPEN:
            continue
        closed += 1
        result, profit = trade["result"], trade["profit"]
        results = _plus(results, result)
        winners += result > 0
        best, worst = max(best, result), min(worst, result)
        if profit > 0:
            won = _plus(won, profit)
        elif profit < 0:
            lost = _plus(lost, -profit)
    return (
        closed,
        winners,
        _total(won),
        _total(lost),
        _total(results),
        best,
        worst,
        _total(traded),
        _total(fees),
        empty,
    )


@compiled
def _log_growth(trades: Array, cost: float) -> float:
    """log(final equity / starting cash) of the fills in ``trades`` at another cost."""
    total, growth = 0.0, 1.0
    for k in range(len(trades)):
        trade = trades[k]
        ratio = trade["exit_price"] / trade["entry_price"]
        exit_cost = 0.0 if trade["status"] in (OPEN, RUINED) else cost
        if trade["direction"] > 0:
            step = ratio * (1.0 - exit_cost) / (1.0 + cost)
        else:
            step = 1.0 + (1.0 - cost) / (1.0 + cost) - ratio * (1.0 + exit_cost) / (1.0 + cost)
        if not step > 0:
            return -np.inf
        growth *= step
        if not 1e-100 < growth < 1e100:  # logarithms take long: only before numbers run out
            total += np.log(growth)
            growth = 1.0
    return float(total + np.log(growth))


# Sums over bars. One running sum of a million returns would keep too few digits of a mean that is
# far smaller than they are, and each addition would wait for the one before. So there are many
# sums, side by side, of every 1024th value each; they are added up in two floats.
STRANDS = 1024


@compiled
def _sum(values: Array) -> float:
    strands = np.zeros(STRANDS)
    for begin in range(0, len(values), STRANDS):
        block = values[begin : begin + STRANDS]
        for i in range(len(block)):
            strands[i] += block[i]
    return _join(strands)


@compiled
def _join(strands: Array) -> float:
    total = (0.0, 0.0)
    for i in range(len(strands)):
        total = _plus(total, strands[i])
    return _total(total)


@compiled
def _plus(total: tuple[float, float], value: float) -> tuple[float, float]:
    """Add ``value`` to a sum in two floats (Knuth's exact sum)."""
    old, rest = total
    new = old + value
    part = new - old
    return new, rest + ((old - (new - part)) + (value - part))


@compiled
def _total(total: tuple[float, float]) -> float:
    return total[0] + total[1] if np.isfinite(total[0]) else total[0]


@compiled
def _moments(returns: Array) -> tuple[float, float, float]:
    """Mean, standard deviation (ddof 1), root mean square of the negative ones."""
    n = len(returns)
    mean = _sum(returns) / n
    squares, below = np.zeros(STRANDS), np.zeros(STRANDS)
    for begin in range(0, n, STRANDS):
        block = returns[begin : begin + STRANDS]
        for i in range(len(block)):
            squares[i] += (block[i] - mean) * (block[i] - mean)
            negative = block[i] if block[i] < 0 else 0.0
            below[i] += negative * negative
    deviation = np.sqrt(_join(squares) / (n - 1)) if n > 1 else np.nan
    return mean, deviation, np.sqrt(_join(below) / n)


@compiled
def _lowest(equity: Array, cash: float) -> float:
    """The least of equity / highest before (at first ``cash``); NaN where money is infinite."""
    peak, floor, lowest = cash, cash, 1.0  # floor: the least money since the peak, or less
    for i in range(len(equity)):
        if equity[i] > peak:
            peak = equity[i]
            floor = peak * lowest
        elif equity[i] < floor:  # seldom: so there are few divisions
            floor = equity[i]
            lowest = floor / peak
    return lowest if peak < np.inf else np.nan
