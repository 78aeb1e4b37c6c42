"""What sorts a differential: what each cause would explain, its prior drawn half-way to a tenth.

Whoever is written up, referred or worried about is no draw from the population: rare conditions
are over-represented among them, by how much nobody knows. So, to sort only, the stated prior is
pooled with one that holds alike the ten causes or so that a differential names. The posterior that
is reported stays that of the stated prior.
"""

from __future__ import annotations

import numpy as np

from twitchdx.network import FloatArray
from twitchdx.odds import shift_odds

#: prior of each of ten causes that are held alike
ALIKE = 0.1
#: weight of the stated prior in the pool
WEIGHT = 0.5


def tempered_prior(prior: FloatArray, weight: float = WEIGHT) -> FloatArray:
    """Return priors drawn half-way to a tenth, in log odds: a logarithmic pool of the two [1]_.

    What is impossible or certain stays so.

    Parameters
    ----------
    prior : array
    weight : float
        Of the stated prior: 1 leaves it, 0 holds all causes alike.

    References
    ----------
    .. [1] Genest C, Zidek JV. Combining probability distributions: a critique and an annotated
       bibliography. Stat Sci 1986;1(1):114-135.

    Examples
    --------
    >>> tempered_prior(np.array([0.5, 0.1, 0.001, 0.0])).round(3).tolist()
    [0.25, 0.1, 0.01, 0.0]
    """
    return shift_odds(prior, _factor(prior, weight))


def tempered_posterior(
    prior: FloatArray, posterior: FloatArray, weight: float = WEIGHT
) -> FloatArray:
    """Return what each posterior would be with the cause's own prior tempered.

    The evidence multiplies the odds of a cause by its Bayes factor, whatever its prior.

    Parameters
    ----------
    prior, posterior : array
    weight : float
        As of `tempered_prior`.

    Examples
    --------
    >>> prior, posterior = np.array([0.5, 0.1, 0.001, 0.0]), np.array([0.8, 0.1, 0.02, 0.0])
    >>> tempered_posterior(prior, posterior).round(3).tolist()
    [0.571, 0.1, 0.177, 0.0]
    """
    return shift_odds(posterior, _factor(prior, weight))


def tempered(
    explained: FloatArray, prior: FloatArray, posterior: FloatArray, weight: float = WEIGHT
) -> FloatArray:
    """Return what each cause would explain with its prior tempered.

    The prior is moved as a likelihood ratio on the cause would move it, which leaves as it is
    what the cause explains where it is present.

    Parameters
    ----------
    explained : array
        Expected number of findings that each cause explains.
    prior, posterior : array
    weight : float
        As of `tempered_prior`.

    Examples
    --------
    >>> prior, posterior = np.array([0.5, 0.1, 0.001, 0.0]), np.array([0.8, 0.1, 0.02, 0.0])
    >>> tempered(np.array([0.4, 0.0, 0.02, 0.0]), prior, posterior).round(3).tolist()
    [0.286, 0.0, 0.177, 0.0]
    """
    possible = np.where(posterior > 0, posterior, 1.0)
    return explained * tempered_posterior(prior, posterior, weight) / possible


def _factor(prior: FloatArray, weight: float) -> FloatArray:
    """What tempering multiplies the odds of each cause by; 1 where nothing can move them."""
    settled = (prior <= 0) | (prior >= 1)
    odds = np.where(settled, ALIKE, prior) / np.where(settled, 1 - ALIKE, 1 - prior)
    return np.asarray((ALIKE / (1 - ALIKE) / odds) ** (1 - weight))
