"""What all trials share about a block of bars: prepared once, looked up at every fill.

Within a block everything between two fills is a difference of running sums, which start anew in
each block so that they stay small and exact. Bars are counted from the first one of the block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from .series import SERIES, TERMS

Array = np.ndarray[Any, np.dtype[Any]]
POSITIVE = 0x7FFFFFFF  # a mask that tells the compiler that an index is not negative
BLOCK = 1024  # bars; a whole number of words, and few enough for the rows to stay in the cache
LEVELS = 11  # of the tables of extremes: spans of 1, 2, 4 ... BLOCK bars

SMALL = 0.02  # up to where the terms of the series for shorts are enough

# Columns of `Block.enter` and `Block.leave`. The first five are added up by every fill: the powers
# of returns, and the squares of the negative ones. A line is as wide as one of the cache.
SUM, SQUARES, CUBES, FOURTHS, DOWNSIDE, CLOSES, PRICE, INVERSE = range(8)
WIDTH = 8

# Columns of the counts that each trial has (int64): closed trades, those with a profit, bars in
# position, the bar of the last exit, the side held now, fills in bars in which nobody traded,
# whether it was ruined, whether it was ever short.
TRADES, WINS, HELD, SINCE, SIDE, EMPTY, RUINS, SHORTS = range(8)
COUNTS = 8


class Market(NamedTuple):
    """The bars to trade in, and on what terms: arrays over all bars (float64), two fractions.

    ``price``: at which a fill is made, before slippage.
    """

    close: Array
    price: Array
    volume: Array
    cost: float
    slippage: float


class Block(NamedTuple):
    """The tables of one block, memory to be filled by `prepare` (float64).

    ``enter[b]``: what is added when a long position is entered in bar b; ``leave[b]`` when it is
    left in bar b; row BLOCK (or the last block's length) when it is held over the block's end.
    ``lowest[k, b]``, ``highest[k, b]``: extremes of the closes of bars b .. b + 2^k - 1.
    ``sums[b]``: running sums over the bars before b, in the columns SUM .. CLOSES.
    ``powers[b]``: what shorts need, see `prepare_shorts`; ``middle``: its two constants.
    """

    enter: Array
    leave: Array
    lowest: Array
    highest: Array
    sums: Array
    powers: Array
    middle: Array


def empty_block(bars: int = BLOCK) -> Block:
    """Memory for one block of so many bars."""
    # not as long: at a power of two apart they would share a few places of the cache
    lines, tables = (bars + 1, WIDTH), (LEVELS, bars + 8)
    return Block(
        np.zeros(lines), np.zeros(lines), np.zeros(tables), np.zeros(tables), np.zeros(lines),
        np.zeros((bars + 1, SERIES * TERMS)), np.zeros(2),
    )  # fmt: skip


@compiled
def prepare(block: Block, market: Market, begin: int, bars: int) -> None:
    """Fill the tables for ``bars`` bars from ``begin`` on."""
    close, price, cost, slippage = market.close, market.price, market.cost, market.slippage
    enter, leave, sums = block.enter, block.leave, block.sums
    returns, squares, cubes, fourths, downside, closes = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    before = close[max(begin - 1, 0)]
    for b in range(bars):
        now, fill = close[begin + b], price[begin + b]
        sold = fill * (1.0 - slippage) * (1.0 - cost)
        bought = fill * (1.0 + slippage) * (1.0 + cost)
        sums[b, SUM], sums[b, SQUARES], sums[b, DOWNSIDE] = returns, squares, downside
        sums[b, CUBES], sums[b, FOURTHS], sums[b, CLOSES] = cubes, fourths, closes
        last = sold / before - 1.0  # the return of the bar in which a long position is left
        leave[b, SUM] = last + returns
        leave[b, SQUARES] = last**2 + squares
        leave[b, CUBES], leave[b, FOURTHS] = last**3 + cubes, last**4 + fourths
        leave[b, DOWNSIDE] = min(last, 0.0) ** 2 + downside
        leave[b, CLOSES], leave[b, PRICE] = closes, sold
        enter[b, CLOSES] = -closes
        held = now / before - 1.0
        returns += held
        squares += held**2
        cubes += held**3
        fourths += held**4
        downside += min(held, 0.0) ** 2
        closes += now
        first = now / bought - 1.0  # of the bar in which it is entered
        enter[b, SUM] = first - returns
        enter[b, SQUARES] = first**2 - squares
        enter[b, CUBES], enter[b, FOURTHS] = first**3 - cubes, first**4 - fourths
        enter[b, DOWNSIDE] = min(first, 0.0) ** 2 - downside
        enter[b, PRICE], enter[b, INVERSE] = bought, 1.0 / bought
        before = now
    for table in (sums, leave):
        table[bars, SUM], table[bars, SQUARES], table[bars, DOWNSIDE] = returns, squares, downside
        table[bars, CUBES], table[bars, FOURTHS], table[bars, CLOSES] = cubes, fourths, closes
    extremes(block.lowest, block.highest, close, close, begin, bars)


@compiled
def extremes(lowest: Array, highest: Array, low: Array, high: Array, begin: int, bars: int) -> None:
    """Fill tables of extremes: ``lowest[k, b]`` is that of ``low`` in bars b .. b + 2^k - 1."""
    for b in range(bars):
        lowest[0, b] = low[begin + b]
        highest[0, b] = high[begin + b]
    level, half = 1, 1
    while 2 * half <= bars:
        for b in range(bars - 2 * half + 1):
            one, other = lowest[level - 1, b], lowest[level - 1, b + half]
            lowest[level, b] = other if other < one else one
            one, other = highest[level - 1, b], highest[level - 1, b + half]
            highest[level, b] = other if other > one else one
        level += 1
        half *= 2


@compiled
def prepare_shorts(block: Block, market: Market, begin: int, bars: int) -> None:
    """Fill the tables from which the returns of a short over some bars are added up.

    A short is worth K - q c at close c, so a bar returns -q (c - c') / (K - q c'), c' being the
    close before. With p in the middle of the block's closes, d = (c - c') / p, u = c' / p - 1 and
    y = q p / (K - q p) that is -y d / (1 - y u), a series in y u. So sums of returns are series in
    y whose coefficients, sums of d u^k, are differences of running sums. ``powers[b]`` has those
    over the bars before b: of d u^k, of (k + 1) d^2 u^k for the squares, of the latter where
    prices rose, and with the binomials of (k + 2, 2) and (k + 3, 3) those for the third and fourth
    powers. ``middle``: p, and the largest u. With y u below `SMALL` eight terms are exact to
    13 digits (of the fourth powers to 11).
    """
    close, powers = market.close, block.powers
    low, high = close[max(begin - 1, 0)], close[max(begin - 1, 0)]
    for b in range(begin, begin + bars):
        low, high = min(low, close[b]), max(high, close[b])
    middle = (low + high) / 2.0
    block.middle[0], block.middle[1] = middle, (high - low) / 2.0 / middle
    before = close[max(begin - 1, 0)]
    powers[0, :] = 0.0
    for b in range(bars):
        step, away = (close[begin + b] - before) / middle, before / middle - 1.0
        power = step
        for k in range(TERMS):
            powers[b + 1, k] = powers[b, k] + power
            square = (k + 1) * step * power
            powers[b + 1, TERMS + k] = powers[b, TERMS + k] + square
            rise = square if step > 0.0 else 0.0
            powers[b + 1, 2 * TERMS + k] = powers[b, 2 * TERMS + k] + rise
            cube = (k + 2) / 2.0 * step * square
            powers[b + 1, 3 * TERMS + k] = powers[b, 3 * TERMS + k] + cube
            fourth = (k + 3) / 3.0 * step * cube
            powers[b + 1, 4 * TERMS + k] = powers[b, 4 * TERMS + k] + fourth
            power *= away
        before = close[begin + b]
