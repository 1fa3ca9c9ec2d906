"""The command `strategies`: what there is to run, and where it comes from."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from .common import command_parser

if TYPE_CHECKING:
    from ..strategies.definition import Parameter
    from ..strategies.plugins import Listed

EXAMPLES = """examples:
  astraquant strategies                name, parameters and origin of each
  astraquant strategies --json         the same for other programs

A package adds its own by an entry point in the group astraquant.strategies. One that can't be used
is listed with the reason."""


def run_strategies(arguments: list[str]) -> int:
    """Run `astraquant strategies ARGUMENTS` and return its exit code."""
    parser = command_parser("strategies", "List all strategies.", EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print the list for a machine")
    known = parser.parse_args(arguments)
    from ..strategies.plugins import list_strategies

    listed = list_strategies()
    if known.json:
        print(json.dumps([_plain(one) for one in listed], indent=2, allow_nan=False))
    else:
        print("\n\n".join(map(_text, listed)))
    return 0


def _text(one: Listed) -> str:
    """A strategy as a paragraph: its name and origin, then what it does and takes."""
    if one.strategy is None:
        lines = [f"{one.name} ({one.origin}) can't be used", f"{one.entry}: {one.error}"]
    else:
        strategy = one.strategy
        lines = [f"{one.name} ({one.origin})", strategy.description or "(it has no description)"]
        lines += [_parameter_text(parameter) for parameter in strategy.parameters.values()]
        if strategy.valid is not None:
            lines.append(f"expected: {strategy.rule}")
    wrapped = [textwrap.fill(line, 96, subsequent_indent="  ") for line in lines]
    return "\n".join(wrapped[:1] + [textwrap.indent(line, "  ") for line in wrapped[1:]])


def _parameter_text(parameter: Parameter) -> str:
    default = "needed" if parameter.default is None else f"default {parameter.default}"
    span = ""
    if parameter.range is not None:
        span = f", {parameter.range.low:g} to {parameter.range.high:g}"
    elif parameter.choices:
        span = f", {' or '.join(parameter.choices)}"
    return f"{parameter.name}: {parameter.kind.__name__}, {default}{span}"


def _plain(one: Listed) -> dict[str, Any]:
    """A strategy for JSON; of one that can't be used only name, origin and error."""
    told: dict[str, Any] = {"name": one.name, "origin": one.origin, "error": one.error or None}
    if one.strategy is not None:
        strategy = one.strategy
        told["description"] = strategy.description
        told["parameters"] = [_parameter_plain(p) for p in strategy.parameters.values()]
        told["rule"] = strategy.rule if strategy.valid is not None else None
    return told


def _parameter_plain(parameter: Parameter) -> dict[str, Any]:
    span = parameter.range
    return {
        "name": parameter.name,
        "kind": parameter.kind.__name__,
        "default": parameter.default,
        "range": [span.low, span.high] if span is not None else None,
        "choices": list(parameter.choices) or None,
    }
