"""The WebSocket protocol against its documentation and against recorded messages."""

from __future__ import annotations

import gzip
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant.exchange import protocol
from astraquant.exchange.protocol import Session, parse_target, stream_kind
from astraquant.exchange.records import AggTrade, Book, Kline, Ticker, Trade

KLINE = "btcusdt@kline_1m"
TRADES = "btcusdt@aggTrade"
METHODS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


def ask(session: Session, **command: object) -> Any:
    return json.loads(session.receive(json.dumps(command)))


def test_the_limits_are_binances() -> None:
    assert (protocol.PING_EVERY, protocol.PONG_WITHIN) == (20, 60)
    assert protocol.LIFETIME == 24 * 3600 * 1000
    assert (protocol.INBOUND_PER_SECOND, protocol.STREAMS_PER_CONNECTION) == (5, 1024)
    assert (protocol.ATTEMPTS_PER_WINDOW, protocol.ATTEMPTS_WINDOW) == (300, 5 * 60)


# Targets.


@pytest.mark.parametrize(
    ("target", "streams", "combined", "microseconds"),
    [
        ("/ws", [], False, False),
        ("/ws/", [], False, False),
        (f"/ws/{KLINE}", [KLINE], False, False),
        (f"/ws/{KLINE}/{TRADES}", [KLINE, TRADES], False, False),
        ("/ws/btcusdt%40kline_1m", [KLINE], False, False),
        (f"/ws/{KLINE}?timeUnit=MICROSECOND", [KLINE], False, True),
        (f"/ws/{KLINE}?timeUnit=microsecond", [KLINE], False, True),
        (f"/ws/{KLINE}?timeUnit=MILLISECOND", [KLINE], False, False),
        ("/stream", [], True, False),
        (f"/stream?streams={KLINE}", [KLINE], True, False),
        (f"/stream?streams={TRADES}/{KLINE}/{TRADES}", [TRADES, KLINE], True, False),
        ("/stream?streams=btcusdt%40kline_1m&timeUnit=MICROSECOND", [KLINE], True, True),
        ("/ws/btcusdt@no_such_thing", ["btcusdt@no_such_thing"], False, False),
    ],
)
def test_a_target_opens_its_session(
    target: str, streams: list[str], combined: bool, microseconds: bool
) -> None:
    session = parse_target(target)
    assert session is not None
    assert list(session.streams) == streams
    assert (session.combined, session.microseconds) == (combined, microseconds)


@pytest.mark.parametrize(
    "target",
    [
        "/", "", "/wss", "/ws2/x", "/streams", f"/stream/{KLINE}", f"/Ws/{KLINE}", "/api/v3/ping",
        f"/ws/{KLINE}?timeUnit=SECOND", "/ws/btc usdt@trade", "/ws/btc%20usdt@trade",
        "/stream?streams=a;b", "/ws/" + "x" * 129,
        "/ws/" + "/".join(f"s{n}@trade" for n in range(1025)),
    ],
)  # fmt: skip
def test_other_targets_have_no_streams(target: str) -> None:
    assert parse_target(target) is None


@given(st.text())
def test_any_target_is_a_session_or_none(text: str) -> None:
    for target in (text, f"/ws/{text}", f"/stream?streams={text}", f"/ws?timeUnit={text}"):
        assert isinstance(parse_target(target), Session | None)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("btcusdt@kline_1m", ("BTCUSDT", "kline", "1m")),
        ("btcusdt@kline_1M", ("BTCUSDT", "kline", "1M")),
        ("1inchusdt@kline_1s", ("1INCHUSDT", "kline", "1s")),
        ("btcusdt@aggTrade", ("BTCUSDT", "aggTrade", "")),
        ("btcusdt@trade", ("BTCUSDT", "trade", "")),
        ("btcusdt@bookTicker", ("BTCUSDT", "bookTicker", "")),
        ("btcusdt@ticker", ("BTCUSDT", "ticker", "")),
        *((name, None) for name in [
            "BTCUSDT@kline_1m", "btcusdt@kline_1D", "btcusdt@kline_7m", "btcusdt@kline_",
            "btcusdt@kline", "btcusdt@aggtrade", "btcusdt@trade_1m", "btcusdt@trade_", "btcusdt",
            "btcusdt@depth", "btcusdt@ticker_1h", "@trade", "!ticker@arr", "",
            "btcusdt@trade@100ms",
        ]),
    ],
)  # fmt: skip
def test_a_stream_name_says_what_it_carries(
    name: str, meaning: tuple[str, str, str] | None
) -> None:
    assert stream_kind(name) == meaning


# Commands.


def test_commands_as_documented() -> None:
    session = Session()
    assert session.receive(
        '{"method":"SUBSCRIBE","params":["btcusdt@kline_1m","btcusdt@aggTrade"],"id":1}'
    ) == '{"result":null,"id":1}'  # fmt: skip
    assert ask(session, method="LIST_SUBSCRIPTIONS", id=2) == {"result": [KLINE, TRADES], "id": 2}
    assert ask(session, method="UNSUBSCRIBE", params=[KLINE], id=3) == {"result": None, "id": 3}
    assert list(session.streams) == [TRADES]
    assert ask(session, method="GET_PROPERTY", params=["combined"], id=4)["result"] is False
    assert ask(session, method="SET_PROPERTY", params=["combined", True], id=5) == {
        "result": None,
        "id": 5,
    }
    assert ask(session, method="GET_PROPERTY", params=["combined"], id=6)["result"] is True
    assert session.frame(TRADES, {"a": 1}) == '{"stream":"btcusdt@aggTrade","data":{"a":1}}'
    ask(session, method="SET_PROPERTY", params=["combined", False], id=7)
    assert session.frame(TRADES, {"a": 1}) == '{"a":1}'


def test_subscribing_twice_and_leaving_what_is_not_held_do_no_harm() -> None:
    session = Session([KLINE])
    reply = ask(session, method="SUBSCRIBE", params=[TRADES, KLINE, TRADES], id=1)
    assert reply == {"result": None, "id": 1}
    assert list(session.streams) == [KLINE, TRADES]
    assert ask(session, method="UNSUBSCRIBE", params=["ethusdt@trade"], id=2)["result"] is None
    assert list(session.streams) == [KLINE, TRADES]
    assert ask(session, method="SUBSCRIBE", params=[], id=3) == {"result": None, "id": 3}


@pytest.mark.parametrize(
    "good", [0, -1, 2**63 - 1, -(2**63), None, "a", "9", "Z" * 36, string.ascii_letters[:36]]
)
def test_the_id_comes_back(good: object) -> None:
    reply = ask(Session(), method="LIST_SUBSCRIPTIONS", id=good)
    assert reply == {"result": [], "id": good}
    assert type(reply["id"]) is type(good)
    assert ask(Session(), method="nonsense", id=good)["id"] == good


@pytest.mark.parametrize(
    "bad",
    [2**63, -(2**63) - 1, 1.0, True, False, "", "Z" * 37, "a-b", "ä", "a b", "١", "a\n", [1], {}],
)
def test_other_ids_are_refused(bad: object) -> None:
    reply = ask(Session(), method="LIST_SUBSCRIPTIONS", id=bad)
    assert reply == {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ({"id": 1}, {"code": 2, "msg": "Invalid request: missing field `method`"}),
        (
            {"method": "subscribe", "params": [KLINE]},
            {
                "code": 2,
                "msg": f"Invalid request: unknown variant `subscribe`, expected one of {METHODS}",
            },
        ),
        (
            {"method": ["SUBSCRIBE"]},
            {
                "code": 2,
                "msg": f'Invalid request: unknown variant `["SUBSCRIBE"]`, expected one of '
                f"{METHODS}",
            },
        ),
        (
            {"method": "SUBSCRIBE", "params": KLINE},
            {"code": 2, "msg": "Invalid request: params must be an array"},
        ),
        (
            {"method": "SUBSCRIBE", "params": [TRADES, "not a stream"]},
            {"code": 2, "msg": "Invalid request: invalid stream"},
        ),
        (
            {"method": "UNSUBSCRIBE", "params": [1]},
            {"code": 2, "msg": "Invalid request: invalid stream"},
        ),
        (
            {"method": "LIST_SUBSCRIPTIONS", "params": [KLINE]},
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            {"method": "SET_PROPERTY", "params": ["combined", True, 1]},
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            {"method": "GET_PROPERTY", "params": ["combined", True]},
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            {"method": "GET_PROPERTY"},
            {"code": 2, "msg": "Invalid request: property name must be a string"},
        ),
        (
            {"method": "SET_PROPERTY", "params": [1, True]},
            {"code": 2, "msg": "Invalid request: property name must be a string"},
        ),
        ({"method": "GET_PROPERTY", "params": ["x"]}, {"code": 0, "msg": "Unknown property"}),
        ({"method": "SET_PROPERTY", "params": ["x", True]}, {"code": 0, "msg": "Unknown property"}),
        (
            {"method": "SET_PROPERTY", "params": ["combined", 1]},
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
        (
            {"method": "SET_PROPERTY", "params": ["combined"]},
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
    ],
)
def test_a_bad_command_is_told_so_and_changes_nothing(
    command: dict[str, Any], error: dict[str, Any]
) -> None:
    session = Session([KLINE])
    assert ask(session, **{"id": 9, **command}) == {**error, "id": command.get("id", 9)}
    assert (list(session.streams), session.combined) == ([KLINE], False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON: expected value at line 1 column 1"),
        ("hello", "Invalid JSON: expected value at line 1 column 1"),
        ('{"id":1,\n "method":}', "Invalid JSON: expected value at line 2 column 11"),
        ('{"id":NaN}', "Invalid JSON: expected value at line 1 column 1"),
        ('{"id":' + "9" * 5000 + "}", "Invalid JSON: expected value at line 1 column 1"),
        ("[" * 100_000, "Invalid JSON: expected value at line 1 column 1"),
    ],
    ids=range(6),
)
def test_what_is_no_json_gets_code_3(text: str, message: str) -> None:
    assert json.loads(Session().receive(text)) == {"code": 3, "msg": message}


@pytest.mark.parametrize("text", ["[]", "1", "null", '"SUBSCRIBE"'])
def test_json_that_is_no_object_gets_code_2(text: str) -> None:
    reply = json.loads(Session().receive(text))
    assert reply == {"code": 2, "msg": "Invalid request: expected an object"}


def test_1024_streams_are_the_most() -> None:
    session = Session()
    names = [f"s{number}@trade" for number in range(1024)]
    assert ask(session, method="SUBSCRIBE", params=names, id=1) == {"result": None, "id": 1}
    reply = session.receive('{"method":"SUBSCRIBE","params":["one@more","s1@trade"],"id":2}')
    assert reply == '{"error":{"code":4,"msg":"Too many subscriptions"},"id":2}'
    assert list(session.streams) == names
    assert ask(session, method="SUBSCRIBE", params=names[:3], id=3)["result"] is None
    ask(session, method="UNSUBSCRIBE", params=names[:1], id=4)
    assert ask(session, method="SUBSCRIBE", params=["one@more"], id=5)["result"] is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
COMMANDS = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(protocol.METHODS) | JSON,
        "params": st.lists(st.sampled_from([KLINE, TRADES, "combined", True]) | JSON) | JSON,
        "id": st.integers() | JSON,
    },
)


@given(st.lists(st.text() | COMMANDS.map(json.dumps) | JSON.map(json.dumps)))
def test_any_text_gets_a_reply(texts: list[str]) -> None:
    session = Session()
    for text in texts:
        before = list(session.streams), session.combined
        reply = session.receive(text)
        reply.encode("utf-8")
        answer = json.loads(reply)
        assert set(answer) in ({"result", "id"}, {"code", "msg"}, {"code", "msg", "id"})
        if "code" in answer:
            assert (list(session.streams), session.combined) == before


# Events.

BAR = Kline(
    open_time=1723161240000, close_time=1723161299999, first_id=10, last_id=19,
    open=6183763000000, high=6184000000000, low=6183000000000, close=6183764000000,
    volume=1234567890, quote_volume=763400000000000, trades=10,
    taker_buy_volume=234567890, taker_buy_quote_volume=14500000000000,
)  # fmt: skip
AGGREGATE = AggTrade(7, 6183763000000, 2000000, 10, 12, 1723161255342, True)
SINGLE = Trade(10, 6183763000000, 2000000, 1723161255342, False)
BEST = Book(99, 6183763000000, 1, 6183764000000, 154698000)
SYMBOL, NOW = "BTCUSDT", 1723161255343


def test_the_kline_event() -> None:
    assert protocol.kline_event(SYMBOL, "1m", BAR, NOW, final=True) == {
        "e": "kline", "E": NOW, "s": SYMBOL,
        "k": {
            "t": 1723161240000, "T": 1723161299999, "s": SYMBOL, "i": "1m", "f": 10, "L": 19,
            "o": "61837.63000000", "c": "61837.64000000", "h": "61840.00000000",
            "l": "61830.00000000", "v": "12.34567890", "n": 10, "x": True,
            "q": "7634000.00000000", "V": "2.34567890", "Q": "145000.00000000", "B": "0",
        },
    }  # fmt: skip
    assert protocol.kline_event(SYMBOL, "1m", BAR, NOW, final=False)["k"]["x"] is False


def test_the_trade_events() -> None:
    assert protocol.agg_trade_event(SYMBOL, AGGREGATE, NOW) == {
        "e": "aggTrade", "E": NOW, "s": SYMBOL, "a": 7, "p": "61837.63000000", "q": "0.02000000",
        "f": 10, "l": 12, "T": 1723161255342, "m": True, "M": True,
    }  # fmt: skip
    assert protocol.trade_event(SYMBOL, SINGLE, NOW) == {
        "e": "trade", "E": NOW, "s": SYMBOL, "t": 10, "p": "61837.63000000", "q": "0.02000000",
        "T": 1723161255342, "m": False, "M": True,
    }  # fmt: skip


def test_the_book_ticker_event() -> None:
    assert protocol.book_ticker_event(SYMBOL, BEST) == {
        "u": 99, "s": SYMBOL, "b": "61837.63000000", "B": "0.00000001", "a": "61837.64000000",
        "A": "1.54698000",
    }  # fmt: skip


DAY_BEFORE = Ticker(
    open_time=NOW - 86_400_000, close_time=NOW, first_id=1, last_id=30, previous=99 * 10**8,
    open=200 * 10**8, high=210 * 10**8, low=98 * 10**8, last=199 * 10**8, last_quantity=5,
    volume=30 * 10**8, quote_volume=4000 * 10**8, weighted_average=13333333333, trades=30,
)  # fmt: skip


def test_the_ticker_event() -> None:
    assert protocol.ticker_event(SYMBOL, DAY_BEFORE, BEST, NOW) == {
        "e": "24hrTicker", "E": NOW, "s": SYMBOL, "p": "-1.00000000", "P": "-0.500",
        "w": "133.33333333", "x": "99.00000000", "c": "199.00000000", "Q": "0.00000005",
        "b": "61837.63000000", "B": "0.00000001", "a": "61837.64000000", "A": "1.54698000",
        "o": "200.00000000", "h": "210.00000000", "l": "98.00000000", "v": "30.00000000",
        "q": "4000.00000000", "O": NOW - 86_400_000, "C": NOW, "F": 1, "L": 30, "n": 30,
    }  # fmt: skip


DOCUMENTED = {  # the fields of each event, in the order of the documentation
    "kline": "e,E,s,k",
    "aggTrade": "e,E,s,a,p,q,f,l,T,m,M",
    "trade": "e,E,s,t,p,q,T,m,M",
    "bookTicker": "u,s,b,B,a,A",
    "24hrTicker": "e,E,s,p,P,w,x,c,Q,b,B,a,A,o,h,l,v,q,O,C,F,L,n",
}


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_the_fields_are_the_documented_ones(kind: str) -> None:
    made = {
        "kline": protocol.kline_event(SYMBOL, "1m", BAR, NOW, final=False),
        "aggTrade": protocol.agg_trade_event(SYMBOL, AGGREGATE, NOW),
        "trade": protocol.trade_event(SYMBOL, SINGLE, NOW),
        "bookTicker": protocol.book_ticker_event(SYMBOL, BEST),
        "24hrTicker": protocol.ticker_event(SYMBOL, DAY_BEFORE, BEST, NOW),
    }[kind]
    assert ",".join(made) == DOCUMENTED[kind]
    assert made.get("e", "bookTicker") == kind
    bar = protocol.kline_event(SYMBOL, "1m", BAR, NOW, final=False)["k"]
    assert ",".join(bar) == "t,T,s,i,f,L,o,c,h,l,v,n,x,q,V,Q,B"


def test_times_in_microseconds_and_nothing_else() -> None:
    session = Session(microseconds=True, combined=True)

    def sent(event: protocol.Event) -> Any:
        before = json.dumps(event)
        data = json.loads(session.frame("s", event))["data"]
        assert json.dumps(event) == before, "the event itself must stay as it is"
        return data

    event = protocol.kline_event(SYMBOL, "1m", BAR, NOW, final=True)
    bar = {**event["k"], "t": 1723161240000000, "T": 1723161299999999}
    assert sent(event) == {**event, "E": NOW * 1000, "k": bar}
    event = protocol.agg_trade_event(SYMBOL, AGGREGATE, NOW)
    assert sent(event) == {**event, "E": NOW * 1000, "T": 1723161255342000}
    event = protocol.trade_event(SYMBOL, SINGLE, NOW)
    assert sent(event) == {**event, "E": NOW * 1000, "T": 1723161255342000}
    event = protocol.book_ticker_event(SYMBOL, BEST)
    assert sent(event) == event
    event = protocol.ticker_event(SYMBOL, DAY_BEFORE, BEST, NOW)
    finer = {"E": NOW * 1000, "O": (NOW - 86_400_000) * 1000, "C": NOW * 1000}
    assert sent(event) == {**event, **finer}
    event = protocol.server_shutdown_event(NOW)
    assert sent(event) == {"e": "serverShutdown", "E": NOW * 1000}


def recorded(file: Path, kind: str) -> list[str]:
    """The messages of one kind in a recording of combined streams."""
    text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
    lines = [line[line.find("{") :] for line in text.splitlines() if f"@{kind}" in line]
    return [line for line in lines if line.startswith('{"stream"')]


def shape(event: Any) -> Any:
    """Keys in their order, types, and the decimals of prices and quantities."""
    if isinstance(event, dict):
        return [(key, shape(value)) for key, value in event.items()]
    if isinstance(event, str) and "." in event:
        return len(event) - event.index(".") - 1
    return type(event)


RECORDED = {
    "kline_1m": protocol.kline_event(SYMBOL, "1m", BAR, NOW, final=False),
    "aggTrade": protocol.agg_trade_event(SYMBOL, AGGREGATE, NOW),
    "trade": protocol.trade_event(SYMBOL, SINGLE, NOW),
    "bookTicker": protocol.book_ticker_event(SYMBOL, BEST),
}


@pytest.mark.parametrize("kind", RECORDED)
def test_the_same_shape_as_recorded(market_data: Path, kind: str) -> None:
    files = ("cryptofeed_BINANCE.ws.1.0.txt", "hftbacktest_spot_btcusdt_20240808.gz")
    texts = [text for name in files for text in recorded(market_data / "ws" / name, kind)]
    assert texts
    session = Session(combined=True)
    made = json.loads(session.frame(f"btcusdt@{kind}", RECORDED[kind]))
    for text in texts[:1000]:
        message = json.loads(text)
        assert shape(message) == shape(made)
        assert session.frame(message["stream"], message["data"]) == text
        stream = stream_kind(message["stream"])
        assert stream is not None
        assert stream.symbol == message["data"]["s"]
