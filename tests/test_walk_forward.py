"""`walk_forward` against a slow oracle, the future hidden from it, and markets with an answer."""

from __future__ import annotations

import math
from typing import Any

import naive_walk
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walks import FREE, SPANS, above, best_of, lean, per_bar, sticky, table, wandering

import astraquant as aq
from astraquant import markets
from astraquant.strategies import ma_cross, momentum

CASES = {
    "ma_cross": (ma_cross, {"short": [2, 3, 5], "long": [5, 8]}, ("long", "short", "both")),
    "momentum": (momentum, {"window": [1, 3, 7], "threshold": [0.0, 0.01]}, ("long", "both")),
    "lean": (lean, {"back": [1, 4], "side": [1, -1]}, ("long",)),
}

METRICS = ("sharpe", "total_return", "profit_factor", "turnover", "max_drawdown")


@st.composite
def walks(draw: Any) -> dict[str, Any]:
    """Candles with holes, and everything that a walk-forward is asked for."""
    strategy, grid, directions = CASES[draw(st.sampled_from(sorted(CASES)))]
    bars = draw(st.integers(60, 160))
    candles = wandering(draw(st.integers(0, 10**6)), bars)
    kept = np.ones(bars, dtype=bool)
    for begin in draw(st.lists(st.integers(3, bars - 3), max_size=3)):
        kept[begin : begin + draw(st.sampled_from([1, 5, 40]))] = False
    kept[:2] = kept[-2:] = True
    timeframe = draw(st.sampled_from(["1h", "1h", "2h"]))
    unit = pd.Timedelta(timeframe)
    test = draw(st.integers(12, 40))
    options = {
        "timeframe": timeframe,
        "cost": draw(st.sampled_from([0.0, 0.001])),
        "slippage": draw(st.sampled_from([0.0, 0.0005])),
        "fill": draw(st.sampled_from(["open", "close"])),
        "direction": draw(st.sampled_from(directions)),
    }
    if draw(st.booleans()):
        options["stop_loss"] = draw(st.sampled_from([0.005, 0.02]))
    return {
        "candles": candles[kept],
        "strategy": strategy,
        "grid": grid,
        "options": options,
        "train": unit * draw(st.integers(5, 25)),
        "test": unit * test,
        "step": unit * draw(st.integers(test // 2, test)),
        "anchored": draw(st.booleans()),
        "metric": draw(st.sampled_from(METRICS)),
    }


def walk(case: dict[str, Any], candles: pd.DataFrame | None = None) -> aq.WalkForward:
    given = {k: v for k, v in case.items() if k not in ("candles", "strategy", "grid", "options")}
    candles = case["candles"] if candles is None else candles
    return aq.walk_forward(candles, case["strategy"], **given, **case["options"], **case["grid"])


@settings(max_examples=20)
@given(walks())
def test_it_is_a_sweep_and_a_backtest_for_each_window_joined_bar_by_bar(case):
    found = walk(case)
    slow = naive_walk.walk_forward(**case)
    windows = found.windows
    assert len(windows) == len(slow.windows)
    for (_, row), known in zip(windows.iterrows(), slow.windows, strict=True):
        for name in ("train_start", "train_end", "test_start", "test_end"):
            assert row[name] == known[name]
        chosen = tuple(row[name] for name in case["grid"])
        assert chosen == known["row"] if known["row"] else pd.isna(list(chosen)).all()
        for name in ("in_sample", "out_of_sample"):
            same = pd.isna(row[name]) if pd.isna(known[name]) else row[name] == known[name]
            assert same, (name, row[name], known[name])
    np.testing.assert_array_equal(found.backtest.position, slow.position)
    np.testing.assert_allclose(found.backtest.equity, slow.run.equity, rtol=1e-9)
    assert len(found.backtest.trades) == len(slow.run.trades)
    assert windows["bars"].sum() == len(found.backtest.equity)


@settings(max_examples=15)
@given(walks(), st.data())
def test_the_future_changes_nothing_that_was_chosen_or_earned(case, data):
    whole = walk(case)
    candles = case["candles"]
    begin = whole.windows["test_start"][0] + pd.Timedelta(case["options"]["timeframe"])
    later = candles.index[candles.index >= begin]
    if len(later) < 2:
        return
    now = data.draw(st.sampled_from(list(later)))
    past = candles[candles.index < now]
    other = candles.copy()
    factor = data.draw(st.sampled_from([0.5, 0.9, 1.7]))
    prices = ["open", "high", "low", "close"]
    other.loc[now:, prices] = (other.loc[now:, prices] * factor).round(2)
    bars = aq.resample(past, case["options"]["timeframe"])
    for changed in (past, other):
        if len(bars) < 2 or bars.index[-1] < whole.windows["test_start"][0]:
            return
        again = walk(case, changed)
        known = whole.windows["test_start"] <= bars.index[-1]
        columns = ["train_start", "test_start", "in_sample", *case["grid"]]
        left = again.windows[again.windows["test_start"] <= bars.index[-1]][columns]
        pd.testing.assert_frame_equal(left, whole.windows[known][columns], check_dtype=False)
        ended = again.backtest.equity.loc[: bars.index[-1]]
        assert (ended == whole.backtest.equity.loc[: bars.index[-1]]).all()
        wanted = again.backtest.position.loc[: bars.index[-1]].iloc[:-1]  # the last: by whom next?
        assert (wanted == whole.backtest.position.loc[wanted.index]).all()


@pytest.mark.parametrize("metric", ["sharpe", "total_return", "turnover"])
def test_each_training_is_the_very_sweep(metric):
    candles = wandering(3, 600)
    grid = {"short": range(2, 8), "long": [9, 15, 30]}
    found = aq.walk_forward(candles, ma_cross, train="8d", test="3d", metric=metric, **grid)
    assert len(found.windows) == 6
    for _, row in found.windows.iterrows():
        swept = aq.sweep(candles, ma_cross, start=row.train_start, end=row.train_end, **grid)
        best = swept.best(metric)
        assert best.name == (row["short"], row["long"])
        assert best[metric] == row["in_sample"]
        run = aq.backtest(
            candles, ma_cross, start=row.test_start, end=row.test_end, **dict(best_of(row))
        )
        assert run.metrics[metric] == row["out_of_sample"]


def test_a_seam_where_both_choices_hold_the_same_trades_nothing():
    candles = wandering(1, 400)
    found = aq.walk_forward(candles, above, train="5d", test="2d", level=[0.0, 0.5, 1.0])
    trades = found.backtest.trades
    assert len(trades) == 1
    assert trades["status"].tolist() == ["open"]
    first = found.windows["test_start"][0]
    whole = aq.backtest(candles, above, level=0.0, start=first)
    assert (found.backtest.equity == whole.equity).all()
    assert found.metrics["fees_paid"] == whole.metrics["fees_paid"]


def test_a_position_held_into_the_test_is_entered_at_its_first_open():
    """`hold` remembers what was long before: candles before the window warm it up."""
    close = [3.0, *[1.5] * 199]
    found = aq.walk_forward(
        table(close), sticky, train="4d", test="1d", metric="exposure", low=[1.0, 1.2], high=[2.5]
    )
    trades = found.backtest.trades
    assert trades["entry_time"].tolist() == [found.windows["test_start"][0]]


def test_a_training_without_a_figure_chooses_nothing_and_stays_flat():
    close = np.r_[np.full(48, 100.0), 100 + np.sin(np.arange(96))]
    held = aq.walk_forward(table(close), above, train="2d", test="1d", level=[99.5, 500.0])
    first = held.windows.iloc[0]  # long from the start, so the cost of entry gives a figure
    assert first["level"] == 99.5
    assert first["in_sample"] < 0
    flat = aq.walk_forward(table(close), above, train="2d", test="1d", level=[100.2, 500.0])
    windows = flat.windows
    assert windows["level"].isna().tolist()[0]
    assert windows["level"].tolist()[1:] == [100.2] * 3
    assert math.isnan(windows["in_sample"][0])
    own = flat.backtest.position.loc[: windows["test_end"][0] - pd.Timedelta("2h")]
    assert (own == 0).all()
    assert any(
        "No combination has a sharpe in the training before the test" in n for n in flat.notes
    )
    assert windows["level"].dtype == np.float64
    assert flat.tuned_once is None
    assert flat.comparison.loc["tuned once"].isna().all()


def test_where_nothing_is_ever_chosen_it_is_flat_and_says_so():
    found = aq.walk_forward(wandering(2, 200), above, train="3d", test="1d", level=[1e6, 2e6])
    assert found.windows["level"].isna().all()
    assert (found.backtest.equity == 10_000).all()
    assert found.static is None
    assert math.isnan(found.efficiency)
    assert "It never trades: its figures are those of cash." in found.notes
    assert not any("plain arrays" in note for note in found.notes)
    assert "6 tests from" in " ".join(found.notes)
    assert "–" in found._repr_html_()


def test_times_without_candles_are_told():
    candles = wandering(4, 24 * 20)
    candles = candles.drop(candles.index[24 * 6 : 24 * 12])
    found = aq.walk_forward(candles, lean, train="2d", test="2d", back=[1, 2], side=[1, -1])
    windows = found.windows
    said = " ".join(found.notes)
    assert windows["bars"].tolist() == [48, 48, 0, 0, 0, 48, 48, 48, 48]
    assert windows["back"].isna().tolist() == [False, False, False, True, True, True] + [False] * 3
    assert "No candles in the trainings before the tests from 2023-01-09 00:00, " in said
    assert "2023-01-09 00:00, 2023-01-11 00:00: their choices are never traded." in said
    gone = found.backtest.position.loc["2023-01-13":"2023-01-14 22:00"]  # type: ignore[misc]
    assert len(gone) == 47
    assert (gone == 0).all()


def test_one_test_without_candles_is_told_in_the_singular():
    candles = wandering(4, 24 * 20)
    candles = candles.drop(candles.index[24 * 6 : 24 * 8])
    found = aq.walk_forward(candles, lean, train="2d", test="2d", back=[1, 2], side=[1, -1])
    said = " ".join(found.notes)
    assert "No candles in the test from 2023-01-07 00:00: its choice is never traded." in said
    assert "No candles in the training before the test from 2023-01-09 00:00: flat there." in said


def test_the_last_test_may_be_short_but_has_a_bar():
    for more, bars in ((1, 1), (23, 23), (24, 24), (25, 1)):
        candles = wandering(5, 48 + more)
        found = aq.walk_forward(candles, lean, train="2d", test="1d", back=[1, 2])
        assert found.windows["bars"].iloc[-1] == bars
        cut = "The last test is shorter than 1d: the candles end there."
        assert (cut in found.notes) == (more != 24)
    with pytest.raises(aq.DataError, match=r"train='2d' and at least one bar to test on do not"):
        aq.walk_forward(wandering(5, 48), lean, train="2d", test="1d", back=[1, 2])


def test_a_shorter_step_lets_the_next_choice_take_over_early():
    candles = wandering(6, 24 * 12)
    found = aq.walk_forward(
        candles, lean, train="3d", test="4d", step="1d", back=[1, 2, 5], side=[1, -1]
    )
    assert found.windows["bars"].tolist() == [24] * 9
    length = found.windows["test_end"] - found.windows["test_start"]
    assert length.tolist() == [pd.Timedelta(f"{d}D") for d in (4, 4, 4, 4, 4, 4, 3, 2, 1)]
    assert any(
        note.startswith("Each choice is traded for 1d, until the next") for note in found.notes
    )
    assert any(note.startswith("The last 3 tests are shorter than 4d") for note in found.notes)


def test_a_training_that_chooses_nothing_ends_what_the_choice_before_it_holds():
    close = np.r_[100 + np.sin(np.arange(48)), np.full(96, 100.5)]  # flat days have no Sharpe ratio
    spans = {"train": "1d", "test": "2d", "step": "1d"}
    found = aq.walk_forward(table(close), above, **spans, **FREE, level=[99.5, 100.2])
    assert found.windows["level"].isna().tolist() == [False, False, True, True, True]
    position = found.backtest.position
    assert position["2023-01-03"].all()
    assert not position["2023-01-04":].any()  # type: ignore[misc]
    assert found.windows["bars"].tolist() == [24] * 5


def test_anchored_training_begins_at_the_first_evaluated_bar():
    candles = wandering(7, 24 * 10)
    found = aq.walk_forward(
        candles, lean, train="2d", test="2d", anchored=True, start="2023-01-03", back=[1, 2]
    )
    assert set(found.windows["train_start"]) == {pd.Timestamp("2023-01-03", tz="UTC")}
    assert found.windows["test_start"][0] == pd.Timestamp("2023-01-05", tz="UTC")
    assert found.passport["walk_forward"]["anchored"] is True
    assert "of all time before, at least 2d" in found.notes[0]


def test_stops_and_coarser_bars_are_those_of_sweep_and_backtest():
    candles = wandering(8, 24 * 30)
    options = {"timeframe": "4h", "stop_loss": 0.01, "take_profit": 0.03, "direction": "both"}
    grid = {"window": [2, 5, 9]}
    found = aq.walk_forward(candles, momentum, train="10d", test="5d", **options, **grid)
    assert "Stops were watched in candles of 1h." in found.notes
    for _, row in found.windows.iterrows():
        swept = aq.sweep(
            candles, momentum, start=row.train_start, end=row.train_end, **options, **grid
        )
        assert swept.best("sharpe")["sharpe"] == row["in_sample"]
    assert set(found.backtest.trades["status"]) & {"stop_loss", "take_profit"}


def test_bars_that_look_coarser_when_they_stand_alone_are_still_what_was_asked_for():
    candles = wandering(9, 24 * 12)
    sparse = candles[(candles.index.hour // 2) % 2 == 0]  # 2-hour bars, every other one missing
    found = aq.walk_forward(sparse, lean, train="4d", test="2d", timeframe="2h", back=[1, 3])
    swept = aq.sweep(
        sparse, lean, timeframe="2h", back=[1, 3], start="2023-01-01", end="2023-01-05"
    )
    assert found.windows["in_sample"][0] == swept.best("sharpe")["sharpe"]
    assert found.timeframe == "2h"


def test_code_that_can_not_be_traced_never_sees_beyond_its_test():
    seen: list[int] = []

    @aq.strategy
    def peeking(candles: Any, back: int = 1) -> Any:
        seen.append(len(np.asarray(candles.close)))
        return np.asarray(candles.close) > np.asarray(candles.close).mean()

    candles = wandering(10, 24 * 8)
    found = aq.walk_forward(candles, peeking, train="3d", test="1d", back=[1, 2])
    assert max(seen[:3]) == 24 * 4  # two sweeps' rows, and the first test
    assert "Run on plain arrays" in " ".join(found.notes)
    assert "arrays" in found.passport["walk_forward"]["engine"]


LEANINGS = {"back": range(1, 21), "side": [1, -1]}  # 40 combinations


def test_on_returns_that_lean_it_comes_close_to_what_can_be_known():
    found = []
    for seed in range(4):
        market = markets.ar1(20_000, 0.2, seed=seed)
        result = aq.walk_forward(market.candles, lean, **SPANS, **FREE, **LEANINGS)
        found.append(per_bar(result.backtest))
    assert np.mean(found) >= 0.85 * market.oracle["sharpe"]


def test_on_a_random_walk_it_finds_nothing():
    found = []
    for seed in range(8):
        market = markets.random_walk(20_000, seed=seed)
        result = aq.walk_forward(market.candles, lean, **SPANS, **FREE, **LEANINGS)
        found.append(per_bar(result.backtest))
    assert abs(np.mean(found)) < 3 / math.sqrt(8 * 17_000)


def test_after_a_flip_it_beats_the_best_static_choice_known_in_hindsight():
    for seed in range(3):
        market = markets.regime_flip(24_000, 0.2, 3_000, seed=seed)
        result = aq.walk_forward(
            market.candles, lean, train="750h", test="250h", **FREE, **LEANINGS
        )
        assert per_bar(result.backtest) > 2 * per_bar(result.static)
        assert set(result.windows["side"]) == {1, -1}
