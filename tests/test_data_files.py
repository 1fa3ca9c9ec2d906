"""Files as they come: real archives and answers, every layout, and what is no file of candles."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, find_gaps, times_of
from astraquant.data import read_candles
from astraquant.data.files import market_named
from astraquant.data.formats import parse
from astraquant.errors import DataError

ARCHIVES = {  # file of raw_vision -> rows, first open time
    "ARBUSDT-1m-2023-03-23.zip": (540, "2023-03-23 15:00"),
    "BTCUSDT-15m-2023-03-24.zip": (91, "2023-03-24 00:00"),
    "BTCUSDT-1h-2023-03-24.zip": (23, "2023-03-24 00:00"),
    "BTCUSDT-1h-2024-12.csv": (744, "2024-12-01 00:00"),
    "BTCUSDT-1h-2025-01.csv": (744, "2025-01-01 00:00"),
    "BTCUSDT-1m-2023-03-23.zip": (1440, "2023-03-23 00:00"),
    "BTCUSDT-1m-2023-03-24.zip": (1360, "2023-03-24 00:00"),
    "BTCUSDT-1m-2023-03-25.zip": (1440, "2023-03-25 00:00"),
    "SOLUSDT-1m-2023-02-14.zip": (1439, "2023-02-14 00:00"),
    "um_BTCUSDT-5m-2025-02.csv.gz": (8064, "2025-02-01 00:00"),
}
PLAIN = "time,open,high,low,close,volume\n"
FIRST = pd.Timestamp("2023-03-24 12:40", tz="UTC")


def plain_rows(*times: object) -> str:
    return "".join(f"{time},10,12,9,11,5\n" for time in times)


def write(folder: Path, text: str | bytes, name: str = "candles.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def zipped(**members: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def test_every_archive_is_known_here(market_data: Path) -> None:
    assert {path.name for path in (market_data / "raw_vision").iterdir()} == set(ARCHIVES)


@pytest.mark.parametrize("name", ARCHIVES)
def test_raw_archives(market_data: Path, name: str) -> None:
    candles = read_candles(market_data / "raw_vision" / name)
    count, first = ARCHIVES[name]
    assert (len(candles), str(candles.index[0])[:16]) == (count, first)
    assert list(candles.columns) == [*COLUMNS, *EXTRA_COLUMNS]
    assert (candles.dtypes == np.float64).all()
    assert (candles.index.name, str(candles.index.tz)) == ("time", "UTC")
    assert candles.attrs == {"source": name}


def test_values_are_those_of_the_text(market_data: Path) -> None:
    path = market_data / "raw_vision" / "BTCUSDT-1m-2023-03-24.zip"
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    candles = read_candles(path)
    for line, time, row in zip(lines, times_of(candles), candles.to_numpy(), strict=True):
        fields = line.split(",")
        assert int(fields[0]) == time
        assert [float(fields[k]) for k in (1, 2, 3, 4, 5, 7, 8, 9, 10)] == row.tolist()


def test_parquet_and_archive_hold_the_same_candles(market_data: Path) -> None:
    (year,) = (market_data / "klines").glob("binance_spot_BTCUSDT_1m_*.parquet")
    days = read_candles(market_data / "raw_vision" / "BTCUSDT-1m-2023-03-*.zip")
    assert len(days) == 4240
    assert read_candles(year)["2023-03-23":"2023-03-25"].equals(days)
    assert days.attrs["source"] == (
        "3 files, BTCUSDT-1m-2023-03-23.zip to BTCUSDT-1m-2023-03-25.zip"
    )
    assert find_gaps(days)["missing"].tolist() == [80]


def test_milliseconds_and_microseconds_become_one_table(market_data: Path, tmp_path: Path) -> None:
    pattern = market_data / "raw_vision" / "BTCUSDT-1h-202[45]-*.csv"
    candles = read_candles(pattern)
    hours = pd.date_range("2024-12-01", "2025-01-31 23:00", freq="1h", tz="UTC")
    assert candles.index.tolist() == hours.tolist()
    folder = tmp_path / "hours"
    folder.mkdir()
    both = b""
    for path in sorted(pattern.parent.glob(pattern.name)):
        shutil.copy(path, folder)
        write(folder, b"0" * 64, path.name + ".CHECKSUM")  # lies beside an archive; not read
        both += path.read_bytes()
    assert read_candles(folder).equals(candles)
    assert read_candles(f"{folder}/*").equals(candles)
    assert read_candles(write(tmp_path, both)).equals(candles)  # cat *.csv > candles.csv


def test_rest_rows(market_data: Path) -> None:
    path = market_data / "rest" / "nautilus_http_spot_market_klines.json"
    candles = read_candles(path)
    rows = json.loads(path.read_text())
    assert times_of(candles).tolist() == [row[0] for row in rows]
    assert candles["close"].tolist() == [float(row[4]) for row in rows]
    assert candles["trades"].tolist() == [float(row[8]) for row in rows]


def test_repeated_hours_are_refused_and_repaired_on_request(market_data: Path) -> None:
    folder = market_data / "hourly_multi"
    twice = {}
    for path in sorted(folder.iterdir()):
        with pytest.raises(DataError, match=r"is there twice \(row \d+.*repair=\"last\"") as caught:
            read_candles(path)
        assert path.name in str(caught.value)
        rows = pq.read_table(path).num_rows
        candles = read_candles(path, repair="last")
        twice[path.name.split("_")[2]] = rows - len(candles)
    assert twice == {"ADAUSDT": 24, "BNBUSDT": 25, "BTCUSDT": 26, "ETHUSDT": 26, "XRPUSDT": 16}


def test_the_repaired_hours_are_the_exchanges_but_for_the_last(market_data: Path) -> None:
    (dirty,) = (market_data / "hourly_multi").glob("*BTCUSDT*")
    (official_file,) = (market_data / "klines").glob("binance_spot_BTCUSDT_1h_*.csv.gz")
    repaired = read_candles(dirty, repair="last")
    assert str(find_gaps(repaired).iloc[0]["start"])[:16] == "2017-09-06 17:00"
    assert find_gaps(repaired)["missing"].sum() == 128
    assert len(find_gaps(repaired)) == 28
    official = read_candles(official_file)[list(COLUMNS)]
    repaired = repaired[official.index[0] :]
    official = official[: repaired.index[-1]]
    differ = (repaired != official).any(axis=1)
    # An unfinished candle at the end of a file can't be told from a finished one: it stays.
    assert differ[differ].index.tolist() == [repaired.index[-1]]
    assert repaired["volume"].iloc[-1] < official["volume"].iloc[-1]


@pytest.mark.parametrize(
    "times",
    [
        ("2023-03-24 12:40", "2023-03-24 12:41"),
        ("2023-03-24T12:40:00Z", "2023-03-24T12:41:00Z"),
        ("2023-03-24T12:40:00.000Z", "2023-03-24T12:41:00.000Z"),
        ("2023-03-24 12:40:00+00:00", "2023-03-24 12:41:00+00:00"),
        ("2023-03-24 14:40:00+02:00", "2023-03-24 12:41:00+00:00"),
        ('"2023-03-24 12:40"', '"2023-03-24 12:41:00"'),
        (1679661600, 1679661660),
        (1679661600000, 1679661660000),
        (1679661600000000, 1679661660000000),
        (1679661600000000000, 1679661660000000000),
        (1679661600.0, 1679661660.0),
        (1679661600000, 1679661660000000),
    ],
)
@pytest.mark.parametrize("name", ["time", "Date", "datetime", "TIMESTAMP", "Open Time"])
def test_times_as_they_are_written(tmp_path: Path, times: tuple[object, ...], name: str) -> None:
    text = PLAIN.replace("time", name) + plain_rows(*times)
    candles = read_candles(write(tmp_path, text))
    assert candles.index.tolist() == [FIRST, FIRST + pd.Timedelta("1min")]


def test_days_are_their_midnight(tmp_path: Path) -> None:
    path = write(tmp_path, "Date,Open,High,Low,Close,Vol\n" + plain_rows("2023-03-24"))
    assert read_candles(path).index.tolist() == [pd.Timestamp("2023-03-24", tz="UTC")]


def test_layouts_of_text(tmp_path: Path) -> None:
    text = PLAIN + plain_rows("2023-03-24 12:40", "2023-03-24 12:41")
    expected = read_candles(write(tmp_path, text))
    shuffled = "close,symbol,low,Quote asset volume,high,open,VOL,date\n11,X,9,1,12,10,5,2023-03-24"
    candles = read_candles(write(tmp_path, shuffled))
    assert list(candles.columns) == [*COLUMNS, "quote_volume"]
    assert candles.iloc[0].tolist() == [10, 12, 9, 11, 5, 1]
    for data, name in [
        (b"\xef\xbb\xbf" + text.encode(), "bom.csv"),
        (text.replace("\n", "\r\n"), "windows.csv"),
        ("\n\n" + text, "blank.csv"),
        (text.rstrip(), "no_last_newline.csv"),
        (gzip.compress(text.encode()), "candles.csv.gz"),
        (gzip.compress(text.encode()), "wrongly_named.csv"),
        (zipped(inside=text), "candles.zip"),
        (zipped(folder__inside=text), "deeper.zip"),
        (text, "no_ending"),
    ]:
        assert read_candles(write(tmp_path, data, name)).equals(expected), name


def test_a_table_stored_by_pandas_comes_back(tmp_path: Path) -> None:
    text = PLAIN + plain_rows("2023-03-24 12:40", "2023-03-24 12:41")
    candles = read_candles(write(tmp_path, text))
    candles.to_csv(tmp_path / "again.csv")
    assert read_candles(tmp_path / "again.csv").equals(candles)
    candles.attrs["source"] = "synthetic sample"
    for unit in ("s", "ms", "us", "ns"):
        stored = candles.set_axis(candles.index.as_unit(unit).tz_convert("Asia/Tokyo"))
        stored.to_parquet(tmp_path / "again.parquet")
        again = read_candles(str(tmp_path / "again.parquet"))
        assert again.equals(candles)
        assert again.attrs["source"] == "synthetic sample (stored in again.parquet)"
    again.iloc[0, 0] = 10.5  # what was read may be written to
    assert again["open"].tolist() == [10.5, 10]


def test_parquet_of_other_types(tmp_path: Path) -> None:
    columns = {"open": [10], "high": [12], "low": [9], "close": [11], "volume": ["5.25"]}
    for times in (
        pa.array([1679661600], pa.int32()),
        pa.array([1679661600000.0]),
        pa.array(["2023-03-24 12:40"]),
        pa.array([1679661600000], pa.timestamp("ms")),
    ):
        pq.write_table(pa.table({"Date": times, **columns}), tmp_path / "x.parquet")
        candles = read_candles(tmp_path / "x.parquet")
        assert candles.index.tolist() == [FIRST]
        assert candles["volume"].tolist() == [5.25]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (plain_rows("12:40:00"), "holds time32.*expected full dates"),
        (
            plain_rows("24/03/2023 12:40"),
            "row 0 has the time .24/03/2023.*not guessed",
        ),
        (plain_rows("", "2023-03-24"), "row 0 has no time"),
        (plain_rows(0, 1, 2), "row 0 has the time 0 .*after 1973"),
        (plain_rows(1679661600000, -5), "row 1 has the time -5"),
        (plain_rows(1679661600.5), r"row 0 has the time 1679661600\.5"),
        (plain_rows(1679661600000001), "row 0 has the time 1679661600000001"),
        (plain_rows("2023-03-24 12:40:00.000001"), "no whole milliseconds"),
        (plain_rows("2023-03-24T12:40:00.000001Z", "2023-03-25"), "no whole milliseconds"),
        ("2023-03-24,10,12,9,eleven,5\n", "column 'close' holds 'eleven', expected plain numbers"),
        ("2023-03-24,10,12,9,11\n", "Expected 6 columns, got 5"),
        ("2023-03-24,10,12,9,,5\n", "close is nan.* at 2023-03-24"),
        ("2023-03-24,10,12,11.5,11,5\n", r"low 11\.5 is above open 10\.0 at 2023-03-24"),
        (plain_rows("2023-03-25", "2023-03-24"), r"not in order: 2023-03-24.*\(row 1\).*Sort"),
        (plain_rows("2023-03-24", "2023-03-24"), "2023-03-24 .* is there twice .row 1"),
        ("", "columns, but no rows"),
    ],
)
def test_bad_rows_name_the_file_and_the_row(tmp_path: Path, rows: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read_candles(write(tmp_path, PLAIN + rows, "mine.csv"))
    assert str(caught.value).startswith("mine.csv")


def test_an_unsorted_file_is_not_repaired(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN + plain_rows("2023-03-25", "2023-03-24", "2023-03-24"))
    with pytest.raises(DataError, match="not in order"):
        read_candles(path, repair="last")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("time,open,high,low,close", "no column for the volume"),
        ("day,open,high,low,close,volume", "no column for the time .*open_time.*it has 'day'"),
        ("time,open,high,low,close,Volume BTC", "no column for the volume .*'Volume BTC'"),
        ("time,open,high,low,close,volume,Vol", r"\['volume', 'Vol'\] could all be the volume"),
        ("time,date,open,high,low,close,volume", "could all be the time"),
        ("time;open;high;low;close;volume", "semicolons stand between the columns.*commas"),
        ("1679661600000;10,5;12,5;9,5;11,5;5,0", "semicolons stand between"),
        ("time\topen\thigh\tlow\tclose\tvolume", "tabs stand between the columns.*commas"),
        ("time,open,high,low,close,close", "no column for the volume|could all be the close"),
    ],
)
def test_bad_headers(tmp_path: Path, header: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_candles(write(tmp_path, header + "\n"))


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06"
PLAIN_ROW = PLAIN + plain_rows("2023-03-24")


OTHER_KINDS = [
    (b"", "the file is empty"),
    (b" \n\n", "the file is empty"),
    (PNG, "no file of candles"),
    (b"%PDF-1.7\n", "no file of candles"),
    (b"\xff\xfet\x00i\x00m\x00e\x00", "no file of candles"),  # UTF-16
    (b"zeit,er\xf6ffnung\n", "no text in UTF-8"),
    (b"<!DOCTYPE html>\n<html></html>", "no column for the time"),
    (b"1679661600000,1,2,1,2,5\n", "no header line, and 6 columns.*time,open,high"),
    (b'{"cells": [], "nbformat": 4}', "a Jupyter notebook, not candles"),
    (b'{"code": -1121, "msg": "Invalid symbol."}', "an error of Binance.*'Invalid symbol.'"),
    (b'{"lastUpdateId": 1}', "a JSON object, not candles"),
    (b"[]", "the JSON list is empty"),
    (b'[{"a": 1}]', "row 0 of the JSON is no kline"),
    (b"[[1,2,3]]", "row 0 of the JSON is no kline"),
    (b"[[1,2,3]", "the JSON is broken"),
    (b'[[1679661600000,"x","1","1","1","1",2,"1",1,"1","1","0"]]', "is no number.*'x'"),
    (b'[[1679661600000,null,"1","1","1","1",2,"1",1,"1","1","0"]]', "is no number"),
    (b"PAR1 and no more", "can't be read.*damaged"),
    (b"PK\x03\x04 and no more", "can't be read.*damaged"),
    (gzip.compress(PLAIN_ROW.encode())[:-9], "can't be read.*damaged"),
    (gzip.compress(gzip.compress(b"x")), "no file of candles"),
    (zipped(inside=PLAIN_ROW)[:-30], "can't be read.*damaged"),
    (zipped(inside=PLAIN_ROW, other=PLAIN_ROW), "holds 2 files, .*inside, other"),
    (zipped(), "holds 0 files"),
    (zipped(**{"..__inside": PLAIN_ROW}), "leads out of it"),
    (zipped(**{"__inside": PLAIN_ROW}), "leads out of it"),
    (zipped(**{"C:\\inside": PLAIN_ROW}), "leads out of it"),
    (zipped(inside=zipped(inside=PLAIN_ROW)), "no file of candles"),
    (zipped(inside=b""), "the file is empty"),
]


# Numbered: an archive bears the time at which it was made, and the name of a test must not.
@pytest.mark.parametrize(("data", "told"), OTHER_KINDS, ids=range(len(OTHER_KINDS)))
def test_files_of_another_kind(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read_candles(write(tmp_path, data, "renamed.csv"))
    assert str(caught.value).startswith("renamed.csv")


def test_damage_of_every_kind_is_a_data_error(tmp_path: Path) -> None:
    table = read_candles(write(tmp_path, PLAIN_ROW))
    table.to_parquet(tmp_path / "x.parquet")
    archive = zipped(inside=PLAIN_ROW)
    rng = np.random.default_rng(5)
    refused = 0
    for data in (archive, (tmp_path / "x.parquet").read_bytes(), gzip.compress(b"[[1,2],[3,4]]")):
        for _ in range(400):
            changed = bytearray(data)
            changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            try:
                parse(bytes(changed), "x")
            except DataError as error:
                assert str(error).startswith("x")
                refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    "data",
    [
        zipped(**{".": PLAIN_ROW}),
        b"[" * 100_000,
        b"[[1679661600000,1e5,1,1,1," + b"9" * 400 + b',2,"1",1,"1","1","0"]]',
        b"PK\x03\x04".join(zipped(inside=PLAIN_ROW).split(b"PK\x03\x04")).replace(
            b"\x08\x00", b"\x63\x00"
        ),
        b",,\x0b\n",
        b"\xef\xbb\xbf\n\n,\n",
    ],
)
def test_what_the_readers_trip_over(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"^x\.csv"):
        read_candles(write(tmp_path, data, "x.csv"))


@pytest.mark.parametrize("path", [None, 5, b"x.csv", ["x.csv"], pd.DataFrame()])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(DataError, match=f"path is a {type(path).__name__}, expected text"):
        read_candles(path)  # type: ignore[arg-type]


def test_an_empty_path_and_an_address_are_refused() -> None:
    for empty in ("", "  "):
        with pytest.raises(DataError, match="is empty.*current folder"):
            read_candles(empty)
    for address in ("https://example.org/BTCUSDT-1m-2023-03.zip", "s3://some/*.csv"):
        with pytest.raises(DataError, match=r"addresses aren't read\. Download"):
            read_candles(address)


def test_hidden_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, PLAIN_ROW)
    write(tmp_path, b"\0\5\x16\7", "._candles.csv")
    assert len(read_candles(tmp_path)) == 1


def test_a_bad_row_is_mended_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="close is nan.*Mend that row of the file") as caught:
        read_candles(write(tmp_path, PLAIN + "2023-03-24,10,12,9,,5\n"))
    assert "candles.drop" not in str(caught.value)


def test_a_damaged_archive_fails_its_checksum(tmp_path: Path) -> None:
    data = bytearray(zipped(inside=PLAIN + plain_rows(*range(1679661600, 1679662600, 60))))
    data[len(data) // 3] ^= 0xFF
    with pytest.raises(DataError, match=r"can't be read.*Load it again"):
        read_candles(write(tmp_path, bytes(data), "x.zip"))


def test_other_real_recordings_are_no_candles(market_data: Path) -> None:
    for path in [*(market_data / "ws").glob("*.gz"), *(market_data / "rest").glob("*[!s].json")]:
        with pytest.raises(DataError, match=path.name):
            read_candles(path)
    with pytest.raises(DataError, match=r"no kline: {'a': 966492862"):
        read_candles(market_data / "rest" / "nautilus_http_spot_market_agg_trades.json")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    write(tmp_path, PLAIN_ROW, "BTCUSDT-1m-2023-03.csv")
    with pytest.raises(DataError, match=r"no file .*Did you mean .*BTCUSDT-1m-2023-03\.csv"):
        read_candles(tmp_path / "BTCUSDT-1m-2023-3.csv")
    with pytest.raises(DataError, match=r"Its folder .*nowhere' doesn't exist"):
        read_candles(tmp_path / "nowhere" / "x.csv")
    with pytest.raises(DataError, match=r"no file that ends in .*matches the pattern"):
        read_candles(tmp_path / "ETH*.csv")
    with pytest.raises(DataError, match="holds no candles"):
        (tmp_path / "empty").mkdir()
        write(tmp_path / "empty", "about", "README.md")
        read_candles(tmp_path / "empty")
    with pytest.raises(DataError, match=r"unknown repair 'first'.*Known: last"):
        read_candles(tmp_path, repair="first")


def test_files_are_joined_in_the_order_of_time(tmp_path: Path) -> None:
    """By times, not by names; a file may fill the hole of another."""
    write(tmp_path, PLAIN + plain_rows("2023-03-24 12:40", "2023-03-24 12:44"), "b.csv")
    write(tmp_path, PLAIN + plain_rows("2023-03-24 12:41", "2023-03-24 12:42"), "z.csv")
    write(tmp_path, PLAIN + plain_rows("2023-03-24 12:45"), "a.csv")
    with pytest.raises(DataError, match=r"0 days 00:04:00"):  # b.csv alone has no timeframe
        read_candles(tmp_path)
    write(tmp_path, PLAIN + plain_rows(*(f"2023-03-24 12:{k}" for k in (39, 40, 44))), "b.csv")
    candles = read_candles(tmp_path)
    assert candles.index.minute.tolist() == [39, 40, 41, 42, 44, 45]
    assert candles.attrs["source"] == "3 files, b.csv to a.csv"


def test_overlapping_files(tmp_path: Path) -> None:
    rows = "".join(f"2023-03-24 12:{k},10,12,9,11,5\n" for k in (40, 41, 42))
    later = "".join(f"2023-03-24 12:{k},10,12,9,11,6\n" for k in (41, 42, 43))
    write(tmp_path, PLAIN + later, "a.csv")
    write(tmp_path, PLAIN + rows, "b.csv")
    with pytest.raises(DataError, match=r"b\.csv and a\.csv both have .* 2023-03-24 12:41.*2 such"):
        read_candles(tmp_path)
    candles = read_candles(tmp_path, repair="last")
    assert candles["volume"].tolist() == [5, 6, 6, 6]
    assert candles.index.minute.tolist() == [40, 41, 42, 43]


def test_files_that_do_not_belong_together(market_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"several markets or timeframes \(ARBUSDT-1m, BTCUSDT-15m"):
        read_candles(market_data / "raw_vision")
    minutes = plain_rows("2023-03-24 12:40", "2023-03-24 12:41")
    write(tmp_path, PLAIN + minutes, "a.csv")
    write(tmp_path, PLAIN + plain_rows("2023-03-24 13:00", "2023-03-24 14:00"), "b.csv")
    with pytest.raises(DataError, match=r"a\.csv holds 1m candles and b\.csv 1h"):
        read_candles(tmp_path)
    extra = PLAIN.replace("\n", ",trades\n") + "2023-03-24 13:00,10,12,9,11,5,7\n"
    write(tmp_path, extra, "b.csv")
    with pytest.raises(DataError, match=r"a\.csv and b\.csv don't have the same columns.*trades"):
        read_candles(tmp_path)


@pytest.mark.parametrize("repair", [None, "last"])
def test_two_markets_never_become_one_table(
    market_data: Path, tmp_path: Path, repair: str | None
) -> None:
    with pytest.raises(DataError, match=r"several markets.*BTCUSDT, ETHUSDT, SOLUSDT.*\*BTCUSDT\*"):
        read_candles(market_data / "klines" / "*_15m_*", repair=repair)
    write(tmp_path, PLAIN + plain_rows("2023-03-24 12:40", "2023-03-24 12:41"), "BTCUSDT.csv")
    write(tmp_path, PLAIN + plain_rows("2023-03-24 12:42", "2023-03-24 12:43"), "ETHUSDT.csv")
    with pytest.raises(DataError, match="several markets, as their names say"):
        read_candles(tmp_path, repair=repair)
    assert len(read_candles(tmp_path / "*BTCUSDT*")) == 2


@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("binance_spot_ETHUSDT_1d_2023.csv.gz", "ETHUSDT"),
        ("um_BTCUSDT-5m-2025-02.csv.gz", "BTCUSDT"),
        ("1000SATSUSDT.csv", "1000SATSUSDT"),
        ("ETHBTC-1h.csv", "ETHBTC"),
        ("USDT.csv", ""),
        ("candles.csv", ""),
        ("BTCUSDT_against_ETHUSDT.csv", ""),
    ],
)
def test_the_market_in_a_name(name: str, market: str) -> None:
    assert market_named(name) == market


def test_stored_tables_of_two_markets_are_refused(tmp_path: Path) -> None:
    for day, symbol in ((1, "BTCUSDT"), (2, "ETHUSDT")):
        times = plain_rows(f"2023-03-0{day} 12:40", f"2023-03-0{day} 12:41")
        table = read_candles(write(tmp_path, PLAIN + times, "candles.txt"))
        table.attrs["symbol"] = symbol
        table.to_parquet(tmp_path / f"{day}.parquet")
    assert read_candles(tmp_path / "2.parquet").attrs["symbol"] == "ETHUSDT"
    with pytest.raises(DataError, match=r"several markets \(BTCUSDT in 1.*ETHUSDT in 2"):
        read_candles(tmp_path)
