"""Every fault of the simulated exchange, seen from the client's side of a real socket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import astraquant as aq
from astraquant import DataError
from astraquant.exchange import SimulatedExchange
from astraquant.exchange.faults import Faults, Message
from astraquant.exchange.script import SCRIPTED, parse_span, parse_step

TRADES = "/ws/btcusdt@aggTrade"


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    candles = aq.load_candles("BTCUSDT", start="2023-03-01", end="2023-03-01 04:00")
    with SimulatedExchange(candles, speed=0, start="2023-03-01 01:00") as started:
        yield started


@pytest.fixture
def open_stream(venue: SimulatedExchange) -> Iterator[Any]:
    with ExitStack() as stack:

        def open_one(target: str = TRADES) -> ClientConnection:
            address = venue.url.replace("http", "ws") + target
            return stack.enter_context(connect(address, compression=None, max_size=2**20))

        yield open_one


def texts(stream: ClientConnection) -> list[str]:
    """All that was sent before now: a listing of the subscriptions closes the row."""
    stream.send('{"method":"LIST_SUBSCRIPTIONS","id":"end"}')
    found: list[str] = []
    while '"end"' not in (text := stream.recv(timeout=20)):
        assert isinstance(text, str)
        found.append(text)
    return found


def ids(stream: ClientConnection) -> list[int]:
    return [json.loads(text)["a"] for text in texts(stream)]


def fates(venue: SimulatedExchange) -> list[str]:
    return [entry.fate for entry in venue.ledger.events]


def test_kill(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.kill()
    with pytest.raises(ConnectionClosedError) as caught:
        stream.recv(timeout=20)
    assert caught.value.rcvd is None  # no closing frame
    assert open_stream()  # a new connection is fine


def test_freeze_and_thaw(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.freeze()
    venue.advance("1m")
    pong = stream.ping()
    with pytest.raises(TimeoutError):
        stream.recv(timeout=0.2)
    assert not pong.is_set()
    assert fates(venue) == []
    other = open_stream()  # new connections live
    venue.advance("1m")
    seen = ids(other)
    venue.thaw()
    late = ids(stream)
    assert pong.wait(20)
    assert late[-len(seen) :] == seen
    assert len(late) > len(seen)


def test_mute(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream("/stream?streams=btcusdt@aggTrade/btcusdt@kline_1m")
    venue.mute("btcusdt@aggTrade")
    venue.advance("1m")
    assert {json.loads(text)["stream"] for text in texts(stream)} == {"btcusdt@kline_1m"}
    venue.mute()
    venue.advance("1m")
    assert stream.ping().wait(20)  # alive, but silent
    assert texts(stream) == []
    venue.unmute()
    venue.advance("1m")
    assert len(texts(stream)) > 2
    assert venue.ledger.counts["muted"] > 5


def test_drop(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.drop(2)
    venue.advance("2m")
    first = json.loads(texts(stream)[0])["a"]
    lost = [entry.event["a"] for entry in venue.ledger.events if entry.fate == "dropped"]
    assert lost == [first - 2, first - 1]
    assert fates(venue)[2:] == ["sent"] * (len(fates(venue)) - 2)


def test_duplicate(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.duplicate(2)
    venue.advance("2m")
    seen = ids(stream)
    assert seen[:5] == [seen[0], seen[0], seen[2], seen[2], seen[4]]
    assert len(set(seen)) == len(seen) - 2
    assert fates(venue)[:5] == ["sent", "duplicated", "sent", "duplicated", "sent"]


def test_reorder(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.reorder(2)
    venue.advance("2m")
    seen = ids(stream)
    first = min(seen)
    assert seen[:5] == [first + 1, first, first + 3, first + 2, first + 4]
    assert seen[4:] == sorted(seen[4:])
    assert [entry.event["a"] for entry in venue.ledger.events] == seen


def test_delay(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.delay(0.3)
    began = time.monotonic()
    venue.advance("1m")
    assert time.monotonic() - began >= 0.3
    seen = ids(stream)
    assert seen == sorted(seen)
    assert fates(venue)[:2] == ["delayed", "sent"]


def test_corrupt(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.corrupt()
    venue.advance("1m")
    broken, *rest = texts(stream)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(broken)
    assert [json.loads(text)["e"] for text in rest] == ["aggTrade"] * len(rest)


def test_oversize(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.oversize()
    venue.advance("1m")
    with pytest.raises(ConnectionClosed) as caught:
        stream.recv(timeout=20)
    assert caught.value.sent is not None
    assert caught.value.sent.code == 1009


def test_cut(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.cut()
    venue.advance("1m")
    with pytest.raises(ConnectionClosedError) as caught:
        stream.recv(timeout=20)
    assert caught.value.rcvd is None
    assert fates(venue) == ["cut"]


def test_lie_about_time(venue: SimulatedExchange, open_stream: Any) -> None:
    stream = open_stream()
    venue.lie_about_time(3_600_000)
    venue.advance("1m")
    for text in texts(stream):
        event = json.loads(text)
        assert event["E"] == event["T"] + 3_600_000  # the trade's own time is true
    told = httpx.get(venue.url + "/api/v3/time", trust_env=False).json()["serverTime"]
    assert told == venue.now + 3_600_000


def test_refuse(venue: SimulatedExchange, open_stream: Any) -> None:
    venue.refuse(429, 2, retry_after=7)
    venue.refuse(451)
    for status, wait in ((429, "7"), (429, "7"), (451, None)):
        with pytest.raises(InvalidStatus) as caught:
            open_stream()
        assert caught.value.response.status_code == status
        assert caught.value.response.headers.get("Retry-After") == wait
    assert open_stream()
    assert venue.ledger.answers == {429: 2, 451: 1, 101: 1}


def test_slow(venue: SimulatedExchange) -> None:
    venue.slow(0.2)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(venue.url + "/api/v3/ping", timeout=0.1, trust_env=False)
    venue.slow(0)
    assert httpx.get(venue.url + "/api/v3/ping", trust_env=False).json() == {}


def test_shorten(venue: SimulatedExchange) -> None:
    def rows(limit: int) -> int:
        query = {"symbol": "BTCUSDT", "interval": "1m", "limit": limit}
        return len(httpx.get(venue.url + "/api/v3/klines", params=query, trust_env=False).json())

    assert rows(40) == 40
    venue.shorten(3)
    assert rows(40) == 3
    assert rows(2) == 2


def test_answer(venue: SimulatedExchange) -> None:
    path = "/api/v3/exchangeInfo"

    def ask() -> httpx.Response:
        return httpx.get(venue.url + path, params={"symbol": "BTCUSDT"}, trust_env=False)

    venue.answer(path, status=503, body=b"busy", headers={"Retry-After": "1"}, times=2, after=1)
    answers = [ask() for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 503, 503, 200]
    assert (answers[1].content, answers[1].headers["Retry-After"]) == (b"busy", "1")
    venue.answer(path, body=b"half", headers={"Content-Length": "8"})
    with pytest.raises(httpx.RemoteProtocolError):
        ask()


def test_a_fault_of_one_stream_spares_the_others(
    venue: SimulatedExchange, open_stream: Any
) -> None:
    stream = open_stream("/stream?streams=btcusdt@aggTrade/btcusdt@bookTicker")
    venue.drop(3, "btcusdt@bookTicker")
    venue.advance("1m")
    dropped = {entry.stream for entry in venue.ledger.events if entry.fate == "dropped"}
    assert dropped == {"btcusdt@bookTicker"}
    assert texts(stream)


def test_a_script_plays_in_venue_time() -> None:
    candles = aq.load_candles("BTCUSDT", start="2023-03-01", end="2023-03-01 04:00")
    script = ["2m refuse 418 1 9", "1m mute", "90s unmute", "3m slow 0", "5m shorten 2"]
    with SimulatedExchange(candles, speed=0, faults=script) as venue:
        address = venue.url.replace("http", "ws") + TRADES
        with connect(address) as stream:
            for _ in range(3):
                venue.advance("30s")
            seen = [json.loads(text)["T"] - venue.now for text in texts(stream)]
            muted = venue.ledger.counts["muted"]
            assert muted > 0
            assert all(not -30_000 < time <= 0 for time in seen)
            venue.advance("30s")
        with pytest.raises(InvalidStatus) as caught, connect(address):
            pass
        assert caught.value.response.headers["Retry-After"] == "9"


def test_each_fault_can_be_scripted() -> None:
    for name in SCRIPTED:
        assert callable(getattr(SimulatedExchange, name))
    assert parse_step("2m drop 3 btcusdt@trade") == (120_000, "drop", (3, "btcusdt@trade"))
    assert parse_step(" 1h  kill ") == (3_600_000, "kill", ())


def test_spans_of_time() -> None:
    assert [parse_span(text) for text in ("90s", "5m", "2h", "1d", "0s", 7)] == [
        *(90_000, 300_000, 7_200_000, 86_400_000, 0, 7)
    ]
    for text in ("", "s", "5", "5 m", "-5m", "1w", "1M", "٣m", "1.5h", -1, True, None):
        with pytest.raises(DataError, match="no span of time"):
            parse_span(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "values", "told"),
    [
        ("drop", (0,), "count=0: expected a whole number, 1 or more"),
        ("duplicate", (1.5,), "count=1.5"),
        ("reorder", (True,), "count=True"),
        ("corrupt", (1, "btcusdt@aggtrade"), "'btcusdt@aggtrade' is never played"),
        ("mute", ("BTCUSDT@trade",), "'BTCUSDT@trade' is never played"),
        ("cut", (5,), "stream=5 is never played"),
        ("delay", ("soon",), "seconds='soon': expected a number, 0 or more"),
        ("delay", (-1,), "seconds=-1"),
        ("delay", (float("nan"),), "seconds=nan"),
        ("slow", (True,), "seconds=True"),
        ("oversize", (1, None, -1), "size=-1: expected a whole number, 0 or more"),
        ("lie_about_time", (0.5,), "milliseconds=0.5: expected a whole number, such as"),
        ("refuse", (200,), "status=200: expected a whole number, from 400 to 599"),
        ("refuse", (429, 0), "count=0"),
        ("refuse", (429, 1, -1), "retry_after=-1"),
        ("shorten", (0,), "rows=0: expected a whole number, 1 or more"),
        ("shut_down", ("soon",), "'soon' is no span of time"),
        ("advance", ("soon",), "'soon' is no span of time"),
    ],
)
def test_wrong_values(
    venue: SimulatedExchange, fault: str, values: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        getattr(venue, fault)(*values)
    if fault in SCRIPTED:
        line = " ".join(["1m", fault, *(str(value) for value in values if value is not None)])
        with pytest.raises(DataError, match=r"^'1m "):
            parse_step(line)


KINDS = ["drop", "duplicate", "reorder", "delay", "corrupt", "oversize", "cut"]
ARMED = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(1, 4), st.sampled_from([None, "a", "b"])),
    max_size=5,
)
MESSAGES = st.lists(st.tuples(st.integers(1, 2), st.sampled_from("ab")), max_size=40)


@given(ARMED, MESSAGES)
def test_nothing_but_what_was_armed_happens(
    armed: list[tuple[str, int, str | None]], messages: list[tuple[int, str]]
) -> None:
    faults = Faults()
    for kind, count, stream in armed:
        faults.arm(kind, count, stream, 1)
    delivered: list[tuple[int, str]] = []
    met = 0
    for number, (connection, stream) in enumerate(messages):
        text = f"{stream}{number:06}"
        for one in faults.treat(connection, Message(number, stream, {}, text)):
            met += one.fate != "sent"
            if one.fate in ("sent", "delayed", "reordered", "duplicated", "cut"):
                assert one.text[0] in "ab"
                delivered.append((connection, one.text))
    assert met <= sum(count for _, count, _ in armed)
    if not armed:
        expected = [(c, f"{s}{number:06}") for number, (c, s) in enumerate(messages)]
        assert delivered == expected
    by_connection = {c: [text for other, text in delivered if other == c] for c in (1, 2)}
    if all(kind not in ("reorder", "duplicate") for kind, _, _ in armed):
        for found in by_connection.values():
            assert [text[1:] for text in found] == sorted(text[1:] for text in found)
            assert len(set(found)) == len(found)
