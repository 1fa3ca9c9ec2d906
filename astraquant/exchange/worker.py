"""A thread with an event loop of its own, which other threads can ask to do things."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any

from ..errors import DataError

# Serves until the event is set; tells the function the port once it listens.
Serve = Callable[[Callable[[int], None], asyncio.Event], Coroutine[Any, Any, None]]


class Worker:
    """Runs one server in a thread. Nobody waits for it in vain: its end, and why, is told."""

    def __init__(self) -> None:
        self._changing = threading.Lock()  # while it starts or stops
        self._thread: threading.Thread | None = None
        self._asked: set[Future[Any]] = set()  # what other threads wait for
        self._failure: BaseException | None = None  # what ended it, until it is told

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._thread is not None

    def start(self, serve: Serve) -> int | None:
        """Begin ``serve`` and return its port; None if something is served already."""
        with self._changing:
            if self._thread is not None and self._thread.is_alive():
                return None
            opened: Future[int] = Future()
            self._thread = threading.Thread(
                target=self._run, args=(serve, opened), name="simulated-exchange", daemon=True
            )
            self._thread.start()
            try:
                return opened.result()
            except BaseException:
                self._thread.join()
                self._thread = None
                raise

    def stop(self) -> None:
        """End the thread; raises what else has ended it, if nobody was told."""
        with self._changing:
            if self._thread is None:
                return
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._ended()

    def do(self, action: Callable[[], object]) -> None:
        """Call ``action`` in the thread, or here while there is none."""
        if self._thread in (None, threading.current_thread()):
            action()
            return

        async def call() -> None:
            action()

        self.wait_for(call())

    def wait_for(self, question: Coroutine[Any, Any, None]) -> None:
        """Let the thread await ``question``; raises if it ends meanwhile."""
        thread = self._thread
        try:
            future = asyncio.run_coroutine_threadsafe(question, self._loop)
        except RuntimeError:  # the loop is closed
            question.close()
            raise self._ended()  # noqa: B904 - it has its cause
        self._asked.add(future)
        if self._loop.is_closed():
            future.cancel()
        try:
            future.result()
        except CancelledError:
            if thread is not None:
                thread.join()  # only its end cancels; then it is known what ended it
            raise self._ended()  # noqa: B904
        finally:
            self._asked.discard(future)

    def _ended(self) -> Exception:
        failure, self._failure = self._failure, None
        if failure is None:
            return DataError("the exchange was stopped meanwhile: start it again.")
        error = RuntimeError(f"the simulated exchange was ended by its own failure: {failure!r}")
        error.__cause__ = failure
        return error

    def _run(self, serve: Serve, opened: Future[int]) -> None:
        async def main() -> None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            await serve(opened.set_result, self._stopping)

        try:
            asyncio.run(main())
        except BaseException as error:
            if opened.done():
                self._failure = error  # whoever asks next is told
            else:
                opened.set_exception(error)  # `start` tells it
        for future in list(self._asked):
            future.cancel()
