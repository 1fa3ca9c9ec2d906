"""The strategies that come with the package: a few lines each."""

from __future__ import annotations

from typing import Annotated, Any

from ..indicators import sma
from .definition import Range, strategy
from .language import crossed_above, crossed_below, hold


@strategy(valid=lambda short, long: short < long)
def ma_cross(
    candles: Any,
    short: Annotated[int, Range(1, 400)] = 50,
    long: Annotated[int, Range(2, 800)] = 200,
) -> Any:
    """Long from where the short average crosses above the long one until it crosses below."""
    fast, slow = sma(candles.close, short), sma(candles.close, long)
    return hold(enter=crossed_above(fast, slow), exit=crossed_below(fast, slow))
