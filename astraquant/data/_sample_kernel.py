"""The synthetic market's compiled part: whole numbers only, so every machine gets the same candles.

Floating logarithms and exponentials differ in the last bit from one platform's library to the
next, and one bit is another price. Here everything is int64 arithmetic (shifts for divisions, a
table-free power of two), and the random numbers are splitmix64 addressed by counter, so that any
stream's number *i* can be had without the others. "Q16" means a number in units of 2**-16.

The model, per minute: a common log-activity X (five mean-reverting components of 1 minute to 6
days, the hour of the day, the day of the week, rare news) and a symbol's own part. X says how many
of twelve slots see a price change and how large it is; X plus the own part says how many trades
there are and how large they are. So trades, volume and size of moves rise and fall together, as
they do in real markets. Every price step is a symmetric random number times the price: its
expectation is zero whatever happened before.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np

from .._compile import compiled

Ints = np.ndarray[Any, np.dtype[np.int64]]
Key: TypeAlias = np.uint64  # a stream of random numbers is named by one 64-bit word

# Columns of the result, and what describes a symbol.
OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, TRADES, TAKER, TAKER_QUOTE = range(9)
START, BASE_TRADES, TRADE_SIZE, STEP_COMMON, STEP_OWN, OWN_ACTIVITY = range(6)
# STEP_*: this times the annual volatility that the part is to have when activity is all common.
STEP_PER_VOLATILITY = 560_000

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX2: Final = np.uint64(0x94D049BB133111EB)
_S16, _S27, _S30, _S31, _S32, _S48 = (np.uint64(n) for n in (16, 27, 30, 31, 32, 48))
_LOW16: Final = np.uint64(0xFFFF)
_ONE: Final = np.uint64(1)

_WORDS = 64  # counters reserved for a minute in one stream
_SLOTS = 12  # chances for the price to move within a minute
_SUB = 10  # bits of a tick below the one that shows
_FLOOR, _CEILING = 20 << _SUB, 1 << 36  # price x step must fit into 63 bits; never met in practice
_LARGEST_STEP = 1 << 26  # Q30: 6 % within one slot
_LARGEST_ACTIVITY = 5 << 16
_MOST_LOTS = 1 << 31

# Innovations are drawn as sums of four 16-bit numbers; this is their standard deviation.
NORMAL_SD = 65536 / math.sqrt(3)
_SIZE_SPREAD = round(0.40 * 2**32 / NORMAL_SD)  # of a trade's mean size, in powers of two
_TAKER_MEAN = round(0.48 * 65536)  # share of the volume bought by takers, Q16 ...
_TAKER_PULL = round(0.30 * 65536)  # ... more of it the straighter the price went up
_TAKER_SPREAD = round(0.16 * 2**32 / NORMAL_SD)


def innovation(sigma: float, shift: int) -> int:
    """The coefficient that gives y += (coefficient * draw >> 8) - (y >> shift) its sigma (Q24)."""
    decay = 1 - 2.0**-shift
    return round(sigma * math.sqrt(1 - decay * decay) * 2**32 / NORMAL_SD)


# (deviation in powers of two, memory of about 2**shift minutes); shift 0 has no memory at all.
_COMMON = ((0.36, 0), (0.30, 1), (0.36, 4), (0.33, 7), (0.33, 9), (0.42, 13))
_OWN = ((0.50, 0), (0.50, 4), (0.50, 8), (0.50, 12))
COMMON_SHIFTS = np.array([shift for _, shift in _COMMON])
COMMON_FORCE = np.array([innovation(*part) for part in _COMMON])
COMMON_SIGMA = np.array([innovation(sigma, 0) for sigma, _ in _COMMON])
OWN_SHIFTS = np.array([shift for _, shift in _OWN])
OWN_FORCE = np.array([innovation(*part) for part in _OWN])
OWN_SIGMA = np.array([innovation(sigma, 0) for sigma, _ in _OWN])

# Activity by hour of the day (UTC; 1 is neutral) and by weekday (Monday first), powers of two.
_HOURS = (1.02, 0.93, 0.83, 0.76, 0.74, 0.78, 0.84, 0.92, 0.94, 0.93, 0.94, 0.98,
          1.19, 1.36, 1.50, 1.52, 1.40, 1.25, 1.19, 1.15, 1.05, 0.95, 0.90, 0.88)  # fmt: skip
HOURS = np.array([round((x - 1) * 1.3 * 65536) for x in _HOURS])
WEEKDAYS = np.array([round(x * 65536) for x in (0.12, 0.14, 0.16, 0.14, 0.06, -0.46, -0.40)])


@compiled
def _signed(bits: Key) -> int:
    return np.int64(bits)  # type: ignore[return-value]  # numba makes no difference between them


@compiled
def word(key: Key, index: int) -> Key:
    """Number ``index`` (from 0) of the splitmix64 sequence that starts at ``key``."""
    z = key + np.uint64(index + 1) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@compiled
def draw(bits: Key) -> int:
    """A symmetric, bell-shaped whole number from 64 random bits: mean 0, deviation `NORMAL_SD`."""
    total = (bits & _LOW16) + ((bits >> _S16) & _LOW16) + ((bits >> _S32) & _LOW16) + (bits >> _S48)
    return _signed(total) - 131070


@compiled
def power(x: int) -> int:
    """2 to the ``x``, both Q16, for -16 < x < 16; off by at most 0.02 % (or one unit)."""
    whole, part = x >> 16, x & 65535
    mantissa = 65536 + ((part * (45584 + ((part * (14823 + ((part * 5121) >> 16))) >> 16))) >> 16)
    return mantissa << whole if whole >= 0 else mantissa >> -whole


@compiled
def _advance(parts: Ints, shifts: Ints, force: Ints, key: Key, counter: int) -> int:
    """Move the mean-reverting components one minute on; return their sum (Q16)."""
    for k in range(len(parts)):
        kick = (force[k] * draw(word(key, counter + k))) >> 8
        parts[k] += kick - (parts[k] >> shifts[k])
    return int(parts.sum()) >> 8


@compiled
def _news(key: Key, counter: int) -> int:
    """Mostly 0; about every 17 hours a burst of activity (Q24), exponential, 1.5 on average."""
    bits = word(key, counter)
    if _signed(bits & _LOW16) >= 64:
        return 0
    size = _signed((bits >> _S16) & _LOW16) << 8
    bits = bits >> _S32
    while size < 5 << 24 and _signed(bits & _ONE) == 0:
        size += 1 << 24
        bits = bits >> _ONE
    return size


@compiled
def _season(minute: int, hours: Ints, weekdays: Ints) -> int:
    """The habits of day and week; ``minute`` counts from a Sunday's midnight (Q16)."""
    hour, past = minute // 60, minute % 60
    now, following = hours[hour % 24], hours[(hour + 1) % 24]
    season: int = now + (following - now) * past // 60 + weekdays[(minute // 1440 + 6) % 7]
    return season


@compiled
def _lean(activity: int) -> int:
    """Skew a symmetric activity: quiet minutes are less quiet than wild ones are wild."""
    activity = min(max(activity, -_LARGEST_ACTIVITY), _LARGEST_ACTIVITY)
    return activity + ((activity * activity) >> 20)


@compiled
def _moves(activity: int) -> int:
    """Chance (Q16) that the price moves in a slot: rises with the square of the activity."""
    above = min(max(activity + 140000, 0), 65536 * 4)
    return (above * above) >> 20


@compiled
def _beginning(sigma: Ints, key: Key) -> Ints:
    """Components as they are in the middle of life, not in a calm."""
    parts = np.zeros(len(sigma), dtype=np.int64)
    for k in range(len(parts)):
        parts[k] = (sigma[k] * draw(word(key, k))) >> 8
    return parts


@compiled
def simulate(out: Ints, first: int, symbol: Ints, market: Key, own: Key, halt: Ints) -> None:
    """Fill ``out`` (minutes x 9, whole ticks and lots) with the minutes from ``first`` on.

    Always runs from minute 0, so that a part is the part of the whole. Quote volumes are in ticks
    x lots. In the minutes ``halt[0] <= minute < halt[1]`` nothing is traded.
    """
    parts = _beginning(COMMON_SIGMA, market)
    owns = _beginning(OWN_SIGMA, own)
    burst = 0
    last: int = symbol[START]
    price = last << _SUB
    path = np.zeros(_SLOTS + 1, dtype=np.int64)
    for minute in range(first + len(out)):
        base = (minute + 1) * _WORDS
        burst += _news(market, base + 8) - (burst >> 4)
        common = _advance(parts, COMMON_SHIFTS, COMMON_FORCE, market, base) + (burst >> 8)
        common += _season(minute, HOURS, WEEKDAYS)
        mine = (_advance(owns, OWN_SHIFTS, OWN_FORCE, own, base) * symbol[OWN_ACTIVITY]) >> 16
        common, mine = _lean(common), _lean(common + mine)
        price = _walk(path, price, common, mine, symbol, market, own, base)
        trades = (symbol[BASE_TRADES] * power(mine)) >> 16
        if halt[0] <= minute < halt[1]:
            trades = 0
        if minute >= first:
            _candle(out[minute - first], path, trades, last, mine, symbol, own, base)
            last = out[minute - first, CLOSE]
        elif trades > 0:
            last = path[_SLOTS]


@compiled
def _walk(
    path: Ints, price: int, common: int, mine: int, symbol: Ints, market: Key, own: Key, base: int
) -> int:
    """Let the price take its twelve chances to move; ``path`` gets what was paid, in ticks."""
    chance = _moves(common)
    step_common = (symbol[STEP_COMMON] * power(common * 13 // 16)) >> 16
    step_own = (symbol[STEP_OWN] * power(mine * 13 // 16)) >> 16
    sides = word(own, base + 8)
    path[0] = (price >> _SUB) + _signed(sides & _ONE)
    gates = sides
    for slot in range(_SLOTS):
        if slot % 4 == 0:
            gates = word(market, base + 12 + slot // 4)
        if _signed(gates & _LOW16) < chance:
            step = step_common * draw(word(market, base + 16 + slot))
            step += step_own * draw(word(own, base + 16 + slot))
            step = (step + 32768) >> 16  # Q30
            step = min(max(step, -_LARGEST_STEP), _LARGEST_STEP)
            price += (price * step + (1 << 29)) >> 30
            price = min(max(price, _FLOOR), _CEILING)
        gates = gates >> _S16
        sides = sides >> _ONE
        # A buyer pays the ask, a seller gets the bid one tick below.
        path[slot + 1] = (price >> _SUB) + _signed(sides & _ONE)
    return price


@compiled
def _candle(
    row: Ints, path: Ints, trades: int, last: int, mine: int, symbol: Ints, own: Key, base: int
) -> None:
    """Sum a minute up. Without a trade it is flat at the last price, as the exchange does it."""
    if trades == 0:
        row[:] = 0
        row[OPEN : CLOSE + 1] = last
        return
    begin = max(_SLOTS + 1 - trades, 0)  # no more prices than trades
    seen = path[begin:]
    high, low, before = seen[0], seen[0], seen[0]
    total = travelled = 0
    for paid in seen:
        high, low, total = max(high, paid), min(low, paid), total + paid
        travelled += abs(paid - before)
        before = paid
    dice = word(own, base + 9)
    size = power(mine * 5 // 16 + ((draw(word(own, base + 10)) * _SIZE_SPREAD) >> 16))
    volume = trades * max((symbol[TRADE_SIZE] * size) >> 16, 1)
    volume = min(volume, _MOST_LOTS)
    pull = (seen[-1] - seen[0]) * _TAKER_PULL // max(travelled, 1)
    share = _TAKER_MEAN + pull + ((draw(dice) * _TAKER_SPREAD) >> 16)
    taker = (volume * min(max(share, 655), 64881)) >> 16
    row[OPEN], row[HIGH], row[LOW], row[CLOSE] = seen[0], high, low, seen[-1]
    row[VOLUME], row[TRADES], row[TAKER] = volume, trades, taker
    # Both kinds of trade at the mean price of the path: between low and high, and adding up.
    row[TAKER_QUOTE] = taker * total // len(seen)
    row[QUOTE] = row[TAKER_QUOTE] + (volume - taker) * total // len(seen)
