"""Plan a sweep: which nodes matter to the evidence, and in which order the causes are swept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.structure import FloatArray, IntArray

# What a node is to one row of evidence.
UNUSED = 0  # unknown and without observed descendants (a barren cause), or an unknown finding
ABSENT = 1  # observed absent: one factor per parent
PRESENT = 2  # observed present, or soft evidence on a finding: owns a bit while parents are swept
SWEPT = 3  # a cause that is summed over

# What a sweep step does to an item (a node that may own a bit).
SOLO = 0  # first and last parent at once: no bit, two numbers
CLOSE = 1  # last parent: the bit is summed out
THROUGH = 2  # neither first nor last
OPEN = 3  # first parent: a bit is added on top


class PlanArrays(NamedTuple):
    """A plan, as arrays that are filled again for every row (numba passes them by name)."""

    kind: IntArray  # (N,) UNUSED, ABSENT, PRESENT, SWEPT
    n_parents: IntArray  # (N,) swept parents of each relevant node
    left: IntArray  # (N,) scratch: swept parents not yet swept
    steps: IntArray  # (C,) causes in sweep order
    own_position: IntArray  # (C,) of a step: position of the cause's own bit, or -1
    op_start: IntArray  # (C + 1,) of a step
    op_node: IntArray  # (arrows,)
    op_kind: IntArray  # (arrows,)
    op_position: IntArray  # (arrows,)
    width: IntArray  # (C + 1,) bits open before each step; after the last: 0
    touch_start: IntArray  # (C + 1,) of a cause
    touch: IntArray  # (arrows,) items that a cause touches
    absent: IntArray  # (N,) nodes observed absent
    open_items: IntArray  # (N,) scratch: open items, lowest bit first
    opens: IntArray  # (C,) scratch: bits that sweeping a cause would open
    closes: IntArray  # (C,) scratch: bits that it would close (its own included)
    blocked: IntArray  # (C,) scratch: parents that must be swept before it
    lane_cause: IntArray  # (C,) barren causes with several swept parents
    lane_first: IntArray  # (C,) first and last step that sweeps a parent of theirs
    lane_last: IntArray  # (C,)
    counts: IntArray  # (8,) steps, absent nodes, greatest width, stored states, lanes


def new_plan(n_causes: int, n_nodes: int, n_arrows: int) -> PlanArrays:
    """Allocate an empty plan."""

    def ints(size: int) -> IntArray:
        return np.zeros(size, dtype=np.int64)

    return PlanArrays(
        kind=ints(n_nodes),
        n_parents=ints(n_nodes),
        left=ints(n_nodes),
        steps=ints(n_causes),
        own_position=ints(n_causes),
        op_start=ints(n_causes + 1),
        op_node=ints(n_arrows),
        op_kind=ints(n_arrows),
        op_position=ints(n_arrows),
        width=ints(n_causes + 1),
        touch_start=ints(n_causes + 1),
        touch=ints(n_arrows),
        absent=ints(n_nodes),
        open_items=ints(n_nodes),
        opens=ints(n_causes),
        closes=ints(n_causes),
        blocked=ints(n_causes),
        lane_cause=ints(n_causes),
        lane_first=ints(n_causes),
        lane_last=ints(n_causes),
        counts=ints(8),
    )


@compiled()
def classify(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    plan: PlanArrays,
) -> None:
    """Find the nodes that matter, and which items each swept cause touches.

    A barren cause (without observed descendants, not observed) is not swept, unless it has
    parents and is itself the parent of a barren cause.
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
        count = 0
        if kind[node] != UNUSED:
            for k in range(parent_start[node], parent_start[node + 1]):
                if kind[parents[k]] == SWEPT:
                    count += 1
                    if kind[node] != ABSENT:
                        n_touch[parents[k] + 1] += 1
        n_parents[node] = count
    for cause in range(n_causes):
        n_touch[cause + 1] += n_touch[cause]
    fill = plan.opens
    for cause in range(n_causes):
        fill[cause] = n_touch[cause]
    for node in range(n_nodes):
        if kind[node] >= PRESENT and n_parents[node] > 0:
            for k in range(parent_start[node], parent_start[node + 1]):
                parent = parents[k]
                if kind[parent] == SWEPT:
                    plan.touch[fill[parent]] = node
                    fill[parent] += 1
    plan.counts[1] = n_absent
    n_lanes = 0
    for node in range(n_causes):
        if kind[node] == UNUSED:
            count = 0
            for k in range(parent_start[node], parent_start[node + 1]):
                if kind[parents[k]] == SWEPT:
                    count += 1
            if count > 1:
                plan.lane_cause[n_lanes] = node
                n_lanes += 1
    plan.counts[4] = n_lanes


@compiled()
def order_greedily(
    parent_start: IntArray, parents: IntArray, n_causes: int, plan: PlanArrays
) -> None:
    """Choose the sweep order: always the cause that leaves the fewest bits open.

    A cause waits for its swept parents. Ties go to the cause that opens fewer bits, then to the
    one that touches more, then to the lower index.
    """
    kind, left, n_parents = plan.kind, plan.left, plan.n_parents
    opens, closes, blocked = plan.opens, plan.closes, plan.blocked
    for node in range(left.shape[0]):
        left[node] = n_parents[node]
    n_swept = 0
    for cause in range(n_causes):
        if kind[cause] != SWEPT:
            blocked[cause] = -1
            continue
        n_swept += 1
        blocked[cause] = n_parents[cause]
        opens[cause] = 0
        closes[cause] = 1 if n_parents[cause] > 0 else 0
        for k in range(plan.touch_start[cause], plan.touch_start[cause + 1]):
            item = plan.touch[k]
            if n_parents[item] > 1 or (item < n_causes and kind[item] == SWEPT):
                opens[cause] += 1
    for step in range(n_swept):
        best = -1
        best_score = 0
        for cause in range(n_causes):
            if blocked[cause] != 0:
                continue
            touched = plan.touch_start[cause + 1] - plan.touch_start[cause]
            score = ((opens[cause] - closes[cause]) * 256 + opens[cause]) * 256 - touched
            if best < 0 or score < best_score:
                best, best_score = cause, score
        plan.steps[step] = best
        blocked[best] = -1
        for k in range(plan.touch_start[best], plan.touch_start[best + 1]):
            item = plan.touch[k]
            internal = item < n_causes and kind[item] == SWEPT
            if internal:
                blocked[item] -= 1
            if left[item] == n_parents[item] and (internal or n_parents[item] > 1):
                for m in range(parent_start[item], parent_start[item + 1]):
                    if kind[parents[m]] == SWEPT:
                        opens[parents[m]] -= 1
            left[item] -= 1
            if left[item] == 1 and not internal:
                for m in range(parent_start[item], parent_start[item + 1]):
                    if blocked[parents[m]] >= 0:
                        closes[parents[m]] += 1
    plan.counts[0] = n_swept


@compiled()
def lay_out(n_causes: int, plan: PlanArrays) -> None:
    """Turn the sweep order into steps: what happens to which bit at which position."""
    kind, left, n_parents = plan.kind, plan.left, plan.n_parents
    open_items = plan.open_items
    for node in range(left.shape[0]):
        left[node] = n_parents[node]
    n_open = 0
    n_op = 0
    greatest = 0
    states = 0
    for step in range(plan.counts[0]):
        cause = plan.steps[step]
        plan.width[step] = n_open
        states += np.int64(1) << min(n_open, 48)
        begin, end = plan.touch_start[cause], plan.touch_start[cause + 1]
        position = -1
        if n_parents[cause] > 0:
            position = _take(open_items, n_open, cause)
            n_open -= 1
        plan.own_position[step] = position
        plan.op_start[step] = n_op
        for wanted in range(SOLO, OPEN + 1):
            for k in range(begin, end):
                item = plan.touch[k]
                internal = item < n_causes and kind[item] == SWEPT
                last = left[item] == 1 and not internal
                if left[item] == n_parents[item]:
                    what = SOLO if last else OPEN
                else:
                    what = CLOSE if last else THROUGH
                if what != wanted:
                    continue
                position = 0
                if what == CLOSE:
                    position = _take(open_items, n_open, item)
                    n_open -= 1
                elif what == THROUGH:
                    while open_items[position] != item:
                        position += 1
                elif what == OPEN:
                    position = n_open
                    open_items[n_open] = item
                    n_open += 1
                plan.op_node[n_op] = item
                plan.op_kind[n_op] = what
                plan.op_position[n_op] = position
                n_op += 1
        for k in range(begin, end):
            left[plan.touch[k]] -= 1
        greatest = max(greatest, n_open)
    plan.op_start[plan.counts[0]] = n_op
    plan.width[plan.counts[0]] = n_open
    plan.counts[2] = greatest
    plan.counts[3] = states + 1


@compiled()
def place_lanes(parent_start: IntArray, parents: IntArray, plan: PlanArrays) -> None:
    """Find from which to which step the adjoint of each barren cause differs from the base's."""
    swept_at = plan.left  # scratch: step of each cause
    for node in range(swept_at.shape[0]):
        swept_at[node] = -1
    for step in range(plan.counts[0]):
        swept_at[plan.steps[step]] = step
    for lane in range(plan.counts[4]):
        cause = plan.lane_cause[lane]
        first, last = plan.counts[0], -1
        for k in range(parent_start[cause], parent_start[cause + 1]):
            step = swept_at[parents[k]]
            if step >= 0:
                first = min(first, step)
                last = max(last, step)
        plan.lane_first[lane] = first
        plan.lane_last[lane] = last


@compiled(inline=True)
def _take(open_items: IntArray, n_open: int, item: int) -> int:
    """Remove an item from the open ones and return where it was."""
    position = 0
    while open_items[position] != item:
        position += 1
    for k in range(position, n_open - 1):
        open_items[k] = open_items[k + 1]
    return position


@compiled()
def make_plan(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    plan: PlanArrays,
) -> None:
    """Classify, order and lay out the sweep of one row."""
    n_causes = order.shape[0]
    classify(ratios, parent_start, parents, order, plan)
    order_greedily(parent_start, parents, n_causes, plan)
    lay_out(n_causes, plan)
    place_lanes(parent_start, parents, plan)
