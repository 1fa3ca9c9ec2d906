"""A permutation test in a real browser: its words, its picture in both themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import assert_readable, draw_all, set_theme, write_notebook
from playwright.sync_api import Page, expect

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
    return write_notebook(project, "permutation_picture.ipynb", CELLS)


def test_a_permutation_test_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    axes = draw_all(page, lab, notebook, 3)
    expect(page.get_by_text("synthetic prices")).to_have_count(3)
    for text in ("observed best: sharpe", "holding: sharpe"):
        expect(page.get_by_text(text)).to_have_count(2)
    expect(page.get_by_text("so the drift counts as skill here").last).to_be_visible()
    expect(page.get_by_text("do not rise on average")).to_be_visible()
    for theme in ("light", "dark"):
        set_theme(page, theme)
        assert_readable(axes)
        shoot(page, f"permutation_{theme}")
