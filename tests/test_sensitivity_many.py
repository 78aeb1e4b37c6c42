"""Bounds, joint changes, two-way grids, variance and cohorts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from sensitivity_examples import CASES, coffee
from twitchdx import sensitivity
from twitchdx.errors import BatchError, EvidenceError
from twitchdx.sensitivity.knobs import case_knobs
from twitchdx.sensitivity.variance import sobol_of, worth_of


@pytest.fixture(params=range(len(CASES)))
def dx(request):
    return coffee().diagnose(*CASES[request.param])


def rerun(dx, numbers):
    return dx.engine.with_parameters(numbers).diagnose_case(dx.case)


def test_bounds_agree_with_visiting_every_corner_and_many_points_inside():
    dx = coffee().diagnose(*CASES[1])
    rows = [k.parameters[0] for k in case_knobs(dx, "priors", together=False)]
    result = sensitivity.bounds(dx)
    frame = result.frame.set_index("cause")
    assert set(frame["kind"]) == {"exact"}
    corners = [
        rerun(dx, dict(zip(rows, ends, strict=True))).posterior
        for ends in itertools.product(*((row.low, row.high) for row in rows))
    ]
    everything = pd.DataFrame(corners)
    for cause in frame.index:
        assert frame.loc[cause, "low"] == pytest.approx(everything[cause].min(), abs=1e-10)
        assert frame.loc[cause, "high"] == pytest.approx(everything[cause].max(), abs=1e-10)
    random = np.random.default_rng(0)
    for _ in range(100):
        inside = rerun(dx, {row: random.uniform(row.low, row.high) for row in rows}).posterior
        for cause in frame.index:
            low, high = frame.loc[cause, ["low", "high"]]
            assert low - 1e-12 <= inside[cause] <= high + 1e-12
    for (cause, side), numbers in result.corners.items():
        assert rerun(dx, numbers).posterior[cause] == pytest.approx(frame.loc[cause, side])


def test_ascent_is_labelled_and_lies_between_the_exact_and_the_outer_bounds(dx):
    exact = sensitivity.bounds(dx, most_corners=10**6).frame.set_index("cause")
    climbed = sensitivity.bounds(dx, most_corners=1).frame.set_index("cause").loc[exact.index]
    assert set(exact["kind"]) == {"exact"}
    assert set(climbed["kind"]) == {"inner and outer"}
    assert (climbed["low"] >= exact["low"] - 1e-10).all()
    assert (climbed["high"] <= exact["high"] + 1e-10).all()
    np.testing.assert_allclose(climbed[["low", "high"]], exact[["low", "high"]], atol=1e-6)
    assert (climbed["outer_low"] <= exact["low"] + 1e-12).all()
    assert (climbed["outer_high"] >= exact["high"] - 1e-12).all()


def test_draws_within_the_intervals_stay_within_the_bounds(dx):
    frame = sensitivity.bounds(dx, most_corners=10**6).frame.set_index("cause")
    drawn = sensitivity.probabilistic(dx, "priors", draws=500, seed=1).frame.set_index("cause")
    for cause in frame.index:
        # the middle half of the draws is well inside the 95 % intervals of all numbers
        assert frame.loc[cause, "low"] - 1e-9 <= drawn.loc[cause, "median"]
        assert drawn.loc[cause, "median"] <= frame.loc[cause, "high"] + 1e-9


def test_smallest_joint_change_flips_and_none_of_many_shorter_ones_does():
    dx = coffee().diagnose(*CASES[1])
    result = sensitivity.smallest_joint_change(dx)
    among = list(sensitivity.contenders(dx))
    moved = dict(zip(result.frame["parameter"], result.frame["move"], strict=True))
    rows = {key: dx.engine.model.parameter(key) for key in moved}

    def leader(scale, moves=moved):
        odds = {k: r.value / (1 - r.value) * np.exp(scale * moves[k]) for k, r in rows.items()}
        return rerun(dx, {k: o / (1 + o) for k, o in odds.items()}).posterior[among].idxmax()

    assert leader(1 - 1e-6) == result.leading
    assert leader(1 + 1e-6) == result.becomes
    assert result.angle < 0.01
    assert abs(result.gap) < 1e-8
    assert result.proven_below <= result.distance
    single = sensitivity.flips(dx).frame["log_odds_distance"].min()
    assert result.distance <= single
    random = np.random.default_rng(1)
    for _ in range(300):
        direction = random.normal(size=len(rows))
        direction *= 0.999 * result.distance / np.linalg.norm(direction)
        assert leader(1.0, dict(zip(rows, direction, strict=True))) == result.leading


def test_two_way_agrees_with_rerunning_and_with_its_coefficients():
    dx = coffee().diagnose(*CASES[1])
    result = sensitivity.two_way(dx, "limescale", "hard_water", "pump_worn", steps=7)
    for i, j in ((0, 0), (3, 5), (6, 6)):
        numbers = {result.first.key: result.x[j], result.second.key: result.y[i]}
        posterior = rerun(dx, numbers).posterior
        assert result.posterior[i, j] == pytest.approx(posterior["limescale"], abs=1e-10)
        if result.coefficients is not None:
            terms = np.array([1, result.x[j], result.y[i], result.x[j] * result.y[i]])
            joint, evidence = result.coefficients @ terms
            assert joint / evidence == pytest.approx(posterior["limescale"], abs=1e-10)
        leading = posterior[list(sensitivity.contenders(dx))].idxmax()
        assert (result.lead[i, j] >= 0) == (leading == result.leading)
    assert len(result.frame) == 49


def test_sobol_indices_of_the_ishigami_function():
    def ishigami(x):
        a, b, c = (x * 2 - 1) * np.pi
        return np.sin(a) + 7 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)

    found = sobol_of(ishigami, 3, 4096, seed=1)
    np.testing.assert_allclose(found["first"], [0.3139, 0.4424, 0], atol=0.02)
    np.testing.assert_allclose(found["total"], [0.5576, 0.4424, 0.2437], atol=0.02)
    assert (found["first_low"] < [0.3139, 0.4424, 0.02]).all()
    assert found["variance"] == pytest.approx(
        7**2 / 8 + 0.1 * np.pi**4 / 5 + 0.01 * np.pi**8 / 18 + 0.5, rel=0.03
    )


def test_worth_of_a_function_with_known_answers():
    # two options: a sure 0, and x1 + 2 x2 + e; first-order shares 1/6 and 4/6
    random = np.random.default_rng(3)
    scores = random.normal(size=(40_000, 3))
    value = scores[:, 0] + 2 * scores[:, 1] + random.normal(size=len(scores))
    share, evppi = worth_of(scores, np.stack([value, np.zeros(len(value))], axis=1))
    np.testing.assert_allclose(share, [1 / 6, 4 / 6, 0], atol=0.01)
    # E max(0, s Z) = s / sqrt(2 pi)
    np.testing.assert_allclose(evppi, np.array([1, 2, 0]) / np.sqrt(2 * np.pi), atol=0.03)


def test_sobol_and_worth_knowing_agree_on_first_order_shares():
    dx = coffee().diagnose(*CASES[1])
    first = sensitivity.sobol(dx, "limescale", draws=512).frame.set_index("parameter")["first"]
    known = sensitivity.worth_knowing(dx, "priors", draws=4000)
    assert known.leading == "limescale"
    share = known.frame.set_index("parameter")["variance_share"]
    for key in first.index:
        assert first[key] == pytest.approx(share[key], abs=0.08)
    assert (known.frame["sd_after"] <= known.sd).all()
    with pytest.raises(EvidenceError, match="power of two"):
        sensitivity.sobol(dx, "limescale", draws=100)


COHORT = pd.DataFrame(
    {
        "vignette_id": ["a", "b", "c", "d"],
        "age": ["30", "", "2", "70"],
        "sex": ["male", "", "", "female"],
        "lukewarm": ["present", "present", "absent", "maybe"],
        "dripping": ["present", "absent", "present", ""],
    }
)


def test_cohort_tornado_is_the_mean_of_its_vignettes():
    engine = coffee()
    result = sensitivity.cohort_tornado(engine, COHORT)
    assert (result.vignettes, result.skipped) == (3, 1)
    cases = [
        engine.diagnose({"lukewarm": True, "dripping": True}, 30, "male"),
        engine.diagnose({"lukewarm": True, "dripping": False}),
        engine.diagnose({"lukewarm": False, "dripping": True}, 2),
    ]
    swings, fragile = [], []
    for dx in cases:
        flips = sensitivity.flips(dx)
        frame = sensitivity.tornado(dx, flips.leading).frame
        key = frame["kind"] + ":" + frame["cause"]
        swings.append(frame.set_index(key)["swing"])
        found = flips.fragile
        fragile.append(set(found["kind"] + ":" + found["cause"]))
    frame = result.frame.set_index("parameter")
    for key in frame.index:
        assert frame.loc[key, "mean_swing"] == pytest.approx(np.mean([s[key] for s in swings]))
        assert frame.loc[key, "share_fragile"] == pytest.approx(
            np.mean([key in f for f in fragile])
        )
    assert result.fragile == pytest.approx(np.mean([bool(f) for f in fragile]))


def test_cohort_probabilistic_equals_its_vignettes(tmp_path):
    file = tmp_path / "cohort.csv"
    COHORT.to_csv(file, index=False)
    engine = coffee()
    result = sensitivity.cohort_probabilistic(engine, file, draws=100)
    alone = sensitivity.probabilistic(
        engine.diagnose({"lukewarm": True, "dripping": True}, 30, "male"), draws=100
    )
    assert result.frame.loc[0, "p_unchanged"] == alone.leading_unchanged[0]
    assert result.skipped == 1
    with pytest.raises(BatchError):
        sensitivity.cohort_tornado(engine, COHORT.iloc[[3]])
    with pytest.raises(BatchError):
        sensitivity.cohort_tornado(engine, tmp_path / "none.csv")
