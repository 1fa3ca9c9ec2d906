"""The kernels of hold and the crossings, over more bars than they look at in one go."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from astraquant._signals import BLOCK, crossed, held

NAN = float("nan")


def naive_hold(enter: Any, leave: Any) -> list[bool]:
    state, result = False, []
    for begins, ends in zip(enter.tolist(), leave.tolist(), strict=True):
        if begins != ends:
            state = begins
        result.append(state)
    return result


@given(st.integers(0, 5 * BLOCK), st.integers(0, 2**32), st.sampled_from([0, 1, 4, 200]))
@example(BLOCK, 0, 1)
@example(3 * BLOCK + 1, 1, 0)
def test_hold_over_quiet_and_busy_blocks(bars: int, seed: int, signals: int) -> None:
    rng = np.random.default_rng(seed)
    enter, leave = np.zeros((2, bars), np.bool_)
    if bars:
        enter[rng.integers(0, bars, signals)] = True
        leave[rng.integers(0, bars, signals)] = True
    assert held(enter, leave).tolist() == naive_hold(enter, leave)


def test_hold_where_every_bar_has_a_signal() -> None:
    enter = np.arange(4 * BLOCK) % 5 < 2
    assert held(enter, ~enter).tolist() == enter.tolist()
    assert not held(enter, np.ones_like(enter))[: BLOCK + 2].all()


@given(
    st.lists(st.tuples(*[st.sampled_from([NAN, 1.0, 2.0, 3.0])] * 2), max_size=40),
    st.booleans(),
)
def test_crossings_bar_by_bar(rows: list[tuple[float, float]], above: bool) -> None:
    a, b = np.array(rows, dtype=float).reshape(-1, 2).T
    value, known = crossed(a, b, above)
    sign = 1 if above else -1
    for i, (p, q) in enumerate(rows):
        before = rows[i - 1] if i else (NAN, NAN)
        sure = all(x == x for x in (p, q, *before))
        assert known[i] == sure
        assert value[i] == (sure and sign * (before[0] - before[1]) <= 0 < sign * (p - q))
    assert len(value) == len(known) == len(rows)
