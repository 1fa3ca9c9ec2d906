"""The explorer's panels: thinned, zoomed in, true; what a step of a slider changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import bqplot as bq
import numpy as np
import pandas as pd
import pytest
from explorers import (
    LONG_WAIT,
    MINUTES,
    move,
    nine_cells,
    opened,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets.widgets.widget import _instances

import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
from astraquant.widgets import style
from astraquant.widgets.explorer_run import FEWEST, MOST_CANDLES, POINTS, Bars, RunPanels
from astraquant.widgets.explorer_trades import MARKED_TRADES


@pytest.fixture(scope="module")
def swept() -> Any:
    return nine_cells()


# The panels


def test_candles_are_made_ready_once_for_all_steps(swept: Any) -> None:
    with opened(swept) as explorer:
        closes = []
        for short in (6, 7):
            move(explorer._controls.sliders["short"], short)
            closes.append(explorer.backtest._market.columns["close"])  # type: ignore[union-attr]
        assert np.shares_memory(*closes)


def test_a_step_makes_no_widget_and_sends_no_line_anew_that_stays(swept: Any) -> None:
    with opened(swept) as explorer:
        move(explorer._controls.sliders["short"], 6)
        panels, there = explorer._panels, len(_instances)
        marks = [
            mark for part in panels.parts if isinstance(part, bq.Figure) for mark in part.marks
        ]
        changed: list[Any] = []
        for mark in marks:
            mark.observe(lambda change: changed.append(change.owner), ["x", "y"])
        move(explorer._controls.sliders["short"], 7)
        assert len(_instances) == there
        assert panels._closes not in changed
        assert panels._hold not in changed
        assert {id(panels._money), id(panels._fall), id(panels._lines)} <= set(map(id, changed))


@pytest.fixture(scope="module")
def long_run() -> Any:
    """Three weeks of minutes, with more trades than can be marked."""
    candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-22")
    return aq.sweep(candles, ma_cross, short=[2, 3], long=[5, 8], timeframe="1m")


def drawn_bars(panels: RunPanels) -> tuple[Any, Any]:
    return panels._closes.x, panels._closes.y


@pytest.fixture(scope="module")
def panels() -> Iterator[RunPanels]:
    made = RunPanels(threading.RLock())
    yield made
    for part in made.parts:
        style.close_all(part)


@given(low=st.floats(-1e4, 1e4), span=st.floats(0.01, 1e5), ticks=st.sampled_from([4, 7]))
def test_a_value_axis_ends_at_round_numbers(
    panels: RunPanels, low: float, span: float, ticks: int
) -> None:
    high, step = low + span, style.nice_step(span, ticks)
    axis = panels._equity
    axis._ticks = ticks
    axis.set_scale(low - 3 * span, high)  # of the same ends but other ticks nothing would change
    axis.set_scale(low, high)
    scale, near = axis.values.scale, 1e-6 * step
    assert low - step / 2 - near <= scale.min <= low + near
    assert high - near <= scale.max <= high + step / 2 + near
    for number in (2 * scale.min / step, 2 * scale.max / step, *axis.values.tick_values / step):
        assert number == pytest.approx(round(number), abs=1e-6)
    assert np.diff(axis.values.tick_values) == pytest.approx(step)
    assert len(axis.values.tick_values) >= 2


def test_a_long_run_is_thinned_until_it_is_zoomed_in(long_run: Any) -> None:
    with opened(long_run) as explorer:
        panels, bars = explorer._panels, explorer._bars("1m")
        legend = panels._price.legend
        x, y = drawn_bars(panels)
        assert len(x) <= POINTS + 4 < len(bars.times)
        assert y.min() == np.float32(bars.close.min())
        assert y.max() == np.float32(bars.close.max())
        marked = sum(len(mark.x) for mark in panels._markers.marks)
        assert MARKED_TRADES <= marked <= 2 * MARKED_TRADES + 1
        trades = explorer.backtest.trades  # type: ignore[union-attr]
        still = f", {n} of them open" if (n := int((trades.status == "open").sum())) else ""
        said = f"{len(trades):,} trades{still}; {MARKED_TRADES} are marked: zoom in to see all"
        assert said in legend.value
        assert not panels._candles.visible

        start = float(bars.times[5_000])
        window = start, start + 200 * 60_000.0
        with panels.time.hold_trait_notifications():  # as the browser does when it zooms
            panels.time.min, panels.time.max = window
        assert panels.window == window
        assert panels._candles.visible
        assert not panels._closes.visible
        first = int(np.searchsorted(bars.times, panels._candles.x[0]))
        shown = slice(first, first + len(panels._candles.x))
        np.testing.assert_array_equal(panels._candles.x, bars.times[shown])
        for column, prices in enumerate(bars.prices):
            np.testing.assert_array_equal(panels._candles.y[:, column], prices[shown])
        assert panels._candles.x[0] <= window[0]
        assert panels._candles.x[-1] >= window[1]
        begin, end = (pd.Timestamp(t, unit="ms", tz="UTC") for t in window)
        inside = trades[(trades.entry_time >= begin) & (trades.entry_time <= end)]
        entries = panels._markers._marks[1, "entry"]
        at = dict(zip(entries.x.tolist(), entries.y.tolist(), strict=True))
        for time, price in zip(inside.entry_time, inside.entry_price, strict=True):
            assert at[time.timestamp() * 1000] == price
        assert "are marked" not in legend.value
        assert "in view" in legend.value

        explorer._controls.reset.click()
        assert panels.window == bars.whole
        np.testing.assert_array_equal(drawn_bars(panels)[0], x)
        assert not panels._candles.visible


def test_buttons_zoom_and_move(long_run: Any) -> None:
    with opened(long_run) as explorer:
        controls, panels = explorer._controls, explorer._panels
        start, end = panels.window
        controls.zoom_in.click()
        assert panels.window == pytest.approx((start + (end - start) / 4, end - (end - start) / 4))
        half = panels.window
        controls.later.click()
        assert panels.window[0] == pytest.approx(half[0] + (end - start) / 4)
        controls.earlier.click()
        assert panels.window == pytest.approx(half)
        controls.zoom_out.click()
        assert panels.window == pytest.approx((start, end))
        assert (panels.time.min, panels.time.max) == pytest.approx((start, end))


@settings(max_examples=40)
@given(st.floats(-2.0, 3.0), st.floats(1e-7, 4.0))
def test_any_window_shows_true_bars_and_never_nothing(
    long_run: Any, first: float, width: float
) -> None:
    with opened(long_run) as explorer:
        panels, bars = explorer._panels, explorer._bars("1m")
        start, end = bars.whole
        panels.look_at((start + first * (end - start), start + (first + width) * (end - start)))
        low, high = panels.window
        assert FEWEST * bars.length - 1 <= high - low <= end - start + 1
        at = panels._candles.x if panels._candles.visible else panels._closes.x
        found = np.searchsorted(bars.times, at)
        np.testing.assert_array_equal(bars.times[found], at)
        if not panels._candles.visible:
            np.testing.assert_array_equal(panels._closes.y, bars.close[found].astype(np.float32))
        inside = (bars.times >= low) & (bars.times <= high)
        assert inside.any()
        assert panels._candles.visible == (inside.sum() + 2 <= MOST_CANDLES)
        seen = panels._candles.y if panels._candles.visible else panels._closes.y
        assert np.isfinite(seen).all()
        axis = panels._price.figure.axes[1].scale
        assert axis.min < bars.close[inside].min()
        assert bars.close[inside].max() < axis.max


def test_another_timeframe_keeps_the_view(long_run: Any) -> None:
    with opened(long_run) as explorer:
        for _ in range(3):
            explorer._controls.zoom_in.click()
        window = explorer._panels.window
        move(explorer._controls.timeframe, "30m")
        assert explorer.wait(LONG_WAIT)
        assert explorer._panels.window == window
        explorer._controls.reset.click()
        move(explorer._controls.timeframe, "1h")
        assert explorer.wait(LONG_WAIT)
        assert explorer._panels.window == explorer._bars("1h").whole


def test_bars_know_which_lie_in_a_window() -> None:
    from astraquant.runs import Market

    bars = Bars(Market(MINUTES, "1h"))
    assert bars.within(bars.whole) == (0, 72)
    assert bars.within((bars.times[3], bars.times[5])) == (2, 6)
    assert bars.within((bars.times[3] + 1, bars.times[3] + 2)) == (3, 5)
