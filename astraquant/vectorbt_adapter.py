"""vectorbt, the accounting reference: the only module that imports it.

It never sees a strategy: it gets our entries, exits and prices, and its own bookkeeping must come
to the same figures (tests hold it to that). Importing it takes seconds, so this happens on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .accounting import CLOSED, OPEN, RUINED, TRADE, Ledger
from .runs import Market, Options, run

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
    ``price`` and ``close``: float64 of shape (bars,). Each purchase spends all equity.
    """
    import vectorbt

    before = np.zeros_like(target)
    before[1:] = target[:-1]
    # A zone-aware index makes vectorbt turn every time into a Python object: give it naive UTC.
    naive = index.tz_localize(None) if index.tz is not None else index
    columns = None if target.ndim == 1 else pd.RangeIndex(target.shape[1])

    def signals(condition: Array) -> pd.Series | pd.DataFrame:
        if columns is None:
            return pd.Series(condition, index=naive)
        return pd.DataFrame(condition, index=naive, columns=columns)

    return vectorbt.Portfolio.from_signals(
        pd.Series(close, index=naive),
        entries=signals((target == 1) & (before != 1)),
        exits=signals((target == 0) & (before == 1)),
        short_entries=signals((target == -1) & (before != -1)),
        short_exits=signals((target == 0) & (before == -1)),
        price=pd.Series(price, index=naive),
        size=np.inf,  # all equity, as a purchase and as a short sale
        upon_opposite_entry="reverse",
        accumulate=False,
        fees=cost,
        slippage=slippage,
        init_cash=cash,
        freq=bar,
    )


# vectorbt takes amounts below about 1e-12 for zero and then stops trading. A run that loses nearly
# all would so lose its later trades; with a start this many times richer (a power of two, so that
# nothing is rounded) it keeps them.
_RICHER = 2.0**800
_TOO_LITTLE = 1e-9


def simulate(targets: Array, market: Market, options: Options) -> Iterator[Ledger]:
    """The ledgers of many runs over one market, by vectorbt's bookkeeping.

    ``targets``: int8 of shape (bars, runs). A run that shrinks even below `_RICHER` is left to our
    own ledger.
    """
    bars = market.evaluated
    price, close = bars[options.fill], bars["close"]
    portfolio = build_portfolio(
        targets,
        price,
        close,
        market.index,
        cost=options.cost,
        slippage=options.slippage,
        cash=options.cash * _RICHER,
        bar=pd.Timedelta(timeframes.duration(market.timeframe), "ms"),
    )
    values = portfolio.value().to_numpy()
    records = portfolio.trades.values
    bounds = np.searchsorted(records["col"], np.arange(targets.shape[1] + 1))
    for run_number in range(targets.shape[1]):
        target, equity = targets[:, run_number], values[:, run_number]
        trades = _our_trades(records[bounds[run_number] : bounds[run_number + 1]], options.cost)
        ruin = _first_ruin(equity)
        if ruin is None and equity.min() < _TOO_LITTLE * options.cash:
            yield run(market, target, options)
            continue
        held = target.copy()
        if ruin is not None:
            equity = equity.copy()
            equity[ruin:], held[ruin:] = 0.0, 0
            trades = _end_in_ruin(trades, ruin, target, price, close, options)
        before = np.concatenate([[options.cash * _RICHER], equity[:-1]])
        returns = np.divide(equity, before, out=np.ones_like(equity), where=before > 0) - 1.0
        for name in ("quantity", "fees", "profit"):
            trades[name] /= _RICHER
        yield Ledger(equity / _RICHER, returns, held, trades)


def _first_ruin(equity: Array) -> int | None:
    lost = equity <= 0
    return int(np.argmax(lost)) if lost.any() else None


def _our_trades(records: Array, cost: float) -> Array:
    """Vectorbt's records of one run as an array of `TRADE`."""
    trades = np.zeros(len(records), TRADE)
    trades["direction"] = np.where(records["direction"] == 0, 1, -1)
    trades["entry_bar"] = records["entry_idx"]
    trades["exit_bar"] = records["exit_idx"]
    trades["quantity"] = records["size"]
    trades["fees"] = records["entry_fees"] + records["exit_fees"]
    trades["profit"] = records["pnl"]
    trades["result"] = records["return"]
    trades["growth"] = 1.0 + records["return"] / (1.0 + cost)
    trades["status"] = np.where(records["status"] == 0, OPEN, CLOSED)
    for ours, theirs in (("entry_price", "entry_price"), ("exit_price", "exit_price")):
        trades[ours] = records[theirs]
    return trades


def _end_in_ruin(
    trades: Array, ruin: int, target: Array, price: Array, close: Array, options: Options
) -> Array:
    """The trades up to the ruin, which vectorbt doesn't know: the last one loses its whole stake."""
    kept = trades[trades["entry_bar"] <= ruin]
    # vectorbt buys back as much as the cash allows and records that part as a trade of its own.
    parts = kept["entry_bar"] == kept["entry_bar"][-1]
    whole = kept["quantity"][parts].sum()
    kept = np.concatenate([kept[~parts], kept[-1:]])
    last = kept[-1:]
    last["quantity"] = whole
    filled = ruin > 0 and target[ruin] != target[ruin - 1] and last["entry_bar"][0] < ruin
    stake = last["quantity"] * last["entry_price"] * (1.0 + options.cost)
    last["exit_bar"] = ruin
    last["exit_price"] = price[ruin] * (1.0 + options.slippage) if filled else close[ruin]
    last["fees"] = last["quantity"] * last["entry_price"] * options.cost
    last["profit"], last["result"] = -stake, -(1.0 + options.cost)
    last["growth"], last["status"] = 0.0, RUINED
    return kept
