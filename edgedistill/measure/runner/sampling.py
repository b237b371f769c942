"""The benchmark: warm up until steady, then sample until the median is known well enough. Times are of `time.perf_counter_ns`."""

import gc
import itertools
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

from edgedistill.measure.runner.interval import relative_half_width
from edgedistill.measure.runner.job_types import BenchSettings
from edgedistill.measure.runner.record_types import WarmupFigures
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.samples import Forward, Samples
from edgedistill.measure.runner.steady import is_steady

_WINDOW_ITERATIONS = 10
_WINDOW_NS = 20_000_000
BATCH_NS = 100_000_000
"""Shortest batch: a record is written behind each."""
MIN_SAMPLING_NS = 500_000_000
"""Time slices and steps of the clock frequency last tens of milliseconds: a shorter series would describe one of them."""


def bench(forward: Forward, samples: Samples, settings: BenchSettings, recorder: Recorder) -> None:
    """Time `forward` on the samples in turn, and write `warmup` and `iterations` records.

    settings: warmup_s bounds the warm-up; relative_width is the half-width of the median's 95% interval at which sampling stops, and the
    drift that the warm-up tolerates; max_s bounds the sampling, except that min_samples are always taken; it lasts min_s at least.
    """
    timed = timer(forward, samples)
    # As in the standard library's timeit: a collection of Python's garbage is no part of an inference.
    gc.collect()
    gc.disable()
    try:
        recorder.write("warmup", **warm_up(timed, settings["warmup_s"], settings["relative_width"]))
        _sample(timed, settings, recorder)
    finally:
        gc.enable()


def timer(forward: Forward, samples: Samples) -> Callable[[], int]:
    """A function that runs the next of `samples` and returns how many ns it took."""
    order = itertools.cycle(range(len(samples)))

    def timed() -> int:
        sample = samples[next(order)]
        started = perf_counter_ns()
        forward(sample)
        return perf_counter_ns() - started

    return timed


def warm_up(timed: Callable[[], int], bound_s: float, tolerance: float) -> WarmupFigures:
    """Run until the medians of windows are steady, or `bound_s` has passed."""
    started, bound_ns = perf_counter_ns(), int(bound_s * 1e9)
    medians: list[float] = []
    iterations, steady = 0, False
    while not steady and perf_counter_ns() - started < bound_ns:
        window, opened = [timed()], perf_counter_ns()
        # A slow model closes its windows by time, so that the bound leaves room for two times the windows that the test needs.
        while not _window_is_full(len(window), perf_counter_ns() - opened, bound_ns):
            window.append(timed())
        iterations += len(window)
        medians.append(median(window))
        steady = is_steady(medians, tolerance)
    return {"iterations": iterations, "windows": len(medians), "steady": steady, "ns": perf_counter_ns() - started}


def _window_is_full(count: int, elapsed_ns: int, bound_ns: int) -> bool:
    return (count >= _WINDOW_ITERATIONS and elapsed_ns >= _WINDOW_NS) or elapsed_ns >= bound_ns / 16


def _sample(timed: Callable[[], int], settings: BenchSettings, recorder: Recorder) -> None:
    """Take batches of at least 0.1 s, each written when complete, until the stopping rule holds."""
    started, ordered, min_ns = perf_counter_ns(), list[int](), max(MIN_SAMPLING_NS, int(settings.get("min_s", 0) * 1e9))
    while True:
        batch, opened = [timed()], perf_counter_ns()
        while perf_counter_ns() - opened < BATCH_NS:
            batch.append(timed())
        recorder.write("iterations", t0_ns=opened - batch[0], durations_ns=batch)
        ordered = sorted(ordered + batch)
        elapsed = perf_counter_ns() - started
        if len(ordered) < settings["min_samples"]:
            continue
        if elapsed >= settings["max_s"] * 1e9:
            return
        if elapsed >= min_ns and relative_half_width(ordered) <= settings["relative_width"]:
            return
