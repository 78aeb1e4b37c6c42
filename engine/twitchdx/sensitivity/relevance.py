"""Which numbers a posterior depends on, from the structure of the network and the evidence alone.

Given the evidence, what is not an ancestor of an observation or of the cause asked about sums out.
In one stratum, P(evidence, causes) is moreover a product over parts that no common finding holds
together: a finding that is absent is a factor of its own for each of its causes (noisy-OR), and a
cause whose state is known holds nothing together. Only the part of the cause asked about matters.
In a mixture of strata the other parts matter, too: they weigh the strata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twitchdx.model import Target
from twitchdx.sensitivity.functions import FloatArray

if TYPE_CHECKING:
    from twitchdx.diagnosis import Diagnosis
    from twitchdx.model import Parameter

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

NO_PART = -1


@dataclass(frozen=True, eq=False)
class Relevance:
    """The arrows of one case, those that a number may switch on included.

    Attributes
    ----------
    arrows : ndarray of bool, shape (C, N)
    ratios : ndarray, shape (N,)
    strata : ndarray of int
        Of the case.
    rows : tuple of Parameter
    """

    arrows: BoolArray
    ratios: FloatArray
    strata: IntArray
    rows: tuple[Parameter, ...]

    @classmethod
    def of(cls, dx: Diagnosis, rows: Sequence[Parameter]) -> Relevance:
        """Collect the arrows of a case."""
        strata = np.flatnonzero(dx.case.weights > 0)
        networks = [dx.engine.networks[s] for s in strata]
        weight = np.stack([np.hstack([n.links, n.strength]) for n in networks])
        arrows: BoolArray = np.asarray((weight > 0).any(axis=0))
        for row in rows:
            for target in row.targets:
                if target.array in ("links", "strength"):
                    arrows[target.index[0], _node(target, len(arrows))] = True
        return cls(arrows, dx.case.ratios, strata, tuple(rows))

    @cached_property
    def reach(self) -> BoolArray:
        """Whether arrows lead from each cause to each node, itself included; shape (C, N)."""
        count = len(self.arrows)
        reach = self.arrows.copy()
        reach[np.arange(count), np.arange(count)] = True
        while True:
            more = reach | (reach[:, :count].astype(np.int64) @ reach > 0)
            if (more == reach).all():
                return reach
            reach = more

    def ancestral(self, target: int | None) -> BoolArray:
        """Observed nodes, the target, and all their ancestors; shape (N,)."""
        ends = self.ratios != 1.0
        if target is not None:
            ends = ends.copy()
            ends[target] = True
        found = ends.copy()
        found[: len(self.arrows)] |= self.reach[:, ends].any(axis=1)
        return found

    def parts(self, target: int) -> IntArray:
        """Number of the part that each node belongs to, shape (N,); -1 for one that is in none."""
        inside = self.ancestral(target)
        certain = (self.ratios == 0.0) | np.isinf(self.ratios)
        part = np.where(inside & (self.ratios != 0.0), np.arange(len(inside)), NO_PART)
        for node in np.flatnonzero(part >= 0).tolist():
            for parent in np.flatnonzero(self.arrows[:, node]).tolist():
                if not certain[parent] and part[parent] != part[node]:
                    part[part == part[parent]] = part[node]
        return part

    def numbers(self, target: int) -> BoolArray:
        """Say which rows the posterior of a cause (a node) can depend on, shape (R,)."""
        if self.ratios[target] == 0.0 or np.isinf(self.ratios[target]):
            return np.zeros(len(self.rows), dtype=np.bool_)
        inside = self.ancestral(target)
        part = self.parts(target) if len(self.strata) == 1 else None
        return np.array(
            [
                any(
                    self._depends(move, target, inside, part)
                    for move in row.targets
                    if move.stratum in self.strata
                )
                for row in self.rows
            ],
            dtype=np.bool_,
        )

    def evidence(self, target: int) -> FloatArray:
        """The evidence that bears on a cause: the rest of it is left out, shape (N,)."""
        if len(self.strata) > 1:
            return self.ratios
        part = self.parts(target)
        apart = (part != part[target]) & (self.ratios != 0.0)
        return np.where(apart, 1.0, self.ratios)

    def untouched(self, target: int) -> bool:
        """Whether no observation at all bears on a cause (in one stratum)."""
        if len(self.strata) > 1:
            return False
        part = self.parts(target)
        mine = part == part[target]
        seen = self.ratios != 1.0
        absent = self.ratios == 0.0
        beside = self.arrows[mine[: len(self.arrows)]].any(axis=0)
        return not (seen & mine).any() and not (absent & beside).any()

    def _depends(self, move: Target, target: int, inside: BoolArray, part: IntArray | None) -> bool:
        node = _node(move, len(self.arrows))
        if not inside[node]:
            return False
        parent = move.index[0] if move.array in ("links", "strength") else None
        if parent is not None and self.ratios[parent] == 0.0:
            return False
        if part is None:
            return True
        if self.ratios[node] != 0.0:
            return bool(part[node] == part[target])
        # absent: a factor of each parent by itself
        return parent is not None and bool(part[parent] == part[target])


def _node(target: Target, causes: int) -> int:
    """Node that a network parameter belongs to."""
    return target.index[-1] + (0 if target.array in ("prior", "links") else causes)
