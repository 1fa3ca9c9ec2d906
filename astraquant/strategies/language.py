"""The words a strategy is written with, over arrays and over traced series alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._signals import crossed, held
from ..errors import StrategyError
from ..expressions import graph_of

Array = np.ndarray[Any, np.dtype[Any]]
# What a word takes, by the kinds of dtype.
EXPECTED = {
    "b": "a condition such as a > b",
    "iuf": "a series of numbers, or one number",
    "biuf": "numbers or a condition",
}
MIXED = "where(condition, yes, no): yes and no must both be numbers or both conditions"


def hold(enter: Any, exit: Any) -> Any:
    """True from the bar where ``enter`` holds until the bar where ``exit`` does.

    Shapes: two conditions of equal length, or one and a bool -> one. Flat before the first entry;
    enter and exit at once: stay as it is. An unknown condition counts as False, so a held position
    stays held.
    """
    graph = graph_of((enter, exit))
    if graph is None:
        return held(*_aligned("hold", enter=(enter, "b"), exit=(exit, "b")))
    start, stop = graph.lift(enter), graph.lift(exit)
    if start.kind != "boolean" or stop.kind != "boolean":
        name = "exit" if start.kind == "boolean" else "enter"
        raise StrategyError(
            f"hold({name}=...) takes a condition such as a > b, not a series of numbers"
        )
    return graph.node("boolean", "hold", (start, stop))


def crossed_above(a: Any, b: Any) -> Any:
    """True at bar i where a[i-1] <= b[i-1] and a[i] > b[i].

    ``a``, ``b``: series or one number. Unknown (False) at bar 0 and where one of the four is NaN.
    """
    return _crossed("crossed_above", a, b)


def crossed_below(a: Any, b: Any) -> Any:
    """True at bar i where a[i-1] >= b[i-1] and a[i] < b[i]; the mirror image of `crossed_above`."""
    return _crossed("crossed_below", a, b)


def _crossed(name: str, a: Any, b: Any) -> Any:
    graph = graph_of((a, b))
    if graph is not None:
        one, other = graph.lift(a), graph.lift(b)
        if one.kind != "number" or other.kind != "number":
            raise StrategyError(f"{name} takes series of numbers, not conditions")
        return graph.node("boolean", name, (one, other))
    left, right = _aligned(name, a=(a, "iuf"), b=(b, "iuf"))
    return crossed(left.astype(np.float64), right.astype(np.float64), name == "crossed_above")[0]


def where(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the condition holds, else ``no``: ``where(fast > slow, 1, -1)``.

    ``yes`` and ``no``: both numbers (or series of them), or both conditions. Traced, the answer is
    unknown (NaN) wherever one of the three is.
    """
    graph = graph_of((condition, yes, no))
    if graph is None:
        given = _aligned("where", condition=(condition, "b"), yes=(yes, "biuf"), no=(no, "biuf"))
        if (given[1].dtype == np.bool_) != (given[2].dtype == np.bool_):
            raise StrategyError(MIXED)
        return np.where(*given)
    nodes = graph.lift(condition), graph.lift(yes), graph.lift(no)
    if nodes[0].kind != "boolean":
        raise StrategyError("where(condition, ...) takes a condition such as a > b first")
    if nodes[1].kind != nodes[2].kind:
        raise StrategyError(MIXED)
    return graph.node(nodes[1].kind, "where", nodes)


def _aligned(word: str, **arguments: tuple[Any, str]) -> list[Array]:
    """The arguments, each with its kinds of dtype, as arrays of one length.

    A single value is repeated. Nobody after this looks at lengths: the kernels would read beyond.
    """
    arrays: dict[str, Array] = {}
    for name, (value, kinds) in arguments.items():
        array = arrays[name] = np.asarray(value)
        if array.ndim > 1 or array.dtype.kind not in kinds:
            got = f"{array.ndim}-dimensional {array.dtype}" if array.ndim else repr(value)
            raise StrategyError(f"{word}: {name} is {got}; expected {EXPECTED[kinds]}")
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if not lengths:
        raise StrategyError(f"{word} got single values only; expected at least one series of them")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise StrategyError(
            f"{word}: its series have different lengths ({listed}); expected equal lengths, "
            "from the same candles"
        )
    length = next(iter(lengths.values()))
    return [np.broadcast_to(array, (length,)) for array in arrays.values()]
