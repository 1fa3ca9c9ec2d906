"""What has been swept on the same candles since this process began.

Whoever runs sweep after sweep searches through all of them, so luck has to be measured by all
distinct configurations, and by how far their Sharpe ratios lie apart. To run one again adds
nothing. Of each there is a hash and its ratio, sixteen bytes, per hash of the candles.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .candles import content_hash
from .runs import STOPS

if TYPE_CHECKING:
    from .jobs import Job

Array = np.ndarray[Any, np.dtype[Any]]
_known: dict[str, tuple[Array, Array]] = {}  # hash of the candles -> sorted keys, Sharpe ratios
_lock = threading.Lock()
DEEPEST = 4  # functions that call functions: how far they are followed


class Tried(NamedTuple):
    """``trials``: distinct configurations; ``variance``: that of their Sharpe ratios a year."""

    trials: int
    variance: float


def note_trials(job: Job, sharpe: Array) -> str:
    """Remember the configurations of a sweep and their ``sharpe``; the hash of its candles."""
    candles = content_hash(next(iter(job.markets.values())).source)
    with _lock:
        keys, ratios = _known.get(candles, (np.zeros(0, np.uint64), np.zeros(0)))
        joined, first = np.unique(np.concatenate([keys, _keys(job)]), return_index=True)
        _known[candles] = joined, np.concatenate([ratios, sharpe])[first]
    return candles


def tried_on(candles: str) -> Tried:
    """What has been tried on the candles with this hash; NaN where fewer than two have a ratio."""
    _, ratios = _known.get(candles, ((), np.zeros(0)))
    some = np.isfinite(ratios).sum() > 1
    return Tried(len(ratios), float(np.nanvar(ratios, ddof=1)) if some else np.nan)


def _keys(job: Job) -> Array:
    """A hash of each row's configuration: all that its figures depend on but the cash.

    The hashes of a name with its value are added up, so a parameter that is a level here and fixed
    elsewhere makes no difference, nor does the order of levels.
    """
    grid, options = job.grid, job.options
    markets = list(job.markets.values())
    frame = markets[0].timeframe  # also where none is given: that of the candles
    fixed = {"timeframe": frame, **dict.fromkeys(STOPS), **grid.fixed} | {"timeframe": frame}
    same: dict[str, Any] = {
        "strategy": (job.strategy.name, _function(job.strategy.function)),
        "options": (options.slippage, options.fill, options.direction),
        **{name: value for name, value in grid.indexed(fixed).items() if name not in grid.levels},
    }
    common = sum(_digest(*pair) for pair in same.items())
    spans = [_digest("span", (str(one.index[0]), len(one.index))) for one in markets]
    keys: Array = np.array([(common + span) % 2**64 for span in spans], np.uint64)[job.frames]
    for place, (name, values) in enumerate(grid.levels.items()):
        digests = {value: _digest(name, value) for value in values}
        keys += np.fromiter((digests[row[place]] for row in grid.rows), np.uint64, len(keys))
    return keys


def _digest(name: str, value: Any) -> int:
    """64 bits of a name and its value; 1 and 1.0 are the same."""
    if isinstance(value, int | float):
        value = float(value)
    text = f"{name}={value!r}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _function(function: Any, depth: int = 0) -> Any:
    """What a function does: a cell that is run again defines the same strategy.

    Its code and whatever it uses of plain values and functions of its own module, in variables
    around it or global ones; of other modules the names.
    """
    code = getattr(function, "__code__", None)
    if code is None or depth > DEEPEST:
        return getattr(function, "__qualname__", type(function).__qualname__)
    owner = getattr(function, "__self__", None)
    uses = [None if owner is None else id(owner)]
    for cell in getattr(function, "__closure__", None) or ():
        uses.append(_used(cell.cell_contents, function, depth))
    space: Mapping[str, Any] = getattr(function, "__globals__", {})
    uses += [_used(space[name], function, depth) for name in _names(code) if name in space]
    return _code(code, function.__doc__), uses


def _used(value: Any, user: Any, depth: int) -> Any:
    if isinstance(value, FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        own = value.__module__ == user.__module__ and value is not user
        return (name, _function(value, depth + 1)) if own else name
    if isinstance(value, int | float | str | tuple | None):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _names(code: CodeType) -> list[str]:
    inner = [name for one in code.co_consts if isinstance(one, CodeType) for name in _names(one)]
    return [*code.co_names, *inner]


def _code(code: CodeType, doc: str | None) -> tuple[Any, ...]:
    constants = [_code(one, None) if isinstance(one, CodeType) else one for one in code.co_consts]
    told = [one for one in constants if doc is None or one != doc]
    return code.co_code, code.co_names, code.co_varnames, *told
