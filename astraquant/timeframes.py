"""Timeframes in Binance's spelling: the only place that knows units of time.

Times are int64 milliseconds since the UTC epoch. Bins are half-open, [start, next start), and
begin at the epoch; weeks begin on Monday, months on the 1st.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ._compile import as_input, compiled
from .errors import DataError

Times = np.ndarray[Any, np.dtype[np.int64]]  # milliseconds since the UTC epoch

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
YEAR = 365 * DAY  # the contract annualises with 365 days

# A month has no fixed length; a twelfth of the contract's year stands for it in annual figures.
DURATIONS: dict[str, int] = {
    "1s": SECOND,
    **{f"{n}m": n * MINUTE for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * HOUR for n in (1, 2, 4, 6, 8, 12)},
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": WEEK,
    "1M": YEAR // 12,
}
TIMEFRAMES = tuple(DURATIONS)
# How else units are written -> one of them here. Without regard to case, but "M" alone is a month.
_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), "1s"),
    **dict.fromkeys(("m", "t", "min", "minute"), "1m"),
    **dict.fromkeys(("h", "hour"), "1h"),
    **dict.fromkeys(("d", "day", "daily"), "1d"),
    **dict.fromkeys(("w", "week", "weekly"), "1w"),
    **dict.fromkeys(("mo", "month", "monthly"), "1M"),
}
_SPELLING = re.compile(rf"(\d{{0,6}})\s*({'|'.join(_UNITS)})", re.IGNORECASE | re.ASCII)
_FIRST_MONDAY = 4 * DAY  # the epoch was a Thursday
_EARLIEST_INTEGER = 10**11  # 1973 in milliseconds; below it somebody meant seconds or a year
# Text without its year would be completed with today; of two times in it the first would be lost.
_ISO_START = re.compile(r"(?!.*:.* \d)\d{4}(-\d\d.*)?")


def check_timeframe(timeframe: object) -> str:
    """Return ``timeframe`` if it is one of Binance's intervals, else raise `DataError`."""
    if isinstance(timeframe, str) and timeframe in DURATIONS:
        return timeframe
    same = _of_equal_length(timeframe) if isinstance(timeframe, str) else ""
    hint = f" Did you mean {same!r}?" if same else ""
    raise DataError(f"unknown timeframe {timeframe!r}.{hint} Known: {', '.join(TIMEFRAMES)}.")


def _of_equal_length(text: str) -> str:
    """The timeframe that another spelling ("60m", "5min", "D") stands for, or ""."""
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        return ""
    count, unit = int(match[1] or 1), match[2]
    name = "1M" if unit == "M" else _UNITS[unit.lower()]
    length = count * DURATIONS[name]
    return next((known for known, other in DURATIONS.items() if other == length), "")


def duration(timeframe: str) -> int:
    """Length of one bar in milliseconds (for "1M": a twelfth of 365 days)."""
    return DURATIONS[check_timeframe(timeframe)]


def bars_per_year(timeframe: str) -> float:
    """365 days over the timeframe: the factor by which figures are annualised."""
    return YEAR / duration(timeframe)


def bin_starts(times: Times, timeframe: str) -> Times:
    """Open time of the bin that holds each of ``times`` (int64 ms, any shape)."""
    length = duration(timeframe)
    if timeframe == "1M":
        months = times.astype("datetime64[ms]").astype("datetime64[M]")
        starts: Times = months.astype("datetime64[ms]").astype(np.int64)
        return starts
    offset = _FIRST_MONDAY if timeframe == "1w" else 0
    return (times - offset) // length * length + offset


def next_start(start: int, timeframe: str) -> int:
    """Open time of the bin after the one that opens at ``start`` (ms)."""
    if check_timeframe(timeframe) == "1M":
        month = np.int64(start).astype("datetime64[ms]").astype("datetime64[M]")
        month += np.timedelta64(1, "M")
        return int(month.astype("datetime64[ms]").astype(np.int64))
    return start + duration(timeframe)


def is_multiple(target: str, source: str) -> bool:
    """Whether bins of ``target`` are made of whole bins of ``source``."""
    if target == source:
        return True
    if source == "1M":
        return False
    if target == "1M":  # months are made of whole days, never of 3-day bars or weeks
        return duration(source) <= DAY
    return duration(target) > duration(source) and duration(target) % duration(source) == 0


def infer_timeframe(times: Times) -> str:
    """The timeframe of a table: its smallest spacing (``times``: increasing, at least 2)."""
    if len(times) < 2:
        raise DataError(
            f"the timeframe can't be told from {len(times)} candle(s); expected at least 2. "
            'Say it: timeframe="1m".'
        )
    spacing = int(_smallest_spacing(as_input(times)))
    for name, length in DURATIONS.items():
        if spacing == length and name != "1M":
            return name
    if 28 * DAY <= spacing <= 31 * DAY and bool(np.all(bin_starts(times, "1M") == times)):
        return "1M"
    raise DataError(
        f"the smallest spacing of the candles is {pd.Timedelta(spacing, 'ms')}, which is none of "
        f"Binance's intervals ({', '.join(TIMEFRAMES)}). Resample them, or load one of these."
    )


class Bins(NamedTuple):
    """The bins that hold any of some increasing times, one value for each bin."""

    first: Times  # its first row among them
    after: Times  # the row after its last
    start: Times
    end: Times


def bins_of(times: Times, timeframe: str) -> Bins:
    """The bins of ``timeframe`` in which ``times`` (increasing, int64 ms) lie."""
    if timeframe == "1M":
        return _months_of(times)
    offset = _FIRST_MONDAY if timeframe == "1w" else 0
    rows, starts = _bins_of(as_input(times), duration(timeframe), offset)
    return Bins(rows[:-1], rows[1:], starts, starts + duration(timeframe))


def _months_of(times: Times) -> Bins:
    rows, starts, ends = [0], [], []
    while rows[-1] < len(times):  # from month to month by the calendar: there are few
        start = int(bin_starts(times[rows[-1]], "1M"))
        starts.append(start)
        ends.append(next_start(start, "1M"))
        rows.append(int(np.searchsorted(times, ends[-1])))
    edges = (rows[:-1], rows[1:], starts, ends)
    return Bins(*(np.array(values, dtype=np.int64) for values in edges))


@compiled
def _bins_of(times: Times, length: int, offset: int) -> tuple[Times, Times]:
    """First row of each bin (last of all: the number of times), and where it starts."""
    rows = np.empty(len(times) + 1, np.int64)
    starts = np.empty(len(times), np.int64)
    count, row, size = 0, 0, 1
    end = times[0] if len(times) else 0
    while row < len(times):
        if times[row] >= end + length or row == 0:  # a division takes long: only after a hole
            end = (times[row] - offset) // length * length + offset
        rows[count], starts[count] = row, end
        count += 1
        end += length
        after = min(row + size, len(times))  # mostly a bin has as many rows as the one before
        if times[after - 1] >= end or (after < len(times) and times[after] < end):
            after = row + 1
            while after < len(times) and times[after] < end:
                after += 1
        size = after - row
        row = after
    rows[count] = len(times)
    return rows[: count + 1].copy(), starts[:count].copy()


@compiled
def _smallest_spacing(times: Times) -> int:
    smallest = times[1] - times[0]
    for i in range(1, len(times)):
        smallest = min(smallest, times[i] - times[i - 1])
    return int(smallest)


def to_ms(index: pd.DatetimeIndex) -> Times:
    """Int64 milliseconds of a UTC index (naive means UTC) of any unit; perhaps a view of it."""
    if index.unit == "ms":
        return index.asi8
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    times: Times = index.to_numpy().astype("datetime64[ms]", copy=False).view(np.int64)
    return times


def from_ms(times: Times) -> pd.DatetimeIndex:
    """Int64 milliseconds as the candle table's index: named ``time``, UTC."""
    return pd.DatetimeIndex(times.astype("datetime64[ms]"), name="time").tz_localize("UTC")


def parse_time(value: object, what: str = "time") -> pd.Timestamp:
    """A moment in UTC from ISO text, a date, datetime or Timestamp, or integer milliseconds.

    Naive means UTC. Refused, since they would be guesses: numbers that aren't milliseconds
    (a year, seconds, a float), text that doesn't begin with the year ("12:40", "03/04/2023").
    """
    try:
        if isinstance(value, int | np.integer) and value >= _EARLIEST_INTEGER:
            stamp = pd.Timestamp(int(value), unit="ms")
        elif isinstance(value, str) and _ISO_START.fullmatch(value.strip()):
            stamp = pd.Timestamp(value.strip())
        elif isinstance(value, dt.date | np.datetime64):  # a datetime and a Timestamp are dates
            stamp = pd.Timestamp(value)
        else:
            raise ValueError("none of the accepted forms")
        if pd.isna(stamp):
            raise ValueError("not a time")
        if stamp.as_unit("ms") != stamp:
            raise ValueError("finer than a millisecond")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f'{what}={value!r} is no moment in time. Expected UTC text such as "2023-03-24 12:40", '
            "a datetime, or whole milliseconds since 1970."
        ) from error
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
