"""Months of candles for the tests of the cache, and when two of them are the same."""

from __future__ import annotations

import numpy as np

from astraquant.candles import COLUMNS, EXTRA_COLUMNS
from astraquant.data.months import Month, month_span

MARCH = ("binance", "BTCUSDT", "1h", "2023-03")
BEGIN, END = month_span("2023-03")
HOUR = 3_600_000
NAMES = (*COLUMNS, *EXTRA_COLUMNS)


def some_month(rows=5, *, since=BEGIN, until=END, seed=1, step=HOUR, names=NAMES, notes=("n",)):
    times = since + step * np.arange(rows, dtype=np.int64)
    values = np.random.default_rng(seed).random((len(names), rows))
    return Month(times, dict(zip(names, values, strict=True)), since, until, notes)


def bits(month: Month) -> tuple:
    """All that a month is, to the last bit (a NaN is unlike itself, and -0.0 like 0.0)."""
    columns = [(name, array.dtype, array.tobytes()) for name, array in month.values.items()]
    return month.times.dtype, month.times.tobytes(), columns, month.since, month.until, month.notes
