"""A month as bytes: it comes back bit for bit, and no changed byte goes unseen."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_months import BEGIN, END, HOUR, MARCH, NAMES, bits, some_month

from astraquant.candles import COLUMNS, EXTRA_COLUMNS
from astraquant.data import months
from astraquant.data.months import DAMAGED, Month, Place, claims, decode, encode, month_span
from astraquant.errors import DataError
from astraquant.timeframes import TIMEFRAMES, bin_starts, next_start

PLACE = Place(*MARCH)
# Quiet and other NaNs, infinities, both zeros, the smallest and the largest number there is.
ODD = [0x7FF8 << 48, 0xFFF8 << 48 | 5, 0x7FF0 << 48, 0, 1 << 63, 1, (0x7FF0 << 48) - 1]


@st.composite
def any_months(draw):
    timeframe = draw(st.sampled_from(TIMEFRAMES))
    name = f"{draw(st.integers(1000, 2999))}-{draw(st.integers(1, 12)):02}"
    begin, end = month_span(name)
    since = draw(st.integers(begin, end - 1))
    until = draw(st.integers(since + 1, end))
    moments = draw(st.lists(st.integers(since, until - 1), max_size=8))
    times = np.unique(bin_starts(np.array(moments, dtype=np.int64), timeframe))
    times = times[times >= since]
    extra = draw(st.sets(st.sampled_from(EXTRA_COLUMNS)))
    names = [name for name in NAMES if name in COLUMNS or name in extra]
    words = st.lists(
        st.integers(0, 2**64 - 1) | st.sampled_from(ODD), min_size=len(times), max_size=len(times)
    )
    values = {name: np.array(draw(words), np.uint64).view(np.float64) for name in names}
    notes = tuple(draw(st.lists(st.text(max_size=20), max_size=3)))
    return Place("binance", "BTCUSDT", timeframe, name), Month(times, values, since, until, notes)


@given(any_months())
def test_a_month_comes_back_bit_for_bit(drawn):
    place, month = drawn
    data = encode(month, place)
    assert bits(decode(data, place)) == bits(month)
    told = claims(pq.read_metadata(pa.BufferReader(data)), place)
    outermost = month.times[[0, -1]].tolist() if len(month.times) else [None, None]
    assert [told.first, told.last] == outermost
    assert (told.rows, told.since, told.until) == (len(month.times), month.since, month.until)


def test_a_month_of_seconds_comes_back():
    """The most rows there are: several groups of them, and no limit is in the way."""
    place = Place("binance", "BTCUSDT", "1s", "2023-03")
    month = some_month((END - BEGIN) // 1000, step=1000)
    data = encode(month, place)
    assert bits(decode(data, place)) == bits(month)
    metadata = pq.read_metadata(pa.BufferReader(data))
    assert metadata.num_row_groups > 1
    assert claims(metadata, place).last == END - 1000


def test_any_tool_can_read_the_table():
    month = some_month(names=COLUMNS)
    table = pd.read_parquet(pa.BufferReader(encode(month, PLACE)))
    assert list(table.columns) == ["time", *COLUMNS]
    assert str(table["time"].dtype) == "datetime64[ms, UTC]"
    assert table["close"].tolist() == month.values["close"].tolist()


def test_a_month_begins_where_the_one_before_ends():
    begin, end = month_span("1999-12")
    assert pd.Timestamp(begin, unit="ms") == pd.Timestamp("1999-12-01")
    assert end == month_span("2000-01")[0] == next_start(begin, "1M")


@pytest.mark.parametrize(
    "name", ["2023-13", "2023-00", "2023-1", "23-01", "2023-01\n", "../..", "٢٠٢٣-٠١", "", 202301]
)
def test_what_is_no_month_is_refused(name):
    with pytest.raises(DataError, match="is no month: expected"):
        month_span(name)


# What no month can be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"since": BEGIN - 1}, "no part of the month"),
        ({"until": END + 1}, "no part of the month"),
        ({"until": BEGIN}, "no part of the month"),
        ({"since": BEGIN + 1}, "not all ascending"),
        ({"until": BEGIN + 4 * HOUR}, "not all ascending"),
        ({"times": BEGIN + HOUR * np.array([0, 1, 1, 2, 3])}, "not all ascending"),
        ({"times": BEGIN + HOUR * np.array([0, 2, 1, 3, 4])}, "not all ascending"),
        ({"times": BEGIN + HOUR * np.arange(4)}, "not all as long"),
        ({"times": (BEGIN + HOUR * np.arange(5)).astype(float)}, "not int64"),
        ({"values": dict.fromkeys(COLUMNS, np.ones(5, np.float32))}, "not float64"),
        ({"values": dict.fromkeys(COLUMNS[1:], np.ones(5))}, "expected open, high"),
        ({"values": dict.fromkeys((*COLUMNS, "other"), np.ones(5))}, "columns are open, .*other"),
        ({"values": dict.fromkeys(reversed(NAMES), np.ones(5))}, "columns are taker"),
        ({"notes": ("long" * 10**6,)}, "too long to be kept"),
    ],
)
def test_what_is_no_such_month_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        encode(Month(**{**vars(some_month()), **change}), PLACE)


def test_more_rows_than_a_month_has_are_refused():
    with pytest.raises(DataError, match="746 rows are more than the 745"):
        encode(some_month(746, step=1), PLACE)


# Damage (failure 32)


def read(data: bytes):
    """The month in these bytes, or the error that says why there is none."""
    try:
        return decode(data, PLACE)
    except DAMAGED as error:
        return error


def test_any_changed_byte_is_found_or_harmless():
    month = some_month(3)
    data = encode(month, PLACE)
    found = 0
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= random.Random(position).randrange(1, 256)
        told = read(bytes(changed))
        found += isinstance(told, Exception)
        assert isinstance(told, Exception) or bits(told) == bits(month), position
    assert found > 900  # what pyarrow notes for itself in a file this small is the rest


BIG = some_month(744, seed=2)
BIG_DATA = encode(BIG, PLACE)


@given(st.integers(0, len(BIG_DATA) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_whole_month_is_found_or_harmless(position, flip):
    changed = bytearray(BIG_DATA)
    changed[position] ^= flip
    told = read(bytes(changed))
    assert isinstance(told, Exception) or bits(told) == bits(BIG)


def test_a_file_that_was_cut_is_found():
    data = encode(some_month(3), PLACE)
    for length in range(len(data)):
        assert isinstance(read(data[:length]), Exception)


def stored(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def forged(content=None, **head) -> bytes:
    """A file whose hash is right, but which says something that the cache wouldn't."""
    month = content or some_month()
    head = {**months._head(month, PLACE), **head}
    text = json.dumps({**head, "sha256": months._digest(head, month)})
    columns = {"time": pa.array(month.times, pa.timestamp("ms", "UTC")), **month.values}
    return stored(pa.table(columns).replace_schema_metadata({"astraquant": text}))


def test_a_forged_file_that_says_the_truth_passes():
    assert bits(read(forged())) == bits(some_month())


def one_value_changed() -> bytes:
    table = pq.read_table(pa.BufferReader(encode(some_month(), PLACE)))
    close = table.column("close").to_numpy().copy()
    close[2] = np.nextafter(close[2], 2)
    return stored(table.set_column(table.column_names.index("close"), "close", pa.array(close)))


def nested() -> bytes:
    table = pa.table({"time": [1]})
    return stored(table.replace_schema_metadata({"astraquant": "[" * 10**5}))


def bomb() -> bytes:
    """Rows without end in few bytes; they are not even unpacked."""
    rows = np.zeros(10**6)
    data = forged(Month(rows.astype(np.int64), dict.fromkeys(COLUMNS, rows), BEGIN, END))
    assert len(data) < 10**5
    return data


BAD = {
    "empty": (lambda: b"", "file size is 0 bytes"),
    "text": (lambda: b"time,open\n" * 100, "magic bytes"),
    "another program's": (lambda: stored(pa.table({"time": [1]})), "not written by the cache"),
    "nested too deeply": (nested, "recursion"),
    "one value changed": (one_value_changed, "don't have the hash"),
    "another venue's": (lambda: forged(venue="other"), "its venue is 'other', not 'binance'"),
    "another symbol's": (lambda: forged(symbol="ETHUSDT"), "its symbol is 'ETHUSDT', not"),
    "another timeframe's": (lambda: forged(timeframe="1m"), "its timeframe is '1m', not '1h'"),
    "another month's": (lambda: forged(month="2023-04"), "its month is '2023-04'"),
    "an older format": (lambda: forged(format=0), "its format is 0, not 1"),
    "a newer format": (lambda: forged(format=2), "its format is 2, not 1"),
    "times of another month": (
        lambda: forged(some_month(since=END, until=END + 9 * HOUR)),
        "no part of the month",
    ),
    "an unknown column": (lambda: forged(some_month(names=(*COLUMNS, "x"))), "volume, x; expected"),
    "an unannounced column": (lambda: forged(columns=list(COLUMNS)), "its columns are time, open"),
    "a missing row": (lambda: forged(rows=6), "has 5 rows, says 6"),
    "too many rows": (bomb, "has 1000000 rows, .* 745 at most"),
    "too many bytes": (lambda: bytes(2**21), "more than .* bytes"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_the_cache_has_not_written_is_found(kind):
    make, why = BAD[kind]
    told = read(make())
    assert isinstance(told, Exception)
    assert re.search(why, str(told)), told


# Names (failure 40)


VENUES = ["", ".", "..", "a/b", "a\\b", "a:b", "Binance", "binance\n", "binance.", "-a", "con"]
VENUES += ["nul.example.com", "com1", "lpt9.x", "ｂ", "a" * 65, "a\0", None]
BAD_NAMES = {
    "venue": (VENUES, "no name of a venue"),
    "symbol": (
        ["", "..", "../BTC", "btcusdt", "BTC\n", "B/T", "BTC-1m", "ＢＴＣ", None],
        "no symbol",
    ),
    "timeframe": (["", "2m", "1mo", "1m\n", "../1m", None], "unknown timeframe"),
    "month": (["2023-3", "2023-03\n", "..", None], "no month"),
}


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, (names, _) in BAD_NAMES.items() for name in names]
)
def test_a_name_that_could_lead_elsewhere_is_refused(part, name):
    with pytest.raises(DataError, match=BAD_NAMES[part][1]):
        Place(**{**vars(PLACE), part: name})


@pytest.mark.parametrize(
    "venue",
    ["binance", "simulated-0123456789ab", "127.0.0.1_8080", "console", "com10", "b"],
)
def test_venues_are_called_so(venue):
    assert Place(venue, *MARCH[1:]).venue == venue
