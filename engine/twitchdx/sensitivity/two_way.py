"""Two-way sensitivity: a posterior over two numbers, and where the leading cause changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.errors import EvidenceError
from twitchdx.explain.leading import contenders
from twitchdx.odds import log_odds, shift_odds
from twitchdx.sensitivity.draws import plan_case
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Knob, single_parameter

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Parameter

STEPS = 41
"""Points along each number, equally spaced in log-odds."""

MARGIN = 1.0
"""Log-odds shown beyond either end of an interval."""


@dataclass(frozen=True, eq=False)
class TwoWay:
    """A posterior over two numbers.

    Attributes
    ----------
    target : str
    first, second : Knob
        The numbers along x and y.
    x, y : ndarray, shape (steps,)
        Their values, equally spaced in log-odds.
    posterior : ndarray, shape (steps of y, steps of x)
    lead : ndarray, shape (steps of y, steps of x)
        ln of the posterior of the present leading cause over that of its strongest rival: the
        leading cause changes where it is 0.
    leading : str
        The leading cause at the present numbers.
    rival : ndarray of str, shape (steps of y, steps of x)
        The strongest rival.
    coefficients : ndarray, shape (2, 4), or None
        P(evidence, target) and P(evidence) as ``c0 + cx x + cy y + cxy x y``, divided by the
        present P(evidence); None where a number stops to matter within (0, 1), as the forms are
        then made of pieces.
    """

    target: str
    first: Knob
    second: Knob
    x: FloatArray
    y: FloatArray
    posterior: FloatArray
    lead: FloatArray
    leading: str
    rival: np.ndarray[tuple[int, int], np.dtype[np.str_]]
    coefficients: FloatArray | None

    @property
    def frame(self) -> pd.DataFrame:
        """Tidy grid: `x`, `y` (named by the numbers' keys), `posterior`, `leading`."""
        import pandas as pd

        x, y = np.meshgrid(self.x, self.y)
        lead = np.where(self.lead >= 0, self.leading, self.rival)
        return pd.DataFrame(
            {
                self.first.key: x.ravel(),
                self.second.key: y.ravel(),
                "posterior": self.posterior.ravel(),
                "leading": lead.ravel(),
            }
        )

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw contours of the posterior, both intervals, and the line of changed lead."""
        from twitchdx.sensitivity.plots import plot_two_way

        return plot_two_way(self, axes)

    def __repr__(self) -> str:
        low, high = self.posterior.min(), self.posterior.max()
        return (
            f"TwoWay({self.target} over {self.first.label} and {self.second.label}: "
            f"{low:.4g} to {high:.4g}; {self.leading} leads on {(self.lead >= 0).mean():.0%})"
        )


def two_way(
    dx: Diagnosis,
    target: str,
    first: str | Parameter,
    second: str | Parameter,
    *,
    steps: int = STEPS,
    exposures: bool = False,
    bystanders: bool = False,
) -> TwoWay:
    """Return a posterior over two numbers, each from below to above its own interval.

    Parameters
    ----------
    dx : Diagnosis
    target : str
        Cause.
    first, second : str or Parameter
        Keys, or causes for their prevalence.
    steps : int
        Points along each number.
    exposures : bool
        Let exposures lead, too.
    bystanders : bool
        Likewise causes that the evidence does not speak for.

    Raises
    ------
    UnknownIdError
        For a target or parameter that does not exist.
    EvidenceError
        For a parameter that no stratum of the case uses, a cause with several rows in use, or one
        number named twice.
    """
    from twitchdx.diagnosis import check_cause

    check_cause(dx.engine, target)
    rows = [single_parameter(dx, parameter) for parameter in (first, second)]
    if rows[0].key == rows[1].key:
        raise EvidenceError(f"{rows[0].key} is named twice; a two-way analysis takes two numbers")
    x, y = (_axis(row, steps) for row in rows)
    grid = np.stack([g.ravel() for g in np.meshgrid(x, y)], axis=1)
    posterior = plan_case(dx, rows).posteriors(grid).posterior
    place = {cause: i for i, cause in enumerate(dx.engine.networks[0].causes)}
    candidates = contenders(dx, exposures=exposures, bystanders=bystanders)
    among = posterior[:, [place[cause] for cause in candidates]]
    leading, lead = candidates[0], 0
    others = np.delete(among, lead, axis=1)
    names = np.delete(np.array(candidates), lead)
    with np.errstate(divide="ignore"):
        gap = np.log(among[:, lead]) - np.log(others.max(axis=1))
    shape = (len(y), len(x))
    return TwoWay(
        target,
        Knob(rows[0].key, (rows[0],)),
        Knob(rows[1].key, (rows[1],)),
        x,
        y,
        posterior[:, place[target]].reshape(shape),
        gap.reshape(shape),
        leading,
        names[others.argmax(axis=1)].reshape(shape),
        _coefficients(dx, rows, target),
    )


def _axis(row: Parameter, steps: int) -> FloatArray:
    low = max(log_odds(row.low), log_odds(row.value) - 6) - MARGIN
    high = min(log_odds(row.high), log_odds(row.value) + 6) + MARGIN
    return shift_odds(np.full(steps, 0.5), np.exp(np.linspace(low, high, steps)))


def _coefficients(dx: Diagnosis, rows: list[Parameter], target: str) -> FloatArray | None:
    """Bilinear coefficients through the four corners of the unit square."""
    weights = dx.case.weights
    if any(t.kinks for row in rows for t in row.targets if weights[t.stratum] > 0):
        return None
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    answers = plan_case(dx, rows).posteriors(corners)
    evidence = np.exp(answers.log_evidence - dx.log_evidence)
    cause = dx.engine.networks[0].causes.index(target)
    joint = np.where(evidence > 0, answers.posterior[:, cause], 0.0) * evidence
    forms = [[v[0], v[1] - v[0], v[2] - v[0], v[3] - v[1] - v[2] + v[0]] for v in (joint, evidence)]
    return np.array(forms)
