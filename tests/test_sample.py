"""The synthetic market: right candles, the same everywhere, like real ones, no gold mine."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import naive_sample as naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astraquant.candles import check_candles, content_hash, find_gaps
from astraquant.data import _sample_kernel as kernel
from astraquant.data import sample
from astraquant.data.sample import SYMBOLS, sample_candles
from astraquant.errors import DataError
from astraquant.resampling import resample

DECIMALS = {name: (listing.tick, listing.lot) for name, listing in sample._LISTINGS.items()}
DAYS = 1096  # of 2023, 2024 and 2025
seeds = st.integers(0, 2**63 - 1)
symbols = st.sampled_from(SYMBOLS)

PINNED_PRICES = [
    [1650001, 1650499, 1650000, 1650498],
    [2256691, 2256691, 2254754, 2254795],
    [1903984, 1904087, 1903984, 1904087],
    [2355587, 2355587, 2355005, 2355467],
]
PINNED_LOTS = [[865928, 823738], [7941024, 4149844], [546140, 387679], [1712715, 1035871]]
PINNED_TRADES = [376.0, 1818.0, 332.0, 503.0]
PINNED_YEAR = "538e020ad8a34f10679e2c00c96ad08c8437b3c49dfbfc05e413c34610e49d45"
PINNED_CLOSES = {
    "BTCUSDT": 3419484,
    "ETHUSDT": 226580,
    "SOLUSDT": 8864,
    "BNBUSDT": 6072,
    "ADAUSDT": 4259,
    "XRPUSDT": 3516,
}


@pytest.fixture(scope="module")
def year() -> pd.DataFrame:
    return sample_candles("BTCUSDT")


@functools.cache
def three_years(timeframe: str) -> pd.DataFrame:
    return sample_candles("XRPUSDT", timeframe, end="2026-01-01", seed=5)


@st.composite
def spans(draw: st.DrawFn) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end on a second, mostly in the first months: later ones cost time."""
    days = draw(st.one_of(st.integers(0, 100), st.integers(0, DAYS - 5)))
    start = sample.ORIGIN + pd.Timedelta(draw(st.integers(0, 86_399)) + 86_400 * days, "s")
    return start, start + pd.Timedelta(draw(st.integers(120, 4 * 86_400)), "s")


# --- the kernel against integers without a limit -------------------------------------------------


def test_the_generator_is_splitmix64() -> None:
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # from its author
    assert naive.splitmix64(0, 3) == known
    assert [int(kernel.word(np.uint64(0), i)) & naive.MASK for i in range(3)] == known


@given(seeds, st.integers(0, 200))
def test_any_number_is_had_without_the_others(seed: int, index: int) -> None:
    expected = naive.splitmix64(seed, index + 1)[-1]
    assert int(kernel.word(np.uint64(seed), index)) & naive.MASK == expected


def test_draws_are_symmetric_and_bell_shaped() -> None:
    bits = naive.splitmix64(1, 20_000)
    draws = np.array([kernel.draw(np.uint64(word)) for word in bits])
    assert [naive.draw(word) for word in bits] == draws.tolist()
    mirrored = [kernel.draw(np.uint64(word ^ naive.MASK)) for word in bits]
    assert (draws == -np.array(mirrored)).all()  # hence the mean is 0 exactly
    assert draws.std() == pytest.approx(kernel.NORMAL_SD, rel=0.02)


@given(st.integers(-16 * 65536 + 1, 16 * 65536 - 1))
def test_powers_of_two(x: int) -> None:
    assert kernel.power(x) == naive.power(x)
    exact = 65536 * 2 ** (x / 65536)
    assert abs(kernel.power(x) - exact) <= 1 + 2e-4 * exact


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("seed", [7, 2**63 - 1])
def test_kernel_equals_unbounded_integers(symbol: str, seed: int) -> None:
    check_kernel(sample._constants(sample._LISTINGS[symbol]).tolist(), seed)


@pytest.mark.parametrize("price", [20, 2**26])
def test_kernel_at_its_limits(price: int) -> None:
    """The lowest and highest price and steps fifty times too wild: clamped, never overflowing."""
    check_kernel([price, 30_000, 10**6, 15_000_000, 15_000_000, 2 * 65536], 3)
    check_kernel([price, 2, 1, 15_000_000, 15_000_000, 2 * 65536], 3)  # minutes without a trade


def check_kernel(symbol: list[int], seed: int) -> None:
    halt = (400, 450)
    expected = naive.simulate(1500, symbol, seed, seed + 1, halt)
    for first in (0, 425):
        rows = np.zeros((1500 - first, 9), dtype=np.int64)
        constants, edges = np.array(symbol), np.array(halt)
        kernel.simulate(rows, first, constants, np.uint64(seed), np.uint64(seed + 1), edges)
        assert rows.tolist() == expected[first:]


# --- right candles -------------------------------------------------------------------------------


def check_valid(candles: pd.DataFrame, symbol: str) -> None:
    assert check_candles(candles) is candles
    assert (candles.dtypes == np.float64).all()
    tick, lot = (10**decimals for decimals in DECIMALS[symbol])
    for name in ("open", "high", "low", "close"):
        ticks = (candles[name] * tick).round()
        assert (ticks / tick == candles[name]).all(), f"{name} is off the tick"
    for name in ("volume", "taker_buy_volume"):
        assert ((candles[name] * lot).round() / lot == candles[name]).all()
    assert (candles["trades"] == candles["trades"].round()).all()
    assert ((candles["trades"] == 0) == (candles["volume"] == 0)).all()
    buyers = candles["taker_buy_volume"], candles["taker_buy_quote_volume"]
    total = candles["volume"], candles["quote_volume"]
    sellers = total[0] - buyers[0], total[1] - buyers[1]
    for volume, quote in (buyers, sellers, total):  # each paid between low and high
        slack = 1e-9 * total[1]
        assert (volume >= 0).all()
        assert (candles["low"] * volume <= quote + slack).all()
        assert (quote <= candles["high"] * volume + slack).all()
    empty = candles[candles["trades"] == 0]
    assert (empty["high"] == empty["low"]).all()
    single = candles[candles["trades"] == 1]
    assert (single["high"] == single["low"]).all()


@settings(max_examples=25, deadline=None)
@given(symbols, seeds, spans())
def test_candles_are_valid(symbol: str, seed: int, span: tuple[pd.Timestamp, pd.Timestamp]) -> None:
    candles = sample_candles(symbol, start=span[0], end=span[1], seed=seed)
    check_valid(candles, symbol)
    assert candles.index[0] >= span[0]
    assert candles.index[-1] < span[1]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_three_years_are_valid(symbol: str) -> None:
    candles = sample_candles(symbol, end="2026-01-01")
    check_valid(candles, symbol)
    assert len(candles) == DAYS * 1440 - 80


def test_the_default_is_the_year_2023(year: pd.DataFrame) -> None:
    assert len(year) == 525_520
    assert str(year.index[0]) == "2023-01-01 00:00:00+00:00"
    assert str(year.index[-1]) == "2023-12-31 23:59:00+00:00"
    assert year.index.name == "time"


def test_it_says_that_it_is_synthetic(year: pd.DataFrame) -> None:
    assert year.attrs == {"source": "synthetic sample (seed 7)", "symbol": "BTCUSDT"}
    hours = sample_candles("XRPUSDT", "1h", end="2023-01-02", seed=np.int64(12))
    assert hours.attrs == {"source": "synthetic sample (seed 12)", "symbol": "XRPUSDT"}


def test_the_halt() -> None:
    for symbol in SYMBOLS:
        day = sample_candles(symbol, start="2023-03-24", end="2023-03-25")
        gaps = find_gaps(day)
        assert gaps["missing"].tolist() == [80]
        assert gaps["start"].tolist() == [pd.Timestamp("2023-03-24 12:40", tz="UTC")]
        assert gaps["end"].tolist() == [pd.Timestamp("2023-03-24 14:00", tz="UTC")]
        quiet = day["2023-03-24 11:28":"2023-03-24 12:39"]  # type: ignore[misc]
        assert len(quiet) == 72
        assert (quiet["volume"] == 0).all()
        before = day["close"].loc["2023-03-24 11:27:00+00:00"]
        assert (quiet[["open", "high", "low", "close"]] == before).all(axis=None)
        assert day["open"].loc["2023-03-24 14:00:00+00:00"] != before


# --- the same everywhere -------------------------------------------------------------------------


def test_pinned_values(year: pd.DataFrame) -> None:
    """Exact values that must hold on every platform: stored notebook outputs rest on them."""
    moments = ["2023-01-01 00:00", "2023-03-24 14:00", "2023-07-01 12:00", "2023-12-31 23:59"]
    rows = year.loc[[pd.Timestamp(moment, tz="UTC") for moment in moments]]
    prices = (rows[["open", "high", "low", "close"]] * 100).round().astype(int)
    assert prices.to_numpy().tolist() == PINNED_PRICES
    lots = (rows[["volume", "taker_buy_volume"]] * 1e5).round().astype(int)
    assert lots.to_numpy().tolist() == PINNED_LOTS
    assert rows["trades"].tolist() == PINNED_TRADES
    assert content_hash(year) == PINNED_YEAR


def test_pinned_closes_of_all_symbols() -> None:
    closes = {}
    for symbol, (tick, _) in DECIMALS.items():
        close = sample_candles(symbol, "1d", end="2026-01-01")["close"].iloc[-1]
        closes[symbol] = round(close * 10**tick)
    assert closes == PINNED_CLOSES


def test_another_process_makes_the_same_bits() -> None:
    code = (
        "from astraquant.data.sample import sample_candles;"
        "from astraquant.candles import content_hash;"
        "print(content_hash(sample_candles('ETHUSDT', end='2023-02-01', seed=3)))"
    )
    root = Path(__file__).resolve().parent.parent
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == content_hash(sample_candles("ETHUSDT", end="2023-02-01", seed=3))


@settings(max_examples=25, deadline=None)
@given(spans(), st.sampled_from(["1m", "3m", "1h", "1d", "1w"]))
def test_a_part_is_the_part_of_the_whole(
    span: tuple[pd.Timestamp, pd.Timestamp], timeframe: str
) -> None:
    start, end = span
    whole = three_years(timeframe)
    expected = whole[(whole.index >= start) & (whole.index < end)]
    if expected.empty:
        with pytest.raises(DataError, match="no whole"):
            sample_candles("XRPUSDT", timeframe, start=start, end=end, seed=5)
    else:
        part = sample_candles("XRPUSDT", timeframe, start=start, end=end, seed=5)
        pd.testing.assert_frame_equal(part, expected)


@pytest.mark.parametrize("timeframe", ["3m", "1h", "1d", "3d", "1w", "1M"])
def test_coarser_candles_are_the_minutes_resampled(timeframe: str) -> None:
    resampled = resample(three_years("1m"), timeframe)
    pd.testing.assert_frame_equal(three_years(timeframe), resampled)


def test_a_coarse_part_at_the_edge_of_the_halt() -> None:
    whole = sample_candles("BTCUSDT", "1h", end="2023-04-01")
    part = sample_candles("BTCUSDT", "1h", start="2023-03-24 12:00", end="2023-03-24 13:30")
    pd.testing.assert_frame_equal(part, whole.loc[part.index])
    assert part.index.tolist() == [pd.Timestamp("2023-03-24 12:00", tz="UTC")]
    alone = sample_candles("BTCUSDT", "3m", start="2023-03-24 12:39", end="2023-03-24 12:42")
    pd.testing.assert_frame_equal(
        alone, sample_candles("BTCUSDT", "3m", end="2023-04-01").loc[alone.index]
    )


@settings(max_examples=20, deadline=None)
@given(seeds, seeds)
def test_seeds_and_symbols_differ(one: int, other: int) -> None:
    a = sample_candles("BTCUSDT", end="2023-01-02", seed=one)
    assert content_hash(a) == content_hash(sample_candles("BTCUSDT", end="2023-01-02", seed=one))
    b = sample_candles("BTCUSDT", end="2023-01-02", seed=other)
    assert (content_hash(a) == content_hash(b)) == (one == other)


# --- like the real market ------------------------------------------------------------------------


def months_of(candles: pd.DataFrame) -> pd.DataFrame:
    """`naive.figures` of each month: one row per month."""
    groups = candles.groupby(candles.index.month)
    return pd.DataFrame({month: naive.figures(group) for month, group in groups}).T


def real_minutes(folder: Path, name: str) -> pd.DataFrame:
    table = pd.read_parquet(folder / "klines" / f"binance_spot_{name}.parquet")
    table.index = pd.to_datetime(table["open_time"], unit="ms", utc=True)
    return table.rename(columns={"count": "trades"})


def test_stylised_facts_lie_within_the_real_range(year: pd.DataFrame, market_data: Path) -> None:
    """The median month of the sample lies between the least and the greatest real month.

    The real months are April to December 2023: until late March trading BTCUSDT was free of fees,
    which multiplied trades and volume. Nine months don't show the whole range, so it is widened by
    a fifth of itself on both sides.
    """
    real = months_of(real_minutes(market_data, "BTCUSDT_1m_20230101_20231231").loc["2023-04":])
    assert len(real) == 9
    typical = months_of(year).median()
    room = 0.2 * (real.max() - real.min())
    outside = (typical < real.min() - room) | (typical > real.max() + room)
    shown = pd.DataFrame({"least": real.min(), "greatest": real.max(), "sample": typical})
    assert not outside.any(), f"\n{shown[outside]}"


def test_a_random_walk_with_independent_volume_would_be_noticed(market_data: Path) -> None:
    """The comparison above can fail: a Gaussian walk is outside in most figures."""
    real = months_of(real_minutes(market_data, "BTCUSDT_1m_20230101_20231231").loc["2023-04":])
    random = np.random.default_rng(1)
    index = pd.date_range("2023-06-01", periods=43_200, freq="min", tz="UTC")
    close = pd.Series(25_000 * np.exp(np.cumsum(random.normal(0, 6e-4, len(index)))), index)
    plain = pd.DataFrame({"close": close, "high": close * 1.0004, "low": close / 1.0004}).assign(
        volume=random.uniform(1, 9, len(index)), trades=random.integers(300, 900, len(index))
    )
    found = pd.Series(naive.figures(plain))
    room = 0.2 * (real.max() - real.min())
    outside = (found < real.min() - room) | (found > real.max() + room)
    assert outside.mean() > 0.6


def test_a_minute_opens_where_the_last_one_closed_or_a_tick_aside(
    year: pd.DataFrame, market_data: Path
) -> None:
    shares = []
    for candles in (real_minutes(market_data, "BTCUSDT_1m_20230101_20231231"), year):
        late = candles.loc["2023-04":]
        ticks = np.round((late["open"] - late["close"].shift()).to_numpy()[1:] * 100)
        shares.append((np.mean(ticks == 0), np.mean(np.abs(ticks) <= 1)))
    (same, near), (our_same, our_near) = shares
    assert our_same == pytest.approx(same, abs=0.03)
    assert our_near == pytest.approx(near, abs=0.01)


def hourly_correlations(closes: dict[str, pd.Series]) -> pd.Series:
    """Of hourly log returns, by month: rows (month, symbol), columns symbol."""
    returns = np.log(pd.DataFrame(closes)).diff().dropna()
    return returns.groupby(returns.index.month).corr().stack()


def test_symbols_move_together_as_the_real_ones_do(market_data: Path) -> None:
    names = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    real = {}
    for name in names:
        path = market_data / "klines" / f"binance_spot_{name}_1h_20220101_20231231.csv.gz"
        table = pd.read_csv(path)
        table.index = pd.to_datetime(table["open_time"], unit="ms", utc=True)
        real[name] = table["close"].loc["2023":]
    months = hourly_correlations(real)
    ours = hourly_correlations({name: sample_candles(name, "1h")["close"] for name in names})
    for one, other in (names[:2], names[1:], names[::2]):
        range_ = months.xs((one, other), level=(1, 2))
        typical = ours.xs((one, other), level=(1, 2)).median()
        assert range_.min() <= typical <= range_.max(), (one, other, typical)
    assert ours.xs((names[0], names[1]), level=(1, 2)).median() == pytest.approx(0.85, abs=0.06)


def test_other_symbols_are_as_lively_as_the_real_ones(market_data: Path) -> None:
    """Annual volatility of hours, against the first half of 2023, within a third."""
    files = {
        "BNBUSDT": "BNBUSDT_1h_20171106_20230703",
        "ADAUSDT": "ADAUSDT_1h_20180417_20230703",
        "XRPUSDT": "XRPUSDT_1h_20180504_20230703",
    }
    for symbol, name in files.items():
        table = pd.read_parquet(market_data / "hourly_multi" / f"binance_spot_{name}.parquet")
        table = table.drop_duplicates("date", keep="last").set_index("date")
        real = np.log(table["close"].loc[1_672_531_200_000:]).diff().std()
        ours = np.log(sample_candles(symbol, "1h")["close"]).diff().std()
        assert ours == pytest.approx(real, rel=1 / 3), symbol


# --- no gold mine --------------------------------------------------------------------------------


def test_no_trend_no_reversal_no_crossover_to_exploit() -> None:
    """Over independent markets the averages are those of a random walk without drift.

    Each figure must lie within 3.5 standard errors of its known value: buying and holding earns
    nothing on average, nor does a crossover of moving averages filled at the next open.
    """
    figures: list[dict[str, float]] = []
    for seed in range(40):
        candles = sample_candles("BTCUSDT", "5m", end="2023-07-01", seed=100 + seed)
        close, opens = candles["close"], candles["open"].to_numpy()
        row = {"buy and hold": close.iloc[-1] / opens[0] - 1}
        earned = opens[2:] / opens[1:-1] - 1  # from the open after a bar to the next one
        for fast, slow in ((5, 20), (50, 200)):
            up = (close.rolling(fast).mean() > close.rolling(slow).mean()).to_numpy()[:-2]
            row[f"crossover {fast}/{slow}"] = float((up * earned).sum())
        log = np.log(close.to_numpy())
        for bars in (12, 288):  # an hour, a day; in units of its variance
            moves, single = log[bars:] - log[:-bars], np.diff(log)
            row[f"variance ratio {bars}"] = moves.var() / (bars * single.var()) - 1
        figures.append(row)
    table = pd.DataFrame(figures)
    t = table.mean() / (table.std() / np.sqrt(len(table)))
    assert (t.abs() < 3.5).all(), f"\n{t}"


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"symbol": "BTCUSD"}, "unknown sample symbol 'BTCUSD'. Did you mean 'BTCUSDT'"),
        ({"symbol": "btcusdt"}, "Did you mean 'BTCUSDT'"),
        ({"symbol": ["BTCUSDT"]}, "unknown sample symbol"),
        ({"timeframe": "7m"}, "unknown timeframe '7m'"),
        ({"timeframe": "1s"}, "finer than the sample, which has minutes"),
        ({"seed": 1.0}, "seed=1.0; expected a whole number"),
        ({"seed": True}, "seed=True; expected a whole number"),
        ({"seed": "7"}, "seed='7'; expected a whole number"),
        ({"seed": -1}, "seed=-1; expected a whole number"),
        ({"seed": 2**63}, "expected a whole number from 0"),
        ({"start": "2022-12-31"}, "start=2022-12-31 .* exists from 2023-01-01 .* up to 2026-01-01"),
        ({"end": "2026-01-02"}, "end=2026-01-02 .* outside the sample market"),
        ({"start": "2024-02-01"}, r"not before end=2024-01-01 .* \(the default end\)"),
        ({"start": "2023-02-01", "end": "2023-02-01"}, "is not before"),
        ({"start": "yesterday"}, "start='yesterday'"),
        ({"start": "2023-03-24 12:40", "end": "2023-03-24 14:00"}, "missing on purpose"),
        ({"start": "2023-01-02 00:00:01", "end": "2023-01-02 00:00:59"}, "no whole 1m candle"),
        ({"timeframe": "1w", "start": "2025-12-29", "end": "2026-01-01"}, "no whole 1w candle"),
    ],
)
def test_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sample_candles(**{"symbol": "BTCUSDT", **arguments})  # type: ignore[arg-type]
