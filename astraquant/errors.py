"""What can go wrong, as one tree.

AstraQuantError
├── DataError       candles, files, timeframes: the input is not what it says
│   └── CacheError  loaded candles can't be kept on disk (in data.cache)
├── FeedError       the live stream or the venue behind it
└── StrategyError   a strategy: its parameters, what it returns, or a look ahead

Every message names the value, the expectation and the cure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AstraQuantError(Exception):
    """The root: catch this to catch whatever AstraQuant itself refuses."""


class DataError(AstraQuantError, ValueError):
    """The candles, the file or the timeframe can't be used as they are."""


class FeedError(AstraQuantError, RuntimeError):
    """The live stream failed in a way that it can't mend by itself."""


class StrategyError(AstraQuantError, ValueError):
    """The strategy, its parameters or its answer break the contract."""


def unknown(kind: str, value: object, known: Iterable[object]) -> str:
    """Say that ``value`` is no ``kind``, suggest the nearest name and list the known ones."""
    names = [str(name) for name in known]
    same = [name for name in names if name.lower() == str(value).lower()]  # nearest of all
    near = same or difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return f"unknown {kind} {value!r}.{hint} Known: {listed}."


def install_line(extra: str) -> str:
    """What to type to install an extra: in the checkout, for no index has this package."""
    return f'in the folder of AstraQuant: python -m pip install -e ".[{extra}]"'
