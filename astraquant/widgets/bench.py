"""`workbench`: a strategy chosen by its name, its parameters on sliders, and the run of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import ipywidgets as ipw
import pandas as pd

from ..backtesting import Backtest
from ..errors import StrategyError
from ..runs import OPTIONS, Market, Options, check_order
from ..strategies.definition import Strategy
from ..strategies.plugins import Listed, list_strategies
from . import style
from .bench_controls import GIVEN, BenchControls
from .explorer_view import Asked, RunView
from .explorer_words import LOOK


class Workbench(style.Chart):
    """Strategies to choose from over one table of candles; made by `workbench`."""

    _closed = True  # until all of it is there

    def __init__(
        self,
        market: Market,
        span: tuple[object, object],
        listed: list[Listed],
        chosen: Listed,
        values: Mapping[str, Any],
        options: Options,
    ) -> None:
        """Begin with the ``chosen`` strategy; ``span``: where runs start and end."""
        self._first, self._span = market, span
        self._controls = controls = BenchControls(
            listed, chosen, values, options, market.watched_timeframe, market.timeframe
        )
        lock = threading.RLock()
        self._view = view = RunView(self._market, controls.complain, lock)
        controls.steer(view.panels, lock)
        self._run = ipw.VBox()  # empty while there is nothing to draw: no axes without anything
        self._of_run = [view.heading, controls.zooms, *view.panels.parts]
        view.pale = [self._run, view.figures]
        given = f"{len(market.source):,} candles of {market.watched_timeframe}"
        title = f"Workbench · {market.index[0]:%Y-%m-%d} to {market.index[-1]:%Y-%m-%d}"
        head = style.header(title, synthetic=view.bars(market.timeframe).synthetic)
        steering = [*controls.rows, controls.description, controls.parameters]
        super().__init__(
            [ipw.HTML(LOOK), head, *steering, controls.complaint, *view.pale, controls.broken],
            f"Workbench({given}, {chosen.name} first)",
        )
        self.layout.max_width = "1200px"
        self.add_class("astraquant-explorer")  # it looks like one
        self._closed = False
        self._wire()
        self._update()

    @property
    def backtest(self) -> Backtest | None:
        """The run that is drawn, None while there was none."""
        return self._view.result

    def close(self) -> None:
        """Free all that it holds, its widgets too."""
        if self._closed:  # Python closes a widget again when it is thrown away
            return
        self._closed = True
        self._run.children = self._of_run  # so that they are freed too
        style.close_all(self)

    def _wire(self) -> None:
        controls = self._controls
        controls.strategy.observe(self._on_strategy, "value")
        for control in (*controls.changing, *controls.sliders.values()):
            control.observe(self._update, "value")

    def _on_strategy(self, _: object) -> None:
        for slider in self._controls.show_parameters():
            slider.observe(self._update, "value")
        self._update()

    def _update(self, _: object = None) -> None:
        """Bring the run up to what the controls say."""
        self._view.draw(self._controls.choice, self._ask)
        if self.backtest and not self._run.children:
            self._run.children = self._of_run

    def _ask(self) -> Asked:
        controls = self._controls
        strategy = controls.strategy.value.strategy
        return Asked(strategy, controls.values, controls.timeframe.value, controls.options())

    def _market(self, timeframe: str | None) -> Market:
        first = self._first
        if timeframe == first.timeframe:
            return first
        return Market(first.source, timeframe, *self._span)


def workbench(
    candles: pd.DataFrame,
    strategy: Strategy | None = None,
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
) -> Workbench:
    """Choose a strategy by its name and move its parameters: a widget around `backtest`.

    All strategies can be chosen: the built-in ones, then plug-ins with the package that they come
    from; those that can't be used are told below, with their errors. ``strategy``: what to begin
    with; one that is no plug-in, such as one decorated in the notebook, stands first. All else is
    as in `backtest`, and what the controls begin with. A parameter without a default begins with
    the least that it may be. Of what is drawn ``.backtest`` is the result.

    Raises `DataError` for candles and `StrategyError` for options and parameters it can't honour;
    later the widget says them.
    """
    if strategy is not None:
        check_order(candles, strategy)
        for name, value in parameters.items():
            strategy.check_name(name, OPTIONS)
            strategy.parameters[name].check(value)
    elif parameters:
        given = ", ".join(f"{name}=..." for name in parameters)
        raise StrategyError(
            f"{given}: parameters belong to a strategy; write workbench(candles, strategy, {given})"
        )
    options = Options(cost, slippage, fill, direction, cash, stop_loss, take_profit, trailing_stop)
    market = Market(candles, timeframe, start, end)
    listed = list_strategies()
    if strategy is not None and all(one.strategy is not strategy for one in listed):
        listed.insert(0, Listed(strategy.name, GIVEN, strategy))
    wanted = listed[0].strategy if strategy is None else strategy
    chosen = next(one for one in listed if one.strategy is wanted)
    return Workbench(market, (start, end), listed, chosen, parameters, options)
