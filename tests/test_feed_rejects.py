"""What the feed's protocol refuses or ignores: rows 8 to 14 of what can go wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from feed_messages import (
    AGG_TRADE,
    BOOK,
    KLINE,
    MESSAGES,
    PATHS,
    SHUTDOWN,
    START,
    TICKER,
    TRADE,
    USED,
    changed,
    dumped,
    parsed,
)
from hypothesis import given
from hypothesis import strategies as st

from astraquant.feed.protocol import (
    MAX_SIZE,
    QUOTED,
    AggTrade,
    Event,
    Ignored,
    Kline,
    Rejected,
    Trade,
    parse,
)
from astraquant.timeframes import DURATIONS, TIMEFRAMES, bin_starts, next_start

FIRST, PAST = 1262304000000, 4102444800000  # 2010 and 2100


# Rows 8 and 9: malformed, truncated, too deep, too large.


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.get("e")))
def test_a_truncated_message_is_rejected(message: dict[str, Any]) -> None:
    for whole in (dumped(message), dumped({"stream": "x", "data": message})):
        assert not isinstance(parse(whole), Rejected | Ignored)
        assert parse(whole) == parse(whole.decode())
        for end in range(len(whole)):
            event = parse(whole[:end])
            assert isinstance(event, Rejected)
            assert event.text == whole[:end].decode()[:QUOTED]
            assert event.reason


@pytest.mark.parametrize(
    "message",
    [
        b"", "", b"\xff", "\ud800", b'{"e":"\xff"}', '{"e":"\ud800"}', b'{"e":"kline",}', b"{}",
        b'{"e":"kline"}{}', b"null", b"5", b'"kline"', b"{'e':1}", b"\xef\xbb\xbf{}",
        b"[" * 100_000, b'{"a":' * 100_000, b'{"stream":"x","data":' * 20_000, b'{"id":1}',
        b'{"e":5}', b'{"e":null}', b'{"e":["kline"]}', b'{"stream":"x"}', b'{"stream":5,"data":{}}',
        b'{"stream":"x","data":"kline"}', b'{"stream":"x","data":{"stream":"x","data":{}}}',
        b'{"n":1e400}', b'{"n":NaN}', b'{"n":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda message: repr(message[:20] + message[-30:]),
)  # fmt: skip
def test_what_is_no_message_is_rejected(message: bytes | str) -> None:
    event = parse(message)
    assert isinstance(event, Rejected)
    assert event.reason
    assert len(event.text) <= QUOTED
    event.text.encode()  # nothing that can't be written to a log


def test_the_name_of_a_stream_is_text() -> None:
    assert isinstance(parsed({"stream": "x", "data": TRADE}), Trade)
    assert isinstance(parsed({"stream": 5, "data": TRADE}), Rejected)


def test_a_large_message_is_rejected_unread() -> None:
    fill = MAX_SIZE - len(dumped(changed(BOOK, "x", "")))
    largest = changed(BOOK, "x", "y" * fill)
    assert len(dumped(largest)) == MAX_SIZE
    assert parsed(largest) == parsed(BOOK)
    for message in (dumped(largest) + b" ", dumped(largest).decode() + " "):
        event = parse(message)
        assert isinstance(event, Rejected)
        assert str(MAX_SIZE) in event.reason
        assert len(event.text) == QUOTED


def test_the_text_of_a_rejected_message_is_cut_to_characters() -> None:
    event = parse("€" * 500)
    assert isinstance(event, Rejected)
    assert event.text == "€" * QUOTED
    assert parse(("€" * 500).encode()) == event


# Rows 10 and 11: unknown things are ignored, other types refused.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"e":"depthUpdate","E":1}', "depthUpdate"),
        ('{"stream":"x@depth","data":{"e":"depthUpdate"}}', "depthUpdate"),
        ('{"stream":"!ticker@arr","data":[{"e":"24hrTicker"}]}', "!ticker@arr"),
        ("[]", "list"),
        ('{"lastUpdateId":1,"bids":[],"asks":[]}', "partial depth"),
        (json.dumps(TRADE | {"X": "INSURANCE_FUND", "p": "0"}), "trade, not of the market"),
        (json.dumps({"e": "x" * 1000}), "x" * 60),
    ],
)
def test_what_nobody_asked_for_is_ignored(text: str, name: str) -> None:
    assert parse(text) == Ignored(name)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.get("e")))
def test_fields_that_are_not_known_are_ignored(message: dict[str, Any]) -> None:
    more = message | {"new": {"deep": [1, None]}}
    if "k" in more:
        more["k"] = more["k"] | {"new": 1}
    assert parsed(more) == parsed(message)
    backwards = dict(reversed(message.items()))
    assert parsed(backwards) == parsed(message)


@pytest.mark.parametrize(
    ("message", "path"), PATHS, ids=[f"{message.get('e')}-{path}" for message, path in PATHS]
)
def test_every_field_used_is_needed_and_of_its_own_type(message: dict[str, Any], path: str) -> None:
    value = message["k"][path[2:]] if path.startswith("k.") else message.get(path)
    others = [5, 5.0, "5", True, None, [], {}, [value], {"": value}, -7, 2**63, 10**30]
    if isinstance(value, int):
        others += [str(value), float(value)]
    elif isinstance(value, str):
        others += [json.dumps(value), value + "\n", " " + value, value + "\0", "-" + value]
    others = [other for other in others if type(other) is not type(value) or other in (-7, 2**63)]
    if path == "e":
        assert parsed(message, path, "news") == Ignored("news")
    elif path in USED[message.get("e")].split():
        for changes in ([], *([other] for other in others)):
            assert isinstance(parsed(message, path, *changes), Rejected), changes
    else:
        for changes in ([], *([other] for other in others)):
            assert parsed(message, path, *changes) == parsed(message), changes


def test_futures_send_some_more() -> None:
    book = {"e": "bookTicker", "T": 1, "E": 1} | BOOK
    assert parsed(book) == parsed(BOOK)
    assert parsed(TRADE | {"X": "MARKET"}) == parsed(TRADE)


# Row 12: numbers.

PRICE_FIELDS = [
    (KLINE, "k.o"), (KLINE, "k.c"), (KLINE, "k.h"), (KLINE, "k.l"), (AGG_TRADE, "p"), (TRADE, "p"),
    (BOOK, "b"), (BOOK, "a"), (TICKER, "c"), (TICKER, "o"), (TICKER, "h"), (TICKER, "l"),
]  # fmt: skip
QUANTITY_FIELDS = [
    (KLINE, "k.v"), (KLINE, "k.q"), (KLINE, "k.V"), (KLINE, "k.Q"), (AGG_TRADE, "q"), (TRADE, "q"),
    (BOOK, "B"), (BOOK, "A"), (TICKER, "v"), (TICKER, "q"),
]  # fmt: skip
NO_NUMBERS = [
    "NaN", "nan", "Infinity", "-Infinity", "inf", "-1", "-0", "+1", "1_000", "1e400", "1e5", "",
    " 1", "1 ", "1\n", "1,5",
    ".5", "5.", ".", "1.2.3", "0x10", "٣", "1" * 21, "0." + "1" * 21, "１",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_no_price_and_no_quantity(text: str) -> None:
    for message, path in PRICE_FIELDS + QUANTITY_FIELDS:
        assert isinstance(parsed(message, path, text), Rejected), path


def test_zero_is_a_quantity_and_no_price() -> None:
    for text in ("0", "0.00000000", "00.0"):
        for message, path in PRICE_FIELDS:
            assert isinstance(parsed(message, path, text), Rejected), path
        for message, path in QUANTITY_FIELDS:
            assert not isinstance(parsed(message, path, text), Rejected), path


def is_plain(text: str) -> bool:
    parts = text.split(".")
    return len(parts) <= 2 and all(
        1 <= len(part) <= 20 and set(part) <= set("0123456789") for part in parts
    )


@given(st.text("0123456789.", max_size=44) | st.text("019.+-_eE nNaIif\n", max_size=6) | st.text())
def test_a_number_is_digits_and_perhaps_a_point(text: str) -> None:
    price, quantity = parsed(TRADE, "p", text), parsed(TRADE, "q", text)
    assert isinstance(quantity, Trade) == is_plain(text)
    assert isinstance(price, Trade) == (is_plain(text) and not set(text) <= {"0", "."})
    if isinstance(quantity, Trade):
        assert quantity.quantity == float(text)
    if isinstance(price, Trade):
        assert price.price == float(text) > 0


# Row 13: times.


@pytest.mark.parametrize(
    ("message", "path"),
    [(KLINE, "E"), (AGG_TRADE, "E"), (AGG_TRADE, "T"), (TRADE, "E"), (TRADE, "T"), (TICKER, "E"),
     (SHUTDOWN, "E")],
)  # fmt: skip
def test_the_size_of_a_moment_tells_its_unit(message: dict[str, Any], path: str) -> None:
    def read(value: int) -> int | None:
        event = parsed(message, path, value)
        if isinstance(event, Rejected):
            return None
        return event.time if path == "T" else event.event_time  # type: ignore[union-attr]

    for time in (FIRST, 1735689600010, PAST - 1):
        assert read(time) == read(time * 1000) == read(time * 1000 + 866) == time
    for wrong in (FIRST - 1, PAST, FIRST * 1000 - 1, PAST * 1000, FIRST // 1000, FIRST * 10**6, 0):
        assert read(wrong) is None, wrong


@pytest.mark.parametrize("interval", TIMEFRAMES)
@pytest.mark.parametrize("unit", [1, 1000])
def test_a_bar_lies_on_the_grid_and_ends_before_the_next(interval: str, unit: int) -> None:
    start = int(bin_starts(np.array(START), interval))
    end = next_start(start, interval)

    def read(first: int, last: int) -> Event:
        bar = KLINE["k"] | {"i": interval, "t": first, "T": last}  # type: ignore[operator]
        return parsed(KLINE | {"k": bar})

    event = read(start * unit, end * unit - 1)
    assert isinstance(event, Kline)
    assert (event.candle.time, event.close_time, event.interval) == (start, end - 1, interval)
    for first, last in [
        (start * unit + 1, end * unit - 1), (start * unit, end * unit), (start * unit, end - 2),
        (start * unit, end * unit - 2), (start * unit, end * (1001 - unit) - 1),
        ((start + 1) * unit, (end + 1) * unit - 1), ((start - 1) * unit, (end - 1) * unit - 1),
        (start * unit, (2 * end - start) * unit - 1), (start * unit - 1, end * unit - 1),
        (start * unit, start * unit - 1),
    ]:  # fmt: skip
        assert isinstance(read(first, last), Rejected), (first, last)


@pytest.mark.parametrize("interval", ["", "7m", "1x", "M", "1D", "1mo", "60m", " 1m", "1m\n"])
def test_an_interval_that_does_not_exist(interval: str) -> None:
    assert interval not in DURATIONS
    assert isinstance(parsed(KLINE, "k.i", interval), Rejected)
    event = parsed(KLINE, "k.i", interval + "x" * 1000)
    assert isinstance(event, Rejected)
    assert len(event.reason) < QUOTED


# Row 14: candles that can't be.


@pytest.mark.parametrize(
    "changes",
    [
        {"l": "0.3528"}, {"h": "0.3527"}, {"o": "0.3530"}, {"o": "0.3521"}, {"c": "0.3530"},
        {"c": "0.3521"}, {"l": "0.36", "h": "0.35"}, {"f": 5, "L": 4}, {"f": -1}, {"L": -1},
        {"f": -2, "L": -2}, {"n": -1}, {"s": "BTCUSDT"},
    ],
)  # fmt: skip
def test_a_broken_bar_is_rejected(changes: dict[str, object]) -> None:
    assert isinstance(parsed(KLINE | {"k": KLINE["k"] | changes}), Rejected)  # type: ignore[operator]


@pytest.mark.parametrize(
    "changes",
    [
        {"f": -1, "L": -1, "n": 0}, {"f": 0, "L": 0}, {"f": 4, "L": 4}, {"n": 0},
        dict.fromkeys("ohlc", "0.35"), {"x": True}, {"o": "0.35220000"}, {"c": "0.35290000"},
    ],
)  # fmt: skip
def test_an_unusual_bar_is_a_bar(changes: dict[str, object]) -> None:
    assert isinstance(parsed(KLINE | {"k": KLINE["k"] | changes}), Kline)  # type: ignore[operator]


def test_spans_and_symbols() -> None:
    assert isinstance(parsed(AGG_TRADE, "f", 19862791), AggTrade)
    assert isinstance(parsed(AGG_TRADE, "f", 19862792), Rejected)
    assert isinstance(parsed(TICKER, "l", "0.00236"), Rejected)
    assert isinstance(parsed(TICKER, "h", "0.00234"), Rejected)
    for good in ("AB", "1000SATSUSDT", "A" * 20):
        assert isinstance(parsed(TRADE, "s", good), Trade)
    for bad in ("A", "A" * 21, "btcusdt", "BTC/USDT", "../BTC", "BTC<b>", "BTCUSDT\n", "ÄBC", ""):
        assert isinstance(parsed(TRADE, "s", bad), Rejected)


def test_the_reason_names_the_field() -> None:
    for path, value in [("k.o", 5), ("k.x", "0.1"), ("k.n", "30"), ("k.v", "-1")]:
        event = parsed(KLINE, path, value)
        assert isinstance(event, Rejected)
        assert f"$.{path}" in event.reason
    event = parse('{"id":1}')
    assert isinstance(event, Rejected)
    assert event.reason == "neither an event (e) nor a reply"
