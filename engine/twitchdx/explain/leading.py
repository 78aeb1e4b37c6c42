"""Which causes an answer is about: the one home of what "open", "leading" and "contending" mean."""

from __future__ import annotations

from collections.abc import Iterable
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

    A stand-in for what each cause explains that costs nothing. The probability itself would let
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


#: the evidence speaks for a cause if it multiplies its odds by this or more
RAISED = 2.0


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


def open_causes(
    dx: Diagnosis, causes: Iterable[str] | None = None, *, exposures: bool = False
) -> tuple[str, ...]:
    """Return those of some causes that are neither known nor exposures, in their order.

    Parameters
    ----------
    dx : Diagnosis
    causes : iterable of str, optional
        By default all (syndromes are none).
    exposures : bool
        Keep exposures.
    """
    rows = dx.engine.knowledge.causes
    index = dx.engine.reader.index
    known = {*dx.case.present, *dx.case.absent}
    return tuple(
        cause
        for cause in (dx.engine.causes if causes is None else causes)
        if (exposures or rows[cause].nature != "exposure")
        and cause not in known
        and 0.0 < dx.case.ratios[index[cause]] < np.inf
    )


def contenders(
    dx: Diagnosis, *, exposures: bool = False, bystanders: bool = False
) -> tuple[str, ...]:
    """Return the causes that compete for the lead, most probable first: the first one leads.

    They are the open causes that the evidence speaks for: it multiplies their odds by `RAISED`
    or more. A common condition that the case does not touch (four in ten have it, before and
    after) is a bystander, no rival, however probable it is. This needs no counterfactuals, unlike
    the order of `leading_causes` (what a cause explains), and so can be asked of every vignette
    of a cohort.

    Parameters
    ----------
    dx : Diagnosis
    exposures : bool
        Let exposures compete, too.
    bystanders : bool
        Let causes compete that the evidence does not speak for.

    Examples
    --------
    >>> from twitchdx import Engine
    >>> dx = Engine.default().diagnose({"urge_to_move": True, "worse_at_rest": True}, 52, "female")
    >>> contenders(dx)[0]
    'restless_legs_syndrome'
    >>> "chronic_venous_disease" in contenders(dx)
    False
    """
    causes = np.array(open_causes(dx, exposures=exposures), dtype=object)
    posterior = dx.posterior[list(causes)].to_numpy(dtype=np.float64)
    if not bystanders:
        prior = dx.prior[list(causes)].to_numpy(dtype=np.float64)
        competing = contending(posterior, prior)
        causes, posterior = causes[competing], posterior[competing]
    return tuple(causes[np.argsort(-posterior, kind="stable")].tolist())


def contending(posterior: FloatArray, prior: FloatArray) -> BoolArray:
    """Say which of some causes the evidence speaks for.

    Where it speaks for one only, the cause that comes next by the factor on its odds competes
    with it; where it speaks for none, all do.

    Parameters
    ----------
    posterior, prior : ndarray, shape (C,)

    Returns
    -------
    ndarray of bool, shape (C,)

    Examples
    --------
    >>> contending(np.array([0.4, 0.3, 0.1]), np.array([0.4, 0.1, 0.01])).tolist()
    [False, True, True]
    >>> contending(np.array([0.4, 0.02]), np.array([0.4, 0.02])).tolist()
    [True, True]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = posterior * (1 - prior) / (prior * (1 - posterior))
    factor = np.nan_to_num(factor, nan=0.0, posinf=np.inf)
    raised = factor >= RAISED
    if raised.sum() == 1 and len(factor) > 1:
        raised[np.argmax(np.where(raised, -1.0, factor))] = True
    return raised if raised.any() else np.ones(len(factor), dtype=np.bool_)
