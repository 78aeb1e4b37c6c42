"""How accuracy and calibration fall when vignettes are miscoded, priors wrong, or people others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN
from twitchdx.validation import calibration, metrics
from twitchdx.validation.cases import EVERY, VignetteFile, read_cases
from twitchdx.validation.evaluate import ANY_WITHIN, Number, Task, make_task, ranked_truths
from twitchdx.validation.intervals import Estimate, mean_interval
from twitchdx.validation.models import Answers, changed, full

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine
    from twitchdx.network import NoisyOrNetwork

FloatArray = NDArray[np.float64]

RATES = (0.05, 0.1, 0.2)
"""Shares of the known findings that are flipped, or dropped."""
REPEATS = 3
"""Times that each spoiling is drawn anew."""
FACTORS = (0.5, 2.0)
"""Priors are halved or doubled: their odds times one of these, drawn for each cause."""


def flip(ratios: FloatArray, rate: float, n_causes: int, seed: int) -> FloatArray:
    """Return evidence in which present and absent findings are swapped at a rate.

    Parameters
    ----------
    ratios : array, shape (cases, nodes)
        Findings from column `n_causes` on; known causes are left alone.
    """
    hit = np.random.default_rng([seed, 1]).random(ratios.shape) < rate
    hit[:, :n_causes] = False
    spoiled = ratios.copy()
    spoiled[hit & (ratios == PRESENT)] = ABSENT
    spoiled[hit & (ratios == ABSENT)] = PRESENT
    return spoiled


def drop(ratios: FloatArray, rate: float, n_causes: int, seed: int) -> FloatArray:
    """Return evidence in which known findings become unknown at a rate."""
    hit = np.random.default_rng([seed, 2]).random(ratios.shape) < rate
    hit[:, :n_causes] = False
    return np.where(hit, UNKNOWN, ratios)


def robustness(task: Task, file: VignetteFile, seed: int) -> list[Number]:
    """Return accuracy and calibration of the full model on spoiled input.

    Each number has the spoiling in `model`, such as "flipped 0.1". Cases that become impossible
    under a spoiling count as missed.

    Parameters
    ----------
    task : Task
        Of the main population, everything known.
    file : VignetteFile
        The same vignettes, to be read anew for the other populations.
    seed : int
    """
    engine, cases = task.engine, task.cases
    n_causes = len(engine.networks[0].causes)
    numbers: list[Number] = []
    for name, spoil in (("flipped", flip), ("dropped", drop)):
        for rate in RATES:
            runs = [
                full(
                    engine,
                    spoil(cases.ratios, rate, n_causes, seed + repeat),
                    cases.weights,
                    task.labels,
                )
                for repeat in range(REPEATS)
            ]
            numbers += _summarise(task, f"findings {name} {rate:g}", runs)
    runs = []
    for repeat in range(REPEATS):
        random = np.random.default_rng([seed, 3, repeat])
        factor = random.choice(FACTORS, n_causes)

        def halved_or_doubled(
            engine: Engine, network: NoisyOrNetwork, factor: FloatArray = factor
        ) -> NoisyOrNetwork:
            odds = factor * network.prior
            return replace(network, prior=odds / (1 - network.prior + odds))

        runs.append(changed(halved_or_doubled)(engine, cases.ratios, cases.weights, task.labels))
    numbers += _summarise(task, "priors halved or doubled", runs)
    for population in engine.knowledge.populations:
        if population == engine.population:
            continue
        other = engine.with_population(population)
        there = make_task(other, read_cases(other, file, task.level), task.level)
        if len(there.cases) == 0:
            continue
        answers = full(other, there.cases.ratios, there.cases.weights, there.labels)
        rows = _summarise(there, f"population {population}", [answers])
        numbers += [replace(row, population=task.population) for row in rows]
    return numbers


def _summarise(task: Task, name: str, runs: list[Answers]) -> list[Number]:
    """Average over repeats within a case, then over cases."""
    values: dict[tuple[str, str], list[FloatArray]] = {}
    lines = []
    for run in runs:
        lost = np.atleast_1d(np.isnan(run.posterior).any(axis=1))
        p = np.where(task.cases.known, 0.0, np.nan_to_num(run.posterior))
        found = ranked_truths(task, p, p)
        worst = [
            [p.shape[1]] if gone and ranks else ranks
            for gone, ranks in zip(list(lost), found, strict=True)
        ]
        q = np.where(task.counted, np.nan_to_num(run.labels), 0.0)
        for k in (1, 3):
            values.setdefault((ANY_WITHIN, str(k)), []).append(metrics.any_within(worst, k))
        score = np.where(lost, np.nan, metrics.log_score(q, task.truth))
        values.setdefault(("log score (nats)", ""), []).append(score)
        lines.append(calibration.recalibrate(q[~lost], task.truth[~lost]).slope)
    numbers = []
    for (metric, about), runs_values in values.items():
        e = mean_interval(np.array(runs_values).mean(axis=0))
        numbers.append(_row(task, name, metric, about, e))
    nan = float("nan")
    slope = Estimate(float(np.mean(lines)), nan, nan, len(task.cases))
    return [*numbers, _row(task, name, "calibration slope", "", slope)]


def _row(task: Task, name: str, metric: str, about: str, e: Estimate) -> Number:
    return Number(
        task.population,
        task.level,
        EVERY,
        name,
        "posterior",
        metric,
        about,
        e.value,
        e.low,
        e.high,
        e.n,
    )
