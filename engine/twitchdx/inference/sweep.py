"""The sweep: exact P(evidence), every posterior and every derivative of one noisy-OR network.

The causes are summed out one at a time. A vector is carried over the subsets of *open* items
(present findings, and causes with parents, that some swept cause touches and some unswept one
still may): an entry is the probability that exactly these are switched on so far. Every term is
positive, so nothing cancels however rare the evidence is, unlike the alternating sum of
Quickscore [1]_. The adjoint of the sweep gives all posteriors and all derivatives at the price of
about one more sweep [2]_.

References
----------
.. [1] Heckerman D. A tractable inference algorithm for diagnosing multiple diseases. UAI 1989.
.. [2] Ballester-Ripoll R, Leonelli M. You only derive once (YODO): automatic differentiation for
   efficient sensitivity analysis in Bayesian networks. PGM 2022; Int J Approx Reason 2023.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.plan import (
    ABSENT,
    CLOSE,
    OPEN,
    PRESENT,
    SOLO,
    SWEPT,
    THROUGH,
    UNUSED,
    PlanArrays,
)
from twitchdx.inference.structure import FloatArray, IntArray

# An item that is on with a probability below this is stored with its "off" entries scaled down,
# so that both halves of the vector keep a comparable size and none underflows.
RARE = 2.0**-20


class SweepArrays(NamedTuple):
    """Working memory of one sweep of one stratum."""

    off: FloatArray  # (N,) P(node off | its swept parents off, its observed parents as observed)
    on: FloatArray  # (N,) 1 - off, without cancellation
    w_on: FloatArray  # (N,) weight of the evidence on a PRESENT node if the node is on
    w_off: FloatArray  # (N,) and if it is off
    close_off: FloatArray  # (N,) weight of an item that no parent has switched on
    tilt: FloatArray  # (N,) factor by which "off" entries of an item are scaled while it is open
    absent: FloatArray  # (C,) product of (1 - strength) over the absent nodes of a swept cause
    scale: FloatArray  # (steps + 1,) power of two that each step's vector is multiplied with
    op_strength: FloatArray  # (arrows,)
    states: FloatArray  # (stored states,) the vector before each step, one after the other
    start: IntArray  # (steps + 2,) where each step's vector starts
    u: FloatArray  # (2 * widest,) present branch
    a: FloatArray  # (2 * widest,) absent branch
    gu: FloatArray  # (2 * widest,) adjoint of the present branch
    ga: FloatArray  # (2 * widest,)
    g: FloatArray  # (widest,) adjoint of the vector
    lanes: FloatArray  # (lanes * widest,) adjoint of each barren cause
    total: FloatArray  # (4,) constant factor (its non-zero part), its log, number of zero factors


class Derivatives(NamedTuple):
    """Derivatives of the scaled P(evidence) by every network parameter."""

    own: FloatArray  # (N,)
    weight: FloatArray  # (C, N)


def new_sweep(n_causes: int, n_nodes: int, n_arrows: int) -> SweepArrays:
    """Allocate working memory; the state vectors are attached by `with_states`."""

    def floats(size: int) -> FloatArray:
        return np.zeros(size)

    return SweepArrays(
        off=floats(n_nodes),
        on=floats(n_nodes),
        w_on=floats(n_nodes),
        w_off=floats(n_nodes),
        close_off=floats(n_nodes),
        tilt=floats(n_nodes),
        absent=floats(n_causes),
        scale=floats(n_causes + n_arrows + 1),
        op_strength=floats(n_arrows),
        states=floats(1),
        start=np.zeros(n_causes + n_arrows + 2, dtype=np.int64),
        u=floats(1),
        a=floats(1),
        gu=floats(1),
        ga=floats(1),
        g=floats(1),
        lanes=floats(1),
        total=floats(4),
    )


@compiled()
def with_states(arrays: SweepArrays, stored: int, widest: int, lanes: int) -> SweepArrays:
    """Return the same working memory with room for this many states."""
    return SweepArrays(
        arrays.off,
        arrays.on,
        arrays.w_on,
        arrays.w_off,
        arrays.close_off,
        arrays.tilt,
        arrays.absent,
        arrays.scale,
        arrays.op_strength,
        np.empty(stored),
        arrays.start,
        np.empty(2 * widest),
        np.empty(2 * widest),
        np.empty(2 * widest),
        np.empty(2 * widest),
        np.empty(2 * widest),
        np.empty(lanes * widest),
        arrays.total,
    )


@compiled()
def prepare(
    own: FloatArray,
    weight: FloatArray,
    ratios: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    order: IntArray,
    plan: PlanArrays,
    arrays: SweepArrays,
) -> None:
    """Fill in the numbers of a plan for one stratum."""
    n_causes, n_nodes = weight.shape
    kind, n_parents = plan.kind, plan.n_parents
    off = arrays.off
    product = 1.0
    log_product = 0.0
    zeros = 0
    for cause in range(n_causes):
        arrays.absent[cause] = 1.0
    guess = arrays.close_off  # first: a rough P(cause on), later overwritten
    for index in range(n_nodes):
        node = order[index] if index < n_causes else index
        if kind[node] == UNUSED:
            continue
        q = 1.0 - own[node]
        p = own[node]
        rough = 0.0
        for k in range(parent_start[node], parent_start[node + 1]):
            parent = parents[k]
            if kind[parent] == PRESENT:
                q *= 1.0 - weight[parent, node]
                p += (1.0 - p) * weight[parent, node]
            elif kind[parent] == SWEPT:
                rough += guess[parent] * weight[parent, node]
                if kind[node] == ABSENT:
                    arrays.absent[parent] *= 1.0 - weight[parent, node]
        off[node] = q
        arrays.on[node] = p
        rough = min(1.0, rough + p)
        guess[node] = rough
        factor = 1.0
        if kind[node] == ABSENT:
            factor = q
        elif kind[node] == PRESENT:
            ratio = ratios[node]
            arrays.w_on[node] = 1.0
            arrays.w_off[node] = 0.0
            if ratio < np.inf:
                if ratio > 1.0:
                    arrays.w_off[node] = 1.0 / ratio
                    log_product += math.log(ratio)
                else:
                    arrays.w_on[node] = ratio
                    arrays.w_off[node] = 1.0
            if n_parents[node] == 0:
                factor = arrays.w_on[node] * p + arrays.w_off[node] * q
        else:
            arrays.w_on[node] = 1.0
            arrays.w_off[node] = 1.0
            if ratios[node] > 1.0:
                arrays.w_off[node] = 1.0 / ratios[node]
                log_product += math.log(ratios[node])
            else:
                arrays.w_on[node] = ratios[node]
        arrays.tilt[node] = 1.0
        if kind[node] >= PRESENT and n_parents[node] > 0 and 0.0 < rough < RARE:
            arrays.tilt[node] = 2.0 ** max(-1000, math.frexp(rough)[1])
        if factor == 0.0:
            zeros += 1
        else:
            product *= factor
            if product < 1e-200:
                log_product += math.log(product)
                product = 1.0
    for node in range(n_nodes):
        if kind[node] == PRESENT:
            arrays.close_off[node] = (
                off[node] * arrays.w_off[node] + arrays.on[node] * arrays.w_on[node]
            )
    log_product += math.log(product)
    arrays.total[0] = 0.0 if zeros > 0 else 1.0
    arrays.total[1] = log_product
    arrays.total[2] = zeros
    for step in range(plan.counts[0]):
        cause = plan.steps[step]
        for k in range(plan.op_start[step], plan.op_start[step + 1]):
            arrays.op_strength[k] = weight[cause, plan.op_node[k]]


@compiled(fastmath=True)
def _total(values: FloatArray, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += values[i]
    return total


@compiled(fastmath=True)
def _dot(x: FloatArray, y: FloatArray, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += x[i] * y[i]
    return total


@compiled(fastmath=True)
def _butterfly(x: FloatArray, size: int, position: int, gain: float, keep: float) -> None:
    """On += gain * off; off *= keep (in place, for the bit at this position)."""
    half = 1 << position
    for high in range(0, size, 2 * half):
        for low in range(high, high + half):
            off = x[low]
            x[low + half] += gain * off
            x[low] = keep * off


@compiled(fastmath=True)
def _adjoint_butterfly(g: FloatArray, size: int, position: int, gain: float, keep: float) -> None:
    """Off = gain * on + keep * off (in place)."""
    half = 1 << position
    for high in range(0, size, 2 * half):
        for low in range(high, high + half):
            g[low] = gain * g[low + half] + keep * g[low]


@compiled(fastmath=True)
def _close(x: FloatArray, size: int, position: int, on: float, off: float) -> None:
    """Sum a bit out, in place: the first size / 2 entries become on * on-entry + off * off-entry."""
    half = 1 << position
    to = 0
    for high in range(0, size, 2 * half):
        for low in range(high, high + half):
            x[to + low - high] = on * x[low + half] + off * x[low]
        to += half


@compiled(fastmath=True)
def _adjoint_close(g: FloatArray, size: int, position: int, on: float, off: float) -> None:
    """Undo `_close` for the adjoint, in place: g grows to `size` entries."""
    half = 1 << position
    source = size // 2
    for high in range(size - 2 * half, -1, -2 * half):
        source -= half
        for low in range(half - 1, -1, -1):
            value = g[source + low]
            g[high + half + low] = on * value
            g[high + low] = off * value


@compiled(fastmath=True)
def _split(
    v: FloatArray,
    size: int,
    position: int,
    a: FloatArray,
    u: FloatArray,
    absent: float,
    present_on: float,
    present_off: float,
) -> None:
    """Sum out the cause's own bit: a = absent * off; u = present_on * on + present_off * off."""
    half = 1 << position
    to = 0
    for high in range(0, size, 2 * half):
        for low in range(high, high + half):
            off = v[low]
            a[to + low - high] = absent * off
            u[to + low - high] = present_on * v[low + half] + present_off * off
        to += half


@compiled()
def _solo_factors(
    step: int, plan: PlanArrays, arrays: SweepArrays
) -> tuple[float, float]:
    """Factors of items that only this cause touches, in its absent and its present branch."""
    absent = 1.0
    present = 1.0
    for k in range(plan.op_start[step], plan.op_start[step + 1]):
        if plan.op_kind[k] != SOLO:
            break
        item = plan.op_node[k]
        s = arrays.op_strength[k]
        absent *= arrays.close_off[item]
        present *= s * arrays.w_on[item] + (1.0 - s) * arrays.close_off[item]
    return absent, present


@compiled()
def _branches(
    step: int, v: FloatArray, plan: PlanArrays, arrays: SweepArrays, u: FloatArray, a: FloatArray
) -> int:
    """Fill u and a with the two branches before any item is touched; return their size."""
    cause = plan.steps[step]
    size = 1 << plan.width[step]
    q = arrays.off[cause]
    solo_absent, solo_present = _solo_factors(step, plan, arrays)
    scale = arrays.scale[step]
    position = plan.own_position[step]
    if plan.first[step] == 0:  # the bit is already what the cause is
        _split(v, size, position, a, u, scale * solo_absent, scale * solo_present, 0.0)
        return size // 2
    absent = scale * solo_absent * arrays.w_off[cause] * q
    present = scale * solo_present * arrays.w_on[cause] * arrays.absent[cause]
    if position < 0:
        for i in range(size):
            a[i] = absent * v[i]
        present *= arrays.on[cause]
        for i in range(size):
            u[i] = present * v[i]
        return size
    tilt = arrays.tilt[cause]
    _split(v, size, position, a, u, absent / tilt, present, present * arrays.on[cause] / tilt)
    return size // 2


@compiled()
def forward(plan: PlanArrays, arrays: SweepArrays) -> tuple[float, float]:
    """Sweep all causes.

    Returns
    -------
    value, log_scale : float
        ``log P(evidence) = log(value * arrays.total[0]) + log_scale``.
    """
    states, start = arrays.states, arrays.start
    n_steps = plan.counts[0]
    states[0] = 1.0
    start[0] = 0
    log_scale = arrays.total[1]
    arrays.scale[0] = 1.0
    u, a = arrays.u, arrays.a
    for step in range(n_steps):
        size = 1 << plan.width[step]
        v = states[start[step] : start[step] + size]
        start[step + 1] = start[step] + size
        outer = 1 << plan.width[step + 1]
        whole = states[start[step + 1] : start[step + 1] + outer]
        hold = plan.hold[step] == 1
        out = whole[outer // 2 :] if hold else whole
        size = _branches(step, v, plan, arrays, u, a)
        no_open = 1.0
        filled = 0
        for k in range(plan.op_start[step], plan.op_start[step + 1]):
            item = plan.op_node[k]
            s = arrays.op_strength[k]
            what = plan.op_kind[k]
            if what == CLOSE:
                on = arrays.w_on[item]
                off = arrays.close_off[item]
                tilt = arrays.tilt[item]
                _close(a, size, plan.op_position[k], on, off / tilt)
                _close(u, size, plan.op_position[k], on, (s * on + (1.0 - s) * off) / tilt)
                size //= 2
            elif what == THROUGH:
                _butterfly(u, size, plan.op_position[k], s / arrays.tilt[item], 1.0 - s)
            elif what == OPEN:
                if filled == 0:
                    filled = size
                    out[:size] = u[:size]
                tilt = arrays.tilt[item]
                keep = tilt * (1.0 - s)
                no_open *= tilt
                for i in range(filled):
                    out[filled + i] = s * out[i]
                for i in range(filled):
                    out[i] *= keep
                filled *= 2
        if hold:
            if filled == 0:
                out[:size] = u[:size]
            for i in range(size):
                whole[i] = no_open * a[i]
            whole[size : outer // 2] = 0.0
        elif filled == 0:
            for i in range(size):
                out[i] = a[i] + u[i]
        else:
            for i in range(size):
                out[i] += no_open * a[i]
        total = _total(whole, outer)
        scale = 1.0
        if total > 0.0:
            scale = 2.0 ** min(1000, max(-1000, -math.frexp(total)[1]))
        arrays.scale[step + 1] = scale
        log_scale -= math.log(scale)
    value = states[start[n_steps]] * arrays.scale[n_steps]
    return value, log_scale


@compiled()
def reverse_step(
    step: int,
    v: FloatArray,
    plan: PlanArrays,
    arrays: SweepArrays,
    kept: float,
    derive: bool,
    g: FloatArray,
) -> tuple[float, float, float]:
    """Carry the adjoint `g` (in place) back over one step.

    `kept` is an extra factor of the present branch.

    Returns
    -------
    reach, along_u, along_a : float
        Scaled P(evidence, cause on), without `kept`, over the factor that only the present
        branch has; and the parts of it that the cause's own parameter multiplies.
    """
    gu, ga = arrays.gu, arrays.ga
    cause = plan.steps[step]
    begin, end = plan.op_start[step], plan.op_start[step + 1]
    outer = 1 << plan.width[step + 1]
    first_open = end
    while first_open > begin and plan.op_kind[first_open - 1] == OPEN:
        first_open -= 1
    present_at = 0  # where the adjoint of the present branch begins
    if plan.hold[step] == 1:
        outer //= 2
        present_at = outer
    size = outer >> (end - first_open)
    no_open = 1.0
    for k in range(first_open, end):
        no_open *= arrays.tilt[plan.op_node[k]]
    for i in range(size):
        ga[i] = no_open * g[i]
    for i in range(outer):
        gu[i] = g[present_at + i]
    filled = outer
    for k in range(end - 1, first_open - 1, -1):
        filled //= 2
        s = arrays.op_strength[k]
        keep = arrays.tilt[plan.op_node[k]] * (1.0 - s)
        for i in range(filled):
            gu[i] = s * gu[filled + i] + keep * gu[i]
    for k in range(first_open - 1, begin - 1, -1):
        item = plan.op_node[k]
        s = arrays.op_strength[k]
        what = plan.op_kind[k]
        if what == THROUGH:
            _adjoint_butterfly(gu, size, plan.op_position[k], s / arrays.tilt[item], 1.0 - s)
        elif what == CLOSE:
            on = arrays.w_on[item]
            off = arrays.close_off[item]
            tilt = arrays.tilt[item]
            size *= 2
            _adjoint_close(ga, size, plan.op_position[k], on, off / tilt)
            _adjoint_close(gu, size, plan.op_position[k], on, (s * on + (1.0 - s) * off) / tilt)
    solo_absent, solo_present = _solo_factors(step, plan, arrays)
    scale = arrays.scale[step]
    absent = scale * solo_absent * arrays.w_off[cause] * arrays.off[cause]
    present = scale * solo_present * arrays.w_on[cause] * arrays.absent[cause] * kept
    p = arrays.on[cause]
    position = plan.own_position[step]
    along_a = 0.0
    if plan.first[step] == 0:
        half = 1 << position
        reach = _dot_at(gu, v, size, half, half)
        if derive:
            along_a = _dot_at(ga, v, size, half, 0)
        _adjoint_split(g, ga, gu, size, half, scale * solo_absent, scale * solo_present, 0.0)
        return reach, 0.0, along_a
    if position < 0:
        along_u = _dot(gu, v, size)
        reach = p * along_u
        if derive:
            along_a = _dot(ga, v, size)
        present *= p
        for i in range(size):
            g[i] = absent * ga[i] + present * gu[i]
    else:
        tilt = arrays.tilt[cause]
        half = 1 << position
        along_u = _dot_at(gu, v, size, half, 0) / tilt
        reach = p * along_u + _dot_at(gu, v, size, half, half)
        if derive:
            along_a = _dot_at(ga, v, size, half, 0) / tilt
        _adjoint_split(g, ga, gu, size, half, absent / tilt, present, present * p / tilt)
    return reach, along_u, along_a


@compiled()
def reverse(
    weight: FloatArray,
    plan: PlanArrays,
    arrays: SweepArrays,
    derive: bool,
    joint: FloatArray,
    out: Derivatives,
) -> None:
    """Run the adjoint of `forward`.

    Fills ``joint[cause]`` with the scaled P(evidence, cause on) of every swept cause, and of
    every barren cause with several swept parents the scaled P(evidence, a swept parent switches
    it on). With `derive`, fills `out` with the derivatives by ``off`` (in ``out.own``) and by
    the strengths of swept causes on relevant nodes.

    A barren cause is switched on by exactly one parent last in sweep order; the adjoint of
    "no parent swept later switches it on" is carried along from its last parent to its first.
    """
    n_steps = plan.counts[0]
    n_lanes = plan.counts[4]
    g = arrays.g
    g[0] = arrays.scale[n_steps] * arrays.total[0]
    widest = 1 << plan.counts[2]
    for lane in range(n_lanes):
        joint[plan.lane_cause[lane]] = 0.0
    for step in range(n_steps - 1, -1, -1):
        cause = plan.steps[step]
        v = arrays.states[arrays.start[step] : arrays.start[step + 1]]
        branch = (
            arrays.scale[step]
            * _solo_factors(step, plan, arrays)[1]
            * arrays.w_on[cause]
            * arrays.absent[cause]
        )
        first = plan.first[step] == 1
        for lane in range(n_lanes):
            if plan.lane_first[lane] <= step <= plan.lane_last[lane]:
                barren = plan.lane_cause[lane]
                s = weight[cause, barren] if first else 0.0
                own_g = arrays.lanes[lane * widest : (lane + 1) * widest]
                if step == plan.lane_last[lane]:
                    outer = 1 << plan.width[step + 1]
                    own_g[:outer] = g[:outer]
                reach = reverse_step(step, v, plan, arrays, 1.0 - s, False, own_g)[0]
                joint[barren] += s * branch * reach
        if derive:
            _derive_items(step, v, plan, arrays, out)
        reach, along_u, along_a = reverse_step(step, v, plan, arrays, 1.0, derive, g)
        if first:
            joint[cause] = branch * reach
        if derive and not first:
            _derive_solo(
                step,
                arrays.scale[step] * reach,
                arrays.scale[step] * along_a,
                plan,
                arrays,
                out,
            )
        elif derive:
            scale = arrays.scale[step]
            solo_absent, solo_present = _solo_factors(step, plan, arrays)
            w_on, w_off = arrays.w_on[cause], arrays.w_off[cause]
            out.own[cause] = scale * solo_absent * w_off * along_a - branch * along_u
            _derive_solo(
                step,
                scale * w_on * arrays.absent[cause] * reach,
                scale * w_off * arrays.off[cause] * along_a,
                plan,
                arrays,
                out,
            )
            # for strengths on absent nodes: P(evidence, cause on) without their factors
            out.weight[cause, cause] = scale * solo_present * w_on * reach


@compiled()
def barren_posterior(
    cause: int,
    value: float,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
    joint: FloatArray,
) -> float:
    """P(cause on | evidence) of a cause without observed descendants.

    `joint` holds P(evidence, parent on) of its swept parent, or of several what `reverse` left
    for the cause itself; `value` is P(evidence) in the same unit.
    """
    n_swept = 0
    by_swept = 0.0
    alone = own[cause]
    for k in range(parent_start[cause], parent_start[cause + 1]):
        parent = parents[k]
        s = weight[parent, cause]
        if plan.kind[parent] == SWEPT:
            n_swept += 1
            by_swept = s * joint[parent]
        elif plan.kind[parent] == PRESENT:
            alone += (1.0 - alone) * s
        elif plan.kind[parent] == UNUSED:
            alone += (1.0 - alone) * s * own[parent]
    if n_swept > 1:
        by_swept = joint[cause]
    return min(1.0, alone + (1.0 - alone) * by_swept / value)


@compiled(fastmath=True)
def _dot_at(g: FloatArray, v: FloatArray, size: int, half: int, shift: int) -> float:
    """Dot of g with the entries of v whose bit is off (shift 0) or on (shift half)."""
    total = 0.0
    for block in range(0, size, half):
        for low in range(half):
            total += g[block + low] * v[2 * block + shift + low]
    return total


@compiled(fastmath=True)
def _adjoint_split(
    g: FloatArray,
    ga: FloatArray,
    gu: FloatArray,
    size: int,
    half: int,
    absent: float,
    present_on: float,
    present_off: float,
) -> None:
    for block in range(0, size, half):
        for low in range(half):
            g[2 * block + low] = absent * ga[block + low] + present_off * gu[block + low]
            g[2 * block + half + low] = present_on * gu[block + low]


@compiled()
def _derive_solo(
    step: int,
    present: float,
    absent: float,
    plan: PlanArrays,
    arrays: SweepArrays,
    out: Derivatives,
) -> None:
    """Derivatives by the numbers of items that only this cause touches."""
    cause = plan.steps[step]
    begin, end = plan.op_start[step], plan.op_start[step + 1]
    for k in range(begin, end):
        if plan.op_kind[k] != SOLO:
            break
        others_absent = absent
        others_present = present
        for m in range(begin, end):
            if plan.op_kind[m] != SOLO:
                break
            if m != k:
                item = plan.op_node[m]
                s = arrays.op_strength[m]
                others_absent *= arrays.close_off[item]
                others_present *= s * arrays.w_on[item] + (1.0 - s) * arrays.close_off[item]
        item = plan.op_node[k]
        s = arrays.op_strength[k]
        out.weight[cause, item] = others_present * (arrays.w_on[item] - arrays.close_off[item])
        by_close = (1.0 - s) * others_present + others_absent
        out.own[item] = by_close * (arrays.w_off[item] - arrays.w_on[item])


@compiled(fastmath=True)
def _dot_gap(
    g: FloatArray, x: FloatArray, size: int, position: int, on: float, off: float
) -> float:
    """Sum of (on * g_on - off * g_off) * x_off over a bit."""
    half = 1 << position
    total = 0.0
    for high in range(0, size, 2 * half):
        for low in range(high, high + half):
            total += (on * g[low + half] - off * g[low]) * x[low]
    return total


@compiled(fastmath=True)
def _dot_bits(
    g: FloatArray, g_at: int, x: FloatArray, x_at: int, size: int, position: int, shift: int
) -> float:
    """Dot of g (size / 2 entries) with the entries of x (size) whose bit is off or on."""
    half = 1 << position
    total = 0.0
    to = g_at
    for high in range(x_at, x_at + size, 2 * half):
        for low in range(half):
            total += g[to + low] * x[high + shift * half + low]
        to += half
    return total


@compiled()
def _derive_items(
    step: int, v: FloatArray, plan: PlanArrays, arrays: SweepArrays, out: Derivatives
) -> None:
    """Derivatives by the numbers of the bits that this step closes, passes or opens.

    The forward branches are computed again, keeping what stands before each closing; the adjoint
    is carried back through the items so that each derivative meets all other items applied.
    """
    cause = plan.steps[step]
    begin, end = plan.op_start[step], plan.op_start[step + 1]
    first_close = begin
    while first_close < end and plan.op_kind[first_close] == SOLO:
        first_close += 1
    if first_close == end:
        return
    first_through = first_close
    while first_through < end and plan.op_kind[first_through] == CLOSE:
        first_through += 1
    first_open = first_through
    while first_open < end and plan.op_kind[first_open] == THROUGH:
        first_open += 1
    n_open = end - first_open
    n_close = first_through - first_close
    # u0, u1, ... (before each closing) one after the other, and the same for a
    top = 1 << plan.width[step]
    u = np.empty(4 * top + 4)
    a = np.empty(4 * top + 4)
    size = _branches(step, v, plan, arrays, u, a)
    at = 0
    for k in range(first_close, first_through):
        item = plan.op_node[k]
        s = arrays.op_strength[k]
        on = arrays.w_on[item]
        off = arrays.close_off[item]
        tilt = arrays.tilt[item]
        below_u, below_a = u[at + size :], a[at + size :]
        below_u[:size] = u[at : at + size]
        below_a[:size] = a[at : at + size]
        at += size
        _close(below_a, size, plan.op_position[k], on, off / tilt)
        _close(below_u, size, plan.op_position[k], on, (s * on + (1.0 - s) * off) / tilt)
        size //= 2
    # before THROUGH: u2 = u[at:]; the adjoint there needs all opens contracted
    u2 = u[at : at + size]
    outer = size << n_open
    g_absent = arrays.g
    g = g_absent[outer:] if plan.hold[step] == 1 else g_absent
    if n_open:
        u3 = u2.copy()
        for k in range(first_through, first_open):
            tilt = arrays.tilt[plan.op_node[k]]
            s = arrays.op_strength[k]
            _butterfly(u3, size, plan.op_position[k], s / tilt, 1.0 - s)
        blocks = 1 << n_open
        dots = np.empty(blocks)
        for block in range(blocks):
            dots[block] = _dot(g[block * size : (block + 1) * size], u3, size)
        work = np.empty(blocks)
        for k in range(first_open, end):
            work[:] = dots
            count = blocks
            for m in range(end - 1, first_open - 1, -1):
                count //= 2
                s = arrays.op_strength[m]
                tilt = arrays.tilt[plan.op_node[m]]
                for i in range(count):
                    if m == k:
                        work[i] = work[count + i] - tilt * work[i]
                    else:
                        work[i] = s * work[count + i] + tilt * (1.0 - s) * work[i]
            out.weight[cause, plan.op_node[k]] = work[0]
    gu = g[:outer].copy()
    ga = np.empty(2 * top)
    no_open = 1.0
    for k in range(first_open, end):
        no_open *= arrays.tilt[plan.op_node[k]]
    for i in range(size):
        ga[i] = no_open * g_absent[i]
    filled = outer
    for k in range(end - 1, first_open - 1, -1):
        filled //= 2
        s = arrays.op_strength[k]
        keep = arrays.tilt[plan.op_node[k]] * (1.0 - s)
        for i in range(filled):
            gu[i] = s * gu[filled + i] + keep * gu[i]
    # THROUGH: first the moderate strengths (divided out again below), then the high ones by
    # leaving each out in turn
    high = 0.9
    for k in range(first_through, first_open):
        s = arrays.op_strength[k]
        if s <= high:
            tilt = arrays.tilt[plan.op_node[k]]
            _adjoint_butterfly(gu, size, plan.op_position[k], s / tilt, 1.0 - s)
    for k in range(first_through, first_open):
        if arrays.op_strength[k] > high:
            others = gu[:size].copy()
            for m in range(first_through, first_open):
                s = arrays.op_strength[m]
                if m != k and s > high:
                    tilt = arrays.tilt[plan.op_node[m]]
                    _adjoint_butterfly(others, size, plan.op_position[m], s / tilt, 1.0 - s)
            tilt = arrays.tilt[plan.op_node[k]]
            out.weight[cause, plan.op_node[k]] = _dot_gap(
                others, u2, size, plan.op_position[k], 1.0 / tilt, 1.0
            )
    for k in range(first_through, first_open):
        s = arrays.op_strength[k]
        if s > high:
            tilt = arrays.tilt[plan.op_node[k]]
            _adjoint_butterfly(gu, size, plan.op_position[k], s / tilt, 1.0 - s)
    for k in range(first_through, first_open):
        s = arrays.op_strength[k]
        if s <= high:
            tilt = arrays.tilt[plan.op_node[k]]
            out.weight[cause, plan.op_node[k]] = _dot_gap(
                gu, u2, size, plan.op_position[k], 1.0 / tilt, 1.0
            ) / (1.0 - s)
    if n_close == 0:
        return
    gu2 = np.empty(2 * top)
    gu2[:size] = gu[:size]
    for k in range(first_through - 1, first_close - 1, -1):
        item = plan.op_node[k]
        s = arrays.op_strength[k]
        on = arrays.w_on[item]
        off = arrays.close_off[item]
        tilt = arrays.tilt[item]
        position = plan.op_position[k]
        size *= 2
        at -= size
        u_off = _dot_bits(gu2, 0, u, at, size, position, 0) / tilt
        a_off = _dot_bits(ga, 0, a, at, size, position, 0) / tilt
        out.weight[cause, item] = (on - off) * u_off
        out.own[item] = ((1.0 - s) * u_off + a_off) * (arrays.w_off[item] - arrays.w_on[item])
        _adjoint_close(ga, size, position, on, off / tilt)
        _adjoint_close(gu2, size, position, on, (s * on + (1.0 - s) * off) / tilt)


@compiled()
def finish_derivatives(
    value: float,
    own: FloatArray,
    weight: FloatArray,
    parent_start: IntArray,
    parents: IntArray,
    plan: PlanArrays,
    arrays: SweepArrays,
    out: Derivatives,
) -> None:
    """Turn derivatives by ``off`` into derivatives by the network's own parameters.

    On entry ``out.own`` holds d/d off of the items and swept causes that `reverse` met, and
    ``out.weight[cause, cause]`` the scaled P(evidence, cause on) without its absent factors.
    """
    n_causes, n_nodes = weight.shape
    zeros = arrays.total[2]
    # strengths of swept causes on absent nodes
    for step in range(plan.counts[0]):
        if plan.first[step] == 0:
            continue
        cause = plan.steps[step]
        raw = out.weight[cause, cause]
        out.weight[cause, cause] = 0.0
        for k in range(plan.counts[1]):
            node = plan.absent[k]
            if weight[cause, node] == 0.0 and not _is_parent(cause, node, parent_start, parents):
                continue
            others = raw
            for m in range(plan.counts[1]):
                if m != k:
                    others *= 1.0 - weight[cause, plan.absent[m]]
            out.weight[cause, node] = -others
    # constant factors: absent nodes, and present nodes without swept parents
    for node in range(n_nodes):
        kind = plan.kind[node]
        constant = kind == ABSENT or (kind == PRESENT and plan.n_parents[node] == 0)
        if not constant:
            continue
        q = arrays.off[node]
        if kind == ABSENT:
            factor, slope = q, 1.0
        else:
            factor = arrays.w_on[node] * arrays.on[node] + arrays.w_off[node] * q
            slope = arrays.w_off[node] - arrays.w_on[node]
        if zeros == 0:
            out.own[node] = value / factor * slope
        elif zeros == 1 and factor == 0.0:
            out.own[node] = value * slope
        else:
            out.own[node] = 0.0
    # off = (1 - own) * prod(1 - strength) over observed-present parents
    for node in range(n_nodes):
        if plan.kind[node] == UNUSED:
            continue
        by_off = out.own[node]
        for k in range(parent_start[node], parent_start[node + 1]):
            parent = parents[k]
            if plan.kind[parent] == PRESENT:
                others = 1.0 - own[node]
                for m in range(parent_start[node], parent_start[node + 1]):
                    if m != k and plan.kind[parents[m]] == PRESENT:
                        others *= 1.0 - weight[parents[m], node]
                out.weight[parent, node] = -by_off * others
        others = 1.0
        for k in range(parent_start[node], parent_start[node + 1]):
            if plan.kind[parents[k]] == PRESENT:
                others *= 1.0 - weight[parents[k], node]
        out.own[node] = -by_off * others


@compiled(inline=True)
def _is_parent(cause: int, node: int, parent_start: IntArray, parents: IntArray) -> bool:
    for k in range(parent_start[node], parent_start[node + 1]):
        if parents[k] == cause:
            return True
    return False
