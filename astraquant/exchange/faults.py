"""How the simulated exchange misbehaves: what becomes of a message, an answer, a handshake.

Nothing here touches a socket or a clock: `Faults` says what is to happen, the server does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple

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
    padding: int = 0  # blanks behind it
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
        self._muted: set[str | None] = set()
        self._armed: list[_Armed] = []
        # Connection and stream -> a message that waits for the next one.
        self._held: dict[tuple[int, str], Delivery] = {}
        self._refusals: Iterator[Answer] = iter(())
        self._overrides: list[_Override] = []

    def arm(self, kind: str, count: int, stream: str | None = None, value: float = 0) -> None:
        """Let the next ``count`` messages meet the fault ``kind``."""
        self._armed.insert(0, _Armed(kind, count, stream, value))

    def mute(self, stream: str | None) -> None:
        """Send nothing more on ``stream`` (None: on any)."""
        self._muted.add(stream)

    def unmute(self) -> None:
        """Send on all streams again."""
        self._muted.clear()

    def refuse(self, answer: Answer, count: int) -> None:
        """Answer the next ``count`` handshakes so."""
        self._refusals = chain(self._refusals, repeat(answer, count))

    def override(self, path: str, answer: Answer, times: int, after: int) -> None:
        """Answer requests for ``path`` so: ``times`` times, after ``after`` proper answers."""
        self._overrides.insert(0, _Override(path, answer, times, after))

    def refusal(self) -> Answer | None:
        """What the handshake that comes now is refused with."""
        return next(self._refusals, None)

    def answer(self, path: str) -> Answer | None:
        """What is answered to a request for ``path`` in place of the truth."""
        for override in self._overrides:
            if override.path != path:
                continue
            if override.after:
                override.after -= 1
                return None
            override.left -= 1
            if not override.left:
                self._overrides.remove(override)
            return override.answer
        return None

    def treat(self, connection: int, message: Message) -> list[Delivery]:
        """What is delivered on ``connection`` when ``message`` is due."""
        if None in self._muted or message.stream in self._muted:
            return [Delivery(message, "", "muted")]
        place = connection, message.stream
        held = self._held.pop(place, None)  # its turn comes behind this one
        fitting = (one for one in self._armed if one.stream in (None, message.stream))
        armed = next((one for one in fitting if held is None or one.kind != "reorder"), None)
        deliveries = [Delivery(message, message.text, "sent")]
        if armed is not None:
            armed.left -= 1
            if not armed.left:
                self._armed.remove(armed)
            deliveries = _meet(armed, message)
        if deliveries[0].fate == "reordered":
            self._held[place] = deliveries[0]
            return []
        return deliveries if held is None else [*deliveries, held]

    def forget(self, connection: int) -> None:
        """Drop what is held back for a connection that is gone."""
        for place in [one for one in self._held if one[0] == connection]:
            del self._held[place]


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
        return [Delivery(message, text, "oversized", padding=int(armed.value))]
    return [Delivery(message, text, "cut", cut=True)]
