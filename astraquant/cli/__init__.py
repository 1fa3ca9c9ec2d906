"""The command line: a thin layer over the functions of the same names.

Exit codes: 0 done, 1 refused (the reason is on stderr), 2 misspelled command line, 130 interrupted
(`exchange`, `stream`, `dashboard` and `serve`: 0, for Ctrl-C is their proper end).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

from .. import __version__
from ..errors import AstraQuantError, unknown

EXAMPLES = """examples:
  astraquant lab                       open JupyterLab on the notebooks
  astraquant test                      run every test and notebook
  astraquant backtest sample short=50 long=200 --timeframe 5m --cost 0.001
  astraquant sweep BTCUSDT-1m.parquet --short 5:50:5 --long 20:205:20 --timeframe 5m --top 10
  astraquant strategies                list what backtest and sweep can run
  astraquant fetch BTCUSDT 1m --start 2023-01 --end 2024-01
  astraquant cache                     show the candles that are kept
  astraquant stream BTCUSDT            print live candles
  astraquant exchange --speed 60       a simulated exchange, an hour a minute
  astraquant dashboard FILE            serve a notebook as a page
  astraquant serve                     backtests, candles and streams over HTTP

astraquant COMMAND --help explains a command."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands: dict[str, Callable[[list[str]], int]] = {
        "lab": _lab,
        "test": _test,
        "backtest": _backtest,
        "sweep": _sweep,
        "strategies": _strategies,
        "fetch": _fetch,
        "cache": _cache,
        "stream": _stream,
        "exchange": _exchange,
        "dashboard": _dashboard,
        "serve": _serve,
    }
    if not arguments or arguments[0].startswith("-"):
        _top_parser(commands).parse_args(arguments or ["--help"])
        return 0
    name, *rest = arguments
    try:
        if name not in commands:
            print(f"astraquant: {unknown('command', name, commands)}", file=sys.stderr)
            return 2
        return commands[name](rest)
    except AstraQuantError as error:
        print(f"astraquant {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _top_parser(commands: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="astraquant",
        description="Research trading strategies in Jupyter and on the command line.",
        usage=f"astraquant {{{','.join(commands)}}} ...",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"astraquant {__version__}")
    return parser


def _lab(arguments: list[str]) -> int:
    from ..lab import run_lab

    return run_lab(arguments)


def _test(arguments: list[str]) -> int:
    from ..lab import run_test

    return run_test(arguments)


def _backtest(arguments: list[str]) -> int:
    from .research import run_backtest

    return run_backtest(arguments)


def _sweep(arguments: list[str]) -> int:
    from .research import run_sweep

    return run_sweep(arguments)


def _strategies(arguments: list[str]) -> int:
    from .listing import run_strategies

    return run_strategies(arguments)


def _fetch(arguments: list[str]) -> int:
    from .market import run_fetch

    return run_fetch(arguments)


def _cache(arguments: list[str]) -> int:
    from .market import run_cache

    return run_cache(arguments)


def _stream(arguments: list[str]) -> int:
    from .stream import run_stream

    return run_stream(arguments)


def _exchange(arguments: list[str]) -> int:
    from .venue import run_exchange

    return run_exchange(arguments)


def _dashboard(arguments: list[str]) -> int:
    from .page import run_dashboard

    return run_dashboard(arguments)


def _serve(arguments: list[str]) -> int:
    from .serve import run_serve

    return run_serve(arguments)
