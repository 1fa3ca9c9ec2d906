"""The client: keeps a connection to a venue, and has asked of REST whatever did not come.

One asyncio program. What it knows and decides is in `core`; what it is wired to is an argument, so
that it runs over any transport, and its only clock is its event loop's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import httpx
import pandas as pd

from ..data.venues import REST_VARIABLE, Unavailable, Venue
from ..errors import DataError, FeedError
from ..timeframes import HOUR, parse_time
from .addresses import STREAM_VARIABLE
from .core import GRACE, Bars, Clock, Core, Newest, Question, Trades, Update
from .link import OPEN_WITHIN, Connect, Link, Lost
from .pacing import Budget, Pacing
from .rest import UNTOLD, Failed, Rest

STATES: Final = ("CONNECTING", "LIVE", "STALE", "RECONNECTING", "BACKFILLING", "STOPPED")
TICK: Final = 0.1  # seconds between looks at what is due
RENEWAL: Final = 23.5 * HOUR  # ms after which a connection is replaced: Binance ends it at 24 h
OVERLAP: Final = 10.0  # seconds that the old connection stays if the new one brings nothing
STEADY: Final = 5.0  # seconds that a connection must live to count as a success
REGION_WAIT: Final = 300.0  # seconds before asking again a host that refuses this region
_log = logging.getLogger("astraquant.feed")


@dataclass(frozen=True)
class Wiring:
    """What a client is connected to.

    ``stream``: base of the streams' address ("wss://..."). ``http``: None is the network.
    ``history``: closed candles of a symbol and timeframe, about so many; raises `Unavailable` where
    trying again may help, another `DataError` where it can't.
    """

    venue: Venue
    stream: str
    connect: Connect
    history: Callable[[str, str, int], Awaitable[pd.DataFrame]]
    http: httpx.AsyncBaseTransport | None = None
    draw: random.Random = field(default_factory=random.Random)
    budget: Budget = field(default_factory=Budget)


class State(NamedTuple):
    """One of `STATES`, since when (seconds of the loop's clock), and why, if it is not LIVE."""

    name: str
    since: float
    reason: str


class _Reader(NamedTuple):
    """A connection that is being read. ``heard``: it has brought something."""

    link: Link
    task: asyncio.Task[str]
    heard: asyncio.Event


class Client:
    """Follows the streams of ``core`` until it is cancelled.

    ``publish`` gets what is new, in order; ``changed`` is called at each new `state`. Both are
    called in the loop's thread and must return at once.
    """

    def __init__(
        self,
        core: Core,
        wiring: Wiring,
        *,
        history: int = 1000,
        publish: Callable[[list[Update]], object] = lambda updates: None,
        changed: Callable[[State], object] = lambda state: None,
    ) -> None:
        self.core = core
        self.wiring = wiring
        self.state = State("CONNECTING", 0.0, "")
        self._history = history
        self._publish, self._changed = publish, changed
        self._connecting = Pacing(wiring.draw, wiring.budget)
        self._asking = Pacing(wiring.draw)
        self._link: Link | None = None
        self._renew = asyncio.Event()
        names = "/".join(core.streams)
        self._address = f"{wiring.stream}/stream?streams={names}"

    async def run(self) -> None:
        """Load the history, then follow the streams; raises `FeedError` if that can't be."""
        self._become("CONNECTING")
        venue, http, budget = self.wiring.venue, self.wiring.http, self.wiring.budget
        try:
            await self._load()
            async with (
                Rest(venue, http, budget, proxies=not venue.is_local) as rest,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(self._stay_connected(rest))
                tasks.create_task(self._watch())
                tasks.create_task(self._ask_what_is_due(rest))
        finally:
            self._become("STOPPED", self.state.reason)

    def _become(self, name: str, reason: str = "") -> None:
        old = self.state
        if (name, reason) != (old.name, old.reason) or not old.since:
            since = old.since if name == old.name and old.since else _now()
            self.state = State(name, since, reason)
            self._changed(self.state)

    # History.

    async def _load(self) -> None:
        pacing = Pacing(self.wiring.draw)
        for symbol in self.core.tracks:
            while True:
                try:
                    table = await self.wiring.history(symbol, self.core.timeframe, self._history)
                except Unavailable as error:
                    pacing.failed(_now(), error.after)
                    self._become("RECONNECTING", str(error))
                    _log.info("no history: %s Again in %.1f s.", error, pacing.wait(_now()))
                    await asyncio.sleep(pacing.wait(_now()))
                except DataError as error:
                    raise FeedError(str(error)) from error
                else:
                    with self.core.lock:
                        self.core.load(symbol, table)
                    break

    # The connection.

    async def _stay_connected(self, rest: Rest) -> None:
        while True:
            link = await self._open(rest)
            if link is not None:
                began = _now()
                reader = await self._follow(rest, link)
                reason = reader.task.result()
                _log.info("reconnecting: %s", reason)
                self.core.counts["reconnects"] += 1
                if self.state.name != "STALE":  # else it says already why
                    self._become("RECONNECTING", reason)
                if reader.heard.is_set() and _now() - began >= STEADY:
                    self._connecting.succeeded()
                self._connecting.failed(_now())
            await self._wait_turn()

    async def _wait_turn(self) -> None:
        while (wait := self._connecting.wait(_now())) > 0:
            await asyncio.sleep(wait)

    async def _open(self, rest: Rest) -> Link | None:
        """Open a connection, or note why not."""
        self._connecting.attempt(_now())
        self.core.counts["attempts"] += 1
        try:
            if self.wiring.venue.is_local:
                await rest.time()  # another exchange may have taken the address of a simulated one
            async with asyncio.timeout(OPEN_WITHIN + 1):
                link = await self.wiring.connect(self._address)
        except (Failed, Lost, TimeoutError) as error:
            reason, after = _explained(error, self.wiring.stream)
            self._connecting.failed(_now(), after)
            wait = self._connecting.wait(_now())
            _log.info("no connection: %s; again in %.1f s", reason, wait)
            if self._link is None:  # else one that still works is to be replaced
                self._become("RECONNECTING", reason)
            return None
        _log.info("WS CONNECTED %s", self._address)
        self.core.counts["connections"] += 1
        return link

    async def _follow(self, rest: Rest, link: Link) -> _Reader:
        """Read a connection, and those that replace it in time, until one ends; returns that."""
        reader = self._begin(link)
        try:
            while True:
                await _first({reader.task}, self._renew)
                if reader.task.done():
                    return reader
                while (wait := self._connecting.wait(_now())) > 0 and not reader.task.done():
                    await asyncio.wait({reader.task}, timeout=wait)
                if reader.task.done():
                    return reader
                successor = await self._open(rest)
                if successor is None:
                    continue
                old, reader = reader, self._begin(successor, renewed=not reader.task.done())
                if await _hand_over(old, reader):
                    self.core.counts["renewals"] += 1
                    _log.info("the connection was replaced")
                else:  # the new one is gone already: go on with the old one, and try again
                    reader, self._link = old, old.link
                    self._connecting.failed(_now())
                    self._renew.set()
        finally:
            self._link = None
            reader.task.cancel()  # what comes now is nobody's
            await reader.link.close()

    def _begin(self, link: Link, *, renewed: bool = False) -> _Reader:
        """Read from a new connection from now on."""
        self._renew.clear()
        self._link = link
        with self.core.lock:
            self.core.opened(_now(), renewed=renewed)
        if not renewed:
            self._become("BACKFILLING")
        heard = asyncio.Event()
        return _Reader(link, asyncio.create_task(self._read(link, heard)), heard)

    async def _read(self, link: Link, heard: asyncio.Event) -> str:
        """Take messages until the connection ends; returns why it did."""
        core, clock = self.core, asyncio.get_running_loop().time
        try:
            while True:
                message = await link.receive()
                if _log.isEnabledFor(logging.DEBUG):
                    _log.debug("WS MESSAGE %s", message[:300])
                with core.lock:
                    updates = core.receive(message, clock())
                if updates:
                    self._publish(updates)
                heard.set()
        except Lost as error:
            return str(error)

    async def _watch(self) -> None:
        """Say how things stand; end a connection that is silent, replace one that gets old."""
        core = self.core
        while True:
            await asyncio.sleep(TICK)
            if self._link is None:
                continue
            with core.lock:
                silence = core.silent(_now())
                if silence:
                    core.be_patient(_now())
                complete = core.is_complete(_now())
                renew = core.shutdown or core.age(_now()) >= RENEWAL
            if silence:
                _log.info("stale: %s", silence)
                core.counts["stale"] += 1
                self._become("STALE", silence)
                self._link.abort()
                self._link = None
            elif complete:
                self._become("LIVE")
            elif self.state.name == "LIVE":
                self._become("BACKFILLING")
            if renew:
                self._renew.set()

    # Questions.

    async def _ask_what_is_due(self, rest: Rest) -> None:
        paces: dict[Question, Pacing] = {}  # of those whose last answer settled nothing
        while True:
            with self.core.lock:
                questions = self.core.questions(_now()) if self._link is not None else []
            paces = {one: pace for one, pace in paces.items() if one in questions}
            due = [one for one in questions if one not in paces or not paces[one].wait(_now())]
            if not due or self._asking.wait(_now()) > 0:
                await asyncio.sleep(TICK)
                continue
            try:
                await self._ask(rest, due[0])
                self._asking.succeeded()
            except Failed as error:
                self._asking.failed(_now(), error.after)
                self.core.counts["failed_questions"] += 1
                _log.info("not answered: %s", error)
                if self.state.name == "BACKFILLING":
                    self._become("BACKFILLING", str(error))
            paces.setdefault(due[0], Pacing(self.wiring.draw)).failed(_now())

    async def _ask(self, rest: Rest, question: Question) -> None:
        core = self.core
        if isinstance(question, Trades):
            trades = await rest.trades(*question)
            with core.lock:
                updates = core.trades(question, trades, _now())
            self._publish(updates)
            return
        venue_now = await rest.time()
        with core.lock:
            core.told_time(venue_now, _now(), rest.pace)
        if isinstance(question, Clock):
            return
        if isinstance(question, Newest):
            trade = await rest.newest_trade(question.symbol)
            with core.lock:
                core.newest(question.symbol, trade, _now())
            return
        await self._fill(rest, question, venue_now)

    async def _fill(self, rest: Rest, question: Bars, venue_now: int) -> None:
        """Ask for all bars of a span, page by page: what has come stays, whatever happens."""
        core = self.core
        symbol, start, until = question
        until = min(until, core.tracks[symbol].book.bar_of(venue_now - GRACE))
        if start >= until:
            return  # the venue's clock is behind what we reckoned
        found = 0
        while start < until:
            piece = await rest.bars(symbol, core.timeframe, start, until)
            with core.lock:
                updates = core.bars(symbol, start, piece, venue_now)
            found += len(piece.times)
            self._publish(updates)
            start = piece.until
        core.counts["backfills"] += 1
        _log.info("backfilled %s: %d candles until %s", symbol, found, parse_time(until))


async def _hand_over(old: _Reader, new: _Reader) -> bool:
    """Keep the old connection until the new one has brought something, then end it.

    False: the new one has ended before the old one.
    """
    try:
        await _first({old.task, new.task}, new.heard, OVERLAP)
    except asyncio.CancelledError:
        await _end(old)
        raise
    failed = new.task.done() and not old.task.done()
    await _end(new if failed else old)
    return not failed


async def _end(reader: _Reader) -> None:
    await reader.link.close()  # what is still on its way is read meanwhile
    reader.task.cancel()


async def _first(
    tasks: set[asyncio.Task[str]], event: asyncio.Event, timeout: float | None = None
) -> None:
    """Wait until one of the tasks has ended, or the event has come."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({waiting, *tasks}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _explained(error: Exception, stream: str) -> tuple[str, float | None]:
    """Why a connection was refused and what helps, and the seconds to wait at least."""
    if isinstance(error, TimeoutError):
        return f"{stream} doesn't answer", None
    if isinstance(error, Failed):
        return str(error), error.after
    assert isinstance(error, Lost)
    if error.status == 451:
        return (
            f"{stream} doesn't serve the region you ask from (HTTP 451). The host for market data "
            'alone usually does: venue="binance" uses it unless the environment variable '
            f"{STREAM_VARIABLE} or {REST_VARIABLE} names another",
            max(REGION_WAIT, error.after or 0.0),
        )
    if error.status in (403, 418, 429):
        after = UNTOLD if error.after is None else error.after
        return f"{error}; it asks to wait {after:.0f} s", after
    return str(error), error.after


def _now() -> float:
    return asyncio.get_running_loop().time()
