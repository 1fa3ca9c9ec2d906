"""The picture of a permutation test: every market in a bar, the observed best where it belongs."""

from __future__ import annotations

import dataclasses
import math

import bqplot as bq
import numpy as np
import pytest
from drawn import figures, of_kind, texts
from hypothesis import given
from hypothesis import strategies as st

from astraquant.permutations import PermutationTest
from astraquant.widgets import style
from astraquant.widgets.null_picture import FEWEST_BINS, MOST_BINS, null_chart

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))


def made_test(observed: float, null: list[float], metric: str = "sharpe") -> PermutationTest:
    return PermutationTest(
        0.05, observed, np.array(null), metric, len(null), 0, 1, 12, "ma_cross",
        "2023-01-01 to 2023-12-31",
    )  # fmt: skip


@given(
    numbers,
    st.lists(numbers | st.just(math.nan), min_size=1, max_size=60),
    st.booleans(),
    numbers | st.just(math.nan),
)
def test_every_market_is_in_a_bar_and_the_lines_in_view(
    observed: float, null: list[float], lower: bool, held: float
) -> None:
    test = made_test(observed, null, "fees_paid" if lower else "sharpe")
    test = dataclasses.replace(test, buy_and_hold=held)
    widget = null_chart(test)
    (figure,) = figures(widget)
    (bars,) = of_kind(figure, bq.Bars)
    (line, *thin), (label, *lower_label) = (of_kind(figure, k) for k in (bq.Lines, bq.Label))
    assert len(thin) == len(lower_label) == (not math.isnan(held))
    known = [value for value in null if not math.isnan(value)]
    beaten = [v for v in known if (v <= observed if lower else v >= observed)]
    assert bars.y.sum(axis=1).tolist() == [len(known) - len(beaten), len(beaten)]
    assert FEWEST_BINS <= bars.y.shape[1] <= MOST_BINS + 4
    assert (bars.y.sum(axis=0) > 0).sum() <= MOST_BINS + 1
    x, y = figure.axes[0].scale, figure.axes[1].scale
    assert x.min < line.x[0] == line.x[1] == observed < x.max
    assert bars.y.sum(axis=0).max() < line.y[1] < y.max
    assert label.align == ("start" if observed < (x.min + x.max) / 2 else "end")
    for other, text in zip(thin, lower_label, strict=True):
        assert x.min < other.x[0] == other.x[1] == held < x.max
        assert other.stroke_width < line.stroke_width
        assert bars.y.sum(axis=0).max() < text.y[0] < label.y[0]
        assert text.text[0].startswith("holding: ")
    assert ("buying once and holding" in texts(widget)) == bool(thin)
    assert f"({len(beaten):,})" in texts(widget)
    assert ("no value" in texts(widget)) == (len(known) < len(null))
    assert len(figure.axes[0].tick_values) >= 1
    assert np.all(figure.axes[1].tick_values == np.rint(figure.axes[1].tick_values))


def test_bars_lie_where_their_values_are() -> None:
    null = [0.103, 0.11, 0.12, 0.404, 0.904, 1.304, 1.31]  # none on an edge
    (figure,) = figures(null_chart(made_test(1.0, null)))
    (bars,) = of_kind(figure, bq.Bars)
    width = bars.x[1] - bars.x[0]
    for middle, count in zip(bars.x, bars.y.sum(axis=0), strict=True):
        inside = [value for value in null if middle - width / 2 <= value < middle + width / 2]
        assert count == len(inside)


def test_words_units_and_the_badge() -> None:
    test = made_test(0.345, [0.1, 0.2, 0.4], "total_return")
    widget = null_chart(test)
    said = texts(widget)
    assert "p = 0.05: of 3 shuffled markets, where nothing can be known, one gave a best" in said
    assert "ma_cross · 12 trials · 2023-01-01 to 2023-12-31" in said
    assert "synthetic prices" not in said
    (figure,) = figures(widget)
    assert figure.axes[0].label == "best total return (%)"
    assert figure.axes[0].tick_format.endswith("%")
    assert list(of_kind(figure, bq.Label)[0].text) == ["observed best: total return 34.50%"]
    assert repr(widget) == "NullChart(ma_cross, best total_return, p = 0.05, 3 markets)"
    labelled = null_chart(dataclasses.replace(test, source="synthetic market: random walk"))
    assert "synthetic prices" in texts(labelled)


@pytest.mark.parametrize("null", [[1.0, 9.0], [1.0, 4.0, 9.0], [-1.0, 0.0, 2.0, 9.0, 12.0]])
def test_a_few_markets_make_narrow_bars(null: list[float]) -> None:
    (figure,) = figures(null_chart(made_test(5.0, null)))
    (bars,) = of_kind(figure, bq.Bars)
    span, scale = max(null) - min(null), figure.axes[0].scale
    assert bars.x[1] - bars.x[0] < span / 6
    assert scale.max - scale.min < 2 * span


@pytest.mark.parametrize("null", [[math.nan], [math.nan] * 30, [2.0] * 30])
def test_what_has_no_spread_is_drawn_too(null: list[float]) -> None:
    (figure,) = figures(null_chart(made_test(2.0, null)))
    assert of_kind(figure, bq.Lines)[0].colors == [style.EQUITY]
