"""The commands `fetch` and `cache`: candles of an exchange, and those that are kept."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, unknown
from .common import check_out, command_parser, minute, print_rows, write_table

if TYPE_CHECKING:
    import pandas as pd

    from ..data.cache import Cache, Entry

FETCH_EXAMPLES = """examples:
  astraquant fetch BTCUSDT 1m --start 2023-01 --end 2024-01
  astraquant fetch ETHUSDT 1h --start 2024-06-01 --out ETHUSDT-1h.parquet
  astraquant fetch BTCUSDT 1m --start 2023-05 --end 2023-06 --source http://127.0.0.1:8765

What is fetched is kept on this machine: the next call, and load_candles(..., source="binance") in
Python, only fetch what is missing. astraquant cache shows what is there. The last example asks an
exchange on this machine: astraquant exchange."""

CACHE_EXAMPLES = """examples:
  astraquant cache                         show what is kept, and where
  astraquant cache --clear BTCUSDT 1m      remove the minutes of BTCUSDT
  astraquant cache --clear BTCUSDT         remove all candles of BTCUSDT
  astraquant cache --clear                 remove everything

The environment variable ASTRAQUANT_CACHE names another folder."""


def run_fetch(arguments: list[str]) -> int:
    """Run `astraquant fetch ARGUMENTS` and return its exit code."""
    parser = command_parser("fetch", "Fetch candles of an exchange and keep them.", FETCH_EXAMPLES)
    parser.add_argument("symbol", metavar="SYMBOL", help="such as BTCUSDT")
    parser.add_argument("timeframe", metavar="TIMEFRAME", help="such as 1m, 5m, 1h, 1d")
    parser.add_argument(
        "--start", help="first open time, UTC: 2023-01, 2023-01-15 12:00 (default: the listing)"
    )
    parser.add_argument("--end", help="time before which the last candle opens, UTC (default: now)")
    parser.add_argument("--out", type=Path, help="write the candles too: .parquet or .csv")
    parser.add_argument(
        "--source", default="binance", help="binance (the default), or the address of a venue"
    )
    known = parser.parse_args(arguments)
    check_out(known.out)
    if known.source != "binance" and "://" not in known.source:
        told = unknown("source", known.source, ["binance"])
        raise DataError(f"{told} Or give an address, such as http://127.0.0.1:8765.")
    try:
        return _fetch(known)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from what is kept", file=sys.stderr)
        return 130


def _fetch(known: argparse.Namespace) -> int:
    from ..candles import is_synthetic
    from ..data import load_candles

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        candles = load_candles(
            known.symbol, known.timeframe, start=known.start, end=known.end, source=known.source
        )
    told = [str(warning.message) for warning in caught]
    files = _files_of(candles, known)
    if not files and not known.out:  # all that was to be done failed
        raise DataError(" ".join([*told, "Or write them to a file: --out candles.parquet."]))
    for text in told:
        print(f"note: {text}", file=sys.stderr)
    _summarise(candles, known.timeframe, files)
    _note_end(candles, known)
    if known.out:
        write_table(candles.reset_index(), known.out)
        if known.out.suffix == ".csv" and is_synthetic(candles.attrs["source"]):
            print(
                "note: CSV can't say that its prices are simulated; .parquet can", file=sys.stderr
            )
    return 0


def _files_of(candles: pd.DataFrame, known: argparse.Namespace) -> list[Entry]:
    """The files of the cache that hold ``candles``; none unless they hold all of them."""
    from ..candles import times_of
    from ..data.binance import Session
    from ..data.cache import Cache
    from ..data.venues import find_venue

    venue = find_venue(known.source)
    if not venue.name:  # it alone can say which market it plays
        with Session(venue) as session:
            session.open()
            venue = session.venue
    times = times_of(candles)
    files, kept = [], 0
    for entry in Cache().entries():
        key = (entry.venue, entry.symbol, entry.timeframe)
        if key == (venue.name, known.symbol, known.timeframe) and not entry.damaged:
            low, high = times.searchsorted([entry.since, entry.until])
            kept += int(high - low)
            files += [entry] * bool(high > low)
    return files if kept == len(times) else []


def _summarise(candles: pd.DataFrame, timeframe: str, files: list[Entry]) -> None:
    from ..candles import find_gaps

    gaps = find_gaps(candles)
    told = "none"
    if len(gaps):
        longest = gaps.iloc[int(gaps["missing"].argmax())]
        told = (
            f"{len(gaps):,}, missing bars: {gaps['missing'].sum():,} (at most "
            f"{longest['missing']:,} in a row, from {minute(longest['start'])} UTC)"
        )
    size = _amount(len(files), sum(entry.size for entry in files))
    print(f"{candles.attrs['symbol']} {timeframe} from {candles.attrs['source']}")
    print_rows(
        {
            "first": f"{minute(candles.index[0])} UTC",
            "last": f"{minute(candles.index[-1])} UTC",
            "candles": f"{len(candles):,}",
            "gaps": told,
            "kept": f"in {files[0].path.parent} ({size})" if files else "no",
        }
    )


def _note_end(candles: pd.DataFrame, known: argparse.Namespace) -> None:
    """Say so if the candles end before what was asked for."""
    from ..candles import times_of
    from ..timeframes import next_start, parse_time

    last = int(times_of(candles)[-1])
    if known.end and parse_time(next_start(last, known.timeframe)) < parse_time(known.end):
        asked, opens = minute(parse_time(known.end)), minute(parse_time(last))
        print(
            f"note: asked until {asked} UTC; the last closed candle opens {opens}", file=sys.stderr
        )


def run_cache(arguments: list[str]) -> int:
    """Run `astraquant cache ARGUMENTS` and return its exit code."""
    parser = command_parser("cache", "Show or remove the candles that are kept.", CACHE_EXAMPLES)
    parser.add_argument(
        "--clear",
        nargs="*",
        metavar=("SYMBOL", "TIMEFRAME"),
        help="remove all candles, or those of a symbol, or of a symbol and timeframe",
    )
    known = parser.parse_args(arguments)
    from ..data.cache import Cache

    cache = Cache()
    root = cache.folder.parent
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is no folder. Set ASTRAQUANT_CACHE to a folder, or unset it.")
    if known.clear is None:
        _show(cache)
        return 0
    if len(known.clear) > 2:
        parser.error(f"--clear takes a SYMBOL and a TIMEFRAME, not {len(known.clear)} words")
    symbol, timeframe = (*known.clear, None, None)[:2]
    files, size = cache.clear(None, symbol, timeframe)
    what = f" of {' '.join(known.clear)}" if known.clear else ""
    print(f"removed {_amount(files, size)}{what} from {cache.folder}")
    return 0


def _show(cache: Cache) -> None:
    import pandas as pd

    from ..data.cache import cached_candles

    entries = cache.entries()
    if not entries:
        print(f"Nothing is kept in {cache.folder} yet.")
        print("Fetch some candles: astraquant fetch BTCUSDT 1m --start 2023-01 --end 2024-01")
        return
    print(f"Candles kept in {cache.folder}:\n")
    table = cached_candles()
    if len(table):
        for name in ("first", "last"):
            table[name] = ["–" if pd.isna(time) else minute(time) for time in table[name]]
        print(table.to_string(index=False, formatters={"candles": "{:,}".format}), end="\n\n")
    print(f"in all {_amount(len(entries), sum(entry.size for entry in entries))}")
    for entry in entries:
        if entry.damaged:
            print(f"damaged, not used, fetched anew when needed: {entry.path} ({entry.damaged})")


def _amount(files: int, size: int) -> str:
    """So many files and megabytes, rounded up as in `cached_candles`."""
    return f"{files:,} file{'' if files == 1 else 's'}, {math.ceil(size / 1e5) / 10:,.1f} MB"
