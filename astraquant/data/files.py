"""Candles from files: one file, a folder of archives, or a pattern like "BTCUSDT-1m-*.zip"."""

from __future__ import annotations

import difflib
import glob
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..candles import find_bad
from ..errors import DataError, unknown
from ..timeframes import TIMEFRAMES, from_ms, infer_timeframe
from .formats import Columns, parse

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".zip", ".json")
REPAIRS = ("last",)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A market in a file's name, as Binance spells it: binance_spot_BTCUSDT_15m_2023.csv.gz
_MARKET = re.compile(
    r"(?<![A-Z0-9])[A-Z0-9]{2,12}(?:USDT|USDC|FDUSD|BUSD|TUSD|BTC|ETH|EUR)(?![A-Z0-9])"
)
_TIMEFRAME = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(TIMEFRAMES)}|1mo)(?![A-Za-z0-9])")
# Binance's archives say in their names what they hold: BTCUSDT-1m-2023-03.zip
_ARCHIVE = re.compile(rf"(.+-(?:{'|'.join(TIMEFRAMES)}|1mo))-\d{{4}}-\d\d(?:-\d\d)?\..+")


def read_candles(path: str | os.PathLike[str], *, repair: str | None = None) -> pd.DataFrame:
    """Read a candle table from a file, from all files of a folder, or from those of a pattern.

    Parquet, CSV, CSV.gz, ZIP (of one CSV) and JSON (Binance's kline rows). Binance's 12 columns
    with or without a header, or a plain table that names its columns (see `formats.ALIASES`): a
    time (ISO text, or seconds, ms, us, ns told apart by size; without a zone it is UTC), open,
    high, low, close, volume. Quote volume, trades and taker volumes are kept where they are there,
    other columns are not read.

    A folder or a pattern means the files in it that end in `SUFFIXES`, as one table: not those of
    checksums, nor those in folders below, nor those of a folder whose names begin with ".". A
    single file may have any name. Rows are put in the order of time across files, never within one:
    that is refused, as are times that are there twice. ``repair="last"`` keeps the last of these:
    in a file the later row, of several files the row of the one that begins later. Both values may
    be wrong, and the **last row** of a file may be a candle that was still forming when it was
    written: no file tells.

    ``attrs["source"]`` of the result names the file, and of a table that pandas stored as Parquet
    its own source too: a synthetic market stays one; so does its ``symbol``, if it had one. Files
    whose names or contents tell more than one market are refused. Raises `DataError`.
    """
    if repair is not None and repair not in REPAIRS:
        raise DataError(unknown("repair", repair, REPAIRS))
    paths = find_files(path)
    _check_one_series(paths)
    parts = []
    for file in paths:
        parts.append((file.name, _ordered(parse(_read(file), file.name), file.name, repair)))
    parts.sort(key=lambda part: (int(part[1].times[0]), part[0]))
    joined = parts[0][1] if len(parts) == 1 else _join(parts, repair)
    source = parts[0][0]
    if len(parts) > 1:
        source = f"{len(parts)} files, {source} to {parts[-1][0]}"
    table = pd.DataFrame(joined.values, index=from_ms(joined.times), copy=False)
    table.attrs["source"] = f"{joined.label} (stored in {source})" if joined.label else source
    if joined.symbol:
        table.attrs["symbol"] = joined.symbol
    problem = find_bad(table)  # columns, types and order are right by now
    if problem:
        raise DataError(
            f"{source}: {problem}. Mend that row of the file, or remove it: a bar may be missing."
        )
    return table


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files that ``path`` (a file, a folder or a pattern) stands for, sorted by name."""
    if not isinstance(path, str | os.PathLike):
        raise DataError(
            f"the path is a {type(path).__name__}, expected text or a pathlib.Path: one file, a "
            'folder, or a pattern such as "folder/BTCUSDT-1m-*.zip".'
        )
    text = os.path.expanduser(os.fspath(path))
    if not text.strip():
        raise DataError(f'the path {text!r} is empty. For the current folder write ".".')
    if _ADDRESS.match(text):
        raise DataError(f"{text!r}: addresses aren't read. Download the file first.")
    place = Path(text)
    if place.is_file():
        return [place]
    if place.is_dir():
        names = sorted(name for name in os.listdir(place) if not name.startswith("."))
        files = [place / name for name in names if name.lower().endswith(SUFFIXES)]
        if not files:
            raise DataError(
                f"the folder {text!r} holds no candles: no file ends in {', '.join(SUFFIXES)}."
            )
        return files
    if glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        files = [Path(name) for name in matches if name.lower().endswith(SUFFIXES)]
        if not files:
            raise DataError(
                f"no file that ends in {', '.join(SUFFIXES)} matches the pattern {text!r}."
                f"{_nearest_name(place)}"
            )
        return files
    raise DataError(f"there is no file {text!r}.{_nearest_name(place)}")


def market_named(name: str) -> str:
    """The market that a file's name tells, or "" if it tells none or several."""
    found = set(_MARKET.findall(name))
    return found.pop() if len(found) == 1 else ""


def timeframe_named(name: str) -> str:
    """The timeframe that a file's name tells, or "" if it tells none or several."""
    found = set(_TIMEFRAME.findall(name))
    told = found.pop() if len(found) == 1 else ""
    return "1M" if told == "1mo" else told


def _nearest_name(place: Path) -> str:
    folder = place.parent
    if not folder.is_dir():
        return f" Its folder {str(folder)!r} doesn't exist either."
    names = sorted(entry.name for entry in folder.iterdir())
    near = difflib.get_close_matches(place.name, names, n=1, cutoff=0.5)
    return f" Did you mean {str(folder / near[0])!r}?" if near else ""


def _check_one_series(paths: list[Path]) -> None:
    found = {match[1]: file for file in paths if (match := _ARCHIVE.fullmatch(file.name))}
    if len(found) > 1:
        first = min(found)
        raise DataError(
            f"these files hold several markets or timeframes ({', '.join(sorted(found))}); "
            f'expected one. Choose by a pattern: "{found[first].parent / first}-*".'
        )
    markets = {market: file for file in paths if (market := market_named(file.name))}
    if len(markets) > 1:
        first = min(markets)
        raise DataError(
            f"these files hold several markets, as their names say ({', '.join(sorted(markets))}); "
            f'expected one. Choose by a pattern: "{markets[first].parent}/*{first}*".'
        )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}.") from error


def _ordered(part: Columns, name: str, repair: str | None) -> Columns:
    """Check the order of one file's rows; with ``repair`` keep the last of a time's rows."""
    times = part.times
    falling = times[1:] < times[:-1]
    if falling.any():
        row = int(np.argmax(falling)) + 1
        before, after = from_ms(times[row - 1 : row + 1])
        raise DataError(
            f"{name}: the rows are not in order: {after} comes after {before} (row {row}). "
            "Sort the file by time first."
        )
    twice = times[1:] == times[:-1]
    if not twice.any():
        return part
    if repair is None:
        row = int(np.argmax(twice)) + 1
        raise DataError(
            f"{name}: the time {from_ms(times[row : row + 1])[0]} is there twice (row {row}; "
            f"{int(twice.sum())} such rows); expected one candle a time. If the later "
            'row is the right one: read_candles(path, repair="last").'
        )
    return _rows(part, np.append(np.flatnonzero(~twice), len(times) - 1))


def _rows(part: Columns, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Columns:
    values = {name: array[rows] for name, array in part.values.items()}
    return Columns(part.times[rows], values, part.label, part.symbol)


def _join(parts: list[tuple[str, Columns]], repair: str | None) -> Columns:
    """All files as one, in the order of time; ``parts`` are sorted by their first time."""
    _check_alike(parts)
    times = np.concatenate([part.times for _, part in parts])
    file_of = np.repeat(np.arange(len(parts)), [len(part.times) for _, part in parts])
    order = np.argsort(times, kind="stable")  # of equal times the later file's comes last
    sorted_times = times[order]
    twice = sorted_times[1:] == sorted_times[:-1]
    if twice.any() and repair is None:
        row = int(np.argmax(twice))
        first, second = (parts[file_of[order[row + k]]][0] for k in (0, 1))
        raise DataError(
            f"{first} and {second} both have a candle at {from_ms(sorted_times[row : row + 1])[0]} "
            f"({int(twice.sum())} such times). Leave one of them out; or, if they are the same "
            'market, read_candles(path, repair="last") keeps that of the file which begins later.'
        )
    symbols = sorted({part.symbol for _, part in parts if part.symbol})
    names = list(parts[0][1].values)
    values = {name: np.concatenate([part.values[name] for _, part in parts]) for name in names}
    labels = sorted({part.label for _, part in parts if part.label})
    whole = Columns(times, values, "; ".join(labels), "".join(symbols))
    return _rows(whole, np.append(order[:-1][~twice], order[-1]))


def _check_alike(parts: list[tuple[str, Columns]]) -> None:
    """One table needs the same columns and the same timeframe in all its files."""
    first_name, first = parts[0]
    spacing: tuple[str, str] | None = None
    symbols = {part.symbol: name for name, part in parts if part.symbol}
    if len(symbols) > 1:
        told = ", ".join(f"{symbol} in {name}" for symbol, name in sorted(symbols.items()))
        raise DataError(f"these files hold several markets ({told}); expected one.")
    for name, part in parts:
        if part.values.keys() != first.values.keys():
            odd = sorted(part.values.keys() ^ first.values.keys())
            raise DataError(
                f"{first_name} and {name} don't have the same columns: only one of them has "
                f"{', '.join(odd)}. Read them one by one and join what you need."
            )
        if len(part.times) < 2:
            continue
        found = (name, infer_timeframe(part.times))
        spacing = spacing or found
        if found[1] != spacing[1]:
            raise DataError(
                f"{spacing[0]} holds {spacing[1]} candles and {name} {found[1]}; expected one "
                "timeframe. Choose the files by a pattern."
            )
