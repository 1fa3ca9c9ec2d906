"""Which rows share the cache: the order in which a block's rows are made and its trials decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from . import decisions, rows
from .decisions import Program
from .kernel import Tiles
from .recipes import Recipe
from .smoothing import AT_ONCE

Array = np.ndarray[Any, np.dtype[Any]]
FEW = 1_024  # rows that are all kept for the whole block
MOST = 4_096  # else at most so many: those that the most trials look at, and
SHARED = 8  # at least so many of them
PRIVATE = 128  # rows of the others at a time
COMPARED = 8  # a row that is compared so often gets keys
GROUPS = 16  # of rows with keys


Ordered = tuple[int, int, list[int], int]  # a recipe's number, its slot, those of its inputs, group


class Layout(NamedTuple):
    """Rows and tiles for the kernel. ``slots``: leaves of each trial, (trials, leaves)."""

    rows: rows.Rows
    tiles: Tiles
    slots: Array
    size: int


def lay_out(recipes: Sequence[Recipe], leaves: Array, program: Program, room: int) -> Layout:
    """Place the rows that ``leaves`` (trials x leaves, numbers of recipes) are made of.

    ``room``: how many may be kept for a whole block, at most.
    """
    uses = np.bincount(leaves.ravel(), minlength=len(recipes))
    keyed = _groups(leaves, uses, program)
    for number in range(len(recipes) - 1, -1, -1):
        for place in recipes[number].inputs:
            uses[place] += uses[number]
    needed = [number for number in range(len(recipes)) if uses[number]]
    if len(needed) > min(FEW, room):
        most = min(MOST, room)
        least = max(SHARED, np.sort(uses)[-most] if len(uses) > most else 0)
        shared = [number for number in needed if uses[number] >= least][:most]
    else:
        shared = needed
    alike = _places(recipes)
    shared.sort(key=alike.__getitem__)
    slot_of = {number: slot for slot, number in enumerate(shared)}
    order = [
        (number, slot_of[number], [slot_of[n] for n in recipes[number].inputs], int(keyed[number]))
        for number in shared
    ]
    row_bounds, trial_bounds = [0, len(order)], [0, 0]
    if len(shared) == len(needed):
        places = np.zeros(len(recipes), np.int64)
        places[shared] = np.arange(len(shared))
        slots, size = places[leaves], len(shared)
        row_bounds.append(len(order))
        trial_bounds.append(len(leaves))
    else:
        slots = np.zeros_like(leaves)
        size = _private(recipes, leaves, slot_of, order, row_bounds, trial_bounds, slots)
        for begin, end in pairwise(row_bounds[1:]):
            order[begin:end] = sorted(order[begin:end], key=lambda row: alike[row[0]])
    return Layout(
        _rows(recipes, order), Tiles(np.array(row_bounds), np.array(trial_bounds)), slots, size
    )


def _places(recipes: Sequence[Recipe]) -> list[tuple[int, int, tuple[int, ...]]]:
    """In which order rows are made: inputs first, rows of the same kind and input side by side."""
    depths: list[int] = []
    for recipe in recipes:
        depths.append(1 + max((depths[n] for n in recipe.inputs), default=0))
    return [(d, recipe.kind, recipe.inputs) for d, recipe in zip(depths, recipes, strict=True)]


def _private(
    recipes: Sequence[Recipe],
    leaves: Array,
    shared: dict[int, int],
    order: list[Ordered],
    row_bounds: list[int],
    trial_bounds: list[int],
    slots: Array,
) -> int:
    """Put the rows of few trials into tiles, trial by trial; each uses the same slots again.

    Returns how many slots there are.
    """
    local: dict[int, int] = {}
    most = 0
    alike: tuple[int, ...] = ()
    for t, numbers in enumerate(leaves.tolist()):
        wanted = _closure(recipes, numbers, shared)
        new = [number for number in wanted if number not in local]
        inputs_of = recipes[new[-1]].inputs if new else alike
        room = PRIVATE if inputs_of == alike else PRIVATE - AT_ONCE  # rows alike stay together
        alike = inputs_of
        if len(local) + len(new) > room and local:
            row_bounds.append(len(order))
            trial_bounds.append(t)
            local, new = {}, wanted
        for number in new:
            inputs = [shared[n] if n in shared else local[n] for n in recipes[number].inputs]
            local[number] = len(shared) + len(local)
            order.append((number, local[number], inputs, 0))
        most = max(most, len(local))
        slots[t] = [shared[n] if n in shared else local[n] for n in numbers]
    row_bounds.append(len(order))
    trial_bounds.append(len(leaves))
    return len(shared) + most


def _closure(
    recipes: Sequence[Recipe], numbers: Sequence[int], shared: Mapping[int, int]
) -> list[int]:
    """The rows that are not shared among ``numbers`` and all that they are made from, in order."""
    found: set[int] = set()
    waiting = [number for number in numbers if number not in shared]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [n for n in recipes[number].inputs if n not in shared]
    return sorted(found)  # inputs have lower numbers


def _rows(recipes: Sequence[Recipe], order: Sequence[Ordered]) -> rows.Rows:
    """The recipes in ``order`` as arrays."""
    table, factor = [], []
    for number, place, inputs, group in order:
        recipe = recipes[number]
        abc = [*(inputs or [recipe.source]), 0, 0][:3]
        table.append((recipe.kind, place, *abc, recipe.window, recipe.skip, group))
        factor.append(recipe.factor)
    columns = np.array(table, np.int64).reshape(-1, 8).T
    kind, slot, a, b, c, window, skip, keyed = np.ascontiguousarray(columns)
    level = np.zeros(len(table))
    return rows.Rows(
        kind, slot, a, b, c, window, skip, np.array(factor, float), keyed, level, -skip
    )  # fmt: skip


def _groups(leaves: Array, uses: Array, program: Program) -> Array:
    """The group of rows that each row is compared with by keys; 0 for what is seldom compared."""
    code = program.instructions[program.instructions[:, decisions.OP] == decisions.COMPARE]
    a, b = leaves[:, code[:, decisions.A]].ravel(), leaves[:, code[:, decisions.B]].ravel()
    often = uses >= COMPARED
    kept = often[a] & often[b]
    a, b = a[kept], b[kept]
    size = len(uses)
    links = coo_array((np.ones(len(a), np.bool_), (a, b)), shape=(size, size))
    _, part = connected_components(links, directed=False)
    members = np.zeros(size, np.bool_)
    members[a] = members[b] = True
    parts, counts = np.unique(part[members], return_counts=True)
    largest = parts[np.argsort(-counts, kind="stable")][:GROUPS]
    groups = np.zeros(size, np.int64)
    for number, which in enumerate(largest, start=1):
        groups[members & (part == which)] = number
    return groups
