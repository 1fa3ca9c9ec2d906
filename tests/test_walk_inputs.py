"""A walk-forward asked for what it can't do, and interrupted."""

from __future__ import annotations

import inspect
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walks import lean, wandering

import astraquant as aq
from astraquant.indicators import previous
from astraquant.strategies.definition import RESERVED
from astraquant.walk_windows import parse_span, say_span


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train": "soon"}, aq.StrategyError, "train='soon': expected a span of time above 0"),
        ({"train": "3M"}, aq.StrategyError, "a month has no fixed length"),
        ({"test": 30}, aq.StrategyError, "test=30: expected a span"),
        ({"test": "0d"}, aq.StrategyError, "test='0d': expected a span"),
        ({"test": "90m"}, aq.StrategyError, "no whole number of bars of 1h; expected '1h' or '2h'"),
        ({"step": "2d"}, aq.StrategyError, "step='2d' is longer than test='1d'"),
        (
            {"test": "1W", "step": pd.Timedelta("9d")},
            aq.StrategyError,
            r"step=Timedelta\('9 days 00:00:00'\) is longer than test='1W'.*at most '1W'",
        ),
        ({"train": "20w"}, aq.DataError, "train='20w' and at least one bar to test on do not fit"),
        (
            {"train": "900d"},
            aq.DataError,
            "train='900d' and at least one bar to test on do not fit",
        ),
        ({"anchored": "yes"}, aq.StrategyError, "anchored='yes': expected True"),
        ({"metric": "sharp"}, aq.StrategyError, "Did you mean 'sharpe'"),
        ({"metric": ["sharpe"]}, aq.StrategyError, "metric"),
        ({"cost": [0, 0.001]}, aq.StrategyError, "cost=.*takes one value"),
        ({"timeframe": ["1h", "2h"]}, aq.StrategyError, "timeframe=.*takes one value"),
        ({"stop_loss": [0.1]}, aq.StrategyError, "stop_loss=.*compare"),
        ({"direction": ["long"]}, aq.StrategyError, "direction=.*takes one value"),
        ({"trian": "3d"}, aq.StrategyError, "Did you mean 'train'"),
        ({"bakc": [1]}, aq.StrategyError, "Did you mean 'back'"),
        ({"memory_limit": 0}, aq.StrategyError, "whole number of bytes"),
        ({"back": 3}, aq.StrategyError, "nothing to sweep"),
        ({"candles": lean, "strategy": None}, aq.StrategyError, "the candles come first"),
        ({"strategy": "lean"}, aq.StrategyError, "expected a strategy"),
        ({"timeframe": "1M"}, aq.StrategyError, "bars of 1M have no fixed length"),
    ],
)
def test_what_can_not_be_honoured_is_refused(change, error, message):
    asked = {"candles": wandering(1, 24 * 70), "strategy": lean, "train": "3d", "test": "1d"}
    asked |= {"back": [1, 2], **change}
    with pytest.raises(error, match=message):
        aq.walk_forward(asked.pop("candles"), asked.pop("strategy"), **asked)


def test_names_that_would_be_lost_are_refused():
    with pytest.raises(aq.StrategyError, match=r"buy_and_hold has no parameters"):
        aq.walk_forward(wandering(1, 99), aq.strategies.buy_and_hold, train="2d", test="1d")

    @aq.strategy
    def clash(candles: Any, bars: int = 3) -> Any:
        return candles.close > previous(candles.close, bars)

    with pytest.raises(aq.StrategyError, match=r"the parameter bars bears the name of a column"):
        aq.walk_forward(wandering(1, 99), clash, train="2d", test="1d", bars=[1, 2])
    options = set(inspect.signature(aq.walk_forward).parameters) - {"grid"}
    assert options <= RESERVED
    with pytest.raises(aq.StrategyError, match="bears the name of an option"):

        @aq.strategy
        def stepping(candles: Any, step: int = 3) -> Any:
            return candles.close > 0


def test_an_interrupt_passes():
    calls = []

    @aq.strategy
    def stopping(candles: Any, back: int = 1) -> Any:
        calls.append(back)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return candles.close > previous(candles.close, back)

    with pytest.raises(KeyboardInterrupt):
        aq.walk_forward(wandering(1, 24 * 10), stopping, train="3d", test="1d", back=[1, 2])


@given(st.integers(1, 10**6), st.sampled_from("wdhms"))
def test_spans_are_read_as_written(count, unit):
    length = parse_span(f"{count}{unit}", "train", "1s")
    assert pd.Timedelta(length, "ms") == pd.Timedelta(count, {"w": "W", "d": "D"}.get(unit, unit))
    assert parse_span(say_span(length), "train", "1s") == length
    assert parse_span(pd.Timedelta(length, "ms"), "train", "1s") == length
