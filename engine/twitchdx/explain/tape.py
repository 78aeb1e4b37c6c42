"""In which order the nodes of a case are summed out: a tape of operations on small tables.

A noisy-OR decomposes over its arrows, so an arrow needs only its two ends at hand [1]_. Each
table is a vector over the subsets of its nodes; a node is an *accumulator* ("switched on so far")
until all arrows to it are applied, and a state from then on. Arrows leave a node only once it is a
state, so that two tables share accumulators only, which combine by OR.

References
----------
.. [1] Zhang NL, Poole D. Exploiting causal independence in Bayesian network inference. J Artif
   Intell Res 1996;5:301-328.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

# Operations: (code, table, other, node)
NEW = 0  # table: a cause without parents
JOIN = 1  # table, other table: multiply; shared accumulators combine by OR
ARROW = 2  # table, cause, node: where the cause is on, switch the node on
CONVERT = 3  # table, -, cause: its accumulator becomes its state
DROP = 4  # table, -, cause: sum its state out
CLOSE = 5  # table, -, finding: weigh its accumulator by the evidence and sum it out

#: in place of another table: nothing is left of this one but a number
DONE = -2


@dataclass
class _Planner:
    """Greedy elimination: always what leaves the smallest table."""

    parents: dict[int, set[int]]
    children: dict[int, set[int]]
    causes: frozenset[int]
    tape: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left_in = {n: set(ps) for n, ps in self.parents.items()}
        self.left_out = {n: set(self.children.get(n, ())) for n in self.parents}
        self.is_state = {n for n in self.parents if n in self.causes and not self.parents[n]}
        self.tables: dict[int, set[int]] = {}
        self.holding: dict[int, set[int]] = {n: set() for n in self.parents}
        self.todo = set(self.parents)

    def plan(self) -> None:
        scores: dict[int, tuple[int, int, int] | None] = {}
        while self.todo:
            for node in self.todo:
                if node not in scores:
                    scores[node] = self._score(node)
            ready = [score for node in self.todo if (score := scores[node]) is not None]
            node = min(ready)[2]
            for changed in self._finish(node):
                scores.pop(changed, None)

    def _arrows(self, node: int) -> list[tuple[int, int]]:
        if node in self.is_state:
            return [(node, child) for child in sorted(self.left_out[node])]
        return [(parent, node) for parent in sorted(self.left_in[node])]

    def _involved(self, node: int) -> list[int]:
        """Tables that finishing a node brings together, smallest first."""
        tables = set(self.holding[node])
        if node not in self.is_state:
            for parent in self.left_in[node]:
                tables |= self.holding[parent]
        return sorted(tables, key=lambda t: (len(self.tables[t]), t))

    def _score(self, node: int) -> tuple[int, int, int] | None:
        """Nodes left in the table, nodes in it at most, and the node; None if it must wait."""
        waiting = node not in self.is_state
        if waiting and not self.left_in[node] <= self.is_state:
            return None
        together: set[int] = {node}
        for table in self._involved(node):
            together |= self.tables[table]
        for arrow in self._arrows(node):
            together.update(arrow)
        rest = set(together)
        if waiting:
            rest -= {p for p in self.left_in[node] if self.left_out[p] == {node}}
            if node not in self.causes or not self.left_out[node]:
                rest.discard(node)
        else:
            rest.discard(node)
        return len(rest), len(together), node

    def _finish(self, node: int) -> Iterable[int]:
        """Apply what is left of a node, and return the nodes whose scores that changes."""
        involved = self._involved(node)
        arrows = self._arrows(node)
        for parent, _ in arrows:
            if not self.holding[parent]:
                involved.append(self._start(parent))
        if not involved:
            involved.append(self._start(node))
        table, *others = dict.fromkeys(involved)
        for other in others:
            self.tape.append((JOIN, table, other, -1))
            for held in self.tables.pop(other):
                self.holding[held].discard(other)
                self._hold(table, held)
        for parent, child in arrows:
            self.tape.append((ARROW, table, parent, child))
            self._hold(table, child)
            self.left_out[parent].discard(child)
            self.left_in[child].discard(parent)
            if not self.left_out[parent]:
                self._release(DROP, table, parent)
        if node in self.todo:
            if node not in self.causes:
                self._release(CLOSE, table, node)
            elif node not in self.is_state:
                self.tape.append((CONVERT, table, -1, node))
                self.is_state.add(node)
                if not self.left_out[node]:
                    self._release(DROP, table, node)
            elif not self.left_out[node]:
                self._release(DROP, table, node)
        changed = set(self.tables[table]) | {node}
        for parent, child in arrows:
            changed |= {parent, child}
        for near in list(changed):
            changed |= self.children.get(near, set()) | self.parents[near]
        return changed

    def _start(self, cause: int) -> int:
        table = len(self.tape)
        self.tape.append((NEW, table, -1, cause))
        self.tables[table] = set()
        self._hold(table, cause)
        return table

    def _hold(self, table: int, node: int) -> None:
        self.tables[table].add(node)
        self.holding[node].add(table)

    def _release(self, operation: int, table: int, node: int) -> None:
        self.tables[table].discard(node)
        self.tape.append((operation, table, -1 if self.tables[table] else DONE, node))
        self.holding[node].discard(table)
        self.todo.discard(node)


def plan_tape(parents: dict[int, set[int]], causes: frozenset[int]) -> IntArray:
    """Return the operations that sum out a case, in order.

    Parameters
    ----------
    parents : dict of int to set of int
        Relevant node -> its relevant parents.
    causes : frozenset of int
        Which of the nodes are causes; the others are findings.

    Returns
    -------
    ndarray of int, shape (operations, 4)
        Code, table, other table or cause, node.
    """
    children: dict[int, set[int]] = {}
    for node, own in parents.items():
        for parent in own:
            children.setdefault(parent, set()).add(node)
    planner = _Planner(parents, children, causes)
    planner.plan()
    return np.array(planner.tape, dtype=np.int64).reshape(-1, 4)
