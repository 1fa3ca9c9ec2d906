"""The bars of the simulated market are the resampled table's, at any moment and to any size."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exchange_tables import MINUTE, START, candles_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_exchange import (
    NINE,
    SUMS,
    UNITS,
    as_candle,
    naive_klines,
)
from naive_resampling import bin_of

from astraquant import resample
from astraquant.candles import times_of
from astraquant.exchange.market import Kline, Market, decimal
from astraquant.timeframes import DURATIONS, TIMEFRAMES, from_ms, is_multiple


@pytest.mark.parametrize("interval", [name for name in TIMEFRAMES if name not in ("1s", "1m")])
def test_bars_are_the_resampled_table(market_data: Path, interval: str) -> None:
    candles = candles_of(market_data, "ETHUSDT")
    market = Market(candles, "ETHUSDT")
    expected = resample(candles, interval)
    bars = market.klines(interval, start=0, end=None, limit=10**6, now=market.end)
    kept = set(times_of(expected).tolist())  # `resample` drops the bins that the table cuts
    whole = [bar for bar in bars if bar.open_time in kept]
    assert len(whole) >= len(bars) - 2
    assert [bar.open_time for bar in whole] == times_of(expected).tolist()
    for name in NINE:
        unit = 1 if name == "trades" else 10**8
        found = [getattr(bar, name) / unit for bar in whole]
        np.testing.assert_allclose(found, expected[name], rtol=1e-12)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTCUSDT", "BTCUSDT_15m_20230101_20231231"),
        ("BTCUSDT", "BTCUSDT_1h_20220101_20231231"),
        ("BTCUSDT", "BTCUSDT_1d_20230815_20231231"),
        ("ETHUSDT", "ETHUSDT_15m_20230201_20230411"),
        ("ETHUSDT", "ETHUSDT_1h_20220101_20231231"),
        ("ETHUSDT", "ETHUSDT_1d_20220101_20231231"),
    ],
)
def test_bars_are_the_exchanges_own_to_the_last_decimal(
    market_data: Path, symbol: str, name: str
) -> None:
    market = Market(candles_of(market_data, symbol), symbol)
    interval = name.split("_")[1]
    path = market_data / "klines" / f"binance_spot_{name}.csv.gz"
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().split()[1:]]
    rows = [row for row in rows if market.start <= int(row[0]) < market.end]
    bars = market.klines(interval, start=int(rows[0][0]), end=None, limit=10**6, now=market.end)
    assert len(bars) == len(rows) > 50
    for bar, row in zip(bars, rows, strict=True):
        assert bar.open_time == int(row[0])
        prices = [bar.open, bar.high, bar.low, bar.close, bar.volume]
        assert [decimal(value) for value in prices] == row[1:6]
        assert decimal(bar.quote_volume) == row[7]
        assert bar.trades == int(row[8])
        assert [decimal(bar.taker_buy_volume), decimal(bar.taker_buy_quote_volume)] == row[9:11]


@st.composite
def moments(draw: st.DrawFn) -> tuple[pd.DataFrame, str, int]:
    """A table of all nine columns, one of its intervals, and a moment around it."""
    source = draw(st.sampled_from(["1s", "1m", "15m", "8h", "1d", "1w"]))
    fine = draw(tables((source,)))
    for name in (name for name in SUMS if name not in fine):
        fine[name] = fine["volume"] if name == "taker_buy_volume" else 1.0
    intervals = [name for name in TIMEFRAMES if is_multiple(name, source)]
    interval = draw(st.sampled_from(intervals[:5] + intervals[-2:]))
    length = DURATIONS[source]
    first, last = int(times_of(fine)[0]), int(times_of(fine)[-1])
    now = draw(st.integers(first - length, last + 2 * length) | st.sampled_from([first, last]))
    return fine[list(NINE)], interval, now


@settings(max_examples=300)
@given(moments(), st.integers(1, 5), st.data())
def test_bars_as_of_any_moment_are_those_of_the_oracle(
    case: tuple[pd.DataFrame, str, int], limit: int, data: Any
) -> None:
    candles, interval, now = case
    market = Market(candles, "ABC")
    trades = market.trades(0, market.end)
    expected = naive_klines(candles, market.timeframe, trades, interval, now)
    bars = market.klines(interval, start=None, end=None, limit=1000, now=now)
    check_bars(bars, expected, interval)
    current = market.kline(interval, now)
    assert current == next((bar for bar in bars if bar.close_time >= now), None)
    for bar in bars:
        if bar.close_time < now:
            assert market.closed(interval, bar.open_time) == bar
    assert market.closed(interval, now + 1 if now in market.bars(interval) else now) is None

    edges = (
        st.none()
        | st.sampled_from([0, now, *(bar.open_time for bar in bars)])
        | st.integers(market.start - 10, market.end + 10)
    )
    start, end = data.draw(edges), data.draw(edges)
    inside = [
        bar
        for bar in bars
        if (start is None or bar.open_time >= start) and (end is None or bar.open_time <= end)
    ]
    chosen = inside[:limit] if start is not None else inside[-limit:]
    assert market.klines(interval, start=start, end=end, limit=limit, now=now) == chosen


def check_bars(bars: list[Kline], expected: dict[int, Any], interval: str) -> None:
    assert [bar.open_time for bar in bars] == list(expected)
    for bar, (candle, first_id, last_id) in zip(bars, expected.values(), strict=True):
        assert bar.close_time == bin_of(bar.open_time, interval)[1] - 1
        assert (bar.first_id, bar.last_id) == (first_id, last_id)
        for name, value in as_candle(bar).items():
            # The quote amounts of single trades may have more decimals than the wire has.
            near = Decimal("1e-8") if "quote" in name else 0
            assert abs(value - candle[name]) <= near, name


def test_sums_are_exact_beyond_64_bits() -> None:
    rows = 200
    row = [1.0, 1.0, 1.0, 1.0, 80_000_000_000.0, 80_000_000_000.125, 5.0, 1.0, 1.0]
    candles = pd.DataFrame(
        [row] * rows, columns=list(NINE), index=from_ms(START + MINUTE * np.r_[:rows])
    )
    candles.iloc[7, [4, 5]] = 0.12345678
    market = Market(candles, "ABC")
    bar = market.closed("1h", START)
    assert bar is not None
    assert Decimal(bar.volume) / UNITS == 59 * Decimal(80_000_000_000) + Decimal("0.12345678")
    assert Decimal(bar.quote_volume) / UNITS == 59 * Decimal("80000000000.125") + Decimal(
        "0.12345678"
    )
    bars = market.klines("1h", start=None, end=None, limit=5, now=market.end)
    assert bars[0] == bar
    assert Decimal(bars[1].volume) / UNITS == 60 * Decimal(80_000_000_000)
