"""Sums of returns over blocks of time: what they are cut into, and that they are the ledger's."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_engine import assert_rows_equal_backtests, table
from test_backtesting import random_walk

import astraquant as aq
from astraquant.engine.bars import BLOCK
from astraquant.engine.cutting import empty_cuts
from astraquant.indicators import sma
from astraquant.moments import affordable_blocks, block_bounds, by_blocks, sums_of
from astraquant.strategies import ma_cross, where


@aq.strategy
def above(candles, window: int = 3):
    """Long while the close is above its average."""
    return candles.close > sma(candles.close, window)


@given(st.integers(1, 10_000))
def test_blocks_are_of_equal_length_but_for_one_bar(bars):
    lengths = np.diff(block_bounds(bars))
    assert lengths.sum() == bars
    assert len(lengths) == 16
    assert lengths.max() - lengths.min() <= 1


@given(st.lists(st.floats(-1, 1) | st.sampled_from([5e7, 1e-9]), min_size=1, max_size=60))
def test_sums_of_a_run(returns):
    bounds = block_bounds(len(returns))
    sums = sums_of(np.array(returns), bounds)
    for k in range(16):
        for power in range(1, 5):
            expected = sum(value**power for value in returns[bounds[k] : bounds[k + 1]])
            own = sum(abs(value) ** power for value in returns[bounds[k] : bounds[k + 1]])
            assert sums[k, power - 1] == pytest.approx(expected, rel=1e-9, abs=1e-12 * own)


def test_blocks_that_are_empty_have_sums_of_zero():
    between = np.arange(1.0, 9.0).reshape(1, 2, 4)  # of bars 3 and 4, of bars 5 to 8
    sums = by_blocks(between, np.array([5, 9]), np.array([3, 5, 5, 9]))
    np.testing.assert_array_equal(sums[0, [0, 2]], 0.0)
    np.testing.assert_array_equal(sums[0, [1, 3]], between[0])


def test_equal_trades_in_a_block_have_equal_sums_whatever_was_before():
    """Else rounding would decide which of two equals fared better."""
    candles = random_walk(8 * 1_024 + 300, 6)
    late = candles.index[4 * 1_024 + 700]

    @aq.strategy
    def before(candles, window: int = 3, other: int = 9):
        begun = candles.time >= late.value // 10**6
        early = candles.close > sma(candles.close, other)
        return where(begun, candles.close > sma(candles.close, window), early & ~begun)

    swept = aq.sweep(candles, before, window=[5], other=[2, 9, 40])
    sums = swept._job.sums
    ends = np.flatnonzero(np.arange(17) * len(candles) // 16 > 4 * 1_024 + 701)
    np.testing.assert_array_equal(sums[0, ends[1] :], sums[1, ends[1] :])
    np.testing.assert_array_equal(sums[0, ends[1] :], sums[2, ends[1] :])
    assert (sums[0, 0] != sums[1, 0]).any()


@pytest.mark.parametrize("bars", [2, 5, 16, 17, 100, 1_023, 1_024, 1_025, 5_000, 17_000])
@pytest.mark.parametrize("direction", ["long", "short", "both"])
def test_blocks_of_time_that_end_anywhere_within_those_of_the_engine(bars, direction):
    candles = table(bars, 3, "walk")
    swept = aq.sweep(candles, above, window=[1, 2, 7, 40], direction=direction)
    assert swept._job.sums.shape == (4, 16, 4)
    assert_rows_equal_backtests(swept)


@pytest.mark.parametrize("fill", ["open", "close"])
def test_blocks_begin_at_the_first_evaluated_bar(fill):
    candles = random_walk(3_000, 4)
    for start in (1, 700, 1_024, 2_990):
        swept = aq.sweep(candles, above, window=[2, 9], start=candles.index[start], fill=fill)
        assert_rows_equal_backtests(swept)


def test_each_timeframe_has_its_own_bars_and_each_cost_its_own_returns():
    candles = random_walk(2_000, 4)
    swept = aq.sweep(candles, above, window=[2, 9], timeframe=["5m", "15m", "1h"], cost=[0.0, 0.01])
    assert_rows_equal_backtests(swept)
    lengths = swept._trials.lengths
    for place, (_, frame, _) in enumerate(swept.grid.rows):
        assert lengths[place].sum() == len(aq.resample(candles, frame))


def test_vectorbt_gives_the_same_sums():
    candles = random_walk(500, 4)
    ours, theirs = (
        aq.sweep(candles, ma_cross, short=[2, 5], long=[7, 20], engine=engine)
        for engine in ("auto", "vectorbt")
    )
    np.testing.assert_allclose(ours._job.sums, theirs._job.sums, rtol=1e-9, atol=1e-12)


def test_large_sweeps_keep_fewer_blocks():
    assert affordable_blocks(1_000, 1_000 * 16 * 32) == 16
    assert affordable_blocks(1_000, 1_000 * 16 * 32 - 1) == 8
    assert affordable_blocks(1_000, 1_000 * 8 * 32 - 1) == 4
    assert affordable_blocks(1_000, 0) == 4
    levels = [90 + k / 100 for k in range(2_000)]
    swept = aq.sweep(random_walk(304, 2), crossing, level=levels, memory_limit=3_000_000)
    assert swept._job.sums.shape == (2_000, 8, 4)
    assert (swept._job.lengths == 38).all()
    assert_rows_equal_backtests(swept, range(0, 2_000, 333))


@aq.strategy
def crossing(candles, level: float = 100.0):
    """Long above a level."""
    return candles.close > level


@pytest.mark.parametrize(
    ("edges", "first", "parts", "longest"),
    [
        ([BLOCK], 0, 1, BLOCK),
        ([300, 700, 3_000], 0, 3, BLOCK),
        ([100, 200, 300], 50, 3, 100),
        ([1_100, 1_200], 1_050, 2, 100),
    ],
)
def test_there_is_a_table_for_each_part_as_long_as_the_longest(edges, first, parts, longest):
    cuts = empty_cuts(np.array(edges), first, 1, 1, 1)
    assert cuts.tables.enter.shape[:2] == (parts, longest + 1)


def test_a_run_without_a_trade_has_sums_of_zero():
    candles = naive.candle_table([100.0] * 50, [100.0] * 50)
    swept = aq.sweep(candles, above, window=[2, 3])
    np.testing.assert_array_equal(swept._job.sums, 0.0)
