"""The README's code runs and prints what it says."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from astraquant import cli

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
CODE = [text for kind, text in BLOCKS if kind == "python"]
PRINTED = [text for kind, text in BLOCKS if kind == "text"]
COMMANDS = [
    line.removeprefix("python3 -m astraquant ")
    for kind, text in BLOCKS
    if not kind
    for line in text.splitlines()
    if line.startswith(("python3 -m astraquant backtest", "python3 -m astraquant sweep"))
]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_ten_lines_print_what_stands_below_them() -> None:
    assert len(PRINTED) == 6
    assert len(CODE[0].splitlines()) <= 12
    assert run(CODE[0]) == PRINTED[0]


def test_the_strategy_below_runs_too() -> None:
    ignore = "import warnings; warnings.simplefilter('ignore')\n"  # bqplot's own
    assert "Backtest ma_cross" in run(CODE[0] + ignore + CODE[1])


def test_the_sweep_below_prints_what_stands_below_it() -> None:
    ignore = "import warnings; warnings.simplefilter('ignore')\n"  # bqplot's own
    assert run(CODE[0] + ignore + CODE[2]) == PRINTED[0] + PRINTED[1]


def test_luck_and_tuning_print_what_stands_below_them() -> None:
    ignore = "import warnings; warnings.simplefilter('ignore')\n"  # bqplot's own
    assert run(CODE[3]) == PRINTED[2]
    assert run(CODE[0] + ignore + CODE[4]) == PRINTED[0] + PRINTED[3]


def test_several_symbols_print_what_stands_below_them() -> None:
    assert run(CODE[5]) == PRINTED[4]


def test_a_run_is_shown_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ignore = "import warnings; warnings.simplefilter('ignore')\n"  # bqplot's own
    run(CODE[0] + ignore + CODE[6])
    assert {file.name for file in tmp_path.iterdir()} == {"run.html", "run.png"}


def test_the_exchange_below_runs_too() -> None:
    assert len(CODE) == 10
    assert run(CODE[9]) == "7,120 candles from simulated exchange: synthetic sample (seed 7)\n"


def test_the_live_chart_and_the_feed_below_run_too() -> None:
    ignore = "import warnings; warnings.simplefilter('ignore')\n"  # bqplot's own
    shown = "print(repr(chart), chart.feed.is_simulated)\nchart.close()\n"
    expected = "LiveChart(BTCUSDT, 1m, sim, ma_cross(short=5, long=20, kind='sma')) True\n"
    assert run(ignore + CODE[7] + shown) == expected
    assert run("import astraquant as aq\n" + CODE[8]) == PRINTED[5]


def test_both_commands_are_there() -> None:
    assert [line.split()[0] for line in COMMANDS] == ["backtest", "sweep"]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_are_spelled_as_the_program_has_them(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are not there: the command line is read whole before that shows."""
    assert cli.main(line.split()) == 1
    assert "BTCUSDT-1m.parquet" in capsys.readouterr().err


def test_the_commands_around_an_exchange_are_spelled_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no exchange is, they are read whole and then say so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("ASTRAQUANT_BINANCE_REST", f"http://127.0.0.1:{port}")
    lines = re.findall(r"python3 -m astraquant ((?:fetch|cache|exchange|stream)\b.*)", README)
    streams = [lines.pop(0) for _ in range(2)]
    assert [line.split()[0] for line in lines] == ["fetch", "cache", "exchange"]
    for line in streams:
        assert cli.main([*line.replace(" --venue binance", "").split(), "--venue", "none"]) == 1
        assert "venue='none'" in capsys.readouterr().err
    assert cli.main(lines[0].split()) == 1
    assert "doesn't answer" in capsys.readouterr().err
    assert cli.main(lines[1].split()) == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main([*lines[2].split(), "--port", str(port)]) == 1
    assert "in use" in capsys.readouterr().err


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if "://" not in link]
    assert len(local) > 5
    assert [link for link in local if not (PROJECT / link).exists()] == []


def test_every_notebook_is_in_the_table() -> None:
    listed = set(re.findall(r"\]\((notebooks/\w+\.ipynb)\)", README))
    there = {f"notebooks/{path.name}" for path in (PROJECT / "notebooks").glob("*.ipynb")}
    assert listed == there
