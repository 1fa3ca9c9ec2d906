"""The pictures of a dashboard that are no curves: returns of trades, and what is in position."""

from __future__ import annotations

from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..performance import return_histogram
from . import style
from .chart import TimeAxis, lines_mark, panel_figure, value_axis
from .dashboard_view import View

Array = np.ndarray[Any, Any]
BUCKETS = 300  # of the exposure: stretches of time, each shown by its mean
FEWEST_BINS = 10  # of the histogram, in view


def histogram_panel(view: View) -> list[ipw.Widget]:
    """How the returns of closed trades are spread: losses and wins."""
    edges, counts = return_histogram(view.results)
    won = edges[:-1] >= 0
    # At least so many bins are in view that a single one is no wall; both ends are edges.
    width = edges[1] - edges[0]
    left = right = max(0, FEWEST_BINS - len(counts)) // 2
    middle = edges[0] + width * (np.arange(-left, len(counts) + right) + 0.5)
    both = np.zeros((2, len(middle)))
    both[:, left : left + len(counts)] = np.where(won, 0, counts), np.where(won, counts, 0)
    low, high = middle[0] - width / 2, middle[-1] + width / 2
    scales = {
        "x": bq.LinearScale(min=low - width / 2, max=high + width / 2, allow_padding=False),
        "y": bq.LinearScale(min=0.0, max=1.08 * float(counts.max()), allow_padding=False),
    }
    bars = bq.Bars(
        x=middle,
        y=both,
        scales=scales,
        type="stacked",
        colors=[style.DRAWDOWN, style.LONG],
        padding=0.08,
    )
    entries = [
        ("■", style.DRAWDOWN, f"{int(counts[~won].sum()):,} not won"),
        ("■", style.LONG, f"{int(counts[won].sum()):,} won, after costs"),
    ]
    figure = panel_figure([bars], _histogram_axes(scales), 220, bottom=52)
    return [style.legend(entries, "Returns of trades"), figure]


def _histogram_axes(scales: dict[str, Any]) -> list[bq.Axis]:
    x, y = scales["x"], scales["y"]
    across, step = style.ticks(x.min, x.max, 9)
    up, up_step = style.ticks(0.0, y.max, 5)
    whole = up == np.rint(up)
    return [
        bq.Axis(
            scale=x,
            label="return of a trade (%)",
            label_offset="36px",
            label_color=style.TEXT,
            tick_values=across,
            tick_format=style.metric_format("expectancy", step),
            grid_lines="none",
        ),
        bq.Axis(
            scale=y,
            side="left",
            label="closed trades",
            label_offset="66px",
            label_color=style.TEXT,
            tick_values=up[whole],
            tick_format=style.number_format(max(up_step, 1.0)),
        ),
    ]


def exposure_steps(shares: pd.DataFrame) -> tuple[Array, Array]:
    """Shares in at most `BUCKETS` stretches of time, each by its mean.

    Edges: the first bar of each stretch, and the number of bars. Means: parts × edges, the last one
    twice, since a step holds from its edge to the next.
    """
    bars = len(shares)
    edges = np.unique(np.linspace(0, bars, min(BUCKETS, bars) + 1).astype(int))
    sums = np.add.reduceat(shares.to_numpy(float), edges[:-1], axis=0)
    means = (sums / np.diff(edges)[:, None]).T
    return edges, np.concatenate([means, means[:, -1:]], axis=1)


def exposure_panel(view: View) -> list[ipw.Widget]:
    """How much of equity is in position: the mean of each stretch of time, sold short below 0."""
    index, names = view.equity.index, list(map(str, view.invested.columns))
    edges, means = exposure_steps(view.invested)
    time = TimeAxis(index)
    low = min(0.0, float(np.minimum(means, 0).sum(axis=0).min()))
    high = max(float(np.maximum(means, 0).sum(axis=0).max()), 1.0 if low == 0 else 0.0)
    y = bq.LinearScale(min=1.05 * low, max=1.05 * high, allow_padding=False)
    scales = {"x": time.scale, "y": y}
    times = index[np.append(edges[:-1], len(index) - 1)]
    colours = [part_colour(name, place) for place, name in enumerate(names)]
    marks, entries = [], []
    for sign in (1.0, -1.0):
        chosen = [k for k in range(len(names)) if (sign * means[k]).max() > 0]
        if chosen:
            parts = np.maximum(sign * means[chosen], 0.0)
            own = [colours[k] for k in chosen]
            marks.append(_stack(times, sign * np.cumsum(parts, axis=0), own, scales))
            entries += [("■", colours[k], names[k]) for k in chosen]
    if not marks:
        entries.append(("", style.TEXT, "never in position"))
    elif len(edges) <= len(index):
        bars = round(len(index) / (len(edges) - 1))
        entries.append(("", style.TEXT, f"each step the mean of about {bars:,} bars"))
    axes = [time.axis(labelled=True), value_axis(y, "in position (% of equity)", 5, "exposure")]
    return [style.legend(entries, "Exposure"), panel_figure(marks, axes, 200, bottom=52)]


def _stack(times: pd.Index, sums: Array, colours: list[str], scales: dict[str, Any]) -> bq.Lines:
    """Parts on top of each other, the first at zero; ``sums``: up to and with each of them."""
    levels = np.concatenate([sums[::-1], np.zeros((1, sums.shape[1]))])
    fills = colours[::-1]
    look: dict[str, Any] = {
        "fill": "between",  # a line and the next one
        "fill_colors": fills,
        "fill_opacities": [0.55] * len(fills) + [0.0],
        "interpolation": "step-after",
        "stroke_width": 0.8,
    }
    return lines_mark(times, levels, scales, [*fills, style.BENCHMARK], **look)


def part_colour(name: str, place: int) -> str:
    """The colour of a side, or of a symbol by its place."""
    sides = {"long": style.LONG, "short": style.SHORT, "others": style.BENCHMARK}
    return sides.get(name) or (style.EQUITY, *style.LINES)[place % 5]
