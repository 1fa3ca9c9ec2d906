"""What the tests of stops share: candles with wicks, finer than their bars, and the slow answer."""

from __future__ import annotations

import naive
import numpy as np
import pandas as pd
from hypothesis import strategies as st

import astraquant as aq

MINUTE = pd.Timedelta("1min")
# Levels that prices of `wicked` meet exactly, and others.
FRACTIONS = [0.001, 0.01, 0.02, 0.1, 0.25, 0.5]
stops = st.fixed_dictionaries(
    {},
    optional={
        "stop_loss": st.sampled_from(FRACTIONS),
        "take_profit": st.sampled_from([*FRACTIONS, 2.0]),
        "trailing_stop": st.sampled_from(FRACTIONS),
    },
).filter(bool)
options = st.fixed_dictionaries(
    {
        "fill": st.sampled_from(["open", "close"]),
        # not zero: a trade that ends where it began would win or lose by a rounding error
        "cost": st.sampled_from([0.0003, 0.001, 0.05]),
        "slippage": st.sampled_from([0.0, 0.01]),
    }
)
directions = st.sampled_from(["long", "short", "both"])


@aq.strategy
def dice(candles, seed: int = 0, share: float = 0.5, hold: int = 3):
    """What it wants is drawn by chance, from the time alone, for some bars at a time."""
    turn = candles.time // 60_000 // hold
    return (turn * 2654435761 + seed * 40503) % 4096 < share * 4096


@aq.strategy
def three_ways(candles, seed: int = 0, hold: int = 3):
    """The same with -1, 0 and 1."""
    drawn = (candles.time // 60_000 // hold * 2654435761 + seed * 40503) % 4096
    return aq.where(drawn < 1_400, 1, aq.where(drawn < 2_800, -1, 0))


def wicked(bars, seed, step="1min", jump=0.01, gone=0.05):
    """A candle table with wicks and gaps between bars, on a coarse grid of prices, some missing."""
    draw = np.random.default_rng(seed)
    moves = draw.choice([-3, -1, 0, 0, 1, 3], (4, bars)) * jump
    close = np.round(100 * np.exp(np.clip(np.cumsum(moves[0]), -7, 7)), 2)  # a cent is left
    before = np.concatenate([[100.0], close[:-1]])
    open_ = np.round(before * np.exp(moves[1] / 2), 2)
    high = np.round(np.maximum(open_, close) * np.exp(np.abs(moves[2]) / 2), 2)
    low = np.round(np.minimum(open_, close) * np.exp(-np.abs(moves[3]) / 2), 2)
    volume = draw.choice([0.0, 1.0, 2.0], bars)
    times = pd.date_range("2023-01-01", periods=bars, freq=step, tz="UTC", name="time")
    table = pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=times
    )
    kept = draw.random(bars) >= gone
    kept[:2] = True  # so that the timeframe is known
    return table[kept]


tables = st.builds(
    wicked, st.integers(2, 200), st.integers(0, 2**32), jump=st.sampled_from([0.002, 0.01, 0.05])
)
# A short loses all there, stops or not: a bar opens beyond its stop at twice the price.
wild_tables = st.builds(wicked, st.integers(20, 100), st.integers(0, 2**32), jump=st.just(0.4))


def watched(source, bars, length):
    """Open, high and low of each candle of ``source`` in each of ``bars``."""
    rows = list(zip(source.index, source["open"], source["high"], source["low"], strict=True))
    return [
        [(o, h, low) for time, o, h, low in rows if bar <= time < bar + length]
        for bar in bars.index
    ]


def run(source, bars, length, position, opts, limits, before=0):
    """The bank statement of a run with stops."""
    return naive.run(
        position,
        bars["open"].tolist(),
        bars["close"].tolist(),
        cash=10_000.0,
        stops=limits,
        watched=watched(source, bars, length),
        before=before,
        **opts,
    )


def figures(statement, bars, length, opts):
    """Every figure of the contract of a bank statement."""
    times = bars.index.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(int)
    return naive.figures(
        statement,
        bars["open"].tolist(),
        bars["close"].tolist(),
        bars["volume"].tolist(),
        times.tolist(),
        cash=10_000.0,
        bar_ms=length // pd.Timedelta("1ms"),
        **opts,
    )
