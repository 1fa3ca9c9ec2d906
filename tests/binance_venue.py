"""Loading from a simulated Binance, and what should come of it."""

from __future__ import annotations

import pandas as pd

from astraquant.data import load_candles
from astraquant.data.binance import load_binance
from astraquant.data.transport import Transport
from astraquant.data.venues import find_venue
from astraquant.exchange import SimulatedExchange

KLINES = "/api/v3/klines"
DAY = "BTCUSDT-1m-2023-04-03"
MONTH = "BTCUSDT-1m-2023-03"


def load(venue: SimulatedExchange, start: str = "2023-04-03", end: object = None) -> pd.DataFrame:
    return load_candles("BTCUSDT", "1m", start=start, end=end, source=venue.url)


def load_at_once(venue: SimulatedExchange, start: str) -> pd.DataFrame:
    """The same, without waiting between attempts."""
    first, transport = pd.Timestamp(start, tz="UTC"), Transport(proxies=False, wait=abs)
    return load_binance("BTCUSDT", "1m", first, None, find_venue(venue.url), transport=transport)


def until_noon(minutes: pd.DataFrame, start: str) -> pd.DataFrame:
    return minutes[start:"2023-04-04 11:59"]  # type: ignore[misc]
