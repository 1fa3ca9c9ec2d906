"""How the simulated exchange misbehaves: what becomes of a message, an answer, a handshake.

Nothing here touches a socket or a clock: `Faults` says what is to happen, the server does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import DataError, unknown
from ..timeframes import DURATIONS
from .rest import Answer

MEBIBYTE = 2**20


class Message(NamedTuple):
    """What is due on a stream. ``text``: as it is to be sent."""

    time: int  # venue time, ms
    stream: str
    event: dict[str, Any]
    text: str


class Delivery(NamedTuple):
    """What becomes of one message: the text to send, if any.

    ``cut``: only half of the frame, then hang up.
    """

    message: Message
    text: str
    fate: str
    wait: float = 0.0  # seconds before it
    cut: bool = False


@dataclass
class _Armed:
    """A fault that the next ``left`` messages of ``stream`` (None: any) meet."""

    kind: str
    left: int
    stream: str | None
    value: float = 0


@dataclass
class _Override:
    """What a path answers ``left`` times, after ``after`` more proper answers."""

    path: str
    answer: Answer
    left: int
    after: int


class Faults:
    """All faults that are armed. The newest is met first; one message meets one fault."""

    def __init__(self) -> None:
        self.time_lie = 0  # ms that the venue's own clock is told wrong
        self.slowness = 0.0  # seconds that each HTTP answer and handshake takes longer
        self.row_limit: int | None = None  # rows of a REST answer, whatever was asked for
        self._muted: set[str | None] = set()
        self._armed: list[_Armed] = []
        self._held: dict[int, Delivery] = {}  # connection -> a message that waits for the next one
        self._refusals: list[Answer] = []
        self._overrides: list[_Override] = []

    def arm(self, kind: str, count: int, stream: str | None = None, value: float = 0) -> None:
        """Let the next ``count`` messages meet the fault ``kind``."""
        if count < 1:
            raise DataError(f"{kind}: {count} messages, expected at least 1.")
        self._armed.insert(0, _Armed(kind, count, stream, value))

    def mute(self, stream: str | None) -> None:
        """Send nothing more on ``stream`` (None: on any)."""
        self._muted.add(stream)

    def unmute(self) -> None:
        """Send on all streams again."""
        self._muted.clear()

    def refuse(self, answer: Answer, count: int) -> None:
        """Answer the next ``count`` handshakes so."""
        self._refusals += [answer] * count

    def override(self, path: str, answer: Answer, times: int, after: int) -> None:
        """Answer requests for ``path`` so: ``times`` times, after ``after`` proper answers."""
        self._overrides.insert(0, _Override(path, answer, times, after))

    def refusal(self) -> Answer | None:
        """What the handshake that comes now is refused with."""
        return self._refusals.pop(0) if self._refusals else None

    def answer(self, path: str) -> Answer | None:
        """What is answered to a request for ``path`` in place of the truth."""
        for override in self._overrides:
            if override.path != path or not override.left:
                continue
            if override.after:
                override.after -= 1
                return None
            override.left -= 1
            return override.answer
        return None

    def treat(self, connection: int, message: Message) -> list[Delivery]:
        """What is delivered on ``connection`` when ``message`` is due."""
        if None in self._muted or message.stream in self._muted:
            return [Delivery(message, "", "muted")]
        held = self._held.pop(connection, None)  # its turn comes behind this one
        fitting = (one for one in self._armed if one.stream in (None, message.stream))
        armed = next((one for one in fitting if held is None or one.kind != "reorder"), None)
        deliveries = [Delivery(message, message.text, "sent")]
        if armed is not None:
            armed.left -= 1
            if not armed.left:
                self._armed.remove(armed)
            deliveries = _meet(armed, message)
        if deliveries[0].fate == "reordered":
            self._held[connection] = deliveries[0]
            return []
        return deliveries if held is None else [*deliveries, held]

    def forget(self, connection: int) -> None:
        """Drop what was held back for a connection that is gone."""
        self._held.pop(connection, None)


def _meet(armed: _Armed, message: Message) -> list[Delivery]:
    text = message.text
    if armed.kind == "drop":
        return [Delivery(message, "", "dropped")]
    if armed.kind == "duplicate":
        return [Delivery(message, text, "sent"), Delivery(message, text, "duplicated")]
    if armed.kind == "reorder":
        return [Delivery(message, text, "reordered")]
    if armed.kind == "delay":
        return [Delivery(message, text, "delayed", wait=armed.value)]
    if armed.kind == "corrupt":
        return [Delivery(message, text[: len(text) // 2], "corrupted")]
    if armed.kind == "oversize":
        return [Delivery(message, text + " " * int(armed.value), "oversized")]
    return [Delivery(message, text, "cut", cut=True)]


# Fault -> what its words in a script are, in order: those with a default may be left out.
SCRIPTED: Mapping[str, tuple[type, ...]] = {
    "kill": (),
    "freeze": (),
    "thaw": (),
    "mute": (str,),
    "unmute": (),
    "drop": (int, str),
    "duplicate": (int, str),
    "reorder": (int, str),
    "delay": (float, int, str),
    "corrupt": (int, str),
    "oversize": (int, str),
    "cut": (),
    "lie_about_time": (int,),
    "refuse": (int, int, int),
    "slow": (float,),
    "shorten": (int,),
    "shut_down": (str,),
}


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
    kinds = SCRIPTED[name]
    if len(texts) > len(kinds):
        raise DataError(f"{line!r}: {name} takes at most {len(kinds)} values, not {len(texts)}.")
    try:
        values = tuple(kind(text) for kind, text in zip(kinds, texts, strict=False))
    except ValueError as error:
        raise DataError(f"{line!r}: {error}; expected numbers, as in {name}(...).") from error
    return Step(after, name, values)


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
