"""How every picture looks: colours for both themes, header and legend, labels and number formats.

Text, grids and backgrounds follow JupyterLab's theme by themselves (bqplot and the HTML below use
its CSS variables). The colours of marks do not, so each is chosen to stand out on white and on the
dark theme's background alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import ipywidgets as ipw
import numpy as np

from ..timeframes import DAY, HOUR, MINUTE, SECOND

Array = np.ndarray[Any, Any]

PRICE = "#76859a"
EQUITY = "#2f81d6"
BENCHMARK = "#8a8a8a"
DRAWDOWN = "#d1495b"
LONG = "#12935a"
SHORT = "#c2569b"
LINES = ("#d97400", "#8b5fd1", "#0f8f9c", "#a8731f")  # strategy lines, in turn
MISSING = "#80808073"  # half transparent: quiet on white and in the dark
BADGE = "#ffb000"
TEXT = "var(--jp-content-font-color1)"  # of the theme; bqplot's dark axis labels are orange

# Fractions are shown in per cent, the rest as plain numbers with the unit named on the axis.
PERCENT = frozenset(
    "total_return annual_return max_drawdown win_rate expectancy exposure best_trade worst_trade "
    "gross_return break_even_cost buy_and_hold".split()
)
# The sign of these says gain or loss: their colours turn at zero.
SIGNED = frozenset(
    "total_return annual_return sharpe sortino sharpe_daily expectancy best_trade worst_trade "
    "gross_return buy_and_hold".split()
)
UNITS = {
    "sharpe": "annualised",
    "sharpe_daily": "annualised",
    "sortino": "annualised",
    "turnover": "× mean equity",
    "fees_paid": "quote currency",
    "trades": "number",
    "fills_without_volume": "number",
}


# Until a notebook is run, JupyterLab puts a broken link in front of every part of a stored picture,
# which pushes the marks of bqplot's figures off their axes. That of the whole picture is kept.
_CLASS = "astraquant-chart"
_ONE_LINK = f".{_CLASS} .jupyter-widgets-disconnected::before{{display:none}}"
# What is written on a button is its name for a screen reader, a tooltip is not: so where there is
# room for an icon alone the name is there, but not drawn.
ICON_ONLY = "astraquant-icon"
_NAMED = (
    f".{_CLASS} .{ICON_ONLY}{{font-size:0;display:flex;align-items:center;justify-content:center}}"
    f".{_CLASS} .{ICON_ONLY} i{{font-size:13px;margin:0}}"
)


class Chart(ipw.VBox):  # type: ignore[misc]  # ipywidgets is untyped
    """A picture with a one-line ``repr`` that is the same in every run."""

    def __init__(self, children: Sequence[ipw.Widget], summary: str) -> None:
        """Stack ``children``; ``summary`` is what ``repr`` says."""
        self._summary = summary
        layout = ipw.Layout(width="100%", max_width="1000px")
        super().__init__(children, layout=layout, _dom_classes=[_CLASS])

    def __repr__(self) -> str:
        return self._summary


def parts_of(widget: ipw.Widget) -> list[ipw.Widget]:
    """The widget and all that it is made of, layouts, scales and axes included, each once."""
    found: dict[int, ipw.Widget] = {}  # by identity: one that is closed has no model_id
    waiting: list[Any] = [widget]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ipw.Widget):
            if id(one) not in found:
                found[id(one)] = one
                waiting += [getattr(one, name) for name in one.keys]
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return list(found.values())


def close_all(widget: ipw.Widget) -> None:
    """Free ``widget`` and all its parts, in the browser too, and whoever listened to them."""
    for part in parts_of(widget):
        ipw.Widget.close(part)
        part.unobserve_all()


def header(title: str, *, synthetic: bool = False, venue: str = "", note: str = "") -> ipw.HTML:
    """Title line; simulated prices get a badge nobody overlooks, ``note`` follows in small.

    ``venue``: what the badge says of where the prices come from, quietly if they are real.
    """
    return ipw.HTML(header_html(title, synthetic=synthetic, venue=venue, note=note))


def header_html(title: str, *, synthetic: bool = False, venue: str = "", note: str = "") -> str:
    """What `header` shows, to change one that is there: a widget made for that would remain."""
    look = f"background:{BADGE};color:#000" if synthetic else "border:1px solid currentColor"
    said = venue or ("synthetic prices" if synthetic else "")
    badge = (
        f' <span style="{look};font-weight:700;padding:0 8px;'
        'border-radius:4px;font-size:13px;line-height:20px;white-space:nowrap">'
        f"{escape(said)}</span>"
        if said
        else ""
    )
    small = f'<span style="opacity:.75">{escape(note)}</span>' if note else ""
    return _html(
        f"<style>{_ONE_LINK}{_NAMED}</style>"
        '<div style="display:flex;flex-wrap:wrap;gap:2px 12px;align-items:baseline">'
        f'<span style="font-size:16px;font-weight:600">{escape(title)}</span>{badge}{small}</div>'
    )


def legend(entries: Iterable[tuple[str, str, str]], heading: str = "") -> ipw.HTML:
    """One line of (symbol, colour, text) above a panel, where it can hide no data."""
    return ipw.HTML(legend_html(entries, heading))


def legend_html(entries: Iterable[tuple[str, str, str]], heading: str = "") -> str:
    """What `legend` shows, to change one that is there."""
    shown = "".join(
        f'<span style="white-space:nowrap"><span style="color:{colour};font-weight:700">'
        f"{escape(symbol)}</span> {escape(text)}</span>"
        for symbol, colour, text in entries
    )
    bold = f'<span style="font-weight:600">{escape(heading)}</span>' if heading else ""
    return _html(
        '<div style="display:flex;flex-wrap:wrap;gap:0 16px;font-size:12px;line-height:18px">'
        f"{bold}{shown}</div>"
    )


def _html(body: str) -> str:
    colour = "var(--jp-content-font-color1,currentColor)"
    return f'<div style="color:{colour};padding:0 8px">{body}</div>'


def metric_label(metric: str) -> str:
    """A metric's name and unit as people read it: ``total return (%)``."""
    unit = "%" if metric in PERCENT else UNITS.get(metric, "")
    name = metric.replace("_", " ")
    return f"{name} ({unit})" if unit else name


def metric_format(metric: str, step: float) -> str:
    """Format of a metric's numbers that lie ``step`` apart, for d3 and for Python alike."""
    if metric in PERCENT:
        return f",.{_decimals(100 * step)}%"
    return number_format(step)


def number_format(step: float) -> str:
    """Format that keeps numbers ``step`` apart from each other: ``,.2f`` for 0.05."""
    return f",.{_decimals(step)}f"


def _decimals(step: float) -> int:
    return min(10, max(0, -math.floor(math.log10(step) + 1e-9)))


def nice_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 5, 10, 20 ... that goes into ``span`` at most ``count`` times."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))


def nice_range(values: Array, pad: float = 0.04) -> tuple[float, float]:
    """Where an axis over ``values`` begins and ends; equal values get some room around them."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = pad * (high - low) or 0.01 * abs(high) or 1.0
    return low - room, high + room


def ticks(low: float, high: float, count: int) -> tuple[Array, float]:
    """Round numbers within, 1 (``count`` ≥ 3) to ``count`` + 1 of them, and their step."""
    step = nice_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return np.arange(first, last + 1) * step, step


def set_ticks(axis: Any, values: Array, tick_format: str) -> None:
    """Give a value axis (of bqplot) other ticks; nothing is sent that stays.

    bqplot writes the numbers anew only when other values come, so the format must be there before.
    """
    if axis.tick_format != tick_format:
        axis.tick_format = tick_format
        axis.tick_values = values[:0]
    axis.tick_values = values


# Steps of a time axis and the format of its ticks; the axis label says the whole range.
_STEPS = (
    *((n * SECOND, "%H:%M:%S") for n in (1, 5, 15, 30)),
    *((n * MINUTE, "%H:%M") for n in (1, 5, 15, 30)),
    *((n * HOUR, "%d %b %H:%M") for n in (1, 3, 6, 12)),
    *((n * DAY, "%d %b") for n in (1, 2, 5, 10)),
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240)


def time_ticks(start: int, end: int, count: int = 7) -> tuple[Array, str]:
    """At most ``count`` round moments from ``start`` to ``end`` (ms, UTC), and their format.

    The moments are ``datetime64[ms]``; a format of d3 and of ``strftime`` alike.
    """
    for step, tick_format in _STEPS:
        if (end - start) // step < count:
            found = np.arange(-(-start // step), end // step + 1) * step
            return found.astype("datetime64[ms]"), tick_format
    ends = np.array([start, end]).astype("datetime64[ms]").astype("datetime64[M]")
    first, last = (int(month) for month in ends.astype(int))
    step = next((n for n in _MONTHS if (last - first) / n < count), 240)
    months = np.arange(-(-first // step) * step, last + 1, step).astype("datetime64[M]")
    found = months.astype("datetime64[ms]")
    return found[found >= np.datetime64(start, "ms")], "%b %Y" if step < 12 else "%Y"
