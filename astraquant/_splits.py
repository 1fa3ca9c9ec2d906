"""Combinatorially symmetric cross-validation on block sums, and what pure noise gives there.

Every way to choose half of the time blocks is a split: the chosen half is in sample, the other out
of sample. As the roles can be swapped, only the halves that hold the first block are gone through;
each answers for two splits. A figure of a trial over a half needs its sums over it, and those come
of two tables, one for the first and one for the last blocks, with the sums of all their subsets:
one addition, always in the same order. So trials that are equal over a half are exactly equal, and
one that does nothing there has exactly nothing, whatever came before.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ._compile import as_input, compiled, cores, side_by_side
from ._samples import floor_of

Array = np.ndarray[Any, np.dtype[Any]]
R = TypeVar("R")

WIDTH = 128  # trials at a time: the tables of 16 blocks then stay in the processor's cache
SMALL = 2**18  # trials times splits that are not worth a second thread
NOISY_SPLITS, NOISY_TRIALS = 128, 2_000  # of each draw of noise, at most


class Blocks(NamedTuple):
    """Block sums of trials, those with equal lengths side by side.

    ``sums``, ``squares``: (blocks, trials). ``scales``, ``floors``, ``places`` (what number a trial
    had before it was put here): (trials,). ``starts``: where each kind of lengths begins, and the
    end; ``lengths``: (kinds, blocks).
    """

    sums: Array
    squares: Array
    scales: Array
    floors: Array
    places: Array
    starts: Array
    lengths: Array

    @property
    def bars(self) -> Array:
        """Bars of each block and trial, (blocks, trials)."""
        return np.repeat(self.lengths, np.diff(self.starts), axis=0).T


class Chosen(NamedTuple):
    """Of each split the trial that was best in sample.

    ``inside``, ``outside``: its figure in and out of sample; ``ranks``: its rank out of sample / (N
    + 1). First the splits that hold the first block in sample, then the same with swapped roles.
    """

    inside: Array
    outside: Array
    ranks: Array


def arrange(sums: Array, squares: Array, lengths: Array, scales: Array) -> Blocks:
    """Lay out (trials, blocks) sums and lengths for `choose`."""
    if (lengths == lengths[0]).all():  # which is quickly said
        kinds, kind = lengths[:1], np.zeros(len(lengths), np.int64)
    else:
        kinds, kind = np.unique(lengths, axis=0, return_inverse=True)
    places = np.argsort(kind.ravel(), kind="stable")
    starts = np.searchsorted(kind.ravel()[places], np.arange(len(kinds) + 1))
    floors = floor_of(squares.sum(axis=1), lengths.sum(axis=1))
    return Blocks(
        np.ascontiguousarray(sums[places].T),
        np.ascontiguousarray(squares[places].T),
        scales[places],
        floors[places],
        places,
        starts,
        kinds,
    )


@functools.lru_cache(maxsize=2)
def halves(blocks: int) -> Array:
    """Every half of the blocks that holds the first one, as bits (read-only)."""
    others = itertools.combinations(range(1, blocks), blocks // 2 - 1)
    masks = np.fromiter((1 + sum(1 << block for block in half) for half in others), np.int64)
    masks.sort()
    masks.flags.writeable = False
    return masks


def choose(blocks: Blocks, masks: Array, *, by_mean: bool) -> Chosen:
    """Go through the splits ``masks`` and their mirror images, on all cores if there is much."""
    trials = blocks.sums.shape[1]
    parts = min(cores(), len(masks)) if trials * len(masks) > SMALL else 1
    shares = np.array_split(masks, parts)
    found = _together([partial(_choose, blocks, share, by_mean) for share in shares])
    # Each part gives two rows, the splits and their mirror images.
    inside, outside, ranks = (
        np.concatenate(rows, axis=1).ravel() for rows in zip(*found, strict=True)
    )
    return Chosen(inside, outside, ranks / (trials + 1.0))


def noise(blocks: Blocks, masks: Array, *, by_mean: bool, draws: int, seed: int) -> Array:
    """PBO of ``draws`` sets of trials without any merit, correlated as these are, (draws,).

    The blocks' sums, less their mean, are rotated at random among the blocks (Langsrud 2005,
    Rotation tests): of Gaussian noise that is noise again, with exactly the same products between
    trials, however few blocks there are. Each draw goes through some of the splits and, where there
    are very many trials, evenly spread ones.
    """
    seeds = np.random.SeedSequence(seed).spawn(draws)
    few = _few(blocks)
    small = few.sums.size * draws < SMALL
    parts = 1 if small else min(cores(), draws)
    jobs = [partial(_noise, few, masks, by_mean, seeds[k::parts]) for k in range(parts)]
    return np.concatenate(_together(jobs))


def _noise(
    blocks: Blocks, masks: Array, by_mean: bool, seeds: list[np.random.SeedSequence]
) -> Array:
    count = len(blocks.sums)
    bars = blocks.bars
    mean = blocks.sums.sum(axis=0) / bars.sum(axis=0)
    moved = (blocks.sums - mean * bars) / np.sqrt(bars) * math.sqrt(count / (count - 1.0))
    within = (blocks.squares - blocks.sums**2 / bars).mean(axis=0)
    found = np.empty(len(seeds))
    for i, seed in enumerate(seeds):
        random = np.random.default_rng(seed)
        rotation = _rotation(count, random)
        # Not one matrix product: its rounding could tell equal trials apart.
        drawn = sum(rotation[:, k, None] * moved[k] for k in range(count))
        sums, squares = drawn * np.sqrt(bars), within + drawn**2
        some = random.choice(masks, min(len(masks), NOISY_SPLITS // 2), replace=False)
        floors = floor_of(squares.sum(axis=0), bars.sum(axis=0))
        ranks = _choose(blocks._replace(sums=sums, squares=squares, floors=floors), some, by_mean)[
            2
        ]
        found[i] = np.mean(2.0 * ranks <= sums.shape[1] + 1.0)
    return found


def _rotation(size: int, random: np.random.Generator) -> Array:
    """An orthogonal matrix, each as likely as any other."""
    matrix, triangle = np.linalg.qr(random.standard_normal((size, size)))
    rotation: Array = matrix * np.sign(np.diag(triangle))
    return rotation


def _few(blocks: Blocks) -> Blocks:
    """At most `NOISY_TRIALS` of the trials, evenly taken."""
    trials = blocks.sums.shape[1]
    if trials <= NOISY_TRIALS:
        return blocks
    taken = np.linspace(0, trials - 1, NOISY_TRIALS).round().astype(np.int64)
    return Blocks(
        np.ascontiguousarray(blocks.sums[:, taken]),
        np.ascontiguousarray(blocks.squares[:, taken]),
        blocks.scales[taken],
        blocks.floors[taken],
        blocks.places[taken],
        np.searchsorted(taken, blocks.starts),
        blocks.lengths,
    )


def _together(jobs: Sequence[Callable[[], R]]) -> list[R]:
    return side_by_side(*jobs) if len(jobs) > 1 else [job() for job in jobs]


def _choose(blocks: Blocks, masks: Array, by_mean: bool) -> tuple[Array, Array, Array]:
    """`choose` in one thread: figures inside and outside, ranks; (2, splits) each."""
    inside = np.full((2, len(masks)), -np.inf)
    place = np.full((2, len(masks)), np.iinfo(np.int64).max)
    outside, twice = np.zeros((2, len(masks))), np.zeros((2, len(masks)), np.int64)
    _go_through(
        as_input(blocks.sums), as_input(blocks.squares), as_input(blocks.scales),
        as_input(blocks.floors), as_input(blocks.places), as_input(blocks.starts),
        as_input(blocks.lengths), as_input(masks), by_mean, inside, place, outside, twice,
    )  # fmt: skip
    return inside, outside, (twice + 1) / 2.0


@compiled
def _go_through(
    sums: Array, squares: Array, scales: Array, floors: Array, places: Array,
    starts: Array, lengths: Array, masks: Array, by_mean: bool,
    inside: Array, place: Array, outside: Array, twice: Array,
) -> None:  # fmt: skip
    """Find the best of each half in a first turn, count whom it beats in the other in a second.

    The figures are computed anew in the second turn: that is quicker than to keep them.
    """
    blocks = len(sums)
    half = blocks // 2
    size, every = 1 << half, (1 << blocks) - 1
    width = min(WIDTH, sums.shape[1])
    early_sums, late_sums = np.empty((size, width)), np.empty((size, width))
    early_squares, late_squares = np.empty((size, width)), np.empty((size, width))
    these, those, room = np.empty(width), np.empty(width), np.empty(width)
    for turn in range(2):
        for kind in range(len(lengths)):
            for first in range(starts[kind], starts[kind + 1], width):
                last = min(first + width, starts[kind + 1])
                n = last - first
                _add_subsets(sums[:half, first:last], early_sums)
                _add_subsets(sums[half:, first:last], late_sums)
                _add_subsets(squares[:half, first:last], early_squares)
                _add_subsets(squares[half:, first:last], late_squares)
                scale, floor, numbers = scales[first:last], floors[first:last], places[first:last]
                for i in range(len(masks)):
                    for side in range(2):
                        mask = masks[i] if side == 0 else every ^ masks[i]
                        early, late = mask & (size - 1), mask >> half
                        _figures(
                            early_sums[early], late_sums[late],
                            early_squares[early], late_squares[late],
                            scale, floor, _bars(lengths[kind], mask), by_mean,
                            (these if side == 0 else those)[:n],
                        )  # fmt: skip
                    if turn == 0:
                        _best(these[:n], those, numbers, room, inside[0], place[0], outside[0], i)
                        _best(those[:n], these, numbers, room, inside[1], place[1], outside[1], i)
                    else:
                        twice[0, i] += _twice_beaten(those[:n], outside[0, i])
                        twice[1, i] += _twice_beaten(these[:n], outside[1, i])


@compiled
def _add_subsets(rows: Array, table: Array) -> None:
    """Row m of the table: the sum of the rows whose bits are set in m, the lowest added last."""
    table[0] = 0.0
    for m in range(1, len(table)):
        bit = 0
        while not (m >> bit) & 1:
            bit += 1
        rest, row, result = table[m & (m - 1)], rows[bit], table[m]
        for k in range(len(row)):
            result[k] = rest[k] + row[k]


@compiled
def _bars(lengths: Array, mask: int) -> float:
    bars = 0.0
    for block in range(len(lengths)):
        if (mask >> block) & 1:
            bars += lengths[block]
    return bars


@compiled
def _figures(
    early_sums: Array, late_sums: Array, early_squares: Array, late_squares: Array,
    scale: Array, floor: Array, bars: float, by_mean: bool, result: Array,
) -> None:  # fmt: skip
    """Scaled Sharpe ratio (0 without variance) or mean of each trial over one half."""
    share = 1.0 / bars
    factor = share if by_mean else np.sqrt(bars - 1.0) * share
    for k in range(len(result)):
        total = early_sums[k] + late_sums[k]
        spread = (early_squares[k] + late_squares[k]) - total * total * share
        spread = spread if spread > floor[k] else np.inf  # no branch: so many are done at once
        spread = 1.0 if by_mean else spread
        result[k] = total * (factor * scale[k]) / np.sqrt(spread)


@compiled
def _best(
    these: Array, those: Array, numbers: Array, room: Array,
    inside: Array, place: Array, outside: Array, i: int,
) -> None:  # fmt: skip
    """Note the best of these trials if it beats what was found, or is as good and came earlier."""
    top = _highest(these, room)
    if top < inside[i]:
        return
    for k in range(len(these)):
        if these[k] == top and (top > inside[i] or numbers[k] < place[i]):
            inside[i], place[i], outside[i] = top, numbers[k], those[k]
            return


@compiled
def _highest(values: Array, room: Array) -> float:
    """Halve again and again, each time keeping the higher of two: many at once, unlike a chain."""
    n = len(values)
    for k in range(n):
        room[k] = values[k]
    while n > 4:
        half = (n + 1) // 2
        for k in range(n - half):
            room[k] = room[k] if room[k] > room[half + k] else room[half + k]
        n = half
    highest = room[0]
    for k in range(1, n):
        highest = max(highest, room[k])
    return float(highest)


@compiled
def _twice_beaten(values: Array, value: float) -> int:
    """Twice the number below ``value`` plus the number of its equals, itself included."""
    count = 0
    for k in range(len(values)):
        count += int(values[k] < value) + int(values[k] <= value)
    return count
