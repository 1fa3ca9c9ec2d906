"""Time blocks: where one ends, a block of bars is cut, and the sums that each trial has are kept.

Statistics compare stretches of time (`statistics.pbo`), so each trial's sums of returns are wanted
for every stretch. A block in which a stretch ends is filled part by part, each with tables of its
own; there are few such blocks, and the others are filled as ever.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from .bars import BLOCK, CUBES, FOURTHS, POSITIVE, SQUARES, SUM, Block, empty_block

Array = np.ndarray[Any, np.dtype[Any]]
SUMS = 4  # of the powers of returns, from the first to the fourth


class Cuts(NamedTuple):
    """Where time blocks end, and memory for what is needed there.

    ``edges``: the bars before which they end, increasing; the last is the end of all bars.
    ``sums``: (rows, edges, SUMS), of each row's returns since the edge before.
    ``tables``: those of each part of a block, along the first axis. ``ends``: where a block's parts
    end, counted from its first bar. ``events``, ``starts``, ``prices``: the fills of a part;
    ``places``: how far each trial's fills have been gone through.
    """

    edges: Array
    sums: Array
    tables: Block
    ends: Array
    events: Array
    starts: Array
    prices: Array
    places: Array


def empty_cuts(edges: Array, first: int, rows: int, fills: int, trials: int) -> Cuts:
    """Memory for so many rows, and for at most so many fills of ``trials`` at a time.

    ``first``: the first bar that is evaluated.
    """
    begin, end = first // BLOCK * BLOCK, int(edges[-1])
    ends = np.union1d(np.append(np.arange(begin + BLOCK, end, BLOCK), end), edges)
    longest = int(np.diff(ends, prepend=begin).max())
    parts = int(np.unique((ends - 1) // BLOCK, return_counts=True)[1].max())
    tables = Block(*(np.zeros((parts, *table.shape)) for table in empty_block(longest)))
    return Cuts(
        edges, np.zeros((rows, len(edges), SUMS)), tables, np.zeros(parts, np.int64),
        np.zeros(fills, np.uint16), np.zeros(trials + 1, np.int64), np.zeros(fills),
        np.zeros(trials, np.int64),
    )  # fmt: skip


@compiled
def tables_of(tables: Block, part: int) -> Block:
    """The tables of one part."""
    return Block(
        tables.enter[part], tables.leave[part], tables.lowest[part], tables.highest[part],
        tables.sums[part], tables.powers[part], tables.middle[part],
    )  # fmt: skip


@compiled
def find_parts(cuts: Cuts, edge: int, begin: int, bars: int) -> int:
    """How many parts ``bars`` bars from ``begin`` on have; ``edge``: the first that is not past."""
    parts = 0
    while edge + parts < len(cuts.edges) and cuts.edges[edge + parts] < begin + bars:
        cuts.ends[parts] = cuts.edges[edge + parts] - begin
        parts += 1
    cuts.ends[parts] = bars
    return parts + 1


@compiled
def cut(
    cuts: Cuts, events: Array, starts: Array, prices: Array | None, trials: int, first: int,
    end: int, unit: int,
) -> None:  # fmt: skip
    """Keep the fills of bars ``first`` to ``end``, counted from ``first``, as those of the part.

    ``events``: bar * ``unit`` + what is to be done there. The parts come in order, the first with
    ``first`` = 0.
    """
    place = 0
    for number in range(trials):
        k = starts[number] if first == 0 else cuts.places[number]
        while k < starts[number + 1] and np.int64(events[k & POSITIVE]) < end * unit:
            cuts.events[place & POSITIVE] = np.int64(events[k & POSITIVE]) - first * unit
            if prices is not None:
                cuts.prices[place & POSITIVE] = prices[k & POSITIVE]
            place += 1
            k += 1
        cuts.places[number] = k
        cuts.starts[number + 1] = place


@compiled
def keep_sums(cuts: Cuts, edge: int, state: Array, trials: Array) -> None:
    """Note the sums of a time block that ends, and begin anew.

    So equal trades in a block give equal sums, to the last bit, whatever was before.
    """
    for t in trials:
        for to, column in enumerate((SUM, SQUARES, CUBES, FOURTHS)):
            cuts.sums[t, edge, to] = state[t, column]
            state[t, column] = 0.0
