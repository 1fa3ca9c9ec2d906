"""`load_candles`: one call for candles, wherever they come from."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Sequence

import pandas as pd

from ..candles import times_of
from ..errors import DataError, unknown
from ..resampling import resample
from ..symbols import join_alike
from ..timeframes import check_timeframe, infer_timeframe, parse_time
from .binance import load_binance, load_each
from .files import SUFFIXES, find_files, market_named, read_candles, timeframe_named
from .symbols import check_symbol
from .venues import find_venue

SOURCES = ("sample", "binance")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_log = logging.getLogger("astraquant.data")


def load_candles(
    symbol: str | list[str] | tuple[str, ...],
    timeframe: str = "1m",
    *,
    start: object = None,
    end: object = None,
    source: str | os.PathLike[str] = "sample",
) -> pd.DataFrame:
    """Load the candles of ``symbol`` with start <= time < end (UTC; None: all there are).

    ``source="sample"`` makes a synthetic market on the fly.

    ``source="binance"`` takes what the cache has (see `cached_candles`), and loads and keeps the
    rest: whole months from Binance's archives, days that have none yet from daily ones, what is
    newer by REST. All columns are there (`EXTRA_COLUMNS` too). Only closed candles come, by
    Binance's clock; an ``end`` after the last of them means the last of them. What Binance itself
    doesn't have is missing (`find_gaps`); rows off the timeframe's grid are left out, with a
    warning to the log "astraquant.data". An interrupted load goes on from there at the next call.
    The address of another exchange does the same: one of Binance's hosts (`venues.HOSTS`), or the
    ``url`` of a `SimulatedExchange`, whose candles are labelled as such.

    A path (a file, a folder, a pattern) is read by `read_candles` and resampled if its candles are
    finer. Few files say whose candles they hold: where the name (``ETHUSDT-1d-2023-03.zip``) or a
    stored table's ``attrs`` do, it must be ``symbol``; else that is only a label. The one candle of
    a file that holds no other has the timeframe that the file's name says.

    A list of symbols gives one table of all of them, as `join_candles` makes it, also of a list of
    one: ``table["ETHUSDT"]`` are the candles of one symbol, NaN where it has no bar. They are
    loaded one after the other, up to the same closed candle; if one fails, none is returned (what
    was loaded stays in the cache). A symbol that was listed after ``start`` begins at its listing,
    with a warning to the log "astraquant.data". A path holds one symbol: join what it gives.

    ``attrs`` of the result say the ``symbol`` and the ``source``. Raises `DataError` for an unknown
    symbol, timeframe or source, if nothing lies in the span, if it begins in the future or before
    the listing, and where an exchange can't be reached or refuses.
    """
    several = isinstance(symbol, list | tuple)
    symbols = _check_symbols(symbol) if several else [check_symbol(symbol)]
    check_timeframe(timeframe)
    first = None if start is None else parse_time(start, "start")
    stop = None if end is None else parse_time(end, "end")
    if first is not None and stop is not None and first >= stop:
        raise DataError(f"start {first} is not before end {stop}: there is nothing between them.")
    if several:
        return _load_several(symbols, timeframe, first, stop, source)
    (symbol,) = symbols
    if _is_sample(source):
        candles = _load_sample(symbol, timeframe, first, stop)
    elif _is_exchange(source):
        return load_binance(symbol, timeframe, first, stop, find_venue(str(source)))
    elif _is_path(source):
        candles = _load_file(symbol, source, timeframe, first, stop)
    else:
        raise _unknown_source(source)
    candles.attrs["symbol"] = symbol
    return candles


def _check_symbols(symbols: Sequence[str]) -> list[str]:
    if not symbols:
        raise DataError('the list of symbols is empty; expected one or more: ["BTCUSDT"].')
    checked = [check_symbol(symbol) for symbol in symbols]
    twice = [symbol for symbol in checked if checked.count(symbol) > 1]
    if twice:
        raise DataError(f"the symbol {twice[0]!r} stands in the list twice; expected it once.")
    return checked


def _load_several(
    symbols: list[str],
    timeframe: str,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    source: object,
) -> pd.DataFrame:
    """The candles of all ``symbols`` as one table; see `load_candles`."""
    if _is_sample(source):
        tables = {symbol: _load_sample(symbol, timeframe, start, end) for symbol in symbols}
    elif _is_exchange(source):
        tables = load_each(symbols, timeframe, start, end, find_venue(str(source)))
    elif _is_path(source):
        raise DataError(
            f"source={source!r} is a path, whose candles are those of one symbol. Load each from "
            f'its own file and join them: join_candles({{"{symbols[0]}": load_candles('
            f'"{symbols[0]}", source=...), ...}}).'
        )
    else:
        raise _unknown_source(source)
    joined = join_alike(tables)
    for symbol, candles in tables.items():
        if candles.index[0] > joined.index[0]:
            _log.warning(
                "%s %s has its first candle at %s: NaN before.", symbol, timeframe, candles.index[0]
            )
    return joined


def _is_sample(source: object) -> bool:
    return isinstance(source, str) and source == "sample"


def _is_exchange(source: object) -> bool:
    return isinstance(source, str) and (source == "binance" or bool(_ADDRESS.match(source)))


def _unknown_source(source: object) -> DataError:
    told = source if isinstance(source, str | int | None) else type(source)
    return DataError(
        f"{unknown('source', told, SOURCES)} Or give the path of a file, or the address of "
        "an exchange (the `url` of a SimulatedExchange)."
    )


def _load_sample(
    symbol: str, timeframe: str, start: pd.Timestamp | None, end: pd.Timestamp | None
) -> pd.DataFrame:
    from .sample import SYMBOLS, sample_candles

    if symbol not in SYMBOLS:
        near = [known for known in SYMBOLS if symbol.startswith(known.removesuffix("USDT"))]
        hint = f" Did you mean {near[0]!r}?" if near else ""  # another coin is never meant
        raise DataError(
            f"the sample has no symbol {symbol!r}.{hint} It has {', '.join(SYMBOLS)}; for another "
            'say source="binance", or give the path of a file as the source.'
        )
    candles = sample_candles(symbol, timeframe, start=start, end=end)
    candles.attrs.setdefault("source", "synthetic sample")
    return candles


def _load_file(
    symbol: str,
    path: str | os.PathLike[str],
    timeframe: str,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
) -> pd.DataFrame:
    candles = read_candles(path)
    _check_market(symbol, path, candles)
    times = times_of(candles)
    span = f"{candles.index[0]} to {candles.index[-1]}"
    if len(times) == 1:
        _check_alone(path, timeframe)
    elif infer_timeframe(times) != timeframe:
        candles = resample(candles, timeframe)
    first = 0 if start is None else int(candles.index.searchsorted(start))
    stop = len(candles) if end is None else int(candles.index.searchsorted(end))
    if first >= stop:
        raise DataError(
            f"there are no whole {timeframe} candles between {start or 'the beginning'} and "
            f"{end or 'the end'} in {os.fspath(path)!r}: it reaches from {span}."
        )
    return candles.iloc[first:stop]


def _check_alone(path: str | os.PathLike[str], timeframe: str) -> None:
    """Raise unless the file's name says the timeframe, for one candle alone can't tell it."""
    (name,) = (file.name for file in find_files(path))
    told = timeframe_named(name)
    if told != timeframe:
        found = f"its name says {told}" if told else "its name doesn't say it either"
        raise DataError(
            f"the timeframe can't be told from 1 candle in {name}, and {found}; expected at least "
            f'2, or a name such as "BTCUSDT-{timeframe}-2023-03-24.csv". Or read it as it is: '
            "read_candles(path)."
        )


def _check_market(symbol: str, path: str | os.PathLike[str], candles: pd.DataFrame) -> None:
    told = {market_named(file.name): "the file's name" for file in find_files(path)}
    told[candles.attrs.get("symbol", "")] = "the table stored in the file"
    for market, teller in told.items():
        if market and market != symbol:
            raise DataError(
                f"{teller} says {market}, not {symbol}: {os.fspath(path)!r}. Ask for what it holds "
                f'(load_candles("{market}", ...)), or give the file of {symbol}.'
            )


def _is_path(source: object) -> bool:
    if isinstance(source, os.PathLike):
        return True
    if not isinstance(source, str):
        return False
    looks = os.sep in source or "/" in source or glob.has_magic(source)
    return looks or source.lower().endswith(SUFFIXES) or os.path.exists(source)
