"""Review: how often the intervals of win rates and of harmful answers hold the true rate, and what keeping a judgement costs.

python benchmarks/gate/review.py, about two minutes. Prints the tables of docs/review.md.
"""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from edgedistill.gate.review import analysis
from edgedistill.gate.review.pairs import Pair
from edgedistill.gate.review.rubric import ANSWERS, OVERALL
from edgedistill.gate.review.store import About, Judgement, Store
from edgedistill.records.review import Rate

STUDIES = 4000
REVIEWERS, JUDGEMENTS = 5, 100


def coverage(rate: float, pairs: int, reviewers: int, rng: np.random.Generator, *, preferred: bool) -> tuple[float, float]:
    """The share of studies whose 95% interval holds `rate`, and its mean half-width.

    The pairs of a study are drawn from all that could be asked. Each has a share of people who prefer the candidate, or call its answer
    harmful: a Beta variable with the mean `rate` and 2 as sum of its shapes, so that pairs differ much. A reviewer says yes by that share.
    Where it is about preference, a reviewer takes each side by it in two draws, and says "same" where they differ, so that the mean of a
    judgement is the pair's share.
    """
    hits, width = 0, 0.0
    for _ in range(STUDIES):
        share = rng.beta(2 * rate, 2 * (1 - rate), pairs)
        yes = (rng.random((2 if preferred else 1, reviewers, pairs)) < share).mean(axis=0)
        found = analysis.win_rate(2 * yes - 1) if preferred else analysis.rate(yes)
        assert isinstance(found, Rate)
        low, high = found.interval
        hits += low <= rate <= high
        width += (high - low) / 2
    return hits / STUDIES, width / STUDIES


def kept(folder: Path) -> tuple[float, float]:
    """Judgements a second of five reviewers at once, and the median of one alone in milliseconds, each synced to the disk."""
    pairs = [Pair(number, "prompt", None, "reference", "candidate") for number in range(JUDGEMENTS)]
    store = Store(folder / "r.db", About("", "teacher", "student", ANSWERS, 0, JUDGEMENTS, JUDGEMENTS), pairs)
    names = [store.link(str(number)) and str(number) for number in range(REVIEWERS)]

    def judge(name: str) -> None:
        for number in range(JUDGEMENTS):
            store.add(Judgement(name, number, {OVERALL: "same"}, "", 1.0, True))

    threads = [threading.Thread(target=judge, args=(name,)) for name in names]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = REVIEWERS * JUDGEMENTS / (time.perf_counter() - begun)
    times = []
    for number in range(JUDGEMENTS):
        begun = time.perf_counter()
        store.add(Judgement("0", number, {OVERALL: "same"}, "", 1.0, True))
        times.append(time.perf_counter() - begun)
    assert len(store.judgements()) == REVIEWERS * JUDGEMENTS
    return rate, 1e3 * float(np.median(times))


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(0)
    for name, rates in (("win", (0.5, 0.7, 0.9)), ("harmful", (0.01, 0.05, 0.2))):
        print(f"| true {name} rate | pairs | reviewers | intervals that hold it | half-width |\n| --- | --- | --- | --- | --- |")
        for rate in rates:
            for pairs, reviewers in ((20, 1), (50, 1), (50, 3), (50, 5), (200, 3)):
                share, width = coverage(rate, pairs, reviewers, rng, preferred=name == "win")
                print(f"| {rate:.0%} | {pairs} | {reviewers} | {share:.1%} | {100 * width:.1f} points |")
    with tempfile.TemporaryDirectory() as folder:
        rate, median = kept(Path(folder))
    print(f"\n{REVIEWERS} reviewers at once: {rate:.0f} judgements a second; one alone: {median:.2f} ms a judgement")


if __name__ == "__main__":
    main()
