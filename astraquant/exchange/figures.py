"""The figures of a candle table as exact integers, and what its paths will need of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..candles import PRICES, SUMS, Floats, check_candles, times_of
from ..errors import DataError
from ..timeframes import Times, bin_starts, from_ms, infer_timeframe, next_start
from .path import Shape
from .records import PLACES, UNIT
from .units import Decimals, Integers, Totals

_SAFE = 2**62  # products below it fit 64 bits
_NOISE = 1e-12  # what adding up floats leaves behind, as a fraction
_FEW, _SPREAD = 8, 5  # aggregates of a candle: 8 to 12, as its place has it; never more than trades


class Figures:
    """A candle table, row by row, in integers.

    Prices are whole ticks, sums know their unit. ``ids[row]`` and ``agg_ids[row]`` are the first
    trade and aggregate of a row (each has one entry more than there are rows), known before any
    path is made. What the table lacks is made up, the same way each time: takers bought half of the
    volume, the quote volume is volume × (open + high + low + close) / 4, the takers' part of it
    goes with their volume, and there are as many trades as the path has aggregates.

    Raises `DataError` for a table that isn't one, a value with more than 8 decimals (the rounding
    errors of sums, of resampled candles say, are taken off first), trades that are no whole number,
    a bar off the grid of its timeframe.
    """

    def __init__(self, candles: pd.DataFrame) -> None:
        table = check_candles(candles)
        self.times = times_of(table)
        self.timeframe = infer_timeframe(self.times)
        _check_grid(self.times, self.timeframe)
        values = {str(name): table[name].to_numpy() for name in table.columns}
        values |= {name: _as_meant(values[name]) for name in SUMS if name in values}

        prices = Decimals({name: values[name] for name in PRICES}, self.times)
        self.price_decimals, self.tick = prices.places, prices.unit
        self.open, self.high, self.low, self.close = (prices.columns[name] for name in PRICES)

        names = [name for name in ("volume", "taker_buy_volume") if name in values]
        amounts = Decimals({name: values[name] for name in names}, self.times)
        self.quantity_decimals, self.lot = amounts.places, amounts.unit
        lots = amounts.columns["volume"]
        taker = amounts.columns.get("taker_buy_volume", lots // 2)
        self.volume, self.taker_volume = Totals(lots, self.lot), Totals(taker, self.lot)

        quote = self._given("quote_volume", values)
        self.quote = quote or self._typical(lots)
        self.taker_quote = self._given("taker_buy_quote_volume", values) or (
            self._share(lots, taker) if quote else self._typical(taker)
        )
        self._count(lots, taker, values.get("trades"))

    def end(self, row: int) -> int:
        """When a row's bar is over: the open time of the next bar on the grid."""
        return next_start(int(self.times[row]), self.timeframe)

    def is_traded(self, row: int) -> bool:
        """Whether there are trades in a row: there are none without volume."""
        return bool(self.ids[row + 1] > self.ids[row])

    def shape(self, row: int, lot: int) -> Shape | None:
        """A row for `path.walk` in lots of ``lot`` units; None where these are too coarse for it.

        Lots of one unit are never refused.
        """
        trades = int(self.ids[row + 1] - self.ids[row])
        volume = self.volume.sum(row, row + 1)
        quote, uneven = divmod(self.quote.sum(row, row + 1) * UNIT, self.tick * lot)
        bought, odd = divmod(self.taker_quote.sum(row, row + 1) * UNIT, self.tick * lot)
        if lot > 1 and (volume < trades * lot or uneven or odd):
            return None
        return Shape(
            open=int(self.open[row]),
            high=int(self.high[row]),
            low=int(self.low[row]),
            close=int(self.close[row]),
            lots=volume // lot,
            buy_lots=min(self.taker_volume.sum(row, row + 1), volume) // lot,
            quote=quote,
            buy_quote=bought,
            trades=trades,
            steps=int(self.agg_ids[row + 1] - self.agg_ids[row]),
            seed=row,
        )

    def _given(self, name: str, values: dict[str, Floats]) -> Totals | None:
        if name not in values:
            return None
        decimals = Decimals({name: values[name]}, self.times)
        return Totals(decimals.columns[name], decimals.unit)

    def _typical(self, lots: Integers) -> Totals:
        """Quote amounts of ``lots`` at the average of a bar's four prices, in whole tick-lots."""
        prices = self.open + self.high + self.low + self.close
        grain = self.tick * self.lot
        bound = int(prices.max()) * int(lots.max()) * max(1, grain // UNIT)
        wide = prices if bound < _SAFE else prices.astype(object)  # Python's integers: no overflow
        amounts = wide * lots // 4
        return Totals.of(amounts * (grain // UNIT) if grain >= UNIT else amounts // (UNIT // grain))

    def _share(self, lots: Integers, taker: Integers) -> Totals:
        """The part of the quote volumes that goes with the takers' part of the volume."""
        quotes = np.array(self.quote.sums(np.arange(len(lots) + 1)), dtype=object)
        grain = max(1, self.tick * self.lot // UNIT)
        return Totals.of(quotes * taker // np.maximum(lots, 1) // grain * grain)

    def _count(self, lots: Integers, taker: Integers, given: Floats | None) -> None:
        """How many trades and aggregates the path of each row has: enough to make the candle."""
        rising = self.close >= self.open
        first = np.where(rising, self.low, self.high)
        second = np.where(rising, self.high, self.low)
        turns = 1 + (first != self.open) + (second != first) + (self.close != second)
        least = np.where((taker > 0) & (taker < lots), np.maximum(turns, 2), turns)
        wished = _FEW + np.arange(len(lots)) % _SPREAD
        counts = np.minimum(wished, lots) if given is None else self._whole(given)
        made = np.maximum(counts, least)
        # Where a lot a trade is too much, the path is in units of 1e-8 instead; these may run out.
        short = np.flatnonzero(lots < made)
        units = [n * self.lot for n in lots[short].tolist()]
        made[short] = np.maximum(least[short], np.minimum(made[short], units))
        made[lots == 0] = 0
        self.trades = Totals(made if given is None else counts)
        self.ids = np.concatenate(([0], np.cumsum(made)))
        self.agg_ids = np.concatenate(([0], np.cumsum(np.minimum(made, wished))))

    def _whole(self, trades: Floats) -> Integers:
        counts: Integers = np.rint(trades).astype(np.int64)
        wrong = counts != trades
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"trades is {float(trades[row])!r} at {from_ms(self.times)[row]}, expected a whole "
                "number. Round it, or leave the column out: "
                'candles.drop(columns="trades").'
            )
        return counts


def _check_grid(times: Times, timeframe: str) -> None:
    off = bin_starts(times, timeframe) != times
    if off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"the candle at {from_ms(times)[row]} doesn't open on the grid of {timeframe} as an "
            f"exchange's do (such candles in all: {int(off.sum())}). Drop it: candles.drop(time)."
        )


def _as_meant(sums: Floats) -> Floats:
    """Sums of floats, as resampled candles have them, without what adding up left behind.

    From 2**53 units of 1e-8 on no float has further decimals.
    """
    rounded = np.round(sums, PLACES)
    noisy = (np.abs(rounded - sums) <= _NOISE * sums) & (sums * UNIT < 2.0**53)
    return np.where(noisy, rounded, sums)
