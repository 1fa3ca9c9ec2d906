"""The live chart in a real browser: it moves, loses its connection, heals, obeys and closes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import AXES, assert_readable, set_theme, write_notebook
from playwright.sync_api import Page, expect
from test_notebooks import (
    BAD_WIDGETS,
    CELLS,
    DONE,
    PATIENCE,
    READY,
    RUN_ALL_AFRESH,
    open_notebook,
    show_whole,
)

CELL = """
from astraquant.strategies import ma_cross
from astraquant.widgets.live import live_chart
chart = live_chart("BTCUSDT", strategy=ma_cross, short=5, long=20)
chart
"""
STICKS = "(document.querySelector('.bqplot')?.querySelectorAll('.stick') ?? [])"
ENOUGH = f"count => {STICKS}.length >= count"
# When the candle farthest to the right was drawn otherwise than before, five times.
CHANGES = f"""() => new Promise(done => {{
    const place = stick => parseFloat(stick.getAttribute('transform').match(/[-\\d.e]+/)[0]);
    const last = () => [...{STICKS}].reduce((a, b) => place(a) > place(b) ? a : b).outerHTML;
    let before = last();
    const times = [];
    const look = () => {{
        const now = last();
        if (now !== before) {{ before = now; times.push(performance.now()); }}
        if (times.length < 6) requestAnimationFrame(look); else done(times);
    }};
    look();
}})"""
RUN = """async ([code, names]) => {
    const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const wanted = Object.fromEntries(names.map(name => [name, name]));
    const reply = await kernel.requestExecute({code, user_expressions: wanted}).done;
    if (reply.content.status !== 'ok') throw new Error(JSON.stringify(reply.content));
    return names.map(name => reply.content.user_expressions[name].data['text/plain']);
}"""
RUN_ALL = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of one live chart, in the project that the lab serves."""
    return write_notebook(project, "live.ipynb", [CELL])


def kernel(page: Page, code: str, *names: str) -> list[str]:
    """Run code where the notebook runs, and return what the names or expressions are then."""
    found: list[str] = page.evaluate(RUN, [code, list(names)])
    return found


def wait_for_kernel(page: Page, condition: str) -> None:
    """Wait until an expression is true where the notebook runs.

    Steps of the mouse reach the kernel one by one, each when it is done with the one before.
    """
    wanted = f"async condition => (await ({RUN})(['', [condition]]))[0] === 'True'"
    page.wait_for_function(wanted, arg=condition, timeout=PATIENCE)


def show_both_themes(page: Page, shoot: Shoot, name: str) -> None:
    for theme in ("light", "dark"):
        set_theme(page, theme)
        axes = page.locator(AXES)
        assert_readable(axes)
        shoot(page, f"{name}_{theme}")


def test_a_live_chart_moves_heals_obeys_and_closes(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if "attribute" in m.text else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    open_notebook(page, lab, notebook)
    page.evaluate(RUN_ALL)
    page.wait_for_selector(".bqplot", timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    chart = page.locator(".astraquant-chart")
    expect(chart.get_by_text("SIMULATED PRICES")).to_be_visible()
    expect(chart.get_by_text("LIVE", exact=True)).to_be_visible(timeout=PATIENCE)
    page.wait_for_function(ENOUGH, arg=120, timeout=PATIENCE)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)

    times = page.evaluate(CHANGES)
    steps = sorted(later - sooner for sooner, later in pairwise(times))
    assert steps[len(steps) // 2] < 2_000  # milliseconds, while trades come all the time

    chart.get_by_role("button", name="Drop connection").click()
    expect(chart.get_by_text("RECONNECTING", exact=True)).to_be_visible(timeout=PATIENCE)
    shoot(page, "live_lost")
    expect(chart.get_by_text("LIVE", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(chart.get_by_text("filled since (at most")).to_be_visible(timeout=PATIENCE)
    expect(chart.get_by_text("gap, filled since")).to_be_visible()
    expect(page.locator(".bqplot").first.get_by_text("✓")).to_have_count(1)
    show_whole(page)
    show_both_themes(page, shoot, "live")

    chart.get_by_role("button", name="All", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_function(ENOUGH, arg=450, timeout=PATIENCE)
    page.locator(".widget-slider .noUi-handle").first.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(chart.get_by_text("expected short < long")).to_be_visible(timeout=PATIENCE)
    chart.get_by_text("Log of the feed").click()
    expect(chart.get_by_text("WS CONNECTED").first).to_be_visible(timeout=PATIENCE)
    show_whole(page)
    show_both_themes(page, shoot, "live_all")
    check_drag(page)

    page.evaluate(RUN_ALL)  # once more: the former chart makes room for the new one
    page.wait_for_function(READY, timeout=PATIENCE)
    page.wait_for_function(ENOUGH, arg=120, timeout=PATIENCE)
    expect(page.locator(".bqplot")).to_have_count(2)
    feeds = "sum(t.name.startswith('feed ') for t in threading.enumerate())"
    assert kernel(page, "import threading", feeds) == ["1"]
    kernel(page, "chart.close()")
    expect(page.locator(".bqplot")).to_have_count(0)
    left = "[t.name for t in threading.enumerate() if 'live_chart' in t.name]"
    assert kernel(page, "", left) == ["[]"]
    assert complaints == []


def test_the_chart_of_the_first_notebook_moves_and_heals(lab: Lab, page: Page) -> None:
    """As a newcomer runs it: all cells, then the button."""
    open_notebook(page, lab, "01_stream.ipynb")
    page.evaluate(RUN_ALL_AFRESH)
    page.wait_for_function(f"() => ({DONE})(({CELLS})())", timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    page.evaluate("document.querySelector('.astraquant-chart').scrollIntoView()")
    page.wait_for_function(ENOUGH, arg=100, timeout=PATIENCE)
    chart = page.locator(".astraquant-chart")
    expect(chart.get_by_text("LIVE", exact=True)).to_be_visible(timeout=PATIENCE)
    times = page.evaluate(CHANGES)
    steps = sorted(later - sooner for sooner, later in pairwise(times))
    assert steps[len(steps) // 2] < 2_000

    missed = "int(chart.feed.gaps['missing'].sum())"
    (before,) = kernel(page, "", missed)
    chart.get_by_role("button", name="Drop connection").click()
    expect(chart.get_by_text("RECONNECTING", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(chart.get_by_text("LIVE", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(chart.get_by_text("filled since (at most")).to_be_visible(timeout=PATIENCE)
    still_open = "int((chart.feed.gaps['kind'] == 'open').sum())"
    after, left = kernel(page, "", missed, still_open)
    assert int(after) > int(before)
    assert left == "0"
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")  # free its memory


def check_drag(page: Page) -> None:
    """Dragging the chart to the right shows what was before, and there it stays."""
    follow = page.get_by_role("button", name="Follow")
    box = page.locator(".bqplot").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "button => !button.classList.contains('mod-active')",
        arg=follow.element_handle(),
        timeout=PATIENCE,
    )
