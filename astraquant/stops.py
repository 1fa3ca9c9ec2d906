"""Stops: prices at which a position is left before its signal says so.

The rules are the contract's (README). A stop loss and a target lie at a fraction of the entry's
fill price (slippage included), a trailing stop at a fraction of the best price since the entry.
They are watched bar by bar from the fill on: a position entered at an open from that very bar on,
one entered at a close from the next bar on. Within one bar the stop comes before the target. A bar
that opens beyond a level fills at its open. A trailing stop is tested at the level that earlier
bars have set, and only then moved. After a stop the position stays flat until the signal changes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ._compile import as_input, compiled

Array = np.ndarray[Any, np.dtype[Any]]

NONE = math.inf  # a stop so far away that no price reaches it
SIGNAL, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP = 0, 1, 2, 3  # why a position is left

# One fill: `side` is held from it on (-1, 0, 1), `price` is before slippage. Bars are counted
# within the run; several fills may be in one bar, in time order.
FILL = np.dtype(
    [("bar", np.int64), ("side", np.int64), ("price", np.float64), ("reason", np.int64)]
)


class Stops(NamedTuple):
    """Three fractions; `NONE` (infinite) where there is no such stop."""

    stop_loss: float = NONE
    take_profit: float = NONE
    trailing_stop: float = NONE

    @property
    def any(self) -> bool:
        """Whether there is a stop at all."""
        return min(self) < NONE


class Watched(NamedTuple):
    """The candles in which stops are watched: those of the run, or the finer ones of its source.

    ``open``, ``high``, ``low``: float64, one value per candle. ``bounds``: int64, one more than the
    run has bars: bar b has the candles ``bounds[b]`` .. ``bounds[b + 1]`` - 1.
    """

    open: Array
    high: Array
    low: Array
    bounds: Array


def find_fills(target: Array, price: Array) -> Array:
    """The fills (dtype `FILL`) of holding ``target`` (int8) from the fill in each bar on."""
    before = np.zeros_like(target)
    before[1:] = target[:-1]
    bars = np.flatnonzero(target != before)
    fills = np.zeros(len(bars), FILL)
    fills["bar"], fills["side"], fills["price"] = bars, target[bars], price[bars]
    return fills


def find_stopped_fills(
    target: Array, price: Array, watched: Watched, stops: Stops, *, slippage: float, delay: int
) -> Array:
    """`find_fills` under ``stops``; ``delay``: 1 for fills at a bar's open, 0 at its close."""
    plain = find_fills(target, price)
    fills = np.zeros(2 * len(plain), FILL)
    inputs = Watched(*map(as_input, watched))
    made = _stop(plain, len(target), inputs, stops, float(slippage), delay, fills)
    return fills[:made]


@compiled
def _stop(
    plain: Array, bars: int, watched: Watched, stops: Stops, slippage: float, delay: int,
    fills: Array,
) -> int:  # fmt: skip
    made = 0
    side = 0  # what is held, which is nothing after a stop
    for k in range(len(plain)):
        bar, wanted = plain[k]["bar"], plain[k]["side"]
        if wanted != side:  # the signal has just changed, so no stop keeps it out
            fills[made] = plain[k]
            made += 1
            side = wanted
        if side == 0:
            continue
        entry = plain[k]["price"] * (1.0 + side * slippage)
        after = plain[k + 1]["bar"] + 1 - delay if k + 1 < len(plain) else bars
        begin, end = watched.bounds[bar + 1 - delay], watched.bounds[min(after, bars)]
        at, level, reason, _ = first_touch(watched, begin, end, side, entry, entry, stops)
        if at < end:
            fills[made]["bar"] = np.searchsorted(watched.bounds, at, side="right") - 1
            fills[made]["side"], fills[made]["price"], fills[made]["reason"] = 0, level, reason
            made += 1
            side = 0
    return made


@compiled
def first_touch(
    watched: Watched, begin: int, end: int, side: int, entry: float, best: float, stops: Stops
) -> tuple[int, float, int, float]:
    """The first candle that touches a level (or ``end``), the price of the fill and why.

    ``best``: the best price before; the fourth answer is the best before that candle.
    """
    fixed = entry * (1.0 - side * stops.stop_loss)
    target = entry * (1.0 + side * stops.take_profit)
    for c in range(begin, end):
        level, reason = fixed, STOP_LOSS
        trailing = best * (1.0 - side * stops.trailing_stop)
        if side > 0:
            if trailing > fixed:
                level, reason = trailing, TRAILING_STOP
            if watched.low[c] <= level:
                return c, min(watched.open[c], level), reason, best
            if watched.high[c] >= target:
                return c, max(watched.open[c], target), TAKE_PROFIT, best
            best = max(best, watched.high[c])
        else:
            if trailing < fixed:
                level, reason = trailing, TRAILING_STOP
            if watched.high[c] >= level:
                return c, max(watched.open[c], level), reason, best
            if watched.low[c] <= target:
                return c, min(watched.open[c], target), TAKE_PROFIT, best
            best = min(best, watched.low[c])
    return end, 0.0, SIGNAL, best
