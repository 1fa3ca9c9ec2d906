"""The command `stream`: live candles in a terminal, a line each."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import FeedError
from .common import command_parser

if TYPE_CHECKING:
    from ..feed.core import Update
    from ..feed.feed import Feed

EXAMPLES = """examples:
  astraquant stream BTCUSDT                          simulated, 20 times as fast as real time
  astraquant stream BTCUSDT --venue binance          the real market
  astraquant stream BTCUSDT ETHUSDT --timeframe 5m --json
  astraquant stream BTCUSDT --venue http://127.0.0.1:8765   of `astraquant exchange`

Each candle is a line when it has closed ("closed": by the stream; "filled": it was missed and asked
for; "revised": the venue has changed it); a terminal shows the forming one below. How the
connection stands goes to stderr. Ctrl-C ends it, with exit code 0."""

_COLUMNS = ("open", "high", "low", "close", "volume")


def run_stream(arguments: list[str]) -> int:
    """Run `astraquant stream ARGUMENTS` until Ctrl-C and return its exit code."""
    parser = command_parser("stream", "Print live candles.", EXAMPLES)
    parser.add_argument("symbols", metavar="SYMBOL", nargs="+", help="such as BTCUSDT")
    parser.add_argument("--timeframe", default="1m", help="default: 1m")
    parser.add_argument(
        "--venue", default="sim", help='"sim" (default), "binance", or an address of an exchange'
    )
    parser.add_argument(
        "--json", action="store_true", help="a JSON object a line, for other programs"
    )
    known = parser.parse_args(arguments)
    from ..feed.feed import Feed

    feed = Feed(known.symbols, known.timeframe, known.venue, history=0)
    printer = _Json(feed) if known.json else _Lines(feed)
    try:
        with _log_on_stderr(), feed.subscribe() as cursor, feed:
            printer.begin()
            for update in cursor:
                printer.print(update)
        raise FeedError(f"the feed has ended: {feed.status.reason or 'it was stopped'}.")
    except KeyboardInterrupt:
        printer.end()
    except BrokenPipeError:  # whoever read it, `head` for example, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Let the feed's log say how things stand, but not repeat each candle."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: not record.getMessage().startswith("candle "))
    logger = logging.getLogger("astraquant.feed")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Json:
    """A JSON object a line: what the candle has, `NaN` as null."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def begin(self) -> None:
        """Nothing: every line says all."""

    def print(self, update: Update) -> None:
        candle = update.candle
        if candle is None or update.kind == "forming":
            return
        values: dict[str, Any] = {
            name: value if value == value else None  # noqa: PLR0124 - NaN
            for name, value in candle._asdict().items()
        }
        told = {
            "symbol": update.symbol,
            "timeframe": self._feed.timeframe,
            "kind": update.kind,
            **values,
            "simulated": self._feed.is_simulated,
        }
        print(json.dumps(told), flush=True)

    def end(self) -> None:
        """Nothing: the last line is whole."""


class _Lines:
    """A line a candle; in a terminal the forming one is written over until it has closed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._terminal = sys.stdout.isatty()
        self._open = False  # a forming candle's line has not ended

    def begin(self) -> None:
        feed = self._feed
        told = feed.label or feed.venue
        where = f"SIMULATED prices ({told})" if feed.is_simulated else told
        print(f"{' '.join(feed.symbols)} {feed.timeframe}, {where}; Ctrl-C ends it.", flush=True)

    def print(self, update: Update) -> None:
        candle = update.candle
        if candle is None or (update.kind == "forming" and not self._terminal):
            return
        from ..timeframes import parse_time

        prices = " ".join(f"{name} {getattr(candle, name):<12.10g}" for name in _COLUMNS)
        time = f"{parse_time(candle.time):%Y-%m-%d %H:%M:%S}"
        line = f"{time}  {update.symbol}  {prices} {update.kind}"
        if update.kind == "forming":
            print(f"\r{line:<120}", end="", flush=True)
            self._open = True
            return
        if self._open:
            print(f"\r{' ' * 120}\r", end="")
            self._open = False
        print(line, flush=True)

    def end(self) -> None:
        if self._open:
            print()
