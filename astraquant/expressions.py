"""What a strategy becomes when it is traced: a small program of shared nodes.

A strategy is called with tracers in place of arrays. Every indicator, comparison and operator then
makes a `Node`; equal nodes of one `Graph` are one object, so a sweep computes ``sma(close, 5)``
once for all its trials. What the nodes mean is said in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .errors import StrategyError

Array = np.ndarray[Any, np.dtype[Any]]
LARGEST = int(np.finfo(np.float64).max)


class CannotTrace(Exception):
    """The strategy left the traced world; the message says where (it goes into the passport)."""


class Call(NamedTuple):
    """An indicator as a node's operation: what to call, with which scalars, which line of it.

    ``field`` counts the lines of an indicator that has several (macd, bollinger); else it is None.
    """

    function: Callable[..., Any]
    parameters: tuple[Any, ...]
    field: int | None


class Seen(NamedTuple):
    """A series of a higher timeframe, ``root``, as it is known at each close."""

    timeframe: str
    root: Node


class Graph:
    """The nodes of one strategy over one kind of candles; equal expressions are one node.

    ``timeframe``: of the candles, where they are a higher one; "" for those of the run.
    """

    __slots__ = ("_higher", "calls", "left", "nodes", "timeframe")

    def __init__(self, timeframe: str = "") -> None:
        self.timeframe = timeframe
        self._higher: dict[str, Graph] = {}
        self.nodes: dict[tuple[Any, ...], Node] = {}
        self.calls: dict[tuple[Any, ...], Any] = {}  # indicator calls already traced, as written
        # Why a node refused something in this call: a library may swallow the exception.
        self.left = ""

    def higher(self, timeframe: str) -> Graph:
        """The graph of what is computed over the bars of a higher timeframe."""
        if timeframe not in self._higher:
            self._higher[timeframe] = Graph(timeframe)
        return self._higher[timeframe]

    def refusal(self, why: str) -> CannotTrace:
        """The exception with which a node leaves the traced world; it is remembered."""
        self.left = why
        return CannotTrace(why)

    def node(self, kind: str, op: str, args: tuple[Node, ...], value: Any = None) -> Node:
        """The node ``op(args)``, made only once. ``value``: constant, column, `Call`, `Seen`."""
        key: tuple[Any, ...]
        if value is None and len(args) == 2:  # as nearly all are, in a sweep
            key = (op, args[0].number, args[1].number)
        elif value is None:
            key = (op, *[a.number for a in args])
        elif op == "call":
            types = tuple(map(type, value.parameters))  # 5 and 5.0 are equal, yet not the same
            key = (op, value, types, *[a.number for a in args])
        elif op == "higher":
            key = (op, value.timeframe, value.root.number)
        else:
            key = (
                op,
                type(value),
                value or repr(value),
            )  # 0.0 and -0.0 are equal, yet not the same
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = Node(self, len(self.nodes), kind, op, args, value)
        return found

    def column(self, name: str) -> Node:
        """One column of the candle table."""
        return self.node("number", "column", (), name)

    def constant(self, value: bool | int | float) -> Node:
        """A Python scalar among nodes."""
        if isinstance(value, int) and abs(value) > LARGEST:
            raise StrategyError(
                f"a series was combined with a whole number of {value.bit_length():,} bits; "
                "expected one that a float can hold, below about 1.8e308"
            )
        return self.node("boolean" if isinstance(value, bool) else "number", "constant", (), value)

    def lift(self, value: object) -> Node:
        """``value`` as a node of this graph; arrays and other objects can't be traced."""
        if isinstance(value, Node):
            if value.graph is not self:
                if value.graph.timeframe != self.timeframe:
                    raise StrategyError(_mixed(self.timeframe, value.graph.timeframe))
                raise StrategyError(
                    "a value kept from an earlier call was used again; a strategy must compute "
                    "everything from the candles it is given"
                )
            return value
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool | int | float):
            return self.constant(value)
        if isinstance(value, str) or value is None:
            raise StrategyError(
                f"a series was combined with {value!r}; expected a number or a series"
            )
        raise self.refusal(f"it mixes the candles with {_article(type(value).__name__)}")


def _mixed(one: str, other: str) -> str:
    frame = one or other
    return (
        f"a series of {frame} bars was combined with one of other bars. What is computed from "
        f"{frame} bars alone goes into the function of higher(candles, {frame!r}, ...); what that "
        "gives back has a value at each close of candles, and can be combined with them"
    )


def _article(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeioun" else f"a {name}"  # an ndarray


class Node:
    """A traced value: a series of numbers or booleans that is not computed yet.

    Nodes are equal only to themselves (``==`` makes a new node) and hash by identity.
    """

    __slots__ = ("args", "graph", "kind", "number", "op", "value")
    __array_ufunc__ = None  # numpy gives way to the operators below; np.log(node) is a TypeError
    __hash__ = object.__hash__

    def __init__(
        self, graph: Graph, number: int, kind: str, op: str, args: tuple[Node, ...], value: Any
    ) -> None:
        self.graph = graph
        self.number = number
        self.kind = kind
        self.op = op
        self.args = args
        self.value = value

    def _arithmetic(self, op: str, other: object, swapped: bool = False) -> Node:
        right = self.graph.lift(other)
        if self.kind != "number" or right.kind != "number":
            raise StrategyError(
                f"arithmetic ({op}) on a boolean series. Booleans combine with & | ~; to turn one "
                "into numbers write where(condition, 1, -1)"
            )
        return self.graph.node("number", op, (right, self) if swapped else (self, right))

    def _compare(self, op: str, other: object) -> Node:
        right = self.graph.lift(other)
        if self.kind != "number" or right.kind != "number":
            raise StrategyError(
                f"comparison ({op}) of a boolean series. Booleans combine with & | ~"
            )
        return self.graph.node("boolean", op, (self, right))

    def _logic(self, op: str, other: object) -> Node:
        right = self.graph.lift(other)
        if self.kind != "boolean" or right.kind != "boolean":
            raise StrategyError(
                f"{op} combines conditions, but one side is a series of numbers. Compare it first "
                "and mind the brackets: (a > b) & (c > d)"
            )
        return self.graph.node("boolean", op, (self, right))

    def __add__(self, other: object) -> Node:
        return self._arithmetic("+", other)

    def __radd__(self, other: object) -> Node:
        return self._arithmetic("+", other, swapped=True)

    def __sub__(self, other: object) -> Node:
        return self._arithmetic("-", other)

    def __rsub__(self, other: object) -> Node:
        return self._arithmetic("-", other, swapped=True)

    def __mul__(self, other: object) -> Node:
        return self._arithmetic("*", other)

    def __rmul__(self, other: object) -> Node:
        return self._arithmetic("*", other, swapped=True)

    def __truediv__(self, other: object) -> Node:
        return self._arithmetic("/", other)

    def __rtruediv__(self, other: object) -> Node:
        return self._arithmetic("/", other, swapped=True)

    def __floordiv__(self, other: object) -> Node:
        return self._arithmetic("//", other)

    def __rfloordiv__(self, other: object) -> Node:
        return self._arithmetic("//", other, swapped=True)

    def __mod__(self, other: object) -> Node:
        return self._arithmetic("%", other)

    def __rmod__(self, other: object) -> Node:
        return self._arithmetic("%", other, swapped=True)

    def __pow__(self, other: object) -> Node:
        return self._arithmetic("**", other)

    def __rpow__(self, other: object) -> Node:
        return self._arithmetic("**", other, swapped=True)

    def _unary(self, op: str) -> Node:
        if self.kind != "number":
            raise StrategyError(f"{op} of a boolean series; its negation is written ~condition")
        return self.graph.node("number", op, (self,))

    def __neg__(self) -> Node:
        return self._unary("neg")

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return self._unary("abs")

    def __lt__(self, other: object) -> Node:
        return self._compare("<", other)

    def __le__(self, other: object) -> Node:
        return self._compare("<=", other)

    def __gt__(self, other: object) -> Node:
        return self._compare(">", other)

    def __ge__(self, other: object) -> Node:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Node:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: object) -> Node:  # type: ignore[override]
        return self._compare("!=", other)

    def __and__(self, other: object) -> Node:
        return self._logic("&", other)

    def __or__(self, other: object) -> Node:
        return self._logic("|", other)

    def __xor__(self, other: object) -> Node:
        return self._logic("^", other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Node:
        if self.kind != "boolean":
            raise StrategyError("~ of a series of numbers; it negates a condition: ~(a > b)")
        return self.graph.node("boolean", "~", (self,))

    def __bool__(self) -> NoReturn:
        self.graph.left = "it asks for the truth of a series"
        raise StrategyError(
            "a whole series has no single truth value, so `if`, `and`, `or`, `not` and chained "
            "comparisons can't be used on it. Write (a > b) & (c > d), ~a, where(condition, x, y) "
            "or hold(enter=..., exit=...)"
        )

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        raise self.graph.refusal("it hands the candles to numpy")

    def __len__(self) -> NoReturn:
        raise self.graph.refusal("it asks for the number of candles")

    def __iter__(self) -> Iterator[Any]:
        raise self.graph.refusal("it goes through the candles one by one")

    def __getitem__(self, key: object) -> NoReturn:
        raise self.graph.refusal("it picks candles by their place")

    def __float__(self) -> NoReturn:
        raise self.graph.refusal("it turns a series into one number")

    def __index__(self) -> NoReturn:
        raise self.graph.refusal("it turns a series into one number")

    def __repr__(self) -> str:
        """The expression as one would write it: ``sma(close, 5) > close``."""
        return _spell(self, depth=6)


def _spell(node: Node, depth: int) -> str:
    """``node`` as text; what lies deeper than ``depth`` is left out: shared parts explode."""
    if node.op in ("column", "constant"):
        return str(node.value)
    if depth == 0:
        return "…"
    if node.op == "higher":
        return f"higher({node.value.timeframe!r}, {_spell(node.value.root, depth - 1)})"
    inside = [_spell(arg, depth - 1) for arg in node.args]
    if node.op == "call":
        call: Call = node.value
        text = f"{call.function.__name__}({', '.join([*inside, *map(repr, call.parameters)])})"
        return text + ("" if call.field is None else f"[{call.field}]")
    if len(inside) == 2 and not node.op.isidentifier():
        return f"({inside[0]} {node.op} {inside[1]})"
    return f"{node.op}({', '.join(inside)})"


def graph_of(values: Sequence[object]) -> Graph | None:
    """The graph of the first node among ``values``; None where all are plain."""
    for value in values:  # a loop: a sweep asks this some times for each trial
        if isinstance(value, Node):
            return value.graph
    return None
