"""Slow, obvious versions of what the package computes fast: one bar at a time, in plain Python.

Nothing here is shared with the package, formulas included: cash and quantity are booked fill by
fill, as a trader's bank statement would show them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd


def sma_cross_position(close, short, long):
    """What the crossover holds after each close, each window averaged anew in exact fractions."""
    from fractions import Fraction

    prices = [Fraction(repr(float(price))) for price in close]

    def mean(i, window):
        return sum(prices[i + 1 - window : i + 1]) / window if i + 1 >= window else None

    held, position = False, []
    for i in range(len(prices)):
        numbers = [mean(j, w) if j >= 0 else None for j in (i - 1, i) for w in (short, long)]
        if None not in numbers:
            fast_before, slow_before, fast, slow = numbers
            if fast_before <= slow_before and fast > slow:
                held = True
            elif fast_before >= slow_before and fast < slow:
                held = False
        position.append(1 if held else 0)
    return position


@dataclass
class Run:
    """A naive run: equity and holding at each close, and a dict for every trade."""

    equity: list = field(default_factory=list)
    held: list = field(default_factory=list)
    trades: list = field(default_factory=list)
    pending: int | None = None


def run(position, opens, closes, *, fill, cost, slippage, cash, before=0, stops=(), watched=None):
    """Trade ``position`` (wanted after each close); ``before``: wanted before the first bar.

    ``stops``: a dict of stop_loss, take_profit, trailing_stop; ``watched[bar]``: open, high and low
    of each candle in the bar in which they are watched.
    """
    result = Run()
    money, quantity, side, wanted, ruined = cash, 0.0, 0, before, False
    farthest, stopped_side = 0.0, 0

    def buy_back_or_sell(bar, price):
        nonlocal money, quantity, side
        trade = result.trades[-1]
        got = price * (1 + slippage) if side < 0 else price * (1 - slippage)
        fee = quantity * got * cost
        money += side * quantity * got - fee
        trade.update(exit_bar=bar, exit_price=got, status="closed")
        trade["fees"] += fee
        trade["profit"] = money - trade["stake"]
        quantity, side = 0.0, 0

    def enter(bar, price, direction):
        nonlocal money, quantity, side, farthest
        got = price * (1 + slippage) if direction > 0 else price * (1 - slippage)
        farthest = got
        quantity, side = money / (got * (1 + cost)), direction
        fee = quantity * got * cost
        result.trades.append(
            {
                "direction": direction,
                "entry_bar": bar,
                "entry_price": got,
                "quantity": quantity,
                "fees": fee,
                "stake": money,
                "status": "open",
            }
        )
        money += -direction * quantity * got - fee

    def ruin(bar, price):
        nonlocal ruined, side
        trade = result.trades[-1]
        trade.update(
            exit_bar=bar,
            exit_price=price,
            status="ruined",
            profit=-trade["stake"],
            fees=trade["quantity"] * trade["entry_price"] * cost,
        )
        ruined, side = True, 0

    def leave(bar, price):
        buy_back_or_sell(bar, price)
        if money <= 1e-12 * result.trades[-1]["stake"]:  # no more than a rounding error
            ruin(bar, result.trades[-1]["exit_price"])

    def touched(open_, high, low):
        """At what price a stop or the target fills in one candle, and which of them; else None."""
        nonlocal farthest
        entry = result.trades[-1]["entry_price"]
        levels, target = [], None
        if stops.get("stop_loss") is not None:
            levels.append((entry * (1 - side * stops["stop_loss"]), "stop_loss"))
        if stops.get("trailing_stop") is not None:
            levels.append((farthest * (1 - side * stops["trailing_stop"]), "trailing_stop"))
        if stops.get("take_profit") is not None:
            target = entry * (1 + side * stops["take_profit"])
        if side > 0:
            level, reason = max(levels, key=lambda one: one[0], default=(-math.inf, None))
            if low <= level:
                return min(open_, level), reason
            if target is not None and high >= target:
                return max(open_, target), "take_profit"
            farthest = max(farthest, high)
        else:
            level, reason = min(levels, key=lambda one: one[0], default=(math.inf, None))
            if high >= level:
                return max(open_, level), reason
            if target is not None and low <= target:
                return min(open_, target), "take_profit"
            farthest = min(farthest, low)
        return None

    def watch(bar):
        nonlocal stopped_side
        for candle in watched[bar]:
            found = touched(*candle)
            if found is not None:
                price, reason = found
                stopped_side = side
                leave(bar, price)
                result.trades[-1]["reason"] = reason
                return

    def obey(bar, price):
        """Do what is wanted; after a stop nothing, until something else is wanted."""
        nonlocal stopped_side
        if wanted != stopped_side:
            stopped_side = 0
        if ruined or wanted == side or stopped_side != 0:
            return
        if side != 0:
            leave(bar, price)
        if not ruined and wanted != 0:
            enter(bar, price, wanted)

    for bar in range(len(closes)):
        if fill == "open":
            obey(bar, opens[bar])
        if stops and side != 0:
            watch(bar)
        if fill == "close":
            wanted = position[bar]
            obey(bar, closes[bar])
        worth = 0.0 if ruined else money + side * quantity * closes[bar]
        if side < 0 and worth <= 1e-12 * result.trades[-1]["stake"]:
            ruin(bar, closes[bar])
            worth = 0.0
        result.equity.append(worth)
        result.held.append(side)
        wanted = position[bar]
    if side != 0:
        trade = result.trades[-1]
        trade.update(
            exit_bar=len(closes) - 1,
            exit_price=closes[-1],
            profit=result.equity[-1] - trade["stake"],
        )
    waits = stopped_side != 0 and wanted == stopped_side
    if fill == "open" and not ruined and wanted != side and not waits:
        result.pending = wanted
    return result


def figures(result, opens, closes, volumes, times, *, fill, cost, slippage, cash, bar_ms):
    """Every figure of the contract, straight from its sentence."""
    year = 365 * 24 * 3600 * 1000
    levels = [cash, *result.equity]
    returns = [(b / a - 1 if a > 0 else 0.0) for a, b in pairwise(levels)]
    n = len(returns)
    mean = sum(returns) / n
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / (n - 1)) if n > 1 else math.nan
    downside = math.sqrt(sum(min(r, 0) ** 2 for r in returns) / n)
    total = result.equity[-1] / cash - 1
    peak, deepest = cash, 0.0
    for level in result.equity:
        peak = max(peak, level)
        deepest = min(deepest, level / peak - 1)
    closed = [t for t in result.trades if t["status"] != "open"]
    sold = [t for t in result.trades if t["status"] == "closed"]
    gains = [t["profit"] / (t["quantity"] * t["entry_price"]) for t in closed]
    won = sum(t["profit"] for t in closed if t["profit"] > 0)
    lost = -sum(t["profit"] for t in closed if t["profit"] < 0)
    gross = 1.0
    for t in result.trades:
        ratio = t["exit_price"] / t["entry_price"]
        gross *= max(ratio if t["direction"] > 0 else 2 - ratio, 0.0)
    first = 1 if fill == "open" else 0
    bought = (
        (opens if fill == "open" else closes)[first] * (1 + slippage) if n > first else math.nan
    )
    traded = sum(t["quantity"] * t["entry_price"] for t in result.trades)
    traded += sum(t["quantity"] * t["exit_price"] for t in sold)
    fills = [t["entry_bar"] for t in result.trades] + [t["exit_bar"] for t in sold]
    daily = {}
    for time, level in zip(times, result.equity, strict=True):
        daily[time // (24 * 3600 * 1000)] = level
    days = [cash, *daily.values()]
    day_returns = np.array([b / a - 1 if a > 0 else 0.0 for a, b in pairwise(days)])
    return {
        "total_return": total,
        "annual_return": _power(1 + total, year / (n * bar_ms)) - 1,
        "gross_return": gross - 1,
        "buy_and_hold": closes[-1] / (bought * (1 + cost)) - 1,
        "sharpe": _unless_rounding(mean, deviation) * math.sqrt(year / bar_ms),
        "sortino": _unless_rounding(mean, downside) * math.sqrt(year / bar_ms),
        "max_drawdown": deepest,
        "trades": len(closed),
        "win_rate": sum(g > 0 for g in gains) / len(gains) if gains else math.nan,
        "profit_factor": _ratio(won, lost),
        "expectancy": sum(gains) / len(gains) if gains else math.nan,
        "best_trade": max(gains, default=math.nan),
        "worst_trade": min(gains, default=math.nan),
        "exposure": sum(side != 0 for side in result.held) / n,
        "turnover": _ratio(traded, sum(result.equity) / n),
        "fees_paid": sum(t["fees"] for t in result.trades),
        "fills_without_volume": sum(volumes[bar] == 0 for bar in fills),
        "sharpe_daily": _unless_rounding(
            day_returns.mean(), day_returns.std(ddof=1) if len(day_returns) > 1 else math.nan
        )
        * math.sqrt(365),
    }


def _unless_rounding(part, deviation):
    return part / deviation if deviation > 1e-12 else math.nan


def _power(base, exponent):
    try:
        return base**exponent
    except OverflowError:
        return math.nan


def _ratio(part, whole):
    return part / whole if whole > 0 else math.nan


def candle_table(opens, closes, volumes=None, start="2023-01-01", step="5min"):
    """A valid candle table around given opens and closes."""
    opens, closes = np.asarray(opens, float), np.asarray(closes, float)
    index = pd.date_range(start, periods=len(opens), freq=step, tz="UTC", name="time")
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
            "volume": np.ones(len(opens)) if volumes is None else np.asarray(volumes, float),
        },
        index=index,
    )
