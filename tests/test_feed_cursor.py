"""Cursors: independent, without loss of what is closed, with the newest of what is forming."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_feed import candle_at

from astraquant.feed.core import Update
from astraquant.feed.cursor import Cursors

KINDS = ("closed", "filled", "revised", "gap", "forming")


def update(number: int, kind: str = "closed", symbol: str = "ABC") -> Update:
    return Update(symbol, kind, number, None if kind == "gap" else candle_at(number, number), None)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KINDS), st.sampled_from(["ABC", "XYZ"])),
        st.sampled_from(["take", "next"]),
    )
)


@given(ACTIONS)
def test_nothing_closed_is_lost_and_forming_is_the_newest(actions: list[object]) -> None:
    cursors = Cursors()
    cursor = cursors.new()
    sent: list[Update] = []
    got: list[Update] = []
    for number, action in enumerate(actions):
        if isinstance(action, tuple):
            sent.append(update(number, *action))
            cursors.put([sent[-1]])
        elif action == "take":
            got += cursor.take()
        elif (one := cursor.next(0)) is not None:
            got.append(one)
    got += cursor.take()
    lasting = [one for one in sent if one.kind != "forming"]
    assert [one for one in got if one.kind != "forming"] == lasting
    for symbol in ("ABC", "XYZ"):
        shown = [one for one in got if one.kind == "forming" and one.symbol == symbol]
        assert [one.time for one in shown] == sorted({one.time for one in shown})
        own = [one for one in sent if one.symbol == symbol]
        over = max((one.time for one in own if one.kind not in ("forming", "gap")), default=-1)
        newest = [one for one in own if one.kind == "forming" and one.time > over][-1:]
        assert [one for one in shown if one.time > over][-1:] == newest


def test_a_partial_candle_never_follows_the_whole_one() -> None:
    cursor = (cursors := Cursors()).new()
    cursors.put([update(7, "forming"), update(7, "forming", "XYZ"), update(7, "gap")])
    cursors.put([update(7, "closed")])
    assert [(one.symbol, one.kind) for one in cursor.take()] == [
        ("ABC", "gap"),
        ("ABC", "closed"),
        ("XYZ", "forming"),
    ]


def test_a_slow_listener_holds_nobody_up() -> None:
    cursors = Cursors()
    slow, quick = cursors.new(), cursors.new()
    seen = 0
    for number in range(20_000):
        cursors.put([update(number, "closed" if number % 10 == 0 else "forming")])
        seen += len(quick.take())
    assert seen == 20_000
    waiting = slow.take()
    assert len(waiting) == 2_001  # 2,000 closed, and one forming
    assert waiting[-1].time == 19_999


def test_a_plain_loop_gets_all_and_ends_with_the_feed() -> None:
    cursors = Cursors()
    cursor = cursors.new()
    got: list[Update] = []
    reader = threading.Thread(target=lambda: got.extend(cursor))
    reader.start()
    for number in range(100):
        cursors.put([update(number)])
    cursors.end()
    reader.join(30)
    assert [one.time for one in got] == list(range(100))


def test_an_asynchronous_loop_gets_all_and_ends_with_the_feed() -> None:
    cursors = Cursors()
    cursor = cursors.new()

    def speak() -> None:
        for number in range(100):
            cursors.put([update(number)])
        cursors.end()

    async def listen() -> list[int]:
        speaker = threading.Thread(target=speak)
        speaker.start()
        found = [one.time async for one in cursor]
        await asyncio.to_thread(speaker.join)
        return found

    assert asyncio.run(asyncio.wait_for(listen(), 30)) == list(range(100))


def test_next_comes_back_without_anything_after_its_time() -> None:
    cursor = Cursors().new()
    assert cursor.next(0.01) is None


def test_who_has_closed_or_is_forgotten_gets_nothing() -> None:
    cursors = Cursors()
    kept, closed = cursors.new(), cursors.new()
    cursors.new()
    gc.collect()
    assert len(cursors) == 2
    closed.close()
    cursors.put([update(1)])
    assert closed.take() == []
    with pytest.raises(StopIteration):
        next(closed)
    assert [one.time for one in kept.take()] == [1]


def test_a_cursor_on_what_has_ended_ends_at_once_and_later_ones_do_not() -> None:
    cursors = Cursors()
    cursors.end()
    assert list(cursors.new()) == []
    cursors.begin()
    cursor = cursors.new()
    cursors.put([update(1)])
    assert next(cursor).time == 1


def test_a_busy_loop_is_woken_once_whatever_comes() -> None:
    """An asynchronous listener whose loop does something else costs no memory."""

    async def main() -> tuple[int, int]:
        cursors = Cursors()
        cursor = cursors.new()
        listening = asyncio.create_task(anext(cursor))
        await asyncio.sleep(0)
        woken, loop = 0, asyncio.get_running_loop()
        call = loop.call_soon_threadsafe

        def count(*args: Any) -> Any:
            nonlocal woken
            woken += 1
            return call(*args)

        loop.call_soon_threadsafe = count  # type: ignore[method-assign]
        for number in range(1000):
            cursors.put([update(number, "forming")])
        return woken, (await listening).time

    assert asyncio.run(main()) == (1, 999)


def test_the_order_holds_while_two_threads_are_at_it() -> None:
    cursors = Cursors()
    cursor = cursors.new()
    bars = 20_000

    def speak() -> None:
        for bar in range(bars):
            cursors.put([update(bar, "forming")])
            cursors.put([update(bar, "closed"), update(bar + 1, "forming")])
        cursors.end()

    speaker = threading.Thread(target=speak)
    speaker.start()
    closed, newest = -1, -1
    for one in cursor:
        if one.kind == "closed":
            assert one.time == closed + 1
            closed = one.time
            assert newest <= closed  # no later candle came before it
        else:
            assert one.time == closed + 1  # the one that follows, or the first
            newest = one.time
    speaker.join()
    assert closed == bars - 1
