"""White's and Hansen's tests: a slow twin on the same draws, arch, how often noise is rejected."""

from __future__ import annotations

import math

import naive_statistics as naive
import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import SPA
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pbo import summed

from astraquant import _resampled
from astraquant.errors import DataError
from astraquant.statistics import RealityCheck, reality_check, reality_check_of_sums


def noise(seed: int, length: int, count: int, mean: float = 0.0, spread: float = 1.0) -> np.ndarray:
    """Columns of their own means and deviations."""
    random = np.random.default_rng(seed)
    returns = random.standard_normal((length, count)) * random.uniform(0.5, 2.0, count)
    return returns + mean + spread * random.uniform(-0.3, 0.3, count)


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(5, 60), st.integers(1, 8), st.floats(-0.5, 0.5))
def test_it_is_a_plain_loop_over_the_same_draws(
    seed: int, length: int, count: int, mean: float
) -> None:
    returns = noise(seed, length, count, mean)
    found = reality_check(returns, block=3, draws=40, seed=seed)
    drawn = np.concatenate(list(_resampled.stationary(length, 3, 40, seed)))
    assert (found.white, found.hansen) == naive.reality_check(returns, drawn)
    scores = math.sqrt(length) * returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    assert found.best == scores.argmax()
    assert found.statistic == pytest.approx(scores.max(), rel=1e-9)


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(2, 16), st.integers(1, 6), st.floats(-0.5, 0.5))
def test_blocks_are_a_plain_loop_over_the_same_draws(
    seed: int, blocks: int, count: int, mean: float
) -> None:
    random = np.random.default_rng(seed)
    trials = [
        [random.standard_normal(random.integers(2, 9)) + mean for _ in range(blocks)]
        for _ in range(count)
    ]
    found = reality_check_of_sums(*summed(trials), draws=40, seed=seed)
    drawn = np.concatenate(list(_resampled.blockwise(blocks, 40, seed, count)))
    widen = _resampled.widening(blocks, 40, seed)
    assert (found.white, found.hansen) == naive.reality_check_of_blocks(trials, drawn, widen)


@pytest.mark.parametrize(("seed", "mean"), [(1, 0.0), (2, 0.05), (3, 0.1), (4, -0.1)])
def test_arch_agrees_on_standardised_columns(seed: int, mean: float) -> None:
    """It leaves them as they are, but for the bound beyond which Hansen's variant lets go."""
    returns = noise(seed, 250, 12, mean, spread=0.0)
    returns[:, :4] -= 1.0  # so bad that no bound keeps them
    ours = reality_check(returns, block=5, draws=2000, seed=seed)
    scaled = returns / returns.std(axis=0, ddof=1)
    theirs = SPA(np.zeros(250), -scaled, block_size=5, reps=1000, seed=seed)
    theirs.compute()
    assert ours.white == pytest.approx(theirs.pvalues["upper"], abs=0.06)
    assert ours.hansen == pytest.approx(theirs.pvalues["consistent"], abs=0.06)


def test_merit_is_found_and_bad_trials_do_not_hide_it_from_hansen() -> None:
    returns = noise(7, 500, 50, spread=0.0)
    returns[:, 13] += 0.25 * returns[:, 13].std()
    found = reality_check(pd.DataFrame(returns).add_prefix("trial "))
    assert found.best == "trial 13"
    assert found.white < 0.01
    assert found.hansen < 0.01
    weak = noise(8, 500, 300, mean=-0.6, spread=0.0)
    weak[:, 0] += 0.6 + 0.1 * weak[:, 0].std()
    found = reality_check(weak)
    assert found.hansen < 0.05 < found.white


def test_unscaled_columns_do_not_matter() -> None:
    """A column a million times as wild as another is no better for it."""
    returns = noise(9, 200, 6)
    factors = 10.0 ** np.arange(-3, 3)
    one, other = reality_check(returns), reality_check(returns * factors)
    assert (one.white, one.hansen, one.best) == (other.white, other.hansen, other.best)


def rejections(check, level: float, samples: int) -> float:
    """How often Hansen's variant, the less cautious one, rejects."""
    return float(np.mean([check(seed).hansen <= level for seed in range(samples)]))


def test_noise_is_rejected_as_seldom_as_it_says() -> None:
    """200 samples of 20 columns: three standard errors above the level."""

    def check(seed: int) -> RealityCheck:
        returns = np.random.default_rng(seed).standard_normal((160, 20))
        return reality_check(returns, draws=99, seed=seed)

    assert rejections(check, 0.1, 200) <= 0.1 + 3 * math.sqrt(0.09 / 200)


@pytest.mark.parametrize("count", [1, 20])
def test_blocks_reject_noise_rather_too_seldom(count: int) -> None:
    def check(seed: int) -> RealityCheck:
        parts = np.random.default_rng(seed).standard_normal((16, 20, count))
        sums, squares = parts.sum(axis=1).T, (parts**2).sum(axis=1).T
        return reality_check_of_sums(sums, squares, np.full(16, 20), draws=99, seed=seed)

    assert rejections(check, 0.1, 300) <= 0.1 + 2.5 * math.sqrt(0.09 / 300)


def test_blocks_find_merit_of_any_timeframe() -> None:
    random = np.random.default_rng(3)
    trials = []
    for k in range(30):
        bars = (10, 40)[k % 2]
        trials.append([random.standard_normal(bars) + 0.5 * (k == 16) for _ in range(16)])
    found = reality_check_of_sums(*summed(trials))
    assert found.best == 16
    assert found.white < 0.01
    assert found.hansen < 0.01
    assert found.block == 25.0


def test_what_was_left_out_is_told_and_a_result_is_short_to_print() -> None:
    table = pd.DataFrame(noise(1, 64, 3), columns=["a", "b", "c"])
    table["flat"], table.loc[5, "b"] = 1.0, math.nan
    found = reality_check(table, draws=99)
    assert found.left_out == ("b", "flat")
    assert (found.trials, found.draws, found.block) == (2, 99, pytest.approx(4.0))
    assert found.best in ("a", "c")
    text = repr(found)
    assert text == repr(reality_check(table, draws=99))
    assert text.startswith("RealityCheck(white=")
    assert text.endswith("trials=2, block=4.0, draws=99, left_out=2)")
    clean = reality_check(table[["a", "c"]], draws=99)
    assert (found.white, found.hansen) == (clean.white, clean.hansen)


@pytest.mark.parametrize(
    "returns", [np.full((40, 5), math.nan), np.zeros((40, 5)), np.ones((40, 0))]
)
def test_where_nothing_varies_there_is_a_reason(returns: np.ndarray) -> None:
    parts = returns.reshape(4, 10, returns.shape[1])
    sums, squares = parts.sum(axis=1).T, (parts**2).sum(axis=1).T
    for found in (reality_check(returns), reality_check_of_sums(sums, squares, [10] * 4)):
        assert np.isnan([found.white, found.hansen, found.statistic]).all()
        assert found.best is None
        assert f"none of {returns.shape[1]} trials varies" in found.reason
        assert found.reason in repr(found)


def test_many_columns_are_worked_off_in_pieces() -> None:
    returns = noise(2, 20, 3)
    wide = np.repeat(returns, 1 + _resampled.PIECE // 30, axis=1)
    assert wide.shape[1] * 10 > _resampled.PIECE
    one, other = reality_check(returns, draws=30), reality_check(wide, draws=30)
    assert (one.white, one.hansen) == (other.white, other.hansen)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: reality_check(np.ones((1, 3))), "1 observations; expected 2 at least"),
        (lambda: reality_check(np.ones(9)), r"shape \(9,\); expected \(observations, trials\)"),
        (lambda: reality_check(np.ones((9, 3)), block=10), "block is 10; .* to the 9 observations"),
        (lambda: reality_check(np.ones((9, 3)), block=0.5), "block is 0.5"),
        (lambda: reality_check(np.ones((9, 3)), draws=0), "draws is 0; expected a whole number"),
        (lambda: reality_check_of_sums([[1.0]], [[1.0]], [9]), "1 time blocks; expected 2"),
        (lambda: reality_check_of_sums([[1, 2]], [[1, 4]], [9]), "each of the 2 blocks"),
    ],
)
def test_nonsense_is_refused(wrong, words: str) -> None:
    with pytest.raises(DataError, match=words):
        wrong()


def test_the_largest_statistic_below_nothing_speaks_for_luck() -> None:
    found = reality_check(noise(4, 100, 5, mean=-1.0))
    assert found.statistic < 0
    assert found.hansen == 1.0
