"""Computes from the records of a comparison how much slower or faster B is than A. See docs/comparing.md."""

import math
from collections.abc import Sequence
from statistics import median

from edgedistill.measure.records import Record
from edgedistill.measure.runner.ratio import MIN_ROUNDS, bootstrap_interval, centre, log_ratios
from edgedistill.measure.statistics import intervals_ms, latency_ms
from edgedistill.records import Unavailable
from edgedistill.records.comparisons import ComparisonFigures, Rounds, SideFigures, Verdict
from edgedistill.records.measurements import Ratio
from edgedistill.records.results import Interval

MIN_DIFFERENCE = 0.005
"""Smallest relative difference that counts. A finite sample cannot show that two builds are exactly equal."""
CONFIDENCE = 0.95
_METHOD = (
    "Hodges-Lehmann centre of the log ratios of rounds, each with new processes of A and B; "
    "percentile bootstrap over rounds, its levels widened by Student's t"
)
_MS = 1e6


def compare(records: Sequence[Record], min_difference: float = MIN_DIFFERENCE, seed: int = 0) -> ComparisonFigures:
    """The figures of a complete comparison. A ratio above 1 means that B is slower. seed: for the bootstrap."""
    blocks = [record for record in records if record["type"] == "block"]
    ratios = log_ratios(blocks)
    ends = bootstrap_interval(ratios, seed, CONFIDENCE)
    interval = (math.exp(ends[0]), math.exp(ends[1])) if ends else None
    unknown = Unavailable(unavailable=f"{len(ratios)} rounds are too few for an interval, which takes at least {MIN_ROUNDS}")
    ratio = math.exp(centre(ratios))
    return ComparisonFigures(
        ratio=Ratio(value=ratio, interval=interval or unknown, confidence=CONFIDENCE, method=_METHOD),
        verdict=verdict(interval, min_difference) if interval else unknown,
        text=_text(ratio, interval, min_difference) if interval else unknown.unavailable,
        min_difference=min_difference,
        rounds=Rounds(n=len(ratios), ratios=[math.exp(value) for value in ratios]),
        stopped=next(record["stopped"] for record in records if record["type"] == "compared"),
        a=_side(records, "a", seed),
        b=_side(records, "b", seed),
    )


def verdict(interval: Sequence[float], min_difference: float) -> Verdict:
    """B is better or worse only if the whole interval of the ratio lies further from 1 than `min_difference`.

    The rule for an interval and a region of practical equivalence: Kruschke, Rejecting or Accepting Parameter Values in Bayesian
    Estimation, Advances in Methods and Practices in Psychological Science 1 (2018).
    """
    low, high = interval
    if low > 1 + min_difference:
        return "worse"
    return "better" if high < 1 / (1 + min_difference) else "no difference"


def _text(ratio: float, interval: Sequence[float], min_difference: float) -> str:
    low, high = interval
    ends = f"[{low:.3f}, {high:.3f}]"
    result = verdict(interval, min_difference)
    if result == "no difference":
        largest = max(high - 1, 1 / low - 1)
        return f"no difference found: B takes {ratio:.3f} times as long as A {ends}; a difference of more than {largest:.1%} is ruled out"
    return f"B is {result}: it takes {ratio:.3f} times as long as A {ends}"


def _side(records: Sequence[Record], side: str, seed: int) -> SideFigures:
    """Figures of one side. The interval of its median is over rounds, since inferences of one process are not independent."""
    mine = [record for record in records if record.get("side") == side]
    rounds: dict[int, list[int]] = {}
    for record in mine:
        if record["type"] == "block":
            rounds.setdefault(record["round"], []).extend(record["durations_ns"])
    durations = [ns for batch in rounds.values() for ns in batch]
    ends = bootstrap_interval([math.log(median(batch)) for batch in rounds.values()], seed, CONFIDENCE)
    p50: Interval | Unavailable = Unavailable(unavailable=f"it takes at least {MIN_ROUNDS} rounds, found {len(rounds)}")
    if ends:
        p50 = math.exp(ends[0]) / _MS, math.exp(ends[1]) / _MS
    steady = [record["steady"] for record in mine if record["type"] == "warmup"]
    return SideFigures(
        latency_ms=latency_ms(durations),
        intervals_ms=intervals_ms(durations).model_copy(update={"p50": p50}),
        load_ms=median(record["ns"] for record in mine if record["type"] == "load") / _MS,
        first_inference_ms=median(record["ns"] for record in mine if record["type"] == "first_inference") / _MS,
        steady=sum(steady) / len(steady),
    )
