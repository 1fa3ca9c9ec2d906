"""Strategies that share one account: a slot of equal size for each, used while it is long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import StrategyError
from .strategies.definition import Strategy
from .strategies.running import Tracer, columns_of, decide, describe
from .universes import Universe

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Slots:
    """A strategy per symbol; each symbol has an equal slot of the one account.

    ``chosen``: by symbol, the strategy and all its parameters; other symbols stay flat.
    """

    title: str
    chosen: Mapping[str, tuple[Strategy, Mapping[str, Any]]]


def is_pair(value: object) -> bool:
    """Whether ``value`` is a strategy with its parameters: ``(ma_cross, {"short": 20})``."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], Strategy)
        and isinstance(value[1], Mapping)
    )


def bind_strategy(value: Any) -> tuple[Strategy, Mapping[str, Any]]:
    """A strategy and all its parameters, of a strategy alone or with some of them."""
    if isinstance(value, Strategy):
        return value, value.bind({})
    if not is_pair(value):
        raise StrategyError(
            f"{value!r}: expected a strategy, or one with its parameters such as "
            '(ma_cross, {"short": 20, "long": 100})'
        )
    return value[0], value[0].bind(dict(value[1]))


def decide_slots(universe: Universe, slots: Slots, rebalance: str | None) -> Array:
    """The weight of each symbol where its strategy changes its position: 1 / slots, or 0.

    (rows, symbols), NaN: leave the symbol alone. Symbols that are held are brought back to their
    slot at each close that is the first at or after the end of a bin of ``rebalance``.
    """
    targets = np.full((len(universe.times), len(universe.symbols)), np.nan)
    ends = np.zeros(len(targets), np.bool_) if rebalance is None else universe.ends_of(rebalance)
    for place, symbol in enumerate(universe.symbols):
        if symbol not in slots.chosen or universe.first_bars[place] == len(targets):
            continue
        held = _positions(universe, symbol, *slots.chosen[symbol])
        before = np.concatenate([[0], held[:-1]])
        before[universe.start] = 0  # the account begins there, in cash
        decided = (held != before) | (ends & (held != 0))
        decided[: universe.start] = False
        targets[decided, place] = held[decided] / len(slots.chosen)
    return targets


def _positions(
    universe: Universe, symbol: str, strategy: Strategy, bound: Mapping[str, Any]
) -> Array:
    """What a strategy holds of its symbol after each row: 0 or 1, the same where it has no bar."""
    candles = universe.candles_of(symbol)
    position = decide(Tracer(strategy), columns_of(candles, universe.timeframe), bound).position
    if (position < 0).any():
        when = candles.index[int(np.argmax(position < 0))]
        raise StrategyError(
            f"{describe(strategy, bound)} is short of {symbol} at {when}; a portfolio sells "
            "nothing short. Let it be flat there (return a condition), or use backtest"
        )
    there = ~np.isnan(universe.columns["close"][:, universe.symbols.index(symbol)])
    latest = np.cumsum(there) - 1  # the symbol's own latest bar
    return np.where(latest >= 0, position[np.maximum(latest, 0)], 0)
