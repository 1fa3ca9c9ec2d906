"""The dashboard: it shows what the result has, whatever the result is like."""

from __future__ import annotations

import html
import re
import warnings
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd
import pytest
from drawn import size
from hypothesis import given
from hypothesis import strategies as st
from results import (
    KINDS,
    MINUTES,
    crossover,
    flat_candles,
    named,
    plain,
    result_of,
    table_rows,
    texts,
)

import astraquant as aq
from astraquant import performance
from astraquant.data.sample import sample_candles
from astraquant.errors import StrategyError
from astraquant.metrics import DEFINITIONS
from astraquant.reports import format_figure
from astraquant.strategies import ma_cross
from astraquant.widgets import style
from astraquant.widgets.dashboard import Dashboard
from astraquant.widgets.dashboard_pictures import log_ticks
from astraquant.widgets.dashboard_shares import exposure_steps
from astraquant.widgets.dashboard_trades import PAGE, TradeList
from astraquant.widgets.dashboard_view import view_of


def page(dashboard: Dashboard, title: str) -> ipw.Widget:
    return dashboard.tabs.children[dashboard.tabs.titles.index(title)]


def panels(widget: ipw.Widget) -> dict[str, bq.Figure]:
    """Figures by the heading above them."""
    found, heading = {}, ""
    waiting = [widget]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, ipw.HTML):
            heading = plain(one.value)
        if isinstance(one, bq.Figure):
            found[heading] = one
        waiting = [*getattr(one, "children", ()), *waiting]
    return found


def panel(widget: ipw.Widget, heading: str) -> bq.Figure:
    return next(f for h, f in panels(widget).items() if h.startswith(heading))


# The whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_shown_with_its_definition(kind: str) -> None:
    result = result_of(kind)
    dashboard = Dashboard(result)
    shown = dict(
        re.findall(
            r'<div title="[^"]+"><span>(.+?)</span><b>(.+?)</b>', dashboard.children[1].value
        )
    )
    like = {"orders": "trades", "invested": "exposure"}
    assert shown == {
        name.replace("_", " "): format_figure(like.get(name, name), value)
        for name, value in result.metrics.items()
    }
    told = set(map(html.unescape, re.findall(r'title="([^"]+)"', dashboard.children[1].value)))
    assert kind == "portfolio" or told == set(DEFINITIONS.values())
    said = texts(dashboard)
    for note in result.notes:
        assert note in said
    assert result.passport["contract"] in said


def test_simulated_prices_are_labelled() -> None:
    assert "synthetic prices" in texts(Dashboard(crossover()))
    assert "synthetic prices" in texts(Dashboard(result_of("portfolio")))
    assert "synthetic prices" not in texts(Dashboard(result_of("free")))


def test_it_is_printed_in_one_line() -> None:
    bars, trades = len(crossover().equity), len(crossover().trades)
    assert repr(crossover().dashboard()) == (
        f"Dashboard(ma_cross(short=5, long=20, kind='sma') · 5m, {bars:,} bars, {trades:,} trades)"
    )


def test_a_long_run_is_small_to_send() -> None:
    candles = sample_candles("BTCUSDT", start="2023-01-01", end="2023-03-01")
    result = aq.backtest(candles, ma_cross, short=5, long=20)
    assert len(result.trades) > 1_000
    assert size(result.dashboard()) < 400_000


def test_what_looks_like_markup_is_shown_as_text() -> None:
    result = aq.backtest(flat_candles([1, 2, 3], "a <script> file"), named)
    dashboard = result.dashboard()
    markup = " ".join(w.value for w in style.parts_of(dashboard) if isinstance(w, ipw.HTML))
    assert "<b>&'" not in markup
    assert "<script>" not in markup
    assert "named(name='<b>&')" in texts(dashboard).replace("< b >", "<b>")


@pytest.mark.parametrize("other", [None, 3, "sweep"])
def test_what_is_no_result_is_refused(other: Any) -> None:
    swept = aq.sweep(MINUTES, ma_cross, short=[5], long=[20], timeframe="1h")
    with pytest.raises(StrategyError, match="expected the result of a backtest or a portfolio"):
        view_of(swept if other == "sweep" else other)


def test_closing_it_leaves_no_widget_behind() -> None:
    before = len(ipw.widgets.widget._instances)
    dashboard = crossover().dashboard()
    assert dashboard.window is not None
    dashboard.window.value = 1
    style.close_all(dashboard)
    assert len(ipw.widgets.widget._instances) == before


# Equity and drawdown


@pytest.mark.parametrize("kind", ["crossover", "portfolio", "two bars"])
def test_equity_and_benchmark_are_drawn_to_their_ends(kind: str) -> None:
    result = result_of(kind)
    dashboard = Dashboard(result)
    held, money = panel(page(dashboard, "Equity"), "Equity").marks
    view = dashboard.view
    for mark, series in ((held, view.benchmark), (money, view.equity)):
        drawn = np.ravel(mark.y)
        assert drawn[[0, -1]] == pytest.approx(series.iloc[[0, -1]].to_numpy(), rel=1e-6)
        assert (drawn.min(), drawn.max()) == pytest.approx((series.min(), series.max()), rel=1e-6)


def test_a_log_axis_draws_logarithms_and_is_labelled_with_money() -> None:
    dashboard = crossover().dashboard()
    figure = panel(page(dashboard, "Equity"), "Equity")
    linear = [np.array(mark.y) for mark in figure.marks]
    dashboard.axis.value = True
    axis = figure.axes[1]
    for mark, before in zip(figure.marks, linear, strict=True):
        np.testing.assert_allclose(mark.y, np.log10(before), rtol=1e-6)
    said = [float(text.replace(",", "")) for text in axis.tick_labels.values()]
    np.testing.assert_allclose(10.0 ** np.asarray(axis.tick_values), said, rtol=1e-9)
    assert axis.label.endswith(", log")
    dashboard.axis.value = False
    for mark, before in zip(figure.marks, linear, strict=True):
        np.testing.assert_array_equal(mark.y, before)


def test_nothing_has_no_logarithm_and_is_left_out() -> None:
    dashboard = result_of("ruin").dashboard()
    dashboard.axis.value = True
    money = np.ravel(panel(page(dashboard, "Equity"), "Equity").marks[-1].y)
    assert np.isnan(money).sum() == 2
    assert np.isfinite(money).sum() == 3


@given(st.floats(-6, 12), st.floats(0.001, 9))
def test_log_ticks_are_where_their_labels_say(low: float, span: float) -> None:
    at, labels = log_ticks(low, low + span)
    said = np.array([float(label.replace(",", "")) for label in labels])
    np.testing.assert_allclose(10.0**at, said, rtol=1e-6)
    assert len(set(labels)) == len(labels)
    assert 1 <= len(labels) <= 15
    assert np.all((at >= low - 1e-9) & (at <= low + span + 1e-9))


def test_the_worst_drawdowns_are_listed_and_marked_where_they_are() -> None:
    dashboard = crossover().dashboard()
    falls = performance.worst_drawdowns(dashboard.view.equity, dashboard.view.cash)
    equity_page = page(dashboard, "Equity")
    said = texts(equity_page.children[-1])
    for place, fall in enumerate(falls.itertuples(), 1):
        assert f"{place} {fall.depth:.2%} {fall.peak:%Y-%m-%d %H:%M}" in said
    marks = panel(equity_page, "Drawdown").marks
    (dots,) = [mark for mark in marks if isinstance(mark, bq.Scatter)]
    assert list(dots.y) == pytest.approx(falls["depth"].tolist(), rel=1e-6)
    numbers = [text for mark in marks if isinstance(mark, bq.Label) for text in mark.text]
    assert len(falls) > 1
    assert sorted(numbers) == [str(place) for place in range(1, len(falls) + 1)]


# Returns


def test_months_and_years_are_written_in_their_cells() -> None:
    times = pd.date_range("2022-11-15", "2023-02-10", freq="1D", tz="UTC", name="time")
    prices = np.exp(np.random.default_rng(3).normal(0, 0.02, len(times)).cumsum())
    candles = flat_candles(list(prices)).set_index(times)
    result = aq.backtest(candles, ma_cross, short=2, long=3)
    said = texts(page(result.dashboard(), "Returns"))
    months = performance.monthly_returns(result.equity, result.options.cash)
    row = " ".join(f"{months[time]:+.1%}" for time in months.index[:2])
    year = (1 + months.iloc[:2]).prod() - 1
    assert f"2022 {row} {year:+.1%}" in said


def test_another_window_draws_other_ratios() -> None:
    dashboard = crossover().dashboard()
    assert dashboard.window is not None
    assert list(dashboard.window.options) == ["1 day", "7 days"]
    assert dashboard.window.value == 7
    view = dashboard.view
    for days in (1, 7):
        dashboard.window.value = days
        figure = panel(page(dashboard, "Returns"), "Rolling")
        last = np.array([len(view.equity) - 1])
        (expected,) = performance.rolling_sharpe(view.returns, days, view.timeframe, last)
        assert np.ravel(figure.marks[1].y)[-1] == pytest.approx(expected, rel=1e-6)


def test_the_histogram_counts_every_closed_trade() -> None:
    result = crossover()
    (bars,) = panel(page(result.dashboard(), "Returns"), "Returns of trades").marks
    lost, won = bars.y.sum(axis=1)
    assert lost + won == result.metrics["trades"]
    assert won == round(result.metrics["win_rate"] * result.metrics["trades"])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no trade", "none, for there is no closed trade."),
        ("one bar", "the run is too short"),
        ("one bar", "No drawdown: no close lies below an earlier one."),
        ("one bar", "No trades."),
        ("no trade", "No trade, so no fees."),
        ("no trade", "never in position"),
        ("portfolio", "none, for an account has orders, not trades."),
    ],
)
def test_what_is_not_there_is_said_in_words(kind: str, said: str) -> None:
    assert said in texts(Dashboard(result_of(kind)))


# Exposure and costs


@pytest.mark.parametrize("kind", ["crossover", "no trade", "one bar"])
def test_exposure_is_the_contracts(kind: str) -> None:
    view = view_of(result_of(kind))
    edges, means = exposure_steps(view.invested)
    weight = np.diff(edges)
    total = float((np.abs(means[:, :-1]) * weight).sum() / weight.sum())
    assert total == pytest.approx(view.metrics["exposure"], abs=1e-12)


def test_of_many_symbols_the_largest_are_shown_and_the_rest_as_others() -> None:
    shares = {f"S{k}USDT": (k + 1) / 36 for k in range(8)}
    view = view_of(aq.portfolio(dict.fromkeys(shares, MINUTES), shares, timeframe="1h"))
    assert list(view.invested.columns) == [f"S{k}USDT" for k in (7, 6, 5, 4, 3)] + ["others"]
    np.testing.assert_allclose(view.invested.sum(axis=1).iloc[5:], 1.0, atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_gross_ends_at_the_gross_return(kind: str) -> None:
    view = view_of(result_of(kind))
    assert view.gross.iloc[-1] / view.cash - 1 == pytest.approx(view.metrics["gross_return"])
    assert len(view.gross) == len(view.equity)


def test_what_fees_took_and_where_nothing_is_left_is_said() -> None:
    figures = crossover().metrics
    said = texts(page(crossover().dashboard(), "Exposure and costs"))
    assert f"Fees took {figures['fees_paid']:,.2f}" in said
    limit = figures["break_even_cost"]
    if np.isnan(limit):
        assert "No break-even cost: even at zero cost it loses." in said
    else:
        assert f"Break-even cost: {limit * 1e4:,.2f} bp per side; paid: 10.00 bp." in said


# The list


def rows_shown(listed: TradeList) -> list[list[str]]:
    return table_rows(listed.children[-1].value)


@pytest.mark.parametrize("sort", ["entry_time", "-exit_time", "return", "-profit", "status"])
def test_the_list_is_sorted_as_a_reader_would(sort: str) -> None:
    trades = crossover().trades
    listed = TradeList(trades, "trades")
    shown = []
    for page_number in range(1, -(-len(trades) // PAGE) + 1):
        listed.show(sort, page_number)
        shown += rows_shown(listed)
    name, sign = sort.lstrip("-"), -1 if sort.startswith("-") else 1
    known = [k for k in range(len(trades)) if not pd.isna(trades[name].iloc[k])]
    if name == "status":
        order = sorted(known, key=lambda k: trades[name].iloc[k])
    else:
        value = trades[name].astype("int64" if "time" in name else float)
        order = sorted(known, key=lambda k: sign * value.iloc[k])
    order += [k for k in range(len(trades)) if k not in known]
    assert [row[0] for row in shown] == [f"{trades['entry_time'].iloc[k]:%F %H:%M}" for k in order]
    assert f'aria-sort="{"descending" if sign < 0 else "ascending"}"' in listed.children[-1].value


def test_pages_turn_and_end() -> None:
    listed = TradeList(crossover().trades, "trades")
    before, after = listed._before, listed._next
    assert before.disabled
    after.click()
    assert listed._page.value == 2
    assert f"{PAGE + 1} to {2 * PAGE} of {len(crossover().trades)}" in texts(listed)
    listed._page.value = 10_000
    assert after.disabled
    assert len(rows_shown(listed)) == (len(crossover().trades) - 1) % PAGE + 1
    listed._by.value = "profit"
    assert listed._page.value == 1


def test_numbers_of_the_list_are_the_trades() -> None:
    first = crossover().trades.iloc[0]
    row = rows_shown(TradeList(crossover().trades, "trades"))[0]
    assert row[2] == {1: "long", -1: "short"}[first["direction"]]
    assert row[6:10] == [
        f"{first['fees']:,.2f}",
        f"{first['profit']:,.2f}",
        f"{first['return']:+.2%}",
        f"{first['bars']:,}",
    ]


def test_orders_of_a_portfolio_are_listed() -> None:
    dashboard = result_of("portfolio").dashboard()
    assert dashboard.tabs.titles[3] == "Orders"
    (first, *_) = rows_shown(dashboard.trades)
    order = result_of("portfolio").orders.iloc[0]
    assert first[:3] == [f"{order['time']:%Y-%m-%d %H:%M}", order["symbol"], order["side"]]


def test_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "metadata .* was set from the constructor")
        for kind in KINDS:
            style.close_all(Dashboard(result_of(kind)))
