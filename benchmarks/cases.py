"""What is timed: the package beside what a researcher would write with pandas or vectorbt."""

from __future__ import annotations

import gzip
import itertools
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import astraquant as aq
from astraquant import indicators
from astraquant.candles import COLUMNS, SUMS, Candle, candle_table, times_of
from astraquant.data.formats import KLINE_COLUMNS
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
from astraquant.strategies.running import Tracer

from . import cache
from .harness import Case

PROJECT = Path(__file__).resolve().parent.parent
YEAR = "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
BARS = {"1m": "1min", "5m": "5min", "1h": "1h"}  # as pandas spells them
COST = 0.001
SHORT, LONG = range(10, 100, 10), range(100, 350, 50)  # 45 combinations
SIGNIFICANT = 1e-9  # figures that differ by less, relatively, are the same


@dataclass(frozen=True)
class Inputs:
    """One market's minutes: the table, the same as files in Binance's layout, what they are."""

    label: str
    candles: pd.DataFrame
    files: dict[str, Path]


def load_inputs(folder: Path) -> Inputs:
    """The real year if ASTRAQUANT_DATA has it, else the sample's; files go into ``folder``."""
    data = Path(os.environ.get("ASTRAQUANT_DATA", PROJECT.parent / "shared" / "data"))
    if (data / YEAR).is_file():
        return prepare(aq.read_candles(data / YEAR), "real BTCUSDT minutes of 2023", folder)
    return prepare(sample_candles("BTCUSDT"), "synthetic sample, a year of minutes", folder)


def prepare(candles: pd.DataFrame, label: str, folder: Path) -> Inputs:
    """Write ``candles`` into ``folder`` as Binance's 12 columns: Parquet, CSV.gz and ZIP."""
    times = times_of(candles)
    klines = pd.DataFrame({"open_time": times, "close_time": times + 59_999, "ignore": 0})
    for name in (*COLUMNS, *SUMS):
        klines["count" if name == "trades" else name] = candles[name].to_numpy()
    klines = klines[list(KLINE_COLUMNS)]
    files = {kind: folder / f"BTCUSDT-1m.{kind}" for kind in ("parquet", "csv.gz", "zip")}
    klines.to_parquet(files["parquet"], compression="zstd")
    text = klines.to_csv(index=False).encode()
    files["csv.gz"].write_bytes(gzip.compress(text, 6))
    with zipfile.ZipFile(files["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-1m.csv", text)
    return Inputs(label, candles, files)


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


def built(candles: list[Candle]) -> list[Candle]:
    """The closed 5m candles of a stream of minutes."""
    builder = aq.CandleBuilder("5m", source="1m")
    return [closed for candle in candles for closed in builder.add_candle(candle)]


def resampling(inputs: Inputs) -> list[Case]:
    candles = inputs.candles
    cases = [
        Case(
            f"{len(candles):,} minutes to {timeframe}",
            {
                "astraquant": partial(aq.resample, candles, timeframe),
                "pandas resample.agg": partial(resampled_by_pandas, candles, timeframe),
            },
            same_tables,
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


# Backtests and sweeps. Averages of floating prices decide some ties by their rounding errors; of
# whole cents they are exact. So pandas and vectorbt average cents, and all come to the same trades.


def cents(candles: pd.DataFrame) -> pd.Series:
    return (candles["close"] * 100).round()


def backtest_by_pandas(
    candles: pd.DataFrame, fast: pd.Series, slow: pd.Series, year: int
) -> dict[str, float]:
    """Three figures of the crossover, filled at the next open; ``year``: bars in 365 days."""
    was_below = (fast <= slow).shift(fill_value=False)
    was_above = (fast >= slow).shift(fill_value=False)
    wanted = pd.Series(np.nan, candles.index)
    wanted[(fast > slow) & was_below] = 1.0
    wanted[(fast < slow) & was_above] = 0.0
    held = wanted.ffill().fillna(0.0).shift(fill_value=0.0) > 0
    before = held.shift(fill_value=False)
    begin = (candles["open"] * (1 + COST)).where(~before, candles["close"].shift())
    end = (candles["open"] * (1 - COST)).where(~held, candles["close"])
    growth = (end / begin).where(held | before, 1.0)
    equity, returns = growth.cumprod(), growth - 1
    peak = equity.cummax().clip(lower=1.0)
    return {
        "total_return": equity.iloc[-1] - 1,
        "sharpe": returns.mean() / returns.std() * np.sqrt(year),
        "max_drawdown": (equity / peak).min() - 1,
    }


def run_by_pandas(candles: pd.DataFrame, timeframe: str, pairs: Any) -> pd.DataFrame:
    """The figures of each pair, every average computed once."""
    close, year = cents(candles), pd.Timedelta(days=365) // pd.Timedelta(BARS[timeframe])
    averages = {window: close.rolling(window).mean() for window in sorted(set(sum(pairs, ())))}
    return pd.DataFrame(
        [backtest_by_pandas(candles, averages[a], averages[b], year) for a, b in pairs]
    )


def run_by_vectorbt(candles: pd.DataFrame, timeframe: str, pairs: Any) -> pd.DataFrame:
    """The same by vectorbt's own indicator, signals and figures.

    A time zone makes it slower, and so does a shift that turns booleans into numbers: it then
    leaves its Rust engine.
    """
    import vectorbt

    bars = candles.tz_localize(None)
    short, long = map(list, zip(*pairs, strict=True))
    fast = vectorbt.MA.run(cents(bars), short, short_name="fast")
    slow = vectorbt.MA.run(cents(bars), long, short_name="slow")
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    portfolio = vectorbt.Portfolio.from_signals(
        bars["close"],
        entries=entries.vbt.signals.fshift(1),  # decided at a close,
        exits=exits.vbt.signals.fshift(1),
        price=bars["open"],  # filled at the next bar's open
        fees=COST,
        init_cash=10_000.0,
        freq=pd.Timedelta(BARS[timeframe]),
    )
    closed, year = portfolio.trades.closed, {"year_freq": "365 days"}
    figures = {
        "total_return": portfolio.total_return(),
        "annual_return": portfolio.annualized_return(**year),
        "sharpe": portfolio.sharpe_ratio(**year),
        "sortino": portfolio.sortino_ratio(**year),
        "max_drawdown": portfolio.max_drawdown(),
        "exposure": portfolio.position_coverage(),
        "trades": closed.count(),
        "win_rate": closed.win_rate(),
        "profit_factor": closed.profit_factor(),
    }
    return pd.DataFrame({name: np.atleast_1d(values) for name, values in figures.items()})


def same_figures(ours: Any, theirs: pd.DataFrame) -> None:
    """All figures that the other tool has; ``ours``: a backtest's metrics, or a sweep's table."""
    table = ours.to_frame().T if isinstance(ours, pd.Series) else ours
    assert (table["trades"] > 0).all()
    mine = table[list(theirs.columns)].to_numpy()
    np.testing.assert_allclose(mine, theirs.to_numpy(), rtol=SIGNIFICANT, atol=1e-10)


def metrics_by_us(candles: pd.DataFrame) -> pd.Series:
    return aq.backtest(candles, ma_cross, short=50, long=200, cost=COST).metrics


def backtesting(inputs: Inputs) -> list[Case]:
    cases = []
    for timeframe in ("5m", "1m"):
        bars = aq.resample(inputs.candles, timeframe)
        tools: dict[str, Callable[[], Any]] = {
            "astraquant": partial(metrics_by_us, bars),
            "vectorbt, 9 figures": partial(run_by_vectorbt, bars, timeframe, [(50, 200)]),
            "pandas, 3 figures": partial(run_by_pandas, bars, timeframe, [(50, 200)]),
        }
        title = f"backtest ma_cross(50, 200), {len(bars):,} bars of {timeframe}"
        cases.append(Case(title, tools, same_figures))
    return cases


def sweep_by_us(candles: pd.DataFrame, memory_limit: int = 2**30) -> pd.DataFrame:
    return aq.sweep(
        candles,
        ma_cross,
        short=SHORT,
        long=LONG,
        cost=COST,
        engine="vectorbt",
        memory_limit=memory_limit,
    ).table


PAIRS = list(itertools.product(SHORT, LONG))
SWEEPS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "astraquant, engine vectorbt, 1 GiB": sweep_by_us,
    "astraquant, engine vectorbt, 256 MiB": partial(sweep_by_us, memory_limit=2**28),
    "vectorbt, 9 figures": partial(run_by_vectorbt, timeframe="5m", pairs=PAIRS),
    "pandas, 3 figures": partial(run_by_pandas, timeframe="5m", pairs=PAIRS),
}


def sweeping(inputs: Inputs) -> list[Case]:
    bars = aq.resample(inputs.candles, "5m")
    tools = {name: partial(tool, bars) for name, tool in SWEEPS.items()}
    return [Case(f"sweep {len(PAIRS)} pairs, {len(bars):,} bars of 5m", tools, same_figures)]


def memory_of(sweep: str, inputs: Inputs) -> int:
    """Bytes that one of `SWEEPS` adds to a fresh process which has done a short one before."""
    code = (
        "import sys, astraquant as aq; from benchmarks import cases, harness;"
        "bars = aq.resample(aq.read_candles(sys.argv[2]), '5m'); job = cases.SWEEPS[sys.argv[1]];"
        "job(bars.iloc[:1000]); print(harness.added_memory(lambda: job(bars)))"
    )
    return int(fresh(code, sweep, str(inputs.files["parquet"])))


# Starting, and tracing


def fresh(code: str, *arguments: str) -> str:
    """What a new Python prints when it runs ``code``."""
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout


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
    "One backtest": backtesting,
    "A small sweep": sweeping,
    "Tracing": tracing,
    "Starting": starting,
}
