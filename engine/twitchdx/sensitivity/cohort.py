"""Sensitivity over many vignettes: which numbers matter in a cohort."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import ImpossibleEvidenceError, WidthError
from twitchdx.explain.leading import contending
from twitchdx.inference import infer_batch
from twitchdx.odds import shift_odds
from twitchdx.sensitivity.cohort_plan import AtEnds, CohortPlan, plan_cohort
from twitchdx.sensitivity.draws import check_draws, check_seed
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Knob, Selection, every_knob, identity
from twitchdx.sensitivity.moves import LOST, posterior_at
from twitchdx.sensitivity.probabilistic import SEED, probabilistic
from twitchdx.sensitivity.tornado import check_odds, spread_words
from twitchdx.sensitivity.vignettes import (
    AS_USUAL,
    TOO_WIDE,
    Cohort,
    LeftOut,
    Reading,
    read_cohort,
    some_answered,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Engine

Result = TypeVar("Result")

COHORT_DRAWS = 200


@dataclass(frozen=True, eq=False)
class CohortTornado:
    """Which numbers matter in a cohort.

    Attributes
    ----------
    target : str
        The cause whose posterior is watched, or "" for each vignette's own leading cause.
    spread : str
        What each number was moved over, in words.
    population : str
    left_out : LeftOut
        How many were answered, and which not, and why.
    fragile : float
        Share of the answered vignettes whose leading cause is fragile to at least one number.
    sweeps : float
        Reverse sweeps of the network that a vignette took on average.
    frame : DataFrame
        One row a quantity, largest mean swing first: `parameter` (its identity, all rows by sex
        and age as one), `label`, `kind`, `cause`, `other`, `mean_swing` and `max_swing` of the
        posterior, `share_fragile` (of vignettes whose leading cause changes within the number's
        spread), `vignettes` (that the number touches), `grade`, `source`.
    """

    target: str
    spread: str
    population: str
    left_out: LeftOut
    fragile: float
    sweeps: float
    frame: pd.DataFrame

    @property
    def vignettes(self) -> int:
        """Vignettes that were answered."""
        return self.left_out.answered

    @property
    def skipped(self) -> int:
        """Vignettes that were left out."""
        return self.left_out.count

    def plot(self, axes: Axes | None = None, top: int = 15) -> Axes:
        """Draw mean swings and shares of fragile vignettes."""
        from twitchdx.sensitivity.plots import plot_cohort

        return plot_cohort(self, axes, top)

    def __repr__(self) -> str:
        return (
            f"CohortTornado({self.vignettes:,} vignettes, {self.skipped:,} left out; leading cause "
            f"fragile to some number in {self.fragile:.1%}; {self.spread})\n{self.frame.head(15)}"
        )


@dataclass(frozen=True, eq=False)
class CohortProbabilistic:
    """How sure the answers of a cohort are of themselves.

    Attributes
    ----------
    population : str
    left_out : LeftOut
        How many were answered, and which not, and why.
    draws, seed : int
    unchanged : float
        Mean probability that a vignette's leading cause stays the leading one.
    frame : DataFrame
        One row a vignette: `vignette_id`, `leading`, `posterior`, `low`, `high` (95 % interval),
        `p_unchanged`.
    """

    population: str
    left_out: LeftOut
    draws: int
    seed: int
    unchanged: float
    frame: pd.DataFrame

    @property
    def vignettes(self) -> int:
        """Vignettes that were answered."""
        return self.left_out.answered

    @property
    def skipped(self) -> int:
        """Vignettes that were left out."""
        return self.left_out.count

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the distribution of the probability that the leading cause stays."""
        from twitchdx.sensitivity.plots import plot_cohort_probabilistic

        return plot_cohort_probabilistic(self, axes)

    def __repr__(self) -> str:
        return (
            f"CohortProbabilistic({self.vignettes:,} vignettes, {self.skipped:,} left out; "
            f"{self.draws} draws each; leading "
            f"cause unchanged with probability {self.unchanged:.1%} on average)\n"
            f"{self.frame.head(10)}"
        )


def cohort_tornado(
    engine: Engine,
    vignettes: str | Path | pd.DataFrame,
    target: str | None = None,
    parameters: Selection = "priors",
    *,
    odds: float | None = None,
    exposures: bool = False,
    bystanders: bool = False,
    reading: Reading = AS_USUAL,
    workers: int | None = None,
) -> CohortTornado:
    """Move each number alone in every vignette of a file; say which ones matter.

    A number's rows by sex and age count as one. A vignette's leading cause is fragile to a number
    if another contender (see `explain.contenders`) has the higher posterior at either end of the
    number's spread. Rivals that provably cannot are not followed, which changes nothing.

    Parameters
    ----------
    engine : Engine
    vignettes : path or DataFrame
        As for scoring.
    target : str, optional
        Cause; by default each vignette's own leading cause.
    parameters : str, Parameter, or several of them
    odds : float, optional
        See `tornado`.
    exposures, bystanders : bool
        See `flips`.
    reading : Reading
        How a file is read: mapping, unknown columns, encoding.
    workers : int, optional
        Threads; by default as many as there are cores.

    Raises
    ------
    BatchError
        For a file that cannot be read, or without any vignette that can be answered.
    UnknownIdError
        For a target or parameter that does not exist.
    EvidenceError
        For odds that are no finite number above 1, or parameters that touch no vignette.
    """
    check_odds(odds)
    if target is not None:
        from twitchdx.diagnosis import check_cause

        check_cause(engine, target)
    every_knob(engine.model, np.ones(len(engine.networks)), parameters)
    cohort = read_cohort(engine, vignettes, reading)
    used = cohort.weights.max(axis=0)
    knobs = every_knob(engine.model, used, parameters)
    plan = plan_cohort(engine.model, knobs, used > 0, odds)
    swings = _Swings(
        cohort, plan, target, odds, bystanders, _can_lead(engine, exposures), _prior(engine)
    )
    results, wide = [], {}
    for i, result in enumerate(_each(cohort, swings.of, workers)):
        if result is None:
            wide[i] = TOO_WIDE
        else:
            results.append(result)
    cohort = some_answered(cohort.without(wide))
    swing = np.stack([result.swing for result in results])
    flips = np.stack([result.flips for result in results])
    touched = (cohort.weights > 0).astype(np.int64) @ plan.touches > 0
    frame = _labels(knobs).assign(
        mean_swing=swing.mean(axis=0),
        max_swing=swing.max(axis=0),
        share_fragile=flips.mean(axis=0),
        vignettes=touched.sum(axis=0),
    )
    frame = frame[[*COHORT_COLUMNS]].sort_values(
        "mean_swing", ascending=False, kind="stable", ignore_index=True
    )
    return CohortTornado(
        target or "",
        spread_words(odds),
        engine.population,
        cohort.left_out,
        float(flips.any(axis=1).mean()),
        float(np.mean([result.sweeps for result in results])),
        frame,
    )


def cohort_probabilistic(
    engine: Engine,
    vignettes: str | Path | pd.DataFrame,
    parameters: Selection = "all",
    *,
    draws: int = COHORT_DRAWS,
    seed: int = SEED,
    exposures: bool = False,
    bystanders: bool = False,
    reading: Reading = AS_USUAL,
    workers: int | None = None,
) -> CohortProbabilistic:
    """Vary all numbers at once in every vignette, with common random numbers.

    Parameters
    ----------
    engine : Engine
    vignettes : path or DataFrame
    parameters : str, Parameter, or several of them
    draws, seed : int
        See `probabilistic`; fewer draws, as averages are over vignettes.
    exposures, bystanders : bool
        See `flips`.
    reading : Reading
        How a file is read: mapping, unknown columns, encoding.
    workers : int, optional

    Raises
    ------
    BatchError
        For a file that cannot be read, or without any vignette that can be answered.
    UnknownIdError
        For a parameter that does not exist.
    EvidenceError
        For draws that cannot be divided into batches, or a negative seed.
    """
    check_draws(draws)
    check_seed(seed)
    every_knob(engine.model, np.ones(len(engine.networks)), parameters)
    cohort = read_cohort(engine, vignettes, reading)
    # a number that touches no vignette is an error, one that misses some of them is none
    knobs = every_knob(engine.model, cohort.weights.max(axis=0), parameters)
    rows = [row for knob in knobs for row in knob.parameters]

    def one(vignette: int) -> dict[str, object]:
        dx = cohort.diagnosis(vignette)
        mine = [row for row in rows if any(dx.case.weights[t.stratum] > 0 for t in row.targets)]
        result = probabilistic(
            dx, mine, draws=draws, seed=seed, exposures=exposures, bystanders=bystanders
        )
        row = result.frame.set_index("cause").loc[result.leading]
        return {
            "leading": result.leading,
            "posterior": row["posterior"],
            "low": row["low"],
            "high": row["high"],
            "p_unchanged": result.leading_unchanged[0],
        }

    records, wide = [], {}
    for i, result in enumerate(_each(cohort, one, workers)):
        if result is None:
            wide[i] = TOO_WIDE
        else:
            records.append({"vignette_id": cohort.vignette_id[i], **result})
    cohort = some_answered(cohort.without(wide))
    import pandas as pd

    frame = pd.DataFrame(records)
    return CohortProbabilistic(
        engine.population,
        cohort.left_out,
        draws,
        seed,
        float(frame["p_unchanged"].mean()),
        frame,
    )


COHORT_COLUMNS = (
    "parameter",
    "label",
    "kind",
    "cause",
    "other",
    "mean_swing",
    "max_swing",
    "share_fragile",
    "vignettes",
    "grade",
    "source",
)


class _Vignette(NamedTuple):
    """What each knob does in one vignette, and what that took."""

    swing: FloatArray
    flips: NDArray[np.bool_]
    sweeps: int


@dataclass(frozen=True, eq=False)
class _Swings:
    """The tornado of one vignette after the other.

    Attributes
    ----------
    can_lead : ndarray of int
        Nodes of the causes that lead unless they were observed.
    prior : ndarray, shape (strata, C)
    """

    cohort: Cohort
    plan: CohortPlan
    target: str | None
    odds: float | None
    bystanders: bool
    can_lead: NDArray[np.int64]
    prior: FloatArray

    def of(self, vignette: int) -> _Vignette:
        """Return the tornado and the flips of one vignette."""
        ratios, weights = self.cohort.ratios[vignette], self.cohort.weights[vignette]
        known = ratios, weights, float(self.cohort.log_evidence[vignette])
        evidence = self.plan.sweep(*known, None)
        rivals = self._contenders(vignette)
        place = self.cohort.engine.reader.index
        leading = int(rivals[0]) if len(rivals) else None
        watched = place[self.target] if self.target is not None else leading
        count = len(self.plan.knobs)
        if watched is None:
            return _Vignette(np.zeros(count), np.zeros(count, dtype=np.bool_), len(evidence.by))
        followed = {watched: self.plan.sweep(*known, watched)}
        if leading is not None and leading != watched:
            followed[leading] = self.plan.sweep(*known, leading)
        if leading is not None:
            for rival in self._in_reach(vignette, evidence, followed[leading], rivals[1:]):
                if rival not in followed:
                    followed[rival] = self.plan.sweep(*known, rival)
        return _Vignette(
            self._swing(vignette, evidence, watched, followed[watched]),
            self._flips(leading, followed, rivals),
            (1 + len(followed)) * len(evidence.by),
        )

    def _contenders(self, vignette: int) -> NDArray[np.int64]:
        """Nodes of the causes that compete for the lead, most probable first."""
        ratios = self.cohort.ratios[vignette][self.can_lead]
        nodes = self.can_lead[(ratios > 0) & (ratios < np.inf)]
        posterior = self.cohort.posterior[vignette][nodes]
        if not self.bystanders:
            prior = (self.cohort.weights[vignette] @ self.prior)[nodes]
            competing = contending(posterior, prior)
            nodes, posterior = nodes[competing], posterior[competing]
        return nodes[np.argsort(-posterior, kind="stable")]

    def _in_reach(
        self, vignette: int, evidence: AtEnds, leading: AtEnds, rivals: NDArray[np.int64]
    ) -> list[int]:
        """Rivals that might have the higher posterior at some end of some knob."""
        ratios = self.cohort.ratios[vignette]
        joint = self._by_stratum(vignette, evidence)
        most = self.plan.most(
            ratios, evidence, rivals, {s: values[rivals] for s, values in joint.items()}
        )
        might = (most > leading.value).any(axis=(1, 2))
        return [int(rival) for rival in rivals[might]]

    def _by_stratum(self, vignette: int, evidence: AtEnds) -> dict[int, FloatArray]:
        """P(evidence, cause) of all causes in each stratum."""
        strata = list(evidence.by)
        if len(strata) == 1:
            return {strata[0]: self.cohort.posterior[vignette] * evidence.by[strata[0]][0]}
        eye = np.eye(len(self.cohort.engine.networks))[strata]
        rows = np.repeat(self.cohort.ratios[vignette][None], len(strata), axis=0)
        answer = infer_batch(
            self.cohort.engine.networks,
            eye,
            rows,
            threads=1,
            exact_only=True,
            wanted=self.cohort.engine.reported,
        )
        return {
            s: np.nan_to_num(answer.posterior[i]) * evidence.by[s][0] for i, s in enumerate(strata)
        }

    def _flips(
        self, leading: int | None, followed: dict[int, AtEnds], rivals: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        flips = np.zeros(len(self.plan.knobs), dtype=np.bool_)
        for rival in rivals[1:].tolist():
            if leading is not None and rival in followed:
                flips |= (followed[rival].value > followed[leading].value).any(axis=0)
        return flips

    def _swing(self, vignette: int, evidence: AtEnds, watched: int, joint: AtEnds) -> FloatArray:
        """How far each knob moves the posterior of the cause that is watched."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.clip(joint.value / evidence.value, 0.0, 1.0)
        # where almost nothing of P(evidence) is left, derivatives have lost their digits
        for side, k in np.argwhere(evidence.value < LOST).tolist():
            ends[side, k] = self._anew(vignette, watched, self.plan.knobs[k], side)
        return np.asarray(np.nan_to_num(np.abs(ends[1] - ends[0])))

    def _anew(self, vignette: int, watched: int, knob: Knob, side: int) -> float:
        dx = self.cohort.diagnosis(vignette)
        numbers = {}
        for row in knob.parameters:
            number = (row.low, row.high)[side]
            if self.odds is not None:
                factor = (1 / self.odds, self.odds)[side]
                number = float(shift_odds(np.array([row.value]), factor)[0])
            numbers[row] = number
        return float(posterior_at(dx, numbers, [self.cohort.engine.reader.nodes[watched]])[0])


def _can_lead(engine: Engine, exposures: bool) -> NDArray[np.int64]:
    rows = engine.knowledge.causes
    nodes = [
        engine.reader.index[cause]
        for cause in engine.causes
        if exposures or rows[cause].nature != "exposure"
    ]
    return np.array(nodes, dtype=np.int64)


def _prior(engine: Engine) -> FloatArray:
    """Probability of every cause in every stratum, before any evidence."""
    strata = len(engine.networks)
    blank = np.ones((strata, len(engine.reader.nodes)))
    return infer_batch(engine.networks, np.eye(strata), blank, exact_only=True).posterior


def _labels(knobs: tuple[Knob, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "parameter": identity(knob.parameters[0]),
                "label": knob.label.split(",")[0],
                "kind": knob.kind,
                "cause": knob.cause,
                "other": knob.other,
                "grade": knob.grade,
                "source": ";".join(knob.source),
            }
            for knob in knobs
        ]
    )


def _each(
    cohort: Cohort, function: Callable[[int], Result], workers: int | None
) -> Iterator[Result | None]:
    """Apply a function to each vignette, in order, with a progress bar; None if it is too wide."""
    from tqdm import tqdm

    def tried(vignette: int) -> Result | None:
        try:
            return function(vignette)
        except (WidthError, ImpossibleEvidenceError):
            return None

    count = workers or len(os.sched_getaffinity(0))
    with (
        ThreadPoolExecutor(count) as pool,
        tqdm(total=len(cohort), unit="vignette", disable=None) as bar,
    ):
        for result in pool.map(tried, range(len(cohort))):
            bar.update()
            yield result
