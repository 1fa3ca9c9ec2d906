"""The pictures of a dashboard over time: equity, drawdown, rolling Sharpe ratio.

Each is a bqplot figure under a legend. Long series are thinned to what a screen can show.
"""

from __future__ import annotations

import math
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..performance import drawdown, rolling_sharpe, worst_drawdowns
from . import style
from .chart import (
    POINTS,
    TimeAxis,
    lines_mark,
    panel_figure,
    thin,
    to_dates,
    value_axis,
    value_scale,
)
from .dashboard_view import View

Array = np.ndarray[Any, Any]
Curves = dict[str, tuple[str, pd.Series]]  # name -> colour and values by time
LOG_SPAN = 10.0  # a log axis over more than so many times the least has ticks at 1, 2, 5, 10 ...


class CurvesPanel:
    """Curves of money or growth over one time axis, linear or logarithmic."""

    def __init__(self, curves: Curves, heading: str, label: str) -> None:
        """Draw ``curves``, the last on top; ``label``: of the value axis, with its unit."""
        index = whole_index([values.index for _, values in curves.values()])
        self._axis_label = label
        time = TimeAxis(index)
        self._scale = bq.LinearScale(allow_padding=False)
        self._values, self._marks = [], []
        for colour, series in curves.values():
            at = thin(series.to_numpy(float), POINTS)
            values = series.to_numpy(float)[at][None]
            scales = {"x": time.scale, "y": self._scale}
            mark = lines_mark(series.index[at], values, scales, [colour], stroke_width=1.6)
            self._marks.append(mark)
            self._values.append(mark.y)
        self._axis = bq.Axis(
            scale=self._scale,
            side="left",
            label=label,
            label_offset="66px",
            label_color=style.TEXT,
        )
        entries = [("━━", colour, name) for name, (colour, _) in reversed(curves.items())]
        legend = style.legend(entries, heading)
        figure = panel_figure(self._marks, [time.axis(labelled=True), self._axis], 270, bottom=52)
        self.parts: list[ipw.Widget] = [legend, figure]
        self.show(log=False)

    def show(self, *, log: bool) -> None:
        """Draw money as it is, or its logarithm; what is not above 0 has none and is left out."""
        drawn = [_log10(values) if log else values for values in self._values]
        known = np.concatenate([values[np.isfinite(values)] for values in drawn])
        low, high = style.nice_range(known) if len(known) else (0.0, 1.0)
        at, labels = log_ticks(low, high) if log else _ticks(low, high)
        with self._scale.hold_sync():
            self._scale.min, self._scale.max = low, high
        for mark, values in zip(self._marks, drawn, strict=True):
            mark.y = values
        self._axis.label = f"{self._axis_label}, log" if log else self._axis_label
        with self._axis.hold_sync():
            self._axis.tick_labels = dict(zip(map(_key, at), labels, strict=True))
            self._axis.tick_values = at


def whole_index(indices: list[pd.Index]) -> pd.DatetimeIndex:
    """The first and the last time of all."""
    ends = [min(index[0] for index in indices), max(index[-1] for index in indices)]
    return pd.DatetimeIndex(ends[:1] if ends[0] == ends[1] else ends)


def _log10(values: Array) -> Array:
    return np.log10(values, out=np.full_like(values, np.nan), where=values > 0)


def _key(value: float) -> str:
    """A tick's value as the browser spells it, to which its label is tied."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _ticks(low: float, high: float) -> tuple[Array, list[str]]:
    values, step = style.ticks(low, high, 5)
    return values, [format(value, style.number_format(step)) for value in values]


def log_ticks(low: float, high: float) -> tuple[Array, list[str]]:
    """Round numbers between two logarithms: the places of theirs, and how they are written."""
    first, last = 10.0**low, 10.0**high
    if last / first < LOG_SPAN:
        values, step = style.ticks(first, last, 5)
        return np.log10(values), [format(value, style.number_format(step)) for value in values]
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    every = max(1, len(powers) // 6)
    found = [m * 10.0**p for p in powers[::every] for m in factors if first <= m * 10.0**p <= last]
    return np.log10(found), [f"{value:,.10g}" for value in found]


def drawdown_panel(view: View) -> list[ipw.Widget]:
    """How far equity lies below its highest so far; the five worst falls are numbered."""
    index, money = view.equity.index, view.equity.to_numpy(float)
    fall, time = drawdown(money, view.cash), TimeAxis(view.equity.index)
    worst = worst_drawdowns(view.equity, view.cash)
    lowest = float(fall.min())
    low = 1.12 * lowest if lowest < 0 else -0.01
    scales = {"x": time.scale, "y": bq.LinearScale(min=low, max=0.0, allow_padding=False)}
    at = np.union1d(thin(fall), index.get_indexer(pd.DatetimeIndex(worst["valley"])))
    look: dict[str, Any] = {"fill": "top", "fill_opacities": [0.3], "stroke_width": 1.0}
    marks: list[bq.Mark] = [lines_mark(index[at], fall[None, at], scales, [style.DRAWDOWN], **look)]
    marks += _worst_marks(worst, index, scales)
    text = "below the highest equity so far"
    entries = [("■", style.DRAWDOWN, text)]
    if len(worst):
        numbers = f"1 to {len(worst)}" if len(worst) > 1 else "1"
        entries.append((f"◆ {numbers}", style.LINES[0], "the worst, from peak to recovery"))
    axes = [time.axis(labelled=True), value_axis(scales["y"], "drawdown (%)", 4, "max_drawdown")]
    return [style.legend(entries, "Drawdown"), panel_figure(marks, axes, 200, bottom=52)]


def _worst_marks(worst: pd.DataFrame, index: pd.Index, scales: dict[str, Any]) -> list[bq.Mark]:
    """A bar from peak to recovery at the top, a diamond and a number at the valley."""
    if worst.empty:
        return []
    begin = to_dates(worst["peak"].fillna(index[0]))
    end = to_dates(worst["recovery"].fillna(index[-1]))
    x, y = to_dates(worst["valley"]), worst["depth"].to_numpy(np.float32)
    colour = style.LINES[0]
    spans = bq.Lines(
        x=np.stack([begin, end], axis=1),
        y=np.zeros((len(worst), 2)),
        scales=scales,
        colors=[colour],
        stroke_width=8,
        opacities=[0.7] * len(worst),
    )
    dots = bq.Scatter(
        x=x, y=y, scales=scales, marker="diamond", colors=[colour], stroke=colour, default_size=50
    )
    marks = [spans, dots]
    late = x > begin.min() + (to_dates(index[[-1]])[0] - begin.min()) / 2
    for chosen, align, offset in ((~late, "start", 7), (late, "end", -7)):  # away from the edge
        if chosen.any():
            numbers = [str(place) for place in np.flatnonzero(chosen) + 1]
            marks.append(_numbers(x[chosen], y[chosen], numbers, scales, align, offset))
    return marks


def _numbers(
    x: Array, y: Array, text: list[str], scales: dict[str, Any], align: str, offset: int
) -> bq.Label:
    return bq.Label(
        x=x,
        y=y,
        text=text,
        scales=scales,
        colors=[style.TEXT],
        default_size=12,
        font_weight="bold",
        align=align,
        x_offset=offset,
        y_offset=5,
    )


def rolling_panel(view: View, days: int) -> list[ipw.Widget]:
    """The Sharpe ratio of the last ``days`` days, over time."""
    index = view.equity.index
    at = np.unique(np.linspace(0, len(index) - 1, POINTS // 2).round().astype(int))
    values = rolling_sharpe(view.returns, days, view.timeframe, at)
    known = np.isfinite(values)
    time = TimeAxis(index)
    scales = {"x": time.scale, "y": value_scale(np.append(values[known], 0.0))}
    ends = np.zeros((1, min(2, len(index))))
    marks: list[bq.Mark] = [
        lines_mark(index[[0, -1][: len(index)]], ends, scales, [style.BENCHMARK], stroke_width=1.0)
    ]
    if known.any():
        first, last = np.flatnonzero(known)[[0, -1]]  # bqplot can't place an end without a value
        inside = slice(first, last + 1)
        marks.append(
            lines_mark(
                index[at[inside]], values[None, inside], scales, [style.EQUITY], stroke_width=1.6
            )
        )
    text = f"of the last {days} day{'s' if days > 1 else ''}; nothing before there are so many"
    axes = [time.axis(labelled=True), value_axis(scales["y"], "Sharpe ratio (annualised)", 5)]
    legend = style.legend([("━━", style.EQUITY, text)], "Rolling Sharpe ratio")
    return [legend, panel_figure(marks, axes, 220, bottom=52)]
