"""Statistics that tasks share: 95% intervals of means over samples and of their differences, distances of outputs, gaps of confidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Gaps:
    """How far confidences are from what is right: of the decisions of each sample, by bins of their confidence.

    gaps: float64 [n, bins], the sum of confidence less 1 or 0, for right or wrong. counts: int [n], decisions of a sample, at most `most`.
    """

    gaps: np.ndarray
    counts: np.ndarray
    most: int


def wilson(correct: float, n: float) -> tuple[float, float]:
    """95% score interval of `correct` out of `n`, which need not be whole. Wilson 1927, "Probable inference", JASA 22, 209-212."""
    if n == 0:
        raise ValueError("an interval needs at least one sample")
    share, z2 = correct / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Difference of two accuracies on the same samples, mean(a) - mean(b), with its 95% interval.

    a, b: bool [N], whether each sample was right. Half a sample is added to each of the four cells, so that few or no
    discordant samples still give a width. Agresti and Min 2005, "Simple improved confidence intervals for comparing
    matched proportions", Statistics in Medicine 24, 729-740.
    """
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(f"expected two arrays of one length, found {a.shape} and {b.shape}")
    only_a, only_b, n = float((a & ~b).sum()), float((b & ~a).sum()), len(a)
    adjusted = n + 2
    p, q = (only_a + 0.5) / adjusted, (only_b + 0.5) / adjusted
    half = _Z95 * math.sqrt((p + q - (p - q) ** 2) / adjusted)
    return (only_a - only_b) / n, p - q - half, p - q + half


def difference_of_shares(right_a: int, n_a: int, right_b: int, n_b: int) -> tuple[float, float, float]:
    """a - b of two shares of different samples, with its 95% interval (difference, low, high).

    Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17, 873-890, method 10.
    """
    a, b, (low_a, high_a), (low_b, high_b) = right_a / n_a, right_b / n_b, wilson(right_a, n_a), wilson(right_b, n_b)
    return a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def of_mean(scores: np.ndarray) -> tuple[float, float]:
    """The interval of the mean of `scores` [n]: `wilson` for bool, and that of Student's t for numbers."""
    if scores.dtype == bool:
        return wilson(int(scores.sum()), len(scores))
    return _student(scores.astype(np.float64))


def of_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """mean(a) - mean(b) of scores [n] of the same samples, with its interval: `paired_difference` for bool, Student's t for numbers."""
    if a.dtype == bool and b.dtype == bool:
        return paired_difference(a, b)
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(f"expected two arrays of one length, found {a.shape} and {b.shape}")
    differences = a.astype(np.float64) - b.astype(np.float64)
    return (float(differences.mean()), *_student(differences))


def _student(values: np.ndarray) -> tuple[float, float]:
    """The interval of the mean by Student's t with n - 1 degrees of freedom; without end for one value."""
    from scipy.stats import t

    mean = float(values.mean())
    if len(values) < 2:
        return -math.inf, math.inf
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean - half, mean + half


def noise_to_signal(outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Mean square of outputs less expected, over the variance of expected, averaged over the outputs [n, ...]; 0 for equal ones."""
    ratios = []
    for name, reference in expected.items():
        signal, noise = reference.astype(np.float64), outputs[name].astype(np.float64) - reference
        power = float(np.square(noise).mean())
        ratios.append(power / max(float(signal.var()), np.finfo(np.float64).tiny) if power else 0.0)
    return float(np.mean(ratios))
