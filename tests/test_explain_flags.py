"""Warning patterns, serious causes, work-up and management; forward sampling."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

import table_examples
from twitchdx import Engine
from twitchdx.explain import causes_of_concern
from twitchdx.network import NoisyOrNetwork

MORE = {
    "evidence_tables/red_flags.csv": """\
now,Now,cold;dripping,,,emergency,Run,
soon,Soon,lukewarm,,,soon,Walk,
""",
    "evidence_tables/workup.csv": """\
not_xray,limescale,,,avoid,X-ray,Shows nothing,
ask_cold,,lukewarm,,order,cold,Say how cold,
look,limescale,,,order,Look inside,See the scale,
look_pump,pump_worn,,,order,Measure pressure,See the pump,
""",
    "evidence_tables/management.csv": """\
limescale,avoid,Bleach,,
limescale,second,Citric acid,,
pump_worn,first,New pump,,
""",
}


@cache
def engine() -> Engine:
    changes: dict[str, str | bytes | None] = {
        name: table_examples.COFFEE[name] + more for name, more in MORE.items()
    }
    folder = table_examples.write(Path(tempfile.mkdtemp()), changes)
    return Engine.from_tables(folder / "priors", folder / "evidence_tables", "office")


def flags(**entries: object) -> list[str]:
    return [row.flag for row in engine().diagnose(entries).red_flags.patterns]


def test_patterns_need_all_some_and_none():
    assert flags(dripping=True) == []
    assert flags(dripping=True, pump_worn=True) == ["no_coffee"]
    assert flags(dripping=True, pump_worn=True, hard_water=True) == []
    assert flags(dripping=True, pump_worn=True, hard_water=False) == ["no_coffee"]
    assert flags(cold=False, dripping=True, lukewarm=True) == ["soon"]


def test_the_most_urgent_comes_first_and_implied_findings_count():
    assert flags(cold=True, dripping=True) == ["now", "no_coffee", "soon"]


def test_an_uncertain_finding_fires_nothing():
    assert flags(lukewarm="lr=50") == []


def test_serious_causes_past_their_threshold_whatever_their_rank():
    dx = engine().diagnose({"dripping": True, "lukewarm": True})
    (serious,) = dx.red_flags.serious
    assert serious.cause == "pump_worn"
    assert serious.posterior == dx.posterior["pump_worn"] >= serious.action_threshold == 0.05
    assert dx.posterior.index[serious.rank - 1] == "pump_worn"
    assert "pump_worn" in causes_of_concern(dx)
    calm = engine().with_priors({"pump_worn": 0.001}).diagnose({"lukewarm": True})
    assert not calm.red_flags.serious
    assert calm.red_flags


def test_work_up_orders_first_and_leaves_out_what_is_known():
    dx = engine().diagnose({"lukewarm": True, "dripping": False})
    rules = [row.rule for row in dx.work_up]
    assert rules[0] == "ask_cold"
    assert rules[-1] == "not_xray"
    assert "open_it" not in rules  # its pattern wants dripping
    known = engine().diagnose({"lukewarm": True, "cold": False})
    assert "ask_cold" not in [row.rule for row in known.work_up]


def test_management_follows_the_causes_and_then_the_lines():
    dx = engine().diagnose({"lukewarm": True, "dripping": True})
    order = list(causes_of_concern(dx))
    found = [(row.cause, row.line) for row in dx.management]
    lines = ("first", "second", "advice", "avoid")
    assert found == sorted(found, key=lambda one: (order.index(one[0]), lines.index(one[1])))
    assert ("limescale", "second") in found
    assert ("pump_worn", "first") in found


def test_nothing_observed_calls_for_nothing():
    dx = engine().diagnose({})
    assert not dx.red_flags.patterns


def test_sampled_people_have_the_prevalences_of_the_network():
    network = NoisyOrNetwork.from_arrays(
        [0.1, 0.3, 0.02],
        [[0.9, 0.0], [0.5, 0.3], [0.0, 1.0]],
        [0.01, 0.0],
        [[0, 0, 0.7], [0.4, 0, 0], [0, 0, 0]],
    )
    people = network.sample(200_000, np.random.default_rng(5))
    assert people.shape == (200_000, 5)
    shares = people.mean(axis=0)
    assert np.allclose(shares[:3], network.prevalence, atol=0.004)
    both = (people[:, 0] & people[:, 3]).mean() / people[:, 3].mean()
    assert abs(both - network.posterior({0: True})[0]) < 0.01
    assert np.array_equal(people[:10], network.sample(200_000, np.random.default_rng(5))[:10])
