"""Pictures: what is sent to the browser, checked without one (see browser/test_charts.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bqplot as bq
import numpy as np
import pandas as pd
import pytest
from drawn import figures, of_kind, size, texts
from hypothesis import given
from hypothesis import strategies as st

from astraquant.errors import DataError
from astraquant.widgets import chart, colours, style
from astraquant.widgets.chart import backtest_chart, candle_chart


def table(close: list[float], **attrs: str) -> pd.DataFrame:
    times = pd.date_range("2023-01-01", periods=len(close), freq="5min", tz="UTC", name="time")
    candles = pd.DataFrame({"close": close}, index=times)
    candles.attrs.update(attrs)
    return candles


def trade_table(times: pd.DatetimeIndex, *rows: tuple[int, int | None, int]) -> pd.DataFrame:
    """Trades given as (bar of entry, bar of exit or None, direction)."""
    return pd.DataFrame(
        {
            "entry_time": [times[a] for a, _, _ in rows],
            "exit_time": [pd.NaT if b is None else times[b] for _, b, _ in rows],
            "direction": [side for _, _, side in rows],
            "entry_price": [100.0 + a for a, _, _ in rows],
            "exit_price": [np.nan if b is None else 100.0 + b for _, b, _ in rows],
        }
    )


def draw(candles: pd.DataFrame, trades: pd.DataFrame, equity: list[float], **options: Any) -> Any:
    money = pd.Series(equity, index=candles.index)
    held = pd.Series(10_000.0, index=candles.index)
    return backtest_chart(candles, trades, money, held, title="BTCUSDT 5m", **options)


# Colours


def lightness(colour: Any) -> float:
    """CIE L* of an sRGB colour, 0 to 100."""
    c = np.asarray(colour) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def contrast(one: str, other: str) -> float:
    """WCAG contrast of two colours."""
    ys = [((lightness(list(bytes.fromhex(c[1:]))) + 16) / 116) ** 3 for c in (one, other)]
    return (max(ys) + 0.05) / (min(ys) + 0.05)


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_marks_stand_out_in_both_themes(background: str) -> None:
    used = [style.PRICE, style.EQUITY, style.BENCHMARK, style.DRAWDOWN, style.LONG, style.SHORT]
    for colour in (*used, *style.LINES):
        assert contrast(colour, background) >= 3, colour


@pytest.mark.parametrize(
    ("low", "high", "signed", "turns"),
    [(0, 1, False, 0), (-1, 1, False, 0), (1, 2, True, 0), (-2, -1, True, 0), (-1, 3, True, 1)],
)
def test_palettes_change_lightness_one_way_but_at_zero(
    low: float, high: float, signed: bool, turns: int
) -> None:
    found = colours.palette(low, high, signed=signed)
    assert found.shape == (colours.LEVELS, 3)
    assert found.dtype == np.uint8
    steps = np.diff([lightness(colour) for colour in found[::8]])
    assert np.count_nonzero(np.diff(np.sign(steps)) != 0) == turns
    assert np.abs(steps).min() > 0


def test_the_sign_shows_as_red_or_blue_equally_strong() -> None:
    found = colours.palette(-2.0, 2.0, signed=True).astype(int)
    red, blue = found[:, 0], found[:, 2]
    assert np.all(red[:100] > blue[:100])
    assert np.all(blue[-100:] > red[-100:])
    mixed = colours.palette(-1.0, 4.0, signed=True).astype(int)
    full = colours.palette(-4.0, 4.0, signed=True).astype(int)
    # -1 is as pale where the range ends there as where it goes on to -4.
    assert np.abs(mixed[0] - full[round(254 * 3 / 8)]).max() <= 3
    np.testing.assert_array_equal(mixed[-1], full[-1])


# Ticks and numbers


@given(
    low=st.floats(-1e9, 1e9),
    span=st.floats(1e-6, 1e9),
    count=st.integers(3, 12),
)
def test_ticks_are_round_few_inside_and_told_apart(low: float, span: float, count: int) -> None:
    span = max(span, abs(low) * 1e-6)
    found, step = style.ticks(low, low + span, count)
    assert 1 <= len(found) <= count + 1
    assert found[0] >= low - span * 1e-6
    assert found[-1] <= low + span * (1 + 1e-6)
    assert f"{step:.0e}"[0] in "125"
    shown = [format(value, style.number_format(step)) for value in found]
    assert len(set(shown)) == len(shown)


@given(
    start=st.integers(0, 2_000_000_000_000),
    span=st.integers(2_000, 20 * 365 * 86_400_000),
)
def test_time_ticks_are_few_inside_and_told_apart(start: int, span: int) -> None:
    found, tick_format = style.time_ticks(start, start + span)
    times = found.astype(np.int64)
    assert 1 <= len(found) <= 8
    assert times.min() >= start
    assert times.max() <= start + span
    shown = [datetime.fromtimestamp(t / 1000, UTC).strftime(tick_format) for t in times]
    assert len(set(shown)) == len(shown)
    # What the format leaves out is nothing: each tick lies at the start of what it shows.
    for time, text in zip(times, shown, strict=True):
        assert datetime.fromtimestamp(time / 1000, UTC).strftime("%S") == "00" or ":" in text


def test_numbers_and_units() -> None:
    assert style.metric_label("total_return") == "total return (%)"
    assert style.metric_label("sharpe") == "sharpe (annualised)"
    assert style.metric_label("my_own") == "my own"
    assert format(0.1234, style.metric_format("win_rate", 0.001)) == "12.3%"
    assert format(1234.5, style.number_format(10)) == "1,234"
    assert format(0.000012, style.number_format(1e-6)) == "0.000012"


# The backtest


def shape_of(values: list[float]) -> list[int]:
    return [int(k) for k in chart.thin(np.array(values), 20)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_thinning_keeps_ends_and_extremes(values: list[float]) -> None:
    kept = shape_of(values)
    assert kept == sorted(set(kept))
    assert {0, len(values) - 1} <= set(kept)
    picked = [values[k] for k in kept]
    assert (min(picked), max(picked)) == (min(values), max(values))
    assert len(kept) <= 24
    if len(values) <= 20:
        assert kept == list(range(len(values)))


def test_a_year_of_minutes_is_a_small_true_picture(market_data: Path) -> None:
    file = market_data / "klines" / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet"
    raw = pd.read_parquet(file, columns=["open_time", "close"])
    times = pd.to_datetime(raw["open_time"].to_numpy(), unit="ms", utc=True)
    candles = pd.DataFrame({"close": raw["close"].to_numpy(float)}, index=times)
    equity = candles["close"] / candles["close"].iloc[0] * 10_000
    every = range(0, len(times) - 200, 100)
    trades = trade_table(times, *((k, k + 50, 1) for k in every))
    lines = {"mean": candles["close"].rolling(50).mean()}
    widget = backtest_chart(candles, trades, equity, equity, title="BTCUSDT 1m", lines=lines)
    assert repr(widget) == "BacktestChart(BTCUSDT 1m, 525,520 bars, 5,254 trades)"
    assert size(widget) < 200_000
    assert "500 of 5,254 trades marked" in texts(widget)
    price, _, drawdown = figures(widget)
    entries, exits = of_kind(price, bq.Scatter)
    assert (len(entries.x), len(exits.x)) == (500, 500)
    line = of_kind(price, bq.Lines)[0]
    assert len(line.x) <= 2_004
    assert line.y.dtype == np.float32
    closes = line.y[-1]
    assert closes.max() == np.float32(candles["close"].max())
    assert closes.min() == np.float32(candles["close"].min())
    at = candles.index.tz_localize(None).get_indexer(pd.DatetimeIndex(line.x))
    np.testing.assert_array_equal(closes, candles["close"].to_numpy(np.float32)[at])
    deepest = min(equity / equity.cummax() - 1)
    assert of_kind(drawdown, bq.Lines)[0].y.min() == pytest.approx(deepest, rel=1e-6)


def test_panels_share_one_time_scale_and_say_their_units() -> None:
    candles = table([100.0, 101.0, 99.0, 102.0])
    widget = draw(candles, trade_table(candles.index, (1, 2, 1)), [10_000, 10_000, 9_800, 9_800])
    panels = figures(widget)
    scales = {axis.scale.model_id for f in panels for axis in f.axes if axis.side == "bottom"}
    assert len(scales) == 1
    labels = [axis.label for f in panels for axis in f.axes]
    assert labels == [
        *("", "price (quote currency)"),
        *("", "equity (quote currency)"),
        *("time (UTC), 2023-01-01 00:00 to 2023-01-01 00:15", "drawdown (%)"),
    ]


def test_markers_tell_entries_exits_sides_and_open_trades() -> None:
    candles = table([100.0 + k for k in range(10)])
    trades = trade_table(candles.index, (1, 3, 1), (3, 5, -1), (7, None, 1))
    widget = draw(candles, trades, [10_000.0] * 10)
    found = {}
    for mark in of_kind(figures(widget)[0], bq.Scatter):
        bars = candles.index.tz_localize(None).get_indexer(pd.DatetimeIndex(mark.x))
        found[mark.marker, mark.stroke] = dict(zip(bars.tolist(), mark.y.tolist(), strict=True))
    assert found == {
        ("triangle-up", style.LONG): {1: 101.0, 7: 107.0},
        ("triangle-down", style.LONG): {3: 103.0},
        ("circle", style.LONG): {9: 109.0},
        ("triangle-up", style.SHORT): {3: 103.0},
        ("triangle-down", style.SHORT): {5: 105.0},
    }
    for words in ("long entry", "long exit", "long still open", "short entry", "short exit"):
        assert words in texts(widget)
    assert "short still open" not in texts(widget)


def test_drawdown_counts_the_starting_cash() -> None:
    candles = table([100.0, 100.0, 100.0])
    none = trade_table(candles.index)
    equity = [9_000.0, 9_900.0, 9_450.0]
    for cash, deepest in (
        (None, 9_450 / 9_900 - 1),
        (10_000.0, -0.1),
        (5_000.0, 9_450 / 9_900 - 1),
    ):
        widget = draw(candles, none, equity, cash=cash)
        mark = of_kind(figures(widget)[2], bq.Lines)[0]
        assert mark.y.min() == pytest.approx(deepest, rel=1e-6)
    assert "no trades" in texts(widget)


def test_simulated_prices_can_not_be_overlooked() -> None:
    real, made_up = (
        table([1.0, 2.0], source="binance"),
        table([1.0, 2.0], source="synthetic (seed 7)"),
    )
    none = trade_table(real.index)
    assert "synthetic" not in texts(draw(real, none, [1.0, 1.0]))
    widget = draw(made_up, none, [1.0, 1.0])
    assert "synthetic prices" in texts(widget)
    assert figures(widget)[0].axes[1].label == "price (quote currency, synthetic)"


@pytest.mark.parametrize("bars", [1, 2])
def test_a_handful_of_bars_and_a_flat_market_are_drawn(bars: int) -> None:
    candles = table([100.0] * bars)
    line = pd.Series(np.nan, index=candles.index)
    widget = draw(candles, trade_table(candles.index), [10_000.0] * bars, lines={"mean": line})
    mark = of_kind(figures(widget)[0], bq.Lines)[0]
    assert mark.y.shape == (2, 2)  # a single bar is sent twice: bqplot would squeeze it away
    assert mark.marker == ("circle" if bars == 1 else None)
    for figure in figures(widget):
        for axis in figure.axes:
            assert axis.scale.min < axis.scale.max
            assert len(axis.tick_values)


def ohlc(bars: int, **attrs: str) -> pd.DataFrame:
    times = pd.date_range("2023-01-01", periods=bars, freq="5min", tz="UTC", name="time")
    close = 100.0 + np.arange(bars) % 3
    parts = {"open": close - 0.5, "high": close + 1.0, "low": close - 1.0, "close": close}
    candles = pd.DataFrame(parts, index=times)
    candles.attrs.update(attrs)
    return candles


@pytest.mark.parametrize("bars", [1, 2, 40, 1_000])
def test_candles_are_drawn_whole_with_their_lines(bars: int) -> None:
    candles = ohlc(bars, source="synthetic sample")
    widget = candle_chart(candles, title="Some", lines={"the close": candles["close"]})
    assert repr(widget) == f"CandleChart(Some, {bars:,} candles)"
    assert "synthetic prices" in texts(widget)
    assert "the close" in texts(widget)
    (figure,) = figures(widget)
    (boxes,), (line,) = of_kind(figure, bq.OHLC), of_kind(figure, bq.Lines)
    np.testing.assert_array_equal(boxes.y, candles.to_numpy())
    assert len(line.x) == max(bars, 2)
    half = np.timedelta64(150, "s")  # a box is as broad as its bar at most
    assert boxes.scales["x"].min <= boxes.x[0] - half
    assert boxes.scales["x"].max >= boxes.x[-1] + half


def test_candles_that_can_not_be_drawn_are_refused() -> None:
    with pytest.raises(DataError, match="1,001 candles to draw; expected 1 to 1,000"):
        candle_chart(ohlc(1_001), title="Too many")
    with pytest.raises(DataError, match="0 candles"):
        candle_chart(ohlc(0), title="None")
    with pytest.raises(DataError, match="reindex"):
        candle_chart(ohlc(5), title="Line", lines={"late": ohlc(6)["close"]})
    assert "synthetic" not in texts(candle_chart(ohlc(5), title="Real"))


def test_names_are_text_not_html() -> None:
    candles = table([1.0, 2.0])
    line = pd.Series([1.0, 2.0], index=candles.index)
    widget = draw(candles, trade_table(candles.index), [1.0, 1.0], lines={"<b>fast": line})
    assert "&lt;b&gt;fast" in texts(widget)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candles": table([]).astype(float)}, "nothing to draw"),
        ({"candles": table([1.0, 2.0]).rename(columns={"close": "Close"})}, "mean 'Close'"),
        ({"trades": trade_table(table([1.0]).index).drop(columns="direction")}, "'direction'"),
        ({"buy_and_hold": pd.Series([1.0], index=table([1.0]).index)}, "not at the same times"),
        ({"lines": {"mean": pd.Series([1.0])}}, "line 'mean'.*reindex"),
    ],
)
def test_what_can_not_be_drawn_is_refused(change: dict[str, Any], message: str) -> None:
    candles = table([1.0, 2.0])
    money = pd.Series([1.0, 1.0], index=candles.index)
    arguments: dict[str, Any] = {
        "candles": candles,
        "trades": trade_table(candles.index),
        "equity": money,
        "buy_and_hold": money,
        **change,
    }
    with pytest.raises(DataError, match=message):
        backtest_chart(**arguments, title="")


def test_ticks_get_their_format_before_their_values() -> None:
    axis = bq.Axis(scale=bq.LinearScale(), tick_format=",.0f", tick_values=np.array([0.0, 1.0]))
    sent: list[tuple[str, Any]] = []
    axis.observe(lambda change: sent.append((change.name, np.array(change.new).tolist())))
    style.set_ticks(axis, np.array([0.0, 1.0]), ",.0f")
    assert sent == []
    style.set_ticks(axis, np.array([0.0, 1.0]), ",.1f")  # the same values: written anew
    assert sent == [("tick_format", ",.1f"), ("tick_values", []), ("tick_values", [0.0, 1.0])]
