"""What a runner recorded of generation by a file with a state, as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgedistill.measure.energy import energy_of
from edgedistill.measure.generation import Asked
from edgedistill.measure.records import peak_mb
from edgedistill.measure.runner.interval import relative_half_width
from edgedistill.measure.runner.record_types import Record
from edgedistill.measure.series import Series
from edgedistill.measure.statistics import intervals_ms, latency_ms
from edgedistill.records import Unavailable
from edgedistill.records.generation import CallTimes, Generation, GenerationEnergy, PromptGeneration
from edgedistill.records.measurements import Energy, Validity

_NOT_RECORDED = Unavailable(unavailable="the runner wrote no records of it: it is of an earlier version")
_ONE = Unavailable(unavailable="one token is new, which the call with the prompt gives")


def figures(records: Sequence[Record], asked: Asked | Unavailable, meters: Mapping[str, Series] | None = None) -> Generation | Unavailable:
    """The figures of a complete run, or why there are none. meters: power that the host measured, on the device's clock."""
    if isinstance(asked, Unavailable):
        return asked
    found = [_of_prompt(records, prompt, asked.new, meters or {}) for prompt in asked.prompts]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return _NOT_RECORDED
    file = asked.file
    return Generation(
        context=Unavailable(unavailable="the file does not say it") if file.context is None else file.context,
        state_bytes=Unavailable(unavailable="the file does not say it") if file.state_bytes is None else file.state_bytes,
        new_tokens=asked.new,
        by_prompt=known,
    )


def doubts(records: Sequence[Record], relative_width: float) -> list[tuple[Validity, str]]:
    """Why the figures are not certain: pairs of validity and reason. relative_width: the required half-width of the medians' intervals."""
    found: list[tuple[Validity, str]] = []
    for record in records:
        if record["type"] == "generation_warmup" and not record["steady"]:
            found.append(("noisy", f"not steady: calls behind a prompt of {record['prompt']} tokens still drifted after the warm-up"))
    prompts = dict.fromkeys(record["prompt"] for record in records if record["type"] == "generated")
    for prompt in prompts:
        sequences, _ = _sequences(records, prompt)
        parts = {"the first token": [sequence[0] for sequence in sequences], "a further token": _further(sequences)}
        for what, durations in parts.items():
            if durations and (width := relative_half_width(sorted(durations))) > relative_width:
                known = f"the median of {what} is known to within {100 * width:.1f}%, but {100 * relative_width:.1f}% is required"
                found.append(("noisy", f"wide: with a prompt of {prompt} tokens {known}"))
    return found


def _of_prompt(records: Sequence[Record], prompt: int, new: int, meters: Mapping[str, Series]) -> PromptGeneration | None:
    """The figures of one length of prompts; None where nothing was recorded."""
    sequences, begins_ns = _sequences(records, prompt)
    memory = next((record for record in records if record["type"] == "generation_memory" and record["prompt"] == prompt), None)
    warmup = next((record for record in records if record["type"] == "generation_warmup" and record["prompt"] == prompt), None)
    if not sequences or memory is None or warmup is None:
        return None
    firsts, rest = [sequence[0] for sequence in sequences], [sum(sequence[1:]) for sequence in sequences]
    whole = [sum(sequence) for sequence in sequences]
    begins = np.array(begins_ns) / 1e9
    spent = energy_of(records, meters, times=(begins, begins + np.array(whole) / 1e9))
    return PromptGeneration(
        prompt_tokens=prompt,
        first_token=_times(firsts),
        next_token=_times(_further(sequences)) if new > 1 else _ONE,
        last_token=_times(whole),
        prefill_tokens_per_s=prompt / float(np.median(firsts)) * 1e9,
        decode_tokens_per_s=(new - 1) / float(np.median(rest)) * 1e9 if new > 1 else _ONE,
        steady=warmup["steady"],
        peak_rss_mb=peak_mb(memory),
        energy=_of_a_token(spent, new),
    )


def _sequences(records: Sequence[Record], prompt: int) -> tuple[list[list[int]], list[int]]:
    """The durations of the calls of each sequence, and when each began."""
    batches = [record for record in records if record["type"] == "generated" and record["prompt"] == prompt]
    sequences = [durations for batch in batches for durations in batch["durations_ns"]]
    return sequences, [t0_ns for batch in batches for t0_ns in batch["t0_ns"]]


def _further(sequences: Sequence[Sequence[int]]) -> list[int]:
    return [took for sequence in sequences for took in sequence[1:]]


def _times(durations_ns: Sequence[int]) -> CallTimes:
    return CallTimes(latency_ms=latency_ms(durations_ns), intervals_ms=intervals_ms(durations_ns))


def _of_a_token(spent: Energy | Unavailable, new: int) -> GenerationEnergy | Unavailable:
    """The energy of a sequence as that of each of its new tokens."""
    if isinstance(spent, Unavailable):
        return spent
    mj, ends = spent.mj_per_inference, spent.interval
    return GenerationEnergy(
        mj_per_token=mj if isinstance(mj, Unavailable) else mj / new,
        interval=ends if isinstance(ends, Unavailable) else (ends[0] / new, ends[1] / new),
        idle_w=spent.idle_w, power_w=spent.power_w, source=spent.source, window_s=spent.window_s, n=spent.n * new,
    )  # fmt: skip
