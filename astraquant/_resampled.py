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

VANISHED = 1e-14  # of the data's squares: what a draw has less than that of is a rounding error
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


def stretches(length: int, block: float, draws: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """The same as `stationary`, as stretches: where each begins and how long it is, (draws, some).

    Far fewer numbers where blocks are long. The last stretch ends with the draw; behind it are some
    of length 0.
    """
    where, how_long = np.random.default_rng(seed).spawn(2)
    mean = length / block
    enough = int(mean + 8.0 * math.sqrt(mean)) + 8
    for count in _pieces(draws, enough):
        ends = np.cumsum(how_long.geometric(1.0 / block, (count, enough)), axis=1)
        while ends[:, -1].min() < length:  # next to never
            more = np.cumsum(how_long.geometric(1.0 / block, (count, enough)), axis=1)
            ends = np.concatenate([ends, ends[:, -1:] + more], axis=1)
        lengths = np.diff(np.minimum(ends, length), axis=1, prepend=0)
        yield where.integers(0, length, lengths.shape), lengths


def sharpes(returns: Array, drawn: Iterator[tuple[Array, Array]]) -> Array:
    """Sharpe ratio of each draw of `stretches`; NaN where what was drawn does not vary."""
    size, mean = len(returns), returns.mean()
    twice = np.tile(returns - mean, 2)  # after the last comes the first again
    running = np.zeros((2, len(twice) + 1))
    np.cumsum(twice, out=running[0, 1:])
    np.cumsum(twice**2, out=running[1, 1:])
    least = max(size * NEGLIGIBLE**2, VANISHED * running[1, size])
    found = []
    for begins, lengths in drawn:
        total, squares = ((sums[begins + lengths] - sums[begins]).sum(axis=1) for sums in running)
        spread = squares - total**2 / size
        spread[spread <= least] = math.nan
        found.append((total / size + mean) / np.sqrt(spread / (size - 1.0)))
    return np.concatenate(found)
