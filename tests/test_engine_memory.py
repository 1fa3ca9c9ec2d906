"""Sweeps in parts: whatever the memory limit and the programs, it is one table."""

from __future__ import annotations

import tracemalloc

import naive
import numpy as np
import pandas as pd
import pytest
from naive_engine import assert_rows_equal_backtests, assert_same
from test_backtesting import random_walk, ups
from test_cache_faults import small_disk  # noqa: F401 - a fixture

import astraquant as aq
from astraquant.engine import layout
from astraquant.indicators import ema, rolling_std, rsi, sma
from astraquant.jobs import BYTES_PER_BAR, BYTES_PER_TRIAL
from astraquant.strategies import ma_cross, where


@aq.strategy
def on_arrays(candles, level: float = 100.0, turn: int = 1):
    """Cannot be traced."""
    above = np.asarray(candles.close) > level
    return np.where(above, turn, -turn)


@aq.strategy
def whole_arrays(candles, window: int = 5, factor: float = 1.0):
    """Rows that are computed over all bars beforehand."""
    return rolling_std(candles.close, window) * factor > candles.close % 7 / 3


@aq.strategy
def of_several_kinds(candles, kind: str = "a", window: int = 5, level: float = 100.0):
    """Another program for each kind, and one that can't be traced."""
    if kind == "a":
        return sma(candles.close, window) > level
    if kind == "b":
        return where(rsi(candles.close, window) > 50, 1, -1)
    if kind == "c":
        return ~(candles.close > level) & (candles.open < ema(candles.close, window))
    return np.asarray(candles.close) > level


@pytest.mark.parametrize(
    ("strategy", "grid"),
    [
        (on_arrays, {"level": np.linspace(90.0, 110.0, 30), "turn": [-1, 1]}),
        (whole_arrays, {"window": range(2, 12), "factor": [0.5, 1.0, 2.0]}),
        (of_several_kinds, {"level": [95.0, 100.0], "kind": list("abcd"), "window": range(2, 9)}),
        (ma_cross, {"short": range(2, 12), "long": range(5, 40, 5)}),
    ],
)
def test_tiles_of_any_size_make_the_same_table(strategy, grid):
    candles = random_walk(3_000, 1)
    options = {"cost": [0.0, 0.001], "timeframe": ["5m", "15m"], **grid}
    whole = aq.sweep(candles, strategy, **options)
    for trials in (1, 2, 7, 23):
        limit = 3_000 * BYTES_PER_BAR + trials * BYTES_PER_TRIAL
        tiled = aq.sweep(candles, strategy, memory_limit=limit, **options)
        assert_same(tiled.table, whole.table)
        assert tiled.passport["engine"] == whole.passport["engine"]
    places = np.random.default_rng(0).choice(len(whole.table), 12, replace=False)
    assert_rows_equal_backtests(whole, places)


def test_costs_timeframes_and_shapes_in_any_order_fill_the_right_rows():
    candles = random_walk(2_000, 4)
    grid = {"kind": list("cabd"), "window": [9, 3], "level": [101.0, 98.0]}
    frames, costs = ["15m", "5m", "1h"], [0.01, 0.0, 0.001]
    whole = aq.sweep(candles, of_several_kinds, cost=costs, timeframe=frames, **grid).table
    assert whole.index.names == ["kind", "window", "level", "timeframe", "cost"]
    for frame in frames:
        for cost in costs:
            alone = aq.sweep(candles, of_several_kinds, cost=cost, timeframe=frame, **grid)
            assert_same(whole.xs((frame, cost), level=("timeframe", "cost")), alone.table)


def test_memory_stays_within_its_limit():
    """The signals of all these runs together would not."""
    candles = random_walk(50_000, 1)
    levels = np.linspace(90.0, 110.0, 2_000)
    limit = 12_000_000
    assert 2 * len(levels) * len(candles) / 8 > 2 * limit
    aq.sweep(candles, on_arrays, level=levels[:3])  # compiles
    tracemalloc.start()
    aq.sweep(candles, on_arrays, level=levels, memory_limit=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit


@aq.strategy
def of_many_parts(candles, x: float = 1.0):
    """A program of some sixty nodes, none of which another combination has."""
    total = candles.close
    for k in range(20):
        total = total + sma(candles.close, k + 1) * x
    return candles.close * (1 + 20 * x) > total


def test_memory_stays_within_its_limit_however_large_a_program_is():
    candles = random_walk(300, 1)
    values, limit = np.linspace(0.01, 1.0, 3_000), 60_000_000
    whole = aq.sweep(candles, of_many_parts, x=values).table
    tracemalloc.start()
    tiled = aq.sweep(candles, of_many_parts, x=values, memory_limit=limit).table
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit
    assert_same(tiled, whole)


@aq.strategy
def of_deviations(candles, window: int = 5, width: float = 1.0):
    return candles.close > sma(candles.close, window) + rolling_std(candles.close, window) * width


def test_arrays_over_all_bars_are_few_at_a_time():
    """Deviations are computed over all bars beforehand: no more of them than there is room for."""
    candles = random_walk(20_000, 1)
    windows, limit = range(2, 102), 12_000_000
    assert len(windows) * len(candles) * 8 > limit
    aq.sweep(candles, of_deviations, window=[2, 3])  # compiles
    tracemalloc.start()
    tiled = aq.sweep(candles, of_deviations, window=windows, memory_limit=limit).table
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit
    assert_same(tiled, aq.sweep(candles, of_deviations, window=windows).table)


@pytest.mark.parametrize("strategy", [ma_cross, on_arrays], ids=lambda strategy: strategy.name)
def test_progress_comes_to_the_whole(strategy):
    """A combination on arrays is counted when it is decided, which is what takes the time."""
    name = next(iter(strategy.parameters))
    told = []
    swept = aq.sweep(random_walk(300, 1), strategy, **{name: [5, 6, 7]}, cost=[0.0, 0.001])
    swept._job.run(lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    if strategy is on_arrays:
        assert (2, 6) in told and (4, 6) in told


def test_what_the_kernel_has_no_words_for_is_told():
    @aq.strategy
    def added(candles, window: int = 5):
        up = where(candles.close > sma(candles.close, window), 1.0, 0.0)
        return up - where(candles.close < sma(candles.close, window), 1.0, 0.0)

    swept = aq.sweep(random_walk(300, 1), added, window=[5, 6], cost=[0.0, 0.001])
    assert swept.passport["engine"] == (
        "compiled; 4 decided over arrays: it returns numbers that where(...) has not chosen among "
        "-1, 0 and 1"
    )
    assert_rows_equal_backtests(swept)


@pytest.mark.parametrize("parts", [100, 400, 1_200])
def test_long_chains_of_arithmetic(parts):
    @aq.strategy
    def chained(candles, level: float = 1.0):
        total = candles.close
        for k in range(parts):
            total = total + candles.close * (level + k)
        return candles.close * (1 + parts * level) > total

    swept = aq.sweep(random_walk(200, 1), chained, level=[0.0, 1.0])
    deep = "; 2 decided over arrays: its expressions are nested more than 150 deep"
    assert swept.passport["engine"] == "compiled" + (deep if parts > 150 else "")
    assert_rows_equal_backtests(swept)


def test_runs_beyond_the_engine_s_precision_are_counted():
    """Prices that fall by fourteen orders of magnitude in a trade, and prices that hardly move."""
    falling = naive.candle_table(*[np.geomspace(1e6, 1e-8, 20_000)] * 2)
    swept = aq.sweep(falling, on_arrays, level=[-1.0, 1e9])
    assert swept.passport["engine"].startswith("compiled; 2 runs that left its precision")
    assert swept.table["trades"].iloc[0] == 1
    assert_rows_equal_backtests(swept)
    still = 1.0 + 1e-7 * np.random.default_rng(0).standard_normal(3_000)
    quiet = aq.sweep(naive.candle_table(still, still), ma_cross, short=[2, 5], cost=0.0)
    assert quiet.passport["engine"].startswith("compiled; 2 runs that left its precision")
    assert_rows_equal_backtests(quiet)


@aq.strategy
def slow_turn(candles, window: int = 5, other: int = 3):
    """Rows for each combination that no other one has, and rows made from those."""
    apart = ema(candles.close, window) - ema(candles.open, window * other)
    return abs(apart) > 0.3


def test_more_rows_than_are_kept():
    windows = range(1, layout.FEW + 100)
    candles = random_walk(1_500, 2)
    whole = aq.sweep(candles, slow_turn, window=windows, other=[3], cost=[0.0, 0.001])
    parts = [
        aq.sweep(candles, slow_turn, window=part, other=[3], cost=[0.0, 0.001]).table
        for part in (windows[:300], windows[300:])
    ]
    assert 2 * 300 < layout.FEW < 2 * len(windows)
    assert_same(whole.table, pd.concat(parts))
    assert_rows_equal_backtests(whole, range(0, len(whole.table), 217))


def test_more_shared_rows_than_are_ever_kept():
    """Each row is looked at by nine combinations, and still not all of them have a place."""

    @aq.strategy
    def leveled(candles, window: int = 5, level: float = 1.0):
        return ema(candles.close, window) * 1.0 > sma(candles.close, 5) * level

    levels = np.linspace(0.98, 1.02, 9)
    windows, candles = range(1, layout.MOST // 2 + 200), random_walk(120, 0)
    assert len(levels) >= layout.SHARED and 2 * len(windows) > layout.MOST
    whole = aq.sweep(candles, leveled, window=windows, level=levels).table
    for part in (windows[:20], windows[60:90], windows[-20:]):
        table = aq.sweep(candles, leveled, window=part, level=levels).table
        assert_same(whole.loc[table.index], table)


def test_rows_that_many_share_beside_rows_of_few():
    windows = range(2, layout.FEW + 60)

    @aq.strategy
    def shared(candles, window: int = 5, kind: str = "a"):
        middle = sma(candles.close, 20) if kind == "a" else candles.high
        return (ema(candles.close, window) > middle) & (rsi(candles.close, 9) > 40)

    candles = random_walk(1_100, 2)
    whole = aq.sweep(candles, shared, window=windows, kind=["a", "b"], direction="both")
    part = aq.sweep(candles, shared, window=windows[-300:], kind=["a", "b"], direction="both")
    assert_same(whole.table.iloc[-600:], part.table)
    assert_rows_equal_backtests(whole, range(0, len(whole.table), 301))


def test_a_hundred_thousand_combinations():
    levels = np.linspace(90.0, 110.0, 50_000)
    result = aq.sweep(random_walk(150, 5), ups, level=levels, cost=[0.0, 0.001])
    assert len(result.table) == 100_000
    assert_rows_equal_backtests(result, range(0, 100_000, 9_973))


def test_a_grid_larger_than_memory_is_refused_before_any_work():
    called = []

    @aq.strategy
    def cube(candles, a: int = 0, b: int = 0, c: int = 0):
        called.append(a)
        return candles.close > a + b + c

    thousand = range(1_000)
    with pytest.raises(
        aq.StrategyError, match=r"1,000,000,000 combinations.*memory_limit="
    ) as told:
        aq.sweep(random_walk(50, 0), cube, a=thousand, b=thousand, c=thousand)
    assert "raise the limit" in str(told.value) and "fewer values" in str(told.value)
    assert not called


def test_a_level_larger_than_memory_is_refused_before_anything_goes_through_it():
    with pytest.raises(aq.StrategyError, match=r"1,000,000,000 combinations \(1,000,000,000 of"):
        aq.sweep(random_walk(50, 0), ma_cross, short=range(10**9))
