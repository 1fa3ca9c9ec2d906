"""The arithmetic under the indicators: folds over windows, exact means, recursive smoothing.

Whatever looks at a window is a function of the values in that window and of nothing else: not of
what came before it (so a history that starts later agrees bit for bit) and not of what comes after
it (so nothing looks ahead). A running floating-point sum is neither, hence the two ways used here:

*Exact* (``mean``). Prices are decimals: a value v is on the grid of 10^-8 if t = round(v * 10^8)
gives v = t / 10^8 back. Where a whole window is on it, the whole numbers t are added, without any
rounding, and one division by (window * 10^8) comes last, correctly rounded. The finer grid costs
nothing: a price on 10^-2 has t = 10^6 * its ticks, and the quotient is the same real number, so the
same float. Equal averages compare equal, whatever their windows.

*By a fixed tree* (``fold``). Other values are added in pairs, then pairs of pairs: the sum of the
2m values from bar i on is that of the m from i on and that of the m from i + m on; a window is put
together from such blocks by its binary digits. That takes log2(window) passes, and the order of
additions depends on the window's length alone. Sums are carried in two floats (about 32 digits).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ._compile import compiled

Floats: TypeAlias = npt.NDArray[np.float64]
Ticks: TypeAlias = npt.NDArray[np.int64]
# What is known of each block of values, one array per figure; and how two blocks become one:
# the older block, its size, the newer block, its size.
Parts: TypeAlias = tuple[Floats, ...]
Join: TypeAlias = Callable[[Parts, int, Parts, int], Parts]

SCALE = 1e8
# From 2^50 grid steps on (11 million), v * 10^8 is too coarse to tell one step from the next.
LARGEST = 2.0**50
# Folding goes through the data in pieces, exact sums in blocks, that stay in the processor's cache.
PIECE, BLOCK = 16384, 1024


def mean(values: Floats, window: int, *, weighted: bool = False) -> Floats:
    """Average of each window; ``weighted``: by 1, 2, ... window, the newest value the most.

    Shape (n,) -> (n,). NaN where the window is not full or holds an unknown (non-finite) value.
    """
    if window > len(values):
        return np.full(len(values), np.nan)
    total = window * (window + 1) // 2 if weighted else window
    # Sums stay below 2^62 and the divisor, a whole number, below 2^53; else no value is "on grid".
    limit = min(LARGEST, 2.0**62 // total) if total * SCALE < 2.0**53 else -1.0
    result = np.empty(len(values))
    if _grid_means(frozen(values), window, weighted, float(total), limit, result):
        return result
    result, pending = _exact_means(frozen(values), window, weighted, float(total), limit)
    if pending:
        for begin, end in _pieces(len(values), window):
            piece = result[begin + window - 1 : end]
            if np.isnan(piece).any():
                sums = _window_sums(values[begin:end], window, weighted=weighted)
                means = _divide(sums[0], sums[1], float(total))
                np.copyto(piece, means, where=np.isnan(piece))
    return result


def std(values: Floats, window: int) -> Floats:
    """Measure the population deviation (ddof 0) of each window; exactly 0 where all are equal.

    Shape (n,) -> (n,). NaN where the window is not full or holds an unknown (non-finite) value.
    """
    result = np.full(len(values), np.nan)
    for begin, end in _pieces(len(values), window):
        piece = known(values[begin:end]).copy()
        none = np.where(np.isnan(piece), np.nan, 0.0)
        squares = fold((piece, none, none), window, _join_spreads)[2]
        result[begin + window - 1 : end] = np.sqrt(squares / window)
    return result


def highest(values: Floats, window: int) -> Floats:
    """Largest value of each window, (n,) -> (n,); NaN where not full or not all known."""
    return _extreme(values, window, np.maximum)


def lowest(values: Floats, window: int) -> Floats:
    """Smallest value of each window, (n,) -> (n,); NaN where not full or not all known."""
    return _extreme(values, window, np.minimum)


def smooth(values: Floats, window: int, alpha: float, *, skip: int = 0) -> Floats:
    """Exponential smoothing seeded with the mean of the first ``window`` known values.

    Shape (n,) -> (n,). y[i] = y[i-1] + alpha * (x[i] - y[i-1]). The first ``skip`` known values are
    passed over. An unknown (non-finite) value ends it; it starts anew, seed and all, after that.
    """
    return _smooth(frozen(values), window, alpha, skip)


def fold(single: Parts, window: int, join: Join) -> Parts:
    """Join the parts of every ``window`` neighbours: (n,) arrays -> (n - window + 1,) arrays.

    Element i covers the values i .. i + window - 1; which are joined first depends on ``window``
    alone. The older operand of ``join`` always has a power of two of values.
    """
    block, size = single, 1
    whole, held = block, 0
    while True:
        if window & size:  # put this block in front of what is held already
            whole = _beside(block, size, whole, held, join) if held else block
            held += size
            if held == window:
                return whole
        block = _beside(block, size, block, size, join)
        size *= 2


def known(values: Floats) -> Floats:
    """Give NaN for infinities: nothing can be said of those bars either."""
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


def frozen(values: Floats) -> Floats:
    """Give a read-only view: the compiler then sees one type of array, whoever owns the memory."""
    view = values.view()
    view.flags.writeable = False
    return view


def _beside(older: Parts, size: int, newer: Parts, held: int, join: Join) -> Parts:
    length = len(newer[0]) - size
    return join(
        tuple(part[:length] for part in older), size, tuple(part[size:] for part in newer), held
    )


def _pieces(length: int, window: int) -> list[tuple[int, int]]:
    """Slices that overlap by window - 1, so that each window lies in exactly one of them."""
    step = max(PIECE, window)
    starts = range(0, length - window + 1, step)
    return [(start, min(start + step + window - 1, length)) for start in starts]


def _extreme(values: Floats, window: int, pick: Callable[[Floats, Floats], Floats]) -> Floats:
    def join(a: Parts, size: int, b: Parts, held: int) -> Parts:
        return (pick(a[0], b[0]),)

    result = np.full(len(values), np.nan)
    for begin, end in _pieces(len(values), window):
        result[begin + window - 1 : end] = fold((known(values[begin:end]),), window, join)[0]
    return result


def _window_sums(values: Floats, window: int, *, weighted: bool) -> Parts:
    single = (values.copy(), np.zeros(len(values)))
    if weighted:
        return fold(single + single, window, _join_weighted)[2:]
    return fold(single, window, _join_sums)


def _join_sums(a: Parts, size: int, b: Parts, held: int) -> Parts:
    return _add(a[0], a[1], b[0], b[1], 1.0)


def _join_weighted(a: Parts, size: int, b: Parts, held: int) -> Parts:
    """Parts: sum, weighted sum, in two floats each; the newer block's weights grow by size."""
    high, low = _add(a[2], a[3], b[2], b[3], 1.0)
    return _join_sums(a, size, b, held) + _add(high, low, b[0], b[1], float(size))


def _join_spreads(a: Parts, size: int, b: Parts, held: int) -> Parts:
    """Parts: sum (two floats), sum of squared distances from the mean (never a difference)."""
    return *_join_sums(a, size, b, held), _spread(a, float(size), b, float(held))


@compiled
def _product(a: float, b: float) -> tuple[float, float]:
    """Dekker's exact product: a * b = high + low, each factor split into halves of 26 bits."""
    high = a * b
    c = 134217729.0 * a
    a1 = c - (c - a)
    a2 = a - a1
    c = 134217729.0 * b
    b1 = c - (c - b)
    b2 = b - b1
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


@compiled
def _quotient(high: float, low: float, divisor: float) -> float:
    """(high + low) / divisor, rounded once: the quotient of the high part, then of what it left."""
    first = high / divisor
    product, rest = _product(first, divisor)
    return first + (((high - product) - rest) + low) / divisor


@compiled
def _divide(high: Floats, low: Floats, divisor: float) -> Floats:
    result = np.empty(len(high))
    for i in range(len(high)):
        result[i] = _quotient(high[i], low[i], divisor)
    return result


@compiled
def _joined_sum(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    """Sum of two numbers in two floats each (Knuth's exact sum)."""
    s = a + b
    t = s - a
    rest = (a - (s - t)) + (b - t) + (a_low + b_low)
    high = s + rest
    return high, rest - (high - s)


@compiled
def _add(
    a_high: Floats, a_low: Floats, b_high: Floats, b_low: Floats, factor: float
) -> tuple[Floats, Floats]:
    """Add factor * b to a, numbers in two floats; factor: a power of two."""
    high, low = np.empty(len(a_high)), np.empty(len(a_high))
    for i in range(len(a_high)):
        high[i], low[i] = _joined_sum(a_high[i], a_low[i], b_high[i] * factor, b_low[i] * factor)
    return high, low


@compiled
def _joined_squares(
    a: float, a_low: float, a_squares: float, size: float,
    b: float, b_low: float, b_squares: float, held: float, scale: float,
) -> float:  # fmt: skip
    """Chan's rule: the squares of both blocks, and of the distance between their means.

    That distance times both sizes is held * sum(a) - size * sum(b), taken with exact products:
    equal values give exactly 0. ``scale``: 1 / (size * held * (size + held)).
    """
    p, p_rest = _product(a, held)
    q, q_rest = _product(b, size)
    distance = (p - q) + ((p_rest - q_rest) + (a_low * held - b_low * size))
    return a_squares + b_squares + distance * distance * scale


@compiled
def _spread(a: Parts, size: float, b: Parts, held: float) -> Floats:
    a_high, a_low, a_squares = a
    b_high, b_low, b_squares = b
    scale = 1.0 / (size * held * (size + held))
    result = np.empty(len(a_high))
    for i in range(len(a_high)):
        result[i] = _joined_squares(
            a_high[i], a_low[i], a_squares[i], size, b_high[i], b_low[i], b_squares[i], held, scale
        )
    return result


@compiled
def _grid_means(
    values: Floats, window: int, weighted: bool, total: float, limit: float, result: Floats
) -> bool:
    """What `_exact_means` finds where all values are on the grid; False where one is not.

    A block of values at a time, one short step after the other: all but the running sums can so be
    done for many values at once.
    """
    newest, oldest = np.empty(BLOCK, np.int64), np.zeros(BLOCK, np.int64)
    sums = np.empty(BLOCK, np.int64)
    plain, rising = 0, 0  # sums of the window's ticks, weighted by 1 and by 1, 2, ... window
    for begin in range(0, len(values), BLOCK):
        block = values[begin : begin + BLOCK]
        if not _to_ticks(block, limit, newest):
            return False
        left = values[max(0, begin - window) : max(0, begin + len(block) - window)]
        _to_ticks(left, limit, oldest[len(block) - len(left) :])  # what leaves the window
        if weighted:
            for i in range(len(block)):
                rising += window * newest[i] - plain
                plain += newest[i] - oldest[i]
                sums[i] = rising
        else:
            for i in range(len(block)):
                plain += newest[i] - oldest[i]
                sums[i] = plain
        _divide_ticks(sums, total * SCALE, result[begin : begin + BLOCK])
    result[: window - 1] = np.nan
    return True


@compiled
def _to_ticks(values: Floats, limit: float, ticks: Ticks) -> bool:
    """Values in steps of the grid; whether all are on it."""
    off_grid = False
    for i in range(len(values)):
        scaled = np.rint(values[i] * SCALE)
        off_grid |= not ((abs(scaled) <= limit) & (scaled / SCALE == values[i]))
        ticks[i] = np.int64(scaled)
    return not off_grid


@compiled
def _divide_ticks(sums: Ticks, divisor: float, means: Floats) -> None:
    large = False
    for i in range(len(means)):
        means[i] = float(sums[i]) / divisor
        large |= abs(float(sums[i])) >= 2.0**53
    if large:  # too large for a float to be exact
        for i in range(len(means)):
            high = float(sums[i])
            means[i] = _quotient(high, float(sums[i] - np.int64(high)), divisor)


@compiled
def _exact_means(
    values: Floats, window: int, weighted: bool, total: float, limit: float
) -> tuple[Floats, bool]:
    """Averages of the windows that lie on the grid; NaN in the others, and whether there are any.

    A window that holds an unknown value is NaN for good and not counted among "the others".
    """
    n = len(values)
    result = np.full(n, np.nan)
    ticks = np.zeros(n, np.int64)
    plain, rising = 0, 0  # sums of the window's ticks, weighted by 1 and by 1, 2, ... window
    off_grid, unknown = -1, -1  # the last bar of each kind
    pending = False
    divisor = total * SCALE
    for i in range(n):
        value = values[i]
        scaled = np.rint(value * SCALE)
        if abs(scaled) <= limit and scaled / SCALE == value:
            ticks[i] = np.int64(scaled)
        elif np.isfinite(value):
            off_grid = i
        else:
            unknown = i
        rising += window * ticks[i] - plain
        plain += ticks[i]
        if i >= window:
            plain -= ticks[i - window]
        if i < window - 1 or unknown > i - window:
            continue
        if off_grid > i - window:
            pending = True
            continue
        numerator = rising if weighted else plain
        high = float(numerator)
        if abs(high) < 2.0**53:
            result[i] = high / divisor
        else:
            result[i] = _quotient(high, float(numerator - np.int64(high)), divisor)
    return result, pending


@compiled
def _smooth(values: Floats, window: int, alpha: float, skip: int) -> Floats:
    result = np.full(len(values), np.nan)
    count = -skip  # known values since the last unknown one
    level = 0.0
    for i in range(len(values)):
        value = values[i]
        if not np.isfinite(value):
            count = -skip
            continue
        count += 1
        if count <= 1 or window == 1:
            level = value
        elif count <= window:  # the mean so far: it stays exactly flat where the values are
            level += (value - level) / count
        else:
            level += alpha * (value - level)
        if count >= window:
            result[i] = level
    return result
