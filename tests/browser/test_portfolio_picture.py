"""A portfolio in a real browser: its figures as a table, its picture in both themes."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from conftest import Lab, Shoot
from playwright.sync_api import Page, expect
from test_charts import AXES, CLIPPED, FAINT, TOUCHING
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

DATA = """
import numpy as np, pandas as pd, astraquant as aq
times = pd.date_range("2023-01-01", periods=6_000, freq="1h", tz="UTC", name="time")
tables = {}
for k, name in enumerate(["BTCUSDT", "ETHUSDT", "SOLUSDT"]):
    moves = np.random.default_rng(k).normal(0.0001, 0.004 * (k + 1), len(times))
    close = pd.Series(100 * np.exp(moves.cumsum()), times)
    table = pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1})
    tables[name] = table.iloc[1_000 * k :].drop(times[3_000 : 3_000 + 20 * k]).astype(float)
    tables[name].attrs["source"] = "synthetic"
result = aq.portfolio(tables, "inverse_volatility", rebalance="1w")
"""
CELLS = [DATA, "result", "result.plot()"]


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of a portfolio, in the project that the lab serves."""
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(written, project / "notebooks" / "portfolio_picture.ipynb")
    return "portfolio_picture.ipynb"


def test_a_portfolio_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    open_notebook(page, lab, notebook)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    axes = page.locator(AXES)
    expect(axes).to_have_count(3, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text("synthetic prices")).to_be_visible()
    expect(page.get_by_text("mean weight")).to_be_visible()
    assert page.locator(".bqplot").last.locator("path.area").count() >= 3
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        light = str(theme == "light").lower()
        page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        assert axes.evaluate_all(CLIPPED) == []
        assert axes.evaluate_all(TOUCHING) == []
        assert axes.evaluate_all(FAINT) == []
        shoot(page, f"portfolio_{theme}")
