"""Who is let in: Host, Origin and token, over real sockets and for any text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from astraquant.errors import AstraQuantError
from astraquant.serve.gate import Gate, check_binding, is_loopback

TOKEN = "a-token-of-some-length_42"


@pytest.fixture(scope="module")
def open_address() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def closed_address() -> Iterator[str]:
    with serving(token=TOKEN, names=["research.example"]) as found:
        yield found


def handshake(
    address: str, path: str = "/ws/BTCUSDT?timeframe=2m", **options: Any
) -> tuple[int, str]:
    """What a handshake gets: 422 if it was let in, for there is no such timeframe."""
    with pytest.raises(InvalidStatus) as error:
        connect(f"ws://{address}{path}", **options).__enter__()
    return error.value.response.status_code, error.value.response.body.decode()


PATHS = ["/", "/strategies", "/candles?limit=1", "/backtest/ma", "/openapi.json", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
def test_a_name_that_leads_here_by_rebinding_is_refused(open_address: str, path: str) -> None:
    answer = httpx.get(f"http://{open_address}{path}", headers={"Host": "evil.example:8000"})
    assert answer.status_code == 421
    assert "'evil.example:8000' is not served here" in answer.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_another_origin_is_refused(open_address: str, path: str) -> None:
    headers = {"Origin": "https://evil.example"}
    answer = httpx.get(f"http://{open_address}{path}", headers=headers)
    assert answer.status_code == 403
    assert "a page of 'https://evil.example' may not ask" in answer.json()["detail"]
    for name in answer.headers:
        assert not name.startswith("access-control")


def test_the_own_page_and_programs_are_let_in(open_address: str) -> None:
    port = open_address.partition(":")[2]
    url = f"http://{open_address}/strategies"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"Origin": f"http://{open_address}"}).status_code == 200
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", "localhost", f"[::1]:{port}"):
        assert httpx.get(url, headers={"Host": host}).status_code == 200, host
    same = {"Host": "localhost:1", "Origin": "http://localhost:1"}
    assert httpx.get(url, headers=same).status_code == 200
    for origin in ("null", "http://localhost:1", "http://127.0.0.1", "file://", "http://[", ""):
        answer = httpx.get(url, headers={"Host": f"localhost:{port}", "Origin": origin})
        assert answer.status_code == 403, origin


def test_what_another_page_embeds_is_refused_though_it_sends_no_origin(open_address: str) -> None:
    url = f"http://{open_address}/backtest/ma?short=5&long=20"

    def get(site: str, mode: str, target: str) -> httpx.Response:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": target}
        return httpx.get(url, headers=headers)

    for site in ("cross-site", "same-site"):  # of the same site: another port of this machine
        for mode, target in (("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")):
            answer = get(site, mode, target)
            assert answer.status_code == 403, (site, mode)
            assert "a page of another site may not ask" in answer.json()["detail"]
        assert get(site, "navigate", "document").status_code == 200  # a link was followed
    assert get("none", "navigate", "document").status_code == 200  # typed, or a bookmark
    assert get("same-origin", "cors", "empty").status_code == 200
    assert httpx.get(url, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_stream_has_the_same_gate(open_address: str) -> None:
    assert handshake(open_address)[0] == 422
    assert handshake(open_address, origin=f"http://{open_address}")[0] == 422
    status, told = handshake(open_address, origin="https://evil.example")
    assert status == 403
    assert "may not ask this server" in json.loads(told)["detail"]
    assert handshake(open_address, origin="null")[0] == 403


def test_no_answer_is_meant_for_other_sites(open_address: str) -> None:
    answer = httpx.get(f"http://{open_address}/strategies")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "server" not in answer.headers
    asked = {"Origin": f"http://{open_address}", "Access-Control-Request-Method": "GET"}
    preflight = httpx.options(f"http://{open_address}/strategies", headers=asked)
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", PATHS)
def test_every_request_needs_the_token(closed_address: str, path: str) -> None:
    url = f"http://{closed_address}{path}"
    known = 404 if path == "/nowhere" else 200
    wrong = [{}, *({"Authorization": text} for text in ("Bearer", "Bearer x", TOKEN))]
    wrong += [{"Authorization": f"Basic {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"}]
    for headers in wrong:
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    join = "&" if "?" in path else "?"
    assert httpx.get(f"{url}{join}token={TOKEN}").status_code == 401  # only for a WebSocket
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(url, headers=right, timeout=60).status_code == known
    assert httpx.get(url, headers={**right, "Host": "evil.example"}).status_code == 421
    assert httpx.get(url, headers={**right, "Origin": "http://evil.example"}).status_code == 403
    named = {**right, "Host": "research.example"}
    assert httpx.get(url, headers=named, timeout=60).status_code == known


def test_a_stream_needs_the_token_in_its_header_or_its_address(closed_address: str) -> None:
    assert handshake(closed_address)[0] == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert handshake(closed_address, additional_headers=wrong)[0] == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert handshake(closed_address, additional_headers=right)[0] == 422
    path = "/ws/BTCUSDT?timeframe=2m&token="
    assert handshake(closed_address, path + "wrong")[0] == 401
    assert handshake(closed_address, path + TOKEN)[0] == 422


def test_openapi_tells_of_the_token(open_address: str, closed_address: str) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    told = httpx.get(f"http://{closed_address}/openapi.json", headers=right).json()
    assert told["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert told["paths"]["/candles"]["get"]["security"] == [{"HTTPBearer": []}]
    plain = httpx.get(f"http://{open_address}/openapi.json").json()
    assert "securitySchemes" not in plain["components"]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "research.example", "8.8.8.8", ""]
)
def test_beyond_this_machine_only_with_a_token(host: str) -> None:
    with pytest.raises(AstraQuantError, match="there is no token. Give one"):
        check_binding(host, "")
    check_binding(host, TOKEN)
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str) -> None:
    check_binding(host, "")
    assert is_loopback(host)


@pytest.mark.parametrize("token", ["short", "x" * 15, "with a space in it ...", "ü" * 20])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    with pytest.raises(AstraQuantError, match=f"the token has {len(token)} characters") as error:
        check_binding("127.0.0.1", token)
    assert token not in str(error.value)


async def nothing(*_: Any) -> None:
    """No application: only the gate is asked."""


def scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.encode(), text.encode("latin-1")) for name, text in headers.items()]
    return {"type": "http", "headers": pairs, "query_string": b""}


def status(gate: Gate, **headers: str) -> int:
    refusal = gate.refusal(scope(**headers))
    return refusal.status if refusal else 200


def test_bound_to_all_addresses_it_answers_to_addresses_not_to_names() -> None:
    gate = Gate(nothing, "0.0.0.0", TOKEN, ["Research.Example"])
    right = f"bearer {TOKEN}"
    for host in ("192.168.1.5:8000", "10.0.0.1", "[fe80::1]:80", "localhost", "research.example"):
        assert status(gate, host=host, authorization=right) == 200, host
        assert status(gate, host=host) == 401
    for host in ("evil.example", "192.168.1.5.evil.example", "192.168.1", ""):
        assert status(gate, host=host, authorization=right) == 421, host
    alone = Gate(nothing, "192.168.1.5", TOKEN)
    assert status(alone, host="192.168.1.5:8000", authorization=right) == 200
    assert status(alone, host="192.168.1.6:8000", authorization=right) == 421


LATIN = st.text(st.characters(max_codepoint=255), max_size=30)


@given(LATIN, LATIN, LATIN)
def test_no_text_opens_the_gate(host: str, origin: str, shown: str) -> None:
    gate = Gate(nothing, "127.0.0.1", TOKEN)
    right = f"Bearer {TOKEN}"
    if host.lower().partition(":")[0] not in ("localhost", "127.0.0.1", "[", "::1"):
        assert status(gate, host=host, authorization=right) == 421
    assert status(gate, host="localhost", origin=origin, authorization=right) in (
        (200, 403) if origin.lower() in ("http://localhost", "https://localhost") else (403,)
    )
    assert status(gate, host="localhost", authorization=shown) == 401


def test_two_hosts_or_two_origins_are_none() -> None:
    gate = Gate(nothing, "127.0.0.1")
    host, origin = (b"host", b"localhost"), (b"origin", b"http://localhost")
    for headers, expected in (([host, host], 421), ([host, origin, origin], 403), ([], 421)):
        refusal = gate.refusal({"type": "http", "headers": headers, "query_string": b""})
        assert refusal is not None
        assert refusal.status == expected
    refusal = gate.refusal({"type": "http", "headers": [host, origin], "query_string": b""})
    assert refusal is None
