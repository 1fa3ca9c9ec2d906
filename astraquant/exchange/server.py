"""The simulated exchange's event loop: it plays the markets to whoever is connected.

What is said on the wire stands in `protocol`, `rest` and `archives`; what happens when, in
`playback`. Requests are answered by `gate`, a connection is served by `connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve

from . import protocol
from .clock import Clock
from .connection import Client, Connection
from .faults import Faults
from .gate import Gate
from .ledger import Ledger
from .market import Market
from .playback import Moment, playback
from .streams import events_of

FORMING_EVERY = 0.02  # real seconds between updates of a forming candle, at the least
_POLL = 0.001  # seconds
_NEVER = 2**62
_log = logging.getLogger("astraquant.exchange")


class Server:
    """Plays markets to whoever connects; made and used within one event loop.

    One task does everything that is due, in order of venue time: what happens on the markets, and
    behind it what was put on the agenda (`at`). A clock moved by hand goes from one to the next.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        gate: Gate,
        clock: Clock,
        faults: Faults,
        ledger: Ledger,
    ) -> None:
        self.clients: dict[int, Client] = {}
        self._markets, self._gate, self._clock = markets, gate, clock
        self._faults, self._ledger = faults, ledger
        self._connections: set[Connection] = set()  # handshakes and plain requests too
        self._numbers, self._order = itertools.count(1), itertools.count()
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._update_every = max(2_000, int(FORMING_EVERY * 1000 * clock.speed))
        self._next = 0  # venue time of what is done next
        self._target = 0  # venue time up to which the clock is moved by hand
        self._ending = False
        self._advancing = asyncio.Lock()
        self._changed = asyncio.Event()  # the agenda, or the target

    async def run(self, port: int, opened: Callable[[int], object], stop: asyncio.Event) -> None:
        """Listen on 127.0.0.1 and play, until ``stop`` is set; tell ``opened`` the port."""
        create: Any = partial(Connection, self._connections)
        async with serve(
            self._serve_client,
            "127.0.0.1",
            port,
            process_request=self._gate.receive,
            create_connection=create,
            ping_interval=None,  # done by `Client`, as a frozen connection must not ping
            open_timeout=None,  # an answer may be slow on purpose
            close_timeout=1,
            server_header="astraquant-exchange",
        ) as server:
            self._clock.begin()
            opened(next(iter(server.sockets)).getsockname()[1])
            playing = asyncio.create_task(self._play())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([stopping, playing], return_when=asyncio.FIRST_COMPLETED)
            self._ending = True
            stopping.cancel()
            playing.cancel()
            await self._end_all(server)
            (failure,) = await asyncio.gather(playing, return_exceptions=True)
        if isinstance(failure, Exception):
            raise failure

    async def _end_all(self, server: WebSocketServer) -> None:
        """Say goodbye to those who listen; whoever is there after that is cut off."""
        server.close(close_connections=False)
        goodbyes = [asyncio.create_task(client.end()) for client in self.clients.values()]
        if goodbyes:
            await asyncio.wait(goodbyes)
        closed = asyncio.create_task(server.wait_closed())
        while not closed.done():
            for connection in list(self._connections):
                connection.reset()
            await asyncio.wait([closed], timeout=_POLL)

    # Time.

    def at(self, moment: int, action: Callable[[], object]) -> None:
        """Do ``action`` when the venue's time reaches ``moment``."""
        heapq.heappush(self._agenda, (moment, next(self._order), action))
        self._next = min(self._next, moment)
        self._changed.set()

    async def advance(self, span: int) -> None:
        """Move venue time on by ``span`` ms; return when all that is due has been sent."""
        async with self._advancing:
            self._target = self._clock.now() + span
            self._changed.set()
            while self._next <= self._target:
                await asyncio.sleep(_POLL)
            self._clock.jump(self._target)
            await self._settle()
            if self._ending:  # nothing waits any more, but not because it was sent
                raise asyncio.CancelledError

    async def _settle(self) -> None:
        while any(client.is_behind for client in self.clients.values()):
            await asyncio.sleep(_POLL)

    async def _reach(self, moment: int) -> bool:
        """Wait for ``moment``; False: something else may be due before it."""
        if moment <= self._target:
            self._clock.jump(moment)
        left = self._clock.seconds_until(moment)
        if left == 0:
            return True
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()
        return False

    # Streams.

    async def _play(self) -> None:
        moments = self._moments()
        due = next(moments, None)
        while True:
            played = _NEVER if due is None else due[0].time
            self._next = min(played, self._agenda[0][0] if self._agenda else _NEVER)
            if not await self._reach(self._next):
                continue
            by_hand = self._next <= self._target
            if due is not None and played == self._next:
                await self._publish(*due, by_hand)
                due = next(moments, None)
                if due is None:
                    _log.info("the last candle is played")
            else:
                if by_hand:
                    await self._settle()  # so that all has its place before or behind it
                heapq.heappop(self._agenda)[2]()
            await asyncio.sleep(0)  # lets the writers go on

    def _moments(self) -> Iterator[tuple[Moment, Market]]:
        """What happens on all markets, in order of time."""
        now, every = self._clock.now(), self._update_every
        plays = [
            zip(playback(market, now, every), itertools.repeat(market))
            for market in self._markets.values()
        ]
        return heapq.merge(*plays, key=lambda pair: pair[0].time)

    async def _publish(self, moment: Moment, market: Market, by_hand: bool) -> None:
        # Whoever falls behind leaves out what is forming; a clock moved by hand can wait.
        late = not by_hand and self._clock.now() - moment.time > self._update_every
        if late and moment.kind not in ("trade", "close"):
            return
        wanted = {name for client in self.clients.values() for name in client.session.streams}
        for stream, event in events_of(market, moment, wanted):
            self._put(moment.time, stream, event)
            while by_hand and any(client.is_crowded for client in self.clients.values()):
                await asyncio.sleep(_POLL)

    def _put(self, moment: int, stream: str, event: dict[str, Any]) -> None:
        if self._faults.time_lie and "E" in event:
            event["E"] += self._faults.time_lie
        for client in list(self.clients.values()):
            if stream in client.session.streams or stream == protocol.SHUTDOWN_STREAM:
                client.offer(moment, stream, event)

    # Connections.

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        assert connection.request is not None
        session = protocol.parse_target(connection.request.path)
        assert session is not None  # else the handshake was refused
        number = next(self._numbers)
        client = Client(number, connection, session, self._faults, self._ledger)
        self.clients[number] = client
        reason = "Connection lifetime of 24 hours reached"
        self.at(self._clock.now() + protocol.LIFETIME, partial(self._hang_up, [number], reason))
        try:
            await client.serve()
        finally:
            del self.clients[number]
            self._faults.forget(number)

    def for_each(self, action: Callable[[Client], None]) -> None:
        """Do something to every connection that is open now."""
        for client in list(self.clients.values()):
            action(client)

    def announce_end(self, within: int) -> None:
        """Tell every connection that it will be closed after ``within`` ms, and do so."""
        now = self._clock.now()
        self._put(now, protocol.SHUTDOWN_STREAM, protocol.server_shutdown_event(now))
        self.at(now + within, partial(self._hang_up, list(self.clients), "Server shutdown"))

    def _hang_up(self, numbers: list[int], reason: str) -> None:
        for number in numbers:
            if number in self.clients:
                self.clients[number].hang_up(reason)
