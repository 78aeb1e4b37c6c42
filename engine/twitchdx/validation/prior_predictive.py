"""Does the network give back the tables? Frequencies it implies, beside the numbers that went in.

A likelihood row is P(finding | cause) in people whose other causes are off; in a whole population
some have other causes as well, so the network's frequency lies higher, more so for findings of
common causes. A background is P(finding | no cause); the population's frequency lies higher by what
causes add. Frequencies are exact, not sampled: one inference a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.inference import infer_evidence
from twitchdx.tables.schema import Likelihood

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine
    from twitchdx.model import Stratum

FloatArray = NDArray[np.float64]

EVERYBODY = "everybody"
TINY = 1e-9


@dataclass(frozen=True)
class Frequency:
    """How often a finding is seen, by the tables and by the network.

    Attributes
    ----------
    among : str
        A cause, or `EVERYBODY`.
    finding : str
    table : float
        The likelihood row, or the background (share-weighted over sex and age).
    low, high : float
        The row's 95 % interval.
    network : float
        In the population, all other causes as common as they are.
    grade, source : str
    others : tuple of (str, float)
        Causes that account for most of the difference: each with how much the frequency would
        fall, were nobody to have that cause.
    """

    among: str
    finding: str
    table: float
    low: float
    high: float
    network: float
    grade: str
    source: str
    others: tuple[tuple[str, float], ...] = ()

    @property
    def gap(self) -> float:
        """Difference in log-odds, network less table."""
        return float(_logit(self.network) - _logit(self.table))

    @property
    def inside(self) -> bool:
        """Whether the network's frequency lies within the row's interval."""
        return self.low - TINY <= self.network <= self.high + TINY


def prior_predictive(engine: Engine) -> list[Frequency]:
    """Compare every likelihood row and background with the network.

    Returns
    -------
    list of Frequency
        Backgrounds first, then likelihoods in the order of the tables.
    """
    knowledge, index = engine.knowledge, engine.reader.index
    n_nodes = len(index)
    shares = np.array([s.share for s in engine.model.strata])
    shares = shares / shares.sum()
    pairs = [(EVERYBODY, finding) for finding in knowledge.findings]
    pairs += [(row.cause, row.finding) for row in knowledge.likelihoods]
    ratios = np.ones((len(pairs), n_nodes))
    for row, (among, finding) in zip(ratios, pairs, strict=True):
        row[index[finding]] = PRESENT
        if among != EVERYBODY:
            row[index[among]] = PRESENT
    both = _probability(engine, ratios, shares)
    causes = list(dict.fromkeys(row.cause for row in knowledge.likelihoods))
    alone = np.ones((len(causes), n_nodes))
    for row, cause in zip(alone, causes, strict=True):
        row[index[cause]] = PRESENT
    given = dict(zip(causes, _probability(engine, alone, shares), strict=True))
    given[EVERYBODY] = 1.0
    rows = {(r.cause, r.finding): r for r in knowledge.likelihoods}
    out = []
    for (among, finding), joint in zip(pairs, both, strict=True):
        if given[among] <= 0:
            continue  # nobody in this population has it
        seen = float(min(1.0, joint / given[among]))
        if among == EVERYBODY:
            parts = [
                knowledge.background_row(finding, s.sex, _band(s))
                for s in engine.model.strata
                if s.share > 0
            ]
            weight = shares[shares > 0]
            own = [np.array([getattr(p, c) for p in parts]) for c in ("background", "low", "high")]
            table, low, high = (float(weight @ values) for values in own)
            grade = ";".join(dict.fromkeys(p.grade for p in parts))
            source = ";".join(dict.fromkeys(key for p in parts for key in p.source))
        else:
            like = rows[among, finding]
            table, low, high = like.probability, like.low, like.high
            grade, source = like.grade, ";".join(like.source)
        out.append(Frequency(among, finding, table, low, high, seen, grade, source))
    return out


def explain_gap(engine: Engine, one: Frequency, most: int = 3) -> Frequency:
    """Return the frequency with the causes that account for its gap.

    Each other cause is switched off in everybody in turn; how far the frequency falls is its part.
    """
    index = engine.reader.index
    shares = np.array([s.share for s in engine.model.strata])
    shares = shares / shares.sum()
    others = [c for c in engine.networks[0].causes if c != one.among]
    base = np.ones(len(index))
    if one.among != EVERYBODY:
        base[index[one.among]] = PRESENT
    without = np.tile(base, (len(others), 1))
    for row, cause in zip(without, others, strict=True):
        row[index[cause]] = ABSENT
    shown = without.copy()
    shown[:, index[one.finding]] = PRESENT
    below = _probability(engine, without, shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.where(below > 0, _probability(engine, shown, shares) / below, one.network)
    fall = one.network - rest
    order = np.argsort(-fall)[:most]
    return Frequency(
        one.among,
        one.finding,
        one.table,
        one.low,
        one.high,
        one.network,
        one.grade,
        one.source,
        tuple((others[i], float(fall[i])) for i in order if fall[i] > 1e-4),
    )


def as_markdown(engine: Engine, found: list[Frequency], most: int, notes: dict[str, str]) -> str:
    """Write the comparison: a summary, and the largest gaps with what accounts for them.

    Parameters
    ----------
    engine : Engine
    found : list of Frequency
    most : int
        Gaps shown of each kind.
    notes : mapping of str to str
        "among:finding" -> what somebody who looked at it says.
    """
    likelihoods = [f for f in found if f.among != EVERYBODY]
    backgrounds = [f for f in found if f.among == EVERYBODY]
    reached = {
        (row.cause, row.finding) for row in engine.model.unreachable if isinstance(row, Likelihood)
    }
    lines = [
        "# Prior predictive check",
        "",
        f"Frequencies that the network of `{engine.population}` implies, beside the numbers of "
        "the tables. A likelihood row says how often a cause shows a finding in people with no "
        "other cause; in the population some have other causes too. A background says how often "
        "people with no cause show it; everybody includes those with causes. So the network lies "
        "above the tables, and the question is whether it does so by more than other causes "
        "account for. What accounts for a gap: how far the frequency falls among those who do not "
        "have the named cause. Frequencies are exact. All rows: prior_predictive.csv.",
        "",
        f"- likelihood rows: {len(likelihoods)}; network within the row's interval: "
        f"{_share(likelihoods)}; median gap {_median(likelihoods):.2f} in log-odds",
        f"- below the row's interval: {sum(f.network < f.low - TINY for f in likelihoods)}; rows "
        f"that other paths already reach in some stratum (they do nothing there): "
        f"{sum((f.among, f.finding) in reached for f in likelihoods)}",
        f"- findings: {len(backgrounds)}; frequency in everybody within the background's "
        f"interval: {_share(backgrounds)}; median gap {_median(backgrounds):.2f} in log-odds",
        "",
    ]
    for title, group in (
        (f"The {most} likelihood rows with the largest gaps", likelihoods),
        (f"The {most} findings with the largest gaps", backgrounds),
    ):
        lines += [
            f"## {title}",
            "",
            "| among | finding | table | network | what accounts for it | note |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for one in sorted(group, key=lambda f: -abs(f.gap))[:most]:
            told = explain_gap(engine, one)
            others = ", ".join(f"{name} ({fall:+.3f})" for name, fall in told.others)
            lines.append(
                f"| {one.among} | {one.finding} | {one.table:.3g} ({one.low:.3g} to "
                f"{one.high:.3g}) | {one.network:.3g} | {others or 'nothing above 0.0001'} | "
                + (
                    "The row is already reached by other paths of the cause. "
                    if (one.among, one.finding) in reached
                    else ""
                )
                + f"{notes.get(f'{one.among}:{one.finding}', '')} |"
            )
        lines.append("")
    return "\n".join(lines)


def _probability(engine: Engine, ratios: FloatArray, shares: FloatArray) -> FloatArray:
    weights = np.broadcast_to(shares, (len(ratios), len(shares))).copy()
    return np.exp(infer_evidence(engine.networks, weights, ratios).log_evidence)


def _band(stratum: Stratum) -> str:
    low, high = stratum.age_low, stratum.age_high
    return f"{low}+" if high is None else f"{low}-{high}"


def _logit(p: float) -> float:
    q = min(max(p, TINY), 1 - TINY)
    return float(np.log(q / (1 - q)))


def _share(group: list[Frequency]) -> str:
    return f"{100 * np.mean([f.inside for f in group]):.0f} %" if group else "-"


def _median(group: list[Frequency]) -> float:
    return float(np.median([f.gap for f in group])) if group else float("nan")
