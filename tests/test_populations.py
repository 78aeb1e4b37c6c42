"""Populations change the answers in the direction a clinician expects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from twitchdx.diagnosis import Diagnosis, Engine
from twitchdx.tables import default_tables

RLS = "restless_legs_syndrome"
ADULT = "general_adult"


@cache
def engine(population: str) -> Engine:
    return Engine.default(population)


def ask(
    population: str, *present: str, age: float | None = None, sex: str | None = None
) -> Diagnosis:
    findings: Mapping[str, bool] = dict.fromkeys(present, True)
    return engine(population).diagnose(findings, age, sex)


#: population, cause, observed, least factor by which it exceeds the community (below 1: is less)
MORE = [
    ("pregnancy", RLS, ("urge_to_move",), 1.5),
    ("pregnancy", "iron_deficiency", ("fatigue",), 2.0),
    ("pregnancy", "nocturnal_leg_cramps", ("painful_tightening",), 1.2),
    ("dialysis", RLS, ("urge_to_move",), 1.5),
    ("dialysis", "nocturnal_leg_cramps", ("painful_tightening",), 1.5),
    ("dialysis", "peripheral_neuropathy", ("numbness",), 1.5),
    ("dialysis", "pathologic_myoclonus", ("sudden_jerks",), 3.0),
    ("sleep_clinic", "sleep_apnea", ("poor_sleep",), 2.0),
    ("sleep_clinic", RLS, ("urge_to_move",), 1.3),
    ("sleep_clinic", "periodic_limb_movement_disorder", ("bed_partner_reports_kicking",), 1.3),
    ("neurology_clinic", "motor_neuron_disease", ("visible_muscle_flicker",), 3.0),
    ("neurology_clinic", "parkinsons_disease", ("rest_tremor",), 1.5),
    ("neurology_clinic", "orthostatic_tremor", ("onset_on_standing",), 10.0),
    ("neurology_clinic", "functional_movement_disorder", ("sudden_jerks",), 3.0),
    ("primary_care", RLS, ("urge_to_move",), 1.05),
    ("primary_care", "nocturnal_leg_cramps", ("painful_tightening",), 1.05),
    ("primary_care", "motor_neuron_disease", ("visible_muscle_flicker",), 1.05),
]


@pytest.mark.parametrize(("population", "cause", "present", "times"), MORE)
def test_overlay_raises(
    population: str, cause: str, present: tuple[str, ...], times: float
) -> None:
    there = ask(population, *present).posterior[cause]
    here = ask(ADULT, *present).posterior[cause]
    assert there > times * here, f"{there:.3g} against {here:.3g}"


#: population, cause, observed: rarer than in the community
LESS = [
    ("pregnancy", "statin_use", ("muscle_pain",)),
    ("pregnancy", "parkinsons_disease", ("rest_tremor",)),
    ("pregnancy", "lumbar_spinal_stenosis", ("exertional_leg_pain",)),
    ("dialysis", "pregnancy", ("leg_swelling",)),
    ("dialysis", "exercise_overuse", ("muscle_pain",)),
    ("children", "parkinsons_disease", ("rest_tremor",)),
    ("children", "motor_neuron_disease", ("visible_muscle_flicker",)),
    ("children", "peripheral_neuropathy", ("numbness",)),
    ("children", "chronic_venous_disease", ("leg_heaviness",)),
]


@pytest.mark.parametrize(("population", "cause", "present"), LESS)
def test_overlay_lowers(population: str, cause: str, present: tuple[str, ...]) -> None:
    there = ask(population, *present).posterior[cause]
    here = ask(ADULT, *present).posterior[cause]
    assert there < here / 1.5, f"{there:.3g} against {here:.3g}"


def test_urge_to_move_in_pregnancy() -> None:
    """Restless legs above a woman of that age, and low iron with it."""
    pregnant = ask("pregnancy", "urge_to_move", age=30)
    woman = ask(ADULT, "urge_to_move", age=30, sex="female")
    assert pregnant.posterior[RLS] > 1.5 * woman.posterior[RLS]
    assert pregnant.posterior["iron_deficiency"] > woman.posterior["iron_deficiency"]
    known = ask(ADULT, "urge_to_move", "pregnancy", age=30, sex="female")
    assert known.posterior[RLS] > woman.posterior[RLS]


def test_cramps_on_dialysis() -> None:
    there = ask("dialysis", "painful_tightening", "onset_during_sleep")
    here = ask(ADULT, "painful_tightening", "onset_during_sleep")
    assert there.posterior["nocturnal_leg_cramps"] > here.posterior["nocturnal_leg_cramps"]
    assert there.posterior["hypocalcemia"] > 3 * here.posterior["hypocalcemia"]


@pytest.mark.parametrize("population", ["children", ADULT])
def test_child_with_jerks_and_fever(population: str) -> None:
    """A febrile seizure first at two years, whichever population was named; not at fourteen."""
    seen = ("fever", "sudden_jerks", "impaired_awareness")
    toddler = ask(population, *seen, age=2)
    assert toddler.posterior.index[0] == "febrile_seizure"
    assert toddler.posterior["febrile_seizure"] > toddler.posterior["epilepsy"]
    adolescent = ask(population, *seen, age=14)
    assert adolescent.posterior["epilepsy"] > adolescent.posterior["febrile_seizure"]


def test_jerks_and_fever_raise_flags_in_a_child() -> None:
    flags = {row.flag for row in ask("children", "fever", "sudden_jerks").red_flags.patterns}
    assert "jerks_with_fever" in flags


def test_evening_leg_pain_of_a_child() -> None:
    dx = ask("children", "leg_pain_at_bedtime_child", "relief_by_rubbing", age=6)
    assert dx.posterior.index[0] == "growing_pains"
    assert ask(ADULT, "muscle_pain", age=40).posterior["growing_pains"] < 0.001


def test_serious_causes_of_age() -> None:
    for cause in ("motor_neuron_disease", "parkinsons_disease", "peripheral_arterial_disease"):
        young, old = (ask(ADULT, age=age).posterior[cause] for age in (30, 75))
        assert old > 5 * young


def test_general_population_is_benign() -> None:
    """What is common in the community is benign or an exposure; what kills is rare."""
    prior = ask(ADULT).posterior
    rows = default_tables().causes
    grave = [c for c in prior.index if rows[c].seriousness == "cannot_miss"]
    assert prior[grave].max() < 0.05
    assert prior["motor_neuron_disease"] < 1e-4
    assert prior["orthostatic_tremor"] < 1e-4


@pytest.mark.parametrize("population", sorted({*default_tables().populations} - {"children"}))
def test_clinic_order_is_kept(population: str) -> None:
    """In adults of every kind a flicker with normal strength is benign before it is grave."""
    dx = engine(population).diagnose(
        {"visible_muscle_flicker": True, "weakness": False, "atrophy": False}
    )
    benign = dx.posterior["benign_fasciculation_syndrome"]
    assert benign > 5 * dx.posterior["motor_neuron_disease"]


#: cause, parent, observed, age: a known parent moves the cause in a clinic as in the community
RAISED_BY = [
    ("serotonin_syndrome", "antidepressant_use", ("sudden_jerks", "excessive_sweating"), 40),
    ("akathisia", "dopamine_antagonist_use", ("inner_restlessness",), 50),
    ("myopathy", "statin_use", ("proximal_weakness",), 65),
    ("peripheral_neuropathy", "diabetes_mellitus", ("numbness",), 60),
]


@pytest.mark.parametrize("population", [ADULT, "neurology_clinic"])
@pytest.mark.parametrize(("cause", "parent", "present", "age"), RAISED_BY)
def test_a_known_parent_counts_in_every_population(
    population: str, cause: str, parent: str, present: tuple[str, ...], age: float
) -> None:
    """Referral makes a cause more common, and does not cut it off from what leads to it."""
    on = dict.fromkeys(present, True)
    without = engine(population).diagnose({**on, parent: False}, age).posterior[cause]
    known = engine(population).diagnose({**on, parent: True}, age).posterior[cause]
    assert known > 1.2 * without
