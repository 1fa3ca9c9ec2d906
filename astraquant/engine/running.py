"""Many trials at once: traced, laid out, and run by the kernel on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np

from .._compile import as_input
from ..evaluation import Shared, evaluate
from ..expressions import CannotTrace, Node
from ..strategies.running import Tracer, decide_on_arrays, decide_program, paused_collection
from . import kernel, programs
from .bars import BLOCK, COUNTS, Market, empty_block
from .decisions import WORDS, Trials, Window
from .fills import STATE, new_state
from .layout import lay_out
from .recipes import Recipes
from .rows import Sources, empty_values

Array = np.ndarray[Any, np.dtype[Any]]
Watch = Callable[[float], object]
ROUGH = 1e3  # ratio of prices in a block beyond which differences of sums of closes lose digits
TOGETHER = 256  # neighbours go to the same core: they share rows
SMALL = 2**24  # bars times trials that are not worth a second thread


class Setting(NamedTuple):
    """Over which bars trials are run, and what their answers mean.

    ``columns``: the candles (`strategies.running.columns_of`), warm-up included; ``first``: the
    first bar that is evaluated. ``price``: the column at which fills are made, ``delay``: 1 where
    that is in the bar after the decision. ``cost`` comes with each run.
    """

    columns: Mapping[str, Array]
    first: int
    price: str
    delay: int
    direction: str
    slippage: float
    cash: float

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


def threads() -> int:
    """On how many cores this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Batch:
    """Trials made ready to run: read into programs once, run under several costs.

    ``reason``: why the first of the ``arrays`` trials that were not traced was run over arrays;
    ``evaluated``: trials whose traced programs the kernel has no words for.
    """

    def __init__(
        self,
        tracer: Tracer,
        setting: Setting,
        bounds: Sequence[Mapping[str, Any]],
        budget: int,
    ) -> None:
        self.setting = setting
        self.size = len(bounds)
        self.reason, self.arrays, self.evaluated = "", 0, 0
        self._room = max(1, budget // (8 * setting.bars))  # arrays over all bars at a time
        self._tracer = tracer
        self._shared = Shared(budget // 4)
        self._bounds = bounds

    def groups(self) -> Iterator[Group]:
        """The trials by shape; a group never needs more arrays than there is room for.

        All are traced before the first is made, so that a strategy's error is told at once.
        """
        open_: dict[programs.Shape, _Draft] = {}
        roots = [self._trace(bound) for bound in self._bounds]
        for t, (bound, root) in enumerate(zip(self._bounds, roots, strict=True)):
            if root is None:
                position, _ = decide_on_arrays(
                    self._tracer.strategy, self.setting.columns, bound, self.setting.direction
                )
                yield from self._put_position(open_, t, position)
                continue
            read = self._read(root)
            if read is None:
                self.evaluated += 1
                yield from self._put_position(open_, t, self._evaluate(root, bound))
                continue
            shape, leaves = read
            draft = open_.get(shape)
            if draft is not None and draft.is_full(self._room):
                yield draft.group()
                draft = None
            if draft is None:
                draft = open_[shape] = _Draft(shape, Recipes(self.setting.columns))
            draft.put(t, leaves)
        self._forget()
        for draft in open_.values():
            yield draft.group()

    def _trace(self, bound: Mapping[str, Any]) -> Node | None:
        try:
            return self._tracer.trace(bound)
        except CannotTrace as why:
            self.reason, self.arrays = self.reason or str(why), self.arrays + 1
            return None

    def _forget(self) -> None:
        """Let go of what was traced: its parts know each other, and only a long search finds that.

        That search, Python's garbage collection, would else go through all of it again and again.
        """
        self._tracer.graph.nodes.clear()
        self._tracer.graph.calls.clear()

    def _read(self, root: Node) -> tuple[programs.Shape, list[Node]] | None:
        """Shape and leaves; None for what the kernel has no words for."""
        if root.kind == "number" and self.setting.direction != "long":
            return None  # an error, which the evaluation words
        try:
            return programs.read(root)
        except (programs.TooDeep, ValueError):
            return None

    def _evaluate(self, root: Node, bound: Mapping[str, Any]) -> Array:
        setting = self.setting
        return decide_program(
            self._tracer.strategy, root, setting.columns, bound, setting.direction, self._shared
        )

    def _put_position(
        self, open_: dict[programs.Shape, _Draft], t: int, position: Array
    ) -> Iterator[Group]:
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
        self.trials.append(t)
        numbers = [self.recipes.row(node) for node in leaves]
        for place, other in self._only:  # unknown where the other is: it need not say so itself
            numbers[place] = self.recipes.unmasked(numbers[place], numbers[other])
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


def make_ready(group: Group, setting: Setting) -> Ready:
    """Compute the arrays over all bars that the rows of a group need."""
    recipes = group.recipes or Recipes(setting.columns)
    full = np.zeros((len(recipes.full), setting.bars))
    shared = Shared(2**26)
    for place, node in enumerate(recipes.full):
        full[place] = np.asarray(evaluate(node, setting.columns, shared))
    return Ready(group, recipes, recipes.sources(full))


def run_group(
    ready: Ready, setting: Setting, cost: float, watch: Watch | None = None
) -> tuple[Array, Array]:
    """State and counts of a group's trials (see `fills`) at one cost.

    ``watch`` is told now and then how much is done, from 0 to 1. An exception in the meantime, such
    as an interrupt, ends the kernel at its next block and passes.
    """
    trials = len(ready.group.trials)
    parts = 1 if trials * setting.bars < SMALL else min(threads(), -(-trials // TOGETHER))
    turns = np.arange(trials) // TOGETHER % parts
    with paused_collection():
        jobs = [_Part(ready, setting, cost, np.flatnonzero(turns == k)) for k in range(parts)]
    if parts == 1 and trials * setting.bars < SMALL:
        jobs[0].run()
    else:
        _run_parts(jobs, watch or (lambda share: None))
    state, counts = np.empty((trials, STATE)), np.empty((trials, COUNTS), np.int64)
    for job in jobs:
        state[job.which], counts[job.which] = job.state, job.counts
    return state, counts


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

    def __init__(self, ready: Ready, setting: Setting, cost: float, which: Array) -> None:
        group = ready.group
        leaves = group.leaves[which]
        self.which = which
        self.state, self.counts = new_state(len(leaves), setting.cash, setting.first)
        self._signals = np.zeros(2, np.int64)
        self._blocks = -(-setting.bars // BLOCK)
        columns = setting.columns
        compiler = programs.Compiler()
        program = compiler.program(group.shape, setting.direction)
        if group.recipes is None:
            layout = lay_out([], np.zeros((len(leaves), 0), np.int64), program)
            slots = leaves
        else:
            layout = lay_out(ready.recipes.recipes, leaves, program)
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
            empty_block(),
            self.state,
            self.counts,
            group.sided(setting.direction),
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
