"""The explorer makes another sweep, in a thread of its own, and comes to an end."""

from __future__ import annotations

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

        def held_up(setup: Setup) -> Any:
            assert go_on.wait(LONG_WAIT)
            return work(setup)

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

    def work(wish: int) -> int:
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


def test_progress_is_that_of_the_sweep_itself() -> None:
    from tqdm.std import tqdm

    reached, told = threading.Event(), []

    def work(_: str) -> str:
        with tqdm(total=4, disable=False, delay=1e9) as bar:
            bar.update(3)
            assert reached.wait(LONG_WAIT)
        return ""

    def progress(_: str, share: float | None) -> None:
        told.append(share)
        if share is not None:
            reached.set()

    with tqdm(total=100, delay=1e9) as other:  # somebody else's
        other.update(1)
        sweeper = Sweeper(work, lambda *_: None, progress, threading.RLock())
        sweeper.wish("now")
        assert sweeper.join(LONG_WAIT)
    assert set(told) <= {None, 0.75}
    assert 0.75 in told


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

    def held_up(setup: Setup) -> Any:
        assert go_on.wait(LONG_WAIT)
        return work(setup)

    explorer._sweeper._work = held_up
    move(explorer._controls.timeframe, "15m")
    explorer.close()
    go_on.set()
    assert explorer.wait(LONG_WAIT)
    assert explorer.sweep is swept
