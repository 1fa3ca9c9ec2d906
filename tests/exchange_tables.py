"""Tables for a simulated market to play: real ones, and any that can be made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from naive_exchange import (
    NINE,
    SUMS,
)
from naive_resampling import bin_of

from astraquant.data import read_candles
from astraquant.exchange.market import AggTrade, Market
from astraquant.timeframes import DURATIONS, from_ms

FILES = {
    "BTCUSDT": "binance_spot_BTCUSDT_1m_20230101_20231231.parquet",
    "ETHUSDT": "binance_spot_ETHUSDT_1m_20230201_20230411.parquet",
    "SOLUSDT": "binance_spot_SOLUSDT_1m_20230201_20230411.parquet",
    "ARBUSDT": "binance_spot_ARBUSDT_1m_20230323_20230411.parquet",
}
START = 1_672_531_200_000  # 2023-01-01, a Sunday
MINUTE = 60_000


def candles_of(folder: Path, symbol: str) -> pd.DataFrame:
    return read_candles(folder / "klines" / FILES[symbol])


def trades_of(market: Market, time: int, length: int = MINUTE) -> list[AggTrade]:
    return market.trades(time - 1, time + length - 1)


@st.composite
def tables(draw: st.DrawFn, sources: tuple[str, ...] = ("1m",), rows: int = 6) -> pd.DataFrame:
    """Any table that has no more than 8 decimals: its figures need not fit together."""
    source = draw(st.sampled_from(sources))
    price_unit, unit = (
        draw(st.sampled_from([1e-8, 1e-2, 1.0, 1e4])),
        draw(st.sampled_from([1e-8, 1e-5, 1.0, 1000.0])),
    )
    width = draw(st.sampled_from([1, 2, 5, 100_000]))
    places = sorted(
        draw(st.sets(st.integers(0, 3 * rows), min_size=1, max_size=rows - 1)) | {3 * rows + 1}
    )
    price = st.integers(1, width)
    amount = st.sampled_from([0, 1, 2, 3]) | st.integers(0, 10**6)
    found = []
    for _ in [*places, None]:
        low, a, b, high = sorted(draw(st.tuples(price, price, price, price)))
        first, last = draw(st.sampled_from([(a, b), (b, a)]))
        quantity = draw(amount)
        taker = draw(st.integers(0, quantity))
        quote, bought = draw(amount), draw(amount)
        count = draw(st.sampled_from([0, 1, 2, 3, 4, 50]))
        prices = [n * price_unit for n in (first, high, low, last)]
        sums = [quantity * unit, quote * unit, count, taker * unit, bought * unit]
        found.append([round(value, 8) for value in (*prices, *sums)])
    origin = bin_of(START, source)[0]
    times = origin + DURATIONS[source] * np.array([*places, places[-1] + 1])
    absent = draw(st.sets(st.sampled_from(SUMS[1:])))
    table = pd.DataFrame(found, columns=list(NINE), index=from_ms(times))
    return table.astype(float).drop(columns=sorted(absent))
