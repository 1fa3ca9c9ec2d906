"""What OpenAPI says of each address: its parameters, its answers, examples of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..metrics import DEFINITIONS
from ..runs import FILLS
from ..strategies.definition import Parameter, Strategy
from ..strategies.running import DIRECTIONS
from ..timeframes import TIMEFRAMES
from .answers import Candles, Problem, Run, Strategies
from .desk import Limits
from .query import TIMES, Option, run_options

# What each option means; its type and default come from the signature of `backtest`.
_MEANINGS: Final = {
    "timeframe": "Resample to it first (default: the candles' own).",
    "cost": "Fraction of the traded value per side: ten basis points are 0.001.",
    "slippage": "Fraction by which a fill is worse.",
    "fill": "At the open of the next bar, or at the very close that decides (optimistic).",
    "direction": "What a boolean signal means.",
    "cash": "Money to start with.",
    "stop_loss": "Fraction of the entry price at which a loss is cut.",
    "take_profit": "Fraction of the entry price at which a profit is taken.",
    "trailing_stop": "Fraction of the best price since the entry at which it is left.",
    "start": "First evaluated time, UTC; earlier candles only warm the indicators up.",
    "end": "Time before which the evaluation ends, UTC.",
}
_EXACT: Final[dict[str, dict[str, Any]]] = {
    "timeframe": {"enum": list(TIMEFRAMES)},
    "fill": {"enum": list(FILLS)},
    "direction": {"enum": list(DIRECTIONS)},
    "cost": {"minimum": 0, "exclusiveMaximum": 1},
    "slippage": {"minimum": 0, "exclusiveMaximum": 1},
    "cash": {"exclusiveMinimum": 0},
    "stop_loss": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "take_profit": {"exclusiveMinimum": 0},
    "trailing_stop": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
}
_TYPES: Final = {int: "integer", float: "number", str: "string", bool: "boolean"}
_TIME: Final = {"type": "string"}

_FIRST: Final = "2023-01-01T00:00:00Z"
_EXAMPLE_BAR: Final = {
    **{"time": _FIRST, "open": 16500.0, "high": 16507.27, "low": 16496.42, "close": 16501.9},
    **{"volume": 15.0824, "quote_volume": 248900.1, "trades": 512.0},
    **{"taker_buy_volume": 7.31, "taker_buy_quote_volume": 120630.2},
}
_LABEL: Final = {"source": "synthetic sample (seed 7)", "simulated": True}
_EXAMPLES: Final[dict[type, Any]] = {
    Candles: {
        **{"symbol": "BTCUSDT", "timeframe": "1m", **_LABEL, "candles": [_EXAMPLE_BAR]},
        "next": "2023-01-01T00:01:00Z",
    },
    Run: {
        **{"strategy": "ma_cross", "parameters": {"short": 50, "long": 200}},
        **{"symbol": "BTCUSDT", "timeframe": "5m", **_LABEL},
        "metrics": {"total_return": -0.1234, "sharpe": -0.56, "profit_factor": None},
        "trades": [
            {
                **{"entry_time": _FIRST, "exit_time": "2023-01-01T05:00:00Z", "direction": 1},
                **{"entry_price": 16500.0, "exit_price": 16610.5, "quantity": 0.6, "fees": 19.9},
                **{"profit": 46.4, "return": 0.0046, "bars": 60, "status": "closed"},
            }
        ],
        "pending": None,
        "notes": ["These prices are simulated: synthetic sample (seed 7)."],
        "passport": {"contract": "Decided at the close of a bar, ...", "candles_sha256": "9f2c..."},
    },
    Strategies: {
        "strategies": [
            {
                **{
                    "name": "ma_cross",
                    "description": "Long from where ...",
                    "rule": "short < long",
                },
                "parameters": [
                    {
                        **{"name": "short", "kind": "int", "default": 50, "low": 1, "high": 400},
                        "choices": [],
                    }
                ],
                "path": "/backtest/ma_cross",
            }
        ]
    },
}


def responses(answer: type) -> dict[int | str, dict[str, Any]]:
    """All answers that an address may give: ``answer``, or what is wrong."""
    reasons = {
        401: "The token is missing or wrong.",
        403: "A page of a foreign Origin asks.",
        404: "There is no such address.",
        421: "The Host is none of this server's.",
        422: "The library refuses the arguments, or they ask for too much: its own words.",
        429: "Too much is asked at once; Retry-After says when to come again.",
    }
    told: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": reason} for status, reason in reasons.items()
    }
    told[422]["content"] = _content({"detail": "cost=2: expected a fraction ..."})
    told[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    told[200] = {
        "model": answer,
        "description": "Done.",
        "content": _content(_EXAMPLES[answer]),
    }
    return told


def _content(example: Any) -> dict[str, Any]:
    return {"application/json": {"example": example}}


def run_description(strategy: Strategy) -> str:
    """What an address of a backtest does, and what its figures mean."""
    figures = "\n".join(f"- `{name}`: {text}" for name, text in DEFINITIONS.items())
    return (
        f"{strategy.description}\n\nAllowed: {strategy.rule}. The answer is that of "
        f"`backtest(candles, {strategy.name}, ...)`, to the digit. Metrics (null: no value):\n\n"
        f"{figures}"
    )


def run_parameters(strategy: Strategy, symbols: Iterable[str]) -> list[dict[str, Any]]:
    """The parameters of a backtest: the strategy's own, the symbol, the options."""
    own = [_own_parameter(parameter) for parameter in strategy.parameters.values()]
    options = [_option_parameter(name, option) for name, option in run_options().items()]
    return [*own, _symbol(symbols), *options]


def candle_parameters(symbols: Iterable[str], limits: Limits) -> list[dict[str, Any]]:
    """The parameters of `/candles`."""
    limit = {"type": "integer", "default": min(1000, limits.rows), "minimum": 1}
    times = (("start", "First open time, UTC."), ("end", "Time before which the last one opens."))
    return [
        _symbol(symbols),
        _parameter("timeframe", {"type": "string", **_EXACT["timeframe"]}, _MEANINGS["timeframe"]),
        *(_parameter(name, _TIME, meaning, "2023-01-15") for name, meaning in times),
        _parameter(
            "limit",
            {**limit, "maximum": limits.rows},
            "How many at most; `next` of the answer is the `start` of what follows.",
        ),
    ]


def _symbol(symbols: Iterable[str]) -> dict[str, Any]:
    names = list(symbols)
    schema = {"type": "string", "enum": names, "default": names[0]}
    return _parameter("symbol", schema, "Whose candles.")


def _own_parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES[parameter.kind]}
    if parameter.range is not None:
        schema |= {"minimum": parameter.range.low, "maximum": parameter.range.high}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.default is not None:
        schema["default"] = parameter.default
    told = _parameter(parameter.name, schema, "A parameter of the strategy.", parameter.default)
    return {**told, "required": parameter.default is None}


def _option_parameter(name: str, option: Option) -> dict[str, Any]:
    if name in TIMES:
        return _parameter(name, _TIME, _MEANINGS[name], "2023-01-15T12:00:00Z")
    kinds = [_TYPES[kind] for kind in sorted(option.kinds, key=str) if kind in _TYPES]
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    schema |= _EXACT.get(name, {})
    if option.default is not None:
        schema["default"] = option.default
    return _parameter(name, schema, _MEANINGS.get(name, f"The option {name} of `backtest`."))


def _parameter(
    name: str, schema: dict[str, Any], meaning: str, example: object = None
) -> dict[str, Any]:
    told = {"name": name, "in": "query", "required": False, "schema": schema}
    told["description"] = meaning
    return told if example is None else {**told, "example": example}
