"""What sorts a differential, against likelihood ratios entered on the causes themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twitchdx import Engine, Soft
from twitchdx.explain import tempered, tempered_posterior, tempered_prior

CASES = (
    ({"urge_to_move": True, "worse_at_rest": True, "ferritin": 18}, 52, "female"),
    ({"visible_muscle_flicker": True, "weakness": False}, 30, "male"),
    (
        {"onset_on_standing": True, "rhythmic_oscillation": True, "diabetes_mellitus": True},
        70,
        None,
    ),
)

inside = st.floats(1e-6, 1 - 1e-6)


@pytest.mark.parametrize(("seen", "age", "sex"), CASES)
def test_it_is_the_disablement_under_a_likelihood_ratio_that_moves_the_prior(seen, age, sex):
    """Square-rooting the odds towards 1 to 9 is a likelihood ratio of sqrt(1 / 9 / odds)."""
    engine = Engine.default(population="neurology_clinic")
    dx = engine.diagnose(seen, age=age, sex=sex)
    frame = dx.differential().set_index("cause")
    for cause in [c for c in frame.index if c not in seen][:12:3]:
        prior = frame.prior[cause]
        ratio = np.sqrt((1 - prior) / prior / 9)
        moved = engine.diagnose({**seen, cause: Soft(ratio)}, age=age, sex=sex)
        assert moved.attribution.method == "exact"
        assert frame.tempered[cause] == pytest.approx(moved.attribution.disablement[cause], 1e-9)


def test_it_is_the_usual_order_and_entered_causes_come_last():
    seen, age, sex = CASES[2]
    frame = Engine.default().diagnose(seen, age=age, sex=sex).differential()
    assert frame["cause"].iloc[-1] == "diabetes_mellitus"
    assert frame["tempered"].iloc[:-1].is_monotonic_decreasing


def test_a_specific_cause_comes_before_common_ones_and_not_before_a_likelier_specific_one():
    """Flickering at 30: benign fasciculation; motor neuron disease, as telling, is rarer by far."""
    dx = Engine.default().diagnose({"visible_muscle_flicker": True}, age=30, sex="male")
    order = dx.differential()["cause"].tolist()
    assert dx.posterior["sleep_deprivation"] > dx.posterior["benign_fasciculation_syndrome"]
    assert order.index("benign_fasciculation_syndrome") == 0
    assert order.index("motor_neuron_disease") > order.index("sleep_deprivation")


@given(inside)
def test_a_tempered_prior_lies_between_the_stated_one_and_a_tenth(prior):
    found = float(tempered_prior(np.array(prior)))
    low, high = sorted((prior, 0.1))
    assert low * (1 - 1e-9) <= found <= high * (1 + 1e-9)


@given(inside, inside)
def test_the_evidence_counts_as_much_as_before(prior, posterior):
    """The Bayes factor, which is what the evidence says, is untouched."""
    first = float(tempered_prior(np.array(prior)))
    then = float(tempered_posterior(np.array(prior), np.array(posterior)))
    stated = posterior / (1 - posterior) * (1 - prior) / prior
    assert then / (1 - then) * (1 - first) / first == pytest.approx(stated, 1e-6)


def test_what_is_impossible_or_certain_stays_so():
    prior, posterior = np.array([0.0, 1.0, 0.2, 0.2]), np.array([0.0, 1.0, 0.0, 1.0])
    assert tempered_prior(prior[:2]).tolist() == [0, 1]
    assert tempered_posterior(prior, posterior).tolist() == posterior.tolist()
    assert tempered(np.array([0.0, 1.5, 0.0, 2.0]), prior, posterior).tolist() == [0, 1.5, 0, 2]
