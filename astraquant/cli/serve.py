"""The command `serve`: the library over HTTP and WebSocket, for this machine alone by default."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .common import command_parser, minute, print_rows

if TYPE_CHECKING:
    import argparse

    from ..serve.catalogue import Catalogue

EXAMPLES = """examples:
  astraquant serve                                 the synthetic sample
  astraquant serve BTCUSDT-1m.parquet ETHUSDT=eth.csv
  astraquant serve BTCUSDT                         what astraquant fetch has kept
  curl "http://127.0.0.1:8000/backtest/ma?short=50&long=200&cost=0.001&timeframe=5m"

GET /backtest/STRATEGY (ma: ma_cross), /candles, /strategies, /openapi.json; the WebSocket
/ws/SYMBOL relays live candles of --venue; http://127.0.0.1:8000/ shows all of it. A request
reaches only what is named here: no other file, and no network but that of --venue.

Another --host than this machine's own needs a token (--token, or better the environment variable
ASTRAQUANT_TOKEN, which other users can't see); then every request has to carry it:
Authorization: Bearer TOKEN. It is not encrypted: put TLS in front of it. Ctrl-C ends it, with exit
code 0."""


def run_serve(arguments: list[str]) -> int:
    """Run `astraquant serve ARGUMENTS` until Ctrl-C and return its exit code."""
    parser = command_parser("serve", "Answer over HTTP and WebSocket.", EXAMPLES)
    parser.add_argument(
        "candles",
        metavar="CANDLES",
        nargs="*",
        help='"sample" (default), a file, SYMBOL=FILE, or a symbol that was fetched',
    )
    parser.add_argument(
        "--venue", default="sim", help='of live candles: "sim" (default), "binance", or an address'
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any free one")
    parser.add_argument("--token", help="what every request has to show (needed beyond 127.0.0.1)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a name by which this machine is asked too (Host); may be given several times",
    )
    known = parser.parse_args(arguments)
    from ..serve.gate import check_binding
    from ..serve.server import listen, make_server, require

    token = os.environ.get("ASTRAQUANT_TOKEN", "") if known.token is None else known.token
    check_binding(known.host, token)
    require()
    from ..backtesting import backtest
    from ..serve.app import build_app
    from ..serve.catalogue import open_catalogue
    from ..strategies import ma_cross

    catalogue = open_catalogue(known.candles or ["sample"])
    backtest(catalogue.find()[1], ma_cross)  # the first request needn't wait for the compiler
    app = build_app(catalogue, venue=known.venue, host=known.host, token=token, names=known.name)
    with listen(known.host, known.port) as place:
        _introduce(catalogue, known, place.getsockname()[1], bool(token))
        try:
            make_server(app).run(sockets=[place])
        except KeyboardInterrupt:  # uvicorn has ended all that it had begun
            print("ended", file=sys.stderr)
    return 0


def _introduce(
    catalogue: Catalogue, known: argparse.Namespace, port: int, with_token: bool
) -> None:
    from ..serve.catalogue import label_of

    symbol, candles = catalogue.find()
    source, simulated = label_of(candles)
    first, last = minute(candles.index[0]), minute(candles.index[-1])
    host = f"[{known.host}]" if ":" in known.host else known.host
    print(f"SIMULATED prices: {source}" if simulated else f"candles of {source}")
    print_rows(
        {
            "address": f"http://{host}:{port}/",
            "backtest": f"http://{host}:{port}/backtest/ma?short=50&long=200&timeframe=5m",
            "symbols": f"{', '.join(catalogue.symbols)} ({symbol}: {first} to {last} UTC)",
            "live": f"ws://{host}:{port}/ws/{symbol} (venue: {known.venue})",
            "open to": "whoever shows the token" if with_token else "this machine alone",
        }
    )
    print("Ctrl-C ends it.", flush=True)
