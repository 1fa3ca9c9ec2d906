"""A synthetic market: candles without a download, the same on every machine.

It is made up. Nothing in it is a price that anyone ever paid, and every table says so
(``candles.attrs["source"]``). What it has in common with the real minutes of 2023 is measured by
its tests: fat tails, volatility that comes in clusters, quiet nights (UTC) and weekends, trades and
volume that rise with the moves, symbols that move together, one halt. What it does **not** have is
a way to earn money: each price step is symmetric around zero whatever happened before, so prices
are a random walk on the tick, without drift, trend or reversal, and every strategy loses its costs
on average. (A close lies at the bid or at the ask by chance. That looks like a reversal of half a
tick from minute to minute, as it does in real candles, and nobody can trade it.) One seed is one
draw: a strategy that does well on it was lucky.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import timeframes
from ..errors import DataError, unknown
from ..resampling import resample
from . import _sample_kernel as kernel


class _Listing(NamedTuple):
    """How a symbol is quoted and how lively it is."""

    tick: int  # decimals of a price
    lot: int  # decimals of a quantity
    price: float  # the first
    trades: int  # in a minute of medium activity
    size: float  # of a trade then
    common: float  # annual volatility shared with all symbols ...
    own: float  # ... and of its own, before its own bursts, which add to it
    activity: float  # how much the activity departs from the market's


_LISTINGS = {
    "BTCUSDT": _Listing(2, 5, 16_500.0, 520, 0.026, 0.403, 0.118, 0.35),
    "ETHUSDT": _Listing(2, 4, 1_195.0, 400, 0.42, 0.418, 0.165, 0.6),
    "SOLUSDT": _Listing(2, 2, 9.97, 120, 18.0, 0.60, 0.30, 1.0),
    "BNBUSDT": _Listing(1, 3, 245.7, 160, 0.55, 0.335, 0.20, 0.8),
    "ADAUSDT": _Listing(4, 1, 0.246, 110, 330.0, 0.51, 0.27, 1.0),
    "XRPUSDT": _Listing(4, 0, 0.339, 170, 700.0, 0.45, 0.30, 1.0),
}
SYMBOLS: tuple[str, ...] = tuple(_LISTINGS)

# A part must be the part of the whole, so every run begins at the origin: the first minute of the
# year whose real candles the sample is measured against. Three years keep the longest run short.
ORIGIN = pd.Timestamp("2023-01-01", tz="UTC")
LIMIT = pd.Timestamp("2026-01-01", tz="UTC")
_DEFAULT_END = pd.Timestamp("2024-01-01", tz="UTC")
# As at the real halt of that day: 72 minutes without a trade, then 80 without a candle.
HALT = pd.Timestamp("2023-03-24 11:28", tz="UTC")
GAP = pd.Timestamp("2023-03-24 12:40", tz="UTC")
REOPENING = pd.Timestamp("2023-03-24 14:00", tz="UTC")


def sample_candles(
    symbol: str,
    timeframe: str = "1m",
    *,
    start: object = None,
    end: object = None,
    seed: int = 7,
) -> pd.DataFrame:
    """Candles of the synthetic market, ``start`` <= time < ``end`` (UTC).

    ``symbol`` is one of `SYMBOLS`. The default span is the year 2023 (525,520 minutes of the
    year's 525,600); the market exists from 2023-01-01 up to 2026-01-01. ``seed`` (a whole number
    from 0) chooses the market; under one seed all symbols belong to the same market and share its
    moves. The same arguments give the same bits on every machine, and a part of the span the same
    candles as the whole cut down.

    One halt is built in, for all symbols, at the time of a real one: on 2023-03-24 the minutes from
    11:28 have no trade (flat, volume 0), those from 12:40 are missing, and at 14:00 trading goes on
    at another price. Coarser timeframes are the minutes resampled; bins that the market's first or
    last minute cuts are left out.

    Returns a candle table with all extra columns (float64, no NaN; `trades` whole numbers), its
    ``attrs`` saying ``source`` and ``symbol``. Prices are whole ticks, volumes whole lots. Raises
    `DataError` for an unknown symbol or timeframe, a span outside the market or without a candle,
    and a seed that is none.
    """
    if not isinstance(symbol, str) or symbol not in _LISTINGS:
        raise DataError(unknown("sample symbol", symbol, SYMBOLS))
    seed = _check_seed(seed)
    if not timeframes.is_multiple(timeframes.check_timeframe(timeframe), "1m"):
        raise DataError(f"timeframe {timeframe!r} is finer than the sample, which has minutes.")
    first, last = _span(start, end)
    minutes = _minutes(symbol, seed, *_whole_bins(first, last, timeframe))
    candles = _resampled(minutes, timeframe)
    candles = candles[(candles.index >= first) & (candles.index < last)]
    if candles.empty:
        halted = first < REOPENING and last > GAP
        why = f" From {GAP} up to {REOPENING} they are missing on purpose." if halted else ""
        raise DataError(
            f"the sample market has no whole {timeframe} candle that opens from {first} up to "
            f"{last}.{why} Take a longer span."
        )
    candles.attrs = {"source": f"synthetic sample (seed {seed})", "symbol": symbol}
    return candles


def _check_seed(seed: object) -> int:
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool) and 0 <= seed < 2**63:
        return int(seed)
    raise DataError(f"seed={seed!r}; expected a whole number from 0 to 2**63 - 1, such as 7.")


def _span(start: object, end: object) -> tuple[pd.Timestamp, pd.Timestamp]:
    first = ORIGIN if start is None else timeframes.parse_time(start, "start")
    last = _DEFAULT_END if end is None else timeframes.parse_time(end, "end")
    for name, moment in (("start", first), ("end", last)):
        if not ORIGIN <= moment <= LIMIT:
            raise DataError(
                f"{name}={moment} lies outside the sample market, which exists from {ORIGIN} up to "
                f"{LIMIT}. Choose a span within, or read real candles: read_candles(path)."
            )
    if first >= last:
        hint = " (the default end)" if end is None else ""
        raise DataError(f"start={first} is not before end={last}{hint}. Give a later end.")
    return first, last


def _whole_bins(
    first: pd.Timestamp, last: pd.Timestamp, timeframe: str
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Widen a span to whole bins, as far as the market exists; a bin cut at its end is left out."""
    edges = timeframes.to_ms(pd.DatetimeIndex([first, last - pd.Timedelta(1, "ms")]))
    begin, begin_last = (int(start) for start in timeframes.bin_starts(edges, timeframe))
    finish = timeframes.next_start(begin_last, timeframe)
    limit = int(timeframes.to_ms(pd.DatetimeIndex([LIMIT]))[0])
    if finish > limit:
        finish = begin_last
    span = timeframes.from_ms(np.array([begin, finish], dtype=np.int64))
    return max(span[0], ORIGIN), span[1]


def _minutes(symbol: str, seed: int, begin: pd.Timestamp, finish: pd.Timestamp) -> pd.DataFrame:
    """The minutes ``begin`` <= time < ``finish`` without the gap; both on a minute."""
    listing = _LISTINGS[symbol]
    first, last = _minute(begin), max(_minute(finish), _minute(begin))
    ints = np.empty((last - first, 9), dtype=np.int64)
    root = np.uint64(kernel.word(np.uint64(seed), 0))
    market = np.uint64(kernel.word(root, 0))
    own = np.uint64(kernel.word(root, 1 + SYMBOLS.index(symbol)))
    halt = np.array([_minute(HALT), _minute(REOPENING)])
    kernel.simulate(ints, first, _constants(listing), market, own, halt)

    minutes = np.arange(first, last)
    kept = (minutes < _minute(GAP)) | (minutes >= _minute(REOPENING))
    ints, minutes = ints[kept], minutes[kept]
    tick, lot = 10.0**listing.tick, 10.0**listing.lot
    columns = {
        "open": ints[:, kernel.OPEN] / tick,
        "high": ints[:, kernel.HIGH] / tick,
        "low": ints[:, kernel.LOW] / tick,
        "close": ints[:, kernel.CLOSE] / tick,
        "volume": ints[:, kernel.VOLUME] / lot,
        "quote_volume": ints[:, kernel.QUOTE] / (tick * lot),
        "trades": ints[:, kernel.TRADES].astype(np.float64),
        "taker_buy_volume": ints[:, kernel.TAKER] / lot,
        "taker_buy_quote_volume": ints[:, kernel.TAKER_QUOTE] / (tick * lot),
    }
    origin = int(timeframes.to_ms(pd.DatetimeIndex([ORIGIN]))[0])
    return pd.DataFrame(columns, index=timeframes.from_ms(origin + minutes * timeframes.MINUTE))


def _minute(moment: pd.Timestamp) -> int:
    return int((moment - ORIGIN) // pd.Timedelta(1, "min"))


def _constants(listing: _Listing) -> kernel.Ints:
    """A listing in the kernel's whole numbers, in its order."""
    return np.array(
        [
            round(listing.price * 10**listing.tick),
            listing.trades,
            round(listing.size * 10**listing.lot),
            round(listing.common * kernel.STEP_PER_VOLATILITY),
            round(listing.own * kernel.STEP_PER_VOLATILITY),
            round(listing.activity * 65536),
        ],
        dtype=np.int64,
    )


def _resampled(minutes: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    if timeframe == "1m" or len(minutes) < 2:
        # Only 12:39, the last minute before the gap, can be alone: it opens its bin of 3 minutes.
        return minutes
    # The span is made of whole bins, so what a halt cuts off at its edge is whole none the less.
    return resample(minutes, timeframe, partial=True)
