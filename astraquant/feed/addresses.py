"""Where a venue's streams are."""

from __future__ import annotations

import os
import re
from typing import Final

from ..data.venues import MARKET_DATA, Venue, find_venue
from ..errors import DataError, FeedError

STREAM_VARIABLE: Final = "ASTRAQUANT_BINANCE_STREAM"
MARKET_DATA_STREAM: Final = "wss://data-stream.binance.vision"  # works in every region
STREAM: Final = "wss://stream.binance.com:9443"

_ADDRESS = re.compile(r"wss?://[a-z0-9.:\[\]-]+(/[a-z0-9._~/-]*)?", re.IGNORECASE | re.ASCII)


def find_streams(venue: str) -> tuple[Venue, str]:
    """The venue of this name or address, and the base of its streams' address.

    ``venue``: "binance", one of its REST hosts, or the ``url`` of a `SimulatedExchange`. Raises
    `FeedError` for what is none of these.
    """
    try:
        found = find_venue(venue)
    except DataError as error:
        raise FeedError(str(error).replace("source=", "venue=")) from error
    told = os.environ.get(STREAM_VARIABLE, "").strip().rstrip("/")
    if venue == "binance" and told:
        if not _ADDRESS.fullmatch(told):
            raise FeedError(
                f"the environment variable {STREAM_VARIABLE} is {told!r}; expected an address such "
                f"as {MARKET_DATA_STREAM!r}. Mend or remove it."
            )
        return found, told
    if found.rest == MARKET_DATA:
        return found, MARKET_DATA_STREAM
    if found.name == "binance":
        return found, STREAM
    return found, re.sub("^http", "ws", found.rest)
