"""`Feed`: live candles of one or several symbols, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from ..data.symbols import check_symbol
from ..errors import DataError, FeedError, unknown
from ..exchange import SimulatedExchange, running
from ..exchange.shared import sample
from ..timeframes import check_timeframe, from_ms
from .addresses import find_streams
from .book import CandleBook
from .client import STATES, Client, State, Wiring
from .core import Core
from .cursor import Cursor, Cursors
from .gaps import Gap
from .history import Loader
from .link import connector
from .pacing import Budget
from .protocol import Rejected

START_WITHIN: Final = 10.0  # seconds that `start` waits for the history
END_WITHIN: Final = 10.0  # seconds that `stop` waits; the thread would hold up nothing after that
_log = logging.getLogger("astraquant.feed")
_Answer = TypeVar("_Answer")


class Status(NamedTuple):
    """How a feed stands.

    ``state``: one of CONNECTING, LIVE, STALE, RECONNECTING, BACKFILLING, STOPPED. ``since``: the
    seconds it has been so. ``lag``: the seconds by which the last event was behind the venue's
    clock when it came (None: not known). ``reason``: why it isn't LIVE, if there is more to say.
    """

    state: str
    since: float
    lag: float | None
    reason: str


class Feed:
    """Live candles of ``symbols`` from a venue, complete: what did not come is asked for.

    ``symbols``: one, or several. ``venue``: "sim" (a simulated exchange in this process, offline,
    20 times as fast as real time), "binance", or the address of an exchange: a host of Binance's,
    or the ``url`` of a `SimulatedExchange`. ``name``: starting a feed stops another one of the same
    name, so that running a cell again is harmless (None: symbols and timeframe). ``history``: how
    many closed candles to begin with.

    It runs in a thread of its own from `start` to `stop`; a ``with`` block does both. A candle is
    closed by the venue's own closing update, or filled by REST if that did not come; a partial one
    is never taken for closed. `gaps` says what was missing, and what became of it.

    Raises `FeedError` for a misspelled symbol, timeframe or venue.
    """

    def __init__(
        self,
        symbols: str | Sequence[str],
        timeframe: str = "1m",
        venue: str = "sim",
        *,
        name: str | None = None,
        history: int = 1000,
    ) -> None:
        several = isinstance(symbols, Iterable) and not isinstance(symbols, str)
        given: list[Any] = list(symbols) if several else [symbols]
        try:
            self.symbols = tuple(dict.fromkeys(map(check_symbol, given)))
            self.timeframe = check_timeframe(timeframe)
        except DataError as error:
            raise FeedError(str(error)) from error
        if not self.symbols:
            raise FeedError('a feed needs at least one symbol, such as "BTCUSDT".')
        _check_history(history)
        self.venue = venue
        self.name = name or f"{' '.join(self.symbols)} {timeframe}"
        self._single = isinstance(symbols, str)
        self._history = history
        if venue == "sim":
            _check_sample(self.symbols)
        else:
            find_streams(venue)  # raises for what is none
        self._core = Core(self.symbols, timeframe)
        self._cursors = Cursors()
        self._state = State("STOPPED", time.monotonic(), "")
        self._entered: Counter[str] = Counter()  # how often each state was
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._label = ""

    # Running.

    def start(self) -> Feed:
        """Begin; returns once the history is there, or after 10 s if the venue can't be reached.

        Raises `FeedError` for what trying again can't mend, an unknown symbol for example. A feed
        that was stopped begins anew.
        """
        with _changing:
            other = _running.get(self.name)
            if other is self and self.is_running:
                return self
            if other is not None:
                other._end()
            _running[self.name] = self
            self._begin()
        try:
            with self._changed:
                self._changed.wait_for(self._is_under_way, START_WITHIN)
        except BaseException:  # interrupted: nobody would have it to stop it
            self.stop()
            raise
        if self._failure is not None:
            failure = self._failure
            self.stop()
            raise FeedError(str(failure)) from failure
        return self

    def stop(self) -> None:
        """End it: connection, thread and all cursors. What has come until then stays."""
        with _changing:
            if _running.get(self.name) is self:
                del _running[self.name]
            self._end()

    def __enter__(self) -> Feed:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self, state: str = "LIVE", timeout: float = 30.0) -> Feed:
        """Wait until it is in this state; `FeedError` if it isn't within ``timeout`` seconds."""
        if state not in STATES:
            raise FeedError(unknown("state", state, STATES))
        with self._changed:
            before = self._entered[state]  # it may be gone again before this thread wakes up
            self._changed.wait_for(
                lambda: self._was(state, before) or self._failure is not None, timeout
            )
            if self._was(state, before):
                return self
        now = self.status
        told = f" ({now.reason})" if now.reason else ""
        raise FeedError(f"{self!r} is not {state} after {timeout:g} s but {now.state}{told}.")

    def _was(self, state: str, before: int) -> bool:
        return self._state.name == state or self._entered[state] > before

    def subscribe(self) -> Cursor:
        """A cursor of one's own on what happens from now on; it ends when the feed is stopped."""
        return self._cursors.new()

    # What it knows.

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither stopped nor ended by a failure since."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def candles(self) -> Any:
        """The closed candles: a candle table for one symbol, for several a dict of them."""
        return self._each(self._table)

    @property
    def forming(self) -> Any:
        """The candle that is not over yet (None: nothing is known), or a dict by symbol."""
        return self._each(lambda symbol, book: book.forming)

    @property
    def gaps(self) -> Any:
        """All bars that were missing once, a row per hole (or a dict by symbol).

        ``start``, ``end`` (UTC, half-open), ``missing`` (bars), ``kind``: "open" (not answered
        yet), "ours" (missed here, filled by REST since) or "venue" (it has none either), ``found``
        and ``closed`` (venue times; NaT: not yet).
        """
        return self._each(lambda symbol, book: _gap_table(book.gaps))

    @property
    def status(self) -> Status:
        """How it stands."""
        state = self._state
        lag = self._core.lag if state.name in ("LIVE", "BACKFILLING") else None
        return Status(state.name, time.monotonic() - state.since, lag, state.reason)

    @property
    def stats(self) -> dict[str, int]:
        """How often what has happened: messages, candles, trades, connections, questions."""
        with self._core.lock:
            counts = self._core.counts.copy()
            for track in self._core.tracks.values():
                counts.update(track.book.counts)
                counts["trades_skipped"] += track.ids.skipped
        return dict(sorted(counts.items()))

    @property
    def quarantine(self) -> list[Rejected]:
        """The last messages that were refused, and why."""
        with self._core.lock:
            return list(self._core.quarantine)

    @property
    def label(self) -> str:
        """Where the prices come from, as ``attrs["source"]`` of the candles says it."""
        return self._label

    @property
    def is_simulated(self) -> bool:
        """Whether the prices are simulated, by what the venue says of itself."""
        return "simulated" in self._label or self.venue == "sim"

    @property
    def simulator(self) -> SimulatedExchange | None:
        """The simulated exchange behind it, if that runs in this process."""
        return running(self._url) if self.is_running else None

    @property
    def pace(self) -> float:
        """Seconds of venue time in a real one: 1 but for a simulated exchange."""
        return self._core.pace

    def __repr__(self) -> str:
        return f"Feed({' '.join(self.symbols)}, {self.timeframe}, {self.venue})"

    # Inside.

    def _each(self, answer: Callable[[str, CandleBook], _Answer]) -> Any:
        with self._core.lock:
            found = {s: answer(s, track.book) for s, track in self._core.tracks.items()}
        return found[self.symbols[0]] if self._single else found

    def _table(self, symbol: str, book: CandleBook) -> pd.DataFrame:
        table = book.candles
        table.attrs = {"source": self._label, "symbol": symbol}
        return table

    def _begin(self) -> None:
        """Start the thread; the caller holds `_changing`."""
        self._core = Core(self.symbols, self.timeframe)
        self._failure = None
        self._cursors.begin()
        self._url = sample.use(self).url if self.venue == "sim" else self.venue
        self._state = State("CONNECTING", time.monotonic(), "")
        self._thread = threading.Thread(target=self._run, name=f"feed {self.name}", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        """Stop the thread; the caller holds `_changing`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            while thread.is_alive() and (loop := self._loop) is None:
                time.sleep(0.001)  # it is just about to have one
            if thread.is_alive() and loop is not None:
                self._cancel(loop)
            thread.join(END_WITHIN)
        self._cursors.end()
        sample.leave(self)

    def _cancel(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._follow())
        except BaseException as error:
            self._fail(error)
        finally:
            self._loop = None
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()  # not asyncio.run: it would wait for a name that is still looked up

    async def _follow(self) -> None:
        venue, stream = find_streams(self._url)
        loader = Loader(venue)

        async def history(symbol: str, timeframe: str, bars: int) -> pd.DataFrame:
            table = await loader(symbol, timeframe, bars)
            self._label = str(table.attrs["source"])
            return table

        connect, budget = (
            connector(proxies=not venue.is_local),
            _budgets.setdefault(stream, Budget()),
        )
        wiring = Wiring(venue, stream, connect, history, budget=budget)
        client = Client(
            self._core,
            wiring,
            history=self._history,
            publish=self._cursors.put,
            changed=self._become,
        )
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(asyncio.CancelledError):
            await client.run()

    def _become(self, state: State) -> None:
        with self._changed:
            self._entered[state.name] += state.name != self._state.name
            self._state = state
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, FeedError):
            _log.error("the feed was ended by its own failure", exc_info=error)
        with self._changed:
            self._failure = error
            self._state = State("STOPPED", time.monotonic(), str(error) or repr(error))
            self._changed.notify_all()
        self._cursors.end()

    def _is_under_way(self) -> bool:
        """Whether the history is there, or it is known that it doesn't come."""
        return self._failure is not None or self._state.name in ("BACKFILLING", "LIVE", "STALE")


_changing = threading.RLock()  # while a feed starts or stops
_running: dict[str, Feed] = {}
_budgets: dict[str, Budget] = {}  # by the address of the streams


def _check_history(history: object) -> None:
    whole = isinstance(history, int | np.integer) and not isinstance(history, bool)
    if not whole or not 0 <= history <= 1_000_000:  # type: ignore[operator]
        raise FeedError(
            f"history={history!r}: expected how many closed candles to begin with, 0 to 1,000,000."
        )


def _check_sample(symbols: Sequence[str]) -> None:
    from ..data.sample import SYMBOLS

    for symbol in symbols:
        if symbol not in SYMBOLS:
            raise FeedError(f'venue="sim": {unknown("symbol", symbol, SYMBOLS)}')


def _gap_table(gaps: Sequence[Gap]) -> pd.DataFrame:
    def times(values: list[int | None]) -> pd.Index:
        known = np.array([0 if value is None else value for value in values], np.int64)
        index = from_ms(known).where([value is not None for value in values])
        return index.rename(None)

    return pd.DataFrame(
        {
            "start": times([gap.start for gap in gaps]),
            "end": times([gap.end for gap in gaps]),
            "missing": np.array([gap.missing for gap in gaps], np.int64),
            "kind": [gap.kind for gap in gaps],
            "found": times([gap.found for gap in gaps]),
            "closed": times([gap.closed for gap in gaps]),
        }
    )
