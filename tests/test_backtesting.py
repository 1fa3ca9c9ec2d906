"""The contract of a backtest, clause by clause, against a bank statement and against vectorbt."""

from __future__ import annotations

import math

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import astraquant as aq
from astraquant import metrics
from astraquant.accounting import run_ledger
from astraquant.stops import find_fills
from astraquant.strategies import ma_cross

BAR = 5 * 60 * 1000
prices = st.floats(1, 4, allow_nan=False).map(lambda x: round(x, 2))


@st.composite
def markets(draw, most=60):
    """Small tables on the cent with ties, flat stretches and empty bars; wild enough for ruin."""
    bars = draw(st.integers(1, most))
    closes = draw(st.lists(prices, min_size=bars, max_size=bars))
    opens = draw(st.lists(prices, min_size=bars, max_size=bars))
    flat = draw(st.integers(0, bars))
    closes[:flat] = [closes[0]] * flat
    volumes = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=bars, max_size=bars))
    return naive.candle_table(opens, closes, volumes)


options = st.fixed_dictionaries(
    {
        "cost": st.sampled_from([0.0, 0.001, 0.01]),
        "slippage": st.sampled_from([0.0, 0.0005]),
        "fill": st.sampled_from(["open", "close"]),
    }
)


@aq.strategy
def ups(candles, level: float = 2.5):
    """Hold above a level: changes often, knows everything from the first bar."""
    return candles.close > level


@aq.strategy
def thirds(candles, low: float = 2.0, high: float = 3.0):
    """Short above, long below, flat between."""
    return aq.where(candles.close > high, -1, aq.where(candles.close < low, 1, 0))


def naive_run(candles, position, opts, before=0):
    return naive.run(
        position,
        candles["open"].tolist(),
        candles["close"].tolist(),
        cash=10_000.0,
        before=before,
        **opts,
    )


def naive_figures(candles, run, opts):
    times = candles.index.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(int)
    return naive.figures(
        run,
        candles["open"].tolist(),
        candles["close"].tolist(),
        candles["volume"].tolist(),
        times.tolist(),
        cash=10_000.0,
        bar_ms=BAR,
        **opts,
    )


def assert_figures(got, expected):
    for name, value in expected.items():
        # Compounding minutes to a year raises to the power of 100,000, rounding errors included.
        rel = 1e-6 if name == "annual_return" else 1e-9
        assert got[name] == pytest.approx(value, rel=rel, abs=1e-10, nan_ok=True), name


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(markets(), options, st.sampled_from(["long", "short", "both", "own"]))
def test_every_figure_equals_the_bank_statement(candles, opts, direction):
    close = candles["close"].to_numpy()
    if direction == "own":
        position = np.where(close > 3.0, -1, np.where(close < 2.0, 1, 0))
        result = aq.backtest(candles, thirds, timeframe="5m", **opts)
    else:
        above = close > 2.5
        started = np.maximum.accumulate(above)
        position = {
            "long": above.astype(int),
            "short": -above.astype(int),
            "both": np.where(above, 1, np.where(started, -1, 0)),
        }[direction]
        result = aq.backtest(candles, ups, timeframe="5m", direction=direction, **opts)
    expected = naive_run(candles, position.tolist(), opts)
    assert result.position.tolist() == position.tolist()
    np.testing.assert_allclose(result.equity, expected.equity, rtol=1e-9, atol=1e-7)
    assert_figures(result.metrics, naive_figures(candles, expected, opts))
    assert result.pending == expected.pending
    rows = result.trades.to_dict("records")
    assert len(rows) == len(expected.trades)
    for row, trade in zip(rows, expected.trades, strict=True):
        for name in ("direction", "status"):
            assert row[name] == trade[name]
        for name in ("entry_price", "exit_price", "quantity", "fees", "profit"):
            assert row[name] == pytest.approx(trade[name], rel=1e-9, abs=1e-7), name
        assert row["entry_time"] == candles.index[trade["entry_bar"]]
        if trade["status"] == "open":
            assert pd.isna(row["exit_time"])
        else:
            assert row["exit_time"] == candles.index[trade["exit_bar"]]
        assert row["bars"] == trade["exit_bar"] - trade["entry_bar"]


@settings(max_examples=200)
@given(markets(), st.integers(1, 6), st.integers(1, 8))
@example(naive.candle_table([1.0] * 9, [1.1, 1.1, 1.2, 1.1, 1.0, 1.1, 1.3, 1.1, 1.1]), 1, 2)
def test_the_crossover_decides_as_exact_fractions_do(candles, short, extra):
    result = aq.backtest(candles, ma_cross, timeframe="5m", short=short, long=short + extra)
    expected = naive.sma_cross_position(candles["close"], short, short + extra)
    assert result.position.tolist() == expected


@settings(max_examples=100)
@given(markets(), options, st.integers(0, 59), st.sampled_from(["long", "both"]))
def test_a_window_knows_the_past_and_counts_only_itself(candles, opts, first, direction):
    assume(first < len(candles))
    start = candles.index[first]
    whole = aq.backtest(candles, ups, timeframe="5m", direction=direction, **opts)
    part = aq.backtest(candles, ups, timeframe="5m", start=start, direction=direction, **opts)
    pd.testing.assert_series_equal(part.position, whole.position[first:])
    before = int(whole.position.iloc[first - 1]) if first and opts["fill"] == "open" else 0
    inside = candles.iloc[first:]
    expected = naive_run(inside, part.position.tolist(), opts, before)
    assert_figures(part.metrics, naive_figures(inside, expected, opts))


@settings(max_examples=60)
@given(markets(), st.integers(1, 60))
def test_the_end_hides_what_comes_later(candles, bars):
    assume(bars < len(candles))
    cut = aq.backtest(candles, ups, timeframe="5m", end=candles.index[bars])
    alone = aq.backtest(candles.iloc[:bars], ups, timeframe="5m")
    pd.testing.assert_series_equal(cut.metrics, alone.metrics)


def random_walk(bars, seed, volatility=0.01):
    rng = np.random.default_rng(seed)
    closes = np.round(100 * np.exp(np.cumsum(rng.normal(0, volatility, bars))), 2)
    opens = np.round(np.r_[100.0, closes[:-1]] * np.exp(rng.normal(0, 0.001, bars)), 2)
    return naive.candle_table(opens, closes)


def assert_equals_vectorbt(result):
    """Our figures against vectorbt's own, wherever both define one alike."""
    portfolio, ours = result.portfolio, result.metrics
    np.testing.assert_allclose(portfolio.value().to_numpy(), result.equity, rtol=1e-9)
    year = "365 days"
    theirs = {
        "total_return": portfolio.total_return(),
        "annual_return": portfolio.annualized_return(year_freq=year),
        "fees_paid": portfolio.orders.fees.sum(),
        "exposure": portfolio.position_coverage(),
        "win_rate": portfolio.trades.closed.win_rate(),
        "expectancy": portfolio.trades.closed.returns.mean(),
        "best_trade": portfolio.trades.closed.returns.max(),
        "worst_trade": portfolio.trades.closed.returns.min(),
        "trades": portfolio.trades.closed.count(),
    }
    if not math.isnan(ours["sharpe"]):  # vectorbt says inf where there is no variance
        theirs["sharpe"] = portfolio.sharpe_ratio(year_freq=year)
        theirs["sortino"] = portfolio.sortino_ratio(year_freq=year)
    if not math.isnan(ours["profit_factor"]):
        theirs["profit_factor"] = portfolio.trades.closed.profit_factor()
    levels = np.r_[result.options.cash, portfolio.value().to_numpy()]  # its own leaves out the cash
    theirs["max_drawdown"] = (levels / np.maximum.accumulate(levels)).min() - 1
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-10, nan_ok=True), name
    closed = result.trades[result.trades["status"] == "closed"]
    np.testing.assert_allclose(
        portfolio.trades.closed.pnl.values, closed["profit"], rtol=1e-9, atol=1e-9 * 10_000
    )


@pytest.mark.parametrize("fill", ["open", "close"])
@pytest.mark.parametrize("direction", ["long", "short", "both"])
@pytest.mark.parametrize("cost", [0.0, 0.001])
def test_vectorbt_comes_to_the_same_figures(fill, direction, cost):
    for seed, (short, long) in enumerate([(2, 7), (5, 20), (1, 50)]):
        result = aq.backtest(
            random_walk(3_000, seed),
            ma_cross,
            short=short,
            long=long,
            fill=fill,
            direction=direction,
            cost=cost,
            slippage=0.0002,
        )
        assert result.metrics.trades > 10
        assert_equals_vectorbt(result)


def test_vectorbt_comes_to_the_same_figures_on_real_minutes(market_data):
    candles = aq.read_candles(
        market_data / "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    )
    for direction in ("long", "short", "both"):
        for fill in ("open", "close"):
            result = aq.backtest(
                candles,
                ma_cross,
                short=50,
                long=200,
                timeframe="5m",
                direction=direction,
                fill=fill,
            )
            assert result.metrics.trades > 300
            assert_equals_vectorbt(result)


def test_at_the_break_even_cost_a_run_ends_where_it_began():
    found = {"won": 0, "lost": 0}
    for direction in ("long", "short", "both"):
        for seed in range(8):
            candles = random_walk(2_000, seed)
            opts = {"short": 5, "long": 30, "direction": direction}
            cost = aq.backtest(candles, ma_cross, cost=0.001, **opts).metrics.break_even_cost
            if math.isnan(cost):
                found["lost"] += 1
                assert aq.backtest(candles, ma_cross, cost=0.0, **opts).metrics.total_return < 0
            else:
                found["won"] += 1
                again = aq.backtest(candles, ma_cross, cost=cost, **opts)
                assert again.metrics.total_return == pytest.approx(0, abs=1e-9)
    assert min(found.values()) > 3


def test_too_few_bars_for_an_indicator_are_told():
    result = aq.backtest(random_walk(50, 0), ma_cross, short=5, long=200)
    assert "Too few bars: sma(close, 200) is not known at any of them." in result.notes
    assert not any("Too few" in note for note in aq.backtest(random_walk(300, 0), ma_cross).notes)


def test_gross_return_is_the_return_at_zero_cost():
    candles = random_walk(2_000, 1)
    for direction in ("long", "short", "both"):
        dear = aq.backtest(candles, ma_cross, short=3, long=9, cost=0.002, direction=direction)
        free = aq.backtest(candles, ma_cross, short=3, long=9, cost=0.0, direction=direction)
        assert dear.metrics.gross_return == pytest.approx(free.metrics.total_return, rel=1e-9)
        assert dear.metrics.total_return < free.metrics.total_return


def test_a_decision_on_the_last_bar_is_pending_and_never_filled():
    candles = naive.candle_table([2, 2, 2, 2], [2, 2, 2, 3])
    result = aq.backtest(candles, ups)
    assert result.pending == 1
    assert len(result.trades) == 0
    assert any("Pending" in note for note in result.notes)


def test_an_open_trade_is_marked_without_a_cost_and_flagged():
    candles = naive.candle_table([2, 3, 3, 4], [3, 3, 3, 4])
    result = aq.backtest(candles, ups, cost=0.01)
    (trade,) = result.trades.to_dict("records")
    assert trade["status"] == "open"
    assert pd.isna(trade["exit_time"])
    assert trade["fees"] == pytest.approx(10_000 * 0.01 / 1.01)
    assert result.equity.iloc[-1] == pytest.approx(10_000 / (3 * 1.01) * 4)
    assert result.metrics.trades == 0
    assert any("still open" in note for note in result.notes)


def test_a_short_that_loses_everything_ends_the_run_at_zero():
    candles = naive.candle_table([3, 3, 3, 7, 1, 3, 3], [3, 3, 3, 7, 1, 3, 1])
    result = aq.backtest(candles, ups, direction="short", cost=0.0)
    assert result.equity.tolist()[3:] == [0.0] * 4
    assert result.trades["status"].tolist() == ["ruined"]
    assert result.metrics.total_return == -1
    assert result.metrics.trades == 1
    assert any("Ruined" in note for note in result.notes)
    assert result.portfolio.trades.count() == 1


def test_the_portfolio_keeps_a_short_that_is_ruined_in_its_first_bar():
    candles = naive.candle_table([3.0] * 6, [3, 3, 1, 7, 3, 3])

    @aq.strategy
    def short_lows(candles):
        return aq.where(candles.close < 2, -1, 0)

    result = aq.backtest(candles, short_lows, cost=0.0)
    assert result.trades["status"].tolist() == ["ruined"]
    assert result.portfolio.trades.count() == 1


@aq.strategy
def clairvoyant(candles, k: int = 1):
    """Knows the next close: wins beyond the largest number a float can hold."""
    close = np.asarray(candles.close)
    return np.append(close[k:] > close[:-k], [False] * k)


def test_a_run_that_wins_beyond_all_numbers_has_no_figure_rather_than_infinity():
    closes = np.where(np.arange(3_000) % 2, 2.0, 1.0)
    candles = naive.candle_table(closes, closes)
    result = aq.backtest(candles, clairvoyant, cost=0.0, fill="close")
    assert math.isnan(result.metrics.total_return)
    assert not np.isinf(result.metrics).any()
    assert result.metrics.sharpe > 0
    modest = aq.backtest(candles.iloc[:500], clairvoyant, cost=0.0, fill="close")
    assert modest.metrics.total_return > 1e70


def test_losing_all_but_the_last_digits_does_not_lose_trades():
    """Equity falls below the smallest number a float can hold; the count goes on."""
    bars = 200_000
    closes = np.where(np.arange(bars) % 2, 3.0, 2.0)
    fills = find_fills((np.arange(bars) % 2).astype(np.int8), closes)
    ledger = run_ledger(fills, closes, cost=0.02, slippage=0.0, cash=1e4)
    assert ledger.equity[-1] < 1e-300
    assert len(ledger.trades) == bars // 2
    assert np.isfinite(ledger.trades["result"]).all()
    assert (ledger.returns[ledger.held != 0] < 0).all()


def test_unknown_inputs_hold_nothing():
    candles = random_walk(30, 0)

    @aq.strategy
    def below(candles):
        return ~(candles.close > aq.indicators.sma(candles.close, 10))

    @aq.strategy
    def numbers(candles):
        return aq.where(candles.close > aq.indicators.sma(candles.close, 10), 1, -1)

    assert not aq.backtest(candles, below).position[:9].any()
    assert not aq.backtest(candles, below, direction="both").position[:9].any()
    assert not aq.backtest(candles, numbers).position[:9].any()
    assert aq.backtest(candles, numbers).position[9:].all()


def test_fills_in_bars_without_volume_are_made_and_counted():
    candles = naive.candle_table([2, 3, 3, 2, 2], [3, 3, 2, 2, 2], volumes=[1, 0, 1, 0, 1])
    result = aq.backtest(candles, ups)
    assert result.metrics.trades == 1
    assert result.metrics.fills_without_volume == 2
    assert "2 fills in bars in which nobody traded." in result.notes


def test_the_timeframe_is_resampled_first():
    minutes = random_walk(600, 2)
    minutes.index = pd.date_range("2023-01-01", periods=600, freq="1min", tz="UTC", name="time")
    direct = aq.backtest(minutes, ma_cross, short=2, long=5, timeframe="15m")
    by_hand = aq.backtest(aq.resample(minutes, "15m"), ma_cross, short=2, long=5)
    assert direct.timeframe == "15m"
    pd.testing.assert_series_equal(direct.metrics, by_hand.metrics)


def test_the_passport_says_where_the_figures_come_from():
    candles = random_walk(300, 0)
    result = aq.backtest(candles, ma_cross, short=2, long=5, cost=0.002)
    candles.iloc[0] = candles.iloc[1]  # the researcher goes on with his table
    passport = result.passport
    untouched = aq.backtest(random_walk(300, 0), ma_cross, short=2, long=5).passport
    assert passport["candles_sha256"] == untouched["candles_sha256"]
    assert passport["parameters"] == {"short": 2, "long": 5, "kind": "sma"}
    assert passport["options"]["cost"] == 0.002
    assert passport["engine"] == "traced"
    assert passport["versions"]["numpy"] == np.__version__
    assert "open of the next bar" in passport["contract"]


def test_a_result_prints_itself_in_one_line_and_a_small_table():
    result = aq.backtest(random_walk(300, 0), ma_cross, short=2, long=5)
    assert repr(result).startswith(
        "<Backtest ma_cross(short=2, long=5, kind='sma') on 300 bars of 5m: return "
    )
    assert "\n" not in repr(result)
    html = result._repr_html_()
    assert "sharpe" in html and "open of the next bar" in html and "sha256" not in html
    optimistic = aq.backtest(random_walk(300, 0), ma_cross, short=2, long=5, fill="close")
    assert "optimistic" in optimistic._repr_html_()


def test_every_figure_has_a_definition_and_none_is_infinite():
    for seed in range(5):
        result = aq.backtest(random_walk(50, seed), ma_cross, short=2, long=5)
        assert list(result.metrics.index) == list(metrics.DEFINITIONS)
        assert not np.isinf(result.metrics).any()
    never = aq.backtest(random_walk(50, 0), ups, level=1e9)
    assert math.isnan(never.metrics.sharpe)
    assert never.metrics.total_return == 0
    assert "It never trades: its figures are those of cash." in never.notes


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"cost": -0.001}, aq.StrategyError, "cost=-0.001"),
        ({"cost": 1}, aq.StrategyError, "below 1"),
        ({"cost": math.nan}, aq.StrategyError, "cost=nan"),
        ({"cost": "0.1"}, aq.StrategyError, "cost='0.1'"),
        ({"slippage": -1}, aq.StrategyError, "slippage=-1"),
        ({"cash": 0}, aq.StrategyError, "cash=0"),
        ({"fill": "opne"}, aq.StrategyError, "Did you mean 'open'"),
        ({"direction": "lng"}, aq.StrategyError, "Did you mean 'long'"),
        ({"timeframe": "5min"}, aq.DataError, "Did you mean"),
        ({"timeframe": "1m"}, aq.DataError, "1m"),
        ({"shrot": 5}, aq.StrategyError, "Did you mean 'short'"),
        ({"short": 5.5}, aq.StrategyError, "whole number"),
        ({"short": True}, aq.StrategyError, "whole number"),
        ({"short": 0}, aq.StrategyError, "out of range"),
        ({"short": 20, "long": 5}, aq.StrategyError, "short < long"),
        ({"short": [5, 10]}, aq.StrategyError, "to try several use sweep"),
        ({"cost": [0.0, 0.1]}, aq.StrategyError, "To try several use sweep"),
        ({"timeframe": "1M"}, aq.DataError, "400 candles of 5m.*no whole bar of 1M"),
        ({"start": "2024-01-01"}, aq.DataError, "no 5m bar"),
        ({"start": "2023-13-01"}, aq.DataError, "no moment"),
        ({"start": "2023-01-02", "end": "2023-01-01"}, aq.DataError, "no 5m bar"),
    ],
)
def test_what_cannot_be_honoured_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        aq.backtest(random_walk(400, 0), ma_cross, **arguments)


def test_other_things_than_candles_and_strategies_are_refused():
    with pytest.raises(aq.DataError, match="DataFrame"):
        aq.backtest([1, 2, 3], ma_cross)
    with pytest.raises(aq.DataError, match="empty"):
        aq.backtest(random_walk(5, 0).iloc[:0], ma_cross)
    with pytest.raises(aq.DataError, match="timeframe"):
        aq.backtest(random_walk(1, 0), ma_cross)
    with pytest.raises(aq.StrategyError, match="@strategy"):
        aq.backtest(random_walk(5, 0), lambda candles: candles.close > 1)
    with pytest.raises(aq.StrategyError, match="the candles come first"):
        aq.backtest(ma_cross, random_walk(5, 0))
    with pytest.raises(aq.StrategyError, match="expected a strategy"):
        aq.backtest(random_walk(5, 0), "ma_cross")
