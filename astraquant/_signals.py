"""Kernels of `hold` and the crossings, over plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compile import as_input, compiled

Array = np.ndarray[Any, np.dtype[Any]]


def held(enter: Array, exit: Array) -> Array:
    """Flat until ``enter``, held until ``exit``; both at once: stay as it is (bool arrays)."""
    return _held(as_input(enter), as_input(exit))


@compiled
def _held(enter: Array, exit: Array) -> Array:
    result = np.empty(len(enter), np.bool_)
    state = False
    for i in range(len(enter)):
        if enter[i] != exit[i]:
            state = bool(enter[i])
        result[i] = state
    return result


@compiled
def _crossed_above(a: Array, b: Array) -> tuple[Array, Array]:
    value = np.zeros(len(a), np.bool_)
    known = np.zeros(len(a), np.bool_)
    for i in range(1, len(a)):
        known[i] = not (
            np.isnan(a[i - 1]) or np.isnan(b[i - 1]) or np.isnan(a[i]) or np.isnan(b[i])
        )
        value[i] = known[i] and a[i - 1] <= b[i - 1] and a[i] > b[i]
    return value, known


def crossed(a: Array, b: Array, above: bool) -> tuple[Array, Array]:
    """(value, known) of a crossing: ``a`` at or below ``b`` one bar before and above it now.

    ``above=False``: the mirror image. Unknown where one of the four numbers is NaN, and at bar 0.
    """
    # a crossing below b is b crossing above a: b[i-1] <= a[i-1] and b[i] > a[i]
    low, high = (as_input(b), as_input(a)) if above else (as_input(a), as_input(b))
    return _crossed_above(high, low)
