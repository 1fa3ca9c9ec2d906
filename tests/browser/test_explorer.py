"""The explorer in a real browser: it obeys keyboard and mouse, and shows what `backtest` says."""

from __future__ import annotations

import ast

import pytest
from conftest import Lab, Shoot
from pictures import AXES, CLIPPED, FAINT, TOUCHING, set_theme, write_notebook
from playwright.sync_api import Locator, Page, expect
from test_live import RUN_ALL, kernel, wait_for_kernel
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

CELLS = [
    """
import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.reports import format_figure
from astraquant.strategies import ma_cross
candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-04-01")
swept = aq.sweep(candles, ma_cross, short=range(5, 45, 5), long=range(20, 110, 10), timeframe="5m")
""",
    "explorer = swept.explore()\nexplorer",
]
# What `backtest` says, as the table has it.
EXPECT = """
def figures(short, long, timeframe="5m", cost=0.001, fill="open"):
    result = aq.backtest(candles, ma_cross, short=short, long=long, timeframe=timeframe,
                         cost=cost, fill=fill)
    return {name.replace("_", " "): format_figure(name, value)
            for name, value in result.metrics.items()}
"""
TABLE = """cells => Object.fromEntries(
    [...cells].map(cell => [...cell.children].map(part => part.textContent)))"""
# Axes on which two ticks bear the same number.
REPEATED = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('.axis')]).filter(axis => {
    const said = [...axis.querySelectorAll('.tick text')].map(t => t.textContent).filter(Boolean);
    return new Set(said).size < said.length;
}).map(axis => axis.textContent)"""
# Where an element and what is written in it are, as soon as they have been there for ten frames:
# a figure that has been resized draws its axes anew.
AT_REST = """element => new Promise(done => {
    let before, frames = 0;
    const box = one => {
        const {x, y, width, height} = one.getBoundingClientRect();
        return {x, y, width, height};
    };
    const look = () => {
        const now = JSON.stringify([element, ...element.querySelectorAll('svg, text')].map(box));
        frames = now === before ? frames + 1 : 0;
        before = now;
        if (frames < 10) requestAnimationFrame(look); else done(box(element));
    };
    look();
})"""
# The plot's own area of a figure, without its axes.
AREA = ".plotarea_background"


@pytest.fixture
def notebook(project) -> str:  # type: ignore[no-untyped-def]
    """A notebook of one explorer, in the project that the lab serves."""
    return write_notebook(project, "explorer.ipynb", CELLS)


def shows(page: Page, call: str, **choice: object) -> None:
    """Wait for the heading of a run, then hold its figures to those of `backtest`."""
    expect(page.get_by_text(call, exact=False).first).to_be_visible(timeout=PATIENCE)
    arguments = ", ".join(f"{name}={value!r}" for name, value in choice.items())
    (said,) = kernel(page, EXPECT, f"figures({arguments})")
    expected = ast.literal_eval(said)
    last = list(expected)[-1]
    cells = page.locator(".astraquant-figures > div")
    expect(cells.filter(has_text=last)).to_contain_text(expected[last])
    assert cells.evaluate_all(TABLE) == expected


def handle(page: Page, name: str) -> Locator:
    """The handle of a parameter's slider."""
    row = page.locator(".widget-slider:visible").filter(has_text=name)
    return row.locator(".noUi-handle")


def click_cell(page: Page, column: int, row: int, columns: int, rows: int) -> None:
    heat = page.locator(".bqplot image").first
    heat.scroll_into_view_if_needed()
    page.locator(".astraquant-explorer").evaluate(AT_REST)
    box = heat.bounding_box()
    assert box is not None
    x, y = (column + 0.5) / columns, (rows - row - 0.5) / rows
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def show_both_themes(page: Page, shoot: Shoot, name: str) -> None:
    """Hold what is written on the axes to the rules, and take a picture, in each theme."""
    axes = page.locator(AXES)
    for theme in ("light", "dark"):
        set_theme(page, theme)
        page.locator(".astraquant-explorer").evaluate(AT_REST)
        for rule in (CLIPPED, TOUCHING, FAINT, REPEATED):
            assert axes.evaluate_all(rule) == [], rule
        shoot(page, f"{name}_{theme}")


def test_the_explorer_obeys_and_shows_what_backtest_says(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if "attribute" in m.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    open_notebook(page, lab, notebook)
    page.evaluate(RUN_ALL)
    axes = page.locator(AXES)
    expect(axes).to_have_count(5, timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text("synthetic prices", exact=True)).to_be_visible()
    expect(page.get_by_text("These prices are simulated")).to_be_visible()

    click_cell(page, 2, 3, 8, 9)
    shows(page, "ma_cross(short=15, long=50, kind='sma')", short=15, long=50)
    expect(page.get_by_text("✚ short 15, long 50 → sharpe")).to_be_visible()
    show_both_themes(page, shoot, "explorer")

    handle(page, "short").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    shows(page, "ma_cross(short=18, long=50, kind='sma')", short=18, long=50)
    expect(page.get_by_text("Click a cell to read it.")).to_be_visible()  # off the grid
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    shows(page, "ma_cross(short=20, long=50, kind='sma')", short=20, long=50)
    expect(page.get_by_text("✚ short 20, long 50 → sharpe")).to_be_visible()

    check_zoom(page, shoot)
    check_keyboard(page)
    check_what_is_refused(page, shoot)
    check_sweeps(page, shoot)

    kernel(page, "explorer.close()")
    expect(page.locator(".bqplot")).to_have_count(0)
    assert complaints == []
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")  # free its memory


def check_zoom(page: Page, shoot: Shoot) -> None:
    """The wheel zooms in until single candles are seen; a hand drags them; a button goes back."""
    price = page.locator(".bqplot").nth(2)
    sticks = price.locator(".stick")
    expect(sticks).to_have_count(0)
    box = price.locator(AREA).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for _ in range(60):
        page.mouse.wheel(0, -200)
        page.wait_for_function("() => new Promise(r => requestAnimationFrame(() => r(true)))")
        if sticks.count():
            break
    expect(sticks.first).to_be_attached(timeout=PATIENCE)
    page.locator(".astraquant-explorer").evaluate(AT_REST)  # no turn of the wheel is under way
    page.wait_for_function(READY, timeout=PATIENCE)
    window = "explorer._panels.window"
    before = ast.literal_eval(kernel(page, "", window)[0])
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    page.mouse.up()
    area = price.locator(AREA).bounding_box()
    assert area is not None
    earlier = before[0] - (before[1] - before[0]) * 100 / area["width"]
    near = (before[1] - before[0]) / area["width"]  # a pixel
    wait_for_kernel(page, f"abs({window}[0] - {earlier!r}) < {near!r}")
    after = ast.literal_eval(kernel(page, "", window)[0])
    assert after[1] - after[0] == pytest.approx(before[1] - before[0], rel=1e-6)
    show_both_themes(page, shoot, "explorer_zoomed")
    for name in ("Earlier", "Later", "Zoom in", "Zoom out"):  # an icon alone has a name too
        button = page.get_by_role("button", name=name)
        button.click()
        assert button.evaluate("one => one.scrollWidth <= one.clientWidth")
    there_and_back = f"all(abs(now - then) < 1 for now, then in zip({window}, {after!r}))"
    wait_for_kernel(page, there_and_back)
    page.get_by_role("button", name="Reset").click()
    expect(sticks).to_have_count(0)
    whole = "explorer._panels.window == explorer._bars('5m').whole"
    assert kernel(page, "", whole) == ["True"]


def check_keyboard(page: Page) -> None:
    """From the first control on, the Tab key goes through all of them in the order of the page."""
    page.get_by_label("timeframe").focus()
    seen = []
    for _ in range(12):
        seen.append(
            page.evaluate("""() => {
            const one = document.activeElement;
            const row = one.closest('.widget-inline-hbox');
            const label = row?.querySelector('.widget-label')?.textContent;
            return label || one.textContent.trim();
        }""")
        )
        page.keyboard.press("Tab")
    order = ["timeframe", "cost (bp a side)", "filled at", "metric", "short", "long", "Best"]
    assert [name for name in seen if name in order] == [
        *order[:4],
        *("short", "short", "long", "long"),  # the handle, then the number, which can be typed
        "Best",
    ]


def check_what_is_refused(page: Page, shoot: Shoot) -> None:
    """An impossible cell says why; what is shown still is pale."""
    click_cell(page, 7, 0, 8, 9)
    expect(page.get_by_text("short=40, long=20 is no valid combination")).to_be_visible()
    expect(
        page.get_by_text("Still shown: ma_cross(short=20, long=50, kind='sma').")
    ).to_be_visible()
    expect(page.locator(".astraquant-stale")).to_have_count(2)
    show_both_themes(page, shoot, "explorer_refused")
    page.get_by_role("button", name="Best").click()
    expect(page.locator(".astraquant-stale")).to_have_count(0)
    (best,) = kernel(page, "", "swept.best('sharpe').name")
    short, long = ast.literal_eval(best)
    shows(page, f"ma_cross(short={short}, long={long}, kind='sma')", short=short, long=long)


def check_sweeps(page: Page, shoot: Shoot) -> None:
    """Timeframe, cost and fill sweep anew; a cost that there can't be is said."""
    click_cell(page, 0, 8, 8, 9)
    page.get_by_label("timeframe").select_option("1h")
    expect(page.get_by_text("63 trials · 1h · 10 bp · filled at open")).to_be_visible()
    shows(page, "bars of 1h", short=5, long=100, timeframe="1h")
    page.get_by_label("filled at").select_option("that close (optimistic)")
    cost = page.get_by_label("cost (bp a side)")
    cost.fill("2.5")
    cost.press("Enter")
    expect(page.get_by_text("63 trials · 1h · 2.5 bp · filled at close")).to_be_visible()
    page.get_by_label("metric").select_option("max drawdown")
    expect(page.get_by_text("max drawdown (%)").first).to_be_visible()
    choice = {"timeframe": "1h", "cost": 0.00025, "fill": "close"}
    shows(page, "bars of 1h", short=5, long=100, **choice)
    cost.fill("-3")
    cost.press("Enter")
    expect(page.get_by_text("cost=-0.0003: expected a fraction")).to_be_visible()
    expect(cost).to_have_value("2.5")
    show_whole(page)
    show_both_themes(page, shoot, "explorer_swept")
