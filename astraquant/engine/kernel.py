"""The compiled evaluator: block by block, rows, decisions and fills of many trials."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from .bars import BLOCK, Market, prepare, prepare_shorts
from .cutting import Cuts, cut, find_parts, keep_sums, tables_of
from .decisions import SIDES, Program, Trials, Window, collect, collect_sided, decide
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
def most_fills(settings: int) -> int:
    """Of the trials that are filled at a time in a block: a stopped one may fill twice in a bar."""
    return (2 if settings else 1) * FILLED * (BLOCK + 8)


class Place(NamedTuple):
    """A block: its first bar, how many it has, the first of them that is evaluated.

    ``edge``: the first end of a time block that is not past. ``parts``: see `cutting`.
    """

    begin: int
    bars: int
    first: int
    edge: int
    parts: int


@compiled
def run(  # noqa: PLR0912 - one loop over blocks, so that their tables stay in the cache
    market: Market, window: Window, sources: Sources, rows: Rows, tiles: Tiles, program: Program,
    trials: Trials, values: Values, cuts: Cuts, watch: Watch, reach: Reach, state: Array,
    counts: Array, sided: bool, signals: Array,
) -> None:  # fmt: skip
    """Run all trials over all bars; what comes of it is in ``state`` and ``counts``.

    Under several settings of stops these have the rows of all trials for the first setting, then
    for the second and so on. ``sided``: whether trials may be short, or stopped.
    ``signals``: int64, [0] counts the blocks done, for others to watch; [1] other than 0 ends it.
    """
    events = np.zeros(most_fills(0), np.uint16)
    starts = np.zeros(FILLED + 1, np.int64)
    unpriced = Fills(events, starts, np.zeros(0))
    settings, count = len(watch.stops), len(trials.leaves)
    most = most_fills(settings) if settings else 0
    fills = Fills(np.zeros(most, np.uint16), np.zeros(FILLED + 1, np.int64), np.zeros(most))
    numbers = np.arange(len(state))
    edge = 0  # of the time blocks, the first that is not past
    for number in range(-(-window.end // BLOCK)):
        begin = number * BLOCK
        bars = min(BLOCK, window.end - begin)
        evaluated = begin + bars > window.first
        parts = 0
        if evaluated:
            parts = find_parts(cuts, edge, begin, bars)
            at = 0
            for part in range(parts):
                block, end = tables_of(cuts.tables, part), cuts.ends[part]
                prepare(block, market, begin + at, end - at)
                if sided:
                    prepare_shorts(block, market, begin + at, end - at)
                at = end
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
                place = Place(begin, bars, max(window.first - begin, 0), edge, parts)
                for setting in range(settings):
                    which = batch + setting * count
                    stop(
                        reach, watch, setting, market, unpriced, fills, begin, bars, window.delay,
                        state, counts, which,
                    )  # fmt: skip
                    _fill_sided(
                        cuts, market, fills.events, fills.starts, fills.prices, place, state,
                        counts, which,
                    )  # fmt: skip
                if settings:
                    continue
                if sided:
                    _fill_sided(cuts, market, events, starts, None, place, state, counts, batch)
                else:
                    _fill_long(cuts, market, events, starts, place, state, counts, batch)
        while edge < len(cuts.edges) and cuts.edges[edge] <= begin + bars:
            edge += 1
        signals[0] = number + 1
        if signals[1] != 0:
            return


@compiled
def _fill_long(
    cuts: Cuts, market: Market, events: Array, starts: Array, place: Place, state: Array,
    counts: Array, trials: Array,
) -> None:  # fmt: skip
    """`fill_long`, part by part."""
    at = 0
    for part in range(place.parts):
        end = cuts.ends[part]
        if place.parts > 1:
            cut(cuts, events, starts, None, len(trials), at, end, 1)
        if end > place.first:
            block = tables_of(cuts.tables, part)
            now, first = (cuts.events, cuts.starts) if place.parts > 1 else (events, starts)
            fill_long(block, market, now, first, place.begin + at, end - at, state, counts, trials)
        _keep(cuts, part, place, state, trials)
        at = end


@compiled
def _fill_sided(
    cuts: Cuts, market: Market, events: Array, starts: Array, prices: Array | None, place: Place,
    state: Array, counts: Array, trials: Array,
) -> None:  # fmt: skip
    """`fill_sided`, part by part."""
    at = 0
    for part in range(place.parts):
        end = cuts.ends[part]
        if place.parts > 1:
            cut(cuts, events, starts, prices, len(trials), at, end, SIDES)
        if end > place.first:
            block = tables_of(cuts.tables, part)
            now, first = (cuts.events, cuts.starts) if place.parts > 1 else (events, starts)
            paid = prices
            if prices is not None:
                paid = cuts.prices if place.parts > 1 else prices
            fill_sided(
                block, market, now, first, paid, place.begin + at, max(place.first - at, 0),
                end - at, state, counts, trials,
            )  # fmt: skip
        _keep(cuts, part, place, state, trials)
        at = end


@compiled
def _keep(cuts: Cuts, part: int, place: Place, state: Array, trials: Array) -> None:
    edge = place.edge + part
    if edge < len(cuts.edges) and cuts.edges[edge] == place.begin + cuts.ends[part]:
        keep_sums(cuts, edge, state, trials)
