"""Months of candles for the tests of the cache, and looks at what it has made of them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from astraquant.candles import COLUMNS, EXTRA_COLUMNS
from astraquant.data.cache import Cache
from astraquant.data.months import Month, month_span

MARCH = ("binance", "BTCUSDT", "1h", "2023-03")
BEGIN, END = month_span("2023-03")
APRIL = (*MARCH[:3], "2023-04")
HOUR = 3_600_000
DAY = 24 * HOUR
NAMES = (*COLUMNS, *EXTRA_COLUMNS)


def some_month(rows=5, *, since=BEGIN, until=END, seed=1, step=HOUR, names=NAMES, notes=("n",)):
    times = since + step * np.arange(rows, dtype=np.int64)
    values = np.random.default_rng(seed).random((len(names), rows))
    return Month(times, dict(zip(names, values, strict=True)), since, until, notes)


def bits(month: Month) -> tuple:
    """All that a month is, to the last bit (a NaN is unlike itself, and -0.0 like 0.0)."""
    columns = [(name, array.dtype, array.tobytes()) for name, array in month.values.items()]
    return month.times.dtype, month.times.tobytes(), columns, month.since, month.until, month.notes


def path_of(cache: Cache, place=MARCH) -> Path:
    return cache.folder / place[0] / f"{place[1]}-{place[2]}" / f"{place[3]}.parquet"


def files_in(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.folder.rglob("*") if path.is_file())


def put(cache: Cache, data: bytes, place=MARCH) -> Path:
    path = path_of(cache, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def only(caplog) -> str:
    """The one thing that was logged: a warning of the data."""
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("astraquant.data", logging.WARNING)
    return record.message
