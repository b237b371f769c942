"""Measures how often the gate passes a candidate whose true drop equals the limit, and prints it as Markdown, for docs/gate.md.

For right and wrong samples the rate is computed exactly: the probability of every outcome that passes, at the worst of many rates of
disagreement. For numbers 2,000 candidates are simulated for each kind of scores. Other bounds stand beside. It takes minutes.
"""

import math
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import norm, t

from edgedistill.gate.bounds import drop, upper_bound

CONFIDENCE = 0.95
LIMITS = (0.01, 0.02, 0.05, 0.1, 0.2)
ONLY_STUDENT = (0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
"""Shares of samples that the student has right and the teacher wrong."""
CANDIDATES = 2000


def outcomes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Each number of samples that only the teacher has right, and that only the student has: int [k] each."""
    lost, won = np.meshgrid(range(n + 1), range(n + 1), indexing="ij")
    possible = lost + won <= n
    return lost[possible], won[possible]


def probability(n: int, lost: np.ndarray, won: np.ndarray, p: float, q: float) -> np.ndarray:
    """Of each outcome where `p` and `q` are the shares."""
    same = n - lost - won
    logs = gammaln(n + 1) - gammaln(lost + 1) - gammaln(won + 1) - gammaln(same + 1)
    return np.exp(logs + xlogy(lost, p) + xlogy(won, q) + xlogy(same, 1 - p - q))


def gaffke(n: int, lost: np.ndarray, won: np.ndarray) -> np.ndarray:
    """The bound of the gate."""
    values = [np.repeat([1.0, -1.0, 0.0], (a, b, n - a - b)) for a, b in zip(lost.tolist(), won.tolist(), strict=True)]
    return np.array([upper_bound(each, CONFIDENCE) for each in values])


def agresti_min(n: int, lost: np.ndarray, won: np.ndarray) -> np.ndarray:
    """The interval of reports, one-sided (Agresti and Min 2005)."""
    p, q = (lost + 0.5) / (n + 2), (won + 0.5) / (n + 2)
    return p - q + norm.ppf(CONFIDENCE) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))


def student(n: int, lost: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Student's t."""
    mean = (lost - won) / n
    variance = np.maximum(lost + won - n * mean**2, 0) / (n - 1)
    return mean + t.ppf(CONFIDENCE, n - 1) * np.sqrt(variance / n)


def tango_passes(n: int, lost: np.ndarray, won: np.ndarray, limit: float) -> np.ndarray:
    """The score test of Tango 1998, Statistics in Medicine 17."""
    b = -lost - won + (2 * n - lost + won) * limit
    share = (np.sqrt(np.maximum(b**2 + 8 * n * won * limit * (1 - limit), 0)) - b) / (4 * n)
    variance = n * (2 * share + limit * (1 - limit))
    return (lost - won - n * limit) / np.sqrt(variance) < -norm.ppf(CONFIDENCE)


def worst(n: int) -> dict[str, float]:
    """How often each bound passes at most, over all LIMITS and ONLY_STUDENT."""
    lost, won = outcomes(n)
    bounds = {"Gaffke (the gate)": gaffke(n, lost, won), "Agresti and Min": agresti_min(n, lost, won), "Student's t": student(n, lost, won)}
    rates = dict.fromkeys([*bounds, "Tango"], 0.0)
    for limit in LIMITS:
        for q in ONLY_STUDENT:
            if 2 * q + limit > 1:
                continue
            chances = probability(n, lost, won, q + limit, q)
            passes = {name: bound <= limit for name, bound in bounds.items()} | {"Tango": tango_passes(n, lost, won, limit)}
            rates = {name: max(rate, float(chances[passes[name]].sum())) for name, rate in rates.items()}
    return rates


def lost_whole(rng: np.random.Generator, n: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are lost as a whole, and rarely."""
    return np.ones(n), 1 - (rng.random(n) < limit).astype(float)


def tokens(rng: np.random.Generator, n: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the tokens of answers of 8 tokens that are right."""
    return rng.binomial(8, 0.9, n) / 8, rng.binomial(8, 0.9 - limit, n) / 8


def noise(rng: np.random.Generator, n: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that differ by much, in hundredths."""
    return rng.integers(20, 101, n) / 100, rng.integers(20, 101, n) / 100 - limit


KINDS: dict[str, Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray]]] = {
    "answers lost whole": lost_whole,
    "8 tokens each": tokens,
    "uniform, in hundredths": noise,
}


def simulated(kind: str, n: int, limit: float) -> tuple[float, float]:
    """The share of candidates that the gate passes, and that Student's t passes."""
    rng, passed, by_t = np.random.default_rng(n), 0, 0
    for _ in range(CANDIDATES):
        teacher, scores = KINDS[kind](rng, n, limit)
        passed += drop(teacher, scores, CONFIDENCE)[1] <= limit
        difference = teacher - scores
        by_t += difference.mean() + t.ppf(CONFIDENCE, n - 1) * difference.std(ddof=1) / math.sqrt(n) <= limit
    return passed / CANDIDATES, by_t / CANDIDATES


def power(n: int, share: float, limit: float) -> float:
    """How often the gate passes a student as good as its teacher, where each alone is right for `share` of the samples."""
    lost, won = outcomes(n)
    likely = (chances := probability(n, lost, won, share, share)) > 1e-7
    return float(chances[likely][gaffke(n, lost[likely], won[likely]) <= limit].sum())


def main() -> None:
    """Compute and print."""
    started = time.process_time()
    names = None
    for n in (10, 20, 40, 80, 150):
        rates = worst(n)
        if names is None:
            names = list(rates)
            print(f"| samples | {' | '.join(names)} |\n| ---: |{' ---: |' * len(names)}")
        print(f"| {n} | {' | '.join(f'{rates[name]:.1%}' for name in names)} |", flush=True)
    print("\n| scores | samples | limit | Gaffke (the gate) | Student's t |\n| --- | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        for n, limit in ((20, 0.05), (100, 0.02), (500, 0.02)):
            gate, by_t = simulated(kind, n, limit)
            print(f"| {kind} | {n} | {100 * limit:g} points | {gate:.1%} | {by_t:.1%} |", flush=True)
    print("\n| samples | limit | a student as good as its teacher passes |\n| ---: | ---: | ---: |")
    for n, limit in ((200, 0.02), (200, 0.05), (500, 0.02), (500, 0.05), (1000, 0.02)):
        print(f"| {n} | {100 * limit:g} points | {power(n, 0.02, limit):.0%} |", flush=True)
    print(f"\n{time.process_time() - started:.0f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
