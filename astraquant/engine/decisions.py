"""What each trial holds, 64 bars at a time: a small program of words, run block by block.

Every condition of the program is two rows of words, its value and whether it is known. Word 0 of a
row is the last one of the block before, so that a look at the bar before needs no special case.
Sixteen trials lie side by side in a row and are worked on together (`lanes`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._compile import compiled
from .bars import BLOCK, EMPTY, POSITIVE, SIDE
from .lanes import (
    LANES,
    both_hold,
    chosen,
    crossed,
    differ,
    edges,
    either,
    latched,
    moved,
    neither,
    one_holds,
    rest,
    started,
)  # fmt: skip
from .rows import KEYS, STRIDE, Values
from .words import (
    ALL,
    ONE,
    WORD,
    bit_count,
    keys_above,
    keys_equal,
    lowest_bit,
    numbers_above,
    numbers_known,
)  # fmt: skip

Array = np.ndarray[Any, np.dtype[Any]]
WORDS = BLOCK // WORD
SIDES = 4  # an event of a trial that may be short is its bar times this, plus side + 1
TOP = np.uint64(63)
TWO = np.uint64(2)
ROW = (WORDS + 1) * LANES  # of words: word 0 of LANES trials, then word 1 of them ...

# Rows of words that every program has: no bar, all bars; what is held and its changes (both sides).
NEVER, ALWAYS, TARGET, OWN = 0, ROW, 2 * ROW, 6 * ROW

# Instructions. COMPARE makes three rows of words (above, below, known), the others a condition:
# value and known.
(
    COMPARE,  # two rows of numbers
    BITS,  # words computed beforehand
    CROSSED,  # a: "above", c: "known"; "below" for the mirror image
    REST,  # b: "known", but not a: at least, at most
    EQUAL,  # a: "above", b: "below", c: "known"
    UNEQUAL,
    AND,
    OR,
    XOR,
    NOT,
    HOLD,
    WHERE,
    STARTED,  # one condition: short where it is known and False, once it was True
) = range(13)
# Places in an instruction: the operation, where value and known go, up to three conditions (value,
# known), and the place of what it remembers from block to block.
OP, TO, TO_KNOWN, A, A_KNOWN, B, B_KNOWN, C, C_KNOWN, MEMORY = range(10)


class Program(NamedTuple):
    """The instructions (count x 10, int64) that all trials of a group share.

    Rows of words are named by where they begin in ``words``, flat scratch memory of `ROW` words for
    each. Those before OWN are the same in every program. ``long``, ``short``: the answer.
    """

    instructions: Array
    long: int
    short: int
    words: Array


class Trials(NamedTuple):
    """What differs from trial to trial, and what each remembers.

    ``leaves``: (trials, leaves), slots of the rows that a trial compares, or the index of its words
    in ``bits`` (arrays x words over all bars). ``memory``: (trials, places), bits from the block
    before; its last two are what is held, long and short.
    """

    leaves: Array
    bits: Array
    memory: Array


@compiled
def decide(
    program: Program, trials: Trials, first: int, end: int, values: Values, block: int
) -> None:
    """Run the program over one block for the trials ``first`` .. ``end`` - 1, at most `LANES`.

    Their words are in ``program.words``, in the same order from 0 on.
    """
    words, memory, code = program.words, trials.memory, program.instructions
    for n in range(len(code)):
        op, to, place = code[n, OP], code[n, TO], code[n, MEMORY]
        if op == COMPARE:
            _compare(values, trials, first, end, code[n, A], code[n, B], words, to, place)
        elif op == BITS:
            for t in range(first, end):
                bits = trials.bits[trials.leaves[t, code[n, A]]]
                for w in range(WORDS):
                    words[to + (w + 1) * LANES + t - first] = bits[block * WORDS + w]
        elif op in (HOLD, STARTED):
            for t in range(first, end):
                words[to + t - first] = memory[t, place]
            _remember(words, code[n])
            for t in range(first, end):
                memory[t, place] = words[to + t - first]
        else:
            _combine(words, code[n])


@compiled
def _remember(words: Array, instruction: Array) -> None:
    """The instructions whose state runs from bar to bar; it stands in word 0 of their result."""
    op, to, a, b = instruction[OP], instruction[TO], instruction[A], instruction[B]
    for w in range(LANES, ROW, LANES):
        if op == HOLD:
            latched(words, (to + w, to, a + w, b + w, to))
        else:
            started(words, (to + w, to, a + w, instruction[A_KNOWN] + w, to))


@compiled
def _combine(words: Array, instruction: Array) -> None:
    """The instructions that look at one bar, or at it and the one before."""
    op, to, known = instruction[OP], instruction[TO], instruction[TO_KNOWN]
    a, a_known, b = instruction[A], instruction[A_KNOWN], instruction[B]
    b_known, c, c_known = instruction[B_KNOWN], instruction[C], instruction[C_KNOWN]
    for w in range(LANES, ROW, LANES):
        if op == CROSSED:
            crossed(words, (to + w, known + w, a + w, a + w - LANES, c + w, c + w - LANES))
        elif op == AND:
            both_hold(words, (to + w, known + w, a + w, a_known + w, b + w, b_known + w))
        elif op == OR:
            one_holds(words, (to + w, known + w, a + w, a_known + w, b + w, b_known + w))
        elif op == XOR:
            differ(words, (to + w, known + w, a + w, a_known + w, b + w, b_known + w))
        elif op == NOT:
            rest(words, (to + w, a_known + w, a + w))
        elif op == REST:
            rest(words, (to + w, b + w, a + w))
        elif op == UNEQUAL:
            either(words, (to + w, a + w, b + w))
        elif op == EQUAL:
            neither(words, (to + w, c + w, a + w, b + w))
        else:  # WHERE: a condition, b where it holds, c where not
            inputs = (a + w, a_known + w, b + w, b_known + w, c + w, c_known + w)
            chosen(words, (to + w, known + w, *inputs))


@compiled
def _compare(
    values: Values, trials: Trials, first: int, end: int, a: int, b: int, words: Array, to: int,
    place: int,
) -> None:  # fmt: skip
    """Rows "above", "below" and "known" of two rows of numbers."""
    numbers, keys, leaves, memory = values.numbers, values.keys, trials.leaves, trials.memory
    for t in range(first, end):
        left, right = leaves[t, a], leaves[t, b]
        held = memory[t, place]
        above_row = (to + t - first) & POSITIVE
        below_row, known_row = above_row + ROW, above_row + 2 * ROW
        words[above_row] = (held & ONE) << TOP
        words[below_row] = (held >> ONE & ONE) << TOP
        words[known_row] = (held >> TWO) << TOP
        ordered = values.ordered[left] and values.ordered[right]
        both_known = values.known[left] and values.known[right]
        i, j = left * STRIDE, right * STRIDE
        left_key, right_key = left * KEYS, right * KEYS
        above, below, known = ALL, ALL, ALL
        for w in range(LANES, ROW, LANES):
            unsure = True
            if ordered:
                above = keys_above(keys, left_key, keys, right_key)
                below = ~above
                unsure = keys_equal(keys, left_key, keys, right_key) != 0
            elif not both_known:
                known = numbers_known(numbers, i, numbers, j)
            if unsure:
                above = numbers_above(numbers, i, numbers, j)
                below = numbers_above(numbers, j, numbers, i)
            words[above_row + w], words[below_row + w], words[known_row + w] = above, below, known
            i, j, left_key, right_key = i + WORD, j + WORD, left_key + WORD, right_key + WORD
        memory[t, place] = above >> TOP | (below >> TOP) << ONE | (known >> TOP) << TWO


class Window(NamedTuple):
    """Which decisions become fills: those filled in the bars ``first`` .. ``end`` - 1.

    ``delay``: 1 where a decision is filled in the next bar, 0 in its own. ``empty``: words of the
    bars in which nobody traded.
    """

    first: int
    end: int
    delay: int
    empty: Array


@compiled
def _changes(
    program: Program, memory: Array, first: int, end: int, window: Window, block: int,
    answer: int, target: int, bit: int,
) -> None:  # fmt: skip
    """Write what is held from each bar's fill on into the row ``target``, its changes behind it.

    ``bit``: which bits of a trial's last two places in memory remember the block before.
    """
    words, places, shift = program.words, memory.shape[1], np.uint64(bit)
    changed = target + ROW
    for t in range(first, end):
        k = t - first
        words[answer + k] = (memory[t, places - 2] >> shift & ONE) << TOP
        words[target + k] = (memory[t, places - 1] >> shift & ONE) << TOP
    begin = block * BLOCK
    for w in range(LANES, ROW, LANES):
        if window.delay:
            moved(words, (target + w, answer + w, answer + w - LANES))
        else:
            either(words, (target + w, answer + w, answer + w))
    for w in range(WORDS):
        bar = begin + w * WORD
        if bar < window.first:
            kept = _from(window.first - bar)
            for k in range(target + (w + 1) * LANES, target + (w + 2) * LANES):
                words[k] &= kept  # nothing is held before the first bar that is evaluated
    for w in range(LANES, ROW, LANES):
        edges(words, (changed + w, target + w, target + w - LANES))
    for w in range(WORDS):
        bar = begin + w * WORD
        if bar + WORD > window.end:
            kept = ~_from(window.end - bar)
            for k in range(changed + (w + 1) * LANES, changed + (w + 2) * LANES):
                words[k] &= kept
    last = WORDS * LANES
    for t in range(first, end):
        k = t - first + last
        memory[t, places - 2] &= ~(ONE << shift)
        memory[t, places - 1] &= ~(ONE << shift)
        memory[t, places - 2] |= words[answer + k] >> TOP << shift
        memory[t, places - 1] |= words[target + k] >> TOP << shift


@compiled
def _from(bit: int) -> np.uint64:
    """The word of all bits from ``bit`` on; below 0 all of them, beyond 63 none."""
    if bit >= WORD:
        return np.uint64(0)
    return ALL << np.uint64(max(bit, 0))


@compiled
def collect(
    program: Program, trials: Trials, first: int, end: int, window: Window, block: int,
    events: Array, starts: Array, at: int, counts: Array,
) -> None:  # fmt: skip
    """Write the bars of the block in which trials go from flat to long or back.

    Those of trial ``first`` + k go into ``events`` up to ``starts[at + k + 1]``. Into ``counts``:
    whether it was long before, and fills in bars in which nobody traded.
    """
    words, memory = program.words, trials.memory
    empty = window.empty[block * WORDS : (block + 1) * WORDS]
    traded = not empty.any()
    for t in range(first, end):
        counts[t, SIDE] = np.int64(memory[t, memory.shape[1] - 1])
    _changes(program, memory, first, end, window, block, program.long, TARGET, 0)
    place = starts[at]
    for t in range(first, end):
        row = (TARGET + ROW + LANES + t - first) & POSITIVE
        for w in range(WORDS):
            changed = words[row + w * LANES]
            if not traded:
                counts[t, EMPTY] += bit_count(changed & empty[w])
            count = bit_count(changed)
            to, bar = place & POSITIVE, w * WORD
            for k in range(4):  # there are seldom more: so nearly nothing depends on their number
                events[to + k] = bar + lowest_bit(changed)
                changed &= changed - ONE
            k = 4
            while changed != 0:
                events[to + k] = bar + lowest_bit(changed)
                changed &= changed - ONE
                k += 1
            place += count
        at += 1
        starts[at] = place


@compiled
def collect_sided(
    program: Program, trials: Trials, first: int, end: int, window: Window, block: int,
    events: Array, starts: Array, at: int,
) -> None:  # fmt: skip
    """Write the bars in which trials change their side: bar * SIDES + side + 1, see `sided`."""
    words = program.words
    short_row = TARGET + 2 * ROW
    _changes(program, trials.memory, first, end, window, block, program.long, TARGET, 0)
    _changes(program, trials.memory, first, end, window, block, program.short, short_row, 1)
    place = starts[at]
    for t in range(first, end):
        row = (LANES + t - first) & POSITIVE
        for w in range(WORDS):
            here = row + w * LANES
            long, short = words[TARGET + here], words[short_row + here]
            changed = words[TARGET + ROW + here] | words[short_row + ROW + here]
            while changed != 0:
                k = np.uint64(lowest_bit(changed))
                side = np.int64(long >> k & ONE) - np.int64(short >> k & ONE)
                events[place & POSITIVE] = (w * WORD + np.int64(k)) * SIDES + side + 1
                changed &= changed - ONE
                place += 1
        at += 1
        starts[at] = place
