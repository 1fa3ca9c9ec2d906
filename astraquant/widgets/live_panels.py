"""The two panels of a live chart, price and volume, and how their marks are kept cheap to update.

bqplot sends the whole of a mark at each change and draws all of it anew. So the closed candles are
touched only when one closes or the view moves; the last two are marks of their own, the tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..candles import PRICES, Candle, times_of
from . import style, words

Array = np.ndarray[Any, Any]
# Of a gap: its sign, its colour and in words (a gap is not told by its colour alone).
GAPS = {
    "ours": ("✓", style.EQUITY, "gap, filled since"),
    "open": ("?", words.AMBER, "gap, not filled yet"),
    "venue": ("∅", style.BENCHMARK, "gap, the venue has none either"),
}
_MARKERS = {  # direction, whether it is an entry -> marker, sign, words
    (1, True): ("triangle-up", "▲", "long entry"),
    (1, False): ("triangle-down", "▽", "long exit"),
    (-1, True): ("triangle-up", "▲", "short entry"),
    (-1, False): ("triangle-down", "▽", "short exit"),
}
MARKED_TRADES = 300
TOLERANCE = 2  # ms: a browser rounds what is dragged
_RIGHT = 94  # pixels beside the plot: the last price is written there, where nothing cuts it off


class _Boxes:
    """Candles as two marks, risen and fallen, so that each has an outline of its own colour.

    Each mark begins with two candles far to the left of all others, out of sight: bqplot takes the
    width of a candle from the smallest distance between two, and a mark may well hold only one.
    """

    def __init__(self, scales: dict[str, Any], outlined: bool, strength: str = "") -> None:
        colours = (style.LONG, style.DRAWDOWN)
        self.marks = [
            bq.OHLC(
                x=_ms(np.array([], np.int64)),
                y=np.empty((0, 4)),
                scales=scales,
                colors=[colour + strength] * 2,
                stroke=colour if outlined else "transparent",
                stroke_width=1.0,
            )
            for colour in colours
        ]

    def show(self, times: Array, prices: Array, bar: int) -> None:
        """Draw candles: ``prices`` are rows of open, high, low, close, at ``times`` (ms)."""
        risen = prices[:, 3] >= prices[:, 0]
        for mark, chosen in zip(self.marks, (risen, ~risen), strict=True):
            x, y = times[chosen], prices[chosen]
            if len(x):
                far = int(times[0]) - 1_000 * bar
                x = np.concatenate([[far, far + bar], x])
                y = np.concatenate([y[:1], y[:1], y])
            if len(x) or len(mark.x):
                with mark.hold_sync():
                    mark.x, mark.y = _ms(x), y


class Panels:
    """The figures, their legend, and what is drawn in them."""

    def __init__(self) -> None:
        # Milliseconds, not dates: bqplot can't drag a scale of dates.
        self.time = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._price = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._amount = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        self._unit = bq.LinearScale(min=0.0, max=1.0, allow_padding=False)
        price = {"x": self.time, "y": self._price}
        amount = {"x": self.time, "y": self._amount}
        upright = {"x": self.time, "y": self._unit}
        self._closed, self._tail = _Boxes(price, True), _Boxes(price, True)
        self._volume, self._last_volume = _Boxes(amount, False, "99"), _Boxes(amount, False, "99")
        self._lines = bq.Lines(x=[], y=[], scales=price, colors=list(style.LINES), stroke_width=1.5)
        self._last = bq.Lines(
            x=[], y=[], scales=price, colors=[style.EQUITY], stroke_width=1, line_style="dashed"
        )
        self._bands = bq.Lines(
            x=[], y=[], scales=upright, fill="inside", stroke_width=1, visible=False
        )
        self._signs = bq.Label(
            x=[], y=[], text=[], scales=upright, align="middle", font_weight="bold", default_size=13
        )
        self._start = bq.Lines(
            x=[], y=[], scales=upright, colors=[style.BENCHMARK], stroke_width=1,
            line_style="dotted", visible=False,
        )  # fmt: skip
        self._trades = {key: _scatter(price, *key) for key in _MARKERS}
        self._axes()
        drag = [bq.PanZoom(scales={"x": [self.time]}, allow_zoom=False) for _ in range(2)]
        self.legend = style.legend([])
        self.price = _figure(
            [self._bands, self._start, *self._closed.marks, *self._tail.marks, self._lines,
             self._last, *self._trades.values(), self._signs],
            [self._times, self._prices, self._last_price], drag[0], 330, 8,
        )  # fmt: skip
        self.volume = _figure(
            [*self._volume.marks, *self._last_volume.marks],
            [self._labelled, self._amounts], drag[1], 160, 52,
        )  # fmt: skip

    def _axes(self) -> None:
        """Make the axes; they are hidden until there is something to measure (see `look_at`)."""
        look: dict[str, Any] = {"label_color": style.TEXT, "visible": False}
        upright = {"side": "left", "label_offset": "66px", **look}
        self._times = bq.Axis(scale=self.time, tick_style={"display": "none"}, **look)
        self._labelled = bq.Axis(scale=self.time, **look)
        self._prices = bq.Axis(scale=self._price, **upright)
        self._amounts = bq.Axis(scale=self._amount, **upright)
        self._last_price = bq.Axis(  # a single tick, since a label in the plot would be cut off
            scale=self._price,
            side="right",
            grid_lines="none",
            color="transparent",
            tick_style={"font-weight": "bold", "font-size": "13px", "fill": style.EQUITY},
            visible=False,
        )

    def name(self, base: str, quote: str, synthetic: bool) -> None:
        """What the axes measure."""
        self._prices.label = f"price ({quote}{', simulated' if synthetic else ''})"
        self._amounts.label = f"volume ({base})" if base else "volume"

    @property
    def window(self) -> tuple[int, int]:
        """The moments at the left and the right edge (ms), wherever the user has dragged them."""
        return round(self.time.min), round(self.time.max)

    def look_at(self, window: tuple[int, int]) -> None:
        """Move the view to ``window`` (ms)."""
        for axis in (*self.price.axes, *self.volume.axes):
            axis.visible = True
        start, end = window
        ticks, form = style.time_ticks(start + (end - start) // 25, end)  # not over the corner
        if max(abs(self.time.min - start), abs(self.time.max - end)) > TOLERANCE:
            with self.time.hold_sync():  # else it is where a hand just drags it
                self.time.min, self.time.max = map(float, window)
        at = ticks.astype(np.int64)
        labels = pd.DatetimeIndex(ticks).strftime(form)
        self._times.tick_values = _ms(at)
        self._labelled.tick_labels = dict(zip(map(str, at.tolist()), labels, strict=True))
        self._labelled.tick_values = _ms(at)
        days = dict.fromkeys(f"{pd.Timestamp(t, unit='ms'):%Y-%m-%d}" for t in window)
        self._labelled.label = f"time (UTC), {' to '.join(days)}"

    def draw(
        self, closed: pd.DataFrame, lines: Mapping[str, pd.Series], trades: pd.DataFrame, bar: int
    ) -> None:
        """Draw closed candles (not the last: see `draw_tail`), a strategy's lines, its trades."""
        times = times_of(closed)
        self._closed.show(times, closed[list(PRICES)].to_numpy(), bar)
        self._volume.show(times, _columns(closed), bar)
        values = np.array([line.to_numpy(float) for line in lines.values()], dtype=np.float32)
        with self._lines.hold_sync():
            self._lines.visible = bool(np.isfinite(values).any())
            if self._lines.visible:
                at = _to_ms(next(iter(lines.values())).index)
                self._lines.x, self._lines.y = _ms(at), values
        for (direction, entry), mark in self._trades.items():
            own = trades[trades["direction"] == direction]
            when = own["entry_time" if entry else "exit_time"]
            price = own["entry_price" if entry else "exit_price"][when.notna()]
            with mark.hold_sync():
                mark.x = _ms(_to_ms(when.dropna()))
                mark.y = price.to_numpy(np.float64)

    def draw_tail(self, last: pd.DataFrame, forming: Candle | None, bar: int) -> None:
        """Draw the last closed candle (a table of at most one) and the one that is not over."""
        times, prices, volumes = times_of(last), last[list(PRICES)].to_numpy(), _columns(last)
        if forming is not None:
            times = np.append(times, forming.time)
            prices = np.vstack([prices, forming[1:5]])
            volumes = np.vstack([volumes, _column(forming)])
        if len(times) == 0:
            return
        self._tail.show(times, prices, bar)
        self._last_volume.show(times, volumes, bar)
        price = float(prices[-1, 3])
        with self._last.hold_sync():
            self._last.x = _ms(np.array([times[-1] - 10**5 * bar, times[-1] + 10**5 * bar]))
            self._last.y = np.array([price, price])
        self._last_price.tick_values = np.array([price])

    def fit(self, low: float, high: float, most: float, decimals: int) -> None:
        """Set the price axis to [low, high], the volume axis to 0 .. ``most``."""
        values, step = style.ticks(low, high, 7)
        with self._price.hold_sync():
            self._price.min, self._price.max = low, high
        _set_ticks(self._prices, values, style.number_format(step))
        self._last_price.tick_format = f",.{decimals}f"
        self._amount.max = most * 1.08 or 1.0
        values, step = style.ticks(0.0, self._amount.max, 3)
        _set_ticks(self._amounts, values, style.number_format(step) if step < 1 else "~s")

    def mark_gaps(self, gaps: pd.DataFrame, start: int | None) -> None:
        """Shade the gaps (as `Feed.gaps`), and mark the moment ``start`` of the paper account."""
        edges = np.column_stack([_to_ms(gaps["start"]), _to_ms(gaps["end"])])
        kinds = [GAPS[kind] for kind in gaps["kind"]]
        colours = [colour for _, colour, _ in kinds]
        with self._bands.hold_sync():
            self._bands.visible = bool(len(edges))
            if len(edges):
                self._bands.x = _ms(edges[:, [0, 0, 1, 1]])
                self._bands.y = np.tile([0.0, 1.0, 1.0, 0.0], (len(edges), 1))
                self._bands.colors = self._bands.fill_colors = colours
                self._bands.fill_opacities = [0.22] * len(edges)
        with self._signs.hold_sync():
            self._signs.x = _ms(edges.sum(axis=1) // 2)
            self._signs.y = np.full(len(edges), 0.95)
            self._signs.text = np.array([sign for sign, _, _ in kinds])
            self._signs.colors = colours
        with self._start.hold_sync():
            self._start.visible = start is not None
            if start is not None:
                self._start.x, self._start.y = _ms(np.array([start, start])), np.array([0.0, 1.0])

    def explain(self, lines: Mapping[str, Any], kinds: set[str], directions: set[int]) -> None:
        """Say in the legend what is drawn."""
        entries = [("■", style.LONG, "rose"), ("■", style.DRAWDOWN, "fell")]
        for k, name in enumerate(lines):
            entries.append(("━━", style.LINES[k % len(style.LINES)], name))
        for (direction, _), (_, sign, text) in _MARKERS.items():
            if direction in directions:
                entries.append((sign, _side(direction), text))
        if self._start.visible:
            entries.append(("┊", style.BENCHMARK, "the paper account begins"))
        entries += [GAPS[kind] for kind in GAPS if kind in kinds]
        words.write(self.legend, style.legend_html(entries, "Price"))


def _set_ticks(axis: bq.Axis, values: Array, form: str) -> None:
    axis.tick_format = form  # first: bqplot writes the numbers anew only for other values
    axis.tick_values = values


def _scatter(scales: dict[str, Any], direction: int, entry: bool) -> bq.Scatter:
    colour = _side(direction)
    return bq.Scatter(
        x=_ms(np.array([], np.int64)),
        y=np.array([]),
        scales=scales,
        marker=_MARKERS[direction, entry][0],
        colors=[colour if entry else "transparent"],
        stroke=style.TEXT if entry else colour,  # the outline tells it from a candle of its colour
        stroke_width=1.0 if entry else 2.0,
        default_size=64,
    )


def _side(direction: int) -> str:
    return style.LONG if direction > 0 else style.SHORT


def _columns(candles: pd.DataFrame) -> Array:
    """Volumes as candles from 0 upwards, coloured as the price: as broad as those above them."""
    volume = candles["volume"].to_numpy(float)
    zero = np.zeros(len(volume))
    risen = candles["close"].to_numpy() >= candles["open"].to_numpy()
    ends = np.where(risen, zero, volume), np.where(risen, volume, zero)
    return np.column_stack([ends[0], volume, zero, ends[1]])


def _column(candle: Candle) -> list[float]:
    table = pd.DataFrame([candle._asdict()])
    return list(_columns(table)[0])


def _figure(
    marks: list[bq.Mark], axes: list[bq.Axis], drag: bq.PanZoom, height: int, bottom: int
) -> bq.Figure:
    return bq.Figure(
        marks=marks,
        axes=axes,
        interaction=drag,
        fig_margin={"top": 8, "bottom": bottom, "left": 88, "right": _RIGHT},
        padding_y=0.0,
        animation_duration=0,
        display_toolbar=False,
        layout=ipw.Layout(width="100%", height=f"{height}px", min_width="320px"),
    )


def _to_ms(times: Any) -> Array:
    index = pd.DatetimeIndex(times)
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return index.to_numpy().astype("datetime64[ms]").astype(np.int64)


def _ms(times: Any) -> Any:
    """Milliseconds as bqplot takes them: whole numbers would be cut to 32 bits."""
    return np.asarray(times, dtype=np.float64)
