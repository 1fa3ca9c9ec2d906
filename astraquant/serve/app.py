"""The application: which address calls which function. Nothing of a request is kept.

It needs the extra ``serve`` (FastAPI): only `astraquant.serve.server` imports this module.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, cast

from fastapi import Depends, FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer

from .. import __version__
from ..backtesting import backtest
from ..errors import AstraQuantError, DataError, unknown
from ..strategies import load_strategies
from ..strategies.definition import Strategy
from . import schema
from .answers import (
    Candles,
    Problem,
    Run,
    Strategies,
    bars_of_run,
    candles_of,
    info_of,
    message_of,
    run_of,
    to_json,
)
from .catalogue import Catalogue, label_of
from .desk import Busy, Desk, Limits
from .gate import App, Gate
from .page import start_page
from .query import check_names, run_arguments, single, time_of, value_of
from .relay import CLOSING, ENDED, SLOW, TALKED, Line, Mailbox, Relays, cut, relay

ALIASES: Final = {"ma": "ma_cross"}
RETRY_AFTER: Final = "1"  # seconds
ABOUT: Final = """Backtests, candles and live streams of AstraQuant: the library's own functions.

A refusal says in `detail` what was given, what was expected, and the cure.

Live candles: the WebSocket `/ws/{symbol}?timeframe=1m`, a JSON object a message. `kind` is
"forming", "closed", "filled" (missed and asked for, perhaps after newer ones), "revised" (`before`:
what it was) or "gap" (bars are missing from `time` on). Each closed candle comes once; a client
that reads too slowly is cut off with code 1013. `source` and `simulated` say where prices come
from."""


class NotFound(AstraQuantError):
    """There is nothing at this address: HTTP 404."""


def build_app(
    catalogue: Catalogue,
    *,
    venue: str = "sim",
    host: str = "127.0.0.1",
    token: str = "",
    names: Iterable[str] = (),
    limits: Limits | None = None,
) -> App:
    """The ASGI application that serves ``catalogue``, and live candles of ``venue``.

    ``host``, ``token``, ``names``: who is let in, see `Gate`, which raises for what isn't safe.
    """
    face = _Face(catalogue, venue, limits or Limits())
    secured = [Depends(HTTPBearer(auto_error=False))] if token else []  # for OpenAPI: Gate checks
    app = FastAPI(
        title="AstraQuant",
        description=ABOUT,
        version=__version__,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=face.lifespan,
        dependencies=secured,
    )
    _add_routes(app, face)
    app.add_exception_handler(AstraQuantError, _refused)
    app.add_exception_handler(404, face.no_such_path)
    app.add_api_websocket_route("/ws/{symbol}", face.stream)
    return Gate(cast(App, app), host, token, names)


def _add_routes(app: FastAPI, face: _Face) -> None:
    symbols = face.catalogue.symbols

    def get(
        path: str, answer: type, endpoint: Callable[..., Any], parameters: list[Any], **more: Any
    ) -> None:
        app.add_api_route(
            path,
            endpoint,
            response_model=None,
            responses=schema.responses(answer),
            openapi_extra={"parameters": parameters},
            **more,
        )

    app.add_api_route("/", face.page, include_in_schema=False)
    get("/strategies", Strategies, face.list_strategies, [], summary="All strategies")
    get(
        *("/candles", Candles, face.list_candles, schema.candle_parameters(symbols, face.limits)),
        summary="Candles, some at a time",
    )
    for name in face.addresses:
        strategy = face.find(name)
        get(
            *(f"/backtest/{name}", Run, face.runner(strategy)),
            schema.run_parameters(strategy, symbols),
            summary=f"Backtest of {strategy.name}",
            description=schema.run_description(strategy),
            operation_id=f"backtest_{name}",
        )
    app.add_api_route("/backtest/{name:path}", face.run_any, include_in_schema=False)


class _Face:
    """What the addresses share: candles, strategies, threads and feeds."""

    def __init__(self, catalogue: Catalogue, venue: str, limits: Limits) -> None:
        self.catalogue = catalogue
        self.limits = limits
        self.strategies = load_strategies()
        self.desk = Desk(limits)
        self.relays = Relays(venue, limits)

    @property
    def addresses(self) -> list[str]:
        """The names with an address of their own in OpenAPI; others are found all the same."""
        names = dict.fromkeys((*ALIASES, *self.strategies))  # a plug-in may bear an alias
        return [name for name in names if name.replace("-", "_").isidentifier()]

    def find(self, name: str) -> Strategy:
        """The strategy of an address; `NotFound` with the nearest name."""
        meant = name if name in self.strategies else ALIASES.get(name, name)
        if meant not in self.strategies:
            raise NotFound(unknown("strategy", name[:100], [*ALIASES, *self.strategies]))
        return self.strategies[meant]

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Until the server stops; then all feeds do."""
        yield
        await self.relays.close()
        self.desk.close()

    async def page(self, request: Request) -> Response:
        """The start page."""
        _check_names(request)
        _, table = await self.desk.do(self.catalogue.find)
        infos = [info_of(name, strategy) for name, strategy in self.strategies.items()]
        text = start_page(self.catalogue.symbols, label_of(table), infos, self.relays.venue)
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(text, headers=policy)

    async def list_strategies(self, request: Request) -> Response:
        """All strategies, with their parameters and what they may be."""
        _check_names(request)
        found = [info_of(name, strategy) for name, strategy in self.strategies.items()]
        return _json(to_json(Strategies(found)))

    async def list_candles(self, request: Request) -> Response:
        """Candles with start <= time < end, at most `limit`; `next` says where to go on."""
        query, most = single(request.query_params.multi_items()), self.limits.rows
        check_names(query, "/candles", ("symbol", "timeframe", "start", "end", "limit"))
        limit = value_of("limit", query.get("limit", str(min(1000, most))), int)
        if not 1 <= limit <= most:
            raise DataError(f"limit={limit}: expected 1 to {most:,}; `next` says where to go on.")

        def work() -> bytes:
            symbol, table = self.catalogue.find(query.get("symbol"))
            start, end = (time_of(n, query[n]) if n in query else None for n in ("start", "end"))
            page = candles_of(symbol, table, query.get("timeframe"), start, end, limit)
            return to_json(page)

        return _json(await self.desk.do(work))

    def runner(self, strategy: Strategy) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of one strategy's backtest."""

        async def run(request: Request) -> Response:
            query = single(request.query_params.multi_items())
            arguments = run_arguments(strategy, query)
            return _json(await self.desk.do(lambda: self._run(strategy, query, arguments)))

        return run

    async def run_any(self, name: str, request: Request) -> Response:
        """The backtest of a strategy whose name makes no address of its own."""
        return await self.runner(self.find(name))(request)

    def _run(self, strategy: Strategy, query: dict[str, str], arguments: dict[str, Any]) -> bytes:
        symbol, table = self.catalogue.find(query.get("symbol"))
        bars = bars_of_run(table, arguments.get("timeframe"), arguments.get("end"))
        if bars > self.limits.bars:
            raise DataError(
                f"that is a run through {bars:,} bars; expected at most {self.limits.bars:,}. "
                "Take a coarser timeframe or an earlier end."
            )
        result = backtest(table, strategy, **arguments)
        return to_json(run_of(symbol, result, label_of(table)))

    async def no_such_path(self, request: Request, _: Exception) -> Response:
        """The answer to an address that there is not."""
        known = ["/", "/strategies", "/candles", "/openapi.json"]
        known += [f"/backtest/{name}" for name in (*ALIASES, *self.strategies)]
        return _problem(NotFound(unknown("address", request.url.path[:100], known)))

    async def stream(self, socket: WebSocket, symbol: str) -> None:
        """Relay live candles until one side ends it."""
        try:
            query = single(socket.query_params.multi_items())
            check_names(query, "/ws/{symbol}", ("timeframe", "token"))
            timeframe = query.get("timeframe", "1m")
            self.relays.check(symbol, timeframe)
        except AstraQuantError as error:
            await socket.send_denial_response(_problem(error))
            return
        await socket.accept()
        try:
            async with self.relays.follow(symbol, timeframe) as (feed, cursor):

                def text(update: Any) -> str:
                    source = feed.label or feed.venue
                    told = message_of(update, timeframe, source, feed.is_simulated)
                    return to_json(told).decode()

                line = Line(partial(_send, socket), partial(_hears, socket))
                code = await relay(line, cursor, Mailbox(self.limits.messages), text)
                ended = f"the feed has ended: {feed.status.reason or 'the server stops'}"
        except AstraQuantError as error:
            code, ended = ENDED, str(error)
        reasons = {
            SLOW: f"too slow: more than {self.limits.messages:,} messages wait to be read",
            TALKED: "nothing is expected from a client",
            ENDED: ended,
        }
        if code is not None:
            await _close(socket, code, reasons[code])


async def _send(socket: WebSocket, text: str) -> None:
    try:
        await socket.send_text(text)
    except (WebSocketDisconnect, RuntimeError) as error:  # RuntimeError: it is closed already
        raise ConnectionError("the client is gone") from error


async def _hears(socket: WebSocket) -> bool:
    return bool((await socket.receive())["type"] == "websocket.receive")


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Say why, as far as the client still reads; the whole reason may be longer than a frame's."""
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
        async with asyncio.timeout(CLOSING):
            if code == ENDED:
                await socket.send_text(to_json(Problem(reason)).decode())
            await socket.close(code, cut(reason))


def _check_names(request: Request) -> None:
    check_names(single(request.query_params.multi_items()), request.url.path, ())


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _problem(error: AstraQuantError) -> Response:
    status = {Busy: 429, NotFound: 404}.get(type(error), 422)
    headers = {"Retry-After": RETRY_AFTER} if status == 429 else None
    body = to_json(Problem(str(error)))
    return Response(body, status, media_type="application/json", headers=headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, AstraQuantError)
    return _problem(error)
