"""The indicators against exact arithmetic, and the promises that hold for any input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import naive_indicators as naive
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from astraquant import _rolling
from astraquant import indicators as ind
from astraquant.errors import StrategyError

Floats = npt.NDArray[np.float64]


def given(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """Hypothesis' ``given`` without its time limit: a first call may compile a kernel."""
    unhurried = hypothesis.settings(deadline=None)
    return lambda test: unhurried(hypothesis.given(*args, **kwargs)(test))


# Prices on a tick from 1 down to 10^-8, those with decimals below 11 million (as promised); and any
# numbers at all, some of them unknown.
prices = (
    st.integers(0, 8)
    .flatmap(
        lambda places: st.lists(
            st.integers(0, 10**8 if places else 10**10).map(lambda ticks: ticks / 10**places),
            min_size=1,
            max_size=60,
        )
    )
    .map(np.array)
)
floats = st.lists(
    st.floats(-1e6, 1e6, allow_subnormal=False) | st.just(np.nan) | st.just(1.25), max_size=60
).map(lambda values: np.array(values, dtype=float))
series = prices | floats
windows = st.integers(1, 40)

# One value a bar from a series and a window: everything that is a function of its window alone ...
WINDOWED = {
    "sma": ind.sma,
    "wma": ind.wma,
    "rolling_std": ind.rolling_std,
    "bollinger.lower": lambda x, w: ind.bollinger(x, w).lower,
    "bollinger.upper": lambda x, w: ind.bollinger(x, w, 2.5).upper,
    "donchian.lower": lambda x, w: ind.donchian(x + 1.0, x, w).lower,
    "donchian.middle": lambda x, w: ind.donchian(x + 1.0, x, w).middle,
    "donchian.upper": lambda x, w: ind.donchian(x + 1.0, x, w).upper,
}
# ... and everything that remembers all since its start.
RECURSIVE = {
    "ema": ind.ema,
    "rsi": ind.rsi,
    "atr": lambda x, w: ind.atr(x + 1.0, x - 1.0, np.round(x, 1), w),
    "macd": lambda x, w: ind.macd(x, w, w + 3, 4).macd,
    "macd.signal": lambda x, w: ind.macd(x, w, w + 3, 4).signal,
}
ALL = WINDOWED | RECURSIVE
# Bars before the first known one, at window w, of a series that is known from its first bar.
WARM_UP = {
    **dict.fromkeys(WINDOWED, lambda w: w - 1),
    "ema": lambda w: w - 1,
    "rsi": lambda w: w,
    "atr": lambda w: w,
    **dict.fromkeys(("macd", "macd.signal"), lambda w: w + 3 + 4 - 2),
}
each = pytest.mark.parametrize("name", ALL)
each_windowed = pytest.mark.parametrize("name", WINDOWED)
each_recursive = pytest.mark.parametrize("name", RECURSIVE)


# --- against exact arithmetic -------------------------------------------------------------------


@given(prices, windows)
def test_averages_of_prices_are_the_correctly_rounded_decimal_averages(values, window):
    assert_array_equal(ind.sma(values, window), naive.sma(values, window))
    assert_array_equal(ind.wma(values, window), naive.wma(values, window))


@pytest.mark.parametrize("window", [1, 5, 200, 2000, 4000])
def test_sums_beyond_53_bits_are_rounded_once_too(window):
    ticks = np.random.default_rng(3).integers(0, 10**7, 4100) + 10**13
    values = ticks / 1e8  # 100,000.0xxxxxxx: 2,000 of them add up to 2 * 10^16 ticks
    sample = slice(None) if window < 100 else slice(-20 - window, None)
    for ours, theirs in ((ind.sma, naive.sma), (ind.wma, naive.wma)):
        got = ours(values[sample], window)
        if ours is ind.sma or window < 500:
            assert_array_equal(got, theirs(values[sample], window))
        else:  # weights that sum to more than half a million: past the exact sums' reach
            assert_allclose(got, theirs(values[sample], window), rtol=3e-16)


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 60, _rolling.BLOCK - 1, _rolling.BLOCK, _rolling.BLOCK + 5]),
    st.sampled_from([10**4, 10**13, 10**14]),
    st.booleans(),
)
def test_averages_of_long_columns_on_the_grid_are_those_of_each_window(seed, window, top, weighted):
    """In blocks or bar by bar, with sums below and beyond 53 bits."""
    total = window * (window + 1) // 2 if weighted else window
    limit = min(_rolling.LARGEST, 2.0**62 // total)
    top = min(top, int(limit))
    values = np.random.default_rng(seed).integers(top // 2, top, 3 * _rolling.BLOCK + 11) / 1e8
    expected, pending = _rolling._exact_means(values, window, weighted, float(total), limit)
    got = np.empty(len(values))
    assert _rolling._grid_means(values, window, weighted, float(total), limit, got)
    assert not pending
    assert_array_equal(got, expected)


@pytest.mark.parametrize("bar", [0, 5, _rolling.BLOCK, 2 * _rolling.BLOCK + 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1 / 3, 1e15])
def test_one_value_off_the_grid_is_seen_in_any_block(bar, value):
    values = np.full(2 * _rolling.BLOCK + 4, 1.25)
    values[bar] = value
    got = np.empty(len(values))
    assert not _rolling._grid_means(values, 3, False, 3.0, _rolling.LARGEST, got)


@given(floats, windows)
def test_averages_of_any_numbers_are_exact_to_the_last_bit_or_the_one_beside(values, window):
    # A single value may pass for a decimal of 8 digits (1.25 does) or not: read as it prints or
    # as it is in binary, the difference is below one unit in the last place of the largest value.
    known = values[np.isfinite(values)]
    reach = np.abs(known).max(initial=0.0) * 2.3e-16
    assert_allclose(ind.sma(values, window), naive.sma(values, window, naive.binary), 0, reach)
    assert_allclose(ind.wma(values, window), naive.wma(values, window, naive.binary), 0, reach)


@given(floats, windows)
def test_deviation(values, window):
    got = ind.rolling_std(values, window)
    expected = naive.rolling_std(values, window)
    assert_allclose(got, expected, rtol=1e-14)


def test_deviation_survives_a_large_mean():
    # Steps of a few units in the last place: a sum of 64 such values rounds them all away.
    values = 1e9 + np.random.default_rng(1).integers(0, 3, 300) / 2**21
    for window in (50, 64, 100):
        expected = naive.rolling_std(values, window)
        assert_allclose(ind.rolling_std(values, window), expected, rtol=1e-14)


@given(floats, windows)
def test_recursive_indicators(values, window):
    # Values up to 1e6 of either sign may cancel: the error is a fraction of theirs.
    assert_allclose(ind.ema(values, window), naive.ema(values, window), rtol=1e-9, atol=1e-8)
    high, low = values + 1.0, values - 0.5
    expected = naive.atr(high, low, values, window)
    assert_allclose(ind.atr(high, low, values, window), expected, rtol=1e-9, atol=1e-8)


@given(prices, windows)
def test_rsi(values, window):
    assert_allclose(ind.rsi(values, window), naive.rsi(values, window), rtol=1e-9, atol=1e-9)


@given(prices, windows, st.integers(1, 20), windows)
def test_macd(values, fast, further, signal):
    got = ind.macd(values, fast, fast + further, signal)
    expected = naive.macd(values, fast, fast + further, signal)
    for ours, theirs in zip(got, expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * values.max(initial=1.0))


@given(floats, windows)
def test_donchian(values, window):
    got = ind.donchian(values + 1.0, values, window)
    for ours, theirs in zip(got, naive.donchian(values + 1.0, values, window), strict=True):
        assert_array_equal(ours, theirs)


@given(floats, windows)
def test_previous(values, bars):
    assert_array_equal(ind.previous(values, bars), naive.previous(values, bars))
    assert_array_equal(ind.previous(values), naive.previous(values, 1))


def test_previous_is_unknown_at_one_bar_for_each_unknown_value():
    values = np.array([1.0, np.nan, 3.0, np.inf, 5.0, 6.0])
    assert_array_equal(ind.previous(values, 2), [np.nan, np.nan, 1.0, np.nan, 3.0, np.nan])


def test_bollinger_is_made_of_sma_and_deviation():
    values = np.random.default_rng(2).normal(100, 5, 80)
    bands = ind.bollinger(values, 20, 1.5)
    middle, reach = naive.sma(values, 20, naive.binary), 1.5 * naive.rolling_std(values, 20)
    assert bands._fields == ("lower", "middle", "upper")
    assert_allclose(bands, (middle - reach, middle, middle + reach), rtol=1e-14)


# --- promises that hold for any input -----------------------------------------------------------


@given(st.integers(1, 10**12), st.integers(0, 8), st.integers(1, 60), windows, st.data())
def test_on_a_flat_stretch_all_averages_are_the_price(ticks, places, before, window, data):
    price = ticks / 10**places if ticks < 10**places * 10**7 else ticks / 3.0
    noise = data.draw(st.lists(st.floats(0, 1e6), min_size=before, max_size=before))
    values = np.array(noise + [price] * 80)
    flat = values[before:]
    for average in (ind.sma, ind.wma):
        assert_array_equal(average(values, window)[before + window :], price)
    assert_array_equal(ind.rolling_std(values, window)[before + window :], 0.0)
    for line in ind.bollinger(values, window):
        assert_array_equal(line[before + window :], price)
    assert_array_equal(ind.ema(flat, window)[window - 1 :], price)
    assert_array_equal(ind.rsi(flat, window)[window:], 50.0)


def test_equal_on_paper_is_equal_here():
    # 5 * 0.3 and 10 * 0.3, added up in different orders, differ in floating point.
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert ind.sma(values, 5)[-1] == ind.sma(values, 10)[-1] == 0.3


@each_windowed
@given(values=series, window=windows, cut=st.integers(0, 60))
def test_history_starting_later_agrees_bit_for_bit(name, values, window, cut):
    whole, part = ALL[name](values, window)[cut:], ALL[name](values[cut:], window)
    assert_array_equal(part[window - 1 :], whole[window - 1 :])


@each_windowed
@pytest.mark.parametrize("window", [7, 200, 20_000])
def test_long_histories_too(name, window):
    rng = np.random.default_rng(window)
    values = np.round(100 + np.cumsum(rng.normal(0, 0.1, 50_000)), 2)
    values[25_000:30_000] += rng.normal(0, 0.1, 5_000)  # a stretch off the tick
    whole, part = ALL[name](values, window)[12_345:], ALL[name](values[12_345:], window)
    assert not np.isnan(part[window - 1 :]).any()
    assert_array_equal(part[window - 1 :], whole[window - 1 :])


@each
@given(values=series, other=series, window=windows, cut=st.integers(0, 60))
def test_the_future_changes_nothing(name, values, other, window, cut):
    past = ALL[name](values, window)[:cut]
    assert_array_equal(ALL[name](np.concatenate((values[:cut], other)), window)[: len(past)], past)


@each
@given(values=prices, window=windows, ahead=st.integers(0, 10))
def test_known_from_the_stated_bar_on(name, values, window, ahead):
    values = np.concatenate((np.full(ahead, np.nan), values))
    known = ~np.isnan(ALL[name](values, window))
    expected = np.arange(len(values)) >= ahead + WARM_UP[name](window)
    assert_array_equal(known, expected)


@each_windowed
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tick", [0.01, 1 / 3])
def test_a_window_is_unknown_while_it_holds_an_unknown_value(name, gap, tick):
    values = 100 + tick * np.arange(60.0)
    whole = ALL[name](values, 8)
    values[30] = gap
    holed = ALL[name](values, 8)
    assert np.isnan(holed[30:38]).all()
    whole[30:38] = np.nan
    assert_array_equal(holed, whole)


@each_recursive
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_a_recursive_indicator_starts_anew_behind_an_unknown_value(name, gap):
    values = 100 + np.sin(np.arange(80.0))
    values[40] = gap
    got = ALL[name](values, 5)
    assert_array_equal(got[:40], ALL[name](values[:40], 5))
    assert np.isnan(got[40])
    assert_array_equal(got[41:], ALL[name](values[41:], 5))
    assert not np.isnan(got[-1])


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_an_unknown_high_low_or_close_ends_atr(column, gap):
    table = 100 + np.sin(np.arange(60.0)) + np.array([[1.0], [-1.0], [0.0]])
    table[column, 30] = gap
    got = ind.atr(*table, 4)
    seen = 31 if column == 2 else 30  # the close is looked at a bar later
    assert not np.isnan(got[4:seen]).any()
    assert np.isnan(got[seen : seen + 4]).all()
    assert_allclose(got[seen + 4 :], ind.atr(*table[:, seen:], 4)[4:], rtol=1e-14)


def test_an_indicator_of_an_indicator_warms_up_after_it():
    values = np.arange(30.0) ** 2
    inner = ind.rsi(values, 5)
    assert_array_equal(ind.ema(inner, 4)[5:], ind.ema(inner[5:], 4))


@each
@pytest.mark.parametrize("length", [0, 1, 6])
def test_a_window_longer_than_the_data_is_all_unknown(name, length):
    got = ALL[name](np.arange(float(length)), 7)
    assert got.shape == (length,)
    assert np.isnan(got).all()


@each
def test_input_is_left_alone_and_may_be_read_only_or_strided(name):
    values = np.random.default_rng(5).normal(100, 1, 200)
    expected = ALL[name](values, 6)
    given = values.copy()
    given.flags.writeable = False
    strided = np.repeat(values, 2)[::2]
    assert not strided.flags.c_contiguous
    for same in (given, strided):
        got = ALL[name](same, 6)
        assert got.dtype == np.float64
        assert got.flags.writeable
        assert_array_equal(got, expected)
        assert_array_equal(same, values)


@given(prices)
def test_a_window_of_one_is_the_value_itself(values):
    for average in (ind.sma, ind.wma, ind.ema):
        assert_array_equal(average(values, 1), values)
    assert_array_equal(ind.rolling_std(values, 1), np.zeros(len(values)))


def test_rsi_stays_between_its_bounds():
    up = np.cumsum(np.random.default_rng(8).random(500))
    assert_array_equal(ind.rsi(up, 14)[14:], 100.0)
    assert_array_equal(ind.rsi(-up, 14)[14:], 0.0)


# --- what goes in, and what is refused ----------------------------------------------------------


def test_lists_series_and_integers_give_plain_arrays():
    expected = [np.nan, 1.5, 2.5]
    index = pd.date_range("2023-01-01", periods=3, freq="min", tz="UTC")
    for values in ([1, 2, 3], (1.0, 2.0, 3.0), pd.Series([1.0, 2.0, 3.0], index), np.arange(1, 4)):
        got = ind.sma(values, np.int32(2))
        assert type(got) is np.ndarray
        assert_array_equal(got, expected)
    assert_array_equal(ind.sma(values=[1, 2, 3], window=2), expected)


@pytest.mark.parametrize("window", [0, -3, 2.0, np.float64(20), True, "20", None, np.nan])
def test_a_window_is_a_whole_number_of_bars(window):
    x = np.arange(50.0)
    for call in (
        lambda: ind.sma(x, window),
        lambda: ind.wma(x, window),
        lambda: ind.ema(x, window),
        lambda: ind.rsi(x, window),
        lambda: ind.rolling_std(x, window),
        lambda: ind.bollinger(x, window),
        lambda: ind.donchian(x, x, window=window),
        lambda: ind.atr(x, x, x, window=window),
    ):
        with pytest.raises(StrategyError, match=r"window is .*; expected a whole number of bars"):
            call()
    for name in ("fast", "slow", "signal"):
        with pytest.raises(StrategyError, match=f"macd: {name} is .*; expected a whole number"):
            ind.macd(x, **{name: window})


@pytest.mark.parametrize("width", [0, -2.0, np.nan, np.inf, True, "2"])
def test_a_width_is_a_positive_number(width):
    with pytest.raises(StrategyError, match=r"bollinger: width is .*; expected a positive number"):
        ind.bollinger(np.arange(50.0), 20, width)


@pytest.mark.parametrize(("fast", "slow"), [(26, 12), (12, 12)])
def test_macd_needs_fast_below_slow(fast, slow):
    with pytest.raises(StrategyError, match=f"fast is {fast} and slow is {slow}; expected fast"):
        ind.macd(np.arange(50.0), fast, slow)


def test_series_of_one_table_are_equally_long():
    x = np.arange(50.0)
    with pytest.raises(StrategyError, match="different lengths \\(high 50, low 49, close 50\\)"):
        ind.atr(x, x[1:], x)
    with pytest.raises(StrategyError, match="different lengths \\(high 49, low 50\\)"):
        ind.donchian(x[1:], x)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (5.0, r"shape \(\)"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        (pd.DataFrame({"close": [1.0, 2.0]}), r"shape \(2, 1\)"),
        ([[1.0], [1.0, 2.0]], "not one series of numbers"),
        (["1", "2"], "holds .* values; expected numbers"),
        ([1.0, None], "holds object values; expected numbers"),
        ([True, False], "holds bool values; expected numbers"),
        ([1 + 2j], "holds complex128 values; expected numbers"),
        (pd.Series(pd.date_range("2023", periods=3)), "holds datetime64.* values"),
    ],
)
def test_other_things_are_not_series(values, reason):
    with pytest.raises(StrategyError, match=f"sma: values .*{reason}"):
        ind.sma(values, 1)
