"""Sensitivity over many vignettes: which numbers matter in a cohort."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from twitchdx.case import Case
from twitchdx.diagnosis import Diagnosis
from twitchdx.errors import BatchError, TwitchdxError
from twitchdx.sensitivity.flips import leading_causes
from twitchdx.sensitivity.knobs import Selection, case_knobs, identity
from twitchdx.sensitivity.moves import find_moves, reach_of
from twitchdx.sensitivity.probabilistic import SEED, probabilistic
from twitchdx.sensitivity.tornado import shift_odds, spread_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Engine

Result = TypeVar("Result")

COHORT_DRAWS = 200


@dataclass(frozen=True, eq=False)
class VignetteDiagnosis(Diagnosis):
    """The diagnosis of one vignette of a file."""

    vignette_id: str = ""


@dataclass(frozen=True, eq=False)
class CohortTornado:
    """Which numbers matter in a cohort.

    Attributes
    ----------
    target : str
        The cause whose posterior is watched, or "" for each vignette's own leading cause.
    spread : str
        What each number was moved over, in words.
    vignettes, skipped : int
        Answered, and left out as they could not be read or answered exactly.
    fragile : float
        Share of vignettes whose leading cause is fragile to at least one number.
    frame : DataFrame
        One row a quantity, largest mean swing first: `parameter` (its identity, all rows by sex
        and age as one), `label`, `kind`, `cause`, `other`, `mean_swing` and `max_swing` of the
        posterior, `share_fragile` (of vignettes whose leading cause changes within the number's
        spread), `vignettes` (that the number touches), `grade`, `source`.
    """

    target: str
    spread: str
    vignettes: int
    skipped: int
    fragile: float
    frame: pd.DataFrame

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
    vignettes, skipped, draws, seed : int
    unchanged : float
        Mean probability that a vignette's leading cause stays the leading one.
    frame : DataFrame
        One row a vignette: `vignette_id`, `leading`, `posterior`, `low`, `high` (95 % interval),
        `p_unchanged`.
    """

    vignettes: int
    skipped: int
    draws: int
    seed: int
    unchanged: float
    frame: pd.DataFrame

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the distribution of the probability that the leading cause stays."""
        from twitchdx.sensitivity.plots import plot_cohort_probabilistic

        return plot_cohort_probabilistic(self, axes)

    def __repr__(self) -> str:
        return (
            f"CohortProbabilistic({self.vignettes:,} vignettes, {self.draws} draws each; leading "
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
    workers: int | None = None,
) -> CohortTornado:
    """Move each number alone in every vignette of a file; say which ones matter.

    A number's rows by sex and age count as one. A vignette's leading cause is fragile to a number
    if it changes within the number's spread; as log ratios of posteriors move no further than the
    log-odds of a network parameter, only rivals near enough are looked at, which changes nothing.

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
    exposures : bool
        Let exposures lead, too.
    workers : int, optional
        Threads; by default as many as there are cores.

    Raises
    ------
    BatchError
        For a file that cannot be read, or without any vignette that can be answered.
    UnknownIdError
        For a target or parameter that does not exist.
    """
    if target is not None:
        from twitchdx.diagnosis import check_cause

        check_cause(engine, target)

    def one(dx: Diagnosis) -> list[tuple[str, float, bool]]:
        return _vignette(dx, target, parameters, odds, exposures)

    swings: dict[str, list[float]] = {}
    flipped: dict[str, int] = {}
    labels: dict[str, dict[str, object]] = {}
    answered = fragile = skipped = 0
    for dx, result in _each(engine, vignettes, one, workers):
        if result is None or dx is None:
            skipped += 1
            continue
        answered += 1
        fragile += any(flips for _, _, flips in result)
        for key, swing, flips in result:
            swings.setdefault(key, []).append(swing)
            flipped[key] = flipped.get(key, 0) + flips
        if not labels.keys() >= swings.keys():
            labels.update(_labels(dx, parameters))
    if not answered:
        raise BatchError("none of the vignettes could be answered")
    import pandas as pd

    frame = pd.DataFrame(
        [
            {
                **labels[key],
                "mean_swing": float(np.sum(values)) / answered,
                "max_swing": float(np.max(values)),
                "share_fragile": flipped[key] / answered,
                "vignettes": len(values),
            }
            for key, values in swings.items()
        ]
    )
    frame = frame.sort_values("mean_swing", ascending=False, kind="stable", ignore_index=True)
    return CohortTornado(
        target or "", spread_words(odds), answered, skipped, fragile / answered, frame
    )


def cohort_probabilistic(
    engine: Engine,
    vignettes: str | Path | pd.DataFrame,
    parameters: Selection = "all",
    *,
    draws: int = COHORT_DRAWS,
    seed: int = SEED,
    exposures: bool = False,
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
    exposures : bool
    workers : int, optional

    Raises
    ------
    BatchError
        For a file that cannot be read, or without any vignette that can be answered.
    UnknownIdError
        For a parameter that does not exist.
    """

    def one(dx: Diagnosis) -> dict[str, object]:
        result = probabilistic(dx, parameters, draws=draws, seed=seed, exposures=exposures)
        row = result.frame.set_index("cause").loc[result.leading]
        return {
            "leading": result.leading,
            "posterior": row["posterior"],
            "low": row["low"],
            "high": row["high"],
            "p_unchanged": result.leading_unchanged[0],
        }

    records, skipped = [], 0
    for dx, result in _each(engine, vignettes, one, workers):
        if result is None or dx is None:
            skipped += 1
            continue
        records.append({"vignette_id": dx.vignette_id, **result})
    if not records:
        raise BatchError("none of the vignettes could be answered")
    import pandas as pd

    frame = pd.DataFrame(records)
    return CohortProbabilistic(
        len(frame), skipped, draws, seed, float(frame["p_unchanged"].mean()), frame
    )


def _vignette(
    dx: Diagnosis,
    target: str | None,
    parameters: Selection,
    odds: float | None,
    exposures: bool,
) -> list[tuple[str, float, bool]]:
    """Identity of each quantity, its swing, and whether the leading cause changes within it."""
    knobs = case_knobs(dx, parameters)
    candidates = leading_causes(dx, exposures=exposures)
    leading = max(candidates, key=lambda cause: dx.posterior[cause]) if candidates else None
    watched = target or leading
    if watched is None:
        return []
    asked = [watched] if leading is None else list(dict.fromkeys([watched, leading]))
    moves = find_moves(dx, knobs, asked)
    low, high = (
        (moves.low, moves.high)
        if odds is None
        else (shift_odds(moves.values, 1 / odds), shift_odds(moves.values, odds))
    )
    ends = [moves.evaluate(numbers) for numbers in (low, high)]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = [joint[0] / evidence for evidence, joint in ends]
    swing = np.nan_to_num(np.abs(at[1] - at[0]))
    flips = np.zeros(len(knobs), dtype=bool)
    if leading is not None:
        lead = asked.index(leading)
        reach = reach_of(moves, low, high)
        gap = {
            rival: np.log(dx.posterior[leading]) - np.log(dx.posterior[rival])
            for rival in candidates
            if rival != leading and dx.posterior[rival] > 0
        }
        rivals = [rival for rival, far in gap.items() if far <= reach.max(initial=0.0)]
        if rivals:
            others = find_moves(dx, knobs, rivals)
            for (_, joint), numbers in zip(ends, (low, high), strict=True):
                flips |= (others.evaluate(numbers)[1] > joint[lead]).any(axis=0)
    return [
        (identity(knob.parameters[0]), float(swing[k]), bool(flips[k]))
        for k, knob in enumerate(knobs)
    ]


def _labels(dx: Diagnosis, parameters: Selection) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for knob in case_knobs(dx, parameters):
        first = knob.parameters[0]
        label = knob.label.split(",")[0]
        found[identity(first)] = {
            "parameter": identity(first),
            "label": label,
            "kind": knob.kind,
            "cause": knob.cause,
            "other": knob.other,
            "grade": knob.grade,
            "source": ";".join(knob.source),
        }
    return found


def _each(
    engine: Engine,
    vignettes: str | Path | pd.DataFrame,
    function: Callable[[Diagnosis], Result],
    workers: int | None,
) -> Iterator[tuple[Any, Result | None]]:
    """Apply a function to the diagnosis of each vignette, in order, with a progress bar."""
    from tqdm import tqdm

    diagnoses = read_cohort(engine, vignettes)

    def tried(dx: Diagnosis | None) -> Result | None:
        if dx is None:
            return None
        try:
            return function(dx)
        except TwitchdxError:
            return None

    count = workers or len(os.sched_getaffinity(0))
    with (
        ThreadPoolExecutor(count) as pool,
        tqdm(total=len(diagnoses), unit="vignette", disable=None) as bar,
    ):
        for dx, result in zip(diagnoses, pool.map(tried, diagnoses), strict=True):
            bar.update()
            yield dx, result


def read_cohort(engine: Engine, vignettes: str | Path | pd.DataFrame) -> list[Diagnosis | None]:
    """Return the diagnosis of each vignette; None for one that cannot be read or answered exactly.

    Raises
    ------
    BatchError
        For a file that cannot be read, or with columns that mean nothing here.
    """
    from twitchdx.batch.cells import frame_cells
    from twitchdx.batch.encode import Encoder
    from twitchdx.batch.layout import plan_layout
    from twitchdx.inference import infer_batch

    frame = _read_frame(vignettes)
    layout = plan_layout("the vignettes", list(frame.columns), engine.reader)
    evidence = Encoder(engine, layout).encode(frame_cells(frame, layout.wanted))
    answer = infer_batch(engine.networks, evidence.weights, evidence.ratios)
    found: list[Diagnosis | None] = []
    for i, vignette in enumerate(evidence.vignette_id):
        if answer.method[i] != "exact":
            found.append(None)
            continue
        case = Case((), (), evidence.ratios[i], evidence.weights[i], None, None)
        found.append(
            VignetteDiagnosis(
                engine=engine,
                case=case,
                probabilities=answer.posterior[i],
                log_evidence=float(answer.log_evidence[i]),
                width=int(answer.width[i]),
                method="exact",
                standard_error=None,
                vignette_id=vignette,
            )
        )
    return [*found, *([None] * len({reject.vignette_id for reject in evidence.rejects}))]


def _read_frame(vignettes: str | Path | pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    if isinstance(vignettes, str | Path):
        try:
            frame = pd.read_csv(vignettes, dtype=str, keep_default_na=False)
        except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
            raise BatchError(f"{vignettes}: cannot be read: {error}") from error
    else:
        frame = vignettes
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    if "vignette_id" not in frame.columns:
        frame = frame.assign(vignette_id=frame.index.astype(str))
    return frame
