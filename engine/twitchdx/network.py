"""A network of leaky noisy-OR nodes: its numbers, its checks and its marginals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twitchdx.errors import ModelError, UnknownIdError
from twitchdx.evidence import Soft, state_ratio

if TYPE_CHECKING:
    from twitchdx.inference.structure import Compiled

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisyOrNetwork:
    """A Bayesian network of yes/no nodes, each the leaky noisy-OR of its parents.

    A node is off with probability ``(1 - own) * prod(1 - strength)`` over its parents that are
    on [1]_ [2]_. Causes may point to causes (in any depth, without cycles) and to findings;
    findings point to nothing. Nodes are numbered causes first, then findings.

    Attributes
    ----------
    causes, findings : tuple of str
        Names, all different.
    prior : ndarray, shape (C,)
        P(cause on | no parent on); for a cause without parents, its prior.
    links : ndarray, shape (C, C)
        ``links[i, j]`` is the strength with which cause i switches cause j on.
    leak : ndarray, shape (F,)
        P(finding on | no cause on).
    strength : ndarray, shape (C, F)
        ``strength[i, f]`` is the strength with which cause i switches finding f on.

    References
    ----------
    .. [1] Henrion M. Practical issues in constructing a Bayes' belief network. UAI 1987.
    .. [2] Díez FJ. Parameter adjustment in Bayes networks: the generalized noisy OR-gate.
       UAI 1993.

    Examples
    --------
    >>> network = NoisyOrNetwork.from_arrays([0.1, 0.2], [[0.9, 0.0], [0.5, 0.3]], [0.01, 0.02])
    >>> network.posterior({0: True, "finding_1": False}).round(4)
    array([0.5466, 0.4925])
    """

    causes: tuple[str, ...]
    findings: tuple[str, ...]
    prior: FloatArray
    links: FloatArray
    leak: FloatArray
    strength: FloatArray

    @classmethod
    def from_arrays(
        cls,
        prior: ArrayLike,
        strength: ArrayLike,
        leak: ArrayLike,
        links: ArrayLike | None = None,
        *,
        causes: Sequence[str] | None = None,
        findings: Sequence[str] | None = None,
    ) -> NoisyOrNetwork:
        """Build a network from arrays, checking that they describe one.

        Parameters
        ----------
        prior : array_like, shape (C,)
            P(cause on | no parent on), in [0, 1].
        strength : array_like, shape (C, F)
            Strength of each cause on each finding, in [0, 1]; 0 is "no arrow".
        leak : array_like, shape (F,)
            P(finding on | no cause on), in [0, 1].
        links : array_like, shape (C, C), optional
            Strength of cause i (row) on cause j (column), in [0, 1]; acyclic.
        causes, findings : sequence of str, optional
            Names; by default ``cause_0``... and ``finding_0``...

        Raises
        ------
        ModelError
            A shape that does not fit, a number outside [0, 1] (with its index and value), a
            name used twice, or a cycle (with its causes).
        """
        prior_ = _vector("prior", prior)
        leak_ = _vector("leak", leak)
        shape = (len(prior_), len(leak_))
        strength_ = _matrix("strength", strength, shape)
        square = (len(prior_), len(prior_))
        links_ = _matrix("links", np.zeros(square) if links is None else links, square)
        cause_names = _names("cause", causes, len(prior_))
        finding_names = _names("finding", findings, len(leak_))
        seen: set[str] = set()
        for name in (*cause_names, *finding_names):
            if name in seen:
                raise ModelError(f"the name {name!r} is used for two nodes")
            seen.add(name)
        cycle = find_cycle(links_)
        if cycle:
            arrows = " -> ".join(cause_names[i] for i in cycle)
            raise ModelError(f"the links form a cycle: {arrows}")
        return cls(cause_names, finding_names, prior_, links_, leak_, strength_)

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes in the order of an evidence vector: causes, then findings."""
        return self.causes + self.findings

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def compiled(self) -> Compiled:
        """The arrays and index lists that the inference kernels run on (built once)."""
        from twitchdx.inference.structure import compile_networks

        return compile_networks((self,))

    @cached_property
    def prevalence(self) -> FloatArray:
        """Exact P(cause on) with nothing observed, shape (C,)."""
        from twitchdx.inference import infer

        marginal = infer(self, np.ones(len(self.causes) + len(self.findings))).posterior
        marginal.flags.writeable = False
        return marginal

    def ratios(self, evidence: Mapping[int | str, bool | Soft]) -> FloatArray:
        """Turn named observations into the vector of likelihood ratios the kernels read.

        Parameters
        ----------
        evidence : mapping
            Finding index, or name of a finding or cause -> True (present), False (absent) or
            `Soft`.

        Returns
        -------
        ndarray, shape (C + F,)
            P(observation | on) / P(observation | off): 1 unknown, inf present, 0 absent.

        Raises
        ------
        UnknownIdError
            A name or index that the network does not have.
        EvidenceError
            An observation that is no state (see `twitchdx.evidence.state_ratio`).
        """
        vector = np.ones(len(self.causes) + len(self.findings))
        for key, observation in evidence.items():
            if isinstance(key, str):
                if key not in self._positions:
                    raise UnknownIdError(key, self.names, "node")
                index = self._positions[key]
            else:
                if not 0 <= key < len(self.findings):
                    raise UnknownIdError(str(key), (), "finding index")
                index = len(self.causes) + int(key)
            vector[index] = state_ratio(observation)
        return vector

    def posterior(self, evidence: Mapping[int | str, bool | Soft]) -> FloatArray:
        """Exact P(cause on | evidence) of every cause.

        Parameters
        ----------
        evidence : mapping
            See `ratios`. A finding that is left out is unknown, which is not "absent".

        Returns
        -------
        ndarray, shape (C,)

        Raises
        ------
        ImpossibleEvidenceError
            Evidence of probability zero.
        """
        from twitchdx.inference import infer

        return infer(self, self.ratios(evidence)).posterior

    def sample(self, people: int, random: np.random.Generator) -> NDArray[np.bool_]:
        """Draw people from the network, before anything is observed.

        Parameters
        ----------
        people : int
        random : numpy.random.Generator

        Returns
        -------
        ndarray of bool, shape (people, C + F)
            Whether each node is on.
        """
        return self.states(random.random((people, len(self.causes) + len(self.findings))))

    def states(self, uniform: FloatArray) -> NDArray[np.bool_]:
        """Turn uniform numbers into states of the nodes, parents before children.

        Parameters
        ----------
        uniform : ndarray, shape (people, C + F)
            A node is on where its number is below its probability given its parents' states.

        Returns
        -------
        ndarray of bool, shape (people, C + F)
        """
        on = np.zeros(uniform.shape, dtype=np.bool_)
        arrows = np.hstack([self.links, self.strength])
        own = np.concatenate([self.prior, self.leak])
        findings = range(len(self.causes), len(own))
        for node in (*topological_order(self.links).tolist(), *findings):
            off = np.full(len(uniform), 1 - own[node])
            for parent in np.flatnonzero(arrows[:, node]):
                off[on[:, parent]] *= 1 - arrows[parent, node]
            on[:, node] = uniform[:, node] < 1 - off
        return on

    def to_pgmpy(self) -> Any:
        """Return an equivalent ``pgmpy.models.DiscreteBayesianNetwork`` (see `export`)."""
        from twitchdx.export import to_pgmpy

        return to_pgmpy(self)

    def write_bif(self, path: str | PathLike[str]) -> None:
        """Write the equivalent network of small tables as a BIF file."""
        from twitchdx.export import write_bif

        write_bif(self, path)

    def write_xmlbif(self, path: str | PathLike[str]) -> None:
        """Write the equivalent network of small tables as an XMLBIF file."""
        from twitchdx.export import write_xmlbif

        write_xmlbif(self, path)


def find_cycle(links: FloatArray) -> tuple[int, ...]:
    """Return the causes of one cycle, first repeated last, or () if there is none.

    Examples
    --------
    >>> find_cycle(np.array([[0, 0.5, 0], [0, 0, 0.5], [0.5, 0, 0]]))
    (0, 1, 2, 0)
    >>> find_cycle(np.array([[0, 0.5], [0, 0]]))
    ()
    """
    children = [np.flatnonzero(row).tolist() for row in links]
    state = [0] * len(children)  # 0 unseen, 1 on the path, 2 done
    for start in range(len(children)):
        if state[start]:
            continue
        path = [start]
        todo = [iter(children[start])]
        state[start] = 1
        while path:
            child = next(todo[-1], None)
            if child is None:
                state[path.pop()] = 2
                todo.pop()
            elif state[child] == 1:
                return (*path[path.index(child) :], child)
            elif state[child] == 0:
                state[child] = 1
                path.append(child)
                todo.append(iter(children[child]))
    return ()


def topological_order(links: FloatArray) -> NDArray[np.int64]:
    """Causes in an order in which each comes after its parents; the lowest index first.

    Raises
    ------
    ModelError
        The links form a cycle.
    """
    waiting = (links > 0).sum(axis=0)
    order: list[int] = []
    ready = sorted(np.flatnonzero(waiting == 0).tolist(), reverse=True)
    while ready:
        cause = ready.pop()
        order.append(cause)
        for child in np.flatnonzero(links[cause] > 0).tolist():
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
        ready.sort(reverse=True)
    if len(order) < len(links):
        raise ModelError("the links form a cycle")
    return np.array(order, dtype=np.int64)


def _vector(name: str, values: ArrayLike) -> FloatArray:
    array = _floats(name, values)
    if array.ndim != 1:
        raise ModelError(f"{name} must have one dimension, not shape {array.shape}")
    return _probabilities(name, array)


def _matrix(name: str, values: ArrayLike, shape: tuple[int, int]) -> FloatArray:
    array = _floats(name, values)
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.shape != shape:
        raise ModelError(f"{name} must have shape {shape}, not {array.shape}")
    return _probabilities(name, array)


def _floats(name: str, values: ArrayLike) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise ModelError(f"{name} is not an array of numbers: {error}") from error


def _probabilities(name: str, array: FloatArray) -> FloatArray:
    wrong = np.argwhere(~((array >= 0) & (array <= 1)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        place = ", ".join(map(str, index))
        raise ModelError(f"{name}[{place}] is {float(array[index])}, outside [0, 1]")
    array += 0.0  # no negative zeros
    array.flags.writeable = False
    return array


def _names(kind: str, names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{kind}_{index}" for index in range(count))
    if len(names) != count:
        raise ModelError(f"{len(names)} {kind} names for {count} {kind}s")
    return tuple(str(name) for name in names)
