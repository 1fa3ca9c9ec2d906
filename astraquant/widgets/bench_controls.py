"""What a workbench is steered with: the strategy, its parameters, the options of a backtest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as ipw

from ..errors import StrategyError
from ..runs import STOPS, Options
from ..strategies.definition import Parameter, Scalar, Strategy
from ..strategies.plugins import BUILT_IN, Listed
from ..strategies.running import DIRECTIONS
from . import style
from .explorer_controls import (
    Walk,
    align,
    cost_control,
    dropdown,
    fill_control,
    fraction_of,
    parameter_slider,
    row,
    timeframes_from,
)
from .live_controls import _plain

GIVEN = "given here"  # the origin of a strategy that is in no list
_DIRECTIONS = {"long": "long", "short": "short", "both": "long and short"}
_SMALL = f"color:{style.TEXT};padding:0 8px;font-size:12px;line-height:18px"


class BenchControls(Walk):
    """All controls of a workbench.

    ``listed``: the strategies, of which those that can be used are to choose from. ``chosen``: the
    one to begin with, ``values``: of its parameters. ``source``: the timeframe of the candles as
    given, ``timeframe``: that to begin with.
    """

    def __init__(
        self,
        listed: Sequence[Listed],
        chosen: Listed,
        values: Mapping[str, Any],
        options: Options,
        source: str,
        timeframe: str,
    ) -> None:
        super().__init__()
        usable = [(_label(one), one) for one in listed if one.strategy is not None]
        self.strategy = dropdown("strategy", usable, chosen, 300)
        frames = timeframes_from(source, timeframe)
        self.timeframe = dropdown("timeframe", frames, timeframe, 150)
        self.cost = cost_control(None, options.cost)
        named = [(_DIRECTIONS[direction], direction) for direction in DIRECTIONS]
        self.direction = dropdown("direction", named, options.direction, 190)
        self.fill = fill_control(options.fill)
        self.limits = {name: _stop(name, getattr(options, name)) for name in STOPS}
        self.description = ipw.HTML()
        self._options = options
        self._sliders: dict[Listed, dict[str, Any]] = {}
        self._boxes: dict[Listed, ipw.Box] = {}
        self.parameters = ipw.VBox()  # a box for each strategy that was chosen, one of them visible
        run = [self.strategy, self.timeframe, self.cost, self.direction]
        self.rows = [row(run), row([self.fill, *self.limits.values()])]
        self.broken = ipw.HTML(_say_broken(listed))
        self.show_parameters(values)

    @property
    def changing(self) -> list[ipw.Widget]:
        """The controls that change the run, but for strategy and parameters."""
        return [self.timeframe, self.cost, self.direction, self.fill, *self.limits.values()]

    @property
    def sliders(self) -> dict[str, Any]:
        """The controls of the chosen strategy's parameters, by name."""
        return self._sliders[self.strategy.value]

    @property
    def values(self) -> dict[str, Scalar]:
        """The chosen strategy's parameters as the sliders say."""
        return {name: _plain(slider.value) for name, slider in self.sliders.items()}

    @property
    def choice(self) -> tuple[Any, ...]:
        """All that tells one run from another."""
        typed = [control.value for control in self.changing]
        return (self.strategy.value, *self.values.items(), *typed)

    def options(self) -> Options:
        """The options of a run; `StrategyError` for what makes none."""
        said: dict[str, Any] = {
            name: _read_stop(name, control.value) for name, control in self.limits.items()
        }
        said |= {"direction": self.direction.value, "fill": self.fill.value}
        return replace(self._options, cost=fraction_of(self.cost.value), **said)

    def show_parameters(self, values: Mapping[str, Any] = {}) -> list[ipw.Widget]:
        """Show the controls of the chosen strategy, as they were left.

        Those that had to be made are returned; ``values``: what they begin with, where that is not
        the default. A parameter without either begins with the least that it may be.
        """
        chosen: Listed = self.strategy.value
        strategy = chosen.strategy
        assert strategy is not None  # only such can be chosen
        made = chosen not in self._boxes
        if made:
            self._sliders[chosen] = {
                name: parameter_slider(one, _first(one, values), ())
                for name, one in strategy.parameters.items()
            }
            align(list(self.sliders.values()))
            self._boxes[chosen] = row(list(self.sliders.values()))
            self.parameters.children = list(self._boxes.values())
        for one, box in self._boxes.items():
            box.layout.display = None if one is chosen else "none"
        self.description.value = _describe(chosen, strategy)
        return list(self.sliders.values()) if made else []


def _label(one: Listed) -> str:
    return one.name if one.origin == BUILT_IN else f"{one.name} ({one.origin})"


def _first(parameter: Parameter, values: Mapping[str, Any]) -> Scalar:
    """What a parameter begins with."""
    if parameter.name in values or parameter.default is not None:
        return parameter.value(values)
    if parameter.choices:
        return parameter.choices[0]
    if parameter.kind is str:
        return ""
    least = parameter.range.low if parameter.range else 0
    return parameter.check(math.ceil(least) if parameter.kind is int else least)


def _stop(name: str, value: float | None) -> ipw.Text:
    """A stop in per cent; nothing for none."""
    return ipw.Text(
        value="" if value is None else f"{100 * value:.10g}",
        description=f"{name.replace('_', ' ')} (%)",
        placeholder="none",
        continuous_update=False,
        layout=ipw.Layout(width="170px"),
        style={"description_width": "initial"},
    )


def _read_stop(name: str, typed: str) -> float | None:
    text = typed.strip().removesuffix("%").strip()
    if not text:
        return None
    try:
        return float(f"{float(text) / 100:.12g}")
    except ValueError:
        raise StrategyError(
            f"{name.replace('_', ' ')} {typed!r}: expected per cent, such as 2 or 0.5, or nothing "
            "for none"
        ) from None


def _describe(chosen: Listed, strategy: Strategy) -> str:
    rule = f"Expected: {strategy.rule}." if strategy.valid is not None else ""
    said = [strategy.description, rule, f"({chosen.origin})"]
    return f'<div style="{_SMALL}">{escape(" ".join(filter(None, said)))}</div>'


def _say_broken(listed: Sequence[Listed]) -> str:
    """The plug-ins that can't be chosen, and why."""
    broken = [one for one in listed if one.strategy is None]
    if not broken:
        return ""
    items = "".join(
        f"<li><b>{escape(one.name)}</b> ({escape(one.origin)}): {escape(one.error)}</li>"
        for one in broken
    )
    return (
        f'<div style="{_SMALL}"><p style="margin:6px 0 2px">⚠ Strategy plug-ins that can\'t be '
        f'used:</p><ul style="margin:0;padding-left:18px">{items}</ul></div>'
    )
