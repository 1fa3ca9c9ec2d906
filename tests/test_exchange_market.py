"""The simulated market: its trades yield the table's candles exactly, its bars are the table's."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exchange_tables import FILES, MINUTE, START, candles_of, tables, trades_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive_exchange import (
    NINE,
    PRICES,
    SUMS,
    UNITS,
    as_candle,
    candle_of,
    decimal_of,
)

from astraquant import CandleBuilder, load_candles
from astraquant.candles import COLUMNS, times_of
from astraquant.errors import DataError
from astraquant.exchange.market import AggTrade, Kline, Market, decimal
from astraquant.timeframes import DAY, from_ms


def rows_to_see(candles: pd.DataFrame) -> list[int]:
    """5,000 rows over the whole span, all of the day of the halt, and up to 2,000 thin ones."""
    spread = np.linspace(0, len(candles) - 1, 5000).astype(int)
    halt = np.flatnonzero(candles.index.date == pd.Timestamp("2023-03-24").date())
    thin = np.flatnonzero(candles["trades"] <= 12)[:2000]
    return sorted({*spread.tolist(), *halt.tolist(), *thin.tolist()})


def check_tape(trades: list[AggTrade], time: int, length: int) -> None:
    """What holds for the trades of any bar: times inside, growing; ids without a hole."""
    assert len(trades) <= 12
    assert all(time < trade.time < time + length for trade in trades)
    for before, after in pairwise(trades):
        assert before.time < after.time
        assert before.id + 1 == after.id
        assert before.last_id + 1 == after.first_id
    assert all(trade.last_id >= trade.first_id for trade in trades)


# Real candles


@pytest.mark.parametrize("symbol", FILES)
def test_trades_yield_real_candles_exactly(market_data: Path, symbol: str) -> None:
    candles = candles_of(market_data, symbol)
    market = Market(candles, symbol)
    assert len(rows_to_see(candles)) > 4_900
    times, values = times_of(candles), candles[list(NINE)].to_numpy()
    for row in rows_to_see(candles):
        trades = trades_of(market, int(times[row]))
        check_tape(trades, int(times[row]), MINUTE)
        if values[row][4] == 0:
            assert trades == []
            continue
        assert len(trades) >= min(8, values[row][6])
        assert list(candle_of(trades).values()) == [decimal_of(v) for v in values[row]], row
        assert trades[0].first_id == market.closed("1m", int(times[row])).first_id  # type: ignore[union-attr]


@pytest.mark.parametrize("symbol", FILES)
def test_single_trades_yield_real_candles_exactly(market_data: Path, symbol: str) -> None:
    candles = candles_of(market_data, symbol)
    market = Market(candles, symbol)
    rows = [row for row in rows_to_see(candles)[::100] if candles["volume"].iloc[row] > 0]
    for row in rows:
        time = int(times_of(candles)[row])
        trades = [single for trade in trades_of(market, time) for single in market.split(trade)]
        assert candle_of(trades) == {name: decimal_of(candles[name].iloc[row]) for name in NINE}
        assert all(trade.quantity > 0 for trade in trades)
        assert all(b.id == a.id + 1 and b.time >= a.time for a, b in pairwise(trades))


def test_ids_have_no_hole_over_the_halt(market_data: Path) -> None:
    market = Market(candles_of(market_data, "BTCUSDT"), "BTCUSDT")
    halt = int(pd.Timestamp("2023-03-24 11:00", tz="UTC").timestamp() * 1000)
    trades = market.trades(halt, halt + 4 * 3_600_000)
    assert len(trades) > 500
    assert [trade.id for trade in trades] == list(range(trades[0].id, trades[-1].id + 1))
    assert all(b.first_id == a.last_id + 1 for a, b in pairwise(trades))


def test_a_candle_builder_fed_with_the_trades_makes_the_candles(market_data: Path) -> None:
    candles = candles_of(market_data, "SOLUSDT").iloc[3000:3200]
    market = Market(candles, "SOLUSDT")
    builder = CandleBuilder("1m", partial=True)  # no trade lies at the very start
    built = []
    for trade in market.trades(0, market.end):
        for single in market.split(trade):
            price, quantity = float(decimal(single.price)), float(decimal(single.quantity))
            built += builder.add_trade(single.time, price, quantity, single.buyer_is_maker)
    assert builder.forming is not None
    built.append(builder.forming)  # the last minute is not closed by a trade after it
    assert [candle.time for candle in built] == times_of(candles).tolist()
    for name in (*PRICES, "trades"):
        assert [getattr(candle, name) for candle in built] == candles[name].tolist()
    for name in SUMS:
        sums = [getattr(candle, name) for candle in built]
        np.testing.assert_allclose(sums, candles[name], rtol=1e-12, atol=1e-9)


def test_trades_yield_every_candle_of_the_sample_exactly() -> None:
    candles = load_candles("BTCUSDT", "1m", start="2023-01-01", end="2023-01-02")
    market = Market(candles, "BTCUSDT")
    for time, row in zip(times_of(candles).tolist(), candles.itertuples(), strict=True):
        expected = {name: decimal_of(getattr(row, name)) for name in NINE}
        assert candle_of(trades_of(market, time)) == expected


# Any table

sides = st.sampled_from([0.5, 0.05, 0.0, 1.0])


@st.composite
def traded(draw: st.DrawFn) -> tuple[pd.DataFrame, list[list[tuple[int, int, bool]]], int, int]:
    """A table made from trades (ticks, lots, side), so that an exact path must exist."""
    price_places = draw(st.integers(0, 8))
    lot_places = draw(st.integers(0, 8 - price_places))
    base = draw(st.sampled_from([1, 7, 1000, 2_795_031]))
    width = draw(st.sampled_from([0, 1, 3, 40, 2000]))
    most = draw(st.sampled_from([1, 2, 9, 5000]))
    trade = st.tuples(st.integers(base, base + width), st.integers(1, most), st.booleans())
    bars = draw(st.lists(st.lists(trade, max_size=14), min_size=2, max_size=6))
    rows = []
    last = base
    for bar in bars:
        ticks = [price for price, _, _ in bar] or [last]
        last = ticks[-1]
        lots = sum(lot for _, lot, _ in bar)
        quote = sum(price * lot for price, lot, _ in bar)
        taker = sum(lot for _, lot, buy in bar if buy)
        bought = sum(price * lot for price, lot, buy in bar if buy)
        prices = [Decimal(p) for p in (ticks[0], max(ticks), min(ticks), ticks[-1])]
        rows.append(
            [
                *(float(price.scaleb(-price_places)) for price in prices),
                float(Decimal(lots).scaleb(-lot_places)),
                float(Decimal(quote).scaleb(-price_places - lot_places)),
                float(len(bar)),
                float(Decimal(taker).scaleb(-lot_places)),
                float(Decimal(bought).scaleb(-price_places - lot_places)),
            ]
        )
    index = from_ms(START + MINUTE * np.arange(len(rows)))
    return pd.DataFrame(rows, columns=list(NINE), index=index), bars, price_places, lot_places


@settings(max_examples=300)
@given(traded())
def test_trades_yield_any_candle_that_was_traded(
    case: tuple[pd.DataFrame, list[list[tuple[int, int, bool]]], int, int],
) -> None:
    candles, bars, _, _ = case
    market = Market(candles, "ABC")
    ids = 0
    for row, bar in enumerate(bars):
        time = START + row * MINUTE
        trades = trades_of(market, time)
        check_tape(trades, time, MINUTE)
        if not bar:
            assert trades == []
            continue
        assert trades[0].first_id == ids
        ids = trades[-1].last_id + 1
        found, given_ = candle_of(trades), candles.iloc[row]
        # With eight trades a solution is sure to be found; of three to seven nearly always.
        exact = NINE if len(bar) >= 8 or len(bar) <= 2 else (*PRICES, "volume", "trades")
        for name in (*exact, "taker_buy_volume"):
            assert found[name] == decimal_of(given_[name]), name
        singles = [single for trade in trades for single in market.split(trade)]
        assert candle_of(singles) == found
        assert all(single.quantity > 0 for single in singles)


@settings(max_examples=300)
@given(tables())
@example(
    pd.DataFrame(
        [[2.0, 4.0, 1.0, 3.0, 1e-8]] * 2,
        columns=list(COLUMNS),
        index=from_ms(START + np.r_[0, MINUTE]),
    )
)
def test_open_high_low_close_and_volume_are_exact_for_any_table(candles: pd.DataFrame) -> None:
    market = Market(candles, "ABC")
    ids = agg_ids = 0
    for row, time in enumerate(times_of(candles).tolist()):
        trades = trades_of(market, time)
        check_tape(trades, time, MINUTE)
        bar = market.closed("1m", time)
        assert isinstance(bar, Kline)
        if candles["volume"].iloc[row] == 0:
            assert trades == []
            assert (bar.first_id, bar.last_id) == (-1, -1)
        else:
            assert (trades[0].id, trades[0].first_id) == (agg_ids, ids)
            assert (bar.first_id, bar.last_id) == (ids, trades[-1].last_id)
            agg_ids, ids = trades[-1].id + 1, trades[-1].last_id + 1
            found = candle_of(trades)
            for name in (*PRICES, "volume"):
                assert found[name] == decimal_of(candles[name].iloc[row]), name
            assert found["taker_buy_volume"] == as_candle(bar)["taker_buy_volume"]
            singles = [single for trade in trades for single in market.split(trade)]
            assert candle_of(singles) == found
        for name in candles.columns:
            assert as_candle(bar)[name] == decimal_of(candles[name].iloc[row]), name


def test_quote_amounts_finer_than_tick_and_lot_are_exact_in_finer_quantities() -> None:
    row = [1.0, 3.0, 1.0, 2.0, 40.0, 77.12345678, 20.0, 20.0, 40.00000001]
    candles = pd.DataFrame([row] * 2, columns=list(NINE), index=from_ms(START + MINUTE * np.r_[:2]))
    market = Market(candles, "ABC")
    assert (market.price_decimals, market.quantity_decimals) == (0, 0)
    trades = trades_of(market, START)
    assert candle_of(trades) == {
        name: decimal_of(value) for name, value in zip(NINE, row, strict=True)
    }
    assert any(trade.quantity % 10**8 for trade in trades)


def test_made_up_figures_are_those_of_the_trades(market_data: Path) -> None:
    candles = candles_of(market_data, "ETHUSDT")[list(COLUMNS)].iloc[70_000:76_000:20]
    market = Market(candles.set_axis(from_ms(START + MINUTE * np.arange(300))), "ETHUSDT")
    for time in range(START, START + 300 * MINUTE, MINUTE):
        bar = market.closed("1m", time)
        assert bar is not None
        if bar.volume:
            assert candle_of(trades_of(market, time)) == as_candle(bar)
            assert 0 < bar.taker_buy_quote_volume < bar.quote_volume


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("close", 1.123456789, r"close is 1.123456789 at 2023-01-01 00:01.*candles.round\(8\)"),
        ("volume", 0.300000001, r"volume is 0.300000001 at .*at most 8 decimals.*in all: 1"),
        ("quote_volume", 1e-9, r"quote_volume is 1e-09"),
        ("trades", 2.5, r"trades is 2.5 at .*expected a whole number"),
        ("volume", 1e13 + 0.5, r"volume is 1.*too large to be kept with 8 decimals"),
    ],
)
def test_what_an_exchange_can_not_write_is_refused(column: str, value: float, message: str) -> None:
    row = [1.0, 2.0, 1.0, 1.5, 0.00000001, 1.0, 3.0, 0.5, 0.5]
    candles = pd.DataFrame([row] * 3, columns=list(NINE), index=from_ms(START + MINUTE * np.r_[:3]))
    candles.iloc[1, list(NINE).index(column)] = value
    with pytest.raises(DataError, match=f"(?s){message}"):
        Market(candles, "ABC")


def test_off_grid_candles_and_odd_symbols_are_refused() -> None:
    row = [1.0, 2.0, 1.0, 1.5, 1.0]
    candles = pd.DataFrame(
        [row] * 3, columns=list(COLUMNS), index=from_ms(START + MINUTE * np.r_[:3])
    )
    off = candles.set_axis(candles.index[:2].append(candles.index[2:] + pd.Timedelta("7s")))
    with pytest.raises(DataError, match=r"00:02:07.*the grid of 1m.*candles.drop"):
        Market(off, "ABC")
    for symbol in ("btcusdt", "", "A/B", "A" * 21, None):
        with pytest.raises(DataError, match="capital letters"):
            Market(candles, symbol)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Did you mean '5m'"):
        Market(candles, "ABC").kline("5min", START)
    with pytest.raises(DataError, match="interval of 1m candles '1s'"):
        Market(candles, "ABC").klines("1s", start=None, end=None, limit=1, now=START)


def test_decimals_are_written_as_the_exchange_does() -> None:
    assert decimal(2_795_031_000_000) == "27950.31000000"
    assert decimal(1) == "0.00000001"
    assert decimal(-150_000_000) == "-1.50000000"


# Trades by id and by time, the last 24 hours, the book


@settings(max_examples=200)
@given(tables(), st.data())
def test_trades_by_id_and_by_time(candles: pd.DataFrame, data: Any) -> None:
    market = Market(candles, "ABC")
    every = market.trades(0, market.end)
    assert [trade.id for trade in every] == list(range(len(every)))
    moment = st.integers(market.start - MINUTE, market.end + MINUTE)
    if every:
        moment |= st.sampled_from([trade.time for trade in every])
    start, end, now = data.draw(moment), data.draw(moment), data.draw(moment)
    limit, first = data.draw(st.integers(1, 30)), data.draw(st.integers(-1, len(every) + 1))
    known = [trade for trade in every if trade.time <= now]
    assert market.trades(start, end) == [t for t in every if start < t.time <= end]
    assert market.trades_from(first, limit, now) == [t for t in known if t.id >= first][:limit]
    inside = [trade for trade in known if start <= trade.time <= end]
    assert market.trades_between(start, end, limit, now) == inside[:limit]
    assert market.last_trades(limit, now) == known[-limit:]


@settings(max_examples=200)
@given(tables(("1m", "4h", "1d", "3d"), rows=12), st.data())
def test_the_ticker_is_that_of_the_trades_of_24_hours(candles: pd.DataFrame, data: Any) -> None:
    full = candles.drop(columns=[name for name in SUMS[1:] if name in candles])
    market = Market(full, "ABC")
    now = data.draw(st.integers(market.start - MINUTE, market.end + 2 * DAY))
    every = market.trades(0, market.end)
    day = [trade for trade in every if now - DAY < trade.time <= now]
    ticker = market.ticker(now)
    if not day:
        assert ticker is None
        return
    assert ticker is not None
    candle = candle_of(day)
    found = [ticker.open, ticker.high, ticker.low, ticker.last, ticker.volume]
    assert [Decimal(value) / UNITS for value in found] == [
        candle[name] for name in (*PRICES, "volume")
    ]
    assert ticker.trades == candle["trades"]
    assert (ticker.first_id, ticker.last_id) == (day[0].first_id, day[-1].last_id)
    assert (ticker.open_time, ticker.close_time) == (now - DAY, now)
    assert ticker.last_quantity == day[-1].quantity
    before = [trade for trade in every if trade.time <= now - DAY]
    assert ticker.previous == (before[-1].price if before else day[0].price)


def test_the_tickers_volumes_are_exact_on_real_candles(market_data: Path) -> None:
    candles = candles_of(market_data, "BTCUSDT").iloc[:4000]
    market = Market(candles, "BTCUSDT")
    for now in range(market.start + DAY + 12_345, market.end, 7_654_321):
        candle, ticker = candle_of(market.trades(now - DAY, now)), market.ticker(now)
        assert ticker is not None
        assert Decimal(ticker.quote_volume) / UNITS == candle["quote_volume"]
        average = candle["quote_volume"] / candle["volume"]
        assert 0 <= average - Decimal(ticker.weighted_average) / UNITS < Decimal("1e-8")
        assert ticker.change == ticker.last - ticker.open


@given(tables())
def test_the_book_is_around_the_trade(candles: pd.DataFrame) -> None:
    market = Market(candles, "ABC")
    for trade in market.trades(0, market.end):
        book = market.book(trade)
        assert 0 < book.bid < book.ask
        assert trade.price in (book.bid, book.ask)
        assert trade.buyer_is_maker == (trade.price == book.bid) or book.bid == book.ask - book.bid
        assert book.bid_quantity > 0 < book.ask_quantity


def test_two_markets_of_one_table_are_one_market(market_data: Path) -> None:
    candles = candles_of(market_data, "ARBUSDT").iloc[:500]
    one, other = Market(candles, "ARBUSDT"), Market(candles.copy(), "ARBUSDT")
    for time in reversed(times_of(candles).tolist()):  # asked for in another order
        other.trades(time, time + MINUTE)
    assert one.trades(0, one.end) == other.trades(0, other.end)


@pytest.mark.parametrize("timeframe", ["15m", "1h", "1d"])
def test_resampled_candles_are_played_without_their_rounding_errors(timeframe: str) -> None:
    """The volumes of such a table are sums of floats: 0.1 + 0.2 is meant to be 0.3."""
    candles = load_candles("BTCUSDT", timeframe, start="2023-03-01", end="2023-04-01")
    assert (candles.round(8) != candles).any(axis=None)
    market = Market(candles, "BTCUSDT")
    played = market.klines(timeframe, start=None, end=None, limit=5_000, now=market.end)
    assert len(played) == len(candles)
    columns = {"volume": "volume", "quote_volume": "quote_volume", "close": "close"}
    for column, field in columns.items():
        shown = np.array([getattr(bar, field) for bar in played]) / 1e8
        np.testing.assert_allclose(shown, candles[column], rtol=1e-12)


def test_decimals_that_are_meant_are_not_taken_for_rounding_errors() -> None:
    candles = load_candles("BTCUSDT", "1h", start="2023-03-01", end="2023-03-03")
    candles.iloc[3, candles.columns.get_loc("volume")] = 12.123456789
    with pytest.raises(DataError, match=r"volume is 12\.123456789 .*candles\.round\(8\)"):
        Market(candles, "BTCUSDT")
