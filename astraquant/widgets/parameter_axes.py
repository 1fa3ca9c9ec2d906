"""Axes that bear a parameter's values, and cells and values in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bqplot as bq
import numpy as np
import pandas as pd

from ..errors import DataError
from . import style

Array = np.ndarray[Any, Any]
LABELLED = 12  # of an axis with more values than these only some are labelled
LETTER, BETWEEN = 6.5, 10  # pixels: a letter's width at the most, and from a label to the next


def check_labels(labels: pd.Index, what: str) -> None:
    """Raise `DataError` unless ``labels`` can be an axis: some, of one level, each once."""
    if not len(labels):
        raise DataError(f"nothing to draw: there are no {what}. Sweep at least one combination.")
    if labels.nlevels > 1:
        raise DataError(
            f"the {what} have {labels.nlevels} levels {list(labels.names)}; an axis shows one "
            "parameter. Choose a value of the others first: .xs(value, level=name)."
        )
    if not labels.is_unique:
        again = labels[labels.duplicated()].tolist()[0]
        raise DataError(
            f"the {what} have {again!r} twice; expected each parameter value once. "
            "Choose a value of the other parameters first."
        )


def parameter_axis(labels: pd.Index, name: str, side: str, room: float | None = None) -> bq.Axis:
    """An axis of equal cells: cell k lies at k and bears the k-th parameter value.

    ``room``: pixels that it is long at the least, where labels stand side by side: so many are
    shown as do not touch.
    """
    most = LABELLED
    if room is not None:
        longest = max(len(say_parameter(label)) for label in labels)
        most = max(2, min(most, int(room / (LETTER * longest + BETWEEN))))
    shown = _labelled(labels, most)
    uneven = pd.api.types.is_numeric_dtype(labels) and not _even(labels.to_numpy(float))
    return bq.Axis(
        scale=bq.LinearScale(min=-0.5, max=len(labels) - 0.5, allow_padding=False),
        side=side,
        label=f"{name} (uneven steps)" if uneven else name,
        label_color=style.TEXT,
        label_offset="40px",
        tick_values=np.array(shown, dtype=float),
        tick_labels={str(k): say_parameter(labels[k]) for k in shown},
        grid_lines="none",
    )


def number_axis(at: Array, name: str) -> bq.Axis:
    """An axis on which numbers keep their distances."""
    low, high = style.nice_range(at)
    values, step = style.ticks(low, high, 10)
    return bq.Axis(
        scale=bq.LinearScale(min=low, max=high, allow_padding=False),
        label=name,
        label_color=style.TEXT,
        label_offset="40px",
        tick_values=values,
        tick_format=style.number_format(step),
    )


def _labelled(labels: pd.Index, most: int) -> list[int]:
    """Which cells get a label: all of a few, else those at round values, else every n-th."""
    count = len(labels)
    if count <= most:
        return list(range(count))
    if pd.api.types.is_numeric_dtype(labels) and _even(numbers := labels.to_numpy(float)):
        step = style.nice_step(float(np.ptp(numbers)), most - 1)
        for multiple in (step, 2 * step):  # 2 * step: where 1, 2, 5 does not hit the values
            hits = np.flatnonzero(np.abs(numbers / multiple - np.round(numbers / multiple)) < 1e-9)
            if len(hits) > most // 3:
                return [int(k) for k in hits]
    return list(range(0, count, math.ceil(count / most)))


def _even(numbers: Array) -> bool:
    if not np.isfinite(numbers).all():  # no stop at all is one of the values
        return False
    steps = np.diff(numbers)
    return bool(len(steps) < 2 or np.allclose(steps, steps[0], rtol=1e-6))


def name_of(labels: pd.Index, what: str) -> str:
    """The parameter's name, ``what`` if it has none."""
    return what if labels.name is None else str(labels.name)


def say_parameter(value: object) -> str:
    """A parameter's value as short as it goes; the infinite stop is none."""
    if value == math.inf:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def say_values(fixed: Mapping[str, object]) -> list[str]:
    """The levels that a picture is cut at in words, as a part of its title; none if there are none.

    Numbers are said with all their digits: they may be told apart by the last.
    """
    said = (f"{name} {'none' if value == math.inf else value}" for name, value in fixed.items())
    return [", ".join(said)] if fixed else []


def say_value(value: float, metric: str, span: float) -> str:
    """A value in words, to about a thousandth of the picture's range."""
    name = metric.replace("_", " ")
    if not math.isfinite(value):
        return f"no {name}"
    step = max(span / 500, abs(value) / 2_000)
    return f"{name} {value:{style.metric_format(metric, step)}}"
