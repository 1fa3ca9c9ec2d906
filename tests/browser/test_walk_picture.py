"""A walk-forward in a real browser: its tables and its picture, in both themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import assert_readable, draw_all, set_theme, write_notebook
from playwright.sync_api import Page, expect

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
    return write_notebook(project, "walk_picture.ipynb", CELLS)


def test_a_walk_forward_is_drawn_readable_in_both_themes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    axes = draw_all(page, lab, notebook, 7)
    expect(page.get_by_text("synthetic prices").first).to_be_visible()
    expect(page.get_by_text("tuned once")).to_be_visible()
    for theme in ("light", "dark"):
        set_theme(page, theme)
        shoot(page, f"walk_{theme}")
        assert_readable(axes)
