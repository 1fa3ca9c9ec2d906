"""A plain client of the exchange in memory: it reads one connection to its end."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any

import httpx
from memory_exchange import MemoryExchange
from memory_link import MemoryLink

from astraquant.data.sample import sample_candles
from astraquant.exchange.market import Market
from astraquant.feed.link import Lost

START = 1_677_628_800_000  # 2023-03-01
MINUTE = 60_000
TICKS = "btcusdt@aggTrade"
BARS = "btcusdt@kline_1m"
STREAMS = f"/stream?streams={BARS}/{TICKS}"


@functools.lru_cache
def market(symbol: str = "BTCUSDT", minutes: int = 30) -> Market:
    candles = sample_candles(symbol, start="2023-03-01", end="2023-03-01 03:00")
    return Market(candles.iloc[:minutes].copy(), symbol)


def exchange_of(**options: Any) -> MemoryExchange:
    return MemoryExchange({"BTCUSDT": market()}, **{"start": START, **options})


class Reader:
    """Reads a connection to its end."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self.texts: list[str] = []
        self.times: list[float] = []
        self.reason = ""
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self.texts.append((await self.link.receive()).decode())
                self.times.append(loop.time())
        except Lost as error:
            self.reason = str(error)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text)["data"] for text in self.texts]

    def ids(self) -> list[int]:
        return [event["a"] for event in self.events if "a" in event]


async def playing(exchange: MemoryExchange, streams: str = STREAMS) -> Reader:
    """Begin to play to somebody."""
    reader = Reader(await exchange.connect(exchange.stream + streams))
    asyncio.create_task(exchange.play())  # noqa: RUF006 (the clock's end is its end)
    return reader


async def ask(exchange: MemoryExchange, what: str, **params: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=exchange.http, timeout=20) as client:
        return await client.get(f"{exchange.rest}/api/v3/{what}", params=params)
