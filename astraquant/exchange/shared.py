"""The exchanges of this process: those that run, by address, and the one behind venue="sim"."""

from __future__ import annotations

import threading
from typing import Final
from weakref import WeakSet

from .simulated import SimulatedExchange

SPEED: Final = 20.0  # a minute in three seconds: something happens while one looks
# Candles before the start are history, enough for the longest averages; from there on three months
# are played, which take more than four days.
SPAN: Final = ("2023-01-01", "2023-06-01")
START: Final = "2023-03-01"


class _Sample:
    """One exchange over the synthetic sample, which runs while somebody uses it."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._users: WeakSet[object] = WeakSet()
        self._venue: SimulatedExchange | None = None

    def use(self, user: object) -> SimulatedExchange:
        """The exchange, running, for ``user``."""
        with self._changing:
            if self._venue is None:
                self._venue = _new_sample().start()
            self._users.add(user)
            return self._venue

    def leave(self, user: object) -> None:
        """``user`` needs it no more."""
        with self._changing:
            self._users.discard(user)
            if not self._users and self._venue is not None:
                venue, self._venue = self._venue, None
                venue.stop()


sample = _Sample()


def _new_sample() -> SimulatedExchange:
    from ..data.sample import SYMBOLS, sample_candles

    start, end = SPAN
    tables = {symbol: sample_candles(symbol, start=start, end=end) for symbol in SYMBOLS}
    return SimulatedExchange(tables, speed=SPEED, start=START)
