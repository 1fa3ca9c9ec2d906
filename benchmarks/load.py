"""A venue that sends as fast as it is told: Binance's messages, made as they are sent.

Its own process, over loopback. What is measured is the receiver, so everything here is as cheap as
possible: one market, one connection at a time, many messages to a write.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from astraquant.exchange import protocol
from astraquant.exchange.records import UNIT, AggTrade, Kline
from astraquant.exchange.rest import Rest
from astraquant.exchange.worker import Worker
from astraquant.timeframes import MINUTE

BEAT = 0.001  # seconds between two writes, at the least
KLINE_EVERY = 10  # one message in so many is a kline: they cost more than trades
CENT, PRICE, QUANTITY = UNIT // 100, 10_000 * UNIT, UNIT // 1000
PRICES = 100_000  # different ones: 10,000.00 to 10,999.99


class Made:
    """A market that is made as it is sent: trades 0, 1, 2 ... each a cent above the one before.

    `price` tells the id (modulo `PRICES`) and is told by it. Bars are of one minute; before the
    first trade there are ``history`` others, from a random walk. Times are ms UTC. It has the
    methods of the simulated exchange's markets that REST needs.
    """

    source, intervals, price_decimals, quantity_decimals = "made for a load", ("1m",), 2, 3

    def __init__(self, symbol: str, now: int, history: int = 1500) -> None:
        self.symbol = symbol
        self.times = array("q")  # of the trades, by id
        self.sent = 0  # messages
        self._stream = symbol.lower()
        self._session = protocol.Session(combined=True)
        self.begin = now - now % MINUTE  # of the first bar with trades that can be told by id
        self._closed = _walk(self.begin, history)
        self._open(self.begin, self._closed[-1].close if history else PRICE)

    def messages(self, count: int, now: int) -> list[str]:
        """The next messages, closing bars that are over by ``now`` among them."""
        texts: list[str] = []
        while now >= self._bar.close_time + 1 and len(texts) < count:
            texts.append(self._kline(now, True))
            self._closed.append(self._bar)
            self._open(self._bar.close_time + 1, self._bar.close)
        while len(texts) < count:
            is_kline = (self.sent + len(texts)) % KLINE_EVERY == 0
            texts.append(self._kline(now, False) if is_kline else self._trade(now))
        self.sent += count
        return texts

    def klines(
        self, interval: str, *, start: int | None, end: int | None, limit: int, now: int
    ) -> list[Kline]:
        """Bars whose open times lie in [start, end], as the simulated exchange's markets do."""
        bars = [*self._closed, self._bar]
        last = now if end is None else min(end, now)
        until = bisect_left(bars, last + 1, key=lambda bar: bar.open_time)
        if start is None:
            return bars[max(0, until - limit) : until]
        first = bisect_left(bars, start, key=lambda bar: bar.open_time)
        return bars[first : min(until, first + limit)]

    def trades_from(self, first_id: int, limit: int, now: int) -> list[AggTrade]:
        """Trades from an id on."""
        return [self._made(k) for k in range(first_id, min(first_id + limit, len(self.times)))]

    def last_trades(self, limit: int, now: int) -> list[AggTrade]:
        """The newest trades."""
        return self.trades_from(max(0, len(self.times) - limit), limit, now)

    def trades_between(self, start: int, end: int, limit: int, now: int) -> list[AggTrade]:
        """The oldest trades from one time to another."""
        found = self.trades_from(bisect_left(self.times, start), limit, now)
        return [trade for trade in found if trade.time <= end]

    def _open(self, start: int, price: int) -> None:
        prices = (price,) * 4
        self._bar = Kline(start, start + MINUTE - 1, -1, -1, *prices, 0, 0, 0, 0, 0)

    def _made(self, k: int) -> AggTrade:
        return AggTrade(k, price(k), QUANTITY, k, k, self.times[k], k % 2 == 1)

    def _trade(self, now: int) -> str:
        k = len(self.times)
        self.times.append(now)
        made = self._made(k)
        self._bar = _with(self._bar, made)
        event = protocol.agg_trade_event(self.symbol, made, now)
        return self._session.frame(f"{self._stream}@aggTrade", event)

    def _kline(self, now: int, final: bool) -> str:
        event = protocol.kline_event(self.symbol, "1m", self._bar, now, final)
        return self._session.frame(f"{self._stream}@kline_1m", event)


def _walk(end: int, bars: int) -> list[Kline]:
    """Bars up to ``end`` as charts know them, around 10,000; of their trades nothing is known."""
    draw, found, opened = random.Random(7), [], PRICE
    for start in range(end - bars * MINUTE, end, MINUTE):
        close = (
            opened + round(draw.gauss(0, 8) * 100) * CENT + (PRICE - opened) // UNIT // 50 * UNIT
        )
        reach = [round(abs(draw.gauss(0, 5)) * 100) * CENT for _ in range(2)]
        high, low, count = max(opened, close) + reach[0], min(opened, close) - reach[1], 100
        sums = count * QUANTITY, count * QUANTITY * 10_000
        bought = sums[0] // 2, sums[1] // 2
        last = start + MINUTE - 1
        found.append(Kline(start, last, -1, -1, opened, high, low, close, *sums, count, *bought))
        opened = close
    return found


def price(trade_id: int) -> int:
    """The price of a trade, in units of 1e-8."""
    return PRICE + trade_id % PRICES * CENT


def _with(bar: Kline, trade: AggTrade) -> Kline:
    """The bar with one trade more."""
    cost = trade.price * trade.quantity // UNIT
    bought = not trade.buyer_is_maker
    is_first = bar.trades == 0
    return Kline(
        open_time=bar.open_time,
        close_time=bar.close_time,
        first_id=trade.id if is_first else bar.first_id,
        last_id=trade.id,
        open=trade.price if is_first else bar.open,
        high=trade.price if is_first else max(bar.high, trade.price),
        low=trade.price if is_first else min(bar.low, trade.price),
        close=trade.price,
        volume=bar.volume + trade.quantity,
        quote_volume=bar.quote_volume + cost,
        trades=bar.trades + 1,
        taker_buy_volume=bar.taker_buy_volume + bought * trade.quantity,
        taker_buy_quote_volume=bar.taker_buy_quote_volume + bought * cost,
    )


class Load:
    """The server: what `apart.Apart` asks it is one of its public methods."""

    def __init__(self, symbol: str = "BTCUSDT") -> None:
        now = time.time_ns() // 10**6
        self._made = Made(symbol, now)
        self._rest = Rest(cast(Any, {symbol: self._made}), f"load {now}")
        self._connection: ServerConnection | None = None
        self._connections = 0
        self._moments = array("q")  # when each message of this connection was written, µs
        self._kinds = [0, 0]  # trades and klines of this connection
        self._rate, self._since, self._due = 0.0, 0.0, 0
        self._worker = Worker()
        self._port = self._worker.start(self._serve)

    def __call__(self, question: str, *values: Any) -> Any:
        return getattr(self, question)(*values)

    def close(self) -> None:
        self._worker.stop()

    # What is asked.

    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def rate(self, messages: float) -> None:
        """Send so many messages a second from now on (0: none)."""

        def change() -> None:
            self._rate, self._since, self._due = messages, time.monotonic(), 0

        self._worker.do(change)

    def burst(self, messages: int) -> int:
        """Send so many at once; returns when, in µs."""
        self._worker.do(lambda: self._send(messages))
        return self._moments[-1]

    def counts(self) -> dict[str, int]:
        """The connections there were, and what was sent on the last of them."""
        trades, klines = self._kinds
        return {"connections": self._connections, "trades": trades, "klines": klines}

    def begin(self) -> int:
        """When the first bar opened whose trades are told: ms UTC."""
        return self._made.begin

    def made(self) -> bytes:
        """When each trade ever was made, by id: int64, ms since 1970."""
        return self._made.times.tobytes()

    def moments(self) -> bytes:
        """When each message of the last connection was sent: int64, µs since 1970."""
        return self._moments.tobytes()

    # The thread.

    async def _serve(self, opened: Callable[[int], None], stopping: asyncio.Event) -> None:
        async with serve(
            self._serve_client,
            "127.0.0.1",
            0,
            process_request=self._answer,
            compression=None,
            close_timeout=1,
        ) as server:
            opened(next(iter(server.sockets)).getsockname()[1])
            playing = asyncio.create_task(self._play())
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait([stop, playing], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            playing.cancel()
            (failure,) = await asyncio.gather(playing, return_exceptions=True)
        if isinstance(failure, Exception):
            raise failure

    async def _serve_client(self, connection: ServerConnection) -> None:
        self._connections += 1
        self._connection = connection
        self._moments, self._kinds = array("q"), [0, 0]
        self._since, self._due = time.monotonic(), 0
        await connection.wait_closed()
        if self._connection is connection:
            self._connection = None

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if "upgrade" in request.headers.get("Connection", "").lower():
            return None
        now = time.time_ns() // 10**6
        answer = self._rest.answer(request.path, now, time.monotonic())
        told = {"Connection": "close", "Content-Length": str(len(answer.body)), **answer.headers}
        return Response(answer.status, "", Headers(**told), answer.body)

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            count = int((time.monotonic() - self._since) * self._rate) - self._due
            if count > 0 and self._connection is not None:
                self._due += count
                self._send(count)

    def _send(self, count: int) -> None:
        """Make ``count`` messages and send them in one write."""
        assert self._connection is not None
        texts = self._made.messages(count, time.time_ns() // 10**6)
        frames = [Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts]
        joined = b"".join(frames)
        self._moments.extend(itertools.repeat(time.time_ns() // 1000, count))
        self._connection.transport.write(joined)
        klines = sum('"e":"kline"' in text for text in texts)
        self._kinds[0] += count - klines
        self._kinds[1] += klines
