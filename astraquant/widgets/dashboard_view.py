"""What a dashboard, a report and a picture show of a result, whatever kind of result it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..accounting import OPEN
from ..backtesting import Backtest
from ..candles import is_synthetic
from ..errors import StrategyError
from ..metrics import DEFINITIONS
from ..performance import bar_returns, gross_equity
from ..portfolio_figures import DEFINITIONS as PORTFOLIO_DEFINITIONS
from ..portfolios import Portfolio
from ..reports import format_figure
from .explorer_words import say_fees

Array = np.ndarray[Any, Any]
PARTS = 5  # of what is held: more colours can't be told apart


@dataclass(frozen=True)
class View:
    """A result as it is shown.

    ``equity``, ``benchmark`` and ``gross`` (the same at zero cost): money at
    each close, by time. ``invested``: share of equity in each part (long and short, or symbols) at
    each close; what is sold short is negative. ``results``: return of each closed trade. ``rows``:
    the ``listed`` ("trades" or "orders"), a row each. ``costs`` and ``contract``: in words.
    """

    name: str
    timeframe: str
    cash: float
    equity: pd.Series
    benchmark: pd.Series
    gross: pd.Series
    invested: pd.DataFrame
    results: Array
    rows: pd.DataFrame
    listed: str
    metrics: pd.Series
    definitions: Mapping[str, str]
    costs: str
    contract: str
    notes: tuple[str, ...]
    passport: Mapping[str, Any]
    synthetic: bool

    @property
    def title(self) -> str:
        """The name, and the timeframe of the bars."""
        return f"{self.name} · {self.timeframe}"

    @property
    def span(self) -> str:
        """How many bars, from when to when."""
        bars = len(self.equity)
        return f"{bars:,} bar{'' if bars == 1 else 's'}, {say_span(self.equity)} UTC"

    @property
    def why_no_results(self) -> str:
        """Why there is no return of a trade, in words."""
        if self.listed == "trades":
            return "there is no closed trade"
        return "an account has orders, not trades"

    @property
    def returns(self) -> Array:
        """Return of each bar, the first against the starting cash."""
        return bar_returns(self.equity.to_numpy(float), self.cash)


def view_of(result: Any) -> View:
    """The view of a backtest or a portfolio; `StrategyError` for anything else."""
    if isinstance(result, Backtest):
        return _view_of_backtest(result)
    if isinstance(result, Portfolio):
        return _view_of_portfolio(result)
    raise StrategyError(
        f"{type(result).__name__}: expected the result of a backtest or a portfolio "
        "(of a sweep: sweep.best() says which parameters to give to backtest)."
    )


def _view_of_backtest(result: Backtest) -> View:
    ledger, cash = result._ledger, result.options.cash
    index = result.equity.index
    close = result.candles["close"].to_numpy()
    closed = ledger.trades["status"] != OPEN
    return View(
        name=str(result.metrics.name),
        timeframe=result.timeframe,
        cash=cash,
        equity=result.equity,
        benchmark=result._buy_and_hold_equity(),
        gross=pd.Series(gross_equity(ledger.trades, close, cash), index=index),
        invested=_sides(ledger.held, index),
        results=ledger.trades["result"][closed],
        rows=result.trades,
        listed="trades",
        metrics=result.metrics,
        definitions=DEFINITIONS,
        costs=say_costs(result),
        contract=result.options.contract(result.options.cost),
        notes=result.notes,
        passport=result.passport,
        synthetic=is_synthetic(result.passport["source"]),
    )


def _sides(held: Array, index: pd.Index) -> pd.DataFrame:
    """Each purchase spends all equity: a share is 1, 0 or -1."""
    sides = {"long": (held > 0).astype(float), "short": -(held < 0).astype(float)}
    kept = {name: share for name, share in sides.items() if share.any() or name == "long"}
    return pd.DataFrame(kept, index=index)


def _view_of_portfolio(result: Portfolio) -> View:
    weights = result.weights
    order = list(weights.abs().mean().sort_values(ascending=False, kind="stable").index)
    shown = weights[order[:PARTS]]
    if len(order) > PARTS:
        shown = shown.assign(others=weights[order[PARTS:]].sum(axis=1))
    gross = result._run(result._filled, 0.0).equity
    return View(
        name=result.name,
        timeframe=result.timeframe,
        cash=result.options.cash,
        equity=result.equity,
        benchmark=result.benchmark,
        gross=pd.Series(gross, index=result.equity.index),
        invested=shown,
        results=np.empty(0),
        rows=result.orders,
        listed="orders",
        metrics=result.metrics,
        definitions=PORTFOLIO_DEFINITIONS,
        costs=say_costs(result),
        contract=result.contract,
        notes=result.notes,
        passport=result.passport,
        synthetic=is_synthetic(result.passport["source"]),
    )


def say_costs(result: Any) -> str:
    """What fees took, and the cost per side at which nothing would be left."""
    said = say_fees(result)
    figures, cost = result.metrics, result.options.cost
    limit = float(figures.get("break_even_cost", np.nan))
    if np.isfinite(limit):
        paid = format_figure("break_even_cost", cost)
        said += (
            f" Break-even cost: {format_figure('break_even_cost', limit)} per side; paid: {paid}."
        )
    elif float(figures["gross_return"]) < 0:
        said += " No break-even cost: even at zero cost it loses."
    return said


def say_span(equity: pd.Series) -> str:
    """From when to when, to the minute; a single bar is named once."""
    ends = dict.fromkeys(f"{time:%Y-%m-%d %H:%M}" for time in equity.index[[0, -1]])
    return " to ".join(ends)
