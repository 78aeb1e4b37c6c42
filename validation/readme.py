"""Write the parts of the README that are computed: example outputs, grades, and accuracy.

Run `python validation/readme.py` after changing a table or the committed results; with `--check`
it only says whether the README is current, which a test does too.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import sys
from pathlib import Path

from twitchdx.tables import KnowledgeBase, default_tables

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SUMMARY = ROOT / "validation" / "results" / "SUMMARY.md"
GRADES = ("study", "review", "expert")
COUNTED = ("priors", "links", "findings", "backgrounds", "likelihoods")


def grades(knowledge: KnowledgeBase) -> str:
    """Return the paragraph and table on how many numbers rest on what."""
    counts = {
        table: {grade: sum(row.grade == grade for row in knowledge.rows(table)) for grade in GRADES}
        for table in COUNTED
    }
    rows = [*counts.items(), ("all", {g: sum(c[g] for c in counts.values()) for g in GRADES})]
    causes = len(knowledge.causes) - len(knowledge.syndromes)
    lines = [
        f"{causes} causes, {len(knowledge.syndromes)} syndromes, "
        f"{len(knowledge.findings)} findings and {len(knowledge.sources)} sources. Each number has "
        "a 95 % interval and a grade: `study` (a primary study or meta-analysis measured it), "
        "`review` (a review or guideline gives it), or `expert` (nobody's measurement: a judgement "
        "with an interval of at least a factor of three in the odds to either side, that may "
        "lean on a source named beside it).",
        "",
        "| table | rows | study | review | expert |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for table, count in rows:
        total = sum(count.values())
        shares = " | ".join(f"{count[g]} ({count[g] / total:.0%})" for g in GRADES)
        lines.append(f"| {table} | {total} | {shares} |")
    return "\n".join(lines)


def accuracy(summary: str) -> str:
    """Return the first paragraph of the committed summary, and its caveats."""
    first, _, rest = summary.partition("What this does not show:")
    caveats, _, _ = rest.partition("\n## ")
    return f"{first.split(chr(10), 1)[1].strip()}\n\n{caveats.strip()}"


def examples(text: str) -> str:
    """Return the README with the outputs that its Python example prints today."""
    begin = text.index(">>> ")
    end = text.index("```", begin)
    names: dict[str, object] = {}
    lines = []
    for example in doctest.DocTestParser().get_examples(text[begin:end]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "README.md", "single"), names)
        first, *more = example.source.rstrip().split("\n")
        lines += [f">>> {first}", *(f"... {line}" for line in more)]
        lines += printed.getvalue().rstrip().split("\n") if printed.getvalue().strip() else []
    return text[:begin] + "\n".join(lines) + "\n" + text[end:]


def refreshed(text: str) -> str:
    """Return the README with its computed parts renewed."""
    text = examples(text)
    parts = {"grades": grades(default_tables())}
    if SUMMARY.exists():
        parts["accuracy"] = accuracy(SUMMARY.read_text(encoding="utf-8"))
    for name, part in parts.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{part}\n{end}{tail}"
    return text


if __name__ == "__main__":
    current = README.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        sys.exit(0 if refreshed(current) == current else "README.md is out of date")
    README.write_text(refreshed(current), encoding="utf-8")
