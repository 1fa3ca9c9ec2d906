"""Strategies by name: the built-in ones and those of installed packages."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points

from ..errors import StrategyError, unknown
from . import builtin
from .definition import Strategy

GROUP = "astraquant.strategies"


def load_strategies() -> dict[str, Strategy]:
    """All strategies by name: the built-in ones, then entry points of ``astraquant.strategies``.

    A plug-in that can't be loaded, or that takes a name already taken, is left out with a warning
    that says why; it harms nothing else.
    """
    found = {s.name: s for s in vars(builtin).values() if isinstance(s, Strategy)}
    for entry in entry_points(group=GROUP):
        try:
            loaded = entry.load()
            if not isinstance(loaded, Strategy):
                raise StrategyError(f"{entry.value} is no strategy; decorate it with @strategy")
            if entry.name in found:
                raise StrategyError(f"the name {entry.name!r} is taken already; choose another")
        except Exception as error:  # any fault of a foreign package stays its own
            warnings.warn(
                f"strategy plug-in {entry.name!r} ({entry.value}) left out: {error}", stacklevel=2
            )
            continue
        found[entry.name] = loaded
    return found


def find_strategy(name: str) -> Strategy:
    """The strategy of that name; `StrategyError` with the nearest name if there is none."""
    strategies = load_strategies()
    if name not in strategies:
        raise StrategyError(unknown("strategy", name, strategies))
    return strategies[name]
