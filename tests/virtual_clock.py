"""An event loop whose time is virtual: when nothing is ready, the clock jumps to the next timer.

Hours of sleeping and waiting pass in a moment, and the same program does the same each time. There
are no sockets, no threads and no signals on it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

BEGIN = 1000.0  # of the virtual time: like the real one's it means nothing
LONGEST = 100_000.0  # seconds that a program may last
MOST_TURNS = 100_000  # of the loop within one millisecond: a burst of messages takes far fewer


class Stuck(Exception):
    """The program waits for what can't come, spins at one moment, or doesn't end."""


def run(
    program: Coroutine[Any, Any, T], *, longest: float = LONGEST, most_turns: int = MOST_TURNS
) -> T:
    """Run a coroutine on a virtual clock and return its result; raises `Stuck`."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(longest, most_turns)) as runner:
        return runner.run(program)


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test, written as a coroutine, as one that runs on the virtual clock."""

    @functools.wraps(test)
    def on_virtual_clock(*values: Any, **named: Any) -> None:
        run(test(*values, **named))

    return on_virtual_clock


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. It is its own selector, one that has nothing to select from."""

    def __init__(self, longest: float = LONGEST, most_turns: int = MOST_TURNS) -> None:
        super().__init__()
        self._selector = self
        self._now = BEGIN
        self._longest, self._most_turns = longest, most_turns
        self._millisecond, self._turns = 0, 0

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """Pass ``timeout`` seconds (None: nothing is ready and no timer is left)."""
        if timeout is None:
            raise Stuck(f"deadlock: nothing is ready and no timer is left.{self._waiting()}")
        self._now += timeout
        after = self._now - BEGIN
        if after > self._longest:
            self._longest = after + 60  # what is cancelled now may end
            raise Stuck(f"the program still runs after {after:g} s.{self._waiting()}")
        millisecond = int(self._now * 1000)
        self._turns = self._turns + 1 if millisecond == self._millisecond else 0
        self._millisecond = millisecond
        if self._turns > self._most_turns:
            self._turns = 0  # what is cancelled now may end
            raise Stuck(
                f"the program spins: {self._most_turns} turns of the loop at {after:.3f} s."
                f"{self._waiting()}"
            )
        return ()

    def _waiting(self) -> str:
        """What each task waits for: its coroutine, the one that this one awaits, ..."""
        lines = []
        for task in asyncio.all_tasks(self):
            places: list[str] = []
            inner: Any = task.get_coro()
            while inner is not None and getattr(inner, "cr_frame", None) is not None:
                places.append(f"{inner.__qualname__}:{inner.cr_frame.f_lineno}")
                inner = inner.cr_await
            lines.append(f"\n  {task.get_name()}: {' > '.join(places)}")
        return "".join(sorted(lines))

    def _process_events(self, events: tuple[()]) -> None:
        pass

    def _write_to_self(self) -> None:
        """A call from another thread would have to wake the selector, which never sleeps."""

    def run_in_executor(self, executor: Any, function: Any, *values: Any) -> NoReturn:
        work = [*getattr(function, "args", ()), function][0]  # to_thread wraps it
        raise Stuck(
            f"{getattr(work, '__qualname__', work)} was to run in a thread, and there are none on "
            "a virtual clock. Give the program a coroutine instead."
        )
