"""Random trouble for the exchange in memory: what happens when, the same for the same seed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from memory_exchange import MemoryExchange

KLINES, TRADES, TIME = (f"/api/v3/{name}" for name in ("klines", "aggTrades", "time"))
# What no exchange would say, though with HTTP 200. An empty list isn't among them: it is an answer.
NONSENSE = (b"", b"{}", b"[[1]]", b"null", b'[{"a":1', b"<html>busy</html>", b'{"code":-1003}')


class Step(NamedTuple):
    """After ``at`` seconds (of the loop) the exchange's method ``fault`` is called."""

    at: float
    fault: str
    values: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{self.at:9.3f} s  {self.fault}({values})"


Schedule = list[Step]


def random_schedule(
    seed: int, span: float, *, bar: float = 60.0, streams: Sequence[str] = ()
) -> Schedule:
    """Up to 25 troubles within ``span`` seconds, each with its end, in order of time.

    ``bar``: seconds that a bar lasts. ``streams``: those that a fault may be about alone. All is
    well again at the end of the span, but for what is armed and meets nobody.
    """
    draw = random.Random(seed)
    steps: Schedule = []
    for _ in range(draw.choice([1, 2, 3, 5, 8, 12, 18, 25])):
        at = draw.choice([0.0, *(draw.uniform(0, span) for _ in range(9))])  # or from the begin
        steps += draw.choice(TROUBLES)(Drawn(draw, at, span, bar, streams))
    return sorted(steps, key=lambda step: step.at)


def describe(schedule: Schedule) -> str:
    """A schedule as lines that can be read."""
    return "\n".join(map(str, schedule))


async def perform(schedule: Schedule, exchange: MemoryExchange) -> None:
    """Call all that is due when it is due, counted from now."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for step in schedule:
        await asyncio.sleep(max(0.0, began + step.at - loop.time()))
        getattr(exchange, step.fault)(**step.values)


class Drawn(NamedTuple):
    """What one trouble is drawn from."""

    draw: random.Random
    at: float
    span: float
    bar: float
    streams: Sequence[str]

    def between(self, low: float, high: float) -> float:
        """Seconds; as often below the geometric mean as above it."""
        return round(math.exp(self.draw.uniform(math.log(low), math.log(high))), 3)

    def outage(self) -> float:
        """From a second to several bars."""
        return self.between(1, max(60.0, 4 * self.bar))

    def stream(self) -> str | None:
        return self.draw.choice([None, *self.streams])

    def begin(self, fault: str, **values: Any) -> Step:
        return Step(round(self.at, 3), fault, values)

    def end(self, fault: str, after: float) -> Step:
        return Step(round(min(self.at + after, self.span), 3), fault)


def kill(on: Drawn) -> Schedule:
    return [on.begin("kill")]


def freeze(on: Drawn) -> Schedule:
    frozen = [on.begin("freeze")]
    return frozen if on.draw.random() < 0.3 else [*frozen, on.end("thaw", on.outage())]


def mute(on: Drawn) -> Schedule:
    return [on.begin("mute", stream=on.stream()), on.end("unmute", on.outage())]


def meet(on: Drawn) -> Schedule:
    """Messages that are lost, come twice, late or broken."""
    fault = on.draw.choice(["drop", "duplicate", "reorder", "corrupt"])
    return [on.begin(fault, count=on.draw.choice([1, 1, 2, 5, 40]), stream=on.stream())]


def delay(on: Drawn) -> Schedule:
    count, stream = on.draw.randint(1, 4), on.stream()
    return [on.begin("delay", seconds=on.between(0.1, 20), count=count, stream=stream)]


def oversize(on: Drawn) -> Schedule:
    size = on.draw.choice([100_000, 2**21])  # the first is still allowed
    return [on.begin("oversize", stream=on.stream(), size=size)]


def cut(on: Drawn) -> Schedule:
    return [on.begin("cut", stream=on.stream())]


def refuse(on: Drawn) -> Schedule:
    """Handshakes are refused; a kill shows it."""
    status = on.draw.choice([403, 418, 429, 451, 500, 503])
    after = on.draw.choice([None, None, 1, 7, 60])
    values = {"status": status, "count": on.draw.randint(1, 4), "retry_after": after}
    return [on.begin("refuse", **values), *kill(on)]


def accept_and_close(on: Drawn) -> Schedule:
    return [on.begin("accept_and_close", count=on.draw.choice([1, 3, 100])), *kill(on)]


def slow(on: Drawn) -> Schedule:
    back = on.draw.choice([0.0, on.between(0.1, 15)])
    calm = on.end("slow", on.outage())
    return [
        on.begin("slow", seconds=on.between(0.1, 15), back=back),
        calm._replace(values={"seconds": 0.0}),
    ]


def lag(on: Drawn) -> Schedule:
    """REST is behind, while it is needed."""
    lost = [on.begin("drop", count=40, stream=name) for name in on.streams if "kline" in name]
    current = on.end("lag", 5 * on.bar)._replace(values={"milliseconds": 0})
    return [on.begin("lag", milliseconds=on.draw.randint(1, 2900)), *lost, current]


def shorten(on: Drawn) -> Schedule:
    short = on.begin("shorten", rows=on.draw.choice([1, 2, 10]))
    return [short, on.end("shorten", 5 * on.bar)]


def shut_down(on: Drawn) -> Schedule:
    return [on.begin("shut_down", within=on.draw.choice([0, 1_000, 30_000, 600_000]))]


def answer(on: Drawn) -> Schedule:
    """REST answers something else; a kill lets it be asked."""
    path = on.draw.choice([KLINES, KLINES, TRADES, TIME])
    values: dict[str, Any] = {
        "path": path,
        "times": on.draw.randint(1, 4),
        "after": on.draw.randint(0, 2),
    }
    if on.draw.random() < 0.5:
        return [on.begin("answer", **values, body=on.draw.choice(NONSENSE)), *kill(on)]
    values["status"] = on.draw.choice([418, 429, 500, 503])
    if values["status"] < 500 and on.draw.random() < 0.8:
        values["headers"] = {"Retry-After": str(on.draw.choice([1, 5, 60]))}
    return [on.begin("answer", **values), *kill(on)]


def cut_network(on: Drawn) -> Schedule:
    seconds = min(on.outage(), max(0.001, round(on.span - on.at, 3)))
    return [on.begin("cut_network", seconds=seconds, hang=on.draw.random() < 0.5)]


TROUBLES = (
    kill, freeze, mute, meet, meet, delay, oversize, cut, refuse, accept_and_close, slow, lag,
    shorten, shut_down, answer, cut_network,
)  # fmt: skip
