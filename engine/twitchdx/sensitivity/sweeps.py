"""Derivatives of P(evidence) and P(evidence, cause) in one stratum, by chosen network parameters.

Two ways to the same exact numbers. `StratumSweep.derive`: one reverse sweep for each cause gives
the derivatives by all parameters. `secants`: as both probabilities are linear in a parameter, one
inference at another value of it gives its derivatives for all causes at once; all inferences share
their evidence, and so their plan. Whichever takes fewer of them is used.

As `twitchdx.inference.gradients` and `joint`, but with arrows of strength 0 among the parameters
(a likelihood that has no effect at its present value may have one at another), for evidence of
probability zero too, and for many causes at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import WidthError
from twitchdx.inference import exact
from twitchdx.inference.kernel import Derivatives
from twitchdx.inference.rows import TOO_WIDE, derive_row
from twitchdx.inference.structure import Compiled, index_arrows
from twitchdx.model import Target
from twitchdx.network import NoisyOrNetwork
from twitchdx.sensitivity.functions import FloatArray

CHUNK_BYTES = 48_000_000
"""Memory for the networks that are in work at once."""


def too_wide(width: int) -> WidthError:
    """Say how wide a case is, what the limit is, and what to do."""
    return WidthError(
        f"width {width} is too wide for exact derivatives (more than {exact.most_states:,} "
        "states); leave out some of the findings that are present"
    )


@dataclass(frozen=True, eq=False)
class StratumSweep:
    """One stratum's network and the parameters to derive by.

    Attributes
    ----------
    compiled : Compiled
        With an arrow for every parameter.
    is_own : ndarray of bool, shape (M,)
        Whether a parameter is a node's own (prior or leak); else it is an arrow's strength.
    row, column : ndarray of int, shape (M,)
        Parent (0 for an own parameter) and node.
    """

    compiled: Compiled
    is_own: NDArray[np.bool_]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    @classmethod
    def of(cls, network: NoisyOrNetwork, targets: Sequence[Target]) -> StratumSweep:
        """Prepare a network for derivatives by these targets."""
        n_causes = len(network.causes)
        shift = {"prior": 0, "leak": n_causes, "links": 0, "strength": n_causes}
        is_own = np.array([target.array in ("prior", "leak") for target in targets], dtype=bool)
        row = np.array(
            [0 if own else t.index[0] for own, t in zip(is_own, targets, strict=True)],
            dtype=np.int64,
        )
        column = np.array(
            [target.index[-1] + shift[target.array] for target in targets], dtype=np.int64
        )
        weight = np.hstack([network.links, network.strength])
        arrows = weight > 0
        arrows[row[~is_own], column[~is_own]] = True
        own = np.concatenate([network.prior, network.leak])
        compiled = Compiled(own[None], np.ascontiguousarray(weight)[None], *index_arrows(arrows))
        return cls(compiled, is_own, row, column)

    def derive(
        self, ratios: FloatArray, clamp: Mapping[int, bool], log_unit: float
    ) -> tuple[float, FloatArray]:
        """P(evidence, clamped causes) and its derivatives by each parameter.

        Parameters
        ----------
        ratios : ndarray, shape (N,)
        clamp : mapping of int to bool
            Cause -> on or off.
        log_unit : float
            Results are multiplied by exp(log_unit).

        Raises
        ------
        WidthError
            Where the case is too wide for exact derivatives.
        """
        value, out, log_scale = derive_clamped(self.compiled, 0, ratios, clamp)
        unit = math.exp(log_scale + log_unit)
        by = np.where(self.is_own, out.own[self.column], out.weight[self.row, self.column])
        return value * unit, by * unit


def derive_clamped(
    compiled: Compiled, stratum: int, ratios: FloatArray, clamp: Mapping[int, bool]
) -> tuple[float, Derivatives, float]:
    """P(evidence, clamped causes) in one stratum, and its derivatives by all parameters.

    Returns
    -------
    value : float
    out : Derivatives
    log_scale : float
        Both are to be multiplied by exp(log_scale).

    Raises
    ------
    WidthError
        Where the case is too wide for exact derivatives.
    """
    row, factor = clamp_ratios(ratios, clamp)
    out = Derivatives(np.zeros(compiled.n_nodes), np.zeros((compiled.n_causes, compiled.n_nodes)))
    value, log_scale, width, status = derive_row(
        row,
        compiled.own[stratum],
        compiled.weight[stratum],
        compiled.parent_start,
        compiled.parents,
        compiled.order,
        exact.most_states,
        np.zeros(compiled.n_causes),
        out,
    )
    if status == TOO_WIDE:
        raise too_wide(width)
    with np.errstate(divide="ignore"):
        return value, out, log_scale + float(np.log(factor))


def secants(
    network: NoisyOrNetwork,
    ratios: FloatArray,
    targets: Sequence[Target],
    causes: Sequence[int],
    log_unit: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Derivatives of P(evidence) and of P(evidence, cause) by each parameter, from secants.

    Parameters
    ----------
    network : NoisyOrNetwork
    ratios : ndarray, shape (N,)
    targets : sequence of Target
        M parameters, all of this stratum.
    causes : sequence of int
        T of them.
    log_unit : float
        Results are multiplied by exp(log_unit).

    Returns
    -------
    d_evidence : ndarray, shape (M,)
    d_joint : ndarray, shape (T, M)
    probability : ndarray, shape (T,)
        P(evidence, cause).

    Raises
    ------
    WidthError
        Where the case is too wide for exact inference.
    """
    n_causes = len(network.causes)
    seen = np.flatnonzero(ratios[n_causes:] != 1.0)
    column_of = np.full(len(network.findings), -1)
    column_of[seen] = n_causes + np.arange(len(seen))
    own = np.concatenate([network.prior, network.leak[seen]])
    weight = np.hstack([network.links, network.strength[:, seen]])
    arrows = weight > 0
    moved, places = [], []
    for index, target in enumerate(targets):
        node = target.index[-1]
        if target.array in ("leak", "strength"):
            node = int(column_of[node])
            if node < 0:
                continue  # a finding that was not observed
        is_own = target.array in ("prior", "leak")
        parent = -1 if is_own else target.index[0]
        if not is_own:
            arrows[parent, node] = True
        moved.append(index)
        places.append((parent, node))
    structure = index_arrows(arrows)
    row = np.concatenate([ratios[:n_causes], ratios[n_causes:][seen]])
    far = np.array([_far(own, weight, place) for place in places])
    near = np.array([_value(own, weight, place) for place in places])
    wanted = np.zeros(n_causes, dtype=np.bool_)
    wanted[list(causes)] = True
    answers = [_answer(structure, own, weight, row, wanted, places[:0], far[:0], True)]
    size = max(1, CHUNK_BYTES // weight.nbytes)
    for first in range(0, len(places), size):
        part = slice(first, first + size)
        answers.append(_answer(structure, own, weight, row, wanted, places[part], far[part], False))
    log_evidence = np.concatenate([answer[0] for answer in answers])
    posterior = np.concatenate([answer[1] for answer in answers])[:, list(causes)]
    evidence = np.exp(log_evidence + log_unit)
    joint = np.where(evidence[:, None] > 0, posterior, 0.0) * evidence[:, None]
    d_evidence = np.zeros(len(targets))
    d_joint = np.zeros((len(causes), len(targets)))
    if moved:
        d_evidence[moved] = (evidence[1:] - evidence[0]) / (far - near)
        d_joint[:, moved] = ((joint[1:] - joint[0]) / (far - near)[:, None]).T
    return d_evidence, d_joint, joint[0]


def _value(own: FloatArray, weight: FloatArray, place: tuple[int, int]) -> float:
    parent, node = place
    return float(own[node] if parent < 0 else weight[parent, node])


def _far(own: FloatArray, weight: FloatArray, place: tuple[int, int]) -> float:
    """The end of [0, 1] that lies farther from a parameter's value."""
    return 1.0 if _value(own, weight, place) < 0.5 else 0.0


def _answer(
    structure: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    own: FloatArray,
    weight: FloatArray,
    row: FloatArray,
    wanted: NDArray[np.bool_],
    places: Sequence[tuple[int, int]],
    values: FloatArray,
    base: bool,
) -> tuple[FloatArray, FloatArray]:
    """log P(evidence) and posteriors, with each parameter alone at its value (or with none)."""
    count = 1 if base else len(places)
    owns = np.repeat(own[None], count, axis=0)
    weights = np.repeat(weight[None], count, axis=0)
    for k, ((parent, node), value) in enumerate(zip(places, values.tolist(), strict=True)):
        if parent < 0:
            owns[k, node] = value
        else:
            weights[k, parent, node] = value
    compiled = Compiled(owns, weights, *structure)
    answer = exact._infer_rows(
        compiled, np.repeat(row[None], count, axis=0), np.eye(count), 1, wanted=wanted
    )
    if (answer.method == "too_wide").any():
        raise too_wide(int(answer.width.max()))
    return answer.log_evidence, answer.posterior


def clamp_ratios(ratios: FloatArray, clamp: Mapping[int, bool]) -> tuple[FloatArray, float]:
    """Return the evidence with some causes on or off, and the weight that soft evidence leaves."""
    row = np.ascontiguousarray(ratios, dtype=np.float64).copy()
    factor = 1.0
    for cause, on in clamp.items():
        observed = float(row[cause])
        if on:
            factor *= 1.0 if observed == math.inf else observed
        else:
            factor *= 0.0 if observed == math.inf else 1.0
        row[cause] = math.inf if on else 0.0
    return row, factor
