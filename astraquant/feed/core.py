"""What a feed knows, and what it has to ask: messages and answers in, updates out.

No socket, no clock: ``now`` is seconds of a clock that never goes back, venue time is in the
messages. The client (`client`) carries messages, questions and answers; all decisions are here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from ..candles import Candle
from ..data.pieces import Piece
from ..timeframes import SECOND, from_ms, next_start
from .book import Change
from .closed import rows_of
from .protocol import QUOTED, AggTrade, Ignored, Kline, Rejected, Reply, Shutdown, parse
from .track import Track

# ms of venue time that a closing update may be late, and REST behind the stream: asked too early it
# would show a partial candle as if it were whole.
GRACE: Final = 3 * SECOND
AHEAD: Final = 60.0  # seconds that an event may be ahead of the venue's clock as it was told
ASKED_LATELY: Final = 5.0  # seconds within which it is not asked for its time again
CLOCK_KEPT: Final = 600.0  # seconds after which the venue is asked for its time again
SPANS: Final = 3  # of a symbol's missing bars, the first ones, among the questions at one time
HOLE_GRACE: Final = 0.5  # seconds that a trade may come behind a later one
KEPT: Final = 100  # refused messages that are remembered

COUNTS: Final = (
    "messages klines trades rejected ignored trades_repeated trades_refilled "
    "closed filled revised gap attempts connections reconnects renewals stale "
    "backfills failed_questions"
)

_log = logging.getLogger("astraquant.feed")


class Update(NamedTuple):
    """Something new about one symbol's candles; see `Change` for the kinds.

    ``time``: the bar's open time, int ms UTC. ``before``: what a revised candle was.
    """

    symbol: str
    kind: str
    time: int
    candle: Candle | None
    before: Candle | None


def told(update: Update) -> str:
    """An update in one line."""
    time = f"{from_ms(np.array([update.time]))[0]:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    candle = update.candle
    close = f", close {candle.close:.10g}, volume {candle.volume:.10g}" if candle else ""
    before = f" (close was {update.before.close:.10g})" if update.before else ""
    return f"{update.kind}: {update.symbol} {time}{close}{before}"


class Bars(NamedTuple):
    """A question: the bars of [start, until)."""

    symbol: str
    start: int
    until: int


class Trades(NamedTuple):
    """A question: the trades with the ids ``first`` to ``last``."""

    symbol: str
    first: int
    last: int


class Newest(NamedTuple):
    """A question: the newest trade."""

    symbol: str


class Clock(NamedTuple):
    """A question: the venue's time."""


Question = Bars | Trades | Newest | Clock


class Core:
    """The state of a feed over several symbols. Hold ``lock`` to read it from another thread.

    ``counts``: what has happened how often. ``pace``: seconds of venue time in a real one.
    ``lag``: seconds by which the last event was behind the venue's clock when it came, None while
    that is not known.
    """

    def __init__(self, symbols: Sequence[str], timeframe: str) -> None:
        self.lock = threading.Lock()
        self.timeframe = timeframe
        self.tracks = {symbol: Track(symbol, timeframe) for symbol in symbols}
        self.counts = Counter(dict.fromkeys(COUNTS.split(), 0))
        self.quarantine: deque[Rejected] = deque(maxlen=KEPT)
        self.shutdown = False  # the venue has announced that it will close the connection
        self.venue_now = 0  # ms UTC
        self.lag: float | None = None
        self.pace = 1.0
        self._anchor: tuple[float, int, float] | None = None  # now, venue time then, its pace
        self._opened, self._opened_venue = 0.0, 0  # when the connection was

    @property
    def streams(self) -> list[str]:
        """The names of the streams that are to be subscribed to."""
        kinds = (f"kline_{self.timeframe}", "aggTrade")
        return [f"{symbol.lower()}@{kind}" for symbol in self.tracks for kind in kinds]

    def load(self, symbol: str, candles: pd.DataFrame) -> None:
        """Begin with a symbol's history."""
        self.tracks[symbol].book.load(candles)

    def opened(self, now: float, *, renewed: bool = False) -> None:
        """A connection was opened: what was missed before it is to be found out.

        ``renewed``: one that still works is being replaced, so that nothing was missed.
        """
        self.shutdown = False
        self._opened, self._opened_venue = now, 0
        for track in self.tracks.values():
            track.opened(now, renewed=renewed)

    def age(self, now: float) -> float:
        """How old the connection is, ms, by our clock or the venue's, whichever is ahead."""
        venue = self.venue_now - self._opened_venue if self._opened_venue else 0
        return max((now - self._opened) * 1000, venue)

    def receive(self, message: bytes | str, now: float) -> list[Update]:
        """Take one message of the stream."""
        self.counts["messages"] += 1
        event = parse(message)
        if isinstance(event, Kline):
            return self._kline(event, now)
        if isinstance(event, AggTrade):
            return self._trade(event, now)
        if isinstance(event, Rejected):
            self._reject(*event)
        elif isinstance(event, Shutdown):
            self.shutdown = True
        elif isinstance(event, Reply) and event.code is not None:
            _log.warning("the venue answers with an error: %s (%s)", event.message, event.code)
        else:
            self.counts["ignored"] += 1
            if isinstance(event, Ignored):
                _log.debug("ignored: %s", event.reason)
        return []

    def _kline(self, event: Kline, now: float) -> list[Update]:
        track = self._track(event, max(event.event_time, event.candle.time), now)
        if track is None:
            return []
        self.counts["klines"] += 1
        self._hear(event.event_time, now)
        track.hear_kline(event, now)
        _log.debug("Updating candle %s", event.candle)
        return self._updates(event.symbol, track.book.kline(event))

    def _trade(self, event: AggTrade, now: float) -> list[Update]:
        track = self._track(event, max(event.event_time, event.time), now)
        if track is None:
            return []
        self.counts["trades"] += 1
        self._hear(event.event_time, now)
        track.hear_trade(event)
        if not track.ids.add(event.id, now):
            self.counts["trades_repeated"] += 1
        return self._take(track, event)

    def _take(self, track: Track, event: AggTrade) -> list[Update]:
        """Give a trade to the book; one of a bar that was closed makes that bar doubtful."""
        book = track.book
        late = book.counts["late_trades"]
        changes = book.trade(event)
        if book.counts["late_trades"] > late:
            track.doubted.add(book.bar_of(event.time))
        return self._updates(event.symbol, changes)

    def _track(self, event: Kline | AggTrade, time: int, now: float) -> Track | None:
        """Whom an event is about; None if it is about nobody here, or can't be of now.

        One of the future would leave all bars up to it missing. So it is refused, and the venue
        asked whether that is its time.
        """
        track = self.tracks.get(event.symbol)
        if track is None:
            self.counts["ignored"] += 1
        elif self._anchor is not None and time > self._reckoned(now) + self._ahead:
            self._reject(f"{time} ms is in the venue's future", str(event))
            track.ask_newest |= now - self._anchor[0] > ASKED_LATELY
            return None
        return track

    def _reject(self, reason: str, text: str) -> None:
        self.counts["rejected"] += 1
        self.quarantine.append(Rejected(reason, text[:QUOTED]))
        _log.info("refused a message: %s", reason)

    def _updates(self, symbol: str, changes: list[Change]) -> list[Update]:
        updates = [
            Update(symbol, kind, time, candle, before) for kind, time, candle, before in changes
        ]
        for update in updates:
            if update.kind != "forming":
                self.counts[update.kind] += 1
                if _log.isEnabledFor(logging.INFO):
                    _log.info("candle %s", told(update))
        return updates

    # Time.

    def _hear(self, event_time: int, now: float) -> None:
        self.venue_now = max(self.venue_now, event_time)
        self._opened_venue = self._opened_venue or event_time
        if self._anchor is not None:
            then, venue, pace = self._anchor
            self.lag = max(0.0, now - then - (event_time - venue) / 1000 / pace)

    def told_time(self, venue_now: int, now: float, pace: float) -> None:
        """The venue has told its time; ``pace``: how much of it passes in a second."""
        self.venue_now, self.pace = venue_now, pace
        self._anchor = (now, venue_now, pace) if pace > 0 else None

    def _reckoned(self, now: float) -> int:
        """The venue's time, which goes on also where nothing happens."""
        if self._anchor is None:
            return self.venue_now
        then, venue, pace = self._anchor
        return max(self.venue_now, venue + int((now - then) * 1000 * pace))

    @property
    def _ahead(self) -> int:
        return int(AHEAD * 1000 * max(1.0, self.pace))

    # Silence.

    def silent(self, now: float) -> str:
        """Which stream has been silent for too long, in words; "" if none has.

        If others speak, REST is asked first whether that market is only quiet.
        """
        for track in self.tracks.values():
            others = any(one.has_spoken(now) for one in self.tracks.values() if one is not track)
            found = track.silence(now, others_speak=others)
            if found:
                return found
        return ""

    def be_patient(self, now: float) -> None:
        """A connection has ended in silence: whose market is quiet may be silent for longer."""
        for track in self.tracks.values():
            track.be_patient(now)

    # Questions.

    def is_complete(self, now: float) -> bool:
        """Whether all candles are there that should be, as far as is known."""
        surely = self._reckoned(now) - GRACE
        return all(
            track.settled and not track.book.missing(surely) for track in self.tracks.values()
        )

    def questions(self, now: float) -> list[Question]:
        """What is to be asked, the most urgent first; each again until its answer settles it."""
        # Bars that were over by then should be here, and REST should show them whole.
        surely = self._reckoned(now) - GRACE
        tracks = self.tracks.items()
        found: list[Question] = [Newest(symbol) for symbol, track in tracks if track.ask_newest]
        for symbol, track in tracks:
            found += [Bars(symbol, *span) for span in track.book.missing(surely)[:SPANS]]
        for symbol, track in tracks:
            holes = [hole for hole in track.ids.holes if now - hole.found >= HOLE_GRACE][:SPANS]
            found += [Trades(symbol, hole.first, hole.last) for hole in holes]
            ends = [(bar, next_start(bar, self.timeframe)) for bar in sorted(track.doubted)]
            found += [Bars(symbol, bar, end) for bar, end in ends if end <= surely]
        if self._anchor is not None and now - self._anchor[0] > CLOCK_KEPT:
            found.append(Clock())
        return found

    def newest(self, symbol: str, trade: AggTrade | None, now: float) -> None:
        """The answer to `Newest`."""
        self.tracks[symbol].newest(trade, now)

    def bars(self, symbol: str, start: int, piece: Piece, venue_now: int) -> list[Update]:
        """An answer to `Bars` as far as it reaches; ``venue_now``: known before it was asked."""
        track = self.tracks[symbol]
        rows = rows_of(piece.times, piece.values)
        changes = track.book.backfill(rows, start, piece.until, venue_now)
        track.doubted = {bar for bar in track.doubted if not start <= bar < piece.until}
        for note in piece.notes:
            _log.warning("%s.", note)
        return self._updates(symbol, changes)

    def trades(self, question: Trades, trades: Sequence[AggTrade], now: float) -> list[Update]:
        """The answer to `Trades`: what it leaves out is not to be had."""
        track = self.tracks[question.symbol]
        updates: list[Update] = []
        reached = question.last if not trades else question.first - 1
        for trade in trades:
            reached = max(reached, min(trade.id, question.last))  # what is passed over is not there
            if question.first <= trade.id <= question.last:
                self.counts["trades_refilled"] += track.ids.add(trade.id, now)
                track.hear_trade(trade)
                updates += self._take(track, trade)
        track.ids.give_up(question.first, reached)
        return updates
