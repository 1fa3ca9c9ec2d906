"""The compile options of every kernel, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call; the machine code is kept on disk for the next process.

    No fast-math: results must agree bit for bit on every path. Division follows IEEE 754, as numpy
    does. The interpreter lock is released, so that a feed's thread goes on during a long kernel.
    """
    result: Callable[P, R] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return result


def as_input(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A read-only, contiguous view (a copy where it must be) of an array, for a kernel.

    The compiler takes read-only and strided arrays for types of their own and compiles a kernel
    again for each; so they all get the one type that pandas' own columns have.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
