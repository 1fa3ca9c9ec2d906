"""Fills of trials that may be short: the general case of `fills`.

A short keeps its stake and the proceeds and owes the quantity at the price of the day: its worth,
in stakes, is proceeds - close / sold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compile import compiled
from ..accounting import NOTHING
from .bars import (
    CLOSES,
    CUBES,
    DOWNSIDE,
    EMPTY,
    FOURTHS,
    HELD,
    POSITIVE,
    RUINS,
    SHORTS,
    SIDE,
    SMALL,
    SQUARES,
    SUM,
    TRADES,
    WINS,
    Block,
    Market,
)  # fmt: skip
from .decisions import SIDES
from .fills import (
    BEST,
    BOUGHT,
    DEEPEST,
    EQUITY,
    EXITS,
    GAINS,
    GROSS,
    LAST,
    LOST,
    LOW,
    PEAK,
    SIZE,
    SPENT,
    STAKE,
    UNITS,
    WON,
    WORST,
    rise,
)  # fmt: skip
from .series import SERIES, TERMS, series
from .words import highest_bit

Array = np.ndarray[Any, np.dtype[Any]]


@compiled
def fill_sided(  # noqa: PLR0912, PLR0915 - all of it is one loop, its state in registers
    block: Block, market: Market, events: Array, starts: Array, prices: Array | None, begin: int,
    first: int, bars: int, state: Array, counts: Array, trials: Array,
) -> None:  # fmt: skip
    """Go through the fills of trials that are long, short or flat; see `fills.fill_long`.

    ``events``: bar * SIDES + side + 1, the side (-1, 0, 1) that is held from that bar on.
    ``first``: the first bar of the block that is evaluated. ``prices``: None, or a price for each
    event (before slippage), of which a bar may then have several. (It is compiled for each.)
    """
    sums, powers, lowest, highest = block.sums, block.powers.ravel(), block.lowest, block.highest
    price, volume = market.price[begin:], market.volume[begin:]
    closes, middle, reach = lowest[0], block.middle[0], block.middle[1]
    cost, slippage = market.cost, market.slippage
    proceeds = 1.0 + (1.0 - cost) / (1.0 + cost)
    unit = 1.0 + cost
    bars &= 0xFFFF  # tells the compiler that no index below is negative
    for number in range(len(trials)):
        t = trials[number]
        if counts[t, RUINS]:
            continue
        side, held, trades, wins = (
            counts[t, SIDE],
            counts[t, HELD],
            counts[t, TRADES],
            counts[t, WINS],
        )
        total, squares = state[t, SUM], state[t, SQUARES]
        cubes, fourths = state[t, CUBES], state[t, FOURTHS]
        downside, size = state[t, DOWNSIDE], state[t, SIZE]
        equity, stake = state[t, EQUITY], state[t, STAKE]
        share, bought, last = state[t, UNITS], state[t, BOUGHT], state[t, LAST]
        peak, low, deepest = state[t, PEAK], state[t, LOW], state[t, DEEPEST]
        won, lost, gains = state[t, WON], state[t, LOST], state[t, GAINS]
        best, worst, gross = state[t, BEST], state[t, WORST], state[t, GROSS]
        spent, exits = state[t, SPENT], state[t, EXITS]
        ruin = -1.0  # the price of it
        ratio = 1.0  # what the fills of a bar have done to equity
        at: Any = first & 0xFFFF
        k, end = starts[number], starts[number + 1]
        while True:
            event = np.int64(events[k & POSITIVE]) if k < end else bars * SIDES
            bar = (event >> 2) & 0xFFFF  # a shift: Python's division has cases for negatives
            # What is held over the bars before that: nothing fills in them.
            if bar > at:
                if side == 0:
                    equity += stake * (bar - at)
                else:
                    level = highest_bit(bar - at) & 15
                    other = (bar - (1 << level)) & 0xFFFF
                    bottom = min(lowest[level, at], lowest[level, other])
                    top = max(highest[level, at], highest[level, other])
                    flat, units = 0.0, stake * share
                    worth = sums[bar, CLOSES] - sums[at, CLOSES]
                    stop = bar
                    if side > 0:
                        total += sums[bar, SUM] - sums[at, SUM]
                        squares += sums[bar, SQUARES] - sums[at, SQUARES]
                        cubes += sums[bar, CUBES] - sums[at, CUBES]
                        fourths += sums[bar, FOURTHS] - sums[at, FOURTHS]
                        downside += sums[bar, DOWNSIDE] - sums[at, DOWNSIDE]
                        size += sums[bar, SQUARES]
                        last = closes[bar - 1] * share
                        bottom, top = units * bottom, units * top
                    else:
                        if proceeds - top * share <= 2.0 * NOTHING:
                            stop = at
                            while stop < bar and proceeds - closes[stop] / bought > NOTHING:
                                stop += 1
                            worth = sums[stop, CLOSES] - sums[at, CLOSES]
                        one, two, three, four, five, six = _short_sums(
                            powers, closes, at, stop, proceeds, share, last, middle, reach
                        )
                        total += one
                        squares += two
                        cubes += three
                        fourths += four
                        downside += five
                        size += six
                        if stop > at:
                            last = proceeds - closes[stop - 1] * share
                        flat, units = stake * proceeds, -units
                        bottom, top = flat + units * top, flat + units * bottom
                    held += stop - at
                    equity += flat * (stop - at) + units * worth
                    if stop < bar:
                        ruin = closes[stop]
                        break
                    if top > peak:
                        found = (bottom, top, peak, low, deepest)
                        peak, low, deepest = rise(closes, at, bar, flat, units, found)
                    elif bottom < low:
                        low = bottom
            at = bar
            if k == end:
                break
            paid = price[bar]
            if prices is not None:
                paid = prices[k & POSITIVE]
            k += 1
            # The fill: leave what is held, take the new side, mark it at the close.
            if side != 0:
                fill = paid * (1.0 - side * slippage)
                owed = fill * (1.0 - side * cost) / bought
                growth = owed if side > 0 else proceeds - owed
                if growth <= NOTHING:
                    ruin = fill
                    break
                unpaid = fill * unit * share
                gross *= unpaid if side > 0 else max(2.0 - unpaid, 0.0)
                exits += stake * fill * share
                gain = growth - 1.0
                profit = stake * gain
                gains += gain
                won += max(profit, 0.0)
                lost -= min(profit, 0.0)
                wins += gain > 0.0
                trades += 1
                best, worst = max(best, growth), min(worst, growth)
                ratio *= growth / last
                stake *= growth
                if volume[bar] == 0.0:
                    counts[t, EMPTY] += 1
            side = (event & 3) - 1
            last = 1.0
            if side != 0:
                bought = paid * (1.0 + side * slippage) * unit
                share = 1.0 / bought
                spent += stake
                if volume[bar] == 0.0:
                    counts[t, EMPTY] += 1
                if side < 0:
                    counts[t, SHORTS] = 1
            if prices is not None:  # noqa: SIM102 - by itself the compiler can leave it out
                if k < end and np.int64(events[k & POSITIVE]) >> 2 == bar:
                    continue
            if side != 0:
                last = closes[bar] / bought
                last = last if side > 0 else proceeds - last
                if last <= NOTHING:
                    ruin = closes[bar]
                    break
                held += 1
            value = ratio * last - 1.0
            ratio = 1.0
            total += value
            squares += value**2
            cubes += value**3
            fourths += value**4
            downside += min(value, 0.0) ** 2
            now = stake * last
            equity += now
            if now > peak:
                deepest = min(deepest, low / peak)
                peak = low = now
            elif now < low:
                low = now
            at = (bar + 1) & 0xFFFF
        if ruin >= 0.0:  # the whole stake is lost in that bar, and the run ends
            unpaid = ruin * unit / bought
            gross *= unpaid if side > 0 else max(2.0 - unpaid, 0.0)
            gains -= 1.0
            lost += stake
            best, worst = max(best, 0.0), 0.0
            trades += 1
            total -= 1.0
            squares += 1.0
            cubes -= 1.0
            fourths += 1.0
            downside += 1.0
            stake, deepest, side = 0.0, 0.0, 0 * side
            counts[t, RUINS] = 1
        counts[t, SIDE], counts[t, HELD], counts[t, TRADES], counts[t, WINS] = (
            side,
            held,
            trades,
            wins,
        )
        state[t, SUM], state[t, SQUARES] = total, squares
        state[t, CUBES], state[t, FOURTHS] = cubes, fourths
        state[t, DOWNSIDE], state[t, SIZE] = downside, size
        state[t, EQUITY], state[t, STAKE] = equity, stake
        state[t, UNITS], state[t, BOUGHT], state[t, LAST] = share, bought, last
        state[t, PEAK], state[t, LOW], state[t, DEEPEST] = peak, low, deepest
        state[t, WON], state[t, LOST], state[t, GAINS] = won, lost, gains
        state[t, BEST], state[t, WORST], state[t, GROSS] = best, worst, gross
        state[t, SPENT], state[t, EXITS] = spent, exits


@compiled
def _short_sums(
    powers: Array, closes: Array, at: Any, end: Any, proceeds: float, share: float, last: float,
    middle: float, reach: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """Sums of the powers of a short's returns, and of the squares of the negative ones.

    The sixth: how large the running sums were that the squares are differences of.
    """
    total, squares, cubes, fourths, downside = 0.0, 0.0, 0.0, 0.0, 0.0
    worth = proceeds - share * middle
    y = share * middle / worth
    if worth > 0.0 and y * reach < SMALL:
        width = SERIES * TERMS
        total, squares, downside, cubes, fourths = series(powers, at * width, end * width, y)
        y2 = y * y
        size = powers[end * width + TERMS] * y2
        return -total * y, squares * y2, -cubes * y2 * y, fourths * y2 * y2, downside * y2, size
    before = last
    for b in range(at, end):
        now = proceeds - closes[b] * share
        value = now / before - 1.0
        total += value
        squares += value**2
        cubes += value**3
        fourths += value**4
        downside += min(value, 0.0) ** 2
        before = now
    return total, squares, cubes, fourths, downside, 0.0
