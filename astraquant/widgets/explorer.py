"""`Sweep.explore`: the plane of a sweep beside the run of any of its cells, with sliders."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ipywidgets as ipw
import pandas as pd

from ..backtesting import Backtest
from ..errors import AstraQuantError, StrategyError, unknown
from ..jobs import Job, Watch
from ..runs import STOPS, Market
from ..sweeping import Sweep
from . import style
from .explorer_controls import Controls, Setup, say_setup
from .explorer_plane import Plane
from .explorer_run import Bars
from .explorer_sweeper import Sweeper
from .explorer_view import Asked, RunView
from .explorer_words import LOOK


class Explorer(style.Chart):
    """The landscape of a sweep, and a walk through it; made by `Sweep.explore`.

    ``sweep``: the one that is drawn; another timeframe, cost or fill makes a new one. What can't be
    run is said, and what was drawn before stays, pale, until something can be run again.
    """

    sweep: Sweep
    _closed = True  # until all of it is there

    def __init__(self, swept: Sweep, job: Job, metric: str) -> None:
        """Explore ``swept``, which was made by ``job``; so are others, at other options.

        Raises `StrategyError` for an unknown ``metric``.
        """
        if metric not in swept.table.columns:
            raise StrategyError(unknown("metric", metric, swept.table.columns))
        self.sweep, self._job = swept, job
        self._lock = threading.RLock()  # a sweep is finished by a thread of its own
        self._quiet = False  # while the controls are set from here
        self._view = RunView(self._market, self._complain, self._lock)
        begin = swept.grid.arguments(self._best_row(metric))
        begin["timeframe"] = self._bars(begin["timeframe"]).market.timeframe
        self._setup = Setup(begin["timeframe"], begin["cost"], swept.options.fill)
        self._controls = Controls(
            swept.strategy,
            swept.grid.levels,
            self._setup,
            begin,
            metric,
            swept.table.columns,
            self._bars(begin["timeframe"]).market.watched_timeframe,
        )
        self._plane, self._panels = Plane(self._pick), self._view.panels
        self._heading, self._figures = self._view.heading, self._view.figures
        self._sweeper = Sweeper(self._sweep_again, self._take, self._say_progress, self._lock)
        super().__init__(self._parts(), self._summary_text())
        self.layout.max_width = "1600px"
        self.add_class("astraquant-explorer")
        self._closed = False
        self._wire()
        self._update()

    def close(self) -> None:
        """Free all that it holds, its widgets too; a sweep that still runs comes to nothing."""
        if self._closed:  # Python closes a widget again when it is thrown away
            return
        with self._lock:
            self._closed = True
            self._sweeper.wish(None)
            style.close_all(self)

    @property
    def backtest(self) -> Backtest | None:
        """The run that is drawn, None while there was none."""
        return self._view.result

    def wait(self, timeout: float = 60.0) -> bool:
        """Wait for the sweep that is being made, if there is one; whether it came in time."""
        return self._sweeper.join(timeout)

    # The whole.

    def _summary_text(self) -> str:
        levels = " × ".join(f"{name} ({len(v)})" for name, v in self.sweep.grid.levels.items())
        trials = len(self.sweep.table)
        return f"Explorer({self.sweep.strategy.name} over {levels}, {trials:,} combinations)"

    def _parts(self) -> list[ipw.Widget]:
        controls, panels = self._controls, self._panels
        bars = self._bars(self._setup.timeframe)
        first, last = (pd.Timestamp(bars.times[k], unit="ms") for k in (0, -1))
        title = f"{self.sweep.strategy.name} · {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        head = style.header(title, synthetic=bars.synthetic)
        column = {"min_width": "340px", "overflow": "hidden"}
        left = [controls.axes, self._plane.box, controls.cuts, controls.parameters]
        right = [self._heading, controls.zooms, *panels.parts]
        sides = [
            ipw.VBox([*left, controls.complaint], layout=ipw.Layout(flex="1 1 400px", **column)),
            ipw.VBox(right, layout=ipw.Layout(flex="1.3 1 520px", **column)),
        ]
        both = ipw.Box(sides, layout=ipw.Layout(flex_flow="row wrap", width="100%"))
        self._of_run = self._view.pale = [sides[1], self._figures]
        return [ipw.HTML(LOOK), head, controls.options, controls.status, both, self._figures]

    def _wire(self) -> None:
        controls, panels = self._controls, self._panels
        for name in ("timeframe", "cost", "fill"):
            getattr(controls, name).observe(self._on_setup, "value")
        controls.metric.observe(self._on_change, "value")
        for control in (*controls.sliders.values(), *controls.limits.values()):
            control.observe(self._on_change, "value")
        for cut in controls.slices.values():
            cut.observe(self._on_cut, "value")
        for axis in (controls.across, controls.up):
            axis.observe(self._on_axis, "value")
        controls.best.on_click(lambda _: self._pick_best())
        controls.stop.on_click(lambda _: self._stop())
        controls.steer(panels, self._lock)

    @contextmanager
    def _setting(self) -> Iterator[None]:
        """Set controls without answering each of them."""
        with self._lock:
            before, self._quiet = self._quiet, True
            try:
                yield
            finally:
                self._quiet = before

    # What a user does.

    def _on_change(self, _: object) -> None:
        if not self._quiet:
            self._update()

    def _on_setup(self, _: object) -> None:
        """Another timeframe, cost or fill: what is no level of the sweep needs another sweep."""
        if self._quiet:
            return
        with self._lock:
            wished = self._controls.setup
            if self._is_swept(wished):
                self._sweeper.wish(None)
                self._controls.say("")
            else:
                self._controls.complain("")
                self._sweeper.wish(wished)
            self._update()

    def _stop(self) -> None:
        """Give up the sweep that is being made, and go back to what is shown."""
        with self._lock:
            if self._sweeper.is_busy:
                self._sweeper.wish(None)
                self._show_swept_setup()

    def _on_cut(self, change: Any) -> None:
        if not self._quiet:
            name = next(n for n, cut in self._controls.slices.items() if cut is change.owner)
            self._pick({name: change.new})

    def _on_axis(self, change: Any) -> None:
        if self._quiet:
            return
        with self._lock:
            across, up = self._controls.across, self._controls.up
            if across.value == up.value:
                with self._setting():
                    (up if change.owner is across else across).value = change.old
            self._update()

    def _pick(self, cell: Mapping[str, Any]) -> None:
        """Choose a cell: the sliders go there."""
        with self._lock:
            with self._setting():
                self._controls.choose(cell)
            self._update()

    def _pick_best(self) -> None:
        row = self._best_row(self._controls.metric.value)
        self._pick(dict(zip(self.sweep.grid.levels, row, strict=True)))

    # What follows from it.

    def _update(self) -> None:
        """Bring the run and the plane up to what the controls say."""
        with self._lock:
            choice = self._choice
            wanted = (*choice.items(), self._setup.fill)
            self._view.draw(wanted, lambda: self._ask(choice))
            controls = self._controls
            with self._setting():
                on_grid = controls.follow(choice)
            controls.show_cuts()
            title = f"{len(self.sweep.table):,} trials · {say_setup(self._setup, controls.levels)}"
            self._plane.show(
                self.sweep, controls.metric.value, controls.drawn, controls.fixed, title
            )
            self._plane.point_at(choice if on_grid else None)

    @property
    def _choice(self) -> dict[str, Any]:
        """The controls' values; of timeframe and cost those that the sweep was made with."""
        levels = self.sweep.grid.levels
        swept = {"timeframe": self._setup.timeframe, "cost": self._setup.cost}
        return self._controls.choice | {n: v for n, v in swept.items() if n not in levels}

    def _ask(self, choice: Mapping[str, Any]) -> Asked:
        """The run of a choice."""
        strategy = self.sweep.strategy
        limits = {name: choice[name] for name in STOPS if name in choice}
        options = replace(self.sweep.options, cost=choice["cost"], **limits)
        values = {name: choice[name] for name in strategy.parameters}
        return Asked(strategy, values, choice["timeframe"], options)

    def _complain(self, text: str) -> None:
        self._controls.complain(text)

    def _market(self, timeframe: str | None) -> Market:
        return Market(self._job.candles, timeframe, self._job.start, self._job.end)

    def _bars(self, timeframe: str | None) -> Bars:
        return self._view.bars(timeframe)

    def _best_row(self, metric: str) -> tuple[Any, ...]:
        """The best row of all, the first if none has a value."""
        if self.sweep.table[metric].isna().all():
            return self.sweep.grid.rows[0]
        row: Any = self.sweep.best(metric).name
        return tuple(row)

    # Another sweep.

    def _is_swept(self, setup: Setup) -> bool:
        """Whether the sweep that is shown was made so, but for what is a level of it."""
        levels = self.sweep.grid.levels
        return all(
            name in levels or wished == shown
            for name, wished, shown in zip(Setup._fields, setup, self._setup, strict=True)
        )

    def _sweep_again(self, setup: Setup, watch: Watch) -> Sweep:
        """The same grid at another setup; called by another thread."""
        if "timeframe" not in self.sweep.grid.levels:
            self._bars(setup.timeframe)
        job = self._job.again(**setup._asdict())
        return Sweep(job, job.run(watch))

    def _say_progress(self, setup: Setup, share: float | None) -> None:
        levels = self.sweep.grid.levels
        done = " …" if share is None else f": {share:.0%} done"
        what = f"Sweeping {len(self.sweep.table):,} combinations at {say_setup(setup, levels)}"
        self._controls.say(f"{what}{done}", share)

    def _take(self, setup: Setup, answer: Sweep | Exception) -> None:
        """Draw a new sweep; if there is none, go back to what is shown and say why."""
        if isinstance(answer, Exception):
            self._show_swept_setup()
            told = str(answer) if isinstance(answer, AstraQuantError) else repr(answer)
            still = say_setup(self._setup, self.sweep.grid.levels)
            self._controls.complain(f"{told.rstrip('.')}. Still shown: {still}.")
            return
        self._controls.say("")
        self.sweep, self._setup = answer, setup
        self._update()

    def _show_swept_setup(self) -> None:
        """Let the controls say how the shown sweep was made, and that no other is being made."""
        self._controls.say("")
        with self._setting():
            self._controls.show_setup(self._setup)
