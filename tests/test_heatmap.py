"""A sweep as a picture: the heat map over two parameters, the line over one."""

from __future__ import annotations

import io
from typing import Any

import bqplot as bq
import numpy as np
import pandas as pd
import pytest
from drawn import figures, of_kind, size, texts
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets.widgets.widget import _instances
from PIL import Image

from astraquant.errors import DataError
from astraquant.widgets import colours, style
from astraquant.widgets.heatmap import heatmap_chart, line_chart, span_of
from astraquant.widgets.parameter_axes import parameter_axis


def plane(rows: list[Any], columns: list[Any], cells: Any = None) -> pd.DataFrame:
    shape = (len(rows), len(columns))
    cells = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape) if cells is None else cells
    return pd.DataFrame(
        cells, index=pd.Index(rows, name="long"), columns=pd.Index(columns, name="short")
    )


def pixels(widget: Any, which: int = 0) -> Any:
    png = of_kind(figures(widget)[which], bq.Image)[0].image.value
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def click(mark: Any, **where: float) -> None:
    """What the browser sends at a click."""
    mark._handle_custom_msg({"event": "element_click", "data": where}, [])


def test_pixels_are_the_cells_with_the_first_row_at_the_bottom() -> None:
    cells = np.array([[-0.2, 0.0, 0.12], [np.nan, 0.2, np.inf]])
    widget = heatmap_chart(plane([20, 50], [5, 10, 15], cells), metric="total_return", title="")
    shown = pixels(widget)
    palette = colours.palette(-0.2, 0.2, signed=True)
    assert shown.shape == (2, 3, 4)
    for (row, column), level in {(0, 0): 0, (0, 1): 127, (0, 2): 203, (1, 1): 254}.items():
        assert shown[1 - row, column].tolist() == [*palette[level], 255]
    missing = list(bytes.fromhex(style.MISSING[1:]))
    assert shown[0, 0].tolist() == shown[0, 2].tolist() == missing
    assert "no value (2 of 6 cells)" in texts(widget)
    bar = pixels(widget, 1)
    assert bar[::-1, 0, :3].tolist() == palette.tolist()
    axis = figures(widget)[1].axes[0]
    assert (axis.scale.min, axis.scale.max, axis.label) == (-0.2, 0.2, "total return (%)")


def test_axes_bear_the_parameters_own_values() -> None:
    widget = heatmap_chart(plane([20, 50, 200], [0.5, 1.0]), metric="sharpe", title="")
    across, up = figures(widget)[0].axes
    assert (across.label, across.tick_labels) == ("short", {"0": "0.5", "1": "1"})
    assert (up.label, up.tick_labels) == ("long (uneven steps)", {"0": "20", "1": "50", "2": "200"})
    whole = list(range(5, 205))
    across, _ = figures(heatmap_chart(plane(whole, whole), metric="sharpe", title=""))[0].axes
    assert across.tick_labels == {str(k - 5): str(k) for k in range(20, 201, 20)}
    assert across.label == "short"


@given(
    values=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=250, unique=True),
    even=st.booleans(),
    room=st.floats(60, 800),
)
def test_labels_side_by_side_do_not_touch(values: list[int], even: bool, room: float) -> None:
    labels = pd.Index(range(values[0], values[0] + 7 * len(values), 7) if even else values)
    axis = parameter_axis(labels, "short", "bottom", room)
    shown = sorted(map(int, axis.tick_labels))
    assert shown
    assert all(axis.tick_labels[str(k)] == str(labels[k]) for k in shown)
    apart = min(np.diff(shown), default=len(labels)) * room / len(labels)
    longest = max(map(len, axis.tick_labels.values()))
    assert len(shown) <= 2 or apart >= 6.5 * longest  # 6.5 pixels: a figure of the axis' 10


def test_a_narrow_plane_has_fewer_labels() -> None:
    windows = list(range(10, 201, 10))
    cells = plane(windows, windows)
    for room, step in ((190, 50), (480, 20)):
        across, up = figures(heatmap_chart(cells, metric="sharpe", title="", room=room))[0].axes
        assert list(across.tick_labels.values()) == [str(k) for k in windows if k % step == 0]
        assert len(up.tick_labels) == 10  # one above the other there is room


def test_maps_of_one_span_share_their_colours() -> None:
    cells = plane([20, 50], [5, 10], [[0.1, 0.2], [0.3, np.nan]])
    other = cells - 0.4
    span = span_of(pd.concat([cells.stack(), other.stack(), pd.Series([np.inf, np.nan])]))
    assert span == pytest.approx((-0.3, 0.3))
    alone, *both = (
        heatmap_chart(one, metric="total_return", title="", span=given)
        for one, given in ((cells, None), (cells, span), (other, span))
    )
    bars = [figures(widget)[1].axes[0].scale for widget in (alone, *both)]
    assert [(bar.min, bar.max) for bar in bars] == [(0.1, 0.3), span, span]
    palette = colours.palette(*span, signed=True)
    assert pixels(both[0])[0, 0, :3].tolist() == palette[-1].tolist()  # of 0.3, the highest of all
    assert pixels(both[1])[1, 0, :3].tolist() == palette[0].tolist()  # of -0.3
    assert span_of(pd.Series([np.nan, np.inf])) is None


def test_marks_at_the_edge_are_whole() -> None:
    widget = heatmap_chart(plane([20, 50], [5, 10]), metric="sharpe", title="", mark_best=(10, 50))
    image, *marks = figures(widget)[0].marks
    assert [mark.apply_clip for mark in marks] == [False, False]
    margin = figures(widget)[0].fig_margin
    assert min(margin.values()) >= 10  # half a diamond of 90 square pixels and its stroke
    assert image.apply_clip


def test_a_click_gives_the_parameters_and_shows_the_value() -> None:
    widget = heatmap_chart(
        plane([20, 50], ["ema", "sma", "wma"], [[0.1, 0.2, 0.3], [0.4, np.nan, 0.6]]),
        metric="win_rate",
        title="",
        mark_best=("wma", 50),
    )
    seen: list[tuple[Any, Any]] = []
    widget.on_click(lambda x, y: seen.append((x, y)))
    image, best, cursor = figures(widget)[0].marks
    assert not cursor.visible
    click(image, click_x=-0.4, click_y=1.45)
    assert "short ema, long 50 → win rate 40.0%" in texts(widget)
    assert (cursor.visible, cursor.x.tolist(), cursor.y.tolist()) == (True, [0.0], [1.0])
    click(image, click_x=1.2, click_y=0.7)
    assert "short sma, long 50 → no win rate" in texts(widget)
    click(image, click_x=9.0, click_y=-3.0)  # a hair outside after rounding: the nearest cell
    click(best, x=2, y=1)  # the marks lie over their cells
    click(cursor)
    assert {type(y) for _, y in seen} == {int}  # plain numbers, to be passed on to a strategy
    assert seen == [("ema", 50), ("sma", 50), ("wma", 20), ("wma", 50), ("wma", 50)]
    assert "best: short wma, long 50 → win rate 60.0%" in texts(widget)


def test_other_values_go_into_the_same_figure() -> None:
    widget = heatmap_chart(plane([20, 50], [5, 10]), metric="sharpe", title="one")
    image, best, cursor = figures(widget)[0].marks
    widget.move_cursor((10, 20))
    assert "short 10, long 20 → sharpe 2.00" in texts(widget)
    parts = style.parts_of(widget)  # kept, so that a new part can't be given the id of a former one
    other = plane([20, 50], [5, 10], [[np.nan, -0.5], [0.25, 0.75]])
    other.attrs["source"] = "synthetic"
    widget.show(other, metric="total_return", title="other", mark_best=(10, 50))
    expected = heatmap_chart(other, metric="total_return", title="other", mark_best=(10, 50))
    expected.move_cursor((10, 20))
    assert texts(widget) == texts(expected)
    assert repr(widget) == repr(expected)
    assert figures(widget)[0].marks == [image, best, cursor]
    for which in (0, 1):
        np.testing.assert_array_equal(pixels(widget, which), pixels(expected, which))
    ours, theirs = (figures(one)[1].axes[0] for one in (widget, expected))
    assert (ours.tick_format, ours.label) == (theirs.tick_format, theirs.label)
    np.testing.assert_array_equal(ours.tick_values, theirs.tick_values)
    assert (best.visible, best.x.tolist(), best.y.tolist()) == (True, [1.0], [1.0])
    renewed = set(map(id, style.parts_of(widget))) - set(map(id, parts))
    assert len(renewed) == 4  # two pictures with their layouts; the former ones are closed
    widget.move_cursor(None)
    assert not cursor.visible
    assert "Click a cell" in texts(widget)
    with pytest.raises(DataError, match="other columns than this heat map has"):
        widget.show(plane([20, 50], [5, 11]), metric="sharpe", title="")
    with pytest.raises(DataError, match=r"cell=\(x value, y value\): unknown long 21"):
        widget.move_cursor((5, 21))


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (200, 200)])
def test_any_shape_is_drawn_and_small(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).standard_normal(shape)
    values = plane(list(range(shape[0])), list(range(shape[1])), noise)
    widget = heatmap_chart(values, metric="sharpe", title="ma_cross")
    assert pixels(widget).shape == (*shape, 4)
    assert size(widget) < 100_000
    summary = f"HeatmapChart(ma_cross, sharpe over short ({shape[1]}) × long ({shape[0]}))"
    assert widget._repr_mimebundle_()["text/plain"] == summary
    for figure in figures(widget):
        for axis in figure.axes:
            assert axis.scale.min < axis.scale.max
            assert len(axis.tick_values)


def test_nothing_known_is_said() -> None:
    widget = heatmap_chart(plane([1], [2], np.nan), metric="sharpe", title="")
    assert "No cell has a value." in texts(widget)
    bar = figures(widget)[1]
    assert not bar.axes[0].visible  # no colours, no colour bar
    assert not bar.marks[0].visible
    line = line_chart(plane([1, 2], [2], np.nan)[2], metric="sharpe", title="")
    assert "no value (2 of 2)" in texts(line)


@pytest.mark.parametrize(
    ("values", "best", "message"),
    [
        (plane([], [1]), None, "there are no rows"),
        (plane([1], []), None, "there are no columns"),
        (plane([1, 1], [2]), None, "have 1 twice"),
        (plane([1], [2]).set_axis(pd.MultiIndex.from_tuples([(1, 2)])), None, "2 levels"),
        (plane([20], [10]), (20, 10), r"\(x value, y value\): unknown short 20.*Known: 10"),
    ],
)
def test_tables_that_are_no_plane_are_refused(values: Any, best: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        heatmap_chart(values, metric="sharpe", title="", mark_best=best)


# The line


@pytest.mark.parametrize(
    ("metric", "place", "word"), [("sharpe", 2, "highest"), ("fees_paid", 0, "lowest")]
)
def test_a_line_marks_its_best_value(metric: str, place: int, word: str) -> None:
    values = pd.Series([1.0, np.nan, 3.0, 2.0], index=pd.Index([5, 10, 20, 50], name="window"))
    widget = line_chart(values, metric=metric, title="sma")
    line, dots, best, _ = figures(widget)[0].marks
    np.testing.assert_array_equal(line.x, [5, 10, 20, 50])  # numbers keep their distances
    np.testing.assert_array_equal(line.y, values)
    assert dots.y.tolist() == [1.0, 3.0, 2.0]
    assert best.x.tolist() == [values.index[place]]
    assert f"{word}: window {values.index[place]}" in texts(widget)
    assert [axis.label for axis in figures(widget)[0].axes] == [
        "window",
        style.metric_label(metric),
    ]
    assert repr(widget) == f"LineChart(sma, {metric} over window (4))"


def test_a_line_over_names_and_a_single_point() -> None:
    named = pd.Series([1.0, 2.0], index=pd.Index(["long", "both"], name="direction"))
    axis = figures(line_chart(named, metric="sharpe", title=""))[0].axes[0]
    assert axis.tick_labels == {"0": "long", "1": "both"}
    single = pd.Series([0.5], index=pd.Index([10], name="window"))
    dots, best, _ = figures(line_chart(single, metric="win_rate", title=""))[0].marks
    assert dots.y.tolist() == best.y.tolist() == [0.5]


def test_a_line_says_which_point_was_clicked_and_shows_a_cursor() -> None:
    values = pd.Series([1.0, np.nan, 3.0], index=pd.Index([5, 10, 20], name="window"))
    widget = line_chart(values, metric="sharpe", title="")
    seen: list[Any] = []
    widget.on_click(seen.append)
    _, dots, _, cursor = figures(widget)[0].marks
    for index in (0, 1):  # of the values that are known
        click_data = {"event": "element_click", "data": {"index": index}}
        dots._handle_custom_msg(click_data, [])
    assert seen == [5, 20]
    assert type(seen[0]) is int
    assert not cursor.visible
    for value, height in ((20, 3.0), (10, cursor.scales["y"].min)):
        widget.move_cursor(value)
        assert (cursor.visible, cursor.x.tolist(), cursor.y.tolist()) == (True, [value], [height])
    widget.move_cursor(None)
    assert not cursor.visible
    with pytest.raises(DataError, match="unknown window 11"):
        widget.move_cursor(11)


def test_closing_takes_all_parts_away_and_forgets_who_listened() -> None:
    before = set(_instances)
    widget = heatmap_chart(plane([20, 50], [5, 10]), metric="sharpe", title="")
    seen: list[Any] = []
    scale = figures(widget)[0].axes[0].scale
    scale.observe(seen.append, "min")
    style.close_all(widget)
    assert set(_instances) <= before
    scale.min = -7.0
    assert seen == []
