"""The picture of overfitting: every split in a bar, dots that are splits, and what it says."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pytest
from drawn import of_kind
from hypothesis import given
from hypothesis import strategies as st

import astraquant as aq
from astraquant.honesty import Honesty, Luck
from astraquant.statistics import Pbo, RealityCheck
from astraquant.strategies import momentum
from astraquant.widgets import style
from astraquant.widgets.luck_picture import BINS, DOTS, luck_picture

NAN = math.nan
ratios = st.floats(-1e3, 1e3).map(lambda x: round(x, 6))


def made(
    inside: Any, outside: Any, places: Any, trials: int, band: tuple[float, float] = (0.2, 0.8)
) -> Honesty:
    """What honesty would be of these splits; ``places``: 1 is the worst out of sample."""
    x, y = np.array(inside, dtype=float), np.array(outside, dtype=float)
    ranks = np.array(places, dtype=float) / (trials + 1)
    slope = float(np.polyfit(x, y, 1)[0]) if len(x) and np.ptp(x) > 1e-3 else NAN
    share = float(np.mean(ranks <= 0.5)) if len(x) else NAN
    why = "" if len(x) else "1 of 1 trials vary; expected two at least to compare"
    pbo = Pbo(share, band, slope, 0.0, x, y, ranks, trials, (), 16, len(x), why)
    luck = Luck(trials, trials, (1,), 2.0, 1.0, 0.9)
    check = RealityCheck(0.5, 0.5, 1.0, 0, trials, (), 16.0, 99)
    return Honesty(luck, pbo, check, 0.5, 2, 16, None, trials, 0.9)


def parts(widget: Any) -> tuple[str, list[bq.Figure]]:
    """All that it says, and its figures, from left to right and down."""
    inside = [parts(child) for child in getattr(widget, "children", ())]
    said = widget.value if isinstance(widget, ipw.HTML) else ""
    drawn = [widget] if isinstance(widget, bq.Figure) else []
    return " ".join([said, *(text for text, _ in inside)]), drawn + [
        f for _, fs in inside for f in fs
    ]


@st.composite
def splits(draw: st.DrawFn) -> Honesty:
    trials = draw(st.integers(2, 130))
    place = st.integers(2, 2 * trials).map(lambda twice: twice / 2)  # equals share their ranks
    rows = draw(st.lists(st.tuples(ratios, ratios, place), min_size=2, max_size=40))
    return made(*zip(*rows, strict=True), trials)


@given(splits())
def test_every_split_is_in_a_bar_and_a_dot_and_all_is_in_view(honesty: Honesty) -> None:
    pbo = honesty.pbo
    _, (dots, ranks, band) = parts(luck_picture(honesty))
    (bars,) = of_kind(ranks, bq.Bars)
    worse, better = bars.y
    assert worse.sum() == pytest.approx(pbo.probability)
    assert worse.sum() + better.sum() == pytest.approx(1.0)
    count = len(bars.x)
    assert count <= BINS
    assert count % 2 == 0
    for k in range(count):
        inside = [rank for rank in pbo.ranks if k < rank * count <= k + 1]
        assert worse[k] + better[k] == pytest.approx(len(inside) / pbo.splits)
        assert (worse if k >= count / 2 else better)[k] == 0
    assert bars.y.sum(axis=0).max() < ranks.axes[1].scale.max

    drawn = [
        (x, y, mark.colors[0] == style.DRAWDOWN)
        for mark in of_kind(dots, bq.Scatter)
        for x, y in zip(mark.x, mark.y, strict=True)
    ]
    sent = (figures.astype(np.float32) for figures in (pbo.in_sample, pbo.out_of_sample))
    expected = zip(*sent, pbo.ranks <= 0.5, strict=True)
    assert sorted(drawn) == sorted(expected)
    x, y = dots.axes[0].scale, dots.axes[1].scale
    assert x.min < pbo.in_sample.min() <= pbo.in_sample.max() < x.max
    assert y.min < min(pbo.out_of_sample.min(), 0.0)
    assert y.max > max(pbo.out_of_sample.max(), 0.0)
    (mark,) = of_kind(band, bq.Scatter)
    assert mark.x[0] == pbo.probability


def test_lines_are_as_in_sample_zero_and_the_regression() -> None:
    inside, outside = [1.0, 2.0, 3.0, 4.0], [1.5, 0.5, 1.0, -2.0]
    said, (dots, _, band) = parts(luck_picture(made(inside, outside, [1, 2, 3, 4], 4)))
    same, zero, trend = of_kind(dots, bq.Lines)
    np.testing.assert_array_equal(same.y, same.x)
    np.testing.assert_array_equal(zero.y, [0.0, 0.0])
    slope, height = np.polyfit(inside, outside, 1)
    np.testing.assert_allclose(trend.y, height + slope * trend.x)
    assert f"slope {slope:.2f}: the better in sample, the worse out of sample" in said
    assert "about -1 if one trial is always chosen" in said
    (noise,) = of_kind(band, bq.Lines)
    assert (noise.x.min(), noise.x.max()) == (0.2, 0.8)


def test_a_slope_that_rises_and_one_that_is_none_are_said() -> None:
    said, _ = parts(luck_picture(made([1, 2], [1, 3], [1, 2], 2)))
    assert "slope 2.00: what was better in sample was no worse out of sample" in said
    said, (dots, _, _) = parts(luck_picture(made([1, 1], [1, 3], [1, 2], 2)))
    assert "no slope: in sample every choice was equally good" in said
    assert len(of_kind(dots, bq.Lines)) == 2


def test_of_many_splits_so_many_are_drawn_whatever_their_order() -> None:
    rng = np.random.default_rng(3)
    rows = np.array([rng.normal(size=5_000), rng.normal(size=5_000), rng.integers(1, 100, 5_000)])
    rows = rows.astype(np.float32)  # as they are sent
    pictures = [
        luck_picture(made(*rows[:, order], 99)) for order in (range(5_000), rng.permutation(5_000))
    ]
    both = []
    for picture in pictures:
        said, (dots, ranks, _) = parts(picture)
        assert f"a dot for each split ({DOTS:,} of 5,000 drawn)" in said
        marks = of_kind(dots, bq.Scatter)
        both.append(np.concatenate([np.array([mark.x, mark.y]) for mark in marks], axis=1))
        assert of_kind(ranks, bq.Bars)[0].y.sum() == pytest.approx(1.0)  # all of them are counted
    np.testing.assert_array_equal(*both)
    drawn = both[0]
    assert drawn.shape == (2, DOTS)
    assert {*map(tuple, drawn.T)} <= {*map(tuple, rows[:2].T)}
    assert (drawn[0].min(), drawn[0].max()) == (rows[0].min(), rows[0].max())


@pytest.mark.parametrize(
    ("band", "place"), [((0.7, 0.9), "below"), ((0.1, 0.3), "above"), ((0.2, 0.8), "within")]
)
def test_words_say_what_it_means(band: tuple[float, float], place: str) -> None:
    honesty = made([1, 2, 3, 4, 5, 6, 7, 8], [0] * 8, [1, 2, 2, 5, 9, 9, 6, 7], 9, band)
    widget = luck_picture(honesty)
    said, _ = parts(widget)
    assert "PBO 0.50: in 50 % of the splits the chosen one was in the worse half" in said
    assert "worse half (4 splits)" in said
    assert "better half (4)" in said
    assert f"PBO of this sweep: {place} what noise gives" in said
    assert f"noise gives {band[0]:.2f} to {band[1]:.2f}" in said
    assert "9 trials · 16 blocks of time, 8 ways to take half of them" in said
    assert "drawn)" not in said
    assert "synthetic prices" not in said
    assert repr(widget) == "LuckChart(9 trials, PBO 0.50, 8 splits)"


def test_trials_that_took_no_part_and_simulated_prices_are_told() -> None:
    honesty = made([1, 2], [1, 3], [1, 2], 2)
    pbo = dataclasses.replace(honesty.pbo, left_out=(4, 7))
    told = dataclasses.replace(honesty, pbo=pbo, source="synthetic market: random walk")
    said, _ = parts(luck_picture(told))
    assert "2 trials (2 more never vary)" in said
    assert "synthetic prices" in said


def test_without_a_figure_it_says_why() -> None:
    widget = luck_picture(made([], [], [], 1, (NAN, NAN)))
    said, drawn = parts(widget)
    assert drawn == []
    assert "Nothing to draw:" in said
    assert "1 of 1 trials vary; expected two at least to compare." in said
    assert repr(widget).startswith("LuckChart(nothing to draw: 1 of 1 trials")


def test_the_honesty_of_a_sweep_is_drawn() -> None:
    candles = aq.markets.random_walk(600, seed=2).candles
    sweep = aq.sweep(candles, momentum, direction="both", cost=0.0, window=range(2, 12))
    honesty = sweep.honesty(8)
    said, drawn = parts(honesty.plot())
    assert f"PBO {honesty.pbo.probability:.2f}: in " in said
    assert "synthetic prices" in said
    assert len(drawn) == 3
    nothing, drawn = parts(aq.sweep(candles, momentum, window=[2]).honesty().plot())
    assert "Nothing to draw:" in nothing
    assert drawn == []
