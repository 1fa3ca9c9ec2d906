"""What makes a plain function of arrays an indicator: its series and its parameters are checked."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt

from .errors import StrategyError

P = ParamSpec("P")
R = TypeVar("R")
Floats = npt.NDArray[np.float64]


def indicator(
    *, series: int, check: Callable[..., None] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function whose first ``series`` parameters are series, the remaining ones scalars.

    The series reach it as read-only, C-contiguous float64 arrays of one length. A scalar annotated
    ``int`` is a number of bars (a whole number >= 1), one annotated ``float`` a positive number;
    ``check`` gets all scalars, already plain, for what they have to keep among themselves.
    Whatever breaks these rules is a ``StrategyError``.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        names = list(signature.parameters)
        plain = cast(Callable[..., R], function)
        rules = [
            _number if parameter.annotation in ("float", float) else _bars
            for parameter in list(signature.parameters.values())[series:]
        ]

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: tuple[Any, ...] = args
            if kwargs or len(given) != len(names):
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                given = tuple(bound.arguments.values())
            scalars = [
                rule(function.__name__, name, value)
                for rule, name, value in zip(rules, names[series:], given[series:], strict=True)
            ]
            if check is not None:
                check(*scalars)
            arrays = _arrays(function.__name__, names[:series], given[:series])
            return plain(*arrays, *scalars)

        return call

    return decorate


def _bars(indicator: str, name: str, value: object) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < 1:
        raise StrategyError(
            f"{indicator}: {name} is {value!r}; expected a whole number of bars, 1 or more, "
            f"such as {name}=20"
        )
    return int(value)


def _number(indicator: str, name: str, value: object) -> float:
    if (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not 0 < value < math.inf
    ):
        raise StrategyError(
            f"{indicator}: {name} is {value!r}; expected a positive number, such as {name}=2.0"
        )
    return float(value)


def _arrays(indicator: str, names: list[str], values: tuple[Any, ...]) -> list[Floats]:
    arrays = [_array(indicator, name, value) for name, value in zip(names, values, strict=True)]
    if len({len(array) for array in arrays}) > 1:
        lengths = ", ".join(
            f"{name} {len(array)}" for name, array in zip(names, arrays, strict=True)
        )
        raise StrategyError(
            f"{indicator}: its series have different lengths ({lengths}); "
            "expected one value per bar in each, from the same candles"
        )
    return arrays


def _array(indicator: str, name: str, value: object) -> Floats:
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of lists of different lengths
        raise StrategyError(f"{indicator}: {name} is not one series of numbers: {error}") from None
    if array.ndim != 1:
        raise StrategyError(
            f"{indicator}: {name} has shape {array.shape}; expected one series (1-D), "
            "such as candles.close"
        )
    if array.dtype.kind not in "fiu" and array.size:
        raise StrategyError(
            f"{indicator}: {name} holds {array.dtype} values; expected numbers "
            "(where(condition, 1.0, 0.0) makes numbers of booleans)"
        )
    # Always a read-only view: one array type for the compiler, whether pandas hands out read-only
    # memory (it does, of copy-on-write columns) or numpy writable memory.
    view = np.ascontiguousarray(array, dtype=np.float64).view()
    view.flags.writeable = False
    return view
