"""One bad file per failure: each is found, at its place, with its repair, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from table_examples import COFFEE, spoil, write
from twitchdx.errors import Problem, TableError, TableMeaningError, TableShapeError
from twitchdx.tables import read_tables
from twitchdx.tables.check import check
from twitchdx.tables.read import collect

OFFICE = "priors/office.csv"
DEMOGRAPHICS = "priors/demographics.csv"
POPULATIONS = "priors/populations.csv"
LINKS = "priors/links.csv"
CAUSES = "evidence_tables/causes.csv"
FINDINGS = "evidence_tables/findings.csv"
BACKGROUNDS = "evidence_tables/backgrounds.csv"
TASTE = "evidence_tables/likelihoods/taste.csv"
FLOW = "evidence_tables/likelihoods/flow.csv"
MEASUREMENTS = "evidence_tables/measurements.csv"
UNITS = "evidence_tables/units.csv"
IMPLICATIONS = "evidence_tables/implications.csv"
FLAGS = "evidence_tables/red_flags.csv"
WORKUP = "evidence_tables/workup.csv"
MANAGEMENT = "evidence_tables/management.csv"
CLAIMS = "evidence_tables/claims.csv"
ALIASES = "evidence_tables/aliases.csv"
SOURCES = "evidence_tables/sources.csv"


class Bad(NamedTuple):
    """One spoiled file, and the one problem that must be reported."""

    file: str
    old: str
    new: str
    line: int | None
    column: str | None
    value: str | None
    reason: str
    repair: str


SHAPE = {
    "decimal comma": Bad(
        OFFICE,
        "any,any,0.2,",
        'any,any,"0,2",',
        2,
        "prevalence",
        "0,2",
        "decimal comma",
        "Write 0.2",
    ),
    "percentage": Bad(
        OFFICE, "any,any,0.2,", "any,any,20%,", 2, "prevalence", "20%", "percentage", "Write 0.2"
    ),
    "not a number": Bad(
        OFFICE, "any,any,0.2,", "any,any,nan,", 2, "prevalence", "nan", "not a number", "0.05"
    ),
    "infinity": Bad(
        MEASUREMENTS, "C,<,60", "C,<,1e999", 2, "threshold", "1e999", "outside", "Write a number"
    ),
    "underscore in a number": Bad(
        MEASUREMENTS, "C,<,60", "C,<,6_0", 2, "threshold", "6_0", "not a number", "Write digits"
    ),
    "out of range": Bad(
        OFFICE,
        "any,any,0.2,",
        "any,any,20,",
        2,
        "prevalence",
        "20",
        "outside 0 to 1",
        "20 percent is 0.2",
    ),
    "negative": Bad(
        OFFICE, "any,any,0.2,", "any,any,-0.2,", 2, "prevalence", "-0.2", "outside 0 to 1", "0 to 1"
    ),
    "blank": Bad(OFFICE, "any,any,0.2,", "any,any,,", 2, "prevalence", None, "blank", "Fill it in"),
    "enum": Bad(
        OFFICE,
        "female,any,0.25",
        "femal,any,0.25",
        4,
        "sex",
        "femal",
        "any, female, male",
        "Write female",
    ),
    "id": Bad(ALIASES, "tepid,", "Not Hot,", 3, "alias", "Not Hot", "not an id", "Write not_hot"),
    "age band": Bad(
        DEMOGRAPHICS,
        "office,female,5+",
        "office,female,old",
        4,
        "age_band",
        "old",
        "not an age band",
        "18-39",
    ),
    "any age has no share": Bad(
        DEMOGRAPHICS,
        "office,female,5+",
        "office,female,any",
        4,
        "age_band",
        "any",
        "not one age band",
        "18-39",
    ),
    "age band backwards": Bad(
        DEMOGRAPHICS,
        "office,female,0-4",
        "office,female,4-0",
        2,
        "age_band",
        "4-0",
        "ends before",
        "Write 0-4",
    ),
    "year": Bad(
        SOURCES, "Bean A,2001,", "Bean A,2001.5,", 2, "year", "2001.5", "whole number", "decimals"
    ),
    "doi": Bad(
        SOURCES,
        "10.1234/jc.1",
        "https://doi.org/10.1234/jc.1",
        2,
        "doi_or_pmid",
        "https://doi.org/10.1234/jc.1",
        "neither a DOI nor a PMID",
        "10.1234/abcd",
    ),
    "url": Bad(
        SOURCES,
        "https://example.org/pumps",
        "example.org",
        3,
        "url",
        "example.org",
        "not a web address",
        "in full",
    ),
    "ragged long": Bad(
        MANAGEMENT,
        "Vinegar,",
        "Vinegar, hot,",
        2,
        None,
        None,
        "6 cells where the header has 5",
        "double quotes",
    ),
    "ragged short": Bad(
        MANAGEMENT,
        "Vinegar,Smells,bean2001descaling",
        "Vinegar",
        2,
        None,
        None,
        "3 cells where the header has 5",
        "missing commas",
    ),
    "unknown column": Bad(
        MANAGEMENT,
        "source\nlimescale,first,Vinegar,Smells,bean2001descaling",
        "source,remark\nlimescale,first,Vinegar,Smells,bean2001descaling,",
        1,
        "remark",
        "remark",
        "no such column",
        "columns are cause, line",
    ),
    "missing column": Bad(
        UNITS,
        "quantity,unit,factor,offset\ntemperature,F,0.5555555556,-17.7777777778",
        "quantity,unit,offset\ntemperature,F,0",
        1,
        "factor",
        None,
        "column is missing",
        "value * factor + offset",
    ),
    "duplicate column": Bad(
        MANAGEMENT,
        "source\nlimescale,first,Vinegar,Smells,bean2001descaling",
        "source,source\nlimescale,first,Vinegar,Smells,bean2001descaling,bean2001descaling",
        1,
        "source",
        None,
        "twice",
        "Remove one",
    ),
    "semicolons": Bad(
        MANAGEMENT,
        "cause,line,treatment,caveat,source",
        "cause;line;treatment;caveat;source",
        1,
        None,
        None,
        "semicolons",
        "commas",
    ),
    "open quote": Bad(
        MANAGEMENT, "Vinegar", '"Vinegar', 2, None, None, "cannot be read on", "Close the quoted"
    ),
}

MEANING = {
    "unknown cause": Bad(
        TASTE,
        "limescale,cold",
        "limescael,cold",
        3,
        "cause",
        "limescael",
        "not in causes.csv",
        "Write limescale",
    ),
    "alias used as an id": Bad(
        MANAGEMENT,
        "limescale,first",
        "scale_or_pump,first",
        2,
        "cause",
        "scale_or_pump",
        "not in causes.csv",
        "It is an alias: write limescale or pump_worn",
    ),
    "unknown source": Bad(
        MANAGEMENT,
        "bean2001descaling",
        "bean2001descalin",
        2,
        "source",
        "bean2001descalin",
        "not in sources.csv",
        "Write bean2001descaling",
    ),
    "second source unknown": Bad(
        OFFICE,
        "bean2001descaling;grind1999pumps",
        "bean2001descaling;zzz",
        6,
        "source",
        "zzz",
        "not in sources.csv",
        "Add a row to sources.csv",
    ),
    "unknown flag part": Bad(
        FLAGS,
        "cold;pump_worn",
        "cold;pump_wron",
        2,
        "any_of",
        "pump_wron",
        "not in findings.csv or causes.csv",
        "Write pump_worn",
    ),
    "unknown rule cause": Bad(
        WORKUP,
        "open_it,pump_worn",
        "open_it,pump",
        2,
        "cause",
        "pump",
        "not in causes.csv",
        "Write pump_worn",
    ),
    "alias to a cause as a finding": Bad(
        ALIASES,
        "cause,limescale;pump_worn",
        "cause,limescale;cold",
        2,
        "stands_for",
        "cold",
        "not in causes.csv",
        "Add a row",
    ),
    "alias clash": Bad(
        ALIASES, "tepid,", "cold,", 3, "alias", "cold", "already an id", "another id"
    ),
    "unknown quantity": Bad(
        UNITS,
        "temperature,F",
        "temperatur,F",
        2,
        "quantity",
        "temperatur",
        "not in measurements.csv",
        "Write temperature",
    ),
    "duplicate prior": Bad(
        OFFICE,
        "limescale,female,any",
        "limescale,any,any",
        4,
        "cause",
        "limescale, any, any",
        "repeats line 2",
        "Keep one row for each cause, sex, age_band",
    ),
    "duplicate across files": Bad(
        FLOW,
        "limescale,dripping,0.4,0.3,0.5,study,bean2001descaling,\n",
        "limescale,dripping,0.4,0.3,0.5,study,bean2001descaling,\n"
        "limescale,lukewarm,0.4,0.3,0.5,study,bean2001descaling,\n",
        None,
        "cause",
        "limescale, lukewarm",
        "repeats line",
        "Keep one row",
    ),
    "low above high": Bad(
        OFFICE,
        "0.2,0.15,0.25",
        "0.2,0.25,0.15",
        2,
        "low",
        "0.25",
        "above high (0.15)",
        "Write low 0.15 and high 0.25",
    ),
    "value below low": Bad(
        OFFICE,
        "0.2,0.15,0.25",
        "0.1,0.15,0.25",
        2,
        "low",
        "0.15",
        "above the prevalence (0.1)",
        "hold 0.1",
    ),
    "value above high": Bad(
        OFFICE,
        "0.2,0.15,0.25",
        "0.3,0.15,0.25",
        2,
        "high",
        "0.25",
        "below the prevalence (0.3)",
        "hold 0.3",
    ),
    "no width": Bad(
        OFFICE, "0.2,0.15,0.25", "0.2,0.2,0.2", 2, "low", "0.2", "certain", "95 % interval"
    ),
    "expert too sure below": Bad(
        OFFICE,
        "0.05,0.01,0.2",
        "0.05,0.02,0.2",
        5,
        "low",
        "0.02",
        "factor 3 in the odds below",
        "Write at most 0.0172",
    ),
    "expert too sure above": Bad(
        OFFICE,
        "0.05,0.01,0.2",
        "0.05,0.01,0.1",
        5,
        "high",
        "0.1",
        "factor 3 in the odds above",
        "Write at least 0.137",
    ),
    "study without source": Bad(
        OFFICE,
        "point,study,bean2001descaling",
        "point,study,",
        2,
        "source",
        None,
        "a study number has no source",
        "grade it expert",
    ),
    "source not to be found": Bad(
        SOURCES, "https://example.org/pumps", "", 3, "doi_or_pmid", None, "cannot be found", "DOI"
    ),
    "threshold of action": Bad(
        CAUSES,
        "cannot_miss,0.05",
        "cannot_miss,",
        3,
        "action_threshold",
        None,
        "has no threshold",
        "one would act",
    ),
    "self link": Bad(
        LINKS,
        "low_pressure,pump_worn",
        "pump_worn,pump_worn,0.5,0.3,0.7,study,bean2001descaling,\nlow_pressure,pump_worn",
        3,
        "cause",
        "pump_worn",
        "closes a cycle: pump_worn -> pump_worn",
        "Remove one",
    ),
    "implications in a circle": Bad(
        IMPLICATIONS,
        "cold,lukewarm,",
        "dripping,cold,\ncold,dripping,\ncold,lukewarm,",
        3,
        "implies",
        "dripping",
        "dripping -> cold -> dripping",
        "Remove one",
    ),
    "base in a circle": Bad(
        POPULATIONS,
        "office,Offices,,",
        "office,Offices,repair_shop,",
        3,
        "base",
        "office",
        "office -> repair_shop -> office",
        "Remove one",
    ),
    "shares": Bad(
        DEMOGRAPHICS,
        "office,male,5+,0.2",
        "office,male,5+,0.1",
        5,
        "share",
        "",
        "shares of office sum to 0.9",
        "sum to 1",
    ),
    "overlapping bands": Bad(
        DEMOGRAPHICS,
        "office,male,0-4",
        "office,male,0-5",
        5,
        "age_band",
        "5+",
        "overlaps 0-5",
        "one band",
    ),
    "prior for no stratum": Bad(
        OFFICE,
        "limescale,any,5+",
        "limescale,any,6+",
        3,
        "age_band",
        "6+",
        "no stratum any 6+",
        "female 5+",
    ),
    "overlay stratum": Bad(
        DEMOGRAPHICS,
        "office,male,5+,0.2\n",
        "office,male,5+,0.2\nrepair_shop,male,7-9,1\n",
        6,
        "age_band",
        "7-9",
        "office has no stratum male 7-9",
        "strata of the base",
    ),
    "no prevalence": Bad(
        OFFICE,
        "hard_water,any,any",
        "hard_water,any,5+",
        None,
        "cause",
        "hard_water",
        "no prevalence of it for female 0-4, male 0-4",
        "Add a row",
    ),
    "background band": Bad(
        BACKGROUNDS,
        "dripping,any,5+",
        "dripping,any,9+",
        2,
        "age_band",
        "9+",
        "band of no population",
        "0-4, 5+",
    ),
    "two units": Bad(
        MEASUREMENTS,
        "temperature,C,<,30",
        "temperature,K,<,30",
        3,
        "unit",
        "K",
        "differs from line 2",
        "Write C",
    ),
    "implausible threshold": Bad(
        MEASUREMENTS,
        "<,60,,",
        "<,600,,",
        2,
        "threshold",
        "600",
        "outside the plausible range",
        "Correct the threshold",
    ),
    "thresholds against implications": Bad(
        MEASUREMENTS,
        "<,60,,",
        "<,20,,",
        2,
        "threshold",
        "20",
        "stricter than cold",
        "Turn the implication round",
    ),
    "unit twice": Bad(
        UNITS, "temperature,F,", "temperature,C,", 2, "unit", "C", "itself", "Remove the row"
    ),
    "factor zero": Bad(
        UNITS, "F,0.5555555556", "F,0", 2, "factor", "0", "every value into one", "factor"
    ),
    "flag that never fires": Bad(
        FLAGS,
        "dripping,cold;pump_worn,hard_water",
        ",,",
        2,
        "all_of",
        None,
        "nothing would trigger",
        "Name the findings",
    ),
    "flag against itself": Bad(
        FLAGS,
        "cold;pump_worn,hard_water",
        "cold;pump_worn,dripping",
        2,
        "none_of",
        "dripping",
        "also asked",
        "once",
    ),
    "claim that nothing carries": Bad(
        CLAIMS,
        "likelihoods: limescale lukewarm",
        "",
        2,
        "carried_by",
        None,
        "nothing carries",
        "say why",
    ),
}


def errors(folder: Path) -> tuple[Problem, ...]:
    labels = (f"{folder}/priors", f"{folder}/evidence_tables")
    return check(collect(folder / "priors", folder / "evidence_tables", labels)).errors


def assert_found(problem: Problem, bad: Bad, folder: Path) -> None:
    if bad.line is not None:
        assert problem.file == str(folder / bad.file)
        assert problem.line == bad.line
    assert (problem.column, problem.value) == (bad.column, bad.value)
    assert bad.reason in problem.reason
    assert bad.repair in problem.repair


@pytest.mark.parametrize("name", SHAPE)
def test_shape(name: str, tmp_path: Path) -> None:
    bad = SHAPE[name]
    write(tmp_path, spoil(bad.file, bad.old, bad.new))
    found = [problem for problem in errors(tmp_path) if problem.kind == "shape"]
    assert len(found) == 1
    assert_found(found[0], bad, tmp_path)
    with pytest.raises(TableShapeError):
        read_tables(tmp_path / "priors", tmp_path / "evidence_tables")


@pytest.mark.parametrize("name", MEANING)
def test_meaning(name: str, tmp_path: Path) -> None:
    bad = MEANING[name]
    write(tmp_path, spoil(bad.file, bad.old, bad.new))
    found = errors(tmp_path)
    assert len(found) == 1, "\n".join(map(str, found))
    assert found[0].kind == "meaning"
    assert_found(found[0], bad, tmp_path)
    with pytest.raises(TableMeaningError):
        read_tables(tmp_path / "priors", tmp_path / "evidence_tables")


def test_the_example_is_sound(tmp_path: Path) -> None:
    write(tmp_path)
    report = check(collect(tmp_path / "priors", tmp_path / "evidence_tables", ("p", "e")))
    assert report.errors == ()
    assert report.warnings == ()


def test_all_problems_in_one_report(tmp_path: Path) -> None:
    changes = {
        **spoil(OFFICE, "any,any,0.2,", 'any,any,"0,2",'),
        **spoil(TASTE, "limescale,cold", "limescael,cold"),
        **spoil(FLOW, "study", "studdy"),
        MANAGEMENT: b"",
        SOURCES: COFFEE[SOURCES].encode("utf-16"),
    }
    write(tmp_path, changes)
    with pytest.raises(TableError) as caught:
        read_tables(tmp_path / "priors", tmp_path / "evidence_tables")
    places = {(Path(p.file).name, p.line, p.column) for p in caught.value.problems}
    assert places == {
        ("office.csv", 2, "prevalence"),
        ("taste.csv", 3, "cause"),
        ("flow.csv", 2, "grade"),
        ("management.csv", 1, None),
        ("sources.csv", 1, None),
    }


def test_one_row_with_several_problems_lists_them_all(tmp_path: Path) -> None:
    row = "limescale,lukewarm,0.6,0.5,0.7,study,bean2001descaling"
    write(tmp_path, spoil(TASTE, row, "limescael,lukewarm,x,0.7,0.5,studdy,nobody"))
    assert [problem.column for problem in errors(tmp_path)] == [
        "probability",
        "grade",
        "cause",
        "source",
    ]


def test_a_cycle_of_three_is_named(tmp_path: Path) -> None:
    more = (
        "hard_water,limescale,0.1,0.05,0.2,study,bean2001descaling,\n"
        "pump_worn,limescale,0.1,0.05,0.2,study,bean2001descaling,\n"
        "hard_water,pump_worn,0.1,0.05,0.2,study,bean2001descaling,\n"
    )
    write(tmp_path, {LINKS: COFFEE[LINKS] + more})
    reasons = [problem.reason for problem in errors(tmp_path)]
    assert reasons == [
        "closes a cycle: hard_water -> limescale -> hard_water",
        "closes a cycle: hard_water -> limescale -> pump_worn -> hard_water",
    ]


def test_a_syndrome_points_only_to_findings(tmp_path: Path) -> None:
    row = "hard_water,low_pressure,0.6,0.5,0.7,study,bean2001descaling,\n"
    write(tmp_path, {LINKS: COFFEE[LINKS] + row})
    (problem,) = errors(tmp_path)
    assert (problem.line, problem.column, problem.value) == (4, "given", "low_pressure")
    assert "only point to findings" in problem.reason


def test_a_cause_that_shows_in_nothing(tmp_path: Path) -> None:
    write(tmp_path, spoil(LINKS, "low_pressure,pump_worn,0.7,0.4,0.9,expert,,guess\n", ""))
    (problem,) = errors(tmp_path)
    assert (problem.line, problem.column, problem.value) == (3, "cause", "pump_worn")
    assert "shows in no finding" in problem.reason


def test_a_finding_without_a_cause(tmp_path: Path) -> None:
    write(tmp_path, spoil(TASTE, "limescale,cold,0.1,0.03,0.3,expert,,guess\n", ""))
    (problem,) = errors(tmp_path)
    assert Path(problem.file).name == "findings.csv"
    assert (problem.line, problem.column, problem.value) == (3, "finding", "cold")
    assert problem.reason == "has no cause"


def test_certain_by_definition_needs_no_width(tmp_path: Path) -> None:
    write(tmp_path, spoil(TASTE, "cold,0.1,0.03,0.3", "cold,0,0,0"))
    assert errors(tmp_path) == ()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (CAUSES, "causes.csv"),
        (SOURCES, "sources.csv"),
        (POPULATIONS, "populations.csv"),
        (OFFICE, "office.csv"),
    ],
)
def test_missing_file(name: str, what: str, tmp_path: Path) -> None:
    write(tmp_path, {name: None})
    found = [problem for problem in errors(tmp_path) if problem.reason == "no such file"]
    assert [Path(problem.file).name for problem in found] == [what]
    assert "with the columns" in found[0].repair


def test_optional_files_may_be_left_out(tmp_path: Path) -> None:
    optional = [
        BACKGROUNDS,
        MEASUREMENTS,
        UNITS,
        IMPLICATIONS,
        FLAGS,
        WORKUP,
        MANAGEMENT,
        CLAIMS,
        ALIASES,
    ]
    write(tmp_path, dict.fromkeys(optional))
    assert errors(tmp_path) == ()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TableShapeError, match="no such folder"):
        read_tables(tmp_path / "nowhere", tmp_path / "nothing")


def test_stray_file(tmp_path: Path) -> None:
    write(tmp_path, {"priors/ofice.csv": COFFEE[OFFICE]})
    (problem,) = errors(tmp_path)
    assert Path(problem.file).name == "ofice.csv"
    assert "office.csv" in problem.repair


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "column", "reason"),
    [
        (TASTE, "0.6,0.5,0.7", "0.1,0.05,0.7", 2, "probability", "does nothing"),
        (TASTE, "cold,0.1,0.03,0.3", "cold,0.7,0.4,0.9", 3, "probability", "lukewarm (0.6)"),
        (FINDINGS, "0.02,0.005,0.07", "0.2,0.05,0.5", 3, "background", "above that of lukewarm"),
        (FLOW, ",dripping,0.4", ",lukewarm,0.4", 2, "finding", "belongs to the theme taste"),
        (IMPLICATIONS, "cold,lukewarm,below 30 is below 60\n", "", 3, "finding", "not said to"),
        (OFFICE, "judgement,expert,,guess", "judgement,expert,,", 5, "note", "no note"),
        (DEMOGRAPHICS, "male,5+", "male,6+", None, "age_band", "gap after 0-4"),
        (
            OFFICE,
            "limescale,female,any,0.25,0.2,0.3",
            "limescale,any,0-4,0.12,0.1,0.2",
            2,
            "prevalence",
            "average to 0.26",
        ),
    ],
)
def test_warnings(
    file: str, old: str, new: str, line: int | None, column: str, reason: str, tmp_path: Path
) -> None:
    write(tmp_path, spoil(file, old, new))
    report = check(collect(tmp_path / "priors", tmp_path / "evidence_tables", ("p", "e")))
    found = [problem for problem in report.warnings if reason in problem.reason]
    assert found
    assert found[0].column == column
    assert line is None or found[0].line == line


def test_an_unused_source_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, {SOURCES: COFFEE[SOURCES] + "filter1980paper,Filter C,1980,Paper,,123456,,\n"})
    report = check(collect(tmp_path / "priors", tmp_path / "evidence_tables", ("p", "e")))
    assert report.errors == ()
    assert [(p.line, p.value) for p in report.warnings] == [(4, "filter1980paper")]


@pytest.mark.parametrize("garbage", ["", "?!", "-1", "x;;y"])
def test_no_cell_can_cause_anything_but_a_report(garbage: str, tmp_path: Path) -> None:
    write(tmp_path)
    for name, text in COFFEE.items():
        lines = text.splitlines()
        places = ((i, j) for i, row in enumerate(lines) for j in range(row.count(",") + 1))
        for line, column in places:
            cells = lines[line].split(",")
            cells[column] = garbage
            spoiled = [*lines[:line], ",".join(cells), *lines[line + 1 :]]
            (tmp_path / name).write_text("\n".join(spoiled))
            for problem in errors(tmp_path):
                assert problem.reason
                assert problem.repair
        (tmp_path / name).write_text(text)


@pytest.mark.parametrize("name", COFFEE)
@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"a,b\n1", b"\xef\xbb\xbf", b"x\n\n,,\n"])
def test_no_file_can_cause_anything_but_a_report(name: str, content: bytes, tmp_path: Path) -> None:
    write(tmp_path, {name: content})
    found = errors(tmp_path)
    assert any(Path(problem.file).name == Path(name).name for problem in found)
