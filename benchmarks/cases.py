"""What is timed: the package beside what a researcher would write with other tools."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import astraquant as aq
from astraquant import indicators
from astraquant.candles import SUMS, Candle, candle_table, times_of
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
from astraquant.strategies.running import Tracer

from . import beside, cache, crossing, peers, planes
from .harness import Case, fresh
from .inputs import BARS, Inputs, load_inputs, prepare

__all__ = ["GROUPS", "Inputs", "load_inputs", "prepare"]


# Loading


def by_pandas(read: Callable[..., Any], path: Path) -> pd.DataFrame:
    """A file as a candle table, unchecked."""
    table: pd.DataFrame = read(path).drop(columns=["close_time", "ignore"])
    table["time"] = pd.to_datetime(table.pop("open_time"), unit="ms", utc=True)
    return table.rename(columns={"count": "trades"}).set_index("time")


def same_tables(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Equal but for the last digit, which pandas' fast reader of text may round otherwise."""
    options: Any = {"check_index_type": False, "check_freq": False, "check_dtype": False}
    theirs = theirs.set_axis(pd.DatetimeIndex(theirs.index).as_unit("ms"))
    pd.testing.assert_frame_equal(ours, theirs[list(ours.columns)], rtol=1e-14, **options)


def loading(inputs: Inputs) -> list[Case]:
    readers: dict[str, dict[str, Callable[..., Any]]] = {
        "parquet": {"pandas.read_parquet": pd.read_parquet},
        "csv.gz": {
            "pandas.read_csv": pd.read_csv,
            "pandas.read_csv, pyarrow": partial(pd.read_csv, engine="pyarrow"),
        },
        "zip": {"pandas.read_csv": pd.read_csv},
    }
    cases = [
        Case(
            f"read {len(inputs.candles):,} minutes, {kind}",
            {"astraquant (checked)": partial(aq.read_candles, inputs.files[kind])}
            | {name: partial(by_pandas, read, inputs.files[kind]) for name, read in peers.items()},
            same_tables,
        )
        for kind, peers in readers.items()
    ]
    first, last = inputs.candles.index[[0, -1]]
    make = partial(sample_candles, "BTCUSDT", start=first, end=last + pd.Timedelta("1min"))
    cases += cache.loading(inputs.candles, inputs.files["parquet"].parent / "cache", same_tables)
    return [*cases, Case(f"make {len(make()):,} minutes of the sample", {"astraquant": make})]


# Resampling


def resampled_by_pandas(candles: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    how = {"open": "first", "high": "max", "low": "min", "close": "last"}
    how |= {name: "sum" for name in SUMS if name in candles}
    table: pd.DataFrame = candles.resample(BARS[timeframe]).agg(how)
    return table.dropna()


def by_polars(candles: pd.DataFrame, timeframe: str) -> Callable[[], Any]:
    """Lazily, its faster way. Its own table is made at the first call, which isn't timed."""

    @functools.cache
    def frame() -> Any:
        peers.need("polars")
        import polars

        return polars.from_pandas(candles.reset_index()).with_columns(
            polars.col("time").set_sorted()
        )

    def resampled() -> Any:
        table = frame()
        import polars

        how = {"open": "first", "high": "max", "low": "min", "close": "last"}
        how |= {name: "sum" for name in SUMS if name in candles}
        columns = [getattr(polars.col(name), method)() for name, method in how.items()]
        return table.lazy().group_by_dynamic("time", every=timeframe).agg(columns).collect()

    return resampled


def same_bars(ours: pd.DataFrame, theirs: Any) -> None:
    """`same_tables`; ``theirs``: a table of pandas or of polars."""
    if not isinstance(theirs, pd.DataFrame):
        theirs = theirs.to_pandas().set_index("time")
    same_tables(ours, theirs)


def built(candles: list[Candle]) -> list[Candle]:
    """The closed 5m candles of a stream of minutes."""
    builder = aq.CandleBuilder("5m", source="1m")
    return [closed for candle in candles for closed in builder.add_candle(candle)]


def resampling_title(candles: pd.DataFrame, timeframe: str) -> str:
    return f"{len(candles):,} minutes to {timeframe}"


def resampling(inputs: Inputs) -> list[Case]:
    candles = inputs.candles
    cases = [
        Case(
            resampling_title(candles, timeframe),
            {
                "astraquant": partial(aq.resample, candles, timeframe),
                "pandas resample.agg": partial(resampled_by_pandas, candles, timeframe),
                "polars group_by_dynamic": by_polars(candles, timeframe),
            },
            same_bars,
        )
        for timeframe in ("5m", "1h")
    ]
    table = candles.iloc[:20_000]
    columns = [table[name] for name in Candle._fields[1:]]
    stream = list(map(Candle, times_of(table).tolist(), *columns))
    tools: dict[str, Callable[[], Any]] = {
        "CandleBuilder": partial(built, stream),
        "resample": partial(aq.resample, table, "5m"),
    }

    def same(ours: list[Candle], theirs: pd.DataFrame) -> None:
        same_tables(candle_table(ours), theirs)

    return [*cases, Case("one minute of a stream to 5m", tools, same, repeats=len(stream))]


# Indicators


def smoothed(values: pd.Series, window: int, weight: float) -> pd.Series:
    """pandas' ewm, begun with the mean of the first window as TA-Lib does."""
    begun = values.iloc[window - 1 :].copy()
    begun.iloc[0] = values.iloc[:window].mean()
    return begun.ewm(alpha=weight, adjust=False).mean()


def rsi_by_pandas(close: pd.Series, window: int) -> pd.Series:
    change = close.diff().iloc[1:]
    up = smoothed(change.clip(lower=0), window, 1 / window)
    down = smoothed(-change.clip(upper=0), window, 1 / window)
    return 100 * up / (up + down)


def same_ends(ours: Any, theirs: Any) -> None:
    """Equal wherever both are known; each begins with its own warm-up."""
    known = np.asarray(theirs)[~np.isnan(np.asarray(theirs))]
    assert np.count_nonzero(~np.isnan(ours)) == len(known) > 0
    np.testing.assert_allclose(ours[-len(known) :], known, rtol=1e-9)


def indicating(inputs: Inputs) -> list[Case]:
    import talib

    close = inputs.candles["close"]
    values = close.to_numpy(copy=True)
    peers: dict[str, tuple[int, Callable[[], Any], Any]] = {
        "sma": (200, lambda: close.rolling(200).mean(), talib.SMA),
        "ema": (200, lambda: smoothed(close, 200, 2 / 201), talib.EMA),
        "rsi": (14, lambda: rsi_by_pandas(close, 14), talib.RSI),
    }
    return [
        Case(
            f"{name}({window}) of {len(close):,} closes",
            {
                "astraquant": partial(getattr(indicators, name), values, window),
                "pandas": pandas,
                "TA-Lib": partial(library, values, window),
            },
            same_ends,
        )
        for name, (window, pandas, library) in peers.items()
    ]


# Starting, and tracing


def starting(inputs: Inputs) -> list[Case]:
    tools = {
        name: partial(fresh, f"import {name}") for name in ("astraquant", "pandas", "vectorbt")
    }
    return [Case("start Python and import", {**tools, "nothing": partial(fresh, "")})]


def tracing(inputs: Inputs) -> list[Case]:
    """One trace of the crossover: of nodes already known, and over a grid from the first on."""
    known = Tracer(ma_cross)
    grid = [{"short": a, "long": b} for a, b in itertools.combinations(range(5, 205), 2)]

    def again() -> None:
        for _ in grid:
            known.trace(grid[0])

    def whole() -> None:
        tracer = Tracer(ma_cross)
        for bound in grid:
            tracer.trace(bound)

    return [
        Case("trace ma_cross, nodes known", {"astraquant": again}, repeats=len(grid)),
        Case(f"trace ma_cross, {len(grid):,} pairs", {"astraquant": whole}, repeats=len(grid)),
    ]


GROUPS: dict[str, Callable[[Inputs], list[Case]]] = {
    "Loading": loading,
    "Resampling": resampling,
    "Indicators": indicating,
    "One backtest": crossing.backtesting,
    "A small sweep": crossing.sweeping,
    "The whole plane beside others": beside.beside,
    "Planes of other strategies and directions": planes.others,
    "Tracing": tracing,
    "Starting": starting,
}
