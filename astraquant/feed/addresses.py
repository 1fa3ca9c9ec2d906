"""Where a venue's streams are."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import urlsplit

from ..data.venues import MARKET_DATA, REST_VARIABLE, Venue, find_venue
from ..errors import DataError, FeedError, unknown

STREAM_VARIABLE: Final = "ASTRAQUANT_BINANCE_STREAM"
MARKET_DATA_STREAM: Final = "wss://data-stream.binance.vision"  # works in every region
STREAM: Final = "wss://stream.binance.com:9443"

_ADDRESS = re.compile(r"wss?://[a-z0-9.:\[\]-]+(/[a-z0-9._~/-]*)?", re.IGNORECASE | re.ASCII)


def _is_binance(address: str) -> bool:
    host = (urlsplit(address).hostname or "").lower()
    return address.lower().startswith("wss://") and host.endswith(
        (".binance.com", ".binance.vision")
    )


def find_streams(venue: str) -> tuple[Venue, str]:
    """The venue of this name or address, and the base of its streams' address.

    ``venue``: "binance", one of its REST hosts, or the ``url`` of a `SimulatedExchange`. Raises
    `FeedError` for what is none of these.
    """
    if not isinstance(venue, str) or ("://" not in venue and venue != "binance"):
        told = venue if isinstance(venue, str) else type(venue).__name__
        raise FeedError(
            f"venue={venue!r}: {unknown('venue', told, ('sim', 'binance'))} Or give an address: a "
            "host of Binance's REST, or the `url` of a SimulatedExchange."
        )
    try:
        found = find_venue(venue)
    except DataError as error:
        text = str(error).replace("source=", "venue=")
        raise FeedError(text.partition(" To read a file from an address")[0]) from error
    told = os.environ.get(STREAM_VARIABLE, "").strip().rstrip("/")
    if venue == "binance" and told:
        if not _ADDRESS.fullmatch(told):
            raise FeedError(
                f"the environment variable {STREAM_VARIABLE} is {told!r}; expected an address such "
                f"as {MARKET_DATA_STREAM!r}. Mend or remove it."
            )
        if found.name == "binance" and not _is_binance(told):
            raise FeedError(  # else another's prices would be called Binance's
                f"the environment variable {STREAM_VARIABLE} names {told!r}, which is none of "
                f"Binance's hosts, but {REST_VARIABLE} names no other exchange. Set both."
            )
        return found, told
    if found.rest == MARKET_DATA:
        return found, MARKET_DATA_STREAM
    if found.name == "binance":
        return found, STREAM
    return found, re.sub("^http", "ws", found.rest)
