"""Markets with a known answer: made so that one can say beforehand what a search may find.

A search that finds nothing in the others, or something in the random walk, is wrong. All of them
are synthetic, and their tables say so. A bar opens where the one before closed: what is decided at
a close and filled at the next open earns exactly the next bar's return.

Figures are expectations for each bar, at no cost, for stakes that are set anew at every close:

- ``sharpe``: of the rule that the answer names, which holds 1, -1 or 0: mean / standard deviation,
  not annualised. ``mean``: its mean return;
- ``accuracy``: the share of the bars that it holds in which the price goes its way;
- ``gated_sharpe``: the best that may also stay flat while the forecast is weak;
- ``linear_sharpe``: a stake in proportion to the forecast;
- ``best_sharpe``: the bound for every rule, whatever its stakes;
- ``break_even_cost``: the cost per side (a fraction of the traded value, as in `backtest`) at which
  the rule earns nothing, because it changes its position so often.

With forecast f and noise of variance s² each, a rule that stakes w(f) has the mean E[w·f] and the
second moment E[w²·(f² + s²)]. By Cauchy and Schwarz mean² / second moment is at most
E = E[f² / (f² + s²)], so no Sharpe ratio exceeds √(E / (1 - E)); w = f / (f² + s²) reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from ._markets import (
    PRICE,
    START,
    Array,
    Plan,
    check_count,
    check_drift,
    check_phi,
    gaussian_figures,
    seasonal_figures,
)
from .timeframes import DAY, duration

KEPT = 0.9  # of its distance from the mean, from one bar to the next: the Ornstein-Uhlenbeck price


@dataclass(frozen=True, eq=False, repr=False)
class KnownMarket:
    """A market and what can be known about it.

    ``candles``: a candle table. ``oracle``: expected figures for each bar by name (see the module).
    ``answer``: the same in one sentence.
    """

    candles: pd.DataFrame
    oracle: Mapping[str, float]
    answer: str

    def __repr__(self) -> str:
        return f"<KnownMarket of {len(self.candles):,} bars: {self.answer}>"


def random_walk(
    bars: int,
    *,
    seed: int = 0,
    volatility: float = 0.005,
    timeframe: str = "1h",
    start: object = START,
) -> KnownMarket:
    """Returns that nothing foretells: normal, independent, with mean zero.

    ``volatility``: their standard deviation. Every figure of the oracle is 0, its accuracy 0.5.
    The same arguments give the same market. Raises `DataError` for what it can't make.
    """
    plan = Plan(bars, seed, volatility, timeframe, start)
    moves = plan.volatility * plan.noise()
    answer = (
        "Nothing foretells a return: no rule earns anything before costs, and each loses what it "
        "pays"
    )
    return _known(plan, "random walk", moves, gaussian_figures(0.0, 1.0, plan.volatility), answer)


def ar1(
    bars: int,
    phi: float,
    *,
    seed: int = 0,
    volatility: float = 0.005,
    timeframe: str = "1h",
    start: object = START,
) -> KnownMarket:
    """Returns that lean towards the last one (``phi`` > 0: trends) or against it (< 0: reversals).

    r' = φ·r + √(1 - φ²)·σ·ε, with normal ε and the standard deviation σ = ``volatility``. The rule
    holds the sign of φ·r. Two normal numbers of correlation φ have the same sign with probability
    ½ + arcsin(φ)/π (Sheppard 1899). So the rule is right with ½ + arcsin(|φ|)/π; its mean is
    |φ|·σ·√(2/π), the second moment σ², hence its Sharpe ratio |φ|·√(2/π) / √(1 - 2φ²/π); it turns
    from one side to the other, two units, with probability ½ - arcsin(φ)/π. A stake in proportion
    to r has the mean φ·σ² and the second moment (1 + 2φ²)·σ⁴: φ / √(1 + φ²).

    Raises `DataError` unless -1 < phi < 1.
    """
    plan = Plan(bars, seed, volatility, timeframe, start)
    phi = check_phi(phi)
    oracle = gaussian_figures(abs(phi), 1 - 2 * math.asin(phi) / math.pi, plan.volatility)
    towards, follow = ("towards", "following") if phi >= 0 else ("against", "betting against")
    answer = (
        f"Each return leans {abs(phi):g} {towards} the last one: {follow} the sign of the last bar "
        f"{_earns(oracle)}"
    )
    return _known(plan, f"AR(1), phi {phi:g}", plan.autoregressive(phi), oracle, answer)


def regime_flip(
    bars: int,
    phi: float,
    every: int = 3_000,
    *,
    seed: int = 0,
    volatility: float = 0.005,
    timeframe: str = "1h",
    start: object = START,
) -> KnownMarket:
    """Returns as in `ar1`, but φ changes its sign every ``every`` bars.

    The oracle's rule knows when. Its figures are those of `ar1`, but for the cost at which it
    breaks even: it turns with probability ½ - arcsin(φ)/π in a bar of φ, ½ + arcsin(φ)/π in one of
    -φ, on average in half of the bars where both are as many. ``static_sharpe`` is what the better
    of the two rules that never change can expect: its mean is that of `ar1` times the surplus of
    its bars.

    Raises `DataError` unless -1 < phi < 1 and ``every`` is a whole number from 1 on.
    """
    plan = Plan(bars, seed, volatility, timeframe, start)
    phi, every = check_phi(phi), check_count("every", every)
    signs = np.where(np.arange(plan.bars) // every % 2, -1.0, 1.0)
    surplus = float(signs.mean())
    share = abs(surplus * phi) * math.sqrt(2 / math.pi)
    turned = 1 - surplus * 2 * math.asin(phi) / math.pi
    oracle = gaussian_figures(abs(phi), turned, plan.volatility)
    oracle["static_sharpe"] = share / math.sqrt(1 - share**2)
    answer = (
        f"Each return leans {abs(phi):g} {'towards' if phi >= 0 else 'against'} the last one, and "
        f"the other way round after every {every:,} bars: who knows when "
        f"{_earns(oracle)}. A rule that never changes can expect {oracle['static_sharpe']:.3f}"
    )
    name = f"regime flip, phi {phi:g} every {every:,} bars"
    return _known(plan, name, plan.autoregressive(phi, signs), oracle, answer)


def ornstein_uhlenbeck(
    bars: int,
    *,
    seed: int = 0,
    volatility: float = 0.005,
    timeframe: str = "1h",
    start: object = START,
) -> KnownMarket:
    """A price that is drawn back to `PRICE`: its logarithm is log(PRICE) + s·x.

    x' = 0.9·x + √0.19·ε, with normal ε: x has the standard deviation 1 (Uhlenbeck and Ornstein
    1930, at whole steps). A step is -k·x + noise with k = 0.1 and has the variance 2k, so
    s = ``volatility`` / √(2k), and forecast and step have the correlation √(k/2): the formulas of
    `ar1` hold with it in place of φ. The rule is long below `PRICE` and short above. It turns when
    x changes its sign, with probability arccos(0.9)/π. ``reward`` is its mean p·Δx = k·√(2/π).

    The figures are those of log returns; simple ones differ by a share of about ``volatility``.
    """
    plan = Plan(bars, seed, volatility, timeframe, start)
    pull = 1 - KEPT
    scale = plan.volatility / math.sqrt(2 * pull)
    noise = math.sqrt(1 - KEPT**2) * plan.noise()
    first = plan.first()
    x, _ = lfilter([1.0], [1.0, -KEPT], noise, zi=[KEPT * first])
    moves = np.expm1(scale * np.diff(x, prepend=first))
    oracle = gaussian_figures(math.sqrt(pull / 2), 2 * math.acos(KEPT) / math.pi, plan.volatility)
    oracle["reward"] = oracle["mean"] / scale
    answer = (
        f"The price is drawn back to {PRICE:g}, a tenth of the way with each bar: holding long "
        f"below and short above {_earns(oracle)}"
    )
    begin = PRICE * math.exp(scale * first)
    return _known(plan, "Ornstein-Uhlenbeck", moves, oracle, answer, begin)


def hidden_season(
    bars: int,
    *,
    drift: float = 0.2,
    seed: int = 0,
    volatility: float = 0.005,
    timeframe: str = "1h",
    start: object = START,
) -> KnownMarket:
    """Independent returns whose mean depends on the hour of the day (UTC), and on nothing else.

    Of the 24 hours, in an order drawn by the seed, 8 rise by ``drift`` standard deviations a bar, 8
    fall as much, 8 do neither: whoever just holds earns nothing. With the timeframe "1d" days of
    the week take the place of hours: two rise, two fall. The rule is long, short and flat
    accordingly; over whole days (weeks) a share f of the bars is held. With d = ``drift`` it is
    right with probability Φ(d), its mean is f·d·σ, the second moment f·(1 + d²)·σ²: a Sharpe ratio
    of √f·d / √(1 + d² - f·d²), which no rule exceeds.

    Raises `DataError` for a timeframe in which not every hour begins a bar, and unless
    0 < drift <= 1.
    """
    plan = Plan(bars, seed, volatility, timeframe, start)
    drift = check_drift(drift)
    daily, cells = plan.season()
    count = 7 if daily else 24
    held = np.zeros(count)
    order = plan.draw.permutation(count)
    part = count // 3
    held[order[:part]], held[order[part : 2 * part]] = 1.0, -1.0
    moves = plan.volatility * (drift * held[cells] + plan.noise())
    each = count * DAY / (1 if daily else 24) / duration(timeframe)  # bars of a whole season
    turned = float(np.abs(held - np.roll(held, 1)).sum()) / each
    oracle = seasonal_figures(drift, 2 * part / count, turned, plan.volatility)
    rising, falling = (_listed(np.flatnonzero(held == sign), daily) for sign in (1.0, -1.0))
    answer = (
        f"Bars that open {rising} rise by {drift:g} standard deviations on average, those "
        f"{falling} fall as much: holding them accordingly {_earns(oracle)}"
    )
    return _known(plan, f"hidden season, drift {drift:g}", moves, oracle, answer)


def _known(
    plan: Plan,
    name: str,
    moves: Array,
    oracle: Mapping[str, float],
    answer: str,
    first: float = PRICE,
) -> KnownMarket:
    """The market in which the price begins at ``first`` and moves by these simple returns."""
    candles = plan.candles(name, moves, first)
    return KnownMarket(candles, MappingProxyType(dict(oracle)), f"{answer}.")


def _earns(oracle: Mapping[str, float]) -> str:
    """What the rule earns, in words that follow it."""
    return (
        f"earns a Sharpe ratio of {oracle['sharpe']:.3f} a bar before costs and nothing at a cost "
        f"of {oracle['break_even_cost'] * 10_000:.3g} bp a side; no rule earns more than "
        f"{oracle['best_sharpe']:.3f}"
    )


def _listed(cells: Array, daily: bool) -> str:
    """Hours of the day or days of the week in words."""
    days = "Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays Sundays".split()
    *names, last = [days[k] if daily else f"{k:02d}" for k in map(int, cells)]
    return f"{'on' if daily else 'in the hours'} {', '.join(names)} and {last}"
