"""Vignettes drawn from the network itself: exact posteriors of the right model are calibrated.

People are drawn as the batch simulator draws them, findings get known at a share of the asking
rates of the tables, and the truth is every cause that is on. Vignettes with very many present
findings are left out, which depends on what is known alone and so leaves calibration as it is. Two
more draws say what is lost when the model is wrong: table numbers drawn from their uncertainty,
and questions that depend on the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN
from twitchdx.inference import infer_batch
from twitchdx.validation import calibration, metrics
from twitchdx.validation.calibration import ReliabilityBin

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine
    from twitchdx.network import NoisyOrNetwork

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

AS_IS = "drawn from the network"
DRAWN = "numbers drawn from their uncertainty"
ASKED = "asked about what is present three times as often"
WORLDS = 20
"""Sets of numbers drawn from their Betas; each is the truth of an equal share of vignettes."""
EAGERNESS = 3.0
"""How many times the odds of getting known a present finding has."""
SHARE = (0.05, 0.45)
"""Of the questions of a full record, the share that a person's vignette has (uniform): vignettes
are shorter than records. The share says nothing of the causes."""
MOST_PRESENT = 10
"""Vignettes with more present findings are left out: they take long, and say nothing else."""
BLOCK = 20_000
"""Vignettes in work at once."""


@dataclass(frozen=True)
class SimulatedCheck:
    """How calibrated the posteriors of simulated vignettes are.

    Attributes
    ----------
    name : str
        How the vignettes were drawn.
    count : int
        Vignettes that were scored.
    slope, slope_error, intercept : float
        Of the recalibration line over all (vignette, cause) pairs.
    ece : float
        Expected calibration error.
    log_score, brier : float
        Mean a vignette, over all causes.
    first : float
        Share of vignettes with a present cause in first place, of those with a cause and a
        present finding.
    bins : tuple of ReliabilityBin
        With intervals that hold together at 95 %.
    """

    name: str
    count: int
    slope: float
    slope_error: float
    intercept: float
    ece: float
    log_score: float
    brier: float
    first: float
    bins: tuple[ReliabilityBin, ...]

    @property
    def bins_that_hold(self) -> int:
        """Bins whose observed share lies within its interval."""
        return sum(one.holds for one in self.bins)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Simulated vignettes.

    Attributes
    ----------
    ratios : array, shape (vignettes, nodes)
    weights : array, shape (vignettes, strata)
        Age band and sex are known.
    truth : array of bool, shape (vignettes, nodes that are no findings)
    """

    ratios: FloatArray
    weights: FloatArray
    truth: BoolArray


def draw_people(
    engine: Engine,
    networks: tuple[NoisyOrNetwork, ...],
    count: int,
    random: np.random.Generator,
    eagerness: float = 1.0,
    share: tuple[float, float] = SHARE,
) -> Drawn:
    """Draw people of the engine's population from given networks, and what gets known of them.

    Parameters
    ----------
    engine : Engine
        Gives the strata and the asking rates.
    networks : tuple of NoisyOrNetwork
        One a stratum.
    count : int
    random : Generator
    eagerness : float
        The odds of getting known are multiplied by this for a present finding.
    share : tuple of float
        Least and most of the asking rates' share that a vignette has.
    """
    strata = engine.model.strata
    shares = np.array([one.share for one in strata])
    stratum = random.choice(len(strata), count, p=shares / shares.sum())
    n_causes = len(networks[0].causes)
    names = networks[0].findings
    uniform = random.random((count, n_causes + len(names)))
    on = np.zeros(uniform.shape, bool)
    for number, network in enumerate(networks):
        rows = np.flatnonzero(stratum == number)
        if len(rows):
            on[rows] = network.states(uniform[rows])
    rows_of = engine.knowledge.findings
    rates = np.array([rows_of[f].asking_rate if f in rows_of else 0.0 for f in names])
    rates = rates * random.uniform(*share, size=(count, 1))
    state = on[:, n_causes:]
    rate = np.where(state, eagerness * rates / (1 - rates + eagerness * rates), rates)
    known = random.random(state.shape) < rate
    ratios = np.full(on.shape, UNKNOWN)
    ratios[:, n_causes:][known & state] = PRESENT
    ratios[:, n_causes:][known & ~state] = ABSENT
    weights = np.zeros((count, len(strata)))
    weights[np.arange(count), stratum] = 1.0
    return Drawn(ratios, weights, on[:, :n_causes])


def check_calibration(engine: Engine, count: int, seed: int) -> list[SimulatedCheck]:
    """Draw vignettes in each of the three ways and score them with the engine as it is.

    Parameters
    ----------
    engine : Engine
    count : int
        Vignettes a way.
    seed : int
    """
    return [
        check_as_is(engine, count, seed),
        _check(engine, DRAWN, count, _from_worlds(engine, seed), seed),
        _check(
            engine,
            ASKED,
            count,
            lambda n, r: draw_people(engine, engine.networks, n, r, EAGERNESS),
            seed,
        ),
    ]


def check_as_is(engine: Engine, count: int, seed: int) -> SimulatedCheck:
    """Draw vignettes from the network itself and score them with it.

    Parameters
    ----------
    engine : Engine
    count : int
        Vignettes; blocks of 20,000 are in work at once.
    seed : int
    """
    return _check(
        engine, AS_IS, count, lambda n, r: draw_people(engine, engine.networks, n, r), seed
    )


def _from_worlds(engine: Engine, seed: int) -> Callable[[int, np.random.Generator], Drawn]:
    worlds = draw_worlds(engine, WORLDS, seed)

    def people(count: int, random: np.random.Generator) -> Drawn:
        sizes = np.bincount(np.arange(count) % WORLDS, minlength=WORLDS)
        parts = [
            draw_people(engine, networks, int(size), random)
            for networks, size in zip(worlds, sizes, strict=True)
            if size
        ]
        return Drawn(
            np.concatenate([p.ratios for p in parts]),
            np.concatenate([p.weights for p in parts]),
            np.concatenate([p.truth for p in parts]),
        )

    return people


def draw_worlds(engine: Engine, worlds: int, seed: int) -> list[tuple[NoisyOrNetwork, ...]]:
    """Return networks whose table numbers are drawn from their Betas, each number by itself."""
    from twitchdx.sensitivity.draws import draw_numbers

    rows = [p for p in engine.model.parameters if p.low < p.high and p.targets]
    numbers = np.clip(draw_numbers(rows, worlds, seed), 0.0, 1.0)
    return [
        engine.model.with_parameters(
            {row: float(x) for row, x in zip(rows, drawn, strict=True)}
        ).networks
        for drawn in numbers
    ]


def _check(
    engine: Engine,
    name: str,
    count: int,
    people: Callable[[int, np.random.Generator], Drawn],
    seed: int,
) -> SimulatedCheck:
    place = [engine.reader.index[cause] for cause in engine.causes]
    probabilities, truths, firsts = [], [], []
    for block in range(-(-count // BLOCK)):
        random = np.random.Generator(np.random.Philox(key=[seed, block]))
        drawn = people(min(BLOCK, count - block * BLOCK), random)
        kept = (drawn.ratios == PRESENT).sum(axis=1) <= MOST_PRESENT
        ratios = drawn.ratios[kept]
        answer = infer_batch(engine.networks, drawn.weights[kept], ratios, wanted=engine.reported)
        p, truth = answer.posterior[:, place], drawn.truth[kept][:, place]
        possible = np.isfinite(p).all(axis=1)
        asked = (ratios == PRESENT).any(axis=1) & truth.any(axis=1) & possible
        best = p[asked].argmax(axis=1) if asked.any() else np.zeros(0, np.int64)
        firsts.append(truth[asked][np.arange(len(best)), best])
        probabilities.append(p[possible])
        truths.append(truth[possible])
    p, truth = np.concatenate(probabilities), np.concatenate(truths)
    first = np.concatenate(firsts)
    line = calibration.recalibrate(p, truth)
    used = len(calibration.reliability(p, truth))
    bins = calibration.reliability(p, truth, level=1 - 0.05 / max(1, used))
    return SimulatedCheck(
        name=name,
        count=len(p),
        slope=line.slope,
        slope_error=calibration.slope_error(p, truth, line),
        intercept=line.intercept,
        ece=calibration.expected_calibration_error(p, truth),
        log_score=float(metrics.log_score(p, truth).mean()),
        brier=float(metrics.brier(p, truth).mean()),
        first=float(first.mean()) if len(first) else float("nan"),
        bins=tuple(bins),
    )
