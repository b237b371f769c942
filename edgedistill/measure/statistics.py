"""Statistics of measured durations. Each function names the source of its formula."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgedistill.measure.runner.interval import min_samples, quantile_interval

PERCENTILES = (50, 95, 99)
# With fewer samples a percentile lies between the two largest and says nothing about the tail. A p99 always needs its interval.
_MIN_SAMPLES = {95: 20, 99: min_samples(0.99)}
_MS = 1e6


def unavailable(why: str) -> dict[str, Any]:
    """The JSON of a value that could not be measured, and the reason."""
    return {"value": None, "unavailable": why}


def percentile(samples: Sequence[float], q: float) -> float:
    """The q-th percentile, 0 to 100, interpolated between order statistics.

    Source: definition 7 of Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician 50 (1996); numpy's default.
    """
    if len(samples) == 0:
        raise ValueError("a percentile needs at least one sample, found none")
    return float(np.percentile(np.asarray(samples, dtype=np.float64), q, method="linear"))


def latency_ms(durations_ns: Sequence[int], percentiles: Sequence[int] = PERCENTILES) -> dict[str, Any]:
    """Percentiles in milliseconds, and the number of samples: {"p50", "p95", "p99", "n"}.

    p95 needs 20 samples and p99 needs 368, as many as its interval takes; with fewer they are unavailable.
    """
    n = len(durations_ns)
    figures: dict[str, Any] = {}
    for p in percentiles:
        needed = _MIN_SAMPLES.get(p, 1)
        tail = unavailable(f"{n} samples are too few for a {p}th percentile, which takes at least {needed}")
        figures[f"p{p}"] = percentile(durations_ns, p) / _MS if n >= needed else tail
    return figures | {"n": n}


def intervals_ms(durations_ns: Sequence[int], percentiles: Sequence[int] = PERCENTILES, confidence: float = 0.95) -> dict[str, Any]:
    """Confidence interval of each percentile in milliseconds: {"p50": [low, high], ...}; unavailable with too few samples.

    The bounds are samples, so no distribution is assumed; see `runner.interval`.
    """
    ordered = sorted(durations_ns)
    bounds = {p: quantile_interval(ordered, p / 100, confidence) for p in percentiles}
    return {f"p{p}": [bound / _MS for bound in ends] if ends else _too_few(len(ordered), p, confidence) for p, ends in bounds.items()}


def _too_few(n: int, p: int, confidence: float) -> dict[str, Any]:
    needed = min_samples(p / 100, confidence)
    return unavailable(f"{n} samples are too few for a {confidence:.0%} interval of p{p}, which takes at least {needed}")


def median_interval_ms(durations_ns: Sequence[int], confidence: float = 0.95) -> list[float] | None:
    """Bounds of the median's confidence interval in milliseconds, or None with too few samples; see `runner.interval`."""
    bounds = quantile_interval(sorted(durations_ns), 0.5, confidence)
    return [bound / _MS for bound in bounds] if bounds else None
