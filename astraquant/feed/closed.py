"""Closed candles in order of time: cheap to append to, and a candle table when asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

import numpy as np
import pandas as pd

from ..candles import COLUMNS, EXTRA_COLUMNS, Candle, Floats, check_candles, times_of
from ..errors import DataError
from ..timeframes import Times, from_ms

_NAMES: Final = Candle._fields[1:]


class ClosedCandles:
    """Columns of numbers that grow at their end (amortised, by the standard library's arrays).

    With each candle goes the venue time as of which it is known (``as_of``; 0: nobody said).
    """

    def __init__(self) -> None:
        self.times = array("q")
        self._as_of = array("q")
        self._values = [array("d") for _ in _NAMES]
        self._attrs: dict[Hashable, Any] = {}
        self._table: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.times)

    def load(self, table: pd.DataFrame) -> None:
        """Begin with a candle table (checked)."""
        self._table = None
        self._attrs = dict(table.attrs)
        self.times = array("q", times_of(table).tobytes())
        self._as_of = array("q", bytes(8 * len(table)))
        unknown = np.full(len(table), np.nan)
        for k, name in enumerate(_NAMES):
            values = table[name].to_numpy() if name in table else unknown
            self._values[k] = array("d", np.ascontiguousarray(values, np.float64).tobytes())

    def row(self, time: int) -> int:
        """The row of the candle that opens at ``time``, -1 if there is none."""
        row = bisect_left(self.times, time)
        return row if row < len(self.times) and self.times[row] == time else -1

    def count(self, start: int, end: int) -> int:
        """How many candles open in [start, end)."""
        return bisect_left(self.times, end) - bisect_left(self.times, start)

    def candle(self, row: int) -> Candle:
        """The candle of a row."""
        return Candle(self.times[row], *(column[row] for column in self._values))

    def as_of(self, row: int) -> int:
        """The venue time as of which the candle of a row is known."""
        return self._as_of[row]

    def add(self, candle: Candle, as_of: int) -> None:
        """Take a candle that is not there yet."""
        self._table = None
        if not self.times or candle.time > self.times[-1]:
            self.times.append(candle.time)
            self._as_of.append(as_of)
            for column, value in zip(self._values, candle[1:], strict=True):
                column.append(value)
            return
        row = bisect_left(self.times, candle.time)
        self.times.insert(row, candle.time)
        self._as_of.insert(row, as_of)
        for column, value in zip(self._values, candle[1:], strict=True):
            column.insert(row, value)

    def replace(self, row: int, candle: Candle, as_of: int) -> None:
        """Put another version in the place of a candle."""
        self._table = None
        self._as_of[row] = as_of
        for column, value in zip(self._values, candle[1:], strict=True):
            column[row] = value

    def confirm(self, row: int, as_of: int) -> None:
        """The candle of a row is still the same as of a later time."""
        self._as_of[row] = max(as_of, self._as_of[row])

    def table(self) -> pd.DataFrame:
        """The candle table; an extra column is there if every candle knows it.

        It is made anew only if something was closed or revised; who changes the result changes a
        copy of its own.
        """
        if self._table is None:
            columns = [np.array(column, np.float64) for column in self._values]
            known = {
                name: column
                for name, column in zip(_NAMES, columns, strict=True)
                if name in COLUMNS or (len(column) and not np.isnan(column).any())
            }
            values = np.stack(list(known.values())).T  # one block: such a frame is copied at once
            index = from_ms(np.array(self.times, np.int64))
            self._table = pd.DataFrame(values, index=index, columns=list(known), copy=False)
            self._table.attrs = self._attrs
        return self._table.copy(deep=False)


def check_table(candles: pd.DataFrame) -> pd.DataFrame:
    """Return a candle table that has no columns but those of a `Candle`, or raise `DataError`."""
    table = check_candles(candles)
    others = [name for name in table.columns if name not in (*COLUMNS, *EXTRA_COLUMNS)]
    if others:
        raise DataError(
            f"the candles have the column(s) {others}, which no stream brings. Leave them out: "
            f"candles.drop(columns={others})."
        )
    return table


def candles_of(table: pd.DataFrame) -> list[Candle]:
    """The rows of a candle table (checked)."""
    unknown = [np.nan] * len(table)
    columns: Iterable[list[Any]] = chain(
        [times_of(table).tolist()],
        (table[name].tolist() if name in table else unknown for name in _NAMES),
    )
    return [Candle._make(row) for row in zip(*columns, strict=True)]


def rows_of(times: Times, values: Mapping[str, Floats]) -> list[Candle]:
    """Columns that hold each field of a `Candle` (checked)."""
    columns = [values[name].tolist() for name in _NAMES]
    return [Candle._make(row) for row in zip(times.tolist(), *columns, strict=True)]


def same(one: Candle, other: Candle) -> bool:
    """Whether two candles say the same; unknown (NaN) is like unknown."""
    if one == other:
        return True
    pairs = zip(one, other, strict=True)
    return all(a == b or (a != a and b != b) for a, b in pairs)  # noqa: PLR0124 - NaN
