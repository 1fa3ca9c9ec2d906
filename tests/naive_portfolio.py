"""A slow, obvious account of several symbols: one bar, one symbol, one order at a time.

Nothing here is shared with the package: what is left after costs is found by halving, not by
Newton's steps, and money is booked order by order, as a bank statement shows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass
class Statement:
    """Equity, cash and values at each close, and a dict for every order."""

    equity: list = field(default_factory=list)
    cash: list = field(default_factory=list)
    values: list = field(default_factory=list)
    orders: list = field(default_factory=list)


def equity_left(worth, weights, values, buying, selling):
    """The x at which x + the costs of holding weights × x is ``worth``, by halving."""

    def costs(x):
        total = 0.0
        for weight, value in zip(weights, values, strict=True):
            if weight is not None:
                change = weight * x - value
                total += change * buying if change > 0 else -change * selling
        return total

    low, high = 0.0, worth
    for _ in range(200):
        middle = (low + high) / 2
        if middle + costs(middle) < worth:
            low = middle
        else:
            high = middle
    return high


def run(target, price, close, *, cost, slippage, cash):
    """The account of reaching ``target`` (a list of weights or None by bar and symbol)."""
    symbols = range(len(target[0]))
    quantity, mark = [0.0 for _ in symbols], [0.0 for _ in symbols]
    waiting = {}  # symbol -> (weight, bar from which it could be filled)
    said = Statement()
    for bar in range(len(target)):
        for s in symbols:
            if target[bar][s] is not None:
                waiting[s] = (target[bar][s], bar)
            if not math.isnan(price[bar][s]):
                mark[s] = price[bar][s]
        due = {s: waiting.pop(s) for s in list(waiting) if not math.isnan(price[bar][s])}
        if due:
            cash = _trade(bar, due, quantity, mark, cash, cost, slippage, said.orders)
        for s in symbols:
            if not math.isnan(close[bar][s]):
                mark[s] = close[bar][s]
        said.values.append([quantity[s] * mark[s] for s in symbols])
        said.cash.append(cash)
        said.equity.append(cash + sum(said.values[-1]))
    return said


def _trade(bar, due, quantity, mark, cash, cost, slippage, orders):
    values = [q * m for q, m in zip(quantity, mark, strict=True)]
    worth = cash + sum(values)
    buying = (1 + slippage) * (1 + cost) - 1
    selling = 1 - (1 - slippage) * (1 - cost)
    weights = [due[s][0] if s in due else None for s in range(len(quantity))]
    left = equity_left(worth, weights, values, buying, selling)
    changes = {s: weights[s] * left - values[s] for s in sorted(due)}
    changes = {s: change for s, change in changes.items() if abs(change) > 1e-12 * worth}
    for s, change in changes.items():
        if change < 0:
            sold = quantity[s] if weights[s] == 0 else -change / mark[s]
            got = mark[s] * (1 - slippage)
            cash += sold * got * (1 - cost)
            quantity[s] -= sold
            orders.append(_order(bar, s, due, got, -sold, cost, False))
    paid = mark_up = (1 + slippage) * (1 + cost)
    wanted = sum(change * paid for change in changes.values() if change > 0)
    share = cash / wanted if wanted > cash else 1.0
    for s, change in changes.items():
        if change > 0:
            bought = share * change / mark[s]
            cash -= bought * mark[s] * mark_up
            quantity[s] += bought
            cut = share < 1 - 1e-12
            orders.append(_order(bar, s, due, mark[s] * (1 + slippage), bought, cost, cut))
    assert cash > -1e-9 * worth
    return max(cash, 0.0)


def _order(bar, symbol, due, price, quantity, cost, cut):
    return {
        "decided": due[symbol][1],
        "bar": bar,
        "symbol": symbol,
        "price": price,
        "quantity": quantity,
        "fee": abs(quantity) * price * cost,
        "cut": cut,
    }


def candles(seed, bars, *, start="2023-01-01", step="1h", move=0.01, holes=()):
    """A random walk as a candle table; opens differ from the closes before; without some bars."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, move, bars)))
    opens = np.concatenate([[100.0], closes[:-1]]) * np.exp(rng.normal(0, move / 4, bars))
    times = pd.date_range(start, periods=bars, freq=step, tz="UTC", name="time")
    table = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
            "volume": rng.integers(0, 5, bars).astype(float),
        },
        index=times,
    )
    return table.drop(times[list(holes)])
