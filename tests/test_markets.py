"""Markets with a known answer: the formulas against the facts, and against what is there."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import astraquant as aq
from astraquant import markets
from astraquant.candles import check_candles, is_synthetic, times_of
from astraquant.strategies import momentum
from astraquant.timeframes import TIMEFRAMES, bars_per_year, infer_timeframe

BARS = 400_000
MAKERS = {
    "random walk": markets.random_walk,
    "trend": lambda bars, **options: markets.ar1(bars, 0.2, **options),
    "weak trend": lambda bars, **options: markets.ar1(bars, 0.1, **options),
    "reversal": lambda bars, **options: markets.ar1(bars, -0.3, **options),
    "flip": lambda bars, **options: markets.regime_flip(bars, 0.2, 500, **options),
    "drawn back": markets.ornstein_uhlenbeck,
    "season": markets.hidden_season,
}
# What the rule and the others go by: a number known at the close before each bar but the first.
FORECASTS = {
    "random walk": lambda returns, close: returns[:-1],
    "trend": lambda returns, close: 0.2 * returns[:-1],
    "weak trend": lambda returns, close: 0.1 * returns[:-1],
    "reversal": lambda returns, close: -0.3 * returns[:-1],
    "flip": lambda returns, close: 0.2 * np.where(bars_of(close) // 500 % 2, -1, 1) * returns[:-1],
    "drawn back": lambda returns, close: -0.1 * np.log(close[:-1] / 100),
}


def bars_of(close):
    """The places of all bars but the first."""
    return np.arange(1, len(close))


def returns_of(market):
    """Simple returns from close to close; the first from the open."""
    close = market.candles["close"].to_numpy()
    return (
        np.diff(close, prepend=market.candles["open"].iloc[0])
        / np.r_[market.candles["open"].iloc[0], close[:-1]]
    )


def season_forecast(market):
    """The mean of each hour, taken from its own bars: with so many its sign is beyond doubt."""
    returns, hours = returns_of(market), market.candles.index.hour.to_numpy()
    means = np.array([returns[hours == hour].mean() for hour in range(24)])
    told = 0.001 * np.sign(means) * (np.abs(means) > 0.0005)  # the drift is 0.2 * 0.005
    return told[hours][1:]


def sharpe(stakes, returns):
    earned = stakes * returns
    return earned.mean() / earned.std()


@pytest.fixture(scope="module")
def made():
    """One long market of each kind, the forecast of each bar but the first, and its return."""
    found = {}
    for name, maker in MAKERS.items():
        market = maker(BARS, seed=11)
        close, returns = market.candles["close"].to_numpy(), returns_of(market)
        forecast = season_forecast(market) if name == "season" else FORECASTS[name](returns, close)
        found[name] = market, forecast, returns[1:]
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_the_oracle_is_what_the_rule_finds(made, name):
    market, forecast, returns = made[name]
    oracle, held = market.oracle, np.sign(forecast)
    error = 1 / math.sqrt(BARS)  # of a Sharpe ratio; of an accuracy half as much
    right = np.sign(returns[held != 0]) == held[held != 0]
    assert right.mean() == pytest.approx(oracle["accuracy"], abs=2 * error)
    assert sharpe(held, returns) == pytest.approx(oracle["sharpe"], abs=4 * error)
    assert (held * returns).mean() == pytest.approx(oracle["mean"], abs=4 * error * 0.005)
    turned = np.abs(np.diff(held)).mean()
    assert (held * returns).mean() / turned == pytest.approx(
        oracle["break_even_cost"], abs=4 * error * 0.005 / turned
    )


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "random walk"])
def test_other_stakes_reach_their_figures_and_none_the_bound(made, name):
    market, forecast, returns = made[name]
    oracle, error = market.oracle, 4 / math.sqrt(BARS)
    noise = returns.var() - forecast.var()
    assert sharpe(forecast, returns) == pytest.approx(oracle["linear_sharpe"], abs=error)
    best = forecast / (forecast**2 + noise)
    assert sharpe(best, returns) == pytest.approx(oracle["best_sharpe"], abs=error)
    gates = np.quantile(np.abs(forecast), np.linspace(0, 0.9, 19))
    gated = [
        sharpe(np.where(np.abs(forecast) > gate, np.sign(forecast), 0), returns)
        for gate in (gates if name != "season" else [0])
    ]
    assert max(gated) == pytest.approx(oracle["gated_sharpe"], abs=error)
    order = ("sharpe", "gated_sharpe", "best_sharpe")
    assert sorted(order, key=lambda key: oracle[key]) == list(order)
    assert oracle["linear_sharpe"] <= oracle["best_sharpe"]


@pytest.mark.parametrize(
    ("phi", "accuracy", "sharpe", "linear", "cost"),
    [(0.1, 0.5319, 0.0800, 0.0995, 0.085), (0.2, 0.5641, 0.1616, 0.1961, 0.183)],
)
def test_the_known_figures_of_autoregressive_returns(phi, accuracy, sharpe, linear, cost):
    oracle = markets.ar1(1, phi, volatility=0.004).oracle
    assert oracle["accuracy"] == pytest.approx(accuracy, abs=5e-5)
    assert oracle["sharpe"] == pytest.approx(sharpe, abs=5e-5)
    assert oracle["linear_sharpe"] == pytest.approx(linear, abs=5e-5)
    assert oracle["break_even_cost"] / 0.004 == pytest.approx(cost, abs=5e-4)
    reversal = markets.ar1(1, -phi, volatility=0.004).oracle
    assert reversal["sharpe"] == oracle["sharpe"]
    assert reversal["break_even_cost"] < oracle["break_even_cost"]  # it turns more often


def test_the_known_figures_of_a_price_that_is_drawn_back():
    oracle = markets.ornstein_uhlenbeck(1).oracle
    assert oracle["reward"] == pytest.approx(0.0798, abs=5e-5)
    # At a cost of 0.2 standard deviations of x per unit of position the sign rule keeps 0.0223.
    turned = oracle["mean"] / oracle["break_even_cost"]
    assert oracle["reward"] - 0.2 * turned == pytest.approx(0.0223, abs=1e-4)


def best_reward(cost, points=161, widest=5.0):
    """The best mean of p·Δx - cost·|Δp| with p of -1, 0, 1, found by trying out every state."""
    x = np.linspace(-widest, widest, points)
    step = x[1] - x[0]
    spread = math.sqrt(1 - markets.KEPT**2)
    chance = np.exp(-(((x[None] - markets.KEPT * x[:, None]) / spread) ** 2) / 2)
    chance /= chance.sum(axis=1, keepdims=True)
    drift, sides = (markets.KEPT - 1) * x, np.array([-1, 0, 1])
    paid = cost * np.abs(sides[:, None] - sides)  # from the row's side to the column's
    value = np.zeros((points, 3))  # at x, coming with a side
    for _ in range(600):
        later = chance @ value + drift[:, None] * sides
        new = (later[:, None, :] - paid).max(axis=2)
        gain, value = (new - value)[points // 2, 1], new - new[points // 2, 1]
    assert step < spread
    return gain


def test_the_optimum_of_a_price_that_is_drawn_back_by_dynamic_programming():
    assert best_reward(0.0) == pytest.approx(markets.ornstein_uhlenbeck(1).oracle["reward"], 1e-3)
    assert best_reward(0.2) == pytest.approx(0.0547, abs=2e-4)


def test_a_random_walk_has_nothing_to_find(made):
    oracle = made["random walk"][0].oracle
    assert oracle["accuracy"] == 0.5
    assert {value for name, value in oracle.items() if name != "accuracy"} == {0.0}


@pytest.mark.parametrize(("bars", "share"), [(500, 1.0), (1_000, 0.0), (1_500, 1 / 3)])
def test_what_never_changes_earns_the_surplus_of_its_bars(bars, share):
    oracle = markets.regime_flip(bars, 0.2, 500).oracle
    mean = share * oracle["mean"] / 0.005
    assert oracle["static_sharpe"] == pytest.approx(mean / math.sqrt(1 - mean**2))


def test_a_single_regime_breaks_even_as_what_it_is():
    costs = [
        market.oracle["break_even_cost"]
        for market in (markets.regime_flip(1_000, 0.2, 3_000), markets.ar1(1_000, 0.2))
    ]
    assert costs[0] == pytest.approx(costs[1])
    # Two thirds of the bars lean towards the last one, so that the position turns less often.
    between = markets.regime_flip(1_500, 0.2, 500).oracle["break_even_cost"]
    even = markets.regime_flip(1_000, 0.2, 500).oracle["break_even_cost"]
    assert 1 / between == pytest.approx((1 / costs[0] + 2 / even) / 3)


def test_regimes_change_where_they_should(made):
    market, _, _ = made["flip"]
    returns = returns_of(market)
    products = (returns[1:] * returns[:-1]) / returns.var()
    regime = bars_of(returns) // 500 % 2
    for which, phi in ((0, 0.2), (1, -0.2)):
        found = products[regime == which]
        assert found.mean() == pytest.approx(phi, abs=5 / math.sqrt(len(found)))


def test_one_rule_of_the_package_earns_what_is_known():
    market = markets.ar1(40_000, 0.2, seed=3)
    result = aq.backtest(market.candles, momentum, window=1, direction="both", cost=0.0)
    a_bar = result.metrics["sharpe"] / math.sqrt(bars_per_year("1h"))
    assert a_bar == pytest.approx(market.oracle["sharpe"], abs=3 / math.sqrt(40_000))
    paid = [
        aq.backtest(market.candles, momentum, window=1, direction="both", cost=cost).metrics.sharpe
        for cost in (0.9 * market.oracle["break_even_cost"], 1.1 * market.oracle["break_even_cost"])
    ]
    assert paid[0] > 0 > paid[1]
    flat = markets.random_walk(40_000, seed=3)
    result = aq.backtest(flat.candles, momentum, window=1, direction="both", cost=0.0)
    assert abs(result.metrics["sharpe"]) / math.sqrt(bars_per_year("1h")) < 3 / math.sqrt(40_000)


def test_the_answer_says_which_hours():
    market = markets.hidden_season(60_000, drift=0.5)
    returns, hours = returns_of(market), market.candles.index.hour
    means = pd.Series(returns).groupby(np.asarray(hours)).mean()
    up, down = (
        ("%02d, " * 6 + "%02d and %02d") % tuple(means.index[means > 0.00125]),
        ("%02d, " * 6 + "%02d and %02d") % tuple(means.index[means < -0.00125]),
    )
    assert f"in the hours {up} rise by 0.5" in market.answer
    assert f"in the hours {down} fall" in market.answer


def test_a_season_over_the_days_of_the_week():
    market = markets.hidden_season(7_000, drift=1.0, timeframe="1d")
    means = pd.Series(returns_of(market)).groupby(market.candles.index.day_name()).mean()
    rising, falling = market.answer.split(" rise by ")
    for day, mean in means.items():
        told = 1 if f"{day}s" in rising else -1 if f"{day}s" in falling else 0
        assert mean == pytest.approx(0.005 * told, abs=0.001)


def test_a_season_earns_as_much_in_shorter_bars_and_turns_less_often():
    hours = markets.hidden_season(1, timeframe="1h").oracle
    quarters = markets.hidden_season(1, timeframe="15m").oracle
    assert quarters["sharpe"] == hours["sharpe"]
    assert quarters["break_even_cost"] == pytest.approx(4 * hours["break_even_cost"])


@settings(max_examples=40)
@given(
    st.sampled_from(list(MAKERS)),
    st.integers(1, 300),
    st.integers(0, 2**40),
    st.floats(1e-6, 0.05),
    st.sampled_from([name for name in TIMEFRAMES if name != "1M"]),
)
def test_every_market_is_a_labelled_table_that_opens_where_it_closed(
    name, bars, seed, volatility, timeframe
):
    if name == "season" and timeframe not in ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "1d"):
        return
    options = {"seed": seed, "volatility": volatility, "timeframe": timeframe}
    market = MAKERS[name](bars, **options)
    candles = market.candles
    assert check_candles(candles) is candles
    assert len(candles) == bars
    assert bars == 1 or infer_timeframe(times_of(candles)) == timeframe
    assert candles["open"].iloc[1:].tolist() == candles["close"].iloc[:-1].tolist()
    assert (candles["volume"] > 0).all()
    assert is_synthetic(candles.attrs["source"])
    assert market.answer.endswith(".")
    pd.testing.assert_frame_equal(candles, MAKERS[name](bars, **options).candles)


def test_another_seed_is_another_market_and_repr_is_short():
    one, other = markets.random_walk(3, seed=1), markets.random_walk(3, seed=2)
    assert one.candles["close"].iloc[0] != other.candles["close"].iloc[0]
    assert repr(one).startswith("<KnownMarket of 3 bars: Nothing foretells a return")
    with pytest.raises(TypeError):
        one.oracle["sharpe"] = 1.0
    assert one.candles.index[0] == pd.Timestamp("2018-01-01", tz="UTC")
    late = markets.random_walk(3, start="2020-02-02 05:00").candles
    assert late.index[0] == pd.Timestamp("2020-02-02 05:00", tz="UTC")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: markets.random_walk(0), "bars=0; expected a whole number of bars, at least 1"),
        (lambda: markets.random_walk(1.5), "bars=1.5"),
        (lambda: markets.random_walk(9, volatility=0.1), "volatility=0.1.*fall to 0 or below"),
        (lambda: markets.random_walk(9, volatility=math.nan), "volatility=nan"),
        (lambda: markets.random_walk(9, seed=-1), "seed=-1; expected a whole number from 0 on"),
        (lambda: markets.random_walk(9, timeframe="60m"), "Did you mean '1h'"),
        (lambda: markets.random_walk(9, timeframe="1M"), "months differ in length"),
        (lambda: markets.random_walk(9, start="2020-01-01 00:30"), "begins no bar of 1h"),
        (lambda: markets.random_walk(9, start=2020), "start=2020 is no moment"),
        (lambda: markets.ar1(9, 1), "phi=1; expected a number above -1 and below 1"),
        (lambda: markets.ar1(9, "0.2"), "phi='0.2'"),
        (lambda: markets.random_walk(10**6, volatility=0.05), "leaves the range of numbers"),
        (lambda: markets.regime_flip(9, 0.2, 0), "every=0; expected a whole number"),
        (lambda: markets.hidden_season(9, drift=2), "drift=2; expected a share"),
        (lambda: markets.hidden_season(9, timeframe="4h"), "needs a bar in each"),
    ],
)
def test_what_cannot_be_made_is_refused(make, text):
    with pytest.raises(aq.DataError, match=text):
        make()
