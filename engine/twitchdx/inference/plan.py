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

MODEST = 10_000.0
"""Predicted work (entries touched) of a sweep for which a better order is not worth looking for;
each further multiple pays for one more order tried."""


class PlanArrays(NamedTuple):
    """A plan, as arrays that are filled again for every row (numba passes them by name).

    A cause is swept in one step, or in several pieces: the first step turns its prior into a bit
    that is *held*, each piece applies some of its arrows, the last one sums the bit out. Holding
    a cause that points to many items costs one bit, where sweeping it at once opens one per item.
    """

    kind: IntArray  # (N,) UNUSED, ABSENT, PRESENT, SWEPT
    n_parents: IntArray  # (N,) swept parents of each relevant node
    left: IntArray  # (N,) scratch: swept parents whose arrow is not yet applied
    touch_start: IntArray  # (C + 1,) of a cause
    touch: IntArray  # (arrows,) items that a cause touches
    absent: IntArray  # (N,) nodes observed absent
    # the order: pieces of causes, one after the other
    steps: IntArray  # (steps,) cause of each step
    piece_start: IntArray  # (steps + 1,)
    piece: IntArray  # (arrows,) items that the step touches
    # the lay-out
    first: IntArray  # (steps,) 1 where the step is its cause's first
    hold: IntArray  # (steps,) 1 where the cause has later pieces
    own_position: IntArray  # (steps,) position of the cause's own bit before the step, or -1
    op_start: IntArray  # (steps + 1,)
    op_node: IntArray  # (arrows,)
    op_kind: IntArray  # (arrows,)
    op_position: IntArray  # (arrows,)
    width: IntArray  # (steps + 1,) bits open before each step; after the last: 0
    open_items: IntArray  # (N,) scratch: open bits, lowest first
    # scratch of the orderings
    opens: IntArray  # (C,) bits that sweeping a cause would open
    closes: IntArray  # (C,) bits that it would close (its own included)
    blocked: IntArray  # (C,) parents that must be swept before it
    state: IntArray  # (N,) of an item: CLOSED or OPENED; of a cause (at C + N): see `order_holding`
    waiting: IntArray  # (N,) parents not yet processed
    best: IntArray  # (2 * steps + arrows + 1,) the best order so far
    # barren causes with several swept parents
    lane_cause: IntArray  # (C,)
    lane_first: IntArray  # (C,) first and last step that begins a parent of theirs
    lane_last: IntArray  # (C,)
    counts: IntArray  # (8,) steps, absent nodes, greatest width, stored states, lanes
    cost: FloatArray  # (2,) predicted work: sum over steps of touched entries


def new_plan(n_causes: int, n_nodes: int, n_arrows: int) -> PlanArrays:
    """Allocate an empty plan."""
    n_steps = n_causes + n_arrows

    def ints(size: int) -> IntArray:
        return np.zeros(size, dtype=np.int64)

    return PlanArrays(
        kind=ints(n_nodes),
        n_parents=ints(n_nodes),
        left=ints(n_nodes),
        touch_start=ints(n_causes + 1),
        touch=ints(n_arrows),
        absent=ints(n_nodes),
        steps=ints(n_steps),
        piece_start=ints(n_steps + 1),
        piece=ints(n_arrows),
        first=ints(n_steps),
        hold=ints(n_steps),
        own_position=ints(n_steps),
        op_start=ints(n_steps + 1),
        op_node=ints(n_arrows),
        op_kind=ints(n_arrows),
        op_position=ints(n_arrows),
        width=ints(n_steps + 1),
        open_items=ints(n_nodes),
        opens=ints(n_causes),
        closes=ints(n_causes),
        blocked=ints(n_causes),
        state=ints(n_nodes + n_causes),
        waiting=ints(n_nodes),
        best=ints(2 * n_steps + n_arrows + 1),
        lane_cause=ints(n_causes),
        lane_first=ints(n_causes),
        lane_last=ints(n_causes),
        counts=ints(8),
        cost=np.zeros(2),
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
    n_piece = 0
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
        plan.piece_start[step] = n_piece
        for k in range(plan.touch_start[best], plan.touch_start[best + 1]):
            item = plan.touch[k]
            plan.piece[n_piece] = item
            n_piece += 1
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
    plan.piece_start[n_swept] = n_piece
    plan.counts[0] = n_swept


@compiled()
def lay_out(n_causes: int, plan: PlanArrays) -> None:
    """Turn the order into steps: what happens to which bit at which position, and the cost."""
    kind, left, n_parents = plan.kind, plan.left, plan.n_parents
    open_items = plan.open_items
    for node in range(left.shape[0]):
        left[node] = n_parents[node]
    arrows_left = plan.opens  # scratch
    begun = plan.closes  # scratch
    for cause in range(n_causes):
        begun[cause] = 0
        arrows_left[cause] = plan.touch_start[cause + 1] - plan.touch_start[cause]
    n_open = 0
    n_op = 0
    greatest = 0
    states = 0
    cost = 0.0
    for step in range(plan.counts[0]):
        cause = plan.steps[step]
        plan.width[step] = n_open
        before = n_open
        states += np.int64(1) << min(n_open, 48)
        begin, end = plan.piece_start[step], plan.piece_start[step + 1]
        first = begun[cause] == 0
        begun[cause] = 1
        plan.first[step] = 1 if first else 0
        position = -1
        if n_parents[cause] > 0 or not first:
            position = _take(open_items, n_open, cause)
            n_open -= 1
        plan.own_position[step] = position
        plan.op_start[step] = n_op
        for wanted in range(SOLO, OPEN + 1):
            for k in range(begin, end):
                item = plan.piece[k]
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
            left[plan.piece[k]] -= 1
        arrows_left[cause] -= end - begin
        plan.hold[step] = 1 if arrows_left[cause] > 0 else 0
        if plan.hold[step] == 1:
            open_items[n_open] = cause
            n_open += 1
        greatest = max(greatest, n_open)
        cost += (end - begin + 2) * 2.0 ** max(before, n_open)
    plan.op_start[plan.counts[0]] = n_op
    plan.width[plan.counts[0]] = n_open
    plan.counts[2] = greatest
    plan.counts[3] = states + 1
    plan.cost[0] = cost


@compiled()
def place_lanes(parent_start: IntArray, parents: IntArray, plan: PlanArrays) -> None:
    """Find in which steps the adjoint of each barren cause differs from the base's."""
    swept_at = plan.left  # scratch: step of each cause
    for node in range(swept_at.shape[0]):
        swept_at[node] = -1
    for step in range(plan.counts[0]):
        if plan.first[step] == 1:
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
def order_holding(
    parent_start: IntArray,
    parents: IntArray,
    n_causes: int,
    noise: float,
    seed: int,
    plan: PlanArrays,
) -> None:
    """Choose an order of pieces: causes that point to several unopened items are held.

    The cause processed next is the one that leaves the fewest bits. An item is opened as soon
    as it is the last unopened one of some held cause (which is then summed out), or has no
    unprocessed parent left.
    """
    kind, n_parents = plan.kind, plan.n_parents
    n_nodes = kind.shape[0]
    state, waiting = plan.state, plan.waiting
    left = plan.left
    closed = plan.opens  # of a cause: items not yet opened that need a bit
    blocked = plan.blocked
    n_swept = 0
    for node in range(n_nodes):
        state[node] = 0
        waiting[node] = n_parents[node]
        left[node] = n_parents[node]
    for cause in range(n_causes):
        state[n_nodes + cause] = 0  # 0 unprocessed, 1 held, 2 summed out
        blocked[cause] = -1
        if kind[cause] == SWEPT:
            n_swept += 1
            blocked[cause] = n_parents[cause]
            count = 0
            for k in range(plan.touch_start[cause], plan.touch_start[cause + 1]):
                if _needs_bit(plan.touch[k], n_causes, kind, n_parents):
                    count += 1
            closed[cause] = count
    n_step = 0
    n_piece = 0
    random = np.uint64(seed * 2654435761 + 12345)
    for _ in range(n_swept):
        best = -1
        best_score = 0.0
        for cause in range(n_causes):
            if blocked[cause] != 0:
                continue
            delta = 0.0
            if n_parents[cause] > 0 and state[cause] == 1:
                delta -= 1.0
            fresh = 0
            for k in range(plan.touch_start[cause], plan.touch_start[cause + 1]):
                item = plan.touch[k]
                if not _needs_bit(item, n_causes, kind, n_parents):
                    continue
                sink = item >= n_causes or kind[item] != SWEPT
                if state[item] == 0:
                    fresh += 1
                    if waiting[item] == 1 and sink:
                        fresh -= 1
                elif waiting[item] == 1 and sink:
                    delta -= 1.0
                delta -= 0.05 / waiting[item]
            if fresh > 0:
                delta += 1.0 + 0.01 * fresh
            if noise > 0.0:
                random = random * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                delta += noise * float(random >> np.uint64(40)) / 16777216.0
            if best < 0 or delta < best_score:
                best, best_score = cause, delta
        cause = best
        blocked[cause] = -1
        if n_parents[cause] > 0 and state[cause] == 0:
            n_step, n_piece = _open_item(
                cause, -1, n_step, n_piece, n_causes, parent_start, parents, plan
            )
            n_step, n_piece = _settle(n_step, n_piece, n_causes, parent_start, parents, plan)
        # the cause's own piece: items already open, those only it touches, and those that must
        # be opened now
        begin, end = plan.touch_start[cause], plan.touch_start[cause + 1]
        for k in range(begin, end):
            item = plan.touch[k]
            waiting[item] -= 1
            if item < n_causes and kind[item] == SWEPT:
                blocked[item] -= 1
        urgent = 0
        for k in range(begin, end):
            item = plan.touch[k]
            if state[item] == 0 and _needs_bit(item, n_causes, kind, n_parents):
                sink = item >= n_causes or kind[item] != SWEPT
                if sink and waiting[item] == 0:
                    urgent += 1
        all_now = closed[cause] - urgent <= 1
        plan.steps[n_step] = cause
        plan.piece_start[n_step] = n_piece
        n_step += 1
        n_opened = n_piece
        for k in range(begin, end):
            item = plan.touch[k]
            needs = _needs_bit(item, n_causes, kind, n_parents)
            sink = item >= n_causes or kind[item] != SWEPT
            if not needs or state[item] == 1 or all_now or (sink and waiting[item] == 0):
                plan.piece[n_piece] = item
                n_piece += 1
        plan.piece_start[n_step] = n_piece
        state[n_nodes + cause] = 2 if n_piece - n_opened == end - begin else 1
        last = n_piece
        for k in range(n_opened, last):
            item = plan.piece[k]
            if state[item] == 0 and _needs_bit(item, n_causes, kind, n_parents):
                n_step, n_piece = _open_item(
                    item, cause, n_step, n_piece, n_causes, parent_start, parents, plan
                )
        n_step, n_piece = _settle(n_step, n_piece, n_causes, parent_start, parents, plan)
    plan.piece_start[n_step] = n_piece
    plan.counts[0] = n_step


@compiled()
def _needs_bit(item: int, n_causes: int, kind: IntArray, n_parents: IntArray) -> bool:
    return n_parents[item] > 1 or (item < n_causes and kind[item] == SWEPT)


@compiled()
def _open_item(
    item: int,
    by: int,
    n_step: int,
    n_piece: int,
    n_causes: int,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
) -> tuple[int, int]:
    """Open an item: every held cause but `by` (whose own piece does it) applies its arrow."""
    n_nodes = plan.kind.shape[0]
    plan.state[item] = 1
    for k in range(parent_start[item], parent_start[item + 1]):
        parent = parents[k]
        if plan.kind[parent] != SWEPT:
            continue
        plan.opens[parent] -= 1
        if parent == by or plan.state[n_nodes + parent] != 1:
            continue
        plan.steps[n_step] = parent
        plan.piece_start[n_step] = n_piece
        plan.piece[n_piece] = item
        n_step += 1
        n_piece += 1
        plan.piece_start[n_step] = n_piece
        if plan.opens[parent] == 0:
            plan.state[n_nodes + parent] = 2
    return n_step, n_piece


@compiled()
def _settle(
    n_step: int,
    n_piece: int,
    n_causes: int,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
) -> tuple[int, int]:
    """Open the last unopened item of every held cause that has only one."""
    n_nodes = plan.kind.shape[0]
    again = True
    while again:
        again = False
        for cause in range(n_causes):
            if plan.state[n_nodes + cause] != 1 or plan.opens[cause] != 1:
                continue
            for k in range(plan.touch_start[cause], plan.touch_start[cause + 1]):
                item = plan.touch[k]
                if plan.state[item] == 0 and _needs_bit(
                    item, n_causes, plan.kind, plan.n_parents
                ):
                    n_step, n_piece = _open_item(
                        item, -1, n_step, n_piece, n_causes, parent_start, parents, plan
                    )
                    again = True
                    break
    return n_step, n_piece


@compiled()
def _save(n_causes: int, plan: PlanArrays) -> None:
    n_steps = plan.counts[0]
    n_arrows = plan.piece_start[n_steps]
    plan.best[0] = n_steps
    plan.best[1 : n_steps + 1] = plan.steps[:n_steps]
    plan.best[n_steps + 1 : 2 * n_steps + 1] = plan.piece_start[1 : n_steps + 1]
    plan.best[2 * n_steps + 1 : 2 * n_steps + 1 + n_arrows] = plan.piece[:n_arrows]
    plan.cost[1] = plan.cost[0]


@compiled()
def _restore(n_causes: int, plan: PlanArrays) -> None:
    n_steps = plan.best[0]
    plan.counts[0] = n_steps
    plan.steps[:n_steps] = plan.best[1 : n_steps + 1]
    plan.piece_start[0] = 0
    plan.piece_start[1 : n_steps + 1] = plan.best[n_steps + 1 : 2 * n_steps + 1]
    n_arrows = plan.piece_start[n_steps]
    plan.piece[:n_arrows] = plan.best[2 * n_steps + 1 : 2 * n_steps + 1 + n_arrows]
    lay_out(n_causes, plan)


@compiled()
def make_plan(
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    holding: bool,
    plan: PlanArrays,
) -> None:
    """Classify, order and lay out the sweep of one row.

    Without `holding`, every cause is swept in one step. The longer the sweep is predicted to
    take, the more orders are tried.
    """
    n_causes = order.shape[0]
    classify(ratios, parent_start, parents, order, plan)
    order_greedily(parent_start, parents, n_causes, plan)
    lay_out(n_causes, plan)
    if holding and plan.cost[0] > MODEST:
        _save(n_causes, plan)
        tries = 1
        attempt = 0
        while attempt < tries:
            noise = 0.0 if attempt == 0 else 0.3 + 0.2 * (attempt % 8)
            order_holding(parent_start, parents, n_causes, noise, attempt, plan)
            lay_out(n_causes, plan)
            if plan.cost[0] < plan.cost[1]:
                _save(n_causes, plan)
            attempt += 1
            tries = min(200, int(plan.cost[1] / MODEST))
        _restore(n_causes, plan)
    place_lanes(parent_start, parents, plan)
