"""Five power series of eight terms at once, for the returns of shorts (see `bars`)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

TERMS = 8
SERIES = 5
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, TERMS)
_INDEX = ir.IntType(32)
insert_function: Any = cgutils.get_or_insert_function
make_tuple: Any = types.Tuple


def _mask(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INDEX, len(places)), places)


def _powers(builder: Any, y: Any) -> Any:
    """The vector 1, y, y^2 ... y^7."""
    ones = ir.Constant(_VECTOR, [1.0] * TERMS)
    result, power = ones, y
    for bit in (1, 2, 4):  # y, y^2 and y^4 go where the exponent has that bit
        spread = builder.insert_element(ones, power, _INDEX(0))
        lanes = [0 if k & bit else 1 for k in range(TERMS)]
        result = builder.fmul(result, builder.shuffle_vector(spread, spread, _mask(lanes)))
        power = builder.fmul(power, power)
    return result


def _series(context: Any, table: Any, first: Any, end: Any, y: Any) -> Any:
    """Sums over k of (table[end + k] - table[first + k]) y^k; of the next eight, and so on: five.

    ``table``: flat. They are added in any order.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind = ir.FunctionType(_DOUBLE, [_DOUBLE, _VECTOR])
        add = insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{TERMS}f64")
        powers = _powers(builder, args[3])

        def load(place: Any, offset: int) -> Any:
            pointer = builder.gep(data, [builder.add(place, place.type(offset))])
            loaded = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
            loaded.align = 8
            return loaded

        sums = []
        for offset in range(0, SERIES * TERMS, TERMS):
            change = builder.fsub(load(args[2], offset), load(args[1], offset))
            terms = builder.fmul(change, powers)
            sums.append(builder.call(add, [_DOUBLE(0.0), terms], fastmath=["reassoc"]))
        return context.make_tuple(builder, signature.return_type, sums)

    return make_tuple((types.float64,) * SERIES)(
        table, types.intp, types.intp, types.float64
    ), generate


series: Any = intrinsic(_series)
