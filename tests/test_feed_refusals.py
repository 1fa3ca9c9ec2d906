"""Feeds that can't begin, or not yet: bad input, venues and connections out of reach."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from feeds import MINUTES, START, check_same, last, play_out, sample, standing_still, until

from astraquant import Feed
from astraquant.errors import FeedError
from astraquant.exchange import SimulatedExchange
from astraquant.feed.addresses import find_streams
from astraquant.feed.link import Lost, connector


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    with standing_still() as running:
        yield running


@pytest.fixture
def feed(venue: SimulatedExchange) -> Iterator[Feed]:
    with Feed("BTCUSDT", venue=venue.url) as running:
        venue.advance("5s")
        yield running.wait("LIVE")


# What can't be done is said at once, and says what to do.


@pytest.mark.parametrize(
    ("symbol", "told"),
    [
        ("btcusdt", "Did you mean 'BTCUSDT'"),
        ("../../etc", "is no symbol"),
        ("<b>BTC</b>", "is no symbol"),
        ("BTCUSDT@trade", "is no symbol"),
        ("", "is no symbol"),
        ("BTCUSD", "Did you mean 'BTCUSDT'"),
    ],
)
def test_a_wrong_symbol_is_refused(symbol: str, told: str) -> None:
    with pytest.raises(FeedError, match=told):
        Feed(symbol)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(FeedError, match="Did you mean '1h'"):
        Feed("BTCUSDT", "60m")
    with pytest.raises(FeedError, match="at least one symbol"):
        Feed([])
    with pytest.raises(FeedError, match="history=-1"):
        Feed("BTCUSDT", history=-1)
    with pytest.raises(FeedError, match="Did you mean 'LIVE'"):
        Feed("BTCUSDT").wait("live")


@pytest.mark.parametrize(
    ("venue", "told"),
    [
        ("binnance", "Did you mean 'binance'"),
        ("Sim", "Did you mean 'sim'"),
        (None, "unknown venue 'NoneType'"),
        ("https://evil.example", "the host 'evil.example'"),
        ("wss://stream.binance.com:9443", "is no address of an exchange"),
        ("ftp://127.0.0.1", "is no address"),
    ],
)
def test_a_wrong_venue_is_refused(venue: Any, told: str) -> None:
    with pytest.raises(FeedError, match=told) as caught:
        Feed("BTCUSDT", venue=venue)
    assert "venue=" in str(caught.value)
    assert "file" not in str(caught.value)


@pytest.mark.parametrize("symbols", [123, None, ["BTCUSDT", 5]])
def test_what_is_no_symbol_at_all_is_refused(symbols: Any) -> None:
    with pytest.raises(FeedError, match="is no symbol"):
        Feed(symbols)


def test_a_stream_of_elsewhere_is_not_called_binance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTRAQUANT_BINANCE_STREAM", "ws://127.0.0.1:9")
    with pytest.raises(FeedError, match="ASTRAQUANT_BINANCE_REST names no other"):
        Feed("BTCUSDT", venue="binance")
    monkeypatch.setenv("ASTRAQUANT_BINANCE_STREAM", "wss://stream.binance.com:443")
    assert find_streams("binance")[1] == "wss://stream.binance.com:443"
    monkeypatch.setenv("ASTRAQUANT_BINANCE_STREAM", "nonsense")
    with pytest.raises(FeedError, match="is 'nonsense'; expected an address"):
        Feed("BTCUSDT", venue="binance")
    monkeypatch.setenv("ASTRAQUANT_BINANCE_REST", "http://127.0.0.1:9")
    monkeypatch.setenv("ASTRAQUANT_BINANCE_STREAM", "ws://127.0.0.1:9/")
    assert find_streams("binance")[1] == "ws://127.0.0.1:9"


def test_where_binance_s_streams_are() -> None:
    assert find_streams("binance")[1] == "wss://data-stream.binance.vision"
    assert find_streams("https://api.binance.com")[1] == "wss://stream.binance.com:9443"


def test_a_venue_in_trouble_when_it_begins_is_asked_again(venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/time", status=503, times=7)  # more than one call tries
    with Feed("BTCUSDT", venue=venue.url) as feed:
        until(lambda: venue.ledger.answers[503] == 7, feed)
        venue.advance("5s")
        feed.wait("LIVE")
        assert last(feed) == "00:59"


def test_a_market_without_any_closed_candle_begins_with_what_comes() -> None:
    candles = sample("BTCUSDT", *MINUTES)
    with (
        SimulatedExchange(candles, speed=0) as venue,
        Feed("BTCUSDT", venue=venue.url) as feed,
    ):
        assert len(feed.candles) == 0
        venue.advance("3m")
        until(lambda: last(feed) == "00:02", feed)
        check_same(feed, candles.iloc[:3])


def test_a_halt_longer_than_the_history_leaves_it_empty() -> None:
    candles = sample("BTCUSDT", "2023-03-24 11:00", "2023-03-24 15:00")
    with (
        SimulatedExchange(candles, speed=0, start="2023-03-24 13:50") as venue,
        Feed("BTCUSDT", venue=venue.url, history=60) as feed,
    ):
        assert len(feed.candles) == 0
        assert feed.label.startswith("simulated")
        play_out(venue)
        until(lambda: last(feed) == "14:59", feed)
        check_same(feed, candles.loc["2023-03-24 14:00":])  # type: ignore[misc]


def test_an_interrupted_start_leaves_no_feed_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts and says nothing
        before = set(threading.enumerate())
        port = silent.getsockname()[1]
        feed = Feed("BTCUSDT", venue=f"http://127.0.0.1:{port}")

        def interrupt() -> bool:
            raise KeyboardInterrupt

        monkeypatch.setattr(feed, "_is_under_way", interrupt)
        with pytest.raises(KeyboardInterrupt):
            feed.start()
        assert not feed.is_running
        left = {t.name for t in set(threading.enumerate()) - before}
        assert left <= {"feed-history"}  # ends by itself


def test_stopping_does_not_wait_for_a_name_to_be_found(
    venue: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, asked = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        asked.set()
        found.wait(60)
        raise OSError("no such name")

    with Feed("BTCUSDT", venue=venue.url.replace("127.0.0.1", "localhost")) as feed:
        until(lambda: feed.stats["connections"] == 1, feed)
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        venue.kill()
        assert asked.wait(60)
        feed.stop()
        assert not feed.is_running
        assert not found.is_set()
    found.set()


def test_listening_to_a_stopped_feed_ends_at_once(venue: SimulatedExchange) -> None:
    feed = Feed("BTCUSDT", venue=venue.url)
    with feed:
        pass
    assert list(feed.subscribe()) == []
    with feed:
        cursor = feed.subscribe()
        venue.advance("2m")
        assert cursor.next(60) is not None


def test_a_symbol_that_the_venue_has_not_is_an_error_with_the_nearest(
    venue: SimulatedExchange,
) -> None:
    feed = Feed("BTCUSDC", venue=venue.url)
    with pytest.raises(FeedError, match="Did you mean 'BTCUSDT'"):
        feed.start()
    assert not feed.is_running
    assert feed.status.state == "STOPPED"


def test_a_region_that_is_not_served_is_an_error_with_another_host(
    venue: SimulatedExchange,
) -> None:
    venue.answer("/api/v3/time", status=451, times=10)
    with pytest.raises(FeedError, match=r"451.*data-api\.binance\.vision"):
        Feed("BTCUSDT", venue=venue.url).start()


def test_refused_handshakes_are_seen_with_the_reason_and_waited_out(
    venue: SimulatedExchange, feed: Feed
) -> None:
    venue.refuse(451, 1)
    venue.kill()
    until(lambda: "451" in feed.status.reason, feed)
    assert feed.status.state == "RECONNECTING"
    assert "data-stream" in feed.status.reason or "venue=" in feed.status.reason
    assert feed._core.counts["attempts"] == 2  # and the next one only after minutes


def test_a_venue_that_can_not_be_reached_is_a_state_and_is_found_later() -> None:
    candles = sample("BTCUSDT", *MINUTES)
    venue = SimulatedExchange(candles, speed=0, start=START).start()
    url = venue.url
    venue.stop()
    feed = Feed("BTCUSDT", venue=url)
    starting = threading.Thread(target=feed.start)
    starting.start()
    feed.wait("RECONNECTING")
    assert "doesn't answer" in feed.status.reason
    assert len(feed.candles) == 0
    venue.start()
    starting.join(30)
    venue.advance("5s")
    feed.wait("LIVE")
    assert last(feed) == "00:59"
    feed.stop()
    venue.stop()


def test_another_exchange_at_the_same_address_is_not_mistaken_for_it(
    venue: SimulatedExchange, feed: Feed
) -> None:
    port = int(venue.url.rpartition(":")[2])
    venue.stop()
    other = sample("ETHUSDT", *MINUTES)
    known = len(feed.candles)
    with SimulatedExchange(other, "BTCUSDT", speed=0, start=START, port=port) as impostor:
        until(lambda: "simulated market" in feed.status.reason, feed)
        impostor.advance("5m")
        assert feed.status.state == "RECONNECTING"
        assert len(feed.candles) == known


# Connections that can't be opened.


def reason_of(address: str) -> str:
    async def main() -> str:
        with pytest.raises(Lost) as caught:
            await connector(proxies=False)(address)
        return str(caught.value)

    return asyncio.run(main())


def test_a_name_that_does_not_exist_is_a_reason() -> None:
    assert reason_of("wss://venue.invalid/stream").startswith("no connection: ")


def test_a_failed_encryption_never_falls_back_to_plain_text(venue: SimulatedExchange) -> None:
    asked = len(venue.ledger.requests)
    assert "no connection" in reason_of(f"wss{venue.url[4:]}/stream?streams=btcusdt@kline_1m")
    assert len(venue.ledger.requests) == asked


def test_a_redirect_to_another_host_is_not_followed(venue: SimulatedExchange) -> None:
    async def main() -> list[str]:
        asked: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((await reader.readline()).decode())
            await reader.readuntil(b"\r\n\r\n")
            place = f"ws{venue.url[4:]}/stream"
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n".encode())
            writer.write(b"Content-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Lost) as caught:
            await connector(proxies=False)(f"ws://127.0.0.1:{port}/stream")
        server.close()
        assert caught.value.status == 302
        return asked

    assert len(asyncio.run(main())) == 1
    assert len(venue.ledger.requests) == 0


def test_repr_is_short_and_stable(venue: SimulatedExchange) -> None:
    assert repr(Feed("BTCUSDT")) == "Feed(BTCUSDT, 1m, sim)"
    assert repr(Feed(["BTCUSDT", "ETHUSDT"], "5m")) == "Feed(BTCUSDT ETHUSDT, 5m, sim)"
    assert json.dumps(Feed("BTCUSDT").status._asdict())
