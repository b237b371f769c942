"""How many threads torch computes with, chosen by timing: of small models one is as fast as several, and much faster on a busy machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager

from edgedistill import cores, processes
from edgedistill.progress import log

_ROUNDS, _LEAST_S = 3, 0.25
"""Each number has so many turns at least, and all of them together so many seconds."""
_GAIN = 0.9
"""More threads are taken where they need at most this share of the time."""
_HOPELESS = 3.0
"""Threads that need so many times as long as one at their first try are not tried again: they wait for a core that is busy."""
_LONGEST_S = 20.0
_SPINS = 2000
"""Looks at a barrier before a thread sleeps: a few microseconds, which is what most barriers of a small model take."""


def wait_shortly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads sleep soon while they wait for others, in this process before torch is imported, and in its children.

    OpenMP's threads spin for milliseconds: they take a core from what else runs, and from those others where it is their only one. Threads
    that sleep at once lose an idle machine's second core. What `environment` says already stays. benchmarks/distill/threads.py measures it.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment["OMP_WAIT_POLICY"] = "passive"
        environment.setdefault("GOMP_SPINCOUNT", str(_SPINS))


def spare() -> int:
    """Cores that are free beside the threads of this process."""
    import torch

    return max(0, cores.available() - torch.get_num_threads())


def fixed() -> int | None:
    """The number that the environment fixes by OMP_NUM_THREADS, which launchers of several processes set; None where it fixes none."""
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(text) if text.isdigit() and int(text) > 0 else None


def settled() -> int | None:
    """The number of threads where nothing is left to choose, as where a GPU or several processes compute; None where timing tells."""
    import torch

    if (number := fixed()) is not None or cores.available() == 1:
        return number or 1
    together = processes.count() > 1 or processes.device().type != "cpu"
    return torch.get_num_threads() if together else None


def candidates() -> list[int]:
    """Numbers worth trying: 1, 2, 4 and so on, and all cores of this process."""
    most = cores.available()
    return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})


@contextmanager
def using(count: int | None) -> Iterator[None]:
    """Compute with `count` threads in the block; None leaves the number as it is."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen(what: str, probe: Callable[[], object], *, beside_s: float = 0.0, asked: int | None = None) -> int:
    """The number of threads for `what`: the one that is `asked` for or fixed by the environment, else the fastest for `probe`.

    probe: a typical piece of the work, without effects. beside_s: seconds of other work for each, which another process can do where a
    core is left. The numbers take turns, so that what else runs meets all of them; of nearly equal ones the smallest is taken.
    """
    from statistics import median

    if (number := asked or settled()) is not None:
        return number
    numbers = candidates()
    with using(None):
        taken = _timed(probe, numbers)
    most = cores.available()
    costs = {n: max(median(t), beside_s / (most - n)) if n < most else median(t) + beside_s for n, t in taken.items()}
    best = numbers[0]
    for number, cost in costs.items():
        if cost < _GAIN * costs[best]:
            best = number
    told = ", ".join(f"{number}: " + (f"{1000 * costs[number]:.3g} ms" if number in costs else "much longer") for number in numbers)
    log(f"{what}: {best} thread{'s' if best > 1 else ''} (a step with {told})")
    return best


def _timed(probe: Callable[[], object], numbers: list[int]) -> dict[int, list[float]]:
    """Seconds of `probe` with each of `numbers`, of which the first is 1, in turns; without those that are much slower at once."""
    begun = time.monotonic()
    # The first call allocates and compiles.
    first = {number: _seconds(probe, number) for number in numbers}
    tried = [number for number in numbers if first[number] <= _HOPELESS * first[1]]
    taken: dict[int, list[float]] = {number: [] for number in tried}
    spent = 0.0
    while len(taken[1]) < _ROUNDS or spent < _LEAST_S:
        for number in tried:
            taken[number].append(_seconds(probe, number))
        spent = time.monotonic() - begun
        if spent > _LONGEST_S:
            break
    return taken


def _seconds(probe: Callable[[], object], number: int) -> float:
    import torch

    torch.set_num_threads(number)
    begun = time.monotonic()
    probe()
    return time.monotonic() - begun
