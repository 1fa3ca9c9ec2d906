"""The candle table: its columns, its validation, its gaps and its fingerprint.

A candle table is a DataFrame with the index ``time`` (open times, unique, increasing, UTC) and
float64 columns ``open high low close volume``; `EXTRA_COLUMNS` may follow. Missing bars are absent
rows, never filled. There is no NaN.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ._compile import as_input, compiled
from .errors import DataError
from .timeframes import DURATIONS, Times, from_ms, infer_timeframe, next_start, to_ms

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")
EXTRA_COLUMNS = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
SUMS = ("volume", *EXTRA_COLUMNS)  # what adds up when bars are joined

Floats = np.ndarray[Any, np.dtype[np.float64]]
_UNITS_PER_MS = {"us": 10**3, "ns": 10**6}


class Candle(NamedTuple):
    """One OHLCV record. ``time``: open time, int ms UTC. An extra that is NaN is not known."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float = math.nan
    trades: float = math.nan
    taker_buy_volume: float = math.nan
    taker_buy_quote_volume: float = math.nan


def candle_table(records: Iterable[Candle]) -> pd.DataFrame:
    """Candles as a table; an extra column is there if every candle knows it."""
    rows = list(records)
    columns = list(zip(*rows, strict=True)) or [()] * len(Candle._fields)
    values = {
        name: np.array(column, dtype=np.float64)
        for name, column in zip(Candle._fields[1:], columns[1:], strict=True)
    }
    kept = {
        name: array
        for name, array in values.items()
        if name in COLUMNS or (rows and not np.isnan(array).any())
    }
    return check_candles(pd.DataFrame(kept, index=from_ms(np.array(columns[0], dtype=np.int64))))


def check_candles(candles: pd.DataFrame) -> pd.DataFrame:
    """Return ``candles`` as a candle table, or raise `DataError` naming the first bad time.

    A table that is already right is returned itself. Otherwise a copy is made in which the index is
    in UTC and called ``time``, and numbers of another type are float64 (if that is exact). Columns
    other than the known ones are left alone. Nothing is sorted, filled or dropped.
    """
    if not isinstance(candles, pd.DataFrame):
        raise DataError(
            f"candles are a {type(candles).__name__}; expected a pandas DataFrame with the index "
            f"`time` and the columns {', '.join(COLUMNS)}. read_candles(path) makes one."
        )
    check_columns(candles)
    table = _with_index(candles)
    table = _with_floats(table)
    _check_values(table)
    return table


def times_of(candles: pd.DataFrame) -> Times:
    """Open times of a candle table as int64 milliseconds (UTC)."""
    return to_ms(pd.DatetimeIndex(candles.index))


def is_joined(table: object) -> bool:
    """Tell whether a table holds several symbols, as `symbols.join_candles` makes it."""
    return isinstance(table, pd.DataFrame) and table.columns.nlevels == 2


def check_columns(candles: pd.DataFrame) -> None:
    """Raise `DataError` unless there is exactly one of each of the columns in `COLUMNS`."""
    if is_joined(candles):
        symbols = list(dict.fromkeys(map(str, candles.columns.get_level_values(0))))
        one = symbols[0] if symbols else "BTCUSDT"
        raise DataError(
            f"these are the candles of several symbols ({', '.join(symbols) or 'none'}); expected "
            f'those of one. Take it: candles["{one}"].dropna(), or go through all of them: '
            "split_candles(candles). A sweep takes them together."
        )
    have = [str(name) for name in candles.columns]
    for name in COLUMNS:
        if name not in have:
            near = [other for other in have if other.strip().lower() in (name, name[:3], name[0])]
            cure = f' Rename it: candles.rename(columns={{"{near[0]}": "{name}"}}).' if near else ""
            raise DataError(f"the candles have no column {name!r}; they have {have}.{cure}")
    twice = [name for name in (*COLUMNS, *EXTRA_COLUMNS) if have.count(name) > 1]
    if twice:
        raise DataError(f"the candles have the column {twice[0]!r} twice; expected it once.")


def find_gaps(candles: pd.DataFrame) -> pd.DataFrame:
    """List the missing bars, one row per hole: ``start``, ``end`` (times, UTC), ``missing`` (int).

    A hole is half-open, [start, end): ``start`` is the open time of its first missing bar, ``end``
    that of the next bar which is there. The timeframe is the table's smallest spacing. Bars without
    volume are bars, not gaps; before the first and after the last candle nothing is missing. Of a
    table of several symbols each is looked through alone, and a first column, ``symbol``, says
    whose bars they are.
    """
    if is_joined(candles):
        return _gaps_by_symbol(candles)
    times = times_of(check_candles(candles))
    if len(times) < 2:
        return _gap_table(times[:0], times[:0], times[:0])
    timeframe = infer_timeframe(times)
    if timeframe == "1M":  # months have no fixed length: follow the calendar
        after = np.array([next_start(int(time), timeframe) for time in times], dtype=np.int64)
    else:
        after = times + DURATIONS[timeframe]
    holes = np.flatnonzero(after[:-1] != times[1:])
    start, end = after[holes], times[holes + 1]
    if timeframe == "1M":
        missing = _months(end) - _months(start)
    else:  # rounded up: a bar off the grid leaves a part of a bar missing
        missing = -((start - end) // DURATIONS[timeframe])
    return _gap_table(start, end, missing)


def content_hash(candles: pd.DataFrame) -> str:
    """SHA-256 (hex) of the times (int64 ms) and of open, high, low, close, volume (float64).

    Little-endian, one array after the other. Extra columns, attrs and the index's unit or zone
    don't count: the same candles have the same hash on every machine.
    """
    table = check_candles(candles)
    digest = hashlib.sha256(times_of(table).astype("<i8").tobytes())
    for name in COLUMNS:
        digest.update(table[name].to_numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def _months(times: Times) -> Times:
    months: Times = times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    return months


def _gap_table(start: Times, end: Times, missing: Times) -> pd.DataFrame:
    return pd.DataFrame({"start": from_ms(start), "end": from_ms(end), "missing": missing})


def _gaps_by_symbol(table: pd.DataFrame) -> pd.DataFrame:
    from .symbols import split_candles  # which is made of what is here

    gaps = {symbol: find_gaps(candles) for symbol, candles in split_candles(table).items()}
    names = [symbol for symbol, found in gaps.items() for _ in range(len(found))]
    listed = pd.concat(gaps.values(), ignore_index=True)
    listed.insert(0, "symbol", pd.Series(names, dtype="str"))
    return listed


def _with_index(candles: pd.DataFrame) -> pd.DataFrame:
    """The table with a right index; only the zone and the name are mended."""
    index = candles.index
    if not isinstance(index, pd.DatetimeIndex):
        raise DataError(
            f"the candles' index is {_with_article(type(index).__name__)}; expected times in UTC. "
            f"{_cure_of(index)}"
        )
    if index.tz is None:
        raise DataError(
            f"the candles' times have no time zone (first: {index[0] if len(index) else None}). "
            'If they are UTC: candles.tz_localize("UTC").'
        )
    if index.hasnans:
        row = int(np.argmax(index.isna()))
        raise DataError(f"row {row} of the candles has no time (NaT). Drop it, or load them again.")
    _check_order(index)
    if str(index.tz) == "UTC" and index.name == "time":
        return candles
    return candles.set_axis(index.tz_convert("UTC").rename("time"), axis=0)


def _with_article(name: str) -> str:
    return f"an {name}" if name[:1] in "AEIOU" else f"a {name}"


def _cure_of(index: pd.Index[Any]) -> str:
    """How an index that holds something else than times becomes one of times."""
    if isinstance(index, pd.RangeIndex):
        return 'Say which column holds them: candles.set_index("time").'
    if isinstance(index, pd.PeriodIndex):
        return 'Take the start of each: candles.to_timestamp().tz_localize("UTC").'
    if isinstance(index, pd.MultiIndex):
        return 'Take one market out of it: candles.xs("BTCUSDT"), with only the times left.'
    unit = 'unit="ms", ' if pd.api.types.is_numeric_dtype(index.dtype) else ""
    told = " if they are milliseconds" if unit else ""
    return f"Convert them{told}: candles.set_axis(pd.to_datetime(candles.index, {unit}utc=True))."


def _check_order(index: pd.DatetimeIndex) -> None:
    times = index.asi8
    if _count_rising(as_input(times)) < len(times) - 1:
        row = int(np.argmin(times[1:] > times[:-1])) + 1
        if times[row] == times[row - 1]:
            count = int(index.duplicated().sum())
            raise DataError(
                f"the time {index[row]} is there twice (such rows in all: {count}); expected one "
                'candle a time. If the later one is right: read_candles(path, repair="last"), or '
                'candles[~candles.index.duplicated(keep="last")].'
            )
        raise DataError(
            f"the candles are not in order: {index[row]} comes after {index[row - 1]}. "
            "Sort them: candles.sort_index()."
        )
    per_ms = _UNITS_PER_MS.get(index.unit)
    if per_ms is not None:
        fractions = times // per_ms * per_ms != times
        if fractions.any():
            raise DataError(
                f"the time {index[int(np.argmax(fractions))]} is no whole millisecond; candles "
                'open on one. Round them: candles.set_axis(candles.index.floor("ms")).'
            )


@compiled
def _count_rising(times: Times) -> int:
    count = 0
    for i in range(1, len(times)):
        count += times[i] > times[i - 1]
    return count


def _with_floats(candles: pd.DataFrame) -> pd.DataFrame:
    """The table with its known columns as float64, cast only where nothing is lost."""
    dtypes = dict(zip(candles.columns, candles.dtypes, strict=True))
    cast: dict[str, Floats] = {}
    for name in (*COLUMNS, *EXTRA_COLUMNS):
        dtype = dtypes.get(name)
        if dtype is None or dtype == np.float64:
            continue
        number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
        if not number or pd.api.types.is_complex_dtype(dtype):
            raise DataError(
                f"the column {name!r} holds {dtype}, expected numbers (float64). "
                f'Convert it: candles.astype({{"{name}": float}}).'
            )
        cast[name] = candles[name].to_numpy(dtype=np.float64, na_value=np.nan)
        if pd.api.types.is_integer_dtype(dtype):
            _check_exact(candles, name, cast[name])
    return candles.assign(**cast) if cast else candles


def _check_exact(candles: pd.DataFrame, name: str, cast: Floats) -> None:
    large = np.abs(cast) >= 2**53  # beyond it a float64 skips whole numbers
    if large.any():
        row = int(np.argmax(large))
        raise DataError(
            f"{name} is {candles[name].iloc[row]} at {candles.index[row]}, too large to be exact "
            "as a float64. Scale the column down first."
        )


def _check_values(table: pd.DataFrame) -> None:
    problem = find_bad(table)
    if not problem:
        return
    empty = int(table[list(COLUMNS)].isna().all(axis=1).sum())
    if empty:  # as in a table taken out of one of several symbols
        raise DataError(
            f"{problem}. A bar that is missing is an absent row, but here rows have no value at "
            f"all: {empty:,}. Leave them out: candles.dropna()."
        )
    raise DataError(
        f"{problem}. Load these candles again, or drop the row and leave the bar missing: "
        "candles.drop(time)."
    )


def find_bad(table: pd.DataFrame) -> str:
    """What is wrong with the first bad row of a table of float64, and when; "" if none is bad."""
    values = {name: table[name].to_numpy() for name in (*COLUMNS, *EXTRA_COLUMNS) if name in table}
    if _all_good(values):
        return ""
    good = _good_rows(values)
    row = int(np.argmin(good))
    problem = describe_bad({name: float(array[row]) for name, array in values.items()})
    return f"{problem} at {table.index[row]} (bad rows in all: {int((~good).sum())})"


def _all_good(values: dict[str, Floats]) -> bool:
    """Whether no row breaks a rule: each column is read once, nothing is written."""
    inputs = {name: as_input(array) for name, array in values.items()}
    rows = len(inputs["close"])
    # What is needed next comes last, so that the processor still has it in its cache.
    if any(_count_good_sums(inputs[name]) < rows for name in reversed(SUMS) if name in inputs):
        return False
    return bool(_count_good_prices(*(inputs[name] for name in PRICES)) == rows)


# Comparisons are False where a NaN is involved. Good rows are counted, not asked for one by one:
# so the processor compares many at once.
@compiled
def _count_good_prices(open_: Floats, high: Floats, low: Floats, close: Floats) -> int:
    """Rows with 0 < low <= open, close <= high < infinity."""
    count = 0
    for i in range(len(close)):
        count += (
            (low[i] > 0)
            & (high[i] < np.inf)
            & (low[i] <= open_[i])
            & (open_[i] <= high[i])
            & (low[i] <= close[i])
            & (close[i] <= high[i])
        )
    return count


@compiled
def _count_good_sums(values: Floats) -> int:
    """Rows that hold a finite number of 0 or more."""
    count = 0
    for i in range(len(values)):
        count += (values[i] >= 0) & (values[i] < np.inf)
    return count


def _good_rows(values: dict[str, Floats]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The same rules as a mask, to find and count the bad rows."""
    low, high = values["low"], values["high"]
    good = (low > 0) & (high < np.inf)
    for name in ("open", "close"):
        good &= low <= values[name]
        good &= values[name] <= high
    for name in SUMS:
        if name in values:
            good &= values[name] >= 0
            good &= values[name] < np.inf
    return good


def describe_bad(values: dict[str, float]) -> str:
    """What is wrong with the values of one candle, or "" if nothing is."""
    for name, value in values.items():
        if not math.isfinite(value):
            return f"{name} is {value}, expected a finite number,"
        if name in PRICES and value <= 0:
            return f"{name} is {value!r}, expected a price above 0,"
        if value < 0:
            return f"{name} is {value!r}, expected 0 or more,"
    for name in ("open", "close"):
        if values[name] < values["low"]:
            return f"low {values['low']!r} is above {name} {values[name]!r}"
        if values[name] > values["high"]:
            return f"high {values['high']!r} is below {name} {values[name]!r}"
    return ""


def is_synthetic(source: object) -> bool:
    """Tell whether a table's ``attrs["source"]`` says that its prices are simulated."""
    return any(word in str(source).lower() for word in ("synthetic", "simulated"))
