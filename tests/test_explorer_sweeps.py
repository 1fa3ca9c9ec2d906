"""The explorer makes another sweep, in a thread of its own, and comes to an end."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pandas as pd
import pytest
from explorers import (
    LONG_WAIT,
    MINUTES,
    complaint,
    move,
    nine_cells,
    opened,
    plane_of,
    same_as_backtest,
)
from ipywidgets.widgets.widget import _instances

import astraquant as aq
from astraquant.jobs import Watch
from astraquant.strategies import ma_cross
from astraquant.widgets.explorer_controls import HINT, Setup
from astraquant.widgets.explorer_sweeper import Sweeper


@pytest.fixture(scope="module")
def swept() -> Any:
    return nine_cells()


# Another sweep


def test_timeframe_cost_and_fill_sweep_anew(swept: Any) -> None:
    with opened(swept) as explorer:
        controls = explorer._controls
        move(controls.sliders["short"], 10)
        for control, value in (
            (controls.timeframe, "15m"), (controls.cost, 2.5), (controls.fill, "close"),
        ):  # fmt: skip
            move(control, value)
            assert explorer.wait(LONG_WAIT)
            assert controls.progress.layout.display == "none"
            assert HINT in controls.doing.value
            same_as_backtest(explorer)
            setup = controls.setup
            expected = aq.sweep(
                MINUTES, ma_cross, short=[5, 10, 20], long=[10, 30, 60], **setup._asdict()
            )
            pd.testing.assert_frame_equal(explorer.sweep.table, expected.table)
            assert plane_of(explorer).loc[60, 5] == expected.table.loc[(5, 60), "sharpe"]
        assert setup == Setup("15m", 0.00025, "close")
        assert "optimistic" in explorer._figures.value
        assert "15m · 2.5 bp · filled at close" in explorer._plane._chart._head.value  # type: ignore[union-attr]


def test_a_sweep_that_fails_is_said_and_all_stays_as_it_was(swept: Any) -> None:
    with opened(swept) as explorer:
        before = explorer.sweep, explorer.backtest, plane_of(explorer)
        for control, value, text in (
            (explorer._controls.cost, -5.0, "cost=-0.0005: expected a fraction"),
            (explorer._controls.timeframe, "1M", "hold no whole bar of 1M"),
        ):
            move(control, value)
            assert explorer.wait(LONG_WAIT)
            assert text in complaint(explorer)
            assert "Still shown: 5m · 10 bp · filled at open." in complaint(explorer)
            assert explorer._controls.setup == Setup("5m", 0.001, "open")
            assert (explorer.sweep, explorer.backtest) == before[:2]
            assert plane_of(explorer) is before[2]
        move(explorer._controls.sliders["short"], 6)  # it goes on
        same_as_backtest(explorer)


def test_while_it_sweeps_it_says_so_and_the_sliders_work(swept: Any) -> None:
    with opened(swept) as explorer:
        go_on, controls = threading.Event(), explorer._controls
        work = explorer._sweeper._work

        def held_up(setup: Setup, watch: Watch) -> Any:
            assert go_on.wait(LONG_WAIT)
            return work(setup, watch)

        explorer._sweeper._work = held_up
        move(controls.timeframe, "15m")
        assert "Sweeping 7 combinations at 15m" in controls.doing.value
        assert controls.progress.layout.display is None
        move(controls.sliders["short"], 8)
        assert explorer.backtest.timeframe == "5m"  # type: ignore[union-attr]
        assert explorer.backtest.parameters["short"] == 8  # type: ignore[union-attr]
        move(controls.timeframe, "5m")  # changed one's mind
        assert HINT in controls.doing.value
        move(controls.timeframe, "30m")
        go_on.set()
        assert explorer.wait(LONG_WAIT)
        same_as_backtest(explorer)
        assert explorer.backtest.timeframe == "30m"  # type: ignore[union-attr]


def test_a_sweeper_fulfils_the_newest_wish_alone() -> None:
    started, go_on = threading.Event(), threading.Event()
    seen: list[Any] = []
    worked: list[int] = []

    def work(wish: int, _: Watch) -> int:
        worked.append(wish)
        started.set()
        assert go_on.wait(LONG_WAIT)
        if wish == 9:
            raise ValueError("nine")
        return 10 * wish

    lock = threading.RLock()
    told: list[Any] = []
    sweeper = Sweeper(
        work, lambda *answer: seen.append(answer), lambda *share: told.append(share), lock
    )
    sweeper.wish(1)
    assert started.wait(LONG_WAIT)
    sweeper.wish(2)
    sweeper.wish(3)
    go_on.set()
    assert sweeper.join(LONG_WAIT)
    assert seen == [(3, 30)]
    assert worked == [1, 3]
    assert told[0] == (1, None)
    sweeper.wish(9)
    assert sweeper.join(LONG_WAIT)
    assert repr(seen[1]) == "(9, ValueError('nine'))"
    assert not sweeper.is_busy


def test_what_is_wished_for_no_more_ends_at_the_next_look() -> None:
    started, ended = threading.Event(), threading.Event()
    seen: list[Any] = []

    def work(_: str, watch: Watch) -> str:
        started.set()
        try:
            while True:
                watch(0, 1)
        finally:
            ended.set()

    def progress(_: str, share: float | None) -> None:
        seen.append(share)

    sweeper = Sweeper(work, lambda *answer: seen.append(answer), progress, threading.RLock())
    sweeper.wish("now")
    assert started.wait(LONG_WAIT)
    sweeper.wish(None)
    assert ended.wait(LONG_WAIT)
    assert sweeper.join(LONG_WAIT)
    assert seen == [None]  # nothing was done of it, and nothing came of it


def test_progress_is_told_at_each_hundredth() -> None:
    told: list[float | None] = []

    def work(_: str, watch: Watch) -> str:
        for done in range(1, 1001):
            watch(done, 1000)
        return ""

    def progress(_: str, share: float | None) -> None:
        told.append(share)

    sweeper = Sweeper(work, lambda *_: None, progress, threading.RLock())
    sweeper.wish("now")
    assert sweeper.join(LONG_WAIT)
    assert told == [None, *(k / 100 for k in range(1, 101))]


@pytest.mark.parametrize("engine", ["auto", "vectorbt"])
def test_a_job_tells_how_far_it_is_and_ends_when_the_watch_raises(engine: str) -> None:
    grid = {"short": range(2, 12), "long": range(20, 40), "cost": [0.0, 0.001]}
    swept = aq.sweep(MINUTES, ma_cross, timeframe="15m", engine=engine, **grid)
    job = swept._job.again(timeframe="1h", cost=None, fill="close")
    told: list[tuple[int, int]] = []
    table = job.run(lambda *done: told.append(done))
    assert told[-1] == (400, 400)
    assert told == sorted(told)
    expected = aq.sweep(MINUTES, ma_cross, timeframe="1h", fill="close", engine=engine, **grid)
    pd.testing.assert_frame_equal(table, expected.table)

    def enough(done: int, _: int) -> None:
        if done >= 200:
            raise InterruptedError(done)

    threads = set(threading.enumerate())
    with pytest.raises(InterruptedError):
        job.run(enough)
    assert set(threading.enumerate()) <= threads


def test_another_sweep_is_made_by_the_same_engine() -> None:
    grid = {"short": [5, 10], "long": [20, 30]}
    swept = aq.sweep(MINUTES, ma_cross, timeframe="15m", engine="vectorbt", **grid)
    with opened(swept) as explorer:
        move(explorer._controls.timeframe, "1h")
        assert explorer.wait(LONG_WAIT)
        assert explorer.sweep is not swept
        assert explorer.sweep.passport["engine"] == swept.passport["engine"] == "vectorbt"
        same_as_backtest(explorer)


def test_a_cost_that_there_cannot_be_is_refused_before_the_work() -> None:
    job = nine_cells()._job
    with pytest.raises(aq.StrategyError, match="cost=-0.5: expected a fraction"):
        job.again(timeframe="5m", cost=-0.5, fill="open")


def test_stop_ends_the_sweep_and_all_stays_as_it_was(swept: Any) -> None:
    with opened(swept) as explorer:
        started, ended, controls = threading.Event(), threading.Event(), explorer._controls
        work = explorer._sweeper._work

        def endless(_: Setup, watch: Watch) -> Any:
            started.set()
            try:
                while True:
                    watch(1, 2)
            finally:
                ended.set()

        explorer._sweeper._work = endless
        assert controls.stop.layout.display == "none"
        controls.stop.click()  # there is nothing to be stopped
        move(controls.cost, 3.0)
        assert started.wait(LONG_WAIT)
        assert controls.stop.layout.display is None
        controls.stop.click()
        assert ended.wait(LONG_WAIT)
        assert explorer.wait(LONG_WAIT)
        assert controls.stop.layout.display == "none"
        assert HINT in controls.doing.value
        assert controls.setup == Setup("5m", 0.001, "open")
        assert explorer.sweep is swept
        explorer._sweeper._work = work
        move(controls.cost, 3.0)  # it goes on
        assert explorer.wait(LONG_WAIT)
        assert explorer.sweep.grid.fixed["cost"] == 0.0003
        same_as_backtest(explorer)


# The end


def test_closing_takes_everything_away(swept: Any) -> None:
    widgets, threads = set(_instances), set(threading.enumerate())
    explorer = swept.explore()
    slider = explorer._controls.sliders["short"]
    move(slider, 6)
    move(explorer._controls.metric, "trades")
    move(explorer._controls.timeframe, "15m")
    assert explorer.wait(LONG_WAIT)
    run = explorer.backtest
    explorer.close()
    assert not [repr(one) for key, one in _instances.items() if key not in widgets]
    assert set(threading.enumerate()) <= threads
    slider.value = 9
    assert explorer.backtest is run  # nobody listens any more


def test_a_sweep_that_outlives_its_explorer_draws_nothing(swept: Any) -> None:
    explorer = swept.explore()
    go_on, work = threading.Event(), explorer._sweeper._work

    def held_up(setup: Setup, watch: Watch) -> Any:
        assert go_on.wait(LONG_WAIT)
        return work(setup, watch)

    explorer._sweeper._work = held_up
    move(explorer._controls.timeframe, "15m")
    explorer.close()
    go_on.set()
    assert explorer.wait(LONG_WAIT)
    assert explorer.sweep is swept


def test_closing_goes_on_where_a_part_is_closed_already(swept: Any) -> None:
    widgets = set(_instances)
    explorer = swept.explore()
    explorer.children[0].close()
    explorer.close()
    assert not [repr(one) for key, one in _instances.items() if key not in widgets]


FORGOTTEN = """
import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross
candles = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-02")
explorer = aq.sweep(candles, ma_cross, short=[5, 10], long=[20, 30]).explore()
explorer.children[0].close()  # the order in which Python ends is not ours: often this comes first
"""


def test_an_explorer_that_nobody_closed_ends_quietly_with_python() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_cannot_be_shown_is_not_the_last_one():
    shown = []

    def done(wish, answer):
        shown.append(answer)
        if len(shown) == 1:
            raise ValueError("it can't be drawn")

    sweeper = Sweeper(lambda wish, watch: wish + 1, done, lambda *_: None, threading.RLock())
    for wish in (1, 2):
        sweeper.wish(wish)
        assert sweeper.join(60.0)
    assert shown == [2, 3]
    assert not sweeper.is_busy
