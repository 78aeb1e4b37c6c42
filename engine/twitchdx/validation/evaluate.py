"""Score a file of vignettes with the model and its comparators: every number in one tidy table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import PRESENT
from twitchdx.inference import infer_evidence
from twitchdx.validation import calibration, decisions, metrics
from twitchdx.validation.cases import EVERY, Cases, truth_parts
from twitchdx.validation.intervals import (
    DRAWS,
    Estimate,
    case_weights,
    mean_interval,
    weighted_interval,
)
from twitchdx.validation.models import COMPARATORS, Answers, Comparator

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ANY_WITHIN = "any true cause in the first"
ALL_WITHIN = "all true causes in the first"
FIRST = (1, 3, 5)
"""List lengths at which a true cause is looked for."""
COVERAGE = (0.01, 0.05, 0.1, 0.2)
"""Posteriors from which a cause counts as on the differential."""
RANKINGS = (
    "posterior",
    "posterior, exposures left out",
    "disablement",
    "sufficiency",
    "tempered",
)
"""What may sort a differential."""
LEAST_POSITIVE = 2
"""Cases with a cause from which its ROC curve is drawn."""


@dataclass(frozen=True)
class Number:
    """One figure of the report.

    Attributes
    ----------
    population, level, subset, model, ranking : str
        What was scored, and how; blank where it makes no difference.
    metric : str
    about : str
        Cause, threshold or list length that the metric is about.
    value, low, high : float
        With its 95 % bootstrap interval; NaN where not defined.
    n : int
        Cases (of per-cause metrics: cases with the cause).
    """

    population: str
    level: str
    subset: str
    model: str
    ranking: str
    metric: str
    about: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, eq=False)
class Task:
    """Cases of one population and level, what their labels are, and the truth in numbers.

    Attributes
    ----------
    engine : Engine
    population, level : str
    cases : Cases
    labels : tuple of str
        What probabilities are scored for: causes, and older ids in place of their parts. Those
        with an exposure among their parts are left out: a case says what was the cause, not
        what the person was exposed to.
    truth : array of bool, shape (cases, labels)
    truths : list a case of list a truth of cause indices
    """

    engine: Engine
    population: str
    level: str
    cases: Cases
    labels: tuple[str, ...]
    truth: BoolArray
    truths: list[list[list[int]]]
    counted: BoolArray = field(repr=False)

    @property
    def exposures(self) -> BoolArray:
        """Which causes are exposures, shape (causes,)."""
        rows = self.engine.knowledge.causes
        return np.array([rows[cause].nature == "exposure" for cause in self.engine.causes])


def make_task(engine: Engine, cases: Cases, level: str) -> Task:
    """Work out labels and truth of cases."""
    column = {cause: i for i, cause in enumerate(engine.causes)}
    named = dict.fromkeys(name for truth in cases.truths for name in truth)
    parts = {name: truth_parts(engine, name) for name in named}
    merged = {part: name for name, ids in parts.items() if len(ids) > 1 for part in ids}
    rows = engine.knowledge.causes
    every = [*(c for c in engine.causes if c not in merged), *dict.fromkeys(merged.values())]
    labels = tuple(
        label
        for label in every
        if all(rows[part].nature != "exposure" for part in engine.knowledge.stands_for(label))
    )
    place = {label: i for i, label in enumerate(labels)}
    truth = np.zeros((len(cases), len(labels)), bool)
    for i, names in enumerate(cases.truths):
        for name in names:
            ids = parts[name]
            label = merged.get(ids[0], ids[0])
            if label in place:
                truth[i, place[label]] = True
    counted = np.ones(truth.shape, bool)
    for label, i in place.items():
        for part in engine.knowledge.stands_for(label):
            counted[:, i] &= ~cases.known[:, column[part]]
    truths = [[[column[p] for p in parts[name]] for name in names] for names in cases.truths]
    return Task(engine, engine.population, level, cases, labels, truth & counted, truths, counted)


def ranked_truths(
    task: Task, first: FloatArray, second: FloatArray, without_exposures: bool = False
) -> list[list[int]]:
    """Return the rank of each true cause.

    Causes whose state the case states as known are not ranked, and are no truth to be found.
    Exposures are ranked like any cause, unless left out; then truths that are only exposures
    are left out too.
    """
    left_out = task.cases.known.copy()
    truths = task.truths
    if without_exposures:
        exposed = task.exposures
        left_out |= exposed
        truths = [
            [parts for parts in truth if not all(exposed[p] for p in parts)] for truth in truths
        ]
    return metrics.truth_ranks(metrics.ranks(first, second, left_out), truths)


def explained(task: Task, posterior: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return expected disablement and sufficiency of each cause in each case, and the tempered.

    Parameters
    ----------
    task : Task
    posterior : array, shape (cases, causes)

    Returns
    -------
    disablement, sufficiency, tempered : arrays, shape (cases, causes)
        NaN in cases too wide for exact inference.
    """
    from twitchdx.explain import tempered
    from twitchdx.explain.attribution import best_counterfactuals

    networks = task.engine.networks
    place = [task.engine.reader.index[cause] for cause in task.engine.causes]
    n_causes = len(networks[0].causes)
    shape = (len(task.cases), len(place))
    disablement, sufficiency = np.full(shape, np.nan), np.full(shape, np.nan)
    answer = infer_evidence(networks, task.cases.weights, task.cases.ratios, exact_only=True)
    exact = answer.method == "exact"
    for i, ratios in enumerate(task.cases.ratios):
        findings = np.flatnonzero(ratios[n_causes:] == PRESENT) + n_causes
        if not exact[i]:
            continue
        gone, enough, _ = best_counterfactuals(
            networks, task.cases.weights[i], ratios, findings, float(answer.log_evidence[i])
        )
        disablement[i] = gone.sum(axis=1)[place]
        sufficiency[i] = enough.sum(axis=1)[place]
    prior = task.cases.weights @ np.array([one.prevalence[place] for one in networks])
    return disablement, sufficiency, tempered(disablement, prior, posterior)


def rank_numbers(
    task: Task, found: Sequence[Sequence[int]], model: str, ranking: str
) -> Iterable[Number]:
    """Yield top-k and reciprocal rank, for all cases and each subset."""
    for subset, inside in task.cases.subsets.items():
        some = [r if keep else [] for r, keep in zip(found, inside.tolist(), strict=True)]
        per_case = {
            **{(ANY_WITHIN, str(k)): metrics.any_within(some, k) for k in FIRST},
            **{(ALL_WITHIN, str(k)): metrics.all_within(some, k) for k in FIRST},
            ("mean reciprocal rank", ""): metrics.reciprocal_rank(some),
        }
        for (metric, about), values in per_case.items():
            yield _number(task, subset, model, ranking, metric, about, mean_interval(values))


def probability_numbers(task: Task, answers: Answers, model: str) -> Iterable[Number]:
    """Yield how good the probabilities are, for all cases and each subset."""
    p = np.where(task.counted, answers.labels, 0.0)
    for subset, inside in task.cases.subsets.items():
        rows = np.flatnonzero(inside)
        if len(rows) == 0:
            continue
        q, truth = p[rows], task.truth[rows]
        truths = [[[int(label)] for label in np.flatnonzero(flags)] for flags in truth]
        means = {
            ("Brier score", ""): metrics.brier(q, truth),
            ("log score (nats)", ""): metrics.log_score(q, truth),
        }
        for threshold in COVERAGE:
            share, size = metrics.covered(q, truths, threshold)
            means["true causes at or above", f"{threshold:g}"] = share
            means["causes at or above", f"{threshold:g}"] = size
        for (metric, about), values in means.items():
            yield _number(task, subset, model, "", metric, about, mean_interval(values))
        if model != COMPARATORS[0].name:
            continue
        lines: dict[str, Callable[[FloatArray], float]] = {
            f"calibration {part}": partial(_line, name, q, truth)
            for part, name in (
                ("slope", "slope"),
                ("intercept", "intercept"),
                ("in the large", "in_the_large"),
            )
        }
        lines["expected calibration error"] = partial(
            calibration.expected_calibration_error, q, truth
        )
        for metric, statistic in lines.items():
            estimate = weighted_interval(statistic, len(rows))
            yield _number(task, subset, model, "", metric, "", estimate)


def cause_numbers(task: Task, answers: Answers) -> Iterable[Number]:
    """Yield AUROC and average precision of each label with enough positives."""
    nan = float("nan")
    p = np.where(task.counted, answers.labels, 0.0)
    for i, label in enumerate(task.labels):
        positives = int(task.truth[:, i].sum())
        if positives < LEAST_POSITIVE:
            continue
        q, truth = p[:, i], task.truth[:, i]
        ones = np.ones(len(p))
        drawn = metrics.auroc_draws(q, truth, case_weights(len(p), DRAWS))
        drawn = drawn[~np.isnan(drawn)]
        low, high = nan, nan
        if len(drawn) >= 0.9 * DRAWS:
            low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
        for metric, estimate in (
            ("AUROC", Estimate(metrics.auroc(q, truth, ones), low, high, positives)),
            (
                "average precision",
                Estimate(metrics.average_precision(q, truth, ones), nan, nan, positives),
            ),
        ):
            yield _number(task, EVERY, COMPARATORS[0].name, "", metric, label, estimate)


def decision_numbers(task: Task, answers: Answers) -> Iterable[Number]:
    """Yield net benefit, sensitivity and specificity for the causes that must not be missed.

    Pooled over those causes, each (case, cause) being one decision, at every threshold; and each
    cause with positives at the threshold of causes.csv.
    """
    rows = task.engine.knowledge.causes
    serious = [
        i
        for i, label in enumerate(task.labels)
        if any(
            rows[part].seriousness == "cannot_miss"
            for part in task.engine.knowledge.stands_for(label)
        )
    ]
    if not serious or not len(task.cases):
        return
    p = np.where(task.counted, answers.labels, 0.0)
    name = COMPARATORS[0].name
    q, truth = p[:, serious], task.truth[:, serious]
    n = len(q)
    for threshold in decisions.THRESHOLDS:
        odds = threshold / (1 - threshold)
        acted = q >= threshold
        gain = (acted & truth).sum(axis=1) - odds * (acted & ~truth).sum(axis=1)
        all_gain = truth.sum(axis=1) - odds * (~truth).sum(axis=1)
        about = f"{threshold:g}"
        for metric, values in (
            ("net benefit, serious causes", gain / len(serious)),
            ("net benefit, serious causes, acting on all", all_gain / len(serious)),
        ):
            yield _number(task, EVERY, name, "", metric, about, mean_interval(values))
        for metric, hit, of in (
            ("sensitivity, serious causes", acted & truth, truth),
            ("specificity, serious causes", ~acted & ~truth, ~truth),
        ):
            if of.any():
                estimate = weighted_interval(_ratio(hit.sum(axis=1), of.sum(axis=1)), n)
                yield _number(task, EVERY, name, "", metric, about, estimate)
    for i in serious:
        label = task.labels[i]
        levels = [rows[part].action_threshold for part in task.engine.knowledge.stands_for(label)]
        given = [level for level in levels if level is not None]
        if not given or not task.truth[:, i].any():
            continue
        at = decisions.operate(p[:, i], task.truth[:, i], min(given))
        for metric, value in (
            ("sensitivity at its action threshold", at.sensitivity),
            ("specificity at its action threshold", at.specificity),
            ("net benefit at its action threshold", at.net_benefit),
        ):
            estimate = Estimate(value, float("nan"), float("nan"), at.positives)
            yield _number(task, EVERY, name, "", metric, f"{label} at {min(given):g}", estimate)


def _line(name: str, p: FloatArray, truth: BoolArray, weights: FloatArray) -> float:
    return float(getattr(calibration.recalibrate(p, truth, weights), name))


def _ratio(hit: FloatArray, of: FloatArray) -> Callable[[FloatArray], float]:
    return lambda weights: float(weights @ hit / (weights @ of)) if weights @ of else float("nan")


@dataclass(frozen=True, eq=False)
class Scored:
    """A task, the full model's answers, and every number that came of it.

    Attributes
    ----------
    task : Task
    answers : Answers
    by : mapping of str to array, shape (cases, causes)
        What sorts the causes, for each ranking.
    found : mapping of str to list a case of list of int
        The rank of each true cause, for each ranking.
    numbers : list of Number
    """

    task: Task
    answers: Answers
    by: dict[str, FloatArray]
    found: dict[str, list[list[int]]]
    numbers: list[Number]


def score_task(
    task: Task,
    comparators: Sequence[Comparator] = COMPARATORS,
    *,
    rankings: Sequence[str] = RANKINGS,
    details: bool = True,
) -> Scored:
    """Run the model and its comparators on the cases of one population and level.

    Parameters
    ----------
    task : Task
    comparators : sequence of Comparator
        The full model first.
    rankings : sequence of str
        Of `RANKINGS`, for the full model.
    details : bool
        Per-cause and decision metrics too.
    """
    numbers: list[Number] = []
    by: dict[str, FloatArray] = {}
    found: dict[str, list[list[int]]] = {}
    correct = []
    answers: Answers | None = None
    for comparator in comparators:
        own = comparator.answer(task.engine, task.cases.ratios, task.cases.weights, task.labels)
        p = np.where(task.cases.known, 0.0, own.posterior)
        placed = ranked_truths(task, p, p)
        correct.append(metrics.any_within(placed, 3))
        numbers += rank_numbers(task, placed, comparator.name, RANKINGS[0])
        numbers += probability_numbers(task, own, comparator.name)
        if answers is None:
            answers = own
            by[RANKINGS[0]], found[RANKINGS[0]] = p, placed
            if RANKINGS[1] in rankings:
                found[RANKINGS[1]] = ranked_truths(task, p, p, without_exposures=True)
            if set(rankings) & set(RANKINGS[2:]):
                explanations = dict(zip(RANKINGS[2:], explained(task, p), strict=True))
                by |= explanations
                found |= {name: _ranks(task, x, p) for name, x in explanations.items()}
            for ranking in [r for r in found if r != RANKINGS[0]]:
                numbers += rank_numbers(task, found[ranking], comparator.name, ranking)
    assert answers is not None
    for score, comparator in zip(
        metrics.capability_scores(np.column_stack(correct)), comparators, strict=True
    ):
        estimate = Estimate(float(score), float("nan"), float("nan"), len(task.cases))
        numbers.append(
            _number(task, EVERY, comparator.name, RANKINGS[0], "capability score", "3", estimate)
        )
    if details:
        numbers += cause_numbers(task, answers)
        numbers += decision_numbers(task, answers)
    return Scored(task, answers, by, found, numbers)


def _ranks(task: Task, explained: FloatArray, posterior: FloatArray) -> list[list[int]]:
    """Ranks of the truths; none in a case where what the causes explain is missing."""
    wide = np.atleast_1d(np.isnan(explained).any(axis=1))
    placed = ranked_truths(task, np.nan_to_num(explained).round(12), posterior)
    return [[] if w else r for w, r in zip(list(wide), placed, strict=True)]


def _number(
    task: Task, subset: str, model: str, ranking: str, metric: str, about: str, e: Estimate
) -> Number:
    return Number(
        task.population,
        task.level,
        subset,
        model,
        ranking,
        metric,
        about,
        e.value,
        e.low,
        e.high,
        e.n,
    )


def number_rows(numbers: Iterable[Number]) -> list[dict[str, object]]:
    """Return numbers as plain rows."""
    return [asdict(number) for number in numbers]
