"""`SimulatedExchange`: Binance's wire protocol on this machine, over candles of your choice."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd

from ..candles import EXTRA_COLUMNS, content_hash
from ..errors import DataError
from ..timeframes import from_ms, parse_time
from . import script
from .archives import Archives
from .clock import Clock
from .connection import Client
from .faults import MEBIBYTE, Faults
from .gate import Gate
from .ledger import Ledger
from .market import Market
from .rest import Answer, Rest
from .script import parse_span, parse_step
from .server import Server
from .worker import Worker


class SimulatedExchange:
    """A local server that speaks Binance's protocol and plays ``candles`` as if they happened now.

    ``candles``: a candle table of any timeframe, or a dict of them by symbol, for several.
    ``speed``: venue time over real time: 1 plays a minute in a minute, 60 an hour in a minute, 0
    stands still but for `advance`. ``start`` (UTC; None: the first candle): the venue time at which
    it begins; candles before it are history, which REST and archives serve at once. ``port``: 0
    takes a free one. ``archives``: a folder of real archive files to serve as they are. ``faults``:
    a script, lines such as ``"30s kill"`` (see `script.SCRIPTED`), in venue time from the start.

    Trades within a candle are made so that they yield exactly that candle, the same each time.
    Only this machine can connect. Every answer says that it is simulated, and `load_candles`
    labels its candles so. Raises `DataError` for unusable candles, a start outside of them, a port
    in use.

        with SimulatedExchange(candles, speed=60) as venue:
            load_candles("BTCUSDT", "1m", source=venue.url)
    """

    def __init__(
        self,
        candles: pd.DataFrame | Mapping[str, pd.DataFrame],
        symbol: str = "BTCUSDT",
        speed: float = 1,
        start: object = None,
        *,
        port: int = 0,
        archives: str | os.PathLike[str] | None = None,
        faults: Iterable[str] = (),
    ) -> None:
        tables = dict(candles) if isinstance(candles, Mapping) else {symbol: candles}
        if not tables:
            raise DataError(
                "the exchange has no market: expected a candle table, or a dict of them."
            )
        self._markets = {name: Market(table, name) for name, table in tables.items()}
        self._script = sorted(map(parse_step, faults))
        self._start = _start_of(self._markets, start)
        self._clock = Clock(self._start, _check_speed(speed))
        self._faults = Faults()
        self.ledger = Ledger()
        files = None if archives is None else Path(archives)
        folder = Archives(self._markets, files)
        self._rest = Rest(self._markets, _identity(tables, files), self._clock.speed)
        self._gate = Gate(self._rest, folder, self._clock, self._faults, self.ledger)
        self._port = _check_port(port)
        self._worker = Worker()
        self._server = self._new_server()

    def start(self) -> SimulatedExchange:
        """Begin to listen and to play; after a `stop` again, on the same port."""
        try:
            self._port = self._worker.start(self._serve) or self._port
            _running[self.url] = self
        except OSError as error:
            raise _port_error(self._port, error) from error
        return self

    def stop(self) -> None:
        """End all connections and listen no more; the venue's time goes on."""
        self._worker.stop()

    def __enter__(self) -> SimulatedExchange:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        symbols = ", ".join(self._markets)
        where = self.url if self._worker.is_running else "stopped"
        return f"SimulatedExchange({symbols}, speed={self._clock.speed:g}, {where})"

    # What it is and where it stands.

    @property
    def url(self) -> str:
        """The base of REST and archives, and with ``ws`` for ``http`` of the streams."""
        if not self._port:
            raise DataError("the exchange has no address yet: start it first (with ... as venue).")
        return f"http://127.0.0.1:{self._port}"

    @property
    def now(self) -> int:
        """Venue time, ms UTC."""
        return self._clock.now()

    @property
    def markets(self) -> Mapping[str, Market]:
        """What is played, by symbol."""
        return self._markets

    def advance(self, span: str | int) -> None:
        """Move venue time on by ``span`` ("5m", or ms); return when all of it has been sent.

        Connections that are frozen, or read nothing for seconds, are not waited for.
        """
        milliseconds = parse_span(span)
        if self._worker.is_running:
            self._worker.wait_for(self._server.advance(milliseconds))
        else:
            self._clock.jump(self.now + milliseconds)

    # Faults. Each returns at once; those that count messages meet the next ones that are due.

    def kill(self) -> None:
        """Reset all connections, without a goodbye; what is still on its way may be lost."""
        self._for_each(Client.reset)

    def freeze(self) -> None:
        """Let all connections hang: open, but nothing is read or written, not even a pong."""
        self._for_each(Client.freeze)

    def thaw(self) -> None:
        """Go on where `freeze` stopped: what was due since then is sent."""
        self._for_each(Client.thaw)

    def mute(self, stream: str | None = None) -> None:
        """Send no data on ``stream`` (None: on any), while pings are answered."""
        name = None if stream is None else script.stream(stream)
        self._worker.do(lambda: self._faults.mute(name))

    def unmute(self) -> None:
        """Send data on all streams again."""
        self._worker.do(self._faults.unmute)

    def drop(self, count: int = 1, stream: str | None = None) -> None:
        """Lose the next ``count`` messages."""
        self._arm("drop", count, stream)

    def duplicate(self, count: int = 1, stream: str | None = None) -> None:
        """Send the next ``count`` messages twice."""
        self._arm("duplicate", count, stream)

    def reorder(self, count: int = 1, stream: str | None = None) -> None:
        """Send each of ``count`` messages only after the next one of its stream."""
        self._arm("reorder", count, stream)

    def delay(self, seconds: float, count: int = 1, stream: str | None = None) -> None:
        """Hold each of the next ``count`` messages, and all behind it, for some real seconds."""
        self._arm("delay", count, stream, script.seconds(seconds))

    def corrupt(self, count: int = 1, stream: str | None = None) -> None:
        """Break the JSON of the next ``count`` messages."""
        self._arm("corrupt", count, stream)

    def oversize(self, count: int = 1, stream: str | None = None, size: int = 2 * MEBIBYTE) -> None:
        """Blow the next ``count`` messages up to more than ``size`` bytes."""
        self._arm("oversize", count, stream, script.size(size))

    def cut(self, stream: str | None = None) -> None:
        """Break off in the middle of the next message's frame, and hang up."""
        self._arm("cut", 1, stream)

    def lie_about_time(self, milliseconds: int) -> None:
        """Tell event times and the server's time wrong by so much (0: right again)."""
        lie = script.milliseconds(milliseconds)
        self._worker.do(lambda: setattr(self._faults, "time_lie", lie))

    def refuse(self, status: int, count: int = 1, retry_after: int | None = None) -> None:
        """Refuse the next ``count`` handshakes with an HTTP ``status``."""
        told = {} if retry_after is None else {"Retry-After": str(script.retry_after(retry_after))}
        answer, times = Answer(script.status(status), b"", told), script.count(count)
        self._worker.do(lambda: self._faults.refuse(answer, times))

    def slow(self, seconds: float) -> None:
        """Let every HTTP answer and handshake take so many seconds longer (0: no more)."""
        slowness = script.seconds(seconds)
        self._worker.do(lambda: setattr(self._faults, "slowness", slowness))

    def shorten(self, rows: int) -> None:
        """Give at most ``rows`` rows in a REST answer, whatever was asked for (1000: all)."""
        most = script.rows(rows)
        self._worker.do(lambda: setattr(self._rest, "most_rows", most))

    def answer(
        self,
        path: str,
        *,
        status: int = 200,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Answer ``path`` (without its query) so, ``times`` times, after ``after`` true answers."""
        told = Answer(status, body, dict(headers or {}))
        self._worker.do(lambda: self._faults.override(path, told, times, after))

    def shut_down(self, within: str | int = "10m") -> None:
        """Announce a shutdown, and close the connections after that much venue time."""
        span = parse_span(within)
        self._worker.do(lambda: self._server.announce_end(span))

    def _arm(self, kind: str, count: int, stream: str | None, value: float = 0) -> None:
        times, name = script.count(count), None if stream is None else script.stream(stream)
        self._worker.do(lambda: self._faults.arm(kind, times, name, value))

    def _for_each(self, action: Callable[[Client], None]) -> None:
        self._worker.do(lambda: self._server.for_each(action))

    def _new_server(self) -> Server:
        return Server(self._markets, self._gate, self._clock, self._faults, self.ledger)

    async def _serve(self, opened: Callable[[int], None], stopping: asyncio.Event) -> None:
        self._server = self._new_server()
        for step in self._script:
            self._server.at(self._start + step.after, self._perform)
        await self._server.run(self._port, opened, stopping)

    def _perform(self) -> None:
        """The next step of the script; what lies before a restart is not played again."""
        step = self._script.pop(0)
        getattr(self, step.fault)(*step.values)


_running: WeakValueDictionary[str, SimulatedExchange] = WeakValueDictionary()


def running(url: str) -> SimulatedExchange | None:
    """The exchange of this process that runs at this address, or None."""
    found = _running.get(url.rstrip("/"))
    return found if found is not None and found._worker.is_running else None


def _identity(tables: Mapping[str, pd.DataFrame], files: Path | None) -> str:
    """What tells these markets from all others: every figure of the tables, every file served."""
    digest = hashlib.sha256()
    for name in sorted(tables):
        digest.update(f"{name} {content_hash(tables[name])} ".encode())
        for column in EXTRA_COLUMNS:
            if column in tables[name]:
                values = tables[name][column].to_numpy(np.float64)
                digest.update(column.encode() + values.astype("<f8").tobytes())
    for path in sorted(files.iterdir()) if files else ():
        if path.is_file():
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _check_speed(speed: float) -> float:
    number = isinstance(speed, int | float) and not isinstance(speed, bool)
    if not number or not 0 <= speed < math.inf:
        raise DataError(
            f"speed={speed!r}: expected venue time over real time, 0 or more, such as 60 (an hour "
            "in a minute)."
        )
    return float(speed)


def _check_port(port: int) -> int:
    if isinstance(port, int) and not isinstance(port, bool) and 0 <= port <= 65535:
        return port
    raise DataError(f"port={port!r}: expected a whole number from 1 to 65535, or 0 for a free one.")


def _start_of(markets: Mapping[str, Market], start: object) -> int:
    first = min(market.start for market in markets.values())
    last = max(market.end for market in markets.values())
    if start is None:
        return first
    moment = parse_time(start, "start").value // 10**6
    if not first <= moment <= last:
        times = [str(time) for time in from_ms(np.array([first, last, moment]))]
        raise DataError(
            f"start {times[2]} lies outside of the candles, which reach from {times[0]} to "
            f"{times[1]}. Choose a time between them."
        )
    return moment


def _port_error(port: int, error: OSError) -> DataError:
    if error.errno == errno.EADDRINUSE:
        return DataError(
            f"the port {port} of this machine is in use, perhaps by another exchange. Choose "
            "another one, or 0 for any that is free."
        )
    return DataError(f"the port {port} can't be opened: {error.strerror}. Choose another one.")
