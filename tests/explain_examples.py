"""Small random engines, and the joint distribution of a case by plain enumeration."""

from __future__ import annotations

import itertools
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

import table_examples
from twitchdx import Engine

KINDS = ("symptom", "sign", "history", "test")


@cache
def random_engine(seed: int, n_causes: int = 6, n_findings: int = 6) -> Engine:
    """An engine over random tables: two strata, a syndrome, an exposure, a few links."""
    rng = np.random.default_rng(seed)
    names = [f"c{i}" for i in range(n_causes)]
    natures = ["exposure", *["disease"] * (n_causes - 2), "syndrome"]
    header = {name: text.splitlines()[0] for name, text in table_examples.COFFEE.items()}
    rows: dict[str, list[str]] = {name: [text] for name, text in header.items()}
    rows["priors/populations.csv"] += ["office,Offices,,,Machines,"]
    rows["priors/demographics.csv"] += ["office,female,0+,0.6", "office,male,0+,0.4"]
    for i, name in enumerate(names):
        serious = "cannot_miss,0.1" if i == 1 else "benign,"
        rows["evidence_tables/causes.csv"].append(f"{name},{name},g,,{natures[i]},{serious},d,")
        for sex, low, high in (("any", 0.25, 0.4), ("male", 0.25, 0.4)):
            p = rng.uniform(low, high)
            rows["priors/office.csv"].append(
                f"{name},{sex},any,{p:.4f},{p / 2:.4f},{min(1, 2 * p):.4f},"
                "point,study,bean2001descaling,"
            )
    for i, j in ((0, 2), (1, 3), (2, n_causes - 1)):
        p = rng.uniform(0.45, 0.55)
        rows["priors/links.csv"].append(
            f"{names[j]},{names[i]},{p:.4f},0.3,0.8,study,grind1999pumps,"
        )
    for f in range(n_findings):
        p = rng.uniform(0.03, 0.15)
        rows["evidence_tables/findings.csv"].append(
            f"f{f},Finding {f},f{f}?,{KINDS[f % 4]},taste,,d,{p:.4f},{p / 3:.4f},0.5,"
            f"{rng.uniform(0, 0.5):.3f},0.5,study,grind1999pumps,"
        )
        for name in names:
            if rng.random() < 0.6 or name == names[f % n_causes]:
                p = rng.uniform(0.3, 0.9)
                rows["evidence_tables/likelihoods/taste.csv"].append(
                    f"{name},f{f},{p:.4f},0.1,0.95,study,bean2001descaling,"
                )
    sources = "evidence_tables/sources.csv"
    rows[sources] = [table_examples.COFFEE[sources].rstrip()]
    changes: dict[str, str | bytes | None] = {
        name: "\n".join(lines) + "\n" if name != "priors/repair_shop.csv" else None
        for name, lines in rows.items()
    }
    folder = table_examples.write(Path(tempfile.mkdtemp()), changes)
    return Engine.from_tables(folder / "priors", folder / "evidence_tables", "office")


class Enumeration:
    """Every state of every node of a case's strata, with its probability: the slow way.

    Parameters
    ----------
    engine : Engine
    weights : array, shape (strata,)
    """

    def __init__(self, engine: Engine, weights: np.ndarray) -> None:
        self.names = (*engine.networks[0].causes, *engine.networks[0].findings)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.states = np.array(list(itertools.product([0, 1], repeat=len(self.names))), dtype=bool)
        self.prior = np.zeros(len(self.states))
        for share, network in zip(weights, engine.networks, strict=True):
            own = np.concatenate([network.prior, network.leak])
            arrows = np.hstack([network.links, network.strength])
            probability = np.full(len(self.states), share)
            causes = self.states[:, : len(network.causes)]
            for node in range(len(self.names)):
                off = (1 - own[node]) * np.prod(1 - arrows[:, node] * causes, axis=1)
                probability *= np.where(self.states[:, node], 1 - off, off)
            self.prior += probability

    def given(self, observed: dict[str, float]) -> np.ndarray:
        """Weight of each state under likelihood ratios by name; not normalised."""
        weight = self.prior.copy()
        for name, ratio in observed.items():
            on = self.states[:, self.index[name]]
            weight *= on if ratio == np.inf else np.where(on, ratio, 1.0)
        return weight

    def probability(
        self, observed: dict[str, float], event: dict[str, bool] | None = None
    ) -> float:
        """Likelihood of the observations together with an event."""
        return float(self.given(observed)[self.which(event or {})].sum())

    def posterior(self, observed: dict[str, float], name: str) -> float:
        return self.probability(observed, {name: True}) / self.probability(observed)

    def which(self, event: dict[str, bool]) -> np.ndarray:
        hit = np.ones(len(self.states), dtype=bool)
        for name, on in event.items():
            hit &= self.states[:, self.index[name]] == on
        return hit


def observed(dx: object) -> dict[str, float]:
    """The observations of a diagnosis by name."""
    return {o.node: o.ratio for o in dx.case.observations}  # type: ignore[attr-defined]
