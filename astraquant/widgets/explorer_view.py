"""One run in pictures, words and figures, which controls change; a former one is shown pale."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ipywidgets as ipw
import numpy as np

from ..backtesting import Backtest, backtest_on
from ..errors import AstraQuantError
from ..runs import Market, Options
from ..strategies.definition import Scalar, Strategy
from .explorer_run import Bars, Run, RunPanels
from .explorer_words import say_figures, say_run
from .words import write

Array = np.ndarray[Any, Any]
STALE = "astraquant-stale"  # a class of what is not what was asked for


class Asked(NamedTuple):
    """A run that is asked for; ``values``: of the strategy's parameters, as they come."""

    strategy: Strategy
    values: Mapping[str, Scalar]
    timeframe: str
    options: Options


class RunView:
    """What is shown of a run, and the candles, made ready once for each timeframe.

    ``result``: the run that is drawn, None while there was none. ``pale``: the widgets that turn
    pale when they show another run than the one asked for.
    """

    def __init__(
        self,
        market: Callable[[str | None], Market],
        complain: Callable[[str], None],
        lock: threading.RLock,
    ) -> None:
        """``market`` makes candles ready for a timeframe; ``complain`` says what is wrong."""
        self._make_market, self._complain = market, complain
        self._markets: dict[str | None, Bars] = {}
        self._held: tuple[Any, Array] | None = None  # equity of buying and holding, and of what
        self._ran: tuple[Any, ...] = ()  # what was last run, or tried
        self.result: Backtest | None = None
        self.panels = RunPanels(lock)
        self.heading, self.figures = ipw.HTML(), ipw.HTML()
        self.pale: list[ipw.Widget] = []

    def bars(self, timeframe: str | None) -> Bars:
        """The bars of a timeframe (None: that of the candles)."""
        if timeframe not in self._markets:
            self._markets[timeframe] = Bars(self._make_market(timeframe))
        return self._markets[timeframe]

    def draw(self, wanted: tuple[Any, ...], ask: Callable[[], Asked]) -> None:
        """Run what is asked for and draw it; what can't be run is said, and the former run stays.

        ``wanted``: by what one run is told from another; the same one is not run again.
        """
        if wanted == self._ran:
            return
        self._ran = wanted
        try:
            run = self._run(ask())
            self.panels.show(run)
            self.result = run.result
            write(self.heading, say_run(run.result))
            write(self.figures, say_figures(run.result))
        except Exception as error:  # whatever a strategy does, the widget stays alive
            told = str(error) if isinstance(error, AstraQuantError) else repr(error)
            still = f" Still shown: {self.result.metrics.name}." if self.result else ""
            self._complain(f"{told.rstrip('.')}.{still}")
            for part in self.pale:
                part.add_class(STALE)
        else:
            self._complain("")
            for part in self.pale:
                part.remove_class(STALE)

    def _run(self, asked: Asked) -> Run:
        strategy, options = asked.strategy, asked.options
        bound = strategy.bind(asked.values)
        bars = self.bars(asked.timeframe)
        result = backtest_on(bars.market, strategy, options, bound)
        wanted = (bars, options)
        if self._held is None or self._held[0] != wanted:
            self._held = wanted, result._buy_and_hold_equity().to_numpy()
        return Run(result, bars, self._held[1])
