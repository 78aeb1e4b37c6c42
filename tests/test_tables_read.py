"""Reading files as spreadsheets leave them, and joining rows into a knowledge base."""

from __future__ import annotations

import pickle
import random
import time
from pathlib import Path

import pytest

from table_examples import COFFEE, spoil, write
from twitchdx.errors import UnknownIdError
from twitchdx.tables import KnowledgeBase, read_tables
from twitchdx.tables.read import read_rows
from twitchdx.tables.schema import TABLES, Implication, Likelihood, Source

HEAD = "finding,implies,note\n"


def load(folder: Path) -> KnowledgeBase:
    return read_tables(folder / "priors", folder / "evidence_tables")


def places(content: str | bytes) -> list[tuple[int, str]]:
    data = content.encode() if isinstance(content, str) else content
    rows, problems = read_rows(data, "i.csv", Implication)
    assert problems == []
    return [(row.where.line, row.cells()["finding"]) for row in rows]


@pytest.mark.parametrize(
    "content",
    [
        HEAD + "a,b,\n\n\nc,d,x\n",
        (HEAD + "a,b,\n\n,,\nc,d,x").replace("\n", "\r\n"),
        "\ufeff" + HEAD + "a,b,\n  ,,\n\nc , d,x\n",
        "\r\n".join([HEAD.strip(), "a,b,", "", "", "c,d,x"]),
        HEAD + 'a,b,\n\n\n"c","d","x, y"\n',
    ],
    ids=["blank lines", "windows", "byte order mark", "no last line end", "quoted"],
)
def test_lines_are_those_an_editor_shows(content: str) -> None:
    assert places(content) == [(2, "a"), (5, "c")]


def test_a_line_break_in_a_quoted_cell_does_not_shift_later_lines() -> None:
    assert places(HEAD + 'a,b,"two\nlines"\nc,d,\n') == [(2, "a"), (4, "c")]
    assert places((HEAD + 'a,b,"two\nlines"\nc,d,\n').replace("\n", "\r\n")) == [(2, "a"), (4, "c")]


def test_columns_in_another_order() -> None:
    rows, problems = read_rows(b"note,implies,finding\nx,b,a\n", "i.csv", Implication)
    assert problems == []
    assert rows[0].cells() == {"finding": "a", "implies": "b", "note": "x"}


def test_wrong_encoding_names_the_line() -> None:
    data = (HEAD + "a,b,plain\nc,d,na\u00efve\n").encode("latin-1")
    rows, problems = read_rows(data, "i.csv", Implication)
    assert rows == []
    assert [(p.line, p.reason, p.repair) for p in problems] == [
        (3, "is not UTF-8", "Save the file as UTF-8")
    ]


def test_empty_and_header_only() -> None:
    _, problems = read_rows(b"\n\n", "i.csv", Implication)
    assert [p.repair for p in problems] == ["Begin it with finding,implies,note"]
    assert read_rows(HEAD.encode(), "i.csv", Implication) == ([], [])


def test_misspelt_column_is_paired_with_the_missing_one() -> None:
    _, problems = read_rows(b"finding,implys,note\na,b,\n", "i.csv", Implication)
    assert [(p.column, p.reason, p.repair) for p in problems] == [
        ("implys", "no such column", "Write implies")
    ]


def test_values_arrive_as_what_they_are() -> None:
    data = b"source,authors,year,title,journal,doi_or_pmid,url,note\na,A B,2001,T,,PMID 123,,\n"
    rows, problems = read_rows(data, "s.csv", Source)
    assert problems == []
    assert rows[0].cells() == {
        "source": "a",
        "authors": "A B",
        "year": 2001,
        "title": "T",
        "journal": None,
        "doi_or_pmid": "PMID 123",
        "url": None,
        "note": None,
    }


def test_fifteen_hundred_rows_are_read_quickly() -> None:
    head = ",".join(Likelihood.columns())
    body = "".join(
        f"cause_{i % 40},finding_{i // 40},0.5,0.2,0.8,study,a2000b;c2001d,note\n"
        for i in range(1500)
    )
    started = time.perf_counter()
    rows, problems = read_rows(f"{head}\n{body}".encode(), "l.csv", Likelihood)
    assert len(rows) == 1500
    assert problems == []
    assert time.perf_counter() - started < 1.0


# --- the knowledge base -------------------------------------------------------------------------


@pytest.fixture
def knowledge(tmp_path: Path) -> KnowledgeBase:
    return load(write(tmp_path))


def test_joined_by_id(knowledge: KnowledgeBase) -> None:
    assert list(knowledge.causes) == ["limescale", "pump_worn", "hard_water", "low_pressure"]
    assert knowledge.syndromes == {"low_pressure"}
    assert {(r.cause, r.finding): r.probability for r in knowledge.likelihoods}[
        "low_pressure", "dripping"
    ] == 0.8
    assert knowledge.red_flags["no_coffee"].any_of == ("cold", "pump_worn")
    assert knowledge.links[0].where.line == 2
    assert [row.threshold for row in knowledge.quantities["temperature"]] == [60, 30]
    assert knowledge.sources["bean2001descaling"].year == 2001


@pytest.mark.parametrize(
    ("sex", "age_band", "prevalence"),
    [("male", "0-4", 0.2), ("female", "0-4", 0.25), ("male", "5+", 0.4), ("female", "5+", 0.4)],
)
def test_the_most_specific_row_wins(
    knowledge: KnowledgeBase, sex: str, age_band: str, prevalence: float
) -> None:
    row = knowledge.prior_row("office", "limescale", sex, age_band)
    assert row is not None
    assert row.prevalence == prevalence


def test_sex_and_age_win_over_age(tmp_path: Path) -> None:
    more = "limescale,female,5+,0.45,0.4,0.5,point,study,bean2001descaling,\n"
    knowledge = load(write(tmp_path, {"priors/office.csv": COFFEE["priors/office.csv"] + more}))
    row = knowledge.prior_row("office", "limescale", "female", "5+")
    assert row is not None
    assert row.prevalence == 0.45


def test_an_overlay_falls_back_to_its_base(knowledge: KnowledgeBase) -> None:
    worn = knowledge.prior_row("repair_shop", "pump_worn", "male", "5+")
    scale = knowledge.prior_row("repair_shop", "limescale", "male", "5+")
    assert worn is not None
    assert scale is not None
    assert (worn.population, worn.prevalence) == ("repair_shop", 0.3)
    assert (scale.population, scale.prevalence) == ("office", 0.4)
    assert knowledge.base_chain("repair_shop") == ("repair_shop", "office")
    assert knowledge.strata("repair_shop") == knowledge.strata("office")
    assert len(knowledge.strata("office")) == 4


def test_backgrounds_by_stratum(knowledge: KnowledgeBase) -> None:
    assert knowledge.background_row("dripping", "male", "5+").background == 0.08
    assert knowledge.background_row("dripping", "male", "0-4").background == 0.05


def test_aliases(knowledge: KnowledgeBase) -> None:
    assert knowledge.stands_for("limescale") == ("limescale",)
    assert knowledge.stands_for("scale_or_pump") == ("limescale", "pump_worn")
    with pytest.raises(UnknownIdError, match="did you mean limescale"):
        knowledge.stands_for("limscale")
    with pytest.raises(UnknownIdError, match="unknown population"):
        knowledge.strata("offices")
    assert knowledge.nearest("temperatur") == ("temperature",)


def test_frozen(knowledge: KnowledgeBase) -> None:
    with pytest.raises(AttributeError):
        knowledge.links = ()  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        knowledge.links[0].probability = 0.5


def test_it_travels_between_processes(knowledge: KnowledgeBase) -> None:
    assert pickle.loads(pickle.dumps(knowledge)).digest == knowledge.digest


def test_digest_is_of_the_content_alone(knowledge: KnowledgeBase, tmp_path: Path) -> None:
    shuffled: dict[str, str | bytes | None] = {}
    for name, text in COFFEE.items():
        head, *rows = text.splitlines()
        random.Random(3).shuffle(rows)
        shuffled[name] = "\ufeff" + "\r\n".join([head, "", *rows, ""])
    assert load(write(tmp_path / "again", shuffled)).digest == knowledge.digest


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("priors/office.csv", "0.05,0.01", "0.051,0.01"),
        ("priors/links.csv", "0.45,0.3,0.6", "0.45,0.3,0.61"),
        ("evidence_tables/management.csv", "Smells", "Stinks"),
    ],
)
def test_digest_changes_with_any_cell(
    knowledge: KnowledgeBase, tmp_path: Path, name: str, old: str, new: str
) -> None:
    assert load(write(tmp_path / "again", spoil(name, old, new))).digest != knowledge.digest


def test_digest_tells_populations_apart(knowledge: KnowledgeBase, tmp_path: Path) -> None:
    row = "pump_worn,any,any,0.3,0.2,0.4,case_mix,study,grind1999pumps,\n"
    head = COFFEE["priors/repair_shop.csv"].splitlines()[0] + "\n"
    both = COFFEE["priors/populations.csv"] + "shed,Shed,office,,Machines in sheds,\n"
    one = load(
        write(
            tmp_path / "one",
            {
                "priors/populations.csv": both,
                "priors/shed.csv": head,
            },
        )
    )
    other = load(
        write(
            tmp_path / "other",
            {
                "priors/populations.csv": both,
                "priors/shed.csv": head + row,
                "priors/repair_shop.csv": head,
            },
        )
    )
    assert one.digest != other.digest


def test_every_column_is_described() -> None:
    for table in TABLES.values():
        for column in table.row.columns():
            assert table.row.model_fields[column].description, f"{table.name}.{column}"
