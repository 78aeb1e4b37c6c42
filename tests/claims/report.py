"""Write validation/CLAIMS.md: which statements of the seed articles hold, with the numbers.

python tests/claims/report.py [FILE]
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[1]))

from claims.language import Outcome, run
from twitchdx.tables import default_tables
from twitchdx.tables.schema import Claim

PAGE = Path(__file__).parents[2] / "validation" / "CLAIMS.md"


@dataclass(frozen=True)
class Verdict:
    """One claim and what running it gave."""

    claim: Claim
    outcomes: tuple[Outcome, ...]

    @property
    def word(self) -> str:
        if not self.outcomes:
            return "not executable"
        return "holds" if all(o.holds for o in self.outcomes) else "does not hold"

    @property
    def contested(self) -> bool:
        return self.claim.contested not in (None, "no")


def verdicts() -> tuple[Verdict, ...]:
    """Run every claim of the shipped tables."""
    return tuple(
        Verdict(claim, tuple(run(claim.expectation or "")))
        for claim in default_tables().claims.values()
    )


def page(found: Iterable[Verdict]) -> str:
    """Return the report as Markdown."""
    rows = tuple(found)
    tally = Counter(v.word for v in rows)
    kinds = sorted({v.claim.kind for v in rows})
    parts = [
        "# The statements of the seed articles, run against the engine",
        "Written by `python tests/claims/report.py`; the notation of the checks is explained in "
        "`tests/claims/language.py`. Each statement is a row of `evidence_tables/claims.csv`, "
        "which names the table rows, flags or advice that carry it; `tests/test_claims.py` runs "
        f"them all. Tables `{default_tables().digest[:12]}`.",
        f"**{tally['holds']} hold, {tally['does not hold']} do not hold, "
        f"{tally['not executable']} are not executable**; "
        f"{sum(v.contested for v in rows)} of the {len(rows)} are contested.",
        _table(
            ("kind", "holds", "does not hold", "not executable"),
            [(kind, *_count(rows, kind)) for kind in kinds],
        ),
        "## What does not hold",
        _list(
            f"**{v.claim.claim}** {v.claim.statement} {v.claim.reason or ''} {_numbers(v)}"
            for v in rows
            if v.word == "does not hold"
        ),
        "## What is contested, and what the tables follow",
        _list(
            f"**{v.claim.claim}** {v.claim.statement} *{v.claim.contested}*"
            for v in rows
            if v.contested
        ),
        "## What is not executable, and why",
        _list(
            f"**{v.claim.claim}** {v.claim.statement} *{v.claim.reason}*"
            for v in rows
            if v.word == "not executable"
        ),
        "## What was run",
        *(_entry(v) for v in rows if v.outcomes),
    ]
    return "\n\n".join(parts) + "\n"


def _count(rows: tuple[Verdict, ...], kind: str) -> tuple[str, ...]:
    tally = Counter(v.word for v in rows if v.claim.kind == kind)
    return tuple(str(tally[word]) for word in ("holds", "does not hold", "not executable"))


def _entry(verdict: Verdict) -> str:
    claim = verdict.claim
    note = f" *{claim.reason}*" if claim.reason else ""
    checks = [
        f"- `{o.check}`: {'holds' if o.holds else 'does **not** hold'} ({_values(o)})"
        for o in verdict.outcomes
    ]
    return "\n".join([f"**{claim.claim}** ({verdict.word}) {claim.statement}{note}", "", *checks])


def _numbers(verdict: Verdict) -> str:
    return "; ".join(f"`{o.check}`: {_values(o)}" for o in verdict.outcomes if not o.holds)


def _values(outcome: Outcome) -> str:
    return ", ".join(_value(value) for _, value in outcome.measured)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items) or "Nothing."


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(page(verdicts()), encoding="utf-8")
