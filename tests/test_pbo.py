"""The probability of backtest overfitting: known answers, a slow twin, what noise gives."""

from __future__ import annotations

import math

import naive_statistics as naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astraquant import _splits
from astraquant.errors import DataError
from astraquant.statistics import Pbo, pbo, pbo_of_sums


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [([3, 1, 2, 2], [1, 2.5, 1, 1], 4 / 6), ([3, 1, 0, 0], [0, 0, 2, 1.5], 1.0)],
)
def test_answers_worked_out_by_hand(one: list[float], other: list[float], answer: float) -> None:
    found = pbo(np.array([one, other]).T, blocks=4, metric="mean")
    assert found.probability == answer
    assert (found.splits, found.trials, found.reason) == (6, 2, "")


def test_columns_without_a_mean_are_always_overfitted() -> None:
    """Whatever was earned in one half was lost in the other."""
    random = np.random.default_rng(1)
    returns = random.standard_normal((320, 30))
    returns -= returns.mean(axis=0)
    found = pbo(returns / returns.std(axis=0), blocks=16)
    assert found.probability == 1.0
    assert found.loss == 1.0
    assert found.slope < -0.9


def standardised(seed: int, merit: float) -> np.ndarray:
    """100 columns of noise with exactly no mean, one of them moved to an annual Sharpe ratio."""
    returns = np.random.default_rng(seed).standard_normal((1000, 100))
    returns = (returns - returns.mean(axis=0)) / returns.std(axis=0, ddof=1)
    returns[:, 0] += merit / math.sqrt(252)
    return returns


def probability(returns: np.ndarray) -> float:
    """Without the band, which takes longer than the rest."""
    parts = np.array_split(returns, 16)
    sums = np.array([part.sum(axis=0) for part in parts]).T
    squares = np.array([(part**2).sum(axis=0) for part in parts]).T
    lengths = np.broadcast_to([float(len(part)) for part in parts], sums.shape)
    laid = _splits.arrange(sums, squares, lengths, np.ones(len(sums)))
    found = _splits.choose(laid, _splits.halves(16), by_mean=False)
    return float(np.mean(found.ranks <= 0.5))


@pytest.mark.parametrize(
    ("merit", "answer", "off"), [(1, 0.70, 0.02), (2, 0.09, 0.03), (3, 0.001, 0.002)]
)
def test_one_good_trial_among_a_hundred(merit: float, answer: float, off: float) -> None:
    found = np.mean([probability(standardised(seed, merit)) for seed in range(60)])
    assert found == pytest.approx(answer, abs=off)


def test_noise_is_at_one_half_on_average_and_far_from_it_alone() -> None:
    found = [
        probability(np.random.default_rng(seed).standard_normal((1000, 100))) for seed in range(100)
    ]
    assert np.mean(found) == pytest.approx(0.495, abs=0.04)
    assert min(found) < 0.3
    assert max(found) > 0.7


@st.composite
def searches(draw) -> dict:
    """Trials in blocks of any lengths, some equal, some flat in some blocks or throughout."""
    count = draw(st.sampled_from([2, 4, 6]))
    kinds = draw(st.integers(1, 3))
    lengths = draw(
        st.lists(
            st.lists(st.integers(2, 5), min_size=count, max_size=count),
            min_size=kinds,
            max_size=kinds,
        )
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trials, scale = [], []
    for _ in range(draw(st.integers(2, 9))):
        kind = int(random.integers(kinds))
        trials.append([random.integers(-1000, 1000, n) / 1024 for n in lengths[kind]])
        scale.append(1.0 + kind)
        if random.random() < 0.3:  # flat in one block, or in half of them
            for block in trials[-1][: random.choice([1, count // 2])]:
                block[:] = 0.0
        if random.random() < 0.3:  # the same again, now and then with another sign
            sign = random.choice([-1.0, 1.0])
            trials.append([sign * block for block in trials[-1]])
            scale.append(scale[-1])
    return {"trials": trials, "scale": scale}


def summed(trials: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sums = np.array([[block.sum() for block in blocks] for blocks in trials])
    squares = np.array([[(block**2).sum() for block in blocks] for blocks in trials])
    return sums, squares, np.array([[len(block) for block in blocks] for blocks in trials])


def ordered(found: Pbo, blocks: int) -> list[tuple[float, float, float]]:
    """What was chosen, in the order of `itertools.combinations` of the blocks in sample."""
    masks = _splits.halves(blocks)
    every = np.concatenate([masks, 2**blocks - 1 - masks]).tolist()
    place = {mask: i for i, mask in enumerate(every)}
    rows = [place[sum(1 << b for b in inside)] for inside, _ in naive.splits(blocks)]
    columns = (found.in_sample, found.out_of_sample, found.ranks)
    return [tuple(float(column[i]) for column in columns) for i in rows]


@settings(deadline=None, max_examples=60)
@given(searches())
def test_the_kernel_is_a_plain_cscv(search: dict) -> None:
    trials, scale = search["trials"], search["scale"]
    vary = [k for k, blocks in enumerate(trials) if np.concatenate(blocks).any()]
    found = pbo_of_sums(*summed(trials), scale=scale)
    assert found.left_out == tuple(k for k in range(len(trials)) if k not in vary)
    if len(vary) < 2:
        assert math.isnan(found.probability)
        assert found.reason
        return
    plain = naive.cscv([trials[k] for k in vary], "sharpe", [scale[k] for k in vary])
    assert found.probability == naive.probability(plain)
    rows = ordered(found, len(trials[0]))
    wanted = [(s["inside"], s["outside"], s["omega"]) for s in plain]
    assert np.array(rows) == pytest.approx(np.array(wanted), rel=1e-9, abs=1e-12)
    assert found.loss == np.mean([s["outside"] < 0 for s in plain])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(8, 30),
    st.integers(2, 6),
    st.sampled_from(["sharpe", "mean"]),
)
@example(seed=0, length=8, count=2, metric="sharpe")
def test_time_is_cut_as_evenly_as_can_be(seed: int, length: int, count: int, metric: str) -> None:
    returns = np.random.default_rng(seed).standard_normal((length, count))
    found = pbo(returns, blocks=4, metric=metric)
    plain = naive.cscv(
        [np.array_split(returns[:, k], 4) for k in range(count)], metric, [1.0] * count
    )
    assert found.probability == naive.probability(plain)
    outside = [s["outside"] for s in plain]
    assert sorted(found.out_of_sample) == pytest.approx(sorted(outside), rel=1e-9, abs=1e-12)
    inside = [s["inside"] for s in plain]
    if np.std(inside) > 1e-9:
        assert found.slope == pytest.approx(np.polyfit(inside, outside, 1)[0], rel=1e-6, abs=1e-9)


def test_more_trials_than_go_through_at_a_time_in_two_threads() -> None:
    random = np.random.default_rng(5)
    trials = [np.split(random.standard_normal(24), 6) for _ in range(3 * _splits.WIDTH + 5)]
    trials += trials[:50]
    whole = pbo_of_sums(*summed(trials))
    plain = naive.cscv(trials, "sharpe", [1.0] * len(trials))
    assert whole.probability == naive.probability(plain)
    wanted = [(s["inside"], s["outside"], s["omega"]) for s in plain]
    assert np.array(ordered(whole, 6)) == pytest.approx(np.array(wanted), rel=1e-9)
    laid = _splits.arrange(*summed(trials), np.ones(len(trials)))
    masks, halves = _splits.halves(6), np.array_split(_splits.halves(6), 2)
    at_once = _splits._choose(laid, masks, False)
    parts = [_splits._choose(laid, half, False) for half in halves]
    for one, two in zip(at_once, zip(*parts, strict=True), strict=True):
        assert (one == np.concatenate(two, axis=1)).all()


def test_of_equals_the_first_is_chosen_whatever_its_timeframe() -> None:
    """The other half tells them apart: 1 for the trial that came first."""
    flat, up, down = np.zeros(3), np.array([1.0, 2.0, 3.0]), np.array([-1.0, -2.0, -4.0])
    for first, second in ((up, down), (down, up)):
        trials = [[up, first], [up, second]]
        found = pbo_of_sums(*summed(trials))
        assert ordered(found, 2)[0][1] == pytest.approx(naive.figure(first, "sharpe"))
        longer = [[np.concatenate([up, flat[:0]]), first], [up, np.append(second, second[0])]]
        found = pbo_of_sums(*summed(longer))
        assert ordered(found, 2)[0][1] == pytest.approx(naive.figure(first, "sharpe"))


def test_trials_that_are_all_the_same_are_in_the_middle() -> None:
    column = np.random.default_rng(0).standard_normal((64, 1))
    found = pbo(np.repeat(column, 7, axis=1), blocks=8)
    assert (found.ranks == 0.5).all()
    assert found.probability == 1.0
    assert found.null_band == (1.0, 1.0)


def test_a_trial_that_did_nothing_in_a_half_has_exactly_nothing_there() -> None:
    """Also where what it did in the other half is large and long."""
    random = np.random.default_rng(8)
    trial = np.append(1e6 * random.standard_normal(400) / 3, np.zeros(400))
    other = np.append(random.standard_normal(400) - 9, random.standard_normal(400) - 9)
    found = pbo(np.array([trial, other]).T, blocks=8)
    flat = (1 << 8) - (1 << 4)  # the last four blocks in sample
    assert found.in_sample[len(_splits.halves(8)) :][_splits.halves(8) == 255 - flat] == [0.0]


def band(returns: np.ndarray, seed: int = 0) -> tuple[float, float]:
    return pbo(returns, seed=seed).null_band


def test_the_band_holds_what_noise_gives() -> None:
    """Independent trials and nearly equal ones differ in it, and so do few and many."""
    random = np.random.default_rng(11)
    for count, common in ((10, 0.0), (100, 0.0), (100, 0.9)):
        inside, bands, truth = 0, [], []
        for sample in range(40):
            noise = math.sqrt(1 - common) * random.standard_normal((480, count))
            returns = noise + math.sqrt(common) * random.standard_normal((480, 1))
            truth.append(probability(returns))
            if sample < 10:
                low, high = band(returns)
                inside += low <= truth[-1] <= high
                bands.append((low, high))
        assert inside >= 7  # of 10: fewer come about once in 1,000 times
        low, high = np.mean(bands, axis=0)
        assert low < np.quantile(truth, 0.1)
        assert high > np.quantile(truth, 0.9)
        assert 0.02 < low < 0.35
        assert 0.65 < high < 0.98


def test_the_band_repeats_and_does_not_see_merit() -> None:
    returns = standardised(3, 3.0)
    found = pbo(returns, seed=4)
    assert found.null_band == band(returns, seed=4)
    assert found.null_band != band(returns, seed=5)
    assert found.probability < found.null_band[0]
    assert np.array(found.null_band) == pytest.approx(band(standardised(3, 0.0), 4), abs=0.03)


def test_very_many_trials_are_thinned_out_for_the_band() -> None:
    random = np.random.default_rng(0)
    sums = random.standard_normal((_splits.NOISY_TRIALS + 501, 4))
    lengths = np.where(np.arange(len(sums))[:, None] % 3, 10, [5, 6, 5, 6])
    laid = _splits.arrange(sums, sums**2 + 10, lengths, np.ones(len(sums)))
    few = _splits._few(laid)
    assert few.sums.shape == (4, _splits.NOISY_TRIALS)
    assert few.starts[0] == 0
    assert few.starts[-1] == _splits.NOISY_TRIALS
    assert (few.bars[:, :5] == laid.bars[:, :5]).all()
    assert (few.bars == lengths[few.places].T).all()
    assert (few.sums == sums[few.places].T).all()


def test_labels_of_what_was_left_out_and_the_shape_of_a_result() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.standard_normal((64, 4)), columns=["a", "b", "c", "d"])
    table["flat"], table.loc[3, "b"] = 0.01, math.nan
    found = pbo(table, blocks=8)
    assert found.left_out == ("b", "flat")
    assert (found.trials, found.blocks, found.splits) == (3, 8, 70)
    assert found.ranks.shape == found.in_sample.shape == found.out_of_sample.shape == (70,)
    assert found.probability == pbo(table[["a", "c", "d"]], blocks=8).probability
    text = repr(found)
    assert text == repr(pbo(table, blocks=8))
    assert text.startswith("Pbo(probability=0.")
    assert text.endswith("trials=3, blocks=8, splits=70, left_out=2)")


@pytest.mark.parametrize(
    "returns",
    [
        np.full((40, 5), math.nan),
        np.zeros((40, 5)),
        np.full((40, 3), 0.1),
        np.ones((40, 0)),
        np.column_stack([np.arange(40.0), np.full(40, 1e-3)]),
        np.column_stack([np.arange(40.0), np.full(40, math.inf)]),
        np.column_stack([np.arange(40.0), [math.inf, -math.inf] * 20]),
    ],
)
def test_without_two_trials_that_vary_there_is_a_reason(returns: np.ndarray) -> None:
    found = pbo(returns, blocks=4)
    for value in (found.probability, found.slope, found.loss, *found.null_band):
        assert math.isnan(value)
    assert "trials vary; expected two at least" in found.reason
    assert found.splits == 0
    assert found.reason in repr(found)
    assert len(found.left_out) + found.trials == returns.shape[1]


ONES = np.ones((3, 4))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: pbo(np.ones((31, 2)), blocks=16), "31 observations; .* at most blocks=14 fit"),
        (lambda: pbo(np.ones((3, 2)), blocks=2), "give more of them"),
        (lambda: pbo(np.ones((15, 2)), metric="mean"), "at most blocks=14 fit"),
        (lambda: pbo(np.ones((99, 2)), blocks=7), "blocks=7; expected an even number"),
        (lambda: pbo(np.ones((99, 2)), blocks=26), "even number from 2 to 24"),
        (lambda: pbo(np.ones((99, 2)), blocks=0), "blocks is 0; expected a whole number from 2"),
        (lambda: pbo(np.ones((99, 2)), blocks=4.0), "whole number"),
        (lambda: pbo(np.ones((99, 2)), metric="sharp"), "Did you mean 'sharpe'"),
        (lambda: pbo(np.ones(99)), r"shape \(99,\); expected \(observations, trials\)"),
        (lambda: pbo([["a", "b"]] * 40), "expected a number"),
        (lambda: pbo_of_sums(ONES, np.ones((4, 3)), [9] * 4), "expected both"),
        (lambda: pbo_of_sums(ONES, ONES, [9] * 3), "each of the 4 blocks"),
        (lambda: pbo_of_sums(ONES, ONES, [9, 9, 9, 0]), "take fewer blocks"),
        (lambda: pbo_of_sums(2 * ONES, ONES, [1] * 4), "Σr, Σr², bars, in this order"),
        (lambda: pbo_of_sums(ONES[:, :3], ONES[:, :3], [9] * 3), "blocks=3; .* even"),
        (lambda: pbo_of_sums(ONES, ONES, [9] * 4, scale=[1, 2]), r"scale has shape \(2,\)"),
        (lambda: pbo_of_sums(ONES, ONES, [9] * 4, scale=[1, 0, 1]), "expected a positive number"),
    ],
)
def test_nonsense_is_refused(wrong, words: str) -> None:
    with pytest.raises(DataError, match=words):
        wrong()
