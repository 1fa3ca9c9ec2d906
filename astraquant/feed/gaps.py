"""The ledger of gaps: bars that were missing when they should have been there, and their end.

Times are int ms UTC. Nothing here knows candles; a bar is the span from its open time to the next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from ..timeframes import DURATIONS, next_start

OPEN: Final = "open"  # not answered yet
OURS: Final = "ours"  # missed by us, filled since by REST
VENUE: Final = "venue"  # the venue has no bar there either
_KEPT: Final = 1000  # spans of filled gaps that are remembered: they are nothing but history


class Gap(NamedTuple):
    """``missing`` bars from ``start`` up to ``end``, of one kind: "open", "ours" or "venue".

    ``found`` is the venue time at which the first of them was found missing, ``closed`` the one of
    the last answer (None while it is open).
    """

    start: int
    end: int
    missing: int
    kind: str
    found: int
    closed: int | None


class _Span(NamedTuple):
    """Bars that follow each other, found and answered at the same times."""

    start: int
    end: int
    kind: str
    found: int
    closed: int | None


class GapLedger:
    """Which bars of one timeframe were missing, as spans in order of time."""

    def __init__(self, timeframe: str) -> None:
        self._timeframe = timeframe
        self._spans: list[_Span] = []

    def add(
        self, start: int, end: int, found: int, kind: str = OPEN, closed: int | None = None
    ) -> None:
        """Bars that were in no gap so far, [start, end), are missing."""
        self._put(_Span(start, end, kind, found, closed))

    def answer(self, start: int, end: int, kind: str, now: int) -> None:
        """What is not filled yet in [start, end) is "ours" (filled now) or the "venue"'s."""
        for span in self._cut(start, end):
            answered = span.kind in (OURS, kind)
            self._put(span if answered else span._replace(kind=kind, closed=now))

    def remove(self, start: int, end: int) -> None:
        """The bars in [start, end) were not missed after all."""
        self._cut(start, end)

    def kind(self, time: int) -> str | None:
        """The kind of gap that holds ``time``, or None."""
        k = bisect_right(self._spans, time, key=lambda span: span.start) - 1
        return self._spans[k].kind if k >= 0 and time < self._spans[k].end else None

    def unanswered(self) -> list[tuple[int, int]]:
        """Start and end of each open span."""
        return [(span.start, span.end) for span in self._spans if span.kind == OPEN]

    def gaps(self) -> list[Gap]:
        """All gaps, oldest first; neighbours of one kind are one gap."""
        gaps: list[Gap] = []
        for span in self._spans:
            missing = _bars(span.start, span.end, self._timeframe)
            gap = Gap(span.start, span.end, missing, span.kind, span.found, span.closed)
            if gaps and gaps[-1].end == gap.start and gaps[-1].kind == gap.kind:
                before = gaps.pop()
                closed = None
                if gap.closed is not None and before.closed is not None:
                    closed = max(before.closed, gap.closed)
                gap = gap._replace(
                    start=before.start,
                    missing=before.missing + missing,
                    found=min(before.found, gap.found),
                    closed=closed,
                )
            gaps.append(gap)
        return gaps

    def _cut(self, start: int, end: int) -> list[_Span]:
        """Take [start, end) out of the ledger; returns what was there."""
        if start >= end:
            return []
        first = bisect_right(self._spans, start, key=lambda span: span.end)
        last = bisect_left(self._spans, end, key=lambda span: span.start)
        touched = self._spans[first:last]
        outside = [s._replace(end=start) for s in touched if s.start < start]
        outside += [s._replace(start=end) for s in touched if s.end > end]
        self._spans[first:last] = outside
        return [s._replace(start=max(s.start, start), end=min(s.end, end)) for s in touched]

    def _put(self, span: _Span) -> None:
        """Put a span where nothing is; it joins neighbours that are alike."""
        k = bisect_left(self._spans, span.start, key=lambda other: other.start)
        if k < len(self._spans):
            after = self._spans[k]
            if span.end == after.start and span[2:] == after[2:]:
                span = span._replace(end=after.end)
                del self._spans[k]
        if k > 0:
            before = self._spans[k - 1]
            if before.end == span.start and before[2:] == span[2:]:
                span = span._replace(start=before.start)
                k -= 1
                del self._spans[k]
        self._spans.insert(k, span)
        if len(self._spans) > _KEPT:
            self._forget()

    def _forget(self) -> None:
        """Forget the oldest filled gap if there are too many; what is still to be known stays."""
        filled = [k for k, span in enumerate(self._spans) if span.kind == OURS]
        if len(filled) > _KEPT:
            del self._spans[filled[0]]


def _bars(start: int, end: int, timeframe: str) -> int:
    """How many bars open in [start, end), both of them open times."""
    if timeframe != "1M":
        return (end - start) // DURATIONS[timeframe]
    count = 0
    while start < end:
        start, count = next_start(start, timeframe), count + 1
    return count
