"""What backtests and sweeps share: the options of a run, the candles made ready for it."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from . import __version__, metrics, timeframes
from .accounting import Ledger, run_ledger
from .candles import check_candles, content_hash
from .errors import DataError, StrategyError, unknown
from .resampling import resample
from .stops import NONE, Stops, Watched, find_fills, find_stopped_fills
from .strategies.definition import Strategy
from .strategies.running import DIRECTIONS, columns_of

Array = np.ndarray[Any, np.dtype[Any]]
FILLS = ("open", "close")
# Of backtest, for an error that suggests the nearest name.
STOPS = Stops._fields
OPTIONS = ("timeframe", "cost", "slippage", "fill", "direction", "cash", *STOPS, "start", "end")


@dataclass(frozen=True, slots=True)
class Options:
    """How signals become trades; one instance for all trials of a sweep but for its cost."""

    cost: float = 0.001
    slippage: float = 0.0
    fill: str = "open"
    direction: str = "long"
    cash: float = 10_000.0
    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None

    def __post_init__(self) -> None:
        for name in ("cost", "slippage"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                several = ". To try several use sweep" if isinstance(value, list | tuple) else ""
                raise StrategyError(
                    f"{name}={value!r}: expected a fraction of the traded value per side, at least "
                    f"0 and below 1 (ten basis points are 0.001){several}"
                )
        if not _is_number(self.cash) or not 0 < self.cash < math.inf:
            raise StrategyError(f"cash={self.cash!r}: expected a positive amount of money")
        for name in ("cost", "slippage", "cash"):  # plain numbers, as a passport needs them
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in STOPS:
            object.__setattr__(self, name, _check_stop(name, getattr(self, name)))
        if self.fill not in FILLS:
            raise StrategyError(unknown("fill", self.fill, FILLS))
        if self.direction not in DIRECTIONS:
            raise StrategyError(unknown("direction", self.direction, DIRECTIONS))

    @property
    def stops(self) -> Stops:
        """The stops as numbers, infinite where there is none."""
        given = (getattr(self, name) for name in STOPS)
        return Stops(*(NONE if value is None else value for value in given))

    def contract(self, cost: float | str) -> str:
        """What these options mean, in one sentence; ``cost``: a fraction, or words for it."""
        when = (
            "the open of the next bar"
            if self.fill == "open"
            else "that very close (optimistic: nobody trades at a price that he still waits for)"
        )
        worse = f" and slippage of {_percent(self.slippage)}" if self.slippage else ""
        paid = cost if isinstance(cost, str) else f"a cost of {_percent(cost)}"
        return (
            f"Decided at the close of a bar, filled at {when}, at {paid} per side{worse}; each "
            f"purchase spends all equity.{self._stops_in_words()}"
        )

    def _stops_in_words(self) -> str:
        given = [(name, getattr(self, name)) for name in STOPS]
        said = [f"{name.replace('_', ' ')} of {_percent(v)}" for name, v in given if v is not None]
        return f" With a {' and a '.join(said)}." if said else ""


def _check_stop(name: str, value: object) -> float | None:
    """A stop as a plain number, None for none (also for an infinite one)."""
    if value is None or (_is_number(value) and value == NONE):
        return None
    most = NONE if name == "take_profit" else 1.0
    if not _is_number(value) or not 0 < value < most:  # type: ignore[operator]
        several = ". To try several use sweep" if isinstance(value, list | tuple) else ""
        limit = "above 0" if name == "take_profit" else "above 0 and below 1"
        raise StrategyError(
            f"{name}={value!r}: expected a fraction of the price {limit} (two percent are 0.02), "
            f"or None for none{several}"
        )
    return float(value)  # type: ignore[arg-type]


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.6g} %"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


class Market:
    """Candles made ready for runs: checked, resampled, cut at ``end``, with the window evaluated.

    ``candles`` include the warm-up; ``first`` is the first evaluated bar among them. ``source`` is
    a copy-on-write copy of the table as given, ``watched_timeframe`` its timeframe: stops are
    watched in its candles.
    """

    def __init__(
        self,
        candles: pd.DataFrame,
        timeframe: str | None = None,
        start: object = None,
        end: object = None,
    ) -> None:
        self.source = check_candles(candles).copy(deep=False)
        if len(self.source) == 0:
            raise DataError("the candle table is empty; expected at least one candle")
        table = self.source
        times = timeframes.to_ms(pd.DatetimeIndex(table.index))
        if len(table) == 1 and timeframe is not None:
            self.timeframe = self.watched_timeframe = timeframes.check_timeframe(timeframe)
        else:
            self.timeframe = self.watched_timeframe = timeframes.infer_timeframe(times)
            if timeframe is not None and timeframe != self.timeframe:
                table = _resample(table, timeframe, self.timeframe)
                self.timeframe = timeframe
        self.candles, self.first = _cut(table, self.timeframe, start, end)
        self.columns = columns_of(self.candles, self.timeframe)

    @property
    def evaluated(self) -> dict[str, Array]:
        """The columns of the evaluated bars."""
        return {name: values[self.first :] for name, values in self.columns.items()}

    @property
    def index(self) -> pd.DatetimeIndex:
        """The times of the evaluated bars."""
        return pd.DatetimeIndex(self.candles.index[self.first :])

    def targets(self, position: Array, fill: str) -> Array:
        """What to hold from the fill in each evaluated bar on, of decisions at every close."""
        if fill == "close":
            return position[self.first :]
        before = np.zeros_like(position)
        before[1:] = position[:-1]
        return before[self.first :]

    def fills(self, target: Array, options: Options) -> Array:
        """The fills (dtype `stops.FILL`) of holding ``target`` over the evaluated bars."""
        price = self.evaluated[options.fill]
        if not options.stops.any:
            return find_fills(target, price)
        bounds = self.watched.bounds[self.first :]
        return find_stopped_fills(
            target,
            price,
            self.watched._replace(bounds=bounds),
            options.stops,
            slippage=options.slippage,
            delay=int(options.fill == "open"),
        )

    @cached_property
    def watched(self) -> Watched:
        """The candles in which stops are watched: those of the source, which may be finer."""
        if self.watched_timeframe == self.timeframe:
            own = self.columns
            return Watched(own["open"], own["high"], own["low"], np.arange(len(self.candles) + 1))
        source = columns_of(self.source, self.watched_timeframe)
        ends = timeframes.next_start(int(self.columns["time"][-1]), self.timeframe)
        begins = np.append(self.columns["time"], ends)
        bounds = np.searchsorted(source["time"], begins)
        return Watched(source["open"], source["high"], source["low"], bounds)

    def buy_and_hold(self, options: Options) -> float:
        """The return of buying once and holding, under the same options."""
        bars = self.evaluated
        return metrics.buy_and_hold_return(
            bars["open"],
            bars["close"],
            fill=options.fill,
            cost=options.cost,
            slippage=options.slippage,
        )

    @cached_property
    def is_wild(self) -> bool:
        """Whether prices lie so far apart that a single trade may lose all but a rounding error."""
        bars = self.evaluated
        lowest = min(bars["close"].min(), bars["open"].min())
        return bool(lowest < 1e-9 * max(bars["close"].max(), bars["open"].max()))

    @property
    def bars(self) -> dict[str, Any]:
        """Which bars were used: the first of all, and those that were evaluated."""
        return {
            "first_bar": str(self.candles.index[0]),
            "evaluated": f"{self.index[0]} to {self.index[-1]} ({len(self.index):,} bars)",
        }

    def passport(self) -> dict[str, Any]:
        """Where the figures come from: the candles' part of a result's passport.

        ``candles_timeframe``: of the candles as given, in which stops are watched.
        """
        return {
            "source": self.source.attrs.get("source"),
            "candles_timeframe": self.watched_timeframe,
            "candles_sha256": content_hash(self.source),
            "versions": {
                "astraquant": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("numpy", "pandas", "numba", "vectorbt")},
            },
        }


def _resample(table: pd.DataFrame, timeframe: str, source: str) -> pd.DataFrame:
    bars = resample(table, timeframe)
    if len(bars) == 0:
        raise DataError(
            f"{len(table):,} candles of {source}, from {table.index[0]} on, hold no whole bar of "
            f"{timeframe}. Take a longer span or a shorter timeframe"
        )
    return bars


def _cut(
    table: pd.DataFrame, timeframe: str, start: object, end: object
) -> tuple[pd.DataFrame, int]:
    """``table`` before ``end``, and the place of its first bar at or after ``start``."""
    first, last = 0, len(table)
    if start is not None:
        first = int(table.index.searchsorted(timeframes.parse_time(start, "start")))
    if end is not None:
        last = int(table.index.searchsorted(timeframes.parse_time(end, "end")))
    if first >= last:
        have = f"{table.index[0]} to {table.index[-1]}"
        raise DataError(
            f"no {timeframe} bar to evaluate with start={start!r}, end={end!r}; "
            f"the candles are {have}"
        )
    return table if last == len(table) else table.iloc[:last], first


def check_order(candles: object, strategy: object) -> None:
    """Raise `StrategyError` unless a decorated strategy stands in the strategy's place."""
    if isinstance(candles, Strategy):
        raise StrategyError(f"the candles come first: (candles, {candles.name}, ...)")
    check_strategy_type(strategy)


def check_strategy_type(strategy: object) -> None:
    """Raise `StrategyError` unless ``strategy`` was decorated."""
    if isinstance(strategy, Strategy):
        return
    if callable(strategy):
        name = getattr(strategy, "__name__", "it")
        raise StrategyError(f"{name} is a plain function; put @strategy above its def")
    raise StrategyError(
        f"strategy={strategy!r}: expected a strategy such as astraquant.strategies.ma_cross "
        "(by name: astraquant.strategies.find_strategy)"
    )


def run(market: Market, target: Array, options: Options) -> Ledger:
    """The ledger of holding ``target`` over the market's evaluated bars."""
    bars = market.evaluated
    fills = market.fills(target, options)
    return run_ledger(
        fills,
        bars["close"],
        cost=options.cost,
        slippage=options.slippage,
        cash=options.cash,
    )


def run_holding(market: Market, options: Options) -> Ledger:
    """The ledger of buying once and holding, without stops.

    It is bought when the contract's ``buy_and_hold`` is.
    """
    plain = replace(options, stop_loss=None, take_profit=None, trailing_stop=None)
    target = np.ones(len(market.index), np.int8)
    target[0] = options.fill == "close"  # else the first decision is made at the first close
    return run(market, target, plain)


def figures_of(market: Market, ledger: Ledger, options: Options) -> dict[str, float]:
    """The figures of a run by name, but for those that only a `Backtest` has."""
    return metrics.figures(
        ledger,
        market.evaluated["volume"],
        cash=options.cash,
        timeframe=market.timeframe,
        buy_and_hold=market.buy_and_hold(options),
    )
