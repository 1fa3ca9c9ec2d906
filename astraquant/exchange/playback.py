"""What happens in a market, moment by moment: the script of the simulated exchange's streams."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..timeframes import SECOND, next_start
from .market import Market
from .records import AggTrade

_RANK = {"trade": 0, "update": 1, "close": 2, "ticker": 3}


class Moment(NamedTuple):
    """One thing that happens.

    ``kind`` is "trade" (with ``trade``), "update" (bars that are forming have changed), "close"
    (the bar of ``interval`` that opened at ``open_time`` is over) or "ticker".
    """

    time: int
    kind: str
    trade: AggTrade | None = None
    interval: str = ""
    open_time: int = 0


def playback(market: Market, after: int, update_every: int = 2000) -> Iterator[Moment]:
    """Everything that happens after ``after`` until the market's end, lazily, in order of time.

    At one time: trades, updates, closes (short intervals first), the ticker. Updates come every
    ``update_every`` ms if there was a trade since the one before; bars of "1s" need none, as each
    second ends with their closing. The ticker comes every second with a trade, or as rarely as
    updates where these are rarer than Binance's 2 s. A bar closes at its end, which is the next
    one's start, if that is not after the market's end.
    """
    if update_every < 1:
        raise DataError(f"update_every={update_every!r}, expected milliseconds, 1 or more.")
    streams = [
        (Moment(trade.time, "trade", trade) for trade in market.iterate(after, market.end)),
        _ticks(market, after, update_every, "update"),
        *(_closes(market, after, interval) for interval in market.intervals),
        _ticks(market, after, SECOND if update_every <= 2 * SECOND else update_every, "ticker"),
    ]
    return heapq.merge(*streams, key=lambda moment: (moment.time, _RANK[moment.kind]))


def _ticks(market: Market, after: int, every: int, kind: str) -> Iterator[Moment]:
    """One moment at the end of each span of ``every`` ms in which there was a trade."""
    done = after
    for trade in market.iterate(after - every, market.end):
        tick = -(-trade.time // every) * every
        if tick > market.end:
            return
        if tick > done:
            yield Moment(tick, kind)
            done = tick


def _closes(market: Market, after: int, interval: str) -> Iterator[Moment]:
    starts = market.bars(interval)
    first = max(0, int(np.searchsorted(starts, after, "right")) - 1)
    for k in range(first, len(starts)):
        start = int(starts[k])
        end = next_start(start, interval)
        if end > market.end:
            return
        if end > after:
            yield Moment(end, "close", None, interval, start)
