"""Kernels of `hold` and the crossings, over plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compile import as_input, compiled

Array = np.ndarray[Any, np.dtype[Any]]
BLOCK = 64  # bars looked at in one go


def held(enter: Array, exit: Array) -> Array:
    """Flat until ``enter``, held until ``exit``; both at once: stay as it is (bool arrays)."""
    result = np.empty(len(enter), np.bool_)
    _hold(as_input(enter), as_input(exit), result)
    return result


@compiled
def _hold(enter: Array, exit: Array, result: Array) -> None:
    state = False
    begin = 0
    while begin < len(enter):
        quiet = begin + _quiet_bars(enter[begin:], exit[begin:])
        result[begin:quiet] = state
        begin = min(quiet + BLOCK, len(enter))
        for i in range(quiet, begin):
            if enter[i] != exit[i]:
                state = bool(enter[i])
            result[i] = state


@compiled
def _quiet_bars(enter: Array, exit: Array) -> int:
    """How many bars, in whole blocks, have no signal: nearly all of them, in most strategies."""
    for begin in range(0, len(enter), BLOCK):
        enters, exits = enter[begin : begin + BLOCK], exit[begin : begin + BLOCK]
        signal = False
        for i in range(len(enters)):
            signal |= enters[i] | exits[i]
        if signal:
            return begin
    return len(enter)


def crossed(a: Array, b: Array, above: bool) -> tuple[Array, Array]:
    """(value, known) of a crossing: ``a`` at or below ``b`` one bar before and above it now.

    ``above=False``: the mirror image. Unknown where one of the four numbers is NaN, and at bar 0.
    """
    return crossings(a, b, above), crossings_known(a, b)


def crossings(a: Array, b: Array, above: bool) -> Array:
    """Where ``a`` crosses ``b``; False where that is not known."""
    # a crossing below b is b crossing above a: b[i-1] <= a[i-1] and b[i] > a[i]
    low, high = (as_input(b), as_input(a)) if above else (as_input(a), as_input(b))
    result = np.empty(len(a), np.bool_)
    _cross_above(high, low, result)
    return result


def crossings_known(a: Array, b: Array) -> Array:
    """Where a crossing of ``a`` and ``b`` can be told: both known now and one bar before."""
    known = ~(np.isnan(a) | np.isnan(b))
    result = np.zeros(len(a), np.bool_)
    np.logical_and(known[1:], known[:-1], out=result[1:])
    return result


@compiled
def _cross_above(a: Array, b: Array, result: Array) -> None:
    result[:1] = False
    for i in range(1, len(a)):  # a comparison with NaN is False
        result[i] = (a[i - 1] <= b[i - 1]) & (a[i] > b[i])
