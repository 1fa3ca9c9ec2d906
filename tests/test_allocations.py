"""What a portfolio wants to hold: known answers, and nothing from the future."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_portfolio import candles

import astraquant as aq
from astraquant.allocation_checks import check_allocation
from astraquant.allocations import NAMES, decide_targets, make_plan
from astraquant.candles import PRICES
from astraquant.errors import AstraQuantError, DataError, StrategyError
from astraquant.estimates import ESTIMATED, _miss, find_estimate
from astraquant.strategies import ma_cross, strategy
from astraquant.universes import Universe, make_universe, parse_length

HOUR = 3_600_000
THREE = {
    "AAA": candles(1, 900, move=0.01),
    "BBB": candles(2, 800, move=0.02, start="2023-01-04", holes=range(300, 310)),
    "CCC": candles(3, 900, move=0.015, holes=[5, 6, 400]),
}
OPTIONS: dict[str, Any] = {"lookback": "5d", "rebalance": "1d"}


def decided(tables: dict[str, pd.DataFrame], allocation: object, **options: Any) -> pd.DataFrame:
    universe = make_universe(tables)
    plan = make_plan(allocation, options.get("lookback", "5d"), universe)
    targets = decide_targets(universe, plan, options.get("rebalance", "1d"))
    return pd.DataFrame(targets, index=universe.table.index, columns=list(universe.symbols))


def first(tables: dict[str, pd.DataFrame], allocation: object, **options: Any) -> Any:
    """The last weights that were decided."""
    return decided(tables, allocation, **options).dropna().iloc[-1].to_numpy()


def returns_of(*tables: pd.DataFrame, last: int) -> Any:
    closes = np.column_stack([table["close"].to_numpy() for table in tables])[-last:]
    return closes[1:] / closes[:-1] - 1


def test_two_assets_of_minimum_variance_follow_the_formula() -> None:
    one, two = candles(1, 480, move=0.01), candles(2, 480, move=0.013)
    two[list(PRICES)] *= one["close"].to_numpy()[:, None] ** 0.3  # related
    got = first({"A": one, "B": two}, "minimum_variance", lookback="20d", rebalance="1h")
    (s1, s12), (_, s2) = np.cov(returns_of(one, two, last=480).T)
    assert s12 > 0
    assert got[0] == pytest.approx((s2 - s12) / (s1 + s2 - 2 * s12), abs=1e-6)
    assert got.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ["inverse_volatility", "risk_parity"])
def test_uncorrelated_assets_of_equal_risk_weigh_by_inverse_volatility(name: str) -> None:
    # Closes whose returns are exactly uncorrelated: of the same bars, one sign pattern each.
    pattern = np.tile([[1, 1], [1, -1], [-1, 1], [-1, -1]], (60, 1)) * [0.01, 0.03]
    tables = {}
    for name_, moves in zip("AB", pattern.T, strict=True):
        close = np.cumprod([100.0, *(1 + moves)])
        tables[name_] = candles(0, 241).assign(**dict.fromkeys(PRICES, close))
    got = first(tables, name, lookback="10d", rebalance="1h")
    np.testing.assert_allclose(got, [0.75, 0.25], atol=2e-3)  # the window begins in a pattern
    deviations = returns_of(*tables.values(), last=240).std(axis=0, ddof=1)
    if name == "inverse_volatility":
        np.testing.assert_allclose(got, 1 / deviations / (1 / deviations).sum(), rtol=1e-12)


def test_hierarchical_gives_less_to_what_moves_more_and_splits_equal_ones() -> None:
    tables = {name: candles(seed, 600, move=0.01) for seed, name in enumerate("ABC")}
    tables["D"] = candles(9, 600, move=0.05)
    got = first(tables, "hierarchical", lookback="20d", rebalance=None)
    assert got.sum() == pytest.approx(1.0)
    assert got.min() > 0
    assert got.argmin() == 3


@pytest.mark.parametrize("name", ESTIMATED)
def test_a_symbol_beside_itself_shares_its_weight(name: str) -> None:
    got = first({"A": candles(1, 300), "B": candles(1, 300)}, name)
    assert got.sum() == pytest.approx(1.0, abs=1e-9)
    if name != "minimum_variance":  # any split of the same asset has the least variance
        np.testing.assert_allclose(got, [0.5, 0.5], atol=1e-3)


@given(st.integers(0, 2**32), st.integers(2, 5))
@settings(max_examples=20)
def test_optimal_weights_are_told_from_others(seed: int, symbols: int) -> None:
    """The oracle: no step towards any symbol lowers the variance; contributions are equal."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(0, 0.01, (200, symbols)) @ rng.normal(0, 1, (symbols, symbols))
    returns = mixed + rng.normal(0, 0.005, mixed.shape)
    covariance = np.cov(returns.T)
    least = find_estimate("minimum_variance")(returns)
    for k in range(symbols):
        moved = 0.99 * least + 0.01 * np.eye(symbols)[k]
        assert moved @ covariance @ moved > (1 - 1e-4) * (least @ covariance @ least)
    level = find_estimate("risk_parity")(returns)
    parts = level * (covariance @ level)
    np.testing.assert_allclose(parts, parts.mean(), rtol=5e-3)
    other = rng.dirichlet(np.ones(symbols))
    assert _miss("minimum_variance", other, returns) > 1e-3 or np.allclose(other, least, atol=0.05)
    assert _miss("risk_parity", other, returns) > 1e-3 or np.allclose(other, level, atol=0.05)


@pytest.mark.parametrize("name", ESTIMATED)
def test_one_symbol_alone_gets_all(name: str) -> None:
    assert first({"A": candles(1, 300)}, name).tolist() == [1.0]


def test_equal_weights_count_the_symbols_that_are_listed() -> None:
    got = decided(THREE, "equal", rebalance="1h")
    before = got.index < "2023-01-04"
    assert (got[before] == [0.5, 0.0, 0.5]).all(axis=None)
    np.testing.assert_allclose(got[~before], 1 / 3)


def test_fixed_weights_wait_for_the_first_bar_and_name_only_what_they_hold() -> None:
    got = decided(THREE, {"BBB": 0.25, "AAA": 0.5}, rebalance="1h")
    before = got.index < "2023-01-04"
    assert (got[before] == [0.5, 0.0, 0.0]).all(axis=None)
    assert (got[~before] == [0.5, 0.25, 0.0]).all(axis=None)


def naive_decision_rows(universe: Universe, length: int) -> list[int]:
    """The first close at or after the end of each bin of ``length`` milliseconds, one by one."""
    rows, bar = set(), HOUR
    first_end = int(universe.times[0]) // length * length + length
    for end in range(first_end, int(universe.times[-1]) + bar + 1, length):
        after = [row for row, time in enumerate(universe.times) if time + bar >= end]
        rows |= set(after[:1])
    return sorted(rows)


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(1, n + 10), max_size=n - 1))
    ),
    st.sampled_from(["1h", "4h", "12h", "1d"]),
    st.integers(0, 23),
)
def test_decisions_fall_on_the_first_close_after_each_bin(
    drawn: tuple[int, set[int]], rebalance: str, hour: int
) -> None:
    count, holes = drawn
    holes -= {0, 1}
    table = candles(0, count + 12, start=f"2023-01-01 {hour:02}:00", holes=holes)
    universe = make_universe({"A": table})
    targets = decide_targets(universe, make_plan("equal", "5d", universe), rebalance)
    length = {"1h": HOUR, "4h": 4 * HOUR, "12h": 12 * HOUR, "1d": 24 * HOUR}[rebalance]
    expected = sorted({0, *naive_decision_rows(universe, length)})
    assert np.flatnonzero(~np.isnan(targets[:, 0])).tolist() == expected


def test_months_and_weeks_rebalance_on_the_calendar() -> None:
    table = candles(0, 90, step="1D", start="2023-01-10")
    months = decided({"A": table}, "equal", rebalance="1M").dropna().index
    assert [f"{time:%m-%d}" for time in months] == ["01-10", "01-31", "02-28", "03-31"]
    weeks = decided({"A": table}, "equal", rebalance="1w").dropna().index
    assert {time.day_name() for time in weeks[1:]} == {"Sunday"}


def test_none_decides_once() -> None:
    assert len(decided(THREE, "equal", rebalance=None).dropna()) == 1


def test_an_estimate_waits_until_a_history_covers_the_lookback() -> None:
    got = decided(THREE, "inverse_volatility", lookback="5d", rebalance="1h").dropna()
    assert got.index[0] == pd.Timestamp("2023-01-05 23:00", tz="UTC")  # its close is the 6th, 00:00
    assert got["BBB"][got.index < "2023-01-08 23:00"].eq(0).all()
    assert got["BBB"][got.index >= "2023-01-08 23:00"].gt(0).all()


def test_the_window_of_a_function_is_the_lookback_and_no_more() -> None:
    seen: list[pd.DataFrame] = []

    def spy(closes: pd.DataFrame) -> dict[str, float]:
        seen.append(closes)
        return {"AAA": 1.0}

    got = decided(THREE, spy, lookback="2d", rebalance="1d").dropna()
    assert len(seen) == len(got)
    universe = make_universe(THREE)
    for closes, time in zip(seen, got.index, strict=True):
        assert closes.index[-1] == time
        assert len(closes) == 48
        expected = universe.table.xs("close", axis=1, level=1).loc[closes.index]
        np.testing.assert_array_equal(closes, expected[["AAA", "BBB", "CCC"]])
    assert seen[0].notna().any().tolist() == [True, False, True]
    seen[0].iloc[:] = -1.0  # it is theirs: ours does not change
    assert (universe.columns["close"][~np.isnan(universe.columns["close"])] > 0).all()


def test_a_gap_in_one_symbol_leaves_its_bars_out_for_all() -> None:
    """Returns are those between bars that all have: one over the gap spans it."""
    one, two = candles(1, 200), candles(2, 200, holes=range(150, 160))
    got = first({"A": one, "B": two}, "inverse_volatility", rebalance="1h")
    both = one.join(two, lsuffix="_a", rsuffix="_b", how="inner").loc["2023-01-04 08:00":]
    deviations = both[["close_a", "close_b"]].pct_change().std()
    np.testing.assert_allclose(got, 1 / deviations / (1 / deviations).sum(), rtol=1e-10)


def test_a_symbol_that_stopped_or_stands_still_is_not_known() -> None:
    still = candles(3, 300).assign(**dict.fromkeys(PRICES, 5.0))
    ended = candles(2, 150)
    got = decided({"A": candles(1, 300), "B": ended, "C": still}, "inverse_volatility")
    assert got["C"].dropna().eq(0).all()
    weights = got["B"].dropna()
    assert weights.iloc[0] > 0
    assert weights.iloc[-1] == 0


def test_where_nothing_is_known_any_more_it_is_cash() -> None:
    got = decided({"A": candles(1, 400, holes=range(150, 270))}, "inverse_volatility")["A"].dropna()
    assert set(got) == {0.0, 1.0}


@pytest.mark.parametrize("allocation", [*NAMES, {"AAA": 0.5, "BBB": 0.2}, ma_cross])
def test_no_allocation_looks_ahead(allocation: object) -> None:
    slow = allocation in ESTIMATED[1:]
    report = check_allocation(allocation, THREE, lookback="5d", rebalance="1w" if slow else "1d")
    assert report.decisions > (4 if slow else 10)
    assert "no look ahead found" in repr(report)


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(70, 110))
def test_hiding_the_future_changes_no_decision(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    tables = {
        name: candles(seed + k, 120, holes=np.flatnonzero(rng.random(120) < 0.1)[1:-1])
        for k, name in enumerate("AB")
    }
    universe = make_universe(tables)
    cut = min(cut, len(universe.times) - 1)
    for allocation in ("equal", "inverse_volatility", lambda closes: closes.notna().mean() / 3):
        options = ("2d", universe)
        full = decide_targets(universe, make_plan(allocation, *options), "4h")
        for other in (universe.cut(cut), universe.with_another_future(cut, 3.0)):
            part = decide_targets(other, make_plan(allocation, *options), "4h")
            np.testing.assert_array_equal(part[:cut], full[:cut])


def test_a_function_that_looks_its_prices_up_elsewhere_is_caught() -> None:
    table = aq.symbols.join_candles(THREE)

    def peek(closes: pd.DataFrame) -> pd.Series:
        later = table.xs("close", axis=1, level=1).loc[closes.index[-1] :].head(24).ffill()
        gain = (later.iloc[-1] / later.iloc[0]).fillna(0.0)
        return (gain == gain.max()).astype(float) / 3

    with pytest.raises(StrategyError, match="peek at 2051-01-05"):
        check_allocation(peek, THREE, **OPTIONS)


def test_a_function_that_remembers_is_caught() -> None:
    calls: list[int] = []

    def moody(closes: pd.DataFrame) -> list[float]:
        calls.append(1)
        return [1 / len(calls), 0.0, 0.0]

    with pytest.raises(StrategyError, match=r"moody changed its mind .* AAA 1, .* were hidden"):
        check_allocation(moody, THREE, **OPTIONS)


def test_a_strategy_that_looks_ahead_is_caught() -> None:
    @strategy
    def tomorrow(candles: Any, days: int = 1) -> Any:
        ahead = np.roll(candles.close, -24 * days)
        return ahead > np.asarray(candles.close)

    with pytest.raises(StrategyError, match="tomorrow.* changed its mind about the past"):
        check_allocation(tomorrow, THREE, **OPTIONS)


def test_a_function_of_the_calendar_passes() -> None:
    def weekends(closes: pd.DataFrame) -> list[float]:
        return [float(closes.index[-1].dayofweek >= 5), 0.0, 0.0]

    assert check_allocation(weekends, THREE, **OPTIONS).tried == 33


def test_a_check_without_decisions_says_so() -> None:
    with pytest.raises(DataError, match="equal|decides nothing"):
        check_allocation("inverse_volatility", THREE, lookback="90d")


@pytest.mark.parametrize(
    ("allocation", "message"),
    [
        ("equall", "unknown allocation 'equall'. Did you mean 'equal'?"),
        ({"AAB": 1.0}, "unknown symbol 'AAB'. Did you mean 'AAA'?"),
        ({"AAA": 0.7, "BBB": 0.7}, "sum up to 1.4; expected 1 at most"),
        ({"AAA": -0.1}, "the weight of AAA is -0.1; expected 0 or more"),
        ({"AAA": "much"}, "expected a number for each symbol"),
        ({"AAA": float("nan")}, "the weight of AAA is nan"),
        ({"AAA": ma_cross, "BBB": 0.5}, "0.5: expected a strategy"),
        ({}, "names no symbol"),
        (None, "allocation=None: expected a name"),
        (lambda closes: [1.0], "weights of shape (1,); expected 3"),
        (lambda closes: {"ZZZ": 1.0}, "<lambda> at 2023-01-05 23:00:00+00:00: unknown symbol"),
        (lambda closes: closes.nothing, "raised AttributeError"),
        (lambda closes: None, "<lambda> at 2023-01-05 23:00:00+00:00 gives None; expected weights"),
    ],
)
def test_errors_teach(allocation: object, message: str) -> None:
    with pytest.raises(StrategyError) as raised:
        decided(THREE, allocation)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("lookback", "message"),
    [
        ("30", "lookback='30': expected a number of minutes, hours, days or weeks"),
        ("0d", "lookback='0d': expected"),
        (30, "lookback=30: expected"),
        ("5h", "holds 5 closes of 1h bars; expected 11 or more for 3 symbol(s)"),
    ],
)
def test_a_lookback_that_is_none_is_refused(lookback: Any, message: str) -> None:
    with pytest.raises(DataError) as raised:
        decided(THREE, "inverse_volatility", lookback=lookback)
    assert message in str(raised.value)


def test_lengths_of_time_are_read() -> None:
    assert parse_length("90m", "x") == 90 * 60_000
    assert parse_length(" 4w ", "x") == 28 * 24 * HOUR


@pytest.mark.parametrize("name", ESTIMATED[1:])
def test_without_skfolio_the_install_line_is_given(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skfolio.optimization", None)
    with pytest.raises(AstraQuantError, match=r'pip install -e "\.\[portfolio\]"'):
        decided(THREE, name)


@pytest.mark.parametrize("allocation", ["equal", {"A": 0.5}, "inverse_volatility"])
def test_a_mistyped_lookback_is_told_even_where_it_is_not_needed(allocation):
    times = pd.date_range("2023-01-01", periods=50, freq="1h", tz="UTC", name="time")
    table = pd.DataFrame(1.0, index=times, columns=["open", "high", "low", "close", "volume"])
    with pytest.raises(AstraQuantError, match="lookback='30x'"):
        aq.portfolio({"A": table, "B": table}, allocation, lookback="30x")
