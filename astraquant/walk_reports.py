"""A walk-forward in words: its notes, and its windows and comparison as HTML for the notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from .reports import format_figure
from .walk_windows import at, say_span

if TYPE_CHECKING:
    from .walk_runs import Choice, Walk
    from .walking import WalkForward

MOST_ROWS = 24  # of windows in a notebook; the table has them all


def walk_notes(walk: Walk) -> Iterator[str]:
    """What a reader must know about the windows, a sentence each."""
    plan, choices, metric = walk.plan, walk.choices, walk.metric.replace("_", " ")
    cut = [choice for choice in choices if not choice.window.whole]
    if cut:
        verb = "test is" if len(cut) == 1 else f"{len(cut):,} tests are"
        yield f"The last {verb} shorter than {say_span(plan.test)}: the candles end there."
    if plan.step < plan.test:
        yield (
            f"Each choice is traded for {say_span(plan.step)}, until the next; its figure out of "
            f"sample is that of {say_span(plan.test)}, so these overlap."
        )
    yield from _absent(choices, metric)
    silent = [c for c in choices if c.row is not None and c.tested and not _known(c)]
    if silent:
        yield f"No {metric} in the {_tests(silent)}: left out of the efficiency."


def _absent(choices: Iterable[Choice], metric: str) -> Iterator[str]:
    """Windows in which nothing could be tuned, nothing was found, or nothing tested."""
    listed = list(choices)
    if empty := [c for c in listed if not c.trained]:
        yield f"No candles in the training before the {_tests(empty)}: flat there."
    if unknown := [c for c in listed if c.trained and c.row is None]:
        yield f"No combination has a {metric} in the training before the {_tests(unknown)}: flat."
    if untested := [c for c in listed if not c.tested]:
        yield f"No candles in the {_tests(untested)}: its choice is never traded."


def _known(choice: Choice) -> bool:
    return not math.isnan(choice.out_of_sample)


def _tests(choices: list[Choice]) -> str:
    """Some windows by when their tests begin, three of many."""
    begins = [f"{at(choice.window.test_start):%Y-%m-%d %H:%M}" for choice in choices]
    named = ", ".join(begins[:3])
    if len(begins) > 3:
        return f"{len(begins):,} tests from {named} and so on"
    return f"test{'s' if len(begins) > 1 else ''} from {named}"


def walk_html(result: WalkForward) -> str:
    """The comparison, the windows, the contract, and what to know about both."""
    notes = [
        f"Each choice is the best of {len(result.grid.rows):,} in its training, so the figure in "
        "sample is partly luck; that out of sample was chosen by nobody.",
        "The best static choice is chosen in hindsight: nobody could have known it.",
        *_efficiency(result),
        *result.notes,
    ]
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    options = result.options
    return (
        f"<div><strong>{escape(repr(result)[1:-1])}</strong>{_comparison(result.comparison)}"
        f"{_windows(result)}<p><em>{escape(options.contract(options.cost))}</em></p>"
        f"<ul>{items}</ul></div>"
    )


def _efficiency(result: WalkForward) -> Iterator[str]:
    known = result.efficiency
    if not math.isnan(known):
        metric = result.metric.replace("_", " ")
        yield f"Efficiency, mean {metric} out of sample over that in sample: {known:.0%}."


def _comparison(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{_text(str(name))}"
        + "".join(_number(format_figure(str(n), float(v))) for n, v in row.items())
        + "</tr>"
        for name, row in table.iterrows()
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _windows(result: WalkForward) -> str:
    """A row per window: when it was tested, what was chosen, the metric before and after."""
    table, levels = result.windows, list(result.grid.levels)
    names = ["tested from", "to", *levels, f"{result.metric} in sample", "out of sample", "bars"]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    rows = []
    for _, row in table.head(MOST_ROWS).iterrows():
        figures = [format_figure(result.metric, row[n]) for n in ("in_sample", "out_of_sample")]
        chosen = ["–" if pd.isna(row[name]) else str(row[name]) for name in levels]
        spans = [f"{row[name]:%Y-%m-%d %H:%M}" for name in ("test_start", "test_end")]
        cells = "".join(map(_number, [*chosen, *figures, f"{row['bars']:,}"]))
        rows.append(f"<tr>{''.join(map(_text, spans))}{cells}</tr>")
    left = len(table) - len(rows)
    more = f"<p>… and {left:,} more in .windows</p>" if left else ""
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{more}"


def _text(text: str) -> str:
    return f'<td style="text-align:left">{escape(text)}</td>'


def _number(text: str) -> str:
    return f'<td style="text-align:right">{escape(text)}</td>'
