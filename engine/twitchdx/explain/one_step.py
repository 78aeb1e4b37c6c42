"""What each cause explains by its own arrows and through one intermediate node, however wide.

The question "would the finding have gone without the cause?" is put to the ordinary inference of a
network with one node more for each intermediate node: what the intermediate would have been
without the cause. The cause's own arrow leads past it, and the finding asked about hangs on it. In
the same way "would the cause alone have produced it?" hangs the finding on what the cause alone
makes of the intermediate nodes.

Where an intermediate node raises another one, the second keeps its observed state, so that both
answers are lower bounds; they are exact elsewhere.
"""

# numpy integers are no int to a checker.
# mypy: disable-error-code="assignment,arg-type"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twitchdx.inference.compiling import compiled
from twitchdx.inference.exact import most_states
from twitchdx.inference.rows import (
    ASKED,
    EVIDENCE,
    EXACT,
    IMPOSSIBLE,
    evaluate,
    make_plan,
    new_memory,
)
from twitchdx.inference.structure import Compiled, FloatArray, IntArray

BoolArray = NDArray[np.bool_]

UNKNOWN, ABSENT = 1.0, 0.0

# What the finding asked about hangs on.
REMOVED = 0  # on what there would be without the cause
ALONE = 1  # on what the cause alone makes
PLAIN = 2  # on what there is


def one_step(
    arrays: Compiled,
    weights: FloatArray,
    ratios: FloatArray,
    findings: IntArray,
    reaches: BoolArray,
    log_evidence: float,
    disabled: FloatArray,
    sufficient: FloatArray,
) -> tuple[FloatArray, FloatArray, bool]:
    """Return what causes explain directly or through one node, given what they explain directly.

    Parameters
    ----------
    arrays : Compiled
    weights : ndarray, shape (S,)
    ratios : ndarray, shape (N,)
    findings : ndarray of int, shape (P,)
        Nodes of findings observed present.
    reaches : ndarray of bool, shape (C, N)
        Whether a path through relevant nodes leads from each cause to each node.
    log_evidence : float
    disabled, sufficient : ndarray, shape (C, P)
        Without intermediate nodes.

    Returns
    -------
    disabled, sufficient : ndarray, shape (C, P)
    exact : bool
        False where some path has several intermediate nodes: then these are lower bounds.
    """
    n_causes = arrays.n_causes
    links: BoolArray = np.any(arrays.weight[:, :, :n_causes] > 0, axis=0)
    shows: BoolArray = np.any(arrays.weight[:, :, findings] > 0, axis=0)
    relevant: BoolArray = np.any(reaches[:, findings], axis=1)
    middle = links[:, :, None] & shows[None, :, :] & relevant[None, :, None]
    middle &= (ratios[:n_causes] != ABSENT)[None, :, None] & reaches[:, :n_causes, None]
    asked = relevant[:, None] & middle.any(axis=1)
    between = reaches[:, :n_causes, None] & reaches[None][:, :, findings]
    deep = np.einsum("cmp,cnp,mn->cp", between, between, links, optimize=True) > 0
    gone, enough = _all_pairs(
        arrays.own,
        arrays.weight,
        weights,
        ratios,
        findings,
        asked,
        middle,
        arrays.order,
        int(middle.sum(axis=1).max(initial=0)),
        log_evidence,
        most_states,
    )
    seen = ~np.isnan(gone)
    exact = not (deep & relevant[:, None]).any() and bool((seen | ~asked).all())
    return (
        np.where(asked & seen, np.maximum(gone, disabled), disabled),
        np.where(asked & seen, np.maximum(enough, sufficient), sufficient),
        exact,
    )


@compiled()
def _all_pairs(
    own: FloatArray,
    weight: FloatArray,
    shares: FloatArray,
    ratios: FloatArray,
    findings: IntArray,
    asked: BoolArray,
    middle: BoolArray,
    order: IntArray,
    room: int,
    log_evidence: float,
    most_states: int,
) -> tuple[FloatArray, FloatArray]:
    """Disablement and sufficiency of each pair asked for; NaN where too wide or not asked for."""
    n_strata, n_causes, n_nodes = weight.shape
    gone = np.full((n_causes, findings.shape[0]), np.nan)
    enough = np.full((n_causes, findings.shape[0]), np.nan)
    wider = n_causes + room
    row = np.ones(n_nodes + room)
    row[:n_causes] = ratios[:n_causes]
    row[wider:] = ratios[n_causes:]
    numbers = np.zeros(n_nodes + room)
    arrows = np.zeros((wider, n_nodes + room))
    start = np.zeros(n_nodes + room + 1, dtype=np.int64)
    most = 0
    for s in range(n_strata):
        most = max(most, np.count_nonzero(weight[s]))
    parents = np.zeros(most + room * (n_causes + 3), dtype=np.int64)
    sequence = np.zeros(wider, dtype=np.int64)
    wanted = np.zeros(wider, dtype=np.bool_)
    memory = new_memory(wider, n_nodes + room, parents.shape[0])
    base = np.zeros((2, n_strata))
    for p in range(findings.shape[0]):
        finding = findings[p] + room
        known = True
        for cause in range(-1, n_causes):
            if cause >= 0 and (not known or not asked[cause, p]):
                continue
            sums = np.zeros(2)
            answered = True
            for s in range(n_strata):
                if shares[s] == 0.0:
                    continue
                for world in range(2):
                    what = (world if cause >= 0 else PLAIN) + np.int64(0)
                    mediators = middle[max(cause, 0), :, p]
                    _expand(
                        what, cause, findings[p], own[s], weight[s], mediators, order, room,
                        numbers, arrows, sequence,
                    )  # fmt: skip
                    row[finding] = UNKNOWN if cause < 0 and world == ALONE else ABSENT
                    _list_parents(arrows, start, parents)
                    make_plan(row, start, parents, sequence, wanted, memory)
                    status, _, memory = evaluate(
                        ASKED[EVIDENCE], row, numbers, arrows, start, parents, sequence,
                        most_states, ASKED[0] > 0, memory,
                    )  # fmt: skip
                    value = 0.0
                    if status == EXACT:
                        log_value = np.log(memory.work.total[0]) + memory.work.total[1]
                        value = shares[s] * np.exp(log_value - log_evidence)
                    elif status != IMPOSSIBLE:
                        answered = False
                    if cause < 0:
                        base[world, s] = value
                    else:
                        sums[world] += value - base[world, s]
            row[finding] = ratios[findings[p]]
            if cause < 0:
                known = answered
            elif answered:
                gone[cause, p] = min(1.0, max(0.0, sums[REMOVED]))
                enough[cause, p] = min(1.0, max(0.0, -sums[ALONE]))
    return gone, enough


@compiled()
def _expand(
    world: int,
    cause: int,
    finding: int,
    own: FloatArray,
    weight: FloatArray,
    mediators: BoolArray,
    order: IntArray,
    room: int,
    numbers: FloatArray,
    arrows: FloatArray,
    sequence: IntArray,
) -> None:
    """Write the network of one question into `numbers`, `arrows` and `sequence`."""
    n_causes, n_nodes = weight.shape
    wider = n_causes + room
    numbers[:n_causes] = own[:n_causes]
    numbers[n_causes:wider] = 0.0
    numbers[wider:] = own[n_causes:]
    arrows[:] = 0.0
    for i in range(n_causes):
        for j in range(n_causes):
            arrows[i, j] = weight[i, j]
        for j in range(n_causes, n_nodes):
            arrows[i, j + room] = weight[i, j]
    used = n_causes
    at = 0
    shown = finding + room
    if world == ALONE:
        numbers[shown] = 0.0
        for i in range(n_causes):
            if i != cause:
                arrows[i, shown] = 0.0
    elif world == REMOVED:
        arrows[cause, shown] = 0.0
    for k in range(n_causes):
        node = order[k]
        if world != PLAIN and mediators[node]:
            twin = used
            used += 1
            sequence[at] = twin
            at += 1
            arrows[twin, shown] = weight[node, finding]
            arrows[node, shown] = 0.0
            if world == REMOVED:
                numbers[twin] = own[node]
                numbers[node] = 0.0
                for i in range(n_causes):
                    if i != cause:
                        arrows[i, twin] = weight[i, node]
                        arrows[i, node] = 0.0
            else:
                arrows[cause, twin] = weight[cause, node]
                arrows[cause, node] = 0.0
            arrows[twin, node] = 1.0
        sequence[at] = node
        at += 1
    while used < wider:
        sequence[at] = used
        used += 1
        at += 1


@compiled()
def _list_parents(arrows: FloatArray, start: IntArray, parents: IntArray) -> None:
    count = 0
    for node in range(arrows.shape[1]):
        start[node] = count
        for cause in range(arrows.shape[0]):
            if arrows[cause, node] > 0.0:
                parents[count] = cause
                count += 1
    start[arrows.shape[1]] = count
