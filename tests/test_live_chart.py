"""The live chart without a browser: what it draws, on real feeds of a simulated exchange.

The venue's time stands still but for `advance`, so that nothing depends on how fast a test runs.
"""

from __future__ import annotations

import gc
import logging
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from ipywidgets.widgets.widget import _instances

from astraquant.backtesting import backtest
from astraquant.candles import candle_table, find_gaps, times_of
from astraquant.causality import check_strategy
from astraquant.data.sample import SYMBOLS, sample_candles
from astraquant.errors import DataError, FeedError, StrategyError
from astraquant.exchange import SimulatedExchange
from astraquant.feed import feed as feeds
from astraquant.feed.feed import Feed
from astraquant.indicators import sma
from astraquant.resampling import resample
from astraquant.strategies import Range, hold, ma_cross, strategy
from astraquant.timeframes import MINUTE
from astraquant.widgets import live, live_history, style, words
from astraquant.widgets.live import LiveChart, live_chart
from astraquant.widgets.live_bars import MOST
from astraquant.widgets.paper import CASH

DEADLINE = 60.0  # seconds; what is waited for comes long before
START = "2023-03-02"
MINUTES = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-03")
OTHERS = sample_candles("XRPUSDT", start="2023-03-01", end="2023-03-03")


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    tables = {"BTCUSDT": MINUTES, "XRPUSDT": OTHERS}
    with SimulatedExchange(tables, speed=0, start=START) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    """Whatever a chart has taken it gives back: threads, widgets, the logger."""
    threads, widgets = set(threading.enumerate()), set(_instances)
    logger = logging.getLogger("astraquant.feed")
    before = logger.level, list(logger.handlers)
    yield
    for chart in list(live._charts.values()):
        chart.close()
    deadline = time.monotonic() + DEADLINE
    while left := {t.name for t in threading.enumerate() if t not in threads}:
        left.discard("simulated-exchange")  # the test's own
        if not left:
            break
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
    assert not [repr(one) for key, one in _instances.items() if key not in widgets]
    assert (logger.level, list(logger.handlers)) == before


def until(condition: Callable[[], object], chart: LiveChart) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            said = [w.value for w in (chart._light, chart._message, chart._picture.paper)]
            raise AssertionError(f"it never came: {said}, {chart.feed.status}")
        time.sleep(0.01)


def settled(condition: Callable[[], object], chart: LiveChart) -> None:
    """Wait for a condition, and until all of the drawing that brought it about is done."""
    until(condition, chart)
    done = threading.Event()
    chart._wishes.put(done.set)  # it is fulfilled when the next drawing begins
    assert done.wait(DEADLINE)


def open_chart(venue: SimulatedExchange, **options: Any) -> LiveChart:
    """A chart that has drawn a forming candle."""
    chart = live_chart("BTCUSDT", venue=venue.url, **options)
    until(lambda: chart.feed.stats["connections"] == 1, chart)
    venue.advance("5s")
    settled(lambda: light(chart).startswith("● LIVE") and shown_tail(chart), chart)
    return chart


def boxes(chart: LiveChart, part: str) -> dict[int, list[float]]:
    """Candles of some marks by open time, without the two that are out of sight."""
    marks = getattr(chart._picture.panels, part).marks
    found = {}
    for mark in marks:
        pairs = zip(np.array(mark.x), np.array(mark.y), strict=False)  # it may be drawing just now
        for x, y in list(pairs)[2:]:
            found[int(x)] = [float(value) for value in y]
    return dict(sorted(found.items()))


def shown_tail(chart: LiveChart) -> list[float] | None:
    """The forming candle as drawn."""
    forming, tail = chart.feed.forming, boxes(chart, "_tail")
    return tail.get(forming.time) if forming else None


def agrees(chart: LiveChart) -> bool:
    """Whether the picture shows the newest candles of the feed."""
    forming = chart.feed.forming
    if forming is None or shown_tail(chart) != list(forming[1:5]):
        return False
    return max(boxes(chart, "_closed"), default=0) == int(times_of(chart.feed.candles)[-2])


def light(chart: LiveChart) -> str:
    return str(re.sub("<[^>]*>", "", chart._light.value))


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
    assert "Still shown: ma_cross(short=5, long=20)" in controls.complaint.value
    assert "sma(close, 5)" in chart._picture.panels.legend.value
    venue.advance("1m")
    settled(lambda: agrees(chart), chart)  # it goes on with what was right
    controls.sliders["short"].value = 7
    until(lambda: "sma(close, 7)" in chart._picture.panels.legend.value, chart)
    settled(lambda: not controls.complaint.value, chart)
    assert repr(chart) == "LiveChart(BTCUSDT, 1m, 127.0.0.1, ma_cross(short=7, long=20))"
    until(lambda: "ma_cross(short=7, long=20)" in chart._head.value, chart)
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


def test_pause_holds_the_picture_and_resume_catches_up(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    settled(lambda: agrees(chart), chart)
    chart._controls.pause.value = True
    until(lambda: "PAUSED" in light(chart), chart)
    held, closed = shown_tail(chart), boxes(chart, "_closed")
    tail = boxes(chart, "_tail")
    seen = len(chart.feed.candles)
    venue.advance("3m")
    until(lambda: len(chart.feed.candles) == seen + 3, chart)
    said = light(chart)
    until(lambda: light(chart) != said, chart)  # it was flushed since
    assert boxes(chart, "_closed") == closed
    assert boxes(chart, "_tail") == tail
    assert held is not None
    chart._controls.pause.value = False
    settled(lambda: agrees(chart), chart)


def test_a_dragged_view_stays_until_it_is_to_follow_again(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    time_scale = chart._picture.panels.time
    start, end = time_scale.min, time_scale.max
    with time_scale.hold_sync():  # what the browser sends
        time_scale.min, time_scale.max = start - 400 * MINUTE, end - 400 * MINUTE
    until(lambda: not chart._controls.follow.value, chart)
    venue.advance("2m")
    until(lambda: shown_tail(chart) == list(chart.feed.forming[1:5]), chart)
    assert (time_scale.min, time_scale.max) == (start - 400 * MINUTE, end - 400 * MINUTE)
    until(lambda: min(boxes(chart, "_closed")) <= time_scale.min, chart)
    drawn = boxes(chart, "_closed")
    prices = [y for x, y in drawn.items() if time_scale.min <= x <= time_scale.max]
    low, high = min(y[2] for y in prices), max(y[1] for y in prices)
    scale = chart._picture.panels._price
    until(lambda: scale.min < low and high < scale.max, chart)  # the axis fits what is in view
    assert scale.max - scale.min < 1.2 * (high - low)
    chart._controls.follow.value = True
    until(lambda: time_scale.max > chart.feed.forming.time, chart)
    settled(lambda: agrees(chart), chart)
    chart._controls.older.click()
    until(lambda: not chart._controls.follow.value, chart)
    assert time_scale.max < chart.feed.forming.time


def test_zoom(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    time_scale = chart._picture.panels.time

    def bars() -> int:
        return round((time_scale.max - time_scale.min) / MINUTE)

    assert bars() == 200
    chart._controls.zoom_in.click()
    until(lambda: bars() == 133, chart)
    chart._controls.zoom_out.click()
    chart._controls.zoom_out.click()
    until(lambda: bars() == 300, chart)
    chart._controls.zoom_all.click()
    until(lambda: bars() == MOST, chart)
    until(lambda: len(boxes(chart, "_closed")) >= MOST - 20, chart)
    assert chart._controls.follow.value


def test_coarser_timeframes_are_made_of_the_feeds_minutes(venue: SimulatedExchange) -> None:
    chart = open_chart(venue, strategy=ma_cross, short=3, long=9)
    feed = chart.feed
    chart._controls.timeframe.value = "3m"
    picture = chart._picture
    until(lambda: "BTCUSDT · 3m" in chart._head.value and len(boxes(chart, "_closed")), chart)
    until(lambda: chart.feed is not feed and chart.feed.stats["connections"] == 1, chart)
    for step in ("70s", "70s", "70s"):
        venue.advance(step)
        until(lambda: chart.feed.forming is not None, chart)

    def right() -> bool:
        now = chart.feed
        known = pd.concat([now.candles, candle_table([now.forming])])
        last = resample(known, "3m", partial=True).iloc[-1]
        drawn = boxes(chart, "_tail")
        expected = resample(now.candles, "3m")
        return (
            list(drawn.values())[-1] == last[["open", "high", "low", "close"]].tolist()
            and next(iter(drawn)) == times_of(expected)[-1]
        )

    until(right, chart)
    assert chart._picture is picture
    assert chart.feed is not feed  # it had too few minutes for bars so long
    assert not feed.is_running
    assert repr(chart) == "LiveChart(BTCUSDT, 3m, 127.0.0.1, ma_cross(short=3, long=9))"


def test_another_symbol_and_one_that_there_is_not(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    former = chart.feed
    controls = chart._controls
    assert controls.symbol.options == ("BTCUSDT", "XRPUSDT")
    controls.symbol.value = "XRPUSDT"
    until(lambda: "XRPUSDT" in chart._head.value, chart)
    until(lambda: chart.feed.stats["connections"] == 1, chart)
    venue.advance("10s")
    settled(lambda: chart.feed.forming is not None and shown_tail(chart), chart)
    assert not former.is_running
    assert chart._picture.panels._amounts.label == "volume (XRP)"
    assert chart._picture.panels._last_price.tick_format == ",.4f"
    assert chart._message.value == ""
    good = chart.feed
    controls.symbol.options = (*controls.symbol.options, "NOPEUSDT")
    controls.symbol.value = "NOPEUSDT"
    settled(
        lambda: "NOPEUSDT" in chart._message.value and "Loading" not in chart._message.value, chart
    )
    assert controls.symbol.value == "XRPUSDT"
    assert chart.feed is good and good.is_running


def test_another_chart_of_the_symbol_replaces_the_former(venue: SimulatedExchange) -> None:
    first = open_chart(venue)
    second = open_chart(venue, timeframe="5m")
    assert not first._open
    assert not first.feed.is_running
    assert not first._thread.is_alive()
    assert second.feed.is_running
    assert list(live._charts.values()) == [second]
    third = live_chart("XRPUSDT", venue=venue.url)
    assert second._open and third._open
    first.close()  # once more: nothing happens
    assert set(live._charts.values()) == {second, third}


def test_a_stopped_chart_stands_still_and_stays(venue: SimulatedExchange) -> None:
    chart = open_chart(venue, strategy=ma_cross, short=5, long=20)
    settled(lambda: agrees(chart), chart)
    held = boxes(chart, "_closed")
    chart.stop()
    chart.stop()
    assert light(chart).startswith("○ STOPPED") or "STOPPED" in light(chart)
    assert not chart.feed.is_running
    assert not chart._thread.is_alive()
    assert boxes(chart, "_closed") == held
    assert chart.comm is not None  # it is still shown
    assert all(c.disabled for row in chart._controls.rows for c in row.children[:-1])
    assert not live._charts
    chart.close()
    assert chart.comm is None


def test_a_closed_chart_is_forgotten(venue: SimulatedExchange) -> None:
    before = len(_instances)

    def open_and_close() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        chart = open_chart(venue, strategy=ma_cross, short=5, long=20)
        full = len(_instances)
        venue.advance("2m")
        settled(lambda: agrees(chart), chart)
        assert len(_instances) == full > before  # drawing makes no widgets
        chart.close()
        assert len(_instances) == before
        assert repr(chart).startswith("LiveChart(BTCUSDT, 1m")
        return weakref.ref(chart), weakref.ref(chart.feed)

    left = open_and_close()
    gc.collect()
    assert [one() for one in left] == [None, None]


def test_a_failure_to_draw_is_shown_and_goes_away(
    venue: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = open_chart(venue)

    def fail(*_: object, **__: object) -> bool:
        raise KeyError("<broken>")

    with monkeypatch.context() as patch:
        patch.setattr(chart._picture, "draw", fail)
        until(lambda: chart._message.value, chart)
        assert "can&#x27;t be drawn: KeyError: &#x27;&lt;broken&gt;" in chart._message.value
        assert chart._thread.is_alive()
    until(lambda: not chart._message.value, chart)
    venue.advance("1m")
    settled(lambda: agrees(chart), chart)


def test_the_log_shows_the_lines_of_its_own_feed(venue: SimulatedExchange) -> None:
    chart = open_chart(venue)
    with Feed("XRPUSDT", venue=venue.url, name="another"):
        venue.advance("1m")
        until(lambda: "candle closed: BTCUSDT" in chart._log._text.value, chart)
        assert chart._log.widget.selected_index is None  # a drawer that is shut
        assert "XRPUSDT" not in chart._log._text.value
    venue.advance("40m")
    until(lambda: len(chart._log.lines) == 30, chart)
    other = live_chart("XRPUSDT", venue=venue.url)
    chart.close()
    assert logging.getLogger("astraquant.feed").isEnabledFor(logging.INFO)
    other.close()
    assert not logging.getLogger("astraquant.feed").isEnabledFor(logging.INFO)


def test_a_venue_out_of_reach_is_shown_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "START_WITHIN", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chart = live_chart("BTCUSDT", venue=f"http://127.0.0.1:{port}", strategy=ma_cross)
    assert repr(chart) == "LiveChart(BTCUSDT, 1m, 127.0.0.1, ma_cross(short=50, long=200))"
    assert "No candle of BTCUSDT so far" in chart._message.value
    assert "127.0.0.1" in chart._head.value and style.BADGE not in chart._head.value
    assert not chart._picture.panels._prices.visible
    assert chart._controls.drop.layout.display == "none"
    until(lambda: light(chart).startswith("◐"), chart)
    with SimulatedExchange(MINUTES, speed=0, start=START, port=port):
        settled(lambda: len(boxes(chart, "_closed")) > 100, chart)
        until(lambda: not chart._message.value, chart)
        assert chart._picture.panels._prices.visible
        assert "SIMULATED PRICES" in chart._head.value
        chart.close()


def test_what_trying_again_can_not_mend_is_raised(venue: SimulatedExchange) -> None:
    with pytest.raises(FeedError, match="NOPEUSDT"):
        live_chart("NOPEUSDT", venue=venue.url)
    with pytest.raises(FeedError, match="Did you mean 'BTCUSDT'"):
        live_chart("BTCUSD")
    for path in ("/api/v3/time", "/api/v3/klines"):
        venue.answer(path, status=451, times=50)
    with pytest.raises(FeedError, match="451|region|refuses"):
        live_chart("BTCUSDT", venue=venue.url)
    assert not live._charts


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeframe": "1s"}, DataError, "expected one of 1m, 3m"),
        ({"timeframe": "1d"}, DataError, "made of minutes"),
        ({"timeframe": "5min"}, DataError, "Did you mean '5m'"),
        ({"short": 5}, StrategyError, "strategy=ma_cross"),
        ({"strategy": ma_cross, "short": 30, "long": 20}, StrategyError, "short < long"),
        ({"strategy": ma_cross, "shrot": 30}, StrategyError, "Did you mean 'short'"),
        ({"strategy": ma_cross.function}, StrategyError, "put @strategy above its def"),
        ({"strategy": ma_cross, "cost": 2}, StrategyError, "cost=2"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        live_chart("BTCUSDT", **options)
    assert not live._charts


def test_the_sample_market_needs_nothing_but_a_symbol() -> None:
    chart = live_chart("BTCUSDT", strategy=ma_cross, short=5, long=20)
    assert repr(chart) == "LiveChart(BTCUSDT, 1m, sim, ma_cross(short=5, long=20))"
    assert chart._repr_mimebundle_()["text/plain"] == repr(chart)
    settled(lambda: agrees(chart), chart)
    assert chart._controls.symbol.options == SYMBOLS
    assert "20 × real time" in light(chart)
    before = len(chart.feed.candles)
    settled(lambda: len(chart.feed.candles) > before and agrees(chart), chart)
