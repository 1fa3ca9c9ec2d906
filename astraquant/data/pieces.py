"""Candles on their way into a month: pieces of it, checked, and the part that has arrived."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..candles import COLUMNS, EXTRA_COLUMNS, Floats, find_bad
from ..errors import DataError
from ..timeframes import Times, bin_starts, from_ms, parse_time
from .formats import Columns
from .months import Month

_log = logging.getLogger("astraquant.data")


class Piece(NamedTuple):
    """Candles in order: all that the venue has, from where the piece was asked until ``until``."""

    times: Times
    values: dict[str, Floats]
    until: int
    notes: tuple[str, ...] = ()

    def cut(self, start: int, end: int) -> Piece:
        """The part with start <= open time < end."""
        low, high = np.searchsorted(self.times, [start, end])
        values = {name: array[low:high] for name, array in self.values.items()}
        return Piece(self.times[low:high], values, min(self.until, end), self.notes)


def check_rows(found: Columns, name: str, timeframe: str, start: int, end: int) -> Piece:
    """The rows of one archive or page as candles of [start, end); ``name`` begins every message.

    Rows that don't open on the timeframe's grid (the venue has some) are left out, with a note.
    Raises `DataError` for a missing column, times out of order, twice or elsewhere, bad values.
    """
    for column in EXTRA_COLUMNS:  # the others are there, or it couldn't be parsed
        if column not in found.values:
            raise DataError(f"{name} has no column {column!r}.")
    times = found.times
    if (np.diff(times) <= 0).any():
        row = int(np.argmax(np.diff(times) <= 0)) + 1
        raise DataError(f"{name}: row {row} doesn't come after the one before it.")
    if len(times) and not (start <= times[0] and times[-1] < end):
        wrong = times[0] if times[0] < start else times[-1]
        raise DataError(
            f"{name} has a row of {parse_time(int(wrong))}, not between {parse_time(start)} and "
            f"{parse_time(end)}."
        )
    values = {column: found.values[column] for column in (*COLUMNS, *EXTRA_COLUMNS)}
    problem = find_bad(pd.DataFrame(values, index=from_ms(times), copy=False))
    if problem:
        raise DataError(f"{name}: {problem}.")
    odd = bin_starts(times, timeframe) != times
    if not odd.any():
        return Piece(times, values, end)
    note = (
        f"{name}: {int(odd.sum())} rows don't open on a bar of {timeframe} and are left out, the "
        f"first at {parse_time(int(times[odd][0]))}"
    )
    kept = {column: array[~odd] for column, array in values.items()}
    return Piece(times[~odd], kept, end, (note,))


class Part:
    """A month while it is being loaded: all candles of since <= open time < until, growing."""

    def __init__(self, since: int, kept: Month | None) -> None:
        self.since = self.until = since
        self.pieces: list[Piece] = []
        self.notes: list[str] = []
        if kept is not None and kept.since <= since:
            self.since = self.until = kept.since
            self.join(kept)

    @property
    def length(self) -> int:
        """The time it covers, ms."""
        return self.until - self.since

    def join(self, kept: Month) -> None:
        """Take what the cache has from here on."""
        if kept.since <= self.until < kept.until:
            self.notes += [note for note in kept.notes if note not in self.notes]
            self.add(Piece(kept.times, kept.values, kept.until).cut(self.until, kept.until))

    def add(self, piece: Piece) -> None:
        """Go on with a piece that begins where this ends."""
        self.pieces.append(piece)
        self.until = piece.until
        self.note(piece.notes)

    def begin_anew(self, since: int, piece: Piece) -> None:
        """Take a piece in place of all that was there; it begins at ``since``."""
        self.since, self.pieces = since, []
        self.add(piece)

    def note(self, notes: tuple[str, ...]) -> None:
        """Tell the log what is odd, and the month itself for later."""
        for note in notes:
            if note not in self.notes:
                _log.warning("%s.", note)
                self.notes.append(note)

    def month(self) -> Month:
        """What has arrived, as the cache keeps it."""
        names = (*COLUMNS, *EXTRA_COLUMNS)
        times = np.concatenate([piece.times for piece in self.pieces])
        values = {
            name: np.concatenate([piece.values[name] for piece in self.pieces]) for name in names
        }
        return Month(times, values, self.since, self.until, tuple(self.notes))


def covers(month: Month | None, start: int, end: int) -> bool:
    """Whether a month that is kept, if one is, has all of [start, end)."""
    return month is not None and month.since <= start and end <= month.until
