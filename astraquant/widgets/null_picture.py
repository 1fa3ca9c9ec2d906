"""A permutation test as a picture: the observed best against what chance alone gives."""

from __future__ import annotations

import math
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
ROOM = 1.32  # the axis goes so far beyond the highest bar: two labels stand there
ROUGHEST = 16  # of few values Freedman and Diaconis would make two wide bars


class NullChart(style.Chart):
    """A histogram of the shuffled markets' best; made by `null_chart`."""


def null_chart(test: PermutationTest) -> NullChart:
    """Draw a permutation test.

    Bars count the shuffled markets by their best; those at least as good as the observed best,
    which is a line, have another colour. A thinner line is what holding has, where there is such a
    figure. Markets without a value can't be drawn and are counted in the legend. Candles that say
    "synthetic" get a badge beside the title.
    """
    known = test.null[np.isfinite(test.null)]
    lines = np.array([test.observed, test.buy_and_hold])
    edges = _edges(known, lines[np.isfinite(lines)])
    beaten = at_least_as_good(known, test.observed, test.metric)
    counts = [np.histogram(values, edges)[0] for values in (known[~beaten], known[beaten])]
    most = float(max(np.sum(counts, axis=0).max(), 1))
    scales = {
        "x": bq.LinearScale(min=edges[0], max=edges[-1], allow_padding=False),
        "y": bq.LinearScale(min=0.0, max=ROOM * most, allow_padding=False),
    }
    bars = bq.Bars(
        x=(edges[:-1] + edges[1:]) / 2,
        y=np.array(counts, dtype=float),
        scales=scales,
        type="stacked",
        colors=[style.BENCHMARK, style.DRAWDOWN],
        padding=0.08,
    )
    marks = [bars, *_line(test, 0, edges, scales)]
    if math.isfinite(test.buy_and_hold):
        marks += _line(test, 1, edges, scales)
    figure = panel_figure(marks, _axes(test.metric, edges, scales), 300, bottom=52)
    trials = f"{test.trials:,} trial{'' if test.trials == 1 else 's'}"
    note = f"{test.strategy} · {trials} · {test.days}"
    head = style.header(test.answer, synthetic=is_synthetic(test.source), note=note)
    legend = style.legend(_entries(test, len(known)), "Best of the search on each shuffled market")
    told = f"{test.strategy}, best {test.metric}, p = {test.p_value:.3g}, {test.n:,} markets"
    return NullChart([head, legend, figure], f"NullChart({told})")


def _edges(known: Array, lines: Array) -> Array:
    """Equal bins over all values and the lines, their width a round number.

    The width is Freedman and Diaconis', but goes at most `MOST_BINS` times into the span, and is
    the next round number from a `ROUGHEST` of it on if that is less.
    """
    values = np.append(known, lines)
    low, high = float(values.min()), float(values.max())
    span = high - low
    if span == 0.0:
        span = abs(low) or 1.0
    quartiles = np.quantile(values, [0.25, 0.75])
    wished = 2 * float(quartiles[1] - quartiles[0]) / float(np.cbrt(len(values)))
    count = int(span / max(wished, span / MOST_BINS))
    width = style.nice_step(span, max(count, ROUGHEST))
    first, last = int(np.floor(low / width)), int(np.floor(high / width)) + 1
    few = max(0, FEWEST_BINS - (last - first))
    room = max(1, (few + 1) // 2)
    return np.arange(first - room, last + room + 1) * width


def _line(test: PermutationTest, place: int, edges: Array, scales: dict[str, Any]) -> list[bq.Mark]:
    """A line at the observed best (0) or at what holding has (1), and its label.

    The label is on the side that has more room; that of holding, the lower one, on the side where
    the other line does not cross it, if there is any room.
    """
    name, at, colour, width = (
        ("observed best", test.observed, style.EQUITY, 2.5),
        ("holding", test.buy_and_hold, style.TEXT, 1.2),
    )[place]
    top, share = scales["y"].max, (at - edges[0]) / (edges[-1] - edges[0])
    left = share < (0.5 if place == 0 else 0.7 if at >= test.observed else 0.3)
    line = bq.Lines(
        x=np.array([at, at]),
        y=np.array([0.0, (0.97, 0.88)[place] * top]),
        scales=scales,
        colors=[colour],
        stroke_width=width,
    )
    text = say_value(at, test.metric, float(edges[-1] - edges[0]))
    label = bq.Label(
        x=np.array([at]),
        y=np.array([(0.92, 0.82)[place] * top]),
        text=[f"{name}: {text}"],
        scales=scales,
        colors=[style.TEXT],
        default_size=13,
        font_weight="normal" if place else "bold",
        align="start" if left else "end",
        x_offset=8 if left else -8,
    )
    return [line, label]


def _entries(test: PermutationTest, known: int) -> list[tuple[str, str, str]]:
    beaten = test.beaten
    entries = [
        ("■", style.BENCHMARK, f"worse than the observed best ({known - beaten:,})"),
        ("■", style.DRAWDOWN, f"at least as good ({beaten:,})"),
        ("┃", style.EQUITY, "observed on the candles as they are"),
    ]
    if math.isfinite(test.buy_and_hold):
        entries.append(("│", style.TEXT, "buying once and holding"))
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
