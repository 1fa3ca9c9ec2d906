"""The moving-average crossover by every tool: the same entries, exits, fills and costs.

Averages of floating prices decide some ties by their rounding errors; of whole cents they are
exact. So pandas and vectorbt average cents, and all come to the same trades.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import astraquant as aq
from astraquant.candles import COLUMNS, times_of
from astraquant.strategies import ma_cross

from . import peers
from .harness import Case, fresh
from .inputs import BARS, Inputs

COST = 0.001
CASH = 10_000.0
SHORT, LONG = range(10, 100, 10), range(100, 350, 50)  # 45 combinations
SIGNIFICANT = 1e-9  # figures that differ by less, relatively, are the same
Pairs = Sequence[tuple[int, int]]


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
        init_cash=CASH,
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


@contextmanager
def vectorbt_engine(name: str) -> Iterator[None]:
    """Let vectorbt compute with "numba", or "auto": with Rust wherever it can."""
    import vectorbt

    before = vectorbt.settings["engine"]
    vectorbt.settings["engine"] = name
    try:
        yield
    finally:
        vectorbt.settings["engine"] = before


def chunks_by_vectorbt(
    candles: pd.DataFrame, timeframe: str, pairs: Pairs, engine: str, width: int = 4
) -> pd.DataFrame:
    """`run_by_vectorbt`, ``width`` pairs at a time: more need more memory and aren't faster."""
    with vectorbt_engine(engine):
        parts = [
            run_by_vectorbt(candles, timeframe, pairs[i : i + width])
            for i in range(0, len(pairs), width)
        ]
    return pd.concat(parts, ignore_index=True)


def signals(candles: pd.DataFrame, pair: tuple[int, int]) -> tuple[Any, Any]:
    """Our entries and exits: the bars at whose close the crossover wants in, and wants out."""
    short, long = pair
    position = aq.backtest(candles, ma_cross, short=short, long=long, cost=COST).position
    wanted = position.to_numpy() == 1
    before = np.concatenate([[False], wanted[:-1]])
    return wanted & ~before, before & ~wanted


def by_raptorbt(candles: pd.DataFrame, pairs: Pairs) -> Callable[[], pd.DataFrame]:
    """Our entries and exits of minutes through raptorbt's batch.

    They are made at the first call, which isn't timed: raptorbt's time has no averages in it.
    """

    @functools.cache
    def given() -> tuple[list[Any], list[tuple[Any, Any]]]:
        prices = [candles[name].to_numpy(copy=True) for name in COLUMNS]
        return [times_of(candles) * 1_000_000, *prices], [signals(candles, pair) for pair in pairs]

    def run() -> pd.DataFrame:
        peers.need("raptorbt")
        import raptorbt

        table, decided = given()
        config = raptorbt.BacktestConfig(
            initial_capital=CASH,
            fees=COST,
            fill_timing="next_bar_open",
            periods_per_year=365 * 24 * 60.0,
        )
        items = [
            raptorbt.BatchSingleItem(str(pair), *both, direction=1)
            for pair, both in zip(pairs, decided, strict=True)
        ]
        done = raptorbt.batch_single_backtest(*table, items, config)
        return pd.DataFrame([figures_of_raptorbt(result.metrics) for _, result in done])

    return run


def figures_of_raptorbt(metrics: Any) -> dict[str, float]:
    """Those of its figures that mean what ours mean, by our names. It has percents, and None.

    Others count a trade that is still open at the end: expectancy, best, worst, exposure.
    """
    percents = {
        "total_return": metrics.total_return_pct,
        "max_drawdown": -metrics.max_drawdown_pct,
        "win_rate": metrics.win_rate_pct,
    }
    plain = {
        "sharpe": metrics.sharpe_ratio,
        "sortino": metrics.sortino_ratio,
        "trades": metrics.total_closed_trades,
        "profit_factor": metrics.profit_factor,
        "fees_paid": metrics.total_fees_paid,
    }
    shares = {name: value / 100 for name, value in percents.items()}
    return shares | {name: np.nan if value is None else value for name, value in plain.items()}


def by_backtesting(candles: pd.DataFrame, pairs: Pairs) -> Callable[[], pd.DataFrame]:
    """Our entries and exits through backtesting.py, one run after the other.

    It trades whole units only: with this much cash a unit is too small to be seen in a figure. Its
    Sharpe ratio is one of days, its profit factor one of returns, its exposure counts otherwise.
    """
    cash = CASH * 2.0**40

    @functools.cache
    def given() -> tuple[pd.DataFrame, list[Any]]:
        table = candles[list(COLUMNS)].tz_localize(None).rename(columns=str.capitalize)
        return table, [np.array(signals(candles, pair), float) for pair in pairs]

    def run() -> pd.DataFrame:
        peers.need("backtesting")
        from backtesting import Backtest, Strategy

        class Follow(Strategy):  # type: ignore[misc]
            decided: Any = None

            def init(self) -> None:
                self.enter, self.leave = (self.I(lambda row=row: row) for row in self.decided)

            def next(self) -> None:
                if self.enter[-1]:
                    self.buy()
                elif self.leave[-1]:
                    self.position.close()

        table, decided = given()
        test = Backtest(table, Follow, cash=cash, commission=COST)
        rows = []
        for both in decided:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Some trades remain open", UserWarning)
                found = test.run(decided=both)
            shares = {"total_return": "Return", "max_drawdown": "Max. Drawdown"}
            shares |= {"win_rate": "Win Rate"}
            row = {ours: found[f"{theirs} [%]"] / 100 for ours, theirs in shares.items()}
            rows.append({**row, "trades": found["# Trades"]})
        return pd.DataFrame(rows)

    return run


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
        cases.append(Case(backtest_title(bars, timeframe), tools, same_figures))
    return cases


def backtest_title(bars: pd.DataFrame, timeframe: str) -> str:
    return f"backtest ma_cross(50, 200), {len(bars):,} bars of {timeframe}"


def sweep_by_us(candles: pd.DataFrame, **options: Any) -> pd.DataFrame:
    return aq.sweep(candles, ma_cross, short=SHORT, long=LONG, cost=COST, **options).table


PAIRS = list(itertools.product(SHORT, LONG))
SWEEPS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "astraquant": sweep_by_us,
    "astraquant, engine vectorbt, 1 GiB": partial(sweep_by_us, engine="vectorbt"),
    "astraquant, engine vectorbt, 256 MiB": partial(
        sweep_by_us, engine="vectorbt", memory_limit=2**28
    ),
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
        "import sys, astraquant as aq; from benchmarks import crossing, harness;"
        "bars = aq.resample(aq.read_candles(sys.argv[2]), '5m');"
        "job = crossing.SWEEPS[sys.argv[1]];"
        "job(bars.iloc[:1000]); print(harness.added_memory(lambda: job(bars)))"
    )
    return int(fresh(code, sweep, str(inputs.files["parquet"])))
