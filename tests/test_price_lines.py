"""Which series of a strategy are drawn over the price, and which are said never to be known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backtesting import random_walk

import astraquant as aq
from astraquant import strategies as built_in
from astraquant.evaluation import evaluate, reachable
from astraquant.indicators import atr, bollinger, donchian, ema, previous, rolling_std, rsi, sma
from astraquant.price_lines import _price_parts, price_lines
from astraquant.strategies import higher, hold, where
from astraquant.strategies.running import Tracer, columns_of

WALK = random_walk(600, 3)
COLUMNS = columns_of(WALK, "5m")
HIGHER_CLOSE = "higher('1h', close)"


def program_of(rule):
    @aq.strategy
    def made(candles):
        return rule(candles)

    return Tracer(made).trace({})


def lines_of(rule):
    return price_lines(program_of(rule), COLUMNS)


def test_the_lines_of_the_built_in_strategies():
    def names(strategy, **parameters):
        return list(aq.backtest(WALK, strategy, **parameters).lines)

    assert names(built_in.ma_cross, short=5, long=9) == ["sma(close, 5)", "sma(close, 9)"]
    assert names(built_in.donchian_breakout) == [
        "previous(donchian(high, low, 20)[2], 1)",
        "previous(donchian(high, low, 10)[0], 1)",
    ]
    bands = ["bollinger(close, 20, 2.0)[0]", "bollinger(close, 20, 2.0)[1]"]
    assert names(built_in.bollinger_reversion) == bands
    for none in ("rsi_reversion", "macd_cross", "momentum", "buy_and_hold"):
        assert names(getattr(built_in, none)) == []


def test_a_channel_is_drawn_as_it_is_compared():
    found = aq.backtest(WALK, built_in.donchian_breakout, enter=20, leave=10).lines
    upper, lower = found.values()
    np.testing.assert_array_equal(upper, WALK["high"].rolling(20).max().shift(1))
    np.testing.assert_array_equal(lower, WALK["low"].rolling(10).min().shift(1))


def test_a_higher_series_is_drawn_as_it_is_known():
    def rule(candles):
        trend = higher(candles, "1h", lambda h: sma(h.close, 3))
        return (candles.close > trend) & (candles.close > higher(candles, "1h").close)

    @aq.strategy
    def trending(candles):
        return rule(candles)

    found = aq.backtest(WALK, trending, start=WALK.index[300]).lines
    assert list(found) == ["higher('1h', sma(close, 3))", HIGHER_CLOSE]
    hours = aq.resample(WALK, "1h")["close"]
    ends = hours.index + np.timedelta64(1, "h")
    closes = WALK.index + np.timedelta64(5, "m")
    for line, values in zip(found.values(), (hours.rolling(3).mean(), hours), strict=True):
        expected = values.set_axis(ends).reindex(closes, method="ffill").to_numpy()[300:]
        np.testing.assert_allclose(line, expected, rtol=1e-12)
        assert line.index.equals(WALK.index[300:])


def test_a_higher_condition_is_no_line():
    assert not lines_of(lambda c: higher(c, "1h", lambda h: h.close > sma(h.close, 3)))


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (lambda c: c.close > ema(sma(c.close, 3), 4), ["ema(sma(close, 3), 4)"]),
        (lambda c: sma(c.volume, 3) > c.volume, []),
        (lambda c: ema(rsi(c.close, 14), 5) > 50, []),
        (lambda c: sma(c.close - c.open, 5) > 0, []),
        (lambda c: c.close > previous(c.close, 9), []),
        (lambda c: c.close / sma(c.close, 9) > 1.01, ["sma(close, 9)"]),
        (lambda c: c.close > 1.02 * sma(c.close, 9), ["(1.02 * sma(close, 9))"]),
        (lambda c: c.close > sma((c.high + c.low) / 2, 5), ["sma(((high + low) / 2), 5)"]),
        (lambda c: c.close > sma(c.close, 9) / 0, ["sma(close, 9)"]),
        (
            lambda c: c.close > sma(c.close, 5) - 2 * atr(c.high, c.low, c.close, 7),
            ["(sma(close, 5) - (2 * atr(high, low, close, 7)))"],
        ),
        (
            lambda c: c.close > where(c.close > c.open, sma(c.close, 3), sma(c.close, 4)),
            ["where((close > open), sma(close, 3), sma(close, 4))"],
        ),
        (  # an average that is compared itself too
            lambda c: hold(c.close > previous(sma(c.close, 3)), c.close < sma(c.close, 3)),
            ["sma(close, 3)", "previous(sma(close, 3), 1)"],
        ),
    ],
)
def test_what_is_a_line(rule, names):
    assert list(lines_of(rule)) == names


def test_what_is_never_known_is_named_at_the_timeframe_that_is_too_short():
    @aq.strategy
    def slow(candles):
        trend = higher(candles, "1h", lambda h: h.close > sma(h.close, 300))
        weekly = higher(candles, "1w")
        return trend & (candles.close > weekly.close)

    notes = aq.backtest(WALK, slow).notes
    told = "higher('1h', sma(close, 300)), higher('1w', close)"
    assert f"Too few bars: {told} is not known at any of them." in notes

    @aq.strategy
    def quick(candles):
        return higher(candles, "1h", lambda h: h.close > sma(h.close, 3))

    assert not any("Too few" in note for note in aq.backtest(WALK, quick).notes)


# If all prices rise by 1, what is on the price scale does so too. Only that is asked here: no rule
# of the code is repeated.


def grown(inner):
    numbers = st.sampled_from([0, 1, 2, -1, 0.5, 3])
    windows = st.integers(1, 5)
    return st.one_of(
        st.tuples(inner, windows).map(lambda a: lambda c: sma(a[0](c), a[1])),
        st.tuples(inner, windows).map(lambda a: lambda c: ema(a[0](c), a[1])),
        st.tuples(inner, windows).map(lambda a: lambda c: previous(a[0](c), a[1])),
        st.tuples(inner, windows).map(lambda a: lambda c: rolling_std(a[0](c), a[1] + 1)),
        st.tuples(inner, windows).map(lambda a: lambda c: bollinger(a[0](c), a[1] + 1).upper),
        st.tuples(inner, inner).map(lambda a: lambda c: donchian(a[0](c), a[1](c), 3).middle),
        st.tuples(inner, inner).map(lambda a: lambda c: a[0](c) + a[1](c)),
        st.tuples(inner, inner).map(lambda a: lambda c: a[0](c) - a[1](c)),
        st.tuples(inner, inner).map(lambda a: lambda c: a[0](c) * a[1](c)),
        st.tuples(inner, inner).map(lambda a: lambda c: where(c.close > c.open, a[0](c), a[1](c))),
        st.tuples(inner, numbers).map(lambda a: lambda c: a[0](c) * a[1]),
        st.tuples(inner, numbers).map(lambda a: lambda c: a[1] * a[0](c)),
        st.tuples(inner, numbers).map(lambda a: lambda c: a[0](c) / a[1]),
        st.tuples(inner, numbers).map(lambda a: lambda c: a[0](c) + a[1]),
        inner.map(lambda a: lambda c: -a(c)),
    )


columns = st.sampled_from(["open", "high", "low", "close", "volume"])
series = st.recursive(columns.map(lambda name: lambda c: getattr(c, name)), grown, max_leaves=5)


@settings(max_examples=200)
@given(series, st.booleans())
def test_the_price_in_a_series_is_how_it_follows_all_prices(rule, from_hours):
    def condition(candles):
        return (higher(candles, "1h", rule) if from_hours else rule(candles)) > 0

    root = program_of(condition).args[0]
    part = _price_parts(reachable(root))[root.number]
    if math.isnan(part):
        return
    raised = {name: values + 1.0 if name in {"open", "high", "low", "close"} else values
              for name, values in COLUMNS.items()}  # fmt: skip
    before, after = (np.asarray(evaluate(root, one)) for one in (COLUMNS, raised))
    known = np.isfinite(before)
    size = 1.0 + np.abs(before[known]).max(initial=0.0)
    np.testing.assert_allclose(after[known] - before[known], part, atol=1e-6 * size)
