"""Whole parameter planes by the sweep engine: of the crossover, and of other strategies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import astraquant as aq
from astraquant.strategies import (
    bollinger_reversion,
    donchian_breakout,
    ma_cross,
    macd_cross,
    momentum,
    rsi_reversion,
)

from .crossing import COST, Pairs
from .harness import Case
from .inputs import Inputs

WINDOWS = range(5, 205)


@dataclass(frozen=True)
class Plane:
    """What is swept: a strategy, its grid, and options that aren't the default.

    ``must``, ``aim``: how many times as long as the crossover it may take, if it was asked for.
    """

    strategy: Any
    grid: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    must: float | None = 3.0
    aim: float | None = 2.0


def windows(count: int) -> dict[str, range]:
    """The grid of all pairs of ``count`` windows from 5 on."""
    return {"short": range(5, 4 + count), "long": range(6, 5 + count)}


# All have 19,900 trials, the last three 19,840; windows of about the same span, but for the last.
LONG, BUSY = "ma_cross, long", "macd_cross, short windows"
PLANES = {
    LONG: Plane(ma_cross, windows(len(WINDOWS))),
    "ma_cross, short": Plane(ma_cross, windows(len(WINDOWS)), {"direction": "short"}),
    "ma_cross, both": Plane(ma_cross, windows(len(WINDOWS)), {"direction": "both"}),
    "ma_cross, ema": Plane(ma_cross, {**windows(len(WINDOWS)), "kind": ["ema"]}),
    "rsi_reversion, window × lower × upper": Plane(
        rsi_reversion,
        {"window": range(7, 27), "lower": range(15, 46), "upper": range(50, 82)},
    ),
    "macd_cross, fast × slow × signal": Plane(
        macd_cross,
        {"fast": range(5, 105, 5), "slow": range(106, 202, 3), "signal": range(5, 191, 6)},
    ),
    # Signals of 3 to 33 bars trade four times as often as any of the others.
    BUSY: Plane(
        macd_cross,
        {"fast": range(5, 25), "slow": range(26, 58), "signal": range(3, 34)},
        must=None,
        aim=None,
    ),
}
# What `strategies` measures beside the first three: built-in strategies, and stops.
MORE = {
    "ma_cross, wma": Plane(ma_cross, {**windows(len(WINDOWS)), "kind": ["wma"]}),
    "macd_cross, fast × slow": Plane(
        macd_cross, {"fast": range(5, 104), "slow": range(104, 305)}, must=None, aim=None
    ),
    "bollinger_reversion, window × width": Plane(
        bollinger_reversion,
        {"window": range(5, 204), "width": [k / 25 for k in range(20, 120)]},
    ),
    "donchian_breakout, enter × leave": Plane(
        donchian_breakout, {"enter": range(5, 204), "leave": range(5, 105)}
    ),
    "momentum, window × threshold": Plane(
        momentum, {"window": range(5, 204), "threshold": [k / 5_000 for k in range(100)]}
    ),
    "ma_cross, a stop loss of 2 %": Plane(
        ma_cross, windows(len(WINDOWS)), {"stop_loss": 0.02}, aim=None
    ),
    "ma_cross, a stop loss of 0.5 % and a target of 1 %": Plane(
        ma_cross, windows(len(WINDOWS)), {"stop_loss": 0.005, "take_profit": 0.01}, aim=None
    ),
    "ma_cross, 199 pairs × 100 stop losses": Plane(
        ma_cross,
        {"short": range(5, 204), "long": [204], "stop_loss": [k / 1000 for k in range(1, 101)]},
        aim=None,
    ),
    "ma_cross, a trailing stop of 1 %": Plane(
        ma_cross, windows(len(WINDOWS)), {"trailing_stop": 0.01}, 6.0, None
    ),
    "ma_cross, both, with all three stops": Plane(
        ma_cross,
        windows(len(WINDOWS)),
        {"direction": "both", "stop_loss": 0.02, "take_profit": 0.05, "trailing_stop": 0.03},
        6.0,
        None,
    ),
}
PAIRS: Pairs = list(itertools.combinations(WINDOWS, 2))


def sweep(candles: pd.DataFrame, plane: Plane) -> aq.Sweep:
    return aq.sweep(candles, plane.strategy, cost=COST, **plane.options, **plane.grid)


def crossover(candles: pd.DataFrame) -> aq.Sweep:
    """The plane that all others are compared with."""
    return sweep(candles, PLANES[LONG])


def spread(count: int) -> Pairs:
    """``count`` of all pairs, evenly spread over the plane."""
    step = len(PAIRS) // count
    return PAIRS[step // 2 :: step][:count]


def by_engine(done: aq.Sweep) -> None:
    """Fail unless the sweep engine did it: else the slow way would be measured under its name."""
    engine = done.passport["engine"]
    assert engine.startswith("compiled"), f"{done!r} was not run by the engine: {engine}"
    assert "on arrays" not in engine, f"{done!r} was traced in part: {engine}"


def same_rows(*sweeps: aq.Sweep) -> None:
    """Some rows of each sweep equal their backtests."""
    for done in sweeps:
        by_engine(done)
        rows = done.grid.rows
        for row in rows[:: max(1, len(rows) // 3)]:
            figures = done.backtest(row).metrics[list(done.table.columns)]
            np.testing.assert_allclose(done.table.loc[row], figures, rtol=1e-9, atol=1e-10)


def others(inputs: Inputs) -> list[Case]:
    """Planes of as many trials, in turns with that of the crossover."""
    tools = {name: partial(sweep, inputs.candles, plane) for name, plane in PLANES.items()}
    return [Case(others_title(inputs), tools, same_rows)]


def others_title(inputs: Inputs) -> str:
    return f"about {len(PAIRS):,} trials, {len(inputs.candles):,} minutes"
