"""The whole pipeline on markets with a known answer: sweep, honesty, walk-forward.

Where there is nothing, nothing may be found, over 400 markets; where there is something, it must
be. All seeds are fixed: what is measured here is the same at every run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import astraquant as aq
from astraquant import markets
from astraquant.honesty import Honesty
from astraquant.indicators import previous
from astraquant.strategies import where
from astraquant.timeframes import bars_per_year

YEAR = math.sqrt(bars_per_year("1h"))
FREE: dict[str, Any] = {"cost": 0.0}
SEEDS, BARS = 400, 600
# An even number of trials: of an odd one the middle rank counts as overfitted, and noise gives more
# than one half.
FEW = {"back": [1, 2, 3, 5, 8, 13, 21, 34], "side": [1, -1]}
MANY = {"back": range(1, 21), "side": [1, -1]}


@aq.strategy
def lean(candles: Any, back: int = 1, side: int = 1) -> Any:
    """With the move of the last bars (side 1) or against it (-1); always in the market."""
    return where(candles.close > previous(candles.close, back), side, -side)


@aq.strategy
def below(candles: Any, level: float = 100.0) -> Any:
    """Long below a level, short above it."""
    return where(candles.close < level, 1, -1)


@aq.strategy
def in_hour(candles: Any, hour: int = 0, side: int = 1) -> Any:
    """Holds one hour of the day, as decided at the close of the bar before; not traced."""
    next_hour = (np.asarray(candles.time) // 3_600_000 + 1) % 24
    return np.where(next_hour == hour, side, 0)


def a_bar(annual: float) -> float:
    return annual / YEAR


def sharpe(result: aq.WalkForward | aq.Backtest) -> float:
    """Of a bar, as the oracles give it."""
    return a_bar(result.metrics["sharpe"])


def band(rate: float) -> tuple[float, float]:
    """Between which shares of the seeds 999 of 1,000 samples of a true rate lie."""
    low, high = binom.ppf([0.0005, 0.9995], SEEDS, rate)
    return low / SEEDS, high / SEEDS


@dataclass(frozen=True)
class Found:
    """What the pipeline says of one random walk."""

    pbo: float
    deflated: float
    undeflated: float  # probability that the best has an edge, had nothing else been tried
    named: float  # the same of a row that was named beforehand
    white: float
    hansen: float
    walked: float  # Sharpe ratio of a bar out of sample
    covered: bool  # by the interval of that: the true ratio, 0


def look_at(seed: int) -> Found:
    candles = markets.random_walk(BARS, seed=seed).candles
    sweep = aq.sweep(candles, lean, **FREE, **FEW)
    honesty = sweep.honesty(8)  # 70 splits: the 12,870 of 16 blocks take more than twice as long
    walk = aq.walk_forward(candles, lean, train="12d", test="7d", **FREE, **FEW)
    low, high = walk.interval
    best, named = a_bar(honesty.luck.sharpe), a_bar(sweep.table.loc[(1, 1), "sharpe"])
    return Found(
        honesty.pbo.probability,
        honesty.luck.deflated,
        aq.statistics.probabilistic_sharpe(best, BARS),
        aq.statistics.probabilistic_sharpe(named, BARS),
        honesty.reality_check.white,
        honesty.reality_check.hansen,
        sharpe(walk),
        low <= 0.0 <= high,
    )


@pytest.fixture(scope="module")
def nothing() -> list[Found]:
    """400 random walks, gone through once for all tests."""
    return [look_at(seed) for seed in range(SEEDS)]


def share(cases: Iterable[bool]) -> float:
    return float(np.mean(list(cases)))


def test_on_random_walks_the_best_of_one_half_is_anywhere_in_the_other(nothing):
    found = [each.pbo for each in nothing]
    assert 0.45 <= np.mean(found) <= 0.55
    assert np.std(found) > 0.1  # a single one says little: that is what the null band is for


def test_on_random_walks_deflation_raises_no_more_false_alarms_than_it_says(nothing):
    assert share(each.deflated > 0.95 for each in nothing) <= band(0.05)[1]
    # What it prevents: as if the best had been the only trial.
    assert share(each.undeflated > 0.95 for each in nothing) > 4 * band(0.05)[1]


def test_on_random_walks_a_row_named_beforehand_is_alarming_as_often_as_it_should(nothing):
    low, high = band(0.05)
    assert low <= share(each.named > 0.95 for each in nothing) <= high
    assert low <= share(each.named < 0.05 for each in nothing) <= high


@pytest.mark.parametrize("which", ["white", "hansen"])
def test_on_random_walks_the_reality_check_rejects_no_more_than_it_says(nothing, which):
    assert share(getattr(each, which) <= 0.05 for each in nothing) <= band(0.05)[1]


def test_on_random_walks_the_interval_of_a_walk_forward_covers_nothing(nothing):
    assert share(each.covered for each in nothing) >= band(0.95)[0]


def test_on_random_walks_a_walk_forward_earns_nothing(nothing):
    traded = BARS - 12 * 24
    assert abs(np.mean([each.walked for each in nothing])) < 3.3 / math.sqrt(SEEDS * traded)


def test_on_random_walks_a_walk_forward_pays_its_costs():
    found = []
    for seed in range(20):
        candles = markets.random_walk(2_000, seed=seed).candles
        walk = aq.walk_forward(candles, lean, train="30d", test="10d", cost=0.001, **FEW)
        assert walk.metrics["total_return"] < walk.metrics["gross_return"]
        found.append(sharpe(walk))
    assert np.mean(found) < -3 * np.std(found, ddof=1) / math.sqrt(len(found))


def check_survives(honesty: Honesty) -> None:
    """Nothing that honesty asks speaks against the best row."""
    assert honesty.luck.deflated > 0.95
    assert honesty.pbo.probability < 0.05
    assert honesty.reality_check.white < 0.05
    assert honesty.reality_check.hansen < 0.05


def test_where_returns_lean_it_is_found_and_earned_out_of_sample():
    found = []
    for seed in range(3):
        market = markets.ar1(20_000, 0.2, seed=seed)
        sweep = aq.sweep(market.candles, lean, **FREE, **MANY)
        assert sweep.best().name == (1, 1)
        check_survives(sweep.honesty())
        walk = aq.walk_forward(market.candles, lean, train="125d", test="60d", **FREE, **MANY)
        assert walk.interval[0] > 0
        found.append(sharpe(walk))
    assert np.mean(found) >= 0.85 * market.oracle["sharpe"]


def test_after_a_flip_a_walk_forward_beats_what_never_changes():
    every, train, seeds = 3_000, 750, range(4)
    static = []
    for seed in seeds:
        # Tested on five whole regimes, so that the oracle of as many bars is that of the tests.
        market = markets.regime_flip(6 * every, 0.2, every, seed=seed)
        start = market.candles.index[every - train]
        walk = aq.walk_forward(
            market.candles, lean, train=f"{train}h", test="250h", start=start, **FREE, **MANY
        )
        earned = walk.comparison["sharpe"]
        assert earned["walk-forward"] > earned["best static choice, in hindsight"]
        assert len(walk.backtest.equity) == 5 * every
        static.append(sharpe(walk.static))
    known = markets.regime_flip(5 * every, 0.2, every).oracle["static_sharpe"]
    assert np.mean(static) == pytest.approx(known, abs=3 / math.sqrt(len(seeds) * 5 * every))


def test_where_the_price_is_drawn_back_the_level_is_found():
    market = markets.ornstein_uhlenbeck(6_000)
    grid = {"level": [97 + 0.5 * step for step in range(13)]}
    sweep = aq.sweep(market.candles, below, **FREE, **grid)
    assert sweep.best().name == (markets.PRICE,)
    check_survives(sweep.honesty())
    walk = aq.walk_forward(market.candles, below, train="60d", test="30d", **FREE, **grid)
    assert sharpe(walk) >= 0.85 * market.oracle["sharpe"]


def test_where_hours_differ_one_is_found_and_held_on_its_right_side():
    market = markets.hidden_season(6_000, drift=0.5)
    grid = {"hour": range(24), "side": [1, -1]}
    sweep = aq.sweep(market.candles, in_hour, **FREE, **grid)
    check_survives(sweep.honesty())
    walk = aq.walk_forward(market.candles, in_hour, train="60d", test="60d", **FREE, **grid)
    assert walk.interval[0] > 0
    rising, rest = market.answer.split(" rise by ")
    falling = rest.split(" fall as much")[0]
    windows = walk.windows
    for hour, side in [sweep.best().name, *zip(windows["hour"], windows["side"], strict=True)]:
        assert f"{hour:02d}" in (rising if side == 1 else falling)
