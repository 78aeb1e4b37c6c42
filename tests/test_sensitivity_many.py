"""Bounds, joint changes, two-way grids, variance and cohorts."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pandas as pd
import pytest

import table_examples
from sensitivity_examples import CASES, MORE, coffee
from twitchdx import Engine, sensitivity
from twitchdx.batch import read_mapping
from twitchdx.errors import BatchError, EvidenceError, UnknownIdError
from twitchdx.sensitivity.cohort_plan import CohortPlan
from twitchdx.sensitivity.knobs import case_knobs
from twitchdx.sensitivity.relevance import Relevance
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
    few = {"most_corners": 0, "outer_corners": 4}
    climbed = sensitivity.bounds(dx, **few).frame.set_index("cause").loc[exact.index]
    assert set(exact["kind"]) == {"exact"}
    assert "inner and outer" in set(climbed["kind"])
    proven = climbed["kind"] == "exact"
    for end in ("low", "high"):
        np.testing.assert_allclose(climbed.loc[proven, end], exact.loc[proven, end], atol=1e-10)
    assert (climbed["low"] >= exact["low"] - 1e-10).all()
    assert (climbed["high"] <= exact["high"] + 1e-10).all()
    np.testing.assert_allclose(climbed[["low", "high"]], exact[["low", "high"]], atol=1e-6)
    assert (climbed["outer_low"] <= exact["low"] + 1e-12).all()
    assert (climbed["outer_high"] >= exact["high"] - 1e-12).all()


def rust_engine(tmp_path):
    """The coffee machine, and two causes that no finding tells of, one leading to the other."""
    more = dict(MORE)
    more["evidence_tables/causes.csv"] += (
        "rust,Rust,parts,,disease,benign,,Brown spots,\n"
        "damp,Damp,supply,,physiologic,benign,,Wet,\n"
    )
    more["priors/office.csv"] += (
        "rust,any,any,0.3,0.1,0.6,judgement,study,grind1999pumps,\n"
        "damp,any,any,0.2,0.1,0.35,judgement,study,grind1999pumps,\n"
    )
    more["evidence_tables/likelihoods/taste.csv"] += "rust,cold,0.4,0.2,0.6,study,grind1999pumps,\n"
    more["priors/links.csv"] += "rust,damp,0.6,0.3,0.8,study,grind1999pumps,\n"
    changes = {name: table_examples.COFFEE[name] + text for name, text in more.items()}
    folder = table_examples.write(tmp_path, changes)
    return Engine.from_tables(folder / "priors", folder / "evidence_tables", "office")


def test_an_isolated_cause_depends_on_its_own_numbers_alone_and_exactly(tmp_path):
    dx = rust_engine(tmp_path).diagnose({"lukewarm": True, "dripping": False}, 30, "male")
    few = sensitivity.bounds(dx, "all", most_corners=1, outer_corners=1)
    frame = few.frame.set_index("cause")
    numbers = {
        "damp": ["prior:office:damp:any:any"],
        "rust": ["prior:office:damp:any:any", "prior:office:rust:any:any", "link:rust:damp"],
    }
    for cause, keys in numbers.items():
        rows = [dx.engine.model.parameter(key) for key in keys]
        corners = [
            rerun(dx, dict(zip(rows, ends, strict=True))).posterior[cause]
            for ends in itertools.product(*((row.low, row.high) for row in rows))
        ]
        assert frame.loc[cause, "kind"] == "exact"
        assert frame.loc[cause, "numbers"] == len(keys)
        assert frame.loc[cause, "low"] == pytest.approx(min(corners), abs=1e-12)
        assert frame.loc[cause, "high"] == pytest.approx(max(corners), abs=1e-12)
    # what binds the others does not depend on these two
    assert not {"rust", "damp"} & {key.split(":")[2] for key in few.corners["limescale", "low"]}


def test_numbers_that_a_cause_does_not_depend_on_do_not_move_it(dx):
    rows = [k.parameters[0] for k in case_knobs(dx, "all", together=False)]
    relevance = Relevance.of(dx, rows)
    random = np.random.default_rng(5)
    idle = 0
    for cause in dx.engine.causes:
        matters = relevance.numbers(dx.engine.reader.index[cause])
        others = {
            r: random.uniform(r.low, r.high) for r, m in zip(rows, matters, strict=True) if not m
        }
        idle += len(others)
        assert rerun(dx, others).posterior[cause] == pytest.approx(dx.posterior[cause], abs=1e-10)
    assert idle


def test_no_point_of_the_box_lies_beyond_the_outer_bounds(dx):
    rows = [k.parameters[0] for k in case_knobs(dx, "all", together=False)]
    frame = sensitivity.bounds(dx, "all", most_corners=0, outer_corners=1).frame.set_index("cause")
    random = np.random.default_rng(6)
    for _ in range(150):
        ends = {
            row: random.choice([row.low, row.high, random.uniform(row.low, row.high)])
            for row in rows
        }
        posterior = rerun(dx, ends).posterior[frame.index]
        assert (posterior >= frame["outer_low"] - 1e-12).all()
        assert (posterior <= frame["outer_high"] + 1e-12).all()
    # and the bounds say something
    assert (frame["outer_high"] - frame["outer_low"] < 1).all()


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


@pytest.mark.parametrize(
    "question", [{"order": ("limescale", "grinder_blunt")}, {"threshold": ("limescale", 0.5)}]
)
@pytest.mark.parametrize("together", [True, False])
def test_joint_change_answers_the_questions_of_flips(question, together):
    dx = coffee().diagnose(*CASES[0])
    result = sensitivity.smallest_joint_change(dx, **question, together=together)
    alone = sensitivity.flips(dx, **question, together=together)
    assert result.question == alone.question
    assert result.distance <= alone.frame["log_odds_distance"].fillna(np.inf).min() + 1e-9
    assert 0 < result.proven_below <= result.distance
    assert abs(result.gap) < 1e-7
    rows = [k.parameters for k in case_knobs(dx, together=together)]
    moved = dict(zip(result.frame["parameter"], result.frame["move"], strict=True))
    keys = {k.key: k.parameters for k in case_knobs(dx, together=together)}
    assert len(rows) == len(moved)

    def after(scale):
        numbers = {}
        for key, step in moved.items():
            for row in keys[key]:
                odds = row.value / (1 - row.value) * np.exp(scale * step)
                numbers[row] = odds / (1 + odds)
        posterior = rerun(dx, numbers).posterior
        if "order" in question:
            one, other = question["order"]
            return posterior[one] > posterior[other]
        return posterior["limescale"] > 0.5

    assert after(1 - 1e-5) != after(1 + 1e-5)
    assert after(0) == after(1 - 1e-5)


def test_a_single_number_in_place_of_the_walk_is_certified_by_running_the_engine(monkeypatch):
    module = sys.modules["twitchdx.sensitivity.joint_change"]
    monkeypatch.setattr(module, "_follow", lambda *_: None)
    dx = coffee().diagnose(*CASES[1])
    result = sensitivity.smallest_joint_change(dx)
    (row,) = result.frame[result.frame["move"] != 0].to_dict("records")
    at = rerun(dx, {row["parameter"]: row["becomes"]}).posterior
    assert result.gap == pytest.approx(np.log(at[result.leading] / at[result.becomes]), abs=1e-9)
    assert 0 < result.angle < 90
    assert "angle" in repr(result)


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


def test_rivals_that_are_not_followed_could_not_have_led(monkeypatch):
    engine = coffee()
    kinds = ("priors", "all")
    bounded = [sensitivity.cohort_tornado(engine, COHORT, parameters=kind) for kind in kinds]
    every = lambda plan, ratios, evidence, rivals, joint: np.full(  # noqa: E731
        (len(rivals), 2, len(plan.knobs)), np.inf
    )
    monkeypatch.setattr(CohortPlan, "most", every)
    for kind, result in zip(kinds, bounded, strict=True):
        followed = sensitivity.cohort_tornado(engine, COHORT, parameters=kind)
        pd.testing.assert_frame_equal(followed.frame, result.frame)
        assert result.sweeps < followed.sweeps


def test_the_mistakes_of_a_caller_are_no_vignettes_left_out():
    engine = coffee()
    with pytest.raises(UnknownIdError):
        sensitivity.cohort_tornado(engine, COHORT, parameters="foo")
    for odds in (0.5, 1.0, -3.0, np.inf, np.nan):
        with pytest.raises(EvidenceError, match="finite"):
            sensitivity.cohort_tornado(engine, COHORT, odds=odds)
    with pytest.raises(EvidenceError, match="multiple of 10"):
        sensitivity.cohort_probabilistic(engine, COHORT, draws=7)
    with pytest.raises(EvidenceError, match="seed"):
        sensitivity.cohort_probabilistic(engine, COHORT, seed=-1)


HEADER = "vignette_id,age,lukewarm,dripping"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b,30,present,absent,absent", "5 cells where the header has 4"),
        ("b,30", "2 cells where the header has 4"),
        ("a,30,present,absent", "used by an earlier vignette"),
        ("b,30,perhaps,absent", "perhaps"),
        ("b,300,present,absent", "300"),
    ],
)
def test_a_vignette_that_is_left_out_is_named_with_its_reason(tmp_path, row, reason):
    file = tmp_path / "cohort.csv"
    file.write_text(f"{HEADER}\na,30,present,present\n{row}\nc,30,absent,present\n")
    result = sensitivity.cohort_tornado(coffee(), file)
    assert (result.left_out.total, result.vignettes, result.skipped) == (3, 2, 1)
    assert str(result.left_out) == "vignettes in = answered + left out: 3 = 2 + 1"
    (told,) = result.left_out.frame.to_dict("records")
    assert told["line"] == 3
    assert reason in f"{told['value']} {told['reason']}"


def test_a_cohort_is_read_in_every_form_that_is_scored(tmp_path):
    engine = coffee()
    expected = sensitivity.cohort_tornado(engine, COHORT).frame
    semicolons, parquet = tmp_path / "c.csv", tmp_path / "c.parquet"
    COHORT.to_csv(semicolons, sep=";", index=False)
    COHORT.to_parquet(parquet)
    for file in (semicolons, parquet):
        pd.testing.assert_frame_equal(sensitivity.cohort_tornado(engine, file).frame, expected)
    odd = COHORT.rename(columns={"lukewarm": "tepid"}).assign(ward="x")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('ignore = ["ward"]\n[columns]\ntepid = "lukewarm"\n')
    reading = sensitivity.Reading(mapping=read_mapping(mapping))
    mapped = sensitivity.cohort_tornado(engine, odd, reading=reading).frame
    pd.testing.assert_frame_equal(mapped, expected)
    with pytest.raises(BatchError, match="unknown column"):
        sensitivity.cohort_tornado(engine, COHORT.assign(ward="x"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(BatchError, match="empty"):
        sensitivity.cohort_tornado(engine, tmp_path / "empty.csv")


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
