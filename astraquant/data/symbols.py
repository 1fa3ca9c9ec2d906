"""How a symbol is spelled: the pattern that every path, address and command line passes."""

from __future__ import annotations

import re

from ..errors import DataError

_SYMBOL = re.compile(r"[A-Z0-9]{2,20}")


def check_symbol(symbol: object) -> str:
    """Return ``symbol`` if it is spelled as Binance does (upper case), else raise `DataError`."""
    if isinstance(symbol, str) and _SYMBOL.fullmatch(symbol):
        return symbol
    upper = re.sub(r"[^A-Z0-9]", "", symbol.upper()) if isinstance(symbol, str) else ""
    hint = f" Did you mean {upper!r}?" if _SYMBOL.fullmatch(upper) else ""
    raise DataError(
        f"{symbol!r} is no symbol: expected 2 to 20 capital letters or digits, such as "
        f"'BTCUSDT'.{hint}"
    )
