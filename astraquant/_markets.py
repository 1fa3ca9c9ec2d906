"""How `markets` are made: their options, their candles, and the formulas of their figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter
from scipy.special import erfcx, ndtr

from .candles import PRICES
from .errors import DataError
from .timeframes import DAY, HOUR, bin_starts, duration, from_ms, parse_time, to_ms

Array = np.ndarray[Any, np.dtype[Any]]
PRICE = 100.0  # at which every market begins, or around which it moves
START = "2018-01-01"  # a Monday that begins a bar of every timeframe
MOST_VOLATILITY = 0.05  # -100 % then lies twenty standard deviations away: no draw gets there


class Plan:
    """The common options, checked, and the random numbers of one market."""

    def __init__(
        self, bars: int, seed: int, volatility: float, timeframe: str, start: object
    ) -> None:
        self.bars, self.timeframe = check_count("bars", bars), timeframe
        if not _is_number(volatility) or not 0 < volatility <= MOST_VOLATILITY:
            raise DataError(
                f"volatility={volatility!r}; expected the standard deviation of a bar's return, "
                f"above 0 and at most {MOST_VOLATILITY} (half a per cent is 0.005): with more a "
                "price could fall to 0 or below."
            )
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
            raise DataError(f"seed={seed!r}; expected a whole number from 0 on, such as 7.")
        self.volatility, self.seed = float(volatility), int(seed)
        self.times = self._times(start)
        self.draw = np.random.default_rng(self.seed)

    def _times(self, start: object) -> Array:
        length = duration(self.timeframe)
        if self.timeframe == "1M":
            raise DataError("timeframe '1M': months differ in length; expected at most '1w'.")
        first = to_ms(pd.DatetimeIndex([parse_time(start, "start")]))
        if bin_starts(first, self.timeframe) != first:
            raise DataError(
                f"start={start!r} begins no bar of {self.timeframe}; expected the open time of "
                f"one, such as {from_ms(bin_starts(first, self.timeframe))[0]}."
            )
        times: Array = first[0] + length * np.arange(self.bars, dtype=np.int64)
        return times

    def first(self) -> float:
        """What was before the first bar, in standard deviations."""
        return float(self.draw.standard_normal())

    def noise(self) -> Array:
        """One standard normal number a bar."""
        return self.draw.standard_normal(self.bars)

    def autoregressive(self, phi: float, signs: Array | None = None) -> Array:
        """Returns of the coefficient ``phi``, in each bar times its sign.

        With s the running product of the signs, s·r has the plain coefficient and the noise s·ε.
        """
        first = self.first()
        turn = np.ones(self.bars) if signs is None else np.cumprod(signs)
        noise = math.sqrt(1 - phi**2) * turn * self.noise()
        found, _ = lfilter([1.0], [1.0, -phi], noise, zi=[phi * first])
        moves: Array = self.volatility * turn * found
        return moves

    def season(self) -> tuple[bool, Array]:
        """Whether the season is a week, and in which day (or hour of the day) each bar opens."""
        if self.timeframe == "1d":
            return True, (self.times // DAY + 3) % 7  # the epoch was a Thursday; Monday is 0
        if duration(self.timeframe) > HOUR:
            raise DataError(
                f"timeframe {self.timeframe!r}: a season over the hours of the day needs a bar in "
                "each; expected at most '1h', or '1d' for a season over the days of the week."
            )
        return False, self.times % DAY // HOUR

    def candles(self, name: str, moves: Array, first: float) -> pd.DataFrame:
        """The candle table of a price that is ``first`` and moves by these simple returns."""
        # How far a bar reaches beyond its ends, and its volume, say nothing about any return.
        reach = np.abs(self.draw.standard_normal((2, self.bars))) * self.volatility / 2
        with np.errstate(over="ignore", under="ignore"):
            close = first * np.cumprod(1.0 + moves)
            open_ = np.concatenate([[first], close[:-1]])
            high = np.maximum(open_, close) * np.exp(reach[0])
            low = np.minimum(open_, close) * np.exp(-reach[1])
        prices = to_grid(np.array([open_, high, low, close]))
        if not in_range(prices):
            raise DataError(
                f"over {self.bars:,} bars the price leaves the range of numbers; expected fewer "
                f"bars, or a lower volatility than {self.volatility:g}."
            )
        volume = 100.0 * np.exp(self.draw.standard_normal(self.bars) / 2)
        columns = {**dict(zip(PRICES, prices, strict=True)), "volume": volume}
        candles = pd.DataFrame(columns, index=from_ms(self.times))
        source = f"synthetic market: {name} (seed {self.seed})"
        candles.attrs = {"source": source, "symbol": "SYNTHETIC"}
        return candles


def in_range(prices: Array) -> bool:
    """Whether all prices are numbers of full precision: below 1e-300 a float64 loses digits."""
    return bool(prices.min() > 1e-300 and prices.max() < 1e300)


def to_grid(prices: Array) -> Array:
    """The prices with eight decimals, as exchanges have them, if that moves none by a millionth.

    Averages of such prices are exact, and several times as fast.
    """
    return np.round(prices, 8) if prices.min() >= 0.005 else prices


def gaussian_figures(rho: float, turned: float, volatility: float) -> dict[str, float]:
    """The figures of a normal forecast that has the correlation ``rho`` >= 0 with the return.

    ``turned``: by how much the rule that holds the forecast's sign changes its position a bar.
    """
    share = rho * math.sqrt(2 / math.pi)
    return {
        "accuracy": 0.5 + math.asin(rho) / math.pi,
        "mean": share * volatility,
        "sharpe": share / math.sqrt(1 - share**2),
        "gated_sharpe": _gated(rho),
        "linear_sharpe": rho / math.sqrt(1 + rho**2),
        "best_sharpe": _bound(rho),
        "break_even_cost": share * volatility / turned,
    }


def _gated(rho: float) -> float:
    """The best Sharpe ratio of holding the sign of a forecast z only where |z| > c.

    With the normal density n and tail N the mean is 2ρ·n(c), the second moment
    2·N(-c) + 2ρ²·c·n(c), for a return ρ·z + √(1 - ρ²)·ε.
    """

    def negative(gate: float) -> float:
        density = math.exp(-(gate**2) / 2) / math.sqrt(2 * math.pi)
        mean = 2 * rho * density
        second = 2 * float(ndtr(-gate)) + 2 * rho**2 * gate * density
        return -mean / math.sqrt(second - mean**2)

    return -float(minimize_scalar(negative, bounds=(0.0, 3.0), method="bounded").fun)


def _bound(rho: float) -> float:
    """√(E / (1 - E)) with E = E[z² / (z² + q)], q = (1 - ρ²) / ρ² and a standard normal z.

    E = 1 - √(πq/2)·erfcx(√(q/2)), from E[1 / (z² + q)] = √(π/2q)·exp(q/2)·erfc(√(q/2)).
    """
    if rho == 0:
        return 0.0
    half = (1 - rho**2) / rho**2 / 2
    rest = math.sqrt(math.pi * half) * float(erfcx(math.sqrt(half)))
    return math.sqrt((1 - rest) / rest)


def seasonal_figures(
    drift: float, share: float, turned: float, volatility: float
) -> dict[str, float]:
    """The figures of holding a ``share`` of the bars, each of which drifts the position's way."""
    sharpe = math.sqrt(share) * drift / math.sqrt(1 + drift**2 - share * drift**2)
    mean = share * drift * volatility
    return {
        "accuracy": float(ndtr(drift)),
        "mean": mean,
        **dict.fromkeys(("sharpe", "gated_sharpe", "linear_sharpe", "best_sharpe"), sharpe),
        "break_even_cost": mean / turned,
    }


def check_count(name: str, value: object) -> int:
    """Return a number of bars, or raise `DataError`."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1:
        return int(value)
    raise DataError(f"{name}={value!r}; expected a whole number of bars, at least 1.")


def check_phi(phi: object) -> float:
    """Return a coefficient of returns that stay finite, or raise `DataError`."""
    if _is_number(phi) and -1 < phi < 1:  # type: ignore[operator]
        return float(phi)  # type: ignore[arg-type]
    raise DataError(
        f"phi={phi!r}; expected a number above -1 and below 1, such as 0.2: from 1 on returns "
        "would grow without end."
    )


def check_drift(drift: object) -> float:
    """Return a drift in standard deviations, or raise `DataError`."""
    if _is_number(drift) and 0 < drift <= 1:  # type: ignore[operator]
        return float(drift)  # type: ignore[arg-type]
    raise DataError(
        f"drift={drift!r}; expected a share of the volatility above 0, at most 1, such as 0.2."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
