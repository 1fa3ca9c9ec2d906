"""Running the sweep engine: tiles of memory, threads, interrupts, code on disk, refusals."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import naive
import numpy as np
import pandas as pd
import pytest
from naive_engine import assert_rows_equal_backtests
from test_backtesting import random_walk, ups
from test_cache_faults import small_disk  # noqa: F401 - a fixture

import astraquant as aq
from astraquant.engine import layout
from astraquant.engine.bars import BLOCK
from astraquant.engine.running import Batch, Setting, _Part, _run_parts, make_ready
from astraquant.indicators import ema, rolling_std, rsi, sma
from astraquant.strategies import ma_cross, where
from astraquant.strategies.running import columns_of

PROJECT = Path(__file__).resolve().parent.parent


def assert_same(one, other):
    """Two tables are the same, to the last bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# Memory


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
        tiled = aq.sweep(candles, strategy, memory_limit=3_000 * 120 + trials * 3_000, **options)
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


# Threads and interrupts


def test_the_table_does_not_depend_on_the_number_of_threads():
    """A large sweep is shared among threads, small ones are not."""
    candles = random_walk(30_000, 3)
    grid = {"long": range(50, 110), "direction": "both"}
    whole = aq.sweep(candles, ma_cross, short=range(2, 14), **grid).table
    parts = [aq.sweep(candles, ma_cross, short=[short], **grid).table for short in range(2, 14)]
    assert_same(whole, pd.concat(parts))


def test_sweeps_side_by_side_in_threads():
    candles = random_walk(30_000, 3)

    def one(direction):
        grid = {"short": range(2, 14), "long": range(50, 110)}
        return aq.sweep(candles, ma_cross, direction=direction, cost=[0.0, 0.001], **grid).table

    directions = ["long", "short", "both", "long"]
    alone = [one(direction) for direction in directions]
    with ThreadPoolExecutor(len(directions)) as pool:
        for table, expected in zip(pool.map(one, directions), alone, strict=True):
            assert_same(table, expected)
    assert gc.isenabled()


class Stop(Exception):
    """Raised while a sweep is at work."""


def test_what_is_raised_meanwhile_ends_the_kernel_at_its_next_block():
    candles = random_walk(300_000, 0).round(2)
    columns = columns_of(candles)
    setting = Setting(columns, 0, "open", 1, "both", 0.0, 1e4)
    bounds = [ma_cross.bind({"short": a, "long": b}) for a in range(1, 60) for b in range(60, 130)]
    (group,) = Batch(ma_cross, setting, bounds, 2**30, lambda: None).groups()
    part = _Part(make_ready(group, setting, 2**30), setting, 0.001, slice(None))

    def watch(share):
        assert share < 1  # the whole would take seconds
        raise Stop

    with pytest.raises(Stop):
        _run_parts([part], watch)
    assert part.share < 1
    part.run()  # goes on, for one block, having been told to stop
    assert part.share == 1 / -(-len(candles) // BLOCK)


INTERRUPTED = """
import numpy as np
import astraquant as aq
from test_backtesting import random_walk

calls = 0

@aq.strategy
def long_work(candles, short: int = 1, long: int = 2):
    global calls
    calls += 1
    if calls == 4_000:
        print("traced", flush=True)  # the kernel comes next
    return aq.indicators.sma(candles.close, short) > aq.indicators.sma(candles.close, long)

small = lambda: aq.sweep(random_walk(500, 0), long_work, short=range(1, 5), direction="both")
before = small()
calls = 0
candles = random_walk(800_000, 0).round(2)  # whole ticks: averages need no arrays of their own
costs = np.linspace(0.0, 0.01, 60)
try:
    result = aq.sweep(candles, long_work, short=range(1, 41), long=range(100, 200), cost=costs)
except KeyboardInterrupt:
    print("interrupted", "result" in globals(), flush=True)
import gc
print("again", small().table.equals(before.table), gc.isenabled(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_an_interrupt_ends_a_long_sweep_at_once_and_the_process_goes_on():
    """The sweep would take minutes on one core."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        env={**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}", "TQDM_DISABLE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == "traced\n"
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert process.stdout.readline() == "interrupted False\n"
        assert time.monotonic() - sent < 10  # about a tenth of a second, on a quiet machine
        assert process.stdout.readline() == "again True True\n"
        assert process.wait() == 0
    finally:
        process.kill()
        process.communicate()


def test_an_interrupt_in_a_compiled_function_is_one_of_the_sweep():
    """There it comes out as a SystemError, and a strategy that called it as a StrategyError."""

    @aq.strategy
    def interrupted(candles, level: float = 1.0):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    with pytest.raises(KeyboardInterrupt):
        aq.sweep(random_walk(50, 0), interrupted, level=[1.0])


# Compiled code on disk

INNER = """
from ._compile import compiled

@compiled
def inner(x):
    return x + {}
"""
OUTER = """
from ._compile import compiled
from .inner import inner

@compiled
def outer(x):
    return 10 * inner(x)
"""
ASK = """
from astraquant.outer import outer
value, stats = outer(1), getattr(outer, "stats", None)
print(value, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def make_package(folder):
    """A package of two kernels, the one in the other, compiled as ours are."""
    package = folder / "astraquant"
    package.mkdir()
    shutil.copy(PROJECT / "astraquant" / "_compile.py", package)
    (package / "__init__.py").touch()
    (package / "inner.py").write_text(INNER.format(1))
    (package / "outer.py").write_text(OUTER)
    return package


def ask(folder, cache):
    """The kernel's answer in a new process, and how often its code was found and made."""
    unset = ("NUMBA_CACHE_DIR", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(cache), "HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ASK)],
        env=env, capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    assert not done.stderr
    return tuple(map(int, done.stdout.split()))


def test_compiled_code_is_kept_and_made_anew_when_what_it_calls_changes(tmp_path):
    package = make_package(tmp_path)
    cache = tmp_path / "cache"
    assert ask(tmp_path, cache) == (20, 0, 1)
    assert ask(tmp_path, cache) == (20, 1, 0)
    (package / "inner.py").write_text(INNER.format(2))  # not the file of the kernel that is called
    assert ask(tmp_path, cache) == (30, 0, 1)
    assert ask(tmp_path, cache) == (30, 1, 0)
    assert not cache.exists()  # it lies beside the source


def test_a_read_only_installation_keeps_compiled_code_in_the_users_cache(
    small_disk,  # noqa: F811
    tmp_path,
):
    make_package(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert ask(small_disk, tmp_path / "cache") == (20, 0, 1)
    assert ask(small_disk, tmp_path / "cache") == (20, 1, 0)
    assert list((tmp_path / "cache").rglob("*.nbi"))
    # Where that can't be written either, it is compiled each time, and works.
    for _ in range(2):
        assert ask(small_disk, small_disk / "cache") == (20, 0, 1)


# Bad input


def answers(level):
    """What a strategy may wrongly return, by level; 0 is right."""
    return {
        0: lambda candles: candles.close > 100,
        1: lambda candles: None,
        2: lambda candles: np.full(3, True),
        3: lambda candles: where(candles.close > 100, 2, 0),
        4: lambda candles: candles.close,
        5: lambda candles: candles.close > 100 if candles.close > 99 else candles.open > 100,
        6: lambda candles: (candles.close > 100) and (candles.open > 100),
        7: lambda candles: np.asarray(candles.close) * 0 + 0.5,
        8: lambda candles: candles.close > 1 / (level - 8),
        9: lambda candles: candles.clsoe > 100,
        10: lambda candles: candles.close > "100",
        11: lambda candles: sma(candles.close, 0) > 100,
    }[level]


@aq.strategy
def sometimes_wrong(candles, level: int = 0):
    return answers(level)(candles)


@pytest.mark.parametrize(
    ("level", "text"),
    [
        (1, "returned None"),
        (2, "returned 3 values for 80 candles"),
        (3, "asks for a position of 2 at 2023"),
        (4, r"asks for a position of .*For a condition return booleans"),
        (5, "no single truth value.*where"),
        (6, r"no single truth value.*\(a > b\) & \(c > d\)"),
        (7, "asks for a position of 0.5"),
        (8, "ZeroDivisionError"),
        (9, "Did you mean 'close'"),
        (10, "'100'"),
        (11, "whole number of bars"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_one_wrong_combination_ends_the_sweep_and_is_named(level, text, first):
    levels = [level, 0] if first else [0, level]
    with pytest.raises(aq.StrategyError, match=rf"sometimes_wrong\(level={level}\).*{text}"):
        aq.sweep(random_walk(80, 0), sometimes_wrong, level=levels)
    assert gc.isenabled()
    assert len(aq.sweep(random_walk(80, 0), sometimes_wrong, level=[0]).table) == 1


@pytest.mark.parametrize("direction", ["short", "both"])
def test_sides_and_a_direction_contradict_each_other_in_one_combination_too(direction):
    candles = random_walk(80, 0)
    with pytest.raises(aq.StrategyError, match=r"of_several_kinds\(kind='b'.*leave it out"):
        aq.sweep(candles, of_several_kinds, kind=["a", "b"], direction=direction)


def test_values_that_stand_twice_are_found_in_a_long_list():
    levels = [*np.linspace(1.0, 2.0, 100_000), 1.0]
    with pytest.raises(aq.StrategyError, match="value 1.0 twice"):
        aq.sweep(random_walk(50, 0), ups, level=levels)
