"""Feeds in processes of their own: killed and begun anew, in other time zones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from feeds import check_same, sample

from astraquant import Feed
from astraquant.exchange import SimulatedExchange

MINUTES = ("2023-02-01 00:00", "2023-02-01 02:00")
# Says where it stands after each candle; at the end, what it has.
CHILD = """
import sys
import pandas as pd
import astraquant as aq
with aq.Feed("BTCUSDT", venue=sys.argv[1], history=20) as feed:
    with feed.subscribe() as cursor:
        print("started", flush=True)
        closed = 0
        for update in cursor:
            if update.kind in ("closed", "filled"):
                closed += 1
                print(update.time, flush=True)
            if closed == int(sys.argv[2]):
                break
    table, gaps = feed.candles.iloc[: 20 + closed], feed.gaps
print(table.to_csv(), gaps.to_csv(), feed.status.state, sep="\\n")
"""


@pytest.fixture
def venue() -> Iterator[SimulatedExchange]:
    candles = sample("BTCUSDT", *MINUTES)
    with SimulatedExchange(candles, speed=0, start="2023-02-01 01:00") as running:
        yield running


def follow(venue: SimulatedExchange, closed: int, zone: str = "UTC") -> Any:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, venue.url, str(closed)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TZ": zone},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    return child


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_process_is_followed_by_one_that_has_all_the_same(
    venue: SimulatedExchange,
) -> None:
    with follow(venue, 1_000) as child:
        venue.advance("10m")
        for _ in range(10):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    venue.advance("7m")  # nobody listens
    with Feed("BTCUSDT", venue=venue.url, history=77) as feed:
        assert f"{feed.candles.index[-1]:%H:%M}" == "01:16"
        assert len(feed.gaps) == 0
        check_same(feed, sample("BTCUSDT", *MINUTES).loc[:"2023-02-01 01:16"])  # type: ignore[misc]
        assert len(feed.candles) == 77


def test_the_time_zone_of_a_process_changes_nothing(venue: SimulatedExchange) -> None:
    zones = ("UTC", "Asia/Kolkata", "America/St_Johns")
    children = [follow(venue, 5, zone) for zone in zones]
    venue.advance("6m")
    said = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert said[0].count("\n") > 30
    assert "2023-02-01 01:04:00+00:00" in said[0]
    assert said[1:] == [said[0]] * 2
