"""A strategy on the live stream: what it has decided so far, and what a paper account made of it.

Nothing here draws. The same function and the same contract as in a backtest: decided on closed
candles alone, filled at the open of the next one, costs paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..backtesting import Backtest, backtest
from ..candles import COLUMNS, Candle
from ..errors import DataError
from ..strategies.definition import Strategy
from ..timeframes import from_ms
from . import style
from .words import amount, clock

CASH = 10_000.0  # of the paper account, in the quote currency
_SIDES = {1: "long", -1: "short", 0: "flat"}


@dataclass(frozen=True)
class Account:
    """A paper account as of the newest open: what it holds, and the money lost to fees so far.

    ``direction`` is 1, 0 or -1. ``equity`` counts while it is flat, the position else. ``pending``:
    what the last close has decided and the next open will fill, None if that is held already.
    """

    since: pd.Timestamp
    equity: float
    fees: float
    trades: int
    direction: int = 0
    quantity: float = 0.0
    entry_price: float = 0.0
    entry_time: pd.Timestamp | None = None
    pending: int | None = None

    def worth(self, price: float) -> float:
        """Equity at ``price``: an open position is marked without a cost, as the contract says."""
        if self.direction > 0:
            return self.quantity * price
        if self.direction < 0:  # the stake and the proceeds, less what it owes; never below nothing
            return max(0.0, self.quantity * (2.0 * self.entry_price - price))
        return self.equity

    def say(self, price: float, decimals: int, base: str, quote: str) -> list[tuple[str, str, str]]:
        """Position, profit since the start and fees at ``price``, as entries of a legend.

        decimals: those of a price.
        """
        profit = self.worth(price) - CASH
        held = _SIDES[self.direction]
        if self.direction and self.entry_time is not None:
            size = f"{amount(self.quantity)} {base}".strip()
            price_paid = f"{self.entry_price:,.{decimals}f}"
            held += f" {size} since {clock(self.entry_time)} at {price_paid}"
        if self.pending is not None:
            held += f", {_SIDES[self.pending]} from the next open"
        colour = style.TEXT if not profit else style.LONG if profit > 0 else style.DRAWDOWN
        return [
            ("", style.TEXT, held),
            (f"{profit:+,.2f} {quote} ({profit / CASH:+.2%})", colour, "since it began"),
            ("", style.TEXT, f"lost to fees: {self.fees:,.2f} {quote}"),
            ("", style.TEXT, f"closed trades: {self.trades}"),
            ("", style.TEXT, f"began at {clock(self.since)} with {CASH:,.0f} {quote}"),
        ]


@dataclass(frozen=True)
class Run:
    """What a strategy made of the candles.

    ``lines``: its own, on the times of the closed candles. ``trades``: as `Backtest.trades`; since
    the account's start they are the account's. ``account``: None until its first bar has opened.
    ``note``: what a reader must know, or "".
    """

    lines: dict[str, pd.Series]
    trades: pd.DataFrame
    account: Account | None
    note: str


def run_live(
    closed: pd.DataFrame,
    opened: Candle | None,
    strategy: Strategy,
    parameters: Mapping[str, Any],
    *,
    timeframe: str,
    since: int | None,
    cost: float,
) -> Run:
    """Run ``strategy`` over the ``closed`` candles, and a paper account from the bar ``since`` on.

    ``since``: its open time (ms), None if there is to be no account yet. Of ``opened``, the bar
    that is not over yet, only the open is used: that is the price at which the last decision is
    filled. Raises `StrategyError` for parameters that make no sense together.
    """
    strategy.bind(parameters)
    table = closed if opened is None else _with_open(closed, opened)
    if table.empty:
        raise DataError("no candle yet: expected at least one.")
    options: dict[str, Any] = {"timeframe": timeframe if len(table) == 1 else None, "cost": cost}
    whole = backtest(table, strategy, cash=CASH, **options, **parameters)
    lines = {name: line.iloc[: len(closed)] for name, line in whole.lines.items()}
    note = next((text for text in whole.notes if text.startswith(("Too few", "Run on"))), "")
    start = None if since is None else from_ms(np.array([since]))[0]
    if start is None or table.index[-1] < start:
        return Run(lines, whole.trades, None, note)
    paper = backtest(table, strategy, cash=CASH, start=start, **options, **parameters)
    account = _account(paper, start, opened is None)
    return Run(lines, _marked(whole.trades, paper.trades, start), account, note)


def _with_open(closed: pd.DataFrame, opened: Candle) -> pd.DataFrame:
    """The closed candles and a bar of which nothing is known but its open."""
    price = opened.open
    row = pd.DataFrame(
        [[price, price, price, price, 0.0]],
        columns=list(COLUMNS),
        index=from_ms(np.array([opened.time])),
    )
    return pd.concat([closed[list(COLUMNS)], row])


def _account(paper: Backtest, since: pd.Timestamp, at_close: bool) -> Account:
    trades = paper.trades
    still = trades[trades["status"] == "open"]
    held = {}
    if len(still):
        last = still.iloc[-1]
        held = {
            "direction": int(last["direction"]),
            "quantity": float(last["quantity"]),
            "entry_price": float(last["entry_price"]),
            "entry_time": last["entry_time"],
        }
    return Account(
        since=since,
        equity=float(paper.equity.iloc[-1]),
        fees=float(trades["fees"].sum()),
        trades=len(trades) - len(still),
        # What the bar that is not over decides is no decision yet.
        pending=paper.pending if at_close else None,
        **held,
    )


def _marked(whole: pd.DataFrame, paper: pd.DataFrame, start: pd.Timestamp) -> pd.DataFrame:
    """The strategy's trades up to ``start``, and the account's from there on.

    A position held over the start is entered twice: once by the strategy, later by the account.
    """
    before = whole[whole["entry_time"] < start]
    shown = [table for table in (before, paper) if len(table)]
    return pd.concat(shown, ignore_index=True) if shown else whole.iloc[:0]
