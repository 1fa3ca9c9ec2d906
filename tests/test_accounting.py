"""The ledger against the bank statement, over stretches that its kernel takes in one go."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from astraquant.accounting import RUINED, STRETCH, run_ledger
from astraquant.stops import find_fills


def wandering(seed: int, bars: int, *, longest: int = 40, step: float = 0.02) -> tuple[Any, ...]:
    """Targets that last up to ``longest`` bars, fill prices and closes."""
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, step, bars)))
    price = close * np.exp(rng.normal(0, step / 4, bars))
    lengths = rng.integers(1, longest + 1, bars)
    target = np.repeat(rng.integers(-1, 2, bars), lengths)[:bars]
    return target.astype(np.int8), price, close


def assert_as_a_bank_says(target: Any, price: Any, close: Any, **options: float) -> Any:
    """The ledger equals the statement: equity, returns, holding and trades."""
    ledger = run_ledger(find_fills(target, price), close, cash=1e4, **options)
    # Each bar's target is filled at its own price: "decided" there, as with fill="close".
    expected = bank(target, price, close, **options)
    np.testing.assert_allclose(ledger.equity, expected.equity, rtol=1e-9, atol=1e-9)
    assert ledger.held.tolist() == expected.held
    before = np.array([1e4, *expected.equity[:-1]])
    after = np.array(expected.equity)
    returns = np.divide(after, before, out=np.ones_like(after), where=before > 0) - 1.0
    np.testing.assert_allclose(ledger.returns, returns, rtol=1e-7, atol=1e-10)
    assert len(ledger.trades) == len(expected.trades)
    for row, trade in zip(ledger.trades, expected.trades, strict=True):
        for name in ("direction", "entry_bar", "exit_bar"):
            assert row[name] == trade[name], name
        for name in ("entry_price", "exit_price", "quantity", "fees", "profit"):
            assert row[name] == pytest.approx(trade[name], rel=1e-9, abs=1e-7), name
    return ledger


def bank(target: Any, price: Any, close: Any, *, cost: float, slippage: float) -> naive.Run:
    """`naive.run` with fills at the open: what it decides one bar earlier."""
    return naive.run(
        [*target[1:].tolist(), int(target[-1])],
        price.tolist(),
        close.tolist(),
        fill="open",
        cost=cost,
        slippage=slippage,
        cash=1e4,
        before=int(target[0]),
    )


@given(
    st.integers(0, 2**32),
    st.integers(1, 300),
    st.sampled_from([1, 3, 64, 200]),
    st.sampled_from([0.001, 0.02, 0.3]),
    st.sampled_from([0.0, 0.001, 0.05]),
    st.sampled_from([0.0, 0.01]),
)
@example(1, 300, 200, 0.3, 0.0, 0.0)
def test_the_ledger_equals_the_bank_statement(
    seed: int, bars: int, longest: int, step: float, cost: float, slippage: float
) -> None:
    target, price, close = wandering(seed, bars, longest=longest, step=step)
    assert_as_a_bank_says(target, price, close, cost=cost, slippage=slippage)


@pytest.mark.parametrize("side", [-1, 0, 1])
@pytest.mark.parametrize("change", [STRETCH - 1, STRETCH, STRETCH + 1, STRETCH + 64, 2 * STRETCH])
def test_a_change_near_the_end_of_a_stretch_is_seen(side: int, change: int) -> None:
    _, price, close = wandering(0, 2 * STRETCH + 3, step=1e-4)
    target = np.full(len(close), side, np.int8)
    target[change:] = 1 if side == 0 else -side
    ledger = assert_as_a_bank_says(target, price, close, cost=0.001, slippage=0.0)
    assert int(ledger.trades["entry_bar"][-1]) == change


@pytest.mark.parametrize("ruin", [1, 64, STRETCH - 1, STRETCH, STRETCH + 5])
def test_a_ruin_anywhere_in_a_stretch_ends_the_run_at_zero(ruin: int) -> None:
    close = np.ones(2 * STRETCH)
    close[ruin] = 3.0
    target = np.full(len(close), -1, np.int8)
    target[-10:] = 1  # too late
    ledger = assert_as_a_bank_says(target, close, close, cost=0.001, slippage=0.0)
    assert ledger.trades["status"].tolist() == [RUINED]
    assert ledger.returns[ruin] == -1.0
    assert not ledger.equity[ruin:].any()
    assert not ledger.returns[ruin + 1 :].any()
    assert not ledger.held[ruin:].any()
