"""The inference functions that the rest of the package calls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from twitchdx.errors import EvidenceError, ImpossibleEvidenceError, WidthError
from twitchdx.inference.buckets import (
    ENTRIES,
    N_AXES,
    N_BUCKETS,
    NODE,
    ROLE,
    STATE,
    STATE_OF_TWO,
    WIDEST,
)
from twitchdx.inference.elimination import N_FOLDS
from twitchdx.inference.kernel import Derivatives
from twitchdx.inference.rows import (
    IMPOSSIBLE,
    TOO_WIDE,
    derive_row,
    infer_chunks,
    infer_range,
    pattern_keys,
    plan_row,
)
from twitchdx.inference.sampler import sample_row
from twitchdx.inference.structure import Compiled, FloatArray, IntArray, compiled_for
from twitchdx.network import NoisyOrNetwork

_MOST_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]

Method: TypeAlias = Literal["exact", "sampled"]

most_states = 2**24
"""Stored states (8 bytes each) of a thread: 134 MB for the positive sweep, the rare way.

The certified pass takes three quarters of that (101 MB). A row that needs more is summed over
cases (see `conditioning`), up to eight times as many entries as this in all; past that it is
sampled.
"""


@dataclass(frozen=True, eq=False)
class Inference:
    """What one row of evidence says.

    Attributes
    ----------
    log_evidence : float
        Natural logarithm of P(evidence). Soft evidence of ratio r weighs (off, on) by (1, r).
    posterior : ndarray, shape (C,)
        P(cause on | evidence).
    width : int
        Most variables that a table of the elimination spans.
    method : "exact" or "sampled"
    standard_error : ndarray, shape (C,), or None
        Of a sampled posterior.
    log_evidence_error : float
        Standard error of a sampled `log_evidence`; 0 where exact.
    """

    log_evidence: float
    posterior: FloatArray
    width: int
    method: Method
    standard_error: FloatArray | None = None
    log_evidence_error: float = 0.0


@dataclass(frozen=True, eq=False)
class Gradients:
    """P(evidence), every posterior and every derivative of P(evidence).

    Derivatives are by the network's own parameters, divided by P(evidence). P(evidence) is linear
    in each parameter, so that ``P(evidence) * (1 + d * (x - x0))`` is exact for a change of one
    parameter from x0 to x.

    Attributes
    ----------
    log_evidence : float
    posterior : ndarray, shape (C,)
    d_prior : ndarray, shape (C,)
    d_links : ndarray, shape (C, C)
    d_strength : ndarray, shape (C, F)
    d_leak : ndarray, shape (F,)
    ratio : float
        For `joint`: P(evidence and clamped causes) / P(evidence), else 1. The derivatives of a
        `joint` are those of P(evidence, clamp), also divided by P(evidence), so that the
        posterior of the clamped event has the derivative ``joint.d - joint.ratio * d``.
    """

    log_evidence: float
    posterior: FloatArray
    d_prior: FloatArray
    d_links: FloatArray
    d_strength: FloatArray
    d_leak: FloatArray
    ratio: float = 1.0


@dataclass(frozen=True, eq=False)
class BatchInference:
    """What many rows of evidence say, in the order of the rows.

    Attributes
    ----------
    posterior : ndarray, shape (rows, C)
        NaN in a row whose evidence has probability zero.
    log_evidence : ndarray, shape (rows,)
        -inf where the evidence has probability zero.
    width : ndarray of int, shape (rows,)
    method : ndarray of str, shape (rows,)
        "exact", "sampled", "impossible" where the evidence has probability zero, or "too_wide"
        where an exact answer was insisted on (posterior and log_evidence are NaN).
    standard_error : ndarray, shape (rows, C), or None
        Of sampled posteriors, NaN in the other rows; None where no row was sampled.
    log_evidence_error : ndarray, shape (rows,), or None
        Likewise, of `log_evidence`.
    """

    posterior: FloatArray
    log_evidence: FloatArray
    width: IntArray
    method: NDArray[np.str_]
    standard_error: FloatArray | None = None
    log_evidence_error: FloatArray | None = None


@dataclass(frozen=True)
class Plan:
    """How a row is computed, and what that costs.

    Attributes
    ----------
    folded : tuple of str
        Nodes that hang on the others by one arrow or none, which cost next to nothing.
    order : tuple of str
        The variables of the other relevant nodes, in the order in which they are summed out: the
        name of a node, or "no arrow to" it.
    axes : tuple of int
        Variables that the table still spans once each is summed out.
    width : int
        Most variables that a table spans.
    states : int
        Entries of all tables.
    microseconds : float
        Expected time, all posteriors included, on a current processor core.
    """

    folded: tuple[str, ...]
    order: tuple[str, ...]
    axes: tuple[int, ...]
    width: int
    states: int
    microseconds: float

    def __repr__(self) -> str:
        lines = [
            f"Plan: {len(self.folded)} nodes folded, {len(self.order)} variables summed out, "
            f"width {self.width}, {self.states:,} states, "
            f"about {self.microseconds:,.0f} microseconds",
            *(
                f"  {index:3d}  {name}, leaving {left}"
                for index, (name, left) in enumerate(zip(self.order, self.axes, strict=True), 1)
            ),
        ]
        return "\n".join(lines)


def infer(network: NoisyOrNetwork, ratios: ArrayLike, *, exact_only: bool = False) -> Inference:
    """Posterior of every cause, and P(evidence), for one row of evidence.

    A row that is too wide (see `most_states`) is sampled, in a second or two, with
    standard errors (see `twitchdx.inference.sampler`).

    Parameters
    ----------
    network : NoisyOrNetwork
    ratios : array_like, shape (C + F,)
        Likelihood ratio of the observation of each node: 1 unknown, inf present, 0 absent.
    exact_only : bool
        Raise instead of sampling where the row is too wide.

    Raises
    ------
    ImpossibleEvidenceError
        Evidence of probability zero.
    EvidenceError
        Ratios that are negative, NaN, or not one per node.
    WidthError
        The row is too wide, with `exact_only`; or so unlikely that no sample met it.
    """
    compiled = compiled_for((network,))
    row = _row(compiled, ratios)
    result = _infer_rows(compiled, row[None, :], np.ones((1, 1)), 1)
    if result.method[0] == "impossible":
        raise ImpossibleEvidenceError(_impossible(network, row))
    width = int(result.width[0])
    if result.method[0] == "exact":
        return Inference(float(result.log_evidence[0]), result.posterior[0], width, "exact")
    too_wide = f"{_observed(network, row)}: width {width} is too wide"
    if exact_only:
        raise WidthError(f"{too_wide} for an exact answer")
    sampled = sample_row(compiled, row, np.ones(1), numba.get_num_threads())
    if math.isnan(sampled.log_evidence):
        raise WidthError(f"{too_wide}, and no sample met the evidence")
    return Inference(
        sampled.log_evidence,
        sampled.posterior,
        width,
        "sampled",
        sampled.standard_error,
        sampled.log_evidence_error,
    )


def infer_batch(
    networks: tuple[NoisyOrNetwork, ...],
    weights: ArrayLike,
    ratios: ArrayLike,
    *,
    threads: int | None = None,
    exact_only: bool = False,
    wanted: ArrayLike | None = None,
) -> BatchInference:
    """Posteriors of many rows, each the exact mixture over strata.

    Rows that are too wide (see `most_states`) are sampled, each in a second or two, with
    standard errors. A sampled row depends on its own evidence and weights alone.

    Parameters
    ----------
    networks : tuple of NoisyOrNetwork, length S
        The strata: networks over the same nodes.
    weights : array_like, shape (rows, S)
        Probability of each stratum before the evidence, for each row.
    ratios : array_like, shape (rows, C + F)
        Likelihood ratios, see `infer`.
    threads : int, optional
        By default as many as numba has. The results are the same to the last bit for any number.
    exact_only : bool
        Leave rows that are too wide without an answer ("too_wide") instead of sampling them.
    wanted : array_like of bool, shape (C,), optional
        Causes whose posteriors are wanted, by default all. Others are NaN, and cost nothing where
        the evidence does not bear on them.

    Raises
    ------
    EvidenceError
        Arrays of the wrong shape, or ratios that are negative or NaN.
    """
    compiled = compiled_for(tuple(networks))
    rows = np.ascontiguousarray(ratios, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != compiled.n_nodes:
        raise EvidenceError(f"ratios must have shape (rows, {compiled.n_nodes}), not {rows.shape}")
    if not (rows >= 0).all():
        raise EvidenceError("a likelihood ratio must be at least 0")
    mixture = np.ascontiguousarray(weights, dtype=np.float64)
    if mixture.shape != (len(rows), len(networks)):
        raise EvidenceError(
            f"weights must have shape {(len(rows), len(networks))}, not {mixture.shape}"
        )
    asked = np.ones(compiled.n_causes, bool) if wanted is None else np.asarray(wanted, bool)
    if asked.shape != (compiled.n_causes,):
        raise EvidenceError(f"wanted must have shape ({compiled.n_causes},), not {asked.shape}")
    result = _infer_rows(compiled, rows, mixture, threads, wanted=asked)
    return result if exact_only else _with_samples(result, compiled, rows, mixture, threads)


def infer_evidence(
    networks: tuple[NoisyOrNetwork, ...],
    weights: ArrayLike,
    ratios: ArrayLike,
    *,
    threads: int | None = None,
    exact_only: bool = False,
) -> BatchInference:
    """P(evidence) of many rows, like `infer_batch`; without posteriors, in a third of the time."""
    nothing = np.zeros(len(networks[0].causes), dtype=bool)
    return infer_batch(
        networks, weights, ratios, threads=threads, exact_only=exact_only, wanted=nothing
    )


def gradients(network: NoisyOrNetwork, ratios: ArrayLike) -> Gradients:
    """All posteriors and the derivative of P(evidence) by every parameter, forwards and backwards.

    Parameters
    ----------
    network : NoisyOrNetwork
    ratios : array_like, shape (C + F,)

    Raises
    ------
    ImpossibleEvidenceError
        Evidence of probability zero.
    WidthError
        A row too wide for exact inference.
    """
    compiled = compiled_for((network,))
    row = _row(compiled, ratios)
    value, log_scale, posterior, out = _derive(network, compiled, row)
    if value <= 0:
        raise ImpossibleEvidenceError(_impossible(network, row))
    return _gradients(compiled, posterior, out, 1 / value, math.log(value) + log_scale, 1)


def joint(network: NoisyOrNetwork, ratios: ArrayLike, clamp: Mapping[int, bool]) -> Gradients:
    """Like `gradients`, for P(evidence and some causes on or off).

    Parameters
    ----------
    network : NoisyOrNetwork
    ratios : array_like, shape (C + F,)
    clamp : mapping of int to bool
        Cause index -> on or off.

    Returns
    -------
    Gradients
        ``ratio`` is P(evidence, clamp) / P(evidence); ``log_evidence`` is log P(evidence, clamp);
        ``posterior`` is given the clamp too (NaN where that has probability zero); derivatives are
        those of P(evidence, clamp), divided by P(evidence).

    Raises
    ------
    ImpossibleEvidenceError
        P(evidence) is zero without the clamp.
    WidthError
        A row too wide for exact inference.
    """
    compiled = compiled_for((network,))
    row = _row(compiled, ratios)
    base = infer(network, row, exact_only=True).log_evidence
    clamped = row.copy()
    factor = 1.0
    for cause, on in clamp.items():
        observed = row[cause]
        if on:
            factor *= 1.0 if observed == np.inf else observed
            clamped[cause] = np.inf
        else:
            factor *= 0.0 if observed == np.inf else 1.0
            clamped[cause] = 0.0
    value, log_scale, posterior, out = _derive(network, compiled, clamped)
    with np.errstate(divide="ignore"):
        log_evidence = float(np.log(value * factor) + log_scale)
    unit = factor * math.exp(log_scale - base)
    return _gradients(compiled, posterior, out, unit, log_evidence, value * unit)


def width(network: NoisyOrNetwork, ratios: ArrayLike) -> int:
    """Most variables that a table spans in the elimination of this row."""
    return explain_plan(network, ratios).width


def explain_plan(network: NoisyOrNetwork, ratios: ArrayLike) -> Plan:
    """Say how a row would be computed and what it would cost, without doing it."""
    compiled = compiled_for((network,))
    row = _row(compiled, ratios)
    memory = plan_row(row, compiled.parent_start, compiled.parents, compiled.order)
    plan, buckets, names = memory.plan, memory.buckets, network.names
    count = int(buckets.counts[N_BUCKETS])
    order = tuple(
        names[bucket[NODE]]
        if bucket[ROLE] in (STATE, STATE_OF_TWO)
        else f"no arrow to {names[bucket[NODE]]}"
        for bucket in buckets.info[:count].tolist()
    )
    states = int(buckets.counts[ENTRIES])
    return Plan(
        tuple(names[node] for node in plan.fold_node[: plan.counts[N_FOLDS]].tolist()),
        order,
        tuple(buckets.info[:count, N_AXES].tolist()),
        int(buckets.counts[WIDEST]),
        states,
        PER_ROW + PER_VARIABLE * count + PER_STATE * states,
    )


PER_ROW, PER_VARIABLE, PER_STATE = 30.0, 2.0, 0.011
"""Microseconds on a current core, planning and all posteriors included (measured)."""


def _infer_rows(
    compiled: Compiled,
    rows: FloatArray,
    mixture: FloatArray,
    threads: int | None,
    *,
    wanted: NDArray[np.bool_] | None = None,
    sweep_only: bool = False,
) -> BatchInference:
    """Infer rows, those that are too wide left out; with `sweep_only` by the positive sweep."""
    count = len(rows)
    posterior = np.empty((count, compiled.n_causes))
    log_evidence = np.empty(count)
    widths = np.zeros(count, dtype=np.int64)
    status = np.zeros(count, dtype=np.int64)
    # rows with the same plan one after the other, so that it is made once
    order = np.argsort(pattern_keys(rows), kind="stable") if count > 1 else np.zeros(1, np.int64)
    arrays = (
        order,
        rows,
        mixture,
        compiled.own,
        compiled.weight,
        compiled.parent_start,
        compiled.parents,
        compiled.order,
        np.ones(compiled.n_causes, bool) if wanted is None else wanted,
        most_states,
        sweep_only,
        posterior,
        log_evidence,
        widths,
        status,
    )
    available = numba.get_num_threads()
    used = min(threads or available, _MOST_THREADS, max(1, count // 8))
    if used <= 1:
        infer_range(0, count, *arrays)
    else:
        numba.set_num_threads(used)
        try:
            infer_chunks(max(1, min(64, count // (4 * used))), *arrays)
        finally:
            numba.set_num_threads(available)
    method = np.full(count, "exact", dtype="<U10")
    method[status == IMPOSSIBLE] = "impossible"
    method[status == TOO_WIDE] = "too_wide"
    return BatchInference(posterior, log_evidence, widths, method)


def _with_samples(
    result: BatchInference,
    compiled: Compiled,
    rows: FloatArray,
    mixture: FloatArray,
    threads: int | None,
) -> BatchInference:
    """Sample the rows that were too wide."""
    wide = np.flatnonzero(result.method == "too_wide")
    if not len(wide):
        return result
    posterior, log_evidence = result.posterior.copy(), result.log_evidence.copy()
    method = result.method.copy()
    error = np.full(posterior.shape, np.nan)
    log_error = np.full(len(rows), np.nan)
    available = numba.get_num_threads()
    wanted = min(threads or available, _MOST_THREADS)
    for row in wide.tolist():
        sampled = sample_row(compiled, rows[row], mixture[row], wanted)
        posterior[row], error[row] = sampled.posterior, sampled.standard_error
        log_evidence[row], log_error[row] = sampled.log_evidence, sampled.log_evidence_error
        method[row] = "sampled"
    return BatchInference(posterior, log_evidence, result.width, method, error, log_error)


def _derive(
    network: NoisyOrNetwork, compiled: Compiled, row: FloatArray
) -> tuple[float, float, FloatArray, Derivatives]:
    out = Derivatives(np.zeros(compiled.n_nodes), np.zeros((compiled.n_causes, compiled.n_nodes)))
    posterior = np.zeros(compiled.n_causes)
    value, log_scale, wide, status = derive_row(
        row,
        compiled.own[0],
        compiled.weight[0],
        compiled.parent_start,
        compiled.parents,
        compiled.order,
        most_states,
        posterior,
        out,
    )
    if status == TOO_WIDE:
        raise WidthError(
            f"width {wide} is too wide for exact derivatives: {_observed(network, row)}"
        )
    return value, log_scale, posterior, out


def _gradients(
    compiled: Compiled,
    posterior: FloatArray,
    out: Derivatives,
    unit: float,
    log_evidence: float,
    ratio: float,
) -> Gradients:
    causes = compiled.n_causes
    own = out.own * unit
    weight = out.weight * unit
    return Gradients(
        log_evidence,
        posterior,
        own[:causes],
        weight[:, :causes],
        weight[:, causes:],
        own[causes:],
        ratio,
    )


def _row(compiled: Compiled, ratios: ArrayLike) -> FloatArray:
    row = np.ascontiguousarray(ratios, dtype=np.float64)
    if row.shape != (compiled.n_nodes,):
        raise EvidenceError(f"ratios must have shape ({compiled.n_nodes},), not {row.shape}")
    if not (row >= 0).all():
        raise EvidenceError("a likelihood ratio must be at least 0")
    return row


def _observed(network: NoisyOrNetwork, row: FloatArray) -> str:
    words = {np.inf: "present", 0.0: "absent"}
    return ", ".join(
        f"{name} {words.get(ratio, f'lr={ratio:g}')}"
        for name, ratio in zip(network.names, row.tolist(), strict=True)
        if ratio != 1
    )


def _impossible(network: NoisyOrNetwork, row: FloatArray) -> str:
    return f"the network gives probability zero to: {_observed(network, row)}"
