"""The observed world and one with a cause taken away, in one pass over the same tape.

Disablement and sufficiency (Richens, Lee & Johri 2020) ask about a second world that shares every
accident of the first: the same causes arise by themselves, the same triggers fire. In it either
one cause is removed (disablement), or nothing arises but that cause (sufficiency). Whatever is on
in the second world is also on in the first, so a node has three states: off, on in both, on in
the observed world only. Causes between the cause and the finding asked about have two axes in a
table, "on in both" and "on in the observed world only"; all others have one. Every term is
positive, so no digits are lost however rare the evidence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twitchdx.explain.tape import ARROW, CONVERT, DONE, DROP, JOIN, NEW
from twitchdx.inference.compiling import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# What the second world is.
OBSERVED = 0  # no second world: the probability of the evidence itself
DISABLED = 1  # the cause is removed; the finding must be gone
SUFFICIENT = 2  # nothing but the cause arises; the finding must be there

MOST_AXES = 60


@compiled()
def _axis(axes: IntArray, n_axes: int, code: int) -> int:
    for k in range(n_axes):
        if axes[k] == code:
            return k
    return -1


@compiled()
def _trigger(x: FloatArray, size: int, source: int, target: int, strength: float) -> None:
    """Where axis `source` is on, switch axis `target` on with a probability."""
    low, high = 1 << min(source, target), 1 << max(source, target)
    s, t = 1 << source, 1 << target
    keep = 1.0 - strength
    for outer in range(0, size, high << 1):
        for middle in range(outer, outer + high, low << 1):
            for k in range(middle, middle + low):
                off = k + s
                x[off + t] += strength * x[off]
                x[off] *= keep


@compiled()
def _scale_where(x: FloatArray, size: int, axis: int, factor: float) -> None:
    """Multiply where an axis is on."""
    bit = 1 << axis
    for outer in range(bit, size, bit << 1):
        for k in range(outer, outer + bit):
            x[k] *= factor


@compiled()
def _sum_out(x: FloatArray, size: int, axis: int, off: float, on: float) -> None:
    """Remove an axis in place, weighing its two halves."""
    bit = 1 << axis
    to = 0
    for outer in range(0, size, bit << 1):
        for k in range(outer, outer + bit):
            x[to] = off * x[k] + on * x[k + bit]
            to += 1


@compiled()
def _join(
    a: FloatArray,
    b: FloatArray,
    out: FloatArray,
    to_a: IntArray,
    to_b: IntArray,
    shared: IntArray,
    n_shared: int,
    work: FloatArray,
) -> None:
    """Multiply two tables; an axis that both have is on if either is.

    Where a shared axis is on in the first table, both halves of the second lead to "on": they are
    added once for each set of shared axes, so that k shared axes cost 3**k products, not 4**k.
    """
    size_b = b.shape[0]
    work[0, :size_b] = b
    own_a = a.shape[0] - 1
    for k in range(n_shared):
        own_a &= ~shared[0, k]
    for m in range(1 << n_shared):
        on_a = 0
        on_b = 0
        count = 0
        lowest = 0
        for k in range(n_shared - 1, -1, -1):
            if m >> k & 1:
                on_a |= shared[0, k]
                on_b |= shared[1, k]
                count += 1
                lowest = shared[1, k]
        rest_b = (size_b - 1) & ~on_b
        if m:  # the sum over all but the lowest of these axes was the last one of its depth
            j = 0
            while True:
                work[count, j] = work[count - 1, j] + work[count - 1, j | lowest]
                j = (j - rest_b) & rest_b
                if j == 0:
                    break
        i = 0
        while True:
            value = a[i | on_a]
            if value != 0.0:
                at = to_a[i | on_a]
                j = 0
                while True:
                    out[at | to_b[j]] += value * work[count, j]
                    j = (j - rest_b) & rest_b
                    if j == 0:
                        break
            i = (i - own_a) & own_a
            if i == 0:
                break


@compiled()
def _spread(axes: IntArray, n_axes: int, whole: IntArray, n_whole: int, to: IntArray) -> None:
    """For each entry of a table, the entry of a larger table with the same axes on."""
    to[0] = 0
    for k in range(n_axes):
        place = 1 << _axis(whole, n_whole, axes[k])
        size = 1 << k
        for i in range(size):
            to[size + i] = to[i] | place


@compiled()
def twin_pass(
    world: int,
    cause: int,
    finding: int,
    own: FloatArray,
    weight: FloatArray,
    on_weight: FloatArray,
    off_weight: FloatArray,
    between: BoolArray,
    tape: IntArray,
    axes: IntArray,
    n_axes: IntArray,
    start: IntArray,
    arena: FloatArray,
    spread: IntArray,
) -> float:
    """Return the log probability of the evidence together with the event of the second world.

    Parameters
    ----------
    world : int
        OBSERVED, DISABLED or SUFFICIENT.
    cause, finding : int
        Nodes that the second world is about; ignored for OBSERVED.
    own, weight : ndarray, shape (N,), (C, N)
        Prior or leak of each node; strength of each cause on each node.
    on_weight, off_weight : ndarray, shape (N,)
        Weight of the evidence where a node is on, and where it is off.
    between : ndarray, shape (C,)
        Causes downstream of `cause` and upstream of `finding`.
    tape : ndarray, shape (operations, 4)
    axes, n_axes, start : ndarray, shape (operations, MOST_AXES), (operations,), (operations,)
        Scratch: the nodes of each table, and where it lies in `arena`.
    arena : ndarray
        Scratch for all tables.
    spread : ndarray of int, shape (2, states)
        Scratch for joins.

    Returns
    -------
    float
        Natural logarithm; minus infinity where the event is impossible, NaN where the scratch is
        too small.
    """
    n_nodes = own.shape[0]
    second_world = world != OBSERVED
    free = 0
    log_total = 0.0
    closed = not second_world
    shared = np.empty((2, MOST_AXES), dtype=np.int64)
    for step in range(tape.shape[0]):
        code, table, other, node = tape[step, 0], tape[step, 1], tape[step, 2], tape[step, 3]
        if code == NEW:
            if free + 2 > arena.shape[0]:
                return np.nan
            start[table] = free
            free += 2
            axes[table, 0] = node
            n_axes[table] = 1
            arena[start[table]] = (1.0 - own[node]) * off_weight[node]
            arena[start[table] + 1] = own[node] * on_weight[node]
            continue
        at = start[table]
        n = n_axes[table]
        size = 1 << n
        x = arena[at : at + size]
        if code == JOIN:
            both = n
            for k in range(n_axes[other]):
                if _axis(axes[table], n, axes[other, k]) < 0:
                    if both == MOST_AXES:
                        return np.nan
                    axes[table, both] = axes[other, k]
                    both += 1
            size_b = 1 << n_axes[other]
            n_shared = 0
            for k in range(n):
                at_b = _axis(axes[other], n_axes[other], axes[table, k])
                if at_b >= 0:
                    shared[0, n_shared] = 1 << k
                    shared[1, n_shared] = 1 << at_b
                    n_shared += 1
            end = free + (1 << both)
            if end + (n_shared + 1) * size_b > arena.shape[0]:
                return np.nan
            if max(size, size_b) > spread.shape[1]:
                return np.nan
            out = arena[free:end]
            out[:] = 0.0
            work = arena[end : end + (n_shared + 1) * size_b].reshape(n_shared + 1, size_b)
            _spread(axes[table], n, axes[table], both, spread[0])
            _spread(axes[other], n_axes[other], axes[table], both, spread[1])
            y = arena[start[other] : start[other] + size_b]
            _join(x, y, out, spread[0], spread[1], shared, n_shared, work)
            start[table] = free
            n_axes[table] = both
            free += 1 << both
            largest = out.max()
            if largest == 0.0:
                return -np.inf
            for k in range(out.shape[0]):
                out[k] /= largest
            log_total += np.log(largest)
        elif code == ARROW:
            parent = other
            strength = weight[parent, node]
            middle = second_world and between[parent]
            # which axis of the parent says "on in both worlds", which "in the observed one only"
            in_both = -1
            in_one = -1
            if middle:
                in_both = _axis(axes[table], n, parent)
                in_one = _axis(axes[table], n, n_nodes + parent)
            else:
                place = _axis(axes[table], n, parent)
                if not second_world or (parent == cause) == (world == SUFFICIENT):
                    in_both = place
                else:
                    in_one = place
            if second_world and node == finding:
                if world == DISABLED and in_both >= 0:
                    _scale_where(x, size, in_both, 1.0 - strength)
                source = in_one if world == DISABLED else in_both
                if source >= 0:
                    n, free = _open(table, node, n, free, axes, n_axes, start, arena)
                    if n < 0:
                        return np.nan
                    size = 1 << n
                    x = arena[start[table] : start[table] + size]
                    _trigger(x, size, source, _axis(axes[table], n, node), strength)
                continue
            divided = second_world and node < between.shape[0] and between[node]
            for part in range(2):
                source = in_both if part == 0 else in_one
                if source < 0:
                    continue
                name = n_nodes + node if divided and part == 1 else node
                n, free = _open(table, name, n, free, axes, n_axes, start, arena)
                if n < 0:
                    return np.nan
                size = 1 << n
                x = arena[start[table] : start[table] + size]
                _trigger(x, size, source, _axis(axes[table], n, name), strength)
        elif code == CONVERT:
            arising = own[node]
            if second_world and between[node]:
                # both axes must be there for its states
                n, free = _open(table, node, n, free, axes, n_axes, start, arena)
                if n >= 0:
                    n, free = _open(table, n_nodes + node, n, free, axes, n_axes, start, arena)
                if n < 0:
                    return np.nan
                size = 1 << n
                x = arena[start[table] : start[table] + size]
                a = 1 << _axis(axes[table], n, node)
                b = 1 << _axis(axes[table], n, n_nodes + node)
                for k in range(size):
                    if k & (a | b):
                        continue
                    none, one, both_on = x[k], x[k + b], x[k + a] + x[k + a + b]
                    if world == DISABLED:  # what arises by itself does so in both worlds
                        both_on += arising * (none + one)
                        one *= 1.0 - arising
                    else:
                        one += arising * none
                    x[k] = none * (1.0 - arising) * off_weight[node]
                    x[k + b] = one * on_weight[node]
                    x[k + a] = both_on * on_weight[node]
                    x[k + a + b] = 0.0
            else:
                place = _axis(axes[table], n, node)
                bit = 1 << place
                for outer in range(0, size, bit << 1):
                    for k in range(outer, outer + bit):
                        x[k + bit] = (x[k + bit] + arising * x[k]) * on_weight[node]
                        x[k] *= (1.0 - arising) * off_weight[node]
        elif code == DROP:
            for name in (node, n_nodes + node):
                place = _axis(axes[table], n, name)
                if place >= 0:
                    _sum_out(x, size, place, 1.0, 1.0)
                    n = _remove(axes[table], n, place)
                    size = 1 << n
            n_axes[table] = n
        else:  # CLOSE
            place = _axis(axes[table], n, node)
            on, off = on_weight[node], off_weight[node]
            off = (1.0 - own[node]) * off + own[node] * on
            if second_world and node == finding:
                if place < 0:
                    return -np.inf
                closed = True
                on = 1.0 - own[node] if world == DISABLED else 1.0
                off = 0.0
            _sum_out(x, size, place, off, on)
            n_axes[table] = _remove(axes[table], n, place)
        if other == DONE:
            value = arena[start[table]]
            if value == 0.0:
                return -np.inf
            log_total += np.log(value)
    return log_total if closed else -np.inf


@compiled()
def _remove(axes: IntArray, n: int, place: int) -> int:
    for k in range(place, n - 1):
        axes[k] = axes[k + 1]
    return n - 1


@compiled()
def _open(
    table: int,
    name: int,
    n: int,
    free: int,
    axes: IntArray,
    n_axes: IntArray,
    start: IntArray,
    arena: FloatArray,
) -> tuple[int, int]:
    """Add an axis to a table, off everywhere, unless it is there; (-1, 0) if there is no room."""
    if _axis(axes[table], n, name) >= 0:
        return n, free
    size = 1 << n
    if n == MOST_AXES or free + 2 * size > arena.shape[0]:
        return -1, 0
    if start[table] + size == free:  # the last table grows where it lies
        to = start[table]
    else:
        to = free
        arena[to : to + size] = arena[start[table] : start[table] + size]
    arena[to + size : to + 2 * size] = 0.0
    start[table] = to
    axes[table, n] = name
    n_axes[table] = n + 1
    return n + 1, max(free, to + 2 * size)


@compiled()
def twin_case(
    own: FloatArray,
    weight: FloatArray,
    shares: FloatArray,
    constant: FloatArray,
    on_weight: FloatArray,
    off_weight: FloatArray,
    reaches: BoolArray,
    relevant: BoolArray,
    asked: BoolArray,
    both: bool,
    findings: IntArray,
    tape: IntArray,
    states: int,
) -> tuple[float, FloatArray, FloatArray]:
    """Run the two worlds of one case: every cause asked about against every present finding.

    Parameters
    ----------
    own, weight : ndarray, shape (S, N), (S, C, N)
    shares, constant : ndarray, shape (S,)
        Weight of each stratum; log of what lies outside the tape.
    on_weight, off_weight : ndarray, shape (S, N)
    reaches : ndarray, shape (C, N)
        Whether a directed path leads from the cause to the node.
    relevant : ndarray, shape (C,)
        Causes that the tape sums over.
    asked : ndarray, shape (C,)
        Causes to run; the others get 0.
    both : bool
        Whether sufficiency is wanted besides disablement.
    findings : ndarray, shape (P,)
    tape : ndarray, shape (operations, 4)
    states : int
        Numbers that the scratch can hold.

    Returns
    -------
    log_evidence : float
    disabled, sufficient : ndarray, shape (C, P)
        Probability, given the evidence, that the finding would be gone without the cause, and
        that the cause alone would have produced it. NaN where the scratch was too small.
    """
    n_strata, n_causes, _ = weight.shape
    steps = tape.shape[0]
    axes = np.empty((steps + 1, MOST_AXES), dtype=np.int64)
    n_axes = np.zeros(steps + 1, dtype=np.int64)
    start = np.zeros(steps + 1, dtype=np.int64)
    arena = np.empty(states)
    spread = np.empty((2, max(2, states >> 2)), dtype=np.int64)
    between = np.zeros(n_causes, dtype=np.bool_)
    logs = np.full(n_strata, -np.inf)
    for s in range(n_strata):
        if shares[s] > 0:
            logs[s] = constant[s] + twin_pass(
                OBSERVED, -1, -1, own[s], weight[s], on_weight[s], off_weight[s], between, tape,
                axes, n_axes, start, arena, spread,
            )  # fmt: skip
    top = logs.max()
    total = 0.0
    for s in range(n_strata):
        if shares[s] > 0:
            total += shares[s] * np.exp(logs[s] - top)
    disabled = np.zeros((n_causes, findings.shape[0]))
    sufficient = np.zeros((n_causes, findings.shape[0]))
    for p in range(findings.shape[0]):
        finding = findings[p]
        for cause in range(n_causes):
            if not asked[cause] or not reaches[cause, finding] or not relevant[cause]:
                continue
            for middle in range(n_causes):
                between[middle] = (
                    relevant[middle] and reaches[cause, middle] and reaches[middle, finding]
                )
            for s in range(n_strata):
                if shares[s] == 0 or logs[s] == -np.inf:
                    continue
                for world in (DISABLED, SUFFICIENT):
                    if world == SUFFICIENT and not both:
                        continue
                    log = constant[s] + twin_pass(
                        world, cause, finding, own[s], weight[s], on_weight[s], off_weight[s],
                        between, tape, axes, n_axes, start, arena, spread,
                    )  # fmt: skip
                    if np.isnan(log):
                        disabled[:] = np.nan
                        return np.nan, disabled, sufficient
                    share = shares[s] * np.exp(log - top) / total
                    if world == DISABLED:
                        disabled[cause, p] += share
                    else:
                        sufficient[cause, p] += share
    return top + np.log(total), disabled, sufficient
