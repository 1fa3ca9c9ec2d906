"""Live candles over real sockets: exchange, feed, server, client."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
from feeds import DEADLINE, sample
from served import serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from astraquant.candles import COLUMNS, Candle
from astraquant.exchange import SimulatedExchange
from astraquant.feed.core import Update
from astraquant.feed.cursor import Cursor
from astraquant.resampling import resample
from astraquant.serve.desk import Limits
from astraquant.serve.relay import SLOW, TALKED, Line, Mailbox, cut, relay
from astraquant.timeframes import parse_time

SPAN = ("2023-02-01 00:00", "2023-02-01 12:00")
START = "2023-02-01 01:00"


@contextmanager
def market(speed: float = 600, **options: Any) -> Iterator[tuple[SimulatedExchange, str]]:
    """An exchange that plays ten candles a second, and the address of a server over it."""
    with (
        SimulatedExchange(sample("BTCUSDT", *SPAN), speed=speed, start=START) as venue,
        serving(venue=venue.url, **options) as address,
    ):
        yield venue, address


def feeds() -> int:
    return sum(thread.name.startswith("feed served") for thread in threading.enumerate())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def truth(timeframe: str = "1m") -> pd.DataFrame:
    minutes = sample("BTCUSDT", *SPAN)
    return minutes if timeframe == "1m" else resample(minutes, timeframe)


def hear(
    client: ClientConnection, told: list[dict[str, Any]], bars: pd.DataFrame, count: int
) -> None:
    """Listen until ``count`` bars, from the first closed one on, are all closed."""
    missing: set[str] | None = None
    for message in told:
        missing = _left(message, missing, bars, count)
    while missing is None or missing:
        told.append(json.loads(client.recv(timeout=DEADLINE)))
        missing = _left(told[-1], missing, bars, count)


def _left(
    message: dict[str, Any], missing: set[str] | None, bars: pd.DataFrame, count: int
) -> set[str] | None:
    if message["closed"] and missing is None:
        missing = set(named(bars.loc[parse_time(message["time"]) :].index[:count]))
    return missing - {message["time"]} if missing and message["closed"] else missing


def named(times: pd.Index) -> list[str]:
    return [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]


def check_lossless(told: list[dict[str, Any]], bars: pd.DataFrame, count: int) -> None:
    """Each bar from the first one on was closed once, with the very figures of the market."""
    closed = {m["time"]: m for m in told if m["kind"] in ("closed", "filled", "revised")}
    once = [m["time"] for m in told if m["kind"] in ("closed", "filled")]
    assert len(once) == len(set(once))
    expected = bars.loc[parse_time(min(closed)) :].iloc[:count]
    assert sorted(closed)[:count] == named(expected.index)
    for when, row in zip(sorted(closed)[:count], expected.to_dict("records"), strict=True):
        assert {name: closed[when][name] for name in COLUMNS} == pytest.approx(
            {name: row[name] for name in COLUMNS}, rel=1e-12
        )


@pytest.mark.parametrize("timeframe", ["1m", "3m"])
def test_each_closed_candle_comes_once_whatever_happens_on_the_way(timeframe: str) -> None:
    told: list[dict[str, Any]] = []
    bars = truth(timeframe)
    with (
        market() as (venue, address),
        connect(f"ws://{address}/ws/BTCUSDT?timeframe={timeframe}") as client,
    ):
        hear(client, told, bars, 5)
        venue.kill()
        hear(client, told, bars, 12)
        venue.drop(3)
        hear(client, told, bars, 20)
    check_lossless(told, bars, 20)
    assert {m["symbol"] for m in told} == {"BTCUSDT"}
    assert {m["timeframe"] for m in told} == {timeframe}
    assert {m["simulated"] for m in told} == {True}
    assert all("simulated" in m["source"] for m in told)
    assert any(m["kind"] == "forming" and not m["closed"] for m in told)
    assert all(m["closed"] == (m["kind"] not in ("forming", "gap")) for m in told)


def test_clients_share_a_feed_that_ends_with_the_last_of_them() -> None:
    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    with market() as (_, address):
        before = feeds()
        with connect(f"ws://{address}/ws/BTCUSDT") as one:
            hear(one, first, truth(), 5)
            with connect(f"ws://{address}/ws/BTCUSDT") as other:
                hear(other, second, truth(), 10)
                assert feeds() == before + 1
            hear(one, first, truth(), 20)
            assert feeds() == before + 1
        check_lossless(first, truth(), 20)
        check_lossless(second, truth(), 10)
        wait_for(lambda: feeds() == before)
        with connect(f"ws://{address}/ws/BTCUSDT") as again:  # and begins anew
            assert json.loads(again.recv(timeout=DEADLINE))["symbol"] == "BTCUSDT"
    wait_for(lambda: feeds() == before)


def test_the_simulated_market_is_there_without_an_exchange() -> None:
    with serving() as address, connect(f"ws://{address}/ws/ETHUSDT") as client:
        told = json.loads(client.recv(timeout=DEADLINE))
    assert told["simulated"] is True
    assert told["source"].startswith("simulated exchange")


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/ws/BTCUSD", 422, "Did you mean 'BTCUSDT'?"),
        ("/ws/btcusdt", 422, "'btcusdt' is no symbol"),
        ("/ws/..%2F..%2Fetc", 403, ""),  # no address of a stream
        ("/ws/BTCUSDT?timeframe=2m", 422, "unknown timeframe '2m'"),
        ("/ws/BTCUSDT?timefrme=1m", 422, "Did you mean 'timeframe'?"),
        ("/ws/BTCUSDT?timeframe=1m&timeframe=1m", 422, "is given twice"),
        ("/elsewhere", 403, ""),
    ],
)
def test_what_is_no_stream_is_refused_before_it_opens(
    path: str, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as address, pytest.raises(InvalidStatus) as error:
        connect(f"ws://{address}{path}").__enter__()
    assert error.value.response.status_code == status
    assert told in error.value.response.body.decode()
    assert not caplog.records  # that is no error of the server's


def test_there_is_a_limit_to_clients_and_feeds() -> None:
    with (
        market(limits=Limits(clients=2, feeds=1)) as (_, address),
        connect(f"ws://{address}/ws/BTCUSDT") as one,
    ):
        one.recv(timeout=DEADLINE)
        with pytest.raises(InvalidStatus) as error:
            connect(f"ws://{address}/ws/BTCUSDT?timeframe=3m").__enter__()
        assert error.value.response.status_code == 429
        assert error.value.response.headers["Retry-After"] == "1"
        with connect(f"ws://{address}/ws/BTCUSDT") as two:
            two.recv(timeout=DEADLINE)
            with pytest.raises(InvalidStatus) as error:
                connect(f"ws://{address}/ws/BTCUSDT").__enter__()
            assert error.value.response.status_code == 429


def test_a_client_has_nothing_to_say() -> None:
    with market() as (_, address), connect(f"ws://{address}/ws/BTCUSDT") as client:
        client.send("hello")
        with pytest.raises(ConnectionClosed) as error:
            while True:
                client.recv(timeout=DEADLINE)
    assert error.value.rcvd is not None
    assert error.value.rcvd.code == TALKED
    assert error.value.rcvd.reason == "nothing is expected from a client"


def test_a_feed_that_can_not_be_says_why() -> None:
    with market() as (_, address), connect(f"ws://{address}/ws/NOSUCHCOIN") as client:
        told = json.loads(client.recv(timeout=DEADLINE))
        assert "NOSUCHCOIN" in told["detail"]
        with pytest.raises(ConnectionClosed) as error:
            client.recv(timeout=DEADLINE)
    assert error.value.rcvd is not None
    assert error.value.rcvd.code == 1011
    assert "NOSUCHCOIN" in error.value.rcvd.reason


def test_a_client_that_does_not_read_is_cut_off() -> None:
    small = 4096  # bytes that lie between the two; uvicorn keeps 64 KiB more
    candles = sample("BTCUSDT", "2023-02-01 00:00", "2023-02-02 00:00")[list(COLUMNS)]
    with (
        SimulatedExchange(candles, speed=7200, start=START) as venue,  # 120 candles a second
        serving(venue=venue.url, buffer=small, limits=Limits(messages=3)) as address,
        socket.socket() as line,
    ):
        host, _, port = address.partition(":")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
        line.connect((host, int(port)))
        with connect(f"ws://{address}/ws/BTCUSDT", sock=line, max_queue=1) as lazy:
            wait_for(lambda: feeds() == 1)
            wait_for(lambda: feeds() == 0)  # it was for this client alone
            with pytest.raises(ConnectionClosed) as error:
                while True:
                    lazy.recv(timeout=DEADLINE)
    assert error.value.rcvd is not None
    assert error.value.rcvd.code == SLOW
    assert error.value.rcvd.reason == "too slow: more than 3 messages wait to be read"


# The mailbox and the relay by themselves.


def update(kind: str, bar: int) -> Update:
    candle = None if kind == "gap" else Candle(60_000 * bar, 1.0, 1.0, 1.0, 1.0, 1.0)
    return Update("BTCUSDT", kind, 60_000 * bar, candle, None)


async def drained(box: Mailbox) -> list[tuple[str, int]]:
    box.end()
    found = []
    while (one := await box.take()) is not None:
        found.append((one.kind, one.time // 60_000))
    return found


def test_only_the_newest_forming_candle_waits_and_none_of_a_bar_that_is_over() -> None:
    async def play() -> None:
        box = Mailbox(2)
        for _ in range(100):
            assert box.put(update("forming", 1))
        assert box.put(update("closed", 1))
        assert box.put(update("gap", 2))
        assert box.put(update("forming", 4))
        assert not box.put(update("closed", 3))  # no room
        assert await drained(box) == [("closed", 1), ("gap", 2), ("forming", 4)]

    asyncio.run(play())


def test_a_burst_reaches_a_client_that_reads() -> None:
    """Many updates at once (after an interruption) are more than a mailbox holds."""

    async def play() -> list[str]:
        cursor, sent = Cursor(), []

        async def send(text: str) -> None:
            sent.append(text)

        line = Line(send, asyncio.Event().wait)
        cursor.put([update("filled", bar) for bar in range(500)])
        cursor.end()
        code = await relay(line, cursor, Mailbox(10), lambda u: str(u.time // 60_000))
        assert code == 1011
        return sent

    assert asyncio.run(play()) == [str(bar) for bar in range(500)]


def test_a_client_that_is_gone_ends_its_relay() -> None:
    async def play(fails: bool) -> int | None:
        cursor = Cursor()

        async def send(_: str) -> None:
            raise OSError("gone")

        async def gone() -> bool:
            return False

        cursor.put([update("closed", 1)])
        never = asyncio.Event().wait
        return await relay(Line(send, never if fails else gone), cursor, Mailbox(5), str)

    assert asyncio.run(play(True)) is None
    assert asyncio.run(play(False)) is None


def test_an_error_of_our_own_is_no_client_that_is_gone() -> None:
    async def play() -> None:
        cursor = Cursor()

        async def send(_: str) -> None:
            raise AssertionError("nothing is sent")

        def text(_: Update) -> str:
            raise KeyError("ours")

        cursor.put([update("closed", 1)])
        await relay(Line(send, asyncio.Event().wait), cursor, Mailbox(5), text)

    with pytest.raises(KeyError, match="ours"):
        asyncio.run(play())


def test_a_reason_fits_its_frame() -> None:
    assert cut("short") == "short"
    assert len(cut("ü" * 200).encode()) <= 123
