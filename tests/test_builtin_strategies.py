"""The built-in strategies: traced, honest, the same in a sweep, and what their words say."""

from __future__ import annotations

import naive_indicators as naive
import numpy as np
import pandas as pd
import pytest
from naive_engine import KINDS, assert_rows_equal_backtests, table
from test_backtesting import random_walk

import astraquant as aq
from astraquant.strategies import (
    bollinger_reversion,
    buy_and_hold,
    donchian_breakout,
    load_strategies,
    ma_cross,
    macd_cross,
    momentum,
    rsi_reversion,
)

# Levels of a small grid that all of them can be swept over.
GRIDS = {
    "ma_cross": {"short": [2, 5], "long": [9, 30], "kind": ["sma", "ema", "wma"]},
    "rsi_reversion": {"window": [2, 9], "lower": [20.0, 40.0], "upper": [50.0, 75.0]},
    "macd_cross": {"fast": [2, 5], "slow": [9, 12], "signal": [1, 4]},
    "bollinger_reversion": {"window": [3, 20], "width": [0.5, 2.0]},
    "donchian_breakout": {"enter": [1, 3, 20], "leave": [1, 9]},
    "momentum": {"window": [1, 9, 50], "threshold": [0.0, 0.01]},
    "buy_and_hold": {"cost": [0.0, 0.001]},
}
each = pytest.mark.parametrize("name", GRIDS)


def test_each_has_a_grid_and_says_what_it_does():
    strategies = load_strategies()
    assert set(strategies) == set(GRIDS)
    for strategy in strategies.values():
        assert strategy.description.startswith("Long ")
        for parameter in strategy.parameters.values():
            assert parameter.default is not None
            assert parameter.range or parameter.choices


@each
def test_it_is_traced_and_never_looks_ahead(name):
    report = aq.check_strategy(load_strategies()[name], random_walk(3_000, 0))
    assert report.traced
    assert report.changes or name == "buy_and_hold"


@each
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_is_compiled_and_its_rows_are_backtests(name, kind):
    strategy = load_strategies()[name]
    grid = GRIDS[name] | ({"cost": [0.0, 0.002]} if name == "momentum" else {})
    result = aq.sweep(table(2_049, 3, kind), strategy, **grid)
    assert result.passport["engine"].startswith("compiled")
    assert "arrays" not in result.passport["engine"]
    assert_rows_equal_backtests(result)


@each
@pytest.mark.parametrize("direction", ["short", "both"])
def test_it_may_go_short(name, direction):
    result = aq.sweep(table(1_025, 4, "walk"), load_strategies()[name], direction=direction,
                      **GRIDS[name])  # fmt: skip
    assert_rows_equal_backtests(result)


def held(enter, leave):
    """Flat until the one, held until the other, bar by bar."""
    state, position = False, []
    for begins, ends in zip(enter, leave, strict=True):
        if begins != ends:
            state = bool(begins)
        position.append(state)
    return np.array(position)


def position_of(strategy, candles, **parameters):
    return aq.backtest(candles, strategy, **parameters).position.to_numpy() == 1


@pytest.fixture(scope="module")
def candles():
    return table(600, 9, "walk")


def crossings(a, b):
    above = np.r_[False, (a[:-1] <= b[:-1]) & (a[1:] > b[1:])]
    below = np.r_[False, (a[:-1] >= b[:-1]) & (a[1:] < b[1:])]
    return above, below


@pytest.mark.parametrize("kind", ["sma", "ema", "wma"])
def test_ma_cross(candles, kind):
    close, average = candles.close.to_numpy(), getattr(naive, kind)
    fast, slow = average(close, 4), average(close, 11)
    got = position_of(ma_cross, candles, short=4, long=11, kind=kind)
    # Averages of other digits may cross elsewhere where they all but touch.
    clear = np.abs(fast - slow) > 1e-9
    assert (got == held(*crossings(fast, slow)))[clear].all()
    assert 10 < got.sum() < len(got)


def test_rsi_reversion(candles):
    strength = naive.rsi(candles.close.to_numpy(), 5)
    got = position_of(rsi_reversion, candles, window=5, lower=25, upper=60)
    np.testing.assert_array_equal(got, held(strength < 25, strength > 60))
    assert 10 < got.sum() < len(got)


def test_macd_cross(candles):
    line, signal, _ = naive.macd(candles.close.to_numpy(), 4, 9, 3)
    got = position_of(macd_cross, candles, fast=4, slow=9, signal=3)
    clear = np.abs(line - signal) > 1e-9
    assert (got == held(*crossings(line, signal)))[clear].all()


def test_bollinger_reversion(candles):
    close = candles.close.to_numpy()
    middle, deviation = naive.sma(close, 8), naive.rolling_std(close, 8)
    got = position_of(bollinger_reversion, candles, window=8, width=1.5)
    np.testing.assert_array_equal(got, held(close < middle - 1.5 * deviation, close > middle))
    assert 10 < got.sum() < len(got)


def test_donchian_breakout_compares_with_the_bars_before(candles):
    high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
    enter = [i >= 6 and close[i] > high[i - 6 : i].max() for i in range(len(close))]
    leave = [i >= 3 and close[i] < low[i - 3 : i].min() for i in range(len(close))]
    got = position_of(donchian_breakout, candles, enter=6, leave=3)
    np.testing.assert_array_equal(got, held(enter, leave))
    assert 10 < got.sum() < len(got)


def test_momentum(candles):
    close = candles.close.to_numpy()
    expected = [i >= 7 and close[i] / close[i - 7] - 1 > 0.01 for i in range(len(close))]
    np.testing.assert_array_equal(
        position_of(momentum, candles, window=7, threshold=0.01), expected
    )


@pytest.mark.parametrize("fill", ["open", "close"])
@pytest.mark.parametrize("cost", [0.0, 0.001])
def test_buy_and_hold_is_the_figure_of_that_name(candles, fill, cost):
    result = aq.backtest(candles, buy_and_hold, fill=fill, cost=cost)
    assert result.metrics.total_return == pytest.approx(result.metrics.buy_and_hold, rel=1e-12)
    assert result.position.all()
    assert result.passport["engine"] == "traced"
    # Short of history it may buy at the open of the first bar: the decision was made before.
    later = aq.backtest(candles, buy_and_hold, fill=fill, cost=cost, start=candles.index[50])
    assert later.position.all()


def test_a_strategy_without_parameters_is_swept_over_costs_and_timeframes():
    walk = random_walk(3_000, 5)
    result = aq.sweep(walk, buy_and_hold, timeframe=["5m", "1h"], cost=[0.0, 0.001, 0.01])
    assert list(result.table.index.names) == ["timeframe", "cost"]
    assert_rows_equal_backtests(result)
    pd.testing.assert_series_equal(
        result.table["total_return"], result.table["buy_and_hold"], check_names=False
    )
    with pytest.raises(aq.StrategyError, match="such as cost="):
        aq.sweep(walk, buy_and_hold)


@pytest.mark.parametrize(
    ("strategy", "wrong", "text"),
    [
        (ma_cross, {"kind": "smma"}, "Did you mean 'sma'"),
        (ma_cross, {"short": 200}, "short < long"),
        (rsi_reversion, {"lower": 80}, "lower < upper"),
        (macd_cross, {"fast": 30}, "fast < slow"),
        (bollinger_reversion, {"width": 0}, "out of range; expected 0.1 to 5"),
        (donchian_breakout, {"leave": 0}, "out of range; expected 1 to 400"),
        (momentum, {"threshold": 2}, "out of range; expected 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(candles, strategy, wrong, text):
    with pytest.raises(aq.StrategyError, match=text):
        aq.backtest(candles, strategy, **wrong)
