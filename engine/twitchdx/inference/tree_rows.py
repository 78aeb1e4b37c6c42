"""Run plans over rows of evidence: one row in all strata, and many rows on threads."""

from __future__ import annotations

import math

import numba
import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.elimination import (
    PRESENT,
    SWEPT,
    UNUSED,
    PlanArrays,
    new_plan,
)
from twitchdx.inference.kernel import (
    Derivatives,
    Work,
    barren_posterior,
    finish_derivatives,
    new_work,
    prepare,
)
from twitchdx.inference.structure import FloatArray, IntArray
from twitchdx.inference.tree import (
    Tables,
    add_arrow_derivatives,
    forward,
    new_tables,
    reverse,
    scratch_room,
    with_room,
)
from twitchdx.inference.tree_plan import COUNTS, STATES, WIDTH, Tree, make_tree, new_tree

EXACT = 0
IMPOSSIBLE = 1
TOO_WIDE = 2

new_plan_compiled = compiled()(new_plan)
new_work_compiled = compiled()(new_work)
new_tree_compiled = compiled()(new_tree)
new_tables_compiled = compiled()(new_tables)


@compiled()
def make_room(plan: PlanArrays, tree: Tree, tables: Tables) -> Tables:
    """Make sure that the tables fit."""
    states, scratch = tree.ints[COUNTS, STATES], scratch_room(tree)
    widest = np.int64(1) << tree.ints[COUNTS, WIDTH]
    if (
        tables.x.shape[0] < states
        or tables.scratch.shape[0] < scratch
        or tables.more.shape[0] < widest
    ):
        return with_room(
            tables,
            max(2 * states, tables.x.shape[0]),
            max(2 * scratch, tables.scratch.shape[0]),
            max(2 * widest, tables.more.shape[0]),
        )
    return tables


@compiled()
def infer_row(
    ratios: FloatArray,
    mixture: FloatArray,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    most_states: int,
    planned: bool,
    plan: PlanArrays,
    tree: Tree,
    work: Work,
    tables: Tables,
    posterior: FloatArray,
    joint: FloatArray,
) -> tuple[float, int, int, Tables]:
    """Infer one row in the mixture of its strata; fill `posterior`.

    With `planned`, the plan is already that of the row.

    Returns
    -------
    log_evidence, width, status, tables
        `tables` is the working memory, replaced where it had to grow.
    """
    n_causes = order.shape[0]
    if not planned:
        make_tree(ratios, parent_start, parents, order, True, False, plan, tree)
    width = tree.ints[COUNTS, WIDTH]
    posterior[:] = np.nan
    if tree.ints[COUNTS, STATES] > most_states:
        return np.nan, width, TOO_WIDE, tables
    if not planned:
        tables = make_room(plan, tree, tables)
    total = 0.0  # sum of mixture * P(evidence | stratum), in units of exp(best)
    best = -np.inf
    for stratum in range(own.shape[0]):
        if mixture[stratum] <= 0.0:
            continue
        prepare(own[stratum], weight[stratum], ratios, parent_start, parents, order, plan, work)
        forward(weight[stratum], plan, tree, work, tables)
        value = work.total[0]
        if value <= 0.0:
            continue
        reverse(weight[stratum], parent_start, parents, plan, tree, work, tables, False, joint)
        log_value = math.log(value * mixture[stratum]) + work.total[1]
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
        for cause in range(n_causes):
            kind = plan.kind[cause]
            if kind == SWEPT:
                posterior[cause] += share * min(1.0, joint[cause] / value)
            elif kind == PRESENT:
                posterior[cause] += share
            elif kind == UNUSED:
                posterior[cause] += share * barren_posterior(
                    cause, own[stratum], weight[stratum], parent_start, parents, plan, value, joint
                )
    if best == -np.inf:
        return -np.inf, width, IMPOSSIBLE, tables
    for cause in range(n_causes):
        posterior[cause] = min(1.0, posterior[cause] / total)
    return best + math.log(total), width, EXACT, tables


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
    most_states: int,
    posterior: FloatArray,
    log_evidence: FloatArray,
    width: IntArray,
    status: IntArray,
) -> None:
    """Infer rows[first..last - 1] with one set of working memory."""
    n_causes = order.shape[0]
    n_nodes = ratios.shape[1]
    plan = new_plan_compiled(n_causes, n_nodes, parents.shape[0])
    tree = new_tree_compiled(n_nodes, parents.shape[0])
    work = new_work_compiled(n_nodes, 1)
    tables = new_tables_compiled(n_nodes, tree.tape.shape[0])
    joint = np.zeros(n_causes)
    for k in range(first, last):
        row = rows[k]
        planned = k > first and same_pattern(ratios[row], ratios[rows[k - 1]])
        log_evidence[row], width[row], status[row], tables = infer_row(
            ratios[row],
            mixture[row],
            own,
            weight,
            parent_start,
            parents,
            order,
            most_states,
            planned,
            plan,
            tree,
            work,
            tables,
            posterior[row],
            joint,
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
    most_states: int,
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
            most_states,
            posterior,
            log_evidence,
            width,
            status,
        )


@compiled()
def plan_row(
    ratios: FloatArray, parent_start: IntArray, parents: IntArray, order: IntArray
) -> tuple[PlanArrays, Tree]:
    """Plan one row."""
    plan = new_plan_compiled(order.shape[0], ratios.shape[0], parents.shape[0])
    tree = new_tree_compiled(ratios.shape[0], parents.shape[0])
    make_tree(ratios, parent_start, parents, order, True, True, plan, tree)
    return plan, tree


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
    n_causes = order.shape[0]
    n_nodes = ratios.shape[0]
    plan = new_plan_compiled(n_causes, n_nodes, parents.shape[0])
    tree = new_tree_compiled(n_nodes, parents.shape[0])
    work = new_work_compiled(n_nodes, 1)
    tables = new_tables_compiled(n_nodes, tree.tape.shape[0])
    make_tree(ratios, parent_start, parents, order, True, True, plan, tree)
    width = tree.ints[COUNTS, WIDTH]
    if tree.ints[COUNTS, STATES] > most_states:
        return np.nan, 0.0, width, TOO_WIDE
    tables = make_room(plan, tree, tables)
    prepare(own, weight, ratios, parent_start, parents, order, plan, work)
    forward(weight, plan, tree, work, tables)
    value = work.total[0]
    joint = np.zeros(n_causes)
    reverse(weight, parent_start, parents, plan, tree, work, tables, True, joint)
    finish_derivatives(own, weight, parent_start, parents, plan, work, out)
    add_arrow_derivatives(tree, tables, out.weight)
    for cause in range(n_causes):
        kind = plan.kind[cause]
        if value <= 0.0:
            posterior[cause] = np.nan
        elif kind == SWEPT:
            posterior[cause] = min(1.0, joint[cause] / value)
        elif kind == PRESENT:
            posterior[cause] = 1.0
        elif kind == UNUSED:
            posterior[cause] = barren_posterior(
                cause, own, weight, parent_start, parents, plan, value, joint
            )
        else:
            posterior[cause] = 0.0
    return value, work.total[1], width, EXACT


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
    n_nodes = ratios.shape[0]
    plan = new_plan_compiled(order.shape[0], n_nodes, parents.shape[0])
    tree = new_tree_compiled(n_nodes, parents.shape[0])
    work = new_work_compiled(n_nodes, 1)
    tables = new_tables_compiled(n_nodes, tree.tape.shape[0])
    make_tree(ratios, parent_start, parents, order, True, False, plan, tree)
    if tree.ints[COUNTS, STATES] > most_states:
        return np.nan
    tables = make_room(plan, tree, tables)
    prepare(own, weight, ratios, parent_start, parents, order, plan, work)
    forward(weight, plan, tree, work, tables)
    return work.total[0] * math.exp(work.total[1])
