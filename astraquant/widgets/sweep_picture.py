"""A picture of a sweep's values: a line over one level, a heat map over two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .heatmap import HeatmapChart, LineChart, heatmap_chart, line_chart


def sweep_picture(
    values: pd.Series,
    levels: Mapping[str, Sequence[Any]],
    *,
    metric: str,
    title: str,
    note: str,
    best: Any,
    span: tuple[float, float] | None,
    source: object,
) -> HeatmapChart | LineChart:
    """Draw ``values`` of ``metric``, whose index has one or two of the ``levels``.

    ``best``: the label of the one to mark in a heat map, None for none. ``span``: as in
    `heatmap_chart`. ``source``: where the candles come from. ``note``: said beside the title.
    """
    across, down = str(values.index.names[0]), str(values.index.names[-1])
    if values.index.nlevels == 1:
        line = values.set_axis(pd.Index(values.index.get_level_values(0), name=across))
        line.attrs["source"] = source
        return line_chart(line, metric=metric, title=title, note=note)
    plane = values.unstack(across).reindex(index=list(levels[down]), columns=list(levels[across]))
    plane.attrs["source"] = source
    return heatmap_chart(plane, metric=metric, title=title, note=note, mark_best=best, span=span)
