"""The picture of a walk-forward: what it draws, says and refuses."""

from __future__ import annotations

from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd
import pytest
from drawn import figures, of_kind, texts

import astraquant as aq
from astraquant.widgets import style
from astraquant.widgets.walk_picture import walk_chart

START = pd.Timestamp("2023-01-01", tz="UTC")
LEVELS: dict[str, tuple[Any, ...]] = {
    "window": tuple(range(5, 50, 5)),
    "kind": ("sma", "ema", "wma"),
    "stop": (0.5, 0.1),
}


def windows(count: int, **columns: list[Any]) -> pd.DataFrame:
    """Ten-day tests, one after the other, with what was chosen."""
    begins = pd.DatetimeIndex([START + pd.Timedelta(days=10 * k) for k in range(count)])
    given = {
        "window": [LEVELS["window"][k % 9] for k in range(count)],
        "kind": [LEVELS["kind"][k % 3] for k in range(count)],
        "stop": [LEVELS["stop"][k % 2] for k in range(count)],
        "in_sample": [1.0 + k for k in range(count)],
        "out_of_sample": [0.5 * k for k in range(count)],
    }
    spans = {"test_start": begins, "test_end": begins + pd.Timedelta(days=10)}
    return pd.DataFrame({**spans, **given, **columns})


def curve(count: int, growth: float) -> pd.Series:
    times = pd.date_range(START, periods=240 * count, freq="1h", name="time")
    return pd.Series(10_000 * np.linspace(1, growth, len(times)), times)


def draw(table: pd.DataFrame, **options: Any) -> Any:
    count = max(len(table), 1)
    curves = {
        name: curve(count, growth)
        for name, growth in (("buy and hold", 1.2), ("walk-forward", 1.5))
    }
    given = {"metric": "sharpe", "title": "ma_cross", **options}
    return walk_chart(table, LEVELS, given.pop("curves", curves), **given)


def test_each_parameter_is_a_line_of_steps_over_the_time_of_equity() -> None:
    chart = draw(windows(4))
    assert repr(chart) == "WalkChart(ma_cross, 4 windows)"
    equity, window, kind, stop, promise = figures(chart)
    line = of_kind(window, bq.Lines)[0]
    np.testing.assert_array_equal(np.ravel(line.y), [5, 5, 10, 10, 15, 15, 20, 20])
    assert line.x[0] == np.datetime64("2023-01-01", "ms")
    assert (line.x[1:-1:2] == line.x[2::2]).all()  # each lasts until the next
    np.testing.assert_array_equal(np.ravel(of_kind(kind, bq.Lines)[0].y), [0, 0, 1, 1, 2, 2, 0, 0])
    assert kind.axes[1].tick_labels == {"0": "sma", "1": "ema", "2": "wma"}
    assert stop.axes[1].tick_labels == {"0": "0.1", "1": "0.5"}  # the larger lies above
    assert window.axes[0].label == kind.axes[0].label == ""
    assert stop.axes[0].label == "time (UTC), 2023-01-01 00:00 to 2023-02-09 23:00"
    spans = {(f.axes[0].scale.min, f.axes[0].scale.max) for f in (equity, window, kind, stop)}
    assert len(spans) == 1
    assert promise.axes[0].label == "in sample: sharpe (annualised)"


def test_training_and_test_share_one_scale_with_the_line_of_equals() -> None:
    promise = figures(draw(windows(4)))[-1]
    equal = of_kind(promise, bq.Lines)[0]
    np.testing.assert_array_equal(equal.x, equal.y)
    dots, mean = of_kind(promise, bq.Scatter)
    assert (dots.x == [1, 2, 3, 4]).all()
    assert (dots.y == [0, 0.5, 1, 1.5]).all()
    assert (mean.x[0], mean.y[0]) == (2.5, 0.75)
    scales = [axis.scale for axis in promise.axes]
    assert scales[0].min == scales[1].min < 0
    assert scales[0].max == scales[1].max > 4
    assert len(of_kind(figures(draw(windows(1)))[-1], bq.Scatter)) == 1  # it is its own mean


def test_where_nothing_was_chosen_there_is_no_line() -> None:
    gone = windows(4, window=[np.nan, 10, np.nan, 20], kind=[None, "sma", None, "ema"])
    gone.loc[[0, 2], ["in_sample", "out_of_sample"]] = np.nan
    chart = draw(gone)
    line = of_kind(figures(chart)[1], bq.Lines)[0]
    np.testing.assert_array_equal(np.ravel(line.y), [10, 10, np.nan, np.nan, 20, 20])
    assert "no line: nothing was chosen" in texts(chart)
    assert "a window (2 without a figure)" in texts(chart)


def test_without_any_choice_it_says_so() -> None:
    none = windows(2, window=[np.nan] * 2, kind=[None] * 2, stop=[np.nan] * 2)
    none[["in_sample", "out_of_sample"]] = np.nan
    chart = draw(none)
    assert len(figures(chart)) == 4
    assert "nothing was ever chosen" in texts(chart)
    assert "no window has a sharpe in both" in texts(chart)


def test_a_curve_that_leaves_the_others_behind_is_drawn_on_a_log_axis() -> None:
    for growth, log in ((1.5, False), (80.0, True)):
        curves = {"buy and hold": curve(4, 1.1), "walk-forward": curve(4, growth)}
        chart = draw(windows(4), curves=curves)
        switch = next(child for child in chart.children if isinstance(child, ipw.ToggleButtons))
        assert switch.value is log
        label = figures(chart)[0].axes[1].label
        assert label == "equity (quote currency)" + (", log" if log else "")
        switch.value = False
        assert figures(chart)[0].axes[1].label == "equity (quote currency)"


def test_simulated_prices_can_not_be_overlooked() -> None:
    assert "synthetic prices" in texts(draw(windows(2), source="synthetic sample"))
    assert "synthetic prices" not in texts(draw(windows(2), source="BTCUSDT.parquet"))
    assert "&lt;b&gt;" in texts(draw(windows(2), title="<b>"))


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(aq.DataError, match="0 windows and 2 curves to draw"):
        draw(windows(0))
    with pytest.raises(aq.DataError, match="4 windows and 0 curves to draw"):
        draw(windows(4), curves={})
    with pytest.raises(aq.DataError, match="unknown curve 'buy & hold'.*mean 'buy and hold'"):
        draw(windows(4), curves={"buy & hold": curve(4, 1.1)})


def test_each_curve_has_its_own_colour_whatever_else_is_drawn() -> None:
    colours = {
        "buy and hold": style.BENCHMARK,
        "best static choice, in hindsight": style.LINES[0],
        "walk-forward": style.EQUITY,
    }
    for names in (
        ["walk-forward"],
        ["walk-forward", "buy and hold"],
        ["walk-forward", "best static choice, in hindsight", "buy and hold"],
    ):
        curves = {name: curve(4, 1.1 + k) for k, name in enumerate(names)}
        lines = of_kind(figures(draw(windows(4), curves=curves))[0], bq.Lines)
        drawn = [name for name in colours if name in names]  # the walk-forward on top
        assert [line.colors for line in lines] == [[colours[name]] for name in drawn]
        assert [np.ravel(line.y)[-1] for line in lines] == [curves[name].iloc[-1] for name in drawn]


def test_what_depends_on_the_length_of_a_window_has_no_line_of_equals() -> None:
    longer = windows(4, out_of_sample=[0.1, 0.0, 0.2, 0.3])
    chart = draw(longer, metric="total_return")
    promise = figures(chart)[-1]
    assert of_kind(promise, bq.Lines) == []
    assert "as in training" not in texts(chart)
    assert "total return depends on a window&#x27;s length: two scales" in texts(chart)
    across, up = (axis.scale for axis in promise.axes)
    assert (across.min, up.min) == pytest.approx((1 - 0.24, -0.024))
    assert (across.max, up.max) == pytest.approx((4 + 0.24, 0.324))


def test_what_is_cut_short_is_left_out_of_the_mean() -> None:
    mean = of_kind(figures(draw(windows(4), cut=1))[-1], bq.Scatter)[1]
    assert (mean.x[0], mean.y[0]) == (2, 0.5)
    assert "mean of whole windows" in texts(draw(windows(4), cut=1))
    assert len(of_kind(figures(draw(windows(2), cut=1))[-1], bq.Scatter)) == 1
