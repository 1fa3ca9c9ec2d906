"""Loading from the cache: every month read, its hash checked, joined to one table and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import astraquant as aq
from astraquant.candles import COLUMNS, SUMS, times_of
from astraquant.data.cache import VARIABLE, Cache, Month, month_span

from .harness import Case


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """Let ``folder`` be the cache for a while."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def keep(candles: pd.DataFrame, folder: Path) -> list[Path]:
    """Write minutes as whole months of Binance's; the files, in order."""
    cache, names = Cache(folder), (*COLUMNS, *SUMS[1:])
    for name, part in candles.groupby(candles.index.strftime("%Y-%m")):  # type: ignore[attr-defined]
        since, until = month_span(str(name))
        values = {column: part[column].to_numpy() for column in names}
        content = Month(times_of(part), values, since, until)
        cache.write("binance", "BTCUSDT", "1m", str(name), content)
    return [entry.path for entry in cache.entries()]


def by_package(folder: Path, candles: pd.DataFrame) -> pd.DataFrame:
    """The public way; all of the span is there, so nobody is asked for more."""
    first, last = candles.index[[0, -1]]
    with named(folder):
        return aq.load_candles(
            "BTCUSDT", "1m", start=first, end=last + pd.Timedelta("1min"), source="binance"
        )


def by_pandas(files: list[Path]) -> pd.DataFrame:
    """The same files, unchecked."""
    return pd.concat([pd.read_parquet(file) for file in files]).set_index("time")


def loading(candles: pd.DataFrame, folder: Path, same: Callable[[Any, Any], None]) -> list[Case]:
    """``folder``: where the cache of the benchmark may be."""
    files = keep(candles, folder)
    tools: dict[str, Callable[[], Any]] = {
        "astraquant (hashes and candles checked)": partial(by_package, folder, candles),
        "pandas.read_parquet, concat": partial(by_pandas, files),
    }
    title = f"load {len(candles):,} minutes from the cache, months: {len(files)}"
    return [Case(title, tools, same)]
