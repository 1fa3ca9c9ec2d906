"""The commands `backtest` and `sweep`: arguments in, the functions of the same names called."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StrategyError, unknown
from .common import check_out, command_parser, write_table

if TYPE_CHECKING:
    import pandas as pd

    from ..strategies.definition import Parameter, Strategy

STOPS = {
    "stop_loss": "a loss",
    "take_profit": "a gain",
    "trailing_stop": "a fall from the best price",
}

BACKTEST_EXAMPLES = """examples:
  astraquant backtest BTCUSDT-1m.parquet --strategy ma_cross short=50 long=200 --timeframe 5m
  astraquant backtest sample short=20 long=100 --timeframe 1h --direction both --json

FILE is any candle file, a folder or a pattern of archives, or the word sample: a synthetic
market, made on the spot."""

SWEEP_EXAMPLES = """examples:
  astraquant sweep BTCUSDT-1m.parquet --short 5:50:5 --long 20:205:20 --timeframe 5m
  astraquant sweep sample --short 10,20,50 --long 100,200 --timeframe 15m,1h --cost 0,0.001
  astraquant sweep sample --timeframe 1h --stop-loss 0.01:0.06:0.01 --take-profit inf,0.05,0.1

Several values: a list 10,20,50 or a span from:to or from:to:step, without its end, as in Python:
5:205 means 5 to 204; inf among stops is none. FILE is any candle file, or the word sample: a
synthetic market."""


def _parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """What `backtest` and `sweep` have in common."""
    parser = command_parser(name, description, examples)
    parser.add_argument("file", metavar="FILE", help='candles, or "sample"')
    parser.add_argument("--strategy", default="ma_cross", help="its name (default: ma_cross)")
    several = " (several: a list)" if name == "sweep" else ""
    parser.add_argument("--timeframe", help=f"resample to it first, such as 5m{several}")
    parser.add_argument(
        "--cost", default="0.001", help=f"fraction of the traded value per side{several}"
    )
    parser.add_argument("--slippage", type=float, default=0.0, help="fraction a fill is worse")
    parser.add_argument("--fill", default="open", help="open (of the next bar) or close")
    parser.add_argument("--direction", default="long", help="long, short or both")
    parser.add_argument("--cash", type=float, default=10_000.0, help="to start with")
    for stop, after in STOPS.items():
        text = f"leave after {after} of this fraction{several}"
        parser.add_argument(f"--{stop.replace('_', '-')}", help=text)
    parser.add_argument("--start", help="first evaluated time, UTC")
    parser.add_argument("--end", help="time before which evaluation ends, UTC")
    return parser


def _options(known: argparse.Namespace) -> dict[str, Any]:
    names = ("slippage", "fill", "direction", "cash", "start", "end")
    return {name: getattr(known, name) for name in names}


def _stops(known: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The stops that were given, as text."""
    return ((name, getattr(known, name)) for name in STOPS if getattr(known, name) is not None)


def _candles(file: str) -> pd.DataFrame:
    from ..data import load_candles, read_candles

    return load_candles("BTCUSDT", "1m") if file == "sample" else read_candles(file)


def _number(parameter: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise StrategyError(f"{parameter}={text!r}: expected {expected}") from None


def run_backtest(arguments: list[str]) -> int:
    """Run `astraquant backtest ARGUMENTS` and return its exit code."""
    parser = _parser("backtest", "Run one strategy over candles.", BACKTEST_EXAMPLES)
    parser.add_argument(
        "parameters", metavar="NAME=VALUE", nargs="*", default=[], help="the strategy's own"
    )
    parser.add_argument("--json", action="store_true", help="print the result for a machine")
    known, others = parser.parse_known_intermixed_args(arguments)
    if others:
        parser.error(f"unknown: {' '.join(others)} (parameters are written as in short=50)")

    from ..backtesting import backtest
    from ..reports import backtest_text
    from ..strategies import find_strategy

    strategy = find_strategy(known.strategy)
    parameters = _assignments(strategy, known.parameters, [f"--{name}" for name in vars(known)])
    result = backtest(
        _candles(known.file),
        strategy,
        timeframe=known.timeframe,
        cost=_number("cost", known.cost, float),
        **{name: _number(name, text, float) for name, text in _stops(known)},
        **_options(known),
        **parameters,
    )
    if known.json:
        print(json.dumps(_plain(result), indent=2, allow_nan=False))
    else:
        print(backtest_text(result))
    return 0


def _assignments(strategy: Strategy, texts: list[str], options: list[str]) -> dict[str, Any]:
    """The parameters among the arguments; ``options``: what might have been meant instead."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise StrategyError(f"{text!r}: expected NAME=VALUE, such as short=50")
        strategy.check_name(name, options)
        if name in found:
            raise StrategyError(f"{text!r}: {name} is given twice; give it once")
        found[name] = _number(name, value, strategy.parameters[name].kind)
    return found


def _plain(result: Any) -> dict[str, Any]:
    """A backtest in what JSON knows: a figure without a value is null."""
    figures = {name: None if math.isnan(v) else v for name, v in result.metrics.items()}
    return {
        "metrics": figures,
        "notes": list(result.notes),
        "pending": result.pending,
        "passport": result.passport,
    }


def run_sweep(arguments: list[str]) -> int:
    """Run `astraquant sweep ARGUMENTS` and return its exit code."""
    from ..jobs import COLUMNS
    from ..strategies import find_strategy

    parser = _parser(
        "sweep", "Run one strategy with every combination of parameters.", SWEEP_EXAMPLES
    )
    parser.add_argument("--metric", default="sharpe", help="what the table is sorted by")
    parser.add_argument("--top", type=int, default=10, help="rows to print (default: 10)")
    parser.add_argument("--out", type=Path, help="write the whole table: .parquet or .csv")
    # The strategy's parameters are options too, so its name has to be known first.
    usage = f"{parser.prog} FILE [--strategy NAME] [--PARAMETER VALUES ...] [OPTIONS]"
    first = argparse.ArgumentParser(parser.prog, usage, add_help=False, allow_abbrev=False)
    first.add_argument("--strategy", default="ma_cross")
    strategy = find_strategy(first.parse_known_args(arguments)[0].strategy)
    own = parser.add_argument_group(f"parameters of {strategy.name}")
    for name, parameter in strategy.parameters.items():
        default = "needed" if parameter.default is None else f"default {parameter.default}"
        text = f"{parameter.kind.__name__}, {default}"
        own.add_argument(f"--{name}", help=text.replace("%", "%%"))
    known = parser.parse_args(arguments)
    if known.metric not in COLUMNS:
        raise StrategyError(unknown("metric", known.metric, COLUMNS))
    check_out(known.out)
    if known.top < 1:
        raise StrategyError(f"--top {known.top}: expected at least one row")
    given = {n: p for n, p in strategy.parameters.items() if getattr(known, n) is not None}
    grid = {name: _values(p, getattr(known, name)) for name, p in given.items()}
    return _swept(known, strategy, grid)


def _swept(known: argparse.Namespace, strategy: Strategy, grid: dict[str, Any]) -> int:
    from ..reports import sweep_text
    from ..strategies.definition import Parameter
    from ..sweeping import sweep

    costs = [_number("cost", text, float) for text in known.cost.split(",")]
    frames = known.timeframe.split(",") if known.timeframe else []
    began = time.perf_counter()
    result = sweep(
        _candles(known.file),
        strategy,
        timeframe=frames if len(frames) > 1 else known.timeframe,
        cost=costs if len(costs) > 1 else costs[0],
        **{name: _values(Parameter(name, float, None), text) for name, text in _stops(known)},
        **_options(known),
        **grid,
    )
    took = time.perf_counter() - began
    print(f"{len(result.table):,} runs in {took:,.1f} s", file=sys.stderr)
    try:
        result.best(known.metric)  # refuses a metric that no row has
        print(sweep_text(result, known.metric, known.top))
    finally:  # the table is worth keeping all the same
        if known.out:
            write_table(result.table.reset_index(), known.out)
    return 0


def _values(parameter: Parameter, text: str) -> Any:
    """``5:205`` or ``5:205:10`` (without the end), ``5,10,20``, or one value."""
    name, kind = parameter.name, parameter.kind
    if kind is not str and ":" in text:
        parts = [_number(name, part, kind) for part in text.split(":")]
        if len(parts) == 2 and kind is int:
            parts.append(1)
        if len(parts) != 3 or parts[2] <= 0:
            step = "from:to or from:to:step" if kind is int else "from:to:step"
            raise StrategyError(f"{name}={text!r}: expected {step}, with a step above 0")
        start, stop, step = parts
        if kind is int:
            return range(start, stop, step)
        count = max(0, math.ceil((stop - start) / step - 1e-9))
        return [round(start + i * step, 12) for i in range(count)]
    values = [_number(name, part, kind) for part in text.split(",")]
    return values if len(values) > 1 else values[0]
