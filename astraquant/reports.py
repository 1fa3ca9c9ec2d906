"""Results as small tables: HTML for the notebook, text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .candles import is_synthetic
from .metrics import DEFINITIONS

if TYPE_CHECKING:
    from .backtesting import Backtest
    from .honesty import Honesty
    from .sweeping import Sweep

_PERCENT = frozenset(
    "total_return annual_return gross_return buy_and_hold max_drawdown win_rate expectancy "
    "best_trade worst_trade exposure".split()
)
_WHOLE = frozenset({"trades", "fills_without_volume"})
_SHOWN = ("total_return", "sharpe", "max_drawdown", "trades", "exposure")  # of a sweep's best rows
_BASIS_POINTS = frozenset({"break_even_cost"})


class Shown:
    """What every result can do that is whole: show itself, and write itself down."""

    def dashboard(self: Any) -> Any:
        """Everything about this result on one page, in tabs (a widget)."""
        from .widgets.dashboard import Dashboard

        return Dashboard(self)

    def report(self: Any, path: str | Path) -> None:
        """Write everything about this result as one HTML page that needs no network.

        Its pictures are matplotlib's, its template jinja2's. A file that is there is replaced.
        """
        from .widgets.report_page import write_report

        write_report(self, path)

    def picture(self: Any, path: str | Path) -> None:
        """Write equity and drawdown as a picture for a paper: .png (200 dpi), .svg or .pdf.

        Drawn by matplotlib, so it needs no browser. A file that is there is replaced.
        """
        from .widgets.report_page import write_picture

        write_picture(self, path)


def format_figure(name: str, value: float) -> str:
    """A figure as a reader wants it: percent, whole number, basis points or two decimals."""
    if math.isnan(value):
        return "–"
    if name in _PERCENT:
        return f"{value:,.2%}"
    if name in _WHOLE:
        return f"{value:,.0f}"
    if name in _BASIS_POINTS:
        return f"{value * 10_000:,.2f} bp"
    return f"{value:,.2f}"


def simulated(source: object) -> str:
    """The sentence that every result on simulated prices carries; else nothing."""
    return f"These prices are simulated: {source}." if is_synthetic(source) else ""


def backtest_html(result: Backtest) -> str:
    """The figures in two columns with their definitions on hover, the contract, the notes."""
    left = 'style="text-align:left"'
    cells = [
        f'<td title="{escape(DEFINITIONS[name])}" {left}>{name.replace("_", " ")}</td>'
        f'<td style="text-align:right">{format_figure(name, float(value))}</td>'
        for name, value in zip(map(str, result.metrics.index), result.metrics, strict=True)
    ]
    half = math.ceil(len(cells) / 2)
    cells += [""] * (2 * half - len(cells))
    rows = "".join(f"<tr>{a}{b}</tr>" for a, b in zip(cells[:half], cells[half:], strict=True))
    title = f"{result.metrics.name} on {len(result.equity):,} bars of {result.timeframe}"
    return (
        f"<div><strong>{escape(title)}</strong><table>{rows}</table>"
        f"<p><em>{escape(result.options.contract(result.options.cost))}</em></p>"
        f"{_list(result.notes)}</div>"
    )


def sweep_html(result: Sweep) -> str:
    """The five best rows by Sharpe ratio, and how many trials they are the best of."""
    best = result.ranking("sharpe").head(5)
    names = [*map(str, result.table.index.names), *_SHOWN]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(str(value))}</td>" for value in cast(tuple[object, ...], place))
        + "".join(f"<td>{format_figure(name, float(row[name]))}</td>" for name in _SHOWN)
        + "</tr>"
        for place, row in best.iterrows()
    )
    luck = _luck(result, len(best), "sharpe")
    return (
        f"<div><strong>{escape(repr(result)[1:-1])}</strong>"
        f"<table><tr>{head}</tr>{rows}</table>"
        f"<p><em>{escape(result.contract)}</em></p>{_list((luck, *result.notes))}</div>"
    )


def backtest_text(result: Backtest) -> str:
    """The figures for a terminal: one a line with its definition, then contract and notes."""
    lines = [f"{result.metrics.name} on {len(result.equity):,} bars of {result.timeframe}", ""]
    for name, value in zip(map(str, result.metrics.index), result.metrics, strict=True):
        lines.append(f"{name:<20} {format_figure(name, float(value)):>14}   {DEFINITIONS[name]}")
    return "\n".join([*lines, "", result.options.contract(result.options.cost), *result.notes])


def sweep_text(result: Sweep, metric: str, top: int) -> str:
    """The best rows for a terminal, and how many trials they are the best of."""
    best = result.ranking(metric).head(top)
    names = [metric, *(name for name in _SHOWN if name != metric)]
    rows = [[*map(str, result.table.index.names), *names]]
    for place, row in best.iterrows():
        figures = [format_figure(name, float(row[name])) for name in names]
        rows.append([*map(str, cast(tuple[object, ...], place)), *figures])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    said = [_luck(result, len(best), metric), result.contract, *result.notes]
    return "\n".join([repr(result)[1:-1], "", *lines, "", *said])


def _luck(result: Sweep, shown: int, metric: str) -> str:
    said, trials = result.luck.words, f"{len(result.table):,} trials"
    note = "" if math.isnan(result.luck.deflated) else " (a probability, not a return)"
    first = f"The best {shown} of {trials} by {metric}. " if shown else ""
    return f"{first}{said[0].upper()}{said[1:]}{note}; honesty() says more."


def honesty_html(result: Honesty) -> str:
    """The sentence in plain words, then every figure beside what it means."""
    cells = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td>'
        f'<td style="text-align:right;white-space:nowrap">{escape(value)}</td>'
        f'<td style="text-align:left;max-width:560px">{escape(meaning)}</td></tr>'
        for name, value, meaning in result.lines
    )
    notes = [text for text in (simulated(result.source), *result.reasons) if text]
    return f"<div><p>{escape(result.sentence)}</p><table>{cells}</table>{_list(notes)}</div>"


def _list(remarks: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f"<ul>{items}</ul>" if items else ""


def sweep_notes(result: Sweep) -> tuple[str, ...]:
    """What a reader must know about a sweep's figures, a sentence each."""
    ruined = result.ruined
    said = {
        simulated(result.source): bool(simulated(result.source)),
        "Filled at the very close that decides: optimistic.": result.options.fill == "close",
        f"Stops were watched in candles of {result.watched}.": result.watched is not None,
        "Shorts are hypothetical on spot: no borrowing cost is counted.": result.shorted,
        f"{ruined:,} run{'s' if ruined > 1 else ''} ruined: a short lost all equity.": ruined > 0,
    }
    return tuple(text for text, holds in said.items() if holds)
