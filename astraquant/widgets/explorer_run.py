"""The panels of one run in the explorer: price with trades, equity, drawdown, all over one time.

The figures are made once; a step of a slider changes the points of a few marks. Of a long run only
what can be told apart in view is sent, so zooming in shows more, down to the single candles.
"""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..backtesting import Backtest
from ..candles import is_synthetic
from ..runs import Market
from ..timeframes import duration
from . import style
from .chart import thin
from .explorer_trades import Markers
from .words import write

Array = np.ndarray[Any, Any]
POINTS = 1_000  # of a line in and around the view: a panel is about 700 pixels wide
MOST_CANDLES = 300  # in view; more than that are drawn as a line through the closes
FEWEST = 10  # bars in view
ROUND = 2  # an axis ends at a tick, or at such a part of the way to the next
TOLERANCE = 2.0  # ms: a browser rounds
_Window = tuple[float, float]


class Bars:
    """The evaluated bars of a market, made ready to be drawn; ``times`` in ms, as numbers."""

    def __init__(self, market: Market) -> None:
        columns = market.evaluated
        self.market = market
        self.length = float(duration(market.timeframe))
        self.times = columns["time"].astype(np.float64)
        self.close = columns["close"]
        self.prices = [columns[name] for name in ("open", "high", "low", "close")]
        self.synthetic = is_synthetic(market.source.attrs.get("source"))

    @property
    def whole(self) -> _Window:
        """A window over all bars, with a little room at both ends."""
        room = max(self.length, 0.01 * (self.times[-1] - self.times[0]))
        return float(self.times[0] - room), float(self.times[-1] + room)

    def within(self, window: _Window) -> tuple[int, int]:
        """The bars in ``window`` and one more at each side, as first and last + 1."""
        first, last = np.searchsorted(self.times, window)
        return max(0, int(first) - 1), min(len(self.times), int(last) + 1)


class Run(NamedTuple):
    """What is drawn: a backtest, its bars, and the equity of buying and holding over them."""

    result: Backtest
    bars: Bars
    hold: Array


class RunPanels:
    """Three figures over one time scale, and their legends."""

    def __init__(self, lock: threading.RLock) -> None:
        """``lock``: is held while something is drawn."""
        self._lock = lock
        # Milliseconds, not dates: bqplot can't drag a scale of dates.
        self.time = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._price, self._equity, self._drawdown = (
            _Panel(self.time, height, bottom) for height, bottom in ((270, 8), (150, 8), (150, 50))
        )
        self._closes = self._price.line([style.PRICE], 1.3)
        self._candles = bq.OHLC(
            x=[], y=np.empty((0, 4)), scales=self._price.scales, visible=False,
            colors=[style.LONG, style.DRAWDOWN], stroke=style.PRICE, stroke_width=1.0,
        )  # fmt: skip
        self._lines = self._price.line(list(style.LINES), 1.5)
        self._markers = Markers(self._price.scales)
        self._hold = self._equity.line([style.BENCHMARK], 1.5)
        self._money = self._equity.line([style.EQUITY], 1.5)
        self._fall = self._drawdown.line([style.DRAWDOWN], 1.0)
        self._fall.fill, self._fall.fill_opacities = "top", [0.35]
        self._price.draw(
            # So many markers would bury the lines: these lie above them.
            [self._candles, *self._markers.marks, self._lines, self._closes],
            "price",
            7,
        )
        self._equity.draw([self._hold, self._money], "equity (quote)", 4)
        self._drawdown.draw([self._fall], "drawdown (%)", 4, "max_drawdown")
        panels = (self._price, self._equity, self._drawdown)
        self.parts: list[ipw.Widget] = [
            part for panel in panels for part in (panel.legend, panel.figure)
        ]
        self._run: Run | None = None
        self._window: _Window = (0.0, 1.0)
        self._priced: tuple[Any, ...] = ()  # what the price line was last drawn of
        self.time.observe(self._notice, ["min", "max"])

    def show(self, run: Run) -> None:
        """Draw a run, in the window that is in view if there are bars in it."""
        former, self._run = self._run, run
        start, end = run.bars.whole
        beyond = self._window[1] <= start or self._window[0] >= end
        if former is None or beyond or self._window == former.bars.whole:
            self._window = run.bars.whole
        self._lines_of_run = list(run.result.lines.items())
        self._markers.take(run.result, float(run.bars.times[-1]), float(run.bars.close[-1]))
        self._below = _drawdown(run)
        self._draw()

    # What a user may wish for.

    def zoom(self, factor: float) -> None:
        """Show so many times as much time, around the middle of the view."""
        start, end = self._window
        middle, half = (start + end) / 2, (end - start) / 2 * factor
        self.look_at((middle - half, middle + half))

    def move(self, share: float) -> None:
        """Show what lies so many views later."""
        start, end = self._window
        step = share * (end - start)
        self.look_at((start + step, end + step))

    def reset(self) -> None:
        """Show all bars."""
        if self._run is not None:
            self.look_at(self._run.bars.whole)

    def look_at(self, window: _Window) -> None:
        """Show ``window`` (ms), or what there is of it."""
        if self._run is not None:
            self._window = _kept_within(window, self._run.bars)
            self._draw()

    @property
    def window(self) -> _Window:
        """The moments at the left and the right edge, in ms."""
        return self._window

    def _notice(self, _: object) -> None:
        """Draw what the user has zoomed or dragged into view."""
        seen = (float(self.time.min), float(self.time.max))
        with self._lock:
            if _differ(seen, self._window):
                self.look_at(seen)

    # Drawing.

    def _draw(self) -> None:
        run = self._run
        assert run is not None
        if _differ((float(self.time.min), float(self.time.max)), self._window):
            with self.time.hold_sync(), self.time.hold_trait_notifications():
                self.time.min, self.time.max = self._window
        self._label_times(run.bars)
        start, end = self._window
        room = (end - start) / 2  # to the left and right, for when the picture is dragged
        around = run.bars.within((start - room, end + room))
        inside = run.bars.within(self._window)
        self._draw_prices(run, around, inside)
        self._draw_money(run, around, inside)
        self._draw_drawdown(run, around, inside)

    def _label_times(self, bars: Bars) -> None:
        start, end = (round(moment) for moment in self._window)
        inner = start + (end - start) // 20, end - (end - start) // 20  # not over a corner
        ticks, form = style.time_ticks(*inner, 6)
        if len(form) > len("%H:%M:%S"):  # day and time
            ticks, form = style.time_ticks(*inner, 4)
        labels = pd.DatetimeIndex(ticks).strftime(form)
        at = ticks.astype(np.int64).astype(np.float64)
        first, last = bars.within(self._window)
        ends = dict.fromkeys(_minute(bars.times[k]) for k in (first, last - 1))
        lowest = self._drawdown.times
        lowest.tick_labels = dict(zip(_keys(ticks), labels, strict=True))
        for axis in (self._price.times, self._equity.times, lowest):
            axis.tick_values = at
        lowest.label = f"time (UTC), {' to '.join(ends)}"

    def _draw_prices(self, run: Run, around: tuple[int, int], inside: tuple[int, int]) -> None:
        bars = run.bars
        as_candles = 1 < inside[1] - inside[0] <= MOST_CANDLES
        drawn = (bars, around, as_candles)
        if drawn != self._priced:  # the same for all steps of a slider
            self._priced = drawn
            self._at = _thin(bars.close, around)
            _set(self._closes, bars, self._at, [bars.close], visible=not as_candles)
            with self._candles.hold_sync():
                self._candles.visible = as_candles
                where = slice(*around) if as_candles else slice(0)
                self._candles.x = bars.times[where]
                self._candles.y = np.column_stack([column[where] for column in bars.prices])
            label = "price (quote currency" + (", synthetic)" if bars.synthetic else ")")
            self._price.values.label = label
        lines = [line.to_numpy(float) for _, line in self._lines_of_run]
        _set(self._lines, bars, self._at, lines)
        highs = bars.prices[1] if as_candles else bars.close
        lows = bars.prices[2] if as_candles else bars.close
        seen = slice(*inside)
        low, high = float(lows[seen].min()), float(highs[seen].max())
        far = high - low or low  # a line farther away than this would squeeze the prices
        near = [np.clip(line[seen], low - far, high + far) for line in lines]
        self._price.span(np.array([low, high]), *near)
        room = (around[0], around[1] - 1)
        said = self._markers.draw(bars.times[room[0]], bars.times[room[1]], self._window)
        entries = [("┃", style.LONG, "rose"), ("┃", style.DRAWDOWN, "fell")]
        entries = entries if as_candles else [("━━", style.PRICE, "close")]
        for k, (name, _) in enumerate(self._lines_of_run):
            entries.append(("━━", style.LINES[k % len(style.LINES)], name))
        write(self._price.legend, style.legend_html([*entries, *said], "Price"))

    def _draw_money(self, run: Run, around: tuple[int, int], inside: tuple[int, int]) -> None:
        money = run.result.equity.to_numpy()
        _set(self._hold, run.bars, _thin(run.hold, around), [run.hold])
        _set(self._money, run.bars, _thin(money, around), [money])
        seen = slice(*inside)
        self._equity.span(money[seen], run.hold[seen])
        entries = [("━━", style.EQUITY, "strategy"), ("━━", style.BENCHMARK, "buy and hold")]
        write(self._equity.legend, style.legend_html(entries, "Equity"))

    def _draw_drawdown(self, run: Run, around: tuple[int, int], inside: tuple[int, int]) -> None:
        _set(self._fall, run.bars, _thin(self._below, around), [self._below])
        lowest = float(self._below[slice(*inside)].min())
        self._drawdown.set_scale(lowest if lowest < 0 else -0.01, 0.0)
        deepest = f"below the highest equity so far; deepest {self._below.min():.1%}"
        write(
            self._drawdown.legend,
            style.legend_html([("■", style.DRAWDOWN, deepest)], "Drawdown"),
        )


class _Panel:
    """A figure with a legend above it; its value axis follows what is in view."""

    def __init__(self, time: bq.LinearScale, height: int, bottom: int) -> None:
        self._value = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self.scales = {"x": time, "y": self._value}
        self.legend = style.legend([])
        quiet = {} if bottom > 20 else {"tick_style": {"display": "none"}}
        self.times = bq.Axis(scale=time, label_color=style.TEXT, label_offset="36px", **quiet)
        self.values = bq.Axis(
            scale=self._value, side="left", label_offset="66px", label_color=style.TEXT
        )
        self.figure = bq.Figure(
            marks=[],
            axes=[self.times, self.values],
            interaction=bq.PanZoom(scales={"x": [time]}),
            fig_margin={"top": 6, "bottom": bottom, "left": 88, "right": 24},
            padding_y=0.0,
            animation_duration=0,
            display_toolbar=False,
            layout=ipw.Layout(width="100%", height=f"{height}px", min_width="320px"),
        )

    def line(self, colours: list[str], width: float) -> bq.Lines:
        """A mark for lines, with nothing in it yet."""
        return bq.Lines(
            x=[], y=[], scales=self.scales, colors=colours, stroke_width=width, visible=False
        )

    def draw(self, marks: list[bq.Mark], label: str, ticks: int, metric: str = "") -> None:
        """Put the marks in, and say what the value axis measures."""
        self.figure.marks = marks
        self.values.label, self._ticks, self._metric = label, ticks, metric

    def span(self, *values: Array) -> None:
        """Let the value axis span ``values``; what is unknown does not count."""
        known = [part[np.isfinite(part)] for part in values]
        ends = [end for part in known if len(part) for end in (part.min(), part.max())]
        self.set_scale(*(style.nice_range(np.array(ends)) if ends else (0.0, 1.0)))

    def set_scale(self, low: float, high: float) -> None:
        """Let the value axis go from ``low`` to ``high``, or a little further.

        It ends at round numbers: so it stands still, and nothing is sent, through most steps of a
        slider.
        """
        step = style.nice_step(high - low, self._ticks)
        part = step / ROUND
        low, high = part * math.floor(low / part + 1e-9), part * math.ceil(high / part - 1e-9)
        if (self._value.min, self._value.max) == (low, high):
            return
        with self._value.hold_sync():
            self._value.min, self._value.max = low, high
        marked = step * np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        style.set_ticks(self.values, marked, style.metric_format(self._metric, step))


def _set(
    mark: bq.Lines, bars: Bars, at: Array, values: list[Array], *, visible: bool = True
) -> None:
    """Let ``mark`` show ``values`` at the bars ``at``; traitlets send only what has changed."""
    x, y = bars.times[at], np.array([line[at] for line in values], dtype=np.float32)
    if len(x) == 1:  # a line of one point can't be seen: let it be as long as the bar
        x, y = np.array([x[0] - bars.length / 4, x[0] + bars.length / 4]), y.repeat(2, axis=1)
    if len(y) == 1:
        y = y[0]  # as bqplot keeps a single line
    shown = visible and bool(np.isfinite(y).any())
    with mark.hold_sync():
        mark.visible = shown
        if not shown:
            return
        mark.x, mark.y = x, y


def _thin(values: Array, around: tuple[int, int]) -> Array:
    """Which of the bars ``around`` to draw, so that the shape of ``values`` is kept."""
    return thin(values[slice(*around)], POINTS) + around[0]


def _drawdown(run: Run) -> Array:
    """How far each close lies below the highest equity before it, the starting cash included."""
    money = run.result.equity.to_numpy()
    peak = np.maximum.accumulate(np.maximum(money, run.result.options.cash))
    below: Array = money / peak - 1.0
    return below


def _kept_within(window: _Window, bars: Bars) -> _Window:
    """``window``, no wider than all bars, no narrower than a few, and with some bars in it."""
    start, end = bars.whole
    width = min(max(window[1] - window[0], FEWEST * bars.length), end - start)
    first = (window[0] + window[1] - width) / 2
    kept = min(max(first, bars.times[0] - 0.75 * width), bars.times[-1] - 0.25 * width)
    kept = start if width == end - start else float(kept)
    same = abs(kept - window[0]) < TOLERANCE and abs(kept + width - window[1]) < TOLERANCE
    return window if same else (kept, kept + width)


def _differ(one: _Window, other: _Window) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) > TOLERANCE


def _keys(ticks: Array) -> list[str]:
    return [str(tick) for tick in ticks.astype(np.int64).tolist()]


def _minute(moment: float) -> str:
    return f"{pd.Timestamp(round(moment), unit='ms'):%Y-%m-%d %H:%M}"
