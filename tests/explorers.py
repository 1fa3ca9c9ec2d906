"""What the tests of the explorer share: sweeps, what it shows, what a browser sends."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import ipywidgets as ipw
import numpy as np
import pandas as pd

import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.indicators import rsi, sma
from astraquant.reports import format_figure
from astraquant.strategies import ma_cross
from astraquant.widgets.explorer import Explorer
from astraquant.widgets.explorer_view import STALE
from astraquant.widgets.heatmap import HeatmapChart

LONG_WAIT = 120.0  # seconds; what is waited for comes long before
MINUTES = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-04")


@aq.strategy(valid=lambda fast, slow: fast < slow)
def many(
    candles: Any,
    fast: Annotated[int, aq.Range(1, 50)] = 5,
    slow: Annotated[int, aq.Range(2, 200)] = 20,
    lower: Annotated[float, aq.Range(10.0, 90.0)] = 55.0,
    kind: Literal["both", "one"] = "both",
) -> Any:
    """Long while the fast average lies above the slow one and the RSI is low."""
    above = sma(candles.close, fast) > sma(candles.close, slow)
    return above & (rsi(candles.close, 14) < lower) if kind == "both" else above


@aq.strategy
def on_arrays(candles: Any, window: Annotated[int, aq.Range(2, 90)] = 10) -> Any:
    """Can't be traced; and there is a window that it can't stand."""
    if window == 13:
        raise ValueError("thirteen <brings> bad luck")
    mean = np.convolve(candles.close, np.ones(window) / window)[: len(candles.close)]
    return np.asarray(candles.close) > mean


@functools.cache
def nine_cells() -> Any:
    """A sweep of two levels; two of its nine combinations are not valid."""
    return aq.sweep(MINUTES, ma_cross, short=[5, 10, 20], long=[10, 30, 60], timeframe="5m")


@contextmanager
def opened(sweep: Any, metric: str = "sharpe") -> Iterator[Explorer]:
    explorer = sweep.explore(metric)
    try:
        yield explorer
    finally:
        assert explorer.wait(LONG_WAIT)
        explorer.close()


def options_of(explorer: Explorer) -> dict[str, Any]:
    """What the explorer's controls ask of a backtest."""
    controls = explorer._controls
    timeframe, cost, fill = controls.setup
    return {**controls.parameter_values, "timeframe": timeframe, "cost": cost, "fill": fill}


def shown_figures(explorer: Explorer) -> dict[str, str]:
    """The table as a reader sees it, name to text; each name has its definition."""
    pattern = r'<div title="([^"]+)"><span>([^<]+)</span><b>([^<]+)</b>'
    found = re.findall(pattern, explorer._figures.value)
    assert all(title for title, _, _ in found)
    return {name.replace(" ", "_"): html.unescape(text) for _, name, text in found}


def same_as_backtest(explorer: Explorer, candles: pd.DataFrame = MINUTES) -> None:
    """Everything that is shown is that of the `backtest` of what the controls say."""
    options = options_of(explorer)
    expected = aq.backtest(candles, explorer.sweep.strategy, **options)
    shown = explorer.backtest
    assert shown is not None
    pd.testing.assert_series_equal(shown.metrics, expected.metrics, check_exact=True)
    pd.testing.assert_frame_equal(shown.trades, expected.trades)
    figures = {str(k): format_figure(str(k), float(v)) for k, v in expected.metrics.items()}
    assert shown_figures(explorer) == figures
    assert html.escape(expected.metrics.name) in explorer._heading.value
    for note in expected.notes:
        assert html.escape(note) in explorer._figures.value
    money = explorer._panels._money
    assert money.y[-1] == np.float32(expected.equity.iloc[-1])
    assert explorer._panels._hold.y[-1] == np.float32(expected._buy_and_hold_equity().iloc[-1])
    assert complaint(explorer) == ""
    assert not is_stale(explorer)


def complaint(explorer: Explorer) -> str:
    return html.unescape(re.sub("<[^>]+>", "", explorer._controls.complaint.value))


def is_stale(explorer: Explorer) -> bool:
    return all(STALE in part._dom_classes for part in explorer._of_run)


def cursor(explorer: Explorer) -> tuple[int, ...] | None:
    """Column and row of the cell under the cursor."""
    mark = explorer._plane._chart._cursor  # type: ignore[union-attr]
    return (int(mark.x[0]), int(mark.y[0])) if mark.visible else None


def click(explorer: Explorer, column: int, row: int) -> None:
    """What the browser sends when a cell is clicked."""
    chart = explorer._plane._chart
    assert isinstance(chart, HeatmapChart)
    data = {"click_x": column + 0.3, "click_y": row - 0.3}
    chart._image._handle_custom_msg({"event": "element_click", "data": data}, [])


def move(slider: Any, value: Any) -> None:
    """What the browser sends when a control is moved."""
    index = "index" in slider.keys and not isinstance(slider, ipw.FloatText)
    state = {"index": list(slider._options_values).index(value)} if index else {"value": value}
    slider.set_state(state)


def plane_of(explorer: Explorer) -> pd.DataFrame:
    chart = explorer._plane._chart
    assert isinstance(chart, HeatmapChart)
    return chart._values
