"""Are the exact posteriors of the right model calibrated? Many vignettes drawn from the network.

    python validation/calibration.py --count 200000

Prints the slope and intercept of the recalibration line and every reliability bin, and writes them
to validation/results/CALIBRATION.md. About a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from twitchdx.diagnosis import Engine
from twitchdx.validation.simulated import AS_IS, SimulatedCheck, check_as_is

RESULT = Path(__file__).parent / "results" / "CALIBRATION.md"
SEED = 20240917


def as_markdown(check: SimulatedCheck, digest: str) -> str:
    """Return the check as a page."""
    lines = [
        "# Calibration on vignettes drawn from the network",
        "",
        f"{check.count:,} vignettes {AS_IS} (general_adult, tables {digest[:12]}), every cause's "
        "posterior. Written by `python validation/calibration.py`.",
        "",
        f"- recalibration slope {check.slope:.4f}, standard error {check.slope_error:.4f}",
        f"- intercept {check.intercept:+.4f}",
        f"- expected calibration error {check.ece:.5f}",
        f"- reliability bins within their interval (together 95 %): {check.bins_that_hold} of "
        f"{len(check.bins)}",
        f"- a present cause in first place in {check.first:.1%} of vignettes that have one and "
        "show something",
        "",
        "| stated | seen | low | high | pairs |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {b.predicted:.5f} | {b.observed:.5f} | {b.low:.5f} | {b.high:.5f} | {b.n:,} |"
        for b in check.bins
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    engine = Engine.default()
    found = check_as_is(engine, parser.parse_args().count, SEED)
    page = as_markdown(found, engine.knowledge.digest)
    RESULT.write_text(page, encoding="utf-8")
    print(page)
