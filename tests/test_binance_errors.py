"""What can't be loaded, and whether the error says why and what to do instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive_files import asked

from astraquant.data import load_candles
from astraquant.data.cache import Cache
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange

INFO = "/api/v3/exchangeInfo"


def table(days: int = 2) -> pd.DataFrame:
    """Minutes from March 24, 2023 on that go nowhere."""
    times = pd.date_range("2023-03-24", periods=days * 1440, freq="1min", tz="UTC", name="time")
    values = np.full((len(times), 5), 100.0)
    return pd.DataFrame(values, times, ["open", "high", "low", "close", "volume"])


@pytest.fixture(scope="module")
def exchange() -> Iterator[SimulatedExchange]:
    markets = {name: table() for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    with SimulatedExchange(markets, speed=0, start="2023-03-25 12:00:20") as venue:
        yield venue


@pytest.fixture
def venue(
    exchange: SimulatedExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SimulatedExchange:
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "cache"))
    exchange.ledger.requests.clear()
    return exchange


def test_an_unknown_symbol_of_a_small_exchange(venue: SimulatedExchange) -> None:
    with pytest.raises(DataError) as caught:
        load_candles("BTCUSDC", "1m", source=venue.url)
    told = str(caught.value)
    assert "unknown symbol of the simulated exchange 'BTCUSDC'. " in told
    assert "Did you mean 'BTCUSDT'? Known: BTCUSDT, ETHUSDT, SOLUSDT." in told
    assert asked(venue) == ["time", "klines", "exchangeInfo"]
    with pytest.raises(DataError, match="unknown symbol of .* 'DOGEUSD'"):
        load_candles("DOGEUSD", "1m", start="2023-03-24", end="2023-03-25", source=venue.url)
    assert Cache().entries() == []


def test_an_unknown_symbol_of_a_large_exchange(venue: SimulatedExchange, market_data: Path) -> None:
    body = pd.read_csv(  # the real list of 2021, one long line
        market_data / "rest/cryptofeed_BINANCE.0.exchangeInfo.txt.gz", sep="\0", header=None
    ).iloc[0, 0]
    listed = json.loads(body[body.index("{") :])
    venue.answer(INFO, body=json.dumps(listed).encode())
    with pytest.raises(DataError) as caught:
        load_candles("BTCUSD", "1m", source=venue.url)
    told = str(caught.value)
    assert "Did you mean 'BTCUSDT'?" in told or "Did you mean 'BTCUSDC'?" in told
    assert f"These are the nearest of {len(listed['symbols']):,}." in told
    assert len(told) < 400


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"symbols": [1]}', b'{"symbols": null}'])
def test_an_unknown_symbol_where_none_are_listed(body: bytes, venue: SimulatedExchange) -> None:
    venue.answer(INFO, body=body)
    with pytest.raises(
        DataError, match="has no symbol 'BTCUSDC'. Is it spelled as on the exchange"
    ):
        load_candles("BTCUSDC", "1m", source=venue.url)


def test_a_timeframe_that_the_exchange_lacks(venue: SimulatedExchange) -> None:
    with pytest.raises(DataError, match=r"no 1s candles of BTCUSDT \('Invalid interval.*resample"):
        load_candles("BTCUSDT", "1s", source=venue.url)


@pytest.mark.parametrize(
    "symbol",
    [
        "../../etc/passwd",
        "BTCUSDT?x=1",
        "BTCUSDT&limit=5",
        "BTCUSDT#",
        "%2e%2e",
        "%2e%2e%2fBTCUSDT",
        "BTC/USDT",
        "BTC\\USDT",
        "BTCUSDT\0",
        "BTCUSDT\n",
        "BTCUSDT\r\nX-Evil: 1",
        " BTCUSDT",
        "<b>BTC</b>",
        "';DROP TABLE--",
        "ＢＴＣＵＳＤＴ",
        "BTCUSDТ",  # the last letter is Cyrillic
        "BTCUSDT\u202e",
        "btcusdt",
        "",
        "B" * 21,
    ],
)
def test_symbols_that_are_more_than_that(symbol: str, venue: SimulatedExchange) -> None:
    with pytest.raises(DataError, match="is no symbol: expected 2 to 20 capital letters"):
        load_candles(symbol, "1m", source=venue.url)
    assert asked(venue) == []


@pytest.mark.parametrize(
    "timeframe", ["1m/../../x", "1m?x", "1m\0", "1M\n", "١m", "1mo", "", "1m "]
)
def test_timeframes_that_are_more_than_that(timeframe: str, venue: SimulatedExchange) -> None:
    with pytest.raises(DataError, match="unknown timeframe"):
        load_candles("BTCUSDT", timeframe, source=venue.url)
    assert asked(venue) == []


def test_a_symbol_of_windows_devices_is_only_unknown(venue: SimulatedExchange) -> None:
    with pytest.raises(DataError, match="unknown symbol of .* 'CON'"):
        load_candles("CON", "1m", source=venue.url)


def test_spans_that_are_none(venue: SimulatedExchange) -> None:
    with pytest.raises(DataError, match="is not before end"):
        load_candles("BTCUSDT", start="2023-03-25", end="2023-03-24", source=venue.url)
    assert asked(venue) == []
    for start in ("2023-03-25 12:00", "2023-03-25 12:00:20", "2030-01-01", "9999"):
        with pytest.raises(DataError) as caught:
            load_candles("BTCUSDT", start=start, source=venue.url)
        told = str(caught.value)
        assert "there are no 1m candles yet" in told
        assert "by the clock of the simulated exchange it is 2023-03-25 12:00:20+00:00" in told
        assert "the last closed candle opened at 2023-03-25 11:59:00+00:00" in told
    with pytest.raises(DataError, match=r"from 2023-03-24 00:00:00.00:00 on; .* begins earlier"):
        load_candles("BTCUSDT", start="2023-03-23 23:59", source=venue.url)


def test_the_cures_work_word_for_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path))
    times = pd.date_range("2023-03-24 10:00:07", periods=600, freq="1s", tz="UTC", name="time")
    with SimulatedExchange(
        table().iloc[:600].set_axis(times), speed=0, start="2023-03-24 10:05"
    ) as venue:

        def refusal(**span: str) -> str:
            with pytest.raises(DataError) as caught:
                load_candles("BTCUSDT", "1s", source=venue.url, **span)
            return str(caught.value)

        told = refusal(start="2023-03-24")
        assert 'begins earlier. Say start="2023-03-24 10:00:07", or leave start= out.' in told
        found = load_candles("BTCUSDT", "1s", start="2023-03-24 10:00:07", source=venue.url)
        assert found.equals(load_candles("BTCUSDT", "1s", source=venue.url))
        cure = 'Say an end= after that, and start="2023-03-24 10:00:07" or no start=.'
        for span in ({}, {"start": "2021-01"}, {"start": "2023-03-24 10:00:01"}):
            told = refusal(**span, end="2023-03-24 10:00:07")
            assert "ends before 2023-03-24 10:00:07+00:00" in told
            assert told.endswith(cure)


def test_no_candle_has_closed_yet() -> None:
    for start in ("2023-03-24", "2023-03-24 00:00:30"):  # none at all; one that is forming
        with SimulatedExchange(table(), speed=0, start=start) as venue:
            for begin in (None, "2023-03-23"):
                with pytest.raises(DataError, match=r"no 1m candles of BTCUSDT yet\. Ask again"):
                    load_candles("BTCUSDT", start=begin, source=venue.url)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<!doctype html>", "no JSON. Is it the right address, or is there a login page"),
        (b"[]", "doesn't answer as an exchange does: its time is b'\\[\\]'"),
        (b'{"serverTime": "1679745620000"}', "doesn't answer as an exchange does"),
        (b'{"serverTime": 12}', "the time of http.*=12 is no moment"),
    ],
)
def test_what_is_no_exchange(body: bytes, told: str, venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/time", body=body)
    with pytest.raises(DataError, match=told):
        load_candles("BTCUSDT", source=venue.url)


def test_a_server_of_something_else(venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/time", status=404)
    with pytest.raises(
        DataError, match="doesn't exist .HTTP 404.. Is .* the address of an exchange, without"
    ):
        load_candles("BTCUSDT", source=venue.url)


def test_another_refusal_is_passed_on(venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/klines", status=400, body=b'{"code": -1003, "msg": "Way too much"}')
    with pytest.raises(DataError, match=r"refuses .*'Way too much' \(code -1003\)"):
        load_candles("BTCUSDT", source=venue.url)
    venue.answer("/api/v3/klines", status=400, body=b"[]")
    with pytest.raises(DataError, match=r"refuses .*\(code None\)"):
        load_candles("BTCUSDT", source=venue.url)


def test_a_market_without_candles(venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/klines", body=b"[]")
    with pytest.raises(DataError, match="has no 1m candles of BTCUSDT yet"):
        load_candles("BTCUSDT", source=venue.url)
