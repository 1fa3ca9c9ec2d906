"""What the simulated exchange did: the truth that a client's view is held against."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

KEPT = 50_000  # entries of each kind (some 70 MB of klines); the counts go on


class Sent(NamedTuple):
    """One message to one connection. ``fate``: "sent", or the fault that it met."""

    time: int  # venue time at which it was due, ms
    connection: int  # 1, 2, ... in the order of their handshakes
    stream: str
    event: dict[str, Any]
    fate: str


class Request(NamedTuple):
    """One HTTP request, or the handshake of a WebSocket (status 101)."""

    time: int  # venue time, ms
    clock: float  # seconds on time.monotonic()
    target: str  # path and query
    status: int


class Ledger:
    """The last `KEPT` messages and requests, oldest first, and the counts of all of them.

    ``counts``: how many messages met which fate. ``answers``: how many requests were answered by
    which status.
    """

    def __init__(self) -> None:
        self.events: deque[Sent] = deque(maxlen=KEPT)
        self.requests: deque[Request] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()

    def add_event(self, entry: Sent) -> None:
        """Note a message."""
        self.events.append(entry)
        self.counts[entry.fate] += 1

    def add_request(self, entry: Request) -> None:
        """Note a request."""
        self.requests.append(entry)
        self.answers[entry.status] += 1

    def __repr__(self) -> str:
        return (
            f"Ledger({sum(self.counts.values())} messages, {sum(self.answers.values())} requests)"
        )
