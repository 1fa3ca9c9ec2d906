"""What a live chart shows: the feed's minutes as bars of its timeframe, and the part in view.

Nothing here draws; tables and numbers in, tables and numbers out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..candles import COLUMNS, PRICES, Candle, describe_bad, times_of
from ..resampling import CandleBuilder, resample
from ..timeframes import DURATIONS, next_start
from . import style

FEWEST, MOST = 20, 500  # candles in view
ROOM = 0.03  # of the view stays free beyond the newest candle
Array = np.ndarray[Any, Any]


class Bars:
    """A feed's minutes as candles of ``timeframe``: those that are closed, and the one that isn't.

    minutes: closed candles of one minute, a candle table. What can't be drawn is left out.
    """

    def __init__(self, minutes: pd.DataFrame, timeframe: str) -> None:
        self.timeframe = timeframe
        minutes = drawable(minutes)
        self.closed = minutes
        self._after = 0  # a minute before this is over
        self._part = CandleBuilder(timeframe, partial=True)
        if len(minutes):
            self._after = next_start(int(times_of(minutes)[-1]), "1m")
        if timeframe != "1m":
            self.closed = resample(minutes, timeframe) if len(minutes) > 1 else minutes.iloc[:0]
            over = times_of(self.closed)[-1:] + DURATIONS[timeframe]
            for candle in _candles(minutes[times_of(minutes) >= (over[0] if len(over) else 0)]):
                self._part.add_candle(candle)

    def forming(self, minute: Candle | None) -> Candle | None:
        """The candle that is not over, ``minute`` (the feed's forming one) included.

        None if nothing of it is known. A minute that is closed already counts for nothing.
        """
        if minute is None or minute.time < self._after or not is_drawable(minute):
            return self._part.forming
        part = copy.copy(self._part)  # the minute is not over: its next version replaces this one
        part.add_candle(minute)
        return part.forming


def drawable(candles: pd.DataFrame) -> pd.DataFrame:
    """The candles without those that are none: a single NaN would blank the whole picture."""
    first, high, low, last, volume = (candles[name].to_numpy() for name in COLUMNS)
    good = (low > 0) & (high < np.inf) & (volume >= 0) & (volume < np.inf)  # False for a NaN
    for price in (first, last):
        good &= (low <= price) & (price <= high)
    return candles if good.all() else candles[good]


def is_drawable(candle: Candle) -> bool:
    """Whether one candle can be drawn."""
    return not describe_bad({name: float(getattr(candle, name)) for name in COLUMNS})


def _candles(table: pd.DataFrame) -> list[Candle]:
    known = [name for name in Candle._fields[1:] if name in table]
    rows = zip(times_of(table).tolist(), *(table[name].tolist() for name in known), strict=True)
    return [Candle(time, **dict(zip(known, values, strict=True))) for time, *values in rows]


@dataclass(frozen=True)
class View:
    """Which part of time is in view: ``count`` bars up to ``end`` (ms; None: the newest)."""

    count: int = 200
    end: int | None = None

    @property
    def follows(self) -> bool:
        """Whether the newest candle stays in view."""
        return self.end is None

    def window(self, newest: int, timeframe: str) -> tuple[int, int]:
        """First and last moment in view (ms), when the newest bar opens at ``newest``."""
        bar = DURATIONS[timeframe]
        end = self.end
        if end is None:
            end = newest + bar // 2 + max(bar, round(ROOM * self.count * bar))
        return end - self.count * bar, end

    def zoomed(self, factor: float) -> View:
        """So many times as many bars, within what can be told apart; the end stays."""
        return replace(self, count=int(np.clip(round(self.count * factor), FEWEST, MOST)))

    def held(self, window: tuple[int, int], timeframe: str) -> View:
        """The view that stays at ``window``, as a user has moved it."""
        count = round((window[1] - window[0]) / DURATIONS[timeframe])
        return View(int(np.clip(count, FEWEST, MOST)), window[1])

    def moved(self, share: float, newest: int, timeframe: str) -> View:
        """``share`` of its width later (or earlier, if it is below 0), and no longer following."""
        start, end = self.window(newest, timeframe)
        return View(self.count, end + round(share * (end - start)))


def price_range(
    candles: pd.DataFrame, forming: Candle | None, lines: dict[str, pd.Series]
) -> tuple[float, float]:
    """Where the price axis begins and ends, so that all that is in view has room."""
    values = [candles[list(PRICES)].to_numpy().ravel()]
    values += [line.to_numpy(float) for line in lines.values()]
    if forming is not None:
        values.append(np.array([forming.high, forming.low]))
    found = np.concatenate(values)
    found = found[np.isfinite(found)]
    return style.nice_range(found, 0.06) if len(found) else (0.0, 1.0)
