"""Who listens to a feed: each with a cursor of its own, at a pace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from weakref import WeakSet

from .core import Update


class Cursor:
    """What a feed says from now on, for one listener.

    Closed, filled and revised candles and gaps wait until they are taken, whatever their number. Of
    a forming candle only the newest is kept, behind all that waits, and none of a bar that is over.
    Iterate over it, plainly or with ``async for`` (it ends with the feed), or `take` what is there.
    To be used by one thread or task.
    """

    # Without a lock of Python's own: an interrupt (Ctrl-C) in the wrong place would leave it taken,
    # and the feed's thread waiting for it for ever. Whoever waits, waits for the queue.

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Update | None] = SimpleQueue()  # None: look again
        self._forming: dict[str, Update] = {}
        self._put = 0  # how many updates were put that are not forming
        self._over: dict[str, int] = {}  # the newest bar of a symbol that was handed out whole
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None  # of an asynchronous listener
        self._woken: asyncio.Event | None = None
        self._waking = False  # it has been told, and has not looked since

    def take(self) -> list[Update]:
        """All that waits, oldest first, without waiting for more."""
        found: list[Update] = []
        while (update := self._pop()) is not None:
            found.append(update)
        return found

    def next(self, timeout: float | None = None) -> Update | None:
        """The next update; None if none comes within ``timeout`` seconds, or the feed has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        while (found := self._pop()) is None and not self._ended:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                found = self._waiting.get(timeout=left)
            except Empty:
                return None
            if found is not None:
                return self._noted(found)
        return found

    def close(self) -> None:
        """Listen no more."""
        self.end()

    def __iter__(self) -> Cursor:
        return self

    def __next__(self) -> Update:
        found = self.next()
        if found is None:
            raise StopIteration
        return found

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> Update:
        loop = asyncio.get_running_loop()
        if self._woken is None or self._loop is not loop:
            self._woken, self._loop = asyncio.Event(), loop
        while True:
            self._woken.clear()
            self._waking = False  # before it looks: what comes later wakes it
            ended = self._ended
            found = self._pop()
            if found is not None:
                return found
            if ended:
                raise StopAsyncIteration
            await self._woken.wait()

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pop(self) -> Update | None:
        """The next of what is there: what is forming comes behind all else."""
        while True:
            put = self._put
            try:
                update = self._waiting.get_nowait()
            except Empty:
                symbol = next(iter(list(self._forming)), "")
                forming = self._forming.pop(symbol, None)
                if forming is None:
                    return None
                if forming.time <= self._over.get(symbol, -1):
                    continue  # that bar is over
                if put == self._put:
                    return forming
                self._forming.setdefault(symbol, forming)  # something came that is to be first
            else:
                if update is not None:
                    return self._noted(update)

    def _noted(self, update: Update) -> Update:
        if update.kind != "gap":
            self._over[update.symbol] = max(update.time, self._over.get(update.symbol, -1))
        return update

    # The feed's side: one thread.

    def put(self, updates: Iterable[Update]) -> None:
        """Take what is new."""
        if self._ended:
            return
        for update in updates:
            if update.kind == "forming":
                self._forming[update.symbol] = update
                if self._waiting.empty():  # else whoever gets the last of it looks here then
                    self._waiting.put(None)
            else:
                self._put += 1
                self._waiting.put(update)
        self._wake()

    def end(self) -> None:
        """Nothing follows."""
        self._ended = True
        self._waiting.put(None)
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None and self._woken is not None and not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._woken.set)


class Cursors:
    """All listeners of a feed; who is forgotten, or has closed its cursor, is none any more."""

    def __init__(self) -> None:
        self._all: WeakSet[Cursor] = WeakSet()
        self._changing = threading.Lock()
        self._ended = False

    def __len__(self) -> int:
        return len(self._all)

    def new(self) -> Cursor:
        """Another listener; if nothing follows any more, one that has ended."""
        cursor = Cursor()
        with self._changing:
            if self._ended:
                cursor.end()
            else:
                self._all.add(cursor)
        return cursor

    def begin(self) -> None:
        """Something follows (again)."""
        with self._changing:
            self._ended = False

    def put(self, updates: Iterable[Update]) -> None:
        """Tell everybody."""
        with self._changing:
            listeners = list(self._all)
        for cursor in listeners:
            cursor.put(updates)

    def end(self) -> None:
        """Tell everybody that nothing follows."""
        with self._changing:
            self._ended = True
            listeners = list(self._all)
            self._all.clear()
        for cursor in listeners:
            cursor.end()
