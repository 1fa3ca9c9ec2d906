"""Stops: where in a block a position is left before its signal says so.

The fills of a trial are rewritten: what a stop leaves becomes a fill of its own, and the signal's
next exit is none any more. Most positions are not stopped in a block, which two looks at tables of
extremes tell; only where they can't is a bar looked into, candle by candle (`stops.first_touch`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from ..stops import SIGNAL, Stops, Watched, first_touch
from .bars import BLOCK, LEVELS, POSITIVE, SIDE, Market, extremes
from .decisions import SIDES
from .fills import ENTRY, FARTHEST
from .words import highest_bit

Array = np.ndarray[Any, np.dtype[Any]]


class Watch(NamedTuple):
    """Which stops are tried, and where they are watched.

    ``low``, ``high``: of the bars (float64). ``finer``: 1 where ``watched`` has finer candles, else
    0. ``stops``: (settings, 3), float64. ``trails``: the trailing stops that differ;
    ``which``: the place there of each setting's, or -1 for none.
    """

    low: Array
    high: Array
    watched: Watched
    finer: int
    stops: Array
    trails: Array
    which: Array


class Reach(NamedTuple):
    """The tables of one block, memory to be filled by `prepare_stops`.

    ``lowest[k, b]``, ``highest[k, b]``: extremes of the lows and highs of bars b .. b + 2^k - 1.
    ``falls[f, b]``: the first bar whose low is a trailing stop below a high since bar b, that of
    earlier bars (where candles are finer: of its own, too); BLOCK if there is none. ``rises``: the
    mirror image.
    """

    lowest: Array
    highest: Array
    falls: Array
    rises: Array


class Fills(NamedTuple):
    """Fills of a batch of trials: events as `sided` has them, where each trial's begin, prices."""

    events: Array
    starts: Array
    prices: Array


def empty_reach(trails: int) -> Reach:
    """Memory for one block."""
    tables, firsts = (LEVELS, BLOCK + 8), (max(trails, 1), BLOCK + 1)
    return Reach(
        np.zeros(tables), np.zeros(tables), np.zeros(firsts, np.int16), np.zeros(firsts, np.int16)
    )


@compiled
def prepare_stops(reach: Reach, watch: Watch, begin: int, bars: int) -> None:
    """Fill the tables for ``bars`` bars from ``begin`` on."""
    lowest, highest = reach.lowest, reach.highest
    extremes(lowest, highest, watch.low, watch.high, begin, bars)
    for f in range(len(watch.trails)):
        trail, falls, rises = watch.trails[f], reach.falls[f], reach.rises[f]
        fall = rise = BLOCK
        for b in range(bars - 1, -1, -1):
            limit, begins = highest[0, b] * (1.0 - trail), b + 1 - watch.finer
            end = min(fall, bars)
            if begins < end and _least(lowest, begins, end) <= limit:
                fall = _first_below(lowest, begins, end, limit)
            falls[b] = fall
            limit = lowest[0, b] * (1.0 + trail)
            end = min(rise, bars)
            if begins < end and _most(highest, begins, end) >= limit:
                rise = _first_above(highest, begins, end, limit)
            rises[b] = rise


@compiled
def _least(lowest: Array, begin: Any, end: Any) -> Any:
    level = highest_bit(end - begin) & 15
    one, other = lowest[level, begin], lowest[level, (end - (1 << level)) & 0xFFFF]
    return one if one < other else other


@compiled
def _most(highest: Array, begin: Any, end: Any) -> Any:
    level = highest_bit(end - begin) & 15
    one, other = highest[level, begin], highest[level, (end - (1 << level)) & 0xFFFF]
    return one if one > other else other


@compiled
def _first_below(lowest: Array, begin: Any, end: Any, limit: float) -> Any:
    """The first bar of those that is at or below ``limit``; ``end`` if none is."""
    at = begin & 0xFFFF
    for level in range(highest_bit(end - begin), -1, -1):
        if at + (1 << level) <= end and lowest[level & 15, at] > limit:
            at += 1 << level
    return at


@compiled
def _first_above(highest: Array, begin: Any, end: Any, limit: float) -> Any:
    """The first bar of those that is at or above ``limit``; ``end`` if none is."""
    at = begin & 0xFFFF
    for level in range(highest_bit(end - begin), -1, -1):
        if at + (1 << level) <= end and highest[level & 15, at] < limit:
            at += 1 << level
    return at


@compiled
def stop(  # noqa: PLR0912, PLR0915 - all of it is one loop, its state in registers
    reach: Reach, watch: Watch, setting: int, market: Market, signals: Fills, fills: Fills,
    begin: int, bars: int, delay: int, state: Array, counts: Array, trials: Array,
) -> None:  # fmt: skip
    """Rewrite the fills of ``signals`` (which need no prices) under one setting into ``fills``.

    ``delay``: 1 where a fill is at a bar's open, 0 at its close. ``trials``: rows of ``state``.
    """
    stops = Stops(watch.stops[setting, 0], watch.stops[setting, 1], watch.stops[setting, 2])
    trails = watch.which[setting] >= 0
    number_of_trail = max(watch.which[setting], 0)
    falls, rises = reach.falls[number_of_trail], reach.rises[number_of_trail]
    lowest, highest = reach.lowest, reach.highest
    price = market.price[begin:]
    bars &= 0xFFFF  # tells the compiler that no index below is negative
    place = np.int64(0)
    for number in range(len(trials)):
        t = trials[number]
        side, entry, best = counts[t, SIDE], state[t, ENTRY], state[t, FARTHEST]
        k, end = signals.starts[number], signals.starts[number + 1]
        at: Any = 0
        while True:
            event = np.int64(signals.events[k & POSITIVE]) if k < end else bars * SIDES
            bar = (event >> 2) & 0xFFFF
            last = min(bar + 1 - delay, bars)
            while side != 0 and at < last:
                # The first bar in which a level may be touched.
                first = last
                level = entry * (1.0 - side * stops.stop_loss)
                target = entry * (1.0 + side * stops.take_profit)
                low, high = _least(lowest, at, last), _most(highest, at, last)
                if side > 0:
                    if trails:
                        level = max(level, best * (1.0 - stops.trailing_stop))
                        first = min(first, np.int64(falls[at]))
                    if low <= level and first > at:
                        first = _first_below(lowest, at, first, level)
                    if high >= target and first > at:
                        first = _first_above(highest, at, first, target)
                    if first > at and trails:
                        best = max(best, _most(highest, at, first))
                else:
                    if trails:
                        level = min(level, best * (1.0 + stops.trailing_stop))
                        first = min(first, np.int64(rises[at]))
                    if high >= level and first > at:
                        first = _first_above(highest, at, first, level)
                    if low <= target and first > at:
                        first = _first_below(lowest, at, first, target)
                    if first > at and trails:
                        best = min(best, _least(lowest, at, first))
                if first == last:
                    break
                bounds = watch.watched.bounds
                c, end_c = bounds[begin + first], bounds[begin + first + 1]
                _, left_at, reason, best = first_touch(
                    watch.watched, c, end_c, side, entry, best, stops
                )
                if reason != SIGNAL:
                    fills.events[place & POSITIVE] = first * SIDES + 1
                    fills.prices[place & POSITIVE] = left_at
                    place += 1
                    side = 0 * side
                at = (first + 1) & 0xFFFF
            if k == end:
                break
            k += 1
            wanted = (event & 3) - 1
            if wanted != side:
                fills.events[place & POSITIVE] = event
                fills.prices[place & POSITIVE] = price[bar]
                place += 1
                side = wanted
                entry = best = price[bar] * (1.0 + side * market.slippage)
            at = (bar + 1 - delay) & 0xFFFF
        fills.starts[number + 1] = place
        state[t, ENTRY], state[t, FARTHEST] = entry, best
