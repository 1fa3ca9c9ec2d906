"""Colour maps for heat maps: lightness rises (or falls) evenly, so equal steps look equal.

The sequential map passes through colours of viridis (matplotlib, CC0); the diverging one through
ColorBrewer's RdBu (Apache-2.0), red for a loss and blue for a gain, told apart by nearly everyone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LEVELS = 255  # of 256 palette entries: the last one is for cells without a value

_SEQUENTIAL = "440154 46327e 365c8d 277f8e 1fa187 4ac16d a0da39 fde725"
_GAIN = "f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061"  # from nothing to most
_LOSS = "f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"


def palette(low: float, high: float, *, signed: bool) -> Array:
    """Colours of `LEVELS` values from ``low`` to ``high``, evenly spaced: uint8, (LEVELS, 3).

    ``signed``: blue above zero and red below. With both signs at hand equal distances from zero are
    equally strong; with one sign alone its half is stretched over the range, so that differences
    stay visible where all is gain or all is loss.
    """
    if not signed:
        return _ramp(_SEQUENTIAL, np.linspace(0.0, 1.0, LEVELS))
    if low >= 0.0:
        return _ramp(_GAIN, np.linspace(0.0, 1.0, LEVELS))
    if high <= 0.0:
        return _ramp(_LOSS, np.linspace(1.0, 0.0, LEVELS))
    strength = np.linspace(low, high, LEVELS) / max(-low, high)
    return np.where(
        strength[:, None] >= 0, _ramp(_GAIN, strength.clip(0)), _ramp(_LOSS, (-strength).clip(0))
    )


def _ramp(anchors: str, at: Array) -> Array:
    colours = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()], dtype=float)
    places = np.linspace(0.0, 1.0, len(colours))
    channels = [np.interp(at, places, colours[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)
