"""How well cases are ranked and their causes told apart: arrays in, numbers out.

Everywhere: probabilities and truth are arrays of shape (cases, labels); a rank counts from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

#: a probability of exactly 0 or 1 that turns out wrong costs this many digits, not infinity
TINY = 1e-12


def ranks(first: FloatArray, second: FloatArray, left_out: BoolArray) -> IntArray:
    """Rank the causes of each case, best 1.

    Parameters
    ----------
    first : array, shape (cases, causes)
        Highest is best.
    second : array, shape (cases, causes)
        Breaks ties; ties beyond that go by the order of the tables.
    left_out : array of bool, shape (cases, causes)
        Causes that are not ranked in a case (their state was observed); they come last.

    Examples
    --------
    >>> nothing = np.zeros((1, 3), bool)
    >>> ranks(np.array([[0.2, 0.9, 0.2]]), np.array([[0.1, 0.0, 0.3]]), nothing)
    array([[3, 1, 2]])
    """
    order = np.lexsort((-second, -first, left_out), axis=1)
    placed = np.empty_like(order)
    np.put_along_axis(placed, order, np.arange(1, first.shape[1] + 1)[None, :], axis=1)
    return placed.astype(np.int64)


def truth_ranks(placed: IntArray, truths: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """Return the rank of each true cause of each case.

    Parameters
    ----------
    placed : array, shape (cases, causes)
        From `ranks`.
    truths : one list a case of one list a truth of cause indices
        A truth that an older id names has several parts: the best ranked one counts.
    """
    return [
        [min(int(row[part]) for part in parts) for parts in truth]
        for row, truth in zip(placed, truths, strict=True)
    ]


def any_within(found: Sequence[Sequence[int]], k: int) -> FloatArray:
    """Return 1 for each case with a true cause among the first k, else 0; NaN without truth.

    Examples
    --------
    >>> any_within([[1, 9], [4]], 3), all_within([[1, 9], [2, 3]], 3), reciprocal_rank([[2, 4]])
    (array([1., 0.]), array([0., 1.]), array([0.5]))
    """
    return np.array([float(min(r) <= k) if r else np.nan for r in found])


def all_within(found: Sequence[Sequence[int]], k: int) -> FloatArray:
    """Return 1 for each case with every true cause among the first k, else 0."""
    return np.array([float(max(r) <= k) if r else np.nan for r in found])


def reciprocal_rank(found: Sequence[Sequence[int]]) -> FloatArray:
    """Return one over the rank of each case's best ranked true cause."""
    return np.array([1 / min(r) if r else np.nan for r in found])


def brier(probabilities: FloatArray, truth: BoolArray) -> FloatArray:
    """Return the multi-label Brier score of each case: squared errors summed over labels [1]_.

    References
    ----------
    .. [1] Brier GW. Verification of forecasts expressed in terms of probability. Mon Weather
       Rev 1950;78:1-3.
    """
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1))


def log_score(probabilities: FloatArray, truth: BoolArray) -> FloatArray:
    """Return minus the log-likelihood of each case's labels, in nats, summed over labels.

    Probabilities are taken no nearer to 0 and 1 than `TINY`.
    """
    p = np.clip(probabilities, TINY, 1 - TINY)
    return np.asarray(-(np.where(truth, np.log(p), np.log1p(-p))).sum(axis=1))


def auroc(probability: FloatArray, truth: BoolArray, weights: FloatArray) -> float:
    """Return the area under the ROC curve of one label (scikit-learn); NaN with one class only."""
    from sklearn.metrics import roc_auc_score

    kept = weights > 0
    if not truth[kept].any() or truth[kept].all():
        return float("nan")
    return float(roc_auc_score(truth[kept], probability[kept], sample_weight=weights[kept]))


def auroc_draws(probability: FloatArray, truth: BoolArray, weights: FloatArray) -> FloatArray:
    """Return the area under the ROC curve for many sets of case weights at once.

    Parameters
    ----------
    probability, truth : arrays, shape (cases,)
    weights : array, shape (draws, cases)

    Returns
    -------
    array, shape (draws,)
        NaN where only one class has weight.

    Examples
    --------
    >>> auroc_draws(np.array([0.9, 0.4, 0.4]), np.array([True, False, True]), np.ones((1, 3)))
    array([0.75])
    """
    yes, no = probability[truth], probability[~truth]
    wins = (yes[:, None] > no[None, :]) + 0.5 * (yes[:, None] == no[None, :])
    of = weights[:, truth].sum(axis=1) * weights[:, ~truth].sum(axis=1)
    won = np.einsum("di,ij,dj->d", weights[:, truth], wins, weights[:, ~truth], optimize=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(of > 0, won / np.where(of > 0, of, 1.0), np.nan))


def average_precision(probability: FloatArray, truth: BoolArray, weights: FloatArray) -> float:
    """Return the average precision of one label (scikit-learn); NaN without a positive."""
    from sklearn.metrics import average_precision_score

    kept = weights > 0
    if not truth[kept].any():
        return float("nan")
    return float(
        average_precision_score(truth[kept], probability[kept], sample_weight=weights[kept])
    )


def covered(
    probabilities: FloatArray, truths: Sequence[Sequence[Sequence[int]]], threshold: float
) -> tuple[FloatArray, FloatArray]:
    """Return what the causes at or above a probability cover of each case's truth.

    Returns
    -------
    share : array, shape (cases,)
        Of the true causes, those on the list (any part of an older id).
    size : array, shape (cases,)
        Causes on the list.
    """
    listed = probabilities >= threshold
    share = [
        np.mean([any(row[part] for part in parts) for parts in truth]) if truth else np.nan
        for row, truth in zip(listed, truths, strict=True)
    ]
    return np.array(share, dtype=np.float64), listed.sum(axis=1).astype(np.float64)


def capability_scores(correct: FloatArray) -> FloatArray:
    """Compare systems on the same cases, a hard case counting for more [1]_.

    A case's ease is the share of systems that solve it. Solving a case earns 1 - ease, missing
    it costs the ease; the mean, from -1 to 1, is put on a scale of 0 to 100, where 50 is a system
    like the others.

    Parameters
    ----------
    correct : array, shape (cases, systems)
        1 solved, 0 not, NaN not tried.

    Returns
    -------
    array, shape (systems,)

    References
    ----------
    .. [1] Capability comparison score, as `get_ccs` of the R package symptomcheckR has it:
       https://github.com/ma-kopka/symptomcheckR/blob/main/R/get_ccs.R
    """
    if correct.shape[1] < 2:
        return np.full(correct.shape[1], np.nan)
    ease = np.nanmean(correct, axis=1, keepdims=True)
    points = np.where(correct == 1, 1 - ease, -ease)
    points[np.isnan(correct)] = np.nan
    return np.asarray((np.nanmean(points, axis=0) + 1) / 2 * 100)
