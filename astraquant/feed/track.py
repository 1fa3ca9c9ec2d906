"""One symbol of a feed: its candles, the ids of its trades, and whether its streams still speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .book import CandleBook
from .trades import TradeIds

if TYPE_CHECKING:
    from .protocol import AggTrade, Kline

PATIENCE: Final = 10.0  # seconds that a stream may be silent: Binance updates a kline every 2 s
LONGEST_PATIENCE: Final = 300.0  # with a market in which nothing happens


class Track:
    """What is known of one symbol. ``now`` is seconds of a clock that never goes back.

    A stream that is silent has broken off, or nothing happens in its market. The venue's newest
    trade tells: if the klines know it, there was nothing to say, and the silence may last longer
    the next time.
    """

    def __init__(self, symbol: str, timeframe: str) -> None:
        self.symbol = symbol
        self.book = CandleBook(symbol, timeframe)
        self.ids = TradeIds()
        self.patience = PATIENCE
        self.settled = True  # this connection's klines are there, or there are none to come
        self.ask_newest = False
        self.doubted: set[int] = set()  # closed bars that trades came for later
        self._heard = 0.0  # when the last kline came, or the connection was opened
        # The newest trade (the id of its last single one) ...
        self._in_klines = -1  # ... that a kline names,
        self._in_trades = -1  # that came as a trade,
        self._told = -1  # and that REST knew when it was last asked
        self._behind_since: float | None = None  # klines know trades that have not come
        self._suspected = False  # silent, while others speak: REST is being asked why
        self._broken = False  # and it has said that there was something to say

    def opened(self, now: float, *, renewed: bool) -> None:
        """A connection was opened; ``renewed``: it takes the place of one that still works."""
        self._heard, self._behind_since = now, None
        self._suspected = self._broken = False
        if not renewed:
            self.settled, self.ask_newest = False, True

    def hear_kline(self, event: Kline, now: float) -> None:
        """A kline has come."""
        self._heard, self.settled = now, True
        self._suspected = self._broken = False
        self._in_klines = max(self._in_klines, event.last_id)
        if self._in_klines <= self._in_trades:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now

    def hear_trade(self, event: AggTrade) -> None:
        """A trade has come, by the stream or by REST."""
        self._in_trades = max(self._in_trades, event.last_id)
        self._catch_up()

    def _catch_up(self) -> None:
        if self._in_klines <= self._in_trades:
            self._behind_since = None

    def has_spoken(self, now: float) -> bool:
        """Whether a kline has come lately."""
        return now - self._heard <= PATIENCE

    def silence(self, now: float, *, others_speak: bool) -> str:
        """What has been silent for too long, in words; "" if nothing has.

        ``others_speak``: the connection brings other symbols' candles, so that it is not ended
        before REST has said that there was something to say.
        """
        silent = now - self._heard
        if silent > self.patience:
            if not others_speak or self._broken:
                return f"no candle of {self.symbol} for {silent:.0f} s"
            if not self._suspected:
                self._suspected = self.ask_newest = True
            return ""
        behind = self._behind_since
        asking = self.ask_newest or self.ids.holes
        if behind is not None and now - behind > PATIENCE and not asking:
            return f"no trade of {self.symbol} for {now - behind:.0f} s, though there were some"
        return ""

    def be_patient(self, now: float) -> None:
        """It was silent for too long; if it is only quiet, it may be so for longer."""
        if now - self._heard > self.patience:
            self.patience = min(2 * self.patience, LONGEST_PATIENCE)

    def newest(self, trade: AggTrade | None, now: float) -> None:
        """REST has told the newest trade (None: there was none ever)."""
        self.ask_newest = False
        last = -1 if trade is None else trade.last_id
        if self.ids.newest is None:  # trades before the first one that came were never owed
            self._in_trades = max(self._in_trades, last)
            self._catch_up()
        quiet = last <= max(self._in_klines, self._told)
        self._told = max(self._told, last)
        suspected, self._suspected = self._suspected, False
        if quiet:
            self.settled = True  # nothing has happened since
            if suspected:
                self.be_patient(now)
                self._heard = now
            return
        self.patience = PATIENCE
        self._broken = suspected
        if trade is not None:
            self.ids.expect(trade.id, now)
