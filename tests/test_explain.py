"""Explanations against enumeration of every state of every node."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pandas as pd
import pytest

from explain_examples import Enumeration, observed, random_engine
from sensitivity_examples import coffee
from twitchdx.diagnosis import Diagnosis
from twitchdx.errors import EvidenceError, UnknownIdError
from twitchdx.explain import (
    attribution,
    most_probable_sets,
    next_questions,
    question_plan,
    smallest_explanations,
    solidity,
)
from twitchdx.explain import explain as explain_case
from twitchdx.explain.sets import explaining_causes, irredundant_covers

NAT = 10 / math.log(10)

ENTRIES = (
    {"f0": True, "f1": True, "f2": False, "f3": True},
    {"f0": True, "f4": "lr=3", "c2": "lr=0.3", "f5": False},
    {"c1": True, "f1": True, "f3": True},
    {"f2": True, "f5": True, "c4": False},
)


def cases() -> list[Diagnosis]:
    sexes = (None, "female", None, "male")
    return [
        random_engine(seed).diagnose(entries, sex=sex)
        for seed, (entries, sex) in enumerate(zip(ENTRIES, sexes, strict=True))
    ]


@pytest.fixture(params=range(4))
def case(request: pytest.FixtureRequest) -> tuple[Diagnosis, Enumeration]:
    dx = cases()[request.param]
    return dx, Enumeration(dx.engine, dx.case.weights)


def odds(slow: Enumeration, seen: dict[str, float], cause: str) -> float:
    on, off = (slow.probability(seen, {cause: state}) for state in (True, False))
    return math.log(on) - math.log(off)


def entropy(p: float) -> float:
    return sum(-x * math.log2(x) for x in (p, 1 - p) if x > 0)


def test_posteriors_of_the_oracle_agree(case):
    dx, slow = case
    for cause in dx.engine.causes:
        assert dx.posterior[cause] == pytest.approx(slow.posterior(observed(dx), cause), abs=1e-12)


# ------------------------------------------------------------------ weight of evidence


def test_weights_are_the_average_over_all_orders(case):
    dx, slow = case
    seen = observed(dx)
    for cause in dx.engine.causes:
        if cause in dx.case.present or cause in dx.case.absent:
            continue
        explanation = dx.explain(cause, "nats")
        wanted = dict.fromkeys(seen, 0.0)
        orders = list(itertools.permutations(seen))
        for order in orders:
            known: dict[str, float] = {}
            for node in order:
                before = odds(slow, known, cause)
                known[node] = seen[node]
                wanted[node] += (odds(slow, known, cause) - before) / len(orders)
        frame = explanation.frame.set_index("node")
        for node in seen:
            assert frame["weight"][node] == pytest.approx(wanted[node], abs=1e-10)
            rest = {other: ratio for other, ratio in seen.items() if other != node}
            last = odds(slow, seen, cause) - odds(slow, rest, cause)
            assert frame["alone_last"][node] == pytest.approx(last, abs=1e-10)
            assert frame["likelihood_ratio"][node] == pytest.approx(math.exp(last), rel=1e-9)


def test_weights_add_up_to_the_change_from_prior_to_posterior(case):
    dx, slow = case
    for cause in dx.engine.causes:
        explanation = dx.explain(cause)
        assert explanation.frame["weight"].sum() == pytest.approx(explanation.total, abs=1e-9)
        if 0 < dx.posterior[cause] < 1:
            change = odds(slow, observed(dx), cause) - odds(slow, {}, cause)
            assert explanation.total == pytest.approx(NAT * change, abs=1e-9)


def test_a_known_cause_is_settled_by_its_own_observation():
    dx = random_engine(2).diagnose({"c1": True, "f1": True})
    frame = dx.explain("c1").frame.set_index("node")
    assert frame["likelihood_ratio"]["c1"] == math.inf
    assert "settles it" in frame["sentence"]["c1"]
    assert np.isfinite(frame["weight"]).all()
    absent = random_engine(2).diagnose({"c1": False, "f1": True}).explain("c1")
    assert absent.frame["weight"].sum() == pytest.approx(absent.total, abs=1e-9)


def test_nothing_observed_explains_nothing():
    dx = random_engine(0).diagnose({})
    explanation = dx.explain("c1")
    assert explanation.frame.empty
    assert explanation.total == 0
    assert str(explanation).startswith("c1: +0.0 decibans")
    assert dx.attribution.disablement.sum() == 0
    assert dx.differential()["cause"].tolist()[0] == dx.posterior.index[0]
    assert not dx.red_flags.patterns
    assert dx.conflict.measure == 0
    assert dx.conflict.most_conflicting is None
    assert smallest_explanations(dx) == ()
    assert solidity(dx).shares == {}
    assert len(next_questions(dx).about) == sum(
        dx.engine.knowledge.causes[c].nature != "exposure" for c in dx.engine.causes
    )


def test_units_differ_by_their_factor():
    dx = cases()[0]
    nats, bits, decibans = (dx.explain("c2", unit).total for unit in ("nats", "bits", "decibans"))
    assert bits == pytest.approx(nats / math.log(2))
    assert decibans == pytest.approx(10 * nats / math.log(10))


def test_many_observations_are_averaged_over_sampled_orders(monkeypatch):
    dx = random_engine(1).diagnose({f"f{i}": i % 2 == 0 for i in range(6)})
    exact = dx.explain("c2").frame.set_index("node")
    monkeypatch.setattr("twitchdx.explain.weight.EXACT_OBSERVATIONS", 5)
    rough = dx.explain("c2")
    assert rough.method == "sampled"
    assert rough.frame["weight"].sum() == pytest.approx(rough.total, abs=1e-9)
    frame = rough.frame.set_index("node")
    off = (frame["weight"] - exact["weight"]).abs()
    assert (off <= 4 * frame["standard_error"] + 1e-9).all()
    assert (frame["standard_error"] < 0.5).all()


def test_every_reason_names_its_numbers_and_where_they_come_from():
    dx = coffee().diagnose({"lukewarm": True, "dripping": False})
    for row in dx.explain("limescale").frame.to_dict("records"):
        assert row["rows"]
        assert len(row["rows"]) == len(row["numbers"])
        assert set(row["sources"]) <= set(dx.engine.knowledge.sources)
    frame = dx.explain("limescale").frame.set_index("node")
    assert frame["numbers"]["lukewarm"][0].startswith("Tepid, given Limescale: 60 %")
    assert "to be absent" in frame["sentence"]["dripping"]


def test_a_known_cause_is_a_reason_for_what_it_leads_to():
    dx = coffee().diagnose({"hard_water": True, "lukewarm": True})
    frame = dx.explain("limescale").frame.set_index("node")
    assert frame["weight"]["hard_water"] > 0
    assert frame["numbers"]["hard_water"][0].startswith("Limescale, given Hard water: 45 %")
    back = coffee().diagnose({"limescale": True}).explain("hard_water").frame
    assert back["rows"][0] == frame["rows"]["hard_water"]


def test_unknown_causes_and_syndromes_are_refused():
    dx = coffee().diagnose({"lukewarm": True})
    for wrong in ("limescal", "low_pressure", "lukewarm"):
        with pytest.raises(UnknownIdError):
            explain_case(dx, wrong)


def test_a_posterior_near_one_keeps_its_digits():
    engine = random_engine(0).with_priors({"c3": 1 - 1e-7})
    dx = engine.diagnose({"f3": True})
    slow = Enumeration(engine, dx.case.weights)
    wanted = NAT * (odds(slow, observed(dx), "c3") - odds(slow, {}, "c3"))
    assert dx.explain("c3").total == pytest.approx(wanted, abs=1e-6)


# ------------------------------------------------------------------ what goes unexplained


def test_unexplained_share_is_what_the_background_alone_would_show(case):
    """The leak as a cause of its own: alone on, with every other trigger off."""
    dx, _ = case
    seen = observed(dx)
    for finding, share in dx.attribution.unexplained.items():
        total = alone = 0.0
        for stratum, network in zip(dx.case.weights, dx.engine.networks, strict=True):
            leak = network.leak[network.findings.index(finding)]
            strength = network.strength[:, network.findings.index(finding)]
            part = Enumeration(
                dx.engine, np.array([float(n is network) for n in dx.engine.networks])
            )
            rest = part.given({k: v for k, v in seen.items() if k != finding})
            rest = rest * part.states[:, part.index[finding]]  # one state of the finding per rest
            causes = part.states[:, : len(network.causes)]
            quiet = np.prod(1 - strength * causes, axis=1)
            on = 1 - (1 - leak) * quiet
            total += stratum * rest.sum()
            share_alone = np.divide(leak * quiet, on, out=np.zeros_like(on), where=on > 0)
            alone += stratum * (rest * share_alone).sum()
        assert share == pytest.approx(alone / total, abs=1e-10)


def test_attribution_stays_within_the_number_of_findings(case):
    dx, _ = case
    present = len(dx.attribution.disabled.columns)
    for column in (dx.attribution.disablement, dx.attribution.sufficiency):
        assert column.between(0, present + 1e-12).all()
    assert (dx.attribution.disablement <= dx.attribution.sufficiency + 1e-12).all()


def test_a_case_too_wide_gets_lower_bounds_and_says_so(case, monkeypatch):
    dx, _ = case
    exact = dx.attribution
    assert exact.method == "exact"
    monkeypatch.setattr(sys.modules["twitchdx.explain.attribution"], "MOST_STATES", 0)
    bound = attribution(dx)
    assert bound.method in ("exact", "one step")
    if bound.method == "exact":
        pd.testing.assert_frame_equal(bound.disabled, exact.disabled, atol=1e-10)
        pd.testing.assert_frame_equal(bound.switched_on, exact.switched_on, atol=1e-10)
    for lower, full in ((bound.disabled, exact.disabled), (bound.switched_on, exact.switched_on)):
        assert (lower <= full + 1e-12).all(axis=None)
        assert lower.to_numpy().sum() > 0
    # what has no way around through other causes is exact
    for cause in ("c3", "c4"):
        assert bound.disabled.loc[cause].tolist() == pytest.approx(
            exact.disabled.loc[cause].tolist(), abs=1e-10
        )
        assert bound.switched_on.loc[cause].tolist() == pytest.approx(
            exact.switched_on.loc[cause].tolist(), abs=1e-10
        )


# ------------------------------------------------------------------ joint hypotheses


@pytest.mark.parametrize("asked", [None, ("c1", "c2", "c4"), ("c0",)])
def test_most_probable_sets_equal_enumeration(case, asked):
    dx, slow = case
    found = most_probable_sets(dx, 6, asked)
    weight = slow.given(observed(dx))
    shares = {}
    for states in itertools.product([False, True], repeat=len(found.causes)):
        event = dict(zip(found.causes, states, strict=True))
        share = weight[slow.which(event)].sum() / weight.sum()
        if share > 0:
            shares[frozenset(c for c, on in event.items() if on)] = share
    best = sorted(shares.values(), reverse=True)
    assert found.exact
    assert [h.probability for h in found] == pytest.approx(best[:6], abs=1e-12)
    for hypothesis in found:
        assert hypothesis.probability == pytest.approx(shares[hypothesis.present], abs=1e-12)
    if len(best) > 6:
        assert best[6] <= found.missed + 1e-12
    assert len(found.to_frame()) == len(found) == min(6, len(best))


def test_a_search_cut_short_says_what_it_may_have_missed(monkeypatch):
    monkeypatch.setattr("twitchdx.explain.sets.MOST_EXPANSIONS", 3)
    monkeypatch.setattr("twitchdx.explain.sets.TOGETHER", 1)
    dx = cases()[0]
    found = most_probable_sets(dx, 50)
    assert not found.exact
    assert found.missed > 0
    monkeypatch.undo()
    full = most_probable_sets(dx, 50)
    left = [h.probability for h in full if h.present not in {f.present for f in found}]
    assert max(left) <= found.missed + 1e-12


def test_unknown_cause_in_a_set_is_refused():
    with pytest.raises(UnknownIdError):
        most_probable_sets(cases()[0], 2, ["c1", "nothing"])


def test_smallest_explanations_against_all_sets(case):
    dx, slow = case
    able = {f: set(causes) for f, causes in explaining_causes(dx).items() if causes}
    everything = sorted(set().union(*able.values()))
    covers = []
    for size in range(1, 5):
        for chosen in itertools.combinations(everything, size):
            meets = [causes & set(chosen) for causes in able.values()]
            spare = any(all(m != {c} for m in meets) for c in chosen)
            if all(meets) and not spare:
                covers.append(frozenset(chosen))
    found = smallest_explanations(dx, most=100)
    weight = slow.given(observed(dx))
    shares = {c: weight[slow.which(dict.fromkeys(c, True))].sum() / weight.sum() for c in covers}
    shares = {c: share for c, share in shares.items() if share > 0}
    assert {h.present for h in found} == set(shares)
    for hypothesis in found:
        assert hypothesis.probability == pytest.approx(shares[hypothesis.present], abs=1e-12)
    assert [h.probability for h in found] == sorted((h.probability for h in found), reverse=True)


def test_explaining_causes_by_enumeration():
    dx = random_engine(3).diagnose({"f2": True, "f5": True})
    slow = Enumeration(dx.engine, dx.case.weights)
    able = explaining_causes(dx)
    none = dict.fromkeys(dx.engine.causes, False)
    for finding in ("f2", "f5"):
        alone = slow.probability({}, {**none, finding: True}) / slow.probability({}, none)
        for cause in dx.engine.causes:
            reached = {"c0": ("c2", "c5"), "c1": ("c3",), "c2": ("c5",)}.get(cause, ())
            event = {c: False for c in none if c != cause and c not in reached} | {cause: True}
            shown = slow.probability({}, event | {finding: True}) / slow.probability({}, event)
            assert (cause in able[finding]) == (shown >= 2 * alone)


def test_covers_need_all_their_members():
    sets = [frozenset("ab"), frozenset("bc"), frozenset("d")]
    assert irredundant_covers(sets, 3) == [frozenset("acd"), frozenset("bd")]
    assert irredundant_covers(sets, 1) == []
    assert irredundant_covers([], 3) == []


# ------------------------------------------------------------------ next questions


@pytest.mark.parametrize("about", ["leading", "serious", ("c3", "c0")])
def test_expected_information_is_mutual_information(case, about):
    dx, slow = case
    asked = next_questions(dx, about)
    seen = observed(dx)
    assert set(asked.frame["finding"]) == set(dx.engine.findings) - set(seen)
    for row in asked.frame.to_dict("records"):
        chance = slow.posterior(seen, row["finding"])
        assert row["probability"] == pytest.approx(chance, abs=1e-12)
        bits = 0.0
        for cause in asked.about:
            bits += entropy(slow.posterior(seen, cause))
            for answer, share in ((np.inf, chance), (0.0, 1 - chance)):
                bits -= share * entropy(slow.posterior({**seen, row["finding"]: answer}, cause))
        assert row["information"] == pytest.approx(bits, abs=1e-10)
        assert row["worth"] == pytest.approx(bits - asked.alpha * row["burden"], abs=1e-10)
    assert asked.frame["worth"].is_monotonic_decreasing


def test_leading_cause_after_each_answer_and_the_stopping_rule(case):
    dx, slow = case
    seen = observed(dx)
    known = {*dx.case.present, *dx.case.absent}
    open_ = [
        c
        for c in dx.engine.causes
        if dx.engine.knowledge.causes[c].nature != "exposure" and c not in known
    ]

    def leader(given: dict[str, float]) -> str:
        return max(open_, key=lambda c: slow.posterior(given, c) - slow.posterior({}, c))

    asked = next_questions(dx)
    assert asked.leading == leader(seen)
    changes = False
    for row in asked.frame.to_dict("records"):
        for answer, column, chance in (
            (np.inf, "if_present", row["probability"]),
            (0.0, "if_absent", 1 - row["probability"]),
        ):
            assert row[column] == leader({**seen, row["finding"]: answer})
            changes |= row[column] != asked.leading and chance >= 0.02
    assert asked.may_stop != changes


def test_when_everything_is_known_one_may_stop():
    dx = random_engine(0).diagnose({f"f{i}": i < 2 for i in range(6)})
    asked = next_questions(dx)
    assert asked.frame.empty
    assert asked.may_stop
    assert question_plan(dx).empty


def test_a_plan_adds_the_most_joint_information_each_step():
    dx = random_engine(0).diagnose({"f0": True})
    slow = Enumeration(dx.engine, dx.case.weights)
    plan = question_plan(dx, steps=3, alpha=0.0)
    first = next_questions(dx, alpha=0.0)

    def left(asked: tuple[str, ...]) -> float:
        """Expected entropy of the causes once these are known."""
        total = 0.0
        for answers in itertools.product([np.inf, 0.0], repeat=len(asked)):
            seen = {"f0": np.inf, **dict(zip(asked, answers, strict=True))}
            event = {f: a == np.inf for f, a in zip(asked, answers, strict=True)}
            share = slow.probability({"f0": np.inf}, event) / slow.probability({"f0": np.inf})
            total += share * sum(entropy(slow.posterior(seen, c)) for c in first.about)
        return total

    chosen: tuple[str, ...] = ()
    for row in plan.to_dict("records"):
        gains = {
            f: left(chosen) - left((*chosen, f))
            for f in dx.engine.findings
            if f not in (*chosen, "f0")
        }
        assert row["information"] == pytest.approx(max(gains.values()), abs=1e-10)
        chosen = (*chosen, row["finding"])
        assert gains[row["finding"]] == pytest.approx(max(gains.values()), abs=1e-10)
    assert chosen[0] == first.frame["finding"][0]


def test_kinds_are_asked_apart():
    dx = random_engine(0).diagnose({"f0": True})
    rows = dx.engine.knowledge.findings
    for kind, allowed in (
        ("question", {"symptom", "history"}),
        ("examination", {"sign"}),
        ("test", {"test"}),
    ):
        frame = next_questions(dx, kinds=[kind]).frame
        assert {rows[f].kind for f in frame["finding"]} <= allowed
    with pytest.raises(EvidenceError, match="oracle"):
        next_questions(dx, kinds=["oracle"])
    with pytest.raises(UnknownIdError):
        next_questions(dx, ["c77"])


def test_what_is_settled_is_not_asked():
    dx = coffee().diagnose({"cold": True})
    assert "lukewarm" not in next_questions(dx).frame["finding"].tolist()
    dx = coffee().diagnose({"lukewarm": False})
    assert "cold" not in next_questions(dx).frame["finding"].tolist()


def test_an_answer_that_implies_a_known_one_does_not_count_twice():
    dx = coffee().diagnose({"lukewarm": True})
    both = coffee().diagnose({"lukewarm": True, "cold": True})
    row = next_questions(dx, ["limescale"]).frame.set_index("finding").loc["cold"]
    without = coffee().diagnose({"lukewarm": True, "cold": False})
    bits = (
        entropy(dx.posterior["limescale"])
        - row["probability"] * entropy(both.posterior["limescale"])
        - (1 - row["probability"]) * entropy(without.posterior["limescale"])
    )
    assert row["information"] == pytest.approx(max(bits, 0), abs=1e-10)


# ------------------------------------------------------------------ conflict


def test_conflict_measure_and_contributions(case):
    dx, slow = case
    seen = observed(dx)
    total = slow.probability(seen)
    wanted = sum(math.log(slow.probability({k: v})) for k, v in seen.items()) - math.log(total)
    assert dx.conflict.measure == pytest.approx(wanted, abs=1e-10)

    def measure(some: dict[str, float]) -> float:
        return sum(math.log(slow.probability({k: v})) for k, v in some.items()) - math.log(
            slow.probability(some)
        )

    for node in seen:
        rest = {k: v for k, v in seen.items() if k != node}
        added = measure(seen) - measure(rest)
        assert dx.conflict.contributions[node] == pytest.approx(added, abs=1e-10)
    assert dx.conflict.most_conflicting == max(
        dx.conflict.contributions, key=lambda n: dx.conflict.contributions[n]
    )


def test_percentile_against_all_patterns(case):
    dx, slow = case
    asked = [n for n, ratio in observed(dx).items() if ratio in (0.0, np.inf)]
    own = slow.probability({n: observed(dx)[n] for n in asked})
    as_odd = 0.0
    for answers in itertools.product([0.0, np.inf], repeat=len(asked)):
        share = slow.probability({}, {n: a == np.inf for n, a in zip(asked, answers, strict=True)})
        as_odd += share if share <= own * (1 + 1e-9) else 0.0
    assert dx.conflict.percentile == pytest.approx(as_odd, abs=0.05)


def test_an_odd_case_is_called_so():
    dx = random_engine(0).with_priors({f"c{i}": 0.3 for i in range(1, 4)})
    usual = dx.diagnose({"f0": False, "f1": False})
    assert not usual.conflict.unusual
    assert "conflict" in str(usual.conflict)


# ------------------------------------------------------------------ solidity


def test_shares_by_grade_add_up(case):
    dx, _ = case
    found = solidity(dx)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares == pytest.approx({"study": 1.0})


def test_judged_numbers_are_counted_by_the_weight_they_carry():
    dx = coffee().diagnose({"cold": True})
    found = solidity(dx, "limescale")  # one observation: one judged row, a judged background
    assert found.shares == pytest.approx({"expert": 1.0})
    dx = coffee().diagnose({"lukewarm": True, "dripping": True}, sex="male", age=30)
    found = solidity(dx, "pump_worn")
    frame = dx.explain("pump_worn").frame.set_index("node")["weight"].abs()
    # dripping: link (expert), likelihood of low pressure (review), background (study)
    judged = frame["dripping"] / 3 / frame.sum()
    assert found.expert == pytest.approx(judged)
    assert found.shares["review"] == pytest.approx(judged)
    assert "pump_worn" in str(found)
