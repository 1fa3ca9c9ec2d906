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
from astraquant.indicators import ema, rsi, sma
from astraquant.strategies import crossed_above, hold, ma_cross, strategy, where


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


@strategy
def mean_filled_backwards(candles):
    """Looks ahead in the first 49 bars alone."""
    close = pd.Series(candles.close)
    return (close.rolling(50).mean().bfill() < close).to_numpy()


@strategy
def above_an_early_mean(candles):
    """Knows in the first 900 bars what they will be on average."""
    close = np.asarray(candles.close)
    return close > close[:900].mean()


def ahead(candles, bars):
    close = np.asarray(candles.close)
    return np.append(close[bars:], np.full(bars, close[-1])), close


@strategy
def rarely_tomorrow(candles):
    later, close = ahead(candles, 1)
    return (later > close) & (rsi(close, 14) < 20)


@strategy
def rarely_five_ahead(candles):
    later, close = ahead(candles, 5)
    return (later > close) & (rsi(close, 14) < 20)


@strategy
def rarely_no_worse(candles):
    """With the future hidden it answers as if all stayed as it is."""
    later, close = ahead(candles, 1)
    return (later >= close) & (rsi(close, 14) < 20)


@strategy
def enters_rarely(candles):
    """Holds on for long, by what it knows at the entry alone."""
    later, close = ahead(candles, 1)
    return hold((later > close) & (rsi(close, 14) < 20), rsi(close, 14) > 75)


@strategy
def coming_gap(candles):
    """Knows from the times whether the next candle is missing; these candles have no gap."""
    time = np.asarray(candles.time)
    bar = np.diff(time).min()
    return np.diff(time, append=time[-1] + bar) > bar


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "leaky",
    [
        mean_filled_backwards,
        above_an_early_mean,
        rarely_tomorrow,
        rarely_five_ahead,
        rarely_no_worse,
        enters_rarely,
        coming_gap,
    ],
    ids=lambda leaky: leaky.name,
)
def test_a_look_ahead_that_shows_at_few_bars_is_caught(leaky, seed):
    with pytest.raises(aq.StrategyError, match="changed its mind about the past"):
        aq.check_strategy(leaky, random_walk(4_000, seed))


def test_a_single_rare_decision_is_enough():
    candles = random_walk(4_000, 0)
    lows = np.flatnonzero(rsi(candles["close"].to_numpy(), 14) < 25)
    rises = np.diff(candles["close"].to_numpy(), append=0) > 0
    time = aq.timeframes.to_ms(candles.index)[next(bar for bar in lows if rises[bar])]

    @strategy
    def once(candles):
        later, close = ahead(candles, 1)
        return (later > close) & (np.asarray(candles.time) == time)

    with pytest.raises(aq.StrategyError, match="that bar alone differs"):
        aq.check_strategy(once, candles)


def test_a_strategy_on_arrays_is_called_a_bounded_number_of_times():
    calls["count"] = 0

    @strategy
    def counting(candles):
        close = np.asarray(candles.close)
        calls["count"] += 1
        return close > np.asarray(candles.open)

    report = aq.check_strategy(counting, random_walk(4_000, 0))
    assert 100 < calls["count"] <= 60 + 60 + 3  # futures, starts, and the full table
    assert 20 < report.cuts <= 56


@strategy
def by_the_hour(candles):
    hour = candles.time // 3_600_000 % 24
    return (hour >= 8) & (hour < 16)


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


@pytest.mark.parametrize("honest", [patient, ma_cross, by_the_hour])
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

    message = "another answer when traced than on plain arrays: at .* it holds 0 .flat. traced"
    with pytest.raises(aq.StrategyError, match=message) as caught:
        aq.check_strategy(two_faced, random_walk(2_000, 0))
    assert "past" not in str(caught.value)  # that is no look ahead

    @strategy
    def two_faced_after_a_warmup(candles):
        slow = sma(candles.close, 30 if isinstance(candles.close, np.ndarray) else 20)
        return hold(candles.close > slow * 1.02, candles.close < slow)

    with pytest.raises(aq.StrategyError, match="another answer when traced"):
        aq.check_strategy(two_faced_after_a_warmup, random_walk(2_000, 0))


def with_flat_and_empty_bars(candles):
    """Every 50th bar has one price only, every 70th no volume."""
    flat, empty = np.arange(len(candles)) % 50 == 30, np.arange(len(candles)) % 70 == 40
    for column in ("open", "high", "low"):
        candles[column] = candles[column].where(~flat, candles["close"])
    candles["volume"] = candles["volume"].where(~empty, 0.0)
    return candles


@strategy
def not_a_strong_bar(candles):
    return ~((candles.close - candles.open) / (candles.high - candles.low) > 0.5)


@strategy
def not_less_volume(candles):
    return ~(candles.volume / sma(candles.volume, 1) < 1)


@strategy
def held_over_the_unknown(candles):
    """Flat bars end it by numpy's rules and not by those of a traced program."""
    weak = ~((candles.close - candles.open) / (candles.high - candles.low) > -5.0)
    return hold(candles.close > candles.open * 1.02, weak)


@strategy
def held_since_the_warmup(candles):
    """numpy enters before the average is known, and stays in for long."""
    return hold(~(candles.close < sma(candles.close, 20) * 1.02), candles.close < 80)


@strategy
def average_of_conditions(candles):
    """numpy has zeros in the warm-up, and an exponential average never forgets them."""
    above = where(candles.close > sma(candles.close, 50), 1.0, 0.0)
    return ema(above, 200) > 0.5


@strategy
def crossing_after_a_warmup(candles):
    slow = sma(candles.close, 20)
    state = where(hold(~(candles.close < slow), candles.close < 80), 1.0, 0.0)
    return crossed_above(state, 0.5)


@strategy
def never_left(candles):
    return hold(candles.close > 100, False)


@pytest.mark.parametrize(
    "honest",
    [
        not_a_strong_bar,
        not_less_volume,
        held_over_the_unknown,
        held_since_the_warmup,
        average_of_conditions,
        crossing_after_a_warmup,
        never_left,
    ],
    ids=lambda honest: honest.name,
)
def test_other_rules_for_the_unknown_are_no_fault(honest):
    report = aq.check_strategy(honest, with_flat_and_empty_bars(random_walk(2_000, 0)))
    assert report.traced


def test_a_fault_between_unknown_bars_is_still_found():
    @strategy
    def two_faced(candles):
        limit = 0.5 if isinstance(candles.close, np.ndarray) else 2.0
        return ~((candles.close - candles.open) / (candles.high - candles.low) > limit)

    with pytest.raises(aq.StrategyError, match="another answer when traced"):
        aq.check_strategy(two_faced, with_flat_and_empty_bars(random_walk(2_000, 0)))


def test_a_strategy_that_never_acts_says_nothing_about_the_past_it_needs():
    report = aq.check_strategy(ma_cross, random_walk(120, 0), short=50, long=200)
    assert report.changes == 0
    assert report.needs is None
    assert repr(report).endswith("traced; never changed its position here>")
    assert "needs" not in repr(report)


def test_the_report_says_why_a_strategy_is_not_traced():
    report = aq.check_strategy(patient, random_walk(500, 0))
    assert not report.traced
    assert "runs on arrays (it hands the candles to numpy), NaN as numpy has it;" in repr(report)
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
