"""The indicators against TA-Lib, and on a year of real minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import talib
from naive_engine import prices as made_prices
from numpy.testing import assert_allclose, assert_array_equal

from astraquant import indicators as ind

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def minutes(market_data: Path) -> dict[str, Floats]:
    table = pd.read_parquet(
        market_data / "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    )
    assert len(table) == 525_520
    return {name: table[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}


@pytest.mark.parametrize("window", [2, 14, 200])
def test_averages_equal_talib(minutes, window):
    close = minutes["close"]
    for ours, theirs in ((ind.sma, talib.SMA), (ind.wma, talib.WMA), (ind.ema, talib.EMA)):
        assert_allclose(ours(close, window), theirs(close, window), rtol=1e-10)


@pytest.mark.parametrize("window", [2, 14, 200])
def test_wilder_equals_talib(minutes, window):
    high, low, close = minutes["high"], minutes["low"], minutes["close"]
    # Over an hour without a trade (2023-03-24) the true range shrinks by half a bar at window 2,
    # to 1e-21 and below: compared absolutely there.
    expected = talib.ATR(high, low, close, window)
    assert_allclose(ind.atr(high, low, close, window), expected, rtol=1e-9, atol=1e-12)
    # TA-Lib takes rises and falls below 1e-14 for none and says 0; ours keeps their proportion.
    got, expected = ind.rsi(close, window), talib.RSI(close, window)
    moved = ind.ema(np.abs(np.diff(close, prepend=close[0])), 2 * window - 1) > 1e-10
    assert moved.mean() > 0.999
    assert_array_equal(np.isnan(got), np.isnan(expected))
    assert_allclose(got[moved], expected[moved], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (5, 200, 30), (2, 3, 1)])
def test_macd_equals_talib(minutes, fast, slow, signal):
    got = ind.macd(minutes["close"], fast, slow, signal)
    expected = talib.MACD(minutes["close"], fast, slow, signal)
    assert got._fields == ("macd", "signal", "histogram")
    for ours, theirs in zip(got, expected, strict=True):
        # A difference of prices near 30,000: its error is theirs, not its own.
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", [2, 20, 200])
def test_donchian_equals_talib(minutes, window):
    bands = ind.donchian(minutes["high"], minutes["low"], window)
    assert_array_equal(bands.lower, talib.MIN(minutes["low"], window))
    assert_array_equal(bands.upper, talib.MAX(minutes["high"], window))


@pytest.mark.parametrize("bars", [1, 14, 2_000])
def test_momentum_equals_talib(minutes, bars):
    close = minutes["close"]
    before = ind.previous(close, bars)
    assert_array_equal(close - before, talib.MOM(close, bars))
    assert_array_equal((close - before) / before, talib.ROCP(close, bars))


@pytest.mark.parametrize("kind", ["walk", "ties", "flat"])
@pytest.mark.parametrize("bars", [1, 30, 400])
def test_every_indicator_equals_talib_on_made_prices_too(kind, bars):
    """Value by value, warm-up included; what TA-Lib keeps in running sums is compared loosely."""
    close = made_prices(bars, 7, kind)
    high, low = close + 1.0, close - 0.5
    for window in (2, 5, 29, 30):
        lines = [
            (ind.sma(close, window), talib.SMA(close, window)),
            (ind.wma(close, window), talib.WMA(close, window)),
            (ind.ema(close, window), talib.EMA(close, window)),
            (ind.atr(high, low, close, window), talib.ATR(high, low, close, window)),
            (ind.rolling_std(close, window) ** 2, talib.STDDEV(close, window) ** 2),
            (close - ind.previous(close, window), talib.MOM(close, window)),
        ]
        channel = ind.donchian(high, low, window)
        lines += [(channel.lower, talib.MIN(low, window)), (channel.upper, talib.MAX(high, window))]
        bands, theirs = ind.bollinger(close, window, 1.5), talib.BBANDS(close, window, 1.5, 1.5)
        lines += [(bands.middle, theirs[1]), (bands.upper, theirs[0]), (bands.lower, theirs[2])]
        lines += zip(
            ind.macd(close, window, window + 9, 4), talib.MACD(close, window, window + 9, 4),
            strict=True,
        )  # fmt: skip
        for ours, other in lines:
            assert_allclose(ours, other, rtol=1e-9, atol=1e-4 if ours is bands.upper else 1e-6)
        strength, expected = ind.rsi(close, window), talib.RSI(close, window)
        moved = ind.ema(np.abs(np.diff(close, prepend=close[0])), 2 * window - 1) > 1e-10
        assert_array_equal(np.isnan(strength), np.isnan(expected))
        assert_allclose(strength[moved], expected[moved], rtol=1e-9, atol=1e-9)


def test_every_indicator_is_compared_with_talib():
    compared = "sma wma ema rsi atr macd bollinger donchian rolling_std previous"
    named_tuples = {"MACD", "Bands"}
    assert set(ind.__all__) - named_tuples == set(compared.split())


@pytest.mark.parametrize("window", [2, 20, 200])
def test_deviation_equals_talib(minutes, window):
    # TA-Lib takes mean(x^2) - mean(x)^2 from running sums: of prices near 30,000 its variances
    # keep an absolute error of about 1e-6. Of returns, which lie around 0, little is lost.
    close = minutes["close"]
    got, expected = ind.rolling_std(close, window), talib.STDDEV(close, window)
    assert_allclose(got**2, expected**2, rtol=1e-9, atol=1e-4)
    change = np.diff(close)
    got, expected = ind.rolling_std(change, window), talib.STDDEV(change, window)
    assert_allclose(got**2, expected**2, rtol=1e-9, atol=1e-8)


def test_bollinger_equals_talib(minutes):
    bands = ind.bollinger(minutes["close"], 20, 2.0)
    upper, middle, lower = talib.BBANDS(minutes["close"], 20, 2.0, 2.0)
    # The deviation of flat prices is 0 here and up to the root of TA-Lib's error there.
    assert_allclose(bands.middle, middle, rtol=1e-10)
    assert_allclose(bands.lower, lower, rtol=0, atol=0.02)
    assert_allclose(bands.upper, upper, rtol=0, atol=0.02)


def test_real_crossovers_do_not_depend_on_where_history_starts(minutes):
    close = minutes["close"]
    for window in (5, 10, 200):
        whole = ind.sma(close, window)
        assert_array_equal(ind.sma(close[100_000:], window)[window:], whole[100_000 + window :])


def test_real_averages_are_exact_on_every_kind_of_path(minutes):
    # Prices in cents by whole numbers, on numpy's own integers: nothing shared with the kernel.
    cents = np.rint(minutes["close"] * 100).astype(np.int64)
    sums = np.cumsum(cents)
    expected = (sums[199:] - np.concatenate(([0], sums[:-200]))) / (200 * 100)
    assert_array_equal(ind.sma(minutes["close"], 200)[199:], expected)
