"""Slow, obvious oracles for the simulated exchange: plain loops over decimals and integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
from naive_resampling import bin_of

PRICES = ("open", "high", "low", "close")
SUMS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
NINE = (*PRICES, *SUMS)
UNITS = Decimal(10**8)


def decimal_of(value: float) -> Decimal:
    """The decimal that a float is meant to be: the shortest one that gives it."""
    return Decimal(repr(float(value)))


def candle_of(trades: Sequence[Any]) -> dict[str, Decimal]:
    """The candle that trades make, aggregate or single ones, in decimals of the market."""
    prices = [Decimal(trade.price) / UNITS for trade in trades]
    candle = dict.fromkeys(NINE, Decimal(0))
    candle["open"], candle["close"] = prices[0], prices[-1]
    candle["high"] = candle["low"] = prices[0]
    for trade, price in zip(trades, prices, strict=True):
        if price > candle["high"]:
            candle["high"] = price
        if price < candle["low"]:
            candle["low"] = price
        quantity = Decimal(trade.quantity) / UNITS
        candle["volume"] += quantity
        candle["quote_volume"] += price * quantity
        candle["trades"] += trade.last_id - trade.first_id + 1 if hasattr(trade, "first_id") else 1
        if not trade.buyer_is_maker:
            candle["taker_buy_volume"] += quantity
            candle["taker_buy_quote_volume"] += price * quantity
    return candle


def as_candle(kline: Any) -> dict[str, Decimal]:
    """A kline's nine figures in decimals of the market."""
    return {
        name: Decimal(getattr(kline, name)) / (1 if name == "trades" else UNITS) for name in NINE
    }


def joined(parts: Sequence[dict[str, Decimal]]) -> dict[str, Decimal]:
    """Candles that follow each other, as one."""
    candle = {name: sum((part[name] for part in parts), Decimal(0)) for name in SUMS}
    candle["open"], candle["close"] = parts[0]["open"], parts[-1]["close"]
    candle["high"] = max(part["high"] for part in parts)
    candle["low"] = min(part["low"] for part in parts)
    return candle


def naive_klines(
    candles: pd.DataFrame, source: str, trades: Iterable[Any], interval: str, now: int
) -> dict[int, tuple[dict[str, Decimal], int, int]]:
    """Bars of ``interval`` as of ``now``: open time -> nine figures, first and last trade id.

    The table has all nine columns. A bar of the source that is over counts as the table has it, as
    does one without volume from its start; of another one its trades so far count.
    """
    bars: dict[int, tuple[list[dict[str, Decimal]], list[Any]]] = {}
    for stamp, row in candles.iterrows():
        start, end = bin_of(int(stamp.timestamp() * 1000), source)  # type: ignore[attr-defined]
        if start > now:
            break
        inside = [trade for trade in trades if start <= trade.time < end and trade.time <= now]
        if end <= now or row["volume"] == 0:
            part = {name: decimal_of(row[name]) for name in NINE}
        elif inside:
            part = candle_of(inside)
        else:
            continue
        parts, seen = bars.setdefault(bin_of(start, interval)[0], ([], []))
        parts.append(part)
        seen += inside
    return {
        start: (joined(parts), seen[0].first_id if seen else -1, seen[-1].last_id if seen else -1)
        for start, (parts, seen) in bars.items()
    }
