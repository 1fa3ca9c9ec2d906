"""Live candles for many clients: one feed per symbol and timeframe, a bounded queue per client."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from ..feed.addresses import find_streams
from ..feed.core import Update
from ..feed.cursor import Cursor
from ..feed.feed import Feed
from .desk import Busy, Limits

CLOSING: Final = 5.0  # seconds that a client has to take the last message
ENDED, TALKED, SLOW = 1011, 1003, 1013  # why a WebSocket is closed, in its own codes
_numbers = itertools.count(1)


class _Shared:
    """A feed and how many clients it has."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.clients = 0
        self.start: asyncio.Task[Feed] | None = None


class Relays:
    """The feeds that clients listen to: started for the first of them, stopped after the last."""

    def __init__(self, venue: str, limits: Limits) -> None:
        if venue != "sim":
            find_streams(venue)  # raises for what is none
        self.venue = venue
        self.limits = limits
        self._shared: dict[tuple[str, str], _Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    @property
    def clients(self) -> int:
        """How many listen."""
        return sum(shared.clients for shared in self._shared.values())

    def check(self, symbol: str, timeframe: str) -> None:
        """Raise `FeedError` for what the venue can't have, `Busy` if there are too many already."""
        self._new_feed(symbol, timeframe)
        full = (symbol, timeframe) not in self._shared and len(self) >= self.limits.feeds
        if full or self.clients >= self.limits.clients:
            raise Busy(
                f"{self.clients} clients listen to {len(self)} streams; expected at most "
                f"{self.limits.clients} and {self.limits.feeds}. Come again later."
            )

    @contextlib.asynccontextmanager
    async def follow(self, symbol: str, timeframe: str) -> AsyncIterator[tuple[Feed, Cursor]]:
        """The running feed, and a cursor on all that it says from now on."""
        self.check(symbol, timeframe)
        key = (symbol, timeframe)
        if key not in self._shared:
            self._shared[key] = _Shared(self._new_feed(symbol, timeframe))
        shared = self._shared[key]
        shared.clients += 1
        cursor = shared.feed.subscribe()  # before it starts: nothing is missed
        try:
            if shared.start is None:
                shared.start = asyncio.create_task(asyncio.to_thread(shared.feed.start))
            await asyncio.shield(shared.start)  # others wait for it too
            yield shared.feed, cursor
        finally:
            cursor.close()
            shared.clients -= 1
            if not shared.clients:
                del self._shared[key]  # whoever comes now gets a feed of his own
                await _stop(shared)

    async def close(self) -> None:
        """Stop all feeds; their clients are told by their cursors' end."""
        for shared in list(self._shared.values()):
            await _stop(shared)

    def _new_feed(self, symbol: str, timeframe: str) -> Feed:
        # Of one name there is but one feed in a process, and others may have theirs.
        name = f"served {symbol} {timeframe} {next(_numbers)}"
        return Feed(symbol, timeframe, self.venue, name=name, history=0)


async def _stop(shared: _Shared) -> None:
    if shared.start is not None:
        await asyncio.wait({shared.start})  # a feed that is just starting would outlive its end
        await asyncio.to_thread(shared.feed.stop)


class Mailbox:
    """What waits for one client: closed candles and gaps in order, the newest forming one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Update] = deque()
        self._forming: Update | None = None
        self._something = asyncio.Event()
        self._ended = False

    def put(self, update: Update) -> bool:
        """Take an update; False if there is no room for it."""
        if update.kind == "forming":
            self._forming = update
        elif len(self._waiting) < self._most:
            self._waiting.append(update)
            if self._forming is not None and self._forming.time <= update.time:
                self._forming = None  # that bar is over
        else:
            return False
        self._something.set()
        return True

    def end(self) -> None:
        """Nothing follows."""
        self._ended = True
        self._something.set()

    async def take(self) -> Update | None:
        """The next update; None after the last."""
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._forming is not None:
                found, self._forming = self._forming, None
                return found
            if self._ended:
                return None
            self._something.clear()
            await self._something.wait()


class Line:
    """One client's end of the line, as the functions of a WebSocket.

    ``send`` a text (`OSError`: the client is gone); ``hear``: True when the client says something,
    False when it is gone.
    """

    def __init__(
        self, send: Callable[[str], Awaitable[None]], hear: Callable[[], Awaitable[bool]]
    ) -> None:
        self.send = send
        self.hear = hear


async def relay(
    line: Line, cursor: Cursor, box: Mailbox, text: Callable[[Update], str]
) -> int | None:
    """Send all that ``cursor`` says until one side ends it: the code to close with, None if gone.

    A client that reads more slowly than candles close is cut off once its mailbox is full: it would
    take ever more memory, and a stream with holes would pass for a whole one.
    """

    async def fill() -> bool:
        async for update in cursor:
            if not box.put(update):
                return False
            await asyncio.sleep(0)  # the other side may send it at once
        box.end()
        return True

    async def drain() -> None:
        while (update := await box.take()) is not None:
            await line.send(text(update))

    filling = asyncio.ensure_future(fill())
    draining = asyncio.ensure_future(drain())
    hearing = asyncio.ensure_future(line.hear())
    tasks: set[asyncio.Future[object]] = {filling, draining, hearing}  # type: ignore[arg-type]
    waiting = set(tasks)
    try:
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if hearing in done:
                return TALKED if hearing.result() else None
            if filling in done and not filling.result():
                return SLOW
            if draining in done:
                error = draining.exception()
                if error is not None and not isinstance(error, OSError):
                    raise error
                return ENDED if error is None else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def cut(reason: str) -> str:
    """A reason as short as a closing frame wants it: 123 bytes."""
    return reason.encode()[:123].decode(errors="ignore")
