"""What the simulated exchange trades in: plain records of integers.

Prices, quantities and quote amounts are in units of 1e-8 (Binance writes eight decimals), times in
milliseconds since the UTC epoch. Python integers: no rounding, no overflow.
"""

from __future__ import annotations

from typing import NamedTuple

PLACES = 8  # decimals of a price or quantity on the wire
UNIT = 100_000_000  # 10**PLACES


def decimal(units: int) -> str:
    """Write ``units`` of 1e-8 as Binance does: 2795031000000 is "27950.31000000"."""
    whole, part = divmod(abs(units), UNIT)
    return f"{'-' if units < 0 else ''}{whole}.{part:0{PLACES}d}"


class AggTrade(NamedTuple):
    """One or more trades of one taker order at one price: ``first_id`` to ``last_id``."""

    id: int
    price: int
    quantity: int
    first_id: int
    last_id: int
    time: int
    buyer_is_maker: bool


class Trade(NamedTuple):
    """One single trade."""

    id: int
    price: int
    quantity: int
    time: int
    buyer_is_maker: bool


class Kline(NamedTuple):
    """One bar, perhaps still forming. ``close_time`` is the next bar's open time less 1 ms.

    ``first_id`` and ``last_id`` are those of its trades, -1 without any.
    """

    open_time: int
    close_time: int
    first_id: int
    last_id: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_buy_volume: int
    taker_buy_quote_volume: int


class Ticker(NamedTuple):
    """The trades of the 24 hours up to ``close_time``: open_time < time <= close_time.

    ``previous`` is the last price before them (the first of them where there is none);
    ``weighted_average`` is the quote volume over the volume, rounded down.
    """

    open_time: int
    close_time: int
    first_id: int
    last_id: int
    previous: int
    open: int
    high: int
    low: int
    last: int
    last_quantity: int
    volume: int
    quote_volume: int
    weighted_average: int
    trades: int

    @property
    def change(self) -> int:
        """Last price less the first one."""
        return self.last - self.open


class Book(NamedTuple):
    """Best bid and ask right after a trade."""

    update_id: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int
