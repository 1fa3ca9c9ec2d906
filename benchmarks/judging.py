"""What a soak is judged by: candles beside the true ones, and what the process held over time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, Candle, candle_table, times_of
from astraquant.feed.core import Update

from .harness import Process

TEN_MINUTES = 600.0


class Verdict(NamedTuple):
    """Closed candles beside the true ones: how many there are, and how many are not right."""

    candles: int
    lost: int
    duplicated: int
    invented: int
    differing: int

    @property
    def is_right(self) -> bool:
        return not any(self[1:])


def compare(candles: pd.DataFrame, truth: pd.DataFrame) -> Verdict:
    """Hold candles against the truth, bit for bit, all columns."""
    columns = [*COLUMNS, *EXTRA_COLUMNS]
    unique = candles[~candles.index.duplicated()]
    common = truth.index.intersection(unique.index)
    pair = (table.reindex(index=common, columns=columns).to_numpy() for table in (unique, truth))
    return Verdict(
        candles=len(truth),
        lost=len(truth) - len(common),
        duplicated=len(candles) - len(unique),
        invented=len(unique) - len(common),
        differing=int((np.not_equal(*pair).any(axis=1)).sum()),
    )


class View:
    """The closed candles as a subscriber knows them: a table to begin with, then updates alone."""

    def __init__(self, candles: pd.DataFrame) -> None:
        rows = zip(times_of(candles).tolist(), *(candles[c].tolist() for c in candles), strict=True)
        self._candles = {row[0]: Candle(*row) for row in rows}
        self.counts: Counter[str] = Counter()
        self.duplicated = 0  # bars that were told as new though they were known
        self.unfounded = 0  # revisions of something that was never told

    def take(self, updates: Iterable[Update]) -> None:
        for update in updates:
            self.counts[update.kind] += 1
            if update.candle is None or update.kind == "forming":
                continue
            if update.kind == "revised":
                self.unfounded += self._candles.get(update.time) != update.before
            else:
                self.duplicated += update.time in self._candles
            self._candles[update.time] = update.candle

    def table(self) -> pd.DataFrame:
        return candle_table(self._candles[time] for time in sorted(self._candles))


class Curve:
    """What the process held over time. ``memory`` in MiB, ``seconds`` since the begin."""

    def __init__(self) -> None:
        self.seconds, self.memory = array("d"), array("d")
        self.threads, self.files = array("q"), array("q")

    def add(self, seconds: float, held: Process | None) -> None:
        if held is not None:
            self.seconds.append(seconds)
            self.memory.append(held.memory / 2**20)
            self.threads.append(held.threads)
            self.files.append(held.files)

    def after(self, warm_up: float) -> Curve:
        """The part that counts."""
        part = Curve()
        first = int(np.searchsorted(self.seconds, warm_up))
        for name in vars(part):
            setattr(part, name, getattr(self, name)[first:])
        return part

    @property
    def slope(self) -> float:
        """MiB in ten minutes, by least squares; NaN for fewer than three samples."""
        if len(self.seconds) < 3:
            return float("nan")
        return float(np.polyfit(self.seconds, self.memory, 1)[0]) * TEN_MINUTES
