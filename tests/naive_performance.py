"""Slow, obvious versions of how a run went over time: one bar at a time, in plain Python."""

from __future__ import annotations

import math
import statistics
from typing import Any


def drawdowns(equity: list[float], cash: float) -> list[dict[str, Any]]:
    """Every fall below the highest equity so far, in time order; None where there is no bar."""
    falls: list[dict[str, Any]] = []
    height, at_height, open_fall = cash, None, None
    for bar, money in enumerate(equity):
        if money >= height:
            if open_fall:
                open_fall["recovery"] = bar
                open_fall = None
            height, at_height = money, bar
            continue
        if open_fall is None:
            open_fall = {"peak": at_height, "depth": 0.0, "recovery": None, "bars": 0}
            falls.append(open_fall)
        open_fall["bars"] += 1
        if money / height - 1.0 < open_fall["depth"]:
            open_fall["depth"], open_fall["valley"] = money / height - 1.0, bar
    return falls


def monthly(times: list[Any], equity: list[float], cash: float) -> dict[tuple[int, int], float]:
    """Return by (year, month)."""
    last: dict[tuple[int, int], float] = {}
    for time, money in zip(times, equity, strict=True):
        last[time.year, time.month] = money
    found, before = {}, cash
    for month, money in last.items():
        found[month] = money / before - 1.0
        before = money
    return found


def sharpe(returns: list[float], bars_per_year: float) -> float:
    """NaN without two returns or without variance."""
    if len(returns) < 2 or statistics.stdev(returns) < 1e-12:
        return math.nan
    return statistics.fmean(returns) / statistics.stdev(returns) * math.sqrt(bars_per_year)
