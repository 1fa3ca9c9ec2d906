"""The dashboard, a comparison and a report in a real browser: they show what the result has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import Lab, Shoot
from pictures import AXES, assert_readable, set_theme, write_notebook
from playwright.sync_api import Browser, Locator, Page, expect
from test_explorer import AT_REST
from test_live import RUN_ALL, kernel
from test_notebooks import BAD_WIDGETS, PATIENCE, READY, open_notebook, show_whole

from astraquant.metrics import DEFINITIONS

RUN = """
import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.reports import format_figure
from astraquant.strategies import ma_cross
candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-05-01")
result = aq.backtest(candles, ma_cross, timeframe="5m", short=20, long=100, direction="both")
other = aq.backtest(candles, ma_cross, timeframe="5m", short=20, long=100)
none = aq.backtest(candles, ma_cross, timeframe="1d", short=80, long=90)
"""
CELLS = [RUN, "result.dashboard()", "aq.compare(result, other)", "none.dashboard()"]
FIGURES = """{name.replace("_", " "): format_figure(name, value)
    for name, value in %s.metrics.items()}"""
TABLE = """cells => Object.fromEntries(
    [...cells].map(cell => [...cell.children].map(part => part.textContent)))"""
CELL_TEXTS = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
# Whether all figures that are in view have found their size; those of a hidden tab have none.
DRAWN = """() => [...document.querySelectorAll('.bqplot')].filter(plot => plot.offsetParent)
    .every(plot => plot.querySelector('.plotarea_background')?.getBoundingClientRect().width > 300
        && plot.querySelector('.tick text'))"""
TABS = ["Equity", "Returns", "Exposure and costs", "Trades", "Passport"]


@pytest.fixture
def notebook(project: Path) -> str:
    """A notebook of dashboards, in the project that the lab serves."""
    return write_notebook(project, "dashboard.ipynb", CELLS)


def figures(page: Page, name: str) -> dict[str, str]:
    (said,) = kernel(page, "", FIGURES % name)
    found: dict[str, str] = ast.literal_eval(said)
    return found


def choose_tab(chart: Locator, name: str) -> None:
    chart.get_by_role("tab", name=name).click()
    expect(chart.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def check_axes(page: Page) -> None:
    page.wait_for_function(DRAWN, timeout=PATIENCE)
    page.locator(".astraquant-chart").first.evaluate(AT_REST)
    axes = page.locator(f"{AXES}:visible")
    assert_readable(axes)


def test_a_dashboard_shows_the_result_and_obeys(
    notebook: str, lab: Lab, page: Page, shoot: Shoot
) -> None:
    open_notebook(page, lab, notebook)
    page.evaluate(RUN_ALL)
    page.locator(".astraquant-chart").nth(2).wait_for(timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    expect(page.locator(BAD_WIDGETS)).to_have_count(0, timeout=PATIENCE)
    chart, compared, empty = page.locator(".astraquant-chart").all()
    assert chart.locator(".figures > div").evaluate_all(TABLE) == figures(page, "result")
    assert empty.locator(".figures > div").evaluate_all(TABLE) == figures(page, "none")
    expect(chart.get_by_text("synthetic prices")).to_be_visible()
    expect(chart.locator(f'[title="{DEFINITIONS["sharpe"]}"]')).to_contain_text("sharpe")
    for theme in ("light", "dark"):
        set_theme(page, theme)
        for name in TABS:
            choose_tab(chart, name)
            check_axes(page)
            shoot(page, f"dashboard_{name.split()[0].lower()}_{theme}")

    rows = compared.locator("table tr")
    said = {name: values for name, *values in rows.evaluate_all(CELL_TEXTS)[1:]}
    both = figures(page, "result"), figures(page, "other")
    assert said == {name: [one[name] for one in both] for name in both[0]}
    expect(empty.get_by_text("Too few bars")).to_be_visible()
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")  # free its memory


def test_a_dashboard_is_used_with_the_keyboard(notebook: str, lab: Lab, page: Page) -> None:
    open_notebook(page, lab, notebook)
    page.evaluate(RUN_ALL)
    page.locator(".astraquant-chart").nth(2).wait_for(timeout=PATIENCE)
    page.wait_for_function(READY, timeout=PATIENCE)
    show_whole(page)
    chart = page.locator(".astraquant-chart").first
    chart.get_by_role("button", name="log axis").press("Enter")
    expect(chart.get_by_text("equity (quote currency), log")).to_be_visible()
    chart.get_by_role("tab", name="Equity").focus()
    for name in TABS[1:4]:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(chart.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")

    chart.get_by_label("sort by").select_option("profit")
    chart.locator("select:visible").nth(1).select_option("highest first")
    profit = "profit ▼"
    expect(chart.locator("th[aria-sort]")).to_have_text(profit)
    best = "result.trades.sort_values('profit', ascending=False)['profit']"
    expected = f"[f'{{p:,.2f}}' for p in {best}]"
    for first in (0, 20):
        (said,) = kernel(page, "", f"{expected}[{first}:{first + 20}]")
        column = chart.locator("table.list td:nth-child(8)")
        expect(column).to_have_text(ast.literal_eval(said))
        chart.get_by_role("button", name="next").press("Enter")
    page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")


def test_a_report_opens_without_a_network(browser: Browser, shoot: Shoot, tmp_path: Path) -> None:
    import astraquant as aq
    from astraquant.data.sample import sample_candles
    from astraquant.reports import format_figure
    from astraquant.strategies import ma_cross

    candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-05-01")
    result = aq.backtest(candles, ma_cross, timeframe="5m", short=20, long=100, direction="both")
    result.report(tmp_path / "report.html")
    address = (tmp_path / "report.html").as_uri()
    for theme in ("light", "dark"):
        context = browser.new_context(
            offline=True, color_scheme=theme, viewport={"width": 1100, "height": 3_800}
        )
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("console", lambda message, said=complaints: said.append(message.text))
        page.on("pageerror", lambda error, said=complaints: said.append(str(error)))
        page.goto(address)
        shown = page.locator(".figures > div").evaluate_all(TABLE)
        assert shown == {
            name.replace("_", " "): format_figure(name, value)
            for name, value in result.metrics.items()
        }
        expect(page.locator("svg[role=img]")).to_have_count(7)
        drawn = page.locator("svg[role=img]").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(drawn) > 100
        shoot(page, f"report_{theme}")
        profits = page.locator("table.list td:nth-child(8)")
        expected = sorted(result.trades["profit"])
        page.get_by_role("button", name="profit").press("Enter")
        expect(profits.first).to_have_text(f"{expected[0]:,.2f}")
        page.get_by_role("button", name="profit").press("Enter")
        expect(page.locator("th[aria-sort=descending]")).to_have_text("profit ▼")
        assert profits.all_inner_texts() == [f"{value:,.2f}" for value in reversed(expected)]
        assert asked == [address]
        assert complaints == []
        context.close()
