"""The command `exchange`: the simulated exchange, by hand."""

from __future__ import annotations

import textwrap
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..timeframes import DAY, HOUR, MINUTE, parse_time
from .common import command_parser, minute, print_rows

if TYPE_CHECKING:
    import pandas as pd

    from ..exchange import SimulatedExchange

EXAMPLES = """examples:
  astraquant exchange                              the synthetic sample, in real time
  astraquant exchange --speed 60                   an hour a minute
  astraquant exchange BTCUSDT-1m.parquet --start 2023-03-24 --speed 10
  astraquant exchange --fault "30s kill" --fault "2m refuse 429 3"

It speaks Binance's protocol (REST, archives, WebSocket streams) on this machine alone, over candles
of a file or the word sample: a synthetic market. Candles before --start are history, served at
once; from there on they are played as if they happened now. Ctrl-C ends it, with exit code 0."""

_HISTORY = 3  # by default one part in so many is history when the exchange opens


def run_exchange(arguments: list[str]) -> int:
    """Run `astraquant exchange ARGUMENTS` until Ctrl-C and return its exit code."""
    parser = command_parser("exchange", "Run a simulated exchange on this machine.", _epilog())
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="sample", help='candles, or "sample" (default)'
    )
    parser.add_argument("--symbol", help="whose candles they are (default: the file's, BTCUSDT)")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="venue time over real time (default: 1)"
    )
    parser.add_argument(
        "--start", help="venue time to begin at, UTC (default: after a third of the candles)"
    )
    parser.add_argument("--port", type=int, default=8765, help="default: 8765; 0: any free one")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="TEXT",
        help="when (venue time from the start) and what goes wrong; may be given several times",
    )
    known = parser.parse_args(arguments)
    if not 0 <= known.port < 2**16:
        raise DataError(f"--port {known.port}: expected 0 (any free one) to 65535")
    from ..exchange import SimulatedExchange

    candles = _candles(known.file, known.symbol)
    symbol = str(candles.attrs["symbol"])
    start = known.start or _default_start(candles)
    venue = SimulatedExchange(
        candles, symbol, known.speed, start, port=known.port, faults=known.fault
    )
    try:
        with venue:
            _introduce(venue, symbol, known.speed)
            _wait(venue, venue.markets[symbol].end)
    except KeyboardInterrupt:
        _sum_up(venue)
    return 0


def _epilog() -> str:
    from ..exchange.script import SCRIPTED

    faults = textwrap.fill(f"Faults: {', '.join(SCRIPTED)}.", 100)
    return f"{EXAMPLES}\n\n{faults}"


def _candles(file: str, symbol: str | None) -> pd.DataFrame:
    """The candles to play; their ``attrs`` say the symbol."""
    from ..data import load_candles, read_candles
    from ..data.files import find_files, market_named

    if file == "sample":
        return load_candles(symbol or "BTCUSDT", "1m")
    candles = read_candles(file)
    named = [market_named(path.name) for path in find_files(file)]
    told = candles.attrs.get("symbol") or next(filter(None, named), "")
    if symbol and told and symbol != told:
        raise DataError(f"--symbol {symbol}: {file} holds {told}. Leave the option out, or use it.")
    candles.attrs["symbol"] = symbol or told or "BTCUSDT"
    return candles


def _default_start(candles: pd.DataFrame) -> pd.Timestamp:
    third: pd.Timestamp = candles.index[len(candles) // _HISTORY]
    midnight = third.floor("D")
    return midnight if midnight > candles.index[0] else third


def _introduce(venue: SimulatedExchange, symbol: str, speed: float) -> None:
    market = venue.markets[symbol]
    span = f"{_utc(market.start)} to {_utc(market.end)} UTC"
    print(f"SIMULATED exchange: {market.source or 'candles of a file'}")
    print("This is no real exchange: the trades within each candle are made up.")
    print_rows(
        {
            "address": f"{venue.url} (REST and archives; streams: ws{venue.url[4:]})",
            "market": f"{symbol} {market.timeframe}, {span}",
            "plays": f"from {_utc(venue.now)} UTC, {_pace(speed, market.end - venue.now)}",
        }
    )
    print("In Python, for what is history by then:")
    print(f'  aq.load_candles("{symbol}", "{market.timeframe}", source="{venue.url}")')
    print("Ctrl-C ends it.", flush=True)


def _pace(speed: float, left: int) -> str:
    if not speed:
        return "its time stands still"
    pace = "in real time" if speed == 1 else f"{speed:g} times as fast as real time"
    return f"{pace}: that lasts {_length(left / speed)}"


def _length(milliseconds: float) -> str:
    for name, unit in (("days", DAY), ("hours", HOUR), ("minutes", MINUTE)):
        if milliseconds >= 2 * unit:
            return f"{milliseconds / unit:,.1f} {name}"
    return f"{milliseconds / 1000:,.1f} seconds"


def _wait(venue: SimulatedExchange, end: int) -> None:
    """Until Ctrl-C; on the way say when the candles are at their end."""
    over, pause = False, threading.Event()
    while True:
        pause.wait(0.2)  # not without limit: on Windows that would not see Ctrl-C
        if venue.now >= end and not over:
            over = True
            print("All candles are played: the streams are silent, REST goes on.", flush=True)


def _sum_up(venue: SimulatedExchange) -> None:
    messages = _told(venue.ledger.counts, "message")
    requests = _told(venue.ledger.answers, "request")
    print(f"Ended at {_utc(venue.now)} UTC: {messages}, {requests}.")


def _told(counts: Counter[Any], what: str) -> str:
    total = counts.total()
    parts = ", ".join(f"{key} {count:,}" for key, count in counts.items())
    return f"{total:,} {what}{'' if total == 1 else 's'}" + (f" ({parts})" if parts else "")


def _utc(time: int) -> str:
    return minute(parse_time(time))
