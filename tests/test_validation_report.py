"""The report on published cases: what is committed is what a rerun gives, and reads well."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from twitchdx import Engine
from twitchdx.validation.cases import LEVELS, read_cases, read_vignettes
from twitchdx.validation.evaluate import RANKINGS, make_task, score_task
from twitchdx.validation.models import COMPARATORS
from twitchdx.validation.study import Plan, run_study

ROOT = Path(__file__).parents[1]
VIGNETTES = ROOT / "validation" / "vignettes"
PUBLISHED = VIGNETTES / "published.csv"
NUMBERS = ROOT / "validation" / "results" / "numbers.csv"


def script(name: str):  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location(name, ROOT / "validation" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not NUMBERS.exists(), reason="no committed results")
@pytest.mark.parametrize("population", ["neurology_clinic", "general_adult"])
def test_committed_figures_are_those_of_a_rerun(population: str) -> None:
    """Within the rounding of a case: regenerate validation/results when the tables change."""
    with NUMBERS.open(encoding="utf-8") as file:
        committed = {
            tuple(row[k] for k in ("level", "subset", "ranking", "metric", "about")): row
            for row in csv.DictReader(file)
            if row["population"] == population and row["model"] == COMPARATORS[0].name
        }
    engine = Engine.default(population)
    file_ = read_vignettes(PUBLISHED)
    for level in LEVELS:
        task = make_task(engine, read_cases(engine, file_, level), level)
        scored = score_task(task, COMPARATORS[:1], rankings=RANKINGS[:1], details=False)
        for n in scored.numbers:
            if n.metric.startswith(("any", "all")) and n.subset == "all cases":
                row = committed[n.level, n.subset, n.ranking, n.metric, n.about]
                assert float(row["value"]) == pytest.approx(n.value, abs=0.02), n
                assert int(row["n"]) == n.n


def test_levels_know_what_they_say() -> None:
    engine = Engine.default()
    file = read_vignettes(PUBLISHED)
    seen = {}
    for level, kinds in LEVELS.items():
        cases = read_cases(engine, file, level)
        known = {
            name
            for name in engine.findings
            if (cases.ratios[:, engine.reader.index[name]] != 1).any()
        }
        assert {engine.knowledge.findings[name].kind for name in known} <= set(kinds)
        seen[level] = len(known)
    assert sorted(seen.values()) == list(seen.values())
    assert set(read_cases(engine, file).subsets) == {"all cases", "strict"}


@pytest.mark.parametrize("rankings", [RANKINGS[:2], RANKINGS])
def test_misses_are_those_of_the_order_that_was_asked_for(
    rankings: tuple[str, ...], tmp_path: Path
) -> None:
    few = tmp_path / "few.csv"
    lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join([lines[0], *lines[1:20]]) + "\n", encoding="utf-8")
    engine = Engine.default("general_adult")
    plan = Plan(rankings=rankings, simulated=0, robust=False)
    study = run_study([engine], read_vignettes(few), plan)
    assert study.sorted_by == ("posterior" if len(rankings) == 2 else "tempered")
    cases = study.main.task.cases
    assert study.misses
    for miss in study.misses:
        row = cases.ids.index(miss.vignette_id)
        known = cases.ratios[row]
        seen = {
            name: bool(known[place])
            for name, place in engine.reader.index.items()
            if known[place] in (0, float("inf"))
        }
        line = next(csv.DictReader([lines[0], lines[1 + row]]))
        dx = engine.diagnose(seen, age=line["age"] or None, sex=line["sex"] or None)
        order = dx.differential(study.sorted_by)["cause"].tolist()  # type: ignore[arg-type]
        assert [name for name, _ in miss.above] == order[: min(5, miss.rank - 1)]


def test_every_collected_vignette_is_read_and_says_where_it_is_from() -> None:
    cases = read_cases(Engine.default(), read_vignettes(VIGNETTES / "collected.csv"))
    assert not cases.rejected
    with (VIGNETTES / "collected_sources.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(row["vignette_id"] for row in rows) == cases.ids
    assert all(row["title"] and row["url"].startswith("http") for row in rows)


def test_readme_statement_is_the_summarys_first_paragraph_and_caveats() -> None:
    readme = script("readme")
    summary = "# V\n\nGood in 3 of 4.\n\nWhat this does not show:\n\n- much\n\n## More\n"
    assert readme.accuracy(summary) == "Good in 3 of 4.\n\n- much"
