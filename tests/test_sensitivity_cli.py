"""`twitchdx sensitivity`: tables, figures and messages."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import table_examples
from sensitivity_examples import MORE
from twitchdx.cli import main

CASE = ["-p", "lukewarm,dripping", "--age", "30", "--sex", "male"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    changes = {name: table_examples.COFFEE[name] + more for name, more in MORE.items()}
    return str(table_examples.write(tmp_path_factory.mktemp("coffee"), changes))


def run(tables, name, *options, fails=False):
    engine = ["--tables", tables, "--population", "office"]
    result = CliRunner().invoke(main, ["sensitivity", name, *engine, *options])
    assert (result.exit_code != 0) == fails, result.output
    return result.output


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one-way", ["--parameter", "pump_worn"]),
        ("tornado", ["--parameters", "all"]),
        ("tornado", ["--odds", "2", "--apart"]),
        ("two-way", ["--parameter", "pump_worn", "--parameter", "hard_water"]),
        ("flips", []),
        ("flips", ["--order", "pump_worn,limescale"]),
        ("flips", ["--threshold", "limescale=0.9"]),
        ("flips", ["--jointly"]),
        ("bounds", []),
        ("probabilistic", ["--draws", "100", "--seed", "1"]),
        ("sobol", ["--draws", "16"]),
        ("worth_knowing", ["--draws", "200"]),
        ("compare", ["--with", "repair_shop", "--with", "pump_worn=0.4"]),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_command_prints_and_writes_tables_and_figures(tables, tmp_path, name, options):
    assert run(tables, name, *CASE, *options).strip()
    for suffix in ("csv", "json", "png"):
        file = tmp_path / f"result.{suffix}"
        run(tables, name, *CASE, *options, "-o", str(file))
        assert file.stat().st_size > 100
    made = json.loads((tmp_path / "result.json").read_text())
    assert made["command"] == f"sensitivity {name.replace('_', '-')}"
    assert made["case"]["observed"][0]["node"] == "lukewarm"
    assert made["population"] == "office"
    assert len(made["tables"]) >= 12
    assert made["rows"]


def test_mistakes_are_told(tables, tmp_path):
    assert "did you mean" in run(tables, "tornado", *CASE, "-t", "limescal", fails=True)
    assert "does not end in" in run(tables, "tornado", *CASE, "-o", "t.doc", fails=True)
    assert "CAUSE=P" in run(tables, "flips", *CASE, "--threshold", "limescale", fails=True)
    assert "twice" in run(tables, "two-way", *CASE, "--parameter", "pump_worn", fails=True)


@pytest.mark.parametrize(
    ("name", "options", "keys"),
    [
        ("probabilistic", ["--draws", "100"], ["ranks", "convergence", "leading_unchanged"]),
        ("tornado", [], ["spread", "target", "posterior"]),
        ("bounds", [], ["corners", "parameters"]),
        ("flips", ["--jointly"], ["distance", "proven_below", "angle", "gap", "question"]),
        ("two-way", ["--parameter", "pump_worn", "--parameter", "hard_water"], ["coefficients"]),
        ("sobol", ["--draws", "16"], ["variance", "left_out", "draws", "seed"]),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_json_carries_all_of_a_result(tables, tmp_path, name, options, keys):
    file = tmp_path / "result.json"
    run(tables, name, *CASE, *options, "-o", str(file))
    made = json.loads(file.read_text())
    assert not [key for key in keys if made.get(key) in (None, "", [], {})]


@pytest.fixture
def vignettes(tmp_path):
    file = tmp_path / "cohort.csv"
    file.write_text(
        "vignette_id,age,lukewarm,dripping\na,30,present,present\nb,30,perhaps,absent\n"
        "c,30,absent,present\n"
    )
    return str(file)


@pytest.mark.parametrize(
    ("name", "options"), [("tornado", []), ("probabilistic", ["--draws", "20"])]
)
def test_cohorts_say_who_was_left_out_and_why(tables, tmp_path, vignettes, name, options):
    told = run(tables, name, "--vignettes", vignettes, *options)
    assert "(1 left out)" in told
    assert "vignettes in = answered + left out: 3 = 2 + 1" in told
    assert "line 3, vignette b, column lukewarm: 'perhaps'" in told
    file = tmp_path / "result.json"
    run(tables, name, "--vignettes", vignettes, *options, "-o", str(file))
    made = json.loads(file.read_text())
    assert (made["vignettes"], made["skipped"], made["vignettes_file"]) == (2, 1, vignettes)
    assert made["left_out"][0]["vignette_id"] == "b"
    run(tables, name, "--vignettes", vignettes, *options, "-o", str(tmp_path / "result.png"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--present", "cold"], "--present: not with --vignettes"),
        (["--age", "30"], "--age: not with --vignettes"),
        (["--apart"], "--apart: not with --vignettes"),
        (["--odds", "0.5"], "finite and greater than 1"),
        (["--odds", "inf"], "finite and greater than 1"),
        (["--parameters", "foo"], "unknown parameter 'foo'"),
        (["--parameters", ""], "names nothing"),
    ],
)
def test_what_does_not_go_with_a_cohort_is_refused(tables, vignettes, options, message):
    assert message in run(tables, "tornado", "--vignettes", vignettes, *options, fails=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tornado", ["-o", "{}/none/t.csv"], "there is no folder"),
        ("tornado", ["-o", "{}/none/t.png"], "there is no folder"),
        ("tornado", ["--mapping", "m.toml"], "--mapping: only with --vignettes"),
        ("new-priors", ["-o", "{}/none/t.toml"], "there is no folder"),
        ("probabilistic", ["--seed", "-1"], "--seed"),
        ("flips", ["--order", "limescale,limescale"], "itself is no question"),
        ("flips", ["--absent", "limescale", "--order", "limescale,pump_worn"], "was observed"),
        ("two-way", ["--parameter", "pump_worn"] * 1 + ["--parameter", "pump_worn"], "named twice"),
        ("compare", ["--with", "repair_shp"], "did you mean repair_shop?"),
        ("compare", ["--with", "limescale"], "limescale=P"),
        ("tornado", ["--priors", "limescale"], "limescale=P"),
        ("tornado", ["--priors", "limescale=0.4", "--priors", "limescale=0.5"], "more than once"),
    ],
)
def test_questions_without_a_meaning_are_refused(tables, tmp_path, name, options, message):
    case = ["limescale"] if name == "new-priors" else CASE
    given = [option.format(tmp_path) for option in options]
    told = run(tables, name, *case, *given, fails=True)
    assert message in told
    assert "Traceback" not in told


def test_a_warning_of_a_prior_set_names_no_place_in_our_code(tables, tmp_path):
    file = tmp_path / "old.toml"
    file.write_text(
        'name = "a"\nreason = "b"\nreference = "c"\ntables = "0123456789abcdef"\n'
        '[[change]]\ncause = "limescale"\nprevalence = 0.4\n'
    )
    for options in (["--priors", str(file)], ["--with", str(file)]):
        other = [] if options[0] == "--with" else ["--with", "repair_shop"]
        told = run(tables, "compare", *CASE, *options, *other)
        assert "Warning: prior set a was made for other tables" in told
        assert ".py" not in told
    assert "office, changed" in run(
        tables, "compare", *CASE, "--priors", "limescale=0.4", "--with", "repair_shop"
    )


def test_tables_fit_80_columns(tables, vignettes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = run(tables, "two-way", *CASE, "--parameter", "pump_worn", "--parameter", "hard_water")
    assert "x: P(pump_worn)" in told
    table = [line for line in told.splitlines() if line.lstrip()[:2] in ("0.", "1.", "1e")]
    assert len(table) == 5  # values of y, each with a posterior for five values of x
    assert all(len(line.replace("*", "").split()) == 6 for line in table)
    tornado = run(tables, "tornado", *CASE)
    assert " to " in tornado.split("rank", 1)[1]
    assert "limescale" in run(tables, "bounds", *CASE)
    assert "*" in run(tables, "compare", *CASE, "--with", "repair_shop")


def test_new_priors_can_be_used_at_once(tables, tmp_path):
    file = tmp_path / "mine.toml"
    run(tables, "new-priors", "limescale", "-o", str(file))
    assert "limescale" in file.read_text()
    run(tables, "tornado", *CASE, "--priors", str(file))
    assert "exists" in run(tables, "new-priors", "limescale", "-o", str(file), fails=True)


def test_tables_show_says_why_it_takes_no_prior_set(tables):
    told = CliRunner().invoke(main, ["tables", "show", "limescale", "--priors", "limescale=0.4"])
    assert told.exit_code == 2
    assert "a prior set changes no table" in told.output
    assert "0.4" in run(tables, "new-priors", "limescale", "--priors", "limescale=0.4")
