"""The compiled evaluator: block by block, rows, decisions and fills of many trials."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from .bars import BLOCK, Block, Market, prepare, prepare_shorts
from .decisions import Program, Trials, Window, collect, collect_sided, decide
from .fills import fill_long
from .lanes import LANES
from .rows import Rows, Sources, Values, compute
from .sided import fill_sided
from .watching import Fills, Reach, Watch, prepare_stops, stop

Array = np.ndarray[Any, np.dtype[Any]]
FILLED = 64  # trials that are filled at a time


class Tiles(NamedTuple):
    """Which rows are computed for which trials: in each block one tile after the other.

    ``rows``, ``trials``: (tiles + 1,) bounds. The first tile has the rows that all others use.
    """

    rows: Array
    trials: Array


@compiled
def run(  # noqa: PLR0912 - one loop over blocks, so that their tables stay in the cache
    market: Market, window: Window, sources: Sources, rows: Rows, tiles: Tiles, program: Program,
    trials: Trials, values: Values, block: Block, watch: Watch, reach: Reach, state: Array,
    counts: Array, sided: bool, signals: Array,
) -> None:  # fmt: skip
    """Run all trials over all bars; what comes of it is in ``state`` and ``counts``.

    Under several settings of stops these have the rows of all trials for the first setting, then
    for the second and so on. ``sided``: whether trials may be short, or stopped.
    ``signals``: int64, [0] counts the blocks done, for others to watch; [1] other than 0 ends it.
    """
    events = np.zeros(FILLED * (BLOCK + 8), np.uint16)
    starts = np.zeros(FILLED + 1, np.int64)
    unpriced = Fills(events, starts, np.zeros(0))
    settings, count = len(watch.stops), len(trials.leaves)
    most = 2 * FILLED * (BLOCK + 8) if settings else 0
    fills = Fills(np.zeros(most, np.uint16), np.zeros(FILLED + 1, np.int64), np.zeros(most))
    numbers = np.arange(len(state))
    for number in range(-(-window.end // BLOCK)):
        begin = number * BLOCK
        bars = min(BLOCK, window.end - begin)
        evaluated = begin + bars > window.first
        if evaluated:
            prepare(block, market, begin, bars)
            if sided:
                prepare_shorts(block, market, begin, bars)
            if settings:
                prepare_stops(reach, watch, begin, bars)
        for tile in range(len(tiles.rows) - 1):
            compute(rows, tiles.rows[tile], tiles.rows[tile + 1], sources, values, begin, bars)
            for first in range(tiles.trials[tile], tiles.trials[tile + 1], FILLED):
                batch = numbers[first : min(first + FILLED, tiles.trials[tile + 1])]
                for part in range(0, len(batch), LANES):
                    end = min(first + part + LANES, first + len(batch))
                    decide(program, trials, first + part, end, values, number)
                    if sided:
                        collect_sided(
                            program, trials, first + part, end, window, number, events, starts, part
                        )
                    else:
                        collect(
                            program, trials, first + part, end, window, number, events, starts,
                            part, counts,
                        )  # fmt: skip
                if not evaluated:
                    continue
                local = max(window.first - begin, 0)
                for setting in range(settings):
                    which = batch + setting * count
                    stop(
                        reach, watch, setting, market, unpriced, fills, begin, bars, window.delay,
                        state, counts, which,
                    )  # fmt: skip
                    fill_sided(
                        block, market, fills.events, fills.starts, fills.prices, begin, local, bars,
                        state, counts, which,
                    )  # fmt: skip
                if settings:
                    continue
                if sided:
                    fill_sided(
                        block, market, events, starts, None, begin, local, bars, state, counts,
                        batch,
                    )  # fmt: skip
                else:
                    fill_long(block, market, events, starts, begin, bars, state, counts, batch)
        signals[0] = number + 1
        if signals[1] != 0:
            return
