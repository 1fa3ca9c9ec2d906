"""Rows of the sweep engine against the ledger of `backtest`, vectorbt, and the bank statement."""

from __future__ import annotations

import itertools
import math
import re

import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from naive_engine import assert_row, assert_rows_equal_backtests, table, tables
from test_backtesting import BAR, naive_figures, naive_run, options, random_walk

import astraquant as aq
from astraquant.indicators import bollinger, donchian, ema, macd, rsi, sma
from astraquant.strategies import crossed_above, crossed_below, hold, ma_cross, where

DIRECTIONS = ["long", "short", "both"]
FILLS = ["open", "close"]


@aq.strategy
def rsi_band(candles, window: int = 14, lower: float = 30.0, upper: float = 70.0):
    """Long from below one threshold until above the other."""
    strength = rsi(candles.close, window)
    return hold(enter=strength < lower, exit=strength > upper)


@aq.strategy
def macd_cross(candles, fast: int = 12, slow: int = 26):
    """Long while the difference of two averages lies above its own average."""
    lines = macd(candles.close, fast, slow, 9)
    return lines.macd > lines.signal


@aq.strategy
def ema_cross(candles, short: int = 10, long: int = 30):
    """Long from one crossing of exponential averages to the other."""
    fast, slow = ema(candles.close, short), ema(candles.close, long)
    return hold(enter=crossed_above(fast, slow), exit=crossed_below(fast, slow))


@aq.strategy
def breakout(candles, window: int = 20):
    """Long from the top of the channel until its bottom."""
    channel = donchian(candles.high, candles.low, window)
    return hold(enter=candles.close >= channel.upper, exit=candles.close <= channel.lower)


@aq.strategy
def bands(candles, window: int = 20, width: float = 2.0):
    """Long below the lower band, until back in the middle."""
    low, middle, _ = bollinger(candles.close, window, width)
    return hold(enter=candles.close < low, exit=candles.close > middle)


@aq.strategy
def always_in(candles, window: int = 20):
    """Long above the average, else short; flat in between where it is the same."""
    average = ema(candles.close, window)
    return where(candles.close > average, 1, where(candles.close < average, -1, 0))


def some_grid(dice):
    """A strategy and eight combinations of it at random."""
    name = dice.choice(["ma", "rsi", "macd", "ema", "donchian", "bollinger", "sides"])
    short = [int(w) for w in dice.choice(np.arange(1, 25), 2, replace=False)]
    long = [int(w) for w in dice.choice(np.arange(25, 90), 4, replace=False)]
    if name in ("ma", "ema"):
        return (ma_cross if name == "ma" else ema_cross), {"short": short, "long": long}
    if name == "rsi":
        lower = [float(x) for x in dice.uniform(20, 50, 2)]
        return rsi_band, {"window": short, "lower": lower, "upper": [55.0, 70.0]}
    if name == "macd":
        return macd_cross, {"fast": short, "slow": long}
    if name == "bollinger":
        return bands, {"window": [w + 1 for w in short + long][:4], "width": [1.0, 2.0]}
    return (breakout if name == "donchian" else always_in), {"window": [*short, *long, 91, 92]}


@pytest.fixture(scope="module")
def real_candles(market_data):
    """Slices of real candles, and synthetic ones."""
    minutes = aq.read_candles(
        market_data / "klines/binance_spot_SOLUSDT_1m_20230201_20230411.parquet"
    )
    hours = aq.read_candles(market_data / "klines/binance_spot_BTCUSDT_1h_20220101_20231231.csv.gz")
    return [
        aq.resample(minutes, "5m").iloc[3_000:6_000],
        hours.iloc[-2_500:],
        random_walk(2_300, 7, volatility=0.02),
        table(1_800, 5, "ties"),
    ]


def runs_of_our_ledger(judge):
    """How many rows vectorbt left to our ledger, being less precise: in those it is no judge."""
    found = re.fullmatch(r"vectorbt(; ([\d,]+) runs that left .*)?", judge.passport["engine"])
    assert found
    return int((found[2] or "0").replace(",", ""))


# vectorbt, given our entries and exits, as the judge: 3 directions x 2 fills x 3 costs of 8 runs in
# each of the four tables are 576 combinations.
@pytest.mark.parametrize("place", range(4))
def test_every_figure_equals_vectorbts(real_candles, place):
    dice = np.random.default_rng(place)
    compared = 0
    for direction, fill in itertools.product(DIRECTIONS, FILLS):
        strategy, grid = some_grid(dice)
        own = strategy is always_in
        arguments = {
            "direction": "long" if own else direction,
            "fill": fill,
            "cost": [0.0, 0.001, 0.01],
            "slippage": float(dice.choice([0.0, 0.0005])),
            **grid,
        }
        ours = aq.sweep(real_candles[place], strategy, **arguments)
        judge = aq.sweep(real_candles[place], strategy, engine="vectorbt", **arguments)
        assert runs_of_our_ledger(judge) <= len(judge.table) // 10  # else it judges nothing
        assert list(ours.table.index) == list(judge.table.index)
        for row in ours.table.index:
            assert_row(row, ours.table.loc[row], judge.table.loc[row])
        compared += len(ours.table)
        assert_rows_equal_backtests(ours, dice.choice(len(ours.table), 4, replace=False))
        assert ours.table["trades"].max() > 2
    assert compared >= 100


# Small tables


@aq.strategy
def level_or_average(candles, window: int = 2, level: float = 2.5, kind: str = "above"):
    """Rules that fire often, of several shapes."""
    if kind == "above":
        return candles.close > level
    if kind == "average":
        return candles.close >= ema(candles.close, window)
    if kind == "sma":
        return sma(candles.close, window) != candles.open
    enter = crossed_above(candles.close, level)
    return hold(enter=enter, exit=crossed_below(candles.close, candles.open))


EVERY = {
    "window": [1, 2, 7],
    "level": [1.2, 2.5, 100.0],
    "kind": ["above", "average", "sma", "crossing"],
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(tables, options, st.sampled_from(DIRECTIONS), st.data())
def test_every_row_equals_its_backtest_on_any_table(candles, opts, direction, data):
    bars = len(candles)
    first = data.draw(st.integers(0, bars - 1), "first bar evaluated")
    end = data.draw(st.integers(first + 1, bars), "bar after the last one")
    window = {"start": candles.index[first], "end": None}
    if end < bars:
        window["end"] = candles.index[end]
    result = aq.sweep(
        candles, level_or_average, timeframe="5m", direction=direction, **EVERY, **opts, **window
    )
    dice = np.random.default_rng(bars)
    assert_rows_equal_backtests(result, dice.choice(len(result.table), 9, replace=False))


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 7.0]), min_size=1, max_size=70),
    st.lists(st.sampled_from([1.0, 2.0, 3.0, 6.0]), min_size=70, max_size=70),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=70, max_size=70),
    options,
    st.sampled_from([*DIRECTIONS, "own"]),
)
@example([3.0, 7.0, 3.0], [3.0] * 70, [1.0] * 70, {"cost": 0.0, "fill": "close"}, "short")
def test_rows_equal_the_bank_statement(closes, opens, volumes, opts, direction):
    """On tables wild enough for shorts to be ruined, at closes and at fills."""
    bars = len(closes)
    candles = naive.candle_table(opens[:bars], closes, volumes[:bars])
    opts = {"slippage": 0.0, **opts}
    if direction == "own":
        result = aq.sweep(candles, thirds_at, timeframe="5m", low=[1.6, 2.0], **opts)
    else:
        result = aq.sweep(
            candles, above, timeframe="5m", level=[1.2, 2.5, 3.2], direction=direction, **opts
        )
    for (level,), row in result.table.iterrows():
        position = naive_position(candles["close"].to_numpy(), level, direction)
        run = naive_run(candles, position.tolist(), opts)
        expected = naive_figures(candles, run, opts)
        assert_row(level, row, {name: v for name, v in expected.items() if name in row})


@aq.strategy
def above(candles, level: float = 2.5):
    return candles.close > level


@aq.strategy
def thirds_at(candles, low: float = 2.0):
    return where(candles.close > 3.0, -1, where(candles.close < low, 1, 0))


def naive_position(close, level, direction):
    if direction == "own":
        return np.where(close > 3.0, -1, np.where(close < level, 1, 0))
    held = (close > level).astype(int)
    if direction == "both":
        return np.where(held, 1, -np.maximum.accumulate(held))
    return held if direction == "long" else -held


def run_all(closes, opens=None, cost=0.0, **opts):
    """One table, every direction and fill: the rows, equal to their backtests."""
    candles = naive.candle_table(closes if opens is None else opens, closes)
    results = {}
    for direction, fill in itertools.product(DIRECTIONS, FILLS):
        result = aq.sweep(
            candles, above, level=[2.5, 1e9], cost=cost, direction=direction, fill=fill, **opts
        )
        assert_rows_equal_backtests(result)
        results[direction, fill] = result
    return results


@pytest.mark.parametrize("at", [3, 62, 63, 64, 1022, 1023, 1024, 1025, 2047, 2048])
def test_a_short_is_ruined_wherever_it_happens(at):
    """At a close within the trade, in the last bar of a block or the first of the next."""
    closes = np.full(2_100, 3.0)
    closes[at] = 7.0  # more than twice the entry
    for cost in (0.0, 0.001):
        for fill in FILLS:
            result = run_all(closes, cost=cost)["short", fill]
            assert result.table["max_drawdown"].iloc[0] == -1.0
            assert result.table["trades"].iloc[0] == 1.0
            held = at if fill == "close" else at - 1
            assert result.table["exposure"].iloc[0] == pytest.approx(held / 2_100)
            assert result.ruined == 1


@pytest.mark.parametrize("at", [3, 63, 64, 1023, 1024, 2048])
def test_a_short_is_ruined_at_its_fill_and_in_its_entry_bar(at):
    closes = np.full(2_100, 3.0)
    opens = closes.copy()
    closes[at - 1] = 2.0  # leave it, in the next bar
    opens[at] = 6.5
    at_fill = run_all(closes, opens)["short", "open"]
    assert at_fill.ruined == 1 and at_fill.table["trades"].iloc[0] == 1.0
    closes, opens = np.full(2_100, 2.0), np.full(2_100, 2.0)
    closes[at - 1], closes[at] = 3.0, 7.0  # sold at the open of `at`, which closes far above
    in_entry = run_all(closes, opens)["short", "open"]
    assert in_entry.ruined == 1 and in_entry.table["exposure"].iloc[0] == 0.0


@pytest.mark.parametrize("at", [3, 63, 64, 1023, 1024, 2048])
def test_a_reversal_into_ruin(at):
    """Long is left with a profit, and the short that follows is lost in that very bar."""
    closes, opens = np.full(2_100, 3.0), np.full(2_100, 3.0)
    closes[at - 1], closes[at] = 2.0, 9.0
    result = run_all(closes, opens)["both", "open"]
    assert result.ruined == 1
    assert result.table["trades"].iloc[0] == 2.0
    assert result.table["total_return"].iloc[0] == -1.0


def test_a_run_without_trades_and_one_that_never_ends():
    rows = run_all(np.full(1_500, 3.0))
    for key, result in rows.items():
        held, idle = result.table.iloc[0], result.table.iloc[1]
        assert idle["exposure"] == idle["trades"] == idle["turnover"] == idle["fees_paid"] == 0.0
        assert math.isnan(idle["win_rate"]) and math.isnan(idle["sharpe"])
        assert held["trades"] == 0.0 and held["exposure"] > 0.99, key


@pytest.mark.parametrize("period", [2, 3, 4, 7, 64, 128])
def test_many_trades_in_one_word(period):
    """A change in every bar: 64 events in each word, none of them lost."""
    closes = np.where(np.arange(2_200) % period < (period + 1) // 2, 2.0, 3.0)
    for result in run_all(closes, np.roll(closes, 1), cost=0.0001).values():
        assert result.table["trades"].iloc[0] >= 2_200 // period - 1
    closes = 100 + np.where(np.arange(2_200) % period < (period + 1) // 2, 2.0, 3.0)
    candles = naive.candle_table(closes, closes)
    result = aq.sweep(candles, sided, level=[102.5, 102.9], fill="close", cost=[0.0, 0.0001])
    assert_rows_equal_backtests(result)
    assert result.table["trades"].iloc[0] >= 2 * (2_200 // period) - 2


@aq.strategy
def sided(candles, level: float = 2.5):
    return where(candles.close > level, 1, -1)


# Where digits would be lost


@aq.strategy
def since(candles, bar: int = 5):
    """Hold from one bar on, to the end."""
    return candles.time >= bar * BAR + 1_672_531_200_000


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("move", [1e-4, 1e-5, 1e-6])
def test_small_moves_after_large_ones_keep_their_digits(direction, move):
    """Running sums of a block are far larger than what a late trade makes of them."""
    dice = np.random.default_rng(1)
    large = 100 + dice.choice([-0.4, 0.4], 500)
    closes = np.concatenate([large, 100 + dice.choice([0, 1, 2, 3], 400) * 100 * move])
    candles = naive.candle_table(closes, closes)
    options = {"cost": [0.0, 0.001], "fill": "close", "direction": direction}
    assert_rows_equal_backtests(aq.sweep(candles, since, bar=[505, 700], **options))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e8])
def test_tiny_prices_after_large_ones_keep_their_digits(direction, ratio):
    closes = np.concatenate([np.full(900, 1.0), np.where(np.arange(120) % 2, 1.0, 1.7) / ratio])
    candles = naive.candle_table(1000 * closes, 1000 * closes)
    options = {"cost": [0.0, 0.001], "fill": "close", "direction": direction}
    result = aq.sweep(candles, below, level=[1200 / ratio, 2000 / ratio], **options)
    assert_rows_equal_backtests(result)


@aq.strategy
def below(candles, level: float = 1.0):
    return candles.close < level


def test_a_trade_that_costs_leave_nothing_of():
    closes = np.where(np.arange(40) % 2, 3.0, 1.0)
    for direction in DIRECTIONS:
        result = aq.sweep(
            naive.candle_table(closes, closes),
            above,
            level=[2.5],
            cost=[0.5, 0.9999999],
            slippage=0.9999999,
            direction=direction,
        )
        assert_rows_equal_backtests(result)
        assert result.table["trades"].iloc[-1] == 1.0  # whatever came after the first is nothing


def test_stakes_too_small_for_a_number_still_count_their_trades():
    closes = np.where(np.arange(6_000) % 2, 1.0, 3.0)
    lost = run_all(closes, closes, cost=0.3)["long", "close"].table.iloc[0]
    assert lost["trades"] >= 2_999 and lost["total_return"] == -1.0


def test_gains_beyond_the_largest_number_are_unknown_as_in_the_ledger():
    closes = np.where(np.arange(4_000) % 2, 2.0, 3.0)
    for direction in DIRECTIONS:
        result = aq.sweep(
            naive.candle_table(closes, closes), below, level=[2.5], cost=0.0, fill="close",
            direction=direction,
        )  # fmt: skip
        assert_rows_equal_backtests(result)


def test_a_long_run_keeps_its_digits():
    """Half a million bars: sums over them and over a year of trades."""
    candles = random_walk(300_000, 3, volatility=0.001)
    for direction in DIRECTIONS:
        result = aq.sweep(candles, ma_cross, short=[2, 90], long=[5, 400], direction=direction)
        assert_rows_equal_backtests(result)
