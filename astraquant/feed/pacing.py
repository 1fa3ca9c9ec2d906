"""When to try again: growing random waits, within a budget of attempts. Time is an argument."""

from __future__ import annotations

import random
from collections import deque
from typing import Final

ATTEMPTS: Final = 60  # connections that may be tried ...
WINDOW: Final = 300.0  # ... in so many seconds; Binance allows 300 of one address
FIRST_WAIT: Final = 0.5  # seconds, at the most, before the second attempt
LONGEST_WAIT: Final = 30.0


class Budget:
    """What this machine may still ask of one venue: all feeds on it share one.

    ``attempts``: when connections were tried. ``rest_from``: when REST may be asked again.
    """

    def __init__(self) -> None:
        self.attempts: deque[float] = deque(maxlen=ATTEMPTS)
        self.rest_from = 0.0


class Pacing:
    """Waits before attempts of one kind: twice as long after each failure, half of it by chance."""

    def __init__(self, draw: random.Random, budget: Budget | None = None) -> None:
        self._draw = draw
        self._attempts = (budget or Budget()).attempts
        self._failures = 0
        self._not_before = 0.0

    def attempt(self, now: float) -> None:
        """Count an attempt."""
        self._attempts.append(now)

    def failed(self, now: float, after: float | None = None) -> None:
        """Count a failure; ``after``: seconds that the other side asks to wait at least."""
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        wait *= self._draw.uniform(0.5, 1.0)
        self._not_before = max(self._not_before, now + max(wait, after or 0.0))

    def succeeded(self) -> None:
        """Begin anew with short waits."""
        self._failures, self._not_before = 0, 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next attempt may be made."""
        until = self._not_before
        if len(self._attempts) == ATTEMPTS:
            until = max(until, self._attempts[0] + WINDOW)
        return max(0.0, until - now)
