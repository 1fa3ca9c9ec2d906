"""What a live chart says in words: the state of the connection, gaps, amounts of money."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from . import style

if TYPE_CHECKING:
    from ..feed.feed import Status

Array = np.ndarray[Any, Any]
AMBER = "#d97400"


def light(status: Status, pace: float) -> str:
    """A connection's state as HTML: a light, and the same in words.

    pace: seconds of venue time in a real one.
    """
    sign, colour = {"LIVE": ("●", style.LONG), "STOPPED": ("○", style.BENCHMARK)}.get(
        status.state, ("◐", AMBER)
    )
    told = [f"for {span(status.since)}"]
    if status.state == "LIVE" and status.lag is not None:
        told.append(f"lag {max(status.lag, 0.0):.1f} s")
    told += [status.reason] if status.reason else []
    told += [f"{pace:g} × real time"] if pace not in (0, 1) else []
    return (
        f'<span style="color:{colour};font-size:18px;line-height:18px">{sign}</span> '
        f"<b>{status.state}</b> {escape(' · '.join(told))}"
    )


def span(seconds: float) -> str:
    """A span of time as people say it, to the second up to an hour."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def last_gap(gaps: pd.DataFrame, pace: float) -> str:
    """The newest gap in one sentence; "" if there was none.

    gaps: as `Feed.gaps`. pace: venue seconds in a real one: lateness is told in real time.
    """
    if gaps.empty:
        return ""
    gap = gaps.iloc[-1]
    missing = int(gap["missing"])
    count = f"{missing:,} candle{'' if missing == 1 else 's'}"
    where = f"from {clock(gap['start'])} on"
    if gap["kind"] == "open":
        return f"{count} missing {where}: the venue is being asked."
    if gap["kind"] == "venue":
        return f"{count} missing {where}: the venue has none there either."
    first_closed = gap["start"] + (gap["end"] - gap["start"]) / missing
    late = (gap["closed"] - first_closed).total_seconds() / (pace or 1.0)
    return f"{count} missed {where}, filled since (at most {span(round(late))} late)."


def clock(time: pd.Timestamp) -> str:
    """A time (UTC) as on the axis of a chart that shows days."""
    return f"{time:%d %b %H:%M}"


def decimals_of(prices: Array) -> int:
    """With how many decimals a venue tells these prices: as few as lose nothing, at most 8."""
    known = prices[np.isfinite(prices)]
    exact = (k for k in range(8) if np.allclose(known, np.round(known, k), rtol=1e-12, atol=0))
    return next(exact, 8)


def amount(quantity: float) -> str:
    """A quantity to about five digits."""
    digits = 4 - math.floor(math.log10(quantity)) if quantity > 0 else 2
    return f"{quantity:,.{min(8, max(0, digits))}f}"


def currencies(symbol: str) -> tuple[str, str]:
    """What is traded and what it is paid with; "" and "quote" if the name does not tell."""
    for quote in ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY"):
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return "", "quote"


def venue_name(venue: str) -> str:
    """A venue's name, or the host of an address: a port would be another in each run."""
    return urlsplit(venue).hostname or venue


def write(place: Any, text: str) -> None:
    """Let an HTML widget say ``text``, and take no room if that is nothing; what is so is left."""
    if place.value != text:
        place.value, place.layout.display = text, None if text else "none"
