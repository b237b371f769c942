"""Decides which answers of a prompt are kept, and why the others are dropped."""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.recipe.base import shortened
from edgedistill.tasks.causal_lm.answers.asking import NOT_SCANNED, Answer
from edgedistill.tasks.causal_lm.answers.recipe import Agreement, Checks, Range

_PIECE = 5
"""Characters in the pieces that nearly equal answers have in common."""
_BY_ITSELF = "stop"
_CUT_OFF = "length"


@dataclass(frozen=True)
class _Judged:
    """An answer that has passed what it can pass alone."""

    place: int
    text: str
    compared: str
    """Equal for answers that say the same."""


class Judge:
    """The checks of a recipe, ready to judge. Raises UserError if the schema is none, or is not readable."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._policy = [re.compile(pattern) for pattern in checks.policy]
        self._schema = None if checks.schema_file is None else _validator(checks.schema_file)

    def verdicts(self, answers: Sequence[Answer]) -> list[str | None]:
        """For each answer of one prompt, in their order, why it is dropped, as `check: what was found`; None if it is kept.

        First each answer is judged alone, then how many agree, then which are duplicates. Raises UserError where the checks count tokens
        and the teacher does not tell them.
        """
        verdicts: list[str | None] = [None] * len(answers)
        left = list[_Judged]()
        for place, answer in enumerate(answers):
            found, value = self._alone(answer)
            verdicts[place] = found
            if found is None:
                left.append(_Judged(place, answer.text, _canonical(value) if self._checks.format == "json" else _normal(answer.text)))
        if self._checks.agreement is not None:
            left = _agreed(self._checks.agreement, left, len(answers), verdicts)
        self._drop_duplicates(left, verdicts)
        return verdicts

    def _alone(self, answer: Answer) -> tuple[str | None, Any]:
        """Why an answer is dropped whatever the others say, and its value where it is JSON."""
        checks, value = self._checks, None
        if answer.finish_reason == NOT_SCANNED:
            return "scrub: could not be read for personal data", None
        if answer.finish_reason == _CUT_OFF and not checks.cut_off:
            return "end: cut off at max_tokens", None
        if answer.finish_reason not in (_BY_ITSELF, _CUT_OFF):
            return f"end: {answer.finish_reason or 'the server gave no reason'}", None
        if not answer.text.strip():
            return "format: empty", None
        if checks.format == "json":
            try:
                value = json.loads(answer.text, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                return "format: not JSON alone", None
        if self._schema is not None and (wrong := self._schema.first_mistake(value)):
            return f"schema: {wrong}", None
        return self._size(answer) or self._forbidden(answer.text), value

    def _size(self, answer: Answer) -> str | None:
        checks = self._checks
        if found := _outside(checks.characters, len(answer.text)):
            return f"characters: {found}"
        if checks.tokens == Range():
            return None
        if answer.usage.completion is None or answer.usage.estimated:
            raise UserError(
                f"answers.checks.tokens: {answer.source} does not count the tokens of its answers; use answers.checks.characters instead"
            )
        return f"tokens: {found}" if (found := _outside(checks.tokens, answer.usage.completion)) else None

    def _forbidden(self, text: str) -> str | None:
        return next((f"policy: matches {shortened(pattern.pattern)}" for pattern in self._policy if pattern.search(text)), None)

    def _drop_duplicates(self, left: list[_Judged], verdicts: list[str | None]) -> None:
        kept = list[tuple[_Judged, frozenset[str]]]()
        for judged in left:
            pieces = _pieces(judged.compared)
            alike = [other for other, its in kept if _similar(judged.compared, pieces, other.compared, its) >= self._checks.similarity]
            if len(alike) >= self._checks.duplicates:
                verdicts[judged.place] = f"duplicates: as answer {alike[0].place}"
            else:
                kept.append((judged, pieces))


def _agreed(agreement: Agreement, left: list[_Judged], samples: int, verdicts: list[str | None]) -> list[_Judged]:
    """Those of `left` that enough of the prompt's `samples` agree with; the verdicts of the others are set."""
    groups = dict[str, list[_Judged]]()
    for judged in left:
        said = _extracted(agreement.answer, judged) if agreement.answer else judged.compared
        if said is None:
            verdicts[judged.place] = "agreement: has no part that answers.checks.agreement.answer matches"
        else:
            groups.setdefault(said, []).append(judged)
    # The larger first, and of equal ones that which came first.
    ordered = sorted(groups.values(), key=lambda group: (-len(group), group[0].place))
    agreed = list[_Judged]()
    for rank, group in enumerate(ordered):
        enough = len(group) / samples >= agreement.share
        chosen = group if agreement.keep == "all_distinct" else group[: 1 if rank == 0 else 0]
        agreed += chosen if enough else []
        for judged in group:
            if not enough:
                verdicts[judged.place] = f"agreement: {len(group)} of {samples} samples say it"
            elif judged not in chosen:
                verdicts[judged.place] = f"agreement: answer {ordered[0][0].place} stands for the prompt"
    return sorted(agreed, key=lambda judged: judged.place)


def _extracted(pattern: str, judged: _Judged) -> str | None:
    last = None
    for last in re.finditer(pattern, judged.text):  # noqa: B007
        pass
    if last is None:
        return None
    found = last.group(1) if last.re.groups else last.group()
    return None if found is None else _normal(found)


class _Schema:
    """A JSON Schema that fetches nothing: what it refers to has to be in it."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    def first_mistake(self, value: Any) -> str | None:
        """Where `value` is not as the schema says, and what it says there."""
        from jsonschema.exceptions import best_match

        try:
            error = best_match(self._validator.iter_errors(value))
        except RecursionError:
            return "nested too deeply"
        return None if error is None else f"{shortened(error.json_path)}: {error.validator}"


def _validator(path: Path) -> _Schema:
    try:
        from jsonschema import SchemaError, validators
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError as error:
        raise UserError("answers.checks.schema_file: needs the package jsonschema; install it with `pip install jsonschema`") from error
    schema = read_json(path)
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        kind.check_schema(schema)
        validator = kind(schema, registry=Registry())
        for reference in _references(schema):
            validator._resolver.lookup(reference)
    except SchemaError as error:
        raise UserError(f"answers.checks.schema_file: {path}: {error.json_path}: {error.message}; expected a JSON Schema") from error
    except Unresolvable as error:
        raise UserError(
            f"answers.checks.schema_file: {path}: found the reference '{error.ref}', expected one to a part of this file"
        ) from error
    return _Schema(validator)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _normal(text: str) -> str:
    """`text` without what does not change its meaning: case, spaces, and forms of the same character."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _pieces(text: str) -> frozenset[str]:
    # Characters, not words: some languages put no spaces between words.
    return frozenset(text[start : start + _PIECE] for start in range(max(1, len(text) - _PIECE + 1)))


def _similar(a: str, pieces_a: frozenset[str], b: str, pieces_b: frozenset[str]) -> float:
    """1 for equal texts, else the Jaccard index of their pieces, which is less."""
    if a == b:
        return 1.0
    return min(len(pieces_a & pieces_b) / len(pieces_a | pieces_b), 1.0 - 1e-9)


def _outside(allowed: Range, number: int) -> str | None:
    if allowed.min is not None and number < allowed.min:
        return f"{number}, expected at least {allowed.min}"
    if allowed.max is not None and number > allowed.max:
        return f"{number}, expected at most {allowed.max}"
    return None
