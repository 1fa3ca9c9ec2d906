"""Every notebook also runs on the real year of minutes, not only on the sample.

Stored figures can't match there, so nbval's lax mode is used: each cell must run without an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
REAL_YEAR = "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"


def run_notebook(notebook: Path, candles: Path, report: Path) -> subprocess.CompletedProcess[str]:
    """pytest on one notebook in a process of its own, its result as JUnit XML in ``report``."""
    lax = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120"]
    alone = ["-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {
        **os.environ,
        "ASTRAQUANT_CANDLES": str(candles),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", *alone, *lax, str(notebook)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def code_cells(notebook: Path) -> int:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return sum(cell["cell_type"] == "code" for cell in cells)


def counts(report: Path) -> dict[str, int]:
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    return {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_on_the_real_year(notebook: Path, market_data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    run = run_notebook(notebook, market_data / REAL_YEAR, report)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-2_000:]
    cells = code_cells(notebook)
    assert cells
    assert counts(report) == {"tests": cells, "failures": 0, "errors": 0, "skipped": 0}


def test_a_notebook_that_fails_on_the_candles_is_noticed(tmp_path: Path) -> None:
    missing, report = tmp_path / "missing.parquet", tmp_path / "report.xml"
    run = run_notebook(NOTEBOOKS[0], missing, report)
    assert run.returncode == 1
    assert counts(report)["failures"] > 0
    assert str(missing) in run.stdout
