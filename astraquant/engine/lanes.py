"""Operations on the same word of sixteen trials at once: one vector each, whatever the processor.

Each is called with a flat array of words (uint64) and a tuple of places in it, results first, then
inputs; sixteen words lie side by side from each place on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
unpack_tuple: Any = cgutils.unpack_tuple
_VECTOR = ir.VectorType(ir.IntType(64), LANES)


def _all(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


_ONE, _TOP = _all(1), _all(63)


def _operation(results: int, work: Callable[..., tuple[Any, ...]]) -> Any:
    """An intrinsic that loads its inputs, and stores what ``work`` makes of them."""

    def typing(context: Any, words: Any, places: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            vectors = []
            for place in unpack_tuple(builder, args[1]):
                pointer = builder.gep(data, [place])
                vectors.append(builder.bitcast(pointer, _VECTOR.as_pointer()))
            inputs = [builder.load(vector) for vector in vectors[results:]]
            for loaded in inputs:
                loaded.align = 8
            for made, to in zip(work(builder, *inputs), vectors[:results], strict=True):
                builder.store(made, to).align = 8
            return context.get_dummy_value()

        return types.void(words, places), generate

    return intrinsic(typing)


def _before(b: Any, word: Any, previous: Any) -> Any:
    """Each bar's bit moved to the next bar; ``previous``: the words of the 64 bars before."""
    return b.or_(b.shl(word, _ONE), b.lshr(previous, _TOP))


def _crossed(b: Any, above: Any, was: Any, known: Any, was_known: Any) -> tuple[Any, ...]:
    known_then = _before(b, known, was_known)
    both = b.and_(known, known_then)
    return b.and_(b.and_(above, both), b.not_(_before(b, above, was))), both


def _latched(b: Any, enter: Any, leave: Any, state: Any) -> tuple[Any, ...]:
    # A state runs through a word as the carry runs through an addition: a bit generates it, passes
    # it on, or stops it. So one addition does all 64 bars.
    on = b.and_(enter, b.not_(leave))
    passed = b.not_(b.xor(enter, leave))
    generates = b.or_(on, passed)
    total = b.add(b.add(generates, on), state)
    into = b.xor(b.xor(generates, on), total)  # what came into each bit
    result = b.or_(on, b.and_(passed, into))
    return result, b.lshr(result, _TOP)


def _started(b: Any, value: Any, known: Any, state: Any) -> tuple[Any, ...]:
    begun = b.or_(b.or_(value, b.neg(value)), b.neg(state))  # v | -v: its lowest bit and all above
    return b.and_(b.and_(begun, known), b.not_(value)), b.lshr(begun, _TOP)


def _where(
    b: Any, value: Any, known: Any, yes: Any, yes_known: Any, no: Any, no_known: Any
) -> tuple[Any, ...]:
    both = b.and_(b.and_(known, yes_known), no_known)
    chosen = b.or_(b.and_(value, yes), b.and_(b.not_(value), no))
    return b.and_(chosen, both), both


def _logic(name: str) -> Any:
    def work(b: Any, one: Any, one_known: Any, other: Any, other_known: Any) -> tuple[Any, ...]:
        both = b.and_(one_known, other_known)
        return b.and_(getattr(b, name)(one, other), both), both

    return _operation(2, work)


# results; inputs
moved = _operation(1, lambda b, word, previous: (_before(b, word, previous),))
edges = _operation(1, lambda b, word, previous: (b.xor(word, _before(b, word, previous)),))
crossed = _operation(2, _crossed)  # value, known; above, above before, known, known before
latched = _operation(2, _latched)  # value, state; enter, leave, state (0 or 1)
started = _operation(2, _started)  # known to be False after a True, state; value, known, state
chosen = _operation(2, _where)  # value, known; condition, yes and no, each value and known
both_hold = _logic("and_")  # value, known; one, other, each value and known
one_holds = _logic("or_")
differ = _logic("xor")
rest = _operation(1, lambda b, known, value: (b.and_(known, b.not_(value)),))
either = _operation(1, lambda b, one, other: (b.or_(one, other),))
neither = _operation(1, lambda b, known, one, other: (b.and_(known, b.not_(b.or_(one, other))),))
