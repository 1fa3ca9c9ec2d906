"""Running the sweep engine: threads, interrupts, strategies that go wrong."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from naive_engine import assert_same
from test_backtesting import random_walk, ups
from test_cache_faults import small_disk  # noqa: F401 - a fixture
from test_engine_memory import of_several_kinds

import astraquant as aq
from astraquant.engine.bars import BLOCK
from astraquant.engine.running import Batch, Setting, _Part, _run_parts, make_ready
from astraquant.indicators import sma
from astraquant.strategies import ma_cross, where
from astraquant.strategies.running import columns_of

PROJECT = Path(__file__).resolve().parent.parent


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
    columns = columns_of(candles, "5m")
    setting = Setting(columns, 0, "open", 1, "both", 0.0, 1e4)
    bounds = [ma_cross.bind({"short": a, "long": b}) for a in range(1, 60) for b in range(60, 130)]
    (group,) = Batch(ma_cross, setting, bounds, 2**30, lambda: None).groups()
    part = _Part(make_ready(group, setting, 2**30), setting, 0.001, [], np.arange(len(bounds)))

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
