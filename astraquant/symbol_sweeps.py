"""One sweep for each of several symbols, and which combination does well on all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pandas as pd

from . import metrics
from .candles import is_joined
from .errors import DataError, StrategyError, unknown
from .reports import format_figure
from .symbols import split_candles

if TYPE_CHECKING:
    from .sweeping import Sweep

# What a passport says of each symbol.
_OWN = ("engine", "bars", "source", "candles_timeframe", "candles_sha256")
RANKS = ("median_rank", "worst_rank", "known")


_Sweeping = TypeVar("_Sweeping", bound=Callable[..., Any])


def for_each_symbol(sweep: _Sweeping) -> _Sweeping:
    """Let ``sweep`` also take a table of several symbols: a `SymbolSweep` of one sweep for each.

    Its type stays that for one symbol: the type of a table doesn't tell how many it holds.
    """

    @functools.wraps(sweep)
    def sweep_all(candles: pd.DataFrame, strategy: Any, **arguments: Any) -> Any:
        if not is_joined(candles):
            return sweep(candles, strategy, **arguments)
        # What can be gone through only once has to last for every symbol.
        again = {
            name: list(value) if isinstance(value, Iterator) else value
            for name, value in arguments.items()
        }
        sweeps = {}
        for symbol, alone in split_candles(candles).items():
            try:
                sweeps[symbol] = sweep(alone, strategy, **again)
            except DataError as error:
                raise DataError(f"{symbol}: {error}") from error
            except StrategyError as error:
                error.add_note(f"This was said of {symbol}, one of several symbols.")
                raise
        return SymbolSweep(sweeps, candles.attrs.get("source"))

    return cast(_Sweeping, sweep_all)


class SymbolSweep:
    """The result of a sweep over several symbols; the same combinations are tried on each.

    ``symbols``: the `Sweep` of each. ``table``: their tables as one, ``symbol`` before the other
    levels. ``source``: where the candles come from, if they say so.
    """

    def __init__(self, sweeps: Mapping[str, Sweep], source: object) -> None:
        self.symbols = dict(sweeps)
        self.source = source
        self._first = next(iter(self.symbols.values()))
        self.strategy = self._first.strategy
        self.grid = self._first.grid
        self.skipped = self._first.skipped
        self.table = pd.concat(
            {symbol: sweep.table for symbol, sweep in self.symbols.items()}, names=["symbol"]
        )

    def merit(self, metric: str = "sharpe") -> pd.DataFrame:
        """How each combination ranks by ``metric`` on each symbol, from 1 (best) to 0.

        A rank is the share of the other combinations that it beats, of equal ones half: ranks can
        be compared between symbols where figures can't. Without a value it is 0. One column for
        each symbol, then ``median_rank``, ``worst_rank`` and ``known``, the number of symbols on
        which it has a value. A symbol on which no combination has one says nothing: NaN.
        """
        values = self._values(metric)
        ranks = values.apply(_ranks, lower=metric in metrics.LOWER_IS_BETTER)
        told = (ranks.median(axis=1), ranks.min(axis=1), values.notna().sum(axis=1))
        return ranks.assign(**dict(zip(RANKS, told, strict=True)))

    def ranking(self, metric: str = "sharpe") -> pd.DataFrame:
        """The combinations that have a ``metric`` on any symbol, the best median rank first.

        Columns: the ``metric`` on each symbol, then ``median_rank``, ``worst_rank`` (which decides
        between equal medians) and ``known``, as in `merit`.
        """
        merit = self.merit(metric)
        rows = pd.concat([self._values(metric), merit[list(RANKS)]], axis=1)
        return rows[rows["known"] > 0].sort_values(
            ["median_rank", "worst_rank"], ascending=False, kind="stable"
        )

    def honesty(self, blocks: int | None = None) -> pd.DataFrame:
        """How much of the best result on each symbol is luck: a row of figures for each.

        They are those of `Sweep.honesty`, which ``symbols[...].honesty()`` gives whole. Whoever
        then picks the best symbol has searched through all of them: trials times symbols.
        """
        rows = {}
        for symbol, sweep in self.symbols.items():
            found = sweep.honesty(blocks)
            rows[symbol] = {
                "trials": found.luck.trials,
                "sharpe": found.luck.sharpe,
                "expected_by_luck": found.luck.expected,
                "deflated_sharpe": found.luck.deflated,
                "pbo": found.pbo.probability,
                "reality_check": found.reality_check.hansen,
                "plateau": found.plateau,
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("symbol")

    def best(self, metric: str = "sharpe") -> pd.Series:
        """The first row of `ranking`, its combination as the name.

        ``sweep.symbols["ETHUSDT"].backtest(sweep.best().name)`` runs it on one symbol. Remember
        that the best of many trials is partly luck, and that symbols which move together are no
        independent witnesses.
        """
        ranking = self.ranking(metric)
        if ranking.empty:
            raise StrategyError(f"no combination has a {metric}: every row is NaN (did any trade?)")
        return ranking.iloc[0]

    def heatmap(self, metric: str = "sharpe", symbol: str | None = None, **fixed: Any) -> Any:
        """A picture of the median rank by ``metric``, or of ``metric`` itself on one ``symbol``.

        Two levels are drawn; ``fixed`` names one value for each further one, as in `Sweep.heatmap`.
        The maps of all symbols share their colours, so they can be compared by eye.
        """
        if symbol is not None and symbol not in self.symbols:
            raise StrategyError(unknown("symbol", symbol, self.symbols))
        fixed = self.grid.indexed(fixed)
        self._first._slice(metric, fixed)  # refuses what can't be drawn
        if symbol is None:
            values, ranking = self.merit(metric)["median_rank"], self.ranking(metric)
            who, name, span = f"{len(self.symbols)} symbols", f"median_rank_by_{metric}", (0.0, 1.0)
            return self._draw(values, ranking, fixed, who, name, span)
        from .widgets.heatmap import span_of

        values, ranking = self._values(metric)[symbol], self.symbols[symbol].ranking(metric)
        return self._draw(values, ranking, fixed, symbol, metric, span_of(self.table[metric]))

    def _draw(
        self,
        values: pd.Series,
        ranking: pd.DataFrame,
        fixed: Mapping[str, Any],
        who: str,
        name: str,
        span: tuple[float, float] | None,
    ) -> Any:
        """``values`` where the levels are ``fixed``; the first of ``ranking`` there is marked."""
        from .widgets.parameter_axes import say_values
        from .widgets.sweep_picture import sweep_picture

        for level, value in fixed.items():
            values, ranking = values.xs(value, level=level), _within(ranking, level, value)
        frames = [] if "timeframe" in self.grid.levels else list(self._first._job.markets.values())
        cut = say_values(fixed)
        named = [who, self.strategy.name, *(market.timeframe for market in frames)]
        return sweep_picture(
            values,
            self.grid.levels,
            metric=name,
            title=" · ".join([*named, f"{len(values):,} trials", *cut, self._days(who)]),
            note=self.symbols[who].luck.words if who in self.symbols else "",
            best=ranking.index[0] if len(ranking) else None,
            span=span,
            source=self.source,
        )

    def _days(self, who: str) -> str:
        """The evaluated days of one symbol, or of all, for a title."""
        spans = self._spans()
        first, last = spans.get(who) or (
            min(first for first, _ in spans.values()),
            max(last for _, last in spans.values()),
        )
        return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"

    def _spans(self) -> dict[str, tuple[pd.Timestamp, pd.Timestamp]]:
        """The first and the last evaluated bar of each symbol (of the first timeframe)."""
        indices = {
            symbol: next(iter(sweep._job.markets.values())).index
            for symbol, sweep in self.symbols.items()
        }
        return {symbol: (index[0], index[-1]) for symbol, index in indices.items()}

    def _values(self, metric: str) -> pd.DataFrame:
        """``metric`` of each combination (rows, as in the table of one) on each symbol."""
        columns = {symbol: sweep._column(metric) for symbol, sweep in self.symbols.items()}
        return pd.DataFrame(columns)

    @property
    def contract(self) -> str:
        """What the options mean, in one sentence."""
        return self._first.contract

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about these figures, a sentence each; of whom, if not of all."""
        told = {symbol: sweep.notes for symbol, sweep in self.symbols.items()}
        notes = []
        for text in dict.fromkeys(note for own in told.values() for note in own):
            of = [symbol for symbol, own in told.items() if text in own]
            notes.append(text if len(of) == len(told) else f"{', '.join(of)}: {text}")
        spans = self._spans()
        begins = min(first for first, _ in spans.values())
        ends = max(last for _, last in spans.values())
        notes += [
            f"{symbol} is evaluated from {first} to {last} only, others from {begins} to {ends}."
            for symbol, (first, last) in spans.items()
            if (first, last) != (begins, ends)
        ]
        return tuple(notes)

    @cached_property
    def passport(self) -> dict[str, Any]:
        """Where the figures come from: as of a `Sweep`, and ``symbols`` has what differs by symbol.

        These are engine, bars, source and candles (timeframe, SHA-256).
        """
        passports = {symbol: sweep.passport for symbol, sweep in self.symbols.items()}
        common = {k: v for k, v in self._first.passport.items() if k not in _OWN}
        own = {symbol: {k: told[k] for k in _OWN} for symbol, told in passports.items()}
        return {**common, "symbols": own}

    def __repr__(self) -> str:
        levels = " × ".join(f"{name} ({len(v)})" for name, v in self.grid.levels.items())
        skipped = f", {self.skipped:,} invalid left out" if self.skipped else ""
        return (
            f"<SymbolSweep {self.strategy.name} on {', '.join(self.symbols)} over {levels}: "
            f"{len(self.grid.rows):,} combinations{skipped}>"
        )

    def _repr_html_(self) -> str:
        return _html(self)


def _within(ranking: pd.DataFrame, level: str, value: object) -> pd.DataFrame:
    """The rows at one value of a level, which is taken away; there may be none."""
    return ranking[ranking.index.get_level_values(level) == value].droplevel(level)


def _ranks(values: pd.Series, lower: bool) -> pd.Series:
    """The share of the others that each value beats, of equal ones half; 0 for a NaN."""
    if values.isna().all():
        return values
    place = values.rank(ascending=not lower, na_option="top") - 1.0
    return (place / (len(values) - 1) if len(values) > 1 else place + 1.0).where(
        values.notna(), 0.0
    )


def _html(result: SymbolSweep) -> str:
    """The five best combinations by median rank: their ranks, the Sharpe ratio on each symbol."""
    best = result.ranking("sharpe").head(5)
    names = [*map(str, best.index.names), "median rank", "worst rank"]
    names += [f"Sharpe {symbol}" for symbol in result.symbols]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    shown = ["median_rank", "worst_rank", *result.symbols]
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(str(value))}</td>" for value in cast(tuple[object, ...], place))
        + "".join(f"<td>{format_figure(name, float(row[name]))}</td>" for name in shown)
        + "</tr>"
        for place, row in best.iterrows()
    )
    told = [
        f"The best {len(best)} of {len(result.grid.rows):,} combinations by the median of their "
        "ranks by sharpe on each symbol (1 is best): the best of many is partly luck; honesty() "
        "says how much on each symbol.",
        *result.notes,
    ]
    items = "".join(f"<li>{escape(text)}</li>" for text in told)
    return (
        f"<div><strong>{escape(repr(result)[1:-1])}</strong>"
        f"<table><tr>{head}</tr>{rows}</table>"
        f"<p><em>{escape(result.contract)}</em></p><ul>{items}</ul></div>"
    )
