"""Upper bounds of a mean loss that hold with a stated confidence for any number of samples."""

from __future__ import annotations

import math

import numpy as np

_PRECISION = 1e-9


def p_value(losses: np.ndarray, limit: float) -> float:
    """The p-value of "the mean loss is above `limit`", for independent losses [n] in 0..1; 1 for no samples.

    Losses that are 0 or 1 have the exact binomial tail (Clopper and Pearson 1934, Biometrika 26). Others have the bound of Hoeffding and
    Bentkus, as Bates et al. 2021 (arXiv 2101.02703) and Angelopoulos et al. 2021, Learn then Test (arXiv 2110.01052), use it.
    """
    from scipy.stats import binom

    n, total = len(losses), float(losses.sum())
    if n == 0 or limit >= 1:
        return float(n == 0)
    if is_binary(losses):
        return float(binom.cdf(round(total), n, limit))
    low = min(total / n, limit)
    hoeffding = math.exp(-n * _divergence(low, limit))
    return min(1.0, hoeffding, math.e * float(binom.cdf(math.ceil(total), n, limit)))


def upper_bound(losses: np.ndarray, delta: float) -> float:
    """The limit that the mean of independent losses [n] in 0..1 exceeds with a probability of at most `delta`; 1 for no samples."""
    from scipy.optimize import brentq
    from scipy.stats import beta

    n, total = len(losses), float(losses.sum())
    if n == 0 or total >= n:
        return 1.0
    if is_binary(losses):
        return float(beta.ppf(1 - delta, round(total) + 1, n - round(total)))
    mean = total / n
    return float(brentq(lambda limit: p_value(losses, limit) - delta, mean, 1 - _PRECISION, xtol=_PRECISION))


def is_binary(losses: np.ndarray) -> bool:
    """Whether each loss is 0 or 1."""
    return bool(np.isin(losses, (0, 1)).all())


def _divergence(a: float, b: float) -> float:
    """The Kullback-Leibler divergence of Bernoulli distributions with the means a and b, in nats."""
    first = 0.0 if a == 0 else a * math.log(a / b)
    return first + (0.0 if a == 1 else (1 - a) * math.log((1 - a) / (1 - b)))
