"""The tools that the package is measured beside and that it doesn't need itself."""

from __future__ import annotations

import os
from importlib.util import find_spec

PEERS = ("polars", "raptorbt", "backtesting")  # as they are imported: the extra [bench]
INSTALL = 'python -m pip install -e ".[bench]"'
os.environ["RAPTORBT_NO_VERSION_CHECK"] = "1"  # else it asks the network when it is imported


class MissingPeerError(RuntimeError):
    """A tool to be measured beside is not installed."""


def missing() -> list[str]:
    """The peers that this Python has not."""
    return [name for name in PEERS if find_spec(name) is None]


def need(*names: str) -> None:
    """Raise `MissingPeerError` with the line that installs them unless all ``names`` are there.

    Nothing is left out silently: a table without its fastest peer would flatter the package.
    """
    if absent := [name for name in missing() if name in names]:
        raise MissingPeerError(
            f"the benchmarks measure beside {', '.join(absent)}, which this Python has not.\n"
            f"Install it, in the project's folder, with: {INSTALL}"
        )
