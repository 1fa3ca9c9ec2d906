"""The commands, as typed: real files in, text, JSON, tables and exit codes out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_backtesting import random_walk

import astraquant as aq
from astraquant.cli import main
from astraquant.strategies import ma_cross
from astraquant.strategies.definition import RESERVED


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("candles") / "walk.parquet"
    random_walk(3_000, 1).reset_index().to_parquet(path)
    return path


def test_backtest_prints_every_figure(file, capsys):
    assert main(["backtest", str(file), "--strategy", "ma_cross", "short=5", "long=20"]) == 0
    shown = capsys.readouterr().out
    expected = aq.backtest(random_walk(3_000, 1), ma_cross, short=5, long=20).metrics
    assert f"{expected.total_return:,.2%}" in shown
    assert all(name in shown for name in expected.index)
    assert "open of the next bar" in shown


def test_backtest_as_json_is_the_same_result(file, capsys):
    line = f"backtest {file} short=5 --timeframe 15m long=20 --cost 0.002 --direction both --json"
    assert main(line.split()) == 0
    got = json.loads(capsys.readouterr().out)
    expected = aq.backtest(
        random_walk(3_000, 1),
        ma_cross,
        short=5,
        long=20,
        timeframe="15m",
        cost=0.002,
        direction="both",
    )
    figures = {k: float("nan") if v is None else v for k, v in got["metrics"].items()}
    assert figures == pytest.approx(expected.metrics.to_dict(), nan_ok=True)
    assert got["passport"]["candles_sha256"] == expected.passport["candles_sha256"]
    assert got["notes"] == list(expected.notes)


def test_a_figure_without_value_is_null(file, capsys):
    assert (
        main(["backtest", str(file), "short=300", "long=800", "--end", "2023-01-02", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["metrics"]["sharpe"] is None


def test_sweep_prints_the_best_and_writes_the_table(file, tmp_path, capsys):
    out = tmp_path / "table.parquet"
    line = f"sweep {file} --short 2:6:2 --long 10,20 --cost 0,0.001 --top 3 --out {out}"
    assert main(line.split()) == 0
    shown = capsys.readouterr().out.splitlines()
    expected = aq.sweep(
        random_walk(3_000, 1), ma_cross, short=[2, 4], long=[10, 20], cost=[0.0, 0.001]
    )
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected.table.reset_index())
    best = expected.ranking("sharpe").index[:3]
    rows = [line.split()[:3] for line in shown[3:6]]
    assert rows == [[str(v) for v in place] for place in best]
    assert any("beats luck" in line for line in shown)


def test_sweep_sorts_by_another_metric_and_writes_csv(file, tmp_path, capsys):
    out = tmp_path / "table.csv"
    line = (
        f"sweep {file} --short 2,4 --long 10 --metric max_drawdown --timeframe 5m,15m --out {out}"
    )
    assert main(line.split()) == 0
    table = pd.read_csv(out)
    assert list(table.columns[:2]) == ["short", "timeframe"]
    assert len(table) == 4
    first = capsys.readouterr().out.splitlines()[3].split()
    top = table.sort_values("max_drawdown", ascending=False).iloc[0]
    assert first[0] == str(top["short"])


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("backtets", 2, "Did you mean 'backtest'"),
        ("backtest nowhere.parquet short=5", 1, "nowhere.parquet"),
        ("backtest FILE shrt=5", 1, "Did you mean 'short'"),
        ("backtest FILE short", 1, "expected NAME=VALUE"),
        ("backtest FILE short=five", 1, "expected a whole number"),
        ("backtest FILE short=50 long=20", 1, "short < long"),
        ("backtest FILE --cost free", 1, "cost='free': expected a number"),
        ("backtest FILE --strategy ma_crss", 1, "Did you mean 'ma_cross'"),
        ("backtest FILE --timeframe 5x", 1, "unknown timeframe"),
        ("sweep FILE --short 5", 1, "nothing to sweep"),
        ("sweep FILE --short 5:x", 1, "expected a whole number"),
        ("sweep FILE --short 5:9:0", 1, "a step above 0"),
        ("sweep FILE --short 9:5", 1, "short is empty"),
        ("backtest FILE short=5 long=9 short=6", 1, "short is given twice"),
        ("backtest FILE timefrmae=5m", 1, "Did you mean '--timeframe'"),
        ("sweep nowhere.parquet --short 5,6 --metric sharp", 1, "Did you mean 'sharpe'"),
        ("sweep FILE --short 300,301 --long 800 --end 2023-01-02", 1, "no combination has a"),
        ("sweep FILE --short 5,6 --top 0", 1, "at least one row"),
        ("sweep FILE --short 5,6 --out table.xls", 1, ".parquet or .csv"),
        ("sweep FILE --short 5,6 --out nowhere/table.csv", 1, "no folder nowhere"),
        (f"sweep nowhere.parquet --short 5,6 --out {'long' * 99}.csv", 1, "can't be written"),
    ],
)
def test_mistakes_are_told_with_the_cure(file, line, code, text, capsys):
    assert main(line.replace("FILE", str(file)).split()) == code
    shown = capsys.readouterr()
    assert text in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("command", ["", "backtest", "sweep"])
def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("sweep FILE --shrt 5,6", "--shrt"),
        ("sweep FILE --strategy", "astraquant sweep: error: argument --strategy"),
        ("backtest", "required: FILE\n"),
    ],
)
def test_misspelled_command_lines_end_with_the_usage(line, text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert f"usage: astraquant {line.split()[0]} " in shown
    assert text in shown


def test_a_table_is_written_even_where_no_row_has_the_metric(file, tmp_path, capsys):
    out = tmp_path / "table.csv"
    line = f"sweep {file} --short 300,301 --long 800 --end 2023-01-02 --out {out}"
    assert main(line.split()) == 1
    assert "The best 0" not in capsys.readouterr().out
    assert pd.read_csv(out)["sharpe"].isna().tolist() == [True, True]


def test_a_refused_sweep_leaves_no_file_and_harms_none(tmp_path):
    for name, before in [("new.csv", None), ("old.csv", "kept\n")]:
        out = tmp_path / name
        if before:
            out.write_text(before)
        assert main(["sweep", "nowhere.parquet", "--short", "5,6", "--out", str(out)]) == 1
        assert (out.read_text() if out.exists() else None) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_table_that_does_not_fit_is_told(file, tmp_path, capsys):
    out = tmp_path / "table.csv"
    out.symlink_to("/dev/full")
    assert main(["sweep", str(file), "--short", "5,6", "--out", str(out)]) == 1
    shown = capsys.readouterr()
    assert f"--out {out} can't be written" in shown.err
    assert "The best 2" in shown.out


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package on the path whose strategy has a default with a percent sign, and none."""
    (tmp_path / "odd_strategies.py").write_text(
        "from astraquant import strategy\n"
        "@strategy\n"
        "def odd(candles, level: float, share: str = '50%'):\n"
        "    return candles.close > level\n"
    )
    info = tmp_path / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[astraquant.strategies]\nodd = odd_strategies:odd\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_help_lists_the_parameters_of_a_strategy(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "--strategy", "odd", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "str, default 50%" in shown
    assert "float, needed" in shown


def test_every_option_is_a_reserved_name(capsys):
    """Else a strategy could have a parameter that the command line can't tell from it."""
    for command in ("backtest", "sweep"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        options = capsys.readouterr().out.partition("options:")[2]
        own = re.split("parameters of|examples:", options)[0]
        found = re.findall(r"--([\w-]+)", own)
        names = {"file", *(name.replace("-", "_") for name in found)}
        assert names > {"help", "cost"}
        assert names <= RESERVED


def test_the_real_program_and_the_sample():
    line = [sys.executable, "-m", "astraquant", "backtest", "sample", "short=20", "long=100"]
    done = subprocess.run(
        [*line, "--timeframe", "4h", "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert result["passport"]["source"].startswith("synthetic")
    assert any("simulated" in note for note in result["notes"])


def test_a_parameter_written_as_an_option_is_told_how(file, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["backtest", str(file), "--short", "5"])
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert "unknown: --short" in shown and "written as in short=50" in shown


def test_stops_are_options_of_both(file, tmp_path, capsys):
    line = ["short=5", "long=20", "--stop-loss", "0.01", "--trailing-stop=0.02", "--json"]
    assert main(["backtest", str(file), *line]) == 0
    told = json.loads(capsys.readouterr().out)
    candles = aq.read_candles(file)
    stops = {"stop_loss": 0.01, "trailing_stop": 0.02}
    expected = aq.backtest(candles, ma_cross, short=5, long=20, **stops)
    assert told["metrics"]["total_return"] == expected.metrics["total_return"]
    out = tmp_path / "table.csv"
    line = ["--short=5", "--long=20", "--stop-loss=0.01:0.04:0.01", "--take-profit=inf,0.05"]
    assert main(["sweep", str(file), *line, "--metric=total_return", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["stop_loss"].tolist() == [0.01, 0.01, 0.02, 0.02, 0.03, 0.03]
    assert table["take_profit"].tolist() == [float("inf"), 0.05] * 3
    row = aq.backtest(candles, ma_cross, short=5, long=20, stop_loss=0.03, take_profit=0.05)
    assert table["total_return"].iloc[-1] == pytest.approx(row.metrics["total_return"])
