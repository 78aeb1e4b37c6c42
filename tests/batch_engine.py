"""A small engine for the tests of batch scoring, made without tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from twitchdx.case import EvidenceReader, Quantity, Threshold
from twitchdx.network import NoisyOrNetwork

CAUSES = ("cold", "flu", "ague", "malaise")
FINDINGS = ("cough", "fever", "high_fever", "ache", "pale", "sleepy")


@dataclass(frozen=True)
class Stratum:
    sex: str
    age_low: int
    age_high: int | None
    share: float

    @property
    def band_share(self):
        return self.share

    @property
    def label(self):
        return f"{self.sex} {self.age_low}-{self.age_high}"

    def covers(self, age):
        return self.age_low <= age and (self.age_high is None or age < self.age_high + 1)


@dataclass(frozen=True)
class SmallEngine:
    """Quacks like `twitchdx.Engine` as far as batch scoring goes."""

    flu: float = 0.05

    @cached_property
    def reported(self):
        return np.array([cause in self.causes for cause in CAUSES])

    @cached_property
    def networks(self):
        return tuple(self._network(factor) for factor in (1.0, 1.5, 0.8, 2.0))

    def _network(self, factor):
        strength = np.array(
            [
                [0.7, 0.2, 0.0, 0.1, 0.0, 0.2],
                [0.4, 0.8, 0.3, 0.7, 0.0, 0.5],
                [0.0, 0.6, 0.6, 0.5, 0.4, 0.0],
                [0.0, 0.0, 0.0, 0.0, 0.5, 0.6],
            ]
        )
        links = np.zeros((4, 4))
        links[1, 3] = 0.5
        return NoisyOrNetwork.from_arrays(
            np.array([0.2, self.flu, 0.001, 0.01]) * factor,
            strength,
            [0.05, 0.02, 0.0, 0.1, 0.05, 0.2],
            links,
            causes=CAUSES,
            findings=FINDINGS,
        )

    @property
    def causes(self):
        return CAUSES[:3]

    population = "everyone"

    @cached_property
    def model(self):
        strata = tuple(
            Stratum(sex, low, high, 0.25)
            for sex in ("female", "male")
            for low, high in ((18, 64), (65, None))
        )
        return SimpleNamespace(population=self.population, strata=strata)

    knowledge = SimpleNamespace(
        digest="0" * 64,
        findings=dict.fromkeys(FINDINGS),
    )

    @cached_property
    def reader(self):
        return EvidenceReader(
            nodes=CAUSES + FINDINGS,
            quantities={
                "temperature": Quantity(
                    name="temperature",
                    unit="C",
                    plausible=(30.0, 45.0),
                    conversions={"f": (5 / 9, -160 / 9)},
                    thresholds={
                        "fever": (Threshold(">=", 38.0, None),),
                        "high_fever": (Threshold(">=", 39.5, None),),
                    },
                ),
                "hemoglobin": Quantity(
                    name="hemoglobin",
                    unit="g/L",
                    plausible=(20.0, 250.0),
                    conversions={},
                    thresholds={
                        "pale": (Threshold("<", 120.0, "female"), Threshold("<", 130.0, "male"))
                    },
                ),
            },
            implications=(("high_fever", "fever"),),
            aliases={"coughing": "cough"},
        )


ENGINE = SmallEngine()
