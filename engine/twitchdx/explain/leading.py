"""Which causes an answer is about: the first of the differential that are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis

#: how many causes "leading" means
LEADING = 5


def leading_causes(dx: Diagnosis, most: int | None = LEADING) -> tuple[str, ...]:
    """Return the first causes of the differential that are neither known nor exposures.

    An exposure (coffee, a drug) is often all but certain, and a known cause is no question; what
    is asked is what disease or habit of the body stands behind the case.

    Parameters
    ----------
    dx : Diagnosis
    most : int, optional
        None for all.
    """
    return open_causes(dx, dx.differential()["cause"].tolist())[:most]


def open_causes(dx: Diagnosis, causes: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return those of some causes that are neither known nor exposures, in their order."""
    rows = dx.engine.knowledge.causes
    known = {*dx.case.present, *dx.case.absent}
    return tuple(c for c in causes if rows[c].nature != "exposure" and c not in known)
