"""Compiled code is kept on disk, made anew when what it calls changes, and done without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from test_cache_faults import small_disk  # noqa: F401 - a fixture

PROJECT = Path(__file__).resolve().parent.parent
INNER = """
from ._compile import compiled

@compiled
def inner(x):
    return x + {}
"""
OUTER = """
from ._compile import compiled
from .inner import inner

@compiled
def outer(x):
    return 10 * inner(x)
"""
ASK = """
from astraquant.outer import outer
value, stats = outer(1), getattr(outer, "stats", None)
print(value, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def make_package(folder):
    """A package of two kernels, the one in the other, compiled as ours are."""
    package = folder / "astraquant"
    package.mkdir()
    shutil.copy(PROJECT / "astraquant" / "_compile.py", package)
    (package / "__init__.py").touch()
    (package / "inner.py").write_text(INNER.format(1))
    (package / "outer.py").write_text(OUTER)
    return package


def ask(folder, cache):
    """The kernel's answer in a new process, and how often its code was found and made."""
    unset = ("NUMBA_CACHE_DIR", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(cache), "HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ASK)],
        env=env, capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    assert not done.stderr
    return tuple(map(int, done.stdout.split()))


def test_compiled_code_is_kept_and_made_anew_when_what_it_calls_changes(tmp_path):
    package = make_package(tmp_path)
    cache = tmp_path / "cache"
    assert ask(tmp_path, cache) == (20, 0, 1)
    assert ask(tmp_path, cache) == (20, 1, 0)
    (package / "inner.py").write_text(INNER.format(2))  # not the file of the kernel that is called
    assert ask(tmp_path, cache) == (30, 0, 1)
    assert ask(tmp_path, cache) == (30, 1, 0)
    assert not cache.exists()  # it lies beside the source


def test_a_read_only_installation_keeps_compiled_code_in_the_users_cache(
    small_disk,  # noqa: F811
    tmp_path,
):
    make_package(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert ask(small_disk, tmp_path / "cache") == (20, 0, 1)
    assert ask(small_disk, tmp_path / "cache") == (20, 1, 0)
    assert list((tmp_path / "cache").rglob("*.nbi"))
    # Where that can't be written either, it is compiled each time, and works.
    for _ in range(2):
        assert ask(small_disk, small_disk / "cache") == (20, 0, 1)
