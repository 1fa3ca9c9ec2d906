"""A portfolio in words: its notes, and its figures as HTML for the notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from .estimates import ESTIMATED
from .portfolio_figures import DEFINITIONS
from .reports import format_figure, simulated
from .slots import Slots

if TYPE_CHECKING:
    from .portfolios import Portfolio

_SHOWN_AS = {"orders": "trades", "invested": "exposure"}  # a whole number, per cent


def portfolio_notes(result: Portfolio) -> Iterator[str]:
    """What a reader must know about the figures, a sentence each."""
    if text := simulated(result.candles.attrs.get("source")):
        yield text
    yield from _history(result)
    yield from _absences(result)
    yield from _fills(result)
    if len(result.pending):
        wanted = ", ".join(f"{symbol} {weight:.1%}" for symbol, weight in result.pending.items())
        yield f"Pending at the last close: {wanted}; never filled."
    if not len(result.orders):
        yield "It never trades: its figures are those of cash."


def _history(result: Portfolio) -> Iterator[str]:
    """From when on decisions could be made."""
    universe, targets = result._universe, result.targets
    start = universe.time_of(universe.start)
    if result.lookback and len(targets) and targets.index[0] > start:
        yield (
            f"In cash until the close of {targets.index[0]}: it needs {result.lookback} of history."
        )
    elif result.lookback and not len(targets):
        yield f"In cash throughout: it needs {result.lookback} of history, which there never is."
    if isinstance(result._plan, Slots):
        idle = [symbol for symbol in result.symbols if symbol not in result._plan.chosen]
        if idle:
            yield f"No strategy for {', '.join(idle)}: never held."
    elif len(targets) > 1 and (unknown := int((targets.iloc[1:].sum(axis=1) == 0).sum())):
        yield f"{unknown:,} of {len(targets):,} decisions are for cash alone."


def _absences(result: Portfolio) -> Iterator[str]:
    """Bars that a symbol does not have: before its first, after its last, in between."""
    universe = result._universe
    there = ~np.isnan(universe.evaluated("close"))
    estimated = result._plan.title in ESTIMATED
    for place, symbol in enumerate(result.symbols):
        rows = np.flatnonzero(there[:, place])
        if not len(rows):
            yield f"{symbol} has no bar here: never held."
            continue
        first, last = rows[0], rows[-1]
        if first > 0 and universe.first_bars[place] >= universe.first:
            later = f", nor until it has {result.lookback} of history" if estimated else ""
            yield (
                f"{symbol} has its first bar at {universe.index[first]}: not held before{later}; "
                "no part of buy and hold."
            )
        if missing := int(last - first + 1 - len(rows)):
            yield (
                f"{symbol} has no bar at {missing:,} time{'s' if missing > 1 else ''} at which "
                "another has one: marked at its last close there."
            )
        if last < len(there) - 1:
            yield (
                f"{symbol} has no bar after {universe.index[last]}: what is held of it is marked "
                "at its last close."
            )


def _fills(result: Portfolio) -> Iterator[str]:
    """Orders that did not go as decided."""
    raw = result._account.orders
    if waited := int((raw["bar"] > raw["decided"]).sum()):
        yield (
            f"{waited:,} order{'s' if waited > 1 else ''} waited for a bar of the symbol and "
            "got the price then."
        )
    if cut := int(raw["cut"].sum()):
        yield f"{cut:,} purchase{'s' if cut > 1 else ''} made smaller for lack of cash."
    if empty := int(result.metrics["fills_without_volume"]):
        yield f"{empty:,} fill{'s' if empty > 1 else ''} in bars in which nobody traded."


def portfolio_html(result: Portfolio) -> str:
    """The figures in two columns with their definitions on hover, the weights, the notes."""
    cells = [
        _cell(name.replace("_", " "), DEFINITIONS[name])
        + _number(format_figure(_SHOWN_AS.get(name, name), float(value)))
        for name, value in zip(map(str, result.metrics.index), result.metrics, strict=True)
    ]
    half = math.ceil(len(cells) / 2)
    cells += [""] * (2 * half - len(cells))
    rows = "".join(f"<tr>{a}{b}</tr>" for a, b in zip(cells[:half], cells[half:], strict=True))
    title = f"{result.name}, on {len(result.equity):,} bars of {result.timeframe}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    return (
        f"<div><strong>{escape(title)}</strong><table>{rows}</table>{_weights_html(result)}"
        f"<p><em>{escape(result.contract)}</em></p>{f'<ul>{notes}</ul>' if notes else ''}</div>"
    )


def _weights_html(result: Portfolio) -> str:
    """A row per symbol: its mean and last weight, its orders and what they cost."""
    names = ("symbol", "mean weight", "last weight", "orders", "fees")
    head = "".join(f"<th>{name}</th>" for name in names)
    mean, last = result.weights.mean(), result.weights.iloc[-1]
    orders = result.orders.groupby("symbol")["fee"]
    count, fees = orders.size(), orders.sum()
    rows = "".join(
        f"<tr>{_cell(symbol)}{_number(f'{mean[symbol]:.1%}')}{_number(f'{last[symbol]:.1%}')}"
        f"{_number(f'{count.get(symbol, 0):,}')}{_number(f'{fees.get(symbol, 0.0):,.2f}')}</tr>"
        for symbol in result.symbols
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _cell(text: str, meaning: str = "") -> str:
    hover = f' title="{escape(meaning)}"' if meaning else ""
    return f'<td{hover} style="text-align:left">{escape(text)}</td>'


def _number(text: str) -> str:
    return f'<td style="text-align:right">{text}</td>'
