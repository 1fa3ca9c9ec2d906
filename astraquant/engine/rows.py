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
from .._rolling import _quotient
from .bars import BLOCK

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
    MASKED,  # one row where another is known
    ADD,
    SUBTRACT,
    MULTIPLY,
    DIVIDE,
    NEGATE,
    ABSOLUTE,
) = range(17)


class Rows(NamedTuple):
    """The recipes of rows, in an order in which each comes after its inputs.

    ``kind``, ``slot`` (where in `Values` it goes), ``a``, ``b``, ``c`` (slots of inputs; the index
    of a column, a full array or running sums), ``window``, ``skip``: int64. ``factor``: float64.
    ``keyed``: the group of rows it is compared with by keys, from 1 on; 0: none. ``level``,
    ``seen``: what SMOOTH, RISE, FALL and RANGE carry from block to block.
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
    """The rows of one block: ``numbers`` (slots x BLOCK), ``keys`` of the same shape, both flat.

    ``ordered[slot]``: whether the keys of that row can be relied on in this block.
    """

    numbers: Array
    keys: Array
    ordered: Array


def empty_values(slots: int) -> Values:
    """Memory for the rows of one block."""
    size = slots * BLOCK
    return Values(np.zeros(size), np.zeros(size, np.int16), np.zeros(slots, np.bool_))


@compiled
def compute(
    rows: Rows, first: int, end: int, sources: Sources, values: Values, begin: int, bars: int
) -> None:
    """Compute the rows ``first`` .. ``end`` - 1 for ``bars`` bars from ``begin`` on."""
    numbers = values.numbers
    for r in range(first, end):
        kind, to = rows.kind[r], rows.slot[r] * BLOCK
        if kind == MEAN:
            _mean(sources.ticks[rows.a[r]], begin, bars, rows.window[r], numbers, to)
        elif kind == SMOOTH:
            _smooth(rows, r, bars, numbers, to)
        elif kind == COLUMN:
            numbers[to : to + bars] = sources.columns[rows.a[r], begin : begin + bars]
        elif kind == FULL:
            numbers[to : to + bars] = sources.full[rows.a[r], begin : begin + bars]
        elif kind == CONSTANT:
            numbers[to : to + bars] = rows.factor[r]
        elif kind == WEIGHTED_MEAN:
            ticks, rising = sources.ticks[rows.a[r]], sources.rising[rows.a[r]]
            _weighted_mean(ticks, rising, begin, bars, rows.window[r], numbers, to)
        elif kind in (RISE, FALL):
            _change(rows, r, kind == RISE, bars, numbers, to)
        elif kind == RANGE:
            _range(rows, r, bars, numbers, to)
        else:
            a, b = rows.a[r] * BLOCK, rows.b[r] * BLOCK
            _apply(kind, a, b, bars, numbers, to)
        for i in range(to + bars, to + BLOCK):
            numbers[i] = np.nan  # beyond the last bar nothing is known
        values.ordered[rows.slot[r]] = False
    _order(rows, first, end, values)


@compiled
def _mean(ticks: Array, begin: int, bars: int, window: int, numbers: Array, to: int) -> None:
    divisor = window * 1e8
    unknown = min(max(window - 1 - begin, 0), bars)
    for i in range(unknown):
        numbers[to + i] = np.nan
    for i in range(unknown, bars):
        newest = begin + i + 1
        numbers[to + i] = float(ticks[newest] - ticks[newest - window]) / divisor


@compiled
def _weighted_mean(
    ticks: Array, rising: Array, begin: int, bars: int, window: int, numbers: Array, to: int
) -> None:
    divisor = window * (window + 1) // 2 * 1e8
    for i in range(bars):
        newest = begin + i + 1
        if newest < window:
            numbers[to + i] = np.nan
            continue
        total = window * ticks[newest] - (rising[newest] - rising[newest - window])
        high = float(total)
        if abs(high) < 2.0**53:
            numbers[to + i] = high / divisor
        else:
            numbers[to + i] = _quotient(high, float(total - np.int64(high)), divisor)


@compiled
def _smooth(rows: Rows, r: int, bars: int, numbers: Array, to: int) -> None:
    a, window, alpha = rows.a[r] * BLOCK, rows.window[r], rows.factor[r]
    level, count = rows.level[r], rows.seen[r]
    for i in range(bars):
        value = numbers[a + i]
        if not np.isfinite(value):
            count = -rows.skip[r]
            numbers[to + i] = np.nan
            continue
        count += 1
        if count <= 1 or window == 1:
            level = value
        elif count <= window:
            level += (value - level) / count
        else:
            level += alpha * (value - level)
        numbers[to + i] = level if count >= window else np.nan
    rows.level[r], rows.seen[r] = level, count


@compiled
def _change(rows: Rows, r: int, up: bool, bars: int, numbers: Array, to: int) -> None:
    a = rows.a[r] * BLOCK
    before = rows.level[r] if rows.seen[r] else np.nan
    for i in range(bars):
        value = numbers[a + i]
        if not np.isfinite(value):
            value = np.nan
        change = value - before
        before = value
        if np.isnan(change):
            numbers[to + i] = np.nan
        else:
            numbers[to + i] = max(change, 0.0) if up else min(change, 0.0)
    rows.level[r], rows.seen[r] = before, 1


@compiled
def _range(rows: Rows, r: int, bars: int, numbers: Array, to: int) -> None:
    high, low, close = rows.a[r] * BLOCK, rows.b[r] * BLOCK, rows.c[r] * BLOCK
    before = rows.level[r] if rows.seen[r] else np.nan
    for i in range(bars):
        if (
            np.isfinite(numbers[high + i])
            and np.isfinite(numbers[low + i])
            and not np.isnan(before)
        ):
            top, bottom = max(numbers[high + i], before), min(numbers[low + i], before)
            numbers[to + i] = top - bottom
        else:
            numbers[to + i] = np.nan
        before = numbers[close + i] if np.isfinite(numbers[close + i]) else np.nan
    rows.level[r], rows.seen[r] = before, 1


@compiled
def _apply(kind: int, a: int, b: int, bars: int, numbers: Array, to: int) -> None:  # noqa: PLR0912
    if kind == ADD:
        for i in range(bars):
            numbers[to + i] = numbers[a + i] + numbers[b + i]
    elif kind == SUBTRACT:
        for i in range(bars):
            numbers[to + i] = numbers[a + i] - numbers[b + i]
    elif kind == MULTIPLY:
        for i in range(bars):
            numbers[to + i] = numbers[a + i] * numbers[b + i]
    elif kind == DIVIDE:
        for i in range(bars):
            numbers[to + i] = numbers[a + i] / numbers[b + i]
    elif kind == NEGATE:
        for i in range(bars):
            numbers[to + i] = -numbers[a + i]
    elif kind == ABSOLUTE:
        for i in range(bars):
            numbers[to + i] = abs(numbers[a + i])
    elif kind == MASKED:
        for i in range(bars):
            numbers[to + i] = np.nan if np.isnan(numbers[b + i]) else numbers[a + i]
    else:  # RSI: 100 * up / (up + down), 50 where nothing moved
        for i in range(bars):
            up = numbers[a + i]
            both = up - numbers[b + i]
            numbers[to + i] = 100.0 * (up / both if both != 0.0 else 0.5)


@compiled
def _order(rows: Rows, first: int, end: int, values: Values) -> None:
    """Give keys to the rows that want them, group by group."""
    groups = 0
    for r in range(first, end):
        groups = max(groups, rows.keyed[r])
    for group in range(1, groups + 1):
        _order_group(rows, first, end, group, values)


@compiled
def _order_group(rows: Rows, first: int, end: int, group: int, values: Values) -> None:
    """Give keys to rows that are compared with each other, if each bar has a finite number."""
    numbers = values.numbers
    lows, highs = np.full(8, np.inf), np.full(8, -np.inf)  # eight at once: that the compiler likes
    for r in range(first, end):
        if rows.keyed[r] != group:
            continue
        at = rows.slot[r] * BLOCK
        unknown = np.zeros(8)
        for i in range(at, at + BLOCK, 8):
            for k in range(8):
                unknown[k] += numbers[i + k] * 0.0
        if unknown.sum() != 0.0:  # NaN: of a NaN or an infinity
            continue
        values.ordered[rows.slot[r]] = True
        for i in range(at, at + BLOCK, 8):
            for k in range(8):
                value = numbers[i + k]
                lows[k] = value if value < lows[k] else lows[k]
                highs[k] = value if value > highs[k] else highs[k]
    low, span = lows.min(), highs.max() - lows.min()
    usable = 0.0 < span < np.inf
    scale = 65535.0 / span if usable else 0.0
    for r in range(first, end):
        slot = rows.slot[r]
        if rows.keyed[r] != group or not values.ordered[slot]:
            continue
        values.ordered[slot] = usable and np.isfinite(scale)
        if values.ordered[slot]:
            for i in range(slot * BLOCK, (slot + 1) * BLOCK):
                values.keys[i] = np.int16(np.int32((numbers[i] - low) * scale) - 32768)
