"""Which causes an answer is about: the first of the differential that are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: how many causes "leading" means
LEADING = 5
#: a posterior is above its prior if it is so by more than rounding: this part of it
ROUNDING = 1e-9


def ranked(by: FloatArray, posterior: FloatArray, entered: BoolArray) -> NDArray[np.int64]:
    """Return the order of a differential: places of the causes, first one first.

    Causes whose state was entered come last; the others by `by`, highest first and what is missing
    last; causes alike in that by their posterior.

    Parameters
    ----------
    by, posterior : array, shape (..., causes)
    entered : array of bool, shape (..., causes)

    Examples
    --------
    >>> ranked(np.array([0.0, 2, 0, 3]), np.array([0.1, 0.2, 0.3, 1]), np.arange(4) == 3).tolist()
    [1, 2, 0, 3]
    """
    return np.lexsort((-posterior, -by, entered))


def first_ranked(by: FloatArray, posterior: FloatArray, entered: BoolArray) -> NDArray[np.int64]:
    """Return the first place of `ranked`, for many rows at a fraction of its cost.

    Of a row whose causes were all entered, where there is nothing to rank, it is the likeliest.

    Parameters
    ----------
    by, posterior, entered : array, shape (rows, causes)

    Examples
    --------
    >>> by, entered = np.array([[0.0, 2, 0, 3], [0, 0, 0, 0]]), np.arange(8).reshape(2, 4) == 3
    >>> posterior = np.array([[0.1, 0.2, 0.3, 1], [0.1, 0.2, 0.3, 0.25]])
    >>> first_ranked(by, posterior, entered).tolist()
    [1, 2]
    """
    missing = np.finfo(np.float64).min
    key = np.where(entered, -np.inf, np.where(np.isnan(by), missing, by))
    alike = key == key.max(axis=1, keepdims=True)
    return np.where(alike, posterior, -1.0).argmax(axis=1)


def rise(posterior: FloatArray, prior: FloatArray) -> FloatArray:
    """Return how much the evidence added to each probability; 0 where it added nothing.

    A stand-in for what each cause explains that costs nothing. The posterior itself would let
    what is merely common lead, such as coffee drinking or old veins.

    Parameters
    ----------
    posterior, prior : array, shape (..., causes)

    Examples
    --------
    >>> rise(np.array([0.9, 0.25, 0.5]), np.array([0.9, 0.5, 0.25])).tolist()
    [0.0, 0.0, 0.25]
    """
    return np.where(posterior > prior * (1 + ROUNDING), posterior - prior, 0.0)


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
