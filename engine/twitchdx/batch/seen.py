"""Which vignette ids a run has scored already, as 64-bit fingerprints in one hash table.

Memory is 8 bytes a slot, at most 2/3 of them filled: 17 to 34 MB for a million vignettes. Two
different ids share a fingerprint with a probability of about n * n / 4e19: 3e-8 for a million
vignettes, 3e-4 for a hundred million; the second of them would be rejected as a duplicate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twitchdx.inference.compiling import compiled

Keys = NDArray[np.uint64]

_FIRST_SLOTS = 1 << 17


@compiled()
def enter(table: Keys, keys: Keys, again: NDArray[np.bool_]) -> int:
    """Enter keys; mark those that the table held; return how many were new."""
    mask = np.uint64(len(table) - 1)
    new = 0
    for i in range(len(keys)):
        slot = keys[i] & mask
        while table[slot] != 0 and table[slot] != keys[i]:
            slot = (slot + np.uint64(1)) & mask
        again[i] = table[slot] == keys[i]
        if not again[i]:
            table[slot] = keys[i]
            new += 1
    return new


class SeenIds:
    """The fingerprints met so far.

    Examples
    --------
    >>> seen = SeenIds()
    >>> seen.enter(np.array([5, 7, 5], np.uint64)).tolist()
    [False, False, True]
    >>> seen.enter(np.array([7], np.uint64)).tolist()
    [True]
    """

    def __init__(self) -> None:
        self._table = np.zeros(_FIRST_SLOTS, np.uint64)
        self._count = 0

    def enter(self, keys: Keys) -> NDArray[np.bool_]:
        """Add fingerprints; return which of them were there before."""
        while 3 * (self._count + len(keys)) > 2 * len(self._table):
            old = self._table[self._table != 0]
            self._table = np.zeros(2 * len(self._table), np.uint64)
            enter(self._table, old, np.zeros(len(old), np.bool_))
        again = np.zeros(len(keys), np.bool_)
        self._count += enter(self._table, keys, again)
        return again
