"""Batches of a dataset in their order, made ahead by worker processes where that keeps whoever takes them busy."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedistill import threads, workers
from edgedistill.progress import log
from edgedistill.tasks.data import Batch, Dataset

_PROBES = 3
"""Batches that are made here first, to see how long they take."""
_WORTH_SHARE, _WORTH_S = 0.05, 0.5
"""Workers start where they would spare a larger share of the time, and more seconds, than that."""
_SHARED_MEMORY = Path("/dev/shm")
_MOST_OF_SHARED_MEMORY = 0.5


@dataclass(frozen=True)
class Request:
    """The samples `indices` [B] as a view shows them; see `Dataset.batch`."""

    indices: np.ndarray
    view: int | None = None
    keep: bool = True


class Loader:
    """Gives the batches of a dataset; they do not depend on how many processes make them.

    The first of each call are made by this process. It stays so where making them takes a small part of the time, and where no core is
    free beside the threads of this process.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.waited = 0.0
        """Seconds for which the batches of the last call were waited for."""
        self.count = 0
        """Worker processes of the last call."""

    def batches(self, requests: Sequence[Request]) -> Iterator[Batch]:
        """A batch for each request."""
        self.waited, self.count = 0.0, 0
        makes, takes, batch = [], [], None
        for request in requests[:_PROBES]:
            begun = time.monotonic()
            batch = self._make(request)
            makes.append(time.monotonic() - begun)
            self.waited += makes[-1]
            begun = time.monotonic()
            yield batch
            takes.append(time.monotonic() - begun)
        rest = requests[_PROBES:]
        if batch is None or not rest:
            return
        # The first may have opened files, and compiled what takes it.
        self.count = self._useful(min(makes), min(takes), len(rest), batch)
        made = workers.ordered(self._make, rest, self.count)
        while True:
            begun = time.monotonic()
            batch = next(made, None)
            self.waited += time.monotonic() - begun
            if batch is None:
                return
            yield batch

    def _make(self, request: Request) -> Batch:
        return self.data.batch(request.indices, request.view, keep=request.keep)

    def _useful(self, make_s: float, take_s: float, rest: int, batch: Batch) -> int:
        """How many processes keep up with whoever takes batches; none where they spare little."""
        spare = threads.spare()
        if make_s < _WORTH_SHARE * (make_s + take_s) or make_s * rest < _WORTH_S or spare < 1:
            return 0
        count = min(spare, max(1, math.ceil(1.2 * make_s / max(take_s, 1e-6))))
        size = sum(value.nbytes for part in (batch.inputs, batch.targets, batch.mask) for value in part.values())
        free = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.exists() else math.inf
        fit = int(_MOST_OF_SHARED_MEMORY * free / (size * (workers.AHEAD + 1)))
        if fit < count:
            log(f"{_SHARED_MEMORY} has room for the batches of {fit} of {count} useful worker processes (docker: --shm-size)")
        return min(count, fit)
