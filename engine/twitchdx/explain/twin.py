"""Counterfactual sweep: the observed world and one with a cause taken away, in one pass.

Disablement and sufficiency (Richens, Lee & Johri 2020) ask about a second world that shares every
accident of the first: the same causes arise by themselves, the same triggers fire. In it either
one cause is removed (disablement), or nothing arises but that cause (sufficiency). Whatever is on
in the second world is also on in the first, so a node has three states: off, on in both, on in
the observed world only. The sweep of `twitchdx.inference` is run with a second bit for the causes
that lie between the cause and the finding asked about; every term is positive, so that no digits
are lost however rare the evidence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twitchdx.inference.compiling import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# What the second world is.
OBSERVED = 0  # no second world: the probability of the evidence itself
DISABLED = 1  # the cause is removed; the finding must be gone
SUFFICIENT = 2  # nothing but the cause arises; the finding must be there

#: a known-present cause enters the plan as overwhelming soft evidence, so that it is swept
CERTAIN = 1e300

_SWEPT = 3


@compiled(inline=True)
def _position(items: IntArray, n_open: int, item: int) -> int:
    for k in range(n_open):
        if items[k] == item:
            return k
    return -1


@compiled()
def _trigger(vector: FloatArray, n_open: int, position: int, strength: float) -> None:
    """Switch one bit on with a probability, in place."""
    stride = 1 << position
    for block in range(0, 1 << n_open, stride << 1):
        for k in range(block, block + stride):
            vector[k + stride] += strength * vector[k]
            vector[k] *= 1.0 - strength


@compiled()
def _sum_out(
    vector: FloatArray, n_open: int, position: int, off: float, on: float, out: FloatArray
) -> None:
    """Remove one bit, weighing its two halves; `out` may be `vector`."""
    stride = 1 << position
    size = 1 << (n_open - 1)
    for k in range(size):
        low = k & (stride - 1)
        source = ((k - low) << 1) + low
        out[k] = off * vector[source] + on * vector[source + stride]


@compiled()
def twin_sweep(
    world: int,
    cause: int,
    finding: int,
    own: FloatArray,
    weight: FloatArray,
    ratios: FloatArray,
    between: BoolArray,
    kind: IntArray,
    n_parents: IntArray,
    steps: IntArray,
    n_steps: int,
    touch_start: IntArray,
    touch: IntArray,
    left: IntArray,
    items: IntArray,
    vectors: FloatArray,
) -> float:
    """Return the log probability of the evidence together with the event of the second world.

    Parameters
    ----------
    world : int
        OBSERVED, DISABLED or SUFFICIENT.
    cause, finding : int
        Nodes the second world is about; ignored for OBSERVED.
    own, weight : ndarray, shape (N,), (C, N)
        Prior or leak of each node; strength of each cause on each node.
    ratios : ndarray, shape (N,)
        Evidence, with CERTAIN for a cause known to be present.
    between : ndarray, shape (C,)
        Causes downstream of `cause` and upstream of `finding`.
    kind, n_parents, steps, n_steps, touch_start, touch
        The plan of the evidence.
    left, items : ndarray, shape (N,), (2 N,)
        Scratch.
    vectors : ndarray, shape (4, states)
        Scratch; a row must hold two to the power of the most bits open.

    Returns
    -------
    float
        Natural logarithm; minus infinity where the event is impossible, NaN where `vectors` is
        too small.
    """
    n_causes = weight.shape[0]
    n_nodes = own.shape[0]
    current, one, other, spare = vectors[0], vectors[1], vectors[2], vectors[3]
    capacity = vectors.shape[1]
    log_scale = 0.0
    for node in range(n_nodes):
        left[node] = n_parents[node]
        if ratios[node] == 0.0:
            log_scale += np.log(1.0 - own[node])
        elif node >= n_causes and ratios[node] != 1.0 and n_parents[node] == 0:
            if world != OBSERVED and node == finding:
                return -np.inf
            certain = ratios[node] == np.inf
            on = 1.0 if certain else ratios[node]
            off = 0.0 if certain else 1.0
            log_scale += np.log(own[node] * on + (1.0 - own[node]) * off)
    n_open = 0
    current[0] = 1.0
    for step in range(n_steps):
        j = steps[step]
        middle = world != OBSERVED and between[j]
        # Branches: absent in `current`, on in both worlds in `one`, in the observed only in `other`
        arising = own[j]
        both = world != SUFFICIENT  # does what arises by itself arise in the second world too
        if world != OBSERVED and j == cause:
            both = world == SUFFICIENT
        place = _position(items, n_open, j)
        second = _position(items, n_open, n_nodes + j)
        size = 1 << n_open
        one[:size] = 0.0
        other[:size] = 0.0
        if middle:
            # first bit: switched on in both worlds; second bit: in the observed world only
            if place >= 0:
                _sum_out(current, n_open, place, 0.0, 1.0, one)
                _sum_out(current, n_open, place, 1.0, 0.0, current)
                n_open = _drop(items, n_open, place)
                second = _position(items, n_open, n_nodes + j)
                if second >= 0:
                    _sum_out(one, n_open, second, 1.0, 1.0, one)
            if second >= 0:
                _sum_out(current, n_open, second, 0.0, 1.0, other)
                _sum_out(current, n_open, second, 1.0, 0.0, current)
                n_open = _drop(items, n_open, second)
            size = 1 << n_open
            for k in range(size):
                if both:
                    one[k] += arising * (current[k] + other[k])
                    other[k] *= 1.0 - arising
                else:
                    other[k] += arising * current[k]
                current[k] *= 1.0 - arising
        else:
            if place >= 0:
                _sum_out(current, n_open, place, 0.0, 1.0, spare)
                _sum_out(current, n_open, place, 1.0, 0.0, current)
                n_open = _drop(items, n_open, place)
            else:
                spare[:size] = 0.0
            size = 1 << n_open
            target = one if both else other
            for k in range(size):
                target[k] = spare[k] + arising * current[k]
                current[k] *= 1.0 - arising
        # Evidence on the cause itself, and on what it fails to show
        factor = 1.0
        for node in range(n_nodes):
            if ratios[node] == 0.0:
                factor *= 1.0 - weight[j, node]
        if ratios[j] == CERTAIN:
            current[:size] = 0.0
        elif ratios[j] != 1.0:
            factor *= ratios[j]
        use_other = middle or not both
        use_one = middle or both
        for k in range(size):
            one[k] *= factor
            other[k] *= factor
        for t in range(touch_start[j], touch_start[j + 1]):
            item = touch[t]
            strength = weight[j, item]
            if world != OBSERVED and item == finding:
                if world == DISABLED and use_one:
                    for k in range(1 << n_open):
                        one[k] *= 1.0 - strength
                triggers = use_other if world == DISABLED else use_one
                if triggers:
                    place = _position(items, n_open, item)
                    if place < 0:
                        if capacity < 1 << (n_open + 1):
                            return np.nan
                        place, n_open = _open(items, n_open, item, current, one, other)
                    _trigger(other if world == DISABLED else one, n_open, place, strength)
                continue
            divided = item < n_causes and world != OBSERVED and between[item]
            if use_one:
                place = _position(items, n_open, item)
                if place < 0:
                    if capacity < 1 << (n_open + 1):
                        return np.nan
                    place, n_open = _open(items, n_open, item, current, one, other)
                _trigger(one, n_open, place, strength)
            if use_other:
                name = n_nodes + item if divided else item
                place = _position(items, n_open, name)
                if place < 0:
                    if capacity < 1 << (n_open + 1):
                        return np.nan
                    place, n_open = _open(items, n_open, name, current, one, other)
                _trigger(other, n_open, place, strength)
        largest = 0.0
        for k in range(1 << n_open):
            current[k] += one[k] + other[k]
            largest = max(largest, current[k])
        if largest == 0.0:
            return -np.inf
        # Close the findings whose last parent this was
        for t in range(touch_start[j], touch_start[j + 1]):
            item = touch[t]
            left[item] -= 1
            if item < n_causes or left[item] > 0:
                continue
            leak = own[item]
            on = 1.0 if ratios[item] == np.inf else ratios[item]
            off = (0.0 if ratios[item] == np.inf else 1.0 - leak) + leak * on
            if world != OBSERVED and item == finding:
                on = 1.0 - leak if world == DISABLED else 1.0
                off = 0.0
            place = _position(items, n_open, item)
            if place < 0:
                return -np.inf
            _sum_out(current, n_open, place, off, on, current)
            n_open = _drop(items, n_open, place)
        for k in range(1 << n_open):
            current[k] /= largest
        log_scale += np.log(largest)
    return log_scale + np.log(current[0])


@compiled(inline=True)
def _drop(items: IntArray, n_open: int, place: int) -> int:
    for k in range(place, n_open - 1):
        items[k] = items[k + 1]
    return n_open - 1


@compiled()
def _open(
    items: IntArray,
    n_open: int,
    item: int,
    current: FloatArray,
    one: FloatArray,
    other: FloatArray,
) -> tuple[int, int]:
    size = 1 << n_open
    for k in range(size, size << 1):
        current[k] = 0.0
        one[k] = 0.0
        other[k] = 0.0
    items[n_open] = item
    return n_open, n_open + 1


@compiled()
def twin_case(
    own: FloatArray,
    weight: FloatArray,
    shares: FloatArray,
    ratios: FloatArray,
    reaches: BoolArray,
    findings: IntArray,
    kind: IntArray,
    n_parents: IntArray,
    steps: IntArray,
    n_steps: int,
    touch_start: IntArray,
    touch: IntArray,
    capacity: int,
) -> tuple[float, FloatArray, FloatArray]:
    """Run the counterfactual sweeps of one case: every cause against every present finding.

    Parameters
    ----------
    own, weight : ndarray, shape (S, N), (S, C, N)
    shares : ndarray, shape (S,)
        Weight of each stratum.
    ratios : ndarray, shape (N,)
    reaches : ndarray, shape (C, N)
        Whether a directed path leads from the cause to the node.
    findings : ndarray, shape (P,)
        Nodes of the present findings.
    kind, n_parents, steps, n_steps, touch_start, touch
        The plan of the evidence.
    capacity : int
        States that a scratch vector can hold.

    Returns
    -------
    log_evidence : float
    disabled, sufficient : ndarray, shape (C, P)
        Probability, given the evidence, that the finding would be gone without the cause, and
        that the cause alone would have produced it. NaN where the scratch was too small.
    """
    n_strata, n_causes, n_nodes = weight.shape
    left = np.zeros(n_nodes, dtype=np.int64)
    items = np.zeros(2 * n_nodes, dtype=np.int64)
    vectors = np.empty((4, capacity))
    nothing = np.zeros(n_causes, dtype=np.bool_)
    between = np.zeros(n_causes, dtype=np.bool_)
    logs = np.full(n_strata, -np.inf)
    for s in range(n_strata):
        if shares[s] > 0:
            logs[s] = twin_sweep(
                OBSERVED, -1, -1, own[s], weight[s], ratios, nothing, kind, n_parents, steps,
                n_steps, touch_start, touch, left, items, vectors,
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
            if not reaches[cause, finding] or kind[cause] != _SWEPT:
                continue
            for middle in range(n_causes):
                between[middle] = reaches[cause, middle] and reaches[middle, finding]
            for s in range(n_strata):
                if shares[s] == 0 or logs[s] == -np.inf:
                    continue
                for world in (DISABLED, SUFFICIENT):
                    log = twin_sweep(
                        world, cause, finding, own[s], weight[s], ratios, between, kind,
                        n_parents, steps, n_steps, touch_start, touch, left, items, vectors,
                    )  # fmt: skip
                    share = shares[s] * np.exp(log - top) / total
                    if world == DISABLED:
                        disabled[cause, p] += share
                    else:
                        sufficient[cause, p] += share
    return top + np.log(total), disabled, sufficient
