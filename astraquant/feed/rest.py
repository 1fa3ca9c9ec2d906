"""What the feed asks of a venue's REST, each once: when to ask again is the client's to say."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx

from ..data.formats import parse
from ..data.klines import PAGE, check_market, closed_rows, json_of, no_rows, time_in
from ..data.pieces import Piece
from ..data.transport import (
    MEGABYTE,
    Answer,
    TryAgain,
    check_status,
    client_options,
    usable_network,
)
from ..data.venues import Venue, identified
from ..errors import DataError
from .link import seconds_told
from .pacing import Budget
from .protocol import AggTrade, parse_trades

_LIMIT: Final = 4 * MEGABYTE  # of an answer
UNTOLD: Final = 60.0  # seconds to wait after a 429 that doesn't say how long


class Failed(Exception):
    """A question got no answer that can be used. ``after``: seconds the venue asks to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Rest:
    """Questions to one venue; each raises `Failed`."""

    pace = 1.0  # seconds of venue time in a real one; a simulated exchange tells another

    def __init__(
        self,
        venue: Venue,
        http: httpx.AsyncBaseTransport | None,
        budget: Budget,
        *,
        proxies: bool,
    ) -> None:
        with usable_network():
            self._client = httpx.AsyncClient(**client_options(proxies=proxies), transport=http)
        self._venue = venue
        self._budget = budget

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def time(self) -> int:
        """Ask for the venue's time, ms UTC; the first answer also tells who it is."""
        answer = await self._ask("time")
        told = answer.headers.get("X-Simulated-Speed", "")
        self.pace = float(told) if _is_number(told) else 1.0
        try:
            self._venue = identified(self._venue, answer.headers)
            return time_in(answer, self._venue)
        except DataError as error:
            raise Failed(str(error)) from error

    async def bars(self, symbol: str, timeframe: str, start: int, until: int) -> Piece:
        """Ask for the bars of [start, until), all of them over; the piece says how far it reaches.

        Where no row comes and later ones are there all the same, the answer is not believed.
        """
        span: dict[str, Any] = {"symbol": symbol, "interval": timeframe, "endTime": until - 1}
        found = await self._ask("klines", **span, startTime=start, limit=PAGE)
        name = f"{self._venue.rest}/api/v3/klines for {symbol} {timeframe}"
        try:
            if found.body.strip() != b"[]":
                rows = parse(found.body, name)
                return closed_rows(rows, self._venue, symbol, timeframe, start, until)
            last = await self._ask("klines", **span, limit=1)
            if last.body.strip() != b"[]" and int(parse(last.body, name).times[-1]) >= start:
                raise Failed(f"{name}: no rows from {start} ms on, though there are later ones")
        except DataError as error:
            raise Failed(str(error)) from error
        return no_rows(until)

    async def newest_trade(self, symbol: str) -> AggTrade | None:
        """Ask for the newest trade; None if there was none ever."""
        trades = await self._trades(symbol, limit=1)
        return trades[-1] if trades else None

    async def trades(self, symbol: str, first: int, last: int) -> list[AggTrade]:
        """Ask for the trades with these ids, a page at the most; those before ``last`` may lack."""
        limit = min(PAGE, last - first + 1)
        return await self._trades(symbol, fromId=first, limit=limit)

    async def _trades(self, symbol: str, **span: int) -> list[AggTrade]:
        answer = await self._ask("aggTrades", symbol=symbol, **span)
        try:
            return parse_trades(answer.body, symbol)
        except ValueError as error:
            raise Failed(f"{self._venue.rest} answers with odd trades: {error}") from error

    async def _ask(self, what: str, **params: str | int) -> Answer:
        url = httpx.URL(f"{self._venue.rest}/api/v3/{what}")
        clock = asyncio.get_running_loop().time
        left = self._budget.rest_from - clock()
        if left > 0:
            raise Failed(f"{self._venue.rest} asks to be left alone for {left:.0f} s", left)
        try:
            async with self._client.stream("GET", url, params=params) as response:
                status = response.status_code
                if status in (418, 429):
                    told = seconds_told(response.headers.get("Retry-After", ""))
                    after = UNTOLD if told is None else told
                    self._budget.rest_from = clock() + after
                    raise Failed(f"{url} was asked too much (HTTP {status})", after)
                check_status(url, response)
                answer = Answer(status, await _body(url, response), response.headers)
            check_market(self._venue, answer)
        except (DataError, TryAgain) as error:
            raise Failed(str(error)) from error
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            why = str(error) or type(error).__name__
            raise Failed(f"{url} doesn't answer ({why})") from error
        if status != 200:
            raise Failed(f"{url} refuses the question: {_told(answer, str(url))}")
        return answer


async def _body(url: httpx.URL, response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > _LIMIT:
            raise Failed(f"{url} answers with more than {_LIMIT:,} bytes")
    return b"".join(parts)


def _told(answer: Answer, url: str) -> str:
    try:
        told = json_of(answer, url)
    except DataError:
        told = None
    return str(told.get("msg") if isinstance(told, dict) else f"HTTP {answer.status}")[:200]


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit()
