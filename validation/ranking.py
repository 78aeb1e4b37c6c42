"""What should sort a differential? Each candidate on published, collected and simulated vignettes.

    python validation/ranking.py --simulated 1000

Writes validation/RANKING.md. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twitchdx.diagnosis import Engine
from twitchdx.evidence import ABSENT, PRESENT, UNKNOWN
from twitchdx.explain import RANKING_MEANINGS, tempered
from twitchdx.validation.cases import EVERY, Cases, read_cases, read_vignettes
from twitchdx.validation.evaluate import explained, make_task, ranked_truths
from twitchdx.validation.metrics import any_within
from twitchdx.validation.models import COMPARATORS
from twitchdx.validation.simulated import SHARE

FloatArray = NDArray[np.float64]

HERE = Path(__file__).parent
RESULT = HERE / "RANKING.md"
FILES = ("published", "collected")
POPULATIONS = ("neurology_clinic", "general_adult")
SEED = 20261128
#: weight of the stated prior; 1 is plain disablement
WEIGHTS = (0.75, 0.5, 0.25, 0.0)
#: present findings that a simulated vignette may have
PRESENT_FINDINGS = range(2, 8)
INTRODUCTION = """
# What sorts a differential

Several things may: the posterior itself, what a cause explains (how many of the findings would go
without it), or what it would explain with another prior. This page, written by
`python validation/ranking.py`, compares them on

- the {published} **published** vignettes with a diagnosis (`vignettes/published.csv`);
- {collected} **collected** vignettes (`vignettes/collected.csv`): case reports, teaching cases and
  textbook pictures found while the tables were made, coded by those who made them. Numbers were
  mended, for general reasons, on reading the misses of both files, so that neither is a clean test
  of the tables; how to sort was not looked at then;
- {simulated} **simulated** people of each population with two to seven findings known to be
  present, drawn from the network itself. The truth is the cause without which most of these
  findings would go in that very person, the rest of chance kept as it was.

Each column has the share of vignettes with a true cause in first place, and in the first three. A
difference of less than about 5 points between two rows is chance in the smaller files.
"""
READING = """
## What was decided

Published and collected cases hold each diagnosis about equally often, rare or common; a simulated
person has what people have. Where the model is exactly right and the person ordinary, what a cause
explains by the stated prior is best, as it must be. The further the prior is drawn towards one in
ten for every cause, the better the reported cases come out, and the worse the ordinary people:
first slowly, then fast. Half-way costs simulated people of a clinic next to nothing, those of the
population up to four points in first place and one in the first three, and gains the reported
cases more: **half-way (tempered) is what sorts a differential** unless another ranking is asked
for. The choice was made on these very files: on cases to come, expect somewhat less. The posteriors
are those of the stated prior whatever sorts them.
"""


def simulated_cases(engine: Engine, count: int, seed: int) -> Cases:
    """Draw people with a few findings known, and the cause of most of them."""
    random = np.random.default_rng(seed)
    strata = engine.model.strata
    shares = np.array([one.share for one in strata])
    n_causes = len(engine.networks[0].causes)
    rows = engine.knowledge.findings
    names = engine.networks[0].findings
    rates = np.array([rows[f].asking_rate if f in rows else 0.0 for f in names])
    ratios, weights, truths = [], [], []
    while len(ratios) < count:
        stratum = random.choice(len(strata), p=shares / shares.sum())
        network = engine.networks[stratum]
        uniform = random.random((1, n_causes + len(names)))
        on = network.states(uniform)[0]
        known = random.random(len(names)) < rates * random.uniform(*SHARE)
        shown = known & on[n_causes:]
        if shown.sum() not in PRESENT_FINDINGS:
            continue
        gone = {}
        for cause in engine.causes:
            place = engine.reader.index[cause]
            if on[place]:
                without = uniform.copy()
                without[0, place] = 2.0  # never on
                gone[cause] = int((shown & ~network.states(without)[0][n_causes:]).sum())
        most = max(gone.values(), default=0)
        if not most:
            continue
        row = np.full(len(on), UNKNOWN)
        row[n_causes:][shown] = PRESENT
        row[n_causes:][known & ~on[n_causes:]] = ABSENT
        ratios.append(row)
        weights.append(np.eye(len(strata))[stratum])
        truths.append(tuple(cause for cause, n in gone.items() if n == most))
    return Cases(
        ids=tuple(f"s{i}" for i in range(count)),
        truths=tuple(truths),
        causes=engine.causes,
        ratios=np.array(ratios),
        weights=np.array(weights),
        known=np.zeros((count, len(engine.causes)), bool),
        subsets={EVERY: np.ones(count, bool)},
        rejected=(),
    )


def accuracy(engine: Engine, cases: Cases) -> Iterator[tuple[str, float, float]]:
    """Yield each ranking with the share of cases with a true cause first, and in three."""
    task = make_task(engine, cases, "all")
    answers = COMPARATORS[0].answer(engine, cases.ratios, cases.weights, task.labels)
    posterior = np.where(cases.known, 0.0, answers.posterior)
    disablement, sufficiency, _ = explained(task, posterior)
    place = [engine.reader.index[cause] for cause in engine.causes]
    prior = cases.weights @ np.array([one.prevalence[place] for one in engine.networks])
    by = {
        "posterior": posterior,
        "sufficiency": sufficiency,
        "disablement": disablement,
        **{
            f"disablement, weight of the stated prior {weight:g}"
            + (" (tempered)" if weight == 0.5 else ""): tempered(
                disablement, prior, posterior, weight
            )
            for weight in WEIGHTS
        },
    }
    exact = ~np.isnan(disablement).any(axis=1)
    for ranking, values in by.items():
        found = ranked_truths(task, np.nan_to_num(values).round(12), posterior)
        kept = [one for one, is_exact in zip(found, exact.tolist(), strict=True) if is_exact]
        yield ranking, float(any_within(kept, 1).mean()), float(any_within(kept, 3).mean())


def table(engine: Engine, files: dict[str, Cases]) -> list[str]:
    """Return one population's table."""
    columns = {name: list(accuracy(engine, cases)) for name, cases in files.items()}
    names = " | ".join(f"{name}: first | in 3" for name in columns)
    lines = [
        f"## {engine.population}",
        "",
        f"| ranked by | {names} |",
        "| --- |" + " ---: | ---: |" * len(columns),
    ]
    for row in zip(*columns.values(), strict=True):
        cells = [f"{100 * share:.1f} %" for one in row for share in one[1:]]
        lines.append(f"| {row[0][0]} | {' | '.join(cells)} |")
    return [*lines, ""]


def main(simulated: int) -> None:
    """Run the comparison and write the page."""
    found = {name: read_vignettes(HERE / "vignettes" / f"{name}.csv") for name in FILES}
    parts, counts = [], {}
    for population in POPULATIONS:
        engine = Engine.default(population=population)
        files = {name: read_cases(engine, file) for name, file in found.items()}
        counts = {name: len(cases) for name, cases in files.items()}
        files["simulated"] = simulated_cases(engine, simulated, SEED)
        parts += table(engine, files)
        print(f"{population} done")
    meanings = [f"- {name}: {meaning}" for name, meaning in RANKING_MEANINGS.items()]
    page = [
        INTRODUCTION.strip().format(simulated=f"{simulated:,}", **counts),
        "",
        *meanings,
        "",
        *parts,
        READING.strip(),
        "",
    ]
    RESULT.write_text("\n".join(page), encoding="utf-8")
    print(f"wrote {RESULT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--simulated", type=int, default=1000)
    main(parser.parse_args().simulated)
