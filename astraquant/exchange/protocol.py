"""Binance's WebSocket protocol, the server's side: targets, commands, events. No socket, no clock.

Each rule stands in one place: limits in the constants, addresses in `parse_target`, commands and
their errors in `Session`, the fields of a message in its ``*_event`` function. Source: Binance's
public spot API documentation ("WebSocket Streams") and recorded messages. Times are int ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from ..timeframes import DAY, DURATIONS
from .records import AggTrade, Book, Kline, Ticker, Trade, decimal

Event = dict[str, Any]

PING_EVERY = 20.0  # seconds
PONG_WITHIN = 60.0  # seconds; without a pong the connection is closed
LIFETIME = DAY  # ms of venue time; the connection is closed then
INBOUND_PER_SECOND = 5  # pings, pongs and commands of one connection
STREAMS_PER_CONNECTION = 1024
ATTEMPTS_PER_WINDOW, ATTEMPTS_WINDOW = 300, 300.0  # handshakes of one address, seconds
SHUTDOWN_STREAM = "!serverShutdown"

KINDS = ("kline", "aggTrade", "trade", "bookTicker", "ticker")
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
PROPERTY = "combined"  # the only one
# The fields of an event that are times, hence finer with timeUnit=MICROSECOND ("t" of a trade is
# an id). Those at the end of a span come to its last microsecond, as in Binance's archives.
TIMES = {
    "kline": ("E",),
    "aggTrade": ("E", "T"),
    "trade": ("E", "T"),
    "24hrTicker": ("E", "O", "C"),
    "serverShutdown": ("E",),
}

# The codes of refused commands.
UNKNOWN_PROPERTY, INVALID_VALUE, INVALID_REQUEST, INVALID_JSON, TOO_MANY = 0, 1, 2, 3, 4

_STREAM_NAME = re.compile(r"[\w!@.\-]{1,128}")  # symbols may have letters beyond ASCII
_TEXT_ID = re.compile(r"[0-9A-Za-z]{1,36}")
_INT64 = range(-(2**63), 2**63)
_compact = json.JSONEncoder(separators=(",", ":")).encode
_QUOTED = 100  # characters of a client's own words that an error repeats


class Stream(NamedTuple):
    """What a stream's name says; ``symbol`` in upper case, ``interval`` "" but for klines."""

    symbol: str
    kind: str
    interval: str


def stream_kind(name: str) -> Stream | None:
    """What a stream carries: ``btcusdt@kline_1m`` -> ``("BTCUSDT", "kline", "1m")``.

    None for names that can be subscribed to and stay silent: a kind that is not simulated, an
    interval that doesn't exist, a symbol that isn't in lower case.
    """
    symbol, _, rest = name.partition("@")
    kind, separator, interval = rest.partition("_")
    if not symbol or symbol != symbol.lower() or kind not in KINDS:
        return None
    if (kind == "kline") != bool(separator) or (separator and interval not in DURATIONS):
        return None
    return Stream(symbol.upper(), kind, interval)


def parse_target(target: str) -> Session | None:
    """The session that a handshake's path and query open; None where Binance has no streams.

    ``/ws``, ``/ws/<stream>[/<stream>...]`` (bare events) or ``/stream[?streams=a/b]`` (combined),
    each with ``timeUnit=MICROSECOND`` or ``microsecond`` if wanted.
    """
    path, _, query = target.partition("?")
    values = parse_qs(query)
    unit = values.get("timeUnit", ["MILLISECOND"])[-1].upper()
    if unit not in ("MILLISECOND", "MICROSECOND"):
        return None
    root, _, raw = path.removeprefix("/").partition("/")
    if root == "ws":
        listed = unquote(raw)
    elif root == "stream" and not raw:
        listed = values.get("streams", [""])[-1]
    else:
        return None
    names = [name for name in listed.split("/") if name]
    if len(set(names)) > STREAMS_PER_CONNECTION or not all(map(_STREAM_NAME.fullmatch, names)):
        return None
    return Session(names, combined=root == "stream", microseconds=unit == "MICROSECOND")


class _Refusal(Exception):
    """A command is answered with this error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Session:
    """What one connection has subscribed to, and the form in which it wants its messages."""

    def __init__(
        self, streams: Collection[str] = (), *, combined: bool = False, microseconds: bool = False
    ) -> None:
        self.streams = dict.fromkeys(streams)  # an ordered set
        self.combined = combined
        self.microseconds = microseconds

    def frame(self, stream: str, event: Event) -> str:
        """The text of ``event`` as it is sent on this connection; ``event`` stays as it is."""
        data = _in_microseconds(event) if self.microseconds else event
        return _compact({"stream": stream, "data": data} if self.combined else data)

    def receive(self, text: str) -> str:
        """Obey a command and return the reply; what is no command gets an error reply.

        Errors are flat, ``{"code":2,"msg":...,"id":...}`` (the id where one could be read); too
        many subscriptions alone come nested, ``{"error":{"code":4,"msg":...},"id":...}``.
        """
        known_id: Event = {}
        try:
            request = _parse(text)
            known_id = {"id": _id_of(request)}
            return _compact({"result": self._obey(request), **known_id})
        except _Refusal as refusal:
            error: Event = {"code": refusal.code, "msg": str(refusal)}
            if refusal.code == TOO_MANY:
                error = {"error": error}
            return _compact({**error, **known_id})

    def _obey(self, request: Event) -> object:
        """Do what ``request`` asks for; returns the result or raises `_Refusal`."""
        if "method" not in request:
            raise _Refusal(INVALID_REQUEST, "Invalid request: missing field `method`")
        method = request["method"]
        if method not in METHODS:
            named = method if isinstance(method, str) else _compact(method)
            raise _Refusal(
                INVALID_REQUEST,
                f"Invalid request: unknown variant `{named[:_QUOTED]}`, expected one of "
                + ", ".join(f"`{known}`" for known in METHODS),
            )
        params = request.get("params")
        if params is not None and not isinstance(params, list):
            raise _Refusal(INVALID_REQUEST, "Invalid request: params must be an array")
        obey: Callable[[list[Any]], object] = getattr(self, f"_{method.lower()}")
        return obey(params or [])

    def _subscribe(self, params: list[Any]) -> None:
        wanted = self.streams | dict.fromkeys(_stream_names(params))  # twice is harmless
        if len(wanted) > STREAMS_PER_CONNECTION:
            raise _Refusal(TOO_MANY, "Too many subscriptions")
        self.streams = wanted

    def _unsubscribe(self, params: list[Any]) -> None:
        for name in _stream_names(params):
            self.streams.pop(name, None)

    def _list_subscriptions(self, params: list[Any]) -> list[str]:
        _at_most(0, params)
        return list(self.streams)

    def _set_property(self, params: list[Any]) -> None:
        _at_most(2, params)
        _check_property(params)
        value = params[1] if len(params) == 2 else None
        if not isinstance(value, bool):
            raise _Refusal(INVALID_VALUE, "Invalid value type: expected Boolean")
        self.combined = value

    def _get_property(self, params: list[Any]) -> bool:
        _at_most(1, params)
        _check_property(params)
        return self.combined


def _parse(text: str) -> Event:
    try:
        request = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise _Refusal(INVALID_JSON, f"Invalid JSON: expected value at {place}") from None
    except (ValueError, RecursionError):  # NaN; a number of thousands of digits; nested too deep
        raise _Refusal(INVALID_JSON, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise _Refusal(INVALID_REQUEST, "Invalid request: expected an object")
    return request


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _id_of(request: Event) -> int | str | None:
    """The request's id: an int64, up to 36 alphanumerics, or null; it must be there."""
    value = request.get("id", ...)
    if value is None or (type(value) is int and value in _INT64):
        return value
    if isinstance(value, str) and _TEXT_ID.fullmatch(value):
        return value
    raise _Refusal(INVALID_REQUEST, "Invalid request: request ID must be an unsigned integer")


def _stream_names(params: list[Any]) -> list[str]:
    for name in params:
        if not isinstance(name, str) or not _STREAM_NAME.fullmatch(name):
            raise _Refusal(INVALID_REQUEST, "Invalid request: invalid stream")
    return params


def _at_most(count: int, params: list[Any]) -> None:
    if len(params) > count:
        raise _Refusal(INVALID_REQUEST, "Invalid request: too many parameters")


def _check_property(params: list[Any]) -> None:
    if not params or not isinstance(params[0], str):
        raise _Refusal(INVALID_REQUEST, "Invalid request: property name must be a string")
    if params[0] != PROPERTY:
        raise _Refusal(UNKNOWN_PROPERTY, "Unknown property")


def _in_microseconds(event: Event) -> Event:
    """A copy of ``event`` whose times are microseconds."""
    finer = dict(event)
    for name in TIMES.get(event.get("e", ""), ()):
        finer[name] *= 1000
    if event.get("e") == "kline":
        bar = event["k"]
        finer["k"] = bar | {"t": bar["t"] * 1000, "T": last_microsecond(bar["T"])}
    return finer


def last_microsecond(close_time: int) -> int:
    """The close time of a bar in microseconds: 1 before the next bar opens, as in ms."""
    return (close_time + 1) * 1000 - 1


# Events. Prices and quantities are text with 8 decimals.


def kline_event(symbol: str, interval: str, kline: Kline, event_time: int, final: bool) -> Event:
    """One bar as it is at ``event_time``; ``final``: it is closed and changes no more."""
    bar = {
        "t": kline.open_time,
        "T": kline.close_time,
        "s": symbol,
        "i": interval,
        "f": kline.first_id,
        "L": kline.last_id,
        "o": decimal(kline.open),
        "c": decimal(kline.close),
        "h": decimal(kline.high),
        "l": decimal(kline.low),
        "v": decimal(kline.volume),
        "n": kline.trades,
        "x": final,
        "q": decimal(kline.quote_volume),
        "V": decimal(kline.taker_buy_volume),
        "Q": decimal(kline.taker_buy_quote_volume),
        "B": "0",  # unused
    }
    return {"e": "kline", "E": event_time, "s": symbol, "k": bar}


def agg_trade_event(symbol: str, trade: AggTrade, event_time: int) -> Event:
    """The trades of one taker order at one price."""
    return {
        "e": "aggTrade",
        "E": event_time,
        "s": symbol,
        "a": trade.id,
        "p": decimal(trade.price),
        "q": decimal(trade.quantity),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "M": True,  # unused
    }


def trade_event(symbol: str, trade: Trade, event_time: int) -> Event:
    """One single trade."""
    return {
        "e": "trade",
        "E": event_time,
        "s": symbol,
        "t": trade.id,
        "p": decimal(trade.price),
        "q": decimal(trade.quantity),
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "M": True,  # unused
    }


def book_ticker_event(symbol: str, book: Book) -> Event:
    """The best bid and ask: the event that has neither a type nor a time."""
    return {
        "u": book.update_id,
        "s": symbol,
        "b": decimal(book.bid),
        "B": decimal(book.bid_quantity),
        "a": decimal(book.ask),
        "A": decimal(book.ask_quantity),
    }


def ticker_event(symbol: str, ticker: Ticker, book: Book, event_time: int) -> Event:
    """The last 24 hours; here ``x`` is a price: that of the last trade before them."""
    return {
        "e": "24hrTicker",
        "E": event_time,
        "s": symbol,
        "p": decimal(ticker.change),
        "P": f"{100 * ticker.change / ticker.open:.3f}",
        "w": decimal(ticker.weighted_average),
        "x": decimal(ticker.previous),
        "c": decimal(ticker.last),
        "Q": decimal(ticker.last_quantity),
        "b": decimal(book.bid),
        "B": decimal(book.bid_quantity),
        "a": decimal(book.ask),
        "A": decimal(book.ask_quantity),
        "o": decimal(ticker.open),
        "h": decimal(ticker.high),
        "l": decimal(ticker.low),
        "v": decimal(ticker.volume),
        "q": decimal(ticker.quote_volume),
        "O": ticker.open_time,
        "C": ticker.close_time,
        "F": ticker.first_id,
        "L": ticker.last_id,
        "n": ticker.trades,
    }


def server_shutdown_event(event_time: int) -> Event:
    """The server is about to close its connections; its stream is `SHUTDOWN_STREAM`."""
    return {"e": "serverShutdown", "E": event_time}
