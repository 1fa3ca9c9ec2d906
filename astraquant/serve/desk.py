"""Work off the event loop: so much at once, so much in the queue, so long."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import AstraQuantError

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server does at most.

    ``running`` and ``waiting``: questions answered at once, and in the queue. ``seconds``: until an
    answer must be there, the time in the queue included. ``bars``: that a run goes through.
    ``rows``: candles in one answer. ``clients`` of streams, the ``feeds`` behind them, and the
    ``messages`` that may wait for one client.
    """

    running: int = field(default_factory=lambda: max(2, os.cpu_count() or 1))
    waiting: int = 32
    seconds: float = 20.0
    bars: int = 2_000_000
    rows: int = 10_000
    clients: int = 100
    feeds: int = 20
    messages: int = 1_000


class Busy(AstraQuantError):
    """There is too much to do already: HTTP 429."""


class TooLong(AstraQuantError):
    """The work takes too long: HTTP 422."""


class Desk:
    """Threads that answer questions.

    A thread can't be stopped. A question whose time is over is answered as `TooLong`, but its
    thread goes on to the end and counts as running until then. What is still in the queue is
    dropped. So a strategy that never returns takes a thread for good; all others take a second.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.running, "astraquant-serve")
        self._inside = 0  # running and waiting; changed by the event loop alone

    async def do(self, work: Callable[[], _Answer]) -> _Answer:
        """What ``work()`` returns or raises; raises `Busy` or `TooLong` instead."""
        limits = self._limits
        if self._inside >= limits.running + limits.waiting:
            raise Busy(
                f"the server is busy: {limits.running} questions are being answered and "
                f"{limits.waiting} wait. Ask again later."
            )
        self._inside += 1
        loop = asyncio.get_running_loop()
        job = self._pool.submit(work)
        job.add_done_callback(lambda _: _tell(loop, self._leave))
        answer = asyncio.wrap_future(job)
        done, _ = await asyncio.wait({answer}, timeout=limits.seconds)
        if done:
            return answer.result()
        if job.cancel():  # it never began
            raise Busy(f"the server is busy: {limits.seconds:g} s went by in its queue. Ask again.")
        answer.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise TooLong(
            f"there is no answer after {limits.seconds:g} s. Ask for less: a later start or an "
            "earlier end, a coarser timeframe, or a strategy that does less."
        )

    def close(self) -> None:
        """Take no more; what runs goes on to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        self._inside -= 1


def _tell(loop: asyncio.AbstractEventLoop, change: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(change)
