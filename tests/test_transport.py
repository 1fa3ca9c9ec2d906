"""HTTP as the loader speaks it, over real sockets: patience, limits, hosts."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pandas as pd
import pytest

from astraquant import __version__
from astraquant.data.transport import ATTEMPTS, FIRST_ATTEMPTS, Transport
from astraquant.data.venues import TooLarge, Unreachable
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange

PATH = "/some/file"


@pytest.fixture(scope="module")
def exchange() -> Iterator[SimulatedExchange]:
    times = pd.date_range("2023-03-24", periods=3, freq="1min", tz="UTC", name="time")
    table = pd.DataFrame(np.ones((3, 5)), times, ["open", "high", "low", "close", "volume"])
    with SimulatedExchange(table, speed=0) as venue:
        yield venue


@pytest.fixture
def venue(exchange: SimulatedExchange) -> SimulatedExchange:
    exchange.ledger.requests.clear()
    return exchange


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def transport(waits: list[float]) -> Iterator[Transport]:
    """A transport that notes how long it would wait instead of waiting."""
    with Transport(proxies=False, wait=waits.append) as transport:
        yield transport


def test_trouble_that_passes_is_waited_out(
    venue: SimulatedExchange, transport: Transport, waits: list[float]
) -> None:
    venue.answer(PATH, body=b"here")
    venue.answer(PATH, status=502)
    venue.answer(PATH, status=503, times=2)
    answer = transport.get(venue.url + PATH, {"a": "b&c"})
    assert (answer.status, answer.body) == (200, b"here")
    assert [entry.status for entry in venue.ledger.requests] == [503, 503, 502, 200]
    assert {entry.target for entry in venue.ledger.requests} == {f"{PATH}?a=b%26c"}
    assert len(waits) == 3
    assert all(0 <= wait <= 0.5 * 2**k for k, wait in enumerate(waits))
    assert len(set(waits)) == 3  # by chance, so that clients don't come back all at once


def test_trouble_that_stays_is_told(venue: SimulatedExchange, transport: Transport) -> None:
    venue.answer(PATH, status=500, times=ATTEMPTS)
    with pytest.raises(DataError, match=r"/some/file has trouble of its own \(HTTP 500\).*later"):
        transport.get(venue.url + PATH)
    assert len(venue.ledger.requests) == ATTEMPTS


def test_a_redirect_to_nowhere_is_trouble(venue: SimulatedExchange, transport: Transport) -> None:
    venue.answer(PATH, status=302, headers={"Location": "http://a:b"}, times=FIRST_ATTEMPTS * 2)
    with pytest.raises(DataError, match="Invalid URL in location header"):
        transport.get(venue.url + PATH)


def test_a_cut_body_is_loaded_again(
    venue: SimulatedExchange, transport: Transport, waits: list[float]
) -> None:
    venue.answer(PATH, body=b"whole")
    venue.answer(PATH, body=b"who", headers={"Content-Length": "5"})
    assert transport.get(venue.url + PATH).body == b"whole"
    assert len(waits) == 1


def test_the_wait_that_is_asked_for_is_kept(venue: SimulatedExchange) -> None:
    venue.answer(PATH, body=b"here")
    venue.answer(PATH, status=429, headers={"Retry-After": "1"})
    with Transport(proxies=False) as transport:
        assert transport.get(venue.url + PATH).body == b"here"
    first, second = venue.ledger.requests
    assert second.clock - first.clock >= 1


@pytest.mark.parametrize(
    ("status", "told", "wait"),
    [(418, "120", 120), (429, None, 60), (429, "soon", 60), (418, "0", 0)],
)
def test_how_long_it_waits(
    status: int,
    told: str | None,
    wait: float,
    venue: SimulatedExchange,
    transport: Transport,
    waits: list[float],
) -> None:
    venue.answer(PATH, body=b"here")
    venue.answer(PATH, status=status, headers={} if told is None else {"Retry-After": told})
    assert transport.get(venue.url + PATH).body == b"here"
    assert waits == [wait]


def test_a_long_ban_is_told_with_its_end(
    venue: SimulatedExchange, transport: Transport, waits: list[float]
) -> None:
    venue.answer(PATH, status=418, headers={"Retry-After": "86400"})
    with pytest.raises(DataError) as caught:
        transport.get(venue.url + PATH)
    told = re.search(r"for 86400 s, until (.{25}) \(HTTP 418\)", str(caught.value))
    assert told
    assert abs(pd.Timestamp(told[1]).timestamp() - time.time() - 86400) < 60
    assert (len(venue.ledger.requests), waits) == (1, [])


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, "firewall.*proxy"),
        (451, "region.*data-api.*ASTRAQUANT_BINANCE_REST"),
        (405, "HTTP 405"),
    ],
)
def test_refusals_are_told_at_once(
    status: int, told: str, venue: SimulatedExchange, transport: Transport
) -> None:
    venue.answer(PATH, status=status)
    with pytest.raises(DataError, match=told):
        transport.get(venue.url + PATH)
    assert len(venue.ledger.requests) == 1


def test_most_of_the_weight_used_means_to_wait_for_the_next_minute(
    venue: SimulatedExchange, transport: Transport, waits: list[float]
) -> None:
    told = {"X-MBX-USED-WEIGHT-1M": "4799", "Date": "Fri, 24 Mar 2023 12:00:20 GMT"}
    venue.answer(PATH, headers=told, times=1)
    transport.get(venue.url + PATH)
    venue.answer(PATH, headers={**told, "X-MBX-USED-WEIGHT-1M": "4800"})
    transport.get(venue.url + PATH)
    assert waits == []
    venue.answer(PATH)
    transport.get(venue.url.replace("127.0.0.1", "localhost") + PATH)  # another host: no matter
    assert waits == []
    venue.answer(PATH, times=2)
    transport.get(venue.url + PATH)
    assert len(waits) == 1
    assert 35 < waits[0] <= 41  # the minute had 40 s left
    transport.get(venue.url + PATH)
    assert len(waits) == 1


def test_redirects_stay_with_the_host(venue: SimulatedExchange, transport: Transport) -> None:
    venue.answer(PATH, status=302, headers={"Location": "/other/place?x=1"})
    venue.answer("/other/place", body=b"here")
    assert transport.get(venue.url + PATH).body == b"here"
    assert [entry.target for entry in venue.ledger.requests] == [PATH, "/other/place?x=1"]


@pytest.mark.parametrize(
    "location",
    ["http://example.org/x", "//example.org/x", "https://127.0.0.1/x", "http://127.0.0.1:1/x"],
)
def test_redirects_to_another_host_are_not_followed(
    location: str, venue: SimulatedExchange, transport: Transport
) -> None:
    venue.answer(PATH, status=301, headers={"Location": location})
    with pytest.raises(DataError, match="not followed") as caught:
        transport.get(venue.url + PATH)
    assert venue.url in str(caught.value)
    assert location.removesuffix("/x").rpartition("//")[2] in str(caught.value)


def test_redirects_in_a_circle(venue: SimulatedExchange, transport: Transport) -> None:
    venue.answer(PATH, status=307, headers={"Location": PATH}, times=4)
    with pytest.raises(DataError, match="never answers"):
        transport.get(venue.url + PATH)
    assert len(venue.ledger.requests) == 4


def test_an_answer_may_be_as_large_as_the_limit(
    venue: SimulatedExchange, transport: Transport, waits: list[float]
) -> None:
    venue.answer(PATH, body=bytes(1000), times=2)
    assert len(transport.get(venue.url + PATH, limit=1000).body) == 1000
    with pytest.raises(TooLarge, match="more than 999 bytes"):
        transport.get(venue.url + PATH, limit=999)
    assert waits == []


def test_packed_answers_are_refused(venue: SimulatedExchange, transport: Transport) -> None:
    venue.answer(PATH, body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    with pytest.raises(DataError, match="packs its answer .'gzip'. although asked not to"):
        transport.get(venue.url + PATH)


def test_what_is_missing_or_wrong_is_the_callers_matter(
    venue: SimulatedExchange, transport: Transport
) -> None:
    for status in (400, 404):
        venue.answer(PATH, status=status, body=b"why")
        assert transport.get(venue.url + PATH)[:2] == (status, b"why")


def test_nobody_listens(venue: SimulatedExchange, transport: Transport, waits: list[float]) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        nowhere = f"http://127.0.0.1:{closed.server_port}/x"
    with pytest.raises(Unreachable, match=r"/x doesn't answer \(.*tried several times\.$"):
        transport.get(nowhere)
    assert len(waits) == FIRST_ATTEMPTS - 1
    venue.answer(PATH)
    transport.get(venue.url + PATH)  # there is a network: now it is worth more attempts
    waits.clear()
    with pytest.raises(Unreachable):
        transport.get(nowhere)
    assert len(waits) == ATTEMPTS - 1


@pytest.mark.parametrize("host", ["a..b", "xn--a", "a" * 64 + ".example"])
def test_hosts_that_have_no_name(host: str, transport: Transport, waits: list[float]) -> None:
    with pytest.raises(DataError, match=f"http://{host}/x can't be asked for"):
        transport.get(f"http://{host}/x")
    assert waits == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "socks5://user:secret@127.0.0.1:9"),  # needs a package that isn't there
        ("HTTP_PROXY", "http://user:secret@x:port"),
        ("ALL_PROXY", "gopher://user:secret@127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nowhere/secret.pem"),
    ],
)
def test_an_environment_that_can_not_be_used(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(DataError, match=f"can't be used .*{variable}.*httpx") as caught:
        Transport()
    assert "secret" not in str(caught.value)  # a proxy's address may hold a password
    Transport(proxies=False).__exit__(None, None, None)  # this machine is asked without them


def test_what_is_said_of_us() -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(dict(self.headers)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with Transport(proxies=False) as transport:
            told = json.loads(transport.get(f"http://127.0.0.1:{server.server_port}/").body)
        thread.join()
    assert told["User-Agent"] == f"astraquant/{__version__}"
    assert told["Accept-Encoding"] == "identity"
    assert "Authorization" not in told
