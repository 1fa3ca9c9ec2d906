"""One WebSocket connection as the client uses it, and what it is where there is a network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .. import __version__
from .protocol import MAX_SIZE

OPEN_WITHIN: Final = 10.0  # seconds for a handshake
CLOSE_WITHIN: Final = 1.0  # seconds for a goodbye to be answered
_LONGEST_WAIT: Final = 10**9  # seconds; whoever says more says nonsense


class Lost(Exception):
    """A connection can't be opened, or is gone.

    ``status``: the HTTP status of a refused handshake; ``after``: the seconds its Retry-After asks.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.after = after


class Link(Protocol):
    """One open connection."""

    async def receive(self) -> bytes | str:
        """Return the next message; raises `Lost`."""

    async def close(self) -> None:
        """Say goodbye; returns after `CLOSE_WITHIN` at the latest and never raises."""

    def abort(self) -> None:
        """End it at once; a pending `receive` raises `Lost`."""


Connect = Callable[[str], Awaitable[Link]]


class _Opening(ws.connect):
    """A handshake that is tried once and follows no redirect to anywhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class SocketLink:
    """A `Link` over the network."""

    def __init__(self, connection: ws.ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes:
        """Return the next message, not yet decoded."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise Lost(_ending(error)) from error

    async def close(self) -> None:
        """Say goodbye."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._connection.close()
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._connection.transport.abort()


def connector(*, proxies: bool) -> Connect:
    """What opens connections; ``proxies``: whether the environment's apply."""

    async def connect(address: str) -> Link:
        options: dict[str, Any] = {
            "compression": None,  # half the work per message
            "max_size": MAX_SIZE,  # of the inflated message; a larger one closes with 1009
            "ping_interval": None,  # the watch over the data finds dead connections sooner
            "open_timeout": OPEN_WITHIN,
            "close_timeout": CLOSE_WITHIN,
            "user_agent_header": f"astraquant/{__version__}",
            "proxy": True if proxies else None,
        }
        try:
            return SocketLink(await _Opening(address, **options))
        except InvalidStatus as error:
            response = error.response
            told = response.headers.get("Retry-After", "")
            raise Lost(
                f"the venue refuses the connection (HTTP {response.status_code})",
                status=response.status_code,
                after=seconds_told(told),
            ) from error
        except (OSError, TimeoutError, InvalidHandshake, EOFError, ValueError) as error:
            raise Lost(f"no connection: {str(error) or type(error).__name__}") from error

    return connect


def seconds_told(text: str) -> float | None:
    """The seconds in a Retry-After header; None for what is no plain number."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return float(min(int(text), _LONGEST_WAIT))


def _ending(error: ConnectionClosed) -> str:
    close = error.rcvd or error.sent
    if close is None:
        return "the connection broke off"
    told = f": {close.reason}" if close.reason else ""
    return f"the connection was closed (code {close.code}{told})"
