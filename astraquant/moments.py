"""Sums of the powers of returns, time block by time block: what honest statistics need of a trial.

The bars of a run are divided into as many time blocks as there shall be, of equal length but for
one bar. Of each trial Σr, Σr², Σr³ and Σr⁴ of every block are kept, never its returns: those of
20,000 trials over a year of minutes would take 84 GB, the sums take 10 MB.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .grids import Grid

Array = np.ndarray[Any, np.dtype[Any]]
POWERS = 4
TIME_BLOCKS = 16
FEWEST_BLOCKS = 4  # six ways to divide them into halves: fewer say nothing
BYTES_PER_BLOCK = 8 * POWERS  # of a row


class Trials(NamedTuple):
    """What honest statistics need to know of a sweep, row by row.

    ``sharpe``: (rows,) a year, NaN where there is none. ``sums``: (rows, blocks, POWERS).
    ``lengths``: (rows, blocks) bars. ``year``: (rows,) the root of the bars per year.
    ``candles``: the hash of the candles; ``source``: where they come from.
    """

    grid: Grid
    sharpe: Array
    sums: Array
    lengths: Array
    year: Array
    candles: str
    source: object


def affordable_blocks(rows: int, room: int) -> int:
    """Of how many time blocks sums are kept: of 16, or of 8 or 4 where ``room`` is too small."""
    blocks = TIME_BLOCKS
    while blocks > FEWEST_BLOCKS and rows * blocks * BYTES_PER_BLOCK > room:
        blocks //= 2
    return blocks


def block_bounds(bars: int) -> Array:
    """Where the 16 time blocks begin, and where the last ends: places among ``bars`` bars.

    With fewer bars than blocks some blocks are empty.
    """
    return np.arange(TIME_BLOCKS + 1) * bars // TIME_BLOCKS


def join_blocks(values: Array, blocks: int) -> Array:
    """Sums over neighbours among the time blocks, (rows, blocks, ...) as many as there shall be."""
    rows, _, *rest = values.shape
    joined: Array = values.reshape(rows, blocks, -1, *rest).sum(axis=2)
    return joined


def sums_of(returns: Array, bounds: Array) -> Array:
    """Sums of the powers of the returns of one run in each block, (blocks, POWERS)."""
    blocks = [returns[begin:end] for begin, end in itertools.pairwise(bounds)]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([[(r**power).sum() for power in range(1, POWERS + 1)] for r in blocks])


def by_blocks(sums: Array, edges: Array, ends: Array) -> Array:
    """Sums of each block, (rows, blocks, POWERS), from ``sums`` between ``edges``.

    ``ends``: where the blocks end, each at an edge. A block that ends where the one before does, or
    before the first edge, is empty.
    """
    if len(edges) == len(ends):
        return sums
    result = np.zeros((len(sums), len(ends), POWERS))
    result[:, np.searchsorted(ends, edges)] = sums  # the first block to end there has the bars
    return result
