"""From traced numbers to the rows that the kernel computes block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import indicators
from .._compile import as_input, compiled
from .._rolling import LARGEST, SCALE
from ..expressions import Call, Node
from . import rows
from .programs import DEEPEST, TOO_DEEP, Unread
from .windows import LONGEST

Array = np.ndarray[Any, np.dtype[Any]]
ARITHMETIC = {"+": rows.ADD, "-": rows.SUBTRACT, "*": rows.MULTIPLY, "/": rows.DIVIDE}
UNARY = {"neg": rows.NEGATE, "abs": rows.ABSOLUTE}


class Recipe(NamedTuple):
    """How one row is made: see `rows.Rows`. ``inputs``: numbers of the rows it is made from."""

    kind: int
    inputs: tuple[int, ...] = ()
    source: int = 0  # a column, or an array over all bars
    window: int = 0
    skip: int = 0
    factor: float = 0.0


class Grid(NamedTuple):
    """A column as whole ticks: running sums, running sums of those, and the largest value."""

    sums: Array
    rising: Array
    largest: float


Grids = dict[str, Grid | None]  # by column; None: its values are no whole ticks


class Recipes:
    """The rows that the traced nodes of one strategy need over ``columns``.

    ``grids``: shared by all recipes over the same columns, and filled by them.
    ``recipes``: in an order in which each comes after its inputs. ``full``: the nodes that have to
    be computed over all bars beforehand, by `evaluation`.
    """

    def __init__(self, columns: Mapping[str, Array], grids: Grids) -> None:
        self.names = [name for name in columns if name not in ("time", "end")]
        self.used: list[str] = []  # columns, as rows know them
        self.columns = columns
        self.recipes: list[Recipe] = []
        self.full: list[Node] = []
        self._known: dict[Recipe, int] = {}
        self._nodes: dict[int, int] = {}
        self._grids = grids
        self._depth = 0

    def row(self, node: Node) -> int:
        """The number of the row that holds ``node``."""
        found = self._nodes.get(node.number)
        if found is None:
            if self._depth > DEEPEST:
                raise Unread(TOO_DEEP)
            self._depth += 1
            try:
                found = self._nodes[node.number] = self._make(node)
            finally:
                self._depth -= 1
        return found

    def unmasked(self, number: int, other: int) -> int:
        """The row without the mask, if it is one that is masked where ``other`` is unknown."""
        recipe = self.recipes[number]
        masked = recipe.kind == rows.MASKED and recipe.inputs[1] == other
        return recipe.inputs[0] if masked else number

    def sources(self, full: Array) -> rows.Sources:
        """What the rows are computed from; ``full``: the values of `full`, (nodes, bars)."""
        bars = len(self.columns["close"])
        numbers = np.zeros((max(1, len(self.used)), bars))
        ticks, rising = np.zeros((2, len(numbers), bars + 1), np.int64)
        for k, name in enumerate(self.used):
            numbers[k] = self.columns[name]
            grid = self._grids.get(name)
            if grid is not None:
                ticks[k], rising[k] = grid.sums, grid.rising
        return rows.Sources(numbers, full, ticks, rising)

    def _column(self, name: str) -> int:
        if name not in self.used:
            self.used.append(name)
        return self.used.index(name)

    def _is_column(self, node: Node) -> bool:
        return node.op == "column" and node.value in self.names

    def _add(self, recipe: Recipe) -> int:
        found = self._known.get(recipe)
        if found is None:
            found = self._known[recipe] = len(self.recipes)
            self.recipes.append(recipe)
        return found

    def _make(self, node: Node) -> int:
        if self._is_column(node):
            return self._add(Recipe(rows.COLUMN, source=self._column(node.value)))
        if node.op == "constant":
            number = float(node.value)  # 0.0 and -0.0 are equal, yet not the same
            sign = int(math.copysign(1.0, number))
            return self._add(Recipe(rows.CONSTANT, source=sign, factor=number))
        if node.op in ARITHMETIC or node.op in UNARY:
            kind = ARITHMETIC.get(node.op) or UNARY[node.op]
            return self._add(Recipe(kind, tuple(map(self.row, node.args))))
        if node.op == "call":
            maker = MAKERS.get(node.value.function)
            if maker is not None:
                return maker(self, node)
        return self._whole(node)

    def _whole(self, node: Node) -> int:
        """A row that has to be computed over all bars."""
        self.full.append(node)
        return self._add(Recipe(rows.FULL, source=len(self.full) - 1))

    def _grid(self, name: str) -> Grid | None:
        """A column in ticks, if each of its values is one."""
        if name not in self._grids:
            sums, rising, largest = _running_sums(as_input(self.columns[name]), SCALE)
            self._grids[name] = Grid(sums, rising, largest) if largest >= 0 else None
        return self._grids[name]

    def average(self, node: Node) -> int:
        """``sma`` and ``wma``: from running sums, where those are exact."""
        (values,), (window,) = node.args, node.value.parameters
        weighted = node.value.function is indicators.wma
        if not self._is_column(values):
            return self._whole(node)
        grid = self._grid(values.value)
        total = window * (window + 1) // 2 if weighted else window
        exact = total * SCALE < 2.0**53
        if grid is None or not exact or grid.largest > min(LARGEST, 2.0**62 // total):
            return self._whole(node)
        if not weighted and grid.largest * window >= 2.0**53:
            return self._whole(node)
        kind = rows.WEIGHTED_MEAN if weighted else rows.MEAN
        return self._add(Recipe(kind, source=self._column(values.value), window=window))

    def ema(self, node: Node) -> int:
        """Exponential smoothing."""
        (window,) = node.value.parameters
        return self._smooth(self.row(node.args[0]), window, 2.0 / (window + 1))

    def rsi(self, node: Node) -> int:
        """Smoothed rises against smoothed falls."""
        (window,), values = node.value.parameters, self.row(node.args[0])
        up = self._smooth(self._add(Recipe(rows.RISE, (values,))), window, 1.0 / window)
        down = self._smooth(self._add(Recipe(rows.FALL, (values,))), window, 1.0 / window)
        return self._add(Recipe(rows.RSI, (up, down)))

    def atr(self, node: Node) -> int:
        """The true range, smoothed."""
        (window,), inputs = node.value.parameters, tuple(map(self.row, node.args))
        return self._smooth(self._add(Recipe(rows.RANGE, inputs)), window, 1.0 / window)

    def macd(self, node: Node) -> int:
        """Difference of two averages, its average, and the difference of these."""
        call: Call = node.value
        fast, slow, signal = call.parameters
        values = self.row(node.args[0])
        quick = self._smooth(values, fast, 2.0 / (fast + 1), skip=slow - fast)
        late = self._smooth(values, slow, 2.0 / (slow + 1))
        difference = self._add(Recipe(rows.SUBTRACT, (quick, late)))
        average = self._smooth(difference, signal, 2.0 / (signal + 1))
        if call.field == 1:
            return average
        line = self._add(Recipe(rows.MASKED, (difference, average)))
        return line if call.field == 0 else self._add(Recipe(rows.SUBTRACT, (line, average)))

    def bollinger(self, node: Node) -> int:
        """An average and so many deviations around it."""
        (values,), (window, width) = node.args, node.value.parameters
        middle = self.row(_node(indicators.sma(values, window)))
        if node.value.field == 1:
            return middle
        deviation = self.row(_node(indicators.rolling_std(values, window)))
        factor = -width if node.value.field == 0 else width
        return self._add(Recipe(rows.BAND, (middle, deviation), factor=factor))

    def deviation(self, node: Node) -> int:
        """The deviation of a column."""
        (values,), (window,) = node.args, node.value.parameters
        return self._window(rows.DEVIATION, node, values, window)

    def donchian(self, node: Node) -> int:
        """Lowest low, highest high, or half their sum."""
        (high, low), (window,), field = node.args, node.value.parameters, node.value.field
        if field == 1:
            lower, _, upper = map(_node, indicators.donchian(high, low, window))
            ends = self._add(Recipe(rows.ADD, (self.row(lower), self.row(upper))))
            two = self._add(Recipe(rows.CONSTANT, source=1, factor=2.0))
            return self._add(Recipe(rows.DIVIDE, (ends, two)))
        kind, values = (rows.LOWEST, low) if field == 0 else (rows.HIGHEST, high)
        return self._window(kind, node, values, window)

    def previous(self, node: Node) -> int:
        """A column some bars before, or anything one bar before."""
        (values,), (bars,) = node.args, node.value.parameters
        if self._is_column(values):
            return self._add(Recipe(rows.LAGGED, source=self._column(values.value), window=bars))
        if bars > 1:
            return self._whole(node)
        return self._add(Recipe(rows.BEFORE, (self.row(values),)))

    def _window(self, kind: int, node: Node, values: Node, window: int) -> int:
        """A row that looks at the last bars of a column, which ``values`` may not be."""
        if not self._is_column(values) or window > LONGEST:
            return self._whole(node)
        return self._add(Recipe(kind, source=self._column(values.value), window=window))

    def _smooth(self, values: int, window: int, alpha: float, skip: int = 0) -> int:
        return self._add(Recipe(rows.SMOOTH, (values,), 0, window, skip, alpha))


def _node(value: Any) -> Node:
    assert isinstance(value, Node)  # what an indicator makes of a node
    return value


MAKERS: dict[Any, Callable[[Recipes, Node], int]] = {
    indicators.sma: Recipes.average,
    indicators.wma: Recipes.average,
    indicators.ema: Recipes.ema,
    indicators.rsi: Recipes.rsi,
    indicators.atr: Recipes.atr,
    indicators.macd: Recipes.macd,
    indicators.bollinger: Recipes.bollinger,
    indicators.rolling_std: Recipes.deviation,
    indicators.donchian: Recipes.donchian,
    indicators.previous: Recipes.previous,
}


@compiled
def _running_sums(values: Array, scale: float) -> tuple[Array, Array, float]:
    """Running sums of the ticks before each bar, of those sums, and the largest (-1: not exact)."""
    sums, rising = np.zeros(len(values) + 1, np.int64), np.zeros(len(values) + 1, np.int64)
    largest = 0.0
    for i in range(len(values)):
        scaled = np.rint(values[i] * scale)
        if not (abs(scaled) < 2.0**50 and scaled / scale == values[i]):
            return sums, rising, -1.0
        largest = max(largest, abs(scaled))
        sums[i + 1] = sums[i] + np.int64(scaled)
        # the sums before bars 0 .. i
        rising[i + 1] = rising[i] + sums[i]
    return sums, rising, largest
