"""The live chart without a browser: what it draws, on real feeds of a simulated exchange.

The venue's time stands still but for `advance`, so that nothing depends on how fast a test runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from live_charts import (
    MINUTES,
    START,
    agrees,
    boxes,
    light,
    nothing_left,
    open_chart,
    settled,
    two_markets,
    until,
)

from astraquant.backtesting import backtest
from astraquant.candles import candle_table, find_gaps, times_of
from astraquant.causality import check_strategy
from astraquant.data.sample import sample_candles
from astraquant.errors import StrategyError
from astraquant.exchange import SimulatedExchange
from astraquant.indicators import sma
from astraquant.strategies import Range, hold, ma_cross, strategy
from astraquant.timeframes import MINUTE
from astraquant.widgets import live, live_history, style, words
from astraquant.widgets.live import live_chart
from astraquant.widgets.paper import CASH


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    with two_markets() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    with nothing_left():
        yield


def test_history_and_the_last_two_candles_are_drawn(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    settled(lambda: agrees(chart), chart)
    candles = chart.feed.candles
    drawn = boxes(chart, "_closed")
    assert 200 <= len(drawn) <= 320  # the view and half of it more to the left
    times = times_of(candles)
    assert list(drawn) == times[-1 - len(drawn) : -1].tolist()
    prices = candles[["open", "high", "low", "close"]].to_numpy()
    assert list(drawn.values()) == prices[-1 - len(drawn) : -1].tolist()
    assert list(boxes(chart, "_tail")) == [times[-1], chart.feed.forming.time]
    volume = boxes(chart, "_volume")
    assert [max(y) for y in volume.values()] == candles["volume"][-1 - len(drawn) : -1].tolist()
    panels = chart._picture.panels
    assert panels._prices.label == "price (USDT, simulated)"
    assert panels._amounts.label == "volume (BTC)"
    assert panels._last_price.tick_values.tolist() == [chart.feed.forming.close]
    assert panels._last.y.tolist() == [chart.feed.forming.close] * 2
    assert "SIMULATED PRICES" in chart._head.value
    assert light(chart).startswith("● LIVE for ")


def test_rising_and_falling_candles_have_their_colours(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    for part in ("_closed", "_tail", "_volume"):
        rising, falling = getattr(chart._picture.panels, part).marks
        assert rising.colors[0].startswith(style.LONG)
        assert falling.colors[0].startswith(style.DRAWDOWN)
        assert all(y[3] >= y[0] for y in np.array(rising.y)[2:])
        assert all(y[3] < y[0] for y in np.array(falling.y)[2:])
        for mark in (rising, falling):
            if len(mark.x):  # two in front that nobody sees tell bqplot how broad a candle is
                assert mark.x[1] - mark.x[0] == MINUTE
                assert mark.x[1] < chart._picture._window[0] - 100 * MINUTE


def test_history_is_touched_only_when_a_candle_closes(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    settled(lambda: agrees(chart), chart)
    touched: list[str] = []
    panels = chart._picture.panels
    draw = panels.draw
    panels.draw = lambda *given: (touched.append("draw"), draw(*given))[1]  # type: ignore[method-assign]
    for part in (panels._closed, panels._volume):
        for mark in part.marks:
            mark.observe(lambda change: touched.append(change["name"]), ["x", "y"])
    for _ in range(5):
        seen = chart.feed.stats["messages"]
        venue.advance("10s")
        settled(lambda: chart.feed.stats["messages"] > seen and agrees(chart), chart)  # noqa: B023
    assert touched == []
    venue.advance("10s")
    settled(lambda: {"draw", "x", "y"} <= set(touched) and agrees(chart), chart)


def test_a_flood_of_messages_is_drawn_at_the_charts_own_pace(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    drawn: list[float] = []
    flush = chart._flush
    chart._flush = lambda: (drawn.append(0.0), flush())[1]  # type: ignore[method-assign]
    updates: list[str] = []
    for mark in chart._picture.panels._tail.marks:
        mark.observe(lambda change: updates.append("tail"), "y")
    seen = len(chart.feed.candles)
    venue.advance("30m")
    settled(lambda: len(chart.feed.candles) == seen + 30 and agrees(chart), chart)
    assert chart.feed.stats["messages"] > 500
    assert len(updates) <= 2 * len(drawn)  # one change of each mark a flush, not one a message


def test_a_dropped_connection_is_shown_and_its_gap_marked_and_filled(
    venue: SimulatedExchange,
) -> None:
    chart = open_chart(venue)
    lights: list[str] = []
    chart._light.observe(lambda change: lights.append(change["new"]), "value")
    assert chart._controls.drop.layout.display is None
    chart._controls.drop.click()
    until(lambda: "RECONNECTING" in light(chart), chart)
    assert light(chart).startswith("◐ RECONNECTING for ")
    assert words.AMBER in chart._light.value
    venue.advance("3m")
    until(lambda: len(chart.feed.gaps), chart)
    until(lambda: "filled since" in chart._picture.gap.value, chart)
    assert "3 candles missed from 02 Mar 00:00 on" in chart._picture.gap.value
    venue.advance("5s")
    settled(lambda: light(chart).startswith("● LIVE") and agrees(chart), chart)
    panels = chart._picture.panels
    start = int(pd.Timestamp(START, tz="UTC").timestamp() * 1000)
    assert panels._bands.visible
    assert np.array(panels._bands.x).ravel().tolist() == [
        start, start, start + 3 * MINUTE, start + 3 * MINUTE,
    ]  # fmt: skip
    assert panels._bands.colors == [style.EQUITY]
    assert list(panels._signs.text) == ["✓"]
    assert "gap, filled since" in panels.legend.value
    assert len(find_gaps(chart.feed.candles)) == 0
    assert any("HTTP 503" in one for one in lights)


def test_the_venues_own_gap_is_marked_as_such() -> None:
    halted = MINUTES.drop(MINUTES.index[1_400:1_410])
    with SimulatedExchange(halted, speed=0, start=START) as venue:
        chart = open_chart(venue)
        assert list(chart._picture.panels._signs.text) == ["∅"]
        assert "gap, the venue has none either" in chart._picture.panels.legend.value
        assert "10 candles missing" in chart._picture.gap.value
        chart.close()


def test_the_strategy_runs_on_closed_candles(venue: SimulatedExchange) -> None:
    chart = open_chart(venue, strategy=ma_cross, short=3, long=9, cost=0.002)
    settled(lambda: agrees(chart), chart)
    assert "begins with the next bar" in chart._picture.paper.value
    for _ in range(12):
        venue.advance("1m")
        settled(lambda: agrees(chart), chart)
    picture, feed = chart._picture, chart.feed
    table = pd.concat([feed.candles, candle_table([feed.forming])])
    began = pd.Timestamp(START, tz="UTC") + pd.Timedelta("1min")
    until(lambda: "began at 02 Mar 00:01" in picture.paper.value, chart)
    truth = backtest(table, ma_cross, start=began, short=3, long=9, cost=0.002)
    assert len(truth.trades)
    profit = truth.equity.iloc[-1] - CASH
    assert f"{profit:+,.2f} USDT" in picture.paper.value
    assert f"{truth.trades['fees'].sum():,.2f} USDT" in picture.paper.value
    lines = backtest(feed.candles, ma_cross, short=3, long=9).lines
    drawn = np.array(picture.panels._lines.y)
    for k, line in enumerate(lines.values()):
        np.testing.assert_allclose(drawn[k], line.to_numpy()[-drawn.shape[1] :], rtol=1e-6)
    assert np.array(picture.panels._lines.x)[-1] == times_of(feed.candles)[-1]
    entries = picture.panels._trades[1, True]
    assert set(truth.trades["entry_price"]) <= set(np.array(entries.y).tolist())
    for name in ("sma(close, 3)", "sma(close, 9)", "long entry", "long exit", "paper account"):
        assert name in picture.panels.legend.value


def test_sliders_steer_the_strategy_and_complain_in_place(venue: SimulatedExchange) -> None:
    chart = open_chart(venue, strategy=ma_cross, short=5, long=20)
    controls = chart._controls
    assert (controls.sliders["short"].min, controls.sliders["short"].max) == (1, 400)
    controls.sliders["short"].value = 20
    until(lambda: controls.complaint.value, chart)
    assert "expected short &lt; long" in controls.complaint.value
    still = "Still shown: ma_cross(short=5, long=20, kind=&#x27;sma&#x27;)"
    assert still in controls.complaint.value
    assert "sma(close, 5)" in chart._picture.panels.legend.value
    venue.advance("1m")
    settled(lambda: agrees(chart), chart)  # it goes on with what was right
    controls.sliders["short"].value = 7
    until(lambda: "sma(close, 7)" in chart._picture.panels.legend.value, chart)
    settled(lambda: not controls.complaint.value, chart)
    assert (
        repr(chart) == "LiveChart(BTCUSDT, 1m, 127.0.0.1, ma_cross(short=7, long=20, kind='sma'))"
    )
    named = "ma_cross(short=7, long=20, kind=&#x27;sma&#x27;)"
    until(lambda: named in chart._head.value, chart)
    assert "begins with the next bar" in chart._picture.paper.value  # no profit in hindsight


def test_every_kind_of_parameter_has_its_control(venue: SimulatedExchange) -> None:
    @strategy
    def many(
        candles: Any,
        window: Annotated[int, Range(2, 50)] = 3,
        level: Annotated[float, Range(0, 45)] = 0.123,
        free: int = 7,
        loose: float = 0.5,
        kind: Literal["up", "down"] = "down",
        note: str = "x",
    ) -> Any:
        """Hold while the price lies above a level."""
        return candles.close > level + free + loose

    chart = open_chart(venue, strategy=many)
    sliders = chart._controls.sliders
    kinds = ["IntSlider", "FloatSlider", "IntText", "FloatText", "Dropdown", "Text"]
    assert [type(slider).__name__ for slider in sliders.values()] == kinds
    steps = sliders["level"].value / sliders["level"].step
    assert steps == pytest.approx(round(steps))  # a browser moves what lies between two steps
    sliders["level"].value = 0.12300000000000001
    sliders["kind"].value = "up"
    until(lambda: "kind='up'" in repr(chart), chart)
    told = "window=3, level=0.123, free=7, loose=0.5, kind='up', note='x'"
    assert repr(chart) == f"LiveChart(BTCUSDT, 1m, 127.0.0.1, many({told}))"


def test_a_strategy_that_begins_to_fail_is_named_and_the_candles_go_on(
    venue: SimulatedExchange,
) -> None:
    trouble: list[str] = []

    @strategy
    def brittle(candles: Any) -> Any:
        """Divide by nothing, one day."""
        if trouble:
            raise ZeroDivisionError("on purpose")
        return candles.close > 0

    chart = open_chart(venue, strategy=brittle)
    assert chart._controls.complaint.value == ""
    trouble.append("now")
    venue.advance("1m")
    until(lambda: "on purpose" in chart._controls.complaint.value, chart)
    settled(lambda: agrees(chart), chart)


def test_a_strategy_that_fails_or_looks_ahead_is_refused(venue: SimulatedExchange) -> None:
    @strategy
    def broken(candles: Any) -> Any:
        """Divide by nothing."""
        raise ZeroDivisionError("on purpose")

    @strategy
    def prophet(candles: Any) -> Any:
        """Hold if the next close is higher."""
        return np.append(candles.close[1:] > candles.close[:-1], False)

    with pytest.raises(StrategyError, match="on purpose"):
        live_chart("BTCUSDT", venue=venue.url, strategy=broken)
    with pytest.raises(StrategyError, match="changed its mind about the past"):
        live_chart("BTCUSDT", venue=venue.url, strategy=prophet)
    assert not live._charts


def test_history_grows_until_the_check_is_content(monkeypatch: pytest.MonkeyPatch) -> None:
    @strategy
    def patient(candles: Any) -> Any:
        """Hold after a rare climb until a rare fall."""
        change = candles.close / sma(candles.close, 30) - 1
        return hold(enter=change > 0.003, exit=change < -0.003)

    monkeypatch.setattr(live_history, "MOST", 250)  # begin with 500 minutes
    table = sample_candles("BTCUSDT", start="2023-02-20", end="2023-03-03")
    with SimulatedExchange(table, speed=0, start=START) as venue:
        chart = live_chart("BTCUSDT", venue=venue.url, strategy=patient)
        found = chart.feed.candles
        assert len(found) == 2000
        assert check_strategy(patient, found).needs is not None
        assert check_strategy(patient, found.iloc[-500:]).needs is None
        chart.close()
