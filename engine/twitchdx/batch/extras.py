"""What a run adds to every vignette when asked: reasons, warning patterns, intervals.

Each is what the same question to one case answers; nothing is computed in another way here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.case import Case, Observation
from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN

if TYPE_CHECKING:
    from twitchdx.batch.encode import Evidence
    from twitchdx.batch.scorer import ScoreOptions, Scores
    from twitchdx.diagnosis import Diagnosis, Engine
    from twitchdx.inference import BatchInference

EXACT = "exact"


def with_extras(
    engine: Engine,
    scores: Scores,
    evidence: Evidence,
    kept: NDArray[np.int64],
    answer: BatchInference,
    options: ScoreOptions,
) -> Scores:
    """Return scores with the columns that `options` ask for.

    Parameters
    ----------
    engine : Engine
    scores : Scores
    evidence : Evidence
        Of all vignettes that could be read.
    kept : array of int, shape (scored,)
        Which of them were scored.
    answer : BatchInference
        For all of `evidence`.
    options : ScoreOptions
    """
    cases = [diagnosis(engine, evidence, answer, int(i)) for i in kept]
    extra: dict[str, list[str]] = {}
    if options.explain:
        extra["reasons"] = [
            reasons(dx, scores.causes[int(cause)], options.explain)
            for dx, cause in zip(cases, scores.order[:, 0], strict=True)
        ]
    if options.red_flags:
        extra["red_flags"] = [warnings(dx) for dx in cases]
    scores = replace(scores, extra=extra)
    if not options.intervals:
        return scores
    from twitchdx.sensitivity import posterior_intervals

    low = np.full(scores.posterior.shape, np.nan)
    high = np.full(scores.posterior.shape, np.nan)
    for row, dx in enumerate(cases):
        if dx.method == EXACT:
            bounds = posterior_intervals(dx).loc[list(scores.causes)]
            low[row], high[row] = bounds["low"].to_numpy(), bounds["high"].to_numpy()
    return replace(scores, low=low, high=high)


def diagnosis(engine: Engine, evidence: Evidence, answer: BatchInference, row: int) -> Diagnosis:
    """Return one vignette's diagnosis, without inferring it anew."""
    from twitchdx.diagnosis import Diagnosis

    nodes = engine.reader.nodes
    entered, ratios = evidence.entered[row], evidence.ratios[row]
    seen = [Observation(nodes[i], float(entered[i]), nodes[i]) for i in _known(entered)]
    counted = set(_known(ratios).tolist())
    index = engine.reader.index
    errors = answer.standard_error
    return Diagnosis(
        engine=engine,
        case=Case(
            observations=tuple(one for one in seen if index[one.node] in counted),
            implied=tuple(one for one in seen if index[one.node] not in counted),
            ratios=ratios,
            weights=evidence.weights[row],
            age=None,
            sex=None,
        ),
        probabilities=answer.posterior[row],
        log_evidence=float(answer.log_evidence[row]),
        width=int(answer.width[row]),
        method=str(answer.method[row]),
        standard_error=None if errors is None else errors[row],
    )


def reasons(dx: Diagnosis, cause: str, most: int) -> str:
    """Return the observations that move a cause's odds most, each when all the rest is known.

    Returns
    -------
    str
        `;`-separated, weightiest first: node, state, and decibans (ten are a factor of ten in
        the odds), as in ``urge_to_move present +8.3``. An observation of the cause itself is
        its own reason, and has no weight.
    """
    from twitchdx.explain.weight import PER_NAT, log_odds

    place = dx.engine.reader.index[cause]
    seen = dx.case.observations
    if not seen:
        return ""
    subsets = np.concatenate([np.ones((1, len(seen)), bool), ~np.eye(len(seen), dtype=bool)])
    everything, *without = log_odds(dx, subsets, place)
    weights = []
    for observation, rest in zip(seen, without, strict=True):
        if observation.node == cause or not math.isfinite(everything - rest):
            weights.append((math.inf, f"{observation.node} {_state(observation.ratio)}"))
            continue
        weight = (everything - rest) * PER_NAT["decibans"]
        text = f"{observation.node} {_state(observation.ratio)} {weight:+.1f}"
        weights.append((abs(weight), text))
    ranked = sorted(weights, key=lambda one: -one[0])
    return "; ".join(text for _, text in ranked[:most])


def warnings(dx: Diagnosis) -> str:
    """Return the warning patterns met, most urgent first, then serious causes to act on.

    Returns
    -------
    str
        `;`-separated ids; a cause past its action threshold stands as ``cause>threshold``.
    """
    from twitchdx.explain import red_flags

    found = red_flags(dx)
    serious = [f"{one.cause}>{one.action_threshold:g}" for one in found.serious]
    return "; ".join([*(row.flag for row in found.patterns), *serious])


def _known(ratios: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.flatnonzero(ratios != UNKNOWN)


def _state(ratio: float) -> str:
    return {PRESENT: "present", ABSENT: "absent"}.get(ratio, f"lr={ratio:g}")
