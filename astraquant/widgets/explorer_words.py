"""What the explorer says of a run in words and figures, as HTML."""

from __future__ import annotations

import math
from html import escape

from ..backtesting import Backtest
from ..metrics import DEFINITIONS
from ..reports import format_figure
from . import style

# For both themes: text and lines take their colours from JupyterLab's.
LOOK = """<style>
.astraquant-explorer .astraquant-figures {display:grid; font-size:12px; line-height:18px;
  grid-template-columns:repeat(auto-fill,minmax(176px,1fr)); gap:0 18px; margin:2px 0}
.astraquant-explorer .astraquant-figures > div {display:flex; justify-content:space-between;
  gap:8px; border-bottom:1px solid var(--jp-border-color2,#8884); cursor:help; white-space:nowrap}
.astraquant-explorer .astraquant-figures b {font-variant-numeric:tabular-nums}
.astraquant-explorer .widget-label, .astraquant-explorer .widget-readout {font-size:12px}
.astraquant-stale {opacity:.4}
</style>"""
_BLOCK = f"color:{style.TEXT};padding:0 8px;font-size:12px;line-height:18px"


def say_run(result: Backtest) -> str:
    """Which run it is: strategy, bars."""
    bars = len(result.equity)
    text = f"{result.metrics.name} · {bars:,} bar{'s' if bars != 1 else ''} of {result.timeframe}"
    return (
        f'<div style="color:{style.TEXT};padding:0 8px;font-size:14px;font-weight:600">'
        f"{escape(text)}</div>"
    )


def say_figures(result: Backtest) -> str:
    """All figures with their definitions on hover, what fees took, contract and notes."""
    cells = "".join(
        f'<div title="{escape(DEFINITIONS[name])}"><span>{name.replace("_", " ")}</span>'
        f"<b>{format_figure(name, float(value))}</b></div>"
        for name, value in zip(map(str, result.metrics.index), result.metrics, strict=True)
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    return (
        f'<div style="{_BLOCK}"><p style="margin:4px 0;font-size:13px">{escape(say_fees(result))}'
        f'</p><div class="astraquant-figures">{cells}</div>'
        f'<p style="margin:6px 0 2px"><em>{escape(result.options.contract(result.options.cost))}'
        f'</em></p><ul style="margin:0;padding-left:18px">{notes}</ul></div>'
    )


def say_fees(result: Backtest) -> str:
    """The money lost to fees, and what the same fills would have earned without them."""
    figures, cash = result.metrics, result.options.cash
    fees, gross, net = (float(figures[n]) for n in ("fees_paid", "gross_return", "total_return"))
    if not len(result.trades):
        return "No trade, so no fees."
    if not result.options.cost:
        return f"No fees at a cost of zero: it returned {net:+.2%}."
    if math.isnan(fees + gross + net):
        return "Fees: beyond what can be counted."
    return (
        f"Fees took {fees:,.2f} of the quote currency (it began with {cash:,.0f}): without them "
        f"the same trades would have returned {gross:+,.2%}, with them {net:+,.2%}."
    )
