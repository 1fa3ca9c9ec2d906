"""What a strategy becomes when it is traced, and what is unknown in it."""

from __future__ import annotations

import operator as op
import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_backtesting import random_walk

import astraquant as aq
from astraquant.evaluation import Boolean, Shared, evaluate
from astraquant.expressions import CannotTrace, Graph
from astraquant.indicators import bollinger, ema, macd, rsi, sma
from astraquant.strategies import crossed_above, crossed_below, hold, where
from astraquant.strategies.running import Tracer, columns_of, decide

NAN = float("nan")
numbers = st.one_of(st.just(NAN), st.integers(-3, 3).map(float))
three = st.tuples(*[st.lists(numbers, min_size=8, max_size=8)] * 3)


def run(build, a, b, c):
    """Evaluate an expression of three columns; numbers or (value, known) pairs, bar by bar."""
    graph = Graph()
    columns = {"open": np.array(a), "high": np.array(b), "close": np.array(c)}
    answer = evaluate(build(*map(graph.column, columns)), columns)
    if isinstance(answer, Boolean):
        assert not (answer.value & ~answer.known).any()
        return list(zip(answer.value.tolist(), answer.known.tolist(), strict=True))
    return answer.tolist()


def known(*values):
    return all(v == v for v in values)


@given(three)
def test_a_comparison_is_known_where_both_sides_are(columns):
    a, b, c = columns
    for compare in (op.lt, op.le, op.gt, op.ge, op.eq, op.ne):
        got = run(lambda x, y, z, compare=compare: compare(x, y), a, b, c)
        pairs = zip(a, b, strict=True)
        assert got == [(known(p, q) and compare(p, q), known(p, q)) for p, q in pairs]


@given(three)
def test_negation_of_the_unknown_is_not_true(columns):
    a, b, c = columns
    got = run(lambda x, y, z: ~(x > y), a, b, c)
    assert got == [(known(p, q) and not p > q, known(p, q)) for p, q in zip(a, b, strict=True)]


@given(three)
def test_logic_is_known_only_where_all_inputs_are(columns):
    a, b, c = columns
    rows = list(zip(a, b, c, strict=True))
    every = [known(*row) for row in rows]
    for build, rule in [
        (lambda x, y, z: (x > y) & (y >= z), lambda p, q, r: p > q and q >= r),
        (lambda x, y, z: (x > y) | (y != z), lambda p, q, r: p > q or q != r),
        (lambda x, y, z: (x < y) ^ (y == z), lambda p, q, r: (p < q) != (q == r)),
        (lambda x, y, z: where(x > y, y > z, y <= z), lambda p, q, r: q > r if p > q else q <= r),
    ]:
        got = run(build, a, b, c)
        assert got == [(k and bool(rule(*row)), k) for row, k in zip(rows, every, strict=True)]


@given(three)
def test_numbers_are_unknown_where_an_input_is(columns):
    a, b, c = columns
    got = run(lambda x, y, z: where(x > y, z, -abs(z) + 2 * y), a, b, c)
    for (p, q, r), value in zip(zip(a, b, c, strict=True), got, strict=True):
        if known(p, q, r):
            assert value == (r if p > q else -abs(r) + 2 * q)
        else:
            assert value != value


@given(three)
def test_crossings_need_four_known_numbers(columns):
    a, b, c = columns
    above = run(lambda x, y, z: crossed_above(x, y), a, b, c)
    below = run(lambda x, y, z: crossed_below(x, 1), a, b, c)
    assert above[0] == below[0] == (False, False)
    for i in range(1, len(a)):
        sure = known(a[i - 1], b[i - 1], a[i], b[i])
        assert above[i] == (sure and a[i - 1] <= b[i - 1] and a[i] > b[i], sure)
        sure = known(a[i - 1], a[i])
        assert below[i] == (sure and a[i - 1] >= 1 and a[i] < 1, sure)


@given(three)
def test_hold_keeps_its_state_through_the_unknown(columns):
    a, b, c = columns
    got = run(lambda x, y, z: hold(enter=x > y, exit=y > z), a, b, c)
    state, expected = False, []
    for p, q, r in zip(a, b, c, strict=True):
        enter, leave = known(p, q) and p > q, known(q, r) and q > r
        if enter != leave:
            state = enter
        expected.append((state, True))
    assert got == expected


@given(three)
def test_arrays_follow_the_same_words(columns):
    """hold, where and the crossings of arrays agree with the traced ones where all is known."""
    a, b, c = (np.nan_to_num(np.array(x)) for x in columns)
    pairs = [
        (lambda x, y, z: hold(x > y, y > z), hold(a > b, b > c)),
        (lambda x, y, z: crossed_above(x, y), crossed_above(a, b)),
        (lambda x, y, z: crossed_below(x, 1), crossed_below(a, 1)),
        (lambda x, y, z: where(x > y, x < z, z > y), where(a > b, a < c, c > b)),
    ]
    for build, expected in pairs:
        assert [value for value, _ in run(build, a, b, c)] == expected.tolist()


def test_what_is_known_is_found_when_it_is_asked_for_and_once():
    asked = []

    def find():
        asked.append(1)
        return np.array([True, False])

    condition = Boolean(np.array([True, False]), find)
    assert not asked
    assert condition.known is condition.known
    assert len(asked) == 1


def test_arithmetic_on_either_side():
    a, b, c = [1.0, NAN, 4.0], [2.0, 2.0, 0.0], [0.0, 0.0, 3.0]
    got = run(lambda x, y, z: (1 + x) * 2 - 3 / (2 - x) + x**2 % 3 + 7 // (x + 1) - +y, a, b, c)
    np.testing.assert_array_equal(got, [4 - 3 + 1 + 3 - 2, NAN, 10 + 1.5 + 1 + 1 - 0])


def test_equal_expressions_are_one_node():
    graph = Graph()
    close = graph.column("close")
    assert sma(close, 5) is sma(close, 5)
    assert sma(close, window=5) is sma(close, 5)
    assert sma(close, 5) is not sma(close, 6)
    assert (sma(close, 5) > close) is (sma(close, 5) > close)
    assert (close + 1) is not (close + 1.0)
    assert macd(close).signal is macd(close, 12, 26, 9).signal
    assert macd(close).signal is not macd(close).macd
    assert rsi(close) is rsi(close, 14)
    assert repr(crossed_above(sma(close, 5), 3)) == "crossed_above(sma(close, 5), 3)"


def test_several_lines_are_computed_once_and_selected():
    candles = columns_of(random_walk(200, 0), "5m")
    graph = Graph()
    bands, shared = bollinger(graph.column("close"), 20, 2.0), Shared()
    expected = bollinger(candles["close"], 20, 2.0)
    for node, line in zip(bands, expected, strict=True):
        np.testing.assert_array_equal(evaluate(node, candles, shared), line)
    assert shared.size == 3 * 8 * 200


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda c: c.close > 1 and c.open > 1, "hold"),
        (lambda c: c.close if c.close > 1 else c.open, "`if`"),
        (lambda c: 1 < c.close < 2, "chained"),
        (lambda c: not c.close, "no single truth value"),
        (lambda c: (c.close > 1) + 1, "where"),
        (lambda c: (c.close > 1) > 0, "& |"),
        (lambda c: -(c.close > 1), "~condition"),
        (lambda c: c.close & c.open, "brackets"),
        (lambda c: ~c.close, "negates a condition"),
        (lambda c: hold(c.close, c.open > 1), "condition such as"),
        (lambda c: crossed_above(c.close > 1, 2), "numbers, not conditions"),
        (lambda c: where(c.close, 1, -1), r"where\(condition"),
        (lambda c: where(c.close > 1, 1, c.close > 2), "both be numbers"),
        (lambda c: c.close > "1", "'1'"),
        (lambda c: sma(c.close > 1, 5), "sma got a condition"),
        (lambda c: sma(c.close, 0) > 1, "whole number of bars"),
    ],
)
def test_misuse_of_a_series_teaches(use, text):
    @aq.strategy
    def wrong(candles):
        return use(candles)

    with pytest.raises(aq.StrategyError, match=text):
        aq.backtest(random_walk(30, 0), wrong)


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda c: np.asarray(c.close) > 1, "hands the candles to numpy"),
        (lambda c: np.log(c.close) > 1, "ufunc"),
        (lambda c: (pd.Series(c.close) > 1).to_numpy(), "number of candles"),
        (lambda c: np.array([x > 1 for x in c.close]), "one by one"),
        (lambda c: c.close > c.close[0], "their place"),
        (lambda c: c.close > np.full(30, 100.0), "with an ndarray"),
        (lambda c: np.full(30, True), "returns a ndarray"),
        (lambda c: sma(np.asarray(c.close), 5) > 1, "numpy"),
    ],
)
def test_what_cannot_be_traced_runs_as_arrays_with_the_reason(use, reason):
    @aq.strategy
    def free(candles):
        return use(candles)

    result = aq.backtest(random_walk(30, 0), free)
    assert result.passport["engine"] == "arrays"
    assert re.search(reason, result.passport["why_not_traced"])


def test_arrays_are_flat_until_every_indicator_is_known():
    @aq.strategy
    def not_above(candles):
        return ~(np.asarray(candles.close) > sma(candles.close, 10))

    @aq.strategy
    def too_long(candles):
        return ~(np.asarray(candles.close) > ema(candles.close, 100))

    assert not aq.backtest(random_walk(30, 0), not_above).position[:9].any()
    assert aq.backtest(random_walk(30, 0), not_above).position[9:].any()
    assert not aq.backtest(random_walk(30, 0), too_long).position.any()


def test_a_node_kept_from_an_earlier_call_is_refused():
    kept = []

    @aq.strategy
    def hoarder(candles):
        kept.append(candles.close)
        return candles.close > kept[0]

    aq.backtest(random_walk(30, 0), hoarder)
    with pytest.raises(aq.StrategyError, match="earlier call"):
        aq.backtest(random_walk(30, 0), hoarder)


def test_traced_and_array_runs_agree_once_all_is_known():
    @aq.strategy
    def mixed(candles, window: int = 9):
        fast, slow = ema(candles.close, 4), sma(candles.close, window)
        calm = bollinger(candles.close, 12, 2.0).upper > candles.high
        return hold(
            crossed_above(fast, slow) & calm, crossed_below(fast, slow) | (rsi(candles.close) > 80)
        )

    columns = columns_of(random_walk(500, 3), "5m")
    report = aq.check_strategy(mixed, random_walk(500, 3))
    assert report.traced
    assert report.changes > 5
    assert decide(Tracer(mixed), columns, {"window": 9}).program is not None


def test_a_whole_answer_kept_from_an_earlier_call_is_refused_too():
    kept = {}

    @aq.strategy
    def hoarder(candles, level: int = 5):
        if level not in kept:
            kept[level] = sma(candles.close, level) > candles.open
        return kept[level]

    aq.sweep(random_walk(50, 0), hoarder, level=[1])
    with pytest.raises(aq.StrategyError, match="earlier call"):
        aq.sweep(random_walk(50, 0), hoarder, level=[2, 1])


def test_a_refusal_that_a_library_swallows_is_still_one():
    """np.array_equal catches every exception and says False: a wrong branch would be traced."""

    @aq.strategy
    def sly(candles):
        if np.array_equal(candles.close, candles.close):
            return candles.close > 0
        return candles.close < 0

    result = aq.backtest(random_walk(30, 0), sly)
    assert result.passport["engine"] == "arrays"
    assert result.position.all()
    assert any("Run on plain arrays" in note for note in result.notes)


def test_long_and_deeply_shared_expressions_are_evaluated():
    candles = random_walk(100, 0)

    @aq.strategy
    def long_sum(candles):
        total = sma(candles.close, 1)
        for window in range(2, 1_500):
            total = total + candles.close * window
        return total > 0

    @aq.strategy
    def doubled(candles):
        value = sma(candles.close, 2)
        for _ in range(60):
            value = value + value
        return value > 0

    for strategy in (long_sum, doubled):
        result = aq.backtest(candles, strategy)
        assert result.passport["engine"] == "traced"
        assert result.position[1:].all()
        assert next(iter(result.lines)).startswith("sma(close, ")
        assert len(repr(Tracer(strategy).trace({}))) < 3_000


def test_intermediate_values_go_as_soon_as_they_are_used():
    bars = 50_000
    graph = Graph()
    close = graph.column("close")
    total = sma(close, 1)
    for window in range(2, 120):
        total = total + sma(close, window)
    columns = {"close": np.linspace(1.0, 2.0, bars)}
    evaluate(total, columns)  # compiles
    tracemalloc.start()
    evaluate(total, columns, Shared(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 8 * bars  # of 238 values, most of them indicators kept till the end before


def test_what_trials_share_stays_within_its_budget():
    graph, shared = Graph(), Shared(3 * 8 * 1_000)
    columns = {"close": np.linspace(1.0, 2.0, 1_000)}
    for window in (2, 3, 4, 5):
        evaluate(sma(graph.column("close"), window), columns, shared)
    assert shared.size == 3 * 8 * 1_000
    evaluate(bollinger(graph.column("close"), 5).upper, columns, shared)
    assert shared.size == 3 * 8 * 1_000  # three lines at once: all others had to go
    evaluate(macd(graph.column("close")).signal, {"close": np.ones(2_000)}, shared)
    assert shared.size == 3 * 8 * 1_000  # larger than the budget: not kept at all


def test_cannot_trace_is_no_error_for_users():
    assert not issubclass(CannotTrace, aq.AstraQuantError)


def test_a_number_that_no_float_can_hold_is_refused():
    with pytest.raises(aq.StrategyError, match=r"1,329 bits; expected one that a float can hold"):
        Graph().column("close") * 10**400
    assert Graph().column("close") * 10**300 is not None
