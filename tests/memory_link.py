"""One connection to the exchange in memory, both of its ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from astraquant.exchange.connection import OUTBOX, Goodbye
from astraquant.exchange.faults import Delivery, Message
from astraquant.exchange.ledger import Sent
from astraquant.exchange.protocol import Session
from astraquant.feed.link import CLOSE_WITHIN, Lost
from astraquant.feed.protocol import MAX_SIZE

if TYPE_CHECKING:
    from memory_exchange import MemoryExchange

BROKEN = "the connection broke off"


class Ending(NamedTuple):
    """Behind it nothing comes."""

    reason: str


class MemoryLink:
    """A `Link` of the client, and what the exchange does with it.

    A message waits in the outbox while the exchange is frozen or delayed, then it is on the wire
    for a while, then in the inbox. What is in the inbox can be read even if the connection ends.
    """

    def __init__(self, exchange: MemoryExchange, number: int, session: Session) -> None:
        self.number = number
        self.session = session
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._holds: set[str] = set()  # why nothing leaves the outbox
        self._busy_until = 0.0  # a message that is delayed holds up all behind it
        self._outbox: deque[Delivery | Goodbye] = deque()
        self._wire: deque[tuple[float, bytes | Ending]] = deque()
        self._inbox: deque[bytes | Ending] = deque()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._reader: asyncio.Future[None] | None = None

    # The client's end.

    async def receive(self) -> bytes:
        while not self._inbox:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if isinstance(self._inbox[0], Ending):
            raise Lost(self._inbox[0].reason)
        message = self._inbox.popleft()
        assert isinstance(message, bytes)
        return message

    async def close(self) -> None:
        heard = not self._holds and self._is_open
        await asyncio.sleep(2 * self._exchange.latency if heard else CLOSE_WITHIN)
        self._end_here("the connection was closed (code 1000)")

    def abort(self) -> None:
        self._end_here(BROKEN)

    def _end_here(self, reason: str) -> None:
        self._leave()
        self._wire.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._put(Ending(reason))

    # The exchange's end.

    @property
    def _is_open(self) -> bool:
        return self.number in self._exchange.links

    def offer(self, moment: int, stream: str, event: dict[str, Any]) -> None:
        """Send what is due at ``moment`` on ``stream``, unless a fault has it otherwise."""
        text = self.session.frame(stream, event)
        faults = self._exchange.faults
        self._outbox += faults.treat(self.number, Message(moment, stream, event, text))
        if len(self._outbox) > OUTBOX:
            self.reset()
        self._write()

    def hang_up(self, reason: str) -> None:
        """Say goodbye (1001) after all that is waiting."""
        self._outbox.append(Goodbye(1001, reason))
        self._write()

    def reset(self) -> None:
        """End the connection at once, without a goodbye: what is on the wire is lost."""
        self._wire.clear()
        self._last_words(BROKEN)

    def hold(self, why: str) -> None:
        """Send nothing."""
        self._holds.add(why)

    def release(self, why: str) -> None:
        """Go on, unless there is another reason not to."""
        self._holds.discard(why)
        self._write()

    def _write(self) -> None:
        """Let all leave that may leave now."""
        while self._outbox and not self._holds:
            if self._busy_until > self._loop.time():
                self._at(self._busy_until, self._write)
                return
            entry = self._outbox[0]
            if isinstance(entry, Delivery) and entry.wait:
                self._busy_until = self._loop.time() + entry.wait
                self._outbox[0] = entry._replace(wait=0.0)
            else:
                self._outbox.popleft()
                self._send(entry)

    def _send(self, entry: Delivery | Goodbye) -> None:
        if isinstance(entry, Goodbye):
            self._exchange.goodbyes.append(entry.reason)
            told = f": {entry.reason}" if entry.reason else ""
            self._last_words(f"the connection was closed (code {entry.code}{told})")
            return
        time, stream, event, _ = entry.message
        self._exchange.sent.add_event(Sent(time, self.number, stream, event, entry.fate))
        if entry.cut:
            self._last_words(BROKEN)
        elif len(entry.text) + entry.padding > MAX_SIZE:
            self._last_words("the connection was closed (code 1009: message too big)")
        elif entry.text:
            self._transmit((entry.text + " " * entry.padding).encode())

    def _last_words(self, reason: str) -> None:
        if self._is_open:
            self._leave()
            self._transmit(Ending(reason))

    def _leave(self) -> None:
        """The exchange knows it no more."""
        self._outbox.clear()
        self._exchange.forget(self.number)

    def _transmit(self, content: bytes | Ending) -> None:
        self._wire.append((self._loop.time() + self._exchange.latency, content))
        self._at(self._wire[0][0], self._arrive)

    def _arrive(self) -> None:
        while self._wire and self._wire[0][0] <= self._loop.time() + 1e-9:
            self._put(self._wire.popleft()[1])
        if self._wire:
            self._at(self._wire[0][0], self._arrive)

    def _put(self, content: bytes | Ending) -> None:
        self._inbox.append(content)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        timer = self._timers.get(action)
        if timer is None or timer.cancelled() or timer.when() <= self._loop.time():
            self._timers[action] = self._loop.call_at(moment, action)
