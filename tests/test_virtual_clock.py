"""The virtual clock: what passes in no time, and who is stopped on it."""

from __future__ import annotations

import asyncio

import pytest
from virtual_clock import Stuck, run


def test_hours_pass_in_no_time() -> None:
    async def program() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        began, seen = loop.time(), []

        async def note(name: str, after: float) -> None:
            await asyncio.sleep(after)
            seen.append((name, loop.time() - began))

        async with asyncio.TaskGroup() as tasks:
            for name, after in (("late", 86_400.0), ("soon", 0.25), ("now", 0.0)):
                tasks.create_task(note(name, after))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 7)
        seen.append(("end", loop.time() - began))
        return seen

    assert run(program()) == [("now", 0), ("soon", 0.25), ("late", 86_400), ("end", 86_412)]


def test_who_waits_for_nothing_is_told_so() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def program() -> None:
        task = asyncio.create_task(wait_for_ever(), name="the hopeful one")
        await asyncio.sleep(3)
        await task

    told = r"deadlock[^\n]*\n(.*\n)?  the hopeful one: .*wait_for_ever:\d+ > Event.wait:\d+"
    with pytest.raises(Stuck, match=told):
        run(program())


def test_who_spins_is_stopped() -> None:
    async def program() -> None:
        await asyncio.sleep(2)
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match=r"spins: 500 turns of the loop at 2\.000 s\.\n.*program:"):
        run(program(), most_turns=500)


def test_who_does_not_end_is_stopped() -> None:
    async def program() -> None:
        while True:
            await asyncio.sleep(10)

    with pytest.raises(Stuck, match=r"still runs after 110 s\.\n.*program:"):
        run(program(), longest=100)


def test_there_are_no_threads() -> None:
    async def program() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(Stuck, match="print was to run in a thread"):
        run(program())
