"""`compare`: several results side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import bqplot as bq
import ipywidgets as ipw
import numpy as np
import pandas as pd

from ..errors import StrategyError
from ..performance import drawdown
from ..timeframes import duration
from . import report_tables as tables
from . import style
from .chart import TimeAxis, lines_mark, panel_figure, thin, value_axis
from .dashboard import log_switch
from .dashboard_pictures import CurvesPanel, whole_index
from .dashboard_view import View, view_of
from .report_tables import say_time

COLOURS = (style.EQUITY, *style.LINES, style.LONG, style.SHORT)
_SETTINGS = (  # of a run, that may tell it from another of the same name
    "direction cost slippage fill stop_loss take_profit trailing_stop cash rebalance "
    "lookback".split()
)


class Comparison(style.Chart):
    """Results side by side; made by `compare`.

    ``table``: every figure, a column a result. ``notes``: what a reader must know.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]


def compare(*results: Any) -> Comparison:
    """Show results of `backtest` or portfolios side by side: growth, drawdown and every figure.

    Each curve starts at 1. Results of one name are told apart by what else differs between them.
    Other spans, timeframes or candles are allowed, and said in the notes. Raises `StrategyError`
    for fewer than two or more than seven results, or what is no result.
    """
    if not 2 <= len(results) <= len(COLOURS):
        raise StrategyError(
            f"compare was given {len(results)} result{'' if len(results) == 1 else 's'}; expected "
            f"2 to {len(COLOURS)} (more curves can't be told apart): compare(first, second)."
        )
    views = [view_of(result) for result in results]
    names = distinct_names(views)
    colour = dict(zip(names, COLOURS, strict=False))
    shown = dict(zip(names, views, strict=True))
    notes = tuple(_notes(shown))
    switch = log_switch()
    curves = {
        name: (colour[name], view.equity / view.cash) for name, view in reversed(shown.items())
    }
    growth = CurvesPanel(curves, "Equity", "growth of 1")
    switch.observe(lambda change: growth.show(log=change.new), "value")
    figures = dict.fromkeys(figure for view in views for figure in view.metrics.index)
    columns = {name: view.metrics.reindex(list(figures)) for name, view in shown.items()}
    definitions = {k: text for view in views for k, text in view.definitions.items()}
    words = tables.notes_html(notes) + tables.comparison_html(columns, definitions, colour)
    synthetic = any(view.synthetic for view in views)
    head = style.header(f"{len(views)} results side by side", synthetic=synthetic)
    parts = [head, switch, *growth.parts, *_drawdown_panel(shown, colour)]
    parts.append(ipw.HTML(tables.LOOK + tables.said(words), layout=ipw.Layout(width="100%")))
    widget = Comparison(parts, f"Comparison({', '.join(names)})")
    widget.table, widget.notes = pd.DataFrame(columns), notes
    return widget


def distinct_names(views: Sequence[View]) -> list[str]:
    """A name for each; where several share one, it is followed by what tells them apart."""
    names = [view.name for view in views]
    for shared in [name for name, count in Counter(names).items() if count > 1]:
        places = [k for k, name in enumerate(names) if name == shared]
        settings = [_settings(views[k]) for k in places]
        kept = _telling(settings)
        told = [(shared, *(one[i] for i in kept)) for one in settings]
        for place, (k, one) in enumerate(zip(places, told, strict=True), 1):
            names[k] = ", ".join([*one, f"#{place}"] if told.count(one) > 1 else one)
    return names


def _telling(settings: list[list[str]]) -> list[int]:
    """The places of the settings that tell rows apart, as few as do."""

    def apart(places: list[int]) -> int:
        return len({tuple(row[i] for i in places) for row in settings})

    kept = list(range(len(settings[0])))
    for place in reversed(kept.copy()):  # the first to be named are the last to be given up
        fewer = [i for i in kept if i != place]
        if apart(fewer) == apart(kept):
            kept = fewer
    return kept


def _settings(view: View) -> list[str]:
    """What may tell results of one name apart."""
    options = view.passport["options"]
    known = [f"{name.replace('_', ' ')} {_say(options.get(name))}" for name in _SETTINGS]
    return [view.timeframe, *known, covered(view), str(view.passport.get("source"))]


def _say(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def covered(view: View) -> str:
    """From the first bar's open to the last one's end."""
    first, last = view.equity.index[[0, -1]]
    end = last + pd.Timedelta(duration(view.timeframe), "ms")
    return f"{say_time(first)} to {say_time(end)}"


def _notes(views: dict[str, View]) -> list[str]:
    """What all say together, what one says alone, and what makes them hard to compare."""
    notes = []
    spans = {name: covered(view) for name, view in views.items()}
    if len(set(spans.values())) > 1:
        told = "; ".join(f"{name}: {span}" for name, span in spans.items())
        notes.append(f"They cover different times, so their figures are not of one market. {told}.")
    if len({view.timeframe for view in views.values()}) > 1:
        notes.append("Their bars differ in length: compare sharpe daily rather than sharpe.")
    if len({str(view.passport["candles_sha256"]) for view in views.values()}) > 1:
        notes.append("They were run over different candles.")
    for note in dict.fromkeys(note for view in views.values() for note in view.notes):
        own = [name for name, view in views.items() if note in view.notes]
        notes.append(note if len(own) == len(views) else f"{'; '.join(own)}: {note}")
    return notes


def _drawdown_panel(views: dict[str, View], colour: dict[str, str]) -> list[ipw.Widget]:
    time = TimeAxis(whole_index([view.equity.index for view in views.values()]))
    falls = {name: drawdown(v.equity.to_numpy(float), v.cash) for name, v in views.items()}
    lowest = min(float(fall.min()) for fall in falls.values())
    low = 1.05 * lowest if lowest < 0 else -0.01
    scales = {"x": time.scale, "y": bq.LinearScale(min=low, max=0.0, allow_padding=False)}
    marks = []
    for name, fall in reversed(falls.items()):
        at = thin(fall)
        index, values = views[name].equity.index[at], np.asarray(fall)[None, at]
        marks.append(lines_mark(index, values, scales, [colour[name]], stroke_width=1.3))
    axes = [time.axis(labelled=True), value_axis(scales["y"], "drawdown (%)", 4, "max_drawdown")]
    entries = [("━━", colour[name], name) for name in views]
    return [style.legend(entries, "Drawdown"), panel_figure(marks, axes, 200, bottom=52)]
