"""The pictures in a real browser: drawn in both themes, whole, without errors, and clickable."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from conftest import Lab, Shoot
from playwright.sync_api import Page, expect
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

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
AXES = ".bqplot > svg.svg-background"
# Texts of a picture that reach beyond its frame, or ticks of one axis that touch.
CLIPPED = """svgs => svgs.flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1
            || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
    }).map(text => text.textContent);
})"""
TOUCHING = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('.axis')]).flatMap(axis => {
    const boxes = [...axis.querySelectorAll('.tick text')].map(t => t.getBoundingClientRect());
    return boxes.filter((a, i) => boxes.some((b, j) => j > i
        && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom))
        .map(() => axis.textContent);
})"""
# Texts that hardly differ from the page behind them (WCAG contrast below 3).
FAINT = """svgs => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const page = document.querySelector('.jp-NotebookPanel-notebook');
    const back = light(getComputedStyle(page).backgroundColor);
    return svgs.flatMap(svg => [...svg.querySelectorAll('.axis text')]).filter(text => {
        const front = light(getComputedStyle(text).fill);
        return text.textContent && Math.max(front, back) / Math.min(front, back) < 3;
    }).map(text => text.textContent + ' in ' + getComputedStyle(text).fill);
}"""


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of all pictures, in the project that the lab serves."""
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(written, project / "notebooks" / "charts.ipynb")
    return "charts.ipynb"


def test_pictures_are_drawn_readable_and_answer_a_click(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if "attribute" in m.text else None)
    open_notebook(page, lab, notebook)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    axes = page.locator(AXES)
    expect(axes).to_have_count(6, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
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
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        light = str(theme == "light").lower()
        page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        assert axes.evaluate_all(CLIPPED) == []
        assert axes.evaluate_all(TOUCHING) == []
        assert axes.evaluate_all(FAINT) == []
        shoot(page, f"charts_{theme}")
    assert complaints == []
