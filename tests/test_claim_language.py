"""The notation of the claims says what it seems to say."""

from __future__ import annotations

import pytest

from claims.language import run
from twitchdx.diagnosis import Engine
from twitchdx.errors import UnknownIdError

RLS = "restless_legs_syndrome"


def only(check: str) -> tuple[bool, object]:
    (outcome,) = run(check)
    return outcome.holds, outcome.measured[0][1]


def test_quantities_are_those_of_the_engine() -> None:
    dx = Engine.default().diagnose(
        {"urge_to_move": True, "weakness": False, "ferritin": 18}, age=52, sex="female"
    )
    given = "urge_to_move, not weakness, ferritin=18, age=52, sex=female"
    assert only(f"P({RLS} | {given}) > 0")[1] == pytest.approx(dx.posterior[RLS], rel=1e-12)
    assert only(f"BF({RLS} | {given}) > 0")[1] == pytest.approx(dx.bayes_factor[RLS], rel=1e-9)
    assert only(f"rank_BF({RLS} | {given}) > 0")[1] == 1 + list(dx.bayes_factor.index).index(RLS)


def test_total_probability_over_a_finding() -> None:
    """P(x) = P(x | f) P(f) + P(x | not f) (1 - P(f))."""
    names = (f"P({RLS})", f"P({RLS} | numbness)", "P(numbness)", f"P({RLS} | not numbness)")
    prior, present, share, absent = (float(str(only(f"{name} > 0")[1])) for name in names)
    assert prior == pytest.approx(present * share + absent * (1 - share), rel=1e-9)


def test_bayes_by_the_other_side() -> None:
    """odds(x | f) / odds(x) = P(f | x) / P(f | not x)."""
    factor, there, elsewhere = (
        float(str(only(f"{name} > 0")[1]))
        for name in (f"BF({RLS} | numbness)", f"P(numbness | {RLS})", f"P(numbness | not {RLS})")
    )
    assert factor == pytest.approx(there / elsewhere, rel=1e-9)


def test_populations_assumptions_and_rows() -> None:
    engine = Engine.default("pregnancy").with_priors({"iron_deficiency": 0.6})
    expected = engine.diagnose({}).posterior["iron_deficiency"]
    measured = only("P(iron_deficiency | assume(iron_deficiency, 0.6), population=pregnancy) > 0")
    assert measured[1] == pytest.approx(expected, rel=1e-12)
    assert only("P(iron_deficiency | assume(iron_deficiency, 0.3)) > 0")[1] == pytest.approx(0.3)
    row = next(
        r for r in engine.knowledge.likelihoods if (r.cause, r.finding) == (RLS, "urge_to_move")
    )
    assert only(f"row(urge_to_move, {RLS}) > 0")[1] == row.probability
    assert only(f"row(urge_to_move, {RLS}).low > 0")[1] == row.low
    assert only("row(urge_to_move, motor_neuron_disease) == 0")[0]


def test_it_can_fail() -> None:
    assert not only(f"P({RLS}) > 0.5")[0]
    assert [o.holds for o in run(f"P({RLS}) < 0.5; P({RLS}) > 0.5")] == [True, False]
    assert not only("flag(tongue_fasciculation | leg_twitching)")[0]
    assert only("not flag(tongue_fasciculation | leg_twitching)")[0]
    assert not only(f"P({RLS}) > 0.5 and exists({RLS})")[0]
    assert only(f"P({RLS}) > 0.5 or exists({RLS})")[0]


@pytest.mark.parametrize(
    ("check", "error"),
    [
        ("P(restless_leg_syndrome) > 0", UnknownIdError),
        (f"P({RLS} | urge_to_mov) > 0", UnknownIdError),
        (f"flag(no_such_flag | {RLS})", KeyError),
        (f"P({RLS})", ValueError),
        (f"P({RLS}) >", SyntaxError),
        (f"Q({RLS}) > 0", AttributeError),
    ],
)
def test_a_slip_is_an_error_and_not_a_failure(check: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(run(check))
