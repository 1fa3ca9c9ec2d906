"""What the nodes of a traced strategy mean: their values over arrays.

**Unknown.** A number is unknown where it is NaN. A boolean is a pair (value, known): known only
where all its inputs are, counting as False where it is not, negation included. `hold` takes unknown
for False and is itself always known.

A faster engine may run the same nodes otherwise; this is what it has to agree with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ._coarse import Coarse
from ._signals import crossings, crossings_known, held
from .expressions import Call, Node, Seen

Array = np.ndarray[Any, np.dtype[Any]]

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "//": np.floor_divide,
    "%": np.mod,
    "**": np.power,
}
COMPARISON: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
LOGIC: dict[str, Callable[[Any, Any], Any]] = {
    "&": np.logical_and,
    "|": np.logical_or,
    "^": np.logical_xor,
}
UNARY: dict[str, Callable[[Any], Any]] = {"neg": np.negative, "abs": np.abs}


class Boolean:
    """A computed condition: two bool arrays; ``value`` is False wherever ``known`` is False.

    ``known`` may be given as a function of no arguments, which is called when it is first asked
    for: `hold` and ``&`` never do.
    """

    __slots__ = ("_known", "value")

    def __init__(self, value: Array, known: Array | Callable[[], Array]) -> None:
        self.value = value
        self._known = known

    @property
    def known(self) -> Array:
        """Where all inputs of the condition are known."""
        if callable(self._known):
            self._known = self._known()
        return self._known


Value = Array | Boolean


class Shared:
    """Results of indicator calls that trials over the same columns share.

    Holds at most ``budget`` bytes; the oldest make room for new ones.
    """

    def __init__(self, budget: int = 2**26) -> None:
        self.budget = budget
        self.size = 0  # bytes held now
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._coarse: dict[str, tuple[Coarse, Shared]] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        """The result of an earlier call; None if it is not there (any more)."""
        return self._kept.get(key)

    def keep(self, key: tuple[Any, ...], result: Any) -> None:
        """Remember a result, if it is not larger than the whole budget."""
        size = _bytes_of(result)
        if size > self.budget:
            return
        while self.size + size > self.budget:
            oldest = next(iter(self._kept))
            self.size -= _bytes_of(self._kept.pop(oldest))
        self._kept[key] = result
        self.size += size

    def coarse(self, timeframe: str, columns: Mapping[str, Array]) -> tuple[Coarse, Shared]:
        """The bars of a higher timeframe, and what is shared of the results over them."""
        if timeframe not in self._coarse:
            self._coarse[timeframe] = Coarse(columns, timeframe), Shared(self.budget // 4)
        return self._coarse[timeframe]


def _bytes_of(result: Any) -> int:
    lines = result if isinstance(result, tuple) else (result,)
    return sum(line.nbytes for line in lines)


def reachable(root: Node) -> list[Node]:
    """``root`` and all that it is made of, every node after its inputs."""
    found = {root.number: root}
    waiting = [root]
    while waiting:
        for arg in waiting.pop().args:
            if arg.number not in found:
                found[arg.number] = arg
                waiting.append(arg)
    return [found[number] for number in sorted(found)]  # inputs were made, and numbered, first


def evaluate(root: Node, columns: Mapping[str, Array], shared: Shared | None = None) -> Value:
    """Compute ``root`` over ``columns`` (equally long 1-D arrays, by the candle table's names).

    Numbers come as float64 arrays (NaN: unknown), conditions as `Boolean`. ``shared`` holds the
    indicators that other roots of the same graph needed over these columns, and gets the new ones.
    """
    shared = Shared() if shared is None else shared
    nodes = reachable(root)
    uses = Counter(arg.number for node in nodes for arg in node.args)
    done: dict[int, Value] = {}
    with np.errstate(all="ignore"):  # 0/0 is NaN: unknown, not a warning
        for node in nodes:
            args = [done[arg.number] for arg in node.args]
            if node.op == "call":
                done[node.number] = _call(node, args, shared)
            elif node.op == "higher":
                done[node.number] = _higher(node, columns, shared)
            else:
                done[node.number] = _apply(node, args, columns)
            for arg in node.args:  # what is not needed any more goes at once
                uses[arg.number] -= 1
                if not uses[arg.number]:
                    done.pop(arg.number)
    return done[root.number]


def _call(node: Node, args: list[Any], shared: Shared) -> Array:
    """An indicator's line; one of several lines (macd) computes all of them once."""
    call: Call = node.value
    inputs = tuple(arg.number for arg in node.args)
    key = (call.function, call.parameters, tuple(map(type, call.parameters)), inputs)
    result = shared.get(key)
    if result is None:
        result = call.function(*args, *call.parameters)
        shared.keep(key, result)
    return np.asarray(result if call.field is None else result[call.field])


def _higher(node: Node, columns: Mapping[str, Array], shared: Shared) -> Array:
    """A series of a higher timeframe, computed over its bars, as it is known at each close."""
    seen: Seen = node.value
    coarse, among_them = shared.coarse(seen.timeframe, columns)
    return coarse.at_closes(np.asarray(evaluate(seen.root, coarse.columns, among_them)))


def _apply(node: Node, args: list[Any], columns: Mapping[str, Array]) -> Value:
    op = node.op
    if op == "column":
        return np.asarray(columns[node.value], np.float64)  # the time too: whole numbers overflow
    if op == "constant":
        return _constant(node.value, len(columns["close"]))
    if op in ARITHMETIC:
        return np.asarray(ARITHMETIC[op](*args), dtype=np.float64)
    if op in UNARY:
        return np.asarray(UNARY[op](args[0]), dtype=np.float64)
    if op in COMPARISON:
        return _compare(op, *args)
    if op in LOGIC:
        return _combine(op, *args)
    if op == "~":
        known = args[0].known
        return Boolean(~args[0].value & known, known)
    if op == "hold":
        value = held(args[0].value, args[1].value)
        return Boolean(value, lambda: np.ones(len(value), np.bool_))
    if op in ("crossed_above", "crossed_below"):
        value = crossings(args[0], args[1], op == "crossed_above")
        return Boolean(value, lambda: crossings_known(args[0], args[1]))
    if op == "where":
        return _where(*args)
    raise AssertionError(f"no rule for {op!r}")


def _compare(op: str, a: Array, b: Array) -> Boolean:
    def known() -> Array:
        return ~(np.isnan(a) | np.isnan(b))

    value = COMPARISON[op](a, b)
    # Compared with NaN all are False but this one.
    return Boolean(value & known(), known) if op == "!=" else Boolean(value, known)


def _combine(op: str, a: Boolean, b: Boolean) -> Boolean:
    def known() -> Array:
        return np.logical_and(a.known, b.known)

    value = LOGIC[op](a.value, b.value)
    # An unknown side is False, and makes "and" False by itself.
    return Boolean(value, known) if op == "&" else Boolean(value & known(), known)


def _constant(value: bool | int | float, length: int) -> Value:
    if isinstance(value, bool):
        return Boolean(np.full(length, value), lambda: np.ones(length, np.bool_))
    return np.full(length, float(value))


def _where(condition: Boolean, yes: Value, no: Value) -> Value:
    if isinstance(yes, Boolean) and isinstance(no, Boolean):
        known = condition.known & yes.known & no.known
        return Boolean(np.where(condition.value, yes.value, no.value) & known, known)
    assert not isinstance(yes, Boolean) and not isinstance(no, Boolean)  # the node was checked
    known = condition.known & ~np.isnan(yes) & ~np.isnan(no)
    return np.where(known, np.where(condition.value, yes, no), np.nan)
