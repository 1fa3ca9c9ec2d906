"""What goes wrong in a soak, and when: drawn from a seed, every kind of fault in turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

LONGEST = 8.0  # seconds that a fault lasts which has an end ...
SILENCE = 20.0  # ... and silence, which is to be taken for the end of the connection at times
NORMAL_ROWS = 1000


class Step(NamedTuple):
    """At ``at`` seconds call ``fault`` of the exchange. ``kind``: told with its first step only."""

    at: float
    kind: str
    fault: str
    values: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}


Draw = Callable[[random.Random, list[str]], list[Step]]  # times from 0 on


def plan(seed: int, seconds: float, every: float, streams: list[str]) -> list[Step]:
    """The steps of ``seconds``, in order: a fault every ``every`` of them, none left on at the end.

    All kinds come once before any comes again, in an order and of a size that ``seed`` decides.
    """
    draw = random.Random(seed)
    kinds = _kinds(draw)
    steps = []
    for k in range(1, int(seconds / every) + 1):
        kind = next(kinds)
        first, *others = DRAWS[kind](draw, streams)
        for step in (first._replace(kind=kind), *others):
            steps.append(step._replace(at=min(k * every + step.at, seconds)))
    return sorted(steps, key=lambda step: step.at)


def _kinds(draw: random.Random) -> Iterator[str]:
    while True:
        kinds = list(DRAWS)
        draw.shuffle(kinds)
        yield from kinds


def _once(fault: str) -> Draw:
    return lambda draw, streams: [Step(0, "", fault)]


def _counted(fault: str, most: int) -> Draw:
    def steps(draw: random.Random, streams: list[str]) -> list[Step]:
        return [Step(0, "", fault, (draw.randint(1, most), _stream(draw, streams)))]

    return steps


def _stream(draw: random.Random, streams: list[str]) -> str | None:
    return draw.choice([None, *streams])


def _freeze(draw: random.Random, streams: list[str]) -> list[Step]:
    return [Step(0, "", "freeze"), Step(draw.uniform(1, SILENCE), "", "thaw")]


def _mute(draw: random.Random, streams: list[str]) -> list[Step]:
    muted = Step(0, "", "mute", (_stream(draw, streams),))
    return [muted, Step(draw.uniform(1, SILENCE), "", "unmute")]


def _delay(draw: random.Random, streams: list[str]) -> list[Step]:
    values = draw.uniform(0.1, 2), draw.randint(1, 3), _stream(draw, streams)
    return [Step(0, "", "delay", values)]


def _cut(draw: random.Random, streams: list[str]) -> list[Step]:
    return [Step(0, "", "cut", (_stream(draw, streams),))]


# Handshakes and questions come only where something is lost: so each of these begins with a kill.


def _refuse(draw: random.Random, streams: list[str]) -> list[Step]:
    # A 429 always says for how long: without that a feed would rightly keep quiet for a minute.
    status, after = draw.choice([(429, 1), (429, 3), (503, None), (503, 2)])
    refuse = Step(0, "", "refuse", (status, draw.randint(1, 3), after))
    return [refuse, Step(0, "", "kill")]


def _slow(draw: random.Random, streams: list[str]) -> list[Step]:
    slow = Step(0, "", "slow", (draw.uniform(0.2, 2),))
    return [slow, Step(0, "", "kill"), Step(draw.uniform(3, LONGEST), "", "slow", (0,))]


def _shorten(draw: random.Random, streams: list[str]) -> list[Step]:
    short = Step(0, "", "shorten", (draw.randint(1, 3),))
    ending = Step(LONGEST, "", "shorten", (NORMAL_ROWS,))
    return [short, Step(0, "", "freeze"), Step(draw.uniform(3, LONGEST), "", "kill"), ending]


def _fail(draw: random.Random, streams: list[str]) -> list[Step]:
    path = "/api/v3/" + draw.choice(["klines", "time", "aggTrades"])
    options = {"status": draw.choice([500, 503]), "times": draw.randint(1, 3)}
    return [Step(0, "", "answer", (path,), options), Step(0, "", "kill")]


def _shut_down(draw: random.Random, streams: list[str]) -> list[Step]:
    return [Step(0, "", "shut_down", (f"{draw.randint(10, 120)}s",))]  # of venue time


DRAWS: dict[str, Draw] = {
    "kill": _once("kill"),
    "freeze": _freeze,
    "mute": _mute,
    "drop": _counted("drop", 20),
    "duplicate": _counted("duplicate", 20),
    "reorder": _counted("reorder", 20),
    "delay": _delay,
    "corrupt": _counted("corrupt", 3),
    "oversize": _counted("oversize", 1),
    "cut": _cut,
    "refuse": _refuse,
    "fail": _fail,
    "slow": _slow,
    "shorten": _shorten,
    "shut_down": _shut_down,
}
