"""What a case report says, as data: one summary feeds the page, Markdown, JSON and the terminal."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from twitchdx.errors import EvidenceError, WidthError
from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.explain import leading_causes, smallest_explanations
from twitchdx.explain.questions import KINDS
from twitchdx.explain.rows import (
    case_strata,
    node_name,
    prior_rows,
    row_in_words,
    supporting_rows,
)
from twitchdx.report.text import percent

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.case import Observation
    from twitchdx.diagnosis import Diagnosis, Ranking
    from twitchdx.explain import Explanation
    from twitchdx.model import TableRow

DISCLAIMER = "For research and teaching, not for care."
FORMAT = 1

#: rows of the differential that are shown
SHOWN_CAUSES = 10
#: causes whose reasons are given, serious ones past their thresholds apart
EXPLAINED_CAUSES = 3
#: causes named for each finding, and the least share worth naming
SHARES, LEAST_SHARE = 4, 0.02
SHOWN_FLIPS = 8
SHOWN_QUESTIONS = {"question": 6, "examination": 3, "test": 3}
SHOWN_SETS = 6
PACKAGES = ("twitchdx", "numpy", "pandas", "numba", "pgmpy")


@dataclass(frozen=True)
class Seen:
    """One observation, as it was entered and understood."""

    node: str
    name: str
    state: str
    ratio: float | None
    entered: str
    known_cause: bool
    counted: bool


@dataclass(frozen=True)
class Place:
    """One cause of the differential; probabilities between 0 and 1."""

    rank: int
    cause: str
    name: str
    seriousness: str
    nature: str
    known: str | None
    prior: float
    posterior: float
    low: float | None
    high: float | None
    bayes_factor: float | None
    disablement: float | None
    sufficiency: float | None
    tempered: float | None


@dataclass(frozen=True)
class Flag:
    """A warning pattern that the case shows."""

    name: str
    urgency: str
    message: str
    cites: tuple[int, ...]


@dataclass(frozen=True)
class Serious:
    """A cause that must not be missed: how probable, and when one would act."""

    cause: str
    name: str
    posterior: float
    action_threshold: float
    past: bool
    rank: int


@dataclass(frozen=True)
class Number:
    """A number of the tables."""

    text: str
    grade: str
    place: str
    cites: tuple[int, ...]


@dataclass(frozen=True)
class Reason:
    """What one observation says of one cause; the weights of all add up to the whole change."""

    node: str
    name: str
    state: str
    weight: float
    likelihood_ratio: float | None
    sentence: str
    cites: tuple[int, ...]


@dataclass(frozen=True)
class Reasons:
    """Why one cause became more or less probable; weights in decibans."""

    cause: str
    name: str
    definition: str
    prior: float
    posterior: float
    total: float
    method: str
    reasons: tuple[Reason, ...]

    @property
    def largest(self) -> float:
        """The largest weight, either way."""
        return max((abs(reason.weight) for reason in self.reasons), default=0.0)


@dataclass(frozen=True)
class Share:
    """How probably a cause switched a finding on."""

    cause: str
    name: str
    probability: float


@dataclass(frozen=True)
class Explained:
    """Where one present finding comes from; shares may overlap."""

    finding: str
    name: str
    shares: tuple[Share, ...]
    unexplained: float


@dataclass(frozen=True)
class Flip:
    """The smallest change of one number that changes the leading cause."""

    parameter: str
    number: str
    value: float
    low: float
    high: float
    flip_at: float
    log_odds_distance: float
    becomes: str
    verdict: str
    grade: str
    place: str
    cites: tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """Something not yet known, and what it is expected to tell."""

    finding: str
    question: str
    kind: str
    probability: float
    information: float
    burden: float
    if_present: str
    if_absent: str


@dataclass(frozen=True)
class Action:
    """A test to order, or not to, and why."""

    action: str
    test: str
    cause: str | None
    reason: str
    cites: tuple[int, ...]


@dataclass(frozen=True)
class Treatment:
    """What guidelines list for one cause."""

    line: str
    treatment: str
    caveat: str | None
    cites: tuple[int, ...]


@dataclass(frozen=True)
class Managed:
    """What guidelines list for one cause, first line first."""

    cause: str
    name: str
    treatments: tuple[Treatment, ...]


@dataclass(frozen=True)
class Together:
    """Causes that are present together, and how probably."""

    causes: tuple[str, ...]
    names: tuple[str, ...]
    probability: float


@dataclass(frozen=True)
class Solid:
    """How the observations agree, and what the answer rests on."""

    conflict: float
    percentile: float
    unusual: bool
    most_conflicting: str | None
    grades: dict[str, float]


@dataclass(frozen=True)
class Reference:
    """A source that the report cites, and the table rows shown that cite it."""

    number: int
    key: str
    citation: str
    url: str
    note: str | None
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What made this report, so that it can be made again."""

    created: str
    population: str
    strata: tuple[str, ...]
    tables: str
    overrides: dict[str, float]
    ranking: str
    attribution: str
    method: str
    width: int
    log_evidence: float
    python: str
    packages: dict[str, str]

    @property
    def sorted_by(self) -> str:
        """The ranking, in words."""
        from twitchdx.explain import RANKING_MEANINGS

        return RANKING_MEANINGS[self.ranking]


@dataclass(frozen=True)
class CaseReport:
    """All that a case report says.

    Attributes
    ----------
    who, population : str
        Of whom it speaks, and whose prevalences it starts from.
    in_short : tuple of str
        The answer in a few sentences.
    seen, differential, flags, serious, reasons, explained, flips, questions, work_up, management,
    hypotheses, explanations, solid, numbers, references, manifest
        The sections, in the order of the report.
    others : int
        Causes of the differential that are not listed.
    flips_missing : str or None
        Why there are no flips, where they could not be found.
    leading : str
        Name of the cause that the case raises most, which answers to questions may change.
    may_stop : bool
        No single likely answer to anything not yet known would change the leading cause.
    combined : tuple of str
        Names of the causes that the joint hypotheses are about.
    """

    who: str
    population: str
    in_short: tuple[str, ...]
    seen: tuple[Seen, ...]
    differential: tuple[Place, ...]
    others: int
    flags: tuple[Flag, ...]
    serious: tuple[Serious, ...]
    reasons: tuple[Reasons, ...]
    explained: tuple[Explained, ...]
    flips: tuple[Flip, ...]
    flips_missing: str | None
    questions: tuple[Question, ...]
    leading: str
    may_stop: bool
    work_up: tuple[Action, ...]
    management: tuple[Managed, ...]
    combined: tuple[str, ...]
    hypotheses: tuple[Together, ...]
    hypotheses_exact: bool
    explanations: tuple[Together, ...]
    solid: Solid
    numbers: tuple[Number, ...]
    references: tuple[Reference, ...]
    manifest: Manifest
    note: str = DISCLAIMER
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return asdict(self)

    @property
    def past(self) -> tuple[Serious, ...]:
        """Serious causes past their action threshold."""
        return tuple(one for one in self.serious if one.past)


@dataclass(frozen=True)
class Brief:
    """The answer, the differential and what not to miss: what a notebook shows of a diagnosis."""

    who: str
    population: str
    in_short: tuple[str, ...]
    differential: tuple[Place, ...]
    others: int
    flags: tuple[Flag, ...]
    sorted_by: str
    note: str = DISCLAIMER


@dataclass
class Citations:
    """Numbers the sources in the order in which a report first cites them."""

    rows: dict[str, list[str]] = field(default_factory=dict)

    def cite(self, row: Any) -> tuple[int, ...]:
        """Return the numbers of a table row's sources, and remember who cites them."""
        for key in row.source:
            places = self.rows.setdefault(key, [])
            if str(row.where) not in places:
                places.append(str(row.where))
        numbers = list(self.rows)
        return tuple(sorted(numbers.index(key) + 1 for key in row.source))

    def all(self, rows: Iterable[Any]) -> tuple[int, ...]:
        """Return the numbers of the sources of several rows, each once."""
        return tuple(sorted({number for row in rows for number in self.cite(row)}))


def case_report(
    dx: Diagnosis,
    *,
    rank_by: Ranking | None = None,
    intervals: bool = True,
    created: datetime | None = None,
) -> CaseReport:
    """Collect everything that a report of one case says.

    Parameters
    ----------
    dx : Diagnosis
    rank_by : {'tempered', 'posterior', 'disablement', 'sufficiency'}, optional
    intervals : bool
        Give each posterior its 95 % interval (the slowest part).
    created : datetime, optional
        By default now.
    """
    from twitchdx.explain import DEFAULT_RANKING

    try:
        frame = dx.differential(rank_by, intervals=intervals)
    except WidthError:
        frame = dx.differential(rank_by)
    leading = leading_causes(dx)
    cites = Citations()
    seen = tuple(_seen(dx, o, True) for o in dx.case.observations) + tuple(
        _seen(dx, o, False) for o in dx.case.implied
    )
    places = _places(dx, frame)
    flags = tuple(
        Flag(row.name, row.urgency, row.message, cites.cite(row)) for row in dx.red_flags.patterns
    )
    serious = _serious(dx, frame)
    explained_causes = dict.fromkeys(
        [*leading[:EXPLAINED_CAUSES], *(one.cause for one in serious if one.past)]
    )
    reasons = tuple(_reasons(dx, cause, cites) for cause in explained_causes)
    flips, flips_missing = _flips(dx, leading, cites)
    questions, leader, may_stop = _questions(dx)
    work_up = tuple(
        Action(
            row.action,
            _test_in_words(dx, row.test),
            None if row.cause is None else node_name(dx.engine.knowledge, row.cause),
            row.reason,
            cites.cite(row),
        )
        for row in dx.work_up
    )
    managed = _managed(dx, cites)
    sets = dx.most_probable_sets(SHOWN_SETS)
    solid = Solid(
        conflict=dx.conflict.measure,
        percentile=dx.conflict.percentile,
        unusual=dx.conflict.unusual,
        most_conflicting=None
        if dx.conflict.most_conflicting is None
        else node_name(dx.engine.knowledge, dx.conflict.most_conflicting),
        grades=dict(sorted(dx.solidity.shares.items(), key=lambda pair: -pair[1])),
    )
    by_cause = {place.cause: place for place in places}
    return CaseReport(
        who=_who(dx),
        population=dx.engine.knowledge.populations[dx.engine.population].label,
        in_short=tuple(
            _in_short(
                by_cause.get(leading[0]) if leading and dx.case.present else None,
                flags,
                serious,
                flips,
                questions,
                may_stop,
                solid,
            )
        ),
        seen=seen,
        differential=places,
        others=len(frame) - len(places),
        flags=flags,
        serious=serious,
        reasons=reasons,
        explained=_explained(dx),
        flips=flips,
        flips_missing=flips_missing,
        questions=questions,
        leading=leader,
        may_stop=may_stop,
        work_up=work_up,
        management=managed,
        combined=tuple(node_name(dx.engine.knowledge, cause) for cause in sets.causes),
        hypotheses=tuple(_together(dx, h.present, h.probability) for h in sets),
        hypotheses_exact=sets.exact,
        explanations=tuple(
            _together(dx, h.present, h.probability) for h in smallest_explanations(dx)
        ),
        solid=solid,
        numbers=_numbers(dx, tuple(explained_causes), cites),
        references=_references(dx, cites),
        manifest=Manifest(
            created=(created or datetime.now(UTC)).isoformat(timespec="seconds"),
            population=dx.engine.population,
            strata=tuple(stratum.label for stratum in case_strata(dx)),
            tables=dx.engine.knowledge.digest,
            overrides=overrides(dx),
            ranking=rank_by or DEFAULT_RANKING,
            attribution=dx.attribution.method,
            method=dx.method,
            width=dx.width,
            log_evidence=dx.log_evidence,
            python=platform.python_version(),
            packages={name: version(name) for name in PACKAGES},
        ),
    )


def brief_report(dx: Diagnosis) -> Brief:
    """Collect the short form of a report, without intervals, flips and questions."""
    from twitchdx.explain import DEFAULT_RANKING, RANKING_MEANINGS

    frame = dx.differential()
    cites = Citations()
    places = _places(dx, frame)
    leading = leading_causes(dx, 1) if dx.case.present else ()
    flags = tuple(
        Flag(row.name, row.urgency, row.message, cites.cite(row)) for row in dx.red_flags.patterns
    )
    return Brief(
        who=_who(dx),
        population=dx.engine.knowledge.populations[dx.engine.population].label,
        in_short=(
            _answer(next((place for place in places if place.cause in leading), None)),
            _not_to_miss(flags, _serious(dx, frame)),
        ),
        differential=places,
        others=len(frame) - len(places),
        flags=flags,
        sorted_by=RANKING_MEANINGS[DEFAULT_RANKING],
    )


def overrides(dx: Diagnosis) -> dict[str, float]:
    """Return the numbers that were set by hand or differ from their table row, by their key."""
    changed = {}
    for parameter in dx.engine.model.parameters:
        row = parameter.row
        number = None if row is None or row.number is None else getattr(row, row.number)
        if number != parameter.value:
            changed[parameter.key] = parameter.value
    return changed


def _who(dx: Diagnosis) -> str:
    age, sex = dx.case.age, dx.case.sex
    person = {"female": "woman", "male": "man", None: "person"}[sex]
    if age is None:
        return f"A {person} of unknown age" if sex else "A person of unknown age and sex"
    if age < 18:
        person = {"female": "girl", "male": "boy", None: "child"}[sex]
    return f"A {person} of {age:g} years" + ("" if sex else ", sex unknown")


def _seen(dx: Diagnosis, observation: Observation, counted: bool) -> Seen:
    known = observation.node in dx.engine.knowledge.causes
    state = {PRESENT: "present", ABSENT: "absent"}.get(observation.ratio)
    return Seen(
        observation.node,
        node_name(dx.engine.knowledge, observation.node),
        state or f"uncertain (likelihood ratio {observation.ratio:g})",
        None if state else observation.ratio,
        "" if observation.entered == observation.node else observation.entered,
        known,
        counted,
    )


def _places(dx: Diagnosis, frame: pd.DataFrame) -> tuple[Place, ...]:
    """The first causes of the differential, the known ones, and serious ones past thresholds."""
    rows = dx.engine.knowledge.causes
    known = dict.fromkeys(dx.case.present, "present") | dict.fromkeys(dx.case.absent, "absent")
    serious = {one.cause for one in dx.red_flags.serious}
    places = []
    for rank, row in enumerate(frame.to_dict("records"), 1):
        cause = row["cause"]
        if rank > SHOWN_CAUSES and cause not in known and cause not in serious:
            continue
        places.append(
            Place(
                rank=rank,
                cause=cause,
                name=row["name"],
                seriousness=row["seriousness"],
                nature=rows[cause].nature,
                known=known.get(cause),
                prior=row["prior"],
                posterior=row["posterior"],
                low=_number(row.get("low")),
                high=_number(row.get("high")),
                bayes_factor=_number(row["bayes_factor"]),
                disablement=_number(row["disablement"]),
                sufficiency=_number(row["sufficiency"]),
                tempered=_number(row["tempered"]),
            )
        )
    return tuple(places)


def _serious(dx: Diagnosis, frame: pd.DataFrame) -> tuple[Serious, ...]:
    """All causes that must not be missed, those past their thresholds first."""
    known = {*dx.case.present, *dx.case.absent}
    rank = {cause: k for k, cause in enumerate(frame["cause"], 1)}
    rows = [
        Serious(
            row.cause,
            row.name,
            float(dx.posterior[row.cause]),
            row.action_threshold,
            bool(dx.posterior[row.cause] >= row.action_threshold),
            rank[row.cause],
        )
        for row in dx.engine.knowledge.causes.values()
        if row.seriousness == "cannot_miss"
        and row.action_threshold is not None
        and row.cause in rank
        and row.cause not in known
    ]
    return tuple(sorted(rows, key=lambda one: -one.posterior / max(one.action_threshold, 1e-12)))


def _reasons(dx: Diagnosis, cause: str, cites: Citations) -> Reasons:
    explanation: Explanation = dx.explain(cause)
    row = dx.engine.knowledge.causes[cause]
    return Reasons(
        cause=cause,
        name=row.name,
        definition=row.definition,
        prior=float(dx.prior[cause]),
        posterior=float(dx.posterior[cause]),
        total=explanation.total,
        method=explanation.method,
        reasons=tuple(
            Reason(
                node=one["node"],
                name=one["name"],
                state=one["state"],
                weight=one["weight"],
                likelihood_ratio=_number(one["likelihood_ratio"]),
                sentence=one["sentence"],
                cites=cites.all(supporting_rows(dx, cause, one["node"])),
            )
            for one in explanation.frame.to_dict("records")
        ),
    )


def _numbers(dx: Diagnosis, causes: tuple[str, ...], cites: Citations) -> tuple[Number, ...]:
    """The rows behind the reasons, each once: prevalences, then what was observed in turn."""
    rows: list[TableRow] = [row for cause in causes for row in prior_rows(dx, cause)]
    for seen in dx.case.observations:
        rows += [row for cause in causes for row in supporting_rows(dx, cause, seen.node)]
    return tuple(
        Number(row_in_words(row, dx.engine.knowledge), row.grade, str(row.where), cites.cite(row))
        for row in dict.fromkeys(rows)
    )


def _test_in_words(dx: Diagnosis, test: str) -> str:
    row = dx.engine.knowledge.findings.get(test)
    if row is None:
        return node_name(dx.engine.knowledge, test)
    verb = {"symptom": "Ask: ", "history": "Ask: ", "sign": "Examine: "}.get(row.kind, "")
    return verb + (row.question if verb == "Ask: " else row.name)


def _explained(dx: Diagnosis) -> tuple[Explained, ...]:
    found = dx.attribution
    knowledge = dx.engine.knowledge
    rows = []
    for finding in found.switched_on.columns:
        shares = found.switched_on.loc[list(dx.engine.causes), finding].sort_values(
            ascending=False, kind="stable"
        )
        rows.append(
            Explained(
                finding,
                node_name(knowledge, finding),
                tuple(
                    Share(str(cause), node_name(knowledge, str(cause)), float(share))
                    for cause, share in shares.head(SHARES).items()
                    if share >= LEAST_SHARE
                ),
                float(found.unexplained[finding]),
            )
        )
    return tuple(rows)


def _flips(
    dx: Diagnosis, leading: tuple[str, ...], cites: Citations
) -> tuple[tuple[Flip, ...], str | None]:
    """The easiest changes of one number that put another of the leading causes first."""
    from twitchdx.sensitivity.flips import flips_of
    from twitchdx.sensitivity.knobs import case_knobs
    from twitchdx.sensitivity.moves import find_moves

    if len(leading) < 2:
        return (), "fewer than two causes are open"
    try:
        found = flips_of(find_moves(dx, case_knobs(dx, "all", together=True), leading))
    except (WidthError, EvidenceError) as error:
        return (), str(error)
    knowledge = dx.engine.knowledge
    by_place = {
        str(parameter.row.where): parameter.row
        for parameter in dx.engine.model.parameters
        if parameter.row is not None
    }
    flips = []
    for row in found.frame[found.frame["verdict"] != "none"].head(SHOWN_FLIPS).to_dict("records"):
        behind = [by_place[p] for p in row["place"].split(";") if p in by_place]
        flips.append(
            Flip(
                parameter=row["parameter"],
                number=_number_name(dx, row),
                value=row["value"],
                low=row["low"],
                high=row["high"],
                flip_at=row["flip_at"],
                log_odds_distance=row["log_odds_distance"],
                becomes=node_name(knowledge, row["becomes"]),
                verdict=row["verdict"],
                grade=row["grade"],
                place=row["place"],
                cites=cites.all(behind),
            )
        )
    return tuple(flips), None


def _number_name(dx: Diagnosis, row: dict[Any, Any]) -> str:
    """Say which number of the tables a flip is about."""
    knowledge = dx.engine.knowledge
    cause, other = row["cause"], row["other"]
    _, _, whom = row["label"].partition("), ")
    suffix = f" ({whom})" if whom else ""
    match row["kind"]:
        case "prior":
            return f"How common: {node_name(knowledge, cause)}{suffix}"
        case "background":
            return f"{node_name(knowledge, other)} with none of the causes{suffix}"
        case "link":
            return f"{node_name(knowledge, cause)}, given {node_name(knowledge, other)}"
        case _:
            return f"{node_name(knowledge, other)}, given {node_name(knowledge, cause)}"


def _questions(dx: Diagnosis) -> tuple[tuple[Question, ...], str, bool]:
    found = dx.next_questions()
    knowledge = dx.engine.knowledge
    frame = found.frame[found.frame["worth"] > 0]
    rows = []
    for kind, most in SHOWN_QUESTIONS.items():
        for row in frame[frame["kind"].isin(KINDS[kind])].head(most).to_dict("records"):
            rows.append(
                Question(
                    finding=row["finding"],
                    question=row["question"],
                    kind=kind,
                    probability=row["probability"],
                    information=row["information"],
                    burden=row["burden"],
                    if_present=node_name(knowledge, row["if_present"]),
                    if_absent=node_name(knowledge, row["if_absent"]),
                )
            )
    return tuple(rows), node_name(knowledge, found.leading), found.may_stop


def _managed(dx: Diagnosis, cites: Citations) -> tuple[Managed, ...]:
    by_cause: dict[str, list[Treatment]] = {}
    for row in dx.management:
        by_cause.setdefault(row.cause, []).append(
            Treatment(row.line, row.treatment, row.caveat, cites.cite(row))
        )
    return tuple(
        Managed(cause, node_name(dx.engine.knowledge, cause), tuple(treatments))
        for cause, treatments in by_cause.items()
    )


def _together(dx: Diagnosis, causes: frozenset[str], probability: float) -> Together:
    ordered = tuple(sorted(causes, key=lambda cause: -float(dx.posterior[cause])))
    names = tuple(node_name(dx.engine.knowledge, cause) for cause in ordered)
    return Together(ordered, names, probability)


def _in_short(
    leader: Place | None,
    flags: tuple[Flag, ...],
    serious: tuple[Serious, ...],
    flips: tuple[Flip, ...],
    questions: tuple[Question, ...],
    may_stop: bool,
    solid: Solid,
) -> Iterable[str]:
    """The answer in a few sentences."""
    yield _answer(leader)
    yield _not_to_miss(flags, serious)
    if flips and leader is not None:
        fragile = sum(flip.verdict == "fragile" for flip in flips)
        yield (
            f"The order of the leading causes is fragile: a change within its own 95 % interval of "
            f"{'one number' if fragile == 1 else f'any of {fragile} numbers'} would change it."
            if fragile
            else "The order of the leading causes is robust: no single number, moved within its "
            "own 95 % interval, changes it."
        )
    if questions and not may_stop:
        yield f"Most worth finding out next: {questions[0].question}"
    elif leader is not None:
        yield "No single likely answer to anything not yet known would change the leading cause."
    if solid.unusual:
        yield "The case is unlike nearly all that these tables would produce: read it with doubt."
    if solid.grades:
        yield (
            f"{percent(solid.grades.get('expert', 0.0))} of the weight behind the leading cause "
            "rests on judged numbers, not measured ones."
        )


def _answer(leader: Place | None) -> str:
    if leader is None:
        return "Nothing that was observed is present: these are the prevalences of the population."
    interval = ""
    if leader.low is not None and leader.high is not None:
        interval = f" (95 % interval {percent(leader.low)} to {percent(leader.high)})"
    return (
        f"{leader.name} leads: its probability is {percent(leader.posterior)}{interval}, "
        f"from {percent(leader.prior)} before anything was observed."
    )


def _not_to_miss(flags: tuple[Flag, ...], serious: tuple[Serious, ...]) -> str:
    past = [one.name for one in serious if one.past]
    parts = []
    if flags:
        met = "1 warning pattern is" if len(flags) == 1 else f"{len(flags)} warning patterns are"
        parts.append(
            f"{met} met ({flags[0].urgency}: {flags[0].name.lower()}"
            + (", ...)" if len(flags) > 1 else ")")
        )
    if past:
        parts.append(f"past the probability at which one would act: {_listed(past)}")
    if not parts:
        return "No warning pattern is met, and no serious cause is past its action threshold."
    return "Not to be missed: " + "; ".join(parts) + "."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _references(dx: Diagnosis, cites: Citations) -> tuple[Reference, ...]:
    from twitchdx.tables.provenance import address, citation

    sources = dx.engine.knowledge.sources
    references = []
    for number, (key, rows) in enumerate(cites.rows.items(), 1):
        row = sources[key]
        url = address(row)
        text = citation(row).removesuffix(url).rstrip(". ")
        references.append(Reference(number, key, text, url, row.note, tuple(rows)))
    return tuple(references)


def _number(value: Any) -> float | None:
    """None for a number that JSON cannot hold."""
    return None if value is None or not abs(float(value)) < float("inf") else float(value)


__all__ = ["DISCLAIMER", "Brief", "CaseReport", "brief_report", "case_report", "overrides"]
