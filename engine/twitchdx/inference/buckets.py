"""Plan the bucket elimination of the core of one row.

A noisy-OR switches a child on unless no arrow to it fires: P(on) = 1 - P(no arrow fires). With a
second variable that stands for "no arrow fires" (with a negative sign) or for 1, a child is a sum
of two products over its arrows, so that every arrow is a factor of just two variables [1]_ [2]_.
Any order of elimination is then allowed, also one that sums a cause out before its effects, and
the tables have as many axes as the *undirected* graph of arrows asks for. Each variable has a
bucket; its table goes to the bucket of the variable that is summed out first among its axes [3]_.

References
----------
.. [1] Díez FJ, Galán SF. Efficient computation for the noisy MAX. Int J Intell Syst 2003.
.. [2] Savický P, Vomlel J. Exploiting tensor rank-one decomposition in probabilistic inference.
   Kybernetika 2007.
.. [3] Dechter R. Bucket elimination: a unifying framework for reasoning. Artif Intell 1999.
"""

# To a checker, numba intrinsics still have the arguments of their generators, and
# numpy integers are no int.
# mypy: disable-error-code="assignment,call-arg,arg-type,return-value"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from twitchdx.inference.balls import room_of
from twitchdx.inference.compiling import compiled
from twitchdx.inference.elimination import (
    N_CORE,
    NONE,
    ONE,
    MaskArray,
    PlanArrays,
    _count,
    _lowest,
)
from twitchdx.inference.structure import IntArray

# What a variable says of its node.
STATE = 0  # on or off, of a node without arrows to it
QUIET = 1  # no arrow to it fires, of a node without arrows out
STATE_OF_TWO = 2  # on or off, of a node with arrows to it and out
QUIET_OF_TWO = 3  # no arrow to it fires, likewise

MOST_AXES = 30  # wider tables are never laid out

FEW_ENTRIES = 30_000
"""Entries of a row up to which a better order would cost more than it saves."""

ENTRIES_PER_ORDER = 150_000
"""Entries of a row, for each further order that is tried: an order costs a tenth of that."""

MOST_ORDERS = 200

NOISE = 1.5
"""How much the count of newly linked pairs is disturbed in the orders after the first."""

SLACK = 2
"""How many neighbours more than the fewest a variable may have to be summed out next."""


# Columns of `info`: what there is to know of a bucket.
NODE, ROLE = 0, 1  # its variable
N_AXES = 2  # of the table that leaves it
START = 3  # where that table starts
PARENT = 4  # bucket that takes it; -1: none
FIRST_CHILD, NEXT_CHILD = 5, 6  # buckets whose tables it takes, small to large; -1: none
OWN_AXES = 7  # axes of its own factors
PARTNER = 8  # of these, the axis of the node's other variable; -1: where they do not meet
FIRST_ARROW, LAST_ARROW = 9, 10  # its own arrows, by axis: from the first to before the last
JOINT_AXES = 11  # axes of the parent's product once this table has joined it
PRODUCT_KEPT, TABLE_KEPT = 12, 13  # masks among these: of the product before, of this table
KEPT = 14  # mask of the table's axes among those of the parent
ROOT = 15  # last bucket of its component
OWN_START = 16  # where the product of its own factors starts, and behind it that of its losses
N_COLUMNS = 17

# Columns of `arrows`.
AXIS, TAIL, HEAD = 0, 1, 2  # axis of its other end, of the own ones; nodes


class Buckets(NamedTuple):
    """The buckets of one row, in the order in which they are summed out (filled in again each row).

    V variables, in W words of a mask.
    """

    counts: IntArray  # (8,) see below
    info: IntArray  # (V, N_COLUMNS)
    arrows: IntArray  # (arrows, 3)
    # scratch of the planner
    node: IntArray  # (V,) of a variable
    role: IntArray  # (V,) and what it says of it
    state: IntArray  # (N,) variable of the state of a node
    quiet: IntArray  # (N,) variable of "no arrow fires"
    near: MaskArray  # (V, W) neighbours in the graph, as it is filled in
    degree: IntArray  # (V,)
    fill: IntArray  # (V,)
    variable: IntArray  # (V,) of each bucket
    best: IntArray  # (V,) likewise, in the best order so far
    left: IntArray  # (V,) variables not summed out yet
    place: IntArray  # (V,) bucket of a variable
    axes: IntArray  # (V, MOST_AXES) buckets of the axes of a table, the last summed out first
    own: IntArray  # (V,) mask of the axes of the bucket's own factors


# places in `counts`
N_BUCKETS, TABLES, WIDEST, ENTRIES, DEEPEST, N_ARROWS = range(6)
N_CUT = 6  # causes that the row is conditioned on; the plan is that of a case


def new_buckets(n_causes: int, n_nodes: int, n_arrows: int) -> Buckets:
    """Allocate empty buckets."""
    size = n_causes + n_nodes + 1
    words = (size + 63) // 64

    def ints(length: int) -> IntArray:
        return np.zeros(length, dtype=np.int64)

    return Buckets(
        counts=ints(8),
        info=np.zeros((size, N_COLUMNS), dtype=np.int64),
        arrows=np.zeros((n_arrows, 3), dtype=np.int64),
        node=ints(size),
        role=ints(size),
        state=ints(n_nodes),
        quiet=ints(n_nodes),
        near=np.zeros((size, words), dtype=np.uint64),
        degree=ints(size),
        fill=ints(size),
        variable=ints(size),
        best=ints(size),
        left=ints(size),
        place=ints(size),
        axes=np.zeros((size, MOST_AXES), dtype=np.int64),
        own=ints(size),
    )


@compiled()
def fill_buckets(plan: PlanArrays, buckets: Buckets, most_orders: int) -> None:
    """Name the variables of the core, order them and lay out their tables.

    Parameters
    ----------
    most_orders : int
        How many orders may be tried.
    """
    counts, info, arrows = buckets.counts, buckets.info, buckets.arrows
    counts[N_CUT] = 0
    state, quiet, near, degree = buckets.state, buckets.quiet, buckets.near, buckets.degree
    variable, place, axes, own = buckets.variable, buckets.place, buckets.axes, buckets.own
    fill, core, into = buckets.fill, plan.core, plan.into
    n_core = plan.counts[N_CORE]
    name_variables(n_core, core, into, plan.out, counts, buckets.node, buckets.role, state, quiet)
    n = counts[N_BUCKETS]
    connect(n_core, core, into, n, state, quiet, near, degree)
    best = buckets.best
    left = buckets.left
    least = order_by_degree(n, near, degree, left, best)
    # the longer the row will take, the more orders are tried
    tried = 0
    while tried < most_orders and least > max(FEW_ENTRIES, tried * ENTRIES_PER_ORDER):
        connect(n_core, core, into, n, state, quiet, near, degree)
        entries = order_by_fill(n, near, degree, fill, tried, left, variable)
        if entries < least:
            least = entries
            best[:n] = variable[:n]
        tried += 1
    if tried > 0:
        connect(n_core, core, into, n, state, quiet, near, degree)
        for k in range(n):
            sum_out(best[k], n, near, degree)
    variable[:n] = best[:n]
    for k in range(n):
        place[variable[k]] = k
    lay_out_tables(counts, buckets.node, buckets.role, near, variable, place, axes, info)
    if counts[WIDEST] <= MOST_AXES:
        assign_factors(
            n_core, core, into, state, quiet, place, axes, counts, own, fill, info, arrows
        )
        lay_out_joins(counts, own, info)


@compiled()
def name_variables(
    n_core: int,
    core: IntArray,
    into: MaskArray,
    out: MaskArray,
    counts: IntArray,
    node_of: IntArray,
    role: IntArray,
    state: IntArray,
    quiet: IntArray,
) -> None:
    """Give each node of the core one variable, or two if it has arrows both in and out."""
    words = (n_core + 63) // 64
    n = 0
    for i in range(n_core):
        node = core[i]
        has_in, has_out = False, False
        for w in range(words):
            has_in |= into[i, w] != NONE
            has_out |= out[i, w] != NONE
        node_of[n] = node
        state[node] = n
        quiet[node] = n
        if has_in and has_out:
            role[n] = STATE_OF_TWO
            n += 1
            node_of[n] = node
            role[n] = QUIET_OF_TWO
            quiet[node] = n
        elif has_in:
            role[n] = QUIET
        else:
            role[n] = STATE
        n += 1
    counts[N_BUCKETS] = n


@compiled(inline=True)
def _link(near: MaskArray, a: int, b: int) -> None:
    near[a, b >> 6] |= ONE << np.uint64(b & 63)
    near[b, a >> 6] |= ONE << np.uint64(a & 63)


@compiled()
def connect(
    n_core: int,
    core: IntArray,
    into: MaskArray,
    n: int,
    state: IntArray,
    quiet: IntArray,
    near: MaskArray,
    degree: IntArray,
) -> None:
    """Set the neighbours of each variable."""
    words = (n + 63) // 64
    for v in range(n):
        for w in range(words):
            near[v, w] = NONE
    for i in range(n_core):
        head = core[i]
        if state[head] != quiet[head]:
            _link(near, state[head], quiet[head])
        for w in range((n_core + 63) // 64):
            tails = into[i, w]
            while tails != NONE:
                tail = core[_lowest(tails) + 64 * w]
                tails &= tails - ONE
                _link(near, state[tail], quiet[head])
    for v in range(n):
        degree[v] = 0
        for w in range(words):
            degree[v] += _count(near[v, w])


@compiled(inline=True)
def _missing(v: int, words: int, near: MaskArray) -> int:
    """Pairs of neighbours of a variable that are not neighbours of each other."""
    missing = 0
    for w in range(words):
        rest = near[v, w]
        while rest != NONE:
            u = _lowest(rest) + 64 * w
            rest &= rest - ONE
            for x in range(words):
                missing += _count(near[v, x] & ~near[u, x])
            missing -= 1  # u itself
    return missing // 2


@compiled()
def sum_out(v: int, n: int, near: MaskArray, degree: IntArray) -> None:
    """Link the neighbours of a variable with each other, and none with it."""
    words = (n + 63) // 64
    word, bit = v >> 6, ONE << np.uint64(v & 63)
    for w in range(words):
        rest = near[v, w]
        while rest != NONE:
            u = _lowest(rest) + 64 * w
            rest &= rest - ONE
            for x in range(words):
                near[u, x] |= near[v, x]
            near[u, u >> 6] &= ~(ONE << np.uint64(u & 63))
            near[u, word] &= ~bit
            degree[u] = 0
            for x in range(words):
                degree[u] += _count(near[u, x])


@compiled()
def order_by_degree(
    n: int, near: MaskArray, degree: IntArray, left: IntArray, variable: IntArray
) -> float:
    """Sum out next what has the fewest neighbours; return the entries of all buckets."""
    entries = 0.0
    for v in range(n):
        left[v] = v
    for step in range(n):
        last = n - step - 1
        place = 0
        for i in range(1, last + 1):
            if degree[left[place]] < 2:
                break  # whatever comes next, this costs nothing
            if degree[left[i]] < degree[left[place]]:
                place = i
        pick = left[place]
        left[place] = left[last]
        entries += 2.0 ** (degree[pick] + 1)
        variable[step] = pick
        sum_out(pick, n, near, degree)
    return entries


@compiled()
def order_by_fill(
    n: int,
    near: MaskArray,
    degree: IntArray,
    fill: IntArray,
    seed: int,
    left: IntArray,
    variable: IntArray,
) -> float:
    """Sum out next what links the fewest pairs anew, among what has about the fewest neighbours.

    This takes several times as long as `order_by_degree`, and most often finds smaller tables.

    Parameters
    ----------
    seed : int
        0: as said; else the counts are disturbed, differently for every seed.

    Returns
    -------
    entries : float
        Of all buckets.
    """
    random = np.uint64(seed) * np.uint64(2654435761) + np.uint64(12345)
    entries = 0.0
    words = (n + 63) // 64
    for v in range(n):
        left[v] = v
        fill[v] = -1
    for step in range(n):
        last = n - step - 1
        fewest = n
        for i in range(last + 1):
            fewest = min(fewest, degree[left[i]])
        place = -1
        lowest = 0.0
        for i in range(last + 1):
            v = left[i]
            if degree[v] > fewest + SLACK:
                continue
            if fill[v] < 0:
                fill[v] = _missing(v, words, near) if degree[v] > 1 else 0
            score = float(fill[v])
            if seed > 0 and fill[v] > 0:
                random = random * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                score += NOISE * float(random >> np.uint64(40)) / 16777216.0
            tie = place >= 0 and score == lowest and degree[v] < degree[left[place]]
            if place < 0 or score < lowest or tie:
                place, lowest = i, score
                if fill[v] == 0:
                    break
        pick = left[place]
        left[place] = left[last]
        entries += 2.0 ** (degree[pick] + 1)
        variable[step] = pick
        # what lies beside two of the newly linked misses fewer links
        for i in range(last):
            u = left[i]
            shared = 0
            for w in range(words):
                shared += _count(near[u, w] & near[pick, w])
            beside = (near[pick, u >> 6] >> np.uint64(u & 63)) & ONE != NONE
            if beside or (shared > 1 and fill[pick] > 0):
                fill[u] = -1
        sum_out(pick, n, near, degree)
    return entries


@compiled()
def lay_out_tables(
    counts: IntArray,
    node: IntArray,
    role: IntArray,
    near: MaskArray,
    variable: IntArray,
    place: IntArray,
    axes: IntArray,
    info: IntArray,
) -> None:
    """List the axes of each table, and which bucket takes it."""
    n = counts[N_BUCKETS]
    words = (n + 63) // 64
    widest = 0
    entries = 0
    for k in range(n):
        v = variable[k]
        count = 0
        for w in range(words):
            count += _count(near[v, w])
        info[k, NODE], info[k, ROLE], info[k, N_AXES] = node[v], role[v], count
        info[k, FIRST_CHILD] = -1
        widest = max(widest, count + 1)
        entries += np.int64(2) << min(count, 48)
    counts[WIDEST] = widest
    counts[ENTRIES] = entries
    if widest > MOST_AXES:
        return
    at = 0
    for k in range(n):
        # the neighbours that were left when it was summed out, the last to be summed out first
        v = variable[k]
        count = 0
        for w in range(words):
            rest = near[v, w]
            while rest != NONE:
                later = place[_lowest(rest) + 64 * w]
                rest &= rest - ONE
                i = count
                while i > 0 and axes[k, i - 1] < later:
                    axes[k, i] = axes[k, i - 1]
                    i -= 1
                axes[k, i] = later
                count += 1
        info[k, START] = at
        at += room_of(np.int64(1) << count)
        info[k, PARENT] = axes[k, count - 1] if count > 0 else -1
    counts[TABLES] = at
    for k in range(n - 1, -1, -1):
        p, n_axes = info[k, PARENT], info[k, N_AXES]
        info[k, ROOT] = k if p < 0 else info[p, ROOT]
        if p < 0:
            continue
        before = -1
        after = info[p, FIRST_CHILD]
        while after >= 0 and info[after, N_AXES] < n_axes:
            before, after = after, info[after, NEXT_CHILD]
        info[k, NEXT_CHILD] = after
        if before < 0:
            info[p, FIRST_CHILD] = k
        else:
            info[before, NEXT_CHILD] = k
        mask = np.int64(0)
        j = 0
        for i in range(info[p, N_AXES] + 1):
            axis = axes[p, i] if i < info[p, N_AXES] else p
            if j < n_axes and axes[k, j] == axis:
                mask |= np.int64(1) << i
                j += 1
        info[k, KEPT] = mask


@compiled(inline=True)
def _bits(mask: int) -> int:
    return _count(np.uint64(mask))


@compiled(inline=True)
def _among(mask: int, all_of: int) -> int:
    """Mask of some axes among others, renumbered."""
    found = np.int64(0)
    place = 0
    while all_of != 0:
        lowest = all_of & -all_of
        if mask & lowest != 0:
            found |= np.int64(1) << place
        place += 1
        all_of ^= lowest
    return found


@compiled(inline=True)
def _axis(k: int, of: int, axes: IntArray) -> int:
    axis = 0
    while axes[k, axis] != of:
        axis += 1
    return axis


@compiled()
def assign_factors(
    n_core: int,
    core: IntArray,
    into: MaskArray,
    state: IntArray,
    quiet: IntArray,
    place: IntArray,
    axes: IntArray,
    counts: IntArray,
    own: IntArray,
    fill: IntArray,
    info: IntArray,
    arrows: IntArray,
) -> None:
    """Put each arrow, and what joins the two variables of a node, into the earlier bucket."""
    n = counts[N_BUCKETS]
    for k in range(n):
        info[k, PARTNER] = -1
        own[k] = np.int64(1) << info[k, N_AXES]
        fill[k] = 0
    for again in range(2):
        for i in range(n_core):
            head = core[i]
            a = place[quiet[head]]
            if again == 0 and state[head] != quiet[head]:
                b = place[state[head]]
                k = min(a, b)
                axis = _axis(k, max(a, b), axes)
                info[k, PARTNER] = axis
                own[k] |= np.int64(1) << axis
            for w in range((n_core + 63) // 64):
                tails = into[i, w]
                while tails != NONE:
                    tail = core[_lowest(tails) + 64 * w]
                    tails &= tails - ONE
                    b = place[state[tail]]
                    k = min(a, b)
                    if again == 0:
                        fill[k] += 1
                        continue
                    at = fill[k]
                    fill[k] += 1
                    axis = _axis(k, max(a, b), axes)
                    own[k] |= np.int64(1) << axis
                    arrows[at, AXIS], arrows[at, TAIL], arrows[at, HEAD] = axis, tail, head
        if again == 0:
            at = 0
            for k in range(n):
                info[k, FIRST_ARROW] = at
                at += fill[k]
                info[k, LAST_ARROW] = at
                fill[k] = info[k, FIRST_ARROW]
            counts[N_ARROWS] = at
    for k in range(n):
        info[k, OWN_AXES] = _bits(own[k])
        if info[k, PARTNER] >= 0:
            info[k, PARTNER] = _bits(own[k] & ((np.int64(1) << info[k, PARTNER]) - 1))
        for at in range(info[k, FIRST_ARROW], info[k, LAST_ARROW]):
            axis = _bits(own[k] & ((np.int64(1) << arrows[at, AXIS]) - 1))
            tail, head = arrows[at, TAIL], arrows[at, HEAD]
            i = at
            while i > info[k, FIRST_ARROW] and arrows[i - 1, AXIS] > axis:
                arrows[i] = arrows[i - 1]
                i -= 1
            arrows[i, AXIS], arrows[i, TAIL], arrows[i, HEAD] = axis, tail, head


@compiled()
def lay_out_joins(counts: IntArray, own: IntArray, info: IntArray) -> None:
    """Say over which axes the product of a bucket's tables grows, table by table."""
    at = counts[TABLES]
    deepest = 0
    for k in range(counts[N_BUCKETS]):
        product = own[k]
        before = np.int64(1) << info[k, OWN_AXES]  # entries of the product so far
        info[k, OWN_START] = at
        at += room_of(2 * before)
        room = np.int64(0)  # of the products that are kept
        adjoint = room_of(before)  # of the adjoint of a product
        spare = room_of(before)  # of what is summed out
        child = info[k, FIRST_CHILD]
        while child >= 0:
            kept = info[child, KEPT]
            joint = product | kept
            info[child, JOINT_AXES] = _bits(joint)
            info[child, PRODUCT_KEPT] = _among(product, joint)
            info[child, TABLE_KEPT] = _among(kept, joint)
            entries = np.int64(1) << info[child, JOINT_AXES]
            table = np.int64(1) << info[child, N_AXES]
            summed = entries // 2 if 4 * min(before, table) <= entries else np.int64(0)
            child = info[child, NEXT_CHILD]
            if child >= 0:
                room += room_of(entries)
                adjoint = room_of(entries)
                summed += room_of(table)
            spare = max(spare, summed)
            product = joint
            before = entries
        deepest = max(deepest, room + adjoint + spare)
    counts[TABLES] = at
    counts[DEEPEST] = deepest
