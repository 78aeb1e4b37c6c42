"""The README: its example runs as printed, its computed parts are current, its command is CI's."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_prints_what_it_says():
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    parser = doctest.DocTestParser()
    examples = "\n".join(blocks("python"))
    test = parser.get_doctest(examples, {}, "README", "README.md", 0)
    assert len(test.examples) >= 5
    assert runner.run(test).failed == 0


def test_ci_runs_the_readmes_own_test_command():
    commands = [b.strip() for b in blocks("sh") if "pytest" in b]
    assert commands
    assert commands[0] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_computed_parts_are_current():
    path = ROOT / "validation" / "readme.py"
    spec = importlib.util.spec_from_file_location("readme", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.refreshed(README) == README


def test_linked_files_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    links += re.findall(r"`((?:validation|priors|evidence_tables|engine)/[\w/.]+)`", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
