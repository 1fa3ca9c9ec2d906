"""Stops: each rule by an example, and every run against a bank statement kept by hand."""

from __future__ import annotations

import math

import naive_stops
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_stops import (
    MINUTE,
    dice,
    directions,
    options,
    stops,
    tables,
    three_ways,
    wicked,
    wild_tables,
)

import astraquant as aq

FRAMES = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE}


def assert_equal(result, statement, bars, length, opts):
    """The whole of a result is that of the statement."""
    np.testing.assert_allclose(result.equity, statement.equity, rtol=1e-9, atol=1e-7)
    # A trade that ends where it began wins or loses by a rounding error.
    even = any(abs(trade["profit"]) < 1e-9 * trade["stake"] for trade in statement.trades)
    for name, value in naive_stops.figures(statement, bars, length, opts).items():
        if even and name in ("win_rate", "profit_factor"):
            continue
        rel = 1e-6 if name == "annual_return" else 1e-9
        assert result.metrics[name] == pytest.approx(value, rel=rel, abs=1e-10, nan_ok=True), name
    assert result.pending == statement.pending
    rows = result.trades.to_dict("records")
    assert len(rows) == len(statement.trades)
    for row, trade in zip(rows, statement.trades, strict=True):
        assert row["direction"] == trade["direction"]
        assert row["entry_time"] == bars.index[trade["entry_bar"]]
        assert row["status"] == (
            trade["status"] if trade["status"] != "closed" else trade.get("reason", "closed")
        )
        for name in ("entry_price", "exit_price", "quantity", "fees", "profit"):
            assert row[name] == pytest.approx(trade[name], rel=1e-9, abs=1e-7), name
        if trade["status"] != "open":
            assert row["exit_time"] == bars.index[trade["exit_bar"]]


@settings(max_examples=150)
@given(tables, options, stops, directions, st.integers(0, 99), st.integers(1, 20))
def test_a_run_equals_the_bank_statement(candles, opts, limits, direction, seed, hold):
    arguments = {"direction": direction, "seed": seed, "hold": hold, **opts, **limits}
    result = aq.backtest(candles, dice, **arguments)
    statement = naive_stops.run(candles, candles, MINUTE, result.position.tolist(), opts, limits)
    assert_equal(result, statement, candles, MINUTE, opts)


@settings(max_examples=60)
@given(tables, options, stops, st.integers(0, 99), st.integers(1, 20))
def test_a_strategy_of_three_ways_is_stopped_alike(candles, opts, limits, seed, hold):
    result = aq.backtest(candles, three_ways, seed=seed, hold=hold, **opts, **limits)
    statement = naive_stops.run(candles, candles, MINUTE, result.position.tolist(), opts, limits)
    assert_equal(result, statement, candles, MINUTE, opts)


@settings(max_examples=50)
@given(wild_tables, options, stops, st.sampled_from(["short", "both"]), st.integers(0, 99))
def test_a_short_may_be_ruined_before_its_stop_helps(candles, opts, limits, direction, seed):
    arguments = {"direction": direction, "seed": seed, "hold": 10, **opts, **limits}
    result = aq.backtest(candles, dice, **arguments)
    statement = naive_stops.run(candles, candles, MINUTE, result.position.tolist(), opts, limits)
    assert_equal(result, statement, candles, MINUTE, opts)


@settings(max_examples=60)
@given(
    tables, options, stops, directions, st.integers(0, 99), st.integers(5, 60),
    st.sampled_from(["5m", "15m"]),
)  # fmt: skip
def test_stops_are_watched_in_the_finer_candles_of_the_source(
    candles, opts, limits, direction, seed, hold, timeframe
):
    bars = aq.resample(candles, timeframe)
    if len(bars) == 0:
        return
    arguments = {"direction": direction, "seed": seed, "hold": hold, **opts, **limits}
    result = aq.backtest(candles, dice, timeframe=timeframe, **arguments)
    length = FRAMES[timeframe]
    statement = naive_stops.run(candles, bars, length, result.position.tolist(), opts, limits)
    assert_equal(result, statement, bars, length, opts)


@settings(max_examples=60)
@given(tables, options, stops, directions, st.integers(0, 99), st.integers(0, 199))
def test_a_window_counts_only_itself(candles, opts, limits, direction, seed, first):
    first = min(first, len(candles) - 1)
    start = candles.index[first]
    arguments = {"direction": direction, "seed": seed, **opts, **limits}
    result = aq.backtest(candles, dice, start=start, **arguments)
    whole = aq.backtest(candles, dice, **arguments)
    before = int(whole.position.iloc[first - 1]) if first else 0
    bars = candles.iloc[first:]
    statement = naive_stops.run(
        candles, bars, MINUTE, result.position.tolist(), opts, limits, before
    )
    assert_equal(result, statement, bars, MINUTE, opts)


# Each rule by itself. Bars: (open, high, low, close); the signal is long from the first close on.

FLAT = (100, 100, 100, 100)


def table(*bars):
    index = pd.date_range("2023-01-01", periods=len(bars), freq="1min", tz="UTC", name="time")
    prices = pd.DataFrame(bars, index=index, columns=["open", "high", "low", "close"], dtype=float)
    return prices.assign(volume=1.0)


@aq.strategy
def given_signal(candles, low: float = 0.0):
    """True while nobody trades less than a unit."""
    return candles.volume > low


def first_trade(*bars, signal=None, **arguments):
    candles = table(FLAT, *bars)
    if signal is not None:
        candles["volume"] = np.array(signal, float)
    result = aq.backtest(candles, given_signal, cost=0.0, **arguments)
    trade = result.trades.iloc[0]
    minute = None if pd.isna(trade["exit_time"]) else trade["exit_time"].minute
    return minute, trade["exit_price"], trade["status"]


def test_a_stop_fills_at_its_level_in_the_entry_bar_too():
    assert first_trade((100, 101, 97, 101), stop_loss=0.02) == (1, 98.0, "stop_loss")
    assert first_trade((100, 103, 99, 99), take_profit=0.02) == (1, 102.0, "take_profit")


def test_a_position_entered_at_a_close_is_watched_from_the_next_bar_on():
    candles = table((100, 100, 90, 100), (100, 100, 99, 100), (100, 100, 97, 100))
    trade = aq.backtest(candles, given_signal, cost=0.0, fill="close", stop_loss=0.02).trades.iloc[
        0
    ]
    assert (trade["exit_time"].minute, trade["exit_price"]) == (2, 98.0)


def test_a_gap_through_a_level_fills_at_the_open():
    assert first_trade(FLAT, (95, 96, 94, 96), stop_loss=0.02) == (2, 95.0, "stop_loss")
    assert first_trade(FLAT, (105, 106, 104, 104), take_profit=0.02) == (2, 105.0, "take_profit")


def test_the_stop_comes_before_the_target_in_one_bar():
    both = {"stop_loss": 0.02, "take_profit": 0.02}
    assert first_trade(FLAT, (100, 103, 97, 100), **both) == (2, 98.0, "stop_loss")
    assert first_trade(FLAT, (103, 103, 97, 100), **both) == (2, 98.0, "stop_loss")


def test_a_trailing_stop_is_tested_before_it_moves():
    # At the high of 110 its level would be 104.5; the bar's own low of 100 is tested at 95.
    bars = [(100, 110, 100, 110), (110, 110, 105, 105), (105, 105, 104, 104)]
    assert first_trade(*bars, trailing_stop=0.05) == (3, 104.5, "trailing_stop")


def test_a_trailing_stop_begins_at_the_entry_price():
    assert first_trade((100, 100, 95, 96), trailing_stop=0.05) == (1, 95.0, "trailing_stop")


def test_the_nearer_of_two_stops_counts():
    bars = [(100, 110, 100, 110), (110, 110, 90, 90)]
    both = {"stop_loss": 0.05, "trailing_stop": 0.1}
    assert first_trade(*bars, **both) == (2, 99.0, "trailing_stop")
    both = {"stop_loss": 0.05, "trailing_stop": 0.5}
    assert first_trade(*bars, **both) == (2, 95.0, "stop_loss")


def test_after_a_stop_it_waits_until_the_signal_has_left_and_entered_again():
    bars = [FLAT, (100, 100, 97, 100), FLAT, FLAT, FLAT, FLAT, FLAT]
    candles = table(FLAT, *bars)
    candles["volume"] = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    result = aq.backtest(candles, given_signal, stop_loss=0.02)
    assert result.trades["entry_time"].dt.minute.tolist() == [1, 6]
    assert result.trades["status"].tolist() == ["stop_loss", "open"]
    assert result.position.tolist() == [1, 1, 1, 1, 0, 1, 1, 1]  # what it wanted


def test_with_both_directions_it_waits_until_the_signal_turns():
    bars = [FLAT, (100, 100, 97, 100), FLAT, FLAT, FLAT, FLAT, FLAT]
    candles = table(FLAT, *bars)
    candles["volume"] = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    result = aq.backtest(candles, given_signal, stop_loss=0.02, direction="both")
    assert result.trades["entry_time"].dt.minute.tolist() == [1, 5]
    assert result.trades["direction"].tolist() == [1, -1]


def test_a_short_has_its_levels_the_other_way_round():
    short = {"direction": "short"}
    assert first_trade((100, 103, 100, 100), stop_loss=0.02, **short) == (1, 102.0, "stop_loss")
    assert first_trade((100, 100, 97, 100), take_profit=0.02, **short) == (1, 98.0, "take_profit")
    bars = [(100, 100, 80, 80), (80, 85, 80, 84)]
    assert first_trade(*bars, trailing_stop=0.05, **short) == (2, 84.0, "trailing_stop")


def test_slippage_makes_the_base_and_the_fill_worse():
    minute, price, _ = first_trade((100, 101, 97, 100), stop_loss=0.02, slippage=0.01)
    assert minute == 1
    assert price == pytest.approx(101 * 0.98 * 0.99)


def test_a_stop_nearer_than_the_slippage_leaves_at_once():
    """The base of its level is the price that was paid, which lies above the open."""
    trade = first_trade((100, 101, 99, 101), stop_loss=0.005, slippage=0.01)
    assert trade == (1, 99.0, "stop_loss")  # at the open, less slippage


def test_a_price_at_the_level_is_enough():
    assert first_trade((100, 100, 98, 100), stop_loss=0.02)[2] == "stop_loss"
    assert first_trade((100, 102, 100, 100), take_profit=0.02)[2] == "take_profit"
    assert first_trade((100, 100, 98.01, 100), stop_loss=0.02)[2] == "open"
    assert first_trade((100, 101.99, 100, 100), take_profit=0.02)[2] == "open"


def test_a_short_that_opens_beyond_its_stop_at_twice_the_price_is_ruined():
    short = {"direction": "short", "stop_loss": 0.5}
    assert first_trade(FLAT, (210, 220, 200, 210), **short) == (2, 210.0, "ruined")
    assert first_trade(FLAT, (140, 220, 140, 210), **short) == (2, 150.0, "stop_loss")


def test_an_infinite_stop_is_none():
    candles = wicked(200, 1)
    plain = aq.backtest(candles, dice)
    far = aq.backtest(candles, dice, stop_loss=math.inf, take_profit=math.inf)
    pd.testing.assert_series_equal(plain.metrics, far.metrics)
    assert far.options.stop_loss is None
    assert far.passport["options"] == plain.passport["options"]


def test_a_result_says_what_its_stops_are():
    candles = wicked(300, 1, gone=0.0)
    result = aq.backtest(candles, dice, timeframe="5m", stop_loss=0.02, trailing_stop=0.05)
    assert result.passport["contract"].endswith(
        "With a stop loss of 2 % and a trailing stop of 5 %."
    )
    assert "Stops were watched in candles of 1m." in result.notes
    assert result.passport["candles_timeframe"] == "1m"
    assert result.passport["options"]["stop_loss"] == 0.02
    assert set(result.trades["status"]) >= {"stop_loss"}
    assert not any("watched" in note for note in aq.backtest(candles, dice, stop_loss=0.02).notes)


def test_buy_and_hold_knows_no_stops():
    candles = wicked(300, 1)
    plain, stopped = aq.backtest(candles, dice), aq.backtest(candles, dice, stop_loss=0.001)
    assert plain.metrics["buy_and_hold"] == stopped.metrics["buy_and_hold"]
    pd.testing.assert_series_equal(plain._buy_and_hold_equity(), stopped._buy_and_hold_equity())


@pytest.mark.parametrize("name", ["stop_loss", "trailing_stop", "take_profit"])
@pytest.mark.parametrize("value", [0, -0.1, 1.0, math.nan, "2%", True, [0.1, 0.2]])
def test_bad_stops_are_refused_with_the_cure(name, value):
    if name == "take_profit" and value == 1.0 and value is not True:
        return  # a target may be any distance away
    with pytest.raises(aq.StrategyError, match=rf"{name}=.*two percent are 0\.02"):
        aq.backtest(wicked(50, 1), dice, **{name: value})


@settings(max_examples=25)
@given(
    st.builds(wicked, st.integers(2, 150), st.integers(0, 2**32)), stops,
    st.sampled_from(["long", "short"]), st.integers(0, 99), st.sampled_from([0.0, 0.01]),
)  # fmt: skip
def test_vectorbt_finds_the_same_stops_after_an_entry_at_a_close(
    candles, limits, direction, seed, slippage
):
    """There its rule is ours: watched from the next bar on, stop before target, gaps at the open.

    Not so after an entry at an open, in whose own bar it does not look; and it has one kind of stop
    loss, fixed or trailing.
    """
    import vectorbt
    from vectorbt.portfolio.enums import StopEntryPrice, StopExitPrice

    if "stop_loss" in limits and "trailing_stop" in limits:
        del limits["stop_loss"]
    ours = aq.backtest(
        candles, dice, seed=seed, fill="close", direction=direction, slippage=slippage, **limits
    )
    wanted = ours.position.to_numpy() != 0
    before = np.concatenate([[False], wanted[:-1]])
    prices = candles.tz_localize(None)
    side = "short" if direction == "short" else "long"
    signals = {"entries": wanted & ~before, "exits": before & ~wanted}
    if side == "short":
        signals = {f"short_{name}": values for name, values in signals.items()}
    trails = "trailing_stop" in limits
    theirs = vectorbt.Portfolio.from_signals(
        prices["close"],
        **{name: pd.Series(values, index=prices.index) for name, values in signals.items()},
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        sl_stop=limits.get("trailing_stop", limits.get("stop_loss", np.nan)),
        sl_trail=trails,
        tp_stop=limits.get("take_profit", np.nan),
        stop_entry_price=StopEntryPrice.FillPrice,
        stop_exit_price=StopExitPrice.StopMarket,
        fees=0.001,
        slippage=slippage,
        size=np.inf,
        init_cash=10_000.0,
        freq="1min",
    )
    trades = theirs.trades.records
    np.testing.assert_allclose(trades["exit_price"], ours.trades["exit_price"], rtol=1e-12)
    np.testing.assert_array_equal(trades["exit_idx"] - trades["entry_idx"], ours.trades["bars"])
    np.testing.assert_allclose(theirs.value(), ours.equity, rtol=1e-9)
