"""The probability of overfitting as a picture: how what was best in one half fared in the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np

from ..candles import is_synthetic
from . import style
from .chart import panel_figure, value_axis

if TYPE_CHECKING:
    from .._searches import Pbo
    from ..honesty import Honesty

Array = np.ndarray[Any, Any]
DOTS = 2_000  # more can't be told apart
BINS = 20  # of ranks; an even number, for the middle must be an edge
FEW_BINS, FEW_TRIALS = 10, 100  # few trials have few ranks: narrow bins would hold now one, now two
COLUMN = {"min_width": "0", "overflow": "hidden"}
TITLE = "Chosen in one half of the time, judged in the other"


class LuckChart(style.Chart):
    """How the choice of one half of the time fared in the other; made by `luck_picture`."""


def luck_picture(honesty: Honesty) -> LuckChart:
    """Draw the probability of backtest overfitting (PBO) of a sweep.

    Left, a dot for each way to divide the time into two halves: the Sharpe ratio of the chosen
    trial in the half that it was chosen in, and in the other. Of more than `DOTS` so many are
    drawn, evenly taken in the order of the former, and the legend says so. Right, its rank among
    all trials in the other half (0 worst, 1 best), and below where the PBO lies in the band that
    noise gives. Prices that say "synthetic" get a badge beside the title.

    Without a PBO there is nothing to draw: the chart then says why.
    """
    pbo = honesty.pbo
    synthetic = is_synthetic(honesty.source)
    if math.isnan(pbo.probability):
        head = style.header(TITLE, synthetic=synthetic, note=honesty.luck.words)
        why = pbo.reason or "there is no probability of overfitting"
        said = style.legend([("○", style.BENCHMARK, f"{why}.")], "Nothing to draw:")
        return LuckChart([head, said], f"LuckChart(nothing to draw: {why})")
    head = style.header(TITLE, synthetic=synthetic, note=_note(pbo))
    left, right = _promise_panel(pbo), [*_rank_panel(pbo), *_band_panel(pbo)]
    sides = [
        ipw.VBox(parts, layout=ipw.Layout(flex="1 1 440px", **COLUMN)) for parts in (left, right)
    ]
    both = ipw.Box(sides, layout=ipw.Layout(flex_flow="row wrap", width="100%"))
    told = f"{pbo.trials:,} trials, PBO {pbo.probability:.2f}, {pbo.splits:,} splits"
    return LuckChart([head, both], f"LuckChart({told})")


def _note(pbo: Pbo) -> str:
    """What was divided, and into what; trials that took no part are told."""
    left_out = f" ({len(pbo.left_out):,} more never vary)" if pbo.left_out else ""
    return (
        f"{pbo.trials:,} trials{left_out} · {pbo.blocks} blocks of time, {pbo.splits:,} ways to "
        "take half of them"
    )


def _promise_panel(pbo: Pbo) -> list[ipw.Widget]:
    """A dot per split: the chosen trial's Sharpe ratio in sample and out of sample."""
    x, y = pbo.in_sample, pbo.out_of_sample
    across, up = style.nice_range(x), style.nice_range(np.concatenate([x, y, [0.0]]))
    scales = {
        "x": bq.LinearScale(min=across[0], max=across[1], allow_padding=False),
        "y": bq.LinearScale(min=up[0], max=up[1], allow_padding=False),
    }
    ends = np.array(across)
    taken = _evenly(x, y)
    worse = pbo.ranks[taken] <= 0.5
    marks: list[bq.Mark] = []
    for colour, part in ((style.EQUITY, taken[~worse]), (style.DRAWDOWN, taken[worse])):
        if len(part):
            marks.append(_dots(x[part], y[part], colour, scales))
    look: dict[str, Any] = {"x": ends, "scales": scales}
    marks += [
        bq.Lines(y=ends, colors=[style.BENCHMARK], line_style="dashed", stroke_width=2, **look),
        bq.Lines(y=np.zeros(2), colors=[style.BENCHMARK], stroke_width=1.5, **look),
    ]
    if math.isfinite(pbo.slope):
        trend = y.mean() + pbo.slope * (ends - x.mean())
        marks.append(bq.Lines(y=trend, colors=[style.LINES[0]], stroke_width=3, **look))
    label = style.metric_label("sharpe")
    axes = [_across(scales["x"], f"in sample: {label}"), value_axis(scales["y"], "", 6)]
    axes[1].label = "out of sample"
    entries = [
        ("●", style.EQUITY, "then in the better half of the trials"),
        ("●", style.DRAWDOWN, "in the worse half"),
        ("╌╌", style.BENCHMARK, "as in sample"),
        *_said_slope(pbo.slope),
    ]
    some = f" ({len(taken):,} of {pbo.splits:,} drawn)" if len(taken) < pbo.splits else ""
    legend = style.legend(entries, f"The chosen one, a dot for each split{some}")
    return [legend, panel_figure(marks, axes, 360, bottom=52)]


def _evenly(x: Array, y: Array) -> Array:
    """Which splits are drawn: all, or `DOTS` of them from the lowest ``x`` to the highest.

    Their own order would not do: it depends on the number of cores that went through them.
    """
    order: Array = np.lexsort([y, x])
    if len(order) <= DOTS:
        return order
    taken: Array = order[np.linspace(0, len(order) - 1, DOTS).round().astype(int)]
    return taken


def _dots(x: Array, y: Array, colour: str, scales: dict[str, Any]) -> bq.Scatter:
    return bq.Scatter(
        x=x.astype(np.float32),  # finer than a screen, and half as much to send
        y=y.astype(np.float32),
        scales=scales,
        colors=[colour],
        stroke_width=0,
        default_size=14,
        opacities=[0.5],
    )


def _said_slope(slope: float) -> list[tuple[str, str, str]]:
    if math.isnan(slope):
        return [("", style.TEXT, "no slope: in sample every choice was equally good")]
    if slope >= 0:
        said = f"slope {slope:.2f}: what was better in sample was no worse out of sample"
        return [("━━", style.LINES[0], said)]
    # Else a good sweep, which chooses the same trial nearly every time, would look like a bad one.
    return [
        ("━━", style.LINES[0], f"slope {slope:.2f}: the better in sample, the worse out of sample"),
        ("", style.TEXT, "(about -1 if one trial is always chosen: its halves share one sum)"),
    ]


def _across(scale: bq.LinearScale, label: str) -> bq.Axis:
    values, step = style.ticks(scale.min, scale.max, 6)
    return bq.Axis(
        scale=scale,
        label=label,
        label_offset="36px",
        label_color=style.TEXT,
        tick_values=values,
        tick_format=style.number_format(step),
        grid_lines="none",
    )


def _rank_panel(pbo: Pbo) -> list[ipw.Widget]:
    """How often the chosen trial had which rank out of sample; the worse half is coloured."""
    bins = BINS if pbo.trials >= FEW_TRIALS else max(2, min(FEW_BINS, pbo.trials // 2 * 2))
    # A bin holds its upper edge: a rank of exactly 0.5 counts as overfitting.
    places = np.ceil(pbo.ranks * bins).astype(int) - 1
    shares = np.bincount(places, minlength=bins) / pbo.splits
    worse = np.arange(bins) < bins // 2
    scales = {
        "x": bq.LinearScale(min=0.0, max=1.0, allow_padding=False),
        "y": bq.LinearScale(min=0.0, max=1.1 * float(shares.max()), allow_padding=False),
    }
    bars = bq.Bars(
        x=(np.arange(bins) + 0.5) / bins,
        y=np.array([np.where(worse, shares, 0.0), np.where(worse, 0.0, shares)]),
        scales=scales,
        type="stacked",
        colors=[style.DRAWDOWN, style.EQUITY],
        padding=0.08,
    )
    up, step = style.ticks(0.0, scales["y"].max, 4)
    axes = [
        _across(scales["x"], "rank out of sample (0 worst, 1 best)"),
        bq.Axis(
            scale=scales["y"],
            side="left",
            label="share of splits (%)",
            label_offset="66px",
            label_color=style.TEXT,
            tick_values=up,
            tick_format=style.metric_format("exposure", step),
        ),
    ]
    lost = int(np.count_nonzero(pbo.ranks <= 0.5))
    entries = [
        ("■", style.DRAWDOWN, f"worse half ({lost:,} splits)"),
        ("■", style.EQUITY, f"better half ({pbo.splits - lost:,})"),
    ]
    return [style.legend(entries, _said_pbo(pbo)), panel_figure([bars], axes, 290, bottom=52)]


def _said_pbo(pbo: Pbo) -> str:
    said = f"{pbo.probability:.2f}"
    return (
        f"PBO {said}: in {100 * float(said):.0f} % of the splits the chosen one was in the worse "
        "half"
    )


def _band_panel(pbo: Pbo) -> list[ipw.Widget]:
    """Where the PBO lies between 0 and 1, and what trials without any merit would give."""
    low, high = pbo.null_band
    scales = {
        "x": bq.LinearScale(min=0.0, max=1.0, allow_padding=False),
        "y": bq.LinearScale(min=0.0, max=1.0, allow_padding=False),
    }
    band = bq.Lines(
        x=np.array([low, high, high, low]),
        y=np.array([0.25, 0.25, 0.75, 0.75]),
        scales=scales,
        colors=[style.BENCHMARK],
        close_path=True,
        fill="inside",
        fill_colors=[style.BENCHMARK],
        fill_opacities=[0.4],
        stroke_width=1,
    )
    at = bq.Scatter(
        x=np.array([pbo.probability]),
        y=np.array([0.5]),
        scales=scales,
        marker="diamond",
        colors=[style.LINES[0]],
        default_size=160,
        apply_clip=False,  # at 0 and at 1 half of it would be cut off
    )
    place = "within" if low <= pbo.probability <= high else "outside"
    if place == "outside":
        place = "below" if pbo.probability < low else "above"
    entries = [
        ("◆", style.LINES[0], f"PBO of this sweep: {place} what noise gives"),
        ("■", style.BENCHMARK, f"noise gives {low:.2f} to {high:.2f} (95 of 100 times)"),
    ]
    axis = _across(scales["x"], "")
    return [style.legend(entries), panel_figure([band, at], [axis], 64)]
