"""The candles of several symbols made ready for one account: arrays of rows × symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .candles import COLUMNS, content_hash
from .errors import DataError
from .resampling import resample
from .symbols import is_joined, join_candles, split_candles

Array = np.ndarray[Any, np.dtype[Any]]
_LENGTH = re.compile(r"(\d{1,6})([mhdw])", re.ASCII)


@dataclass(frozen=True)
class Universe:
    """Candles of ``symbols``, a row for each time at which any of them has a bar.

    ``times``: int64 ms (open times). ``columns``: float64 arrays (rows, symbols) by the candle
    table's names, NaN where a symbol has no bar; nothing is filled. ``first``: the first row that
    is evaluated; earlier ones are only history. ``table``: the same as a joined table; ``source``:
    that as it was given, before resampling and cutting.
    """

    symbols: tuple[str, ...]
    timeframe: str
    times: Array
    columns: Mapping[str, Array]
    first: int
    table: pd.DataFrame
    source: pd.DataFrame

    @cached_property
    def close_times(self) -> Array:
        """When each row's bars close (int64 ms)."""
        if self.timeframe == "1M":
            return np.array([timeframes.next_start(int(t), "1M") for t in self.times], np.int64)
        closes: Array = self.times + timeframes.duration(self.timeframe)
        return closes

    @cached_property
    def first_bars(self) -> Array:
        """The row of each symbol's first bar; the number of rows where it has none."""
        there = ~np.isnan(self.columns["close"])
        return np.where(there.any(axis=0), there.argmax(axis=0), len(self.times))

    @property
    def start(self) -> int:
        """The row of the first decision: the one before `first`, where there is one."""
        return max(self.first - 1, 0)

    @property
    def index(self) -> pd.DatetimeIndex:
        """The times of the evaluated rows."""
        return pd.DatetimeIndex(self.table.index[self.first :])

    def time_of(self, row: int) -> pd.Timestamp:
        """The open time of a row."""
        return timeframes.from_ms(self.times[row : row + 1])[0]

    def evaluated(self, name: str) -> Array:
        """A column of the evaluated rows."""
        return self.columns[name][self.first :]

    def candles_of(self, symbol: str) -> pd.DataFrame:
        """The candle table of one symbol, warm-up included, without the rows it does not have."""
        place = self.symbols.index(symbol)
        there = ~np.isnan(self.columns["close"][:, place])
        values = {name: array[there, place] for name, array in self.columns.items()}
        return pd.DataFrame(values, index=timeframes.from_ms(self.times[there]))

    def window(self, row: int, length: int) -> slice:
        """The rows of the ``length`` milliseconds up to the close of ``row``, as one knows them."""
        since = self.close_times[row] - length
        return slice(int(np.searchsorted(self.times, since)), row + 1)

    def is_old_enough(self, row: int, length: int) -> Array:
        """Which symbols had their first bar ``length`` milliseconds before the close of ``row``."""
        since = int(np.searchsorted(self.times, self.close_times[row] - length, side="right"))
        return self.first_bars < since

    def ends_of(self, timeframe: str) -> Array:
        """Rows whose close is the first at or after the end of a bin of ``timeframe`` (bool)."""
        before = np.concatenate([self.times[:1], self.close_times[:-1]])
        ends: Array = timeframes.bin_starts(self.close_times, timeframe) > before
        return ends

    def cut(self, rows: int) -> Universe:
        """What was known after the first ``rows`` rows: the future is not there."""
        columns = {name: values[:rows] for name, values in self.columns.items()}
        times, table = self.times[:rows], self.table.iloc[:rows]
        return replace(self, times=times, columns=columns, table=table)

    def with_another_future(self, rows: int, factor: float) -> Universe:
        """All prices and volumes after the first ``rows`` rows multiplied by ``factor``."""
        columns = {name: values.copy() for name, values in self.columns.items()}
        for values in columns.values():
            values[rows:] *= factor
        return replace(self, columns=columns)

    def moved(self, length: int) -> Universe:
        """The same bars ``length`` milliseconds later."""
        table = self.table.set_axis(timeframes.from_ms(self.times + length), axis=0)
        return replace(self, times=self.times + length, table=table)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each symbol's candles as they were given, see `content_hash`."""
        tables = split_candles(self.source)
        return {symbol: content_hash(candles) for symbol, candles in tables.items()}


def make_universe(
    candles: pd.DataFrame | Mapping[str, pd.DataFrame],
    timeframe: str | None = None,
    start: object = None,
    end: object = None,
) -> Universe:
    """Check, join, resample and cut candles: a joined table, or candle tables by symbol.

    Raises `DataError` for candles that are none, and where no bar is left to evaluate.
    """
    source = table = _joined(candles)
    base = _timeframe_of(table, timeframe)
    if timeframe is not None and timeframe != base:
        table = _resampled(table, timeframe)
        base = timeframe
    first, last = 0, len(table)
    if start is not None:
        first = int(table.index.searchsorted(timeframes.parse_time(start, "start")))
    if end is not None:
        last = int(table.index.searchsorted(timeframes.parse_time(end, "end")))
    if first >= last:
        raise DataError(
            f"no {base} bar to evaluate with start={start!r}, end={end!r}; the candles are "
            f"{table.index[0]} to {table.index[-1]}"
        )
    table = table.iloc[:last]
    symbols = tuple(dict.fromkeys(map(str, table.columns.get_level_values(0))))
    columns = {
        name: np.ascontiguousarray(table.xs(name, axis=1, level=1)[list(symbols)].to_numpy(float))
        for name in COLUMNS
    }
    for values in columns.values():
        values.flags.writeable = False
    times = timeframes.to_ms(pd.DatetimeIndex(table.index))
    return Universe(symbols, base, times, columns, first, table, source)


def _joined(candles: pd.DataFrame | Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    if isinstance(candles, Mapping):
        return join_candles(candles)
    if isinstance(candles, pd.DataFrame) and not is_joined(candles):
        raise DataError(
            "a portfolio takes the candles of several symbols: a dict such as "
            '{"BTCUSDT": bitcoin, "ETHUSDT": ether}, or what load_candles gives for a list of '
            "symbols. For one symbol alone use backtest."
        )
    return join_candles(split_candles(candles))  # checks each symbol's candles


def _timeframe_of(table: pd.DataFrame, timeframe: str | None) -> str:
    if timeframe is not None:
        timeframes.check_timeframe(timeframe)
    if len(table) == 1 and timeframe is not None:
        return timeframe
    return timeframes.infer_timeframe(timeframes.to_ms(pd.DatetimeIndex(table.index)))


def _resampled(table: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    bars = {}
    for symbol, candles in split_candles(table).items():
        try:
            bars[symbol] = resample(candles, timeframe)
        except DataError as error:
            raise DataError(f"{symbol}: {error}") from error
        if len(bars[symbol]) == 0:
            raise DataError(
                f"the {len(candles):,} candles of {symbol}, from {candles.index[0]} on, hold no "
                f"whole bar of {timeframe}. Leave it out, or take a longer span or a shorter "
                "timeframe"
            )
    return join_candles(bars)


def parse_length(text: object, what: str) -> int:
    """Milliseconds of a length of time such as "12h", "30d" or "4w"."""
    found = _LENGTH.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or int(found[1]) == 0:
        raise DataError(
            f"{what}={text!r}: expected a number of minutes, hours, days or weeks, such as "
            '"90m", "12h", "30d" or "4w".'
        )
    return int(found[1]) * timeframes.duration(f"1{found[2]}")
