"""Many sets of table numbers, one case: posteriors of every cause under each of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twitchdx.errors import EvidenceError, WidthError
from twitchdx.inference import exact
from twitchdx.inference.structure import Compiled, index_arrows
from twitchdx.sensitivity.beta import fit_beta
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Selection, case_knobs, identity
from twitchdx.sensitivity.sweeps import CHUNK_BYTES, derive_clamped

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Parameter

BATCHES = 10
"""Independent batches that a simulation is made of; their scatter gives its standard errors."""


class Answers(NamedTuple):
    """Posteriors under many sets of numbers.

    Attributes
    ----------
    posterior : ndarray, shape (draws, C)
        NaN where the case is impossible under a draw.
    log_evidence : ndarray, shape (draws,)
    """

    posterior: FloatArray
    log_evidence: FloatArray


@dataclass(frozen=True, eq=False)
class CasePlan:
    """One case, reduced to what a change of certain rows can touch.

    Findings that were not observed are left out, as they say nothing.

    Attributes
    ----------
    rows : tuple of Parameter
    strata : ndarray of int, shape (S,)
        Strata of the case.
    mixture : ndarray, shape (S,)
    ratios : ndarray, shape (N,)
        Of the causes and the observed findings.
    own : ndarray, shape (S, N)
    weight : ndarray, shape (S, C, N)
    arrows : tuple of ndarray
        As `index_arrows` gives them.
    reported : ndarray of bool, shape (C,)
        Causes whose posteriors are worked out; those of syndromes are NaN.
    """

    rows: tuple[Parameter, ...]
    strata: NDArray[np.int64]
    mixture: FloatArray
    ratios: FloatArray
    own: FloatArray
    weight: FloatArray
    arrows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    reported: NDArray[np.bool_]
    move_row: NDArray[np.int64]
    move_array: NDArray[np.int64]  # 0 own, 1 weight
    move_index: NDArray[np.int64]  # flat, within one draw's array
    move_affine: FloatArray  # (3, M): slope, intercept, floor

    def posteriors(self, numbers: FloatArray, threads: int | None = 1) -> Answers:
        """Answer the case under every set of numbers.

        Parameters
        ----------
        numbers : ndarray, shape (draws, R)
            One column a row.
        threads : int, optional
            By default one; None for as many as numba has.

        Raises
        ------
        WidthError
            Where the case is too wide for exact inference.
        """
        draws, n_causes = len(numbers), self.weight.shape[1]
        posterior = np.empty((draws, n_causes))
        log_evidence = np.empty(draws)
        size = max(1, CHUNK_BYTES // (self.weight.nbytes + self.own.nbytes))
        for first in range(0, draws, size):
            part = slice(first, min(first + size, draws))
            posterior[part], log_evidence[part] = self._chunk(numbers[part], threads)
        return Answers(posterior, log_evidence)

    def networks(self, numbers: FloatArray) -> Compiled:
        """Return the networks of all strata under every set of numbers, one after the other."""
        count, n_strata = len(numbers), len(self.strata)
        own = np.repeat(self.own.reshape(1, -1), count, axis=0)
        weight = np.repeat(self.weight.reshape(1, -1), count, axis=0)
        set_to = self.settings(numbers)
        for code, array in enumerate((own, weight)):
            mine = self.move_array == code
            array[:, self.move_index[mine]] = set_to[:, mine]
        return Compiled(
            own.reshape(count * n_strata, -1),
            weight.reshape(count * n_strata, *self.weight.shape[1:]),
            *self.arrows,
        )

    def settings(self, numbers: FloatArray) -> FloatArray:
        """Return what the numbers set the network parameters to, shape (draws, M)."""
        slope, intercept, floor = self.move_affine
        return np.asarray(np.clip(intercept + slope * numbers[:, self.move_row], floor, 1.0))

    @property
    def move_stratum(self) -> NDArray[np.int64]:
        """Which of the case's strata each move is in, shape (M,)."""
        size = np.where(self.move_array == 0, self.own.shape[1], self.weight[0].size)
        return np.asarray(self.move_index // size)

    @property
    def move_node(self) -> NDArray[np.int64]:
        """Node whose parameter each move sets, shape (M,)."""
        return np.asarray(self.move_index % self.own.shape[1])

    def derive(
        self, numbers: FloatArray, cause: int | None, log_unit: float
    ) -> tuple[float, FloatArray]:
        """P(evidence), or P(evidence, cause), under one set of numbers, and its derivatives.

        Returns
        -------
        value : float
        by : ndarray, shape (M,)
            By the network parameters; both times exp(log_unit).
        """
        compiled = self.networks(numbers[None])
        clamp = {} if cause is None else {cause: True}
        total, by = 0.0, np.zeros(len(self.move_row))
        stratum_of = self.move_stratum
        for stratum, share in enumerate(self.mixture.tolist()):
            value, out, log_scale = derive_clamped(compiled, stratum, self.ratios, clamp)
            unit = share * math.exp(log_scale + log_unit)
            total += value * unit
            for code, array in enumerate((out.own, out.weight)):
                mine = (self.move_array == code) & (stratum_of == stratum)
                places = self.move_index[mine] - stratum * array.size
                by[mine] = array.ravel()[places] * unit
        return total, by

    def _chunk(self, numbers: FloatArray, threads: int | None) -> tuple[FloatArray, FloatArray]:
        count, n_strata = len(numbers), len(self.strata)
        compiled = self.networks(numbers)
        mixture = np.zeros((count, count * n_strata))
        for stratum in range(n_strata):
            mixture[np.arange(count), np.arange(count) * n_strata + stratum] = self.mixture[stratum]
        ratios = np.repeat(self.ratios[None], count, axis=0)
        answer = exact._infer_rows(compiled, ratios, mixture, threads, wanted=self.reported)
        if (answer.method == "too_wide").any():
            raise WidthError(
                f"the case is too wide for exact inference under many sets of numbers: width "
                f"{answer.width.max()}, more than {exact.most_states:,} states; leave out some of "
                "the findings that are present"
            )
        return answer.posterior, answer.log_evidence


def plan_case(
    dx: Diagnosis, rows: Sequence[Parameter], ratios: FloatArray | None = None
) -> CasePlan:
    """Prepare a case for many sets of numbers of these rows.

    Parameters
    ----------
    dx : Diagnosis
    rows : sequence of Parameter
    ratios : ndarray, optional
        Other evidence than the case's.
    """
    ratios = dx.case.ratios if ratios is None else ratios
    networks = dx.engine.networks
    n_causes = len(networks[0].causes)
    strata = np.flatnonzero(dx.case.weights > 0)
    seen = np.flatnonzero(ratios[n_causes:] != 1.0)
    column_of = np.full(len(networks[0].findings), -1)
    column_of[seen] = n_causes + np.arange(len(seen))
    own = np.stack([np.concatenate([networks[s].prior, networks[s].leak[seen]]) for s in strata])
    weight = np.stack(
        [np.hstack([networks[s].links, networks[s].strength[:, seen]]) for s in strata]
    )
    n_nodes = own.shape[1]
    place = {int(stratum): i for i, stratum in enumerate(strata)}
    arrows: NDArray[np.bool_] = np.asarray((weight > 0).any(axis=0))
    move_row, move_array, move_index, affine = [], [], [], []
    for index, row in enumerate(rows):
        for target in row.targets:
            if target.stratum not in place:
                continue
            node = target.index[-1]
            if target.array in ("leak", "strength"):
                node = int(column_of[node])
                if node < 0:
                    continue
            if target.array in ("prior", "leak"):
                move_array.append(0)
                move_index.append(place[target.stratum] * n_nodes + node)
            else:
                cause = target.index[0]
                arrows[cause, node] = True
                move_array.append(1)
                move_index.append((place[target.stratum] * n_causes + cause) * n_nodes + node)
            move_row.append(index)
            affine.append((target.slope, target.intercept, target.floor))
    return CasePlan(
        tuple(rows),
        strata,
        dx.case.weights[strata],
        np.concatenate([ratios[:n_causes], ratios[n_causes:][seen]]),
        np.ascontiguousarray(own),
        np.ascontiguousarray(weight),
        index_arrows(arrows),
        dx.engine.reported,
        np.array(move_row, dtype=np.int64),
        np.array(move_array, dtype=np.int64),
        np.array(move_index, dtype=np.int64),
        np.array(affine, dtype=np.float64).reshape(-1, 3).T,
    )


def uncertain_rows(dx: Diagnosis, parameters: Selection = "all") -> tuple[Parameter, ...]:
    """Return the rows that can touch this case and have an interval of some width.

    A likelihood or background of a finding that was not observed touches nothing.
    """
    network = dx.engine.networks[0]
    n_causes = len(network.causes)
    seen = {network.findings[i] for i in np.flatnonzero(dx.case.ratios[n_causes:] != 1.0).tolist()}
    return tuple(
        row
        for knob in case_knobs(dx, parameters)
        for row in knob.parameters
        if (row.kind in ("prior", "link") or row.other in seen) and row.low < row.high
    )


def draw_numbers(rows: Sequence[Parameter], draws: int, seed: int) -> FloatArray:
    """Draw numbers from the rows' Beta distributions.

    Each quantity has a stream of random numbers of its own, which depends on the seed and on its
    identity alone: the same quantity gets the same quantiles in every case, population and prior
    set (common random numbers), so that comparisons are not blurred by chance. The rows of one
    prevalence, and those of one background, by sex and age, rise and fall together, as they come
    from the same studies. The draws are `BATCHES` independent Latin hypercubes [1]_.

    Parameters
    ----------
    rows : sequence of Parameter
    draws : int
        A multiple of `BATCHES`.
    seed : int

    Returns
    -------
    ndarray, shape (draws, R)

    Raises
    ------
    EvidenceError
        For a number of draws that cannot be divided into batches of two or more, or a seed
        below 0.

    References
    ----------
    .. [1] McKay MD, Beckman RJ, Conover WJ. A comparison of three methods for selecting values of
       input variables. Technometrics 1979.
    """
    check_draws(draws)
    check_seed(seed)
    numbers = np.empty((draws, len(rows)))
    streams: dict[str, FloatArray] = {}
    for column, row in enumerate(rows):
        name = identity(row)
        if name not in streams:
            streams[name] = normal_stream(name, draws, seed)
        numbers[:, column] = fit_beta(row.value, row.low, row.high).at_normal(streams[name])
    return numbers


def check_draws(draws: int) -> None:
    """Raise EvidenceError for a number of draws that cannot be divided into batches."""
    if draws < 2 * BATCHES or draws % BATCHES:
        raise EvidenceError(
            f"draws must be a multiple of {BATCHES}, and at least {2 * BATCHES}, not {draws}"
        )


def check_seed(seed: int) -> None:
    """Raise EvidenceError for a seed that starts no stream of random numbers."""
    if seed < 0:
        raise EvidenceError(f"a seed is a whole number of 0 or more, not {seed}")


def normal_stream(name: str, draws: int, seed: int) -> FloatArray:
    """Return standard normal numbers that belong to a name, stratified within each batch."""
    from scipy.special import ndtri

    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    size = draws // BATCHES
    cells = random.permuted(np.tile(np.arange(size), (BATCHES, 1)), axis=1)
    return np.asarray(ndtri((cells + random.random((BATCHES, size))) / size)).ravel()
