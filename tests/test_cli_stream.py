"""`astraquant stream`: the real program, its lines, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from feeds import sample

from astraquant.cli import main
from astraquant.exchange import SimulatedExchange

pty = pytest.importorskip("pty", reason="terminals of POSIX only")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a single process")


@pytest.fixture(scope="module")
def venue() -> Iterator[SimulatedExchange]:
    candles = sample("BTCUSDT", "2023-02-01 00:00", "2023-02-02 00:00")
    with SimulatedExchange(candles, speed=60, start="2023-02-01 01:00") as running:
        yield running


def stream(venue: SimulatedExchange, *options: str, stdout: int = subprocess.PIPE) -> Any:
    line = ["stream", "BTCUSDT", "--venue", venue.url, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "astraquant", *line],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def ended(child: Any) -> tuple[int, str]:
    """Interrupt it; its exit code and what it said on stderr."""
    child.send_signal(signal.SIGINT)
    _, trouble = child.communicate(timeout=60)
    return child.returncode, trouble


def test_a_line_a_candle_until_ctrl_c(venue: SimulatedExchange) -> None:
    with stream(venue) as child:
        lines = [child.stdout.readline() for _ in range(3)]
        code, trouble = ended(child)
    assert code == 0
    assert lines[0].startswith("BTCUSDT 1m, SIMULATED prices (simulated exchange: synthetic")
    truth = sample("BTCUSDT", "2023-02-01 00:00", "2023-02-02 00:00")
    for line in lines[1:]:
        words = line.split()
        row = truth.loc[f"{words[0]} {words[1]}:00+00:00"]
        named = dict(zip(words[3:-1:2], map(float, words[4:-1:2]), strict=True))
        assert words[2] == "BTCUSDT"
        assert words[-1] == "closed"
        assert named == pytest.approx({name: row[name] for name in named})
        assert list(named) == ["open", "high", "low", "close", "volume"]
    assert trouble.splitlines()[0].startswith("WS CONNECTED ws://127.0.0.1")
    assert "candle closed" not in trouble


def test_json_for_machines_and_a_reader_who_has_enough(venue: SimulatedExchange) -> None:
    with stream(venue, "--json", "--timeframe", "3m") as child:
        told = [json.loads(child.stdout.readline()) for _ in range(2)]
        child.stdout.close()
        assert child.wait(60) == 0
        assert "Traceback" not in child.stderr.read()
    assert told[1]["time"] - told[0]["time"] == 180_000
    for line in told:
        assert (line["symbol"], line["timeframe"], line["kind"]) == ("BTCUSDT", "3m", "closed")
        assert line["simulated"] is True
        assert line["low"] <= line["close"] <= line["high"]


def rows_of(shown: str, columns: int) -> list[str]:
    """What a terminal of so many columns shows of these characters."""
    rows, at = [""], 0
    for part in re.split(r"(\r\n|\n|\r|\x1b\[K)", shown):
        if part in ("\n", "\r\n"):
            rows.append("")
            at = 0
        elif part == "\r":
            at = 0
        elif part == "\x1b[K":
            rows[-1] = rows[-1][:at]
        else:
            for sign in part:
                if at == columns:  # it wraps
                    rows.append("")
                    at = 0
                rows[-1] = rows[-1][:at].ljust(at) + sign + rows[-1][at + 1 :]
                at += 1
    return rows


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_shows_the_forming_candle_below_the_closed_ones(
    venue: SimulatedExchange, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ours, theirs = pty.openpty()
    with stream(venue, stdout=theirs) as child:
        os.close(theirs)
        shown = ""
        while shown.count(" closed") < 3:
            shown += os.read(ours, 1000).decode()
        code, _ = ended(child)
    os.close(ours)
    assert code == 0
    assert shown.count("\r\x1b[K") > 3  # lines were written over
    rows = rows_of(shown[: shown.rindex(" closed") + 7], 200)  # only what is forming must fit
    assert "SIMULATED prices" in rows[0]
    assert [row.split()[-1] for row in rows[1:]] == ["closed"] * 3
    forming = re.findall(r"(?:^|\n|\x1b\[K)([^\r\n\x1b]*)(?=\r\x1b\[K)", shown)
    assert forming
    assert all(len(line) < columns for line in forming)


def test_simulated_prices_are_named_however_late_the_venue_answers(
    venue: SimulatedExchange,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    candles = sample("BTCUSDT", "2023-02-01 00:00", "2023-02-02 00:00")
    late = SimulatedExchange(candles, speed=60, start="2023-02-01 01:00", port=port)
    command = ["stream", "BTCUSDT", "--venue", f"http://127.0.0.1:{port}"]
    with subprocess.Popen(
        [sys.executable, "-m", "astraquant", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        assert child.stdout is not None
        while "waiting for" not in child.stderr.readline():
            pass  # until it gives up waiting in the foreground
        with late:
            assert "SIMULATED prices" in child.stdout.readline()
            assert child.stdout.readline().endswith("closed\n")
            code, _ = ended(child)
    assert code == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("BTCUSD", "Did you mean 'BTCUSDT'"),
        ("../x", "is no symbol"),
        ("BTCUSDT --timeframe 60m", "Did you mean '1h'"),
        ("BTCUSDT --venue nowhere", "venue='nowhere'"),
    ],
)
def test_what_can_not_be_is_refused(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stream", *line.split()]) == 1
    assert told in capsys.readouterr().err
