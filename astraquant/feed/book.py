"""One symbol's candles of one timeframe as they are known: closed, forming, missing.

Without a clock and without I/O: venue time is an argument, and it alone decides. The rules:

- A bar is closed by the venue's closing kline, or filled by REST, once. A later bar's kline, or the
  passing of time, closes nothing: bars before it that are not closed are missing, and REST is to be
  asked for them. So a partial bar is never taken for a closed one.
- Of two versions of a closed candle the one known as of the later venue time stands (a kline's
  event time, the ``now`` of a REST answer); that it changed is always reported.
- REST's silence makes a bar the venue's gap, unless the stream has shown something of that bar:
  then it exists, stays missing and is to be asked for again.
- Trades close nothing and find nothing missing; they only go on top of the forming candle, by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

from ..candles import Candle, candle_table, times_of
from ..errors import FeedError
from ..timeframes import bin_starts, check_timeframe, duration, next_start
from .closed import ClosedCandles, candles_of, check_table, same
from .forming import Forming
from .gaps import OPEN, OURS, VENUE, Gap, GapLedger

if TYPE_CHECKING:
    from .protocol import AggTrade, Kline

__all__ = ["CandleBook", "Change", "Gap"]

_COUNTS: Final = "refused repeated older late_bars late_trades revised unfinished contradicted"


class Change(NamedTuple):
    """One thing that is known now and wasn't before.

    ``kind`` is "closed" (by the stream), "filled" (by REST), "revised" (a closed candle differs
    from what it was, ``before``), "forming", or "gap" (bars are missing, the first at ``time``).
    ``time`` is the bar's open time, int ms UTC.
    """

    kind: str
    time: int
    candle: Candle | None = None
    before: Candle | None = None


class CandleBook:
    """The candles of ``symbol`` and ``timeframe``, as told by a stream and by REST.

    It answers for all bars from the first one on: that of the history, else of the first event.
    Each method that takes something returns the changes, bars in order of time. Beside the candles
    and the spans of bars that are missing, its memory is bounded.

    ``counts`` (int by name): events refused since they don't belong here ("refused"), told twice
    ("repeated"), outrun by newer ones ("older"); closing klines that came after a later bar's
    ("late_bars"); trades of a bar that was over ("late_trades"); closed candles that changed
    ("revised"); rows of REST still forming ("unfinished"); bars that the stream has shown and REST
    denies ("contradicted").
    """

    def __init__(self, symbol: str, timeframe: str) -> None:
        self.symbol = symbol
        self.timeframe = check_timeframe(timeframe)
        self.counts = dict.fromkeys(_COUNTS.split(), 0)
        self._closed = ClosedCandles()
        self._forming = Forming()
        self._ledger = GapLedger(timeframe)
        self._origin: int | None = None  # the first bar it answers for
        # Each bar from the origin up to here is closed or in the ledger, none from here on.
        self._horizon = 0
        self._shown: set[int] = set()  # bars not closed of which the stream has shown something
        self._bar = (0, 0)  # the bar asked for last, [start, end)

    @property
    def candles(self) -> pd.DataFrame:
        """The closed candles as a candle table. Extras are there if all candles know them."""
        return self._closed.table()

    @property
    def forming(self) -> Candle | None:
        """The candle that is not over yet, None while nothing of it is known."""
        candle = self._forming.candle
        return candle if candle is not None and candle.time >= self._horizon else None

    @property
    def partial(self) -> bool:
        """Whether trades have come that `forming` lacks: those between are missing."""
        return self._forming.partial

    @property
    def last_closed(self) -> int | None:
        """Open time of the last closed candle."""
        return self._closed.times[-1] if len(self._closed) else None

    @property
    def gaps(self) -> list[Gap]:
        """All bars that were missing once, as spans in order of time."""
        return self._ledger.gaps()

    def missing(self, now: int) -> list[tuple[int, int]]:
        """Spans [start, end) of bars over by venue time ``now`` that are to be asked of REST."""
        if self._origin is None:
            return []
        until = self.bar_of(now)
        spans: list[tuple[int, int]] = []
        for start, end in (*self._ledger.unanswered(), (self._horizon, until)):
            if start < min(end, until):
                joined = spans.pop()[0] if spans and spans[-1][1] == start else start
                spans.append((joined, min(end, until)))
        return spans

    def load(self, candles: pd.DataFrame) -> None:
        """Begin with history: closed candles of the venue; its holes count as the venue's.

        Raises `DataError` for what is no candle table, `FeedError` if it comes after anything else
        or holds a bar off the timeframe's grid.
        """
        if self._origin is not None:
            raise FeedError(
                f"the book of {self.symbol} {self.timeframe} is no longer empty, so that no "
                "history can be loaded. Load it first, and give what comes later to backfill()."
            )
        table = check_table(candles)
        times = times_of(table)
        off_grid = bin_starts(times, self.timeframe) != times
        if off_grid.any():
            raise self._off_grid(int(times[np.argmax(off_grid)]))
        if len(times) == 0:
            return
        self._closed.load(table)
        for row in np.flatnonzero(np.diff(times) != duration(self.timeframe)).tolist():
            start, end = next_start(int(times[row]), self.timeframe), int(times[row + 1])
            if start < end:  # months have no fixed length
                self._ledger.add(start, end, end, VENUE, end)
        self._origin = int(times[0])
        self._horizon = next_start(int(times[-1]), self.timeframe)

    def kline(self, event: Kline) -> list[Change]:
        """Take one kline of the stream, closing or not."""
        candle = event.candle
        time = candle.time
        here = event.symbol == self.symbol and event.interval == self.timeframe
        if not here or time != self.bar_of(time) or time > event.event_time:
            return self._count("refused")
        if self._origin is None:
            self._origin = self._horizon = time
        if time < self._origin:
            return self._count("older")
        before, end = self.forming, self._bar[1]
        changes = self._miss(time, event.event_time) if time > self._horizon else []
        if event.closed:
            changes += self._close(candle, end, event.event_time)
        else:
            changes += self._show(time, event.event_time)
        newer = self._forming.kline(event)
        if not newer and not event.closed:
            self._count("older")
        return changes + self._changed_from(before)

    def trade(self, event: AggTrade) -> list[Change]:
        """Take one aggregate trade, of the stream or asked for again, in any order."""
        if event.symbol != self.symbol:
            return self._count("refused")
        bar = self.bar_of(event.time)
        if self._origin is None:
            self._origin = self._horizon = bar
        if bar < self._origin:
            return self._count("older")
        before = self.forming
        changes = self._show(bar, event.event_time)
        if not self._forming.trade(event, bar):
            self._count("repeated")
        elif bar < self._horizon:
            self._count("late_trades")
        return changes + self._changed_from(before)

    def backfill(
        self, candles: pd.DataFrame | Sequence[Candle], start: int, until: int, now: int
    ) -> list[Change]:
        """Take REST's whole answer for the bars that open in [start, until), at venue time ``now``.

        Bars in it are filled, revised or confirmed, bars not in it are the venue's gaps. Bars that
        are not over by ``now`` are left out of it all. An answer that was cut short is given with
        an ``until`` that ends where it does. Raises `FeedError` for rows outside [start, until) and
        for a start before the book's first bar, `DataError` for what are no candles in order.
        """
        rows = self._checked(candles, start, until)
        until = min(until, self.bar_of(now))
        if start >= until:
            self.counts["unfinished"] += len(rows)
            return []
        changes = self._miss(until, now) if until > self._horizon else []
        cursor = start
        for row in rows:
            if row.time >= until:
                self._count("unfinished")
                continue
            self._deny(cursor, row.time, now)
            changes += self._fill(row, now)
            cursor = next_start(row.time, self.timeframe)
        self._deny(cursor, until, now)
        return changes

    def _count(self, name: str) -> list[Change]:
        """Count what changes nothing."""
        self.counts[name] += 1
        return []

    def _changed_from(self, before: Candle | None) -> list[Change]:
        candle = self.forming
        if candle is None or candle == before:
            return []
        return [Change("forming", candle.time, candle)]

    def _miss(self, until: int, found: int) -> list[Change]:
        """All bars from the horizon up to ``until`` are missing."""
        start, self._horizon = self._horizon, until
        self._ledger.add(start, until, found)
        return [Change("gap", start)]

    def _show(self, time: int, found: int) -> list[Change]:
        """The stream has shown something of a bar: it exists, whatever REST said."""
        if time < self._horizon:
            kind = self._ledger.kind(time)
            if kind not in (OPEN, VENUE):
                return []
            if kind == VENUE:
                end = next_start(time, self.timeframe)
                self._ledger.remove(time, end)
                self._ledger.add(time, end, found)
                self._shown.add(time)
                return [Change("gap", time)]
        self._shown.add(time)
        return []

    def _close(self, candle: Candle, end: int, event_time: int) -> list[Change]:
        """The stream closes a bar, which ends at ``end``."""
        if candle.time < self._horizon:
            if self._closed.row(candle.time) >= 0:
                return self._compare(candle, event_time)
            self._ledger.remove(candle.time, end)
            self._count("late_bars")
        self._horizon = max(self._horizon, end)
        self._closed.add(candle, event_time)
        self._shown.discard(candle.time)
        return [Change("closed", candle.time, candle)]

    def _fill(self, candle: Candle, now: int) -> list[Change]:
        """REST has a bar."""
        if self._closed.row(candle.time) >= 0:
            return self._compare(candle, now)
        self._ledger.answer(candle.time, next_start(candle.time, self.timeframe), OURS, now)
        self._closed.add(candle, now)
        self._shown.discard(candle.time)
        return [Change("filled", candle.time, candle)]

    def _compare(self, candle: Candle, as_of: int) -> list[Change]:
        """Another version of a closed candle: of two that differ the later one stands."""
        row = self._closed.row(candle.time)
        before = self._closed.candle(row)
        if same(candle, before):
            self._closed.confirm(row, as_of)
            return self._count("repeated")
        if as_of <= self._closed.as_of(row):
            return self._count("older")
        self._closed.replace(row, candle, as_of)
        self._count("revised")
        return [Change("revised", candle.time, candle, before)]

    def _deny(self, start: int, end: int, now: int) -> None:
        """REST has no bar in [start, end): the venue's gap, but for bars that the stream showed."""
        if start >= end:
            return
        shown = sorted(time for time in self._shown if start <= time < end)
        self.counts["contradicted"] += len(shown) + self._closed.count(start, end)
        for time in shown:
            self._ledger.answer(start, time, VENUE, now)
            start = next_start(time, self.timeframe)
        self._ledger.answer(start, end, VENUE, now)

    def _checked(
        self, candles: pd.DataFrame | Sequence[Candle], start: int, until: int
    ) -> list[Candle]:
        """The rows of an answer, if it can be one to a question about [start, until)."""
        if self._origin is None or start < self._origin:
            raise FeedError(
                f"an answer about bars from {start} on, but the book of {self.symbol} "
                f"{self.timeframe} begins with {self._origin}. Ask for the spans of missing(); "
                "give older candles to load() before anything else."
            )
        if isinstance(candles, pd.DataFrame):
            rows = candles_of(check_table(candles))
        else:
            rows = list(candles)
            candle_table(rows)  # raises for what is no candle
        for time in (start, until, *(row.time for row in rows)):
            if time != self.bar_of(time):
                raise self._off_grid(time)
        if rows and not (start <= rows[0].time and rows[-1].time < until):
            raise FeedError(
                f"the answer about bars in [{start}, {until}) holds those from {rows[0].time} to "
                f"{rows[-1].time}. Say which bars were asked for, or cut the answer."
            )
        return rows

    def _off_grid(self, time: int) -> FeedError:
        return FeedError(
            f"{time} ms is no open time of a {self.timeframe} bar; the one around it opens at "
            f"{self.bar_of(time)} ms. Is it of another timeframe?"
        )

    def bar_of(self, time: int) -> int:
        """Open time of the bar that holds ``time``; most questions are about the same bar."""
        start, end = self._bar
        if not start <= time < end:
            start = int(bin_starts(np.array([time]), self.timeframe)[0])
            self._bar = start, next_start(start, self.timeframe)
        return start
