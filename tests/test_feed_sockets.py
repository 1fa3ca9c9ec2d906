"""Random trouble over real sockets: twenty feeds, each with a schedule by its seed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pandas as pd
import pytest
from fault_schedules import Schedule, Step, describe, random_schedule
from feeds import bars, check_same, reaches, sample, until

from astraquant import Feed
from astraquant.candles import Candle, candle_table
from astraquant.exchange import SimulatedExchange
from astraquant.exchange.script import SCRIPTED

SPEED = 75.0
TROUBLED = 12.0  # seconds of trouble; after as many again the market is at its end


def bearable(schedule: Schedule) -> Schedule:
    """The steps that the exchange knows, with waits that a test can wait for."""
    steps = []
    for step in schedule:
        values: dict[str, Any] = dict(step.values)
        if step.fault == "refuse":
            values = {"status": 429, "count": min(values["count"], 2), "retry_after": 1}
        elif step.fault in ("slow", "delay"):
            values["seconds"] = min(values["seconds"], 1.0)
            values.pop("back", None)
        elif step.fault == "shorten":
            values.setdefault("rows", 1000)
        if step.fault in SCRIPTED:
            steps.append(Step(step.at, step.fault, values))
    return steps


class Run:
    """One exchange, its feed, and the thread that troubles them."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self.seed = seed
        self.timeframe = ("1m", "3m", "5m")[seed % 3]
        self.candles = sample("BTCUSDT", "2023-02-01 00:00", "2023-02-01 01:30")
        streams = [f"btcusdt@kline_{self.timeframe}", "btcusdt@aggTrade"]
        drawn = random_schedule(seed, TROUBLED, bar=60 / SPEED, streams=streams)
        self.schedule = bearable(drawn)
        exchange = SimulatedExchange(self.candles, speed=SPEED, start="2023-02-01 01:00")
        self.venue = stack.enter_context(exchange)
        feed = Feed("BTCUSDT", self.timeframe, self.venue.url, name=f"seed {seed}", history=20)
        self.feed = stack.enter_context(feed)
        self.cursor = self.feed.subscribe()
        self.troubling = threading.Thread(target=self._trouble)
        self.troubling.start()

    def _trouble(self) -> None:
        began = time.monotonic()
        for step in self.schedule:
            time.sleep(max(0.0, began + step.at - time.monotonic()))
            getattr(self.venue, step.fault)(**step.values)

    def check(self) -> None:
        """In the end all candles are there, once, as they were; and so for a listener."""
        truth = bars(self.candles, self.timeframe)
        self.troubling.join()
        until(lambda: self.venue.now >= self.venue.markets["BTCUSDT"].end, self.feed)
        until(reaches(self.feed, truth), self.feed)
        check_same(self.feed, truth)
        heard: dict[int, Candle] = {}
        for update in self.cursor.take():
            if update.kind in ("closed", "filled"):
                assert update.time not in heard
            if update.kind in ("closed", "filled", "revised"):
                assert update.candle is not None
                heard[update.time] = update.candle
        table = candle_table([heard[time] for time in sorted(heard)])
        pd.testing.assert_frame_equal(
            table, truth.loc[table.index[0] :, table.columns], rtol=1e-12, check_index_type=False
        )


def runs(seeds: range) -> Iterator[Run]:
    with ExitStack() as stack:
        yield from [Run(seed, stack) for seed in seeds]


@pytest.mark.parametrize("first", [0, 10])
def test_ten_feeds_in_trouble_end_with_all_candles(first: int) -> None:
    wrong = []
    for run in runs(range(first, first + 10)):
        try:
            run.check()
        except AssertionError as error:
            wrong.append(f"seed {run.seed}: {error}\n{describe(run.schedule)}")
    assert not wrong, "\n\n".join(wrong)
