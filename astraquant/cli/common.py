"""What the commands share: how they explain themselves, and how they write a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def command_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser that ends its help with ``examples`` and takes no option by half its name."""
    return argparse.ArgumentParser(
        prog=f"astraquant {name}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def print_rows(rows: Mapping[str, str]) -> None:
    """Print what each name stands for, the values below each other."""
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"  {name:{width}}  {value}", flush=True)


def minute(time: pd.Timestamp) -> str:
    """A time in UTC as a reader wants it, to the minute (to the second where it has some)."""
    return f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write all columns of ``table``, not its index, to a ``.csv`` or ``.parquet`` file."""
    try:
        if out.suffix == ".csv":
            table.to_csv(out, index=False)
        else:
            table.to_parquet(out, index=False)
    except OSError as error:
        raise DataError(f"--out {out} can't be written: {error.strerror or error}") from None
    print(f"written: {out}", file=sys.stderr)


def check_out(out: Path | None) -> None:
    """Refuse before the work is done what could not be written after it."""
    if out is None:
        return
    if out.suffix not in (".parquet", ".csv"):
        raise DataError(f"--out {out}: expected a name that ends in .parquet or .csv")
    if not out.parent.is_dir():
        raise DataError(f"--out {out}: there is no folder {out.parent}")
    try:
        new = not out.exists()
        with out.open("ab"):  # changes nothing in a file that is there already
            pass
        if new:
            out.unlink()
    except OSError as error:
        raise DataError(f"--out {out} can't be written: {error.strerror or error}") from None
