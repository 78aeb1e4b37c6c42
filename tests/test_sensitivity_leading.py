"""Which causes compete for the lead, and what figures say of themselves."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from sensitivity_examples import CASES, coffee
from twitchdx import Engine, sensitivity
from twitchdx.explain import contenders, leading_causes, open_causes
from twitchdx.explain.leading import RAISED, contending
from twitchdx.sensitivity.plots import save
from twitchdx.sensitivity.present import about_case

mpl.use("Agg")


@pytest.fixture(scope="module")
def dx():
    return Engine.default().diagnose(
        {"urge_to_move": True, "worse_at_rest": True, "weakness": False}, 52, "female"
    )


def test_contenders_are_the_open_causes_whose_odds_at_least_double(dx):
    knowledge = dx.engine.knowledge
    odds = dx.posterior / (1 - dx.posterior)
    before = dx.prior / (1 - dx.prior)
    expected = [
        cause
        for cause in dx.posterior.index
        if odds[cause] >= RAISED * before[cause] and knowledge.causes[cause].nature != "exposure"
    ]
    assert list(contenders(dx)) == expected
    every = contenders(dx, exposures=True, bystanders=True)
    assert set(every) == set(dx.engine.causes)
    assert set(contenders(dx, bystanders=True)) == set(open_causes(dx))


def test_a_common_bystander_is_no_rival_unless_asked_for(dx):
    bystanders = set(open_causes(dx)) - set(contenders(dx))
    likeliest = max(bystanders, key=lambda cause: dx.posterior[cause])
    assert dx.posterior[likeliest] > 0.15
    assert dx.posterior[likeliest] < 1.5 * dx.prior[likeliest]
    assert likeliest not in set(sensitivity.flips(dx).frame["becomes"])
    assert likeliest in set(sensitivity.flips(dx, bystanders=True).frame["becomes"])


def test_what_leads_is_what_the_differential_puts_first(dx):
    assert contenders(dx)[0] == leading_causes(dx)[0]


def test_a_lone_contender_has_the_next_one_as_its_rival():
    prior = np.array([0.3, 0.01, 0.2])
    posterior = np.array([0.3, 0.2, 0.25])
    assert contending(posterior, prior).tolist() == [False, True, True]
    assert contending(np.array([0.4]), np.array([0.1])).tolist() == [True]


def test_figures_name_their_case_and_draw_no_bar_without_a_swing(tmp_path):
    dx = coffee().diagnose(*CASES[1])
    result = sensitivity.tornado(dx, "limescale", "all")
    idle = int((result.frame["swing"] <= 1e-9).sum())
    assert idle
    axes = result.plot()
    bars = len(axes.patches) // 2
    assert bars == min(15, len(result.frame) - idle)
    assert any(f"{idle:,} move nothing" in text.get_text() for text in axes.texts)
    about = about_case(dx)
    assert about == "office, male, 30 years; present lukewarm, dripping; absent cold"
    file = tmp_path / "tornado.svg"
    save(result, file, about)
    assert about in file.read_text()
    crossed = sensitivity.flips(dx, threshold=("limescale", 0.9)).plot()
    assert crossed.get_title(loc="left").startswith("Smallest change after which limescale crosses")
