"""What the shadow phase asks of a task: a student that answers what its teacher answered, and says whether both agree. Free of torch."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue

from edgedistill.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.tasks.model_file import Loaded

Similarity = Callable[[str, str], float]
"""How near the teacher's and the student's answer, two texts, are in meaning; more is nearer."""
Seen = Mapping[str, Any]
"""An exchange: `request`, a text; `response`, base64 of bytes; their `type` and `encoding`, headers of HTTP; the `ms` that it took."""


class NotComparable(Exception):
    """No student can be compared on an exchange, for a reason that is the same text for all of its kind."""


class Shadow(Protocol):
    """A student in the shadow of its teacher.

    versions: of the runtime of its file.
    """

    versions: dict[str, str]

    def __call__(self, seen: Seen) -> dict[str, Any]:
        """{"compared": ...}, see `compared`; {"no_answer": why} where the student gave none; or {"not_compared": why}."""


@dataclass(frozen=True)
class Wanted:
    """What a user wants of a comparison; see `steps.shadow.Rules` and `Shadowing`. Most of it is for answers that are texts."""

    least: float
    policy: list[str]
    json_schema: Path | None
    embedder: bool
    scorer: str | None
    constrained: bool
    max_tokens: int | None

    def of_outputs(self, task: str) -> dict[str, JsonValue]:
        """What compares answers that are the outputs of one call. Raises UserError for a wish that is of written answers."""
        of_texts = ("policy", "json_schema", "embedder", "scorer", "constrained", "max_tokens")
        if asked := [f"--{name.replace('_', '-')}" for name in of_texts if getattr(self, name) not in (None, False, [])]:
            raise UserError(f"found {', '.join(asked)}, which are for models that write answers; the task {task} takes none of them")
        return {"least": self.least}


def compared(why: str | None, **more: Any) -> dict[str, Any]:
    """What a comparison found. why: what differs first; None where both answers agree.

    more: `prompt`, `teacher` and `student`, where people can judge them; `similarity`, `divergence`, `student_ms`, `student_first_ms`;
    `teacher_breaks` and `student_breaks`, names of rules that an answer breaks.
    """
    rest: dict[str, Any] = {"similarity": None, "divergence": None, "teacher_breaks": [], "student_breaks": [], "student_ms": None}
    return {**rest, "agrees": why is None, "why": why, **more}


class CallShadow:
    """A student whose answer is the outputs of one call.

    read: makes the inputs of a request. compare: what `compared` gives, of the outputs and the teacher's answer; both may raise
    NotComparable. people: whether they can judge requests and answers.
    """

    def __init__(
        self, loaded: Loaded, read: Callable[[Any], Mapping[str, np.ndarray]],
        compare: Callable[[dict[str, np.ndarray], Any], dict[str, Any]], *, people: bool,
    ) -> None:  # fmt: skip
        self.versions = loaded.versions
        self._loaded, self._read, self._compare, self._people = loaded, read, compare, people

    def __call__(self, seen: Seen) -> dict[str, Any]:
        """The comparison of an exchange. Its time holds the preparation, as in an app."""
        request, answer = json.loads(seen["request"]), json.loads(base64.b64decode(seen["response"]))
        started = time.perf_counter()
        try:
            outputs = self._loaded(self._read(request))
            took = 1e3 * (time.perf_counter() - started)
            found = self._compare(outputs, answer)
        except NotComparable as reason:
            return {"not_compared": str(reason)}
        return {"compared": {**found, "student_ms": took, **({"prompt": request} if self._people else {})}}
