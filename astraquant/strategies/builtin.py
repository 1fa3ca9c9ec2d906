"""The strategies that come with the package: a few lines each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ..indicators import bollinger, donchian, ema, macd, previous, rsi, sma, wma
from .definition import Range, strategy
from .language import crossed_above, crossed_below, hold

AVERAGES = {"sma": sma, "ema": ema, "wma": wma}


@strategy(valid=lambda short, long: short < long)
def ma_cross(
    candles: Any,
    short: Annotated[int, Range(1, 400)] = 50,
    long: Annotated[int, Range(2, 800)] = 200,
    kind: Literal["sma", "ema", "wma"] = "sma",
) -> Any:
    """Long from where the short average crosses above the long one until it crosses below."""
    average = AVERAGES[kind]
    fast, slow = average(candles.close, short), average(candles.close, long)
    return hold(enter=crossed_above(fast, slow), exit=crossed_below(fast, slow))


@strategy(valid=lambda lower, upper: lower < upper)
def rsi_reversion(
    candles: Any,
    window: Annotated[int, Range(2, 200)] = 14,
    lower: Annotated[float, Range(1, 99)] = 30.0,
    upper: Annotated[float, Range(1, 99)] = 70.0,
) -> Any:
    """Long from where the relative strength falls below lower until it rises above upper."""
    strength = rsi(candles.close, window)
    return hold(enter=strength < lower, exit=strength > upper)


@strategy(valid=lambda fast, slow: fast < slow)
def macd_cross(
    candles: Any,
    fast: Annotated[int, Range(1, 200)] = 12,
    slow: Annotated[int, Range(2, 400)] = 26,
    signal: Annotated[int, Range(1, 200)] = 9,
) -> Any:
    """Long from where the MACD crosses above its signal line until it crosses below."""
    lines = macd(candles.close, fast, slow, signal)
    enter = crossed_above(lines.macd, lines.signal)
    return hold(enter=enter, exit=crossed_below(lines.macd, lines.signal))


@strategy
def bollinger_reversion(
    candles: Any,
    window: Annotated[int, Range(2, 400)] = 20,
    width: Annotated[float, Range(0.1, 5)] = 2.0,
) -> Any:
    """Long from a close below the lower Bollinger band until one above the middle."""
    bands = bollinger(candles.close, window, width)
    return hold(enter=candles.close < bands.lower, exit=candles.close > bands.middle)


@strategy
def donchian_breakout(
    candles: Any,
    enter: Annotated[int, Range(1, 400)] = 20,
    leave: Annotated[int, Range(1, 400)] = 10,
) -> Any:
    """Long from a close above the highest high of the bars before until one below the lowest low.

    ``enter`` and ``leave`` count those bars. The bar that decides is none of them: no close can lie
    above a high that includes its own.
    """
    highest = previous(donchian(candles.high, candles.low, enter).upper)
    lowest = previous(donchian(candles.high, candles.low, leave).lower)
    return hold(enter=candles.close > highest, exit=candles.close < lowest)


@strategy
def momentum(
    candles: Any,
    window: Annotated[int, Range(1, 2_000)] = 100,
    threshold: Annotated[float, Range(0, 1)] = 0.0,
) -> Any:
    """Long while the close exceeds that of window bars ago by more than threshold, a fraction."""
    return candles.close / previous(candles.close, window) - 1 > threshold


@strategy
def buy_and_hold(candles: Any) -> Any:
    """Long from the first bar on: what every other strategy has to beat."""
    return candles.close == candles.close  # wherever there is one
