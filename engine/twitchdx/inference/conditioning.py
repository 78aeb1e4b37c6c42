"""Choose causes to condition on, where the tables of a row would not fit into memory.

With a cause settled, on and then off, its variables leave the graph; the row is the sum of the
two cases, each with smaller tables. So memory is traded for time: the method of conditioning [1]_,
with bucket elimination of each case [2]_.

References
----------
.. [1] Suermondt HJ, Cooper GF. Initialization for the method of conditioning in Bayesian belief
   networks. Artif Intell 1991;50:83-94.
.. [2] Dechter R. Bucket elimination: a unifying framework for reasoning. Artif Intell 1999.
"""

# numpy integers are no int to a checker.
# mypy: disable-error-code="assignment,arg-type"

from __future__ import annotations

import numpy as np

from twitchdx.inference.buckets import (
    DEEPEST,
    ENTRIES,
    MOST_AXES,
    MOST_ORDERS,
    N_AXES,
    N_BUCKETS,
    NODE,
    ROLE,
    STATE,
    STATE_OF_TWO,
    TABLES,
    WIDEST,
    Buckets,
    fill_buckets,
)
from twitchdx.inference.compiling import compiled
from twitchdx.inference.elimination import BoolArray, PlanArrays, find_core
from twitchdx.inference.structure import FloatArray, IntArray

STATES_PER_ENTRY = 4
"""States of the sweep, a number each, that have the room of an entry of the certified pass."""

MOST_PASSES = 8
"""Entries, in all cases and strata of a row, that are worked through, for each of its most states.

That is about two seconds, as long as the sampler takes.
"""

MOST_CUT = 12
"""Causes that are conditioned on."""


@compiled(inline=True)
def fits(counts: IntArray, most_states: int) -> bool:
    """Whether the tables of a plan fit into memory."""
    if counts[WIDEST] > MOST_AXES:
        return False
    return STATES_PER_ENTRY * (counts[TABLES] + counts[DEEPEST]) <= most_states


@compiled()
def choose_cut(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    wanted: BoolArray,
    candidates: BoolArray,
    most_states: int,
    n_strata: int,
    plan: PlanArrays,
    buckets: Buckets,
    cut: IntArray,
) -> int:
    """List causes, in `cut`, with which settled a row fits; return how many.

    It is 0 if there is no such list, or if all cases together would be too much work. The plan of
    a case is left in `plan` and `buckets`.

    Parameters
    ----------
    candidates : ndarray of bool, shape (C,)
        Causes that may be settled.
    """
    counts, info, axes = buckets.counts, buckets.info, buckets.axes
    n_causes = order.shape[0]
    case = ratios.copy()
    here = np.zeros(n_causes, dtype=np.bool_)
    for n_cut in range(1, MOST_CUT + 1):
        work = counts[ENTRIES] * 2.0 ** (n_cut - 1) * n_strata
        if work > MOST_PASSES * most_states:
            return 0
        # among the variables of the largest tables
        here[:] = False
        for k in range(counts[N_BUCKETS]):
            if info[k, N_AXES] < counts[WIDEST] - 2:
                continue
            for i in range(-1, info[k, N_AXES]):
                of = k if i < 0 else axes[k, i]
                node, role = info[of, NODE], info[of, ROLE]
                if node < n_causes and role in (STATE, STATE_OF_TWO):
                    here[node] = candidates[node] and 0.0 < case[node] < np.inf
        best, least = -1, np.inf
        for cause in range(n_causes):
            if not here[cause]:
                continue
            before = case[cause]
            case[cause] = np.inf
            find_core(case, parent_start, parents, order, wanted, plan)
            fill_buckets(plan, buckets, 1)
            if counts[ENTRIES] < least:
                best, least = cause, counts[ENTRIES]
            case[cause] = before
        if best < 0:
            return 0
        cut[n_cut - 1] = best
        case[best] = np.inf
        find_core(case, parent_start, parents, order, wanted, plan)
        fill_buckets(plan, buckets, MOST_ORDERS)
        if fits(counts, most_states):
            return n_cut
    return 0


@compiled()
def settle(case: FloatArray, ratios: FloatArray, cut: IntArray, n_cut: int, bits: int) -> float:
    """Make a row into one of its cases; return by what that case is to be multiplied.

    Parameters
    ----------
    bits : int
        Which of the causes are on.
    """
    factor = 1.0
    for i in range(n_cut):
        cause = cut[i]
        if (bits >> i) & 1 == 1:
            case[cause] = np.inf
            factor *= ratios[cause]
        else:
            case[cause] = 0.0
    return factor


@compiled()
def settle_smoothly(
    ratios: FloatArray, own: FloatArray, weight: FloatArray, candidates: BoolArray
) -> None:
    """Mark the causes that can be on and off whatever others are.

    A case that is impossible at the network's numbers may still have a derivative by one of them:
    these causes have no such case. So a cause is left out that is certain, or impossible, by its
    own number, that makes a node certain, or that may be all a node has to come from.
    """
    n_causes, n_nodes = weight.shape
    for cause in range(n_causes):
        candidates[cause] = 0.0 < own[cause] < 1.0
    for node in range(n_nodes):
        without_leak = own[node] == 0.0 and (node < n_causes or ratios[node] == np.inf)
        for parent in range(n_causes):
            if weight[parent, node] == 1.0 or (without_leak and weight[parent, node] > 0.0):
                candidates[parent] = False
            if node < n_causes and weight[parent, node] == 1.0:
                candidates[node] = False
