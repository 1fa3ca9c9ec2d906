"""What an explorer is steered with: the sweep's options, the plane's axes, the parameters."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any, NamedTuple

import ipywidgets as ipw

from ..runs import FILLS, STOPS
from ..strategies.definition import Parameter, Scalar, Strategy
from ..timeframes import TIMEFRAMES, is_multiple
from . import style
from .explorer_run import RunPanels
from .live_controls import _button, _icon, _plain, _slider, _step
from .parameter_axes import say_parameter
from .words import write

HINT = "Click a cell or move a slider. In the charts the mouse wheel zooms and dragging moves."
Levels = Mapping[str, tuple[Any, ...]]
_ROW = {"flex_flow": "row wrap", "align_items": "center"}


class Setup(NamedTuple):
    """What a sweep is made at; what is a level of it is whatever its control says."""

    timeframe: str
    cost: float
    fill: str


class Walk:
    """The buttons that go through the time of a run's panels, and the place of complaints."""

    def __init__(self) -> None:
        self.earlier = _icon("Earlier", "chevron-left", "Show what was before")
        self.later = _icon("Later", "chevron-right", "Show what comes after")
        self.zoom_in = _icon("Zoom in", "search-plus", "Zoom in (or turn the mouse wheel)")
        self.zoom_out = _icon("Zoom out", "search-minus", "Zoom out")
        self.reset = _button("Reset", "arrows-h", "Show all bars")
        self.zooms = row([self.earlier, self.later, self.zoom_in, self.zoom_out, self.reset])
        self.complaint = ipw.HTML()
        self.complaint.layout.display = "none"

    def steer(self, panels: RunPanels, lock: threading.RLock) -> None:
        """Let the buttons change what of ``panels`` is in view; ``lock`` is held meanwhile."""
        steps: dict[ipw.Button, Callable[[], None]] = {
            self.zoom_in: lambda: panels.zoom(1 / 2),
            self.zoom_out: lambda: panels.zoom(2.0),
            self.earlier: lambda: panels.move(-0.5),
            self.later: lambda: panels.move(0.5),
            self.reset: panels.reset,
        }

        def press(button: ipw.Button) -> None:
            with lock:
                steps[button]()

        for button in steps:
            button.on_click(press)

    def complain(self, text: str) -> None:
        """Say what is wrong ("": nothing)."""
        write(
            self.complaint,
            f'<div style="{_MESSAGE}">⚠ {escape(text)}</div>' if text else "",
        )


class Controls(Walk):
    """All controls, and the places where progress and complaints are said.

    ``levels``: of the sweep. ``setup``, ``choice``, ``metric``: what they show at first.
    ``metrics``: to choose from. ``source``: the timeframe of the candles as they were given.
    """

    def __init__(
        self,
        strategy: Strategy,
        levels: Levels,
        setup: Setup,
        choice: Mapping[str, Any],
        metric: str,
        metrics: Iterable[str],
        source: str,
    ) -> None:
        super().__init__()
        self.levels = levels
        frames = levels.get("timeframe") or timeframes_from(source, setup.timeframe)
        self.timeframe = dropdown("timeframe", frames, setup.timeframe, 150)
        self.cost = cost_control(levels.get("cost"), setup.cost)
        limits = [name for name in STOPS if name in levels]
        self.limits = {name: _limit(name, levels[name], choice[name]) for name in limits}
        self.fill = fill_control(setup.fill)
        named = [(name.replace("_", " "), name) for name in metrics]
        self.metric = dropdown("metric", named, metric, 230)
        self.sliders = {
            name: parameter_slider(parameter, choice[name], levels.get(name, ()))
            for name, parameter in strategy.parameters.items()
        }
        names = list(levels)
        up = names[1] if len(names) > 1 else names[0]
        self.across = dropdown("to the right", names, names[0], 210)
        self.up = dropdown("upwards", names, up, 210)
        self.slices = {
            name: ipw.SelectionSlider(
                options=[(_say(name, value), value) for value in values],
                value=choice[name],
                description=f"plane at {name}",
            )
            for name, values in levels.items()
        }
        align(list(self.slices.values()))
        align(list(self.sliders.values()))
        self.best = _button("Best", "star-o", "Go to the best combination of all")
        self.progress = ipw.FloatProgress(
            min=0.0, max=1.0, layout=ipw.Layout(width="160px", display="none")
        )
        self.stop = _button("Stop", "stop", "End the sweep that is being made")
        self.doing = ipw.HTML()
        self._lay_out()
        self.say("")

    def _lay_out(self) -> None:
        """Rows in the order in which the keyboard goes through them."""
        limits = self.limits.values()
        self.options = row([self.timeframe, self.cost, *limits, self.fill, self.metric])
        self.axes = row([self.across, self.up])
        self.parameters = row([*self.sliders.values(), self.best])
        self.cuts = row(list(self.slices.values()))
        self.status = row([self.progress, self.stop, self.doing])
        self.status.layout.min_height = "34px"
        if len(self.levels) < 3:
            self.axes.layout.display = "none"
        self.show_cuts()

    @property
    def setup(self) -> Setup:
        """What is wished for."""
        cost = self.cost.value  # of a level: the very number of the table
        cost = cost if "cost" in self.levels else fraction_of(cost)
        return Setup(self.timeframe.value, cost, self.fill.value)

    @property
    def parameter_values(self) -> dict[str, Scalar]:
        """The strategy's parameters as the sliders say."""
        return {
            name: _on_level(_plain(slider.value), self.levels.get(name, ()))
            for name, slider in self.sliders.items()
        }

    @property
    def choice(self) -> dict[str, Any]:
        """A value for everything that may be a level."""
        timeframe, cost, _ = self.setup
        limits = {name: control.value for name, control in self.limits.items()}
        return {**self.parameter_values, "timeframe": timeframe, "cost": cost, **limits}

    @property
    def drawn(self) -> tuple[str, ...]:
        """The levels that are axes of the picture."""
        return (self.across.value,) if len(self.levels) == 1 else (self.across.value, self.up.value)

    @property
    def fixed(self) -> dict[str, Any]:
        """The value of each level that is no axis."""
        return {n: cut.value for n, cut in self.slices.items() if n not in self.drawn}

    def choose(self, values: Mapping[str, Any]) -> None:
        """Let the controls of parameters, timeframe, cost and stops say ``values``."""
        for name, value in values.items():
            control = self.control_of(name)
            shown = value if name != "cost" or "cost" in self.levels else _basis_points(value)
            if control.value != shown:
                control.value = shown

    def control_of(self, name: str) -> Any:
        """The control of a parameter, of the timeframe, the cost or a stop."""
        named = {**self.sliders, **self.limits}
        return named[name] if name in named else getattr(self, name)

    def show_setup(self, setup: Setup) -> None:
        """Let the controls say ``setup``, but for what is a level."""
        values = {"timeframe": setup.timeframe, "cost": setup.cost}
        self.choose({name: value for name, value in values.items() if name not in self.levels})
        self.fill.value = setup.fill

    def show_cuts(self) -> None:
        """Show the sliders of those levels alone that are no axis."""
        for name, cut in self.slices.items():
            cut.layout.display = "none" if name in self.drawn else None
        self.cuts.layout.display = None if self.fixed else "none"

    def follow(self, choice: Mapping[str, Any]) -> bool:
        """Cut the plane where ``choice`` lies, as far as it is on the grid.

        Whether all of it is.
        """
        on_grid = True
        for name, values in self.levels.items():
            if choice[name] not in values:
                on_grid = False
            elif self.slices[name].value != choice[name]:
                self.slices[name].value = choice[name]
        return on_grid

    def say(self, doing: str, share: float | None = None) -> None:
        """Tell what is being done ("": nothing), and how much of it is; None: nobody knows."""
        for part in (self.progress, self.stop):
            part.layout.display = None if doing else "none"
        self.progress.bar_style = "" if share is not None else "info"
        self.progress.value = 1.0 if share is None else share
        doing = doing or HINT  # a line that came and went would move all that is below it
        write(self.doing, f'<span style="color:{style.TEXT}">{escape(doing)}</span>')


_FILLS = {"open": "the next bar's open", "close": "that close (optimistic)"}
_MESSAGE = (
    f"color:{style.TEXT};padding:2px 8px;font-size:13px;line-height:19px;margin:2px 8px;"
    f"border-left:4px solid {style.DRAWDOWN}"
)


def timeframes_from(source: str, chosen: str) -> tuple[str, ...]:
    """The timeframes that candles of ``source`` can be resampled to."""
    return tuple(f for f in TIMEFRAMES if f in (source, chosen) or is_multiple(f, source))


def say_setup(setup: Setup, levels: Levels) -> str:
    """A setup in words, but for what is a level."""
    said = [] if "timeframe" in levels else [setup.timeframe]
    said += [] if "cost" in levels else [f"{_basis_points(setup.cost):g} bp"]
    return " · ".join([*said, f"filled at {setup.fill}"])


def _on_level(value: Scalar, level: Iterable[Scalar]) -> Scalar:
    """``value``, or that of the ``level`` which a browser has rounded to it."""
    if not isinstance(value, float):
        return value
    return next((one for one in level if math.isclose(float(one), value, rel_tol=1e-7)), value)


def _say(name: str, value: Any) -> str:
    if name == "cost":
        return f"{_basis_points(value):g} bp"
    if name in STOPS and math.isfinite(value):
        return f"{value * 100:g} %"
    return say_parameter(value)


def _basis_points(cost: float) -> float:
    return float(f"{cost * 10_000:.10g}")


def fraction_of(points: float) -> float:
    """The fraction that so many basis points are."""
    return float(f"{points / 10_000:.12g}")


def cost_control(level: tuple[float, ...] | None, value: float) -> Any:
    """The cost in basis points a side; one of the level's, if it is one."""
    if level is None:
        return ipw.FloatText(
            value=_basis_points(value), description="cost (bp a side)", step=1.0,
            layout=ipw.Layout(width="190px"), style={"description_width": "initial"},
        )  # fmt: skip
    options = [(f"{_say('cost', one)} a side", one) for one in level]
    return dropdown("cost", options, value, 160)


def fill_control(value: str) -> ipw.Dropdown:
    """Where a decision is filled."""
    return dropdown("filled at", [(_FILLS[fill], fill) for fill in FILLS], value, 240)


def _limit(name: str, level: Iterable[float], value: float) -> ipw.Dropdown:
    """One of a level's stops."""
    return dropdown(name.replace("_", " "), [(_say(name, one), one) for one in level], value, 180)


def parameter_slider(parameter: Parameter, value: Scalar, values: Iterable[Scalar]) -> Any:
    """A slider that can stand on all of a level's ``values``."""
    slider = _slider(parameter, value)
    if isinstance(slider, ipw.FloatSlider):
        low, high = slider.min, slider.max
        slider.step = min(_step(low, high, float(one)) for one in (value, *values))
        slider.readout_format = style.number_format(slider.step)
    return slider


def dropdown(name: str, options: Iterable[Any], value: Any, width: int) -> ipw.Dropdown:
    """A list to choose from, so many pixels wide."""
    return ipw.Dropdown(
        options=list(options), value=value, description=name,
        layout=ipw.Layout(width=f"{width}px"), style={"description_width": "initial"},
    )  # fmt: skip


def align(sliders: list[Any]) -> None:
    """Let sliders stand below each other, as wide as there is room."""
    longest = max((len(slider.description) for slider in sliders), default=0)
    for slider in sliders:
        slider.style.description_width = f"{7 * longest + 12}px"
        slider.layout.width, slider.layout.max_width = "97%", "520px"


def row(widgets: list[ipw.Widget]) -> ipw.Box:
    """Controls side by side, as far as there is room."""
    return ipw.Box(widgets, layout=ipw.Layout(**_ROW, grid_gap="0 12px", padding="0 0 0 6px"))
