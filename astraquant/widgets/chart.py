"""A backtest as a picture: price with trades, equity against buy-and-hold, drawdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd
from tsdownsample import MinMaxLTTBDownsampler

from ..candles import PRICES, is_synthetic
from ..errors import DataError, unknown
from . import style

POINTS = 2_000  # of a line: more can't be told apart on a screen
MARKED_TRADES = 500  # two markers each; browsers turn slow beyond a thousand or so
MANY_TRADES = 200
MOST_CANDLES = 1_000  # each is drawn; more can't be told apart either
TRADE_COLUMNS = ("entry_time", "exit_time", "direction", "entry_price", "exit_price")
Array = np.ndarray[Any, Any]


class BacktestChart(style.Chart):
    """Three panels over one time axis; made by `backtest_chart`."""


def backtest_chart(
    candles: pd.DataFrame,
    trades: pd.DataFrame,
    equity: pd.Series,
    buy_and_hold: pd.Series,
    *,
    title: str,
    lines: Mapping[str, pd.Series] | None = None,
    cash: float | None = None,
) -> BacktestChart:
    """Draw a backtest.

    candles: candle table, one row per evaluated bar; ``attrs["source"]`` that says "synthetic"
        puts a badge beside the title and the word on the price axis.
    trades: one row per trade with ``entry_time``, ``exit_time`` (NaT: still open), ``direction``
        (1 or -1), ``entry_price`` and ``exit_price``. Of more than `MARKED_TRADES` only that many
        are marked, evenly spread from the first to the last, and the picture says so.
    equity, buy_and_hold: money after each bar, the same times in both.
    lines: what the strategy drew, by name, on the candles' times; NaN (warm-up) leaves a hole.
    cash: the starting cash. The drawdown counts a fall from it too, as `max_drawdown` does;
        without it the first equity stands for it.

    Long series are thinned to about `POINTS` points that keep the shape, the extremes and both
    ends. Raises `DataError` for an empty table, missing columns or times that do not match.
    """
    lines = lines or {}
    _check(candles, trades, equity, buy_and_hold, lines)
    synthetic = is_synthetic(candles.attrs.get("source"))
    marked, note = _choose(trades)
    time = TimeAxis(candles.index)
    panels = [
        _price_panel(candles, marked, lines, time, synthetic),
        _equity_panel(equity, buy_and_hold, time),
        _drawdown_panel(equity, cash, time),
    ]
    summary = f"BacktestChart({title}, {len(candles):,} bars, {len(trades):,} trades)"
    head = style.header(title, synthetic=synthetic, note=note)
    return BacktestChart([head, *(part for panel in panels for part in panel)], summary)


class CandleChart(style.Chart):
    """Candles over time; made by `candle_chart`."""


def candle_chart(
    candles: pd.DataFrame, *, title: str, lines: Mapping[str, pd.Series] | None = None
) -> CandleChart:
    """Draw candles: a box from open to close, a thin line from low to high.

    candles: candle table of at most `MOST_CANDLES` rows; ``attrs["source"]`` that says "synthetic"
        is shown. A missing bar leaves its place empty.
    lines: further series by name, on the candles' times.

    Raises `DataError` for an empty table, one that is too long, or times that do not match.
    """
    lines = lines or {}
    if not 0 < len(candles) <= MOST_CANDLES:
        raise DataError(
            f"{len(candles):,} candles to draw; expected 1 to {MOST_CANDLES:,}. Cut the table with "
            ".loc[start:end], or resample it to a longer timeframe."
        )
    _check_lines(lines, candles)
    synthetic = is_synthetic(candles.attrs.get("source"))
    time = TimeAxis(candles.index, boxes=True)
    prices = candles[list(PRICES)].to_numpy(float)
    scales = {"x": time.scale, "y": value_scale(prices)}
    x = to_dates(candles.index)
    colours = [style.LONG, style.DRAWDOWN]
    boxes = bq.OHLC(x=x, y=prices, scales=scales, colors=colours, stroke=style.PRICE)
    marks: list[bq.Mark] = [boxes]
    entries = [("■", style.LONG, "the price rose"), ("■", style.DRAWDOWN, "it fell")]
    for k, (name, line) in enumerate(lines.items()):
        colour = (style.EQUITY, *style.LINES)[k % 5]
        drawn = lines_mark(candles.index, line.to_numpy(float)[None], scales, [colour])
        drawn.marker, drawn.marker_size = "circle", 30
        marks.append(drawn)
        entries.append(("━━", colour, name))
    axes = [time.axis(labelled=True), value_axis(scales["y"], _price_label(synthetic), 7)]
    head = style.header(title, synthetic=synthetic)
    parts = [head, style.legend(entries, "Candles"), panel_figure(marks, axes, 320, bottom=52)]
    return CandleChart(parts, f"CandleChart({title}, {len(candles):,} candles)")


def _price_label(synthetic: bool) -> str:
    return "price (quote currency" + (", synthetic)" if synthetic else ")")


def _check(
    candles: pd.DataFrame,
    trades: pd.DataFrame,
    equity: pd.Series,
    buy_and_hold: pd.Series,
    lines: Mapping[str, pd.Series],
) -> None:
    if "close" not in candles.columns:
        raise DataError(unknown("column", "close", candles.columns))
    for column in TRADE_COLUMNS:
        if column not in trades.columns:
            raise DataError(f"the trades: {unknown('column', column, trades.columns)}")
    if candles.empty or equity.empty:
        raise DataError("nothing to draw: expected at least one bar of candles and of equity.")
    if not equity.index.equals(buy_and_hold.index):
        raise DataError(
            f"equity ({len(equity):,} values) and buy_and_hold ({len(buy_and_hold):,}) are not at "
            "the same times. Give them one index."
        )
    _check_lines(lines, candles)


def _check_lines(lines: Mapping[str, pd.Series], candles: pd.DataFrame) -> None:
    for name, line in lines.items():
        if not line.index.equals(candles.index):
            raise DataError(
                f"line {name!r} ({len(line):,} values) is not on the times of the candles "
                f"({len(candles):,}). Use line.reindex(candles.index)."
            )


def _choose(trades: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The trades to mark, and what to say about it."""
    if trades.empty:
        return trades, "no trades"
    still = int(trades["exit_time"].isna().sum())
    count = f"{len(trades):,} trade{'s' if len(trades) > 1 else ''}"
    count += f", {still} of them open" if still else ""
    if len(trades) <= MARKED_TRADES:
        return trades, count
    spread = np.linspace(0, len(trades) - 1, MARKED_TRADES).round().astype(int)
    return trades.iloc[spread], f"{MARKED_TRADES:,} of {count} marked"


def _price_panel(
    candles: pd.DataFrame,
    trades: pd.DataFrame,
    lines: Mapping[str, pd.Series],
    time: TimeAxis,
    synthetic: bool,
) -> list[ipw.Widget]:
    drawn = {**lines, "close": candles["close"]}  # the last is drawn on top
    at = thin(candles["close"].to_numpy())
    values = _sampled(drawn, at)
    scales = {"x": time.scale, "y": value_scale(values)}
    colours = [*(style.LINES[k % len(style.LINES)] for k in range(len(lines))), style.PRICE]
    entries = [("━━", colour, name) for name, colour in zip(drawn, colours, strict=True)]
    entries.insert(0, entries.pop())
    marks = [lines_mark(candles.index[at], values, scales, colours, stroke_width=1.3)]
    last = (candles.index[-1], candles["close"].iloc[-1])
    for points, symbol, text in _markers(trades, scales, last):
        marks.append(points)
        entries.append((symbol, points.stroke, text))
    if len(trades) > MANY_TRADES:  # so many markers would bury the lines: put them underneath
        marks.reverse()
    axes = [time.axis(labelled=False), value_axis(scales["y"], _price_label(synthetic), 7)]
    return [style.legend(entries, "Price"), panel_figure(marks, axes, 270)]


def _markers(
    trades: pd.DataFrame, scales: dict[str, Any], last: tuple[pd.Timestamp, float]
) -> list[tuple[bq.Scatter, str, str]]:
    """Entries point up (filled), exits down (hollow); an open trade ends in a ring.

    The colour tells the side. A reversal's entry, at the same place, shows through the exit.
    """
    size = int(np.clip(1_600 // max(len(trades), 1), 12, 64))  # square pixels
    found = []
    for side, name, colour in ((1, "long", style.LONG), (-1, "short", style.SHORT)):
        own = trades[trades["direction"] == side]
        closed = own[own["exit_time"].notna()]
        still = len(own) - len(closed)
        kinds = (
            (own["entry_time"], own["entry_price"], "triangle-up", "▲", f"{name} entry", size),
            (closed["exit_time"], closed["exit_price"], "triangle-down", "▽", f"{name} exit", size),
            ([last[0]] * still, [last[1]] * still, "circle", "○", f"{name} still open", 90),
        )
        for times, prices, marker, symbol, text, area in kinds:
            if len(times):
                points = bq.Scatter(
                    x=to_dates(times),
                    y=np.asarray(prices, dtype=np.float32),
                    scales=scales,
                    marker=marker,
                    colors=[colour],
                    stroke=colour,
                    fill=marker == "triangle-up",
                    stroke_width=1.5 if size > 12 else 0.8,
                    default_size=area,
                )
                found.append((points, symbol, text))
    return found


def _equity_panel(equity: pd.Series, buy_and_hold: pd.Series, time: TimeAxis) -> list[ipw.Widget]:
    drawn = {"buy and hold": buy_and_hold, "strategy": equity}
    at = np.union1d(*(thin(series.to_numpy(), POINTS // 2) for series in drawn.values()))
    values = _sampled(drawn, at)
    scales = {"x": time.scale, "y": value_scale(values)}
    colours = [style.BENCHMARK, style.EQUITY]
    marks = [lines_mark(equity.index[at], values, scales, colours, stroke_width=1.6)]
    entries = [("━━", style.EQUITY, "strategy"), ("━━", style.BENCHMARK, "buy and hold")]
    axes = [time.axis(labelled=False), value_axis(scales["y"], "equity (quote currency)", 5)]
    return [style.legend(entries, "Equity"), panel_figure(marks, axes, 200)]


def _drawdown_panel(equity: pd.Series, cash: float | None, time: TimeAxis) -> list[ipw.Widget]:
    money = equity.to_numpy(float)
    peak = np.maximum.accumulate(np.maximum(money, money[0] if cash is None else cash))
    drawdown = money / peak - 1.0
    worst = float(drawdown.min())
    low = 1.05 * worst if worst < 0 else -0.01
    scales = {"x": time.scale, "y": bq.LinearScale(min=low, max=0.0, allow_padding=False)}
    at = thin(drawdown)
    mark = lines_mark(
        equity.index[at],
        drawdown[None, at],
        scales,
        [style.DRAWDOWN],
        fill="top",
        fill_opacities=[0.35],
        stroke_width=1.0,
    )
    entries = [("■", style.DRAWDOWN, f"below the highest equity so far; deepest {worst:.1%}")]
    axes = [time.axis(labelled=True), value_axis(scales["y"], "drawdown (%)", 4, "max_drawdown")]
    return [style.legend(entries, "Drawdown"), panel_figure([mark], axes, 170, bottom=52)]


def thin(values: Array, points: int = POINTS) -> Array:
    """Where to look at ``values``: about ``points`` indices, extremes and ends among them."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    if len(values) <= points:
        return np.arange(len(values))
    kept = MinMaxLTTBDownsampler().downsample(values, n_out=points).astype(np.int64)
    return np.union1d(kept, [0, values.argmin(), values.argmax(), len(values) - 1])


def _sampled(series: Mapping[str, pd.Series], at: Array) -> Array:
    return np.array([one.to_numpy(float)[at] for one in series.values()])


def lines_mark(
    times: pd.Index, values: Array, scales: dict[str, Any], colours: list[str], **look: Any
) -> bq.Lines:
    """All of a panel's lines in one mark: they share their times, so these are sent once."""
    if len(times) == 1:  # a line of one point can't be seen, and bqplot would squeeze it away
        times, values, look["marker"] = times.repeat(2), values.repeat(2, axis=1), "circle"
    y = values.astype(np.float32)
    return bq.Lines(x=to_dates(times), y=y, scales=scales, colors=colours, **look)


def value_scale(values: Array) -> bq.LinearScale:
    """A scale over ``values`` with a little room at both ends."""
    low, high = style.nice_range(values)
    return bq.LinearScale(min=low, max=high, allow_padding=False)


def value_axis(scale: bq.LinearScale, label: str, count: int, metric: str = "") -> bq.Axis:
    """The axis on the left, with about ``count`` ticks; ``metric`` says how its numbers look."""
    values, step = style.ticks(scale.min, scale.max, count)
    return bq.Axis(
        scale=scale,
        side="left",
        label=label,
        label_offset="66px",
        label_color=style.TEXT,
        tick_values=values,
        tick_format=style.metric_format(metric, step),
    )


class TimeAxis:
    """The time scale that all panels share, and its ticks."""

    def __init__(self, index: pd.Index, *, boxes: bool = False) -> None:
        self.first, self.last = to_dates(index[[0, -1]])
        room = (self.last - self.first) // 100 or np.timedelta64(30, "m")  # a single bar
        if boxes and len(index) > 1:  # the first and the last are as broad as the others
            room = max(room, np.diff(to_dates(index)).min() * 6 // 10)
        start, end = self.first - room, self.last + room
        self.scale = bq.DateScale(min=start, max=end, allow_padding=False)
        self.ticks, self.format = style.time_ticks(int(start.astype(int)), int(end.astype(int)))

    def axis(self, *, labelled: bool) -> bq.Axis:
        """The axis of a panel; the lowest one is labelled, with the whole range of times."""
        ends = dict.fromkeys(str(pd.Timestamp(t))[:16] for t in (self.first, self.last))
        span = " to ".join(ends)  # a single bar is named once
        return bq.Axis(
            scale=self.scale,
            label=f"time (UTC), {span}" if labelled else "",
            label_color=style.TEXT,
            tick_values=self.ticks,
            tick_format=self.format,
        )


def panel_figure(
    marks: list[bq.Mark], axes: list[bq.Axis], height: int, bottom: int = 24
) -> bq.Figure:
    """A panel as wide as the page, ``height`` pixels high; all have the same margins."""
    return bq.Figure(
        marks=marks,
        axes=axes,
        fig_margin={"top": 6, "bottom": bottom, "left": 88, "right": 32},
        padding_y=0.0,
        display_toolbar=False,  # its zoom would show no more than the points sent
        layout=ipw.Layout(width="100%", height=f"{height}px", min_width="320px"),
    )


def to_dates(times: Any) -> Array:
    """Times as UTC ``datetime64[ms]``, which is what bqplot takes."""
    index = pd.DatetimeIndex(times)
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return index.to_numpy().astype("datetime64[ms]")
