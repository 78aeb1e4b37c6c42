"""The case report: what it says, in every format, and how a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

import table_examples
from explain_examples import random_engine
from test_explain_flags import engine as flagged_engine
from twitchdx.cli import main
from twitchdx.diagnosis import Diagnosis
from twitchdx.errors import EvidenceError
from twitchdx.report.render import render
from twitchdx.report.summary import CaseReport, case_report

CREATED = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SECTIONS = (
    "observed", "differential", "serious", "reasons", "flips", "next", "workup", "management",
    "together", "solid", "numbers", "references", "manifest",
)  # fmt: skip


@cache
def case() -> Diagnosis:
    return flagged_engine().diagnose({"cold": True, "dripping": True, "pump_worn": "lr=2"}, age=7)


@cache
def report() -> CaseReport:
    return case_report(case(), created=CREATED)


class Page(HTMLParser):
    """Elements of a page, in order: tag, attributes, text."""

    VOID = frozenset({"meta", "link", "rect", "line", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@cache
def page() -> Page:
    return Page(render(report(), ".html"))


# ------------------------------------------------------------------ what it says


def test_the_summary_says_what_the_engine_says():
    dx, found = case(), report()
    frame = dx.differential(intervals=True).set_index("cause")
    for place in found.differential:
        row = frame.loc[place.cause]
        assert (place.prior, place.posterior) == (row["prior"], row["posterior"])
        assert (place.low, place.high) == (row["low"], row["high"])
        assert place.disablement == row["disablement"]
    assert [place.rank for place in found.differential] == sorted(
        place.rank for place in found.differential
    )
    assert len(found.differential) + found.others == len(dx.engine.causes)
    assert [flag.name for flag in found.flags] == [r.name for r in dx.red_flags.patterns]
    assert {one.cause for one in found.past} == {one.cause for one in dx.red_flags.serious}
    for cause in found.reasons:
        total = sum(reason.weight for reason in cause.reasons)
        assert total == pytest.approx(cause.total, abs=1e-9)
        assert cause.posterior == dx.posterior[cause.cause]
    assert found.manifest.log_evidence == dx.log_evidence
    assert found.manifest.tables == dx.engine.knowledge.digest
    assert found.manifest.overrides == {}


def test_overrides_are_named():
    changed = flagged_engine().with_priors({"pump_worn": 0.2}).diagnose({"cold": True})
    named = case_report(changed, intervals=False).manifest.overrides
    assert named
    assert all("pump_worn" in key for key in named)
    assert set(named.values()) == {0.2}


def test_citations_are_those_of_the_rows_shown():
    found = report()
    numbers = [reference.number for reference in found.references]
    assert numbers == list(range(1, len(numbers) + 1))
    shown = {
        number
        for cited in (
            *found.flags, *found.numbers, *found.work_up, *found.flips,
            *(r for cause in found.reasons for r in cause.reasons),
            *(t for cause in found.management for t in cause.treatments),
        )
        for number in cited.cites
    }  # fmt: skip
    assert shown == set(numbers)
    tables = case().engine.knowledge
    for reference in found.references:
        assert reference.key in tables.sources
        assert reference.rows
    assert all(re.fullmatch(r".+\.csv:\d+", number.place) for number in found.numbers)


def test_questions_never_ask_what_is_known():
    asked = {question.finding for question in report().questions}
    assert asked.isdisjoint({"cold", "dripping", "lukewarm"})


def test_json_is_plain_and_complete():
    data = json.loads(render(report(), ".json"))
    assert data["format"] == 1
    assert data["note"] == "For research and teaching, not for care."
    assert {"differential", "reasons", "flips", "questions", "manifest"} <= data.keys()
    assert data["manifest"]["created"] == "2026-11-21T09:30:00+00:00"
    assert data == json.loads(json.dumps(report().to_dict()))


def test_markdown_has_the_same_sections_and_tables_that_line_up():
    text = render(report(), ".md")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert len(headings) == len(SECTIONS)
    assert text.count("For research and teaching, not for care.") == 1
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        widths = {line.count("|") for line in block.replace("\\|", "").splitlines()}
        assert len(widths) == 1, block
    for place in report().differential:
        assert f"| {place.name}" in text
    assert "\n\n\n" not in text


def test_other_formats_are_refused():
    with pytest.raises(EvidenceError, match=r"\.html, \.md, \.json"):
        render(report(), ".docx")


@pytest.mark.parametrize("suffix", [".html", ".md", ".json"])
def test_nothing_observed_makes_a_report_too(suffix):
    found = case_report(flagged_engine().diagnose({}), intervals=False, created=CREATED)
    assert "Nothing that was observed is present" in found.in_short[0]
    assert not any("fragile" in sentence for sentence in found.in_short)
    assert render(found, suffix)


def test_everything_known_makes_a_report_too():
    dx = random_engine(1).diagnose(
        {f"f{i}": i % 2 == 0 for i in range(6)} | {f"c{i}": i == 1 for i in range(5)}
    )
    found = case_report(dx, intervals=False)
    assert found.reasons == ()
    assert found.flips_missing
    assert Page(render(found, ".html"))
    assert {place.known for place in found.differential} == {"present", "absent"}


# ------------------------------------------------------------------ the page as text


def test_the_page_asks_for_nothing_outside():
    html = render(report(), ".html")
    found = Page(html)
    assert not found.all("script")
    assert not found.all("img")
    assert not found.all("iframe")
    assert [link["href"] for link in found.all("link")] == ["data:,"]
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_page_has_landmarks_headings_and_captions():
    found = page()
    assert found.open == []
    assert [len(found.all(tag)) for tag in ("header", "nav", "main", "h1")] == [1, 1, 1, 1]
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert [i for i in ids if i in SECTIONS] == list(SECTIONS)
    assert len(found.all("caption")) == len(found.all("table"))
    for link in found.all("a"):
        if str(link["href"]).startswith("#"):
            assert str(link["href"])[1:] in ids
    for section in found.all("section"):
        assert section["aria-labelledby"] in ids
    for bar in found.all("svg"):
        assert bar["role"] == "img"
        assert bar["aria-label"]
    assert all("scope" in attrs for attrs in found.all("th"))
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert found.all("html")[0]["lang"] == "en"


def test_the_disclaimer_stands_once():
    assert render(report(), ".html").count("For research and teaching, not for care") == 1


def test_what_people_wrote_is_escaped(tmp_path):
    spoiled = table_examples.spoil(
        "evidence_tables/causes.csv", "Limescale,water", "<script>alert(1)</script>,water"
    )
    from twitchdx import Engine

    folder = table_examples.write(tmp_path, spoiled)
    engine = Engine.from_tables(folder / "priors", folder / "evidence_tables", "office")
    dx = engine.diagnose({"lukewarm": True})
    html = render(case_report(dx, intervals=False), ".html")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in dx._repr_html_()


def contrast(one: str, other: str) -> float:
    """Contrast of two #rrggbb colours (WCAG 2)."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_has_enough_contrast_in_both_schemes():
    css = files("twitchdx.report").joinpath("report.css").read_text()
    schemes = [
        dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(schemes) == 2
    for colors in schemes:
        for ink in ("ink", "soft", "accent", "against", "alarm"):
            assert contrast(colors[ink], colors["paper"]) >= 4.5
        for ink in ("ink", "soft", "accent"):
            assert contrast(colors[ink], colors["panel"]) >= 4.5
        for ink in ("ink", "alarm", "accent"):
            assert contrast(colors[ink], colors["alarm-panel"]) >= 4.5
        for shape in ("bar", "against", "band"):
            assert contrast(colors[shape], colors["track"]) >= 3


def test_a_notebook_shows_the_short_form():
    html = case()._repr_html_()
    found = Page(html)
    assert found.open == []
    assert len(found.all("table")) == 1
    assert "Cold" not in found.text.get("h1", [])
    assert "for care" in html


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def folder() -> str:
    return str(table_examples.write(Path(tempfile.mkdtemp())))


def test_the_command_writes_each_format(folder, tmp_path):
    runner = CliRunner()
    common = ["report", "--tables", folder, "--population", "office", "-p", "lukewarm",
              "--no-intervals"]  # fmt: skip
    for suffix in ("html", "md", "json"):
        target = tmp_path / f"case.{suffix}"
        result = runner.invoke(main, [*common, "-o", str(target)])
        assert result.exit_code == 0, result.output
        assert "Limescale" in target.read_text()
        assert "leads" in result.stderr
    printed = runner.invoke(main, common)
    assert printed.exit_code == 0
    assert printed.stdout.startswith("# A person of unknown age and sex")


def test_the_command_refuses_what_it_cannot_write(folder, tmp_path):
    common = ["report", "--tables", folder, "--population", "office", "-p", "lukewarm"]
    result = CliRunner().invoke(main, [*common, "-o", str(tmp_path / "case.pdf")])
    assert result.exit_code == 2
    assert ".html, .md, .json" in result.stderr
    missing = str(tmp_path / "nowhere" / "case.html")
    result = CliRunner().invoke(main, [*common, "--no-intervals", "-o", missing])
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_diagnose_shows_warnings_and_reasons(folder):
    common = ["diagnose", "--tables", folder, "--population", "office"]
    result = CliRunner().invoke(
        main, [*common, "-p", "dripping,pump_worn", "--explain", "limescale"]
    )
    assert result.exit_code == 0, result.output
    assert "Urgent" in result.stdout
    assert "Call somebody" in result.stdout
    assert "decibans in all" in result.stdout
    data = json.loads(
        CliRunner()
        .invoke(main, [*common, "-p", "dripping", "--explain", "limescale", "--json"])
        .stdout
    )
    assert [one["cause"] for one in data["serious_causes"]] == ["pump_worn"]
    assert data["reasons"]["limescale"][0]["node"] == "dripping"
    wrong = CliRunner().invoke(main, [*common, "-p", "dripping", "--explain", "limescal"])
    assert wrong.exit_code == 1
    assert "limescale" in wrong.stderr


# ------------------------------------------------------------------ the page in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


#: hosts that the browser itself calls on, whatever the page
OWN_ERRANDS = ("google.com", "googleapis.com", "gvt1.com")


def chromium(tmp_path: Path, html: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a headless browser with a profile of its own and no way out."""
    target = tmp_path / "case.html"
    target.write_text(html, encoding="utf-8")
    quiet = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", "--disable-dev-shm-usage", "--proxy-server=127.0.0.1:9",
    )  # fmt: skip
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    return subprocess.run(
        [str(CHROMIUM), *quiet, profile, *options, target.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def visit(tmp_path: Path, html: str) -> tuple[str, bool, set[str]]:
    """Return the page as the browser understood it, if it complained, and what it asked for."""
    log = tmp_path / "net.json"
    done = chromium(tmp_path, html, "--dump-dom", "--enable-logging=stderr", f"--log-net-log={log}")
    urls = re.findall(r'"url":"(?:https?|ftp|wss?)://([^/"]+)', log.read_text())
    asked = {host for host in urls if not host.endswith(OWN_ERRANDS)}
    return done.stdout, "CONSOLE" in done.stderr, asked


@browser
def test_a_browser_shows_it_without_errors_or_requests(tmp_path):
    dom, complained, asked = visit(tmp_path, render(report(), ".html"))
    assert not complained
    assert asked == set()
    assert re.findall(r'<h2 id="([a-z-]+)"', dom) == ["in-short", *SECTIONS]


@browser
def test_a_page_that_did_ask_would_be_found_out(tmp_path):
    html = '<img src="http://example.invalid/x.png"><script>console.log(1)</script>'
    _, complained, asked = visit(tmp_path, html)
    assert complained
    assert asked == {"example.invalid"}


@browser
@pytest.mark.parametrize("width", [1280, 500])
def test_it_fits_the_screen(tmp_path, width):
    """Nothing is wider than the window: the page says so itself when asked."""
    html = render(report(), ".html")
    probe = (
        "<script>addEventListener('load', () => { document.title = "
        "document.documentElement.scrollWidth + ' of ' + innerWidth })</script>"
    )
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', html)
    assert policy is not None
    page = html.replace(policy[0], probe)
    done = chromium(tmp_path, page, f"--window-size={width},900", "--dump-dom")
    title = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert title is not None
    assert int(title[1]) <= int(title[2])


@browser
def test_it_prints(tmp_path):
    target = tmp_path / "case.pdf"
    chromium(
        tmp_path, render(report(), ".html"), "--no-pdf-header-footer", f"--print-to-pdf={target}"
    )
    assert target.read_bytes().startswith(b"%PDF")
