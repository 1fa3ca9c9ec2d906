"""What the tests of live feeds share: markets to play, the truth about them, waiting for things."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import pandas as pd

from astraquant.candles import COLUMNS, EXTRA_COLUMNS
from astraquant.data.sample import sample_candles
from astraquant.exchange import SimulatedExchange
from astraquant.feed.feed import Feed
from astraquant.resampling import resample

MINUTES = ("2023-02-01 00:00", "2023-02-01 02:00")
START = "2023-02-01 01:00"  # an hour of history
DEADLINE = 60.0  # seconds; what is waited for comes long before


@lru_cache
def sample(symbol: str, start: str, end: str) -> pd.DataFrame:
    """Minutes of the synthetic sample."""
    return sample_candles(symbol, start=start, end=end)


def standing_still() -> SimulatedExchange:
    """An exchange over two hours, the first of them history, whose time is moved by hand."""
    return SimulatedExchange(sample("BTCUSDT", *MINUTES), speed=0, start=START)


def last(feed: Feed) -> str:
    """When the last closed candle opened ("" if there is none)."""
    return f"{feed.candles.index[-1]:%H:%M}" if len(feed.candles) else ""


def until(condition: Callable[[], bool], feed: Feed) -> None:
    """Wait for a condition; what the feed says of itself if it doesn't come."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            gaps = feed.gaps if len(feed.symbols) == 1 else list(feed.gaps.items())
            raise AssertionError(f"it never came: {feed.status}, {feed.stats}\n{gaps}")
        time.sleep(0.01)


def reaches(feed: Feed, candles: pd.DataFrame) -> Callable[[], bool]:
    """Whether all the bars of a table are closed, and nothing is left to ask."""

    def check() -> bool:
        table = feed.candles
        if not len(table) or (feed.gaps["kind"] == "open").any():
            return False
        return len(table) >= len(candles.loc[table.index[0] :])

    return check


def play_out(venue: SimulatedExchange) -> None:
    """Move the venue's time to the end of its markets."""
    venue.advance(max(market.end for market in venue.markets.values()) - venue.now)


def check_same(feed: Feed, truth: pd.DataFrame) -> None:
    """None lost, none twice, none different, from the first bar of the feed on."""
    columns = [*COLUMNS, *EXTRA_COLUMNS]
    found = feed.candles
    expected = truth.loc[found.index[0] :]
    pd.testing.assert_frame_equal(
        found[columns], expected[columns], check_exact=False, rtol=1e-12, check_index_type=False
    )


def bars(candles: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """The true bars of another timeframe."""
    return candles if timeframe == "1m" else resample(candles, timeframe)
