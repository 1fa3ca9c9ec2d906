"""The sockets of the simulated exchange: HTTP answers, WebSocket streams, the faults in both.

What is said on the wire stands in `protocol`, `rest` and `archives`; when it is said, in
`playback`. Everything here runs in one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import itertools
import logging
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from . import protocol
from .archives import Archives
from .clock import Clock
from .faults import Delivery, Faults, Message
from .ledger import Ledger, Request, Sent
from .market import Market
from .playback import Moment, playback
from .protocol import Session
from .rest import Answer, Rest
from .streams import events_of

OUTBOX = 20_000  # messages that a slow client may fall behind before it is cut off
FORMING_EVERY = 0.02  # real seconds between updates of a forming candle, at the least
_log = logging.getLogger("astraquant.exchange")
_LIMIT = re.compile(r"(?<=[?&]limit=)\d+")


class Connection(ServerConnection):
    """The server's end of a WebSocket, which counts what comes in (pings and pongs too)."""

    inbound = 0

    def process_event(self, event: Any) -> None:
        """Count a frame, then handle it."""
        self.inbound += isinstance(event, Frame)
        super().process_event(event)


class Client:
    """One WebSocket connection: its subscriptions, and the messages that wait for it."""

    def __init__(self, number: int, connection: Connection, session: Session, opened: int) -> None:
        self.number = number
        self.connection = connection
        self.session = session
        self.opened = opened  # venue time
        self.outbox: asyncio.Queue[tuple[int, str, dict[str, Any]]] = asyncio.Queue(OUTBOX)
        self.waiting = 0  # messages in the outbox, the one in hand included
        self.thawed = asyncio.Event()
        self.thawed.set()

    def freeze(self) -> None:
        """Neither read nor write: the connection is open and dead (half-open)."""
        self.thawed.clear()
        self.connection.transport.pause_reading()

    def thaw(self) -> None:
        """Go on where `freeze` stopped."""
        self.connection.transport.resume_reading()
        self.thawed.set()

    def reset(self) -> None:
        """End the connection at once, without a goodbye (TCP RST)."""
        peer = self.connection.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()


class Server:
    """Plays markets to whoever connects; made and used within one event loop."""

    def __init__(
        self,
        markets: Mapping[str, Market],
        rest: Rest,
        archives: Archives,
        clock: Clock,
        faults: Faults,
        ledger: Ledger,
    ) -> None:
        self.markets = markets
        self.clock = clock
        self.faults = faults
        self.ledger = ledger
        self.clients: dict[int, Client] = {}
        self._rest, self._archives = rest, archives
        self._numbers = itertools.count(1)
        self._closing: asyncio.Task[None] | None = None
        self._attempts: deque[float] = deque()
        self._moved = asyncio.Event()
        self._advanced = 0  # venue time up to which the clock was moved by hand
        self._played = dict.fromkeys(markets, 0)  # symbol -> venue time up to which all is sent

    async def run(
        self, port: int, opened: Callable[[int], object], stop: asyncio.Event
    ) -> None:
        """Listen on 127.0.0.1 and play, until ``stop`` is set; tell ``opened`` the port."""
        async with serve(
            self._serve_client,
            "127.0.0.1",
            port,
            process_request=self._process_request,
            create_connection=Connection,
            ping_interval=None,  # done in `_keep_alive`, which a frozen connection must not do
            close_timeout=1,
            server_header="astraquant-exchange",
        ) as server:
            self.clock.begin()
            opened(next(iter(server.sockets)).getsockname()[1])
            players = [asyncio.create_task(self._play(one)) for one in self.markets.values()]
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([stopping, *players], return_when=asyncio.FIRST_COMPLETED)
            for client in self.clients.values():
                if not client.thawed.is_set():  # it would not answer a goodbye
                    client.reset()
            failed = [one.exception() for one in players if one.done()]
            await _end(*players, stopping)
        if failed and failed[0] is not None:
            raise failed[0]

    # Time.

    async def until(self, moment: int) -> None:
        """Wait until the venue's time has reached ``moment``."""
        while (left := self.clock.seconds_until(moment)) != 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._moved.wait()

    async def advance(self, moment: int) -> None:
        """Move venue time on, and `settle`."""
        self.clock.jump(moment)
        self._advanced = moment
        self._moved.set()
        self._moved = asyncio.Event()
        await self.settle(moment)

    async def settle(self, moment: int) -> None:
        """Wait until all that is due by ``moment`` has left for the sockets."""
        while min(self._played.values()) < moment:
            await asyncio.sleep(0.001)
        for client in list(self.clients.values()):
            while client.waiting and client.thawed.is_set() and client.number in self.clients:
                await asyncio.sleep(0.001)

    # Streams.

    async def _play(self, market: Market) -> None:
        every = max(2_000, int(FORMING_EVERY * 1000 * self.clock.speed))
        for moment in playback(market, self.clock.now(), every):
            self._played[market.symbol] = moment.time - 1
            await self.until(moment.time)
            # Whoever falls behind leaves out what is forming; a clock moved by hand can wait.
            late = moment.time > self._advanced and self.clock.now() - moment.time > every
            if moment.kind in ("trade", "close") or not late:
                self._publish(market, moment)
            await asyncio.sleep(0)  # lets the writers go on
            while moment.time <= self._advanced and self._is_crowded():
                await asyncio.sleep(0.001)
        self._played[market.symbol] = 2**62
        _log.info("%s: the last candle is played", market.symbol)
        await asyncio.Event().wait()

    def _is_crowded(self) -> bool:
        return any(c.waiting > OUTBOX // 2 and c.thawed.is_set() for c in self.clients.values())

    def _publish(self, market: Market, moment: Moment) -> None:
        wanted = {name for client in self.clients.values() for name in client.session.streams}
        for stream, event in events_of(market, moment, wanted):
            if self.faults.time_lie and "E" in event:
                event["E"] += self.faults.time_lie
            self._put(stream, event)

    def _put(self, stream: str, event: dict[str, Any]) -> None:
        for client in list(self.clients.values()):
            if stream not in client.session.streams and stream != protocol.SHUTDOWN_STREAM:
                continue
            try:
                client.outbox.put_nowait((self.clock.now(), stream, event))
                client.waiting += 1
            except asyncio.QueueFull:
                _log.warning("connection %d is too slow and is closed", client.number)
                del self.clients[client.number]
                client.reset()

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        assert connection.request is not None
        session = protocol.parse_target(connection.request.path)
        assert session is not None  # else the handshake was refused
        client = Client(next(self._numbers), connection, session, self.clock.now())
        self.clients[client.number] = client
        duties = [
            asyncio.create_task(duty(client))
            for duty in (self._write, self._keep_alive, self._end_of_life)
        ]
        try:
            with contextlib.suppress(ConnectionClosed):
                await self._obey(client)
        finally:
            self.clients.pop(client.number, None)
            self.faults.forget(client.number)
            await _end(*duties)

    async def _obey(self, client: Client) -> None:
        """Read commands until the client goes, or sends too many of them."""
        second, seen = time.monotonic(), 0
        async for text in client.connection:
            if time.monotonic() - second >= 1:
                second, seen = time.monotonic(), client.connection.inbound - 1
            if client.connection.inbound - seen > protocol.INBOUND_PER_SECOND:
                await client.connection.close(1008, "Too many requests")
                return
            reply = client.session.receive(text if isinstance(text, str) else text.decode())
            if reply is not None:
                await client.connection.send(reply)

    async def _write(self, client: Client) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                moment, stream, event = await client.outbox.get()
                await client.thawed.wait()
                message = Message(moment, stream, event, client.session.frame(stream, event))
                for delivery in self.faults.treat(client.number, message):
                    await self._deliver(client, delivery)
                    told = delivery.message
                    entry = Sent(told.time, client.number, told.stream, told.event, delivery.fate)
                    self.ledger.add_event(entry)
                client.waiting -= 1

    async def _deliver(self, client: Client, delivery: Delivery) -> None:
        if delivery.wait:
            await asyncio.sleep(delivery.wait)
        if delivery.cut:
            frame = Frame(Opcode.TEXT, delivery.text.encode()).serialize(mask=False)
            client.connection.transport.write(frame[: len(frame) // 2])
            client.connection.transport.close()
        elif delivery.text:
            await client.connection.send(delivery.text)

    async def _keep_alive(self, client: Client) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(protocol.PING_EVERY)
                await client.thawed.wait()
                pong = await client.connection.ping(str(self.clock.now()))
                try:
                    await asyncio.wait_for(pong, protocol.PONG_WITHIN)
                except TimeoutError:
                    await client.connection.close(1008, "Pong timeout")

    async def _end_of_life(self, client: Client) -> None:
        await self.until(client.opened + protocol.LIFETIME)
        await client.connection.close(1001, "Connection lifetime of 24 hours reached")

    def for_each(self, action: Callable[[Client], None]) -> None:
        """Do something to every connection that is open now."""
        for client in list(self.clients.values()):
            action(client)

    def announce_end(self, within: int) -> None:
        """Tell every connection that it will be closed after ``within`` ms, and do so."""
        leaving = list(self.clients.values())
        self._put(protocol.SHUTDOWN_STREAM, protocol.server_shutdown_event(self.clock.now()))
        self._closing = asyncio.create_task(self._close_all(leaving, self.clock.now() + within))

    async def _close_all(self, leaving: list[Client], moment: int) -> None:
        await self.until(moment)
        for client in leaving:
            await client.connection.close(1001, "Server shutdown")

    # HTTP.

    async def _process_request(
        self, connection: ServerConnection, request: HttpRequest
    ) -> Response | None:
        """Answer a plain request, refuse a handshake, or (None) let it go on."""
        if self.faults.slowness:
            await asyncio.sleep(self.faults.slowness)
        upgrade = "upgrade" in request.headers.get("Connection", "").lower()
        answer = self._handshake(request.path) if upgrade else self._answer(request)
        status = 101 if answer is None else answer.status
        entry = Request(self.clock.now(), time.monotonic(), request.path, status)
        self.ledger.add_request(entry)
        return None if answer is None else _response(answer)

    def _handshake(self, target: str) -> Answer | None:
        now = time.monotonic()
        while self._attempts and now - self._attempts[0] > protocol.ATTEMPTS_WINDOW:
            self._attempts.popleft()
        self._attempts.append(now)
        refusal = self.faults.refusal()
        if refusal is not None:
            return refusal
        if len(self._attempts) > protocol.ATTEMPTS_PER_WINDOW:
            left = protocol.ATTEMPTS_WINDOW - (now - self._attempts[0])
            return Answer(429, b"", {"Retry-After": str(int(left) + 1)})
        return None if protocol.parse_target(target) is not None else Answer(404, b"", {})

    def _answer(self, request: HttpRequest) -> Answer:
        if request.method != "GET":
            return Answer(405, b"", {"Allow": "GET"})
        target, path = request.path, urlsplit(request.path).path
        armed = self.faults.answer(path)
        if armed is not None:
            return armed
        now = self.clock.now()
        if path.startswith("/data/"):
            return self._archives.answer(path, now)
        if self.faults.row_limit is not None:
            target = _LIMIT.sub(lambda m: str(min(int(m[0]), self.faults.row_limit or 1)), target)
        if path == "/api/v3/time":
            now += self.faults.time_lie
        return self._rest.answer(
            target, now, self.clock.passed(), dict(request.headers.raw_items())
        )


def _response(answer: Answer) -> Response:
    headers = Headers()
    headers["Connection"] = "close"
    headers["Content-Length"] = str(len(answer.body))
    headers["Content-Type"] = "application/json;charset=UTF-8"
    for name, value in answer.headers.items():
        if name in headers:
            del headers[name]
        headers[name] = value
    try:
        phrase = http.HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    return Response(answer.status, phrase, headers, answer.body)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
