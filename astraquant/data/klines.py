"""An exchange's REST: its time, its symbols, and candles page by page."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..candles import COLUMNS, EXTRA_COLUMNS
from ..errors import DataError, unknown
from ..timeframes import bin_starts, next_start, parse_time
from .formats import Columns, parse
from .pieces import Piece, check_rows
from .venues import MARKET_DATA, Venue

if TYPE_CHECKING:
    from .transport import Answer, Transport

PAGE: Final = 1000  # the most rows that one answer holds
INVALID_INTERVAL: Final = -1120
INVALID_SYMBOL: Final = -1121

_log = logging.getLogger("astraquant.data")


class Rest:
    """Questions to one venue's REST; answers 200 or a `DataError`."""

    def __init__(self, transport: Transport, venue: Venue) -> None:
        self._transport = transport
        self.venue = venue

    def server_time(self) -> tuple[int, Answer]:
        """The venue's time, ms UTC, and the whole answer, whose headers say who answered."""
        answer = self._ask("time")
        return time_in(answer, self.venue), answer

    def first_candle(self, symbol: str, timeframe: str) -> int:
        """Open time of the first candle there is (ms UTC): the day of the listing."""
        rows = self.rows(symbol, timeframe, startTime=0, limit=1)
        if rows is None:
            raise none_closed_yet(self.venue, symbol, timeframe)
        return int(bin_starts(rows.times[:1], timeframe)[0])

    def rows(self, symbol: str, timeframe: str, **span: int) -> Columns | None:
        """What /api/v3/klines answers, as it is; None for an empty list."""
        answer = self._ask("klines", symbol=symbol, interval=timeframe, **span)
        if answer.body.strip() == b"[]":
            return None
        return parse(answer.body, f"{self.venue.rest}/api/v3/klines for {symbol} {timeframe}")

    def _ask(self, what: str, **params: str | int) -> Answer:
        url = f"{self.venue.rest}/api/v3/{what}"
        limit = 64_000_000 if what == "exchangeInfo" else 4_000_000
        answer = self._transport.get(url, params, limit=limit)
        check_market(self.venue, answer)
        if answer.status == 404:
            raise DataError(
                f"{url} doesn't exist (HTTP 404). Is {self.venue.rest!r} the address of an "
                f"exchange, without any path? Expected one such as {MARKET_DATA!r}."
            )
        if answer.status == 400:
            raise self._refusal(answer, params)
        return answer

    def _refusal(self, answer: Answer, params: dict[str, str | int]) -> DataError:
        told = json_of(answer, self.venue.rest)
        code, text = (told.get("code"), told.get("msg")) if isinstance(told, dict) else (None, told)
        name, symbol = self.venue.called, str(params.get("symbol"))
        if code == INVALID_SYMBOL:
            return DataError(self._unknown_symbol(name, symbol))
        if code == INVALID_INTERVAL:
            return DataError(
                f"{name} has no {params.get('interval')} candles of {symbol} ({text!r}). Ask for "
                "another timeframe; resample() makes coarser candles out of finer ones."
            )
        return DataError(f"{name} refuses {params}: {str(text)[:200]!r} (code {code}).")

    def _unknown_symbol(self, name: str, symbol: str) -> str:
        try:
            listed = json_of(self._ask("exchangeInfo"), self.venue.rest)
            symbols = sorted(str(entry["symbol"]) for entry in listed["symbols"])
        except (DataError, LookupError, TypeError) as error:
            _log.info("the symbols of %s can't be listed: %s", name, error)
            return f"{name} has no symbol {symbol!r}. Is it spelled as on the exchange?"
        near = difflib.get_close_matches(symbol, symbols, n=8, cutoff=0.6)
        told = unknown(f"symbol of {name}", symbol, symbols if len(symbols) <= 20 else near)
        return told if len(symbols) <= 20 else f"{told} These are the nearest of {len(symbols):,}."


class Pages:
    """Candles of one symbol with open times below ``stop``, all of them closed, page by page.

    The last page is remembered: what it holds beyond a month's end begins the next month.
    """

    def __init__(self, rest: Rest, symbol: str, timeframe: str, stop: int) -> None:
        self._rest, self._symbol, self._timeframe, self._stop = rest, symbol, timeframe, stop
        self._since = 0
        self._page = Piece(np.empty(0, np.int64), {}, 0)

    def read(self, start: int, end: int) -> Iterator[Piece]:
        """All candles with start <= open time < end (no later than the stop), piece by piece."""
        cursor = start
        while cursor < end:
            if not self._since <= cursor < self._page.until:
                self._page, self._since = self._ask(cursor), cursor
            piece = self._page.cut(cursor, end)
            yield piece
            cursor = piece.until

    def _ask(self, cursor: int) -> Piece:
        """The page that begins at ``cursor``: the row after the last one that is known."""
        for _ in range(2):
            found = self._rest.rows(
                self._symbol,
                self._timeframe,
                startTime=cursor,
                endTime=self._stop - 1,
                limit=PAGE,
            )
            if found is not None:
                return closed_rows(
                    found, self._rest.venue, self._symbol, self._timeframe, cursor, self._stop
                )
            if not self._has_more(cursor):
                return no_rows(self._stop)
        raise DataError(
            f"{self._rest.venue.called} answers that there are no candles of {self._symbol} from "
            f"{parse_time(cursor)} on, and that there are. Try again later."
        )

    def _has_more(self, cursor: int) -> bool:
        """Whether there are candles from ``cursor`` on after all: none is kept for good."""
        last = self._rest.rows(self._symbol, self._timeframe, endTime=self._stop - 1, limit=1)
        return last is not None and int(last.times[-1]) >= cursor


def no_rows(until: int) -> Piece:
    """A piece without candles: the venue has none before ``until``."""
    none = np.empty(0, np.float64)
    values = dict.fromkeys((*COLUMNS, *EXTRA_COLUMNS), none)
    return Piece(np.empty(0, np.int64), values, until)


def closed_rows(
    found: Columns, venue: Venue, symbol: str, timeframe: str, cursor: int, stop: int
) -> Piece:
    """One answer's rows with cursor <= open time < stop, each time once, without a forming one.

    ``stop`` is the open time of the bar that is forming, or earlier. The piece ends where the last
    row's bar does.
    """
    name = f"{venue.rest}/api/v3/klines for {symbol} {timeframe}"
    times = found.times
    if times[-1] < cursor:
        raise DataError(
            f"{name} makes no progress: asked for {parse_time(cursor)} it answers "
            f"{parse_time(int(times[-1]))}. What was loaded until then is kept."
        )
    once = np.append(times[1:] != times[:-1], True) & (times >= cursor)
    kept = once & (times < stop)
    rows = Columns(times[kept], {key: array[kept] for key, array in found.values.items()})
    last = int(bin_starts(times[-1:], timeframe)[0])
    piece = check_rows(rows, name, timeframe, cursor, stop)
    return piece._replace(until=min(stop, next_start(last, timeframe)))


def none_closed_yet(venue: Venue, symbol: str, timeframe: str) -> DataError:
    """The error for a market that begins with the candle that is forming, or later."""
    return DataError(
        f"{venue.called} has no {timeframe} candles of {symbol} yet. Ask again when the first one "
        "has closed; a SimulatedExchange has closed what lies before its start=."
    )


def check_market(venue: Venue, answer: Answer) -> None:
    """Raise `DataError` if an answer carries another simulated market than its venue does."""
    told = answer.headers.get("X-Simulated-Market", "")
    if venue.name and told and told != venue.market:
        expected = f"the simulated market {venue.market}" if venue.market else venue.called
        raise DataError(
            f"{venue.rest} answers with prices of the simulated market {told[:40]!r}, not those "
            f"of {expected}. Did another exchange take its address? Load again."
        )


def time_in(answer: Answer, venue: Venue) -> int:
    """The venue's time in an answer of /api/v3/time, ms UTC."""
    time = json_of(answer, f"{venue.rest}/api/v3/time")
    time = time.get("serverTime") if isinstance(time, dict) else None
    if not isinstance(time, int):
        raise DataError(
            f"{venue.rest} doesn't answer as an exchange does: its time is "
            f"{answer.body[:60]!r}. Is it the right address?"
        )
    parse_time(time, f"the time of {venue.rest}")
    return time


def json_of(answer: Answer, url: str) -> Any:
    """The JSON of an answer, or a `DataError` that says that it is none."""
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise DataError(
            f"{url} doesn't answer as an exchange does: {answer.body[:60]!r} is no JSON. "
            "Is it the right address, or is there a login page between?"
        ) from error
