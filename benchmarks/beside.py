"""The plane of the crossover beside other tools: what one bar of one pair takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

import astraquant as aq
from astraquant.strategies import ma_cross

from .crossing import COST, Pairs, by_backtesting, by_raptorbt, chunks_by_vectorbt, same_figures
from .harness import Case
from .inputs import Inputs
from .planes import PAIRS, by_engine, crossover, spread

YEAR = 10**9  # more bars than there are
Answer = tuple["Peer", pd.DataFrame]


@dataclass(frozen=True)
class Peer:
    """How a tool does the ``pairs``, as many as is practical, over the first ``bars`` minutes."""

    tool: str
    pairs: Pairs
    bars: int
    make: Callable[[pd.DataFrame, Pairs], Callable[[], pd.DataFrame]]

    def title(self, candles: pd.DataFrame) -> str:
        return f"{self.tool}: {len(self.pairs)} pairs × {min(self.bars, len(candles)):,} bars"

    def prepare(self, candles: pd.DataFrame) -> Callable[[], Answer]:
        run = self.make(candles.iloc[: self.bars], self.pairs)
        return lambda: (self, run())


def by_vectorbt(engine: str) -> Callable[[pd.DataFrame, Pairs], Callable[[], pd.DataFrame]]:
    return lambda candles, pairs: partial(chunks_by_vectorbt, candles, "1m", pairs, engine)


RAPTORBT = Peer("raptorbt, its batch, entries given", spread(16), YEAR, by_raptorbt)
VECTORBT = (
    Peer("vectorbt, Rust where it can", spread(8), YEAR, by_vectorbt("auto")),
    Peer("vectorbt, numba", spread(8), YEAR, by_vectorbt("numba")),
)
BACKTESTING = Peer("backtesting.py, entries given", spread(2), 20_000, by_backtesting)
ALL = (RAPTORBT, *VECTORBT, BACKTESTING)


def same_pairs(candles: pd.DataFrame, ours: aq.Sweep, theirs: Answer) -> None:
    """All figures that the other tool has, of the pairs that it did."""
    by_engine(ours)
    peer, figures = theirs
    if peer.bars < len(candles):
        bars = candles.iloc[: peer.bars]
        table = pd.DataFrame(
            [aq.backtest(bars, ma_cross, short=a, long=b, cost=COST).metrics for a, b in peer.pairs]
        )
    else:
        table = ours.table.loc[list(peer.pairs)]
    same_figures(table, figures)


def beside(inputs: Inputs) -> list[Case]:
    """One case; the first tool is the package, with all pairs over all bars."""
    candles = inputs.candles
    tools: dict[str, Callable[[], Any]] = {us(candles): partial(crossover, candles)}
    bars = {us(candles): len(candles) * len(PAIRS)}
    for peer in ALL:
        tools[peer.title(candles)] = peer.prepare(candles)
        bars[peer.title(candles)] = min(peer.bars, len(candles)) * len(peer.pairs)
    return [Case(TITLE, tools, partial(same_pairs, candles), bars)]


TITLE = "one bar of one pair"


def us(candles: pd.DataFrame) -> str:
    return f"astraquant: {len(PAIRS):,} pairs × {len(candles):,} bars"


NOTE = (
    "All follow the same entries and exits, filled at the next open, at the same cost per side, "
    "and all figures that mean the same are equal. The package and vectorbt compute averages, "
    "crossings, fills and figures; raptorbt and backtesting.py are given our entries and exits, so "
    "that their times have no averages in them. The others' pairs are spread evenly over the "
    "plane. Of vectorbt 9 figures are compared; of raptorbt 8 (its others count a trade that is "
    "still open at the end); of backtesting.py 4 (its Sharpe ratio is one of days, its profit "
    "factor one of returns, its exposure counts otherwise), over fewer bars, for the time of a bar "
    "hardly depends on their number."
)
