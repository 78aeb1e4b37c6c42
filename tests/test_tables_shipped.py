"""The tables that ship: sound, traceable, and described as they are."""

from __future__ import annotations

from importlib.resources import files

import pytest

from twitchdx.tables import default_tables
from twitchdx.tables.check import check
from twitchdx.tables.dictionary import data_dictionary
from twitchdx.tables.knowledge import collect_default
from twitchdx.tables.provenance import trace


def test_sound() -> None:
    errors = check(collect_default()).errors
    assert errors == (), "\n".join(map(str, errors))


def test_traceable() -> None:
    problems = trace(collect_default()).problems
    assert problems == (), "\n".join(map(str, problems))


def test_breadth() -> None:
    knowledge = default_tables()
    assert len(knowledge.causes) - len(knowledge.syndromes) >= 38
    assert len(knowledge.findings) >= 85
    assert len(knowledge.likelihoods) >= 450
    assert default_tables() is knowledge


@pytest.mark.parametrize("folder", ["priors", "evidence_tables"])
def test_the_data_dictionary_is_current(folder: str) -> None:
    page = files(f"twitchdx.{folder}").joinpath("DATA_DICTIONARY.md").read_text(encoding="utf-8")
    assert page == data_dictionary(folder), f"run: twitchdx tables dictionary {folder}"  # type: ignore[arg-type]
