"""Pieces of work on a Dask cluster; an optional extra (`pip install twitchdx[cluster]`).

The file is read and written by the process that was started; workers get pieces and give back
products, through the same function as local threads, so that the output is the same to the byte.
A worker that dies costs time only: its pieces are done again by another. If the whole cluster is
lost, the run stops as after Ctrl-C, and can be resumed.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from twitchdx.batch.process import Piece, Product, process
from twitchdx.batch.scorer import Scorer
from twitchdx.errors import BatchError

LOCAL = "local"
#: times that a piece is sent out anew after losing its worker
MOST_RETRIES = 5
#: seconds to wait for a scheduler to answer
PATIENCE = 15


class ClusterPool:
    """A Dask cluster: processes on this machine, or a scheduler somewhere.

    Parameters
    ----------
    address : str
        "local", or as in ``tcp://10.0.0.1:8786``.
    workers : int
        Processes of a local cluster.

    Raises
    ------
    BatchError
        If Dask is not installed, or no scheduler answers.
    """

    def __init__(self, address: str, workers: int) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise BatchError(
                "a cluster needs Dask; install it with: pip install 'twitchdx[cluster]'"
            ) from None
        self._cluster: Any = None
        self._client: Any
        if address == LOCAL:
            # new processes, not copies of this one: a copy would inherit the kernel's threads
            self._cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
            )
            self._client = distributed.Client(self._cluster)
            return
        try:
            self._client = distributed.Client(address, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise BatchError(f"no Dask scheduler answers at {address}: {error}") from None

    def __call__(self, scorer: Scorer, pieces: Iterable[Piece], text: bool) -> Iterator[Product]:
        """Yield products in the order of pieces."""
        threads = sum(self._client.nthreads().values())
        sent: Any = self._send(scorer)
        waiting: deque[tuple[Piece, Any]] = deque()
        for piece in pieces:
            waiting.append((piece, self._submit(sent, piece, text)))
            if len(waiting) >= 2 * max(1, threads):
                yield self._product(scorer, *waiting.popleft(), text)
        while waiting:
            yield self._product(scorer, *waiting.popleft(), text)

    def _send(self, scorer: Scorer) -> Any:
        return self._client.scatter(scorer, broadcast=True, hash=False)

    def _submit(self, sent: Any, piece: Piece, text: bool) -> Any:
        return self._client.submit(process, sent, piece, text, pure=False, retries=MOST_RETRIES)

    def _product(self, scorer: Scorer, piece: Piece, future: Any, text: bool) -> Product:
        """Wait for a product; do the piece anew if its worker, or the scorer there, was lost."""
        from distributed import KilledWorker

        for _ in range(MOST_RETRIES):
            try:
                product: Product = future.result()
            except (KilledWorker, CancelledError):
                self._client.wait_for_workers(1, timeout=PATIENCE)
                future = self._submit(self._send(scorer), piece, text)
            else:
                return product
        raise BatchError(
            f"the cluster lost piece {piece.number} of the input {MOST_RETRIES} times; "
            "look at its workers' memory, then run again with --resume"
        )

    def __enter__(self) -> ClusterPool:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(Exception):
            self._client.close()
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close()
