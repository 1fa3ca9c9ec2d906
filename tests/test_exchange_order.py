"""The simulated exchange keeps venue time: all that a client gets, in one order, the same again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pandas as pd
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import astraquant as aq
from astraquant import resample
from astraquant.exchange import SimulatedExchange, connection, rest
from astraquant.exchange.clock import Clock
from astraquant.timeframes import MINUTE

START = pd.Timestamp("2023-03-01", tz="UTC")


def sample(minutes: int = 240, symbol: str = "BTCUSDT") -> pd.DataFrame:
    return aq.load_candles(symbol, "1m", start=START, end=START + pd.Timedelta(minutes, "min"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def still(stack: ExitStack, candles: Any = None, **options: Any) -> SimulatedExchange:
    """An exchange whose time stands still until the test moves it on."""
    candles = sample() if candles is None else candles
    return stack.enter_context(SimulatedExchange(candles, speed=0, **options))


def stream(stack: ExitStack, venue: SimulatedExchange, names: str) -> ClientConnection:
    address = venue.url.replace("http", "ws") + names
    return stack.enter_context(connect(address, compression=None, max_queue=None))


def messages(client: ClientConnection) -> list[Any]:
    """All that was sent up to now, told by the reply to a command behind it."""
    client.send('{"method":"LIST_SUBSCRIPTIONS","id":"end"}')
    found = []
    while (message := json.loads(client.recv(timeout=20))).get("id") != "end":
        found.append(message)
    return found


def until_closed(client: ClientConnection) -> tuple[list[Any], int | None]:
    found = []
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            found.append(json.loads(client.recv(timeout=20)))
    return found, caught.value.rcvd and caught.value.rcvd.code


def closes(events: list[Any]) -> list[int]:
    return [event["k"]["t"] for event in events if event.get("k", {}).get("x")]


def minutes_from(start: int, count: int) -> list[int]:
    return [start + MINUTE * row for row in range(count)]


def test_several_markets_in_one_order_of_time(stack: ExitStack) -> None:
    hours = resample(sample(240, "ETHUSDT"), "1h").round(8)
    venue = still(stack, {"BTCUSDT": sample(), "ETHUSDT": hours})
    client = stream(stack, venue, "/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade")
    venue.advance("90m")
    found = messages(client)
    assert {message["stream"] for message in found} == {"btcusdt@aggTrade", "ethusdt@aggTrade"}
    times = [message["data"]["E"] for message in found]
    assert times == sorted(times)
    assert [entry.time for entry in venue.ledger.events] == times


def test_a_day_in_one_step_is_played_before_the_connection_ends(stack: ExitStack) -> None:
    venue = still(stack, sample(1500))
    client = stream(stack, venue, "/ws/btcusdt@kline_1m")
    venue.advance("25h")
    found, code = until_closed(client)
    assert code == 1001
    assert closes(found) == minutes_from(START.value // 10**6, 1440)


def test_an_announced_end_in_one_step(stack: ExitStack) -> None:
    venue = still(stack)
    leaving = stream(stack, venue, "/ws/btcusdt@kline_1m")
    venue.shut_down("10m")
    staying = stream(stack, venue, "/ws/btcusdt@kline_1m")
    venue.advance("20m")
    (first, *found), code = until_closed(leaving)
    assert first == {"e": "serverShutdown", "E": START.value // 10**6}
    assert code == 1001
    assert closes(found) == minutes_from(START.value // 10**6, 10)
    assert closes(messages(staying)) == minutes_from(START.value // 10**6, 20)


def test_steps_of_a_script_come_in_their_places(stack: ExitStack) -> None:
    script = ["4m unmute", "2m mute", "6m shut_down 1m"]
    venue = still(stack, faults=script)
    client = stream(stack, venue, "/ws/btcusdt@kline_1m")
    venue.advance("10m")
    found, code = until_closed(client)
    assert code == 1001
    begin = START.value // 10**6
    # What is due at the very moment of a step comes before it.
    assert closes(found) == [begin + MINUTE * row for row in (0, 1, 4, 5, 6)]
    assert {"e": "serverShutdown", "E": begin + 6 * MINUTE} in found


def test_a_script_goes_on_after_a_restart(stack: ExitStack) -> None:
    venue = still(stack, faults=["1m mute", "3m unmute"])
    venue.advance("2m")
    venue.stop()
    venue.start()
    client = stream(stack, venue, "/ws/btcusdt@kline_1m")
    venue.advance("3m")
    assert closes(messages(client)) == minutes_from(START.value // 10**6 + 3 * MINUTE, 2)


def test_what_was_due_before_a_command_comes_before_its_reply(stack: ExitStack) -> None:
    venue = still(stack)
    client = stream(stack, venue, "/ws/btcusdt@aggTrade")
    venue.freeze()
    venue.advance("1m")
    client.send('{"method":"SET_PROPERTY","params":["combined",true],"id":1}')
    venue.thaw()
    found = []
    while (message := json.loads(client.recv(timeout=20))) != {"result": None, "id": 1}:
        found.append(message)
    assert len(found) > 3
    assert {message.get("e") for message in found} == {"aggTrade"}
    venue.advance("1m")
    assert {message.get("stream") for message in messages(client)} == {"btcusdt@aggTrade"}


def test_what_is_due_before_a_step_is_sent_before_it(stack: ExitStack) -> None:
    venue = still(stack, faults=["1m freeze"])
    client = stream(stack, venue, "/ws/btcusdt@aggTrade")
    venue.delay(0.3)
    venue.advance("2m")
    sent = len(venue.ledger.events)
    times = [json.loads(client.recv(timeout=20))["T"] for _ in range(sent)]
    assert sent > 3
    assert max(times) <= START.value // 10**6 + MINUTE
    venue.thaw()
    assert len(messages(client)) == len(venue.ledger.events) - sent > 3


def test_a_fault_meets_what_is_due_after_it(stack: ExitStack) -> None:
    venue = still(stack)
    client = stream(stack, venue, "/ws/btcusdt@aggTrade")
    venue.freeze()
    venue.advance("1m")
    venue.drop(2)
    venue.thaw()
    first = [event["a"] for event in messages(client)]
    venue.advance("1m")
    second = [event["a"] for event in messages(client)]
    assert first == list(range(first[0], first[-1] + 1))
    assert second[0] == first[-1] + 3


def test_reordering_one_stream(stack: ExitStack) -> None:
    venue = still(stack)
    client = stream(stack, venue, "/stream?streams=btcusdt@aggTrade/btcusdt@trade")
    venue.reorder(1, "btcusdt@aggTrade")
    venue.advance("1m")
    found = messages(client)
    ids = [message["data"]["a"] for message in found if message["stream"] == "btcusdt@aggTrade"]
    assert ids[:3] == [ids[1] + 1, ids[1], ids[1] + 2]
    trades = [message["data"]["t"] for message in found if message["stream"] == "btcusdt@trade"]
    assert trades == sorted(trades)


def test_faults_among_several_clients_repeat(stack: ExitStack) -> None:
    runs = []
    for _ in range(2):
        venue = still(stack)
        names = "/ws/btcusdt@trade/btcusdt@kline_1m"
        clients = [stream(stack, venue, names) for _ in range(3)]
        for fault in (venue.reorder, venue.drop, venue.duplicate):
            fault(7)
        venue.advance("3m")
        ledger = [entry._replace(event=entry.event) for entry in venue.ledger.events]
        by_client = [[e for e in ledger if e.connection == n] for n in (1, 2, 3)]
        runs.append((by_client, [messages(client) for client in clients]))
    assert runs[0] == runs[1]
    fates = {entry.fate for entries in runs[0][0] for entry in entries}
    assert fates == {"sent", "reordered", "dropped", "duplicated"}


def test_at_any_speed_the_same_trades_and_closes(stack: ExitStack) -> None:
    names = "/ws/btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@kline_5m"

    def lasting(events: list[Any]) -> list[Any]:
        return [event for event in events if event["e"] == "aggTrade" or event["k"]["x"]]

    slow = still(stack)
    client = stream(stack, slow, names)
    slow.advance("30m")
    expected = lasting(messages(client))
    fast = stack.enter_context(SimulatedExchange(sample(), speed=6_000))
    client = stream(stack, fast, names)
    found: list[Any] = []
    while not found or found[-1] != expected[-1]:
        found += lasting([json.loads(client.recv(timeout=20))])
    assert found == expected[expected.index(found[0]) :]


def test_forming_bars_come_every_two_seconds_at_most(stack: ExitStack) -> None:
    venue = still(stack)
    client = stream(stack, venue, "/ws/btcusdt@kline_1m")
    venue.advance("30m")
    times = [event["E"] for event in messages(client) if not event["k"]["x"]]
    assert len(times) > 100
    assert {time % 2000 for time in times} == {0}
    assert times == sorted(set(times))


def test_a_full_outbox_makes_a_clock_moved_by_hand_wait(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OUTBOX", 100)
    venue = still(stack)
    client = stream(stack, venue, "/ws/btcusdt@trade")
    venue.delay(0.3)
    venue.advance("3m")
    ids = [event["t"] for event in messages(client)]
    assert len(ids) > 200
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_limits_are_of_venue_minutes(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "WEIGHT_PER_MINUTE", 200)

    def ask(venue: SimulatedExchange) -> httpx.Response:
        return httpx.get(venue.url + "/api/v3/exchangeInfo", trust_env=False)

    slow = still(stack)
    while (answer := ask(slow)).status_code == 200:
        pass
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    fast = stack.enter_context(SimulatedExchange(sample(), speed=6_000))
    answers = [ask(fast) for _ in range(11)]
    assert {answer.status_code for answer in answers} == {200}


def test_the_clock() -> None:
    clock = Clock(1_000, 500)
    assert (clock.now(), clock.seconds_until(1_000), clock.seconds_until(2_000)) == (1_000, 0, None)
    clock.jump(3_000)
    clock.jump(2_000)  # never backward
    assert clock.now() == 3_000
    clock.begin()
    while clock.now() < 3_100:
        pass
    clock.begin()  # it passes already
    assert clock.now() >= 3_100
    left = clock.seconds_until(clock.now() + 500_000)
    assert left is not None
    assert 0 < left <= 1_000
    real = time.monotonic()
    assert Clock(0, 60).passed() >= 60 * real
    assert Clock(0, 0).passed() == pytest.approx(real, rel=0.5)
    assert Clock(5, 0).seconds_until(6) is None


def test_who_comes_in_mid_bar_gets_the_whole_bar(stack: ExitStack) -> None:
    candles = sample()
    venue = still(stack, candles)
    venue.advance("7m")
    client = stream(stack, venue, "/ws/btcusdt@kline_15m")
    venue.advance("10s")
    (*_, event) = messages(client)
    assert float(event["k"]["o"]) == candles["open"].iloc[0]
    assert float(event["k"]["v"]) >= candles["volume"].iloc[:7].sum() - 1e-6


def test_the_end_of_the_candles(stack: ExitStack) -> None:
    venue = still(stack, sample(30))
    client = stream(stack, venue, "/ws/btcusdt@kline_1m/btcusdt@kline_1h")
    venue.advance("2h")
    found = messages(client)
    assert len(closes([event for event in found if event["k"]["i"] == "1m"])) == 30
    assert closes([event for event in found if event["k"]["i"] == "1h"]) == []  # never whole
    venue.advance("2h")
    assert messages(client) == []
    rows = httpx.get(
        venue.url + "/api/v3/klines?symbol=BTCUSDT&interval=1m", trust_env=False
    ).json()
    assert len(rows) == 30
