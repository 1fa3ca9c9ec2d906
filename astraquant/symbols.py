"""Candles of several symbols as one table, and back.

A joined table has one row per time at which any of its symbols has a bar, and columns with the
levels ``symbol`` and ``column``: ``table["BTCUSDT"]`` are those of one symbol. A bar that a symbol
does not have is NaN in all of its columns, whether it was listed later, its trading was halted or
the source has a gap. Nothing is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from .candles import COLUMNS, EXTRA_COLUMNS, check_candles, is_joined, times_of
from .errors import DataError
from .timeframes import infer_timeframe

__all__ = ["LEVELS", "is_joined", "join_alike", "join_candles", "map_symbols", "split_candles"]

LEVELS = ("symbol", "column")


def join_candles(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Candle tables by symbol as one table; symbols and columns keep their order.

    Columns: a MultiIndex with the levels ``symbol`` and ``column``. Rows: every time at which any
    symbol has a bar. A bar that a symbol does not have is NaN in all of its columns; nothing is
    filled. `split_candles` is the exact inverse.

    ``attrs["source"]`` is the source of all symbols if it is one, else each of them with its symbol
    in brackets; ``attrs["symbols"]`` has the ``attrs`` of each. Raises `DataError` for tables that
    are none, are empty, hold other columns than a candle's, or differ in their timeframe (the
    smallest spacing; a single candle has none).
    """
    if not isinstance(tables, Mapping):
        raise DataError(
            f"expected the candle tables by symbol, got a {type(tables).__name__}. Such as "
            'join_candles({"BTCUSDT": bitcoin, "ETHUSDT": ether}).'
        )
    if not tables:
        raise DataError('there is nothing to join; expected a table or more: {"BTCUSDT": candles}.')
    checked = {_name(symbol): _part(symbol, table) for symbol, table in tables.items()}
    _check_timeframes(checked)
    return join_alike(checked)


def join_alike(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`join_candles` of tables that are known to be right and of one timeframe; some may be empty.

    The smallest spacing of a table with many holes need not be its timeframe.
    """
    times = reduce(lambda some, more: some.union(more), (part.index for part in tables.values()))
    columns = {
        (symbol, name): values
        for symbol, part in tables.items()
        for name, values in part.reindex(times).items()
    }
    joined = pd.DataFrame(columns, index=pd.DatetimeIndex(times, name="time"), copy=False)
    joined.columns = joined.columns.set_names(LEVELS)
    joined.attrs = _joined_attrs({symbol: part.attrs for symbol, part in tables.items()})
    return joined


def split_candles(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The candle table of each symbol, without the rows that it does not have.

    A symbol without any bar (the table was cut before its listing) has an empty table. The
    ``attrs`` are those that each table had before `join_candles`. Raises `DataError` if the table
    is no joined one, if a bar is NaN in some of its columns only, and for candles that are wrong.
    """
    if not is_joined(table):
        raise DataError(
            "expected the candles of several symbols in one table, as join_candles or a "
            f"load_candles with a list of symbols makes it; got {_described(table)}."
        )
    names = table.columns.get_level_values(0)
    if set(COLUMNS) <= set(names):
        raise DataError(
            "the candles have their columns above the symbols; expected the symbols first. Turn "
            "them: candles.swaplevel(axis=1)."
        )
    return {str(symbol): _split_off(table, symbol) for symbol in dict.fromkeys(names)}


def map_symbols(
    table: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    """A joined table in which ``change`` was made to the candles of each symbol.

    ``change`` gives all of them one timeframe, or leaves theirs. An error says whose they are.
    """
    changed = {}
    for symbol, candles in split_candles(table).items():
        try:
            changed[symbol] = change(candles)
        except DataError as error:
            raise DataError(f"{symbol}: {error}") from error
    return join_alike(changed)


def _name(symbol: object) -> str:
    if not isinstance(symbol, str) or not symbol:
        raise DataError(f'{symbol!r} names no symbol; expected text such as "BTCUSDT".')
    return symbol


def _part(symbol: str, candles: pd.DataFrame) -> pd.DataFrame:
    try:
        part = check_candles(candles)
    except DataError as error:
        raise DataError(f"{symbol}: {error}") from error
    if len(part) == 0:
        raise DataError(
            f"{symbol} has no candles here; expected one at least. Leave it out, or take a longer "
            "span."
        )
    others = [name for name in part.columns if name not in (*COLUMNS, *EXTRA_COLUMNS)]
    if others:
        raise DataError(
            f"{symbol} has the column {others[0]!r}, which is none of a candle's, so nobody knows "
            f"what a missing bar has there. Drop it: candles.drop(columns={others!r})."
        )
    return part


def _check_timeframes(tables: Mapping[str, pd.DataFrame]) -> None:
    frames: dict[str, str] = {}
    for symbol, table in tables.items():
        if len(table) < 2:
            continue
        try:
            frames[symbol] = infer_timeframe(times_of(table))
        except DataError as error:
            raise DataError(f"{symbol}: {error}") from error
    if len(set(frames.values())) > 1:
        told = ", ".join(f"{frame} of {symbol}" for symbol, frame in frames.items())
        raise DataError(
            f"the candles have different timeframes ({told}); expected one. Make them alike "
            "first: resample(candles, timeframe)."
        )


def _joined_attrs(attrs: Mapping[str, Mapping[Any, Any]]) -> dict[Any, Any]:
    """The attrs of a joined table: one ``source`` for a reader, and each symbol's own."""
    sources = {symbol: own.get("source") for symbol, own in attrs.items()}
    joined: dict[Any, Any] = {"symbols": {symbol: dict(own) for symbol, own in attrs.items()}}
    known = list(dict.fromkeys(sources.values()))
    if len(known) == 1:
        return joined if known[0] is None else {"source": known[0], **joined}
    told = [f"{source or 'unknown'} ({symbol})" for symbol, source in sources.items()]
    return {"source": ", ".join(told), **joined}


def _described(table: object) -> str:
    if not isinstance(table, pd.DataFrame):
        return f"a {type(table).__name__}"
    if all(name in table.columns for name in COLUMNS):
        return 'the candles of one. Say whose they are: join_candles({"BTCUSDT": candles})'
    return f"a table with the columns {[str(name) for name in table.columns]}"


def _split_off(table: pd.DataFrame, symbol: Any) -> pd.DataFrame:
    part = table[symbol]
    part.columns = part.columns.rename(None)
    unknown = part.isna().to_numpy()
    absent = unknown.all(axis=1)
    _check_whole(part, symbol, unknown, absent)
    part = part if not absent.any() else part[~absent]
    own = table.attrs.get("symbols", {}).get(symbol)
    if own is None:  # joined by other hands: all that is known is what the whole table says
        told = {name: value for name, value in table.attrs.items() if name != "symbols"}
        own = {**told, "symbol": symbol}
    part.attrs = dict(own)
    try:
        return check_candles(part)
    except DataError as error:
        raise DataError(f"{symbol}: {error}") from error


def _check_whole(part: pd.DataFrame, symbol: Any, unknown: Any, absent: Any) -> None:
    """Raise unless each bar is there in all columns or missing in all."""
    partly = unknown.any(axis=1) & ~absent
    if not partly.any():
        return
    row = int(np.argmax(partly))
    lacking = [name for name, gone in zip(part.columns, unknown[row], strict=True) if gone]
    raise DataError(
        f"{symbol} has a bar at {part.index[row]} without {', '.join(map(str, lacking))} (such "
        f"rows in all: {int(partly.sum())}); expected NaN in all of its columns or in none. Load "
        "these candles again, or drop what is not known: "
        f"candles.drop(columns=[({str(symbol)!r}, {str(lacking[0])!r})])."
    )
