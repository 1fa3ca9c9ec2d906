"""A portfolio as a picture: equity against buy-and-hold, drawdown, and what it holds."""

from __future__ import annotations

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..candles import is_synthetic
from ..errors import DataError
from ..performance import drawdown
from . import style
from .chart import POINTS, TimeAxis, lines_mark, panel_figure, thin, value_axis, value_scale

COLOURS = (style.EQUITY, *style.LINES, style.LONG, style.SHORT, style.PRICE)  # of symbols, in turn


class PortfolioChart(style.Chart):
    """Three panels over one time axis; made by `portfolio_chart`."""


def portfolio_chart(
    equity: pd.Series,
    buy_and_hold: pd.Series,
    weights: pd.DataFrame,
    *,
    title: str,
    cash: float,
    source: object = None,
    note: str = "",
) -> PortfolioChart:
    """Draw a portfolio.

    equity, buy_and_hold: money after each bar; weights: shares of equity by symbol (a column each),
    all at the same times. ``cash``: at the start. ``source``: where the prices come from; one that
    says "synthetic" puts a badge beside the title. ``note``: in small beside it.

    Long series are thinned to about `POINTS` points. Raises `DataError` for an empty table and for
    times that do not match.
    """
    if equity.empty:
        raise DataError("nothing to draw: expected at least one bar of equity.")
    if not (equity.index.equals(buy_and_hold.index) and equity.index.equals(weights.index)):
        raise DataError(
            f"equity ({len(equity):,} values), buy_and_hold ({len(buy_and_hold):,}) and weights "
            f"({len(weights):,}) are not at the same times. Give them one index."
        )
    time = TimeAxis(equity.index)
    panels = [
        _equity_panel(equity, buy_and_hold, time),
        _drawdown_panel(equity, cash, time),
        _weights_panel(weights, time),
    ]
    head = style.header(title, synthetic=is_synthetic(source), note=note)
    summary = f"PortfolioChart({title}, {len(equity):,} bars, {len(weights.columns)} symbols)"
    return PortfolioChart([head, *(part for panel in panels for part in panel)], summary)


def _equity_panel(equity: pd.Series, buy_and_hold: pd.Series, time: TimeAxis) -> list[ipw.Widget]:
    money = np.array([buy_and_hold.to_numpy(float), equity.to_numpy(float)])
    at = np.union1d(*(thin(line, POINTS // 2) for line in money))
    scales = {"x": time.scale, "y": value_scale(money)}
    colours = [style.BENCHMARK, style.EQUITY]
    mark = lines_mark(equity.index[at], money[:, at], scales, colours, stroke_width=1.6)
    entries = [
        ("━━", style.EQUITY, "portfolio"),
        ("━━", style.BENCHMARK, "buy and hold (equal weights)"),
    ]
    axes = [time.axis(labelled=False), value_axis(scales["y"], "equity (quote currency)", 5)]
    return [style.legend(entries, "Equity"), panel_figure([mark], axes, 220)]


def _drawdown_panel(equity: pd.Series, cash: float, time: TimeAxis) -> list[ipw.Widget]:
    fall = drawdown(equity.to_numpy(float), cash)
    worst = float(fall.min())
    low = 1.05 * worst if worst < 0 else -0.01
    scales = {"x": time.scale, "y": bq.LinearScale(min=low, max=0.0, allow_padding=False)}
    at = thin(fall)
    mark = lines_mark(
        equity.index[at],
        fall[None, at],
        scales,
        [style.DRAWDOWN],
        fill="top",
        fill_opacities=[0.35],
        stroke_width=1.0,
    )
    entries = [("■", style.DRAWDOWN, f"below the highest equity so far; deepest {worst:.1%}")]
    axes = [time.axis(labelled=False), value_axis(scales["y"], "drawdown (%)", 4, "max_drawdown")]
    return [style.legend(entries, "Drawdown"), panel_figure([mark], axes, 150)]


def _weights_panel(weights: pd.DataFrame, time: TimeAxis) -> list[ipw.Widget]:
    """The shares stacked on each other; what is left up to 100 % is cash."""
    symbols = list(weights.columns)
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(symbols))]
    at = np.unique(np.linspace(0, len(weights) - 1, POINTS // 2).round().astype(int))
    tops = np.cumsum(weights.to_numpy(float)[at], axis=1).T
    stack = np.concatenate([np.zeros((1, len(at))), tops])
    scales = {"x": time.scale, "y": bq.LinearScale(min=0.0, max=1.0, allow_padding=False)}
    mark = lines_mark(
        weights.index[at],
        stack,
        scales,
        [colours[0], *colours],
        fill="between",
        fill_colors=colours,
        fill_opacities=[0.55] * len(symbols),
        stroke_width=0.8,
    )
    entries = [("■", colour, str(s)) for colour, s in zip(colours, symbols, strict=True)]
    left = 1.0 - float(weights.sum(axis=1).mean())
    entries.append(("□", style.BENCHMARK, f"cash (on average {abs(left):.1%})"))
    axes = [time.axis(labelled=True), value_axis(scales["y"], "share of equity (%)", 4, "exposure")]
    return [style.legend(entries, "Weights"), panel_figure([mark], axes, 200, bottom=52)]
