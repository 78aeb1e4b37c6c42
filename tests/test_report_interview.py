"""The interview in the terminal, answered by a script."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import table_examples
from twitchdx.cli import main


@pytest.fixture(scope="module")
def folder() -> str:
    return str(table_examples.write(Path(tempfile.mkdtemp())))


def interview(folder: str, typed: str, *options: str) -> Result:
    common = ["interview", "--tables", folder, "--population", "office", "--kinds", "all"]
    result = CliRunner().invoke(main, [*common, *options], input=typed)
    assert result.exit_code == 0, result.output
    return result


def asked(result: Result) -> list[str]:
    return re.findall(r"^(.+\?) \[y/n/u/b/q\]", result.stdout, re.M)


def test_it_asks_answers_and_ends_with_the_report(folder):
    result = interview(folder, "y\ny\ny\ny\n")
    assert asked(result)
    assert len(asked(result)) == len(set(asked(result)))
    assert "# A person of unknown age and sex" in result.stdout
    assert "Differential" in result.stdout
    assert re.search(r"\d asked, \d answered\.", result.stdout)


def test_quit_ends_at_once_with_the_report(folder):
    result = interview(folder, "q\n")
    assert len(asked(result)) == 1
    assert "0 asked, 0 answered" in result.stdout
    assert "## Differential" in result.stdout


def test_the_end_of_input_is_a_quit(folder):
    assert "## Differential" in interview(folder, "").stdout


def test_back_asks_the_same_again(folder):
    result = interview(folder, "b\nn\nb\nq\n")
    questions = asked(result)
    assert questions[0] == questions[1] == questions[3]
    assert "Nothing to take back." in result.stdout
    assert "Taken back" in result.stdout
    assert "0 asked" in result.stdout


def test_unknown_is_not_asked_again_and_changes_nothing(folder):
    result = interview(folder, "u\n\n?\nu\nu\n")
    assert len(asked(result)) == len(set(asked(result)))
    states = re.findall(r"^Limescale .*$|^.*Limescale \d.*%.*;.*$", result.stdout, re.M)
    assert len(set(states)) == 1
    assert "0 answered" in result.stdout


def test_other_answers_are_explained(folder):
    result = interview(folder, "perhaps\nq\n")
    assert "y yes, n no, u not known, b back, q quit" in result.stdout


def test_at_most_so_many_questions(folder):
    result = interview(folder, "n\nn\nn\n", "--most", "1")
    assert len(asked(result)) == 1
    assert "most questions that were allowed" in result.stdout


def test_what_was_given_at_the_start_is_not_asked(folder):
    result = interview(folder, "u\nu\nu\nu\n", "-p", "lukewarm", "-m", "temperature=20")
    assert "Warm?" not in asked(result)
    assert "Cold?" not in asked(result)
    assert "- Cold: present (from temperature=20)" in result.stdout


def test_the_report_may_go_to_a_file(folder, tmp_path):
    target = tmp_path / "case.html"
    result = interview(folder, "q\n", "-o", str(target))
    assert "written" in result.stdout
    assert "## Differential" not in result.stdout
    assert target.read_text().startswith("<!doctype html>")
