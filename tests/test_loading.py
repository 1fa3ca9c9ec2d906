"""`load_candles`: sources, spans, symbols, labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import astraquant as aq
from astraquant.candles import check_candles
from astraquant.data import load_candles, read_candles
from astraquant.data.files import timeframe_named
from astraquant.data.loading import check_symbol
from astraquant.data.sample import SYMBOLS
from astraquant.errors import DataError
from astraquant.resampling import resample

PLAIN = "time,open,high,low,close,volume\n"


@pytest.fixture
def minutes(tmp_path: Path) -> Path:
    """A file of 30 minutes from 2023-03-24 12:02 on."""
    times = pd.date_range("2023-03-24 12:02", periods=30, freq="1min")
    rows = "".join(f"{time},{10 + k},{12 + k},{9 + k},{11 + k},1\n" for k, time in enumerate(times))
    path = tmp_path / "minutes.csv"
    path.write_text(PLAIN + rows)
    return path


def test_a_file_is_cut_half_open(minutes: Path) -> None:
    candles = load_candles(
        "BTCUSDT", start="2023-03-24 12:05", end="2023-03-24 12:10", source=minutes
    )
    assert candles.index.minute.tolist() == [5, 6, 7, 8, 9]
    assert candles.attrs == {"source": "minutes.csv", "symbol": "BTCUSDT"}
    assert check_candles(candles) is candles
    assert load_candles("BTCUSDT", source=str(minutes)).equals(read_candles(minutes))


def test_a_finer_file_is_resampled_before_it_is_cut(minutes: Path) -> None:
    candles = load_candles(
        "BTCUSDT", "5m", start="2023-03-24 12:07", end="2023-03-24 12:20", source=minutes
    )
    assert candles.index.minute.tolist() == [10, 15]
    assert candles.equals(resample(read_candles(minutes), "5m").iloc[1:3])
    assert candles.attrs["source"] == "minutes.csv"


def test_spans_that_hold_nothing(minutes: Path) -> None:
    with pytest.raises(DataError, match=r"start 2023-03-25.* is not before end 2023-03-24"):
        load_candles("BTCUSDT", start="2023-03-25", end="2023-03-24", source=minutes)
    with pytest.raises(DataError, match="is not before"):
        load_candles("BTCUSDT", start="2023-03-25", end="2023-03-25", source=minutes)
    with pytest.raises(DataError, match=r"no whole 1m .* between 2024.* and the end .*12:02:00"):
        load_candles("BTCUSDT", start="2024", source=minutes)
    with pytest.raises(DataError, match="no whole 1h candles"):
        load_candles("BTCUSDT", "1h", source=minutes)
    with pytest.raises(DataError, match="end='yesterday' is no moment"):
        load_candles("BTCUSDT", end="yesterday", source=minutes)


def test_a_coarser_file_is_refused(minutes: Path) -> None:
    with pytest.raises(DataError, match="1m candles can't be joined into 1s"):
        load_candles("BTCUSDT", "1s", source=minutes)


def test_the_name_says_the_timeframe_of_a_single_candle(tmp_path: Path) -> None:
    row = PLAIN + "2023-03-24,10,12,9,11,5\n"
    for name in ("BTCUSDT-1d-2023-03-24.csv", "spot_BTCUSDT_1d.csv", "one.csv"):
        (tmp_path / name).write_text(row)
    for name in ("BTCUSDT-1d-2023-03-24.csv", "spot_BTCUSDT_1d.csv"):
        assert len(load_candles("BTCUSDT", "1d", source=tmp_path / name)) == 1
        with pytest.raises(DataError, match=r"from 1 candle in .*its name says 1d.*at least 2"):
            load_candles("BTCUSDT", "1h", source=tmp_path / name)
    with pytest.raises(DataError, match=r"name doesn't say it either.*BTCUSDT-1m-2023-03-24\.csv"):
        load_candles("BTCUSDT", "1m", source=tmp_path / "one.csv")


@pytest.mark.parametrize(
    ("name", "timeframe"),
    [
        ("BTCUSDT-1mo-2023-03.zip", "1M"),
        ("BTCUSDT_1M.csv", "1M"),
        ("BTCUSDT_1m.csv", "1m"),
        ("15m.csv", "15m"),
        ("1m_to_5m.csv", ""),
        ("BTCUSDT-2023.csv", ""),
    ],
)
def test_the_timeframe_in_a_name(name: str, timeframe: str) -> None:
    assert timeframe_named(name) == timeframe


def test_a_folder_is_a_source(market_data: Path) -> None:
    pattern = f"{market_data}/raw_vision/BTCUSDT-1m-*.zip"
    hours = load_candles("BTCUSDT", "1h", start="2023-03-24", end="2023-03-25", source=pattern)
    official = read_candles(market_data / "raw_vision" / "BTCUSDT-1h-2023-03-24.zip")
    assert hours.index.equals(official.index)
    assert hours.iloc[:, :4].equals(official.iloc[:, :4])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("sampel", r"unknown source 'sampel'\. Did you mean 'sample'\?.*path"),
        ("Binance", r"unknown source 'Binance'\. Did you mean 'binance'\?"),
        ("binnance", r"'binance'\? Known: sample, binance\. Or give .* address of an exchange"),
        ("https://example.org/x.csv", "no address of an exchange.*download it first"),
        ("https://example.org", "host 'example.org' is none that source= may name"),
        ("ftp://data.binance.vision", "no address of an exchange"),
        ("", "unknown source ''"),
        (pd.DataFrame(), r"unknown source <class 'pandas.*DataFrame'>.*path of a file"),
        ([1], "unknown source <class 'list'>"),
        ("nowhere.csv", "there is no file"),
        ("no/where", "there is no file"),
        (None, "unknown source None"),
        (7, "unknown source 7"),
    ],
)
def test_sources_that_are_none(source: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load_candles("BTCUSDT", source=source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("symbol", "told"),
    [
        ("btcusdt", "Did you mean 'BTCUSDT'?"),
        ("BTC/USDT", "Did you mean 'BTCUSDT'?"),
        ("BTCUSDT\n", "Did you mean 'BTCUSDT'?"),
        ("", "no symbol"),
        ("B", "no symbol"),
        ("../../etc/passwd" * 3, "no symbol"),
        (None, "no symbol"),
        ("ＢＴＣＵＳＤＴ", "no symbol"),
    ],
)
def test_symbols_that_are_none(symbol: object, told: str) -> None:
    with pytest.raises(DataError) as caught:
        load_candles(symbol)  # type: ignore[arg-type]
    assert "is no symbol: expected 2 to 20 capital letters" in str(caught.value)
    assert told in str(caught.value)
    assert check_symbol("1000SATSUSDT") == "1000SATSUSDT"


def test_the_sample_is_a_source_and_says_so() -> None:
    candles = load_candles(SYMBOLS[0], "1h", start="2024-01-01", end="2024-01-03")
    assert len(candles) == 48
    assert check_candles(candles) is candles
    assert "synthetic" in candles.attrs["source"]
    assert candles.attrs["symbol"] == SYMBOLS[0]


def test_a_stored_sample_stays_synthetic(tmp_path: Path) -> None:
    load_candles(SYMBOLS[0], "1h", start="2024-01-01", end="2024-01-03").to_parquet(
        tmp_path / "mine.parquet"
    )
    again = load_candles("BTCUSDT", "1h", source=tmp_path / "mine.parquet")
    assert "synthetic" in again.attrs["source"]
    assert "mine.parquet" in again.attrs["source"]


def test_an_unknown_symbol_of_the_sample_names_the_nearest() -> None:
    wrong = SYMBOLS[0][:-1] + "X"
    with pytest.raises(DataError, match=f"no symbol '{wrong}'.*Did you mean '{SYMBOLS[0]}'"):
        load_candles(wrong)


@pytest.mark.parametrize("symbol", ["DOGEUSDT", "USDTUSDT", None, 5])
def test_another_coin_is_never_suggested(symbol: object) -> None:
    with pytest.raises(DataError, match="no symbol") as caught:
        load_candles(symbol)  # type: ignore[arg-type]
    assert "Did you mean" not in str(caught.value)


def test_an_unknown_timeframe_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"unknown timeframe '5min'\. Did you mean '5m'\?"):
        load_candles("BTCUSDT", "5min")


def test_the_public_names_are_these() -> None:
    assert aq.load_candles is load_candles
    assert aq.read_candles is read_candles


def test_a_file_of_another_market_is_refused(market_data: Path, tmp_path: Path) -> None:
    pattern = f"{market_data}/klines/binance_spot_ETHUSDT_1d_*.csv.gz"
    with pytest.raises(DataError, match=r"name says ETHUSDT, not BTCUSDT.*load_candles\(\"ETHUSDT"):
        load_candles("BTCUSDT", "1d", source=pattern)
    assert load_candles("ETHUSDT", "1d", source=pattern).attrs["symbol"] == "ETHUSDT"
    stored = load_candles("ETHUSDT", "1h", start="2024-01-01", end="2024-01-03")
    stored.to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(DataError, match="stored in the file says ETHUSDT, not BTCUSDT"):
        load_candles("BTCUSDT", "1h", source=tmp_path / "mine.parquet")
