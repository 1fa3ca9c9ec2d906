"""What the tests of the sweep engine share: its parts driven by hand, and tables for them.

``kernel_rows`` and ``kernel_positions`` run the engine's rows and decisions block by block, without
its fills, so that a test can compare them bar by bar with `evaluation`.
"""

from __future__ import annotations

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from astraquant.engine import decisions, programs
from astraquant.engine.bars import BLOCK
from astraquant.engine.lanes import LANES
from astraquant.engine.layout import lay_out
from astraquant.engine.recipes import Recipes
from astraquant.engine.rows import compute, empty_values
from astraquant.evaluation import evaluate

# Around a word and around one and two blocks.
SIZES = [1, 2, 3, 7, 30, 63, 64, 65, 129, 200, 1023, 1024, 1025, 2047, 2048, 2049]
KINDS = ("ties", "walk", "off the grid", "flat", "wild", "steps")
COLUMNS = ("open", "high", "low", "close", "volume")


def prices(bars, seed, kind):
    """Closes of one kind: many equal ones, a walk, no decimals of eight places, jumps ..."""
    dice = np.random.default_rng(seed)
    walk = np.cumsum(dice.normal(0, 0.02, bars))
    if kind == "ties":
        return dice.choice([1.0, 1.5, 2.0, 2.5, 3.0, 3.5], bars)
    if kind == "walk":
        return np.round(100 * np.exp(walk), 2)
    if kind == "off the grid":
        return 100 * np.exp(walk)
    if kind == "flat":
        lengths = dice.integers(1, 80, bars)
        return np.repeat(dice.choice([2.0, 3.0, 4.0], bars), lengths)[:bars]
    if kind == "wild":
        return 10.0 ** dice.uniform(-6, 9, bars)
    return np.round(100 * np.cumprod(dice.choice([1.0, 1.0, 1.0, 1.1, 0.8], bars)) + 0.01, 4)


def table(bars, seed, kind, step="5min"):
    """A candle table; some bars without volume, some missing."""
    dice = np.random.default_rng(seed + 1)
    closes = prices(bars + bars // 50, seed, kind)
    opens = np.where(dice.random(len(closes)) < 0.5, np.roll(closes, 1), dice.permutation(closes))
    volumes = np.round(dice.choice([0.0, 1.0, 2.5], len(closes)) * dice.random(len(closes)), 8)
    candles = naive.candle_table(opens, closes, volumes, step=step)
    gone = 2 + dice.permutation(max(len(candles) - 2, 0))[: len(candles) - bars]
    return candles.drop(candles.index[gone])


tables = st.builds(table, st.sampled_from(SIZES), st.integers(0, 2**32), st.sampled_from(KINDS))


def columns_with_holes(bars, seed, kind):
    """Columns of numbers in which some are NaN, some infinite, and some stretches are neither."""
    dice = np.random.default_rng(seed)
    columns = {"time": np.arange(bars, dtype=np.int64) * 300_000}
    for number, name in enumerate(COLUMNS):
        values = prices(bars, seed + number, kind)
        if number == 4 or dice.random() < 0.5:
            for hole in dice.choice([np.nan, np.inf, -np.inf], dice.integers(0, 4)):
                at = dice.integers(0, bars)
                values[at : at + dice.choice([1, 1, 5, 70])] = hole
        columns[name] = values
    return columns


def assert_rows_equal_backtests(result, rows=None):
    """Rows of a sweep (all of them, or those at some places) are the figures of `backtest`."""
    assert len(result.table) > 0
    names = list(result.table.columns)
    for place in np.arange(len(result.table))[slice(None) if rows is None else rows]:
        row = result.table.index[place]
        run = result.backtest(row)
        assert_row(row, result.table.iloc[place], run.metrics[names])
        assert_sums(row, result._job.sums[place], run._ledger.returns)


def assert_sums(row, got, returns):
    """Sums of the powers of returns, block of time by block, against a loop.

    Those of the kernel are differences of running sums: what is wrong with them is small beside the
    whole, though maybe not beside a block in which little happened.
    """
    bars, blocks = len(returns), len(got)
    for power in range(1, 5):
        whole = float(np.sum(np.abs(returns) ** power))
        for block in range(blocks):
            own = returns[bars * block // blocks : bars * (block + 1) // blocks]
            expected = sum(float(value) ** power for value in own)
            rel = 1e-9 if power < 3 else 1e-7
            assert got[block, power - 1] == pytest.approx(
                expected, rel=rel, abs=rel * whole + 1e-30, nan_ok=True
            ), (row, block, power)


def assert_row(row, got, expected, skip=()):
    """Every figure at 1e-9 or 1e-10; trades exactly."""
    for name, value in expected.items():
        if name in skip:
            continue
        same = got[name] == pytest.approx(value, rel=1e-9, abs=1e-10, nan_ok=True)
        assert same, (row, name, got[name], value)
    assert got["trades"] == expected["trades"]


def assert_same(one, other):
    """Two tables are the same, to the last bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# The engine's rows and decisions, driven by hand.


class _Laid:
    """Recipes of some leaves, laid out and ready to be computed block by block."""

    def __init__(self, recipes, leaves, program, columns):
        full = np.zeros((len(recipes.full), len(columns["close"])))
        for place, node in enumerate(recipes.full):
            full[place] = evaluate(node, columns)
        self.bars = len(columns["close"])
        self.sources = recipes.sources(full)
        self.layout = lay_out(recipes.recipes, leaves, program, 10_000)
        self.values = empty_values(max(self.layout.size, 1))

    def tiles(self):
        """Yield block number, its first bar, its bars, and the trials whose rows are there."""
        rows, trials = self.layout.tiles
        for number, begin in enumerate(range(0, self.bars, BLOCK)):
            bars = min(BLOCK, self.bars - begin)
            for tile in range(len(rows) - 1):
                compute(
                    self.layout.rows, rows[tile], rows[tile + 1], self.sources, self.values, begin,
                    bars,
                )  # fmt: skip
                yield number, begin, bars, range(trials[tile], trials[tile + 1])


def kernel_rows(nodes, columns):
    """The kernel's numbers for traced ``nodes``, (nodes, bars)."""
    recipes = Recipes(columns, {})
    leaves = np.array([[recipes.row(node)] for node in nodes])
    nothing = programs.Compiler().program((("constant", True),), "long")
    laid = _Laid(recipes, leaves, nothing, columns)
    result = np.full((len(nodes), laid.bars), -1.0)
    for _, begin, bars, trials in laid.tiles():
        made = rows_in(laid.values, laid.values.numbers)
        result[trials, begin : begin + bars] = made[laid.layout.slots[trials, 0], :bars]
    return result


def rows_in(values, flat):
    """The rows of a block in flat memory, (slots, BLOCK); they may lie further apart than that."""
    return flat.reshape(len(values.ordered), -1)[:, :BLOCK]


def kernel_positions(roots, columns, direction):
    """What the kernel decides for roots of one shape, (roots, bars): -1, 0, 1."""
    recipes = Recipes(columns, {})
    read = [programs.read(root) for root in roots]
    (shape,) = {shape for shape, _ in read}
    compiler = programs.Compiler()
    program = compiler.program(shape, direction)
    leaves = np.array([[recipes.row(node) for node in nodes] for _, nodes in read], np.int64)
    laid = _Laid(recipes, leaves.reshape(len(roots), -1), program, columns)
    memory = np.zeros((len(roots), compiler.places + 2), np.uint64)
    slots = np.ascontiguousarray(laid.layout.slots)
    bits = np.zeros((1, decisions.WORDS), np.uint64)
    trials = decisions.Trials(slots, bits, memory)
    result = np.zeros((len(roots), laid.bars), np.int64)
    for number, begin, bars, mine in laid.tiles():
        for first in range(mine.start, mine.stop, LANES):
            end = min(first + LANES, mine.stop)
            decisions.decide(program, trials, first, end, laid.values, number)
            for t in range(first, end):
                for row, side in ((program.long, 1), (program.short, -1)):
                    words = program.words[row : row + decisions.ROW].reshape(-1, LANES)[
                        1:, t - first
                    ]
                    held = np.unpackbits(words.copy().view(np.uint8), bitorder="little")[:bars]
                    result[t, begin : begin + bars] += side * held.astype(np.int64)
    return result
