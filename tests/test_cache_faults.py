"""The candle cache among killed processes, other writers, full and read-only disks."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_months import (
    APRIL,
    DAY,
    END,
    MARCH,
    bits,
    files_in,
    only,
    path_of,
    put,
    some_month,
)

from astraquant.data.cache import Cache, CacheError

PROJECT = Path(__file__).resolve().parent.parent
MINUTES = (*MARCH[:2], "1m", "2023-03")
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that fork: POSIX only")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


# Other processes (failures 28 and 30)


class Writer:
    """The process of cache_writer.py, spoken to through its pipes."""

    def __init__(self, cache: Cache) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROJECT / "tests" / "cache_writer.py"), str(cache.folder.parent)],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def order(self, *words: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def answer(self) -> tuple[str, int]:
        assert self.process.stdout
        word, number = self.process.stdout.readline().split()
        return word, int(number)


@pytest.fixture
def start_writer(cache):
    started = []

    def start() -> Writer:
        started.append(Writer(cache))
        return started[-1]

    yield start
    for writer in started:
        os.killpg(writer.process.pid, signal.SIGKILL)  # with what it has forked
        writer.process.communicate()


@posix
def test_killed_at_every_line_of_a_write_it_leaves_a_whole_file_or_none(cache, start_writer):
    writer = start_writer()
    seen = set()
    for line in range(1, 200):
        codes = []
        for before in (None, "before"):
            shutil.rmtree(cache.folder, ignore_errors=True)
            old = some_month(44_640, step=60_000, notes=("before",))
            if before:
                cache.write(*MINUTES, old)
            writer.order("line", line)
            word, code = writer.answer()
            assert word == "dead" and code in (0, -signal.SIGKILL)
            codes.append(code)
            kept = cache.read(*MINUTES)
            seen.add((before, kept and kept.notes[0], code))
            assert kept is None or kept.notes in (("0",), ("before",))
            assert kept is not None or not before
        if not any(codes):
            break
    assert seen == {  # old or nothing until it is renamed, then new; at last it isn't killed
        *((None, kept, -signal.SIGKILL) for kept in (None, "0")),
        *(("before", kept, -signal.SIGKILL) for kept in ("before", "0")),
        *((before, "0", 0) for before in (None, "before")),
    }


@posix
def test_killed_within_the_bytes_of_a_file_it_leaves_no_part_of_it(cache, start_writer):
    writer = start_writer()
    for size in (0, 1, 4096, 10**6):
        writer.order("bytes", size)
        assert writer.answer() == ("dead", -signal.SIGXFSZ)
        assert cache.read(*MINUTES) is None and cache.entries() == []
    assert [name.endswith(".tmp") for name in files_in(cache)] == [True] * 4


@posix
def test_killed_at_any_time_what_was_acknowledged_is_there(cache, start_writer):
    writer = start_writer()
    dice = random.Random(3)
    done = 0
    for _ in range(30):
        writer.order("loop", done + 1)
        word, pid = writer.answer()
        assert word == "pid"
        for _ in range(dice.randrange(6)):
            word, number = writer.answer()
            done = number if word == "done" else done
        os.kill(pid, signal.SIGKILL)
        while (told := writer.answer())[0] != "dead":
            done = told[1] if told[0] == "done" else done
        assert told[1] == -signal.SIGKILL
        kept = cache.read(*MINUTES)
        assert (int(kept.notes[0]) if kept else 0) in (done, done + 1)
        done = int(kept.notes[0]) if kept else 0
    assert done > 10


@posix
def test_two_writers_and_a_reader_never_see_half_a_file(cache, start_writer, caplog):
    writers = [start_writer(), start_writer()]
    for number, writer in enumerate(writers):
        writer.order("loop", number * 10**6)
    pids = [writer.answer()[1] for writer in writers]
    seen = [set(), set()]
    give_up = time.monotonic() + 120
    while min(map(len, seen)) < 10:
        assert time.monotonic() < give_up, "the writers don't write"
        kept = cache.read(*MINUTES)
        if kept:
            number = int(kept.notes[0])
            seen[number // 10**6].add(number)
        assert kept or not any(seen)
    for pid, writer in zip(pids, writers, strict=True):
        os.kill(pid, signal.SIGKILL)
        while writer.answer()[0] != "dead":
            pass
    assert cache.read(*MINUTES)
    assert not caplog.records


def test_what_the_killed_leave_behind_is_removed_after_a_day(cache):
    cache.write(*MARCH, some_month())
    folder = path_of(cache).parent
    old, new = folder / "2023-03.1-0123abcd.tmp", folder / "2023-03.2-0123abcd.tmp"
    april = some_month(since=END, until=END + DAY)
    for remove in (lambda: cache.write(*APRIL, april), cache.clear, cache.clear):
        for path in (old, new):
            path.write_bytes(b"half of a file")
        long_ago = path.stat().st_mtime - 25 * 3600
        os.utime(old, (long_ago, long_ago))
        remove()
        assert not old.exists() and new.exists()


# Disks (failure 29)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, as `mount` gives it to root on Linux."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_of_and_keeps_what_it_has(small_disk):
    cache = Cache(small_disk / "cache")
    cache.write(*MARCH, some_month())
    before = files_in(cache)
    large = some_month(44_640, step=60_000)
    with pytest.raises(CacheError, match=r"No space left on device.*ASTRAQUANT_CACHE"):
        cache.write(*MINUTES, large)
    assert files_in(cache) == before  # no part of it takes room from now on
    assert bits(cache.read(*MARCH)) == bits(some_month())
    assert cache.read(*MINUTES) is None
    (small_disk / "other").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(CacheError, match="No space left on device"):
        cache.write(*APRIL, some_month(since=END, until=END + DAY))
    assert cache.clear()[0] == 1
    cache.write(*MARCH, some_month())
    assert bits(cache.read(*MARCH)) == bits(some_month())


def test_a_read_only_disk_is_read_and_told_of(small_disk, caplog):
    cache = Cache(small_disk / "cache")
    cache.write(*MARCH, some_month())
    put(cache, b"not candles", APRIL)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert bits(cache.read(*MARCH)) == bits(some_month())
    with pytest.raises(CacheError, match=r"can't be kept in .*Read-only file system.*ASTRAQUANT"):
        cache.write(*MARCH, some_month())
    with pytest.raises(CacheError, match="can't be cleared: Read-only file system"):
        cache.clear()
    assert not caplog.records
    assert cache.read(*APRIL) is None
    assert "left there (Read-only file system), its candles are loaded anew" in only(caplog)
    assert len(cache.entries()) == 2
