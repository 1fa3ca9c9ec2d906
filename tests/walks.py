"""What the tests of walk-forward share: strategies, and tables for them."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import pandas as pd

import astraquant as aq
from astraquant.indicators import previous
from astraquant.strategies import Range, hold, where
from astraquant.timeframes import bars_per_year

PER_YEAR = bars_per_year("1h")

FREE: dict[str, Any] = {"cost": 0.0, "fill": "close"}

SPANS = {"train": "3000h", "test": "1000h"}


@aq.strategy
def lean(candles: Any, back: Annotated[int, Range(1, 500)] = 1, side: int = 1) -> Any:
    """With the last bars (side 1) or against them (-1)."""
    return where(candles.close > previous(candles.close, back), side, -side)


@aq.strategy
def above(candles: Any, level: float = 0.0) -> Any:
    """Long while the close is above a level."""
    return candles.close > level


@aq.strategy
def sticky(candles: Any, low: float = 1.0, high: float = 2.0) -> Any:
    """Long from above one level until below another."""
    return hold(candles.close > high, candles.close < low)


def table(close: Any, *, source: str = "", start: str = "2023-01-01") -> pd.DataFrame:
    """Hourly candles at these closes, each opening where the one before closed."""
    close = np.asarray(close, dtype=float)
    times = pd.date_range(start, periods=len(close), freq="1h", tz="UTC", name="time")
    opens = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opens, close) * 1.003, np.minimum(opens, close) * 0.997
    columns = {"open": opens, "high": high, "low": low, "close": close, "volume": 1.0}
    candles = pd.DataFrame(columns, index=times)
    if source:
        candles.attrs["source"] = source
    return candles


def wandering(seed: int, bars: int) -> pd.DataFrame:
    """Prices on a tick; some opens away from the close before."""
    draw = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(draw.normal(0, 0.01, bars))), 2)
    candles = table(close)
    opens = np.clip(np.round(candles["open"] + draw.normal(0, 0.2, bars), 2), 1, None)
    candles["open"] = opens
    candles["high"] = np.maximum(candles["high"], opens)
    candles["low"] = np.minimum(candles["low"], opens)
    return candles


def best_of(row: pd.Series) -> dict[str, int]:
    return {name: int(row[name]) for name in ("short", "long")}


def turning() -> pd.DataFrame:
    """Ten days that go on as they went, then six that turn at every bar."""
    steps = np.r_[np.repeat([0.02, -0.01] * 10, 12), np.tile([0.004, -0.004], 72)]
    return table(100 * np.exp(np.cumsum(steps)))


def per_bar(result: aq.Backtest) -> float:
    return float(result.metrics["sharpe"]) / math.sqrt(PER_YEAR)
