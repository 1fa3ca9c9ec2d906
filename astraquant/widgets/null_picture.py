"""A permutation test as a picture: the observed best against what chance alone gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np

from ..candles import is_synthetic
from ..permutations import at_least_as_good
from . import style
from .chart import panel_figure
from .parameter_axes import say_value

if TYPE_CHECKING:
    from ..permutations import PermutationTest

Array = np.ndarray[Any, Any]
MOST_BINS = 30
FEWEST_BINS = 12  # in view, so that a single bar is no wall


class NullChart(style.Chart):
    """A histogram of the shuffled markets' best; made by `null_chart`."""


def null_chart(test: PermutationTest) -> NullChart:
    """Draw a permutation test.

    Bars count the shuffled markets by their best; those at least as good as the observed best,
    which is a line, have another colour. Markets without a value can't be drawn and are counted in
    the legend. Candles that say "synthetic" get a badge beside the title.
    """
    known = test.null[np.isfinite(test.null)]
    edges = _edges(known, test.observed)
    beaten = at_least_as_good(known, test.observed, test.metric)
    counts = [np.histogram(values, edges)[0] for values in (known[~beaten], known[beaten])]
    most = float(max(np.sum(counts, axis=0).max(), 1))
    scales = {
        "x": bq.LinearScale(min=edges[0], max=edges[-1], allow_padding=False),
        "y": bq.LinearScale(min=0.0, max=1.2 * most, allow_padding=False),
    }
    bars = bq.Bars(
        x=(edges[:-1] + edges[1:]) / 2,
        y=np.array(counts, dtype=float),
        scales=scales,
        type="stacked",
        colors=[style.BENCHMARK, style.DRAWDOWN],
        padding=0.08,
    )
    marks = [bars, *_observed(test, edges, most, scales)]
    figure = panel_figure(marks, _axes(test.metric, edges, scales), 300, bottom=52)
    trials = f"{test.trials:,} trial{'' if test.trials == 1 else 's'}"
    note = f"{test.strategy} · {trials} · {test.days}"
    head = style.header(test.answer, synthetic=is_synthetic(test.source), note=note)
    legend = style.legend(_entries(test, len(known)), "Best of the search on each shuffled market")
    told = f"{test.strategy}, best {test.metric}, p = {test.p_value:.3g}, {test.n:,} markets"
    return NullChart([head, legend, figure], f"NullChart({told})")


def _edges(known: Array, observed: float) -> Array:
    """Equal bins over all values and the observed one, their width a round number.

    The width is Freedman and Diaconis', but no more than `MOST_BINS` are filled.
    """
    values = np.append(known, observed)
    low, high = float(values.min()), float(values.max())
    span = high - low
    if span == 0.0:
        span = abs(low) or 1.0
    quartiles = np.quantile(values, [0.25, 0.75])
    wished = 2 * float(quartiles[1] - quartiles[0]) / float(np.cbrt(len(values)))
    width = style.nice_step(span, max(1, min(MOST_BINS, int(span / wished) if wished else 1)))
    first, last = int(np.floor(low / width)), int(np.floor(high / width)) + 1
    few = max(0, FEWEST_BINS - (last - first))
    room = max(1, (few + 1) // 2)
    return np.arange(first - room, last + room + 1) * width


def _observed(
    test: PermutationTest, edges: Array, most: float, scales: dict[str, Any]
) -> list[bq.Mark]:
    """A line at the observed best, and its label on the side that has more room."""
    at, middle = test.observed, (edges[0] + edges[-1]) / 2
    line = bq.Lines(
        x=np.array([at, at]),
        y=np.array([0.0, 1.16 * most]),
        scales=scales,
        colors=[style.EQUITY],
        stroke_width=2.5,
    )
    text = say_value(at, test.metric, float(edges[-1] - edges[0]))
    label = bq.Label(
        x=np.array([at]),
        y=np.array([1.1 * most]),
        text=[f"observed best: {text}"],
        scales=scales,
        colors=[style.TEXT],
        default_size=13,
        font_weight="bold",
        align="start" if at < middle else "end",
        x_offset=8 if at < middle else -8,
    )
    return [line, label]


def _entries(test: PermutationTest, known: int) -> list[tuple[str, str, str]]:
    beaten = test.beaten
    entries = [
        ("■", style.BENCHMARK, f"worse than the observed best ({known - beaten:,})"),
        ("■", style.DRAWDOWN, f"at least as good ({beaten:,})"),
        ("┃", style.EQUITY, "observed on the candles as they are"),
    ]
    if known < len(test.null):
        entries.append(("", style.TEXT, f"no value ({len(test.null) - known:,}): not as good"))
    return entries


def _axes(metric: str, edges: Array, scales: dict[str, Any]) -> list[ipw.Widget]:
    across, step = style.ticks(edges[0], edges[-1], 9)
    up, up_step = style.ticks(0.0, scales["y"].max, 5)
    return [
        bq.Axis(
            scale=scales["x"],
            label=f"best {style.metric_label(metric)}",
            label_offset="36px",
            label_color=style.TEXT,
            tick_values=across,
            tick_format=style.metric_format(metric, step),
            grid_lines="none",
        ),
        bq.Axis(
            scale=scales["y"],
            side="left",
            label="shuffled markets",
            label_offset="66px",
            label_color=style.TEXT,
            tick_values=up[up == np.rint(up)],
            tick_format=style.number_format(max(up_step, 1.0)),
        ),
    ]
