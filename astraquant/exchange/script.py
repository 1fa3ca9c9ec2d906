"""A script of faults: its lines, and the values that faults take, here and by API."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import DataError, unknown
from ..timeframes import DURATIONS
from .protocol import SHUTDOWN_STREAM, stream_kind

_LARGEST = 2**53


class Step(NamedTuple):
    """One line of a script: at ``after`` ms of venue time from the start, call ``fault``."""

    after: int
    fault: str
    values: tuple[str | int | float, ...]


def parse_step(line: str) -> Step:
    """Read a line such as ``"30s kill"`` or ``"2m refuse 429 3"``; raises `DataError`."""
    words = str(line).split()
    after = parse_span(words[0], "when a fault comes") if words else 0
    if len(words) < 2:
        raise DataError(f'the fault {line!r}: expected when and what, such as "30s kill".')
    name, *texts = words[1:]
    if name not in SCRIPTED:
        raise DataError(f"{line!r}: {unknown('fault', name, SCRIPTED)}")
    needed, checks = SCRIPTED[name]
    if not needed <= len(texts) <= len(checks):
        bound = f"at least {needed}" if len(texts) < needed else f"at most {len(checks)}"
        raise DataError(f"{line!r}: {name} takes {bound} values, not {len(texts)}.")
    try:
        return Step(after, name, tuple(f(text) for f, text in zip(checks, texts, strict=False)))
    except DataError as error:
        raise DataError(f"{line!r}: {error}") from error


def parse_span(text: str | int, what: str = "the span") -> int:
    """A span of venue time in ms: whole milliseconds, or a number and s, m, h or d ("90s")."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    number, unit = str(text)[:-1], str(text)[-1:]
    if number.isascii() and number.isdigit() and f"1{unit}" in DURATIONS and unit in "smhd":
        return int(number) * DURATIONS[f"1{unit}"]
    raise DataError(
        f"{what}: {text!r} is no span of time; expected milliseconds, or a whole number and its "
        'unit, such as "90s", "5m", "2h", "1d".'
    )


# Values, as a number or in words. Each function returns the value or raises `DataError`.


def count(value: Any) -> int:
    """How many messages or requests meet a fault: at least 1."""
    return _whole("count", value, 1)


def rows(value: Any) -> int:
    """How many rows an answer has at most: at least 1."""
    return _whole("rows", value, 1)


def size(value: Any) -> int:
    """Bytes."""
    return _whole("size", value, 0)


def status(value: Any) -> int:
    """The HTTP status of a refusal."""
    return _whole("status", value, 400, 599)


def retry_after(value: Any) -> int:
    """Whole seconds."""
    return _whole("retry_after", value, 0)


def milliseconds(value: Any) -> int:
    """A difference of time, perhaps negative."""
    return _whole("milliseconds", value, -_LARGEST)


def seconds(value: Any) -> float:
    """Real seconds."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        raise DataError(f"seconds={value!r}: expected a number, 0 or more, such as 0.5.")
    return number


def stream(value: Any) -> str:
    """The name of a stream that is played: else the fault would wait for it for ever."""
    if isinstance(value, str) and (value == SHUTDOWN_STREAM or stream_kind(value) is not None):
        return value
    raise DataError(
        f"stream={value!r} is never played; expected a stream's name, its symbol in lower case, "
        'such as "btcusdt@trade" or "btcusdt@kline_1m".'
    )


def _whole(what: str, value: Any, least: int, most: int = _LARGEST) -> int:
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        bounds = f"from {least} to {most}" if most != _LARGEST else f"{least} or more"
        bounds = "such as -3600000" if least == -_LARGEST else bounds
        raise DataError(f"{what}={value!r}: expected a whole number, {bounds}.")
    return number


class Words(NamedTuple):
    """The values of a fault in a script, in order; only the first ``needed`` must be there."""

    needed: int
    checks: tuple[Callable[[Any], str | int | float], ...]


SCRIPTED: Mapping[str, Words] = {
    "kill": Words(0, ()),
    "freeze": Words(0, ()),
    "thaw": Words(0, ()),
    "mute": Words(0, (stream,)),
    "unmute": Words(0, ()),
    "drop": Words(0, (count, stream)),
    "duplicate": Words(0, (count, stream)),
    "reorder": Words(0, (count, stream)),
    "delay": Words(1, (seconds, count, stream)),
    "corrupt": Words(0, (count, stream)),
    "oversize": Words(0, (count, stream, size)),
    "cut": Words(0, (stream,)),
    "lie_about_time": Words(1, (milliseconds,)),
    "refuse": Words(1, (status, count, retry_after)),
    "slow": Words(1, (seconds,)),
    "shorten": Words(1, (rows,)),
    "shut_down": Words(0, (parse_span,)),
}
