"""What a live chart draws when: little at each tick, the rest when a candle closes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..candles import Candle, times_of
from ..errors import StrategyError
from ..strategies.definition import Scalar, Strategy
from ..strategies.running import describe
from ..timeframes import DURATIONS, next_start, to_ms
from . import style, words
from .live_bars import MOST, Bars, View, price_range
from .live_panels import MARKED_TRADES, TOLERANCE, Panels
from .paper import Run, run_live


class Seen(NamedTuple):
    """What is known of a feed: closed minutes, gaps, the minute that is not over; what it is."""

    minutes: pd.DataFrame
    gaps: pd.DataFrame
    forming: Candle | None
    pace: float
    simulated: bool


class Picture:
    """The panels of one feed, and a paper account that follows the strategy on it.

    Each attribute of the last drawing is kept, so that only what has changed is sent.
    """

    def __init__(self, strategy: Strategy | None, cost: float) -> None:
        self.panels = Panels()
        self.paper = style.legend([])
        self.gap = style.legend([])
        self.complaint = ""  # about the strategy's parameters
        self.view = View()
        self._strategy, self._cost = strategy, cost
        self._bound: Mapping[str, Scalar] = {}
        self.begin("", {})

    def begin(self, symbol: str, bound: Mapping[str, Scalar]) -> None:
        """Start anew, on another symbol."""
        self._base, self._quote = words.currencies(symbol)
        self._bound = bound
        self._bars: Bars | None = None
        self._run: Run | None = None
        self._trouble = ""  # why there is none
        self._ran: tuple[object, ...] = ()  # what the strategy was last run on
        self._since: int | None = None  # when the paper account begins (ms)
        self._chosen: tuple[object, ...] = ()  # the timeframe and parameters that it follows
        self._window = self._drawn = (0, 0)  # moments (ms): in view, drawn
        self._newest = 0  # open time of the newest bar (ms)
        self._range = (0.0, 0.0)
        self._decimals = 2  # of a price
        self._tail: Candle | None = None  # the forming candle that is drawn

    def draw(
        self, seen: Seen, timeframe: str, parameters: Mapping[str, Scalar], *, news: bool
    ) -> bool:
        """Bring the picture up to date; ``news``: closed candles or gaps have changed.

        Whether there was anything to draw.
        """
        self.panels.name(self._base, self._quote, seen.simulated)
        bars = self._bars
        if news or bars is None or bars.timeframe != timeframe:
            news = True
            bars = self._bars = Bars(seen.minutes, timeframe)
        forming = bars.forming(seen.forming)
        newest = _newest(bars, forming)
        if newest is None:
            return False
        self._newest = newest
        redraw = news
        if news:
            self._decimals = words.decimals_of(bars.closed["close"].to_numpy()[-100:])
        if self._strategy is not None:
            redraw |= self._follow_strategy(bars, forming, parameters, news)
        self._notice_drag()
        redraw |= self._look(newest, timeframe)
        if redraw:
            self._draw(bars, seen.gaps, seen.pace)
        self._draw_tail(bars, forming, redraw)
        self._say_account(forming.close if forming else float(bars.closed["close"].iloc[-1]))
        return True

    # What a user may wish for.

    def zoom(self, factor: float) -> None:
        """Show so many times as many candles."""
        self.view = self.view.zoomed(factor)

    def zoom_out_fully(self) -> None:
        """Show all candles, or as many as can be told apart."""
        there = len(self._bars.closed) + 1 if self._bars else MOST
        self.view = self.view.zoomed(min(MOST, there) / self.view.count)

    def move(self, share: float) -> None:
        """Show later (or earlier, if it is below 0) candles: so many views away."""
        if self._bars is not None:
            self.view = self.view.moved(share, self._newest, self._bars.timeframe)

    def follow(self, on: bool) -> None:
        """Keep the newest candle in view, or what is in view now."""
        if on:
            self.view = View(self.view.count)
        elif self.view.follows and self._bars is not None:
            self.view = self.view.moved(0.0, self._newest, self._bars.timeframe)

    @property
    def strategy(self) -> str:
        """The strategy as it runs."""
        return describe(self._strategy, self._bound) if self._strategy else ""

    # The strategy.

    def _follow_strategy(
        self, bars: Bars, forming: Candle | None, parameters: Mapping[str, Scalar], news: bool
    ) -> bool:
        """Run it anew if a candle has closed or opened, or the parameters changed."""
        assert self._strategy is not None
        self.complaint = self._trouble
        try:
            self._bound = self._strategy.bind(parameters)
        except StrategyError as error:  # what was right before stays until it is right again
            self.complaint = f"{error}. Still shown: {self.strategy}."
        wanted = (bars.timeframe, tuple(self._bound.items()))
        opened = None if forming is None else forming.time
        if not news and self._ran == (opened, wanted):
            return False
        self._ran = (opened, wanted)
        if self._chosen != wanted:  # chosen in the light of what has been: it earns from now on
            self._chosen, self._since = wanted, None
        if self._since is None and forming is not None:
            self._since = next_start(forming.time, bars.timeframe)
        self._trouble = ""
        try:
            self._run = run_live(
                bars.closed,
                forming,
                self._strategy,
                self._bound,
                timeframe=bars.timeframe,
                since=self._since,
                cost=self._cost,
            )
        except Exception as error:  # the candles are shown whatever the strategy does
            self._run, self._trouble = None, f"{type(error).__name__}: {error}"
        return True

    def _say_account(self, price: float) -> None:
        entries: list[tuple[str, str, str]] = []
        if self._run is not None:
            account = self._run.account
            entries = [("", style.TEXT, "begins with the next bar")]
            if account is not None:
                entries = account.say(price, self._decimals, self._base, self._quote)
            if self._run.note:
                entries.append(("", style.TEXT, self._run.note))
        heading = f"Paper account ({self._cost * 100:.4g} % per side)"
        words.write(self.paper, style.legend_html(entries, heading) if entries else "")

    # Drawing.

    def _notice_drag(self) -> None:
        """Where the user has dragged the chart to, there it stays."""
        assert self._bars is not None
        seen = self.panels.window
        moved = max(abs(a - b) for a, b in zip(seen, self._window, strict=True))
        if self._window != (0, 0) and moved > TOLERANCE:
            self.view = self.view.held(seen, self._bars.timeframe)

    def _look(self, newest: int, timeframe: str) -> bool:
        """Move the view if it is to be moved; whether there is something new to draw in it."""
        window = self.view.window(newest, timeframe)
        if window != self._window:
            self._window = window
            self.panels.look_at(window)
            self._range = (0.0, 0.0)
        return not (self._drawn[0] <= window[0] and window[1] <= self._drawn[1])

    def _draw(self, bars: Bars, gaps: pd.DataFrame, pace: float) -> None:
        """Draw closed candles and all that goes with them, half a view more to the left."""
        start, end = self._window
        self._drawn = start - (end - start) // 2, end
        first, last = np.searchsorted(times_of(bars.closed), self._drawn)
        shown = bars.closed.iloc[first:last]
        run = self._run
        lines = {name: line.iloc[first:last] for name, line in run.lines.items()} if run else {}
        trades = _within(run.trades, *self._drawn) if run else _NO_TRADES
        holes = gaps[(_ms(gaps["end"]) > self._drawn[0]) & (_ms(gaps["start"]) < self._drawn[1])]
        self._shown, self._lines = shown, lines
        history = bars.closed.iloc[first : min(last, len(bars.closed) - 1)]  # the tail has the last
        self.panels.draw(history, lines, trades, DURATIONS[bars.timeframe])
        self.panels.mark_gaps(holes, self._since)
        self.panels.explain(lines, set(holes["kind"]), set(trades["direction"]))
        text = words.last_gap(gaps, pace)
        words.write(self.gap, style.legend_html([("", style.TEXT, text)]) if text else "")
        self._range = (0.0, 0.0)

    def _draw_tail(self, bars: Bars, forming: Candle | None, redraw: bool) -> None:
        if forming == self._tail and not redraw:
            return
        self._tail = forming
        self.panels.draw_tail(bars.closed.iloc[-1:], forming, DURATIONS[bars.timeframe])
        low, high = self._range
        inside = forming is None or low <= forming.low <= forming.high <= high
        if redraw or not inside:
            self._fit(forming)

    def _fit(self, forming: Candle | None) -> None:
        """Let the axes span what is in view."""
        start = pd.Timestamp(self._window[0], unit="ms", tz="UTC")
        end = pd.Timestamp(self._window[1], unit="ms", tz="UTC")
        shown = self._shown.loc[start:end]
        if forming is not None and not self._window[0] <= forming.time <= self._window[1]:
            forming = None
        if shown.empty and forming is None:
            return  # somebody looks beyond all candles
        lines = {name: line.loc[start:end] for name, line in self._lines.items()}
        self._range = price_range(shown, forming, lines)
        volumes = [*shown["volume"].tolist(), forming.volume if forming else 0.0]
        self.panels.fit(*self._range, max(volumes), self._decimals)


_NO_TRADES = pd.DataFrame(
    {name: [] for name in ("entry_time", "exit_time", "direction", "entry_price", "exit_price")}
)


def _newest(bars: Bars, forming: Candle | None) -> int | None:
    """Open time of the newest bar; None while there is none."""
    if forming is not None:
        return forming.time
    return int(times_of(bars.closed)[-1]) if len(bars.closed) else None


def _within(trades: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """Trades that lie at least partly in [start, end]."""
    entered = _ms(trades["entry_time"]) <= end
    left = _ms(trades["exit_time"].fillna(pd.Timestamp.max.tz_localize("UTC"))) >= start
    found: pd.DataFrame = trades[entered & left].iloc[-MARKED_TRADES:]
    return found


def _ms(times: Any) -> Any:
    return to_ms(pd.DatetimeIndex(times))
