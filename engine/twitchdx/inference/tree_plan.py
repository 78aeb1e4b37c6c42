"""Plan the elimination of one row on a tree of tables.

A table is a vector over the subsets of its *axes*. An axis is the state of a cause, or the
*accumulator* of a node: "switched on so far" by the arrows applied to this table. As a noisy-OR
decomposes over its arrows, the accumulators of the same node in two tables combine by OR when
the tables are joined, and a node can be finished piece by piece, in whatever tables its parents
happen to be [1]_ [2]_. An arrow out of a node is applied once all arrows to it are, so that a
state is the axis of one table only.

References
----------
.. [1] Zhang NL, Poole D. Exploiting causal independence in Bayesian network inference. JAIR 1996.
.. [2] Díez FJ, Galán SF. Efficient computation for the noisy MAX. Int J Intell Syst 2003.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.elimination import (
    N_CORE,
    NONE,
    ONE,
    MaskArray,
    PlanArrays,
    _count,
    _lowest,
    classify,
    fold,
)
from twitchdx.inference.structure import FloatArray, IntArray

# Operations on tables.
ROOT = 0  # a: the state of a cause without parents left becomes an axis, of a new table or t1
FIRST = 1  # a -> b: the accumulator of b becomes an axis, and the arrow is applied
APPLY = 2  # a -> b: where a is on, b is switched on with the arrow's strength
MOVE = 3  # a -> b: FIRST, then DROP of a
CONVERT = 4  # a: all arrows to it are applied; the accumulator becomes the state
DROP = 5  # a: all arrows out of it are applied; its state is summed out
CLOSE = 6  # a: CONVERT and DROP at once, of a node without arrows out
JOIN = 7  # t1 and t2 become one table; shared accumulators combine by OR
PERMUTE = 8  # the axes of a table in another order
N_KINDS = 9

NAMES = ("open", "open by", "apply", "move", "convert", "forget", "close", "join", "reorder")

# Columns of the tape: one row per operation.
WHAT, A, B, T1, T2 = 0, 1, 2, 3, 4  # code, nodes (-1: none), tables (-1: none); writes t1
IN, IN2, OUT = 5, 6, 7  # where the tables start
BITS = 8  # axes of the table that is read (for JOIN: of the result)
A_AT, B_AT = 9, 10  # positions of the axes of a and b
LOW, SHARED, HIGH = 11, 12, 13  # JOIN: axes of the first table alone, of both, of the second
MORE = 14  # where in `extra` the shared nodes (JOIN) or the strides (PERMUTE) start
OUT_BITS = 15  # axes of the table that is written
T_OUT = 16  # the table that is written
N_COLUMNS = 17

MOST_AXES = 48  # a wider table is never laid out


# Sections of the planner's masks, as long as there are nodes.
LEFT_IN, LEFT_OUT = 0, 1  # arrows to and from a node that are not applied yet
MASK = 2  # axes of a table
AFTER = 3  # and when its arrows to a candidate are applied
CONVERTED, CHANGED, JOINED = 4, 1, 2  # three rows, the second and third by their offset

# Rows of the planner's numbers.
LIVE = 0  # tables that are not yet read
HOME = 1  # table that holds the state of a node; -1: none
DONE = 2  # nodes summed out
PART, PART_SIZE = 3, 4  # tables that take part in a step, and their axes
COUNTS = 5  # see below
PICKS, BEST_PICKS = 6, 7  # nodes finished, in order: of this tape, of the best
AXES, AT = 8, 9  # of a table: how many, where it starts


class Tree(NamedTuple):
    """The operations of a row, and scratch of the planner."""

    tape: IntArray  # (ops, N_COLUMNS)
    extra: IntArray  # see MORE
    masks: MaskArray  # (4 * size + 3, words) see above
    ints: IntArray  # (10, size) see above
    axes: IntArray  # (size, MOST_AXES + 4) nodes of the axes of a table, lowest bit first
    rate: FloatArray  # (size + 1, 2) scores; the last row: entries touched, of the best


# places in ``ints[COUNTS]``
N_OPS, WIDTH, STATES, FINAL, N_LIVE, N_TABLES, N_PICKS, N_BEST = range(8)


def new_tree(n_nodes: int, n_arrows: int) -> Tree:
    """Allocate an empty tree."""
    words = (n_nodes + 63) // 64
    size = 2 * n_nodes + 8
    return Tree(
        tape=np.empty((n_arrows + 6 * n_nodes + 8, N_COLUMNS), dtype=np.int64),
        extra=np.empty(3 * MOST_AXES * (n_nodes + 1), dtype=np.int64),
        masks=np.empty((4 * size + 3, words), dtype=np.uint64),
        ints=np.zeros((10, size), dtype=np.int64),
        axes=np.empty((size, MOST_AXES + 4), dtype=np.int64),
        rate=np.zeros((size + 1, 2)),
    )


@compiled(inline=True)
def _has(mask: MaskArray, row: int, item: int) -> bool:
    return (mask[row, item >> 6] >> np.uint64(item & 63)) & ONE != NONE


@compiled(inline=True)
def _set(mask: MaskArray, row: int, item: int) -> None:
    mask[row, item >> 6] |= ONE << np.uint64(item & 63)


@compiled(inline=True)
def _clear(mask: MaskArray, row: int, item: int) -> None:
    mask[row, item >> 6] &= ~(ONE << np.uint64(item & 63))


@compiled(inline=True)
def _empty(mask: MaskArray, row: int, words: int) -> bool:
    union = NONE
    for w in range(words):
        union |= mask[row, w]
    return union == NONE


@compiled(inline=True)
def _only(mask: MaskArray, row: int, item: int, words: int) -> bool:
    """Whether the mask has no bit but that of the item, which it has."""
    total = 0
    for w in range(words):
        total += _count(mask[row, w])
    return total == 1 and _has(mask, row, item)


@compiled(inline=True)
def _size(mask: MaskArray, row: int, words: int) -> int:
    total = 0
    for w in range(words):
        total += _count(mask[row, w])
    return total


@compiled(inline=True)
def _power(n: int) -> float:
    return float(np.int64(1) << min(n, 62))


@compiled(inline=True)
def _join_cost(shared: int, total: int) -> float:
    cost = _power(total)
    for _ in range(min(shared, 100)):
        cost *= 1.5
    return cost


@compiled()
def _gather(node: int, words: int, r: int, m: MaskArray, ints: IntArray) -> tuple[int, float]:
    """List the tables that finishing an item merges, the smallest first, after their arrows.

    Returns
    -------
    n_part, cost
    """
    n_part = 0
    cost = 0.0
    word, bit = node >> 6, ONE << np.uint64(node & 63)
    for k in range(ints[COUNTS, N_LIVE]):
        t = ints[LIVE, k]
        mask, after = MASK * r + t, AFTER * r + t
        touches = m[mask, word] & bit
        for w in range(words):
            touches |= m[mask, w] & m[node, w]
        if touches == NONE:
            continue
        arrows = 0
        for w in range(words):
            m[after, w] = m[mask, w]
        for w in range(words):
            parents = m[mask, w] & m[node, w]
            while parents != NONE:
                p = _lowest(parents) + 64 * w
                parents &= parents - ONE
                arrows += 1
                if _only(m, LEFT_OUT * r + p, node, words):
                    _clear(m, after, p)
        if arrows > 0:
            m[after, word] |= bit
        size = _size(m, after, words)
        cost += 0.75 * arrows * _power(size)
        i = n_part
        while i > 0 and ints[PART_SIZE, i - 1] > size:
            ints[PART, i], ints[PART_SIZE, i] = ints[PART, i - 1], ints[PART_SIZE, i - 1]
            i -= 1
        ints[PART, i], ints[PART_SIZE, i] = t, size
        n_part += 1
    return n_part, cost


@compiled()
def _rate(node: int, words: int, r: int, m: MaskArray, ints: IntArray, rate: FloatArray) -> None:
    """Score finishing a node: axes of the table that results, entries touched; -1: not yet."""
    word, bit = node >> 6, ONE << np.uint64(node & 63)
    out = LEFT_OUT * r + node
    if m[CONVERTED * r, word] & bit != NONE:
        home = ints[HOME, node]
        total = 0
        opens = 0
        for w in range(words):
            here = m[MASK * r + home, w] if home >= 0 else NONE
            total += _count(here | m[out, w])
            opens += _count(m[out, w] & ~here)
        if home < 0:
            total += 1
        rate[node, 0] = total - 1
        rate[node, 1] = _power(total - 1 if opens > 0 else total)
        return
    for w in range(words):
        if m[node, w] & ~m[CONVERTED * r, w] != NONE:
            rate[node, 0] = -1.0
            return
    n_part, cost = _gather(node, words, r, m, ints)
    joined = CONVERTED * r + JOINED
    for w in range(words):
        m[joined, w] = NONE
    for k in range(n_part):
        after = AFTER * r + ints[PART, k]
        shared = 0
        both = 0
        for w in range(words):
            shared += _count(m[joined, w] & m[after, w])
            m[joined, w] |= m[after, w]
            both += _count(m[joined, w])
        if k > 0:
            cost += _join_cost(shared, both)
    m[joined, word] |= bit
    total = 0
    for w in range(words):
        fresh = m[node, w]
        while fresh != NONE:
            p = _lowest(fresh) + 64 * w
            fresh &= fresh - ONE
            if ints[HOME, p] < 0:
                total += 1
        total += _count(m[joined, w])
    rate[node, 1] = cost + _power(total)
    rate[node, 0] = total - 1 if _empty(m, out, words) else total


@compiled(inline=True)
def _emit(
    what: int, a: int, b: int, t1: int, t2: int, cost: float,
    ints: IntArray, rate: FloatArray, tape: IntArray,
) -> None:  # fmt: skip
    k = ints[COUNTS, N_OPS]
    tape[k, WHAT], tape[k, A], tape[k, B], tape[k, T1], tape[k, T2] = what, a, b, t1, t2
    ints[COUNTS, N_OPS] = k + 1
    rate[-1, 0] += cost


@compiled()
def _arrow(
    tail: int, head: int, t: int, words: int, r: int,
    m: MaskArray, ints: IntArray, rate: FloatArray, tape: IntArray,
) -> None:  # fmt: skip
    """Apply one arrow to the table that holds its tail; drop the tail if that was its last."""
    mask = MASK * r + t
    size = _power(_size(m, mask, words))
    _clear(m, head, tail)
    _clear(m, LEFT_OUT * r + tail, head)
    last = _empty(m, LEFT_OUT * r + tail, words)
    if _has(m, mask, head):
        _emit(APPLY, tail, head, t, -1, 0.5 * size, ints, rate, tape)
        if last:
            _emit(DROP, tail, -1, t, -1, size, ints, rate, tape)
    else:
        what = MOVE if last else FIRST
        _emit(what, tail, head, t, -1, size if last else 2.0 * size, ints, rate, tape)
    _set(m, mask, head)
    if last:
        _clear(m, mask, tail)
        ints[DONE, tail] = 1
        ints[HOME, tail] = -1


@compiled()
def _open_root(
    node: int, t: int, words: int, r: int,
    m: MaskArray, ints: IntArray, rate: FloatArray, tape: IntArray,
) -> int:  # fmt: skip
    """Make the state of a root an axis of a table, or with t = -1 of a new one."""
    onto = -1 if t < 0 else 1
    if t < 0:
        t = ints[COUNTS, N_TABLES]
        ints[COUNTS, N_TABLES] += 1
        ints[LIVE, ints[COUNTS, N_LIVE]] = t
        ints[COUNTS, N_LIVE] += 1
        for w in range(words):
            m[MASK * r + t, w] = NONE
    cost = 2.0 * _power(_size(m, MASK * r + t, words))
    _emit(ROOT, node, -1, t, onto, cost, ints, rate, tape)
    _set(m, MASK * r + t, node)
    ints[HOME, node] = t
    return t


@compiled()
def _join(
    t: int, u: int, words: int, r: int,
    m: MaskArray, ints: IntArray, rate: FloatArray, tape: IntArray,
) -> None:  # fmt: skip
    """Join table u to table t."""
    shared = 0
    both = 0
    for w in range(words):
        shared += _count(m[MASK * r + t, w] & m[MASK * r + u, w])
        m[MASK * r + t, w] |= m[MASK * r + u, w]
        both += _count(m[MASK * r + t, w])
    _emit(JOIN, -1, -1, t, u, _join_cost(shared, both), ints, rate, tape)
    n_live = ints[COUNTS, N_LIVE]
    for k in range(n_live):
        if ints[LIVE, k] == u:
            ints[LIVE, k] = ints[LIVE, n_live - 1]
            break
    ints[COUNTS, N_LIVE] = n_live - 1


@compiled()
def _finish_state(
    node: int, words: int, r: int,
    m: MaskArray, ints: IntArray, rate: FloatArray, tape: IntArray,
) -> None:  # fmt: skip
    """Apply all remaining arrows of a converted cause, and drop it."""
    t = ints[HOME, node]
    if t < 0:
        t = _open_root(node, -1, words, r, m, ints, rate, tape)
    changed, mask, out = CONVERTED * r + CHANGED, MASK * r + t, LEFT_OUT * r + node
    for w in range(words):
        m[changed, w] |= m[mask, w] | m[out, w]
    for phase in range(2):
        for w in range(words):
            heads = m[out, w]
            while heads != NONE:
                head = _lowest(heads) + 64 * w
                heads &= heads - ONE
                if phase == 1 or _has(m, mask, head):
                    _arrow(node, head, t, words, r, m, ints, rate, tape)


@compiled()
def _finish_item(
    node: int, words: int, r: int,
    m: MaskArray, ints: IntArray, rate: FloatArray, tape: IntArray,
) -> None:  # fmt: skip
    """Apply all remaining arrows to a node whose parents are converted; convert or close it."""
    changed = CONVERTED * r + CHANGED
    for w in range(words):
        m[changed, w] |= m[node, w]
    n_part, _ = _gather(node, words, r, m, ints)
    for k in range(n_part):
        t = ints[PART, k]
        for w in range(words):
            m[changed, w] |= m[MASK * r + t, w]
        # parents that are done with this arrow first
        for phase in range(2):
            for w in range(words):
                parents = m[MASK * r + t, w] & m[node, w]
                while parents != NONE:
                    p = _lowest(parents) + 64 * w
                    parents &= parents - ONE
                    if phase == 1 or _only(m, LEFT_OUT * r + p, node, words):
                        _arrow(p, node, t, words, r, m, ints, rate, tape)
    t = -1
    for k in range(n_part):
        if k == 0:
            t = ints[PART, 0]
        else:
            _join(t, ints[PART, k], words, r, m, ints, rate, tape)
    for w in range(words):
        fresh = m[node, w]
        while fresh != NONE:
            p = _lowest(fresh) + 64 * w
            fresh &= fresh - ONE
            t = _open_root(p, t, words, r, m, ints, rate, tape)
            _arrow(p, node, t, words, r, m, ints, rate, tape)
    size = _power(_size(m, MASK * r + t, words))
    if _empty(m, LEFT_OUT * r + node, words):
        _emit(CLOSE, node, -1, t, -1, size, ints, rate, tape)
        _clear(m, MASK * r + t, node)
        ints[DONE, node] = 1
    else:
        _emit(CONVERT, node, -1, t, -1, size, ints, rate, tape)
        _set(m, CONVERTED * r, node)
    for w in range(words):
        states = m[MASK * r + t, w] & m[CONVERTED * r, w]
        m[changed, w] |= m[MASK * r + t, w]
        while states != NONE:
            ints[HOME, _lowest(states) + 64 * w] = t
            states &= states - ONE


@compiled()
def _order(
    noise: float, seed: int, given: bool, n_core: int,
    m: MaskArray, ints: IntArray, rate: FloatArray, tape: IntArray,
) -> None:  # fmt: skip
    """Write the tape; the arrows of the core are in rows LEFT_IN and LEFT_OUT of the masks."""
    words = (n_core + 63) // 64
    r = ints.shape[1]
    converted, changed = CONVERTED * r, CONVERTED * r + CHANGED
    for w in range(words):
        m[converted, w] = NONE
        m[changed, w] = ~NONE
    for i in range(n_core):
        ints[DONE, i] = 0
        ints[HOME, i] = -1
        if _empty(m, i, words):
            _set(m, converted, i)
    ints[COUNTS, N_OPS] = 0
    ints[COUNTS, N_LIVE] = 0
    ints[COUNTS, N_TABLES] = 0
    rate[-1, 0] = 0.0
    random = np.uint64(seed) * np.uint64(2654435761) + np.uint64(12345)
    n_picks = 0
    while True:
        best = -1
        if given:
            if n_picks < ints[COUNTS, N_BEST]:
                best = ints[BEST_PICKS, n_picks]
        else:
            best_first, best_second = 0.0, 0.0
            for node in range(n_core):
                if ints[DONE, node] == 1:
                    continue
                stale = m[changed, node >> 6] >> np.uint64(node & 63) & ONE
                for w in range(words):
                    stale |= m[node, w] & m[changed, w]
                if stale != NONE:
                    _rate(node, words, r, m, ints, rate)
                first, second = rate[node, 0], rate[node, 1]
                if first < 0.0:
                    continue
                if noise > 0.0:
                    random = random * np.uint64(6364136223846793005) + np.uint64(
                        1442695040888963407
                    )
                    first += noise * float(random >> np.uint64(40)) / 16777216.0
                if best < 0 or first < best_first or (first == best_first and second < best_second):
                    best, best_first, best_second = node, first, second
        if best < 0:
            break
        ints[PICKS, n_picks] = best
        n_picks += 1
        for w in range(words):
            m[changed, w] = NONE
        m[changed, best >> 6] |= ONE << np.uint64(best & 63)
        if _has(m, converted, best):
            _finish_state(best, words, r, m, ints, rate, tape)
        else:
            _finish_item(best, words, r, m, ints, rate, tape)
    while ints[COUNTS, N_LIVE] > 1:
        last = ints[LIVE, ints[COUNTS, N_LIVE] - 1]
        _join(ints[LIVE, 0], last, words, r, m, ints, rate, tape)
    ints[COUNTS, N_PICKS] = n_picks


@compiled()
def order_tree(noise: float, seed: int, given: bool, plan: PlanArrays, tree: Tree) -> None:
    """Write the tape: always finish the node that leaves the smallest table.

    With `given`, finish the nodes in the order of the best picks instead.
    """
    n_core = plan.counts[N_CORE]
    words = (n_core + 63) // 64
    r = tree.ints.shape[1]
    for i in range(n_core):
        for w in range(words):
            tree.masks[i, w] = plan.into[i, w]
            tree.masks[LEFT_OUT * r + i, w] = plan.out[i, w]
    _order(noise, seed, given, n_core, tree.masks, tree.ints, tree.rate, tree.tape)


@compiled()
def lay_out(keep_all: bool, plan: PlanArrays, tree: Tree) -> None:
    """Give axes their positions and tables their places; adds the reorderings that joins need.

    With `keep_all` no operation writes where it reads, so that all derivatives can be formed.
    """
    counts, n_axes, at = tree.ints[COUNTS], tree.ints[AXES], tree.ints[AT]
    axes, extra = tree.axes, tree.extra
    spare = axes.shape[0] - 1
    n_ops = counts[N_OPS]
    # the tape is rewritten from its end, where there is room, to its beginning
    tape = tree.tape
    shift = tape.shape[0] - n_ops
    for k in range(n_ops - 1, -1, -1):
        for c in range(T2 + 1):
            tape[k + shift, c] = tape[k, c]
    k = 0
    end = 1  # the table without axes, 1, comes first
    n_extra = 0
    width = 0
    final = 0
    for source in range(shift, shift + n_ops):
        what, a, b = tape[source, WHAT], tape[source, A], tape[source, B]
        t, u = tape[source, T1], tape[source, T2]
        if what == JOIN:
            # which axes are shared; the table with more axes of its own is the first
            shared = 0
            for i in range(n_axes[u]):
                for j in range(n_axes[t]):
                    if axes[t, j] == axes[u, i]:
                        shared += 1
            first, second = t, u
            if n_axes[u] > n_axes[t]:
                first, second = u, t
            low, high = n_axes[first] - shared, n_axes[second] - shared
            for reordered in (first, second):
                other = second if reordered == first else first
                n = n_axes[reordered]
                strides = n_extra
                same = True
                place = 0
                for phase in range(2):
                    # first: own axes, then shared; second: shared in the same order, then own
                    if (phase == 1) == (reordered == first):
                        if reordered == first:
                            for i in range(n):
                                for j in range(n_axes[other]):
                                    if axes[other, j] == axes[first, i]:
                                        extra[strides + place] = i
                                        same = same and place == i
                                        place += 1
                        else:
                            for j in range(low, n_axes[first]):
                                for i in range(n):
                                    if axes[second, i] == axes[first, j]:
                                        extra[strides + place] = i
                                        same = same and place == i
                                        place += 1
                    else:
                        for i in range(n):
                            own = True
                            for j in range(n_axes[other]):
                                if axes[other, j] == axes[reordered, i]:
                                    own = False
                            if own:
                                extra[strides + place] = i
                                same = same and place == i
                                place += 1
                if same:
                    continue
                tape[k, WHAT], tape[k, A], tape[k, B] = PERMUTE, -1, -1
                tape[k, T1], tape[k, T2], tape[k, T_OUT] = reordered, -1, reordered
                tape[k, IN], tape[k, OUT] = at[reordered], end
                tape[k, BITS], tape[k, OUT_BITS] = n, n
                tape[k, MORE] = strides
                at[reordered] = end
                end += np.int64(1) << min(n, 48)
                for i in range(n):
                    axes[spare, i] = axes[reordered, extra[strides + i]]
                for i in range(n):
                    axes[reordered, i] = axes[spare, i]
                # the lowest axes that stay, and the steps of the others: see `permute`
                same_axes = 0
                while extra[strides + same_axes] == same_axes:
                    same_axes += 1
                tape[k, LOW] = same_axes
                cleared = 0
                for i in range(n):
                    stride = 1 << extra[strides + i]
                    extra[strides + i] = stride - cleared
                    if i >= same_axes:
                        cleared += stride
                extra[strides + n] = 0
                n_extra += n + 1
                k += 1
            n = low + shared + high
            for i in range(shared):
                extra[n_extra + i] = axes[first, low + i]
            tape[k, WHAT], tape[k, A], tape[k, B], tape[k, T1], tape[k, T2] = (
                what,
                -1,
                -1,
                first,
                second,
            )
            tape[k, IN], tape[k, IN2], tape[k, OUT] = at[first], at[second], end
            tape[k, T_OUT] = t
            tape[k, LOW], tape[k, SHARED], tape[k, HIGH] = low, shared, high
            tape[k, MORE], tape[k, BITS], tape[k, OUT_BITS] = n_extra, n, n
            n_extra += shared
            if first != t:
                for i in range(n_axes[first]):
                    axes[spare, i] = axes[first, i]
                for i in range(high):
                    axes[spare, low + shared + i] = axes[second, shared + i]
                for i in range(n):
                    axes[t, i] = axes[spare, i]
            else:
                for i in range(high):
                    axes[t, low + shared + i] = axes[second, shared + i]
            n_axes[t] = n
            at[t] = end
            end += np.int64(1) << min(n, 48)
            width = max(width, n)
            final = at[t]
            k += 1
            continue
        if what == ROOT and u < 0:
            n_axes[t] = 0
            at[t] = 0
        n = n_axes[t]
        tape[k, WHAT], tape[k, T1], tape[k, T2], tape[k, T_OUT] = what, t, u, t
        tape[k, A] = plan.core[a]
        tape[k, B] = plan.core[b] if b >= 0 else -1
        tape[k, IN], tape[k, BITS] = at[t], n
        a_at, b_at = -1, -1
        for i in range(n):
            if axes[t, i] == a:
                a_at = i
            if axes[t, i] == b:
                b_at = i
        out = n
        if what == ROOT:
            a_at = n
            axes[t, n] = a
            out = n + 1
        elif what == FIRST:
            b_at = n
            axes[t, n] = b
            out = n + 1
        elif what == MOVE:
            axes[t, a_at] = b
        elif what in (DROP, CLOSE):
            for i in range(a_at, n - 1):
                axes[t, i] = axes[t, i + 1]
            out = n - 1
        tape[k, A_AT], tape[k, B_AT], tape[k, OUT_BITS] = a_at, b_at, out
        if keep_all or what not in (APPLY, MOVE, DROP):
            at[t] = end
            end += np.int64(1) << min(out, 48)
        tape[k, OUT] = at[t]
        n_axes[t] = out
        width = max(width, out)
        final = at[t]
        k += 1
    counts[N_OPS] = k
    counts[WIDTH] = width
    counts[STATES] = end
    counts[FINAL] = final


PER_ENTRY = 7e-3
"""Microseconds per entry touched, forward and reverse together, on a current core."""

PER_ORDER = 50.0
"""Microseconds that one more order takes."""

SHARE = 0.25
"""Time spent on more orders, of the time that the row itself is predicted to take."""

MOST_ORDERS = 300

NOISE = (1.0, 3.0, 2.0, 4.0)
"""Most that a score, in axes of the table that results, is disturbed by."""


@compiled()
def _worth_trying(cost: float) -> int:
    """How many more orders to try."""
    return min(MOST_ORDERS, np.int64(min(1e9, cost) * SHARE * PER_ENTRY / PER_ORDER))


@compiled()
def _save(tree: Tree) -> None:
    n = tree.ints[COUNTS, N_PICKS]
    tree.ints[BEST_PICKS, :n] = tree.ints[PICKS, :n]
    tree.ints[COUNTS, N_BEST] = n
    tree.rate[-1, 1] = tree.rate[-1, 0]


@compiled()
def make_tree(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    barren: bool,
    keep_all: bool,
    plan: PlanArrays,
    tree: Tree,
) -> None:
    """Classify, fold, order and lay out one row.

    The longer the row is predicted to take, the more orders are tried.
    """
    n_causes = order.shape[0]
    classify(ratios, parent_start, parents, order, barren, plan)
    fold(parent_start, parents, n_causes, plan)
    order_tree(0.0, 0, False, plan, tree)
    tries = _worth_trying(tree.rate[-1, 0])
    if tries > 0:
        _save(tree)
        attempt = 1
        newest = True
        while attempt <= tries:
            order_tree(NOISE[attempt % len(NOISE)], attempt, False, plan, tree)
            newest = tree.rate[-1, 0] < tree.rate[-1, 1]
            if newest:
                _save(tree)
                tries = min(tries, attempt + _worth_trying(tree.rate[-1, 0]))
            attempt += 1
        if not newest:
            order_tree(0.0, 0, True, plan, tree)
    if tree.rate[-1, 0] >= 2.0**MOST_AXES:
        tree.ints[COUNTS, WIDTH] = min(1000, np.int64(math.log2(tree.rate[-1, 0])))
        tree.ints[COUNTS, STATES] = np.int64(1) << MOST_AXES
    else:
        lay_out(keep_all, plan, tree)
