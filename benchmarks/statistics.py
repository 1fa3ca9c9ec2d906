"""How long the honest statistics take, and how much memory, at the size of a large sweep.

From the project's folder (about two minutes)::

    .venv/bin/python -m benchmarks.statistics

It writes a section of its own into ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from astraquant import _splits
from astraquant import statistics as honest

from . import harness, targets

TRIALS, BLOCKS, BARS = 20_000, 16, 32_845  # bars of a block: a year of minutes in 16
DAYS, RETURNS, DRAWS = 504, 10_000, 2_000

PBO = f"PBO, {TRIALS:,} trials × 12,870 splits, the band of noise included"
SPLITS = "… the splits alone"
BAND = f"… the band alone, {_splits.NOISY_TRIALS:,} trials × {_splits.NOISY_SPLITS} splits × 100"
SUMS = f"reality check, {TRIALS:,} trials × {BLOCKS} blocks × 1,000 draws"
CHECK = f"reality check, {TRIALS:,} trials × {DAYS} bars × 1,000 draws"
INTERVAL = f"Sharpe interval, {RETURNS:,} returns × {DRAWS:,} draws"
MOST = {PBO: 5.0}  # seconds that it must not exceed


def jobs(trials: int = TRIALS) -> dict[str, Callable[[], Any]]:
    """What is timed: on noise, whose figures take as long as any."""
    random = np.random.default_rng(0)
    sums = random.standard_normal((trials, BLOCKS)) * np.sqrt(BARS)
    squares = BARS + random.standard_normal((trials, BLOCKS)) * np.sqrt(2.0 * BARS)
    lengths = np.full(BLOCKS, float(BARS))
    returns = random.standard_normal((DAYS, trials))
    series = random.standard_normal(RETURNS)
    laid = _splits.arrange(sums, squares, np.broadcast_to(lengths, sums.shape), np.ones(trials))
    masks = _splits.halves(BLOCKS)
    return {
        PBO: lambda: honest.pbo_of_sums(sums, squares, lengths),
        SPLITS: lambda: _splits.choose(laid, masks, by_mean=False),
        BAND: lambda: _splits.noise(laid, masks, by_mean=False, draws=100, seed=0),
        SUMS: lambda: honest.reality_check_of_sums(sums, squares, lengths),
        CHECK: lambda: honest.reality_check(returns),
        INTERVAL: lambda: honest.sharpe_interval(series, draws=DRAWS),
    }


def added(which: int) -> int:
    """Bytes that one job adds to a process that did the same for a few trials before."""
    few, many = list(jobs(50).values()), list(jobs().values())
    few[which]()
    return harness.added_memory(many[which])


ADDED = "import sys; from benchmarks import statistics as s; print(s.added(int(sys.argv[1])))"


def report(seconds: Mapping[str, Sequence[float]], memory: Mapping[str, int]) -> Iterator[str]:
    """The lines of the section."""
    yield "## Honest statistics\n"
    yield (
        f"Written by `python -m benchmarks.statistics`: {harness.RUNS} runs each, warm, taking "
        "turns, on made-up noise. Memory: what the call adds to a fresh process with its input.\n"
    )
    yield from harness.circumstances()
    yield ""
    found = []
    for name, times in seconds.items():
        found.append(targets.Target(name, *harness.least_and_median(times), MOST.get(name)))
        if name in memory:
            most = 100.0 if name in MOST else None
            size = memory[name] / 2**20
            found.append(targets.Target("… memory added", size, size, most, unit="MB"))
    yield from targets.lines(found)


def main() -> None:
    """Measure, print and write the section."""
    every = jobs()
    seconds = harness.measure(harness.Case("statistics", every))
    memory = {}
    if sys.platform == "linux":
        memory = {name: int(harness.fresh(ADDED, str(k))) for k, name in enumerate(every)}
    lines = list(report(seconds, memory))
    harness.publish("statistics", lines)


if __name__ == "__main__":
    main()
