"""Where the time of the plane goes, and how far that is from what the machine could do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import astraquant as aq
from astraquant._compile import compiled
from astraquant.candles import COLUMNS
from astraquant.engine.words import keys_above, numbers_above
from astraquant.strategies import ma_cross

from . import planes
from .growth import ON_LINUX
from .harness import Case, measure, shown
from .inputs import Inputs

CYCLES = 4  # of a multiplication and an exclusive or that wait for each other, on all of today's
LINES, BLOCK = 200, 512  # a block of the plane's rows: 200 KiB of keys, 800 KiB of numbers
LINE = 64  # bytes of a line of the caches
TAIL = 1024  # bars that are filled where no fills are wanted
_ROUNDS = 60  # short ones: some of them fall between what else the machine does
BESIDES, ROWS = "tracing, table and the like", "rows of averages"
DECISIONS, FILLS = "comparisons, crossings, changes", "fills and figures"


def best(job: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls, after one that compiles."""
    times = []
    for _ in range(_ROUNDS + 1):
        begin = time.perf_counter()
        job()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


@compiled
def _chain(steps: int) -> np.uint64:
    x = np.uint64(steps)
    for _ in range(steps):
        x = (x ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(6364136223846793005)
    return x


def clock() -> float:
    """Cycles per second of a core while it works, by a chain of dependent steps."""
    steps = 500_000
    return CYCLES * steps / best(lambda: _chain(steps))


@compiled
def _compare_keys(rows: npt.NDArray[Any], bars: int) -> np.uint64:
    found, count = np.uint64(0), len(rows) // bars
    for a in range(count):
        for b in range(a + 1, count):
            for k in range(0, bars, 64):
                found ^= keys_above(rows, a * bars + k, rows, b * bars + k)
    return found


@compiled
def _compare_numbers(rows: npt.NDArray[Any], bars: int) -> np.uint64:
    found, count = np.uint64(0), len(rows) // bars
    for a in range(count):
        for b in range(a + 1, count):
            for k in range(0, bars, 64):
                found ^= numbers_above(rows, a * bars + k, rows, b * bars + k)
    return found


def comparisons(of: str) -> float:
    """Comparisons per second of one core, each pair of a block's rows: of "keys" or "numbers"."""
    kind, job = (np.int16, _compare_keys) if of == "keys" else (np.float64, _compare_numbers)
    room = np.empty(LINES * BLOCK + LINE, kind)
    begin = -room.ctypes.data % LINE // room.itemsize  # else every load touches two lines
    rows = room[begin : begin + LINES * BLOCK]
    rows[:] = np.random.default_rng(1).integers(0, 30_000, len(rows))
    return BLOCK * LINES * (LINES - 1) // 2 / best(lambda: job(rows, BLOCK))


def copying() -> float:
    """Bytes per second that one core reads from the main memory and writes to it."""
    source = np.ones(2**23)
    target = np.empty_like(source)
    return 2 * source.nbytes / best(lambda: np.copyto(target, source))


# Where the time goes. Each stage is a difference of whole sweeps, all by the public way: what isn't
# asked for isn't done. A stage of the engine that is timed from within may stand beside them.


def sweeps(candles: pd.DataFrame) -> dict[str, Callable[[], aq.Sweep]]:
    """The plane with less and less left out: each does what the one before does, and one thing."""
    tail = candles.index[-min(len(candles), TAIL)]
    grid = planes.windows(len(planes.WINDOWS))
    every, late = planes.Plane(ma_cross, grid), {"start": tail}
    edge = {"short": grid["short"], "long": [planes.WINDOWS[-1]]}  # every window, few pairs
    return {
        BESIDES: partial(planes.sweep, candles.iloc[-TAIL:], every),
        ROWS: partial(planes.sweep, candles, planes.Plane(ma_cross, edge, late)),
        DECISIONS: partial(planes.sweep, candles, planes.Plane(ma_cross, grid, late)),
        FILLS: partial(planes.sweep, candles, every),
    }


def stages(seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each stage from those of the `sweeps`; together they are the whole plane."""
    besides, rows, decided, whole = (seconds[name] for name in (BESIDES, ROWS, DECISIONS, FILLS))
    found = {BESIDES: besides, ROWS: rows, DECISIONS: decided - rows - besides}
    return {**found, FILLS: whole - decided}


def profile(inputs: Inputs) -> Iterator[str]:
    """Two tables: the stages of the crossover's plane, and what the machine can do."""
    candles, tools = inputs.candles, sweeps(inputs.candles)
    least = {name: min(times) for name, times in measure(Case("profile", tools)).items()}
    spent, cores = stages(least), len(os.sched_getaffinity(0)) if ON_LINUX else os.cpu_count() or 1
    hertz = clock()
    trades = int(tools[FILLS]().table["trades"].sum())
    counts: dict[str, tuple[int, str]] = {
        BESIDES: (len(planes.PAIRS), "trials"),
        ROWS: (len(planes.WINDOWS) * len(candles), "averages"),
        DECISIONS: (len(planes.PAIRS) * len(candles), "comparisons"),
        FILLS: (2 * trades, "fills"),
    }
    yield (
        "\n## Where the time goes\n\n"
        "The plane of the crossover, in differences of sweeps: over few bars; over all bars with "
        "few pairs and nothing filled; with all pairs; with all fills.\n"
    )
    yield "| stage | time | share | of | each | cycles of one core |\n|---|--:|--:|--:|--:|--:|"
    for name, (count, unit) in counts.items():
        each = spent[name] / count
        share = spent[name] / least[FILLS]
        yield (
            f"| {name} | {shown(spent[name])} | {share:.0%} | {count:,} {unit} | {shown(each)} | "
            f"{each * cores * hertz:.3g} |"
        )
    if min(spent.values()) > 0:
        yield from distance(spent[DECISIONS] / counts[DECISIONS][0] * cores, len(candles), hertz)
    else:
        yield "\nOther work on the machine took longer than a stage: measure anew when it is quiet."


def distance(comparison: float, bars: int, hertz: float) -> Iterator[str]:
    """How far that is from the machine's limit. ``comparison``: seconds of one core for each."""
    keys, numbers, memory = comparisons("keys"), comparisons("numbers"), copying()
    yield "\n| what one core can do | per second | per cycle |\n|---|--:|--:|"
    yield f"| cycles | {hertz / 1e9:.2f} G | 1 |"
    for what, rate, unit in (
        ("compare rows of 16-bit keys that lie in its cache", keys, ""),
        ("compare rows of 64-bit numbers that lie in its cache", numbers, ""),
        ("copy in the main memory, read and written", memory, "B"),
    ):
        yield f"| {what} | {rate / 1e9:.1f} G{unit} | {rate / hertz:.3g} {unit} |"
    rate, read = 1 / comparison, len(COLUMNS) * 8 * bars
    yield (
        f"\nDecisions: {rate / hertz:.2g} comparisons per cycle and core, with all that follows "
        "from them (crossings, what is held, the search for changes). Were each one comparison of "
        f"keys and nothing else, {keys / rate:.1f} times as many would be possible, of numbers "
        f"{numbers / rate:.1f} times. A comparison reads the 2 bytes of one more key: "
        f"{2 * rate / 1e9:.1f} GB/s here of {2 * keys / 1e9:.0f}, from the cache. The main memory "
        f"is no limit: to copy the candles, {read / 1e6:.0f} MB, takes {shown(2 * read / memory)}."
    )
