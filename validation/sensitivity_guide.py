"""Draw the figures of SENSITIVITY.md and print the numbers that its text quotes.

Run as ``python validation/sensitivity_guide.py``.
"""

from __future__ import annotations

import time
from pathlib import Path

from twitchdx import Engine, sensitivity
from twitchdx.sensitivity.plots import save
from twitchdx.sensitivity.present import about_case

FIGURES = Path(__file__).parent / "figures"
VIGNETTES = Path(__file__).parent / "vignettes" / "published.csv"
FINDINGS = {"urge_to_move": True, "worse_at_rest": True, "weakness": False}
AGE, SEX = 52, "female"
TARGET = "restless_legs_syndrome"


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    engine = Engine.default()
    dx = engine.diagnose(FINDINGS, age=AGE, sex=SEX)
    top = dx.posterior.head(8).index
    results = {
        "one_way": lambda: sensitivity.one_way(dx, TARGET, TARGET),
        "tornado": lambda: sensitivity.tornado(dx, TARGET, "all"),
        "two_way": lambda: sensitivity.two_way(dx, TARGET, "iron_deficiency", TARGET),
        "flips": lambda: sensitivity.flips(dx, "all"),
        "joint_change": lambda: sensitivity.smallest_joint_change(dx),
        "bounds": lambda: sensitivity.bounds(dx, targets=list(top)),
        "probabilistic": lambda: sensitivity.probabilistic(dx),
        "sobol": lambda: sensitivity.sobol(dx, TARGET),
        "worth_knowing": lambda: sensitivity.worth_knowing(dx),
        "compare": lambda: sensitivity.compare(dx, "primary_care", "sleep_clinic"),
        "cohort": lambda: sensitivity.cohort_tornado(engine, VIGNETTES),
    }
    print(dx.posterior.head(5).to_string())
    for name, run in results.items():
        started = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - started
        about = "general adult" if name == "cohort" else about_case(dx)
        save(result, FIGURES / f"sensitivity_{name}.png", about)
        print(f"\n## {name}: {seconds:.2f} s\n{str(result).splitlines()[0]}")


if __name__ == "__main__":
    main()
