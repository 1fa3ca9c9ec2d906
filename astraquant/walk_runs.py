"""A walk-forward at work: tuned on each window, traded on the next, joined into one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from . import metrics, timeframes
from .backtesting import Backtest, backtest_on
from .expressions import Node
from .grids import Grid
from .jobs import Job, Watch
from .runs import Market, Options, figures_of, run, run_holding
from .strategies.definition import Strategy
from .strategies.running import Decision, Tracer, decide
from .tried import note_trials
from .walk_windows import Choice, Plan, Row, Window, at

Array = np.ndarray[Any, np.dtype[Any]]


class Stitched(Backtest):
    """The run of a walk-forward: a backtest of positions that several choices decided in turn.

    Its passport says how they were chosen. It has no lines to draw: each choice has its own.
    """

    def __init__(self, *parts: Any, chosen: Mapping[str, Any], note: str) -> None:
        super().__init__(*parts)
        self._chosen, self._note = dict(chosen), note

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about these figures, a sentence each."""
        return (self._note, *super().notes)

    @cached_property
    def passport(self) -> dict[str, Any]:
        """That of a backtest, and under ``walk_forward`` how the parameters were chosen."""
        return {**super().passport, "walk_forward": self._chosen}

    @property
    def lines(self) -> dict[str, pd.Series]:
        """None."""
        return {}


class Walk:
    """Sweeps and runs over parts of one span of candles, all under the same options.

    ``market``: the whole span. ``choices``: what each window came to, once `go` was through.
    ``shorted``, ``ruined``, ``engine``: of the training.
    """

    def __init__(
        self,
        market: Market,
        strategy: Strategy,
        grid: Grid,
        options: Options,
        plan: Plan,
        metric: str,
        memory_limit: int,
    ) -> None:
        self.market, self.strategy, self.grid = market, strategy, grid
        self.options, self.plan, self.metric = options, plan, metric
        self.memory_limit = memory_limit
        self.times = market.columns["time"]
        self.windows = plan.windows(self.times[market.first :], market.timeframe)
        self.choices: list[Choice] = []
        self.engine = ""
        self._candles = _for_parts(market, options)
        self._position = np.zeros(len(self.times), np.int8)
        self._last: Decision | None = None

    def go(self) -> None:
        """Go through all windows, with one progress bar; an interrupt passes."""
        from tqdm.auto import tqdm

        quiet = bool(os.environ.get("TQDM_DISABLE"))  # which tqdm's bar for notebooks overlooks
        rows = len(self.grid.rows)
        total = rows * len(self.windows)
        with tqdm(total=total, unit="run", delay=1, leave=False, disable=quiet) as progress:
            for begin, window in zip(range(0, total, rows), self.windows, strict=True):

                def watch(done: int, _: int, begin: int = begin) -> None:
                    progress.update(begin + done - progress.n)

                self.choices.append(self._choose(window, watch))
                watch(rows, rows)

    def _choose(self, window: Window, watch: Watch) -> Choice:
        """Tune on the training, then trade the choice on the test."""
        trained = self._count(window.train_start, window.test_start)
        tested = self._count(window.test_start, window.test_end)
        traded = self._count(window.test_start, window.until)
        row, in_sample = None, np.nan
        if trained:
            row, in_sample = self.best(self.sweep(window.train_start, window.test_start, watch))
        out_of_sample = np.nan
        if row is not None and tested:
            out_of_sample = self._test(window, row)
        return Choice(window, row, trained, tested, traded, in_sample, out_of_sample)

    def _count(self, start: int, end: int) -> int:
        """How many bars open in [start, end)."""
        first, last = np.searchsorted(self.times, (start, end))
        return int(last - first)

    def sweep(self, start: int, end: int, watch: Watch | None = None) -> pd.DataFrame:
        """The table of the whole grid over a training, the bars of [start, end).

        It is not noted as tried: what it chooses is judged out of sample, by bars it never saw.
        """
        job = self._job(self._candles, start, end)
        table = job.run(watch)
        self.engine = self.engine or job.engine
        return table

    def hindsight(self) -> Row | None:
        """The best combination over all tests, None if no row has a figure.

        That is a search through the very bars that judge, so it is noted as tried on the candles.
        """
        end = timeframes.next_start(int(self.times[-1]), self.market.timeframe)
        job = self._job(self.market.source, self.windows[0].test_start, end)
        table = job.run()
        note_trials(job, table["sharpe"].to_numpy())
        return self.best(table)[0]

    def _job(self, candles: pd.DataFrame, start: int, end: int) -> Job:
        return Job(
            candles, self.strategy, self.grid, self.options,
            at(start), at(end), "auto", self.memory_limit,
        )  # fmt: skip

    def best(self, table: pd.DataFrame) -> tuple[Row | None, float]:
        """The combination with the best value of the metric, the first of equals, and the value."""
        values = table[self.metric].to_numpy(float)
        place = metrics.best_place(values, self.metric)
        if place is None:
            return None, np.nan
        return self.grid.rows[place], float(values[place])

    def _test(self, window: Window, row: Row) -> float:
        """The figure of ``row`` over the test alone; its decisions go where it is traded.

        Nothing after the test is shown to the strategy.
        """
        start, end = at(window.test_start), at(window.test_end)
        part = Market(self._candles, self.market.timeframe, start, end)
        decision = decide(
            Tracer(self.strategy), part.columns, self.bound(row), self.options.direction
        )
        own = self._decided_in(window)
        self._position[own] = decision.position[own]
        self._last = decision
        ledger = run(part, part.targets(decision.position, self.options.fill), self.options)
        return figures_of(part, ledger, self.options)[self.metric]

    def _decided_in(self, window: Window) -> slice:
        """The bars whose decisions a window's choice makes: those that are filled while it is on.

        A decision that is filled at the next open is made one bar earlier, at a close that ends the
        training: it is known by then.
        """
        filled = self.times
        if self.options.fill == "open":  # the last decision, which is never filled, is the last's
            filled = np.append(filled[1:], filled[-1])
        first, last = np.searchsorted(filled, (window.test_start, window.until))
        return slice(int(first), int(last))

    def bound(self, row: Row) -> dict[str, Any]:
        """The strategy's parameters of a combination."""
        given = self.grid.arguments(row)
        return self.strategy.bind({name: given[name] for name in self.strategy.parameters})

    @cached_property
    def tested(self) -> Market:
        """The candles with all that is out of sample: from the first test to the end."""
        market = self.market
        end = timeframes.next_start(int(self.times[-1]), market.timeframe)
        start = self.windows[0].test_start
        return Market(market.source, market.timeframe, at(start), at(end))

    def stitched(self) -> Stitched:
        """One run over all tests, of what the choices decided in turn."""
        market, position = self.tested, self._position
        ledger = run(market, market.targets(position, self.options.fill), self.options)
        said = self.plan.said()
        shown = {name: said[name] for name in ("train", "test")}
        shown |= {"step": said["step"]} if self.plan.step != self.plan.test else {}
        shown |= {"anchored": True} if self.plan.anchored else {}
        return Stitched(
            _replay(position),
            {"strategy": self.strategy.name, **shown, "metric": self.metric},
            self.options,
            market,
            Decision(position, *self._read()),
            ledger,
            chosen=self._passport(),
            note=self._note(),
        )

    def _note(self) -> str:
        said, metric = self.plan.said(), self.metric.replace("_", " ")
        if len(self.grid.rows) == 1:
            return f"There is one combination: it is traded wherever its training has a {metric}."
        span = f"all time before, at least {said['train']}" if self.plan.anchored else said["train"]
        before = "" if self.plan.anchored else " before"
        return (
            f"Parameters chosen anew every {said['step']}: the best by {metric} of {span}{before}."
        )

    def _read(self) -> tuple[Node | None, str]:
        """How the strategy was read, the last choice if there is one: its program, or why none."""
        if self._last is None:
            columns, bound = self.tested.columns, self.bound(self.grid.rows[0])
            self._last = decide(Tracer(self.strategy), columns, bound, self.options.direction)
        return self._last.program, self._last.reason

    def _passport(self) -> dict[str, Any]:
        own = [name for name in self.strategy.parameters if name in self.grid.fixed]
        return {
            "strategy": self.strategy.name,
            **self.plan.said(),
            "metric": self.metric,
            "levels": self.grid.levels,
            "fixed": {name: self.grid.fixed[name] for name in own},
            "trials": len(self.grid.rows),
            "skipped": self.grid.skipped,
            "engine": self.engine,
            "choices": {str(at(c.window.test_start)): self.named(c.row) for c in self.choices},
        }

    def named(self, row: Row | None) -> dict[str, Any] | None:
        """A combination by the names of its levels."""
        return None if row is None else dict(zip(self.grid.levels, row, strict=True))

    def static(self, row: Row) -> Backtest:
        """The run of one combination over all tests."""
        return backtest_on(self.tested, self.strategy, self.options, self.bound(row))

    def buy_and_hold(self) -> dict[str, float]:
        """The figures of buying once and holding over all tests, without stops."""
        return figures_of(self.tested, run_holding(self.tested, self.options), self.options)


def _for_parts(market: Market, options: Options) -> pd.DataFrame:
    """The candles that every part is cut from: resampled already, where that changes nothing.

    Stops are watched in the candles as given. And bars with many holes may look like those of
    another timeframe when they stand alone.
    """
    bars = market.candles
    times = market.columns["time"]
    if options.stops.any or timeframes.infer_timeframe(times) != market.timeframe:
        return market.source
    return bars


def _replay(position: Array) -> Strategy:
    """What was decided, in a strategy's place."""

    def walk_forward(candles: Any) -> Any:
        """Holds what the choices of a walk-forward decided, over its own candles alone."""
        return position

    return Strategy(walk_forward)
