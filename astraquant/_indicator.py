"""What makes a plain function of arrays an indicator.

Its series and parameters are checked; called with traced series it becomes a node; and whoever runs
a strategy on plain arrays can watch how long its indicators stay unknown.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast, get_type_hints

import numpy as np
import numpy.typing as npt

from .errors import StrategyError, unknown
from .expressions import Call, CannotTrace, Graph, Node, graph_of

P = ParamSpec("P")
R = TypeVar("R")
Floats = npt.NDArray[np.float64]


class Warmup:
    """The first bar at which every indicator called so far is known."""

    def __init__(self) -> None:
        self.first_known = 0

    def see(self, result: Any) -> None:
        """Take the leading unknown values of one indicator's line, or lines, into account."""
        for line in result if isinstance(result, tuple) else (result,):
            known = ~np.isnan(line)
            self.wait_for(int(np.argmax(known)) if known.any() else len(line))

    def wait_for(self, bar: int) -> None:
        """Take into account that something is known from ``bar`` on."""
        self.first_known = max(self.first_known, bar)


_watching: ContextVar[Warmup | None] = ContextVar("astraquant_warmup", default=None)


@contextmanager
def watch_warmup() -> Iterator[Warmup]:
    """Watch the indicators called on arrays within the ``with`` block."""
    warmup = Warmup()
    token = _watching.set(warmup)
    try:
        yield warmup
    finally:
        _watching.reset(token)


def watched() -> Warmup | None:
    """Who watches the indicators called now, if anybody does."""
    return _watching.get()


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
            if args and type(args[0]) is Node and not kwargs:  # a sweep traces the same calls often
                found = args[0].graph.calls.get(_call_key(call, args))
                if found is not None and _of_one_graph(args[:series]):
                    return cast(R, found)
            given: tuple[Any, ...] = args
            if kwargs or len(given) != len(names):
                given = _bound(function.__name__, signature, args, kwargs)
            scalars = [
                rule(function.__name__, name, value)
                for rule, name, value in zip(rules, names[series:], given[series:], strict=True)
            ]
            if check is not None:
                check(*scalars)
            graph = graph_of(given[:series])
            if graph is not None:
                traced = _trace(graph, call, given[:series], tuple(scalars))
                if not kwargs:
                    graph.calls[_call_key(call, args)] = traced
                return cast(R, traced)
            arrays = _arrays(function.__name__, names[:series], given[:series])
            result = plain(*arrays, *scalars)
            warmup = watched()
            if warmup is not None:
                warmup.see(result)
            return result

        return call

    return decorate


def _bound(
    indicator: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """All arguments in the order of the signature."""
    for name in kwargs:
        if name not in signature.parameters:
            raise StrategyError(unknown(f"parameter of {indicator}", name, signature.parameters))
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        usage = f"{indicator}({', '.join(signature.parameters)})"
        raise StrategyError(f"{indicator}: {error}; expected {usage}") from None
    bound.apply_defaults()
    return tuple(bound.arguments.values())


def _call_key(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    # Nodes by number (their == makes nodes), scalars with their type: 5 is not 5.0.
    return (function, *[a.number if type(a) is Node else (a.__class__, a) for a in args])


def _of_one_graph(series: tuple[Any, ...]) -> bool:
    return len(series) == 1 or all(a.graph is series[0].graph for a in series if type(a) is Node)


def _trace(
    graph: Graph, function: Callable[..., Any], series: tuple[Any, ...], scalars: tuple[Any, ...]
) -> Any:
    """The call as a node; an indicator of several lines is a tuple of nodes, one for each."""
    inputs = tuple(_series_node(graph, function.__name__, value) for value in series)
    lines = _lines_of(function)
    if lines is None:
        return graph.node("number", "call", inputs, Call(function, scalars, None))
    return lines(
        *(
            graph.node("number", "call", inputs, Call(function, scalars, i))
            for i in range(len(lines._fields))
        )
    )


def _series_node(graph: Graph, name: str, value: object) -> Node:
    if not isinstance(value, Node):
        raise CannotTrace(f"{name} mixes traced series and {type(value).__name__}")
    node = graph.lift(value)
    if node.kind != "number":
        raise StrategyError(
            f"{name} got a condition; expected a series of numbers "
            "(where(condition, 1.0, 0.0) makes numbers of conditions)"
        )
    if node.op == "higher":
        frame = node.value.timeframe
        raise StrategyError(
            f"{name} of {node!r}, which holds each {frame} value for many bars: it would count "
            f"bars, not those of {frame}. Compute it over {frame} bars, inside higher: "
            f"higher(candles, {frame!r}, lambda h: {name}(h.close, ...))"
        )
    return node


@functools.cache
def _lines_of(function: Callable[..., Any]) -> Any:
    """The named tuple that an indicator of several lines returns; None for a single line."""
    result = get_type_hints(function).get("return")
    return result if hasattr(result, "_fields") else None


def _bars(indicator: str, name: str, value: object) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < 1:
        raise StrategyError(
            f"{indicator}: {name} is {value!r}; expected a whole number of bars, 1 or more, "
            f"such as {name}=20"
        )
    return int(value)


def _number(indicator: str, name: str, value: object) -> float:
    number = as_float(value)
    if not 0 < number < math.inf:
        raise StrategyError(
            f"{indicator}: {name} is {value!r}; expected a positive number, such as {name}=2.0"
        )
    return number


def as_float(value: object) -> float:
    """A Python or numpy number as a float, infinite where too large; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


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
