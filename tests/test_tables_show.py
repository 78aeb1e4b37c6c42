"""The commands of `twitchdx tables`: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from table_examples import COFFEE, spoil, write
from twitchdx.cli import main
from twitchdx.errors import UnknownIdError
from twitchdx.tables import read_tables
from twitchdx.tables.provenance import trace
from twitchdx.tables.read import collect
from twitchdx.tables.show import describe


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["tables", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_check_sums_up_sound_tables(tmp_path: Path) -> None:
    result = run("check", write(tmp_path), "--no-model")
    assert result.exit_code == 0
    assert "3 causes, 1 syndrome, 3 findings, 4 likelihood rows, 2 links" in result.output
    assert "0 errors, 0 warnings" in result.output


def test_check_builds_the_network_of_each_population(tmp_path: Path) -> None:
    row = "limescale,hard_water,0.99,0.9,1,study,bean2001descaling,"
    write(tmp_path, spoil("priors/links.csv", COFFEE["priors/links.csv"].splitlines()[1], row))
    result = run("check", tmp_path)
    assert result.exit_code == 1
    assert "line 4, prevalence: '0.25' is less than what the links to limescale" in result.output
    assert "2 errors, 0 warnings" in result.output


def test_check_names_rows_that_links_already_explain(tmp_path: Path) -> None:
    row = "pump_worn,dripping,0.3,0.2,0.4,study,bean2001descaling,\n"
    name = "evidence_tables/likelihoods/flow.csv"
    result = run("check", write(tmp_path, {name: COFFEE[name] + row}))
    assert result.exit_code == 0
    assert "line 4, probability: '0.3' is already reached" in result.output
    assert "0 errors, 1 warning" in result.output


def test_check_groups_problems_by_file_and_fails(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            **spoil("priors/office.csv", "any,any,0.2,0.15", 'any,any,"0,2",15%'),
            **spoil("evidence_tables/management.csv", "limescale", "limescael"),
        },
    )
    result = run("check", tmp_path)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines == [
        f"{tmp_path}/evidence_tables/management.csv",
        "  error line 2, cause: 'limescael' is not in causes.csv. "
        "Write limescale, or add a row to causes.csv.",
        f"{tmp_path}/priors/office.csv",
        "  error line 2, prevalence: '0,2' has a decimal comma. Write 0.2.",
        "  error line 2, low: '15%' is a percentage. Write 0.15.",
        "3 errors, 0 warnings",
    ]


def test_warnings_fail_only_when_strict(tmp_path: Path) -> None:
    write(tmp_path, spoil("evidence_tables/likelihoods/flow.csv", "0.4,0.3", "0.05,0.01"))
    assert run("check", tmp_path, "--no-model").exit_code == 0
    assert run("check", tmp_path, "--no-model", "--strict").exit_code == 1
    (problem,) = json.loads(run("check", tmp_path, "--no-model", "--json").output)
    assert (problem["level"], problem["column"]) == ("warning", "probability")


def test_check_of_an_empty_folder(tmp_path: Path) -> None:
    result = run("check", tmp_path)
    assert result.exit_code == 1
    assert "no such folder" in result.output


def test_digest_and_export(tmp_path: Path) -> None:
    write(tmp_path)
    digest = run("digest", tmp_path).output.strip()
    exported = json.loads(run("export", tmp_path).output)
    assert exported["digest"] == digest
    assert len(exported["priors"]) == 7
    assert exported["priors"][6]["population"] == "repair_shop"


def test_show_a_cause(tmp_path: Path) -> None:
    result = run("show", "limescale", "--tables", write(tmp_path))
    assert result.exit_code == 0
    text = result.output
    assert max(len(line) for line in text.splitlines()) <= 80
    for part in (
        "Limescale (limescale)",
        "Scale in the boiler now",
        "scale_or_pump",
        "office, female (point)",
        "hard_water",
        "0.3–0.5",
        "Vinegar (Smells)",
        "c1: Scale cools coffee",
        "[1] Bean A (2001). Descaling. J Coffee.",
    ):
        assert part in text


def test_show_a_finding(tmp_path: Path) -> None:
    text = run("show", "cold", "--tables", write(tmp_path)).output
    assert "present when temperature < 30 C" in text
    assert "Implies" in text
    assert "guess" in text
    assert "urgent: No coffee." in text


def test_show_an_alias_shows_its_parts(tmp_path: Path) -> None:
    text = run("show", "scale_or_pump", "--tables", write(tmp_path)).output
    assert "scale_or_pump stands for limescale, pump_worn" in text
    assert "Limescale (limescale)" in text
    assert "Worn pump (pump_worn)" in text
    assert "act above 0.05" in text


def test_show_a_quantity_shows_its_findings(tmp_path: Path) -> None:
    text = run("show", "temperature", "--tables", write(tmp_path)).output
    assert "(lukewarm)" in text
    assert "(cold)" in text


def test_show_as_data(tmp_path: Path) -> None:
    data = json.loads(run("show", "dripping", "--tables", write(tmp_path), "--json").output)
    assert data["node"] == "finding"
    assert [(row["cause"], row["probability"]) for row in data["shown_by"]] == [
        ("low_pressure", 0.8),
        ("limescale", 0.4),
    ]
    assert [row["background"] for row in data["backgrounds"]] == [0.05, 0.08]
    assert data["shown_by"][0]["line"] == 3
    assert data["sources"]["grind1999pumps"]["year"] == 1999


def test_show_something_unknown(tmp_path: Path) -> None:
    result = run("show", "drippin", "--tables", write(tmp_path))
    assert result.exit_code == 1
    assert result.output.startswith("Error: unknown cause or finding 'drippin'; did you mean")
    knowledge = read_tables(tmp_path / "priors", tmp_path / "evidence_tables")
    with pytest.raises(UnknownIdError):
        describe(knowledge, "drippin")


def test_provenance_of_sound_tables(tmp_path: Path) -> None:
    result = run("provenance", write(tmp_path), "--bibliography")
    assert result.exit_code == 0
    assert "8  Bean A (2001). Descaling. J Coffee. https://doi.org/10.1234/jc.1" in result.output
    assert "10 ( 59%)" in result.output


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("priors/office.csv", "point,study,bean2001descaling", "point,study,", "has no source"),
        ("priors/office.csv", "judgement,expert,,guess", "judgement,expert,,", "has no note"),
        ("priors/office.csv", "0.05,0.01,0.2", "0.05,0.04,0.2", "factor 3 in the odds below"),
        ("evidence_tables/sources.csv", "Grind B,1999", ",1999", "blank"),
        ("evidence_tables/sources.csv", "Grind B,1999", "Grind B,", "blank"),
        ("evidence_tables/sources.csv", "https://example.org/pumps", "", "cannot be found"),
        (
            "evidence_tables/sources.csv",
            ",https://example.org/pumps",
            "10.1234/JC.1,",
            "also the address of bean2001descaling",
        ),
        (
            "evidence_tables/sources.csv",
            "10.1234/jc.1,,\n",
            "10.1234/jc.1,,\nfilter1980paper,Filter C,1980,Paper,,123456,,\n",
            "cited nowhere",
        ),
    ],
)
def test_provenance_names_what_cannot_be_traced(
    name: str, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    write(tmp_path, spoil(name, old, new))
    traced = trace(collect(tmp_path / "priors", tmp_path / "evidence_tables", ("p", "e")))
    assert [reason in problem.reason for problem in traced.problems] == [True]
    assert run("provenance", tmp_path).exit_code == 1
