"""The workbench without a browser: whatever is chosen, it shows what `backtest` says."""

from __future__ import annotations

import html
import json
import math
import re
from contextlib import contextmanager
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pytest
from explorers import MINUTES, many, move, on_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets.widgets.widget import _instances
from test_plugins import environment, run  # noqa: F401 - a fixture

import astraquant as aq
from astraquant.reports import format_figure
from astraquant.runs import STOPS
from astraquant.strategies import ma_cross
from astraquant.widgets.explorer_view import STALE

OPTIONS = ("timeframe", "cost", "direction", "fill", *STOPS)
BUILT_IN = (
    "ma_cross rsi_reversion macd_cross bollinger_reversion donchian_breakout momentum buy_and_hold"
).split()


@contextmanager
def bench_of(*arguments, **named):
    bench = aq.workbench(*arguments, **named)
    try:
        yield bench
    finally:
        bench.close()


def names(bench):
    return [label for label, _ in bench._controls.strategy.options]


def choose(bench, name):
    """What the browser sends when a strategy is chosen."""
    bench._controls.strategy.set_state({"index": names(bench).index(name)})


def complaint(bench):
    return html.unescape(re.sub("<[^>]+>", "", bench._controls.complaint.value))


def is_stale(bench):
    return [STALE in part._dom_classes for part in bench._view.pale] == [True, True]


def same_as_backtest(bench, strategy, candles=MINUTES, **options):
    """Everything that is shown is that of this `backtest`."""
    expected = aq.backtest(candles, strategy, **options)
    shown = bench.backtest
    pd.testing.assert_series_equal(shown.metrics, expected.metrics, check_exact=True)
    pd.testing.assert_frame_equal(shown.trades, expected.trades)
    pattern = r'<div title="([^"]+)"><span>([^<]+)</span><b>([^<]+)</b>'
    view = bench._view
    found = re.findall(pattern, view.figures.value)
    figures = {name.replace(" ", "_"): html.unescape(text) for _, name, text in found}
    assert figures == {str(k): format_figure(str(k), v) for k, v in expected.metrics.items()}
    assert html.escape(expected.metrics.name) in view.heading.value
    for said in (*expected.notes, expected.options.contract(expected.options.cost)):
        assert html.escape(said) in view.figures.value
    assert view.panels._money.y[-1] == np.float32(expected.equity.iloc[-1])
    assert view.panels._hold.y[-1] == np.float32(expected._buy_and_hold_equity().iloc[-1])
    assert (complaint(bench), is_stale(bench)) == ("", False)


def test_it_begins_with_the_first_strategy_and_says_little():
    with bench_of(MINUTES, timeframe="15m") as bench:
        assert repr(bench) == "Workbench(4,320 candles of 1m, ma_cross first)"
        assert names(bench)[: len(BUILT_IN)] == BUILT_IN
        same_as_backtest(bench, ma_cross, timeframe="15m")
        assert "synthetic prices" in "".join(getattr(part, "value", "") for part in bench.children)
        assert "until it crosses below. Expected: short &lt; long." in (
            bench._controls.description.value
        )


def test_every_strategy_is_chosen_by_its_name_and_keeps_its_sliders():
    known = aq.load_strategies()
    with bench_of(MINUTES, timeframe="5m") as bench:
        for name in reversed(BUILT_IN):
            choose(bench, name)
            same_as_backtest(bench, known[name], timeframe="5m")
            assert list(bench._controls.sliders) == list(known[name].parameters)
        move(bench._controls.sliders["short"], 7)
        same_as_backtest(bench, ma_cross, timeframe="5m", short=7)
        choose(bench, "momentum")
        move(bench._controls.sliders["threshold"], 0.005)
        same_as_backtest(bench, known["momentum"], timeframe="5m", threshold=0.005)
        there = len(_instances)
        choose(bench, "ma_cross")
        same_as_backtest(bench, ma_cross, timeframe="5m", short=7)
        assert len(_instances) == there
        visible = [b for b in bench._controls.parameters.children if b.layout.display != "none"]
        assert [list(box.children) for box in visible] == [list(bench._controls.sliders.values())]


def test_it_begins_with_what_it_is_given():
    given = {"timeframe": "15m", "cost": 0.0005, "fill": "close", "direction": "both"}
    given |= {"slippage": 0.0002, "cash": 500.0, "start": "2023-03-02", "end": "2023-03-03"}
    given |= {"stop_loss": 0.0123, "take_profit": 0.1, "fast": 3, "lower": 60.0, "kind": "one"}
    with bench_of(MINUTES, many, **given) as bench:
        assert names(bench) == ["many (given here)", *names(bench)[1:]]
        assert names(bench)[1 : 1 + len(BUILT_IN)] == BUILT_IN
        same_as_backtest(bench, many, **given)
        controls = bench._controls
        assert [control.value for control in controls.limits.values()] == ["1.23", "10", ""]
        move(controls.timeframe, "1h")
        same_as_backtest(bench, many, **{**given, "timeframe": "1h"})
        choose(bench, "rsi_reversion")  # the options stay, the parameters are its own
        kept = {name: given[name] for name in given if name not in many.parameters}
        rsi_reversion = aq.strategies.find_strategy("rsi_reversion")
        same_as_backtest(bench, rsi_reversion, **{**kept, "timeframe": "1h"})


def test_a_listed_strategy_that_is_given_stands_in_its_place():
    momentum = aq.strategies.find_strategy("momentum")
    with bench_of(MINUTES, momentum, timeframe="1h", window=5) as bench:
        assert names(bench)[: len(BUILT_IN)] == BUILT_IN
        same_as_backtest(bench, momentum, timeframe="1h", window=5)


controls = st.one_of(
    st.tuples(st.just("short"), st.integers(1, 60)),
    st.tuples(st.just("long"), st.integers(2, 90)),
    st.tuples(st.just("kind"), st.sampled_from(["sma", "ema", "wma"])),
    st.tuples(st.just("timeframe"), st.sampled_from(["1m", "5m", "15m", "1h"])),
    st.tuples(st.just("cost"), st.sampled_from([0.0, 10.0, 2.5, 10_000.0, -1.0])),
    st.tuples(st.just("direction"), st.sampled_from(["long", "short", "both"])),
    st.tuples(st.just("fill"), st.sampled_from(["open", "close"])),
    st.tuples(st.sampled_from(STOPS), st.sampled_from(["", "1", " 0.5 %", "0", "150", "a", "nan"])),
)


def asked(bench):
    """What the controls ask of `backtest`; stops as they were typed, None if that means nothing."""
    parts = bench._controls
    said = {name: getattr(parts, name).value for name in ("timeframe", "direction", "fill")}
    said |= {name: slider.value for name, slider in parts.sliders.items()}
    said["cost"] = round(parts.cost.value / 10_000, 10)
    for name, control in parts.limits.items():
        text = control.value.replace("%", "").strip()
        try:
            said[name] = round(float(text) / 100, 10) if text else None
        except ValueError:
            return None
    return said


@settings(max_examples=25)
@given(moves=st.lists(controls, max_size=8))
def test_whatever_is_moved_what_is_shown_is_right_or_said_to_be_old(moves):
    with bench_of(MINUTES, timeframe="5m") as bench:
        named = {**bench._controls.sliders, **bench._controls.limits}
        right = bench.backtest
        for name, value in moves:
            move(named[name] if name in named else getattr(bench._controls, name), value)
            options = asked(bench)
            try:
                if options is None:
                    raise aq.StrategyError("no number")
                same_as_backtest(bench, ma_cross, **options)
                right = bench.backtest
            except aq.AstraQuantError:
                assert f"Still shown: {right.metrics.name}." in complaint(bench)
                assert is_stale(bench)
                assert bench.backtest is right


def test_what_is_refused_is_said_in_words():
    with bench_of(MINUTES, timeframe="5m") as bench:
        limits, cost = bench._controls.limits, bench._controls.cost
        limits["stop_loss"].value = "two"
        assert complaint(bench) == (
            "⚠ stop loss 'two': expected per cent, such as 2 or 0.5, or nothing for none. "
            "Still shown: ma_cross(short=50, long=200, kind='sma')."
        )
        limits["stop_loss"].value = ""
        same_as_backtest(bench, ma_cross, timeframe="5m")
        move(cost, -3.0)
        assert "cost=-0.0003: expected a fraction" in complaint(bench)
        move(cost, 3.0)
        move(bench._controls.sliders["short"], 300)
        assert "expected short < long. Still shown" in complaint(bench)
        choose(bench, "buy_and_hold")
        hold = aq.strategies.find_strategy("buy_and_hold")
        same_as_backtest(bench, hold, timeframe="5m", cost=0.0003)


@aq.strategy
def demanding(
    candles,
    window: int,
    share: Annotated[float, aq.Range(0.25, 2)],
    kind: Literal["up", "down"],
    note: str,
):
    """No parameter has a default."""
    above = candles.close > share * aq.indicators.sma(candles.close, window)
    return above if kind == "up" else ~above


def test_a_parameter_without_a_default_begins_with_the_least_and_says_what_is_wrong_with_it():
    with bench_of(MINUTES, demanding, timeframe="1h") as bench:
        assert bench._controls.values == {"window": 0, "share": 0.25, "kind": "up", "note": ""}
        assert bench.backtest is None
        assert "window" in complaint(bench)
        assert "Still shown" not in complaint(bench)
        assert not bench._run.children
        bench._controls.zoom_in.click()  # of nothing
        move(bench._controls.sliders["window"], 3)
        values = {"window": 3, "share": 0.25, "kind": "up", "note": ""}
        same_as_backtest(bench, demanding, timeframe="1h", **values)
        assert bench._run.children


def test_the_least_of_a_whole_number_is_whole():
    @aq.strategy
    def whole(candles, window: Annotated[int, aq.Range(2.5, 9)]):
        return candles.close > aq.indicators.sma(candles.close, window)

    with bench_of(MINUTES, whole, timeframe="1h") as bench:
        same_as_backtest(bench, whole, timeframe="1h", window=3)


def test_what_can_not_be_traced_and_what_it_raises():
    with bench_of(MINUTES, on_arrays, timeframe="15m") as bench:
        same_as_backtest(bench, on_arrays, timeframe="15m")
        move(bench._controls.sliders["window"], 13)
        assert "thirteen <brings> bad luck" in complaint(bench)
        assert "&lt;brings&gt;" in bench._controls.complaint.value
        assert is_stale(bench)


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ({"short": 5}, "parameters belong to a strategy; write workbench(candles, strategy, short"),
        ({"strategy": ma_cross, "shrt": 5}, "Did you mean 'short'?"),
        ({"strategy": ma_cross, "short": [5, 6]}, "short=[5, 6]: expected a whole number"),
        ({"strategy": ma_cross, "short": 9_999}, "out of range"),
        ({"strategy": "ma_cross"}, "find_strategy"),
        ({"timeframe": "7m"}, "7m"),
        ({"cost": 2}, "cost=2"),
        ({"stop_loss": 0}, "stop_loss=0"),
        ({"start": "2030-01-01"}, "no 1m bar to evaluate"),
    ],
)
def test_what_makes_no_workbench_is_an_error_and_leaves_nothing(named, text):
    there = len(_instances)
    with pytest.raises(aq.AstraQuantError, match=re.escape(text)):
        aq.workbench(MINUTES, **named)
    assert len(_instances) == there


def test_candles_are_made_ready_once_for_each_timeframe():
    with bench_of(MINUTES, timeframe="5m") as bench:
        move(bench._controls.timeframe, "1m")
        closes = {}
        for timeframe, name in (("5m", "momentum"), ("1m", "ma_cross"), ("5m", "macd_cross")):
            move(bench._controls.timeframe, timeframe)
            choose(bench, name)
            close = bench.backtest._market.columns["close"]
            assert closes.setdefault(timeframe, close) is close


def test_closing_frees_all_widgets_also_those_of_other_strategies():
    there = set(_instances)
    bench = aq.workbench(MINUTES, timeframe="5m")
    for name in BUILT_IN:
        choose(bench, name)
    bench.close()
    bench.close()
    assert set(_instances) == there
    aq.workbench(MINUTES, demanding, timeframe="1h").close()  # nothing was ever drawn
    assert set(_instances) == there


def test_one_bar():
    one = MINUTES.iloc[:1]
    with bench_of(one, timeframe="1m") as bench:
        same_as_backtest(bench, ma_cross, one, timeframe="1m")
        assert math.isnan(bench.backtest.metrics.sharpe)
        bench._controls.zoom_in.click()


USE = """
import json, re, sys
import pandas as pd
import astraquant as aq

candles = pd.read_parquet(sys.argv[1]).set_index("time")
bench = aq.workbench(candles)
controls = bench._controls
names = [label for label, _ in controls.strategy.options]
controls.strategy.set_state({"index": names.index("weekend (tiny-strategies 1.2.3)")})
controls.sliders["back"].set_state({"value": 5})
expected = aq.backtest(candles, aq.strategies.find_strategy("weekend"), back=5)
pd.testing.assert_series_equal(bench.backtest.metrics, expected.metrics)
print(json.dumps([names, controls.broken.value, controls.description.value]))
"""


def test_plug_ins_are_to_choose_from_and_broken_ones_are_told(environment):  # noqa: F811
    folder, _ = environment
    done = run(environment, "-c", USE, str(folder / "walk.parquet"))
    assert done.returncode == 0, done.stderr
    names, broken, description = json.loads(done.stdout)
    assert names == [*BUILT_IN, "weekend (tiny-strategies 1.2.3)"]
    told = dict(re.findall(r"<li><b>(\w+)</b> \(tiny-strategies 1.2.3\): (.+?)</li>", broken))
    assert list(told) == ["crash", "five", "ma_cross", "missing", "quits"]
    assert "a_package_that_nobody_has" in told["crash"]
    assert "taken already" in told["ma_cross"]
    assert "Long above a close of old, until below it. Expected: back &gt; level." in description
