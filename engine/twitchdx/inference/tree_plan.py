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


class Tree(NamedTuple):
    """The operations of a row, and scratch of the planner."""

    tape: IntArray  # (ops, N_COLUMNS)
    extra: IntArray  # see MORE
    # while planning: by table
    mask: MaskArray  # (N, words) axes
    live: IntArray  # (N,) tables not yet read
    axes: IntArray  # (N, MOST_AXES) nodes, lowest bit first
    n_axes: IntArray  # (N,)
    at: IntArray  # (N,)
    # by candidate
    after: MaskArray  # (N, words) axes of a table when its arrows to the candidate are applied
    part: IntArray  # (2, N) tables that take part, and their axes
    rate: FloatArray  # (N, 2) score of finishing each node
    # by node of the core
    home: IntArray  # (N,) table that holds the state; -1: none
    done: IntArray  # (N,)
    converted: MaskArray  # (3, words) nodes converted; changed by the last step; scratch
    picks: IntArray  # (2, 2 N) nodes finished, in order: of this tape, of the best
    counts: IntArray  # (8,) see below
    cost: FloatArray  # (2,) entries touched: of this tape, of the best


# places in `counts`
N_OPS, WIDTH, STATES, FINAL, N_LIVE, N_TABLES, N_PICKS, N_BEST = range(8)


def new_tree(n_nodes: int, n_arrows: int) -> Tree:
    """Allocate an empty tree."""
    words = (n_nodes + 63) // 64
    return Tree(
        tape=np.empty((n_arrows + 6 * n_nodes + 8, N_COLUMNS), dtype=np.int64),
        extra=np.empty(3 * MOST_AXES * (n_nodes + 1), dtype=np.int64),
        mask=np.empty((n_nodes + 1, words), dtype=np.uint64),
        live=np.empty(n_nodes + 1, dtype=np.int64),
        axes=np.empty((n_nodes + 1, MOST_AXES + 4), dtype=np.int64),
        n_axes=np.empty(n_nodes + 1, dtype=np.int64),
        at=np.empty(n_nodes + 1, dtype=np.int64),
        after=np.empty((n_nodes + 1, words), dtype=np.uint64),
        part=np.empty((2, n_nodes + 1), dtype=np.int64),
        rate=np.empty((n_nodes + 1, 2)),
        home=np.empty(n_nodes + 1, dtype=np.int64),
        done=np.empty(n_nodes + 1, dtype=np.int64),
        converted=np.empty((3, words), dtype=np.uint64),
        picks=np.empty((2, 2 * n_nodes + 2), dtype=np.int64),
        counts=np.zeros(8, dtype=np.int64),
        cost=np.zeros(2),
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
    """Whether the mask has no bit but that of the item."""
    union = NONE
    for w in range(words):
        rest = mask[row, w]
        if w == item >> 6:
            rest &= ~(ONE << np.uint64(item & 63))
        union |= rest
    return union == NONE


@compiled(inline=True)
def _size(mask: MaskArray, row: int, words: int) -> int:
    total = 0
    for w in range(words):
        total += _count(mask[row, w])
    return total


@compiled()
def _gather(
    node: int, words: int, left_in: MaskArray, left_out: MaskArray, tree: Tree
) -> tuple[int, float]:
    """List the tables that finishing an item merges, the smallest first, after their arrows.

    Returns
    -------
    n_part, cost
    """
    mask, after, part = tree.mask, tree.after, tree.part
    n_part = 0
    cost = 0.0
    word, bit = node >> 6, ONE << np.uint64(node & 63)
    for k in range(tree.counts[N_LIVE]):
        t = tree.live[k]
        touches = mask[t, word] & bit
        for w in range(words):
            touches |= mask[t, w] & left_in[node, w]
        if touches == NONE:
            continue
        arrows = 0
        for w in range(words):
            after[t, w] = mask[t, w]
        for w in range(words):
            parents = mask[t, w] & left_in[node, w]
            while parents != NONE:
                p = _lowest(parents) + 64 * w
                parents &= parents - ONE
                arrows += 1
                if _only(left_out, p, node, words):
                    _clear(after, t, p)
        if arrows > 0:
            after[t, word] |= bit
        size = _size(after, t, words)
        cost += 0.75 * arrows * 2.0**size
        i = n_part
        while i > 0 and part[1, i - 1] > size:
            part[0, i], part[1, i] = part[0, i - 1], part[1, i - 1]
            i -= 1
        part[0, i], part[1, i] = t, size
        n_part += 1
    return n_part, cost


@compiled()
def _rate(node: int, words: int, left_in: MaskArray, left_out: MaskArray, tree: Tree) -> None:
    """Score finishing a node: axes of the table that results, entries touched; -1: not yet."""
    rate, mask, converted = tree.rate, tree.mask, tree.converted
    word, bit = node >> 6, ONE << np.uint64(node & 63)
    if converted[0, word] & bit != NONE:
        home = tree.home[node]
        total = 0
        opens = 0
        for w in range(words):
            here = mask[home, w] if home >= 0 else NONE
            total += _count(here | left_out[node, w])
            opens += _count(left_out[node, w] & ~here)
        if home < 0:
            total += 1
        rate[node, 0] = total - 1
        rate[node, 1] = 2.0 ** (total - 1 if opens > 0 else total)
        return
    for w in range(words):
        if left_in[node, w] & ~converted[0, w] != NONE:
            rate[node, 0] = -1.0
            return
    n_part, cost = _gather(node, words, left_in, left_out, tree)
    joined = tree.converted[2]
    for w in range(words):
        joined[w] = NONE
    for k in range(n_part):
        t = tree.part[0, k]
        shared = 0
        both = 0
        for w in range(words):
            shared += _count(joined[w] & tree.after[t, w])
            joined[w] |= tree.after[t, w]
            both += _count(joined[w])
        if k > 0:
            cost += 1.5**shared * 2.0**both
    joined[word] |= bit
    total = 0
    for w in range(words):
        fresh = left_in[node, w]
        while fresh != NONE:
            p = _lowest(fresh) + 64 * w
            fresh &= fresh - ONE
            if tree.home[p] < 0:
                total += 1
        total += _count(joined[w])
    rate[node, 1] = cost + 2.0**total
    rate[node, 0] = total - 1 if _empty(left_out, node, words) else total


@compiled()
def _emit(what: int, a: int, b: int, t1: int, t2: int, cost: float, tree: Tree) -> None:
    k = tree.counts[N_OPS]
    tape = tree.tape
    tape[k, WHAT], tape[k, A], tape[k, B], tape[k, T1], tape[k, T2] = what, a, b, t1, t2
    tree.counts[N_OPS] = k + 1
    tree.cost[0] += cost


@compiled()
def _arrow(
    tail: int, head: int, t: int, words: int, left_in: MaskArray, left_out: MaskArray, tree: Tree
) -> None:
    """Apply one arrow to the table that holds its tail; drop the tail if that was its last."""
    mask = tree.mask
    size = 2.0 ** _size(mask, t, words)
    _clear(left_in, head, tail)
    _clear(left_out, tail, head)
    last = _empty(left_out, tail, words)
    if _has(mask, t, head):
        _emit(APPLY, tail, head, t, -1, 0.5 * size, tree)
        if last:
            _emit(DROP, tail, -1, t, -1, size, tree)
    elif last:
        _emit(MOVE, tail, head, t, -1, size, tree)
    else:
        _emit(FIRST, tail, head, t, -1, 2.0 * size, tree)
    _set(mask, t, head)
    if last:
        _clear(mask, t, tail)
        tree.done[tail] = 1
        tree.home[tail] = -1


@compiled()
def _open_root(node: int, t: int, words: int, tree: Tree) -> int:
    """Make the state of a root an axis of a table, or with t = -1 of a new one."""
    if t < 0:
        t = tree.counts[N_TABLES]
        tree.counts[N_TABLES] += 1
        tree.live[tree.counts[N_LIVE]] = t
        tree.counts[N_LIVE] += 1
        for w in range(words):
            tree.mask[t, w] = NONE
        _emit(ROOT, node, -1, t, -1, 2.0, tree)
    else:
        _emit(ROOT, node, -1, t, 1, 2.0 * 2.0 ** _size(tree.mask, t, words), tree)
    _set(tree.mask, t, node)
    tree.home[node] = t
    return t


@compiled()
def _join(t: int, u: int, words: int, tree: Tree) -> None:
    """Join table u to table t."""
    mask = tree.mask
    shared = 0
    both = 0
    for w in range(words):
        shared += _count(mask[t, w] & mask[u, w])
        mask[t, w] |= mask[u, w]
        both += _count(mask[t, w])
    _emit(JOIN, -1, -1, t, u, 1.5**shared * 2.0**both, tree)
    n_live = tree.counts[N_LIVE]
    for k in range(n_live):
        if tree.live[k] == u:
            tree.live[k] = tree.live[n_live - 1]
            break
    tree.counts[N_LIVE] = n_live - 1


@compiled()
def _finish_state(
    node: int, words: int, left_in: MaskArray, left_out: MaskArray, tree: Tree
) -> None:
    """Apply all remaining arrows of a converted cause, and drop it."""
    mask, changed = tree.mask, tree.converted[1]
    t = tree.home[node]
    if t < 0:
        t = _open_root(node, -1, words, tree)
    for w in range(words):
        changed[w] |= mask[t, w] | left_out[node, w]
    for here in (True, False):
        for w in range(words):
            heads = left_out[node, w]
            while heads != NONE:
                head = _lowest(heads) + 64 * w
                heads &= heads - ONE
                if _has(mask, t, head) == here:
                    _arrow(node, head, t, words, left_in, left_out, tree)


@compiled()
def _finish_item(
    node: int, words: int, left_in: MaskArray, left_out: MaskArray, tree: Tree
) -> None:
    """Apply all remaining arrows to a node whose parents are converted; convert or close it."""
    mask, changed = tree.mask, tree.converted[1]
    for w in range(words):
        changed[w] |= left_in[node, w]
    n_part, _ = _gather(node, words, left_in, left_out, tree)
    for k in range(n_part):
        t = tree.part[0, k]
        for w in range(words):
            changed[w] |= mask[t, w]
        # parents that are done with this arrow first
        for last in (True, False):
            for w in range(words):
                parents = mask[t, w] & left_in[node, w]
                while parents != NONE:
                    p = _lowest(parents) + 64 * w
                    parents &= parents - ONE
                    if _only(left_out, p, node, words) == last:
                        _arrow(p, node, t, words, left_in, left_out, tree)
    t = -1
    for k in range(n_part):
        if k == 0:
            t = tree.part[0, 0]
        else:
            _join(t, tree.part[0, k], words, tree)
    for w in range(words):
        fresh = left_in[node, w]
        while fresh != NONE:
            p = _lowest(fresh) + 64 * w
            fresh &= fresh - ONE
            t = _open_root(p, t, words, tree)
            _arrow(p, node, t, words, left_in, left_out, tree)
    size = 2.0 ** _size(mask, t, words)
    if _empty(left_out, node, words):
        _emit(CLOSE, node, -1, t, -1, size, tree)
        _clear(mask, t, node)
        tree.done[node] = 1
    else:
        _emit(CONVERT, node, -1, t, -1, size, tree)
        _set(tree.converted, 0, node)
    for w in range(words):
        states = mask[t, w] & tree.converted[0, w]
        changed[w] |= mask[t, w]
        while states != NONE:
            tree.home[_lowest(states) + 64 * w] = t
            states &= states - ONE


@compiled()
def order_tree(noise: float, seed: int, given: bool, plan: PlanArrays, tree: Tree) -> None:
    """Write the tape: always finish the node that leaves the smallest table.

    With `given`, finish the nodes in the order of ``picks[1]`` instead.
    """
    n_core = plan.counts[N_CORE]
    words = (n_core + 63) // 64
    left_in, left_out = plan.left_in, plan.left_out
    counts, done, rate = tree.counts, tree.done, tree.rate
    converted, changed = tree.converted[0], tree.converted[1]
    for w in range(words):
        converted[w] = NONE
        changed[w] = ~NONE
    for i in range(n_core):
        done[i] = 0
        tree.home[i] = -1
        for w in range(words):
            left_in[i, w] = plan.into[i, w]
            left_out[i, w] = plan.out[i, w]
        if _empty(left_in, i, words):
            _set(tree.converted, 0, i)
    counts[N_OPS] = 0
    counts[N_LIVE] = 0
    counts[N_TABLES] = 0
    tree.cost[0] = 0.0
    random = np.uint64(seed) * np.uint64(2654435761) + np.uint64(12345)
    n_picks = 0
    while True:
        best = -1
        if given:
            if n_picks < counts[N_BEST]:
                best = tree.picks[1, n_picks]
        else:
            best_first, best_second = 0.0, 0.0
            for node in range(n_core):
                if done[node] == 1:
                    continue
                stale = changed[node >> 6] >> np.uint64(node & 63) & ONE
                for w in range(words):
                    stale |= left_in[node, w] & changed[w]
                if stale != NONE:
                    _rate(node, words, left_in, left_out, tree)
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
        tree.picks[0, n_picks] = best
        n_picks += 1
        for w in range(words):
            changed[w] = NONE
        changed[best >> 6] |= ONE << np.uint64(best & 63)
        if _has(tree.converted, 0, best):
            _finish_state(best, words, left_in, left_out, tree)
        else:
            _finish_item(best, words, left_in, left_out, tree)
    while counts[N_LIVE] > 1:
        _join(tree.live[0], tree.live[counts[N_LIVE] - 1], words, tree)
    counts[N_PICKS] = n_picks


@compiled()
def lay_out(keep_all: bool, plan: PlanArrays, tree: Tree) -> None:
    """Give axes their positions and tables their places; adds the reorderings that joins need.

    With `keep_all` no operation writes where it reads, so that all derivatives can be formed.
    """
    counts, n_axes, axes, at, extra = tree.counts, tree.n_axes, tree.axes, tree.at, tree.extra
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
                n_extra += n
                at[reordered] = end
                end += np.int64(1) << min(n, 48)
                for i in range(n):
                    axes[tree.part.shape[1] - 1, i] = axes[reordered, extra[strides + i]]
                for i in range(n):
                    axes[reordered, i] = axes[tree.part.shape[1] - 1, i]
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
                    axes[tree.part.shape[1] - 1, i] = axes[first, i]
                for i in range(high):
                    axes[tree.part.shape[1] - 1, low + shared + i] = axes[second, shared + i]
                for i in range(n):
                    axes[t, i] = axes[tree.part.shape[1] - 1, i]
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


PER_ENTRY = 4e-3
"""Microseconds per entry touched, forward and reverse together, on a current core."""

PER_ORDER = 30.0
"""Microseconds that one more order takes."""


@compiled()
def _worth_trying(cost: float) -> int:
    """How many more orders to try: about a fifth of the time that the row itself will take."""
    return min(100, np.int64(min(1e9, cost) * 0.2 * PER_ENTRY / PER_ORDER))


@compiled()
def _save(tree: Tree) -> None:
    n = tree.counts[N_PICKS]
    tree.picks[1, :n] = tree.picks[0, :n]
    tree.counts[N_BEST] = n
    tree.cost[1] = tree.cost[0]


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
    tries = _worth_trying(tree.cost[0])
    if tries > 0:
        _save(tree)
        attempt = 1
        newest = True
        while attempt <= tries:
            order_tree(0.5 + 0.5 * (attempt % 4), attempt, False, plan, tree)
            newest = tree.cost[0] < tree.cost[1]
            if newest:
                _save(tree)
                tries = min(tries, attempt + _worth_trying(tree.cost[0]))
            attempt += 1
        if not newest:
            order_tree(0.0, 0, True, plan, tree)
    if tree.cost[0] >= 2.0**MOST_AXES:
        tree.counts[WIDTH] = min(1000, np.int64(math.log2(tree.cost[0])))
        tree.counts[STATES] = np.int64(1) << MOST_AXES
    else:
        lay_out(keep_all, plan, tree)
