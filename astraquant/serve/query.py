"""The text of an address as the arguments of the library's functions.

Every name is known, every value is of its kind; what it means is checked by the function itself,
so that a request is refused in the same words as a call in a notebook.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from ..backtesting import backtest
from ..errors import DataError, StrategyError, unknown
from ..runs import OPTIONS
from ..strategies.definition import Strategy
from ..timeframes import parse_time

TIMES: Final = frozenset({"start", "end"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")  # more digits are no int64
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,4})?", re.IGNORECASE)
_MILLISECONDS = re.compile(r"[0-9]{11,15}")
_ZONE = re.compile(r"(:[0-9]{2}(?:\.[0-9]+)?) ([0-9]{2}:?[0-9]{2})\Z")
_LONGEST = 200  # characters of a value


class Option(NamedTuple):
    """An option of `backtest`: the types it takes (object: a time) and its default."""

    kinds: frozenset[type]
    default: Any


@functools.cache
def run_options() -> dict[str, Option]:
    """The options of `backtest` by name, as its signature has them."""
    hints = get_type_hints(backtest)
    parameters = inspect.signature(backtest).parameters
    return {
        name: Option(
            frozenset(get_args(hints[name]) or (hints[name],)) - {NoneType},
            parameters[name].default,
        )
        for name in OPTIONS
    }


def single(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The query's values by name; `DataError` for a name that is given twice."""
    found: dict[str, str] = {}
    for name, text in pairs:
        if name in found:
            raise DataError(f"{name[:_LONGEST]!r} is given twice; expected it once.")
        if len(text) > _LONGEST:
            raise DataError(
                f"{name[:_LONGEST]} has {len(text):,} characters; expected {_LONGEST} at most."
            )
        found[name] = text
    return found


def check_names(query: Mapping[str, str], path: str, known: Iterable[str]) -> None:
    """Raise `DataError` with the nearest name for a parameter that ``path`` doesn't take."""
    names = list(known)
    for name in query:
        if name not in names:
            raise DataError(unknown(f"parameter of {path}", name[:_LONGEST], names))


def run_arguments(strategy: Strategy, query: Mapping[str, str]) -> dict[str, Any]:
    """The named arguments of `backtest` in a query; ``symbol`` is left out.

    Raises `StrategyError` for an unknown name and for text that is no number where one belongs.
    """
    options = run_options()
    found = {}
    for name, text in query.items():
        if name == "symbol":
            continue
        if name in options:
            found[name] = _option(name, text, options[name].kinds)
        else:
            strategy.check_name(name, [*OPTIONS, "symbol"])
            found[name] = value_of(name, text, strategy.parameters[name].kind)
    return found


def value_of(name: str, text: str, kind: type) -> Any:
    """``text`` as an int, a float or text; `StrategyError` if it isn't one."""
    if kind is str:
        return text
    pattern = _WHOLE if kind is int else _NUMBER
    if not pattern.fullmatch(text):
        expected = "a whole number" if kind is int else "a number"
        raise StrategyError(f"{name}={text!r}: expected {expected}")
    return kind(text)


def time_of(name: str, text: str) -> str | int:
    """A time as `parse_time` takes it: milliseconds are a number there; `DataError` if it is none.

    A plus sign reads as a space in an address: before a zone ("+02:00") it is put back, for the
    space alone would be passed over and the time be another one.
    """
    told = int(text) if _MILLISECONDS.fullmatch(text) else _ZONE.sub(r"\1+\2", text)
    parse_time(told, name)
    return told


def _option(name: str, text: str, kinds: frozenset[type]) -> Any:
    if name in TIMES:
        return time_of(name, text)
    if kinds == {bool}:
        if text not in ("true", "false"):
            raise StrategyError(f"{name}={text!r}: expected true or false")
        return text == "true"
    numbers = kinds & {int, float}
    if not numbers or (str in kinds and not _NUMBER.fullmatch(text)):
        return text
    return value_of(name, text, int if numbers == {int} else float)
