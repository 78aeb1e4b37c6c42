"""The same case under different priors, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from twitchdx.case import strata_weights
from twitchdx.errors import EvidenceError, UnknownIdError
from twitchdx.explain.leading import contenders
from twitchdx.odds import log_odds
from twitchdx.sensitivity.prior_sets import GRADE, PriorSet, read_prior_set

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis, Engine

Alternative: TypeAlias = "str | Path | PriorSet | Mapping[str, float] | Engine"


@dataclass(frozen=True, eq=False)
class Comparison:
    """One case under several priors.

    Attributes
    ----------
    diagnoses : mapping of str to Diagnosis
        Name of the priors -> diagnosis; the original first.
    frame : DataFrame
        Tidy, one row for each priors and cause: `priors`, `cause`, `prior`, `posterior`, `rank`
        (among all causes), `log_odds_change` (of the posterior, from the original),
        `leading` (whether it is the leading cause).
    """

    diagnoses: Mapping[str, Diagnosis]
    frame: pd.DataFrame

    def table(self, column: str = "posterior") -> pd.DataFrame:
        """Return one column with a row a cause and a column for each priors."""
        wide = self.frame.pivot(index="cause", columns="priors", values=column)
        names = list(self.diagnoses)
        return wide[names].sort_values(names[0], ascending=False)

    def plot(self, axes: Axes | None = None, top: int = 10) -> Axes:
        """Draw the posteriors of the most probable causes under each of the priors."""
        from twitchdx.sensitivity.plots import plot_comparison

        return plot_comparison(self, axes, top)

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.diagnoses)})\n{self.table().head(10)}"


def compare(dx: Diagnosis, *alternatives: Alternative) -> Comparison:
    """Answer the same case under other priors.

    Parameters
    ----------
    dx : Diagnosis
    *alternatives
        Each a population of the tables (by its id), a prior set or the file of one, a mapping of
        causes to prevalences, or another engine over the same nodes. A population means that
        population's own prevalences and strata; all others change this diagnosis' engine.

    Returns
    -------
    Comparison

    Raises
    ------
    UnknownIdError
        For a cause that does not exist.
    PriorSetError
        For a prior set that cannot be read or applied.
    EvidenceError
        Where a population has nobody of the case's age and sex, or an engine has other nodes.
    """
    diagnoses: dict[str, Diagnosis] = {_own_name(dx.engine): dx}
    for alternative in alternatives:
        name, engine = _engine(dx.engine, alternative)
        unique, count = name, 2
        while unique in diagnoses:
            unique, count = f"{name} ({count})", count + 1
        diagnoses[unique] = rediagnose(dx, engine)
    return Comparison(diagnoses, _frame(diagnoses))


def rediagnose(dx: Diagnosis, engine: Engine) -> Diagnosis:
    """Return the diagnosis of the same case by another engine over the same nodes."""
    if engine.networks[0].names != dx.engine.networks[0].names:
        raise EvidenceError("the engines to compare have different causes or findings")
    weights = strata_weights(engine.model, dx.case.age, dx.case.sex)
    return engine.diagnose_case(replace(dx.case, weights=weights))


def _own_name(engine: Engine) -> str:
    """The population, and whether some of its numbers are others than the tables'."""
    changed = any(row.row is None or row.grade == GRADE for row in engine.model.parameters)
    return f"{engine.population}, changed" if changed else engine.population


def _engine(engine: Engine, alternative: Alternative) -> tuple[str, Engine]:
    from twitchdx.diagnosis import Engine as EngineClass

    if isinstance(alternative, EngineClass):
        return _own_name(alternative), alternative
    if isinstance(alternative, str) and alternative in engine.knowledge.populations:
        return alternative, engine.with_population(alternative)
    if isinstance(alternative, str) and not Path(alternative).exists():
        known = engine.knowledge.populations
        raise UnknownIdError(alternative, known, "population or file of a prior set")
    if isinstance(alternative, str | Path):
        alternative = read_prior_set(alternative)
    if isinstance(alternative, PriorSet):
        return alternative.name, engine.with_priors(alternative)
    changed = ", ".join(f"{cause}={value:g}" for cause, value in alternative.items())
    return changed, engine.with_priors(alternative)


def _frame(diagnoses: Mapping[str, Diagnosis]) -> pd.DataFrame:
    import pandas as pd

    first = next(iter(diagnoses.values())).posterior
    parts = []
    for name, dx in diagnoses.items():
        posterior = dx.posterior[first.index]
        leading = next(iter(contenders(dx)), None)
        parts.append(
            pd.DataFrame(
                {
                    "priors": name,
                    "cause": first.index,
                    "prior": dx.prior[first.index].to_numpy(),
                    "posterior": posterior.to_numpy(),
                    "rank": posterior.rank(ascending=False, method="min").to_numpy(dtype=np.int64),
                    "log_odds_change": [
                        0.0 if p == q else log_odds(p) - log_odds(q)
                        for p, q in zip(posterior, first, strict=True)
                    ],
                    "leading": first.index == leading,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
