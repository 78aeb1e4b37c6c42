"""Derivatives of P(evidence) and P(evidence, cause) in one stratum, by chosen network parameters.

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
        compiled = self.compiled
        row, factor = clamp_ratios(ratios, clamp)
        out = Derivatives(
            np.zeros(compiled.n_nodes), np.zeros((compiled.n_causes, compiled.n_nodes))
        )
        value, log_scale, width, status = derive_row(
            row,
            compiled.own[0],
            compiled.weight[0],
            compiled.parent_start,
            compiled.parents,
            compiled.order,
            exact.most_states,
            np.zeros(compiled.n_causes),
            out,
        )
        if status == TOO_WIDE:
            raise WidthError(
                f"width {width} is too wide for exact derivatives; sensitivity needs a case with "
                "fewer coupled findings"
            )
        unit = factor * math.exp(log_scale + log_unit)
        by = np.where(self.is_own, out.own[self.column], out.weight[self.row, self.column])
        return value * unit, by * unit


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
