"""Sharpe ratios deflated and their intervals, against known answers and other packages."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import astraquant as aq
from astraquant import _resampled, statistics
from astraquant.errors import DataError

PAPER = 2.5 / math.sqrt(250)  # the deflated ratio's own example, annual 2.5, per day
ratios = st.floats(-1.0, 1.0)
lengths = st.integers(2, 100_000)
# Moments that some distribution has: the kurtosis is at least 1 + skew².
shapes = st.tuples(st.floats(-3.0, 3.0), st.floats(0.1, 20.0)).map(
    lambda drawn: (drawn[0], 1.0 + drawn[0] ** 2 + drawn[1])
)


def test_the_module_is_public() -> None:
    assert aq.statistics is statistics


def test_the_papers_deflated_ratio() -> None:
    best = statistics.expected_best_sharpe(100, 0.5 / 250)
    assert best == pytest.approx(0.113172, abs=5e-7)
    deflated = statistics.deflated_sharpe(
        PAPER, 1250, trials=[100, 46], variance=0.5 / 250, skew=-3, kurtosis=10
    )
    assert deflated == pytest.approx([0.900397, 0.9505], abs=5e-6)


def test_the_papers_probabilistic_ratio() -> None:
    found = statistics.probabilistic_sharpe(
        0.458, [24, 24, 36], skew=[-2.448, 0, -2.448], kurtosis=[10.164, 3, 10.164]
    )
    assert found == pytest.approx([0.91336, 0.98167, 0.95351], abs=5e-6)
    needed = statistics.minimum_track_record(0.458, skew=[-2.448, 0], kurtosis=[10.164, 3])
    assert needed == pytest.approx([34.56, 15.25], abs=0.005)


def test_vectorbt_deflates_the_same() -> None:
    from vectorbt.returns.metrics import approx_exp_max_sharpe, deflated_sharpe_ratio

    theirs = deflated_sharpe_ratio(
        est_sharpe=PAPER,
        var_sharpe=0.5 / 250,
        nb_trials=100,
        backtest_horizon=1250,
        skew=-3,
        kurtosis=10,
    )
    ours = statistics.deflated_sharpe(
        PAPER, 1250, trials=100, variance=0.5 / 250, skew=-3, kurtosis=10
    )
    assert ours == pytest.approx(theirs, abs=1e-12)
    best = statistics.expected_best_sharpe(100, 0.5 / 250)
    assert best == pytest.approx(approx_exp_max_sharpe(0.0, 0.5 / 250, 100), rel=1e-12)


def test_skfolio_comes_to_the_same_from_returns() -> None:
    from skfolio.measures import deflated_sharpe_ratio, probabilistic_sharpe_ratio

    random = np.random.default_rng(2)
    returns = random.standard_t(5, (300, 20)) + 0.1
    sharpe = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    moments = {"skew": stats.skew(returns[:, 0]), "kurtosis": stats.kurtosis(returns[:, 0]) + 3.0}
    ours = statistics.probabilistic_sharpe(sharpe[0], 300, benchmark=0.05, **moments)
    theirs = probabilistic_sharpe_ratio(returns[:, 0], benchmark_sharpe_ratio=0.05)
    assert ours == pytest.approx(theirs, abs=1e-12)
    ours = statistics.deflated_sharpe(
        sharpe[0], 300, trials=20, variance=sharpe.var(ddof=1), **moments
    )
    assert ours == pytest.approx(deflated_sharpe_ratio(returns[:, 0], sharpe), abs=1e-12)


@given(ratios, ratios, lengths, shapes)
def test_a_higher_ratio_is_more_probable(
    one: float, other: float, bars: int, shape: tuple[float, float]
) -> None:
    """In what is to be beaten; in the ratio itself not always: its own error grows with it."""
    skew, kurtosis = shape
    low, high = sorted((one, other))
    easy, hard = statistics.probabilistic_sharpe(
        one, bars, benchmark=[low, high], skew=skew, kurtosis=kurtosis
    )
    assert 0.0 <= hard <= easy <= 1.0
    same = statistics.probabilistic_sharpe(one, bars, benchmark=one, skew=skew, kurtosis=kurtosis)
    assert same == 0.5


@given(st.floats(0.01, 1.0), st.integers(1, 10**9), st.floats(0.0, 1.0), lengths, shapes)
def test_deflation_never_adds(
    sharpe: float, trials: int, variance: float, bars: int, shape: tuple[float, float]
) -> None:
    skew, kurtosis = shape
    plain = statistics.probabilistic_sharpe(sharpe, bars, skew=skew, kurtosis=kurtosis)
    found = statistics.deflated_sharpe(
        sharpe,
        bars,
        trials=[1, trials, trials + 1],
        variance=variance,
        skew=skew,
        kurtosis=kurtosis,
    )
    assert found[0] == plain
    assert found[0] >= found[1] >= found[2]


@given(st.floats(0.05, 1.0), st.floats(0.55, 0.999), shapes)
def test_the_track_record_is_as_long_as_it_needs_to_be(
    sharpe: float, confidence: float, shape: tuple[float, float]
) -> None:
    skew, kurtosis = shape
    needed = statistics.minimum_track_record(
        sharpe, benchmark=0.01, skew=skew, kurtosis=kurtosis, confidence=confidence
    )
    if needed >= 2:
        reached = statistics.probabilistic_sharpe(
            sharpe, needed, benchmark=0.01, skew=skew, kurtosis=kurtosis
        )
        assert reached == pytest.approx(confidence, abs=1e-9)


def test_the_best_of_many_is_about_what_noise_gives() -> None:
    random = np.random.default_rng(3)
    for trials in (10, 100, 1000):
        best = random.standard_normal((2000, trials)).max(axis=1).mean()
        assert statistics.expected_best_sharpe(trials, 1.0) == pytest.approx(best, rel=0.03)
    assert math.isfinite(statistics.expected_best_sharpe(1e300, 1.0))
    assert (np.diff(statistics.expected_best_sharpe([1, 1.2, 2, 3], 1.0)) >= 0).all()
    assert statistics.expected_best_sharpe(1, 5.0) == 0.0


def test_what_has_no_value_is_nan() -> None:
    nan = pytest.approx(math.nan, nan_ok=True)
    assert statistics.probabilistic_sharpe([math.nan, math.inf, -math.inf], 100) == nan
    assert statistics.probabilistic_sharpe(1.0, 100, skew=5.0) == nan  # kurtosis 3: impossible
    assert statistics.probabilistic_sharpe(0.1, 100, skew=[math.inf, math.nan]) == nan
    assert statistics.probabilistic_sharpe(0.1, 100, benchmark=math.inf) == nan
    assert statistics.minimum_track_record([0.0, -0.1, math.inf]) == nan
    assert statistics.minimum_track_record(1.0, skew=5.0) == nan
    assert statistics.minimum_track_record(1e-200) == nan  # more than can be said, not infinite
    assert statistics.expected_best_sharpe([math.nan, 5], [1.0, math.nan]) == nan
    assert statistics.deflated_sharpe(0.1, 100, trials=5, variance=math.nan) == nan
    assert statistics.minimum_track_record(0.1, confidence=0.3) == 1.0


def test_series_and_tables_broadcast() -> None:
    sharpe = pd.Series([0.1, 0.2, math.nan])
    found = statistics.probabilistic_sharpe(sharpe, np.array([[100], [200]]))
    assert found.shape == (2, 3)
    assert found[1, 0] == statistics.probabilistic_sharpe(0.1, 200)
    assert isinstance(statistics.probabilistic_sharpe(0.1, 200), float)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda s: s.probabilistic_sharpe(0.1, 100, kurtosis=[0.0, 3.0]), "excess kurtosis. add 3"),
        (lambda s: s.probabilistic_sharpe(0.1, 1), "observations is 1; expected a number from 2"),
        (lambda s: s.probabilistic_sharpe("high", 100), "sharpe is 'high'; expected a number"),
        (lambda s: s.expected_best_sharpe(0, 1.0), "trials is 0; expected a number from 1 on"),
        (lambda s: s.expected_best_sharpe(math.inf, 1.0), "trials is inf"),
        (lambda s: s.expected_best_sharpe(5, -1.0), "variance is -1; expected a number from 0 on"),
        (lambda s: s.minimum_track_record(0.1, confidence=95), "confidence is 95; .* such as 0.95"),
        (lambda s: s.sharpe_interval([0.1, math.nan, 0.2]), r"returns\[1\] is nan"),
        (lambda s: s.sharpe_interval([0.1]), r"shape \(1,\); expected one column of 2"),
        (lambda s: s.sharpe_interval([[0.1, 0.2]]), "expected one column"),
        (
            lambda s: s.sharpe_interval([0.1, 0.2], block=3),
            "block is 3; .* 1 to the 2 observations",
        ),
        (lambda s: s.sharpe_interval([0.1, 0.2], draws=0), "draws is 0; expected a whole number"),
        (lambda s: s.sharpe_interval([0.1, 0.2], confidence=1.0), "between 0 and 1"),
    ],
)
def test_nonsense_is_refused(wrong, words: str) -> None:
    with pytest.raises(DataError, match=words):
        wrong(statistics)


def autoregressive(random: np.random.Generator, length: int, phi: float) -> np.ndarray:
    noise = random.standard_normal(length + 50)
    for i in range(1, len(noise)):
        noise[i] = phi * noise[i - 1] + math.sqrt(1 - phi**2) * noise[i]
    return noise[50:]


def test_an_interval_covers_as_often_as_it_says() -> None:
    """Within three standard errors of what 300 samples can tell, and a little for dependence."""
    random = np.random.default_rng(4)
    for phi, least in ((0.0, 0.91), (0.2, 0.89)):
        hits = 0
        for seed in range(300):
            returns = autoregressive(random, 80, phi) + 0.2
            low, high = statistics.sharpe_interval(returns, draws=400, seed=seed)
            hits += low <= 0.2 <= high
        assert least <= hits / 300 <= 0.985


def test_an_interval_agrees_with_arch() -> None:
    returns = autoregressive(np.random.default_rng(6), 400, 0.3) + 0.1

    def sharpe(sample: np.ndarray) -> float:
        return float(sample.mean() / sample.std(ddof=1))

    theirs = StationaryBootstrap(8, returns, seed=7).apply(sharpe, 4000).ravel()
    drawn = _resampled.stretches(400, 8.0, 4000, 7)
    ours = _resampled.sharpes(returns, drawn)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert np.quantile(ours, levels) == pytest.approx(np.quantile(theirs, levels), abs=0.01)
    low, high = statistics.sharpe_interval(returns, confidence=0.9, block=8, draws=4000)
    outer, inner = np.quantile(theirs, [0.03, 0.06]), np.quantile(theirs, [0.94, 0.97])
    assert outer[0] < low < outer[1]
    assert inner[0] < high < inner[1]


@given(st.integers(2, 40), st.floats(1.0, 40.0), st.integers(1, 30), st.integers(0, 99))
def test_draws_are_stretches_of_the_data(length: int, block: float, draws: int, seed: int) -> None:
    block = min(block, float(length))
    pieces = list(_resampled.stationary(length, block, draws, seed))
    drawn = np.concatenate(pieces)
    assert drawn.shape == (draws, length)
    assert drawn.min() >= 0
    assert drawn.max() < length
    counts = _resampled.counts_of(drawn, length)
    assert counts.tolist() == [[list(row).count(k) for k in range(length)] for row in drawn]
    wide = list(_resampled.stationary(length, block, draws, seed, width=_resampled.PIECE // 2))
    assert len(wide) == -(-draws // 2)
    assert (np.concatenate(wide) == drawn).all()  # however many are made at a time


@given(st.integers(2, 60), st.floats(1.0, 40.0), st.integers(1, 30), st.integers(0, 99))
def test_the_ratio_of_stretches_is_that_of_what_they_hold(
    length: int, block: float, draws: int, seed: int
) -> None:
    returns = np.random.default_rng(seed).standard_normal(length) * 0.01
    returns[: length // 2] = 0.0  # so that some draws don't vary
    block = min(block, float(length))
    expected = []
    for begins, lengths in _resampled.stretches(length, block, draws, seed):
        assert (lengths.sum(axis=1) == length).all()
        for first, many in zip(begins, lengths, strict=True):
            spans = [np.arange(a, a + n) % length for a, n in zip(first, many, strict=True)]
            sample = returns[np.concatenate(spans)]
            varies = len(set(sample)) > 1
            expected.append(sample.mean() / sample.std(ddof=1) if varies else math.nan)
    assert len(expected) == draws
    ours = _resampled.sharpes(returns, _resampled.stretches(length, block, draws, seed))
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


def test_stretches_are_as_long_as_asked_on_average() -> None:
    drawn = next(_resampled.stationary(1000, 8.0, 200, 1))
    breaks = np.count_nonzero((np.diff(drawn, axis=1) - 1) % 1000)
    assert 200 * 999 / breaks == pytest.approx(8.0, rel=0.03)
    _, lengths = next(_resampled.stretches(1000, 8.0, 200, 1))
    assert 200 * 1000 / np.count_nonzero(lengths) == pytest.approx(8.0, rel=0.03)


def test_an_interval_of_returns_that_never_vary_is_nan() -> None:
    assert np.isnan(statistics.sharpe_interval([0.01] * 50)).all()
    assert np.isnan(statistics.sharpe_interval(pd.Series([0.0] * 50))).all()


def test_an_interval_of_a_single_trade_is_finite() -> None:
    """Many draws miss it, and have no ratio at all."""
    returns = np.zeros(60)
    returns[30] = 0.05
    low, high = statistics.sharpe_interval(returns)
    assert 0 < low < high
    assert statistics.sharpe_interval(returns) == (low, high)
