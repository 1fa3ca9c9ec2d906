"""The pictures in a real browser: drawn in both themes, whole, without errors, and clickable."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import assert_readable, draw_all, set_theme, write_notebook
from playwright.sync_api import Page, expect

DATA = """
import numpy as np, pandas as pd
from astraquant.widgets.chart import backtest_chart
from astraquant.widgets.heatmap import heatmap_chart, line_chart
times = pd.date_range("2023-01-01", periods=600, freq="5min", tz="UTC", name="time")
wave = 16_500 + 200 * np.sin(np.arange(600) / 40) + 20 * np.sin(np.arange(600) / 3)
candles = pd.DataFrame({"close": wave}, index=times)
candles.attrs["source"] = "synthetic"
ends = [times[k] for k in (100, 200, 300, 400)] + [pd.NaT]
trades = pd.DataFrame({"entry_time": [times[k] for k in (20, 100, 200, 300, 500)],
    "exit_time": ends, "direction": [1, -1, 1, -1, 1]})
trades["entry_price"] = candles["close"].reindex(trades["entry_time"]).to_numpy()
trades["exit_price"] = candles["close"].reindex(trades["exit_time"]).to_numpy()
money = candles["close"] / wave[0] * 10_000
mean = candles["close"].rolling(50).mean()
windows = np.arange(5, 205)
x, y = np.meshgrid(windows, windows)
plane = pd.DataFrame(np.where(x < y, np.sin(x / 30) * np.cos(y / 50), np.nan),
    index=pd.Index(windows, name="long"), columns=pd.Index(windows, name="short"))
"""
CELLS = [
    DATA,
    "backtest_chart(candles, trades, money, money[::-1].set_axis(times), "
    "title='BTCUSDT 5m', lines={'sma 50': mean})",
    "heatmap_chart(plane, metric='total_return', title='ma_cross', mark_best=(47, 48))",
    "line_chart(plane[5], metric='sharpe', title='short 5')",
]


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of all pictures, in the project that the lab serves."""
    return write_notebook(project, "charts.ipynb", CELLS)


def test_pictures_are_drawn_readable_and_answer_a_click(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if "attribute" in m.text else None)
    axes = draw_all(page, lab, notebook, 6)
    expect(page.get_by_text("synthetic prices")).to_be_visible()
    price = page.locator(".bqplot").first
    expect(price.locator("path.dot")).to_have_count(10)
    expect(price.locator("path.line")).to_have_count(2)

    heat = page.locator(".bqplot image").first
    box = heat.bounding_box()
    assert box is not None
    cell = box["width"] / 200, box["height"] / 200
    heat.click(position={"x": 10.5 * cell[0], "y": 99.5 * cell[1]})
    expect(page.get_by_text("short 15, long 105 → total return")).to_be_visible()

    for theme in ("light", "dark"):
        set_theme(page, theme)
        assert_readable(axes)
        shoot(page, f"charts_{theme}")
    assert complaints == []
