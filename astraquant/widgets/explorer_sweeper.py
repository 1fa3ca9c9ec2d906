"""Sweeps in a thread of their own, so that the page and its sliders stay alive meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tqdm.std import tqdm

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")
PERIOD = 0.15  # seconds between two looks at how far it is


class Sweeper(Generic[Wish, Answer]):
    """Fulfils the newest wish, one at a time; what came of a wish that is old by then is dropped.

    ``work``: makes an answer of a wish. ``done``: called with the wish and its answer, or the
    exception. ``progress``: called again and again with the wish and the share that is done, None
    where that is not known. ``lock``: held at each call of the latter two.
    """

    def __init__(
        self,
        work: Callable[[Wish], Answer],
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
                    self._done(wish, answer)

    def _watched(self, wish: Wish) -> Answer | Exception:
        """Do the work while another thread looks how far it is."""
        others = _bars()
        over = threading.Event()

        def watch() -> None:
            while not over.wait(PERIOD):
                share = _share(_bars() - others)
                with self._lock:
                    if self._wish is wish and not over.is_set():
                        self._progress(wish, share)

        watcher = threading.Thread(target=watch, name="sweep's progress", daemon=True)
        watcher.start()
        try:
            return self._work(wish)
        except Exception as error:
            return error
        finally:
            over.set()
            watcher.join()


def _bars() -> set[Any]:
    """The progress bars that there are: a sweep has one, which is not seen from a thread."""
    with tqdm.get_lock():
        return set(tqdm._instances)


def _share(bars: set[Any]) -> float | None:
    known = [bar.n / bar.total for bar in bars if bar.total]
    return known[0] if known else None
