"""Run plans and sweeps over rows of evidence: one row in all strata, and many rows on threads."""

from __future__ import annotations

import math

import numba
import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.plan import PRESENT, SWEPT, UNUSED, PlanArrays, make_plan, new_plan
from twitchdx.inference.structure import FloatArray, IntArray
from twitchdx.inference.sweep import (
    Derivatives,
    SweepArrays,
    barren_posterior,
    finish_derivatives,
    forward,
    new_sweep,
    prepare,
    reverse,
    with_states,
)

EXACT = 0
IMPOSSIBLE = 1
TOO_WIDE = 2

new_plan_compiled = compiled()(new_plan)
new_sweep_compiled = compiled()(new_sweep)


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
    plan: PlanArrays,
    arrays: SweepArrays,
    posterior: FloatArray,
) -> tuple[float, int, int, SweepArrays]:
    """Infer one row in the mixture of its strata; fill `posterior`.

    Returns
    -------
    log_evidence, width, status, arrays
        `arrays` is the working memory, replaced where it had to grow.
    """
    n_causes = order.shape[0]
    make_plan(ratios, parent_start, parents, order, True, plan)
    width = plan.counts[2]
    posterior[:] = np.nan
    if plan.counts[3] > most_states:
        return np.nan, width, TOO_WIDE, arrays
    if arrays.states.shape[0] < plan.counts[3] or arrays.u.shape[0] < 2 << width:
        arrays = with_states(arrays, 2 * plan.counts[3], 1 << width, n_causes)
    joint = np.empty(n_causes)
    no_derivatives = Derivatives(joint, own)
    total = 0.0  # sum of weight * P(evidence | stratum), in units of exp(best)
    best = -np.inf
    for stratum in range(own.shape[0]):
        if mixture[stratum] <= 0.0:
            continue
        prepare(
            own[stratum], weight[stratum], ratios, parent_start, parents, order, plan, arrays
        )
        value, log_scale = forward(plan, arrays)
        value *= arrays.total[0] * mixture[stratum]
        if value <= 0.0:
            continue
        reverse(weight[stratum], plan, arrays, False, joint, no_derivatives)
        log_value = math.log(value) + log_scale
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
                posterior[cause] += share * min(1.0, joint[cause] * mixture[stratum] / value)
            elif kind == PRESENT:
                posterior[cause] += share
            elif kind == UNUSED:
                posterior[cause] += share * barren_posterior(
                    cause,
                    value / mixture[stratum],
                    own[stratum],
                    weight[stratum],
                    parent_start,
                    parents,
                    plan,
                    joint,
                )
    if best == -np.inf:
        return -np.inf, width, IMPOSSIBLE, arrays
    for cause in range(n_causes):
        posterior[cause] = min(1.0, posterior[cause] / total)
    return best + math.log(total), width, EXACT, arrays


@compiled()
def infer_range(
    first: int,
    last: int,
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
    """Infer rows first..last - 1 with one set of working memory."""
    n_causes = order.shape[0]
    n_nodes = ratios.shape[1]
    plan = new_plan_compiled(n_causes, n_nodes, parents.shape[0])
    arrays = new_sweep_compiled(n_causes, n_nodes, parents.shape[0])
    for row in range(first, last):
        log_evidence[row], width[row], status[row], arrays = infer_row(
            ratios[row],
            mixture[row],
            own,
            weight,
            parent_start,
            parents,
            order,
            most_states,
            plan,
            arrays,
            posterior[row],
        )


@compiled(parallel=True)
def infer_chunks(
    chunk: int,
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
) -> PlanArrays:
    """Plan one row."""
    plan = new_plan_compiled(order.shape[0], ratios.shape[0], parents.shape[0])
    make_plan(ratios, parent_start, parents, order, True, plan)
    return plan


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
    """Fill P(evidence, cause on) and all derivatives, scaled, for one row and stratum.

    Returns
    -------
    value, log_scale, width, status
        log P(evidence) = log(value) + log_scale; `posterior` and `out` are in the unit of value.
    """
    n_causes = order.shape[0]
    n_nodes = ratios.shape[0]
    plan = new_plan_compiled(n_causes, n_nodes, parents.shape[0])
    arrays = new_sweep_compiled(n_causes, n_nodes, parents.shape[0])
    make_plan(ratios, parent_start, parents, order, True, plan)
    width = plan.counts[2]
    if plan.counts[3] > most_states:
        return np.nan, 0.0, width, TOO_WIDE
    arrays = with_states(arrays, plan.counts[3], 1 << width, plan.counts[4])
    prepare(own, weight, ratios, parent_start, parents, order, plan, arrays)
    bare, log_scale = forward(plan, arrays)
    value = bare * arrays.total[0]
    joint = np.zeros(n_causes)
    reverse(weight, plan, arrays, True, joint, out)
    finish_derivatives(bare, own, weight, parent_start, parents, plan, arrays, out)
    for cause in range(n_causes):
        kind = plan.kind[cause]
        if kind == SWEPT:
            posterior[cause] = min(value, joint[cause])
        elif kind == PRESENT:
            posterior[cause] = value
        elif kind == UNUSED:
            if value > 0.0:
                posterior[cause] = value * barren_posterior(
                    cause, value, own, weight, parent_start, parents, plan, joint
                )
        else:
            posterior[cause] = 0.0
    return value, log_scale, width, EXACT


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
    n_causes = order.shape[0]
    n_nodes = ratios.shape[0]
    plan = new_plan_compiled(n_causes, n_nodes, parents.shape[0])
    arrays = new_sweep_compiled(n_causes, n_nodes, parents.shape[0])
    make_plan(ratios, parent_start, parents, order, True, plan)
    if plan.counts[3] > most_states:
        return np.nan
    arrays = with_states(arrays, plan.counts[3], 1 << plan.counts[2], 0)
    prepare(own, weight, ratios, parent_start, parents, order, plan, arrays)
    value, log_scale = forward(plan, arrays)
    return value * arrays.total[0] * math.exp(log_scale)
