"""Bytes over HTTP: patient with a busy venue, strict about hosts and sizes.

What is tried again and what is told is decided here, once for REST and archives.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import httpx
import tenacity

from .. import __version__
from ..errors import DataError
from ..timeframes import parse_time
from .venues import ARCHIVES, MARKET_DATA, REST_VARIABLE, TooLarge, Unavailable, Unreachable

ATTEMPTS: Final = 6  # of one request to a venue that has answered before
FIRST_ATTEMPTS: Final = 3  # and to one that never has: perhaps there is no network at all
LONGEST_WAIT: Final = 120  # seconds that a venue may ask us to wait; beyond it the user is told
NO_WAIT_TOLD: Final = 60  # seconds, if it doesn't say how long: the length of its window
WEIGHT_PER_MINUTE: Final = 6000
WEIGHT_KEPT_FREE: Final = 0.2  # for whatever else runs behind the same address
REDIRECTS: Final = 3
MEGABYTE: Final = 10**6

_log = logging.getLogger("astraquant.data")


class Answer(NamedTuple):
    """What came back. ``status``: 200, 400 or 404; everything else has been dealt with."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class TryAgain(Exception):
    """An attempt failed in a way that may pass. ``after``: seconds the venue asked to wait."""

    def __init__(self, reason: str, after: float | None = None, *, reached: bool = True) -> None:
        super().__init__(reason)
        self.after = after
        self.reached = reached


class Transport:
    """A few connections to one venue, used as a context manager.

    ``proxies``: whether the environment's proxies apply (not to this machine). ``wait``: how to let
    seconds pass.
    """

    def __init__(self, *, proxies: bool = True, wait: Callable[[float], None] = time.sleep) -> None:
        with usable_network():
            self._client = httpx.Client(**client_options(proxies=proxies))
        self._wait = wait
        self._answered = False
        self._not_before: dict[str, float] = {}  # host -> monotonic time

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(
        self,
        url: str,
        params: Mapping[str, str | int] | None = None,
        *,
        limit: int = 16 * MEGABYTE,
    ) -> Answer:
        """Ask for ``url``, again where that helps; at most ``limit`` bytes.

        Connection errors, timeouts, cut bodies and 5xx are tried again after a random and growing
        while, 429 and 418 after what the venue asks for. Raises `DataError` if it asks for more
        than two minutes, for 403 and 451, a redirect to another host and answers that are too
        large; `Unreachable` if there is no answer.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TryAgain),
            stop=self._is_enough,
            wait=_pause,
            sleep=self._wait,
            before_sleep=_tell,
            reraise=True,
        )
        try:
            return retrying(self._follow, httpx.URL(url, params=params), limit)
        except TryAgain as last:
            told = f"{last}. It was tried several times"
            if not last.reached:  # whoever asked knows what can be done instead
                raise Unreachable(f"{told}.") from last
            raise Unavailable(f"{told}; try again later.") from last
        except UnicodeError as error:  # a label of the host's name is empty, too long, no name
            raise DataError(f"{url} can't be asked for: its host has no name ({error}).") from error

    def _is_enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= (ATTEMPTS if self._answered else FIRST_ATTEMPTS)

    def _follow(self, url: httpx.URL, limit: int) -> Answer:
        """One attempt, along redirects within the host."""
        for _ in range(REDIRECTS + 1):
            self._keep_within_weight(url.host)
            answer = self._once(url, limit)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            url = _redirected(url, answer.headers.get("Location", ""))
        raise DataError(f"{url.host} sends from one address to the next and never answers.")

    def _once(self, url: httpx.URL, limit: int) -> Answer:
        try:
            with self._client.stream("GET", url) as response:
                self._answered = True
                self._heed_weight(url.host, response.headers)
                check_status(url, response)
                return Answer(response.status_code, _body(url, response, limit), response.headers)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            lost = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            reached = self._answered and not lost
            raise TryAgain(f"{_name(url)} doesn't answer ({reason})", reached=reached) from error

    def _heed_weight(self, host: str, headers: Mapping[str, str]) -> None:
        """If most of this minute's weight is used, let the next request wait for the next one."""
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if _is_count(used) and int(used) >= WEIGHT_PER_MINUTE * (1 - WEIGHT_KEPT_FREE):
            now = time.time()
            with contextlib.suppress(TypeError, ValueError):  # no Date: our own clock must do
                now = email.utils.parsedate_to_datetime(headers.get("Date", "")).timestamp()
            self._not_before[host] = time.monotonic() + 61 - now % 60

    def _keep_within_weight(self, host: str) -> None:
        left = self._not_before.pop(host, 0.0) - time.monotonic()
        if left > 0:
            _log.info("the weight budget of %s is nearly used: waiting %.0f s.", host, left)
            self._wait(left)


def client_options(*, proxies: bool) -> dict[str, Any]:
    """What each client of HTTP here is made with."""
    return {
        "headers": {
            "User-Agent": f"astraquant/{__version__}",
            "Accept-Encoding": "identity",  # so that a size is a size
        },
        "timeout": httpx.Timeout(20, connect=10),
        "trust_env": proxies,
        "follow_redirects": False,
    }


@contextlib.contextmanager
def usable_network() -> Iterator[None]:
    """Say what is wrong in the environment if a client can't be made in it."""
    try:
        yield
    except (httpx.InvalidURL, ImportError, OSError, ValueError) as error:
        raise DataError(
            "the network can't be used as the environment of this process says "
            f"({error}): see {_names_in_environment()}. A proxy is an address such as "
            "http://HOST:PORT; SOCKS needs a package: pip install 'httpx[socks]'."
        ) from error


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: what the venue asked for, else random and growing."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TryAgain) and error.after is not None:
        return error.after
    return tenacity.wait_random_exponential(multiplier=0.5, max=20)(state)


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    level = logging.WARNING if pause >= 10 else logging.INFO
    _log.log(level, "%s: trying again in %.1f s.", error, pause)


def check_status(url: httpx.URL, response: httpx.Response) -> None:
    """Let pass what an answer can be made of; raise for the rest."""
    status, name = response.status_code, _name(url)
    if status in (429, 418):
        raise _busy(name, status, response.headers.get("Retry-After", "").strip())
    if status == 403:
        raise DataError(
            f"{name} refuses this machine (HTTP 403: its firewall). Wait some minutes, ask for "
            "less at a time, and see whether a proxy or VPN stands between."
        )
    if status == 451:
        raise DataError(
            f"{name} doesn't serve the region you ask from (HTTP 451). The hosts for market data "
            f'alone usually do: source="binance" with {MARKET_DATA} and {ARCHIVES}; if the '
            f"environment variable {REST_VARIABLE} names another host, set it to {MARKET_DATA}."
        )
    if status >= 500:
        raise TryAgain(f"{name} has trouble of its own (HTTP {status})")
    if status not in (200, 301, 302, 303, 307, 308, 400, 404):
        raise DataError(f"{name} answers HTTP {status}, which nothing is known to do about.")


def _busy(name: str, status: int, told: str) -> Exception:
    """429: asked too much; 418: went on in spite of it. Wait if that isn't long."""
    seconds = int(told) if _is_count(told) else NO_WAIT_TOLD
    if seconds <= LONGEST_WAIT:
        return TryAgain(f"{name} was asked too much (HTTP {status})", seconds)
    until = parse_time(round(time.time() + seconds) * 1000)
    return Unavailable(
        f"{name} was asked too much and refuses this machine for {seconds} s, until {until} "
        f"(HTTP {status}). Try again then: what was loaded until now is kept. Other programs on "
        "this machine or network count too.",
        seconds,
    )


def _names_in_environment() -> str:
    """The variables that httpx heeds, as far as they are set; a proxy's value may be a secret."""
    heeded = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return ", ".join(name for name in os.environ if name.upper() in heeded) or "its proxies"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _body(url: httpx.URL, response: httpx.Response, limit: int) -> bytes:
    """The whole body if it is no larger than ``limit`` bytes."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise DataError(f"{_name(url)} packs its answer ({encoding!r}) although asked not to.")
    parts, size = [], 0
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise TooLarge(
                f"{_name(url)} answers with more than {limit:,} bytes, more than what was asked "
                "for can have. Nothing of it is used."
            )
    return b"".join(parts)


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect leads, if it stays with the host."""
    target = url.join(location)
    if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
        raise DataError(
            f"{url.scheme}://{url.netloc.decode()} sends on to another host, "
            f"{target.scheme}://{target.netloc.decode()}; that is not followed. Is there a proxy "
            "or a login page between? Open the first address in a browser to see."
        )
    return target


def _name(url: httpx.URL) -> str:
    """An address as an error names it: without its query."""
    return str(url.copy_with(query=None))
