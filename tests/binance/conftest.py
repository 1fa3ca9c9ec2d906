"""A simulated Binance at noon of April 4, what it plays, and an empty cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from astraquant.data import read_candles
from astraquant.exchange import SimulatedExchange
from astraquant.exchange.market import Market


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
