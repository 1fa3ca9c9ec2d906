"""Planes of the built-in strategies, and of stops, beside that of the crossover.

From the project's folder (about five minutes)::

    .venv/bin/python -m benchmarks.strategies

It writes a section of its own into ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from . import harness, planes, targets
from .harness import Case
from .inputs import Inputs, load_inputs

BESIDE = (planes.LONG, "ma_cross, short", "ma_cross, both")


def case(inputs: Inputs) -> Case:
    """All planes of about 19,900 trials, in turns."""
    every = {name: planes.PLANES[name] for name in BESIDE} | planes.MORE
    tools = {name: partial(planes.sweep, inputs.candles, plane) for name, plane in every.items()}
    return Case(planes.others_title(inputs), tools, planes.same_rows)


def found(seconds: Mapping[str, Sequence[float]]) -> Iterator[targets.Target]:
    """Each plane's time against that of the crossover."""
    long = seconds[planes.LONG]
    yield targets.Target(planes.LONG, *harness.least_and_median(long))
    for name, times in seconds.items():
        if name != planes.LONG:
            asked = planes.MORE.get(name) or planes.PLANES[name]
            yield targets.compared(f"… against that, {name}", times, long, asked.must, asked.aim)


def report(inputs: Inputs, seconds: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """The lines of the section."""
    yield "## Built-in strategies and stops\n"
    yield (
        f"Written by `python -m benchmarks.strategies`: {planes.others_title(inputs)}, "
        f"{harness.RUNS} runs each, warm, taking turns; some rows of each were held to their "
        "backtests.\n"
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
    harness.publish("strategies", lines)


if __name__ == "__main__":
    main()
