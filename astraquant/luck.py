"""How much of a sweep's best result is luck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .moments import Trials
from .statistics import deflated_sharpe, expected_best_sharpe
from .tried import Tried

Row = tuple[Any, ...]
CONVINCING = 0.95  # a deflated Sharpe ratio
STEADY = 1e-6  # of mean squares: with less variance the sums no longer tell the shape of returns


@dataclass(frozen=True)
class Luck:
    """The best Sharpe ratio of a sweep beside what luck alone would have made the best.

    ``trials``: how many were tried; ``known``: how many have a Sharpe ratio. ``best``: the row;
    ``sharpe``: its Sharpe ratio, and ``expected`` the one to be expected of the best if no trial
    had any edge, both a year. ``deflated``: the deflated Sharpe ratio, the probability that the
    best beats that luck. NaN where a figure has no value, for the ``reason``.

    Luck's spread is that of the trials' Sharpe ratios, for trials that resemble each other are
    lucky together; but never more than that of a trial without an edge, one over the root of the
    years. Where the ratios lie further apart, costs have ruined some trials, which is no bad luck.
    """

    trials: int
    known: int
    best: Row | None
    sharpe: float
    expected: float
    deflated: float
    reason: str = ""

    @property
    def words(self) -> str:
        """The short form, for titles."""
        if self.best is None:
            return f"none of {self.trials:,} trials has a Sharpe ratio"
        best = f"best of {self.trials:,} trial{'s' if self.trials > 1 else ''}"
        if math.isnan(self.deflated):
            return f"{best}: Sharpe {self.sharpe:.2f} ({self.reason})"
        return (
            f"{best}: Sharpe {self.sharpe:.2f}; "
            f"probability that it beats luck {say_probability(self.deflated)}"
        )


def say_probability(value: float) -> str:
    """Two decimals, but never certainty: <0.01 and >0.99."""
    if math.isnan(value):
        return "–"
    return "<0.01" if value < 0.005 else ">0.99" if value > 0.995 else f"{value:.2f}"


def luck_of(trials: Trials, tried: Tried | None = None) -> Luck:
    """What deflation says of the best row, as the best of all that was ``tried``, or of those."""
    sharpe, nan = trials.sharpe, math.nan
    known = int(np.isfinite(sharpe).sum())
    count = max(len(sharpe), tried.trials if tried else 0)
    if not known:
        return Luck(count, known, None, nan, nan, nan, "no trial has a Sharpe ratio")
    place = int(np.nanargmax(sharpe))
    row, best, year = trials.grid.rows[place], float(sharpe[place]), float(trials.year[place])
    if count < 2:
        why = "one trial alone says nothing about the best of many"
        return Luck(count, known, row, best, nan, nan, why)
    bars, skew, kurtosis = _shape(trials, place)
    alone = year**2 / (bars - 1)  # the variance of a trial without an edge
    spread = tried.variance if tried else np.nanvar(sharpe, ddof=1) if known > 1 else nan
    variance = float(np.fmin(spread, alone))
    expected = float(expected_best_sharpe(count, variance))
    deflated = float(
        deflated_sharpe(
            best / year,
            bars,
            trials=count,
            variance=variance / year**2,
            skew=skew,
            kurtosis=kurtosis,
        )
    )
    why = "its returns are so steady or so few that their shape is not known"
    return Luck(count, known, row, best, expected, deflated, why if math.isnan(deflated) else "")


def _shape(trials: Trials, place: int) -> tuple[int, float, float]:
    """Bars, skewness and kurtosis (raw: 3 for a normal distribution) of the returns of one row."""
    bars = int(trials.lengths[place].sum())
    one, two, three, four = trials.sums[place].sum(axis=0) / bars
    variance = two - one**2
    if variance <= STEADY * two:
        return bars, math.nan, math.nan
    third = three - 3 * one * two + 2 * one**3
    fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
    skew = third / variance**1.5
    return bars, skew, max(fourth / variance**2, 1.0 + skew**2)  # less is a rounding error
