"""Measure every case and write RESULTS.md; see the package's docstring."""

from __future__ import annotations

import datetime
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from . import cases, harness

PACKAGES = ("numpy", "pandas", "pyarrow", "numba", "vectorbt", "vectorbt-rust", "ta-lib")


def report(inputs: cases.Inputs) -> Iterator[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield "# Benchmarks\n"
    yield "Written by `python -m benchmarks` in the project's environment.\n"
    yield f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    yield f"- Machine: {harness.machine()}"
    yield f"- Load (processes running, 1 minute) at the start: {os.getloadavg()[0]:.1f}"
    yield f"- Python {platform.python_version()}, {versions}"
    yield f"- Candles: {inputs.label}, {len(inputs.candles):,} rows\n"
    yield (
        f"{harness.RUNS} runs each, warm, the tools taking turns; before that every tool was held "
        "to the same answer. **Ratio**: the minimum over the minimum of the first line, so above 1 "
        "is slower than this package. Other work on the machine only adds to a time: trust "
        "minimums before medians, ratios before times."
    )
    for title, group in cases.GROUPS.items():
        yield f"\n## {title}\n\n| what | by | minimum | median | ratio |\n|---|---|--:|--:|--:|"
        for case in group(inputs):
            yield from harness.rows(case.title, harness.measure(case))
    if sys.platform == "linux":
        yield "\n## Memory that the sweep adds\n\nAt its peak, to a fresh process already warm."
        yield "\n| by | added |\n|---|--:|"
        for name in cases.SWEEPS:
            yield f"| {name} | {cases.memory_of(name, inputs) / 2**20:,.0f} MiB |"
    yield f"\nLoad at the end: {os.getloadavg()[0]:.1f}."


def main() -> None:
    """Write the file as a whole, so that a run that fails leaves the old one.

    What other commands wrote into it stays: see `harness.write_section`.
    """
    os.environ["TQDM_DISABLE"] = "1"
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in report(cases.load_inputs(Path(folder))):
            print(line, flush=True)
            lines.append(line)
    written = "\n".join(lines) + "\n" + harness.sections(harness.RESULTS)
    harness.RESULTS.write_text(written, "utf-8")


if __name__ == "__main__":
    main()
