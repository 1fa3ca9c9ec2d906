"""The words a strategy is written with, over arrays and over traced series alike."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from .._signals import crossed, held
from ..errors import StrategyError
from ..expressions import CannotTrace, Node, graph_of


def hold(enter: Any, exit: Any) -> Any:
    """True from the bar where ``enter`` holds until the bar where ``exit`` does.

    Shapes: two conditions of equal length -> one. Flat before the first entry; enter and exit at
    once: stay as it is. An unknown condition counts as False, so a held position stays held.
    """
    graph = graph_of((enter, exit))
    if graph is None:
        return held(_condition(enter, "enter"), _condition(exit, "exit"))
    nodes = graph.lift(enter), graph.lift(exit)
    for name, node in zip(("enter", "exit"), nodes, strict=True):
        if node.kind != "boolean":
            raise StrategyError(
                f"hold({name}=...) takes a condition such as a > b, not a series of numbers"
            )
    return graph.node("boolean", "hold", nodes)


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
        nodes = graph.lift(a), graph.lift(b)
        if any(node.kind != "number" for node in nodes):
            raise StrategyError(f"{name} takes series of numbers, not conditions")
        return graph.node("boolean", name, nodes)
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if sorted((left.ndim, right.ndim)) not in ([0, 1], [1, 1]):
        raise StrategyError(f"{name} takes two series, or one and a number; it got {a!r} and {b!r}")
    if left.ndim == 0:
        left = np.full(len(right), left)
    if right.ndim == 0:
        right = np.full(len(left), right)
    if len(left) != len(right):
        raise StrategyError(
            f"{name} got series of {len(left)} and {len(right)} values; expected equal lengths"
        )
    return crossed(left, right, name == "crossed_above")[0]


def where(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the condition holds, else ``no``: ``where(fast > slow, 1, -1)``.

    ``yes`` and ``no``: both numbers (or series of them), or both conditions. Traced, the answer is
    unknown (NaN) wherever one of the three is.
    """
    graph = graph_of((condition, yes, no))
    if graph is None:
        return np.where(_condition(condition, "condition"), yes, no)
    nodes = graph.lift(condition), graph.lift(yes), graph.lift(no)
    if nodes[0].kind != "boolean":
        raise StrategyError("where(condition, ...) takes a condition such as a > b first")
    if nodes[1].kind != nodes[2].kind:
        raise StrategyError(
            "where(condition, yes, no): yes and no must both be numbers or both conditions"
        )
    return graph.node(nodes[1].kind, "where", nodes)


def _condition(values: Any, name: str) -> Any:
    """A bool array of ``values``; numbers are refused (NaN would count as True)."""
    if isinstance(values, Node):
        raise CannotTrace("it mixes traced series and arrays")
    array = np.asarray(values)
    if array.dtype != np.bool_ or array.ndim != 1:
        raise StrategyError(
            f"{name} must be a condition: a one-dimensional array of booleans; it is "
            f"{array.ndim}-dimensional {array.dtype}. Compare first: a > b"
        )
    return cast(Any, np.ascontiguousarray(array))
