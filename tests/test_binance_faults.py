"""What an exchange does wrong, and the candles that come all the same: never false ones."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from archive_files import HEADER, asked, checksum, path_of, serve, zipped

from astraquant.data import load_candles, read_candles
from astraquant.data.archives import MOST_PER_ROW
from astraquant.data.binance import load_binance
from astraquant.data.cache import Cache
from astraquant.data.transport import ATTEMPTS, Transport
from astraquant.data.venues import find_venue
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange
from astraquant.exchange.archives import Archives
from astraquant.exchange.market import Market
from astraquant.exchange.rest import Rest

KLINES = "/api/v3/klines"
DAY = "BTCUSDT-1m-2023-04-03"
MONTH = "BTCUSDT-1m-2023-03"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def minutes(market_data: Path) -> pd.DataFrame:
    """Real minutes of a short March and the beginning of April."""
    file = market_data / "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    return read_candles(file)["2023-03-28":"2023-04-05"]  # type: ignore[misc]


@pytest.fixture(scope="module")
def market(minutes: pd.DataFrame) -> Market:
    return Market(minutes, "BTCUSDT")


@pytest.fixture
def venue(minutes: pd.DataFrame) -> Iterator[SimulatedExchange]:
    """It is noon of April 4."""
    with SimulatedExchange(minutes, speed=0, start="2023-04-04 12:00:30") as venue:
        yield venue


def load(venue: SimulatedExchange, start: str = "2023-04-03", end: object = None) -> pd.DataFrame:
    return load_candles("BTCUSDT", "1m", start=start, end=end, source=venue.url)


def load_at_once(venue: SimulatedExchange, start: str) -> pd.DataFrame:
    """The same, without waiting between attempts."""
    first, transport = pd.Timestamp(start, tz="UTC"), Transport(proxies=False, wait=abs)
    return load_binance("BTCUSDT", "1m", first, None, find_venue(venue.url), transport=transport)


def until_noon(minutes: pd.DataFrame, start: str) -> pd.DataFrame:
    return minutes[start:"2023-04-04 11:59"]  # type: ignore[misc]


def without_archives(venue: SimulatedExchange, times: int = 1) -> None:
    """Let REST have all the work: no month, no day."""
    venue.answer(path_of(MONTH), status=404, times=times)
    for day in (28, 29, 30, 31):
        venue.answer(path_of(f"{MONTH}-{day}"), status=404, times=times)
    for day in (1, 2, 3):
        venue.answer(path_of(f"BTCUSDT-1m-2023-04-0{day}"), status=404, times=times)


def rows(market: Market, start: str, count: int) -> list[list[Any]]:
    """True rows of REST, to be spoiled."""
    first = pd.Timestamp(start, tz="UTC").value // 10**6
    target = f"{KLINES}?symbol=BTCUSDT&interval=1m&startTime={first}&limit={count}"
    answer = Rest({"BTCUSDT": market}, "x").answer(target, market.end, 0.0)
    found: list[list[Any]] = json.loads(answer.body)
    return found


# REST


def test_missing_archives_are_few_requests(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue)
    assert load(venue, "2023-03-29").equals(until_noon(minutes, "2023-03-29"))
    names = asked(venue)
    # A month's archive, its first day's, and no other day's; a page reaches into the next month.
    assert [name for name in names if name != "klines"] == [
        "time",
        f"{MONTH}.zip",
        f"{MONTH}-29.zip",
        "BTCUSDT-1m-2023-04-01.zip",
    ]
    assert names.count("klines") == 1 + -(-(6 * 1440 + 720) // 1000)


def test_a_wait_is_kept_and_the_load_goes_on(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    without_archives(venue)
    venue.answer(KLINES, status=429, headers={"Retry-After": "1"}, after=2)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    refused = next(k for k, entry in enumerate(venue.ledger.requests) if entry.status == 429)
    first, second = list(venue.ledger.requests)[refused : refused + 2]
    assert first.target == second.target  # goes on where it was
    assert second.clock - first.clock >= 1


def test_a_ban_keeps_what_there_was(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue, times=2)
    venue.answer(KLINES, status=418, headers={"Retry-After": "7200"}, after=2)
    with pytest.raises(DataError, match=r"for 7200 s, until .*what was loaded until now is kept"):
        load(venue)
    before = len(venue.ledger.requests)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    assert "startTime=1680540000000" in venue.ledger.requests[-2].target  # 1,000 minutes on
    assert asked(venue, before).count("klines") == 2  # of three pages the last two


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_in_trouble_is_asked_again(
    status: int, venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    venue.answer(KLINES, status=status, after=1)
    venue.answer(path_of(DAY), status=status)
    assert load_at_once(venue, "2023-04-03").equals(until_noon(minutes, "2023-04-03"))
    assert venue.ledger.answers[status] == 2


def test_short_pages(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue)
    venue.shorten(137)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    assert asked(venue).count("klines") == 1 + -(-2160 // 137)


def test_rows_that_come_twice_or_too_early(
    venue: SimulatedExchange, minutes: pd.DataFrame, market: Market
) -> None:
    without_archives(venue)
    page = rows(market, "2023-04-02 23:50", 100)
    page = page[:60] + page[40:60][-1:] * 2 + page[60:]
    venue.answer(KLINES, body=json.dumps(page).encode(), after=1)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))


def test_a_forming_candle_that_comes_unasked(
    venue: SimulatedExchange, minutes: pd.DataFrame, market: Market
) -> None:
    page = rows(market, "2023-04-04 11:00", 61)
    page[-1][4] = page[-1][1]  # 12:00 has hardly begun
    venue.answer(KLINES, body=json.dumps(page).encode(), after=1)
    assert load(venue, "2023-04-04 11:00").equals(until_noon(minutes, "2023-04-04 11:00"))
    venue.advance("1m")
    assert load(venue, "2023-04-04 11:59").equals(minutes["2023-04-04 11:59":"2023-04-04 12:00"])  # type: ignore[misc]


def test_no_progress_is_an_end(venue: SimulatedExchange, market: Market) -> None:
    page = json.dumps(rows(market, "2023-04-03", 10)).encode()
    venue.answer(KLINES, body=page, times=9, after=1)
    with pytest.raises(DataError, match=r"makes no progress: asked for 2023-04-04 00:00.*00:09"):
        load(venue, "2023-04-04")
    assert asked(venue).count("klines") == 2


def test_an_empty_page_is_not_believed_at_once(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    venue.answer(KLINES, body=b"[]", after=1)
    assert load(venue, "2023-04-04").equals(until_noon(minutes, "2023-04-04"))
    assert asked(venue).count("klines") == 4  # listing, nothing, is there none?, all


def test_an_empty_page_that_stays_is_told(venue: SimulatedExchange, market: Market) -> None:
    newest = json.dumps(rows(market, "2023-04-04 11:59", 1)).encode()
    for after, body in ((0, newest), (0, b"[]"), (0, newest), (1, b"[]")):  # from the last on
        venue.answer(KLINES, body=body, after=after)
    with pytest.raises(
        DataError, match="no candles of BTCUSDT from 2023-04-04.*and that there are"
    ):
        load(venue, "2023-04-04")
    assert Cache().entries() == []  # a lie is not kept


def test_a_market_that_ended(minutes: pd.DataFrame) -> None:
    ended = minutes[:"2023-03-30 10:00"]  # type: ignore[misc]
    quiet = {"BTCUSDT": ended, "ETHUSDT": minutes}
    with SimulatedExchange(quiet, speed=0, start="2023-04-04 12:00:30") as exchange:
        assert load(exchange, "2023-03-29").equals(ended["2023-03-29":])  # type: ignore[misc]
        with pytest.raises(DataError, match="no 1m candles of BTCUSDT between .*had ended"):
            load(exchange, "2023-04-02")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda page: page[::-1], "row 1 doesn't come after"),
        (lambda page: [[*page[0][:2], "0.01", *page[0][3:]]], "high 0.01 is below"),
        (lambda page: [[*page[0][:2], "NaN", *page[0][3:]]], "high is nan"),
        (lambda page: [[*page[0][:5], "-1", *page[0][6:]]], "volume is -1.0"),
        (lambda page: [row[:11] for row in page], "row 0 of the JSON is no kline"),
        (lambda page: {"a": 1}, "a JSON object, not candles"),
        (lambda page: [[1e30, *page[0][1:]]], "no whole number of seconds"),
    ],
)
def test_pages_that_are_wrong(
    spoil: Any, told: str, venue: SimulatedExchange, market: Market
) -> None:
    page = json.dumps(spoil(rows(market, "2023-04-04", 10))).encode()
    venue.answer(KLINES, body=page, after=1)
    with pytest.raises(DataError, match=told):
        load(venue, "2023-04-04")
    assert Cache().entries() == []


# Archives


@pytest.fixture(scope="module")
def real(market: Market) -> bytes:
    """The right archive of April 3."""
    return Archives({"BTCUSDT": market}).answer(path_of(DAY), market.end).body


def csv_of(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read(f"{DAY}.csv")


def lying(archive: bytes) -> bytes:
    """A ZIP whose file claims a size that it exceeds, in both of its places."""
    size = len(csv_of(archive)).to_bytes(4, "little")
    assert archive.count(size) == 2
    return archive.replace(size, (1000).to_bytes(4, "little"))


def encrypted(archive: bytes) -> bytes:
    flagged = bytearray(archive)
    flagged[6] |= 1
    flagged[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(flagged)


def bomb(*_: bytes) -> bytes:
    return zipped((f"{DAY}.csv", b"1" * 600_000))


def large_bomb(*_: bytes) -> bytes:
    return zipped((f"{DAY}.csv", b"1" * (MOST_PER_ROW * 1448 + 1)))


def lines_changed(change: Any) -> Any:
    return lambda archive: zipped((f"{DAY}.csv", b"\n".join(change(csv_of(archive).split(b"\n")))))


BAD_ARCHIVES = {
    "truncated": (lambda archive: archive[: len(archive) // 2], "not a zip file"),
    "no zip at all": (lambda archive: b"<html>sign in</html>", "not a zip file"),
    "path traversal": (lambda archive: zipped((f"../{DAY}.csv", csv_of(archive))), "instead of"),
    "absolute path": (lambda archive: zipped((f"/tmp/{DAY}.csv", csv_of(archive))), "instead of"),
    "another name": (lambda archive: zipped(("x.csv", csv_of(archive))), "holds 1 files .'x.csv'"),
    "two files": (
        lambda archive: zipped((f"{DAY}.csv", csv_of(archive)), ("x", b"y")),
        "holds 2 files",
    ),
    "no file": (lambda archive: zipped(), "holds 0 files"),
    "bomb by ratio": (bomb, "unpacked it claims 600,000 bytes"),
    "bomb by size": (large_bomb, "unpacked it claims"),
    "a lie about the size": (lying, "Bad CRC-32"),
    "encrypted": (encrypted, "encrypted"),
    "packed twice": (
        lambda archive: zipped((f"{DAY}.csv", archive)),
        "which is no row of candles",
    ),
    "empty": (lambda archive: zipped((f"{DAY}.csv", b"")), "no row of candles"),
    "a row of the day before": (
        lines_changed(lambda rows: [_spoilt(rows[0], 0, b"1680393600000"), *rows[1:]]),
        "has a row of 2023-04-02 00:00:00.00:00, not between 2023-04-03",
    ),
    "a row of the day after": (
        lines_changed(lambda rows: [*rows[:1439], _spoilt(rows[1439], 0, b"1680566400000")]),
        "has a row of 2023-04-04 00:00:00.00:00, not between 2023-04-03",
    ),
    "not in order": (
        lines_changed(lambda rows: rows[1::-1] + rows[2:]),
        "row 1 doesn't come after",
    ),
    "a row twice": (lines_changed(lambda rows: rows[:5] + rows[4:]), "row 5 doesn't come after"),
    "high below low": (
        lines_changed(lambda rows: [_spoilt(rows[0], 2, b"0.5"), *rows[1:]]),
        "high 0.5 is below",
    ),
    "no number": (lines_changed(lambda rows: [_spoilt(rows[0], 5, b"x"), *rows[1:]]), "'volume'"),
    "half a row": (lines_changed(lambda rows: [*rows[:9], rows[9][:40]]), "Expected 12 columns"),
    "columns missing": (
        lambda archive: zipped(
            (f"{DAY}.csv", b"open_time,open,high,low,close,volume\n1680480000000,1,1,1,1,1\n")
        ),
        "no column 'quote_volume'",
    ),
    "only a header": (lambda archive: zipped((f"{DAY}.csv", HEADER.encode())), "no candles"),
}


def _spoilt(row: bytes, place: int, value: bytes) -> bytes:
    fields = row.split(b",")
    fields[place] = value
    return b",".join(fields)


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_bad_archives_give_way_to_rest(
    kind: str,
    real: bytes,
    venue: SimulatedExchange,
    minutes: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make, told = BAD_ARCHIVES[kind]
    serve(venue, DAY, make(real), times=2)
    candles = load(venue, "2023-04-02", end="2023-04-04 06:00")
    assert candles.equals(minutes["2023-04-02":"2023-04-04 05:59"])  # type: ignore[misc]
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "astraquant.data")
    assert record.getMessage().startswith(f"{DAY}.zip is not used: ")
    assert pd.Series(record.getMessage()).str.contains(told).all(), record.getMessage()
    (entry,) = Cache().entries()
    month = Cache().read(entry.venue, "BTCUSDT", "1m", "2023-04")
    assert month is not None
    assert month.notes == (record.getMessage().removesuffix("."),)
    assert asked(venue).count(f"{DAY}.zip") == 1  # its checksum was right: no use to load it again


def test_the_right_archive_is_used(
    real: bytes, venue: SimulatedExchange, caplog: pytest.LogCaptureFixture
) -> None:
    serve(venue, DAY, real)
    assert len(load(venue, end="2023-04-04")) == 1440
    assert asked(venue)[-2:] == [f"{DAY}.zip", f"{DAY}.zip.CHECKSUM"]
    assert caplog.messages == []


def test_a_larger_file_than_a_day_can_have_is_not_loaded(
    venue: SimulatedExchange, minutes: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    serve(venue, DAY, bytes(1_000_000))
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    assert "answers with more than" in caplog.text


def test_a_wrong_checksum_once_is_a_bad_download(
    real: bytes, venue: SimulatedExchange, caplog: pytest.LogCaptureFixture
) -> None:
    venue.answer(path_of(DAY), body=real[:-1])
    assert len(load(venue, end="2023-04-04")) == 1440
    assert asked(venue)[2:] == [f"{DAY}.zip", f"{DAY}.zip.CHECKSUM"] * 2
    assert caplog.messages == []


def test_a_wrong_checksum_twice_is_recorded(
    venue: SimulatedExchange, minutes: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = checksum(MONTH, b"something else")
    venue.answer(f"{path_of(MONTH)}.CHECKSUM", body=spoilt, times=9)
    told = f"{MONTH}.zip is not used: twice it didn't have its checksum"
    for end in ("2023-03-31", "2023-04-01", "2023-04-01"):  # anew, more, and all out of the cache
        caplog.clear()
        candles = load(venue, "2023-03-29", end=end)
        expected = minutes[(minutes.index >= "2023-03-29") & (minutes.index < end)]
        assert candles.equals(expected)
        assert caplog.messages == [f"{told}."]
        (entry,) = Cache().entries()
        month = Cache().read(entry.venue, "BTCUSDT", "1m", "2023-03")
        assert month is not None
        assert month.notes == (told,)
    names = asked(venue)
    assert names.count(f"{MONTH}.zip") == 2
    assert [name for name in names if name.startswith(f"{MONTH}-")] == [
        f"{MONTH}-{day}.zip{suffix}" for day in (29, 30, 31) for suffix in ("", ".CHECKSUM")
    ]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"0" * 64, b"0" * 64 + b"  other.zip", b"\xff" * 99]
)
def test_a_checksum_that_is_none(
    body: bytes, venue: SimulatedExchange, minutes: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    venue.answer(f"{path_of(DAY)}.CHECKSUM", body=body)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    assert "CHECKSUM is missing or says something else" in caplog.text


def test_an_archive_on_another_host_is_not_fetched(venue: SimulatedExchange) -> None:
    headers = {"Location": "https://files.example.org/x.zip"}
    venue.answer(path_of(DAY), status=302, headers=headers)
    with pytest.raises(DataError, match=r"127.0.0.1.* another host, https://files\.example\.org;"):
        load(venue)


def test_the_region_is_refused(venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/time", status=451)
    with pytest.raises(DataError, match=r"region.*data-api\.binance\.vision.*BINANCE_REST"):
        load(venue)
    assert asked(venue) == ["time"]


# Interrupts

CHILD = """
import sys
from astraquant.data import load_candles
print("begin", flush=True)
try:
    load_candles("BTCUSDT", "1m", start=sys.argv[2], source=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def stopped(venue: SimulatedExchange, how: signal.Signals, wanted: str, times: int) -> str:
    """Load in another process until something was asked so often, and stop it; what it says."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, venue.url, "2023-03-28"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "TQDM_DISABLE": "1"},
        text=True,
    ) as child:
        while asked(venue).count(wanted) < times:
            assert child.poll() is None
            time.sleep(0.001)  # until the other process has come so far
        child.send_signal(how)
        told, _ = child.communicate()
    return told


def test_an_interrupt_keeps_what_there_is(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue, times=2)
    venue.slow(0.1)
    assert stopped(venue, signal.SIGINT, "klines", 4) == "begin\ninterrupted\n"
    venue.slow(0)
    (entry,) = Cache().entries()
    assert entry.rows in (1000, 2000, 3000)
    before = len(venue.ledger.requests)
    assert load(venue, "2023-03-28").equals(until_noon(minutes, "2023-03-28"))
    pages = [e.target for e in list(venue.ledger.requests)[before:] if "klines?" in e.target]
    assert f"startTime={entry.until}&" in pages[0]  # right where it was
    assert len(pages) == -(-(7 * 1440 + 720 - entry.rows) // 1000)


def test_a_killed_process_keeps_whole_months(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    venue.slow(0.05)
    stopped(venue, signal.SIGKILL, "BTCUSDT-1m-2023-04-01.zip", 1)
    venue.slow(0)
    before = len(venue.ledger.requests)
    assert load(venue, "2023-03-28").equals(until_noon(minutes, "2023-03-28"))
    assert f"{MONTH}.zip" in asked(venue)[:before]
    assert not [name for name in asked(venue, before) if name.startswith(MONTH)]


def test_an_interrupt_never_leaves_less(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    load(venue, "2023-04-02")
    (kept,) = Cache().entries()
    venue.answer(path_of("BTCUSDT-1m-2023-04-01"), status=404, times=2)
    venue.answer(KLINES, status=403, after=2)
    with pytest.raises(DataError, match="firewall"):
        load(venue, "2023-04-01")
    assert Cache().entries() == [kept]
    assert load(venue, "2023-04-01").equals(until_noon(minutes, "2023-04-01"))


def test_a_lost_network_keeps_what_there_is(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    without_archives(venue, times=2)
    cut = {"Content-Length": "99"}
    venue.answer(KLINES, body=b"[[", headers=cut, after=3, times=ATTEMPTS)
    with pytest.raises(DataError, match="doesn't answer .*tried several times"):
        load_at_once(venue, "2023-04-01")
    before = len(venue.ledger.requests)
    assert load(venue, "2023-04-01").equals(until_noon(minutes, "2023-04-01"))
    assert asked(venue, before).count("klines") == 4  # of six pages two were kept


def test_an_exchange_that_is_gone(venue: SimulatedExchange) -> None:
    load(venue, "2023-04-03")
    venue.stop()
    with pytest.raises(
        DataError,
        match=r"several times\. Is the simulated exchange still running .* address that it says",
    ):
        load_at_once(venue, "2023-04-03")


# A cache that doesn't work


def test_a_cache_that_cant_be_written_is_said_once(
    venue: SimulatedExchange,
    minutes: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        candles = load(venue, "2023-03-30")
    assert candles.equals(until_noon(minutes, "2023-03-30"))
    assert [str(entry.message)[:60] for entry in caught] == [
        "the candles are loaded, but not kept for the next time: cand"
    ]
    assert "ASTRAQUANT_CACHE" in str(caught[0].message)


def test_a_damaged_month_is_loaded_anew(
    venue: SimulatedExchange, minutes: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    load(venue, "2023-03-30")
    path = Cache().entries()[0].path
    path.write_bytes(path.read_bytes()[:-100])
    before = len(venue.ledger.requests)
    assert load(venue, "2023-03-30").equals(until_noon(minutes, "2023-03-30"))
    assert asked(venue, before).count(f"{MONTH}.zip") == 1
    assert len(caplog.messages) == 1
