"""Units of time: bins, multiples, the timeframe of a table, moments as people write them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant import timeframes as tf
from astraquant.errors import DataError

FIRST, LAST = "2019-12-01", "2024-04-01"  # whole months, with a leap February
moments = st.datetimes(dt.datetime(1999, 1, 1), dt.datetime(2060, 1, 1))


def ms(text: str) -> int:
    return int(pd.Timestamp(text, tz="UTC").timestamp() * 1000)


def naive_bin_start(time: int, timeframe: str) -> int:
    """The same by the calendar, one moment at a time."""
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=time)
    if timeframe == "1M":
        start = dt.datetime(moment.year, moment.month, 1)
    elif timeframe == "1w":
        day = moment.date() - dt.timedelta(days=moment.weekday())
        start = dt.datetime(day.year, day.month, day.day)
    else:
        length = dt.timedelta(milliseconds=tf.DURATIONS[timeframe])
        start = dt.datetime(1970, 1, 1) + (moment - dt.datetime(1970, 1, 1)) // length * length
    return round((start - dt.datetime(1970, 1, 1)).total_seconds() * 1000)


@given(moments, st.sampled_from(tf.TIMEFRAMES))
def test_bins_follow_the_calendar(moment: dt.datetime, timeframe: str) -> None:
    time = int((moment - dt.datetime(1970, 1, 1)) / dt.timedelta(milliseconds=1))
    start = int(tf.bin_starts(np.array([time]), timeframe)[0])
    assert start == naive_bin_start(time, timeframe)
    end = tf.next_start(start, timeframe)
    assert start <= time < end
    assert naive_bin_start(end, timeframe) == end
    assert naive_bin_start(end - 1, timeframe) == start


def test_bins_before_the_epoch_are_not_rounded_towards_it() -> None:
    assert tf.bin_starts(np.array([-1]), "1h").tolist() == [-tf.HOUR]
    assert tf.bin_starts(np.array([-1]), "1M").tolist() == [ms("1969-12-01")]
    assert tf.bin_starts(np.array([-1]), "1w").tolist() == [ms("1969-12-29")]


@given(
    moments,
    st.sampled_from(tf.TIMEFRAMES),
    st.lists(st.floats(0.01, 4), max_size=30) | st.lists(st.sampled_from([0.2, 0.25, 3.0])),
)
def test_times_are_put_into_their_bins(
    first: dt.datetime, timeframe: str, steps: list[float]
) -> None:
    """Few or many in a bin, on its edges and off, with empty bins in between."""
    lengths = [max(1, int(step * tf.DURATIONS[timeframe])) for step in steps]
    start = naive_bin_start(int(first.timestamp()) * 1000, timeframe)
    times = start + np.cumsum([0, *lengths])
    bins = tf.bins_of(times, timeframe)
    members: dict[int, list[int]] = {}
    for row, time in enumerate(times.tolist()):
        members.setdefault(naive_bin_start(time, timeframe), []).append(row)
    assert bins.start.tolist() == list(members)
    assert bins.first.tolist() == [rows[0] for rows in members.values()]
    assert bins.after.tolist() == [rows[-1] + 1 for rows in members.values()]
    assert bins.end.tolist() == [tf.next_start(start, timeframe) for start in members]


@pytest.mark.parametrize("timeframe", tf.TIMEFRAMES)
def test_no_times_lie_in_no_bins(timeframe: str) -> None:
    assert [len(edges) for edges in tf.bins_of(np.array([], np.int64), timeframe)] == [0] * 4


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_an_index_of_any_unit_becomes_milliseconds(unit: str, zone: str | None) -> None:
    index = pd.date_range("1969-12-31 23:59", "1970-01-01 00:02", freq="1min", tz="UTC", unit=unit)
    other = index.tz_convert(zone) if zone else index.tz_localize(None)
    assert tf.to_ms(other).tolist() == [-60_000, 0, 60_000, 120_000]
    assert tf.to_ms(other[::2]).tolist() == [-60_000, 60_000]


def starts_between(timeframe: str) -> set[int]:
    """Open times of every bin of ``timeframe`` that begins in the years looked at."""
    start, found = int(tf.bin_starts(np.array([ms(FIRST)]), timeframe)[0]), set()
    while start < ms(LAST):
        if start >= ms(FIRST):
            found.add(start)
        start = tf.next_start(start, timeframe)
    return found


def test_multiples_against_all_bins_of_four_years() -> None:
    slow = [name for name in tf.TIMEFRAMES if tf.DURATIONS[name] >= 15 * tf.MINUTE]
    opens = {name: starts_between(name) for name in slow}
    for target in slow:
        for source in slow:
            made_of_whole_bins = opens[target] <= opens[source]
            assert tf.is_multiple(target, source) == made_of_whole_bins, (target, source)


def test_multiples_of_short_bars_within_two_days() -> None:
    short = [name for name in tf.TIMEFRAMES if tf.DURATIONS[name] <= tf.DAY]
    opens = {name: set(range(0, 2 * tf.DAY, tf.DURATIONS[name])) for name in short}
    for target in short:
        for source in short:
            assert tf.is_multiple(target, source) == (opens[target] <= opens[source])


@pytest.mark.parametrize("timeframe", tf.TIMEFRAMES)
def test_the_timeframe_is_the_smallest_spacing(timeframe: str) -> None:
    times = [int(tf.bin_starts(np.array([ms("2023-11-15")]), timeframe)[0])]
    for _ in range(30):
        times.append(tf.next_start(times[-1], timeframe))
    kept = np.array(times)[[0, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 30]]
    assert tf.infer_timeframe(kept) == timeframe


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
def test_the_smallest_spacing_may_stand_anywhere(steps: list[int]) -> None:
    assert tf._smallest_spacing(np.cumsum([-5, *steps])) == min(steps)


def test_months_are_told_from_any_two_neighbours() -> None:
    for month in pd.date_range("2023-01-01", "2024-12-01", freq="MS"):
        pair = pd.DatetimeIndex([month, month + pd.offsets.MonthBegin()])
        assert tf.infer_timeframe(tf.to_ms(pair)) == "1M"


def test_spacings_that_are_no_timeframe_are_refused() -> None:
    with pytest.raises(DataError, match=r"0 days 00:02:00.*none of Binance's intervals"):
        tf.infer_timeframe(np.array([0, 2, 4]) * tf.MINUTE)
    with pytest.raises(DataError, match="30 days"):  # a month's length, but not on the 1st
        tf.infer_timeframe(np.array([0, 30, 60]) * tf.DAY + ms("2023-01-05"))
    with pytest.raises(DataError, match="can't be told from 1 candle"):
        tf.infer_timeframe(np.array([0]))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("5min", "5m"),
        ("1H", "1h"),
        ("1D", "1d"),
        ("60m", "1h"),
        ("24h", "1d"),
        ("7d", "1w"),
        ("1440m", "1d"),
        ("1Min", "1m"),
        ("1mo", "1M"),
        ("m", "1m"),
        ("M", "1M"),
        ("D", "1d"),
        ("daily", "1d"),
        ("15 T", "15m"),
        ("3600s", "1h"),
        ("7m", None),
        ("5M", None),
        ("30d", None),
        ("0m", None),
        ("fast", None),
        ("", None),
        (5, None),
        (None, None),
    ],
)
def test_unknown_timeframes_name_the_nearest(wrong: object, near: str | None) -> None:
    with pytest.raises(DataError, match=f"unknown timeframe {wrong!r}") as caught:
        tf.check_timeframe(wrong)
    hint = "" if near is None else f" Did you mean {near!r}?"
    assert f"{wrong!r}.{hint} Known: 1s, " in str(caught.value)


def test_minute_and_month_are_not_confused() -> None:
    assert tf.duration("1m") == 60_000
    assert tf.bars_per_year("1M") == 12
    assert tf.bars_per_year("1m") == 525_600


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_an_index_becomes_milliseconds_whatever_its_unit(unit: str, zone: str | None) -> None:
    index = pd.DatetimeIndex(["2023-03-24 12:40"], tz="UTC").as_unit(unit)  # type: ignore[arg-type]
    index = index.tz_localize(None) if zone is None else index.tz_convert(zone)
    assert tf.to_ms(index).tolist() == [ms("2023-03-24 12:40")]
    back = tf.from_ms(tf.to_ms(index))
    assert (back.name, str(back.tz), back[0]) == ("time", "UTC", pd.Timestamp("2023-03-24 12:40Z"))


@pytest.mark.parametrize(
    "value",
    [
        "2023-03-24 12:40",
        " 2023-03-24T12:40:00Z ",
        "2023-03-24T14:40+02:00",
        1679661600000,
        np.int64(1679661600000),
        np.datetime64("2023-03-24T12:40"),
        dt.datetime(2023, 3, 24, 12, 40),
        dt.datetime(2023, 3, 24, 13, 40, tzinfo=ZoneInfo("Europe/Berlin")),
        pd.Timestamp("2023-03-24 12:40"),
    ],
)
def test_moments_as_people_write_them(value: object) -> None:
    parsed = tf.parse_time(value)
    assert parsed == pd.Timestamp("2023-03-24 12:40", tz="UTC")
    assert str(parsed.tz) == "UTC"


def test_whole_days_months_and_years_mean_their_start() -> None:
    assert tf.parse_time("2023") == tf.parse_time("2023-01") == tf.parse_time(dt.date(2023, 1, 1))


@pytest.mark.parametrize(
    "value",
    [
        *("", "now", "12:40", "03/04/2023", "2023-13-01", "2023-02-30"),
        *("2023-01-14T22:00:00 02:00", "2023-01-14 22:00:00.0000001"),
        *(2023, 1679661600, 1.6e12, 10**30, True, float("nan")),
        *(None, pd.NaT, np.datetime64("NaT", "ms")),
    ],
)
def test_what_would_be_a_guess_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"start=.* is no moment in time.*2023-03-24 12:40"):
        tf.parse_time(value, "start")
