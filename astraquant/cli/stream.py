"""The command `stream`: live candles in a terminal, a line each."""

from __future__ import annotations

import json
import logging
import os
import shutil
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
    """A line a candle; in a terminal the forming one is written over until it has closed.

    Where the prices come from is said before the first candle: it may be known only then.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._told = ""
        self._terminal = sys.stdout.isatty()
        self._open = False  # a forming candle's line has not ended

    def begin(self) -> None:
        """Say what is to come, and from where if that is known."""
        feed = self._feed
        if not feed.label:
            print(f"waiting for {feed.venue} ...", file=sys.stderr, flush=True)

    def print(self, update: Update) -> None:
        candle = update.candle
        if candle is None or (update.kind == "forming" and not self._terminal):
            return
        self._say_source()
        from ..timeframes import parse_time

        prices = " ".join(f"{name} {getattr(candle, name):<9.10g}" for name in _COLUMNS)
        time = f"{parse_time(candle.time):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
        self._write(f"{time} {update.symbol} {prices} {update.kind}", update.kind == "forming")

    def end(self) -> None:
        if self._open:
            print()

    def _say_source(self) -> None:
        feed = self._feed
        if feed.label == self._told:
            return
        self._told = feed.label
        where = f"SIMULATED prices ({feed.label})" if feed.is_simulated else feed.label
        self._write(f"{' '.join(feed.symbols)} {feed.timeframe}, {where}; Ctrl-C ends it.", False)

    def _write(self, line: str, forming: bool) -> None:
        """A line of its own; in a terminal it takes the place of the forming candle's."""
        if self._open:
            print("\r\x1b[K", end="")
        if forming:  # cut, since of a line that wraps only the end could be written over
            line = line[: shutil.get_terminal_size().columns - 1]
        print(line, end="" if forming else "\n", flush=True)
        self._open = forming
