"""All numbers of a cohort tornado, moved to either end in one vignette, by a few reverse sweeps.

P(evidence) and P(evidence, cause) are linear in each number. One reverse sweep of each gives its
derivatives by all numbers at once, so that a vignette costs a sweep for the evidence, one for its
leading cause, and one for each rival that might overtake it. Which rivals might is bounded first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twitchdx.inference.structure import compiled_for
from twitchdx.model import Model, Target
from twitchdx.network import NoisyOrNetwork
from twitchdx.odds import shift_odds
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Knob
from twitchdx.sensitivity.sweeps import StratumSweep

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SLACK = 1e-9
"""Relative rounding that the bound on a rival allows for."""


@dataclass(frozen=True, eq=False)
class StratumPlan:
    """What the numbers do in one stratum.

    Attributes
    ----------
    sweep : StratumSweep
    knob : ndarray of int, shape (M,)
        Knob that each move belongs to, none twice.
    now : ndarray, shape (M,)
        Present value of the network parameter that it moves.
    ends : ndarray, shape (2, M)
        Its value at the low and at the high end.
    node : ndarray of int, shape (M,)
        Node that the parameter belongs to.
    reach : ndarray of bool, shape (C, N)
        Whether a path of arrows leads from each cause to each node; itself included.
    """

    sweep: StratumSweep
    knob: IntArray
    now: FloatArray
    ends: FloatArray
    node: IntArray
    reach: BoolArray

    def matters(self, nodes: IntArray) -> BoolArray:
        """Say which moves belong to one of some nodes or to an ancestor of one, shape (M,)."""
        relevant = np.zeros(self.reach.shape[1], dtype=np.bool_)
        relevant[nodes] = True
        relevant[: len(self.reach)] |= self.reach[:, nodes].any(axis=1)
        return relevant[self.node]


class AtEnds(NamedTuple):
    """P(evidence, cause) with each knob at either end, in units of the present P(evidence).

    Attributes
    ----------
    value : ndarray, shape (2, K)
    now : float
    by : dict of int to tuple of float and ndarray
        Stratum -> the present value there, and its derivatives, shape (M,).
    """

    value: FloatArray
    now: float
    by: dict[int, tuple[float, FloatArray]]


@dataclass(frozen=True, eq=False)
class CohortPlan:
    """Knobs, and the two ends of each, in every stratum of a model.

    Attributes
    ----------
    knobs : tuple of Knob
    strata : dict of int to StratumPlan
    touches : ndarray of bool, shape (strata, K)
        Whether a knob has a number in a stratum.
    """

    knobs: tuple[Knob, ...]
    strata: dict[int, StratumPlan]
    touches: BoolArray

    def sweep(
        self, ratios: FloatArray, weights: FloatArray, log_evidence: float, cause: int | None
    ) -> AtEnds:
        """Derive P(evidence), or P(evidence, cause), in the strata of one vignette.

        Raises
        ------
        WidthError
            Where the vignette is too wide for exact derivatives.
        """
        clamp = {} if cause is None else {cause: True}
        change = np.zeros((2, len(self.knobs)))
        by: dict[int, tuple[float, FloatArray]] = {}
        for stratum in np.flatnonzero(weights > 0).tolist():
            plan = self.strata[stratum]
            unit = math.log(weights[stratum]) - log_evidence
            value, derivative = plan.sweep.derive(ratios, clamp, unit)
            by[stratum] = value, derivative
            change[:, plan.knob] += derivative * (plan.ends - plan.now)
        now = sum(value for value, _ in by.values())
        return AtEnds(np.clip(now + change, 0.0, None), now, by)

    def most(
        self, ratios: FloatArray, evidence: AtEnds, rivals: IntArray, joint: dict[int, FloatArray]
    ) -> FloatArray:
        """Bound P(evidence, rival) from above, with each knob at either end.

        A network parameter x mixes two worlds, P = (1 - x) A + x B, in which a rival has no more
        than the evidence: 0 <= A' <= A, 0 <= B' <= B, and at present (1 - x) A' + x B' is known.
        The largest mixture at another x follows. A number of no ancestor of the evidence or of
        the rival moves nothing.

        Parameters
        ----------
        ratios : ndarray, shape (N,)
        evidence : AtEnds
        rivals : ndarray of int, shape (R,)
            Nodes.
        joint : dict of int to ndarray, shape (R,)
            Stratum -> P(evidence, rival) there.

        Returns
        -------
        ndarray, shape (R, 2, K)
        """
        total = np.sum(list(joint.values()), axis=0)
        most = np.repeat(total[:, None, None], 2, axis=1).repeat(len(self.knobs), axis=2)
        seen = np.flatnonzero(ratios != 1.0)
        for stratum, (value, derivative) in evidence.by.items():
            plan = self.strata[stratum]
            x = plan.now
            off, on = value - x * derivative, value + (1 - x) * derivative
            present = joint[stratum][:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                all_on = np.where(x > 0, np.minimum(on, present / x), on)
                all_off = np.where(x < 1, np.minimum(off, present / (1 - x)), off)
                rest_off = np.where(x < 1, (present - x * all_on) / (1 - x), 0.0)
                rest_on = np.where(x > 0, (present - (1 - x) * all_off) / x, 0.0)
            by_evidence = plan.matters(seen)
            moving = np.stack(
                [by_evidence | plan.matters(rivals[r : r + 1]) for r in range(len(rivals))]
            )
            for side, end in enumerate(plan.ends):
                up = (1 - end) * rest_off + end * all_on
                down = (1 - end) * all_off + end * rest_on
                at_end = np.where(end == x, present, np.where(end > x, up, down))
                most[:, side, plan.knob] += np.where(moving, at_end - present, 0.0)
        return most * (1 + SLACK)


def plan_cohort(
    model: Model, knobs: Sequence[Knob], used: BoolArray, odds: float | None
) -> CohortPlan:
    """Prepare the ends of all knobs in the strata that a cohort uses.

    Parameters
    ----------
    model : Model
    knobs : sequence of Knob
    used : ndarray of bool, shape (strata,)
    odds : float, optional
        See `tornado`.
    """
    touches = np.zeros((len(model.strata), len(knobs)), dtype=np.bool_)
    found: dict[int, list[tuple[int, Target, tuple[float, float]]]] = {}
    for k, knob in enumerate(knobs):
        for row in knob.parameters:
            low, high = (
                (row.low, row.high)
                if odds is None
                else shift_odds(np.array([row.value] * 2), np.array([1 / odds, odds])).tolist()
            )
            for target in row.targets:
                if used[target.stratum]:
                    touches[target.stratum, k] = True
                    found.setdefault(target.stratum, []).append((k, target, (low, high)))
    strata = {
        stratum: _plan_stratum(model.networks[stratum], found.get(stratum, []))
        for stratum in np.flatnonzero(used).tolist()
    }
    return CohortPlan(tuple(knobs), strata, touches)


def _plan_stratum(
    network: NoisyOrNetwork, moves: Sequence[tuple[int, Target, tuple[float, float]]]
) -> StratumPlan:
    sweep = StratumSweep.of(network, [target for _, target, _ in moves])
    now = [float(getattr(network, target.array)[target.index]) for _, target, _ in moves]
    ends = [[min(1.0, target.at(end)) for end in both] for _, target, both in moves]
    return StratumPlan(
        sweep,
        np.array([k for k, _, _ in moves], dtype=np.int64),
        np.array(now, dtype=np.float64),
        np.array(ends, dtype=np.float64).reshape(-1, 2).T,
        sweep.column,
        _reach(network),
    )


def _reach(network: NoisyOrNetwork) -> BoolArray:
    """Whether arrows lead from each cause to each node; from a cause to itself, too."""
    compiled = compiled_for((network,))
    arrows = compiled.weight[0] > 0
    n_causes = len(arrows)
    reach = arrows.copy()
    reach[np.arange(n_causes), np.arange(n_causes)] = True
    for cause in compiled.order[::-1].tolist():
        children = np.flatnonzero(arrows[cause, :n_causes])
        reach[cause] |= reach[children].any(axis=0)
    return reach
