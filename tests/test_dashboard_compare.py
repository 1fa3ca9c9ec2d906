"""Results side by side: every figure, names that tell them apart, and what makes them unequal."""

from __future__ import annotations

import re

import bqplot as bq
import numpy as np
import pandas as pd
import pytest
from drawn import figures
from results import MINUTES, always, crossover, flat_candles, result_of, texts

import astraquant as aq
from astraquant.errors import StrategyError
from astraquant.reports import format_figure
from astraquant.strategies import ma_cross
from astraquant.widgets.dashboard_compare import distinct_names
from astraquant.widgets.dashboard_view import view_of


def hourly(**options: object) -> object:
    return aq.backtest(MINUTES, ma_cross, short=5, long=20, timeframe="1h", **options)


def test_every_figure_of_every_result_is_in_the_table() -> None:
    results = [crossover(), hourly(), result_of("portfolio")]
    compared = aq.compare(*results)
    markup = compared.children[-1].value
    rows = dict(re.findall(r'<tr><th scope="row"[^>]*>(.*?)</th>(.*?)</tr>', markup))
    like = {"orders": "trades", "invested": "exposure"}  # figures of the same unit
    assert list(rows) == [name.replace("_", " ") for name in compared.table.index]
    for name, values in compared.table.iterrows():
        said = re.findall(r"<td>(.*?)</td>", rows[name.replace("_", " ")])
        assert said == [format_figure(like.get(name, name), value) for value in values]
    for result, column in zip(results, compared.table, strict=True):
        expected = result.metrics.reindex(compared.table.index)
        pd.testing.assert_series_equal(compared.table[column], expected, check_names=False)
    assert 'title="equity at the last close / starting cash - 1"' in markup


def test_curves_are_growth_of_one() -> None:
    compared = aq.compare(crossover(), hourly())
    growth, falls = figures(compared)
    drawn = [np.ravel(mark.y)[-1] for mark in reversed(growth.marks)]
    expected = [r.equity.iloc[-1] / r.options.cash for r in (crossover(), hourly())]
    assert drawn == pytest.approx(expected, rel=1e-6)
    lowest = [np.ravel(mark.y).min() for mark in reversed(falls.marks)]
    assert lowest == pytest.approx(
        [r.metrics.max_drawdown for r in (crossover(), hourly())], rel=1e-6
    )
    compared.children[1].value = True
    assert np.ravel(growth.marks[-1].y)[-1] == pytest.approx(np.log10(expected[0]), abs=1e-6)
    assert all(isinstance(mark, bq.Lines) for mark in growth.marks)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([{"cost": 0.0}, {"cost": 0.001}], ["cost 0", "cost 0.001"]),
        ([{"direction": "long"}, {"direction": "both"}], ["direction long", "direction both"]),
        ([{}, {"stop_loss": 0.03}], ["stop loss none", "stop loss 0.03"]),
        ([{}, {}], ["#1", "#2"]),
        ([{"cost": 0.0}, {"cost": 0.001}, {"cost": 0.001}], ["cost 0", "cost 0.001, #2"]),
        (
            [{"cost": 0.0}, {"cost": 0.001}, {"cost": 0.001, "fill": "close"}],
            ["cost 0, fill open", "cost 0.001, fill open", "cost 0.001, fill close"],
        ),
    ],
)
def test_results_of_one_name_are_told_apart_by_what_differs(
    options: list[dict[str, object]], expected: list[str]
) -> None:
    names = distinct_names([view_of(hourly(**one)) for one in options])
    assert len(set(names)) == len(names)
    for name, end in zip(names, expected, strict=False):
        assert name == f"ma_cross(short=5, long=20, kind='sma'), {end}"


def test_results_of_other_names_keep_them() -> None:
    other = aq.backtest(MINUTES, ma_cross, short=5, long=30, timeframe="1h")
    assert list(aq.compare(hourly(), other).table) == [
        "ma_cross(short=5, long=20, kind='sma')",
        "ma_cross(short=5, long=30, kind='sma')",
    ]


def test_other_spans_bars_and_candles_are_said() -> None:
    late = hourly(start="2023-03-08")
    said = " ".join(aq.compare(hourly(), late).notes)
    assert "They cover different times" in said
    assert "2023-03-08 00:00 to 2023-03-15 00:00" in said
    assert "other candles" not in said
    said = " ".join(aq.compare(hourly(), crossover()).notes)
    assert "They cover different times" not in said  # they end at the same moment
    assert "Their bars differ in length" in said
    said = " ".join(aq.compare(hourly(), result_of("free")).notes)
    assert "They were run over different candles." in said


def test_a_note_of_all_is_said_once_and_that_of_one_with_its_name() -> None:
    compared = aq.compare(hourly(), hourly(fill="close"))
    said = texts(compared)
    assert said.count("These prices are simulated") == 1
    assert "fill close: Filled at the very close that decides: optimistic." in said
    assert "synthetic prices" in said


def test_one_or_too_many_are_refused() -> None:
    with pytest.raises(StrategyError, match="given 1 result; expected 2 to 7"):
        aq.compare(crossover())
    with pytest.raises(StrategyError, match="given 8 results"):
        aq.compare(*[crossover()] * 8)
    with pytest.raises(StrategyError, match="float: expected the result of a backtest"):
        aq.compare(crossover(), 3.0)


def test_it_is_printed_in_one_line() -> None:
    one = aq.backtest(flat_candles([1, 2, 3]), always)
    assert repr(aq.compare(one, one)) == "Comparison(always(), #1, always(), #2)"
