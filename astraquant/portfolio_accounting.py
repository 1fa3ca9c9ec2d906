"""One cash account that holds several symbols: decided weights and prices in, equity out.

A weight is a share of the equity that is left once the costs of reaching it are paid, at the opens
at which it is filled. Only the net change of a symbol is traded, sales before purchases. Cash is
never below zero and nothing is borrowed or sold short.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._compile import as_input, compiled

Array = np.ndarray[Any, np.dtype[Any]]

# A change of this share of equity or less is a rounding error, not an order.
NOTHING = 1e-12

# One fill. ``decided``, ``bar``: the first row at whose open it could have been filled, and the row
# at which it was; rows are counted within the run. ``quantity`` is below 0 for a sale. ``price``
# has the slippage in it. ``cut``: 1 where a purchase was made smaller for lack of cash.
ORDER = np.dtype(
    [
        ("decided", np.int64),
        ("bar", np.int64),
        ("symbol", np.int64),
        ("price", np.float64),
        ("quantity", np.float64),
        ("fee", np.float64),
        ("cut", np.int64),
    ]
)


class Account(NamedTuple):
    """What an account did; one row per bar, one column per symbol.

    ``equity`` and ``cash`` after each close, ``values`` of the holdings then (money); ``orders``: a
    structured array of dtype `ORDER`, in time order; ``pending``: the weights decided and never
    filled, NaN where there is none.
    """

    equity: Array
    cash: Array
    values: Array
    orders: Array
    pending: Array


def run_account(
    target: Array, price: Array, close: Array, *, cost: float, slippage: float, cash: float
) -> Account:
    """Bring the holdings to ``target`` (rows × symbols) at ``price``, mark them at ``close``.

    ``target``: the weight to reach at the open of a row, NaN: leave the symbol alone; weights of a
    row are >= 0 and sum up to 1 at most. ``price`` and ``close`` are NaN where a symbol has no bar:
    then its order waits for the next row that has one (unless a later target replaces it) and its
    holding is marked at its last close. ``cost`` and ``slippage`` are fractions in [0, 1).

    A purchase that would need more cash than there is, because a sale still waits or other symbols
    are left alone, is made smaller: all purchases of the row by the same share.
    """
    target = as_input(target)
    bars, symbols = target.shape
    equity, money = np.empty((2, bars))
    values = np.empty((bars, symbols))
    orders = np.zeros(int(np.count_nonzero(~np.isnan(target))), ORDER)
    pending = np.full(symbols, np.nan)
    made = _run(
        target,
        as_input(price),
        as_input(close),
        float(cost),
        float(slippage),
        float(cash),
        equity,
        money,
        values,
        orders,
        pending,
    )
    return Account(equity, money, values, orders[:made], pending)


@compiled
def _run(
    target: Array,
    price: Array,
    close: Array,
    cost: float,
    slippage: float,
    cash: float,
    equity: Array,
    money: Array,
    values: Array,
    orders: Array,
    pending: Array,
) -> int:
    bars, symbols = target.shape
    quantity, mark = np.zeros(symbols), np.zeros(symbols)
    decided = np.zeros(symbols, np.int64)
    made = 0
    for bar in range(bars):
        due = False
        for s in range(symbols):
            if not np.isnan(target[bar, s]):
                pending[s], decided[s] = target[bar, s], bar
            if not np.isnan(price[bar, s]):
                mark[s] = price[bar, s]
                due |= not np.isnan(pending[s])
        if due:
            filled = orders[made:]
            count, cash = _fill(
                bar, price[bar], pending, decided, quantity, mark, cash, cost, slippage, filled
            )
            made += count
        total = cash
        for s in range(symbols):
            if not np.isnan(close[bar, s]):
                mark[s] = close[bar, s]
            values[bar, s] = quantity[s] * mark[s]
            total += values[bar, s]
        equity[bar], money[bar] = total, cash
    return made


@compiled
def _fill(
    bar: int,
    price: Array,
    pending: Array,
    decided: Array,
    quantity: Array,
    mark: Array,
    cash: float,
    cost: float,
    slippage: float,
    orders: Array,
) -> tuple[int, float]:
    """Fill what is pending and has a price; the number of orders and the cash that is left."""
    symbols = len(price)
    buying = (1.0 + slippage) * (1.0 + cost) - 1.0  # lost of each unit of value bought
    selling = 1.0 - (1.0 - slippage) * (1.0 - cost)
    worth = cash
    weight, value, change = np.full(symbols, np.nan), np.empty(symbols), np.zeros(symbols)
    for s in range(symbols):
        value[s] = quantity[s] * mark[s]
        worth += value[s]
        if not np.isnan(price[s]):
            weight[s], pending[s] = pending[s], np.nan
    after = equity_after(worth, weight, value, buying, selling)
    needed = 0.0
    for s in range(symbols):
        wanted = weight[s] * after - value[s]
        if abs(wanted) > NOTHING * worth:  # False for NaN: left alone
            change[s] = wanted
            needed += max(wanted, 0.0) * (1.0 + buying)
            cash += max(-wanted, 0.0) * (1.0 - selling)
    share = cash / needed if needed > cash else 1.0
    made = 0
    for side in (-1, 1):
        for s in range(symbols):
            if change[s] * side > 0:
                amount = change[s] / mark[s] * (share if side > 0 else 1.0)
                if weight[s] == 0:
                    amount = -quantity[s]  # all of it, to the last digit
                quantity[s] += amount
                order = orders[made]
                order["decided"], order["bar"], order["symbol"] = decided[s], bar, s
                order["price"] = mark[s] * (1.0 + side * slippage)
                order["quantity"] = amount
                order["fee"] = side * amount * order["price"] * cost
                order["cut"] = side > 0 and share < 1.0 - NOTHING
                made += 1
    return made, max(cash - needed * share, 0.0)


@compiled
def equity_after(worth: float, weight: Array, value: Array, buying: float, selling: float) -> float:
    """The equity x that is left of ``worth`` when holdings of ``value`` become ``weight`` × x.

    ``buying``, ``selling``: what is lost of each unit of value that is bought or sold. A weight
    that is NaN leaves its holding alone.

    x + costs of reaching it is convex, rising and made of straight pieces: Newton's steps from
    ``worth`` down fall on the root after as many as there are pieces at most.
    """
    x = worth
    for _ in range(len(weight) + 2):
        excess, slope = x - worth, 1.0
        for s in range(len(weight)):
            bought = weight[s] * x - value[s]
            if bought > 0:
                excess += buying * bought
                slope += buying * weight[s]
            elif bought <= 0:  # False for NaN, as above
                excess -= selling * bought
                slope -= selling * weight[s]
        lower = x - excess / slope
        if not lower < x:
            break
        x = lower
    return x
