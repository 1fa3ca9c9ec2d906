"""What a feed begins with: closed candles out of the cache and REST, as many as are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from ..candles import candle_table
from ..data.binance import Session, load_binance
from ..data.venues import Unreachable, Venue
from ..timeframes import bin_starts, duration, from_ms

Result = TypeVar("Result")


def load_history(
    symbol: str, timeframe: str, bars: int, venue: Venue, wait: Callable[[float], None]
) -> pd.DataFrame:
    """The closed candles of the last ``bars`` bars by the venue's time, as far as there are any.

    ``wait`` lets seconds pass between attempts. Raises as `load_candles` does; `Unavailable` if
    there is no answer.
    """
    from ..data.transport import Transport

    with Session(venue, Transport(proxies=not venue.is_local, wait=wait)) as session:
        session.open()
        forming = int(bin_starts(np.array([session.now]), timeframe)[0])
        start = int(bin_starts(np.array([forming - bars * duration(timeframe)]), timeframe)[0])
        listed = session.rest.rows(symbol, timeframe, startTime=0, limit=1)
        last = session.rest.rows(symbol, timeframe, endTime=forming - 1, limit=1)
        label = session.venue.label
    start = max(start, start if listed is None else int(bin_starts(listed.times, timeframe)[0]))
    if not bars or last is None or last.times[-1] < start:  # new, or halted for all that time
        table = candle_table([])
        table.attrs = {"source": label, "symbol": symbol}
        return table
    with Transport(proxies=not venue.is_local, wait=wait) as transport:
        return load_binance(
            symbol,
            timeframe,
            from_ms(np.array([start]))[0],
            None,
            venue,
            transport=transport,
            progress=False,  # a bar would be drawn into whichever cell is running
        )


class Loader:
    """Loads history for a client on an event loop, without holding the loop up."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._stopped = threading.Event()

    async def __call__(self, symbol: str, timeframe: str, bars: int) -> pd.DataFrame:
        """Load in a thread, which ends soon after this is cancelled."""
        try:
            return await in_thread(
                lambda: load_history(symbol, timeframe, bars, self._venue, self._wait)
            )
        except asyncio.CancelledError:
            self._stopped.set()
            raise

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Unreachable("nobody waits for these candles any more.")


async def in_thread(work: Callable[[], Result]) -> Result:
    """Await ``work`` in a daemon thread, so that a process can end while a venue says nothing."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.done():  # nobody waits
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="feed-history", daemon=True).start()
    return await done
