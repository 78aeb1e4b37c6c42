"""What each table holds: one frozen row model per table, its keys, and its links to other tables.

The field descriptions here are the data dictionary; `twitchdx tables dictionary` prints it. Values
are validated as people write them: text from a cell comes in, a number, an id or a tuple of ids
comes out, and each refusal carries its repair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation
from pydantic_core import PydanticCustomError

ANY = "any"
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_AGE_BAND = re.compile(r"(\d+)(?:-(\d+)|\+)")
_CITABLE = re.compile(r"10\.\d{4,9}/\S+|(?:PMID:? ?)?\d{1,8}|PMC\d+")


class Where(NamedTuple):
    """The place of a row: the file as it was named, and the line an editor shows."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def _refuse(reason: str, repair: str) -> PydanticCustomError:
    return PydanticCustomError("cell", "{reason}", {"reason": reason, "repair": repair})


def parse_number(text: str, low: float = -float("inf"), high: float = float("inf")) -> float:
    """Read a number the way tables write it: digits and a decimal point, nothing else.

    Parameters
    ----------
    text : str
        The cell.
    low, high : float
        Smallest and largest value allowed.

    Raises
    ------
    PydanticCustomError
        With the reason and the repair; the reader turns it into a `Problem`.

    Examples
    --------
    >>> parse_number("2e-5", 0, 1)
    2e-05
    >>> parse_number("0,05", 0, 1)
    Traceback (most recent call last):
        ...
    pydantic_core._pydantic_core.PydanticCustomError: has a decimal comma
    """
    if not _NUMBER.fullmatch(text):
        plain = text.replace(" ", "")
        if plain.endswith("%") and _NUMBER.fullmatch(plain[:-1]):
            share = f"{float(plain[:-1]) / 100:.6g}"
            raise _refuse("is a percentage", f"Write {share}")
        if re.fullmatch(r"[+-]?\d+,\d+", plain):
            raise _refuse("has a decimal comma", f"Write {plain.replace(',', '.')}")
        raise _refuse("is not a number", "Write digits with a decimal point, such as 0.05")
    value = float(text)
    if not low <= value <= high or value in (float("inf"), float("-inf")):
        allowed = f"Write a number from {low:g} to {high:g}"
        if (low, high) == (0, 1) and 1 < value <= 100:
            allowed += f" ({value:g} percent is {value / 100:.6g})"
        raise _refuse(f"is outside {low:g} to {high:g}", allowed)
    return value


@dataclass(frozen=True)
class NumberIn:
    """Reader of a number within limits."""

    low: float = -float("inf")
    high: float = float("inf")

    def __call__(self, cell: Any) -> Any:
        return parse_number(cell, self.low, self.high) if isinstance(cell, str) else cell


def parse_identifier(text: str) -> str:
    """Accept an id in snake_case, and offer the nearest spelling of anything else.

    Examples
    --------
    >>> parse_identifier("urge_to_move")
    'urge_to_move'
    """
    if IDENTIFIER.fullmatch(text):
        return text
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    hint = f"Write {slug}" if IDENTIFIER.fullmatch(slug) else "Use a to z, 0 to 9 and _"
    raise _refuse("is not an id (lower case, digits and _, a letter first)", hint)


def age_range(band: str) -> tuple[int, int | None]:
    """First and last year of age of a band, both included; None: no upper end.

    Examples
    --------
    >>> age_range("18-39"), age_range("65+"), age_range("any")
    ((18, 39), (65, None), (0, None))
    """
    if band == ANY:
        return 0, None
    match = _AGE_BAND.fullmatch(band)
    if match is None:
        raise ValueError(f"{band!r} is not an age band")
    return int(match[1]), None if match[2] is None else int(match[2])


def read_band(text: str) -> str:
    """Accept an age band, or `any`."""
    try:
        first, last = age_range(text)
    except ValueError:
        raise _refuse("is not an age band", "Write a band such as 18-39 or 65+") from None
    if last is not None and last < first:
        raise _refuse("ends before it begins", f"Write {last}-{first}")
    return text


def read_one_band(text: str) -> str:
    """Accept one age band, not `any`."""
    if text == ANY:
        raise _refuse("is not one age band", "Write a band such as 18-39 or 65+")
    return read_band(text)


def _split(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    return tuple(part.strip() for part in cell.split(";") if part.strip())


def read_citable(text: str) -> str:
    """Accept a DOI or a PubMed id."""
    if not _CITABLE.fullmatch(text):
        raise _refuse(
            "is neither a DOI nor a PMID",
            "Write a DOI as 10.1234/abcd or a PMID as digits; an address goes under url",
        )
    return text


def read_url(text: str) -> str:
    """Accept a web address."""
    if not re.fullmatch(r"https?://[^\s/]+\.\S+", text):
        raise _refuse("is not a web address", "Write it in full, such as https://doi.org/...")
    return text


Identifier = Annotated[str, BeforeValidator(parse_identifier)]
Identifiers = Annotated[tuple[Identifier, ...], BeforeValidator(_split)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_split)]
Probability = Annotated[float, BeforeValidator(NumberIn(0, 1))]
Number = Annotated[float, BeforeValidator(NumberIn())]
Year = Annotated[int, BeforeValidator(NumberIn(1700, 2100))]
AgeBand = Annotated[str, BeforeValidator(read_band)]
OneAgeBand = Annotated[str, BeforeValidator(read_one_band)]
Sex = Literal["any", "female", "male"]
Grade = Literal["study", "review", "expert"]

_SOURCE = "Keys of sources.csv, `;` between several"
_GRADE = (
    "Who says so: `study` (primary study or meta-analysis), `review` (review or guideline), "
    "`expert` (a judgement, at least a factor 3 in the odds to either side)"
)
_LOW = "Lower end of the 95 % interval"
_HIGH = "Upper end of the 95 % interval"
_NOTE = "How the number was read or judged, and what it leaves out"


class Row(BaseModel):
    """One row of a table: its cells as attributes (None where blank), and its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: the column that holds the row's number, where it has one with an interval
    number: ClassVar[str | None] = None

    where: SkipValidation[Where]

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Column names, in the order of the table."""
        return tuple(name for name in cls.model_fields if name != "where")

    def cells(self) -> dict[str, Any]:
        """Column -> value, without the place."""
        return {column: getattr(self, column) for column in self.columns()}


class Population(Row):
    """The groups of people that a case may come from."""

    population: Identifier = Field(description="Id; its prior table is `<id>.csv`")
    label: str = Field(description="Name for people")
    base: Identifier | None = Field(
        None,
        description="Population that this one overlays: causes it does not list keep the "
        "base's rates. Blank: a root population, which lists every cause",
    )
    refers_to: Identifier | None = Field(
        None, description="Population that answers for ages this one has no band for"
    )
    description: str = Field(description="Who these people are, and how they came to be seen")
    source: Identifiers = Field((), description=_SOURCE)


class Demographic(Row):
    """Their make-up by sex and age."""

    population: Identifier = Field(description="Id of populations.csv")
    sex: Literal["female", "male"] = Field(description="Sex of the stratum")
    age_band: OneAgeBand = Field(description="Years of age, both ends included: `18-39`, `65+`")
    share: Probability = Field(description="Share of the population; the shares sum to 1")


class Prior(Row):
    """How common each cause is before anything is known of the person."""

    number: ClassVar[str | None] = "prevalence"

    cause: Identifier = Field(description="Id of causes.csv")
    sex: Sex = Field(description="Whom the row is for")
    age_band: AgeBand = Field(
        description="A band of demographics.csv or `any`. The most specific row wins: sex and age, "
        "then age, then sex, then neither"
    )
    prevalence: Probability = Field(description="P(cause present) in this population and stratum")
    low: Probability = Field(description=_LOW)
    high: Probability = Field(description=_HIGH)
    basis: str = Field(
        description="What was counted: `point`, `period`, `lifetime`, `exposure`, `case_mix`, "
        "`derived`, `judgement`. In an overlay `case_mix` means that those who have the cause "
        "were selected: links to it from exposures are raised with its own prior"
    )
    grade: Grade = Field(description=_GRADE)
    source: Identifiers = Field((), description=_SOURCE)
    note: str | None = Field(None, description=_NOTE)

    @property
    def population(self) -> str:
        """The population whose file holds the row."""
        return PurePath(self.where.file).stem


class Link(Row):
    """Causes that raise other causes or syndromes."""

    number: ClassVar[str | None] = "probability"

    cause: Identifier = Field(description="The cause or syndrome that is raised (the child)")
    given: Identifier = Field(description="The cause that raises it (the parent)")
    probability: Probability = Field(
        description="P(cause present | given present), all other ways to the cause included"
    )
    low: Probability = Field(description=_LOW)
    high: Probability = Field(description=_HIGH)
    grade: Grade = Field(description=_GRADE)
    source: Identifiers = Field((), description=_SOURCE)
    note: str | None = Field(None, description=_NOTE)


class Cause(Row):
    """Every cause and syndrome, and what it means for it to be present."""

    cause: Identifier = Field(description="Id")
    name: str = Field(description="Name for people")
    group: str = Field(description="Group for display")
    icd10: str | None = Field(None, description="ICD-10 code or codes")
    nature: Literal["disease", "physiologic", "exposure", "syndrome"] = Field(
        description="`disease`, `physiologic` (happens to the healthy), `exposure` (the exposure "
        "itself, not its effect) or `syndrome` (stands between causes and findings that go "
        "together)"
    )
    seriousness: Literal["benign", "significant", "cannot_miss"] = Field(
        description="What it would mean to overlook it"
    )
    action_threshold: Probability | None = Field(
        None, description="Probability above which one would act; required for `cannot_miss`"
    )
    definition: str = Field(
        description="What the node means: time frame, threshold, sign or disease, or exposure"
    )
    source: Identifiers = Field((), description=_SOURCE)


class Finding(Row):
    """Every finding, what counts as present, and its background rate."""

    number: ClassVar[str | None] = "background"

    finding: Identifier = Field(description="Id")
    name: str = Field(description="Name for people")
    question: str = Field(description="The question or examination that settles it")
    kind: Literal["symptom", "sign", "history", "test"] = Field(description="How it is found out")
    theme: Identifier = Field(description="The file under likelihoods/ that holds its rows")
    code: str | None = Field(None, description="HPO or LOINC code")
    definition: str = Field(description="What counts as present: time frame and threshold")
    background: Probability = Field(
        description="P(finding present | none of the modelled causes present)"
    )
    low: Probability = Field(description=_LOW)
    high: Probability = Field(description=_HIGH)
    burden: Probability = Field(
        description="Cost and discomfort of finding out, 0 to 1: a question 0.01, examination "
        "0.05, blood test 0.15, imaging or conduction study 0.3, sleep study 0.6"
    )
    asking_rate: Probability = Field(description="How often it is known in a clinic record")
    grade: Grade = Field(description=_GRADE)
    source: Identifiers = Field((), description=_SOURCE)
    note: str | None = Field(None, description=_NOTE)


class Background(Row):
    """Background rates that differ by sex or age."""

    number: ClassVar[str | None] = "background"

    finding: Identifier = Field(description="Id of findings.csv")
    sex: Sex = Field(description="Whom the row is for")
    age_band: AgeBand = Field(description="A band of demographics.csv or `any`")
    background: Probability = Field(description="Takes the place of findings.csv's background here")
    low: Probability = Field(description=_LOW)
    high: Probability = Field(description=_HIGH)
    grade: Grade = Field(description=_GRADE)
    source: Identifiers = Field((), description=_SOURCE)
    note: str | None = Field(None, description=_NOTE)


class Likelihood(Row):
    """How often each cause shows each finding, a file per theme."""

    number: ClassVar[str | None] = "probability"

    cause: Identifier = Field(description="Id of causes.csv")
    finding: Identifier = Field(description="Id of findings.csv")
    probability: Probability = Field(
        description="P(finding present | cause present), background included"
    )
    low: Probability = Field(description=_LOW)
    high: Probability = Field(description=_HIGH)
    grade: Grade = Field(description=_GRADE)
    source: Identifiers = Field((), description=_SOURCE)
    note: str | None = Field(None, description=_NOTE)


class Measurement(Row):
    """Thresholds that turn a measured value into findings."""

    quantity: Identifier = Field(description="What is measured, the name used for entering it")
    unit: str = Field(description="Unit of the threshold; other units are in units.csv")
    comparator: Literal["<", "<=", ">", ">="] = Field(
        description="How the value compares with the threshold when the finding is present. Two "
        "rows of one finding (>= and <=) are a range: both must hold"
    )
    threshold: Number = Field(description="The threshold, in the unit")
    sex: Sex = Field("any", description="Whom the threshold is for; blank is `any`")
    finding: Identifier = Field(description="Finding that is present when the comparison holds")
    plausible_low: Number = Field(description="Below this a value is refused as a slip")
    plausible_high: Number = Field(description="Above this a value is refused as a slip")
    source: Identifiers = Field((), description=_SOURCE)


class Unit(Row):
    """Other units in which a quantity may be entered."""

    quantity: Identifier = Field(description="Quantity of measurements.csv")
    unit: str = Field(description="Another unit that people use")
    factor: Number = Field(description="Value in the table's unit = value * factor + offset")
    offset: Number = Field(0.0, description="See factor; blank is 0")


class Implication(Row):
    """Findings that contain other findings by definition."""

    finding: Identifier = Field(description="When this finding is present ...")
    implies: Identifier = Field(description="... this one is present too, by definition")
    note: str | None = Field(None, description="Why")


class RedFlag(Row):
    """Patterns that need a person's attention whatever the probabilities."""

    flag: Identifier = Field(description="Id")
    name: str = Field(description="Name for people")
    all_of: Identifiers = Field((), description="Findings or causes that must all be present")
    any_of: Identifiers = Field((), description="... and at least one of these")
    none_of: Identifiers = Field((), description="... and none of these")
    urgency: Literal["emergency", "urgent", "soon"] = Field(
        description="`emergency` (now), `urgent` (days) or `soon` (weeks)"
    )
    message: str = Field(description="What to tell the reader")
    source: Identifiers = Field((), description=_SOURCE)


class Workup(Row):
    """Tests to order, or not to order, and when."""

    rule: Identifier = Field(description="Id")
    cause: Identifier | None = Field(
        None, description="Cause that is suspected; blank: the pattern alone decides"
    )
    all_of: Identifiers = Field((), description="Findings or causes that must all be present")
    none_of: Identifiers = Field((), description="Findings or causes that must not be present")
    action: Literal["order", "avoid"] = Field(description="Order the test, or avoid it")
    test: str = Field(description="The test")
    reason: str = Field(description="Why, or why not")
    source: Identifiers = Field((), description=_SOURCE)


class Management(Row):
    """What guidelines list as treatment."""

    cause: Identifier = Field(description="Id of causes.csv")
    line: Literal["first", "second", "advice", "avoid"] = Field(
        description="First or second line, advice, or what to avoid"
    )
    treatment: str = Field(description="What guidelines list")
    caveat: str | None = Field(None, description="What to mind")
    source: Identifiers = Field((), description=_SOURCE)


class Claim(Row):
    """Statements of the seed articles, and what carries each."""

    claim: Identifier = Field(description="Id")
    seeds: Texts = Field((), description="Seed articles that make the statement")
    kind: str = Field(description="What sort of statement it is")
    statement: str = Field(description="The statement")
    contested: str | None = Field(None, description="Whether, and how, the evidence disagrees")
    carried_by: str | None = Field(
        None, description="Table row, flag, advice or behaviour that carries it"
    )
    expectation: str | None = Field(None, description="What a test can run against the engine")
    reason: str | None = Field(None, description="Why it is carried so, or left out")


class Alias(Row):
    """Older and other ids, and what they stand for now."""

    alias: Identifier = Field(description="An id that was once public, or is common elsewhere")
    kind: Literal["cause", "finding"] = Field(description="What it stands for")
    stands_for: Identifiers = Field(description="Current ids, `;` between several (any of them)")
    meaning: str = Field(description="What the id meant")


class Source(Row):
    """Everything that is cited."""

    source: Identifier = Field(
        description="Key: first author or body, year, first title word of more than three letters"
    )
    authors: str = Field(description="Authors, or the body that published it")
    year: Year = Field(description="Year of publication")
    title: str = Field(description="Title")
    journal: str | None = Field(None, description="Journal, book or site")
    doi_or_pmid: Annotated[str, BeforeValidator(read_citable)] | None = Field(
        None, description="DOI (10....) or PMID (digits)"
    )
    url: Annotated[str, BeforeValidator(read_url)] | None = Field(
        None, description="Address, where there is no DOI or PMID"
    )
    note: str | None = Field(None, description="Study population, size, what was read")


@dataclass(frozen=True)
class Table:
    """One table: where its files are, what a row is, what makes a row unique.

    Attributes
    ----------
    name : str
        Name of the table in a `KnowledgeBase`.
    folder : str
        ``priors`` or ``evidence_tables``.
    files : str
        File name or pattern within the folder.
    row : type of Row
        The row model.
    key : tuple of str
        Attributes that together are unique.
    required : bool
        Whether a set of tables is unusable without it.
    """

    name: str
    folder: Literal["priors", "evidence_tables"]
    files: str
    row: type[Row]
    key: tuple[str, ...]
    required: bool = False

    @property
    def purpose(self) -> str:
        """What the table is for, in a sentence."""
        return (self.row.__doc__ or "").strip()


#: every table, in reading order
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "populations",
            "priors",
            "populations.csv",
            Population,
            ("population",),
            required=True,
        ),
        Table(
            "demographics",
            "priors",
            "demographics.csv",
            Demographic,
            ("population", "sex", "age_band"),
            required=True,
        ),
        Table(
            "priors",
            "priors",
            "<population>.csv",
            Prior,
            ("population", "cause", "sex", "age_band"),
            required=True,
        ),
        Table("links", "priors", "links.csv", Link, ("cause", "given")),
        Table("causes", "evidence_tables", "causes.csv", Cause, ("cause",), required=True),
        Table("findings", "evidence_tables", "findings.csv", Finding, ("finding",), required=True),
        Table(
            "backgrounds",
            "evidence_tables",
            "backgrounds.csv",
            Background,
            ("finding", "sex", "age_band"),
        ),
        Table(
            "likelihoods",
            "evidence_tables",
            "likelihoods/*.csv",
            Likelihood,
            ("cause", "finding"),
            required=True,
        ),
        Table(
            "measurements",
            "evidence_tables",
            "measurements.csv",
            Measurement,
            ("quantity", "comparator", "threshold", "sex", "finding"),
        ),
        Table("units", "evidence_tables", "units.csv", Unit, ("quantity", "unit")),
        Table(
            "implications",
            "evidence_tables",
            "implications.csv",
            Implication,
            ("finding", "implies"),
        ),
        Table("red_flags", "evidence_tables", "red_flags.csv", RedFlag, ("flag",)),
        Table("workup", "evidence_tables", "workup.csv", Workup, ("rule",)),
        Table(
            "management",
            "evidence_tables",
            "management.csv",
            Management,
            ("cause", "line", "treatment"),
        ),
        Table("claims", "evidence_tables", "claims.csv", Claim, ("claim",)),
        Table("aliases", "evidence_tables", "aliases.csv", Alias, ("alias",)),
        Table("sources", "evidence_tables", "sources.csv", Source, ("source",), required=True),
    )
}


@dataclass(frozen=True)
class ForeignKey:
    """Ids in one table's column that must be rows of another table.

    Attributes
    ----------
    table, column : str
        Where the ids are written.
    targets : tuple of str
        Tables of which any one may know the id.
    when : tuple of (str, str) or None
        Holds only for rows with this column at this value.
    """

    table: str
    column: str
    targets: tuple[str, ...]
    when: tuple[str, str] | None = None


FOREIGN_KEYS: tuple[ForeignKey, ...] = (
    ForeignKey("populations", "base", ("populations",)),
    ForeignKey("populations", "refers_to", ("populations",)),
    ForeignKey("demographics", "population", ("populations",)),
    ForeignKey("priors", "cause", ("causes",)),
    ForeignKey("links", "cause", ("causes",)),
    ForeignKey("links", "given", ("causes",)),
    ForeignKey("backgrounds", "finding", ("findings",)),
    ForeignKey("likelihoods", "cause", ("causes",)),
    ForeignKey("likelihoods", "finding", ("findings",)),
    ForeignKey("measurements", "finding", ("findings",)),
    ForeignKey("units", "quantity", ("measurements",)),
    ForeignKey("implications", "finding", ("findings",)),
    ForeignKey("implications", "implies", ("findings",)),
    *(
        ForeignKey(table, column, ("findings", "causes"))
        for table, columns in (
            ("red_flags", ("all_of", "any_of", "none_of")),
            ("workup", ("all_of", "none_of")),
        )
        for column in columns
    ),
    ForeignKey("workup", "cause", ("causes",)),
    ForeignKey("management", "cause", ("causes",)),
    ForeignKey("aliases", "stands_for", ("causes",), when=("kind", "cause")),
    ForeignKey("aliases", "stands_for", ("findings",), when=("kind", "finding")),
    *(
        ForeignKey(table.name, "source", ("sources",))
        for table in TABLES.values()
        if "source" in table.row.model_fields and table.name != "sources"
    ),
)
