"""Walk-forward: parameters chosen on the past alone, traded on what follows, again and again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes, walk_reports
from .backtesting import Backtest
from .errors import StrategyError, unknown
from .grids import check_memory_limit, make_grid
from .jobs import COLUMNS
from .performance import bar_returns
from .runs import OPTIONS, Market, Options, check_order
from .statistics import FEWEST, sharpe_interval
from .strategies.definition import Strategy
from .walk_reports import HELD, STATIC, WALKED
from .walk_runs import Walk
from .walk_windows import Plan, at, parse_span

Array = np.ndarray[Any, np.dtype[Any]]
OWN = ("train", "test", "step", "anchored", "metric")
SHOWN = ("total_return", "sharpe", "max_drawdown", "trades")
SPANS = ("train_start", "train_end", "test_start", "test_end")
FOUND = ("in_sample", "out_of_sample", "bars")


def walk_forward(
    candles: pd.DataFrame,
    strategy: Strategy,
    *,
    train: Any = "90d",
    test: Any = "30d",
    step: Any = None,
    anchored: bool = False,
    metric: str = "sharpe",
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
    memory_limit: int = 2**30,
    **grid: Any,
) -> WalkForward:
    """Tune ``strategy`` on a stretch of the past, trade the choice on the next, and move on.

    ``walk_forward(candles, ma_cross, train="90d", test="30d", short=range(5, 50), long=...)``. Each
    training sweeps the whole grid (the parameters given as iterables) and takes the best row by
    ``metric``, the first of equals. ``train``, ``test``, ``step``: spans of UTC time such as "90d",
    "12h", "4w". The first training begins at the first evaluated bar, each test where its training
    ends; then all moves on by ``step``, by default the length of the test. With a shorter one each
    choice is traded until the next takes over. ``anchored``: training always begins at the first
    bar, and grows. The other options are those of `backtest`, one value each.

    What the choices decide is joined into one run over all tests, under the contract of any
    backtest: earlier candles warm the indicators up, and where one choice takes over from another
    only what changes is traded. A position that a stop has left stays flat until the joined signal
    changes.

    A training without a figure in any row (nothing traded, no candles) chooses nothing: flat until
    the next choice, and said in the notes. Raises `StrategyError` or `DataError` for what can't be
    honoured, windows that do not fit among them.
    """
    check_order(candles, strategy)
    for name in grid:
        strategy.check_name(name, (*OPTIONS, "memory_limit", *OWN))
    stops = {"stop_loss": stop_loss, "take_profit": take_profit, "trailing_stop": trailing_stop}
    fixed = {"timeframe": timeframe, "cost": cost, **stops}
    _check_fixed({**fixed, "slippage": slippage, "fill": fill, "direction": direction})
    if metric not in COLUMNS:
        raise StrategyError(unknown("metric", metric, COLUMNS))
    check_memory_limit(memory_limit)
    options = Options(cost, slippage, fill, direction, cash, **stops)
    market = Market(candles, timeframe, start, end)
    plan = _plan(train, test, step, anchored, market.timeframe)
    if not strategy.parameters:
        raise StrategyError(
            f"{strategy.name} has no parameters, so there is nothing to choose; use backtest"
        )
    tried = make_grid(strategy, {**grid, **fixed, "timeframe": market.timeframe}, memory_limit)
    if taken := next((name for name in tried.levels if name in (*SPANS, *FOUND)), None):
        raise StrategyError(
            f"the parameter {taken} bears the name of a column of WalkForward.windows; rename it"
        )
    walk = Walk(market, strategy, tried, options, plan, metric, int(memory_limit))
    walk.go()
    return WalkForward(walk)


def _check_fixed(options: dict[str, object]) -> None:
    """Raise `StrategyError` for an option with several values."""
    for name, value in options.items():
        if isinstance(value, Iterable) and not isinstance(value, str):
            raise StrategyError(
                f"{name}={value!r}: a walk-forward takes one value, since its tests are joined "
                f"into one run. Only parameters of the strategy are tuned; call it once for each "
                f"{name.replace('_', ' ')} and compare"
            )


def _with_holes(values: Sequence[Any]) -> pd.Series:
    """Values of one parameter, None where nothing was chosen: whole numbers stay whole."""
    whole = all(isinstance(value, int | None) for value in values)
    return pd.Series(values, dtype="Int64" if whole and None in values else None)


def _plan(train: object, test: object, step: object, anchored: bool, timeframe: str) -> Plan:
    tested = parse_span(test, "test", timeframe)
    moved = tested if step is None else parse_span(step, "step", timeframe)
    typed = {"train": train, "test": test, "step": test if step is None else step}
    return Plan(parse_span(train, "train", timeframe), tested, moved, anchored, typed)


class WalkForward:
    """The result of a walk-forward: what was chosen when, and what it earned on bars unseen.

    ``backtest``: the one run over all tests, joined from what the choices decided. ``strategy``,
    ``grid``, ``options``, ``metric``: what was tried, how, and what chose. ``source``: where the
    candles come from, if they say so.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.strategy, self.grid, self.options = walk.strategy, walk.grid, walk.options
        self.metric, self.plan = walk.metric, walk.plan
        self.timeframe = walk.market.timeframe
        self.source = walk.market.source.attrs.get("source")
        self.backtest: Backtest = walk.stitched()

    @cached_property
    def windows(self) -> pd.DataFrame:
        """A row for each window: its times, the parameters it chose, how they did before and after.

        ``train_start``, ``train_end`` = ``test_start``, ``test_end`` (UTC, the ends excluded; cut
        where the candles end). A column for each swept parameter, empty where nothing was chosen.
        ``in_sample``, ``out_of_sample``: the metric over training and test, each by itself as
        `backtest` gives it; NaN where it has no value. ``bars``: those from the begin of the test
        until the next choice took over, also where there was no choice and nothing was traded.
        """
        choices = self._walk.choices
        spans = [
            (c.window.train_start, c.window.test_start, c.window.test_start, c.window.test_end)
            for c in choices
        ]
        times = {
            name: pd.DatetimeIndex([at(time) for time in column])
            for name, column in zip(SPANS, zip(*spans, strict=True), strict=True)
        }
        rows = [c.row or (None,) * len(self.grid.levels) for c in choices]
        chosen = {
            name: _with_holes(column)
            for name, column in zip(self.grid.levels, zip(*rows, strict=True), strict=True)
        }
        return pd.DataFrame(
            {
                **times,
                **chosen,
                "in_sample": [c.in_sample for c in choices],
                "out_of_sample": [c.out_of_sample for c in choices],
                "bars": [c.traded for c in choices],
            }
        )

    @property
    def metrics(self) -> pd.Series:
        """Every figure of the joined run, all of it out of sample."""
        return self.backtest.metrics

    @cached_property
    def static(self) -> Backtest | None:
        """The combination with the best metric over these very tests, chosen in hindsight.

        No fixed choice does better, and nobody could have known it; None if no row has a figure.
        The sweep that finds it looks at these bars, so it counts as tried in what `sweep` and
        `Sweep.honesty` say of luck. The trainings don't: their choices are judged out of sample.
        """
        row = self._walk.hindsight()
        return None if row is None else self._walk.static(row)

    @cached_property
    def tuned_once(self) -> Backtest | None:
        """The choice of the first training over all tests, never changed; None if it made none."""
        row = self._walk.choices[0].row
        return None if row is None else self._walk.static(row)

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """The walk-forward beside what else could have been done over the same bars.

        The best static choice is known in hindsight alone. A row is NaN where there was no choice.
        """
        runs = {
            WALKED: self.backtest,
            STATIC: self.static,
            "tuned once": self.tuned_once,
        }
        rows = {
            name: [math.nan] * len(SHOWN) if run is None else [run.metrics[n] for n in SHOWN]
            for name, run in runs.items()
        }
        held = self._walk.buy_and_hold()
        rows[HELD] = [held[name] for name in SHOWN]
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(SHOWN))

    @property
    def efficiency(self) -> float:
        """Mean metric out of sample / mean in sample, over the windows that have both.

        About 1 where the choices go on as they did in training. Windows whose test is cut short by
        the end of the candles count only if no whole one has both. NaN unless the metric is a rate
        (sharpe, sortino, annual_return, win_rate, exposure, expectancy, profit_factor): others
        depend on the length of the window, which training and test do not share. NaN too unless
        the mean in sample is above 0: a ratio to a loss says nothing.
        """
        return walk_reports.efficiency(self._walk)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the annualised Sharpe ratio out of sample, by block bootstrap.

        (nan, nan) for fewer than 8 bars, see the notes, and where returns don't vary. It takes
        seconds where there are hundreds of thousands of bars.
        """
        returns = bar_returns(self.backtest.equity.to_numpy(float), self.options.cash)
        if len(returns) < FEWEST:
            return math.nan, math.nan
        low, high = sharpe_interval(returns)
        scale = math.sqrt(timeframes.bars_per_year(self.timeframe))
        return float(low) * scale, float(high) * scale

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about these figures, a sentence each."""
        return (*self.backtest.notes, *walk_reports.walk_notes(self._walk))

    @property
    def passport(self) -> dict[str, Any]:
        """That of the joined run: contract, candles, versions, and how parameters were chosen."""
        return self.backtest.passport

    def plot(self) -> Any:
        """Chosen parameters, equity beside static choices, in against out of sample (a widget)."""
        from .widgets.walk_picture import walk_chart

        curves = {HELD: self.backtest._buy_and_hold_equity(), WALKED: self.backtest.equity}
        if self.static is not None:
            curves[STATIC] = self.static.equity
        count = len(self.grid.rows)
        best = f"best {self.metric.replace('_', ' ')} of {count:,} combinations"
        spans = self.plan.said()
        said = f"tuned every {spans['step']} on {'all' if self.plan.anchored else spans['train']}"
        said += " before"
        return walk_chart(
            self.windows,
            self.grid.levels,
            curves,
            metric=self.metric,
            title=" · ".join([self.strategy.name, said, self.timeframe]),
            source=self.source,
            note=best if count > 1 else "the only combination",
            cut=walk_reports.cut_short(self._walk.choices),
        )

    def __repr__(self) -> str:
        m, said = self.metrics, self.plan.said()
        count = len(self._walk.choices)
        return (
            f"<WalkForward {self.strategy.name}, {count:,} window{'s' if count > 1 else ''} of "
            f"{said['train']} + {said['test']}, "
            f"{walk_reports.combinations(len(self.grid.rows))}: out of sample return "
            f"{m.total_return:.2%}, Sharpe {m.sharpe:.2f}, {m.trades:,.0f} trades>"
        )

    def _repr_html_(self) -> str:
        return walk_reports.walk_html(self)
