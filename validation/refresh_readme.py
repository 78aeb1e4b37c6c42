"""Put the accuracy statement of validation/results/SUMMARY.md between the README's markers.

    python validation/refresh_readme.py           # rewrites README.md
    python validation/refresh_readme.py --check    # exit status 1 if it would change
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"


def statement(summary: str) -> str:
    """Return the first paragraph of a summary, and its caveats as a list."""
    first, _, rest = summary.partition("What this does not show:")
    caveats, _, _ = rest.partition("\n## ")
    return f"{first.split(chr(10), 1)[1].strip()}\n\n{caveats.strip()}\n"


def refresh(readme: str, summary: str) -> str:
    """Return the README with the statement between its markers."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise SystemExit(f"README.md has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{statement(summary)}{END}{after}"


def main() -> None:
    path = ROOT / "README.md"
    summary = (ROOT / "validation" / "results" / "SUMMARY.md").read_text(encoding="utf-8")
    old = path.read_text(encoding="utf-8")
    new = refresh(old, summary)
    if "--check" in sys.argv:
        raise SystemExit(0 if new == old else "README.md is older than validation/results")
    path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
