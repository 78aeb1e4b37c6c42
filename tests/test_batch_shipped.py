"""Batch scoring of the shipped tables, against the same questions asked of one case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twitchdx import Engine
from twitchdx.batch import RunOptions, ScoreOptions, score_file, score_frame
from twitchdx.batch.extras import reasons
from twitchdx.batch.simulate import SimulateOptions, simulate_file
from twitchdx.explain import explain, red_flags

PUBLISHED = Path(__file__).parent.parent / "validation" / "vignettes" / "published.csv"
ROWS = 6


@pytest.fixture(scope="module")
def engine():
    return Engine.default()


@pytest.fixture(scope="module")
def frame():
    """The published cases of which least is said: what explains them can be worked out exactly."""
    cases = pd.read_csv(PUBLISHED, dtype=str, keep_default_na=False)
    said = (cases != "").sum(axis=1)
    return cases.loc[said.sort_values(kind="stable").index[:ROWS]].reset_index(drop=True)


@pytest.fixture(scope="module")
def diagnoses(engine, frame):
    made = []
    for row in frame.to_dict("records"):
        findings = {k: v for k, v in row.items() if k not in ("vignette_id", "age", "sex", "truth")}
        made.append(engine.diagnose(findings, row["age"], row["sex"]))
    return made


def test_engine_score_is_diagnose_row_by_row(engine, frame, diagnoses):
    scored = engine.score(frame)
    assert scored.vignette_id.tolist() == frame.vignette_id.tolist()
    assert scored.truth.tolist() == frame.truth.tolist()
    for row, dx in zip(scored.to_dict("records"), diagnoses, strict=True):
        assert [row[cause] for cause in engine.causes] == dx.posterior[list(engine.causes)].tolist()
        assert row["log_evidence"] == dx.log_evidence
        assert row["method"] == dx.method
    assert not set(engine.syndromes) & set(scored.columns)


@pytest.mark.parametrize("by", ["posterior", "disablement", "tempered"])
def test_ranks_are_those_of_the_differential(engine, frame, diagnoses, by):
    top = score_frame(engine, frame, options=ScoreOptions(top=3, rank_by=by))
    wide = score_frame(engine, frame, options=ScoreOptions(rank_by=by))
    exact = [i for i, dx in enumerate(diagnoses) if dx.attribution.method == "exact"]
    assert len(exact) >= ROWS - 1
    for i in exact:
        dx = diagnoses[i]
        expected = dx.differential(by)["cause"].head(3).tolist()
        assert top["cause"][3 * i : 3 * i + 3].tolist() == expected
        assert wide.top_cause[i] == expected[0]


def test_what_was_entered_or_is_merely_common_does_not_lead(engine):
    """A statin is what most men of 70 have, and explains nothing here."""
    entries = {
        "urge_to_move": "present",
        "worse_at_rest": "present",
        "worse_evening_night": "present",
    }
    row = {"vignette_id": "a", "age": "70", "sex": "male", **entries}
    options = ScoreOptions(explain=2)
    (usual,) = score_frame(engine, pd.DataFrame([row]), options=options).to_dict("records")
    assert usual["top_cause"] == "restless_legs_syndrome"
    row["restless_legs_syndrome"] = "present"
    (known,) = score_frame(engine, pd.DataFrame([row]), options=options).to_dict("records")
    assert known["restless_legs_syndrome"] == 1
    assert known["top_cause"] != "restless_legs_syndrome"
    (likely,) = score_frame(
        engine, pd.DataFrame([row]), options=ScoreOptions(rank_by="posterior")
    ).to_dict("records")
    assert likely[likely["top_cause"]] > known[known["top_cause"]]


def test_reasons_are_what_explain_says(engine, frame, diagnoses):
    few = sorted(range(ROWS), key=lambda i: len(diagnoses[i].case.observations))[:3]
    scored = score_frame(engine, frame.iloc[few], options=ScoreOptions(explain=3))
    for text, dx in zip(scored.reasons, [diagnoses[i] for i in few], strict=True):
        cause = scored.top_cause[scored.reasons == text].item()
        assert text == reasons(dx, cause, 3)
        said = explain(dx, cause).frame.set_index("node")["alone_last"]
        for part in text.split("; "):
            node, _, weight = part.split()
            assert abs(said[node] - float(weight)) <= 0.05 + 1e-9
        largest = said.abs().max()
        assert abs(abs(float(text.split("; ")[0].split()[2])) - largest) <= 0.05 + 1e-9


def test_red_flags_are_those_of_each_case(engine, frame, diagnoses):
    scored = score_frame(engine, frame, options=ScoreOptions(red_flags=True))
    met = 0
    for text, dx in zip(scored.red_flags, diagnoses, strict=True):
        expected = red_flags(dx)
        ids = [row.flag for row in expected.patterns]
        ids += [f"{one.cause}>{one.action_threshold:g}" for one in expected.serious]
        assert text == "; ".join(ids)
        met += len(ids)
    assert met


def test_intervals_are_those_of_each_case(engine):
    sensitivity = pytest.importorskip("twitchdx.sensitivity")
    if not hasattr(sensitivity, "posterior_intervals"):
        pytest.skip("no intervals yet")
    case = {"urge_to_move": "present", "worse_at_rest": "absent"}
    frame = pd.DataFrame([{"vignette_id": "a", "age": "50", "sex": "female", **case}])
    (row,) = score_frame(engine, frame, options=ScoreOptions(intervals=True)).to_dict("records")
    bounds = sensitivity.posterior_intervals(engine.diagnose(case, 50, "female"))
    for cause in engine.causes:
        assert row[f"{cause}_low"] == bounds["low"][cause]
        assert row[f"{cause}_high"] == bounds["high"][cause]
        assert row[f"{cause}_low"] <= row[f"{cause}_high"]


def test_simulated_people_of_the_shipped_tables(engine, tmp_path):
    simulate_file(engine, 3000, 1, str(tmp_path / "s.csv"))
    people = pd.read_csv(tmp_path / "s.csv", dtype=str, keep_default_na=False)
    expected = engine.prior()
    for cause in expected.index[:10]:
        share = np.mean([cause in truth.split(";") for truth in people.truth])
        assert abs(share - expected[cause]) < 5 * np.sqrt(expected[cause] / 3000)
    for finding, row in engine.knowledge.findings.items():
        known = (people[finding] != "").mean()
        assert abs(known - row.asking_rate) < 5 * np.sqrt(0.25 / 3000)


def test_simulated_people_are_never_contradictory(engine, tmp_path):
    options = SimulateOptions(asking_rate=0.1)
    simulate_file(engine, 200, 2, str(tmp_path / "s.csv"), options)
    run = RunOptions(chunk_rows=50)
    summary = score_file(engine, str(tmp_path / "s.csv"), str(tmp_path / "o.csv"), run=run)
    assert summary.counts.rejected == 0


def test_chunks_and_workers_change_no_byte_of_the_published_cases(engine, tmp_path):
    for name, settings in (
        ("whole.csv", {"chunk_rows": 1000, "workers": 1}),
        ("sevens.csv", {"chunk_rows": 7, "workers": 2}),
    ):
        score_file(engine, str(PUBLISHED), str(tmp_path / name), run=RunOptions(**settings))
    whole = (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "sevens.csv").read_bytes() == whole
    assert len(whole.splitlines()) == len(PUBLISHED.read_bytes().splitlines())
