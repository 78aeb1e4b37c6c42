"""Reading what a person enters: states, measurements, conditions, contradictions, ages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twitchdx
from twitchdx import Soft
from twitchdx.errors import ContradictionError, EvidenceError, UnknownIdError
from twitchdx.evidence import STATES, state_ratio


@pytest.fixture(scope="module")
def engine():
    return twitchdx.Engine.default()


def ratio(engine, case, node):
    return case.ratios[engine.reader.index[node]]


@pytest.mark.parametrize("spelling", sorted(STATES))
def test_every_spelling_in_any_case_and_padding(spelling):
    assert state_ratio(f" {spelling.upper()} ") == STATES[spelling]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, math.inf),
        (np.True_, math.inf),
        (1, math.inf),
        (0.0, 0.0),
        (False, 0.0),
        (None, 1.0),
        (float("nan"), 1.0),
        ("lr=3.5", 3.5),
        ("LR = 0.2", 0.2),
        ("p=0.75", 3.0),
        (Soft(2.0), 2.0),
    ],
)
def test_values_that_are_states(value, expected):
    assert state_ratio(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    "value", ["presnt", 2, -1, "lr=0", "lr=-1", "lr=inf", "p=1", "p=x", [], 0.5]
)
def test_values_that_are_none(value):
    with pytest.raises(EvidenceError):
        state_ratio(value)


def test_unknown_id_names_the_nearest(engine):
    with pytest.raises(UnknownIdError, match="urge_to_move") as caught:
        engine.diagnose({"urge_to_mov": True})
    assert caught.value.nearest[0] == "urge_to_move"


@pytest.mark.parametrize("value", ["abc", -3, 1e9, "12 stone", True])
def test_impossible_measurements(engine, value):
    with pytest.raises(EvidenceError, match="ferritin"):
        engine.case({"ferritin": value})


def test_a_measurement_settles_each_threshold_once(engine):
    case = engine.case({"ferritin": 32})
    assert ratio(engine, case, "ferritin_below_50") == math.inf
    assert ratio(engine, case, "ferritin_below_30") == 0
    # below 100 follows from below 50, and not below 15 from not below 30: neither is counted again
    assert ratio(engine, case, "ferritin_below_100") == 1
    assert [o.node for o in case.implied] == ["ferritin_below_15", "ferritin_below_100"]


def test_units_are_converted(engine):
    plain = engine.case({"ferritin": "32"})
    assert np.array_equal(plain.ratios, engine.case({"ferritin": "32 ng/mL"}).ratios)
    assert np.array_equal(plain.ratios, engine.case({"ferritin": "32 ug/L"}).ratios)
    with pytest.raises(EvidenceError, match="unknown unit"):
        engine.case({"ferritin": "32 furlongs"})


def test_measurement_against_its_own_finding(engine):
    with pytest.raises(ContradictionError, match="ferritin_below_50"):
        engine.case({"ferritin": 12, "ferritin_below_50": False})


def test_implied_finding_against_its_implication(engine):
    with pytest.raises(ContradictionError, match="weakness"):
        engine.case({"proximal_weakness": True, "weakness": False})


def test_absent_implied_finding_settles_the_implying_one(engine):
    case = engine.case({"weakness": False, "proximal_weakness": False})
    assert [o.node for o in case.implied] == ["proximal_weakness"]
    assert ratio(engine, case, "weakness") == 0


def test_two_soft_observations_of_one_node_multiply(engine):
    reader = engine.reader
    alone = reader.observe("weakness", Soft(3.0))
    assert [(o.node, o.ratio) for o in alone] == [("weakness", 3.0)]


def test_known_conditions_go_to_the_cause(engine):
    dx = engine.diagnose({"diabetes_mellitus": True, "pregnancy": False})
    assert dx.posterior["diabetes_mellitus"] == 1
    assert dx.posterior["pregnancy"] == 0


@pytest.mark.parametrize("age", [-1, 121, "old", [1]])
def test_impossible_ages(engine, age):
    with pytest.raises(EvidenceError, match="age"):
        engine.case({}, age=age)


@pytest.mark.parametrize("sex", ["x", 3])
def test_impossible_sexes(engine, sex):
    with pytest.raises(EvidenceError, match="sex"):
        engine.case({}, sex=sex)


@settings(deadline=None)
@given(st.sampled_from([None, "", float("nan")]), st.sampled_from([None, "", "unknown"]))
def test_blank_age_and_sex_are_the_populations_mixture(age, sex):
    engine = twitchdx.Engine.default()
    case = engine.case({}, age=age, sex=sex)
    shares = np.array([s.share for s in engine.model.strata])
    assert case.weights == pytest.approx(shares / shares.sum())


def test_a_child_is_answered_from_the_population_adults_refer_to(engine):
    case = engine.case({}, age=9)
    used = {s.population for s, w in zip(engine.model.strata, case.weights, strict=True) if w}
    assert used == {"children"}
    assert case.weights.sum() == pytest.approx(1)


def test_old_cause_id_as_evidence_means_any_of_its_parts(engine):
    parts = engine.knowledge.stands_for("stimulant_excess")
    dx = engine.diagnose({"stimulant_excess": False})
    assert all(dx.posterior[part] == 0 for part in parts)
    dx = engine.diagnose({"stimulant_excess": True})
    assert dx.probability("stimulant_excess") == 1
    assert sum(dx.posterior[part] for part in parts) > 1
