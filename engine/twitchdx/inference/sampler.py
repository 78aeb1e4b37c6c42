"""Sample a row that is too wide for exact inference, in bounded time and with standard errors.

Annealed importance sampling [1]_ over the causes. A particle is drawn from the network before
any evidence; the evidence then comes in by `STEPS` small steps, with a Gibbs sweep over the
causes after each: what is present at first has a leak of 1 (so says nothing), which falls
geometrically to its own; what is absent counts with a power that rises from 0 to 1. The product
of what each step changes is the particle's weight, and the mean weight estimates P(evidence)
without bias. With all evidence in, `SWEEPS` more sweeps average the causes' conditional
probabilities (Rao-Blackwell), not their states. Particles are independent, hence honest standard
errors; their random numbers depend on the row, the stratum and their own number alone. A standard
error is never less than one over the sweeps of the effective particles that count as independent:
what none has met.

The work of a row is bounded: as many particles as `WORK` visits of an arrow pay for, within
`FEWEST` and `MOST`.

References
----------
.. [1] Neal RM. Annealed importance sampling. Statistics and Computing 2001;11:125-139.
"""
# What numba computes in uint64 has no type that a checker could follow.
# mypy: disable-error-code="operator,assignment,arg-type,return-value"

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numba
import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.structure import Compiled, FloatArray, IntArray

STEPS = 150
"""Steps in which the evidence comes in."""

SWEEPS = 30
"""Sweeps over the causes that are averaged, with all evidence in."""

APART = 10
"""Sweeps after which a particle counts as having forgotten its state: until then it stays near the
same explanation, and may not meet a rare one."""

WORK = 5.0e7
"""Visits of an arrow (about 20 nanoseconds each) that one row may cost: about a second."""

FEWEST, MOST = 240, 6000
"""Particles of a row, all strata together."""

# What a cause is to the sampler.
FREE, ON, OFF, BARREN = 0, 1, 2, 3


class Sampled(NamedTuple):
    """What the particles of one row say.

    Attributes
    ----------
    log_evidence : float
        NaN where no particle met the evidence.
    log_evidence_error : float
        Its standard error.
    posterior, standard_error : ndarray, shape (C,)
    particles : int
    effective : float
        How many particles of equal weight would be as good.
    """

    log_evidence: float
    log_evidence_error: float
    posterior: FloatArray
    standard_error: FloatArray
    particles: int
    effective: float


class Layout(NamedTuple):
    """One row in one stratum, laid out for the particles."""

    state: IntArray  # (C,) FREE, ON, OFF, BARREN
    order: IntArray  # (C,) parents first
    child_start: IntArray  # (C + 1,) arrows that a cause visits
    child: IntArray
    keep: FloatArray  # 1 - strength of the arrow
    base: FloatArray  # (N,) P(off) by the leak and by causes that are observed on
    sure: IntArray  # (N,) how many of those switch it on for sure
    tilt: FloatArray  # (C,) log factor of a cause that is on: absent findings, soft evidence
    seen: IntArray  # (evidence,) nodes that are present or soft
    place: IntArray  # (N,) place in `seen`, or -1
    level: FloatArray  # (evidence,) a term is level + slope[step] * P(off)
    slope: FloatArray  # (STEPS + 1, evidence)
    constant: float  # log factor of every particle; -inf: impossible


def sample_row(compiled: Compiled, row: FloatArray, mixture: FloatArray, threads: int) -> Sampled:
    """Estimate P(evidence) and every posterior of one row in the mixture of its strata.

    Parameters
    ----------
    compiled : Compiled
    row : ndarray, shape (N,)
        Likelihood ratios.
    mixture : ndarray, shape (S,)
        Probability of each stratum.
    threads : int
        1, or as many as numba is set to. The answer is the same to the last bit.
    """
    strata = np.flatnonzero(mixture > 0)
    layouts = [lay_out(compiled, row, stratum) for stratum in strata.tolist()]
    visits = max(len(layout.child) + 4 * compiled.n_causes for layout in layouts)
    wanted = int(np.clip(WORK / (visits * (STEPS + SWEEPS)), FEWEST, MOST))
    each = max(2, wanted // len(strata))
    digest = hashlib.blake2b(row.tobytes() + mixture.tobytes(), digest_size=7).digest()
    seed = int.from_bytes(digest, "little")
    log_weight = np.full((len(strata), each), -np.inf)
    average = np.zeros((len(strata), each, compiled.n_causes))
    for index, layout in enumerate(layouts):
        if layout.constant == -np.inf:
            continue
        run = run_parallel if threads > 1 else run_range
        run(0, each, seed + index, layout, log_weight[index], average[index])
        log_weight[index] += layout.constant + np.log(mixture[strata[index]] / each)
    best = float(log_weight.max())
    if best == -np.inf:
        nothing = np.full(compiled.n_causes, np.nan)
        return Sampled(np.nan, np.nan, nothing, nothing.copy(), log_weight.size, 0.0)
    weight = np.exp(log_weight - best)
    total = float(weight.sum())
    posterior = np.einsum("sk,skc->c", weight, average) / total
    spread = weight[:, :, None] * (average - posterior)
    spread -= spread.mean(axis=1, keepdims=True)
    scale = each / (each - 1)
    effective = total**2 / float((weight**2).sum())
    unseen = np.where((posterior > 0) & (posterior < 1), APART / (effective * SWEEPS), 0.0)
    error = np.sqrt(scale * (spread**2).sum(axis=(0, 1)) / total**2 + unseen**2)
    weight_spread = weight - weight.mean(axis=1, keepdims=True)
    log_error = float(np.sqrt(scale * (weight_spread**2).sum()) / total)
    return Sampled(
        best + float(np.log(total)),
        log_error,
        np.clip(posterior, 0.0, 1.0),
        error,
        log_weight.size,
        effective,
    )


def lay_out(compiled: Compiled, row: FloatArray, stratum: int) -> Layout:
    """Find what is free, what is settled, and the arrows between what matters."""
    n_causes, n_nodes = compiled.n_causes, compiled.n_nodes
    own, weight, order = compiled.own[stratum], compiled.weight[stratum], compiled.order
    backwards = [*range(n_causes, n_nodes), *order[::-1].tolist()]
    relevant = row != 1.0
    off = row == 0.0  # observed absent, or ruled out by a sure arrow to something absent
    for node in backwards:
        parents = compiled.parents[compiled.parent_start[node] : compiled.parent_start[node + 1]]
        parents = parents[weight[parents, node] > 0]
        if relevant[node]:
            relevant[parents] = True
        if off[node]:
            off[parents[weight[parents, node] == 1.0]] = True
    on = row == np.inf
    impossible = bool((on & off).any())
    state = np.select([on[:n_causes], off[:n_causes], relevant[:n_causes]], [ON, OFF, FREE], BARREN)
    settled = weight[state == ON]
    certain = (settled == 1.0).sum(axis=0)
    base = (1.0 - own) * np.prod(np.where(settled == 1.0, 1.0, 1.0 - settled), axis=0)
    with np.errstate(divide="ignore"):
        log_off = np.where(certain > 0, -np.inf, np.log(base))
        log_keep = np.log1p(-np.where(weight == 1.0, 0.0, weight))
        soft = np.where((row > 0) & np.isfinite(row), np.log(row), 0.0)[:n_causes]
    constant = float(log_off[off].sum()) if off.any() else 0.0
    if impossible:
        constant = -np.inf
    tilt = soft + log_keep[:, off].sum(axis=1)
    observed = (row != 1.0) & ~off
    observed[:n_causes] &= state == ON
    seen = np.flatnonzero(observed)
    place = np.full(n_nodes, -1, dtype=np.int64)
    place[seen] = np.arange(len(seen))
    level = np.where(np.isinf(row[seen]), 1.0, row[seen])
    slope = np.where(np.isinf(row[seen]), -1.0, 1.0 - row[seen])
    constant += float(np.log(level).sum())
    lowest = np.where(certain[seen] > 0, 1.0, 1.0 - base[seen])
    lowest = np.clip(0.2 * lowest, 1e-7, 0.2)
    power = np.append(np.arange(STEPS) / (STEPS - 1), np.inf)
    slopes = slope * (1.0 - lowest ** power[:, None])
    visited = place >= 0
    visited[:n_causes] |= state == FREE
    arrows = (weight > 0) & visited
    # a barren cause visits the barren causes below it, in the draw of all causes in order
    arrows[:, :n_causes] |= (weight[:, :n_causes] > 0) & (state == BARREN)
    arrows[(state == ON) | (state == OFF)] = False
    start = np.concatenate([[0], np.cumsum(arrows.sum(axis=1))]).astype(np.int64)
    tail, child = np.nonzero(arrows)
    return Layout(
        state.astype(np.int64),
        order,
        start,
        child.astype(np.int64),
        1.0 - weight[tail, child],
        base,
        certain.astype(np.int64),
        tilt,
        seen.astype(np.int64),
        place,
        level,
        np.ascontiguousarray(slopes),
        constant,
    )


@compiled(inline=True)
def next_state(state: int) -> int:
    """Step of the splitmix64 generator."""
    return np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)


@compiled(inline=True)
def uniform(state: int) -> float:
    """Number in [0, 1) of a state of the splitmix64 generator."""
    z = np.uint64(state)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 1.1102230246251565e-16


@compiled()
def run_range(
    first: int,
    last: int,
    seed: int,
    layout: Layout,
    log_weight: FloatArray,
    average: FloatArray,
) -> None:
    """Run particles first..last - 1."""
    n_nodes = layout.base.shape[0]
    on = np.zeros(layout.order.shape[0], dtype=np.int64)
    off = np.zeros(n_nodes)
    sure = np.zeros(n_nodes, dtype=np.int64)
    factor = np.zeros(layout.order.shape[0])
    for particle in range(first, last):
        log_weight[particle] = run_particle(
            np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
            + np.uint64(particle + 1) * np.uint64(0xA0761D6478BD642F),
            layout,
            on,
            off,
            sure,
            factor,
            average[particle],
        )


@compiled(parallel=True)
def run_parallel(
    first: int,
    last: int,
    seed: int,
    layout: Layout,
    log_weight: FloatArray,
    average: FloatArray,
) -> None:
    """Run particles first..last - 1 on numba's threads."""
    parts = 16
    for part in numba.prange(parts):
        run_range(
            first + (last - first) * part // parts,
            first + (last - first) * (part + 1) // parts,
            seed,
            layout,
            log_weight,
            average,
        )


@compiled()
def run_particle(
    random: int,
    layout: Layout,
    on: IntArray,
    off: FloatArray,
    sure: IntArray,
    factor: FloatArray,
    average: FloatArray,
) -> float:
    """Draw one particle, bring the evidence in, average; return its log weight."""
    state, order = layout.state, layout.order
    n_causes = order.shape[0]
    off[:] = layout.base
    sure[:] = layout.sure
    on[:] = 0
    average[:] = 0.0
    for cause in order:
        if state[cause] == FREE:
            random = next_state(random)
            p_off = 0.0 if sure[cause] > 0 else off[cause]
            if uniform(random) >= p_off:
                flip(cause, 1, layout, off, sure)
                on[cause] = 1
    log_weight = 0.0
    for step in range(1, STEPS + 1):
        change = 1.0
        for k in range(layout.seen.shape[0]):
            node = layout.seen[k]
            p_off = 0.0 if sure[node] > 0 else off[node]
            before = layout.level[k] + layout.slope[step - 1, k] * p_off
            change *= (layout.level[k] + layout.slope[step, k] * p_off) / before
            if change < 1e-200:
                if change <= 0.0:
                    return -np.inf
                log_weight += np.log(change)
                change = 1.0
        log_weight += np.log(change)
        tilted = 0.0
        for cause in range(n_causes):
            if on[cause] == 1:
                tilted += layout.tilt[cause]
            factor[cause] = np.exp(layout.tilt[cause] * (step / STEPS))
        log_weight += tilted / STEPS
        if step < STEPS:
            for cause in order:
                if state[cause] == FREE:
                    random = next_state(random)
                    draw(cause, uniform(random), step, layout, on, off, sure, factor)
    for _ in range(SWEEPS):
        for cause in order:
            if state[cause] == FREE:
                random = next_state(random)
                average[cause] += draw(cause, uniform(random), STEPS, layout, on, off, sure, factor)
        for cause in order:
            if state[cause] == BARREN:
                p_off = 0.0 if sure[cause] > 0 else off[cause]
                average[cause] += 1.0 - p_off
                random = next_state(random)
                now = 1 if uniform(random) >= p_off else 0
                if now != on[cause]:
                    flip(cause, now, layout, off, sure)
                    on[cause] = now
    for cause in range(n_causes):
        average[cause] = 1.0 if state[cause] == ON else average[cause] / SWEEPS
    return log_weight


@compiled()
def draw(
    cause: int,
    number: float,
    step: int,
    layout: Layout,
    on: IntArray,
    off: FloatArray,
    sure: IntArray,
    factor: FloatArray,
) -> float:
    """Draw a cause anew given all others; return its probability."""
    p_off = 0.0 if sure[cause] > 0 else off[cause]
    if_on = (1.0 - p_off) * factor[cause]
    if_off = p_off
    now = on[cause]
    for k in range(layout.child_start[cause], layout.child_start[cause + 1]):
        node = layout.child[k]
        keep = layout.keep[k]
        others = off[node]
        others_sure = sure[node]
        if now == 1:
            if keep > 0.0:
                others /= keep
            else:
                others_sure -= 1
        if others_sure > 0:
            others = 0.0
        seen = layout.place[node]
        if seen >= 0:
            level, slope = layout.level[seen], layout.slope[step, seen]
            if_on *= level + slope * others * keep
            if_off *= level + slope * others
        elif layout.state[node] == FREE:
            if on[node] == 1:
                if_on *= 1.0 - others * keep
                if_off *= 1.0 - others
            else:
                if_on *= others * keep
                if_off *= others
        total = if_on + if_off
        if 0.0 < total < 1e-100:
            if_on /= total
            if_off /= total
    total = if_on + if_off
    if total <= 0.0:
        return float(now)
    probability = if_on / total
    then = 1 if number < probability else 0
    if then != now:
        flip(cause, then, layout, off, sure)
        on[cause] = then
    return probability


@compiled()
def flip(cause: int, then: int, layout: Layout, off: FloatArray, sure: IntArray) -> None:
    """Switch a cause on or off in what its arrows reach."""
    for k in range(layout.child_start[cause], layout.child_start[cause + 1]):
        node = layout.child[k]
        keep = layout.keep[k]
        if keep > 0.0:
            if then == 1:
                off[node] *= keep
            else:
                off[node] /= keep
        elif then == 1:
            sure[node] += 1
        else:
            sure[node] -= 1
