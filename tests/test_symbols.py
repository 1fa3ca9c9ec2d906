"""Candles of several symbols as one table: what a loop would write down, and exactly back again."""

from __future__ import annotations

import math
from pathlib import Path

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astraquant as aq
from astraquant.candles import COLUMNS, EXTRA_COLUMNS, check_candles, find_gaps, is_synthetic
from astraquant.data import read_candles
from astraquant.errors import DataError
from astraquant.resampling import resample
from astraquant.strategies import ma_cross
from astraquant.symbols import is_joined, join_candles, split_candles
from astraquant.timeframes import MINUTE, from_ms

SPANS = {"BTCUSDT": "20230101_20231231"} | dict.fromkeys(
    ("ETHUSDT", "SOLUSDT"), "20230201_20230411"
)


def table(minutes: list[int], extras: bool = False, level: float = 10.0) -> pd.DataFrame:
    """Candles at these minutes since 1970, each with prices of its own."""
    base = level + np.array(minutes, dtype=float)
    values = {"open": base, "high": base + 2, "low": base - 1, "close": base + 1, "volume": base}
    if extras:
        values |= dict.fromkeys(EXTRA_COLUMNS, base)
    return pd.DataFrame(values, index=from_ms(np.array(minutes, dtype=np.int64) * MINUTE))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, pd.DataFrame]:
    """Up to four symbols with late starts, early ends and holes; some with more columns."""
    symbols = draw(st.permutations(["BTCUSDT", "ETHUSDT", "SOLUSDT", "ARBUSDT"]))
    drawn = {}
    for symbol in symbols[: draw(st.integers(1, 4))]:
        first = draw(st.integers(0, 20))
        others = draw(st.sets(st.integers(2, 30)))
        minutes = sorted({first, first + 1, *(first + k for k in others)})  # a spacing of 1m
        drawn[symbol] = table(minutes, draw(st.booleans()), draw(st.integers(10, 99)))
        if draw(st.booleans()):
            drawn[symbol].attrs = {"source": draw(st.sampled_from(["a", "b"])), "symbol": symbol}
    return drawn


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_freq=False)
    assert one.attrs == other.attrs


@given(tables())
def test_a_joined_table_is_what_a_loop_writes_down(parts: dict[str, pd.DataFrame]) -> None:
    joined = join_candles(parts)
    times = sorted({time for part in parts.values() for time in part.index})
    assert joined.index.tolist() == times
    assert joined.index.name == "time" and str(joined.index.tz) == "UTC"
    assert list(joined.columns.names) == ["symbol", "column"]
    assert list(joined.columns) == [(s, name) for s, part in parts.items() for name in part]
    for symbol, part in parts.items():
        for name in part:
            known = dict(zip(part.index, part[name], strict=True))
            column = joined[symbol][name]
            assert column.dtype == np.float64
            for time, value in zip(times, column, strict=True):
                assert value == known[time] if time in known else math.isnan(value)


@given(tables())
def test_split_is_the_exact_inverse(parts: dict[str, pd.DataFrame]) -> None:
    before = {symbol: part.copy() for symbol, part in parts.items()}
    joined = join_candles(parts)
    again = split_candles(joined)
    assert list(again) == list(parts)
    for symbol, part in again.items():
        assert_same(part, before[symbol])
        assert_same(parts[symbol], before[symbol])  # and nobody wrote into them
        assert check_candles(part) is part
    assert_same(join_candles(again), joined)


@given(tables())
def test_each_symbol_is_resampled_and_searched_alone(parts: dict[str, pd.DataFrame]) -> None:
    joined = join_candles(parts)
    coarse = split_candles(resample(joined, "5m", partial=True))
    for symbol, part in parts.items():
        assert_same(coarse[symbol], resample(part, "5m", partial=True))
    gaps = find_gaps(joined)
    assert list(gaps.columns) == ["symbol", "start", "end", "missing"]
    assert list(dict.fromkeys(gaps["symbol"])) == [s for s in parts if len(find_gaps(parts[s]))]
    for symbol, part in parts.items():
        own = gaps[gaps["symbol"] == symbol].drop(columns="symbol").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, find_gaps(part))


def test_real_candles_keep_their_starts_gaps_and_the_halt(market_data: Path) -> None:
    klines = market_data / "klines"
    parts = {
        symbol: read_candles(klines / f"binance_spot_{symbol}_1m_{span}.parquet")[
            "2023-02-14":"2023-03-26"  # type: ignore[misc]
        ]
        for symbol, span in {**SPANS, "ARBUSDT": "20230323_20230411"}.items()
    }
    joined = join_candles(parts)
    for symbol, part in split_candles(joined).items():
        assert_same(part, parts[symbol])
        assert joined[symbol].dropna().equals(part)
    assert joined["ARBUSDT"][:"2023-03-23 14:59"].isna().all(axis=None)  # type: ignore[misc]
    assert joined["ARBUSDT"]["2023-03-23 15:00":"2023-03-24 12:39"].notna().all(axis=None)  # type: ignore[misc]
    assert len(joined["2023-03-24 12:40":"2023-03-24 13:59"]) == 0  # type: ignore[misc]  # nobody
    assert joined.loc["2023-02-14 16:39", "SOLUSDT"].isna().all(axis=None)
    assert joined.loc["2023-02-14 16:39", "BTCUSDT"].notna().all(axis=None)
    gaps = find_gaps(joined)
    assert gaps["symbol"].tolist() == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "SOLUSDT", "ARBUSDT"]
    assert gaps["missing"].tolist() == [80, 80, 1, 80, 80]


def test_quarters_of_several_symbols_are_the_exchanges_own(market_data: Path) -> None:
    klines = market_data / "klines"
    minutes = join_candles(
        {
            symbol: read_candles(klines / f"binance_spot_{symbol}_1m_{span}.parquet")[
                "2023-03-20":"2023-03-26"  # type: ignore[misc]
            ]
            for symbol, span in SPANS.items()
        }
    )
    quarters = resample(minutes, "15m")
    assert "2023-03-24 13:00" not in quarters.index
    for symbol in SPANS:
        (file,) = klines.glob(f"binance_spot_{symbol}_15m_*.csv.gz")
        own = read_candles(file)["2023-03-20":"2023-03-26"]  # type: ignore[misc]
        assert quarters[symbol].iloc[:, :4].equals(own.iloc[:, :4])


def test_the_sources_stay_visible(tmp_path: Path) -> None:
    bitcoin = aq.load_candles("BTCUSDT", "1h", end="2023-01-03")
    ether = aq.load_candles("ETHUSDT", "1h", end="2023-01-04")
    same = join_candles({"BTCUSDT": bitcoin, "ETHUSDT": ether})
    assert same.attrs["source"] == bitcoin.attrs["source"] == "synthetic sample (seed 7)"
    real = bitcoin.copy()
    real.attrs = {"source": "BTCUSDT-1h.csv", "symbol": "BTCUSDT"}
    mixed = join_candles({"BTCUSDT": real, "ETHUSDT": ether})
    assert mixed.attrs["source"] == "BTCUSDT-1h.csv (BTCUSDT), synthetic sample (seed 7) (ETHUSDT)"
    assert is_synthetic(mixed.attrs["source"])
    assert is_synthetic(mixed["ETHUSDT"].attrs["source"])
    assert not is_synthetic(split_candles(mixed)["BTCUSDT"].attrs["source"])
    real.attrs = {}
    assert "unknown (BTCUSDT)" in join_candles({"BTCUSDT": real, "E": ether}).attrs["source"]
    assert join_candles({"BTCUSDT": real}).attrs == {"symbols": {"BTCUSDT": {}}}
    mixed.to_parquet(tmp_path / "mixed.parquet")
    assert_same(pd.read_parquet(tmp_path / "mixed.parquet"), mixed)


def test_one_market_may_stand_under_two_names() -> None:
    candles = table([0, 1, 2])
    candles.attrs = {"symbol": "BTCUSDT"}
    both = split_candles(join_candles({"A": candles, "B": candles}))
    assert_same(both["A"], candles)
    assert_same(both["B"], candles)


def test_tables_joined_by_other_hands_are_split_too() -> None:
    parts = {"BTCUSDT": table([0, 1, 2, 5]), "ETHUSDT": table([1, 2, 9])}
    again = split_candles(pd.concat(parts, axis=1).sort_index())
    for symbol, part in parts.items():
        pd.testing.assert_frame_equal(again[symbol], part, check_freq=False)
        assert again[symbol].attrs == {"symbol": symbol}
    frame = pd.concat(parts, axis=1).sort_index()
    frame.attrs = {"source": "simulated somewhere"}
    assert split_candles(frame)["ETHUSDT"].attrs["source"] == "simulated somewhere"


def test_before_its_listing_a_symbol_has_an_empty_table() -> None:
    joined = join_candles({"BTCUSDT": table([0, 1, 2, 3]), "ETHUSDT": table([2, 3])})
    parts = split_candles(joined.iloc[:2])
    assert len(parts["BTCUSDT"]) == 2
    assert len(parts["ETHUSDT"]) == 0
    assert list(parts["ETHUSDT"].columns) == list(COLUMNS)
    assert len(find_gaps(joined.iloc[:2])) == 0
    assert resample(joined.iloc[:2], "1m").equals(joined.iloc[:2])
    assert len(resample(joined, "5m")) == 0  # no whole bin, as of one symbol


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({}, "nothing to join"),
        (table([0, 1]), r"by symbol, got a DataFrame.*join_candles\(\{"),
        ([("A", table([0, 1]))], "got a list"),
        ({"A": table([0, 1]), "B": table([])}, "^B has no candles here"),
        ({"A": table([0, 1]), "B": None}, r"^B: candles are a NoneType"),
        ({"A": table([0, 1]), "B": table([0, 5])}, r"timeframes \(1m of A, 5m of B\).*resample\("),
        ({"A": table([0, 7])}, "^A: the smallest spacing"),
        ({"": table([0, 1])}, "'' names no symbol"),
        ({5: table([0, 1])}, "5 names no symbol"),
        ({"A": table([0, 1]).assign(mood=1.0)}, r"^A has the column 'mood'.*drop\(columns="),
        ({"A": table([0, 1]).assign(close=1.0)}, "^A: low 9.0 is above close 1.0"),
    ],
)
def test_what_can_not_be_joined(tables: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        join_candles(tables)  # type: ignore[arg-type]


def test_a_single_candle_has_no_timeframe_to_differ() -> None:
    joined = join_candles({"A": table([0, 1]), "B": table([1])})
    assert len(split_candles(joined)["B"]) == 1


def test_what_can_not_be_split() -> None:
    joined = join_candles({"BTCUSDT": table([0, 1, 2], extras=True), "ETHUSDT": table([0, 1])})
    with pytest.raises(DataError, match="got the candles of one.*join_candles"):
        split_candles(joined["BTCUSDT"])
    with pytest.raises(DataError, match=r"columns above the symbols.*swaplevel\(axis=1\)"):
        split_candles(joined.swaplevel(axis=1))
    for wrong, told in (
        (5, "got a int"),
        (pd.DataFrame({"x": [1]}), r"a table with the columns \['x'\]"),
    ):
        with pytest.raises(DataError, match=told):
            split_candles(wrong)  # type: ignore[arg-type]
    partly = joined.copy()
    partly.loc[partly.index[1], ("BTCUSDT", "trades")] = np.nan
    with pytest.raises(
        DataError,
        match=r"BTCUSDT has a bar at 1970-01-01 00:01.* without trades \(such rows in all: 1\).*"
        r"drop\(columns=\[\('BTCUSDT', 'trades'\)\]\)",
    ):
        split_candles(partly)
    cure = partly.drop(columns=[("BTCUSDT", "trades")])
    assert len(split_candles(cure)["BTCUSDT"]) == 3
    twice = pd.concat([joined, joined[["BTCUSDT"]]], axis=1)
    with pytest.raises(DataError, match="BTCUSDT: the candles have the column 'open' twice"):
        split_candles(twice)
    with pytest.raises(DataError, match="BTCUSDT: the candles are not in order"):
        split_candles(joined.iloc[::-1])


def test_what_takes_one_symbol_says_so() -> None:
    parts = {"BTCUSDT": table([0, 1, 2, 3]), "ETHUSDT": table([2, 3])}
    joined = join_candles(parts)
    assert is_joined(joined) and not is_joined(parts["BTCUSDT"]) and not is_joined(parts)
    told = r'several symbols \(BTCUSDT, ETHUSDT\).*candles\["BTCUSDT"\]\.dropna\(\).*sweep'
    for call in (
        lambda: check_candles(joined),
        lambda: aq.backtest(joined, ma_cross),
        lambda: aq.check_strategy(ma_cross, joined),
        lambda: aq.SimulatedExchange(joined),
        lambda: join_candles({"A": joined}),
    ):
        with pytest.raises(DataError, match=told):
            call()


def test_rows_of_nothing_are_named_with_their_cure() -> None:
    joined = join_candles({"BTCUSDT": table([0, 1, 2, 3]), "ETHUSDT": table([2, 3])})
    with pytest.raises(DataError, match=r"rows have no value at all: 2\..*candles\.dropna\(\)"):
        aq.backtest(joined["ETHUSDT"], ma_cross)
    candles = naive.candle_table([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    candles.iloc[1, 0] = np.nan
    with pytest.raises(DataError, match=r"candles\.drop\(time\)"):
        check_candles(candles)
