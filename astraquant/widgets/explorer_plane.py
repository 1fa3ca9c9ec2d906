"""The explorer's left picture: a metric of a sweep over two of its levels, or over its only one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..metrics import best_place
from ..sweeping import Sweep
from . import style
from .heatmap import HeatmapChart, LineChart, heatmap_chart, line_chart, span_of

ROOM = 190  # pixels for the cells where the explorer's left half is narrowest
Pick = Callable[[dict[str, Any]], object]


class Plane:
    """Holds the picture; ``pick`` is called with the levels' values of each cell clicked."""

    def __init__(self, pick: Pick) -> None:
        self._pick = pick
        self.box = ipw.VBox(layout=ipw.Layout(width="100%"))
        self._chart: HeatmapChart | LineChart | None = None
        self._shown: tuple[Any, ...] = ()
        self._fixed: Mapping[str, Any] = {}
        self._axes: tuple[str, ...] = ()

    def show(
        self,
        sweep: Sweep,
        metric: str,
        axes: tuple[str, ...],
        fixed: Mapping[str, Any],
        title: str,
    ) -> None:
        """Draw ``metric`` over the levels ``axes``, the other levels being ``fixed``.

        Nothing is done where that is what it shows already.
        """
        wanted = (sweep, metric, axes, tuple(fixed.items()), title)
        if wanted == self._shown:
            return
        same_cells = axes == self._axes and self._chart is not None
        self._shown, self._fixed, self._axes = wanted, fixed, axes
        values, luck = cells_of(sweep, metric, axes, fixed), sweep.luck.words
        if len(axes) == 1:
            self._replace(line_chart(values.iloc[0], metric=metric, title=title, note=luck))
            return
        best, span = best_cell(values, metric), span_of(sweep.table[metric])
        if same_cells and isinstance(self._chart, HeatmapChart):
            self._chart.show(
                values, metric=metric, title=title, note=luck, mark_best=best, span=span
            )
        else:
            chart = heatmap_chart(
                values, metric=metric, title=title, note=luck, mark_best=best, span=span, room=ROOM
            )
            self._replace(chart)

    def point_at(self, choice: Mapping[str, Any] | None) -> None:
        """Put the cursor on the cell of ``choice`` (a value of each axis), or take it away."""
        cell = None if choice is None else tuple(choice[name] for name in self._axes)
        if isinstance(self._chart, LineChart):
            self._chart.move_cursor(cell[0] if cell else None)
        elif self._chart is not None:
            self._chart.move_cursor((cell[0], cell[1]) if cell else None)

    def _replace(self, chart: HeatmapChart | LineChart) -> None:
        former, self._chart = self._chart, chart
        chart.on_click(self._choose)
        self.box.children = [chart]
        if former is not None:
            style.close_all(former)

    def _choose(self, *cell: Any) -> None:
        self._pick({**self._fixed, **dict(zip(self._axes, cell, strict=True))})


def cells_of(
    sweep: Sweep, metric: str, axes: tuple[str, ...], fixed: Mapping[str, Any]
) -> pd.DataFrame:
    """``metric`` as a table, NaN where there is no row: columns are the first axis, rows the last.

    Of a single axis the table has one row.
    """
    index, levels = sweep.table.index, sweep.grid.levels
    chosen = np.ones(len(index), bool)
    for name, value in fixed.items():
        chosen &= index.get_level_values(name) == value
    labels = [pd.Index(levels[name], name=name, tupleize_cols=False) for name in axes]
    places = [axis.get_indexer(index.get_level_values(axis.name)[chosen]) for axis in labels]
    rows = labels[1] if len(axes) > 1 else pd.Index([metric])
    cells = np.full((len(rows), len(labels[0])), np.nan)
    row = places[1] if len(axes) > 1 else 0
    cells[row, places[0]] = sweep.table[metric].to_numpy(float)[chosen]
    return pd.DataFrame(cells, index=rows, columns=labels[0])


def best_cell(values: pd.DataFrame, metric: str) -> tuple[Any, Any] | None:
    """(column, row) of the best value, None if there is none."""
    place = best_place(values.to_numpy(float), metric)
    if place is None:
        return None
    row, column = divmod(place, values.shape[1])
    return values.columns.tolist()[column], values.index.tolist()[row]
