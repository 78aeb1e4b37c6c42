"""How P(evidence) and every P(evidence, cause) change with every table number, from derivatives.

A table number sets one network parameter in each stratum (``Target``: affine, with a floor), and
P(evidence) is linear in a network parameter. So one set of derivatives at the present numbers
gives both probabilities at *any* value of one number, or of several rows that touch different
strata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import UnknownIdError
from twitchdx.inference import infer_batch
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Knob
from twitchdx.sensitivity.sweeps import StratumSweep, secants

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Parameter, Target

IntArray = NDArray[np.int64]

LOST = 1e-4
"""P(evidence) below this share of its present value is computed anew, not by derivatives."""


@dataclass(frozen=True, eq=False)
class Moves:
    """Knobs, and what each does to P(evidence) and P(evidence, target), per stratum.

    Attributes
    ----------
    dx : Diagnosis
    knobs : tuple of Knob
        K of them.
    targets : tuple of str
        Causes, T of them.
    rows : tuple of Parameter
        All rows of all knobs, R of them, in their order.
    knob_of_row : ndarray of int, shape (R,)
    row : ndarray of int, shape (M,)
        Row that each move belongs to; a move is a row in a stratum.
    slope, intercept, floor, now : ndarray, shape (M,)
        The network parameter is ``min(1, max(floor, intercept + slope * number))``; at present
        `now`.
    d_evidence : ndarray, shape (M,)
        Derivative of P(evidence), divided by P(evidence).
    d_joint : ndarray, shape (T, M)
        Derivative of P(evidence, target), divided by P(evidence).
    posterior : ndarray, shape (T,)
    """

    dx: Diagnosis
    knobs: tuple[Knob, ...]
    targets: tuple[str, ...]
    rows: tuple[Parameter, ...]
    knob_of_row: IntArray
    row: IntArray
    slope: FloatArray
    intercept: FloatArray
    floor: FloatArray
    now: FloatArray
    d_evidence: FloatArray
    d_joint: FloatArray
    posterior: FloatArray

    @cached_property
    def values(self) -> FloatArray:
        """Present number of each row, shape (R,)."""
        return np.array([row.value for row in self.rows], dtype=np.float64)

    @cached_property
    def low(self) -> FloatArray:
        """Lower end of each row's interval, shape (R,)."""
        return np.array([row.low for row in self.rows], dtype=np.float64)

    @cached_property
    def high(self) -> FloatArray:
        """Upper end of each row's interval, shape (R,)."""
        return np.array([row.high for row in self.rows], dtype=np.float64)

    @cached_property
    def knob(self) -> IntArray:
        """Knob that each move belongs to, shape (M,)."""
        return self.knob_of_row[self.row]

    def changes(self, numbers: FloatArray) -> FloatArray:
        """Change of each network parameter when the rows say `numbers`, shape (M,)."""
        line = self.intercept + self.slope * numbers[self.row]
        set_to = np.minimum(1.0, np.maximum(self.floor, line))
        return np.asarray(set_to - self.now)

    def evaluate(self, numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(evidence) and P(evidence, target) with one knob at a time moved.

        Parameters
        ----------
        numbers : ndarray, shape (R,)
            Where each row goes when its knob is moved.

        Returns
        -------
        evidence : ndarray, shape (K,)
        joint : ndarray, shape (T, K)
            Both divided by the present P(evidence).
        """
        count = len(self.knobs)
        change = self.changes(numbers)
        evidence = 1.0 + np.bincount(self.knob, self.d_evidence * change, count)
        joint = np.repeat(self.posterior[:, None], count, axis=1)
        if len(self.knob):
            starts = np.flatnonzero(np.diff(self.knob, prepend=-1))
            joint[:, self.knob[starts]] += np.add.reduceat(self.d_joint * change, starts, axis=1)
        return np.asarray(evidence, dtype=np.float64), np.clip(joint, 0.0, None)

    def posteriors(self, numbers: FloatArray) -> FloatArray:
        """Posterior of each target with one knob at a time moved, shape (T, K).

        A move that leaves almost nothing of P(evidence) is computed by inference, as its
        derivatives have lost their digits there. NaN where P(evidence) is zero.
        """
        evidence, joint = self.evaluate(numbers)
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.clip(joint / evidence, 0.0, 1.0)
        for knob in np.flatnonzero(evidence < LOST).tolist():
            mine = np.flatnonzero(self.knob_of_row == knob)
            result[:, knob] = posterior_at(
                self.dx, {self.rows[r]: float(numbers[r]) for r in mine}, self.targets
            )
        return result

    def breakpoints(self) -> tuple[FloatArray, IntArray]:
        """Positions at which a knob of one row stops being linear, and its present number.

        Returns
        -------
        nodes : ndarray, shape (K, kinks + 3)
            Ascending: 0, where the number stops to matter in a stratum, the present number, 1.
        start : ndarray of int, shape (K,)
            Node of the present number.
        """
        first_row = np.searchsorted(self.knob_of_row, np.arange(len(self.knobs)))
        present = self.values[first_row]
        kinks = self.kinks()
        most = max((len(found) for found in kinks), default=0)
        nodes = np.repeat(present[:, None], most + 3, axis=1)
        nodes[:, 0], nodes[:, 1] = 0.0, 1.0
        for knob, found in enumerate(kinks):
            nodes[knob, 3 : 3 + len(found)] = found
        nodes.sort(axis=1)
        start = [int(np.searchsorted(row, x)) for row, x in zip(nodes, present, strict=True)]
        return nodes, np.array(start, dtype=np.int64)

    def kinks(self) -> list[list[float]]:
        """Numbers strictly between 0 and 1 at which a knob stops to matter in some stratum."""
        found: list[set[float]] = [set() for _ in self.knobs]
        for knob, row in zip(self.knob_of_row.tolist(), self.rows, strict=True):
            for target in row.targets:
                if self.dx.case.weights[target.stratum] > 0:
                    found[knob].update(target.kinks)
        return [sorted(knob) for knob in found]


def find_moves(dx: Diagnosis, knobs: Sequence[Knob], targets: Sequence[str] | None = None) -> Moves:
    """Collect the derivatives that knobs and targets need, by reverse sweeps.

    Parameters
    ----------
    dx : Diagnosis
    knobs : sequence of Knob
    targets : sequence of str, optional
        By default all causes (without syndromes) that are not themselves observed.

    Raises
    ------
    UnknownIdError
        For a target that is no cause.
    WidthError
        Where the case is too wide for exact derivatives.
    """
    network = dx.engine.networks[0]
    place = {cause: i for i, cause in enumerate(network.causes)}
    if targets is None:
        targets = unobserved_causes(dx)
    for target in targets:
        if target not in place:
            raise UnknownIdError(target, network.causes, "cause")
    rows = tuple(row for knob in knobs for row in knob.parameters)
    knob_of_row = np.repeat(np.arange(len(knobs)), [len(knob.parameters) for knob in knobs])
    weights = dx.case.weights
    owners: list[int] = []
    moves = []
    for index, row in enumerate(rows):
        for target_ in row.targets:
            if weights[target_.stratum] > 0:
                owners.append(index)
                moves.append(target_)
    now = np.array(
        [getattr(dx.engine.networks[m.stratum], m.array)[m.index] for m in moves], dtype=np.float64
    )
    d_evidence = np.zeros(len(moves))
    d_joint = np.zeros((len(targets), len(moves)))
    posterior = np.zeros(len(targets))
    by_stratum: dict[int, list[int]] = {}
    for index, move in enumerate(moves):
        by_stratum.setdefault(move.stratum, []).append(index)
    for stratum in np.flatnonzero(weights > 0).tolist():
        mine = by_stratum.get(stratum, [])
        parts = [moves[i] for i in mine]
        log_unit = math.log(weights[stratum]) - dx.log_evidence
        # a reverse sweep for each cause, or an inference for each parameter: which are fewer
        if len(targets) + 1 > _moving(parts, dx.case.ratios, len(network.causes)):
            d_evidence[mine], d_joint[:, mine], probabilities = secants(
                dx.engine.networks[stratum],
                dx.case.ratios,
                parts,
                [place[target] for target in targets],
                log_unit,
            )
            posterior += probabilities
            continue
        sweep = StratumSweep.of(dx.engine.networks[stratum], parts)
        _, d_evidence[mine] = sweep.derive(dx.case.ratios, {}, log_unit)
        for t, target in enumerate(targets):
            probability, by = sweep.derive(dx.case.ratios, {place[target]: True}, log_unit)
            d_joint[t, mine] = by
            posterior[t] += probability
    return Moves(
        dx,
        tuple(knobs),
        tuple(targets),
        rows,
        knob_of_row,
        np.array(owners, dtype=np.int64),
        np.array([m.slope for m in moves]),
        np.array([m.intercept for m in moves]),
        np.array([m.floor for m in moves]),
        now,
        d_evidence,
        d_joint,
        posterior,
    )


def _moving(targets: Sequence[Target], ratios: FloatArray, causes: int) -> int:
    """How many network parameters are not of a finding that was not observed."""
    return sum(
        target.array in ("prior", "links") or ratios[causes + target.index[-1]] != 1.0
        for target in targets
    )


def unobserved_causes(dx: Diagnosis) -> tuple[str, ...]:
    """Causes (without syndromes) that were not themselves observed for certain."""
    place = {node: i for i, node in enumerate(dx.engine.networks[0].causes)}
    ratios = dx.case.ratios
    return tuple(cause for cause in dx.engine.causes if 0.0 < ratios[place[cause]] < np.inf)


def posterior_at(
    dx: Diagnosis, numbers: Mapping[Parameter, float], targets: Sequence[str]
) -> FloatArray:
    """Posterior of the targets with some table numbers changed, by inference; NaN if impossible."""
    engine = dx.engine.with_parameters({row.key: x for row, x in numbers.items()})
    answer = infer_batch(engine.networks, dx.case.weights[None, :], dx.case.ratios[None, :])
    place = {cause: i for i, cause in enumerate(engine.networks[0].causes)}
    return answer.posterior[0, [place[target] for target in targets]]
