"""Learning from vignettes with truth: table numbers meet counts, as a named prior set.

Each table number is a Beta distribution (its value and interval), which counts like that many
people already seen. Vignettes add expected counts: how often an arrow of the noisy-OR network
fired, of the people in whom its parent was on [1]_. Where a finding has a single cause these are
plain counts and the update is the conjugate one; otherwise expectation and maximisation alternate
[2]_, with exact expectations from the derivatives of P(vignette). What stays unknown of each
firing is taken off the counts (Louis's missing information [3]_, number by number), so that
intervals do not shrink more than the vignettes warrant.

References
----------
.. [1] Vomlel J. Noisy-or classifier. Int J Intell Syst 2006;21:381-98.
.. [2] Dempster AP, Laird NM, Rubin DB. Maximum likelihood from incomplete data via the EM
   algorithm. J R Stat Soc B 1977;39:1-38.
.. [3] Louis TA. Finding the observed information matrix when using the EM algorithm. J R Stat
   Soc B 1982;44:226-33.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import BatchError, ImpossibleEvidenceError
from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN
from twitchdx.inference import gradients, infer_evidence
from twitchdx.validation.cases import Cases, truth_parts

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine
    from twitchdx.model import Model, Parameter, Target
    from twitchdx.sensitivity.prior_sets import PriorSet

FloatArray = NDArray[np.float64]

KINDS = ("prior", "link", "likelihood", "background")
MOST_ROUNDS = 40
ENOUGH = 1e-4
"""EM stops when a round gains less than this a vignette (nats)."""
LEAST_COUNT = 0.5
"""People whose data must bear on a number before it is changed."""
NEAR = 1e-9


@dataclass(frozen=True)
class Learned:
    """A table number before and after.

    Attributes
    ----------
    parameter : Parameter
        As the tables have it.
    value, low, high : float
        Now.
    prior_size : float
        People that the table's interval counts for.
    added : float
        People that the vignettes add.
    """

    parameter: Parameter
    value: float
    low: float
    high: float
    prior_size: float
    added: float


@dataclass(frozen=True, eq=False)
class Learning:
    """What vignettes taught.

    Attributes
    ----------
    engine : Engine
        With the new numbers.
    learned : tuple of Learned
        Numbers that changed, most data first.
    rounds : int
    vignettes : int
    """

    engine: Engine
    learned: tuple[Learned, ...]
    rounds: int
    vignettes: int


@dataclass(frozen=True)
class Gain:
    """Mean log score a vignette (nats, higher is better) on vignettes that were not learned from.

    Attributes
    ----------
    before, after : float
        log P(findings and truth).
    truth_before, truth_after : float
        log P(truth | findings).
    learned_from, held_out : int
        Vignettes.
    standard_error : float
        Of the gain in log P(findings and truth).
    """

    before: float
    after: float
    truth_before: float
    truth_after: float
    learned_from: int
    held_out: int
    standard_error: float

    @property
    def gain(self) -> float:
        """Gain in log P(findings and truth)."""
        return self.after - self.before


def with_truth(engine: Engine, cases: Cases, partial: bool = False) -> FloatArray:
    """Return the evidence of cases with their truth as further evidence, shape (cases, nodes).

    Parameters
    ----------
    engine : Engine
    cases : Cases
    partial : bool
        Causes that a case does not name are unknown, not absent.
    """
    ratios = cases.ratios.copy()
    index = engine.reader.index
    places = np.array([index[cause] for cause in engine.causes])
    for row, names in zip(ratios, cases.truths, strict=True):
        if not partial:
            open_ = places[row[places] == UNKNOWN]
            row[open_] = ABSENT
        for name in names:
            parts = truth_parts(engine, name)
            if len(parts) == 1:
                row[index[parts[0]]] = PRESENT
            else:  # one of them, or several: the alias is their OR
                row[[index[part] for part in parts]] = UNKNOWN
                row[index[name]] = PRESENT
    return ratios


def learn(
    engine: Engine,
    ratios: FloatArray,
    weights: FloatArray,
    kinds: Iterable[str] = KINDS,
    most_rounds: int = MOST_ROUNDS,
) -> Learning:
    """Update table numbers by vignettes, the tables' Betas counting as people seen before.

    Parameters
    ----------
    engine : Engine
    ratios : array, shape (vignettes, nodes)
        Findings and truth, from `with_truth`.
    weights : array, shape (vignettes, strata)
    kinds : iterable of str
        Which numbers may change, of `KINDS`.
    most_rounds : int

    Raises
    ------
    BatchError
        If there is no vignette, or every one is impossible.
    """
    wanted = set(kinds)
    rows = [
        row
        for row in engine.model.parameters
        if row.kind in wanted and row.targets and row.low < row.high and 0 < row.value < 1
    ]
    model = engine.model
    prior = {row.key: _beta(row) for row in rows}
    current = {row.key: row.value for row in rows}
    score = -np.inf
    counts = None
    for rounds in range(1, most_rounds + 1):
        counts = _expect(model, ratios, weights)
        now = counts.log_evidence + sum(
            a * np.log(current[key]) + b * np.log1p(-current[key])
            for key, (a, b) in prior.items()
            if np.isfinite(a)
        )
        if now - score < ENOUGH * counts.vignettes and rounds > 1:
            break
        score = now
        changed: dict[Parameter | str, float] = {}
        for row in rows:
            tried = [(t, *counts.of(t)) for t in row.targets]
            if sum(trials for _, _, trials, _ in tried) >= LEAST_COUNT:
                changed[row.key] = _maximise(tried, *prior[row.key], current[row.key])
        current |= {str(key): value for key, value in changed.items()}
        model = model.with_parameters(changed)
    assert counts is not None
    learned = []
    for row in rows:
        size = sum(prior[row.key])
        added = _information(row, current[row.key], counts)
        if added < LEAST_COUNT or not np.isfinite(size):
            continue
        value = current[row.key]
        low, high = _interval(value, size + added)
        learned.append(Learned(row, value, low, high, size, added))
    kept: dict[Parameter | str, float] = {one.parameter.key: one.value for one in learned}
    return Learning(
        engine=replace(engine, model=engine.model.with_parameters(kept)),
        learned=tuple(sorted(learned, key=lambda one: -one.added)),
        rounds=rounds,
        vignettes=counts.vignettes,
    )


def held_out_gain(
    engine: Engine,
    cases: Cases,
    share: float,
    seed: int,
    *,
    kinds: Iterable[str] = KINDS,
    partial: bool = False,
) -> Gain:
    """Learn from some vignettes, and score the others before and after.

    Parameters
    ----------
    engine : Engine
    cases : Cases
    share : float
        Of the vignettes, those held out.
    seed : int
        Which ones.

    Raises
    ------
    BatchError
        If either part would be empty.
    """
    order = np.random.default_rng(seed).permutation(len(cases))
    cut = round(share * len(cases))
    out, kept = np.sort(order[:cut]), np.sort(order[cut:])
    if not len(out) or not len(kept):
        raise BatchError(f"{len(cases)} vignettes are too few to hold out a share of {share:g}")
    told = with_truth(engine, cases, partial)
    after = learn(engine, told[kept], cases.weights[kept], kinds).engine
    scores = [
        infer_evidence(e.networks, cases.weights[out], r[out]).log_evidence
        for e in (engine, after)
        for r in (told, cases.ratios)
    ]
    both_before, findings_before, both_after, findings_after = scores
    possible = np.isfinite(both_before) & np.isfinite(both_after)
    gain = (both_after - both_before)[possible]
    return Gain(
        before=float(both_before[possible].mean()),
        after=float(both_after[possible].mean()),
        truth_before=float((both_before - findings_before)[possible].mean()),
        truth_after=float((both_after - findings_after)[possible].mean()),
        learned_from=len(kept),
        held_out=int(possible.sum()),
        standard_error=float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else np.nan,
    )


def to_prior_set(
    learning: Learning, base: Engine, name: str, reason: str, reference: str
) -> PriorSet:
    """Return what was learned as a named prior set for the tables of `base`.

    A prevalence is written as what the new networks make it, in the strata of its row.
    """
    from twitchdx.sensitivity.prior_sets import Change, PriorSet

    model = learning.engine.model
    prevalence = [network.prevalence for network in model.networks]
    changes = []
    for one in learning.learned:
        row = one.parameter
        if row.kind == "prior":
            places = [(t.stratum, t.index[0]) for t in row.targets]
            shares = np.array([max(model.strata[s].share, NEAR) for s, _ in places])
            own = np.array([prevalence[s][c] for s, c in places])
            value = float(shares @ own / shares.sum())
            low, high = _interval(value, one.prior_size + one.added)
            change = Change(value, cause=row.cause, sex=row.sex, age_band=row.age_band)
        else:
            value, low, high = one.value, one.low, one.high
            change = Change(
                value,
                cause=row.cause,
                given=row.given,
                finding=row.finding,
                sex=row.sex,
                age_band=row.age_band,
            )
        changes.append(
            replace(
                change,
                value=_round(value),
                low=min(_round(low), _round(value)),
                high=max(_round(high), _round(value)),
            )
        )
    return PriorSet(name, reason, reference, tuple(changes), base.knowledge.digest)


@dataclass(frozen=True, eq=False)
class _Counts:
    """Expected firings of every arrow and leak, stratum by stratum.

    Keys are (stratum, array name); arrays have the network's shapes: `fired`, `tried`, and
    `unknown`, the variance of the firing score given what is known.
    """

    fired: Mapping[tuple[int, str], FloatArray]
    tried: Mapping[tuple[int, str], FloatArray]
    unknown: Mapping[tuple[int, str], FloatArray]
    values: Mapping[tuple[int, str], FloatArray]
    log_evidence: float
    vignettes: int

    def of(self, target: Target) -> tuple[float, float, float]:
        """Firings, trials, and variance left, of one network parameter."""
        place = (target.stratum, target.array)
        return (
            float(self.fired[place][target.index]),
            float(self.tried[place][target.index]),
            float(self.unknown[place][target.index]),
        )


def _expect(model: Model, ratios: FloatArray, weights: FloatArray) -> _Counts:
    """Exact expectations, in one reverse sweep a vignette and stratum."""
    names = ("prior", "links", "strength", "leak")
    values = {
        (s, name): np.asarray(getattr(network, name))
        for s, network in enumerate(model.networks)
        for name in names
    }
    fired = {place: np.zeros(array.shape) for place, array in values.items()}
    tried = {place: np.zeros(array.shape) for place, array in values.items()}
    unknown = {place: np.zeros(array.shape) for place, array in values.items()}
    total, used = 0.0, 0
    for row, mix in zip(ratios, weights, strict=True):
        found = []
        for stratum in np.flatnonzero(mix > 0):
            try:
                found.append((int(stratum), gradients(model.networks[stratum], row)))
            except ImpossibleEvidenceError:
                continue
        if not found:
            continue
        logs = np.array([g.log_evidence + np.log(mix[s]) for s, g in found])
        top = logs.max()
        share = np.exp(logs - top)
        total += float(top + np.log(share.sum()))
        used += 1
        for (s, g), part in zip(found, share / share.sum(), strict=True):
            on = np.clip(g.posterior, 0.0, 1.0)
            derivative = {
                "prior": g.d_prior,
                "links": g.d_links,
                "strength": g.d_strength,
                "leak": g.d_leak,
            }
            parent = {
                "prior": np.ones_like(on),
                "leak": np.ones(len(g.d_leak)),
                "links": np.broadcast_to(on[:, None], g.d_links.shape),
                "strength": np.broadcast_to(on[:, None], g.d_strength.shape),
            }
            for name in names:
                place = (s, name)
                v, t = values[place], parent[name]
                # P(fired, parent on | row): P(row) is linear in the parameter
                z = np.clip(v * (t + (1 - v) * derivative[name]), 0.0, t)
                mean = z - v * t
                fired[place] += part * z
                tried[place] += part * t
                unknown[place] += part * np.maximum(0.0, (1 - 2 * v) * z + v * v * t - mean**2)
    if not used:
        raise BatchError("there is no vignette to learn from that the network allows")
    return _Counts(fired, tried, unknown, values, total, used)


def _maximise(
    tried: list[tuple[Target, float, float, float]], a: float, b: float, at: float
) -> float:
    """Table number that makes firings and its own Beta most probable, in log-odds.

    With one target whose parameter is the number itself this is (a + fired) / (a + b + tried).
    """
    if not np.isfinite(a):
        return at
    only = tried[0][0]
    if len(tried) == 1 and only.slope == 1 and only.intercept == 0:
        _, shown, trials, _ = tried[0]
        return float(np.clip((a + shown) / (a + b + trials), NEAR, 1 - NEAR))
    from scipy.optimize import minimize_scalar

    slope = np.array([t.slope for t, *_ in tried])
    start = np.array([t.intercept for t, *_ in tried])
    hit = np.array([h for _, h, _, _ in tried])
    miss = np.array([max(0.0, n - h) for _, h, n, _ in tried])

    def loss(logit: float) -> float:
        x = 1 / (1 + np.exp(-logit))
        s = np.clip(start + slope * x, NEAR, 1 - NEAR)
        fit = hit @ np.log(s) + miss @ np.log1p(-s)
        return -float(fit + a * np.log(x) + b * np.log1p(-x))

    centre = float(np.log(at / (1 - at)))
    best = minimize_scalar(
        loss, bounds=(centre - 6, centre + 6), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.clip(1 / (1 + np.exp(-best.x)), NEAR, 1 - NEAR))


def _information(row: Parameter, x: float, counts: _Counts) -> float:
    """People's worth of data on a table number: observed information times x (1 - x)."""
    information: Any = 0.0
    for target in row.targets:
        _, trials, unknown = counts.of(target)
        s = min(max(target.at(x), NEAR), 1 - NEAR)
        complete = trials / (s * (1 - s))
        missing = unknown / (s * (1 - s)) ** 2
        if target.intercept + target.slope * x > target.floor:
            information += float(max(0.0, complete - missing) * target.slope**2)
    return float(information * x * (1 - x))


def _beta(row: Parameter) -> tuple[float, float]:
    from twitchdx.sensitivity.beta import fit_beta

    beta = fit_beta(row.value, row.low, row.high)
    return beta.a, beta.b


def _interval(value: float, size: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    at = betaincinv(max(value * size, NEAR), max((1 - value) * size, NEAR), [0.025, 0.975])
    return float(min(at[0], value)), float(max(at[1], value))


def _round(number: float) -> float:
    return float(f"{number:.4g}")
