"""Rows of numbers, a block at a time: indicators, columns, constants and arithmetic on them.

A row continues where the block before it ended, and has the very values, bit for bit, that the
indicator has over whole arrays. Rows that are compared with many others also get *keys*: where a
value lies between the lowest and the highest of all rows, as a 16-bit number. Keys keep the order;
where two are equal the numbers themselves decide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from .._rolling import SCALE, _quotient
from .bars import BLOCK
from .smoothing import AT_ONCE, STEP, smooth_eight
from .windows import deviation, extreme, extreme_runs, room_for_parts, spread_runs, take

Array = np.ndarray[Any, np.dtype[Any]]

# What a row is made of: see `compute`.
(
    COLUMN,  # a column of the candles
    FULL,  # an array over all bars, computed beforehand
    CONSTANT,
    MEAN,  # sums of whole ticks, differences of a running sum
    WEIGHTED_MEAN,
    SMOOTH,
    RISE,  # of a row from bar to bar, 0 where it fell
    FALL,
    RANGE,  # true range of high, low, close
    RSI,  # of smoothed rise and fall
    LAGGED,  # a column, some bars before
    BEFORE,  # a row, one bar before
    HIGHEST,  # of the last bars of a column
    LOWEST,
    DEVIATION,
    BAND,  # a row and a multiple of another
    MASKED,  # one row where another is known
    ADD,
    SUBTRACT,
    MULTIPLY,
    DIVIDE,
    NEGATE,
    ABSOLUTE,
) = range(23)

# From row to row in memory: not a power of two, or the same bars of all rows would fall into the
# same few places of the cache.
STRIDE = BLOCK + 8  # numbers
KEYS = BLOCK + 32
WORTH = 3  # rows that are faster smoothed together than one by one
BESIDE = 8  # rows that are smoothed side by side, each of another row
SAMPLED = 16  # one number of so many says in which range the keys must lie


class Rows(NamedTuple):
    """The recipes of rows, in an order in which each comes after its inputs.

    ``kind``, ``slot`` (where in `Values` it goes), ``a``, ``b``, ``c`` (slots of inputs; the index
    of a column, a full array or running sums), ``window``, ``skip``: int64. ``factor``: float64.
    ``keyed``: the group of rows it is compared with by keys, from 1 on; 0: none. ``level``,
    ``seen``: what SMOOTH, RISE, FALL, RANGE and BEFORE carry from block to block.
    """

    kind: Array
    slot: Array
    a: Array
    b: Array
    c: Array
    window: Array
    skip: Array
    factor: Array
    keyed: Array
    level: Array
    seen: Array


class Sources(NamedTuple):
    """What rows are computed from: arrays over all bars.

    ``columns``: (columns, bars). ``full``: (arrays, bars). ``ticks``, ``rising``: (columns, bars +
    1) running sums of the ticks of columns that lie on the grid of prices, and running sums of
    those, int64.
    """

    columns: Array
    full: Array
    ticks: Array
    rising: Array


class Values(NamedTuple):
    """The rows of one block: ``numbers`` (slots x STRIDE), ``keys`` (slots x KEYS), both flat.

    ``known[slot]``: whether each number of the row is finite in this block; ``ordered[slot]``:
    whether its keys can be relied on.
    """

    numbers: Array
    keys: Array
    known: Array
    ordered: Array


def aligned(size: int, kind: Any) -> Array:
    """Zeros that begin where a line of the cache does: vectors are then loaded in one piece."""
    kind = np.dtype(kind)
    memory = np.zeros(size * kind.itemsize + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size * kind.itemsize].view(kind)


def empty_values(slots: int) -> Values:
    """Memory for the rows of one block."""
    numbers, keys = aligned(slots * STRIDE, np.float64), aligned(slots * KEYS, np.int16)
    known, ordered = np.zeros((2, slots), np.bool_)
    return Values(numbers, keys, known, ordered)


@compiled
def compute(
    rows: Rows, first: int, end: int, sources: Sources, values: Values, begin: int, bars: int
) -> None:
    """Compute the rows ``first`` .. ``end`` - 1 for ``bars`` bars from ``begin`` on."""
    done = first  # rows before it are
    runs, memory = np.empty((1, 1, 1)), np.empty((3, 2, 1))
    looks_at = -1, -1  # of which kind the runs are, and of which column
    for r in range(first, end):
        if r < done:
            continue
        kind, a = rows.kind[r], rows.a[r]
        row = _row(values, rows.slot[r])  # a slice: no index into it can be negative
        values.ordered[rows.slot[r]] = values.known[rows.slot[r]] = False
        if kind == SMOOTH and bars == BLOCK:
            done = r + _smooth_several(rows, r, end, values)
            if done > r:
                continue
        if kind in (HIGHEST, LOWEST, DEVIATION):
            if looks_at != (kind, a):
                runs, looks_at = _runs(rows, r, end, sources.columns[a], begin, bars), (kind, a)
                memory = room_for_parts()
            if kind == DEVIATION:
                deviation(runs, rows.window[r], memory, row[:bars])
            else:
                extreme(runs, rows.window[r], kind == HIGHEST, row[:bars])
        else:
            _single(rows, r, sources, values, begin, bars, row)
        row[bars:] = np.nan  # beyond the last bar nothing is known
        values.known[rows.slot[r]] = _all_finite(row)
    _order(rows, first, end, values)


@compiled
def _single(  # noqa: PLR0912
    rows: Rows, r: int, sources: Sources, values: Values, begin: int, bars: int, row: Array
) -> None:
    kind, a = rows.kind[r], rows.a[r]
    if kind == MEAN:
        _mean(sources.ticks[a], begin, bars, rows.window[r], row)
    elif kind == SMOOTH:
        _smooth(rows, r, bars, _row(values, a), row)
    elif kind == COLUMN:
        row[:bars] = sources.columns[a, begin : begin + bars]
    elif kind == FULL:
        row[:bars] = sources.full[a, begin : begin + bars]
    elif kind == CONSTANT:
        row[:bars] = rows.factor[r]
    elif kind == WEIGHTED_MEAN:
        _weighted_mean(sources.ticks[a], sources.rising[a], begin, bars, rows.window[r], row)
    elif kind in (RISE, FALL):
        _change(rows, r, kind == RISE, bars, _row(values, a), row)
    elif kind == RANGE:
        inputs = _row(values, a), _row(values, rows.b[r]), _row(values, rows.c[r])
        _range(rows, r, bars, inputs, row)
    elif kind == LAGGED:
        take(sources.columns[a], begin - rows.window[r], row[:bars])
    elif kind == BEFORE:
        _before(rows, r, bars, _row(values, a), row)
    elif kind == BAND:
        middle, reach = _row(values, a), _row(values, rows.b[r])
        for i in range(bars):
            row[i] = middle[i] + rows.factor[r] * reach[i]
    else:
        _apply(kind, _row(values, a), _row(values, rows.b[r]), bars, row)


@compiled
def _row(values: Values, slot: int) -> Array:
    return values.numbers[slot * STRIDE : slot * STRIDE + BLOCK]


@compiled
def _mean(ticks: Array, begin: int, bars: int, window: int, row: Array) -> None:
    divisor = window * SCALE
    unknown = min(max(window - 1 - begin, 0), bars)
    row[:unknown] = np.nan
    newest = ticks[begin + unknown + 1 : begin + bars + 1]
    oldest = ticks[begin + unknown + 1 - window : begin + bars + 1 - window]
    to = row[unknown:bars]
    for i in range(len(to)):
        to[i] = float(newest[i] - oldest[i]) / divisor


@compiled
def _weighted_mean(
    ticks: Array, rising: Array, begin: int, bars: int, window: int, row: Array
) -> None:
    divisor = window * (window + 1) // 2 * SCALE
    for i in range(bars):
        newest = begin + i + 1
        if newest < window:
            row[i] = np.nan
            continue
        total = window * ticks[newest] - (rising[newest] - rising[newest - window])
        high = float(total)
        if abs(high) < 2.0**53:
            row[i] = high / divisor
        else:
            row[i] = _quotient(high, float(total - np.int64(high)), divisor)


@compiled
def _smooth(rows: Rows, r: int, bars: int, values: Array, row: Array) -> None:
    window, alpha = rows.window[r], rows.factor[r]
    level, seen = rows.level[r], rows.seen[r]
    for i in range(bars):
        value = values[i]
        if not np.isfinite(value):
            seen = -rows.skip[r]
            row[i] = np.nan
            continue
        seen += 1
        if seen <= 1 or window == 1:
            level = value
        elif seen <= window:
            level += (value - level) / seen
        else:
            level += alpha * (value - level)
        row[i] = level if seen >= window else np.nan
    rows.level[r], rows.seen[r] = level, seen


@compiled
def _smooth_several(rows: Rows, r: int, end: int, values: Values) -> int:
    """Smooth row ``r`` and some behind it, and return how many: 0 where it has to go alone."""
    alike = _alike(rows, r, end) if values.known[rows.a[r]] else 0
    if alike >= WORTH:
        _smooth_together(rows, r, alike, values)
        return alike
    beside = _ready_beside(rows, r, end, values)
    if beside < 2:
        return 0
    _smooth_beside(rows, r, beside, values)
    return beside


@compiled
def _alike(rows: Rows, r: int, end: int) -> int:
    """How many rows from ``r`` on smooth the same row, all of them past their warm-up."""
    count = 0
    while count < AT_ONCE and r + count < end:
        k = r + count
        if rows.kind[k] != SMOOTH or rows.a[k] != rows.a[r] or rows.seen[k] < rows.window[k]:
            break
        if rows.window[k] == 1:  # follows its input, whatever the factor rounds to
            break
        count += 1
    return count


@compiled
def _smooth_together(rows: Rows, r: int, count: int, values: Values) -> None:
    places, state = np.zeros(AT_ONCE, np.int64), np.zeros(2 * AT_ONCE)
    for k in range(AT_ONCE):
        number = r + min(k, count - 1)  # the last one fills the places that are left
        places[k] = rows.slot[number] * STRIDE
        state[k], state[AT_ONCE + k] = rows.level[number], rows.factor[number]
    for i in range(0, BLOCK, STEP):
        smooth_eight(values.numbers, rows.a[r] * STRIDE + i, places, i, state)
    for k in range(count):
        # A level that ran over stays without a value to the end.
        values.known[rows.slot[r + k]] = np.isfinite(state[k])
        values.ordered[rows.slot[r + k]] = False
        rows.level[r + k] = state[k]
        rows.seen[r + k] += BLOCK


@compiled
def _ready_beside(rows: Rows, r: int, end: int, values: Values) -> int:
    """How many rows from ``r`` on smooth rows that are known, all of them past their warm-up."""
    count = 0
    while count < BESIDE and r + count < end:
        k = r + count
        if rows.kind[k] != SMOOTH or rows.seen[k] < rows.window[k] or rows.window[k] == 1:
            break
        for other in range(r, k):
            if rows.slot[other] == rows.a[k]:  # is not there yet
                return count
        if not values.known[rows.a[k]]:
            break
        count += 1
    return count


@compiled
def _smooth_beside(rows: Rows, r: int, count: int, values: Values) -> None:
    """Smooth some rows bar by bar, not one after the other: each has to wait for itself alone."""
    numbers = values.numbers
    sources, places = np.empty(BESIDE, np.uint64), np.empty(BESIDE, np.uint64)
    levels, factors = np.empty(BESIDE), np.empty(BESIDE)
    for k in range(BESIDE):
        number = r + min(k, count - 1)  # the last one fills the places that are left
        sources[k], places[k] = rows.a[number] * STRIDE, rows.slot[number] * STRIDE
        levels[k], factors[k] = rows.level[number], rows.factor[number]
    for i in range(np.uint64(BLOCK)):
        for k in range(BESIDE):
            level = levels[k] + factors[k] * (numbers[sources[k] + i] - levels[k])
            levels[k] = numbers[places[k] + i] = level
    for k in range(count):
        # A level that ran over stays without a value to the end.
        values.known[rows.slot[r + k]] = np.isfinite(levels[k])
        values.ordered[rows.slot[r + k]] = False
        rows.level[r + k] = levels[k]
        rows.seen[r + k] += BLOCK


@compiled
def _before(rows: Rows, r: int, bars: int, values: Array, row: Array) -> None:
    before = rows.level[r] if rows.seen[r] else np.nan
    for i in range(bars):
        row[i] = before
        before = values[i] if np.isfinite(values[i]) else np.nan
    rows.level[r], rows.seen[r] = before, 1


@compiled
def _runs(rows: Rows, r: int, end: int, column: Array, begin: int, bars: int) -> Array:
    """The runs for row ``r`` and all behind it that look at the same column in the same way."""
    longest = 1
    for k in range(r, end):
        if rows.kind[k] == rows.kind[r] and rows.a[k] == rows.a[r]:
            longest = max(longest, rows.window[k])
    if rows.kind[r] == DEVIATION:
        return spread_runs(column, begin, bars, longest - 1)
    return extreme_runs(column, begin, bars, longest - 1, rows.kind[r] == HIGHEST)


@compiled
def _change(rows: Rows, r: int, up: bool, bars: int, values: Array, row: Array) -> None:
    before = rows.level[r] if rows.seen[r] else np.nan
    for i in range(bars):
        value = values[i] if np.isfinite(values[i]) else np.nan
        change = value - before
        before = value
        if np.isnan(change):
            row[i] = np.nan
        else:
            row[i] = max(change, 0.0) if up else min(change, 0.0)
    rows.level[r], rows.seen[r] = before, 1


@compiled
def _range(rows: Rows, r: int, bars: int, inputs: tuple[Array, Array, Array], row: Array) -> None:
    high, low, close = inputs
    before = rows.level[r] if rows.seen[r] else np.nan
    for i in range(bars):
        if np.isfinite(high[i]) and np.isfinite(low[i]) and not np.isnan(before):
            row[i] = max(high[i], before) - min(low[i], before)
        else:
            row[i] = np.nan
        before = close[i] if np.isfinite(close[i]) else np.nan
    rows.level[r], rows.seen[r] = before, 1


@compiled
def _apply(kind: int, a: Array, b: Array, bars: int, row: Array) -> None:  # noqa: PLR0912
    if kind == ADD:
        for i in range(bars):
            row[i] = a[i] + b[i]
    elif kind == SUBTRACT:
        for i in range(bars):
            row[i] = a[i] - b[i]
    elif kind == MULTIPLY:
        for i in range(bars):
            row[i] = a[i] * b[i]
    elif kind == DIVIDE:
        for i in range(bars):
            row[i] = a[i] / b[i]
    elif kind == NEGATE:
        for i in range(bars):
            row[i] = -a[i]
    elif kind == ABSOLUTE:
        for i in range(bars):
            row[i] = abs(a[i])
    elif kind == MASKED:
        for i in range(bars):
            row[i] = np.nan if np.isnan(b[i]) else a[i]
    else:  # RSI: 100 * up / (up + down), 50 where nothing moved
        for i in range(bars):
            both = a[i] - b[i]
            row[i] = 100.0 * (a[i] / both if both != 0.0 else 0.5)


@compiled
def _order(rows: Rows, first: int, end: int, values: Values) -> None:
    """Give keys to the rows that want them, group by group, if each bar has a finite number."""
    groups = 0
    for r in range(first, end):
        if rows.keyed[r] > 0:
            groups = max(groups, rows.keyed[r])
            values.ordered[rows.slot[r]] = values.known[rows.slot[r]]
    for group in range(1, groups + 1):
        low, high = np.inf, -np.inf
        for r in range(first, end):
            if rows.keyed[r] == group and values.ordered[rows.slot[r]]:
                row = _row(values, rows.slot[r])
                for i in range(0, BLOCK, SAMPLED):
                    low, high = min(low, row[i]), max(high, row[i])
        scale = 60_000.0 / (high - low) if high > low else 0.0
        usable = 0.0 < scale < np.inf
        for r in range(first, end):
            slot = rows.slot[r]
            if rows.keyed[r] == group and values.ordered[slot]:
                values.ordered[slot] = usable
                if usable:
                    keys = values.keys[slot * KEYS : slot * KEYS + BLOCK]
                    _keys(_row(values, slot), keys, low, scale)


@compiled
def _all_finite(numbers: Array) -> bool:
    unknown = 0
    for i in range(len(numbers)):
        unknown += not np.isfinite(numbers[i])
    return unknown == 0


@compiled
def _keys(row: Array, keys: Array, low: float, scale: float) -> None:
    """Where numbers lie in the range of the sampled ones; those far beyond it get the same key."""
    for i in range(len(row)):
        place = (row[i] - low) * scale - 30_000.0
        place = place if place > -32_768.0 else -32_768.0
        place = place if place < 32_767.0 else 32_767.0
        keys[i] = np.int16(np.int32(place))
