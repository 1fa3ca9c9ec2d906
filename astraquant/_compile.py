"""The compile options of every kernel, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call; the machine code is kept on disk for the next process.

    No fast-math: results must agree bit for bit on every path. Division follows IEEE 754, as numpy
    does. The interpreter lock is released, so that a feed's thread goes on during a long kernel.
    """
    result: Callable[P, R] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return result
