"""Slow oracles for the synthetic market: Python's unbounded integers, one number after the other.

They overflow nowhere and know no numpy, so the compiled market equals them only if its 64 bits
suffice and no number became a float on the way.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from astraquant.data import _sample_kernel as kernel

MASK = 2**64 - 1


def splitmix64(seed: int, count: int) -> list[int]:
    """The published generator as its author wrote it: a state that is stepped."""
    numbers, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(z ^ (z >> 31))
    return numbers


def draw(bits: int) -> int:
    return sum((bits >> shift) % 65536 for shift in (0, 16, 32, 48)) - 131070


def power(x: int) -> int:
    whole, part = divmod(x, 65536)
    cubic = 14823 + part * 5121 // 65536
    linear = 45584 + part * cubic // 65536
    value = 65536 + part * linear // 65536
    return value * 2**whole if whole >= 0 else value // 2**-whole


def clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def lean(activity: int) -> int:
    activity = clamp(activity, -5 * 65536, 5 * 65536)
    return activity + activity**2 // 2**20


def simulate(
    minutes: int, symbol: list[int], market: int, own: int, halt: tuple[int, int]
) -> list[list[int]]:
    """The first ``minutes`` rows, as `_sample_kernel.simulate` has them."""
    start, base_trades, trade_size, step_common, step_own, own_activity = symbol
    of_market = splitmix64(market, (minutes + 1) * 64)
    of_own = splitmix64(own, (minutes + 1) * 64)

    def beginning(sigma: list[int], numbers: list[int]) -> list[int]:
        return [s * draw(number) // 256 for s, number in zip(sigma, numbers, strict=False)]

    def advance(
        parts: list[int], shifts: list[int], forces: list[int], numbers: list[int]
    ) -> list[int]:
        return [
            part + force * draw(number) // 256 - part // 2**shift
            for part, shift, force, number in zip(parts, shifts, forces, numbers, strict=False)
        ]

    common_parts = beginning(kernel.COMMON_SIGMA.tolist(), of_market)
    own_parts = beginning(kernel.OWN_SIGMA.tolist(), of_own)
    burst, price, last, rows = 0, start * 1024, start, []
    hours, weekdays = kernel.HOURS.tolist(), kernel.WEEKDAYS.tolist()
    for minute in range(minutes):
        m, o = of_market[(minute + 1) * 64 :], of_own[(minute + 1) * 64 :]
        m, o = m[:64], o[:64]
        burst += news(m[8]) - burst // 16
        common_parts = advance(
            common_parts, kernel.COMMON_SHIFTS.tolist(), kernel.COMMON_FORCE.tolist(), m
        )
        own_parts = advance(own_parts, kernel.OWN_SHIFTS.tolist(), kernel.OWN_FORCE.tolist(), o)
        now, following = hours[minute // 60 % 24], hours[(minute // 60 + 1) % 24]
        season = now + (following - now) * (minute % 60) // 60
        season += weekdays[(minute // 1440 + 6) % 7]
        common = sum(common_parts) // 256 + burst // 256 + season
        mine = common + sum(own_parts) // 256 * own_activity // 65536
        common, mine = lean(common), lean(mine)

        chance = clamp(common + 140000, 0, 4 * 65536) ** 2 // 2**20
        shared = step_common * power(common * 13 // 16) // 65536
        single = step_own * power(mine * 13 // 16) // 65536
        path = [price // 1024 + o[8] % 2]
        for slot in range(12):
            gate = (m[12 + slot // 4] >> (16 * (slot % 4))) % 65536
            if gate < chance:
                step = shared * draw(m[16 + slot]) + single * draw(o[16 + slot])
                step = clamp((step + 2**15) // 2**16, -(2**26), 2**26)
                price = clamp(price + (price * step + 2**29) // 2**30, 20 * 1024, 2**36)
            path.append(price // 1024 + (o[8] >> (slot + 1)) % 2)

        trades = base_trades * power(mine) // 65536
        if halt[0] <= minute < halt[1]:
            trades = 0
        if trades == 0:
            rows.append([last] * 4 + [0] * 5)
            continue
        seen = path[-trades:]
        size = trade_size * power(mine * 5 // 16 + draw(o[10]) * kernel._SIZE_SPREAD // 65536)
        volume = min(trades * max(size // 65536, 1), 2**31)
        travelled = sum(abs(b - a) for a, b in itertools.pairwise(seen))
        share = kernel._TAKER_MEAN + draw(o[9]) * kernel._TAKER_SPREAD // 65536
        share += (seen[-1] - seen[0]) * kernel._TAKER_PULL // max(travelled, 1)
        taker = volume * clamp(share, 655, 64881) // 65536
        taker_quote = taker * sum(seen) // len(seen)
        quote = taker_quote + (volume - taker) * sum(seen) // len(seen)
        last = seen[-1]
        row = [seen[0], max(seen), min(seen), last, volume, quote, trades, taker, taker_quote]
        rows.append(row)
    return rows


def news(bits: int) -> int:
    if bits % 65536 >= 64:
        return 0
    size, bits = (bits >> 16) % 65536 * 256, bits >> 32
    while bits % 2 == 0 and size < 5 * 2**24:
        size, bits = size + 2**24, bits // 2
    return size


def figures(candles: pd.DataFrame) -> dict[str, float]:
    """What is known of minute candles beyond doubt (Cont 2001), each as one number."""
    close, volume, trades = (candles[name].to_numpy() for name in ("close", "volume", "trades"))
    log = np.log(close)
    returns = np.diff(log)
    size = np.abs(returns)
    span = np.log(candles["high"].to_numpy() / candles["low"].to_numpy())[1:]
    hours = candles.index.hour.to_numpy()[1:]
    by_hour = [size[hours == hour].mean() for hour in range(24)]
    volume_by_hour = [volume[1:][hours == hour].mean() for hour in range(24)]
    weekend = candles.index.day_of_week.to_numpy()[1:] >= 5
    result = {
        "annual volatility": returns.std() * np.sqrt(525_600),
        "kurtosis": np.mean((returns - returns.mean()) ** 4) / returns.var() ** 2,
        "Hill 0.5 %": hill(size, 0.005),
        "Hill 2 %": hill(size, 0.02),
        "return autocorrelation": autocorrelation(returns, 1),
        "zero returns": np.mean(returns == 0),
        "range / |return|": span.mean() / size.mean(),
        "median trades": np.median(trades),
        "trades ~ |return|": np.corrcoef(trades[1:], size)[0, 1],
        "volume ~ |return|": np.corrcoef(volume[1:], size)[0, 1],
        "trades ~ volume": np.corrcoef(trades, volume)[0, 1],
        "volume ~ range (ranks)": rank_correlation(volume[1:], span),
        "trades ~ |return| (ranks)": rank_correlation(trades[1:], size),
        "log trades, 1 min later": autocorrelation(np.log1p(trades), 1),
        "log trades, 60 min later": autocorrelation(np.log1p(trades), 60),
        "busiest / quietest hour": max(by_hour) / min(by_hour),
        "the same, volume": max(volume_by_hour) / min(volume_by_hour),
        "busiest hour": float(np.argmax(by_hour)),
        "quietest hour": float(np.argmin(by_hour)),
        "weekend / week": size[weekend].mean() / size[~weekend].mean(),
    }
    for lag in (1, 60, 1440):
        result[f"|return|, {lag} min later"] = autocorrelation(size, lag)
    for bars in (5, 60):
        moves = log[bars:] - log[:-bars]
        result[f"variance ratio {bars}"] = moves.var() / (bars * returns.var())
    for q in (0.01, 0.05, 0.25, 0.75, 0.95, 0.99):
        result[f"trades, quantile {q} / median"] = np.quantile(trades, q) / np.median(trades)
        if q > 0.01:  # the halt's empty minutes are 0.2 % of a month
            result[f"volume, quantile {q} / median"] = np.quantile(volume, q) / np.median(volume)
    return {name: float(value) for name, value in result.items()}


def hill(sizes: np.ndarray, share: float) -> float:
    """Tail exponent: from the largest ``share`` of the sizes."""
    ordered = np.sort(sizes)[::-1]
    count = int(len(sizes) * share)
    return float(1 / np.mean(np.log(ordered[:count] / ordered[count])))


def autocorrelation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))
