"""`load_candles` with a list of symbols: each as it is loaded alone, in one table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from archive_files import asked

from astraquant.candles import find_gaps, is_synthetic
from astraquant.data import cached_candles, load_candles, read_candles
from astraquant.data.sample import SYMBOLS
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange
from astraquant.symbols import join_candles, split_candles

FILES = {
    "BTCUSDT": "binance_spot_BTCUSDT_1m_20230101_20231231.parquet",
    "SOLUSDT": "binance_spot_SOLUSDT_1m_20230201_20230411.parquet",
    "ARBUSDT": "binance_spot_ARBUSDT_1m_20230323_20230411.parquet",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def minutes(market_data: Path) -> dict[str, pd.DataFrame]:
    """Real minutes around the halt; ARBUSDT begins on March 23, 15:00."""
    return {
        symbol: read_candles(market_data / "klines" / name)["2023-03-22":"2023-03-25"]  # type: ignore[misc]
        for symbol, name in FILES.items()
    }


@pytest.fixture
def venue(minutes: dict[str, pd.DataFrame]) -> Iterator[SimulatedExchange]:
    with SimulatedExchange(minutes, speed=0, start="2023-03-25 06:00:30") as venue:
        yield venue


def test_the_sample_gives_each_symbol_as_alone() -> None:
    symbols = ["SOLUSDT", "BTCUSDT", "ETHUSDT"]
    table = load_candles(symbols, "1h", start="2023-03-20", end="2023-03-27")
    assert list(dict.fromkeys(table.columns.get_level_values("symbol"))) == symbols
    for symbol, candles in split_candles(table).items():
        alone = load_candles(symbol, "1h", start="2023-03-20", end="2023-03-27")
        pd.testing.assert_frame_equal(candles, alone, check_freq=False)
        assert candles.attrs == alone.attrs
    assert table.attrs["source"] == "synthetic sample (seed 7)"
    closes = table.xs("close", axis=1, level="column")
    moves = closes.pct_change().corr()
    assert (moves.to_numpy()[~(moves == 1)] < 0.99).all()  # they differ ...
    assert (moves > 0.3).all(axis=None)  # ... and share the market's moves


def test_a_list_of_one_and_a_tuple_are_lists() -> None:
    one = load_candles(["BTCUSDT"], "1d", end="2023-02")
    assert one["BTCUSDT"].to_numpy().tolist() == (
        load_candles("BTCUSDT", "1d", end="2023-02").to_numpy().tolist()
    )
    assert load_candles(("BTCUSDT",), "1d", end="2023-02").equals(one)
    assert load_candles(list(SYMBOLS), "1d", end="2023-02").shape == (31, 9 * len(SYMBOLS))


@pytest.mark.parametrize(
    ("symbols", "options", "told"),
    [
        ([], {}, "the list of symbols is empty"),
        (["BTCUSDT", "ETHUSDT", "BTCUSDT"], {}, "'BTCUSDT' stands in the list twice"),
        (["BTCUSDT", "ethusdt"], {}, "Did you mean 'ETHUSDT'"),
        (["BTCUSDT", "DOGEUSDT"], {}, "the sample has no symbol 'DOGEUSDT'"),
        ({"BTCUSDT": 1}, {}, "is no symbol"),
        (["BTCUSDT"], {"source": "candles.csv"}, r"a path.*join_candles\(\{\"BTCUSDT\": load_"),
        (["BTCUSDT"], {"source": "sampel"}, "Did you mean 'sample'"),
        (["BTCUSDT"], {"timeframe": "5min"}, "Did you mean '5m'"),
        (["BTCUSDT"], {"start": "2023-02", "end": "2023-01"}, "is not before"),
    ],
)
def test_lists_that_can_not_be_loaded(symbols: object, options: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load_candles(symbols, **options)  # type: ignore[arg-type]


def test_an_exchange_gives_starts_gaps_and_the_halt_as_they_are(
    venue: SimulatedExchange, minutes: dict[str, pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    symbols = list(FILES)
    table = load_candles(symbols, "1m", start="2023-03-23", source=venue.url)
    expected = {
        symbol: candles["2023-03-23":"2023-03-25 05:59"]  # type: ignore[misc]
        for symbol, candles in minutes.items()
    }
    assert table.equals(join_candles(expected))
    assert str(table.index[0]) == "2023-03-23 00:00:00+00:00"
    assert table["ARBUSDT"].first_valid_index() == pd.Timestamp("2023-03-23 15:00", tz="UTC")
    assert find_gaps(table)["missing"].tolist() == [80, 80, 80]
    assert is_synthetic(table.attrs["source"])
    for symbol, candles in split_candles(table).items():
        assert candles.attrs["symbol"] == symbol
        assert candles.attrs["source"].startswith("simulated exchange")
    assert caplog.messages == [
        "ARBUSDT 1m has its first candle at 2023-03-23 15:00:00+00:00: NaN before."
    ]
    assert asked(venue).count("time") == 1  # all of them end at the same candle

    with pytest.raises(DataError, match="from 2023-03-23 15:00"):  # alone it is an error, as before
        load_candles("ARBUSDT", "1m", start="2023-03-23", source=venue.url)


def test_what_was_loaded_is_kept_for_lists_and_for_each_alone(
    venue: SimulatedExchange, minutes: dict[str, pd.DataFrame]
) -> None:
    span = {"start": "2023-03-24", "end": "2023-03-25"}
    table = load_candles(["BTCUSDT", "ARBUSDT"], "1m", **span, source=venue.url)
    assert cached_candles()["symbol"].tolist() == ["ARBUSDT", "BTCUSDT"]
    before = len(venue.ledger.requests)
    assert load_candles(["BTCUSDT", "ARBUSDT"], "1m", **span, source=venue.url).equals(table)
    alone = load_candles("ARBUSDT", "1m", **span, source=venue.url)
    assert alone.equals(minutes["ARBUSDT"]["2023-03-24":"2023-03-24"])  # type: ignore[misc]
    assert asked(venue, before) == ["time", "time"]  # who are you?


def test_without_a_start_each_begins_at_its_listing(
    venue: SimulatedExchange, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "astraquant.data"):
        table = load_candles(["ARBUSDT", "SOLUSDT"], "1h", source=venue.url)
    assert table["SOLUSDT"].first_valid_index() == pd.Timestamp("2023-03-22", tz="UTC")
    assert table["ARBUSDT"].first_valid_index() == pd.Timestamp("2023-03-23 15:00", tz="UTC")
    assert table.index[-1] == pd.Timestamp("2023-03-25 05:00", tz="UTC")
    assert len(caplog.messages) == 1


def test_the_error_of_one_names_it_and_nothing_is_returned(venue: SimulatedExchange) -> None:
    with pytest.raises(DataError, match=r"^DOGEUSDT: .*DOGEUSDT"):
        load_candles(["BTCUSDT", "DOGEUSDT"], "1m", start="2023-03-24", source=venue.url)
    assert cached_candles()["symbol"].tolist() == ["BTCUSDT"]  # which needs not come again
    with pytest.raises(DataError, match=r"^ARBUSDT: .*from 2023-03-23 15:00.*Say an end="):
        load_candles(["BTCUSDT", "ARBUSDT"], "1m", end="2023-03-23", source=venue.url)
    venue.stop()
    with pytest.raises(DataError, match=r"^SOLUSDT: .*still running"):
        load_candles(["SOLUSDT", "BTCUSDT"], "1m", source=venue.url)
