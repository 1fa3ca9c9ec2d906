"""Fills, and what they do to a trial: money, trades, sums of returns, drawdown.

Each trial is a row of numbers (``state``) and one of counts (``counts``), carried from block to
block. Between two fills nothing is looped over: sums of returns are differences of running sums,
and a drawdown within a trade can only matter where the extremes of its bars say so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compile import compiled
from .bars import (
    CLOSES,
    COUNTS,
    CUBES,
    DOWNSIDE,
    FOURTHS,
    HELD,
    INVERSE,
    POSITIVE,
    PRICE,
    SIDE,
    SINCE,
    SQUARES,
    SUM,
    TRADES,
    WINS,
    Block,
    Market,
)
from .words import highest_bit

Array = np.ndarray[Any, np.dtype[Any]]

# Columns of `state`; the first five are those of the block's tables.
(
    SIZE,  # how large the running sums were that those are differences of: bounds rounding errors
    EQUITY,  # sum of equity over the bars
    STAKE,  # equity at the last fill
    UNITS,  # stake / what one unit cost
    BOUGHT,  # what one unit cost (long), what one was sold for times 1 + cost (short)
    PEAK,  # highest equity so far
    LOW,  # lowest equity since then
    DEEPEST,  # lowest equity / peak of all earlier peaks
    WON,
    LOST,
    GAINS,  # sum of growth - 1 over closed trades
    BEST,  # highest growth
    WORST,
    GROSS,  # product of the growths at zero cost
    SPENT,  # sum of the stakes
    EXITS,  # sum of stakes / units at exits, times fills: only of sided trials
    LAST,  # worth of the position at the last close, in stakes: only of sided trials
    ENTRY,  # fill price of the entry: only of trials with stops, like the next
    FARTHEST,  # best price since then
) = range(5, 24)
STATE = 24


def new_state(trials: int, cash: float, first: int) -> tuple[Array, Array]:
    """State and counts of ``trials`` trials that begin flat at bar ``first``."""
    state, counts = np.zeros((trials, STATE)), np.zeros((trials, COUNTS), np.int64)
    state[:, [STAKE, PEAK, LOW]] = cash
    state[:, [DEEPEST, GROSS, LAST]] = 1.0
    state[:, BEST], state[:, WORST] = -np.inf, np.inf
    counts[:, SINCE] = first
    return state, counts


@compiled
def rise(
    closes: Array, first: Any, end: Any, flat: float, units: float, found: tuple[float, ...]
) -> tuple[float, float, float]:
    """Peak, low and deepest after bars in which equity, flat + units * close, made a new peak.

    ``found``: lowest and highest equity of those bars, then peak, low and deepest before them.
    """
    bottom, top, peak, low, deepest = found
    deepest = min(deepest, low / peak)
    if bottom >= top * deepest:  # no fall in there can be deeper: none is looked for
        return top, top, deepest
    low = peak
    for b in range(first, end):
        equity = flat + units * closes[b]
        if equity > peak:
            deepest = min(deepest, low / peak)
            peak = low = equity
        elif equity < low:
            low = equity
    return peak, low, deepest


@compiled
def fill_long(  # noqa: PLR0915 - all of it is one loop, its state in registers
    block: Block, market: Market, events: Array, starts: Array, begin: int, bars: int,
    state: Array, counts: Array, trials: Array,
) -> None:  # fmt: skip
    """Go through the fills of trials that are long or flat.

    ``events[starts[k]:starts[k + 1]]``: the bars of the block in which trial ``trials[k]`` changes
    from flat to long or back, in order.
    """
    enter, leave, lowest, highest = block.enter, block.leave, block.lowest, block.highest
    ungross = (1.0 + market.cost) / (1.0 - market.cost)
    bars &= 0xFFFF  # tells the compiler that no index below is negative
    level = highest_bit(bars)
    floor = min(lowest[level, 0], lowest[level, bars - (1 << level)])
    ceiling = max(highest[level, 0], highest[level, bars - (1 << level)])
    for number in range(len(trials)):
        t = trials[number]
        k, end = starts[number], starts[number + 1]
        inside = counts[t, SIDE] != 0
        if k == end and not inside:
            continue
        total, squares = state[t, SUM], state[t, SQUARES]
        cubes, fourths = state[t, CUBES], state[t, FOURTHS]
        downside, size = state[t, DOWNSIDE], state[t, SIZE]
        equity, stake = state[t, EQUITY], state[t, STAKE]
        units, bought = state[t, UNITS], state[t, BOUGHT]
        peak, low, deepest = state[t, PEAK], state[t, LOW], state[t, DEEPEST]
        won, lost, gains = state[t, WON], state[t, LOST], state[t, GAINS]
        best, worst, gross = state[t, BEST], state[t, WORST], state[t, GROSS]
        spent = state[t, SPENT]
        trades, wins, held = counts[t, TRADES], counts[t, WINS], counts[t, HELD]
        since = counts[t, SINCE]
        while True:
            entry = np.int64(0)
            if not inside:
                if k == end:
                    break
                entry = np.int64(events[k & POSITIVE])
                k += 1
                bought = enter[entry, PRICE]
                units = stake * enter[entry, INVERSE]
                total += enter[entry, SUM]
                squares += enter[entry, SQUARES]
                cubes += enter[entry, CUBES]
                fourths += enter[entry, FOURTHS]
                downside += enter[entry, DOWNSIDE]
                equity += stake * (begin + entry - since) + units * enter[entry, CLOSES]
                spent += stake
            exit_ = np.int64(events[k & POSITIVE]) if k < end else bars
            total += leave[exit_, SUM]
            squares += leave[exit_, SQUARES]
            cubes += leave[exit_, CUBES]
            fourths += leave[exit_, FOURTHS]
            downside += leave[exit_, DOWNSIDE]
            size += leave[exit_, SQUARES]  # not less than at the entry
            equity += units * leave[exit_, CLOSES]
            held += exit_ - entry
            higher = units * ceiling > peak
            if exit_ > entry and (higher or units * floor < low):
                level = highest_bit(exit_ - entry) & 15
                other = (exit_ - (1 << level)) & 0xFFFF
                bottom = units * min(lowest[level, entry], lowest[level, other])
                top = peak
                if higher:
                    top = units * max(highest[level, entry], highest[level, other])
                if top > peak:
                    found = (bottom, top, peak, low, deepest)
                    peak, low, deepest = rise(lowest[0], entry, exit_, 0.0, units, found)
                elif bottom < low:
                    low = bottom
            inside = k == end
            if inside:
                break
            k += 1
            growth = leave[exit_, PRICE] / bought
            gain = growth - 1.0
            profit = stake * gain
            gains += gain
            won += max(profit, 0.0)
            lost -= min(profit, 0.0)
            wins += gain > 0.0
            trades += 1
            best, worst = max(best, growth), min(worst, growth)
            gross *= growth * ungross
            stake *= growth
            since = begin + exit_
            if stake > peak:
                deepest = min(deepest, low / peak)
                peak = low = stake
            elif stake < low:
                low = stake
        state[t, SUM], state[t, SQUARES] = total, squares
        state[t, CUBES], state[t, FOURTHS] = cubes, fourths
        state[t, DOWNSIDE], state[t, SIZE] = downside, size
        state[t, EQUITY], state[t, STAKE] = equity, stake
        state[t, UNITS], state[t, BOUGHT] = units, bought
        state[t, PEAK], state[t, LOW], state[t, DEEPEST] = peak, low, deepest
        state[t, WON], state[t, LOST], state[t, GAINS] = won, lost, gains
        state[t, BEST], state[t, WORST], state[t, GROSS] = best, worst, gross
        state[t, SPENT] = spent
        counts[t, TRADES], counts[t, WINS], counts[t, HELD] = trades, wins, held
        counts[t, SINCE], counts[t, SIDE] = since, np.int64(inside)
