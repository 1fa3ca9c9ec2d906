"""The simulated exchange without a socket: its own parts, on the running loop's (virtual) time.

What becomes of a message is decided by the exchange's own `Faults`, what is in it by its markets,
what a request is answered by its `Rest`. Made anew here is what `server`, `connection`, `gate` and
a network do with sockets, threads and the real clock.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import pandas as pd
from memory_link import MemoryLink

from astraquant.candles import Candle, candle_table
from astraquant.data.venues import Unreachable
from astraquant.exchange import protocol
from astraquant.exchange.faults import MEBIBYTE, Faults
from astraquant.exchange.ledger import Ledger, Request
from astraquant.exchange.market import Market, decimal
from astraquant.exchange.playback import playback
from astraquant.exchange.rest import MOST_ROWS, Answer, Rest
from astraquant.exchange.streams import events_of
from astraquant.feed.link import OPEN_WITHIN, Lost, seconds_told
from astraquant.timeframes import next_start

LATENCY = 0.02  # seconds, one way


class Down(Exception):
    """There is no network."""


class MemoryExchange:
    """Markets by symbol, played at ``speed`` times the loop's time; made within a running loop.

    ``start``: venue time (ms UTC) at which it begins. The faults are those of `SimulatedExchange`,
    and some more: `cut_network`, `accept_and_close`, `lag`, and a way back that is slow. Nothing
    here ever blocks, and all of it is the same each time.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        *,
        speed: float = 1.0,
        start: int,
        update_every: int = 2000,
        latency: float = LATENCY,
    ) -> None:
        self.latency = latency
        self.faults = Faults()
        self.sent = Ledger()
        self.links: dict[int, MemoryLink] = {}
        self.most_links = 0  # that were open at one time
        self.goodbyes: list[str] = []  # why the exchange has ended connections in good order
        self.attempts: list[float] = []  # when the client tried to connect
        self.hasty: list[str] = []  # requests that came though Retry-After asked to wait
        self.answers: Counter[int] = Counter()  # of REST itself, by status; overrides don't count
        self.http = MemoryHttp(self)
        self._markets, self._speed = dict(markets), speed
        self._start, self._update_every = start, update_every
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._rest = Rest(markets, repr(sorted(markets)), speed)
        self._numbers = itertools.count(1)
        self._handshakes: deque[float] = deque()
        self._lifetimes: dict[int, asyncio.TimerHandle] = {}
        self._slow_back = 0.0
        self._accepted_in_vain = 0
        self._rest_lag = 0  # ms
        self._down_until, self._hangs = 0.0, False
        self._pauses: dict[str, tuple[float, float]] = {}  # that the exchange asked for

    # Where and when it is.

    rest = "http://memory"
    stream = "ws://memory"

    @property
    def now(self) -> int:
        """Venue time, ms UTC."""
        return self._start + int((self._loop.time() - self._began) * 1000 * self._speed + 1e-3)

    def moment(self, venue_time: int) -> float:
        """The loop's time at a venue time."""
        return self._began + (venue_time - self._start) / 1000 / self._speed

    async def play(self) -> None:
        """Play the markets from now to their end; returns then, and venue time goes on."""
        plays = [
            zip(playback(market, self.now, self._update_every), itertools.repeat(market))
            for market in self._markets.values()
        ]
        for moment, market in heapq.merge(*plays, key=lambda pair: pair[0].time):
            left = self.moment(moment.time) - self._loop.time()
            if left > 0:
                await asyncio.sleep(left)
            wanted = {name for link in self.links.values() for name in link.session.streams}
            for stream, event in events_of(market, moment, wanted):
                self._publish(moment.time, stream, event)

    def _publish(self, moment: int, stream: str, event: dict[str, Any]) -> None:
        if self.faults.time_lie and "E" in event:
            event["E"] += self.faults.time_lie
        for link in list(self.links.values()):
            if stream in link.session.streams or stream == protocol.SHUTDOWN_STREAM:
                link.offer(moment, stream, event)

    # The truth.

    def truth(self, symbol: str, timeframe: str) -> dict[int, Candle]:
        """All candles that are closed now, by open time."""
        market = self._markets[symbol]
        bars = [int(bar) for bar in market.bars(timeframe)]
        over = [bar for bar in bars if next_start(bar, timeframe) <= self.now]
        return {bar: candle_of(market.closed(timeframe, bar)) for bar in over}

    def seen(self, symbol: str, timeframe: str) -> Candle | None:
        """The candle that is forming, as whoever is connected can know it by now."""
        arrived = self.now - round(self.latency * 1000 * self._speed)
        bar = self._markets[symbol].kline(timeframe, arrived)
        return None if bar is None else candle_of(bar)

    async def history(self, symbol: str, timeframe: str, bars: int) -> pd.DataFrame:
        """The last closed candles, as a loader gives them."""
        try:
            await self.cross(self.faults.slowness)
            closed = list(self.truth(symbol, timeframe).values())
            await self.cross()
        except Down as error:
            raise Unreachable(f"{self.rest} doesn't answer ({error}).") from error
        table = candle_table(closed[len(closed) - bars :] if bars < len(closed) else closed)
        source = f"simulated exchange: {self._rest.labels['X-Simulated-Source']}"
        table.attrs = {"source": source, "symbol": symbol}
        return table

    # The network.

    async def cross(self, more: float = 0.0) -> None:
        """Go one way through the network, ``more`` seconds late; raises `Down`."""
        await asyncio.sleep(self.latency + more)
        while (left := self._down_until - self._loop.time()) > 0:
            if not self._hangs:
                raise Down("the network is down")
            await asyncio.sleep(left)

    async def connect(self, address: str) -> MemoryLink:
        """Open a connection; raises `Lost`."""
        url = urlsplit(address)
        assert url.scheme in ("ws", "wss"), address
        self.attempts.append(self._loop.time())
        self._note_haste("handshake")
        link: MemoryLink | None = None
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                await self.cross()
                await asyncio.sleep(self.faults.slowness)
                found = self._handshake(f"{url.path}?{url.query}")
                link = found if isinstance(found, MemoryLink) else None
                await self.cross()
        except BaseException as error:
            if link is not None:
                link.abort()
            if isinstance(error, Down | TimeoutError):
                raise Lost(f"no connection: {str(error) or 'timed out'}") from error
            raise
        if isinstance(found, MemoryLink):
            return found
        after = seconds_told(found.headers.get("Retry-After", ""))
        self._ask_to_pause("handshake", after)
        raise Lost(f"refused: HTTP {found.status}", status=found.status, after=after)

    def _handshake(self, target: str) -> MemoryLink | Answer:
        answer = self._refusal()
        session = protocol.parse_target(target)
        if answer is None and session is None:
            answer = Answer(404, b"", {})
        self._note_request(target, 101 if answer is None else answer.status)
        if answer is not None or session is None:
            return answer or Answer(404, b"", {})
        link = MemoryLink(self, next(self._numbers), session)
        self.links[link.number] = link
        self.most_links = max(self.most_links, len(self.links))
        self._lifetimes[link.number] = self._loop.call_later(
            protocol.LIFETIME / 1000 / self._speed,
            link.hang_up,
            "Connection lifetime of 24 hours reached",
        )
        if self._accepted_in_vain:
            self._accepted_in_vain -= 1
            link.hang_up("")
        return link

    def _refusal(self) -> Answer | None:
        now = self._loop.time()
        while self._handshakes and now - self._handshakes[0] > protocol.ATTEMPTS_WINDOW:
            self._handshakes.popleft()
        self._handshakes.append(now)
        refusal = self.faults.refusal()
        if refusal is None and len(self._handshakes) > protocol.ATTEMPTS_PER_WINDOW:
            left = protocol.ATTEMPTS_WINDOW - (now - self._handshakes[0])
            return Answer(429, b"", {"Retry-After": str(int(left) + 1)})
        return refusal

    async def request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, as late and as wrong as faults have it; raises httpx's errors."""
        limits = request.extensions.get("timeout", {})
        self._note_haste("request")
        try:
            async with asyncio.timeout(limits.get("connect")):
                await self.cross()
        except TimeoutError as error:
            raise httpx.ConnectTimeout("", request=request) from error
        except Down as error:
            raise httpx.ConnectError(str(error), request=request) from error
        try:
            async with asyncio.timeout(limits.get("read")):
                await asyncio.sleep(self.faults.slowness)
                answer = self._answer(request)
                await self.cross(self._slow_back)
        except TimeoutError as error:
            raise httpx.ReadTimeout("", request=request) from error
        except Down as error:
            raise httpx.ReadError(str(error), request=request) from error
        if answer.status in (418, 429):
            self._ask_to_pause("request", seconds_told(answer.headers.get("Retry-After", "")))
        headers = httpx.Headers({"Connection": "close", "Content-Length": str(len(answer.body))})
        headers.update({**self._rest.labels, **answer.headers})
        stream = httpx.ByteStream(answer.body)
        return httpx.Response(answer.status, headers=headers, stream=stream, request=request)

    def _answer(self, request: httpx.Request) -> Answer:
        target = request.url.raw_path.decode("ascii")
        if request.method != "GET":
            return Answer(405, b"", {"Allow": "GET"})
        path = urlsplit(target).path
        answer = self.faults.answer(path)
        if answer is None:
            now = self.now
            now += self.faults.time_lie if path == "/api/v3/time" else -self._rest_lag
            passed = self._loop.time() * max(1.0, self._speed)
            answer = self._rest.answer(target, now, passed, dict(request.headers))
            self.answers[answer.status] += 1
        self._note_request(target, answer.status)
        return answer

    # What is noted.

    def _note_request(self, target: str, status: int) -> None:
        self.sent.add_request(Request(self.now, self._loop.time(), target, status))

    def _ask_to_pause(self, kind: str, seconds: float | None) -> None:
        if seconds:
            now = self._loop.time()
            self._pauses[kind] = (now, now + seconds)

    def _note_haste(self, kind: str) -> None:
        asked, until = self._pauses.get(kind, (0.0, 0.0))
        now = self._loop.time()
        if asked <= now < until - 1e-6:
            self.hasty.append(f"a {kind} {until - now:.3f} s too early, {now - self._began:.3f} s")

    def log(self) -> str:
        """All that was sent and asked, as text."""
        return "\n".join(map(repr, (*self.sent.events, *self.sent.requests)))

    def forget(self, number: int) -> None:
        """A connection is gone."""
        if self.links.pop(number, None) is not None:
            self.faults.forget(number)
            self._lifetimes.pop(number).cancel()

    # Faults.

    def kill(self) -> None:
        for link in list(self.links.values()):
            link.reset()

    def freeze(self) -> None:
        for link in self.links.values():
            link.hold("frozen")

    def thaw(self) -> None:
        for link in list(self.links.values()):
            link.release("frozen")

    def mute(self, stream: str | None = None) -> None:
        self.faults.mute(stream)

    def unmute(self) -> None:
        self.faults.unmute()

    def drop(self, count: int = 1, stream: str | None = None) -> None:
        self.faults.arm("drop", count, stream)

    def duplicate(self, count: int = 1, stream: str | None = None) -> None:
        self.faults.arm("duplicate", count, stream)

    def reorder(self, count: int = 1, stream: str | None = None) -> None:
        self.faults.arm("reorder", count, stream)

    def delay(self, seconds: float, count: int = 1, stream: str | None = None) -> None:
        self.faults.arm("delay", count, stream, seconds)

    def corrupt(self, count: int = 1, stream: str | None = None) -> None:
        self.faults.arm("corrupt", count, stream)

    def oversize(self, count: int = 1, stream: str | None = None, size: int = 2 * MEBIBYTE) -> None:
        self.faults.arm("oversize", count, stream, size)

    def cut(self, stream: str | None = None) -> None:
        self.faults.arm("cut", 1, stream)

    def lie_about_time(self, milliseconds: int) -> None:
        self.faults.time_lie = milliseconds

    def refuse(self, status: int, count: int = 1, retry_after: int | None = None) -> None:
        told = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.faults.refuse(Answer(status, b"", told), count)

    def slow(self, seconds: float, back: float = 0.0) -> None:
        """Answers and handshakes take longer; ``back``: answers also after they were made."""
        self.faults.slowness, self._slow_back = seconds, back

    def shorten(self, rows: int = MOST_ROWS) -> None:
        self._rest.most_rows = rows

    def answer(
        self,
        path: str,
        *,
        status: int = 200,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        self.faults.override(path, Answer(status, body, dict(headers or {})), times, after)

    def shut_down(self, within: int = 600_000) -> None:
        """Announce a shutdown, and close the connections after so many ms of venue time."""
        now, links = self.now, list(self.links.values())
        self._publish(now, protocol.SHUTDOWN_STREAM, protocol.server_shutdown_event(now))
        for link in links:
            self._loop.call_later(within / 1000 / self._speed, self._shut, link)

    def _shut(self, link: MemoryLink) -> None:
        if link.number in self.links:
            link.hang_up("Server shutdown")

    def lag(self, milliseconds: int) -> None:
        """REST knows what happened until so long ago (venue time), but the time that it is."""
        self._rest_lag = milliseconds

    def accept_and_close(self, count: int = 1) -> None:
        """Accept the next handshakes and close these connections at once."""
        self._accepted_in_vain = count

    def cut_network(self, seconds: float, hang: bool = False) -> None:
        """No network for a while: everything fails at once, or (``hang``) waits for its return."""
        self._down_until = max(self._down_until, self._loop.time() + seconds)
        self._hangs = hang
        for link in list(self.links.values()):
            if hang:
                link.hold("network")
            else:
                link.reset()
        self._loop.call_at(self._down_until, self._restore)

    def _restore(self) -> None:
        if self._loop.time() >= self._down_until - 1e-9:
            self._down_until = 0.0
            for link in list(self.links.values()):
                link.release("network")

    def calm(self) -> None:
        """No more of all that lasts, or is armed."""
        self.thaw()
        self.slow(0)
        self.lag(0)
        self.shorten()
        self._accepted_in_vain = 0
        self.faults = Faults()


class MemoryHttp(httpx.AsyncBaseTransport):
    """The exchange's REST, for an `httpx.AsyncClient`."""

    def __init__(self, exchange: MemoryExchange) -> None:
        self._exchange = exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._exchange.request(request)


def candle_of(record: Any) -> Candle:
    """A kline of the market as the numbers that its decimals stand for."""
    prices = [float(decimal(units)) for units in record[4:10]]
    taker = [float(decimal(units)) for units in record[11:13]]
    return Candle(record.open_time, *prices, float(record.trades), *taker)
