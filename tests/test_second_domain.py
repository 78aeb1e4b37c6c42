"""Every command on another domain: no cause or finding is named in code."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from twitchdx import Engine
from twitchdx.cli import main
from twitchdx.tables import default_tables, read_tables

DOMAIN = Path(__file__).parent / "second_domain"
ENGINE = Path(__file__).parents[1] / "engine" / "twitchdx"
TOWN = ["--tables", str(DOMAIN), "--population", "town"]
CASE = ["--present", "throbbing,light_hurts", "--absent", "fever_today", "--age", "30"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_tables_are_clean_and_shown() -> None:
    assert "0 errors, 0 warnings" in run("tables", "check", str(DOMAIN), "--strict")


def test_no_number_of_it_claims_a_source() -> None:
    kb = read_tables(DOMAIN / "priors", DOMAIN / "evidence_tables")
    rows = [*kb.likelihoods, *kb.links, *kb.findings.values(), *kb.backgrounds]
    rows += [row for own in kb.priors.values() for row in own]
    assert {row.grade for row in rows} == {"expert"}
    assert all("invented" in row.note for row in rows)
    assert not kb.sources


def test_it_shares_no_id_with_the_shipped_tables() -> None:
    ours, other = default_tables(), read_tables(DOMAIN / "priors", DOMAIN / "evidence_tables")
    assert not set(ours.causes) & set(other.causes)
    assert not (set(ours.findings) & set(other.findings)) - {"vomiting"}


def test_the_answers_are_what_the_numbers_say() -> None:
    engine = Engine.from_tables(DOMAIN / "priors", DOMAIN / "evidence_tables", "night_clinic")
    hot = engine.diagnose({"crp": "21 mg/dL", "stiff_neck": True, "fever_today": True})
    assert hot.posterior.index[0] == "bacterial_meningitis"
    assert hot.probability("serious_headache") >= hot.posterior.iloc[0]
    assert [flag.flag for flag in hot.red_flags.patterns] == ["hot_and_stiff"]
    quiet = engine.diagnose({"pressing": True, "thunderclap_onset": False, "vomiting": False})
    assert quiet.posterior.index[0] == "tension_headache"


def test_diagnose() -> None:
    assert "igraine" in run("diagnose", *CASE, *TOWN)


def test_score_simulate_learn_validate(tmp_path: Path) -> None:
    scored = tmp_path / "scored.csv"
    run("score", str(DOMAIN / "vignettes.csv"), "-o", str(scored), *TOWN)
    with scored.open() as file:
        assert len(list(csv.DictReader(file))) == 8
    drawn = tmp_path / "drawn.csv"
    run("simulate", "-n", "60", "--seed", "2", "-o", str(drawn), *TOWN)
    run("learn", str(drawn), "-o", str(tmp_path / "learned.toml"), *TOWN)
    assert "prevalence" in (tmp_path / "learned.toml").read_text()
    out = run(
        "validate",
        str(DOMAIN / "vignettes.csv"),
        "-o",
        str(tmp_path / "report"),
        "--tables",
        str(DOMAIN),
        "--simulate",
        "300",
    )
    assert "8 vignettes of vignettes.csv" in out
    assert "town, all" in out
    assert "night_clinic, history" in out
    for name in ("report.html", "numbers.csv", "SUMMARY.md", "MISSES.md", "levels.svg"):
        assert (tmp_path / "report" / name).stat().st_size > 100


WOMAN = [*CASE, "--sex", "female"]
TARGET = ["--target", "migraine"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sensitivity", "tornado", *CASE, *TARGET, *TOWN],
        ["sensitivity", "one-way", *WOMAN, *TARGET, "--parameter", "migraine", *TOWN],
        [
            "sensitivity", "two-way", *WOMAN, *TARGET,
            "--parameter", "migraine", "--parameter", "tension_headache", *TOWN,
        ],
        ["sensitivity", "flips", *CASE, *TOWN],
        ["sensitivity", "bounds", *CASE, *TOWN],
        ["sensitivity", "probabilistic", *CASE, "--draws", "200", *TOWN],
        ["sensitivity", "sobol", *CASE, *TARGET, "--draws", "64", *TOWN],
        ["sensitivity", "worth-knowing", *CASE, *TOWN],
        ["sensitivity", "compare", *CASE, "--with", "night_clinic", *TOWN],
        ["sensitivity", "new-priors", "migraine", *TOWN],
        ["report", *CASE, *TOWN, "-o", "{tmp}/case.html"],
        ["diagnose", *CASE, *TOWN, "--explain", "migraine", "--intervals"],
        ["tables", "show", "migraine", "--tables", str(DOMAIN)],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)  # fmt: skip
def test_the_other_commands(arguments: list[str], tmp_path: Path) -> None:
    assert run(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))


def test_interview() -> None:
    result = CliRunner().invoke(main, ["interview", *CASE, *TOWN], input="n\n" * 30)
    assert result.exit_code == 0, result.output
    assert "igraine" in result.output


def test_code_names_no_cause_or_finding() -> None:
    """Outside docstrings and examples, no shipped id is written in the package."""
    kb = default_tables()
    ids = {*kb.causes, *kb.findings}
    named = []
    for path in sorted(ENGINE.rglob("*.py")):
        if path.parent.name in ("priors", "evidence_tables", "likelihoods"):
            continue
        text = re.sub(r'"""[\s\S]*?"""', "", path.read_text(encoding="utf-8"))
        found = {word for word in re.findall(r"[\"']([a-z][a-z0-9_]+)[\"']", text) if word in ids}
        named += [(path.name, word) for word in sorted(found)]
    # ids that are plain words of the program too
    assert [pair for pair in named if "_" in pair[1]] == []
