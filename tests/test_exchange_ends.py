"""The simulated exchange in trouble: who doesn't read, who floods, who stops it, what breaks it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import astraquant as aq
from astraquant import DataError
from astraquant.exchange import SimulatedExchange, connection, ledger, protocol
from astraquant.timeframes import MINUTE

UPGRADE = (
    b"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    candles = aq.load_candles("BTCUSDT", start="2023-03-01", end="2023-03-02 04:00")
    with SimulatedExchange(candles, speed=0, start="2023-03-01 01:00") as started:
        yield started


def stream(venue: SimulatedExchange, names: str = "/ws/btcusdt@trade") -> ClientConnection:
    return connect(venue.url.replace("http", "ws") + names, compression=None, max_queue=None)


def raw(venue: SimulatedExchange, said: bytes) -> socket.socket:
    """A peer that says only this, and reads nothing."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.settimeout(20)
    peer.connect(("127.0.0.1", int(venue.url.rpartition(":")[2])))
    peer.sendall(said)
    return peer


def ends(action: Callable[[], object]) -> list[BaseException]:
    """Do it in a thread, which must end; what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it hangs"
    return raised


# Who reads nothing.


def test_who_reads_nothing_is_not_waited_for(
    venue: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    with raw(venue, UPGRADE) as peer, stream(venue) as other:
        peer.recv(1000)  # the handshake alone
        venue.oversize(40, size=10**6)
        assert ends(lambda: venue.advance("1m")) == []
        assert json.loads(other.recv(timeout=20))["e"] == "trade"


def test_who_reads_nothing_has_its_day_too(
    venue: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    monkeypatch.setattr(protocol, "LIFETIME", 2 * MINUTE)
    with raw(venue, UPGRADE) as peer:
        peer.recv(1000)
        venue.oversize(10, size=2**20)
        assert ends(lambda: venue.advance("3m")) == []
        with suppress(ConnectionResetError):
            while peer.recv(2**16):  # up to its end, or it would time out
                pass


@pytest.mark.parametrize(
    "said", [b"", b"GET /ws HT", b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n", UPGRADE]
)
def test_nobody_keeps_it_from_stopping(venue: SimulatedExchange, said: bytes) -> None:
    if said.startswith(b"GET /api"):
        venue.slow(3600)
    with raw(venue, said) as peer:
        if said == UPGRADE:
            peer.recv(1000)
            venue.oversize(10, size=2**20)
            venue.delay(3600)
        assert ends(venue.stop) == []


def test_unanswered_pings_go_on_until_the_end(
    venue: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PING_EVERY", 0.1)
    monkeypatch.setattr(protocol, "PONG_WITHIN", 0.35)
    data = b""
    with raw(venue, UPGRADE) as peer:
        while chunk := peer.recv(4096):
            data += chunk
    frames = data.split(b"\r\n\r\n", 1)[1]
    pings = []
    while frames[0] == 0x89:
        pings.append(frames[2 : 2 + frames[1]])
        frames = frames[2 + frames[1] :]
    assert 2 <= len(set(pings)) == len(pings) <= 4
    assert frames[0] == 0x88
    assert struct.unpack(">H", frames[2:4]) == (1008,)


# Who is frozen.


def test_a_frozen_connection_gets_no_goodbye_either(venue: SimulatedExchange) -> None:
    with stream(venue, "/ws/btcusdt@kline_1h") as client:
        venue.freeze()
        venue.shut_down("1m")
        venue.advance("25h")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.5)
        venue.thaw()
        assert json.loads(client.recv(timeout=20))["e"] == "serverShutdown"
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                client.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001


def test_freezing_holds_a_delayed_message(venue: SimulatedExchange) -> None:
    with stream(venue) as client:
        venue.delay(0.4)
        moving = threading.Thread(target=venue.advance, args=("1m",))
        begin = venue.now
        moving.start()
        while venue.now == begin:
            pass
        venue.freeze()
        moving.join(20)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.8)
        venue.thaw()
        assert client.recv(timeout=20)


# Who says too much, or nonsense.


def test_pings_count_as_messages(venue: SimulatedExchange) -> None:
    with stream(venue) as client:
        for number in range(protocol.INBOUND_PER_SECOND):
            client.ping(str(number))
        assert client.ping("last").wait(20) or client.close_code
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


def test_bytes_that_are_no_text_are_no_json(venue: SimulatedExchange) -> None:
    with stream(venue) as client:
        client.send(b"\xff\xfe{")
        assert json.loads(client.recv(timeout=20))["code"] == 3


# Threads, starts and stops.


def test_faults_without_connections(venue: SimulatedExchange) -> None:
    faults = ("kill", "freeze", "thaw", "shut_down", "mute", "unmute")
    unused = SimulatedExchange(aq.load_candles("BTCUSDT", end="2023-03-01"))
    venue.stop()
    for one in (unused, venue):
        for fault in faults:
            getattr(one, fault)()


def test_many_threads_at_once(venue: SimulatedExchange) -> None:
    begin = venue.now

    def together(action: Callable[[], object], *, times: int = 8) -> None:
        threads = [threading.Thread(target=action) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    together(lambda: venue.advance("1m"))
    assert venue.now == begin + 8 * MINUTE
    running = threading.active_count()
    together(venue.stop)
    assert threading.active_count() == running - 1
    together(venue.start)
    assert threading.active_count() == running


def test_stopping_in_the_middle_of_an_advance(venue: SimulatedExchange) -> None:
    begin, raised = venue.now, []

    def advance() -> None:
        raised.extend(ends(lambda: venue.advance("1m")))

    with stream(venue):
        venue.delay(3600)
        advancing = threading.Thread(target=advance)
        advancing.start()
        while venue.now == begin:
            pass
        venue.stop()
        advancing.join()
    (error,) = raised
    assert isinstance(error, DataError)
    assert "stopped meanwhile" in str(error)
    venue.start()
    venue.advance("1m")


def test_a_failure_of_its_own_is_told(venue: SimulatedExchange) -> None:
    def break_it(_: object) -> Any:
        raise ValueError("boom")

    venue.markets["BTCUSDT"].split = break_it  # type: ignore[method-assign]
    with stream(venue) as client:
        (error,) = ends(lambda: venue.advance("1m"))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=20)
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, ValueError)
    (error,) = ends(venue.mute)
    assert "stopped meanwhile: start it again" in str(error)
    venue.start()
    venue.unmute()


def test_a_failure_that_nobody_was_told_is_told_at_the_end() -> None:
    candles = aq.load_candles("BTCUSDT", start="2023-03-01", end="2023-03-01 04:00")
    venue = SimulatedExchange(candles, speed=6_000).start()
    with stream(venue) as client, pytest.raises(ConnectionClosed):
        client.recv(timeout=20)
        del venue.markets["BTCUSDT"].__dict__["path"]
        while True:
            client.recv(timeout=20)
    (error,) = ends(venue.stop)
    assert isinstance(error.__cause__, AttributeError)


def test_the_ledger_is_bounded_and_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEPT", 5)
    few = ledger.Ledger()
    for number in range(12):
        few.add_event(ledger.Sent(number, 1, "btcusdt@trade", {}, "sent"))
        few.add_request(ledger.Request(number, 0.0, "/", 200))
    assert [entry.time for entry in few.events] == [7, 8, 9, 10, 11]
    assert [entry.time for entry in few.requests] == [7, 8, 9, 10, 11]
    assert (few.counts, few.answers) == ({"sent": 12}, {200: 12})
    assert repr(few) == "Ledger(12 messages, 12 requests)"


# REST.


def get(venue: SimulatedExchange, path: str) -> httpx.Response:
    return httpx.get(venue.url + path, trust_env=False)


def test_shortened_answers(venue: SimulatedExchange) -> None:
    klines = "/api/v3/klines?symbol=BTCUSDT&interval=1m"
    assert len(get(venue, klines).json()) == 60
    venue.shorten(3)
    assert len(get(venue, klines).json()) == 3  # by default it would be 500
    assert len(get(venue, f"{klines}&limit=2").json()) == 2
    assert get(venue, f"{klines}&limit=0").status_code == 400
    assert len(get(venue, "/api/v3/aggTrades?symbol=BTCUSDT").json()) == 3
    venue.shorten(1000)
    assert len(get(venue, klines).json()) == 60


def test_all_answers_say_that_they_are_simulated(venue: SimulatedExchange) -> None:
    venue.advance("24h")
    mark = get(venue, "/api/v3/ping").headers["X-Simulated-Market"]
    archive = "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2023-03-01.zip"
    for path in (archive, f"{archive}.CHECKSUM", "/data/nothing", "/nothing"):
        assert get(venue, path).headers["X-Simulated-Market"] == mark
    assert get(venue, archive).headers["X-Simulated-Source"].startswith("synthetic sample")
    assert get(venue, archive).headers["Content-Type"] == "application/zip"


def test_each_set_of_candles_has_a_mark_of_its_own() -> None:
    marks = []
    for start in ("2023-03-01", "2023-03-01", "2023-02-28"):
        candles = aq.load_candles("BTCUSDT", start=start, end="2023-03-02")
        with SimulatedExchange(candles, speed=0) as venue:
            marks.append(get(venue, "/api/v3/ping").headers["X-Simulated-Market"])
    assert marks[0] == marks[1] != marks[2]


def test_all_that_tells_the_time_can_lie(venue: SimulatedExchange) -> None:
    venue.lie_about_time(-5000)
    for path in ("/api/v3/time", "/api/v3/exchangeInfo"):
        assert get(venue, path).json()["serverTime"] == venue.now - 5000
    with stream(venue) as client:
        venue.shut_down()
        assert json.loads(client.recv(timeout=20))["E"] == venue.now - 5000
