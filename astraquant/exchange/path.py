"""The path inside a candle: a few trades that yield exactly this candle.

Everything is in whole ticks (prices), lots (quantities) and tick-lots (quote amounts), so that
"exactly" means what it says. A path goes from open to close by way of both extremes. What takers
bought and what they sold are two sums of their own, each with a given number of lots R and a given
quote amount W. With two trades whose prices are free that is simple: some of the R lots at the
average price rounded down, the others one tick higher. Candles of a few trades leave fewer prices
free; there the lots must solve the equation (`_few`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import gcd
from typing import NamedTuple

Fill = tuple[int, int]  # price, lots
_TRIES = 512  # prices or numbers of lots tried where nothing but trying helps
# For 1 to 4 turns, which of them change sides: none first, then one, two ...
_FLIPS = {
    count: sorted(
        (tuple(bool(code >> k & 1) for k in range(count)) for code in range(2**count)), key=sum
    )
    for count in range(1, 5)
}


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
    steps: int  # aggregates: at least as many as there are turns, at most `trades`
    seed: int  # the candle's place in its table: no two paths need look alike


class Step(NamedTuple):
    """One aggregate trade of a path."""

    price: int
    lots: int
    buy: bool  # whether the taker bought
    trades: int


class Side(NamedTuple):
    """What one kind of taker, buyers or sellers, did in a candle."""

    fixed: tuple[int, ...]  # prices of the turns among its trades
    free: int  # further trades, at prices from low to high
    lots: int
    quote: int
    low: int
    high: int
    seed: int


def turns(shape: Shape) -> list[int]:
    """Open, the extremes (low first in a rising candle), close; no price twice in a row."""
    extremes = (shape.low, shape.high) if shape.close >= shape.open else (shape.high, shape.low)
    points = [shape.open]
    for price in (*extremes, shape.close):
        if price != points[-1]:
            points.append(price)
    return points


def walk(shape: Shape) -> list[Step]:
    """The aggregates of a candle, in order: exactly ``steps`` of them, ``trades`` trades in all.

    Open, high, low, close, both volumes and the number of trades are always exact, quote amounts
    wherever a solution is found; else they are as near as the tries came. Fewer lots than steps
    leave some trades without quantity.
    """
    points = turns(shape)
    if shape.lots < shape.steps:
        return _starved(shape, points)
    best: list[list[Fill]] = []
    chosen: tuple[bool, ...] = ()
    least = -1
    for sides, buyers, sellers in _divisions(shape, points):
        bought, sold = _exact(buyers), _exact(sellers)
        if bought is not None and sold is not None:
            best, chosen = [bought, sold], sides
            break
        if least:  # perhaps nothing is exact: remember the nearest
            near = [_near(buyers) if bought is None else bought]
            near.append(_near(sellers) if sold is None else sold)
            error = abs(_quote(near[0]) - buyers.quote) + abs(_quote(near[1]) - sellers.quote)
            if least < 0 or error < least:
                best, chosen, least = near, sides, error
    fills = _in_order(points, chosen, best[0], best[1], shape.seed)
    counts = _shared(shape.trades, [lots for _, lots, _ in fills])
    return [
        Step(price, lots, buy, count)
        for (price, lots, buy), count in zip(fills, counts, strict=True)
    ]


def yields(shape: Shape, steps: list[Step]) -> bool:
    """Whether a path has the candle's quote amounts too, exactly; `walk` sees to all the rest."""
    bought = sum(step.price * step.lots for step in steps if step.buy)
    sold = sum(step.price * step.lots for step in steps if not step.buy)
    return bought == shape.buy_quote and bought + sold == shape.quote


def _divisions(shape: Shape, points: list[int]) -> Iterator[tuple[tuple[bool, ...], Side, Side]]:
    """Ways to deal the trades out to buyers and sellers, the most natural ones first.

    Naturally buyers drive the price up to a turn, and sellers down.
    """
    natural = [b > a for a, b in pairwise(points)]
    natural.insert(0, not natural[0] if natural else True)
    free = shape.steps - len(points)
    sell_lots, sell_quote = shape.lots - shape.buy_lots, shape.quote - shape.buy_quote
    limits = (shape.low, shape.high, shape.seed)
    for flips in _FLIPS[len(points)]:
        sides = tuple(side != flip for side, flip in zip(natural, flips, strict=True))
        up = tuple(price for price, buy in zip(points, sides, strict=True) if buy)
        down = tuple(price for price, buy in zip(points, sides, strict=True) if not buy)
        spare, other = shape.buy_lots - len(up), sell_lots - len(down)
        if spare < 0 or other < 0:
            continue
        for count in _splits(free, spare, other):
            buyers = Side(up, count, shape.buy_lots, shape.buy_quote, *limits)
            sellers = Side(down, free - count, sell_lots, sell_quote, *limits)
            if all(side.fixed or side.free or side.lots == 0 for side in (buyers, sellers)):
                yield sides, buyers, sellers


def _splits(free: int, spare: int, other: int) -> list[int]:
    """How many of ``free`` trades the buyers may have: each needs a lot that is to spare."""
    share = round(free * spare / (spare + other)) if free else 0
    if free >= 4:  # two free prices a side are enough: if this division fails, all do
        lowest = max(min(2, spare), free - other)
        return [min(max(share, lowest), free - min(2, other), spare)]
    fitting = range(max(0, free - other), min(free, spare) + 1)
    return sorted(fitting, key=lambda count: abs(count - share))


def _exact(side: Side) -> list[Fill] | None:
    """Prices and lots of a side's trades, fixed ones first, with the right sums; or None."""
    count = len(side.fixed) + side.free
    if count == 0:
        return [] if side.lots == 0 and side.quote == 0 else None
    rest, amount = side.lots - len(side.fixed), side.quote - sum(side.fixed)
    if not side.low * rest <= amount <= side.high * rest:
        return None
    if side.free < 2 and side.lots > count:
        return _few(side)
    each = side.lots // count
    while True:  # as large a share at the turns as leaves the rest a possible average price
        lots = [max(1, each * (3 + (side.seed + 3 * k) % 5) // 8) for k in range(len(side.fixed))]
        rest = side.lots - sum(lots)
        amount = side.quote - sum(p * n for p, n in zip(side.fixed, lots, strict=True))
        if rest >= side.free and side.low * rest <= amount <= side.high * rest:
            return [*zip(side.fixed, lots, strict=True), *_spread(side, rest, amount)]
        if each <= 1:
            return None
        each //= 4


def _spread(side: Side, lots: int, amount: int) -> list[Fill]:
    """The free trades: around the average price, in pairs at equal distances above and below."""
    if side.free == 0:
        return []
    price, more = divmod(amount, lots)  # `more` lots must be one tick higher
    above = max(1, side.free - (lots - more)) if more else 0
    fills = [(price + 1, lot) for lot in _shared(more, [1] * above)]
    here = side.free - above
    each = (lots - more) // here
    fills.append((price, lots - more - each * (here - 1)))
    reach = min(price - side.low, side.high - price)
    pairs, single = divmod(here - 1, 2)
    for k in range(pairs):
        distance = reach * (2 + (side.seed + k) % 3) * (k + 1) // (4 * pairs)
        fills += [(price - distance, each), (price + distance, each)]
    return fills + [(price, each)] * single


def _few(side: Side) -> list[Fill] | None:
    """The same with at most one free price: the lots must solve the equation."""
    if side.free == 0:
        return _on(side.fixed, side)
    average = side.quote // side.lots
    if not side.fixed:
        return _on((average,), side) if side.low <= average <= side.high else None
    # One lot at the right price mends what the two outermost fixed prices can't reach.
    bottom, top = min(side.fixed), max(side.fixed)
    tries = []
    if bottom < top:
        rest = side.lots - len(side.fixed) - 1
        amount = side.quote - sum(side.fixed) - bottom * rest
        many = min(max(0, (amount - side.low) // (top - bottom)), rest)
        tries.append(amount - many * (top - bottom))
    else:
        amount = side.quote - bottom * side.lots
        tries += [bottom + amount // n for n in range(1, _TRIES) if amount % n == 0]
    tries += [average + k // 2 * (-1 if k % 2 else 1) for k in range(1, _TRIES)]
    for price in tries:
        if side.low <= price <= side.high:
            found = _on((*side.fixed, price), side)
            if found:
                return found
    return None


def _on(prices: tuple[int, ...], side: Side) -> list[Fill] | None:
    """Lots at these very prices, at least one each, that give the side's sums; or None."""
    bottom, top = min(prices), max(prices)
    span = top - bottom
    rest = side.lots - len(prices)
    amount = side.quote - sum(prices) - bottom * rest  # what lots above the bottom must add
    lots = dict.fromkeys(prices, 0)
    if span == 0:
        lots[bottom] = rest
        return _placed(prices, lots) if amount == 0 else None
    middle = [price - bottom for price in lots if bottom < price < top]
    for extra in range(min(rest, _TRIES) + 1 if len(middle) > 1 else 1):
        left, few = amount, 0
        if len(middle) > 1:
            left -= extra * middle[1]
            lots[bottom + middle[1]] = extra
        if middle:
            few = _multiples(left, middle[0], span)
            left -= few * middle[0]
            lots[bottom + middle[0]] = few
        lots[top], odd = divmod(left, span)
        lots[bottom] = rest - lots[top] - few - extra
        if odd == 0 and min(lots.values()) >= 0:
            return _placed(prices, lots)
    return None


def _multiples(amount: int, step: int, span: int) -> int:
    """The fewest times to take ``step`` so that multiples of ``span`` are left; -1: impossible."""
    common = gcd(step, span)
    if amount % common:
        return -1
    period = span // common
    return amount // common * pow(step // common, -1, period) % period


def _placed(prices: tuple[int, ...], lots: dict[int, int]) -> list[Fill]:
    """One lot for each price, and further ``lots`` where it comes first."""
    return [
        (price, 1 + (lots[price] if price not in prices[:k] else 0))
        for k, price in enumerate(prices)
    ]


def _near(side: Side) -> list[Fill]:
    """The same, when nothing fits exactly: the sum of lots is right, the quote amount is near."""
    if not side.fixed and not side.free:
        return []
    rest = side.lots - len(side.fixed)
    amount = side.quote - sum(side.fixed)
    fills = [(price, 1) for price in side.fixed]
    if side.free:
        amount = min(max(amount, side.low * rest), side.high * rest)
        if side.free == 1:
            return [*fills, ((2 * amount + rest) // (2 * rest), rest)]
        return [*fills, *_spread(side, rest, amount)]
    bottom, top = side.fixed.index(min(side.fixed)), side.fixed.index(max(side.fixed))
    span = side.fixed[top] - side.fixed[bottom]
    many = (2 * (amount - side.fixed[bottom] * rest) + span) // (2 * span) if span else 0
    many = min(max(many, 0), rest)
    fills[top] = (side.fixed[top], 1 + many)
    fills[bottom] = (side.fixed[bottom], fills[bottom][1] + rest - many)
    return fills


def _quote(fills: list[Fill]) -> int:
    return sum(price * lots for price, lots in fills)


def _in_order(
    points: list[int], sides: tuple[bool, ...], bought: list[Fill], sold: list[Fill], seed: int
) -> list[tuple[int, int, bool]]:
    """All trades as one walk: each free one on a leg between two turns that passes its price."""
    buys, sells = iter(bought), iter(sold)
    fixed = [(*next(buys if buy else sells), buy) for buy in sides]
    free = [*((*fill, True) for fill in buys), *((*fill, False) for fill in sells)]
    legs: list[list[tuple[int, int, bool]]] = [[] for _ in points]
    for k, fill in enumerate(free):
        passing = [
            leg
            for leg, (a, b) in enumerate(pairwise(points))
            if a <= fill[0] <= b or b <= fill[0] <= a
        ]
        legs[passing[(seed + k) % len(passing)] if passing else 0].append(fill)
    ordered = []
    for k, point in enumerate(fixed):
        falling = k + 1 < len(points) and points[k + 1] < points[k]
        ordered += [point, *sorted(legs[k], key=lambda fill: fill[0], reverse=falling)]
    return ordered


def _shared(total: int, weights: list[int]) -> list[int]:
    """Divide ``total`` by ``weights``: at least 1 each and, where possible, at most the weight."""
    left, rest = total, sum(weights)
    shares = []
    for k, weight in enumerate(weights):
        share = max(1, min(left - (len(weights) - k - 1), left * weight // rest))
        shares.append(share)
        left, rest = left - share, rest - weight
    return shares


def _starved(shape: Shape, points: list[int]) -> list[Step]:
    """A path of more turns than lots: one lot each, as far as they go, to the buyers first."""
    return [
        Step(price, int(k < shape.lots), k < shape.buy_lots, 1) for k, price in enumerate(points)
    ]
