"""A walk-forward as a picture: equity, the parameters it chose, in sample against out of sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..candles import is_synthetic
from ..errors import DataError, unknown
from ..walk_reports import HELD, RATES, STATIC, WALKED
from . import style
from .chart import TimeAxis, lines_mark, panel_figure, to_dates, value_axis
from .dashboard import log_switch
from .dashboard_pictures import LOG_SPAN, CurvesPanel, whole_index
from .parameter_axes import say_parameter

Array = np.ndarray[Any, Any]
Levels = Mapping[str, Sequence[Any]]
# Of the curves that there may be, the last on top.
COLOURS = {HELD: style.BENCHMARK, STATIC: style.LINES[0], WALKED: style.EQUITY}
FEW = 6  # values of a parameter that are all named on its axis, at equal distances


class WalkChart(style.Chart):
    """Panels over one time axis, and what training promised; made by `walk_chart`."""


def walk_chart(
    windows: pd.DataFrame,
    levels: Levels,
    curves: Mapping[str, pd.Series],
    *,
    metric: str,
    title: str,
    source: object = None,
    note: str = "",
    cut: int = 0,
) -> WalkChart:
    """Draw a walk-forward.

    windows: as `WalkForward.windows`, a row each in time order; levels: the values tried of each
    swept parameter. curves: money after each bar, by the names in `COLOURS` and time. ``metric``:
    what chose. ``source``: where the prices come from; one that says "synthetic" puts a badge
    beside the title. ``note``: in small beside it. ``cut``: so many of the last windows that have
    both figures are left out of their mean, since their tests are cut short.

    Raises `DataError` where there is nothing to draw, or a curve has another name.
    """
    if windows.empty or not curves:
        raise DataError(
            f"{len(windows):,} windows and {len(curves)} curves to draw; expected at least one "
            "window, and one curve."
        )
    if strange := next((name for name in curves if name not in COLOURS), None):
        raise DataError(unknown("curve", strange, COLOURS))
    drawn = {name: (c, curves[name]) for name, c in COLOURS.items() if name in curves}
    time = TimeAxis(whole_index([one.index for one in curves.values()]))
    head = style.header(title, synthetic=is_synthetic(source), note=note)
    equity = CurvesPanel(drawn, "Equity out of sample", "equity (quote currency)")
    switch = log_switch()
    switch.observe(lambda change: equity.show(log=change.new), "value")
    switch.value = _needs_log(list(curves.values()))
    parts: list[ipw.Widget] = [head, switch, *equity.parts]
    for place, name in enumerate(levels):
        labelled = place == len(levels) - 1
        parts += _parameter_panel(windows, name, levels[name], time, labelled)
    parts += _promise_panel(windows, metric, cut)
    return WalkChart(parts, f"WalkChart({title}, {len(windows):,} windows)")


def _needs_log(curves: Sequence[pd.Series]) -> bool:
    """Whether what rises most would press the others flat: each is 0 at no time."""
    money = np.concatenate([one.to_numpy(float) for one in curves])
    return bool(money.min() > 0 and money.max() > LOG_SPAN * money.min())


def _parameter_panel(
    windows: pd.DataFrame, name: str, values: Sequence[Any], time: TimeAxis, labelled: bool
) -> list[ipw.Widget]:
    """What was chosen for one parameter, from each test's begin until the next choice."""
    axis, places = _value_axis(name, values)
    chosen = [np.nan if pd.isna(value) else places[value] for value in windows[name]]
    ends = [*windows["test_start"].iloc[1:], windows["test_end"].iloc[-1]]
    x = np.stack([to_dates(windows["test_start"]), to_dates(ends)], axis=1).ravel()
    y = np.repeat(np.array(chosen, dtype=float), 2)
    marks: list[bq.Mark] = []
    known = np.flatnonzero(np.isfinite(y))
    if len(known):  # bqplot can't place an end without a value
        inside = slice(known[0], known[-1] + 1)
        scales = {"x": time.scale, "y": axis.scale}
        times = pd.DatetimeIndex(x[inside])
        marks.append(lines_mark(times, y[None, inside], scales, [style.EQUITY], stroke_width=2.2))
    text = "chosen, until the next choice" if len(known) else "nothing was ever chosen"
    if 0 < len(known) < len(y):
        text += "; no line: nothing was chosen"
    height = 140 if labelled else 112
    figure = panel_figure(
        marks, [time.axis(labelled=labelled), axis], height, 52 if labelled else 24
    )
    return [style.legend([("━━", style.EQUITY, text)], f"Parameter: {name}"), figure]


def _value_axis(name: str, values: Sequence[Any]) -> tuple[bq.Axis, dict[Any, float]]:
    """The axis of a parameter, and where each of its values lies on it."""
    numeric = all(isinstance(value, int | float) for value in values)
    if numeric and len(values) > FEW:
        low, high = style.nice_range(np.array(values, dtype=float), 0.08)
        scale = bq.LinearScale(min=low, max=high, allow_padding=False)
        return value_axis(scale, name, 3), {value: float(value) for value in values}
    listed = sorted(values) if numeric else list(values)
    every = max(1, -(-len(listed) // FEW))
    scale = bq.LinearScale(min=-0.5, max=len(listed) - 0.5, allow_padding=False)
    shown = range(0, len(listed), every)
    axis = bq.Axis(
        scale=scale,
        side="left",
        label=name,
        label_offset="66px",
        label_color=style.TEXT,
        tick_values=np.array(shown, dtype=float),
        tick_labels={str(k): say_parameter(listed[k]) for k in shown},
    )
    return axis, {value: float(k) for k, value in enumerate(listed)}


def _promise_panel(windows: pd.DataFrame, metric: str, cut: int) -> list[ipw.Widget]:
    """A dot per window: the metric of its choice in training, and in the test that followed.

    A rate has one scale, and a line where it is the same in both. Other metrics depend on the
    length of the window: each axis has its own scale.
    """
    both = windows[["in_sample", "out_of_sample"]].astype(float)
    found = both[np.isfinite(both).all(axis=1)]
    heading = "In sample against out of sample"
    if found.empty:
        said = f"no window has a {metric.replace('_', ' ')} in both"
        return [style.legend([("○", style.BENCHMARK, said)], heading)]
    x, y = found.to_numpy().T
    rate = metric in RATES
    spread = (
        {"x": np.concatenate([x, y]), "y": np.concatenate([x, y])} if rate else {"x": x, "y": y}
    )
    scales = {}
    for side, values in spread.items():
        low, high = style.nice_range(values, 0.08)
        scales[side] = bq.LinearScale(min=low, max=high, allow_padding=False)
    look: dict[str, Any] = {"scales": scales, "stroke_width": 1.5}
    left = len(windows) - len(found)
    entries = [("●", style.EQUITY, "a window" + (f" ({left:,} without a figure)" if left else ""))]
    marks: list[bq.Mark] = []
    if rate:
        ends = np.array([scales["x"].min, scales["x"].max])
        marks.append(
            bq.Lines(x=ends, y=ends, colors=[style.BENCHMARK], line_style="dashed", **look)
        )
        entries.append(("╌╌", style.BENCHMARK, "as in training"))
    marks.append(_dots(x, y, style.EQUITY, "circle", 60, look))
    counted = len(found) - cut
    if counted > 1:
        means = x[:counted].mean(keepdims=True), y[:counted].mean(keepdims=True)
        marks.append(_dots(*means, style.LINES[0], "diamond", 130, look))
        entries.append(("◆", style.LINES[0], "mean of whole windows" if cut else "their mean"))
    if not rate:
        said = f"{metric.replace('_', ' ')} depends on a window's length: two scales"
        entries.append(("", style.BENCHMARK, said))
    label = style.metric_label(metric)
    axes = [
        _across(scales["x"], f"in sample: {label}", metric),
        value_axis(scales["y"], label, 5, metric),
    ]
    axes[1].label = "out of sample"
    return [style.legend(entries, heading), panel_figure(marks, axes, 300, bottom=52)]


def _dots(
    x: Array, y: Array, colour: str, marker: str, size: int, look: Mapping[str, Any]
) -> bq.Scatter:
    return bq.Scatter(
        x=x,
        y=y,
        marker=marker,
        colors=[colour],
        stroke=colour,
        default_size=size,
        opacities=[0.85] * len(x),
        **look,
    )


def _across(scale: bq.LinearScale, label: str, metric: str) -> bq.Axis:
    values, step = style.ticks(scale.min, scale.max, 8)
    return bq.Axis(
        scale=scale,
        label=label,
        label_color=style.TEXT,
        tick_values=values,
        tick_format=style.metric_format(metric, step),
    )
