"""One-way sensitivity: a posterior as an exact function of one number of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.sensitivity.functions import LinearFractional, PiecewiseFractional
from twitchdx.sensitivity.knobs import Knob, single_parameter
from twitchdx.sensitivity.moves import LOST, find_moves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Parameter


@dataclass(frozen=True, eq=False)
class OneWay:
    """A posterior as a function of one number.

    Attributes
    ----------
    target : str
    knob : Knob
        The number, with its interval, grade and citation keys.
    function : PiecewiseFractional
    posterior : float
        At the number's present value.
    derivative : float
        Of the posterior by the number, at its present value (from below where pieces meet).
    vertex_proximity : float
        Distance of the present value to the vertex of the hyperbola; NaN if the function is
        linear there. A small distance means that a small change may matter, even where the
        derivative is small.
    """

    target: str
    knob: Knob
    function: PiecewiseFractional
    posterior: float
    derivative: float
    vertex_proximity: float

    @property
    def parameter(self) -> Parameter:
        """The row of the tables."""
        return self.knob.parameters[0]

    def at(self, x: float) -> float:
        """Return the posterior where the number is x."""
        return self.function.at(x)

    def solve(self, probability: float) -> float:
        """Return the nearest x at which the posterior has this value; NaN if there is none."""
        return self.function.solve(probability, self.parameter.value)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a piece of the function, with its coefficients."""
        import pandas as pd

        row = self.parameter
        return pd.DataFrame(
            [
                {
                    "target": self.target,
                    "parameter": row.key,
                    "from": piece.low,
                    "to": piece.high,
                    "c1": piece.c1,
                    "c2": piece.c2,
                    "c3": piece.c3,
                    "c4": piece.c4,
                    "value": row.value,
                    "low": row.low,
                    "high": row.high,
                    "posterior": self.posterior,
                    "posterior_low": self.at(row.low),
                    "posterior_high": self.at(row.high),
                    "derivative": self.derivative,
                    "vertex": piece.vertex,
                    "vertex_proximity": self.vertex_proximity,
                    "grade": self.knob.grade,
                    "source": ";".join(self.knob.source),
                    "place": self.knob.place,
                }
                for piece in self.function.pieces
            ]
        )

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the function over the number's log-odds, its interval shaded."""
        from twitchdx.sensitivity.plots import plot_one_way

        return plot_one_way(self, axes)

    def __repr__(self) -> str:
        return (
            f"OneWay({self.target} by {self.parameter.key}: {self.posterior:.4g}, "
            f"derivative {self.derivative:.3g}, {self.at(self.parameter.low):.4g} to "
            f"{self.at(self.parameter.high):.4g} over its interval)"
        )


def one_way(dx: Diagnosis, target: str, parameter: str | Parameter) -> OneWay:
    """Return the posterior of a cause as an exact function of one number of the tables.

    Parameters
    ----------
    dx : Diagnosis
    target : str
        Cause.
    parameter : str or Parameter
        Key of a parameter, or a cause for its prevalence.

    Returns
    -------
    OneWay
        The function is ``(c1 x + c2) / (c3 x + c4)`` [1]_, in pieces where the number is so small
        that what it says is reached without it, or so large that what it sets is certain.

    Raises
    ------
    UnknownIdError
        For a target or parameter that does not exist.
    EvidenceError
        For a parameter that no stratum of the case uses, or a cause with several rows in use.
    WidthError
        Where the case is too wide for exact derivatives.

    References
    ----------
    .. [1] Coupé VMH, van der Gaag LC. Properties of sensitivity analysis of Bayesian belief
       networks. Ann Math Artif Intell 2002.
    """
    row = single_parameter(dx, parameter)
    knob = Knob(row.key, (row,))
    moves = find_moves(dx, [knob], [target])
    ends = [0.0, *moves.kinks()[0], 1.0]
    values = []
    for x in ends:
        evidence, joint = moves.evaluate(np.array([x]))
        if evidence[0] < LOST:
            evidence[0], joint[0, 0] = _anew(dx, row, x, target)
        values.append((x, float(joint[0, 0]), float(evidence[0])))
    pieces = tuple(
        LinearFractional.through(first, second, first[0], second[0])
        for first, second in pairwise(values)
    )
    function = PiecewiseFractional(pieces)
    here = function.piece(row.value)
    return OneWay(
        target,
        knob,
        function,
        function.at(row.value),
        here.derivative(row.value),
        here.vertex_proximity(row.value),
    )


def _anew(dx: Diagnosis, row: Parameter, x: float, target: str) -> tuple[float, float]:
    """P(evidence) and P(evidence, target) at x by inference, divided by the present P(evidence)."""
    from twitchdx.inference import infer_batch

    engine = dx.engine.with_parameters({row: x})
    answer = infer_batch(engine.networks, dx.case.weights[None, :], dx.case.ratios[None, :])
    evidence = float(np.exp(answer.log_evidence[0] - dx.log_evidence))
    if evidence == 0.0:
        return 0.0, 0.0
    cause = engine.networks[0].causes.index(target)
    return evidence, evidence * float(answer.posterior[0, cause])
