"""Sweeps of stops: every row is the backtest of that row."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_engine import assert_sums
from naive_stops import FRACTIONS, directions, options, three_ways, wicked

import astraquant as aq
from astraquant.indicators import sma

LISTS = st.lists(st.sampled_from([None, *FRACTIONS]), min_size=1, max_size=3, unique=True)
lists_of_stops = st.fixed_dictionaries(
    {}, optional={"stop_loss": LISTS, "take_profit": LISTS, "trailing_stop": LISTS}
).filter(bool)
tables = st.builds(
    wicked,
    st.sampled_from([2, 7, 64, 200, 1023, 1025, 2100]),
    st.integers(0, 2**32),
    jump=st.sampled_from([0.002, 0.01, 0.05, 0.4]),
)


@aq.strategy
def above(candles, window: int = 3):
    """Long while the close is above its average."""
    return candles.close > sma(candles.close, window)


@aq.strategy
def on_arrays(candles, window: int = 3):
    """The same, in a way that can't be traced."""
    return np.asarray(candles.close) > sma(candles.close, window)


def assert_rows_are_backtests(swept):
    """Each row of the table equals the backtest of that row."""
    for place, row in enumerate(swept.grid.rows):
        result = swept.backtest(row)
        assert_sums(row, swept._job.sums[place], result._ledger.returns)
        for name, value in swept.table.iloc[place].items():
            rel = 1e-6 if name == "annual_return" else 1e-9
            assert value == pytest.approx(result.metrics[name], rel=rel, abs=1e-10, nan_ok=True), (
                row,
                name,
            )


@settings(max_examples=60)
@given(tables, options, lists_of_stops, directions, st.sampled_from([None, "5m", "15m"]))
def test_each_row_is_its_backtest(candles, opts, limits, direction, timeframe):
    if timeframe is not None and len(aq.resample(candles, timeframe)) == 0:
        return
    swept = aq.sweep(
        candles, above, window=[1, 2, 20], direction=direction, timeframe=timeframe,
        **opts, **limits,
    )  # fmt: skip
    assert swept.passport["engine"].startswith("compiled")
    assert_rows_are_backtests(swept)


@settings(max_examples=25)
@given(tables, options, lists_of_stops, st.integers(0, 2_099), st.integers(0, 2_099))
def test_each_row_of_a_window_is_its_backtest(candles, opts, limits, start, bars):
    """Of a strategy that returns -1, 0 and 1."""
    start = min(start, len(candles) - 1)
    begin, end = candles.index[start], candles.index[min(start + bars, len(candles) - 1)]
    end += pd.Timedelta("1min")
    swept = aq.sweep(
        candles, three_ways, hold=[1, 7, 50], start=begin, end=end, **opts, **limits,
    )  # fmt: skip
    assert_rows_are_backtests(swept)


@settings(max_examples=15)
@given(
    st.builds(wicked, st.integers(2, 150), st.integers(0, 2**32), jump=st.sampled_from([0.01])),
    options, lists_of_stops, directions,
)  # fmt: skip
def test_vectorbt_books_the_same_fills_alike(candles, opts, limits, direction):
    arguments = {"window": [1, 2, 20], "direction": direction, **opts, **limits}
    ours = aq.sweep(candles, above, **arguments)
    theirs = aq.sweep(candles, above, engine="vectorbt", **arguments)
    pd.testing.assert_frame_equal(ours.table, theirs.table, rtol=1e-9, atol=1e-10)


def swept_over(candles, limits, **arguments):
    """A sweep of two windows over all combinations of ``limits``."""
    return aq.sweep(candles, above, window=[2, 5], **limits, **arguments)


@pytest.mark.parametrize("fill", ["open", "close"])
def test_stops_are_levels_in_their_order(fill):
    candles = wicked(500, 3, gone=0.0)
    limits = {"trailing_stop": [0.01, 0.1], "stop_loss": [None, 0.02], "take_profit": 0.05}
    swept = swept_over(candles, limits, fill=fill, cost=[0.0001, 0.001], timeframe=["1m", "5m"])
    assert swept.table.index.names == ["window", "timeframe", "cost", "stop_loss", "trailing_stop"]
    assert swept.grid.levels["stop_loss"] == (math.inf, 0.02)
    assert swept.grid.fixed["take_profit"] == 0.05
    assert len(swept.table) == 2 * 2 * 2 * 2 * 2
    assert swept.passport["engine"] == "compiled"
    assert_rows_are_backtests(swept)
    assert swept.contract.endswith(
        "With a take profit of 5 %. With the table's stop loss and trailing stop."
    )
    assert "Stops were watched in candles of 1m." in swept.notes
    assert swept.passport["options"]["take_profit"] == 0.05
    assert "stop_loss" not in swept.passport["options"]


def test_no_stop_is_the_plain_sweep():
    candles = wicked(500, 3)
    plain = aq.sweep(candles, above, window=[2, 5])
    stopped = aq.sweep(candles, above, window=[2, 5], stop_loss=[None, 0.01])
    without = stopped.table.xs(math.inf, level="stop_loss")
    np.testing.assert_allclose(without, plain.table, rtol=1e-9, atol=1e-12)
    assert not np.allclose(stopped.table.xs(0.01, level="stop_loss"), plain.table, equal_nan=True)


def test_many_stops_of_one_strategy_are_shared_among_the_cores():
    candles = wicked(20_000, 5)
    stops = [k / 1000 for k in range(1, 900)]
    swept = aq.sweep(candles, above, window=[20], stop_loss=stops)
    for row in swept.table.index[::150]:
        result = swept.backtest(row)
        assert swept.table.loc[row, "total_return"] == pytest.approx(result.metrics.total_return)


def test_a_small_memory_limit_gives_the_same_table():
    candles = wicked(3_000, 5)
    arguments = {"window": range(1, 40), "stop_loss": [0.01, 0.02, 0.05], "trailing_stop": [0.03]}
    whole = aq.sweep(candles, above, **arguments)
    tiles = aq.sweep(candles, above, memory_limit=600_000, **arguments)
    pd.testing.assert_frame_equal(whole.table, tiles.table)


def test_runs_beyond_the_precision_of_the_engine_get_their_own_stops():
    """All of them are booked by the ledger, each under the stop of its row."""
    candles = wicked(400, 11, gone=0.0)
    candles.loc[candles.index[200:], ["open", "high", "low", "close"]] *= 1e-12
    swept = swept_over(
        candles, {"stop_loss": [None, 0.01, 0.25], "trailing_stop": [0.1, None]}, cost=[0.0, 0.01]
    )
    assert "24 runs that left its precision" in swept.passport["engine"]
    assert_rows_are_backtests(swept)


def test_many_trailing_stops_stay_within_the_memory_limit():
    candles = wicked(3_000, 5)
    trails = [k / 10_000 for k in range(1, 6_001)]
    swept_over(candles, {"trailing_stop": trails[:3]})  # compiles
    limit = 12_000_000
    assert 4_100 * len(trails) > 2 * limit  # what the tables of all would need
    tracemalloc.start()
    swept = swept_over(candles, {"trailing_stop": trails}, memory_limit=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit
    for row in [swept.grid.rows[k] for k in (0, 2_999, 11_999)]:
        expected = swept.backtest(row).metrics["total_return"]
        assert swept.table.loc[row, "total_return"] == pytest.approx(expected)


def test_none_names_the_rows_without_a_stop():
    swept = swept_over(wicked(300, 3), {"stop_loss": [None, 0.01]})
    assert swept.backtest((2, None)).options.stop_loss is None
    line = swept.heatmap("total_return", stop_loss=None)
    assert "stop_loss none" in repr(line)
    assert repr(line) == repr(swept.heatmap("total_return", stop_loss=math.inf))
    with pytest.raises(aq.StrategyError, match="unknown value of window None"):
        swept.heatmap("total_return", window=None)


def test_several_symbols_are_stopped_each_in_its_own_candles():
    pair = {"AAAUSDT": wicked(600, 1), "BBBUSDT": wicked(500, 2)}
    joined = aq.join_candles(pair)
    swept = aq.sweep(joined, above, window=[2, 5], timeframe="5m", stop_loss=[None, 0.01])
    for symbol, candles in pair.items():
        alone = aq.sweep(candles, above, window=[2, 5], timeframe="5m", stop_loss=[None, 0.01])
        pd.testing.assert_frame_equal(swept.symbols[symbol].table, alone.table)
    assert "Stops were watched in candles of 1m." in swept.notes
    assert swept.passport["symbols"]["AAAUSDT"]["candles_timeframe"] == "1m"
    assert "stop_loss none" in repr(swept.heatmap("sharpe", stop_loss=None))


def test_a_strategy_on_arrays_is_stopped_too():
    candles = wicked(2_500, 7)
    traced = aq.sweep(candles, above, window=[2, 9], stop_loss=[0.01, 0.05], direction="both")
    arrays = aq.sweep(candles, on_arrays, window=[2, 9], stop_loss=[0.01, 0.05], direction="both")
    assert "strategy on arrays" in arrays.passport["engine"]
    # The traced one knows nothing until its average is known; so does the other.
    pd.testing.assert_frame_equal(traced.table, arrays.table, rtol=1e-9)


def test_the_portfolio_of_vectorbt_has_the_same_end():
    candles = wicked(400, 2)
    for fill in ("open", "close"):
        result = aq.backtest(candles, above, fill=fill, stop_loss=0.01, take_profit=0.02)
        equity = result.portfolio.value()
        assert len(equity) == 2 * len(result.equity)
        np.testing.assert_allclose(equity.to_numpy()[1::2], result.equity, rtol=1e-9)


@pytest.mark.parametrize("name", ["stop_loss", "take_profit", "trailing_stop"])
def test_bad_stops_in_a_list_are_refused(name):
    candles = wicked(50, 1)
    with pytest.raises(aq.StrategyError, match=rf"{name}=-0.1: expected a fraction"):
        aq.sweep(candles, above, window=[2], **{name: [0.1, -0.1]})
    with pytest.raises(aq.StrategyError, match=rf"{name} is empty"):
        aq.sweep(candles, above, window=[2], **{name: []})
    with pytest.raises(aq.StrategyError, match=rf"{name} has the value inf twice"):
        aq.sweep(candles, above, window=[2], **{name: [None, math.inf]})
