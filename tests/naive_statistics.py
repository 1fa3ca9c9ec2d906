"""Slow, obvious versions of the statistics: one split, one draw, one trial at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy.stats import rankdata

Array = np.ndarray[Any, np.dtype[Any]]


def figure(returns: Array, metric: str) -> float:
    """The mean, or the Sharpe ratio: 0 where the returns don't vary."""
    if metric == "mean":
        return float(np.mean(returns))
    deviation = np.std(returns, ddof=1)
    return float(np.mean(returns) / deviation) if deviation > 1e-12 else 0.0


def splits(blocks: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every half of the blocks and the other half."""
    halves = itertools.combinations(range(blocks), blocks // 2)
    return [(half, tuple(set(range(blocks)) - set(half))) for half in halves]


def cscv(trials: list[list[Array]], metric: str, scale: list[float]) -> list[dict[str, float]]:
    """Of each split what its best trial did; ``trials``: for each trial its blocks of returns."""
    found = []
    for inside, outside in splits(len(trials[0])):
        before, after = (
            [
                figure(np.concatenate([blocks[b] for b in half]), metric) * factor
                for blocks, factor in zip(trials, scale, strict=True)
            ]
            for half in (inside, outside)
        )
        best = int(np.argmax(before))
        omega = rankdata(after)[best] / (len(trials) + 1)
        found.append({"inside": before[best], "outside": after[best], "omega": omega})
    return found


def probability(found: list[dict[str, float]]) -> float:
    """The share of splits with a logit of at most 0."""
    return float(np.mean([math.log(s["omega"] / (1 - s["omega"])) <= 0 for s in found]))


def reality_check(returns: Array, draws: Array) -> tuple[float, float]:
    """White's and Hansen's p-values on given draws (draws, observations)."""
    count, columns = returns.shape
    z = returns / np.std(returns, axis=0, ddof=1)
    best = max(math.sqrt(count) * np.mean(z[:, k]) for k in range(columns))
    bound = -math.sqrt(2 * math.log(math.log(count)))
    white, hansen = 0, 0
    for draw in draws:
        high = {"white": -math.inf, "hansen": 0.0}
        for k in range(columns):
            mean, drawn = np.mean(z[:, k]), np.mean(z[draw, k])
            kept = mean if math.sqrt(count) * mean >= bound else 0.0
            high["white"] = max(high["white"], math.sqrt(count) * (drawn - mean))
            high["hansen"] = max(high["hansen"], math.sqrt(count) * (drawn - kept))
        white += high["white"] >= best
        hansen += high["hansen"] >= max(best, 0.0)
    return (1 + white) / (len(draws) + 1), (1 + hansen) / (len(draws) + 1)


def reality_check_of_blocks(
    trials: list[list[Array]], draws: Array, widen: Array
) -> tuple[float, float]:
    """The same where whole time blocks are drawn, each trial's being of its own lengths."""
    scores, residuals, bounds = [], [], []
    for blocks in trials:
        every = np.concatenate(blocks)
        mean, unit = np.mean(every), np.std(every, ddof=1) * math.sqrt(len(every))
        scores.append(len(every) * mean / unit)
        residuals.append([np.sum(block - mean) / unit for block in blocks])
        bounds.append(-math.sqrt(2 * max(0.0, math.log(max(1.0, math.log(len(every)))))))
    best, white, hansen = max(scores), 0, 0
    for draw, factor in zip(draws, widen, strict=True):
        moved = [factor * sum(rest[b] for b in draw) for rest in residuals]
        bad = [s if s < bound else 0.0 for s, bound in zip(scores, bounds, strict=True)]
        white += max(moved) >= best
        both = max(0.0, *(m + s for m, s in zip(moved, bad, strict=True)))
        hansen += both >= max(best, 0.0)
    return (1 + white) / (len(draws) + 1), (1 + hansen) / (len(draws) + 1)
