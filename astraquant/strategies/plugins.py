"""Strategies by name: the built-in ones and those of installed packages."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ..errors import StrategyError, unknown
from . import builtin
from .definition import Strategy

GROUP = "astraquant.strategies"
BUILT_IN = "built in"


@dataclass(frozen=True, slots=True)
class Listed:
    """One strategy by its ``name``; ``origin``: "built in", or a package and its version.

    ``strategy`` is None where a plug-in can't be used, and ``error`` says why; ``entry``: where the
    package says that it lies.
    """

    name: str
    origin: str
    strategy: Strategy | None
    error: str = ""
    entry: str = ""


def list_strategies() -> list[Listed]:
    """All strategies: the built-in ones, then entry points of ``astraquant.strategies``, by name.

    A plug-in that can't be loaded, or that takes a name already taken, is listed with its error.
    """
    own = [s for s in vars(builtin).values() if isinstance(s, Strategy)]
    listed = [Listed(s.name, BUILT_IN, s) for s in own]
    taken = {s.name for s in own}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _origin(entry))):
        found = _load(entry, taken)
        listed.append(found)
        if found.strategy is not None:
            taken.add(found.name)
    return listed


def _load(entry: EntryPoint, taken: set[str]) -> Listed:
    try:
        loaded = entry.load()
        if not isinstance(loaded, Strategy):
            raise StrategyError(f"{entry.value} is no strategy; decorate it with @strategy")
        if entry.name in taken:
            raise StrategyError(f"the name {entry.name!r} is taken already; choose another")
    except (Exception, SystemExit) as error:  # any fault of a foreign package stays its own
        told = (
            str(error) if isinstance(error, StrategyError) else f"{type(error).__name__}: {error}"
        )
        return Listed(entry.name, _origin(entry), None, told, entry.value)
    return Listed(entry.name, _origin(entry), loaded, "", entry.value)


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"


def load_strategies() -> dict[str, Strategy]:
    """All strategies that can be used, by name: the built-in ones, then those of packages.

    A plug-in that can't be loaded, or that takes a name already taken, is left out with a warning
    that says why; it harms nothing else.
    """
    found = {}
    for listed in list_strategies():
        if listed.strategy is None:
            warnings.warn(
                f"strategy plug-in {listed.name!r} ({listed.entry}) left out: {listed.error}",
                stacklevel=2,
            )
        else:
            found[listed.name] = listed.strategy
    return found


def find_strategy(name: str) -> Strategy:
    """The strategy of that name; `StrategyError` with the nearest name if there is none.

    For a plug-in that can't be used the error says why.
    """
    own = vars(builtin).get(name)
    if isinstance(own, Strategy):  # no package's business
        return own
    listed = list_strategies()
    for one in listed:
        if one.name == name and one.strategy is not None:
            return one.strategy
    for one in listed:
        if one.name == name:
            raise StrategyError(f"strategy plug-in {name!r} of {one.origin}: {one.error}")
    known = [one.name for one in listed if one.strategy is not None]
    raise StrategyError(unknown("strategy", name, known))
