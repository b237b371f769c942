"""A language model in the shadow of its teacher: it answers the same prompts, and the answers are compared."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.tasks.causal_lm.agreement import Compare
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.exchanges import seen_exchange
from edgedistill.tasks.causal_lm.language_file import Writing, language_file
from edgedistill.tasks.causal_lm.writer import Writer
from edgedistill.tasks.model_file import ModelFile
from edgedistill.tasks.shadowed import NotComparable, Seen, Similarity, Wanted, compared


def comparison(file: ModelFile, wanted: Wanted) -> dict[str, JsonValue]:
    """What compares answers of `file`, and how it writes them. Raises UserError for a wish that can't be met."""
    own = language_file(file).schema
    path = wanted.json_schema or (None if own is None else Path(own))
    schema: Any = None if path is None else read_json(path)
    if wanted.constrained and schema is None:
        raise UserError(f"{file.name} has no JSON Schema of its answers, which --constrained takes; name one by --json-schema FILE")
    writing = asdict(Writing(max_tokens=wanted.max_tokens))
    return {
        "schema": schema, "policy": [*wanted.policy], "least": wanted.least, "scorer": _scorer(wanted.scorer), "writing": writing,
        "constrained": wanted.constrained,
    }  # fmt: skip


class LanguageShadow:
    """`file` loaded, with what compares its answers. told: what `comparison` gave."""

    def __init__(self, file: ModelFile, told: Mapping[str, Any], threads: int, similarity: Similarity | None) -> None:
        schema = told["schema"] if told["constrained"] else None
        self._writer = Writer({**language_file(file).told(), **told["writing"], "schema": schema, "threads": threads})
        self.versions = self._writer.load()
        similarity = similarity if told["scorer"] is None else _scoring(told["scorer"])
        self._compare = Compare(told["schema"], told["policy"], similarity, told["least"])

    def __call__(self, seen: Seen) -> dict[str, Any]:
        """The comparison of an exchange."""
        try:
            asked = seen_exchange(seen)
        except NotComparable as reason:
            return {"not_compared": str(reason)}
        started = time.perf_counter()
        try:
            made = self._writer.answer(self._tokens(asked.prompt), lambda piece: None, asked.most)
        except UserError as error:
            return {"no_answer": str(error)}
        times = {"student_ms": 1e3 * (time.perf_counter() - started), "student_first_ms": made["time_to_first_token_ms"]}
        both = {"prompt": asked.prompt.messages or asked.prompt.text, "teacher": asked.answer, "student": made["text"]}
        return {"compared": compared(**both, **times, **asdict(self._compare(asked.answer, made["text"])))}

    def _tokens(self, prompt: Prompt) -> list[int]:
        if prompt.messages is None:
            return self._writer.prompts.complete(prompt.text or "")
        try:
            return self._writer.prompts.chat(prompt.messages)
        except ValueError as error:
            raise UserError(str(error)) from error


def _scorer(scorer: str | None) -> dict[str, JsonValue] | None:
    if scorer is None:
        return None
    folder, colon, name = scorer.rpartition(":")
    if not colon or not folder or not name:
        raise UserError(f"found the scorer {scorer}, expected FOLDER:LABEL")
    return {"hf": folder, "label": name}


def _scoring(told: Mapping[str, str]) -> Similarity:
    from edgedistill.tasks.causal_lm.recipe import Scorer
    from edgedistill.tasks.causal_lm.scorers import Scoring

    scoring = Scoring(Scorer(name="shadow", hf=told["hf"], label=told["label"]), "--scorer")
    return lambda teacher, student: float(scoring([teacher], [student])[0])


def shown(prompt: list[dict[str, str]] | str) -> str:
    """A prompt for people: who says what."""
    return prompt if isinstance(prompt, str) else "\n\n".join(f"{each['role']}: {each['content']}" for each in prompt)
