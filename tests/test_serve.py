"""The server over real sockets: its answers are those of the library, to the digit."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import httpx
import pandas as pd
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from served import minutes, serving

import astraquant as aq
from astraquant.indicators import rolling_std, sma
from astraquant.serve import app
from astraquant.serve.answers import iso, to_json
from astraquant.serve.catalogue import Catalogue
from astraquant.serve.desk import Limits
from astraquant.serve.query import time_of
from astraquant.strategies import Range, ma_cross, strategy
from astraquant.timeframes import from_ms, parse_time


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address}", timeout=60) as found:
        yield found


def refused(answer: httpx.Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    return answer.json()["detail"]


def same(told: Any, value: Any) -> bool:
    """Whether JSON tells this value, floats to the last digit."""
    if isinstance(value, pd.Timestamp):
        return pd.Timestamp(told) == value and told.endswith("Z")
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return told is None
    return told == value


def check_run(told: dict[str, Any], expected: aq.Backtest, source: str) -> None:
    """All of an answer equals the library's own result."""
    assert list(told["metrics"]) == list(expected.metrics.index)
    assert all(same(told["metrics"][name], value) for name, value in expected.metrics.items())
    assert len(told["trades"]) == len(expected.trades)
    for row, (_, trade) in zip(told["trades"], expected.trades.iterrows(), strict=True):
        assert list(row) == list(trade.index)
        assert all(same(row[name], value) for name, value in trade.items()), (row, trade)
    assert told["passport"] == json.loads(json.dumps(expected.passport))
    assert told["notes"] == list(expected.notes)
    assert told["pending"] == expected.pending
    assert told["parameters"] == expected.parameters
    assert told["timeframe"] == expected.timeframe
    assert (told["source"], told["simulated"]) == (source, True)


def test_the_first_question_of_all(client: httpx.Client) -> None:
    answer = client.get("/backtest/ma?short=50&long=200&cost=0.001&timeframe=5m")
    assert answer.status_code == 200
    expected = aq.backtest(minutes(), ma_cross, short=50, long=200, cost=0.001, timeframe="5m")
    check_run(answer.json(), expected, "synthetic sample (seed 7)")
    again = client.get("/backtest/ma_cross?short=50&long=200&cost=0.001&timeframe=5m")
    assert again.content == answer.content


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_options=st.fixed_dictionaries(
        {},
        optional={
            "short": st.integers(1, 30),
            "long": st.integers(51, 90),
            "timeframe": st.sampled_from(["1m", "3m", "15m"]),
            "cost": st.floats(0, 0.01),
            "slippage": st.floats(0, 0.001),
            "fill": st.sampled_from(["open", "close"]),
            "direction": st.sampled_from(["long", "short", "both"]),
            "cash": st.floats(1, 1e9),
            "stop_loss": st.floats(0.001, 0.05),
            "trailing_stop": st.floats(0.001, 0.05),
            "start": st.sampled_from(["2023-01-02", "2023-01-03T12:00:00Z"]),
            "end": st.sampled_from(["2023-01-05", "2023-01-04T22:00:00+02:00"]),
        },
    ),
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
)
def test_every_option_means_what_it_means_in_a_notebook(
    client: httpx.Client, given_options: dict[str, Any], symbol: str
) -> None:
    told = client.get("/backtest/ma", params={**given_options, "symbol": symbol})
    assert told.status_code == 200, told.text
    expected = aq.backtest(minutes(symbol), ma_cross, **given_options)
    check_run(told.json(), expected, "synthetic sample (seed 7)")
    assert told.json()["symbol"] == symbol


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("short=0", {"short": 0}),
        ("short=90&long=20", {"short": 90, "long": 20}),
        ("shrt=5", {"shrt": 5}),
        ("cost=2", {"cost": 2.0}),
        ("cost=1e999", {"cost": math.inf}),
        ("fill=clos", {"fill": "clos"}),
        ("direction=longs", {"direction": "longs"}),
        ("cash=-1", {"cash": -1.0}),
        ("timeframe=7m", {"timeframe": "7m"}),
        ("timeframe=60m", {"timeframe": "60m"}),
        ("start=yesterday", {"start": "yesterday"}),
        ("start=2024", {"start": "2024"}),
        ("end=2022-01-01", {"end": "2022-01-01"}),
    ],
)
def test_a_refusal_has_the_words_of_the_library(
    client: httpx.Client, query: str, arguments: dict[str, Any]
) -> None:
    told = refused(client.get(f"/backtest/ma?{query}"))
    with pytest.raises(aq.AstraQuantError) as error:
        aq.backtest(minutes(), ma_cross, **arguments)
    own = str(error.value)
    assert told.replace(", symbol.", ".") == own


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/backtest/ma?short=x", 422, "short='x': expected a whole number"),
        ("/backtest/ma?short=1_0", 422, "short='1_0': expected a whole number"),
        ("/backtest/ma?short=5.0", 422, "short='5.0': expected a whole number"),
        (f"/backtest/ma?short={'9' * 19}", 422, "expected a whole number"),
        ("/backtest/ma?cost=nan", 422, "cost='nan': expected a number"),
        ("/backtest/ma?start=2023-01-02T00:00:00.000001Z", 422, "or whole milliseconds"),
        ("/candles?end=2023-01-02T00:00:00.123456789", 422, "or whole milliseconds"),
        ("/backtest/ma?cost=", 422, "cost='': expected a number"),
        ("/backtest/ma?short=5&short=6", 422, "'short' is given twice; expected it once."),
        (f"/backtest/ma?fill={'x' * 999}", 422, "fill has 999 characters; expected 200 at most."),
        ("/backtest/ma?symbol=BTCUSD", 422, "Did you mean 'BTCUSDT'?"),
        ("/backtest/ma?symbol=../../etc/passwd", 422, "unknown symbol '../../etc/passwd'."),
        ("/backtest/ma_crss", 404, "unknown strategy 'ma_crss'. Did you mean 'ma_cross'?"),
        ("/backtest/../../etc/passwd", 404, "unknown address"),
        ("/backtest/..%2F..%2Fetc%2Fpasswd", 404, "unknown strategy"),
        ("/candle", 404, "unknown address '/candle'. Did you mean '/candles'?"),
        ("/candles?limit=0", 422, "limit=0: expected 1 to 10,000"),
        ("/candles?limit=10001", 422, "limit=10001: expected 1 to 10,000"),
        ("/candles?limits=5", 422, "Did you mean 'limit'?"),
        ("/candles?timeframe=90s", 422, "unknown timeframe '90s'."),
        ("/candles?timeframe=1s", 422, "1s"),
        ("/candles?start=2023-01-03&end=2023-01-02", 422, "there is nothing between them"),
        ("/strategies?x=1", 422, "unknown parameter of /strategies 'x'."),
    ],
)
def test_a_refusal_says_what_was_expected(
    client: httpx.Client, path: str, status: int, told: str
) -> None:
    assert told in refused(client.get(path), status)


def test_candles_come_in_pages_without_a_loss(client: httpx.Client) -> None:
    bars = aq.resample(minutes("ETHUSDT"), "15m")
    query = {"symbol": "ETHUSDT", "timeframe": "15m", "limit": "100", "start": "2023-01-02"}
    rows: list[dict[str, Any]] = []
    following: str | None = "2023-01-02"
    while following:
        page = client.get("/candles", params={**query, "start": following}).json()
        assert page["source"] == "synthetic sample (seed 7)"
        assert (page["symbol"], page["timeframe"], page["simulated"]) == ("ETHUSDT", "15m", True)
        rows += page["candles"]
        following = page["next"]
    expected = bars.loc["2023-01-02":]
    assert [row["time"] for row in rows] == [
        f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in expected.index
    ]
    for name in expected.columns:
        assert [row[name] for row in rows] == expected[name].tolist()


def test_the_end_of_a_span_has_no_next(client: httpx.Client) -> None:
    query = "start=2023-01-02&end=2023-01-02 00:03"
    assert client.get(f"/candles?{query}&limit=3").json()["next"] is None
    assert client.get(f"/candles?{query}&limit=2").json()["next"] == "2023-01-02T00:02:00Z"
    beyond = client.get("/candles?start=2030-01-01").json()
    assert (beyond["candles"], beyond["next"]) == ([], None)


def test_strategies_are_listed_as_they_are_written(client: httpx.Client) -> None:
    listed = {one["name"]: one for one in client.get("/strategies").json()["strategies"]}
    assert listed.keys() == aq.load_strategies().keys()
    told = listed["ma_cross"]
    assert told["description"] == ma_cross.description
    assert told["rule"] == "short < long"
    for row in told["parameters"]:
        own = ma_cross.parameters[row["name"]]
        assert (row["kind"], row["default"]) == (own.kind.__name__, own.default)
        ends = (None, None) if own.range is None else (own.range.low, own.range.high)
        assert (row["low"], row["high"], row["choices"]) == (*ends, list(own.choices))


def test_the_start_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "Simulated prices: synthetic sample (seed 7)." in page.text
    assert "<script" not in page.text
    assert "://" not in page.text
    assert "<code>symbol</code>" in page.text  # what every strategy takes
    assert "<code>trailing_stop</code>" in page.text
    assert "kind: sma or ema or wma" in page.text
    for link in page.text.split('href="')[1:]:
        path = link.partition('"')[0].replace("&amp;", "&")
        assert client.get(path).status_code == 200, path


@given(st.floats(allow_infinity=False))
def test_a_number_comes_back_as_the_very_same(value: float) -> None:
    (told,) = json.loads(to_json([value]))
    assert told is None if math.isnan(value) else (told == value and type(told) is float)


@given(st.lists(st.integers(0, 4_102_444_800_000), min_size=1, max_size=5))
def test_times_come_back_as_the_very_same(times: list[int]) -> None:
    import numpy as np

    told = iso(np.array(times, np.int64))
    assert [pd.Timestamp(text) for text in told if text] == list(from_ms(np.array(times)))


@pytest.mark.parametrize("zone", ["+02:00", "+0530", "-03:00", "Z", ""])
@pytest.mark.parametrize(
    "time", ["2023-01-02T10:00", "2023-01-02 10:00:30", "2023-01-02T10:00:30.5"]
)
def test_a_plus_sign_that_became_a_space_still_is_a_zone(time: str, zone: str) -> None:
    assert parse_time(time_of("start", (time + zone).replace("+", " "))) == parse_time(time + zone)


# Schemathesis asks what its reading of our OpenAPI allows, and what it forbids.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


def test_schemathesis_finds_no_fault(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    paths = {operation.path for operation in operations}
    assert {"/strategies", "/candles", "/backtest/ma", "/backtest/ma_cross"} <= paths
    asked = 0
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=25,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(checks=CHECKS)

            if mode == schemathesis.GenerationMode.NEGATIVE and not operation.query:
                continue  # there is nothing that it could get wrong
            ask()
    assert asked > 100


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        "short long symbol timeframe cost slippage fill direction cash start end limit".split()
    )
    | st.text(max_size=8),
    text=st.one_of(
        st.text(max_size=20),
        st.integers().map(str),
        st.floats().map(str),
        st.datetimes(timezones=st.just(None) | st.timezones()).map(str),
        st.dates().map(str),
        st.from_regex(r"\A[0-9]{4}(-[0-9]{2}){0,2}(T[0-9:.]{0,9})?(Z|[+-][0-9:]{2,5})?\Z"),
    ),
    path=st.sampled_from(["/backtest/ma", "/candles"]),
)
def test_no_text_at_all_is_too_much(client: httpx.Client, name: str, text: str, path: str) -> None:
    answer = client.get(path, params={name: text})
    assert answer.status_code in (200, 422), (answer.status_code, name, text)


@strategy
def band(
    candles: Any, side: Literal["above", "below"], width: Annotated[float, Range(0.5, 4)] = 2.0
) -> Any:
    """Long outside a band."""
    middle, edge = sma(candles.close, 20), width * rolling_std(candles.close, 20)
    return candles.close > middle + edge if side == "above" else candles.close < middle - edge


@strategy
def broken(candles: Any) -> Any:
    """Fails."""
    raise ZeroDivisionError("its own fault")


def test_plug_ins_are_served_with_their_own_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"band": band, "a name/of {ours}": ma_cross, "broken": broken, "ma": band}
    monkeypatch.setattr(app, "load_strategies", lambda: found)
    with serving() as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        answer = client.get("/backtest/band?side=below&width=1.5&timeframe=5m")
        expected = aq.backtest(minutes(), band, side="below", width=1.5, timeframe="5m")
        check_run(answer.json(), expected, "synthetic sample (seed 7)")
        assert client.get("/backtest/ma?side=above").json()["strategy"] == "band"
        assert refused(client.get("/backtest/band")) == "side needs a value: side=..."
        assert "Did you mean 'below'?" in refused(client.get("/backtest/band?side=belo"))
        assert "expected 0.5 to 4" in refused(client.get("/backtest/band?side=above&width=9"))
        assert "ZeroDivisionError" in refused(client.get("/backtest/broken"))
        odd = client.get("/backtest/a%20name%2Fof%20%7Bours%7D?short=5&long=20")
        assert odd.json()["parameters"] == ma_cross.bind({"short": 5, "long": 20})
        told = client.get("/openapi.json").json()["paths"]
        assert {path.rpartition("/")[2] for path in told if "backtest" in path} == {
            *("band", "broken", "ma")
        }
        own = {one["name"]: one for one in told["/backtest/band"]["get"]["parameters"]}
        assert own["side"]["required"] is True
        assert own["side"]["schema"] == {"type": "string", "enum": ["above", "below"]}
        width = {"type": "number", "minimum": 0.5, "maximum": 4, "default": 2.0}
        assert own["width"]["schema"] == width
        page = client.get("/").text
        assert "/backtest/a%20name/of%20%7Bours%7D?short=50&amp;long=200" in page


# Limits.


@strategy
def waits(candles: Any) -> Any:
    """Holds on until it is let go."""
    _begun.release()
    assert _go_on.wait(60)
    return candles.close > 0


_begun, _go_on = threading.Semaphore(0), threading.Event()


@pytest.fixture
def one_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with one thread and room for one more question; its strategy waits for us."""
    found = {**aq.load_strategies(), "waits": waits}
    monkeypatch.setattr(app, "load_strategies", lambda: found)
    _go_on.clear()
    with serving(limits=Limits(running=1, waiting=1, seconds=1.5)) as address:
        try:
            yield f"http://{address}"
        finally:
            _go_on.set()


def test_too_much_at_once_is_told_to_come_again(one_desk: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(httpx.get, f"{one_desk}/backtest/waits", timeout=60)
        assert _begun.acquire(timeout=60)
        second = pool.submit(httpx.get, f"{one_desk}/candles", timeout=60)
        while (third := httpx.get(f"{one_desk}/candles", timeout=60)).status_code != 429:
            pass
        assert httpx.get(f"{one_desk}/strategies").status_code == 200  # the loop is free
        assert "the server is busy" in refused(third, 429)
        assert third.headers["Retry-After"] == "1"
        told = refused(first.result())
        assert told.startswith("there is no answer after 1.5 s. Ask for less:")
        refused(second.result(), 429)
        _go_on.set()
        while httpx.get(f"{one_desk}/candles", timeout=60).status_code != 200:
            pass  # its thread is free again


def test_a_run_through_too_many_bars_is_refused() -> None:
    with serving(limits=Limits(bars=2_000)) as address:
        told = refused(httpx.get(f"http://{address}/backtest/ma"))
        assert told.startswith("that is a run through 7,200 bars; expected at most 2,000.")
        for query in ("timeframe=5m", "end=2023-01-02", "timeframe=15m&start=2023-01-04"):
            answer = httpx.get(f"http://{address}/backtest/ma?{query}", timeout=60)
            assert answer.status_code == 200, answer.text


def test_a_table_is_made_once_and_a_failure_is_told() -> None:
    made = []

    def make() -> pd.DataFrame:
        made.append(1)
        return minutes()

    def fail() -> pd.DataFrame:
        raise aq.DataError("the disk is gone.")

    with serving({"AAAUSDT": make, "BBBUSDT": fail}) as address:
        for _ in range(2):
            assert httpx.get(f"http://{address}/candles", timeout=60).status_code == 200
        told = refused(httpx.get(f"http://{address}/candles?symbol=BBBUSDT"))
    assert told == "the disk is gone."
    assert made == [1]
    with pytest.raises(aq.DataError, match="no candles to serve"):
        Catalogue({})
