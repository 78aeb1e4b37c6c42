"""Tables to networks: one noisy-OR network per stratum (sex and age band) of a population.

The tables hold what studies measure: how common a cause is, how often a finding is seen with it,
by whatever path. A network holds what each node does by itself. This module solves the second
from the first [1]_ [2]_, and keeps for every table row the affine map from its number to the
network parameters it sets, so that a change of one number needs no solving.

References
----------
.. [1] Henrion M. Practical issues in constructing a Bayes' belief network. UAI 1987.
.. [2] Díez FJ. Parameter adjustment in Bayes networks: the generalized noisy OR-gate. UAI 1993.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from twitchdx.errors import ModelError, Problem, TableMeaningError, UnknownIdError, WidthError
from twitchdx.inference.exact import most_states
from twitchdx.inference.rows import probability_of
from twitchdx.inference.structure import index_arrows
from twitchdx.network import FloatArray, NoisyOrNetwork
from twitchdx.odds import shift_odds
from twitchdx.tables.knowledge import KnowledgeBase
from twitchdx.tables.schema import Background, Finding, Likelihood, Link, Prior, age_range

IntArray: TypeAlias = NDArray[np.int64]
Kind: TypeAlias = Literal["prior", "link", "likelihood", "background"]
ArrayName: TypeAlias = Literal["prior", "links", "strength", "leak"]
TableRow: TypeAlias = Prior | Link | Likelihood | Background | Finding

CASE_MIX = "case_mix"
"""Basis of a prevalence that was counted among those who came to a clinic."""

MOST_LOG_ODDS = 40.0
"""Largest log of a factor by which selection raises the odds of a cause."""

ROUNDING = 1e-12
"""Two probabilities closer than this are the same; solving stops there."""


class Target(NamedTuple):
    """A network parameter that a table number sets.

    It is ``min(1, max(floor, intercept + slope * number))``.

    Attributes
    ----------
    stratum : int
        Index into the model's strata.
    array : "prior", "links", "strength" or "leak"
        Array of the stratum's network.
    index : tuple of int
        Place in that array.
    slope, intercept, floor : float
    """

    stratum: int
    array: ArrayName
    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index
    slope: float
    intercept: float
    floor: float = 0.0

    def at(self, number: float) -> float:
        """The network parameter when the table says `number`."""
        return min(1.0, max(self.floor, self.intercept + self.slope * number))

    @property
    def kinks(self) -> tuple[float, ...]:
        """Numbers strictly between 0 and 1 beyond which it stops to matter."""
        if self.slope <= 0.0:
            return ()
        ends = ((end - self.intercept) / self.slope for end in (self.floor, 1.0))
        return tuple(end for end in ends if ROUNDING < end < 1.0 - ROUNDING)


@dataclass(frozen=True, eq=False)
class Parameter:
    """One number of the tables, and what it sets in the networks.

    Attributes
    ----------
    kind : "prior", "link", "likelihood" or "background"
    population : str
        Population whose prior table holds it; "" where it is not of one population.
    cause : str
        The cause; of a link the child; "" for a background.
    other : str
        The finding, or of a link the parent ("given"); "" for a prior.
    sex, age_band : str
        Of a prior or background; else "any".
    value, low, high : float
        The number, and its 95 % interval.
    grade : str
    source : tuple of str
        Keys of sources.csv.
    row : table row or None
        None for a number that was set by hand (`with_prevalence`).
    targets : tuple of Target
        Empty where the number has no effect in any stratum.
    """

    kind: Kind
    population: str
    cause: str
    other: str
    sex: str
    age_band: str
    value: float
    low: float
    high: float
    grade: str
    source: tuple[str, ...]
    row: TableRow | None
    targets: tuple[Target, ...]

    @property
    def finding(self) -> str:
        """The finding of a likelihood or background, else ""."""
        return "" if self.kind in ("prior", "link") else self.other

    @property
    def given(self) -> str:
        """The parent of a link, else ""."""
        return self.other if self.kind == "link" else ""

    @property
    def key(self) -> str:
        """A short name that no other parameter of the model has."""
        parts = [self.kind, self.population, self.cause, self.other]
        if self.kind in ("prior", "background"):
            parts += [self.sex, self.age_band]
        return ":".join(part for part in parts if part)

    def __repr__(self) -> str:
        return f"Parameter({self.key}={self.value:g})"


@dataclass(frozen=True, eq=False)
class Stratum:
    """One sex and age band of a population, and its network.

    Attributes
    ----------
    population : str
        The population it comes from (a borrowed stratum: the one referred to).
    sex : "female" or "male"
    age_low : int
    age_high : int or None
        Years, both ends included; None: no upper end.
    share : float
        Share of the model's population; 0 for a borrowed stratum.
    band_share : float
        Share of the population it comes from.
    network : NoisyOrNetwork
    """

    population: str
    sex: str
    age_low: int
    age_high: int | None
    share: float
    band_share: float
    network: NoisyOrNetwork

    def covers(self, age: float) -> bool:
        """Whether somebody of this age in years is in the band."""
        return self.age_low <= age and (self.age_high is None or age < self.age_high + 1)

    @property
    def age_band(self) -> str:
        """The band as the tables write it, such as "18-39" or "65+"."""
        return f"{self.age_low}+" if self.age_high is None else f"{self.age_low}-{self.age_high}"

    @property
    def label(self) -> str:
        """Words for the stratum, such as "female 18-39"."""
        return f"{self.sex} {self.age_band}"


@dataclass(frozen=True, eq=False)
class Model:
    """The networks of a population's strata, and the table numbers behind them.

    Attributes
    ----------
    population : str
    strata : tuple of Stratum
        Own strata first, then those borrowed for ages that the population has no band for.
    parameters : tuple of Parameter
    unreachable : tuple of Link or Likelihood
        Rows whose strength is 0 in some stratum because background and other paths already
        reach what the row says.
    overfull : tuple of Background or Finding
        Backgrounds that the syndromes alone exceed in some stratum; the leak is 0 there.
    """

    population: str
    strata: tuple[Stratum, ...]
    parameters: tuple[Parameter, ...]
    unreachable: tuple[Link | Likelihood, ...] = ()
    overfull: tuple[Background | Finding, ...] = ()

    @cached_property
    def networks(self) -> tuple[NoisyOrNetwork, ...]:
        """The network of each stratum."""
        return tuple(stratum.network for stratum in self.strata)

    @cached_property
    def shares(self) -> FloatArray:
        """Share of each stratum in the population, shape (S,)."""
        return np.array([stratum.share for stratum in self.strata])

    @cached_property
    def _by_key(self) -> dict[str, Parameter]:
        return {parameter.key: parameter for parameter in self.parameters}

    def parameter(self, key: str) -> Parameter:
        """Return the parameter of this key.

        Raises
        ------
        UnknownIdError
        """
        if key not in self._by_key:
            raise UnknownIdError(key, self._by_key, "parameter")
        return self._by_key[key]

    def with_parameters(self, values: Mapping[Parameter | str, float]) -> Model:
        """Return a model with some table numbers changed, all other network parameters kept.

        Parameters
        ----------
        values : mapping
            Parameter or its key -> new number.

        Raises
        ------
        UnknownIdError
            For a key of no parameter.
        ModelError
            For a number that is no probability.
        """
        changed: dict[str, Parameter] = {}
        arrays: dict[tuple[int, ArrayName], FloatArray] = {}
        for key, number in values.items():
            parameter = self.parameter(key if isinstance(key, str) else key.key)
            value = float(number)
            if not 0 <= value <= 1:
                raise ModelError(f"{parameter.key}: {number} is not a probability")
            changed[parameter.key] = replace(parameter, value=value)
            for target in parameter.targets:
                place = (target.stratum, target.array)
                if place not in arrays:
                    network = self.strata[target.stratum].network
                    arrays[place] = getattr(network, target.array).copy()
                arrays[place][target.index] = target.at(value)
        by_stratum: dict[int, dict[str, FloatArray]] = {}
        for (stratum, array), new in arrays.items():
            new.flags.writeable = False
            by_stratum.setdefault(stratum, {})[array] = new
        strata = list(self.strata)
        for index, new_arrays in by_stratum.items():
            network = replace(strata[index].network, **new_arrays)  # type: ignore[arg-type]
            strata[index] = replace(strata[index], network=network)
        return replace(
            self,
            strata=tuple(strata),
            parameters=tuple(changed.get(p.key, p) for p in self.parameters),
        )


def build_model(kb: KnowledgeBase, population: str) -> Model:
    """Solve the networks of a population from the tables.

    In a root population the prevalence of each cause, the links to it, the background of each
    finding and the likelihoods are met exactly (a number that other paths already exceed gets
    strength 0, and is listed in ``unreachable``). An overlay keeps its base's strengths and
    leaks, except the own prior of the causes it lists, and the links from exposures to those of
    them whose prevalence is of its case mix. There people came because of the cause, with or
    without an exposure, which is nothing to come for: so the own prior and these links rise by one
    factor in the odds. What a cause shows through a syndrome is not raised.

    Parameters
    ----------
    kb : KnowledgeBase
    population : str
        Id of populations.csv.

    Returns
    -------
    Model

    Raises
    ------
    UnknownIdError
        For a population that the tables do not declare.
    TableMeaningError
        Where links alone make a cause more common than its prevalence; names the rows.
    ModelError
        Where a stratum has no prevalence of some cause, or a population has no strata.
    """
    builder = _Builder(kb)
    solved = [
        _Solved(population, population, row.sex, row.age_band, row.share, row.share)
        for row in kb.strata(population)
    ]
    if not solved:
        raise ModelError(f"population {population} has no strata in demographics.csv")
    referred = next(
        (
            kb.populations[name].refers_to
            for name in kb.base_chain(population)
            if kb.populations[name].refers_to is not None
        ),
        None,
    )
    if referred is not None:
        own_bands = {stratum.age_band for stratum in solved}
        solved += [
            _Solved(referred, referred, row.sex, row.age_band, 0.0, row.share)
            for row in kb.strata(referred)
            if not any(_overlap(row.age_band, band) for band in own_bands)
        ]
    strata = []
    for index, wanted in enumerate(solved):
        low, high = age_range(wanted.age_band)
        network = builder.solve(index, wanted.source, wanted.sex, wanted.age_band)
        strata.append(
            Stratum(wanted.source, wanted.sex, low, high, wanted.share, wanted.band_share, network)
        )
    if builder.problems:
        raise TableMeaningError(dict.fromkeys(builder.problems))
    return Model(
        population,
        tuple(strata),
        builder.parameters(),
        tuple(builder.unreachable.values()),
        tuple(builder.overfull.values()),
    )


def with_prevalence(model: Model, prevalences: Mapping[str, float]) -> Model:
    """Return a model in which some causes have another prevalence, in every stratum.

    The own prior of each named cause is solved anew, in an order in which causes come after
    their parents; everything else is kept, so that what the cause leads to becomes more common
    with it.

    Parameters
    ----------
    model : Model
    prevalences : mapping
        Cause (or syndrome) -> P(cause on).

    Raises
    ------
    UnknownIdError
        For a cause that the model does not have.
    ModelError
        For a number that is no probability, or one that the links alone exceed.
    """
    if not prevalences:
        return model
    causes = model.strata[0].network.causes
    place = {cause: index for index, cause in enumerate(causes)}
    for cause, value in prevalences.items():
        if cause not in place:
            raise UnknownIdError(cause, causes, "cause")
        if not 0 <= value <= 1:
            raise ModelError(f"prevalence of {cause}: {value} is not between 0 and 1")
    wanted = {place[cause]: float(value) for cause, value in prevalences.items()}
    strata = []
    targets: dict[int, list[Target]] = {index: [] for index in wanted}
    for stratum_index, stratum in enumerate(model.strata):
        solver = _PriorSolver(stratum.network.links > 0, stratum.network.links.copy())
        prior = stratum.network.prior.copy()
        for cause_index in solver.order.tolist():
            if cause_index not in wanted:
                continue
            kept = solver.off_by_links(prior, cause_index)
            value = wanted[cause_index]
            if 1 - value > kept + ROUNDING:
                parents = np.flatnonzero(stratum.network.links[:, cause_index])
                raise ModelError(
                    f"prevalence {value:g} of {causes[cause_index]}: in {stratum.label} the links "
                    f"from {', '.join(causes[i] for i in parents)} alone make it "
                    f"{1 - kept:g}; give at least that"
                )
            target = _prior_target(stratum_index, cause_index, kept)
            prior[cause_index] = target.at(value)
            targets[cause_index].append(target)
        prior.flags.writeable = False
        strata.append(replace(stratum, network=replace(stratum.network, prior=prior)))
    kept_parameters = [
        parameter
        for parameter in model.parameters
        if not (parameter.kind == "prior" and place[parameter.cause] in wanted)
    ]
    by_hand = [
        Parameter(
            "prior",
            model.population,
            causes[index],
            "",
            "any",
            "any",
            value,
            value,
            value,
            "by hand",
            (),
            None,
            tuple(targets[index]),
        )
        for index, value in wanted.items()
    ]
    return replace(model, strata=tuple(strata), parameters=(*kept_parameters, *by_hand))


class _Solved(NamedTuple):
    source: str  # population whose numbers are used
    population: str
    sex: str
    age_band: str
    share: float
    band_share: float


class _PriorSolver:
    """Exact P(no parent switches a cause on) in a network of causes alone."""

    def __init__(self, arrows: NDArray[np.bool_], links: FloatArray) -> None:
        self.links = links
        self.start, self.parents, self.order = index_arrows(arrows)
        self.ratios = np.ones(len(links))

    def off_by_links(self, prior: FloatArray, cause: int) -> float:
        """E[prod (1 - link)^x] over the parents of a cause."""
        if self.start[cause] == self.start[cause + 1]:
            return 1.0
        own = prior.copy()
        own[cause] = 0.0
        self.ratios[cause] = 0.0
        probability = probability_of(
            self.ratios, own, self.links, self.start, self.parents, self.order, most_states
        )
        self.ratios[cause] = 1.0
        return _exact(probability)


class _Builder:
    """Solves strata one after the other, and collects what the tables' rows became."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self.kb = kb
        self.causes = tuple(kb.causes)
        aliases = [
            alias
            for alias in kb.aliases.values()
            if alias.kind == "cause" and len(alias.stands_for) > 1
        ]
        self.findings = (*kb.findings, *(alias.alias for alias in aliases))
        self.cause_index = {cause: index for index, cause in enumerate(self.causes)}
        self.finding_index = {finding: index for index, finding in enumerate(self.findings)}
        self.n_table_findings = len(kb.findings)
        self.links = [
            (self.cause_index[row.given], self.cause_index[row.cause], row) for row in kb.links
        ]
        self.likelihoods = [
            (self.cause_index[row.cause], self.finding_index[row.finding], row)
            for row in kb.likelihoods
        ]
        self.alias_parts = [
            (self.cause_index[part], self.finding_index[alias.alias])
            for alias in aliases
            for part in alias.stands_for
        ]
        n_causes = len(self.causes)
        self.arrows = np.zeros((n_causes, n_causes), dtype=bool)
        for parent, child, _ in self.links:
            self.arrows[parent, child] = True
        self.syndrome = np.array([cause in kb.syndromes for cause in self.causes], dtype=bool)
        self.exposure = np.array([kb.causes[cause].nature == "exposure" for cause in self.causes])
        self.order = index_arrows(self.arrows)[2]
        self.problems: list[Problem] = []
        self.unreachable: dict[int, Link | Likelihood] = {}
        self.overfull: dict[int, Background | Finding] = {}
        self._targets: dict[int, list[Target]] = {}
        self._rows: dict[int, tuple[Kind, str, TableRow]] = {}

    def solve(self, stratum: int, population: str, sex: str, age_band: str) -> NoisyOrNetwork:
        """Solve one stratum of a population, root or overlay."""
        *overlays, root = self.kb.base_chain(population)
        prior, links = self._solve_causes(stratum, root, sex, age_band)
        root_links = links.copy()
        if overlays:
            self._overlay(stratum, population, root, sex, age_band, prior, links)
        # likelihoods are solved in the root's own terms: syndromes at the root's own priors
        leak, strength = self._solve_findings(stratum, sex, age_band, self._root_prior, root_links)
        for array in (prior, links, leak, strength):
            array.flags.writeable = False
        return NoisyOrNetwork(self.causes, self.findings, prior, links, leak, strength)

    def parameters(self) -> tuple[Parameter, ...]:
        """One parameter per table row that was used, in the order of the tables."""
        found = []
        for key, (kind, population, row) in self._rows.items():
            targets = tuple(self._targets.get(key, ()))
            if kind == "prior" and not targets:
                continue  # an overlay's own rows take its place everywhere
            assert row.number is not None
            found.append(
                Parameter(
                    kind=kind,
                    population=population,
                    cause=getattr(row, "cause", ""),
                    other=getattr(row, "given", getattr(row, "finding", "")),
                    sex=getattr(row, "sex", "any"),
                    age_band=getattr(row, "age_band", "any"),
                    value=getattr(row, row.number),
                    low=row.low,
                    high=row.high,
                    grade=row.grade,
                    source=tuple(row.source),
                    row=row,
                    targets=targets,
                )
            )
        kinds = ("prior", "link", "likelihood", "background")
        return tuple(sorted(found, key=lambda parameter: kinds.index(parameter.kind)))

    def _note(self, kind: Kind, row: TableRow, target: Target | None, population: str = "") -> None:
        self._rows.setdefault(id(row), (kind, population, row))
        if target is not None:
            self._targets.setdefault(id(row), []).append(target)

    def _solve_causes(
        self, stratum: int, root: str, sex: str, age_band: str
    ) -> tuple[FloatArray, FloatArray]:
        """Own priors and link strengths that meet every prevalence and link of a root."""
        n_causes = len(self.causes)
        prior = np.zeros(n_causes)
        links = np.zeros((n_causes, n_causes))
        solver = _PriorSolver(self.arrows, links)
        into: dict[int, list[tuple[int, Link]]] = {}
        for parent, child, row in self.links:
            into.setdefault(child, []).append((parent, row))
        self._root_prior_targets: dict[int, tuple[Prior, Target]] = {}
        for cause in self.order.tolist():
            prior_row = self.kb.prior_row(root, self.causes[cause], sex, age_band)
            if prior_row is None:
                raise ModelError(
                    f"{root} has no prevalence of {self.causes[cause]} for {sex} {age_band}"
                )
            rows = into.get(cause, [])
            kept = self._meet_prevalence(solver, prior, cause, prior_row, rows)
            target = _prior_target(stratum, cause, kept)
            prior[cause] = target.at(prior_row.prevalence)
            self._root_prior_targets[cause] = (prior_row, target)
            rest = 1.0 - prior[cause]
            for parent, row in rows:
                if links[parent, cause] == 0.0:
                    self.unreachable[id(row)] = row
                slope = 1.0 / rest if rest > 0.0 else 0.0
                self._note(
                    "link",
                    row,
                    Target(stratum, "links", (parent, cause), slope, 1.0 - slope)
                    if rest > 0.0
                    else None,
                )
        self._root_prior = prior.copy()
        for root_row, root_target in self._root_prior_targets.values():
            self._note("prior", root_row, root_target, root)
        return prior, links

    def _meet_prevalence(
        self,
        solver: _PriorSolver,
        prior: FloatArray,
        cause: int,
        prior_row: Prior,
        rows: list[tuple[int, Link]],
    ) -> float:
        """Set the links to one cause; return P(no parent switches it on).

        With q = P(off | no parent on), links are ``1 - (1 - p) / q``, and q is found such that
        ``q * P(no parent switches it on)`` is one minus the prevalence.
        """
        wanted = 1.0 - prior_row.prevalence
        if not rows:
            return 1.0

        def kept_at(q: float) -> float:
            for parent, row in rows:
                solver.links[parent, cause] = _strength(row.probability, q)
            return solver.off_by_links(prior, cause)

        if kept_at(1.0) < wanted - ROUNDING:
            names = "; ".join(
                f"{row.given} ({row.where.file}, line {row.where.line})" for _, row in rows
            )
            self.problems.append(
                Problem(
                    prior_row.where.file,
                    prior_row.where.line,
                    "prevalence",
                    f"{prior_row.prevalence:g}",
                    f"is less than what the links to {prior_row.cause} alone explain "
                    f"({1 - kept_at(1.0):.3g}), from {names}",
                    "Raise the prevalence, or lower those links or the prevalence of their parents",
                    "meaning",
                )
            )
            return 1.0
        if wanted <= 0.0:
            kept_at(0.0)
            return 1.0
        q = _root(lambda q: q * kept_at(q) - wanted, wanted, 1.0)
        return kept_at(q)

    def _overlay(
        self,
        stratum: int,
        population: str,
        root: str,
        sex: str,
        age_band: str,
        prior: FloatArray,
        links: FloatArray,
    ) -> None:
        """Solve the own priors of the causes that an overlay lists, in place."""
        solver = _PriorSolver(self.arrows, links)
        for cause in self.order.tolist():
            row = self.kb.prior_row(population, self.causes[cause], sex, age_band)
            base_row, base_target = self._root_prior_targets[cause]
            if row is None or row is base_row:
                continue
            if row.basis == CASE_MIX and not self.syndrome[cause]:
                self._select(solver, stratum, prior, cause, row.prevalence)
            kept = solver.off_by_links(prior, cause)
            if 1.0 - row.prevalence > kept + ROUNDING:
                self.problems.append(
                    Problem(
                        row.where.file,
                        row.where.line,
                        "prevalence",
                        f"{row.prevalence:g}",
                        f"is less than what the links to {row.cause} alone explain in this "
                        f"population ({1 - kept:.3g})",
                        f"Write at least {1 - kept:.3g}, or lower the prevalence of its parents",
                        "meaning",
                    )
                )
                continue
            target = _prior_target(stratum, cause, kept)
            prior[cause] = target.at(row.prevalence)
            self._targets[id(base_row)].remove(base_target)
            self._note("prior", row, target, row.population)

    def _select(
        self, solver: _PriorSolver, stratum: int, prior: FloatArray, cause: int, prevalence: float
    ) -> None:
        """Raise the links from exposures to a cause, as selection of those who have it does.

        The factor is that which meets the prevalence where it raises the own prior, too.
        """
        own, links = prior[cause], solver.links[self.exposure, cause]
        if not links.any() or not 0.0 < prevalence < 1.0:
            return

        def excess(log_factor: float) -> float:
            factor = math.exp(log_factor)
            solver.links[self.exposure, cause] = shift_odds(links, factor)
            on = float(shift_odds(own, factor))
            return 1.0 - prevalence - (1.0 - on) * solver.off_by_links(prior, cause)

        if not excess(-MOST_LOG_ODDS) < 0.0 < excess(MOST_LOG_ODDS):
            # no factor meets the prevalence: as in an overlay of another basis
            solver.links[self.exposure, cause] = links
            return
        factor = math.exp(brentq(excess, -MOST_LOG_ODDS, MOST_LOG_ODDS, xtol=1e-12))
        solver.links[self.exposure, cause] = shift_odds(links, factor)
        for parent, child, row in self.links:
            if child != cause or not self.exposure[parent]:
                continue
            places = self._targets.get(id(row), [])
            for place, target in enumerate(places):
                if target.stratum == stratum:
                    places[place] = _selected(target, row.probability, factor)

    def _solve_findings(
        self, stratum: int, sex: str, age_band: str, prior: FloatArray, links: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Leaks and strengths that meet every background and likelihood."""
        n_causes = len(self.causes)
        leak = np.zeros(len(self.findings))
        strength = np.zeros((n_causes, len(self.findings)))
        for part, finding in self.alias_parts:
            strength[part, finding] = 1.0
        by_finding: dict[int, list[tuple[int, Likelihood]]] = {}
        for cause, finding, row in self.likelihoods:
            by_finding.setdefault(finding, []).append((cause, row))
        spread = _Spread(self.arrows, links, np.where(self.syndrome, prior, 0.0))
        position = {cause: index for index, cause in enumerate(self.order.tolist())}
        for finding in range(self.n_table_findings):
            name = self.findings[finding]
            background = self.kb.background_row(name, sex, age_band)
            wanted = 1.0 - background.background
            rows = by_finding.get(finding, [])
            syndromes = [(prior[cause], row) for cause, row in rows if self.syndrome[cause]]

            def kept_at(q: float, among: list[tuple[float, Likelihood]] = syndromes) -> float:
                kept = 1.0
                for p, row in among:
                    kept *= (1.0 - p) + p * (1.0 - _strength(row.probability, q))
                return kept

            def excess(
                q: float, kept_at: Callable[[float], float] = kept_at, wanted: float = wanted
            ) -> float:
                return q * kept_at(q) - wanted

            if kept_at(1.0) < wanted - ROUNDING:
                q = 1.0
                self.overfull[id(background)] = background
            elif syndromes and wanted > 0.0:
                q = _root(excess, wanted, 1.0)
            else:
                q = wanted
            kept = kept_at(q)
            slope = 1.0 / kept if kept > 0.0 else 0.0
            target = Target(stratum, "leak", (finding,), slope, 1.0 - slope)
            self._note("background", background, target if kept > 0.0 else None)
            leak[finding] = target.at(background.background) if kept > 0.0 else 0.0
            column = strength[:, finding]
            rows.sort(key=lambda pair: (not self.syndrome[pair[0]], -position[pair[0]]))
            for cause, row in rows:
                if self.syndrome[cause]:
                    rest = q
                elif spread.has_children[cause]:
                    rest = q * spread.off(cause, column)
                else:
                    rest = q * kept
                if rest > 0.0:
                    slope = 1.0 / rest
                    target = Target(stratum, "strength", (cause, finding), slope, 1.0 - slope)
                    column[cause] = target.at(row.probability)
                    if abs(row.probability - (1.0 - rest)) <= ROUNDING:
                        column[cause] = 0.0
                    self._note("likelihood", row, target)
                else:
                    self._note("likelihood", row, None)
                if column[cause] == 0.0:
                    self.unreachable[id(row)] = row
        return leak, strength


class _Spread:
    """What a cause does to a finding through its descendants, all other causes off."""

    def __init__(self, arrows: NDArray[np.bool_], links: FloatArray, own: FloatArray) -> None:
        n_causes = len(links)
        self.has_children: NDArray[np.bool_] = np.any(arrows, axis=1)
        wide = np.ones((n_causes, n_causes + 1), dtype=bool)
        wide[:, :n_causes] = arrows
        self.start, self.parents, self.order = index_arrows(wide)
        self.weight = np.zeros((n_causes, n_causes + 1))
        self.weight[:, :n_causes] = links
        self.own = np.append(own, 0.0)
        self.reach = np.eye(n_causes, dtype=bool)
        for cause in self.order[::-1].tolist():
            self.reach[cause] |= self.reach[arrows[cause]].any(axis=0)
        self.reach |= own > 0

    def off(self, cause: int, strength: FloatArray) -> float:
        """P(finding off | cause on), its own strength and the leak left out.

        Only what the cause's links switch on is on, and syndromes also by themselves.
        """
        self.weight[:, -1] = strength
        self.weight[cause, -1] = 0.0
        before = self.own[cause]
        self.own[cause] = 1.0
        ratios = np.append(self.reach[cause].astype(np.float64), 0.0)  # out of reach: absent
        ratios[cause] = np.inf
        probability = probability_of(
            ratios, self.own, self.weight, self.start, self.parents, self.order, most_states
        )
        self.own[cause] = before
        return _exact(probability)


def _strength(probability: float, rest: float) -> float:
    """Strength that lifts P(on) from ``1 - rest`` to `probability`; 0 where it is there already."""
    return 0.0 if 1.0 - probability >= rest else 1.0 - (1.0 - probability) / rest


def _prior_target(stratum: int, cause: int, kept: float) -> Target:
    """Map from a prevalence to the own prior, where parents leave the cause off with `kept`."""
    return Target(stratum, "prior", (cause,), 1.0 / kept, 1.0 - 1.0 / kept)


def _selected(target: Target, number: float, factor: float) -> Target:
    """The target of a link whose odds are raised by a factor: the multiple it has become, held."""
    link = target.at(number)
    multiple = float(shift_odds(link, factor)) / link if link > 0.0 else factor
    return target._replace(slope=multiple * target.slope, intercept=multiple * target.intercept)


def _exact(probability: float) -> float:
    if np.isnan(probability):
        raise WidthError("the links between causes are too entangled to solve the tables exactly")
    return min(1.0, probability)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of a function that rises from below 0 at `low` to above 0 at `high` (Illinois)."""
    at_low, at_high = function(low), function(high)
    if at_low >= 0.0:
        return low
    if at_high <= 0.0:
        return high
    side = 0
    guess = high
    for _ in range(100):
        guess = (low * at_high - high * at_low) / (at_high - at_low)
        value = function(guess)
        if abs(value) <= 2e-16 or high - low <= 2e-16:
            break
        if value < 0.0:
            low, at_low = guess, value
            at_high *= 0.5 if side == -1 else 1.0
            side = -1
        else:
            high, at_high = guess, value
            at_low *= 0.5 if side == 1 else 1.0
            side = 1
    return guess


def _overlap(band: str, other: str) -> bool:
    (low, high), (other_low, other_high) = age_range(band), age_range(other)
    return (high is None or other_low <= high) and (other_high is None or low <= other_high)
