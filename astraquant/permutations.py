"""Is the best of a search more than luck? The same search on markets in which nothing is known.

A shuffled market is made of bars of the real one, drawn at random with replacement: as wild as they
were, but nothing foretells them. What the best of the search earns there is what it owes to chance
and to having tried so much.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd

from . import metrics
from ._markets import in_range, to_grid
from .candles import COLUMNS, PRICES, check_candles
from .errors import DataError, StrategyError
from .jobs import Job
from .reports import format_figure, simulated
from .runs import figures_of, run_holding
from .timeframes import parse_time

Array = np.ndarray[Any, np.dtype[Any]]
RISING = (
    "The shuffled markets do not rise on average: what a search earns by being long while the real "
    "one rises counts as beating them. Compare it with buy_and_hold."
)
# What holding has a figure for that says how well it did.
HELD = {"total_return", "annual_return", "gross_return", "buy_and_hold"}
HELD |= {"sharpe", "sortino", "max_drawdown"}


def permute_candles(
    candles: pd.DataFrame,
    rng: np.random.Generator,
    block: float = 1,
    *,
    start: object = None,
    end: object = None,
) -> pd.DataFrame:
    """A market made of bars drawn from ``candles`` at random, whose price is a martingale.

    Each bar is taken as the ratios of its open, high, low and close to the close before, with its
    volume. From all bars but the first, which stays, as many are drawn with replacement in blocks
    of random length, ``block`` bars on average (the stationary bootstrap of Politis and Romano
    1994: after a bar comes the next one, with probability 1 / ``block`` any one; after the last
    comes the first). All ratios are divided by the mean ratio of the closes, so that the mean
    return is zero, multiplied up from the close of the first bar, and written with eight decimals
    unless that moves a price by a millionth (such prices are swept several times as fast). So a bar
    without a move gets one: minus the mean return, the same tiny size in all such bars.

    ``start`` and ``end`` as in `backtest`: the bars before ``start``, those from there to before
    ``end`` and those from ``end`` on are three parts. Each is drawn from itself and divided by its
    own mean, so that the evaluated bars are as wild as they were, whatever came before.

    With ``block=1`` nothing is left that could be foretold. Blocks keep what there is within them:
    if they are longer than what a strategy looks for, its edge is in the shuffled market too, and
    no test can find it any more. What longer blocks are good for: volatility stays in clusters.

    The times stay, gaps as well: the move across a gap goes along with the bar that follows it,
    wherever that is put. Columns besides open, high, low, close and volume are left out; no
    strategy reads them. ``attrs["source"]`` says that the prices are synthetic.

    Returns a candle table. Raises `DataError` for fewer than two bars from ``start`` to ``end``,
    blocks that are shorter than a bar or not shorter than these bars, and prices that leave the
    range of numbers.
    """
    table = check_candles(candles)
    first, last = _window(table, start, end)
    _check_block(block, last - first)
    values = {name: table[name].to_numpy() for name in COLUMNS}
    close, drawn = values["close"], np.empty(len(table) - 1, np.int64)
    ratios = np.array([values[name][1:] for name in PRICES]) / close[:-1]
    # Ratios begin with the second bar.
    for begin, stop in pairwise((0, max(first - 1, 0), last - 1, len(drawn))):
        if begin < stop:
            drawn[begin:stop] = begin + _draw(stop - begin, block, rng)
            ratios[:, begin:stop] /= ratios[-1, begin:stop].mean()  # of closes, the last of PRICES
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
    result.attrs = {**table.attrs, "source": f"synthetic: bars drawn at random from {told}"}
    return result


def _window(table: pd.DataFrame, start: object, end: object) -> tuple[int, int]:
    """The places of the first bar at or after ``start``, and of the first at or after ``end``."""
    first, last = 0, len(table)
    if start is not None:
        first = int(table.index.searchsorted(parse_time(start, "start")))
    if end is not None:
        last = int(table.index.searchsorted(parse_time(end, "end")))
    return first, max(first, last)


def _check_block(block: float, bars: int) -> None:
    if bars < 2:
        raise DataError(f"{bars} candle(s) to draw from; expected at least 2. Take a longer span.")
    number = isinstance(block, int | float | np.integer | np.floating)
    if not number or isinstance(block, bool) or not 1 <= block < bars:
        raise DataError(
            f"block={block!r}; expected a mean length of at least 1 bar, shorter than the "
            f"{bars:,} bars to draw from."
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

    A shuffled market is made of bars drawn from the real one (see `permute_candles`).
    ``p_value``: (1 + shuffled markets whose best is at least as good) / (1 + all of them).
    ``observed``: the search's best ``metric``. ``null``: the best on each shuffled market, shape
    (n,), NaN where no row of it has a value. ``n``, ``seed``, ``block``: as asked for. ``trials``:
    combinations in the search. ``strategy``: its name. ``days``: which were evaluated. ``source``:
    of the candles, if they say so. ``buy_and_hold``: the ``metric`` of buying once and holding over
    the evaluated bars, the best over the search's timeframes and costs; NaN for what holding has no
    figure of, such as a win rate. ``direction``: of the search. ``rise``: by how much the price did
    over the evaluated bars, as a fraction.
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
    buy_and_hold: float = math.nan
    direction: str = "both"
    rise: float = 0.0

    @property
    def beaten(self) -> int:
        """How many shuffled markets gave a best at least as good."""
        return int(at_least_as_good(self.null, self.observed, self.metric).sum())

    @property
    def answer(self) -> str:
        """The test in one sentence, and one about holding if the price's drift may be all of it."""
        return f"{self.verdict}. {self.drift}" if self.drift else self.verdict

    @property
    def verdict(self) -> str:
        """The test in one sentence."""
        count = {0: "none", 1: "one"}.get(self.beaten, f"{self.beaten:,}")
        markets = "one shuffled market" if self.n == 1 else f"{self.n:,} shuffled markets"
        return (
            f"p = {self.p_value:.3g}: of {markets}, where nothing can be known, {count} gave a "
            "best at least as good"
        )

    @property
    def drift(self) -> str:
        """Why the drift of the price may be what was found; empty if nothing speaks for it."""
        held = bool(at_least_as_good(np.array([self.buy_and_hold]), self.observed, self.metric)[0])
        rode = {"long": self.rise > 0, "short": self.rise < 0}.get(self.direction, False)
        if not held and not rode:
            return ""
        way = "rise" if self.rise > 0 else "fall"
        moves = f"the shuffled markets do not {way}, so the drift counts as skill here"
        if math.isnan(self.buy_and_hold):
            return moves.capitalize()
        figure = format_figure(self.metric, self.buy_and_hold)
        said = f"Holding has {figure}{', at least as good' if held else ''}"
        return f"{said}: {moves}" if rode or self.rise > 0 else said

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
        figure = format_figure(self.metric, self.buy_and_hold)
        held = "" if math.isnan(self.buy_and_hold) else f"; holding has {figure}"
        notes = (
            f"{self.strategy}, {self.days}: the best {name} of {self.trials:,} trials is {best}; "
            f"on shuffled markets it is {middle} in the middle{held}.",
            "" if self.drift else RISING,
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
    """Run ``job`` again on ``n`` shuffled markets; see `Sweep.permutation_test`.

    ``observed``: the best ``metric`` of the job on its own candles. ``days``: for the picture.
    """
    for name, value, least in (("n", n, 1), ("seed", seed, 0)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise StrategyError(f"{name}={value!r}; expected a whole number from {least} on")
    market = next(iter(job.markets.values()))
    source, bars = market.source, market.evaluated
    null = np.full(int(n), np.nan)
    from tqdm.auto import tqdm

    quiet = bool(os.environ.get("TQDM_DISABLE"))  # which tqdm's bar for notebooks overlooks
    with tqdm(total=n, unit="market", delay=1, leave=False, disable=quiet) as progress:
        for k in range(len(null)):
            rng = np.random.default_rng([seed, k])  # so that a longer test begins as a shorter one
            made = permute_candles(source, rng, block, start=job.start, end=job.end)
            null[k] = _best_of(job, made, metric)
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
        buy_and_hold=_holding(job, metric),
        direction=job.options.direction,
        rise=float(bars["close"][-1] / bars["open"][0]) - 1.0,
    )


def _best_of(job: Job, candles: pd.DataFrame, metric: str) -> float:
    """The best ``metric`` of the same job on other candles, NaN if no row has a value."""
    engine = "vectorbt" if job.vectorbt else "auto"
    again = Job(
        candles, job.strategy, job.grid, job.options, job.start, job.end, engine, job.memory_limit
    )
    return _best(again.run(lambda done, total: None)[metric].to_numpy(float), metric)


def _best(values: Array, metric: str) -> float:
    place = metrics.best_place(values, metric)
    return math.nan if place is None else float(values[place])


def _holding(job: Job, metric: str) -> float:
    """The best ``metric`` of buying once and holding, at the timeframes and costs of ``job``."""
    if metric not in HELD:
        return math.nan
    found = []
    for market, cost in product(job.markets.values(), job.costs):
        options = replace(job.options, cost=cost)
        found.append(figures_of(market, run_holding(market, options), options)[metric])
    return _best(np.array(found), metric)
