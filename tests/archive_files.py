"""Archives as data.binance.vision has them, right and wrong ones, for a simulated exchange."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence

from astraquant.exchange import SimulatedExchange

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore\n"
)


def path_of(stem: str) -> str:
    """Where the archive "BTCUSDT-1m-2023-03" or "BTCUSDT-1m-2023-03-24" lies."""
    symbol, timeframe, date = stem.split("-", 2)
    kind = "monthly" if len(date) == 7 else "daily"
    return f"/data/spot/{kind}/klines/{symbol}/{timeframe}/{stem}.zip"


def zipped(*members: tuple[str, bytes]) -> bytes:
    """A ZIP of files, each a name and its bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def checksum(stem: str, content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {stem}.zip\n".encode()


def serve(venue: SimulatedExchange, stem: str, content: bytes, times: int = 1) -> None:
    """Let the exchange answer an archive's path so, with the checksum that fits."""
    venue.answer(path_of(stem), body=content, times=times)
    venue.answer(f"{path_of(stem)}.CHECKSUM", body=checksum(stem, content), times=times)


def asked(venue: SimulatedExchange, since: int = 0) -> list[str]:
    """What was asked from request number ``since`` on: paths, files without their folders."""
    targets = [entry.target for entry in venue.ledger.requests][since:]
    return [target.rpartition("/")[2].partition("?")[0] for target in targets]


def lines(rows: Sequence[Sequence[object]]) -> bytes:
    """Rows as the text of an archive."""
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()
