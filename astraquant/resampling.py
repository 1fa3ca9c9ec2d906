"""Candles into coarser candles: whole tables at once, or one trade or candle at a time.

Bins are half-open and labelled by their open time; they start at the UTC epoch (weeks on Monday,
months on the 1st). First open, highest high, lowest low, last close, sums of the rest. Sums are
taken from left to right in both forms, so that the table and the stream agree bit for bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from ._compile import WORTH_A_THREAD, as_input, compiled, side_by_side
from .candles import (
    COLUMNS,
    EXTRA_COLUMNS,
    PRICES,
    SUMS,
    Candle,
    Floats,
    check_candles,
    describe_bad,
    is_joined,
    times_of,
)
from .errors import DataError
from .symbols import map_symbols
from .timeframes import (
    DURATIONS,
    TIMEFRAMES,
    Bins,
    Times,
    bin_starts,
    bins_of,
    check_timeframe,
    from_ms,
    infer_timeframe,
    is_multiple,
    next_start,
)


def resample(candles: pd.DataFrame, timeframe: str, partial: bool = False) -> pd.DataFrame:
    """Join candles into those of a coarser ``timeframe`` (a whole multiple of theirs).

    A bin without any source bar is absent; one with some bars missing is kept, as the exchange's
    own candles are. The first bin is dropped unless the source starts at its start, the last
    unless the source reaches its end: ``partial=True`` keeps both. So a table that holds no whole
    bin gives an empty table. The same timeframe returns the table as it is. The source's timeframe
    is its smallest spacing. A table of several symbols is resampled symbol by symbol and joined
    again, so that a bin which a symbol does not have stays missing.

    Raises `DataError` if the target is finer or no multiple, if a bar lies across the edge of two
    bins, or if there is a column that nobody said how to join.
    """
    if is_joined(candles):
        return map_symbols(candles, lambda alone: resample(alone, timeframe, partial))
    table = check_candles(candles)
    check_timeframe(timeframe)
    _check_partial(partial)
    if len(table) == 0:
        return table
    times = times_of(table)
    source = _source_of(times, timeframe)
    if source == timeframe:
        return table
    _check_joinable(table)
    bins = whole_bins(times, source, timeframe)
    cut_first = not partial and times[0] != bins.start[0]
    cut_last = not partial and times[-1] + DURATIONS[source] != bins.end[-1]
    kept = slice(int(cut_first), len(bins.start) - int(cut_last))
    joined = join_bars({name: table[name].to_numpy() for name in table.columns}, bins)
    columns = {name: joined[name][kept] for name in table.columns}
    result = pd.DataFrame(columns, index=from_ms(bins.start[kept]), copy=False)
    result.attrs = dict(table.attrs)
    return result


def whole_bins(times: Times, source: str, timeframe: str) -> Bins:
    """The bins of ``timeframe`` that bars of ``source`` lie in, each of them wholly.

    ``times``: their open times, increasing. Raises `DataError` if the target is no whole multiple
    of the source, or a bar lies across the edge of two bins.
    """
    _check_multiple(source, timeframe)
    bins = bins_of(times, timeframe)
    length = DURATIONS[source]  # months are never joined: every source has one
    across = _find_across(as_input(times), bins.after, bins.end, length)
    if across >= 0:
        raise _across(int(times[across]), source, timeframe)
    return bins


class CandleBuilder:
    """Builds candles of ``timeframe`` from a stream: `resample`, one trade or candle at a time.

    ``source`` is the timeframe of the candles to come. With it a candle closes as soon as its last
    part is there; without it, or from trades, with the first event of a later bin. Either way the
    closed candles are those of `resample` on the same input, and with ``partial=True`` those and
    `forming` together are all of them. The first bin is dropped unless an event lies at its very
    start (``partial=True`` keeps it).
    """

    def __init__(self, timeframe: str, *, source: str | None = None, partial: bool = False) -> None:
        self.timeframe = check_timeframe(timeframe)
        if source is not None:
            _check_multiple(check_timeframe(source), timeframe)
        self._source = source
        self._partial = _check_partial(partial)
        self._earliest: int | None = None  # the next event may not come before this
        self._forming: Candle | None = None
        self._whole = partial  # whether the forming candle may be handed out when it closes

    @property
    def forming(self) -> Candle | None:
        """The candle that is not closed yet, or None."""
        return self._forming

    def add_trade(
        self, time: int, price: float, quantity: float, buyer_is_maker: bool | None = None
    ) -> list[Candle]:
        """Take one trade (``time``: int ms UTC) and return the candles it closes (0 or 1).

        Trades of one millisecond come in their own order. ``buyer_is_maker`` as the exchange says
        it; None leaves the taker volumes unknown (NaN).
        """
        _check_time(time)
        _check_number("price", price)
        _check_number("quantity", quantity)
        if price == 0:
            raise DataError(f"price is {price!r} at {time} ms, expected a number above 0.")
        if buyer_is_maker is not None and not isinstance(buyer_is_maker, bool | np.bool_):
            raise DataError(f"buyer_is_maker is {buyer_is_maker!r}, expected True, False or None.")
        taker = math.nan if buyer_is_maker is None else (0.0 if buyer_is_maker else quantity)
        amount = price * quantity
        trade = Candle(
            time, price, price, price, price, quantity, amount, 1.0, taker, taker * price
        )
        self._check(trade)
        closed = self._add(trade)
        self._earliest = time
        return closed

    def add_candle(self, candle: Candle) -> list[Candle]:
        """Take one closed candle of the source and return the candles it closes (0, 1 or 2).

        Two: the bin before, whose end was missing, and its own, if it is the last of that too.
        """
        if not isinstance(candle, Candle):
            raise DataError(
                f"expected a Candle(time, open, ...), got a {type(candle).__name__}. "
                "From a row of values: Candle(ms, *row)."
            )
        _check_time(candle.time)
        for name, value in candle._asdict().items():
            if name != "time":
                _check_type(name, value)
        self._check(candle)
        if self._source is None:
            closed = self._add(candle)
            self._earliest = candle.time + 1
            return closed
        end = next_start(candle.time, self._source)
        bin_end = self._end_of_bin(candle.time)
        if end > bin_end:
            raise _across(candle.time, self._source, self.timeframe)
        closed = self._add(candle)
        self._earliest = end
        return closed + self._close() if end == bin_end else closed

    def _check(self, candle: Candle) -> None:
        values = {name: value for name, value in candle._asdict().items() if name in COLUMNS}
        extras = {name: getattr(candle, name) for name in EXTRA_COLUMNS}
        known = {name: value for name, value in extras.items() if not math.isnan(value)}
        problem = describe_bad({**values, **known})
        if problem:
            raise DataError(f"{problem} at {candle.time} ms. Leave this event out, or reload it.")
        if self._earliest is not None and candle.time < self._earliest:
            raise DataError(
                f"the event at {candle.time} ms comes too late: {self._earliest} ms or later was "
                "expected. Sort the events by time and leave out those taken already; after a "
                "revision start a new CandleBuilder."
            )

    def _add(self, part: Candle) -> list[Candle]:
        start = int(bin_starts(np.array([part.time]), self.timeframe)[0])
        forming = self._forming
        if forming is not None and forming.time == start:
            self._forming = _joined(forming, part)
            return []
        closed = self._close()
        if self._earliest is None:
            self._whole = self._partial or part.time == start
        # The batch begins its sums at 0.0, which turns a -0.0 into 0.0; so must the stream.
        sums = {name: 0.0 + getattr(part, name) for name in SUMS}
        self._forming = part._replace(time=start, **sums)
        return closed

    def _close(self) -> list[Candle]:
        closed = [self._forming] if self._forming is not None and self._whole else []
        self._forming = None
        self._whole = True  # only the first bin can lack its start
        return closed

    def _end_of_bin(self, time: int) -> int:
        start = int(bin_starts(np.array([time]), self.timeframe)[0])
        return next_start(start, self.timeframe)


def _check_partial(partial: object) -> bool:
    if not isinstance(partial, bool | np.bool_):
        raise DataError(
            f"partial={partial!r}, expected True (keep the bins that are cut) or False (drop them)."
        )
    return bool(partial)


def _check_time(time: object) -> None:
    """Raise unless ``time`` is in whole milliseconds (1973 to 5138)."""
    if isinstance(time, int | np.integer) and 10**11 <= time < 10**14:
        return
    cure = "From text or a Timestamp: int(pd.Timestamp(time).timestamp() * 1000)."
    if isinstance(time, int | float | np.number) and not isinstance(time, bool):
        if 10**8 <= time < 10**11:
            cure = "It looks like seconds: int(time * 1000)."
        elif 10**14 <= time < 10**17:
            cure = "It looks like microseconds: time // 1000."
        elif 10**17 <= time < 10**20:
            cure = "It looks like nanoseconds: time // 1_000_000."
        else:
            cure = "From a float that is whole: int(time)."
    raise DataError(f"the time {time!r} is not in whole milliseconds since 1970 (UTC). {cure}")


def _check_type(name: str, value: object) -> None:
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool):
        raise DataError(f"{name} is {value!r}, expected a number. Convert it: float({name}).")


def _check_number(name: str, value: float) -> None:
    """Raise unless it is a finite number of 0 or more."""
    _check_type(name, value)
    if not 0 <= value < math.inf:
        raise DataError(f"{name} is {value!r}, expected a finite number of 0 or more.")


def join_bars(columns: Mapping[str, Floats], bins: Bins) -> dict[str, Floats]:
    """All known columns of candles, joined bin by bin; those that are not given hold volumes."""
    names = (*COLUMNS, *EXTRA_COLUMNS)
    joined = np.empty((len(names), len(bins.first)))
    # A kernel takes all columns: in place of one that is not there volume is added up once more.
    given = [as_input(columns[name if name in columns else "volume"]) for name in names]
    prices, sums = tuple(given[: len(PRICES)]), tuple(given[len(PRICES) :])
    halves = [0, len(bins.first) // 2, len(bins.first)]
    work = [
        functools.partial(_join_rows, bins.first, bins.after, prices, sums, joined, begin, end)
        for begin, end in pairwise(halves)
    ]
    if len(given[0]) > WORTH_A_THREAD:
        side_by_side(*work)
    else:
        for half in work:
            half()
    return dict(zip(names, joined, strict=True))


@compiled
def _join_rows(
    first: Times, after: Times, prices: tuple[Floats, ...], sums: tuple[Floats, ...],
    joined: Floats, begin: int, end: int,
) -> None:  # fmt: skip
    """Rows first[k] .. after[k] - 1 into joined[:, k] for k from ``begin`` to ``end`` - 1.

    Sums are taken from left to right.
    (numpy would add in pairs.) One loop for all columns: an addition has to wait for the one before
    it in its own sum, but not for those of the others.
    """
    open_, high, low, close = prices
    volume, quote_volume, trades, taker_volume, taker_quote_volume = sums
    for k in range(begin, end):
        top, bottom = high[first[k]], low[first[k]]
        sum_0 = sum_1 = sum_2 = sum_3 = sum_4 = 0.0
        # Unsigned, a row can't be one counted from the end: the compiler spares a test of each.
        for row in range(np.uint64(first[k]), np.uint64(after[k])):
            top = high[row] if high[row] > top else top
            bottom = low[row] if low[row] < bottom else bottom
            sum_0 += volume[row]
            sum_1 += quote_volume[row]
            sum_2 += trades[row]
            sum_3 += taker_volume[row]
            sum_4 += taker_quote_volume[row]
        joined[0, k] = open_[first[k]]
        joined[1, k] = top
        joined[2, k] = bottom
        joined[3, k] = close[after[k] - 1]
        joined[4, k] = sum_0
        joined[5, k] = sum_1
        joined[6, k] = sum_2
        joined[7, k] = sum_3
        joined[8, k] = sum_4


@compiled
def _find_across(times: Times, after: Times, ends: Times, length: int) -> int:
    """The first row whose bar of ``length`` goes on beyond the end of its bin; -1: none does."""
    for k in range(len(ends)):  # only the last row of a bin can
        if times[after[k] - 1] + length > ends[k]:
            return int(after[k] - 1)
    return -1


def _joined(first: Candle, second: Candle) -> Candle:
    sums = (getattr(first, name) + getattr(second, name) for name in SUMS)
    high, low = max(first.high, second.high), min(first.low, second.low)
    return Candle(first.time, first.open, high, low, second.close, *sums)


def _source_of(times: Times, timeframe: str) -> str:
    if len(times) < 2:
        raise DataError(
            f"one candle can't be resampled to {timeframe}: its own timeframe is the smallest "
            "spacing between candles. Give at least 2."
        )
    source = infer_timeframe(times)
    _check_multiple(source, timeframe)
    return source


def _check_multiple(source: str, timeframe: str) -> None:
    if not is_multiple(timeframe, source):
        possible = ", ".join(name for name in TIMEFRAMES if is_multiple(name, source))
        raise DataError(
            f"{source} candles can't be joined into {timeframe}: expected a whole multiple of "
            f"{source} ({possible}). For {timeframe}, load finer candles."
        )


def _check_joinable(table: pd.DataFrame) -> None:
    others = [name for name in table.columns if name not in COLUMNS and name not in EXTRA_COLUMNS]
    if others:
        raise DataError(
            f"nothing is known about how to join the column(s) {others}; known: "
            f"{', '.join((*COLUMNS, *EXTRA_COLUMNS))}. Leave them out: "
            f"candles.drop(columns={others}), and compute them from the joined candles."
        )


def _across(time: int, source: str, timeframe: str) -> DataError:
    moment = from_ms(np.array([time]))[0]
    return DataError(
        f"the {source} candle at {moment} lies across two bins of {timeframe}: what it says "
        f"belongs to both. Drop it, or load candles that start on whole multiples of {source}."
    )
