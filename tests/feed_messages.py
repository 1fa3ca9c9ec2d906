"""One message of each kind as Binance sends it, and what tests do to them."""

from __future__ import annotations

import copy
import json
from typing import Any

from astraquant.feed.protocol import Event, parse

START, END = 1633998480000, 1633998540000  # a minute of 2021

KLINE = {
    "e": "kline", "E": 1633998523963, "s": "NKNUSDT",
    "k": {
        "t": START, "T": END - 1, "s": "NKNUSDT", "i": "1m", "f": 19862761, "L": 19862790,
        "o": "0.35270000", "c": "0.35280000", "h": "0.35290000", "l": "0.35220000",
        "v": "25877.00000000", "n": 30, "x": False, "q": "9116.04600000", "V": "58.00000000",
        "Q": "20.46240000", "B": "0",
    },
}  # fmt: skip
AGG_TRADE = {
    "e": "aggTrade", "E": 1633998523963, "s": "NKNUSDT", "a": 15683430, "p": "0.35280000",
    "q": "58.00000000", "f": 19862790, "l": 19862791, "T": 1633998523962, "m": False, "M": True,
}  # fmt: skip
TRADE = {
    "e": "trade", "E": 1723161255343, "s": "BTCUSDT", "t": 3735683259, "p": "61837.63000000",
    "q": "0.02000000", "T": 1723161255342, "m": True, "M": True,
}  # fmt: skip
BOOK = {
    "u": 50093239212, "s": "BTCUSDT", "b": "61837.63000000", "B": "3.78826000",
    "a": "61837.64000000", "A": "1.54698000",
}  # fmt: skip
TICKER = {
    "e": "24hrTicker", "E": 1633998523963, "s": "BNBBTC", "p": "-0.00150000", "P": "-6.000",
    "w": "0.00180000", "x": "0.00240000", "c": "0.00235000", "Q": "10.00000000", "b": "0.00234",
    "B": "10.0", "a": "0.00236", "A": "100.0", "o": "0.00250000", "h": "0.00260000",
    "l": "0.00100000", "v": "10000.00000000", "q": "18.00000000", "O": 1633912123963,
    "C": 1633998523963, "F": 0, "L": 18150, "n": 18151,
}  # fmt: skip
SHUTDOWN = {"e": "serverShutdown", "E": 1633998523963}
MESSAGES: list[dict[str, Any]] = [KLINE, AGG_TRADE, TRADE, BOOK, TICKER, SHUTDOWN]
# The letters that the feed uses.
USED = {
    "kline": "E s k k.t k.T k.s k.i k.f k.L k.o k.c k.h k.l k.v k.n k.x k.q k.V k.Q",
    "aggTrade": "E s a p q f l T m",
    "trade": "E s t p q T m",
    "24hrTicker": "E s c o h l v q n",
    "serverShutdown": "E",
    None: "s u b B a A",
}
PATHS = [
    (message, path)
    for message in MESSAGES
    for path in [*message, *(f"k.{name}" for name in message.get("k", {}))]
]


def dumped(message: object) -> bytes:
    return json.dumps(message).encode()


def changed(message: dict[str, Any], path: str, *value: object) -> dict[str, Any]:
    """A copy of a message with another value at ``path`` ("k.o"); without a value it is removed."""
    result = copy.deepcopy(message)
    *above, name = path.split(".")
    place = result[above[0]] if above else result
    place.pop(name, None)
    if value:
        place[name] = value[0]
    return result


def parsed(message: dict[str, Any], path: str = "", *value: object) -> Event:
    return parse(dumped(changed(message, path, *value) if path else message))
