"""Closed forms against published numbers, a network by another library, and a known inequality."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twitchdx.inference import infer
from twitchdx.network import NoisyOrNetwork
from twitchdx.sensitivity import LinearFractional, PiecewiseFractional, crossing, distance, log_odds
from twitchdx.sensitivity.functions import first_roots

# The fire-alarm network of Chan and Darwiche, "When do numbers really matter?" (2002)
FIRE_ALARM = {
    "tampering": 0.02,
    "fire": 0.01,
    "smoke_fire": 0.9,
    "smoke_none": 0.01,
    "alarm_both": 0.5,
    "alarm_tampering": 0.85,
    "alarm_fire": 0.99,
    "alarm_none": 0.0001,
    "leaving_alarm": 0.88,
    "leaving_none": 0.001,
    "report_leaving": 0.75,
    "report_none": 0.01,
}


def fire_alarm(**changed):
    """P(report, no smoke, tampering) and P(report, no smoke) by pgmpy's variable elimination."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.inference import VariableElimination
    from pgmpy.models import DiscreteBayesianNetwork

    p = {**FIRE_ALARM, **changed}

    def table(node, parents, on):
        return TabularCPD(node, 2, [[1 - x for x in on], on], parents, [2] * len(parents))

    model = DiscreteBayesianNetwork([("T", "A"), ("F", "A"), ("F", "S"), ("A", "L"), ("L", "R")])
    model.add_cpds(
        table("T", [], [p["tampering"]]),
        table("F", [], [p["fire"]]),
        table("S", ["F"], [p["smoke_none"], p["smoke_fire"]]),
        table(
            "A",
            ["T", "F"],
            [p["alarm_none"], p["alarm_fire"], p["alarm_tampering"], p["alarm_both"]],
        ),
        table("L", ["A"], [p["leaving_none"], p["leaving_alarm"]]),
        table("R", ["L"], [p["report_none"], p["report_leaving"]]),
    )
    joint = VariableElimination(model).query(["T", "S", "R"], show_progress=False)
    both = joint.get_value(T=1, S=0, R=1)
    return both, both + joint.get_value(T=0, S=0, R=1)


def sensitivity_to(parameter):
    ends = []
    for x in (0.0, 1.0):
        joint, evidence = fire_alarm(**{parameter: x})
        ends.append((x, joint, evidence))
    return LinearFractional.through(*ends)


def test_fire_alarm_posterior():
    joint, evidence = fire_alarm()
    assert joint / evidence == pytest.approx(0.5008, abs=5e-5)
    f = sensitivity_to("tampering")
    assert f.at(0.02) == pytest.approx(joint / evidence, abs=1e-12)


@pytest.mark.parametrize(
    ("parameter", "published"), [("tampering", 0.0364), ("report_none", 0.0047)]
)
def test_fire_alarm_changes_that_reach_65_percent(parameter, published):
    x = sensitivity_to(parameter).solve(0.65)
    assert x == pytest.approx(published, abs=5e-5)
    joint, evidence = fire_alarm(**{parameter: x})
    assert joint / evidence == pytest.approx(0.65, abs=1e-10)


def test_fire_alarm_parameters_that_cannot_reach_65_percent():
    for parameter in ("smoke_none", "leaving_alarm", "report_leaving"):
        f = sensitivity_to(parameter)
        low, high = sorted((f.at(0.0), f.at(1.0))) if f.at(0.0) == f.at(0.0) else (0, 1)
        if not low <= 0.65 <= high:
            assert math.isnan(f.solve(0.65))


unit = st.floats(0.01, 0.99)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_posteriors_move_no_further_in_log_odds_than_a_parameter(data):
    n_causes, n_findings = 3, 2
    prior = [data.draw(unit) for _ in range(n_causes)]
    strength = [[data.draw(unit) for _ in range(n_findings)] for _ in range(n_causes)]
    leak = [data.draw(unit) for _ in range(n_findings)]
    links = np.zeros((n_causes, n_causes))
    links[0, 1] = data.draw(unit)
    kind = data.draw(st.sampled_from(["prior", "strength", "leak", "links"]))
    ratios = np.ones(n_causes + n_findings)
    for finding in range(n_findings):
        ratios[n_causes + finding] = data.draw(st.sampled_from([0.0, 1.0, np.inf, 3.0]))
    place = {
        "prior": (data.draw(st.integers(0, 2)),),
        "strength": (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 1))),
        "leak": (data.draw(st.integers(0, 1)),),
        "links": (0, 1),
    }[kind]
    arrays = {
        "prior": np.array(prior),
        "strength": np.array(strength),
        "leak": np.array(leak),
        "links": links,
    }
    x, y = float(arrays[kind][place]), data.draw(unit)

    def posterior(value):
        new = {name: array.copy() for name, array in arrays.items()}
        new[kind][place] = value
        network = NoisyOrNetwork.from_arrays(
            new["prior"], new["strength"], new["leak"], new["links"]
        )
        return infer(network, ratios).posterior

    before, after = posterior(x), posterior(y)
    for cause in range(n_causes):
        moved = distance(float(before[cause]), float(after[cause]))
        assert moved <= distance(x, y) + 1e-9
        if kind == "prior" and place == (cause,) and cause != 1:
            assert moved == pytest.approx(distance(x, y), abs=1e-9)


def test_vertex_and_proximity_of_a_hyperbola():
    # f(x) = x / (x + 0.01 (1 - x)): steep near 0
    f = LinearFractional(1.0, 0.0, 0.99, 0.01)
    assert f.derivative(f.vertex) == pytest.approx(1)
    assert 0 < f.vertex < 1
    assert f.vertex_proximity(0.2) == pytest.approx(abs(0.2 - f.vertex))
    falling = LinearFractional(-1.0, 1.0, -0.99, 1.0)
    assert abs(falling.derivative(falling.vertex)) == pytest.approx(1)
    assert math.isnan(LinearFractional(0.5, 0.1, 0.0, 1.0).vertex)


def test_crossing_and_pieces():
    one, other = LinearFractional(1, 0, 0, 1), LinearFractional(0, 0.3, 0, 1)
    assert crossing(one, other) == pytest.approx(0.3)
    assert math.isnan(crossing(other, other))
    pieces = PiecewiseFractional(
        (LinearFractional(0, 0.2, 0, 1, 0, 0.5), LinearFractional(1, -0.3, 0, 1, 0.5, 1))
    )
    assert (pieces.at(0.1), pieces.at(0.9)) == (0.2, pytest.approx(0.6))
    assert pieces.solve(0.4, near=0.1) == pytest.approx(0.7)
    assert math.isnan(pieces.solve(0.9, near=0.1))
    assert log_odds(0.0) == -math.inf
    assert log_odds(1.0) == math.inf


def test_first_roots_takes_the_nearest_on_either_side():
    x = np.array([0.0, 0.2, 0.5, 0.8, 1.0])
    values = np.array([[-1.0, 1.0, 2.0, -2.0, 3.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    below, above = first_roots(np.stack([x, x]), values, np.array([2, 2]))
    np.testing.assert_allclose(below, [0.1, np.nan])
    np.testing.assert_allclose(above, [0.65, np.nan])
