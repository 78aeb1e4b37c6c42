"""Weight of evidence: how far each observation moved the odds of a cause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from twitchdx.evidence import ABSENT, PRESENT
from twitchdx.explain.rows import node_name, row_in_words, supporting_rows
from twitchdx.inference import infer_batch, infer_evidence

if TYPE_CHECKING:
    import pandas as pd

    from twitchdx.case import Observation
    from twitchdx.diagnosis import Diagnosis

FloatArray = NDArray[np.float64]
Unit = Literal["decibans", "nats", "bits"]

#: a weight in nats times this is the weight in the unit
PER_NAT = {"decibans": 10 / math.log(10), "nats": 1.0, "bits": 1 / math.log(2)}

#: Shapley values are exact up to this many observations (all their subsets), sampled beyond
EXACT_OBSERVATIONS = 10
PERMUTATIONS = 200
SEED = 20040601

#: log-odds in nats that stand for certainty
SETTLED = 700.0
#: posteriors below this give their log-odds to 13 digits
EXACT_BELOW = 0.999
#: a factor below this is called none
NO_DIFFERENCE = 1.05


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a cause became more or less probable.

    Attributes
    ----------
    cause : str
    unit : {'decibans', 'nats', 'bits'}
    prior, posterior : float
        Log-odds before and after all observations, in `unit`.
    frame : DataFrame
        One row an observation, weightiest first: `node`, `name`, `state`, `weight` (its Shapley
        value: these add up to `total`), `standard_error` (0 where exact), `alone_last` (what it
        adds when all the rest is known), `likelihood_ratio` (the same as a factor on the odds),
        `sentence`, `numbers` (what the tables say, in words), `rows` (their places),
        `sources` (keys of sources.csv).
    method : {'exact', 'sampled'}
        How the weights were averaged over orders, or the probabilities found.
    """

    cause: str
    unit: Unit
    prior: float
    posterior: float
    frame: pd.DataFrame
    method: str

    @property
    def total(self) -> float:
        """Change of the log-odds from prior to posterior, in `unit`."""
        return self.posterior - self.prior

    def __str__(self) -> str:
        lines = [f"{self.cause}: {self.total:+.1f} {self.unit} in all"]
        lines += [f"  {row.weight:+6.1f}  {row.sentence}" for row in self.frame.itertuples()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        shown = self.frame[["node", "state", "weight", "likelihood_ratio", "sentence"]]
        table: str = shown.to_html(index=False, float_format="{:.2f}".format)
        return f"<p>{self.cause}: {self.total:+.1f} {self.unit} in all</p>{table}"


def explain(dx: Diagnosis, cause: str, unit: Unit = "decibans") -> Explanation:
    """Return what each observation says for or against a cause.

    The weight of evidence is the logarithm of the Bayes factor (Good 1950). Two readings are
    given of each observation: what it adds when all the rest is known (leave one out), and its
    Shapley value, the average of what it adds over all orders in which the observations could
    have been made; only the latter add up to the whole change.

    Parameters
    ----------
    dx : Diagnosis
    cause : str
    unit : {'decibans', 'nats', 'bits'}
        Ten decibans are a factor of ten in the odds.

    Raises
    ------
    UnknownIdError
        If there is no such cause.

    References
    ----------
    .. [1] Good IJ. Probability and the weighing of evidence. Griffin, 1950.
    .. [2] Shapley LS. A value for n-person games. Contributions to the theory of games II, 1953.
    .. [3] Castro J, Gomez D, Tejada J. Polynomial calculation of the Shapley value based on
       sampling. Comput Oper Res 2009;36:1726-1730.
    """
    import pandas as pd

    from twitchdx.diagnosis import check_cause

    check_cause(dx.engine, cause)
    place = dx.engine.reader.index[cause]
    seen = dx.case.observations
    weights, errors, method = shapley_weights(dx, place)
    everything = np.ones(len(seen), dtype=bool)
    subsets = np.array([everything, ~everything, *(~np.eye(len(seen), dtype=bool))])
    after, before, *without = log_odds(dx, subsets, place).tolist()
    scale = PER_NAT[unit]
    records = []
    for k, observation in enumerate(seen):
        last = after - without[k]
        rows = supporting_rows(dx, cause, observation.node)
        records.append(
            {
                "node": observation.node,
                "name": node_name(dx.engine.knowledge, observation.node),
                "state": _state(observation),
                "weight": weights[k] * scale,
                "standard_error": errors[k] * scale,
                "alone_last": last * scale,
                "likelihood_ratio": math.exp(last) if last < SETTLED else math.inf,
                "sentence": _sentence(dx, observation, weights[k], last),
                "numbers": tuple(row_in_words(row, dx.engine.knowledge) for row in rows),
                "rows": tuple(str(row.where) for row in rows),
                "sources": tuple(dict.fromkeys(key for row in rows for key in row.source)),
            }
        )
    columns = [
        "node", "name", "state", "weight", "standard_error", "alone_last", "likelihood_ratio",
        "sentence", "numbers", "rows", "sources",
    ]  # fmt: skip
    frame = pd.DataFrame(records, columns=columns)
    frame = frame.sort_values("weight", key=abs, ascending=False, ignore_index=True)
    return Explanation(cause, unit, before * scale, after * scale, frame, method)


def log_odds(dx: Diagnosis, subsets: NDArray[np.bool_], place: int) -> FloatArray:
    """Return the log-odds of a cause when only some of the observations are known.

    Parameters
    ----------
    dx : Diagnosis
    subsets : ndarray of bool, shape (n, observations)
    place : int
        Node of the cause.

    Returns
    -------
    ndarray, shape (n,)
        In nats; a cause that is certain, or excluded, is put at plus or minus `SETTLED`.
    """
    posterior = _posteriors(dx, np.packbits(subsets, axis=None).tobytes(), subsets.shape)[0]
    on = posterior[:, place]
    with np.errstate(divide="ignore"):
        odds = np.log(on) - np.log1p(-on)
    # The complement of a probability near 1 has lost its digits: find it by itself.
    near_one = np.flatnonzero(on > EXACT_BELOW)
    if len(near_one):
        ratios = _subset_ratios(dx, subsets[near_one])
        off = ratios.copy()
        known = ratios[:, place] == PRESENT
        off[:, place] = ABSENT
        both = infer_evidence(
            dx.engine.networks,
            np.repeat(dx.case.weights[None, :], 2 * len(ratios), axis=0),
            np.concatenate([ratios, off]),
            exact_only=True,
        ).log_evidence.reshape(2, -1)
        odds[near_one] = np.where(known, SETTLED, np.log(on[near_one]) + both[0] - both[1])
    return np.asarray(np.clip(odds, -SETTLED, SETTLED))


@lru_cache(maxsize=8)
def _posteriors(dx: Diagnosis, packed: bytes, shape: tuple[int, int]) -> tuple[FloatArray, bool]:
    """Return the posteriors under each subset of the observations, and if all are exact."""
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=shape[0] * shape[1])
    subsets, where = np.unique(bits.reshape(shape).astype(bool), axis=0, return_inverse=True)
    ratios = _subset_ratios(dx, subsets)
    weights = np.repeat(dx.case.weights[None, :], len(ratios), axis=0)
    answer = infer_batch(dx.engine.networks, weights, ratios, exact_only=True)
    return answer.posterior[where.reshape(-1)], bool((answer.method == "exact").all())


def _subset_ratios(dx: Diagnosis, subsets: NDArray[np.bool_]) -> FloatArray:
    index = dx.engine.reader.index
    ratios = np.ones((len(subsets), len(dx.case.ratios)))
    for k, observation in enumerate(dx.case.observations):
        ratios[subsets[:, k], index[observation.node]] = observation.ratio
    return ratios


def shapley_weights(dx: Diagnosis, place: int) -> tuple[FloatArray, FloatArray, str]:
    """Return each observation's Shapley value in nats, its standard error, and the method.

    Exact over all subsets up to `EXACT_OBSERVATIONS`; beyond, the mean over `PERMUTATIONS`
    random orders and their reverses, with a fixed seed.
    """
    n = len(dx.case.observations)
    if n == 0:
        return np.zeros(0), np.zeros(0), dx.method
    if n <= EXACT_OBSERVATIONS:
        codes = np.arange(1 << n)
        subsets = (codes[:, None] >> np.arange(n)) & 1 == 1
        value = log_odds(dx, subsets, place)
        sizes = subsets.sum(axis=1)
        factorial = np.array([math.factorial(k) for k in range(n + 1)], dtype=np.float64)
        weights = np.zeros(n)
        for k in range(n):
            without = codes[~subsets[:, k]]
            share = factorial[sizes[without]] * factorial[n - 1 - sizes[without]] / factorial[n]
            weights[k] = share @ (value[without | (1 << k)] - value[without])
        return weights, np.zeros(n), dx.method
    random = np.random.default_rng(SEED)
    orders = np.array([random.permutation(n) for _ in range(PERMUTATIONS)])
    orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, n)
    subsets = np.zeros((len(orders), n + 1, n), dtype=bool)
    for step in range(n):
        subsets[:, step + 1] = subsets[:, step]
        subsets[np.arange(len(orders)), step + 1, orders[:, step]] = True
    value = log_odds(dx, subsets.reshape(-1, n), place).reshape(len(orders), n + 1)
    gains = np.empty((len(orders), n))
    np.put_along_axis(gains, orders, np.diff(value, axis=1), axis=1)
    pairs = gains.reshape(PERMUTATIONS, 2, n).mean(axis=1)
    errors = pairs.std(axis=0, ddof=1) / math.sqrt(PERMUTATIONS)
    return pairs.mean(axis=0), errors, "sampled"


def _state(observation: Observation) -> str:
    if observation.ratio == PRESENT:
        return "present"
    if observation.ratio == ABSENT:
        return "absent"
    return f"lr={observation.ratio:g}"


def _sentence(dx: Diagnosis, observation: Observation, weight: float, last: float) -> str:
    """Say in words what an observation adds when all the rest is known."""
    from twitchdx.report.text import times

    name = node_name(dx.engine.knowledge, observation.node)
    seen = "absent" if observation.ratio == ABSENT else "present"
    if observation.ratio not in (ABSENT, PRESENT):
        seen = f"seen so (likelihood ratio {observation.ratio:g})"
    if abs(last) >= SETTLED / 2:
        return f"{name} {seen}: settles it"
    factor = math.exp(abs(last))
    if factor < NO_DIFFERENCE:
        return f"{name}: as likely to be {seen} with this cause as without it, given the rest"
    than = "likelier" if last > 0 else "less likely"
    turned = ""
    if weight * last < 0 and abs(weight) >= math.log(NO_DIFFERENCE):
        turned = f"; on average over all orders it speaks {'for' if weight > 0 else 'against'} it"
    return (
        f"{name}: {times(factor)} times {than} to be {seen} than without this cause, "
        f"given the rest{turned}"
    )
