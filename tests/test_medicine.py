"""What a neurologist would expect of the shipped tables, asked in Python and on the command line.

General adult population, age and sex unknown. BF is posterior odds over prior odds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache

import pytest
from click.testing import CliRunner

from twitchdx.cli import main
from twitchdx.diagnosis import Engine

RLS = "restless_legs_syndrome"
CRAMPS = "nocturnal_leg_cramps"
TREMOR = "orthostatic_tremor"
MND = "motor_neuron_disease"
BENIGN = "benign_fasciculation_syndrome"

#: a case: what is present, what is absent
Case = tuple[tuple[str, ...], tuple[str, ...]]
#: what an answer gives for each cause: probability, Bayes factor
Answer = tuple[dict[str, float], dict[str, float]]

NOTHING: Case = ((), ())
TWITCHING: Case = (("leg_twitching",), ())
RESTLESS: Case = (
    ("urge_to_move", "worse_at_rest", "relief_by_movement", "worse_evening_night"),
    ("painful_tightening",),
)
CRAMP: Case = (
    ("painful_tightening", "calf_location", "onset_during_sleep", "relief_by_stretching"),
    ("urge_to_move",),
)
STANDING: Case = (("onset_on_standing", "relief_by_sitting_or_walking"), ())
STANDING_MEASURED: Case = (
    (*STANDING[0], "unsteadiness_on_standing", "emg_tremor_13_18_hz"),
    (),
)
BENIGN_TWITCHING: Case = (
    ("visible_muscle_flicker", "widespread_twitching", "persistent_daily_3_months"),
    ("weakness", "atrophy", "tongue_fasciculation"),
)
WASTING: Case = (("visible_muscle_flicker", "weakness", "atrophy"), ("numbness",))


@cache
def in_python(case: Case) -> Answer:
    present, absent = case
    findings: Mapping[str, bool] = {**dict.fromkeys(present, True), **dict.fromkeys(absent, False)}
    dx = Engine.default().diagnose(findings)
    return dict(dx.posterior), dict(dx.bayes_factor)


@cache
def on_the_command_line(case: Case) -> Answer:
    present, absent = case
    options = [
        *(("--present", ",".join(present)) if present else ()),
        *(("--absent", ",".join(absent)) if absent else ()),
    ]
    result = CliRunner().invoke(main, ["diagnose", "--json", *options])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["differential"]
    return (
        {row["cause"]: row["posterior"] for row in rows},
        {row["cause"]: row["bayes_factor"] for row in rows},
    )


@pytest.fixture(params=[in_python, on_the_command_line], ids=["python", "command line"])
def ask(request: pytest.FixtureRequest) -> Callable[[Case], Answer]:
    path: Callable[[Case], Answer] = request.param
    return path


def odds(probability: float) -> float:
    return probability / (1 - probability)


def test_four_criteria_without_cramp_point_to_restless_legs(ask: Callable[[Case], Answer]) -> None:
    _, factor = ask(RESTLESS)
    assert max(factor, key=factor.__getitem__) == RLS
    assert factor[RLS] > 15


def test_four_criteria_are_no_proof(ask: Callable[[Case], Answer]) -> None:
    """One in six relatives without the syndrome meets all four (Hening 2009)."""
    posterior, _ = ask(RESTLESS)
    assert 0.2 < posterior[RLS] < 0.9


def test_calf_cramp_from_sleep(ask: Callable[[Case], Answer]) -> None:
    posterior, _ = ask(CRAMP)
    assert posterior[CRAMPS] > 0.5
    assert odds(posterior[CRAMPS]) > 50 * odds(posterior[RLS])


def test_trouble_on_standing_raises_a_rarity_that_stays_rare(
    ask: Callable[[Case], Answer],
) -> None:
    posterior, factor = ask(STANDING)
    assert factor[TREMOR] > 50
    assert posterior[TREMOR] < 0.2


def test_fast_tremor_on_surface_emg_settles_it(ask: Callable[[Case], Answer]) -> None:
    posterior, _ = ask(STANDING_MEASURED)
    assert max(posterior, key=posterior.__getitem__) == TREMOR
    assert posterior[TREMOR] > 0.5


def test_widespread_flicker_with_normal_strength_is_benign(ask: Callable[[Case], Answer]) -> None:
    posterior, _ = ask(BENIGN_TWITCHING)
    assert posterior[BENIGN] > 50 * posterior[MND]
    assert posterior[MND] < 0.002


def test_flicker_with_weakness_and_wasting_is_not(ask: Callable[[Case], Answer]) -> None:
    _, factor = ask(WASTING)
    assert factor[MND] > 50


def test_twitching_alone_does_not_alarm(ask: Callable[[Case], Answer]) -> None:
    posterior, _ = ask(TWITCHING)
    assert posterior[MND] < 0.001
    assert posterior[TREMOR] < 0.001


def test_nothing_observed_leaves_the_priors() -> None:
    engine = Engine.default()
    dx = engine.diagnose({})
    prior = engine.prior()
    assert (dx.posterior - prior[dx.posterior.index]).abs().max() <= 1e-12
    rows = json.loads(CliRunner().invoke(main, ["diagnose", "--json"]).stdout)["differential"]
    assert all(row["posterior"] == pytest.approx(row["prior"], abs=1e-12) for row in rows)
