"""The candle table: what is accepted as it is, what is mended exactly, what is refused and how."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant import candles
from astraquant.candles import (
    COLUMNS,
    EXTRA_COLUMNS,
    Candle,
    candle_table,
    check_candles,
    content_hash,
    find_gaps,
    times_of,
)
from astraquant.data import read_candles
from astraquant.errors import DataError
from astraquant.timeframes import MINUTE, from_ms


def make(count: int = 5, **changes: object) -> pd.DataFrame:
    """Minutes from 2023-01-01 with prices around 100; ``changes`` replace whole columns."""
    base = np.arange(count, dtype=float)
    columns = {
        "open": 100 + base,
        "high": 102 + base,
        "low": 99 + base,
        "close": 101 + base,
        "volume": base,
    }
    index = pd.date_range("2023-01-01", periods=count, freq="1min", tz="UTC", name="time")
    return pd.DataFrame({**columns, **changes}, index=index)


def with_cell(column: str, row: int, value: float) -> pd.DataFrame:
    candles = make()
    candles.iloc[row, candles.columns.get_loc(column)] = value
    return candles


def test_a_right_table_is_returned_itself() -> None:
    candles = make()
    assert check_candles(candles) is candles
    assert len(check_candles(candles.iloc[:0])) == 0


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/London", dt.UTC])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_another_zone_and_any_unit_become_utc(zone: object, unit: str) -> None:
    candles = make()
    other = candles.set_axis(candles.index.tz_convert(zone).as_unit(unit).rename("opened"))
    checked = check_candles(other)
    assert str(checked.index.tz) == "UTC"
    assert checked.index.name == "time"
    assert checked.index.unit == unit
    assert (checked.index == candles.index).all()
    assert other.index.name == "opened"  # the caller's table is left as it was


@pytest.mark.parametrize("dtype", ["int64", "uint32", "float32", "Int64", "Float64"])
def test_other_numbers_are_cast_exactly(dtype: str) -> None:
    candles = make().astype({"volume": dtype})
    checked = check_candles(candles)
    assert (checked.dtypes == np.float64).all()
    assert checked["volume"].tolist() == make()["volume"].tolist()
    assert candles["volume"].dtype == dtype


def test_whole_numbers_that_a_float_would_round_are_refused() -> None:
    with pytest.raises(DataError, match=r"volume is 9007199254740993 at 2023-01-01 00:02"):
        check_candles(make(volume=np.array([0, 1, 2**53 + 1, 3, 4])))


@pytest.mark.parametrize("values", [list("abcde"), [True] * 5, [1j] * 5, [None] * 5])
def test_columns_of_another_kind_are_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match=r"the column 'volume' holds .*astype"):
        check_candles(make(volume=values))


def test_extra_columns_are_checked_and_others_left_alone() -> None:
    candles = make(trades=[1, 2, 3, 4, 5], signal=list("abcde"))
    checked = check_candles(candles)
    assert checked["trades"].dtype == np.float64
    assert checked["signal"].tolist() == list("abcde")
    with pytest.raises(DataError, match=r"trades is -1\.0, expected 0 or more, at 2023-01-01"):
        check_candles(make(trades=[-1, 2, 3, 4, 5]))
    with pytest.raises(DataError, match=r"quote_volume is nan.*at 2023-01-01 00:04"):
        check_candles(make(quote_volume=[1, 2, 3, 4, np.nan]))


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_every_bad_number_names_its_column_value_and_first_time(name: str, value: float) -> None:
    candles = with_cell(name, 3, value)
    candles.iloc[4] = np.nan
    with pytest.raises(DataError) as caught:
        check_candles(candles)
    text = str(caught.value)
    assert f"{name} is {value}" in text
    assert "2023-01-01 00:03" in text
    assert "bad rows in all: 2" in text
    assert "drop" in text


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("close", 101.5, "low 102.0 is above close 101.5"),
        ("low", 103.5, "low 103.5 is above open 103.0"),
        ("high", 103.5, "high 103.5 is below close 104.0"),
        ("high", 102.5, "high 102.5 is below open 103.0"),
        ("open", 0.0, "open is 0.0, expected a price above 0"),
        ("close", 200.0, "high 105.0 is below close 200.0"),
    ],
)
def test_impossible_candles_are_refused(name: str, value: float, told: str) -> None:
    with pytest.raises(DataError, match=f"{told}.* at 2023-01-01 00:03"):
        check_candles(with_cell(name, 3, value))


@given(st.lists(st.sampled_from([math.nan, -1.0, 0.0, 1.0, 2.0, math.inf]), min_size=5, max_size=5))
def test_the_mask_and_the_explanation_agree(values: list[float]) -> None:
    """A candle is refused exactly if each rule, written out, isn't met."""
    o, h, lo, c, v = values
    right = all(0 < price < math.inf for price in (o, h, lo, c)) and lo <= min(o, c)
    right = right and max(o, c) <= h and 0 <= v < math.inf
    table = make(2)
    table.iloc[1] = values
    if right:
        assert check_candles(table) is table
    else:
        with pytest.raises(DataError, match=r"(is|below|above) .* at 2023-01-01 00:01"):
            check_candles(table)


@given(
    st.integers(1, 100),
    st.sampled_from([*COLUMNS, *EXTRA_COLUMNS]),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, -0.0, 0.0, 1.0, 100.5, 1e9]),
    st.data(),
)
def test_the_quick_look_over_whole_columns_and_the_mask_agree(
    count: int, name: str, value: float, data: st.DataObject
) -> None:
    table = make(count, **dict.fromkeys(EXTRA_COLUMNS, 1.0))
    values = {column: table[column].to_numpy(copy=True) for column in table}
    values[name][data.draw(st.integers(0, count - 1))] = value
    good = candles._good_rows(values)
    assert candles._all_good(values) == bool(good.all())
    assert int((~good).sum()) <= 1


def test_a_table_may_be_a_strided_view() -> None:
    table = make(30)
    table = pd.DataFrame(np.ascontiguousarray(table.to_numpy()), table.index, table.columns)
    every = table.iloc[::-3].iloc[::-1]
    assert check_candles(every) is every
    table.iloc[15, 3] = np.nan
    with pytest.raises(DataError, match=r"close is nan.* at 2023-01-01 00:15"):
        check_candles(table.iloc[::5])
    assert len(check_candles(table.iloc[1::5])) == 6


def test_no_time_zone_is_refused_with_the_cure() -> None:
    naive = make().tz_localize(None)
    with pytest.raises(DataError, match=r'no time zone.*candles\.tz_localize\("UTC"\)'):
        check_candles(naive)
    assert check_candles(naive.tz_localize("UTC")).equals(make())


def test_an_index_without_times_is_refused() -> None:
    with pytest.raises(DataError, match=r'RangeIndex.*set_index\("time"\)'):
        check_candles(make().reset_index(names="time"))
    with pytest.raises(DataError, match="row 1 of the candles has no time"):
        index = make(3).index
        check_candles(make(3).set_axis(pd.DatetimeIndex([index[0], pd.NaT, index[2]])))
    with pytest.raises(DataError, match=r"00:00:00\.000500.*no whole millisecond"):
        check_candles(make().set_axis(make().index.as_unit("us") + pd.Timedelta(500, "us")))


def test_the_cure_for_another_index_cures() -> None:
    right = make()
    times = pd.DatetimeIndex(right.index)
    text = "candles.set_axis(pd.to_datetime(candles.index, utc=True))."
    number = 'candles.set_axis(pd.to_datetime(candles.index, unit="ms", utc=True)).'
    period = 'candles.to_timestamp().tz_localize("UTC").'

    def check(index: pd.Index[Any], kind: str, cure: str) -> pd.DataFrame:
        candles = right.set_axis(index)
        with pytest.raises(DataError) as caught:
            check_candles(candles)
        assert f"index is {kind}; expected times in UTC. " in str(caught.value)
        assert str(caught.value).endswith(cure)
        return candles

    candles = check(pd.Index(times_of(right)), "an Index", number)
    cured = [candles.set_axis(pd.to_datetime(candles.index, unit="ms", utc=True))]
    for dtype in (object, "str"):
        candles = check(pd.Index(times.map(str), dtype=dtype), "an Index", text)
        cured.append(candles.set_axis(pd.to_datetime(candles.index, utc=True)))
    candles = check(times.tz_localize(None).to_period("min"), "a PeriodIndex", period)
    cured.append(candles.to_timestamp().tz_localize("UTC"))
    for table in cured:
        assert times_of(check_candles(table)).tolist() == times_of(right).tolist()


def test_order_and_repeated_times() -> None:
    candles = make()
    with pytest.raises(DataError, match=r"00:02:00.* comes after .*00:03:00.*sort_index"):
        check_candles(candles.iloc[[0, 1, 3, 2, 4]])
    assert check_candles(candles.iloc[[0, 1, 3, 2, 4]].sort_index()).equals(candles)
    with pytest.raises(DataError, match=r"00:01:00\S* is there twice .*in all: 2\).*keep=\"last\""):
        check_candles(candles.iloc[[0, 1, 1, 2, 3, 3]])


def test_missing_and_repeated_columns() -> None:
    with pytest.raises(
        DataError, match=r"no column 'volume'; they have .*'Vol'.*\"Vol\": \"volume"
    ):
        check_candles(make().rename(columns={"volume": "Vol"}))
    with pytest.raises(DataError, match=r"no column 'close'; they have \['open', 'high', 'low'"):
        check_candles(make().drop(columns="close"))
    with pytest.raises(DataError, match=r"'low' twice"):
        check_candles(make().rename(columns={"high": "low"}).assign(high=200.0))
    with pytest.raises(DataError, match="candles are a dict; expected a pandas DataFrame"):
        check_candles({"open": [1]})  # type: ignore[arg-type]


def test_gaps_are_half_open_and_counted() -> None:
    gaps = find_gaps(make(10).iloc[[0, 1, 4, 5, 9]])
    assert gaps["start"].astype(str).str[11:16].tolist() == ["00:02", "00:06"]
    assert gaps["end"].astype(str).str[11:16].tolist() == ["00:04", "00:09"]
    assert gaps["missing"].tolist() == [2, 3]
    assert str(gaps["start"].dt.tz) == "UTC"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_no_gaps_make_an_empty_table_of_the_same_types(count: int) -> None:
    gaps = find_gaps(make(count))
    assert len(gaps) == 0
    assert gaps.dtypes.equals(find_gaps(make(10).drop(make(10).index[4])).dtypes)


def test_gaps_of_months_follow_the_calendar() -> None:
    months = pd.date_range("2023-01-01", periods=14, freq="MS", tz="UTC", name="time")
    candles = make(14).set_axis(months).drop(months[[1, 5, 6, 11, 12]])
    gaps = find_gaps(candles)
    assert gaps["start"].astype(str).str[:10].tolist() == ["2023-02-01", "2023-06-01", "2023-12-01"]
    assert gaps["end"].astype(str).str[:10].tolist() == ["2023-03-01", "2023-08-01", "2024-02-01"]
    assert gaps["missing"].tolist() == [1, 2, 2]


@given(st.sets(st.integers(0, 60), min_size=1), st.sampled_from(["1m", "1h", "1w"]))
def test_gaps_and_candles_together_are_every_bar(present: set[int], timeframe: str) -> None:
    length = {"1m": MINUTE, "1h": 60 * MINUTE, "1w": 7 * 24 * 60 * MINUTE}[timeframe]
    bars = sorted(present | {70, 71})  # two neighbours show the timeframe
    gaps = find_gaps(make(len(bars)).set_axis(from_ms(np.array(bars) * length)))
    missing: list[int] = []
    for start, end, count in gaps.itertuples(index=False):
        hole = range(int(start.timestamp() * 1000) // length, int(end.timestamp() * 1000) // length)
        assert len(hole) == count
        missing.extend(hole)
    assert sorted(missing + bars) == list(range(bars[0], 72))


def test_the_halt_of_march_2023(market_data: Path) -> None:
    folder = market_data / "klines"
    minutes = read_candles(folder / "binance_spot_BTCUSDT_1m_20230101_20231231.parquet")
    gaps = find_gaps(minutes)
    assert [str(value) for value in gaps.iloc[0]] == [
        "2023-03-24 12:40:00+00:00",
        "2023-03-24 14:00:00+00:00",
        "80",
    ]
    assert len(gaps) == 1
    empty = minutes[minutes["volume"] == 0]  # before the halt: bars without trades, not gaps
    assert len(empty) == 72
    assert (str(empty.index[0])[:16], str(empty.index[-1])[:16]) == (
        "2023-03-24 11:28",
        "2023-03-24 12:39",
    )
    for name, start, missing in [("15m", "12:45", 5), ("1h", "13:00", 1)]:
        (file,) = folder.glob(f"binance_spot_BTCUSDT_{name}_*.csv.gz")
        gap = find_gaps(read_candles(file))
        assert gap["start"].astype(str).str[:16].tolist() == [f"2023-03-24 {start}"]
        assert gap["missing"].tolist() == [missing]


def test_the_minute_that_only_sol_lacks(market_data: Path) -> None:
    (file,) = (market_data / "klines").glob("binance_spot_SOLUSDT_1m_*.parquet")
    gaps = find_gaps(read_candles(file))
    assert gaps["start"].astype(str).str[:16].tolist() == ["2023-02-14 16:39", "2023-03-24 12:40"]
    assert gaps["missing"].tolist() == [1, 80]


def test_the_fingerprint_is_that_of_the_bytes() -> None:
    candles = make(3)
    data = struct.pack("<3q", *(1672531200000 + k * MINUTE for k in range(3)))
    for name in COLUMNS:
        data += struct.pack("<3d", *candles[name])
    assert content_hash(candles) == hashlib.sha256(data).hexdigest()


def test_the_fingerprint_sees_the_candles_and_nothing_else() -> None:
    candles = make()
    print_ = content_hash(candles)
    same = candles.assign(trades=1.0).set_axis(candles.index.as_unit("ns").tz_convert("Asia/Tokyo"))
    same.attrs["source"] = "elsewhere"
    assert content_hash(same[[*reversed(COLUMNS), "trades"]]) == print_
    assert content_hash(candles.iloc[1:]) != print_
    assert content_hash(candles.set_axis(candles.index + pd.Timedelta("1min"))) != print_
    for name in COLUMNS:
        value = math.nextafter(candles[name].iloc[2], 1e9)
        assert content_hash(with_cell(name, 2, value)) != print_


def test_candles_become_a_table() -> None:
    records = [Candle(0, 1.0, 2.0, 0.5, 1.5, 3.0, trades=4.0), Candle(MINUTE, 1, 1, 1, 1, 0, 5.0)]
    table = candle_table(records)
    assert list(table.columns) == list(COLUMNS)  # neither extra is known for both
    assert table.index.tolist() == [
        pd.Timestamp(0, tz="UTC"),
        pd.Timestamp(MINUTE, unit="ms", tz="UTC"),
    ]
    assert list(candle_table(records[:1]).columns) == [*COLUMNS, "trades"]
    assert list(candle_table([]).columns) == list(COLUMNS)
