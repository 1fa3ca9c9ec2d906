"""Which stream says what when something happens on a market."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from . import protocol
from .market import Market
from .playback import Moment

Event = dict[str, Any]


def events_of(
    market: Market, moment: Moment, wanted: Collection[str]
) -> Iterator[tuple[str, Event]]:
    """The events of one moment on the streams in ``wanted``: pairs of stream and event."""
    prefix = f"{market.symbol.lower()}@"
    now = moment.time
    if moment.trade is not None:
        if prefix + "aggTrade" in wanted:
            yield prefix + "aggTrade", protocol.agg_trade_event(market.symbol, moment.trade, now)
        if prefix + "trade" in wanted:
            for trade in market.split(moment.trade):
                yield prefix + "trade", protocol.trade_event(market.symbol, trade, now)
        if prefix + "bookTicker" in wanted:
            book = market.book(moment.trade)
            yield prefix + "bookTicker", protocol.book_ticker_event(market.symbol, book)
    elif moment.kind == "update":
        intervals = [moment.interval] if moment.interval else market.intervals
        for interval in intervals:
            stream = f"{prefix}kline_{interval}"
            kline = market.kline(interval, now) if stream in wanted else None
            if kline is not None:
                yield stream, protocol.kline_event(market.symbol, interval, kline, now, False)
    elif moment.kind == "close":
        stream = f"{prefix}kline_{moment.interval}"
        kline = market.closed(moment.interval, moment.open_time) if stream in wanted else None
        if kline is not None:
            event = protocol.kline_event(market.symbol, moment.interval, kline, now, True)
            yield stream, event
    elif prefix + "ticker" in wanted:
        ticker = market.ticker(now)
        if ticker is not None:
            (last,) = market.last_trades(1, now)
            event = protocol.ticker_event(market.symbol, ticker, market.book(last), now)
            yield prefix + "ticker", event
