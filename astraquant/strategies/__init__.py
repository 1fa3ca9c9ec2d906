"""Strategies: how one is written, and the built-in ones."""

from typing import TYPE_CHECKING

from ..errors import unknown
from .builtin import ma_cross
from .definition import Range, Strategy, strategy
from .language import crossed_above, crossed_below, hold, where
from .plugins import find_strategy, load_strategies

__all__ = [
    "Range",
    "Strategy",
    "crossed_above",
    "crossed_below",
    "find_strategy",
    "hold",
    "load_strategies",
    "ma_cross",
    "strategy",
    "where",
]

if not TYPE_CHECKING:  # a checker knows the names already

    def __getattr__(name: str) -> object:
        raise AttributeError(f"module {__name__!r}: {unknown('name', name, __all__)}")
