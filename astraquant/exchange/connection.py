"""One WebSocket connection: what waits for it, what it is told, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections import deque
from typing import Any, NamedTuple

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from . import protocol
from .faults import Delivery, Faults, Message
from .ledger import Ledger, Sent

OUTBOX = 20_000  # messages that a slow client may fall behind before it is cut off
CLOSE_TIMEOUT = 1.0  # seconds for a goodbye to be answered
PATIENCE = 5.0  # seconds without reading anything after which a client isn't waited for
_COUNTED = (Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG)
_log = logging.getLogger("astraquant.exchange")


class Connection(ServerConnection):
    """The server's end of a connection, which counts what comes in (pings and pongs too).

    ``opened``: the set that it is in while it is open.
    """

    def __init__(self, opened: set[Connection], *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        self._opened = opened
        self.flooded = asyncio.Event()  # set once too much has come in within a second
        self._inbound: deque[float] = deque(maxlen=protocol.INBOUND_PER_SECOND + 1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._opened.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._opened.discard(self)

    def process_event(self, event: Any) -> None:
        """Count a frame, then handle it."""
        if isinstance(event, Frame) and event.opcode in _COUNTED:
            self._inbound.append(time.monotonic())
            full = len(self._inbound) == self._inbound.maxlen
            if full and self._inbound[-1] - self._inbound[0] < 1:
                self.flooded.set()
        super().process_event(event)

    def reset(self) -> None:
        """End the connection at once, without a goodbye (TCP RST)."""
        peer = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Goodbye(NamedTuple):
    """The closing frame, in its place behind all that was to be said before."""

    code: int
    reason: str


class Client:
    """A connection with its subscriptions and one queue of all that it is going to be sent.

    Which fault a message meets is decided when it is due, so that it depends on nothing that takes
    its time; replies and the goodbye stand in the same queue, each behind what was due before it.
    """

    def __init__(
        self,
        number: int,
        connection: Connection,
        session: protocol.Session,
        faults: Faults,
        ledger: Ledger,
    ) -> None:
        self.number = number
        self.session = session
        self.waiting = 0  # entries of the outbox, the one in hand included
        self._connection = connection
        self._faults, self._ledger = faults, ledger
        self._outbox: asyncio.Queue[Delivery | Goodbye | str] = asyncio.Queue(OUTBOX)
        self._moved = time.monotonic()  # when the queue last moved on
        self._leaving = False
        self._thawed = asyncio.Event()
        self._thawed.set()

    # What may be asked of it from without.

    def offer(self, moment: int, stream: str, event: dict[str, Any]) -> None:
        """Send what is due at ``moment`` on ``stream``, unless a fault has it otherwise."""
        text = self.session.frame(stream, event)
        for delivery in self._faults.treat(self.number, Message(moment, stream, event, text)):
            self._put(delivery)

    def hang_up(self, reason: str) -> None:
        """Say goodbye (1001) after all that is waiting."""
        self._put(Goodbye(1001, reason))

    def freeze(self) -> None:
        """Neither read nor write: the connection is open and dead (half-open)."""
        self._thawed.clear()
        self._connection.transport.pause_reading()

    def thaw(self) -> None:
        """Go on where `freeze` stopped."""
        self._connection.transport.resume_reading()
        self._thawed.set()

    def reset(self) -> None:
        """End the connection at once, without a goodbye (TCP RST)."""
        self._leaving = True
        self._connection.reset()

    async def end(self) -> None:
        """Say goodbye at once: the exchange ends."""
        if self._thawed.is_set():
            await self._close(1001, "")

    @property
    def is_behind(self) -> bool:
        """Whether something waits that will be sent: not for who is frozen, or reads nothing."""
        if not self.waiting or not self._thawed.is_set():
            return False
        unread = self._connection.transport.get_write_buffer_size()
        return not unread or time.monotonic() - self._moved < PATIENCE

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that a clock moved by hand had better wait too."""
        return self.waiting > OUTBOX // 2 and self.is_behind

    async def serve(self) -> None:
        """Do all that a connection needs, until it ends."""
        duties = [
            asyncio.create_task(duty)
            for duty in (self._obey(), self._write(), self._keep_alive(), self._guard())
        ]
        try:
            await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leaving = True
            for duty in duties:
                duty.cancel()
            results = await asyncio.gather(*duties, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
                raise result

    # Its duties.

    async def _obey(self) -> None:
        async for text in self._connection:
            known = text if isinstance(text, str) else text.decode(errors="replace")
            self._put(self.session.receive(known))

    def _put(self, entry: Delivery | Goodbye | str) -> None:
        if self._leaving:
            return
        try:
            self._outbox.put_nowait(entry)
            self.waiting += 1
        except asyncio.QueueFull:
            _log.warning("connection %d is too slow and is closed", self.number)
            self.reset()

    async def _write(self) -> None:
        while True:
            entry = await self._outbox.get()
            self._moved = time.monotonic()
            await self._thawed.wait()
            if isinstance(entry, Goodbye):
                return await self._close(*entry)
            if isinstance(entry, str):
                await self._connection.send(entry)
            elif await self._deliver(entry):
                return
            self._moved = time.monotonic()
            self.waiting -= 1

    async def _deliver(self, delivery: Delivery) -> bool:
        """Send a message as its fate has it, and note it; True: that was the last one."""
        if delivery.wait:
            await asyncio.sleep(delivery.wait)
            await self._thawed.wait()
        text = delivery.text + " " * delivery.padding
        if delivery.cut:
            frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
            self._connection.transport.write(frame[: len(frame) // 2])
            self._connection.transport.close()
        elif text:
            await self._connection.send(text)
        told = delivery.message
        self._ledger.add_event(Sent(told.time, self.number, told.stream, told.event, delivery.fate))
        return delivery.cut

    async def _keep_alive(self) -> None:
        unanswered: deque[tuple[float, asyncio.Future[float]]] = deque()
        while True:
            await asyncio.sleep(protocol.PING_EVERY)
            if not self._thawed.is_set():
                await self._thawed.wait()
                unanswered.clear()  # nothing was read meanwhile
            while unanswered and unanswered[0][1].done():
                unanswered.popleft()
            now = time.monotonic()
            if unanswered and now - unanswered[0][0] >= protocol.PONG_WITHIN:
                return await self._close(1008, "Pong timeout")
            try:
                async with asyncio.timeout(protocol.PONG_WITHIN):  # who reads nothing blocks it
                    pong = await self._connection.ping(str(time.time_ns() // 10**6))
            except TimeoutError:
                return await self._close(1008, "Pong timeout")
            unanswered.append((now, asyncio.ensure_future(pong)))

    async def _guard(self) -> None:
        await self._connection.flooded.wait()
        await self._close(1008, "Too many requests")

    async def _close(self, code: int, reason: str) -> None:
        """Say goodbye, but wait no longer than `CLOSE_TIMEOUT` for one who doesn't listen."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close(code, reason)
