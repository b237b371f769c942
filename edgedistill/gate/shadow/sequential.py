"""A test of a rate that may be looked at after every observation: is the share of disagreements inside the tolerance?

A test of a fixed sample size errs far more often than it says when it is repeated until it passes. This one holds its error rate over all
looks together: the mixture of Robbins 1970, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical
Statistics 41, 1397-1409, and the inequality of Ville 1939; for confidence sequences in general see arXiv:1810.08240 and arXiv:2010.09686.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Decision = Literal["inside", "outside", "undecided"]
_HALF = 0.5
_MOST = 10_000_000
"""Observations after which `needed` gives up."""
_STEPS = 60
"""Halvings of an interval; more than a float has digits."""


@dataclass(frozen=True)
class Sequential:
    """The test that a rate is at most `tolerance`, with an error of `alpha` over all looks together.

    tolerance: a rate, 0 < tolerance < 1. alpha: the largest probability, 0 < alpha < 1, that the true rate is ever outside of `interval`,
    and so of a wrong decision at any time.

    Observations are independent, or at least each disagrees with the same probability whatever came before it.
    """

    tolerance: float
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name in ("tolerance", "alpha"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ValueError(f"found {name} {value}, expected a share above 0 and below 1")

    @property
    def _prior(self) -> tuple[float, float]:
        # Its mean is the tolerance, around which the decision is hard, and half of its weight lies near 0, where good students are.
        return _HALF, _HALF * (1 - self.tolerance) / self.tolerance

    def evidence(self, n: int, k: int, rate: float) -> float:
        """Logarithm of the evidence against `rate`, 0 < rate < 1, of `k` disagreements in `n` observations.

        It is the likelihood of the observations, averaged over the rates by a beta distribution, over that under `rate`. Under `rate` its
        exponential is a martingale that begins at 1, so that it ever reaches 1 / alpha with probability alpha at most.
        """
        a, b = self._prior
        return _log_beta(a + k, b + n - k) - _log_beta(a, b) - k * math.log(rate) - (n - k) * math.log1p(-rate)

    def interval(self, n: int, k: int) -> tuple[float, float]:
        """The rates that the observations do not refute: an interval that holds the true one at every n, with probability 1 - alpha."""
        if not 0 <= k <= n:
            raise ValueError(f"found {k} disagreements in {n} observations")
        share = k / n if n else _HALF
        return (self._limit(n, k, 0.0, share) if k else 0.0), (self._limit(n, k, 1.0, share) if k < n else 1.0)

    def decision(self, n: int, k: int) -> Decision:
        """`inside` where all of the interval is below the tolerance, `outside` where all of it is above."""
        if n == 0 or self.evidence(n, k, self.tolerance) < -math.log(self.alpha):
            return "undecided"
        return "inside" if k / n < self.tolerance else "outside"

    def needed(self, n: int, k: int) -> int | None:
        """About how many observations in all a decision takes if the share stays k / n; None where none comes within 10 million."""
        share = (k + _HALF) / (n + 1)

        def decided(more: int) -> bool:
            return self.decision(more, round(share * more)) != "undecided"

        high = max(n, 1)
        while not decided(high):
            high *= 2
            if high > _MOST:
                return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if decided(middle) else (middle, high)
        return max(high, n)

    def _limit(self, n: int, k: int, outer: float, inner: float) -> float:
        """The end of the interval between `inner`, in it, and `outer`, which is not: the evidence grows from k / n to both sides."""
        refuted = -math.log(self.alpha)
        for _ in range(_STEPS):
            middle = (inner + outer) / 2
            if not 0 < middle < 1:
                break
            if self.evidence(n, k, middle) >= refuted:
                outer = middle
            else:
                inner = middle
        return outer


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
