"""Many runs of one strategy: a grid of parameters, one row of figures for each combination."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import metrics
from .backtesting import Backtest, backtest
from .errors import StrategyError, unknown
from .grids import check_memory_limit, make_grid
from .jobs import Job
from .moments import Trials
from .permutations import PermutationTest, permutation_test
from .reports import sweep_html, sweep_notes
from .runs import STOPS, Options, check_order
from .strategies.definition import Strategy
from .symbol_sweeps import for_each_symbol
from .timeframes import bars_per_year
from .tried import note_trials

if TYPE_CHECKING:
    from .honesty import Honesty
    from .luck import Luck

Array = np.ndarray[Any, np.dtype[Any]]
ENGINES = ("auto", "vectorbt")


@for_each_symbol
def sweep(
    candles: pd.DataFrame,
    strategy: Strategy,
    *,
    timeframe: str | Iterable[str] | None = None,
    cost: float | Iterable[float] = 0.001,
    slippage: float = 0.0,
    fill: str = "open",
    direction: str = "long",
    cash: float = 10_000.0,
    stop_loss: float | Iterable[float] | None = None,
    take_profit: float | Iterable[float] | None = None,
    trailing_stop: float | Iterable[float] | None = None,
    start: object = None,
    end: object = None,
    engine: str = "auto",
    memory_limit: int = 2**30,
    **grid: Any,
) -> Sweep:
    """Run ``strategy`` with every valid combination of the parameters given as iterables.

    ``sweep(candles, ma_cross, short=range(5, 50), long=range(10, 200, 5), timeframe="5m")``. The
    options are those of `backtest`; a list of ``timeframe``, ``cost`` or of a stop is tried out
    like a parameter (None among stops is no stop, in the table ``inf``). Combinations that the
    strategy calls invalid are left out and counted.
    ``memory_limit``: bytes that the sweep may add, about; what needs more is worked off in parts.
    ``engine``: "auto" is compiled, and runs a strategy that can't be traced on arrays (``passport``
    has the reason); "vectorbt" runs everything through vectorbt, far more slowly, to compare.

    The table has one row per valid combination, equal to its `backtest`. Its index is always a
    MultiIndex: the parameters in call order, then ``timeframe``, ``cost``, ``stop_loss``,
    ``take_profit`` and ``trailing_stop`` where they are lists.

    ``candles`` of several symbols (`load_candles` with a list) are swept one after the other, the
    ``memory_limit`` holding for each. The result is then a `SymbolSweep`: the `Sweep` of each, one
    table of all, and how the combinations rank across the symbols.

    Raises `StrategyError` or `DataError` for what it can't honour; nothing half-finished is
    returned.
    """
    check_order(candles, strategy)
    if engine not in ENGINES:
        raise StrategyError(unknown("engine", engine, ENGINES))
    check_memory_limit(memory_limit)
    listed = {
        "timeframe": timeframe,
        "cost": cost,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "trailing_stop": trailing_stop,
    }
    parameters = make_grid(strategy, {**grid, **listed}, int(memory_limit))
    options = Options(0.0, slippage, fill, direction, cash)
    job = Job(candles, strategy, parameters, options, start, end, engine, memory_limit)
    return Sweep(job, job.run())


class Sweep:
    """The result of a sweep: ``table``, one row of figures per valid combination.

    ``grid``: what was tried. ``skipped``: combinations that the strategy calls invalid. ``source``:
    where the candles come from, if they say so.
    """

    def __init__(self, job: Job, table: pd.DataFrame) -> None:
        self.table = table
        self.strategy = job.strategy
        self.grid = job.grid
        self.skipped = job.grid.skipped
        self.source = next(iter(job.markets.values())).source.attrs.get("source")
        self._job = job
        self._candles_hash = note_trials(job, table["sharpe"].to_numpy())

    def best(self, metric: str = "sharpe") -> pd.Series:
        """The row with the best value of ``metric``: its figures, and its combination as the name.

        Best is highest, but for turnover, fees and fills without volume. The first of equals.
        Remember that the best of many trials is partly luck.
        """
        place = metrics.best_place(self._column(metric).to_numpy(float), metric)
        if place is None:
            raise StrategyError(f"no combination has a {metric}: every row is NaN (did any trade?)")
        return self.table.iloc[place].rename(self.grid.rows[place])

    def ranking(self, metric: str = "sharpe") -> pd.DataFrame:
        """The rows that have a ``metric``, the best first."""
        known = self.table[self._column(metric).notna()]
        ascending = metric in metrics.LOWER_IS_BETTER
        return known.sort_values(metric, ascending=ascending, kind="stable")

    def backtest(self, row: tuple[Any, ...]) -> Backtest:
        """One row as a run with trades and pictures: ``sweep.backtest(sweep.best().name)``."""
        if isinstance(row, tuple) and len(row) == len(self.grid.levels):
            row = tuple(self.grid.indexed(dict(zip(self.grid.levels, row, strict=True))).values())
        if not isinstance(row, tuple) or row not in set(self.grid.rows):
            raise StrategyError(
                f"{row!r} is no row of this sweep; expected a tuple of "
                f"{', '.join(self.grid.levels)}, such as {self.grid.rows[0]}"
            )
        options = self._job.options
        return backtest(
            self._job.candles,
            self.strategy,
            slippage=options.slippage,
            fill=options.fill,
            direction=options.direction,
            cash=options.cash,
            start=self._job.start,
            end=self._job.end,
            **self.grid.arguments(row),
        )

    def heatmap(self, metric: str = "sharpe", **fixed: Any) -> Any:
        """A picture of ``metric`` over the two levels that are not in ``fixed`` (a bqplot widget).

        ``fixed`` names one value for each further level: ``heatmap("sharpe", cost=0.001)``. All
        maps of one metric share their colours, so those at several costs can be compared by eye.
        What has one level left is drawn as a line.
        """
        from .widgets.heatmap import span_of
        from .widgets.parameter_axes import say_values
        from .widgets.sweep_picture import sweep_picture

        fixed = self.grid.indexed(fixed)
        values = self._slice(metric, fixed)
        market = next(iter(self._job.markets.values()))
        named = [] if "timeframe" in self.grid.levels else [market.timeframe]
        cut = say_values(fixed)
        parts = [self.strategy.name, *named, f"{len(values):,} trials", *cut, self._days]
        place = metrics.best_place(values.to_numpy(float), metric)
        return sweep_picture(
            values,
            self.grid.levels,
            metric=metric,
            title=" · ".join(parts),
            note=self._luck_note(metric, fixed),
            best=None if place is None else values.index[place],
            span=span_of(self.table[metric]),
            source=self.source,
        )

    def honesty(self, blocks: int | None = None) -> Honesty:
        """How much of the best result is luck: deflation, overfitting, reality check, plateau.

        ``blocks``: into how many blocks of time the bars are divided, whose halves are played
        against each other: 16 (12,870 ways), 8 or 4; as many as there can be if you don't say: a
        block has two bars at least, and a sweep of very many rows keeps the sums of 8 or 4 only, if
        ``memory_limit`` has no room for more. Raises `StrategyError` for another number.
        """
        from .honesty import honesty_of

        return honesty_of(self._trials, blocks)

    def explore(self, metric: str = "sharpe") -> Any:
        """Walk through the sweep with mouse and sliders: its plane, and the run of each cell."""
        from .widgets.explorer import Explorer

        return Explorer(self, self._job, metric)

    def permutation_test(
        self, n: int = 199, *, metric: str = "sharpe", block: float = 1, seed: int = 0
    ) -> PermutationTest:
        """Is the best ``metric`` more than luck? The same sweep on ``n`` shuffled markets tells.

        The whole sweep is run, with the same grid and options, on markets whose bars are drawn at
        random, with replacement, from the candles; the evaluated ones from the evaluated ones, the
        others from the others (`permutations.permute_candles` says how). p = (1 + markets whose
        best is at least as good) / (n + 1): small if chance hardly ever finds as much. A market in
        which no row has a ``metric`` is none of them. The shuffled markets do not rise on average,
        so a long position in a market that rose beats them without any skill: compare the best with
        the test's ``buy_and_hold``, and heed what its ``answer`` says of holding.

        ``block``: bars that stay together, on average. 1, the default, leaves nothing that could be
        foretold. Longer blocks keep volatility in clusters, but also whatever edge lives within
        them, so they must be shorter than what the strategy looks for. ``seed``: the same test
        again; a larger ``n`` continues a smaller one. It takes ``n`` times as long as the sweep and
        can be interrupted. Raises `StrategyError` for a metric that no row has, or ``n`` < 1.
        """
        best, job = float(self.best(metric)[metric]), self._job
        return permutation_test(job, best, self._days, n=n, metric=metric, block=block, seed=seed)

    def _luck_note(self, metric: str, fixed: Mapping[str, Any]) -> str:
        words = self.luck.words
        return words if metric == "sharpe" and not fixed else f"of the whole sweep, {words}"

    @cached_property
    def _trials(self) -> Trials:
        """What honest statistics need to know of the trials."""
        job = self._job
        markets = list(job.markets.values())
        return Trials(
            job.grid,
            self.table["sharpe"].to_numpy(),
            job.sums,
            job.lengths,
            np.array([math.sqrt(bars_per_year(m.timeframe)) for m in markets])[job.frames],
            self._candles_hash,
            self.source,
        )

    @property
    def _days(self) -> str:
        """The evaluated days, first and last, for a title."""
        index = next(iter(self._job.markets.values())).index
        return f"{index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}"

    def _column(self, metric: str) -> pd.Series:
        if not isinstance(metric, str) or metric not in self.table.columns:
            raise StrategyError(unknown("metric", metric, self.table.columns))
        return self.table[metric]

    def _slice(self, metric: str, fixed: Mapping[str, Any]) -> pd.Series:
        """The values of ``metric`` where the levels in ``fixed`` have those values."""
        values = self._column(metric)
        for name, value in fixed.items():
            if name not in self.grid.levels:
                raise StrategyError(unknown("level", name, self.grid.levels))
            if value not in self.grid.levels[name]:
                raise StrategyError(unknown(f"value of {name}", value, self.grid.levels[name]))
        free = [name for name in self.grid.levels if name not in fixed]
        if not 1 <= len(free) <= 2:
            raise StrategyError(
                f"a picture has one or two axes, but {', '.join(free) or 'no level'} would remain; "
                f"fix the others, such as heatmap({metric!r}, {free[-1] if free else 'cost'}=...)"
            )
        for name, value in fixed.items():
            values = values.xs(value, level=name)
        return values

    @property
    def contract(self) -> str:
        """What the options mean, in one sentence."""
        cost = self.grid.fixed.get("cost")
        said = self._job.options.contract("the table's cost" if cost is None else cost)
        swept = [name.replace("_", " ") for name in STOPS if name in self.grid.levels]
        return f"{said} With the table's {' and '.join(swept)}." if swept else said

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about these figures, a sentence each."""
        return sweep_notes(self)

    @cached_property
    def luck(self) -> Luck:
        """The best Sharpe ratio beside what luck alone would have made the best."""
        from .luck import luck_of

        return luck_of(self._trials)

    @property
    def options(self) -> Options:
        """How signals became trades (the cost: see ``grid``)."""
        return self._job.options

    @property
    def shorted(self) -> bool:
        """Whether any run was short."""
        return self._job.shorted

    @property
    def watched(self) -> str | None:
        """The timeframe in which stops were watched, None if it is that of the bars."""
        stopped = any(terms.stops.any for terms in self._job.terms)
        markets = self._job.markets.values()
        finer = any(market.watched_timeframe != market.timeframe for market in markets)
        return next(iter(markets)).watched_timeframe if stopped and finer else None

    @property
    def ruined(self) -> int:
        """How many runs ended at zero, a short having lost all equity."""
        return self._job.ruined

    @cached_property
    def passport(self) -> dict[str, Any]:
        """Where the figures come from: contract, grid, engine, candles (SHA-256), versions.

        ``bars`` has an entry for each timeframe.
        """
        told = [name for name in Options.__slots__ if name not in ("cost", *self.grid.levels)]
        markets = list(self._job.markets.values())
        return {
            "contract": self.contract,
            "strategy": self.strategy.name,
            "levels": self.grid.levels,
            "fixed": self.grid.fixed,
            "trials": len(self.table),
            "skipped": self.skipped,
            "options": {name: getattr(self.options, name) for name in told},
            "engine": self._job.engine,
            "seed": None,
            "bars": {market.timeframe: market.bars for market in markets},
            **markets[0].passport(),
        }

    def __repr__(self) -> str:
        levels = " × ".join(f"{name} ({len(v)})" for name, v in self.grid.levels.items())
        skipped = f", {self.skipped:,} invalid left out" if self.skipped else ""
        return (
            f"<Sweep {self.strategy.name} over {levels}: {len(self.table):,} combinations{skipped}>"
        )

    def _repr_html_(self) -> str:
        return sweep_html(self)
