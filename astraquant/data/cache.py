"""Candles kept on disk: one Parquet file per venue, symbol, timeframe and month.

    <root>/candles-v1/binance/BTCUSDT-1m/2023-03.parquet

``<root>`` is the user's cache folder, or what the environment variable ASTRAQUANT_CACHE names. A
file is written whole beside its place and then renamed, so that no reader ever sees half of one,
whoever is killed. It carries a hash (see `months`) that is checked at each read; what doesn't pass
is moved aside and loaded anew.

Another layout or meaning of the files needs another `FORMAT` and thereby another folder: a version
of the package never reads what it doesn't know. One that comes later may read the files of
``candles-v1`` with the rules of today, write them anew into its own folder and then remove them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import pyarrow.parquet as pq

from ..errors import DataError, unknown
from ..timeframes import TIMEFRAMES
from .months import DAMAGED, FORMAT, MONTH, VENUE, Month, Place, claims, decode, encode, month_span

__all__ = ["Cache", "CacheError", "Entry", "Month", "cached_candles", "month_span"]

VARIABLE = "ASTRAQUANT_CACHE"

_log = logging.getLogger("astraquant.data")

_SUFFIX, _ASIDE, _TEMPORARY = ".parquet", ".parquet.damaged", ".tmp"
_ABANDONED = 24 * 3600  # seconds after which a temporary file's writer is surely gone
_MONTHLY = {"1M": "1mo"}  # in names: where case is ignored, "1M" and "1m" would be one folder
_FOLDER = re.compile(
    rf"([A-Z0-9]{{2,20}})-({'|'.join(_MONTHLY.get(name, name) for name in TIMEFRAMES)})"
)


class CacheError(DataError):
    """The cache's folder can't be written or cleared; the candles themselves are all right."""


@dataclass(frozen=True)
class Entry:
    """One file of the cache, by its metadata; its numbers are not looked at.

    ``size`` in bytes. ``since`` <= time < ``until``: what it covers. ``first`` and ``last``: its
    outermost open times, None without rows (all ms UTC). ``damaged``: what is wrong with it, or "";
    then rows and times are 0 and None.
    """

    venue: str
    symbol: str
    timeframe: str
    month: str
    path: Path
    size: int
    rows: int = 0
    since: int = 0
    until: int = 0
    first: int | None = None
    last: int | None = None
    damaged: str = ""


class Cache:
    """The candles kept on this machine, in ``root`` or in the user's cache folder."""

    def __init__(self, root: Path | None = None) -> None:
        named = os.environ.get(VARIABLE)
        if root is None and named:
            root = Path(named).expanduser()
        elif root is None:
            root = platformdirs.user_cache_path("astraquant", appauthor=False)
        self.folder = root / f"candles-v{FORMAT}"

    def __repr__(self) -> str:
        return f"Cache({str(self.folder.parent)!r})"

    def read(self, venue: str, symbol: str, timeframe: str, month: str) -> Month | None:
        """What is kept of a month, checked against its hash; None if nothing is.

        A damaged file counts as nothing: it is moved aside, and the logger "astraquant.data" warns
        of it, as it does of a file that can't be opened.
        """
        place = Place(venue, symbol, timeframe, month)
        path = self._path(place)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read(place.most_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s can't be read (%s): its candles are loaded anew.", path, _why(error))
            return None
        try:
            return decode(data, place)
        except DAMAGED as error:
            _set_aside(path, status, _why(error))
            return None

    def write(self, venue: str, symbol: str, timeframe: str, month: str, content: Month) -> None:
        """Keep a month, whole or not at all; raise `CacheError` if the folder doesn't allow it.

        A file that already covers all of ``content`` and more stays as it is: of two processes, the
        one that knows less must not win by coming later.
        """
        place = Place(venue, symbol, timeframe, month)
        data = encode(content, place)
        path = self._path(place)
        temporary = path.with_name(f"{month}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if not _covers_more(path, place, content):
                os.replace(temporary, path)
                _sync_folder(path.parent)
        except OSError as error:
            raise CacheError(
                f"candles can't be kept in {self.folder}: {_why(error)}. Set {VARIABLE} to a "
                "folder that can be written and has room, or make room: astraquant cache --clear."
            ) from error
        finally:
            with contextlib.suppress(OSError):  # what stopped the writing may stop this too
                temporary.unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """All files, damaged ones too, by venue, symbol, timeframe and month."""
        found = [entry for path in self.folder.glob("*/*/*") if (entry := _entry(path))]
        rank = TIMEFRAMES.index
        return sorted(found, key=lambda e: (e.venue, e.symbol, rank(e.timeframe), e.path.name))

    def clear(
        self, venue: str | None = None, symbol: str | None = None, timeframe: str | None = None
    ) -> tuple[int, int]:
        """Remove the files of a venue, a symbol, a timeframe (None: of all); how many, and bytes.

        Raises `DataError` if nothing is kept of what was named (the nearest that is there is
        suggested), `CacheError` if a file can't be removed.
        """
        chosen = self.entries()
        for kind, wanted in (("venue", venue), ("symbol", symbol), ("timeframe", timeframe)):
            if wanted is not None:
                there = list(dict.fromkeys(getattr(entry, kind) for entry in chosen))
                if wanted not in there:
                    raise DataError(unknown(f"{kind} in the cache", wanted, there))
                chosen = [entry for entry in chosen if getattr(entry, kind) == wanted]
        try:
            for entry in chosen:
                entry.path.unlink(missing_ok=True)
            for folder in self.folder.glob("*/*"):
                _remove_abandoned(folder)
        except OSError as error:
            raise CacheError(
                f"the cache in {self.folder} can't be cleared: {_why(error)}. See who may write "
                "there, and that no other program has the file open."
            ) from error
        return len(chosen), sum(entry.size for entry in chosen)

    def _path(self, place: Place) -> Path:
        timeframe = _MONTHLY.get(place.timeframe, place.timeframe)
        name = f"{place.symbol}-{timeframe}"  # which keeps Windows' devices (CON) harmless
        return self.folder / place.venue / name / f"{place.month}{_SUFFIX}"


def cached_candles(source: str | None = None) -> pd.DataFrame:
    """What the cache holds: one row per venue, symbol and timeframe.

    ``first`` and ``last``: open times of the outermost candles (UTC; NaT without candles).
    ``candles`` and ``months``: how many. ``megabytes``: on disk, rounded up to a tenth. Damaged
    files don't count (`Cache.entries` lists them). ``source``: only the venue of this name.
    """
    rows: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in Cache().entries():
        if not entry.damaged and source in (None, entry.venue):
            rows.setdefault((entry.venue, entry.symbol, entry.timeframe), []).append(entry)
    groups = list(rows.values())
    table = pd.DataFrame(list(rows), columns=["venue", "symbol", "timeframe"], dtype=str)
    return table.assign(
        first=_moments(
            min((e.first for e in g if e.first is not None), default=None) for g in groups
        ),
        last=_moments(max((e.last for e in g if e.last is not None), default=None) for g in groups),
        candles=np.array([sum(e.rows for e in g) for g in groups], dtype=np.int64),
        months=np.array([len(g) for g in groups], dtype=np.int64),
        megabytes=np.array([-(sum(e.size for e in g) // -100_000) / 10 for g in groups], float),
    )


def _known(times: Iterable[int | None]) -> list[int]:
    return [moment for moment in times if moment is not None]


def _moments(times: Iterable[int | None]) -> pd.DatetimeIndex:
    stamps = [np.datetime64("NaT" if time is None else time, "ms") for time in times]
    return pd.DatetimeIndex(np.array(stamps, dtype="datetime64[ms]")).tz_localize("UTC")


def _entry(path: Path) -> Entry | None:
    """What is known of a file without reading its numbers; None if it is none of the cache's."""
    venue, folder = path.parent.parent.name, _FOLDER.fullmatch(path.parent.name)
    month, dot, suffix = path.name.partition(".")
    ours = VENUE.fullmatch(venue) and folder and MONTH.fullmatch(month)
    if not ours or not folder or dot + suffix not in (_SUFFIX, _ASIDE):
        return None
    timeframe = {"1mo": "1M"}.get(folder[2], folder[2])
    place = Place(venue, folder[1], timeframe, month)
    try:
        size = path.stat().st_size
    except OSError:  # another process has removed it
        return None
    if dot + suffix == _ASIDE:
        return Entry(**vars(place), path=path, size=size, damaged="moved aside by a read")
    try:
        told = claims(pq.read_metadata(path), place)
    except DAMAGED as error:
        return Entry(**vars(place), path=path, size=size, damaged=_why(error))
    return Entry(**vars(place), path=path, size=size, **vars(told))


def _covers_more(path: Path, place: Place, content: Month) -> bool:
    """Whether the file that is there knows all of the span of ``content``, and more."""
    try:
        there = claims(pq.read_metadata(path), place)
    except DAMAGED:
        return False
    wider = there.since <= content.since and content.until <= there.until
    return wider and (there.since, there.until) != (content.since, content.until)


def _set_aside(path: Path, status: os.stat_result, why: str) -> None:
    """Get a damaged file out of the way and warn of it; not the one that has just replaced it."""
    aside = path.with_name(path.name.removesuffix(_SUFFIX) + _ASIDE)
    done = f"moved to {aside.name}"
    try:
        if os.path.samestat(os.stat(path), status):
            os.replace(path, aside)
        else:
            done = "replaced by another process meanwhile"
    except OSError as error:
        done = f"left there ({_why(error)})"
    _log.warning("%s is damaged (%s): %s, its candles are loaded anew.", path, why, done)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that were killed a day ago or longer."""
    for path in folder.glob(f"*{_TEMPORARY}"):
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a loss of power, where the system has a way to say so."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # the file is there whole; some file systems have no more
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _why(error: BaseException) -> str:
    """An error's reason on one line, without the path or address that Python adds to it."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
