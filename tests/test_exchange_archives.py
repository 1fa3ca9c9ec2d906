"""The archive layout against real archive files."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant.exchange.archives import Archives
from astraquant.exchange.market import Market
from astraquant.timeframes import DAY, HOUR, MINUTE, from_ms, parse_time

MONTHLY = "/data/spot/monthly/klines/BTCUSDT/{0}/BTCUSDT-{0}-{1}.zip"
DAILY = "/data/spot/daily/klines/BTCUSDT/{0}/BTCUSDT-{0}-{1}.zip"
LATE = 4_000_000_000_000  # every period is past


def ms(text: str) -> int:
    return int(parse_time(text).timestamp() * 1000)


@cache
def hours() -> Market:
    """Hours from 2024-11-15 to 2025-02-15, none on 2024-12-24."""
    times = np.arange(ms("2024-11-15"), ms("2025-02-15"), HOUR)
    times = times[times // DAY != ms("2024-12-24") // DAY]
    price = 100 + np.arange(len(times)) % 50
    table = {"open": price, "high": price + 2, "low": price - 1, "close": price + 1, "volume": 1.5}
    return Market(pd.DataFrame(table, index=from_ms(times)).astype("float64"), "BTCUSDT")


def venue() -> Archives:
    return Archives({"BTCUSDT": hours()})


def lines_of(content: bytes) -> list[str]:
    """The lines of the one CSV in a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
        assert entry.filename.endswith(".csv")
        text = archive.read(entry).decode("ascii")
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def opened(lines: list[str]) -> list[int]:
    return [int(line.split(",")[0]) for line in lines]


# Made archives.


def test_a_month_and_a_day_hold_their_bars_alone() -> None:
    month = lines_of(venue().answer(MONTHLY.format("1h", "2024-12"), LATE).body)
    grid = range(ms("2024-12-01"), ms("2025-01-01"), HOUR)
    assert opened(month) == [time for time in grid if time // DAY != ms("2024-12-24") // DAY]
    day = lines_of(venue().answer(DAILY.format("1h", "2024-12-25"), LATE).body)
    assert opened(day) == list(range(ms("2024-12-25"), ms("2024-12-26"), HOUR))
    assert set(day) < set(month)
    assert all(len(line.split(",")) == 12 for line in month)


def test_times_are_microseconds_from_2025_on() -> None:
    last = lines_of(venue().answer(MONTHLY.format("1h", "2024-12"), LATE).body)[-1].split(",")
    first = lines_of(venue().answer(MONTHLY.format("1h", "2025-01"), LATE).body)[0].split(",")
    start = ms("2025-01-01")
    assert (int(last[0]), int(last[6])) == (start - HOUR, start - 1)
    assert (int(first[0]), int(first[6])) == (start * 1000, (start + HOUR) * 1000 - 1)
    day = lines_of(venue().answer(DAILY.format("1h", "2024-12-31"), LATE).body)
    assert day[-1].split(",") == last


def test_a_checksum_fits_its_zip_and_both_are_repeatable() -> None:
    path = MONTHLY.format("1h", "2024-12")
    content = venue().answer(path, LATE)
    assert content.headers["Content-Type"] == "application/zip"
    assert venue().answer(path, LATE + 10**9).body == content.body
    listed = venue().answer(path + ".CHECKSUM", LATE)
    digest = hashlib.sha256(content.body).hexdigest()
    assert listed.body == f"{digest}  BTCUSDT-1h-2024-12.zip\n".encode()
    with zipfile.ZipFile(io.BytesIO(content.body)) as archive:
        (entry,) = archive.infolist()
    assert entry.filename == "BTCUSDT-1h-2024-12.csv"
    assert entry.date_time == (1980, 1, 1, 0, 0, 0), "no clock has a part in it"


def test_a_month_is_spelled_1mo() -> None:
    content = venue().answer(MONTHLY.format("1mo", "2024-12"), LATE).body
    assert opened(lines_of(content)) == [ms("2024-12-01")]
    assert venue().answer(MONTHLY.format("1M", "2024-12"), LATE).status == 404


@pytest.mark.parametrize(
    ("path", "there_at"),
    [
        (MONTHLY.format("1h", "2024-12"), "2025-01-01"),
        (MONTHLY.format("1mo", "2024-12"), "2025-01-01"),
        (DAILY.format("1h", "2024-12-25"), "2024-12-26"),
        (DAILY.format("1d", "2024-12-25"), "2024-12-26"),
        (MONTHLY.format("1w", "2024-12"), "2025-01-06"),  # the week of Monday, 2024-12-30
    ],
)
@pytest.mark.parametrize("suffix", ["", ".CHECKSUM"])
def test_an_archive_is_there_as_soon_as_its_last_bar_is_over(
    path: str, there_at: str, suffix: str
) -> None:
    archives = venue()
    assert archives.answer(path + suffix, ms(there_at)).status == 200
    assert archives.answer(path + suffix, ms(there_at) - 1).status == 404


def test_a_week_is_in_the_month_that_it_opens_in() -> None:
    content = venue().answer(MONTHLY.format("1w", "2024-12"), LATE).body
    weeks = [ms(f"2024-12-{day:02}") for day in (2, 9, 16, 23, 30)]
    assert opened(lines_of(content)) == weeks


MISSING = [
    MONTHLY.format("1h", "2024-10"),  # before the first candle
    MONTHLY.format("1h", "2025-03"),  # after the last
    DAILY.format("1h", "2024-12-24"),  # none on that day
    MONTHLY.format("1m", "2024-12"),  # finer than the candles
    MONTHLY.format("7h", "2024-12"),
    MONTHLY.format("1H", "2024-12"),
    MONTHLY.format("1h", "2024-12-01"),
    DAILY.format("1h", "2024-12"),
    DAILY.format("3d", "2024-12-02"),  # the days have no bars longer than a day
    DAILY.format("1mo", "2024-12-01"),
    MONTHLY.format("1h", "2024-13"),
    MONTHLY.format("1h", "2024-00"),
    MONTHLY.format("1h", "24-12"),
    DAILY.format("1h", "2024-12-32"),
    DAILY.format("1h", "2025-02-29"),
    MONTHLY.format("1h", "٢٠٢٤-12"),
    MONTHLY.format("1h", "2024-12").replace("BTCUSDT", "ETHUSDT"),
    MONTHLY.format("1h", "2024-12").replace("BTCUSDT", "btcusdt"),
    MONTHLY.format("1h", "2024-12").replace("BTCUSDT-", "ETHUSDT-"),
    MONTHLY.format("1h", "2024-12").replace("1h-", "2h-"),
    MONTHLY.format("1h", "2024-12").replace("spot", "futures"),
    MONTHLY.format("1h", "2024-12").replace("klines", "trades"),
    MONTHLY.format("1h", "2024-12") + ".checksum",
    MONTHLY.format("1h", "2024-12") + "\n",
    "/data/spot/monthly/klines/",
    "/data/",
    "",
    "/",
]


@pytest.mark.parametrize("path", MISSING, ids=range(len(MISSING)))
def test_what_is_not_there_is_404(path: str) -> None:
    answer = venue().answer(path, LATE)
    assert (answer.status, b"NoSuchKey" in answer.body) == (404, True)


def real_candles(market_data: Path, first: str, until: str) -> pd.DataFrame:
    """Real minutes of BTCUSDT with first <= time < until."""
    table = pd.read_parquet(
        market_data / "klines" / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet",
        filters=[("open_time", ">=", ms(first)), ("open_time", "<", ms(until))],
    )
    candles = table.set_index(from_ms(table["open_time"].to_numpy()))
    candles = candles.drop(columns=["open_time", "close_time", "ignore"])
    return candles.rename(columns={"count": "trades"}).astype("float64")


@pytest.mark.parametrize(
    ("interval", "date", "odd"),
    [("1m", "2023-03-23", []), ("1m", "2023-03-24", [759]), ("1m", "2023-03-25", []),
     ("15m", "2023-03-24", [50]), ("1h", "2023-03-24", [12])],
)  # fmt: skip
def test_made_days_are_the_real_ones(
    market_data: Path, interval: str, date: str, odd: list[int]
) -> None:
    market = Market(real_candles(market_data, "2023-03-23", "2023-03-26"), "BTCUSDT")
    made = Archives({"BTCUSDT": market}).answer(DAILY.format(interval, date), LATE)
    real = (market_data / "raw_vision" / f"BTCUSDT-{interval}-{date}.zip").read_bytes()
    ours, theirs = lines_of(made.body), lines_of(real)
    assert len(ours) == len(theirs)
    differing = [
        row for row, pair in enumerate(zip(ours, theirs, strict=True)) if len(set(pair)) > 1
    ]
    assert differing == odd, "the halt cut the close time of its last bar short, and nothing else"
    for row in odd:
        fields = [line.split(",") for line in (ours[row], theirs[row])]
        assert [k for k in range(12) if fields[0][k] != fields[1][k]] == [6]


def test_a_whole_real_month(market_data: Path) -> None:
    market = Market(real_candles(market_data, "2023-03-01", "2023-04-01"), "BTCUSDT")
    archives = Archives({"BTCUSDT": market})
    lines = lines_of(archives.answer(MONTHLY.format("1m", "2023-03"), LATE).body)
    grid = range(ms("2023-03-01"), ms("2023-04-01"), MINUTE)
    halt = range(ms("2023-03-24 12:40"), ms("2023-03-24 14:00"), MINUTE)
    assert opened(lines) == [time for time in grid if time not in halt]
    day = lines_of((market_data / "raw_vision" / "BTCUSDT-1m-2023-03-25.zip").read_bytes())
    assert lines[lines.index(day[0]) :][:1440] == day


# A folder of real files.


def test_real_zips_are_served_as_they_are_at_any_time(market_data: Path) -> None:
    archives = Archives({}, market_data / "raw_vision")
    path = DAILY.format("1m", "2023-03-24")
    real = (market_data / "raw_vision" / "BTCUSDT-1m-2023-03-24.zip").read_bytes()
    assert archives.answer(path, 0).body == real
    listed = archives.answer(path + ".CHECKSUM", 0).body.decode()
    assert listed == f"{hashlib.sha256(real).hexdigest()}  BTCUSDT-1m-2023-03-24.zip\n"


@pytest.mark.parametrize("month", ["2024-12", "2025-01"])
def test_a_real_csv_is_zipped(market_data: Path, month: str) -> None:
    archives = Archives({}, market_data / "raw_vision")
    content = archives.answer(MONTHLY.format("1h", month), 0).body
    text = (market_data / "raw_vision" / f"BTCUSDT-1h-{month}.csv").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [f"BTCUSDT-1h-{month}.csv"]
        assert archive.read(archive.namelist()[0]) == text
    listed = archives.answer(MONTHLY.format("1h", month) + ".CHECKSUM", 0).body.decode()
    assert listed.split()[0] == hashlib.sha256(content).hexdigest()


def test_the_folder_comes_before_what_is_made(tmp_path: Path) -> None:
    path = MONTHLY.format("1h", "2024-12")
    made = venue().answer(path, LATE).body
    archives = Archives({"BTCUSDT": hours()}, tmp_path)
    assert archives.answer(path, LATE).body == made
    (tmp_path / "BTCUSDT-1h-2024-12.zip").write_bytes(b"no zip")
    assert archives.answer(path, LATE).body == b"no zip"
    (tmp_path / "BTCUSDT-1h-2024-12.zip.CHECKSUM").write_bytes(b"wrong  x\n")
    assert archives.answer(path + ".CHECKSUM", LATE).body == b"wrong  x\n"
    assert archives.answer(MONTHLY.format("1h", "2025-01"), LATE).status == 200


NAME = "BTCUSDT-1h-2024-12.zip"
INSIDE = "/data/spot/monthly/klines/BTCUSDT/1h/"
ESCAPES = [
    f"{INSIDE}../{NAME}", f"{INSIDE}..%2f{NAME}", f"{INSIDE}%2e%2e/{NAME}", f"/data/../{NAME}",
    "/data/spot/monthly/klines/../1h/..-1h-2024-12.zip", f"/{NAME}", f"//{NAME}",
    f"{INSIDE}{NAME}/../../secret.zip", f"{INSIDE}..\\{NAME}", f"{INSIDE}\0{NAME}",
    "/data/spot/monthly/klines/../../BTCUSDT/1h/../BTCUSDT-1h-2024-12.zip",
    "/data/spot/monthly/klines/SECRET/1h/SECRET-1h-2024-12.zip",
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES, ids=range(len(ESCAPES)))
@pytest.mark.parametrize("suffix", ["", ".CHECKSUM"])
def test_nothing_outside_the_folder_is_served(tmp_path: Path, path: str, suffix: str) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in (NAME, "secret.zip", "SECRET-1h-2024-12.zip", "..-1h-2024-12.zip"):
        (tmp_path / name).write_bytes(b"secret")
        (tmp_path / f"{name}.CHECKSUM").write_bytes(b"secret")
    assert Archives({}, folder).answer(path + suffix, LATE).status == 404


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink(tmp_path / "secret", folder / NAME)
    os.symlink("/etc/passwd", folder / "BTCUSDT-1h-2024-11.csv")
    (folder / "BTCUSDT-1h-2025-01.zip").mkdir()
    for month in ("2024-12", "2024-11", "2025-01"):
        assert Archives({}, folder).answer(MONTHLY.format("1h", month), LATE).status == 404


@given(st.text())
def test_any_path_gets_an_answer(text: str) -> None:
    archives = Archives({"BTCUSDT": hours()}, Path("/"))
    for path in (text, INSIDE + text, f"{INSIDE}BTCUSDT-1h-{text}", f"/data/{text}/{NAME}"):
        assert archives.answer(path, LATE).status in (200, 404)
