"""Candles from Binance, or from an exchange that speaks its language: cache, archives, REST.

A span is loaded month by month: out of the cache; else from the monthly archive; else from daily
archives, and what these don't have by REST. Each month goes into the cache as soon as it is there,
and if something interrupts in the middle of one, what is there by then.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from ..errors import DataError
from ..timeframes import (
    DAY,
    HOUR,
    WEEK,
    bin_starts,
    duration,
    from_ms,
    next_start,
    parse_time,
    to_ms,
)
from .archives import Period, days, fetch, months
from .cache import Cache, CacheError, Month
from .klines import PAGE, Pages, Rest, none_closed_yet
from .pieces import Part, Piece, covers
from .venues import Unreachable, Venue, identified

if TYPE_CHECKING:  # what speaks HTTP is imported when something has to be asked
    from .transport import Transport

# Of coarser candles a page of REST holds more than two months: quicker than archive and checksum.
_COARSEST_IN_ARCHIVES: Final = HOUR

_log = logging.getLogger("astraquant.data")


def load_binance(
    symbol: str,
    timeframe: str,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    venue: Venue,
    *,
    transport: Transport | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The closed candles with start <= open time < end; see `load_candles`.

    None: from the listing on, up to the last candle that is closed by the venue's time; a later
    ``end`` means the same. ``symbol`` and ``timeframe`` have been checked.
    """
    span = _openings(start, end, timeframe)
    with Session(venue, transport) as session:
        return _Load(symbol, timeframe, session, progress).table(*span)


def load_each(
    symbols: Iterable[str],
    timeframe: str,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    venue: Venue,
) -> dict[str, pd.DataFrame]:
    """The same for several symbols, one after the other, up to the same closed candle.

    One that was listed after ``start`` begins at its listing. An error says whose load failed.
    """
    span = _openings(start, end, timeframe)
    tables = {}
    with Session(venue) as session:
        for symbol in symbols:
            load = _Load(symbol, timeframe, session, progress=True, may_begin_later=True)
            try:
                tables[symbol] = load.table(*span)
            except DataError as error:
                raise DataError(f"{symbol}: {error}") from error
    return tables


class Session:
    """What is said to one venue in one call; it begins when something has to be asked."""

    now: int  # the venue's time when the session began, ms UTC: what ended by then is closed
    rest: Rest

    def __init__(self, venue: Venue, transport: Transport | None = None) -> None:
        self.venue = venue
        self.transport = transport
        self._is_open = False

    def open(self) -> None:
        """Ask for the venue's time, which also tells who it is; once only."""
        if self._is_open:
            return
        if self.transport is None:
            from .transport import Transport

            self.transport = Transport(proxies=not self.venue.is_local)
        rest = Rest(self.transport, self.venue)
        self.now, answer = rest.server_time()
        self.venue = rest.venue = identified(self.venue, answer.headers)
        self.rest = rest
        self._is_open = True

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if self.transport is not None:
            self.transport.__exit__()


class _Load:
    """One span of one symbol's candles on its way here."""

    def __init__(
        self,
        symbol: str,
        timeframe: str,
        session: Session,
        progress: bool,
        *,
        may_begin_later: bool = False,
    ) -> None:
        self.symbol, self.timeframe, self.session = symbol, timeframe, session
        self.progress = progress
        self.may_begin_later = may_begin_later  # at the listing, if that comes after the start
        self.cache = Cache()
        self.can_keep = True
        self.listing = 0  # open time of the first candle there is, once it was asked for
        self.forming = 0  # and of the one that is still forming
        self.kept: dict[str, Month | None] = {}  # what the cache has, by month

    def table(self, first: int | None, stop: int | None) -> pd.DataFrame:
        """The span's candles; where nothing answers, the error says what can be done."""
        try:
            return self.run(first, stop)
        except Unreachable as error:
            raise DataError(f"{error} {self.instead()}") from error

    def run(self, first: int | None, stop: int | None) -> pd.DataFrame:
        """The span's candles, cached or loaded; nothing is asked if Binance's are all cached."""
        if self.session.venue.name and first is not None and stop is not None:
            covered = self._covered(first, stop)
            if covered:
                return self._table(covered, first, stop)
        self.session.open()
        stop = self._closed(first, stop)
        first = self._begin(first, stop)
        spans = {
            period: (max(first, period.start), min(stop, period.end))
            for period in months(first, stop)
        }
        missing = [period for period in spans if not covers(self._keeps(period), *spans[period])]
        if missing:
            self._fetch(missing, spans)
        loaded = [month for period in spans if (month := self._keeps(period))]
        return self._table(loaded, first, stop)

    def instead(self) -> str:
        """What can be done where nothing answers."""
        if self.session.venue.is_local:
            cure = (
                "Is the simulated exchange still running (load_candles needs it while it loads), "
                "and is this the address that it says?"
            )
        else:
            cure = (
                'Is there a network? If there is, try again later. Without one: source="sample", '
                "the path of a file, or the `url` of a SimulatedExchange."
            )
        name = self.session.venue.name
        entries = [
            entry
            for entry in self.cache.entries()
            if (entry.venue, entry.symbol, entry.timeframe) == (name, self.symbol, self.timeframe)
            and not entry.damaged
        ]
        if not entries:
            return cure
        since, until = min(e.since for e in entries), max(e.until for e in entries)
        return (
            f"{cure} Kept here: {self.symbol} {self.timeframe} between {parse_time(since)} and "
            f"{parse_time(until)} (months: {len(entries)}); a start= and an end= within these "
            "months need no network (see cached_candles())."
        )

    def _covered(self, first: int, stop: int) -> list[Month]:
        """All months of the span if the cache has all of it, else nothing."""
        found = []
        for period in months(first, stop):
            month = self._keeps(period)
            if month is None or not covers(month, max(first, period.start), min(stop, period.end)):
                return []
            found.append(month)
        return found

    def _keeps(self, period: Period) -> Month | None:
        if period.start < 0:  # before 1970
            return None
        if period.name not in self.kept:
            month = self.cache.read(
                self.session.venue.name, self.symbol, self.timeframe, period.name
            )
            self.kept[period.name] = month
            for note in month.notes if month else ():
                _log.warning("%s.", note)
        return self.kept[period.name]

    def _closed(self, first: int | None, stop: int | None) -> int:
        """Where the span ends: no later than the candle that is still forming."""
        self.forming = forming = int(bin_starts(np.array([self.session.now]), self.timeframe)[0])
        if first is not None and first >= forming:
            last = int(bin_starts(np.array([forming - 1]), self.timeframe)[0])
            raise DataError(
                f"from {parse_time(first)} on there are no {self.timeframe} candles yet: by the "
                f"clock of {self.session.venue.called} it is {parse_time(self.session.now)}, and "
                f"the last closed candle opened at {parse_time(last)}. Take an earlier start."
            )
        return forming if stop is None else min(stop, forming)

    def _begin(self, first: int | None, stop: int) -> int:
        """Where the span begins: no earlier than the listing."""
        if first is not None:
            month = self._keeps(next(months(first, first + 1)))
            if month is not None and month.since <= first:
                return first  # whoever loaded it has asked
        self.listing = self.session.rest.first_candle(self.symbol, self.timeframe)
        wanted = self.listing if first is None else first
        if self.may_begin_later:
            wanted = max(wanted, self.listing)
        if wanted < self.listing or stop <= self.listing:
            raise self._before_the_listing(stop)
        return wanted

    def _before_the_listing(self, stop: int) -> DataError:
        venue, listing = self.session.venue, parse_time(self.listing)
        if self.forming <= self.listing:
            return none_closed_yet(venue, self.symbol, self.timeframe)
        start = f'start="{listing:%Y-%m-%d %H:%M:%S}"'.replace(':00"', '"')
        cure = f"begins earlier. Say {start}, or leave start= out."
        if stop <= self.listing:
            cure = (
                f"ends before {parse_time(stop)}. Say an end= after that, and {start} or no start=."
            )
        return DataError(
            f"{venue.called} has {self.symbol} {self.timeframe} from {listing} on; the span asked "
            f"for {cure}"
        )

    def _fetch(self, missing: list[Period], spans: dict[Period, tuple[int, int]]) -> None:
        # What is kept of a month begins perhaps after the span: then all between is asked for too.
        kept = {period: self._joinable(period) for period in missing}
        reach = [*(spans[period][1] for period in missing), *(m.since for m in kept.values() if m)]
        pages = Pages(self.session.rest, self.symbol, self.timeframe, max(reach))
        for period in self._shown(missing):
            (start, end), month = spans[period], kept[period]
            part = Part(start, month)
            begun, least = part.until, month.until - month.since if month else 0
            try:
                if month is not None and start < month.since:
                    self._complete(part, period, month.since, pages)
                    part.join(month)
                self._complete(part, period, end, pages)
            finally:  # an interrupt too leaves what is there by then
                if part.until > begun and part.length >= least:
                    self._keep(period, part.month())

    def _shown(self, missing: list[Period]) -> Iterable[Period]:
        """The months, with a progress bar if one is wanted."""
        if not self.progress:
            return missing
        from tqdm.auto import tqdm

        quiet = bool(os.environ.get("TQDM_DISABLE"))  # which tqdm's bar for notebooks overlooks
        label = f"{self.symbol} {self.timeframe}"
        bar: Iterable[Period] = tqdm(missing, label, unit="month", leave=False, disable=quiet)
        return bar

    def _joinable(self, period: Period) -> Month | None:
        """What is kept of a month, unless it begins in the future.

        A simulated exchange may be started anew, and earlier in its market than the last time.
        """
        month = self._keeps(period)
        return None if month is not None and month.since > self.forming else month

    def _complete(self, part: Part, period: Period, end: int, pages: Pages) -> None:
        """Let ``part`` grow until ``end`` at least."""
        if part.until >= end:
            return
        length = duration(self.timeframe)
        if length <= _COARSEST_IN_ARCHIVES and self._month_from_archive(part, period, end):
            return
        if DAY // length > PAGE:  # else one page has more than a day's archive
            self._days_from_archives(part, end, pages)
        for piece in pages.read(part.until, end):
            part.add(piece)

    def _month_from_archive(self, part: Part, period: Period, end: int) -> bool:
        """Take the whole month at once, if its archive is there and worth it."""
        short = end - part.until <= WEEK  # and then a month of seconds is too much
        if period.end > self.session.now or (short and (part.pieces or self.timeframe == "1s")):
            return False
        since = part.since if part.pieces else max(period.start, self.listing)
        piece, notes = self._archive(period)
        part.note(notes)
        if piece is not None:
            part.begin_anew(since, piece.cut(since, period.end))
        return piece is not None

    def _days_from_archives(self, part: Part, end: int, pages: Pages) -> None:
        for day in days(part.until, end):
            if day.end > self.session.now:
                return
            piece, notes = self._archive(day)
            part.note(notes)
            if piece is not None:
                part.add(piece.cut(part.until, day.end))
            elif notes:  # this day is damaged, the next one may not be
                for piece in pages.read(part.until, min(day.end, end)):
                    part.add(piece)
            else:
                return  # nor are there any of later days

    def _archive(self, period: Period) -> tuple[Piece | None, tuple[str, ...]]:
        session = self.session
        assert session.transport is not None  # the session is open
        return fetch(session.transport, session.venue, self.symbol, self.timeframe, period)

    def _table(self, loaded: list[Month], first: int, stop: int) -> pd.DataFrame:
        """The months' candles as one table, cut to the span."""
        times = np.concatenate([month.times for month in loaded])
        low, high = np.searchsorted(times, [first, stop])
        venue = self.session.venue
        if low == high:
            raise DataError(
                f"{venue.called} has no {self.timeframe} candles of {self.symbol} between "
                f"{parse_time(first)} and {parse_time(stop)}: trading was halted, or had ended. "
                "Widen the span."
            )
        values = {
            name: np.concatenate([month.values[name] for month in loaded])[low:high]
            for name in loaded[0].values
        }
        table = pd.DataFrame(values, index=from_ms(times[low:high]), copy=False)
        table.attrs = {"source": venue.label, "symbol": self.symbol}
        return table

    def _keep(self, period: Period, month: Month) -> None:
        self.kept[period.name] = month
        if not self.can_keep:
            return
        try:
            self.cache.write(
                self.session.venue.name, self.symbol, self.timeframe, period.name, month
            )
        except CacheError as error:
            self.can_keep = False
            warnings.warn(
                f"the candles are loaded, but not kept for the next time: {error}", stacklevel=2
            )


def _openings(
    start: pd.Timestamp | None, end: pd.Timestamp | None, timeframe: str
) -> tuple[int | None, int | None]:
    """The open times (ms UTC) that a span begins and ends at; None stays None."""
    first = None if start is None else _opening(start, timeframe)
    stop = None if end is None else _opening(end, timeframe)
    if first is not None and first == stop:
        raise DataError(f"no {timeframe} candle opens between {start} and {end}. Widen the span.")
    return first, stop


def _opening(time: pd.Timestamp, timeframe: str) -> int:
    """The first open time of a candle at or after ``time``, ms UTC."""
    whole = int(to_ms(pd.DatetimeIndex([time]))[0])
    whole += from_ms(np.array([whole]))[0] < time
    begin = int(bin_starts(np.array([whole], dtype=np.int64), timeframe)[0])
    return begin if begin == whole else next_start(begin, timeframe)
