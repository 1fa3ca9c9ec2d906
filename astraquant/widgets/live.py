"""`live_chart`: candles, a strategy and a paper account on a live feed, in a notebook."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from html import escape
from queue import SimpleQueue
from typing import Any

import ipywidgets as ipw

from ..data.sample import SYMBOLS
from ..errors import DataError, StrategyError
from ..feed.cursor import Cursor
from ..feed.feed import Feed, Status
from ..runs import Options, check_strategy_type
from ..strategies.definition import Strategy
from ..timeframes import check_timeframe
from . import style, words
from .live_controls import TIMEFRAMES, WELL_KNOWN, Controls, LogPanel, Setup
from .live_history import minutes_wanted, start_feed
from .live_picture import Picture, Seen

PERIOD = 0.1  # seconds between flushes: more often a browser can't follow

_charts: dict[str, LiveChart] = {}  # by name


def live_chart(
    symbol: str,
    *,
    timeframe: str = "1m",
    venue: str = "sim",
    strategy: Strategy | None = None,
    cost: float = 0.001,
    **parameters: Any,
) -> LiveChart:
    """Watch ``symbol`` live: candles, volume, and a strategy with a paper account, if one is given.

    venue: "sim" (a simulated exchange in this process, 20 times as fast as real time), "binance",
        or an exchange's address. timeframe: "1m" to "4h", made of the feed's minutes as they come.
    strategy: runs on closed candles, as in `backtest`; ``parameters`` are its own, and become
        sliders. cost: fraction of the traded value per side that the paper account pays.

    The chart starts a feed of its own, with as much history as `check_strategy` asks for, and stops
    it with `LiveChart.stop`, or with `close`, which takes the picture away too; another live chart
    of the same symbol closes this one, so that running a cell again is harmless. A venue that can't
    be reached is shown on the chart, and tried again.

    Raises `FeedError` for what trying again can't mend (an unknown symbol), `StrategyError` and
    `DataError` for options that make no sense, `StrategyError` for a strategy that looks ahead.
    """
    _check(timeframe, strategy, cost, parameters)
    bound = strategy.bind(parameters, ("timeframe", "venue", "cost")) if strategy else {}
    setup = Setup(symbol, timeframe, bound)
    name = f"live_chart {symbol}"
    Feed(symbol, venue=venue)  # raises for what is misspelled, before anything is closed
    former = _charts.get(name)
    if former is not None:
        former.close()
    feed = start_feed(name, setup, venue, strategy)
    try:
        chart = LiveChart(name, feed, setup, strategy, cost)
    except BaseException:
        feed.stop()
        raise
    _charts[name] = chart
    return chart


class LiveChart(style.Chart):
    """A chart that follows a feed until it is closed; made by `live_chart`.

    ``feed``: the one it shows, for whoever wants to look closer. A thread of its own draws at most
    ten times a second, however much happens; the controls only leave wishes for it.
    """

    feed: Feed
    _cursor: Cursor
    _setup: Setup
    _seen: Seen
    _history: int  # minutes that the feed was asked to begin with
    _state: str  # of the feed, when it was last looked at
    _news: bool  # whether more than the forming candle has changed since the last drawing
    _failed: bool  # whether the last drawing came to nothing
    _follows = True  # what the button for it was last set to
    _open = False  # until all of it is there, and since it was stopped
    _shown = False  # the same, since it was closed

    def __init__(
        self, name: str, feed: Feed, setup: Setup, strategy: Strategy | None, cost: float
    ) -> None:
        """Take over ``feed``, which runs; the arguments were checked by `live_chart`."""
        self._name, self._strategy = name, strategy
        self._picture = Picture(strategy, cost)
        self._controls = Controls(setup, strategy, *_symbols(feed))
        self._log = LogPanel()
        self._head, self._light, self._message = style.header(""), ipw.HTML(), ipw.HTML()
        self._wishes: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = threading.Event()
        self._wire()
        self._take_over(feed, setup)
        panels = self._picture.panels
        parts = [self._head, self._light, *self._controls.rows, self._message, self._picture.paper]
        parts += [panels.legend, panels.price, panels.volume, self._picture.gap, self._log.widget]
        super().__init__(parts, "")
        self._tell("")
        self._flush_safely()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)
        self._open = self._shown = True
        self._thread.start()

    def stop(self) -> None:
        """Stop the feed and its thread; the picture stays as it is."""
        if not self._open:
            return
        self._open = False
        if _charts.get(self._name) is self:
            del _charts[self._name]
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(2.0)  # longer only while it waits for a venue that does not answer
        self._cursor.close()
        self.feed.stop()
        self._show_state(self.feed.status)
        self._log.detach()
        self._controls.disable()

    def close(self) -> None:
        """Stop, and free all that the chart holds, its widgets too."""
        self.stop()
        if not self._shown:
            return
        self._shown = False
        for widget in list(_parts_of(self)):
            ipw.Widget.close(widget)

    def drop_connection(self) -> None:
        """Break the connection, and let the simulated venue refuse new ones for some seconds."""
        simulator = self.feed.simulator
        if simulator is None:
            self._tell("Only the connection of a simulated venue can be dropped from here.")
            return
        simulator.refuse(503, count=3)
        simulator.kill()

    def __repr__(self) -> str:
        venue = words.venue_name(self.feed.venue)
        shown = (self._setup.symbol, self._setup.timeframe, venue, self._picture.strategy)
        return f"LiveChart({', '.join(filter(None, shown))})"

    def _wire(self) -> None:
        """Each control leaves a wish, so that one thread alone draws."""
        controls, picture, wish = self._controls, self._picture, self._wishes.put
        controls.zoom_in.on_click(lambda _: wish(lambda: picture.zoom(1 / 1.5)))
        controls.zoom_out.on_click(lambda _: wish(lambda: picture.zoom(1.5)))
        controls.zoom_all.on_click(lambda _: wish(picture.zoom_out_fully))
        controls.older.on_click(lambda _: wish(lambda: picture.move(-0.5)))
        controls.newer.on_click(lambda _: wish(lambda: picture.move(0.5)))
        controls.drop.on_click(lambda _: wish(self.drop_connection))
        controls.follow.observe(lambda change: wish(lambda: picture.follow(change.new)), "value")

    # The thread.

    def _follow(self) -> None:
        while not self._stopping.wait(PERIOD):
            self._flush_safely()

    def _flush_safely(self) -> None:
        try:
            self._flush()
        except Exception as error:  # shown, for nobody sees what a thread prints
            if not self._stopping.is_set():
                self._failed = True
                self._tell(f"The chart can't be drawn: {type(error).__name__}: {error}")

    def _flush(self) -> None:
        """Fulfil the wishes, and draw what is new since the last time."""
        while not self._wishes.empty():
            self._wishes.get()()
        controls, setup = self._controls, self._controls.setup
        if setup.symbol != self._setup.symbol or self._lacks_history(setup):
            setup = self._switch(setup)
        self._setup = setup
        status = self.feed.status
        self._news |= any(update.kind != "forming" for update in self._cursor.take())
        self._news |= status.state != self._state  # after a backfill gaps may be the venue's
        self._state = status.state
        self._show_state(status)
        news = self._news and not controls.pause.value
        if not controls.pause.value:
            self._seen, self._news = self._look(news), False
        drawn = self._picture.draw(self._seen, setup.timeframe, setup.parameters, news=news)
        if not drawn:
            self._tell(
                f"No candle of {setup.symbol} so far: the chart begins as soon as they come."
            )
        elif self._failed:
            self._tell("")
        self._failed = not drawn
        controls.complain(self._picture.complaint)
        if self._picture.view.follows != self._follows:  # or else a click just now would be lost
            self._follows = controls.follow.value = self._picture.view.follows

    def _look(self, news: bool) -> Seen:
        """What the feed knows now; only what is forming changes without news."""
        feed = self.feed
        if news:
            return Seen(feed.candles, feed.gaps, feed.forming, feed.pace, feed.is_simulated)
        return self._seen._replace(forming=feed.forming)

    def _show_state(self, status: Status) -> None:
        """Title, venue and connection: these go on while the picture is paused."""
        simulated = self.feed.is_simulated
        venue = "SIMULATED PRICES" if simulated else words.venue_name(self.feed.venue).upper()
        parts = (self._setup.symbol, self._setup.timeframe, self._picture.strategy)
        title = " · ".join(filter(None, parts))
        words.write(self._head, style.header_html(title, synthetic=simulated, venue=venue))
        paused = " · <b>PAUSED</b>: the picture stands still" if self._controls.pause.value else ""
        light = words.light(status, self.feed.pace)
        words.write(self._light, f'<div style="{_LINE}">{light}{paused}</div>')
        self._log.show()

    def _tell(self, text: str) -> None:
        """Show a message above the picture ("": none)."""
        words.write(
            self._message, f'<div style="{_MESSAGE}">⚠ {escape(text)}</div>' if text else ""
        )

    # The feed.

    def _lacks_history(self, setup: Setup) -> bool:
        """Whether another timeframe needs more minutes than there are."""
        wanted = minutes_wanted(setup, self._strategy)
        there = max(self._history, len(self._seen.minutes))
        return setup.timeframe != self._setup.timeframe and wanted > there

    def _switch(self, setup: Setup) -> Setup:
        """Take a feed of another symbol, or with more history; the old one stays if that fails."""
        self._tell(f"Loading {setup.symbol} …")
        try:
            feed = start_feed(self._name, setup, self.feed.venue, self._strategy)
        except Exception as error:  # whatever it is: not to be tried again ten times a second
            self._controls.symbol.value = self._setup.symbol
            self._controls.timeframe.value = self._setup.timeframe
            self._tell(str(error))
            return self._setup
        former = self.feed
        self._cursor.close()
        self._take_over(feed, setup)
        former.stop()  # last, so that a simulated venue runs on
        if self._stopping.is_set():
            feed.stop()  # the chart was closed while this one started
        self._tell("")
        return setup

    def _take_over(self, feed: Feed, setup: Setup) -> None:
        """Show ``feed`` from now on."""
        self.feed, self._setup, self._history = feed, setup, minutes_wanted(setup, self._strategy)
        self._cursor = feed.subscribe()
        self._log.feed = feed.name
        self._state, self._news, self._failed = "", True, False
        self._seen = self._look(True)
        self._controls.drop.layout.display = None if feed.simulator else "none"
        self._picture.begin(setup.symbol, setup.parameters)


_LINE = f"color:{style.TEXT};padding:0 8px;font-size:13px;line-height:20px"
_MESSAGE = f"{_LINE};border-left:4px solid {style.DRAWDOWN};margin:2px 8px"


def _check(
    timeframe: str, strategy: Strategy | None, cost: float, parameters: dict[str, Any]
) -> None:
    if check_timeframe(timeframe) not in TIMEFRAMES:
        raise DataError(
            f"timeframe={timeframe!r}: a live chart is made of minutes as they come; expected one "
            f"of {', '.join(TIMEFRAMES)}."
        )
    Options(cost=cost)
    if strategy is not None:
        check_strategy_type(strategy)
    elif parameters:
        given = next(iter(parameters))
        raise StrategyError(
            f"{given}={parameters[given]!r} is a parameter of a strategy, but there is none. Name "
            "it: strategy=ma_cross."
        )


def _symbols(feed: Feed) -> tuple[list[str], bool]:
    """The symbols to choose from, and whether there are no others."""
    if feed.venue == "sim":
        return list(SYMBOLS), True
    simulator = feed.simulator
    return (list(simulator.markets), True) if simulator else (WELL_KNOWN, False)


def _parts_of(widget: ipw.Widget) -> Iterator[ipw.Widget]:
    """The widget and all that it is made of, layouts, scales and axes included, each once."""
    found: dict[str, ipw.Widget] = {}
    waiting: list[Any] = [widget]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ipw.Widget):
            if one.model_id not in found:
                found[one.model_id] = one
                waiting += [getattr(one, name) for name in one.keys]
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    yield from found.values()
