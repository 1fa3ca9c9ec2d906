"""Many trials at once: traced, laid out, and run by the kernel on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np

from .._compile import as_input, cores
from ..evaluation import Shared, evaluate
from ..expressions import CannotTrace, Node
from ..stops import NONE, Stops, Watched
from ..strategies.definition import Strategy
from ..strategies.running import Tracer, decide_on_arrays, decide_program, paused_collection
from . import kernel, programs, watching
from .bars import BLOCK, COUNTS, Market
from .cutting import SUMS, empty_cuts
from .decisions import WORDS, Trials, Window
from .fills import STATE, new_state
from .layout import lay_out
from .recipes import Grids, Recipes
from .rows import Sources, empty_values
from .watching import empty_reach

Array = np.ndarray[Any, np.dtype[Any]]
Watch = Callable[[float], object]
ROUGH = 1e3  # ratio of prices in a block beyond which differences of sums of closes lose digits
BYTES_PER_NUMBER = 10  # of a row in a block, its key included
FEWEST = 256  # rows of a block for which there is always room
BYTES_PER_NODE = 1_500  # measured: of a traced node, the recipes and rows that come of it
TOGETHER = 128  # neighbours go to the same core: they share rows
SMALL = 2**24  # bars times trials that are not worth a second thread


class Setting(NamedTuple):
    """Over which bars trials are run, and what their answers mean.

    ``columns``: the candles (`strategies.running.columns_of`), warm-up included; ``first``: the
    first bar that is evaluated. ``price``: the column at which fills are made, ``delay``: 1 where
    that is in the bar after the decision. ``watched``: where stops are watched, needed where there
    are any; ``finer``: whether those candles are finer than the bars. ``edges``: the bars before
    which time blocks end (increasing, the last is the number of bars); one block if there are none.
    Cost and stops come with each run.
    """

    columns: Mapping[str, Array]
    first: int
    price: str
    delay: int
    direction: str
    slippage: float
    cash: float
    watched: Watched | None = None
    finer: bool = False
    edges: tuple[int, ...] = ()

    @property
    def bars(self) -> int:
        """How many bars there are, warm-up included."""
        return len(self.columns["close"])

    def is_rough(self, cost: float) -> bool:
        """Whether sums over a block may lose digits, or a trade all its stake to what it costs."""
        close = self.columns["close"]
        begins = np.arange(0, len(close), BLOCK)
        low, high = np.minimum.reduceat(close, begins), np.maximum.reduceat(close, begins)
        return bool((high > ROUGH * low).any()) or (1.0 - cost) * (1.0 - self.slippage) < 0.01


class Group(NamedTuple):
    """Trials of one shape: their places among all, and the rows of their leaves."""

    trials: Array
    leaves: Array
    shape: programs.Shape
    recipes: Recipes | None  # None: the leaves are words
    bits: Array

    def sided(self, direction: str) -> bool:
        """Whether its trials may be short."""
        return direction != "long" or self.shape[-1][0] in programs.SIDED


class Batch:
    """Trials made ready to run: read into programs once, run under several costs.

    ``reason``: why the first of those that could not be traced was run over arrays. ``unread``: how
    many were traced, but their conditions evaluated over arrays, and ``why`` the first of them.
    ``decided`` is called after each of both, which are slow.
    """

    def __init__(
        self,
        strategy: Strategy,
        setting: Setting,
        bounds: Sequence[Mapping[str, Any]],
        budget: int,
        decided: Callable[[], object],
    ) -> None:
        self.setting = setting
        self.reason, self.why, self.unread = "", "", 0
        self._strategy = strategy
        self._bounds = bounds
        self._budget = budget
        self._decided = decided
        self._room = max(1, budget // (8 * setting.bars))  # arrays over all bars at a time
        self._shared = Shared(budget // 4)
        self._grids: Grids = {}

    def groups(self) -> Iterator[Group]:
        """The trials by shape; a group never needs more arrays than there is room for.

        As many as there is room for are traced before the first is made: a strategy's error is told
        as early as can be.
        """
        first = 0
        while first < len(self._bounds):
            tracer, roots = Tracer(self._strategy), []
            for bound in self._bounds[first:]:
                roots.append(self._trace(tracer, bound))
                if len(tracer.graph.nodes) * BYTES_PER_NODE > self._budget:
                    break
            open_: dict[programs.Shape, _Draft] = {}
            for t, root in enumerate(roots, start=first):
                yield from self._put(open_, t, root)
            # What was traced knows its own parts, and they know it: Python's garbage collection
            # would go through all of it again and again before it lets go.
            tracer.graph.nodes.clear()
            tracer.graph.calls.clear()
            del roots
            yield from (draft.group() for draft in open_.values() if draft.trials)
            first = t + 1

    def _trace(self, tracer: Tracer, bound: Mapping[str, Any]) -> Node | None:
        try:
            return tracer.trace(bound)
        except CannotTrace as why:
            self.reason = self.reason or str(why)
            return None

    def _put(
        self, open_: dict[programs.Shape, _Draft], t: int, root: Node | None
    ) -> Iterator[Group]:
        """Put a trial into the draft of its shape; a draft that is full goes out first."""
        if root is None:
            position, _ = decide_on_arrays(
                self._strategy, self.setting.columns, self._bounds[t], self.setting.direction
            )
            yield from self._put_position(open_, t, position)
            return
        try:
            if root.kind == "number" and self.setting.direction != "long":
                raise programs.Unread("")  # an error, which the evaluation words
            shape, leaves = programs.read(root)
            draft = open_.get(shape)
            if draft is not None and draft.is_full(self._room):
                yield draft.group()
                draft = None
            if draft is None:
                recipes = Recipes(self.setting.columns, self._grids)
                draft = open_[shape] = _Draft(shape, recipes)
            draft.put(t, leaves)
        except programs.Unread as why:
            self.unread, self.why = self.unread + 1, self.why or str(why)
            setting = self.setting
            position = decide_program(
                self._strategy, root, setting.columns, self._bounds[t], setting.direction,
                self._shared,
            )  # fmt: skip
            yield from self._put_position(open_, t, position)

    def _put_position(
        self, open_: dict[programs.Shape, _Draft], t: int, position: Array
    ) -> Iterator[Group]:
        self._decided()
        draft = open_.get(programs.BITS)
        if draft is not None and len(draft.bits) >= 2 * 16 * self._room:  # a bit, not eight bytes
            yield draft.group()
            draft = None
        if draft is None:
            draft = open_[programs.BITS] = _Draft(programs.BITS, None)
        draft.put_position(t, position)


class _Draft:
    """A group that is being put together."""

    def __init__(self, shape: programs.Shape, recipes: Recipes | None) -> None:
        self.shape, self.recipes = shape, recipes
        self.trials: list[int] = []
        self.leaves: list[list[int]] = []
        self.bits: list[Array] = []
        self._only = programs.only_compared(shape)

    def is_full(self, room: int) -> bool:
        return self.recipes is not None and len(self.recipes.full) >= room

    def put(self, t: int, leaves: Sequence[Node]) -> None:
        assert self.recipes is not None
        numbers = [self.recipes.row(node) for node in leaves]
        for place, other in self._only:  # unknown where the other is: it need not say so itself
            numbers[place] = self.recipes.unmasked(numbers[place], numbers[other])
        self.trials.append(t)
        self.leaves.append(numbers)

    def put_position(self, t: int, position: Array) -> None:
        self.trials.append(t)
        self.leaves.append([len(self.bits), len(self.bits) + 1])
        self.bits += [_words(position == 1), _words(position == -1)]

    def group(self) -> Group:
        bits = np.array(self.bits) if self.bits else np.zeros((1, WORDS), np.uint64)
        leaves = np.array(self.leaves, np.int64).reshape(len(self.trials), -1)
        return Group(np.array(self.trials), leaves, self.shape, self.recipes, bits)


def _words(condition: Array) -> Array:
    """A condition as words, filled up to a whole number of blocks."""
    blocks = -(-len(condition) // BLOCK)
    padded = np.zeros(blocks * BLOCK, np.bool_)
    padded[: len(condition)] = condition
    return np.packbits(padded, bitorder="little").view(np.uint64)


class Ready(NamedTuple):
    """A group with everything computed that does not depend on the cost."""

    group: Group
    recipes: Recipes
    sources: Sources
    slots: int  # rows that are kept for a whole block, at most


def make_ready(group: Group, setting: Setting, budget: int) -> Ready:
    """Compute the arrays over all bars that the rows of a group need."""
    recipes = group.recipes or Recipes(setting.columns, {})
    full = np.zeros((len(recipes.full), setting.bars))
    shared = Shared(budget // 4)
    for place, node in enumerate(recipes.full):
        full[place] = np.asarray(evaluate(node, setting.columns, shared))
    slots = max(FEWEST, budget // (8 * BLOCK * BYTES_PER_NUMBER))
    return Ready(group, recipes, recipes.sources(full), slots)


def run_group(
    ready: Ready,
    setting: Setting,
    cost: float,
    stops: Sequence[Stops] = (),
    watch: Watch | None = None,
) -> tuple[Array, Array, Array]:
    """State and counts of a group's trials (see `fills`) at one cost, under each of ``stops``.

    Shapes (max(1, stops) x trials, ...), all trials under the first setting first. The third has
    the sums of the powers of each one's returns between the edges of time: (..., edges, SUMS).
    ``watch`` is told now and then how much is done, from 0 to 1. An exception in the meantime, such
    as an interrupt, ends the kernel at its next block and passes.
    """
    trials, settings = len(ready.group.trials), max(1, len(stops))
    small = trials * settings * setting.bars < SMALL
    rows = np.arange(settings * trials).reshape(settings, trials)
    jobs = []
    with paused_collection():
        for chosen, which in _shares(settings, trials, 1 if small else cores()):
            part = _Part(ready, setting, cost, [stops[k] for k in chosen] if stops else [], which)
            jobs.append((part, rows[np.ix_(chosen, which)].ravel()))
    parts = [part for part, _ in jobs]
    if small:
        parts[0].run()
    else:
        _run_parts(parts, watch or (lambda share: None))
    state = np.empty((rows.size, STATE))
    counts = np.empty((rows.size, COUNTS), np.int64)
    sums = np.empty((rows.size, max(1, len(setting.edges)), SUMS))
    for part, places in jobs:
        state[places], counts[places], sums[places] = part.state, part.counts, part.sums
    state[:, :SUMS] = sums.sum(axis=1)
    return state, counts, sums


def _shares(settings: int, trials: int, parts: int) -> Iterator[tuple[Array, Array]]:
    """Which settings of stops and which trials each thread does.

    Trials are dealt out, for under all settings they share their decisions; only where there are
    fewer of them than of settings, these are.
    """
    every = np.arange(settings), np.arange(trials)
    if trials < min(parts, settings):
        for share in np.array_split(every[0], min(parts, settings)):
            yield share, every[1]
        return
    parts = min(parts, trials)
    turns = every[1] // min(TOGETHER, -(-trials // parts)) % parts
    for k in range(parts):
        yield every[0], np.flatnonzero(turns == k)


def _run_parts(jobs: Sequence[_Part], watch: Watch) -> None:
    with ThreadPoolExecutor(len(jobs)) as pool:
        try:
            running: set[Future[None]] = {pool.submit(job.run) for job in jobs}
            while running:
                done, running = wait(running, timeout=0.1)
                for future in done:
                    future.result()
                watch(sum(job.share for job in jobs) / len(jobs))
        except BaseException:
            for job in jobs:
                job.stop()
            raise


class _Part:
    """What one thread does of a group: its own rows, its own share of the trials."""

    def __init__(
        self, ready: Ready, setting: Setting, cost: float, stops: Sequence[Stops], which: Array
    ) -> None:
        group = ready.group
        leaves = group.leaves[which]
        rows = len(leaves) * max(1, len(stops))
        self.state, self.counts = new_state(rows, setting.cash, setting.first)
        watch = _watch(setting, stops)
        edges = np.array(setting.edges or (setting.bars,), np.int64)
        cuts = empty_cuts(edges, setting.first, rows, kernel.most_fills(len(stops)), kernel.FILLED)
        self.sums = cuts.sums
        self._signals = np.zeros(2, np.int64)
        self._blocks = -(-setting.bars // BLOCK)
        columns = setting.columns
        compiler = programs.Compiler()
        program = compiler.program(group.shape, setting.direction)
        if group.recipes is None:
            layout = lay_out([], np.zeros((len(leaves), 0), np.int64), program, 0)
            slots = leaves
        else:
            layout = lay_out(ready.recipes.recipes, leaves, program, ready.slots)
            slots = layout.slots
        close, volume = as_input(columns["close"]), as_input(columns["volume"])
        price = as_input(columns[setting.price])
        empty = _words(volume == 0.0)
        memory = np.zeros((len(leaves), compiler.places + 2), np.uint64)
        self._arguments = (
            Market(close, price, volume, cost, setting.slippage),
            Window(setting.first, setting.bars, setting.delay, empty),
            ready.sources,
            layout.rows,
            layout.tiles,
            program,
            Trials(np.ascontiguousarray(slots), group.bits, memory),
            empty_values(max(layout.size, 1)),
            cuts,
            watch,
            empty_reach(len(watch.trails)),
            self.state,
            self.counts,
            group.sided(setting.direction) or len(stops) > 0,
            self._signals,
        )

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return float(self._signals[0]) / self._blocks

    def stop(self) -> None:
        """End the kernel at its next block."""
        self._signals[1] = 1

    def run(self) -> None:
        kernel.run(*self._arguments)


def _watch(setting: Setting, stops: Sequence[Stops]) -> watching.Watch:
    """What the kernel has to know about stops."""
    values = np.array(stops, np.float64).reshape(len(stops), 3)
    trailing = values[:, 2]
    trails = np.unique(trailing[trailing < NONE])
    which = np.where(trailing < NONE, np.searchsorted(trails, trailing), -1)
    nothing = np.zeros(0)
    watched = setting.watched or Watched(nothing, nothing, nothing, np.zeros(0, np.int64))
    low, high = (as_input(setting.columns[name]) for name in ("low", "high"))
    inputs = Watched(*map(as_input, watched))
    return watching.Watch(low, high, inputs, int(setting.finer), values, trails, which)
