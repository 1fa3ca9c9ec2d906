"""Strategies: how one is written, and the built-in ones."""

from typing import TYPE_CHECKING

from ..errors import unknown
from .builtin import (
    bollinger_reversion,
    buy_and_hold,
    donchian_breakout,
    ma_cross,
    macd_cross,
    momentum,
    rsi_reversion,
)
from .definition import Range, Strategy, strategy
from .frames import higher
from .language import crossed_above, crossed_below, hold, where
from .plugins import find_strategy, load_strategies

__all__ = [
    "Range",
    "Strategy",
    "bollinger_reversion",
    "buy_and_hold",
    "crossed_above",
    "crossed_below",
    "donchian_breakout",
    "find_strategy",
    "higher",
    "hold",
    "load_strategies",
    "ma_cross",
    "macd_cross",
    "momentum",
    "rsi_reversion",
    "strategy",
    "where",
]

if not TYPE_CHECKING:  # a checker knows the names already

    def __getattr__(name: str) -> object:
        raise AttributeError(f"module {__name__!r}: {unknown('name', name, __all__)}")
