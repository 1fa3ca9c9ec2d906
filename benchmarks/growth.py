"""How the plane of the crossover grows with bars and pairs, with cores, and in a fresh process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from astraquant.strategies import ma_cross

from . import harness, planes
from .crossing import COST
from .harness import Case, fresh, least_and_median, measure, shown
from .inputs import Inputs

HALVINGS = 3  # of the bars
WINDOWS = (50, 71, 100, 141, 200)  # each has about twice the pairs of the one before
ON_LINUX = sys.platform == "linux"  # where a process can be bound to a core, and its memory read
# Both begin as a researcher does, with nothing of the benchmarks loaded: what is imported on the
# way belongs to the first sweep.
_SWEEPS = f"""
import sys, time
begin = time.perf_counter()
import astraquant as aq
from astraquant.strategies import ma_cross
candles, grid = aq.read_candles(sys.argv[1]), range(5, 5 + int(sys.argv[2]))
def sweep(grid=grid):
    aq.sweep(candles, ma_cross, short=grid[:-1], long=grid[1:], cost={COST}).table
"""
_TIMES = """
times = [time.perf_counter()]
for _ in range(int(sys.argv[3])):
    sweep()
    times.append(time.perf_counter())
print(times[1] - begin, *(after - before for before, after in zip(times, times[1:])))
"""
_MEMORY = """
from benchmarks.harness import added_memory
sweep(range(5, 10))
print(added_memory(sweep))
"""


def growing(inputs: Inputs) -> Iterator[str]:
    """The lines of two tables in one: bars doubled with all pairs, pairs doubled with all bars."""
    candles = inputs.candles
    sizes = [(len(candles) >> k, len(planes.WINDOWS)) for k in range(HALVINGS, 0, -1)]
    sizes += [(len(candles), count) for count in WINDOWS if count <= len(planes.WINDOWS)]
    names = [f"{bars:,} | {count * (count - 1) // 2:,}" for bars, count in sizes]
    tools = {
        name: partial(
            planes.sweep,
            candles.iloc[:bars],
            planes.Plane(ma_cross, planes.windows(count)),
        )
        for name, (bars, count) in zip(names, sizes, strict=True)
    }
    yield "| bars | pairs | minimum | median | one bar of one pair |\n|--:|--:|--:|--:|--:|"
    seconds = measure(Case("growth", tools))
    for (name, times), (bars, count) in zip(seconds.items(), sizes, strict=True):
        least, median = least_and_median(times)
        yield (
            f"| {name} | {shown(least)} | {shown(median)} | "
            f"{shown(least / bars / (count * (count - 1) // 2))} |"
        )


class First(NamedTuple):
    """Seconds in a fresh process: from its start to the first table, that sweep, the next one."""

    whole: float
    first: float
    warm: float


def first_sweeps(inputs: Inputs, runs: int = harness.RUNS) -> list[First]:
    """What a fresh process takes, as often as it is run; compiled code is on disk already."""
    found = []
    for _ in range(runs):
        said = fresh(_SWEEPS + _TIMES, _file(inputs), str(len(planes.WINDOWS)), "2")
        found.append(First(*map(float, said.split())))
    return found


def cores(inputs: Inputs) -> Iterator[str]:
    """The gain of further cores (Linux only): each number in a fresh process of its own."""
    counts = [n for n in (1, 2, 4, 8, 16) if n <= len(os.sched_getaffinity(0))]
    yield "\n| cores | minimum | median | gain |\n|--:|--:|--:|--:|"
    alone = 0.0
    for count in counts:
        least, median = least_and_median(on_cores(inputs, count))
        alone = alone or least
        yield f"| {count} | {shown(least)} | {shown(median)} | {alone / least:.2f} × |"


def on_cores(inputs: Inputs, count: int, runs: int = harness.RUNS) -> list[float]:
    """Seconds of each warm sweep in a fresh process that may use ``count`` cores (Linux only)."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    bound = f"import os; os.sched_setaffinity(0, {cores})\n"  # before anything counts the cores
    arguments = _file(inputs), str(len(planes.WINDOWS)), str(runs + 1)
    return [float(word) for word in fresh(bound + _SWEEPS + _TIMES, *arguments).split()[2:]]


def added_memory(inputs: Inputs) -> int:
    """Bytes that the sweep adds at its peak to a fresh process that has done a small one before."""
    return int(fresh(_SWEEPS + _MEMORY, _file(inputs), str(len(planes.WINDOWS))))


def _file(inputs: Inputs) -> str:
    return str(inputs.files["parquet"])
