"""Honesty: deflation against a plain computation, the ledger of trials, the neighbours."""

from __future__ import annotations

import math
import runpy

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backtesting import random_walk

import astraquant as aq
from astraquant import statistics
from astraquant.engine.bars import BLOCK
from astraquant.indicators import ema, previous, sma
from astraquant.luck import luck_of
from astraquant.strategies import momentum, where
from astraquant.tried import Tried, tried_on

YEAR = math.sqrt(365 * 24 * 12)  # of bars of five minutes


@aq.strategy
def above(candles, window: int = 3, shift: float = 0.0):
    """Long while the close is above its average."""
    return candles.close > sma(candles.close, window) * (1 + shift)


@aq.strategy
def turning(candles, window: int = 1):
    """Always long or short."""
    return where(candles.close > previous(candles.close, window), 1, -1)


@aq.strategy
def never(candles, window: int = 3):
    """Never in the market."""
    return candles.close > candles.close + window


def naive_deflated(sweep, count=None):
    """The deflated Sharpe ratio of the best row, from the returns of each row's own backtest."""
    rows = []
    for row in sweep.grid.rows:
        equity = sweep.backtest(row).equity
        returns = equity.pct_change().fillna(equity.iloc[0] / 10_000 - 1)
        rows.append((returns.mean() / returns.std(), returns))
    known = [sharpe for sharpe, _ in rows if math.isfinite(sharpe)]
    best, returns = max(((s, r) for s, r in rows if math.isfinite(s)), key=lambda pair: pair[0])
    z = (returns - returns.mean()) / returns.std(ddof=0)
    return statistics.deflated_sharpe(
        best,
        len(returns),
        trials=count or len(rows),
        variance=min(float(np.var(known, ddof=1)), 1 / (len(returns) - 1)),
        skew=(z**3).mean(),
        kurtosis=(z**4).mean(),
    )


@pytest.mark.parametrize("direction", ["long", "short", "both"])
@pytest.mark.parametrize("bars", [200, 3 * BLOCK + 7])
def test_deflation_is_that_of_the_returns_of_each_row(direction, bars):
    sweep = aq.sweep(random_walk(bars, 3), above, window=range(2, 9), direction=direction)
    found = sweep.honesty()
    assert found.luck.deflated == pytest.approx(naive_deflated(sweep), rel=1e-9)
    assert found.luck.sharpe == sweep.best().sharpe
    assert found.luck.best == sweep.best().name
    variance = min(float(sweep.table["sharpe"].var(ddof=1)), YEAR**2 / (bars - 1))
    assert found.luck.expected == pytest.approx(statistics.expected_best_sharpe(7, variance))


def test_overfitting_is_that_of_the_returns():
    sweep = aq.sweep(random_walk(3_200, 3), above, window=[2, 4, 7, 12, 20, 35], cost=0.0)
    equity = pd.DataFrame({row: sweep.backtest(row).equity for row in sweep.grid.rows})
    returns = equity.pct_change().fillna(equity.iloc[0] / 10_000 - 1)
    for blocks in (4, 8, 16):
        ours, theirs = sweep.honesty(blocks).pbo, statistics.pbo(returns, blocks=blocks)
        assert ours.probability == pytest.approx(theirs.probability)
        np.testing.assert_allclose(np.sort(ours.ranks), np.sort(theirs.ranks), atol=1e-9)
        np.testing.assert_allclose(
            np.sort(ours.in_sample), np.sort(theirs.in_sample * YEAR), rtol=1e-6
        )
        assert sweep.honesty(blocks).blocks == blocks


def test_one_timeframe_is_compared_with_another_by_the_year():
    """The best of several timeframes is deflated by a spread of the same unit."""
    candles = random_walk(4_000, 3)
    sweep = aq.sweep(candles, above, window=[2, 5, 9], timeframe=["5m", "15m", "1h"])
    luck = sweep.honesty().luck
    frame = luck.best[1]
    year = math.sqrt(365 * 24 * 60 / {"5m": 5, "15m": 15, "1h": 60}[frame])
    run = sweep.backtest(luck.best)
    returns = run.equity.pct_change().fillna(run.equity.iloc[0] / 10_000 - 1)
    z = (returns - returns.mean()) / returns.std(ddof=0)
    assert luck.deflated == pytest.approx(
        statistics.deflated_sharpe(
            luck.sharpe / year,
            len(returns),
            trials=9,
            variance=min(
                float(sweep.table["sharpe"].var(ddof=1)) / year**2, 1 / (len(returns) - 1)
            ),
            skew=(z**3).mean(),
            kurtosis=(z**4).mean(),
        )
    )


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 60), st.sampled_from([above, turning]))
def test_whatever_the_table_nothing_is_infinite(seed, bars, choice):
    sweep = aq.sweep(random_walk(bars, seed), choice, window=[1, 2, 50])
    found = sweep.honesty()
    figures = [found.luck.deflated, found.luck.expected, found.pbo.probability, found.plateau]
    figures += [found.reality_check.hansen, found.reality_check.white, *found.pbo.null_band]
    assert not np.isinf(figures).any()
    assert repr(found).startswith("<Honesty: ")
    assert found.sentence.endswith(".")
    assert "nan" not in found._repr_html_() + sweep._repr_html_()
    for value, reason in (
        (found.luck.deflated, found.luck.reason),
        (found.pbo.probability, found.pbo.reason),
        (found.reality_check.hansen, found.reality_check.reason),
    ):
        assert math.isnan(value) == bool(reason)


def test_a_trial_without_trades_is_counted_and_harms_nothing():
    candles = random_walk(2_000, 8)
    some = aq.sweep(candles, above, window=[2, 5, 9], shift=[0.0])
    more = aq.sweep(candles, above, window=[2, 5, 9], shift=[0.0, 0.9])  # three that never trade
    one, other = some.honesty(), more.honesty()
    assert (other.luck.trials, other.luck.known) == (6, 3)
    assert other.luck.deflated < one.luck.deflated  # three more were tried
    spread = float(some.table["sharpe"].var(ddof=1))
    assert other.luck.deflated == pytest.approx(luck_of(some._trials, Tried(6, spread)).deflated)
    assert other.pbo.probability == one.pbo.probability
    assert len(other.pbo.left_out) == 3


def test_a_sweep_in_which_nothing_trades_says_so():
    found = aq.sweep(random_walk(500, 1), never, window=[1, 2, 3]).honesty()
    assert math.isnan(found.luck.deflated)
    assert found.luck.words == "none of 3 trials has a Sharpe ratio"
    assert found.sentence == "None of 3 trials has a Sharpe ratio."
    assert math.isnan(found.pbo.probability)
    assert math.isnan(found.plateau)
    assert "nan" not in found._repr_html_()


def test_one_trial_says_nothing_about_many():
    found = aq.sweep(random_walk(500, 1), above, window=[3]).honesty()
    assert math.isnan(found.luck.deflated)
    assert "one trial" in found.luck.reason
    assert "best of 1 trial: Sharpe" in repr(found)
    assert "(one trial alone says nothing" in repr(found)


def test_the_only_one_of_many_that_trades_is_still_the_best_of_many():
    """The spread of luck is then that of one trial without an edge."""
    candles = random_walk(2_000, 8)
    sweep = aq.sweep(candles, above, window=[5], shift=[0.0, *range(1, 60)])
    found = sweep.honesty().luck
    assert (found.trials, found.known) == (60, 1)
    years = 2_000 / (365 * 24 * 12)
    expected = statistics.expected_best_sharpe(60, 1 / years)
    assert found.expected == pytest.approx(expected, rel=1e-3)
    assert 0 <= found.deflated < 0.5


def test_blocks_that_can_not_be_joined_are_refused():
    sweep = aq.sweep(random_walk(500, 1), above, window=[3, 4])
    for blocks in (2, 5, 0, 32, -2, 8.0):
        with pytest.raises(aq.StrategyError, match="expected 4 or 8 or 16. A sweep keeps"):
            sweep.honesty(blocks)


@pytest.mark.parametrize(("bars", "blocks"), [(8, 4), (31, 8), (32, 16)])
def test_few_bars_are_divided_into_few_blocks(bars, blocks):
    sweep = aq.sweep(random_walk(bars, 1), above, window=[1, 2])
    assert sweep.honesty().blocks == blocks
    with pytest.raises(aq.StrategyError, match=f"blocks={2 * blocks}: expected "):
        sweep.honesty(2 * blocks)


def test_too_few_bars_are_not_compared_but_deflated():
    sweep = aq.sweep(random_walk(7, 1), above, window=[1, 2], cost=0.0)
    found = sweep.honesty()
    assert math.isnan(found.pbo.probability)
    assert (
        found.reasons[0] == "7 bars are too few to compare blocks of time; 8 are needed at least."
    )
    with pytest.raises(aq.StrategyError, match="expected none, for there are too few bars"):
        sweep.honesty(4)


@pytest.mark.parametrize("seed", range(30))
def test_two_bars_have_a_shape_too(seed):
    """Their kurtosis is exactly 1, less in the last digit."""
    candles = random_walk(50, seed)
    sweep = aq.sweep(candles, turning, window=[1, 2], start=candles.index[-2])
    assert "sharpe" in sweep._repr_html_()
    assert sweep.luck.words in repr(sweep.heatmap())


def test_steady_returns_have_no_known_shape():
    """All digits of their variance are lost in the sums of powers."""
    closes = np.cumprod(np.where(np.arange(60) % 2, 1.01, 1.0100001))
    candles = naive.candle_table(np.append(1.0, closes[:-1]), closes)
    sweep = aq.sweep(candles, turning, window=[1, 2], cost=0.0, start=candles.index[5])
    assert math.isnan(sweep.luck.deflated)
    assert "so steady or so few" in sweep.luck.reason
    assert sweep.luck.reason in sweep._repr_html_()


def test_equal_returns_for_ever_have_no_ratio():
    candles = naive.candle_table([100.0] * 100, [100.0] * 100)
    found = aq.sweep(candles, above, window=[2, 3]).honesty()
    assert math.isnan(found.luck.deflated)
    assert found.reasons


def test_trials_that_costs_have_ruined_do_not_make_luck_look_larger():
    """The spread of what luck does can't be more than that of one trial without an edge."""
    candles = random_walk(2_000, 8)
    dear = aq.sweep(candles, above, window=range(2, 30), cost=0.02).honesty().luck
    years = 2_000 / (365 * 24 * 12)
    assert dear.expected == pytest.approx(statistics.expected_best_sharpe(28, 1 / years), rel=1e-3)


# The ledger of what was tried


def test_only_what_is_new_is_counted():
    candles = random_walk(600, 77)

    def tried(**grid):
        return aq.sweep(candles, above, **grid).honesty().tried

    assert tried(window=[2, 3, 4]) == 3
    assert tried(window=[2, 3, 4]) == 3  # the same cell, run again
    assert tried(window=[3, 4, 5]) == 4
    assert tried(window=[2, 3], shift=[0.0]) == 4  # what was the default is now a level
    assert tried(window=[2, 3], shift=[0.0, 0.1]) == 6
    assert tried(window=[2, 3], cost=[0.001, 0.002]) == 8
    assert tried(window=[2], stop_loss=[None, 0.1]) == 9
    assert tried(window=[2], timeframe=["5m", "15m"]) == 10  # 5m is that of the candles
    assert tried(window=[2], direction="short") == 11
    assert tried(window=[2], cash=1.0) == 11  # which changes no ratio
    assert tried(window=[2], start=candles.index[100]) == 12


def test_the_same_candles_in_another_table_are_the_same():
    candles = random_walk(600, 78)
    aq.sweep(candles, above, window=[2, 3])
    assert aq.sweep(candles.copy(), above, window=[4]).honesty().tried == 3
    other = candles.copy()
    other.iloc[-1, 4] += 1.0
    assert aq.sweep(other, above, window=[4]).honesty().tried == 1


def swept(candles, rule, **grid):
    return aq.sweep(candles, rule, **(grid or {"window": [2, 3]})).honesty().tried


def test_a_strategy_that_is_defined_again_is_the_same_until_it_is_changed(tmp_path):
    candles = random_walk(600, 79)
    file = tmp_path / "cell.py"
    head = "@aq.strategy\ndef rule(candles, window: int = 2):\n    'One.'\n    return "
    mean = "def mean(c, n):\n    return ema(c, n)\n"

    def tried(rule, before=""):
        source = "import astraquant as aq\nfrom astraquant.indicators import ema, sma\n"
        file.write_text(source + before + rule)
        return swept(candles, runpy.run_path(str(file))["rule"])

    assert tried(head + "candles.close > sma(candles.close, window)") == 2
    assert tried(head + "candles.close > sma(candles.close, window)") == 2
    assert tried(head.replace("One", "Two") + "candles.close > sma(candles.close, window)") == 2
    assert tried(head + "candles.close > sma(candles.open, window)") == 4
    assert tried(head + "candles.close > sma(candles.open, window) * 1.01") == 6
    assert tried(head + "candles.close > sma(candles.open, window) * K", "K = 1.01\n") == 8
    assert tried(head + "candles.close > sma(candles.open, window) * K", "K = 1.02\n") == 10
    assert tried(head + "candles.close > mean(candles.close, window)", mean) == 12
    other = mean.replace("ema", "sma")
    assert tried(head + "candles.close > mean(candles.close, window)", other) == 14


def test_what_surrounds_a_function_belongs_to_it():
    candles = random_walk(600, 81)

    def made(average, by):
        @aq.strategy
        def rule(candles, window: int = 2):
            return candles.close > average(candles.close, window) * by

        return rule

    assert swept(candles, made(sma, 1.0)) == 2
    assert swept(candles, made(sma, 1.0)) == 2
    assert swept(candles, made(ema, 1.0)) == 4
    assert swept(candles, made(ema, 1.01)) == 6


def test_numbers_that_python_hashes_alike_are_different():
    candles = random_walk(600, 82)
    assert swept(candles, above, window=[2], shift=[-1.0, -2.0]) == 2


def test_the_same_bars_by_other_words():
    candles = random_walk(600, 83)
    first, last = candles.index[0], candles.index[-1]
    assert swept(candles, above) == 2
    assert swept(candles, above, window=[2, 3], start=str(first)) == 2
    assert swept(candles, above, window=[2, 3], end=last + pd.Timedelta("1d")) == 2
    assert swept(candles, above, window=[2, 3], start=candles.index[10]) == 4
    assert swept(candles, above, window=[2, 3], start=candles.index[9] + pd.Timedelta("1min")) == 4


def test_to_sweep_the_winner_alone_does_not_hide_the_search():
    """Number and spread are those of all that was tried."""
    candles = random_walk(3_000, 84)
    wide = aq.sweep(candles, turning, window=range(1, 60), cost=0.0).honesty()
    best = wide.luck.best[0]
    near = aq.sweep(candles, turning, window=[best], cost=[0.0, 1e-9]).honesty()
    alone = aq.sweep(candles, turning, window=[best], cost=[0.0]).honesty()
    assert (wide.tried, near.tried, alone.tried) == (59, 60, 60)
    assert near.luck.deflated > wide.luck.deflated  # two of the same: no search at all
    assert near.deflated_by_all == pytest.approx(wide.luck.deflated, abs=0.05)
    assert alone.deflated_by_all == pytest.approx(near.deflated_by_all)
    assert math.isnan(alone.luck.deflated)


def test_what_changes_from_run_to_run_is_not_in_the_repr():
    candles = random_walk(600, 80)
    before = aq.sweep(candles, above, window=[2, 3]).honesty()
    aq.sweep(candles, above, window=range(4, 90))
    sweep = aq.sweep(candles, above, window=[2, 3])
    after = sweep.honesty()
    assert (before.tried, after.tried) == (2, 88)
    assert repr(before) == repr(after)
    assert before.deflated_by_all == before.luck.deflated
    assert after.deflated_by_all != before.deflated_by_all
    ratios = aq.sweep(candles, above, window=range(2, 90)).table["sharpe"]
    tried = tried_on(sweep._trials.candles)
    assert tried == (88, pytest.approx(float(ratios.var(ddof=1))))
    assert after.deflated_by_all == luck_of(sweep._trials, tried).deflated


# The neighbours


def test_the_plateau_is_the_mean_of_the_cells_around_the_best():
    sweep = aq.sweep(random_walk(3_000, 5), above, window=[9, 2, 5, 4], shift=[0.002, 0.0, 0.001])
    found = sweep.honesty()
    window, shift = found.luck.best
    order, shifts = [2, 4, 5, 9], [0.0, 0.001, 0.002]
    near = [
        (w, s)
        for w in order
        for s in shifts
        if abs(order.index(w) - order.index(window)) <= 1
        and abs(shifts.index(s) - shifts.index(shift)) <= 1
        and (w, s) != (window, shift)
    ]
    known = sweep.table["sharpe"].loc[near].dropna()
    assert found.neighbours == len(known)
    if found.luck.sharpe > 0:
        assert found.plateau == pytest.approx(known.mean() / found.luck.sharpe)
    else:
        assert math.isnan(found.plateau)


def test_names_have_no_neighbours():
    candles = random_walk(3_000, 5)
    sweep = aq.sweep(candles, above, window=[2, 3, 4], timeframe=["5m", "15m"])
    window, _ = sweep.honesty().luck.best
    assert sweep.honesty().neighbours == {2: 1, 3: 2, 4: 1}[window]


# What is shown


def test_every_picture_and_table_says_how_much_is_luck():
    sweep = aq.sweep(random_walk(3_000, 5), above, window=[2, 3, 4], shift=[0.0, 0.001])
    words = sweep.honesty().luck.words
    assert words.startswith("best of 6 trials: Sharpe ")
    assert "probability that it beats luck 0." in words or "luck 1." in words
    assert words in repr(sweep.heatmap())
    assert f"of the whole sweep, {words}" in repr(sweep.heatmap("sharpe", shift=0.0))
    assert f"of the whole sweep, {words}" in repr(sweep.heatmap("total_return"))
    assert words[1:] in sweep._repr_html_()


def test_an_edge_is_told_from_luck():
    market = aq.markets.ar1(8_000, 0.2, seed=4).candles
    options = {"direction": "both", "cost": 0.0}
    edge = aq.sweep(market, momentum, window=range(1, 21), **options).honesty()
    assert edge.luck.best == (1,)
    assert edge.luck.deflated > 0.95
    assert "so this is more than luck would bring" in edge.sentence
    noise = aq.markets.random_walk(8_000, seed=4).candles
    luck = aq.sweep(noise, momentum, window=range(1, 21), **options).honesty()
    assert luck.luck.deflated < 0.95
    assert "luck brings on average" in luck.sentence or "no more than luck" in luck.sentence
    assert edge.pbo.probability < 0.05
    assert edge.reality_check.hansen < 0.05 < luck.reality_check.hansen
