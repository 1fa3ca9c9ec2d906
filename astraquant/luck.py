"""How much of a sweep's best result is luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import StrategyError
from .moments import Trials, join_blocks
from .reports import honesty_html
from .statistics import deflated_sharpe, expected_best_sharpe, pbo_of_sums, reality_check_of_sums
from .tried import count_trials

if TYPE_CHECKING:
    from .statistics import Pbo, RealityCheck

Array = np.ndarray[Any, np.dtype[Any]]
Row = tuple[Any, ...]
CONVINCING = 0.95  # a deflated Sharpe ratio


@dataclass(frozen=True)
class Luck:
    """The best Sharpe ratio of a sweep beside what luck alone would have made the best.

    ``trials``: how many were tried; ``known``: how many have a Sharpe ratio. ``best``: the row;
    ``sharpe``: its Sharpe ratio, and ``expected`` the one to be expected of the best if no trial
    had any edge, both a year. ``deflated``: the deflated Sharpe ratio, the probability that the
    best beats that luck. NaN where a figure has no value, for the ``reason``.

    Luck's spread is that of the trials' Sharpe ratios, for trials that resemble each other are
    lucky together; but never more than that of a trial without an edge, one over the root of the
    years. Where the ratios lie further apart, costs have ruined some trials, which is no bad luck.
    """

    trials: int
    known: int
    best: Row | None
    sharpe: float
    expected: float
    deflated: float
    reason: str = ""

    @property
    def words(self) -> str:
        """The short form, for titles."""
        if self.best is None:
            return f"none of {self.trials:,} trials has a Sharpe ratio"
        if math.isnan(self.deflated):
            return f"best of {self.trials:,} trial{'s' if self.trials > 1 else ''}: Sharpe {self.sharpe:.2f} ({self.reason})"
        return (
            f"best of {self.trials:,} trials: Sharpe {self.sharpe:.2f}; "
            f"probability that it beats luck {self.deflated:.2f}"
        )


def luck_of(trials: Trials, count: int = 0) -> Luck:
    """What deflation says of the best row, as the best of ``count`` trials (0: of those here)."""
    sharpe = trials.sharpe
    count = max(count, len(sharpe))
    known = int(np.isfinite(sharpe).sum())
    nothing = Luck(count, known, None, math.nan, math.nan, math.nan, "no trial has a Sharpe ratio")
    if not known:
        return nothing
    place = int(np.nanargmax(sharpe))
    row, best = trials.grid.rows[place], float(sharpe[place])
    if known < 2:
        why = "one trial alone says nothing about the best of many"
        return Luck(count, known, row, best, math.nan, math.nan, why)
    year = float(trials.year[place])
    bars, skew, kurtosis = _shape(trials, place)
    variance = min(float(np.nanvar(sharpe, ddof=1)), year**2 / (bars - 1))
    deflated = deflated_sharpe(
        best / year, bars, trials=count, variance=variance / year**2, skew=skew, kurtosis=kurtosis
    )
    expected = expected_best_sharpe(count, variance)
    return Luck(count, known, row, best, float(expected), float(deflated))


def _shape(trials: Trials, place: int) -> tuple[int, float, float]:
    """Bars, skewness and kurtosis (raw: 3 for a normal distribution) of the returns of one row."""
    bars = int(trials.lengths[place].sum())
    one, two, three, four = trials.sums[place].sum(axis=0) / bars
    variance = two - one**2
    third = three - 3 * one * two + 2 * one**3
    fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
    return bars, third / variance**1.5, fourth / variance**2


@dataclass(frozen=True)
class Honesty:
    """How much of a sweep's best result is luck.

    ``luck``: the deflated Sharpe ratio and what it comes from. ``pbo``: the probability of backtest
    overfitting, with the band that noise gives. ``reality_check``: whether the best mean return
    could be luck. ``plateau``: the mean Sharpe ratio of the best row's neighbours (one step away
    along each level of numbers) as a share of its own: near 1 on a plateau, small on a lonely peak;
    ``neighbours``: how many there are. ``blocks``: how many blocks of time that rests on.
    ``tried``: distinct configurations that this process has tried on the same candles, and
    ``deflated_by_all`` the deflated Sharpe ratio by that number; both grow with further sweeps, so
    ``repr`` leaves them out.
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
            f"{luck.deflated:.2f}: a probability, not a return. Neighbouring trials resemble each "
            "other, so to count them all is conservative."
        )

    def __repr__(self) -> str:
        low, high = map(_said, self.pbo.null_band)
        overfit, check = _said(self.pbo.probability), _said(self.reality_check.hansen)
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
        return [
            ("trials", f"{luck.trials:,}", f"{luck.known:,} of them have a Sharpe ratio"),
            (
                "tried since the start",
                f"{self.tried:,}",
                "distinct configurations on these candles; by that number the probability that the "
                f"best beats luck is {_said(self.deflated_by_all)}",
            ),
            ("best Sharpe ratio", _said(luck.sharpe), "a year, after costs"),
            ("expected by luck", _said(luck.expected), "of the best, if no trial had any edge"),
            (
                "deflated Sharpe ratio",
                _said(luck.deflated),
                f"the probability that the best beats that luck; convincing above {CONVINCING}",
            ),
            (
                "probability of overfitting",
                _said(self.pbo.probability),
                "how often the best of one half of the time is below the middle in the other half; "
                f"noise gives {_said(low)} to {_said(high)} ({self.blocks} blocks of time)",
            ),
            (
                "reality check",
                _said(self.reality_check.hansen),
                "p-value: how often luck alone makes a best mean return as good as this",
            ),
            (
                "plateau",
                _said(self.plateau),
                f"what share of the best Sharpe ratio its {self.neighbours} neighbours have, on "
                "average; a lonely peak has little",
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
    sums, lengths = _joined(trials, blocks)
    total = sums[..., 0]
    # A sum of squares that rounding has made smaller than can be.
    squares = np.maximum(sums[..., 1], total**2 / lengths)
    luck = luck_of(trials)
    plateau, neighbours = (math.nan, 0) if luck.best is None else _plateau(trials, luck.best)
    count = count_trials(trials.candles)
    return Honesty(
        luck,
        pbo_of_sums(total, squares, lengths, scale=trials.year),
        reality_check_of_sums(total, squares, lengths),
        plateau,
        neighbours,
        sums.shape[1],
        trials.source,
        count,
        luck_of(trials, count).deflated,
    )


def _joined(trials: Trials, blocks: int | None) -> tuple[Array, Array]:
    """Sums and lengths over so many blocks of time: neighbours among those that were kept.

    Each has two bars at least; as many as there can be, where ``blocks`` is None.
    """
    kept = trials.sums.shape[1]
    bars = int(trials.lengths.sum(axis=1).min())
    fitting = [k for k in range(2, kept + 1, 2) if kept % k == 0 and 2 * k <= bars]
    if not fitting:
        raise StrategyError(
            f"{bars} bars can't be divided into blocks of time; expected 4 at least"
        )
    if blocks is not None and blocks not in fitting:
        raise StrategyError(
            f"blocks={blocks!r}: expected {' or '.join(map(str, fitting))}, an even number of "
            f"blocks of time of two bars at least, to which the {kept} that this sweep has kept "
            "can be joined"
        )
    count = fitting[-1] if blocks is None else blocks
    return join_blocks(trials.sums, count), join_blocks(trials.lengths, count)


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
