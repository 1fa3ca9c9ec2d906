"""The bytes of one file -> times and columns. Nothing here touches a disk.

What a file is, its first bytes say, not its name: Parquet, ZIP, gzip, JSON or comma-separated text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ..candles import COLUMNS, EXTRA_COLUMNS, Floats
from ..errors import DataError
from ..timeframes import Times

# Binance's 12 columns, in archives and in the rows of REST /api/v3/klines.
KLINE_COLUMNS = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"),
    *("count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
# Other names a column may have, in lower case with "_" for spaces. Nothing else is guessed.
ALIASES: dict[str, tuple[str, ...]] = {
    "time": ("time", "date", "datetime", "timestamp", "open_time"),
    **{name: (name,) for name in COLUMNS},
    "volume": ("volume", "vol"),
    "quote_volume": ("quote_volume", "quote_asset_volume"),
    "trades": ("trades", "count", "number_of_trades"),
    "taker_buy_volume": ("taker_buy_volume", "taker_buy_base_asset_volume"),
    "taker_buy_quote_volume": ("taker_buy_quote_volume", "taker_buy_quote_asset_volume"),
}
# What the readers raise over bytes that are cut short or changed, each in its own way.
_DAMAGED = (
    *(pa.ArrowException, OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(ValueError, LookupError, ArithmeticError, RuntimeError),  # Unicode, index, too large, deep
)
_EXPECTED = "Parquet, CSV, CSV.gz, a ZIP of one CSV, or Binance's kline rows as JSON"

_BAD_NUMBER = re.compile(r"CSV column #(\d+):.*invalid value ('.*')", re.DOTALL)


@dataclass(frozen=True)
class Columns:
    """What one file holds: open times (int64 ms UTC), float64 columns, in the file's order."""

    times: Times
    values: dict[str, Floats]
    label: str = ""  # where the candles came from, if the file itself tells
    symbol: str = ""  # their market, likewise


def parse(data: bytes, name: str) -> Columns:
    """Read candles out of the bytes of a file; `DataError` begins with its ``name``."""
    try:
        return _parse(data)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except _DAMAGED as error:
        raise DataError(
            f"{name} can't be read: {error}. Is it damaged or cut short? Load it again."
        ) from error


def _parse(data: bytes) -> Columns:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    elif data.startswith(b"PK"):
        data = _only_member(data)
    data = data.removeprefix(b"\xef\xbb\xbf")  # the byte-order mark of a spreadsheet
    start = data[:4096].lstrip()
    if not start:
        raise DataError(f"the file is empty. Expected candles: {_EXPECTED}.")
    if data.startswith(b"PAR1"):
        return _parse_parquet(data)
    if start[:1] in (b"[", b"{"):
        return _parse_json(data)
    if b"\0" in start or start.startswith((b"\x89PNG", b"\xff\xd8", b"%PDF", b"PK", b"\x1f\x8b")):
        raise DataError(f"this is no file of candles, whatever its name. Expected {_EXPECTED}.")
    return _parse_csv(data)


def _only_member(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [entry for entry in archive.infolist() if not entry.is_dir()]
        names = [entry.filename for entry in members]
        if len(members) != 1:
            raise DataError(
                f"the ZIP holds {len(members)} files, expected one CSV: {', '.join(names[:5])}. "
                "Unpack it into a folder and read the folder."
            )
        path = PurePosixPath(names[0].replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise DataError(f"the ZIP's file is called {names[0]!r}, which leads out of it.")
        if members[0].flag_bits & 1:
            raise DataError("the ZIP is encrypted. Unpack it first.")
        return archive.read(members[0])


def _parse_parquet(data: bytes) -> Columns:
    file = pq.ParquetFile(pa.BufferReader(data))
    schema = file.schema_arrow
    found = _find_columns(schema.names)
    table = file.read(columns=list(found.values()))
    metadata = schema.metadata or {}
    columns = _from_arrow(table, found)
    return replace(
        columns, label=_attribute(metadata, "source"), symbol=_attribute(metadata, "symbol")
    )


def _attribute(metadata: dict[bytes, bytes], name: str) -> str:
    """What ``attrs[name]`` was when pandas wrote the file: a synthetic market stays one."""
    try:
        value = json.loads(metadata[b"pandas"])["attributes"][name]
    except (KeyError, ValueError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def _parse_csv(data: bytes) -> Columns:
    if data[:1].isspace():
        data = data.lstrip()
    try:
        line = data.split(b"\n", 1)[0].decode("utf-8").strip()
        header = next(csv.reader([line]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the file is no text in UTF-8. Expected {_EXPECTED}.") from error
    for name, mark in (("semicolons", ";"), ("tabs", "\t")):
        count = line.count(mark)
        if count >= max(len(COLUMNS), line.count(",")) and f",{mark}" not in line:
            raise DataError(f"{name} stand between the columns, expected commas. Save it so.")
    named = not _is_number(header[0])
    if not named and len(header) != len(KLINE_COLUMNS):
        raise DataError(
            f"no header line, and {len(header)} columns where Binance's archives have "
            f"{len(KLINE_COLUMNS)}. Add a first line: time,open,high,low,close,volume."
        )
    names = [field.strip() for field in header] if named else list(KLINE_COLUMNS)
    found = _find_columns(names)
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(data),
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=int(named)),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(found.values()),
                column_types={old: pa.float64() for new, old in found.items() if new != "time"},
            ),
        )
    except pa.ArrowInvalid as error:
        match = _BAD_NUMBER.search(str(error))
        if match is None:
            raise
        raise DataError(
            f"the column {names[int(match[1])]!r} holds {match[2]}, expected plain numbers such as "
            "28001.5. Mend the file, without units and marks between thousands."
        ) from error
    return _from_arrow(table, found)


def _parse_json(data: bytes) -> Columns:
    try:
        rows = json.loads(data)
    except ValueError as error:
        raise DataError(f"the JSON is broken ({error}). Download it again.") from error
    if isinstance(rows, dict) and "code" in rows and "msg" in rows:
        raise DataError(f"this is an error of Binance, not candles: {rows['msg']!r}. Ask it again.")
    if isinstance(rows, dict):
        kind = "a Jupyter notebook" if "cells" in rows else "a JSON object"
        raise DataError(f"this is {kind}, not candles. Expected {_EXPECTED}.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(KLINE_COLUMNS):
            raise DataError(
                f"row {number} of the JSON is no kline: {str(row)[:60]}. Expected lists of "
                f"{len(KLINE_COLUMNS)} values: {', '.join(KLINE_COLUMNS)}."
            )
    if not rows:
        raise DataError("the JSON list is empty: there are no candles for what was asked.")
    found = _find_columns(KLINE_COLUMNS)
    columns = dict(zip(KLINE_COLUMNS, zip(*rows, strict=True), strict=True))
    try:  # numbers are text there; a float64 holds each of them exactly as Python reads it
        table = pa.table(
            {old: np.array([float(value) for value in columns[old]]) for old in found.values()}
        )
    except (ValueError, TypeError) as error:
        raise DataError(f"a value of the JSON rows is no number: {error}.") from error
    return _from_arrow(table, found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _find_columns(names: Any) -> dict[str, str]:
    """Our name -> the file's name, for the columns that are there."""
    plain = [str(name).strip().lower().replace(" ", "_") for name in names]
    found: dict[str, str] = {}
    for ours, aliases in ALIASES.items():
        hits = [old for old, name in zip(names, plain, strict=True) if name in aliases]
        if len(hits) > 1:
            raise DataError(
                f"the columns {hits} could all be the {ours}. Rename or remove all but one."
            )
        if hits:
            found[ours] = hits[0]
        elif ours in ("time", *COLUMNS):
            raise DataError(
                f"no column for the {ours} (known names: {', '.join(aliases)}); it has "
                f"{', '.join(repr(str(old)[:30]) for old in list(names)[:12])}. Rename one; or is "
                f"this another kind of file? Expected {_EXPECTED}."
            )
    return found


def _from_arrow(table: pa.Table, found: dict[str, str]) -> Columns:
    if table.num_rows == 0:
        raise DataError("it has columns, but no rows: no candles.")
    values = {
        ours: _floats(table.column(old), old)
        for ours, old in found.items()
        if ours in (*COLUMNS, *EXTRA_COLUMNS)
    }
    return Columns(_milliseconds(table.column(found["time"]), found["time"]), values)


def _floats(column: pa.ChunkedArray, name: str) -> Floats:
    try:
        array: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise DataError(f"the column {name!r} holds no plain numbers: {error}.") from error
    return array if array.flags.writeable else array.copy()


def _milliseconds(column: pa.ChunkedArray, name: str) -> Times:
    """Times as they come (dates, timestamps, numbers, ISO text; naive means UTC) in int64 ms."""
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"row {row} has no time (column {name!r}). Remove the row.")
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers_to_ms(column.to_numpy(), name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column, kind = _parse_text(column, name), pa.timestamp("ns", tz="UTC")
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        raise DataError(f"the column {name!r} holds {kind}, expected full dates and times.")
    try:
        stamps = column.cast(pa.timestamp("ms", tz=getattr(kind, "tz", None)))
    except pa.ArrowException as error:
        raise DataError(f"the times in {name!r} are no whole milliseconds ({error}).") from error
    times: Times = stamps.cast(pa.int64()).to_numpy()
    return times


def _parse_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    text = column.to_pandas()
    index = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    if index.isna().any():
        row = int(np.argmax(index.isna()))
        raise DataError(
            f"row {row} has the time {text.iloc[row]!r} (column {name!r}), which is no ISO date "
            'and time. Write "2023-03-24 12:40" (UTC): day and month are not guessed.'
        )
    return pa.chunked_array([pa.Array.from_pandas(index)])


def _numbers_to_ms(numbers: np.ndarray[Any, Any], name: str) -> Times:
    """Seconds, ms, us or ns, told apart by size, value by value: joined archives mix ms and us."""
    with np.errstate(invalid="ignore"):  # what is beyond 64 bits is found wrong below
        finite = np.isfinite(numbers).all()
        whole = numbers.astype(np.int64) if finite else np.zeros(len(numbers), int)
    unit = np.searchsorted([10**8, 10**11, 10**14, 10**17], whole, side="right")
    factor = np.array([1, 1000, 1, 1, 1])[unit]
    divisor = np.array([1, 1, 1, 10**3, 10**6])[unit]
    times: Times = whole * factor // divisor
    wrong = (unit == 0) | (whole != numbers) | (times * divisor != whole * factor)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"row {row} has the time {numbers[row]} (column {name!r}), which is no whole number "
            "of seconds, milliseconds, microseconds or nanoseconds after 1973. Is it a time?"
        )
    return times
