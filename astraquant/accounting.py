"""The ledger of one run: fills and closes in, trades and equity out.

The rules are the contract's (README): every purchase spends all equity, quantity =
equity / (fill x (1 + cost)), long or short alike; a reversal closes and opens at the same fill and
pays both; equity is marked at every close; an open trade is marked at the last close without a
cost. A run whose equity is <= 0 at a close or a fill (only a short can do that) ends at zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._compile import as_input, compiled
from .stops import SIGNAL

Array = np.ndarray[Any, np.dtype[Any]]

# How a trade ended: by the signal, not yet, in ruin, or by a stop: `FIRST_STOP` + its reason.
CLOSED, OPEN, RUINED = 0, 1, 2
FIRST_STOP = 2
# A stake that shrinks to this share is lost: what is left of it is a rounding error.
NOTHING = 1e-12
# Bars marked in one go, few enough to stay in the cache.
STRETCH = 4096

# One trade. Bars are counted within the run. An open trade exits at the last bar and close, marked
# without a cost; a ruined one at the bar and price of the ruin. `profit` is money after costs,
# `result` = profit / (quantity x entry price), `growth` = equity after / equity before.
TRADE = np.dtype(
    [
        ("direction", np.int64),
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("quantity", np.float64),
        ("fees", np.float64),
        ("profit", np.float64),
        ("result", np.float64),
        ("growth", np.float64),
        ("status", np.int64),
    ]
)


class Ledger(NamedTuple):
    """What a run did: equity, return and holding (-1, 0, 1) at each close, and its trades.

    ``trades`` is a structured array of dtype `TRADE`, in time order.
    """

    equity: Array
    returns: Array
    held: Array
    trades: Array


def run_ledger(fills: Array, close: Array, *, cost: float, slippage: float, cash: float) -> Ledger:
    """Book ``fills`` (dtype `stops.FILL`, in time order) and mark at every ``close``.

    ``close``: float64, one value per bar; no NaN. ``cost`` and ``slippage``: fractions in [0, 1).
    """
    trades = np.zeros(np.count_nonzero(fills["side"]), TRADE)
    equity, returns = np.empty((2, len(close)))
    held = np.empty(len(close), np.int8)
    made = _run(
        as_input(fills),
        as_input(close),
        float(cost),
        float(slippage),
        float(cash),
        equity,
        returns,
        held,
        trades,
    )
    return Ledger(equity, returns, held, trades[:made])


@compiled
def _worth(side: int, entry: float, mark: float, cost: float, exit_cost: float) -> float:
    """Equity of a position at ``mark`` as a multiple of the stake, the equity that opened it."""
    owed = mark * (1.0 + exit_cost) / (entry * (1.0 + cost))
    if side > 0:
        return mark * (1.0 - exit_cost) / (entry * (1.0 + cost))
    # A short keeps its stake and the proceeds (less cost), and owes the quantity at the mark.
    return 1.0 + (1.0 - cost) / (1.0 + cost) - owed


@compiled
def _close(
    trade: Any, bar: int, price: float, growth: float, exit_cost: float, status: int
) -> None:
    """Write the end of a trade; a loss of more than the stake is a loss of the stake."""
    if growth <= NOTHING:
        growth, exit_cost, status = 0.0, 0.0, RUINED
    stake = trade["profit"]  # kept there while the trade is open
    trade["exit_bar"] = bar
    trade["exit_price"] = price
    trade["growth"] = growth
    trade["profit"] = stake * (growth - 1.0)
    trade["result"] = trade["result"] * (growth - 1.0)
    trade["fees"] += trade["quantity"] * price * exit_cost
    trade["status"] = status


@compiled
def _run(
    fills: Array,
    close: Array,
    cost: float,
    slippage: float,
    cash: float,
    equity: Array,
    returns: Array,
    held: Array,
    trades: Array,
) -> int:
    # Everything is reckoned in multiples of the stake, so that a run that has lost all but the
    # last digits still counts its trades and returns exactly.
    stake, side, entry, made = cash, 0, 0.0, 0
    now = 1.0  # equity at the last close in stakes
    begin = k = 0
    while begin < len(close):
        while k < len(fills) and fills[k]["bar"] == begin:
            price = fills[k]["price"]
            if side != 0:
                fill = price * (1.0 - side * slippage)
                growth = _worth(side, entry, fill, cost, cost)
                reason = fills[k]["reason"]
                status = CLOSED if reason == SIGNAL else FIRST_STOP + reason
                _close(trades[made - 1], begin, fill, growth, cost, status)
                if growth <= NOTHING:
                    _end_at_zero(begin, equity, returns, held)
                    return made
                stake *= growth
                now /= growth
            side = fills[k]["side"]
            if side != 0:
                entry = price * (1.0 + side * slippage)
                trade = trades[made]
                trade["direction"] = side
                trade["entry_bar"] = begin
                trade["entry_price"] = entry
                trade["quantity"] = stake / (entry * (1.0 + cost))
                trade["fees"] = stake * cost / (1.0 + cost)
                trade["profit"] = stake
                trade["result"] = 1.0 + cost  # stake / (quantity x entry)
                made += 1
            k += 1
        end = min(fills[k]["bar"] if k < len(fills) else len(close), begin + STRETCH)
        bars = close[begin:end]
        alive = _mark(side, entry, bars, cost, stake, now, equity[begin:end], returns[begin:end])
        held[begin:end] = side
        if alive < len(bars):
            growth = _worth(side, entry, bars[alive], cost, 0.0)
            _close(trades[made - 1], begin + alive, bars[alive], growth, 0.0, RUINED)
            _end_at_zero(begin + alive, equity, returns, held)
            return made
        now = _worth(side, entry, bars[-1], cost, 0.0) if side != 0 else 1.0
        begin = end
    if side != 0:
        _close(trades[made - 1], len(close) - 1, close[-1], now, 0.0, OPEN)
    return made


@compiled
def _mark(
    side: int,
    entry: float,
    close: Array,
    cost: float,
    stake: float,
    before: float,
    equity: Array,
    returns: Array,
) -> int:
    """Mark bars without a fill; how many of them until the stake is lost.

    ``before``: equity at the close before them, in stakes. One step at a time for all bars, so that
    the processor divides many at once.
    """
    lost = 0
    for i in range(len(close)):
        equity[i] = _worth(side, entry, close[i], cost, 0.0) if side != 0 else 1.0
        lost += equity[i] <= NOTHING
    alive = len(close)
    if lost:
        alive = 0
        while equity[alive] > NOTHING:
            alive += 1
    returns[0] = equity[0] / before - 1.0
    for i in range(1, alive):
        returns[i] = equity[i] / equity[i - 1] - 1.0
    for i in range(alive):
        equity[i] *= stake
    return alive


@compiled
def _end_at_zero(ruin: int, equity: Array, returns: Array, held: Array) -> None:
    equity[ruin:] = 0.0
    returns[ruin:] = 0.0
    returns[ruin] = -1.0
    held[ruin:] = 0
