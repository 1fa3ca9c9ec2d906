"""Floats of a candle table as exact decimals: integers of the coarsest unit that holds them all."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from ..candles import Floats
from ..errors import DataError
from ..timeframes import Times, from_ms
from .records import PLACES

Integers = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
_SURE = 2.0**50  # below it scaling a float64 can't miss the whole number that is meant
_LARGEST = 2**63 - 1


class Decimals:
    """Columns of floats as integers in units of 10**-``places``, the fewest that hold all.

    Exact: the decimal that is meant is the shortest one which gives the float. Raises `DataError`,
    naming the first bad row, where it has more than 8 places.
    """

    def __init__(self, columns: dict[str, Floats], times: Times) -> None:
        self.places = 0
        for values in columns.values():  # a few rows say how many places to expect
            self.places = _places_of(values[:: max(1, len(values) // 256)], self.places)
        for values in columns.values():
            self.places = _places_of(values, self.places)
        self.columns = {
            name: _integers(name, values, times, self.places) for name, values in columns.items()
        }

    @property
    def unit(self) -> int:
        """How many units of 1e-8 one of these units is."""
        return int(10 ** (PLACES - self.places))


class Totals:
    """Sums over any span of rows, exact however large: prefix sums that know where they wrapped."""

    def __init__(self, values: Integers, unit: int = 1) -> None:
        self._unit = unit
        self._sums = np.zeros(len(values) + 1, dtype=np.uint64)
        np.cumsum(values, dtype=np.uint64, out=self._sums[1:])
        # A value is below 2**63, so the running sum falls exactly where it passed 2**64.
        self._wraps = np.flatnonzero(self._sums[1:] < self._sums[:-1]) + 1

    @classmethod
    def of(cls, values: np.ndarray[Any, Any]) -> Totals:
        """From integers of any size in units of 1e-8; what is too large is kept more coarsely."""
        unit = 1
        while int(values.max()) // unit > _LARGEST:
            unit *= 10
        return cls((values // unit).astype(np.int64), unit)

    def sum(self, first: int, until: int) -> int:
        """Sum of the rows first..until-1, in units of 1e-8 (or as they came)."""
        return self._before(until) - self._before(first)

    def sums(self, edges: Integers) -> list[int]:
        """Sum of the rows from each edge up to the next: one less than there are edges."""
        below = self._sums[edges].tolist()
        if len(self._wraps):
            wraps = np.searchsorted(self._wraps, edges, "right").tolist()
            below = [low + (high << 64) for low, high in zip(below, wraps, strict=True)]
        return [(high - low) * self._unit for low, high in pairwise(below)]

    def _before(self, row: int) -> int:
        wraps = int(np.searchsorted(self._wraps, row, "right")) if len(self._wraps) else 0
        return (int(self._sums[row]) + (wraps << 64)) * self._unit


def _scaled(values: Floats, places: int) -> tuple[Floats, Bools, Bools]:
    """Values in units of 10**-places; which of them are whole; which are too large to tell so."""
    whole = np.rint(values * 10.0**places)
    # Integers this small divide to the nearest float: equal means that this decimal is meant.
    return whole, whole / 10.0**places == values, whole >= _SURE


def _places_of(values: Floats, least: int) -> int:
    """The fewest places, at least ``least``, that hold all values; 8 where none do."""
    for places in range(least, PLACES):
        _, fits, large = _scaled(values, places)
        if (fits | large).all():
            exponents = (
                Decimal(repr(value)).normalize().as_tuple().exponent
                for value in values[large].tolist()
            )
            return min(PLACES, max([places, *(-int(exponent) for exponent in exponents)]))
    return PLACES


def _integers(name: str, values: Floats, times: Times, places: int) -> Integers:
    whole, fits, large = _scaled(values, places)
    rows = np.flatnonzero(large).tolist()
    scaled = {row: Decimal(repr(float(values[row]))).scaleb(places) for row in rows}
    fits[rows] = [value == int(value) for value in scaled.values()]
    if not fits.all():
        row = int(np.argmin(fits))
        raise DataError(
            f"{name} is {float(values[row])!r} at {from_ms(times)[row]}; an exchange writes at "
            f"most {PLACES} decimals (such values in all: {int((~fits).sum())}). "
            f"Round them: candles.round({PLACES})."
        )
    beyond = [row for row, value in scaled.items() if value > _LARGEST]
    if beyond:
        raise DataError(
            f"{name} is {float(values[beyond[0]])!r} at {from_ms(times)[beyond[0]]}, too large to "
            f"be kept with {places} decimals as other rows need them. Round the table: "
            f"candles.round(2)."
        )
    whole[large] = 0
    result: Integers = whole.astype(np.int64)
    for row, value in scaled.items():
        result[row] = int(value)
    return result
