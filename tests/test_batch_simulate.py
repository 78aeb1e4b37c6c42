"""Simulated vignettes: drawn from the network, the same for the same seed, with truth."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from batch_engine import CAUSES, FINDINGS, SmallEngine
from twitchdx.batch import simulate as module
from twitchdx.batch.run import score_file
from twitchdx.batch.simulate import SimulateOptions, simulate, simulate_file
from twitchdx.cli import simulate as simulate_command
from twitchdx.errors import BatchError, UnknownIdError
from twitchdx.network import NoisyOrNetwork

RATES = dict(zip(FINDINGS, (1.0, 0.9, 0.5, 0.3, 0.2, 0.0), strict=True))
KINDS = dict(zip(FINDINGS, ("symptom", "sign", "test", "symptom", "sign", "history"), strict=True))


@dataclass(frozen=True)
class AskingEngine(SmallEngine):
    """The small engine, with what simulation needs of the tables."""

    knowledge = SimpleNamespace(
        digest="0" * 64,
        findings={f: SimpleNamespace(asking_rate=RATES[f], kind=KINDS[f]) for f in FINDINGS},
    )


ENGINE = AskingEngine()
ALL = SimulateOptions(asking_rate=1.0)


def drawn(count, seed=1, options=module.DEFAULT):
    return pa.concat_tables(simulate(ENGINE, count, seed, options)).to_pandas()


def test_draws_have_the_networks_distribution():
    """Every joint state of a small network, against its probability by enumeration."""
    strength = [[0.7, 0.2], [0.4, 0.8]]
    network = NoisyOrNetwork.from_arrays([0.3, 0.2], strength, [0.1, 0.05], [[0, 0.5], [0, 0]])
    uniform = np.random.default_rng(1).random((400_000, 4))
    on = network.states(uniform)
    count = np.bincount(on @ np.array([1, 2, 4, 8]), minlength=16)
    for state in range(16):
        a, b, x, y = ((state >> bit) & 1 for bit in range(4))
        p_a = 0.3 if a else 0.7
        b_on = 1 - 0.8 * (1 - 0.5 * a)
        x_on = 1 - 0.9 * (1 - 0.7 * a) * (1 - 0.4 * b)
        y_on = 1 - 0.95 * (1 - 0.2 * a) * (1 - 0.8 * b)
        p = p_a * np.prod([q if one else 1 - q for one, q in ((b, b_on), (x, x_on), (y, y_on))])
        assert abs(count[state] - 400_000 * p) < 5 * np.sqrt(400_000 * p)


def test_simulated_people_have_the_populations_prevalences():
    frame = drawn(40_000, options=ALL)
    expected = np.mean([network.prevalence for network in ENGINE.networks], axis=0)
    for cause, prevalence in zip(CAUSES[:3], expected, strict=False):
        share = frame.truth.str.split(";").apply(lambda names, cause=cause: cause in names).mean()
        assert abs(share - prevalence) < 5 * np.sqrt(prevalence / 40_000)
    assert "malaise" not in ";".join(frame.truth)
    assert set(frame.sex) == {"female", "male"}
    ages = frame.age.astype(int)
    assert ages.min() == 18
    assert ages.max() == 90
    assert abs((ages >= 65).mean() - 0.5) < 0.02


def test_what_is_asked_follows_the_rates():
    frame = drawn(20_000)
    for finding, rate in RATES.items():
        assert abs((frame[finding] != "").mean() - rate) < 0.02
    assert set(frame.cough) == {"present", "absent"}


def test_no_vignette_contradicts_itself(tmp_path):
    frame = drawn(20_000, options=ALL)
    high = frame[frame.high_fever == "present"]
    assert len(high) > 50
    assert (high.fever == "present").all()
    simulate_file(ENGINE, 20_000, 1, str(tmp_path / "s.csv"), ALL)
    summary = score_file(ENGINE, str(tmp_path / "s.csv"), str(tmp_path / "o.csv"))
    assert summary.counts.scored == 20_000


def test_scores_of_simulated_vignettes_are_calibrated(tmp_path):
    """Among vignettes given a probability near p, a share near p has the cause."""
    simulate_file(ENGINE, 40_000, 3, str(tmp_path / "s.csv"))
    score_file(ENGINE, str(tmp_path / "s.csv"), str(tmp_path / "o.csv"))
    scored = pd.read_csv(tmp_path / "o.csv", keep_default_na=False)
    for cause in ("cold", "flu"):
        has = np.array([cause in truth.split(";") for truth in scored.truth])
        said = scored[cause].to_numpy()
        for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
            some = (said >= low) & (said < high)
            if some.sum() > 100:
                spread = np.sqrt((said[some] * (1 - said[some])).sum())
                assert abs(has[some].sum() - said[some].sum()) < 5 * spread


def test_the_same_seed_gives_the_same_people(tmp_path):
    few, many = drawn(10), drawn(9_000)
    pd.testing.assert_frame_equal(few, many.head(10))
    assert not drawn(10, seed=2).equals(few)
    for name in ("a.csv", "b.csv", "a.csv.gz", "a.parquet"):
        simulate_file(ENGINE, 9_000, 1, str(tmp_path / name))
    text = (tmp_path / "a.csv").read_bytes()
    assert (tmp_path / "b.csv").read_bytes() == text
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == text
    pd.testing.assert_frame_equal(pq.read_table(tmp_path / "a.parquet").to_pandas(), many)
    manifest = json.loads((tmp_path / "a.manifest.json").read_text())
    assert (manifest["seed"], manifest["vignettes"]) == (1, 9_000)


def test_who_and_what_is_observed():
    few = drawn(500, options=SimulateOptions(observe=("symptom", "high_fever", "flu")))
    assert list(few.columns) == [
        "vignette_id", "age", "sex", "cough", "ache", "high_fever", "flu", "truth"
    ]  # fmt: skip
    known = few.flu == "present"
    assert (known == few.truth.str.contains("flu")).all()
    sick = drawn(300, options=SimulateOptions(present_at_least=2))
    assert ((sick[list(FINDINGS)] == "present").sum(axis=1) >= 2).all()
    assert len(sick) == 300
    with pytest.raises(UnknownIdError, match="did you mean cough"):
        drawn(1, options=SimulateOptions(observe=("cuogh",)))
    with pytest.raises(BatchError, match="between 0 and 1"):
        drawn(1, options=SimulateOptions(asking_rate=1.5))
    with pytest.raises(BatchError, match="hardly anybody"):
        drawn(1, options=SimulateOptions(asking_rate=0.0, present_at_least=1))


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_command, "read_engine", lambda *_: ENGINE)
    output = tmp_path / "s.csv"
    arguments = ["-n", "20", "--seed", "5", "--observe", "symptom, sign"]
    done = CliRunner().invoke(simulate_command.command, [*arguments, "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"20 vignettes written to {output}\n"
    piped = CliRunner().invoke(simulate_command.command, [*arguments, "-o", "-"])
    assert piped.stdout == output.read_text()
    assert piped.stderr == "20 vignettes written to standard output\n"
    assert len(output.read_text().splitlines()) == 21
    with pytest.raises(BatchError, match=r"\.csv, \.csv\.gz"):
        simulate_file(ENGINE, 3, 1, str(tmp_path / "s.xlsx"))
