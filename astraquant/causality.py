"""Whether a strategy looks ahead, and how much past it needs.

`check_strategy` runs a strategy on histories whose end is cut off or replaced by another future:
what it decided before must not change. A pass is strong evidence, never a proof: a look ahead that
changes no decision at the bars tried stays unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import timeframes
from .candles import check_candles, times_of
from .errors import DataError, StrategyError
from .evaluation import Boolean, Shared, evaluate, reachable
from .expressions import Node
from .runs import check_strategy_type
from .strategies.definition import Strategy
from .strategies.running import Tracer, columns_of, decide, decide_on_arrays, describe

Array = np.ndarray[Any, np.dtype[Any]]
Columns = Mapping[str, Array]
Decide = Callable[[Columns], Array]

CUTS = 16  # places drawn in the last three quarters: there the future is hidden, and replaced
EARLY = 8  # places in the first quarter, the nearer to its start the denser: a warm-up is short
PLACES = 16  # changes of position; a leak into a rare decision shows at that decision alone
ARRAY_RUNS = 60  # of all these trials, for a strategy on arrays: its calls may be slow
FACTORS = (3.0, 1 / 3.0)  # what the future's prices and volumes are multiplied by
STARTS = 60  # histories that begin elsewhere
LENGTHS = (50, 100, 250, 500, 1_000, 2_000, 4_000)
MOST_BARS = 20_000  # of a longer table the last ones are used, so that a check takes seconds
FEWEST_BARS = 50
_SIDES = {-1: "-1 (short)", 0: "0 (flat)", 1: "1 (long)"}


@dataclass(frozen=True, slots=True)
class CausalityReport:
    """What `check_strategy` found; to get one, every check has passed.

    ``cuts``: at how many bars the future was hidden or replaced. ``traced``: whether sweeps run it
    at full speed (else ``reason`` says why not, and NaN is handled as numpy does). ``changes``: how
    often its position changes in the bars used. ``needs``: after how many bars its answer no longer
    depended on where history starts, in the starts tried (an estimate; None: not within the bars
    given, or it never changed its position, which says nothing). ``disagreement``: number of bars
    -> share of starts whose answer still differed.
    """

    strategy: str
    bars: int
    cuts: int
    traced: bool
    reason: str
    changes: int
    needs: int | None
    disagreement: dict[int, float]

    def __repr__(self) -> str:
        traced = "traced" if self.traced else f"runs on arrays ({self.reason}), NaN as numpy has it"
        found = f"<{self.strategy}: no look ahead found at {self.cuts} bars of {self.bars:,}; "
        if not self.changes:
            return f"{found}{traced}; never changed its position here>"
        past = f"needs about {self.needs:,} bars" if self.needs else "needs more bars than these"
        return f"{found}{past}; {traced}; {self.changes:,} changes of position>"


def check_strategy(strategy: Strategy, candles: pd.DataFrame, **parameters: Any) -> CausalityReport:
    """Check that ``strategy`` keeps the contract on ``candles``; return a small report.

    Hides the future at several bars, and replaces it by another (other prices and volumes, a bar
    later): at bars spread over the table, and where its position changes. Compares the traced
    program with the function on plain arrays; calls it again after other candles (nothing may leak
    from call to call). Raises `StrategyError` naming the first bar whose past answer changed, and
    for answers of wrong shape or range. At least 50 candles; of more than 20,000 the last are used.
    """
    check_strategy_type(strategy)
    bound = strategy.bind(parameters)
    name = describe(strategy, bound)
    table = check_candles(candles)
    if len(table) < FEWEST_BARS:
        raise DataError(
            f"{len(table)} candles are too few to check a strategy; expected {FEWEST_BARS} or "
            "more, better some thousands"
        )
    timeframe = timeframes.infer_timeframe(times_of(table))
    columns = columns_of(table.iloc[-MOST_BARS:], timeframe)
    tracer = Tracer(strategy)

    def answer(seen: Columns) -> Array:
        return decide(tracer, seen, bound).position

    decision = decide(tracer, columns, bound)
    full = decision.position
    _compare(name, columns, full, answer(columns), "when it was called again on the same candles")
    trials = _trials(full, None if decision.program is not None else ARRAY_RUNS)
    for cut, factor in trials:
        _check_future(name, columns, full, answer, cut, factor)
    _compare(name, columns, full, answer(columns), "after it had been called on other candles")
    if decision.program is not None:
        _check_arrays(name, strategy, columns, decision.program, full, bound)
    changes = int(np.count_nonzero(np.diff(full)))
    disagreement = _measure_start(columns, full, answer)
    return CausalityReport(
        strategy=name,
        bars=len(full),
        cuts=len({cut for cut, _ in trials}),
        traced=decision.program is not None,
        reason=decision.reason,
        changes=changes,
        needs=_needed(disagreement) if changes else None,
        disagreement=disagreement,
    )


def _cuts(full: Array) -> list[int]:
    """How many bars to show: spread over the later table, and where the position changes."""
    bars = len(full)
    rng = np.random.default_rng(0)  # the same places each time
    spread = rng.integers(bars // 4, bars, size=CUTS)
    changes = np.flatnonzero(np.diff(full)) + 1  # the first bar of each new position
    places = rng.choice(changes, min(PLACES, len(changes)), replace=False)
    cuts = np.concatenate([spread, places, places + 1])
    return sorted({int(cut) for cut in cuts if 2 <= cut < bars})


def _trials(full: Array, most: int | None) -> list[tuple[int, float | None]]:
    """Pairs of bars to show and the factor of the future behind them; None: no future at all.

    A few bars alone are never shown: an honest strategy may refuse so short a history. Of more
    than ``most`` trials some are drawn, those at the table's start kept: only they show a leak
    into a warm-up.
    """
    cuts, quarter = _cuts(full), len(full) // 4
    early = sorted({int(cut) for cut in np.geomspace(2, quarter, EARLY)})
    trials: list[tuple[int, float | None]] = [(cut, None) for cut in cuts if cut >= quarter]
    trials += [(cut, factor) for cut in cuts for factor in FACTORS]
    first: list[tuple[int, float | None]] = [(cut, factor) for cut in early for factor in FACTORS]
    if most is not None and len(trials) + len(first) > most:
        rng = np.random.default_rng(1)
        drawn = rng.choice(len(trials), most - len(first), replace=False)
        trials = [trials[i] for i in sorted(drawn)]
    return trials + first


def _check_future(
    name: str, columns: Columns, full: Array, answer: Decide, cut: int, factor: float | None
) -> None:
    """Decide with the future from ``cut`` on hidden, or replaced; the past must stay."""
    after = _when(columns, cut - 1)
    if factor is None:
        seen: Columns = {column: values[:cut] for column, values in columns.items()}
        when = f"when bars after {after} were hidden"
    else:
        seen = _replaced(columns, cut, factor)
        when = (
            f"when prices and volumes after {after} were multiplied by {factor:.2g} and came one "
            "bar later"
        )
    _compare(name, columns, full[:cut], answer(seen)[:cut], when)


def _replaced(columns: Columns, cut: int, factor: float) -> Columns:
    """Another future: prices and volumes from ``cut`` on scaled, times one bar later (a gap)."""
    seen = {column: values.copy() for column, values in columns.items()}
    for column, values in seen.items():
        if column in ("time", "end"):
            values[cut:] += np.diff(columns["time"]).min()
        else:
            values[cut:] *= factor
    return seen


def _check_arrays(
    name: str,
    strategy: Strategy,
    columns: Columns,
    program: Node,
    full: Array,
    bound: Mapping[str, Any],
) -> None:
    """Compare with the function on plain arrays, which must agree where all is known.

    numpy takes ``~(nan > 1)`` for True, a traced program for unknown; each keeps its own rules. So
    only bars are compared at which nothing is unknown, and nothing unknown before is felt.
    """
    position, known = decide_on_arrays(strategy, columns, bound)
    first, stop = _comparable(program, columns)
    first = max(first, known)
    differ = full[first:stop] != position[first:stop]
    if not differ.any():
        return
    place = first + int(np.argmax(differ))
    raise StrategyError(
        f"{name} gives another answer when traced than on plain arrays: at "
        f"{_when(columns, place)} it holds {_SIDES[int(full[place])]} traced, but "
        f"{_SIDES[int(position[place])]} on arrays ({_count(differ)}). A strategy must compute the "
        "same from either; look for an `if` on types, or for a state kept from call to call"
    )


def _comparable(program: Node, columns: Columns) -> tuple[int, int]:
    """The longest stretch in which all is known, from where no unknown before it is felt."""
    nodes = reachable(program)
    shared = Shared()
    # A node is unknown where its inputs are, but these three may know more: look at their inputs.
    hiding = [node for node in nodes if node.op in ("hold", "call", "**")]
    watched = {arg.number: arg for node in hiding for arg in node.args} | {program.number: program}
    values = {number: evaluate(node, columns, shared) for number, node in watched.items()}
    known = [_known(value) for value in values.values()]
    known += [_known_at_closes(node, columns, shared) for node in nodes if node.op == "higher"]
    first, stop = _longest(np.logical_and.reduce(known))
    if first == 0:
        return first, stop
    free: dict[int, int] = {}  # by node: from where it doesn't depend on what was unknown before
    conditional: set[int] = set()  # numbers made of conditions: numpy has some of unknown ones
    for node in nodes:
        since = max((free[arg.number] for arg in node.args), default=first)
        made_of = conditional.intersection(arg.number for arg in node.args)
        if node.op == "hold":  # its state is of this stretch once it was entered or left here
            enter, leave = (values[arg.number] for arg in node.args)
            assert isinstance(enter, Boolean) and isinstance(leave, Boolean)
            turns = np.flatnonzero((enter.value != leave.value)[since:stop])
            since = since + int(turns[0]) if len(turns) else stop
        elif node.op.startswith("crossed"):
            since += 1
        elif node.op == "call" and made_of:  # an average may remember for ever
            since = stop
        if made_of or _chooses(node):
            conditional.add(node.number)
        free[node.number] = since
    return free[program.number], stop


def _chooses(node: Node) -> bool:
    """Whether numbers are made of a condition."""
    inside = reachable(node.value.root) if node.op == "higher" else [node]
    return any(part.op == "where" for part in inside)


def _known_at_closes(node: Node, columns: Columns, shared: Shared) -> Array:
    """Where a series of a higher timeframe is comparable: from one close to another."""
    coarse, _ = shared.coarse(node.value.timeframe, columns)
    first, stop = map(coarse.first_known, _comparable(node.value.root, coarse.columns))
    known = np.zeros(len(columns["close"]), np.bool_)
    known[first:stop] = True
    return known


def _known(value: Array | Boolean) -> Array:
    return value.known if isinstance(value, Boolean) else ~np.isnan(value)


def _longest(mask: Array) -> tuple[int, int]:
    """The longest run of True: its first place, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    if not len(edges):
        return 0, 0
    longest = int(np.argmax(edges[1::2] - edges[::2]))
    return int(edges[2 * longest]), int(edges[2 * longest + 1])


def _compare(name: str, columns: Columns, expected: Array, got: Array, when: str) -> None:
    differ = expected != got
    if not differ.any():
        return
    place = int(np.argmax(differ))
    once, now = _SIDES[int(expected[place])], _SIDES[int(got[place])]
    raise StrategyError(
        f"{name} changed its mind about the past: at {_when(columns, place)} it held "
        f"{once}, but {now} {when} ({_count(differ)}). What is decided at a close "
        "may use this bar and earlier ones only"
    )


def _count(differ: Array) -> str:
    bars = int(differ.sum())
    return f"{bars:,} bars differ" if bars > 1 else "that bar alone differs"


def _when(columns: Columns, bar: int) -> pd.Timestamp:
    return timeframes.from_ms(columns["time"][bar : bar + 1])[0]


def _measure_start(columns: Columns, full: Array, answer: Decide) -> dict[int, float]:
    """Number of bars -> share of histories of that length whose last answer differs."""
    lengths = [length for length in LENGTHS if length <= len(full) // 2]
    if not lengths:
        return {}
    longest = lengths[-1]
    starts = np.unique(np.linspace(1, len(full) - longest, STARTS, dtype=np.int64))
    differ = np.zeros(len(lengths))
    for start in starts:
        got = answer({n: values[start : start + longest] for n, values in columns.items()})
        ends = np.array(lengths) - 1
        differ += got[ends] != full[start + ends]
    return {n: float(d) / len(starts) for n, d in zip(lengths, differ, strict=True)}


def _needed(disagreement: Mapping[int, float]) -> int | None:
    """The shortest length from which on no start disagreed."""
    needed = None
    for length, share in sorted(disagreement.items(), reverse=True):
        if share > 0:
            break
        needed = length
    return needed
