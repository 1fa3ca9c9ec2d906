"""What a strategy is: one function of arrays whose signature is its parameter space."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin, get_type_hints, overload

import numpy as np

from .._indicator import as_float
from ..errors import StrategyError, unknown
from ..expressions import Graph

# Options of `backtest`, `sweep` and `walk_forward` (those of planned issues too), of pictures and
# of the command line: a parameter of the same name could never be reached.
RESERVED = frozenset(
    "candles strategy timeframe cost slippage fill direction cash start end engine memory_limit "
    "stop_loss take_profit trailing_stop train test step anchored symbol metric file top out json "
    "help".split()
)
Scalar = int | float | str


@dataclass(frozen=True, slots=True)
class Range:
    """The values a numeric parameter may take, both ends included.

    ``Annotated[int, Range(2, 200)]``: sliders span it, and a value outside is refused.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(as_float(self.low)) and math.isfinite(as_float(self.high))):
            raise StrategyError(
                f"Range({self.low!r}, {self.high!r}): expected two finite numbers, "
                "such as Range(2, 200)"
            )
        if not self.low < self.high:
            raise StrategyError(
                f"Range({self.low}, {self.high}): the low end must lie below the high one"
            )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy, read from its signature.

    ``kind`` is int, float or str; ``default`` is None where the call must give it.
    """

    name: str
    kind: type
    default: Scalar | None
    range: Range | None = None
    choices: tuple[str, ...] = ()

    def value(self, given: Mapping[str, Any]) -> Scalar:
        """Its value in ``given``, else its default, as `check` returns it."""
        value = given.get(self.name, self.default)
        if value is None:
            raise StrategyError(f"{self.name} needs a value: {self.name}=...")
        return self.check(value)

    def check(self, value: object) -> Scalar:
        """``value`` as a plain int, float or str; `StrategyError` if it isn't one in range."""
        if isinstance(value, np.generic):
            value = value.item()
        plain = self._plain(value)
        if self.choices and plain not in self.choices:
            raise StrategyError(unknown(f"value of {self.name}", plain, self.choices))
        span = self.range
        if span is not None and not (isinstance(plain, str) or span.low <= plain <= span.high):
            raise StrategyError(
                f"{self.name}={plain} is out of range; expected {span.low} to {span.high}"
            )
        return plain

    def _plain(self, value: object) -> Scalar:
        if self.kind is str and isinstance(value, str):
            return value
        if self.kind is float and math.isfinite(as_float(value)):
            return as_float(value)
        if self.kind is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        expected = {int: "a whole number", float: "a finite number", str: "text"}[self.kind]
        cure = ""
        if self.kind is int and isinstance(value, float) and math.isfinite(value):
            cure = f"; write {round(value)}"
        raise StrategyError(f"{self.name}={value!r}: expected {expected}{cure}")


@dataclass(frozen=True, slots=True, repr=False)
class Candles:
    """What a strategy sees: equally long arrays, a value for each bar.

    ``time`` and ``end``: when the bar opens and closes, int64 UTC ms; the rest float64.
    """

    time: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    end: Any

    def __getattr__(self, name: str) -> Any:  # only reached for names that are not columns
        raise AttributeError(unknown("column", name, COLUMNS))

    def __getitem__(self, key: object) -> NoReturn:
        name = key if key in COLUMNS else "close"
        raise StrategyError(
            f"candles[{key!r}]: the candles of a strategy are a record of columns, not a table; "
            f"write candles.{name}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(COLUMNS)})"


COLUMNS: tuple[str, ...] = Candles.__slots__


class HigherCandles(Candles):
    """What `higher` gives: at each close the last higher bar that has closed, NaN before it."""

    __slots__ = ()


class Strategy:
    """A decorated strategy: call it like the function; its parameters are data.

    ``name``, ``description`` (first line of the docstring), ``parameters`` (name -> `Parameter`),
    ``valid``: the rule and ``rule_names``, the parameters that it relates.
    """

    def __init__(
        self, function: Callable[..., Any], valid: Callable[..., bool] | None = None
    ) -> None:
        if not callable(function) or not hasattr(function, "__name__"):
            raise StrategyError(
                f"strategy({function!r}): expected a function; put @strategy above its def"
            )
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        self.description = (inspect.getdoc(function) or "").partition("\n")[0]
        self.parameters = _read_signature(function)
        self.valid = valid
        self.rule_names = _valid_names(self, valid)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What to hold after each close; ``candles`` is the record a strategy gets, not a table."""
        given = dict(zip(("candles", *self.parameters), arguments, strict=False))
        if len(given) < len(arguments) or not given.keys().isdisjoint(named):
            raise StrategyError(
                f"{self.name} takes candles, {', '.join(self.parameters)}, each once; it got "
                f"{len(arguments)} values by place and by name {', '.join(named) or 'none'}"
            )
        given |= named
        candles = given.pop("candles", None)
        if not isinstance(candles, Candles):
            got = "without candles" if candles is None else f"with {type(candles).__name__}"
            shown = [f"{name}={value!r}" for name, value in named.items() if name != "candles"]
            example = ", ".join(["candles", self.name, *(shown or ["..."])])
            raise StrategyError(
                f"{self.name} was called {got}. For history call backtest({example}); inside a "
                "strategy pass its candles on"
            )
        return self.function(candles, **self.bind(given))

    def __repr__(self) -> str:
        inside = ", ".join(
            name if p.default is None else f"{name}={p.default!r}"
            for name, p in self.parameters.items()
        )
        return f"<strategy {self.name}({inside})>"

    def bind(
        self, parameters: Mapping[str, Any], options: Collection[str] = ()
    ) -> dict[str, Scalar]:
        """All parameters as plain values, defaults filled in; `StrategyError` on a bad one.

        ``options``: the caller's own names, see `check_name`.
        """
        for name in parameters:
            self.check_name(name, options)
        bound = {name: p.value(parameters) for name, p in self.parameters.items()}
        if not self.is_valid(bound):
            given = ", ".join(f"{name}={bound[name]!r}" for name in self.rule_names)
            raise StrategyError(
                f"{given} is no valid combination for {self.name}; expected {self.rule}"
            )
        return bound

    def check_name(self, name: str, options: Collection[str] = ()) -> None:
        """Raise `StrategyError` with the nearest name unless ``name`` is a parameter.

        ``options``: further names that the caller takes, and that might have been meant.
        """
        if name not in self.parameters:
            kind = "option or parameter" if options else "parameter"
            known = [*self.parameters, *options]
            raise StrategyError(unknown(f"{kind} of {self.name}", name, known))

    def is_valid(self, bound: Mapping[str, Scalar]) -> bool:
        """Whether the combination passes the strategy's ``valid`` rule."""
        if self.valid is None:
            return True
        return bool(self.valid(**{name: bound[name] for name in self.rule_names}))

    @property
    def rule(self) -> str:
        """The ``valid`` rule as text, "short < long": the rule itself, called with names."""
        if self.valid is None:
            return "any combination"
        graph = Graph()
        try:
            return repr(self.valid(**{name: graph.column(name) for name in self.rule_names})).strip(
                "()"
            )
        except Exception:  # a rule with `and` or a chained comparison has no such form
            return f"its rule over {', '.join(self.rule_names)} to hold"


@overload
def strategy(function: Callable[..., Any], /) -> Strategy: ...
@overload
def strategy(*, valid: Callable[..., bool]) -> Callable[[Callable[..., Any]], Strategy]: ...
def strategy(
    function: Callable[..., Any] | None = None, /, *, valid: Callable[..., bool] | None = None
) -> Strategy | Callable[[Callable[..., Any]], Strategy]:
    """Make a strategy of ``function(candles, **parameters)``.

    ``candles`` is a record of equally long arrays: ``time`` and ``end`` (int64 UTC ms: when a bar
    opens and closes), ``open high low close volume`` (float64). The other arguments are the
    parameter space; each needs a type: ``int``, ``float``, ``str``, ``Literal["sma", "ema"]`` or
    ``Annotated[int, Range(2, 200)]``. The answer says what to hold after each close: booleans, or
    numbers -1, 0, 1 (NaN: flat).

    ``valid(short, long)`` names the parameters it relates and says which combinations make sense;
    a sweep leaves the others out, a backtest refuses them.

    Raises `StrategyError` at once for a signature it can't use.
    """
    if function is None:
        return functools.partial(Strategy, valid=valid)
    return Strategy(function)


def _read_signature(function: Callable[..., Any]) -> dict[str, Parameter]:
    name = function.__name__
    arguments = list(inspect.signature(function).parameters.values())
    if not arguments or arguments[0].name != "candles":
        raise StrategyError(
            f"{name}: the first argument must be called candles: def {name}(candles, ...)"
        )
    hints = get_type_hints(function, include_extras=True)
    return {a.name: _read_argument(name, a, hints.get(a.name)) for a in arguments[1:]}


def _read_argument(function: str, argument: inspect.Parameter, hint: Any) -> Parameter:
    where = f"{function}: parameter {argument.name}"
    if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD, argument.POSITIONAL_ONLY):
        raise StrategyError(f"{where}: give every parameter a name of its own; *args and / hide it")
    if argument.name in RESERVED:
        raise StrategyError(
            f"{where} bears the name of an option of backtest, sweep, walk_forward or the command "
            "line; rename it"
        )
    span: Range | None = None
    choices: tuple[Any, ...] = ()
    kind = hint
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        span = next((extra for extra in extras if isinstance(extra, Range)), None)
    if get_origin(kind) is Literal:
        choices, kind = get_args(kind), str
    if kind not in (int, float, str) or not all(isinstance(choice, str) for choice in choices):
        raise StrategyError(
            f"{where} needs a type: int, float, str, Literal of texts, or "
            f"Annotated[int, Range(2, 200)]; it has {'none' if hint is None else hint}"
        )
    if span is not None and kind is str:
        raise StrategyError(f"{where}: a Range goes with int or float, not with text")
    parameter = Parameter(argument.name, kind, None, span, choices)
    if argument.default is inspect.Parameter.empty:
        return parameter
    try:
        return replace(parameter, default=parameter.check(argument.default))
    except StrategyError as error:
        raise StrategyError(f"{function}: the default {error}") from None


def _valid_names(strategy: Strategy, valid: Callable[..., bool] | None) -> tuple[str, ...]:
    if valid is not None and not callable(valid):
        raise StrategyError(
            f"{strategy.name}: valid={valid!r}: expected a function, such as "
            "valid=lambda short, long: short < long"
        )
    names = tuple(inspect.signature(valid).parameters) if valid is not None else ()
    for name in names:
        if name not in strategy.parameters:
            raise StrategyError(
                f"{strategy.name}: valid= uses an "
                + unknown(f"parameter of {strategy.name}", name, strategy.parameters)
            )
    return names
