"""Sweeps in a thread of their own, so that the page and its sliders stay alive meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")
Watch = Callable[[int, int], object]  # how much is done, and of how much


class Unwanted(Exception):
    """Raised in a work that nobody wishes for any more, to end it."""


class Sweeper(Generic[Wish, Answer]):
    """Fulfils the newest wish, one at a time; an older one is given up as soon as it can be.

    ``work``: makes an answer of a wish, and tells the function that it is given how far it is; that
    raises `Unwanted` when the wish is an old one. ``done``: called with the wish and its answer, or
    the exception. ``progress``: called with the wish and the share that is done, at each further
    hundredth; None at the beginning. ``lock``: held at each call of the latter two.
    """

    def __init__(
        self,
        work: Callable[[Wish, Watch], Answer],
        done: Callable[[Wish, Answer | Exception], object],
        progress: Callable[[Wish, float | None], object],
        lock: threading.RLock,
    ) -> None:
        self._work, self._done, self._progress, self._lock = work, done, progress, lock
        self._wish: Wish | None = None  # the newest that is not fulfilled
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether there is a wish that is not fulfilled yet."""
        return self._wish is not None

    def wish(self, wish: Wish | None) -> None:
        """Wish for something else; None: for nothing any more."""
        with self._lock:
            self._wish = wish
            if wish is not None:
                self._progress(wish, None)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
                    self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until nothing is wished for any more; whether that came in time."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._lock:
                wish = self._wish
                if wish is None:
                    self._thread = None
                    return
            answer = self._watched(wish)
            with self._lock:
                if self._wish is wish:
                    self._wish = None
                    try:
                        self._done(wish, answer)
                    except BaseException:
                        self._thread = None  # the next wish gets another thread
                        raise

    def _watched(self, wish: Wish) -> Answer | Exception:
        """Do the work, tell how far it is, and end it when something else is wished for."""
        told = 0

        def watch(done: int, total: int) -> None:
            nonlocal told
            if self._wish is not wish:
                raise Unwanted
            percent = 100 * done // total
            if percent == told:
                return
            told = percent
            with self._lock:
                if self._wish is wish:
                    self._progress(wish, percent / 100)

        try:
            return self._work(wish, watch)
        except Exception as error:
            return error
