"""Archives that are wrong: never a false candle comes of one, and the right ones all the same."""

from __future__ import annotations

import io
import logging
import zipfile
from typing import Any

import pandas as pd
import pytest
from archive_files import HEADER, asked, checksum, path_of, serve, zipped
from binance_venue import DAY, MONTH, load, until_noon

from astraquant.data.archives import MOST_PER_ROW
from astraquant.data.cache import Cache
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange
from astraquant.exchange.archives import Archives
from astraquant.exchange.market import Market


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
