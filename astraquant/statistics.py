"""How much of a result is luck: Sharpe ratios deflated, searches judged by what noise would give.

Sharpe ratios here are per observation (per bar), never annualised; kurtosis is raw (3 for a normal
distribution). A figure that has no value is NaN, with a reason where a result has room for it;
never infinite, and never 0 for want of a value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from . import _resampled, _samples
from ._samples import at_least, finite, known, plain, share
from ._searches import Pbo, RealityCheck, pbo, pbo_of_sums, reality_check, reality_check_of_sums
from .errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]

__all__ = [
    "Pbo",
    "RealityCheck",
    "deflated_sharpe",
    "expected_best_sharpe",
    "minimum_track_record",
    "pbo",
    "pbo_of_sums",
    "probabilistic_sharpe",
    "reality_check",
    "reality_check_of_sums",
    "sharpe_interval",
]

FEWEST = 8  # observations of which an interval covers about as often as it says


def probabilistic_sharpe(
    sharpe: Any, observations: Any, *, benchmark: Any = 0.0, skew: Any = 0.0, kurtosis: Any = 3.0
) -> Any:
    """Probability that the true Sharpe ratio is above ``benchmark``, given the measured one.

    Φ[(SR - benchmark) · √(T - 1) / √(1 - skew · SR + (kurtosis - 1) / 4 · SR²)]: Bailey and López
    de Prado 2012, "The Sharpe ratio efficient frontier". All arguments are numbers or arrays that
    broadcast; a number comes of numbers, else an array. NaN where an argument is NaN, the ratio
    infinite, or the moments impossible together (the root's content is not above 0).
    """
    sharpe, bars = _ratios(sharpe), at_least("observations", observations, 2)
    spread = _spread(sharpe, skew, kurtosis)
    return plain(ndtr((sharpe - known("benchmark", benchmark)) * np.sqrt((bars - 1) / spread)))


def minimum_track_record(
    sharpe: Any,
    *,
    benchmark: Any = 0.0,
    skew: Any = 0.0,
    kurtosis: Any = 3.0,
    confidence: float = 0.95,
) -> Any:
    """Observations needed until `probabilistic_sharpe` reaches ``confidence`` (not rounded).

    1 + (1 - skew · SR + (kurtosis - 1) / 4 · SR²) · (z / (SR - benchmark))², z = Φ⁻¹(confidence):
    Bailey and López de Prado 2012. Numbers or arrays that broadcast. NaN where the ratio is not
    above the benchmark (no length would do), and where `probabilistic_sharpe` is. 1 for a
    confidence of one half or less: being above is enough.
    """
    sharpe, above = _ratios(sharpe), max(float(ndtri(share("confidence", confidence))), 0.0)
    distance = sharpe - known("benchmark", benchmark)
    distance = np.where(distance > 0, distance, np.nan)
    spread = _spread(sharpe, skew, kurtosis)
    with np.errstate(over="ignore"):  # longer than a number can say: NaN
        return plain(finite(1.0 + spread * (above / distance) ** 2))


def expected_best_sharpe(trials: Any, variance: Any) -> Any:
    """Sharpe ratio that the best of so many trials without merit is expected to show.

    √V · [(1 - γ) · Φ⁻¹(1 - 1/N) + γ · Φ⁻¹(1 - 1/(N · e))], γ = 0.5772…, V the variance of the
    trials' ratios: Bailey and López de Prado 2014, "The deflated Sharpe ratio". 0 for a single
    trial (between 1 and 2, as an effective number of trials may be, never below 0). Numbers or
    arrays that broadcast; NaN where an argument is.
    """
    trials, variance = at_least("trials", trials, 1), at_least("variance", variance, 0)
    # Φ⁻¹(1 - p) = -Φ⁻¹(p), which keeps its digits however many trials there are.
    several = np.maximum(trials, 1.0 + 1e-9)
    normal = (np.euler_gamma - 1.0) * ndtri(1.0 / several)
    normal -= np.euler_gamma * ndtri(1.0 / (several * math.e))
    return plain(np.sqrt(variance) * np.maximum(normal, 0.0))


def deflated_sharpe(
    sharpe: Any,
    observations: Any,
    *,
    trials: Any,
    variance: Any,
    skew: Any = 0.0,
    kurtosis: Any = 3.0,
) -> Any:
    """Probability that the best of ``trials`` is better than the best of as many without merit.

    `probabilistic_sharpe` against `expected_best_sharpe(trials, variance)`: Bailey and López de
    Prado 2014. ``variance``: that of the Sharpe ratios of all trials, per observation. A trial that
    never traded has no ratio: leave it out of the variance, but count it in ``trials``.
    """
    best = expected_best_sharpe(trials, variance)
    return probabilistic_sharpe(sharpe, observations, benchmark=best, skew=skew, kurtosis=kurtosis)


def sharpe_interval(
    returns: Any,
    *,
    confidence: float = 0.95,
    block: float | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of the Sharpe ratio per observation, by the stationary bootstrap.

    ``returns``: (observations,), an array or a Series; NaN is a DataError. ``block``: mean length
    of the stretches that stay together (default: the cube root of their number). The interval lies
    between two quantiles of the draws, which are taken further out than ``confidence`` says, as
    Student's distribution with T / block - 1 degrees of freedom is wider than the normal one
    (Hesterberg 2015, "expanded percentile"): plain percentiles cover too seldom. Measured at 0.95,
    for 50 to 250 observations, normal or of Student's distribution with 4 degrees of freedom, with
    a correlation of -0.2, 0 or 0.2 from one to the next: 93 to 96 times of 100. Draws that don't
    vary have no ratio and are left out. Returns that don't vary have none either: (nan, nan); nor
    is there an interval for fewer than 8, which it would cover far too seldom.
    """
    values = _samples.series(returns)
    tail = (1.0 - float(share("confidence", confidence))) / 2.0
    block = _samples.block_of(block, len(values))
    draws, seed = _samples.whole("draws", draws, 1), _samples.whole("seed", seed, 0)
    drawn = _resampled.stretches(len(values), block, draws, seed)
    ratios = _resampled.sharpes(values, drawn)
    ratios = ratios[~np.isnan(ratios)]
    if len(values) < FEWEST or len(ratios) == 0 or not _samples.varies(values):
        return math.nan, math.nan
    freedom = max(len(values) / block - 1.0, 1.0)
    outward = stdtrit(freedom, 1.0 - tail) * math.sqrt((freedom + 1.0) / freedom)
    low, high = np.quantile(ratios, [ndtr(-outward), ndtr(outward)])
    return float(low), float(high)


def _ratios(sharpe: Any) -> Array:
    """Sharpe ratios, NaN where they are infinite: of something that never varied."""
    return known("sharpe", sharpe)


def _spread(sharpe: Array, skew: Any, kurtosis: Any) -> Array:
    """1 - skew · SR + (kurtosis - 1) / 4 · SR²; NaN where no distribution has such moments."""
    kurtosis = known("kurtosis", kurtosis)
    if (kurtosis < 1 - 1e-9).any():  # less than that is rounding
        raise DataError(
            f"kurtosis is {kurtosis[kurtosis < 1].min():g}; raw kurtosis is at least 1 + skew²; "
            "did you pass excess kurtosis? add 3"
        )
    spread = 1.0 - known("skew", skew) * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return np.where(spread > 0, spread, np.nan)
