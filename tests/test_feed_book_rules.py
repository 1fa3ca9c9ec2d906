"""The rules of the book of candles, one by one; `test_feed_book` has them all at once."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from naive_feed import candle_at

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, Candle, candle_table, check_candles
from astraquant.errors import DataError, FeedError
from astraquant.feed.book import CandleBook, Change, Gap
from astraquant.feed.protocol import AggTrade, Kline

MINUTE = 60_000
START = 1_672_531_200_000  # 2023-01-01, a Sunday

# One rule each. The market here: a bar a minute, ids as they come.


def kline(
    minute: int, last_id: int = -1, *, at: int = 0, closed: bool = False, volume: int = 0
) -> Kline:
    time = START + minute * MINUTE
    candle = candle_at(time, volume)
    event_time = time + (MINUTE if closed else 2000) + at
    return Kline(
        "ABC", "1m", candle, time + MINUTE - 1, min(last_id, 0), last_id, closed, event_time
    )


def trade(first_id: int, ms: int, price: float = 2.0, *, last_id: int | None = None) -> AggTrade:
    last_id = first_id if last_id is None else last_id
    return AggTrade("ABC", first_id, price, 0.5, first_id, last_id, START + ms, False, START + ms)


def kinds(changes: list[Change]) -> list[tuple[str, int]]:
    return [(change.kind, (change.time - START) // MINUTE) for change in changes]


def counted(book: CandleBook) -> dict[str, int]:
    return {name: count for name, count in book.counts.items() if count}


@pytest.fixture
def book() -> CandleBook:
    """A book whose first bar is closed; its last trade was number 9."""
    found = CandleBook("ABC", "1m")
    assert kinds(found.kline(kline(0, 9, closed=True))) == [("closed", 0)]
    return found


def test_a_later_bar_closes_nothing(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    assert kinds(book.kline(kline(3, 30))) == [("gap", 1), ("forming", 3)]
    assert book.last_closed == START
    now = START + 3 * MINUTE + 2000
    assert book.gaps == [Gap(START + MINUTE, START + 3 * MINUTE, 2, "open", now, None)]
    assert book.missing(now) == [(START + MINUTE, START + 3 * MINUTE)]
    assert book.missing(START + 2 * MINUTE) == [(START + MINUTE, START + 2 * MINUTE)]
    # The closing update was only late: nothing was missed.
    assert kinds(book.kline(kline(1, 15, closed=True))) == [("closed", 1)]
    assert [(gap.missing, gap.kind) for gap in book.gaps] == [(1, "open")]
    assert counted(book) == {"late_bars": 1}


def test_a_closing_update_that_never_comes_is_missing_once_its_time_is_over(
    book: CandleBook,
) -> None:
    book.kline(kline(1, 12))
    end = START + 2 * MINUTE
    assert book.missing(end - 1) == []
    assert book.missing(end) == [(START + MINUTE, end)]
    assert kinds(book.backfill([candle_at(START + MINUTE, 2)], START + MINUTE, end, end + 5)) == [
        ("gap", 1),
        ("filled", 1),
    ]
    assert book.gaps == [Gap(START + MINUTE, end, 1, "ours", end + 5, end + 5)]
    assert book.forming is None
    assert book.kline(kline(1, 14, closed=True, volume=2)) == []  # it comes after all
    assert counted(book) == {"repeated": 1}


def test_duplicates_and_older_updates_change_nothing(book: CandleBook) -> None:
    book.kline(kline(1, 12, at=5000, volume=2))
    for again in (kline(1, 12, at=5000, volume=2), kline(1, 11, volume=1), kline(0, 8)):
        assert book.kline(again) == []
    assert book.kline(kline(0, 9, closed=True)) == []
    assert book.forming == candle_at(START + MINUTE, 2)
    assert counted(book) == {"older": 3, "repeated": 1}


def test_of_two_versions_of_a_closed_candle_the_later_one_stands(book: CandleBook) -> None:
    first, second = candle_at(START, 0), candle_at(START, 1)
    (revised,) = book.kline(kline(0, 10, at=10, closed=True, volume=1))
    assert revised == Change("revised", START, second, first)
    assert book.kline(kline(0, 9, at=5, closed=True)) == []  # older: it does not come back
    now = START + 2 * MINUTE
    (revised,) = book.backfill([candle_at(START, 2)], START, START + MINUTE, now)
    assert revised == Change("revised", START, candle_at(START, 2), second)
    # What REST confirmed is known as of then.
    book.backfill([candle_at(START, 2)], START, START + MINUTE, now + MINUTE)
    assert book.kline(kline(0, 11, at=90_000, closed=True, volume=3)) == []
    assert counted(book) == {"revised": 2, "older": 2, "repeated": 1}
    # Nor does an older confirmation make it less certain.
    book.kline(kline(0, 11, at=1, closed=True, volume=2))
    assert book.kline(kline(0, 11, at=2, closed=True, volume=3)) == []
    assert book.gaps == []


def test_rest_can_not_deny_a_bar_that_the_stream_has_shown(book: CandleBook) -> None:
    start, end = START + MINUTE, START + 4 * MINUTE
    book.trade(trade(10, 2 * MINUTE + 5))  # of the bar in the middle
    assert kinds(book.backfill([], start, end, end)) == [("gap", 1)]
    assert [gap.kind for gap in book.gaps] == ["venue", "open", "venue"]
    assert book.missing(end) == [(start + MINUTE, end - MINUTE)]
    assert counted(book) == {"contradicted": 1}
    # Nor when it shows the bar later.
    assert kinds(book.kline(kline(3, 20))) == [("gap", 3)]
    assert book.missing(end) == [(start + MINUTE, end)]
    assert kinds(book.kline(kline(1, 12, closed=True))) == [("closed", 1)]
    assert [(gap.missing, gap.kind) for gap in book.gaps] == [(2, "open")]


def test_rest_denies_bars_one_by_one(book: CandleBook) -> None:
    """Those shown stay missing, those closed stay, the others are the venue's gaps."""
    for event in (kline(3, closed=True), kline(7), kline(2), kline(4), kline(5)):
        book.kline(event)
    assert kinds(book.kline(kline(6, closed=True))) == [("closed", 6)]  # late
    end, now = START + 7 * MINUTE, START + 7 * MINUTE + 2000
    for later in (now, now + 1):
        assert book.backfill([], START + MINUTE, end, later) == []
    first = START + 3 * MINUTE + MINUTE
    assert book.gaps == [
        Gap(START + MINUTE, START + 2 * MINUTE, 1, "venue", first, now),
        Gap(START + 2 * MINUTE, START + 3 * MINUTE, 1, "open", first, None),
        Gap(START + 4 * MINUTE, START + 6 * MINUTE, 2, "open", now, None),
    ]
    assert counted(book) == {"older": 3, "late_bars": 1, "contradicted": 10}


def test_gaps_on_both_sides_of_a_bar_that_was_only_late_stay_two(book: CandleBook) -> None:
    book.kline(kline(4, 40))
    book.kline(kline(2, closed=True))
    now = START + 4 * MINUTE + 3000
    book.backfill([], START + MINUTE, START + 4 * MINUTE, now)
    assert [(gap.start, gap.missing, gap.kind) for gap in book.gaps] == [
        (START + MINUTE, 1, "venue"),
        (START + 3 * MINUTE, 1, "venue"),
    ]


def test_parts_of_a_gap_answered_one_after_another_are_one(book: CandleBook) -> None:
    book.kline(kline(4, 40))
    found, now = START + 4 * MINUTE + 2000, START + 5 * MINUTE
    for minute, later in ((3, 0), (1, 1), (2, 2)):
        time = START + minute * MINUTE
        book.backfill([candle_at(time, 0)], time, time + MINUTE, now + later)
        assert sum(gap.missing for gap in book.gaps) == 3
    assert book.gaps == [Gap(START + MINUTE, START + 4 * MINUTE, 3, "ours", found, now + 2)]


def test_each_part_of_a_gap_keeps_its_own_answer(book: CandleBook) -> None:
    book.kline(kline(3, 40))
    time, now = START + 2 * MINUTE, START + 4 * MINUTE
    book.backfill([], time, time + MINUTE, now)
    book.backfill([], time - MINUTE, time, now + 7)
    assert [(gap.missing, gap.closed) for gap in book.gaps] == [(2, now + 7)]
    book.trade(trade(12, MINUTE + 5))
    assert [(gap.kind, gap.closed) for gap in book.gaps] == [("open", None), ("venue", now)]


def test_rest_can_not_take_back_what_is_closed(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    book.kline(kline(1, 14, closed=True))
    time, now = START + 2 * MINUTE, START + 3 * MINUTE
    book.backfill([candle_at(time, 0)], time, now, now)
    assert book.backfill([], START + MINUTE, now, now + 1) == []
    assert book.last_closed == time
    assert book.gaps == [Gap(time, now, 1, "ours", now, now)]
    assert counted(book) == {"contradicted": 2}


def test_rows_of_rest_that_still_form_are_dropped(book: CandleBook) -> None:
    rows = [candle_at(START + k * MINUTE, k) for k in (1, 2)]
    end = START + 3 * MINUTE
    assert kinds(book.backfill(rows, START + MINUTE, end, end - 1)) == [("gap", 1), ("filled", 1)]
    assert counted(book) == {"unfinished": 1}
    assert book.backfill(rows[1:], START + 2 * MINUTE, end, end - 1) == []
    assert counted(book) == {"unfinished": 2}


def test_a_halt_asked_about_again_and_again_is_one_gap(book: CandleBook) -> None:
    for minute in (3, 4, 6):
        for start, end in book.missing(START + minute * MINUTE):
            book.backfill([], start, end, START + minute * MINUTE)
    first, last = START + 3 * MINUTE, START + 6 * MINUTE
    assert book.gaps == [Gap(START + MINUTE, last, 5, "venue", first, last)]


def test_trades_go_on_top_of_the_kline_in_the_order_of_their_ids(book: CandleBook) -> None:
    book.kline(kline(1, 12, volume=1))
    assert book.trade(trade(12, MINUTE + 10)) == []  # in the kline
    for _ in range(2):
        assert book.trade(trade(15, MINUTE + 30, 5.0)) == []  # 13 and 14 are missing
    assert book.partial
    assert book.forming == candle_at(START + MINUTE, 1)
    (change,) = book.trade(trade(13, MINUTE + 20, 0.5, last_id=14))  # late, or asked for by id
    expected = Candle(START + MINUTE, 2.0, 5.0, 0.5, 5.0, 2.0, 0.1 + 0.25 + 2.5, 4.0, 1.5, 3.0)
    assert change == Change("forming", START + MINUTE, expected)
    assert not book.partial
    assert book.trade(trade(15, MINUTE + 30, 5.0)) == []
    # A kline that contains them takes their place; one that doesn't lets them follow it.
    book.kline(kline(1, 14, at=10, volume=2))
    assert book.forming is not None
    assert (book.forming.close, book.forming.volume) == (5.0, 2.5)
    book.kline(kline(1, 15, at=20, volume=2))
    assert book.forming == candle_at(START + MINUTE, 2)
    assert counted(book) == {"repeated": 3}


def test_a_bar_begins_with_a_trade_at_its_very_start(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    assert kinds(book.trade(trade(13, 2 * MINUTE - 1))) == [("forming", 1)]
    assert kinds(book.trade(trade(14, 2 * MINUTE, 4.0))) == [("forming", 2)]
    assert book.forming == Candle(START + 2 * MINUTE, 4.0, 4.0, 4.0, 4.0, 0.5, 2.0, 1.0, 0.5, 2.0)
    assert book.gaps == []
    assert kinds(book.kline(kline(1, 13, closed=True))) == [("closed", 1)]
    assert book.forming.open == 4.0


def test_a_new_bar_is_not_shown_without_its_first_trade(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    assert book.trade(trade(14, 2 * MINUTE + 5)) == []
    assert book.forming == candle_at(START + MINUTE, 0)
    assert book.partial


def test_a_trade_later_than_its_closed_candle_is_counted(book: CandleBook) -> None:
    assert book.trade(trade(10, 59_000)) == []
    assert counted(book) == {"late_trades": 1}
    assert kinds(book.trade(trade(11, MINUTE + 1))) == [("forming", 1)]  # ids go on behind it


def test_what_does_not_belong_here_is_refused(book: CandleBook) -> None:
    right = kline(1, 12)
    off_grid = right.candle._replace(time=right.candle.time + 1)
    for wrong in (
        right._replace(symbol="XYZ"),
        right._replace(interval="5m"),
        right._replace(candle=off_grid),
        right._replace(event_time=right.candle.time - 1),  # of a bar that had not begun
    ):
        assert book.kline(wrong) == []
    assert book.trade(trade(10, MINUTE)._replace(symbol="XYZ")) == []
    assert counted(book) == {"refused": 5}
    assert book.kline(kline(-1, 5, closed=True)) == []  # before the first bar
    assert book.trade(trade(7, -1)) == []
    assert book.last_closed == START
    assert book.gaps == []


def test_a_venue_that_numbers_its_trades_anew_is_followed(book: CandleBook) -> None:
    book.kline(kline(1, 5000))
    book.trade(trade(5002, MINUTE + 10))
    book.kline(kline(2, 3))
    assert kinds(book.trade(trade(4, 2 * MINUTE + 10))) == [("forming", 2)]
    assert not book.partial


# History


def test_holes_of_the_history_are_the_venues() -> None:
    found = CandleBook("ABC", "1m")
    found.load(candle_table([candle_at(START + k * MINUTE, k) for k in (0, 1, 5)]))
    hole, end = START + 2 * MINUTE, START + 5 * MINUTE
    assert found.gaps == [Gap(hole, end, 3, "venue", end, end)]
    assert found.missing(end + 3 * MINUTE) == [(end + MINUTE, end + 3 * MINUTE)]


def test_months_have_no_fixed_length() -> None:
    found = CandleBook("ABC", "1M")
    times = [
        int(pd.Timestamp(f"2023-{month:02}-01", tz="UTC").timestamp() * 1000)
        for month in range(1, 13)
    ]
    found.load(candle_table([candle_at(times[k], k) for k in (0, 1, 2, 5)]))
    assert [(gap.start, gap.missing) for gap in found.gaps] == [(times[3], 2)]
    event = kline(0, closed=True)._replace(interval="1M", event_time=times[9])
    found.kline(event._replace(candle=candle_at(times[8], 0)))
    assert [(gap.start, gap.missing) for gap in found.gaps] == [(times[3], 2), (times[6], 2)]
    assert found.missing(times[11]) == [(times[6], times[8]), (times[9], times[11])]


def test_an_extra_that_one_candle_lacks_is_left_out() -> None:
    found = CandleBook("ABC", "1m")
    past = candle_table([candle_at(START, 1), candle_at(START + MINUTE, 2)])
    past.attrs["source"] = "simulated"
    found.load(past.drop(columns=["trades"]))
    found.kline(kline(2, closed=True))
    assert list(found.candles.columns) == [*COLUMNS, *(n for n in EXTRA_COLUMNS if n != "trades")]
    assert found.candles.attrs == {"source": "simulated"}
    now = START + 3 * MINUTE
    assert found.backfill(past.drop(columns=["trades"]), START, START + 2 * MINUTE, now) == []
    assert kinds(found.backfill(past, START, START + 2 * MINUTE, now + 1)) == [
        ("revised", 0),
        ("revised", 1),
    ]
    assert list(found.candles.columns) == [*COLUMNS, *EXTRA_COLUMNS]


def test_an_empty_history_says_nothing() -> None:
    found = CandleBook("ABC", "1m")
    found.load(candle_table([]))
    assert (found.last_closed, found.forming, found.gaps) == (None, None, [])
    assert found.missing(START) == []
    assert len(check_candles(found.candles)) == 0


def test_what_can_not_be_taken_says_why(book: CandleBook) -> None:
    table = candle_table([candle_at(START + MINUTE, 1)])
    with pytest.raises(FeedError, match="no longer empty.*backfill"):
        book.load(table)
    with pytest.raises(FeedError, match=f"open time of a 5m bar.*{START} ms"):
        CandleBook("ABC", "5m").load(table)
    with pytest.raises(DataError, match="mood.*drop"):
        CandleBook("ABC", "1m").load(table.assign(mood=1.0))
    with pytest.raises(DataError, match="unknown timeframe '60s'"):
        CandleBook("ABC", "60s")
    until, now = START + 3 * MINUTE, START + 9 * MINUTE
    with pytest.raises(FeedError, match="begins with.*missing"):
        book.backfill([], START - MINUTE, until, now)
    with pytest.raises(FeedError, match="begins with None"):
        CandleBook("ABC", "1m").backfill([], START, until, now)
    with pytest.raises(FeedError, match="holds those from"):
        book.backfill(table, START + 2 * MINUTE, until, now)
    with pytest.raises(FeedError, match="no open time"):
        book.backfill([], START + 1, until, now)
    with pytest.raises(FeedError, match="no open time"):
        book.backfill([candle_at(START + 1, 1)], START, until, now)
    with pytest.raises(DataError, match="twice"):
        book.backfill([candle_at(START, 1)] * 2, START, until, now)
    with pytest.raises(DataError, match="low"):
        book.backfill([candle_at(START, 1)._replace(low=9.0)], START, until, now)
    assert book.gaps == []


# Memory


def test_the_table_is_made_once_and_nobody_can_change_it(book: CandleBook) -> None:
    one, other = book.candles, book.candles
    assert np.shares_memory(one["close"].to_numpy(), other["close"].to_numpy())
    one.loc[one.index[0], "close"] = 99.0
    one.attrs["source"] = "mine"
    assert book.candles["close"].tolist() == [2.5]
    assert book.candles.attrs == {}
    book.kline(kline(1, 12, closed=True))
    assert len(other) == 1
    assert len(book.candles) == 2


def test_trades_behind_a_hole_take_a_bounded_place(book: CandleBook) -> None:
    book.kline(kline(1, 12))
    for number in range(14, 1514):
        book.trade(trade(number, MINUTE + number))
    size = len(pickle.dumps(book))
    for number in range(1514, 6014):
        book.trade(trade(number, MINUTE + number))
    assert len(pickle.dumps(book)) < 1.1 * size
    assert book.partial
    (change,) = book.kline(kline(1, 6000, at=10))  # the newest are kept: they follow it
    assert change.candle is not None
    assert change.candle.trades == candle_at(START, 0).trades + 13
    assert not book.partial


def test_trades_of_a_bar_without_klines_take_a_bounded_place(book: CandleBook) -> None:
    for number in range(10, 3010):
        book.trade(trade(number, MINUTE + number))
    assert book.forming is not None
    assert book.forming.trades == 3000
    assert not book.partial
    book.trade(trade(3011, MINUTE + 3011))
    assert book.partial
    book.kline(kline(1, 1500))
    assert book.partial  # those after it are forgotten but for the last thousand
    book.kline(kline(1, 2500, at=10))
    assert book.partial
    book.trade(trade(3010, MINUTE + 3010))
    assert not book.partial


def test_filled_gaps_are_forgotten_when_they_are_many(book: CandleBook) -> None:
    book.kline(kline(3, 20, closed=True))
    book.backfill([], START + MINUTE, START + 3 * MINUTE, START + 4 * MINUTE)
    for minute in range(5, 2505, 2):
        time = START + minute * MINUTE
        book.kline(kline(minute, closed=True))
        book.backfill([candle_at(time - MINUTE, 0)], time - MINUTE, time, time + MINUTE)
    kept = Counter(gap.kind for gap in book.gaps)
    assert kept == {"venue": 1, "ours": 1000}
    assert book.gaps[-1].start == START + 2502 * MINUTE
    assert len(book.candles) == 2502  # all from 0 to 2503, but for the venue's gap
