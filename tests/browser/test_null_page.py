"""A permutation test in a real browser: its words, its picture in both themes."""

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
from astraquant.strategies import momentum
def test_on(market, n, **options):
    sweep = aq.sweep(market.candles, momentum, window=[1, 2, 3, 5, 8, 13, 21, 34],
        direction="both", cost=0.0)
    return sweep.permutation_test(n, **options)
edge = test_on(aq.markets.ar1(1_500, 0.15, seed=1), 199)
luck = test_on(aq.markets.random_walk(1_500, seed=5), 99, metric="total_return")
risen = aq.sweep(aq.markets.random_walk(1_500, seed=9).candles, momentum, window=[1, 2, 3, 5, 8])
few = risen.permutation_test(5)
"""
CELLS = [DATA, "edge", "edge.plot()", "luck.plot()", "few.plot()"]


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of two tests, in the project that the lab serves."""
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(written, project / "notebooks" / "permutation_picture.ipynb")
    return "permutation_picture.ipynb"


def test_a_permutation_test_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    open_notebook(page, lab, notebook)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    axes = page.locator(AXES)
    expect(axes).to_have_count(3, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text("synthetic prices")).to_have_count(3)
    for text in ("observed best: sharpe", "holding: sharpe"):
        expect(page.get_by_text(text)).to_have_count(2)
    expect(page.get_by_text("so the drift counts as skill here").last).to_be_visible()
    expect(page.get_by_text("do not rise on average")).to_be_visible()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        light = str(theme == "light").lower()
        page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        assert axes.evaluate_all(CLIPPED) == []
        assert axes.evaluate_all(TOUCHING) == []
        assert axes.evaluate_all(FAINT) == []
        shoot(page, f"permutation_{theme}")
