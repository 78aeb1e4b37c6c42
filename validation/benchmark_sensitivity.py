"""Measure what sensitivity analyses cost on the shipped tables; prints a table.

Run as ``python validation/benchmark_sensitivity.py [vignettes]``; times include everything but the
first call, which compiles or loads the kernels. One core, except the cohort (all cores).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from twitchdx import Engine, sensitivity
from twitchdx.diagnosis import Diagnosis
from twitchdx.errors import TwitchdxError
from twitchdx.sensitivity.vignettes import read_cohort

VIGNETTES = Path(__file__).parent / "vignettes" / "published.csv"


def leading(dx: Diagnosis) -> str:
    return sensitivity.contenders(dx)[0]


RUNS: dict[str, Callable[[Diagnosis], object]] = {
    "tornado, all numbers": lambda dx: sensitivity.tornado(dx, leading(dx), "all"),
    "tornado, priors": lambda dx: sensitivity.tornado(dx, leading(dx)),
    "flips, priors": lambda dx: sensitivity.flips(dx),
    "flips, all numbers": lambda dx: sensitivity.flips(dx, "all"),
    "probabilistic, 1,000 draws": lambda dx: sensitivity.probabilistic(dx, draws=1000),
}


def main(most: int = 30) -> None:
    engine = Engine.default()
    cohort = read_cohort(engine, VIGNETTES)
    cases = [cohort.diagnosis(i) for i in range(min(most, len(cohort)))]
    for run in RUNS.values():
        run(cases[-1])
    print(f"{len(cases)} published vignettes; seconds each: median, 90th percentile, worst")
    for name, run in RUNS.items():
        seconds = []
        for dx in cases:
            started = time.perf_counter()
            try:
                run(dx)
            except TwitchdxError as error:
                print(f"  {name}: {error}")
                continue
            seconds.append(time.perf_counter() - started)
        tenths = statistics.quantiles(seconds, n=10)
        print(f"{name:28s} {statistics.median(seconds):8.3f} {tenths[-1]:8.3f} {max(seconds):8.3f}")
    started = time.perf_counter()
    result = sensitivity.cohort_tornado(engine, VIGNETTES)
    each = (time.perf_counter() - started) / result.vignettes
    minutes = 10_000 * each / 60
    print(
        f"cohort tornado, priors: {each:.4f} s a vignette ({result.sweeps:.1f} reverse sweeps), "
        f"{minutes:.1f} min for 10,000"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
