"""A higher timeframe inside a strategy, as it is known at each close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._coarse import Coarse, checked
from .._indicator import watch_warmup, watched
from ..errors import StrategyError
from ..expressions import Graph, Node, Seen, graph_of
from .definition import COLUMNS, Candles, HigherCandles

Array = np.ndarray[Any, np.dtype[Any]]


def higher(
    candles: Candles, timeframe: str, function: Callable[[Candles], Any] | None = None
) -> Any:
    """Bars of a higher ``timeframe`` as they are known at each close of ``candles``.

    ``candles``: those of the strategy. A higher bar is known from the first close on that reaches
    its end, until the next one is. ``higher(candles, "1h").close`` is the close of the last whole
    hour: a value for each bar, NaN before the first.

    Indicators count the bars they are given, so those of the higher timeframe go into ``function``.
    It gets the higher candles themselves, one value for each of their bars, and gives back a series
    or a condition, which comes out as known at each close::

        trend = higher(candles, "1h", lambda h: h.close > sma(h.close, 20))

    Bars are joined as in `resample`; the timeframe is a whole multiple of the candles' own, or the
    same, which gives the candles themselves. Raises `StrategyError` for anything else.
    """
    frame = checked(timeframe)
    if not isinstance(candles, Candles) or isinstance(candles, HigherCandles):
        raise StrategyError(
            f"higher({type(candles).__name__}, {frame!r}): expected the candles that a strategy "
            "gets, or the function of another higher (for a table: resample)"
        )
    if function is not None and not callable(function):
        raise StrategyError(
            f"higher(candles, {frame!r}, {function!r}): expected a function of the higher candles, "
            "such as lambda h: sma(h.close, 20)"
        )
    graph = graph_of((candles.close,))
    if graph is None:
        return _on_arrays(candles, frame, function)
    return _traced(graph, frame, function)


def _traced(graph: Graph, frame: str, function: Callable[[Candles], Any] | None) -> Any:
    inner = graph.higher(frame)
    columns = Candles(*map(inner.column, COLUMNS))
    if function is None:
        return HigherCandles(*(_seen(graph, frame, getattr(columns, n)) for n in COLUMNS))
    inner.left = ""
    answer = function(columns)
    if inner.left:  # a refusal that some library swallowed
        raise graph.refusal(inner.left)
    if not isinstance(answer, Node):
        raise _no_series(frame, answer)
    root = inner.lift(answer)
    if root.kind == "number":
        return _seen(graph, frame, root)
    # A condition comes as 1, 0 or, where it is unknown, NaN.
    number = inner.node("number", "where", (root, inner.constant(1.0), inner.constant(0.0)))
    return _seen(graph, frame, number) > 0.5


def _seen(graph: Graph, frame: str, root: Node) -> Node:
    return graph.node("number", "higher", (), Seen(frame, root))


def _on_arrays(candles: Candles, frame: str, function: Callable[[Candles], Any] | None) -> Any:
    coarse = Coarse({name: getattr(candles, name) for name in COLUMNS}, frame)
    outside = watched()
    if outside is not None:
        outside.wait_for(coarse.first_known(0))
    bars = Candles(**coarse.columns)
    if function is None:
        return HigherCandles(*(coarse.at_closes(getattr(bars, name)) for name in COLUMNS))
    with watch_warmup() as inside:  # it counts higher bars
        answer = function(bars)
    if outside is not None:
        outside.wait_for(coarse.first_known(inside.first_known))
    values = np.asarray(answer)
    if values.shape != (len(bars.close),) or values.dtype.kind not in "biuf":
        raise _no_series(frame, answer)
    return coarse.at_closes(values)


def _no_series(frame: str, answer: Any) -> StrategyError:
    one_of = ""
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        one_of = f"; of {' '.join(answer._fields)} take one, as in h: ... .{answer._fields[0]}"
    return StrategyError(
        f"the function of higher(candles, {frame!r}, ...) gave back a {type(answer).__name__}; "
        f"expected a series or a condition, with a value for each of its {frame} bars{one_of}"
    )
