"""Waits before attempts: growing, random, within the budget."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant.feed.pacing import ATTEMPTS, FIRST_WAIT, LONGEST_WAIT, WINDOW, Budget, Pacing


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.one_of(st.none(), st.floats(0, 90)))),
)
def test_no_window_ever_has_more_attempts_than_the_budget(
    seed: int, outcomes: list[tuple[bool, float, float | None]]
) -> None:
    pacing, now = Pacing(random.Random(seed)), 0.0
    attempts: list[float] = []
    for success, lasted, after in outcomes * 40:
        now += pacing.wait(now)
        assert pacing.wait(now) == pytest.approx(0, abs=1e-6)
        attempts.append(now)
        pacing.attempt(now)
        now += lasted
        if success:
            pacing.succeeded()
        before = now
        pacing.failed(now, after)
        assert pacing.wait(before) >= (after or 0) - 1e-6
    for k, time in enumerate(attempts[ATTEMPTS:]):
        assert time - attempts[k] >= WINDOW - 1e-6


def test_waits_double_until_the_longest_and_begin_anew() -> None:
    pacing = Pacing(random.Random(0))
    waits = []
    for _ in range(12):
        pacing.failed(0.0)
        waits.append(pacing.wait(0.0))
        pacing._not_before = 0.0
    for k, wait in enumerate(waits):
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2**k)
        assert longest / 2 <= wait <= longest
    pacing.succeeded()
    assert pacing.wait(0.0) == 0
    pacing.failed(0.0)
    assert pacing.wait(0.0) <= FIRST_WAIT


def test_what_the_venue_asks_for_outlasts_a_shorter_wait() -> None:
    pacing = Pacing(random.Random(0))
    pacing.failed(0.0, 60.0)
    pacing.failed(1.0)
    assert pacing.wait(1.0) == 59.0


def test_two_clients_do_not_come_back_at_once() -> None:
    waits = set()
    for seed in range(20):
        pacing = Pacing(random.Random(seed))
        for _ in range(6):
            pacing.failed(0.0)
        waits.add(round(pacing.wait(0.0), 3))
    assert len(waits) == 20


def test_all_feeds_on_a_venue_share_its_budget() -> None:
    budget = Budget()
    one, other, stranger = (Pacing(random.Random(0), b) for b in (budget, budget, None))
    for second in range(ATTEMPTS):
        one.attempt(float(second))
    assert one.wait(100.0) == other.wait(100.0) == WINDOW - 100.0
    assert stranger.wait(100.0) == 0
