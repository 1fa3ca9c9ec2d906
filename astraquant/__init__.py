"""AstraQuant: research trading strategies in Jupyter, honestly.

The public names below are imported when first used, so that ``import astraquant`` itself is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import markets as markets
    from . import statistics as statistics
    from . import strategies as strategies
    from .allocation_checks import check_allocation as check_allocation
    from .backtesting import Backtest as Backtest
    from .backtesting import backtest as backtest
    from .candles import find_gaps as find_gaps
    from .causality import check_strategy as check_strategy
    from .data import cached_candles as cached_candles
    from .data import load_candles as load_candles
    from .data import read_candles as read_candles
    from .errors import AstraQuantError as AstraQuantError
    from .errors import DataError as DataError
    from .errors import FeedError as FeedError
    from .errors import StrategyError as StrategyError
    from .exchange import SimulatedExchange as SimulatedExchange
    from .feed.feed import Feed as Feed
    from .portfolios import Portfolio as Portfolio
    from .portfolios import portfolio as portfolio
    from .resampling import CandleBuilder as CandleBuilder
    from .resampling import resample as resample
    from .strategies import Range as Range
    from .strategies import crossed_above as crossed_above
    from .strategies import crossed_below as crossed_below
    from .strategies import higher as higher
    from .strategies import hold as hold
    from .strategies import load_strategies as load_strategies
    from .strategies import strategy as strategy
    from .strategies import where as where
    from .sweeping import Sweep as Sweep
    from .sweeping import sweep as sweep
    from .symbol_sweeps import SymbolSweep as SymbolSweep
    from .symbols import join_candles as join_candles
    from .symbols import split_candles as split_candles
    from .walking import WalkForward as WalkForward
    from .walking import walk_forward as walk_forward
    from .widgets.bench import workbench as workbench
    from .widgets.dashboard_compare import compare as compare
    from .widgets.live import live_chart as live_chart

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("AstraQuantError", "DataError", "FeedError", "StrategyError"), "errors"),
    "find_gaps": "candles",
    **dict.fromkeys(("resample", "CandleBuilder"), "resampling"),
    **dict.fromkeys(("cached_candles", "load_candles", "read_candles"), "data"),
    **dict.fromkeys(
        ("strategy", "Range", "hold", "crossed_above", "crossed_below", "where", "higher"),
        "strategies",
    ),
    "load_strategies": "strategies",
    "SimulatedExchange": "exchange",
    "Feed": "feed.feed",
    "live_chart": "widgets.live",
    "compare": "widgets.dashboard_compare",
    "workbench": "widgets.bench",
    "check_strategy": "causality",
    **dict.fromkeys(("backtest", "Backtest"), "backtesting"),
    **dict.fromkeys(("sweep", "Sweep"), "sweeping"),
    "SymbolSweep": "symbol_sweeps",
    **dict.fromkeys(("walk_forward", "WalkForward"), "walking"),
    **dict.fromkeys(("join_candles", "split_candles"), "symbols"),
    **dict.fromkeys(("portfolio", "Portfolio"), "portfolios"),
    "check_allocation": "allocation_checks",
}
_MODULES = ("indicators", "markets", "statistics", "strategies")

__all__ = [*_HOME, *_MODULES, "__version__"]  # noqa: PLE0604 - names served by __getattr__


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        from .errors import unknown

        raise AttributeError(f"module 'astraquant': {unknown('name', name, __all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
