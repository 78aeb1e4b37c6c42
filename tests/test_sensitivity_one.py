"""One-way functions, tornados and flips, against engines re-run at other numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sensitivity_examples import CASES, coffee
from twitchdx import sensitivity
from twitchdx.errors import EvidenceError, ImpossibleEvidenceError, UnknownIdError
from twitchdx.odds import log_odds
from twitchdx.sensitivity.knobs import case_knobs


def rerun(dx, numbers):
    return dx.engine.with_parameters(numbers).diagnose_case(dx.case)


@pytest.fixture(params=range(len(CASES)))
def dx(request):
    return coffee().diagnose(*CASES[request.param])


def test_one_way_agrees_with_running_the_engine_at_20_values(dx):
    for knob in case_knobs(dx, "all", together=False):
        (row,) = knob.parameters
        for target in ("limescale", "pump_worn", "beans_stale"):
            result = sensitivity.one_way(dx, target, row.key)
            assert result.posterior == pytest.approx(dx.posterior[target], abs=1e-12)
            for x in np.linspace(0.001, 0.999, 20):
                try:
                    expected = rerun(dx, {row: x}).posterior[target]
                except ImpossibleEvidenceError:
                    continue
                assert result.at(x) == pytest.approx(expected, abs=1e-10), (row, target, x)


def test_one_way_of_a_link_that_selection_raises():
    """In the shop it is certain long before the number is: from there on nothing moves."""
    for case in CASES[:2]:
        dx = coffee("repair_shop").diagnose(*case)
        (row,) = (p for p in dx.engine.model.parameters if p.key == "link:limescale:hard_water")
        assert max(kink for target in row.targets for kink in target.kinks) < 0.95
        for target in ("limescale", "hard_water", "pump_worn"):
            result = sensitivity.one_way(dx, target, row)
            for x in np.linspace(0.001, 0.999, 40):
                expected = rerun(dx, {row: x}).posterior[target]
                assert result.at(x) == pytest.approx(expected, abs=1e-10), (target, x)
            assert result.at(0.96) == pytest.approx(result.at(0.99), abs=1e-12)


def test_one_way_derivative_and_solution(dx):
    rows = [knob.parameters[0] for knob in case_knobs(dx, "all", together=False)]
    for row in rows:
        result = sensitivity.one_way(dx, "limescale", row)
        if any(abs(piece.high - row.value) < 1e-5 for piece in result.function.pieces):
            continue  # a kink: the two sides differ
        h = 1e-6
        slope = (result.at(row.value + h) - result.at(row.value - h)) / (2 * h)
        assert result.derivative == pytest.approx(slope, abs=1e-5)
        wanted = (result.posterior + result.at(row.high)) / 2
        x = result.solve(wanted)
        if not math.isnan(x):
            assert rerun(dx, {row: x}).posterior["limescale"] == pytest.approx(wanted, abs=1e-10)


def test_tornado_agrees_with_running_the_engine_at_both_ends(dx):
    frame = sensitivity.tornado(dx, "limescale", "all").frame.set_index("parameter")
    assert frame["swing"].is_monotonic_decreasing
    open_ = [c for c in dx.engine.causes if 0 < dx.case.ratios[dx.engine.reader.index[c]] < np.inf]
    for knob in case_knobs(dx, "all"):
        for end in ("low", "high"):
            again = rerun(dx, {row: getattr(row, end) for row in knob.parameters}).posterior
            assert frame.loc[knob.key, f"posterior_{end}"] == pytest.approx(
                again["limescale"], abs=1e-10
            )
            rank = 1 + sum(again[c] > again["limescale"] + 1e-12 for c in open_)
            assert frame.loc[knob.key, f"rank_{end}"] == rank


def test_tornado_of_odds_says_so_and_moves_the_odds():
    dx = coffee().diagnose(*CASES[1])
    result = sensitivity.tornado(dx, "limescale", odds=2)
    assert "odds" in result.spread
    row = result.frame.set_index("parameter").loc["prior:office:pump_worn:any:any"]
    assert log_odds(row["high"]) - log_odds(row["value"]) == pytest.approx(math.log(2))
    with pytest.raises(EvidenceError):
        sensitivity.tornado(dx, "limescale", odds=1)


def test_every_bar_has_its_citation_and_place():
    frame = sensitivity.tornado(coffee().diagnose(*CASES[0]), "limescale", "all").frame
    row = frame.set_index("parameter").loc["likelihood:limescale:lukewarm"]
    assert row["source"] == "bean2001descaling"
    assert row["place"].endswith("taste.csv:2")
    assert row["grade"] == "study"


def leader(posterior, among):
    return posterior[list(among)].idxmax()


@pytest.mark.parametrize("together", [True, False])
def test_flips_hold_just_below_and_just_above(dx, together):
    result = sensitivity.flips(dx, "all", together=together)
    among = sensitivity.contenders(dx)
    assert result.leading == leader(dx.posterior, among)
    frame = result.frame.set_index("parameter")
    for knob in case_knobs(dx, "all", together=together):
        found = frame.loc[knob.key]
        if found["verdict"] == "none":
            for step in np.linspace(-12, 12, 25):
                numbers = {r: _shift(r.value, step) for r in knob.parameters}
                try:
                    again = rerun(dx, numbers).posterior
                except ImpossibleEvidenceError:
                    continue
                assert again[result.leading] >= again[list(among)].max() - 1e-9
            continue
        distance = found["log_odds_distance"]
        past = distance * (1 + 1e-6)
        signs = [s for s in (-1, 1) if _flips_at(dx, knob, s * past, result, among)]
        assert signs, (knob.key, found)
        for sign in (-1, 1):
            assert not _flips_at(dx, knob, sign * distance * (1 - 1e-6), result, among)
        step = signs[0] * distance
        inside = all(r.low <= _shift(r.value, step) <= r.high for r in knob.parameters)
        assert (found["verdict"] == "fragile") == inside
        again = rerun(dx, {r: _shift(r.value, step * (1 + 1e-6)) for r in knob.parameters})
        assert leader(again.posterior, among) == found["becomes"]


def _shift(value, step):
    return 1 / (1 + math.exp(-(log_odds(value) + step)))


def _flips_at(dx, knob, step, result, among):
    again = rerun(dx, {row: _shift(row.value, step) for row in knob.parameters}).posterior
    return leader(again, among) != result.leading


def test_flips_of_an_order_and_of_a_threshold():
    dx = coffee().diagnose(*CASES[1])
    crossing = sensitivity.flips(dx, threshold=("limescale", 0.9)).frame
    for row in crossing[crossing["verdict"] != "none"].itertuples():
        again = rerun(dx, {row.parameter: row.flip_at}).posterior
        assert again["limescale"] == pytest.approx(0.9, abs=1e-10)
    order = sensitivity.flips(dx, order=("pump_worn", "grinder_blunt")).frame
    for row in order[order["verdict"] != "none"].itertuples():
        again = rerun(dx, {row.parameter: row.flip_at}).posterior
        assert again["pump_worn"] == pytest.approx(again["grinder_blunt"], abs=1e-10)
    with pytest.raises(EvidenceError):
        sensitivity.flips(dx, order=("a", "b"), threshold=("limescale", 0.5))
    with pytest.raises(UnknownIdError):
        sensitivity.flips(dx, threshold=("limescal", 0.5))


def test_a_cause_without_age_names_its_rows():
    dx = coffee().diagnose({"lukewarm": True})
    with pytest.raises(EvidenceError, match="prior:office:limescale:any:5\\+"):
        sensitivity.one_way(dx, "limescale", "limescale")
    known = coffee().diagnose({"lukewarm": True}, age=3, sex="male")
    assert sensitivity.one_way(known, "limescale", "limescale").parameter.value == 0.2
    with pytest.raises(UnknownIdError, match="limescale"):
        sensitivity.one_way(known, "limescale", "limescal")
