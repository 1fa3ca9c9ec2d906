"""A sweep over several symbols: each symbol's own sweep, and ranks that a loop would count."""

from __future__ import annotations

import inspect
import math
import statistics
from typing import Annotated

import naive
import numpy as np
import pandas as pd
import pytest
from drawn import texts
from hypothesis import given
from hypothesis import strategies as st
from test_backtesting import random_walk, ups

import astraquant as aq
from astraquant import metrics
from astraquant.data import read_candles
from astraquant.errors import DataError, StrategyError
from astraquant.strategies import ma_cross
from astraquant.sweeping import Sweep
from astraquant.symbol_sweeps import SymbolSweep, _ranks
from astraquant.symbols import join_candles, split_candles


@aq.strategy
def phase(candles, k: Annotated[int, aq.Range(0, 3)] = 0):
    """Hold in every fourth bar, from the ``k``-th on."""
    return (np.asarray(candles.time) // 300_000 + k) % 4 == 0


def walks(bars: int = 400) -> dict[str, pd.DataFrame]:
    """Three markets: one with holes, one that begins later."""
    tables = {
        symbol: random_walk(bars, seed, volatility=0.02)
        for seed, symbol in enumerate(["BTCUSDT", "ETHUSDT", "SOLUSDT"])
    }
    tables["ETHUSDT"] = tables["ETHUSDT"].drop(tables["ETHUSDT"].index[[50, 51, 200]])
    tables["SOLUSDT"] = tables["SOLUSDT"].iloc[100:]
    return tables


@pytest.fixture(scope="module")
def swept() -> SymbolSweep:
    return aq.sweep(join_candles(walks()), ma_cross, short=[2, 3, 5], long=[3, 8, 13, 21])


def test_each_symbol_is_swept_as_if_alone() -> None:
    parts = walks()
    options = {"timeframe": ["5m", "15m"], "cost": [0.0, 0.002], "direction": "both"}
    grid = {"short": [2, 3, 5], "long": [3, 8, 13], **options, "slippage": 0.0003}
    result = aq.sweep(join_candles(parts), ma_cross, **grid)
    assert isinstance(result, SymbolSweep)
    assert list(result.symbols) == list(parts)
    assert result.table.index.names == ["symbol", "short", "long", "timeframe", "cost"]
    for symbol, candles in parts.items():
        alone = aq.sweep(candles, ma_cross, **grid)
        assert isinstance(alone, Sweep)
        pd.testing.assert_frame_equal(result.table.loc[symbol], alone.table)
        pd.testing.assert_frame_equal(result.symbols[symbol].table, alone.table)
        assert result.grid.rows == alone.grid.rows
    assert len(result.table) == 3 * len(alone.table)
    assert result.skipped == alone.skipped == 8


def test_a_row_equals_its_backtest_on_that_symbol(swept: SymbolSweep) -> None:
    combination = swept.best().name
    for symbol, candles in walks().items():
        run = aq.backtest(candles, ma_cross, short=combination[0], long=combination[1])
        row = swept.table.loc[(symbol, *combination)]
        assert row["sharpe"] == pytest.approx(run.metrics["sharpe"], rel=1e-9)
        again = swept.symbols[symbol].backtest(combination)
        assert again.equity.equals(run.equity)


def naive_ranks(values: list[float], lower: bool) -> list[float]:
    """For each value the share of the others that it beats, of equal ones half."""
    ranks = []
    for i, value in enumerate(values):
        points = []
        for j, other in enumerate(values):
            if i == j:
                continue
            if math.isnan(value):
                points.append(0.0)
            elif math.isnan(other):
                points.append(1.0)
            elif value == other:
                points.append(0.5)
            else:
                points.append(float(value < other if lower else value > other))
        if all(map(math.isnan, values)):
            ranks.append(math.nan)
        elif points:
            ranks.append(sum(points) / len(points))
        else:
            ranks.append(1.0)
    return ranks


@given(
    st.lists(st.sampled_from([-1.5, 0.0, 0.25, 3.0, math.inf, math.nan]), min_size=1, max_size=9),
    st.booleans(),
)
def test_a_rank_is_the_share_of_the_others_that_is_beaten(values: list[float], lower: bool) -> None:
    ranks = _ranks(pd.Series(values), lower).tolist()
    assert ranks == pytest.approx(naive_ranks(values, lower), nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("metric", ["sharpe", "fees_paid", "profit_factor", "max_drawdown"])
def test_merit_and_ranking_are_what_a_loop_counts(swept: SymbolSweep, metric: str) -> None:
    merit, rows = swept.merit(metric), swept.grid.rows
    lower = metric in metrics.LOWER_IS_BETTER
    ranks = {
        symbol: dict(zip(rows, naive_ranks(sweep.table[metric].tolist(), lower), strict=True))
        for symbol, sweep in swept.symbols.items()
    }
    assert merit.index.tolist() == rows
    assert merit.index.names == ["short", "long"]
    assert list(merit.columns) == [*swept.symbols, "median_rank", "worst_rank", "known"]
    for row in rows:
        own = [ranks[symbol][row] for symbol in swept.symbols]
        known = [not math.isnan(swept.table.loc[(symbol, *row), metric]) for symbol in ranks]
        told = [*own, statistics.median(own), min(own), sum(known)]
        assert merit.loc[row].tolist() == pytest.approx(told)
    order = sorted(
        (row for row in rows if merit.loc[row, "known"]),
        key=lambda row: (-merit.loc[row, "median_rank"], -merit.loc[row, "worst_rank"]),
    )
    ranking = swept.ranking(metric)
    assert ranking.index.tolist() == order
    assert swept.best(metric).name == order[0]
    for symbol, sweep in swept.symbols.items():
        assert ranking[symbol].tolist() == sweep.table[metric].loc[order].tolist()


def one_coin_wonder() -> pd.DataFrame:
    """Four markets that rise a little in bars of one kind; on one of them others rise far more."""
    tables = {}
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"):
        gains = {1: 0.004, 2: 0.05 if symbol == "DOGEUSDT" else -0.004}
        closes = [100.0]
        for bar in range(1, 240):
            closes.append(closes[-1] * (1 + gains.get(bar % 4, -0.0005)))
        tables[symbol] = naive.candle_table([100.0, *closes[:-1]], closes)
    return join_candles(tables)


def test_a_wonder_on_one_coin_shows() -> None:
    result = aq.sweep(one_coin_wonder(), phase, k=[0, 1, 2, 3], cost=0.0, fill="close")
    returns = result.table["total_return"]
    wonder = result.symbols["DOGEUSDT"].best("total_return").name
    steady = result.best("total_return").name
    assert wonder != steady
    assert returns[("DOGEUSDT", *wonder)] > 10  # splendid there: more than tenfold
    assert returns.groupby("k").mean().idxmax() == wonder[0]  # and a mean falls for it
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        assert returns[(symbol, *wonder)] < 0
        assert result.symbols[symbol].best("total_return").name == steady
    merit = result.merit("total_return")
    assert merit.loc[wonder, "DOGEUSDT"] == 1.0
    assert merit.loc[wonder, "median_rank"] == merit.loc[wonder, "worst_rank"] == 0.0
    assert merit.loc[steady, "median_rank"] == 1.0
    assert merit.loc[steady, "worst_rank"] == pytest.approx(2 / 3)


def test_what_never_trades_ranks_last_and_is_counted() -> None:
    candles = join_candles(
        {
            symbol: naive.candle_table(closes, closes)
            for symbol, closes in {
                "BTCUSDT": [1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 3.0],
                "ETHUSDT": [1.0, 1.5, 1.8, 1.2, 1.9, 1.0, 1.2],
                "SOLUSDT": [0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5],
            }.items()
        }
    )
    result = aq.sweep(candles, ups, level=[0.9, 1.1, 2.5])
    merit = result.merit()
    assert merit["SOLUSDT"].isna().all()  # on which nothing trades: it says nothing
    assert merit["known"].tolist() == [2, 2, 1]
    assert merit.loc[(2.5,), "ETHUSDT"] == 0.0
    assert len(result.ranking()) == 3
    quiet = aq.sweep(candles, ups, level=[10.0, 11.0])
    assert len(quiet.ranking()) == 0
    with pytest.raises(StrategyError, match="no combination has a sharpe"):
        quiet.best()
    assert "The best 0 of 2" in quiet._repr_html_()


def test_pictures_are_of_the_ranks_or_of_one_symbol(swept: SymbolSweep) -> None:
    picture = swept.heatmap()
    assert repr(picture).startswith("HeatmapChart(3 symbols · ma_cross · 5m · 10 trials")
    assert "median rank by sharpe" in texts(picture)
    cells = picture._values
    for (short, long), rank in swept.merit()["median_rank"].items():
        assert cells.loc[long, short] == rank
    assert math.isnan(cells.loc[3, 5])  # invalid
    alone = swept.heatmap("total_return", "ETHUSDT")
    assert repr(alone).startswith("HeatmapChart(ETHUSDT · ma_cross · 5m")
    other = swept.heatmap("total_return", symbol="SOLUSDT")
    assert (alone._low, alone._high) == (other._low, other._high)  # colours to compare
    assert "LineChart(3 symbols" in repr(swept.heatmap(short=3))
    for symbol, ranking in (
        (None, swept.ranking()),
        ("SOLUSDT", swept.symbols["SOLUSDT"].ranking()),
    ):
        short, long = ranking.index[0]
        assert f"best: short {short}, long {long} →" in texts(swept.heatmap(symbol=symbol))
    for wrong, told in (
        ({"metric": "shrp"}, "Did you mean 'sharpe'"),
        ({"symbol": "ETHUSD"}, "Did you mean 'ETHUSDT'"),
        ({"shrot": 2}, "Did you mean 'short'"),
        ({"short": 4}, "unknown value of short"),
        ({"short": 2, "long": 3}, "no level would remain"),
    ):
        for symbol in (None, "BTCUSDT"):
            with pytest.raises(StrategyError, match=told):
                swept.heatmap(**{"symbol": symbol, **wrong})


def test_further_levels_are_fixed() -> None:
    result = aq.sweep(join_candles(walks()), ma_cross, short=[2, 3], long=[8, 13], cost=[0.0, 0.01])
    with pytest.raises(StrategyError, match="a picture has one or two axes"):
        result.heatmap()
    dear = result.heatmap(cost=0.01)
    assert "4 trials · cost 0.01 ·" in repr(dear)
    at_cost = result.ranking().xs(0.01, level="cost")
    short, long = at_cost.index[0]
    assert f"best: short {short}, long {long} →" in texts(dear)
    for (short, long), rank in at_cost["median_rank"].items():
        assert dear._values.loc[long, short] == rank  # among all costs


def test_simulated_prices_are_labelled_everywhere() -> None:
    table = aq.load_candles(["BTCUSDT", "ETHUSDT", "SOLUSDT"], "4h", end="2023-03")
    result = aq.sweep(table, ma_cross, short=[2, 5], long=[10, 20])
    assert result.notes == ("These prices are simulated: synthetic sample (seed 7).",)
    assert "These prices are simulated" in result._repr_html_()
    for picture in (result.heatmap(), result.heatmap("sharpe", "SOLUSDT")):
        assert "simulated" in texts(picture).lower() or "synthetic" in texts(picture).lower()
    parts = split_candles(table)
    parts["BTCUSDT"].attrs = {"source": "BTCUSDT-4h.csv"}
    mixed = aq.sweep(join_candles(parts), ma_cross, short=[2, 5], long=[10, 20])
    assert mixed.notes == (
        "ETHUSDT, SOLUSDT: These prices are simulated: synthetic sample (seed 7).",
    )
    assert {own["source"] for own in mixed.passport["symbols"].values()} == {
        "BTCUSDT-4h.csv",
        "synthetic sample (seed 7)",
    }


def test_how_much_is_luck_on_each_symbol(swept: SymbolSweep) -> None:
    table = swept.honesty()
    assert list(table.index) == list(swept.symbols)
    for symbol, row in table.iterrows():
        found = swept.symbols[symbol].honesty()
        assert row["trials"] == len(swept.grid.rows)
        expected = found.luck.deflated, found.pbo.probability, found.plateau
        assert tuple(row[["deflated_sharpe", "pbo", "plateau"]]) == pytest.approx(
            expected, nan_ok=True
        )


def test_a_later_start_is_said(swept: SymbolSweep) -> None:
    (note,) = swept.notes
    solana = walks()["SOLUSDT"]
    assert note.startswith(
        f"SOLUSDT is evaluated from {solana.index[0]} to {solana.index[-1]} only"
    )
    same = aq.sweep(join_candles(walks()), ma_cross, short=[2, 5], long=13, start=solana.index[10])
    assert same.notes == ()


def test_the_passport_says_what_differs_by_symbol(swept: SymbolSweep) -> None:
    passport = swept.passport
    for symbol, sweep in swept.symbols.items():
        alone = sweep.passport
        own = passport["symbols"][symbol]
        assert {**{k: v for k, v in passport.items() if k != "symbols"}, **own} == alone
    hashes = {own["candles_sha256"] for own in passport["symbols"].values()}
    assert len(hashes) == 3


def test_repr_and_html_are_short_and_stable(swept: SymbolSweep) -> None:
    assert repr(swept) == (
        "<SymbolSweep ma_cross on BTCUSDT, ETHUSDT, SOLUSDT over short (3) × long (4): "
        "10 combinations, 2 invalid left out>"
    )
    html = swept._repr_html_()
    assert html.count("<tr>") == 6
    assert "The best 5 of 10 combinations by the median" in html
    assert "<th>Sharpe ETHUSDT</th>" in html and swept.contract in html
    best = swept.best()
    row = "".join(f"<td>{value}</td>" for value in (*best.name, f"{best.median_rank:.2f}"))
    assert f"<tr>{row}" in html


def test_an_iterator_lasts_for_all_symbols() -> None:
    result = aq.sweep(join_candles(walks()), ma_cross, short=iter([2, 3]), long=(k for k in [8, 9]))
    assert len(result.table) == 3 * 4


def test_one_symbol_in_a_joined_table_is_enough() -> None:
    alone = walks()["BTCUSDT"]
    result = aq.sweep(join_candles({"BTCUSDT": alone}), ma_cross, short=[2, 3], long=9)
    assert isinstance(result, SymbolSweep)
    assert result.merit()["median_rank"].tolist() == result.merit()["BTCUSDT"].tolist()


def test_the_signature_and_the_help_stay_those_of_a_sweep() -> None:
    names = list(inspect.signature(aq.sweep).parameters)
    assert names[:3] == ["candles", "strategy", "timeframe"]
    assert aq.sweep.__name__ == "sweep" and "SymbolSweep" in aq.sweep.__doc__


def test_errors_name_the_symbol() -> None:
    candles = join_candles({**walks(), "ARBUSDT": walks()["BTCUSDT"].iloc[-2:]})
    with pytest.raises(DataError, match=r"^ARBUSDT: 2 candles of 5m, .* no whole bar of 1h"):
        aq.sweep(candles, ma_cross, short=[2, 3], timeframe="1h")
    with pytest.raises(DataError, match=r"^ARBUSDT: the candle table is empty"):
        aq.sweep(candles.iloc[:50][["BTCUSDT", "ARBUSDT"]], ma_cross, short=[2, 3])
    with pytest.raises(StrategyError, match="^unknown option .* Did you mean 'short'") as caught:
        aq.sweep(candles, ma_cross, shrot=[2, 3])
    assert "BTCUSDT" in caught.value.__notes__[0]


def test_real_symbols_with_the_halt_and_different_listings(market_data) -> None:
    klines = market_data / "klines"
    parts = {
        symbol: read_candles(klines / f"binance_spot_{symbol}_1m_{span}.parquet")[
            "2023-03-20":"2023-03-30"
        ]
        for symbol, span in {
            "BTCUSDT": "20230101_20231231",
            "SOLUSDT": "20230201_20230411",
            "ARBUSDT": "20230323_20230411",
        }.items()
    }
    grid = {"short": [5, 20], "long": [30, 60], "timeframe": ["1m", "15m"]}
    result = aq.sweep(join_candles(parts), ma_cross, **grid)
    for symbol, candles in parts.items():
        pd.testing.assert_frame_equal(
            result.table.loc[symbol], aq.sweep(candles, ma_cross, **grid).table
        )
    (note,) = result.notes
    assert note.startswith("ARBUSDT is evaluated from 2023-03-23 15:00:00+00:00")
    assert not any("simulated" in note for note in result.notes)
