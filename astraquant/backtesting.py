"""One run of one strategy over one table of candles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from . import metrics
from .accounting import FIRST_STOP, OPEN, RUINED, Ledger
from .errors import StrategyError
from .price_lines import never_known, price_lines
from .reports import Shown, backtest_html, simulated
from .runs import OPTIONS, STOPS, Market, Options, check_order, figures_of, run, run_holding
from .strategies.definition import Strategy
from .strategies.running import Decision, Tracer, decide, describe

Array = np.ndarray[Any, np.dtype[Any]]
_FIGURES = pd.Index(list(metrics.DEFINITIONS))  # made once: a slider asks for figures at each step
STATUS = {0: "closed", OPEN: "open", RUINED: "ruined"}
STATUS |= {FIRST_STOP + reason: name for reason, name in enumerate(STOPS, start=1)}


def backtest(
    candles: pd.DataFrame,
    strategy: Strategy,
    *,
    timeframe: str | None = None,
    cost: float = 0.001,
    slippage: float = 0.0,
    fill: str = "open",
    direction: str = "long",
    cash: float = 10_000.0,
    stop_loss: float | None = None,
    take_profit: float | None = None,
    trailing_stop: float | None = None,
    start: object = None,
    end: object = None,
    **parameters: Any,
) -> Backtest:
    """Run ``strategy`` over ``candles`` and say what it would have earned.

    ``timeframe``: resample to it first. ``cost``: fraction of the traded value per side.
    ``slippage``: fraction by which a fill is worse. ``fill``: "open" of the next bar, or "close" of
    the deciding one (optimistic). ``direction``: what a boolean signal means, "long", "short" or
    "both". ``stop_loss``, ``take_profit``, ``trailing_stop``: fractions of the price at which a
    position is left before its signal says so, watched in the candles as given, even where those
    are finer than ``timeframe``. ``start``, ``end`` (UTC): the bars that are evaluated, start <=
    time < end; earlier candles only warm the indicators up. The rest are the strategy's own
    parameters.

    Raises `DataError` for candles and `StrategyError` for options and parameters it can't honour.
    """
    check_order(candles, strategy)
    options = Options(cost, slippage, fill, direction, cash, stop_loss, take_profit, trailing_stop)
    for name, value in parameters.items():
        if isinstance(value, list | tuple | range | np.ndarray):
            raise StrategyError(
                f"{name}={value!r}: a backtest takes one value; to try several use sweep"
            )
    bound = strategy.bind(parameters, OPTIONS)
    return backtest_on(Market(candles, timeframe, start, end), strategy, options, bound)


def backtest_on(
    market: Market, strategy: Strategy, options: Options, bound: Mapping[str, Any]
) -> Backtest:
    """`backtest` over candles made ready before; ``bound``: as `Strategy.bind` returns it."""
    decision = decide(Tracer(strategy), market.columns, bound, options.direction)
    ledger = run(market, market.targets(decision.position, options.fill), options)
    return Backtest(strategy, bound, options, market, decision, ledger)


class Backtest(Shown):
    """The result of one run: figures, trades, equity, pictures and where they come from.

    ``strategy``, ``parameters``, ``options``: what was run. ``timeframe``: of the bars.
    ``candles``: the evaluated bars. ``notes``: what a reader must know about these figures.
    """

    def __init__(
        self,
        strategy: Strategy,
        parameters: Mapping[str, Any],
        options: Options,
        market: Market,
        decision: Decision,
        ledger: Ledger,
    ) -> None:
        self.strategy = strategy
        self.parameters = dict(parameters)
        self.options = options
        self.timeframe = market.timeframe
        self._market = market
        self._decision = decision
        self._ledger = ledger

    @property
    def candles(self) -> pd.DataFrame:
        """The evaluated bars, as a candle table."""
        return self._market.candles.iloc[self._market.first :]

    @cached_property
    def metrics(self) -> pd.Series:
        """Every figure of the contract by name; NaN where a figure has no value."""
        times, cash = self._market.evaluated["time"], self.options.cash
        values = figures_of(self._market, self._ledger, self.options)
        values["sharpe_daily"] = metrics.sharpe_daily(
            self._ledger.equity, times, cash, self.timeframe
        )
        values["break_even_cost"] = metrics.break_even_cost(self._ledger.trades)
        figures = [values[name] for name in metrics.DEFINITIONS]
        return pd.Series(figures, _FIGURES, name=describe(self.strategy, self.parameters))

    @cached_property
    def equity(self) -> pd.Series:
        """Equity at each close, in money; an open position is marked without a cost."""
        return pd.Series(self._ledger.equity, index=self._market.index, name="equity")

    @cached_property
    def position(self) -> pd.Series:
        """What the strategy wants to hold after each close: -1, 0 or 1."""
        position = self._decision.position[self._market.first :]
        return pd.Series(position, index=self._market.index, name="position")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row per trade, in time order.

        Times are those of the bars (their open time); ``exit_time`` of an open trade is NaT and its
        ``exit_price`` the last close. ``profit`` is after costs, ``return`` = profit / (quantity x
        entry price), ``bars`` how long it was held. ``status``: closed (by the signal), open,
        ruined, or the name of the stop that closed it.
        """
        raw, index = self._ledger.trades, self._market.index
        still_open = raw["status"] == OPEN
        exit_time = pd.Series(index[raw["exit_bar"]])
        return pd.DataFrame(
            {
                "entry_time": index[raw["entry_bar"]],
                "exit_time": exit_time.where(~still_open),
                "direction": raw["direction"],
                "entry_price": raw["entry_price"],
                "exit_price": raw["exit_price"],
                "quantity": raw["quantity"],
                "fees": raw["fees"],
                "profit": raw["profit"],
                "return": raw["result"],
                "bars": raw["exit_bar"] - raw["entry_bar"],
                "status": [STATUS[status] for status in raw["status"]],
            }
        )

    @property
    def pending(self) -> int | None:
        """The position decided at the last close and not filled any more; None if it is held."""
        wanted = int(self._decision.position[-1])
        filled = int(self._market.targets(self._decision.position, self.options.fill)[-1])
        held = int(self._ledger.held[-1])  # nothing, where a stop has left what was filled
        return None if self._ruined or wanted in (filled, held) else wanted

    @property
    def _ruined(self) -> bool:
        trades = self._ledger.trades
        return len(trades) > 0 and int(trades["status"][-1]) == RUINED

    @cached_property
    def portfolio(self) -> Any:
        """The same run as a ``vectorbt.Portfolio`` (naive UTC index), built when first asked for.

        vectorbt knows no ruin: after one, its short stays open. It makes one fill in a row: with
        stops each bar becomes two rows, half a bar apart.
        """
        from .vectorbt_adapter import fill_portfolio

        return fill_portfolio(self._fills, self._market, self.options)

    @property
    def _fills(self) -> Array:
        """The fills of the run, up to the entry of a trade that ends in ruin."""
        target = self._market.targets(self._decision.position, self.options.fill)
        fills = self._market.fills(target, self.options)
        if not self._ruined:
            return fills
        return fills[: np.flatnonzero(fills["side"])[len(self._ledger.trades) - 1] + 1]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about these figures, a sentence each."""
        return tuple(_notes(self))

    @cached_property
    def passport(self) -> dict[str, Any]:
        """Where the figures come from: contract, parameters, candles (SHA-256), versions."""
        engine = "traced" if self._decision.program is not None else "arrays"
        return {
            "contract": self.options.contract(self.options.cost),
            "strategy": self.strategy.name,
            "parameters": dict(self.parameters),
            "options": {name: getattr(self.options, name) for name in Options.__slots__},
            "engine": engine,
            "why_not_traced": self._decision.reason or None,
            "seed": None,  # nothing here is drawn by chance
            "timeframe": self.timeframe,
            **self._market.bars,
            **self._market.passport(),
        }

    @property
    def lines(self) -> dict[str, pd.Series]:
        """The strategy's own lines on the price scale, by name (none if it can't be traced)."""
        if self._decision.program is None:
            return {}
        lines = price_lines(self._decision.program, self._market.columns)
        first, index = self._market.first, self._market.index
        return {name: pd.Series(line[first:], index=index) for name, line in lines.items()}

    def plot(self) -> Any:
        """Price with entries and exits, equity against buy-and-hold, drawdown (a bqplot widget)."""
        from .widgets.chart import backtest_chart

        return backtest_chart(
            self.candles,
            self.trades,
            self.equity,
            self._buy_and_hold_equity(),
            title=f"{describe(self.strategy, self.parameters)} · {self.timeframe}",
            lines=self.lines,
            cash=self.options.cash,
        )

    def _buy_and_hold_equity(self) -> pd.Series:
        equity = run_holding(self._market, self.options).equity
        return pd.Series(equity, index=self._market.index)

    def __repr__(self) -> str:
        m = self.metrics
        return (
            f"<Backtest {m.name} on {len(self._market.index):,} bars of {self.timeframe}: "
            f"return {m.total_return:.2%}, Sharpe {m.sharpe:.2f}, "
            f"max drawdown {m.max_drawdown:.2%}, {m.trades:,.0f} trades>"
        )

    def _repr_html_(self) -> str:
        return backtest_html(self)


def _notes(result: Backtest) -> list[str]:
    market, options, ledger = result._market, result.options, result._ledger
    notes = []
    if text := simulated(market.source.attrs.get("source")):
        notes.append(text)
    if options.fill == "close":
        notes.append("Filled at the very close that decides: optimistic.")
    if options.stops.any and market.watched_timeframe != market.timeframe:
        notes.append(f"Stops were watched in candles of {market.watched_timeframe}.")
    if (ledger.trades["direction"] < 0).any():
        notes.append("Shorts are hypothetical on spot: no borrowing cost is counted.")
    if result._ruined:
        when = market.index[int(ledger.trades["exit_bar"][-1])]
        notes.append(f"Ruined at {when}: a short lost all equity and the run ends at zero.")
    elif len(ledger.trades) and ledger.trades["status"][-1] == OPEN:
        notes.append("The last trade is still open: marked at the last close without a cost.")
    if result.pending is not None:
        wanted = {-1: "short", 0: "flat", 1: "long"}[result.pending]
        notes.append(f"Pending: at the last close it decides to be {wanted}; never filled.")
    empty = int(result.metrics.fills_without_volume)
    if empty:
        notes.append(f"{empty} fill{'s' if empty > 1 else ''} in bars in which nobody traded.")
    if result._decision.program is None:
        notes.append(
            f"Run on plain arrays ({result._decision.reason}): the unknown counts as numpy says."
        )
    elif unknown_lines := never_known(result._decision.program, market.columns):
        notes.append(f"Too few bars: {', '.join(unknown_lines)} is not known at any of them.")
    if not len(ledger.trades):
        notes.append("It never trades: its figures are those of cash.")
    return notes
