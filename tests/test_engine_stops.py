"""Sweeps of stops: every row is the backtest of that row."""

from __future__ import annotations

import math

import naive_stops
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_stops import FRACTIONS, directions, options, wicked

import astraquant as aq
from astraquant.indicators import sma

LISTS = st.lists(st.sampled_from([None, *FRACTIONS]), min_size=1, max_size=3, unique=True)
lists_of_stops = st.fixed_dictionaries(
    {}, optional={"stop_loss": LISTS, "take_profit": LISTS, "trailing_stop": LISTS}
).filter(bool)
tables = st.builds(
    wicked,
    st.sampled_from([2, 7, 64, 200, 1023, 1025, 2100]),
    st.integers(0, 2**32),
    jump=st.sampled_from([0.002, 0.01, 0.05]),
)


@aq.strategy
def above(candles, window: int = 3):
    """Long while the close is above its average."""
    return candles.close > sma(candles.close, window)


@aq.strategy
def on_arrays(candles, window: int = 3):
    """The same, in a way that can't be traced."""
    return np.asarray(candles.close) > sma(candles.close, window)


def assert_rows_are_backtests(swept, candles, strategy, **fixed):
    """Each row of the table equals the backtest of that row."""
    for row in swept.table.index:
        result = swept.backtest(swept.grid.rows[swept.table.index.get_loc(row)])
        for name, value in swept.table.loc[row].items():
            rel = 1e-6 if name == "annual_return" else 1e-9
            assert value == pytest.approx(result.metrics[name], rel=rel, abs=1e-10, nan_ok=True), (
                row,
                name,
            )


@settings(max_examples=150)
@given(tables, options, lists_of_stops, directions, st.sampled_from([None, "5m", "15m"]))
def test_each_row_is_its_backtest(candles, opts, limits, direction, timeframe):
    if timeframe is not None and len(aq.resample(candles, timeframe)) == 0:
        return
    swept = aq.sweep(
        candles, above, window=[1, 2, 20], direction=direction, timeframe=timeframe,
        **opts, **limits,
    )  # fmt: skip
    assert swept.passport["engine"].startswith("compiled")
    assert_rows_are_backtests(swept, candles, above)
