"""A sweep as a picture: a heat map over two parameters, a line over one."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Hashable
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd
from PIL import Image

from ..candles import is_synthetic
from ..errors import DataError, unknown
from ..metrics import LOWER_IS_BETTER
from . import colours, style

Array = np.ndarray[Any, Any]
LABELLED = 12  # of an axis with more values than these only some are labelled
Callback = Callable[[Any, Any], object]


class HeatmapChart(style.Chart):
    """A heat map that says which cell was clicked; made by `heatmap_chart`."""

    def __init__(self, values: pd.DataFrame, metric: str, title: str, best: _Cell | None) -> None:
        """Put the parts together; the arguments were checked by `heatmap_chart`."""
        self._values, self._metric = values, metric
        self._callbacks: list[Callback] = []
        cells = values.to_numpy(float)
        known = np.isfinite(cells)
        self._low, self._high = _range(cells[known])
        bounds = (self._low, self._high, metric)
        self._axes = [
            _parameter_axis(values.columns, _name(values.columns, "column"), "bottom"),
            _parameter_axis(values.index, _name(values.index, "row"), "left"),
        ]
        image = self._mark_image(_png(cells, *bounds))
        self._cursor = self._mark_cell((0, 0), "cross", visible=False)
        marks = [image, self._cursor]
        entries = []
        if best:
            marks.insert(1, self._mark_cell(best, "diamond"))
            entries.append(("◇", style.TEXT, f"best: {self._say(*best)}"))
        if not known.all():
            count = f"{known.size - known.sum():,} of {known.size:,} cells"
            entries.append(("■", style.MISSING, f"no value ({count})"))
        plot, height = _plot(marks, self._axes, *cells.shape)
        bar = [_colour_bar(*bounds, height)] if known.any() else []
        hint = "Click a cell to read it." if known.any() else "No cell has a value."
        self._readout = style.legend([("", style.TEXT, hint)])
        head = [
            style.header(title, synthetic=is_synthetic(values.attrs.get("source"))),
            style.legend(entries, style.metric_label(metric)),
        ]
        rows, columns = cells.shape
        across, up = _name(values.columns, "column"), _name(values.index, "row")
        summary = f"HeatmapChart({title}, {metric} over {across} ({columns}) × {up} ({rows}))"
        super().__init__([*head, ipw.HBox([plot, *bar]), self._readout], summary)

    def on_click(self, callback: Callback) -> None:
        """Call ``callback(x value, y value)`` with the parameters of each cell that is clicked."""
        self._callbacks.append(callback)

    def _mark_image(self, png: bytes) -> bq.Image:
        rows, columns = self._values.shape
        mark = bq.Image(
            image=ipw.Image(value=png, format="png"),
            scales={"x": self._axes[0].scale, "y": self._axes[1].scale},
            x=np.array([-0.5, columns - 0.5]),
            y=np.array([-0.5, rows - 0.5]),
        )
        mark.on_element_click(
            lambda _, event: self._choose(event["data"]["click_x"], event["data"]["click_y"])
        )
        return mark

    def _mark_cell(self, cell: _Cell, marker: str, *, visible: bool = True) -> bq.Scatter:
        mark = bq.Scatter(
            x=np.array([float(cell[0])]),
            y=np.array([float(cell[1])]),
            scales={"x": self._axes[0].scale, "y": self._axes[1].scale},
            marker=marker,
            colors=["white"],
            stroke="black",
            stroke_width=1.5,
            default_size=90,
            visible=visible,
        )
        mark.on_element_click(lambda *_: self._choose(mark.x[0], mark.y[0]))  # it hides its cell
        return mark

    def _choose(self, x: float, y: float) -> None:
        """A click at ``x``, ``y`` in cells from the lower left one."""
        rows, columns = self._values.shape
        column = min(max(round(x), 0), columns - 1)
        row = min(max(round(y), 0), rows - 1)
        with self._cursor.hold_sync():
            self._cursor.x, self._cursor.y = np.array([float(column)]), np.array([float(row)])
            self._cursor.visible = True
        self._readout.value = style.legend([("✚", style.TEXT, self._say(column, row))]).value
        for callback in self._callbacks:
            callback(self._values.columns.tolist()[column], self._values.index.tolist()[row])

    def _say(self, column: int, row: int) -> str:
        value = float(self._values.to_numpy(float)[row, column])
        names = _name(self._values.columns, "column"), _name(self._values.index, "row")
        labels = _text(self._values.columns[column]), _text(self._values.index[row])
        where = ", ".join(f"{name} {label}" for name, label in zip(names, labels, strict=True))
        return f"{where} → {_say_value(value, self._metric, self._high - self._low)}"


_Cell = tuple[int, int]  # column and row


def heatmap_chart(
    values: pd.DataFrame,
    *,
    metric: str,
    title: str,
    mark_best: tuple[Hashable, Hashable] | None = None,
) -> HeatmapChart:
    """Draw ``values`` of ``metric`` as a heat map.

    values: rows are the values of one parameter (drawn upwards), columns those of another (drawn to
        the right), named by ``index.name`` and ``columns.name``. Cells are of equal size and in the
        given order whatever the steps between the parameters; uneven steps are named on the axis.
        NaN and infinite cells are grey and counted in the legend.
    ``attrs["source"]`` that says "synthetic" puts a badge beside the title.
    metric: sets name, unit and colours: red to blue around zero where the sign says loss or gain.
    mark_best: (x value, y value) of the cell to mark as the best.

    Raises `DataError` for an empty table, several index levels, repeated values or an unknown best.
    """
    for axis, what in ((values.index, "rows"), (values.columns, "columns")):
        _check(axis, what)
    best = None
    if mark_best is not None:
        places = []
        for value, labels in zip(mark_best, (values.columns, values.index), strict=True):
            if value not in labels:
                known = unknown(_name(labels, "value"), value, labels)
                raise DataError(f"mark_best=(x value, y value): {known}")
            places.append(labels.tolist().index(value))
        best = (places[0], places[1])
    return HeatmapChart(values, metric, title, best)


class LineChart(style.Chart):
    """A line over one parameter; made by `line_chart`."""


def line_chart(values: pd.Series, *, metric: str, title: str) -> LineChart:
    """Draw ``values`` of ``metric`` over the values of one parameter (the named index).

    The highest value is marked (the lowest where less is better, as in fees), NaN leaves a hole.
    ``attrs["source"]`` that says "synthetic" puts a badge beside the title.
    A numeric parameter has a numeric axis; others stand side by side in the given order. Raises
    `DataError` for an empty series, several index levels or repeated values.
    """
    _check(values.index, "values")
    numbers = values.to_numpy(float)
    known = np.isfinite(numbers)
    name = _name(values.index, "value")
    numeric = pd.api.types.is_numeric_dtype(values.index)
    at = values.index.to_numpy(float) if numeric else np.arange(float(len(values)))
    x = _number_axis(at, name) if numeric else _parameter_axis(values.index, name, "bottom")
    low, high = style.nice_range(numbers[known], pad=0.08) if known.any() else (0.0, 1.0)
    marked, step = style.ticks(low, high, 6)
    y = bq.Axis(
        scale=bq.LinearScale(min=low, max=high, allow_padding=False),
        side="left",
        label=style.metric_label(metric),
        label_offset="66px",
        label_color=style.TEXT,
        tick_values=marked,
        tick_format=style.metric_format(metric, step),
    )
    scales = {"x": x.scale, "y": y.scale}
    line = np.where(known, numbers, np.nan)
    look = {"scales": scales, "colors": [style.EQUITY]}
    marks: list[bq.Mark] = [
        bq.Scatter(
            x=at[known], y=numbers[known], default_size=28 if known.sum() <= 60 else 8, **look
        )
    ]
    if known.sum() > 1:
        first, last = np.flatnonzero(known)[[0, -1]]  # bqplot can't place an end without a value
        inner = slice(first, last + 1)
        marks.insert(0, bq.Lines(x=at[inner], y=line[inner], stroke_width=1.6, **look))
    entries = [("■", style.MISSING, f"no value ({(~known).sum():,} of {len(known):,})")]
    entries = entries if not known.all() else []
    if known.any():
        less = metric in LOWER_IS_BETTER
        place = int(np.nanargmin(line) if less else np.nanargmax(line))
        marks.append(
            bq.Scatter(
                x=at[[place]],
                y=numbers[[place]],
                scales=scales,
                marker="diamond",
                colors=[style.LINES[0]],
                stroke=style.LINES[0],
                default_size=110,
            )
        )
        value = _say_value(numbers[place], metric, high - low)
        text = f"{'lowest' if less else 'highest'}: {name} {_text(values.index[place])} → {value}"
        entries.insert(0, ("◆", style.LINES[0], text))
    figure = _figure(marks, [x, y], "100%", 320, {"top": 8, "bottom": 56, "left": 90, "right": 32})
    summary = f"LineChart({title}, {metric} over {name} ({len(values)}))"
    head = style.header(title, synthetic=is_synthetic(values.attrs.get("source")))
    return LineChart([head, style.legend(entries), figure], summary)


def _check(labels: pd.Index, what: str) -> None:
    if not len(labels):
        raise DataError(f"nothing to draw: there are no {what}. Sweep at least one combination.")
    if labels.nlevels > 1:
        raise DataError(
            f"the {what} have {labels.nlevels} levels {list(labels.names)}; an axis shows one "
            "parameter. Choose a value of the others first: .xs(value, level=name)."
        )
    if not labels.is_unique:
        again = labels[labels.duplicated()].tolist()[0]
        raise DataError(
            f"the {what} have {again!r} twice; expected each parameter value once. "
            "Choose a value of the other parameters first."
        )


def _range(known: Array) -> tuple[float, float]:
    """Lowest and highest value, some room around them where they are equal."""
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if low < high else style.nice_range(known)


def _png(cells: Array, low: float, high: float, metric: str) -> bytes:
    """The cells as a PNG of one pixel each, first row at the bottom."""
    known = np.isfinite(cells)
    share = (np.where(known, cells, low) - low) / (high - low)
    level = np.where(known, np.round(share * (colours.LEVELS - 1)), colours.LEVELS).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(level[::-1]))
    missing = bytes.fromhex(style.MISSING[1:])
    colour = colours.palette(low, high, signed=metric in style.SIGNED).tobytes()
    image.putpalette(colour + missing[:3])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=b"\xff" * colours.LEVELS + missing[3:])
    return file.getvalue()


def _colour_bar(low: float, high: float, metric: str, height: int) -> bq.Figure:
    marked, step = style.ticks(low, high, max(3, height // 55))
    x = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
    y = bq.LinearScale(min=low, max=high, allow_padding=False)
    axis = bq.Axis(
        scale=y,
        side="right",
        label=style.metric_label(metric),
        label_offset="58px",
        label_color=style.TEXT,
        tick_values=marked,
        tick_format=style.metric_format(metric, step),
        grid_lines="none",
    )
    png = _png(np.linspace(low, high, colours.LEVELS)[:, None], low, high, metric)
    bar = bq.Image(
        image=ipw.Image(value=png, format="png"),
        scales={"x": x, "y": y},
        x=np.array([0.0, 1.0]),
        y=np.array([low, high]),
    )
    margin = {"top": 10, "bottom": 60, "left": 10, "right": 84}
    return _figure([bar], [axis], "114px", height, margin)


def _plot(
    marks: list[bq.Mark], axes: list[bq.Axis], rows: int, columns: int
) -> tuple[bq.Figure, int]:
    """The heat map itself and its height: few cells get a small picture, not huge cells."""
    left = 40 + 7 * max(len(label) for label in axes[1].tick_labels.values())
    axes[1].label_offset = f"{left - 22}px"
    height, width = 70 + min(370, 60 * max(rows, 2)), left + 20 + 80 * max(columns, 4)
    margin = {"top": 10, "bottom": 60, "left": left, "right": 20}
    return _figure(marks, axes, f"min(100%, {width}px)", height, margin), height


def _figure(
    marks: list[bq.Mark], axes: list[bq.Axis], width: str, height: int, margin: dict[str, int]
) -> bq.Figure:
    return bq.Figure(
        marks=marks,
        axes=axes,
        fig_margin=margin,
        padding_y=0.0,
        display_toolbar=False,
        layout=ipw.Layout(width=width, height=f"{height}px", flex="0 1 auto", min_width="110px"),
    )


def _parameter_axis(labels: pd.Index, name: str, side: str) -> bq.Axis:
    """An axis of equal cells: cell k lies at k and bears the k-th parameter value."""
    shown = _labelled(labels)
    uneven = pd.api.types.is_numeric_dtype(labels) and not _even(labels.to_numpy(float))
    return bq.Axis(
        scale=bq.LinearScale(min=-0.5, max=len(labels) - 0.5, allow_padding=False),
        side=side,
        label=f"{name} (uneven steps)" if uneven else name,
        label_color=style.TEXT,
        label_offset="40px",
        tick_values=np.array(shown, dtype=float),
        tick_labels={str(k): _text(labels[k]) for k in shown},
        grid_lines="none",
    )


def _number_axis(at: Array, name: str) -> bq.Axis:
    low, high = style.nice_range(at)
    values, step = style.ticks(low, high, 10)
    return bq.Axis(
        scale=bq.LinearScale(min=low, max=high, allow_padding=False),
        label=name,
        label_color=style.TEXT,
        label_offset="40px",
        tick_values=values,
        tick_format=style.number_format(step),
    )


def _labelled(labels: pd.Index) -> list[int]:
    """Which cells get a label: all of a few, else those at round values, else every n-th."""
    count = len(labels)
    if count <= LABELLED:
        return list(range(count))
    if pd.api.types.is_numeric_dtype(labels) and _even(numbers := labels.to_numpy(float)):
        step = style.nice_step(float(np.ptp(numbers)), LABELLED - 1)
        for multiple in (step, 2 * step):  # 2 * step: where 1, 2, 5 does not hit the values
            hits = np.flatnonzero(np.abs(numbers / multiple - np.round(numbers / multiple)) < 1e-9)
            if len(hits) > LABELLED // 3:
                return [int(k) for k in hits]
    return list(range(0, count, math.ceil(count / LABELLED)))


def _even(numbers: Array) -> bool:
    steps = np.diff(numbers)
    return bool(len(steps) < 2 or np.allclose(steps, steps[0], rtol=1e-6))


def _name(labels: pd.Index, what: str) -> str:
    return what if labels.name is None else str(labels.name)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _say_value(value: float, metric: str, span: float) -> str:
    """A value in words, to about a thousandth of the picture's range."""
    name = metric.replace("_", " ")
    if not math.isfinite(value):
        return f"no {name}"
    step = max(span / 500, abs(value) / 2_000)
    return f"{name} {value:{style.metric_format(metric, step)}}"
