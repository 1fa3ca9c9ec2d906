"""The picture of overfitting in a real browser: both themes, wide and narrow, and an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import CLIPPED, TOUCHING, assert_readable, draw_all, set_theme, write_notebook
from playwright.sync_api import Page, expect

DATA = """
import astraquant as aq
from astraquant.strategies import momentum
def honest(market, window):
    sweep = aq.sweep(market.candles, momentum, direction="both", cost=0.0, window=window)
    return sweep.honesty()
luck = honest(aq.markets.random_walk(4_000, seed=5), range(2, 122))
edge = honest(aq.markets.ar1(4_000, 0.15, seed=1), [1, 2, 3, 5, 8, 13, 21, 34])
alone = honest(aq.markets.random_walk(1_000, seed=5), [5])
"""
# Whether the axes of each picture end within the room that it has.
FITTED = """() => [...document.querySelectorAll('.bqplot')].every(figure =>
    [...figure.querySelectorAll('.axis path')].every(line => line.getBoundingClientRect().right
        < figure.parentElement.getBoundingClientRect().right))"""
CELLS = [DATA, "luck.plot()", "edge.plot()", "alone.plot()"]


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of three sweeps, in the project that the lab serves."""
    return write_notebook(project, "luck_picture.ipynb", CELLS)


def test_overfitting_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    axes = draw_all(page, lab, notebook, 6)
    expect(page.get_by_text("synthetic prices")).to_have_count(3)
    expect(page.get_by_text("Nothing to draw:")).to_be_visible()
    expect(page.locator(".bqplot").first.locator("path.dot")).to_have_count(2_000)
    left, right = (page.locator(".bqplot").nth(k) for k in (0, 1))
    for theme in ("light", "dark"):
        set_theme(page, theme)
        shoot(page, f"luck_{theme}")
        assert_readable(axes)
    assert left.bounding_box()["x"] < right.bounding_box()["x"]  # type: ignore[index]
    page.set_viewport_size({"width": 860, "height": 2_600})
    page.wait_for_function(
        "([a, b]) => a.getBoundingClientRect().bottom < b.getBoundingClientRect().top",
        arg=[left.element_handle(), right.element_handle()],
    )
    page.wait_for_function(FITTED)  # drawn anew a moment later
    shoot(page, "luck_narrow")
    assert axes.evaluate_all(CLIPPED) == []
    assert axes.evaluate_all(TOUCHING) == []
