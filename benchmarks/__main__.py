"""Measure every case and write RESULTS.md; see the package's docstring."""

from __future__ import annotations

import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from . import beside, cases, crossing, growth, harness, limits, peers, targets

PACKAGES = ("numpy", "pandas", "pyarrow", "numba", "vectorbt", "vectorbt-rust", "ta-lib")
HEAD = "| what | by | minimum | median | ratio |\n|---|---|--:|--:|--:|"


def report(inputs: cases.Inputs) -> Iterator[str]:
    """The lines of the file. All is measured before the first, for the targets come first."""
    begin, load = time.perf_counter(), os.getloadavg()[0]
    measured, tables = {}, []
    for title, group in cases.GROUPS.items():
        tables.append(f"\n## {title}\n\n{HEAD}")
        for case in group(inputs):
            tell(case.title)
            measured[case.title] = harness.measure(case)
            tables += harness.rows(case.title, measured[case.title])
        tables += [f"\n{beside.NOTE}"] if group is beside.beside else []
    tables += [*engine(inputs), *memory(inputs)]
    tell("first in a fresh process")
    first = growth.first_sweeps(inputs)
    added = growth.added_memory(inputs) if growth.ON_LINUX else None
    yield from header(inputs, load)
    yield "\n## The sweep engine: what was asked for\n"
    yield from targets.lines(list(targets.targets(inputs, measured, first, added)))
    yield from tables
    minutes = (time.perf_counter() - begin) / 60
    yield f"\nLoad at the end: {os.getloadavg()[0]:.1f}. All this took {minutes:.0f} minutes."


def header(inputs: cases.Inputs, load: float) -> Iterator[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in (*PACKAGES, *peers.PEERS))
    yield "# Benchmarks\n"
    yield "Written by `python -m benchmarks` in the project's environment.\n"
    yield f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    yield f"- Machine: {harness.machine()}"
    yield f"- Load (processes running, 1 minute) at the start: {load:.1f}"
    yield f"- Python {platform.python_version()}, {versions}"
    yield f"- Candles: {inputs.label}, {len(inputs.candles):,} rows\n"
    yield (
        f"{harness.RUNS} runs each, warm, the tools taking turns; before that every tool was held "
        "to the same answer. **Ratio**: the minimum over the minimum of the first line, so above 1 "
        "is slower than this package. Other work on the machine only adds to a time: trust "
        "minimums before medians, ratios before times."
    )


def engine(inputs: cases.Inputs) -> Iterator[str]:
    tell("growth")
    yield "\n## Growth\n\nBars doubled with all pairs, then pairs with all bars.\n"
    yield from growth.growing(inputs)
    if growth.ON_LINUX:
        tell("cores")
        yield from growth.cores(inputs)
    tell("profile")
    yield from limits.profile(inputs)


def memory(inputs: cases.Inputs) -> Iterator[str]:
    if growth.ON_LINUX:
        tell("memory")
        yield "\n## Memory that the small sweep adds\n"
        yield "At its peak, to a fresh process already warm.\n\n| by | added |\n|---|--:|"
        for name in crossing.SWEEPS:
            yield f"| {name} | {crossing.memory_of(name, inputs) / 2**20:,.0f} MiB |"


def tell(doing: str) -> None:
    """Say what is being measured; the file gets its lines at the end."""
    print(f"{datetime.datetime.now():%H:%M:%S} {doing}", file=sys.stderr, flush=True)


def main() -> None:
    """Write the file as a whole, so that a run that fails leaves the old one.

    What other commands wrote into it stays: see `harness.write_section`.
    """
    try:
        peers.need(*peers.PEERS)
    except peers.MissingPeerError as missing:
        sys.exit(str(missing))
    os.environ["TQDM_DISABLE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        lines = list(report(cases.load_inputs(Path(folder))))
    print(*lines, sep="\n")
    written = "\n".join(lines) + "\n" + harness.sections(harness.RESULTS)
    harness.RESULTS.write_text(written, "utf-8")


if __name__ == "__main__":
    main()
