"""Searches judged as a whole: how often the best of many fails later, whether it could be luck."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _resampled, _samples, _splits
from .errors import DataError, unknown

Array = np.ndarray[Any, np.dtype[Any]]

METRICS = ("sharpe", "mean")
MOST_BLOCKS = 24  # 2.7 million splits
NOISE_DRAWS = 100
BAND = (0.025, 0.975)


@dataclass(frozen=True, eq=False, repr=False)
class Pbo:
    """How often the best in sample is no better than the middle out of sample; see `pbo`.

    ``probability`` of backtest overfitting; ``null_band``: where it lies for trials without any
    merit that are correlated like these, 95 times of 100 (noise alone goes far below one half).
    ``slope``: of the chosen trial's figure out of sample on that in sample (NaN where all splits
    have the same in sample); ``loss``: share of
    splits in which the chosen one's figure out of sample is below 0. By split: ``in_sample`` and
    ``out_of_sample``, the chosen one's figures, and ``ranks``, its rank among ``trials`` (those
    that took part) out of sample / (trials + 1). ``left_out``: trials with NaN or that never vary.
    ``reason``: why there is no probability.
    """

    probability: float
    null_band: tuple[float, float]
    slope: float
    loss: float
    in_sample: Array
    out_of_sample: Array
    ranks: Array
    trials: int
    left_out: tuple[Any, ...]
    blocks: int
    splits: int
    reason: str = ""

    def __repr__(self) -> str:
        low, high = self.null_band
        return (
            f"Pbo(probability={self.probability:.3f}, null_band=({low:.3f}, {high:.3f}), "
            f"slope={self.slope:.3f}, loss={self.loss:.3f}, trials={self.trials}, "
            f"blocks={self.blocks}, splits={self.splits}{_rest(self)})"
        )


def pbo(returns: Any, *, blocks: int = 16, metric: str = "sharpe", seed: int = 0) -> Pbo:
    """Probability of backtest overfitting of a search, by cross-validation (CSCV).

    ``returns``: (observations, trials), an array or a DataFrame. Time is cut into ``blocks`` parts
    whose lengths differ by one observation at most. For each way to take half of them, the trial
    with the best ``metric`` ("sharpe" with ddof 1, or "mean") is looked up among all in the other
    half: with rank r of N (equals share theirs) and ω = r / (N + 1), λ = ln(ω / (1 - ω)), the
    probability is the share of splits with λ ≤ 0. Of equals the first is chosen; a half without
    variance has a ratio of 0. Bailey, Borwein, López de Prado and Zhu 2015, "The probability of
    backtest overfitting".

    Trials with NaN or without variance are left out and told. ``seed``: of the noise behind
    ``null_band``. DataError: blocks that are odd in number, or longer than the data.
    """
    if metric not in METRICS:
        raise DataError(unknown("metric", metric, METRICS))
    _check_blocks(blocks)
    values, labels = _samples.matrix(returns)
    fewest = 2 if metric == "sharpe" else 1
    fit = len(values) // fewest // 2 * 2
    if fit < blocks:
        cure = f"at most blocks={fit} fit" if fit else "give more of them"
        raise DataError(
            f"{len(values)} observations; expected {fewest} at least in each of {blocks} blocks: "
            f"{cure}"
        )
    parts = np.array_split(values, blocks)
    sums = np.array([part.sum(axis=0) for part in parts]).T
    squares = np.array([np.einsum("ij,ij->j", part, part) for part in parts]).T
    bars = np.array([float(len(part)) for part in parts])
    return _pbo(sums, squares, bars, np.ones(len(sums)), labels, metric == "mean", seed)


def pbo_of_sums(sums: Any, squares: Any, lengths: Any, *, scale: Any = None, seed: int = 0) -> Pbo:
    """`pbo` by Sharpe ratio, from what a sweep keeps instead of returns.

    ``sums``, ``squares``: Σr and Σr² of each trial in each time block, (trials, blocks);
    ``lengths``: how many bars a block has, (blocks,) or, where trials have different timeframes,
    (trials, blocks). ``scale``: what each trial's ratio per bar is multiplied by, (trials,), such
    as √(bars per year), so that timeframes compare; all figures are then so scaled.

    20,000 trials and 12,870 splits take about two seconds of a core, and under 20 MB.
    """
    sums, squares, lengths = _samples.block_sums(sums, squares, lengths)
    _check_blocks(sums.shape[1])
    scales = np.ones(len(sums)) if scale is None else _samples.floats("scale", scale)
    if scales.shape != (len(sums),) or not (np.isfinite(scales) & (scales > 0)).all():
        raise DataError(
            f"scale has shape {scales.shape}; expected a positive number for each of {len(sums)} "
            "trials, such as the root of its bars per year"
        )
    return _pbo(sums, squares, lengths, scales, range(len(sums)), False, seed)


def _pbo(
    sums: Array,
    squares: Array,
    lengths: Array,
    scales: Array,
    labels: Sequence[Any],
    by_mean: bool,
    seed: int,
) -> Pbo:
    count = sums.shape[1]
    lengths = np.broadcast_to(lengths, sums.shape)
    _, deviation = _samples.moments(sums, squares, lengths)
    varies = deviation > 0
    left_out = tuple(labels[k] for k in np.flatnonzero(~varies).tolist())
    shape = {"trials": int(varies.sum()), "left_out": left_out, "blocks": count}
    if varies.sum() < 2:
        nothing = np.zeros(0)
        why = f"{varies.sum()} of {len(sums)} trials vary; expected two at least to compare"
        nan = math.nan
        return Pbo(
            nan, (nan, nan), nan, nan, nothing, nothing, nothing, splits=0, reason=why, **shape
        )
    laid = _splits.arrange(sums[varies], squares[varies], lengths[varies], scales[varies])
    masks = _splits.halves(count)
    chosen = _splits.choose(laid, masks, by_mean=by_mean)
    seed = _samples.whole("seed", seed, 0)
    noise = _splits.noise(laid, masks, by_mean=by_mean, draws=NOISE_DRAWS, seed=seed)
    low, high = np.quantile(noise, BAND)
    return Pbo(
        probability=float(np.mean(chosen.ranks <= 0.5)),  # λ ≤ 0
        null_band=(float(low), float(high)),
        slope=_slope(chosen.inside, chosen.outside),
        loss=float(np.mean(chosen.outside < 0)),
        in_sample=chosen.inside,
        out_of_sample=chosen.outside,
        ranks=chosen.ranks,
        splits=len(chosen.ranks),
        **shape,
    )


def _slope(inside: Array, outside: Array) -> float:
    """Of a straight line through the splits; NaN where all have the same figure inside."""
    distance = inside - inside.mean()
    # Sums of products: for so few numbers the threads of BLAS would cost more than they bring.
    square = float((distance * distance).sum())
    return float((distance * outside).sum()) / square if square > 0 else math.nan


@dataclass(frozen=True, eq=False, repr=False)
class RealityCheck:
    """Whether the best of many could be luck; see `reality_check`.

    ``white`` and ``hansen``: p-values. ``statistic``: √T · mean / deviation of ``best``, a column's
    label in a DataFrame, else its number. ``trials``: how many took part, ``left_out``: those with
    NaN or that never vary. ``block``: how many bars stay together in a draw, on average.
    ``reason``: why there are no p-values.
    """

    white: float
    hansen: float
    statistic: float
    best: Any
    trials: int
    left_out: tuple[Any, ...]
    block: float
    draws: int
    reason: str = ""

    def __repr__(self) -> str:
        return (
            f"RealityCheck(white={self.white:.4f}, hansen={self.hansen:.4f}, "
            f"statistic={self.statistic:.3f}, best={self.best!r}, trials={self.trials}, "
            f"block={self.block:.1f}, draws={self.draws}{_rest(self)})"
        )


def _rest(result: Pbo | RealityCheck) -> str:
    """What a `repr` says only where there is something to say."""
    left_out = f", left_out={len(result.left_out)}" if result.left_out else ""
    return left_out + (f", reason={result.reason!r}" if result.reason else "")


def reality_check(
    returns: Any, *, block: float | None = None, draws: int = 1000, seed: int = 0
) -> RealityCheck:
    """Test that no column has a mean above 0, however many were tried.

    ``returns``: (observations, trials), an array or a DataFrame; give returns less those of a
    benchmark to test against that. The statistic is the highest √T · mean / deviation (ddof 1) of a
    column; it is compared with the highest of each of ``draws`` stationary bootstraps of mean block
    length ``block`` (default: the cube root of T) in which no column has merit. p = (1 + draws at
    least as high) / (draws + 1). ``white`` takes every column's own mean away (White 2000, "A
    reality check for data snooping"); ``hansen`` not that of columns below -√(2 log log T), which
    can't be the best (Hansen 2005, "A test for superior predictive ability", the consistent
    variant): bad trials then don't hide a good one.

    Columns with NaN or without variance are left out and told; NaN with a reason if none remains.
    """
    values, labels = _samples.matrix(returns)
    count = len(values)
    if count < 2:
        raise DataError(f"{count} observations; expected 2 at least")
    block = _samples.block_of(block, count)
    sums = values.sum(axis=0)[:, None]
    squares = np.einsum("ij,ij->j", values, values)[:, None]
    mean, deviation = _samples.moments(sums, squares, np.full((len(sums), 1), float(count)))
    varies = deviation > 0
    rows = values if varies.all() else values[:, varies]
    columns = _resampled.Columns(rows, np.ones((count, 1)), mean[varies], deviation[varies])
    draws = _samples.whole("draws", draws, 1)
    seed = _samples.whole("seed", seed, 0)
    drawn = _resampled.stationary(count, block, draws, seed, width=rows.shape[1])
    return _check(columns, labels, varies, drawn, np.ones(draws), block)


def reality_check_of_sums(
    sums: Any, squares: Any, lengths: Any, *, draws: int = 1000, seed: int = 0
) -> RealityCheck:
    """`reality_check` from what a sweep keeps: sums over time blocks, as in `pbo_of_sums`.

    Whole blocks are drawn, each as likely as any other: a coarse bootstrap where they are few, but
    one that keeps all dependence within a block. So that it errs on the side of caution, deviations
    are spread more widely, as Student's distribution with S - 1 degrees of freedom is for S blocks.
    Measured for 16 blocks: at the level 0.05 it rejects noise 5 times of 100 if there is one trial,
    2 to 3 if there are 10, and up to 3 if there are 100, but none if those are independent: what is
    no better than luck here may still show in `reality_check` of the returns. Trials of different
    timeframes compare, since each statistic is measured in its own deviations.
    """
    sums, squares, lengths = _samples.block_sums(sums, squares, lengths)
    blocks = sums.shape[1]
    if blocks < 2:
        raise DataError(f"{blocks} time blocks; expected 2 at least, and better 16, to draw from")
    lengths = np.broadcast_to(lengths, sums.shape)
    mean, deviation = _samples.moments(sums, squares, lengths)
    varies = deviation > 0
    rows, bars = (np.ascontiguousarray(array[varies].T) for array in (sums, lengths))
    columns = _resampled.Columns(rows, bars, mean[varies], deviation[varies])
    draws = _samples.whole("draws", draws, 1)
    seed = _samples.whole("seed", seed, 0)
    drawn = _resampled.blockwise(blocks, draws, seed, width=rows.shape[1])
    widen = _resampled.widening(blocks, draws, seed)
    block = float(bars.mean()) if varies.any() else math.nan
    return _check(columns, range(len(sums)), varies, drawn, widen, block)


def _check(
    columns: _resampled.Columns,
    labels: Sequence[Any],
    varies: Array,
    drawn: Iterator[Array],
    widen: Array,
    block: float,
) -> RealityCheck:
    draws = len(widen)
    left_out = tuple(labels[k] for k in np.flatnonzero(~varies).tolist())
    if not varies.any():
        why = f"none of {len(varies)} trials varies without NaN"
        nan = math.nan
        return RealityCheck(nan, nan, nan, None, 0, left_out, block, draws, why)
    scores = columns.scores
    top = int(scores.argmax())
    white, hansen = _resampled.highest(columns, drawn, widen)
    statistic = float(scores[top])

    def value(highest: Array, reached: float) -> float:
        return (1 + int(np.count_nonzero(highest >= reached))) / (draws + 1)

    return RealityCheck(
        white=value(white, statistic),
        # Hansen's statistic is 0 where even the best is below: nothing speaks against luck then.
        hansen=value(np.maximum(hansen, 0.0), max(statistic, 0.0)),
        statistic=statistic,
        best=labels[int(np.flatnonzero(varies)[top])],
        trials=int(varies.sum()),
        left_out=left_out,
        block=block,
        draws=draws,
    )


def _check_blocks(blocks: int) -> None:
    _samples.whole("blocks", blocks, 2)
    if blocks % 2 or blocks > MOST_BLOCKS:
        raise DataError(
            f"blocks={blocks}; expected an even number from 2 to {MOST_BLOCKS}, half of them in "
            "sample: 16 give 12,870 splits"
        )
