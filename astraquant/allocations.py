"""What a portfolio wants to hold: weights decided at a close, from that close and earlier ones.

A weight is a share of equity, at least 0; those of one decision sum up to 1 at most and the rest is
cash. A symbol that is not known (yet) has weight 0.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .errors import AstraQuantError, DataError, StrategyError, unknown
from .estimates import ESTIMATED, estimated, find_estimate, returns_needed
from .slots import Slots, bind_strategy, decide_slots, is_pair
from .strategies.definition import Strategy
from .strategies.running import describe
from .universes import Universe, parse_length

Array = np.ndarray[Any, np.dtype[Any]]
NAMES = ("equal", *ESTIMATED)
ROUNDING = 1e-6  # an optimiser's weights may be off by as much, and are mended


@dataclass(frozen=True)
class Weights:
    """An allocation that gives weights: ``decide(universe, row)`` to one per symbol, or None.

    None: nothing is known at that close. ``lookback``: the text and the milliseconds of the past
    that it looks at; None: none but which symbols are listed.
    """

    title: str
    decide: Callable[[Universe, int], Array | None]
    lookback: tuple[str, int] | None = None


Plan = Weights | Slots


def make_plan(allocation: object, lookback: str, universe: Universe) -> Plan:
    """What ``allocation`` means over the symbols of ``universe``; `StrategyError` if nothing."""
    parse_length(lookback, "lookback")  # a mistyped one is told even where it is not needed
    if isinstance(allocation, str):
        return _named(allocation, lookback, universe)
    if isinstance(allocation, Strategy) or is_pair(allocation):
        bound = bind_strategy(allocation)
        return Slots(describe(*bound), dict.fromkeys(universe.symbols, bound))
    if isinstance(allocation, Mapping):
        _check_symbols(allocation, universe)
        if any(isinstance(value, Strategy) or is_pair(value) for value in allocation.values()):
            chosen = {symbol: bind_strategy(value) for symbol, value in allocation.items()}
            told = dict.fromkeys(describe(*bound) for bound in chosen.values())
            return Slots(" / ".join(told), chosen)
        return _fixed(allocation, universe)
    if callable(allocation):
        name = getattr(allocation, "__name__", type(allocation).__name__)
        past = _past(lookback, universe, 1)
        return Weights(name, functools.partial(_called, allocation, name, past[1]), past)
    raise StrategyError(
        f"allocation={allocation!r}: expected a name ({', '.join(NAMES)}), weights by symbol such "
        f'as {{"{universe.symbols[0]}": 1.0}}, a function of past closes, or strategies'
    )


def decide_targets(universe: Universe, plan: Plan, rebalance: str | None) -> Array:
    """The weights decided at the close of each row: (rows, symbols), NaN: leave the symbol alone.

    Weights are decided at the first close, not before `Universe.start`, at which any are known, and
    then at each close that is the first at or after the end of a bin of ``rebalance``. Once begun,
    a decision at which nothing is known is one for cash. Strategies decide for a symbol wherever
    its position changes, and at the ends of bins for all that are held.
    """
    if isinstance(plan, Slots):
        return decide_slots(universe, plan, rebalance)
    targets = np.full((len(universe.times), len(universe.symbols)), np.nan)
    row = universe.start
    while row < len(targets) and (weights := plan.decide(universe, row)) is None:
        row += 1
    if row == len(targets):
        return targets
    targets[row] = weights
    if rebalance is not None:
        later = np.flatnonzero(universe.ends_of(rebalance)[row + 1 :]) + row + 1
        for place in map(int, _with_progress(later)):
            known = plan.decide(universe, place)
            targets[place] = 0.0 if known is None else known
    return targets


def _with_progress(rows: Array) -> Iterable[Any]:
    """``rows`` one by one; where that takes more than a second, with a bar that shows how far."""
    from tqdm.auto import tqdm

    quiet = bool(os.environ.get("TQDM_DISABLE"))  # which tqdm's bar for notebooks overlooks
    bar: Iterable[Any] = tqdm(rows, unit="decision", delay=1, leave=False, disable=quiet)
    return bar


def check_rebalance(rebalance: object, timeframe: str) -> str | None:
    """``rebalance`` if bars of ``timeframe`` can follow it, else `DataError`."""
    if rebalance is None:
        return None
    text = timeframes.check_timeframe(rebalance)
    if not timeframes.is_multiple(text, timeframe):
        raise DataError(
            f"rebalance={text!r} is no whole multiple of the bars' {timeframe}. Take {timeframe} "
            "itself, a longer timeframe, or None: hold what was bought first"
        )
    return text


def _named(name: str, lookback: str, universe: Universe) -> Weights:
    if name not in NAMES:
        raise StrategyError(unknown("allocation", name, NAMES))
    if name == "equal":
        return Weights(name, _equal)
    estimate, past = (
        find_estimate(name),
        _past(lookback, universe, returns_needed(len(universe.symbols)) + 1),
    )

    def decide(universe: Universe, row: int) -> Array | None:
        weights = estimated(estimate, name, past[1], universe, row)
        return None if weights is None else _checked(weights, universe, name)

    return Weights(name, decide, past)


def _past(lookback: object, universe: Universe, needed: int) -> tuple[str, int]:
    """``lookback`` and its milliseconds, if they hold as many closes as are needed."""
    length = parse_length(lookback, "lookback")
    closes = length // timeframes.duration(universe.timeframe)
    if closes < needed:
        raise DataError(
            f"lookback={lookback!r} holds {closes} closes of {universe.timeframe} bars; expected "
            f"{needed} or more for {len(universe.symbols)} symbol(s). Take a longer one"
        )
    return str(lookback).strip(), length


def _check_symbols(given: Mapping[Any, Any], universe: Universe) -> None:
    if not given:
        raise StrategyError("the allocation names no symbol; expected one at least")
    for symbol in given:
        if symbol not in universe.symbols:
            raise StrategyError(unknown("symbol", symbol, universe.symbols))


def _fixed(allocation: Mapping[Any, Any], universe: Universe) -> Weights:
    weights = _checked(allocation, universe, "the allocation")
    told = [f"{s} {w:.4g}" for s, w in zip(universe.symbols, weights, strict=True) if w > 0]

    def decide(universe: Universe, row: int) -> Array:
        return np.where(universe.first_bars <= row, weights, 0.0)

    return Weights(", ".join(told) or "cash", decide)


def _equal(universe: Universe, row: int) -> Array | None:
    listed = universe.first_bars <= row
    return listed / listed.sum() if listed.any() else None


def _called(
    function: Callable[[pd.DataFrame], Any],
    name: str,
    length: int,
    universe: Universe,
    row: int,
) -> Array | None:
    """What a function says of the closes in its window, which are all that it gets to see."""
    if not universe.is_old_enough(row, length).any():
        return None
    rows = universe.window(row, length)
    times = timeframes.from_ms(universe.times[rows])
    closes = pd.DataFrame(
        universe.columns["close"][rows].copy(), index=times, columns=list(universe.symbols)
    )
    when = f"{name} at {times[-1]}"
    try:
        answer = function(closes)
    except AstraQuantError:
        raise
    except Exception as error:
        raise StrategyError(f"{when} raised {type(error).__name__}: {error}") from error
    return np.where(universe.first_bars <= row, _checked(answer, universe, when), 0.0)


def _checked(answer: object, universe: Universe, who: str) -> Array:
    """Weights in the order of the symbols, or `StrategyError` naming the first bad one."""
    symbols = universe.symbols
    if answer is None:
        raise StrategyError(
            f"{who} gives None; expected weights by symbol, or one for each of "
            f"{', '.join(symbols)}: does it return them? (All 0: cash.)"
        )
    if isinstance(answer, pd.Series):
        answer = answer.to_dict()
    if isinstance(answer, Mapping):
        for symbol in answer:
            if symbol not in symbols:
                raise StrategyError(f"{who}: {unknown('symbol', symbol, symbols)}")
        answer = [answer.get(symbol, 0.0) for symbol in symbols]
    try:
        weights = np.array(answer, np.float64)  # a copy: it may be somebody's own array
    except (TypeError, ValueError) as error:
        raise StrategyError(
            f"{who} gives {answer!r}; expected a number for each symbol, or weights by symbol"
        ) from error
    if weights.shape != (len(symbols),):
        raise StrategyError(
            f"{who} gives weights of shape {weights.shape}; expected {len(symbols)}, one for each "
            f"of {', '.join(symbols)}"
        )
    for symbol, weight in zip(symbols, map(float, weights), strict=True):
        if not math.isfinite(weight):
            raise StrategyError(f"{who}: the weight of {symbol} is {weight}; expected a number")
        if weight < -ROUNDING:
            raise StrategyError(
                f"{who}: the weight of {symbol} is {weight:g}; expected 0 or more: a portfolio "
                "sells nothing short"
            )
    weights = weights.clip(0.0)
    if weights.sum() > 1.0 + ROUNDING:
        raise StrategyError(
            f"{who}: the weights sum up to {weights.sum():.6g}; expected 1 at most (the rest is "
            "cash): nothing is borrowed. Divide them by their sum"
        )
    return weights / max(float(weights.sum()), 1.0)
