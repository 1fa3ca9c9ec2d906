"""Who is let in: by Host, Origin and token, before anything else is looked at.

A web page that the user has open may send requests to this machine. Its own name in Host (DNS
rebinding) or in Origin gives it away, and where a browser sends no Origin (for a picture, say) its
Sec-Fetch-Site does. No header of CORS is ever sent.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from ..errors import AstraQuantError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
SHORTEST: Final = 16  # characters of a token: fewer could be guessed
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # what may stand in a header and in an address


class Refusal(NamedTuple):
    """An answer that lets nobody in: HTTP status, its reason in words, further headers."""

    status: int
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows where it leads
        return False


def check_binding(host: str, token: str) -> None:
    """Raise unless it is safe to serve at ``host``: beyond this machine only with a token."""
    if not token and not is_loopback(host):
        raise AstraQuantError(
            f"--host {host} can be reached from other machines, and there is no token. Give one "
            f"(--token, or the environment variable ASTRAQUANT_TOKEN; {SHORTEST} characters or "
            "more), or leave --host out: 127.0.0.1 serves this machine alone."
        )
    if token and (len(token) < SHORTEST or not _TOKEN.fullmatch(token)):
        raise AstraQuantError(
            f"the token has {len(token)} characters; expected {SHORTEST} or more of A-Z, a-z, 0-9 "
            "and ._~+/=-. This makes one: "
            'python -c "import secrets; print(secrets.token_urlsafe())"'
        )


class Gate:
    """An ASGI application in front of another: refuses what is foreign, hands on the rest.

    ``host``: the address served at; it and this machine's own names are let in, and where it stands
    for all addresses (0.0.0.0) any address in figures: rebinding needs a name. ``names``: further
    ones. ``token``: what every request has to show ("": none).
    """

    def __init__(self, app: App, host: str, token: str = "", names: Iterable[str] = ()) -> None:
        check_binding(host, token)
        self._app = app
        self._names = {_plain(name) for name in (*LOOPBACK, host, *names)}
        self._any_address = host in ("0.0.0.0", "::")
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        refusal = None if scope["type"] == "lifespan" else self.refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, send, refusal)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why this request is not let in; None if it is."""
        hosts = _headers(scope, b"host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        if not self._is_own(host):
            return Refusal(
                421,
                f"Host {', '.join(hosts)!r} is not served here; expected the address that the "
                "server told at its start. A name of this machine's can be allowed: --name NAME.",
            )
        origins = _headers(scope, b"origin")
        if origins and (len(origins) > 1 or not _same(origins[0], host)):
            return Refusal(
                403,
                f"a page of {', '.join(origins)!r} may not ask this server, only its own pages "
                "and programs (which send no Origin) may.",
            )
        if scope["type"] == "http" and _is_embedded(scope):  # a stream always has an Origin
            return Refusal(
                403,
                "a page of another site may not ask this server, only its own pages and programs "
                "(which send no Sec-Fetch-Site) may. A link to follow may lead here.",
            )
        if self._token and not self._has_token(scope):
            return Refusal(
                401,
                "this server wants its token: the header Authorization: Bearer TOKEN (a WebSocket "
                "of a browser, which can't send it: ?token=TOKEN).",
                ((b"www-authenticate", b"Bearer"),),
            )
        return None

    def _is_own(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _plain(match[1])
        return name in self._names or (self._any_address and _is_address(name))

    def _has_token(self, scope: Scope) -> bool:
        shown = [
            value[7:]
            for value in _headers(scope, b"authorization")
            if value[:7].lower() == "bearer "
        ]
        if scope["type"] == "websocket":
            query = parse_qs(scope["query_string"].decode("latin-1"))
            shown += query.get("token", [])
        # In constant time: how long it takes tells nothing of how much of it is right.
        return any(hmac.compare_digest(one.strip().encode(), self._token) for one in shown)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _is_embedded(scope: Scope) -> bool:
    """Whether a page of another site asks by itself: for a picture, a frame, a script.

    A link that somebody follows is none. For requests of these kinds browsers send no Origin.
    """
    sites = _headers(scope, b"sec-fetch-site")
    if all(site in ("none", "same-origin") for site in sites):
        return False
    modes, targets = _headers(scope, b"sec-fetch-mode"), _headers(scope, b"sec-fetch-dest")
    return (modes, targets) != (["navigate"], ["document"])


def _plain(host: str) -> str:
    """A host in its one spelling: lower case, an address of IPv6 short and without brackets."""
    name = host.lower().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` came from the very server that is asked."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    body = json.dumps({"detail": refusal.detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *refusal.headers,
    ]
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
