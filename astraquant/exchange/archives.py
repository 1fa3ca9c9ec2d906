"""The layout of data.binance.vision: a zip of klines for each past month and day. No socket.

``/data/spot/{monthly|daily}/klines/BTCUSDT/1m/BTCUSDT-1m-2023-03[-24].zip``, beside each its
``.CHECKSUM``. Source: binance/binance-public-data and real files. A zip holds one CSV of the 12
values of a REST kline, without a header; its times are ms up to 2024-12, microseconds from then on.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..timeframes import DAY, DURATIONS, bin_starts, next_start
from .market import Market
from .rest import Answer, kline_row

MONTH = "1M"
MONTH_IN_ARCHIVES = "1mo"
MICROSECONDS_FROM = 1_735_689_600_000  # 2025-01-01, ms
KEPT = 8  # archives that are kept: a checksum and its zip are made once

# A file name made of what matches names no other folder.
_PATH = re.compile(
    r"/data/spot/(?:monthly|daily)/klines/(?P<symbol>[A-Z0-9_.-]{1,20})/(?P<interval>[0-9a-zA-Z]{2,3})"
    r"/(?P<stem>(?P=symbol)-(?P=interval)-(?P<date>[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?))\.zip"
    r"(?P<checksum>\.CHECKSUM)?",
)
_LONG_DATE = len("2023-03-24")


class _Period(NamedTuple):
    """What an archive is about: bars that open from ``start`` on and before ``end`` (ms)."""

    symbol: str
    interval: str
    start: int
    end: int
    stem: str  # the file name without ".zip"


class Archives:
    """Serves archives made of markets by symbol, and before those the files of ``folder``.

    The folder holds real archives under their own names (``BTCUSDT-1m-2023-03-24.zip``), served
    as they are at any time. A ``.CHECKSUM`` beside one is served too, else it is made; a CSV is
    zipped.
    """

    def __init__(self, markets: Mapping[str, Market], folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise DataError(f"archives={str(folder)!r}: there is no folder of that name.")
        self.markets = dict(markets)
        self.folder = None if folder is None else folder.resolve()
        self._made = lru_cache(KEPT)(self._make)

    def answer(self, path: str, now: int) -> Answer:
        """The answer to ``GET path`` at ``now`` (ms): 404 for a period that is not past; no raise.

        A week or 3-day bar may end after the period that it opens in: then so much later.
        """
        match = _PATH.fullmatch(path.partition("?")[0])
        period = None if match is None else _period(match, path)
        if match is None or period is None:
            return _missing(path)
        name = f"{period.stem}.zip"
        listed = self._read(f"{name}.CHECKSUM") if match["checksum"] else None
        if listed is not None:
            return Answer(200, listed, {"Content-Type": "text/plain"})
        content = self._zip_of_folder(period) or self._zip_of_market(period, now)
        if content is None:
            return _missing(path)
        if match["checksum"]:
            line = f"{hashlib.sha256(content).hexdigest()}  {name}\n"
            return Answer(200, line.encode(), {"Content-Type": "text/plain"})
        return Answer(200, content, {"Content-Type": "application/zip"})

    def _zip_of_folder(self, period: _Period) -> bytes | None:
        content = self._read(f"{period.stem}.zip")
        if content is not None:
            return content
        text = self._read(f"{period.stem}.csv")
        return None if text is None else _zip(period.stem, text)

    def _read(self, name: str) -> bytes | None:
        """A file of the folder; a link that leads out of it is not followed."""
        if self.folder is None:
            return None
        file = (self.folder / name).resolve()
        return file.read_bytes() if file.parent == self.folder and file.is_file() else None

    def _zip_of_market(self, period: _Period, now: int) -> bytes | None:
        market = self.markets.get(period.symbol)
        if market is None or period.interval not in market.intervals:
            return None
        last = int(bin_starts(np.array([period.end - 1]), period.interval)[0])
        if max(period.end, next_start(last, period.interval)) > now:
            return None
        return self._made(period)

    def _make(self, period: _Period) -> bytes | None:
        market, end = self.markets[period.symbol], period.end
        finer = period.start >= MICROSECONDS_FROM
        bars = market.klines(
            period.interval,
            start=period.start,
            end=end - 1,
            limit=(end - period.start) // 1000,  # no bar is shorter than a second
            now=next_start(end, period.interval),
        )
        lines = [",".join(map(str, kline_row(bar, finer))) for bar in bars]
        return _zip(period.stem, ("\n".join(lines) + "\n").encode()) if lines else None


def _period(match: re.Match[str], path: str) -> _Period | None:
    """The period that a path names; None where the archives have no such file."""
    interval = MONTH if match["interval"] == MONTH_IN_ARCHIVES else match["interval"]
    daily, date = path.startswith("/data/spot/daily/"), match["date"]
    if (len(date) == _LONG_DATE) != daily or match["interval"] == MONTH:
        return None
    if interval not in DURATIONS or (daily and DURATIONS[interval] > DAY):
        return None
    try:
        start = int(np.datetime64(date, "ms").astype(np.int64))
    except ValueError:  # no such day
        return None
    end = start + DAY if daily else next_start(start, MONTH)
    return _Period(match["symbol"], interval, start, end, match["stem"])


def _zip(stem: str, text: bytes) -> bytes:
    """A zip of one CSV whose bytes depend on nothing but its name and text."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        entry = zipfile.ZipInfo(f"{stem}.csv", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, text, zipfile.ZIP_DEFLATED, compresslevel=1)
    return held.getvalue()


def _missing(path: str) -> Answer:
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>'
    return Answer(404, body, {"Content-Type": "application/xml"})
