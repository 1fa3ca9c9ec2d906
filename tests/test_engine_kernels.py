"""The engine's kernels, each alone: words, lanes, rows with their keys, tables of a block."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_engine import (
    COLUMNS,
    KINDS,
    SIZES,
    columns_with_holes,
    kernel_positions,
    kernel_rows,
    prices,
    rows_in,
)
from test_engine_programs import _Record, build, columns, series, windows

from astraquant._compile import as_input
from astraquant.engine import lanes, rows, words
from astraquant.engine.bars import (
    BLOCK,
    CLOSES,
    DOWNSIDE,
    PRICE,
    SQUARES,
    SUM,
    Market,
    empty_block,
    prepare,
)
from astraquant.engine.lanes import LANES
from astraquant.engine.recipes import MAKERS
from astraquant.evaluation import evaluate
from astraquant.indicators import (
    atr,
    bollinger,
    donchian,
    ema,
    macd,
    previous,
    rolling_std,
    rsi,
    sma,
    wma,
)
from astraquant.strategies.running import _directed

WORD = 64
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
bits = st.integers(0, 2**64 - 1)
awkward = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 5e-324, 1e308]), st.floats()
)


def to_word(flags):
    """Bit k is flag k."""
    return sum(1 << k for k, flag in enumerate(flags) if flag)


def to_flags(word):
    return [bool(int(word) >> k & 1) for k in range(WORD)]


# Words


@numba.njit
def _bits_of(word):
    return words.lowest_bit(word), words.bit_count(word)


@numba.njit
def _top_of(number):
    return words.highest_bit(number)


@quick
@given(bits)
def test_bits_are_found_and_counted(word):
    lowest, count = _bits_of(np.uint64(word))
    assert count == word.bit_count()
    assert lowest == ((word & -word).bit_length() - 1 if word else WORD)
    if word >> 1:
        assert _top_of(np.int64(word >> 1)) == (word >> 1).bit_length() - 1


@numba.njit
def _compare_numbers(a, i, b, j):
    return words.numbers_above(a, i, b, j), words.numbers_known(a, i, b, j)


@quick
@given(st.lists(st.tuples(awkward, awkward), min_size=1, max_size=WORD), st.integers(0, 3))
def test_comparisons_of_numbers_fill_a_word(pairs, at):
    a, b = np.array((pairs * WORD)[:WORD]).T.copy()
    shifted = np.concatenate([np.full(at, 7.0), a])
    above, known = _compare_numbers(shifted, at, b, 0)
    assert to_flags(above) == (a > b).tolist()
    assert to_flags(known) == (~np.isnan(a) & ~np.isnan(b)).tolist()


@numba.njit
def _compare_keys(a, i, b, j):
    return words.keys_above(a, i, b, j), words.keys_equal(a, i, b, j)


@quick
@given(st.integers(0, 2**32), st.sampled_from([2, 10, 2**15]))
def test_comparisons_of_keys_fill_a_word(seed, reach):
    a, b = np.random.default_rng(seed).integers(-reach, reach, (2, 3 * WORD)).astype(np.int16)
    above, equal = _compare_keys(a, WORD, b, 5)
    left, right = a[WORD : 2 * WORD], b[5 : 5 + WORD]
    assert to_flags(above) == (left > right).tolist()
    assert to_flags(equal) == (left == right).tolist()


# Lanes: the same operation on the words of sixteen trials


def _operation(name, results, inputs):
    """A compiled call of one lane operation; its words stand one row of lanes after the other."""
    work = getattr(lanes, name)
    places = tuple(LANES * k for k in range(results + inputs))

    @numba.njit
    def call(flat):
        work(flat, places)

    def run(*given):
        flat = np.zeros((results + inputs, LANES), np.uint64)
        flat[:results] = 0xAAAA  # whatever stood there before
        flat[results:] = given
        flat = flat.ravel()
        call(flat)
        return flat.reshape(-1, LANES)[:results]

    return run


OPERATIONS = {
    "moved": (1, 2), "edges": (1, 2), "crossed": (2, 4), "latched": (2, 3), "started": (2, 3),
    "chosen": (2, 6), "both_hold": (2, 4), "one_holds": (2, 4), "differ": (2, 4), "rest": (1, 2),
    "either": (1, 2), "neither": (1, 3),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(OPERATIONS))
def operation(request):
    return request.param, _operation(request.param, *OPERATIONS[request.param])


def naive_lane(name, given):
    """One bar after the other, as the sentence of the contract says it."""
    flags = [to_flags(word) for word in given]
    if name in ("latched", "started"):
        flags[2] = [bool(given[2] & 1)]  # a state, not 64 bars
        return _run_lane(name, *flags)
    last = {"moved": 1, "edges": 1}.get(name)
    if last:
        word, previous = flags
        before = [previous[63], *word[:63]]
        return [before if name == "moved" else [a != b for a, b in zip(word, before, strict=True)]]
    if name == "crossed":
        return _cross_lane(*flags)
    pairs = {"both_hold": lambda a, b: a and b, "one_holds": lambda a, b: a or b}
    pairs["differ"] = lambda a, b: a != b
    value, known = [], []
    for bar in zip(*flags, strict=True):
        if name == "chosen":
            sure = bar[1] and bar[3] and bar[5]
            value.append(sure and (bar[2] if bar[0] else bar[4]))
            known.append(sure)
        elif name in pairs:
            sure = bar[1] and bar[3]
            value.append(sure and pairs[name](bar[0], bar[2]))
            known.append(sure)
        elif name == "either":
            value.append(bar[0] or bar[1])
        else:  # rest: known, not value; neither: known, not one, not other
            value.append(bar[0] and not any(bar[1:]))
    return [value, known] if known else [value]


def _run_lane(name, first, second, state):
    held, result = state[0], []
    for a, b in zip(first, second, strict=True):
        if name == "latched":  # enter, leave
            held = a if a != b else held
            result.append(held)
        else:  # value, known: short where known and False, once it was True
            held = held or a
            result.append(held and b and not a)
    return [result, [held] + [False] * 63]


def _cross_lane(above, was, known, was_known):
    before, known_before = [was[63], *above[:63]], [was_known[63], *known[:63]]
    sure = [a and b for a, b in zip(known, known_before, strict=True)]
    value = [s and a and not b for s, a, b in zip(sure, above, before, strict=True)]
    return [value, sure]


runs = st.lists(st.tuples(st.booleans(), st.integers(1, 64)), min_size=1, max_size=12).map(
    lambda parts: to_word([flag for flag, length in parts for _ in range(length)][:WORD])
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_lanes_work_as_one_bar_after_the_other(operation, data):
    name, run = operation
    inputs = OPERATIONS[name][1]
    mixed = st.one_of(bits, runs, st.sampled_from([0, 2**64 - 1, 1, 2**63]))
    given = [[data.draw(mixed) for _ in range(LANES)] for _ in range(inputs)]
    if name in ("latched", "started"):
        given[2] = [word & 1 for word in given[2]]
    if name == "crossed":  # above is never True where it is not known
        given[0] = [a & k for a, k in zip(given[0], given[2], strict=True)]
        given[1] = [a & k for a, k in zip(given[1], given[3], strict=True)]
    got = run(*given)
    for lane in range(LANES):
        expected = naive_lane(name, [row[lane] for row in given])
        assert [to_flags(word) for word in got[:, lane]] == expected, (name, lane)


# Rows


def assert_same_bits(got, expected):
    """Every number the same, to the last bit; one NaN is as good as another."""
    expected = np.where(np.isnan(expected), np.nan, expected)
    got = np.where(np.isnan(got), np.nan, got)
    np.testing.assert_array_equal(got, expected)
    assert got.tobytes() == expected.tobytes()


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(series, min_size=1, max_size=5),
    st.sampled_from(SIZES),
    st.integers(0, 2**32),
    st.sampled_from(KINDS),
)
def test_rows_are_the_indicators_bit_for_bit(specs, bars, seed, kind):
    """Also over holes: where smoothing starts anew, and where a block ends."""
    columns = columns_with_holes(bars, seed, kind)
    candles = _Record()
    nodes = [build(spec, candles) for spec in specs]
    for got, node in zip(kernel_rows(nodes, columns), nodes, strict=True):
        assert_same_bits(got, evaluate(node, columns))


EACH = {
    "sma": lambda c, w: sma(c.close, w),
    "wma": lambda c, w: wma(c.close, w),
    "ema": lambda c, w: ema(c.close, w),
    "rsi": lambda c, w: rsi(c.close, w),
    "atr": lambda c, w: atr(c.high, c.low, c.close, w),
    "macd": lambda c, w: macd(c.close, w, w + 9, 4).macd,
    "signal": lambda c, w: macd(c.close, w, w + 9, 4).signal,
    "histogram": lambda c, w: macd(c.close, w, w + 9, 4).histogram,
    "lower": lambda c, w: bollinger(c.close, w, 1.5).lower,
    "upper": lambda c, w: bollinger(c.close, w, 1.5).upper,
    "ema of rsi": lambda c, w: ema(rsi(c.open, w), 3),
    "deviation": lambda c, w: rolling_std(c.close, w),
    "lowest": lambda c, w: donchian(c.high, c.low, w).lower,
    "middle": lambda c, w: donchian(c.high, c.low, w).middle,
    "highest": lambda c, w: donchian(c.high, c.low, w).upper,
    "previous": lambda c, w: previous(c.close, w),
    "the channel before": lambda c, w: previous(donchian(c.high, c.low, w).upper),
    "previous averages": lambda c, w: previous(ema(c.close, 5), w),
    "ema of a difference": lambda c, w: ema(c.close - c.open, w),
}


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("bars", [1, 1023, 1024, 1025, 2048, 2600])
def test_every_indicator_over_the_edges_of_blocks(name, bars):
    made = {maker.__name__ for maker in MAKERS}
    known = "sma wma ema rsi atr macd bollinger rolling_std donchian previous"
    assert made <= set(known.split()), "one is not in EACH"
    columns = {column: prices(bars, k, "walk") for k, column in enumerate(COLUMNS)}
    candles = _Record()
    nodes = [EACH[name](candles, window) for window in (1, 2, 9, 1_000, 1_024, 1_025, 1_500)]
    got = kernel_rows(nodes, columns)
    for row, node in zip(got, nodes, strict=True):
        assert_same_bits(row, evaluate(node, columns))
    # No other order of rows, nor a row alone, has other numbers.
    for row, node in zip(kernel_rows(nodes[::-1], columns)[::-1], nodes, strict=True):
        assert_same_bits(row, evaluate(node, columns))
    assert_same_bits(kernel_rows(nodes[3:4], columns)[0], got[3])
    if bars > 1_600 and name in ("sma", "ema"):
        assert not np.isnan(got[:, -1]).any()


@pytest.mark.parametrize("price", [0.01, 1e5, 4e6, 1e7, 1e9])
@pytest.mark.parametrize("window", [1, 3, 900, 1_300])
def test_averages_of_large_prices_and_windows_are_exact_or_left_to_the_indicator(price, window):
    """Where whole ticks would not fit, the row is the indicator over all bars."""
    columns = {name: np.round(price * prices(2_100, 3, "walk"), 2) for name in COLUMNS}
    candles = _Record()
    nodes = [sma(candles.close, window), wma(candles.close, window)]
    for row, node in zip(kernel_rows(nodes, columns), nodes, strict=True):
        assert_same_bits(row, evaluate(node, columns))


def test_more_rows_than_are_kept_share_their_slots():
    """Beyond 1,024 rows those of few trials are made anew for each tile."""
    columns = {name: prices(1_100, k, "walk") for k, name in enumerate(COLUMNS)}
    candles = _Record()
    nodes = [ema(candles.close, w) - sma(candles.open, w) for w in range(2, 500)]
    for row, node in zip(kernel_rows(nodes, columns), nodes, strict=True):
        assert_same_bits(row, evaluate(node, columns))


@pytest.mark.parametrize("hole", [None, 0, 700, 1023, 1024, 1500, 2050])
@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 33])
def test_averages_of_one_row_side_by_side(count, hole):
    """Many factors over one row, each with its own warm-up, and starting anew after a hole."""
    columns = {name: prices(4_200, k, "walk") for k, name in enumerate(COLUMNS)}
    if hole is not None:
        columns["close"][hole] = np.nan
    candles = _Record()
    odd = [ema(candles.close, 1), ema(candles.close, 3_000), rsi(candles.close, 40)]
    nodes = [*odd, *(ema(candles.close, 2 + 7 * k) for k in range(count))]
    for row, node in zip(kernel_rows(nodes, columns), nodes, strict=True):
        assert_same_bits(row, evaluate(node, columns))


@pytest.mark.parametrize("hole", [None, 0, 700, 1023, 1024, 1500, 2050])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 17])
def test_averages_of_several_rows_side_by_side(count, hole):
    """Each of a row of its own; some of a row that is smoothed in the same breath, or not known."""
    columns = {name: prices(4_200, k, "walk") for k, name in enumerate(COLUMNS)}
    if hole is not None:
        columns["open"][hole] = np.nan
    candles = _Record()
    both = candles.close - candles.open
    nodes = [ema(candles.close - k, 5 + k) for k in range(count)]
    nodes += [ema(ema(both, 30), 9), ema(ema(ema(candles.low - 1, 4), 3), 1), ema(both, 3_000)]
    for row, node in zip(kernel_rows(nodes, columns), nodes, strict=True):
        assert_same_bits(row, evaluate(node, columns))


def test_averages_of_numbers_too_large_to_subtract_are_not_taken_for_known():
    columns = {name: prices(3_100, 3, "walk") for name in COLUMNS}
    columns["close"] = np.where(np.arange(3_100) % 700 == 650, -1.7e308, 1.7e308)
    columns["open"] = np.linspace(-8e307, 8e307, 3_100)
    candles = _Record()
    roots = [ema(candles.close, w) > ema(candles.open, v) for w in (2, 9, 30, 40) for v in (3, 5)]
    for got, root in zip(kernel_positions(roots, columns, "both"), roots, strict=True):
        np.testing.assert_array_equal(got, _directed(evaluate(root, columns), "both"))


@given(columns, windows, st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_same_row_is_made_once(column, window, seed):
    """Two ways to write it are one recipe, and both get its numbers."""
    data = columns_with_holes(200, seed, "walk")
    candles = _Record()
    node = build(("sma", column, window), candles)
    one, other = kernel_rows([node, bollinger(build(column, candles), window).middle], data)
    assert_same_bits(one, other)


# Keys


def keys_of(numbers):
    """Keys of rows that are compared with each other, and which of them have some."""
    count = len(numbers)
    each = np.arange(count)
    zero = np.zeros(count, np.int64)
    recipes = rows.Rows(
        np.full(count, rows.COLUMN), each, each, zero, zero, zero, zero, np.zeros(count),
        np.ones(count, np.int64), np.zeros(count), zero,
    )  # fmt: skip
    nothing = np.zeros((1, 1), np.int64)
    values = rows.empty_values(count)
    sources = rows.Sources(numbers, np.zeros((0, BLOCK)), nothing, nothing)
    rows.compute(recipes, 0, count, sources, values, 0, BLOCK)
    return rows_in(values, values.keys), values.ordered


@quick
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40, unique=True
    ),
    st.integers(0, 2**32),
)
def test_keys_keep_the_order(numbers, seed):
    drawn = np.random.default_rng(seed).choice(numbers, (3, BLOCK))
    keys, ordered = keys_of(drawn)
    assert len(set(ordered)) == 1
    if ordered.all():
        order = np.argsort(drawn.ravel(), kind="stable")
        assert (np.diff(keys.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_rows_with_holes_have_no_keys_and_spoil_no_others(hole):
    numbers = np.random.default_rng(0).random((4, BLOCK))
    numbers[2, 700] = hole
    keys, ordered = keys_of(numbers)
    assert ordered.tolist() == [True, True, False, True]
    assert len(set(keys[[0, 1, 3]].ravel().tolist())) > 2_000  # of 3,072: they tell rows apart


# Tables of a block


@pytest.mark.parametrize("bars", [1, 2, 5, 100, 1023, 1024])
@pytest.mark.parametrize("begin", [0, 1024])
def test_tables_of_a_block_hold_what_they_say(bars, begin):
    dice = np.random.default_rng(bars)
    close, price = np.exp(dice.normal(0, 0.1, (2, begin + bars)))
    cost, slippage = 0.002, 0.0003
    market = Market(as_input(close), as_input(price), as_input(close), cost, slippage)
    block = empty_block()
    prepare(block, market, begin, bars)
    for level in range(bars.bit_length()):
        for bar in range(bars - (1 << level) + 1):
            span = close[begin + bar : begin + bar + (1 << level)]
            assert block.lowest[level, bar] == span.min()
            assert block.highest[level, bar] == span.max()
    for entry, leave in [(0, bars), (0, bars - 1), (bars // 3, bars // 2 + 1), (bars - 1, bars)]:
        if entry >= leave:
            continue
        # A long from the fill in bar `entry` to the one in bar `leave` (or the block's end).
        paid = price[begin + entry] * (1 + slippage) * (1 + cost)
        worth = [paid, *close[begin + entry : begin + leave]]
        if leave < bars:
            worth.append(price[begin + leave] * (1 - slippage) * (1 - cost))
        returns = np.diff(worth) / worth[:-1]
        got = block.enter[entry] + block.leave[leave]
        assert got[SUM] == pytest.approx(returns.sum(), abs=1e-12)
        assert got[SQUARES] == pytest.approx((returns**2).sum(), abs=1e-12)
        assert got[DOWNSIDE] == pytest.approx((np.minimum(returns, 0) ** 2).sum(), abs=1e-12)
        assert got[CLOSES] == pytest.approx(close[begin + entry : begin + leave].sum(), abs=1e-9)
        assert block.enter[entry, PRICE] == paid
