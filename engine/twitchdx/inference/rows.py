"""Run plans over rows of evidence: one row in all strata, and many rows on threads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from twitchdx.inference.buckets import (
    HEAD,
    MOST_ORDERS,
    N_ARROWS,
    N_BUCKETS,
    N_CUT,
    PARENT,
    TAIL,
    WIDEST,
    Buckets,
    fill_buckets,
    new_buckets,
)
from twitchdx.inference.certified import (
    TOLERANCE,
    Scratch,
    backwards,
    forwards,
    new_scratch,
    with_tables,
)
from twitchdx.inference.compiling import compiled
from twitchdx.inference.conditioning import (
    MOST_CUT,
    STATES_PER_ENTRY,
    choose_cut,
    fits,
    settle,
    settle_smoothly,
)
from twitchdx.inference.elimination import (
    ALL_STATES,
    N_OPS,
    PRESENT,
    STATES,
    SWEEP_PLANNED,
    SWEPT,
    UNUSED,
    WIDTH,
    BoolArray,
    PlanArrays,
    find_core,
    new_plan,
    plan_sweep,
)
from twitchdx.inference.kernel import (
    Derivatives,
    Work,
    barren_posterior,
    combine,
    count_constants,
    finish_derivatives,
    forward,
    new_work,
    prepare,
    prepare_sweep,
    reverse,
    unfold,
    with_states,
)
from twitchdx.inference.structure import FloatArray, IntArray

EXACT = 0
IMPOSSIBLE = 1
TOO_WIDE = 2

# What is asked of a network. (A number that numba sees as a constant would make it compile a
# function anew for every one of them; hence an array.)
ASKED = np.arange(3)
EVIDENCE = 0  # P(evidence)
POSTERIORS = 1  # and P(evidence, cause) of every cause
DERIVATIVES = 2  # and the derivatives by every parameter


class Memory(NamedTuple):
    """Everything that a row needs to be planned and worked through."""

    plan: PlanArrays
    buckets: Buckets
    work: Work
    scratch: Scratch
    rest_of: FloatArray  # (V,) see `backwards`
    joint: FloatArray  # (C,) P(evidence, cause), in the unit of ``work.total[0]``
    cut: IntArray  # (MOST_CUT,) causes that are conditioned on
    case: FloatArray  # (N,) ratios of a row with these settled


def _new_memory(n_causes: int, n_nodes: int, n_arrows: int) -> Memory:
    buckets = new_buckets_compiled(n_causes, n_nodes, n_arrows)
    return Memory(
        new_plan_compiled(n_causes, n_nodes, n_arrows),
        buckets,
        new_work_compiled(n_nodes, n_arrows + 2 * n_nodes + 1),
        new_scratch_compiled(buckets.node.shape[0], n_arrows),
        np.zeros(buckets.node.shape[0]),
        np.zeros(n_causes),
        np.zeros(MOST_CUT, dtype=np.int64),
        np.zeros(n_nodes),
    )


new_plan_compiled = compiled()(new_plan)
new_work_compiled = compiled()(new_work)
new_buckets_compiled = compiled()(new_buckets)
new_scratch_compiled = compiled()(new_scratch)
new_memory = compiled()(_new_memory)


@compiled(inline=True)
def _replaced(memory: Memory, work: Work, scratch: Scratch) -> Memory:
    plan, buckets, rest_of, joint = memory.plan, memory.buckets, memory.rest_of, memory.joint
    return Memory(plan, buckets, work, scratch, rest_of, joint, memory.cut, memory.case)


@compiled()
def make_plan(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    memory: Memory,
) -> None:
    """Plan one row; the sweep is planned when it turns out to be needed."""
    find_core(ratios, parent_start, parents, order, wanted, memory.plan)
    fill_buckets(memory.plan, memory.buckets, MOST_ORDERS)


@compiled()
def evaluate(
    asked: int,
    ratios: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    most_states: int,
    sweep_only: bool,
    memory: Memory,
) -> tuple[int, int, Memory]:
    """Work through a planned row in one stratum.

    P(evidence) is left in ``work.total``, the rest in ``joint`` and ``work.by``.

    Returns
    -------
    status, width, memory
        `memory` is the working memory, replaced where it had to grow.
    """
    plan, buckets, work = memory.plan, memory.buckets, memory.work
    prepare(own, weight, ratios, parent_start, parents, order, plan, work)
    n_constants = count_constants(plan)
    for k in range(n_constants):
        if work.constant[k] == 0.0:
            work.total[0], work.total[1] = 0.0, work.total[2]
            return IMPOSSIBLE, 0, memory
    counts = buckets.counts
    width = counts[WIDEST]
    if not sweep_only and fits(counts, most_states):
        scratch = with_tables(memory.scratch, counts, most_states // STATES_PER_ENTRY)
        memory = _replaced(memory, work, scratch)
        if _certified(asked, n_constants, weight, memory):
            return EXACT, width, memory
    plan_sweep(plan)
    states = plan.counts[ALL_STATES] if asked == DERIVATIVES else plan.counts[STATES]
    width = plan.counts[WIDTH]
    if states > most_states:
        return TOO_WIDE, width, memory
    if work.states.shape[0] < states or work.g.shape[0] < 2 << width:
        work = with_states(work, states, 1 << width)
        memory = _replaced(memory, work, memory.scratch)
    prepare_sweep(weight, parent_start, parents, order, plan, work)
    forward(plan, work, asked == DERIVATIVES)
    if work.total[0] <= 0.0:
        return IMPOSSIBLE, width, memory
    if asked > EVIDENCE:
        reverse(plan, work, asked == DERIVATIVES)
        unfold(plan, work, memory.joint)
    return EXACT, width, memory


@compiled()
def _certified(asked: int, n_constants: int, weight: FloatArray, memory: Memory) -> bool:
    """Work through the buckets; say whether the result is good to `TOLERANCE`."""
    plan, buckets, work, scratch = memory.plan, memory.buckets, memory.work, memory.scratch
    counts, info, arrows = buckets.counts, buckets.info, buckets.arrows
    x, offsets, loss, factor = scratch.x, scratch.offsets, scratch.loss, scratch.factor
    values = scratch.value
    twos = forwards(counts, info, arrows, work.node, weight, x, offsets, loss, factor, values)
    count = n_constants
    doubt = 0.0
    for k in range(counts[N_BUCKETS]):
        if info[k, PARENT] < 0:
            value = values[k, 0]
            if not value > 0.0:
                return False
            doubt += values[k, 2] / value
            work.constant[count] = value
            count += 1
    if not doubt <= TOLERANCE:
        return False
    combine(count, twos, work)
    if asked == EVIDENCE:
        return True
    count = n_constants
    for k in range(counts[N_BUCKETS]):
        if info[k, PARENT] < 0:
            memory.rest_of[k] = work.rest[count]
            count += 1
    radius = backwards(
        counts,
        info,
        arrows,
        work.node,
        x,
        offsets,
        scratch.path,
        loss,
        factor,
        memory.rest_of,
        asked == DERIVATIVES,
        scratch.by_arrow,
        work.by,
    )
    if not radius <= TOLERANCE * work.total[0]:
        return False
    unfold(plan, work, memory.joint)
    return True


@compiled()
def settled_causes(
    ratios: FloatArray,
    n_strata: int,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    candidates: BoolArray,
    most_states: int,
    memory: Memory,
) -> int:
    """Put the causes to condition on into ``memory.cut``, the row into ``memory.case``.

    Returns
    -------
    n_cut : int
        How many; 0 leaves the plan of the row.
    """
    memory.case[:] = ratios
    if fits(memory.buckets.counts, most_states):
        return 0
    n_cut = choose_cut(
        ratios,
        parent_start,
        parents,
        order,
        wanted,
        candidates,
        most_states,
        n_strata,
        memory.plan,
        memory.buckets,
        memory.cut,
    )
    if n_cut == 0:
        make_plan(ratios, parent_start, parents, order, wanted, memory)
    return n_cut


@compiled()
def infer_row(
    ratios: FloatArray,
    mixture: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    most_states: int,
    sweep_only: bool,
    planned: bool,
    memory: Memory,
    posterior: FloatArray,
) -> tuple[float, int, int, Memory]:
    """Infer one row in the mixture of its strata; fill `posterior` of the wanted causes.

    With `planned`, the plan is already that of the row.

    Returns
    -------
    log_evidence, width, status, memory
        `memory` is the working memory, replaced where it had to grow.
    """
    n_causes = order.shape[0]
    if not planned:
        make_plan(ratios, parent_start, parents, order, wanted, memory)
    widest = memory.buckets.counts[WIDEST]
    n_cut = 0
    if not sweep_only:
        n_strata = (mixture > 0.0).sum()
        every = np.ones(n_causes, dtype=np.bool_)
        n_cut = settled_causes(
            ratios, n_strata, parent_start, parents, order, wanted, every, most_states, memory
        )
    asked = ASKED[POSTERIORS if wanted.any() else EVIDENCE]
    case = memory.case
    if sweep_only:
        case[:] = ratios
    posterior[:] = np.nan
    total = 0.0  # sum of mixture * P(evidence | stratum), in units of exp(best)
    best = -np.inf
    for bits in range(1 << n_cut):
        factor = 1.0
        if n_cut > 0:
            factor = settle(case, ratios, memory.cut, n_cut, bits)
            make_plan(case, parent_start, parents, order, wanted, memory)
        for stratum in range(own.shape[0]):
            if mixture[stratum] <= 0.0:
                continue
            status, width, memory = evaluate(
                asked,
                case,
                own[stratum],
                weight[stratum],
                parent_start,
                parents,
                order,
                most_states,
                sweep_only,
                memory,
            )
            if n_cut == 0:
                widest = max(widest, width)
            if status == TOO_WIDE:
                posterior[:] = np.nan
                return np.nan, widest, TOO_WIDE, memory
            if status == IMPOSSIBLE:
                continue
            plan, work, joint = memory.plan, memory.work, memory.joint
            value = work.total[0]
            log_value = math.log(value * mixture[stratum] * factor) + work.total[1]
            if best == -np.inf:
                posterior[:] = 0.0
            if log_value > best:
                shrink = math.exp(best - log_value)
                total *= shrink
                for cause in range(n_causes):
                    posterior[cause] *= shrink
                best = log_value
            share = math.exp(log_value - best)
            total += share
            own_here, weight_here = own[stratum], weight[stratum]
            for cause in range(n_causes):
                if wanted[cause]:
                    posterior[cause] += share * _posterior(
                        cause, own_here, weight_here, parent_start, parents, plan, value, joint
                    )
    if n_cut > 0:
        memory.buckets.counts[N_CUT] = n_cut
    if best == -np.inf:
        return -np.inf, widest, IMPOSSIBLE, memory
    for cause in range(n_causes):
        posterior[cause] = min(1.0, posterior[cause] / total) if wanted[cause] else np.nan
    return best + math.log(total), widest, EXACT, memory


@compiled()
def _posterior(
    cause: int,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
    value: float,
    joint: FloatArray,
) -> float:
    """P(cause on | evidence) in one stratum."""
    kind = plan.kind[cause]
    if kind == SWEPT:
        return min(1.0, joint[cause] / value)
    if kind == PRESENT:
        return 1.0
    if kind == UNUSED:
        return barren_posterior(cause, own, weight, parent_start, parents, plan, value, joint)
    return 0.0


@compiled()
def same_pattern(ratios: FloatArray, other: FloatArray) -> bool:
    """Whether two rows of evidence have the same plan: only soft ratios differ."""
    for node in range(ratios.shape[0]):
        x, y = ratios[node], other[node]
        if x != y and (x == 0.0 or x == 1.0 or x == np.inf or y == 0.0 or y == 1.0 or y == np.inf):
            return False
    return True


@compiled()
def pattern_keys(ratios: FloatArray) -> IntArray:
    """Hash of what is observed in each row; rows with the same plan have the same."""
    keys = np.zeros(ratios.shape[0], dtype=np.int64)
    for row in range(ratios.shape[0]):
        key = np.uint64(14695981039346656037)
        for node in range(ratios.shape[1]):
            x = ratios[row, node]
            if x != 1.0:
                state = 0 if x == 0.0 else (1 if x == np.inf else 2)
                key ^= np.uint64(3 * node + state + 1)
                key *= np.uint64(1099511628211)
                key ^= key >> np.uint64(29)
        keys[row] = np.int64(key >> np.uint64(1))
    return keys


@compiled()
def infer_range(
    first: int,
    last: int,
    rows: IntArray,
    ratios: FloatArray,
    mixture: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    most_states: int,
    sweep_only: bool,
    posterior: FloatArray,
    log_evidence: FloatArray,
    width: IntArray,
    status: IntArray,
) -> None:
    """Infer rows[first..last - 1] with one set of working memory."""
    memory = new_memory(order.shape[0], ratios.shape[1], parents.shape[0])
    for k in range(first, last):
        row = rows[k]
        planned = (
            k > first
            and memory.buckets.counts[N_CUT] == 0  # else the plan is that of a case
            and same_pattern(ratios[row], ratios[rows[k - 1]])
        )
        log_evidence[row], width[row], status[row], memory = infer_row(
            ratios[row],
            mixture[row],
            own,
            weight,
            parent_start,
            parents,
            order,
            wanted,
            most_states,
            sweep_only,
            planned,
            memory,
            posterior[row],
        )


@compiled(parallel=True)
def infer_chunks(
    chunk: int,
    rows: IntArray,
    ratios: FloatArray,
    mixture: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    most_states: int,
    sweep_only: bool,
    posterior: FloatArray,
    log_evidence: FloatArray,
    width: IntArray,
    status: IntArray,
) -> None:
    """Infer all rows, `chunk` rows at a time, on numba's threads."""
    n_rows = ratios.shape[0]
    for part in numba.prange((n_rows + chunk - 1) // chunk):
        infer_range(
            part * chunk,
            min(n_rows, (part + 1) * chunk),
            rows,
            ratios,
            mixture,
            own,
            weight,
            parent_start,
            parents,
            order,
            wanted,
            most_states,
            sweep_only,
            posterior,
            log_evidence,
            width,
            status,
        )


@compiled()
def plan_row(
    ratios: FloatArray, parent_start: IntArray, parents: IntArray, order: IntArray
) -> Memory:
    """Plan one row."""
    memory = new_memory(order.shape[0], ratios.shape[0], parents.shape[0])
    wanted = np.ones(order.shape[0], dtype=np.bool_)
    make_plan(ratios, parent_start, parents, order, wanted, memory)
    return memory


@compiled()
def derive_row(
    ratios: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    most_states: int,
    posterior: FloatArray,
    out: Derivatives,
) -> tuple[float, float, int, int]:
    """Fill every posterior, and all derivatives, scaled, for one row and stratum.

    Returns
    -------
    value, log_scale, width, status
        log P(evidence) = log(value) + log_scale; `out` is in the unit of value, `posterior` is
        NaN where the value is zero.
    """
    memory = new_memory(order.shape[0], ratios.shape[0], parents.shape[0])
    wanted = np.ones(order.shape[0], dtype=np.bool_)
    make_plan(ratios, parent_start, parents, order, wanted, memory)
    widest = memory.buckets.counts[WIDEST]
    candidates = np.ones(order.shape[0], dtype=np.bool_)
    settle_smoothly(ratios, own, weight, candidates)
    n_cut = settled_causes(
        ratios, 1, parent_start, parents, order, wanted, candidates, most_states, memory
    )
    total, log_scale = 0.0, -np.inf
    posterior[:] = 0.0
    for bits in range(1 << n_cut):
        factor, part = 1.0, out
        if n_cut > 0:
            factor = settle(memory.case, ratios, memory.cut, n_cut, bits)
            make_plan(memory.case, parent_start, parents, order, wanted, memory)
            part = Derivatives(np.zeros_like(out.own), np.zeros_like(out.weight))
        status, width, memory = evaluate(
            ASKED[DERIVATIVES],
            memory.case,
            own,
            weight,
            parent_start,
            parents,
            order,
            most_states,
            ASKED[0] > 0,
            memory,
        )
        if n_cut == 0:
            widest = max(widest, width)
        if status == TOO_WIDE:
            return np.nan, 0.0, widest, TOO_WIDE
        if status == IMPOSSIBLE:
            continue
        derivatives_by_parameters(own, weight, parent_start, parents, memory, part)
        log_factor = math.log(factor) + memory.work.total[1]
        if log_factor > log_scale:
            shrink = math.exp(log_scale - log_factor)
            total *= shrink
            posterior *= shrink
            if n_cut > 0:
                out.own[:] *= shrink
                out.weight[:] *= shrink
            log_scale = log_factor
        share = math.exp(log_factor - log_scale)
        value = memory.work.total[0]
        total += share * value
        if n_cut > 0:
            out.own[:] += share * part.own
            out.weight[:] += share * part.weight
        for cause in range(order.shape[0]):
            probability = _posterior(
                cause, own, weight, parent_start, parents, memory.plan, value, memory.joint
            )
            posterior[cause] += share * value * probability
    if total == 0.0:
        posterior[:] = np.nan
        return 0.0, memory.work.total[1], widest, EXACT
    for cause in range(order.shape[0]):
        posterior[cause] = min(1.0, posterior[cause] / total)
    return total, log_scale, widest, EXACT


@compiled()
def derivatives_by_parameters(
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    memory: Memory,
    out: Derivatives,
) -> None:
    """Fill `out` from what `evaluate` left in the working memory."""
    plan, work, buckets = memory.plan, memory.work, memory.buckets
    if plan.counts[SWEEP_PLANNED] == 1:
        for k in range(plan.counts[N_OPS]):
            if plan.b[k] >= 0:
                out.weight[plan.a[k], plan.b[k]] = work.by_op[k]
    else:
        for k in range(buckets.counts[N_ARROWS]):
            tail, head = buckets.arrows[k, TAIL], buckets.arrows[k, HEAD]
            out.weight[tail, head] = memory.scratch.by_arrow[k]
    finish_derivatives(own, weight, parent_start, parents, plan, work, out)


@compiled()
def probability_of(
    ratios: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    most_states: int,
) -> float:
    """P(evidence) in one network; NaN where the row is too wide."""
    memory = new_memory(order.shape[0], ratios.shape[0], parents.shape[0])
    wanted = np.zeros(order.shape[0], dtype=np.bool_)
    make_plan(ratios, parent_start, parents, order, wanted, memory)
    status, _, memory = evaluate(
        ASKED[EVIDENCE],
        ratios,
        own,
        weight,
        parent_start,
        parents,
        order,
        most_states,
        ASKED[0] > 0,
        memory,
    )
    if status == TOO_WIDE:
        return np.nan
    work = memory.work
    return work.total[0] * math.exp(work.total[1])
