"""Statistics of measured durations. Each function names the source of its formula."""

from collections.abc import Sequence

import numpy as np

from edgedistill.measure.runner.interval import min_samples, quantile_interval
from edgedistill.records import Latency, Unavailable
from edgedistill.records.measurements import Intervals
from edgedistill.records.results import Interval

PERCENTILES = (50, 95, 99)
# With fewer samples a percentile lies between the two largest and says nothing about the tail. A p99 always needs its interval.
_MIN_SAMPLES = {95: 20, 99: min_samples(0.99)}
_MS = 1e6


def percentile(samples: Sequence[float], q: float) -> float:
    """The q-th percentile, 0 to 100, interpolated between order statistics.

    Source: definition 7 of Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician 50 (1996); numpy's default.
    """
    if len(samples) == 0:
        raise ValueError("a percentile needs at least one sample, found none")
    return float(np.percentile(np.asarray(samples, dtype=np.float64), q, method="linear"))


def latency_ms(durations_ns: Sequence[int], percentiles: Sequence[int] = PERCENTILES) -> Latency:
    """Percentiles in milliseconds, and the number of samples. percentiles: 50, 95 and 99, and 90 where it is needed.

    p95 needs 20 samples and p99 needs 368, as many as its interval takes; with fewer they are unavailable.
    """
    return Latency(**{f"p{p}": _percentile_ms(durations_ns, p) for p in percentiles}, n=len(durations_ns))


def _percentile_ms(durations_ns: Sequence[int], p: int) -> float | Unavailable:
    n, needed = len(durations_ns), _MIN_SAMPLES.get(p, 1)
    if n < needed:
        return Unavailable(unavailable=f"{n} samples are too few for a {p}th percentile, which takes at least {needed}")
    return percentile(durations_ns, p) / _MS


def intervals_ms(durations_ns: Sequence[int], percentiles: Sequence[int] = PERCENTILES, confidence: float = 0.95) -> Intervals:
    """Confidence interval of each percentile in milliseconds; unavailable with too few samples. percentiles: as for `latency_ms`.

    The bounds are samples, so no distribution is assumed; see `runner.interval`.
    """
    ordered = sorted(durations_ns)
    return Intervals(**{f"p{p}": _interval_ms(ordered, p, confidence) for p in percentiles})


def _interval_ms(ordered: Sequence[int], p: int, confidence: float) -> Interval | Unavailable:
    if bounds := quantile_interval(ordered, p / 100, confidence):
        return bounds[0] / _MS, bounds[1] / _MS
    needed = min_samples(p / 100, confidence)
    why = f"{len(ordered)} samples are too few for a {confidence:.0%} interval of p{p}, which takes at least {needed}"
    return Unavailable(unavailable=why)


def median_interval_ms(durations_ns: Sequence[int], confidence: float = 0.95) -> Interval | None:
    """Bounds of the median's confidence interval in milliseconds, or None with too few samples; see `runner.interval`."""
    bounds = quantile_interval(sorted(durations_ns), 0.5, confidence)
    return (bounds[0] / _MS, bounds[1] / _MS) if bounds else None
