"""Whose candles are served: chosen at the start, never by a request."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..candles import is_synthetic
from ..errors import DataError, unknown

if TYPE_CHECKING:
    import pandas as pd

Load = Callable[[], "pd.DataFrame"]
_MARKET = re.compile(r"[A-Z0-9]{2,20}")
_NAMED = re.compile(r"([A-Z0-9]{2,20})=(.+)")


class Catalogue:
    """Candle tables by symbol; the first symbol is meant where none is given.

    ``tables``: the tables, or functions that make them, called when they are first needed.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame | Load]) -> None:
        if not tables:
            raise DataError("there are no candles to serve; expected those of a symbol or more.")
        self._tables = dict(tables)
        self._loading = threading.Lock()

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, the one that is meant by default first."""
        return tuple(self._tables)

    def find(self, symbol: str | None = None) -> tuple[str, pd.DataFrame]:
        """The symbol and its candles; `DataError` with the nearest name if there is none."""
        name = self.symbols[0] if symbol is None else symbol
        if name not in self._tables:
            raise DataError(unknown("symbol", name, self._tables))
        with self._loading:  # by one thread; the others need it too
            table = self._tables[name]
            if callable(table):
                table = self._tables[name] = table()
        return name, table


def open_catalogue(items: Iterable[str]) -> Catalogue:
    """The candles that a command line names: ``sample``, files, symbols of the cache.

    ``sample``: all symbols of the synthetic market, each made when it is first asked for.
    ``BTCUSDT``: what is kept of Binance's candles, in the finest timeframe. Else a file, a folder
    or a pattern; ``BTCUSDT=FILE`` where it doesn't say itself whose candles it holds. Raises
    `DataError` for what can't be served, and for a symbol that is there twice.
    """
    tables: dict[str, pd.DataFrame | Load] = {}
    for item in items:
        for symbol, table in _tables_of(item).items():
            if symbol in tables:
                raise DataError(
                    f"{item}: {symbol} is served already; expected each symbol once. Leave one of "
                    "them out, or start a second server with another --port."
                )
            tables[symbol] = table
    return Catalogue(tables)


def _tables_of(item: str) -> Mapping[str, pd.DataFrame | Load]:
    from ..data import load_candles

    if item == "sample":
        from ..data.sample import SYMBOLS

        return {symbol: partial(load_candles, symbol, "1m") for symbol in SYMBOLS}
    if _MARKET.fullmatch(item) and not os.path.exists(item):
        return {item: _kept(item)}
    named = None if os.path.exists(item) else _NAMED.fullmatch(item)
    return _file(named[2], named[1]) if named else _file(item, None)


def _kept(symbol: str) -> pd.DataFrame:
    """The cached candles of Binance; the network is asked for what is missing in between."""
    from ..data import cached_candles, load_candles
    from ..timeframes import duration, next_start

    kept = cached_candles("binance").dropna()
    rows = kept[kept["symbol"] == symbol]
    if rows.empty:
        raise DataError(
            f"{unknown('symbol of the cache', symbol, dict.fromkeys(kept['symbol']))} Load it "
            f"first: astraquant fetch {symbol} 1m --start 2023-01. Or name a file, or sample."
        )
    row = min(rows.to_dict("records"), key=lambda row: duration(row["timeframe"]))
    frame = row["timeframe"]
    end = next_start(int(row["last"].timestamp() * 1000), frame)
    return load_candles(symbol, frame, start=row["first"], end=end, source="binance")


def _file(path: str, symbol: str | None) -> Mapping[str, pd.DataFrame]:
    from ..data import read_candles
    from ..data.files import find_files, market_named

    candles = read_candles(path)
    named = [market_named(file.name) for file in find_files(path)]
    told = candles.attrs.get("symbol") or next(filter(None, named), "")
    if symbol and told and symbol != told:
        raise DataError(f"{symbol}={path}: the file holds {told}. Leave {symbol}= out.")
    if not symbol and not told:
        raise DataError(f"{path} doesn't say whose candles it holds. Say it: BTCUSDT={path}")
    return {symbol or told: candles}


def label_of(candles: pd.DataFrame) -> tuple[str | None, bool]:
    """What a table says of its source (None: nothing), and whether its prices are simulated."""
    source = candles.attrs.get("source")
    return (None if source is None else str(source)), is_synthetic(source)
