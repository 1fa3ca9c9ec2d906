"""A sweep at work: every combination of a grid, over every timeframe and at every cost."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from . import metrics
from .accounting import RUINED, Ledger
from .engine.bars import RUINS, SHORTS
from .engine.figures import Run, figures
from .engine.running import Batch, Group, Setting, make_ready, run_group
from .errors import StrategyError
from .evaluation import Shared
from .grids import Grid
from .moments import (
    BYTES_PER_BLOCK,
    POWERS,
    TIME_BLOCKS,
    affordable_blocks,
    block_bounds,
    by_blocks,
    join_blocks,
    sums_of,
)
from .runs import STOPS, Market, Options, figures_of, run
from .strategies.definition import Strategy
from .strategies.running import Tracer, decide, paused_collection

Array = np.ndarray[Any, np.dtype[Any]]
COLUMNS = tuple(name for name in metrics.DEFINITIONS if name not in metrics.BACKTEST_ONLY)
# Measured: bytes that the engine needs for each bar, and for each combination that it has in hand
# (its nodes, its state); combinations at a time, since more would not be faster.
BYTES_PER_BAR = 120
BYTES_OF_SUMS = 4 * TIME_BLOCKS * BYTES_PER_BLOCK  # of a trial: copied a few times
BYTES_PER_TRIAL = 3_000 + BYTES_OF_SUMS
MOST_TRIALS = 2**16
# Of a combination under one setting of stops: its state, its figures, its sums.
BYTES_PER_RUN = 1_000 + BYTES_OF_SUMS
BYTES_PER_STOP = 4_500  # of a setting: what a block's tables know of its trailing stop
# Measured over a year of minutes: bytes per bar that vectorbt needs for each run in a tile (its
# arrays, our signals, the records of a strategy that trades every few bars), and only once.
VECTORBT_PER_RUN = 110
VECTORBT_ONCE = 700
INDICATORS = 8  # one part in so many of the limit is for indicators that later trials share
SUMS = 4  # one part in so many at most is for the sums of returns

Bound = dict[str, Any]
Watch = Callable[[int, int], object]
Update = Callable[[int], object]


class Job:
    """Goes through timeframes, combinations and costs, as many at a time as memory allows."""

    def __init__(
        self,
        candles: pd.DataFrame,
        strategy: Strategy,
        grid: Grid,
        options: Options,
        start: object,
        end: object,
        engine: str,
        memory_limit: int,
    ) -> None:
        self.strategy = strategy
        self.grid = grid
        fixed = {name: grid.fixed[name] for name in STOPS if name in grid.fixed}
        self.options = options = replace(options, **fixed)
        self.start, self.end = start, end
        self.candles = candles.copy(deep=False) if isinstance(candles, pd.DataFrame) else candles
        self.memory_limit = memory_limit
        self.vectorbt = engine == "vectorbt"
        self.reason = ""  # why a strategy ran on arrays
        self.why, self.unread = "", 0  # of traced ones that the kernel has no words for
        self.imprecise = 0  # runs that left the precision of the engine
        self.shorted = False
        self.ruined = 0
        frames = grid.levels.get("timeframe", (grid.fixed.get("timeframe"),))
        self.markets = {frame: Market(candles, frame, start, end) for frame in frames}
        costs, *stops = (grid.levels.get(n, (grid.fixed.get(n),)) for n in ("cost", *STOPS))
        self.costs = costs
        every = itertools.product(self.costs, *stops)
        names = ("cost", *STOPS)
        self.terms = [replace(options, **dict(zip(names, one, strict=True))) for one in every]
        rows = len(grid.rows)
        self.time_blocks = affordable_blocks(rows, memory_limit // SUMS)

    @property
    def engine(self) -> str:
        """Who did the work, for the passport."""
        text = "vectorbt" if self.vectorbt else "compiled"
        if self.unread:
            text += f"; {self.unread:,} decided over arrays: {self.why}"
        if self.imprecise:
            text += f"; {self.imprecise:,} runs that left its precision, by our own ledger"
        return text + (f"; strategy on arrays: {self.reason}" if self.reason else "")

    def again(self, *, timeframe: str | None, cost: float | None, fill: str) -> Job:
        """The same job at other options; what is a level of the grid stays what it is."""
        grid, other = self.grid, {"timeframe": timeframe, "cost": cost}
        fixed = {name: value for name, value in other.items() if name not in grid.levels}
        return Job(
            self.candles,
            self.strategy,
            replace(grid, fixed=grid.fixed | fixed),
            replace(self.options, fill=fill),
            self.start,
            self.end,
            "vectorbt" if self.vectorbt else "auto",
            self.memory_limit,
        )

    def run(self, watch: Watch | None = None) -> pd.DataFrame:
        """The table of all rows.

        ``watch`` is told now and then how many rows are done, and of how many, in place of a
        progress bar. An exception that it raises ends the work at once and passes.
        """
        total = len(self.grid.rows)
        if watch is not None:
            return self._run(_Counter(total, watch).update)
        from tqdm.auto import tqdm

        quiet = bool(os.environ.get("TQDM_DISABLE"))  # which tqdm's bar for notebooks overlooks
        with tqdm(total=total, unit="run", delay=1, leave=False, disable=quiet) as progress:
            return self._run(progress.update)

    def _run(self, update: Update) -> pd.DataFrame:
        rows = self.grid.rows
        self.values = np.full((len(rows), len(COLUMNS)), np.nan)
        self.sums = np.zeros((len(rows), self.time_blocks, POWERS))
        work = self._by_vectorbt if self.vectorbt else self._by_kernel
        try:
            for place, market in enumerate(self.markets.values()):
                for first, bounds in self._tiles(market):
                    work(market, place, first, bounds, update)
        except Exception as error:
            if _is_interrupt(error):
                raise KeyboardInterrupt from error
            raise
        index = pd.MultiIndex.from_tuples(rows, names=list(self.grid.levels))
        return pd.DataFrame(self.values, index=index, columns=list(COLUMNS))

    def _tiles(self, market: Market) -> Iterator[tuple[int, list[Bound]]]:
        """The combinations of the strategy's parameters: the number of the first, and all bound."""
        each = len(self.markets) * len(self.terms)  # rows of one combination
        combinations = self.grid.rows[::each]
        width = self._width(len(market.candles))
        for first in range(0, len(combinations), width):
            yield first, self._bound(combinations[first : first + width])

    def _bound(self, rows: Sequence[tuple[Any, ...]]) -> list[Bound]:
        """The strategy's parameters in its own order (the grid has checked them)."""
        blank = {name: self.grid.fixed.get(name) for name in self.strategy.parameters}
        names = [name for name in self.grid.levels if name in blank]  # the first levels of a row
        return [blank | dict(zip(names, row, strict=False)) for row in rows]

    def _width(self, bars: int) -> int:
        """How many combinations are worked on at a time; an error if there is no room for one."""
        limit = self.memory_limit
        once, each = BYTES_PER_BAR * bars, BYTES_PER_TRIAL
        if self.vectorbt:
            limit = limit * (INDICATORS - 1) // INDICATORS
            once, each = VECTORBT_ONCE * bars, VECTORBT_PER_RUN * bars
            if any(terms.stops.any for terms in self.terms):  # two rows a bar, prices for each run
                once, each = 2 * once, 3 * each
        width = (limit - once) // each
        if width < 1:
            need = (once + each) * self.memory_limit // limit
            raise StrategyError(
                f"memory_limit={self.memory_limit:,} bytes is too little: one run over "
                f"{bars:,} bars needs about {need:,}. Raise the limit, or "
                "choose a longer timeframe or a shorter span"
            )
        return min(width, MOST_TRIALS)

    @property
    def frames(self) -> Array:
        """Which of the markets each row of the table is from, by number."""
        frames: Array = np.arange(len(self.grid.rows)) // len(self.terms) % len(self.markets)
        return frames

    @property
    def lengths(self) -> Array:
        """Bars of each row in each block of time that sums are kept of: (rows, blocks)."""
        each = [np.diff(block_bounds(len(market.index))) for market in self.markets.values()]
        return join_blocks(np.array(each), self.time_blocks)[self.frames]

    def _row(self, frame: int, combination: Any, terms: Any) -> Any:
        """The place in the table of one combination on one of the terms, or of arrays of them."""
        return (combination * len(self.markets) + frame) * len(self.terms) + terms

    # The compiled engine

    def _by_kernel(
        self,
        market: Market,
        frame: int,
        first: int,
        bounds: list[Bound],
        update: Update,
    ) -> None:
        """Run a tile of combinations over one market, on all terms."""
        options, columns = self.options, market.columns
        ends = market.first + block_bounds(len(market.index))[1:]
        edges = np.unique(ends[ends > market.first])
        stopped = any(terms.stops.any for terms in self.terms)
        setting = Setting(
            columns, market.first, options.fill, int(options.fill == "open"), options.direction,
            options.slippage, options.cash, market.watched if stopped else None,
            market.watched_timeframe != market.timeframe, tuple(edges.tolist()),
        )  # fmt: skip
        used = BYTES_PER_BAR * len(columns["close"]) + self.sums.nbytes
        budget = max(self.memory_limit - used, 0) // 2
        batch = Batch(self.strategy, setting, bounds, budget, lambda: update(len(self.terms)))
        for group in _one_by_one(batch):  # all at once might need more memory than there is
            ready = make_ready(group, setting, budget)
            # What was decided over arrays has been counted already: that is what takes the time.
            counted = group.recipes is None
            most = max(1, budget // (BYTES_PER_RUN * len(group.trials) + BYTES_PER_STOP))
            for terms in self._together(most if stopped else 1):
                told = _Told(0 if counted else len(group.trials) * len(terms), update)
                stops = [self.terms[place].stops for place in terms] if stopped else []
                cost = self.terms[terms[0]].cost
                state, counts, sums = run_group(ready, setting, cost, stops, told.share)
                told.share(1.0)
                at = frame, first, terms
                # Always 16 of them, so that rounding never depends on how many are kept.
                sums = join_blocks(by_blocks(sums, edges, ends), self.time_blocks)
                self.sums[self._rows(at, group)] = sums
                self._enter(market, at, bounds, group, state, counts, setting)
            del ready  # or its arrays would still be there beside those of the next group
        self.reason, self.why = self.reason or batch.reason, self.why or batch.why
        self.unread += batch.unread * len(self.terms)

    def _together(self, most: int) -> Iterator[range]:
        """Terms that differ in their stops alone, at most so many at a time."""
        each = len(self.terms) // len(self.costs)
        for first in range(0, len(self.terms), each):
            for part in range(first, first + each, most):
                yield range(part, min(part + most, first + each))

    def _enter(
        self,
        market: Market,
        at: tuple[int, int, range],
        bounds: list[Bound],
        group: Group,
        state: Array,
        counts: Array,
        setting: Setting,
    ) -> None:
        """Turn what the kernel found into figures, and put them into the table.

        ``at``: the frame, the first combination, and the terms, which differ in their stops alone:
        ``state`` and ``counts`` have all trials under the first of them, then under the second.
        """
        terms = at[2]
        options = self.terms[terms[0]]
        sided = group.sided(setting.direction) or setting.watched is not None
        run_ = Run(
            float(setting.columns["close"][-1]), len(market.index),
            len(market.candles), market.timeframe, options.cash,
            options.cost, sided, market.is_wild or setting.is_rough(options.cost),
        )  # fmt: skip
        found, exact = figures(state, counts, run_)
        found["buy_and_hold"] = np.full(len(state), market.buy_and_hold(options))
        rows = self._rows(at, group)
        self.values[rows] = np.column_stack([found[name] for name in COLUMNS])
        self.ruined += int(counts[exact][:, RUINS].sum())
        self.shorted = self.shorted or bool(counts[:, SHORTS].any())
        tracer, shared = Tracer(self.strategy), Shared(self.memory_limit // INDICATORS)
        for k in map(int, np.flatnonzero(~exact)):
            place, trial = divmod(k, len(group.trials))
            options, bound = self.terms[terms[place]], bounds[group.trials[trial]]
            decision = decide(tracer, market.columns, bound, options.direction, shared)
            ledger = run(market, market.targets(decision.position, options.fill), options)
            self.imprecise += 1
            self._enter_ledger(int(rows[k]), ledger, market, options)

    def _rows(self, at: tuple[int, int, range], group: Group) -> Array:
        """The places in the table of a group's trials, see `_enter`."""
        frame, first, terms = at
        rows: Array = self._row(frame, first + group.trials, np.array(terms)[:, None]).ravel()
        return rows

    def _enter_ledger(self, row: int, ledger: Ledger, market: Market, options: Options) -> None:
        self.ruined += ledger.trades["status"][-1:].tolist() == [RUINED]
        self.shorted = self.shorted or bool((ledger.held < 0).any())
        found = figures_of(market, ledger, options)
        self.values[row] = [found[name] for name in COLUMNS]
        sums = sums_of(ledger.returns, block_bounds(len(market.index)))
        self.sums[row] = join_blocks(sums[None], self.time_blocks)[0]

    # vectorbt

    def _by_vectorbt(
        self,
        market: Market,
        frame: int,
        first: int,
        bounds: list[Bound],
        update: Update,
    ) -> None:
        """The same by vectorbt: a column for each combination, one call for each cost."""
        from .vectorbt_adapter import simulate

        tracer, shared = Tracer(self.strategy), Shared(self.memory_limit // INDICATORS)
        targets = []
        for bound in bounds:
            decision = decide(tracer, market.columns, bound, self.options.direction, shared)
            self.reason = self.reason or decision.reason
            targets.append(market.targets(decision.position, self.options.fill))
        for place, options in enumerate(self.terms):
            for k, (ledger, precise) in enumerate(
                simulate(np.column_stack(targets), market, options)
            ):
                self.imprecise += not precise
                row = int(self._row(frame, first + k, place))
                self._enter_ledger(row, ledger, market, options)
                update(1)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an interrupt is what it comes from.

    One that arrives while a compiled function hands over its result becomes a `SystemError` there.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _one_by_one(batch: Batch) -> Iterator[Group]:
    """The groups of ``batch``, with the garbage collector at rest while they are made."""
    groups = batch.groups()
    while True:
        with paused_collection():
            group = next(groups, None)
        if group is None:
            return
        yield group


class _Counter:
    """Turns steps into how much is done of the whole."""

    def __init__(self, total: int, watch: Watch) -> None:
        self.done, self.total, self.watch = 0, total, watch

    def update(self, steps: int) -> None:
        self.done += steps
        self.watch(self.done, self.total)


class _Told:
    """Turns the share of a group's work that is done into steps of a progress bar."""

    def __init__(self, runs: int, update: Update) -> None:
        self.runs, self.done, self.update = runs, 0, update

    def share(self, share: float) -> None:
        now = int(share * self.runs)
        self.update(now - self.done)
        self.done = now
