"""What a walk-forward says of itself: comparison, efficiency, interval, words and picture."""

from __future__ import annotations

import json
import math

import bqplot as bq
import naive_walk
import numpy as np
import pandas as pd
import pytest
from drawn import figures, of_kind, texts
from walks import FREE, PER_YEAR, SPANS, above, lean, table, turning, wandering

import astraquant as aq
from astraquant import markets, metrics
from astraquant.candles import content_hash
from astraquant.strategies import momentum
from astraquant.tried import tried_on
from astraquant.walk_reports import RATES


def test_the_comparison_is_over_the_same_bars():
    candles = wandering(11, 24 * 20)
    grid = {"back": [1, 2, 5], "side": [1, -1]}
    found = aq.walk_forward(candles, lean, train="5d", test="3d", end="2023-01-19 05:00", **grid)
    first, end = found.windows["test_start"][0], found.windows["test_end"].iloc[-1]
    assert end == pd.Timestamp("2023-01-19 05:00", tz="UTC")
    swept = aq.sweep(candles, lean, start=first, end=end, **grid)
    assert found.static.metrics["sharpe"] == pytest.approx(swept.best("sharpe")["sharpe"], rel=1e-9)
    assert tuple(found.static.parameters.values()) == swept.best("sharpe").name
    once = aq.backtest(
        candles, lean, start=first, end=end, **found.windows.loc[0, ["back", "side"]]
    )
    shown = list(found.comparison.columns)
    assert shown == ["total_return", "sharpe", "max_drawdown", "trades"]
    assert (found.comparison.loc["tuned once"] == once.metrics[shown]).all()
    assert (found.comparison.loc["walk-forward"] == found.metrics[shown]).all()
    held = found.comparison.loc["buy and hold"]
    assert held["total_return"] == pytest.approx(found.metrics["buy_and_hold"], abs=1e-12)
    assert held["trades"] == 0
    whole = found.windows.iloc[:-1]
    assert found.windows["bars"].tolist() == [72] * 4 + [29]
    means = whole[["in_sample", "out_of_sample"]].mean()
    assert found.efficiency == pytest.approx(means["out_of_sample"] / means["in_sample"])
    assert (
        "The last test is shorter than 3d: the candles end there, so the efficiency leaves that "
        "out." in found.notes
    )


def test_it_shows_itself_and_says_what_it_is():
    candles = table(100 + np.sin(np.arange(400) / 5), source="synthetic")
    found = aq.walk_forward(
        candles, momentum, train="5d", test="3d", window=[3, 5], threshold=[0.0, 0.001]
    )
    assert repr(found).startswith(
        "<WalkForward momentum, 4 windows of 5d + 3d, 4 combinations: out of sample return "
    )
    assert isinstance(found.backtest, aq.Backtest)
    name = "walk_forward(strategy='momentum', train='5d', test='3d', metric='sharpe')"
    assert found.metrics.name == name
    shown = found._repr_html_()
    assert "best static choice, in hindsight" in shown
    assert "nobody could have known it" in shown
    assert "These prices are simulated: synthetic." in found.notes
    passport = found.passport
    assert passport["candles_sha256"] == aq.backtest(candles, momentum).passport["candles_sha256"]
    chosen = passport["walk_forward"]
    assert (chosen["train"], chosen["test"], chosen["step"]) == ("5d", "3d", "3d")
    assert len(chosen["choices"]) == 4
    assert json.loads(json.dumps(chosen))["levels"] == {"window": [3, 5], "threshold": [0, 0.001]}
    assert found.backtest.lines == {}
    assert repr(found.backtest).startswith(f"<Backtest {name} on 280 bars of 1h")


def test_the_static_choice_is_made_over_the_tests_alone():
    candles, grid = turning(), {"back": [1], "side": [1, -1]}
    found = aq.walk_forward(candles, lean, train="10d", test="2d", **FREE, **grid)
    assert aq.sweep(candles, lean, **FREE, **grid).best("sharpe").name == (1, 1)
    assert found.tuned_once.parameters == {"back": 1, "side": 1}
    assert found.static.parameters == {"back": 1, "side": -1}
    assert found.static.equity.index[0] == found.windows["test_start"][0]


@pytest.mark.parametrize("timeframe", [None, "2h"])
def test_what_hindsight_searches_counts_as_tried_and_the_trainings_do_not(timeframe):
    candles = wandering(21 if timeframe else 20, 24 * 20)
    grid = {"back": [1, 2, 5], "side": [1, -1]}
    found = aq.walk_forward(candles, lean, train="5d", test="3d", timeframe=timeframe, **grid)
    known = content_hash(candles)
    assert tried_on(known).trials == 0
    assert found.static is not None
    assert tried_on(known).trials == 6
    first = found.windows["test_start"][0]
    aq.sweep(candles, lean, timeframe=timeframe, start=first, **grid)  # the very same search
    assert tried_on(known).trials == 6


def test_buy_and_hold_has_no_stops():
    close = np.r_[np.full(48, 100.0), 100 + 10 * np.sin(np.arange(96) / 4)]
    stops = {"stop_loss": 0.01, "take_profit": 0.02, "trailing_stop": 0.01}
    for fill, place in (("open", 1), ("close", 0)):
        found = aq.walk_forward(
            table(close), above, train="2d", test="2d", level=[95.0, 101.0],
            cost=0.0, fill=fill, **stops,
        )  # fmt: skip
        bars = found.backtest.candles
        held = found.comparison.loc["buy and hold"]
        assert held["trades"] == 0  # which counts closed ones
        assert held["total_return"] == pytest.approx(
            bars["close"].iloc[-1] / bars[fill].iloc[place] - 1
        )
        assert held["max_drawdown"] < -0.1


def test_the_picture_has_the_equity_of_each():
    candles, grid = wandering(11, 24 * 20), {"back": [1, 2, 5], "side": [1, -1]}
    found = aq.walk_forward(candles, lean, train="5d", test="3d", **grid)
    chart = found.plot()
    hold, static, own = of_kind(figures(chart)[0], bq.Lines)
    np.testing.assert_allclose(np.ravel(own.y), found.backtest.equity)
    np.testing.assert_allclose(np.ravel(static.y), found.static.equity)
    assert np.ravel(hold.y)[-1] / 10_000 - 1 == pytest.approx(found.metrics["buy_and_hold"])
    mean = of_kind(figures(chart)[-1], bq.Scatter)[1]
    assert found.efficiency == pytest.approx(mean.y[0] / mean.x[0])
    assert "best sharpe of 6 combinations" in texts(chart)


@pytest.mark.parametrize("metric", ["total_return", "sharpe", "turnover", "annual_return"])
def test_the_efficiency_compares_rates_alone(metric):
    """Steady growth earns in a test of 1 day a tenth of what it earns in 10 days: all the same."""
    steps = 1e-4 + np.tile([1e-4, -1e-4], 24 * 10)
    candles = table(100 * np.exp(np.cumsum(steps)))
    found = aq.walk_forward(
        candles, above, train="10d", test="1d", metric=metric, **FREE, level=[0.0, 1e6]
    )
    told = any(note.startswith("No efficiency: it compares rates") for note in found.notes)
    if metric in RATES:
        assert found.efficiency == pytest.approx(1, abs=0.15)  # a bar of 24 has no return
    else:
        assert math.isnan(found.efficiency)
    assert told is (metric not in RATES)
    assert ("Efficiency, mean" in found._repr_html_()) is (metric in RATES)


def test_every_rate_is_a_metric():
    assert set(metrics.DEFINITIONS) >= RATES


def test_a_test_cut_short_counts_where_no_whole_one_does():
    candles = wandering(12, 24 * 6)
    found = aq.walk_forward(candles, lean, train="4d", test="3d", back=[1, 2], side=[1, -1])
    row = found.windows.iloc[0]
    assert len(found.windows) == 1
    if row["in_sample"] > 0:
        assert found.efficiency == pytest.approx(row["out_of_sample"] / row["in_sample"])
    assert "The last test is shorter than 3d: the candles end there." in found.notes


@pytest.mark.parametrize("bars", [1, 2, 7, 8])
def test_there_is_no_interval_of_too_few_bars(bars):
    candles = wandering(13, 48 + bars)
    found = aq.walk_forward(candles, lean, train="2d", test="1d", back=[1, 2], **FREE)
    said = f"No interval of the Sharpe ratio: {bars} bar{'s' * (bars > 1)} out of sample, and it "
    assert any(note.startswith(said) for note in found.notes) is (bars < 8)
    assert np.isnan(found.interval).all() == (bars < 8)


def test_one_combination_is_no_choice():
    found = aq.walk_forward(wandering(14, 24 * 8), lean, train="3d", test="1d", back=[2])
    assert ", 1 combination: out of sample" in repr(found)
    shown = found._repr_html_()
    assert "best of" not in shown
    assert "luck" not in shown
    assert "There is one combination: it is traded wherever" in found.notes[0]
    assert "the only combination" in texts(found.plot())


def test_the_interval_is_that_of_the_annualised_sharpe_ratio_out_of_sample():
    market = markets.ar1(6_000, 0.2, seed=1)
    grid = {"back": [1, 2], "side": [1, -1]}
    result = aq.walk_forward(market.candles, lean, **SPANS, **FREE, **grid)
    low, high = result.interval
    assert low < result.metrics["sharpe"] < high
    error = math.sqrt(PER_YEAR / 3_000)  # of a Sharpe ratio of as many independent returns
    assert 2 * 1.96 * error == pytest.approx(high - low, rel=0.2)


def test_the_metrics_where_less_is_better_are_those_of_the_sweep():
    assert set(naive_walk.LOWER) == set(metrics.LOWER_IS_BETTER)
