"""Each fault of the exchange in memory, from a client's side; and schedules of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fault_schedules import describe, perform, random_schedule
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

from astraquant.data.venues import Unreachable
from astraquant.exchange import SimulatedExchange
from astraquant.feed.link import CLOSE_WITHIN, OPEN_WITHIN, Lost

# Faults of the streams.


@virtual
async def test_kill() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(60)
    count = len(reader.texts)
    exchange.kill()
    await asyncio.sleep(1)
    assert reader.reason == "the connection broke off"
    assert len(reader.texts) == count > 10
    assert Reader(await exchange.connect(exchange.stream + STREAMS)).reason == ""


@virtual
async def test_kill_loses_what_is_on_the_wire() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(60)
    (link,) = exchange.links.values()
    link.offer(exchange.now, TICKS, {"e": "last words"})
    exchange.kill()
    await asyncio.sleep(1)
    assert exchange.sent.events[-1].event == {"e": "last words"}
    assert {"e": "last words"} not in reader.events


@virtual
async def test_freeze_and_thaw() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(60)
    exchange.freeze()
    count = len(reader.texts)
    other = Reader(await exchange.connect(exchange.stream + STREAMS))  # new ones live
    await asyncio.sleep(60)
    assert len(reader.texts) == count
    assert len(other.texts) > 10
    exchange.thaw()
    await asyncio.sleep(0.1)
    assert reader.texts[-len(other.texts) :] == other.texts
    assert reader.times[-len(other.texts)] > reader.times[count - 1] + 50


@virtual
async def test_a_frozen_connection_answers_no_goodbye() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    loop = asyncio.get_running_loop()
    for frozen, seconds in ((True, CLOSE_WITHIN), (False, 2 * LATENCY)):
        link = await exchange.connect(exchange.stream + STREAMS)
        if frozen:
            exchange.freeze()
        began = loop.time()
        await link.close()
        assert loop.time() - began == pytest.approx(seconds)
        exchange.thaw()
    assert list(exchange.links.values()) == [reader.link]


@virtual
async def test_who_reads_nothing_for_long_is_cut_off() -> None:
    exchange = exchange_of()
    link = await exchange.connect(exchange.stream + STREAMS)
    exchange.freeze()
    for _ in range(20_001):
        link.offer(START, TICKS, {})
    with pytest.raises(Lost):
        await link.receive()


@virtual
async def test_mute() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    exchange.mute(TICKS)
    await asyncio.sleep(60)
    assert {event["e"] for event in reader.events} == {"kline"}
    count = len(reader.texts)
    exchange.mute()
    await asyncio.sleep(60)
    assert len(reader.texts) == count > 5
    exchange.unmute()
    await asyncio.sleep(60)
    assert {event["e"] for event in reader.events[count:]} == {"kline", "aggTrade"}
    assert exchange.sent.counts["muted"] > 20


async def trades_with(fault: str, **values: Any) -> tuple[list[int], Reader, MemoryExchange]:
    """The ids that arrive if a fault is armed after some seconds, relative to the first one."""
    exchange = exchange_of()
    reader = await playing(exchange, f"/stream?streams={TICKS}")
    await asyncio.sleep(60)
    getattr(exchange, fault)(**values)
    await asyncio.sleep(60)
    ids = reader.ids()
    return [number - ids[0] for number in ids], reader, exchange


@virtual
async def test_drop() -> None:
    ids, _, exchange = await trades_with("drop", count=2, stream=TICKS)
    lost = sorted({*range(ids[-1] + 1)} - {*ids})
    assert len(lost) == 2 == exchange.sent.counts["dropped"]
    assert lost[1] == lost[0] + 1


@virtual
async def test_a_fault_of_another_stream_meets_nobody() -> None:
    ids, _, _ = await trades_with("drop", count=2, stream=BARS)
    assert ids == [*range(ids[-1] + 1)]


@virtual
async def test_duplicate() -> None:
    ids, _, _ = await trades_with("duplicate", count=2)
    twice = [number for number in {*ids} if ids.count(number) == 2]
    assert len(twice) == 2
    assert len(ids) == len({*ids}) + 2 == ids[-1] + 3


@virtual
async def test_reorder() -> None:
    ids, _, _ = await trades_with("reorder")
    assert sorted(ids) == [*range(ids[-1] + 1)]
    late = [k for k in range(1, len(ids)) if ids[k] < ids[k - 1]]
    assert len(late) == 1


@virtual
async def test_delay_holds_up_all_that_is_behind() -> None:
    ids, reader, exchange = await trades_with("delay", seconds=15, count=2)
    assert ids == [*range(ids[-1] + 1)]
    late = [
        (entry.fate, round(time - exchange.moment(entry.time) - LATENCY, 6))
        for time, entry in zip(reader.times, exchange.sent.events, strict=True)
    ]
    k = [fate for fate, _ in late].index("delayed")
    assert {after for _, after in late[:k]} == {0}
    assert late[k] == ("delayed", 15)
    assert late[k + 1][0] == "delayed"
    assert reader.times[k + 1] == pytest.approx(reader.times[k] + 15)
    assert all(time >= reader.times[k + 1] for time in reader.times[k + 2 :])


@virtual
async def test_corrupt() -> None:
    _, reader, exchange = await trades_with("drop", count=1)
    exchange.corrupt()
    whole = len(reader.texts)
    await asyncio.sleep(30)
    with pytest.raises(json.JSONDecodeError):
        json.loads(reader.texts[whole])
    assert json.loads(reader.texts[whole + 1])


@virtual
async def test_oversize() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(30)
    exchange.oversize(size=900_000)
    await asyncio.sleep(30)
    assert max(map(len, reader.texts)) > 900_000
    assert reader.reason == ""
    exchange.oversize()
    await asyncio.sleep(30)
    assert reader.reason == "the connection was closed (code 1009: message too big)"


@virtual
async def test_cut() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(30)
    exchange.cut()
    await asyncio.sleep(30)
    assert reader.reason == "the connection broke off"
    assert exchange.sent.events[-1].fate == "cut"
    assert len(reader.texts) == len(exchange.sent.events) - 1


@virtual
async def test_nothing_comes_behind_a_cut() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    exchange.freeze()
    await asyncio.sleep(30)
    exchange.cut()
    await asyncio.sleep(30)
    exchange.thaw()
    await asyncio.sleep(1)
    assert [entry.fate for entry in exchange.sent.events] == ["sent"] * len(reader.texts) + ["cut"]
    assert len(reader.texts) > 5


@virtual
async def test_a_shutdown_is_announced() -> None:
    exchange = exchange_of(speed=10.0)
    reader = await playing(exchange)
    exchange.shut_down(within=30_000)
    other = Reader(await exchange.connect(exchange.stream + STREAMS))  # it knows of nothing
    await asyncio.sleep(2.9)
    first = json.loads(reader.texts[0])
    assert first["stream"] == "!serverShutdown"
    assert first["data"]["e"] == "serverShutdown"
    assert reader.reason == ""
    await asyncio.sleep(0.2)
    assert reader.reason == "the connection was closed (code 1001: Server shutdown)"
    assert other.reason == ""
    assert "serverShutdown" not in {event["e"] for event in other.events}


@virtual
async def test_a_lie_about_time() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    exchange.lie_about_time(3_600_000)
    await asyncio.sleep(30)
    sent = exchange.sent.events[-1]
    assert reader.events[-1]["E"] == sent.time + 3_600_000
    told = (await ask(exchange, "time")).json()["serverTime"]
    assert told == exchange.now - round(1000 * LATENCY) + 3_600_000


# Faults of handshakes and answers.


@virtual
async def test_refuse() -> None:
    exchange = exchange_of()
    exchange.refuse(429, 2, retry_after=7)
    exchange.refuse(451)
    seen = []
    for _ in range(3):
        with pytest.raises(Lost) as caught:
            await exchange.connect(exchange.stream + STREAMS)
        seen.append((caught.value.status, caught.value.after))
    assert seen == [(429, 7), (429, 7), (451, None)]
    await exchange.connect(exchange.stream + STREAMS)
    statuses = [request.status for request in exchange.sent.requests]
    assert statuses == [429, 429, 451, 101]


@virtual
async def test_accept_and_close() -> None:
    exchange = exchange_of()
    exchange.accept_and_close(2)
    for _ in range(2):
        link = await exchange.connect(exchange.stream + STREAMS)
        with pytest.raises(Lost, match="code 1001"):
            await link.receive()
    reader = await playing(exchange)
    await asyncio.sleep(60)
    assert reader.texts


@virtual
async def test_slow() -> None:
    exchange = exchange_of()
    loop = asyncio.get_running_loop()
    began = loop.time()
    exchange.slow(5, back=3)
    answer = (await ask(exchange, "time")).json()
    assert loop.time() - began == pytest.approx(8 + 2 * LATENCY)
    assert answer["serverTime"] == pytest.approx(exchange.now - 3000 - 1000 * LATENCY, abs=1)
    await exchange.connect(exchange.stream + STREAMS)
    assert loop.time() - began == pytest.approx(13 + 4 * LATENCY)
    exchange.slow(30)
    with pytest.raises(httpx.ReadTimeout):
        await ask(exchange, "time")
    with pytest.raises(Lost, match="timed out"):
        await exchange.connect(exchange.stream + STREAMS)
    assert loop.time() - began == pytest.approx(33 + OPEN_WITHIN + 5 * LATENCY)
    assert len(exchange.links) == 1


@virtual
async def test_a_handshake_that_is_given_up_leaves_no_connection() -> None:
    exchange = exchange_of()
    exchange.slow(5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5 + 1.5 * LATENCY):  # it is accepted after 5 s + LATENCY
            await exchange.connect(exchange.stream + STREAMS)
    assert [request.status for request in exchange.sent.requests] == [101]
    assert exchange.links == {}


@virtual
async def test_rest_may_lag_behind() -> None:
    exchange = exchange_of(start=START + 20 * MINUTE)
    span = {"symbol": "BTCUSDT", "interval": "1m", "startTime": START + 18 * MINUTE}
    whole = [market().closed("1m", START + k * MINUTE).trades for k in (18, 19)]
    assert [row[8] for row in (await ask(exchange, "klines", **span)).json()] == whole
    exchange.lag(30_000)
    (before, last) = (await ask(exchange, "klines", **span)).json()
    assert before[8] == whole[0]
    assert 0 < last[8] < whole[1]  # there it is not over yet
    assert (await ask(exchange, "time")).json()["serverTime"] > START + 20 * MINUTE


@virtual
async def test_shorten() -> None:
    exchange = exchange_of(start=START + 20 * MINUTE)
    exchange.shorten(3)
    span = {"symbol": "BTCUSDT", "interval": "1m", "startTime": START}
    assert len((await ask(exchange, "klines", **span)).json()) == 3
    exchange.shorten()
    assert len((await ask(exchange, "klines", **span)).json()) == 20


@virtual
async def test_answer() -> None:
    exchange = exchange_of()
    headers = {"Retry-After": "9"}
    exchange.answer("/api/v3/time", status=418, body=b"no", headers=headers, times=2, after=1)
    answers = [await ask(exchange, "time") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 418, 418, 200]
    assert (answers[1].text, answers[1].headers["Retry-After"]) == ("no", "9")
    assert len({answer.headers["X-Simulated-Market"] for answer in answers}) == 1
    assert exchange.answers == {200: 2}  # REST itself refused nothing
    assert len(exchange.hasty) == 2


@pytest.mark.parametrize("hang", [False, True])
@virtual
async def test_no_network(hang: bool) -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(30)
    count = len(reader.texts)
    exchange.cut_network(60, hang)
    error = httpx.ConnectTimeout if hang else httpx.ConnectError
    with pytest.raises(error):
        await ask(exchange, "time")
    with pytest.raises(Lost, match="no connection: (timed out|the network is down)"):
        await exchange.connect(exchange.stream + STREAMS)
    if not hang:
        with pytest.raises(Unreachable):
            await exchange.history("BTCUSDT", "1m", 10)
    assert reader.reason == ("" if hang else "the connection broke off")
    assert len(reader.texts) == count
    await asyncio.sleep(60)
    assert (await ask(exchange, "time")).status_code == 200
    assert (len(reader.texts) > count + 10) == hang  # what hung goes on
    await exchange.connect(exchange.stream + STREAMS)


@virtual
async def test_answers_on_their_way_are_lost_with_the_network() -> None:
    exchange = exchange_of()
    exchange.slow(0, back=2)
    asking = asyncio.create_task(ask(exchange, "time"))
    await asyncio.sleep(1)
    exchange.cut_network(10)
    with pytest.raises(httpx.ReadError):
        await asking
    assert exchange.answers == {200: 1}


@virtual
async def test_two_outages_are_one_that_lasts_longer() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    await asyncio.sleep(30)
    count = len(reader.texts)
    exchange.cut_network(60, hang=True)
    await asyncio.sleep(30)
    exchange.cut_network(60, hang=True)
    exchange.cut_network(10, hang=True)  # ends before that
    await asyncio.sleep(59)
    assert len(reader.texts) == count
    await asyncio.sleep(2)
    assert len(reader.texts) > count + 20


@virtual
async def test_a_frozen_exchange_stays_so_when_the_network_returns() -> None:
    exchange = exchange_of()
    reader = await playing(exchange)
    exchange.cut_network(10, hang=True)
    exchange.freeze()
    await asyncio.sleep(60)
    assert reader.texts == []
    exchange.thaw()
    await asyncio.sleep(1)
    assert len(reader.texts) > 10


@virtual
async def test_calm_ends_all_that_lasts_or_is_armed() -> None:
    exchange = exchange_of()
    exchange.accept_and_close(9)
    reader = await playing(exchange)
    exchange.slow(5, back=5)
    exchange.shorten(1)
    exchange.mute()
    exchange.refuse(500, 9)
    exchange.answer("/api/v3/klines", status=500, times=9)
    exchange.calm()
    reader = await playing(exchange)
    await asyncio.sleep(70)
    assert len(reader.texts) > 10
    assert len((await ask(exchange, "klines", symbol="BTCUSDT", interval="1m")).json()) == 2


# Schedules.


def test_a_schedule_is_its_seeds_and_lies_within_its_span() -> None:
    kinds = set()
    for seed in range(300):
        schedule = random_schedule(seed, 3600, streams=(BARS, TICKS))
        assert schedule == random_schedule(seed, 3600, streams=(BARS, TICKS))
        times = [step.at for step in schedule]
        assert times == sorted(times)
        assert all(0 <= time <= 3600 for time in times)
        kinds |= {step.fault for step in schedule}
        for begin, end in (("mute", "unmute"), ("shorten", "shorten")):
            count = sum(step.fault == begin for step in schedule)
            assert count == sum(step.fault == end for step in schedule)
    faults = {name for name in vars(SimulatedExchange) if name in vars(MemoryExchange)}
    faults -= {name for name in faults if name.startswith("_")} | {"now", "lie_about_time"}
    assert kinds == faults | {"cut_network", "accept_and_close", "lag"}


def test_a_schedule_can_be_read() -> None:
    schedule = random_schedule(3, 600, streams=(BARS,))
    lines = describe(schedule).splitlines()
    assert len(lines) == len(schedule)
    for step, line in zip(schedule, lines, strict=True):
        assert f"{step.at:.3f} s  {step.fault}(" in line
        assert all(f"{name}={value!r}" in line for name, value in step.values.items())


def story(seed: int) -> str:
    """All that the exchange did and a plain client saw, under one schedule."""

    async def program() -> str:
        exchange = exchange_of()
        schedule = random_schedule(seed, 1500, streams=(BARS, TICKS))
        troubling = asyncio.create_task(perform(schedule, exchange))
        asyncio.create_task(exchange.play())  # noqa: RUF006
        seen = [describe(schedule)]
        while exchange.now < market().end + 60_000:
            try:
                reader = Reader(await exchange.connect(exchange.stream + STREAMS))
                await asyncio.wait([reader.task], timeout=90)
                reader.link.abort()
                seen += [*reader.texts, *map(repr, reader.times), reader.reason]
            except Lost as error:
                seen.append(f"{error} {error.status} {error.after}")
            try:
                answer = await ask(exchange, "klines", symbol="BTCUSDT", interval="1m", limit=2)
                seen.append(f"{answer.status_code} {answer.content!r}")
            except httpx.HTTPError as error:
                seen.append(repr(error))
            await asyncio.sleep(1)
        await troubling
        return "\n".join([*seen, exchange.log()])

    return run(program())


@pytest.mark.parametrize("seed", range(8))
def test_the_same_seed_is_the_same_story_byte_for_byte(seed: int) -> None:
    assert story(seed) == story(seed)
    assert story(seed) != story(seed + 100)
