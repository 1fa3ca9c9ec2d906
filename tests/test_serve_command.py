"""`astraquant serve`: the real program, what it serves, what it refuses, its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from served import minutes

import astraquant as aq
from astraquant.cli import main
from astraquant.data.cache import Cache, Month, month_span
from astraquant.errors import AstraQuantError
from astraquant.serve import server
from astraquant.serve.catalogue import open_catalogue
from astraquant.strategies import ma_cross
from astraquant.timeframes import to_ms


@contextmanager
def program(*arguments: str, **environment: str) -> Iterator[tuple[Any, str, list[str]]]:
    """The program, its address, and what it says at its start."""
    with subprocess.Popen(
        [sys.executable, "-m", "astraquant", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
    ) as child:
        assert child.stdout is not None
        said: list[str] = []
        while not said or said[-1] != "Ctrl-C ends it.\n":
            said.append(child.stdout.readline())
            assert said[-1], child.stderr.read() if child.stderr else ""
        try:
            (url,) = re.findall(r"address +(http://\S+)/\n", "".join(said))
            yield child, url, said
        finally:
            child.kill()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that pandas has stored: it says its symbol and that its prices are simulated."""
    path = tmp_path_factory.mktemp("candles") / "some.parquet"
    minutes("ETHUSDT").to_parquet(path)
    return path


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a single process")
def test_a_file_is_served_until_ctrl_c(file: Path) -> None:
    with program(str(file)) as (child, url, said):
        assert said[0] == "SIMULATED prices: synthetic sample (seed 7) (stored in some.parquet)\n"
        assert "".join(said).count("ETHUSDT: 2023-01-01 00:00 to 2023-01-05 23:59 UTC") == 1
        told = httpx.get(f"{url}/backtest/ma?short=5&long=20&timeframe=5m", timeout=60).json()
        expected = aq.backtest(minutes("ETHUSDT"), ma_cross, short=5, long=20, timeframe="5m")
        assert told["symbol"] == "ETHUSDT"
        assert told["passport"]["candles_sha256"] == expected.passport["candles_sha256"]
        assert told["metrics"]["total_return"] == expected.metrics["total_return"]
        child.send_signal(signal.SIGINT)
        said_last, trouble = child.communicate(timeout=60)
    assert child.returncode == 0
    assert (said_last, trouble) == ("", "ended\n")


def test_a_token_of_the_environment_is_told_to_nobody(file: Path) -> None:
    token = "a-token-of-some-length_42"
    with program(str(file), ASTRAQUANT_TOKEN=token) as (child, url, said):
        assert "open to   whoever shows the token" in "".join(said)
        assert httpx.get(f"{url}/strategies").status_code == 401
        right = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/strategies", headers=right).status_code == 200
        child.terminate()
        _, trouble = child.communicate(timeout=60)
    assert token not in "".join(said) + trouble


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0 can be reached from other machines, and there is no"),
        ("--host :: sample", "can be reached from other machines"),
        ("--host 0.0.0.0 --token short", "the token has 5 characters; expected 16 or more"),
        ("--port 70000", "--port 70000: expected 0 (any free one) to 65535"),
        ("nothere.parquet", "there is no file 'nothere.parquet'"),
        ("NOSUCHCOIN", "astraquant fetch NOSUCHCOIN 1m"),
        ("sample sample", "BTCUSDT is served already"),
        ("--venue binanc", "venue='binanc': unknown venue 'binanc'."),
    ],
)
def test_what_can_not_be_is_refused(
    line: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASTRAQUANT_TOKEN", raising=False)
    assert main(["serve", *line.split()]) == 1
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AstraQuantError, match=f"can't listen at 127.0.0.1 port {port}: "):
            server.listen("127.0.0.1", port)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: name == "uvicorn")
    with pytest.raises(AstraQuantError, match=r"needs fastapi.*pip install -e \"\.\[serve\]\""):
        server.require()


def test_the_command_line_does_without_the_extra() -> None:
    code = (
        "import sys\nfrom astraquant.cli import main\nimport astraquant.cli.serve\n"
        "try: main(['serve', '--host', '0.0.0.0'])\nfinally: print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "astraquant" in loaded
    assert not loaded & {"fastapi", "starlette", "uvicorn", "pydantic"}


def test_the_sample_has_all_its_symbols_and_makes_what_is_asked_for() -> None:
    catalogue = open_catalogue(["sample"])
    assert catalogue.symbols[:2] == ("BTCUSDT", "ETHUSDT")
    symbol, table = catalogue.find()
    assert (symbol, table.attrs["symbol"]) == ("BTCUSDT", "BTCUSDT")
    assert catalogue.find("BTCUSDT")[1] is table


def test_a_file_says_whose_candles_it_holds_or_is_told(file: Path, tmp_path: Path) -> None:
    csv = tmp_path / "walk.csv"
    minutes().to_csv(csv)
    with pytest.raises(aq.DataError, match="doesn't say whose candles it holds. Say it: BTCUSDT="):
        open_catalogue([str(csv)])
    catalogue = open_catalogue([str(file), f"SOLUSDT={csv}"])
    assert catalogue.symbols == ("ETHUSDT", "SOLUSDT")
    pd.testing.assert_frame_equal(
        catalogue.find("SOLUSDT")[1], minutes(), check_freq=False, check_index_type=False
    )
    with pytest.raises(aq.DataError, match="the file holds ETHUSDT. Leave SOLUSDT= out."):
        open_catalogue([f"SOLUSDT={file}"])
    with pytest.raises(aq.DataError, match="ETHUSDT is served already"):
        open_catalogue([str(file), str(file)])


def test_what_was_fetched_is_served_without_a_network() -> None:
    times = to_ms(minutes().index)
    values = {name: minutes()[name].to_numpy() for name in minutes().columns}
    for timeframe, step in (("1m", 1), ("5m", 5)):  # the finest is taken
        some = {name: column[::step] for name, column in values.items()}
        since = month_span("2023-01")[0]
        month = Month(times[::step], some, since, int(times[-1]) + 60_000)
        Cache().write("binance", "BNBUSDT", timeframe, "2023-01", month)
    try:
        symbol, table = open_catalogue(["BNBUSDT"]).find()
        assert symbol == "BNBUSDT"
        assert table.attrs["source"] == "Binance"
        assert table["close"].tolist() == minutes()["close"].tolist()
        with pytest.raises(aq.DataError, match="Did you mean 'BNBUSDT'"):
            open_catalogue(["BNBUSD"])
    finally:
        Cache().clear("binance", "BNBUSDT")
