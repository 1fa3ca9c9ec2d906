"""The explorer without a browser: what it shows, for every way of choosing (see browser/)."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd
import pytest
from explorers import (
    LONG_WAIT,
    MINUTES,
    click,
    complaint,
    cursor,
    is_stale,
    many,
    move,
    nine_cells,
    on_arrays,
    opened,
    options_of,
    plane_of,
    same_as_backtest,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets.widgets.widget import _instances

import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
from astraquant.widgets.explorer_controls import timeframes_from
from astraquant.widgets.explorer_plane import best_cell, cells_of
from astraquant.widgets.heatmap import HeatmapChart, LineChart


@pytest.fixture(scope="module")
def swept() -> Any:
    return nine_cells()


# What is shown, for every way of choosing


def test_it_begins_with_the_best_row_and_says_little(swept: Any) -> None:
    with opened(swept, "total_return") as explorer:
        assert repr(explorer) == "Explorer(ma_cross over short (3) × long (3), 7 combinations)"
        best = dict(zip(("short", "long"), swept.best("total_return").name, strict=True))
        assert explorer._controls.parameter_values == {**best, "kind": "sma"}
        same_as_backtest(explorer)
        assert cursor(explorer) is not None
        assert "synthetic prices" in " ".join(
            part.value for part in explorer.children if isinstance(part, ipw.HTML)
        )


def test_a_click_sets_the_sliders_and_shows_the_run_of_its_row(swept: Any) -> None:
    with opened(swept) as explorer:
        for column, short in enumerate((5, 10, 20)):
            for row, long in enumerate((10, 30, 60)):
                if short >= long:
                    continue
                click(explorer, column, row)
                chosen = {"short": short, "long": long, "kind": "sma"}
                assert explorer._controls.parameter_values == chosen
                same_as_backtest(explorer)
                assert cursor(explorer) == (column, row)
                shown = explorer.backtest.metrics[swept.table.columns]  # type: ignore[union-attr]
                expected = swept.table.loc[(short, long)]
                np.testing.assert_allclose(shown, expected, rtol=1e-9, atol=1e-10)


def test_sliders_go_off_the_grid_and_the_cursor_with_them_only_on_it(swept: Any) -> None:
    with opened(swept) as explorer:
        sliders = explorer._controls.sliders
        move(sliders["short"], 7)
        same_as_backtest(explorer)
        assert cursor(explorer) is None
        move(sliders["short"], 10)
        move(sliders["long"], 30)
        same_as_backtest(explorer)
        assert cursor(explorer) == (1, 1)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["short", "long"]), st.integers(1, 90)), max_size=6))
def test_whatever_is_moved_what_is_shown_is_right_or_said_to_be_old(
    swept: Any, moves: list[tuple[str, int]]
) -> None:
    with opened(swept) as explorer:
        right = dict(explorer._controls.parameter_values)
        for name, value in moves:
            move(explorer._controls.sliders[name], max(value, 2) if name == "long" else value)
            now = explorer._controls.parameter_values
            if now["short"] < now["long"]:  # type: ignore[operator]
                right = dict(now)
                same_as_backtest(explorer)
            else:
                assert "expected short < long. Still shown: ma_cross(" in complaint(explorer)
                assert is_stale(explorer)
                assert explorer.backtest.parameters == right  # type: ignore[union-attr]


def test_an_invalid_cell_is_grey_and_says_why_when_it_is_clicked(swept: Any) -> None:
    with opened(swept) as explorer:
        before = explorer.backtest
        click(explorer, 2, 0)
        assert complaint(explorer).startswith(
            "⚠ short=20, long=10 is no valid combination for ma_cross; expected short < long."
        )
        assert explorer.backtest is before
        assert cursor(explorer) == (2, 0)
        assert "no sharpe" in explorer._plane._chart._readout.value  # type: ignore[union-attr]
        assert "no value (2 of 9 cells)" in explorer._plane._chart._legend.value  # type: ignore[union-attr]
        click(explorer, 2, 2)
        same_as_backtest(explorer)


def test_best_goes_to_the_best_row_of_the_metric(swept: Any) -> None:
    with opened(swept) as explorer:
        move(explorer._controls.sliders["short"], 3)
        move(explorer._controls.metric, "turnover")
        explorer._controls.best.click()
        best = dict(zip(("short", "long"), swept.best("turnover").name, strict=True))
        assert explorer._controls.parameter_values == {**best, "kind": "sma"}
        same_as_backtest(explorer)


# The plane


def test_a_metric_repaints_and_runs_nothing(swept: Any) -> None:
    with opened(swept) as explorer:
        figures, chart, run = explorer._figures, explorer._plane._chart, explorer.backtest
        assert isinstance(chart, HeatmapChart)
        before, mark = chart._image.image.value, chart._image
        move(explorer._controls.metric, "max_drawdown")
        assert explorer._plane._chart is chart  # the same figure,
        assert chart._image is mark
        assert chart._image.image.value != before  # another picture
        assert plane_of(explorer).loc[30, 5] == swept.table.loc[(5, 30), "max_drawdown"]
        assert "max drawdown (%)" in chart._legend.value
        assert explorer.sweep is swept
        assert explorer.backtest is run
        assert explorer._figures is figures


def test_one_level_is_a_line_with_a_cursor() -> None:
    one = aq.sweep(MINUTES, ma_cross, short=[5, 10, 40], long=30, timeframe="15m")
    with opened(one) as explorer:
        chart = explorer._plane._chart
        assert isinstance(chart, LineChart)
        for value in (5, 10):
            index = [5, 10].index(value)
            event = {"event": "element_click", "data": {"index": index}}
            chart._dots._handle_custom_msg(event, [])
            chosen = {"short": value, "long": 30, "kind": "sma"}
            assert explorer._controls.parameter_values == chosen
            same_as_backtest(explorer)
            assert (chart._cursor.visible, chart._cursor.x[0]) == (True, value)
            assert chart._cursor.y[0] == one.table.loc[(value,), "sharpe"]
        move(explorer._controls.sliders["short"], 7)
        assert not chart._cursor.visible
        move(explorer._controls.metric, "trades")
        assert isinstance(explorer._plane._chart, LineChart)


def test_of_many_levels_any_two_are_axes_and_the_others_sliders() -> None:
    four = aq.sweep(
        MINUTES, many, fast=[5, 8], slow=[20, 8], lower=[40.0, 62.5], kind=["one", "both"],
        timeframe="15m",
    )  # fmt: skip
    with opened(four, "trades") as explorer:
        controls = explorer._controls
        move(controls.across, "kind")  # from fast, which becomes a slider
        move(controls.up, "kind")  # and back: what was there goes to the other axis
        assert controls.drawn == ("slow", "kind")
        move(controls.across, "lower")
        assert controls.drawn == ("lower", "kind")
        visible = [name for name, cut in controls.slices.items() if cut.layout.display != "none"]
        assert visible == ["fast", "slow"]
        for fast in (5, 8):
            for slow in (20, 8):
                move(controls.slices["fast"], fast)
                move(controls.slices["slow"], slow)
                same = controls.parameter_values
                assert (same["fast"], same["slow"]) == (fast, slow)
                assert is_stale(explorer) == (fast >= slow)
                for lower in (40.0, 62.5):
                    for kind in ("one", "both"):
                        row = (fast, slow, lower, kind)
                        shown = plane_of(explorer).loc[kind, lower]
                        if row in four.table.index:
                            assert shown == four.table.loc[row, "trades"]
                        else:
                            assert np.isnan(shown)
        move(controls.slices["slow"], 20)
        click(explorer, 0, 1)
        assert controls.parameter_values == {"fast": 8, "slow": 20, "lower": 40.0, "kind": "both"}
        same_as_backtest(explorer)
        move(controls.sliders["lower"], 50.0)  # off the grid
        assert cursor(explorer) is None
        move(controls.sliders["lower"], 62.5)
        move(controls.sliders["fast"], 5)  # the plane is cut where the slider stands
        assert (controls.slices["fast"].value, cursor(explorer)) == (5, (1, 1))
        same_as_backtest(explorer)


def test_what_a_browser_rounds_is_still_on_the_grid() -> None:
    thirds = aq.sweep(MINUTES, many, lower=[100 / 3, 40.0, 0.1 + 0.2 + 60], timeframe="1h")
    with opened(thirds, "trades") as explorer:
        slider = explorer._controls.sliders["lower"]
        assert all(abs(v / slider.step - round(v / slider.step)) < 1e-3 for v in (40.0, 60.3))
        for place, sent in enumerate((33.33333333, 40.0, 60.3)):
            move(slider, sent)
            assert (
                explorer._controls.parameter_values["lower"] == thirds.grid.levels["lower"][place]
            )
            assert cursor(explorer) is not None
            same_as_backtest(explorer)


def test_timeframe_and_cost_that_are_levels_are_chosen_among_its_own() -> None:
    levels = aq.sweep(
        MINUTES, ma_cross, short=[5, 10], long=30, timeframe=["5m", "15m"], cost=[0.0, 0.0003]
    )
    with opened(levels) as explorer:
        controls = explorer._controls
        assert controls.timeframe.options == ("5m", "15m")
        for timeframe in ("5m", "15m"):
            for cost in (0.0003, 0.0):
                move(controls.timeframe, timeframe)
                move(controls.cost, cost)
                same_as_backtest(explorer)
                assert controls.slices["cost"].value == cost
                assert cursor(explorer) is not None
                assert cursor(explorer)[1] == ["5m", "15m"].index(timeframe)  # type: ignore[index]
        assert explorer.sweep is levels  # nothing had to be swept
        move(controls.sliders["short"], 5)
        click(explorer, 1, 1)
        assert options_of(explorer) == {
            **{"short": 10, "long": 30, "kind": "sma", "timeframe": "15m"},
            **{"cost": 0.0, "fill": "open"},
        }
        same_as_backtest(explorer)
        move(controls.fill, "close")  # no level: all are swept anew
        assert explorer.wait(LONG_WAIT)
        assert explorer.sweep.options.fill == "close"
        assert explorer.sweep.grid.levels == levels.grid.levels
        same_as_backtest(explorer)


def test_cells_and_the_best_of_them_are_those_of_the_table(swept: Any) -> None:
    cells = cells_of(swept, "fees_paid", ("long", "short"), {})
    assert (cells.columns.name, cells.index.name) == ("long", "short")
    for (short, long), value in swept.table["fees_paid"].items():
        assert cells.loc[short, long] == value
    assert np.isnan(cells.loc[10, 10])
    short, long = swept.best("fees_paid").name
    assert best_cell(cells, "fees_paid") == (long, short)
    assert best_cell(cells * np.nan, "sharpe") is None


# Strategies and candles of all kinds


def test_maps_of_one_sweep_share_their_colours_and_say_their_timeframe() -> None:
    grid = {"short": [5, 10], "long": [20, 40], "cost": [0.0, 0.001]}
    swept = aq.sweep(MINUTES, ma_cross, timeframe="15m", **grid)
    returns = swept.table["total_return"]
    maps = [swept.heatmap("total_return", cost=cost) for cost in grid["cost"]]
    assert [(one._low, one._high) for one in maps] == [(returns.min(), returns.max())] * 2
    days = "2023-03-01 to 2023-03-03"
    assert f"ma_cross · 15m · 4 trials · cost 0.001 · {days}" in maps[1]._head.value
    with opened(swept, "total_return") as explorer:
        controls = explorer._controls
        for cost in grid["cost"]:
            move(controls.slices["cost"], cost)
            assert plane_of(explorer).notna().sum().sum() == 4
            drawn = explorer._plane._chart
            assert (drawn._low, drawn._high) == (returns.min(), returns.max())  # type: ignore[union-attr]
    both = aq.sweep(MINUTES, ma_cross, timeframe=["15m", "1h"], short=[5, 10], long=20)
    assert f"ma_cross · 4 trials · {days}" in both.heatmap()._head.value  # an axis says it
    given = aq.sweep(MINUTES, ma_cross, short=[5, 10], long=[20, 40])
    assert "ma_cross · 1m · 4 trials" in given.heatmap()._head.value


def test_what_can_not_be_traced_is_shown_and_what_it_raises_is_said() -> None:
    with opened(aq.sweep(MINUTES, on_arrays, window=[5, 10], timeframe="15m")) as explorer:
        same_as_backtest(explorer)
        assert "Run on plain arrays" in explorer._figures.value
        assert not explorer._panels._lines.visible
        move(explorer._controls.sliders["window"], 13)
        assert "ValueError" in complaint(explorer)
        assert "thirteen <brings> bad luck" in complaint(explorer)
        assert "&lt;brings&gt;" in explorer._controls.complaint.value
        assert is_stale(explorer)
        move(explorer._controls.sliders["window"], 14)
        same_as_backtest(explorer)


def test_daily_bars() -> None:
    days = aq.resample(sample_candles("BTCUSDT", start="2023-01-01", end="2023-06-01"), "1d")
    with opened(aq.sweep(days, ma_cross, short=[2, 5], long=[6, 10])) as explorer:
        same_as_backtest(explorer, days)
        assert explorer._controls.timeframe.options == ("1d", "3d", "1w", "1M")
        move(explorer._controls.timeframe, "1w")
        assert explorer.wait(LONG_WAIT)
        same_as_backtest(explorer, days)


def test_one_bar_is_shown_though_nothing_is_known() -> None:
    one = MINUTES.iloc[:1]
    with opened(aq.sweep(one, ma_cross, short=[2, 3], long=[4, 5], timeframe="1m")) as explorer:
        same_as_backtest(explorer, one)
        assert "No trade, so no fees." in explorer._figures.value
        assert explorer._plane._chart._readout.value.count("no sharpe") == 1  # type: ignore[union-attr]
        assert len(explorer._panels._closes.x) == 2  # a dash: a point can't be seen
        for zoom in (explorer._controls.zoom_in, explorer._controls.reset):
            zoom.click()
        assert explorer._panels.window == explorer._bars("1m").whole


def test_start_and_end_and_all_options_are_kept() -> None:
    kept: dict[str, Any] = {"start": "2023-03-02", "end": "2023-03-03", "cash": 500.0}
    kept |= {"slippage": 0.0002, "direction": "both"}
    swept = aq.sweep(MINUTES, ma_cross, short=[5, 9], long=[20, 30], timeframe="5m", **kept)
    with opened(swept) as explorer:
        move(explorer._controls.cost, 3.0)
        assert explorer.wait(LONG_WAIT)
        expected = aq.backtest(MINUTES, ma_cross, **options_of(explorer), **kept)
        pd.testing.assert_series_equal(explorer.backtest.metrics, expected.metrics)  # type: ignore[union-attr]
        assert "Shorts are hypothetical" in explorer._figures.value
        assert "500" in explorer._figures.value


def test_an_unknown_metric_is_refused(swept: Any) -> None:
    before = len(_instances)
    with pytest.raises(aq.StrategyError, match="Did you mean 'sharpe'"):
        swept.explore("sharp")
    assert len(_instances) == before


def test_fees_are_told_in_words(swept: Any) -> None:
    with opened(swept) as explorer:
        figures = explorer.backtest.metrics  # type: ignore[union-attr]
        assert f"Fees took {figures.fees_paid:,.2f} of the quote" in explorer._figures.value
        assert f"would have returned {figures.gross_return:+,.2%}" in explorer._figures.value
        assert f"with them {figures.total_return:+,.2%}" in explorer._figures.value
        move(explorer._controls.cost, 0.0)
        assert explorer.wait(LONG_WAIT)
        assert "No fees at a cost of zero" in explorer._figures.value


@pytest.mark.parametrize(
    ("source", "chosen", "found"),
    [
        ("4h", "1d", ("4h", "8h", "12h", "1d", "3d", "1w", "1M")),
        ("1w", "1w", ("1w",)),
        ("1M", "1M", ("1M",)),
    ],
)
def test_timeframes_to_choose_from(source: str, chosen: str, found: tuple[str, ...]) -> None:
    assert timeframes_from(source, chosen) == found
