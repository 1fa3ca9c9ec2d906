"""Who listens to a feed: each with a cursor of its own, at a pace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable
from weakref import WeakSet

from .core import Update


class Cursor:
    """What a feed says from now on, for one listener.

    Closed, filled and revised candles and gaps wait until they are taken, whatever their number. Of
    a forming candle only the newest is kept, behind all that waits, and none of a bar that is over.
    Iterate over it, plainly or with ``async for`` (it ends with the feed), or `take` what is there.
    To be used by one thread or task.
    """

    def __init__(self) -> None:
        self._waiting: deque[Update] = deque()
        self._forming: dict[str, Update] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None  # of an asynchronous listener
        self._woken: asyncio.Event | None = None
        self._waking = False  # it has been told, and has not looked since

    def take(self) -> list[Update]:
        """All that waits, oldest first, without waiting for more."""
        with self._changed:
            found = [*self._waiting, *self._forming.values()]
            self._waiting.clear()
            self._forming.clear()
        return found

    def next(self, timeout: float | None = None) -> Update | None:
        """The next update; None if none comes within ``timeout`` seconds, or the feed has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not (found := self._pop()) and not self._ended:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
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
        while True:
            with self._changed:
                found = self._pop()
                if found is not None:
                    return found
                if self._ended:
                    raise StopAsyncIteration
                if self._woken is None or self._loop is not asyncio.get_running_loop():
                    self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
                self._woken.clear()
                self._waking = False
            await self._woken.wait()

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pop(self) -> Update | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._forming:
            return self._forming.pop(next(iter(self._forming)))
        return None

    # The feed's side.

    def put(self, updates: Iterable[Update]) -> None:
        """Take what is new."""
        with self._changed:
            if self._ended:
                return
            for update in updates:
                if update.kind == "forming":
                    self._forming[update.symbol] = update
                    continue
                self._waiting.append(update)
                forming = self._forming.get(update.symbol)
                if forming is not None and update.kind != "gap" and forming.time <= update.time:
                    del self._forming[update.symbol]  # that bar is over
            self._wake()

    def end(self) -> None:
        """Nothing follows."""
        with self._changed:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
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
