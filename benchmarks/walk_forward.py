"""Walk-forwards over a year of minutes: 2,000 combinations, trained on 90 days, traded on 30.

From the project's folder (about a minute)::

    .venv/bin/python -m benchmarks.walk_forward

It writes a section of its own into ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

import astraquant as aq
from astraquant.strategies import ma_cross

from . import harness, targets
from .harness import Case
from .inputs import Inputs, load_inputs

GRID: dict[str, Any] = {"short": range(5, 45), "long": range(50, 200, 3)}  # 2,000 combinations
JOINED, ANCHORED, ALONE = "walk_forward", "walk_forward, anchored", "its sweeps alone"
MUST = 3.0  # seconds


def walk(candles: pd.DataFrame, *, anchored: bool = False) -> aq.WalkForward:
    return aq.walk_forward(candles, ma_cross, train="90d", test="30d", anchored=anchored, **GRID)


def alone(candles: pd.DataFrame, windows: pd.DataFrame) -> list[aq.Sweep]:
    """The sweep of each training, by hand."""
    ends = zip(windows["train_start"], windows["train_end"], strict=True)
    return [aq.sweep(candles, ma_cross, start=start, end=end, **GRID) for start, end in ends]


def same(ours: aq.WalkForward, theirs: aq.WalkForward | list[aq.Sweep]) -> None:
    """Every choice is that of the sweep by hand; growing trainings begin as the others do."""
    if isinstance(theirs, aq.WalkForward):
        pd.testing.assert_series_equal(ours.windows.iloc[0], theirs.windows.iloc[0])
        return
    for (_, row), swept in zip(ours.windows.iterrows(), theirs, strict=True):
        best = swept.best("sharpe")
        assert (best.name, best["sharpe"]) == ((row["short"], row["long"]), row["in_sample"])


def case(inputs: Inputs) -> Case:
    """All of them, in turns."""
    candles = inputs.candles
    windows = walk(candles).windows
    tools: dict[str, Callable[[], Any]] = {
        JOINED: partial(walk, candles),
        ANCHORED: partial(walk, candles, anchored=True),
        ALONE: partial(alone, candles, windows),
    }
    return Case(title(inputs), tools, same)


def title(inputs: Inputs) -> str:
    return f"2,000 combinations, 90 days and 30, {len(inputs.candles):,} minutes"


def found(seconds: Mapping[str, Sequence[float]]) -> Iterator[targets.Target]:
    """The time of the whole, and how much of it is not sweeps."""
    for name in (JOINED, ANCHORED):
        must = MUST if name == JOINED else None
        yield targets.Target(name, *harness.least_and_median(seconds[name]), must=must)
    yield targets.compared(f"… against {ALONE}", seconds[JOINED], seconds[ALONE], None, None)


def report(inputs: Inputs, seconds: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """The lines of the section."""
    yield "## Walk-forward\n"
    yield (
        f"Written by `python -m benchmarks.walk_forward`: {title(inputs)}, {harness.RUNS} runs "
        "each, warm, taking turns; every choice was held to the sweep of its training.\n"
    )
    yield from harness.circumstances()
    yield f"- Candles: {inputs.label}\n"
    yield from targets.lines(list(found(seconds)))


def main() -> None:
    """Measure, print and write the section."""
    os.environ["TQDM_DISABLE"] = "1"
    with TemporaryDirectory() as folder:
        inputs = load_inputs(Path(folder))
        lines = list(report(inputs, harness.measure(case(inputs))))
    harness.publish("walk_forward", lines)


if __name__ == "__main__":
    main()
