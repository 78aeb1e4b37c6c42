"""Plan one row: which nodes matter, what folds away, and the order of the positive sweep.

A noisy-OR decomposes over its arrows: each parent that is on switches the child on by itself. So
an arrow needs no more than its two ends at hand, and a vector over the subsets of *open* nodes is
carried through a sequence of operations, each on one or two of the open nodes. How many have to
be open at once is the vertex separation of the graph of arrows, the parents of a node being
complete before its own arrows are applied [1]_ [2]_.

Before that, everything that hangs on the graph by a single arrow is folded into the node it hangs
on, as in a polytree [3]_; only the 2-core of the graph is left for the vector.

References
----------
.. [1] Díez FJ, Galán SF. Efficient computation for the noisy MAX. Int J Intell Syst 2003.
.. [2] Zhang NL, Poole D. Exploiting causal independence in Bayesian network inference. JAIR 1996.
.. [3] Pearl J. Probabilistic reasoning in intelligent systems. Morgan Kaufmann 1988, chapter 4.
"""
# To a checker, numba intrinsics still have the arguments of their generators, and
# numpy integers are no int.
# mypy: disable-error-code="assignment,arg-type,call-arg,var-annotated"

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from twitchdx.inference.compiling import compiled
from twitchdx.inference.structure import FloatArray, IntArray

BoolArray: TypeAlias = NDArray[np.bool_]
MaskArray: TypeAlias = NDArray[np.uint64]

# What a node is to one row of evidence.
UNUSED = 0  # unknown and without observed descendants (a barren cause), or an unknown finding
ABSENT = 1  # observed absent: one factor per parent
PRESENT = 2  # observed present, or soft evidence on a finding
SWEPT = 3  # a cause that is summed over

# Folds, of a node that is connected by one arrow or none.
CONSTANT = 0  # no arrow: a number
INTO_PARENT = 1  # its only arrow comes from `into`: two weights of the parent
INTO_CHILD = 2  # its only arrow goes to `into`: joins what switches the child on by itself

# Operations on the vector. A bit is "switched on so far" up to CONVERT, the node's state after.
ROOT = 0  # a: a cause without parents left, opened with its own probability
FIRST = 1  # a -> b: b is opened (off) and its first arrow applied
APPLY = 2  # a -> b: where a is on, b is switched on with the arrow's strength
CONVERT = 3  # a: all arrows to it are applied; its own probability and weights come in
FORGET = 4  # a: all arrows out of it are applied; its bit is summed out
CLOSE = 5  # a: CONVERT and FORGET at once, of a node without arrows out

ONE = np.uint64(1)
NONE = np.uint64(0)


class PlanArrays(NamedTuple):
    """A plan, as arrays that are filled again for every row (numba passes them by name)."""

    kind: IntArray  # (N,) UNUSED, ABSENT, PRESENT, SWEPT
    n_parents: IntArray  # (N,) swept parents of each relevant node
    touch_start: IntArray  # (C + 1,) of a cause
    touch: IntArray  # (arrows,) nodes that a swept cause points to, absent ones left out
    absent: IntArray  # (N,) nodes observed absent
    # folds, in their order
    fold_kind: IntArray  # (N,)
    fold_node: IntArray  # (N,)
    fold_into: IntArray  # (N,)
    # operations
    op: IntArray  # (ops,) code
    a: IntArray  # (ops,) node
    b: IntArray  # (ops,) node of an arrow's head, else -1
    a_at: IntArray  # (ops,) position of the bit of a
    b_at: IntArray  # (ops,) position of the bit of b
    width: IntArray  # (ops + 1,) bits open before each operation
    # scratch of the fold and of the orderings
    degree_in: IntArray  # (N,)
    degree_out: IntArray  # (N,)
    folded: IntArray  # (N,) 1 where folded
    queue: IntArray  # (N,)
    core: IntArray  # (N,) nodes of the core
    place: IntArray  # (N,) place of a node in the core
    into: MaskArray  # (N, words) arrows of the core, by head
    out: MaskArray  # (N, words) and by tail
    left_in: MaskArray  # (N, words) arrows not yet applied
    left_out: MaskArray  # (N, words)
    touched: MaskArray  # (N, words) nodes that finishing a node touches
    masks: MaskArray  # (4, words)
    score: FloatArray  # (N,)
    state: IntArray  # (N,) 0 closed, 1 open, 2 done
    best: IntArray  # (3 * ops,) the best order so far
    counts: IntArray  # (8,) see below
    cost: FloatArray  # (2,) entries touched by the operations: of this order, of the best


# places in `counts`
N_FOLDS, N_ABSENT, WIDTH, STATES, SWEEP_PLANNED, N_OPS, N_CORE, ALL_STATES = range(8)


def new_plan(n_causes: int, n_nodes: int, n_arrows: int) -> PlanArrays:
    """Allocate an empty plan."""
    n_ops = n_arrows + 2 * n_nodes + 1
    words = (n_nodes + 63) // 64

    def ints(size: int) -> IntArray:
        return np.zeros(size, dtype=np.int64)

    def masks(rows: int) -> MaskArray:
        return np.zeros((rows, words), dtype=np.uint64)

    return PlanArrays(
        kind=ints(n_nodes),
        n_parents=ints(n_nodes),
        touch_start=ints(n_causes + 1),
        touch=ints(n_arrows),
        absent=ints(n_nodes),
        fold_kind=ints(n_nodes),
        fold_node=ints(n_nodes),
        fold_into=ints(n_nodes),
        op=ints(n_ops),
        a=ints(n_ops),
        b=ints(n_ops),
        a_at=ints(n_ops),
        b_at=ints(n_ops),
        width=ints(n_ops + 1),
        degree_in=ints(n_nodes),
        degree_out=ints(n_nodes),
        folded=ints(n_nodes),
        queue=ints(n_arrows + n_nodes),
        core=ints(n_nodes),
        place=ints(n_nodes),
        into=masks(n_nodes),
        out=masks(n_nodes),
        left_in=masks(n_nodes),
        left_out=masks(n_nodes),
        touched=masks(n_nodes),
        masks=masks(4),
        score=np.zeros(n_nodes),
        state=ints(n_nodes),
        best=ints(3 * n_ops),
        counts=ints(8),
        cost=np.zeros(2),
    )


@intrinsic
def _lowest(typing: Any, mask: Any) -> Any:
    """Index of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], context.get_constant(types.boolean, True))

    return types.int64(types.uint64), generate


@intrinsic
def _count(typing: Any, mask: Any) -> Any:
    """Count the bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


@compiled()
def classify(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    plan: PlanArrays,
) -> None:
    """Find the nodes that matter, and which of them each swept cause points to.

    P(evidence) does not depend on a barren cause (without observed descendants, not observed). It
    is swept all the same if its own posterior is `wanted` and several of its parents are not
    observed, or if it has parents and is itself the parent of such a wanted cause.
    """
    n_causes = order.shape[0]
    n_nodes = ratios.shape[0]
    kind, n_parents = plan.kind, plan.n_parents
    n_absent = 0
    kind[:n_causes] = UNUSED
    for node in range(n_causes, n_nodes):
        ratio = ratios[node]
        if ratio == 1.0:
            kind[node] = UNUSED
            n_parents[node] = 0
            continue
        if ratio == 0.0:
            kind[node] = ABSENT
            plan.absent[n_absent] = node
            n_absent += 1
        else:
            kind[node] = PRESENT
        for k in range(parent_start[node], parent_start[node + 1]):
            kind[parents[k]] = SWEPT
    for step in range(n_causes - 1, -1, -1):
        node = order[step]
        ratio = ratios[node]
        begin, end = parent_start[node], parent_start[node + 1]
        if ratio == 0.0:
            kind[node] = ABSENT
            plan.absent[n_absent] = node
            n_absent += 1
        elif ratio == np.inf:
            kind[node] = PRESENT
        elif ratio != 1.0:
            kind[node] = SWEPT
        if kind[node] == UNUSED:
            if not wanted[node]:
                continue
            hidden = 0
            for k in range(begin, end):
                if ratios[parents[k]] != 0.0 and ratios[parents[k]] != np.inf:
                    hidden += 1
            if hidden > 1:
                kind[node] = SWEPT
        for k in range(begin, end):
            parent = parents[k]
            if kind[node] != UNUSED or (
                parent_start[parent + 1] > parent_start[parent] and ratios[parent] == 1.0
            ):
                kind[parent] = SWEPT
    n_touch = plan.touch_start
    for cause in range(n_causes + 1):
        n_touch[cause] = 0
    for node in range(n_nodes):
        if kind[node] == UNUSED:
            continue
        count = 0
        for k in range(parent_start[node], parent_start[node + 1]):
            if kind[parents[k]] == SWEPT:
                count += 1
                if kind[node] != ABSENT:
                    n_touch[parents[k] + 1] += 1
        n_parents[node] = count
    for cause in range(n_causes):
        n_touch[cause + 1] += n_touch[cause]
    fill = plan.degree_out
    for cause in range(n_causes):
        fill[cause] = n_touch[cause]
    for node in range(n_nodes):
        if kind[node] >= PRESENT and n_parents[node] > 0:
            for k in range(parent_start[node], parent_start[node + 1]):
                parent = parents[k]
                if kind[parent] == SWEPT:
                    plan.touch[fill[parent]] = node
                    fill[parent] += 1
    plan.counts[N_ABSENT] = n_absent


@compiled()
def fold(parent_start: IntArray, parents: IntArray, n_causes: int, plan: PlanArrays) -> None:
    """List what hangs on the graph by one arrow or none, outermost first; the rest is the core."""
    kind, folded = plan.kind, plan.folded
    degree_in, degree_out = plan.degree_in, plan.degree_out
    queue = plan.queue
    n_nodes = kind.shape[0]
    n_folds = 0
    n_queue = 0
    for node in range(n_nodes):
        if kind[node] == UNUSED:
            folded[node] = 1
            continue
        folded[node] = 0
        degree_in[node] = 0 if kind[node] == ABSENT else plan.n_parents[node]
        degree_out[node] = 0
        if node < n_causes and kind[node] == SWEPT:
            degree_out[node] = plan.touch_start[node + 1] - plan.touch_start[node]
        if degree_in[node] + degree_out[node] <= 1:
            queue[n_queue] = node
            n_queue += 1
    head = 0
    while head < n_queue:
        node = queue[head]
        head += 1
        if folded[node] == 1:
            continue
        folded[node] = 1
        other = -1
        what = CONSTANT
        if degree_in[node] == 1:
            what = INTO_PARENT
            for k in range(parent_start[node], parent_start[node + 1]):
                if kind[parents[k]] == SWEPT and folded[parents[k]] == 0:
                    other = parents[k]
            degree_out[other] -= 1
        elif degree_out[node] == 1:
            what = INTO_CHILD
            for k in range(plan.touch_start[node], plan.touch_start[node + 1]):
                if folded[plan.touch[k]] == 0:
                    other = plan.touch[k]
            degree_in[other] -= 1
        plan.fold_kind[n_folds] = what
        plan.fold_node[n_folds] = node
        plan.fold_into[n_folds] = other
        n_folds += 1
        if other >= 0 and degree_in[other] + degree_out[other] <= 1:
            queue[n_queue] = other
            n_queue += 1
    plan.counts[N_FOLDS] = n_folds
    n_core = 0
    for node in range(n_nodes):
        if folded[node] == 0:
            plan.place[node] = n_core
            plan.core[n_core] = node
            n_core += 1
    words = (n_core + 63) // 64
    for i in range(n_core):
        for w in range(words):
            plan.into[i, w] = NONE
            plan.out[i, w] = NONE
    for i in range(n_core):
        node = plan.core[i]
        for k in range(parent_start[node], parent_start[node + 1]):
            parent = parents[k]
            if kind[parent] == SWEPT and folded[parent] == 0:
                j = plan.place[parent]
                plan.into[i, j >> 6] |= ONE << np.uint64(j & 63)
                plan.out[j, i >> 6] |= ONE << np.uint64(i & 63)
    plan.counts[N_CORE] = n_core


@compiled(inline=True)
def _empty(mask: MaskArray, row: int, words: int) -> bool:
    for w in range(words):  # noqa: SIM110 (numba compiles no generator)
        if mask[row, w] != NONE:
            return False
    return True


@compiled(inline=True)
def _only(mask: MaskArray, row: int, item: int, words: int) -> bool:
    """Whether the mask has no bit but that of the item."""
    for w in range(words):
        rest = mask[row, w]
        if w == item >> 6:
            rest &= ~(ONE << np.uint64(item & 63))
        if rest != NONE:
            return False
    return True


@compiled()
def _closure(node: int, words: int, plan: PlanArrays) -> None:
    """Set masks[0] to the node and all ancestors that are not yet converted, [1] to parents."""
    closure, above, left_in = plan.masks[0], plan.masks[1], plan.left_in
    for w in range(words):
        closure[w] = NONE
        above[w] = left_in[node, w]
    closure[node >> 6] |= ONE << np.uint64(node & 63)
    again = True
    while again:
        again = False
        for w in range(words):
            fresh = above[w] & ~closure[w]
            while fresh != NONE:
                item = _lowest(fresh)
                fresh &= fresh - ONE
                item += 64 * w
                if not _empty(left_in, item, words):
                    closure[w] |= ONE << np.uint64(item & 63)
                    for x in range(words):
                        above[x] |= left_in[item, x]
                    again = True


@compiled()
def _rate(node: int, n_open: int, words: int, plan: PlanArrays) -> None:
    """Score a node by the bits that finishing it leaves open; the fewer the better."""
    left_in, left_out, touched = plan.left_in, plan.left_out, plan.touched
    closure, above, is_open = plan.masks[0], plan.masks[1], plan.masks[2]
    _closure(node, words, plan)
    new = 0
    for w in range(words):
        touched[node, w] = closure[w] | above[w] | left_out[node, w]
        new += _count(touched[node, w] & ~is_open[w])
    closes = 1
    for w in range(words):
        rest = touched[node, w]
        if w == node >> 6:
            rest &= ~(ONE << np.uint64(node & 63))
        while rest != NONE:
            bit = rest & (~rest + ONE)
            item = _lowest(rest) + 64 * w
            rest &= rest - ONE
            if (closure[w] & bit) != NONE or _empty(left_in, item, words):
                done = 1
                for x in range(words):
                    if left_out[item, x] & ~closure[x] != NONE:
                        done = 0
                closes += done
            elif _empty(left_out, item, words) and _only(left_in, item, node, words):
                closes += 1
    plan.score[node] = 64.0 * (new - closes) + new


@compiled()
def order_core(noise: float, seed: int, plan: PlanArrays) -> None:
    """Choose an order: always finish the node that leaves the fewest bits open.

    Finishing a node applies all arrows to it, all to those of its parents that still wait for
    some, and all arrows out of it. Ties go to the node that opens fewer bits.
    """
    n_core = plan.counts[N_CORE]
    words = (n_core + 63) // 64
    left_in, left_out, state = plan.left_in, plan.left_out, plan.state
    is_open, changed = plan.masks[2], plan.masks[3]
    for w in range(words):
        is_open[w] = NONE
        changed[w] = ~NONE
    for i in range(n_core):
        state[i] = 0
        for w in range(words):
            left_in[i, w] = plan.into[i, w]
            left_out[i, w] = plan.out[i, w]
            plan.touched[i, w] = ~NONE
    random = np.uint64(seed) * np.uint64(2654435761) + np.uint64(12345)
    n_ops = 0
    n_open = 0
    n_done = 0
    while n_done < n_core:
        best = -1
        best_score = 0.0
        for node in range(n_core):
            if state[node] == 2:
                continue
            stale = False
            for w in range(words):
                if plan.touched[node, w] & changed[w] != NONE:
                    stale = True
            if stale:
                _rate(node, n_open, words, plan)
            score = plan.score[node]
            if noise > 0.0:
                random = random * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                score += noise * float(random >> np.uint64(40)) / 16777216.0
            if best < 0 or score < best_score:
                best, best_score = node, score
        _closure(best, words, plan)
        closure = plan.masks[0]
        for w in range(words):
            changed[w] = NONE
        # list the arrows to apply, then apply them one at a time
        n_arrows = 0
        queue = plan.queue  # head * N + tail; the head first
        for w in range(words):
            rest = closure[w]
            while rest != NONE:
                head = _lowest(rest) + 64 * w
                rest &= rest - ONE
                for x in range(words):
                    tails = left_in[head, x]
                    while tails != NONE:
                        queue[n_arrows] = head * n_core + _lowest(tails) + 64 * x
                        n_arrows += 1
                        tails &= tails - ONE
        for w in range(words):
            heads = left_out[best, w]
            while heads != NONE:
                head = _lowest(heads) + 64 * w
                heads &= heads - ONE
                if closure[w] & (ONE << np.uint64(head & 63)) == NONE:
                    queue[n_arrows] = head * n_core + best
                    n_arrows += 1
        while n_arrows > 0:
            pick = -1
            pick_score = 0
            for k in range(n_arrows):
                head, tail = queue[k] // n_core, queue[k] % n_core
                if not _empty(left_in, tail, words):
                    continue
                opens = (1 if state[tail] == 0 else 0) + (1 if state[head] == 0 else 0)
                closes = 1 if _only(left_out, tail, head, words) else 0
                if _only(left_in, head, tail, words) and _empty(left_out, head, words):
                    closes += 1
                value = 8 * (opens - closes) + opens
                if pick < 0 or value < pick_score:
                    pick, pick_score = k, value
            head, tail = queue[pick] // n_core, queue[pick] % n_core
            n_arrows -= 1
            queue[pick] = queue[n_arrows]
            head_word, tail_word = head >> 6, tail >> 6
            head_bit, tail_bit = ONE << np.uint64(head & 63), ONE << np.uint64(tail & 63)
            changed[head_word] |= head_bit
            changed[tail_word] |= tail_bit
            if state[tail] == 0:
                n_ops = _emit(n_ops, ROOT, tail, -1, plan)
                state[tail] = 1
                is_open[tail_word] |= tail_bit
            n_ops = _emit(n_ops, APPLY if state[head] == 1 else FIRST, tail, head, plan)
            state[head] = 1
            is_open[head_word] |= head_bit
            left_in[head, tail_word] &= ~tail_bit
            left_out[tail, head_word] &= ~head_bit
            if _empty(left_out, tail, words):
                n_ops = _emit(n_ops, FORGET, tail, -1, plan)
                state[tail] = 2
                is_open[tail_word] &= ~tail_bit
                n_done += 1
            if _empty(left_in, head, words):
                if _empty(left_out, head, words):
                    n_ops = _emit(n_ops, CLOSE, head, -1, plan)
                    state[head] = 2
                    is_open[head_word] &= ~head_bit
                    n_done += 1
                else:
                    n_ops = _emit(n_ops, CONVERT, head, -1, plan)
    plan.counts[N_OPS] = n_ops


@compiled(inline=True)
def _emit(n_ops: int, what: int, a: int, b: int, plan: PlanArrays) -> int:
    plan.op[n_ops] = what
    plan.a[n_ops] = plan.core[a]
    plan.b[n_ops] = plan.core[b] if b >= 0 else -1
    return n_ops + 1


@compiled()
def lay_out(plan: PlanArrays) -> None:
    """Give every open node the position of its bit: a new one on top. Count the cost."""
    n_ops = plan.counts[N_OPS]
    at = plan.place  # scratch from here on
    opened = plan.queue
    n_open = 0
    greatest = 0
    states = 1
    all_states = 1
    cost = 0.0
    for k in range(n_ops):
        what, a, b = plan.op[k], plan.a[k], plan.b[k]
        plan.width[k] = n_open
        size = np.int64(1) << min(n_open, 48)
        all_states += size
        if what == ROOT:
            at[a] = n_open
            opened[n_open] = a
            n_open += 1
            states += size
            cost += 2.0 * size
        elif what == FIRST:
            at[b] = n_open
            opened[n_open] = b
            n_open += 1
            cost += 2.0 * size
        elif what == APPLY:
            cost += 0.5 * size
        else:
            cost += size
            if what != FORGET:
                states += size
        plan.a_at[k] = at[a]
        plan.b_at[k] = at[b] if b >= 0 else -1
        if what in (FORGET, CLOSE):
            n_open -= 1
            for i in range(at[a], n_open):
                opened[i] = opened[i + 1]
                at[opened[i]] = i
        greatest = max(greatest, n_open)
    plan.width[n_ops] = n_open
    plan.counts[WIDTH] = greatest
    plan.counts[STATES] = states + (np.int64(1) << min(greatest, 48))
    plan.counts[ALL_STATES] = all_states + (np.int64(1) << min(greatest, 48))
    plan.cost[0] = cost


@compiled()
def find_core(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    plan: PlanArrays,
) -> None:
    """Classify and fold one row: what is left is the core."""
    classify(ratios, parent_start, parents, order, wanted, plan)
    fold(parent_start, parents, order.shape[0], plan)
    plan.counts[SWEEP_PLANNED] = 0


@compiled()
def plan_sweep(plan: PlanArrays) -> None:
    """Order and lay out the core of one row, unless that is done.

    The longer the row is predicted to take, the more orders are tried.
    """
    if plan.counts[SWEEP_PLANNED] == 1:
        return
    order_core(0.0, np.int64(0), plan)
    lay_out(plan)
    improve(plan)
    plan.counts[SWEEP_PLANNED] = 1


@compiled()
def improve(plan: PlanArrays) -> None:
    """Try more orders, as long as the row itself is predicted to take longer, and keep the best.

    The orders differ in how ties, and near ties, are broken.
    """
    per_order = PER_ORDER * float(plan.counts[N_CORE]) ** 2
    spent = per_order
    if spent > SHARE * PER_ENTRY * plan.cost[0]:
        return
    _save(plan)
    attempt = np.int64(1)
    while spent < SHARE * PER_ENTRY * plan.cost[1] and attempt < MOST_ORDERS:
        order_core(TIES[attempt % len(TIES)], attempt, plan)
        lay_out(plan)
        if plan.cost[0] < plan.cost[1]:
            _save(plan)
        spent += per_order
        attempt += 1
    _restore(plan)


PER_ENTRY = 1.5e-3
"""Microseconds per entry touched, forward and reverse together, on a current core."""

PER_ORDER = 0.03
"""Microseconds that one more order takes, per node of the core squared."""

SHARE = 0.5
"""Time spent on orders, of the time that the row is predicted to take."""

MOST_ORDERS = 1000

TIES = (20.0, 10.0, 40.0, 70.0)
"""How much a score is disturbed; a bit more left open counts 64."""


@compiled()
def _save(plan: PlanArrays) -> None:
    n_ops = plan.counts[N_OPS]
    plan.best[:n_ops] = plan.op[:n_ops]
    plan.best[n_ops : 2 * n_ops] = plan.a[:n_ops]
    plan.best[2 * n_ops : 3 * n_ops] = plan.b[:n_ops]
    plan.cost[1] = plan.cost[0]
    plan.counts[N_OPS] = n_ops


@compiled()
def _restore(plan: PlanArrays) -> None:
    n_ops = plan.counts[N_OPS]  # the same for every order
    plan.op[:n_ops] = plan.best[:n_ops]
    plan.a[:n_ops] = plan.best[n_ops : 2 * n_ops]
    plan.b[:n_ops] = plan.best[2 * n_ops : 3 * n_ops]
    lay_out(plan)
