"""The slow, obvious oracle of `higher`: bar by bar, from the bars before alone."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd


def bin_of(time, timeframe):
    """Start and end of the bin of ``timeframe`` that holds a moment."""
    day = time.floor("D")
    if timeframe == "1M":
        start = day.replace(day=1)
        return start, start + pd.DateOffset(months=1)
    if timeframe == "1w":
        start = day - pd.Timedelta(days=day.dayofweek)
        return start, start + pd.Timedelta(days=7)
    length = pd.Timedelta(timeframe.replace("m", "min"))
    start = pd.Timestamp(0, tz="UTC") + (time - pd.Timestamp(0, tz="UTC")) // length * length
    return start, start + length


def higher(candles, step, timeframe):
    """For each bar the last higher bar that has ended by its close; NaN where there is none.

    ``step``: the length of a bar. A table of the same index, with the higher bars' times too; and
    a table of all higher bars that have ended, for of two that end at once one is never the last.
    """
    known = []
    whole, rows, current = [], [], None
    for time, bar in candles.iterrows():
        start, end = bin_of(time, timeframe)
        if current is not None and current[0] != start and rows:
            whole.append(joined(current, rows))  # the bars at its end are missing
            rows = []
        current = (start, end)
        first_bin = bin_of(candles.index[0], timeframe)[0]
        if start != first_bin or candles.index[0] == first_bin:  # else it is cut at its start
            rows.append(bar)
        if time + step == end and rows:
            whole.append(joined(current, rows))
            rows = []
        known.append(whole[-1] if whole else dict.fromkeys(COLUMNS, math.nan))
    return pd.DataFrame(known, index=candles.index), pd.DataFrame(whole, columns=COLUMNS)


COLUMNS = ("time", "end", "open", "high", "low", "close", "volume")


def joined(bin_, rows):
    start, end = bin_
    volume = 0.0
    for row in rows:
        volume += row["volume"]
    return {
        "time": float(start.value // 10**6),
        "end": float(end.value // 10**6),
        "open": rows[0]["open"],
        "high": max(row["high"] for row in rows),
        "low": min(row["low"] for row in rows),
        "close": rows[-1]["close"],
        "volume": volume,
    }


def at_closes(of_higher_bars, times, known):
    """A value of each higher bar (by its open time) at the closes at which that bar is known."""
    by_time = dict(zip(times, of_higher_bars, strict=True))
    return np.array([by_time.get(time, math.nan) for time in known["time"]])
