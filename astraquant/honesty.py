"""Everything that tells an edge from luck in one place: what `Sweep.honesty` returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from .errors import StrategyError
from .luck import CONVINCING, Luck, Row, luck_of, say_probability
from .moments import FEWEST_BLOCKS, Trials, join_blocks
from .reports import honesty_html
from .statistics import Pbo, RealityCheck, pbo_of_sums, reality_check_of_sums
from .tried import tried_on

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Honesty:
    """How much of a sweep's best result is luck.

    ``luck``: the deflated Sharpe ratio and what it comes from. ``pbo``: the probability of backtest
    overfitting, with the band that noise gives. ``reality_check``: whether the best ratio of mean
    to deviation could be luck, of the trials of this sweep. ``plateau``: the mean Sharpe ratio of
    the best row's neighbours (one step away along each level of numbers) as a share of its own:
    near 1 on a plateau, small on a lonely peak; ``neighbours``: how many there are. ``blocks``: how
    many blocks of time were compared.
    ``tried``: distinct configurations that this process has swept on exactly these candles, and
    ``deflated_by_all`` the deflated Sharpe ratio by their number and spread; both change with
    further sweeps, so ``repr`` leaves them out.
    """

    luck: Luck
    pbo: Pbo
    reality_check: RealityCheck
    plateau: float
    neighbours: int
    blocks: int
    source: object = field(repr=False)
    tried: int = field(repr=False)
    deflated_by_all: float = field(repr=False)

    @property
    def sentence(self) -> str:
        """What it comes to, in plain words."""
        luck = self.luck
        if math.isnan(luck.deflated):
            return f"{luck.words[0].upper()}{luck.words[1:]}."
        if luck.deflated > CONVINCING:
            verdict = "more than luck would bring"
        elif luck.sharpe > luck.expected:
            verdict = "more than luck brings on average, but within its reach"
        else:
            verdict = "no more than luck alone would bring"
        return (
            f"The best of {luck.trials:,} trials has a Sharpe ratio of {luck.sharpe:.2f} a year. "
            f"Had none of them any edge, the luckiest would still be expected to reach about "
            f"{luck.expected:.2f}, so this is {verdict}. The probability that it beats luck is "
            f"{say_probability(luck.deflated)}: a probability, not a return. Neighbouring trials "
            "resemble each other, so to count them all is conservative."
        )

    def __repr__(self) -> str:
        low, high = map(_said, self.pbo.null_band)
        overfit, check = _said(self.pbo.probability), say_probability(self.reality_check.hansen)
        return (
            f"<Honesty: {self.luck.words}; PBO {overfit} (noise {low} to {high}), "
            f"reality check p {check}, plateau {_said(self.plateau)}>"
        )

    def _repr_html_(self) -> str:
        return honesty_html(self)

    @property
    def reasons(self) -> list[str]:
        """Why figures have no value, a sentence each."""
        luck, found = self.luck, [self.pbo.reason, self.reality_check.reason]
        found += [luck.reason] if math.isnan(luck.deflated) else []
        return [f"{text[0].upper()}{text[1:]}." for text in dict.fromkeys(found) if text]

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """Each figure's name, its value, and what it means."""
        luck, (low, high) = self.luck, self.pbo.null_band
        noise = "" if math.isnan(low) else f"; noise gives {_said(low)} to {_said(high)}"
        near = f"of its {self.neighbours} neighbours" if self.neighbours > 1 else "of its neighbour"
        return [
            ("trials", f"{luck.trials:,}", f"with a Sharpe ratio: {luck.known:,}"),
            (
                "tried since the start",
                f"{self.tried:,}",
                "distinct configurations swept on exactly these candles; by all of them the "
                f"probability that the best beats luck is {say_probability(self.deflated_by_all)}",
            ),
            ("best Sharpe ratio", _said(luck.sharpe), "a year, after costs"),
            ("expected by luck", _said(luck.expected), "of the best, if no trial had any edge"),
            (
                "deflated Sharpe ratio",
                say_probability(luck.deflated),
                f"the probability that the best beats that luck; convincing above {CONVINCING}",
            ),
            (
                "probability of overfitting",
                _said(self.pbo.probability),
                "how often the best of one half of the time is not above the middle in the other "
                f"({self.blocks} blocks of time){noise}",
            ),
            (
                "reality check",
                say_probability(self.reality_check.hansen),
                "p-value: how often luck alone makes the best of these trials as good",
            ),
            (
                "plateau",
                _said(self.plateau),
                f"the mean Sharpe ratio {near} as a share of its own; a lonely peak has little",
            ),
        ]

    def plot(self) -> Any:
        """How the choice of one half of the time fared in the other, a dot for each division."""
        from .widgets.luck_picture import luck_picture

        return luck_picture(self)


def _said(figure: float) -> str:
    return "–" if math.isnan(figure) else f"{figure:.2f}"


def honesty_of(trials: Trials, blocks: int | None) -> Honesty:
    """See `Sweep.honesty`."""
    luck = luck_of(trials)
    plateau, neighbours = (math.nan, 0) if luck.best is None else _plateau(trials, luck.best)
    overfitting, check, count = _over_blocks(trials, blocks)
    tried = tried_on(trials.candles)
    return Honesty(
        luck,
        overfitting,
        check,
        plateau,
        neighbours,
        count,
        trials.source,
        tried.trials,
        luck_of(trials, tried).deflated,
    )


def _over_blocks(trials: Trials, blocks: int | None) -> tuple[Pbo, RealityCheck, int]:
    """What compares blocks of time, and how many: neighbours are joined until there are so many.

    Each has two bars at least; as many as there can be, where ``blocks`` is None.
    """
    kept, bars = trials.sums.shape[1], int(trials.lengths.sum(axis=1).min())
    fitting = [k for k in (4, 8, 16) if k <= kept and 2 * k <= bars]
    if blocks is not None and (blocks not in fitting or not isinstance(blocks, int)):
        expected = " or ".join(map(str, fitting)) or "none, for there are too few bars"
        raise StrategyError(
            f"blocks={blocks!r}: expected {expected}. A sweep keeps the sums of {kept} blocks of "
            f"time, of which neighbours can be joined, and each needs two bars; the shortest row "
            f"has {bars}"
        )
    if not fitting:
        need = 2 * FEWEST_BLOCKS
        why = f"{bars} bars are too few to compare blocks of time; {need} are needed at least"
        return *_nothing(why), 0
    count = fitting[-1] if blocks is None else blocks
    sums, lengths = join_blocks(trials.sums, count), join_blocks(trials.lengths, count)
    total = sums[..., 0]
    # A sum of squares that rounding has made smaller than can be.
    squares = np.maximum(sums[..., 1], total**2 / lengths)
    overfitting = pbo_of_sums(total, squares, lengths, scale=trials.year)
    return overfitting, reality_check_of_sums(total, squares, lengths), count


def _nothing(why: str) -> tuple[Pbo, RealityCheck]:
    nan, none = math.nan, np.zeros(0)
    return (
        Pbo(nan, (nan, nan), nan, nan, none, none, none, 0, (), 0, 0, why),
        RealityCheck(nan, nan, nan, None, 0, (), nan, 0, why),
    )


def _plateau(trials: Trials, best: Row) -> tuple[float, int]:
    """How the neighbours of the best row fare (see `Honesty`), and how many of them there are.

    Those without a Sharpe ratio are left out; NaN where none has one, or the best is not positive.
    """
    grid = trials.grid
    near = [_near(values, value) for values, value in zip(grid.levels.values(), best, strict=True)]
    places = {row: place for place, row in enumerate(grid.rows)}
    others = [places[row] for row in product(*near) if row in places and row != best]
    known = trials.sharpe[others][np.isfinite(trials.sharpe[others])]
    highest = trials.sharpe[places[best]]
    if not len(known) or not highest > 0:
        return math.nan, len(known)
    return float(known.mean() / highest), len(known)


def _near(values: Sequence[Any], value: Any) -> list[Any]:
    """A value of a level, with the ones beside it where they are numbers."""
    if isinstance(value, str):
        return [value]
    ordered = sorted(values)
    at = ordered.index(value)
    return ordered[max(at - 1, 0) : at + 2]
