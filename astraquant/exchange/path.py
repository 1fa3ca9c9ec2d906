"""The path inside a candle: a few trades that yield exactly this candle.

Everything here is in whole ticks (prices), lots (quantities) and their products (quote amounts).
"""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """A candle in ticks, lots and tick-lots, with the number of its trades and aggregates."""

    open: int
    high: int
    low: int
    close: int
    lots: int
    buy_lots: int  # bought by takers
    quote: int
    buy_quote: int
    trades: int
    steps: int  # how many aggregates the path has: at least `turns`, at most `trades`
    seed: int  # the candle's place: makes paths differ


class Step(NamedTuple):
    """One aggregate trade of a path."""

    price: int
    lots: int
    buy: bool
    trades: int


def turns(shape: Shape) -> list[int]:
    """Open, the extremes (low first in a rising candle), close; no price twice in a row."""
    if shape.close >= shape.open:
        points = [shape.open, shape.low, shape.high, shape.close]
    else:
        points = [shape.open, shape.high, shape.low, shape.close]
    return [price for k, price in enumerate(points) if k == 0 or price != points[k - 1]]


def walk(shape: Shape) -> list[Step]:
    """The aggregates of a candle, in order: exactly ``steps`` of them, ``trades`` trades in all."""
    prices = turns(shape)
    prices[1:1] = [shape.open] * (shape.steps - len(prices))
    lots = _shared(shape.lots, [1] * len(prices))
    counts = _shared(shape.trades, lots)
    return [
        Step(price, lot, k % 2 == 0, count)
        for k, (price, lot, count) in enumerate(zip(prices, lots, counts, strict=True))
    ]


def _shared(total: int, weights: list[int]) -> list[int]:
    left, rest = total, sum(weights)
    shares = []
    for k, weight in enumerate(weights):
        after = len(weights) - k - 1
        share = max(1, min(left - after, left * weight // rest)) if left > after else min(left, 1)
        shares.append(share)
        left, rest = left - share, rest - weight
    shares[-1] += left
    return shares
