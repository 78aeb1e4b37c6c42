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
    assert json.loads((tmp_path / "result.json").read_text())


def test_mistakes_are_told(tables, tmp_path):
    assert "did you mean" in run(tables, "tornado", *CASE, "-t", "limescal", fails=True)
    assert "does not end in" in run(tables, "tornado", *CASE, "-o", "t.doc", fails=True)
    assert "CAUSE=P" in run(tables, "flips", *CASE, "--threshold", "limescale", fails=True)
    assert "twice" in run(tables, "two-way", *CASE, "--parameter", "pump_worn", fails=True)


def test_new_priors_can_be_used_at_once(tables, tmp_path):
    file = tmp_path / "mine.toml"
    run(tables, "new-priors", "limescale", "-o", str(file))
    assert "limescale" in file.read_text()
    run(tables, "tornado", *CASE, "--priors", str(file))
    assert "exists" in run(tables, "new-priors", "limescale", "-o", str(file), fails=True)
