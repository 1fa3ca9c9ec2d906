"""Stops that a sweep tries: as axes of its picture, and as controls of its explorer."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from drawn import figures
from explorers import MINUTES, opened

import astraquant as aq
from astraquant.strategies import ma_cross


@pytest.fixture(scope="module")
def swept():
    return aq.sweep(
        MINUTES, ma_cross, short=[5, 10], long=60, timeframe="5m", stop_loss=[None, 0.002, 0.01],
        take_profit=0.05,
    )  # fmt: skip


def test_each_stop_is_a_choice_and_the_run_is_its_backtest(swept):
    with opened(swept) as explorer:
        control = explorer._controls.limits["stop_loss"]
        assert [label for label, _ in control.options] == ["none", "0.2 %", "1 %"]
        assert list(explorer._controls.limits) == ["stop_loss"]  # the target is the same for all
        for stop in (0.002, math.inf):
            control.value = stop
            expected = aq.backtest(
                MINUTES, ma_cross, timeframe="5m", stop_loss=stop, take_profit=0.05,
                **explorer.backtest.parameters,
            )  # fmt: skip
            pd.testing.assert_series_equal(explorer.backtest.metrics, expected.metrics)
            assert explorer._choice["stop_loss"] == stop


def test_a_cell_of_the_plane_sets_the_stop(swept):
    with opened(swept) as explorer:
        explorer._pick({"short": 10, "stop_loss": 0.01})
        assert explorer.backtest.options.stop_loss == 0.01
        assert explorer.backtest.parameters["short"] == 10
        assert explorer._controls.limits["stop_loss"].value == 0.01


def test_another_cost_keeps_the_stops(swept):
    with opened(swept) as explorer:
        explorer._controls.cost.value = 0.0
        assert explorer.wait()
        assert explorer.sweep.grid.levels == swept.grid.levels
        assert explorer.sweep.options.take_profit == 0.05
        assert explorer.backtest.options.cost == 0.0


def labels_of(chart):
    return [axis.tick_labels for axis in figures(chart)[0].axes]


def test_a_picture_says_none_where_there_is_no_stop(swept):
    said = {"0": "none", "1": "0.002", "2": "0.01"}
    assert said in labels_of(swept.heatmap("sharpe"))
    assert said in labels_of(swept.heatmap("sharpe", short=5))  # a line over the stops alone
