"""vectorbt, the accounting reference: the only module that imports it.

It never sees a strategy: it gets our entries, exits and prices, and its own bookkeeping must come
to the same figures (tests hold it to that). Importing it takes seconds: that happens on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .accounting import CLOSED, NOTHING, OPEN, RUINED, TRADE, Ledger
from .runs import Market, Options, run
from .stops import SIGNAL

Array = np.ndarray[Any, np.dtype[Any]]


def build_portfolio(
    target: Array,
    price: Array,
    close: Array,
    index: pd.DatetimeIndex,
    *,
    cost: float,
    slippage: float,
    cash: float,
    bar: pd.Timedelta,
) -> Any:
    """A ``vectorbt.Portfolio`` of one or many runs over the same bars.

    ``target``: int8 of shape (bars,) or (bars, runs), what to hold from the fill in each bar on;
    ``price``: float64 of shape (bars,) or that of ``target``; ``close``: of shape (bars,). Each
    purchase spends all equity.
    """
    import vectorbt

    before = np.zeros_like(target)
    before[1:] = target[:-1]
    # A zone-aware index makes vectorbt turn every time into a Python object: give it naive UTC.
    naive = index.tz_localize(None) if index.tz is not None else index
    columns = None if target.ndim == 1 else pd.RangeIndex(target.shape[1])

    def signals(values: Array) -> pd.Series | pd.DataFrame:
        if columns is None:
            return pd.Series(values, index=naive)
        return pd.DataFrame(values, index=naive, columns=columns)

    return vectorbt.Portfolio.from_signals(
        pd.Series(close, index=naive),
        entries=signals((target == 1) & (before != 1)),
        exits=signals((target == 0) & (before == 1)),
        short_entries=signals((target == -1) & (before != -1)),
        short_exits=signals((target == 0) & (before == -1)),
        price=pd.Series(price, index=naive) if price.ndim == 1 else signals(price),
        size=np.inf,  # all equity, as a purchase and as a short sale
        upon_opposite_entry="reverse",
        accumulate=False,
        fees=cost,
        slippage=slippage,
        init_cash=cash,
        freq=bar,
    )


def in_halves(fills: Array, close: Array, fill: str) -> tuple[Array, Array]:
    """What is held from each half of each bar on (int8), and at what price it is filled there.

    vectorbt makes one fill in a row, a stop may make a second in a bar: each bar becomes two rows.
    ``fills``: dtype `stops.FILL`. A signal's fill is in the half of its price, a stop's in the
    other: after an open, or before a close.
    """
    at_signal, at_stop = (0, 1) if fill == "open" else (1, 0)
    rows = 2 * fills["bar"] + np.where(fills["reason"] == SIGNAL, at_signal, at_stop)
    price = np.repeat(close, 2)
    price[rows] = fills["price"]
    last = np.searchsorted(rows, np.arange(len(price)), side="right") - 1
    target = np.where(last >= 0, fills["side"][np.maximum(last, 0)] if len(fills) else 0, 0)
    return target.astype(np.int8), price


def halves_of(index: pd.DatetimeIndex, bar: pd.Timedelta) -> pd.DatetimeIndex:
    """The times at which the halves of bars begin."""
    return pd.DatetimeIndex(np.stack([index, index + bar / 2], axis=1).ravel(), tz=index.tz)


def fill_portfolio(fills: Array, market: Market, options: Options) -> Any:
    """A ``vectorbt.Portfolio`` of one run that makes ``fills`` (dtype `stops.FILL`)."""
    close, index = market.evaluated["close"], market.index
    bar = pd.Timedelta(timeframes.duration(market.timeframe), "ms")
    target, price = in_halves(fills, close, options.fill)
    if options.stops.any:
        close, index, bar = np.repeat(close, 2), halves_of(index, bar), bar / 2
    else:
        half = 0 if options.fill == "open" else 1
        target, price = target[1::2], price[half::2]
    return build_portfolio(
        target,
        price,
        close,
        index,
        cost=options.cost,
        slippage=options.slippage,
        cash=options.cash,
        bar=bar,
    )


# vectorbt takes amounts below about 1e-12 for zero and then stops trading. A run that loses nearly
# all would so lose its later trades; with a start this many times richer (a power of two, so that
# nothing is rounded) it keeps them.
_RICHER = 2.0**400
_TOO_LITTLE = 1e-6
# What it may short it keeps as a running sum, rounding errors of the starting cash included.
_TOO_LITTLE_TO_SHORT = 1e-6


def simulate(targets: Array, market: Market, options: Options) -> Iterator[tuple[Ledger, bool]]:
    """The ledgers of many runs over one market: vectorbt's fills, sizes, fees and profits.

    ``targets``: int8 of shape (bars, runs). Equity is marked from vectorbt's trades; its own is a
    running sum of cash flows, whose rounding errors drown a run that has lost nearly all. A run
    that shrinks beyond vectorbt's own precision is left to our ledger; the bool says whether the
    figures are vectorbt's.
    """
    bars = market.evaluated
    price, close = bars[options.fill], bars["close"]
    bar, index = pd.Timedelta(timeframes.duration(market.timeframe), "ms"), market.index
    wanted, prices, closes, rows = targets, price, close, 1
    if options.stops.any:
        fills = [market.fills(targets[:, column], options) for column in range(targets.shape[1])]
        both = [in_halves(one, close, options.fill) for one in fills]
        wanted, prices = (np.column_stack(parts) for parts in zip(*both, strict=True))
        closes, index, bar, rows = np.repeat(close, 2), halves_of(index, bar), bar / 2, 2
    try:
        portfolio = build_portfolio(
            wanted,
            prices,
            closes,
            index,
            cost=options.cost,
            slippage=options.slippage,
            cash=options.cash * _RICHER,
            bar=bar,
        )
    except ValueError:  # one of them won beyond the largest number: vectorbt can't do any
        for column in range(targets.shape[1]):
            yield run(market, targets[:, column], options), False
        return
    records = portfolio.trades.values
    bounds = np.searchsorted(records["col"], np.arange(targets.shape[1] + 1))
    for column in range(targets.shape[1]):
        mine = records[bounds[column] : bounds[column + 1]]
        trades = _our_trades(mine, options.cost)
        trades["entry_bar"] //= rows
        trades["exit_bar"] //= rows
        ledger = _mark(trades, close, options.cost, options.cash * _RICHER)
        if _is_precise(ledger, price, options.cash):
            yield ledger, True
        else:
            yield run(market, targets[:, column], options), False


def _is_precise(ledger: Ledger, price: Array, cash: float) -> bool:
    """Whether equity stayed above what vectorbt can still tell from zero, up to a ruin."""
    if not np.isfinite(ledger.equity).all():
        return False
    alive = ledger.equity[ledger.equity > 0]
    least = float(alive.min()) if len(alive) else cash
    if (ledger.trades["direction"] < 0).any() and least < _TOO_LITTLE_TO_SHORT * cash:
        return False
    return least * _RICHER / max(1.0, float(price.max())) > _TOO_LITTLE  # money, and quantity


def _our_trades(records: Array, cost: float) -> Array:
    """Turn vectorbt's records of one run into `TRADE`, up to a ruin, which it doesn't know."""
    trades = np.zeros(len(records), TRADE)
    for ours, theirs in (
        ("entry_bar", "entry_idx"),
        ("exit_bar", "exit_idx"),
        ("entry_price", "entry_price"),
        ("exit_price", "exit_price"),
        ("quantity", "size"),
        ("profit", "pnl"),
        ("result", "return"),
    ):
        trades[ours] = records[theirs]
    trades["direction"] = np.where(records["direction"] == 0, 1, -1)
    trades["fees"] = records["entry_fees"] + records["exit_fees"]
    trades["growth"] = 1.0 + records["return"] / (1.0 + cost)
    trades["status"] = np.where(records["status"] == 0, OPEN, CLOSED)
    # A short that can't be bought back whole is bought back in part: two records of one entry.
    parts = np.flatnonzero(np.diff(trades["entry_bar"]) == 0)
    if len(parts):
        first = int(parts[0])
        trades["quantity"][first] += trades["quantity"][first + 1]
        return _ruined(trades[: first + 1], cost)
    lost = np.flatnonzero(trades["growth"] <= NOTHING)
    closed = lost[trades["status"][lost] == CLOSED]
    return _ruined(trades[: closed[0] + 1], cost) if len(closed) else trades


def _ruined(trades: Array, cost: float) -> Array:
    """``trades`` with the last one's whole stake lost."""
    last = trades[-1:]
    last["fees"] = last["quantity"] * last["entry_price"] * cost
    last["profit"] = -last["quantity"] * last["entry_price"] * (1.0 + cost)
    last["result"], last["growth"], last["status"] = -(1.0 + cost), 0.0, RUINED
    return trades


def _mark(trades: Array, close: Array, cost: float, cash: float) -> Ledger:
    """Mark the trades of one run at every close and bring the money down to its true size."""
    bar = np.arange(len(close))
    number = np.searchsorted(trades["entry_bar"], bar, side="right") - 1  # the last trade begun
    equity, held = np.full(len(close), cash), np.zeros(len(close), np.int8)
    lost = np.zeros(len(close), np.bool_)
    if len(trades):
        k = np.maximum(number, 0)  # columns are gathered one by one: whole records take longer
        value = trades["quantity"] * trades["entry_price"]
        stake, proceeds = value * (1.0 + cost), value * (1.0 + cost) + value * (1.0 - cost)
        side = trades["direction"].astype(np.int8)[k]
        worth = trades["quantity"][k] * close
        marked = np.where(side > 0, worth, proceeds[k] - worth)
        ends = np.where(trades["status"] == OPEN, len(close), trades["exit_bar"])
        inside = (number >= 0) & (bar < ends[k])
        equity = np.where(
            inside, marked, np.where(number >= 0, (stake + trades["profit"])[k], cash)
        )
        held = np.where(inside, side, 0).astype(np.int8)
        lost = equity <= NOTHING * np.where(inside, stake[k], 0.0)
    if lost.any():
        ruin = int(np.argmax(lost))
        trades = trades[: number[ruin] + 1]
        if held[ruin]:  # at a close, in mid-trade; else at the fill that _our_trades found
            trades["exit_bar"][-1], trades["exit_price"][-1] = ruin, close[ruin]
            trades = _ruined(trades, cost)
        equity[ruin:], held[ruin:] = 0.0, 0
    before = np.concatenate([[cash], equity[:-1]])
    returns = np.divide(equity, before, out=np.ones_like(equity), where=before > 0) - 1.0
    for name in ("quantity", "fees", "profit"):
        trades[name] /= _RICHER
    return Ledger(equity / _RICHER, returns, held, trades)
