"""Is the best of a search more than luck? The same search on markets in which nothing is known.

The bars of the market are drawn anew at random: as wild as they were, but nothing foretells them.
What the best of the search earns there is what it owes to chance and to having tried so much.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from . import metrics
from ._markets import in_range, to_grid
from .candles import COLUMNS, PRICES, check_candles
from .errors import DataError, StrategyError
from .jobs import Job
from .reports import format_figure, simulated

Array = np.ndarray[Any, np.dtype[Any]]
RISING = (
    "The shuffled markets do not rise on average: what a search earns by being long while the real "
    "one rises counts as beating them. Compare it with buy_and_hold."
)


def permute_candles(
    candles: pd.DataFrame, rng: np.random.Generator, block: float = 1
) -> pd.DataFrame:
    """A market of the same bars in random order, whose price is a martingale.

    Each bar is taken as the ratios of its open, high, low and close to the close before, with its
    volume. From all bars but the first, which stays, as many are drawn with replacement in blocks
    of random length, ``block`` bars on average (the stationary bootstrap of Politis and Romano
    1994: after a bar comes the next one, with probability 1 / ``block`` any one; after the last
    comes the first). All ratios are divided by the mean ratio of the closes, so that the mean
    return is zero, multiplied up from the close of the first bar, and written with eight decimals
    unless that moves a price by a millionth (such prices are swept several times as fast).

    With ``block=1`` nothing is left that could be foretold. Blocks keep what there is within them:
    if they are longer than what a strategy looks for, its edge is in the shuffled market too, and
    no test can find it any more. What longer blocks are good for: volatility stays in clusters.

    The times stay, gaps as well: the move across a gap goes along with the bar that follows it,
    wherever that is put. Columns besides open, high, low, close and volume are left out; no
    strategy reads them. ``attrs["source"]`` says that the prices are synthetic.

    Returns a candle table. Raises `DataError` for fewer than two bars, blocks that are shorter than
    a bar or longer than the table, and prices that leave the range of numbers.
    """
    table = check_candles(candles)
    _check_block(block, len(table))
    values = {name: table[name].to_numpy() for name in COLUMNS}
    close, drawn = values["close"], _draw(len(table) - 1, block, rng)
    ratios = np.array([values[name][1:] for name in PRICES]) / close[:-1]
    ratios /= ratios[-1].mean()  # of the closes, the last of PRICES
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        # As logarithms, since a product of so many could leave the range of numbers on its way.
        logs = math.log(close[0]) + np.cumsum(np.log(ratios[-1])[drawn])
        closes = np.concatenate([close[:1], np.exp(logs)])
        prices = closes[:-1] * ratios[:, drawn]
    prices[-1] = closes[1:]
    prices[1], prices[2] = prices.max(axis=0), prices.min(axis=0)  # mends rounding alone
    prices = to_grid(prices)
    if not in_range(prices):
        raise DataError(
            f"the bars of {table.index[0]} to {table.index[-1]} are so wild that prices made of "
            "them leave the range of numbers. Take a shorter span, or look for a wrong price."
        )
    made = {**dict(zip(PRICES, prices, strict=True)), "volume": values["volume"][1:][drawn]}
    columns = {name: np.concatenate([values[name][:1], made[name]]) for name in COLUMNS}
    result = pd.DataFrame(columns, index=table.index)
    told = table.attrs.get("source") or "a table"
    result.attrs = {**table.attrs, "source": f"synthetic: the bars of {told} in random order"}
    return result


def _check_block(block: float, bars: int) -> None:
    if bars < 2:
        raise DataError(f"{bars} candle(s); expected at least 2: there is no order to change.")
    number = isinstance(block, int | float | np.integer | np.floating)
    if not number or isinstance(block, bool) or not 1 <= block < bars:
        raise DataError(
            f"block={block!r}; expected a mean length of at least 1 bar, shorter than the table of "
            f"{bars:,} bars."
        )


def _draw(count: int, block: float, rng: np.random.Generator) -> Array:
    """Which of ``count`` bars comes at each of as many places: blocks of random length."""
    starts = rng.integers(count, size=count)
    if block == 1:
        return starts
    begins = rng.random(count) < 1 / block
    begins[0] = True
    first = np.maximum.accumulate(np.where(begins, np.arange(count), 0))  # of the place's block
    drawn: Array = (starts[first] + np.arange(count) - first) % count
    return drawn


@dataclass(frozen=True, eq=False, repr=False)
class PermutationTest:
    """The best of a search against the best of the same search on shuffled markets.

    ``p_value``: (1 + shuffled markets whose best is at least as good) / (1 + all of them).
    ``observed``: the search's best ``metric``. ``null``: the best on each shuffled market, shape
    (n,), NaN where no row of it has a value. ``n``, ``seed``, ``block``: as asked for. ``trials``:
    combinations in the search. ``strategy``: its name. ``days``: which were evaluated. ``source``:
    of the candles, if they say so.
    """

    p_value: float
    observed: float
    null: Array
    metric: str
    n: int
    seed: int
    block: float
    trials: int
    strategy: str
    days: str
    source: object = None

    @property
    def beaten(self) -> int:
        """How many shuffled markets gave a best at least as good."""
        return int(at_least_as_good(self.null, self.observed, self.metric).sum())

    @property
    def answer(self) -> str:
        """The test in one sentence."""
        count = {0: "none", 1: "one"}.get(self.beaten, f"{self.beaten:,}")
        markets = "one shuffled market" if self.n == 1 else f"{self.n:,} shuffled markets"
        return (
            f"p = {self.p_value:.3g}: of {markets}, where nothing can be known, {count} gave a "
            "best at least as good"
        )

    def plot(self) -> Any:
        """The best on each shuffled market as a histogram, and the observed one (bqplot)."""
        from .widgets.null_picture import null_chart

        return null_chart(self)

    def __repr__(self) -> str:
        return (
            f"<PermutationTest of {self.strategy}: p = {self.p_value:.3g}, best {self.metric} "
            f"{format_figure(self.metric, self.observed)} of {self.trials:,} trials against "
            f"{self.n:,} shuffled markets>"
        )

    def _repr_html_(self) -> str:
        name = self.metric.replace("_", " ")
        best = format_figure(self.metric, self.observed)
        known = self.null[~np.isnan(self.null)]
        middle = format_figure(self.metric, float(np.median(known)) if len(known) else math.nan)
        notes = (
            f"{self.strategy}, {self.days}: the best {name} of {self.trials:,} trials is {best}; "
            f"on shuffled markets it is {middle} in the middle.",
            RISING,
            simulated(self.source),
        )
        items = "".join(f"<li>{escape(note)}</li>" for note in notes if note)
        return f"<div><strong>{escape(self.answer)}.</strong><ul>{items}</ul></div>"


def at_least_as_good(values: Array, observed: float, metric: str) -> Array:
    """Which of ``values`` are no worse than ``observed``; a NaN is not."""
    better: Array = values <= observed if metric in metrics.LOWER_IS_BETTER else values >= observed
    return better


def permutation_test(
    job: Job, observed: float, days: str, *, n: int, metric: str, block: float, seed: int
) -> PermutationTest:
    """Run ``job`` again on ``n`` permuted tables; see `Sweep.permutation_test`.

    ``observed``: the best ``metric`` of the job on its own candles. ``days``: for the picture.
    """
    for name, value, least in (("n", n, 1), ("seed", seed, 0)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise StrategyError(f"{name}={value!r}; expected a whole number from {least} on")
    source = next(iter(job.markets.values())).source
    _check_block(block, len(source))
    null = np.full(int(n), np.nan)
    from tqdm.auto import tqdm

    quiet = bool(os.environ.get("TQDM_DISABLE"))  # which tqdm's bar for notebooks overlooks
    with tqdm(total=n, unit="market", delay=1, leave=False, disable=quiet) as progress:
        for k in range(len(null)):
            rng = np.random.default_rng([seed, k])  # so that a longer test begins as a shorter one
            null[k] = _best_of(job, permute_candles(source, rng, block), metric)
            progress.update(1)
    beaten = int(at_least_as_good(null, observed, metric).sum())
    return PermutationTest(
        p_value=(1 + beaten) / (1 + len(null)),
        observed=observed,
        null=null,
        metric=metric,
        n=int(n),
        seed=int(seed),
        block=block,
        trials=len(job.grid.rows),
        strategy=job.strategy.name,
        days=days,
        source=source.attrs.get("source"),
    )


def _best_of(job: Job, candles: pd.DataFrame, metric: str) -> float:
    """The best ``metric`` of the same job on other candles, NaN if no row has a value."""
    engine = "vectorbt" if job.vectorbt else "auto"
    again = Job(
        candles, job.strategy, job.grid, job.options, job.start, job.end, engine, job.memory_limit
    )
    found = again.run(lambda done, total: None)[metric].to_numpy(float)
    if np.isnan(found).all():
        return math.nan
    lower = metric in metrics.LOWER_IS_BETTER
    return float(np.nanmin(found) if lower else np.nanmax(found))
