"""What is asked of a teacher and what it answers: the interface between a teacher, the ledger and the checks."""

from collections.abc import Container, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from edgedistill.files import canonical_hash
from edgedistill.tasks.causal_lm.answers.recipe import Sampling

NOT_SCANNED = "not scanned"
"""Why an answer ended that could not be read for personal data: its text is not recorded."""


@dataclass(frozen=True)
class Prompt:
    """A chat that the teacher answers, or a text that it continues: exactly one of the two.

    messages: each with `role` and `content`.
    """

    messages: list[dict[str, str]] | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if (self.messages is None) == (self.text is None):
            raise ValueError("a prompt has either messages or a text")

    @cached_property
    def key(self) -> str:
        """SHA-256 of the content: equal prompts have equal keys, whatever data they come from."""
        return canonical_hash({"text": self.text} if self.messages is None else {"messages": self.messages})

    @property
    def characters(self) -> int:
        """Length of all that it says."""
        return len(self.text or "") + sum(len(part) for message in self.messages or [] for part in message.values())


@dataclass(frozen=True)
class Usage:
    """Tokens that were paid. None where they are not known."""

    prompt: int | None = None
    completion: int | None = None
    estimated: bool = False
    """Whether `completion` is the number of pieces that arrived, since the server did not count."""


@dataclass(frozen=True)
class Answer:
    """An answer, or what arrived of one whose connection broke."""

    key: str
    """Of its prompt."""
    sample: int
    """Number among the prompt's answers, from 0."""
    text: str
    complete: bool
    """Whether the teacher ended it; what is not complete is paid, and asked again."""
    finish_reason: str | None
    """stop, length, or what the server says; None if it is not complete or the server says nothing."""
    usage: Usage
    latency_s: float
    time: str
    """When it ended, UTC, ISO 8601."""
    source: str
    """The host that answered, or `local`."""
    top_logprobs: list[dict[str, Any]] | None = field(default=None, repr=False)
    """For each token: token, logprob, and the same of its alternatives in top_logprobs; as the API of OpenAI has it."""


class Asker(Protocol):
    """A teacher that writes answers."""

    @property
    def model(self) -> str:
        """Identity of the model in the ledger."""

    @property
    def top_logprobs(self) -> int | None:
        """How many alternatives of each token it tells."""

    def ask(self, prompts: Sequence[Prompt], sampling: Sampling, answered: Container[tuple[str, int]] = frozenset()) -> Generator[Answer]:
        """Answer each prompt `sampling.samples` times, in any order.

        answered: pairs of key and sample that are not asked. An answer is complete once at most; attempts that broke come besides, and
        an answer that could not be got is left out. Record an answer before the next is taken: what was given is paid.
        """


def identity(sampling: Sampling, top_logprobs: int | None) -> dict[str, Any]:
    """All of `sampling` that an answer depends on. With more samples, those that are there stay."""
    return {**sampling.model_dump(mode="json", exclude={"samples"}), "top_logprobs": top_logprobs}
