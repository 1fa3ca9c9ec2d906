"""From a strategy and candles to what it holds after each close.

The traced program is evaluated where the strategy can be traced; else its function runs on plain
arrays, and the decision carries the reason.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import timeframes
from .._coarse import bar_ends
from .._indicator import watch_warmup
from ..errors import StrategyError, unknown
from ..evaluation import Boolean, Shared, evaluate
from ..expressions import CannotTrace, Graph, Node
from .definition import COLUMNS, Candles, Strategy

Array = np.ndarray[Any, np.dtype[Any]]
DIRECTIONS = ("long", "short", "both")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a strategy holds: ``position`` (int8: -1, 0, 1) after the close of each candle.

    ``program`` is the traced root node, or None with the ``reason`` why arrays were used.
    """

    position: Array
    program: Node | None
    reason: str


class Tracer:
    """Traces one strategy, once per combination of parameters, into one shared graph."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.graph = Graph()
        self._candles = Candles(*map(self.graph.column, COLUMNS))

    def trace(self, bound: Mapping[str, Any]) -> Node:
        """The root node for one combination; `CannotTrace` says why there is none.

        A `StrategyError` (an ``if`` on a series, a bad window) is the author's to mend and passes.
        """
        self.graph.left = ""
        try:
            result = self.strategy.function(self._candles, **bound)
            if isinstance(result, Node):
                result = self.graph.lift(result)  # refuses one kept from an earlier call
        except StrategyError as error:
            raise StrategyError(f"{describe(self.strategy, bound)}: {error}") from error
        except CannotTrace:
            raise
        except Exception as error:  # whatever a tracer can't do, an array may
            raise CannotTrace(f"{type(error).__name__}: {error}") from error
        if self.graph.left:  # a refusal that some library swallowed
            raise CannotTrace(self.graph.left)
        if not isinstance(result, Node):
            raise CannotTrace(
                f"it returns a {type(result).__name__} that is not made from its candles"
            )
        return result


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pause Python's garbage collector, for the ``with`` block in which many trials are traced.

    Again and again it would walk through all of a graph that only grows and of which nothing is
    garbage: half of the time that tracing takes. Afterwards it is as it was, also after an error.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def describe(strategy: Strategy, bound: Mapping[str, Any]) -> str:
    """The call as one would write it: ``momentum(window=100, threshold=0.0)``."""
    return f"{strategy.name}({', '.join(f'{name}={value!r}' for name, value in bound.items())})"


def columns_of(candles: pd.DataFrame, timeframe: str) -> dict[str, Array]:
    """A checked candle table of ``timeframe`` as read-only arrays by column name.

    ``time`` and ``end``, when each bar opens and closes, in int64 UTC ms.
    """
    times = timeframes.to_ms(pd.DatetimeIndex(candles.index))
    columns: dict[str, Array] = {"time": times.view(), "end": bar_ends(times, timeframe)}
    for name in COLUMNS:
        if name in columns:
            continue
        values = np.ascontiguousarray(candles[name].to_numpy(), dtype=np.float64)
        columns[name] = values.view()
    for view in columns.values():
        view.flags.writeable = False  # a strategy must not change the researcher's table
    return columns


def decide(
    tracer: Tracer,
    columns: Mapping[str, Array],
    bound: Mapping[str, Any],
    direction: str = "long",
    shared: Shared | None = None,
) -> Decision:
    """What the strategy holds after each close of ``columns`` (see `columns_of`).

    ``bound``: all parameters (`Strategy.bind`). ``shared``: what the trials of a sweep share, all
    over the same columns and traced by the same tracer. Raises `StrategyError` for an answer that
    breaks the contract.
    """
    if direction not in DIRECTIONS:
        raise StrategyError(unknown("direction", direction, DIRECTIONS))
    name = describe(tracer.strategy, bound)
    try:
        program = tracer.trace(bound)
    except CannotTrace as why:
        answer = _run_on_arrays(tracer.strategy, columns, bound)
        return Decision(_to_position(name, answer, columns, direction), None, str(why))
    position = decide_program(tracer.strategy, program, columns, bound, direction, shared)
    return Decision(position, program, "")


def decide_program(
    strategy: Strategy,
    program: Node,
    columns: Mapping[str, Array],
    bound: Mapping[str, Any],
    direction: str,
    shared: Shared | None = None,
) -> Array:
    """Positions of a traced program; see `decide`."""
    answer = evaluate(program, columns, shared)
    return _to_position(describe(strategy, bound), answer, columns, direction)


def _run_on_arrays(
    strategy: Strategy, columns: Mapping[str, Array], bound: Mapping[str, Any]
) -> Array | Boolean:
    """The function on numpy arrays: flat until every indicator that it called is known."""
    name = describe(strategy, bound)
    with watch_warmup() as warmup, np.errstate(all="ignore"):  # 0/0 is NaN, not a warning
        try:
            answer = strategy.function(Candles(**columns), **bound)
        except StrategyError as error:
            raise StrategyError(f"{name}: {error}") from error
        except Exception as error:
            raise StrategyError(
                f"{name} raised {type(error).__name__} when called with plain numpy arrays: {error}"
            ) from error
    if answer is None:
        raise StrategyError(f"{name} returned None; is `return` missing in its last line?")
    values = np.asarray(answer)
    expected = (len(columns["close"]),)
    if values.shape != expected:
        raise StrategyError(
            f"{name} returned {_shape(values)} for {expected[0]} candles; "
            "expected one value for each"
        )
    known = np.arange(len(values)) >= warmup.first_known
    if values.dtype == np.bool_:
        return Boolean(values & known, known)
    if values.dtype.kind not in "iuf":
        raise StrategyError(
            f"{name} returned values of type {values.dtype}; expected booleans, or numbers -1, 0, "
            "1 (of pandas, shift with fill_value=False and return .to_numpy())"
        )
    return np.where(known, values.astype(np.float64), np.nan)


def _shape(values: Array) -> str:
    return f"{len(values)} values" if values.ndim == 1 else f"an array of shape {values.shape}"


def _to_position(
    name: str, answer: Array | Boolean, columns: Mapping[str, Array], direction: str
) -> Array:
    if isinstance(answer, Boolean):
        return _directed(answer, direction)
    if direction != "long":
        raise StrategyError(
            f"{name} returns -1, 0, 1 itself, so direction={direction!r} has no meaning; "
            "leave it out"
        )
    position = np.where(np.isnan(answer), 0.0, answer)
    bad = ~np.isin(position, (-1.0, 0.0, 1.0))
    if bad.any():
        first = int(np.argmax(bad))
        when = pd.Timestamp(int(columns["time"][first]), unit="ms")
        raise StrategyError(
            f"{name} asks for a position of {position[first]:g} at {when}; expected -1 (short), "
            "0 (flat) or 1 (long). For a condition return booleans: a > b"
        )
    return position.astype(np.int8)


def _directed(answer: Boolean, direction: str) -> Array:
    """Booleans as positions. ``both``: short where False, once a first True was seen."""
    held: Array = answer.value.view(np.int8)  # True is stored as 1
    if direction == "long":
        return held
    if direction == "short":
        return -held
    started = np.arange(len(held)) >= np.argmax(held) if answer.value.any() else answer.value
    # Unknown is not the same as False: a position needs every input to be known.
    short = started & answer.known & ~answer.value
    return held - short.view(np.int8)


def decide_on_arrays(
    strategy: Strategy,
    columns: Mapping[str, Array],
    bound: Mapping[str, Any],
    direction: str = "long",
) -> tuple[Array, int]:
    """Positions by the function on plain arrays, and the first bar at which all is known."""
    answer = _run_on_arrays(strategy, columns, bound)
    position = _to_position(describe(strategy, bound), answer, columns, direction)
    known = answer.known if isinstance(answer, Boolean) else ~np.isnan(answer)
    return position, int(np.argmax(known)) if known.any() else len(known)
