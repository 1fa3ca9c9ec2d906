"""Exponential smoothing of one row with many factors at once.

A single average is a chain: each bar waits for the one before, some ten cycles. Thirty-two averages
of the same row are as many chains side by side in vectors. Eight bars of each are collected before
they are written, turned from bars of averages into averages of bars.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

AT_ONCE = 32  # averages
STEP = 8  # bars
_DOUBLE = ir.DoubleType()
_HALF = ir.VectorType(_DOUBLE, STEP)
_WHOLE = ir.VectorType(_DOUBLE, AT_ONCE)
_INDEX = ir.IntType(32)


def _mask(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INDEX, len(places)), places)


def _turned(builder: Any, vectors: list[Any]) -> list[Any]:
    """Eight vectors of eight, rows and columns exchanged, in three rounds of two-by-two swaps."""
    for s in (1, 2, 4):
        made = list(vectors)
        for i in (i for i in range(STEP) if not i & s):
            one, other = vectors[i], vectors[i | s]
            first = [k + STEP - s if k & s else k for k in range(STEP)]
            second = [k + STEP if k & s else k + s for k in range(STEP)]
            made[i] = builder.shuffle_vector(one, other, _mask(first))
            made[i | s] = builder.shuffle_vector(one, other, _mask(second))
        vectors = made
    return vectors


def _smooth(context: Any, numbers: Any, source: Any, places: Any, at: Any, state: Any) -> Any:
    """Smooth eight bars.

    ``numbers``: flat rows. ``source``: where in it the eight inputs begin; ``places[k] + at``:
    where the results of average k go. ``state``: the levels, then the factors.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, where, levels = (
            context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2, 4)
        )

        def vector(pointer: Any, kind: Any) -> Any:
            return builder.bitcast(pointer, kind.as_pointer())

        def load(pointer: Any, kind: Any) -> Any:
            loaded = builder.load(vector(pointer, kind))
            loaded.align = 8
            return loaded

        level = load(levels, _WHOLE)
        factor = load(builder.gep(levels, [_INDEX(AT_ONCE)]), _WHOLE)
        bars = []
        for bar in range(STEP):
            value = builder.load(builder.gep(data, [builder.add(args[1], args[1].type(bar))]))
            value = builder.insert_element(ir.Constant(_WHOLE, ir.Undefined), value, _INDEX(0))
            value = builder.shuffle_vector(value, value, _mask([0] * AT_ONCE))
            # as the indicator does it: level += factor * (value - level), rounded three times
            level = builder.fadd(level, builder.fmul(factor, builder.fsub(value, level)))
            bars.append(level)
        builder.store(level, vector(levels, _WHOLE)).align = 8
        for half in range(0, AT_ONCE, STEP):
            lanes = _mask(list(range(half, half + STEP)))
            parts = [builder.shuffle_vector(bar, bar, lanes) for bar in bars]
            for k, row in enumerate(_turned(builder, parts)):
                place = builder.load(builder.gep(where, [_INDEX(half + k)]))
                to = builder.gep(data, [builder.add(place, args[3])])
                builder.store(row, vector(to, _HALF)).align = 8
        return context.get_dummy_value()

    return types.void(numbers, types.intp, places, types.intp, state), generate


smooth_eight: Any = intrinsic(_smooth)
