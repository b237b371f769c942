"""Answers a prompt by a file of a language model, in a child process: runtimes may crash, and this one stays free of torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import child, scratch
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import read_json, write_json
from edgedistill.measure.runner import bounded
from edgedistill.steps.model_files import found
from edgedistill.tasks.causal_lm.language_file import LanguageFile, Writing, language_file

if TYPE_CHECKING:
    from edgedistill.records.generated import GeneratedText

__all__ = ["Writing", "generate"]

_CHILD = "edgedistill.steps.generate_file"
_TIMEOUT_S = 3600.0
OnText = Callable[[str], None]


def generate(
    source: str | Path, prompt: str, *, artifact: str | None = None, system: str | None = None, writing: Writing | None = None,
    json_schema: str | Path | None = None, constrained: bool = False, threads: int = 1, on_text: OnText | None = None,
) -> GeneratedText:  # fmt: skip
    """Answer `prompt` by a file of a language model, with its tokenizer and its chat template.

    source: a run, the folder of a bundle, or a model file of one of them. artifact: name of the file, by default the one to ship.
    system: what a message of the role system says. json_schema: a file of a JSON Schema that the answer has to fit; constrained: that of
    the run. on_text: is given each piece of the answer as it comes.

    Raises UserError for what is no language model, for a prompt that is too long, and where a package is missing; DeviceFailed where the
    runtime fails.
    """
    from edgedistill.records.generated import GeneratedText

    if not prompt:
        raise UserError("found an empty prompt, expected a text")
    if json_schema is not None and constrained:
        raise UserError(f"found the JSON Schema {json_schema} and constrained, which takes that of the run; expected one of them")
    schema = None if json_schema is None else _schema(Path(json_schema))
    roles = [("system", system), ("user", prompt)]
    messages = [{"role": role, "content": text} for role, text in roles if text is not None]
    with found(Path(source), artifact) as file:
        language = language_file(file)
        if constrained:
            schema = _own_schema(language, source)
        told = {**language.told(), **asdict(writing or Writing()), "messages": messages, "schema": schema, "threads": threads}
        answer = _asked(told, f"{file.name} did not answer", on_text)
        return GeneratedText(source=str(source), artifact=file.name, executed_by=file.executed_by, constrained=schema is not None, **answer)


def _schema(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"found no file {path}, expected one of a JSON Schema")
    schema = read_json(path)
    if not isinstance(schema, dict):
        raise UserError(f"{path} holds {type(schema).__name__}, expected a JSON Schema, which is an object")
    return schema


def _own_schema(file: LanguageFile, source: str | Path) -> dict[str, Any]:
    if file.schema is None:
        raise UserError(f"{source} has no JSON Schema of its answers (data.json_schema of its recipe); name one by --json-schema FILE")
    return _schema(Path(file.schema))


def _asked(told: dict[str, Any], failed: str, on_text: OnText | None) -> dict[str, Any]:
    """What the child process answers; what it wrote is given on as it comes."""
    with scratch.temporary() as folder:
        job, out, err = (folder / name for name in ("job.json", "answer.jsonl", "errors.log"))
        write_json(job, told)
        with out.open("wb") as stdout, err.open("wb") as stderr, out.open("rb") as reader:
            lines, documents = _lines(reader), list[dict[str, Any]]()

            def look() -> None:
                for line in lines():
                    if "piece" not in line:
                        documents.append(line)
                    elif on_text is not None:
                        on_text(line["piece"])

            try:
                with child.started(child.command(_CHILD, str(job)), stdout=stdout, stderr=stderr) as process:
                    code = child.wait(process, _TIMEOUT_S, {out: bounded.LIMIT, err: bounded.LOG_LIMIT}, look)
            except bounded.TooMuchOutput as error:
                raise DeviceFailed(f"{failed}: {error}") from error
            look()
        if code is None:
            raise DeviceFailed(f"{failed} within {_TIMEOUT_S:.0f} s")
        document = documents[-1] if documents else {}
        if "mistake" in document:
            raise UserError(document["mistake"])
        if code != 0 or "text" not in document:
            said = bounded.tail(err, 4096).strip().splitlines()
            raise DeviceFailed(f"{failed}: {said[-1][:300] if said else f'exit status {code}'}")
        return document


def _lines(reader: Any) -> Callable[[], Iterator[dict[str, Any]]]:
    """Gives the documents, a line each, that were written to a file since the last call."""
    rest = b""

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal rest
        *whole, rest = (rest + reader.read()).split(b"\n")
        for line in whole:
            yield json.loads(line)

    return lines
