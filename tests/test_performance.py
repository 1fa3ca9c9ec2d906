"""How a run went over time, against plain loops."""

from __future__ import annotations

import math

import naive_performance as naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import MINUTES
from test_accounting import wandering

import astraquant as aq
from astraquant import metrics, performance
from astraquant.accounting import run_ledger
from astraquant.errors import DataError
from astraquant.stops import find_fills
from astraquant.strategies import ma_cross

levels = st.lists(st.sampled_from([50.0, 80.0, 90.0, 100.0, 110.0, 130.0]), min_size=1, max_size=40)
START = pd.Timestamp("2023-01-30", tz="UTC")


def series(equity: list[float], step: str = "7h") -> pd.Series:
    times = pd.date_range(START, periods=len(equity), freq=step, name="time")
    return pd.Series(equity, index=times)


@given(levels, st.integers(0, 8))
def test_drawdowns_are_those_of_a_plain_loop(equity: list[float], count: int) -> None:
    money = series(equity)
    found = performance.worst_drawdowns(money, 100.0, count)
    falls = sorted(naive.drawdowns(equity, 100.0), key=lambda fall: fall["depth"])[:count]
    assert len(found) == len(falls)
    for row, fall in zip(found.itertuples(), falls, strict=True):
        for name in ("peak", "valley", "recovery"):
            time = getattr(row, name)
            assert pd.isna(time) if fall[name] is None else time == money.index[fall[name]]
        assert row.depth == fall["depth"]
        assert row.bars == fall["bars"]
        first = money.index[0] if fall["peak"] is None else row.peak
        last = money.index[-1] if fall["recovery"] is None else row.recovery
        assert row.length == last - first


@given(levels)
def test_the_deepest_fall_is_the_figure_of_the_contract(equity: list[float]) -> None:
    found = performance.worst_drawdowns(series(equity), 100.0)
    assert list(found["depth"]) == sorted(found["depth"])
    deepest = found["depth"].iloc[0] if len(found) else 0.0
    assert deepest == pytest.approx(metrics._lowest(np.array(equity), 100.0) - 1.0, abs=1e-15)
    assert performance.drawdown(np.array(equity), 100.0).min() == deepest


def test_a_drawdown_table_without_a_fall_keeps_its_columns_and_types() -> None:
    found = performance.worst_drawdowns(series([100.0, 120.0]), 100.0)
    other = performance.worst_drawdowns(series([100.0, 90.0]), 100.0)
    assert len(found) == 0
    pd.testing.assert_series_equal(found.dtypes, other.dtypes)


def test_of_equally_deep_falls_the_earlier_comes_first() -> None:
    found = performance.worst_drawdowns(series([100.0, 90.0, 100.0, 90.0]), 100.0)
    assert list(found["recovery"].isna()) == [False, True]


@given(levels, st.sampled_from(["7h", "5D", "40D"]))
def test_months_are_those_of_a_plain_loop_and_compound_to_the_total(
    equity: list[float], step: str
) -> None:
    money = series(equity, step)
    found = performance.monthly_returns(money, 100.0)
    expected = naive.monthly(list(money.index), equity, 100.0)
    assert {(m.year, m.month): r for m, r in found.items()} == pytest.approx(expected)
    assert all(month.day == 1 and month.tz is not None for month in found.index)
    assert np.prod(1.0 + found) == pytest.approx(equity[-1] / 100.0)


def test_months_after_a_ruin_return_nothing() -> None:
    found = performance.monthly_returns(series([50.0, 0.0, 0.0], "31D"), 100.0)
    assert list(found) == [-0.5, -1.0, 0.0]


@given(
    st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=60),
    st.sampled_from([0.1, 0.25, 1.0]),
)
def test_rolling_sharpe_is_that_of_each_window(returns: list[float], days: float) -> None:
    values = np.array(returns)
    at = np.arange(len(values))
    found = performance.rolling_sharpe(values, days, "1h", at)
    window = round(24 * days)
    for bar in at:
        part = returns[bar + 1 - window : bar + 1] if bar + 1 >= window else []
        expected = naive.sharpe(part, 365 * 24)
        assert found[bar] == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)


def test_a_window_over_the_whole_run_has_its_sharpe_ratio() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, 48)
    (found,) = performance.rolling_sharpe(returns, 2, "1h", np.array([47]))
    assert found == metrics.sharpe(returns) * math.sqrt(365 * 24)


def test_a_window_of_one_bar_is_refused() -> None:
    with pytest.raises(DataError, match="1 bars of 1d; expected at least 2"):
        performance.rolling_sharpe(np.zeros(9), 1, "1d", np.arange(9))


@pytest.mark.parametrize(
    ("bars", "timeframe", "expected"),
    [
        (525_600, "1m", [1, 7, 30, 90]),
        (8_760, "1h", [1, 7, 30, 90]),
        (730, "1d", [30, 90, 365]),
        (1, "1m", []),
        (2_880, "1m", [1]),
    ],
)
def test_windows_have_room_and_enough_bars(bars: int, timeframe: str, expected: list[int]) -> None:
    assert performance.rolling_windows(bars, timeframe) == expected


@given(st.lists(st.floats(-1.0, 3.0, allow_subnormal=False), max_size=80))
def test_a_histogram_counts_each_return_once_and_parts_the_signs(results: list[float]) -> None:
    edges, counts = performance.return_histogram(np.array(results))
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        assert count == sum(low < value <= high for value in results)
        assert low >= 0 or high <= 0
    assert counts.sum() == len(results)
    assert 0.0 in edges
    assert len(counts) <= performance.MOST_BINS + 1
    assert counts[edges[:-1] >= 0].sum() == sum(value > 0 for value in results)
    if len(counts):
        widths = np.diff(edges)
        np.testing.assert_allclose(widths, widths[0], rtol=1e-6)
        assert f"{widths[0]:.0e}"[0] in "125"


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([0.0, 0.001]))
def test_gross_equity_is_the_run_at_zero_cost(seed: int, bars: int, slippage: float) -> None:
    """Where nothing is ruined: the same targets at zero cost make the same fills."""
    target, price, close = wandering(seed, bars, longest=5)
    paid = run_ledger(find_fills(target, price), close, cost=0.002, slippage=slippage, cash=500.0)
    free = run_ledger(find_fills(target, price), close, cost=0.0, slippage=slippage, cash=500.0)
    found = performance.gross_equity(paid.trades, close, 500.0)
    np.testing.assert_allclose(found, free.equity, rtol=1e-12)
    total = math.expm1(metrics._log_growth(paid.trades, 0.0))
    assert found[-1] / 500.0 - 1.0 == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("fill", ["open", "close"])
def test_gross_equity_of_a_run_with_stops_is_that_run_at_zero_cost(fill: str) -> None:
    """Levels are shares of fill prices, so costs do not move them."""
    options = {"timeframe": "15m", "short": 3, "long": 9, "direction": "both", "fill": fill}
    stops = {"stop_loss": 0.004, "take_profit": 0.006, "trailing_stop": 0.005}
    paid = aq.backtest(MINUTES, ma_cross, cost=0.001, **options, **stops)
    free = aq.backtest(MINUTES, ma_cross, cost=0.0, **options, **stops)
    assert set(paid.trades["status"]) > {"stop_loss", "take_profit"}
    close = paid.candles["close"].to_numpy()
    found = performance.gross_equity(paid._ledger.trades, close, 10_000.0)
    np.testing.assert_allclose(found, free.equity, rtol=1e-12)
    assert found[-1] / 10_000.0 - 1.0 == pytest.approx(paid.metrics["gross_return"], abs=1e-12)


def test_gross_equity_of_a_ruin_ends_where_the_gross_return_does() -> None:
    target = np.array([-1, -1, -1, 0], np.int8)
    close = np.array([100.0, 150.0, 205.0, 50.0])
    ledger = run_ledger(find_fills(target, close), close, cost=0.01, slippage=0.0, cash=100.0)
    found = performance.gross_equity(ledger.trades, close, 100.0)
    assert metrics._log_growth(ledger.trades, 0.0) == -math.inf
    assert list(found) == [100.0, 50.0, 0.0, 0.0]


@given(levels)
def test_returns_of_bars_compound_to_the_equity(equity: list[float]) -> None:
    found = performance.bar_returns(np.array(equity), 100.0)
    np.testing.assert_allclose(100.0 * np.cumprod(1.0 + found), equity)
