"""The permutation test: markets of the same bars, and the same search on each of them."""

from __future__ import annotations

import math
import signal

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_backtesting import markets as tables
from test_backtesting import random_walk, ups

import astraquant as aq
from astraquant import markets, strategies
from astraquant.candles import PRICES, check_candles, is_synthetic
from astraquant.permutations import HELD, PermutationTest, permute_candles
from astraquant.strategies import ma_cross, momentum


def ratios_of(candles):
    """Each bar but the first as ratios to the close before, with its volume: (bars - 1, 5)."""
    before = candles["close"].to_numpy()[:-1, None]
    prices = candles[list(PRICES)].to_numpy()[1:] / before
    return np.column_stack([prices, candles["volume"].to_numpy()[1:]])


def sources_of(made, candles):
    """Which bar of ``candles`` each bar of a permuted table is (the first of like ones)."""
    original, found = ratios_of(candles), ratios_of(made)
    original[:, :4] /= original[:, 3].mean()
    near = np.isclose(found[:, None], original[None], rtol=3e-6, atol=0).all(axis=2)
    assert near.any(axis=1).all()
    return near.argmax(axis=1)


def sweep_of(candles, **options):
    options = {"direction": "both", "cost": 0.0, **options}
    return aq.sweep(candles, momentum, window=[1, 2, 3, 5, 8], **options)


# The permuted table


@given(tables(most=40), st.integers(0, 2**32), st.floats(1, 12))
def test_every_bar_comes_from_the_table(candles, seed, block):
    if len(candles) < 2:
        return
    block = min(block, len(candles) - 0.5)
    made = permute_candles(candles, np.random.default_rng(seed), block)
    assert check_candles(made) is made
    assert made.index.equals(candles.index)
    assert is_synthetic(made.attrs["source"])
    pd.testing.assert_frame_equal(made.iloc[:1], candles.iloc[:1])
    sources_of(made, candles)
    again = permute_candles(candles, np.random.default_rng(seed), block)
    pd.testing.assert_frame_equal(made, again, check_exact=True)


def test_the_price_is_a_martingale():
    candles = markets.ar1(2_000, 0.2, seed=5).candles
    closes = candles["close"] * 1.0003 ** np.arange(2_000)  # a market that rises a lot
    candles = naive.candle_table(np.r_[100.0, closes[:-1]], closes)
    own = np.diff(closes) / closes[:-1]
    kept = np.corrcoef(own, np.roll(own, 1))[0, 1]
    for block in (1, 30):
        made = [
            np.diff(np.log(permute_candles(candles, np.random.default_rng(k), block)["close"]))
            for k in range(100)
        ]
        returns = np.expm1(np.array(made))
        error = 0.005 / math.sqrt(returns.size) * (1 if block == 1 else 1.3)
        assert abs(returns.mean()) < 4 * error
        product = (returns[:, 1:] * returns[:, :-1]).mean() / returns.var()
        known = kept * (1 - 1 / block)  # of the next one: blocks keep most of it
        assert product == pytest.approx(known, abs=5 / math.sqrt(returns.size))


def test_the_mean_ratio_of_what_is_drawn_from_is_one():
    candles = random_walk(500, 3)
    made = permute_candles(candles, np.random.default_rng(0))
    source = sources_of(made, candles)
    close = candles["close"].to_numpy()
    mean = (close[1:] / close[:-1]).mean()
    kept = ratios_of(made)[:, 3] * mean
    np.testing.assert_allclose(kept, (close[1:] / close[:-1])[source], rtol=1e-9)


@pytest.mark.parametrize("block", [1, 4, 25.5])
def test_blocks_are_as_long_as_asked(block):
    candles = random_walk(1_500, 1)
    runs = []
    for seed in range(10):
        source = sources_of(permute_candles(candles, np.random.default_rng(seed), block), candles)
        follows = np.diff(source) % (len(candles) - 1) == 1  # after the last comes the first
        runs.append((~follows).mean())
    assert np.mean(runs) == pytest.approx(1 / block, rel=0.08)


def test_gaps_stay_where_they_are_and_other_columns_do_not():
    candles = random_walk(300, 2).drop(random_walk(300, 2).index[100:130])
    candles["trades"] = 5.0
    candles.attrs = {"source": "Binance archive", "symbol": "BTCUSDT"}
    made = permute_candles(candles, np.random.default_rng(1))
    pd.testing.assert_frame_equal(aq.find_gaps(made), aq.find_gaps(candles))
    assert list(made.columns) == ["open", "high", "low", "close", "volume"]
    told = "synthetic: bars drawn at random from Binance archive"
    assert made.attrs == {"source": told, "symbol": "BTCUSDT"}
    assert candles.attrs["source"] == "Binance archive"


@pytest.mark.parametrize(
    ("bars", "block", "text"),
    [
        (1, 1, r"1 candle\(s\) to draw from; expected at least 2"),
        (
            50,
            50,
            "block=50; expected a mean length of at least 1 bar, shorter than the 50 bars to draw",
        ),
        (50, 0.5, "block=0.5"),
        (50, math.nan, "block=nan"),
        (50, "10", "block='10'"),
    ],
)
def test_what_cannot_be_permuted_is_refused(bars, block, text):
    with pytest.raises(aq.DataError, match=text):
        permute_candles(random_walk(bars, 0), np.random.default_rng(0), block)


def test_prices_that_leave_the_range_of_numbers_are_refused():
    closes = np.where(np.arange(20_000) % 2, 1.0, 1e3)
    candles = naive.candle_table(closes, closes)
    with pytest.raises(aq.DataError, match="leave the range of numbers"):
        permute_candles(candles, np.random.default_rng(0))


def test_prices_have_eight_decimals():
    candles = random_walk(400, 7)
    for block in (1, 5):
        made = permute_candles(candles, np.random.default_rng(3), block)[list(PRICES)].to_numpy()
        assert (made == np.round(made, 8)).all()


@given(tables(most=40).filter(lambda t: len(t) > 5), st.data(), st.floats(1, 3))
def test_each_part_is_drawn_from_itself(candles, data, block):
    first = data.draw(st.integers(0, len(candles) - 4))
    last = data.draw(st.integers(first + 4, len(candles)))
    start = candles.index[first]
    end = None if last == len(candles) else candles.index[last]
    made = permute_candles(candles, np.random.default_rng(1), block, start=start, end=end)
    assert check_candles(made) is made
    pd.testing.assert_frame_equal(made.iloc[:1], candles.iloc[:1])
    original, found = ratios_of(candles), ratios_of(made)
    for begin, stop in ((1, first), (max(first, 1), last), (last, len(candles))):
        part = slice(begin - 1, stop - 1)
        if begin < stop:
            known = original[part] / [*[original[part, 3].mean()] * 4, 1.0]
            near = np.isclose(found[part][:, None], known[None], rtol=3e-6, atol=0).all(axis=2)
            assert near.any(axis=1).all()


def test_a_start_and_an_end_that_cut_nothing_change_nothing():
    candles = random_walk(200, 4)
    whole = permute_candles(candles, np.random.default_rng(2), 3)
    for start, end in ((candles.index[0], None), ("1999-01-01", "2099-01-01")):
        cut = permute_candles(candles, np.random.default_rng(2), 3, start=start, end=end)
        pd.testing.assert_frame_equal(whole, cut, check_exact=True)


def test_one_evaluated_bar_is_too_few():
    candles = random_walk(200, 4)
    for span in ({"start": candles.index[-1]}, {"end": candles.index[1]}, {"start": "2099-01-01"}):
        with pytest.raises(aq.DataError, match=r"[01] candle\(s\) to draw from"):
            permute_candles(candles, np.random.default_rng(0), **span)


# The test


def test_the_null_is_the_same_search_on_permuted_tables():
    candles = random_walk(700, 4, volatility=0.02)
    options = {"cost": [0.0, 0.001], "timeframe": ["5m", "15m"], "stop_loss": 0.05, "fill": "close"}
    options |= {"start": candles.index[200], "end": candles.index[-50], "slippage": 0.0001}
    result = sweep_of(candles, **options)
    for metric in ("total_return", "fees_paid"):
        test = result.permutation_test(5, metric=metric, block=3, seed=8)
        assert test.observed == result.best(metric)[metric]
        part = {name: options[name] for name in ("start", "end")}
        draws = [np.random.default_rng([8, k]) for k in range(5)]
        tables = [permute_candles(candles, draw, 3, **part) for draw in draws]
        by_hand = [sweep_of(table, **options).best(metric)[metric] for table in tables]
        assert test.null.tolist() == by_hand
        better = [
            b <= test.observed if metric == "fees_paid" else b >= test.observed for b in by_hand
        ]
        assert test.beaten == sum(better)
        assert test.p_value == (1 + sum(better)) / 6
    assert (test.n, test.seed, test.block, test.trials) == (5, 8, 3, 20)


def test_vectorbt_gives_the_same_null():
    candles = random_walk(200, 4)
    tests = [sweep_of(candles, engine=e).permutation_test(2) for e in ("auto", "vectorbt")]
    np.testing.assert_allclose(tests[0].null, tests[1].null, rtol=1e-9)


def test_a_longer_test_continues_a_shorter_one():
    result = sweep_of(random_walk(300, 6))
    short, long = result.permutation_test(4, seed=2), result.permutation_test(9, seed=2)
    assert long.null[:4].tolist() == short.null.tolist()
    assert len(set(long.null)) == 9
    assert result.permutation_test(4, seed=3).null.tolist() != short.null.tolist()


def test_an_edge_is_found_and_hidden_by_blocks_that_hold_it():
    result = sweep_of(markets.ar1(1_500, 0.2, seed=2).candles)
    test = result.permutation_test(39)
    assert test.p_value == 1 / 40
    assert "none gave a best at least as good" in test.answer
    # Of neighbours that stay together 49 times of 50 the shuffled market knows as much.
    assert result.permutation_test(39, block=50).p_value > 0.2


def test_on_random_walks_p_is_about_uniform():
    found = np.array(
        [
            sweep_of(markets.random_walk(250, seed=k).candles).permutation_test(9, seed=k).p_value
            for k in range(60)
        ]
    )
    assert set(found) <= {k / 10 for k in range(1, 11)}
    assert found.mean() == pytest.approx(0.55, abs=3 * 0.287 / math.sqrt(60))
    for level in (0.1, 0.3, 0.5, 0.8):
        spread = math.sqrt(level * (1 - level) / 60)
        assert (found <= level + 1e-9).mean() == pytest.approx(level, abs=3 * spread)


def test_a_calm_time_before_the_evaluated_one_does_not_matter():
    found = []
    for seed in range(30):
        draw = np.random.default_rng([7, seed]).standard_normal(3_000)
        closes = 100 * np.cumprod(1 + draw * np.repeat([0.001, 0.01], [2_500, 500]))
        candles = naive.candle_table(np.r_[100.0, closes[:-1]], closes)
        result = sweep_of(candles, start=candles.index[2_500])
        found.append(result.permutation_test(19, metric="total_return", seed=seed).p_value)
    assert np.mean(found) == pytest.approx(0.525, abs=3 * 0.288 / math.sqrt(30))
    for level in (0.1, 0.5):
        spread = math.sqrt(level * (1 - level) / 30)
        share = (np.array(found) <= level + 1e-9).mean()
        assert share == pytest.approx(level, abs=3 * spread)


# Holding


def rising(seed, drift=0.001):
    """A random walk with a drift: nothing to know but that it rises."""
    closes = 100 * np.cumprod(1 + drift + 0.01 * np.random.default_rng(seed).standard_normal(600))
    return naive.candle_table(np.r_[100.0, closes[:-1]], closes)


@pytest.mark.parametrize("fill", ["open", "close"])
def test_holding_is_the_run_that_holds(fill):
    candles, options = rising(3), {"fill": fill, "slippage": 0.001}
    if fill == "close":  # at the open, one with a warm-up would buy a bar sooner than the contract
        options["start"] = candles.index[30]
    result = aq.sweep(
        candles, momentum, window=[3, 9], cost=[0.0, 0.002], timeframe=["5m", "15m"],
        stop_loss=0.01, **options,
    )  # fmt: skip
    held = [
        aq.backtest(candles, strategies.buy_and_hold, cost=cost, timeframe=frame, **options)
        for cost in (0.0, 0.002)
        for frame in ("5m", "15m")
    ]
    for metric in sorted(HELD):
        test = result.permutation_test(1, metric=metric)
        assert test.buy_and_hold == pytest.approx(max(run.metrics[metric] for run in held))
    for metric in ("win_rate", "turnover", "exposure"):
        assert math.isnan(result.permutation_test(1, metric=metric).buy_and_hold)


def test_a_drift_is_named():
    words = "the shuffled markets do not rise, so the drift counts as skill here"
    test = sweep_of(rising(1), direction="long").permutation_test(3)
    holding = f"{test.buy_and_hold:.2f}"
    assert test.answer.startswith(f"{test.verdict}. Holding has {holding}")
    assert test.answer.endswith(f": {words}")
    html = test._repr_html_()
    assert f"; holding has {holding}." in html and "do not rise on average" not in html
    rate = sweep_of(rising(1), direction="long").permutation_test(3, metric="win_rate")
    assert rate.answer == f"{rate.verdict}. {words.capitalize()}"
    assert "holding has" not in rate._repr_html_()


@pytest.mark.parametrize(
    ("observed", "held", "direction", "rise", "said"),
    [
        (3.0, 2.0, "long", 0.1, "Holding has 2.00: the shuffled markets do not rise, so "),
        (
            2.0,
            2.0,
            "both",
            0.1,
            "Holding has 2.00, at least as good: the shuffled markets do not rise",
        ),
        (3.0, 2.0, "both", 0.1, ""),
        (3.0, -2.0, "long", -0.1, ""),
        (-3.0, -2.0, "both", -0.1, "Holding has -2.00, at least as good"),
        (3.0, -2.0, "short", -0.1, "Holding has -2.00: the shuffled markets do not fall, so "),
        (3.0, math.nan, "long", 0.1, "The shuffled markets do not rise"),
        (3.0, math.nan, "both", 0.1, ""),
    ],
)
def test_when_holding_is_named(observed, held, direction, rise, said):
    test = PermutationTest(
        0.5, observed, np.zeros(1), "sharpe", 1, 0, 1, 5, "ma_cross", "a day",
        buy_and_hold=held, direction=direction, rise=rise,
    )  # fmt: skip
    assert test.drift.startswith(said) and bool(test.drift) == bool(said)
    assert test.answer == (f"{test.verdict}. {test.drift}" if said else test.verdict)


def test_a_shuffled_market_without_a_value_did_not_beat():
    candles = random_walk(120, 5)
    highest = float(candles["close"].iloc[:-2].max())  # which few of the others reach
    result = aq.sweep(candles, ups, level=[highest - 0.01, 1e9], cost=0.0)
    test = result.permutation_test(20)
    assert 0 < np.isnan(test.null).sum() < 20
    assert test.beaten == sum(value >= test.observed for value in test.null)
    assert test.p_value == (1 + test.beaten) / 21
    assert len(test._repr_html_()) > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 0}, "n=0; expected a whole number from 1 on"),
        ({"n": 2.0}, "n=2.0"),
        ({"n": True}, "n=True"),
        ({"seed": -1}, "seed=-1; expected a whole number from 0 on"),
        ({"metric": "sharp"}, "Did you mean 'sharpe'"),
        ({"block": 300}, "block=300; expected a mean length"),
    ],
)
def test_what_cannot_be_tested_is_refused(options, text):
    result = sweep_of(random_walk(300, 6))
    with pytest.raises(aq.AstraQuantError, match=text):
        result.permutation_test(**{"n": 3, **options})


def test_a_sweep_without_a_value_is_refused():
    result = aq.sweep(random_walk(100, 5), ups, level=[1e9, 1e8])
    with pytest.raises(aq.StrategyError, match="no combination has a sharpe"):
        result.permutation_test(3)


@pytest.fixture
def interruptible():
    """SIGINT raises, even if pytest was started in the background and would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_passes_and_leaves_all_as_it_was(interruptible):
    calls = []

    @aq.strategy
    def interrupting(candles, level: int = 100):
        calls.append(level)
        if len(calls) == 11:  # in the midst of the second shuffled market
            signal.raise_signal(signal.SIGINT)
        return np.asarray(candles.close) > level

    result = aq.sweep(random_walk(300, 6), interrupting, level=[99, 100])
    before = result.table.copy()
    with pytest.raises(KeyboardInterrupt):
        result.permutation_test(10)
    assert len(calls) == 11
    pd.testing.assert_frame_equal(result.table, before)
    assert len(result.permutation_test(2).null) == 2


def test_it_says_itself_in_words():
    test = sweep_of(random_walk(300, 6)).permutation_test(3, metric="total_return")
    assert repr(test).startswith("<PermutationTest of momentum: p = ")
    assert "of 5 trials against 3 shuffled markets>" in repr(test)
    html = test._repr_html_()
    assert test.answer in html and "do not rise on average" in html
    assert "simulated" not in html
    market = markets.random_walk(300)
    alone = sweep_of(market.candles, start="2018-01-05").permutation_test(1)
    assert "of one shuffled market" in alone.answer
    assert "These prices are simulated: synthetic market: random walk" in alone._repr_html_()
    assert "momentum, 2018-01-05 to 2018-01-13" in alone._repr_html_()
    assert ma_cross.name not in repr(alone)
