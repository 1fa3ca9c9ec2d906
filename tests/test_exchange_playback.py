"""The script of the simulated exchange: complete, in order, the same each time."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_resampling import bin_of

from astraquant.candles import COLUMNS, times_of
from astraquant.data import read_candles
from astraquant.exchange.market import Market
from astraquant.exchange.playback import playback
from astraquant.timeframes import DURATIONS, from_ms

RANK = ["trade", "update", "close", "ticker"]
START = 1_672_531_200_000  # 2023-01-01, a Sunday


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Up to 8 bars with holes, some without volume, somewhere around the turn of a year."""
    source = draw(st.sampled_from(["1s", "1m", "1h", "1d"]))
    length = DURATIONS[source]
    origin = bin_of(START, source)[0] - draw(st.integers(0, 5)) * length
    places = sorted(draw(st.sets(st.integers(0, 70), min_size=1, max_size=6)))
    places.append(places[-1] + 1)
    rows = []
    for _ in places:
        low, a, b, high = sorted(draw(st.tuples(*[st.integers(1, 9)] * 4)))
        rows.append([a, high, low, b, draw(st.integers(0, 40))])
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=float)
    return Market(table.set_axis(from_ms(origin + length * np.array(places))), "ABC")


def expected_closes(market: Market) -> list[tuple[int, str, int]]:
    bars = {
        (*reversed(bin_of(int(time), interval)), interval)
        for interval in market.intervals
        for time in market.bars(market.timeframe)
    }
    closes = [(end, interval, start) for end, start, interval in bars if end <= market.end]
    return sorted(closes, key=lambda close: (close[0], market.intervals.index(close[1])))


def ticks(market: Market, every: int) -> list[int]:
    """Multiples of ``every`` at which there is something new: a trade since the one before."""
    found = {-(-trade.time // every) * every for trade in market.trades(0, market.end)}
    return sorted(tick for tick in found if tick <= market.end)


@settings(max_examples=200)
@given(markets(), st.sampled_from([100, 1000, 2000, 7000, 60_000]), st.data())
def test_the_script_is_complete_and_in_order(market: Market, every: int, data: Any) -> None:
    script = list(playback(market, market.start - 1, every))
    order = [(moment.time, RANK.index(moment.kind)) for moment in script]
    assert order == sorted(order)
    assert all(market.start <= moment.time <= market.end for moment in script)

    trades = [moment.trade for moment in script if moment.kind == "trade"]
    assert trades == market.trades(0, market.end)
    assert all(m.trade is None or m.time == m.trade.time for m in script)
    closes = [(m.time, m.interval, m.open_time) for m in script if m.kind == "close"]
    assert closes == expected_closes(market)
    updates = [m.time for m in script if m.kind == "update"]
    assert updates == ticks(market, every)
    tickers = [m.time for m in script if m.kind == "ticker"]
    assert tickers == ticks(market, every if every > 2000 else 1000)

    assert list(playback(market, market.start - 1, every)) == script
    edges = st.integers(market.start - 5000, market.end + 5000)
    if script:
        edges |= st.sampled_from([moment.time for moment in script])
    after = data.draw(edges)
    assert list(playback(market, after, every)) == [m for m in script if m.time > after]


@settings(max_examples=100)
@given(markets())
def test_bars_followed_by_the_script_end_as_the_table_has_them(market: Market) -> None:
    """What a client sees: each update within its bar, then the closing one, after its last ms."""
    for moment in playback(market, market.start - 1):
        if moment.kind == "close":
            bar = market.closed(moment.interval, moment.open_time)
            assert bar is not None
            assert moment.time == bar.close_time + 1
        elif moment.kind == "trade":
            bar = market.kline(market.timeframe, moment.time)
            assert bar is not None
            assert moment.trade is not None
            assert bar.close == moment.trade.price
            assert bar.last_id == moment.trade.last_id


def test_a_real_day_with_the_halt(market_data: Path) -> None:
    path = market_data / "klines" / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    candles = read_candles(path).loc["2023-03-24"]
    market = Market(candles, "BTCUSDT")
    script = list(playback(market, market.start - 1))
    closes = [
        moment.open_time for moment in script if (moment.kind, moment.interval) == ("close", "1m")
    ]
    assert closes == times_of(candles).tolist()
    hours = [
        moment.open_time for moment in script if (moment.kind, moment.interval) == ("close", "1h")
    ]
    assert len(hours) == 23  # of 13:00 there is none
    assert [m.trade for m in script if m.kind == "trade"] == market.trades(0, market.end)
    quiet = [m.kind for m in script if closes[688] <= m.time < market.start + 14 * 3_600_000]
    assert set(quiet) == {"close"}  # 11:28 to 14:00


def test_a_month_closes_and_the_script_is_lazy(market_data: Path) -> None:
    path = market_data / "klines" / "binance_spot_ETHUSDT_1m_20230201_20230411.parquet"
    market = Market(read_candles(path), "ETHUSDT")
    march = int(pd.Timestamp("2023-03-01", tz="UTC").timestamp() * 1000)
    moments = islice(playback(market, march - 1), 40)
    closes = [(m.interval, m.time) for m in moments if m.kind == "close" and m.time == march]
    assert [interval for interval, _ in closes] == [
        *("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "1M")
    ]


@pytest.mark.parametrize("every", [0, -1])
def test_updates_need_a_period(every: int) -> None:
    index = from_ms(START + 60_000 * np.r_[:2])
    table = pd.DataFrame([[1.0] * 5] * 2, columns=list(COLUMNS), index=index)
    with pytest.raises(ValueError, match="update_every"):
        playback(Market(table, "ABC"), 0, every)
