"""The feed over real sockets: its life, its faults one by one, bad input."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pandas as pd
import pytest
from feeds import MINUTES, START, check_same, last, play_out, reaches, sample, standing_still, until

from astraquant import Feed
from astraquant.candles import is_synthetic
from astraquant.exchange import SimulatedExchange


@pytest.fixture
def candles() -> pd.DataFrame:
    return sample("BTCUSDT", *MINUTES)


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    """An exchange whose time is moved by hand."""
    with standing_still() as running:
        yield running


@pytest.fixture
def feed(venue: SimulatedExchange) -> Iterator[Feed]:
    with Feed("BTCUSDT", venue=venue.url) as running:
        venue.advance("5s")
        yield running.wait("LIVE")


def test_it_begins_with_history_and_follows_the_market(
    venue: SimulatedExchange, candles: pd.DataFrame
) -> None:
    feed = Feed("BTCUSDT", venue=venue.url, history=30)
    assert feed.status.state == "STOPPED"
    with feed:
        assert len(feed.candles) == 30
        assert last(feed) == "00:59"
        assert feed.candles.attrs["symbol"] == "BTCUSDT"
        assert is_synthetic(feed.candles.attrs["source"])
        assert feed.is_simulated
        assert feed.simulator is venue
        venue.advance("65s")
        feed.wait("LIVE")
        until(lambda: last(feed) == "01:00", feed)
        until(lambda: feed.forming is not None, feed)
        assert feed.forming.time == feed.candles.index[-1].value // 10**6 + 60_000
        play_out(venue)
        until(reaches(feed, candles), feed)
        check_same(feed, candles)
        assert len(feed.gaps) == 0
        assert feed.stats["closed"] == 60
    assert feed.status.state == "STOPPED"
    assert feed.simulator is None
    check_same(feed, candles)  # what has come stays


def test_a_reset_connection_is_mended_and_what_was_missed_is_filled(
    venue: SimulatedExchange, feed: Feed, candles: pd.DataFrame
) -> None:
    with feed.subscribe() as cursor:
        venue.refuse(503, 2)
        venue.kill()
        feed.wait("RECONNECTING")
        assert "503" in feed.status.reason or "broke off" in feed.status.reason
        venue.advance("3m")
        until(lambda: last(feed) == "01:02", feed)
        venue.advance("5s")
        feed.wait("LIVE")
        assert feed.gaps[["missing", "kind"]].to_numpy().tolist() == [[3, "ours"]]
        kinds = [update.kind for update in cursor.take() if update.kind != "forming"]
        assert kinds == ["gap", "filled", "filled", "filled"]
    check_same(feed, candles.loc[:"2023-02-01 01:02"])  # type: ignore[misc]


def test_a_server_that_is_restarted_is_found_again(
    venue: SimulatedExchange, feed: Feed, candles: pd.DataFrame
) -> None:
    venue.stop()
    feed.wait("RECONNECTING")
    venue.advance("2m")
    venue.start()
    until(lambda: last(feed) == "01:01", feed)
    venue.advance("5s")
    feed.wait("LIVE")
    check_same(feed, candles.loc[:"2023-02-01 01:01"])  # type: ignore[misc]


@pytest.mark.parametrize("fault", ["freeze", "mute"])
def test_a_connection_without_data_turns_stale_and_is_replaced(
    venue: SimulatedExchange, feed: Feed, candles: pd.DataFrame, fault: str
) -> None:
    getattr(venue, fault)()
    venue.advance("2m")
    feed.wait("STALE", 40)
    assert feed.status.reason.startswith("no candle of BTCUSDT for 1")  # until it is connected anew
    venue.unmute()
    until(lambda: last(feed) == "01:01", feed)
    venue.advance("5s")
    feed.wait("LIVE")
    check_same(feed, candles.loc[:"2023-02-01 01:01"])  # type: ignore[misc]


def test_a_lost_closing_update_is_asked_for(
    venue: SimulatedExchange, feed: Feed, candles: pd.DataFrame
) -> None:
    venue.advance("50s")
    until(lambda: feed.forming is not None and feed.stats["klines"] >= 7, feed)
    venue.mute("btcusdt@kline_1m")
    venue.advance("6s")
    venue.unmute()
    venue.advance("9s")
    until(lambda: last(feed) == "01:00", feed)
    assert feed.gaps[["missing", "kind"]].to_numpy().tolist() == [[1, "ours"]]
    assert feed.stats["connections"] == 1
    check_same(feed, candles.loc[:"2023-02-01 01:00"])  # type: ignore[misc]


def test_broken_and_doubled_and_late_messages_leave_the_candles_as_they_are(
    venue: SimulatedExchange, feed: Feed, candles: pd.DataFrame
) -> None:
    for fault in ("corrupt", "duplicate", "reorder", "drop"):
        getattr(venue, fault)(5)
        venue.advance("10m")
    play_out(venue)
    until(reaches(feed, candles), feed)
    check_same(feed, candles)
    assert feed.stats["rejected"] == 5
    assert len(feed.quarantine) == 5
    assert feed.stats["repeated"] + feed.stats["trades_repeated"] + feed.stats["older"] >= 5


def test_a_bar_that_was_begun_without_us_stays_open_until_the_venue_closes_it(
    venue: SimulatedExchange, feed: Feed, candles: pd.DataFrame
) -> None:
    venue.refuse(503, 1)
    venue.kill()
    feed.wait("RECONNECTING")
    venue.advance("30s")  # in the middle of the bar
    until(lambda: feed.stats["connections"] == 2, feed)
    venue.advance("20s")
    feed.wait("LIVE")
    until(lambda: feed.forming is not None and feed.forming.trades == venue_trades(venue), feed)
    assert last(feed) == "00:59"
    assert feed.forming.open == candles["open"].loc["2023-02-01 01:00+00:00"]
    venue.advance("10s")
    until(lambda: last(feed) == "01:00", feed)
    check_same(feed, candles.loc[:"2023-02-01 01:00"])  # type: ignore[misc]
    assert feed.stats["closed"] == 1
    assert len(feed.gaps) == 0


def test_lost_trades_are_refilled_by_their_ids(venue: SimulatedExchange, feed: Feed) -> None:
    venue.mute("btcusdt@kline_1m")  # its updates would bring the figures anyhow
    until(lambda: feed.stats["trades"] > 0, feed)
    venue.drop(3, "btcusdt@aggTrade")
    venue.advance("45s")
    until(lambda: feed.stats["trades_refilled"] == 3, feed)
    until(lambda: feed.forming.trades == venue_trades(venue), feed)


def venue_trades(venue: SimulatedExchange) -> int:
    kline = venue.markets["BTCUSDT"].kline("1m", venue.now)
    assert kline is not None
    return kline.trades


def test_too_large_a_frame_ends_the_connection_and_nothing_else(
    venue: SimulatedExchange,
    feed: Feed,
    candles: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "astraquant.feed")
    venue.oversize(1, size=8 * 2**20)
    venue.advance("2m")
    until(lambda: "code 1009" in caplog.text, feed)
    until(lambda: feed.stats["reconnects"] == 1, feed)
    until(lambda: last(feed) == "01:01", feed)
    check_same(feed, candles.loc[:"2023-02-01 01:01"])  # type: ignore[misc]


@pytest.mark.parametrize("fault", ["lifetime", "shutdown"])
def test_a_connection_that_is_about_to_end_is_replaced_without_a_hole(fault: str) -> None:
    candles = sample("BTCUSDT", "2023-02-01", "2023-02-03")
    with (
        SimulatedExchange(candles, speed=0, start="2023-02-01 12:00") as venue,
        Feed("BTCUSDT", "15m", venue=venue.url) as feed,
    ):
        venue.advance("5s")
        feed.wait("LIVE")
        if fault == "shutdown":
            venue.shut_down("10m")
        else:
            venue.advance("1410m")  # 23.5 hours
        until(lambda: feed.stats["connections"] == 2, feed)
        venue.advance("30s")  # so that the new one brings something
        until(lambda: feed.stats["renewals"] == 1, feed)
        venue.advance("40m")
        until(lambda: feed.candles.index[-1].timestamp() * 1000 >= venue.now - 2 * 900_000, feed)
        assert feed.status.state == "LIVE"
        assert len(feed.gaps) == 0
        assert feed.stats["reconnects"] == 0
        assert feed.stats["filled"] == 0


def test_the_halt_is_the_venue_s_gap_and_no_candle_is_invented() -> None:
    candles = sample("BTCUSDT", "2023-03-24 11:00", "2023-03-24 15:00")
    with (
        SimulatedExchange(candles, speed=0, start="2023-03-24 11:20") as venue,
        Feed("BTCUSDT", venue=venue.url) as feed,
    ):
        play_out(venue)
        until(reaches(feed, candles), feed)
        check_same(feed, candles)
        venue_gaps = feed.gaps[feed.gaps["kind"] == "venue"]
        assert venue_gaps["missing"].sum() == 80
        assert f"{venue_gaps['start'].iloc[0]:%H:%M}" == "12:40"


def test_two_symbols_come_over_one_connection() -> None:
    tables = {name: sample(name, *MINUTES) for name in ("BTCUSDT", "ETHUSDT")}
    with (
        SimulatedExchange(tables, speed=0, start=START) as venue,
        Feed(["BTCUSDT", "ETHUSDT"], "5m", venue=venue.url, history=10) as feed,
    ):
        assert set(feed.candles) == set(feed.forming) == set(feed.gaps) == set(tables)
        venue.advance("12m")
        for name in tables:
            until(lambda name=name: f"{feed.candles[name].index[-1]:%H:%M}" == "01:05", feed)  # type: ignore[misc]
        assert len(venue.ledger.events) and feed.stats["connections"] == 1
        assert feed.candles["ETHUSDT"].attrs["symbol"] == "ETHUSDT"


def test_a_feed_of_the_same_name_replaces_the_other(venue: SimulatedExchange) -> None:
    first = Feed("BTCUSDT", venue=venue.url).start()
    cursor = first.subscribe()
    second = Feed("BTCUSDT", venue=venue.url).start()
    assert not first.is_running
    assert list(cursor) == []  # it has ended
    assert second.is_running
    other = Feed("BTCUSDT", venue=venue.url, name="another").start()
    assert second.is_running
    for feed in (second, other):
        feed.stop()
        feed.stop()


def test_a_stopped_feed_leaves_nothing_behind_and_can_begin_anew(
    venue: SimulatedExchange,
) -> None:
    feed = Feed("BTCUSDT", venue=venue.url)
    before = set(threading.enumerate())
    for _ in range(3):
        feed.start()
        venue.advance("1m")
        feed.wait("LIVE")
        feed.stop()
        assert set(threading.enumerate()) <= before
    assert len(feed.candles) > 60


def test_the_shared_exchange_runs_while_it_is_used() -> None:
    before = set(threading.enumerate())
    with Feed("BTCUSDT", "1h") as first, Feed("ETHUSDT", "1h") as second:
        assert first.simulator is not None
        assert first.simulator is second.simulator
        assert first.label == "simulated exchange: synthetic sample (seed 7)"
        first.wait("LIVE")
        assert first.pace == 20
        until(lambda: first.status.lag is not None, first)  # from the first event after the clock
    assert set(threading.enumerate()) <= before


def test_two_listeners_are_independent(venue: SimulatedExchange, feed: Feed) -> None:
    quick, slow = feed.subscribe(), feed.subscribe()
    venue.advance("10m")
    closed = []
    for update in quick:
        closed += [update.time] if update.kind == "closed" else []
        if len(closed) == 10:
            break
    waiting = slow.take()
    assert [update.time for update in waiting if update.kind == "closed"] == closed
    assert sum(update.kind == "forming" for update in waiting) <= 1


def test_an_asynchronous_listener_gets_the_candles(venue: SimulatedExchange, feed: Feed) -> None:
    async def listen() -> list[str]:
        found = []
        async for update in feed.subscribe():
            found.append(update.kind)
            if update.kind == "closed":
                return found
        return found

    async def main() -> list[str]:
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await asyncio.to_thread(venue.advance, "2m")
        return await asyncio.wait_for(listening, 30)

    assert asyncio.run(main())[-1] == "closed"


def test_the_log_says_what_happens(
    venue: SimulatedExchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "astraquant.feed")
    with Feed("BTCUSDT", venue=venue.url) as feed:
        venue.advance("1m")
        feed.wait("LIVE")
        until(lambda: last(feed) == "01:00", feed)
        venue.kill()
        venue.advance("65s")
        until(lambda: last(feed) == "01:01", feed)
    begins = {" ".join(record.getMessage().split()[:2]) for record in caplog.records}
    wanted = {"WS CONNECTED", "WS MESSAGE", "Updating candle", "candle closed:", "candle filled:"}
    assert wanted <= begins
    assert {"reconnecting: the", "backfilled BTCUSDT:"} <= begins
