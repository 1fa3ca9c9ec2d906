"""The kernels under the figures, against exact sums and plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_accounting import wandering

from astraquant import metrics
from astraquant.accounting import CLOSED, OPEN, RUINED, TRADE, run_ledger
from astraquant.stops import find_fills

STRANDS = metrics.STRANDS
returns = st.lists(st.floats(-0.5, 0.5, allow_subnormal=False), min_size=1, max_size=80).map(
    np.array
)
levels = st.lists(st.floats(0.5, 2.0).map(lambda x: round(x, 2)), min_size=1, max_size=80).map(
    np.array
)


def moments(values: Any) -> tuple[float, float, float]:
    """Mean, deviation and downside from sums that are rounded once."""
    numbers = [float(value) for value in values]
    mean = math.fsum(numbers) / len(numbers)
    squares = math.fsum((value - mean) ** 2 for value in numbers)
    below = math.fsum(min(value, 0.0) ** 2 for value in numbers)
    deviation = math.sqrt(squares / (len(numbers) - 1)) if len(numbers) > 1 else math.nan
    return mean, deviation, math.sqrt(below / len(numbers))


def assert_moments(values: Any) -> None:
    expected = moments(values)
    exact = pytest.approx(expected, rel=1e-12, abs=1e-15, nan_ok=True)
    assert metrics._moments(values) == exact


@given(returns, st.integers(1, 40))
def test_moments_are_those_of_exact_sums(values: Any, times: int) -> None:
    assert_moments(np.tile(values, times))  # from a part of a block to several


@pytest.mark.parametrize("count", [1, 2, STRANDS - 1, STRANDS, STRANDS + 1, 5 * STRANDS + 7])
def test_moments_of_whole_and_broken_blocks(count: int) -> None:
    assert_moments(np.random.default_rng(count).normal(0, 1e-3, count))


def test_a_mean_far_below_its_returns_keeps_its_digits() -> None:
    """As a running sum of these does not."""
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(0, 1.0, 200_000), 2) * np.tile([1.0, -1.0], 200_000)
    rng.shuffle(noise)
    values = noise + 1e-9
    mean = moments(values)[0]
    assert metrics._moments(values)[0] == pytest.approx(mean, rel=1e-12)
    assert abs(np.cumsum(values)[-1] / len(values) - mean) > 1e-11 * mean


def test_returns_around_a_large_mean_keep_their_deviation() -> None:
    """As the mean of squares minus the square of the mean does not."""
    values = 10.0 + np.random.default_rng(1).normal(0, 1e-6, 10_000)
    deviation = moments(values)[1]
    assert metrics._moments(values)[1] == pytest.approx(deviation, rel=1e-8)
    assert abs((values**2).mean() - values.mean() ** 2 - deviation**2) > deviation**2 / 100


def test_sums_are_joined_without_a_rounding_error() -> None:
    values = np.array([1e16, 1.0, -1e16])
    assert metrics._sum(values) == 1.0
    trades = np.zeros(3, TRADE)
    trades["fees"] = values
    assert metrics._Tally(*metrics._tally(trades, np.ones(1))).fees == 1.0


@pytest.mark.parametrize("value", [0.0, 0.01, -0.3])
def test_without_variance_there_is_no_sharpe(value: float) -> None:
    assert math.isnan(metrics.sharpe(np.full(10_000, value)))
    assert math.isnan(metrics.sharpe(np.array([value])))


def naive_lowest(equity: list[float], cash: float) -> float:
    peak, lowest = cash, 1.0
    for level in equity:
        peak = max(peak, level)
        lowest = min(lowest, level / peak)
    return lowest


@given(levels, st.integers(1, 40), st.sampled_from([0.8, 1.0, 3.0]))
def test_the_deepest_fall_is_that_of_a_plain_walk(values: Any, times: int, cash: float) -> None:
    # Each round stands a little lower or higher than the one before: new lows and new highs.
    for drift in (0.99, 1.0, 1.01):
        equity = np.concatenate([values * drift**k for k in range(times)])
        assert metrics._lowest(equity, cash) == pytest.approx(
            naive_lowest(equity.tolist(), cash), rel=1e-15
        )
        assert metrics._sum(equity) == pytest.approx(math.fsum(equity), rel=1e-14)


def test_a_fall_counts_from_the_highest_before() -> None:
    assert metrics._lowest(np.array([2.0, 1.0, 4.0, 3.0, 1.0, 5.0, 2.0]), 1.0) == 0.25
    assert metrics._lowest(np.array([2.0, 3.0]), 4.0) == 0.5
    assert metrics._lowest(np.array([2.0, 3.0]), 1.0) == 1.0
    assert metrics._lowest(np.array([2.0, 0.0, 0.0]), 1.0) == 0.0


def test_money_beyond_all_numbers_has_no_drawdown() -> None:
    assert math.isnan(metrics._lowest(np.array([1.0, np.inf, 1.0]), 1.0))


@st.composite
def trade_lists(draw: st.DrawFn) -> Any:
    """Up to 30 trades, the last perhaps open or ruined, of any direction and outcome."""
    count = draw(st.integers(0, 30))
    trades = np.zeros(count, TRADE)
    money = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
    price = st.floats(1, 4).map(lambda x: round(x, 2))
    for k in range(count):
        trade = trades[k]
        trade["direction"] = draw(st.sampled_from([-1, 1]))
        trade["entry_bar"], trade["exit_bar"] = draw(st.tuples(*[st.integers(0, 9)] * 2))
        trade["entry_price"], trade["exit_price"] = draw(st.tuples(price, price))
        trade["quantity"], trade["fees"] = draw(st.tuples(price, price))
        trade["profit"], trade["result"] = draw(st.tuples(money, money))
        last = [CLOSED, OPEN, RUINED] if k == count - 1 else [CLOSED]
        trade["status"] = draw(st.sampled_from(last))
    return trades


@given(trade_lists(), st.lists(st.sampled_from([0.0, 1.0]), min_size=10, max_size=10))
def test_the_tally_counts_what_a_clerk_would(trades: Any, volume: list[float]) -> None:
    got = metrics._Tally(*metrics._tally(trades, np.array(volume)))
    rows = [dict(zip(TRADE.names, row, strict=True)) for row in trades.tolist()]
    closed = [row for row in rows if row["status"] != OPEN]
    sold = [row for row in rows if row["status"] == CLOSED]
    results = [row["result"] for row in closed]
    traded = [row["quantity"] * row["entry_price"] for row in rows]
    traded += [row["quantity"] * row["exit_price"] for row in sold]
    bars = [row["entry_bar"] for row in rows] + [row["exit_bar"] for row in sold]
    expected = {
        "closed": len(closed),
        "winners": sum(result > 0 for result in results),
        "won": math.fsum(row["profit"] for row in closed if row["profit"] > 0),
        "lost": -math.fsum(row["profit"] for row in closed if row["profit"] < 0),
        "results": math.fsum(results),
        "best": max(results, default=-math.inf),
        "worst": min(results, default=math.inf),
        "traded": math.fsum(traded),
        "fees": math.fsum(row["fees"] for row in rows),
        "empty_fills": sum(volume[bar] == 0 for bar in bars),
    }
    assert got._asdict() == pytest.approx(expected, rel=1e-14, abs=1e-12)


def growth_of(row: Any, cost: float) -> float:
    """Equity after one trade in stakes, fill by fill."""
    value = 1.0 / (1.0 + cost)  # bought or sold short with all equity
    end = value * row["exit_price"] / row["entry_price"]
    fee = end * cost if row["status"] == CLOSED else 0.0
    if row["direction"] > 0:
        return float(end - fee)
    return float(1.0 + value - value * cost - end - fee)


@given(trade_lists(), st.sampled_from([0.0, 0.001, 0.1, 0.9]))
def test_growth_at_another_cost_is_that_of_the_fills(trades: Any, cost: float) -> None:
    steps = [growth_of(row, cost) for row in trades]
    got = metrics._log_growth(trades, cost)
    if min(steps, default=1.0) > 1e-9:
        assert got == pytest.approx(math.fsum(map(math.log, steps)), rel=1e-12, abs=1e-12)
    elif min(steps) < -1e-9:
        assert got == -math.inf


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_growth_may_leave_the_numbers_of_a_float(ratio: float) -> None:
    trades = np.zeros(5_000, TRADE)
    trades["direction"], trades["entry_price"], trades["exit_price"] = 1, 1.0, ratio
    assert metrics._log_growth(trades, 0.0) == pytest.approx(5_000 * math.log(ratio), rel=1e-12)


@given(st.integers(0, 2**32), st.sampled_from([1, -1]))
@example(0, -1)
def test_break_even_is_where_growth_is_nothing(seed: int, side: int) -> None:
    target, price, close = wandering(seed, 500)
    fills = find_fills(np.abs(target) * side, price)
    ledger = run_ledger(fills, close, cost=0.0, slippage=0.0, cash=1.0)
    cost = metrics.break_even_cost(ledger.trades)
    if math.isnan(cost):
        assert len(ledger.trades) == 0 or metrics._log_growth(ledger.trades, 0.0) < 0
    else:
        assert metrics._log_growth(ledger.trades, cost) == pytest.approx(0, abs=1e-10)


@given(
    st.lists(st.integers(1, 3 * 86_400_000), min_size=1, max_size=60),
    st.integers(-(10**12), 10**12),
    st.integers(0, 10**6),
)
def test_daily_figures_take_the_last_close_of_each_day(
    steps: list[int], start: int, seed: int
) -> None:
    times = start + np.cumsum(steps)
    equity = np.random.default_rng(seed).uniform(1, 2, len(times))
    by_day = {time // 86_400_000: level for time, level in zip(times, equity, strict=True)}
    level = np.array([1.5, *by_day.values()])
    expected = metrics.sharpe(level[1:] / level[:-1] - 1.0) * math.sqrt(365)
    got = metrics.sharpe_daily(equity, times, 1.5, "1m")
    assert got == pytest.approx(expected, nan_ok=True)
