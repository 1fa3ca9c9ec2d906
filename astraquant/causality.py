"""Whether a strategy looks ahead, and how much past it needs.

`check_strategy` runs a strategy on histories whose end is cut off or replaced by another future:
what it decided before must not change. A pass is strong evidence, never a proof: a look ahead that
changes no decision at the bars tried stays unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .candles import check_candles
from .errors import DataError, StrategyError
from .runs import check_strategy_type
from .strategies.definition import Strategy
from .strategies.running import Tracer, columns_of, decide, decide_on_arrays, describe

Array = np.ndarray[Any, np.dtype[Any]]
Columns = Mapping[str, Array]
Decide = Callable[[Columns], Array]

CUTS = 16  # bars at which the future is hidden and replaced
STARTS = 60  # histories that begin elsewhere
LENGTHS = (50, 100, 250, 500, 1_000, 2_000, 4_000)
MOST_BARS = 20_000  # of a longer table the last ones are used, so that a check takes seconds
FEWEST_BARS = 50
_SIDES = {-1: "-1 (short)", 0: "0 (flat)", 1: "1 (long)"}


@dataclass(frozen=True, slots=True)
class CausalityReport:
    """What `check_strategy` found; to get one, every check has passed.

    ``traced``: whether sweeps run it at full speed (else ``reason`` says why not). ``changes``: how
    often its position changes in the bars used. ``needs``: after how many bars its answer no longer
    depended on where history starts, in the starts tried (an estimate; None: not within the bars
    given). ``disagreement``: number of bars -> share of starts whose answer still differed.
    """

    strategy: str
    bars: int
    cuts: int
    traced: bool
    reason: str
    changes: int
    needs: int | None
    disagreement: dict[int, float]

    def __repr__(self) -> str:
        past = f"needs about {self.needs:,} bars" if self.needs else "needs more bars than these"
        traced = "traced" if self.traced else f"runs on arrays ({self.reason})"
        return (
            f"<{self.strategy}: no look ahead found at {self.cuts} bars of {self.bars:,}; "
            f"{past}; {traced}; {self.changes:,} changes of position>"
        )


def check_strategy(strategy: Strategy, candles: pd.DataFrame, **parameters: Any) -> CausalityReport:
    """Check that ``strategy`` keeps the contract on ``candles``; return a small report.

    Hides the future at several bars, and replaces it by another; compares the traced program with
    the function on plain arrays; calls it again after other candles (nothing may leak from call to
    call). Raises `StrategyError` naming the first bar whose past answer changed, and for answers of
    wrong shape or range. At least 50 candles; of more than 20,000 the last are used.
    """
    check_strategy_type(strategy)
    bound = strategy.bind(parameters)
    name = describe(strategy, bound)
    table = check_candles(candles)
    if len(table) < FEWEST_BARS:
        raise DataError(
            f"{len(table)} candles are too few to check a strategy; expected {FEWEST_BARS} or "
            "more, better some thousands"
        )
    columns = columns_of(table.iloc[-MOST_BARS:])
    tracer = Tracer(strategy)

    def answer(seen: Columns) -> Array:
        return decide(tracer, seen, bound).position

    decision = decide(tracer, columns, bound)
    full = decision.position
    _compare(name, columns, full, answer(columns), "when it was called again on the same candles")
    cuts = _cuts(len(full))
    _check_hidden(name, columns, full, answer, cuts)
    _check_replaced(name, columns, full, answer, cuts)
    _compare(name, columns, full, answer(columns), "after it had been called on other candles")
    if decision.program is not None:
        _check_arrays(name, strategy, columns, full, bound)
    disagreement = _measure_start(columns, full, answer)
    return CausalityReport(
        strategy=name,
        bars=len(full),
        cuts=len(cuts),
        traced=decision.program is not None,
        reason=decision.reason,
        changes=int(np.count_nonzero(np.diff(full))),
        needs=_needed(disagreement),
        disagreement=disagreement,
    )


def _cuts(bars: int) -> list[int]:
    """How many bars to show: places spread over the table, drawn once and for all."""
    drawn = np.random.default_rng(0).integers(bars // 4, bars, size=CUTS)
    return sorted({int(cut) for cut in drawn})


def _first_bars(columns: Columns, bars: int) -> Columns:
    return {name: values[:bars] for name, values in columns.items()}


def _check_hidden(
    name: str, columns: Columns, full: Array, answer: Decide, cuts: Sequence[int]
) -> None:
    for cut in cuts:
        seen = _first_bars(columns, cut)
        _compare(
            name,
            columns,
            full[:cut],
            answer(seen),
            f"when bars after {_when(columns, cut - 1)} were hidden",
        )


def _check_replaced(
    name: str, columns: Columns, full: Array, answer: Decide, cuts: Sequence[int]
) -> None:
    """Another future: prices and volumes from the cut on are scaled, up and down in turn."""
    for i, cut in enumerate(cuts):
        factor = (3.0, 1 / 3.0)[i % 2]
        seen = {}
        for column, values in columns.items():
            changed = values.copy()
            if column != "time":
                changed[cut:] *= factor
            seen[column] = changed
        _compare(
            name,
            columns,
            full[:cut],
            answer(seen)[:cut],
            f"when prices after {_when(columns, cut - 1)} were multiplied by {factor:.2g}",
        )


def _check_arrays(
    name: str, strategy: Strategy, columns: Columns, full: Array, bound: Mapping[str, Any]
) -> None:
    """Compare with the function on plain arrays, which has rules of its own for the unknown."""
    position, known = decide_on_arrays(strategy, columns, bound)
    _compare(name, columns, full[known:], position[known:], "when it ran on plain arrays", known)


def _compare(
    name: str, columns: Columns, expected: Array, got: Array, when: str, first: int = 0
) -> None:
    differ = expected != got
    if not differ.any():
        return
    place = int(np.argmax(differ))
    once, now = _SIDES[int(expected[place])], _SIDES[int(got[place])]
    raise StrategyError(
        f"{name} changed its mind about the past: at {_when(columns, first + place)} it held "
        f"{once}, but {now} {when} ({_count(differ)}). What is decided at a close "
        "may use this bar and earlier ones only"
    )


def _count(differ: Array) -> str:
    bars = int(differ.sum())
    return f"{bars:,} bars differ" if bars > 1 else "that bar alone differs"


def _when(columns: Columns, bar: int) -> pd.Timestamp:
    return timeframes.from_ms(columns["time"][bar : bar + 1])[0]


def _measure_start(columns: Columns, full: Array, answer: Decide) -> dict[int, float]:
    """Number of bars -> share of histories of that length whose last answer differs."""
    lengths = [length for length in LENGTHS if length <= len(full) // 2]
    if not lengths:
        return {}
    longest = lengths[-1]
    starts = np.unique(np.linspace(1, len(full) - longest, STARTS, dtype=np.int64))
    differ = np.zeros(len(lengths))
    for start in starts:
        got = answer({n: values[start : start + longest] for n, values in columns.items()})
        ends = np.array(lengths) - 1
        differ += got[ends] != full[start + ends]
    return {n: float(d) / len(starts) for n, d in zip(lengths, differ, strict=True)}


def _needed(disagreement: Mapping[int, float]) -> int | None:
    """The shortest length from which on no start disagreed."""
    needed = None
    for length, share in sorted(disagreement.items(), reverse=True):
        if share > 0:
            break
        needed = length
    return needed
