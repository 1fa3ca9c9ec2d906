"""The tables of dashboards and reports as HTML: figures, drawdowns, months, trades, passport.

Text and lines take their colours from JupyterLab's theme, or from what a page defines in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..reports import format_figure
from . import colours
from .words import amount, decimals_of

Array = np.ndarray[Any, Any]
LOOK = """<style>
.astraquant-said {color:var(--jp-content-font-color1,currentColor); padding:0 8px; font-size:12px;
  line-height:18px}
.astraquant-said p {margin:4px 0}
.astraquant-said ul {margin:2px 0; padding-left:18px}
.astraquant-said .scroll {overflow-x:auto}
.astraquant-said .figures {display:grid; gap:0 18px; margin:2px 0;
  grid-template-columns:repeat(auto-fill,minmax(186px,1fr))}
.astraquant-said .figures > div {display:flex; justify-content:space-between; gap:8px;
  border-bottom:1px solid var(--jp-border-color2,#8884); cursor:help; white-space:nowrap}
.astraquant-said b, .astraquant-said td {font-variant-numeric:tabular-nums}
.astraquant-said table {border-collapse:collapse; font-size:12px; line-height:18px; margin:2px 0}
.astraquant-said th, .astraquant-said td {padding:1px 8px; text-align:right; white-space:nowrap;
  border-bottom:1px solid var(--jp-border-color2,#8884)}
.astraquant-said th {font-weight:600}
.astraquant-said .text {text-align:left}
.astraquant-said th[title] {cursor:help}
.astraquant-said .name {white-space:normal; overflow-wrap:anywhere; min-width:90px; max-width:190px;
  vertical-align:bottom}
.astraquant-said .wide {white-space:normal; overflow-wrap:anywhere}
.astraquant-said .months td {min-width:46px; padding:1px 4px; text-align:center; border:0}
.astraquant-said .months th {text-align:center}
</style>"""
_LIKE = {"orders": "trades", "invested": "exposure"}  # figures of the same unit
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def said(body: str) -> str:
    """``body`` in the look of all tables."""
    return f'<div class="astraquant-said">{body}</div>'


def notes_html(notes: Iterable[str]) -> str:
    """What a reader must know, as a list; nothing if there is nothing."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<ul>{items}</ul>" if items else ""


def figures_html(metrics: pd.Series, definitions: Mapping[str, str]) -> str:
    """Every figure, its definition on hover."""
    cells = "".join(
        f'<div title="{escape(definitions.get(name, ""))}"><span>{label(name)}</span>'
        f"<b>{say_figure(name, float(value))}</b></div>"
        for name, value in zip(map(str, metrics.index), metrics, strict=True)
    )
    return f'<div class="figures">{cells}</div>'


def say_figure(name: str, value: float) -> str:
    """A figure as a reader wants it, those of portfolios included; – if it has no value."""
    return format_figure(_LIKE.get(name, name), value)


def label(name: str) -> str:
    """A figure's name as a reader has it."""
    return escape(name.replace("_", " "))


def comparison_html(
    columns: Mapping[str, pd.Series], definitions: Mapping[str, str], colour: Mapping[str, str]
) -> str:
    """Every figure of several results side by side, its definition on hover; – where one has none.

    ``columns``: figures, the same in all, by the name of the result; ``colour``: of its curves.
    """
    head = "".join(
        f'<th scope="col" class="name"><span style="color:{colour[name]}">━</span> '
        f"{escape(name)}</th>"
        for name in columns
    )
    rows = "".join(
        f'<tr><th scope="row" class="text" title="{escape(definitions.get(name, ""))}">'
        f"{label(name)}</th>"
        + "".join(f"<td>{say_figure(name, float(one[name]))}</td>" for one in columns.values())
        + "</tr>"
        for name in map(str, next(iter(columns.values())).index)
    )
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def drawdowns_html(falls: pd.DataFrame) -> str:
    """The worst drawdowns, as `performance.worst_drawdowns` has them, numbered."""
    if falls.empty:
        return "<p>No drawdown: no close lies below an earlier one.</p>"
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("", "depth", "peak (UTC)", "valley", "recovery", "length", "bars under water")
    )
    rows = "".join(
        f'<tr><th scope="row">{place}</th><td>{fall.depth:.2%}</td>'
        f"<td>{say_time(fall.peak, 'starting cash')}</td><td>{say_time(fall.valley)}</td>"
        f"<td>{say_time(fall.recovery, 'still under water')}</td><td>{say_length(fall.length)}</td>"
        f"<td>{fall.bars:,}</td></tr>"
        for place, fall in enumerate(falls.itertuples(), 1)
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def months_html(months: pd.Series) -> str:
    """Monthly returns as a heat map, a row and a total a year; a month without a bar is empty."""
    values, index = months.to_numpy(float), pd.DatetimeIndex(months.index)
    paint = _Paint(values)
    head = "".join(f'<th scope="col">{name}</th>' for name in (*_MONTHS, "year"))
    rows = []
    for year in sorted(set(index.year)):
        own = {int(m): float(r) for m, r, y in zip(index.month, values, index.year) if y == year}  # noqa: B905
        cells = [paint.cell(own.get(month)) for month in range(1, 13)]
        total = math.prod(1.0 + value for value in own.values()) - 1.0
        rows.append(
            f'<tr><th scope="row">{year}</th>{"".join(cells)}<td><b>{_percent(total)}</b></td></tr>'
        )
    table = f'<table class="months"><tr><th></th>{head}</tr>{"".join(rows)}</table>'
    return f'<div class="scroll">{table}</div>'


class _Paint:
    """Cells in the colours of a heat map: red for a loss, blue for a gain, equally strong."""

    def __init__(self, values: Array) -> None:
        self._most = float(np.abs(values).max()) or 0.01
        self._palette = colours.palette(-self._most, self._most, signed=True)

    def cell(self, value: float | None) -> str:
        if value is None:
            return "<td></td>"
        share = (value + self._most) / (2.0 * self._most)
        red, green, blue = (int(c) for c in self._palette[round(share * (colours.LEVELS - 1))])
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
        look = f"background:#{red:02x}{green:02x}{blue:02x};color:{'#fff' if dark else '#000'}"
        return f'<td style="{look}">{_percent(value)}</td>'


def _percent(value: float) -> str:
    return f"{value:+.1%}" if abs(value) < 10 else f"{value:+,.0%}"


class Column(NamedTuple):
    """A column of a list: its heading, what it means, and each cell in words."""

    heading: str
    meaning: str
    cells: list[str]
    is_text: bool


_MEANINGS = {
    "entry_time": "open time of the bar",
    "exit_time": "open time of the bar",
    "time": "open time of the bar",
    "decided": "open time of the bar at whose close it was decided",
    "cut": "made smaller for lack of cash",
    "value": "price × quantity, in the quote currency",
    "fees": "costs paid, in the quote currency",
    "fee": "cost paid, in the quote currency",
    "profit": "after costs, in the quote currency",
    "return": "profit / value at entry",
    "bars": "how long it was held",
    "status": "closed (by the signal or a stop), open (marked at the last close) or ruined",
}


def list_columns(rows: pd.DataFrame, places: Sequence[int]) -> dict[str, Column]:
    """Some rows of a list of trades or orders, by their places, as they are shown."""
    found = {}
    for name in map(str, rows.columns):
        values = rows[name]
        is_number = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
        cells = list(map(_teller(name, values), values.iloc[list(places)]))
        text = not is_number or name == "direction"
        zone = " (UTC)" if pd.api.types.is_datetime64_any_dtype(values) else ""
        heading = name.replace("_", " ") + zone
        found[name] = Column(heading, _MEANINGS.get(name, ""), cells, text)
    return found


def _teller(name: str, values: pd.Series) -> Callable[[Any], str]:
    """What says one cell of a column in words: all of the column alike."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return say_time
    if name == "direction":
        return lambda side: {1: "long", -1: "short"}.get(int(side), str(side))
    if values.dtype == bool:
        return lambda value: "yes" if value else "no"
    if not pd.api.types.is_numeric_dtype(values):
        return lambda value: str(value).replace("_", " ") if name == "status" else str(value)
    if name == "return":
        return lambda value: f"{value:+,.2%}"
    if pd.api.types.is_integer_dtype(values):
        return lambda value: f"{value:,}"
    if name == "quantity":
        return amount
    if name.endswith("price") and values.abs().max() < 1_000:
        digits = max(2, decimals_of(values.iloc[:1_000].to_numpy(float)))
        return lambda value: _say_number(value, digits)
    return lambda value: _say_number(value, 2)


def _say_number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def list_html(rows: pd.DataFrame, places: Sequence[int], sort: str = "") -> str:
    """Some rows of a list of trades or orders, by their places, as a table.

    ``sort``: the column by which it is sorted, with the direction of it, such as "-profit".
    """
    columns = list_columns(rows, places)
    by, state = sort.lstrip("-"), "descending" if sort.startswith("-") else "ascending"
    head = "".join(
        f'<th scope="col"{_class(column)} title="{escape(column.meaning)}"'
        + (f' aria-sort="{state}"' if name == by else "")
        + f">{escape(column.heading)}{_arrow(state) if name == by else ''}</th>"
        for name, column in columns.items()
    )
    cells = [
        [f"<td{_class(column)}>{escape(cell)}</td>" for cell in column.cells]
        for column in columns.values()
    ]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
    return (
        f'<div class="scroll"><table class="list"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _class(column: Column) -> str:
    return ' class="text"' if column.is_text else ""


def _arrow(state: str) -> str:
    return " ▲" if state == "ascending" else " ▼"


def passport_html(passport: Mapping[str, Any]) -> str:
    """Where the figures come from, a row each; what is nested stands in one cell."""
    rows = "".join(
        f'<tr><th scope="row" class="text">{label(name)}</th>'
        f'<td class="text wide">{escape(_say_value(value))}</td></tr>'
        for name, value in passport.items()
    )
    return f'<div class="scroll"><table>{rows}</table></div>'


def _say_value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_say_value(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_say_value, value)) or "none"
    return str(value)


def say_time(time: Any, otherwise: str = "–") -> str:
    """A time to the minute (to the second where it has some); ``otherwise`` if there is none."""
    if pd.isna(time):
        return otherwise
    return f"{time:%Y-%m-%d %H:%M}" + (f":{time:%S}" if time.second else "")


def say_length(length: Any) -> str:
    """A span of time in its two largest units: ``12 d 4 h``."""
    minutes = int(length.total_seconds()) // 60
    days, hours = minutes // 1_440, minutes // 60 % 24
    if days:
        return f"{days:,} d {hours} h" if hours else f"{days:,} d"
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min"
