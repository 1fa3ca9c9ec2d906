"""The feed's protocol against recorded messages, the simulated exchange, and whatever may come."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feed_messages import MESSAGES, PATHS, changed, dumped, parsed
from hypothesis import given
from hypothesis import strategies as st

from astraquant.candles import Candle, candle_table
from astraquant.data import read_candles
from astraquant.exchange import protocol as server
from astraquant.exchange import records
from astraquant.feed.protocol import (
    AggTrade,
    BookTicker,
    Event,
    Ignored,
    Kline,
    Rejected,
    Reply,
    Shutdown,
    Ticker,
    Trade,
    parse,
)
from astraquant.resampling import CandleBuilder
from astraquant.timeframes import TIMEFRAMES, bin_starts, next_start

FIRST, PAST = 1262304000000, 4102444800000  # 2010 and 2100
EVENTS = (Kline, AggTrade, Trade, BookTicker, Ticker, Shutdown, Reply, Ignored, Rejected)
# Recorded traffic.


def recorded(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            brace = line.find(b"{")
            if brace >= 0:  # the first line may hold the address
                yield line[brace:].strip()


def plainly(message: bytes) -> Event:
    """What a recorded message says, read the obvious way."""
    data = json.loads(message)
    data = data.get("data", data)
    match data.get("e"):
        case "kline":
            bar = data["k"]
            names = ("t", "o", "h", "l", "c", "v", "q", "n", "V", "Q")
            candle = Candle(bar["t"], *(float(bar[name]) for name in names[1:]))
            ids = bar["f"], bar["L"]
            return Kline(data["s"], bar["i"], candle, bar["T"], *ids, bar["x"], data["E"])
        case "aggTrade":
            price, quantity, ids = float(data["p"]), float(data["q"]), (data["f"], data["l"])
            times = data["T"], data["m"], data["E"]
            return AggTrade(data["s"], data["a"], price, quantity, *ids, *times)
        case "trade":
            price, quantity = float(data["p"]), float(data["q"])
            return Trade(data["s"], data["t"], price, quantity, data["T"], data["m"], data["E"])
        case "depthUpdate":
            return Ignored("depthUpdate")
        case _ if "lastUpdateId" in data:
            return Ignored("partial depth")
        case _:
            return BookTicker(data["s"], data["u"], *(float(data[name]) for name in "bBaA"))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "hftbacktest_spot_btcusdt_20240808.gz",
            {"Trade": 9_757, "BookTicker": 28_040, "depthUpdate": 3_451, "partial depth": 1},
        ),
        (
            "hftbacktest_spot_ethusdt_20240808.gz",
            {"Trade": 6_106, "BookTicker": 24_077, "depthUpdate": 3_434, "partial depth": 1},
        ),
        (
            "hftbacktest_usdm_btcusdt_20240808.gz",
            {"Trade": 21_313, "BookTicker": 66_089, "depthUpdate": 6_551, "partial depth": 1},
        ),
        (
            "cryptofeed_BINANCE.ws.1.0.txt",
            {"Kline": 2, "AggTrade": 2, "BookTicker": 84, "depthUpdate": 177},
        ),
        (
            "cryptofeed_BINANCE_FUTURES.ws.1.0.txt",
            {"Kline": 67, "AggTrade": 91, "BookTicker": 613, "depthUpdate": 764},
        ),
    ],
)
def test_recorded_traffic_is_read_to_the_last_message(
    market_data: Path, name: str, counts: dict[str, int]
) -> None:
    seen: Counter[str] = Counter()
    for message in recorded(market_data / "ws" / name):
        event = parse(message)
        assert event == plainly(message)
        seen[event.reason if isinstance(event, Ignored) else type(event).__name__] += 1
    assert seen == counts


def test_recorded_trades_become_the_official_minutes(market_data: Path) -> None:
    builder, closed = CandleBuilder("1m"), []
    for message in recorded(market_data / "ws" / "hftbacktest_usdm_btcusdt_20240808.gz"):
        event = parse(message)
        if isinstance(event, Trade):
            closed += builder.add_trade(
                event.time, event.price, event.quantity, event.buyer_is_maker
            )
    official = read_candles(market_data / "ws" / "official_um_BTCUSDT_1m_20240808_2354-2359.csv")
    assert builder.forming is not None
    built = candle_table([*closed, builder.forming])[: official.index[-1]]
    assert built.index.equals(official.index[1:])  # 23:54 was recorded from its 15th second on
    assert len(built) == 5
    assert sorted(built.columns) == sorted(official.columns)
    for name in official.columns:
        np.testing.assert_allclose(built[name], official[name][1:], rtol=1e-12, err_msg=name)


def test_the_closing_update_among_the_recorded_ones(market_data: Path) -> None:
    messages = recorded(market_data / "ws" / "cryptofeed_BINANCE_FUTURES.ws.1.0.txt")
    klines = [event for event in map(parse, messages) if isinstance(event, Kline)]
    closed = [event for event in klines if event.closed]
    assert len(closed) == 4
    assert all(event.event_time > event.close_time for event in closed)


# What the simulated exchange sends is what is read, to the last digit.

UNITS = st.integers(1, 10**17)
AMOUNTS = st.integers(0, 10**19)
IDS = st.integers(0, 2**53)
MOMENTS = st.integers(FIRST, PAST - 1)
SYMBOLS = st.from_regex(r"[A-Z0-9]{2,20}", fullmatch=True)
SESSIONS = st.builds(server.Session, combined=st.booleans(), microseconds=st.booleans())


def number(units: int) -> float:
    return float(records.decimal(units))


@st.composite
def bars(draw: st.DrawFn) -> tuple[str, records.Kline]:
    interval = draw(st.sampled_from(TIMEFRAMES))
    start = int(
        bin_starts(np.array(draw(MOMENTS.filter(lambda time: time > FIRST + 2**32))), interval)
    )
    low, *inside, high = sorted(draw(st.lists(UNITS, min_size=4, max_size=4)))
    opened, close = draw(st.permutations(inside))
    ids = draw(st.one_of(st.just([-1, -1]), st.lists(IDS, min_size=2, max_size=2).map(sorted)))
    amounts = [draw(AMOUNTS), draw(AMOUNTS), draw(IDS), draw(AMOUNTS), draw(AMOUNTS)]
    end = next_start(start, interval)
    return interval, records.Kline(start, end - 1, *ids, opened, high, low, close, *amounts)


@given(SESSIONS, SYMBOLS, bars(), MOMENTS, st.booleans())
def test_klines_come_back(
    session: server.Session, symbol: str, drawn: tuple[str, records.Kline], time: int, final: bool
) -> None:
    interval, bar = drawn
    stream = f"{symbol.lower()}@kline_{interval}"
    text = session.frame(stream, server.kline_event(symbol, interval, bar, time, final))
    candle = Candle(
        bar.open_time, number(bar.open), number(bar.high), number(bar.low), number(bar.close),
        number(bar.volume), number(bar.quote_volume), float(bar.trades),
        number(bar.taker_buy_volume), number(bar.taker_buy_quote_volume),
    )  # fmt: skip
    ids = bar.first_id, bar.last_id
    sent = Kline(symbol, interval, candle, bar.close_time, *ids, final, time)
    assert parse(text) == parse(text.encode()) == sent


@given(SESSIONS, SYMBOLS, IDS, UNITS, AMOUNTS, st.lists(IDS, min_size=2, max_size=2), MOMENTS,
       st.booleans(), MOMENTS)  # fmt: skip
def test_trades_come_back(
    session: server.Session, symbol: str, id_: int, price: int, quantity: int, ids: list[int],
    time: int, maker: bool, event_time: int,
) -> None:  # fmt: skip
    first, last = sorted(ids)
    agg = records.AggTrade(id_, price, quantity, first, last, time, maker)
    text = session.frame("x@aggTrade", server.agg_trade_event(symbol, agg, event_time))
    values = number(price), number(quantity)
    assert parse(text) == AggTrade(symbol, id_, *values, first, last, time, maker, event_time)
    single = records.Trade(id_, price, quantity, time, maker)
    text = session.frame("x@trade", server.trade_event(symbol, single, event_time))
    assert parse(text) == Trade(symbol, id_, *values, time, maker, event_time)


@given(SESSIONS, SYMBOLS, bars(), st.builds(records.Book, IDS, UNITS, AMOUNTS, UNITS, AMOUNTS),
       MOMENTS)  # fmt: skip
def test_tickers_and_the_shutdown_come_back(
    session: server.Session, symbol: str, drawn: tuple[str, records.Kline], book: records.Book,
    time: int,
) -> None:  # fmt: skip
    text = session.frame("x@bookTicker", server.book_ticker_event(symbol, book))
    best = number(book.bid), number(book.bid_quantity), number(book.ask), number(book.ask_quantity)
    assert parse(text) == BookTicker(symbol, book.update_id, *best)
    bar = drawn[1]
    prices = bar.open, bar.high, bar.low, bar.close
    day = records.Ticker(
        FIRST, time, 0, 1, bar.open, *prices, 1, bar.volume, bar.quote_volume, 1, bar.trades
    )
    text = session.frame("x@ticker", server.ticker_event(symbol, day, book, time))
    last, volumes = number(bar.close), (number(bar.volume), number(bar.quote_volume))
    others = number(bar.open), number(bar.high), number(bar.low), *volumes, bar.trades
    assert parse(text) == Ticker(symbol, time, last, *others)
    text = session.frame(server.SHUTDOWN_STREAM, server.server_shutdown_event(time))
    assert parse(text) == Shutdown(time)


def test_replies_come_back() -> None:
    session = server.Session(["a@trade"])
    ask = [
        ('{"method":"SUBSCRIBE","params":["b@trade"],"id":1}', (1, None, None, "")),
        ('{"method":"LIST_SUBSCRIPTIONS","id":"x1"}', ("x1", ["a@trade", "b@trade"], None, "")),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":null}', (None, False, None, "")),
        ('{"method":"GET_PROPERTY","params":["x"],"id":-3}', (-3, None, 0, "Unknown property")),
    ]
    for command, reply in ask:
        assert parse(session.receive(command)) == Reply(*reply)
    error = parse(session.receive("{"))
    assert isinstance(error, Reply)
    assert (error.id, error.code) == (None, 3)
    assert error.message.startswith("Invalid JSON")
    many = json.dumps([f"s{n}@trade" for n in range(1025)])
    nested = parse(session.receive(f'{{"method":"SUBSCRIBE","params":{many},"id":7}}'))
    assert nested == Reply(7, None, 4, "Too many subscriptions")
    assert parse('{"error":{"code":4,"msg":"Too many subscriptions"}}') == nested._replace(id=None)


@pytest.mark.parametrize(
    "text",
    [
        '{"result":null,"id":1.5}', '{"result":null,"id":true}', '{"result":null,"id":[1]}',
        '{"code":"2","msg":"x"}', '{"code":2,"msg":5}', '{"error":"x"}', '{"error":{"code":"4"}}',
    ],
)  # fmt: skip
def test_replies_of_other_types_are_rejected(text: str) -> None:
    assert isinstance(parse(text), Rejected)


# Whatever comes is an event, never an exception.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from([*"eEsktTpqXm", "data", "id"]), inner)
    ),
)


@given(st.binary() | st.text())
def test_any_bytes_are_an_event(message: bytes | str) -> None:
    assert isinstance(parse(message), EVENTS)


@given(JSON)
def test_any_json_is_an_event(value: object) -> None:
    assert isinstance(parse(json.dumps(value)), EVENTS)
    assert isinstance(parse(json.dumps({"stream": "x", "data": value})), EVENTS)


@given(st.sampled_from(PATHS), JSON, st.booleans())
def test_any_value_in_a_field_is_an_event(
    place: tuple[dict[str, Any], str], value: object, combined: bool
) -> None:
    message = changed(*place, value)
    assert isinstance(parsed({"stream": "x", "data": message} if combined else message), EVENTS)


@given(st.sampled_from(MESSAGES), st.data())
def test_any_damage_is_an_event(message: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(dumped(message))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(start + 3, len(raw))))
        raw[start:end] = data.draw(st.binary(max_size=3))
    event = parse(bytes(raw))
    assert isinstance(event, EVENTS)
    if isinstance(event, Kline):
        low, high = event.candle.low, event.candle.high
        assert 0 < low <= min(event.candle.open, event.candle.close)
        assert max(event.candle.open, event.candle.close) <= high < np.inf
        assert next_start(event.candle.time, event.interval) == event.close_time + 1
