"""Candles from an exchange, over real sockets: equal to the real ones, whichever way they come."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive_files import HEADER, asked, path_of, serve, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from astraquant.candles import find_gaps, is_synthetic
from astraquant.data import cached_candles, load_candles, read_candles
from astraquant.data.binance import load_binance
from astraquant.data.cache import Cache, Month, month_span
from astraquant.data.transport import Transport
from astraquant.data.venues import find_venue
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange
from astraquant.resampling import resample
from astraquant.timeframes import to_ms


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test, and no address from the environment."""
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "cache"))
    for variable in ("ASTRAQUANT_BINANCE_REST", "ASTRAQUANT_BINANCE_ARCHIVE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def year(market_data: Path) -> pd.DataFrame:
    return read_candles(market_data / "klines/binance_spot_BTCUSDT_1m_20230101_20231231.parquet")


@pytest.fixture
def venue(year: pd.DataFrame) -> Iterator[SimulatedExchange]:
    """Real minutes of March and April; it is noon of April 4, half a minute past."""
    minutes = year["2023-03-20":"2023-04-05"]  # type: ignore[misc]
    with SimulatedExchange(minutes, speed=0, start="2023-04-04 12:00:30") as venue:
        yield venue


def test_month_days_and_rest_come_as_one(venue: SimulatedExchange, year: pd.DataFrame) -> None:
    candles = load_candles("BTCUSDT", "1m", source=venue.url)
    assert candles.equals(year["2023-03-20":"2023-04-04 11:59"])  # type: ignore[misc]
    assert candles.attrs["symbol"] == "BTCUSDT"
    assert candles.attrs["source"].startswith("simulated exchange: binance_spot_BTCUSDT_1m")
    assert is_synthetic(candles.attrs["source"])
    files = ["BTCUSDT-1m-2023-03", *(f"BTCUSDT-1m-2023-04-0{day}" for day in (1, 2, 3))]
    archives = [name for file in files for name in (f"{file}.zip", f"{file}.zip.CHECKSUM")]
    assert asked(venue) == ["time", "klines", *archives, "klines"]

    # Months that are whole are asked for no more; the last one goes on where it ended.
    venue.advance("2h")
    before = len(venue.ledger.requests)
    more = load_candles("BTCUSDT", "1m", start="2023-03-31", source=venue.url)
    assert more.equals(year["2023-03-31":"2023-04-04 13:59"])  # type: ignore[misc]
    assert asked(venue, before) == ["time", "klines"]
    noon = pd.Timestamp("2023-04-04 12:00", tz="UTC").value // 10**6
    assert f"startTime={noon}&" in venue.ledger.requests[-1].target

    before = len(venue.ledger.requests)
    part = load_candles(
        "BTCUSDT", "1m", start="2023-03-24 11", end="2023-03-24 15", source=venue.url
    )
    assert part.equals(year["2023-03-24 11:00":"2023-03-24 14:59"])  # type: ignore[misc]
    assert asked(venue, before) == ["time"]  # who are you?
    halt = find_gaps(part)
    assert halt.start.tolist() == [pd.Timestamp("2023-03-24 12:40", tz="UTC")]
    assert halt.missing.tolist() == [80]


def test_real_archives_are_read_as_they_are(
    year: pd.DataFrame, market_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    minutes = year["2023-03-22":"2023-03-27"]  # type: ignore[misc]
    real = market_data / "raw_vision"
    with SimulatedExchange(
        minutes, speed=0, start="2023-03-26 05:00:30", archives=real
    ) as exchange:
        candles = load_candles("BTCUSDT", "1m", start="2023-03-23", source=exchange.url)
        assert candles.equals(minutes["2023-03-23":"2023-03-26 04:59"])  # type: ignore[misc]
        assert f"BTCUSDT-1m-2023-03-{24}.zip" in asked(exchange)
    assert caplog.messages == []


def test_milliseconds_and_microseconds(market_data: Path) -> None:
    files = [
        market_data / "raw_vision" / f"BTCUSDT-1h-{name}.csv" for name in ("2024-12", "2025-01")
    ]
    hours = pd.concat([read_candles(file) for file in files])
    assert [file.read_text().index(",") for file in files] == [13, 16]  # digits of the first time
    with SimulatedExchange(
        hours, speed=0, start="2025-02-01", archives=market_data / "raw_vision"
    ) as exchange:
        candles = load_candles("BTCUSDT", "1h", source=exchange.url)
    assert candles.equals(hours)
    assert len(candles) == 62 * 24
    assert asked(exchange)[2::2] == ["BTCUSDT-1h-2024-12.zip", "BTCUSDT-1h-2025-01.zip"]


def test_a_header_is_no_candle(
    venue: SimulatedExchange, year: pd.DataFrame, market_data: Path
) -> None:
    stem = "BTCUSDT-1m-2023-03-24"
    with zipfile.ZipFile(market_data / "raw_vision" / f"{stem}.zip") as archive:
        text = archive.read(f"{stem}.csv")
    content = zipped((f"{stem}.csv", HEADER.encode() + text))
    day = year["2023-03-24":"2023-03-24"]  # type: ignore[misc]
    serve(venue, stem, content)
    venue.answer(path_of("BTCUSDT-1m-2023-03"), status=404)
    candles = load_candles("BTCUSDT", "1m", start="2023-03-24", end="2023-03-25", source=venue.url)
    assert candles.equals(day)
    assert asked(venue)[-2:] == [f"{stem}.zip", f"{stem}.zip.CHECKSUM"]


def test_a_listing_is_where_history_begins(market_data: Path) -> None:
    arb = read_candles(market_data / "klines/binance_spot_ARBUSDT_1m_20230323_20230411.parquet")
    with SimulatedExchange(
        arb["2023-03-23":"2023-03-26"],  # type: ignore[misc]
        "ARBUSDT",
        speed=0,
        start="2023-03-25 00:00:10",
        archives=market_data / "raw_vision",
    ) as exchange:
        candles = load_candles("ARBUSDT", "1m", source=exchange.url)
        assert candles.equals(arb["2023-03-23":"2023-03-24"])  # type: ignore[misc]
        assert str(candles.index[0]) == "2023-03-23 15:00:00+00:00"
        assert "ARBUSDT-1m-2023-03-23.zip" in asked(exchange)
        before = len(exchange.ledger.requests)
        for start in ("2023-03-23 14:59", "2023-03-01", "2017", "1900"):
            with pytest.raises(
                DataError, match=r'from 2023-03-23 15:00.* Say start="2023-03-23 15'
            ):
                load_candles("ARBUSDT", "1m", start=start, source=exchange.url)
        assert asked(exchange, before) == ["time", "klines"] * 4  # no hunt through empty years
        with pytest.raises(DataError, match="ends before 2023-03-23 14:00"):
            load_candles("ARBUSDT", "1m", end="2023-03-23 14:00", source=exchange.url)
        hours = load_candles("ARBUSDT", "1d", start="2023-03-23", source=exchange.url)
        assert hours.index.day.tolist() == [23, 24]


def test_a_month_from_the_archive_begins_at_the_listing_too(market_data: Path) -> None:
    arb = read_candles(market_data / "klines/binance_spot_ARBUSDT_1m_20230323_20230411.parquet")
    with SimulatedExchange(arb, "ARBUSDT", speed=0, start="2023-04-01 00:00:10") as exchange:
        assert load_candles("ARBUSDT", "1m", source=exchange.url).equals(arb[:"2023-03"])  # type: ignore[misc]
        assert asked(exchange)[2:] == ["ARBUSDT-1m-2023-03.zip", "ARBUSDT-1m-2023-03.zip.CHECKSUM"]
        with pytest.raises(DataError, match="from 2023-03-23 15:00"):
            load_candles("ARBUSDT", "1m", start="2023-03-23 14:00", source=exchange.url)


@pytest.mark.parametrize("timeframe", ["15m", "1h"])
def test_coarser_candles_are_the_venues_own(
    timeframe: str, venue: SimulatedExchange, market_data: Path
) -> None:
    (file,) = (market_data / "klines").glob(f"binance_spot_BTCUSDT_{timeframe}_*.csv.gz")
    official = read_candles(file)["2023-03-20":"2023-04-04 11:59"]  # type: ignore[misc]
    candles = load_candles("BTCUSDT", timeframe, start="2023-03-20", source=venue.url)
    assert candles.equals(official)


@pytest.mark.parametrize(
    ("timeframe", "opens"),
    [
        ("1d", 15),
        ("3d", 5),  # from March 19 on, as the venue's first one does
        ("1w", 2),
        ("1M", 1),
    ],
)
def test_long_candles_come_by_pages_alone(
    timeframe: str, opens: int, venue: SimulatedExchange
) -> None:
    candles = load_candles("BTCUSDT", timeframe, source=venue.url)
    assert len(candles) == opens
    assert asked(venue) == ["time", "klines", "klines"]  # one page for all months
    assert load_candles("BTCUSDT", timeframe, source=venue.url).equals(candles)
    assert asked(venue)[3:] == ["time", "klines"]


def test_a_start_within_a_bar_means_the_next_one(venue: SimulatedExchange) -> None:
    candles = load_candles(
        "BTCUSDT", "5m", start="2023-04-03 12:07:00.5", end="2023-04-03 12:21", source=venue.url
    )
    assert candles.index.minute.tolist() == [10, 15, 20]
    with pytest.raises(DataError, match="no 1h candle opens between"):
        load_candles(
            "BTCUSDT", "1h", start="2023-04-03 12:01", end="2023-04-03 12:30", source=venue.url
        )


def test_the_forming_candle_never_comes(venue: SimulatedExchange, year: pd.DataFrame) -> None:
    for end in (None, "2023-04-04 12:01", "2030"):
        candles = load_candles("BTCUSDT", "1m", start="2023-04-04 11:50", end=end, source=venue.url)
        assert candles.equals(year["2023-04-04 11:50":"2023-04-04 11:59"])  # type: ignore[misc]
    venue.advance("29s")
    assert len(load_candles("BTCUSDT", "1m", start="2023-04-04 11:59", source=venue.url)) == 1
    venue.advance("1s")
    assert len(load_candles("BTCUSDT", "1m", start="2023-04-04 11:59", source=venue.url)) == 2


def test_the_venues_clock_decides(venue: SimulatedExchange) -> None:
    venue.lie_about_time(-3_600_000)
    candles = load_candles("BTCUSDT", "1m", start="2023-04-04", source=venue.url)
    assert str(candles.index[-1]) == "2023-04-04 10:59:00+00:00"


def test_what_is_cached_of_a_later_time_stays_hidden(year: pd.DataFrame) -> None:
    minutes = year["2023-03-20":"2023-03-22"]  # type: ignore[misc]
    with SimulatedExchange(minutes, speed=0, start="2023-03-22") as later:
        load_candles("BTCUSDT", "1m", source=later.url)
    with SimulatedExchange(minutes, speed=0, start="2023-03-21") as earlier:
        candles = load_candles("BTCUSDT", "1m", source=earlier.url)
    assert candles.equals(minutes[:"2023-03-20"])  # type: ignore[misc]


def test_a_span_before_the_cached_one_is_joined_to_it(
    venue: SimulatedExchange, year: pd.DataFrame
) -> None:
    noon = "2023-04-04 11:59"
    for start in ("2023-04-04 06:00", "2023-04-03 18:00", "2023-04-04 02:00", "2023-04-01 12:00"):
        candles = load_candles("BTCUSDT", "1m", start=start, source=venue.url)
        assert candles.equals(year[start:noon])  # type: ignore[misc]
    # The 3rd up to where the first span began; then the two days before, cut in the first one.
    # Nothing twice.
    days = [name for name in asked(venue) if name.endswith(".zip")]
    assert days == [f"BTCUSDT-1m-2023-04-0{day}.zip" for day in (3, 1, 2, 3)]
    before = len(venue.ledger.requests)
    part = load_candles(
        "BTCUSDT", "1m", start="2023-04-01", end="2023-04-01 06:00", source=venue.url
    )
    assert part.equals(year["2023-04-01":"2023-04-01 05:59"])  # type: ignore[misc]
    whole = load_candles("BTCUSDT", "1m", start="2023-04-01", source=venue.url)
    assert whole.equals(year["2023-04-01":noon])  # type: ignore[misc]
    assert asked(venue, before) == [
        *("time", "klines", "BTCUSDT-1m-2023-04-01.zip", "BTCUSDT-1m-2023-04-01.zip.CHECKSUM"),
        "time",
    ]


@pytest.mark.parametrize("timeframe", ["1m", "4h"])
def test_a_span_that_ends_before_the_cached_one(timeframe: str, year: pd.DataFrame) -> None:
    minutes = year["2023-03-20":"2023-03-29"]  # type: ignore[misc]
    table = minutes if timeframe == "1m" else resample(minutes, timeframe)
    with SimulatedExchange(minutes, speed=0, start="2023-03-29") as exchange:
        exchange.answer("/api/v3/klines", status=403, after=40)  # else it might ask for ever

        def load(start: str, end: str) -> list[str]:
            before = len(exchange.ledger.requests)
            loaded = load_candles("BTCUSDT", timeframe, start=start, end=end, source=exchange.url)
            expected = table[(table.index >= start) & (table.index < end)]
            pd.testing.assert_frame_equal(loaded, expected, check_freq=False)
            return asked(exchange, before)

        for day in range(20, 28):  # some lie in REST alone
            exchange.answer(path_of(f"BTCUSDT-1m-2023-03-{day}"), status=404, times=9)
        load("2023-03-25", "2023-03-26")
        load("2023-03-21", "2023-03-22 12:00")
        assert load("2023-03-21", "2023-03-26") == ["time"]  # what lay between them came too


def test_candles_kept_from_a_later_run_of_the_exchange(year: pd.DataFrame) -> None:
    minutes = year["2023-03-20":"2023-03-29"]  # type: ignore[misc]
    with SimulatedExchange(minutes, speed=0, start="2023-03-29") as exchange:
        load_candles("BTCUSDT", "4h", start="2023-03-27", source=exchange.url)
    with SimulatedExchange(minutes, speed=0, start="2023-03-23 06:00") as exchange:
        exchange.answer("/api/v3/klines", status=403, after=40)
        for _ in range(2):  # loaded, and kept
            found = load_candles("BTCUSDT", "4h", start="2023-03-22", source=exchange.url)
            assert found.index[[0, -1]].hour.tolist() == [0, 0] and len(found) == 7
        assert asked(exchange)[-1] == "time"


@pytest.fixture(scope="module")
def whole(year: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Minutes of three months with the halt, and what an exchange makes of them: all timeframes."""
    minutes = year["2023-02-25":"2023-04-02"]  # type: ignore[misc]
    with (
        SimulatedExchange(minutes, speed=0, start="2023-04-02 12:00:30") as exchange,
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as folder,
    ):
        patch.setenv("ASTRAQUANT_CACHE", folder)
        tables = {
            name: load_candles("BTCUSDT", name, source=exchange.url)
            for name in ("1m", "15m", "4h", "1d")
        }
    assert tables["1m"].equals(minutes[:"2023-04-02 11:59"])  # type: ignore[misc]
    return minutes, tables


@settings(max_examples=12)
@given(data=st.data())
def test_spans_in_any_order_are_parts_of_the_whole(
    whole: tuple[pd.DataFrame, dict[str, pd.DataFrame]], data: st.DataObject
) -> None:
    minutes, tables = whole
    Cache().clear()
    table = tables[data.draw(st.sampled_from(sorted(tables)), "timeframe")]
    timeframe = next(name for name, other in tables.items() if other is table)
    first = table.index[0].value // 10**6
    now = int(pd.Timestamp("2023-04-02 12:00:30", tz="UTC").timestamp() * 1000)
    moments = st.integers(first, now).map(lambda time: pd.Timestamp(time, unit="ms", tz="UTC"))
    spans = st.tuples(moments, moments).map(sorted)
    # A new one each time: the loader keeps within the weight of a minute, and would wait for the
    # next one.
    with SimulatedExchange(minutes, speed=0, start="2023-04-02 12:00:30") as exchange:
        for start, end in data.draw(st.lists(spans, min_size=1, max_size=4), "spans"):
            without = data.draw(st.sampled_from(["", *_FILES]), "404")
            exchange.answer(path_of(f"BTCUSDT-{timeframe}-{without}"), status=404)
            expected = table[(table.index >= start) & (table.index < end)]
            if expected.empty:
                with pytest.raises(DataError, match=r"is not before|no .* candle"):
                    load_candles("BTCUSDT", timeframe, start=start, end=end, source=exchange.url)
            else:
                loaded = load_candles(
                    "BTCUSDT", timeframe, start=start, end=end, source=exchange.url
                )
                assert loaded.equals(expected)


_FILES = ("2023-02", "2023-03", *(f"2023-03-{day:02d}" for day in range(20, 28)), "2023-04-01")


def test_markets_are_kept_apart(year: pd.DataFrame) -> None:
    minutes = year["2023-03-20":"2023-03-20"]  # type: ignore[misc]
    closes = []
    for factor in (1, 2):
        with SimulatedExchange(minutes * factor, speed=0, start="2023-03-21") as exchange:
            candles = load_candles("BTCUSDT", "1m", source=exchange.url)
        closes.append(candles.close.iloc[-1])
    assert closes[1] == 2 * closes[0]
    assert cached_candles().venue.nunique() == 2


def test_rows_off_the_grid_are_left_out_and_said(
    venue: SimulatedExchange, year: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    stem = "BTCUSDT-1m-2023-04-02"
    day = year["2023-04-02":"2023-04-02"]  # type: ignore[misc]
    rows = [_row(time, day.iloc[k]) for k, time in enumerate(to_ms(day.index).tolist())]
    rows[100][0] += 37
    serve(venue, stem, zipped((f"{stem}.csv", "\n".join(map(_line, rows)).encode())))
    expected = day.drop(day.index[100])
    for _ in range(2):  # out of the cache too
        caplog.clear()
        candles = load_candles(
            "BTCUSDT", "1m", start="2023-04-02", end="2023-04-03", source=venue.url
        )
        assert candles.equals(expected)
        (record,) = caplog.records
        assert (record.levelno, record.name) == (logging.WARNING, "astraquant.data")
        assert "1 rows don't open on a bar of 1m and are left out" in record.getMessage()
    assert find_gaps(candles).missing.tolist() == [1]


def _row(time: int, candle: pd.Series) -> list[float]:
    values = [candle[name] for name in ("open", "high", "low", "close", "volume")]
    extra = [candle[name] for name in ("quote_volume", "trades")]
    taker = [candle[name] for name in ("taker_buy_volume", "taker_buy_quote_volume")]
    return [time, *values, time + 59_999, *extra, *taker, 0]


def _line(row: list[float]) -> str:
    return ",".join(map(str, row))


# Binance itself: no machine here reaches it, so what is cached must need no request.


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked of another machine goes to a port of this one where nobody listens."""
    for variable in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.delenv(variable.lower(), raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


def _keep(minutes: pd.DataFrame, month: str, until: int | None = None) -> None:
    part = minutes[month:month]  # type: ignore[misc]
    begin, end = month_span(month)
    values = {name: part[name].to_numpy(np.float64) for name in part}
    content = Month(to_ms(part.index), values, begin, until or end)
    Cache().write("binance", "BTCUSDT", "1m", month, content)


@pytest.mark.usefixtures("no_network")
def test_cached_months_of_binance_need_no_request(
    year: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    for month in ("2023-02", "2023-03"):
        _keep(year, month)
    for source in ("binance", "https://api.binance.com"):
        candles = load_candles("BTCUSDT", "1m", start="2023-02-10", end="2023-04-01", source=source)
        assert candles.equals(year["2023-02-10":"2023-03-31"])  # type: ignore[misc]
        assert candles.attrs == {"source": "Binance", "symbol": "BTCUSDT"}
        assert not is_synthetic(candles.attrs["source"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_network")
def test_without_a_network_it_says_what_to_do(year: pd.DataFrame) -> None:
    start, end = pd.Timestamp("2023-03-10", tz="UTC"), pd.Timestamp("2023-04-02", tz="UTC")

    def load(end: pd.Timestamp | None) -> str:
        with pytest.raises(DataError, match="Is there a network") as caught:
            load_binance(
                *("BTCUSDT", "1m", start, end, find_venue("binance")),
                transport=Transport(wait=abs),  # wait for nothing
            )
        return str(caught.value)

    told = load(None)
    assert "tried several times. Is there a network? If there is, try again later." in told
    for cure in ('source="sample"', "the path of a file", "SimulatedExchange"):
        assert cure in told
    assert "Kept here" not in told
    _keep(year, "2023-03")
    kept = "Kept here: BTCUSDT 1m between 2023-03-01 00:00:00+00:00 and 2023-04-01"
    assert kept in load(None)
    assert kept in load(end)
    assert "cached_candles()" in load(end)


def test_the_environment_leads_binance_to_another_exchange(
    venue: SimulatedExchange, year: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRAQUANT_BINANCE_REST", venue.url)
    candles = load_candles("BTCUSDT", "1m", start="2023-04-04", source="binance")
    assert candles.equals(year["2023-04-04":"2023-04-04 11:59"])  # type: ignore[misc]
    assert is_synthetic(candles.attrs["source"])  # whatever it is called
    assert cached_candles().venue.iloc[0].startswith("simulated-")


def test_simulated_prices_never_pass_for_binances(
    venue: SimulatedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = "BTCUSDT-1m-2023-04-03"
    body = json.dumps({"serverTime": venue.now}).encode()
    silent = {"X-Simulated-Market": ""}  # here it doesn't say what it is; everywhere else it does
    venue.answer("/api/v3/time", body=body, headers=silent)
    with pytest.raises(
        DataError, match=r"prices of the simulated market '[0-9a-f]{12}', not those"
    ):
        load_candles("BTCUSDT", "1m", start="2023-04-03", source=venue.url)
    assert f"{stem}.zip" not in asked(venue)
    assert cached_candles().empty


def test_progress_is_shown_while_something_is_fetched(
    venue: SimulatedExchange, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    load_candles("BTCUSDT", "1m", start="2023-03-30", source=venue.url)
    shown = capsys.readouterr()
    assert "BTCUSDT 1m:   0%" in shown.err
    assert "0/2" in shown.err  # months
    assert shown.out == ""
    load_candles("BTCUSDT", "1m", start="2023-03-30", source=venue.url)
    assert capsys.readouterr() == ("", "")
