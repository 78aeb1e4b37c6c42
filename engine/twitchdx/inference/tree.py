"""Run the operations of a tree of tables, forwards and backwards.

Exact P(evidence), every posterior and every derivative of one network. Every term is positive,
so nothing cancels however rare the evidence is, unlike the alternating sum of Quickscore [1]_.
The adjoint of the operations, run backwards, gives all posteriors and all derivatives at the
price of about two more passes [2]_.

The *on* half of an accumulator is stored divided by its node's tilt, a power of two near a rough
P(node on), so that the halves of a table keep a comparable size and none underflows.

References
----------
.. [1] Heckerman D. A tractable inference algorithm for diagnosing multiple diseases. UAI 1989.
.. [2] Ballester-Ripoll R, Leonelli M. You only derive once (YODO): automatic differentiation for
   efficient sensitivity analysis in Bayesian networks. PGM 2022; Int J Approx Reason 2023.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.elimination import (
    CONSTANT,
    INTO_PARENT,
    N_FOLDS,
    N_LANES,
    SWEPT,
    PlanArrays,
    _lowest,
)
from twitchdx.inference.kernel import (
    LARGE,
    LITTLE,
    OFF,
    ON,
    P,
    Q,
    Work,
    _prepare_lane,
)
from twitchdx.inference.structure import FloatArray, IntArray
from twitchdx.inference.tree_plan import (
    A_AT,
    APPLY,
    B_AT,
    BITS,
    CLOSE,
    CONVERT,
    COUNTS,
    DROP,
    FINAL,
    FIRST,
    HIGH,
    IN,
    IN2,
    JOIN,
    LOW,
    MORE,
    MOVE,
    N_OPS,
    OUT,
    OUT_BITS,
    PERMUTE,
    ROOT,
    SHARED,
    T1,
    T2,
    T_OUT,
    WHAT,
    A,
    B,
    Tree,
)
from twitchdx.inference.vector import (
    apply,
    derive_arrow,
    dots_close,
    dots_convert,
    dots_root,
    reverse_apply,
)

_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)


class Tables(NamedTuple):
    """Working memory of the tables of one row."""

    x: FloatArray  # (states,) the tables
    g: FloatArray  # (states,) their adjoints
    lane: FloatArray  # (states,) tables when a barren cause is known to be off
    gap: FloatArray  # (states,) tables minus those, without cancellation
    scratch: FloatArray  # (room,) of joins
    more: FloatArray  # (widest,) a part of a gap
    scale: FloatArray  # (ops,) power of two by which the result of an operation is multiplied
    by_op: FloatArray  # (ops,) derivative by the strength of the arrow of an operation
    reached: IntArray  # (N,) nodes whose numbers differ in a lane
    touched: IntArray  # (N + 1,) tables that differ in a lane
    lane_ops: IntArray  # (ops, 2) operations that carry a lane, and what they do
    dots: FloatArray  # (ops, 3) derivatives by the coefficients of an operation


def new_tables(n_nodes: int, n_ops: int) -> Tables:
    """Allocate working memory; `with_room` attaches the tables."""
    empty = np.empty(1)
    return Tables(
        x=empty,
        g=empty,
        lane=empty,
        gap=empty,
        scratch=empty,
        more=empty,
        scale=np.empty(n_ops),
        by_op=np.empty(n_ops),
        reached=np.empty(n_nodes, dtype=np.int64),
        touched=np.empty(n_nodes + 1, dtype=np.int64),
        lane_ops=np.empty((n_ops, 2), dtype=np.int64),
        dots=np.empty((n_ops, 3)),
    )


@compiled()
def with_room(tables: Tables, states: int, scratch: int, widest: int) -> Tables:
    """Return the same working memory with room for this many states."""
    return Tables(
        np.empty(states),
        np.empty(states),
        np.empty(states),
        np.empty(states),
        np.empty(scratch),
        np.empty(widest),
        tables.scale,
        tables.by_op,
        tables.reached,
        tables.touched,
        tables.lane_ops,
        tables.dots,
    )


@compiled()
def scratch_room(tree: Tree) -> int:
    """Entries that the joins of a tree need as scratch."""
    most = 2
    for k in range(tree.ints[COUNTS, N_OPS]):
        if tree.tape[k, WHAT] == JOIN:
            shared, high = tree.tape[k, SHARED], tree.tape[k, HIGH]
            size = np.int64(min(2.0**48, 3.0**shared * 2.0**high))
            most = max(most, size)
        else:
            most = max(most, np.int64(1) << tree.tape[k, OUT_BITS])
    return 3 * most


@compiled(fastmath=True)
def move(
    x: FloatArray,
    x_at: int,
    y: FloatArray,
    y_at: int,
    size: int,
    bit: int,
    keep: float,
    gain: float,
) -> None:
    """The state of a becomes the accumulator of b: off += keep * on; on = gain * on."""
    half = 1 << bit
    for block in range(0, size, 2 * half):
        for i in range(np.uint64(block), np.uint64(block + half)):
            off, on = x[np.uint64(x_at) + i], x[np.uint64(x_at + half) + i]
            y[np.uint64(y_at) + i] = off + keep * on
            y[np.uint64(y_at + half) + i] = gain * on


@compiled(fastmath=True)
def reverse_move(
    g: FloatArray, g_at: int, h_at: int, size: int, bit: int, keep: float, gain: float
) -> None:
    """Carry the adjoint back over `move`."""
    half = 1 << bit
    for block in range(0, size, 2 * half):
        for i in range(np.uint64(block), np.uint64(block + half)):
            off, on = g[np.uint64(g_at) + i], g[np.uint64(g_at + half) + i]
            g[np.uint64(h_at) + i] = off
            g[np.uint64(h_at + half) + i] = keep * off + gain * on


@compiled(fastmath=True)
def derive_move(
    x: FloatArray, x_at: int, g: FloatArray, g_at: int, size: int, bit: int, on: float
) -> float:
    """Sum of (on * g_on - g_off) * x_on."""
    half = 1 << bit
    total = 0.0
    for block in range(0, size, 2 * half):
        for i in range(block, block + half):
            total += (on * g[g_at + half + i] - g[g_at + i]) * x[x_at + half + i]
    return total


@compiled(fastmath=True)
def first_arrow(
    x: FloatArray,
    x_at: int,
    y: FloatArray,
    y_at: int,
    size: int,
    bit: int,
    keep: float,
    gain: float,
) -> None:
    """New bit on top: where a is on, off = keep * x and on = gain * x; else off = x, on = 0."""
    half = 1 << bit
    for block in range(0, size, 2 * half):
        for i in range(np.uint64(block), np.uint64(block + half)):
            y[np.uint64(y_at) + i] = x[np.uint64(x_at) + i]
            y[np.uint64(y_at + size) + i] = 0.0
        for i in range(np.uint64(block + half), np.uint64(block + 2 * half)):
            value = x[np.uint64(x_at) + i]
            y[np.uint64(y_at) + i] = keep * value
            y[np.uint64(y_at + size) + i] = gain * value


@compiled(fastmath=True)
def reverse_first_arrow(
    g: FloatArray, g_at: int, h_at: int, size: int, bit: int, keep: float, gain: float
) -> None:
    """Carry the adjoint back over `first_arrow`."""
    half = 1 << bit
    for block in range(0, size, 2 * half):
        for i in range(np.uint64(block), np.uint64(block + half)):
            g[np.uint64(h_at) + i] = g[np.uint64(g_at) + i]
        for i in range(np.uint64(block + half), np.uint64(block + 2 * half)):
            g[np.uint64(h_at) + i] = (
                keep * g[np.uint64(g_at) + i] + gain * g[np.uint64(g_at + size) + i]
            )


@compiled(fastmath=True)
def unroot(g: FloatArray, g_at: int, h_at: int, size: int, off: float, on: float) -> None:
    """Carry the adjoint back over the opening of a root."""
    for i in range(np.uint64(size)):
        g[np.uint64(h_at) + i] = off * g[np.uint64(g_at) + i] + on * g[np.uint64(g_at + size) + i]


@compiled()
def permute(
    x: FloatArray,
    x_at: int,
    y: FloatArray,
    y_at: int,
    bits: int,
    same: int,
    extra: IntArray,
    more: int,
    back: bool,
) -> None:
    """Reorder the axes above the lowest `same` ones from x to y, or back.

    From one index to the next the low digits turn to zeros and the next one to a one;
    ``extra[more + i]`` is the step in x when digit i is that one.
    """
    run = np.uint64(1) << np.uint64(same)
    place, to = np.uint64(x_at), np.uint64(y_at)
    for i in range(1, (1 << (bits - same)) + 1):
        if back:
            for j in range(run):
                x[place + j] = y[to + j]
        else:
            for j in range(run):
                y[to + j] = x[place + j]
        to += run
        place = np.uint64(np.int64(place) + extra[more + same + _lowest(np.uint64(i))])


@compiled()
def _expand(
    b: FloatArray,
    b_at: int,
    shared: int,
    high: int,
    tilt: FloatArray,
    core: IntArray,
    extra: IntArray,
    more: int,
    out: FloatArray,
    out_at: int,
    spare: int,
) -> int:
    """Expand every shared axis to (off, on, off + tilt * on); return where the result starts.

    The result is at `out_at` or at `spare`. Digit i of its index, of base 3, is shared axis i.
    """
    inner = 1
    outer = 1 << (shared + high)
    source, source_at = b, b_at
    target_at, other_at = out_at, spare
    for i in range(shared):
        t = tilt[core[extra[more + i]]]
        outer //= 2
        for block in range(outer):
            x_at = source_at + 2 * inner * block
            y_at = target_at + 3 * inner * block
            for j in range(inner):
                off, on = source[x_at + j], source[x_at + inner + j]
                out[y_at + j] = off
                out[y_at + inner + j] = on
                out[y_at + 2 * inner + j] = off + t * on
        inner *= 3
        source, source_at = out, target_at
        target_at, other_at = other_at, target_at
    if shared == 0:
        for j in range(outer):
            out[out_at + j] = b[b_at + j]
        return out_at
    return source_at


@compiled()
def _contract(
    e: FloatArray,
    e_at: int,
    spare: int,
    shared: int,
    high: int,
    tilt: FloatArray,
    core: IntArray,
    extra: IntArray,
    more: int,
    g: FloatArray,
    g_at: int,
) -> None:
    """Carry the adjoint of the result of `_expand` back, to g."""
    inner = 3**shared
    outer = 1 << high
    source_at, target_at = e_at, spare
    if shared == 0:
        for j in range(outer):
            g[g_at + j] = e[e_at + j]
        return
    for i in range(shared - 1, -1, -1):
        t = tilt[core[extra[more + i]]]
        inner //= 3
        for block in range(outer):
            x_at = source_at + 3 * inner * block
            y_at = target_at + 2 * inner * block
            for j in range(inner):
                both = e[x_at + 2 * inner + j]
                off, on = e[x_at + j] + both, e[x_at + inner + j] + t * both
                if i == 0:
                    g[g_at + 2 * inner * block + j] = off
                    g[g_at + 2 * inner * block + inner + j] = on
                else:
                    e[y_at + j] = off
                    e[y_at + inner + j] = on
        outer *= 2
        source_at, target_at = target_at, source_at


def _ternaries(bits: int) -> IntArray:
    """Each number's binary digits read in base 3."""
    values = np.zeros(1 << bits, dtype=np.int64)
    for bit in range(bits):
        values[1 << bit : 2 << bit] = values[: 1 << bit] + 3**bit
    return values


_TERNARY = _ternaries(12)


@compiled(inline=True)
def _ternary(subset: int) -> int:
    value = _TERNARY[subset & 4095]
    if subset > 4095:
        value += 531441 * _TERNARY[subset >> 12]
    return value


@compiled(fastmath=True)
def _add_product(y: FloatArray, y_at: int, c: float, x: FloatArray, x_at: int, n: int) -> None:
    to, at = np.uint64(y_at), np.uint64(x_at)
    for i in range(np.uint64(n)):
        y[to + i] += c * x[at + i]


@compiled(fastmath=True)
def _dot(x: FloatArray, x_at: int, y: FloatArray, y_at: int, n: int) -> float:
    total = 0.0
    at, to = np.uint64(x_at), np.uint64(y_at)
    for i in range(np.uint64(n)):
        total += x[at + i] * y[to + i]
    return total


@compiled()
def join(
    a: FloatArray,
    a_at: int,
    b: FloatArray,
    b_at: int,
    y: FloatArray,
    y_at: int,
    low: int,
    shared: int,
    high: int,
    tilt: FloatArray,
    core: IntArray,
    extra: IntArray,
    more: int,
    scratch: FloatArray,
) -> None:
    """Join two tables: axes (low, shared) and (shared, high) to (low, shared, high)."""
    third = scratch.shape[0] // 3
    e_at = _expand(b, b_at, shared, high, tilt, core, extra, more, scratch, 0, third)
    n = 1 << low
    subsets = 1 << shared
    ternaries = 3**shared
    y[y_at : y_at + (n << (shared + high))] = 0.0
    for block in range(1 << high):
        for result in range(subsets):
            to = y_at + ((block << shared) + result) * n
            base = e_at + block * ternaries + _ternary(result)
            subset = result
            while True:
                c = scratch[base + _ternary(subset)]
                at = a_at + subset * n
                if n < 8:
                    for i in range(n):
                        y[to + i] += c * a[at + i]
                else:
                    _add_product(y, to, c, a, at, n)
                if subset == 0:
                    break
                subset = (subset - 1) & result


@compiled()
def reverse_join(
    a: FloatArray,
    a_at: int,
    b_at: int,
    g: FloatArray,
    y_at: int,
    low: int,
    shared: int,
    high: int,
    tilt: FloatArray,
    core: IntArray,
    extra: IntArray,
    more: int,
    scratch: FloatArray,
) -> None:
    """Carry the adjoint back over `join`, to both tables; their values are in `a`."""
    third = scratch.shape[0] // 3
    e_at = _expand(a, b_at, shared, high, tilt, core, extra, more, scratch, 0, third)
    g_at = third if e_at == 0 else 0
    n = 1 << low
    subsets = 1 << shared
    ternaries = 3**shared
    g[a_at : a_at + (n << shared)] = 0.0
    for block in range(1 << high):
        for result in range(subsets):
            at = y_at + ((block << shared) + result) * n
            base = block * ternaries + _ternary(result)
            subset = result
            while True:
                place = base + _ternary(subset)
                to = a_at + subset * n
                c = scratch[e_at + place]
                if n < 8:
                    dot = 0.0
                    for i in range(n):
                        value = g[at + i]
                        g[to + i] += c * value
                        dot += value * a[to + i]
                    scratch[g_at + place] = dot
                else:
                    _add_product(g, to, c, g, at, n)
                    scratch[g_at + place] = _dot(g, at, a, to, n)
                if subset == 0:
                    break
                subset = (subset - 1) & result
    _contract(scratch, g_at, e_at, shared, high, tilt, core, extra, more, g, b_at)


@compiled(inline=True)
def _coefficients(what: int, x: FloatArray, tilt: float) -> tuple[float, float, float]:
    """Return off <- off, on <- off and on <- on of ROOT and CONVERT; CLOSE adds the first two."""
    return x[Q] * x[OFF], x[P] * x[ON], (x[Q] + x[P]) * x[ON] * tilt


@compiled()
def _unary(
    k: int,
    tape: IntArray,
    extra: IntArray,
    x: FloatArray,
    y: FloatArray,
    to: int,
    c0: float,
    c1: float,
    c2: float,
) -> float:
    """Run operation k, not a JOIN, from x to y; return the sum of the result of DROP, CLOSE."""
    what, at = tape[k, WHAT], tape[k, IN]
    size = 1 << tape[k, BITS]
    a_at = tape[k, A_AT]
    total = 1.0
    if what == APPLY:
        if at != to:
            y[to : to + size] = x[at : at + size]
        apply(y, to, size, a_at, tape[k, B_AT], c0, c1)
    elif what == MOVE:
        move(x, at, y, to, size, a_at, c0, c1)
    elif what == FIRST:
        first_arrow(x, at, y, to, size, a_at, c0, c1)
    elif what == ROOT:
        for i in range(size):
            value = x[at + i]
            y[to + i] = c0 * value
            y[to + size + i] = c1 * value
    elif what == CONVERT:
        half = 1 << a_at
        for block in range(0, size, 2 * half):
            for i in range(block, block + half):
                off, on = x[at + i], x[at + half + i]
                y[to + i] = c0 * off
                y[to + half + i] = c1 * off + c2 * on
    elif what in (DROP, CLOSE):
        if what == DROP:
            off_part, on_part = 1.0, 1.0
        else:
            off_part, on_part = c0 + c1, c2
        half = 1 << a_at
        total = 0.0
        to_entry = to
        for block in range(0, size, 2 * half):
            for i in range(block, block + half):
                value = off_part * x[at + i] + on_part * x[at + half + i]
                y[to_entry] = value
                to_entry += 1
                total += value
    else:
        permute(x, at, y, to, tape[k, BITS], tape[k, LOW], extra, tape[k, MORE], False)
    return total


@compiled(inline=True)
def _coefficients_of(
    k: int, tape: IntArray, node: FloatArray, tilt: FloatArray, weight: FloatArray
) -> tuple[float, float, float]:
    """Return the coefficients of any operation but JOIN."""
    what, a = tape[k, WHAT], tape[k, A]
    if what in (ROOT, CONVERT, CLOSE):
        return _coefficients(what, node[a], tilt[a])
    if what in (APPLY, FIRST, MOVE):
        b = tape[k, B]
        s = weight[a, b]
        return 1.0 - s, s / tilt[b], 0.0
    return 1.0, 1.0, 1.0


@compiled()
def _forwards(
    n_ops: int,
    tape: IntArray,
    extra: IntArray,
    core: IntArray,
    weight: FloatArray,
    node: FloatArray,
    tilt: FloatArray,
    x: FloatArray,
    scratch: FloatArray,
    scales: FloatArray,
) -> int:
    """Run all operations; return by how many powers of two the result is scaled."""
    x[0] = 1.0
    twos = 0
    for k in range(n_ops):
        what, out = tape[k, WHAT], tape[k, OUT]
        if what == JOIN:
            low, shared, high = tape[k, LOW], tape[k, SHARED], tape[k, HIGH]
            join(
                x, tape[k, IN], x, tape[k, IN2], x, out,
                low, shared, high, tilt, core, extra, tape[k, MORE], scratch,
            )  # fmt: skip
            total = 0.0
            for i in range(out, out + (1 << tape[k, OUT_BITS])):
                total += x[i]
        else:
            c0, c1, c2 = _coefficients_of(k, tape, node, tilt, weight)
            total = _unary(k, tape, extra, x, x, out, c0, c1, c2)
        scale = 1.0
        if total > 0.0 and (total < LITTLE or total > LARGE):
            shift = min(1000, max(-1000, -math.frexp(total)[1]))
            scale = 2.0**shift
            twos += shift
            for i in range(out, out + (1 << tape[k, OUT_BITS])):
                x[i] *= scale
        scales[k] = scale
    return twos


@compiled()
def forward(weight: FloatArray, plan: PlanArrays, tree: Tree, work: Work, tables: Tables) -> None:
    """Run all operations; set ``total`` so that log P(evidence) = log(total[0]) + total[1]."""
    twos = _forwards(
        tree.ints[COUNTS, N_OPS],
        tree.tape,
        tree.extra,
        plan.core,
        weight,
        work.node,
        work.tilt,
        tables.x,
        tables.scratch,
        tables.scale,
    )
    # the last table, which has no axes left, counts with the constants
    n_constants = 0
    for k in range(plan.counts[N_FOLDS]):
        if plan.fold_kind[k] == CONSTANT:
            n_constants += 1
    work.constant[n_constants] = tables.x[tree.ints[COUNTS, FINAL]]
    product = 1.0
    for k in range(n_constants + 1):
        work.rest[k] = product
        product *= work.constant[k]
    work.total[0] = product
    product = 1.0
    for k in range(n_constants, -1, -1):
        work.rest[k] *= product
        product *= work.constant[k]
    work.total[1] -= twos * math.log(2.0)


@compiled()
def _mark(
    barren: int, parent_start: IntArray, parents: IntArray, plan: PlanArrays, tables: Tables
) -> None:
    """Mark the nodes whose numbers differ when a barren cause is known to be off."""
    reached = tables.reached
    reached[:] = 0
    for k in range(parent_start[barren], parent_start[barren + 1]):
        if plan.kind[parents[k]] == SWEPT:
            reached[parents[k]] = 1
    for k in range(plan.counts[N_FOLDS]):
        if plan.fold_kind[k] != CONSTANT and reached[plan.fold_node[k]] == 1:
            reached[plan.fold_into[k]] = 1


# A difference smaller than this, relative to what it is a difference of, loses too many digits.
ENOUGH = 1e-4

# What an operation of a lane does, as a sum of these.
MAIN, LAST, DIFFERS, MEETS, FIRST_IN = 1, 2, 4, 8, 16


@compiled()
def _trace(n_ops: int, tape: IntArray, tables: Tables) -> tuple[int, int, int]:
    """List the operations that carry the differences of a lane.

    Let P be P(evidence), and P' the same when the barren cause is known to be off, which changes
    the numbers of a few operations. P - P' is a sum over these: those before with their numbers
    in the lane, this one with the difference, those after as they are. For the first one the
    adjoint says all. The table that it writes, with its numbers in the lane, is the main one; it
    is carried on until it has met all the others. They come as side tables: the sum of their own
    differences, and what they are in the lane.

    Returns
    -------
    first, n_differ, n_listed
        The first operation that differs, how many do, and how many are in ``lane_ops``.
    """
    touched, reached, listed = tables.touched, tables.reached, tables.lane_ops
    n_differ = 0
    first = n_ops
    for k in range(n_ops):
        what = tape[k, WHAT]
        if (what in (ROOT, CONVERT, CLOSE)) and reached[tape[k, A]] == 1:
            n_differ += 1
            first = min(first, k)
    if n_differ < 2:
        return first, n_differ, 0
    left = n_differ
    touched[:] = 0  # 1: the main table, 2: a side table
    sides = 0
    n_listed = 0
    for k in range(first, n_ops):
        what, t1, t2 = tape[k, WHAT], tape[k, T1], tape[k, T2]
        flag = 0
        if what == JOIN:
            one, two = touched[t1], touched[t2]
            if one + two == 0:
                continue
            touched[t1] = 0
            touched[t2] = 0
            touched[tape[k, T_OUT]] = 1 if one == 1 or two == 1 else 2
            if one == 1 or (one == 2 and two != 1):
                flag = FIRST_IN
            if one > 0 and two > 0:
                flag |= MEETS
                sides -= 1
        else:
            differs = (what in (ROOT, CONVERT, CLOSE)) and reached[tape[k, A]] == 1
            if what == ROOT and t2 < 0:
                touched[t1] = 0
            if touched[t1] == 0 and not differs:
                continue
            if differs:
                left -= 1
                flag = DIFFERS
                if touched[t1] == 0:
                    flag |= FIRST_IN
                    touched[t1] = 2
                    if k == first:
                        touched[t1] = 1
                    else:
                        sides += 1
        if touched[tape[k, T_OUT]] == 1:
            flag |= MAIN
        if left == 0 and sides == 0:
            flag |= LAST
        listed[n_listed, 0], listed[n_listed, 1] = k, flag
        n_listed += 1
        if left == 0 and sides == 0:
            break
    return first, n_differ, n_listed


@compiled()
def _lane_total(
    n_listed: int,
    listed: IntArray,
    tape: IntArray,
    extra: IntArray,
    core: IntArray,
    weight: FloatArray,
    node: FloatArray,
    lane_node: FloatArray,
    tilt: FloatArray,
    x: FloatArray,
    g: FloatArray,
    lane: FloatArray,
    scratch: FloatArray,
    scales: FloatArray,
) -> float:
    """Return what the last table is in the lane that `_trace` describes; `g` is complete."""
    for row in range(n_listed):
        k, flag = listed[row, 0], listed[row, 1]
        what, at, out = tape[k, WHAT], tape[k, IN], tape[k, OUT]
        first_in = flag & FIRST_IN != 0
        if what == JOIN:
            low, shared, high = tape[k, LOW], tape[k, SHARED], tape[k, HIGH]
            meets = flag & MEETS != 0
            join(
                lane if first_in or meets else x, at,
                lane if meets or not first_in else x, tape[k, IN2], lane, out,
                low, shared, high, tilt, core, extra, tape[k, MORE], scratch,
            )  # fmt: skip
        elif flag & DIFFERS != 0:
            a = tape[k, A]
            c0, c1, c2 = _coefficients(what, lane_node[a], tilt[a])
            _unary(k, tape, extra, x if first_in else lane, lane, out, c0, c1, c2)
        else:
            c0, c1, c2 = _coefficients_of(k, tape, node, tilt, weight)
            _unary(k, tape, extra, lane, lane, out, c0, c1, c2)
        if flag & LAST != 0:
            return _dot(lane, out, g, out, 1 << tape[k, OUT_BITS])
        scale = scales[k]
        if scale != 1.0:
            for i in range(out, out + (1 << tape[k, OUT_BITS])):
                lane[i] *= scale
    return 0.0


@compiled()
def _lane(
    first: int,
    n_differ: int,
    n_listed: int,
    listed: IntArray,
    tape: IntArray,
    extra: IntArray,
    core: IntArray,
    weight: FloatArray,
    node: FloatArray,
    lane_node: FloatArray,
    gap_node: FloatArray,
    tilt: FloatArray,
    x: FloatArray,
    g: FloatArray,
    lane: FloatArray,
    gap: FloatArray,
    more: FloatArray,
    scratch: FloatArray,
    scales: FloatArray,
    dots: FloatArray,
) -> float:
    """Return the difference that `_trace` describes; `g` is complete."""
    if n_differ == 0:
        return 0.0
    a = tape[first, A]
    u, y, z = node[a], lane_node[a], gap_node[a]
    total = (
        (z[Q] * u[OFF] + y[Q] * z[OFF]) * dots[first, 0]
        + (z[P] * u[ON] + y[P] * z[ON]) * dots[first, 1]
        + ((z[Q] + z[P]) * u[ON] + (y[Q] + y[P]) * z[ON]) * dots[first, 2]
    )
    both = n_differ > 2  # else a side table ends where it meets the main one
    for row in range(n_listed):
        k, flag = listed[row, 0], listed[row, 1]
        what, at, out = tape[k, WHAT], tape[k, IN], tape[k, OUT]
        size = 1 << tape[k, OUT_BITS]
        main, last = flag & MAIN != 0, flag & LAST != 0
        first_in = flag & FIRST_IN != 0
        if what == JOIN:
            at2, more_at = tape[k, IN2], tape[k, MORE]
            low, shared, high = tape[k, LOW], tape[k, SHARED], tape[k, HIGH]
            if flag & MEETS != 0:
                one, two = (lane, gap) if first_in else (gap, lane)
                join(
                    one, at, two, at2, more, 0,
                    low, shared, high, tilt, core, extra, more_at, scratch,
                )  # fmt: skip
                if main:
                    total += _dot(more, 0, g, out, size)
                else:
                    join(
                        gap, at, x, at2, gap, out,
                        low, shared, high, tilt, core, extra, more_at, scratch,
                    )  # fmt: skip
                    for i in range(size):
                        gap[out + i] += more[i]
                if last:
                    break
                join(
                    lane, at, lane, at2, lane, out,
                    low, shared, high, tilt, core, extra, more_at, scratch,
                )  # fmt: skip
            else:
                if main or both:
                    one, two = (lane, x) if first_in else (x, lane)
                    join(
                        one, at, two, at2, lane, out,
                        low, shared, high, tilt, core, extra, more_at, scratch,
                    )  # fmt: skip
                if not main:
                    one, two = (gap, x) if first_in else (x, gap)
                    join(
                        one, at, two, at2, gap, out,
                        low, shared, high, tilt, core, extra, more_at, scratch,
                    )  # fmt: skip
        else:
            c0, c1, c2 = _coefficients_of(k, tape, node, tilt, weight)
            if flag & DIFFERS != 0:
                a = tape[k, A]
                u, y, z = node[a], lane_node[a], gap_node[a]
                l0, l1, l2 = _coefficients(what, y, tilt[a])
                d0 = z[Q] * u[OFF] + y[Q] * z[OFF]
                d1 = z[P] * u[ON] + y[P] * z[ON]
                d2 = ((z[Q] + z[P]) * u[ON] + (y[Q] + y[P]) * z[ON]) * tilt[a]
                source = x if first_in else lane
                if main:
                    if not first_in:
                        _unary(k, tape, extra, source, more, 0, d0, d1, d2)
                        total += _dot(more, 0, g, out, size)
                        if last:
                            break
                elif first_in:
                    _unary(k, tape, extra, x, gap, out, d0, d1, d2)
                else:
                    _unary(k, tape, extra, gap, gap, out, c0, c1, c2)
                    _unary(k, tape, extra, lane, more, 0, d0, d1, d2)
                    for i in range(size):
                        gap[out + i] += more[i]
                if main or both:
                    _unary(k, tape, extra, source, lane, out, l0, l1, l2)
            else:
                if main or both:
                    _unary(k, tape, extra, lane, lane, out, c0, c1, c2)
                if not main:
                    _unary(k, tape, extra, gap, gap, out, c0, c1, c2)
        scale = scales[k]
        if scale != 1.0:
            if main or both:
                for i in range(out, out + size):
                    lane[i] *= scale
            if not main:
                for i in range(out, out + size):
                    gap[i] *= scale
    return total


@compiled()
def _backwards(
    n_ops: int,
    derive: bool,
    tape: IntArray,
    extra: IntArray,
    core: IntArray,
    weight: FloatArray,
    node: FloatArray,
    by: FloatArray,
    tilt: FloatArray,
    x: FloatArray,
    g: FloatArray,
    scratch: FloatArray,
    scales: FloatArray,
    by_op: FloatArray,
    dots: FloatArray,
    rest: float,
) -> None:
    """Carry the adjoint back over all operations.

    Afterwards g holds the adjoint of every table as it was written first, before APPLY, MOVE and
    DROP changed it in place.
    """
    for k in range(n_ops - 1, -1, -1):
        what, at, out = tape[k, WHAT], tape[k, IN], tape[k, OUT]
        scale = scales[k]
        if scale != 1.0:
            for i in range(out, out + (1 << tape[k, OUT_BITS])):
                g[i] *= scale
        if what == JOIN:
            low, shared, high = tape[k, LOW], tape[k, SHARED], tape[k, HIGH]
            reverse_join(
                x, at, tape[k, IN2], g, out,
                low, shared, high, tilt, core, extra, tape[k, MORE], scratch,
            )  # fmt: skip
            continue
        size = 1 << tape[k, BITS]
        a, a_at = tape[k, A], tape[k, A_AT]
        half = 1 << a_at
        c0, c1, c2 = _coefficients_of(k, tape, node, tilt, weight)
        if what == APPLY:
            b = tape[k, B]
            if derive:
                by_op[k] = rest * derive_arrow(
                    x, at, g, out, size, a_at, 1 << tape[k, B_AT], 1.0 / tilt[b], 1.0
                )
            if at != out:
                g[at : at + size] = g[out : out + size]
            reverse_apply(g, at, size, a_at, tape[k, B_AT], c0, c1)
        elif what == MOVE:
            if derive:
                by_op[k] = rest * derive_move(x, at, g, out, size, a_at, 1.0 / tilt[tape[k, B]])
            reverse_move(g, out, at, size, a_at, c0, c1)
        elif what == FIRST:
            if derive:
                by_op[k] = rest * derive_arrow(
                    x, at, g, out, size, a_at, size, 1.0 / tilt[tape[k, B]], 1.0
                )
            reverse_first_arrow(g, out, at, size, a_at, c0, c1)
        elif what == PERMUTE:
            permute(g, at, g, out, tape[k, BITS], tape[k, LOW], extra, tape[k, MORE], True)
        elif what == DROP:
            source = out + size // 2
            for block in range(size - 2 * half, -1, -2 * half):
                for i in range(block + half - 1, block - 1, -1):
                    source -= 1
                    value = g[source]
                    g[at + half + i] = value
                    g[at + i] = value
        else:
            d_off, d_on, d_both = 0.0, 0.0, 0.0
            if what == ROOT:
                d_off, d_on = dots_root(x, at, g, out, size)
                unroot(g, out, at, size, c0, c1)
            elif what == CONVERT:
                d_off, d_on, d_both = dots_convert(x, at, g, out, size, a_at)
                for block in range(0, size, 2 * half):
                    for i in range(block, block + half):
                        off, on = g[out + i], g[out + half + i]
                        g[at + i] = c0 * off + c1 * on
                        g[at + half + i] = c2 * on
            else:
                d_off, d_both = dots_close(x, at, g, out, size, a_at)
                d_on = d_off
                off_part = c0 + c1
                source = out
                for block in range(0, size, 2 * half):
                    for i in range(block, block + half):
                        value = g[source]
                        source += 1
                        g[at + i] = off_part * value
                        g[at + half + i] = c2 * value
            dots[k, 0], dots[k, 1], dots[k, 2] = d_off, d_on, d_both * tilt[a]
            d_off *= rest
            d_on *= rest
            d_both *= rest * tilt[a]
            u, d = node[a], by[a]
            d[Q] = u[OFF] * d_off + u[ON] * d_both
            d[P] = u[ON] * (d_on + d_both)
            d[OFF] = u[Q] * d_off
            d[ON] = u[P] * d_on + (u[Q] + u[P]) * d_both


@compiled()
def reverse(
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
    tree: Tree,
    work: Work,
    tables: Tables,
    derive: bool,
    joint: FloatArray,
) -> None:
    """Run the operations and folds backwards: set ``by`` and P(evidence, cause on), scaled.

    Of a barren cause with several swept parents, `joint` becomes P(evidence, some of them
    switches it on).
    """
    n_constants = 0
    for k in range(plan.counts[N_FOLDS]):
        if plan.fold_kind[k] == CONSTANT:
            n_constants += 1
    tables.g[tree.ints[COUNTS, FINAL]] = 1.0
    _backwards(
        tree.ints[COUNTS, N_OPS],
        derive,
        tree.tape,
        tree.extra,
        plan.core,
        weight,
        work.node,
        work.by,
        work.tilt,
        tables.x,
        tables.g,
        tables.scratch,
        tables.scale,
        tables.by_op,
        tables.dots,
        work.rest[n_constants],
    )
    value = work.total[0]
    for lane in range(plan.counts[N_LANES]):
        cause = plan.lane_cause[lane]
        base, base_gap = _prepare_lane(cause, weight, parent_start, parents, plan, work)
        joint[cause] = base_gap * work.constant[n_constants]
        if base <= 0.0:
            continue
        _mark(cause, parent_start, parents, plan, tables)
        first, n_differ, n_listed = _trace(tree.ints[COUNTS, N_OPS], tree.tape, tables)
        if n_differ > 1:
            total = _lane_total(
                n_listed,
                tables.lane_ops,
                tree.tape,
                tree.extra,
                plan.core,
                weight,
                work.node,
                work.lane,
                work.tilt,
                tables.x,
                tables.g,
                tables.lane,
                tables.scratch,
                tables.scale,
            )
            difference = value - base * total
            if difference > ENOUGH * value:
                joint[cause] = difference
                continue
        joint[cause] += base * _lane(
            first,
            n_differ,
            n_listed,
            tables.lane_ops,
            tree.tape,
            tree.extra,
            plan.core,
            weight,
            work.node,
            work.lane,
            work.gap,
            work.tilt,
            tables.x,
            tables.g,
            tables.lane,
            tables.gap,
            tables.more,
            tables.scratch,
            tables.scale,
            tables.dots,
        )
    _reverse_folds(n_constants, plan, work)
    for cause in range(joint.shape[0]):
        if plan.kind[cause] == SWEPT:
            joint[cause] = work.own[cause, ON] * work.by[cause, ON]


@compiled()
def _reverse_folds(n_constants: int, plan: PlanArrays, work: Work) -> None:
    """Carry ``by`` back over the folds."""
    by, node = work.by, work.node
    at = n_constants
    for k in range(plan.counts[N_FOLDS] - 1, -1, -1):
        n, into = plan.fold_node[k], plan.fold_into[k]
        what = plan.fold_kind[k]
        x, d = node[n], by[n]
        scale = work.scale[k]
        if what == CONSTANT:
            at -= 1
            c = scale * work.rest[at]
            d[Q], d[P], d[OFF], d[ON] = c * x[OFF], c * x[ON], c * x[Q], c * x[P]
            continue
        s = work.fold_strength[k]
        d_into = by[into]
        first, second = work.before[k, 0], work.before[k, 1]
        if what == INTO_PARENT:
            by_off = x[Q] * x[OFF] + x[P] * x[ON]
            on = s * (x[Q] + x[P]) * x[ON] + (1.0 - s) * by_off
            d_on = scale * second * d_into[ON]
            d_by_off = scale * first * d_into[OFF] + (1.0 - s) * d_on
            work.by_fold[k] = d_on * x[Q] * (x[ON] - x[OFF])
            d_into[OFF] *= scale * by_off
            d_into[ON] *= scale * on
            d[Q] = x[OFF] * d_by_off + s * x[ON] * d_on
            d[P] = x[ON] * d_by_off + s * x[ON] * d_on
            d[OFF] = x[Q] * d_by_off
            d[ON] = x[P] * d_by_off + s * (x[Q] + x[P]) * d_on
        else:
            a, b = x[Q] * x[OFF], x[P] * x[ON]
            keep, switch = a + b * (1.0 - s), b * s
            d_q, d_p = scale * d_into[Q], scale * d_into[P]
            d_keep = first * d_q + second * d_p
            d_switch = (first + second) * d_p
            d_into[Q] = keep * d_q + switch * d_p
            d_into[P] = (keep + switch) * d_p
            work.by_fold[k] = b * first * (d_p - d_q)
            d_b = (1.0 - s) * d_keep + s * d_switch
            d[Q] = x[OFF] * d_keep
            d[OFF] = x[Q] * d_keep
            d[P] = x[ON] * d_b
            d[ON] = x[P] * d_b


@compiled()
def add_arrow_derivatives(tree: Tree, tables: Tables, out: FloatArray) -> None:
    """Put the derivatives by the strengths of the tape's arrows into `out`, shape (C, N)."""
    for k in range(tree.ints[COUNTS, N_OPS]):
        what = tree.tape[k, WHAT]
        if what in (APPLY, FIRST, MOVE):
            out[tree.tape[k, A], tree.tape[k, B]] = tables.by_op[k]
