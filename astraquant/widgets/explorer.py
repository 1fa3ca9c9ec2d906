"""`Sweep.explore`: the plane of a sweep beside the run of any of its cells, with sliders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..backtesting import Backtest, backtest_on
from ..errors import AstraQuantError, StrategyError, unknown
from ..jobs import Job, Watch
from ..runs import STOPS, Market
from ..sweeping import Sweep
from ..timeframes import infer_timeframe, to_ms
from . import style
from .explorer_controls import Controls, Setup, say_setup
from .explorer_plane import Plane
from .explorer_run import Bars, Run, RunPanels
from .explorer_sweeper import Sweeper
from .explorer_words import LOOK, say_figures, say_run
from .words import write

Array = np.ndarray[Any, Any]
STALE = "astraquant-stale"  # a class of what is not what was asked for


class Explorer(style.Chart):
    """The landscape of a sweep, and a walk through it; made by `Sweep.explore`.

    ``sweep``: the one that is drawn; another timeframe, cost or fill makes a new one. ``backtest``:
    the run that is drawn, None while there was none. What can't be run is said, and what was drawn
    before stays, pale, until something can be run again.
    """

    sweep: Sweep
    backtest: Backtest | None = None
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
        self._markets: dict[str | None, Bars] = {}
        self._held: tuple[Any, Array] | None = None  # equity of buying and holding, and of what
        self._ran: tuple[Any, ...] = ()  # what was last run, or tried
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
            self._source_timeframe(),
        )
        self._plane, self._panels = Plane(self._pick), RunPanels(self._lock)
        self._heading, self._figures = ipw.HTML(), ipw.HTML()
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
        self._of_run = [sides[1], self._figures]
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
        controls.zoom_in.on_click(lambda _: self._look(lambda: panels.zoom(1 / 2)))
        controls.zoom_out.on_click(lambda _: self._look(lambda: panels.zoom(2.0)))
        controls.earlier.on_click(lambda _: self._look(lambda: panels.move(-0.5)))
        controls.later.on_click(lambda _: self._look(lambda: panels.move(0.5)))
        controls.reset.on_click(lambda _: self._look(panels.reset))

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

    def _look(self, change: Callable[[], None]) -> None:
        with self._lock:
            change()

    # What follows from it.

    def _update(self) -> None:
        """Bring the run and the plane up to what the controls say."""
        with self._lock:
            choice = self._choice
            self._draw_run(choice)
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

    def _draw_run(self, choice: Mapping[str, Any]) -> None:
        """Run what is chosen and draw it; what can't be run is said, and the former run stays."""
        wanted = (*choice.items(), self._setup.fill)
        if wanted == self._ran:
            return
        self._ran = wanted
        try:
            run = self._run(choice)
            self._panels.show(run)
            self.backtest = run.result
            write(self._heading, say_run(run.result))
            write(self._figures, say_figures(run.result))
        except Exception as error:  # whatever a strategy does, the explorer stays alive
            told = str(error) if isinstance(error, AstraQuantError) else repr(error)
            still = f" Still shown: {self.backtest.metrics.name}." if self.backtest else ""
            self._controls.complain(f"{told.rstrip('.')}.{still}")
            for part in self._of_run:
                part.add_class(STALE)
        else:
            self._controls.complain("")
            for part in self._of_run:
                part.remove_class(STALE)

    def _run(self, choice: Mapping[str, Any]) -> Run:
        """The run of a choice, over candles that are made ready once for each timeframe."""
        strategy = self.sweep.strategy
        bound = strategy.bind({name: choice[name] for name in strategy.parameters})
        bars = self._bars(choice["timeframe"])
        limits = {name: choice[name] for name in STOPS if name in choice}
        options = replace(self.sweep.options, cost=choice["cost"], **limits)
        result = backtest_on(bars.market, strategy, options, bound)
        wanted = (bars, options)
        if self._held is None or self._held[0] != wanted:
            self._held = wanted, result._buy_and_hold_equity().to_numpy()
        return Run(result, bars, self._held[1])

    def _bars(self, timeframe: str | None) -> Bars:
        if timeframe not in self._markets:
            job = self._job
            self._markets[timeframe] = Bars(Market(job.candles, timeframe, job.start, job.end))
        return self._markets[timeframe]

    def _source_timeframe(self) -> str:
        """The timeframe of the candles as they were given."""
        market = next(iter(self._markets.values())).market
        times = to_ms(pd.DatetimeIndex(market.source.index))
        return infer_timeframe(times) if len(times) > 1 else market.timeframe

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
