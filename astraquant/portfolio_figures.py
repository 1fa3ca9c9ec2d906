"""The figures of a portfolio: those of the contract that make sense for one account of many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq

from . import metrics
from .accounting import TRADE, Ledger
from .portfolio_accounting import Account

Array = np.ndarray[Any, np.dtype[Any]]

# Figures of single trades (win rate, expectancy ...) have no meaning where holdings are trimmed at
# each rebalancing: what is counted are orders.
_SHARED = (
    "total_return annual_return gross_return buy_and_hold sharpe sortino max_drawdown".split(),
    "exposure turnover fees_paid fills_without_volume sharpe_daily break_even_cost".split(),
)
DEFINITIONS: dict[str, str] = {
    **{name: metrics.DEFINITIONS[name] for name in _SHARED[0]},
    "buy_and_hold": "return of equal weights bought once at the start, at the same cost, and held",
    "orders": "fills: one for each symbol whose holding a rebalancing changes",
    "invested": "mean share of equity that is held in symbols at the close",
    **{name: metrics.DEFINITIONS[name] for name in _SHARED[1]},
}


def portfolio_figures(
    account: Account,
    times: Array,
    volume: Array,
    *,
    cash: float,
    timeframe: str,
    buy_and_hold: float,
    at_cost: Callable[[float], float],
) -> dict[str, float]:
    """Every figure in `DEFINITIONS` by name; NaN where one has no value.

    ``times``: the rows' open times (int64 ms); ``volume``: rows × symbols; ``at_cost``: the total
    return of the same decisions at another cost.
    """
    equity, orders = account.equity, account.orders
    returns = equity / np.concatenate([[cash], equity[:-1]]) - 1.0
    held = np.asarray((account.values > 0).any(axis=1), np.int8)
    ledger = Ledger(equity, returns, held, np.zeros(0, TRADE))
    shared = metrics.figures(
        ledger, np.zeros(0), cash=cash, timeframe=timeframe, buy_and_hold=buy_and_hold
    )
    filled = orders[orders["quantity"] != 0]
    traded = float(np.abs(filled["quantity"] * filled["price"]).sum())
    own = {
        "gross_return": at_cost(0.0),
        "orders": float(len(filled)),
        "invested": float((account.values.sum(axis=1) / equity).mean()),
        "turnover": traded / float(equity.mean()),
        "fees_paid": float(filled["fee"].sum()),
        "fills_without_volume": float((volume[filled["bar"], filled["symbol"]] == 0).sum()),
        "sharpe_daily": metrics.sharpe_daily(equity, times, cash, timeframe),
        "break_even_cost": _break_even(at_cost) if len(filled) else math.nan,
    }
    values = {**shared, **own}
    return {name: values[name] for name in DEFINITIONS}


def _break_even(at_cost: Callable[[float], float]) -> float:
    """The cost per side at which the total return is 0; NaN where no cost below 1 gives that."""
    most = 1.0 - 1e-9
    if at_cost(0.0) < 0 or at_cost(most) > 0:
        return math.nan
    return float(brentq(at_cost, 0.0, most, xtol=1e-15, rtol=1e-14))
