"""What an exchange does wrong, and the candles that come all the same: never false ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from archive_files import asked, path_of
from binance_venue import DAY, KLINES, MONTH, load, load_at_once, until_noon

from astraquant.data.cache import Cache
from astraquant.data.transport import ATTEMPTS
from astraquant.errors import DataError
from astraquant.exchange import SimulatedExchange
from astraquant.exchange.market import Market
from astraquant.exchange.rest import Rest


def without_archives(venue: SimulatedExchange, times: int = 1) -> None:
    """Let REST have all the work: no month, no day."""
    venue.answer(path_of(MONTH), status=404, times=times)
    for day in (28, 29, 30, 31):
        venue.answer(path_of(f"{MONTH}-{day}"), status=404, times=times)
    for day in (1, 2, 3):
        venue.answer(path_of(f"BTCUSDT-1m-2023-04-0{day}"), status=404, times=times)


def rows(market: Market, start: str, count: int) -> list[list[Any]]:
    """True rows of REST, to be spoiled."""
    first = pd.Timestamp(start, tz="UTC").value // 10**6
    target = f"{KLINES}?symbol=BTCUSDT&interval=1m&startTime={first}&limit={count}"
    answer = Rest({"BTCUSDT": market}, "x").answer(target, market.end, 0.0)
    found: list[list[Any]] = json.loads(answer.body)
    return found


# REST


def test_missing_archives_are_few_requests(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue)
    assert load(venue, "2023-03-29").equals(until_noon(minutes, "2023-03-29"))
    names = asked(venue)
    # A month's archive, its first day's, and no other day's; a page reaches into the next month.
    assert [name for name in names if name != "klines"] == [
        "time",
        f"{MONTH}.zip",
        f"{MONTH}-29.zip",
        "BTCUSDT-1m-2023-04-01.zip",
    ]
    assert names.count("klines") == 1 + -(-(6 * 1440 + 720) // 1000)


def test_a_wait_is_kept_and_the_load_goes_on(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    without_archives(venue)
    venue.answer(KLINES, status=429, headers={"Retry-After": "1"}, after=2)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    refused = next(k for k, entry in enumerate(venue.ledger.requests) if entry.status == 429)
    first, second = list(venue.ledger.requests)[refused : refused + 2]
    assert first.target == second.target  # goes on where it was
    assert second.clock - first.clock >= 1


def test_a_ban_keeps_what_there_was(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue, times=2)
    venue.answer(KLINES, status=418, headers={"Retry-After": "7200"}, after=2)
    with pytest.raises(DataError, match=r"for 7200 s, until .*what was loaded until now is kept"):
        load(venue)
    before = len(venue.ledger.requests)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    assert "startTime=1680540000000" in venue.ledger.requests[-2].target  # 1,000 minutes on
    assert asked(venue, before).count("klines") == 2  # of three pages the last two


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_in_trouble_is_asked_again(
    status: int, venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    venue.answer(KLINES, status=status, after=1)
    venue.answer(path_of(DAY), status=status)
    assert load_at_once(venue, "2023-04-03").equals(until_noon(minutes, "2023-04-03"))
    assert venue.ledger.answers[status] == 2


def test_short_pages(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue)
    venue.shorten(137)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))
    assert asked(venue).count("klines") == 1 + -(-2160 // 137)


def test_rows_that_come_twice_or_too_early(
    venue: SimulatedExchange, minutes: pd.DataFrame, market: Market
) -> None:
    without_archives(venue)
    page = rows(market, "2023-04-02 23:50", 100)
    page = page[:60] + page[40:60][-1:] * 2 + page[60:]
    venue.answer(KLINES, body=json.dumps(page).encode(), after=1)
    assert load(venue).equals(until_noon(minutes, "2023-04-03"))


def test_a_forming_candle_that_comes_unasked(
    venue: SimulatedExchange, minutes: pd.DataFrame, market: Market
) -> None:
    page = rows(market, "2023-04-04 11:00", 61)
    page[-1][4] = page[-1][1]  # 12:00 has hardly begun
    venue.answer(KLINES, body=json.dumps(page).encode(), after=1)
    assert load(venue, "2023-04-04 11:00").equals(until_noon(minutes, "2023-04-04 11:00"))
    venue.advance("1m")
    assert load(venue, "2023-04-04 11:59").equals(minutes["2023-04-04 11:59":"2023-04-04 12:00"])  # type: ignore[misc]


def test_no_progress_is_an_end(venue: SimulatedExchange, market: Market) -> None:
    page = json.dumps(rows(market, "2023-04-03", 10)).encode()
    venue.answer(KLINES, body=page, times=9, after=1)
    with pytest.raises(DataError, match=r"makes no progress: asked for 2023-04-04 00:00.*00:09"):
        load(venue, "2023-04-04")
    assert asked(venue).count("klines") == 2


def test_an_empty_page_is_not_believed_at_once(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    venue.answer(KLINES, body=b"[]", after=1)
    assert load(venue, "2023-04-04").equals(until_noon(minutes, "2023-04-04"))
    assert asked(venue).count("klines") == 4  # listing, nothing, is there none?, all


def test_an_empty_page_that_stays_is_told(venue: SimulatedExchange, market: Market) -> None:
    newest = json.dumps(rows(market, "2023-04-04 11:59", 1)).encode()
    for after, body in ((0, newest), (0, b"[]"), (0, newest), (1, b"[]")):  # from the last on
        venue.answer(KLINES, body=body, after=after)
    with pytest.raises(
        DataError, match="no candles of BTCUSDT from 2023-04-04.*and that there are"
    ):
        load(venue, "2023-04-04")
    assert Cache().entries() == []  # a lie is not kept


def test_a_market_that_ended(minutes: pd.DataFrame) -> None:
    ended = minutes[:"2023-03-30 10:00"]  # type: ignore[misc]
    quiet = {"BTCUSDT": ended, "ETHUSDT": minutes}
    with SimulatedExchange(quiet, speed=0, start="2023-04-04 12:00:30") as exchange:
        assert load(exchange, "2023-03-29").equals(ended["2023-03-29":])  # type: ignore[misc]
        with pytest.raises(DataError, match="no 1m candles of BTCUSDT between .*had ended"):
            load(exchange, "2023-04-02")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda page: page[::-1], "row 1 doesn't come after"),
        (lambda page: [[*page[0][:2], "0.01", *page[0][3:]]], "high 0.01 is below"),
        (lambda page: [[*page[0][:2], "NaN", *page[0][3:]]], "high is nan"),
        (lambda page: [[*page[0][:5], "-1", *page[0][6:]]], "volume is -1.0"),
        (lambda page: [row[:11] for row in page], "row 0 of the JSON is no kline"),
        (lambda page: {"a": 1}, "a JSON object, not candles"),
        (lambda page: [[1e30, *page[0][1:]]], "no whole number of seconds"),
    ],
)
def test_pages_that_are_wrong(
    spoil: Any, told: str, venue: SimulatedExchange, market: Market
) -> None:
    page = json.dumps(spoil(rows(market, "2023-04-04", 10))).encode()
    venue.answer(KLINES, body=page, after=1)
    with pytest.raises(DataError, match=told):
        load(venue, "2023-04-04")
    assert Cache().entries() == []


def test_the_region_is_refused(venue: SimulatedExchange) -> None:
    venue.answer("/api/v3/time", status=451)
    with pytest.raises(DataError, match=r"region.*data-api\.binance\.vision.*BINANCE_REST"):
        load(venue)
    assert asked(venue) == ["time"]


# Interrupts

CHILD = """
import sys
from astraquant.data import load_candles
print("begin", flush=True)
try:
    load_candles("BTCUSDT", "1m", start=sys.argv[2], source=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def stopped(venue: SimulatedExchange, how: signal.Signals, wanted: str, times: int) -> str:
    """Load in another process until something was asked so often, and stop it; what it says."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, venue.url, "2023-03-28"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "TQDM_DISABLE": "1"},
        text=True,
    ) as child:
        while asked(venue).count(wanted) < times:
            assert child.poll() is None
            time.sleep(0.001)  # until the other process has come so far
        child.send_signal(how)
        told, _ = child.communicate()
    return told


def test_an_interrupt_keeps_what_there_is(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    without_archives(venue, times=2)
    venue.slow(0.1)
    assert stopped(venue, signal.SIGINT, "klines", 4) == "begin\ninterrupted\n"
    venue.slow(0)
    (entry,) = Cache().entries()
    assert entry.rows in (1000, 2000, 3000)
    before = len(venue.ledger.requests)
    assert load(venue, "2023-03-28").equals(until_noon(minutes, "2023-03-28"))
    pages = [e.target for e in list(venue.ledger.requests)[before:] if "klines?" in e.target]
    assert f"startTime={entry.until}&" in pages[0]  # right where it was
    assert len(pages) == -(-(7 * 1440 + 720 - entry.rows) // 1000)


def test_a_killed_process_keeps_whole_months(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    venue.slow(0.05)
    stopped(venue, signal.SIGKILL, "BTCUSDT-1m-2023-04-01.zip", 1)
    venue.slow(0)
    before = len(venue.ledger.requests)
    assert load(venue, "2023-03-28").equals(until_noon(minutes, "2023-03-28"))
    assert f"{MONTH}.zip" in asked(venue)[:before]
    assert not [name for name in asked(venue, before) if name.startswith(MONTH)]


def test_an_interrupt_never_leaves_less(venue: SimulatedExchange, minutes: pd.DataFrame) -> None:
    load(venue, "2023-04-02")
    (kept,) = Cache().entries()
    venue.answer(path_of("BTCUSDT-1m-2023-04-01"), status=404, times=2)
    venue.answer(KLINES, status=403, after=2)
    with pytest.raises(DataError, match="firewall"):
        load(venue, "2023-04-01")
    assert Cache().entries() == [kept]
    assert load(venue, "2023-04-01").equals(until_noon(minutes, "2023-04-01"))


def test_a_lost_network_keeps_what_there_is(
    venue: SimulatedExchange, minutes: pd.DataFrame
) -> None:
    without_archives(venue, times=2)
    cut = {"Content-Length": "99"}
    venue.answer(KLINES, body=b"[[", headers=cut, after=3, times=ATTEMPTS)
    with pytest.raises(DataError, match="doesn't answer .*tried several times"):
        load_at_once(venue, "2023-04-01")
    before = len(venue.ledger.requests)
    assert load(venue, "2023-04-01").equals(until_noon(minutes, "2023-04-01"))
    assert asked(venue, before).count("klines") == 4  # of six pages two were kept


def test_an_exchange_that_is_gone(venue: SimulatedExchange) -> None:
    load(venue, "2023-04-03")
    venue.stop()
    with pytest.raises(
        DataError,
        match=r"several times\. Is the simulated exchange still running .* address that it says",
    ):
        load_at_once(venue, "2023-04-03")


# A cache that doesn't work


def test_a_cache_that_cant_be_written_is_said_once(
    venue: SimulatedExchange,
    minutes: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ASTRAQUANT_CACHE", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        candles = load(venue, "2023-03-30")
    assert candles.equals(until_noon(minutes, "2023-03-30"))
    assert [str(entry.message)[:60] for entry in caught] == [
        "the candles are loaded, but not kept for the next time: cand"
    ]
    assert "ASTRAQUANT_CACHE" in str(caught[0].message)


def test_a_damaged_month_is_loaded_anew(
    venue: SimulatedExchange, minutes: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    load(venue, "2023-03-30")
    path = Cache().entries()[0].path
    path.write_bytes(path.read_bytes()[:-100])
    before = len(venue.ledger.requests)
    assert load(venue, "2023-03-30").equals(until_noon(minutes, "2023-03-30"))
    assert asked(venue, before).count(f"{MONTH}.zip") == 1
    assert len(caplog.messages) == 1
