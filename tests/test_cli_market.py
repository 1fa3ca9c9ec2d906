"""The commands around an exchange: fetch, cache, exchange; real files, sockets and signals."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import astraquant as aq
from astraquant.cli import main
from astraquant.data.cache import Cache
from astraquant.data.months import Month, month_span
from astraquant.exchange import SimulatedExchange

MINUTE = 60_000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of our own, empty."""
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "kept"))
    return Cache()


def keep(cache, symbol, timeframe, month, rows):
    begin, end = month_span(month)
    times = begin + np.arange(rows, dtype=np.int64) * MINUTE
    values = {name: np.ones(rows) for name in ("open", "high", "low", "close", "volume")}
    cache.write("binance", symbol, timeframe, month, Month(times, values, begin, end))


@contextmanager
def command(*line):
    """The real program, its output read as it comes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "astraquant", *map(str, line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with child:
        try:
            yield child
        finally:
            child.kill()  # else a test that fails would wait for it


def shown(capsys, *arguments, code=0):
    assert main(list(arguments)) == code
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def candles():
    """Four days with a hole of 80 minutes in them."""
    return aq.load_candles("BTCUSDT", "1m", start="2023-03-22", end="2023-03-26")


@pytest.fixture(scope="module")
def venue(candles):
    """An exchange at the beginning of the fourth day, where time stands still."""
    with SimulatedExchange(candles, speed=0, start="2023-03-25") as venue:
        yield venue


def megabytes(*paths):
    """As `cached_candles` tells them: rounded up, so that what is there is never 0.0."""
    return math.ceil(sum(path.stat().st_size for path in paths) / 1e5) / 10


def fetch(venue, *more, start="2023-03-23", end="2023-03-25"):
    options = ["--start", start, "--end", end, "--source", venue.url, *map(str, more)]
    return ["fetch", "BTCUSDT", "1m", *options]


# fetch


def test_fetch_says_what_it_got_and_keeps_it(venue, candles, cache, capsys):
    told = shown(capsys, *fetch(venue))
    (path,) = cache.folder.rglob("*.parquet")
    size = megabytes(path)
    assert told.splitlines() == [
        f"BTCUSDT 1m from simulated exchange: {candles.attrs['source']}",
        "  first    2023-03-23 00:00 UTC",
        "  last     2023-03-24 23:59 UTC",
        "  candles  2,800",
        "  gaps     1, missing bars: 80 (at most 80 in a row, from 2023-03-24 12:40 UTC)",
        f"  kept     in {path.parent} (1 file, {size:,.1f} MB)",
    ]
    again = len(venue.ledger.requests)
    assert shown(capsys, *fetch(venue)) == told
    asked = [request.target for request in venue.ledger.requests][again:]
    assert not [target for target in asked if "klines" in target]


@pytest.mark.parametrize("name", ["new.parquet", "new.csv"])
def test_fetch_writes_what_read_candles_reads(name, venue, candles, tmp_path, capsys):
    out = tmp_path / name
    assert main(fetch(venue, "--out", out)) == 0
    said = capsys.readouterr().err
    assert f"written: {out}" in said
    found = aq.read_candles(out)
    expected = candles.loc["2023-03-23":"2023-03-24"]
    pd.testing.assert_frame_equal(found, expected, check_freq=False, check_index_type=False)
    assert ("CSV can't say" in said) == (name == "new.csv")
    assert ("simulated" in found.attrs["source"]) == (name == "new.parquet")


@pytest.fixture
def blocked(tmp_path, monkeypatch):
    """A cache that can't be: its folder would lie in a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "file" / "kept"))


@pytest.mark.usefixtures("blocked")
def test_fetch_fails_where_nothing_can_be_kept(venue, capsys):
    assert main(fetch(venue)) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "can't be kept in" in told.err
    last = told.err.splitlines()[-1]  # before it: that nothing could be read either
    assert last.startswith("astraquant fetch: the candles are loaded, but not kept")
    assert last.endswith("Or write them to a file: --out candles.parquet.")


@pytest.mark.usefixtures("blocked")
def test_a_file_is_written_where_nothing_can_be_kept(venue, tmp_path, capsys):
    out = tmp_path / "new.parquet"
    assert main(fetch(venue, "--out", out)) == 0
    told = capsys.readouterr()
    assert "  kept     no\n" in told.out
    assert "note: " in told.err and "can't be kept in" in told.err
    assert len(aq.read_candles(out)) == 2_800


def test_a_part_that_is_kept_is_no_success(cache, capsys):
    candles = aq.load_candles("BTCUSDT", "1m", start="2023-03-31", end="2023-04-03")
    with SimulatedExchange(candles, speed=0, start="2023-04-02") as venue:
        assert main(fetch(venue, start="2023-03-31", end="2023-04-01")) == 0
        (march,) = cache.folder.rglob("2023-03.parquet")
        march.with_name("2023-04.parquet").mkdir()  # where a file can't be put
        assert main(fetch(venue, start="2023-03-31", end="2023-04-02")) == 1
    assert "can't be kept in" in capsys.readouterr().err


def test_an_end_that_is_not_reached_is_told(venue, capsys):
    assert main(fetch(venue, end="2023-03-26")) == 0
    note = "note: asked until 2023-03-26 00:00 UTC; the last closed candle opens 2023-03-24 23:59\n"
    assert capsys.readouterr().err.endswith(note)
    half = fetch(venue, end="2023-03-24 23:30")  # in the middle of an hour, which opens before
    half[2] = "1h"
    assert main(half) == 0
    assert "note: " not in capsys.readouterr().err


def test_what_the_venue_lacks_is_refused(venue, capsys):
    assert main(fetch(venue, start="2023-03-20")) == 1
    told = capsys.readouterr()
    assert "2023-03-22" in told.err
    assert not told.out


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a single process")
def test_an_interrupted_fetch_says_that_it_can_go_on():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        line = ["fetch", "BTCUSDT", "1m", "--source", address]
        with command(*line) as child:
            connection, _ = mute.accept()
            with connection:
                assert connection.recv(4) == b"GET "  # it waits for an answer from now on
                child.send_signal(signal.SIGINT)
                _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told.endswith("interrupted: the same command goes on from what is kept\n")


# cache


def test_an_empty_cache_says_how_to_fill_it(cache, capsys):
    told = shown(capsys, "cache")
    assert str(cache.folder) in told
    assert "astraquant fetch BTCUSDT 1m" in told


def test_the_cache_is_shown(cache, capsys):
    keep(cache, "BTCUSDT", "1m", "2023-01", 2_000)
    keep(cache, "BTCUSDT", "1m", "2023-02", 3)
    keep(cache, "ETHUSDT", "1M", "2023-03", 1)
    keep(cache, "SOLUSDT", "1m", "2023-03", 0)
    told = shown(capsys, "cache")
    assert str(cache.folder) in told
    rows = {line.split()[1]: line.split() for line in told.splitlines() if "binance" in line}
    assert rows["BTCUSDT"][2:8] == "1m 2023-01-01 00:00 2023-02-01 00:02 2,003".split()
    assert rows["ETHUSDT"][2:8] == "1M 2023-03-01 00:00 2023-03-01 00:00 1".split()
    assert rows["SOLUSDT"][2:6] == ["1m", "–", "–", "0"]
    size = megabytes(*cache.folder.rglob("*.parquet"))
    assert f"in all 4 files, {size:,.1f} MB" in told
    assert "damaged" not in told


def test_a_damaged_file_is_named(cache, capsys):
    keep(cache, "BTCUSDT", "1m", "2023-01", 10)
    (path,) = cache.folder.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    told = shown(capsys, "cache")
    assert f"damaged, not used, fetched anew when needed: {path}" in told
    assert "in all 1 file," in told


@pytest.mark.parametrize(
    ("words", "left"),
    [([], 0), (["BTCUSDT"], 1), (["BTCUSDT", "1h"], 3)],
)
def test_what_is_named_is_removed(cache, words, left, capsys):
    keep(cache, "BTCUSDT", "1m", "2023-01", 10)
    keep(cache, "BTCUSDT", "1m", "2023-02", 10)
    keep(cache, "BTCUSDT", "1h", "2023-02", 1)
    keep(cache, "ETHUSDT", "1m", "2023-02", 10)
    told = shown(capsys, "cache", "--clear", *words)
    assert len(cache.entries()) == left
    assert f"removed {4 - left} file" in told
    assert str(cache.folder) in told


def test_clearing_an_empty_cache_removes_nothing(capsys):
    assert "removed 0 files, 0.0 MB" in shown(capsys, "cache", "--clear")


def test_a_symbol_that_is_not_kept_is_not_removed(cache, capsys):
    keep(cache, "BTCUSDT", "1m", "2023-01", 10)
    assert main("cache --clear BTCUSDC".split()) == 1
    assert "Did you mean 'BTCUSDT'" in capsys.readouterr().err
    assert main("cache --clear BTCUSDT 5m".split()) == 1
    assert "Known: 1m" in capsys.readouterr().err
    assert len(cache.entries()) == 1


@pytest.mark.parametrize("words", [[], ["--clear"]])
def test_a_cache_that_is_no_folder(words, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "file"))
    assert main(["cache", *words]) == 1
    told = capsys.readouterr()
    assert f"{tmp_path / 'file'} is no folder" in told.err and "ASTRAQUANT_CACHE" in told.err
    assert not told.out


# exchange


@pytest.fixture(scope="module")
def file(candles, tmp_path_factory):
    path = tmp_path_factory.mktemp("candles") / "BTCUSDT-1m-2023-03.parquet"
    candles.to_parquet(path)
    return path


def read_until(child, text):
    """All lines up to the one that begins with ``text``."""
    lines = []
    for line in child.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(text):
            return lines
    raise AssertionError(f"no {text!r} in {lines}, {child.stderr.read()}")


def address_in(lines):
    return re.search(r"address  (\S+) ", "\n".join(lines))[1]


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a single process")
class TestExchange:
    def test_it_runs_until_ctrl_c_and_counts(self, file, candles):
        with command("exchange", file, "--speed", 60, "--port", 0) as child:
            lines = read_until(child, "Ctrl-C ends it.")
            assert lines[0].startswith("SIMULATED exchange: synthetic sample")
            assert "BTCUSDT 1m, 2023-03-22 00:00 to 2023-03-26 00:00 UTC" in lines[3]
            assert "from 2023-03-23 00:00 UTC, 60 times as fast" in lines[4]
            url = address_in(lines)
            assert lines[6] == f'  aq.load_candles("BTCUSDT", "1m", source="{url}")'
            found = aq.load_candles("BTCUSDT", "1m", end="2023-03-23", source=url)
            expected = candles.loc[:"2023-03-22"]
            pd.testing.assert_frame_equal(found, expected, check_freq=False)
            with connect(f"ws{url[4:]}/ws/btcusdt@aggTrade", proxy=None) as stream:
                assert '"e":"aggTrade"' in stream.recv(timeout=60)
            child.send_signal(signal.SIGINT)
            said, trouble = child.communicate(timeout=60)
        assert child.returncode == 0
        assert not trouble
        (last,) = said.splitlines()
        assert re.fullmatch(
            r"Ended at 2023-03-23 \S+ UTC: [\d,]+ messages? \(sent .+\), "
            r"\d+ requests \(.*200 \d+.*\)\.",
            last,
        )
        assert "101 1" in last  # the handshake of the stream

    def test_faults_come_as_told(self, file):
        with command("exchange", file, "--port", 0, "--fault", "0s refuse 429 1 7") as child:
            url = address_in(read_until(child, "Ctrl-C ends it."))
            with pytest.raises(InvalidStatus) as refused, connect(f"ws{url[4:]}/ws", proxy=None):
                pass
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["Retry-After"] == "7"
            with connect(f"ws{url[4:]}/ws", proxy=None):
                pass
            child.send_signal(signal.SIGINT)
            assert "429 1" in child.communicate(timeout=60)[0]

    def test_the_end_of_the_candles_is_said(self, file):
        line = ["--start", "2023-03-25 23:58", "--speed", 1_000, "--symbol", "BTCUSDT"]
        with command("exchange", file, "--port", 0, *line) as child:
            url = address_in(read_until(child, "All candles are played"))
            found = aq.load_candles("BTCUSDT", "1m", start="2023-03-25", source=url)
            assert len(found) == 1_440
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=60)[0].startswith("Ended at 2023-03-26 ")
        assert child.returncode == 0


def test_a_port_in_use_is_told(file, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["exchange", str(file), "--port", port]) == 1
    told = capsys.readouterr()
    assert f"the port {port} of this machine is in use" in told.err
    assert told.err.count("\n") == 1
    assert not told.out


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nowhere.parquet", "nowhere.parquet"),
        ("FILE --symbol ETHUSDT", "holds BTCUSDT"),
        ("FILE --start 2024-01-01", "2024-01-01"),
        ("FILE --start noon", "'noon' is no moment"),
        ("FILE --speed -1", "-1"),
        ("FILE --port 70000", "0 (any free one) to 65535"),
        ("sample --symbol BTCUSDC", "Did you mean 'BTCUSDT'"),
        ("FILE --fault kill", "'kill'"),
    ],
)
def test_an_exchange_that_can_not_be_is_refused(file, line, text, capsys):
    assert main(["exchange", *line.replace("FILE", str(file)).split()]) == 1
    told = capsys.readouterr()
    assert text in told.err
    assert not told.out


def test_an_unknown_fault_is_told_the_nearest(file, capsys):
    assert main(["exchange", str(file), "--fault", "30s kil"]) == 1
    assert "Did you mean 'kill'" in capsys.readouterr().err


# What is refused, and how


@pytest.mark.parametrize("command", ["fetch", "cache", "exchange"])
def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"examples:\n  astraquant {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("fetch BTCUSDT", "required: TIMEFRAME"),
        ("fetch BTCUSDT 1m --form 2023", "--form"),
        ("cache --claer", "--claer"),
        ("cache --clear BTCUSDT 1m 2023", "a SYMBOL and a TIMEFRAME, not 3 words"),
        ("exchange --speed fast", "--speed"),
        ("exchange --port http", "--port"),
    ],
)
def test_misspelled_command_lines_end_with_the_usage(line, text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert f"usage: astraquant {line.split()[0]} " in told
    assert text in told


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("fetch btcusdt 1m", "Did you mean 'BTCUSDT'"),
        ("fetch BTCUSDT 60m", "Did you mean '1h'"),
        ("fetch BTCUSDT 1m --start yesterday", "start='yesterday' is no moment"),
        ("fetch BTCUSDT 1m --start 2023-02 --end 2023-01", "is not before end"),
        ("fetch BTCUSDT 1m --source binanse", "Did you mean 'binance'"),
        ("fetch BTCUSDT 1m --source https://example.org", "is none that source= may name"),
        ("fetch BTCUSDT 1m --out candles.xls", ".parquet or .csv"),
        ("fetch BTCUSDT 1m --out nowhere/candles.csv", "no folder nowhere"),
    ],
)
def test_mistakes_are_told_with_the_cure(line, text, capsys):
    assert main(line.split()) == 1
    told = capsys.readouterr()
    assert text in told.err
    assert not told.out
