"""A walk-forward in words: its notes, and its windows and comparison as HTML for the notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from .reports import format_figure
from .statistics import FEWEST
from .walk_windows import Choice, at, say_span

if TYPE_CHECKING:
    from .walk_runs import Walk
    from .walking import WalkForward

MOST_ROWS = 24  # of windows in a notebook; the table has them all
WALKED, STATIC, HELD = "walk-forward", "best static choice, in hindsight", "buy and hold"
# Metrics that say the same of a long window and of a short one; all others grow with its length.
RATES = frozenset("sharpe sortino annual_return win_rate exposure expectancy profit_factor".split())


def compared(choices: Iterable[Choice]) -> list[Choice]:
    """The windows that have the metric both in and out of sample: whole ones, if there are any."""
    both = _with_both(choices)
    return [choice for choice in both if choice.window.whole] or both


def cut_short(choices: list[Choice]) -> int:
    """How many of the last windows with both are not `compared`: their tests are cut short."""
    return len(_with_both(choices)) - len(compared(choices))


def _with_both(choices: Iterable[Choice]) -> list[Choice]:
    return [c for c in choices if not math.isnan(c.in_sample + c.out_of_sample)]


def efficiency(walk: Walk) -> float:
    """See `WalkForward.efficiency`."""
    counted = compared(walk.choices)
    before = sum(choice.in_sample for choice in counted)
    if walk.metric not in RATES or not before > 0:
        return math.nan
    return sum(choice.out_of_sample for choice in counted) / before


def combinations(count: int) -> str:
    """So many combinations, in words."""
    return "1 combination" if count == 1 else f"{count:,} combinations"


def walk_notes(walk: Walk) -> Iterator[str]:
    """What a reader must know about the windows, a sentence each."""
    plan, choices, metric = walk.plan, walk.choices, walk.metric.replace("_", " ")
    rate = walk.metric in RATES
    cut = [choice for choice in choices if not choice.window.whole]
    if cut:
        verb = "test is" if len(cut) == 1 else f"{len(cut):,} tests are"
        left = ", so the efficiency leaves that out" if rate and cut_short(choices) else ""
        yield f"The last {verb} shorter than {say_span(plan.test)}: the candles end there{left}."
    if not rate:
        yield (
            f"No efficiency: it compares rates, such as sharpe; {metric} depends on the length of "
            "the window."
        )
    if (bars := len(walk.tested.index)) < FEWEST:
        yield (
            f"No interval of the Sharpe ratio: {bars} bar{'s' if bars > 1 else ''} out of sample, "
            f"and it takes {FEWEST}."
        )
    if plan.step < plan.test:
        yield (
            f"Each choice is traded for {say_span(plan.step)}, until the next; its figure out of "
            f"sample is that of {say_span(plan.test)}, so these overlap."
        )
    yield from _absent(choices, metric)
    silent = [c for c in choices if c.row is not None and c.tested and not _known(c)]
    if silent:
        yield f"No {metric} in the {_tests(silent)}{': left out of the efficiency' * rate}."


def _absent(choices: Iterable[Choice], metric: str) -> Iterator[str]:
    """Windows in which nothing could be tuned, nothing was found, or nothing tested."""
    listed = list(choices)
    if empty := [c for c in listed if not c.trained]:
        yield f"No candles in the {_trainings(empty)}: flat there."
    if unknown := [c for c in listed if c.trained and c.row is None]:
        yield f"No combination has a {metric} in the {_trainings(unknown)}: flat there."
    if untested := [c for c in listed if not c.tested]:
        whose = "its choice is" if len(untested) == 1 else "their choices are"
        yield f"No candles in the {_tests(untested)}: {whose} never traded."


def _known(choice: Choice) -> bool:
    return not math.isnan(choice.out_of_sample)


def _trainings(choices: list[Choice]) -> str:
    return f"training{'s' if len(choices) > 1 else ''} before the {_tests(choices)}"


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
        *_luck(len(result.grid.rows)),
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


def _luck(count: int) -> Iterator[str]:
    if count == 1:
        return  # nothing was chosen, before or in hindsight
    yield (
        f"Each choice is the best of {count:,} in its training, so the figure in sample is partly "
        "luck; that out of sample was chosen by nobody."
    )
    yield "The best static choice is chosen in hindsight: nobody could have known it."


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
