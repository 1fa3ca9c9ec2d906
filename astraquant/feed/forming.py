"""The candle that is still forming: the newest kline, and the trades that follow it by their ids.

It depends on what has come, not on the order in which it came: a trade that was late, repeated or
asked for again takes its place by id, and a kline takes the place of the trades it contains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..candles import Candle

if TYPE_CHECKING:
    from .protocol import AggTrade, Kline

_KEPT: Final = 1000  # trades since the last kline that are remembered

_Key = tuple[int, bool, int, int]


class Forming:
    """What the stream shows of the bar that is not over yet. Times are int ms UTC.

    `candle`: the newest kline and, on top of it, all trades that follow it without a hole in their
    ids, in the order of ids. It may be of a bar that is over; None while nothing is known.
    """

    def __init__(self) -> None:
        self.candle: Candle | None = None
        self._base: Candle | None = None  # the newest kline, if it is not a closing one
        self._key: _Key | None = None  # of the newest kline
        self._anchor: _Key | None = None  # of the newest one that names its last trade
        self._trades: dict[int, tuple[int, AggTrade]] = {}  # those after it, by first id: with bar
        self._chain: int | None = None  # the id of the last trade that is folded in
        self._folded = 0  # how many of `_trades` are

    @property
    def partial(self) -> bool:
        """Whether trades have come that `candle` lacks, since others before them haven't."""
        return len(self._trades) > self._folded

    def kline(self, event: Kline) -> bool:
        """Take a kline, closing or not; returns False if a newer one is known."""
        time = event.candle.time
        key = (time, event.closed, event.event_time, event.last_id)
        newer = self._key is None or key > self._key
        anchors = event.last_id >= 0 and (self._anchor is None or key > self._anchor)
        if newer:
            self._key = key
            self._base = None if event.closed else event.candle
        if anchors:
            self._anchor = key
            self._trades = {
                first_id: (bar, trade)
                for first_id, (bar, trade) in self._trades.items()
                if trade.last_id > event.last_id and bar >= time
            }
        if newer or anchors:
            self.candle = self._base
            self._chain = None if self._anchor is None else self._anchor[3]
            self._folded = 0
            self._fold()
        return newer

    def trade(self, event: AggTrade, bar: int) -> bool:
        """Take a trade in ``bar``; returns False if it was there already, or is of the past."""
        if self._chain is not None and event.last_id <= self._chain:
            return False
        if self._anchor is not None and bar < self._anchor[0]:
            return False
        if event.first_id in self._trades:
            return False
        self._trades[event.first_id] = (bar, event)
        if len(self._trades) > _KEPT:
            _, oldest = self._trades.pop(next(iter(self._trades)))
            self._folded -= self._chain is not None and oldest.last_id <= self._chain
        self._fold()
        return True

    def _fold(self) -> None:
        """Fold in all trades that follow the last one without a hole."""
        while self._chain is not None and self._chain + 1 in self._trades:
            bar, trade = self._trades[self._chain + 1]
            self._chain = trade.last_id
            self._folded += 1
            if self.candle is None or bar >= self.candle.time:
                self.candle = _with_trade(self.candle, trade, bar)


def _with_trade(candle: Candle | None, trade: AggTrade, bar: int) -> Candle:
    """The candle with one trade more; the bar's first one if the candle is of an earlier bar."""
    price, quantity = trade.price, trade.quantity
    amount, count = price * quantity, float(trade.last_id - trade.first_id + 1)
    bought = 0.0 if trade.buyer_is_maker else quantity
    if candle is None or candle.time < bar:
        return Candle(
            bar, price, price, price, price, quantity, amount, count, bought, bought * price
        )
    return Candle(
        bar,
        candle.open,
        max(candle.high, price),
        min(candle.low, price),
        price,
        candle.volume + quantity,
        candle.quote_volume + amount,
        candle.trades + count,
        candle.taker_buy_volume + bought,
        candle.taker_buy_quote_volume + bought * price,
    )
