"""Resampling against Binance's own candles, a naive oracle, and its streaming twin."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from naive_resampling import bin_of, naive_resample

from astraquant.candles import COLUMNS, EXTRA_COLUMNS, Candle, candle_table, times_of
from astraquant.data import read_candles
from astraquant.errors import DataError
from astraquant.resampling import CandleBuilder, resample
from astraquant.timeframes import DAY, DURATIONS, TIMEFRAMES, from_ms, is_multiple

NAMES = [*COLUMNS, *EXTRA_COLUMNS]
PAIRS = [
    (source, target)
    for source in TIMEFRAMES
    for target in TIMEFRAMES
    if source != target and is_multiple(target, source)
]
unhurried = settings(deadline=None)  # the first example waits for the compiler
START = 1_672_531_200_000  # 2023-01-01, a Sunday


def rows_of(table: pd.DataFrame) -> list[tuple[float, ...]]:
    return list(zip(times_of(table).tolist(), *(table[c].tolist() for c in table), strict=True))


def same_bits(left: list[tuple[float, ...]], right: list[tuple[float, ...]]) -> bool:
    """Equal to the last bit: -0.0 is not 0.0 here, and NaN is NaN."""
    return np.array(left, dtype=float).tobytes() == np.array(right, dtype=float).tobytes()


def from_rows(rows: list[tuple[float, ...]]) -> pd.DataFrame:
    columns = np.array(rows).T
    values = dict(zip(NAMES, columns[1:], strict=False))
    return pd.DataFrame(values, index=from_ms(columns[0].astype(np.int64)))


volumes = st.floats(0, 1e9) | st.just(-0.0)


@st.composite
def bar_rows(draw: st.DrawFn, source: str, reach: int) -> list[tuple[float, ...]]:
    """Up to 40 bars of ``source`` on its grid, somewhere in ``reach`` bars, with holes."""
    first = draw(st.integers(-reach, reach))
    places = sorted(draw(st.sets(st.integers(0, reach), min_size=1, max_size=38)))
    length = DURATIONS[source]
    origin = bin_of(START, source)[0] + first * length
    rows = []
    for place in [*places, places[-1] + 1, places[-1] + 2]:  # neighbours show the timeframe
        prices = sorted(draw(st.tuples(*[st.floats(1e-3, 1e6)] * 4)))
        body = draw(st.permutations(prices[1:3]))
        sums = draw(st.tuples(*[volumes] * 5))
        rows.append((origin + place * length, body[0], prices[3], prices[0], body[1], *sums))
    return rows


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, str, list[tuple[float, ...]]]:
    source, target = draw(st.sampled_from(PAIRS))
    per_bin = 31 * DAY // DURATIONS[source] if target == "1M" else 0
    per_bin = per_bin or DURATIONS[target] // DURATIONS[source]
    return source, target, draw(bar_rows(source, 3 * per_bin))


@unhurried
@given(problems(), st.booleans())
def test_batch_equals_the_naive_oracle(
    problem: tuple[str, str, list[tuple[float, ...]]], partial: bool
) -> None:
    source, target, rows = problem
    result = resample(from_rows(rows), target, partial=partial)
    assert same_bits(rows_of(result), naive_resample(rows, source, target, partial))
    assert list(result.columns) == NAMES
    assert (result.dtypes == np.float64).all()


@unhurried
@given(problems(), st.permutations(NAMES), st.sets(st.sampled_from(EXTRA_COLUMNS)))
def test_columns_may_be_fewer_and_in_any_order(
    problem: tuple[str, str, list[tuple[float, ...]]], order: list[str], lacking: set[str]
) -> None:
    _, target, rows = problem
    chosen = [name for name in order if name not in lacking]
    whole = resample(from_rows(rows), target)
    part = resample(from_rows(rows)[chosen], target)
    pd.testing.assert_frame_equal(part, whole[chosen], check_exact=True)


@unhurried
@given(problems(), st.booleans())
def test_builder_equals_batch_bit_for_bit(
    problem: tuple[str, str, list[tuple[float, ...]]], partial: bool
) -> None:
    source, target, rows = problem
    builder = CandleBuilder(target, source=source, partial=partial)
    closed = [done for row in rows for done in builder.add_candle(Candle(int(row[0]), *row[1:]))]
    if partial and builder.forming:  # nothing is lost: what isn't closed is forming
        closed.append(builder.forming)
    assert same_bits(closed, rows_of(resample(from_rows(rows), target, partial=partial)))


@unhurried
@given(problems())
def test_without_the_source_the_last_bin_stays_forming(
    problem: tuple[str, str, list[tuple[float, ...]]],
) -> None:
    _, target, rows = problem
    builder = CandleBuilder(target)
    closed = [done for row in rows for done in builder.add_candle(Candle(int(row[0]), *row[1:]))]
    everything = rows_of(resample(from_rows(rows), target, partial=True))
    whole_first = rows[0][0] == everything[0][0]
    assert builder.forming is not None
    assert same_bits([builder.forming], everything[-1:])
    assert same_bits(closed, everything[0 if whole_first else 1 : -1])


@unhurried
@given(
    st.lists(
        st.tuples(st.integers(0, 40_000), st.floats(1, 1e5), st.floats(0, 100), st.booleans()),
        min_size=1,
    ),
    st.integers(-100_000, 100_000),
)
def test_trades_become_the_candles_of_their_minutes(
    steps: list[tuple[int, float, float, bool]], offset: int
) -> None:
    time, trades = START + offset, []
    for step, price, quantity, maker in steps:
        time += step
        trades.append((time, price, quantity, maker))
    builder = CandleBuilder("1m")
    closed = [candle for trade in trades for candle in builder.add_trade(*trade)]

    minutes: dict[int, list[tuple[int, float, float, bool]]] = {}
    for trade in trades:
        minutes.setdefault(trade[0] // 60_000 * 60_000, []).append(trade)
    expected = []
    for start, members in minutes.items():
        prices = [price for _, price, _, _ in members]
        volume = amount = taker = taker_amount = 0.0
        for _, price, quantity, maker in members:
            volume += quantity
            amount += price * quantity
            taker += 0.0 if maker else quantity
            taker_amount += 0.0 if maker else price * quantity
        ohlc = (prices[0], max(prices), min(prices), prices[-1])
        expected.append((start, *ohlc, volume, amount, float(len(members)), taker, taker_amount))
    assert builder.forming is not None
    assert same_bits([builder.forming], expected[-1:])
    late = trades[0][0] != expected[0][0]  # the first minute was under way already
    assert same_bits(closed, expected[int(late) : -1])


@unhurried
@given(problems(), st.data())
def test_in_two_steps_or_in_one(
    problem: tuple[str, str, list[tuple[float, ...]]], data: st.DataObject
) -> None:
    """5m from 1m and 1h from these is 1h from 1m, sums apart (they are added in another order)."""
    source, target, rows = problem
    between = [name for s, name in PAIRS if s == source and is_multiple(target, name)]
    middle = data.draw(st.sampled_from([source, *between]))
    table = from_rows(rows)
    one_step = resample(table, target, partial=True)
    halfway = resample(table, middle, partial=True)
    spacing = np.diff(times_of(halfway))
    longest = 31 * DAY if middle == "1M" else DURATIONS[middle]  # else bars are missing in between
    assume(len(spacing) > 0 and spacing.min() <= longest)
    two_steps = resample(halfway, target, partial=True)
    assert two_steps.index.equals(one_step.index)
    assert two_steps.iloc[:, :4].equals(one_step.iloc[:, :4])
    np.testing.assert_allclose(two_steps, one_step, rtol=1e-12)


OFFICIAL = [
    ("BTCUSDT", "15m", 35_035),
    ("BTCUSDT", "1h", 8_759),
    ("BTCUSDT", "1d", 139),
    ("ETHUSDT", "15m", 6_715),
    ("ETHUSDT", "1h", 1_679),
    ("ETHUSDT", "1d", 70),
    ("SOLUSDT", "15m", 6_715),
    ("SOLUSDT", "1h", 1_679),
]


@pytest.mark.parametrize(("symbol", "timeframe", "count"), OFFICIAL)
def test_equal_to_the_exchanges_own_candles(
    market_data: Path, symbol: str, timeframe: str, count: int
) -> None:
    (minutes_file,) = (market_data / "klines").glob(f"binance_spot_{symbol}_1m_*.parquet")
    (official_file,) = (market_data / "klines").glob(f"binance_spot_{symbol}_{timeframe}_*.csv.gz")
    ours = resample(read_candles(minutes_file), timeframe)
    official = read_candles(official_file)
    official = official[ours.index[0] : ours.index[-1]]
    ours = ours[official.index[0] :]  # BTCUSDT's own days begin in August
    assert len(official) == count
    assert ours.index.equals(official.index)
    for name in ("open", "high", "low", "close"):
        assert ours[name].equals(official[name]), name
    # The one minute of SOLUSDT whose trades the exchange counts in coarser candles only:
    lacking = pd.Timestamp("2023-02-14 16:39", tz="UTC") if symbol == "SOLUSDT" else None
    known = np.ones(count, dtype=bool)
    if lacking is not None:
        bin_open = official.index[official.index <= lacking][-1]
        known = np.asarray(official.index != bin_open)
        assert ours.loc[bin_open, "trades"] < official.loc[bin_open, "trades"]
        assert int(known.sum()) == count - 1
    assert ours["trades"][known].equals(official["trades"][known])
    for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
        np.testing.assert_allclose(
            ours[name][known], official[name][known], rtol=1e-10, err_msg=name
        )


def test_the_builder_over_real_minutes(market_data: Path) -> None:
    """Through the halt of 2023-03-24, one minute at a time: the same as the batch."""
    minutes = read_candles(market_data / "raw_vision" / "BTCUSDT-1m-2023-03-*.zip")
    for timeframe in ("3m", "15m", "1h", "4h", "1d"):
        builder = CandleBuilder(timeframe, source="1m")
        closed = [
            candle
            for row in rows_of(minutes)
            for candle in builder.add_candle(Candle(*row))  # type: ignore[arg-type]
        ]
        assert same_bits(closed, rows_of(resample(minutes, timeframe)))
        assert builder.forming is None
        assert candle_table(closed).equals(resample(minutes, timeframe))


def test_recorded_trades_become_the_official_minutes(market_data: Path) -> None:
    builder, closed = CandleBuilder("1m"), []
    with gzip.open(market_data / "ws" / "hftbacktest_usdm_btcusdt_20240808.gz", "rt") as lines:
        for line in lines:
            message = json.loads(line.split(" ", 1)[1])
            trade = message.get("data", {})
            if trade.get("e") == "trade" and trade.get("X") == "MARKET":
                closed += builder.add_trade(
                    trade["T"], float(trade["p"]), float(trade["q"]), trade["m"]
                )
    official = read_candles(market_data / "ws" / "official_um_BTCUSDT_1m_20240808_2354-2359.csv")
    assert builder.forming is not None
    built = candle_table([*closed, builder.forming])
    built = built[: official.index[-1]]
    assert built.index.equals(official.index[1:])  # 23:54 was recorded from its 15th second on
    for name in official.columns:
        np.testing.assert_allclose(built[name], official[name][1:], rtol=1e-12, err_msg=name)


def minutes_from(start: str, count: int) -> pd.DataFrame:
    index = pd.date_range(start, periods=count, freq="1min", tz="UTC", name="time", unit="ms")
    base = 100 + np.arange(count, dtype=float)
    return pd.DataFrame(
        {"open": base, "high": base + 2, "low": base - 1, "close": base + 1, "volume": 1.0},
        index=index,
    )


def test_the_rule_of_the_edges() -> None:
    table = minutes_from("2023-01-01 00:02", 12)  # 00:02 .. 00:13
    assert times_of(resample(table, "5m")).tolist() == [START + 300_000]
    kept = resample(table, "5m", partial=True)
    assert kept["volume"].tolist() == [3, 5, 4]
    assert kept["open"].tolist() == [100, 103, 108]
    assert kept["close"].tolist() == [103, 108, 112]
    whole = resample(minutes_from("2023-01-01 00:00", 10), "5m")
    assert whole["volume"].tolist() == [5, 5]
    assert len(resample(table.iloc[:2], "5m")) == 0
    assert len(resample(table.iloc[:0], "5m")) == 0


def test_a_bin_with_a_hole_is_kept_and_an_empty_one_absent() -> None:
    table = minutes_from("2023-01-01 00:00", 20)
    result = resample(table.drop(table.index[[2, *range(5, 10), 14]]), "5m")
    assert times_of(result).tolist() == [START, START + 600_000, START + 900_000]
    assert result["volume"].tolist() == [4, 4, 5]


def test_months_and_weeks() -> None:
    days = pd.date_range("2023-01-30", "2023-05-03", freq="1D", tz="UTC", name="time")
    table = minutes_from("2023-01-01", len(days)).set_axis(days)
    months = resample(table, "1M")
    assert months.index.astype(str).str[:10].tolist() == ["2023-02-01", "2023-03-01", "2023-04-01"]
    assert months["volume"].tolist() == [28, 31, 30]
    weeks = resample(table, "1w")
    assert (weeks.index.dayofweek == 0).all()
    assert (weeks["volume"] == 7).all()
    assert (len(weeks), str(weeks.index[0])[:10]) == (13, "2023-01-30")


def test_the_same_timeframe_is_the_same_table() -> None:
    table = minutes_from("2023-01-01 00:02", 12)
    assert resample(table, "1m") is table


def test_the_label_survives_and_the_source_is_untouched() -> None:
    table = minutes_from("2023-01-01", 10)
    table.attrs["source"] = "synthetic"
    before = table.copy()
    result = resample(table, "5m")
    assert result.attrs == {"source": "synthetic"}
    result.iloc[0, 0] = 1.0  # a result may be written to
    assert table.equals(before)
    assert list(result.columns) == list(table.columns)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("1h", "15m", r"1h candles can't be joined into 15m.*\(1h, 2h, 4h, .*load finer"),
        ("3m", "5m", r"3m candles can't be joined into 5m.*\(3m, 15m, 30m"),
        ("3d", "1w", "3d candles can't be joined into 1w"),
        ("1w", "1M", r"1w candles can't be joined into 1M.*\(1w\)"),
    ],
)
def test_a_target_that_is_no_multiple_is_refused(source: str, target: str, told: str) -> None:
    times = bin_of(START, source)[0] + np.arange(5) * DURATIONS[source]
    with pytest.raises(DataError, match=told):
        resample(minutes_from("2023-01-01", 5).set_axis(from_ms(times)), target)
    with pytest.raises(DataError, match=told):
        CandleBuilder(target, source=source)


def test_what_else_is_refused() -> None:
    table = minutes_from("2023-01-01", 10)
    with pytest.raises(DataError, match=r"unknown timeframe '5min'\. Did you mean '5m'\?"):
        resample(table, "5min")
    with pytest.raises(DataError, match=r"unknown timeframe '5min'"):
        CandleBuilder("5min")
    with pytest.raises(DataError, match=r"join the column\(s\) \['signal'\].*drop\(columns="):
        resample(table.assign(signal=1), "5m")
    with pytest.raises(DataError, match="one candle can't be resampled to 5m"):
        resample(table.iloc[:1], "5m")
    with pytest.raises(DataError, match="are not in order"):
        resample(table.iloc[::-1], "5m")
    off_grid = table.set_axis(table.index + pd.Timedelta("30s"))
    with pytest.raises(
        DataError, match=r"1m candle at 2023-01-01 00:04:30\S* lies across two bins"
    ):
        resample(off_grid, "5m")
    builder = CandleBuilder("5m", source="1m")
    with pytest.raises(DataError, match=r"00:04:30\S* lies across two bins of 5m"):
        builder.add_candle(Candle(START + 270_000, 1, 1, 1, 1, 1))


def test_the_builder_refuses_late_and_impossible_events_and_goes_on() -> None:
    builder = CandleBuilder("5m", source="1m")
    one = Candle(START, 10.0, 11.0, 9.0, 10.5, 1.0)
    assert builder.add_candle(one) == []
    for late in (START, START + 59_999, START - 60_000):
        with pytest.raises(DataError, match=f"{START + 60_000} ms or later was expected"):
            builder.add_candle(one._replace(time=late))
    with pytest.raises(DataError, match=r"low 10\.0 is above close 9\.0"):
        builder.add_candle(Candle(START + 60_000, 10.0, 11.0, 10.0, 9.0, 1.0))
    with pytest.raises(DataError, match="trades is -1, expected 0 or more"):
        builder.add_candle(Candle(START + 60_000, 10.0, 11.0, 9.0, 9.0, 1.0, trades=-1))
    with pytest.raises(DataError, match="price is nan"):
        builder.add_trade(START + 60_000, math.nan, 1.0)
    assert builder.forming is not None
    assert builder.forming[:6] == one[:6]  # nothing of the refused ones went in
    closed = builder.add_candle(one._replace(time=START + 240_000))
    assert [(candle.time, candle.volume) for candle in closed] == [(START, 2.0)]
    assert builder.forming is None


def test_one_candle_can_close_two() -> None:
    builder = CandleBuilder("5m", source="1m")
    builder.add_candle(Candle(START, 1, 1, 1, 1, 1))
    closed = builder.add_candle(Candle(START + 540_000, 2, 2, 2, 2, 2))
    assert [(candle.time, candle.close) for candle in closed] == [(START, 1), (START + 300_000, 2)]


def test_trades_of_one_moment_are_taken_in_their_order() -> None:
    builder = CandleBuilder("1m")
    builder.add_trade(START, 10.0, 1.0)
    builder.add_trade(START, 12.0, 0.5)
    builder.add_trade(START, 11.0, 2.0)
    assert builder.forming is not None
    assert builder.forming[:8] == (START, 10.0, 12.0, 10.0, 11.0, 3.5, 38.0, 3.0)
    assert math.isnan(builder.forming.taker_buy_volume)  # nobody said who took
    with pytest.raises(DataError, match="comes too late"):
        builder.add_trade(START - 1, 10.0, 1.0)
    (closed,) = builder.add_trade(START + 60_000, 13.0, 1.0)
    assert closed.close == 11.0


@pytest.mark.parametrize(
    "event",
    [
        (START, 1.0, 1.0, 1.0, 1.0, 1.0),
        {"time": START, "open": 1.0},
        pd.Series({"open": 1.0}),
        None,
    ],
)
def test_a_builder_takes_candles_and_nothing_like_them(event: object) -> None:
    with pytest.raises(DataError, match=r"expected a Candle\(.*Candle\(ms, \*row\)"):
        CandleBuilder("5m").add_candle(event)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("time", "cure"),
    [
        (START // 1000, r"seconds: int\(time \* 1000\)"),
        (START * 1000, "microseconds: time // 1000"),
        (START * 10**6, "nanoseconds"),
        (float(START), r"whole: int\(time\)"),
        (math.nan, r"int\(time\)"),
        (pd.Timestamp(START, unit="ms"), r"int\(pd\.Timestamp"),
        ("2023-01-01", r"int\(pd\.Timestamp"),
        (True, "whole milliseconds"),
        (None, "whole milliseconds"),
    ],
)
def test_events_come_in_whole_milliseconds(time: object, cure: str) -> None:
    builder = CandleBuilder("5m", source="1m")
    with pytest.raises(DataError, match=cure):
        builder.add_candle(Candle(time, 1, 1, 1, 1, 1))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=cure):
        builder.add_trade(time, 1.0, 1.0)  # type: ignore[arg-type]
    assert builder.forming is None
    assert builder.add_candle(Candle(np.int64(START), 1, 1, 1, 1, 1)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("price", "quantity", "maker", "told"),
    [
        ("10", 1.0, None, "price is '10', expected a number"),
        (None, 1.0, None, "price is None, expected a number"),
        (0.0, 1.0, None, r"price is 0\.0 .*above 0"),
        (-1.0, 1.0, None, r"price is -1\.0"),
        (math.inf, 1.0, None, "price is inf"),
        (10.0, "1", None, "quantity is '1', expected a number"),
        (10.0, -1.0, None, r"quantity is -1\.0, expected a finite number of 0 or more"),
        (10.0, math.nan, None, "quantity is nan"),
        (10.0, True, None, "quantity is True"),
        (10.0, 1.0, "false", "buyer_is_maker is 'false', expected True, False or None"),
        (10.0, 1.0, 1, "buyer_is_maker is 1,"),
    ],
)
def test_trades_name_what_is_wrong(
    price: object, quantity: object, maker: object, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        CandleBuilder("5m").add_trade(START, price, quantity, maker)  # type: ignore[arg-type]


def test_a_candle_of_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"close is '1', expected a number.*float\(close\)"):
        CandleBuilder("5m").add_candle(Candle(START, 1, 1, 1, "1", 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("partial", ["no", None, 1])
def test_partial_is_yes_or_no(partial: object) -> None:
    with pytest.raises(DataError, match=r"partial=.*expected True .* or False"):
        resample(minutes_from("2023-01-01", 10), "5m", partial=partial)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"partial=.*expected True .* or False"):
        CandleBuilder("5m", partial=partial)  # type: ignore[arg-type]


def test_no_whole_bin_gives_an_empty_table() -> None:
    table = resample(minutes_from("2023-01-01 00:01", 5), "1h")
    assert len(table) == 0
    assert list(table) == list(minutes_from("2023-01-01", 1))
