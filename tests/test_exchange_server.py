"""The simulated exchange over real sockets: what it streams, what it answers, how it ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pandas as pd
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

import astraquant as aq
from astraquant import CandleBuilder, DataError
from astraquant.candles import Candle, candle_table
from astraquant.exchange import SimulatedExchange, connection, protocol
from astraquant.timeframes import MINUTE

START = pd.Timestamp("2023-03-01", tz="UTC")


def sample(minutes: int = 240, symbol: str = "BTCUSDT") -> pd.DataFrame:
    return aq.load_candles(symbol, "1m", start=START, end=START + pd.Timedelta(minutes, "min"))


class Stream:
    """A client's connection that knows its number in the ledger."""

    def __init__(self, connection: ClientConnection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.read = 0
        self.send = connection.send

    def recv(self) -> Any:
        return json.loads(self.connection.recv(timeout=20))

    def all(self, venue: SimulatedExchange) -> list[dict[str, Any]]:
        """All that was sent up to now, by the ledger (commands are limited to 5 a second)."""
        sent = sum(entry.connection == self.number for entry in venue.ledger.events)
        messages = [self.recv() for _ in range(self.read, sent)]
        self.read = sent
        return messages


@pytest.fixture
def open_stream() -> Iterator[Any]:
    with ExitStack() as stack:

        def open_one(venue: SimulatedExchange, target: str) -> Stream:
            address = venue.url.replace("http", "ws") + target
            connection = stack.enter_context(connect(address, compression=None, max_size=2**20))
            return Stream(connection, venue.ledger.answers[101])

        yield open_one


def still(candles: pd.DataFrame | None = None, **options: Any) -> SimulatedExchange:
    """An exchange whose time stands still until the test moves it on."""
    return SimulatedExchange(sample() if candles is None else candles, speed=0, **options)


def candle_of(kline: dict[str, Any]) -> Candle:
    values = [float(kline[key]) for key in "ohlcvqnVQ"]
    return Candle(kline["t"], *values)


# Streams.


def test_klines_as_they_form_and_close(open_stream: Any) -> None:
    candles = sample()
    with still(candles, start="2023-03-01 01:00") as venue:
        stream = open_stream(venue, "/ws/btcusdt@kline_1m")
        venue.advance("10m")
        events = stream.all(venue)
    closing = [event for event in events if event["k"]["x"]]
    table = candle_table(candle_of(event["k"]) for event in closing)
    pd.testing.assert_frame_equal(table, candles.iloc[60:70], check_freq=False)
    assert len(events) > 60
    for event in events:
        kline = event["k"]
        assert (event["e"], event["s"], kline["s"], kline["i"]) == (
            *("kline", "BTCUSDT", "BTCUSDT"),
            "1m",
        )
        assert (event["E"] > kline["T"]) == kline["x"]
        assert kline["T"] == kline["t"] + MINUTE - 1


def test_trades_build_the_candles_of_the_table(open_stream: Any, market_data: Path) -> None:
    path = market_data / "klines" / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    span = {"start": "2023-03-24 11:20", "end": "2023-03-24 14:05"}  # the halt and its borders
    candles = aq.load_candles("BTCUSDT", source=path, **span)
    messages = []
    with still(candles) as venue:
        stream = open_stream(venue, "/stream?streams=btcusdt@aggTrade/btcusdt@trade")
        for _ in range(len(candles) + 80):
            venue.advance("1m")
            messages += stream.all(venue)
    for name in ("aggTrade", "trade"):
        builder = CandleBuilder("1m")
        trades = [m["data"] for m in messages if m["stream"] == f"btcusdt@{name}"]
        built = []
        for trade in trades:
            price, quantity = float(trade["p"]), float(trade["q"])
            built += builder.add_trade(trade["T"], price, quantity)
        ids = [trade["a" if name == "aggTrade" else "t"] for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        table = candle_table(built)[["open", "high", "low", "close", "volume"]]
        # The builder can't know that it saw the first one whole, and the last one is forming.
        traded = candles[candles.volume > 0].iloc[1:-1]
        pd.testing.assert_frame_equal(table, traded[table.columns], check_freq=False, rtol=1e-12)


def test_commands_over_the_wire(open_stream: Any) -> None:
    with still() as venue:
        stream = open_stream(venue, "/ws")
        stream.send('{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":7}')
        assert stream.recv() == {"result": None, "id": 7}
        stream.send("{")
        assert stream.recv()["code"] == 3
        venue.advance("1m")
        assert {event["e"] for event in stream.all(venue)} == {"aggTrade"}


def test_microseconds_and_several_symbols(open_stream: Any) -> None:
    tables = {"BTCUSDT": sample(), "ETHUSDT": sample(symbol="ETHUSDT")}
    with still(tables) as venue:
        target = "/stream?streams=btcusdt@bookTicker/ethusdt@ticker&timeUnit=MICROSECOND"
        stream = open_stream(venue, target)
        venue.advance("2m")
        messages = stream.all(venue)
    assert {m["stream"] for m in messages} == {"btcusdt@bookTicker", "ethusdt@ticker"}
    ticker = next(m["data"] for m in messages if m["stream"] == "ethusdt@ticker")
    assert START.value // 1000 < ticker["E"] <= START.value // 1000 + 120 * 10**6


def test_a_run_repeats_exactly(open_stream: Any) -> None:
    runs = []
    for _ in range(2):
        with still() as venue:
            names = "btcusdt@kline_1m/btcusdt@kline_5m/btcusdt@trade/btcusdt@ticker"
            stream = open_stream(venue, f"/stream?streams={names}")
            venue.advance("7m")
            runs.append(stream.all(venue))
    assert runs[0] == runs[1]


def test_time_passes_at_its_speed(open_stream: Any) -> None:
    candles = sample()
    with SimulatedExchange(candles, speed=6_000) as venue:  # a minute in ten milliseconds
        stream = open_stream(venue, "/ws/btcusdt@kline_1m")
        closed: list[Candle] = []
        while len(closed) < 100:
            kline = stream.recv()["k"]
            closed += [candle_of(kline)] if kline["x"] else []
    first = candles.index.get_loc(pd.Timestamp(closed[0].time, unit="ms", tz="UTC"))
    pd.testing.assert_frame_equal(
        candle_table(closed), candles.iloc[first : first + 100], check_freq=False
    )


def test_the_ledger_tells_what_was_received(open_stream: Any) -> None:
    with still() as venue:
        stream = open_stream(venue, "/ws/btcusdt@aggTrade")
        venue.advance("5m")
        events = stream.all(venue)
        assert [entry.event for entry in venue.ledger.events] == events
        assert {entry.fate for entry in venue.ledger.events} == {"sent"}
        assert venue.ledger.counts == {"sent": len(events)}
        assert [(one.target, one.status) for one in venue.ledger.requests] == [
            ("/ws/btcusdt@aggTrade", 101)
        ]


# REST and archives.


def test_http_answers() -> None:
    candles = sample()
    with (
        still(candles, start="2023-03-01 03:00") as venue,
        httpx.Client(base_url=venue.url, trust_env=False) as http,
    ):
        assert http.get("/api/v3/ping").json() == {}
        told = http.get("/api/v3/time").json()["serverTime"]
        assert told == int(pd.Timestamp("2023-03-01 03:00").timestamp()) * 1000 == venue.now
        rows = http.get("/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m"}).json()
        assert len(rows) == 180
        answer = http.get("/api/v3/klines", params={"symbol": "BTCUSD", "interval": "1m"})
        assert (answer.status_code, answer.json()["code"]) == (400, -1121)
        assert http.get("/nothing").status_code == 404
        assert http.post("/api/v3/ping").status_code == 405
        assert http.get("/api/v3/ping").headers["X-Simulated-Source"]
        venue.advance("1m")
        rows = http.get("/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m"}).json()
        assert len(rows) == 181
        statuses = [request.status for request in venue.ledger.requests]
        assert statuses == [200, 200, 200, 400, 404, 405, 200, 200]


# Limits and ends.


def test_the_server_pings_and_drops_who_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PING_EVERY", 0.05)
    monkeypatch.setattr(protocol, "PONG_WITHIN", 0.05)
    with (
        still() as venue,
        socket.create_connection(("127.0.0.1", int(venue.url.rpartition(":")[2]))) as peer,
    ):
        peer.settimeout(20)
        peer.sendall(
            b"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        data = b""
        while chunk := peer.recv(4096):  # until it hangs up
            data += chunk
    frames = data.split(b"\r\n\r\n", 1)[1]
    assert frames[0] == 0x89  # a ping
    assert b"Pong timeout" in frames


class Listener(ClientConnection):
    """A client's connection that tells which pings come in."""

    def __init__(self, *values: Any, **options: Any) -> None:
        self.pings: Queue[bytes] = Queue()
        super().__init__(*values, **options)

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings.put(bytes(event.data))
        super().process_event(event)


def test_an_answered_ping_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PING_EVERY", 0.25)
    monkeypatch.setattr(protocol, "PONG_WITHIN", 0.4)
    with still() as venue:
        address = venue.url.replace("http", "ws") + "/ws/btcusdt@aggTrade"
        with connect(address, create_connection=Listener) as stream:
            assert isinstance(stream, Listener)
            payloads = [stream.pings.get(timeout=20) for _ in range(4)]
            assert len(set(payloads)) == 4
            venue.advance("1m")
            assert json.loads(stream.recv(timeout=20))["e"] == "aggTrade"


def test_too_many_commands_close_the_connection(open_stream: Any) -> None:
    with still() as venue:
        stream = open_stream(venue, "/ws")
        for number in range(protocol.INBOUND_PER_SECOND + 1):
            stream.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                stream.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


def test_too_many_attempts_are_refused(open_stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ATTEMPTS_PER_WINDOW", 3)
    with still() as venue:
        for _ in range(3):
            open_stream(venue, "/ws")
        with pytest.raises(InvalidStatus) as caught:
            open_stream(venue, "/ws")
        assert caught.value.response.status_code == 429
        assert int(caught.value.response.headers["Retry-After"]) > 200


def test_a_connection_lives_for_24_hours(open_stream: Any) -> None:
    with still(sample(1500)) as venue:
        stream = open_stream(venue, "/ws")
        venue.advance("1439m")
        assert stream.all(venue) == []
        venue.advance("1m")
        with pytest.raises(ConnectionClosed):
            stream.recv()


def test_an_announced_shutdown(open_stream: Any) -> None:
    with still() as venue:
        raw = open_stream(venue, "/ws/btcusdt@trade")
        combined = open_stream(venue, "/stream?streams=btcusdt@trade")
        venue.shut_down("10m")
        event = {"e": "serverShutdown", "E": venue.now}
        venue.advance("9m")
        assert raw.all(venue)[0] == event
        assert combined.all(venue)[0] == {"stream": "!serverShutdown", "data": event}
        venue.advance("1m")
        for stream in (raw, combined):
            with pytest.raises(ConnectionClosed):
                while True:
                    stream.recv()


def test_unknown_targets_are_refused(open_stream: Any) -> None:
    with still() as venue:
        for target in ("/", "/wss/btcusdt@trade", "/api/v3/klines"):
            with pytest.raises(InvalidStatus) as caught:
                open_stream(venue, target)
            assert caught.value.response.status_code == 404


def test_a_client_that_reads_nothing_is_cut_off(
    open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OUTBOX", 50)
    with still() as venue:
        stream = open_stream(venue, "/ws/btcusdt@trade")
        venue.freeze()
        venue.advance("10m")
        with pytest.raises(ConnectionClosed):
            stream.recv()


def test_start_and_stop() -> None:
    before = threading.active_count()
    venue = still()
    assert "stopped" in repr(venue)
    with pytest.raises(DataError, match="start it first"):
        _ = venue.url
    venue.advance("1m")  # before it runs the time can be moved too
    assert venue.start() is venue.start()
    url = venue.url
    assert url in repr(venue)
    venue.stop()
    venue.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/api/v3/ping", trust_env=False)
    with venue:
        assert venue.url == url
        assert httpx.get(url + "/api/v3/ping", trust_env=False).json() == {}
        with pytest.raises(DataError, match=r"port \d+ .*in use"):
            still(port=int(url.rpartition(":")[2])).start()
    assert threading.active_count() == before


def test_only_this_machine_can_connect() -> None:
    with still() as venue, pytest.raises(OSError, match=r"."):
        # Another address of this machine:
        socket.create_connection(("127.0.0.2", int(venue.url.rpartition(":")[2])), timeout=2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"speed": -1}, "speed=-1: expected venue time over real time"),
        ({"speed": float("nan")}, "speed=nan"),
        ({"speed": "fast"}, "speed='fast'"),
        ({"speed": True}, "speed=True"),
        ({"start": "2024-01-01"}, "start 2024-01-01.* outside of the candles, .*2023-03-01 04:00"),
        ({"start": "noon"}, "start='noon' is no moment"),
        ({"faults": ["30s kil"]}, "unknown fault 'kil'. Did you mean 'kill'"),
        ({"faults": ["kill"]}, "'kill' is no span of time"),
        ({"faults": ["30s"]}, "expected when and what"),
        ({"faults": [""]}, "expected when and what"),
        ({"faults": ["1m drop many"]}, "count='many': expected a whole number, 1 or more"),
        ({"faults": ["1m kill 3"]}, "kill takes at most 0 values"),
        ({"symbol": "btc"}, "no symbol"),
        ({"port": 70_000}, "port=70000: expected a whole number from 1 to 65535"),
        ({"port": "8765"}, "port='8765'"),
        ({"archives": "/no/such/folder"}, "there is no folder"),
    ],
)
def test_wrong_options(options: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        SimulatedExchange(sample(), **options)


def test_no_market_at_all() -> None:
    with pytest.raises(DataError, match="no market"):
        SimulatedExchange({})


def test_every_market_has_a_name_of_its_own(tmp_path: Path) -> None:
    """By it clients keep simulated markets apart: other figures or files, another name."""

    def name_of(candles: Any, **options: Any) -> str:
        with still(candles, **options) as venue:
            answer = httpx.get(venue.url + "/api/v3/ping", trust_env=False)
        return answer.headers["X-Simulated-Market"]

    candles = sample(60)
    names = [name_of(candles), name_of(candles.iloc[:-1]), name_of(candles, symbol="ETHUSDT")]
    names.append(name_of(candles.assign(trades=candles["trades"] + 1)))
    names.append(name_of(candles.drop(columns="quote_volume")))
    (tmp_path / "BTCUSDT-1m-2023-03-01.zip").write_bytes(b"one")
    names.append(name_of(candles, archives=tmp_path))
    (tmp_path / "BTCUSDT-1m-2023-03-01.zip").write_bytes(b"two")
    names.append(name_of(candles, archives=tmp_path))
    assert len(set(names)) == len(names)
    assert name_of(candles, start="2023-03-01 00:30") == names[0]
