"""Whether an allocation looks ahead.

`check_allocation` asks again what was decided before, with the future cut off or replaced by
another: no weight may change. A pass is strong evidence, never a proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .allocations import Plan, Weights, check_rebalance, decide_targets, make_plan
from .errors import DataError, StrategyError
from .slots import Slots
from .universes import Universe, make_universe

Array = np.ndarray[Any, np.dtype[Any]]

TRIED = 40  # decisions, spread over all of them
RUNS = 12  # of strategies: each goes through the whole table again
FACTORS = (3.0, 1 / 3.0)  # what the future's prices and volumes are multiplied by
# After 28 years a date falls on the same weekday again, so rules of the calendar hold; but nothing
# that was looked up by its time elsewhere is there.
ELSEWHERE = 28 * 1461 // 4 * timeframes.DAY
SAME = 1e-9  # weights that differ by less: sums of the same numbers in another place of the memory


@dataclass(frozen=True, slots=True)
class AllocationReport:
    """What `check_allocation` found; to get one, every check has passed.

    ``decisions``: how many there are in the candles given; ``tried``: at how many of them the
    future was hidden and replaced.
    """

    allocation: str
    bars: int
    decisions: int
    tried: int

    def __repr__(self) -> str:
        return (
            f"<{self.allocation}: no look ahead found at {self.tried:,} of {self.decisions:,} "
            f"decisions in {self.bars:,} bars>"
        )


def check_allocation(
    allocation: object,
    candles: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    rebalance: str | None = "1d",
    lookback: str = "30d",
    timeframe: str | None = None,
) -> AllocationReport:
    """Check that ``allocation`` decides from the past alone; return a small report.

    The arguments are those of `portfolio`. At decisions spread over the candles the future is
    hidden, then multiplied by some factor; weights decided up to there must stay. A function is
    also asked again (it may not remember), and with all its times 28 years later, on the same
    weekdays: one that looks prices up elsewhere by their time does not find them there.

    Raises `StrategyError` naming the first decision that changed, `DataError` if there is none.
    """
    universe = make_universe(candles, timeframe)
    pace = check_rebalance(rebalance, universe.timeframe)
    plan = make_plan(allocation, lookback, universe)
    targets = decide_targets(universe, plan, pace)
    rows = np.flatnonzero(~np.isnan(targets).all(axis=1))
    if not len(rows):
        past = f" and its lookback is {lookback}" if isinstance(plan, Weights) else ""
        raise DataError(
            f"{plan.title} decides nothing in {len(targets):,} bars{past}; give it more candles"
        )
    most = TRIED if isinstance(plan, Weights) else RUNS
    tried = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    for row in map(int, tried):
        _check_row(universe, plan, pace, targets, row)
    return AllocationReport(plan.title, len(targets), len(rows), len(tried))


def _check_row(
    universe: Universe, plan: Plan, rebalance: str | None, targets: Array, row: int
) -> None:
    for other, when in _variants(universe, row, isinstance(plan, Slots)):
        if isinstance(plan, Slots):
            got = decide_targets(other, plan, rebalance)[: row + 1]
            expected, first = targets[: row + 1], 0
        else:
            weights = plan.decide(other, row)
            got = np.zeros((1, targets.shape[1])) if weights is None else weights[None]
            expected, first = targets[row : row + 1], row
        same = np.isclose(got, expected, rtol=0.0, atol=SAME, equal_nan=True)
        if not same.all():
            at = int(np.argmin(same.all(axis=1)))
            _refuse(universe, plan.title, first + at, expected[at], got[at], when)


def _variants(universe: Universe, row: int, strategies: bool) -> Iterator[tuple[Universe, str]]:
    """The same past in front of other futures, and in what way they are other."""
    yield universe.cut(row + 1), f"when bars after {universe.time_of(row)} were hidden"
    if row + 1 < len(universe.times):
        for factor in FACTORS:
            changed = f"prices after {universe.time_of(row)} were multiplied by {factor:.2g}"
            yield universe.with_another_future(row + 1, factor), f"when {changed}"
    if not strategies:
        yield universe, "when it was asked again"
        yield universe.moved(ELSEWHERE), "with the same closes at times 28 years later"


def _refuse(
    universe: Universe, title: str, row: int, expected: Array, got: Array, when: str
) -> None:
    def told(weights: Array) -> str:
        pairs = zip(universe.symbols, weights, strict=True)
        return ", ".join(f"{symbol} {weight:.4g}" for symbol, weight in pairs)

    raise StrategyError(
        f"{title} changed its mind about the past: at {universe.time_of(row)} it decided "
        f"{told(expected)}, but {told(got)} {when} (nan: left alone). What is decided at a close "
        "may use this bar and earlier ones only"
    )
