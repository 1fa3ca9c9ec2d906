"""A walk-forward in a real browser: its tables and its picture, in both themes."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from conftest import Lab, Shoot
from playwright.sync_api import Page, expect
from test_charts import AXES, CLIPPED, FAINT, TOUCHING
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

DATA = """
import astraquant as aq
from astraquant import markets
from astraquant.indicators import sma, ema
from astraquant.strategies import where
from typing import Literal
@aq.strategy
def lean(candles, back: int = 5, side: Literal["follow", "fade"] = "follow"):
    up = candles.close > sma(candles.close, back)
    return where(up, 1, -1) if side == "follow" else where(up, -1, 1)
candles = markets.regime_flip(12_000, 0.15, 3_000, seed=4).candles
free = {"fill": "close", "cost": 0.0}
found = aq.walk_forward(candles, lean, train="40d", test="20d", **free,
    back=range(2, 22), side=["follow", "fade"])
@aq.strategy
def above(candles, level: float = 100.0):
    return candles.close > level
late = aq.walk_forward(candles, above, train="60d", test="45d", step="30d",
    level=[120.0, 160.0, 200.0])
"""
CELLS = [DATA, "found", "found.plot()", "late.plot()"]


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of walk-forwards, in the project that the lab serves."""
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(written, project / "notebooks" / "walk_picture.ipynb")
    return "walk_picture.ipynb"


def test_a_walk_forward_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    open_notebook(page, lab, notebook)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    axes = page.locator(AXES)
    expect(axes).to_have_count(7, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text("synthetic prices").first).to_be_visible()
    expect(page.get_by_text("tuned once")).to_be_visible()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        light = str(theme == "light").lower()
        page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        shoot(page, f"walk_{theme}")
        assert axes.evaluate_all(CLIPPED) == []
        assert axes.evaluate_all(TOUCHING) == []
        assert axes.evaluate_all(FAINT) == []
