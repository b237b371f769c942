"""Times files in processes that take turns: the time to the first token, and decoding."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from gguf_models import LENGTH
from gguf_runtime import File, Running

from edgedistill.measure.runner.ratio import bootstrap_interval, centre, log_ratios
from edgedistill.measure.runner.record_types import Block

DECODED = 64
"""Tokens of one measurement of decoding."""
MEASURES = ("ttft 32", "ttft 192", "decode 32", "decode 192")
"""What is timed, and how many tokens stand before."""
CLOCKS = {"wall": time.perf_counter_ns, "processor": time.process_time_ns}
"""Processor time leaves out what other work on the machine takes; with one thread both are the same on an idle machine."""
_BLOCK_S, _MOST = 0.03, 40
"""A block repeats what is short for so many seconds, but not more often."""

Durations = dict[str, dict[str, list[list[list[int]]]]]
"""Nanoseconds by file and measure: for each round a list of blocks, each a list of repetitions."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long one file takes as another, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def take_turns(files: Sequence[File], folder: Path, *, rounds: int, blocks: int, clock: str) -> Durations:
    """Time `files` of `folder`. Each round starts a new process for each file; in a round they measure in turns, one at a time.

    A process keeps its memory, whose layout makes it some percent faster or slower: this is why there are rounds.
    """
    found: Durations = {file.name: {measure: [] for measure in MEASURES} for file in files}
    for number in range(rounds):
        begun = time.monotonic()
        with _workers(files, folder, clock) as workers:
            for measures in found.values():
                for given in measures.values():
                    given.append([])
            for block in range(blocks):
                for measure in MEASURES:
                    # There and back, so that what drifts strikes all alike.
                    for file, worker in list(zip(files, workers, strict=True))[:: -1 if block % 2 else 1]:
                        worker.send(measure)
                        found[file.name][measure][-1].append(_answer(worker))
        print(f"round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s", flush=True)
    return found


def ratio(durations: Durations, slow: str, fast: str, measure: str) -> Ratio:
    """How many times as long the file `slow` takes as `fast`."""
    records: list[Block] = [
        {"type": "block", "side": side, "round": number, "t0_ns": 0, "durations_ns": block}  # type: ignore[typeddict-item]
        for side, name in (("a", fast), ("b", slow))
        for number, given in enumerate(durations[name][measure])
        for block in given
    ]
    logs = log_ratios(records)
    interval = bootstrap_interval(logs)
    low, high = interval if interval else (math.nan, math.nan)
    return Ratio(math.exp(centre(logs)), math.exp(low), math.exp(high))


def typical(durations: Durations, name: str, measure: str) -> float:
    """The median over blocks of the median of a block, seconds."""
    return float(np.median([np.median(block) for given in durations[name][measure] for block in given])) / 1e9


@contextmanager
def _workers(files: Sequence[File], folder: Path, clock: str) -> Iterator[list[Any]]:
    context = get_context("spawn")
    processes, ends = [], list[Any]()
    try:
        for file in files:
            own, other = context.Pipe()
            process = context.Process(target=_work, args=(other, file, folder, clock), daemon=True)
            process.start()
            processes.append(process)
            ends.append(own)
            # One after the other: loading takes memory and time.
            _answer(own)
        yield ends
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _answer(worker: Any) -> Any:
    """What a worker says next, within two minutes."""
    if not worker.poll(120):
        raise TimeoutError("a file took more than two minutes for a block, or did not load")
    return worker.recv()


def _work(end: Any, file: File, folder: Path, clock: str) -> None:
    """Load `file`, warm up, and measure what is asked for."""
    running = file.open(folder, LENGTH)
    repeats = {}
    for measure in MEASURES:
        _measure(running, measure, 1, clock)
        (once,) = _measure(running, measure, 1, clock)
        repeats[measure] = max(1, min(_MOST, int(_BLOCK_S * 1e9 / once)))
    end.send(None)
    while True:
        try:
            measure = end.recv()
        except EOFError:
            return
        end.send(_measure(running, measure, repeats[measure], clock))


def _measure(running: Running, measure: str, repeats: int, clock: str) -> list[int]:
    """Nanoseconds of each repetition: to the first token of a prompt, or of DECODED tokens behind it."""
    kind, tokens = measure.split()
    # Tokens that each vocabulary has; the time does not depend on them.
    prompt = np.random.default_rng(0).integers(10, 2000, int(tokens)).astype(np.int32)
    first = int(running.forward(prompt, 0)[-1].argmax())
    now, durations = CLOCKS[clock], []
    for _ in range(repeats):
        begun = now()
        if kind == "ttft":
            running.forward(prompt, 0)[-1].argmax()
        else:
            token = first
            for place in range(DECODED):
                token = int(running.forward(np.array([token], dtype=np.int32), len(prompt) + place)[-1].argmax())
        durations.append(now() - begun)
    return durations
