"""Which exchange is asked, where it answers, and what its candles are called.

Binance's own hosts and this machine are the only ones that an argument may name; whoever sets the
environment of the process may name any other. What an exchange says about itself decides whether
its candles are simulated, never its address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..errors import DataError

REST_VARIABLE: Final = "ASTRAQUANT_BINANCE_REST"
ARCHIVE_VARIABLE: Final = "ASTRAQUANT_BINANCE_ARCHIVE"

# Market data only, and answered where the main host refuses a region (HTTP 451).
MARKET_DATA: Final = "https://data-api.binance.vision"
ARCHIVES: Final = "https://data.binance.vision"
HOSTS: Final = (
    *("data-api.binance.vision", "data.binance.vision", "api.binance.com", "api-gcp.binance.com"),
    *(f"api{number}.binance.com" for number in (1, 2, 3, 4)),
)
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

# The whole address has to match: no user name, no query, nothing that two readers read differently.
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])"
    r"(?::(?P<port>\d{1,5}))?(?P<path>(?:/[a-z0-9._~-]+)*)/?",
    re.IGNORECASE | re.ASCII,
)
_MARKET = re.compile(r"[0-9a-f]{12}")  # the hash by which a simulated exchange names its market


class Unavailable(DataError):
    """The venue gives no answer that can be used, but may later.

    ``after``: the seconds it asks to wait, 0 if it says nothing.
    """

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after


class Unreachable(Unavailable):
    """No answer came from the venue: no network, no such host, nobody listening."""


class TooLarge(DataError):
    """An answer has more bytes than what was asked for can have."""


@dataclass(frozen=True)
class Venue:
    """An exchange: its addresses, and once it is known, its name and its market.

    ``rest`` and ``archive``: bases of addresses, without a slash at the end. ``name``: its folder
    in the cache ("" until `identified`). ``label``: what ``attrs["source"]`` of its candles says.
    ``market``: the hash of a simulated market, "" for any other.
    """

    rest: str
    archive: str
    name: str = ""
    label: str = ""
    market: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, to which no proxy leads."""
        return _parts(self.rest)["host"] in LOOPBACK

    @property
    def called(self) -> str:
        """What a sentence calls it; its address until it is `identified`."""
        return "the simulated exchange" if self.market else self.label or self.rest


def find_venue(source: str) -> Venue:
    """The venue that ``source`` names: "binance", or the address of an exchange's REST.

    Raises `DataError` for an address that is none, and for hosts that an argument may not name.
    """
    if source == "binance":
        rest = _from_environment(REST_VARIABLE) or MARKET_DATA
        # Prices of one exchange and archives of another must not mix unless both were chosen.
        own = ARCHIVES if _is_binance(rest) else rest
        archive = _from_environment(ARCHIVE_VARIABLE) or own
    else:
        rest = _checked(source)
        archive = ARCHIVES if _is_binance(rest) else rest
        if rest == ARCHIVES:  # the files' host: they are the same exchange
            rest = MARKET_DATA
    if _is_binance(rest) and _is_binance(archive):
        return Venue(rest, archive, "binance", "Binance")
    return Venue(rest, archive)


def identified(venue: Venue, headers: Mapping[str, str]) -> Venue:
    """The venue with name and label, as the headers of one of its answers tell them."""
    if venue.name:
        return venue
    market = headers.get("X-Simulated-Market", "")
    if market:
        if not _MARKET.fullmatch(market):
            raise DataError(
                f"{venue.rest} calls itself the simulated market {market[:40]!r}; expected 12 hex "
                "digits. Is another program listening there?"
            )
        told = re.sub(r"[^ -~]", "", headers.get("X-Simulated-Source", ""))[:200].strip()
        label = f"simulated exchange: {told or market}"
        return replace(venue, name=f"simulated-{market}", label=label, market=market)
    strange = venue.archive if _is_binance(venue.rest) else venue.rest
    parts = _parts(strange)
    host = parts["host"] + (f":{parts['port']}" if parts["port"] else "")
    name = re.sub(r"[^a-z0-9.]+", "_", host + parts["path"].lower()).strip("._")
    return replace(venue, name=name[:64].rstrip("._"), label=host)


def _from_environment(variable: str) -> str:
    """The base that an environment variable names; "" if it isn't set."""
    address = os.environ.get(variable, "").strip()
    if not address:
        return ""
    if not _ADDRESS.fullmatch(address):
        raise DataError(
            f"the environment variable {variable} is {address!r}; expected an address such as "
            f"{MARKET_DATA!r}. Mend or remove it."
        )
    return _base(address)


def _checked(address: str) -> str:
    """The base of an address that was given as an argument, if its host may be asked."""
    match = _ADDRESS.fullmatch(address)
    if not match or match["path"]:
        raise DataError(
            f"source={address[:200]!r} is no address of an exchange; expected one such as "
            f"{MARKET_DATA!r} or the `url` of a SimulatedExchange. To read a file from an address, "
            "download it first and give its path."
        )
    parts = _parts(address)
    if parts["host"] in LOOPBACK:
        return _base(address)
    if parts["host"] not in HOSTS:
        raise DataError(
            f"the host {parts['host']!r} is none that source= may name: {', '.join(HOSTS)}, or "
            f"this machine ({', '.join(LOOPBACK)}). For a mirror of your own set the environment "
            f'variable {REST_VARIABLE}={address} and say source="binance". To read a file from an '
            "address, download it first and give its path."
        )
    if parts["scheme"] != "https" or parts["port"] not in ("", "443"):
        raise DataError(
            f"source={address!r}: Binance is asked by https on its own port only. Say "
            f'source="https://{parts["host"]}".'
        )
    return f"https://{parts['host']}"


def _parts(address: str) -> dict[str, str]:
    """Scheme, host and port in lower case ("" for no port), and the path, of a checked address."""
    match = _ADDRESS.fullmatch(address)
    assert match is not None
    found = {name: (match[name] or "") for name in ("scheme", "host", "port", "path")}
    return {name: text if name == "path" else text.lower() for name, text in found.items()}


def _base(address: str) -> str:
    """A checked address in one spelling."""
    parts = _parts(address)
    port = f":{parts['port']}" if parts["port"] else ""
    if port and int(parts["port"]) > 65535:
        raise DataError(f"{address!r} has the port {parts['port']}; expected one up to 65535.")
    return f"{parts['scheme']}://{parts['host']}{port}{parts['path']}"


def _is_binance(base: str) -> bool:
    parts = _parts(base)
    return parts["scheme"] == "https" and parts["host"] in HOSTS and not parts["path"]
