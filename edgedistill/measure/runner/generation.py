"""The benchmark of a file with a state: sequences of calls with a prompt, at once or in pieces, and of calls with one token each.

Which tokens are given does not change the time: a prompt is made of those of the samples, and each further token is the one with the
largest value in the answer (greedy). A duration is that of the calls alone, without choosing the token.
"""

import gc
import itertools
from time import perf_counter_ns

import numpy as np

from edgedistill.measure.runner import facts
from edgedistill.measure.runner.generation_types import GenerationSettings
from edgedistill.measure.runner.interval import min_samples, relative_half_width
from edgedistill.measure.runner.job_types import BenchSettings
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.samples import Arrays, Forward, Samples, text_of
from edgedistill.measure.runner.sampling import BATCH_NS, MIN_SAMPLING_NS, warm_up

# The interval of the median needs as many.
_MIN_SEQUENCES = min_samples(0.5)


def bench(
    forward: Forward, samples: Samples, asked: GenerationSettings, settings: BenchSettings, loaded: int | None, recorder: Recorder
) -> None:
    """Measure what `asked` says, the shortest prompt first, and write the records of it; `forward` was loaded and not called yet.

    settings: as of `sampling.bench`, for each prompt anew: sampling ends when the medians of the first token and
    of the further ones are known well enough; at least 6 sequences are taken. loaded: resident bytes with the runtime imported.
    """
    longest, first = max(asked["prompts"]), samples[0]
    needed = -(-longest // first[asked["tokens"]].shape[1])
    tokens = np.concatenate([samples[index][asked["tokens"]] for index in range(min(len(samples), needed))], axis=1)
    gc.collect()
    gc.disable()
    try:
        # In this order the peak of a longer prompt is not hidden behind that of a shorter one.
        for prompt in sorted(asked["prompts"]):
            sequences = _Sequences(forward, np.resize(tokens, (1, prompt)), first, asked)
            watch = facts.watch_peak()
            sequences.whole()
            peak = facts.peak_since(watch)._asdict()
            recorder.write("generation_memory", prompt=prompt, rss_runtime_loaded=loaded, **peak)
            # Some runtimes plan their memory in the second call of a size.
            sequences.whole()
            figures = warm_up(sequences.call, settings["warmup_s"], settings["relative_width"])
            recorder.write("generation_warmup", prompt=prompt, **figures)
            _sample(sequences, prompt, settings, recorder)
    finally:
        gc.enable()


class _Sequences:
    """Sequences with one prompt, int [1, P]; sample: inputs of a sample, for their types."""

    def __init__(self, forward: Forward, prompt: np.ndarray, sample: Arrays, asked: GenerationSettings) -> None:
        self._forward, self._asked, self._new = forward, asked, asked["new"]
        self._checked, size, self._token = False, prompt.shape[1], prompt[:, -1:].copy()
        piece = asked["piece"] or size
        # Copied here, so that a call gets aligned memory of its own.
        pieces = [self._inputs(prompt[:, start : start + piece].copy(), start, sample) for start in range(0, size, piece)]
        self._calls = [pieces, *([self._inputs(self._token, place, sample)] for place in range(size, size + self._new - 1))]
        self._order = itertools.cycle(range(1, self._new) if self._new > 1 else range(1))

    def _inputs(self, tokens: np.ndarray, start: int, sample: Arrays) -> Arrays:
        """What a call with `tokens` [1, T] from the position `start` on is given: its last token is wanted."""
        asked, count = self._asked, tokens.shape[1]
        positions = np.arange(start, start + count, dtype=sample[asked["positions"]].dtype)[None]
        wanted = np.full((1, 1), count - 1, sample[asked["wanted"]].dtype)
        return {asked["tokens"]: tokens, asked["positions"]: positions, asked["wanted"]: wanted}

    def whole(self) -> list[int]:
        """Durations in ns of the calls of a sequence. Raises ValueError where an answer of the first one is not what it must be."""
        durations = []
        for index in range(self._new):
            took, answer = self._timed(index)
            durations.append(took)
            if not self._checked:
                self._check(index, answer)
            self._token[0, 0] = answer[0, 0].argmax()
        self._checked = True
        return durations

    def call(self) -> int:
        """The duration in ns of the next call with one token, behind the prompt of the last sequence; of the prompt if it is all."""
        return self._timed(next(self._order))[0]

    def _check(self, index: int, answer: np.ndarray) -> None:
        what = f"output {self._asked['output']} at position {int(self._calls[index][-1][self._asked['positions']][0, 0])}"
        if not isinstance(answer, np.ndarray) or answer.ndim != 3 or answer.shape[:2] != (1, 1):
            raise ValueError(f"{what}: expected [1,1,V] for the last token, found {text_of(answer)}")
        if not np.isfinite(answer).all():
            raise ValueError(f"{what}: some values are NaN or infinite")

    def _timed(self, index: int) -> tuple[int, np.ndarray]:
        started = perf_counter_ns()
        for given in self._calls[index]:
            outputs = self._forward(given)
        return perf_counter_ns() - started, outputs[self._asked["output"]]


def _sample(sequences: _Sequences, prompt: int, settings: BenchSettings, recorder: Recorder) -> None:
    """Take batches of sequences of at least 0.1 s, each written when complete, until the stopping rule holds."""
    started, firsts, others, count = perf_counter_ns(), list[int](), list[int](), 0
    min_ns = max(MIN_SAMPLING_NS, int(settings.get("min_s", 0) * 1e9))
    while True:
        opened, t0_ns, batch = perf_counter_ns(), list[int](), list[list[int]]()
        while not batch or perf_counter_ns() - opened < BATCH_NS:
            t0_ns.append(perf_counter_ns())
            batch.append(sequences.whole())
        recorder.write("generated", prompt=prompt, t0_ns=t0_ns, durations_ns=batch)
        firsts = sorted([*firsts, *(durations[0] for durations in batch)])
        others = sorted([*others, *(took for durations in batch for took in durations[1:])])
        count += sum(map(len, batch))
        elapsed = perf_counter_ns() - started
        if len(firsts) < _MIN_SEQUENCES or count < settings["min_samples"]:
            continue
        if elapsed >= settings["max_s"] * 1e9:
            return
        if elapsed >= min_ns and all(relative_half_width(known) <= settings["relative_width"] for known in (firsts, others) if known):
            return
