"""Results as JSON: plain data classes, whose fields are the schema that OpenAPI tells.

Floats are written with the digits that make the very same number again; a figure without a value
(NaN) is null. Times are ISO 8601 in UTC: a bar's open time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd

from ..candles import Candle, times_of
from ..errors import DataError
from ..resampling import resample
from ..timeframes import Times, check_timeframe, duration, infer_timeframe, parse_time, to_ms
from .catalogue import label_of

if TYPE_CHECKING:
    from ..backtesting import Backtest
    from ..feed.core import Update
    from ..strategies.definition import Strategy


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a request, what was expected, and the cure."""

    detail: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One candle; what is null is not known."""

    time: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trades: float | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None


@dataclass(frozen=True, slots=True)
class Candles:
    """Some candles. ``next``: the ``start`` of the next request, null at the end of the span."""

    symbol: str
    timeframe: str
    source: str | None
    simulated: bool
    candles: list[Bar]
    next: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """A backtest, as the function of the library returns it.

    ``trades``: a row per trade, with the columns of `Backtest.trades`. ``pending``: the position
    decided at the last close and never filled. ``notes``: what a reader must know.
    """

    strategy: str
    parameters: dict[str, int | float | str]
    symbol: str
    timeframe: str
    source: str | None
    simulated: bool
    metrics: dict[str, float | None]
    trades: list[dict[str, str | int | float | None]]
    pending: int | None
    notes: list[str]
    passport: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a strategy. ``default`` null: it must be given."""

    name: str
    kind: str
    default: int | float | str | None
    low: float | None
    high: float | None
    choices: list[str]


@dataclass(frozen=True, slots=True)
class StrategyInfo:
    """A strategy; ``rule``: the combinations of parameters that it allows."""

    name: str
    description: str
    rule: str
    parameters: list[Parameter]
    path: str


@dataclass(frozen=True, slots=True)
class Strategies:
    """All strategies."""

    strategies: list[StrategyInfo]


def to_json(answer: object) -> bytes:
    """JSON of an answer; NaN is null."""
    return msgspec.json.encode(answer)


def iso(times: Times) -> list[str | None]:
    """Int64 milliseconds as ISO 8601 text in UTC; with a fraction of a second where one has it."""
    unit = "ms" if (times % 1000).any() else "s"
    texts = times.astype("M8[ms]").astype(f"M8[{unit}]").astype(str)
    return [f"{text}Z" for text in texts.tolist()]


def info_of(name: str, strategy: Strategy) -> StrategyInfo:
    """What `/strategies` says of one."""
    parameters = [
        Parameter(
            name=p.name,
            kind=p.kind.__name__,
            default=p.default,
            low=p.range.low if p.range else None,
            high=p.range.high if p.range else None,
            choices=list(p.choices),
        )
        for p in strategy.parameters.values()
    ]
    return StrategyInfo(name, strategy.description, strategy.rule, parameters, f"/backtest/{name}")


def run_of(symbol: str, result: Backtest, source: tuple[str | None, bool]) -> Run:
    """A backtest's figures, trades and passport. ``source``: its label, whether it is simulated."""
    return Run(
        strategy=result.strategy.name,
        parameters=result.parameters,
        symbol=symbol,
        timeframe=result.timeframe,
        source=source[0],
        simulated=source[1],
        metrics=dict(zip(map(str, result.metrics.index), result.metrics.tolist(), strict=True)),
        trades=_rows(result.trades),
        pending=result.pending,
        notes=list(result.notes),
        passport=result.passport,
    )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows, each by column name."""
    columns = [
        _iso_or_none(column) if str(column.dtype).startswith("datetime64") else column.tolist()
        for _, column in table.items()
    ]
    names = [str(name) for name in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _iso_or_none(column: pd.Series) -> list[str | None]:
    there = column.notna().to_numpy()
    texts = iso(to_ms(pd.DatetimeIndex(column[there])))
    found = np.full(len(column), None, dtype=object)
    found[there] = texts
    return list(found)


def candles_of(
    symbol: str,
    table: pd.DataFrame,
    timeframe: str | None,
    start: object,
    end: object,
    limit: int,
) -> Candles:
    """The first ``limit`` candles with start <= time < end, resampled to ``timeframe``."""
    first = None if start is None else parse_time(start, "start")
    stop = None if end is None else parse_time(end, "end")
    if first is not None and stop is not None and first >= stop:
        raise DataError(f"start {first} is not before end {stop}: there is nothing between them.")
    if timeframe is not None:
        check_timeframe(timeframe)
    if timeframe is not None and len(table) == 1:
        own = timeframe  # one candle can't tell its own
    else:
        own = infer_timeframe(times_of(table))
    if timeframe is not None and timeframe != own:
        table = resample(table, timeframe)
    begin = 0 if first is None else int(table.index.searchsorted(first))
    after = len(table) if stop is None else int(table.index.searchsorted(stop))
    upto = max(begin, min(after, begin + limit))
    page = table.iloc[begin:upto]
    times = iso(times_of(table.iloc[begin : upto + (upto < after)]))
    columns = [page[name].tolist() for name in Candle._fields[1:] if name in page]
    names = [name for name in Candle._fields[1:] if name in page]
    bars = [
        Bar(time, **dict(zip(names, row, strict=True)))
        for time, *row in zip(times[: len(page)], *columns, strict=True)
    ]
    source, simulated = label_of(table)
    following = times[-1] if upto < after else None
    return Candles(symbol, timeframe or own, source, simulated, bars, following)


def bars_of_run(table: pd.DataFrame, timeframe: str | None, end: object) -> int:
    """About how many bars a backtest goes through, those that only warm up included."""
    count = len(table)
    if end is not None:
        count = int(table.index.searchsorted(parse_time(end, "end")))
    if timeframe is None or len(table) < 2:
        return count
    return count * duration(infer_timeframe(times_of(table))) // duration(timeframe)


def message_of(update: Update, timeframe: str, source: str, simulated: bool) -> dict[str, Any]:
    """What a stream says of one update: the candle, if there is one, and what happened to it.

    ``kind``: "closed" (by the stream), "filled" (missed, and asked for), "revised" (``before``:
    what it was), "forming", or "gap" (bars are missing from ``time`` on; no prices).
    """
    told: dict[str, Any] = {
        "symbol": update.symbol,
        "timeframe": timeframe,
        "kind": update.kind,
        "closed": update.kind in ("closed", "filled", "revised"),
        "time": iso(np.array([update.time]))[0],
        **_prices(update.candle),
    }
    if update.before is not None:
        told["before"] = _prices(update.before)
    return {**told, "source": source, "simulated": simulated}


def _prices(candle: Candle | None) -> Mapping[str, Any]:
    if candle is None:
        return {}
    values = candle._asdict()
    del values["time"]
    return values
