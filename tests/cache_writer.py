"""A process for test_cache_faults.py that forks writers of one month, which die as they are told.

Every line of its input is one order, as JSON: ["loop", FIRST] writes version FIRST, FIRST + 1 and
so on until somebody kills it, saying "pid N", then "begin N" and "done N" in turn; ["line", N] is
killed by SIGKILL when it comes to the Nth line of the cache's code within one write; ["bytes", N]
dies in the middle of writing a file when it has N bytes. After each it says "dead" and the exit
code (negative: the signal).
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from astraquant.candles import COLUMNS, EXTRA_COLUMNS
from astraquant.data import cache, months

PLACE = ("binance", "BTCUSDT", "1m", "2023-03")
MINUTE = 60_000


def version(number: int) -> months.Month:
    """A whole month of minutes; its note says which, its numbers differ from one to the next."""
    since, until = months.month_span(PLACE[-1])
    times = np.arange(since, until, MINUTE)
    values = np.random.default_rng(number).random((9, len(times)))
    names = (*COLUMNS, *EXTRA_COLUMNS)
    return months.Month(times, dict(zip(names, values, strict=True)), since, until, (str(number),))


def write_versions(kept: cache.Cache, first: int) -> None:
    print(f"pid {os.getpid()}", flush=True)
    for number in itertools.count(first):
        content = version(number)
        print(f"begin {number}", flush=True)
        kept.write(*PLACE, content)
        print(f"done {number}", flush=True)


def die_at_line(wanted: int) -> None:
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != cache.__file__:
            return None
        count += event == "line"
        if count == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def die_at_byte(wanted: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make an error of it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, wanted))


def obey(kept: cache.Cache, order: str, number: int) -> None:
    if order == "loop":
        write_versions(kept, number)
    content = version(0)
    {"line": die_at_line, "bytes": die_at_byte}[order](number)
    kept.write(*PLACE, content)
    sys.settrace(None)


def main(root: str) -> None:
    kept = cache.Cache(Path(root))
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            obey(kept, *json.loads(line))
            os._exit(0)
        print("dead", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
