"""Files that keep a state from one call to the next: what to measure of them, as the options and the file say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgedistill.backends.base import NEXT
from edgedistill.errors import UserError
from edgedistill.measure.runner.generation_types import GenerationSettings
from edgedistill.records import Unavailable
from edgedistill.signature import Signature

NO_STATE = Unavailable(unavailable="the file keeps no state from one call to the next")
_UNTOLD = Unavailable(
    unavailable="the file does not say whether it keeps a state: measure its run, or give the lengths of prompts (--prompt-tokens)"
)
_PROMPT, _NEW = 32, 32
"""Tokens of the shorter prompt, and new ones, where nothing else is asked for; the longer prompt fills half of the context."""


@dataclass(frozen=True)
class Stateful:
    """A file that takes tokens and their positions, [1, T] each, and wanted places, [1, W], and gives an answer for each place, [1, W, V].

    context: most tokens, or None. state_bytes: bytes of the state; None where the file does not say it, and may have none.
    piece: how many tokens of a prompt a call takes; None for all of them.
    """

    tokens: str
    positions: str
    wanted: str
    output: str
    context: int | None
    state_bytes: int | None
    piece: int | None = None


@dataclass(frozen=True)
class Asked:
    """What to measure of a file: sequences of `new` tokens behind prompts of each length."""

    file: Stateful
    prompts: tuple[int, ...]
    new: int

    @property
    def settings(self) -> GenerationSettings:
        """As a job has it."""
        file = self.file
        return {
            "tokens": file.tokens, "positions": file.positions, "wanted": file.wanted, "output": file.output,
            "prompts": [*self.prompts], "piece": file.piece, "new": self.new,
        }  # fmt: skip


def stateful(signature: Signature, *, told: bool = True, piece: int | None = None) -> Stateful | Unavailable:
    """How a file with `signature` is called, or why generation is not measured.

    told: whether the signature tells the state. piece: see `Stateful`.
    """
    if told and not signature.state:
        return NO_STATE
    takes = [spec for spec in signature.inputs if "int" in spec.dtype and len(spec.shape) == 2 and spec.batched]
    gives = [spec for spec in signature.outputs if len(spec.shape) == 3 and spec.batched]
    if len(signature.inputs) == 3 == len(takes) and gives:
        tokens, *others = sorted(takes, key=lambda spec: spec.meaning != "tokens")
        positions, wanted = sorted(others, key=lambda spec: spec.shape != tokens.shape)
    if len(signature.inputs) != 3 or len(takes) != 3 or not gives or positions.shape != tokens.shape:
        ports = f"{', '.join(map(str, signature.inputs))} and gives {', '.join(map(str, signature.outputs))}"
        expected = "files that take tokens and positions, [1, T], and wanted places, [1, W], and give [1, W, V]"
        why = f"the file takes {ports}; generation is measured of {expected}"
        return Unavailable(unavailable=why) if told else NO_STATE
    size = tokens.shape[1]
    context = size if isinstance(size, int) else signature.limits.get(size)
    kept = sum(spec.nbytes for spec in signature.state) if told else None
    return Stateful(tokens.name, positions.name, wanted.name, gives[0].name, context, kept, piece)


def counted(file: Stateful | Unavailable) -> str | None:
    """The input of positions of a file that says that it keeps a state; None for others."""
    return None if isinstance(file, Unavailable) or file.state_bytes is None else file.positions


def asked(file: Stateful | Unavailable, prompts: Sequence[int] | None, new: int | None) -> Asked | Unavailable:
    """What to measure of a file, with the usual numbers for what is None: as many of the usual prompts as fit.

    Raises UserError where prompts or new tokens that are given do not fit.
    """
    if isinstance(file, Unavailable):
        return file
    if file.state_bytes is None and prompts is None:
        return _UNTOLD
    context = math.inf if file.context is None else file.context
    count = new if new is not None else max(1, int(min(_NEW, context // 2)))
    # The last token that is written is not given back.
    most = context - count + 1
    usual = (_PROMPT,) if file.context is None else (_PROMPT, max(1, file.context // 2))
    chosen = sorted({prompt for prompt in usual if prompt <= most} if prompts is None else set(prompts))
    if not chosen or chosen[-1] > most:
        found = f"prompts of {', '.join(map(str, chosen))} tokens with {count} new ones" if chosen else f"{count} new tokens"
        raise UserError(
            f"--prompt-tokens, --new-tokens: found {found}, and the file takes {file.context} tokens; expected prompt + new - 1 <= "
            f"{file.context}"
        )
    return Asked(file, tuple(chosen), count)


def read_from(signature: Signature) -> Signature:
    """The signature of a file that keeps its state as further inputs and outputs, as the file itself has it: with the state apart.

    A tensor of the state is an input NAME [1, heads, context, size] and the output NAME_next, which it is in the next call.
    """
    after = {spec.name: (spec.dtype, spec.shape) for spec in signature.outputs}
    state = tuple(spec for spec in signature.inputs if after.get(f"{spec.name}{NEXT}") == (spec.dtype, spec.shape))
    inputs = [spec for spec in signature.inputs if spec not in state]
    names = {f"{spec.name}{NEXT}" for spec in state}
    sizes = [spec.shape[2] for spec in state if len(spec.shape) == 4]
    context = min((size for size in sizes if isinstance(size, int)), default=None)
    limits = {name: context for spec in inputs for name in spec.dynamic} if context is not None else {}
    return Signature.of(inputs, [spec for spec in signature.outputs if spec.name not in names], state=state, limits=limits)
