"""Traced programs in the engine: whatever a strategy says, decided as `evaluation` decides it."""

from __future__ import annotations

import operator as op

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_engine import (
    COLUMNS,
    KINDS,
    SIZES,
    assert_rows_equal_backtests,
    columns_with_holes,
    kernel_positions,
    table,
)
from test_backtesting import random_walk

import astraquant as aq
from astraquant import indicators
from astraquant.engine import programs
from astraquant.evaluation import evaluate
from astraquant.expressions import Graph
from astraquant.strategies import crossed_above, crossed_below, hold, where
from astraquant.strategies.running import _directed, _to_position

ARITHMETIC = {
    "+": op.add, "-": op.sub, "*": op.mul, "/": op.truediv, "//": op.floordiv, "%": op.mod,
    "**": op.pow,
}  # fmt: skip
COMPARISONS = {"<": op.lt, "<=": op.le, ">": op.gt, ">=": op.ge, "==": op.eq, "!=": op.ne}
LOGIC = {"&": op.and_, "|": op.or_, "^": op.xor}
CROSSINGS = {"above": crossed_above, "below": crossed_below}

# A strategy as nested tuples: (word, arguments ...). Hypothesis draws and shrinks them, `build`
# makes of one what its author would have written.
windows = st.sampled_from([1, 2, 3, 5, 14, 70, 1100])
constants = st.sampled_from([-1, 0, 1, 2, 0.5, 2.5, 30.0, 70.0, 100.0, 1e-8, 1e300])
columns = st.sampled_from(COLUMNS).map(lambda name: ("column", name))


def _series(inner):
    """Series made of other series."""
    one_or_number = st.one_of(inner, inner, constants)
    fields = st.integers(0, 2)
    return st.one_of(
        st.tuples(st.sampled_from(["neg", "abs"]), inner),
        st.tuples(st.sampled_from(list(ARITHMETIC)), inner, one_or_number),
        st.tuples(st.sampled_from(list(ARITHMETIC)), constants, inner),
        st.tuples(st.sampled_from(["sma", "wma", "ema", "rsi", "rolling_std"]), inner, windows),
        st.tuples(st.just("atr"), inner, inner, inner, windows),
        st.tuples(st.just("macd"), inner, windows, st.integers(1, 9), windows, fields),
        st.tuples(st.just("bollinger"), inner, windows, st.sampled_from([0.5, 2.0]), fields),
        st.tuples(st.just("donchian"), inner, inner, windows, fields),
        st.tuples(st.just("previous"), inner, windows),
    )


series = st.recursive(columns, _series, max_leaves=5)
operands = st.one_of(series, series, constants)
comparisons = st.one_of(
    st.tuples(st.sampled_from([*COMPARISONS, *CROSSINGS]), series, operands),
    st.tuples(st.sampled_from(list(CROSSINGS)), constants, series),
)


def _conditions(inner):
    """Conditions made of other conditions."""
    or_fixed = st.one_of(inner, inner, st.booleans())
    return st.one_of(
        st.tuples(st.just("~"), inner),
        st.tuples(st.sampled_from(list(LOGIC)), inner, or_fixed),
        st.tuples(st.just("hold"), inner, or_fixed),
        st.tuples(st.just("where"), inner, or_fixed, or_fixed),
        # numbers chosen by a condition, compared again
        st.tuples(
            st.sampled_from(list(COMPARISONS)),
            st.tuples(st.just("where"), inner, operands, operands),
            operands,
        ),
    )


conditions = st.recursive(comparisons, _conditions, max_leaves=6)
sides = st.sampled_from([-1, 0, 1, 1.0, -1.0])
choices = st.tuples(
    st.just("where"),
    conditions,
    sides,
    st.one_of(sides, st.tuples(st.just("where"), conditions, sides, sides)),
)


def build(spec, candles):
    """What the author of ``spec`` would have written, over ``candles``."""
    if not isinstance(spec, tuple):
        return spec
    word, *rest = spec
    if word == "column":
        return getattr(candles, rest[0])
    args = [build(part, candles) for part in rest]
    if word in ("neg", "abs"):
        return -args[0] if word == "neg" else abs(args[0])
    if word == "macd":
        values, fast, more, signal, field = args
        return indicators.macd(values, fast, fast + more, signal)[field]
    if word in ("bollinger", "donchian"):
        return getattr(indicators, word)(*args[:-1])[args[-1]]
    if word in ("sma", "wma", "ema", "rsi", "rolling_std", "atr", "previous"):
        return getattr(indicators, word)(*args)
    if word == "~":
        return ~args[0]
    words = {**ARITHMETIC, **COMPARISONS, **LOGIC, **CROSSINGS, "hold": hold, "where": where}
    return words[word](*args)


class _Record:
    """Candles as nodes of one graph."""

    def __init__(self):
        graph = Graph()
        for name in COLUMNS:
            setattr(self, name, graph.column(name))


quick = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(conditions, st.sampled_from(SIZES), st.integers(0, 2**32), st.sampled_from(KINDS))
def test_decisions_are_those_of_the_evaluation(spec, bars, seed, kind):
    """Bar by bar, over numbers with holes: what is unknown is flat, in every direction."""
    columns = columns_with_holes(bars, seed, kind)
    root = build(spec, _Record())
    answer = evaluate(root, columns)
    for direction in ("long", "short", "both"):
        got = kernel_positions([root], columns, direction)[0]
        np.testing.assert_array_equal(got, _directed(answer, direction), direction)


@quick
@given(choices, st.sampled_from(SIZES), st.integers(0, 2**32), st.sampled_from(KINDS))
def test_chosen_sides_are_those_of_the_evaluation(spec, bars, seed, kind):
    columns = columns_with_holes(bars, seed, kind)
    root = build(spec, _Record())
    position = _to_position("it", evaluate(root, columns), columns, "long")
    np.testing.assert_array_equal(kernel_positions([root], columns, "long")[0], position)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(conditions, min_size=1, max_size=6),
    st.sampled_from(SIZES[:12]),
    st.integers(0, 2**32),
    st.sampled_from(["ties", "walk", "off the grid", "flat"]),
    st.sampled_from(["long", "short", "both"]),
    st.sampled_from(["open", "close"]),
)
def test_rows_of_programs_of_all_shapes_equal_their_backtests(
    specs, bars, seed, kind, direction, fill
):
    @aq.strategy
    def drawn(candles, which: int):
        return build(specs[which], candles)

    result = aq.sweep(
        table(max(bars, 2), seed, kind),
        drawn,
        which=range(len(specs)),
        direction=direction,
        fill=fill,
        cost=[0.0, 0.001],
    )
    assert_rows_equal_backtests(result)


# Written as strategies are: the same rows compared in several ways, constants on either side, words
# that would be folded into one another.
COMMON = {
    "macd": lambda c: indicators.macd(c.close, 5, 9, 4).macd > indicators.macd(c.close, 5, 9, 4)[1],
    "macd, and its sign": lambda c: (
        (indicators.macd(c.close, 5, 9, 4).macd > indicators.macd(c.close, 5, 9, 4).signal)
        | ~(indicators.macd(c.close, 5, 9, 4).macd < 0)
    ),
    "macd crossing": lambda c: hold(
        crossed_above(*indicators.macd(c.close, 5, 9, 4)[:2]),
        crossed_below(*indicators.macd(c.close, 5, 9, 4)[1::-1]),
    ),
    "macd, known with its signal": lambda c: indicators.macd(c.close, 5, 9, 40).macd > -1e9,
    "macd, with others": lambda c: hold(
        indicators.macd(c.close, 5, 9, 40).macd > -1e9,
        crossed_below(*indicators.macd(c.close, 5, 9, 40)[:2]),
    ),
    "both orders": lambda c: (c.close > c.open) ^ (c.open >= c.close) | (c.open != c.close),
    "either crossing": lambda c: crossed_above(c.close, c.open) | crossed_above(c.open, c.close),
    "with itself": lambda c: (c.close >= c.close) & ~(c.close > c.close),
    "crossing itself": lambda c: ~crossed_above(c.close, c.close),
    "fixed": lambda c: where(c.close > c.open, True, False) & True | (c.close < c.low) ^ False,
    "held for ever": lambda c: hold(c.close > c.open, False),
    "never held": lambda c: hold(False, c.close > c.open),
    "held and let go": lambda c: hold(c.close > c.open, c.close > c.open),
    "time of day": lambda c: c.time % 86_400_000 < 3_600_000 * 7,
    "time": lambda c: (c.time + 0) / 1000 > c.time / 1000 - c.volume,
    "nothing": lambda c: c.close / 0 - c.close / 0 > 0,
    "chosen twice": lambda c: where(c.close > c.open, -where(c.close > 0, 1, 0), c.low * 0) >= 0,
}


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("kind", ["ties", "walk", "off the grid"])
def test_common_ways_to_write_a_strategy(name, kind):
    @aq.strategy
    def written(candles, which: int):
        return COMMON[name](candles)

    for seed in range(3):
        columns = columns_with_holes(2_100, seed, kind)
        candles = _Record()
        candles.time = candles.close.graph.column("time")
        root = COMMON[name](candles)
        answer = evaluate(root, columns)
        for direction in ("long", "short", "both"):
            got = kernel_positions([root], columns, direction)[0]
            np.testing.assert_array_equal(got, _directed(answer, direction))
    result = aq.sweep(table(2_100, 0, kind), written, which=[1], direction="both")
    assert_rows_equal_backtests(result)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("direction", ["long", "short", "both"])
def test_every_place_among_the_lanes_decides_for_itself(count, direction):
    """Sixteen trials side by side, and the rest of them."""
    columns = columns_with_holes(2_100, 5, "walk")
    candles = _Record()
    roots = [
        hold(crossed_above(candles.close, level), candles.open < level - 1)
        for level in np.linspace(90, 110, count)
    ]
    got = kernel_positions(roots, columns, direction)
    for mine, root in zip(got, roots, strict=True):
        np.testing.assert_array_equal(mine, _directed(evaluate(root, columns), direction))


@pytest.mark.parametrize("at", [1, 63, 64, 1022, 1023, 1024, 1025, 2047, 2048])
@pytest.mark.parametrize("hole", [None, -2, -1, 0, 1])
def test_what_happens_at_the_edge_of_a_block_looks_back_over_it(at, hole):
    """A crossing at one bar, from below, from a tie and from above, a hole before or after it."""
    for before in (1.0, 2.0, 3.0):
        columns = {name: np.full(2_100, 2.0) for name in COLUMNS}
        columns["close"][:at] = before
        columns["close"][at:] = 4.0 - before if before != 2.0 else 3.0
        if hole is not None and at + hole >= 0:
            columns["close"][at + hole] = np.nan
        candles = _Record()
        for cross in (crossed_above, crossed_below):
            crossing = cross(candles.close, candles.open)
            for root in (crossing, ~crossing, hold(crossing, False), hold(~crossing, crossing)):
                answer = _directed(evaluate(root, columns), "both")
                got = kernel_positions([root], columns, "both")[0]
                np.testing.assert_array_equal(got, answer)
        if hole is None and before < 3.0:
            assert evaluate(crossed_above(candles.close, candles.open), columns).value[at]


def test_conditions_nested_too_deeply_for_a_program_are_evaluated():
    def nested(depth):
        @aq.strategy
        def deep(candles, level: float = 100.0):
            answer = candles.close > level
            for k in range(depth):
                answer = (answer ^ (candles.open > level + k % 5)) | (candles.high < level)
            return answer

        return aq.sweep(random_walk(1_100, 0), deep, level=[98.0, 101.0], direction="both")

    for depth in (1, programs.DEEPEST // 2 - 1, programs.DEEPEST, 600):
        result = nested(depth)
        assert_rows_equal_backtests(result)
        assert result.passport["engine"].startswith("compiled")


def test_the_time_is_a_number_like_any_other():
    @aq.strategy
    def timed(candles, scale: float = 1.0):
        return candles.time * candles.time * scale > 2.0**81  # beyond whole numbers of 64 bits

    result = aq.sweep(random_walk(300, 0), timed, scale=[0.5, 1.0, 1.1])
    assert result.table["exposure"].nunique() > 1
    assert_rows_equal_backtests(result)


def test_zero_and_minus_zero_are_two_constants():
    @aq.strategy
    def signed(candles, level: float = 0.0, sign: float = 1.0):
        return candles.close / (level * sign) > 0

    result = aq.sweep(random_walk(50, 0), signed, level=[0.0, 1.0], sign=[1.0, -1.0])
    assert result.table["exposure"].tolist() == [0.98, 0.0, 0.98, 0.0]
    assert_rows_equal_backtests(result)
