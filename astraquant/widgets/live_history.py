"""The feed of a live chart: minutes, and as many past ones as its strategy asks for."""

from __future__ import annotations

import itertools
from typing import Final

from ..causality import FEWEST_BARS, check_strategy
from ..feed.feed import Feed
from ..strategies.definition import Strategy
from ..timeframes import DURATIONS, MINUTE
from .live_bars import MOST, Bars
from .live_controls import Setup

LONGEST_HISTORY: Final = 20_000  # minutes

_numbers = itertools.count(1)


def start_feed(name: str, setup: Setup, venue: str, strategy: Strategy | None) -> Feed:
    """Start a feed of minutes that begins with enough history.

    Enough is what `check_strategy` says on that very history: its answer must no longer depend on
    where it begins. Where that can't be said (the strategy has not moved, for example), twice as
    much is loaded, up to `LONGEST_HISTORY`. Raises `FeedError` as `Feed.start` does, and
    `StrategyError` for a strategy that fails or looks ahead: live there is nothing to look at.
    """
    minutes = minutes_wanted(setup, strategy)
    feed = _new_feed(name, setup.symbol, venue, minutes).start()
    try:
        while strategy is not None and not _suffices(feed, minutes, setup, strategy):
            minutes = min(2 * minutes, LONGEST_HISTORY)
            former, feed = feed, _new_feed(name, setup.symbol, venue, minutes)
            try:
                feed.start()
            finally:
                former.stop()  # not before, so that a simulated venue runs on
    except BaseException:
        feed.stop()
        raise
    return feed


def minutes_wanted(setup: Setup, strategy: Strategy | None) -> int:
    """How many minutes to begin with: five times the longest window, twice what a slider reaches.

    A crossover that looks back 200 bars needs about 1,000 until it no longer matters where history
    began.
    """
    bars = [2 * MOST]
    for name, parameter in (strategy.parameters if strategy else {}).items():
        value = setup.parameters[name]
        if isinstance(value, int):
            bars += [5 * value, 2 * int(parameter.range.high) if parameter.range else 0]
    return min(LONGEST_HISTORY, max(bars) * DURATIONS[setup.timeframe] // MINUTE)


def _suffices(feed: Feed, minutes: int, setup: Setup, strategy: Strategy) -> bool:
    """Whether the history is long enough, or no longer one is to be had."""
    table = feed.candles
    bars = Bars(table, setup.timeframe).closed if len(table) else table
    content = False
    if len(bars) >= FEWEST_BARS:
        content = check_strategy(strategy, bars, **setup.parameters).needs is not None
    # Else there may be more, unless the venue has given less than it was asked for.
    return content or minutes >= LONGEST_HISTORY or len(table) < minutes // 2


def _new_feed(name: str, symbol: str, venue: str, history: int) -> Feed:
    """A feed that is not started; each has a name of its own, so that none stops another."""
    return Feed(symbol, "1m", venue, name=f"{name} {next(_numbers)}", history=history)
