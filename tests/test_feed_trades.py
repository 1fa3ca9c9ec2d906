"""Trade ids against plain sets: which have come, which are missing, which are given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from astraquant.feed.trades import REFILLED, Hole, TradeIds


class NaiveIds:
    """Keeps each id; everything between the first and the newest that isn't there is missing."""

    def __init__(self) -> None:
        self.come: set[int] = set()
        self.given_up: set[int] = set()
        self.first: int | None = None
        self.newest: int | None = None

    def add(self, number: int) -> bool:
        if self.newest is None:
            self.first = self.newest = number
            return True
        new = number in self.missing() or number > self.newest
        if new:
            self.come.add(number)
            self.newest = max(self.newest, number)
        return new

    def expect(self, number: int) -> None:
        if self.newest is not None:
            self.newest = max(self.newest, number)

    def give_up(self, first: int, last: int) -> None:
        self.given_up |= self.missing() & set(range(first, last + 1))

    def missing(self) -> set[int]:
        if self.first is None or self.newest is None:
            return set()
        return set(range(self.first + 1, self.newest + 1)) - self.come - self.given_up


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("expect"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("give_up"), st.integers(0, 40), st.integers(0, 10)),
    ),
    max_size=60,
)


@given(STEPS)
def test_holes_are_what_sets_say(steps: list[tuple[str, int, int]]) -> None:
    ids, naive = TradeIds(), NaiveIds()
    for what, number, more in steps:
        if what == "add":
            assert ids.add(number, 0.0) == naive.add(number)
        elif what == "expect":
            ids.expect(number, 0.0)
            naive.expect(number)
        else:
            ids.give_up(number, number + more)
            naive.give_up(number, number + more)
        missing = [n for hole in ids.holes for n in range(hole.first, hole.last + 1)]
        assert missing == sorted(naive.missing())
        assert ids.newest == naive.newest
        assert ids.skipped == len(naive.given_up)
        apart = zip(ids.holes, ids.holes[1:], strict=False)
        assert all(one.last < two.first for one, two in apart)


def test_of_a_long_hole_only_the_newest_trades_are_asked_for() -> None:
    ids = TradeIds()
    ids.add(5, 0.0)
    ids.add(1_000_005, 2.5)
    assert ids.holes == [Hole(1_000_005 - REFILLED, 1_000_004, 2.5)]
    assert ids.skipped == 1_000_005 - 6 - REFILLED


def test_holes_are_bounded_and_none_is_lost_from_the_count() -> None:
    ids = TradeIds()
    for number in range(0, 10_000, 2):
        ids.add(number, 0.0)
    assert len(ids.holes) == 1000
    assert ids.skipped == 4999 - 1000
    assert ids.holes[-1] == Hole(9997, 9997, 0.0)
