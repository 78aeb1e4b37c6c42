"""How solid an answer is: on what grade of numbers its weight rests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twitchdx.explain.leading import leading_causes
from twitchdx.explain.rows import supporting_rows
from twitchdx.explain.weight import explain

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis


@dataclass(frozen=True)
class Solidity:
    """Share of a cause's weight of evidence by the grade of the numbers behind it.

    Attributes
    ----------
    cause : str
    shares : dict of str to float
        Grade -> share; the shares add up to 1 where anything was observed.
    """

    cause: str
    shares: dict[str, float]

    @property
    def expert(self) -> float:
        """Share that rests on judgement alone."""
        return self.shares.get("expert", 0.0)

    def __str__(self) -> str:
        return f"{self.expert:.0%} of the weight for {self.cause} rests on expert judgement"


def solidity(dx: Diagnosis, cause: str | None = None) -> Solidity:
    """Return how much of the weight behind a cause rests on judgement, reviews and studies.

    Each observation's absolute weight of evidence is shared equally among the rows it rests on:
    the likelihood rows and links from the cause, and the finding's background.

    Parameters
    ----------
    dx : Diagnosis
    cause : str, optional
        By default the leading one.

    Raises
    ------
    UnknownIdError
        If there is no such cause.
    """
    name = cause or next(iter(leading_causes(dx)), dx.engine.causes[0])
    shares: dict[str, float] = {}
    frame = explain(dx, name).frame
    for node, weight in zip(frame["node"].tolist(), frame["weight"].tolist(), strict=True):
        grades = [row.grade for row in supporting_rows(dx, name, node)]
        for grade in grades:
            shares[grade] = shares.get(grade, 0.0) + abs(weight) / len(grades)
    total = sum(shares.values())
    return Solidity(name, {g: share / total for g, share in shares.items()} if total else {})
