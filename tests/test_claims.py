"""Every statement of the seed articles: carried by rows that exist, and true of the engine."""

from __future__ import annotations

import pytest

from claims.carriers import missing
from claims.language import Outcome, run
from twitchdx.tables import default_tables
from twitchdx.tables.schema import Claim

CLAIMS = tuple(default_tables().claims.values())
EXECUTABLE = tuple(claim for claim in CLAIMS if claim.expectation)


def _marked(claim: Claim) -> object:
    """A claim that the tables do not meet says so in its reason, and must then fail."""
    unmet = (claim.reason or "").startswith("Not met:")
    marks = [pytest.mark.xfail(reason=claim.reason, strict=True)] if unmet else []
    return pytest.param(claim, id=claim.claim, marks=marks)


def say(outcome: Outcome) -> str:
    numbers = ", ".join(f"{text} = {value}" for text, value in outcome.measured)
    return f"{outcome.check} does not hold: {numbers}"


def test_every_claim_is_there() -> None:
    assert [claim.claim for claim in CLAIMS] == [f"c{k:03d}" for k in range(1, 279)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.claim)
def test_carried(claim: Claim) -> None:
    assert claim.carried_by or claim.reason
    assert claim.expectation or claim.reason, "neither executable nor left out with a reason"
    gone = missing(claim.carried_by or "", default_tables())
    assert not gone, f"{claim.claim} is said to be carried by what is not there: {gone}"


@pytest.mark.parametrize("claim", [_marked(claim) for claim in EXECUTABLE])
def test_holds(claim: Claim) -> None:
    failed = [outcome for outcome in run(claim.expectation or "") if not outcome.holds]
    assert not failed, f"{claim.statement}\n" + "\n".join(map(say, failed))


def test_what_is_not_executed_is_context_advice_or_mechanism() -> None:
    """Statements about causes, likelihoods, numbers and tests are executable."""
    left = {claim.claim: claim.kind for claim in CLAIMS if not claim.expectation}
    firm = {"prior", "likelihood", "phenotype", "measurement", "test", "link", "red_flag"}
    assert {claim for claim, kind in left.items() if kind in firm} <= {"c083", "c097", "c117"}
    assert len(left) <= 35


def test_contested_statements_say_what_is_followed() -> None:
    contested = [claim for claim in CLAIMS if claim.contested not in (None, "no")]
    assert len(contested) == 42
    assert all(len(claim.contested or "") > 40 for claim in contested)
