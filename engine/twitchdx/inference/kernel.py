"""The positive sweep: exact P(evidence), every posterior and every derivative of one network.

It answers where the certified pass (see `certified`) would lose too many digits, and shares with
it the numbers of the nodes, the folds and what is made of the derivatives.

A vector is carried over the subsets of open nodes through the operations of a plan (see
`elimination`). Every term is positive, so nothing cancels however rare the evidence is, unlike
the alternating sum of Quickscore [1]_. The adjoint of the operations, run backwards, gives all
posteriors and all derivatives at the price of about two more passes [2]_.

Each relevant node has four numbers: with ``q`` nothing outside the vector switches it on, with
``p`` something does; ``off`` and ``on`` are the weights of all evidence that hangs on its state.

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
    ABSENT,
    APPLY,
    CLOSE,
    CONSTANT,
    CONVERT,
    FIRST,
    FORGET,
    INTO_CHILD,
    INTO_PARENT,
    N_ABSENT,
    N_FOLDS,
    N_OPS,
    PRESENT,
    ROOT,
    SWEPT,
    UNUSED,
    PlanArrays,
)
from twitchdx.inference.structure import FloatArray, IntArray
from twitchdx.inference.vector import (
    apply,
    convert,
    derive_arrow,
    dots_close,
    dots_convert,
    dots_root,
    open_first,
    open_root,
    reverse_apply,
    reverse_convert,
    reverse_first,
    reverse_root,
    reverse_sum_out,
    sum_out,
)

# A node that is on with a probability below this is stored with its "off" entries scaled down,
# so that both halves of the vector keep a comparable size and none underflows.
RARE = 2.0**-20
# A vector is scaled again when its sum leaves this range.
LITTLE, LARGE = 2.0**-60, 2.0**60

Q, P, OFF, ON = range(4)


class Work(NamedTuple):
    """Working memory of one row in one stratum."""

    own: FloatArray  # (N, 4) q, p, off, on of each node, before anything is folded into it
    node: FloatArray  # (N, 4) and after
    by: FloatArray  # (N, 4) derivatives of the scaled P(evidence) by `node`, later by `own`
    before: FloatArray  # (N, 2) per fold: the two numbers of `into` that it changes, before it
    scale: FloatArray  # (N + ops,) per fold, then per operation: its power of two
    fold_strength: FloatArray  # (N,) strength of the arrow that a fold uses
    strength: FloatArray  # (ops,) and an operation
    constant: FloatArray  # (N + 1,) numbers of the isolated nodes; the last: of the vector
    rest: FloatArray  # (N + 1,) product of all constants but one
    guess: FloatArray  # (N,) rough P(node on)
    tilt: FloatArray  # (N,) factor by which "off" entries are scaled while arrows are applied
    by_fold: FloatArray  # (N,) derivative by the strength of the arrow of a fold
    by_op: FloatArray  # (ops,) and of an operation
    start: IntArray  # (ops + 1,) where in `states` the vector before each operation starts
    states: FloatArray
    g: FloatArray  # (2 * widest,) adjoint, and room for the next
    on_alone: FloatArray  # (C,) weight `on` of a cause before its absent children's factors
    total: FloatArray  # (3,) P(evidence) scaled, log of the scale, the same before the core


class Derivatives(NamedTuple):
    """Derivatives of the scaled P(evidence) by every network parameter."""

    own: FloatArray  # (N,)
    weight: FloatArray  # (C, N)


def new_work(n_nodes: int, n_ops: int) -> Work:
    """Allocate working memory; vectors are attached by `with_states`."""

    def floats(size: int) -> FloatArray:
        return np.zeros(size)

    def fours() -> FloatArray:
        return np.zeros((n_nodes, 4))

    return Work(
        own=fours(),
        node=fours(),
        by=fours(),
        before=np.zeros((n_nodes, 2)),
        scale=floats(n_nodes + n_ops),
        fold_strength=floats(n_nodes),
        strength=floats(n_ops),
        constant=floats(n_nodes + 1),
        rest=floats(n_nodes + 1),
        guess=floats(n_nodes),
        tilt=floats(n_nodes),
        by_fold=floats(n_nodes),
        by_op=floats(n_ops),
        start=np.zeros(n_ops + 1, dtype=np.int64),
        states=floats(2),
        g=floats(2),
        on_alone=floats(n_nodes),
        total=floats(3),
    )


@compiled()
def with_states(work: Work, stored: int, widest: int) -> Work:
    """Return the same working memory with room for this many states."""
    return Work(
        work.own,
        work.node,
        work.by,
        work.before,
        work.scale,
        work.fold_strength,
        work.strength,
        work.constant,
        work.rest,
        work.guess,
        work.tilt,
        work.by_fold,
        work.by_op,
        work.start,
        np.empty(stored),
        np.empty(2 * widest),
        work.on_alone,
        work.total,
    )


@compiled(inline=True)
def _shift(value: float) -> int:
    """Power of two that brings a small positive value near 1; 0 for a moderate one."""
    if value <= 0.0 or (RARE < value < 2.0):
        return 0
    return min(1000, max(-1000, -math.frexp(value)[1]))


@compiled()
def prepare(
    own: FloatArray,
    weight: FloatArray,
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    plan: PlanArrays,
    work: Work,
) -> None:
    """Fill in the numbers of a plan for one stratum, and fold."""
    n_causes, n_nodes = weight.shape
    kind = plan.kind
    log_scale = 0.0
    twos = 0
    for index in range(n_nodes):
        node = order[index] if index < n_causes else index
        what = kind[node]
        if what == UNUSED:
            continue
        start = work.own[node]
        q, p = 1.0 - own[node], own[node]
        for k in range(parent_start[node], parent_start[node + 1]):
            parent = parents[k]
            if kind[parent] == PRESENT:
                q *= 1.0 - weight[parent, node]
                p += (1.0 - p) * weight[parent, node]
        start[Q], start[P] = q, p
        ratio = ratios[node]
        if what == ABSENT:
            start[OFF], start[ON] = 1.0, 0.0
        elif ratio == np.inf:
            start[OFF], start[ON] = 0.0, 1.0
        elif ratio > 1.0:
            start[OFF], start[ON] = 1.0 / ratio, 1.0
            log_scale += math.log(ratio)
        else:
            start[OFF], start[ON] = 1.0, ratio
        work.on_alone[node] = start[ON]
    for k in range(plan.counts[N_ABSENT]):
        node = plan.absent[k]
        for m in range(parent_start[node], parent_start[node + 1]):
            parent = parents[m]
            if kind[parent] == SWEPT:
                work.own[parent, ON] *= 1.0 - weight[parent, node]
    for node in range(n_nodes):
        if kind[node] != UNUSED:
            for i in range(4):
                work.node[node, i] = work.own[node, i]
    n_constants = 0
    for k in range(plan.counts[N_FOLDS]):
        n, into = plan.fold_node[k], plan.fold_into[k]
        what = plan.fold_kind[k]
        x = work.node[n]
        if what == CONSTANT:
            value = x[Q] * x[OFF] + x[P] * x[ON]
            shift = 0
            if value > 0.0:
                shift = -math.frexp(value)[1]
            work.scale[k] = 2.0 ** min(1000, shift)
            work.constant[n_constants] = value * work.scale[k]
            n_constants += 1
            twos += min(1000, shift)
            continue
        y = work.node[into]
        s = weight[into, n] if what == INTO_PARENT else weight[n, into]
        work.fold_strength[k] = s
        if what == INTO_PARENT:
            work.before[k, 0], work.before[k, 1] = y[OFF], y[ON]
            by_off = x[Q] * x[OFF] + x[P] * x[ON]
            off = y[OFF] * by_off
            on = y[ON] * (s * (x[Q] + x[P]) * x[ON] + (1.0 - s) * by_off)
            shift = _shift(max(off, on))
            scale = 2.0**shift
            y[OFF], y[ON] = scale * off, scale * on
        else:
            work.before[k, 0], work.before[k, 1] = y[Q], y[P]
            a, b = x[Q] * x[OFF], x[P] * x[ON]
            keep, switch = a + b * (1.0 - s), b * s
            q = y[Q] * keep
            p = y[P] * (keep + switch) + y[Q] * switch
            shift = _shift(max(q, p))
            scale = 2.0**shift
            y[Q], y[P] = scale * q, scale * p
        twos += shift
        work.scale[k] = scale
    work.constant[n_constants] = 1.0
    work.total[2] = log_scale - twos * math.log(2.0)


@compiled()
def prepare_sweep(
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    plan: PlanArrays,
    work: Work,
) -> None:
    """Fill in what the operations of the sweep need beside the nodes' numbers."""
    n_causes, n_nodes = weight.shape
    kind = plan.kind
    # a rough P(node on), weighed by what hangs on it, says which nodes are rare
    for index in range(n_nodes):
        node = order[index] if index < n_causes else index
        if kind[node] < PRESENT or plan.folded[node] == 1:
            continue
        x = work.node[node]
        rough = x[P] / (x[Q] + x[P]) if x[Q] + x[P] > 0.0 else 0.0
        for k in range(parent_start[node], parent_start[node + 1]):
            parent = parents[k]
            if kind[parent] == SWEPT and plan.folded[parent] == 0:
                rough += work.guess[parent] * weight[parent, node]
        rough = min(1.0, rough)
        work.tilt[node] = 1.0
        if 0.0 < rough < RARE:
            work.tilt[node] = 2.0 ** max(-1000, math.frexp(rough)[1])
        on = rough * x[ON]
        total = on + (1.0 - rough) * x[OFF]
        work.guess[node] = on / total if total > 0.0 else 0.0
    for k in range(plan.counts[N_OPS]):
        if plan.b[k] >= 0:
            work.strength[k] = weight[plan.a[k], plan.b[k]]


@compiled(inline=True)
def _coefficients(
    what: int, node: int, numbers: FloatArray, tilt: FloatArray, scale: float
) -> tuple[float, float, float]:
    """Return off <- off, on <- off and on <- on of ROOT and CONVERT; CLOSE adds the first two."""
    x = numbers[node]
    if what == ROOT:
        return scale * x[Q] * x[OFF], scale * x[P] * x[ON], 0.0
    c = scale / tilt[node]
    return c * x[Q] * x[OFF], c * x[P] * x[ON], scale * (x[Q] + x[P]) * x[ON]


@compiled()
def forward(plan: PlanArrays, work: Work, keep_all: bool) -> None:
    """Run all operations; set ``total`` so that log P(evidence) = log(total[0]) + total[1].

    The vector before each operation that `reverse` needs is kept in ``states``; with `keep_all`
    that before every operation.
    """
    states, n_folds = work.states, plan.counts[N_FOLDS]
    states[0] = 1.0
    at = 0
    scale = 1.0
    twos = 0
    n_ops = plan.counts[N_OPS]
    for k in range(n_ops):
        what, a = plan.op[k], plan.a[k]
        size = 1 << plan.width[k]
        work.start[k] = at
        if keep_all and (what in (FIRST, APPLY, FORGET)):
            states[at + size : at + 2 * size] = states[at : at + size]
            at += size
        if what in (APPLY, FIRST):
            s = work.strength[k]
            tilt = work.tilt[plan.b[k]]
            if what == APPLY:
                apply(states, at, size, plan.a_at[k], plan.b_at[k], 1.0 - s, s / tilt)
            else:
                open_first(states, at, size, plan.a_at[k], tilt, tilt * (1.0 - s), s)
            continue
        work.scale[n_folds + k] = scale
        if what == FORGET:
            total = sum_out(states, at, at, size, plan.a_at[k], scale, scale)
        else:
            to = at + size
            off_off, off_on, on_on = _coefficients(what, a, work.node, work.tilt, scale)
            if what == ROOT:
                open_root(states, at, to, size, off_off, off_on)
            elif what == CONVERT:
                convert(states, at, to, size, plan.a_at[k], off_off, off_on, on_on)
            else:
                total = sum_out(states, at, to, size, plan.a_at[k], off_off + off_on, on_on)
            at = to
            if what != CLOSE:
                scale = 1.0
                continue
        scale = 1.0
        if total > 0.0 and (total < LITTLE or total > LARGE):
            shift = min(1000, max(-1000, -math.frexp(total)[1]))
            scale = 2.0**shift
            twos += shift
    work.start[n_ops] = at
    # the last scale, which no operation has taken, counts with the constants
    work.scale[n_folds + n_ops] = scale
    n_constants = count_constants(plan)
    work.constant[n_constants] = states[at] * scale
    combine(n_constants + 1, twos, work)


@compiled()
def count_constants(plan: PlanArrays) -> int:
    """Nodes that were folded into a number."""
    count = 0
    for k in range(plan.counts[N_FOLDS]):
        if plan.fold_kind[k] == CONSTANT:
            count += 1
    return count


@compiled()
def combine(count: int, twos: int, work: Work) -> None:
    """Multiply the constants, and all but one of them; `twos` powers of two are in them."""
    product = 1.0
    for k in range(count):
        work.rest[k] = product
        product *= work.constant[k]
    work.total[0] = product
    product = 1.0
    for k in range(count - 1, -1, -1):
        work.rest[k] *= product
        product *= work.constant[k]
        if work.total[0] > 0.0:
            work.rest[k] = work.total[0] / work.constant[k]
    work.total[1] = work.total[2] - twos * math.log(2.0)


@compiled()
def reverse(plan: PlanArrays, work: Work, derive: bool) -> None:
    """Carry the adjoint back over all operations and set ``by`` of the core."""
    op, op_a, op_b, a_at, b_at, width = plan.op, plan.a, plan.b, plan.a_at, plan.b_at, plan.width
    strength, tilts, scales = work.strength, work.tilt, work.scale
    states, start, node, by, g = work.states, work.start, work.node, work.by, work.g
    by_op = work.by_op
    n_folds, n_ops = plan.counts[N_FOLDS], plan.counts[N_OPS]
    room = g.shape[0] // 2
    rest = work.rest[count_constants(plan)]
    at = 0
    g[0] = scales[n_folds + n_ops]
    for k in range(n_ops - 1, -1, -1):
        what, a = op[k], op_a[k]
        size = 1 << width[k]
        if what == APPLY:
            s, tilt = strength[k], tilts[op_b[k]]
            if derive:
                by_op[k] = rest * derive_arrow(
                    states, start[k], g, at, size, a_at[k], 1 << b_at[k], 1.0 / tilt, 1.0
                )
            reverse_apply(g, at, size, a_at[k], b_at[k], 1.0 - s, s / tilt)
            continue
        if what == FIRST:
            s, tilt = strength[k], tilts[op_b[k]]
            if derive:
                by_op[k] = rest * derive_arrow(
                    states, start[k], g, at, size, a_at[k], size, 1.0, tilt
                )
            reverse_first(g, at, size, a_at[k], tilt, tilt * (1.0 - s), s)
            continue
        scale = scales[n_folds + k]
        if what == FORGET:
            reverse_sum_out(g, at, room - at, size, a_at[k], scale, scale)
            at = room - at
            continue
        c = scale / tilts[a]
        off_off, off_on, on_on = _coefficients(what, a, node, tilts, scale)
        d_both = 0.0
        if what == ROOT:
            c = scale
            d_off, d_on = dots_root(states, start[k], g, at, size)
            reverse_root(g, at, size, off_off, off_on)
        elif what == CONVERT:
            d_off, d_on, d_both = dots_convert(states, start[k], g, at, size, a_at[k])
            reverse_convert(g, at, size, a_at[k], off_off, off_on, on_on)
        else:
            d_off, d_both = dots_close(states, start[k], g, at, size, a_at[k])
            d_on = d_off
            reverse_sum_out(g, at, room - at, size, a_at[k], off_off + off_on, on_on)
            at = room - at
        d_off *= c * rest
        d_on *= c * rest
        d_both *= scale * rest
        x, d = node[a], by[a]
        d[Q] = x[OFF] * d_off + x[ON] * d_both
        d[P] = x[ON] * (d_on + d_both)
        d[OFF] = x[Q] * d_off
        d[ON] = x[P] * d_on + (x[Q] + x[P]) * d_both


@compiled()
def unfold(plan: PlanArrays, work: Work, joint: FloatArray) -> None:
    """Set ``by`` of the folded nodes, from those they were folded into, and P(evidence, cause)."""
    by, node = work.by, work.node
    at = count_constants(plan)
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
    for cause in range(joint.shape[0]):
        if plan.kind[cause] == SWEPT:
            joint[cause] = work.own[cause, ON] * by[cause, ON]


@compiled()
def barren_posterior(
    cause: int,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
    value: float,
    joint: FloatArray,
) -> float:
    """P(cause on | evidence) of a cause without observed descendants.

    `joint` holds P(evidence, parent on) of its swept parent, if any; `value` is P(evidence) in
    the same unit.
    """
    by_swept = 0.0
    alone = own[cause]
    for k in range(parent_start[cause], parent_start[cause + 1]):
        parent = parents[k]
        s = weight[parent, cause]
        if plan.kind[parent] == SWEPT:
            by_swept = s * joint[parent]
        elif plan.kind[parent] == PRESENT:
            alone += (1.0 - alone) * s
        elif plan.kind[parent] == UNUSED:
            alone += (1.0 - alone) * s * own[parent]
    return min(1.0, alone + (1.0 - alone) * by_swept / value)


@compiled()
def finish_derivatives(
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
    work: Work,
    out: Derivatives,
) -> None:
    """Turn derivatives by the nodes' numbers into those by the network's own parameters."""
    n_nodes = weight.shape[1]
    kind, by = plan.kind, work.by
    for k in range(plan.counts[N_FOLDS]):
        n, into = plan.fold_node[k], plan.fold_into[k]
        if plan.fold_kind[k] == INTO_PARENT:
            out.weight[into, n] = work.by_fold[k]
        elif plan.fold_kind[k] == INTO_CHILD:
            out.weight[n, into] = work.by_fold[k]
    # strengths of swept causes on absent nodes: the other absent nodes' factors stay
    for k in range(plan.counts[N_ABSENT]):
        node = plan.absent[k]
        for i in range(parent_start[node], parent_start[node + 1]):
            parent = parents[i]
            if kind[parent] != SWEPT:
                continue
            others = work.on_alone[parent]
            for m in range(plan.counts[N_ABSENT]):
                if m != k:
                    others *= 1.0 - weight[parent, plan.absent[m]]
            out.weight[parent, node] = -others * by[parent, ON]
    # q = (1 - own) * prod(1 - strength) over observed-present parents, p = 1 - q
    for node in range(n_nodes):
        if kind[node] == UNUSED:
            continue
        by_q = by[node, Q] - by[node, P]
        all_others = 1.0
        for k in range(parent_start[node], parent_start[node + 1]):
            parent = parents[k]
            if kind[parent] != PRESENT:
                continue
            all_others *= 1.0 - weight[parent, node]
            others = 1.0 - own[node]
            for m in range(parent_start[node], parent_start[node + 1]):
                if m != k and kind[parents[m]] == PRESENT:
                    others *= 1.0 - weight[parents[m], node]
            out.weight[parent, node] = -by_q * others
        out.own[node] = -by_q * all_others
