"""Engines small enough to check sensitivity analyses against many re-runs."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import table_examples
from twitchdx import Engine

MORE = {
    "evidence_tables/causes.csv": """\
grinder_blunt,Blunt grinder,parts,,disease,benign,,Dull burrs,
beans_stale,Stale beans,supply,,physiologic,benign,,Roasted long ago,
""",
    "priors/office.csv": """\
grinder_blunt,any,any,0.12,0.05,0.25,judgement,study,grind1999pumps,
grinder_blunt,any,5+,0.2,0.1,0.35,judgement,study,grind1999pumps,
beans_stale,any,any,0.35,0.2,0.5,point,study,bean2001descaling,
""",
    "priors/repair_shop.csv": """\
limescale,any,any,0.6,0.5,0.7,case_mix,study,grind1999pumps,
""",
    "priors/links.csv": """\
grinder_blunt,beans_stale,0.2,0.1,0.4,study,grind1999pumps,
""",
    "evidence_tables/likelihoods/taste.csv": """\
grinder_blunt,lukewarm,0.3,0.1,0.6,study,grind1999pumps,
beans_stale,lukewarm,0.12,0.05,0.3,study,grind1999pumps,
beans_stale,cold,0.01,0.004,0.1,study,grind1999pumps,
""",
    "evidence_tables/likelihoods/flow.csv": """\
grinder_blunt,dripping,0.5,0.2,0.8,study,grind1999pumps,
""",
}


@cache
def coffee(population: str = "office") -> Engine:
    """An engine over six causes, a syndrome, three findings and four strata."""
    changes: dict[str, str | bytes | None] = {
        name: table_examples.COFFEE[name] + more for name, more in MORE.items()
    }
    folder = table_examples.write(Path(tempfile.mkdtemp()), changes)
    return Engine.from_tables(folder / "priors", folder / "evidence_tables", population)


CASES = (
    ({"lukewarm": True, "dripping": True}, None, None),
    ({"lukewarm": True, "dripping": True, "cold": False}, 30, "male"),
    ({"dripping": "lr=4", "hard_water": True}, None, "female"),
    ({"scale_or_pump": True, "cold": True}, 2, None),
)
