"""How often the interval of a comparison holds the truth, and what the verdict says, on drawn log ratios of rounds. Prints Markdown.

    python benchmarks/harness/coverage.py

No runtime is involved, so thousands of comparisons take minutes; `detection.py` does the same with real processes.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgedistill.measure.comparison import MIN_DIFFERENCE, verdict
from edgedistill.measure.runner.ratio import bootstrap_interval

TRIALS = 1000
WIDTH, MAX_ROUNDS = 0.01, 30
Draw = Callable[[np.random.Generator, int], np.ndarray]
NOISE: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "Student's t, 3 degrees": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3),
    "one round in ten 5 times as noisy": lambda rng, n: rng.normal(size=n) * np.where(rng.random(n) < 0.1, 5, 1),
    "three processes in ten are 1.5 slower": lambda rng, n: (
        1.5 * ((rng.random(n) < 0.3) * 1.0 - (rng.random(n) < 0.3)) + 0.2 * rng.normal(size=n)
    ),
}


def plain(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The usual percentile bootstrap of the mean."""
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"Share of {TRIALS} intervals that hold the truth; in brackets, of the usual percentile bootstrap of the mean\n")
    counts = (6, 8, 10, 20)
    print(f"| noise of a round | {' | '.join(f'{n} rounds' for n in counts)} |\n|---|{'---|' * len(counts)}")
    for name, draw in NOISE.items():
        cells = []
        for n in counts:
            samples = [draw(rng, n) for _ in range(TRIALS)]
            ours = [bootstrap_interval(row.tolist()) for row in samples]
            usual = [plain(row, rng) for row in samples]
            cells.append(f"{_held(ours):.1%} ({_held(usual):.1%})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nUntil the half-width is {WIDTH:.0%}, at least 10 and at most {MAX_ROUNDS} rounds; spread of a round in percent\n")
    print("| noise of a round | spread | rounds | holds the truth | equal called different | 3% called worse |\n|---|---|---|---|---|---|")
    for name, draw in NOISE.items():
        for spread in (0.5, 1.5):
            print(f"| {name} | {spread:g} | {_stopped(draw, spread / 100, rng)} |", flush=True)


def _held(intervals: Sequence[tuple[float, float] | None]) -> float:
    return float(np.mean([ends is not None and ends[0] <= 0 <= ends[1] for ends in intervals]))


def _stopped(draw: Draw, spread: float, rng: np.random.Generator) -> str:
    held, rounds, wrong, found = 0, 0, 0, 0
    trials = TRIALS // 2
    for _ in range(trials):
        values, n = draw(rng, MAX_ROUNDS) * spread, 10
        while (ends := bootstrap_interval(values[:n].tolist())) and math.expm1((ends[1] - ends[0]) / 2) > WIDTH and n < MAX_ROUNDS:
            n += 1
        low, high = ends or (-math.inf, math.inf)
        held += low <= 0 <= high
        rounds += n
        wrong += verdict([math.exp(low), math.exp(high)], MIN_DIFFERENCE) != "no difference"
        # The interval moves with the values.
        found += verdict([1.03 * math.exp(low), 1.03 * math.exp(high)], MIN_DIFFERENCE) == "worse"
    return f"{rounds / trials:.1f} | {held / trials:.1%} | {wrong / trials:.1%} | {found / trials:.1%}"


if __name__ == "__main__":
    main()
