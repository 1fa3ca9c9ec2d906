"""Slow, obvious resampling: one bar at a time, by the calendar of the standard library."""

from __future__ import annotations

import datetime as dt

from astraquant.timeframes import DURATIONS

EPOCH = dt.datetime(1970, 1, 1)
MONDAY = dt.datetime(1970, 1, 5)


def bin_of(time: int, timeframe: str) -> tuple[int, int]:
    """The half-open bin, as (start, end) in ms, that holds the moment ``time`` (ms)."""
    moment = EPOCH + dt.timedelta(milliseconds=time)
    if timeframe == "1M":
        start = dt.datetime(moment.year, moment.month, 1)
        end = dt.datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1)
    else:
        length = dt.timedelta(milliseconds=DURATIONS[timeframe])
        origin = MONDAY if timeframe == "1w" else EPOCH
        start = origin + (moment - origin) // length * length
        end = start + length
    return tuple((edge - EPOCH) // dt.timedelta(milliseconds=1) for edge in (start, end))  # type: ignore[return-value]


def naive_resample(
    bars: list[tuple[float, ...]], source: str, timeframe: str, partial: bool = False
) -> list[tuple[float, ...]]:
    """Rows (time, open, high, low, close, sums...) of ``source`` joined into ``timeframe``."""
    bins: dict[tuple[int, int], list[tuple[float, ...]]] = {}
    for bar in bars:
        bins.setdefault(bin_of(int(bar[0]), timeframe), []).append(bar)
    result = []
    for (start, end), members in bins.items():
        begins_late = members[0] is bars[0] and bars[0][0] != start
        ends_early = members[-1] is bars[-1] and bars[-1][0] + DURATIONS[source] != end
        if not partial and (begins_late or ends_early):
            continue
        totals = []
        for place in range(5, len(bars[0])):
            total = 0.0
            for bar in members:
                total += bar[place]
            totals.append(total)
        high, low = max(bar[2] for bar in members), min(bar[3] for bar in members)
        result.append((start, members[0][1], high, low, members[-1][4], *totals))
    return result
