"""Entries and exits on the explorer's price panel: as many as a browser draws at once."""

from __future__ import annotations

from typing import Any

import bqplot as bq
import numpy as np
import pandas as pd

from ..backtesting import Backtest
from ..timeframes import to_ms
from . import style

Array = np.ndarray[Any, Any]
MARKED_TRADES = 120  # two markers each; more can't be told apart, and slow a browser down
_KINDS = {  # direction, which end -> marker, sign, words
    (1, "entry"): ("triangle-up", "▲", "long entry"),
    (1, "exit"): ("triangle-down", "▽", "long exit"),
    (1, "open"): ("circle", "○", "long still open"),
    (-1, "entry"): ("triangle-up", "▲", "short entry"),
    (-1, "exit"): ("triangle-down", "▽", "short exit"),
    (-1, "open"): ("circle", "○", "short still open"),
}
Entry = tuple[str, str, str]  # of a legend


class Markers:
    """One mark for each kind of end that a trade has."""

    def __init__(self, scales: dict[str, Any]) -> None:
        self._marks = {key: _scatter(scales, *key) for key in _KINDS}
        self.marks = list(self._marks.values())

    def take(self, result: Backtest, last_time: float, last_price: float) -> None:
        """Mark the trades of ``result`` from now on; an open one ends at the last bar."""
        trades = result.trades
        self._direction = trades["direction"].to_numpy()
        self._open = trades["exit_time"].isna().to_numpy()
        entries = to_ms(pd.DatetimeIndex(trades["entry_time"])).astype(np.float64)
        exits = np.full(len(trades), last_time)
        exits[~self._open] = to_ms(pd.DatetimeIndex(trades["exit_time"][~self._open]))
        prices = trades["exit_price"].to_numpy(float)
        self._times = entries, exits
        self._prices = (
            trades["entry_price"].to_numpy(float),
            np.where(self._open, last_price, prices),
        )

    def draw(self, start: float, end: float, window: tuple[float, float]) -> list[Entry]:
        """Mark the trades that lie in [start, end]; returns what the legend says of them.

        ``window``: what is in view of that. Of too many trades some are marked, evenly spread.
        """
        entries, exits = self._times
        chosen = np.flatnonzero((entries <= end) & (exits >= start))
        if len(chosen) > MARKED_TRADES:
            spread = np.linspace(0, len(chosen) - 1, MARKED_TRADES).round().astype(int)
            chosen = chosen[spread]
        size = int(np.clip(1_600 // max(len(chosen), 1), 14, 64))  # square pixels
        said: list[Entry] = []
        for (side, end_kind), mark in self._marks.items():
            at_entry = end_kind == "entry"
            kept = self._direction[chosen] == side
            if not at_entry:
                kept &= self._open[chosen] == (end_kind == "open")
            which = chosen[kept]
            times, prices = self._times[not at_entry][which], self._prices[not at_entry][which]
            _set(mark, times, prices, 90 if end_kind == "open" else size)
            if len(which):
                said.append((_KINDS[side, end_kind][1], _colour(side), _KINDS[side, end_kind][2]))
        said.append(("", style.TEXT, self._count(chosen, window)))
        return said

    def _count(self, marked: Array, window: tuple[float, float]) -> str:
        """How many trades are in view, and how many of them are marked."""
        entries, exits = self._times
        in_view = (entries <= window[1]) & (exits >= window[0])
        seen, some = int(in_view.sum()), int(in_view[marked].sum())
        still = int(self._open[in_view].sum())
        where = "" if seen == len(entries) else " in view"
        if not seen:
            return f"no trade{where}"
        count = f"{seen:,} trade{'s' if seen > 1 else ''}{where}"
        count += f", {still} of them open" if still else ""
        return count if some == seen else f"{count}; {some:,} are marked: zoom in to see all"


def _scatter(scales: dict[str, Any], side: int, end: str) -> bq.Scatter:
    return bq.Scatter(
        x=np.array([]),
        y=np.array([]),
        scales=scales,
        marker=_KINDS[side, end][0],
        colors=[_colour(side)],
        stroke=_colour(side),
        fill=end == "entry",
        stroke_width=1.3,
        default_size=64,
    )


def _set(mark: bq.Scatter, times: Array, prices: Array, size: int) -> None:
    with mark.hold_sync():
        mark.x, mark.y = times, prices
        mark.default_size = size


def _colour(side: int) -> str:
    return style.LONG if side > 0 else style.SHORT
