"""REST answers against recorded ones, the documented errors and a naive reading of the table."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant.exchange.market import Market
from astraquant.exchange.rest import Answer, Limiter, Rest, assets_of
from astraquant.timeframes import HOUR, MINUTE, from_ms

START = 1_735_682_400_000  # 2024-12-31 22:00
BARS = 1500
NOW = START + BARS * MINUTE  # all bars are closed


def small_table(bars: int = BARS, seed: int = 1, tick: float = 0.01) -> pd.DataFrame:
    """Minutes with prices on a tick and volumes of 5 decimals."""
    random = np.random.default_rng(seed)
    close = 10_000 + random.integers(-50, 51, bars).cumsum()
    open_ = close + random.integers(-20, 21, bars)
    high = np.maximum(open_, close) + random.integers(0, 9, bars)
    low = np.minimum(open_, close) - random.integers(0, 9, bars)
    values = {
        name: (column * tick).round(8)
        for name, column in zip(
            ("open", "high", "low", "close"), (open_, high, low, close), strict=True
        )
    }
    values["volume"] = (random.integers(1, 10**6, bars) * 1e-5).round(8)
    times = START + MINUTE * np.arange(bars, dtype=np.int64)
    return pd.DataFrame(values, index=from_ms(times)).astype("float64")


MARKET = Market(small_table(), "BTCUSDT")
OTHER = Market(small_table(200, seed=2, tick=0.1), "ETHUSDT")
MARKETS = {"BTCUSDT": MARKET, "ETHUSDT": OTHER}


def ask(
    path: str, now: int = NOW, rest: Rest | None = None, headers: dict[str, str] | None = None,
    **query: object,
) -> Answer:  # fmt: skip
    rest = rest or Rest(MARKETS, "content")
    return rest.answer(f"/api/v3/{path}?{urlencode(query)}".rstrip("?"), now, 0.0, headers)


def good(path: str, now: int = NOW, **query: object) -> Any:
    answer = ask(path, now, **query)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def naive_rows(start: int | None, end: int | None, limit: int, now: int) -> list[int]:
    """Open times that a request for minutes is answered with, by walking through all of them."""
    times = [START + MINUTE * row for row in range(BARS)]
    times = [time for time in times if time <= now]
    times = [time for time in times if start is None or start <= time]
    times = [time for time in times if end is None or time <= end]
    return times[:limit] if start is not None else times[-limit:]


# Good answers.


def test_ping_and_time() -> None:
    answer = ask("ping")
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert ask("time", now=START + 7).body == b'{"serverTime":%d}' % (START + 7)


SPANS = [
    (None, None), (START, None), (None, START), (START + 90 * MINUTE, None),
    (START + 1, START + 5 * MINUTE), (START, START), (START + 1, START + 2), (0, None), (None, 0),
    (None, START + 90 * MINUTE + 1), (START + 5 * MINUTE, START), (NOW, None), (0, 2**63 - 1),
    (START - 5 * MINUTE, START + 600 * MINUTE), (START + 1495 * MINUTE, NOW + HOUR),
]  # fmt: skip


@pytest.mark.parametrize("limit", [None, 1, 3, 1000, 1001, 5000])
@pytest.mark.parametrize(("start", "end"), SPANS)
def test_klines_of_a_span(start: int | None, end: int | None, limit: int | None) -> None:
    query = {"startTime": start, "endTime": end, "limit": limit}
    query = {name: value for name, value in query.items() if value is not None}
    for now in (NOW, START + 700 * MINUTE + 30_000, START + 30_000, START - 1):
        rows = good("klines", now, symbol="BTCUSDT", interval="1m", **query)
        expected = naive_rows(start, end, min(limit or 500, 1000), now)
        assert [row[0] for row in rows] == expected


def test_kline_rows_say_what_the_table_says() -> None:
    rows = good("klines", symbol="BTCUSDT", interval="1m", startTime=START, limit=1000)
    table = small_table().iloc[:1000]
    assert [row[0] for row in rows] == [START + MINUTE * n for n in range(1000)]
    for place, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        assert [row[place] for row in rows] == [f"{value:.8f}" for value in table[name]]
    assert all(row[6] == row[0] + MINUTE - 1 for row in rows)
    assert all(row[11] == "0" for row in rows)


def test_the_last_row_may_be_forming() -> None:
    now = START + 30 * MINUTE + 30_000
    rows = good("klines", now, symbol="BTCUSDT", interval="5m")
    whole = good("klines", symbol="BTCUSDT", interval="5m", endTime=now)
    assert [row[0] for row in rows] == [row[0] for row in whole]
    assert rows[:-1] == whole[:-1]
    assert rows[-1] != whole[-1]
    assert rows[-1][6] == START + 35 * MINUTE - 1 > now
    assert 0 < float(rows[-1][5]) < float(whole[-1][5])


def test_times_may_be_microseconds() -> None:
    query = {"symbol": "BTCUSDT", "interval": "1m", "limit": 3, "startTime": START + MINUTE}
    plain = json.loads(ask("klines", **query).body)
    for unit in ("MICROSECOND", "microsecond"):
        finer = json.loads(ask("klines", headers={"x-mbx-TIME-unit": unit}, **query).body)
        assert [row[0] for row in finer] == [row[0] * 1000 for row in plain]
        assert [row[6] for row in finer] == [row[6] * 1000 + 999 for row in plain]
        assert [row[1:6] + row[7:] for row in finer] == [row[1:6] + row[7:] for row in plain]
    query["startTime"] = (START + MINUTE) * 1000
    assert (
        json.loads(ask("klines", headers={"X-MBX-TIME-UNIT": "MILLISECOND"}, **query).body) == plain
    )
    trades = json.loads(ask("aggTrades", symbol="BTCUSDT", limit=2).body)
    finer = json.loads(
        ask("aggTrades", headers={"X-MBX-TIME-UNIT": "MICROSECOND"}, symbol="BTCUSDT", limit=2).body
    )
    assert finer == [trade | {"T": trade["T"] * 1000} for trade in trades]
    answer = ask("time", now=5, headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert answer.body == b'{"serverTime":5000}'
    answer = ask("time", headers={"X-MBX-TIME-UNIT": "SECOND"})
    assert (answer.status, json.loads(answer.body)["code"]) == (400, -1194)


def test_agg_trades_from_an_id_of_a_span_and_the_newest() -> None:
    after = good("aggTrades", symbol="BTCUSDT", startTime=START, endTime=START + 5 * MINUTE)
    ids = [trade["a"] for trade in after]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(START <= trade["T"] <= START + 5 * MINUTE for trade in after)
    assert [trade["f"] for trade in after[1:]] == [trade["l"] + 1 for trade in after[:-1]]

    third = good("aggTrades", symbol="BTCUSDT", fromId=ids[2], limit=4)
    assert third == after[2:6], "fromId is inclusive"
    now = after[8]["T"]
    assert good("aggTrades", now, symbol="BTCUSDT", fromId=ids[5]) == after[5:9]
    assert good("aggTrades", now, symbol="BTCUSDT", limit=2) == after[7:9]
    assert good("aggTrades", symbol="BTCUSDT", endTime=now, limit=2) == after[7:9]
    assert good("aggTrades", now, symbol="BTCUSDT", startTime=after[3]["T"]) == after[3:9]
    assert good("aggTrades", now, symbol="BTCUSDT", fromId=ids[-1] + 10**6) == []
    assert len(good("aggTrades", symbol="BTCUSDT")) == 500
    assert len(good("aggTrades", symbol="BTCUSDT", limit=9999)) == 1000

    volume = sum(round(float(trade["q"]) * 1e8) for trade in after if trade["T"] < START + MINUTE)
    assert volume == round(small_table()["volume"].iloc[0] * 1e8)


def test_exchange_info_of_all_one_and_some() -> None:
    every = good("exchangeInfo", now=77)
    assert (every["timezone"], every["serverTime"]) == ("UTC", 77)
    assert [info["symbol"] for info in every["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000,
    } in every["rateLimits"]  # fmt: skip
    one = good("exchangeInfo", symbol="ETHUSDT")["symbols"]
    assert one == every["symbols"][1:]
    assert (
        good("exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]')["symbols"] == every["symbols"][::-1]
    )
    filters = {entry["filterType"]: entry for entry in every["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    (info,) = one
    assert (info["status"], info["baseAsset"], info["quoteAsset"]) == ("TRADING", "ETH", "USDT")
    assert info["filters"][0]["tickSize"] == "0.10000000"


@pytest.mark.parametrize(
    ("symbol", "assets"),
    [
        ("BTCUSDT", ("BTC", "USDT")), ("ETHBTC", ("ETH", "BTC")), ("BTCFDUSD", ("BTC", "FDUSD")),
        ("USDTTRY", ("USDT", "TRY")), ("USDCUSDT", ("USDC", "USDT")), ("BTCXYZ", ("BTC", "XYZ")),
        ("BTC", ("BTC", "BTC")), ("X", ("X", "X")),
    ],
)  # fmt: skip
def test_the_assets_of_a_symbol(symbol: str, assets: tuple[str, str]) -> None:
    assert assets_of(symbol) == assets


def test_answers_say_that_they_are_simulated() -> None:
    first, other = ask("ping", rest=Rest(MARKETS, "a")), ask("ping", rest=Rest(MARKETS, "b"))
    mark = first.headers["X-Simulated-Market"]
    assert len(mark) == 12
    assert int(mark, 16) >= 0
    assert mark == ask("klines", rest=Rest({}, "a")).headers["X-Simulated-Market"]
    assert mark != other.headers["X-Simulated-Market"]
    table = small_table(10)
    table.attrs["source"] = "prix d'été\r\nX-Evil: 1"
    labelled = ask("nothing", rest=Rest({"A": Market(table, "A"), "B": Market(table, "B")}))
    assert labelled.headers["X-Simulated-Source"] == "prix d'?t???X-Evil: 1"


# Against recorded answers.


def shape(value: Any) -> Any:
    """Keys in their order and types; decimals of a number in a string."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str) and value.replace(".", "").isdigit():
        return len(value.partition(".")[2])
    return type(value)


def test_the_shape_of_recorded_klines_and_trades(market_data: Path) -> None:
    for path, query in (("klines", {"interval": "1m"}), ("aggTrades", {})):
        name = {"klines": "klines", "aggTrades": "agg_trades"}[path]
        file = market_data / "rest" / f"nautilus_http_spot_market_{name}.json"
        real = json.loads(file.read_text())
        made = good(path, symbol="BTCUSDT", limit=len(real), **query)
        assert shape(made) == shape(real)


def test_the_shape_of_the_recorded_exchange_info(market_data: Path) -> None:
    file = market_data / "rest" / "cryptofeed_BINANCE.0.exchangeInfo.txt.gz"
    text = gzip.decompress(file.read_bytes()).decode().splitlines()[0]
    real, made = json.loads(text[text.index("{") :]), good("exchangeInfo")
    assert list(made) == list(real)
    assert list(made["rateLimits"][0]) == list(real["rateLimits"][0])
    (bitcoin,) = [info for info in real["symbols"] if info["symbol"] == "BTCUSDT"]
    ours = made["symbols"][0]
    assert list(ours) == list(bitcoin)
    equal = {key for key in bitcoin if key != "filters"}
    assert {key: ours[key] for key in equal} == {key: bitcoin[key] for key in equal}
    known = {entry["filterType"]: entry for entry in bitcoin["filters"]}
    for entry in ours["filters"]:
        assert list(entry) == list(known[entry["filterType"]])
        (size,) = [key for key in entry if key in ("tickSize", "stepSize")]
        assert entry[size] == known[entry["filterType"]][size]


def test_real_minutes_come_back_as_the_archive_has_them(market_data: Path) -> None:
    table = pd.read_parquet(
        market_data / "klines" / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet",
        filters=[("open_time", ">=", 1679529600000), ("open_time", "<", 1679616000000)],
    )
    candles = table.set_index(from_ms(table["open_time"].to_numpy()))
    candles = candles.rename(columns={"count": "trades"}).astype("float64")
    columns = ["open", "high", "low", "close", "volume", "quote_volume", "trades"]
    columns += ["taker_buy_volume", "taker_buy_quote_volume"]
    rest = Rest({"BTCUSDT": Market(candles[columns], "BTCUSDT")})
    start = 1679529600000
    query = {"symbol": "BTCUSDT", "interval": "1m", "limit": 1000}
    answers = [
        ask("klines", start + 2000 * MINUTE, rest, **query, startTime=start + first * MINUTE)
        for first in (0, 1000)
    ]
    rows = [row for answer in answers for row in json.loads(answer.body)]
    with zipfile.ZipFile(market_data / "raw_vision" / "BTCUSDT-1m-2023-03-23.zip") as archive:
        lines = io.TextIOWrapper(archive.open(archive.namelist()[0])).read().splitlines()
    assert [",".join(map(str, row)) for row in rows] == lines


# Errors.

ILLEGAL_NUMBER = "Illegal characters found in parameter '{}'; legal range is '^[0-9]{{1,20}}$'."
ILLEGAL_SYMBOL = (
    "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
)
UNREAD = "Not all sent parameters were read; read '{}' parameter(s) but was sent '{}'."
MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."


@pytest.mark.parametrize(
    ("path", "query", "code", "message"),
    [
        ("klines", "", -1102, MISSING.format("symbol")),
        ("klines", "symbol=BTCUSDT", -1102, MISSING.format("interval")),
        ("klines", "interval=1m", -1102, MISSING.format("symbol")),
        ("aggTrades", "", -1102, MISSING.format("symbol")),
        ("klines", "symbol=&interval=1m", -1105, "Parameter 'symbol' was empty."),
        ("klines", "symbol=NOUSDT&interval=1m", -1121, "Invalid symbol."),
        ("klines", "symbol=btcusdt&interval=1m", -1100, ILLEGAL_SYMBOL),
        ("klines", "symbol=BTC/USDT&interval=1m", -1100, ILLEGAL_SYMBOL),
        ("klines", "symbol=BTC%0AUSDT&interval=1m", -1100, ILLEGAL_SYMBOL),
        ("klines", "symbol=" + "A" * 21 + "&interval=1m", -1100, ILLEGAL_SYMBOL),
        ("klines", "symbol=BTCUSDT&interval=7m", -1120, "Invalid interval."),
        ("klines", "symbol=BTCUSDT&interval=1D", -1120, "Invalid interval."),
        ("klines", "symbol=BTCUSDT&interval=1s", -1120, "Invalid interval."),
        ("klines", "symbol=BTCUSDT&interval=1m&limit=ten", -1100, ILLEGAL_NUMBER.format("limit")),
        ("klines", "symbol=BTCUSDT&interval=1m&limit=-1", -1100, ILLEGAL_NUMBER.format("limit")),
        (
            "klines", "symbol=BTCUSDT&interval=1m&limit=0", -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "klines", "symbol=BTCUSDT&interval=1m&startTime=1e3", -1100,
            ILLEGAL_NUMBER.format("startTime"),
        ),
        (
            "klines", "symbol=BTCUSDT&interval=1m&endTime=2024-01-01", -1100,
            ILLEGAL_NUMBER.format("endTime"),
        ),
        (
            "klines", "symbol=BTCUSDT&interval=1m&endTime=99999999999999999999", -1108,
            "Parameter 'endTime' overflowed.",
        ),
        ("klines", "symbol=BTCUSDT&interval=1m&start=5", -1104, UNREAD.format(2, 3)),
        (
            "klines", "symbol=BTCUSDT&interval=1m&timeZone=8", -1130,
            "Data sent for parameter 'timeZone' is not valid.",
        ),
        (
            "klines", "symbol=BTCUSDT&interval=1m&symbol=BTCUSDT", -1101,
            "Duplicate values for a parameter detected.",
        ),
        (
            "aggTrades", "symbol=BTCUSDT&fromId=1&startTime=5", -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "exchangeInfo", "symbol=BTCUSDT&symbols=[]", -1128,
            "Combination of optional parameters invalid.",
        ),
        ("exchangeInfo", "symbol=NOUSDT", -1121, "Invalid symbol."),
        ("exchangeInfo", 'symbols=["NOUSDT"]', -1121, "Invalid symbol."),
        (
            "exchangeInfo", 'symbols=["BTCUSDT","BTCUSDT"]', -1151,
            "Symbol is present multiple times in the list.",
        ),
        ("ping", "x=1", -1101, "Too many parameters; expected '0' and received '1'."),
        ("time", "a=1&b=2", -1101, "Too many parameters; expected '0' and received '2'."),
    ],
    ids=range(29),
)  # fmt: skip
def test_errors_are_binances(path: str, query: str, code: int, message: str) -> None:
    answer = Rest(MARKETS).answer(f"/api/v3/{path}?{query}", NOW, 0.0)
    body = json.dumps({"code": code, "msg": message}, separators=(",", ":")).encode()
    assert (answer.status, answer.body) == (400, body)


@pytest.mark.parametrize("symbols", ["BTCUSDT", "[BTCUSDT]", "[1]", '{"a":1}', "[" * 10**5])
def test_a_list_of_symbols_must_be_json(symbols: str) -> None:
    answer = ask("exchangeInfo", symbols=symbols)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, -1100)


@pytest.mark.parametrize(
    "target",
    ["/", "", "/api/v3", "/api/v3/", "/api/v3/Klines", "/api/v3/klines/", "/api/v1/klines",
     "/api/v3/depth?symbol=BTCUSDT", "/api/v3/../v3/ping", "//api/v3/ping"],
)  # fmt: skip
def test_an_unknown_path_is_404(target: str) -> None:
    assert Rest(MARKETS).answer(target, NOW, 0.0).status == 404


WORDS = st.sampled_from(
    ["BTCUSDT", "1m", "1h", "1M", "0", "1", "5", str(START), str(NOW), str(2**63 - 1), str(2**64)]
)
QUERIES = st.dictionaries(
    st.sampled_from(["symbol", "symbols", "interval", "startTime", "endTime", "limit", "fromId"]),
    WORDS | st.text(),
)


@given(
    st.sampled_from(["ping", "time", "exchangeInfo", "klines", "aggTrades", "x"]),
    QUERIES.map(urlencode) | st.text(),
    st.booleans(),
)
def test_any_target_gets_an_answer(path: str, query: str, named: bool) -> None:
    if named:
        query = f"symbol=BTCUSDT&interval=1m&{query}"
    answer = Rest(MARKETS).answer(f"/api/v3/{path}?{query}", NOW, 0.0)
    assert answer.status in (200, 400, 404)
    if answer.status != 404:
        body = json.loads(answer.body)
        assert answer.status == 200 or set(body) == {"code", "msg"}


@given(st.text())
def test_any_path_gets_an_answer(text: str) -> None:
    assert Rest(MARKETS).answer(text, NOW, 0.0).status in (200, 400, 404)


# Limits.


def weight_of(path: str, **query: object) -> int:
    return int(ask(path, **query).headers["X-MBX-USED-WEIGHT-1M"])


def test_weights() -> None:
    assert weight_of("ping") == 1
    assert weight_of("time") == 1
    assert weight_of("exchangeInfo") == 20
    assert weight_of("klines", symbol="BTCUSDT", interval="1m") == 2
    assert weight_of("aggTrades", symbol="BTCUSDT") == 4
    assert weight_of("klines") == 2, "an error costs as much"
    assert weight_of("nothing") == 1


def test_weight_adds_up_within_a_minute() -> None:
    rest = Rest(MARKETS)
    used = [
        rest.answer("/api/v3/klines", NOW, passed).headers["X-MBX-USED-WEIGHT-1M"]
        for passed in (30.0, 59.9, 60.0, 119.0, 500.0)
    ]
    assert used == ["2", "4", "2", "4", "2"]


def test_too_much_weight_is_429_and_going_on_is_418_until_the_ban_ends() -> None:
    rest = Rest(MARKETS)

    def ping(passed: float) -> tuple[int, str | None]:
        answer = rest.answer("/api/v3/ping", NOW, passed)
        return answer.status, answer.headers.get("Retry-After")

    assert [ping(10.0) for _ in range(6000)] == [(200, None)] * 6000
    assert ping(10.2) == (429, "50")
    assert ping(59.5) == (429, "1")
    assert ping(60.0) == (200, None), "the next minute is a new one"

    assert [ping(61.0)[0] for _ in range(6000)][-1] == 429
    assert [ping(62.0) for _ in range(4)] == [(429, "58")] * 4
    assert ping(62.0) == (418, "120")
    assert ping(100.0) == (418, "82")
    assert ping(181.5) == (418, "1")
    assert ping(182.0) == (200, None)

    assert [ping(200.0)[0] for _ in range(6000)][-1] == 429
    assert [ping(200.0) for _ in range(5)][-1] == (418, "240"), "the second ban is twice as long"

    refused = rest.answer("/api/v3/klines?symbol=BTCUSDT&interval=1m", NOW, 200.0)
    error = json.loads(refused.body)
    assert error["code"] == -1003
    assert error["msg"].startswith(
        f"Way too much request weight used; IP banned until {NOW + 240_000}."
    )
    assert "X-Simulated-Market" in refused.headers


def test_the_429_says_the_limit() -> None:
    rest = Rest(MARKETS)
    answers = [rest.answer("/api/v3/exchangeInfo", NOW, 0.0) for _ in range(301)]
    assert [answer.status for answer in answers[-2:]] == [200, 429]
    assert json.loads(answers[-1].body) == {
        "code": -1003,
        "msg": "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
    }


def test_retry_after_is_in_real_seconds() -> None:
    rest = Rest(MARKETS, speed=60)
    for _ in range(300):
        rest.answer("/api/v3/exchangeInfo", NOW, 0.0)
    assert rest.answer("/api/v3/ping", NOW, 1.0).headers["Retry-After"] == "1"
    slow = Rest(MARKETS, speed=0)
    for _ in range(300):
        slow.answer("/api/v3/exchangeInfo", NOW, 0.0)
    assert slow.answer("/api/v3/ping", NOW, 1.0).headers["Retry-After"] == "59"


def test_bans_grow_up_to_three_days() -> None:
    limiter, passed, bans = Limiter(), 0.0, []
    while len(bans) < 14:
        status, wait = limiter.charge(6001, passed)
        if status == 418:
            bans.append(wait)
            passed += wait
    assert bans[:3] == [120, 240, 480]
    assert bans[-2:] == [3 * 24 * 3600] * 2
