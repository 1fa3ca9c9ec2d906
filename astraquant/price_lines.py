"""What of a traced strategy belongs on a price panel, and what of it is never known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .evaluation import Shared, evaluate, reachable
from .expressions import Node

Array = np.ndarray[Any, np.dtype[Any]]
_PRICES = frozenset({"open", "high", "low", "close"})
_ALIKE = frozenset({"sma", "ema", "wma", "bollinger", "donchian", "previous"})  # like their input
_DISTANCES = frozenset({"rolling_std", "atr"})  # added to a price they give a price
_LEVELS = _ALIKE - {"previous"}  # the price of old is no line of its own


def price_lines(program: Node, columns: Mapping[str, Array]) -> dict[str, Array]:
    """The series on the price scale that ``program`` compares or computes with, by name.

    Shape: one value for each bar of ``columns``; NaN where a line is unknown. What serves only to
    make another such line is none itself: of ``previous(sma(close, 5))`` the average as it was is
    drawn. Nor is the price, also that of old; of a higher timeframe it is.
    """
    shared = Shared()
    return {repr(node): np.asarray(evaluate(node, columns, shared)) for node in _top(program)}


def never_known(program: Node, columns: Mapping[str, Array]) -> list[str]:
    """The indicators and higher timeframes of which no value is known: there are too few bars."""
    return _unknown(program, columns, Shared())


def _top(program: Node) -> list[Node]:
    nodes = reachable(program)
    parts = _price_parts(nodes)
    on_scale = {number for number, part in parts.items() if abs(part - 1.0) < 0.5}
    used = {arg.number for node in nodes if node.number not in on_scale for arg in node.args}
    chosen = [node for node in nodes if node.number in on_scale & used]
    return [node for node in chosen if any(map(_is_made, reachable(node)))]


def _is_made(node: Node) -> bool:
    """Whether a node is more than the price of some bar."""
    if node.op == "call":
        return node.value.function.__name__ in _LEVELS
    return node.op == "higher"


def _price_parts(nodes: Sequence[Node]) -> dict[int, float]:
    """By how much each node (by number) rises if all prices rise by 1: a price itself by 1.

    A distance and a plain number by 0; NaN for what is no sum of prices and these.
    """
    parts: dict[int, float] = {}
    for node in nodes:
        parts[node.number] = _price_part(node, [parts[arg.number] for arg in node.args])
    return parts


def _price_part(node: Node, inputs: list[float]) -> float:
    op = node.op
    if op == "column":
        return 1.0 if node.value in _PRICES else math.nan
    if op == "constant":
        return 0.0
    if op == "higher":
        root = node.value.root
        return _price_parts(reachable(root))[root.number]
    if op == "call":
        name, same = node.value.function.__name__, _common(inputs)
        return same if name in _ALIKE else 0.0 * same if name in _DISTANCES else math.nan
    if op in ("+", "-"):
        return inputs[0] + inputs[1] if op == "+" else inputs[0] - inputs[1]
    if op in ("*", "/"):
        return _scaled(op, node.args, inputs)
    return _common(inputs[1:]) if op == "where" else math.nan


def _scaled(op: str, args: Sequence[Node], inputs: list[float]) -> float:
    """A price that is multiplied or divided by a plain number, else NaN."""
    if args[1].op == "constant":
        number = float(args[1].value)
        if op == "*":
            return inputs[0] * number
        return inputs[0] / number if number else math.nan
    if op == "*" and args[0].op == "constant":
        return float(args[0].value) * inputs[1]
    return math.nan


def _common(parts: list[float]) -> float:
    return parts[0] if all(math.isclose(part, parts[0]) for part in parts) else math.nan


def _unknown(root: Node, columns: Mapping[str, Array], shared: Shared) -> list[str]:
    found = []
    for node in reachable(root):
        if node.op not in ("call", "higher"):
            continue
        if not np.isnan(np.asarray(evaluate(node, columns, shared))).all():
            continue
        found += [repr(node)] if node.op == "call" else _unknown_higher(node, columns, shared)
    return list(dict.fromkeys(found))


def _unknown_higher(node: Node, columns: Mapping[str, Array], shared: Shared) -> list[str]:
    """Which of its indicators are to blame; all of it where there is not even a bar."""
    seen = node.value
    coarse, among_them = shared.coarse(seen.timeframe, columns)
    inner = _unknown(seen.root, coarse.columns, among_them)
    return [f"higher({seen.timeframe!r}, {name})" for name in inner] or [repr(node)]
