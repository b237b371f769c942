"""What a request takes of a file that writes token by token: from what was measured of generation, and the tokens of a request."""

from __future__ import annotations

from edgedistill.records import Unavailable
from edgedistill.records.cost import Figure, InferenceEnergy, RequestLatency
from edgedistill.records.generation import Generation, PromptGeneration
from edgedistill.steps.cost.arithmetic import combined
from edgedistill.steps.cost.assumptions import Tokens

_SEVERAL = Unavailable(unavailable="a request takes several calls, which were not timed together for its tokens")
_NO_TOKENS = Unavailable(unavailable="usage.tokens_per_request is not given, and a request takes a call for each token that is written")


def latency(generation: Generation, tokens: Tokens | None, what: str) -> RequestLatency:
    """How long a request takes: as measured where it has the tokens of a measurement, else estimated by the rates of tokens.

    what: the file and the device.
    """
    if (same := _same(generation, tokens)) is not None:
        times = same.last_token.latency_ms
        return RequestLatency(p50=times.p50, p95=times.p95, source=f"generation by {what}, measured")
    return RequestLatency(p50=_SEVERAL, p95=_SEVERAL, estimate=_estimate_ms(generation, tokens), source=f"rates of tokens of {what}")


def energy(generation: Generation, tokens: Tokens | None) -> InferenceEnergy | Unavailable:
    """The energy of a request: that of a sequence that was measured, the one with the nearest prompt, in proportion to its time."""
    if tokens is None:
        return _NO_TOKENS
    taken_ms = _estimate_ms(generation, tokens)
    nearest = min(generation.by_prompt, key=lambda part: abs(part.prompt_tokens - _read(tokens)))
    spent, new = nearest.energy, generation.new_tokens
    if isinstance(taken_ms, Unavailable):
        return taken_ms
    if isinstance(spent, Unavailable):
        return spent
    if isinstance(spent.mj_per_token, Unavailable):
        return spent.mj_per_token
    times = taken_ms / 1000 / (spent.window_s / spent.n)
    mj, ends = spent.mj_per_token * times, spent.interval
    if mj <= 0:
        return Unavailable(unavailable=f"{mj:.3g} mJ were measured: the load can't be told from the idle device")
    bounds = ends if isinstance(ends, Unavailable) else (ends[0] * times, ends[1] * times)
    what = f"{spent.source}, with a prompt of {nearest.prompt_tokens} and {new} new tokens, in proportion to the time"
    return InferenceEnergy(mj_per_inference=mj, interval=bounds, source=what)


def _read(tokens: Tokens) -> float:
    # The file keeps nothing from one request to the next.
    return tokens.input + tokens.cached_input


def _same(generation: Generation, tokens: Tokens | None) -> PromptGeneration | None:
    """What was measured with the tokens of a request."""
    if tokens is None or tokens.output != generation.new_tokens:
        return None
    return next((part for part in generation.by_prompt if part.prompt_tokens == _read(tokens)), None)


def _estimate_ms(generation: Generation, tokens: Tokens | None) -> Figure:
    """A request by the rates of tokens, which are interpolated between lengths of prompts; beyond these the nearest one's count."""
    if tokens is None:
        return _NO_TOKENS
    read, further = _read(tokens), max(tokens.output - 1, 0.0)
    if isinstance(generation.context, int) and read + further > generation.context:
        return Unavailable(unavailable=f"a request has {read + tokens.output:g} tokens, and the file takes {generation.context}")
    prefill = _at(read, generation, [part.prefill_tokens_per_s for part in generation.by_prompt])
    if not further:
        return combined(lambda reading: 1000 * read / reading, prefill)
    decode = _at(read, generation, [part.decode_tokens_per_s for part in generation.by_prompt])
    # The first token that is written comes with the end of the prompt.
    return combined(lambda reading, writing: 1000 * (read / reading + further / writing), prefill, decode)


def _at(prompt: float, generation: Generation, rates: list[float | Unavailable] | list[float]) -> Figure:
    import numpy as np

    lengths = [part.prompt_tokens for part in generation.by_prompt]
    return combined(lambda *known: float(np.interp(prompt, lengths, known)), *rates)
