"""What Binance's messages look like on the wire: the fields that are used, by Binance's letters.

msgspec refuses a missing field, another type than the one said here (nothing is coerced) and a
value outside the limits; it ignores fields that aren't named here. A name other than the letter is
given only to "l", which reads like a 1.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

# Plain digits only: no sign, exponent, underscore, blank, NaN. So short that no float overflows.
_DIGITS = r"[0-9]{1,20}(\.[0-9]{1,20})?\Z"
Quantity = Annotated[str, Meta(pattern=rf"^{_DIGITS}")]
Price = Annotated[str, Meta(pattern=rf"^(?=[0-9.]*[1-9]){_DIGITS}")]  # above 0
Symbol = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,20}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # an id, a number of trades, a time
IdOrNone = Annotated[int, Meta(ge=-1, le=2**63 - 1)]  # -1: a bar without trades


class Prices(Struct, rename={"low": "l"}):
    """What a bar and the last 24 hours have in common."""

    o: Price
    h: Price
    low: Price
    c: Price
    v: Quantity
    q: Quantity
    n: Count


class Bar(Prices):
    """The ``k`` of a kline."""

    t: Count
    T: Count
    s: Symbol
    i: str
    f: IdOrNone
    L: IdOrNone
    x: bool
    V: Quantity
    Q: Quantity


class Kline(Struct):
    """kline."""

    E: Count
    s: Symbol
    k: Bar


class Ticker(Prices):
    """24hrTicker. Its ``x`` is a price, a bar's a boolean."""

    E: Count
    s: Symbol


class Deal(Struct):
    """What both kinds of trades have in common."""

    E: Count
    s: Symbol
    p: Price
    q: Quantity
    T: Count
    m: bool


class Trade(Deal):
    """trade."""

    t: Count


class AggTrade(Deal, rename={"last": "l"}):
    """aggTrade."""

    a: Count
    f: Count
    last: Count


class PastTrade(Struct, rename={"last": "l"}):
    """One of REST's aggregate trades: as aggTrade, but for what is known when it is asked for."""

    a: Count
    p: Price
    q: Quantity
    f: Count
    last: Count
    T: Count
    m: bool


class BookTicker(Struct):
    """bookTicker: spot's has no event name."""

    s: Symbol
    u: Count
    b: Price
    B: Quantity
    a: Price
    A: Quantity


class Shutdown(Struct):
    """serverShutdown."""

    E: Count


class Error(Struct):
    """An error that is nested in a reply."""

    code: int | None = None
    msg: str = ""


class Reply(Error):
    """A command's answer, perhaps itself an error."""

    id: int | str | None = None
    result: Any = None
    error: Error | None = None
