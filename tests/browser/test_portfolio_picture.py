"""A portfolio in a real browser: its figures as a table, its picture in both themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import assert_readable, draw_all, set_theme, write_notebook
from playwright.sync_api import Page, expect

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
    return write_notebook(project, "portfolio_picture.ipynb", CELLS)


def test_a_portfolio_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    axes = draw_all(page, lab, notebook, 3)
    expect(page.get_by_text("synthetic prices")).to_be_visible()
    expect(page.get_by_text("mean weight")).to_be_visible()
    assert page.locator(".bqplot").last.locator("path.area").count() >= 3
    for theme in ("light", "dark"):
        set_theme(page, theme)
        assert_readable(axes)
        shoot(page, f"portfolio_{theme}")
