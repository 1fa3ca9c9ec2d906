"""Sixty-four bars in one machine word: comparisons, and where its bits are set.

Bit k of a word is bar k of its group of 64. The intrinsics are plain LLVM: a comparison of vectors
and a bit-cast, which every processor's backend turns into its own instructions (AVX-512, AVX2,
NEON).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

Array = np.ndarray[Any, np.dtype[Any]]
WORD = 64
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)


def _vector(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """64 neighbours of a one-dimensional contiguous array, from element ``at`` on."""
    data = context.make_array(array_type)(context, builder, array).data
    element = context.get_data_type(array_type.dtype)
    pointer = builder.gep(data, [at])
    pointer = builder.bitcast(pointer, ir.VectorType(element, WORD).as_pointer())
    loaded = builder.load(pointer)
    loaded.align = array_type.dtype.bitwidth // 8
    return loaded


def _comparison(compare: Callable[[Any, Any, Any], Any]) -> Any:
    """An intrinsic (a, i, b, j) -> the word of ``compare`` on a[i:i + 64] and b[j:j + 64]."""

    def typing(context: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a_type, _, b_type, _ = signature.args
            left = _vector(context, builder, a_type, args[0], args[1])
            right = _vector(context, builder, b_type, args[2], args[3])
            return builder.bitcast(compare(builder, left, right), ir.IntType(WORD))

        return types.uint64(a, types.intp, b, types.intp), generate

    return intrinsic(typing)


# Keys are int16, numbers float64; a comparison that has to be ordered is False for a NaN.
keys_above = _comparison(lambda b, x, y: b.icmp_signed(">", x, y))
keys_equal = _comparison(lambda b, x, y: b.icmp_signed("==", x, y))
numbers_above = _comparison(lambda b, x, y: b.fcmp_ordered(">", x, y))
numbers_known = _comparison(lambda b, x, y: b.fcmp_ordered("ord", x, y))  # neither is a NaN


def _lowest_bit(context: Any, word: Any) -> Any:
    """The place of the lowest set bit, 64 where there is none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.false_bit)

    return types.int64(types.uint64), generate


def _highest_bit(context: Any, number: Any) -> Any:
    """Whole part of the binary logarithm of a number above 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], cgutils.true_bit)
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return types.int64(types.int64), generate


def _bit_count(context: Any, word: Any) -> Any:
    """How many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


# Called without the typing context, unlike what they are made of.
lowest_bit: Any = intrinsic(_lowest_bit)
highest_bit: Any = intrinsic(_highest_bit)
bit_count: Any = intrinsic(_bit_count)
