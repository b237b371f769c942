"""Answers in the shadow, and compares: `python -m edgedistill.steps.shadow_file JOB.json`.

It prints a JSON object a line. The first is {"ready": versions} or {"mistake": text}. Then each line of stdin, an exchange as
`gate.shadow.student` has it, gets one: {"compared": ...}, {"no_answer": why} where the student could not answer, or {"not_compared": why}.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.steps.generate_file import Writer
from edgedistill.steps.telling import Say, telling
from edgedistill.tasks.causal_lm.agreement import Compare, Similarity
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.exchanges import NotComparable, exchange


class Shadow:
    """The student with what compares its answers. told: see `steps.shadow`."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._writer = Writer(told["writing"])
        self.versions = self._writer.load()
        comparing = told["comparing"]
        self._compare = Compare(
            comparing["schema"], comparing["policy"], _similarity(comparing, told["writing"]["threads"]), comparing["least"]
        )

    def __call__(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """What is printed for an exchange."""
        try:
            seen = exchange(line["request"].encode(), base64.b64decode(line["response"]), line["type"], line["encoding"])
        except NotComparable as reason:
            return {"not_compared": str(reason)}
        both: dict[str, Any] = {"prompt": seen.prompt.messages or seen.prompt.text, "teacher": seen.answer}
        started = time.perf_counter()
        try:
            made = self._writer.answer(self._tokens(seen.prompt), lambda piece: None, seen.most)
        except UserError as error:
            return {"no_answer": str(error)}
        took = 1e3 * (time.perf_counter() - started)
        times = {"student_ms": took, "student_first_ms": made["time_to_first_token_ms"]}
        return {"compared": {**both, "student": made["text"], **times, **self._compare(seen.answer, made["text"]).told()}}

    def _tokens(self, prompt: Prompt) -> list[int]:
        if prompt.messages is None:
            return self._writer.prompts.complete(prompt.text or "")
        try:
            return self._writer.prompts.chat(prompt.messages)
        except ValueError as error:
            raise UserError(str(error)) from error


def _similarity(comparing: Mapping[str, Any], threads: int) -> Similarity | None:
    if comparing["embedder"] is not None:
        from edgedistill.steps.shadow_embedder import Embedder

        return Embedder(comparing["embedder"], threads)
    if comparing["scorer"] is None:
        return None
    from edgedistill.tasks.causal_lm.recipe import Scorer
    from edgedistill.tasks.causal_lm.scorers import Scoring

    scoring = Scoring(Scorer(name="shadow", **comparing["scorer"]))
    return lambda teacher, student: float(scoring([teacher], [student])[0])


def _answer(job: Path, say: Say) -> None:
    shadow = Shadow(read_json(job))
    say({"ready": shadow.versions})
    for line in sys.stdin.buffer:
        say(shadow(json.loads(line)))


if __name__ == "__main__":
    sys.exit(telling(lambda say: _answer(Path(sys.argv[1]), say)))
