"""What has been tried on the same candles since this process began.

Whoever runs sweep after sweep searches through all of them, so luck has to be measured by the
number of all distinct configurations. To run one again adds nothing. Only hashes are kept, eight
bytes for each configuration, per hash of the candles.
"""

from __future__ import annotations

import threading
from operator import itemgetter
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from .candles import content_hash
from .runs import STOPS
from .stops import NONE
from .timeframes import parse_time

if TYPE_CHECKING:
    from .jobs import Job

_Keys = np.ndarray[Any, np.dtype[np.int64]]
_known: dict[str, _Keys] = {}  # hash of the candles -> hashes of configurations, sorted
_lock = threading.Lock()


def note_trials(job: Job) -> str:
    """Remember all configurations of a sweep; the hash of the candles they were tried on."""
    candles = content_hash(next(iter(job.markets.values())).source)
    with _lock:
        before = _known.get(candles, np.zeros(0, np.int64))
        _known[candles] = np.union1d(before, _configurations(job))
    return candles


def count_trials(candles: str) -> int:
    """How many distinct configurations have been tried on the candles with this hash."""
    return len(_known.get(candles, ()))


def _configurations(job: Job) -> _Keys:
    """A hash of each row's configuration: all that its figures depend on but the cash."""
    grid, options = job.grid, job.options
    markets = list(job.markets.values())
    # A timeframe that is not given is that of the candles.
    fixed = {**grid.indexed(grid.fixed), "timeframe": markets[0].timeframe}
    names = [*job.strategy.parameters, "timeframe", "cost", *STOPS]
    levels = list(grid.levels)
    others = [name for name in names if name not in levels]
    values = itemgetter(*map([*levels, *others].index, names))
    added = tuple(fixed.get(name, NONE) for name in others)
    span = [None if one is None else parse_time(one).value for one in (job.start, job.end)]
    code = _code(getattr(job.strategy.function, "__code__", None))
    common = hash(
        (job.strategy.name, code, options.slippage, options.fill, options.direction, *span)
    )
    return np.array([hash((common, values(row + added))) for row in grid.rows], np.int64)


def _code(code: CodeType | None) -> tuple[Any, ...]:
    """What a function does: a cell that is run again defines the same strategy."""
    if code is None:
        return ()
    constants = [_code(one) if isinstance(one, CodeType) else one for one in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, *constants
