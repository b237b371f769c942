"""How often `measure.throttling.onset` raises a false alarm, and how well it finds steps: the tables of docs/stress.md, by simulation.

python benchmarks/harness/throttling.py false 600 400      # windows of 1 s, runs of each kind
python benchmarks/harness/throttling.py steps 600 50
"""

import itertools
import sys
from collections.abc import Callable

import numpy as np

from edgedistill.measure.throttling import Onset, Windows, onset

Generator = np.random.Generator

STEPS = (0.1, 0.2, 0.5, 1.0)


def dependent(g: Generator, n: int, share: float, deviation: float) -> np.ndarray:
    """Noise of which `share` is carried from each second to the next."""
    steps = g.normal(0, deviation * np.sqrt(1 - share**2), n + 50)
    return np.array(list(itertools.accumulate(steps, lambda level, step: share * level + step)))[50:]


def spikes(g: Generator, n: int, share: float) -> np.ndarray:
    return g.normal(0, 0.02, n) + (g.random(n) < share) * np.log(g.uniform(1.5, 10, n))


def wave(g: Generator, n: int, period: float, amplitude: float) -> np.ndarray:
    return g.normal(0, 0.02, n) + amplitude * np.sin(2 * np.pi * (np.arange(n) / period + g.random()))


def jobs(g: Generator, n: int, period: int, width: int, slower: float) -> np.ndarray:
    return g.normal(0, 0.02, n) + ((np.arange(n) + g.integers(period)) % period < width) * np.log1p(slower)


NOISE: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "independent, 2%": lambda g, n: g.normal(0, 0.02, n),
    "independent, 5%": lambda g, n: g.normal(0, 0.05, n),
    "independent, 10%": lambda g, n: g.normal(0, 0.1, n),
    "heavy tails (t with 3 degrees of freedom), 5%": lambda g, n: 0.05 * g.standard_t(3, n),
    "skewed (exponential), 10%": lambda g, n: np.log1p(g.exponential(0.1, n)),
    "dependent, 0.8 from second to second, 5%": lambda g, n: dependent(g, n, 0.8, 0.05),
    "dependent, 0.95 from second to second, 2%": lambda g, n: dependent(g, n, 0.95, 0.02),
    "1% of the seconds 1.5 to 10 times as slow": lambda g, n: spikes(g, n, 0.01),
    "5% of the seconds 1.5 to 10 times as slow": lambda g, n: spikes(g, n, 0.05),
    "a wave of 10 s, 10%": lambda g, n: wave(g, n, 10, 0.1),
    "a wave of 60 s, 10%": lambda g, n: wave(g, n, 60, 0.1),
    "a job of 3 s every 10 s, 50% slower": lambda g, n: jobs(g, n, 10, 3, 0.5),
    "a job of 4 s every minute, 50% slower": lambda g, n: jobs(g, n, 60, 4, 0.5),
    "a job of 10 s every minute, 50% slower": lambda g, n: jobs(g, n, 60, 10, 0.5),
    "a job of 5 s every two minutes, 100% slower": lambda g, n: jobs(g, n, 120, 5, 1.0),
}
FOR_STEPS = [*list(NOISE)[:3], "dependent, 0.8 from second to second, 5%", "5% of the seconds 1.5 to 10 times as slow"]


def found(noise: np.ndarray, n: int, seed: int) -> Onset | None:
    return onset(Windows(np.arange(n) + 0.5, 0.005 * np.exp(noise)), seed)


def false_alarms(n: int, runs: int) -> None:
    for name, make in NOISE.items():
        hits = sum(found(make(np.random.default_rng([seed, n]), n), n, seed) is not None for seed in range(runs))
        print(f"| {name} | {100 * hits / runs:.2f}% |", flush=True)


def steps(n: int, runs: int) -> None:
    for name in FOR_STEPS:
        for step in STEPS:
            errors = []
            for seed in range(runs):
                g = np.random.default_rng([seed, n, 7])
                noise, at = NOISE[name](g, n), int(g.integers(n // 4, int(0.95 * n)))
                noise[at:] += np.log1p(step)
                if place := found(noise, n, seed):
                    errors.append(abs(place.t_s - at))
            near = sum(error <= 5 for error in errors) / runs
            median = f"{np.median(errors):.1f} s" if errors else "-"
            print(f"| {name} | {step:.0%} | {len(errors) / runs:.0%} | {near:.0%} | {median} |", flush=True)


if __name__ == "__main__":
    {"false": false_alarms, "steps": steps}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
