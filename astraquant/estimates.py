"""Weights estimated from the returns of the past: by their volatility, or by an optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import AstraQuantError, StrategyError, install_line
from .timeframes import duration
from .universes import Universe

Array = np.ndarray[Any, np.dtype[Any]]
Estimate = Callable[[Array], Array]

ESTIMATED = ("inverse_volatility", "minimum_variance", "risk_parity", "hierarchical")
ACCURATE = 1e-3  # of the variance: what an optimiser may miss
FEWEST_RETURNS = 10


def returns_needed(symbols: int) -> int:
    """How many returns an estimate of so many symbols needs at least."""
    return max(FEWEST_RETURNS, 2 * symbols + 1)


def find_estimate(name: str) -> Estimate:
    """What makes weights of returns (bars × symbols); raises where skfolio is missing for it."""
    return _inverse_volatility if name == "inverse_volatility" else _optimised(name)


def estimated(
    estimate: Estimate, name: str, length: int, universe: Universe, row: int
) -> Array | None:
    """``estimate`` of the returns in the window, over the symbols that are known in it.

    Known: its first bar lies ``length`` milliseconds back, it has half of the window's bars, and
    its price moves. The others get 0; None if there is none.
    """
    old = universe.is_old_enough(row, length)
    if not old.any():
        return None
    closes = universe.columns["close"][universe.window(row, length)]
    half = length // duration(universe.timeframe) / 2
    known = old & (np.count_nonzero(~np.isnan(closes), axis=0) >= half)
    returns = _common_returns(closes[:, known])
    if known.any():  # a price that stands still has no volatility that one could divide by
        moves = returns.std(axis=0) > 0
        known[known], returns = moves, returns[:, moves]
    if not known.any() or len(returns) < returns_needed(returns.shape[1]):
        return None
    weights = np.zeros(len(known))
    if known.sum() == 1:
        weights[known] = 1.0
        return weights
    try:
        weights[known] = estimate(returns)
    except Exception as error:
        raise StrategyError(
            f"{name} at {universe.time_of(row)} found no weights ({error}). Leave out one of two "
            "symbols that move alike, or take a longer lookback"
        ) from error
    return weights


def _common_returns(closes: Array) -> Array:
    """Simple returns from bar to bar of those that all symbols have; one over a gap spans it."""
    common = closes[~np.isnan(closes).any(axis=1)]
    returns: Array = common[1:] / common[:-1] - 1.0
    return returns


def _inverse_volatility(returns: Array) -> Array:
    inverse = 1.0 / returns.std(axis=0, ddof=1)
    weights: Array = inverse / inverse.sum()
    return weights


def _optimised(name: str) -> Estimate:
    """The optimiser of skfolio of that name, with its defaults: long only, fully invested."""
    try:
        from skfolio.optimization import (  # type: ignore[import-untyped]
            HierarchicalRiskParity,
            MeanRisk,
            RiskBudgeting,
        )
    except ImportError as error:
        raise AstraQuantError(
            f"allocation={name!r} needs skfolio, which is not installed. Install it "
            + install_line("portfolio")
        ) from error
    model = {
        "minimum_variance": MeanRisk,  # its default objective is the least risk, as variance
        "risk_parity": RiskBudgeting,  # equal shares of the variance
        "hierarchical": HierarchicalRiskParity,
    }[name]

    def estimate(returns: Array) -> Array:
        # None of their weights depends on the scale, but solvers stop at a fixed accuracy, and
        # returns of short bars are small numbers. What a warning says of it is checked here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights: Array = np.asarray(model().fit(returns / returns.std()).weights_)
        if (miss := _miss(name, weights, returns)) > ACCURATE:
            raise ArithmeticError(f"the best that was found is off by {miss:.2g} of the variance")
        return weights

    return estimate


def _miss(name: str, weights: Array, returns: Array) -> float:
    """By how much of the variance ``weights`` miss what they are to be; 0 where nobody can say."""
    slope = np.cov(returns.T) @ weights
    variance = float(weights @ slope)
    if name == "minimum_variance":  # could any symbol lower it, if it got more?
        return (variance - float(slope.min())) / variance
    if name == "risk_parity":  # are all contributions equal?
        return float(np.ptp(weights * slope)) / variance
    return 0.0
