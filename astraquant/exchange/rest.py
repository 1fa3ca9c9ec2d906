"""Binance's REST answers for market data, as far as they are simulated. No socket, no clock.

Source: Binance's public spot API documentation ("REST API", "Error codes") and recorded answers.
Not here: depth, trades, tickers, average prices (404), and everything that needs an account.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..timeframes import DURATIONS
from .market import Market
from .protocol import last_microsecond
from .records import UNIT, AggTrade, Kline, decimal

WEIGHT_PER_MINUTE = 6000  # of one address; this exchange has but one
WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "klines": 2, "aggTrades": 4}
REFUSALS_BEFORE_BAN = 5  # requests answered by 429 in one minute; the next one is banned
FIRST_BAN, LONGEST_BAN = 2 * 60.0, 3 * 24 * 3600.0  # seconds; each ban is twice the last

DEFAULT_ROWS, MOST_ROWS = 500, 1000  # Binance gives 1000 rows to whoever asks for more
PARAMETERS = {
    "ping": (),
    "time": (),
    "exchangeInfo": ("symbol", "symbols"),
    "klines": ("symbol", "interval", "startTime", "endTime", "timeZone", "limit"),
    "aggTrades": ("symbol", "fromId", "startTime", "endTime", "limit"),
}
# Longest first where one ends another ("FDUSD" before "USD").
QUOTES = "FDUSD USDT USDC BUSD TUSD USDP USD DAI BTC ETH BNB XRP TRX EUR GBP TRY BRL JPY".split()

_ROOT = "/api/v3/"
_NOT_FOUND = b"<html><body><h2>404 Not found</h2></body></html>"
_SYMBOL_RANGE, _NUMBER_RANGE = "^[A-Z0-9-_.]{1,20}$", "^[0-9]{1,20}$"
_SYMBOL, _NUMBER = re.compile(r"[A-Z0-9\-_.]{1,20}"), re.compile(r"[0-9]{1,20}")
_LONG = 2**63 - 1
_FIRST_MICROSECONDS = 10**14  # a time from here on is in microseconds (in ms it is the year 5138)


class Answer(NamedTuple):
    """What is answered to an HTTP request."""

    status: int
    body: bytes
    headers: dict[str, str]


class _Refusal(Exception):
    """A request is answered by HTTP 400 with this code and text of Binance's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Limiter:
    """The request weight of an address, per minute; a client that goes on in spite of it is banned.

    ``passed`` is any steadily growing number of seconds.
    """

    def __init__(self) -> None:
        self.used = 0
        self._minute = -1
        self._refused = 0
        self._banned_until = -math.inf
        self._ban = FIRST_BAN

    def charge(self, weight: int, passed: float) -> tuple[int, float]:
        """Count a request: (HTTP status, seconds to wait); (200, 0) where it may be answered."""
        if passed < self._banned_until:
            return 418, self._banned_until - passed
        minute = int(passed // 60)
        if minute != self._minute:
            self._minute, self.used, self._refused = minute, 0, 0
        self.used += weight
        if self.used <= WEIGHT_PER_MINUTE:
            return 200, 0.0
        self._refused += 1
        if self._refused <= REFUSALS_BEFORE_BAN:
            return 429, (minute + 1) * 60 - passed
        ban, self._ban = self._ban, min(2 * self._ban, LONGEST_BAN)
        self._banned_until = passed + ban
        return 418, ban


class Rest:
    """Answers requests for ``/api/v3/...`` out of markets by symbol.

    ``content``: what stands for the candles of all markets (their hashes, in any form); 12 hex
    digits made of it come with each answer, so that a client can keep simulated markets apart.
    ``speed``: venue time over real time, for ``Retry-After``, and told with each answer.
    """

    def __init__(
        self, markets: Mapping[str, Market], content: str = "", speed: float = 1.0
    ) -> None:
        self.markets = dict(markets)
        self.limiter = Limiter()
        self.most_rows = MOST_ROWS  # of an answer, whatever was asked for
        self._speed = max(1.0, speed)
        self.labels = {
            "X-Simulated-Market": hashlib.sha256(content.encode()).hexdigest()[:12],
            "X-Simulated-Source": _label(market.source for market in self.markets.values()),
            "X-Simulated-Speed": f"{speed:g}",
        }

    def answer(
        self, target: str, now: int, passed: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to ``GET target`` at ``now`` (ms); never raises.

        ``passed`` is the time for limits, in seconds (`Limiter.charge`); ``headers``: the request's
        (``X-MBX-TIME-UNIT: MICROSECOND`` asks for times in microseconds).
        """
        path, _, query = target.partition("?")
        endpoint = path.removeprefix(_ROOT) if path.startswith(_ROOT) else ""
        status, wait = self.limiter.charge(WEIGHTS.get(endpoint, 1), passed)
        if status != 200:
            return self._refuse(status, wait, now)
        if endpoint not in WEIGHTS:
            return self._answer(404, _NOT_FOUND, "text/html")
        try:
            finer = _is_microseconds(headers or {})
            result = self._look_up(endpoint, _parameters(endpoint, query), now, finer)
        except _Refusal as refusal:
            return self._error(400, refusal.code, str(refusal))
        return self._answer(200, _compact(result))

    def _look_up(self, endpoint: str, given: dict[str, str], now: int, finer: bool) -> object:
        if endpoint == "ping":
            return {}
        if endpoint == "time":
            return {"serverTime": now * 1000 if finer else now}
        if endpoint == "exchangeInfo":
            return exchange_info(self._symbols(given), now * 1000 if finer else now)
        market = self._market(_required(given, "symbol"))
        if endpoint == "klines":
            return _klines(market, given, now, finer, self.most_rows)
        return _agg_trades(market, given, now, finer, self.most_rows)

    def _symbols(self, given: dict[str, str]) -> list[Market]:
        if "symbol" in given and "symbols" in given:
            raise _Refusal(-1128, "Combination of optional parameters invalid.")
        if "symbol" in given:
            return [self._market(given["symbol"])]
        if "symbols" not in given:
            return list(self.markets.values())
        try:
            names = json.loads(given["symbols"])
        except (ValueError, RecursionError):
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            legal = r"^\[(\"[A-Z0-9-_.]{1,20}\"(,\"[A-Z0-9-_.]{1,20}\"){0,}){0,1}\]$"
            raise _illegal("symbols", legal)
        if len(set(names)) != len(names):
            raise _Refusal(-1151, "Symbol is present multiple times in the list.")
        return [self._market(name) for name in names]

    def _market(self, symbol: str) -> Market:
        if not _SYMBOL.fullmatch(symbol):
            raise _illegal("symbol", _SYMBOL_RANGE)
        if symbol not in self.markets:
            raise _Refusal(-1121, "Invalid symbol.")
        return self.markets[symbol]

    def _refuse(self, status: int, wait: float, now: int) -> Answer:
        streams = "Please use WebSocket Streams for live updates to avoid"
        seconds = math.ceil(wait / self._speed)
        if status == 429:
            text = (
                f"Too much request weight used; current limit is {WEIGHT_PER_MINUTE} request "
                f"weight per 1 MINUTE. {streams} polling the API."
            )
        else:
            until = now + round(wait * 1000)
            text = f"Way too much request weight used; IP banned until {until}. {streams} bans."
        answer = self._error(status, -1003, text)
        answer.headers["Retry-After"] = str(seconds)
        return answer

    def _error(self, status: int, code: int, message: str) -> Answer:
        return self._answer(status, _compact({"code": code, "msg": message}))

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> Answer:
        headers = {
            "Content-Type": f"{kind};charset=UTF-8",
            "X-MBX-USED-WEIGHT": str(self.limiter.used),
            "X-MBX-USED-WEIGHT-1M": str(self.limiter.used),
            **self.labels,
        }
        return Answer(status, body, headers)


# The parameters of a request.


def _parameters(endpoint: str, query: str) -> dict[str, str]:
    """The query as a dict; unknown, empty and doubled parameters are refused."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    known = PARAMETERS[endpoint]
    if len(given) < len(pairs):
        raise _Refusal(-1101, "Duplicate values for a parameter detected.")
    if given and not known:
        raise _Refusal(-1101, f"Too many parameters; expected '0' and received '{len(given)}'.")
    read = [name for name in given if name in known]
    if len(read) < len(given):
        raise _Refusal(
            -1104,
            f"Not all sent parameters were read; read '{len(read)}' parameter(s) but was sent "
            f"'{len(given)}'.",
        )
    for name, value in given.items():
        if not value:
            raise _Refusal(-1105, f"Parameter '{name}' was empty.")
    return given


def _required(given: dict[str, str], name: str) -> str:
    if name not in given:
        raise _Refusal(
            -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        )
    return given[name]


def _number(given: dict[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not _NUMBER.fullmatch(given[name]):
        raise _illegal(name, _NUMBER_RANGE)
    if int(given[name]) > _LONG:
        raise _Refusal(-1108, f"Parameter '{name}' overflowed.")
    return int(given[name])


def _time(given: dict[str, str], name: str) -> int | None:
    """A time in ms; Binance takes milliseconds and microseconds."""
    value = _number(given, name)
    if value is None or value < _FIRST_MICROSECONDS:
        return value
    return value // 1000


def _rows(given: dict[str, str]) -> int:
    limit = _number(given, "limit")
    if limit == 0:
        raise _invalid("limit")
    return DEFAULT_ROWS if limit is None else min(limit, MOST_ROWS)


def _illegal(name: str, legal: str) -> _Refusal:
    return _Refusal(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def _invalid(name: str) -> _Refusal:
    return _Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def _is_microseconds(headers: Mapping[str, str]) -> bool:
    units = [value.upper() for name, value in headers.items() if name.lower() == "x-mbx-time-unit"]
    if any(unit not in ("MILLISECOND", "MICROSECOND") for unit in units):
        raise _Refusal(
            -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
        )
    return "MICROSECOND" in units


# The answers.


def _klines(
    market: Market, given: dict[str, str], now: int, finer: bool, most: int
) -> list[list[Any]]:
    """Bars by open time, ascending; the last may be forming and is not flagged."""
    interval = _required(given, "interval")
    # The real exchange has every interval of every symbol; this one can't split its candles.
    if interval not in DURATIONS or interval not in market.intervals:
        raise _Refusal(-1120, "Invalid interval.")
    if given.get("timeZone", "0") != "0":  # other zones' days are not simulated
        raise _invalid("timeZone")
    start, end = _time(given, "startTime"), _time(given, "endTime")
    bars = market.klines(interval, start=start, end=end, limit=min(_rows(given), most), now=now)
    return [kline_row(bar, finer) for bar in bars]


def kline_row(kline: Kline, microseconds: bool = False) -> list[Any]:
    """The 12 values of a bar: as strings joined by commas they are a line of an archive."""
    opened, closed = kline.open_time, kline.close_time
    if microseconds:
        opened, closed = opened * 1000, last_microsecond(closed)
    return [
        opened,
        decimal(kline.open),
        decimal(kline.high),
        decimal(kline.low),
        decimal(kline.close),
        decimal(kline.volume),
        closed,
        decimal(kline.quote_volume),
        kline.trades,
        decimal(kline.taker_buy_volume),
        decimal(kline.taker_buy_quote_volume),
        "0",
    ]


def _agg_trades(
    market: Market, given: dict[str, str], now: int, finer: bool, most: int
) -> list[Any]:
    """Trades by id, ascending: from an id or a time on, or the newest ones (up to a time)."""
    first_id, limit = _number(given, "fromId"), min(_rows(given), most)
    start, end = _time(given, "startTime"), _time(given, "endTime")
    if first_id is not None and (start is not None or end is not None):
        raise _Refusal(-1128, "Combination of optional parameters invalid.")
    if first_id is not None:
        trades = market.trades_from(first_id, limit, now)
    elif start is not None:
        trades = market.trades_between(start, now if end is None else end, limit, now)
    else:
        trades = market.last_trades(limit, now if end is None else min(end, now))
    return [_agg_trade(trade, 1000 if finer else 1) for trade in trades]


def _agg_trade(trade: AggTrade, scale: int) -> dict[str, Any]:
    return {
        "a": trade.id,
        "p": decimal(trade.price),
        "q": decimal(trade.quantity),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": trade.time * scale,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def exchange_info(markets: Iterable[Market], server_time: int) -> dict[str, Any]:
    """The exchange's rules: its limit on requests, and what each symbol is traded in."""
    limit = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": WEIGHT_PER_MINUTE,
    }
    return {
        "timezone": "UTC",
        "serverTime": server_time,
        "rateLimits": [limit],
        "exchangeFilters": [],
        "symbols": [_symbol_info(market) for market in markets],
    }


def _symbol_info(market: Market) -> dict[str, Any]:
    base, quote = assets_of(market.symbol)
    tick = decimal(UNIT // 10**market.price_decimals)
    step = decimal(UNIT // 10**market.quantity_decimals)
    price = {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": decimal(10**6 * UNIT)}
    lot = {"filterType": "LOT_SIZE", "minQty": step, "maxQty": decimal(10**6 * UNIT)}
    return {
        "symbol": market.symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [price | {"tickSize": tick}, lot | {"stepSize": step}],
        "permissions": ["SPOT", "MARGIN"],
    }


def assets_of(symbol: str) -> tuple[str, str]:
    """A symbol's base and quote asset; a quote that is not known is its last three letters."""
    known = (quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote)
    quote = next(known, symbol[-3:])
    return symbol.removesuffix(quote) or symbol, quote


def _label(sources: Iterable[str]) -> str:
    """Where the candles come from, as a header can say it: printable ASCII."""
    text = "; ".join(dict.fromkeys(source for source in sources if source)) or "unknown"
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text)[:200]


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
