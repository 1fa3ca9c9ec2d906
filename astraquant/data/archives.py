"""Binance's archives: one ZIP a month or a day, with its checksum beside it, trusted in nothing."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import numpy as np

from ..errors import DataError
from ..timeframes import DAY, bin_starts, duration, next_start
from .formats import parse
from .klines import check_market
from .pieces import Piece, check_rows
from .venues import TooLarge, Venue

if TYPE_CHECKING:
    from .transport import Transport

MOST_PER_ROW: Final = 512  # bytes; real rows have 90 to 180
MOST_RATIO: Final = 200  # of inflated to packed size; real archives reach 3 to 40
_CHUNK = 1 << 20
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


class Period(NamedTuple):
    """What one archive covers: a month ("2023-03") or a day ("2023-03-24"), [start, end) in ms."""

    name: str
    start: int
    end: int

    @property
    def folder(self) -> str:
        """Where archives of such a length lie."""
        return "daily" if self.end - self.start == DAY else "monthly"


class Found(NamedTuple):
    """An archive's candles. ``piece``: None if it can't be used; ``notes`` say why.

    Without either there is no such archive.
    """

    piece: Piece | None
    notes: tuple[str, ...]


class _Unusable(Exception):
    """The archive isn't what it should be."""


def months(start: int, end: int) -> Iterator[Period]:
    """The calendar months that [start, end) touches."""
    begin = int(bin_starts(np.array([start], dtype=np.int64), "1M")[0])
    while begin < end:
        after = next_start(begin, "1M")
        yield Period(str(np.datetime64(begin, "ms").astype("datetime64[M]")), begin, after)
        begin = after


def days(start: int, end: int) -> Iterator[Period]:
    """The days that [start, end) touches."""
    for begin in range(start - start % DAY, end, DAY):
        yield Period(str(np.datetime64(begin, "ms").astype("datetime64[D]")), begin, begin + DAY)


def fetch(transport: Transport, venue: Venue, symbol: str, timeframe: str, period: Period) -> Found:
    """The candles of one archive, if there is one and it is right in every way.

    A file that doesn't have its checksum is loaded once more. Raises `DataError` only for what the
    transport raises.
    """
    file = f"{symbol}-{timeframe}-{period.name}.zip"
    folder = "/".join(quote(part, safe="") for part in (symbol, timeframe))
    url = f"{venue.archive}/data/spot/{period.folder}/klines/{folder}/{quote(file, safe='')}"
    most = MOST_PER_ROW * ((period.end - period.start) // duration(timeframe) + 8)
    try:
        packed = _download(transport, venue, url, most) or _download(transport, venue, url, most)
    except (FileNotFoundError, _Unusable, TooLarge) as problem:
        absent = isinstance(problem, FileNotFoundError)
        return Found(None, () if absent else (f"{file} is not used: {problem}",))
    if packed is None:
        return Found(None, (f"{file} is not used: twice it didn't have its checksum",))
    try:
        text = _unpack(packed, file.removesuffix(".zip") + ".csv", most)
        rows = parse(text, file)
        piece = check_rows(rows, file, timeframe, period.start, period.end)
    except (_Unusable, DataError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as problem:
        return Found(None, (f"{file} is not used: {problem}",))
    return Found(piece, piece.notes)


def _download(transport: Transport, venue: Venue, url: str, most: int) -> bytes | None:
    """The archive's bytes; None if they don't have the checksum, FileNotFoundError if absent."""
    answer = transport.get(url, limit=most)
    if answer.status != 200:
        raise FileNotFoundError(url)
    check_market(venue, answer)
    checksum = transport.get(f"{url}.CHECKSUM", limit=1000)
    match = _CHECKSUM.fullmatch(checksum.body.decode("ascii", "replace"))
    if checksum.status != 200 or not match or match[2] != url.rpartition("/")[2]:
        raise _Unusable("its CHECKSUM is missing or says something else")
    return answer.body if hashlib.sha256(answer.body).hexdigest() == match[1].lower() else None


def _unpack(packed: bytes, name: str, most: int) -> bytes:
    """The one file in a ZIP if it is called ``name`` and has at most ``most`` bytes."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = archive.infolist()
        if [member.filename for member in members] != [name]:
            told = ", ".join(repr(member.filename[:80]) for member in members[:3])
            raise _Unusable(f"it holds {len(members)} files ({told}) instead of just {name!r}")
        (member,) = members
        if member.flag_bits & 1:
            raise _Unusable("it is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Unusable(f"it is packed in a way ({member.compress_type}) that Binance doesn't")
        most = min(most, MOST_RATIO * len(packed))
        if member.file_size > most:  # what it claims; what it has is counted below
            raise _Unusable(f"unpacked it claims {member.file_size:,} bytes, more than {most:,}")
        parts, size = [], 0
        with archive.open(member) as stream:
            while part := stream.read(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise _Unusable(f"unpacked it has more than {most:,} bytes")
    text = b"".join(parts)
    if not (text[:1].isdigit() or text.startswith(b"open")):  # else it might unpack further
        raise _Unusable(f"{name} begins with {text[:12]!r}, which is no row of candles")
    return text
