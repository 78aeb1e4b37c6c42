"""Tables to networks, against sums over all states of all causes written here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from noisy_or_examples import Array, enumerate_causes
from table_examples import COFFEE, write
from twitchdx.errors import ModelError, TableError, TwitchdxError, UnknownIdError
from twitchdx.model import Model, Parameter, Stratum, build_model, with_prevalence
from twitchdx.network import NoisyOrNetwork
from twitchdx.tables import KnowledgeBase, read_tables

#: the coffee tables with a chain of causes, two syndromes that share findings, and a school
KITCHEN: dict[str, str | bytes | None] = {
    "priors/populations.csv": COFFEE["priors/populations.csv"]
    + "school,School,,office,Machines in schools,\n",
    "priors/demographics.csv": COFFEE["priors/demographics.csv"]
    + "school,female,5+,0.6\nschool,male,5+,0.4\n",
    "priors/office.csv": COFFEE["priors/office.csv"]
    + "old_pipes,any,any,0.2,0.1,0.3,judgement,study,grind1999pumps,\n"
    + "old_pipes,male,5+,0.35,0.1,0.5,judgement,study,grind1999pumps,\n"
    + "wet_floor,any,any,0.08,0.05,0.2,judgement,study,grind1999pumps,\n",
    "priors/repair_shop.csv": COFFEE["priors/repair_shop.csv"]
    + "limescale,any,any,0.6,0.5,0.7,case_mix,study,grind1999pumps,\n"
    + "old_pipes,any,any,0.4,0.3,0.5,case_mix,study,grind1999pumps,\n"
    + "wet_floor,any,any,0.3,0.2,0.4,case_mix,study,grind1999pumps,\n",
    "priors/school.csv": COFFEE["priors/office.csv"]
    + "old_pipes,any,any,0.5,0.4,0.6,judgement,study,grind1999pumps,\n"
    + "wet_floor,any,any,0.08,0.05,0.2,judgement,study,grind1999pumps,\n",
    "priors/links.csv": COFFEE["priors/links.csv"]
    + "hard_water,old_pipes,0.55,0.3,0.7,study,grind1999pumps,\n"
    + "pump_worn,limescale,0.1,0.05,0.2,study,grind1999pumps,\n"
    + "limescale,old_pipes,0.3,0.2,0.5,study,grind1999pumps,\n"
    + "wet_floor,pump_worn,0.4,0.2,0.6,study,grind1999pumps,\n",
    "evidence_tables/causes.csv": COFFEE["evidence_tables/causes.csv"]
    + "old_pipes,Old pipes,water,,exposure,benign,,Pipes older than 30 years,\n"
    + "wet_floor,Wet floor,parts,,syndrome,benign,,What a leak does,\n",
    "evidence_tables/likelihoods/flow.csv": COFFEE["evidence_tables/likelihoods/flow.csv"]
    + "wet_floor,dripping,0.3,0.2,0.4,study,grind1999pumps,\n"
    + "pump_worn,dripping,0.85,0.7,0.95,study,grind1999pumps,\n"
    + "hard_water,dripping,0.3,0.1,0.5,study,grind1999pumps,\n"
    + "old_pipes,dripping,0.35,0.1,0.5,study,grind1999pumps,\n",
}


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    folder = write(tmp_path_factory.mktemp("kitchen"), KITCHEN)
    return read_tables(folder / "priors", folder / "evidence_tables")


@pytest.fixture(scope="module")
def office(kb: KnowledgeBase) -> Model:
    return build_model(kb, "office")


@pytest.fixture(scope="module")
def shop(kb: KnowledgeBase) -> Model:
    return build_model(kb, "repair_shop")


def marginals(network: NoisyOrNetwork) -> Array:
    total, on = enumerate_causes(network, np.ones(len(network.names)))
    assert total == pytest.approx(1, abs=1e-12)
    return on


def probability(
    network: NoisyOrNetwork, node: str, given: str | None = None, free: frozenset[str] = frozenset()
) -> float:
    """P(node on) where `given` is on, and by themselves only the causes in `free` and the leaks.

    What `given` switches on through its arrows is summed over; its own arrows are all there.
    """
    own = np.concatenate([network.prior, network.leak])
    for index, cause in enumerate(network.causes):
        if cause not in free:
            own[index] = 0.0
    if given is not None:
        own[network.causes.index(given)] = 1.0
    ratios = np.ones(len(own))
    ratios[network.names.index(node)] = np.inf
    return enumerate_causes(network, ratios, own)[0]


def strata(kb: KnowledgeBase, model: Model) -> Iterator[tuple[Stratum, NoisyOrNetwork]]:
    for stratum in model.strata:
        yield stratum, stratum.network


@pytest.mark.parametrize("population", ["office", "school", "repair_shop"])
def test_every_prevalence_is_met_in_every_stratum(kb: KnowledgeBase, population: str) -> None:
    model = build_model(kb, population)
    for stratum, network in strata(kb, model):
        found = marginals(network)
        for index, cause in enumerate(network.causes):
            row = kb.prior_row(stratum.population, cause, stratum.sex, stratum.age_band)
            assert row is not None
            base = kb.base_chain(stratum.population)[-1]
            own = [r for r in kb.priors[stratum.population] if r.cause == cause]
            if own or stratum.population == base:
                assert found[index] == pytest.approx(row.prevalence, rel=1e-9)


def test_the_most_specific_prevalence_wins(office: Model) -> None:
    at = {stratum.label: stratum.network for stratum in office.strata}
    place = office.strata[0].network.causes.index
    expected = {"female 0-4": 0.25, "male 0-4": 0.2, "female 5+": 0.4, "male 5+": 0.4}
    for label, value in expected.items():
        assert marginals(at[label])[place("limescale")] == pytest.approx(value, rel=1e-9)
    assert marginals(at["male 5+"])[place("old_pipes")] == pytest.approx(0.35, rel=1e-9)
    assert sum(stratum.share for stratum in office.strata) == pytest.approx(1)


def test_links_are_what_the_child_has_when_only_that_parent_is_on(
    kb: KnowledgeBase, office: Model
) -> None:
    for _, network in strata(kb, office):
        for row in kb.links:
            direct = network.links.copy()
            child = network.causes.index(row.cause)
            parent = network.causes.index(row.given)
            found = 1 - (1 - network.prior[child]) * (1 - direct[parent, child])
            if row in office.unreachable:
                assert found >= row.probability - 1e-12
            else:
                assert found == pytest.approx(row.probability, rel=1e-9)


def test_backgrounds_are_met_with_the_syndromes_free(kb: KnowledgeBase, office: Model) -> None:
    assert not office.overfull
    for stratum, network in strata(kb, office):
        for finding in kb.findings:
            row = kb.background_row(finding, stratum.sex, stratum.age_band)
            found = probability(network, finding, free=kb.syndromes)
            assert found == pytest.approx(row.background, rel=1e-9)


def test_likelihoods_are_the_total_over_every_path(kb: KnowledgeBase, office: Model) -> None:
    unreachable = {id(row) for row in office.unreachable}
    for _, network in strata(kb, office):
        for row in kb.likelihoods:
            free = frozenset() if row.cause in kb.syndromes else kb.syndromes
            found = probability(network, row.finding, row.cause, free)
            if id(row) in unreachable:
                assert found >= row.probability - 1e-12
            else:
                assert found == pytest.approx(row.probability, rel=1e-9)


def test_a_likelihood_that_other_paths_exceed_is_listed(tmp_path: Path) -> None:
    flow = "evidence_tables/likelihoods/flow.csv"
    text = str(KITCHEN[flow]).replace("pump_worn,dripping,0.85,0.7", "pump_worn,dripping,0.2,0.1")
    folder = write(tmp_path, {**KITCHEN, flow: text})
    kb = read_tables(folder / "priors", folder / "evidence_tables")
    model = build_model(kb, "office")
    listed = {(row.cause, getattr(row, "finding", "")) for row in model.unreachable}
    assert ("pump_worn", "dripping") in listed
    network = model.strata[0].network
    place = network.causes.index("pump_worn"), network.findings.index("dripping")
    assert network.strength[place] == 0.0
    assert probability(network, "dripping", "pump_worn", kb.syndromes) > 0.2


def test_links_that_exceed_a_prevalence_are_an_error(tmp_path: Path) -> None:
    office = str(KITCHEN["priors/office.csv"]).replace(
        "hard_water,any,any,0.3,0.2", "hard_water,any,any,0.02,0.01"
    )
    folder = write(tmp_path, {**KITCHEN, "priors/office.csv": office})
    with pytest.raises(TableError, match="old_pipes") as caught:
        build_model(read_tables(folder / "priors", folder / "evidence_tables"), "office")
    assert isinstance(caught.value, TwitchdxError)


def odds(probability: float | Array) -> float | Array:
    return probability / (1 - probability)


def test_an_overlay_moves_only_what_it_lists(office: Model, shop: Model) -> None:
    names = shop.strata[0].network.causes
    for base, over in zip(office.strata, shop.strata, strict=True):
        assert over.share == base.share
        np.testing.assert_array_equal(over.network.strength, base.network.strength)
        np.testing.assert_array_equal(over.network.leak, base.network.leak)
        moved = np.flatnonzero(over.network.prior != base.network.prior)
        assert {names[i] for i in moved} == {"pump_worn", "limescale", "old_pipes", "wet_floor"}
        _, linked = np.nonzero(over.network.links != base.network.links)
        assert {names[i] for i in linked} == {"limescale"}  # the only one with exposures
        before, after = marginals(base.network), marginals(over.network)
        below = names.index("low_pressure")
        assert after[below] > before[below]  # what a worn pump leads to


def test_selection_raises_own_prior_and_exposures_alike(office: Model, shop: Model) -> None:
    """Of those brought in, as many of the scaled ones have hard water as among all scaled ones."""
    names = shop.strata[0].network.causes
    place = names.index("limescale")
    for base, over in zip(office.strata, shop.strata, strict=True):
        factor = odds(over.network.prior[place]) / odds(base.network.prior[place])
        assert factor > 1.5
        into = base.network.links[:, place]
        assert into.any()
        np.testing.assert_allclose(odds(over.network.links[:, place]), factor * odds(into))


def certain_link(folder: Path, limescale: str, in_shop: str) -> KnowledgeBase:
    """Tables in which hard water (0.3 of all) always brings limescale."""
    priors = "cause,sex,age_band,prevalence,low,high,basis,grade,source,note\n"
    rows = COFFEE["priors/office.csv"].splitlines(keepends=True)
    changes: dict[str, str | bytes | None] = {
        "priors/office.csv": priors
        + f"limescale,any,any,{limescale},0.1,0.9,point,study,bean2001descaling,\n"
        + "".join(row for row in rows[1:] if not row.startswith("limescale")),
        "priors/repair_shop.csv": priors
        + f"limescale,any,any,{in_shop},0.01,0.9,case_mix,study,grind1999pumps,\n",
        "priors/links.csv": COFFEE["priors/links.csv"].replace("0.45,0.3,0.6", "1,0.9,1"),
    }
    write(folder, changes)
    return read_tables(folder / "priors", folder / "evidence_tables")


def test_selection_cannot_undo_a_certain_link(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="links to limescale alone explain"):
        build_model(certain_link(tmp_path, "0.5", "0.1"), "repair_shop")


def test_what_links_cannot_meet_is_met_by_the_leak(tmp_path: Path) -> None:
    """All limescale of the community is from hard water; more of it came to the shop than that."""
    model = build_model(certain_link(tmp_path, "0.3", "0.6"), "repair_shop")
    for stratum in model.strata:
        place = stratum.network.causes.index("limescale")
        assert marginals(stratum.network)[place] == pytest.approx(0.6, rel=1e-9)
        assert stratum.network.prior[place] == pytest.approx(0.3 / 0.7, rel=1e-9)


def test_a_selected_link_moves_as_a_multiple(office: Model, shop: Model) -> None:
    index = {parameter.key: parameter for parameter in office.parameters}
    checked = 0
    for parameter in shop.parameters:
        if parameter.kind != "link" or parameter.cause != "limescale":
            continue
        roots = {target.stratum: target for target in index[parameter.key].targets}
        for target in parameter.targets:
            network = shop.strata[target.stratum].network
            root = roots[target.stratum]
            now = network.links[target.index]
            assert target.at(parameter.value) == pytest.approx(now, rel=1e-12)
            if now == 0.0:
                assert root.at(parameter.value) == 0.0
                continue
            multiple = now / root.at(parameter.value)
            for x in (0.0, 0.2, 0.35, 0.9, 1.0):
                assert target.at(x) == pytest.approx(min(1.0, multiple * root.at(x)), rel=1e-12)
            assert any(parameter.value < kink < 1.0 for kink in target.kinks)
            checked += 1
    assert checked > len(shop.strata)


def test_strata_are_borrowed_for_ages_without_a_band(kb: KnowledgeBase, office: Model) -> None:
    school = build_model(kb, "school")
    own = [s for s in school.strata if s.population == "school"]
    borrowed = [s for s in school.strata if s.population == "office"]
    assert [s.age_band for s in own] == ["5+", "5+"]
    assert [s.age_band for s in borrowed] == ["0-4", "0-4"]
    assert [s.share for s in borrowed] == [0.0, 0.0]
    assert [s.band_share for s in borrowed] == [0.3, 0.2]
    assert sum(s.share for s in own) == pytest.approx(1)
    for stratum in borrowed:
        twin = next(s for s in office.strata if s.label == stratum.label)
        np.testing.assert_array_equal(stratum.network.prior, twin.network.prior)
        np.testing.assert_array_equal(stratum.network.strength, twin.network.strength)


def test_an_alias_of_several_causes_is_their_or(office: Model) -> None:
    for stratum in office.strata:
        network = stratum.network
        on = [network.causes.index(part) for part in ("limescale", "pump_worn")]
        ratios = np.ones(len(network.names))
        ratios[on] = 0.0
        neither = enumerate_causes(network, ratios)[0]
        ratios = np.ones(len(network.names))
        ratios[network.names.index("scale_or_pump")] = np.inf
        either, joint = enumerate_causes(network, ratios)
        assert either == pytest.approx(1 - neither, rel=1e-12)
        posterior = network.posterior({"scale_or_pump": True})
        np.testing.assert_allclose(posterior, joint / either, rtol=1e-9)


def test_with_prevalence_moves_one_cause_and_what_it_leads_to(office: Model) -> None:
    names = office.strata[0].network.causes
    moved = with_prevalence(office, {"hard_water": 0.5, "limescale": 0.6})
    for before, after in zip(office.strata, moved.strata, strict=True):
        found = marginals(after.network)
        assert found[names.index("hard_water")] == pytest.approx(0.5, rel=1e-9)
        assert found[names.index("limescale")] == pytest.approx(0.6, rel=1e-9)
        np.testing.assert_array_equal(after.network.links, before.network.links)
        np.testing.assert_array_equal(after.network.strength, before.network.strength)
        changed = np.flatnonzero(after.network.prior != before.network.prior)
        assert {names[i] for i in changed} == {"hard_water", "limescale"}
    alone = with_prevalence(office, {"old_pipes": 0.9})
    place = names.index("limescale")
    assert marginals(alone.strata[0].network)[place] > marginals(office.strata[0].network)[place]
    with pytest.raises(ModelError, match="old_pipes alone make it"):
        with_prevalence(office, {"hard_water": 0.001})
    with pytest.raises(ModelError, match="not between 0 and 1"):
        with_prevalence(office, {"hard_water": 1.2})
    with pytest.raises(UnknownIdError):
        with_prevalence(office, {"hard_watr": 0.2})


def measured(kb: KnowledgeBase, network: NoisyOrNetwork, parameter: Parameter) -> float:
    """What a table row would say of a network."""
    if parameter.kind == "prior":
        return float(marginals(network)[network.causes.index(parameter.cause)])
    if parameter.kind == "link":
        child, parent = (network.causes.index(n) for n in (parameter.cause, parameter.given))
        return float(1 - (1 - network.prior[child]) * (1 - network.links[parent, child]))
    if parameter.kind == "background":
        return probability(network, parameter.finding, free=kb.syndromes)
    free = frozenset() if parameter.cause in kb.syndromes else kb.syndromes
    return probability(network, parameter.finding, parameter.cause, free)


def test_a_changed_number_is_met_and_nothing_else_moves(kb: KnowledgeBase, office: Model) -> None:
    for parameter in office.parameters:
        value = 0.5 * (parameter.value + parameter.high)
        changed = office.with_parameters({parameter: value})
        assert changed.parameter(parameter.key).value == value
        touched = {target.stratum for target in parameter.targets}
        for index, (before, after) in enumerate(zip(office.strata, changed.strata, strict=True)):
            if index not in touched:
                assert after.network is before.network
                continue
            for target in parameter.targets:
                if target.stratum == index:
                    assert target.at(parameter.value) == pytest.approx(
                        getattr(before.network, target.array)[target.index], abs=1e-12
                    )
            arrays = ("prior", "links", "strength", "leak")
            moved = sum(
                int((getattr(after.network, a) != getattr(before.network, a)).sum()) for a in arrays
            )
            assert moved == 1
            assert measured(kb, after.network, parameter) == pytest.approx(value, rel=1e-9)


def test_parameters_have_keys_of_their_own(office: Model) -> None:
    keys = [parameter.key for parameter in office.parameters]
    assert len(set(keys)) == len(keys)
    with pytest.raises(UnknownIdError):
        office.with_parameters({"prior:office:limescal": 0.1})
    with pytest.raises(ModelError, match="not a probability"):
        office.with_parameters({keys[0]: 1.5})


def test_unknown_population(kb: KnowledgeBase) -> None:
    with pytest.raises(UnknownIdError):
        build_model(kb, "offce")
