"""What the tests of the server share: a real one on a free port, and what it serves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pandas as pd

from astraquant.backtesting import backtest
from astraquant.data.sample import sample_candles
from astraquant.serve.app import build_app
from astraquant.serve.catalogue import Catalogue
from astraquant.serve.server import listen, make_server
from astraquant.strategies import ma_cross


@lru_cache
def minutes(symbol: str = "BTCUSDT") -> pd.DataFrame:
    """Some days of the synthetic sample."""
    return sample_candles(symbol, end="2023-01-06")


@contextmanager
def serving(
    tables: dict[str, Any] | None = None, *, buffer: int = 0, **options: Any
) -> Iterator[str]:
    """A server until the end of the block: its address, without a scheme.

    ``buffer``: bytes that the system keeps for a client that does not read (0: its own choice).
    """
    catalogue = Catalogue(tables or {name: minutes(name) for name in ("BTCUSDT", "ETHUSDT")})
    backtest(minutes(), ma_cross)  # compiled by now: no test waits for the compiler
    server = make_server(build_app(catalogue, **options))
    with listen("127.0.0.1", 0) as place:
        if buffer:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
