"""Metrics against other people's programs, and against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, label_ranking_average_precision_score, log_loss

from twitchdx.validation import calibration, decisions, metrics
from twitchdx.validation.intervals import case_weights, mean_interval, weighted_interval

# 60 predictions and outcomes, and what dcurves 1.1.7 (Python, pandas 2.3.3) made of them:
# dca(data, "y", ["m"], thresholds=...)["net_benefit"]
PREDICTED = np.array(
    [0.14, 0.24, 0.0, 0.06, 0.29, 0.12, 0.65, 0.17, 0.02, 0.38, 0.29, 0.14, 0.0, 0.08, 0.5, 0.03,
     0.11, 0.09, 0.02, 0.27, 0.21, 0.48, 0.0, 0.17, 0.31, 0.36, 0.01, 0.14, 0.2, 0.13, 0.51, 0.04,
     0.16, 0.34, 0.13, 0.35, 0.18, 0.04, 0.41, 0.1, 0.23, 0.7, 0.1, 0.55, 0.34, 0.24, 0.37, 0.15,
     0.56, 0.06, 0.54, 0.19, 0.27, 0.04, 0.11, 0.22, 0.14, 0.21, 0.09, 0.07]
)  # fmt: skip
OUTCOME = np.array(
    [0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1,
     0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
).astype(bool)  # fmt: skip
DCURVES_MODEL = {
    0.01: 0.209259, 0.05: 0.166667, 0.10: 0.140741, 0.20: 0.075000, 0.30: 0.028571, 0.50: -0.016667
}  # fmt: skip
DCURVES_ALL = {
    0.01: 0.208754, 0.05: 0.175439, 0.10: 0.129630, 0.20: 0.020833, 0.30: -0.119048, 0.50: -0.566667
}  # fmt: skip


@pytest.mark.parametrize("threshold", sorted(DCURVES_MODEL))
def test_net_benefit_equals_dcurves(threshold: float) -> None:
    at = decisions.operate(PREDICTED, OUTCOME, threshold)
    # dcurves acts above a threshold, we at or above it: here some predictions equal one
    above = decisions.net_benefit(np.where(threshold < PREDICTED, 1.0, 0.0), OUTCOME, threshold)
    assert DCURVES_MODEL[threshold] in (
        pytest.approx(at.net_benefit, abs=5e-7),
        pytest.approx(above, abs=5e-7),
    )
    assert at.treat_all == pytest.approx(DCURVES_ALL[threshold], abs=5e-7)


def test_sensitivity_and_specificity_by_hand() -> None:
    at = decisions.operate(np.array([0.9, 0.2, 0.6, 0.1]), np.array([1, 1, 0, 0], bool), 0.5)
    assert (at.sensitivity, at.specificity, at.positives) == (0.5, 0.5, 2)
    never = decisions.operate(np.array([0.9]), np.array([False]), 0.5)
    assert np.isnan(never.sensitivity)


def test_brier_and_log_score_equal_scikit_learn_summed_over_labels() -> None:
    random = np.random.default_rng(3)
    p, truth = random.random((50, 4)), random.random((50, 4)) < 0.3
    ours = metrics.brier(p, truth).mean()
    theirs = sum(brier_score_loss(truth[:, i], p[:, i]) for i in range(4))
    assert ours == pytest.approx(theirs)
    ours = metrics.log_score(p, truth).mean()
    theirs = sum(log_loss(truth[:, i], p[:, i], labels=[False, True]) for i in range(4))
    assert ours == pytest.approx(theirs)


def test_a_certain_error_costs_much_but_not_everything() -> None:
    score = metrics.log_score(np.array([[0.0]]), np.array([[True]]))
    assert score == pytest.approx([-np.log(metrics.TINY)])


def test_reciprocal_rank_equals_scikit_learn_with_one_truth() -> None:
    random = np.random.default_rng(5)
    scores = random.random((30, 8))
    truth = random.integers(8, size=30)
    placed = metrics.ranks(scores, scores, np.zeros(scores.shape, bool))
    found = metrics.truth_ranks(placed, [[[int(t)]] for t in truth])
    theirs = label_ranking_average_precision_score(np.eye(8)[truth], scores)
    assert metrics.reciprocal_rank(found).mean() == pytest.approx(theirs)


def test_ranks_leave_known_causes_to_the_end_and_take_the_best_part_of_an_older_id() -> None:
    scores = np.array([[0.9, 0.5, 0.7, 0.1]])
    known = np.array([[True, False, False, False]])
    placed = metrics.ranks(scores, scores, known)
    assert placed.tolist() == [[4, 2, 1, 3]]
    assert metrics.truth_ranks(placed, [[[1, 3], [2]]]) == [[2, 1]]


def test_cases_without_truth_count_for_nothing() -> None:
    values = metrics.any_within([[], [1]], 1)
    assert np.isnan(values[0])
    assert mean_interval(values).n == 1


def test_one_class_has_no_roc_curve() -> None:
    ones = np.ones(3)
    assert np.isnan(metrics.auroc(ones, np.zeros(3, bool), ones))
    assert np.isnan(metrics.average_precision(ones, np.zeros(3, bool), ones))
    assert metrics.auroc(np.array([0.9, 0.1, 0.2]), np.array([1, 0, 0], bool), ones) == 1


def test_capability_score_by_hand() -> None:
    # case 1 solved by A only (ease 1/2), case 2 by both (ease 1), case 3 by B only
    correct = np.array([[1, 0], [1, 1], [0, 1.0]])
    # A: (1/2 + 0 - 1/2)/3 = 0 -> 50; B the same
    assert metrics.capability_scores(correct) == pytest.approx([50, 50])
    better = metrics.capability_scores(np.array([[1, 0], [1, 0.0]]))
    assert better == pytest.approx([75, 25])
    assert np.isnan(metrics.capability_scores(np.ones((3, 1)))).all()


def test_coverage_counts_each_truth_once() -> None:
    p = np.array([[0.2, 0.01, 0.5]])
    share, size = metrics.covered(p, [[[0, 1], [2]]], 0.1)
    assert share == pytest.approx([1.0])
    assert size == pytest.approx([2])


def test_recalibration_equals_statsmodels() -> None:
    statsmodels = pytest.importorskip("statsmodels.api")
    random = np.random.default_rng(11)
    p = random.beta(1, 3, size=(400, 2))
    truth = random.random(p.shape) < 1 / (1 + np.exp(-(0.4 + 0.7 * np.log(p / (1 - p)))))
    ours = calibration.recalibrate(p, truth)
    x = np.log(p / (1 - p)).ravel()
    y = truth.ravel().astype(float)
    binomial = statsmodels.families.Binomial()
    line = statsmodels.GLM(y, statsmodels.add_constant(x), family=binomial).fit()
    assert (ours.intercept, ours.slope) == pytest.approx(tuple(line.params), rel=1e-6)
    large = statsmodels.GLM(y, np.ones_like(y), family=binomial, offset=x).fit()
    assert ours.in_the_large == pytest.approx(large.params[0], rel=1e-6)
    groups = np.repeat(np.arange(400), 2)
    robust = statsmodels.GLM(y, statsmodels.add_constant(x), family=binomial).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    assert calibration.slope_error(p, truth, ours) == pytest.approx(robust.bse[1], rel=1e-4)


def test_calibrated_predictions_are_found_calibrated_and_others_not() -> None:
    random = np.random.default_rng(2)
    p = random.beta(0.5, 2, size=(20_000, 3))
    truth = random.random(p.shape) < p
    line = calibration.recalibrate(p, truth)
    assert line.slope == pytest.approx(1, abs=0.03)
    level = 1 - 0.05 / len(calibration.EDGES)
    assert all(one.holds for one in calibration.reliability(p, truth, level=level))
    assert calibration.expected_calibration_error(p, truth) < 0.01
    sure = p**2 / (p**2 + (1 - p) ** 2)  # log-odds doubled
    assert calibration.recalibrate(sure, truth).slope == pytest.approx(0.5, abs=0.02)
    assert not all(one.holds for one in calibration.reliability(sure, truth, level=level))


def test_one_outcome_has_no_recalibration() -> None:
    assert np.isnan(calibration.recalibrate(np.full((3, 1), 0.5), np.zeros((3, 1), bool)).slope)


def test_intervals_cover_and_repeat() -> None:
    random = np.random.default_rng(8)
    inside = 0
    for _ in range(100):
        estimate = mean_interval((random.random(60) < 0.7).astype(float), draws=400)
        inside += estimate.low <= 0.7 <= estimate.high
    assert 85 <= inside <= 100
    values = random.random(20)
    assert mean_interval(values) == mean_interval(values)
    assert case_weights(5, 7).sum(axis=1) == pytest.approx(np.full(7, 5))
    undefined = weighted_interval(lambda w: float("nan") if w[0] == 0 else 1.0, 10)
    assert undefined.value == 1
    assert np.isnan(undefined.low)
