"""REST's trades into the same events as the stream's: all or none of an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraquant.feed.protocol import AggTrade, parse_trades

TRADE = {
    "a": 966492862, "p": "60759.60000000", "q": "0.00841000", "f": 1111480471, "l": 1111480472,
    "T": 1634944096633, "m": False, "M": True,
}  # fmt: skip


def test_a_recorded_answer_is_read_to_the_last_trade(market_data: Path) -> None:
    body = (market_data / "rest" / "nautilus_http_spot_market_agg_trades.json").read_bytes()
    plain = json.loads(body)
    assert len(plain) > 1
    assert parse_trades(body, "BTCUSDT") == [
        AggTrade(
            "BTCUSDT",
            row["a"],
            float(row["p"]),
            float(row["q"]),
            row["f"],
            row["l"],
            row["T"],
            row["m"],
            row["T"],
        )
        for row in plain
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p", 60759.6),
        ("p", "0"),
        ("p", "-1"),
        ("p", "NaN"),
        ("p", "1_000"),
        ("q", "1e400"),
        ("a", "966492862"),
        ("a", -1),
        ("f", 1111480473),  # after the last one
        ("T", 1634944096),  # seconds
        ("m", "false"),
        ("l", None),
    ],
)
def test_one_bad_trade_spoils_the_answer(name: str, value: object) -> None:
    rows: list[dict[str, Any]] = [TRADE, TRADE | {name: value}]
    with pytest.raises(ValueError, match=r"."):
        parse_trades(json.dumps(rows).encode(), "BTCUSDT")
    assert len(parse_trades(json.dumps([TRADE, TRADE]).encode(), "BTCUSDT")) == 2


@given(
    st.one_of(st.binary(), st.from_regex(r"\[?\{\"a\":[0-9]+.*", fullmatch=True).map(str.encode))
)
def test_nonsense_is_a_value_error_and_nothing_else(body: bytes) -> None:
    try:
        found = parse_trades(body, "BTCUSDT")
    except ValueError:
        return
    assert all(isinstance(trade, AggTrade) for trade in found)
