"""How a live chart is steered, and how it ends: controls, bad input, what it gives back."""

from __future__ import annotations

import gc
import logging
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from ipywidgets.widgets.widget import _instances
from live_charts import (
    MINUTES,
    START,
    agrees,
    boxes,
    light,
    nothing_left,
    open_chart,
    settled,
    shown_tail,
    two_markets,
    until,
)

from astraquant.candles import candle_table, times_of
from astraquant.data.sample import SYMBOLS
from astraquant.errors import DataError, FeedError, StrategyError
from astraquant.exchange import SimulatedExchange
from astraquant.feed import feed as feeds
from astraquant.feed.feed import Feed
from astraquant.resampling import resample
from astraquant.strategies import ma_cross
from astraquant.timeframes import MINUTE
from astraquant.widgets import live, style
from astraquant.widgets.live import live_chart
from astraquant.widgets.live_bars import MOST


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    with two_markets() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_remains() -> Iterator[None]:
    with nothing_left():
        yield


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
    assert repr(chart) == "LiveChart(BTCUSDT, 3m, 127.0.0.1, ma_cross(short=3, long=9, kind='sma'))"


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
    assert (
        repr(chart) == "LiveChart(BTCUSDT, 1m, 127.0.0.1, ma_cross(short=50, long=200, kind='sma'))"
    )
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
    assert repr(chart) == "LiveChart(BTCUSDT, 1m, sim, ma_cross(short=5, long=20, kind='sma'))"
    assert chart._repr_mimebundle_()["text/plain"] == repr(chart)
    settled(lambda: agrees(chart), chart)
    assert chart._controls.symbol.options == SYMBOLS
    assert "20 × real time" in light(chart)
    before = len(chart.feed.candles)
    settled(lambda: len(chart.feed.candles) > before and agrees(chart), chart)
