"""Statistics of measured durations; each says where its formula comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgedistill.measure.runner.interval import median_interval

# With fewer, the 95th percentile would lie between the two largest samples and say nothing about a tail.
LEAST_FOR_P95 = 20
_MS = 1e6


def unavailable(why: str) -> dict[str, Any]:
    """What stands in JSON for a value that was not measured."""
    return {"value": None, "unavailable": why}


def percentile(samples: Sequence[float], q: float) -> float:
    """The q-th percentile, 0 to 100, interpolated between order statistics.

    Source: definition 7 of Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician 50 (1996); numpy's default.
    """
    if len(samples) == 0:
        raise ValueError("a percentile needs at least one sample, found none")
    return float(np.percentile(np.asarray(samples, dtype=np.float64), q, method="linear"))


def latency_ms(durations_ns: Sequence[int]) -> dict[str, Any]:
    """Median and 95th percentile in milliseconds, and the number of samples: {"p50", "p95", "n"}; p95 is unavailable below 20 samples."""
    n = len(durations_ns)
    tail = unavailable(f"{n} samples are too few for a 95th percentile, which takes at least {LEAST_FOR_P95}")
    return {
        "p50": percentile(durations_ns, 50) / _MS,
        "p95": percentile(durations_ns, 95) / _MS if n >= LEAST_FOR_P95 else tail,
        "n": n,
    }


def median_interval_ms(durations_ns: Sequence[int], confidence: float = 0.95) -> list[float] | None:
    """Bounds of the median's confidence interval in milliseconds, or None with too few samples; see `runner.interval`."""
    bounds = median_interval(sorted(durations_ns), confidence)
    return [bound / _MS for bound in bounds] if bounds else None
