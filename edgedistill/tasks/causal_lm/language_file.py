"""What prompts and answers need of a file of a language model, and how answers are written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgedistill.errors import UserError
from edgedistill.tasks.model_file import ModelFile

TASK = "causal-lm"


@dataclass(frozen=True)
class Writing:
    """How an answer is written.

    max_tokens: most tokens; None for as many as the context has room for. temperature: 0 takes the likeliest token each time.
    top_p: tokens are drawn of the likeliest ones that hold this share together. The same seed draws the same answer.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UserError(f"found max_tokens {self.max_tokens}, expected 1 or more")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"found temperature {self.temperature}, expected 0 or more; 0 takes the likeliest token each time")
        if not 0 < self.top_p <= 1:
            raise UserError(f"found top_p {self.top_p}, expected a share above 0 up to 1")


@dataclass(frozen=True)
class LanguageFile:
    """A file of a language model. Paths are texts, as a child process is told them.

    signature: its inputs and outputs, which its adapter is given. length: most tokens of a prompt with its answer. piece: how many tokens
    of a prompt a call takes; None for all of them. end: the token that ends an answer. template: None for a model without one.
    schema: of the answers, where the run has one.
    """

    path: str
    adapter: str
    signature: dict[str, Any]
    vocabulary: int
    length: int
    piece: int | None
    end: int
    tokenizer: str
    special_tokens: dict[str, str]
    template: str | None
    schema: str | None

    def told(self) -> dict[str, Any]:
        """What the child process needs of it."""
        return asdict(self)


def language_file(file: ModelFile) -> LanguageFile:
    """`file` as a language model. Raises UserError where it is of another task."""
    if file.task != TASK:
        raise UserError(f"{file.name} is of the task {file.task}, expected {TASK}: only language models answer prompts")
    given: Any = next((facts for facts in file.inputs.values() if facts.get("kind") == "text"), {})
    answer: Any = next((facts for facts in file.outputs.values() if facts.get("kind") == "next token"), {})
    if not ({"tokenizer", "template", "special_tokens"} <= given.keys() and isinstance(answer.get("end"), int)):
        raise UserError(f"{file.folder} does not say how its language model is used; write the bundle again with `edgedistill bundle`")
    one = file.files[0]
    return LanguageFile(
        one["path"], file.adapter, one["signature"], one["signature"]["outputs"][0]["shape"][-1], file.limits["tokens"], file.prompt_piece,
        answer["end"], str(file.at(given["tokenizer"])), {str(key): str(value) for key, value in given["special_tokens"].items()},
        str(file.at(given["template"])) if given["template"] else None, str(file.at(answer["schema"])) if answer.get("schema") else None,
    )  # fmt: skip
