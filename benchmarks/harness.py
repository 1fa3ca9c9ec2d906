"""Time several tools that do the same thing, taking turns, and say it as a table."""

from __future__ import annotations

import datetime
import gc
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_name("RESULTS.md")
RUNS = 5


@dataclass(frozen=True)
class Case:
    """One thing to do: the tools that do it (the package first) and when two answers are equal.

    ``same`` raises AssertionError where they are not. ``repeats``: how often one call does the
    thing (by tool, where they differ in this); the time of one is reported.
    """

    title: str
    tools: Mapping[str, Callable[[], Any]]
    same: Callable[[Any, Any], None] | None = None
    repeats: int | Mapping[str, int] = 1

    def times(self, tool: str) -> int:
        """How often one call of ``tool`` does the thing."""
        return self.repeats if isinstance(self.repeats, int) else self.repeats[tool]


def check(case: Case) -> None:
    """Call every tool once, which warms it up, and hold its answer to that of the first."""
    names = list(case.tools)
    ours = case.tools[names[0]]()
    for name in names[1:]:
        theirs = case.tools[name]()
        if case.same is not None:
            try:
                case.same(ours, theirs)
            except AssertionError as error:
                raise AssertionError(f"{case.title}: {names[0]} and {name} differ") from error


def measure(case: Case, runs: int = RUNS) -> dict[str, list[float]]:
    """Seconds of each run by tool; the tools take turns, each round beginning with another."""
    check(case)
    names = list(case.tools)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(runs):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            begin = time.perf_counter()
            answer = case.tools[name]()
            seconds[name].append((time.perf_counter() - begin) / case.times(name))
            del answer
    return seconds


def rows(title: str, seconds: dict[str, list[float]]) -> Iterable[str]:
    """The lines of a case in the table. The ratio is that of the minimums: noise only adds."""
    ours = min(next(iter(seconds.values())))
    for name, times in seconds.items():
        least, median = map(shown, least_and_median(times))
        ratio = min(times) / ours
        slower = f"{ratio:.2g}" if ratio < 99.5 else f"{ratio:,.0f}"
        yield f"| {title} | {name} | {least} | {median} | {slower} |"
        title = ""


def least_and_median(values: Sequence[float]) -> tuple[float, float]:
    return min(values), statistics.median(values)


def shown(seconds: float) -> str:
    """A time, in the unit in which it is at least 1 (if any is)."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if abs(seconds) * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def fresh(code: str, *arguments: str) -> str:
    """What a new Python prints when it runs ``code``, in the project's folder."""
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout


def added_memory(job: Callable[[], object]) -> int:
    """Bytes by which the process grows at most while it does ``job`` (Linux only)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = _status("VmRSS")
    answer = job()
    added = _status("VmHWM") - before
    del answer
    return added


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that no fewer than ``share`` of them reach at most."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def write_section(path: Path, name: str, lines: Iterable[str]) -> None:
    """Put ``lines`` in the place of the section ``name``, at the end if it is new."""
    text = path.read_text("utf-8") if path.is_file() else "# Benchmarks\n"
    begin, end = f"<!-- begin of {name} -->\n", f"<!-- end of {name} -->\n"
    section = begin + "".join(f"{line}\n" for line in lines) + end
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}{end}"
    before, _, rest = text.partition(begin)
    path.write_text(before + section + rest.partition(end)[2], "utf-8")


def publish(name: str, lines: Iterable[str]) -> None:
    """Print a section of the results and put it into its place in them."""
    told = list(lines)
    print("\n".join(told), flush=True)
    write_section(RESULTS, name, told)


def circumstances() -> Iterator[str]:
    """When and where it was measured, and what else ran there, a line each."""
    yield f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    yield f"- Machine: {machine()}"
    yield f"- Load (processes running, 1 minute) at the end: {os.getloadavg()[0]:.1f}"


def sections(path: Path) -> str:
    """All that `write_section` wrote into a file, as it stands there at the end."""
    text = path.read_text("utf-8") if path.is_file() else ""
    marked = re.finditer(r"<!-- begin of (.+) -->\n.*?<!-- end of \1 -->\n", text, re.DOTALL)
    return "".join("\n" + found.group() for found in marked)


class Process(NamedTuple):
    """What a process holds at a moment. ``memory``: bytes that are in the main memory."""

    memory: int
    threads: int
    files: int


def process() -> Process | None:
    """What this process holds now; None where that isn't measured: on anything but Linux."""
    if sys.platform != "linux":
        return None
    return Process(_status("VmRSS"), _status("Threads"), len(os.listdir("/proc/self/fd")) - 1)


def _status(field: str) -> int:
    pattern = rf"^{field}:\s+(\d+)( kB)?"
    found = re.search(pattern, Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * (1024 if found[2] else 1)


def machine() -> str:
    """The processor, its cores, the memory and the system, without names."""
    processor, memory = "unknown processor", ""
    if sys.platform == "linux":
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        processor = found[1] if found else processor
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = f", {size / 2**30:.0f} GiB of memory"
    return f"{processor}, {os.cpu_count()} cores{memory}, {sys.platform}"
