"""Row k of a sweep equals the backtest of row k; and what a sweep refuses."""

from __future__ import annotations

import math

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backtesting import clairvoyant, options, random_walk, ups

import astraquant as aq
from astraquant.runs import Market, Options, run
from astraquant.strategies import ma_cross
from astraquant.vectorbt_adapter import simulate


def assert_rows_equal_backtests(result):
    assert len(result.table) > 0
    for row in result.table.index:
        alone = result.backtest(row).metrics[result.table.columns]
        got = result.table.loc[row]
        for name in result.table.columns:
            rel = 1e-6 if name == "annual_return" else 1e-9  # compounds the rounding of a few bars
            assert got[name] == pytest.approx(alone[name], rel=rel, abs=1e-10, nan_ok=True), (
                row,
                name,
            )


@pytest.mark.parametrize("fill", ["open", "close"])
@pytest.mark.parametrize("direction", ["long", "short", "both"])
def test_every_row_equals_its_backtest(fill, direction):
    result = aq.sweep(
        random_walk(2_000, 4, volatility=0.02),
        ma_cross,
        short=[1, 3, 8],
        long=[2, 8, 30, 700],
        cost=[0.0, 0.001, 0.05],
        timeframe=["5m", "30m"],
        fill=fill,
        direction=direction,
        slippage=0.0003,
        start="2023-01-02",
    )
    assert result.table.index.names == ["short", "long", "timeframe", "cost"]
    assert len(result.table) == 9 * 2 * 3
    assert result.skipped == 3 * 2 * 3
    assert_rows_equal_backtests(result)


def test_every_row_equals_its_backtest_on_real_minutes(market_data):
    candles = aq.read_candles(
        market_data / "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    )
    result = aq.sweep(
        candles, ma_cross, short=[5, 50], long=[20, 200], timeframe=["1m", "1h"], direction="both"
    )
    assert_rows_equal_backtests(result)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 7.0]), min_size=2, max_size=40),
    options,
    st.sampled_from(["long", "short", "both"]),
)
def test_vectorbt_and_the_ledger_agree_on_wild_tables(closes, opts, direction):
    candles = naive.candle_table([closes[0], *closes[:-1]], closes)
    result = aq.sweep(candles, ups, level=[1.2, 2.5, 3.2], direction=direction, **opts)
    assert_rows_equal_backtests(result)


def test_a_run_that_shrinks_beyond_vectorbts_smallest_number_is_still_exact():
    bars = 120_000
    closes = np.where(np.arange(bars) % 2, 3.0, 2.0)
    candles = naive.candle_table(closes, closes, step="1min")
    target = np.column_stack([(np.arange(bars) % 2), np.arange(bars) % 2 * 0]).astype(np.int8)
    opts = Options(cost=0.02, fill="close")
    market = Market(candles)
    (lost, precise), (flat, _) = simulate(target, market, opts)
    assert not precise
    expected = run(market, target[:, 0], opts)
    assert len(lost.trades) == len(expected.trades) == bars // 2
    assert flat.equity.tolist() == [10_000.0] * bars


@pytest.mark.parametrize("bars", [300, 500, 3_000])
def test_a_run_that_wins_beyond_vectorbts_numbers_is_still_exact(bars):
    closes = np.where(np.arange(bars) % 2, 2.0, 1.0)
    candles = naive.candle_table(closes, closes)
    result = aq.sweep(candles, clairvoyant, k=[1, 2], cost=0.0, fill="close")
    assert_rows_equal_backtests(result)


def test_arrays_are_run_once_for_all_costs():
    calls = []

    @aq.strategy
    def counted(candles, level: int = 100):
        calls.append(level)
        return np.asarray(candles.close) > level

    aq.sweep(random_walk(100, 0), counted, level=[99, 100], cost=[0.0, 0.001, 0.002])
    assert sorted(calls) == [99, 99, 100, 100]  # once to trace it, once as it is


def test_what_a_reader_must_know_stands_below_the_table():
    candles = random_walk(300, 0)
    opts = {"direction": "short", "fill": "close", "cost": 0.002}
    shorts = aq.sweep(candles, ma_cross, short=[2], long=5, **opts)
    html = shorts._repr_html_()
    assert "optimistic" in html and "no borrowing cost" in html and "0.2 %" in html
    longs = aq.sweep(candles, ma_cross, short=[2], cost=[0.0, 0.001])
    assert longs.notes == ()
    assert "at the table&#x27;s cost per side" in longs._repr_html_()
    jump = naive.candle_table([3, 3, 3, 7, 1, 3, 3], [3, 3, 3, 7, 1, 3, 1])
    ruined = aq.sweep(jump, ups, level=[2.5], direction="short", cost=0.0)
    assert "1 run ruined: a short lost all equity." in ruined.notes


def test_a_long_run_that_loses_nearly_all_is_not_called_ruined():
    closes = np.where(np.arange(2_000) % 2, 3.0, 2.0)
    candles = naive.candle_table(closes, closes)
    result = aq.sweep(candles, ups, level=[2.5], cost=0.02, fill="close")
    assert result.table["total_return"].iloc[0] == -1.0  # in floats: the rest is too small to show
    assert not any("ruined" in note for note in result.notes)


def test_rows_come_in_the_order_of_the_call():
    candles = random_walk(300, 0)
    result = aq.sweep(candles, ma_cross, long=[9, 5], short=(2, 3))
    assert result.table.index.names == ["long", "short"]
    assert list(result.table.index) == [(9, 2), (9, 3), (5, 2), (5, 3)]


def test_one_level_is_a_multiindex_too():
    candles = random_walk(300, 0)
    result = aq.sweep(candles, ma_cross, short=3, long=np.array([5, 9]))
    assert isinstance(result.table.index, pd.MultiIndex)
    assert list(result.table.index) == [(5,), (9,)]
    assert [type(v) for (v,) in result.table.index] == [int, int]
    assert_rows_equal_backtests(result)


def test_tiles_change_nothing():
    candles = random_walk(3_000, 1)
    grid = {"short": range(2, 8), "long": range(8, 14)}
    whole = aq.sweep(candles, ma_cross, **grid)
    tiled = aq.sweep(candles, ma_cross, memory_limit=3_500_000, **grid)
    pd.testing.assert_frame_equal(whole.table, tiled.table, check_exact=True)


def test_strategies_that_cannot_be_traced_run_as_arrays_and_say_so():
    @aq.strategy
    def pandas_cross(candles, short: int = 3, long: int = 9):
        close = pd.Series(candles.close)
        return (close.rolling(short).mean() > close.rolling(long).mean()).to_numpy()

    result = aq.sweep(random_walk(500, 0), pandas_cross, short=[2, 3], long=[7, 9])
    assert_rows_equal_backtests(result)
    assert "strategy on arrays: it asks for the number of candles" in result.passport["engine"]


def test_best_is_the_highest_but_for_costs():
    result = aq.sweep(random_walk(800, 2), ma_cross, short=[2, 3, 5], long=[8, 13])
    table = result.table
    assert result.best("total_return").total_return == table["total_return"].max()
    assert result.best("max_drawdown").max_drawdown == table["max_drawdown"].max()
    assert result.best("fees_paid").fees_paid == table["fees_paid"].min()
    row = result.best().name
    assert result.backtest(row).metrics.sharpe == pytest.approx(table["sharpe"].max())


def test_a_trial_without_trades_is_nan_and_never_the_best():
    result = aq.sweep(random_walk(100, 5), ups, level=[1e9, 99.0])
    assert math.isnan(result.table["sharpe"].iloc[0])
    assert result.best().name == (99.0,)
    with pytest.raises(aq.StrategyError, match="no combination has a sharpe"):
        aq.sweep(random_walk(100, 5), ups, level=[1e9, 1e8]).best()


def test_a_sweep_prints_itself():
    result = aq.sweep(random_walk(300, 0), ma_cross, short=[2, 9], long=[5, 9])
    assert repr(result) == (
        "<Sweep ma_cross over short (2) × long (2): 2 combinations, 2 invalid left out>"
    )
    assert f"B{result.luck.words[1:]} (a probability, not a return" in result._repr_html_()


def test_the_passport_of_a_sweep():
    candles = random_walk(300, 0)
    result = aq.sweep(candles, ma_cross, short=[2, 9], long=[5, 9])
    alone = aq.backtest(candles, ma_cross, short=2, long=5)
    assert result.passport["candles_sha256"] == alone.passport["candles_sha256"]
    assert result.passport["trials"] == 2
    assert result.passport["skipped"] == 2
    assert result.passport["engine"] == "compiled"
    assert result.passport["contract"] == alone.passport["contract"]
    two = aq.sweep(candles, ma_cross, short=[2, 3], timeframe=["5m", "15m"]).passport
    assert list(two["bars"]) == ["5m", "15m"]
    assert two["bars"]["15m"]["evaluated"].endswith("(100 bars)")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "nothing to sweep"),
        ({"short": []}, "short is empty"),
        ({"short": [20, 30], "long": [5, 10]}, "none of the 4 combinations.*short < long"),
        ({"shrot": [5, 10]}, "Did you mean 'short'"),
        ({"short": [5, 5]}, "value 5 twice"),
        ({"short": [5, 5.5]}, "whole number"),
        ({"short": [5, 5000]}, "out of range"),
        ({"short": 900, "long": [5, 10]}, "out of range"),
        ({"cost": [0.1, -1]}, "cost=-1"),
        ({"short": [5], "engine": "vectorbot"}, "Did you mean 'vectorbt'"),
        ({"short": [5], "memory_limit": 1_000}, "memory_limit=1,000"),
        ({"short": [5], "memory_limit": 1e9}, "whole number of bytes"),
        ({"short": [5], "memory_limit": None}, "whole number of bytes"),
        ({"short": {5, 6}}, "short is a set"),
        ({"short": np.array(5)}, r"array of shape \(\)"),
        ({"short": [5], "fill": "next"}, "unknown fill"),
    ],
)
def test_what_cannot_be_swept_is_refused(arguments, text):
    with pytest.raises(aq.StrategyError, match=text):
        aq.sweep(random_walk(300, 0), ma_cross, **arguments)


def test_bad_timeframes_are_refused_before_anything_runs():
    with pytest.raises(aq.DataError, match="Did you mean"):
        aq.sweep(random_walk(300, 0), ma_cross, short=[5], timeframe=["5m", "1hour"])
    with pytest.raises(aq.DataError, match="unknown timeframe None"):
        aq.sweep(random_walk(300, 0), ma_cross, short=[5], timeframe=["5m", None])


def test_a_strategy_that_raises_is_named_with_its_combination():
    @aq.strategy
    def picky(candles, level: int = 1):
        if level == 3:
            raise ValueError("three is not a level")
        return candles.close > level

    with pytest.raises(aq.StrategyError, match=r"picky\(level=3\) raised ValueError.*three"):
        aq.sweep(random_walk(50, 0), picky, level=[1, 2, 3])


def test_rows_and_levels_that_do_not_exist_are_refused():
    result = aq.sweep(random_walk(300, 0), ma_cross, short=[2, 3], long=[5, 9], cost=[0.0, 0.1])
    with pytest.raises(aq.StrategyError, match="is no row"):
        result.backtest((7, 7, 0.0))
    for wrong in ([2, 5, 0.0], (2,), 2, result.best()):
        with pytest.raises(aq.StrategyError, match="expected a tuple of short, long, cost"):
            result.backtest(wrong)
    assert [type(value) for value in result.best().name] == [int, int, float]
    with pytest.raises(aq.StrategyError, match="unknown metric"):
        result.heatmap(["sharpe"])
    with pytest.raises(aq.StrategyError, match="Did you mean 'sharpe'"):
        result.best("sharp")
    with pytest.raises(aq.StrategyError, match="fix the others"):
        result.heatmap("sharpe")
    with pytest.raises(aq.StrategyError, match=r"unknown level 'csot'\. Did you mean 'cost'"):
        result.heatmap("sharpe", csot=0.0)
    with pytest.raises(aq.StrategyError, match="unknown value of cost"):
        result.heatmap("sharpe", cost=0.5)
