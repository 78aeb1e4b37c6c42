"""Write validation/PRIOR_PREDICTIVE.md and validation/results/prior_predictive.csv.

    python validation/prior_predictive.py [POPULATION]

Notes on single gaps come from validation/prior_predictive_notes.csv (among, finding, note).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from twitchdx import Engine
from twitchdx.validation.prior_predictive import as_markdown, prior_predictive

HERE = Path(__file__).parent
MOST = 10


def main() -> None:
    engine = Engine.default(*sys.argv[1:2])
    found = prior_predictive(engine)
    with (HERE / "results" / "prior_predictive.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            [
                "among",
                "finding",
                "table",
                "low",
                "high",
                "network",
                "gap_log_odds",
                "inside",
                "grade",
                "source",
            ]
        )
        for f in found:
            writer.writerow(
                [
                    f.among,
                    f.finding,
                    f"{f.table:.6g}",
                    f"{f.low:.6g}",
                    f"{f.high:.6g}",
                    f"{f.network:.6g}",
                    f"{f.gap:.4f}",
                    "yes" if f.inside else "no",
                    f.grade,
                    f.source,
                ]
            )
    notes: dict[str, str] = {}
    path = HERE / "prior_predictive_notes.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            notes = {f"{r['among']}:{r['finding']}": r["note"] for r in csv.DictReader(file)}
    text = as_markdown(engine, found, MOST, notes)
    (HERE / "PRIOR_PREDICTIVE.md").write_text(text, encoding="utf-8")
    print("\n".join(text.splitlines()[:14]))


if __name__ == "__main__":
    main()
