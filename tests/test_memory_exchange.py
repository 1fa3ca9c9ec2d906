"""The exchange in memory: what it says is the market, and connections begin and end as they do."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from memory_exchange import LATENCY, MemoryExchange
from memory_reader import (
    BARS,
    MINUTE,
    START,
    STREAMS,
    TICKS,
    Reader,
    ask,
    exchange_of,
    market,
    playing,
)
from virtual_clock import run, virtual
from websockets.sync.client import connect

from astraquant.candles import Candle, times_of
from astraquant.data.sample import sample_candles
from astraquant.exchange import SimulatedExchange, protocol, rest
from astraquant.exchange.market import decimal
from astraquant.exchange.playback import playback
from astraquant.exchange.streams import events_of
from astraquant.feed.link import Lost

# The truth.


@virtual
async def test_a_stream_is_the_market_played() -> None:
    exchange = exchange_of(speed=20.0)
    loop = asyncio.get_running_loop()
    link = await exchange.connect(exchange.stream + STREAMS)
    reader, began = Reader(link), loop.time() - 2 * LATENCY
    first = exchange.now
    await exchange.play()
    await asyncio.sleep(1)
    expected = [
        (moment.time, {"stream": stream, "data": event})
        for moment in playback(market(), first)
        for stream, event in events_of(market(), moment, {BARS, TICKS})
    ]
    assert [json.loads(text) for text in reader.texts] == [pair[1] for pair in expected]
    due = [began + (pair[0] - START) / 1000 / 20 + LATENCY for pair in expected]
    assert reader.times == pytest.approx(due, abs=1e-6)
    assert exchange.now == pytest.approx(market().end + 20_000, abs=1)
    assert [entry.event for entry in exchange.sent.events] == [pair[1]["data"] for pair in expected]
    assert exchange.sent.counts == {"sent": len(expected)}


@virtual
async def test_history_and_truth_are_the_candles_of_the_table() -> None:
    exchange = exchange_of(start=START + 10 * MINUTE)
    table = await exchange.history("BTCUSDT", "1m", 4)
    candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-01 00:30")
    assert table.attrs["symbol"] == "BTCUSDT"
    assert table.attrs["source"] == "simulated exchange: synthetic sample (seed 7)"
    assert times_of(table).tolist() == [START + k * MINUTE for k in range(6, 10)]
    for name in table:
        assert table[name].tolist() == candles[name].iloc[6:10].tolist(), name
    await asyncio.sleep(3600)  # all is over
    pairs = zip(times_of(candles).tolist(), candles.to_numpy().tolist(), strict=True)
    rows = [Candle(time, *row) for time, row in pairs]
    assert list(exchange.truth("BTCUSDT", "1m").values()) == rows
    fives = exchange.truth("BTCUSDT", "5m")
    assert list(fives) == [START + 5 * k * MINUTE for k in range(6)]
    assert fives[START].close == rows[4].close
    assert fives[START].trades == sum(row.trades for row in rows[:5])


@virtual
async def test_rest_is_the_market_at_this_moment() -> None:
    exchange = exchange_of(start=START + 10 * MINUTE)
    told = await ask(exchange, "time")
    assert told.json() == {"serverTime": START + 10 * MINUTE + round(1000 * LATENCY)}
    await asyncio.sleep(30)
    answer = await ask(exchange, "klines", symbol="BTCUSDT", interval="1m", limit=3)
    now = exchange.now - round(1000 * LATENCY)
    bars = market().klines("1m", start=None, end=None, limit=3, now=now)
    assert [row[:6] for row in answer.json()] == [
        [bar.open_time, *map(decimal, (bar.open, bar.high, bar.low, bar.close, bar.volume))]
        for bar in bars
    ]
    assert bars[-1].open_time == START + 10 * MINUTE  # it is still forming
    (last,) = (await ask(exchange, "aggTrades", symbol="BTCUSDT", limit=1)).json()
    assert last["a"] == market().last_trades(1, exchange.now)[0].id
    refused = await ask(exchange, "klines", symbol="NOPE", interval="1m")
    assert (refused.status_code, refused.json()["code"]) == (400, -1121)
    statuses = [request.status for request in exchange.sent.requests]
    assert statuses == [200, 200, 200, 400]
    assert exchange.sent.requests[1].target == "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3"


def test_it_says_what_the_real_one_says() -> None:
    candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-01 00:30")
    target = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=10"
    with SimulatedExchange(candles, speed=0) as venue:
        address = venue.url.replace("http", "ws") + STREAMS
        with connect(address, compression=None) as stream:
            venue.advance("5m")
            real = [stream.recv(timeout=20) for _ in venue.ledger.events]
        real_answer = httpx.get(venue.url + target)

    async def program() -> tuple[list[str], httpx.Response]:
        exchange = exchange_of()
        reader = await playing(exchange)
        await asyncio.sleep(300 - 2 * LATENCY)
        async with httpx.AsyncClient(transport=exchange.http) as client:
            return reader.texts, await client.get(exchange.rest + target)

    texts, answer = run(program())
    assert texts == real
    assert answer.content == real_answer.content
    ours = {"x-simulated-market", "x-simulated-speed"}  # these two are others by right
    assert {*answer.headers} == {*real_answer.headers} - {"date", "server"}
    for name in {*answer.headers} - ours:
        assert answer.headers[name] == real_answer.headers[name]
    assert answer.headers["X-Simulated-Speed"] == "1"


@virtual
async def test_two_markets_are_played_together() -> None:
    both = {name: market(name) for name in ("BTCUSDT", "ETHUSDT")}
    exchange = MemoryExchange(both, start=START)
    reader = await playing(exchange, f"{STREAMS}/ethusdt@kline_1m")
    await asyncio.sleep(120)
    moments = [entry.time for entry in exchange.sent.events]
    assert moments == sorted(moments)
    assert {event["s"] for event in reader.events} == {"BTCUSDT", "ETHUSDT"}


# Connections.


@virtual
async def test_a_client_that_closes_hears_no_more() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(30)
    await reader.link.close()
    count = len(reader.texts)
    await asyncio.sleep(30)
    assert len(reader.texts) == count > 5
    assert reader.reason == "the connection was closed (code 1000)"
    assert exchange.links == {}
    with pytest.raises(Lost):
        await reader.link.receive()  # for ever


@virtual
async def test_abort_ends_a_reading_at_once() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    exchange.freeze()
    await asyncio.sleep(30)
    assert not reader.task.done()
    reader.link.abort()
    await asyncio.sleep(0)
    assert reader.reason == "the connection broke off"
    assert exchange.links == {}


@virtual
async def test_a_reading_that_is_cancelled_loses_nothing() -> None:
    exchange = exchange_of()
    whole = await playing(exchange)
    link = await exchange.connect(exchange.stream + STREAMS)
    moments = {moment.time for moment in playback(market(), START) if moment.time < START + MINUTE}
    texts = []
    for moment in sorted(moments):
        try:
            async with asyncio.timeout_at(exchange.moment(moment) + LATENCY):  # as a message comes
                while True:
                    texts.append((await link.receive()).decode())
        except TimeoutError:
            pass
    await asyncio.sleep(0)
    assert len(texts) > 10
    assert whole.texts[: len(texts)] == texts


@virtual
async def test_a_wrong_path_is_refused() -> None:
    exchange = exchange_of()
    with pytest.raises(Lost) as caught:
        await exchange.connect(exchange.stream + "/nowhere")
    assert caught.value.status == 404


@virtual
async def test_too_many_attempts_are_refused_for_a_while() -> None:
    exchange = exchange_of()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(protocol.ATTEMPTS_PER_WINDOW):
        (await exchange.connect(exchange.stream + "/ws")).abort()
    with pytest.raises(Lost) as caught:
        await exchange.connect(exchange.stream + "/ws")
    assert caught.value.status == 429
    assert caught.value.after is not None
    assert began + 300 < loop.time() + caught.value.after < began + 302
    assert exchange.hasty == []
    with pytest.raises(Lost):
        await exchange.connect(exchange.stream + "/ws")
    assert len(exchange.hasty) == 1  # the client was told to wait
    await asyncio.sleep(caught.value.after)
    await exchange.connect(exchange.stream + "/ws")
    assert len(exchange.hasty) == 1
    assert len(exchange.attempts) == 303


@virtual
async def test_rest_bans_whoever_asks_too_much() -> None:
    exchange = exchange_of()
    many = rest.WEIGHT_PER_MINUTE // rest.WEIGHTS["exchangeInfo"]
    async with httpx.AsyncClient(transport=exchange.http) as client:
        url = exchange.rest + "/api/v3/exchangeInfo"
        statuses = [(await client.get(url)).status_code for _ in range(many)]
        assert statuses == [200] * many
        refused = await client.get(url)
        assert refused.status_code == 429
        await asyncio.sleep(float(refused.headers["Retry-After"]))
        assert (await client.get(url)).status_code == 200
        assert exchange.hasty == []
        while refused.status_code != 418:
            refused = await client.get(url)
    assert float(refused.headers["Retry-After"]) == rest.FIRST_BAN
    assert exchange.answers[418] == 1
    assert exchange.answers[429] == 1 + rest.REFUSALS_BEFORE_BAN
    assert len(exchange.hasty) == rest.REFUSALS_BEFORE_BAN


@virtual
async def test_a_day_ends_a_connection() -> None:
    exchange = exchange_of(speed=1000.0)
    reader = Reader(await exchange.connect(exchange.stream + STREAMS))
    await asyncio.sleep(86.3)
    assert reader.reason == ""
    await asyncio.sleep(0.2)
    told = "(code 1001: Connection lifetime of 24 hours reached)"
    assert reader.reason == f"the connection was closed {told}"
