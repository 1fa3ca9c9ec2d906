"""The compile options of every kernel, in one place."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

WORTH_A_THREAD = 200_000  # rows, of a kernel that goes through some columns
P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call; the machine code is kept on disk for the next process.

    No fast-math: results must agree bit for bit on every path. Division follows IEEE 754, as numpy
    does. The interpreter lock is released, so that a feed's thread goes on during a long kernel.

    The code is kept beside the source; where that can't be written, in the user's cache folder; if
    neither can, it is compiled in each process.
    """
    try:
        result: Callable[P, R] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder to write to
        result = numba.njit(nogil=True, error_model="numpy")(function)
        return result
    # numba takes kept code for current as long as the function's own file has not changed; but what
    # a kernel calls is compiled into it. So the stamp is that of all kernels together.
    cast(Any, result)._cache._cache_file._source_stamp = _stamp()
    return result


def cores() -> int:
    """On how many cores this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(*jobs: Callable[[], R]) -> list[R]:
    """The results of ``jobs``, each done by a thread of its own; worth it for kernels of 0.5 ms."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(jobs) - 1) as pool:
        others = [pool.submit(job) for job in jobs[1:]]
        return [jobs[0](), *(other.result() for other in others)]


@functools.cache
def _stamp() -> str:
    """A hash of all modules of the package that have kernels."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source = path.read_bytes()
        if re.search(rb"_compile import|import numba|from numba", source):
            digest.update(source)
    return digest.hexdigest()


def as_input(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A read-only, contiguous view (a copy where it must be) of an array, for a kernel.

    The compiler takes read-only and strided arrays for types of their own and compiles a kernel
    again for each; so they all get the one type that pandas' own columns have.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
