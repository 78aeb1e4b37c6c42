"""One chunk in, scored and rejected vignettes out: the pure function everything else calls.

Local threads, Dask workers, `Engine.score` and `score_dask` all call `Scorer.score`. Its answer
depends on the chunk alone, and the answer for a vignette on that vignette alone, so that chunk
size, order, workers and interruptions change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from twitchdx.batch.cells import Cells, Reject
from twitchdx.batch.encode import Encoder, Evidence
from twitchdx.batch.layout import Layout
from twitchdx.errors import BatchError, WidthError
from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.inference import BatchInference, infer_batch

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

FloatArray = NDArray[np.float64]

Ranking = Literal["rise", "posterior", "disablement", "tempered"]
RANKINGS: tuple[Ranking, ...] = ("rise", "posterior", "disablement", "tempered")

EXACT = "exact"
TOO_WIDE = "too_wide"


@dataclass(frozen=True)
class ScoreOptions:
    """What is asked of every vignette.

    Attributes
    ----------
    exact_only : bool
        Reject vignettes that are too wide for exact inference, instead of sampling them.
    long : bool
        One output row for each vignette and cause, most probable first.
    top : int or None
        Only that many causes of each vignette; means `long`.
    intervals : bool
        Add the 95 % interval of each posterior as the numbers of the tables vary.
    explain : int
        Add that many strongest reasons for the top cause.
    red_flags : bool
        Add the warning patterns that the findings meet.
    rank_by : {'rise', 'posterior', 'disablement', 'tempered'}
        What settles the top cause, and the ranks of long output. The last three are those of
        `Diagnosis.differential`, whose usual one is "tempered"; it and "disablement" take several
        times as long as the posteriors do. "rise" costs nothing and stands in for "tempered": how
        much the vignette added to a cause's tempered probability, if any finding is present.
        Causes whose state was entered come last, causes alike go by their posterior.
    """

    exact_only: bool = False
    long: bool = False
    top: int | None = None
    intervals: bool = False
    explain: int = 0
    red_flags: bool = False
    rank_by: Ranking = "rise"

    def __post_init__(self) -> None:
        if self.rank_by not in RANKINGS:
            raise BatchError(f"causes are ranked by {', '.join(RANKINGS)}, not {self.rank_by!r}")

    def ranks(self, causes: int) -> int:
        """Return how many causes of a vignette must be ranked; the top cause alone if wide."""
        return min(self.top or causes, causes) if self.tidy else 1

    @property
    def tidy(self) -> bool:
        """Whether there is one row for each vignette and cause."""
        return self.long or self.top is not None


#: one wide row a vignette, nothing else
PLAIN = ScoreOptions()


@dataclass(frozen=True)
class Scores:
    """What a chunk's vignettes came to.

    Attributes
    ----------
    causes : tuple of str
        Without syndromes, in the order of the tables.
    vignette_id, truth : list of str
    line, row : arrays, shape (scored,)
        Where each vignette begins in the file.
    posterior : array, shape (scored, causes)
    standard_error : array, shape (scored, causes)
        NaN where the answer is exact.
    log_evidence : array, shape (scored,)
        Natural logarithm.
    method : array of str, shape (scored,)
        "exact" or "sampled".
    extra : mapping of str to list of str
        Further columns: one text a vignette.
    low, high : arrays, shape (scored, causes), or None
        The 95 % interval of each posterior.
    order : array, shape (scored, ranks)
        Places of each vignette's causes, first rank first, as many as the output shows.
    rejects : tuple of Reject
        At least one for each vignette that was not scored.
    vignettes : int
        Scored and rejected together.
    left_out : dict of int to str
        Line -> id of each vignette that was not scored, as far as it has one.
    """

    causes: tuple[str, ...]
    vignette_id: list[str]
    truth: list[str]
    line: NDArray[np.int64]
    row: NDArray[np.int64]
    posterior: FloatArray
    standard_error: FloatArray
    log_evidence: FloatArray
    method: NDArray[np.str_]
    order: NDArray[np.int64]
    rejects: tuple[Reject, ...]
    vignettes: int
    left_out: dict[int, str]
    extra: dict[str, list[str]] = field(default_factory=dict)
    low: FloatArray | None = None
    high: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.vignette_id)


@dataclass(frozen=True)
class Scorer:
    """Scores chunks of one file's layout with one engine.

    Attributes
    ----------
    engine : Engine
    layout : Layout
    options : ScoreOptions
    """

    engine: Engine
    layout: Layout
    options: ScoreOptions = PLAIN

    @cached_property
    def encoder(self) -> Encoder:
        """Reads cells; remembers those it has read."""
        return Encoder(self.engine, self.layout)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where each cause stands among the network's nodes."""
        index = self.engine.reader.index
        return np.array([index[cause] for cause in self.engine.causes], np.int64)

    @cached_property
    def prior(self) -> FloatArray:
        """Probability of each cause in each stratum before anything is observed."""
        return np.array([network.prevalence[self.places] for network in self.engine.networks])

    def __getstate__(self) -> dict[str, Any]:
        # a worker builds its own memory of cells
        return {name: getattr(self, name) for name in ("engine", "layout", "options")}

    def score(self, cells: Cells) -> Scores:
        """Score a chunk on one thread.

        A vignette is rejected, with every reason, if one of its cells cannot be read or
        contradicts another, if its evidence has probability zero, or, with `exact_only`, if it is
        too wide.
        """
        evidence = self.encoder.encode(cells)
        exact_only = self.options.exact_only
        answer = infer_distinct(self.engine, evidence.weights, evidence.ratios, exact_only)
        impossible = np.isneginf(answer.log_evidence)
        too_wide = answer.method == TOO_WIDE
        unsure = ~impossible & ~too_wide & np.isnan(answer.log_evidence)
        rejects = list(evidence.rejects)
        for bad, why in ((impossible, _IMPOSSIBLE), (too_wide, _TOO_WIDE), (unsure, _NO_ANSWER)):
            rejects += [
                Reject(int(evidence.line[i]), evidence.vignette_id[i], "", "", *why)
                for i in np.flatnonzero(bad)
            ]
        no_answer = impossible | too_wide | unsure
        kept = np.flatnonzero(~no_answer)
        unanswered = {
            int(evidence.line[i]): evidence.vignette_id[i] for i in np.flatnonzero(no_answer)
        }
        errors = answer.standard_error
        shape = (len(kept), len(self.places))
        posterior = np.ascontiguousarray(answer.posterior[np.ix_(kept, self.places)])
        scores = Scores(
            causes=self.engine.causes,
            vignette_id=[evidence.vignette_id[i] for i in kept],
            truth=[evidence.truth[i] for i in kept],
            line=evidence.line[kept],
            row=evidence.row[kept],
            posterior=posterior,
            standard_error=(
                np.full(shape, np.nan) if errors is None else errors[np.ix_(kept, self.places)]
            ),
            log_evidence=answer.log_evidence[kept],
            method=answer.method[kept],
            order=self.order(evidence, kept, answer, posterior),
            rejects=tuple(sorted(rejects, key=lambda reject: reject.line)),
            vignettes=evidence.vignettes,
            left_out=evidence.left_out | unanswered,
        )
        options = self.options
        if not (options.intervals or options.explain or options.red_flags):
            return scores
        from twitchdx.batch.extras import with_extras

        return with_extras(self.engine, scores, evidence, kept, answer, options)

    def order(
        self,
        evidence: Evidence,
        kept: NDArray[np.int64],
        answer: BatchInference,
        posterior: FloatArray,
    ) -> NDArray[np.int64]:
        """Return the places of each vignette's first causes; see `ScoreOptions.rank_by`."""
        from twitchdx.explain import first_ranked, ranked

        ratios = evidence.ratios[np.ix_(kept, self.places)]
        entered = (ratios == PRESENT) | (ratios == ABSENT)
        most = self.options.ranks(len(self.places))
        by = self.ranking(evidence, kept, answer, posterior, ~entered, most)
        if most == 1:
            return first_ranked(by, posterior, entered)[:, None]
        return ranked(by, posterior, entered)[:, :most]

    def ranking(
        self,
        evidence: Evidence,
        kept: NDArray[np.int64],
        answer: BatchInference,
        posterior: FloatArray,
        candidates: NDArray[np.bool_],
        most: int,
    ) -> FloatArray:
        """Return what ranks the causes of each vignette, shape (vignettes, causes)."""
        from twitchdx.explain import rise, tempered, tempered_posterior, tempered_prior

        if self.options.rank_by == "posterior":
            return posterior
        prior = evidence.weights[kept] @ self.prior
        if self.options.rank_by == "rise":
            findings = evidence.ratios[kept, len(self.engine.networks[0].causes) :]
            shown = (findings == PRESENT).any(axis=1)
            moved = tempered_posterior(prior, posterior)
            return shown[:, None] * rise(moved, tempered_prior(prior))
        factor = np.ones(posterior.shape)
        if self.options.rank_by == "tempered":
            factor = tempered(factor, prior, posterior)
        found = [
            self.explained(evidence, int(row), answer, candidates[i], most, factor[i])
            for i, row in enumerate(kept)
        ]
        return np.array(found).reshape(posterior.shape)

    def explained(
        self,
        evidence: Evidence,
        row: int,
        answer: BatchInference,
        candidates: NDArray[np.bool_],
        most: int,
        factor: FloatArray,
    ) -> FloatArray:
        """Return what each cause explains of one vignette, times a factor of its own.

        Only as far as the first `most` need it. Exact also in some cases where
        `Diagnosis.differential`, which asks it of every cause, has lower bounds only; past that,
        the same lower bounds, and where it has nothing, nothing.
        """
        from twitchdx.batch.extras import diagnosis
        from twitchdx.explain import leading_disablement

        dx = diagnosis(self.engine, evidence, answer, row)
        nodes = np.zeros(len(dx.probabilities), np.bool_)
        nodes[self.places] = candidates
        factors = np.ones(len(nodes))
        factors[self.places] = factor
        index = self.engine.reader.index
        shown = [index[n] for n in dx.case.present if n in self.engine.knowledge.findings]
        try:
            if dx.method != EXACT:
                raise WidthError("sampled")
            found = leading_disablement(
                self.engine.networks,
                dx.case.weights,
                dx.case.ratios,
                np.array(shown, np.int64),
                dx.probabilities,
                nodes,
                most,
                factors,
            )
            return found[self.places]
        except WidthError:
            pass
        try:
            return factor * dx.attribution.disablement[list(self.engine.causes)].to_numpy()
        except WidthError:
            return np.full(len(self.places), np.nan)


def infer_distinct(
    engine: Engine, weights: FloatArray, ratios: FloatArray, exact_only: bool
) -> BatchInference:
    """Infer on one thread, and rows of the very same evidence only once.

    A row's answer depends on that row alone, so this changes no bit of it.
    """
    rows = np.concatenate([weights, ratios], axis=1)
    first: dict[bytes, int] = {}
    of_row = np.array([first.setdefault(row.tobytes(), len(first)) for row in rows], np.int64)
    if len(first) == len(rows):
        return infer_batch(
            engine.networks,
            weights,
            ratios,
            threads=1,
            exact_only=exact_only,
            wanted=engine.reported,
        )
    once = np.unique(of_row, return_index=True)[1]
    answer = infer_batch(
        engine.networks,
        weights[once],
        ratios[once],
        threads=1,
        exact_only=exact_only,
        wanted=engine.reported,
    )
    spread = {part.name: getattr(answer, part.name) for part in fields(answer)}
    return replace(
        answer,
        **{name: v[of_row] for name, v in spread.items() if isinstance(v, np.ndarray)},
    )


_IMPOSSIBLE = (
    "these observations have probability zero together",
    "check them; a prior, link or background of exactly 0 or 1 rules them out",
)
_TOO_WIDE = (
    "too many coupled findings for an exact answer",
    "leave out --exact-only to have it sampled, with standard errors",
)
_NO_ANSWER = (
    "too many coupled findings for an exact answer, and sampling gave none",
    "leave out the findings of least interest",
)
