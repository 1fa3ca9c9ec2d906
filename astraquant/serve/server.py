"""The server under the application: a socket, uvicorn, and the extra that both need."""

from __future__ import annotations

import importlib.util
import logging
import socket
from typing import TYPE_CHECKING, Final

from ..errors import AstraQuantError, install_line

if TYPE_CHECKING:
    import uvicorn

    from .gate import App

# Of every answer: it is what it says it is, and no page of another site embeds it.
_HEADERS: Final = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
]
_LONGEST_MESSAGE: Final = 4096  # bytes of a client of a stream: it has nothing to say
_FAREWELL: Final = 3  # seconds that clients have to take what is left when the server stops


def require() -> None:
    """Raise with the line to type unless FastAPI and uvicorn are installed."""
    missing = [name for name in ("fastapi", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise AstraQuantError(
            f"the server needs {' and '.join(missing)}, not installed here. Install it "
            + install_line("serve")
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there (port 0: any free one); raises with the cure if it can't."""
    if not 0 <= port < 2**16:
        raise AstraQuantError(f"--port {port}: expected 0 (any free one) to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise AstraQuantError(
            f"can't listen at {host} port {port}: {error.strerror or error}. Take another --port "
            "(0: any free one), or an address of this machine as --host."
        ) from None


def make_server(app: App) -> uvicorn.Server:
    """A server of ``app``: ``run(sockets=[...])`` serves until it is interrupted."""
    import uvicorn

    logging.getLogger("uvicorn.error").addFilter(_is_news)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        log_config=None,
        log_level="warning",  # more would tell tokens that stand in addresses
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=_HEADERS,
        ws_max_size=_LONGEST_MESSAGE,
        timeout_graceful_shutdown=_FAREWELL,
    )
    return uvicorn.Server(config)


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a stream was refused: uvicorn calls that an error of the application's."""
    return "without completing handshake" not in record.getMessage()
