"""The pictures of a report and of a paper, drawn by matplotlib: no browser is needed.

They show what a dashboard shows. Lines are thinned to what paper can show.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ..performance import drawdown, return_histogram, rolling_sharpe, worst_drawdowns
from . import style
from .chart import POINTS, thin, to_dates
from .dashboard_pictures import log_ticks
from .dashboard_shares import FEWEST_BINS, exposure_steps, part_colour
from .dashboard_view import View

Array = np.ndarray[Any, Any]
Draw = Callable[[Axes, View], None]
_TITLE = 76  # characters that fit above a picture for a paper
# Colours that stand for those of the page: what matplotlib writes is replaced by the latter.
_INK, _GRID = "#010203", "#040506"
_PAGE = {_INK: "currentColor", _GRID: "var(--grid)"}
# The same drawing each time: names of parts by their content, letters as text.
_SVG: Any = {"svg.hashsalt": "astraquant", "svg.fonttype": "none"}
_NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}


def paper_figure(view: View) -> Figure:
    """Equity against buying and holding over the drawdown, for a paper: 7 × 5 inches.

    Simulated prices are named in the title.
    """
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for axes, draw in ((above, draw_equity), (below, draw_drawdown)):
        draw(axes, view)
        _dress(axes, ink="black", grid="#dddddd")
    above.tick_params(labelbottom=False)
    above.set_xlabel("")
    title = f"{view.title}{' · SIMULATED PRICES' if view.synthetic else ''}"
    figure.suptitle(textwrap.fill(title, _TITLE), fontsize=11, parse_math=False)
    return figure


def panel_svg(view: View, draw: Draw, name: str, text: str, height: float = 2.6) -> str:
    """One panel as an SVG element to be put into a page; its text is the page's.

    ``name``: goes before the names of its parts, so that a page may hold several; ``text``: says
    to who can't see it what it shows.
    """
    with rc_context(_SVG):
        figure = Figure(figsize=(9.6, height), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.subplots()
        axes.patch.set_alpha(0.0)
        draw(axes, view)
        _dress(axes, ink=_INK, grid=_GRID)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=_NOTHING)
    return _inline(file.getvalue(), name, text)


def _inline(svg: str, name: str, text: str) -> str:
    """What of an SVG file belongs into a page: no head, no addresses, names of its own."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for written, shown in _PAGE.items():
        body = body.replace(written, shown)
    used = set(re.findall(r"(?:url\(|href=\")#([\w.-]+)", body))
    body = re.sub(
        r' id="([\w.-]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body
    )
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r"xlink:href=\"#", f'href="#{name}-', body)
    body = re.sub(r"\n\s*", "\n", body)
    (box,) = re.findall(r'viewBox="([^"]+)"', svg[: svg.index(">", svg.index("<svg"))])
    return f'<svg viewBox="{box}" role="img" aria-label="{text}">{body}'


def _dress(axes: Axes, *, ink: str, grid: str) -> None:
    """Colours and sizes of everything that is no data."""
    axes.grid(True, color=grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(ink)
        spine.set_visible(side in ("left", "bottom"))
    axes.tick_params(colors=ink, labelsize=8)
    for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
        text.set_color(ink)
        text.set_fontsize(9)
    axes.xaxis.get_offset_text().set_color(ink)
    axes.xaxis.get_offset_text().set_fontsize(8)
    if legend := axes.get_legend():
        for text in legend.get_texts():
            text.set_color(ink)
            text.set_parse_math(False)  # a $ in a name is a dollar


def _over_time(axes: Axes, index: pd.Index) -> None:
    locator = AutoDateLocator(maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ends = to_dates(index[[0, -1]])
    room = max((ends[1] - ends[0]) // 100, np.timedelta64(30 * 60_000, "ms"))
    axes.set_xlim(ends[0] - room, ends[1] + room)
    axes.set_xlabel("time (UTC)")


def _curves(axes: Axes, curves: Iterable[tuple[str, str, pd.Series]]) -> None:
    for place, (name, colour, series) in enumerate(curves):
        values = series.to_numpy(float)
        at = thin(values, POINTS)
        marker = "o" if len(at) == 1 else ""  # a line of one point can't be seen
        above = 3 - 0.1 * place  # the first lies on top
        axes.plot(
            to_dates(series.index[at]), values[at],
            color=colour, label=name, lw=1.1, marker=marker, zorder=above,
        )  # fmt: skip
        _over_time(axes, series.index)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.set_ylabel("equity (quote currency)")
    axes.legend(frameon=False, fontsize=8, loc="best")


def draw_equity(axes: Axes, view: View) -> None:
    """Equity against buying and holding."""
    held = ("buy and hold", style.BENCHMARK, view.benchmark)
    _curves(axes, [("strategy", style.EQUITY, view.equity), held])


def draw_equity_log(axes: Axes, view: View) -> None:
    """The same on a logarithmic axis; what is not above 0 is left out."""
    draw_equity(axes, view)
    axes.set_yscale("log", nonpositive="mask")
    money = np.concatenate([view.equity.to_numpy(float), view.benchmark.to_numpy(float)])
    known = money[money > 0]
    low, high = style.nice_range(np.log10(known)) if len(known) else (0.0, 1.0)
    at, labels = log_ticks(low, high)
    axes.set_ylim(10.0**low, 10.0**high)
    axes.set_yticks(10.0**at, labels)
    axes.set_yticks([], minor=True)
    axes.set_ylabel("equity (quote currency, log)")


def draw_gross(axes: Axes, view: View) -> None:
    """Equity at zero cost against what is left of it."""
    gross = ("gross: at zero cost", style.LINES[0], view.gross)
    _curves(axes, [("net: what is left", style.EQUITY, view.equity), gross])


def draw_drawdown(axes: Axes, view: View) -> None:
    """How far equity lies below its highest so far; the five worst falls are numbered."""
    index, colour = view.equity.index, style.DRAWDOWN
    fall = drawdown(view.equity.to_numpy(float), view.cash)
    worst = worst_drawdowns(view.equity, view.cash)
    at = np.union1d(thin(fall), index.get_indexer(pd.DatetimeIndex(worst["valley"])))
    axes.fill_between(to_dates(index[at]), fall[at], 0.0, color=colour, alpha=0.3, lw=0)
    axes.plot(to_dates(index[at]), fall[at], color=colour, lw=0.8)
    begin = to_dates(worst["peak"].fillna(index[0]))
    end = to_dates(worst["recovery"].fillna(index[-1]))
    axes.hlines(np.zeros(len(worst)), begin, end, color=style.LINES[0], lw=3)
    valley, depth = to_dates(worst["valley"]), worst["depth"].to_numpy(float)
    axes.plot(valley, depth, ls="", marker="D", ms=4, color=style.LINES[0])
    for place, (x, y) in enumerate(zip(valley, depth, strict=True), 1):
        late = x > to_dates(index[[0, -1]]).astype(np.int64).mean().astype("datetime64[ms]")
        side, shift = ("right", -5) if late else ("left", 5)  # away from the edge
        axes.annotate(
            str(place), (x, y), (shift, -8), textcoords="offset points", weight="bold", ha=side
        )
    _over_time(axes, index)
    axes.set_ylim(1.12 * float(fall.min()) or -0.01, 0.0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("drawdown")


def draw_rolling(days: int) -> Draw:
    """The Sharpe ratio of the last ``days`` days, over time."""

    def draw(axes: Axes, view: View) -> None:
        index = view.equity.index
        at = np.unique(np.linspace(0, len(index) - 1, POINTS // 2).round().astype(int))
        values = rolling_sharpe(view.returns, days, view.timeframe, at)
        axes.axhline(0.0, color=style.BENCHMARK, lw=0.8)
        axes.plot(to_dates(index[at]), values, color=style.EQUITY, lw=1.1)
        _over_time(axes, index)
        axes.set_ylabel("Sharpe ratio (annualised)")

    return draw


def draw_histogram(axes: Axes, view: View) -> None:
    """How the returns of closed trades are spread: losses and wins."""
    edges, counts = return_histogram(view.results)
    won = edges[:-1] >= 0
    colours = np.where(won, style.LONG, style.DRAWDOWN)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=list(colours), ec="none")
    width, few = edges[1] - edges[0], max(0, FEWEST_BINS - len(counts))
    axes.set_xlim(edges[0] - few / 2 * width, edges[-1] + few / 2 * width)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("return of a trade")
    axes.set_ylabel("closed trades")


def draw_exposure(axes: Axes, view: View) -> None:
    """How much of equity is in position: the mean of each stretch of time."""
    index, shares = view.equity.index, view.invested
    edges, means = exposure_steps(shares)
    times = to_dates(index[np.append(edges[:-1], len(index) - 1)])
    for sign in (1.0, -1.0):
        below = np.zeros(len(times))
        for k, name in enumerate(map(str, shares.columns)):
            part = np.maximum(sign * means[k], 0.0)
            if not part.any():
                continue
            axes.fill_between(
                times, sign * below, sign * (below + part), step="post", lw=0, alpha=0.6,
                color=part_colour(name, k), label=name,
            )  # fmt: skip
            below = below + part
    _over_time(axes, index)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("in position (of equity)")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
