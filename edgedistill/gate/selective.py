"""Which samples a student keeps and which go to the teacher, by confidence: risk and coverage, and thresholds with a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgedistill.gate.risk import p_value

GRID = 20
"""Coverages that a threshold for a risk is chosen of: 5%, 10% ... 100% of the samples."""
_ABOVE = 1e-9
"""What a threshold lies above the confidence of the sample that it was taken from: rounding in another language then changes nothing."""
_DIGITS = 12


@dataclass(frozen=True)
class Curve:
    """Risk at each coverage, the smallest coverage first: float64 [m] each.

    At `coverage[i]`, the share of samples with a confidence of at least `confidence[i]`, the mean loss of these is `risk[i]`.
    """

    coverage: np.ndarray
    risk: np.ndarray
    confidence: np.ndarray


def curve(confidence: np.ndarray, losses: np.ndarray) -> Curve:
    """The risk-coverage curve of `losses` [n] in 0..1 (El-Yaniv and Wiener 2010, JMLR 11). Equal confidences are kept together."""
    order = np.argsort(-confidence, kind="stable")
    sure, lost = confidence[order], losses[order].astype(np.float64)
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))
    return Curve((ends + 1) / len(sure), np.cumsum(lost)[ends] / (ends + 1), sure[ends])


def aurc(confidence: np.ndarray, losses: np.ndarray) -> float:
    """The area under the risk-coverage curve: the mean risk over all coverages (Geifman et al. 2019, arXiv 1805.08206). Less is better.

    Samples of equal confidence count in every order, that is, each with their mean loss.
    """
    _, group = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(group, weights=losses) / np.bincount(group)
    ordered = mean[np.sort(group)]
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def threshold_of_rate(confidence: np.ndarray, rate: float) -> float:
    """The threshold that at least the share `rate` of the samples, 0 < rate < 1, does not exceed. -inf counts as never sure enough."""
    place = max(1, math.ceil(rate * len(confidence) - 1e-9)) - 1
    return _just_above(float(np.sort(confidence)[place]))


def threshold_of_risk(confidence: np.ndarray, losses: np.ndarray, limit: float, delta: float) -> float | None:
    """The threshold that keeps the most samples, such that their risk is at most `limit` with a probability of at least 1 - `delta`.

    confidence: [n], -inf for samples that are never kept. losses: [n] in 0..1. None where no threshold has that bound.

    `GRID` coverages are tested, each at delta / GRID (Bonferroni). The samples above the confidence of the one with a fixed rank are
    independent draws of what lies above it, so that each test is exact, and no order of the tests or shape of the curve is assumed.
    Learn then Test (arXiv 2110.01052) tests thresholds in this way; Geifman and El-Yaniv 2017 (arXiv 1705.08500) bound selective risk so.
    """
    able = np.isfinite(confidence)
    sure, lost = confidence[able], losses[able]
    falling = -np.sort(-sure)
    best = None
    for part in range(1, GRID + 1):
        count = round(part / GRID * len(sure))
        # All are kept: a confidence is never below 0.
        threshold = -1.0 if count >= len(sure) else float(falling[count])
        if p_value(lost[sure > threshold], limit) <= delta / GRID:
            best = threshold
    return None if best is None else _just_above(best)


def _just_above(confidence: float) -> float:
    # Samples that are never sure enough are sent without a threshold.
    return round(max(confidence, -1.0) + _ABOVE, _DIGITS)
