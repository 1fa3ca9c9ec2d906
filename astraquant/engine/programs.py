"""From a traced strategy to a program of words, and the leaves that differ from trial to trial.

Trials of one strategy nearly always have programs of the same *shape*: the same operations in the
same order, on other rows. The shape is compiled once; a trial is then a list of rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..expressions import Node
from . import decisions as do
from .decisions import ROW, Program
from .rows import aligned
from .words import ALL

Array = np.ndarray[Any, np.dtype[Any]]
RELATIONS = ("<", "<=", ">", ">=", "==", "!=")
SIDED = ("choice", "side", "bits")  # last steps of what says itself whether to be short
COMPARED = frozenset({*RELATIONS, "crossed_above", "crossed_below"})
LOGIC = {"&": do.AND, "|": do.OR, "^": do.XOR}
DEEPEST = 150  # of nested conditions; beyond that a strategy is run over arrays


class Unread(Exception):
    """The kernel has no words for the strategy; the message says why."""


TOO_DEEP = f"its expressions are nested more than {DEEPEST} deep"
NOT_CHOSEN = "it returns numbers that where(...) has not chosen among -1, 0 and 1"


# What the conditions of a strategy look like, rows left open: steps (operation, parts ...), each
# after its parts. A part is the place of another step, in a comparison the place of a leaf. The
# last step is the answer.
Shape = tuple[tuple[Any, ...], ...]


class Reader:
    """Reads the steps and the leaves (nodes of numbers) of one trial."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self.leaves: list[Node] = []
        self._places: dict[int, int] = {}
        self._seen: dict[int, int] = {}

    def condition(self, node: Node, depth: int = 0) -> int:
        """The step of a boolean node."""
        found = self._seen.get(node.number)
        if found is not None:
            return found
        if depth > DEEPEST:
            raise Unread(TOO_DEEP)
        op = node.op
        if op in COMPARED:
            step: tuple[Any, ...] = (op, self._leaf(node.args[0]), self._leaf(node.args[1]))
        elif op == "constant":
            step = (op, bool(node.value))
        else:
            step = (op, *[self.condition(arg, depth + 1) for arg in node.args])
        return self._add(node, step)

    def choice(self, node: Node, depth: int = 0) -> int:
        """The step of a number made by ``where`` from -1, 0 and 1; `Unread` if it is not."""
        found = self._seen.get(node.number)
        if found is not None:
            return found
        if depth > DEEPEST:
            raise Unread(TOO_DEEP)
        if node.op == "where":
            condition, yes, no = node.args
            parts = self.choice(yes, depth + 1), self.choice(no, depth + 1)
            return self._add(node, ("choice", self.condition(condition, depth + 1), *parts))
        sign = -1 if node.op == "neg" else 1
        node = node.args[0] if node.op == "neg" else node
        if node.op != "constant" or node.value not in (-1, 0, 1):
            raise Unread(NOT_CHOSEN)
        self.steps.append(("side", sign * int(node.value)))
        return len(self.steps) - 1

    def _leaf(self, node: Node) -> int:
        place = self._places.get(node.number)
        if place is None:
            place = self._places[node.number] = len(self.leaves)
            self.leaves.append(node)
        return place

    def _add(self, node: Node, step: tuple[Any, ...]) -> int:
        self.steps.append(step)
        self._seen[node.number] = place = len(self.steps) - 1
        return place


def read(root: Node) -> tuple[Shape, list[Node]]:
    """The shape of a traced strategy, and the nodes in the places of its leaves.

    Raises `Unread` where they are nested too deeply, and for a strategy that returns numbers that
    are not chosen by ``where`` among -1, 0 and 1.
    """
    reader = Reader()
    if root.kind == "boolean":
        reader.condition(root)
    else:
        reader.choice(root)
    return tuple(reader.steps), reader.leaves


def only_compared(shape: Shape) -> list[tuple[int, int]]:
    """Leaves that are compared with one other leaf only, each with that other one."""
    others: dict[int, set[int]] = {}
    for op, *parts in shape:
        if op in COMPARED:
            for place, other in (parts, parts[::-1]):
                others.setdefault(place, set()).add(other)
    return [(place, found.pop()) for place, found in others.items() if len(found) == 1]


class Condition(NamedTuple):
    """The rows of words in which a condition's value is, and whether it is known."""

    value: int
    known: int


class Compiler:
    """Turns a shape into instructions."""

    def __init__(self) -> None:
        self.instructions: list[tuple[int, ...]] = []
        self.rows = do.OWN // ROW
        self.places = 0  # of memory
        self._compared: dict[tuple[int, int], tuple[int, int, int]] = {}

    def program(self, shape: Shape, direction: str) -> Program:
        """The program whose answers are a row of long and a row of short."""
        made: list[Any] = []
        for step in shape:
            made.append(self._make(step, made))
        if shape[-1][0] in SIDED:
            long, short = made[-1][0].value, made[-1][1].value
        else:
            long, short = made[-1].value, do.NEVER
            if direction == "short":
                long, short = short, long
            elif direction == "both":
                short = self._emit(do.STARTED, made[-1], remembers=True).value
        code = np.array(self.instructions, np.int64).reshape(-1, do.MEMORY + 1)
        words = aligned(self.rows * ROW, np.uint64)
        words[do.ALWAYS : do.ALWAYS + ROW] = ALL
        return Program(code, long, short, words)

    def _make(self, step: tuple[Any, ...], made: list[Any]) -> Any:
        """The `Condition` of a step; of a number the conditions of being 1 and of being -1."""
        op, *parts = step
        if op == "side":
            return self._fixed(parts[0] == 1), self._fixed(parts[0] == -1)
        if op == "bits":
            always = do.ALWAYS
            bits = [self._emit(do.BITS, Condition(place, 0), known=always) for place in parts]
            return bits[0], bits[1]
        if op == "constant":
            return self._fixed(parts[0])
        if op in COMPARED:
            return self._relation(op, *parts)
        if op == "choice":
            condition, yes, no = (made[part] for part in parts)
            return tuple(
                self._emit(do.WHERE, condition, one, other)
                for one, other in zip(yes, no, strict=True)
            )
        conditions = [made[part] for part in parts]
        if op == "~":
            return self._emit(do.NOT, *conditions, known=conditions[0].known)
        if op == "hold":
            return self._emit(do.HOLD, *conditions, remembers=True, known=do.ALWAYS)
        return self._emit(do.WHERE if op == "where" else LOGIC[op], *conditions)

    def _relation(self, op: str, left: int, right: int) -> Condition:
        above, below, known = self._compare(left, right)
        if op in (">", "<"):
            return Condition(above if op == ">" else below, known)
        if op in (">=", "<="):
            rest = below if op == ">=" else above
            return self._emit(do.REST, Condition(rest, 0), Condition(known, 0), known=known)
        if op in ("==", "!="):
            kind = do.EQUAL if op == "==" else do.UNEQUAL
            parts = (Condition(above, known), Condition(below, known), Condition(known, known))
            return self._emit(kind, *parts, known=known)
        row = Condition(above if op == "crossed_above" else below, known)
        return self._emit(do.CROSSED, row, row, Condition(known, known))

    def _compare(self, left: int, right: int) -> tuple[int, int, int]:
        """Rows of words above, below and known; made once for both orders."""
        if (right, left) in self._compared:
            above, below, known = self._compared[right, left]
            return below, above, known
        if (left, right) not in self._compared:
            first = self.rows * ROW
            self.rows += 3
            self._append(do.COMPARE, first, 0, (Condition(left, 0), Condition(right, 0)), True)
            self._compared[left, right] = (first, first + ROW, first + 2 * ROW)
        return self._compared[left, right]

    def _fixed(self, value: bool) -> Condition:
        return Condition(do.ALWAYS if value else do.NEVER, do.ALWAYS)

    def _emit(
        self, op: int, *parts: Condition, remembers: bool = False, known: int | None = None
    ) -> Condition:
        value = self.rows * ROW
        self.rows += 1 if known is not None else 2
        result = Condition(value, value + ROW if known is None else known)
        self._append(op, *result, parts, remembers)
        return result

    def _append(
        self, op: int, to: int, known: int, parts: tuple[Condition, ...], remembers: bool
    ) -> None:
        filled = [*parts, *[Condition(0, 0)] * (3 - len(parts))]
        places = [place for part in filled for place in part]
        self.instructions.append((op, to, known, *places, self.places))
        self.places += remembers


# Of positions that were computed beforehand: the words of long, then those of short.
BITS: Shape = (("bits", 0, 1),)
