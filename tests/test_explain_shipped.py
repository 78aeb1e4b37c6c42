"""Explanations on the shipped tables: what was promised of them, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import pytest

from twitchdx import Engine
from twitchdx.diagnosis import Diagnosis
from twitchdx.explain import most_probable_sets, next_questions
from twitchdx.report.summary import case_report

RESTLESS = {
    "urge_to_move": True,
    "worse_at_rest": True,
    "relief_by_movement": True,
    "worse_evening_night": True,
}


@cache
def engine() -> Engine:
    return Engine.default()


@cache
def restless() -> Diagnosis:
    case = {"urge_to_move": True, "worse_at_rest": True, "relief_by_stretching": False,
            "ferritin": 18, "weakness": False}  # fmt: skip
    return engine().diagnose(case, age=52, sex="female")


def fastest(work: Callable[[], object], tries: int = 5) -> float:
    """Processor seconds of the fastest of several tries."""
    took = []
    for _ in range(tries):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took)


def test_coffee_that_is_certain_explains_little_beside_restless_legs():
    dx = engine().diagnose({**RESTLESS, "high_caffeine_intake": True}, age=45, sex="female")
    frame = dx.differential().set_index("cause")
    assert frame["posterior"]["caffeine_excess"] > 0.5
    body = dx.attribution.disabled.drop(columns="high_caffeine_intake").sum(axis=1)
    assert body["caffeine_excess"] < 0.1
    assert body["restless_legs_syndrome"] > 10 * body["caffeine_excess"]
    assert frame.index[0] == "restless_legs_syndrome"


def test_iron_deficiency_gets_credit_for_the_restless_legs_it_brings():
    dx = engine().diagnose({**RESTLESS, "iron_deficiency": True}, age=35, sex="female")
    assert dx.attribution.switched_on.loc["iron_deficiency", "urge_to_move"] > 0.1


def test_contributions_add_up_on_a_real_case():
    for cause in restless().engine.causes[:10]:
        explanation = restless().explain(cause)
        assert explanation.frame["weight"].sum() == pytest.approx(explanation.total, abs=1e-9)


def test_a_typical_case_is_explained_at_once():
    """Twice the time that is promised, for busy machines."""
    dx = restless()
    dx.attribution  # noqa: B018
    next_questions(dx)
    most_probable_sets(dx)
    assert fastest(lambda: next_questions(dx)) < 0.1
    assert fastest(lambda: most_probable_sets(dx)) < 0.2


def test_the_report_of_a_real_case_has_every_part():
    case = {**RESTLESS, "relief_by_stretching": False, "ferritin": 18, "weakness": False}
    found = case_report(engine().diagnose(case, age=52, sex="female"), intervals=False)
    assert found.in_short[0].startswith("Restless legs syndrome")
    for part in (
        found.reasons, found.explained, found.flips, found.questions, found.work_up,
        found.management, found.hypotheses, found.explanations, found.numbers, found.references,
    ):  # fmt: skip
        assert part
    assert {action.action for action in found.work_up} == {"order", "avoid"}
