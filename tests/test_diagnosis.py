"""The engine: immutability, priors, mixtures, total probability, aliases, and its own tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twitchdx
from twitchdx.errors import ImpossibleEvidenceError, ModelError, UnknownIdError

EVIDENCE = {"urge_to_move": True, "worse_at_rest": True, "weakness": False}


@pytest.fixture(scope="module")
def engine():
    return twitchdx.Engine.default()


def test_no_findings_leave_every_prior(engine):
    dx = engine.diagnose({})
    assert dx.posterior.to_numpy() == pytest.approx(dx.prior.to_numpy(), rel=1e-12)
    assert dx.log_evidence == pytest.approx(0, abs=1e-12)
    shares = {s.label: s.share for s in engine.model.strata}
    assert sum(shares.values()) == pytest.approx(1)


def test_prior_is_the_tables_prevalence(engine):
    """Root causes with one row for everybody have exactly that row's prevalence."""
    rows = {}
    for row in engine.knowledge.priors["general_adult"]:
        rows.setdefault(row.cause, []).append(row)
    prior = engine.prior()
    checked = 0
    for cause, own in rows.items():
        if len(own) == 1 and cause in prior.index:
            assert prior[cause] == pytest.approx(own[0].prevalence, rel=1e-9)
            checked += 1
    assert checked > 5


def test_unknown_age_is_the_mixture_over_ages(engine):
    """P(cause | e) = sum over strata of P(stratum | e) P(cause | e, stratum)."""
    total, joint = 0.0, 0.0
    for stratum in engine.model.strata:
        if stratum.share:
            dx = engine.diagnose(EVIDENCE, age=stratum.age_low + 1, sex=stratum.sex)
            mass = stratum.share * math.exp(dx.log_evidence)
            total += mass
            joint += mass * dx.posterior["restless_legs_syndrome"]
    mixed = engine.diagnose(EVIDENCE)
    assert mixed.posterior["restless_legs_syndrome"] == pytest.approx(joint / total, rel=1e-9)
    assert math.exp(mixed.log_evidence) == pytest.approx(total, rel=1e-9)


def test_with_priors_changes_that_cause_and_what_it_leads_to(engine):
    changed = engine.with_priors({"iron_deficiency": 0.6})
    assert changed.prior()["iron_deficiency"] == pytest.approx(0.6, rel=1e-9)
    assert changed.prior()["restless_legs_syndrome"] > engine.prior()["restless_legs_syndrome"]
    assert changed.prior()["essential_tremor"] == pytest.approx(
        engine.prior()["essential_tremor"], rel=1e-12
    )
    assert engine.prior()["iron_deficiency"] < 0.3


def test_with_priors_refuses_what_cannot_be(engine):
    with pytest.raises(UnknownIdError, match="iron_deficiency"):
        engine.with_priors({"iron_deficency": 0.1})
    with pytest.raises(ModelError):
        engine.with_priors({"iron_deficiency": 1.5})


def test_impossible_evidence_is_named(engine):
    certain = engine.with_priors({"prior_polio": 0.0})
    with pytest.raises(ImpossibleEvidenceError, match=r"post_polio|prior_polio"):
        certain.diagnose({"prior_polio": True})


@settings(max_examples=15, deadline=None)
@given(st.permutations(sorted(EVIDENCE)), st.sampled_from(["numbness", "atrophy", "fever"]))
def test_order_and_unknown_findings_change_nothing(order, unknown):
    engine = twitchdx.Engine.default()
    plain = engine.diagnose(EVIDENCE)
    other = engine.diagnose({**{k: EVIDENCE[k] for k in order}, unknown: None})
    assert plain.posterior.equals(other.posterior)


@pytest.mark.parametrize("finding", ["numbness", "atrophy", "sudden_jerks", "ferritin_below_50"])
def test_law_of_total_probability(engine, finding):
    base = engine.diagnose(EVIDENCE)
    parts = [engine.diagnose({**EVIDENCE, finding: state}) for state in (True, False)]
    masses = [math.exp(dx.log_evidence - base.log_evidence) for dx in parts]
    assert sum(masses) == pytest.approx(1, rel=1e-9)
    causes = list(engine.causes)
    mixed = sum(m * dx.posterior[causes] for m, dx in zip(masses, parts, strict=True))
    assert mixed.to_numpy() == pytest.approx(base.posterior[causes].to_numpy(), rel=1e-9)


def test_disjunction_is_between_its_largest_part_and_their_sum(engine):
    dx = engine.diagnose({"onset_after_new_medication": True})
    parts = [dx.posterior[p] for p in engine.knowledge.stands_for("medication_effect")]
    assert max(parts) <= dx.probability("medication_effect") <= sum(parts)


def test_syndromes_are_kept_apart_from_causes(engine):
    dx = engine.diagnose(EVIDENCE)
    assert set(dx.syndromes.index).isdisjoint(dx.posterior.index)
    assert all(engine.knowledge.causes[s].nature == "syndrome" for s in dx.syndromes.index)


def test_differential_is_sorted_by_what_was_asked(engine):
    dx = engine.diagnose(EVIDENCE, age=50, sex="female")
    for by in ("posterior", "disablement", "sufficiency", "tempered"):
        assert dx.differential(by)[by].is_monotonic_decreasing
    assert len(dx.differential()) == len(engine.causes)


def test_own_tables_read_from_folders(engine, tmp_path):
    import shutil
    from importlib.resources import as_file, files

    for name in ("priors", "evidence_tables"):
        with as_file(files(f"twitchdx.{name}")) as folder:
            shutil.copytree(folder, tmp_path / name)
    own = twitchdx.Engine.from_tables(tmp_path / "priors", tmp_path / "evidence_tables")
    assert own.knowledge.digest == engine.knowledge.digest


def test_unknown_population(engine):
    with pytest.raises(UnknownIdError, match="general_adult"):
        twitchdx.Engine.default("general_adults")


def test_a_known_condition_is_not_ranked_first(engine):
    dx = engine.diagnose({**EVIDENCE, "diabetes_mellitus": True}, age=60, sex="male")
    assert dx.posterior.index[0] == "diabetes_mellitus"
    assert dx.differential("posterior")["cause"].iloc[-1] == "diabetes_mellitus"
