"""One market of the simulated exchange: a candle table, as an exchange would show it at any moment.

Pure: no socket, no clock; ``now`` is always an argument. Bars that are over are the table's own
figures, summed exactly; inside a bar a deterministic path of trades (`path`) yields that very bar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pandas as pd

from ..candles import PRICES, Floats, check_candles, times_of
from ..errors import DataError, unknown
from ..timeframes import (
    DAY,
    TIMEFRAMES,
    Times,
    bin_starts,
    from_ms,
    infer_timeframe,
    is_multiple,
    next_start,
)
from .path import Shape, walk
from .records import UNIT, AggTrade, Book, Kline, Ticker, Trade, decimal
from .units import Decimals, Integers, Totals

__all__ = ["UNIT", "AggTrade", "Book", "Kline", "Market", "Ticker", "Trade", "decimal"]

_SYMBOL = re.compile(r"[A-Z0-9_.-]{1,20}")  # as Binance's own message about it says
_FEW, _SPREAD = 8, 5  # aggregates of a candle: 8 to 12, as its place has it; never more than trades
_KEPT = 512  # paths kept in memory


class Market:
    """A candle table as a market that can be asked what it looked like at any moment.

    ``symbol`` is in capitals ("BTCUSDT"). Prices, quantities and quote amounts leave it in units of
    1e-8, times in ms UTC. `start` is the first bar's open time, `end` the end of the last one.

    What the table doesn't know is made up, the same way each time: taker volume is half the volume,
    quote volume is volume × (open + high + low + close) / 4, trades are as many as the path needs.

    Raises `DataError` for a table that isn't one, a value with more than 8 decimals, a bar off the
    grid of its timeframe.
    """

    def __init__(self, candles: pd.DataFrame, symbol: str) -> None:
        if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
            raise DataError(
                f"symbol={symbol!r} is no symbol: expected up to 20 capital letters and digits, "
                'as in "BTCUSDT".'
            )
        table = check_candles(candles)
        self.symbol = symbol
        self.source = str(table.attrs.get("source") or "")
        self._times = times_of(table)
        self.timeframe = infer_timeframe(self._times)
        _check_grid(self._times, self.timeframe)
        self.intervals = tuple(name for name in TIMEFRAMES if is_multiple(name, self.timeframe))
        self.start = int(self._times[0])
        self.end = next_start(int(self._times[-1]), self.timeframe)
        self._read(table)
        self._bars: dict[str, tuple[Times, Integers]] = {}
        self._path = lru_cache(_KEPT)(self._walk)

    def _read(self, table: pd.DataFrame) -> None:
        """Take the table's figures over as exact integers, and count trades ahead."""
        values = {name: table[name].to_numpy() for name in table.columns}
        prices = Decimals({name: values[name] for name in PRICES}, self._times)
        self.price_decimals, self._tick = prices.places, prices.unit
        self._open, self._high, self._low, self._close = (prices.columns[n] for n in PRICES)
        half = values.get("taker_buy_volume")
        known = {"volume": values["volume"]} | ({} if half is None else {"taker": half})
        amounts = Decimals(known, self._times)
        self.quantity_decimals, self._lot = amounts.places, amounts.unit
        lots = amounts.columns["volume"]
        taker = amounts.columns.get("taker", lots // 2)
        self._lots, self._taker = Totals(lots, self._lot), Totals(taker, self._lot)
        places = min(8, self.price_decimals + self.quantity_decimals)
        quote = values.get("quote_volume")
        if quote is None:
            typical = sum((values[name] for name in PRICES[1:]), values["open"]) / 4
            quote = np.round(typical * values["volume"], places)
        bought = values.get("taker_buy_quote_volume")
        if bought is None:
            share = np.divide(taker, lots, out=np.zeros(len(lots)), where=lots > 0)
            bought = np.round(share * quote, places)
        quotes = Decimals({"quote_volume": quote}, self._times)
        self._quote = Totals(quotes.columns["quote_volume"], quotes.unit)
        quotes = Decimals({"taker_buy_quote_volume": bought}, self._times)
        self._taker_quote = Totals(quotes.columns["taker_buy_quote_volume"], quotes.unit)
        self._count(lots, values.get("trades"))

    def _count(self, lots: Integers, trades: Floats | None) -> None:
        """How many trades and aggregates each path has: known before any path is made."""
        rise = self._close >= self._open
        first = np.where(rise, self._low, self._high)
        second = np.where(rise, self._high, self._low)
        least = 1 + (first != self._open) + (second != first) + (self._close != second)
        wished = _FEW + np.arange(len(lots)) % _SPREAD
        if trades is None:
            counts = np.minimum(wished, np.maximum(lots, least))
        else:
            counts = np.rint(trades).astype(np.int64)
            wrong = counts != trades
            if wrong.any():
                row = int(np.argmax(wrong))
                raise DataError(
                    f"trades is {float(trades[row])!r} at {from_ms(self._times)[row]}, expected a "
                    "whole number. Round it, or leave the column out: "
                    'candles.drop(columns="trades").'
                )
        made = np.where(lots > 0, np.maximum(counts, least), 0)
        short = np.flatnonzero(lots < made)  # too few lots: this path goes in units of 1e-8
        units = lots[short].astype(np.float64) * self._lot
        made[short] = np.maximum(least[short], np.minimum(made[short], units)).astype(np.int64)
        made[lots == 0] = 0
        self._trades = Totals(np.where(lots > 0, made, 0) if trades is None else counts)
        self._ids = np.concatenate(([0], np.cumsum(made)))
        self._agg_ids = np.concatenate(([0], np.cumsum(np.minimum(made, wished))))

    # Bars

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
        latest = now if end is None else min(end, now)
        first = 0 if start is None else int(np.searchsorted(starts, start, "left"))
        until = int(np.searchsorted(starts, latest, "right"))
        if start is None:
            first = max(first, until - limit)
        else:
            until = min(until, first + limit)
        if first >= until or limit <= 0:
            return []
        forming = next_start(int(starts[until - 1]), interval) > now
        found = self._joined(interval, starts[first:until], edges[first : until + 1])
        if forming:
            last = self.kline(interval, now)
            found[-1:] = [] if last is None else [last]
        return found

    def kline(self, interval: str, now: int) -> Kline | None:
        """The bar that contains ``now``, as of now; None while nothing of it is there."""
        self._check_interval(interval)
        start = int(bin_starts(np.array([now]), interval)[0])
        first = int(np.searchsorted(self._times, start, "left"))
        until = int(np.searchsorted(self._times, now, "right"))
        if first == until:
            return None
        parts = []
        last = until - 1
        if self._end(last) > now and self._is_traded(last):
            parts = self._fold([trade for trade in self._path(last) if trade.time <= now])
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
            bins = bin_starts(self._times, interval)
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
        high = np.maximum.reduceat(self._high[rows], first - first[0])
        low = np.minimum.reduceat(self._low[rows], first - first[0])
        ids = self._ids[edges]
        traded = ids[1:] > ids[:-1]
        prices = (self._open[first], high, low, self._close[last])
        columns = (
            starts.tolist(),
            [next_start(start, interval) - 1 for start in starts.tolist()],
            np.where(traded, ids[:-1], -1).tolist(),
            np.where(traded, ids[1:] - 1, -1).tolist(),
            *([price * self._tick for price in column.tolist()] for column in prices),
            self._lots.sums(edges),
            self._quote.sums(edges),
            self._trades.sums(edges),
            self._taker.sums(edges),
            self._taker_quote.sums(edges),
        )
        return [Kline._make(row) for row in zip(*columns, strict=True)]

    # Trades

    def trades(self, after: int, until: int) -> list[AggTrade]:
        """All aggregate trades with after < time <= until."""
        return list(self.iterate(after, until))

    def trades_from(self, first_id: int, limit: int, now: int) -> list[AggTrade]:
        """Up to ``limit`` aggregate trades from the id ``first_id`` on, none after ``now``."""
        row = int(np.searchsorted(self._agg_ids, max(first_id, 0), "right")) - 1
        found: list[AggTrade] = []
        while row < len(self._times) and len(found) < limit and self._times[row] <= now:
            found += [t for t in self._path(row) if t.id >= first_id and t.time <= now]
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
        row = int(np.searchsorted(self._times, now, "right")) - 1
        if row < 0:
            return []
        until = int(self._agg_ids[row]) + sum(trade.time <= now for trade in self._path(row))
        return self.trades_from(until - limit, min(limit, until), now)

    def split(self, trade: AggTrade) -> list[Trade]:
        """The single trades inside: same price, time and side; their quantities add up."""
        count = trade.last_id - trade.first_id + 1
        unit = self._lot if trade.quantity % self._lot == 0 else 1
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
        row = max(0, int(np.searchsorted(self._times, after, "right")) - 1)
        while row < len(self._times) and self._times[row] <= until:
            for trade in self._path(row):
                if after < trade.time <= until:
                    yield trade
            row += 1

    def _walk(self, row: int) -> tuple[AggTrade, ...]:
        """The aggregate trades of a row (through `_path`, which keeps the last ones)."""
        if not self._is_traded(row):
            return ()
        shape, lot = self._shape(row)
        start = int(self._times[row])
        length = self._end(row) - start
        trade_id, agg_id = int(self._ids[row]), int(self._agg_ids[row])
        found = []
        for k, step in enumerate(walk(shape)):
            time = start + (2 * k + 1) * length // (2 * shape.steps)
            found.append(
                AggTrade(
                    agg_id + k,
                    step.price * self._tick,
                    step.lots * lot,
                    trade_id,
                    trade_id + step.trades - 1,
                    time,
                    not step.buy,
                )
            )
            trade_id += step.trades
        return tuple(found)

    def _shape(self, row: int) -> tuple[Shape, int]:
        """A row for `walk`, and the lot it is in (units of 1e-8)."""
        made = int(self._ids[row + 1] - self._ids[row])
        volume, taker = self._lots.sum(row, row + 1), self._taker.sum(row, row + 1)
        lot = self._lot if volume // self._lot >= made else 1
        quotes = [self._quote.sum(row, row + 1), self._taker_quote.sum(row, row + 1)]
        per = self._tick * lot
        whole, bought = ((2 * quote * UNIT + per) // (2 * per) for quote in quotes)
        return Shape(
            int(self._open[row]),
            int(self._high[row]),
            int(self._low[row]),
            int(self._close[row]),
            volume // lot,
            min(taker, volume) // lot,
            whole,
            bought,
            made,
            int(self._agg_ids[row + 1] - self._agg_ids[row]),
            row,
        ), lot

    def _is_traded(self, row: int) -> bool:
        return bool(self._ids[row + 1] > self._ids[row])

    def _end(self, row: int) -> int:
        return next_start(int(self._times[row]), self.timeframe)

    # The last 24 hours, the book

    def ticker(self, now: int) -> Ticker | None:
        """The figures of the 24 hours before ``now``, to the trade; None without any trade."""
        opened = now - DAY
        first = int(np.searchsorted(self._times, opened, "right"))
        until = int(np.searchsorted(self._times, now, "right"))
        head = [] if first == 0 else [t for t in self._path(first - 1) if opened < t.time <= now]
        tail: list[AggTrade] = []
        if until > first and self._end(until - 1) > now:
            until -= 1
            tail = [trade for trade in self._path(until) if trade.time <= now]
        rows = np.flatnonzero(np.diff(self._ids[first : until + 1])) + first
        parts = self._fold(head)
        if len(rows):
            edges = np.array([rows[0], rows[-1] + 1])
            middle = self._joined(self.timeframe, self._times[rows[:1]], edges)[0]
            parts.append(
                middle._replace(
                    high=int(self._high[rows].max()) * self._tick,
                    low=int(self._low[rows].min()) * self._tick,
                )
            )
        parts += self._fold(tail)
        if not parts:
            return None
        day = _join(parts, opened, now)
        previous = self.last_trades(1, opened)
        last = self.last_trades(1, now)[0]
        return Ticker(
            opened,
            now,
            day.first_id,
            day.last_id,
            previous[0].price if previous else day.open,
            day.open,
            day.high,
            day.low,
            day.close,
            last.quantity,
            day.volume,
            day.quote_volume,
            day.quote_volume * UNIT // day.volume if day.volume else day.close,
            day.trades,
        )

    def book(self, trade: AggTrade) -> Book:
        """The best bid and ask right after a trade: one tick apart, one at its price."""
        bid = trade.price if trade.buyer_is_maker else trade.price - self._tick
        bid = max(bid, self._tick)
        amounts = (1 + trade.id * prime % 997 for prime in (613, 389))  # made up, but the same ones
        bought, sold = (amount * self._lot for amount in amounts)
        return Book(trade.id, bid, bought, bid + self._tick, sold)

    def _fold(self, trades: list[AggTrade]) -> list[Kline]:
        """Trades as one bar (in a list), or [] without any."""
        if not trades:
            return []
        buys = [trade for trade in trades if not trade.buyer_is_maker]
        prices = [trade.price for trade in trades]
        return [
            Kline(
                trades[0].time,
                trades[-1].time,
                trades[0].first_id,
                trades[-1].last_id,
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
                sum(trade.quantity for trade in trades),
                sum(trade.price * trade.quantity for trade in trades) // UNIT,
                trades[-1].last_id - trades[0].first_id + 1,
                sum(trade.quantity for trade in buys),
                sum(trade.price * trade.quantity for trade in buys) // UNIT,
            )
        ]


def _join(parts: list[Kline], open_time: int, close_time: int) -> Kline:
    ids = [part for part in parts if part.first_id >= 0]
    return Kline(
        open_time,
        close_time,
        ids[0].first_id if ids else -1,
        ids[-1].last_id if ids else -1,
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        sum(part.volume for part in parts),
        sum(part.quote_volume for part in parts),
        sum(part.trades for part in parts),
        sum(part.taker_buy_volume for part in parts),
        sum(part.taker_buy_quote_volume for part in parts),
    )


def _check_grid(times: Times, timeframe: str) -> None:
    off = bin_starts(times, timeframe) != times
    if off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"the candle at {from_ms(times)[row]} doesn't open on the grid of {timeframe} "
            f"(such candles in all: {int(off.sum())}). An exchange's bars do: drop it, "
            "candles.drop(time)."
        )
