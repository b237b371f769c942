"""Writes texts by a decoder that keeps its cache: the prompt at once or in pieces, then one call a token. It needs numpy only."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Forward = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""What an adapter's `load` gives: named arrays to named arrays."""
Choose = Callable[[np.ndarray], int]
"""Chooses a token by log-probabilities, float64 [V]; -inf stands for one that is not allowed."""
Mask = Callable[[Sequence[int]], np.ndarray]
"""Which tokens may follow those that were written, bool [V]."""


@dataclass
class Generated:
    """What was written behind a prompt. A stop token is its last token.

    logprobs: natural logarithm of the probability that the model gave to each token, without mask and temperature.
    ttft_s: seconds from the start to the first token, which the prompt takes. times_s: seconds of each token behind the first.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ttft_s: float = 0.0
    times_s: list[float] = field(default_factory=list)


def greedy(logprobs: np.ndarray) -> int:
    """The most probable token; the first of equal ones."""
    return int(logprobs.argmax())


def sampling(seed: int, temperature: float = 1.0, top_p: float = 1.0) -> Choose:
    """Draws tokens by their probabilities ** (1 / temperature), of those that hold `top_p` of the whole together (arXiv 1904.09751)."""
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(f"found temperature {temperature} and top_p {top_p}, expected a temperature above 0 and 0 < top_p <= 1")
    random = np.random.default_rng(seed)

    def choose(logprobs: np.ndarray) -> int:
        scaled = np.exp((logprobs - logprobs.max()) / temperature)
        order = np.argsort(-scaled, kind="stable")
        shares = np.cumsum(scaled[order]) / scaled.sum()
        kept = order[: int(np.searchsorted(shares, top_p)) + 1]
        return int(random.choice(kept, p=scaled[kept] / scaled[kept].sum()))

    return choose


def generate(
    forward: Forward, prompt: np.ndarray, *, limit: int, stop: Collection[int] = (), choose: Choose = greedy, mask: Mask | None = None,
    length: int | None = None, piece: int | None = None,
) -> Generated:  # fmt: skip
    """Write up to `limit` tokens behind `prompt`, int32 [T], T > 0, by `forward`, a deployed decoder.

    stop: tokens that end the text. length: positions of the cache; writing ends where it is full. piece: how many tokens of the prompt a
    call takes; None for all of them.
    Raises ValueError for a prompt that is empty or does not fit, and where `mask` allows no token.
    """
    if prompt.ndim != 1 or not len(prompt) or (length is not None and len(prompt) > length):
        fits = "" if length is None else f" and at most {length}"
        raise ValueError(f"found a prompt of shape {prompt.shape}, expected [T] with T > 0{fits}")
    made, given, place = Generated(), prompt.astype(np.int32), 0
    # The last token is not given back, so that the cache need not hold it.
    most = limit if length is None else min(limit, length - len(prompt) + 1)
    while len(made.tokens) < most:
        started = time.perf_counter()
        logprobs = _log_softmax(_behind(forward, given, place, piece or len(given)))
        token = choose(logprobs if mask is None else _allowed(logprobs, mask(made.tokens)))
        made.tokens.append(token)
        made.logprobs.append(float(logprobs[token]))
        took = time.perf_counter() - started
        if place:
            made.times_s.append(took)
        else:
            made.ttft_s = took
        if token in stop:
            break
        place, given = place + len(given), np.array([token], np.int32)
    return made


def _behind(forward: Forward, tokens: np.ndarray, start: int, piece: int) -> np.ndarray:
    """The logits behind `tokens`, int32 [T], which stand from the position `start` on and are given `piece` at a time: float32 [V]."""
    for place in range(0, len(tokens), piece):
        part = tokens[place : place + piece]
        positions = np.arange(start + place, start + place + len(part), dtype=np.int32)
        last = np.array([[len(part) - 1]], np.int32)
        outputs = forward({"input_ids": part[None], "positions": positions[None], "wanted": last})
    return outputs["logits"][0, 0]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _allowed(logprobs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if mask.shape != logprobs.shape or not mask.any():
        raise ValueError(
            f"found a mask of shape {mask.shape} with {mask.sum()} allowed tokens, expected {logprobs.shape} with one at least"
        )
    return np.where(mask, logprobs, -np.inf)
