"""`higher`: a higher timeframe inside a strategy, as it is known at each close and no earlier."""

from __future__ import annotations

from typing import Literal

import naive
import naive_higher
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_engine import assert_rows_equal_backtests
from test_backtesting import random_walk

import astraquant as aq
from astraquant.evaluation import evaluate
from astraquant.indicators import bollinger, ema, rsi, sma
from astraquant.strategies import crossed_above, higher, hold, strategy
from astraquant.strategies.definition import COLUMNS, Candles
from astraquant.strategies.running import Tracer, columns_of, decide_on_arrays

FRAMES = {
    "5m": ["15m", "1h", "4h"],
    "1h": ["2h", "1d", "1w"],
    "4h": ["1d", "3d", "1w", "1M"],
    "1d": ["3d", "1w", "1M"],
}


def walk(bars, seed, step, start, gaps):
    """A table with ``gaps`` missing stretches, from any minute of any day on."""
    table = naive.candle_table(*(random_walk(bars, seed)[name] for name in ("open", "close")))
    length = pd.Timedelta(step.replace("m", "min"))
    index = pd.DatetimeIndex(pd.Timestamp(start, tz="UTC") + np.arange(bars) * length, name="time")
    dice = np.random.default_rng(seed)
    kept = np.ones(bars, np.bool_)
    for _ in range(gaps):
        at = dice.integers(2, max(bars, 3))
        kept[at : at + dice.choice([1, 2, 5, 40])] = False
    table.index = index.as_unit(table.index.unit)
    return table[kept]


frames = st.sampled_from(list(FRAMES)).flatmap(
    lambda step: st.tuples(st.just(step), st.sampled_from(FRAMES[step]))
)


def traced(function, columns):
    """What a function of candles is, over columns, when traced."""

    @strategy
    def told(candles):
        return function(candles) > 0

    root = Tracer(told).trace({}).args[0]
    return evaluate(root, columns)


@settings(max_examples=60)
@given(
    frames,
    st.integers(2, 300),
    st.integers(0, 2**32),
    st.integers(0, 400),
    st.integers(0, 4),
)
def test_each_column_is_that_of_the_last_higher_bar_that_has_closed(pair, bars, seed, late, gaps):
    step, frame = pair
    length = pd.Timedelta(step.replace("m", "min"))
    table = walk(bars, seed, step, pd.Timestamp("2023-01-30") + late * length, gaps)
    if len(table) < 2:
        return
    columns = columns_of(table, step)
    expected, _ = naive_higher.higher(table, length, frame)
    on_arrays = higher(Candles(**columns), frame)
    for name in COLUMNS:
        got = traced(lambda c, name=name: getattr(higher(c, frame), name), columns)
        np.testing.assert_array_equal(got, expected[name], name)
        np.testing.assert_array_equal(getattr(on_arrays, name), expected[name], name)


@settings(max_examples=30)
@given(frames, st.integers(2, 300), st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 9))
def test_an_indicator_in_it_counts_higher_bars(pair, bars, seed, gaps, window):
    step, frame = pair
    length = pd.Timedelta(step.replace("m", "min"))
    table = walk(bars, seed, step, "2023-01-01", gaps)
    if len(table) < 2:
        return
    columns = columns_of(table, step)
    known, whole = naive_higher.higher(table, length, frame)
    expected = naive_higher.at_closes(sma(whole["close"].to_numpy(), window), whole["time"], known)
    got = traced(lambda c: higher(c, frame, lambda h: sma(h.close, window)), columns)
    np.testing.assert_array_equal(got, expected)
    on_arrays = higher(Candles(**columns), frame, lambda h: sma(h.close, window))
    np.testing.assert_array_equal(on_arrays, expected)


@given(st.integers(2, 400), st.integers(0, 2**32), st.integers(0, 400))
@settings(max_examples=40)
def test_a_longer_history_changes_nothing_that_was_known(bars, seed, cut):
    table = walk(bars, seed, "5m", "2023-01-01 00:35", 2)
    columns = columns_of(table, "5m")
    cut = min(cut, len(table))
    part = {name: values[:cut] for name, values in columns.items()}
    whole = higher(Candles(**columns), "1h").close
    np.testing.assert_array_equal(higher(Candles(**part), "1h").close, whole[:cut])


def test_an_hour_is_known_at_the_close_of_its_last_bar():
    table = walk(30, 0, "5m", "2023-01-01 00:00", 0)
    hour = pd.Series(higher(Candles(**columns_of(table, "5m")), "1h").close, table.index)
    assert hour[:"2023-01-01 00:50"].isna().all()
    assert (hour["2023-01-01 00:55":"2023-01-01 01:50"] == table.close.iloc[11]).all()
    assert hour["2023-01-01 01:55"] == table.close.iloc[23]


def test_where_its_last_bar_is_missing_an_hour_is_known_at_the_next_close():
    table = walk(30, 0, "5m", "2023-01-01 00:00", 0)
    table = table.drop(table.index[11])
    hour = pd.Series(higher(Candles(**columns_of(table, "5m")), "1h").close, table.index)
    assert hour[:"2023-01-01 00:50"].isna().all()
    assert hour["2023-01-01 01:00"] == table.close["2023-01-01 00:50"]


def test_the_first_hour_is_left_out_where_its_start_is_missing():
    table = walk(40, 0, "5m", "2023-01-01 00:05", 0)
    hour = pd.Series(higher(Candles(**columns_of(table, "5m")), "1h").open, table.index)
    assert hour[:"2023-01-01 01:50"].isna().all()
    assert hour["2023-01-01 01:55"] == table.open["2023-01-01 01:00"]


def test_the_same_timeframe_is_the_candles_themselves():
    columns = columns_of(walk(40, 0, "1h", "2023-01-01 03:00", 1), "1h")
    for name in COLUMNS:
        got = traced(lambda c, name=name: getattr(higher(c, "1h"), name), columns)
        np.testing.assert_array_equal(got, columns[name])
        np.testing.assert_array_equal(getattr(higher(Candles(**columns), "1h"), name), got)


def test_a_single_bar_is_an_hour_or_not():
    table = walk(2, 0, "1h", "2023-01-01", 0).iloc[:1]
    assert np.isnan(higher(Candles(**columns_of(table, "5m")), "1h").close).all()
    assert higher(Candles(**columns_of(table, "1h")), "1h").close[0] == table.close.iloc[0]
    empty = higher(Candles(**columns_of(table.iloc[:0], "5m")), "1h", lambda h: sma(h.close, 3))
    assert len(empty) == 0


# Strategies with it.


@strategy
def with_trend(candles, window: int = 3, short: int = 5, frame: Literal["15m", "1h", "4h"] = "1h"):
    """Long where the price is above its average, in an hour that was above its own."""
    up = higher(candles, frame, lambda h: h.close > sma(h.close, window))
    return up & (candles.close > sma(candles.close, short))


@strategy
def sides(candles, window: int = 3):
    return aq.where(higher(candles, "1h", lambda h: rsi(h.close, window) > 50), 1, -1)


@strategy
def held(candles, window: int = 3):
    """A strategy of its own over the hours, and the hour's high to leave at."""
    enter = higher(candles, "1h", lambda h: aq.strategies.ma_cross(h, window, 3 * window))
    hour = higher(candles, "1h")
    return hold(enter, crossed_above(candles.close, hour.high))


@strategy
def negated(candles, window: int = 3):
    return ~higher(candles, "1h", lambda h: ~(h.close > sma(h.close, window)))


@strategy
def days_of_hours(candles, window: int = 2):
    """A day's average seen from its hours, seen from the bars."""
    return higher(
        candles,
        "1h",
        lambda h: h.close > higher(h, "4h", lambda d: ema(d.close, window)),
    )


@strategy
def on_arrays(candles, window: int = 3):
    """pandas over the hours: it can't be traced."""
    hours = higher(candles, "1h", lambda h: pd.Series(h.close).rolling(window).mean().to_numpy())
    return np.asarray(candles.close) > hours


EACH = [with_trend, sides, held, negated, days_of_hours, on_arrays]
each = pytest.mark.parametrize("given", EACH, ids=lambda s: s.name)


@each
@pytest.mark.parametrize("gaps", [0, 5])
def test_rows_of_a_sweep_equal_their_backtests(given, gaps):
    direction = "long" if given is sides else "both"
    table = walk(2_600, 1, "5m", "2023-01-01 00:35", gaps)
    result = aq.sweep(table, given, window=[2, 3, 8], cost=[0.0, 0.001], direction=direction)
    assert_rows_equal_backtests(result)
    assert result.table["trades"].min() > 0
    if given is not on_arrays:
        assert result.passport["engine"] == "compiled"


def test_the_timeframe_may_be_a_parameter_and_the_bars_another():
    result = aq.sweep(
        walk(3_000, 2, "5m", "2023-01-01", 2),
        with_trend,
        frame=["15m", "1h", "4h"],
        timeframe=["5m", "15m"],
    )
    assert_rows_equal_backtests(result)
    assert result.passport["engine"] == "compiled"
    assert result.table["exposure"].nunique() > 4


@each
def test_it_never_looks_ahead(given):
    report = aq.check_strategy(given, walk(3_000, 3, "5m", "2023-01-01 00:35", 3))
    assert report.traced == (given is not on_arrays)
    assert report.changes


@each
def test_live_it_decides_as_history_says(given):
    """Called with the candles so far, at any length: what it holds now is what history has."""
    table = walk(600, 4, "5m", "2023-01-01 00:35", 3)
    position = aq.backtest(table, given).position
    for length in (2, 30, 100, 101, 102, 333, len(table)):
        now = aq.backtest(table.iloc[:length], given).position
        assert now.equals(position.iloc[:length])


def test_start_and_end_of_a_run_change_nothing_before():
    table = walk(2_000, 5, "5m", "2023-01-01 00:35", 3)
    whole = aq.backtest(table, with_trend).position
    part = aq.backtest(table, with_trend, start="2023-01-03", end="2023-01-05").position
    assert part.equals(whole["2023-01-03":"2023-01-04"])


@strategy
def unfinished_hours(candles):
    """The naive way: the close of an hour, from its first five minutes on."""
    close = pd.Series(candles.close, pd.to_datetime(candles.time, unit="ms"))
    hours = close.resample("1h").last().reindex(close.index, method="ffill")
    return (close > hours.rolling(36).mean()).to_numpy()


def test_the_naive_way_is_caught_and_the_first_bar_named():
    table = walk(2_000, 0, "5m", "2023-01-01", 0)
    with pytest.raises(
        aq.StrategyError, match="changed its mind about the past: at 2023-01-0"
    ) as e:
        aq.check_strategy(unfinished_hours, table)
    assert "may use this bar and earlier ones only" in str(e.value)


def test_what_is_unknown_before_the_first_hour_is_flat():
    table = walk(40, 0, "5m", "2023-01-01", 0)
    for unknown in (negated, sides):
        position = aq.backtest(table, unknown, window=1).position
        assert not position[:"2023-01-01 00:50"].any()
    columns = columns_of(table, "5m")
    _, first = decide_on_arrays(negated, columns, {"window": 2})
    assert first == 23  # the close of the second hour


@strategy
def averages_steps(candles):
    return sma(higher(candles, "1h").close, 20) > candles.close


@strategy
def averages_twice(candles):
    return ema(higher(candles, "1h", lambda h: sma(h.close, 2)), 5) > candles.close


@strategy
def mixes(candles):
    return higher(candles, "1h", lambda h: h.close > candles.close)


@strategy
def mixes_lengths(candles):
    return higher(candles, "1h", lambda h: sma(candles.close, 3))


@strategy
def steps_of_steps(candles):
    return higher(higher(candles, "1h"), "4h").close > 1


@strategy
def bands(candles):
    return higher(candles, "1h", lambda h: bollinger(h.close, 3)) > 1


@strategy
def no_function(candles):
    return higher(candles, "1h", 20) > 1


@strategy
def nothing(candles):
    return higher(candles, "1h", lambda h: None) > 1


@strategy
def finer(candles, frame: str = "1m"):
    return higher(candles, frame).close > 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (averages_steps, r"sma of higher\('1h', close\).*inside higher.*sma\(h.close"),
        (averages_twice, r"ema of higher\('1h', sma\(close, 2\)\)"),
        (mixes, "a series of 1h bars was combined with one of other bars"),
        (mixes_lengths, "a series of 1h bars was combined with one of other bars"),
        (steps_of_steps, "HigherCandles.*expected the candles that a strategy gets"),
        (bands, r"gave back a Bands; .*of lower middle upper take one"),
        (no_function, "expected a function of the higher candles"),
        (nothing, "gave back a NoneType; expected a series or a condition"),
        (finer, r"5m candles can't be joined into 1m: expected a whole multiple of 5m"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_mistakes_are_told_with_the_cure(wrong, text):
    with pytest.raises(aq.StrategyError, match=text):
        aq.backtest(random_walk(100, 0), wrong)


def test_a_timeframe_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(aq.StrategyError, match="unknown timeframe '60m'. Did you mean '1h'"):
        aq.backtest(random_walk(100, 0), finer, frame="60m")
    with pytest.raises(aq.StrategyError, match=r"for a table: resample"):
        higher(random_walk(100, 0), "1h")


def test_bars_across_two_hours_are_refused():
    table = walk(50, 0, "15m", "2023-01-01 00:05", 0)
    with pytest.raises(aq.StrategyError, match="lies across two bins of 1h"):
        aq.backtest(table, with_trend)


def test_a_call_of_the_same_places_in_another_graph_is_no_known_one():
    """Nodes are numbered by graph: the number alone does not say which node it is."""

    @strategy
    def confused(candles):
        def inside(h):
            whole = aq.indicators.atr(h.high, h.low, h.close, 3)
            return aq.indicators.atr(h.high, candles.low, h.close, 3) > whole

        return higher(candles, "1h", inside)

    with pytest.raises(aq.StrategyError, match="was combined with one of other bars"):
        aq.backtest(random_walk(100, 0), confused)
