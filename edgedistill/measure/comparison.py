"""Computes from the records of a comparison how much slower or faster B is than A. See docs/comparing.md."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from edgedistill.measure.records import Record
from edgedistill.measure.runner.ratio import MIN_ROUNDS, bootstrap_interval, centre, log_ratios
from edgedistill.measure.statistics import intervals_ms, latency_ms, unavailable

MIN_DIFFERENCE = 0.005
"""Smallest relative difference that counts. A finite sample cannot show that two builds are exactly equal."""
CONFIDENCE = 0.95
_METHOD = (
    "Hodges-Lehmann centre of the log ratios of rounds, each with new processes of A and B; "
    "percentile bootstrap over rounds, its levels widened by Student's t"
)
_MS = 1e6


def compare(records: Sequence[Record], min_difference: float = MIN_DIFFERENCE, seed: int = 0) -> dict[str, Any]:
    """The figures of a complete comparison. `ratio` is B's median duration divided by A's: above 1, B is slower.

    The document has `ratio` {value, interval, confidence, method}, `verdict` on B (better, worse, no difference), `text`, `rounds` {n,
    ratios}, `stopped` (narrow or time), `min_difference`, and `a` and `b` with their `latency_ms`, `intervals_ms`, `load_ms`,
    `first_inference_ms` and `steady`, the share of processes whose warm-up ended in a steady state. seed: for the bootstrap.
    """
    blocks = [record for record in records if record["type"] == "block"]
    ratios = log_ratios(blocks)
    ends = bootstrap_interval(ratios, seed, CONFIDENCE)
    interval = [math.exp(end) for end in ends] if ends else None
    why = f"{len(ratios)} rounds are too few for an interval, which takes at least {MIN_ROUNDS}"
    ratio = math.exp(centre(ratios))
    compared = next(record for record in records if record["type"] == "compared")
    return {
        "ratio": {"value": ratio, "interval": interval or unavailable(why), "confidence": CONFIDENCE, "method": _METHOD},
        "verdict": verdict(interval, min_difference) if interval else unavailable(why),
        "text": _text(ratio, interval, min_difference) if interval else why,
        "min_difference": min_difference,
        "rounds": {"n": len(ratios), "ratios": [math.exp(value) for value in ratios]},
        "stopped": compared["stopped"],
        **{side: _side(records, side, seed) for side in ("a", "b")},
    }


def verdict(interval: Sequence[float], min_difference: float) -> str:
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


def _side(records: Sequence[Record], side: str, seed: int) -> dict[str, Any]:
    """Figures of one side. The interval of its median is over rounds, since inferences of one process are not independent."""
    mine = [record for record in records if record.get("side") == side]
    rounds: dict[int, list[int]] = {}
    for record in mine:
        if record["type"] == "block":
            rounds.setdefault(record["round"], []).extend(record["durations_ns"])
    durations = [ns for batch in rounds.values() for ns in batch]
    ends = bootstrap_interval([math.log(median(batch)) for batch in rounds.values()], seed, CONFIDENCE)
    p50 = [math.exp(end) / _MS for end in ends] if ends else unavailable(f"it takes at least {MIN_ROUNDS} rounds, found {len(rounds)}")
    steady = [record["steady"] for record in mine if record["type"] == "warmup"]
    return {
        "latency_ms": latency_ms(durations),
        "intervals_ms": intervals_ms(durations) | {"p50": p50},
        "load_ms": median(record["ns"] for record in mine if record["type"] == "load") / _MS,
        "first_inference_ms": median(record["ns"] for record in mine if record["type"] == "first_inference") / _MS,
        "steady": sum(steady) / len(steady),
    }
