"""Venue time: the moment that the played market has reached."""

from __future__ import annotations

import time


class Clock:
    """Milliseconds since 1970 that begin at ``start`` and pass ``speed`` times as fast as real.

    With a speed of 0 the time stands still and is moved by `jump` alone.
    """

    def __init__(self, start: int, speed: float) -> None:
        self.speed = speed
        self._start = start
        self._began: float | None = None  # on time.monotonic()

    def begin(self) -> None:
        """Let the time pass from now on; it goes on from there if it passes already."""
        if self._began is None:
            self._began = time.monotonic()

    def now(self) -> int:
        """Venue time, in whole milliseconds."""
        if self._began is None:
            return self._start
        return self._start + int((time.monotonic() - self._began) * 1000 * self.speed)

    def jump(self, moment: int) -> None:
        """Move on to ``moment`` at once; the time never runs backward."""
        self._start += max(0, moment - self.now())

    def seconds_until(self, moment: int) -> float | None:
        """Real seconds until ``moment`` (0: it has come; None: the time stands still)."""
        left = moment - self.now()
        if left <= 0:
            return 0.0
        return left / 1000 / self.speed if self.speed and self._began is not None else None

    def passed(self) -> float:
        """Seconds for limits per minute: of venue time, but never slower than real ones."""
        return time.monotonic() * max(1.0, self.speed)
