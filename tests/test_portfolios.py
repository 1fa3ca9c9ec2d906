"""`portfolio`: known answers, the contract, what it says of itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import naive_portfolio
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_portfolio import candles

import astraquant as aq
from astraquant import metrics
from astraquant.errors import DataError, StrategyError
from astraquant.portfolio_figures import DEFINITIONS
from astraquant.portfolios import Portfolio, portfolio
from astraquant.strategies import ma_cross, strategy
from astraquant.symbols import join_candles
from astraquant.universes import make_universe

CROSS = (ma_cross, {"short": 5, "long": 20})
SHARED = ["total_return", "annual_return", "gross_return", "buy_and_hold", "sharpe", "sortino"]
SHARED += ["max_drawdown", "exposure", "turnover", "fees_paid", "fills_without_volume"]
SHARED += ["sharpe_daily", "break_even_cost"]


@strategy
def always(candles: Any) -> Any:
    """Long from the first bar on."""
    return candles.close > 0


def pair() -> dict[str, pd.DataFrame]:
    later = candles(2, 500, move=0.02, start="2023-01-03", holes=range(200, 210))
    return {"AAA": candles(1, 600), "BBB": later}


def assert_same_figures(result: Portfolio, single: aq.Backtest, names: list[str]) -> None:
    for name in names:
        assert result.metrics[name] == pytest.approx(single.metrics[name], rel=1e-9, nan_ok=True), (
            name
        )


@pytest.mark.parametrize("options", [{}, {"cost": 0.0}, {"cost": 0.01, "slippage": 0.002}])
def test_all_in_one_symbol_is_the_backtest_that_buys_and_holds(options: dict[str, float]) -> None:
    table = candles(1, 400, holes=[50, 51, 52])
    result = portfolio({"AAA": table}, {"AAA": 1.0}, **options)
    single = aq.backtest(table, always, **options)
    np.testing.assert_allclose(result.equity, single.equity, rtol=1e-12)
    np.testing.assert_allclose(result.equity, result.benchmark, rtol=1e-12)
    assert_same_figures(result, single, SHARED)
    assert result.metrics["buy_and_hold"] == pytest.approx(result.metrics["total_return"])
    assert len(result.orders) == 1


@pytest.mark.parametrize("rebalance", ["1d", "1h", None])
@pytest.mark.parametrize("options", [{}, {"cost": 0.004, "slippage": 0.001, "cash": 77.0}])
@pytest.mark.parametrize("window", [{}, {"start": "2023-01-05", "end": "2023-01-20 07:00"}])
def test_one_strategy_on_one_symbol_is_its_backtest(
    rebalance: str | None, options: dict[str, float], window: dict[str, str]
) -> None:
    table = candles(7, 600, holes=[100, 101, 333])
    result = portfolio({"AAA": table}, CROSS, rebalance=rebalance, **options, **window)
    single = aq.backtest(table, ma_cross, **CROSS[1], **options, **window)
    np.testing.assert_allclose(result.equity, single.equity, rtol=1e-12)
    assert_same_figures(result, single, SHARED)
    fills = len(single.trades) + int((single.trades["status"] == "closed").sum())
    assert len(result.orders) == fills > 10


@pytest.mark.parametrize("rebalance", ["1d", "4h", None])
def test_a_symbol_beside_itself_is_that_symbol(rebalance: str | None) -> None:
    table = candles(1, 400)
    twice = portfolio({"A": table, "B": table}, "equal", rebalance=rebalance)
    once = portfolio({"A": table}, "equal", rebalance=None)
    np.testing.assert_allclose(twice.equity, once.equity, rtol=1e-12)
    np.testing.assert_allclose(twice.benchmark, once.equity, rtol=1e-12)


def test_what_is_never_rebalanced_is_the_sum_of_its_parts() -> None:
    tables = {"A": candles(1, 300), "B": candles(2, 300)}
    whole = portfolio(tables, {"A": 0.5, "B": 0.3}, rebalance=None, cost=0.0)
    money = {"A": 5_000.0, "B": 3_000.0}
    parts = [
        portfolio({name: tables[name]}, "equal", rebalance=None, cost=0.0, cash=cash).equity
        for name, cash in money.items()
    ]
    np.testing.assert_allclose(whole.equity, parts[0] + parts[1] + 2_000.0, rtol=1e-12)
    assert len(whole.orders) == 2


@settings(max_examples=30)
@given(
    st.integers(0, 2**32),
    st.integers(20, 90),
    st.sampled_from(["1h", "4h", "1d", None]),
    st.sampled_from([0.0, 0.01]),
    st.integers(0, 15),
)
def test_the_whole_agrees_with_the_bank_statement(
    seed: int, bars: int, rebalance: str | None, cost: float, first: int
) -> None:
    """Joined with holes and late starts, decided, delayed by a bar, filled and marked."""
    rng = np.random.default_rng(seed)
    tables = {
        name: candles(seed + k, bars, holes=np.flatnonzero(rng.random(bars - 2) < 0.2) + 1).iloc[
            rng.integers(0, 8) :
        ]
        for k, name in enumerate("ABC")
    }
    table = join_candles(tables)
    start = table.index[first] if first else None
    result = portfolio(table, {"A": 0.5, "C": 0.4}, rebalance=rebalance, cost=cost, start=start)
    begin = max(first - 1, 0)
    ends = {row for row in range(len(table)) if closes_a_bin(table.index, row, rebalance)}
    target: list[list[float | None]] = [[None] * 3 for _ in range(len(table) + 1)]
    for row in range(begin, len(table)):
        if row == begin or row in ends:
            listed = table.xs("close", axis=1, level=1).iloc[: row + 1].notna().any()
            target[row + 1] = [0.5 * listed["A"], 0.0, 0.4 * listed["C"]]
    prices = [table.xs(name, axis=1, level=1).to_numpy()[first:].tolist() for name in OHLC]
    said = naive_portfolio.run(
        target[first:-1], prices[0], prices[1], cost=cost, slippage=0.0, cash=10_000.0
    )
    np.testing.assert_allclose(result.equity, said.equity, rtol=1e-10)
    values = np.array(said.values) / np.array(said.equity)[:, None]
    np.testing.assert_allclose(result.weights, values, atol=1e-10)
    assert len(result.orders) == len(said.orders)


OHLC = ("open", "close")


def closes_a_bin(times: pd.DatetimeIndex, row: int, rebalance: str | None) -> bool:
    """Whether an end of a bin lies after the close before and not after that of ``row``."""
    if rebalance is None:
        return False
    step = pd.Timedelta(rebalance.replace("d", "D"))
    hour = pd.Timedelta(hours=1)
    before = times[row - 1] + hour if row else times[0]
    return (times[row] + hour).floor(step) > before


def test_weights_drift_between_rebalancings_and_come_back() -> None:
    result = portfolio({"A": candles(1, 600), "B": candles(2, 600)}, "equal", cost=0.002)
    filled = result.orders["time"].unique()
    assert set(filled[1:]) <= set(result.weights.index[result.weights.index.hour == 0])
    at_open = result.weights.loc[filled]
    drifted = result.weights.drop(filled)
    assert (at_open - 0.5).abs().mean(axis=None) < (drifted - 0.5).abs().mean(axis=None) / 3
    assert result.weights.sum(axis=1).between(0, 1 + 1e-12).all()
    sides = result.orders.groupby("time")["side"].agg(" ".join)
    assert set(sides.iloc[1:]) == {"sell buy"}


def test_orders_say_when_they_were_decided_and_filled() -> None:
    table = pair()
    result = portfolio(table, "equal")
    orders = result.orders
    columns = "time symbol side price quantity value fee decided cut".split()
    assert list(orders.columns) == columns
    opens = join_candles(table).xs("open", axis=1, level=1)
    for order in orders.itertuples():
        assert order.price == opens.loc[order.time, order.symbol]
        assert order.decided in result.targets.index
        later = opens.loc[order.decided :, order.symbol].iloc[1:].dropna()
        assert later.index[0] == order.time  # the next open of that symbol
    np.testing.assert_allclose(orders["value"], orders["price"] * orders["quantity"])
    np.testing.assert_allclose(orders["fee"], orders["value"] * 0.001)
    assert result.trades.equals(orders)
    assert (orders["decided"] < orders["time"]).all()


def test_slots_are_funded_from_one_account() -> None:
    """Each position is worth 1/n of equity where it begins; cash is shared."""
    tables = {name: candles(seed, 500, move=0.02) for seed, name in enumerate("ABC")}
    result = portfolio(tables, CROSS, rebalance=None, cost=0.0)
    bought = result.orders[result.orders["side"] == "buy"]
    opens = result.candles.xs("open", axis=1, level=1)
    closes = result.candles.xs("close", axis=1, level=1)
    for order in bought[~bought["cut"]].itertuples():
        row = result.equity.index.get_loc(order.time)
        # What all was worth at that open: the equity at the close, moved back by its own bar.
        held = result.weights.iloc[row] * result.equity.iloc[row]
        worth = result.equity.iloc[row] - (held * (1 - opens.iloc[row] / closes.iloc[row])).sum()
        assert order.value == pytest.approx(worth / 3, rel=1e-9)
    assert (result.weights > 0).sum(axis=1).max() == 3
    signals = {name: aq.backtest(tables[name], ma_cross, **CROSS[1]).position for name in tables}
    held = result.weights > 0
    for name, position in signals.items():
        wanted = position.shift(1, fill_value=0) == 1
        assert (held[name] & ~wanted).sum() == 0


def test_strategies_by_symbol_get_slots_of_their_own_number() -> None:
    tables = {name: candles(seed, 300) for seed, name in enumerate("ABC")}
    result = portfolio(tables, {"A": always, "C": CROSS}, cost=0.0, rebalance=None)
    assert result.orders.iloc[0]["value"] == pytest.approx(5_000.0)
    assert "No strategy for B: never held." in result.notes
    assert result.name == "always() / ma_cross(short=5, long=20, kind='sma'), not rebalanced"


def test_held_slots_are_brought_back_at_the_pace() -> None:
    tables = {"A": candles(1, 400, move=0.02), "B": candles(2, 400, move=0.02)}
    result = portfolio(tables, always, rebalance="1d")
    equal = portfolio(tables, "equal", rebalance="1d")
    np.testing.assert_allclose(result.equity, equal.equity, rtol=1e-12)


def test_a_short_position_is_refused() -> None:
    @strategy
    def down(candles: Any) -> Any:
        return aq.where(candles.close > 0, -1, 0)

    with pytest.raises(StrategyError, match=r"down\(\) is short of AAA at 2023-01-01 00:00"):
        portfolio(pair(), down)


def test_figures_are_those_of_the_contract() -> None:
    result = portfolio(pair(), "equal", cost=0.002, slippage=0.001, cash=5_000.0)
    got, equity, orders = result.metrics, result.equity, result.orders
    assert list(got.index) == list(DEFINITIONS)
    assert got.name == result.name == "equal, rebalanced 1d"
    returns = equity / equity.shift(1, fill_value=5_000.0) - 1
    year = math.sqrt(365 * 24)
    assert got["total_return"] == pytest.approx(equity.iloc[-1] / 5_000.0 - 1)
    assert got["sharpe"] == pytest.approx(returns.mean() / returns.std() * year)
    assert got["orders"] == len(orders)
    assert got["fees_paid"] == pytest.approx(orders["fee"].sum())
    assert got["turnover"] == pytest.approx(orders["value"].sum() / equity.mean())
    assert got["invested"] == pytest.approx(result.weights.sum(axis=1).mean())
    assert got["exposure"] == (result.weights > 0).any(axis=1).mean()
    free = portfolio(pair(), "equal", cost=0.0, slippage=0.001, cash=5_000.0)
    assert got["gross_return"] == pytest.approx(free.metrics["total_return"])
    assert got["buy_and_hold"] == pytest.approx(result.benchmark.iloc[-1] / 5_000.0 - 1)
    volume = join_candles(pair()).xs("volume", axis=1, level=1)
    empty = sum(volume.loc[order.time, order.symbol] == 0 for order in orders.itertuples())
    assert got["fills_without_volume"] == empty > 0


def test_at_the_break_even_cost_nothing_is_won_or_lost() -> None:
    tables = {name: candles(seed, 400) for seed, name in enumerate("ABC")}
    for table in tables.values():  # a market that rises
        rise = np.exp(0.002 * np.arange(400))
        table[["open", "high", "low", "close"]] *= rise[:, None]
    cost = portfolio(tables, "equal").metrics["break_even_cost"]
    assert 0.01 < cost < 1
    assert portfolio(tables, "equal", cost=cost).metrics["total_return"] == pytest.approx(
        0.0, abs=1e-12
    )


def test_shared_figures_are_defined_once() -> None:
    own = {"orders", "invested"}
    assert own.isdisjoint(metrics.DEFINITIONS)
    assert set(DEFINITIONS) - own <= set(metrics.DEFINITIONS)
    differ = {n for n in DEFINITIONS if n not in own and DEFINITIONS[n] != metrics.DEFINITIONS[n]}
    assert differ == {"buy_and_hold"}  # of several symbols: says how they are weighted


def test_notes_say_what_was_not_there() -> None:
    table = pair()
    table["CCC"] = candles(5, 300, start="2023-01-01")
    notes = "\n".join(portfolio(table, "equal").notes)
    assert "BBB has its first bar at 2023-01-03 00:00:00+00:00: not held before; no part" in notes
    assert "BBB has no bar at 10 times at which another has one" in notes
    assert "CCC has no bar after 2023-01-13 11:00:00+00:00" in notes
    assert "made smaller for lack of cash" in notes
    assert "in bars in which nobody traded" in notes


def test_before_enough_history_it_is_cash_and_says_so() -> None:
    result = portfolio(pair(), "inverse_volatility", lookback="10d")
    note = "In cash until the close of 2023-01-10 23:00:00+00:00: it needs 10d of history."
    assert note in result.notes
    before = result.equity[:"2023-01-10 23:00"]
    assert (before == 10_000.0).all()
    assert result.orders["time"].iloc[0] == pd.Timestamp("2023-01-11", tz="UTC")
    never = portfolio(pair(), "inverse_volatility", lookback="90d")
    assert never.notes[0].startswith("In cash throughout: it needs 90d of history")
    assert never.notes[-1] == "It never trades: its figures are those of cash."
    assert never.metrics["total_return"] == 0.0
    assert math.isnan(never.metrics["sharpe"])


def test_history_before_start_counts_for_the_estimate_and_in_no_figure() -> None:
    result = portfolio(pair(), "inverse_volatility", lookback="3d", start="2023-01-10")
    assert result.equity.index[0] == pd.Timestamp("2023-01-10", tz="UTC")
    assert result.orders["time"].iloc[0] == result.equity.index[0]
    assert result.targets.index[0] == pd.Timestamp("2023-01-09 23:00", tz="UTC")
    assert result.candles.index[0] == result.equity.index[0]
    assert not any("In cash" in note for note in result.notes)


def test_a_decision_at_the_last_close_is_pending() -> None:
    tables = {"A": candles(1, 72, move=0.02), "B": candles(2, 72, move=0.02)}
    result = portfolio(tables, "equal")
    assert result.pending.to_dict() == {"A": 0.5, "B": 0.5}
    assert "Pending at the last close: A 50.0%, B 50.0%; never filled." in result.notes
    assert portfolio(tables, "equal", rebalance=None).pending.empty


def test_simulated_prices_are_labelled() -> None:
    tables = pair()
    for table in tables.values():
        table.attrs["source"] = "synthetic sample"
    result = portfolio(tables, "equal")
    assert result.notes[0] == "These prices are simulated: synthetic sample."
    assert result.passport["source"] == "synthetic sample"
    assert "synthetic prices" in result.plot().children[0].value
    assert "simulated" in result._repr_html_()


def test_a_portfolio_carries_its_passport_and_a_short_name() -> None:
    result = portfolio(pair(), {"AAA": 0.6, "BBB": 0.4}, rebalance="1w", cost=0.002)
    again = portfolio(join_candles(pair()), {"BBB": 0.4, "AAA": 0.6}, rebalance="1w", cost=0.002)
    assert repr(result) == repr(again)
    assert repr(result).startswith(
        "<Portfolio AAA 0.6, BBB 0.4, rebalanced 1w, of AAA, BBB on 600 bars of 1h: return "
    )
    passport = result.passport
    assert passport == again.passport
    assert passport["symbols"] == ["AAA", "BBB"]
    assert passport["options"] == {
        "cost": 0.002,
        "slippage": 0.0,
        "cash": 10_000.0,
        "rebalance": "1w",
        "lookback": None,
    }
    hashes = {name: aq.candles.content_hash(table) for name, table in pair().items()}
    assert passport["candles_sha256"] == hashes
    assert "0.2 % per side" in passport["contract"]
    html = result._repr_html_()
    for name in ("total return", "orders", "AAA", "mean weight", DEFINITIONS["invested"]):
        assert name in html


def test_the_candles_given_later_change_nothing() -> None:
    tables = pair()
    result = portfolio(tables, "equal")
    tables["AAA"].iloc[:, :4] *= 2
    again = portfolio(pair(), "equal")
    assert result.passport == again.passport
    pd.testing.assert_series_equal(result.metrics, again.metrics)


def test_a_table_is_resampled_first() -> None:
    result = portfolio(pair(), "equal", timeframe="4h")
    assert result.timeframe == "4h"
    assert result.passport["candles_sha256"] == portfolio(pair()).passport["candles_sha256"]
    by_hand = {name: aq.resample(table, "4h") for name, table in pair().items()}
    np.testing.assert_array_equal(result.equity, portfolio(by_hand, "equal").equity)


def test_a_function_of_past_closes_is_an_allocation() -> None:
    def last_winner(closes: pd.DataFrame) -> dict[str, float]:
        return {str((closes.iloc[-1] / closes.iloc[0]).fillna(0.0).idxmax()): 0.9}

    result = portfolio(pair(), last_winner, lookback="1d", rebalance="4h")
    assert result.name == "last_winner, rebalanced 4h"
    closes = join_candles(pair()).xs("close", axis=1, level=1)
    for time, weights in result.targets.iterrows():
        day = closes.loc[:time].iloc[-24:]
        winner = (day.iloc[-1] / day.iloc[0]).fillna(0.0).idxmax()
        assert weights.to_dict() == {"AAA": 0.0, "BBB": 0.0, winner: 0.9}
    assert result.targets.nunique().min() == 2
    steady = {"start": "2023-01-05", "rebalance": "4h", "lookback": "1h"}
    by_function = portfolio(pair(), lambda closes: [0.5, 0.25], **steady)
    fixed = portfolio(pair(), {"AAA": 0.5, "BBB": 0.25}, **steady)
    np.testing.assert_array_equal(by_function.equity, fixed.equity)


def test_one_bar_and_two_bars_are_portfolios_too() -> None:
    one = portfolio({"A": candles(1, 1)}, "equal", timeframe="1h")
    assert one.equity.tolist() == [10_000.0]
    assert math.isnan(one.metrics["buy_and_hold"])
    assert one.pending.to_dict() == {"A": 1.0}
    assert portfolio({"A": candles(1, 2)}, "equal").orders["time"].iloc[0].hour == 1
    assert repr(one.plot()).endswith("1 bars, 1 symbols)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rebalance": "30m"}, "rebalance='30m' is no whole multiple of the bars' 1h"),
        ({"rebalance": "daily"}, "unknown timeframe 'daily'. Did you mean '1d'?"),
        ({"timeframe": "30m"}, "AAA: "),
        ({"start": "2031-01-01"}, "no 1h bar to evaluate with start='2031-01-01'"),
        ({"cost": 2}, "cost=2: expected a fraction"),
        ({"cash": 0}, "cash=0: expected a positive amount"),
        ({"timeframe": "1M"}, "AAA, from 2023-01-01 00:00:00+00:00 on, hold no whole bar of 1M"),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, StrategyError)) as raised:
        portfolio(pair(), "equal", **arguments)
    assert message in str(raised.value)


def test_the_candles_of_one_symbol_need_a_name() -> None:
    with pytest.raises(DataError, match=r"takes the candles of several symbols: a dict such as"):
        portfolio(candles(1, 50), "equal")


def test_the_picture_shows_equity_drawdown_and_weights() -> None:
    result = portfolio(pair(), "equal")
    chart = result.plot()
    assert repr(chart) == "PortfolioChart(equal, rebalanced 1d · 1h, 600 bars, 2 symbols)"
    figures = [child for child in chart.children if type(child).__name__ == "Figure"]
    money, drawdown, shares = (figure.marks[0] for figure in figures)
    np.testing.assert_allclose(money.y[1][[0, -1]], result.equity.iloc[[0, -1]], rtol=1e-6)
    assert drawdown.y.min() == pytest.approx(result.metrics["max_drawdown"], rel=1e-6)
    np.testing.assert_allclose(shares.y[-1], result.weights.sum(axis=1), rtol=1e-6)


FILES = ("ADA", "BNB", "BTC", "ETH", "XRP")


@pytest.fixture(scope="module")
def hourly(market_data: Path) -> dict[str, pd.DataFrame]:
    """Five real symbols by the hour with different listings, halts of the exchange included."""
    found = {}
    for name in FILES:
        path = next((market_data / "hourly_multi").glob(f"*{name}USDT*"))
        found[f"{name}USDT"] = aq.read_candles(path, repair="last").loc["2018-03-01":"2018-09-30"]
    return found


def test_real_symbols_with_listings_and_halts(hourly: dict[str, pd.DataFrame]) -> None:
    result = portfolio(hourly, "risk_parity", rebalance="1w", lookback="30d")
    assert set(result.orders["symbol"]) == set(hourly)
    held = result.weights > 0
    for name, table in hourly.items():
        assert not held[name][held.index < table.index[0] + pd.Timedelta(days=30)].any()
    assert any("XRPUSDT has its first bar at 2018-05-04" in note for note in result.notes)
    assert result.targets.sum(axis=1).between(1 - 1e-9, 1 + 1e-9).all()


def test_the_universe_keeps_what_is_missing(hourly: dict[str, pd.DataFrame]) -> None:
    universe = make_universe(hourly)
    for symbol, table in hourly.items():
        pd.testing.assert_frame_equal(
            universe.candles_of(symbol),
            table[["open", "high", "low", "close", "volume"]],
            check_freq=False,
            check_index_type=False,
        )
