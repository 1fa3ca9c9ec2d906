"""A slow, obvious book of candles: it keeps all it was ever told and starts anew at each question.

Every answer is a pass over the log. A bar's story (missing, answered, shown, closed) is read out of
the log for that bar alone. Nothing here knows arrays, spans or bounds on memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from naive_resampling import bin_of

from astraquant.candles import Candle

bin_at = lru_cache(10_000)(bin_of)


class Loaded(NamedTuple):
    rows: list[Candle]


class Answer(NamedTuple):
    """REST's rows for the bars that open in [start, until), at venue time ``now``."""

    rows: list[Candle]
    start: int
    until: int
    now: int


def told(candle: Candle) -> tuple[float | None, ...]:
    """A candle that can be compared: what it doesn't know is None, which equals itself."""
    return tuple(None if math.isnan(value) else value for value in candle)


class NaiveBook:
    def __init__(self, timeframe: str) -> None:
        self.timeframe = timeframe
        self.log: list[Any] = []  # Loaded, Answer; klines and trades as they came

    def load(self, rows: Sequence[Candle]) -> None:
        self.log.append(Loaded(list(rows)))

    def event(self, event: Any) -> None:
        self.log.append(event)

    def backfill(self, rows: Sequence[Candle], start: int, until: int, now: int) -> None:
        until = min(until, self.bar(now))
        self.log.append(Answer([row for row in rows if row.time < until], start, until, now))

    def bar(self, time: int) -> int:
        return bin_at(time, self.timeframe)[0]

    def after(self, time: int) -> int:
        return bin_at(time, self.timeframe)[1]

    def bar_of(self, event: Any) -> int:
        return event.candle.time if hasattr(event, "candle") else self.bar(event.time)

    def origin(self) -> int | None:
        for entry in self.log:
            if isinstance(entry, Loaded):
                if entry.rows:
                    return entry.rows[0].time
            elif not isinstance(entry, Answer):
                return self.bar_of(entry)
        return None

    def entries(self) -> list[Any]:
        """The log without what came of bars before the first one."""
        origin = self.origin()
        return [
            entry
            for entry in self.log
            if isinstance(entry, Loaded | Answer)
            or (origin is not None and self.bar_of(entry) >= origin)
        ]

    def horizon(self) -> int | None:
        """The first bar of which nothing is to be said yet: no later one is known of."""
        edges = []
        for entry in self.entries():
            if isinstance(entry, Loaded):
                edges += [self.after(row.time) for row in entry.rows]
            elif isinstance(entry, Answer):
                edges += [entry.until] if entry.start < entry.until else []
            elif hasattr(entry, "candle"):
                bar = entry.candle.time
                edges.append(self.after(bar) if entry.closed else bar)
        return max(edges, default=self.origin())

    def closed(self) -> list[Candle]:
        """Of each bar the version known as of the latest time; of several, the first."""
        best: dict[int, tuple[int, Candle]] = {}
        for entry in self.entries():
            if isinstance(entry, Loaded):
                versions = [(0, row) for row in entry.rows]
            elif isinstance(entry, Answer):
                versions = [(entry.now, row) for row in entry.rows]
            elif hasattr(entry, "candle") and entry.closed:
                versions = [(entry.event_time, entry.candle)]
            else:
                versions = []
            for version in versions:
                bar = version[1].time
                if bar not in best or version[0] > best[bar][0]:
                    best[bar] = version
        return [best[bar][1] for bar in sorted(best)]

    def story(self, bar: int) -> tuple[str, int, int | None] | None:
        """What became of a bar that was missing: (kind, found, closed); None if none was."""
        found: tuple[str, int, int | None] | None = None
        shown = False
        for entry in self.entries():
            if isinstance(entry, Loaded):
                times = [row.time for row in entry.rows]
                if times and times[0] < bar < times[-1] and bar not in times:
                    end = min(time for time in times if time > bar)
                    found = ("venue", end, end)
                elif bar in times:
                    return None
            elif isinstance(entry, Answer):
                if entry.start >= entry.until or bar >= entry.until:
                    continue
                if found is None:
                    found = ("open", entry.now, None)
                if bar in [row.time for row in entry.rows]:
                    return ("ours", found[1], entry.now)
                if found[0] == "open" and entry.start <= bar and not shown:
                    found = ("venue", found[1], entry.now)
            elif self.bar_of(entry) == bar:
                shown = True
                if getattr(entry, "closed", False):
                    return None
                if found is not None and found[0] == "venue":
                    found = ("open", entry.event_time, None)
            elif hasattr(entry, "candle") and entry.candle.time > bar and found is None:
                found = ("open", entry.event_time, None)
        return found

    def ledger(self) -> dict[int, tuple[str, int, int | None]]:
        bars = {}
        bar, horizon = self.origin(), self.horizon()
        while bar is not None and horizon is not None and bar < horizon:
            story = self.story(bar)
            if story is not None:
                bars[bar] = story
            bar = self.after(bar)
        return bars

    def gaps(self) -> list[tuple[int, int, int, str, int, int | None]]:
        """Runs of bars of one kind: start, end, missing, kind, first found, last answered."""
        runs: list[list[Any]] = []
        for bar, (kind, found, closed) in self.ledger().items():
            if runs and runs[-1][1] == bar and runs[-1][3] == kind:
                run = runs[-1]
                run[1], run[2], run[4] = self.after(bar), run[2] + 1, min(run[4], found)
                run[5] = None if closed is None else max(run[5], closed)
            else:
                runs.append([bar, self.after(bar), 1, kind, found, closed])
        return [tuple(run) for run in runs]  # type: ignore[misc]

    def missing(self, now: int) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        ledger, horizon, bar = self.ledger(), self.horizon(), self.origin()
        while bar is not None and horizon is not None and self.after(bar) <= now:
            if bar >= horizon or ledger.get(bar, ("",))[0] == "open":
                start = spans.pop()[0] if spans and spans[-1][1] == bar else bar
                spans.append((start, self.after(bar)))
            bar = self.after(bar)
        return spans

    def forming(self) -> tuple[Candle | None, bool]:
        """The newest kline, the trades that follow it without a hole, and if there are others."""
        base: Any = None  # the newest kline
        anchor: Any = None  # the newest one that names its last trade
        trades: list[Any] = []
        for entry in self.entries():
            if isinstance(entry, Loaded | Answer):
                continue
            if not hasattr(entry, "candle"):
                known = [trade for trade in trades if trade.first_id == entry.first_id]
                if not known and (anchor is None or self.is_news(entry, anchor)):
                    trades.append(entry)
                continue
            if base is None or key(entry) > key(base):
                base = entry
            if entry.last_id >= 0 and (anchor is None or key(entry) > key(anchor)):
                anchor = entry
            if anchor is not None:
                trades = [trade for trade in trades if self.is_news(trade, anchor)]
        if anchor is None:
            return self.shown(None if base is None or base.closed else base.candle), bool(trades)
        candle = None if base.closed else base.candle
        floor = self.after(base.candle.time) if base.closed else base.candle.time
        chain = anchor.last_id
        while following := [trade for trade in trades if trade.first_id == chain + 1]:
            trade = following[0]
            chain = trade.last_id
            bar = self.bar(trade.time)
            if bar >= floor and (candle is None or bar >= candle.time):
                candle = with_trade(candle, trade, bar)
        return self.shown(candle), any(trade.last_id > chain for trade in trades)

    def is_news(self, trade: Any, anchor: Any) -> bool:
        return trade.last_id > anchor.last_id and self.bar(trade.time) >= anchor.candle.time

    def shown(self, candle: Candle | None) -> Candle | None:
        horizon = self.horizon()
        known = candle is not None and horizon is not None and candle.time >= horizon
        return candle if known else None


def key(kline: Any) -> tuple[int, bool, int, int]:
    return kline.candle.time, kline.closed, kline.event_time, kline.last_id


def with_trade(candle: Candle | None, trade: Any, bar: int) -> Candle:
    price, quantity = trade.price, trade.quantity
    count = trade.last_id - trade.first_id + 1
    taker = 0.0 if trade.buyer_is_maker else quantity
    if candle is None or candle.time != bar:
        candle = Candle(bar, price, price, price, price, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Candle(
        time=bar,
        open=candle.open,
        high=max(candle.high, price),
        low=min(candle.low, price),
        close=price,
        volume=candle.volume + quantity,
        quote_volume=candle.quote_volume + price * quantity,
        trades=candle.trades + count,
        taker_buy_volume=candle.taker_buy_volume + taker,
        taker_buy_quote_volume=candle.taker_buy_quote_volume + taker * price,
    )


def candle_at(time: int, number: int) -> Candle:
    """Some candle: another one for each number."""
    return Candle(time, 2.0, 3.0 + number, 1.0, 2.5, float(number), 0.1 * number, 1.0, 0.5, 0.25)
