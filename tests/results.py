"""What the tests of dashboards and reports share: results of every kind, and what is shown."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable
from typing import Annotated, Any

import ipywidgets as ipw
import numpy as np
import pandas as pd

import astraquant as aq
from astraquant.data.sample import sample_candles
from astraquant.strategies import ma_cross

MINUTES = sample_candles("BTCUSDT", start="2023-03-01", end="2023-03-15")


@aq.strategy
def always(candles: Any) -> Any:
    """Holds at every bar."""
    return candles.close > 0


@aq.strategy
def never(candles: Any) -> Any:
    """Holds at no bar."""
    return candles.close < 0


@aq.strategy
def named(candles: Any, name: Annotated[str, "any text"] = "<b>&") -> Any:
    """Has a parameter that looks like HTML."""
    return candles.close > 0


def flat_candles(close: list[float], source: str = "") -> pd.DataFrame:
    """Hourly candles that open, stay and close at one price."""
    times = pd.date_range("2023-01-01", periods=len(close), freq="1h", tz="UTC", name="time")
    prices = dict.fromkeys(("open", "high", "low", "close"), np.array(close, dtype=float))
    candles = pd.DataFrame({**prices, "volume": 1.0}, index=times)
    if source:
        candles.attrs["source"] = source
    return candles


@functools.cache
def crossover() -> Any:
    """Some hundred trades, long and short, the last one open."""
    return aq.backtest(MINUTES, ma_cross, short=5, long=20, timeframe="5m", direction="both")


def account() -> Any:
    """A portfolio of two symbols."""
    other = sample_candles("ETHUSDT", start="2023-03-01", end="2023-03-15")
    return aq.portfolio({"BTCUSDT": MINUTES, "ETHUSDT": other}, timeframe="1h")


# Results that are unlike each other.
_MAKE: dict[str, Callable[[], Any]] = {
    "crossover": crossover,
    "one bar": lambda: aq.backtest(flat_candles([1.0]), always, timeframe="1h"),
    "two bars": lambda: aq.backtest(flat_candles([1.0, 1.0]), always),
    "ruin": lambda: aq.backtest(flat_candles([100, 100, 150, 250, 99]), always, direction="short"),
    "no trade": lambda: aq.backtest(MINUTES, never, timeframe="15m"),
    "free": lambda: aq.backtest(flat_candles([1, 2, 3]), always, cost=0.0),
    "portfolio": account,
}
KINDS = tuple(_MAKE)


@functools.cache
def result_of(kind: str) -> Any:
    """One of `KINDS`, made once."""
    return _MAKE[kind]()


def texts(widget: ipw.Widget) -> str:
    """All that is written in a widget, without its markup; a space stands for each tag."""
    said = []
    waiting = [widget]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, ipw.HTML):
            said.append(one.value)
        waiting = [*getattr(one, "children", ()), *waiting]
    return plain(" ".join(said))


def plain(markup: str) -> str:
    """HTML as a reader sees it; a space stands for each tag."""
    body = re.sub(r"<(style|script).*?</\1>", " ", markup, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def table_rows(markup: str, kind: str = "list") -> list[list[str]]:
    """The cells of the body of a table of a class."""
    (body,) = re.findall(rf'class="{kind}">.*?<tbody>(.*?)</tbody>', markup, flags=re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    return [[plain(cell) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
