"""Learning: conjugate where it can be, recovers the truth of simulated data, and gains held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from twitchdx import Engine, NoisyOrNetwork
from twitchdx.cli import main
from twitchdx.model import Model, Parameter, Stratum, Target
from twitchdx.sensitivity.beta import fit_beta
from twitchdx.validation.cases import read_cases, read_vignettes
from twitchdx.validation.learn import Learned, held_out_gain, learn, to_prior_set, with_truth
from twitchdx.validation.simulated import draw_people

DOMAIN = Path(__file__).parent / "second_domain"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.from_tables(DOMAIN / "priors", DOMAIN / "evidence_tables", "town")


def parameter(kind: str, cause: str, other: str, value: float, target: Target) -> Parameter:
    return Parameter(
        kind,
        "p" if kind == "prior" else "",
        cause,
        other,
        "any",
        "any",  # type: ignore[arg-type]
        value,
        value / 3,
        min(0.99, 3 * value),
        "expert",
        (),
        None,
        (target,),
    )


def one_cause(prior: float, strength: float, leak: float) -> Model:
    """One cause, one finding; every table number is the network's own."""
    network = NoisyOrNetwork.from_arrays([prior], [[strength]], [leak])
    rows = (
        parameter("prior", "c", "", prior, Target(0, "prior", (0,), 1.0, 0.0)),
        parameter("likelihood", "c", "f", strength, Target(0, "strength", (0, 0), 1.0, 0.0)),
        parameter("background", "", "f", leak, Target(0, "leak", (0,), 1.0, 0.0)),
    )
    return Model("p", (Stratum("p", "female", 0, None, 1.0, 1.0, network),), rows)


class Bare:
    """Enough of an engine for `learn`."""

    def __init__(self, model: Model) -> None:
        self.model = model


def learn_bare(
    model: Model, ratios: np.ndarray, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Learned]:
    import twitchdx.validation.learn as module

    monkeypatch.setattr(module, "replace", lambda thing, **new: new.get("model", thing))
    found = learn(Bare(model), ratios, np.ones((len(ratios), 1)), kinds)  # type: ignore[arg-type]
    return {one.parameter.kind: one for one in found.learned}


def test_counts_are_conjugate_where_nothing_else_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    model = one_cause(0.2, 0.3, 0.0)
    # 30 with the cause, 12 of them with the finding; 70 without
    rows = [[np.inf, np.inf]] * 12 + [[np.inf, 0.0]] * 18 + [[0.0, 0.0]] * 70
    found = learn_bare(model, np.array(rows), ("prior", "likelihood"), monkeypatch)
    for kind, hits, trials, value in (("prior", 30, 100, 0.2), ("likelihood", 12, 30, 0.3)):
        beta = fit_beta(value, value / 3, 3 * value)
        expected = (beta.a + hits) / (beta.a + beta.b + trials)
        assert found[kind].value == pytest.approx(expected, rel=1e-6)
        assert found[kind].added == pytest.approx(trials, rel=1e-6)


def test_em_finds_the_posterior_mode_of_a_noisy_or(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a grid: cause known, two ways for the finding to be on."""
    model = one_cause(0.2, 0.3, 0.1)
    rows = np.array(
        [[np.inf, np.inf]] * 25 + [[np.inf, 0.0]] * 15 + [[0.0, np.inf]] * 12 + [[0.0, 0.0]] * 48
    )
    found = learn_bare(model, rows, ("likelihood", "background"), monkeypatch)
    s, q = np.meshgrid(np.linspace(0.002, 0.998, 800), np.linspace(0.002, 0.998, 800))
    on = 1 - (1 - s) * (1 - q)
    density = 25 * np.log(on) + 15 * np.log(1 - on) + 12 * np.log(q) + 48 * np.log(1 - q)
    for x, value in ((s, 0.3), (q, 0.1)):
        beta = fit_beta(value, value / 3, min(0.99, 3 * value))
        density += beta.a * np.log(x) + beta.b * np.log(1 - x)
    best = np.unravel_index(density.argmax(), density.shape)
    assert found["likelihood"].value == pytest.approx(s[best], abs=0.01)
    assert found["background"].value == pytest.approx(q[best], abs=0.01)


def test_learned_numbers_come_nearer_to_the_truth_and_gain_on_others(
    engine: Engine,
) -> None:
    changed = [p for p in engine.model.parameters if p.kind == "likelihood"][:12]
    numbers = (0.4, 0.9, 0.7, 0.5, 0.6, 0.8, 0.6, 0.7, 0.8, 0.5, 0.9, 0.3)
    truth = engine.model.with_parameters(dict(zip(changed, numbers, strict=True)))
    drawn = draw_people(engine, truth.networks, 1500, np.random.default_rng(4), share=(1, 1))
    ratios = drawn.ratios.copy()
    places = [engine.reader.index[c] for c in engine.causes]
    ratios[:, places] = np.where(drawn.truth[:, places], np.inf, 0.0)
    found = learn(engine, ratios, drawn.weights, ("likelihood",), most_rounds=8)
    after = {one.parameter.key: one for one in found.learned}
    much = [p for p in changed if p.key in after and after[p.key].added > 15]
    assert len(much) >= 3
    wanted = {p.key: truth.parameter(p.key).value for p in changed}
    before = np.mean([abs(p.value - wanted[p.key]) for p in much])
    now = np.mean([abs(after[p.key].value - wanted[p.key]) for p in much])
    assert now < 0.5 * before
    inside = [after[p.key].low <= wanted[p.key] <= after[p.key].high for p in much]
    assert np.mean(inside) >= 0.7


def test_what_is_learned_is_a_prior_set_that_gives_the_learned_engine(
    engine: Engine, tmp_path: Path
) -> None:
    cases = read_cases(engine, read_vignettes(DOMAIN / "vignettes.csv"))
    told = with_truth(engine, cases)
    found = learn(engine, told, cases.weights, ("likelihood", "background"), most_rounds=4)
    assert found.learned
    path = tmp_path / "set.toml"
    path.write_text(to_prior_set(found, engine, "set", "a test", "nobody").to_toml())
    again = engine.with_priors(path)
    evidence = {"throbbing": True, "fever_today": False}
    expected = found.engine.diagnose(evidence).posterior
    told = again.diagnose(evidence).posterior[expected.index]
    assert told.to_numpy() == pytest.approx(expected.to_numpy(), abs=2e-3)


def test_held_out_gain_when_tables_are_wrong(engine: Engine, tmp_path: Path) -> None:
    drawn = CliRunner().invoke(
        main,
        [
            "simulate",
            "-n",
            "240",
            "--seed",
            "9",
            "-o",
            "-",
            "--population",
            "town",
            "--tables",
            str(DOMAIN),
            "--priors",
            "red_wine=0.6",
            "--priors",
            "tension_headache=0.1",
        ],
    )
    assert drawn.exit_code == 0
    path = tmp_path / "drawn.csv"
    path.write_text(drawn.stdout)
    cases = read_cases(engine, read_vignettes(path))
    gain = held_out_gain(engine, cases, 0.4, 1, kinds=("prior",))
    assert gain.gain > 2 * gain.standard_error > 0
    assert gain.learned_from + gain.held_out == 240


def test_an_older_id_as_truth_says_one_of_its_parts(engine: Engine) -> None:
    cases = read_cases(engine, read_vignettes(DOMAIN / "vignettes.csv"))
    row = cases.ids.index("h5")
    told = with_truth(engine, cases)[row]
    index = engine.reader.index
    assert told[index["serious_headache"]] == np.inf
    assert told[index["giant_cell_arteritis"]] == 1
    assert told[index["migraine"]] == 0
    assert with_truth(engine, cases, partial=True)[row][index["migraine"]] == 1


def test_the_command_writes_a_set_and_says_the_gain(tmp_path: Path) -> None:
    run = CliRunner().invoke(
        main,
        [
            "learn",
            str(DOMAIN / "vignettes.csv"),
            "-o",
            str(tmp_path / "s.toml"),
            "--population",
            "town",
            "--tables",
            str(DOMAIN),
            "--partial",
            "--only",
            "likelihood",
        ],
    )
    assert run.exit_code == 0, run.output
    assert "tried on" in run.output
    assert (tmp_path / "s.toml").read_text().startswith('name = "s"')
