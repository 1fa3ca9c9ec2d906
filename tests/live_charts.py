"""What the tests of live charts share: an exchange, charts on it, what they show, waiting."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ipywidgets.widgets.widget import _instances

from astraquant.candles import times_of
from astraquant.data.sample import sample_candles
from astraquant.exchange import SimulatedExchange
from astraquant.widgets import live
from astraquant.widgets.live import LiveChart, live_chart

DEADLINE = 60.0  # seconds; what is waited for comes long before
START = "2023-03-02"
MINUTES = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-03")
OTHERS = sample_candles("XRPUSDT", start="2023-03-01", end="2023-03-03")


def two_markets() -> SimulatedExchange:
    """A day of history and one to come of two symbols; its time is moved by hand."""
    tables = {"BTCUSDT": MINUTES, "XRPUSDT": OTHERS}
    return SimulatedExchange(tables, speed=0, start=START)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Whatever a chart has taken it gives back: threads, widgets, the logger."""
    threads, widgets = set(threading.enumerate()), set(_instances)
    logger = logging.getLogger("astraquant.feed")
    before = logger.level, list(logger.handlers)
    yield
    for chart in list(live._charts.values()):
        chart.close()
    deadline = time.monotonic() + DEADLINE
    while left := {t.name for t in threading.enumerate() if t not in threads}:
        left.discard("simulated-exchange")  # the test's own
        if not left:
            break
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
    assert not [repr(one) for key, one in _instances.items() if key not in widgets]
    assert (logger.level, list(logger.handlers)) == before


def until(condition: Callable[[], object], chart: LiveChart) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            said = [w.value for w in (chart._light, chart._message, chart._picture.paper)]
            raise AssertionError(f"it never came: {said}, {chart.feed.status}")
        time.sleep(0.01)


def settled(condition: Callable[[], object], chart: LiveChart) -> None:
    """Wait for a condition, and until all of the drawing that brought it about is done."""
    until(condition, chart)
    done = threading.Event()
    chart._wishes.put(done.set)  # it is fulfilled when the next drawing begins
    assert done.wait(DEADLINE)


def open_chart(venue: SimulatedExchange, **options: Any) -> LiveChart:
    """A chart that has drawn a forming candle."""
    chart = live_chart("BTCUSDT", venue=venue.url, **options)
    until(lambda: chart.feed.stats["connections"] == 1, chart)
    venue.advance("5s")
    settled(lambda: light(chart).startswith("● LIVE") and shown_tail(chart), chart)
    return chart


def boxes(chart: LiveChart, part: str) -> dict[int, list[float]]:
    """Candles of some marks by open time, without the two that are out of sight."""
    marks = getattr(chart._picture.panels, part).marks
    found = {}
    for mark in marks:
        pairs = zip(np.array(mark.x), np.array(mark.y), strict=False)  # it may be drawing just now
        for x, y in list(pairs)[2:]:
            found[int(x)] = [float(value) for value in y]
    return dict(sorted(found.items()))


def shown_tail(chart: LiveChart) -> list[float] | None:
    """The forming candle as drawn."""
    forming, tail = chart.feed.forming, boxes(chart, "_tail")
    return tail.get(forming.time) if forming else None


def agrees(chart: LiveChart) -> bool:
    """Whether the picture shows the newest candles of the feed."""
    forming = chart.feed.forming
    if forming is None or shown_tail(chart) != list(forming[1:5]):
        return False
    return max(boxes(chart, "_closed"), default=0) == int(times_of(chart.feed.candles)[-2])


def light(chart: LiveChart) -> str:
    return str(re.sub("<[^>]*>", "", chart._light.value))
