"""Whether every trade has come: their ids follow each other, so that each hole shows."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

REFILLED: Final = 10_000  # trades of a hole that are asked for; of a longer one the newest
_KEPT: Final = 1_000  # holes that are remembered


class Hole(NamedTuple):
    """The ids ``first`` to ``last`` are missing, found so at ``found`` (seconds of any clock)."""

    first: int
    last: int
    found: float


class TradeIds:
    """The ids of one symbol's trades that have come, from the first one on.

    ``newest``: the highest one, None before the first. ``skipped``: how many are not going to be
    asked for, since candles cover them long before.
    """

    def __init__(self) -> None:
        self.newest: int | None = None
        self.skipped = 0
        self.holes: list[Hole] = []  # in order, apart from each other

    def add(self, number: int, now: float) -> bool:
        """Note a trade; returns False if it had come already."""
        if self.newest is None:
            self.newest = number
        elif number > self.newest:
            self.expect(number - 1, now)
            self.newest = number
        else:
            return self._fill(number)
        return True

    def expect(self, number: int, now: float) -> None:
        """The venue has trades up to this one: those that have not come are missing."""
        if self.newest is None or number <= self.newest:
            return
        first = max(self.newest + 1, number - REFILLED + 1)
        self.skipped += first - self.newest - 1
        self.holes.append(Hole(first, number, now))
        self.newest = number
        if len(self.holes) > _KEPT:
            oldest = self.holes.pop(0)
            self.skipped += oldest.last - oldest.first + 1

    def give_up(self, first: int, last: int) -> None:
        """These ids are not to be had: the venue has none of them."""
        kept: list[Hole] = []
        for hole in self.holes:
            if hole.last < first or last < hole.first:
                kept.append(hole)
                continue
            lost = min(hole.last, last) - max(hole.first, first) + 1
            self.skipped += lost
            if hole.first < first:
                kept.append(hole._replace(last=first - 1))
            if last < hole.last:
                kept.append(hole._replace(first=last + 1))
        self.holes = kept

    def _fill(self, number: int) -> bool:
        k = bisect_right(self.holes, number, key=lambda hole: hole.first) - 1
        if k < 0 or number > self.holes[k].last:
            return False
        hole = self.holes[k]
        parts = [hole._replace(last=number - 1), hole._replace(first=number + 1)]
        self.holes[k : k + 1] = [part for part in parts if part.first <= part.last]
        return True
