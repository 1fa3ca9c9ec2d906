"""The trades of a candle table: all of them numbered, each candle's made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pandas as pd

from .figures import Figures
from .path import Step, walk, yields
from .records import AggTrade, Trade

_KEPT = 512  # paths kept in memory


class Tape:
    """The trades of a candle table. Their ids count from 0 without a hole; times never fall."""

    def __init__(self, candles: pd.DataFrame) -> None:
        self.figures = Figures(candles)
        self.path = lru_cache(_KEPT)(self._walk)

    def trades(self, after: int, until: int) -> list[AggTrade]:
        """All aggregate trades with after < time <= until."""
        return list(self.iterate(after, until))

    def trades_from(self, first_id: int, limit: int, now: int) -> list[AggTrade]:
        """Up to ``limit`` aggregate trades from the id ``first_id`` on, none after ``now``."""
        row = int(np.searchsorted(self.figures.agg_ids, max(first_id, 0), "right")) - 1
        found: list[AggTrade] = []
        while (
            row < len(self.figures.times) and len(found) < limit and self.figures.times[row] <= now
        ):
            found += [t for t in self.path(row) if t.id >= first_id and t.time <= now]
            row += 1
        return found[:limit]

    def trades_between(self, start: int, end: int, limit: int, now: int) -> list[AggTrade]:
        """The oldest ``limit`` aggregate trades with start <= time <= end, none after ``now``."""
        found: list[AggTrade] = []
        for trade in self.iterate(start - 1, min(end, now)):
            if len(found) == limit:
                break
            found.append(trade)
        return found

    def last_trades(self, limit: int, now: int) -> list[AggTrade]:
        """The newest ``limit`` aggregate trades up to ``now``, oldest first."""
        row = int(np.searchsorted(self.figures.times, now, "right")) - 1
        if row < 0:
            return []
        until = int(self.figures.agg_ids[row]) + sum(trade.time <= now for trade in self.path(row))
        return self.trades_from(until - limit, min(limit, until), now)

    def split(self, trade: AggTrade) -> list[Trade]:
        """The single trades inside: same price, time and side; their quantities add up."""
        count = trade.last_id - trade.first_id + 1
        unit = self.figures.lot if trade.quantity % self.figures.lot == 0 else 1
        unit = unit if trade.quantity // unit >= count else 1
        share, more = divmod(trade.quantity // unit, count)
        return [
            Trade(
                trade.first_id + k,
                trade.price,
                (share + (k < more)) * unit,
                trade.time,
                trade.buyer_is_maker,
            )
            for k in range(count)
        ]

    def iterate(self, after: int, until: int) -> Iterator[AggTrade]:
        """`trades`, one at a time."""
        row = max(0, int(np.searchsorted(self.figures.times, after, "right")) - 1)
        while row < len(self.figures.times) and self.figures.times[row] <= until:
            for trade in self.path(row):
                if after < trade.time <= until:
                    yield trade
            row += 1

    def _walk(self, row: int) -> tuple[AggTrade, ...]:
        """The aggregate trades of a row (through `path`, which keeps the last ones)."""
        if not self.figures.is_traded(row):
            return ()
        steps, lot = self._steps(row)
        start = int(self.figures.times[row])
        length = self.figures.end(row) - start
        trade_id, agg_id = int(self.figures.ids[row]), int(self.figures.agg_ids[row])
        found = []
        for k, step in enumerate(steps):
            eighths = 8 * k + 4 + (3 * row + 5 * k) % 5 - 2  # of a step's time: not like a clock
            found.append(
                AggTrade(
                    id=agg_id + k,
                    price=step.price * self.figures.tick,
                    quantity=step.lots * lot,
                    first_id=trade_id,
                    last_id=trade_id + step.trades - 1,
                    time=start + eighths * length // (8 * len(steps)),
                    buyer_is_maker=not step.buy,
                )
            )
            trade_id += step.trades
        return tuple(found)

    def _steps(self, row: int) -> tuple[list[Step], int]:
        """A row's path, and the units in a lot: one where the market's own lots give no exact path.

        That happens to candles that never were traded in such lots, rounded ones for example.
        """
        steps: list[Step] = []
        for lot in (self.figures.lot, 1):
            shape = self.figures.shape(row, lot)
            if shape is not None:
                steps = walk(shape)
                if yields(shape, steps):
                    break
        return steps, lot
