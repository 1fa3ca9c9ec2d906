"""The start page: what is served, with addresses to click. No script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final
from urllib.parse import quote, urlencode

from .answers import Parameter, StrategyInfo
from .query import run_options

_STYLE: Final = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #57606a; --warn: #9a6700; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #9198a1; --warn: #d29922; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; font-size: 1.15rem; }
code, a { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
td, th { border-top: 1px solid var(--line); padding: 0.4rem 0.8rem 0.4rem 0; text-align: left;
  vertical-align: top; }
@media (min-width: 45rem) { .runs td:nth-child(-n+2) { white-space: nowrap; } }
.soft { color: var(--soft); } .warn { color: var(--warn); font-weight: 600; }
"""


def start_page(
    symbols: Sequence[str],
    label: tuple[str | None, bool],
    strategies: Iterable[StrategyInfo],
    venue: str,
) -> str:
    """The page. ``label``: the source of the first symbol's candles, whether it is simulated."""
    source, simulated = label
    if simulated:
        origin = f'<p class="warn">Simulated prices: {escape(str(source))}.</p>'
    else:
        origin = f'<p class="soft">Candles of {escape(source or "an unnamed table")}.</p>'
    first = symbols[0]
    examples = [
        (
            "/backtest/ma?short=50&long=200&cost=0.001&timeframe=5m",
            "a backtest of ma_cross: figures, trades, passport",
        ),
        (f"/candles?symbol={first}&timeframe=1h&limit=24", "candles, some at a time"),
        ("/strategies", "all strategies and their parameters"),
        ("/openapi.json", "this interface for programs (OpenAPI)"),
    ]
    rows = "".join(_row(_link(path), escape(text)) for path, text in examples)
    live = escape(f"/ws/{first}?timeframe=1m")
    told = "the simulated exchange" if venue == "sim" else escape(venue)
    rows += _row(f"<code>{live}</code>", f"live candles (WebSocket), of {told}")
    runs = "".join(_strategy_row(info) for info in strategies)
    options = ", ".join(f"<code>{escape(name)}</code>" for name in ("symbol", *run_options()))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AstraQuant</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head><body><h1>AstraQuant</h1>{origin}"
        f"<p>Symbols: {', '.join(f'<code>{escape(name)}</code>' for name in symbols)} "
        '<span class="soft">(symbol=; the first is the default)</span></p>'
        f"<h2>Addresses</h2><table>{rows}</table><h2>Strategies</h2><table class='runs'>"
        f"<tr><th>address</th><th>parameters</th><th>what it does</th></tr>{runs}</table>"
        f'<p class="soft">All of them take {options} too, as the function <code>backtest</code> '
        "does.</p>"
        '<p class="soft">Every request is answered by the function of the same name in Python, to '
        "the digit. A refusal says in <code>detail</code> what was expected.</p></body></html>"
    )


def _strategy_row(info: StrategyInfo) -> str:
    defaults = {p.name: p.default for p in info.parameters if p.default is not None}
    path = quote(info.path) + (f"?{urlencode(defaults)}" if defaults else "")
    spans = [f"{p.name}: {_allowed(p)}" for p in info.parameters]
    if info.rule != "any combination":
        spans.append(info.rule)
    return _row(_link(path), "<br>".join(map(escape, spans)), escape(info.description))


def _allowed(parameter: Parameter) -> str:
    if parameter.choices:
        return " or ".join(parameter.choices)
    span = "" if parameter.low is None else f", {parameter.low:g} to {parameter.high:g}"
    return f"{parameter.kind}{span}"


def _link(path: str) -> str:
    return f'<a href="{escape(path)}">{escape(path)}</a>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
