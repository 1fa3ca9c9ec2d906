"""The combinations that a sweep tries."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Set, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import StrategyError
from .moments import BYTES_PER_BLOCK, FEWEST_BLOCKS
from .runs import OPTIONS, STOPS, Options
from .stops import NONE
from .strategies.definition import Strategy
from .timeframes import check_timeframe

OPTION_LEVELS = ("timeframe", "cost", *STOPS)  # the options that may be swept
# Measured: 600 of the table of figures, its index, and while both are made; and the sums of returns
# over as few blocks of time as there may be.
BYTES_PER_ROW = 600 + FEWEST_BLOCKS * BYTES_PER_BLOCK


@dataclass(frozen=True, slots=True)
class Grid:
    """What is tried: ``levels`` (name -> its values) and ``fixed``, the other arguments.

    ``rows``: one tuple of level values per valid combination; ``skipped``: how many were not valid.
    """

    levels: dict[str, tuple[Any, ...]]
    fixed: dict[str, Any]
    rows: list[tuple[Any, ...]]
    skipped: int

    def arguments(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """All arguments of one combination by name."""
        return {**self.fixed, **dict(zip(self.levels, row, strict=True))}

    def indexed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of levels as the rows have them: a stop that is None is infinite there."""
        return {n: NONE if v is None and n in STOPS else v for n, v in values.items()}


def make_grid(strategy: Strategy, arguments: Mapping[str, Any], memory_limit: int = 2**30) -> Grid:
    """The combinations of ``arguments`` (parameters, timeframe, cost, stops): iterables are levels.

    Raises `StrategyError` or `DataError` for names and values that the strategy or the options
    don't know, for an empty level, where no combination is valid, and where there are more than a
    table of ``memory_limit`` bytes can hold.
    """
    levels: dict[str, tuple[Any, ...]] = {}
    fixed: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in OPTION_LEVELS:
            strategy.check_name(name, (*OPTIONS, "engine", "memory_limit"))
        if _has_several(name, value):
            if isinstance(value, Sized):  # before anything goes through them
                _check_count({name: len(value)}, memory_limit)
            levels[name] = _level(strategy, name, value)
        else:
            fixed[name] = value
    if not levels:
        name = next(iter(strategy.parameters), "cost")
        raise StrategyError(
            "nothing to sweep: no argument has several values. Give one a list or a range, such "
            f"as {name}=[...], or use backtest for a single run"
        )
    for name, parameter in strategy.parameters.items():
        if name not in levels:
            fixed[name] = parameter.value(fixed)
    count = math.prod(map(len, levels.values()))
    _check_count({name: len(values) for name, values in levels.items()}, memory_limit)
    rows = _valid_rows(strategy, levels, fixed)
    if not rows:
        raise StrategyError(
            f"none of the {count:,} combinations of {', '.join(levels)} is valid for "
            f"{strategy.name}; expected {strategy.rule}"
        )
    return Grid(levels, fixed, rows, count - len(rows))


def check_memory_limit(value: object) -> None:
    """Raise `StrategyError` unless ``value`` is a number of bytes."""
    if not isinstance(value, int | np.integer) or value <= 0:
        raise StrategyError(
            f"memory_limit={value!r}: expected a whole number of bytes, such as 2**30"
        )


def _check_count(sizes: Mapping[str, int], memory_limit: int) -> None:
    """Raise `StrategyError` if a table of so many combinations is larger than the limit."""
    count = math.prod(sizes.values())
    if count * BYTES_PER_ROW > memory_limit:
        listed = " × ".join(f"{size:,} of {name}" for name, size in sizes.items())
        raise StrategyError(
            f"{count:,} combinations ({listed}): their table alone needs about "
            f"{count * BYTES_PER_ROW:,} bytes, more than memory_limit={memory_limit:,}. Take fewer "
            "values (a coarser step), sweep part by part, or raise the limit"
        )


def _valid_rows(
    strategy: Strategy, levels: Mapping[str, tuple[Any, ...]], fixed: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """The combinations that the strategy's rule allows, in order."""
    rows = itertools.product(*levels.values())
    rule = strategy.valid
    if rule is None:
        return list(rows)
    given = {name: fixed[name] for name in strategy.rule_names if name in fixed}
    places = [(name, place) for place, name in enumerate(levels) if name in strategy.rule_names]
    return [row for row in rows if rule(**given, **{name: row[k] for name, k in places})]


def _has_several(name: str, value: object) -> bool:
    if isinstance(value, np.ndarray) and value.ndim != 1:
        raise StrategyError(
            f"{name} is an array of shape {value.shape}; expected one value or a list of values"
        )
    if isinstance(value, Mapping | Set):
        raise StrategyError(
            f"{name} is a {type(value).__name__}, which has no order of its own; expected a list"
        )
    return isinstance(value, Iterable) and not isinstance(value, str)


def _level(strategy: Strategy, name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of one level, plain and checked; none may stand twice."""
    listed = list(values)
    if name in strategy.parameters:
        listed = [strategy.parameters[name].check(value) for value in listed]
    elif name == "cost":
        listed = [Options(cost=value).cost for value in listed]
    elif name in STOPS:
        listed = [_stop(name, value) for value in listed]
    else:
        listed = [check_timeframe(value) for value in listed]
    if not listed:
        raise StrategyError(f"{name} is empty; expected at least one value to try")
    twice = next((value for value, count in Counter(listed).items() if count > 1), None)
    if twice is not None:
        raise StrategyError(f"{name} has the value {twice!r} twice; give each value once")
    return tuple(listed)


def _stop(name: str, value: object) -> float:
    """A stop as a number that an index can hold: infinite for none."""
    checked = getattr(Options(**{name: value}), name)  # type: ignore[arg-type]
    return NONE if checked is None else float(checked)
