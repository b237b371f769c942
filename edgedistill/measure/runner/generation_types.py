"""What a job says of generation by a file with a state, and the records of it, as types; docs/measuring.md describes them.

A sequence is a prompt from position 0 on, in one call or in pieces, and then a call with one token for each further token.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class GenerationSettings(TypedDict):
    """What to measure: sequences with prompts of these lengths, of `new` tokens each; the call with the prompt gives the first one.

    piece: how many tokens of a prompt a call takes; None for all of them.
    tokens, positions: the inputs [1, T] that a call gives; wanted: that of the places [1, W] among them; output: the answers [1, W, V].
    """

    tokens: str
    positions: str
    wanted: str
    output: str
    prompts: list[int]
    piece: int | None
    new: int


class GenerationMemory(TypedDict):
    """The memory up to the end of the first sequence with a prompt, in bytes, and how it was read."""

    type: Literal["generation_memory"]
    prompt: int
    rss_runtime_loaded: int | None
    peak_rss: int | None
    source: str


class GenerationWarmup(TypedDict):
    """The end of the warm-up with a prompt."""

    type: Literal["generation_warmup"]
    prompt: int
    iterations: int
    windows: int
    steady: bool
    ns: int


class Generated(TypedDict):
    """A batch of sequences: the begin of each, and the durations of its calls, that with the prompt first."""

    type: Literal["generated"]
    prompt: int
    t0_ns: list[int]
    durations_ns: list[list[int]]
