"""One market of the simulated exchange: a candle table, as an exchange would show it at any moment.

Pure: no socket, no clock; ``now`` is always an argument. Bars that are over are the table's own
figures, summed exactly; inside a bar a deterministic path of trades (`path`) yields that very bar.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from ..errors import DataError, unknown
from ..timeframes import DAY, TIMEFRAMES, Times, bin_starts, is_multiple, next_start
from .records import UNIT, AggTrade, Book, Kline, Ticker, Trade, decimal
from .tape import Tape
from .units import Integers

__all__ = ["UNIT", "AggTrade", "Book", "Kline", "Market", "Ticker", "Trade", "decimal"]

_SYMBOL = re.compile(r"[A-Z0-9_.-]{1,20}")  # as Binance's own message about it says


class Market(Tape):
    """A candle table as a market that can be asked what it looked like at any moment.

    ``symbol`` is in capitals ("BTCUSDT"). Prices, quantities and quote amounts leave it in units of
    1e-8, times in ms UTC. `start` is the first bar's open time, `end` the end of the last one,
    `source` what the table says of itself. Figures that the table lacks are made up: see `Figures`,
    also for what it refuses (`DataError`).
    """

    def __init__(self, candles: pd.DataFrame, symbol: str) -> None:
        if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
            raise DataError(
                f"symbol={symbol!r} is no symbol: expected up to 20 capital letters and digits, "
                'as in "BTCUSDT".'
            )
        super().__init__(candles)
        self.symbol = symbol
        self.source = str(candles.attrs.get("source") or "")
        self.timeframe = self.figures.timeframe
        self.intervals = tuple(name for name in TIMEFRAMES if is_multiple(name, self.timeframe))
        self.start = int(self.figures.times[0])
        self.end = self.figures.end(-1)
        self.price_decimals = self.figures.price_decimals
        self.quantity_decimals = self.figures.quantity_decimals
        self._bars: dict[str, tuple[Times, Integers]] = {}

    def bars(self, interval: str) -> Times:
        """Open times of all bars of ``interval``."""
        return self._bins(interval)[0]

    def klines(
        self, interval: str, *, start: int | None, end: int | None, limit: int, now: int
    ) -> list[Kline]:
        """Bars whose open times lie in [start, end] (both included) and not after ``now``.

        With ``start`` the oldest ``limit`` of them, else the newest; oldest first. The bar that
        contains ``now`` is as of now. Where the table has no bar there is none.
        """
        starts, edges = self._bins(interval)
        until = int(np.searchsorted(starts, now if end is None else min(end, now), "right"))
        forming: list[Kline] = []
        if until and next_start(int(starts[until - 1]), interval) > now:
            last = self.kline(interval, now)
            forming = [] if last is None else [last]
            until -= last is None
        first = max(0, until - limit)
        if start is not None:
            first = int(np.searchsorted(starts, start, "left"))
            until = min(until, first + limit)
        if first >= until:
            return []
        found = self._joined(interval, starts[first:until], edges[first : until + 1])
        if forming and forming[0].open_time == found[-1].open_time:
            found[-1:] = forming
        return found

    def kline(self, interval: str, now: int) -> Kline | None:
        """The bar that contains ``now``, as of now; None while nothing of it is there."""
        self._check_interval(interval)
        start = int(bin_starts(np.array([now]), interval)[0])
        first = int(np.searchsorted(self.figures.times, start, "left"))
        until = int(np.searchsorted(self.figures.times, now, "right"))
        if first == until:
            return None
        parts = []
        last = until - 1
        if self.figures.end(last) > now and self.figures.is_traded(last):
            parts = _fold([trade for trade in self.path(last) if trade.time <= now])
            until = last
        if first < until:
            edges = np.array([first, until])
            parts = self._joined(interval, np.array([start]), edges) + parts
        return _join(parts, start, next_start(start, interval) - 1) if parts else None

    def closed(self, interval: str, open_time: int) -> Kline | None:
        """The whole bar that opens at ``open_time``, or None."""
        starts, edges = self._bins(interval)
        k = int(np.searchsorted(starts, open_time))
        if k == len(starts) or starts[k] != open_time:
            return None
        return self._joined(interval, starts[k : k + 1], edges[k : k + 2])[0]

    def _bins(self, interval: str) -> tuple[Times, Integers]:
        """Open times of the bars of ``interval``, and the row where each begins (and the end)."""
        self._check_interval(interval)
        if interval not in self._bars:
            bins = bin_starts(self.figures.times, interval)
            first = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
            self._bars[interval] = bins[first], np.append(first, len(bins))
        return self._bars[interval]

    def _check_interval(self, interval: str) -> None:
        if interval not in self.intervals:
            kind = f"interval of {self.timeframe} candles"
            raise DataError(unknown(kind, interval, self.intervals))

    def _joined(self, interval: str, starts: Times, edges: Integers) -> list[Kline]:
        """Whole rows as bars: those from each edge up to the next."""
        first, last = edges[:-1], edges[1:] - 1
        rows = slice(int(edges[0]), int(edges[-1]))
        high = np.maximum.reduceat(self.figures.high[rows], first - first[0])
        low = np.minimum.reduceat(self.figures.low[rows], first - first[0])
        ids = self.figures.ids[edges]
        traded = ids[1:] > ids[:-1]
        prices = (self.figures.open[first], high, low, self.figures.close[last])
        columns = (
            starts.tolist(),
            [next_start(start, interval) - 1 for start in starts.tolist()],
            np.where(traded, ids[:-1], -1).tolist(),
            np.where(traded, ids[1:] - 1, -1).tolist(),
            *([price * self.figures.tick for price in column.tolist()] for column in prices),
            self.figures.volume.sums(edges),
            self.figures.quote.sums(edges),
            self.figures.trades.sums(edges),
            self.figures.taker_volume.sums(edges),
            self.figures.taker_quote.sums(edges),
        )
        return [Kline._make(row) for row in zip(*columns, strict=True)]

    def ticker(self, now: int) -> Ticker | None:
        """The figures of the 24 hours before ``now``, to the trade; None without any trade."""
        opened = now - DAY
        first = int(np.searchsorted(self.figures.times, opened, "right"))
        until = int(np.searchsorted(self.figures.times, now, "right"))
        head = [] if first == 0 else [t for t in self.path(first - 1) if opened < t.time <= now]
        tail: list[AggTrade] = []
        if until > first and self.figures.end(until - 1) > now:
            until -= 1
            tail = [trade for trade in self.path(until) if trade.time <= now]
        rows = np.flatnonzero(np.diff(self.figures.ids[first : until + 1])) + first
        parts = _fold(head)
        if len(rows):
            edges = np.array([rows[0], rows[-1] + 1])
            middle = self._joined(self.timeframe, self.figures.times[rows[:1]], edges)[0]
            parts.append(
                middle._replace(
                    high=int(self.figures.high[rows].max()) * self.figures.tick,
                    low=int(self.figures.low[rows].min()) * self.figures.tick,
                )
            )
        parts += _fold(tail)
        if not parts:
            return None
        day = _join(parts, opened, now)
        previous = self.last_trades(1, opened)
        last = self.last_trades(1, now)[0]
        return Ticker(
            open_time=opened,
            close_time=now,
            first_id=day.first_id,
            last_id=day.last_id,
            previous=previous[0].price if previous else day.open,
            open=day.open,
            high=day.high,
            low=day.low,
            last=day.close,
            last_quantity=last.quantity,
            volume=day.volume,
            quote_volume=day.quote_volume,
            weighted_average=day.quote_volume * UNIT // day.volume if day.volume else day.close,
            trades=day.trades,
        )

    def book(self, trade: AggTrade) -> Book:
        """The best bid and ask right after a trade: one tick apart, one at its price."""
        bid = trade.price if trade.buyer_is_maker else trade.price - self.figures.tick
        bid = max(bid, self.figures.tick)
        amounts = (1 + trade.id * prime % 997 for prime in (613, 389))  # made up, but the same ones
        bought, sold = (amount * self.figures.lot for amount in amounts)
        return Book(trade.id, bid, bought, bid + self.figures.tick, sold)


def _fold(trades: list[AggTrade]) -> list[Kline]:
    """Trades as one bar (in a list), or [] without any."""
    if not trades:
        return []
    buys = [trade for trade in trades if not trade.buyer_is_maker]
    prices = [trade.price for trade in trades]
    return [
        Kline(
            open_time=trades[0].time,
            close_time=trades[-1].time,
            first_id=trades[0].first_id,
            last_id=trades[-1].last_id,
            open=prices[0],
            high=max(prices),
            low=min(prices),
            close=prices[-1],
            volume=sum(trade.quantity for trade in trades),
            quote_volume=_quote(trades),
            trades=trades[-1].last_id - trades[0].first_id + 1,
            taker_buy_volume=sum(trade.quantity for trade in buys),
            taker_buy_quote_volume=_quote(buys),
        )
    ]


def _quote(trades: list[AggTrade]) -> int:
    return sum(trade.price * trade.quantity for trade in trades) // UNIT


def _join(parts: list[Kline], open_time: int, close_time: int) -> Kline:
    """Bars that follow each other as one."""
    ids = [part for part in parts if part.first_id >= 0]
    return Kline(
        open_time=open_time,
        close_time=close_time,
        first_id=ids[0].first_id if ids else -1,
        last_id=ids[-1].last_id if ids else -1,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=sum(part.volume for part in parts),
        quote_volume=sum(part.quote_volume for part in parts),
        trades=sum(part.trades for part in parts),
        taker_buy_volume=sum(part.taker_buy_volume for part in parts),
        taker_buy_quote_volume=sum(part.taker_buy_quote_volume for part in parts),
    )
