"""What a live chart is steered with: symbol, timeframe, view, a strategy's parameters. Its log."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple

import ipywidgets as ipw

from ..strategies.definition import Parameter, Scalar, Strategy
from ..timeframes import DURATIONS, HOUR, is_multiple
from . import style
from .words import write

# Coarser ones would need more minutes than anybody wants to wait for.
TIMEFRAMES = tuple(
    name for name, length in DURATIONS.items() if is_multiple(name, "1m") and length <= 4 * HOUR
)
WELL_KNOWN = (
    "BTCUSDT ETHUSDT SOLUSDT BNBUSDT XRPUSDT DOGEUSDT ADAUSDT LINKUSDT LTCUSDT BTCUSDC ETHBTC"
).split()
LINES = 30  # of the log
_feed_log = logging.getLogger("astraquant.feed")


class Setup(NamedTuple):
    """What is to be shown: a symbol, a timeframe, and the strategy's parameters."""

    symbol: str
    timeframe: str
    parameters: Mapping[str, Scalar]


class Controls:
    """The rows of controls. They only hold wishes: the chart's own thread reads and fulfils them.

    ``symbols``: those to choose from; ``closed``: there are no others.
    """

    def __init__(
        self, setup: Setup, strategy: Strategy | None, symbols: Iterable[str], closed: bool
    ) -> None:
        known = dict.fromkeys([*symbols, setup.symbol])
        narrow = ipw.Layout(width="auto")
        chosen = {"options": tuple(known), "value": setup.symbol, "description": "symbol"}
        look = {"layout": ipw.Layout(width="190px"), "style": {"description_width": "52px"}}
        # A Combobox takes any text: of a real venue nobody lists all symbols here.
        self.symbol = (
            ipw.Dropdown(**chosen, **look)
            if closed
            else ipw.Combobox(**chosen, **look, continuous_update=False, ensure_option=False)
        )
        self.timeframe = ipw.Dropdown(
            options=TIMEFRAMES,
            value=setup.timeframe,
            description="timeframe",
            layout=ipw.Layout(width="150px"),
            style={"description_width": "68px"},
        )
        self.pause = ipw.ToggleButton(
            description="Pause", icon="pause", layout=narrow,
            tooltip="Let the picture stand still; the feed goes on",
        )  # fmt: skip
        self.follow = ipw.ToggleButton(
            value=True, description="Follow", icon="step-forward", layout=narrow,
            tooltip="Keep the newest candle in view (dragging the chart turns it off)",
        )  # fmt: skip
        self.older = _icon("Earlier", "chevron-left", "Show earlier candles")
        self.newer = _icon("Later", "chevron-right", "Show later candles")
        self.zoom_in = _icon("Zoom in", "search-plus", "Zoom in: fewer candles")
        self.zoom_out = _icon("Zoom out", "search-minus", "Zoom out: more candles")
        self.zoom_all = _button("All", "", "Show as many candles as can be told apart")
        self.drop = _button(
            "Drop connection",
            "unlink",
            "Break the simulated venue's connections (of other feeds too) for some seconds",
        )
        self.sliders = {
            name: _slider(parameter, setup.parameters[name])
            for name, parameter in (strategy.parameters if strategy else {}).items()
        }
        self.complaint = ipw.HTML()
        rows = [
            [self.symbol, self.timeframe, self.pause, self.follow, self.older, self.newer,
             self.zoom_in, self.zoom_out, self.zoom_all, self.drop],
            [*self.sliders.values(), self.complaint],
        ]  # fmt: skip
        row = ipw.Layout(flex_flow="row wrap", align_items="center", padding="0 0 0 6px")
        self.rows = [ipw.Box(widgets, layout=row) for widgets in rows]

    @property
    def setup(self) -> Setup:
        """What is wished for; a symbol in capitals, as venues spell it."""
        values = {name: _plain(slider.value) for name, slider in self.sliders.items()}
        return Setup(self.symbol.value.strip().upper(), self.timeframe.value, values)

    def disable(self) -> None:
        """Nothing fulfils a wish any more."""
        for row in self.rows:
            for control in row.children:
                if hasattr(control, "disabled"):
                    control.disabled = True

    def complain(self, text: str) -> None:
        """Say beside the sliders what is wrong with them ("": nothing)."""
        sign = f'<span style="color:{style.DRAWDOWN}">⚠</span>'
        value = f'<span style="color:{style.TEXT}">{sign} {escape(text)}</span>' if text else ""
        write(self.complaint, value)


def _plain(value: Scalar) -> Scalar:
    """A slider's value without the rounding error that a browser has added."""
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _button(text: str, icon: str, tooltip: str) -> ipw.Button:
    return ipw.Button(description=text, icon=icon, tooltip=tooltip, layout={"width": "auto"})


def _icon(name: str, icon: str, tooltip: str) -> ipw.Button:
    """A button that shows an icon alone, and is called ``name``."""
    button = ipw.Button(description=name, icon=icon, tooltip=tooltip, layout={"width": "40px"})
    button.add_class(style.ICON_ONLY)
    return button


def _slider(parameter: Parameter, value: Scalar) -> Any:
    """What a parameter is set with: a slider over its `Range`, a list, or a field."""
    look: dict[str, Any] = {
        "description": parameter.name,
        "value": value,
        "style": {"description_width": "initial"},
    }
    if parameter.choices:
        return ipw.Dropdown(options=parameter.choices, **look)
    span = parameter.range
    if parameter.kind is str:
        return ipw.Text(continuous_update=False, **look)
    if span is None:
        return ipw.IntText(**look) if parameter.kind is int else ipw.FloatText(**look)
    look |= {"min": span.low, "max": span.high, "layout": ipw.Layout(width="340px")}
    if parameter.kind is int:
        return ipw.IntSlider(**look)
    step = _step(float(span.low), float(span.high), float(value))
    return ipw.FloatSlider(step=step, readout_format=style.number_format(step), **look)


def _step(low: float, high: float, value: float) -> float:
    """A round step of which ``value`` is a multiple from ``low``: a browser would move it else."""
    step = style.nice_step(high - low, 200)
    while step > 1e-9 and abs((value - low) / step - round((value - low) / step)) > 1e-6:
        step = 10.0 ** (math.ceil(math.log10(step) - 1e-9) - 1)  # the next lower power of ten
    return step


class LogPanel(logging.Handler):
    """The last lines that one feed has logged, in a drawer that is closed at first.

    While there is one, the feeds' logger lets INFO pass.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self.lines: deque[str] = deque(maxlen=LINES)
        self.feed = ""  # whose lines
        self._text = ipw.HTML()
        self.widget = ipw.Accordion([self._text], titles=["Log of the feed"], selected_index=None)
        self._raised = not _feed_log.isEnabledFor(logging.INFO)
        if self._raised:
            _feed_log.setLevel(logging.INFO)
        _feed_log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, if it is of this chart's feed: each feed logs in a thread of its name."""
        if record.threadName == f"feed {self.feed}":
            self.lines.append(self.format(record))

    def show(self) -> None:
        """Write the lines into the drawer."""
        lines = escape("\n".join(list(self.lines)))
        value = (
            '<pre style="max-height:220px;overflow:auto;margin:0;font-size:12px;line-height:16px;'
            f'white-space:pre-wrap;color:{style.TEXT}">{lines or "Nothing so far."}</pre>'
        )
        write(self._text, value)

    def detach(self) -> None:
        """Listen no more, and leave the logger as it was."""
        _feed_log.removeHandler(self)
        if self._raised:
            others = [one for one in _feed_log.handlers if isinstance(one, LogPanel)]
            if others:
                others[0]._raised = True  # the last one turns it down
            else:
                _feed_log.setLevel(logging.NOTSET)
        self.close()
