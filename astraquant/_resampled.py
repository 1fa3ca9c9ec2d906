"""The stationary bootstrap (Politis and Romano 1994), and what is computed on its draws.

A draw of n observations is put together from stretches of the data that begin anywhere and have
random lengths (geometric, ``block`` on average); after the last observation comes the first again.
Everything is done for many draws at once, and in pieces, so that memory stays small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .metrics import NEGLIGIBLE

Array = np.ndarray[Any, np.dtype[Any]]

PIECE = 2**20  # numbers that an array of draws holds, at most


class Columns(NamedTuple):
    """What is known of the columns: rows of observations, or of sums over time blocks.

    ``rows``: (rows, columns). ``bars``: how many bars each row holds, (rows, columns) or (rows, 1).
    ``mean`` and ``deviation`` (ddof 1) are per bar, (columns,).
    """

    rows: Array
    bars: Array
    mean: Array
    deviation: Array

    @property
    def scores(self) -> Array:
        """√T · mean / deviation of each column."""
        scores: Array = np.sqrt(self.bars.sum(axis=0)) * self.mean / self.deviation
        return scores


def stationary(length: int, block: float, draws: int, seed: int, width: int = 0) -> Iterator[Array]:
    """Which observations are drawn, (some draws, length) at a time; ``width`` > length: fewer."""
    where, what = np.random.default_rng(seed).spawn(2)
    chance = 1.0 / block
    for count in _pieces(draws, max(length, width)):
        begins = where.random((count, length)) < chance
        begins[:, 0] = True
        begins = begins.ravel()
        time = np.tile(np.arange(length), count)
        shift = what.integers(0, length, np.count_nonzero(begins)) - time[begins]
        drawn: Array = (shift[np.cumsum(begins) - 1] + time) % length
        yield drawn.reshape(count, length)


def blockwise(blocks: int, draws: int, seed: int, width: int) -> Iterator[Array]:
    """Which whole time blocks are drawn, each as likely as any other, (some draws, blocks)."""
    random = np.random.default_rng(seed)
    for count in _pieces(draws, max(blocks, width)):
        yield random.integers(0, blocks, (count, blocks))


def widening(blocks: int, draws: int, seed: int) -> Array:
    """By what deviations of draws of few blocks are multiplied, (draws,).

    √(S / (S - 1)), since deviations from S blocks' own mean are too small, and √((S - 1) / χ²), so
    that the draws are spread as Student's distribution is: the blocks' variance is but estimated.
    """
    random = np.random.default_rng(seed).spawn(1)[0]
    widen: Array = np.sqrt(blocks / random.chisquare(blocks - 1, draws))
    return widen


def _pieces(draws: int, width: int) -> Iterator[int]:
    step = max(1, PIECE // width)
    for done in range(0, draws, step):
        yield min(step, draws - done)


def highest(columns: Columns, drawn: Iterator[Array], widen: Array) -> tuple[Array, Array]:
    """The highest score of each draw where no column has merit: White's and Hansen's.

    White 2000: every column's mean is taken away. Hansen 2005, consistent: not that of a column so
    bad (a score below -√(2 log log T)) that it can't be the best. ``widen``: by what each draw's
    deviations from the mean are multiplied, (draws,).
    """
    bars = columns.bars.sum(axis=0)
    score = columns.scores
    per_bar = 1.0 / (columns.deviation * np.sqrt(bars))  # what a sum over all bars is divided by
    lost = np.where(score < -np.sqrt(2.0 * np.log(np.maximum(np.log(bars), 1.0))), score, 0.0)
    white, hansen = [], []
    size, done = len(columns.rows), 0
    for indices in drawn:
        counts = counts_of(indices, size)
        moved = counts @ columns.rows - (counts @ columns.bars) * columns.mean
        moved *= widen[done : done + len(indices), None] * per_bar
        done += len(indices)
        white.append(moved.max(axis=1))
        moved += lost
        hansen.append(moved.max(axis=1))
    return np.concatenate(white), np.concatenate(hansen)


def counts_of(indices: Array, size: int) -> Array:
    """How often each of ``size`` rows was drawn, (draws, size) of floats: for a matrix product."""
    flat = indices + size * np.arange(len(indices))[:, None]
    counts = np.bincount(flat.ravel(), minlength=size * len(indices))
    return counts.reshape(len(indices), size).astype(np.float64)


def sharpes(returns: Array, drawn: Iterator[Array]) -> Array:
    """Sharpe ratio of each draw; NaN where what was drawn does not vary."""
    found = []
    for indices in drawn:
        sample = returns[indices]
        deviation = sample.std(axis=1, ddof=1)
        deviation[deviation <= NEGLIGIBLE] = math.nan
        found.append(sample.mean(axis=1) / deviation)
    return np.concatenate(found)
