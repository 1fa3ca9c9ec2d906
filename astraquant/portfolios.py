"""Several symbols in one account: weights decided at closes, filled at the next opens."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from . import __version__, timeframes
from .allocations import Plan, check_rebalance, decide_targets, make_plan
from .estimates import ESTIMATED
from .portfolio_accounting import Account, run_account
from .portfolio_figures import portfolio_figures
from .portfolio_reports import portfolio_html, portfolio_notes
from .reports import Shown
from .runs import Options
from .slots import Slots
from .universes import Universe, make_universe

Array = np.ndarray[Any, np.dtype[Any]]


def portfolio(
    candles: pd.DataFrame | Mapping[str, pd.DataFrame],
    allocation: object = "equal",
    *,
    rebalance: str | None = "1d",
    lookback: str = "30d",
    timeframe: str | None = None,
    cost: float = 0.001,
    slippage: float = 0.0,
    cash: float = 10_000.0,
    start: object = None,
    end: object = None,
) -> Portfolio:
    """Hold several symbols in one cash account and say what that would have earned.

    ``candles``: a table of several symbols (`load_candles` with a list) or a dict of candle tables
    by symbol. ``allocation``, shares of equity (>= 0, together 1 at most, the rest is cash):

    - ``"equal"``: the same share for each symbol that is listed by then;
    - ``{"BTCUSDT": 0.6, "ETHUSDT": 0.3}``: fixed shares, others 0;
    - ``"inverse_volatility"``, ``"minimum_variance"``, ``"risk_parity"``, ``"hierarchical"``:
      estimated from the returns of the last ``lookback`` (the last three by skfolio, extra
      ``portfolio``), over the bars that all symbols have; a symbol takes part once its history
      covers ``lookback``, while it has half of the bars and its price moves;
    - a function of the closes of the last ``lookback`` (a DataFrame, time × symbol, NaN where a
      symbol has no bar) to weights, by symbol or one for each column; `check_allocation` checks it;
    - strategies: one for all symbols, or ``{"BTCUSDT": ma_cross, "ETHUSDT": (ma_cross, {"short":
      20})}``. Each of the n symbols with a strategy has a slot of 1/n of equity, in cash while
      the strategy is flat; short positions are refused.

    What is decided at a close uses bars up to it and is filled at the next open of each symbol. A
    symbol without a bar there (a gap, a halt) is filled at its next one, at the price then, and its
    holding is marked at its last close meanwhile; nothing is bought before a symbol's first bar.
    Decisions: at the first close at which weights are known (cash until then), and at each close
    that is the first at or after the end of a bin of ``rebalance`` (None: never again; a strategy
    decides where its position changes too). In between quantities stay and weights drift. Only net
    changes are traded. ``cost`` (fraction of traded value per side) and ``slippage`` are paid out
    of equity: weights are shares of what is left of it, valued at the opens. There is no borrowing:
    where a sale still waits, or other symbols are left alone, purchases shrink to the cash at hand.

    ``timeframe``: resample to it first. ``start``, ``end`` (UTC): the bars that are evaluated;
    earlier ones are history alone, and the decision at the bar before ``start`` is filled at it.

    Raises `DataError` for candles and times, `StrategyError` for allocations and options that it
    can't honour, `AstraQuantError` where skfolio is missing.
    """
    options = Options(cost=cost, slippage=slippage, cash=cash)
    universe = make_universe(candles, timeframe, start, end)
    pace = check_rebalance(rebalance, universe.timeframe)
    plan = make_plan(allocation, lookback, universe)
    return Portfolio(universe, plan, pace, options)


class Portfolio(Shown):
    """One account of several symbols: figures, equity, weights, orders and where they come from.

    ``symbols``, ``options`` (cost, slippage, cash), ``rebalance``: what was run. ``lookback``: the
    past that each decision looks at (None: none). ``timeframe``: of the bars.
    """

    def __init__(
        self, universe: Universe, plan: Plan, rebalance: str | None, options: Options
    ) -> None:
        self.symbols = universe.symbols
        self.options = options
        self.rebalance = rebalance
        self.lookback = None if isinstance(plan, Slots) else plan.lookback and plan.lookback[0]
        self.timeframe = universe.timeframe
        self._universe = universe
        self._plan = plan
        self._targets = decide_targets(universe, plan, rebalance)
        self._account = self._run(self._filled, options.cost)

    @property
    def name(self) -> str:
        """A short title: the allocation, and how often it is rebalanced."""
        pace = f"rebalanced {self.rebalance}" if self.rebalance else "not rebalanced"
        return f"{self._plan.title}, {pace}"

    @property
    def contract(self) -> str:
        """What these figures mean, in one sentence."""
        options = self.options
        worse = f" and slippage of {options.slippage * 100:.6g} %" if options.slippage else ""
        pace = f"every {self.rebalance}" if self.rebalance else "never"
        return (
            "Decided at the close of a bar, filled at the next open of each symbol, at a cost of "
            f"{options.cost * 100:.6g} % per side{worse}; rebalanced {pace}, in between the "
            "weights drift."
        )

    @property
    def candles(self) -> pd.DataFrame:
        """The evaluated bars, as a joined table; NaN where a symbol has no bar."""
        return self._universe.table.iloc[self._universe.first :]

    @cached_property
    def metrics(self) -> pd.Series:
        """Every figure by name (see `portfolio_figures.DEFINITIONS`); NaN where it has no value."""
        universe, cash = self._universe, self.options.cash

        def at_cost(cost: float) -> float:
            return float(self._run(self._filled, cost).equity[-1]) / cash - 1.0

        values = portfolio_figures(
            self._account,
            universe.times[universe.first :],
            universe.evaluated("volume"),
            cash=cash,
            timeframe=self.timeframe,
            buy_and_hold=self._buy_and_hold,
            at_cost=at_cost,
        )
        return pd.Series(values, name=self.name)

    @cached_property
    def equity(self) -> pd.Series:
        """Equity at each close, in money; holdings are marked without a cost."""
        return pd.Series(self._account.equity, index=self._universe.index, name="equity")

    @cached_property
    def benchmark(self) -> pd.Series:
        """Equity of buying and holding, in money.

        Equal weights of the symbols that are listed at the first evaluated close, bought at their
        next opens at the same cost.
        """
        equity = self._run(self._bought_once(), self.options.cost).equity
        return pd.Series(equity, index=self._universe.index, name="buy and hold")

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Share of equity in each symbol at each close, as it has drifted; the rest is cash."""
        shares = self._account.values / self._account.equity[:, None]
        return pd.DataFrame(shares, index=self._universe.index, columns=list(self.symbols))

    @cached_property
    def targets(self) -> pd.DataFrame:
        """The weights decided, a row for each decision by the open time of its bar.

        NaN: the symbol was left alone (strategies decide for theirs only).
        """
        rows = np.flatnonzero(~np.isnan(self._targets).all(axis=1))
        index = timeframes.from_ms(self._universe.times[rows])
        return pd.DataFrame(self._targets[rows], index=index, columns=list(self.symbols))

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row per fill, in time order; sales come first at an open.

        ``time``: of the bar whose open it is; ``symbol``; ``side``: buy or sell; ``price`` with
        slippage; ``quantity``; ``value`` = price × quantity; ``fee``; ``decided``: the bar at whose
        close it was decided; ``cut``: made smaller (down to 0) for lack of cash.
        """
        raw, index, first = self._account.orders, self._universe.index, self._universe.first
        quantity = np.abs(raw["quantity"])
        return pd.DataFrame(
            {
                "time": index[raw["bar"]],
                "symbol": np.array(self.symbols, object)[raw["symbol"]],
                "side": np.where(raw["quantity"] < 0, "sell", "buy").astype(object),
                "price": raw["price"],
                "quantity": quantity,
                "value": quantity * raw["price"],
                "fee": raw["fee"],
                "decided": timeframes.from_ms(self._universe.times[first + raw["decided"] - 1]),
                "cut": raw["cut"] == 1,
            }
        )

    @property
    def trades(self) -> pd.DataFrame:
        """The orders: what a rebalanced account trades are changes, not round trips."""
        return self.orders

    @property
    def pending(self) -> pd.Series:
        """Weights decided and not filled any more, of the symbols that are held otherwise."""
        last = self._targets[-1]
        wanted = np.where(np.isnan(last), self._account.pending, last)
        now = self._account.values[-1] / self._account.equity[-1]
        differ = np.abs(wanted - now) > 1e-9  # False for NaN: nothing is decided
        return pd.Series(wanted[differ], np.array(self.symbols, object)[differ], name="weight")

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about these figures, a sentence each."""
        return tuple(portfolio_notes(self))

    @cached_property
    def passport(self) -> dict[str, Any]:
        """Where the figures come from: contract, allocation, candles (SHA-256), versions."""
        universe, options = self._universe, self.options
        packages = ["numpy", "pandas", "numba"]
        packages += ["skfolio"] if self._plan.title in ESTIMATED[1:] else []
        return {
            "contract": self.contract,
            "allocation": self._plan.title,
            "options": {
                "cost": options.cost,
                "slippage": options.slippage,
                "cash": options.cash,
                "rebalance": self.rebalance,
                "lookback": self.lookback,
            },
            "seed": None,  # nothing here is drawn by chance
            "timeframe": self.timeframe,
            "symbols": list(self.symbols),
            "first_bar": str(universe.table.index[0]),
            "evaluated": (
                f"{universe.index[0]} to {universe.index[-1]} ({len(universe.index):,} bars)"
            ),
            "source": universe.table.attrs.get("source"),
            "candles_sha256": universe.hashes(),
            "versions": {
                "astraquant": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in packages},
            },
        }

    def plot(self) -> Any:
        """Equity against buy-and-hold, drawdown, weights (a bqplot widget)."""
        from .widgets.portfolio_chart import portfolio_chart

        return portfolio_chart(
            self.equity,
            self.benchmark,
            self.weights,
            title=f"{self.name} · {self.timeframe}",
            cash=self.options.cash,
            source=self._universe.table.attrs.get("source"),
            note=f"{int(self.metrics['orders']):,} orders",
        )

    @property
    def _filled(self) -> Array:
        """What to reach from the open of each evaluated row on: what the row before decided."""
        first = self._universe.first
        shifted = np.full_like(self._targets, np.nan)
        shifted[1:] = self._targets[:-1]
        return shifted[first:]

    def _bought_once(self) -> Array:
        universe = self._universe
        target = np.full((len(universe.index), len(self.symbols)), np.nan)
        listed = universe.first_bars <= universe.first
        target[1:2] = np.where(listed, 1.0 / listed.sum(), np.nan)
        return target

    @property
    def _buy_and_hold(self) -> float:
        if len(self._universe.index) < 2:
            return float("nan")
        return float(self.benchmark.iloc[-1]) / self.options.cash - 1.0

    def _run(self, target: Array, cost: float) -> Account:
        return run_account(
            target,
            self._universe.evaluated("open"),
            self._universe.evaluated("close"),
            cost=cost,
            slippage=self.options.slippage,
            cash=self.options.cash,
        )

    def __repr__(self) -> str:
        m = self.metrics
        return (
            f"<Portfolio {self.name}, of {', '.join(self.symbols)} on "
            f"{len(self._universe.index):,} bars of {self.timeframe}: "
            f"return {m.total_return:.2%}, Sharpe {m.sharpe:.2f}, "
            f"max drawdown {m.max_drawdown:.2%}, {m.orders:,.0f} orders>"
        )

    def _repr_html_(self) -> str:
        return portfolio_html(self)
