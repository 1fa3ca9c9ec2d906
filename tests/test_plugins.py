"""Plug-ins: a real package, installed into an environment of its own, and used from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_backtesting import random_walk

PROJECT = Path(__file__).resolve().parent.parent
PYPROJECT = """
[build-system]
requires = []
build-backend = "tiny_backend"
backend-path = ["."]

[project]
name = "tiny-strategies"
version = "1.2.3"

[project.entry-points."astraquant.strategies"]
weekend = "tiny_strategies:weekend"
missing = "tiny_strategies:missing"
crash = "tiny_strategies.crash:anything"
quits = "tiny_strategies.quits:anything"
five = "tiny_strategies:number"
ma_cross = "tiny_strategies:weekend"
"""
# Whatever builds a wheel will do; this one needs nothing from anywhere.
BACKEND = """
import tomllib
import zipfile
from pathlib import Path


def build_wheel(folder, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    info = f"tiny_strategies-{project['version']}.dist-info"
    files = {path.as_posix(): path.read_text() for path in Path("tiny_strategies").glob("*.py")}
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n"
    )
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    entries = project["entry-points"]["astraquant.strategies"]
    lines = [f"{name} = {value}" for name, value in entries.items()]
    files[f"{info}/entry_points.txt"] = "\\n".join(["[astraquant.strategies]", *lines, ""])
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    name = f"tiny_strategies-{project['version']}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
MODULE = '''
from typing import Annotated

from astraquant import Range, hold, strategy
from astraquant.indicators import previous

number = 5


@strategy(valid=lambda back, level: back > level)
def weekend(candles, back: Annotated[int, Range(1, 50)] = 3, level: float = 1.0):
    """Long above a close of old, until below it."""
    old = previous(candles.close, back)
    return hold(candles.close > level * old, candles.close < old)
'''
USE = """
import json, sys
import pandas as pd
import astraquant as aq

candles = pd.read_parquet(sys.argv[1]).set_index("time")
weekend = aq.strategies.find_strategy("weekend")
result = aq.sweep(candles, weekend, back=[2, 3, 5])
rows = [result.backtest(row).metrics.total_return for row in result.table.index]
assert rows == result.table.total_return.to_list()
report = aq.check_strategy(weekend, candles)
print(json.dumps([result.passport["engine"], report.traced, rows]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Build and install the package as its users would, and give what a process needs to see it."""
    folder = tmp_path_factory.mktemp("plug-in")
    package = folder / "source" / "tiny_strategies"
    package.mkdir(parents=True)
    (folder / "source" / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text(MODULE)
    (package / "crash.py").write_text("import a_package_that_nobody_has\n")
    (package / "quits.py").write_text("raise SystemExit('no licence')\n")
    (folder / "source" / "tiny_backend.py").write_text(BACKEND)
    target = folder / "site"
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, folder / "source"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    random_walk(400, 1).reset_index().to_parquet(folder / "walk.parquet")
    return folder, {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(target)])}


def run(environment, *arguments):
    folder, variables = environment
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_is_listed_with_its_origin_and_the_broken_ones_with_their_error(environment):
    done = run(environment, "-m", "astraquant", "strategies", "--json")
    assert done.returncode == 0, done.stderr
    listed = {(one["name"], one["origin"]): one for one in json.loads(done.stdout)}
    good = listed["weekend", "tiny-strategies 1.2.3"]
    assert good["error"] is None
    assert good["description"] == "Long above a close of old, until below it."
    assert good["rule"] == "back > level"
    back, level = good["parameters"]
    assert back == {"name": "back", "kind": "int", "default": 3, "range": [1, 50], "choices": None}
    assert (level["kind"], level["default"], level["range"]) == ("float", 1.0, None)
    errors = {
        name: one["error"]
        for (name, origin), one in listed.items()
        if origin == "tiny-strategies 1.2.3" and one["error"]
    }
    assert set(errors) == {"missing", "crash", "quits", "five", "ma_cross"}
    assert "missing" in errors["missing"]
    assert "a_package_that_nobody_has" in errors["crash"]
    assert "no licence" in errors["quits"]
    assert "decorate it with @strategy" in errors["five"]
    assert "taken already" in errors["ma_cross"]
    assert listed["ma_cross", "built in"]["parameters"][2]["choices"] == ["sma", "ema", "wma"]


def test_the_list_is_readable(environment):
    done = run(environment, "-m", "astraquant", "strategies")
    assert done.returncode == 0, done.stderr
    expected = """\
        weekend (tiny-strategies 1.2.3)
          Long above a close of old, until below it.
          back: int, default 3, 1 to 50
          level: float, default 1.0
          expected: back > level"""
    assert textwrap.dedent(expected) in done.stdout
    assert "crash (tiny-strategies 1.2.3) can't be used\n  tiny_strategies.crash:" in done.stdout
    assert "buy_and_hold (built in)" in done.stdout


def test_it_is_run_by_its_name(environment):
    folder, _ = environment
    file = str(folder / "walk.parquet")
    done = run(environment, "-m", "astraquant", "backtest", file, "--strategy", "weekend", "back=5")
    assert done.returncode == 0, done.stderr
    assert "total_return" in done.stdout
    broken = run(environment, "-m", "astraquant", "backtest", file, "--strategy", "crash")
    assert broken.returncode == 1
    assert "plug-in 'crash' of tiny-strategies 1.2.3: ModuleNotFoundError" in broken.stderr
    other = run(environment, "-m", "astraquant", "backtest", file, "short=5", "long=9")
    assert other.returncode == 0
    assert not other.stderr  # a built-in one has nothing to do with broken packages


def test_it_is_checked_and_swept_like_any_other(environment):
    folder, _ = environment
    done = run(environment, "-c", USE, str(folder / "walk.parquet"))
    assert done.returncode == 0, done.stderr
    engine, traced, rows = json.loads(done.stdout)
    assert engine == "compiled"
    assert traced
    assert len(set(rows)) == 3
