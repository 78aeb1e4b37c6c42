"""The engine a person talks to: observations in, posterior probabilities of every cause out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from twitchdx.case import Case, EvidenceReader, Value, build_reader, read_case
from twitchdx.errors import (
    EvidenceError,
    ImpossibleEvidenceError,
    UnknownIdError,
    WidthError,
)
from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.inference import infer_batch, infer_evidence
from twitchdx.model import Model, Parameter, build_model, with_prevalence
from twitchdx.tables import KnowledgeBase, default_tables, read_tables

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.explain import (
        Attribution,
        Conflict,
        Explanation,
        JointHypotheses,
        NextQuestions,
        RedFlags,
        Solidity,
    )
    from twitchdx.explain.questions import About
    from twitchdx.explain.weight import Unit
    from twitchdx.network import NoisyOrNetwork
    from twitchdx.tables.schema import Management, Workup

FloatArray = NDArray[np.float64]
Ranking = Literal["posterior", "disablement", "sufficiency", "tempered"]

DEFAULT_POPULATION = "general_adult"


@dataclass(frozen=True, eq=False)
class Engine:
    """Tables and a population, compiled for exact inference; immutable.

    Examples
    --------
    >>> engine = Engine.default()
    >>> dx = engine.diagnose({"urge_to_move": True, "worse_at_rest": True}, age=52, sex="female")
    >>> dx.differential().loc[0, "cause"]
    'restless_legs_syndrome'
    """

    knowledge: KnowledgeBase = field(repr=False)
    model: Model = field(repr=False)

    @classmethod
    def default(cls, population: str = DEFAULT_POPULATION) -> Engine:
        """Return the engine of the shipped tables.

        Parameters
        ----------
        population : str
            Whose prevalences to start from: a `population` of populations.csv.

        Raises
        ------
        UnknownIdError
            If there is no such population.
        """
        return _default_engine(population)

    @classmethod
    def from_tables(
        cls,
        priors: str | Path,
        evidence: str | Path,
        population: str = DEFAULT_POPULATION,
    ) -> Engine:
        """Return the engine of your own tables.

        Parameters
        ----------
        priors, evidence : path
            Folders with the tables that the data dictionaries beside the shipped ones describe.
        population : str

        Raises
        ------
        TableError
            With every problem of the tables, each with its place and repair.
        UnknownIdError
            If there is no such population.
        """
        return cls.from_knowledge(read_tables(Path(priors), Path(evidence)), population)

    @classmethod
    def from_knowledge(cls, knowledge: KnowledgeBase, population: str) -> Engine:
        """Return the engine of tables that are already read."""
        if population not in knowledge.populations:
            raise UnknownIdError(population, knowledge.populations, kind="population")
        return cls(knowledge, build_model(knowledge, population))

    @property
    def population(self) -> str:
        """Whose prevalences the answers start from."""
        return self.model.population

    @cached_property
    def causes(self) -> tuple[str, ...]:
        """Every cause with a posterior of its own, in the order of causes.csv."""
        return self._nodes(syndromes=False)

    @cached_property
    def syndromes(self) -> tuple[str, ...]:
        """The intermediate nodes that tie findings together, in the order of causes.csv."""
        return self._nodes(syndromes=True)

    @cached_property
    def reported(self) -> NDArray[np.bool_]:
        """Which causes of the network have a posterior of their own (syndromes do not)."""
        syndromes = self.knowledge.syndromes
        return np.array([cause not in syndromes for cause in self.networks[0].causes])

    @property
    def findings(self) -> tuple[str, ...]:
        """Every finding that can be observed, in the order of findings.csv."""
        return tuple(self.knowledge.findings)

    @cached_property
    def reader(self) -> EvidenceReader:
        """Turns what a person enters into evidence for this engine."""
        network = self.model.strata[0].network
        return build_reader(self.knowledge, (*network.causes, *network.findings))

    def case(self, findings: Mapping[str, Value], age: object = None, sex: object = None) -> Case:
        """Read and check what was observed, without inference; as `diagnose` does."""
        return read_case(self.reader, self.model, findings, age, sex)

    def diagnose(
        self, findings: Mapping[str, Value], age: object = None, sex: object = None
    ) -> Diagnosis:
        """Return the probability of every cause, given what was observed in one person.

        Parameters
        ----------
        findings : mapping
            Finding, known cause, or measured quantity -> what was seen: True or False,
            ``"present"``/``"absent"``, None where not known, a number for a quantity (in its
            unit, or as text with another one), a `Soft` for an uncertain observation.
        age : float, optional
            In years. Left out, the answer is the exact mixture over the population's ages.
        sex : {'female', 'male'}, optional

        Raises
        ------
        UnknownIdError
            For an id that no table has; names the nearest ones.
        EvidenceError
            For a value that cannot be.
        ContradictionError
            For observations that cannot all be true.
        ImpossibleEvidenceError
            For observations that the network gives probability zero.
        WidthError
            For a case too wide for an exact answer that no sample met either.
        """
        return self.diagnose_case(self.case(findings, age, sex))

    def diagnose_case(self, case: Case) -> Diagnosis:
        """Return the diagnosis of a case that is already read."""
        answer = infer_batch(
            self.networks, case.weights[None, :], case.ratios[None, :], wanted=self.reported
        )
        log_evidence = float(answer.log_evidence[0])
        if log_evidence == -math.inf:
            seen = ", ".join(
                f"{o.node} {'absent' if o.ratio == ABSENT else 'present'}"
                for o in case.observations
                if o.ratio in (ABSENT, PRESENT)
            )
            raise ImpossibleEvidenceError(
                f"these observations have probability zero under {self.population}: {seen}; "
                "a prior, link or background of exactly 0 or 1 rules them out together"
            )
        if math.isnan(log_evidence):
            raise WidthError(
                f"too many coupled observations for an exact answer (width {answer.width[0]}), and "
                "no sample met them; leave out those of least interest"
            )
        errors = answer.standard_error
        return Diagnosis(
            engine=self,
            case=case,
            probabilities=answer.posterior[0],
            log_evidence=log_evidence,
            width=int(answer.width[0]),
            method=str(answer.method[0]),
            standard_error=None if errors is None else errors[0],
        )

    @cached_property
    def networks(self) -> tuple[NoisyOrNetwork, ...]:
        """The network of each stratum."""
        return tuple(stratum.network for stratum in self.model.strata)

    def prior(self, age: object = None, sex: object = None) -> pd.Series[float]:
        """Return the probability of every cause before anything is observed."""
        return self.diagnose({}, age, sex).posterior

    def with_priors(self, priors: object) -> Engine:
        """Return an engine with other prevalences; this one stays as it is.

        A cause's own probability of arising is solved anew so that its prevalence is the one
        given, in every stratum; all other parameters stay, so that raising a cause raises what
        it leads to.

        Parameters
        ----------
        priors : mapping, PriorSet or path
            Cause -> prevalence; or a named prior set, or the file of one.

        Raises
        ------
        UnknownIdError
            For a cause that no table has.
        ModelError
            For a prevalence outside [0, 1], or below what the links alone explain.
        PriorSetError
            For a prior set that cannot be read or does not fit the tables.
        """
        if not isinstance(priors, Mapping):
            from twitchdx.sensitivity.prior_sets import apply_prior_set

            return apply_prior_set(self, priors)
        known = self.knowledge.causes
        for cause in priors:
            if cause not in known:
                raise UnknownIdError(str(cause), known, kind="cause")
        return replace(self, model=with_prevalence(self.model, dict(priors)))

    def with_population(self, population: str) -> Engine:
        """Return an engine of the same tables for another population."""
        return Engine.from_knowledge(self.knowledge, population)

    def with_parameters(self, values: Mapping[Parameter | str, float]) -> Engine:
        """Return an engine with single table numbers changed, all other parameters kept.

        Parameters
        ----------
        values : mapping
            `Parameter`, or its key, -> new value of the table row.
        """
        return replace(self, model=self.model.with_parameters(values))

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the posteriors of many vignettes.

        Parameters
        ----------
        frame : DataFrame
            One row a vignette, with the columns of a vignette file.

        Returns
        -------
        DataFrame
            One row a vignette, in the same order: ids, one column a cause, `top_cause`,
            `log_evidence`, `method`.

        Raises
        ------
        BatchError
            If any row cannot be scored; names the rows.
        """
        from twitchdx.batch import score_frame

        return score_frame(self, frame)

    def _nodes(self, *, syndromes: bool) -> tuple[str, ...]:
        rows = self.knowledge.causes
        names = self.model.strata[0].network.causes
        return tuple(name for name in names if (rows[name].nature == "syndrome") == syndromes)


@cache
def _default_engine(population: str) -> Engine:
    """Solve the shipped tables once per population and process: engines never change."""
    return Engine.from_knowledge(default_tables(), population)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the engine says of one case.

    Attributes
    ----------
    engine : Engine
    case : Case
        What was observed, as it was understood.
    probabilities : array, shape (causes and syndromes,)
        Posterior of every cause, in the order of the network; NaN for syndromes, which
        `probability` works out when it is asked for one.
    log_evidence : float
        Natural logarithm of the probability of all that was observed.
    width : int
        Most nodes open at once in the exact sweep.
    method : {'exact', 'sampled'}
    standard_error : array or None
        Of `probabilities`, where they were sampled.
    """

    engine: Engine = field(repr=False)
    case: Case
    probabilities: FloatArray = field(repr=False)
    log_evidence: float
    width: int
    method: str
    standard_error: FloatArray | None = field(default=None, repr=False)

    @cached_property
    def posterior(self) -> pd.Series[float]:
        """Probability of each cause, given what was observed; highest first."""
        return self._series(self.engine.causes).sort_values(ascending=False, kind="stable")

    @cached_property
    def syndromes(self) -> pd.Series[float]:
        """Probability of each syndrome node, highest first."""
        return self._series(self.engine.syndromes).sort_values(ascending=False, kind="stable")

    @cached_property
    def prior(self) -> pd.Series[float]:
        """Probability of each cause for this age and sex, in the order of `posterior`."""
        blank = replace(
            self.case, observations=(), implied=(), ratios=np.ones_like(self.case.ratios)
        )
        before = self.engine.diagnose_case(blank)._series(self.engine.causes)
        return before[self.posterior.index]

    @cached_property
    def bayes_factor(self) -> pd.Series[float]:
        """Posterior odds over prior odds of each cause, highest first."""
        factor = _odds(self.posterior) / _odds(self.prior)
        return factor.sort_values(ascending=False, kind="stable").rename("bayes_factor")

    def probability(self, cause: str) -> float:
        """Return the posterior of a cause, a syndrome, or any older id of causes since split.

        Raises
        ------
        UnknownIdError
            If no table has the id.
        """
        network = self.engine.networks[0]
        if cause in self.engine.knowledge.syndromes:
            answer = infer_batch(
                self.engine.networks,
                self.case.weights[None, :],
                self.case.ratios[None, :],
                wanted=[name == cause for name in network.causes],
            )
            return float(answer.posterior[0, network.causes.index(cause)])
        if cause in network.causes:
            return float(self.probabilities[network.causes.index(cause)])
        if cause not in network.findings or cause in self.engine.knowledge.findings:
            raise UnknownIdError(
                cause, (*network.causes, *self.engine.knowledge.aliases), kind="cause"
            )
        without = self.case.ratios.copy()
        place = self.engine.reader.index[cause]
        if without[place] == PRESENT:
            return 1.0
        without[place] = ABSENT
        answer = infer_evidence(self.engine.networks, self.case.weights[None, :], without[None, :])
        return float(-np.expm1(answer.log_evidence[0] - self.log_evidence))

    def differential(
        self, rank_by: Ranking | None = None, *, intervals: bool = False
    ) -> pd.DataFrame:
        """Return one row a cause: what was believed before, what now, and what it explains.

        Parameters
        ----------
        rank_by : {'tempered', 'posterior', 'disablement', 'sufficiency'}, optional
            Which column sorts the rows; by default the first, see `explain.tempering`.
        intervals : bool
            Add `low` and `high`: the 95 % interval of the posterior as every number of the
            tables varies within its own interval; missing in a case too wide for exact inference.

        Returns
        -------
        DataFrame
            Columns cause, name, prior, posterior, (low, high,) bayes_factor, disablement,
            sufficiency, tempered (the disablement that a prior half-way to one in ten would
            give), seriousness. Causes whose state was entered come last: there is nothing to
            rank. In a case too wide for an exact attribution, disablement, sufficiency and
            tempered are lower bounds, or missing, and then the posterior ranks.
        """
        import pandas as pd

        from twitchdx.explain import DEFAULT_RANKING, ranked, tempered

        rows = self.engine.knowledge.causes
        causes = list(self.posterior.index)
        try:
            explained = self.attribution
            disablement = explained.disablement[causes].to_numpy()
            sufficiency = explained.sufficiency[causes].to_numpy()
        except WidthError:
            disablement = sufficiency = np.full(len(causes), np.nan)
        prior, posterior = self.prior[causes].to_numpy(), self.posterior.to_numpy()
        frame = pd.DataFrame(
            {
                "cause": causes,
                "name": [rows[cause].name for cause in causes],
                "prior": prior,
                "posterior": posterior,
                "bayes_factor": self.bayes_factor[causes].to_numpy(),
                "disablement": disablement,
                "sufficiency": sufficiency,
                "tempered": tempered(disablement, prior, posterior),
                "seriousness": [rows[cause].seriousness for cause in causes],
            }
        )
        if intervals:
            from twitchdx.sensitivity import posterior_intervals

            try:
                bounds = posterior_intervals(self)
            except WidthError:  # a sampled answer has no exact interval
                bounds = pd.DataFrame({"low": np.nan, "high": np.nan}, index=causes)
            frame.insert(4, "low", bounds["low"][causes].to_numpy())
            frame.insert(5, "high", bounds["high"][causes].to_numpy())
        by = frame[rank_by or DEFAULT_RANKING].to_numpy()
        entered = frame["cause"].isin([*self.case.present, *self.case.absent]).to_numpy()
        order = ranked(by, posterior, entered)
        return frame.iloc[order].reset_index(drop=True)

    def explain(self, cause: str, unit: Unit = "decibans") -> Explanation:
        """Return what each observation says for and against a cause; see `explain.explain`."""
        from twitchdx.explain import explain

        return explain(self, cause, unit)

    def most_probable_sets(
        self, k: int = 5, causes: Sequence[str] | None = None
    ) -> JointHypotheses:
        """Return the k most probable combinations of causes; see `explain.most_probable_sets`."""
        from twitchdx.explain import most_probable_sets

        return most_probable_sets(self, k, causes)

    def next_questions(
        self, about: About | Sequence[str] = "leading", **options: Any
    ) -> NextQuestions:
        """Return what each unknown finding would tell; see `explain.next_questions`."""
        from twitchdx.explain import next_questions

        return next_questions(self, about, **options)

    @cached_property
    def red_flags(self) -> RedFlags:
        """Warning patterns, and serious causes past their action thresholds."""
        from twitchdx.explain import red_flags

        return red_flags(self)

    @cached_property
    def work_up(self) -> tuple[Workup, ...]:
        """What to order, then what not to, by the tables."""
        from twitchdx.explain import work_up

        return work_up(self)

    @cached_property
    def management(self) -> tuple[Management, ...]:
        """What guidelines list for the leading causes, by the tables."""
        from twitchdx.explain import management

        return management(self)

    @cached_property
    def solidity(self) -> Solidity:
        """On what grade of numbers the weight for the leading cause rests."""
        from twitchdx.explain import solidity

        return solidity(self)

    @cached_property
    def attribution(self) -> Attribution:
        """What each cause explains of each present finding; see `explain.attribution`."""
        from twitchdx.explain import attribution

        return attribution(self)

    @cached_property
    def conflict(self) -> Conflict:
        """How far the observations disagree, and how unusual the case is."""
        from twitchdx.explain import conflict

        return conflict(self)

    def _repr_html_(self) -> str:
        from twitchdx.report.render import short_html

        return short_html(self)

    def _series(self, causes: Sequence[str]) -> pd.Series[float]:
        import pandas as pd

        network = self.engine.model.strata[0].network
        place = {name: i for i, name in enumerate(network.causes)}
        values = self.probabilities[[place[cause] for cause in causes]]
        return pd.Series(values, index=pd.Index(causes, name="cause"), name="posterior")


def _odds(probability: pd.Series[float]) -> pd.Series[float]:
    return probability / (1 - probability)


def check_cause(engine: Engine, cause: str) -> str:
    """Return the id of a cause, or raise UnknownIdError with the nearest ones."""
    if cause not in engine.causes:
        raise UnknownIdError(cause, engine.causes, kind="cause")
    return cause


__all__ = ["Diagnosis", "Engine", "EvidenceError", "Ranking", "check_cause"]
