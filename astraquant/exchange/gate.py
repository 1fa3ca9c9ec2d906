"""What a request gets: an HTTP answer, a refused handshake, or (None) a WebSocket."""

from __future__ import annotations

import asyncio
import http
import time
from collections import deque
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from . import protocol
from .archives import Archives
from .clock import Clock
from .faults import Faults
from .ledger import Ledger, Request
from .rest import Answer, Rest

_TELLING_TIME = ("/api/v3/time", "/api/v3/exchangeInfo")


class Gate:
    """Answers all requests, handshakes among them, and notes each in the ledger."""

    def __init__(
        self, rest: Rest, archives: Archives, clock: Clock, faults: Faults, ledger: Ledger
    ) -> None:
        self._rest, self._archives = rest, archives
        self._clock, self._faults, self._ledger = clock, faults, ledger
        self._attempts: deque[float] = deque()

    async def receive(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Answer a plain request, refuse a handshake, or (None) let it go on."""
        if self._faults.slowness:
            # No longer than the other side waits for it.
            lost = connection.connection_lost_waiter
            await asyncio.wait([lost], timeout=self._faults.slowness)
        upgrade = "upgrade" in request.headers.get("Connection", "").lower()
        answer = self._handshake(request.path) if upgrade else self._answer(request)
        status = 101 if answer is None else answer.status
        self._ledger.add_request(Request(self._clock.now(), time.monotonic(), request.path, status))
        return None if answer is None else self._response(answer)

    def _handshake(self, target: str) -> Answer | None:
        now = time.monotonic()
        while self._attempts and now - self._attempts[0] > protocol.ATTEMPTS_WINDOW:
            self._attempts.popleft()
        self._attempts.append(now)
        refusal = self._faults.refusal()
        if refusal is not None:
            return refusal
        if len(self._attempts) > protocol.ATTEMPTS_PER_WINDOW:
            left = protocol.ATTEMPTS_WINDOW - (now - self._attempts[0])
            return Answer(429, b"", {"Retry-After": str(int(left) + 1)})
        return None if protocol.parse_target(target) is not None else Answer(404, b"", {})

    def _answer(self, request: HttpRequest) -> Answer:
        if request.method != "GET":
            return Answer(405, b"", {"Allow": "GET"})
        path = urlsplit(request.path).path
        armed = self._faults.answer(path)
        if armed is not None:
            return armed
        now = self._clock.now()
        if path.startswith("/data/"):
            return self._archives.answer(path, now)
        told = now + self._faults.time_lie if path in _TELLING_TIME else now
        return self._rest.answer(
            request.path, told, self._clock.passed(), dict(request.headers.raw_items())
        )

    def _response(self, answer: Answer) -> Response:
        headers = Headers()
        headers["Connection"] = "close"
        headers["Content-Length"] = str(len(answer.body))
        headers["Content-Type"] = "application/json;charset=UTF-8"
        for name, value in {**self._rest.labels, **answer.headers}.items():
            if name in headers:
                del headers[name]
            headers[name] = value
        try:
            phrase = http.HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unknown"
        return Response(answer.status, phrase, headers, answer.body)
