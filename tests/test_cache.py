"""The candle cache: what is kept comes back, what is damaged is told of, the named is cleared."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import pytest
from made_months import (
    APRIL,
    BEGIN,
    DAY,
    END,
    HOUR,
    MARCH,
    bits,
    files_in,
    only,
    path_of,
    put,
    some_month,
)

import astraquant as aq
from astraquant.data.cache import Cache, CacheError, Month, _set_aside
from astraquant.data.months import Place, encode, month_span
from astraquant.errors import DataError
from astraquant.timeframes import TIMEFRAMES

PROJECT = Path(__file__).resolve().parent.parent
MINUTES = (*MARCH[:2], "1m", "2023-03")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


# Where it is, and what is in it


def test_the_tests_have_a_cache_of_their_own(own_cache):
    assert Cache().folder == own_cache / "candles-v1"
    code = "from astraquant.data.cache import Cache; print(Cache().folder)"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert Path(child.stdout.strip()) == own_cache / "candles-v1"


def test_the_notebooks_have_caches_of_their_own(tmp_path):
    """Two real notebooks of one name: each finds its cache empty and leaves something in it."""
    import nbformat

    shutil.copy(PROJECT / "notebooks" / "conftest.py", tmp_path)
    code = "import os, pathlib; p = pathlib.Path(os.environ['ASTRAQUANT_CACHE'])\n"
    code += "print(p.exists(), 'astraquant-notebooks' in str(p)); p.mkdir(parents=True)"
    shown = nbformat.v4.new_output("stream", text="False True\n")
    cell = nbformat.v4.new_code_cell(code, execution_count=1, outputs=[shown])
    (tmp_path / "solutions").mkdir()
    for name in ("one.ipynb", "solutions/one.ipynb"):
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / name)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    child = subprocess.run(
        [*command, "--nbval-current-env", "--rootdir", str(tmp_path), str(tmp_path)],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "TMP": str(tmp_path / "tmp")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in child.stdout, child.stdout + child.stderr
    assert not list((tmp_path / "tmp").glob("astraquant-notebooks*"))


def test_the_folder_is_the_users_or_the_named_one(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTRAQUANT_CACHE", "~/somewhere")
    assert Cache().folder == Path.home() / "somewhere" / "candles-v1"
    assert Cache(tmp_path).folder == tmp_path / "candles-v1"
    for nothing in (lambda: monkeypatch.setenv("ASTRAQUANT_CACHE", ""), monkeypatch.undo):
        nothing()
        monkeypatch.delenv("ASTRAQUANT_CACHE", raising=False)
        expected = platformdirs.user_cache_path("astraquant", appauthor=False)
        assert Cache().folder == expected / "candles-v1"


def test_nothing_there_is_none_and_makes_no_folder(cache, caplog):
    assert cache.read(*MARCH) is None
    assert cache.entries() == []
    assert cache.clear() == (0, 0)
    assert not caplog.records and not cache.folder.exists()


def test_a_month_is_kept_until_it_is_cleared(cache):
    month = some_month()
    cache.write(*MARCH, month)
    cache.write(*APRIL, some_month(0, since=END, until=END + DAY))
    assert bits(cache.read(*MARCH)) == bits(month)
    march, april = cache.entries()
    assert (march.venue, march.symbol, march.timeframe, march.month) == MARCH
    assert (march.rows, march.since, march.until) == (5, BEGIN, END)
    assert (march.first, march.last) == (BEGIN, BEGIN + 4 * HOUR)
    assert (april.rows, april.first, april.last, april.until) == (0, None, None, END + DAY)
    assert march.path == path_of(cache) and march.size == march.path.stat().st_size
    assert files_in(cache) == ["2023-03.parquet", "2023-04.parquet"]
    assert cache.clear() == (2, march.size + april.size)
    assert cache.read(*MARCH) is None and files_in(cache) == []


def test_no_two_timeframes_and_no_device_share_a_name(cache):
    """Also where case is ignored, and where CON is no file (failure 40)."""
    places = [("binance", symbol, frame, "2023-03") for frame in TIMEFRAMES for symbol in ("CON",)]
    for number, place in enumerate(places):
        cache.write(*place, some_month(1, seed=number))
    for number, place in enumerate(places):
        assert bits(cache.read(*place)) == bits(some_month(1, seed=number))
    entries = cache.entries()
    assert [entry.timeframe for entry in entries] == list(TIMEFRAMES)
    names = [str(entry.path.relative_to(cache.folder)).lower() for entry in entries]
    assert len(set(names)) == len(TIMEFRAMES)
    devices = {"con", "prn", "aux", "nul"}
    assert not devices & {part.partition(".")[0] for name in names for part in Path(name).parts}


@pytest.mark.parametrize(
    "place", [("..", *MARCH[1:]), ("binance", "../..", "1h", "2023-03"), (*MARCH[:3], "../x")]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(cache, place):
    with pytest.raises(DataError):
        cache.write(*place, some_month())
    with pytest.raises(DataError):
        cache.read(*place)
    assert not cache.folder.exists()


def test_what_is_no_month_is_not_kept(cache):
    with pytest.raises(DataError, match="no candles of BTCUSDT 1h, 2023-04, of binance"):
        cache.write(*APRIL, some_month())
    assert not cache.folder.exists()


# Damage (failures 32 and 46)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: encode(some_month(), Place(*MARCH))[:-100], "magic bytes"),
        (lambda: b"time,open\n" * 100, "magic bytes"),
        (lambda: pd.DataFrame({"open": [1.0]}).to_parquet(), "not written by the cache"),
        (lambda: encode(some_month(), Place("binance", "ETHUSDT", "1h", "2023-03")), "'ETHUSDT'"),
        (lambda: bytes(2**24), "more than"),
    ],
    ids=["cut", "text", "another program's", "another symbol's", "large"],
)
def test_a_damaged_file_is_told_of_moved_aside_and_rebuilt(cache, caplog, make, why):
    path = put(cache, make())
    size = path.stat().st_size
    assert cache.read(*MARCH) is None
    message = only(caplog)
    assert message.startswith(str(path)) and why in message
    assert message.endswith("moved to 2023-03.parquet.damaged, its candles are loaded anew.")
    assert cache.read(*MARCH) is None
    assert len(caplog.records) == 1  # told but once
    cache.write(*MARCH, some_month())
    assert bits(cache.read(*MARCH)) == bits(some_month())
    good, bad = cache.entries()
    assert not good.damaged and bad.damaged == "moved aside by a read" and bad.size == size
    assert cache.clear() == (2, good.size + size)
    assert files_in(cache) == []


def test_a_changed_number_is_found(cache, caplog):
    path = put(cache, encode(some_month(744), Place(*MARCH)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (entry,) = cache.entries()
    assert not entry.damaged  # numbers are not read for a list
    assert cache.read(*MARCH) is None
    assert "is damaged" in only(caplog)


def test_a_damaged_file_is_listed_but_does_not_count(cache, monkeypatch):
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(cache.folder.parent))
    cache.write(*MARCH, some_month())
    put(cache, b"not candles", APRIL)
    put(cache, b"not ours", ("binance", "BTCUSDT", "1h", "notes"))
    (cache.folder / "binance" / "BTCUSDT-1h" / "readme.txt").write_text("nor this")
    good, bad = cache.entries()
    assert (good.damaged, bad.month, bad.rows) == ("", "2023-04", 0)
    assert "Parquet" in bad.damaged
    assert aq.cached_candles()["months"].tolist() == [1]
    assert cache.clear() == (2, good.size + len(b"not candles"))
    assert files_in(cache) == ["notes.parquet", "readme.txt"]


def test_folders_of_other_versions_are_left_alone(cache):
    cache.write(*MARCH, some_month())
    for other in ("candles-v0", "candles-v2"):
        shutil.copytree(cache.folder, cache.folder.parent / other)
    cache.clear()
    assert cache.read(*MARCH) is None and cache.entries() == []
    assert len(list(cache.folder.parent.glob("candles-v*/*/*/*.parquet"))) == 2


def test_what_has_just_been_rebuilt_is_not_moved_aside(cache, caplog):
    path = put(cache, b"damaged")
    seen = os.stat(path)
    path.unlink()
    put(cache, b"kept so that another file is made", APRIL)
    cache.write(*MARCH, some_month())  # by another process, while this one finds the damage
    _set_aside(path, seen, "so it is")
    assert "replaced by another process meanwhile" in only(caplog)
    assert bits(cache.read(*MARCH)) == bits(some_month())


def test_a_file_that_can_not_be_opened_is_told_of(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = Cache(blocked)
    assert cache.read(*MARCH) is None
    if os.name == "posix":  # to Windows it is simply not there
        assert "can't be read (Not a directory): its candles are loaded anew" in only(caplog)
    assert cache.entries() == []
    with pytest.raises(CacheError, match=r"can't be kept in .*ASTRAQUANT_CACHE.*cache --clear"):
        cache.write(*MARCH, some_month())


# Who covers more stays


def part(first_day: int, end_day: int) -> Month:
    since, until = BEGIN + (first_day - 1) * DAY, BEGIN + (end_day - 1) * DAY
    return some_month(24 * (end_day - first_day), since=since, until=until, seed=end_day)


@pytest.mark.parametrize(
    ("there", "later", "stays"),
    [
        ((1, 20), (1, 10), True),
        ((1, 20), (5, 20), True),
        ((1, 20), (1, 20), False),  # the same span: the later one is newer
        ((1, 20), (1, 21), False),
        ((1, 20), (15, 25), False),  # neither holds the other: the later one was just asked for
    ],
)
def test_what_covers_more_is_not_replaced_by_less(cache, there, later, stays):
    before, after = part(*there), part(*later)
    cache.write(*MARCH, before)
    after = Month(**{**vars(after), "notes": ("later",)})
    cache.write(*MARCH, after)
    assert bits(cache.read(*MARCH)) == bits(before if stays else after)
    assert files_in(cache) == ["2023-03.parquet"]


def test_a_damaged_file_is_replaced_whatever_it_claims(cache):
    data = bytearray(encode(some_month(), Place(*MARCH)))
    data[-6] ^= 1  # within its metadata's length
    put(cache, bytes(data))
    cache.write(*MARCH, part(1, 3))
    assert bits(cache.read(*MARCH)) == bits(part(1, 3))


# Clearing, and the list of what there is


@pytest.fixture
def full(cache, monkeypatch):
    """Two venues, three symbols, two timeframes, two months."""
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(cache.folder.parent))
    for venue, symbol, frame, name in (
        *(("simulated-1", "BTCUSDT", "1h", month) for month in ("2023-04", "2023-03")),
        ("binance", "ETHUSDT", "1d", "2023-03"),
        ("binance", "ETHUSDT", "1h", "2023-03"),
        ("binance", "BTCUSDT", "1h", "2023-03"),
    ):
        since, until = month_span(name)
        cache.write(venue, symbol, frame, name, some_month(3, since=since, until=until))
    return cache


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({"venue": "binance"}, 2),
        ({"symbol": "ETHUSDT"}, 3),
        ({"symbol": "BTCUSDT", "timeframe": "1h"}, 2),
        ({"venue": "binance", "symbol": "BTCUSDT"}, 4),
        ({"timeframe": "1d"}, 4),
        ({}, 0),
    ],
)
def test_what_is_named_is_cleared(full, chosen, left):
    before = {entry.path: entry.size for entry in full.entries()}
    files, size = full.clear(**chosen)
    after = [entry.path for entry in full.entries()]
    assert (files, len(after)) == (5 - left, left)
    assert size == sum(before[path] for path in before.keys() - set(after))
    assert not [e for e in full.entries() if all(getattr(e, k) == v for k, v in chosen.items())]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"symbol": "ETHUSD"}, r"unknown symbol in the cache 'ETHUSD'. Did you mean 'ETHUSDT'\?"),
        ({"venue": "Binance"}, r"unknown venue in the cache .* Did you mean 'binance'\?"),
        ({"timeframe": "1m"}, r"unknown timeframe in the cache '1m'"),
        ({"venue": "simulated-1", "symbol": "ETHUSDT"}, r"Known: BTCUSDT\."),
    ],
)
def test_what_is_not_there_is_not_cleared(full, chosen, message):
    with pytest.raises(DataError, match=message):
        full.clear(**chosen)
    assert len(full.entries()) == 5


def test_the_table_says_what_is_cached(full):
    table = aq.cached_candles()
    assert table.drop(columns=["first", "last"]).to_numpy().tolist() == [
        ["binance", "BTCUSDT", "1h", 3, 1, 0.1],
        ["binance", "ETHUSDT", "1h", 3, 1, 0.1],
        ["binance", "ETHUSDT", "1d", 3, 1, 0.1],
        ["simulated-1", "BTCUSDT", "1h", 6, 2, 0.1],
    ]
    assert table["first"].iloc[3] == pd.Timestamp("2023-03-01", tz="UTC")
    assert table["last"].iloc[3] == pd.Timestamp("2023-04-01 02:00", tz="UTC")
    only_one = aq.cached_candles(source="simulated-1")
    pd.testing.assert_frame_equal(only_one, table.iloc[3:].reset_index(drop=True))


def test_an_empty_cache_gives_an_empty_table_of_the_same_columns(full):
    table = aq.cached_candles()
    full.clear()
    nothing = aq.cached_candles()
    assert len(nothing) == 0
    pd.testing.assert_series_equal(nothing.dtypes, table.dtypes)
    pd.testing.assert_frame_equal(nothing, table.iloc[:0])


def test_a_month_without_candles_has_no_times(cache, monkeypatch):
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(cache.folder.parent))
    cache.write(*MARCH, some_month(0))
    table = aq.cached_candles()
    assert table[["first", "last"]].isna().all(axis=None)
    assert table["candles"].tolist() == [0]


def test_megabytes_are_rounded_up(cache, monkeypatch):
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(cache.folder.parent))
    cache.write(*MINUTES, some_month(44_640, step=60_000))
    (entry,) = cache.entries()
    (shown,) = aq.cached_candles()["megabytes"]
    assert 0 <= shown * 1e6 - entry.size < 1e5
    assert np.isclose(shown * 10 % 1, 0) or np.isclose(shown * 10 % 1, 1)
