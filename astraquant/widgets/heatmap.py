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
from .parameter_axes import (
    check_labels,
    name_of,
    number_axis,
    parameter_axis,
    say_parameter,
    say_value,
)

Array = np.ndarray[Any, Any]
Callback = Callable[[Any, Any], object]


class HeatmapChart(style.Chart):
    """A heat map that says which cell was clicked; made by `heatmap_chart`."""

    def __init__(
        self,
        values: pd.DataFrame,
        metric: str,
        title: str,
        note: str,
        best: _Cell | None,
        span: Span | None,
        room: float,
    ) -> None:
        """Put the parts together; the arguments were checked by `heatmap_chart`."""
        self._callbacks: list[Callback] = []
        room = min(room, COLUMN * max(values.shape[1], FEWEST_COLUMNS))
        self._axes = [
            parameter_axis(values.columns, name_of(values.columns, "column"), "bottom", room),
            parameter_axis(values.index, name_of(values.index, "row"), "left"),
        ]
        self._image = self._mark_image(*values.shape)
        self._best, self._cursor = self._mark_cell("diamond"), self._mark_cell("cross")
        marks = [self._image, self._best, self._cursor]
        self._plot, height = _plot(marks, self._axes, *values.shape)
        self._bar = _ColourBar(height)
        picture = ipw.HBox([self._plot, self._bar.figure])
        self._head, self._legend = style.header(""), style.legend([])
        self._readout = style.legend([])
        super().__init__([self._head, self._legend, picture, self._readout], "")
        self._fill(values, metric, title, note, best, span)

    def show(
        self,
        values: pd.DataFrame,
        *,
        metric: str,
        title: str,
        note: str = "",
        mark_best: tuple[Hashable, Hashable] | None = None,
        span: Span | None = None,
    ) -> None:
        """Draw other values of the same cells into the same figure; the cursor stays where it is.

        The arguments are those of `heatmap_chart`. Raises `DataError` for other rows or columns.
        """
        for axis, labels, what in (
            (self._values.index, values.index, "rows"),
            (self._values.columns, values.columns, "columns"),
        ):
            if not axis.equals(labels) or axis.names != labels.names:
                raise DataError(
                    f"other {what} than this heat map has: {name_of(labels, 'value')} "
                    f"({len(labels)} values) instead of {name_of(axis, 'value')} ({len(axis)}). "
                    "Draw a new one with heatmap_chart."
                )
        self._fill(values, metric, title, note, _place(values, mark_best), span)

    def move_cursor(self, cell: tuple[Hashable, Hashable] | None) -> None:
        """Put the cursor on the cell of (x value, y value) and read it; None takes it away.

        No callback is called. Raises `DataError` for a cell that there is not.
        """
        place = _place(self._values, cell, "cell")
        with self._cursor.hold_sync():
            self._cursor.visible = place is not None
            if place is not None:
                _set_cell(self._cursor, place)
        self._read()

    def on_click(self, callback: Callback) -> None:
        """Call ``callback(x value, y value)`` with the parameters of each cell that is clicked."""
        self._callbacks.append(callback)

    def _fill(
        self,
        values: pd.DataFrame,
        metric: str,
        title: str,
        note: str,
        best: _Cell | None,
        span: Span | None,
    ) -> None:
        self._values, self._metric = values, metric
        cells = values.to_numpy(float)
        known = np.isfinite(cells)
        self._low, self._high = _range(np.append(cells[known], span or ()))
        _change_image(self._image, _png(cells, self._low, self._high, metric))
        entries = []
        with self._best.hold_sync():
            self._best.visible = best is not None
            if best is not None:
                _set_cell(self._best, best)
                entries.append(("◇", style.TEXT, f"best: {self._say(*best)}"))
        if not known.all():
            count = f"{known.size - known.sum():,} of {known.size:,} cells"
            entries.append(("■", style.MISSING, f"no value ({count})"))
        self._bar.show(self._low, self._high, metric, visible=bool(known.any()))
        synthetic = is_synthetic(values.attrs.get("source"))
        self._head.value = style.header_html(title, synthetic=synthetic, note=note)
        self._legend.value = style.legend_html(entries, style.metric_label(metric))
        rows, columns = cells.shape
        across, up = name_of(values.columns, "column"), name_of(values.index, "row")
        told = f"{title}, {note}" if note else title
        self._summary = f"HeatmapChart({told}, {metric} over {across} ({columns}) × {up} ({rows}))"
        self._read()

    def _read(self) -> None:
        """Say what stands in the cell under the cursor."""
        if self._cursor.visible:
            cell = int(self._cursor.x[0]), int(self._cursor.y[0])
            self._readout.value = style.legend_html([("✚", style.TEXT, self._say(*cell))])
            return
        known = np.isfinite(self._values.to_numpy(float)).any()
        hint = "Click a cell to read it." if known else "No cell has a value."
        self._readout.value = style.legend_html([("", style.TEXT, hint)])

    def _mark_image(self, rows: int, columns: int) -> bq.Image:
        mark = bq.Image(
            image=ipw.Image(format="png"),
            scales={"x": self._axes[0].scale, "y": self._axes[1].scale},
            x=np.array([-0.5, columns - 0.5]),
            y=np.array([-0.5, rows - 0.5]),
        )
        mark.on_element_click(
            lambda _, event: self._choose(event["data"]["click_x"], event["data"]["click_y"])
        )
        return mark

    def _mark_cell(self, marker: str) -> bq.Scatter:
        mark = bq.Scatter(
            x=np.array([0.0]),
            y=np.array([0.0]),
            scales={"x": self._axes[0].scale, "y": self._axes[1].scale},
            marker=marker,
            colors=["white"],
            stroke="black",
            stroke_width=1.5,
            default_size=90,
            visible=False,
            apply_clip=False,  # else it would be cut in half in a small cell at the edge
        )
        mark.on_element_click(lambda *_: self._choose(mark.x[0], mark.y[0]))  # it hides its cell
        return mark

    def _choose(self, x: float, y: float) -> None:
        """A click at ``x``, ``y`` in cells from the lower left one."""
        rows, columns = self._values.shape
        column = min(max(round(x), 0), columns - 1)
        row = min(max(round(y), 0), rows - 1)
        with self._cursor.hold_sync():
            _set_cell(self._cursor, (column, row))
            self._cursor.visible = True
        self._read()
        for callback in self._callbacks:
            callback(self._values.columns.tolist()[column], self._values.index.tolist()[row])

    def _say(self, column: int, row: int) -> str:
        value = float(self._values.to_numpy(float)[row, column])
        names = name_of(self._values.columns, "column"), name_of(self._values.index, "row")
        labels = say_parameter(self._values.columns[column]), say_parameter(self._values.index[row])
        where = ", ".join(f"{name} {label}" for name, label in zip(names, labels, strict=True))
        return f"{where} → {say_value(value, self._metric, self._high - self._low)}"


_Cell = tuple[int, int]  # column and row
Span = tuple[float, float]
ROOM = 480  # pixels for the cells where a page is narrow
COLUMN, FEWEST_COLUMNS = 80, 4  # pixels of the widest cell; no picture is narrower than so many


def heatmap_chart(
    values: pd.DataFrame,
    *,
    metric: str,
    title: str,
    note: str = "",
    mark_best: tuple[Hashable, Hashable] | None = None,
    span: Span | None = None,
    room: float = ROOM,
) -> HeatmapChart:
    """Draw ``values`` of ``metric`` as a heat map.

    values: rows are the values of one parameter (drawn upwards), columns those of another (drawn to
        the right), named by ``index.name`` and ``columns.name``. Cells are of equal size and in the
        given order whatever the steps between the parameters; uneven steps are named on the axis.
        NaN and infinite cells are grey and counted in the legend.
    ``attrs["source"]`` that says "synthetic" puts a badge beside the title.
    metric: sets name, unit and colours: red to blue around zero where the sign says loss or gain.
    note: said in small beside the title.
    mark_best: (x value, y value) of the cell to mark as the best.
    span: values (lowest, highest) that the colours span too: maps given the same can be compared.
    room: pixels that all cells have side by side at the least; labels that would touch are left
        out.

    Raises `DataError` for an empty table, several index levels, repeated values or an unknown best.
    """
    for axis, what in ((values.index, "rows"), (values.columns, "columns")):
        check_labels(axis, what)
    return HeatmapChart(values, metric, title, note, _place(values, mark_best), span, room)


def _place(
    values: pd.DataFrame, cell: tuple[Hashable, Hashable] | None, what: str = "mark_best"
) -> _Cell | None:
    """Column and row of (x value, y value); `DataError` if there is no such cell."""
    if cell is None:
        return None
    places = []
    for value, labels in zip(cell, (values.columns, values.index), strict=True):
        if value not in labels:
            known = unknown(name_of(labels, "value"), value, labels)
            raise DataError(f"{what}=(x value, y value): {known}")
        places.append(labels.tolist().index(value))
    return places[0], places[1]


def _set_cell(mark: bq.Scatter, cell: _Cell) -> None:
    mark.x, mark.y = np.array([float(cell[0])]), np.array([float(cell[1])])


def _change_image(mark: bq.Image, png: bytes) -> None:
    """Show another picture: bqplot notices a new widget only, and the former one is in the way."""
    if not mark.image.value:  # nobody has seen it yet
        mark.image.value = png
        return
    former = mark.image
    mark.image = ipw.Image(value=png, format="png")
    for widget in (former, former.layout):
        widget.close()


class LineChart(style.Chart):
    """A line over one parameter that says which point was clicked; made by `line_chart`."""

    _values: pd.Series
    _at: Array  # where each value stands on the axis
    _cursor: bq.Scatter
    _dots: bq.Scatter

    def on_click(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback(parameter value)`` for each point that is clicked."""
        known = np.flatnonzero(np.isfinite(self._values.to_numpy(float)))
        labels = self._values.index.tolist()
        self._dots.on_element_click(
            lambda _, event: callback(labels[known[int(event["data"]["index"])]])
        )

    def move_cursor(self, value: Hashable | None) -> None:
        """Put the cursor over a parameter value, at the lower edge if nothing is known there.

        None takes it away. Raises `DataError` for a value that there is not.
        """
        labels = self._values.index
        if value is not None and value not in labels:
            raise DataError(unknown(name_of(labels, "value"), value, labels))
        with self._cursor.hold_sync():
            self._cursor.visible = value is not None
            if value is not None:
                place = labels.tolist().index(value)
                height = float(self._values.iloc[place])
                lowest = self._cursor.scales["y"].min
                self._cursor.x = self._at[[place]]
                self._cursor.y = np.array([height if math.isfinite(height) else lowest])


def line_chart(values: pd.Series, *, metric: str, title: str, note: str = "") -> LineChart:
    """Draw ``values`` of ``metric`` over the values of one parameter (the named index).

    The highest value is marked (the lowest where less is better, as in fees), NaN leaves a hole.
    ``attrs["source"]`` that says "synthetic" puts a badge beside the title; ``note`` stands there
    in small. A numeric parameter has a numeric axis; others stand side by side in the given order.
    Raises `DataError` for an empty series, several index levels or repeated values.
    """
    check_labels(values.index, "values")
    numbers = values.to_numpy(float)
    known = np.isfinite(numbers)
    name = name_of(values.index, "value")
    numeric = pd.api.types.is_numeric_dtype(values.index)
    numeric = numeric and bool(np.isfinite(values.index.to_numpy(float)).all())
    at = values.index.to_numpy(float) if numeric else np.arange(float(len(values)))
    x = number_axis(at, name) if numeric else parameter_axis(values.index, name, "bottom")
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
    size = 28 if known.sum() <= 60 else 8
    dots = bq.Scatter(x=at[known], y=numbers[known], default_size=size, **look)
    marks: list[bq.Mark] = [dots]
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
        value = say_value(numbers[place], metric, high - low)
        where = f"{name} {say_parameter(values.index[place])}"
        text = f"{'lowest' if less else 'highest'}: {where} → {value}"
        entries.insert(0, ("◆", style.LINES[0], text))
    cursor = bq.Scatter(
        x=at[:1], y=np.array([low]), marker="cross", stroke=style.TEXT, stroke_width=1.5,
        default_size=110, visible=False, scales=scales, colors=["transparent"],
    )  # fmt: skip
    marks.append(cursor)
    figure = _figure(marks, [x, y], "100%", 320, {"top": 8, "bottom": 56, "left": 90, "right": 32})
    told = f"{title}, {note}" if note else title
    summary = f"LineChart({told}, {metric} over {name} ({len(values)}))"
    head = style.header(title, synthetic=is_synthetic(values.attrs.get("source")), note=note)
    chart = LineChart([head, style.legend(entries), figure], summary)
    chart._values, chart._at, chart._cursor, chart._dots = values, at, cursor, dots
    return chart


def span_of(values: pd.Series) -> Span | None:
    """The lowest and the highest of the finite ``values``, None if there is none."""
    numbers = values.to_numpy(float)
    known = numbers[np.isfinite(numbers)]
    return (float(known.min()), float(known.max())) if len(known) else None


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


class _ColourBar:
    """Which colour stands for which value."""

    def __init__(self, height: int) -> None:
        self._height = height
        x = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._scale = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._axis = bq.Axis(
            scale=self._scale,
            side="right",
            label_offset="58px",
            label_color=style.TEXT,
            grid_lines="none",
        )
        self._image = bq.Image(
            image=ipw.Image(format="png"),
            scales={"x": x, "y": self._scale},
            x=np.array([0.0, 1.0]),
            y=np.array([0.0, 1.0]),
        )
        margin = {"top": 10, "bottom": 60, "left": 10, "right": 84}
        self.figure = _figure([self._image], [self._axis], "114px", height, margin)

    def show(self, low: float, high: float, metric: str, *, visible: bool) -> None:
        """Span ``low`` to ``high``; what is not ``visible`` keeps its place."""
        self._axis.visible = self._image.visible = visible
        marked, step = style.ticks(low, high, max(3, self._height // 55))
        with self._scale.hold_sync():
            self._scale.min, self._scale.max = low, high
        self._axis.label = style.metric_label(metric)
        style.set_ticks(self._axis, marked, style.metric_format(metric, step))
        png = _png(np.linspace(low, high, colours.LEVELS)[:, None], low, high, metric)
        self._image.y = np.array([low, high])
        _change_image(self._image, png)


def _plot(
    marks: list[bq.Mark], axes: list[bq.Axis], rows: int, columns: int
) -> tuple[bq.Figure, int]:
    """The heat map itself and its height: few cells get a small picture, not huge cells."""
    left = 40 + 7 * max(len(label) for label in axes[1].tick_labels.values())
    axes[1].label_offset = f"{left - 22}px"
    height, width = (
        70 + min(370, 60 * max(rows, 2)),
        left + 20 + COLUMN * max(columns, FEWEST_COLUMNS),
    )
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
