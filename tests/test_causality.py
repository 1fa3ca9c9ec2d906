"""`check_strategy` catches those who look ahead, and lets the others pass."""

from __future__ import annotations

import re

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backtesting import random_walk

import astraquant as aq
from astraquant.strategies import ma_cross, strategy


@strategy
def tomorrow(candles):
    close = pd.Series(candles.close)
    return (close.shift(-1) > close).to_numpy()


@strategy
def centred(candles):
    close = pd.Series(candles.close)
    return (close.rolling(21, center=True).mean() < close).to_numpy()


@strategy
def normalised(candles):
    """Divides by the deviation of the whole series, the future included."""
    close = np.asarray(candles.close)
    return (close - close.mean()) / close.std() > 0.5


@strategy
def impatient(candles):
    """Uses the close of an hour from its first five minutes on."""
    close = pd.Series(candles.close, index=pd.to_datetime(candles.time, unit="ms"))
    hourly = close.resample("1h").last().reindex(close.index, method="ffill")
    return (hourly > close).to_numpy()


@strategy
def patient(candles):
    """The same, but an hour is known only at its end."""
    close = pd.Series(candles.close, index=pd.to_datetime(candles.time, unit="ms"))
    hourly = close.resample("1h").last().shift(1).reindex(close.index, method="ffill")
    return (hourly > close).to_numpy()


@strategy
def filled_backwards(candles):
    gaps = pd.Series(candles.close).where(lambda x: x > x.shift(1))
    return (gaps.bfill() > 100).to_numpy()


calls = {"count": 0, "high": 0.0}


@strategy
def alternating(candles):
    calls["count"] += 1
    up = candles.close > candles.open
    return up if calls["count"] % 2 else ~up


@strategy
def remembering(candles):
    """Keeps the highest price it ever saw, of other candles too."""
    calls["high"] = max(calls["high"], float(np.max(np.asarray(candles.close))))
    return np.asarray(candles.close) > 0.7 * calls["high"]


@pytest.mark.parametrize(
    "leaky", [tomorrow, centred, normalised, impatient, filled_backwards, alternating, remembering]
)
def test_a_look_ahead_is_caught_and_the_first_bar_named(leaky):
    calls.update(count=0, high=0.0)
    with pytest.raises(aq.StrategyError, match=r"changed its mind about the past: at 2023-01-\d\d"):
        aq.check_strategy(leaky, random_walk(2_000, 0))


def test_the_named_bar_is_the_first_whose_answer_changes():
    candles = random_walk(2_000, 0)
    with pytest.raises(aq.StrategyError) as caught:
        aq.check_strategy(tomorrow, candles)
    found = re.search(
        r"at (\S+ \S+) it held (\d) \(\w+\), but (\d) \(\w+\) when bars after \1 were",
        str(caught.value),
    )
    assert found, caught.value  # a shift by one changes just the last bar that is shown
    bar = candles.index.get_loc(pd.Timestamp(found[1]))
    rises = candles["close"].iloc[bar + 1] > candles["close"].iloc[bar]
    assert (int(found[2]), int(found[3])) == (int(rises), 0)


@pytest.mark.parametrize("honest", [patient, ma_cross])
def test_an_honest_strategy_passes(honest):
    report = aq.check_strategy(honest, random_walk(2_000, 0))
    assert report.changes > 0
    assert report.cuts > 8
    assert report.bars == 2_000


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 40))
def test_the_crossover_never_looks_ahead(seed, short, extra):
    report = aq.check_strategy(ma_cross, random_walk(400, seed), short=short, long=short + extra)
    assert report.traced


def test_how_much_past_is_needed_is_measured():
    """A crossover decides alike once its last crossing lies within the history."""
    candles = random_walk(20_000, 1)
    slow = aq.check_strategy(ma_cross, candles, short=50, long=200)
    quick = aq.check_strategy(ma_cross, candles, short=2, long=5)
    assert slow.disagreement[50] > 0.2  # not even the averages are known
    assert quick.disagreement[50] == 0
    assert quick.needs == 50
    assert slow.needs is not None and 250 <= slow.needs <= 4_000
    assert slow.disagreement[slow.needs] == 0

    @strategy
    def first_price(candles):
        """Never forgets where its history began."""
        return np.asarray(candles.close) > candles.close[0]

    assert aq.check_strategy(first_price, candles).needs is None
    assert "needs more bars than these" in repr(aq.check_strategy(first_price, candles))


def test_a_strategy_that_differs_on_arrays_is_caught():
    @strategy
    def two_faced(candles):
        return candles.close > (100 if isinstance(candles.close, np.ndarray) else 101)

    with pytest.raises(aq.StrategyError, match="when it ran on plain arrays"):
        aq.check_strategy(two_faced, random_walk(2_000, 0))


def test_the_report_says_why_a_strategy_is_not_traced():
    report = aq.check_strategy(patient, random_walk(500, 0))
    assert not report.traced
    assert "runs on arrays (it hands the candles to numpy)" in repr(report)
    assert "\n" not in repr(report)


def test_real_minutes_need_a_thousand_bars(market_data):
    candles = aq.read_candles(
        market_data / "klines/binance_spot_BTCUSDT_15m_20230101_20231231.csv.gz"
    )
    report = aq.check_strategy(ma_cross, candles, short=50, long=200)
    assert report.needs in (500, 1_000, 2_000)


def test_too_few_candles_and_other_things_are_refused():
    with pytest.raises(aq.DataError, match="49 candles are too few"):
        aq.check_strategy(ma_cross, random_walk(49, 0))
    with pytest.raises(aq.StrategyError, match="@strategy"):
        aq.check_strategy(lambda candles: candles.close > 1, random_walk(60, 0))
    with pytest.raises(aq.StrategyError, match="Did you mean 'short'"):
        aq.check_strategy(ma_cross, random_walk(60, 0), shrt=5)
    flat = naive.candle_table([1.0] * 60, [1.0] * 60)
    assert aq.check_strategy(ma_cross, flat, short=2, long=5).changes == 0
