"""Binance's WebSocket messages, the client's side: bytes into typed events. No socket, no clock.

`parse` never raises: what can't be right becomes a `Rejected` event, which the caller counts and
may show, and the stream lives on. Nothing is coerced: prices and quantities are text in plain
decimals, ids and times integers, flags booleans; anything else is refused. Fields and events that
nobody asked for are ignored. Source: Binance's public spot API documentation ("WebSocket Streams")
and recorded messages.

Times are int ms UTC. On the wire they are ms, or µs on a connection that asked for them; their
size tells which. Moments (of an event, of a trade) in µs are cut to the ms they lie in, which
leaves each in its bar; the edges of a bar must be exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..candles import Candle
from ..timeframes import DURATIONS, bin_starts, next_start
from . import wire

MAX_SIZE = 2**20  # bytes (of text: characters); longer messages are refused unread
QUOTED = 200  # characters of a refused message that are kept
_NAMED = 60  # characters of an unknown event's name that are kept
_MILLISECONDS = range(1_262_304_000_000, 4_102_444_800_000)  # 2010 to 2100, UTC
_MICROSECONDS = range(_MILLISECONDS.start * 1000, _MILLISECONDS.stop * 1000)

_Data = dict[str, Any]
_decode = msgspec.json.Decoder().decode
_convert = msgspec.convert  # strict: see wire.py


class Kline(NamedTuple):
    """One bar as it is at ``event_time``; ``closed``: this was its last update.

    ``close_time`` is the next bar's open time less 1 ms; the ids are those of the bar's trades,
    -1 without any.
    """

    symbol: str
    interval: str
    candle: Candle
    close_time: int
    first_id: int
    last_id: int
    closed: bool
    event_time: int


class AggTrade(NamedTuple):
    """One or more trades of one taker order at one price: ``first_id`` to ``last_id``."""

    symbol: str
    id: int
    price: float
    quantity: float
    first_id: int
    last_id: int
    time: int
    buyer_is_maker: bool
    event_time: int


class Trade(NamedTuple):
    """One single trade."""

    symbol: str
    id: int
    price: float
    quantity: float
    time: int
    buyer_is_maker: bool
    event_time: int


class BookTicker(NamedTuple):
    """Best bid and ask. Spot sends it without a time."""

    symbol: str
    update_id: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class Ticker(NamedTuple):
    """The last 24 hours."""

    symbol: str
    event_time: int
    last: float
    open: float
    high: float
    low: float
    volume: float
    quote_volume: float
    trades: int


class Shutdown(NamedTuple):
    """The server is about to close its connections."""

    event_time: int


class Reply(NamedTuple):
    """The answer to a command, or an error (``code`` is None unless it is one)."""

    id: int | str | None
    result: object
    code: int | None
    message: str


class Ignored(NamedTuple):
    """Well-formed, but nothing that is used here; ``reason``: the event's or stream's name."""

    reason: str


class Rejected(NamedTuple):
    """Malformed or impossible: ``reason`` says what is wrong, ``text`` is how the message began."""

    reason: str
    text: str


Event = Kline | AggTrade | Trade | BookTicker | Ticker | Shutdown | Reply | Ignored | Rejected


def parse(message: bytes | str) -> Event:
    """Return the event in one message, bare or combined. Never raises: see `Rejected`."""
    try:
        return _event_in(message)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        return Rejected(str(error), _excerpt(message))


def parse_trades(body: bytes, symbol: str) -> list[AggTrade]:
    """The trades in REST's answer about ``symbol``; raises `ValueError` for what is none.

    A trade's own time stands for that of its event.
    """
    return [
        _deal(trade, symbol, _moment(trade.T))
        for trade in msgspec.json.decode(body, type=list[wire.PastTrade])
    ]


def _event_in(message: bytes | str) -> Event:
    if len(message) > MAX_SIZE:
        raise ValueError(f"the message has {len(message)} bytes, expected at most {MAX_SIZE}")
    data = _decode(message)
    stream = "list"
    if isinstance(data, dict) and "stream" in data:
        stream, data = data["stream"], data.get("data")
        if not isinstance(stream, str):
            raise ValueError("the stream's name is no text")
    if isinstance(data, list):  # as of !ticker@arr
        return Ignored(stream[:_NAMED])
    if not isinstance(data, dict):
        raise ValueError(f"expected an object, got {type(data).__name__}")
    if "e" not in data:
        return _nameless(data)
    name = data["e"]
    if not isinstance(name, str):
        raise ValueError("the event's name (e) is no text")
    reader = _READERS.get(name)
    return reader(data) if reader is not None else Ignored(name[:_NAMED])


def _excerpt(message: bytes | str) -> str:
    """How a message begins, as text that can be written anywhere (no lone surrogates)."""
    start = message[: 4 * QUOTED]
    raw = start.encode("utf-8", "replace") if isinstance(start, str) else start
    return raw.decode("utf-8", "replace")[:QUOTED]


def _kline(data: _Data) -> Kline:
    event = _convert(data, wire.Kline)
    bar = event.k
    if bar.s != event.s:
        raise ValueError(f"the event is of {event.s}, its bar (k) of {bar.s}")
    start, end = _edges(bar)
    if not (bar.f == bar.L == -1 or 0 <= bar.f <= bar.L):
        raise ValueError(f"the trades {bar.f} to {bar.L} are no span of ids")
    prices = _prices(bar)
    sums = float(bar.v), float(bar.q), float(bar.n), float(bar.V), float(bar.Q)
    candle = Candle(start, *prices, *sums)
    return Kline(event.s, bar.i, candle, end - 1, bar.f, bar.L, bar.x, _moment(event.E))


def _edges(bar: wire.Bar) -> tuple[int, int]:
    """Open time of a bar and of the next one, in ms; both must be exact, in one unit."""
    start = _moment(bar.t)
    end = _next_start(start, bar.i)
    if end is None:
        raise ValueError(f"no bar of {bar.i!r:.20} opens at {bar.t} (k.t)")
    unit = 1 if bar.t == start else 1000
    if (start * unit, end * unit - 1) != (bar.t, bar.T):
        raise ValueError(f"a bar of {bar.i} can't last from {bar.t} to {bar.T} (k.t, k.T)")
    return start, end


@lru_cache(maxsize=1024)  # a bar comes many times; numpy is slow for a single one
def _next_start(start: int, timeframe: str) -> int | None:
    """When the bar after the one that opens at ``start`` opens; None: none opens at ``start``."""
    if timeframe not in DURATIONS or int(bin_starts(np.array(start), timeframe)) != start:
        return None
    return next_start(start, timeframe)


def _prices(bar: wire.Prices) -> tuple[float, float, float, float]:
    """Open, high, low, close: none outside low to high."""
    opened, high, low, close = float(bar.o), float(bar.h), float(bar.low), float(bar.c)
    if not (low <= opened <= high and low <= close <= high):
        raise ValueError(f"open {bar.o} or close {bar.c} is outside {bar.low} to {bar.h}")
    return opened, high, low, close


def _moment(time: int) -> int:
    """A moment in whole ms; see the module's own text."""
    if time in _MILLISECONDS:
        return time
    if time in _MICROSECONDS:
        return time // 1000
    raise ValueError(f"the time {time} is neither in ms nor in µs, from 2010 to 2100")


def _agg_trade(data: _Data) -> AggTrade:
    event = _convert(data, wire.AggTrade)
    return _deal(event, event.s, _moment(event.E))


def _deal(deal: wire.AggTrade | wire.PastTrade, symbol: str, event_time: int) -> AggTrade:
    if deal.f > deal.last:
        raise ValueError(f"the trades {deal.f} to {deal.last} are no span of ids")
    price, quantity, time = float(deal.p), float(deal.q), _moment(deal.T)
    return AggTrade(symbol, deal.a, price, quantity, deal.f, deal.last, time, deal.m, event_time)


def _trade(data: _Data) -> Trade | Ignored:
    if data.get("X", "MARKET") != "MARKET":  # futures: an insurance fund's is in no candle
        return Ignored("trade, not of the market")
    event = _convert(data, wire.Trade)
    price, quantity, time = float(event.p), float(event.q), _moment(event.T)
    return Trade(event.s, event.t, price, quantity, time, event.m, _moment(event.E))


def _book_ticker(data: _Data) -> BookTicker:
    event = _convert(data, wire.BookTicker)
    bid, ask = (float(event.b), float(event.B)), (float(event.a), float(event.A))
    return BookTicker(event.s, event.u, *bid, *ask)


def _ticker(data: _Data) -> Ticker:
    event = _convert(data, wire.Ticker)
    opened, high, low, last = _prices(event)
    sums = float(event.v), float(event.q), event.n
    return Ticker(event.s, _moment(event.E), last, opened, high, low, *sums)


def _shutdown(data: _Data) -> Shutdown:
    return Shutdown(_moment(_convert(data, wire.Shutdown).E))


def _nameless(data: _Data) -> Event:
    """What bears no event's name: a reply, an error, spot's best prices, a part of the book."""
    if "result" in data or "error" in data or "code" in data:
        reply = _convert(data, wire.Reply)
        error = reply.error or reply
        return Reply(reply.id, reply.result, error.code, error.msg)
    if "lastUpdateId" in data:  # as of <symbol>@depth5
        return Ignored("partial depth")
    if "u" in data:
        return _book_ticker(data)
    raise ValueError("neither an event (e) nor a reply")


_READERS: dict[str, Callable[[_Data], Event]] = {
    "kline": _kline,
    "aggTrade": _agg_trade,
    "trade": _trade,
    "bookTicker": _book_ticker,  # of futures
    "24hrTicker": _ticker,
    "serverShutdown": _shutdown,
}
