"""A slow, obvious walk-forward: a sweep and a backtest for each window, then one bar at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import naive
import pandas as pd

import astraquant as aq


@dataclass
class Walk:
    """Its windows, and for each bar out of sample what is wanted after it."""

    windows: list[dict[str, Any]] = field(default_factory=list)
    position: pd.Series | None = None
    run: Any = None


def best_of(table: pd.DataFrame, metric: str) -> tuple[Any, ...] | None:
    """The first row that no other beats."""
    best, value = None, None
    for row, figure in table[metric].items():
        if pd.isna(figure):
            continue
        better = value is None or (figure < value if metric in LOWER else figure > value)
        if better:
            best, value = row, figure
    return best


LOWER = ("turnover", "fees_paid", "fills_without_volume")


def walk_forward(
    candles: pd.DataFrame,
    strategy: Any,
    *,
    train: pd.Timedelta,
    test: pd.Timedelta,
    step: pd.Timedelta,
    anchored: bool,
    metric: str,
    grid: dict[str, Any],
    options: dict[str, Any],
) -> Walk:
    """Go through all windows; ``options`` are those of a backtest."""
    timeframe = options["timeframe"]
    bars = aq.resample(candles, timeframe)
    first, last = bars.index[0], bars.index[-1]
    length = pd.Timedelta(timeframe)
    names = list(grid)
    found, decided = Walk(), {}
    test_start = first + train
    while test_start <= last:
        test_end = min(test_start + test, last + length)
        train_start = first if anchored else test_start - train
        row, in_sample, out_of_sample = None, None, None
        if within(bars, train_start, test_start):
            table = aq.sweep(
                candles, strategy, start=train_start, end=test_start, **options, **grid
            )
            row = best_of(table.table, metric)
        if row is not None:
            in_sample = table.table.loc[row, metric]
            chosen = dict(zip(names, row, strict=True))
            if within(bars, test_start, test_end):
                out = aq.backtest(
                    candles, strategy, start=test_start, end=test_end, **options, **chosen
                )
                out_of_sample = out.metrics[metric]
            decided[test_start] = aq.backtest(candles, strategy, **options, **chosen).position
        found.windows.append(
            {
                "train_start": train_start,
                "train_end": test_start,
                "test_start": test_start,
                "test_end": test_end,
                "row": row,
                "in_sample": in_sample,
                "out_of_sample": out_of_sample,
            }
        )
        test_start += step
    stitch(found, bars, decided, options, candles)
    return found


def within(bars: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> bool:
    return any(start <= time < end for time in bars.index)


def stitch(found: Walk, bars: pd.DataFrame, decided: dict, options: dict, candles: Any) -> None:
    """What is wanted after each bar: as the window says in which that is filled."""
    starts = [window["test_start"] for window in found.windows]
    times = list(bars.index)
    wanted = []
    for i, time in enumerate(times):
        filled = time
        if options["fill"] == "open" and i + 1 < len(times):
            filled = times[i + 1]
        on = [start for start in starts if start <= filled]
        wanted.append(int(decided[on[-1]].iloc[i]) if on and on[-1] in decided else 0)
    begin = next(i for i, time in enumerate(times) if time >= starts[0])
    table = bars.iloc[begin:]
    stops = {n: options[n] for n in ("stop_loss", "take_profit", "trailing_stop") if n in options}
    found.position = pd.Series(wanted[begin:], index=table.index)
    found.run = naive.run(
        wanted[begin:],
        table["open"].tolist(),
        table["close"].tolist(),
        fill=options["fill"],
        cost=options["cost"],
        slippage=options["slippage"],
        cash=10_000.0,
        before=wanted[begin - 1],
        stops=stops,
        watched=[inside(candles, time, options["timeframe"]) for time in table.index],
    )


def inside(candles: pd.DataFrame, time: pd.Timestamp, timeframe: str) -> list[tuple[float, ...]]:
    part = candles[(candles.index >= time) & (candles.index < time + pd.Timedelta(timeframe))]
    return list(part[["open", "high", "low"]].itertuples(index=False, name=None))
