"""The workbench in a real browser: strategies by name, and figures that are `backtest`'s."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import AXES, CLIPPED, FAINT, TOUCHING, set_theme, write_notebook
from playwright.sync_api import Page, expect
from test_explorer import AT_REST, REPEATED, TABLE, handle
from test_live import RUN_ALL, kernel
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

CELLS = [
    """
import pathlib, sys
import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.reports import format_figure
candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-04-01")
# As an installed package tells what it has.
info = pathlib.Path("plug-ins/tiny-1.0.dist-info").resolve()
info.mkdir(parents=True)
(info / "METADATA").write_text("Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
(info / "entry_points.txt").write_text('''[astraquant.strategies]
faster = astraquant.strategies.builtin:momentum
broken = a_package_that_nobody_has:anything
''')
sys.path.insert(0, str(info.parent))
@aq.strategy
def above_hours(candles, hours: int):
    'Long while the close lies above the average of the last hours.'
    mean = aq.higher(candles, "1h", lambda h: aq.indicators.sma(h.close, hours))
    return candles.close > mean
""",
    "bench = aq.workbench(candles, timeframe='5m')\nbench",
    "mine = aq.workbench(candles, above_hours, timeframe='5m')\nmine",
]
EXPECT = """
def figures(name, **options):
    strategy = aq.strategies.find_strategy(name)
    result = aq.backtest(candles, strategy, **{"timeframe": "5m", **options})
    return {name.replace("_", " "): format_figure(name, value)
            for name, value in result.metrics.items()}
"""


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of two workbenches, in the project that the lab serves."""
    return write_notebook(project, "workbench.ipynb", CELLS)


def shows(page: Page, heading: str, name: str, **options: object) -> None:
    """Wait for the heading of a run, then hold its figures to those of `backtest`."""
    bench = page.locator(".astraquant-explorer").first
    expect(bench.get_by_text(heading, exact=False).first).to_be_visible(timeout=PATIENCE)
    (said,) = kernel(page, EXPECT, f"figures({name!r}, **{options!r})")
    expected = ast.literal_eval(said)
    last = list(expected)[-1]
    cells = bench.locator(".astraquant-figures > div")
    expect(cells.filter(has_text=last)).to_contain_text(expected[last])
    assert cells.evaluate_all(TABLE) == expected


def test_strategies_are_chosen_by_name_and_show_what_backtest_says(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if "attribute" in m.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    open_notebook(page, lab, notebook)
    page.evaluate(RUN_ALL)
    expect(page.locator(f"{AXES}:visible")).to_have_count(3, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    shows(page, "ma_cross(short=50, long=200, kind='sma')", "ma_cross")

    bench = page.locator(".astraquant-explorer").first
    expect(bench.get_by_text("broken (tiny 1.0): ModuleNotFoundError")).to_be_visible()
    expect(bench.locator("option").filter(has_text="faster (tiny 1.0)")).to_have_count(1)
    bench.get_by_label("strategy").focus()
    for key in ("Space", *["ArrowDown"] * 4, "Enter"):  # JupyterLab keeps arrows for itself before
        page.keyboard.press(key)
    shows(page, "donchian_breakout(enter=20, leave=10)", "donchian_breakout")
    expect(bench.get_by_text("Long from a close above the highest high")).to_be_visible()
    expect(handle(page, "short")).to_have_count(0)
    handle(page, "enter").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    shows(page, "donchian_breakout(enter=23, leave=10)", "donchian_breakout", enter=23)
    stop = bench.get_by_label("stop loss (%)")
    stop.fill("1.5")
    stop.press("Enter")
    bench.get_by_label("direction").select_option("long and short")
    chosen = {"enter": 23, "stop_loss": 0.015, "direction": "both"}
    shows(page, "donchian_breakout(enter=23, leave=10)", "donchian_breakout", **chosen)
    check_keyboard(page)
    check_error_and_empty(page, shoot)

    kernel(page, "bench.close(); mine.close()")
    expect(page.locator(".bqplot")).to_have_count(0)
    assert complaints == []
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")  # free its memory


def show_both_themes(page: Page, shoot: Shoot, name: str) -> None:
    """Hold what is written on the axes to the rules, and take a picture, in each theme."""
    for theme in ("light", "dark"):
        set_theme(page, theme)
        for bench in page.locator(".astraquant-explorer").all():
            bench.evaluate(AT_REST)
            for rule in (CLIPPED, TOUCHING, FAINT, REPEATED):
                assert bench.locator(f"{AXES}:visible").evaluate_all(rule) == [], rule
        shoot(page, f"{name}_{theme}")


def check_keyboard(page: Page) -> None:
    """The Tab key goes through the controls in the order of the page, and past no hidden one."""
    page.get_by_label("strategy").first.focus()
    seen = []
    for _ in range(12):
        seen.append(
            page.evaluate("""() => {
            const one = document.activeElement;
            const row = one.closest('.widget-inline-hbox');
            return row?.querySelector('.widget-label')?.textContent || one.textContent.trim();
        }""")
        )
        page.keyboard.press("Tab")
    order = ["strategy", "timeframe", "cost (bp a side)", "direction", "filled at"]
    order += [f"{name} (%)" for name in ("stop loss", "take profit", "trailing stop")]
    assert seen == [*order, "enter", "enter", "leave", "leave"]  # the handle, then the number


def check_error_and_empty(page: Page, shoot: Shoot) -> None:
    """What is typed wrongly is said, and the former run is pale; at first there may be none."""
    show_both_themes(page, shoot, "workbench")
    bench, mine = page.locator(".astraquant-explorer").all()
    stop = bench.get_by_label("stop loss (%)")
    stop.fill("much")
    stop.press("Enter")
    expect(bench.get_by_text("stop loss 'much': expected per cent")).to_be_visible()
    expect(bench.get_by_text("Still shown: donchian_breakout(enter=23")).to_be_visible()
    expect(bench.locator(".astraquant-stale")).to_have_count(2)
    expect(mine.get_by_text("above_hours(hours=0)")).to_be_visible()
    show_whole(page)
    show_both_themes(page, shoot, "workbench_refused")
    hours = mine.get_by_label("hours")
    hours.fill("24")
    hours.press("Enter")
    expect(mine.get_by_text("higher('1h', sma(close, 24))")).to_be_visible(timeout=PATIENCE)
    show_whole(page)
    show_both_themes(page, shoot, "workbench_given")
