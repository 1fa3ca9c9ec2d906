"""What a live chart draws and says, without a widget: bars, views, the paper account, words."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant.backtesting import backtest
from astraquant.candles import Candle, candle_table, times_of
from astraquant.data.sample import sample_candles
from astraquant.feed.feed import Status
from astraquant.resampling import resample
from astraquant.strategies import Range, ma_cross, strategy, where
from astraquant.timeframes import MINUTE, bin_starts, next_start
from astraquant.widgets import style, words
from astraquant.widgets.live_bars import FEWEST, MOST, Bars, View, drawable, price_range
from astraquant.widgets.paper import CASH, Account, run_live

MINUTES = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-03")
T0 = int(times_of(MINUTES)[0])


def candle(row: int) -> Candle:
    """A minute of the sample."""
    return Candle(int(times_of(MINUTES)[row]), *MINUTES.iloc[row])


@strategy
def turncoat(candles: Any, level: Annotated[float, Range(0, 1e9)] = 23_500.0) -> Any:
    """Short above a price, long below: in the market all the time."""
    return where(candles.close > level, -1, 1)


# Minutes as bars of another timeframe.


@given(
    timeframe=st.sampled_from(["1m", "3m", "5m", "15m", "1h"]),
    end=st.integers(130, 400),
    lost=st.sets(st.integers(0, 400), max_size=30),
    ahead=st.integers(-2, 9),
)
def test_bars_are_those_of_resample_with_the_one_that_is_not_over(
    timeframe: str, end: int, lost: set[int], ahead: int
) -> None:
    kept = [row for row in range(end) if row not in lost or row < 100]
    minutes = MINUTES.iloc[kept]
    bars = Bars(minutes, timeframe)
    pd.testing.assert_frame_equal(bars.closed, resample(minutes, timeframe))
    minute = candle(kept[-1] + ahead)
    known = pd.concat([minutes, candle_table([minute])]) if ahead > 0 else minutes
    every = resample(known, timeframe, partial=True)
    last = every.iloc[-1]
    over = len(bars.closed) and bars.closed.index[-1] == every.index[-1]
    found = bars.forming(minute)
    if over:
        assert found is None  # all that is known of has closed
        return
    assert found is not None
    assert found.time == int(bin_starts(times_of(known)[-1:], timeframe)[0])
    assert found[1:6] == pytest.approx(last[["open", "high", "low", "close", "volume"]].tolist())
    assert bars.forming(minute) == found  # asking changes nothing


def test_a_broken_candle_is_left_out() -> None:
    minutes = MINUTES.iloc[:50].copy()
    minutes.iloc[7, minutes.columns.get_loc("close")] = np.nan
    minutes.iloc[9, minutes.columns.get_loc("high")] = 1.0
    assert list(drawable(minutes).index) == list(minutes.index.delete([7, 9]))
    bars = Bars(minutes, "1m")
    assert len(bars.closed) == 48
    good = candle(60)
    assert bars.forming(good) == good
    for broken in (good._replace(close=math.nan), good._replace(high=good.low - 1)):
        assert bars.forming(broken) is None
    assert Bars(MINUTES.iloc[:0], "5m").forming(None) is None
    assert Bars(MINUTES.iloc[:1], "5m").forming(None) == candle(0)


# The part in view.


@given(
    count=st.integers(FEWEST, MOST),
    newest=st.integers(0, 10_000),
    timeframe=st.sampled_from(["1m", "1h"]),
    share=st.floats(-3, 3),
    factor=st.floats(0.01, 100),
)
def test_views(count: int, newest: int, timeframe: str, share: float, factor: float) -> None:
    bar = next_start(0, timeframe)
    time_ = newest * bar
    view = View(count)
    start, end = view.window(time_, timeframe)
    assert end - start == count * bar
    assert start < time_ and time_ + bar < end  # the newest is there, and room beyond it
    assert view.window(time_ + bar, timeframe)[1] == end + bar
    moved = view.moved(share, time_, timeframe)
    assert not moved.follows
    assert moved.window(time_ + 99 * bar, timeframe) == moved.window(time_, timeframe)
    assert moved.window(time_, timeframe)[1] == end + round(share * count * bar)
    assert view.held((start + 7, end + 7), timeframe).window(0, timeframe) == (start + 7, end + 7)
    zoomed = moved.zoomed(factor)
    assert FEWEST <= zoomed.count <= MOST
    assert zoomed.end == moved.end


def test_the_price_axis_spans_what_is_in_view() -> None:
    shown = MINUTES.iloc[:50]
    line = pd.Series(np.nan, index=shown.index)
    line.iloc[3] = shown["high"].max() + 10
    low, high = price_range(shown, None, {"line": line})
    assert low < shown["low"].min() and shown["high"].max() + 10 < high
    far = candle(60)._replace(low=1.0)
    assert price_range(shown, far, {})[0] < 1.0
    assert price_range(shown.iloc[:0], None, {}) == (0.0, 1.0)


# The paper account.


@given(
    closed=st.integers(300, 900),
    ago=st.integers(-1, 250),
    cost=st.sampled_from([0.0, 0.001, 0.01]),
    chosen=st.sampled_from([(ma_cross, {"short": 3, "long": 9}), (turncoat, {"level": 23_400.0})]),
)
def test_the_account_is_a_backtest_since_it_began(
    closed: int, ago: int, cost: float, chosen: tuple[Any, dict[str, Any]]
) -> None:
    """At the price of the forming candle it is worth what the contract's ledger says."""
    own, parameters = chosen
    now = candle(closed)
    since = now.time - ago * MINUTE
    run = run_live(
        MINUTES.iloc[:closed], now, own, parameters, timeframe="1m", since=since, cost=cost
    )
    if ago < 0:
        assert run.account is None  # its first bar has not opened yet
        return
    assert run.account is not None
    whole = MINUTES.iloc[: closed + 1]
    truth = backtest(whole, own, start=MINUTES.index[closed - ago], cost=cost, **parameters)
    assert run.account.worth(now.close) == pytest.approx(truth.equity.iloc[-1], rel=1e-12)
    assert run.account.fees == pytest.approx(truth.trades["fees"].sum())
    assert run.account.trades == int((truth.trades["status"] == "closed").sum())
    assert run.account.pending is None  # what the forming bar would decide is no decision
    since_start = run.trades[run.trades["entry_time"] >= MINUTES.index[closed - ago]]
    pd.testing.assert_frame_equal(
        since_start.iloc[:, :4].reset_index(drop=True), truth.trades.iloc[:, :4]
    )
    lines = backtest(MINUTES.iloc[:closed], own, cost=cost, **parameters).lines
    assert run.lines.keys() == lines.keys()
    for name, line in lines.items():
        pd.testing.assert_series_equal(run.lines[name], line, check_freq=False)


@given(
    row=st.integers(50, 300), high=st.floats(0, 500), close=st.floats(0, 1), volume=st.floats(0, 9)
)
def test_only_the_open_of_the_forming_candle_counts(
    row: int, high: float, close: float, volume: float
) -> None:
    true = candle(row)
    other = true._replace(
        high=true.open + high, low=true.open - 1, close=true.open + close * high, volume=volume
    )
    runs = [
        run_live(
            MINUTES.iloc[:row],
            forming,
            turncoat,
            {"level": 23_450.0},
            timeframe="1m",
            since=T0,
            cost=0.001,
        )
        for forming in (true, other)
    ]
    assert runs[0].account == runs[1].account
    pd.testing.assert_frame_equal(runs[0].trades, runs[1].trades)


def test_between_two_bars_the_decision_is_pending() -> None:
    bought = backtest(MINUTES, ma_cross, short=3, long=9).trades["entry_time"].iloc[5]
    row = int(MINUTES.index.get_loc(bought))
    options: dict[str, Any] = {"timeframe": "1m", "since": T0, "cost": 0.001}
    rule = {"short": 3, "long": 9}
    before = run_live(MINUTES.iloc[:row], None, ma_cross, rule, **options).account
    assert before is not None
    assert (before.direction, before.pending) == (0, 1)
    assert "long from the next open" in str(before.say(100.0, 2, "BTC", "USDT"))
    after = run_live(MINUTES.iloc[:row], candle(row), ma_cross, rule, **options).account
    assert after is not None
    assert (after.direction, after.pending) == (1, None)
    assert after.entry_price == MINUTES["open"].iloc[row]
    told = str(after.say(after.entry_price, 2, "BTC", "USDT"))
    assert f"long {words.amount(after.quantity)} BTC since" in told
    assert f"lost to fees: {after.fees:,.2f} USDT" in told
    assert f"{after.worth(after.entry_price) - CASH:+,.2f} USDT" in told


def test_a_short_is_never_worth_less_than_nothing() -> None:
    short = Account(MINUTES.index[0], CASH, 0.0, 0, -1, 2.0, 100.0, MINUTES.index[1])
    assert short.worth(100.0) == 200.0
    assert short.worth(90.0) == 220.0
    assert short.worth(1_000.0) == 0.0


# Words.


@pytest.mark.parametrize(
    ("status", "sign", "colour", "text"),
    [
        (Status("LIVE", 125.4, 0.25, ""), "●", style.LONG, "for 2 min 05 s · lag 0.2 s · 20 ×"),
        (Status("STALE", 3.0, 0.1, "no candle for 12 s"), "◐", words.AMBER, "no candle for 12 s"),
        (Status("RECONNECTING", 3.9, None, "<gone>"), "◐", words.AMBER, "for 3 s · &lt;gone&gt;"),
        (Status("BACKFILLING", 0.0, None, ""), "◐", words.AMBER, "for 0 s"),
        (Status("CONNECTING", 0.0, None, ""), "◐", words.AMBER, "for 0 s"),
        (Status("STOPPED", 7_500.0, None, ""), "○", style.BENCHMARK, "for 2 h 05 min"),
    ],
)
def test_the_light_says_its_state_in_words(
    status: Status, sign: str, colour: str, text: str
) -> None:
    shown = words.light(status, 20.0)
    assert sign in shown
    assert colour in shown
    assert f"<b>{status.state}</b>" in shown
    assert text in shown
    assert "real time" not in words.light(status, 1)


def gap(kind: str, missing: int, late: str | None) -> pd.DataFrame:
    start = pd.Timestamp("2023-03-02 12:03", tz="UTC")
    end = start + missing * pd.Timedelta("1min")
    closed = pd.NaT if late is None else start + pd.Timedelta("1min") + pd.Timedelta(late)
    row = {"start": start, "end": end, "missing": missing, "kind": kind, "closed": closed}
    return pd.DataFrame([row])


def test_the_last_gap_is_told_in_a_sentence() -> None:
    told = words.last_gap(pd.concat([gap("venue", 9, "1h"), gap("ours", 3, "40s")]), 20.0)
    assert told == "3 candles missed from 02 Mar 12:03 on, filled since (at most 2 s late)."
    assert words.last_gap(gap("ours", 1, "2min"), 1.0).endswith("(at most 2 min 00 s late).")
    assert "being asked" in words.last_gap(gap("open", 2, None), 1.0)
    assert "none there either" in words.last_gap(gap("venue", 80, "1s"), 0.0)
    assert words.last_gap(gap("ours", 1, "1s").iloc[:0], 1.0) == ""


def test_prices_are_shown_with_the_decimals_of_their_venue() -> None:
    for symbol, decimals in (("BTCUSDT", 2), ("BNBUSDT", 1), ("XRPUSDT", 4)):
        table = sample_candles(symbol, start="2023-03-01", end="2023-03-02")
        assert words.decimals_of(table["close"].to_numpy()) == decimals
    assert words.decimals_of(np.array([1 / 3])) == 8
    assert words.currencies("BTCUSDT") == ("BTC", "USDT")
    assert words.currencies("ETHBTC") == ("ETH", "BTC")
    assert words.currencies("MYSTERY") == ("", "quote")
    assert words.venue_name("http://127.0.0.1:5123") == "127.0.0.1"
    assert words.venue_name("binance") == "binance"
