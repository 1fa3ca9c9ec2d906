"""What everything is measured on: one market's minutes, as a table and as files."""

from __future__ import annotations

import gzip
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import astraquant as aq
from astraquant.candles import COLUMNS, SUMS, times_of
from astraquant.data.formats import KLINE_COLUMNS
from astraquant.data.sample import sample_candles

PROJECT = Path(__file__).resolve().parent.parent
YEAR = "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
BARS = {"1m": "1min", "5m": "5min", "1h": "1h"}  # as pandas spells them


@dataclass(frozen=True)
class Inputs:
    """One market's minutes: the table, the same as files in Binance's layout, what they are."""

    label: str
    candles: pd.DataFrame
    files: dict[str, Path]


def load_inputs(folder: Path) -> Inputs:
    """The real year if ASTRAQUANT_DATA has it, else the sample's; files go into ``folder``."""
    data = Path(os.environ.get("ASTRAQUANT_DATA", PROJECT.parent / "shared" / "data"))
    if (data / YEAR).is_file():
        return prepare(aq.read_candles(data / YEAR), "real BTCUSDT minutes of 2023", folder)
    return prepare(sample_candles("BTCUSDT"), "synthetic sample, a year of minutes", folder)


def prepare(candles: pd.DataFrame, label: str, folder: Path) -> Inputs:
    """Write ``candles`` into ``folder`` as Binance's 12 columns: Parquet, CSV.gz and ZIP."""
    times = times_of(candles)
    klines = pd.DataFrame({"open_time": times, "close_time": times + 59_999, "ignore": 0})
    for name in (*COLUMNS, *SUMS):
        klines["count" if name == "trades" else name] = candles[name].to_numpy()
    klines = klines[list(KLINE_COLUMNS)]
    files = {kind: folder / f"BTCUSDT-1m.{kind}" for kind in ("parquet", "csv.gz", "zip")}
    klines.to_parquet(files["parquet"], compression="zstd")
    text = klines.to_csv(index=False).encode()
    files["csv.gz"].write_bytes(gzip.compress(text, 6))
    with zipfile.ZipFile(files["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-1m.csv", text)
    return Inputs(label, candles, files)
