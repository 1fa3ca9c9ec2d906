"""Which addresses may be asked, and what an exchange is called."""

from __future__ import annotations

import pytest

from astraquant.data.months import VENUE
from astraquant.data.venues import (
    ARCHIVE_VARIABLE,
    ARCHIVES,
    HOSTS,
    MARKET_DATA,
    REST_VARIABLE,
    Venue,
    find_venue,
    identified,
)
from astraquant.errors import DataError


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REST_VARIABLE, raising=False)
    monkeypatch.delenv(ARCHIVE_VARIABLE, raising=False)


def test_binance_is_asked_where_market_data_is_served() -> None:
    venue = find_venue("binance")
    assert venue == Venue(MARKET_DATA, ARCHIVES, "binance", "Binance")
    assert identified(venue, {"X-Simulated-Market": "0123456789ab"}) is venue  # never overruled
    assert not venue.is_local


@pytest.mark.parametrize("host", HOSTS)
def test_each_of_its_hosts_is_the_same_exchange(host: str) -> None:
    venue = find_venue(f"https://{host}")
    assert (venue.name, venue.label, venue.archive) == ("binance", "Binance", ARCHIVES)
    assert venue.rest == (MARKET_DATA if host == "data.binance.vision" else f"https://{host}")
    assert find_venue(f"HTTPS://{host.upper()}:443/") == venue


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080", "http://localhost:1/", "http://[::1]:9"]
)
def test_this_machine_may_be_named(address: str) -> None:
    venue = find_venue(address)
    assert venue == Venue(address.rstrip("/"), address.rstrip("/"))
    assert venue.is_local


def test_the_environment_may_name_any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REST_VARIABLE, " http://mirror.example:81/binance/ ")
    venue = find_venue("binance")
    # Archives of another exchange must not mix in.
    assert (venue.rest, venue.archive) == ("http://mirror.example:81/binance",) * 2
    assert identified(venue, {}).name == "mirror.example_81_binance"
    assert identified(venue, {}).label == "mirror.example:81"
    monkeypatch.setenv(ARCHIVE_VARIABLE, ARCHIVES)
    assert find_venue("binance").archive == ARCHIVES
    assert not find_venue("binance").name  # still not Binance's prices

    monkeypatch.setenv(REST_VARIABLE, "https://api.binance.com")
    assert find_venue("binance") == Venue("https://api.binance.com", ARCHIVES, "binance", "Binance")
    monkeypatch.setenv(ARCHIVE_VARIABLE, "https://files.example")
    assert identified(find_venue("binance"), {}).name == "files.example"
    assert find_venue("https://api1.binance.com").archive == ARCHIVES  # an argument is an argument


@pytest.mark.parametrize(
    "value", ["mirror.example", "ftp://a.b", "https://user:key@a.b", "http://a b"]
)
def test_an_environment_that_names_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REST_VARIABLE, value)
    with pytest.raises(
        DataError, match=f"environment variable {REST_VARIABLE} is .*Mend or remove"
    ):
        find_venue("binance")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://example.org", "host 'example.org' is none that source= may name"),
        ("https://api.binance.com.example.org", "host 'api.binance.com.example.org' is none"),
        ("https://api.binance.us", "none that source= may name"),
        ("https://аpi.binance.com", "no address"),  # the first letter is Cyrillic
        ("https://api.binance.com.", "no address"),
        ("https://api.binance.com@example.org", "no address"),
        ("https://example.org#api.binance.com", "no address"),
        ("https://example.org\\api.binance.com", "no address"),
        ("https://api.binance.com?x=1", "no address"),
        ("https://api.binance.com/../x", "no address"),
        ("https://api.binance.com/%2e%2e", "no address"),
        ("https://api.binance.com/api", "no address"),
        ("https://api.binance.com\n", "no address"),
        ("https://api.binance.com\0", "no address"),
        (" https://api.binance.com", "no address"),
        ("http://api.binance.com", "by https on its own port"),
        ("https://api.binance.com:8443", "by https on its own port"),
        ("http://127.0.0.1.example.org", "none that source= may name"),
        ("http://127.0.0.1:99999", "port 99999; expected one up to 65535"),
        ("http://10.0.0.1", "none that source= may name"),
        ("http://2130706433", "none that source= may name"),  # 127.0.0.1 as one number
        ("http://0.0.0.0:80", "none that source= may name"),
        ("http://169.254.169.254", "none that source= may name"),
        ("wss://stream.binance.com:9443", "no address"),
        ("file:///etc/passwd", "no address"),
    ],
)
def test_addresses_that_may_not_be_asked(address: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        find_venue(address)


def test_a_simulated_exchange_says_what_it_is() -> None:
    headers = {"X-Simulated-Market": "0123456789ab", "X-Simulated-Source": "my\n\x1b[1m file"}
    venue = identified(find_venue("http://127.0.0.1:8080"), headers)
    assert venue.name == "simulated-0123456789ab"
    assert venue.label == "simulated exchange: my[1m file"
    assert venue.market == "0123456789ab"
    assert venue.called == "the simulated exchange"
    for market in ("../../etc/x", "0123456789AB", "0123456789ab0"):
        with pytest.raises(DataError, match="expected 12 hex digits"):
            identified(find_venue("http://127.0.0.1:8080"), {"X-Simulated-Market": market})


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1_8080"),
        ("http://[::1]:80", "1_80"),
        ("http://localhost", "localhost"),
    ],
)
def test_any_other_is_called_by_its_address(address: str, name: str) -> None:
    venue = identified(find_venue(address), {})
    assert venue.name == name
    assert venue.called == venue.label
    assert VENUE.fullmatch(venue.name)
