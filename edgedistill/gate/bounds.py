"""One-sided confidence bounds of means of bounded numbers, which hold for small samples too."""

from __future__ import annotations

import numpy as np

from edgedistill.tasks.intervals import Gaps

_DRAWS = 20_000
_AT_ONCE = 2**22
"""Random numbers that are drawn together."""
_DRAWS_OF_GAPS = 4_000
_STEPS = 1024
"""Where more values than this differ, they are rounded up to multiples of its inverse: that is faster, and the bound rises."""


def upper_bound(values: np.ndarray, confidence: float, *, largest: float = 1.0) -> float:
    """An upper bound of the mean that `values` [n], none above `largest`, were drawn from independently; `largest` for none.

    Gaffke 2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable", Mathematical
    Methods of Statistics 14, and Learned-Miller and Thomas 2019 (arXiv 1905.06208): the quantile of the mean of `values` and one more,
    `largest`, under weights that are uniform on the simplex. For values that are 0 or 1 it is the bound of Clopper and Pearson 1934.

    It assumes nothing of the distribution but `largest`. That it is missed at most 1 - confidence of the time is proven for two values
    and a conjecture for more; benchmarks/gate/bounds.py computes how often for three.

    The quantile is found by drawing weights, and is taken two standard errors of that higher. The same values give the same bound.

    Raises ValueError for a value above `largest`.
    """
    if len(values) and float(values.max()) > largest:
        raise ValueError(f"expected values of at most {largest:g}, found {float(values.max()):g}")
    every = np.append(values.astype(np.float64), largest)
    known, counts = np.unique(every, return_counts=True)
    if len(known) > _STEPS:
        known, counts = np.unique(np.minimum(np.ceil(every * _STEPS) / _STEPS, largest), return_counts=True)
    rng = np.random.default_rng(0)
    means = np.empty(_DRAWS)
    step = max(1, _AT_ONCE // len(known))
    for start in range(0, _DRAWS, step):
        weights = rng.standard_gamma(counts, size=(min(step, _DRAWS - start), len(known)))
        means[start : start + step] = weights @ known / weights.sum(axis=1)
    return _quantile(means, confidence)


def _quantile(drawn: np.ndarray, confidence: float) -> float:
    """The quantile of what was drawn, two standard errors higher."""
    return float(np.quantile(drawn, min(1.0, confidence + 2 * np.sqrt(confidence * (1 - confidence) / len(drawn)))))


def drop(reference: np.ndarray, scores: np.ndarray, confidence: float) -> tuple[float, float]:
    """mean(reference) - mean(scores) of the same samples, [n] each, bool or from 0 to 1, and its upper bound.

    Scores below 0 count as 0, so that a difference is at most 1. What is not a number is the worst: 1 in `reference`, and 0 in `scores`.

    Raises ValueError for arrays of different lengths, or of none.
    """
    if reference.shape != scores.shape or len(scores) == 0:
        raise ValueError(f"expected two arrays of one length, found {reference.shape} and {scores.shape}")
    expected, given = (np.nan_to_num(each.astype(np.float64), nan=worst) for each, worst in ((reference, 1.0), (scores, 0.0)))
    differences = np.clip(expected, 0, 1) - np.clip(given, 0, 1)
    return float(differences.mean()), upper_bound(differences, confidence)


def share_above(kept: np.ndarray, confidence: float) -> tuple[float, float]:
    """The share of true values in `kept`, bool [n], and its lower bound (Clopper and Pearson 1934, Biometrika 26)."""
    return float(kept.mean()), 1 - upper_bound(~kept, confidence)


def calibration_error(found: Gaps, confidence: float) -> tuple[float, float]:
    """The expected calibration error over the bins of `found`, and its upper bound.

    The error is the largest mean over all ways to give each bin a sign: of the sample's gaps times their signs. Under the true signs that
    mean has the bound of `upper_bound`, with one more sample whose decisions are all wrong and sure. The bound here takes the largest signs
    in each draw of weights, and so is no lower. Samples of several decisions are weighed as a whole.

    It is about the error of the bins, which is at most that of single confidences (Kumar et al. 2019, arXiv 1909.10155).
    """
    total = found.counts.sum()
    rng, n = np.random.default_rng(0), len(found.counts)
    errors = np.empty(_DRAWS_OF_GAPS)
    step = max(1, _AT_ONCE // (n + 1))
    for start in range(0, _DRAWS_OF_GAPS, step):
        weights = rng.standard_exponential((min(step, _DRAWS_OF_GAPS - start), n + 1))
        further = weights[:, n] * found.most
        wrong = np.abs(weights[:, :n] @ found.gaps).sum(axis=1) + further
        errors[start : start + step] = wrong / (weights[:, :n] @ found.counts + further)
    return float(np.abs(found.gaps.sum(axis=0)).sum() / total), _quantile(errors, confidence)
